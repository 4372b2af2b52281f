#include <stdlib.h>

#include "base/util.h"
#include "transfer/transfer.h"

void
transfer_bitmap_init(struct transfer_bitmap *bitmap, uint64_t disk_size)
{
    bitmap->block_count = disk_size / TRANSFER_BLOCK + (disk_size % TRANSFER_BLOCK != 0);
    bitmap->bits = xcalloc(transfer_bitmap_bytes(bitmap) + 1, 1);
}

void
transfer_bitmap_done(struct transfer_bitmap *bitmap)
{
    free(bitmap->bits);
    *bitmap = (struct transfer_bitmap){0};
}

size_t
transfer_bitmap_bytes(const struct transfer_bitmap *bitmap)
{
    return bitmap->block_count / 8 + (bitmap->block_count % 8 != 0);
}

bool
transfer_bitmap_get(const struct transfer_bitmap *bitmap, uint64_t block)
{
    return block < bitmap->block_count && bitmap->bits[block / 8] & 1U << block % 8;
}

void
transfer_bitmap_set(struct transfer_bitmap *bitmap, uint64_t block, bool is_done)
{
    if (block >= bitmap->block_count)
        return;
    if (is_done)
        bitmap->bits[block / 8] |= (uint8_t)(1U << block % 8);
    else
        bitmap->bits[block / 8] &= (uint8_t) ~(1U << block % 8);
}

void
transfer_bitmap_clear_extents(struct transfer_bitmap *bitmap, const struct extents *extents)
{
    for (size_t i = 0; i < extents->count; i++) {
        uint64_t first = extents->items[i].offset / TRANSFER_BLOCK;
        uint64_t last = (extents->items[i].offset + extents->items[i].length - 1) / TRANSFER_BLOCK;

        for (uint64_t block = first; block <= last && block < bitmap->block_count; block++)
            transfer_bitmap_set(bitmap, block, false);
    }
}
