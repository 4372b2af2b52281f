#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

#define ENTRIES_PER_PAGE  (QCOW2_PAGE / 8)
#define WRITE_BACK_TABLES 16U /* when one must go, its neighbours in age will have to soon */

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

/* ---- writing back ----------------------------------------------------------------------------- */

static void
flush_done(struct io_op *op, struct err *error)
{
    struct qcow2_flush *flush = op->opaque;
    struct qcow2_image *image = flush->image;

    flush->is_busy = false;
    image->flushes_in_flight--;
    if (error)
        qcow2_fail(image, qcow2_describe(image, IO_WRITE, error));
}

/* Waits until at most @left pages are on their way. */
static int
wait_flushes(struct qcow2_image *image, unsigned left, struct err **err)
{
    struct err *error = NULL;

    while (image->flushes_in_flight > left)
        if (io_drain(image->meta, io_in_flight(image->meta) - 1, &error) < 0) {
            error = qcow2_describe(image, IO_WRITE, error);
            return err_move(err, &error);
        }
    return qcow2_check_failure(image, err);
}

static int
queue_flush(struct qcow2_image *image, struct qcow2_table *table, uint64_t first, uint64_t end,
            struct err **err)
{
    struct qcow2_flush *flush = image->flushes;
    void *data = (char *)table->entries + first * QCOW2_PAGE;
    uint32_t length = (uint32_t)((end - first) * QCOW2_PAGE);
    uint64_t host = table->host + first * QCOW2_PAGE;
    struct err *error = NULL;

    if (wait_flushes(image, FLUSH_DEPTH - 1, err) < 0)
        return -1;
    while (flush->is_busy)
        flush++;
    flush->op = (struct io_op){.kind = IO_WRITE,
                               .fd = io_file_choose(&image->file, data, length, host),
                               .data = data,
                               .length = length,
                               .offset = host,
                               .done = flush_done,
                               .opaque = flush};
    if (io_queue(image->meta, &flush->op, &error) < 0) {
        error = qcow2_describe(image, IO_WRITE, error);
        return err_move(err, &error);
    }
    flush->is_busy = true;
    image->flushes_in_flight++;
    return 0;
}

/* The dirty pages of a table, whole runs at a time.  A table that could not be written stays clean in
 * name only: the image has failed. */
static int
queue_table(struct qcow2_image *image, struct qcow2_table *table, struct err **err)
{
    uint64_t pages = image->g.cluster_size / QCOW2_PAGE, dirty = take(table->dirty);

    for (uint64_t p = 0; p < pages;) {
        uint64_t first = p;

        while (p < pages && dirty & 1ULL << p)
            p++;
        if (p == first)
            p++;
        else if (queue_flush(image, table, first, p, err) < 0)
            return -1;
    }
    return 0;
}

/* Writes the dirty pages of up to @limit tables, those used longest ago first, and waits for them.
 * Pages may go to disk at any time (I1, I4); only a table that a checkpoint is writing from must wait,
 * or an older page could land after a newer one. */
static int
write_back(struct qcow2_image *image, size_t limit, struct err **err)
{
    struct err *failure = NULL;
    int result = 0;

    for (struct qcow2_table *table = image->oldest; table && limit && result == 0;
         table = table->newer) {
        if (table->pins || !table->dirty)
            continue;
        limit--;
        result = queue_table(image, table, &failure);
    }
    /* Tables must not go away under writes that are on their way, whatever came of the others. */
    if (wait_flushes(image, 0, failure ? NULL : &failure) < 0)
        result = -1;
    return result < 0 ? err_move(err, &failure) : 0;
}

/* ---- the bounded cache ------------------------------------------------------------------------ */

/* Makes room for one more table.  When all are pinned, the cache grows for the moment: at most by the
 * stages of a checkpoint. */
static int
make_room(struct qcow2_image *image, struct err **err)
{
    struct qcow2_table *table = image->oldest, *next;

    for (; table && image->table_count >= image->max_tables; table = next) {
        if (!table->pins && table->dirty && write_back(image, WRITE_BACK_TABLES, err) < 0)
            return -1;
        next = table->newer;
        if (table->pins)
            continue;
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

/* A table that was written and comes back is believed no more than any other: what is written next
 * goes where it says. */
static int
check_table(const struct qcow2_image *image, const uint64_t *entries, uint64_t host,
            struct err **err)
{
    const struct qcow2_geometry *g = &image->g;

    for (uint64_t i = 0; i < g->l2_entries; i++) {
        uint64_t entry = be64toh(entries[i]), offset = entry & QCOW2_OFFSET_MASK;
        uint64_t cluster = offset >> g->cluster_bits;

        if (entry == 0 || entry == QCOW2_ZERO)
            continue;
        if (entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO) || !(entry & QCOW2_COPIED) ||
            offset & (g->cluster_size - 1) || cluster < g->first_free || cluster >= image->next)
            return err_set(err, E_TARGET_DAMAGED,
                           "%s: entry %" PRIu64 " of the L2 table at %" PRIu64 " is 0x%" PRIx64
                           ": it was damaged since it was written",
                           image->path, i, host, entry);
    }
    return 0;
}

static int
load_table(struct qcow2_image *image, uint64_t l1_index, uint64_t host,
           struct qcow2_table **ret_table, struct err **err)
{
    uint64_t *entries;

    if (make_room(image, err) < 0)
        return -1;
    entries = qcow2_memory(image->g.cluster_size);
    if (qcow2_sync_io(image, IO_READ, entries, image->g.cluster_size, host, err) < 0 ||
        check_table(image, entries, host, err) < 0) {
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
    if (write_back(image, SIZE_MAX, err) < 0)
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
