#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

#define ENTRIES_PER_PAGE (QCOW2_PAGE / 8)

uint64_t
qcow2_table_get(const struct qcow2_table *table, uint64_t index)
{
    return be64toh(table->entries[index]);
}

void
qcow2_table_set(struct qcow2_table *table, uint64_t index, uint64_t entry)
{
    table->entries[index] = htobe64(entry);
    table->dirty |= 1ULL << index / ENTRIES_PER_PAGE;
}

uint64_t
qcow2_array_get(const struct qcow2_array *array, uint64_t index)
{
    return be64toh(array->entries[index]);
}

void
qcow2_array_set(struct qcow2_array *array, uint64_t index, uint64_t value)
{
    array->entries[index] = htobe64(value);
    array->dirty[index / ENTRIES_PER_PAGE] = 1;
}

/* ---- the cache -------------------------------------------------------------------------------- */

static void
unlink_table(struct qcow2_image *image, struct qcow2_table *table)
{
    *(table->newer ? &table->newer->older : &image->newest) = table->older;
    *(table->older ? &table->older->newer : &image->oldest) = table->newer;
    table->newer = table->older = NULL;
}

static void
link_newest(struct qcow2_image *image, struct qcow2_table *table)
{
    table->older = image->newest;
    table->newer = NULL;
    *(image->newest ? &image->newest->newer : &image->oldest) = table;
    image->newest = table;
}

/* The dirty pages of a table, whole runs at a time, waited for. */
static int
flush_table(struct qcow2_image *image, struct qcow2_table *table, struct err **err)
{
    uint64_t pages = image->g.cluster_size / QCOW2_PAGE;

    for (uint64_t p = 0; p < pages;) {
        uint64_t first = p;

        while (p < pages && table->dirty & 1ULL << p)
            p++;
        if (p == first) {
            p++;
            continue;
        }
        if (qcow2_sync_io(image, IO_WRITE, (char *)table->entries + first * QCOW2_PAGE,
                          (p - first) * QCOW2_PAGE, table->host + first * QCOW2_PAGE, err) < 0)
            return -1;
    }
    table->dirty = 0;
    return 0;
}

/* Makes room for one more table.  Dirty pages may go to disk at any time (I1, I4); only a table that
 * a checkpoint is writing from must stay, or an older page could land after a newer one.  When all
 * are in use so, the cache grows for the moment. */
static int
make_room(struct qcow2_image *image, struct err **err)
{
    struct qcow2_table *table = image->oldest, *next;

    for (; table && image->table_count >= image->max_tables; table = next) {
        next = table->newer;
        if (table->pins)
            continue;
        if (table->dirty && flush_table(image, table, err) < 0)
            return -1;
        unlink_table(image, table);
        image->l2[table->l1_index] = NULL;
        image->table_count--;
        free(table->entries);
        free(table);
    }
    return 0;
}

static struct qcow2_table *
add_table(struct qcow2_image *image, uint64_t l1_index, uint64_t host, uint64_t *entries)
{
    struct qcow2_table *table = xcalloc(1, sizeof(*table));

    table->l1_index = l1_index;
    table->host = host;
    table->entries = entries;
    image->l2[l1_index] = table;
    image->table_count++;
    link_newest(image, table);
    return table;
}

static int
load_table(struct qcow2_image *image, uint64_t l1_index, uint64_t host,
           struct qcow2_table **ret_table, struct err **err)
{
    uint64_t *entries;

    if (make_room(image, err) < 0)
        return -1;
    entries = qcow2_memory(image->g.cluster_size);
    if (qcow2_sync_io(image, IO_READ, entries, image->g.cluster_size, host, err) < 0) {
        free(entries);
        return -1;
    }
    *ret_table = add_table(image, l1_index, host, entries);
    return 0;
}

static int
create_table(struct qcow2_image *image, uint64_t l1_index, struct qcow2_table **ret_table,
             struct err **err)
{
    uint64_t host;

    if (make_room(image, err) < 0 || qcow2_alloc_table(image, &host, err) < 0)
        return -1;
    *ret_table = add_table(image, l1_index, host, qcow2_memory(image->g.cluster_size));
    qcow2_array_set(&image->l1, l1_index, host | QCOW2_COPIED);
    return 0;
}

int
qcow2_map_table(struct qcow2_image *image, uint64_t guest_cluster, bool create,
                struct qcow2_table **ret_table, struct err **err)
{
    uint64_t l1_index = guest_cluster / image->g.l2_entries;
    struct qcow2_table *table = image->l2[l1_index];
    uint64_t host = qcow2_array_get(&image->l1, l1_index) & QCOW2_OFFSET_MASK;

    if (table) {
        if (table != image->newest) {
            unlink_table(image, table);
            link_newest(image, table);
        }
    } else if (host) {
        if (load_table(image, l1_index, host, &table, err) < 0)
            return -1;
    } else if (create) {
        if (create_table(image, l1_index, &table, err) < 0)
            return -1;
    }
    *ret_table = table;
    return 0;
}

int
qcow2_map_flush(struct qcow2_image *image, struct err **err)
{
    for (struct qcow2_table *table = image->oldest; table; table = table->newer)
        if (table->dirty && flush_table(image, table, err) < 0)
            return -1;
    for (uint64_t p = 0; p < image->l1.bytes / QCOW2_PAGE; p++) {
        if (!image->l1.dirty[p])
            continue;
        if (qcow2_sync_io(image, IO_WRITE, (char *)image->l1.entries + p * QCOW2_PAGE, QCOW2_PAGE,
                          image->l1.offset + p * QCOW2_PAGE, err) < 0)
            return -1;
        image->l1.dirty[p] = 0;
    }
    return 0;
}

/* The mapped clusters of one table; @first is the guest cluster of its first entry. */
static void
append_mapped(const struct qcow2_image *image, const struct qcow2_table *table, uint64_t first,
              struct extents *extents)
{
    uint64_t size = image->target.size, cluster_size = image->g.cluster_size;

    for (uint64_t i = 0; i < image->g.l2_entries && (first + i) * cluster_size < size; i++) {
        uint64_t offset = (first + i) * cluster_size;
        struct extent *last = extents->count ? &extents->items[extents->count - 1] : NULL;
        uint64_t length = MIN(cluster_size, size - offset);

        if (!qcow2_table_get(table, i))
            continue;
        if (last && last->offset + last->length == offset)
            last->length += length;
        else
            vec_push(extents, ((struct extent){offset, length}));
    }
}

int
qcow2_mapped(struct qcow2_image *image, struct extents *extents, struct err **err)
{
    for (uint64_t i = 0; i < image->g.l1_entries; i++) {
        uint64_t first = i * image->g.l2_entries;
        struct qcow2_table *table;

        if (!image->l2[i] && !qcow2_array_get(&image->l1, i))
            continue;
        if (qcow2_map_table(image, first, false, &table, err) < 0)
            return -1;
        append_mapped(image, table, first, extents);
    }
    return 0;
}

void
qcow2_map_done(struct qcow2_image *image)
{
    struct qcow2_table *table = image->newest, *older;

    for (; table; table = older) {
        older = table->older;
        free(table->entries);
        free(table);
    }
    free(image->l2);
}
