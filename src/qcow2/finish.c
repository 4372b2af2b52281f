#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "qcow2/image.h"
#include "qcow2/scan.h"

/* Unmaps the ZERO clusters of one table; true when nothing is mapped in it any more. */
static bool
drop_zeroes(struct qcow2_image *image, struct qcow2_table *table)
{
    bool is_empty = true;

    for (uint64_t i = 0; i < image->g.l2_entries; i++) {
        uint64_t entry = qcow2_table_get(table, i);

        if (entry & QCOW2_ZERO)
            qcow2_table_set(table, i, 0);
        else if (entry)
            is_empty = false;
    }
    return is_empty;
}

/* After this the map on disk is the final one. */
static int
tidy_map(struct qcow2_image *image, struct err **err)
{
    for (uint64_t i = 0; i < image->g.l1_entries; i++) {
        struct qcow2_table *table;

        if (qcow2_map_table(image, i * image->g.l2_entries, false, &table, err) < 0)
            return -1;
        if (table && drop_zeroes(image, table))
            qcow2_array_set(&image->l1, i, 0);
    }
    if (qcow2_map_flush(image, err) < 0)
        return -1;
    return qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err);
}

static bool
is_refblock(const struct qcow2_geometry *g, uint64_t cluster)
{
    return cluster >= g->span_clusters ? cluster % g->span_clusters == 0
                                       : cluster == g->refblock0_offset / g->cluster_size;
}

/* Writes the counts of one span as found by @scan; a span in which nothing is used gives back its
 * refcount block too. */
static int
write_counts(struct qcow2_image *image, const struct qcow2_scan *scan, uint64_t span,
             uint8_t *block, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    uint64_t first = span * g->span_clusters;
    bool is_empty = true;

    memset(block, 0, g->cluster_size);
    for (uint64_t i = 0; i < g->span_clusters; i++) {
        if (!qcow2_scan_is_used(scan, first + i))
            continue;
        block[2 * i + 1] = 1;
        if (!is_refblock(g, first + i))
            is_empty = false;
    }
    if (is_empty) {
        qcow2_array_set(&image->table, span, 0);
        return 0;
    }
    return qcow2_sync_io(image, IO_WRITE, block, g->cluster_size, scan->table[span], err);
}

/* Refcounts from the map as it is on disk: not from what we believe we did. */
static int
write_refcounts(struct qcow2_image *image, const struct qcow2_scan *scan, struct err **err)
{
    CLEANUP(free_charp) char *block = qcow2_memory(image->g.cluster_size);

    for (uint64_t span = 0; span < image->g.table_entries; span++)
        if (scan->table[span] && write_counts(image, scan, span, (uint8_t *)block, err) < 0)
            return -1;
    for (uint64_t p = 0; p < image->table.bytes / QCOW2_PAGE; p++)
        if (take(image->table.dirty[p]) &&
            qcow2_sync_io(image, IO_WRITE, (char *)image->table.entries + p * QCOW2_PAGE,
                          QCOW2_PAGE, image->table.offset + p * QCOW2_PAGE, err) < 0)
            return -1;
    return qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err);
}

/* Gives the blocks of clusters that nobody uses back to the file system.  Only a saving: many NFS
 * servers cannot, and then nothing is lost but room. */
static void
punch_holes(struct qcow2_image *image, const struct qcow2_scan *scan)
{
    uint64_t cs = image->g.cluster_size, cluster = 0;

    while (cluster < scan->end) {
        uint64_t first = cluster;

        while (cluster < scan->end && !qcow2_scan_is_used(scan, cluster))
            cluster++;
        if (cluster == first)
            cluster++;
        else if (fallocate(image->file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           (off_t)(first * cs), (off_t)((cluster - first) * cs)) < 0)
            return;
    }
}

static int
lower_refcounts(struct qcow2_image *image, struct err **err)
{
    struct qcow2_scan scan;
    uint64_t end;
    int result;

    if (qcow2_scan_init(&scan, image->file.fd, err) < 0)
        return err_wrap(err, "%s", image->path);
    end = scan.end * image->g.cluster_size;
    /* The refcount block of span 0 stands before all data; that of another span before its data. */
    end = MAX(end, image->g.first_free * image->g.cluster_size);
    result = write_refcounts(image, &scan, err);
    if (result == 0)
        punch_holes(image, &scan);
    qcow2_scan_done(&scan);
    if (result < 0 || qcow2_sync_io(image, IO_TRUNCATE, NULL, 0, end, err) < 0)
        return -1;
    return qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err);
}

/* Reads everything once more: what we hand over has been seen to be right. */
static int
check_result(struct qcow2_image *image, struct err **err)
{
    struct qcow2_scan scan;
    bool is_exact;

    if (qcow2_scan_init(&scan, image->file.fd, err) < 0)
        return err_wrap(err, "%s", image->path);
    is_exact = scan.is_exact && scan.zeroed == 0;
    qcow2_scan_done(&scan);
    if (!is_exact)
        return err_set(err, E_TARGET_CHECK, "%s: refcounts are not exact after finishing",
                       image->path);
    return 0;
}

int
qcow2_finish(struct qcow2_image **image_p, struct err **err)
{
    struct qcow2_image *image = *image_p;

    if (qcow2_settle_access(image, err) < 0 || qcow2_checkpoint_now(image, err) < 0 ||
        tidy_map(image, err) < 0 || lower_refcounts(image, err) < 0 ||
        check_result(image, err) < 0 || io_path_sync_dir(image->path, err) < 0)
        return -1;
    qcow2_closep(image_p);
    return 0;
}
