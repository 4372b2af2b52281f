#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

static int
write_zeroes(struct qcow2_image *image, uint64_t offset, uint64_t length, struct err **err)
{
    while (length) {
        uint64_t piece = MIN(length, ZERO_BYTES);

        if (qcow2_sync_io(image, IO_WRITE, image->zeroes, piece, offset, err) < 0)
            return -1;
        offset += piece;
        length -= piece;
    }
    return 0;
}

/* What lies behind the old end in its cluster was never ours to write, and becomes visible now. */
static int
clear_tail(struct qcow2_image *image, uint64_t old_size, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    uint64_t in_cluster = old_size & (g->cluster_size - 1), cluster = old_size >> g->cluster_bits;
    struct qcow2_table *table;
    uint64_t entry;

    if (in_cluster == 0)
        return 0;
    if (qcow2_map_table(image, cluster, false, &table, err) < 0)
        return -1;
    entry = table ? qcow2_table_get(table, cluster % g->l2_entries) : 0;
    if (!(entry & QCOW2_OFFSET_MASK) || entry & QCOW2_ZERO)
        return 0;
    return write_zeroes(image, (entry & QCOW2_OFFSET_MASK) + in_cluster,
                        g->cluster_size - in_cluster, err);
}

/* Entries that an older version had room for but did not declare. */
static int
clear_l1(struct qcow2_image *image, uint64_t declared, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;

    return write_zeroes(image, g->l1_offset + declared * 8, g->l1_bytes - declared * 8, err);
}

int
qcow2_grow(struct qcow2_image *image, const struct qcow2_header *header, struct err **err)
{
    CLEANUP(free_charp) char *page = qcow2_memory(QCOW2_PAGE);

    if (clear_tail(image, header->size, err) < 0 || clear_l1(image, header->l1_entries, err) < 0 ||
        qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err) < 0 ||
        qcow2_sync_io(image, IO_READ, page, QCOW2_PAGE, 0, err) < 0)
        return -1;
    qcow2_header_grow(&image->g, (uint8_t *)page);
    if (qcow2_sync_io(image, IO_WRITE, page, QCOW2_PAGE, 0, err) < 0)
        return -1;
    return qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err);
}
