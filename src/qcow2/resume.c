#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "qcow2/image.h"
#include "qcow2/scan.h"

/* The refcount blocks of an image of ours are where our geometry says. */
static int
check_refblocks(const struct qcow2_scan *scan, const struct qcow2_geometry *g, struct err **err)
{
    uint64_t span_bytes = g->span_clusters * g->cluster_size;

    for (uint64_t span = 0; span < scan->table_entries; span++) {
        uint64_t expected = span == 0 ? g->refblock0_offset : span * span_bytes;

        if (scan->table[span] != expected && (scan->table[span] || span == 0))
            return err_set(err, E_TARGET_FORMAT,
                           "its refcount blocks are not ours: another program changed it");
    }
    return 0;
}

static int
check_owner(const struct qcow2_scan *scan, uint64_t size, const struct qcow2_options *options,
            struct err **err)
{
    const struct qcow2_header *h = &scan->header;

    if (!h->is_ours) {
        err_set(err, E_TARGET_FORMAT, "it was not made by this program");
        return err_hint(err, "if nothing needs it, move it away and start again");
    }
    if (strcmp(h->owner_id, options->owner_id))
        return err_set(err, E_TARGET_FORMAT, "it belongs to migration \"%s\", not \"%s\"",
                       h->owner_id, options->owner_id);
    if (h->size > size) {
        err_set(err, E_TARGET_SIZE,
                "it is for a disk of %" PRIu64 " bytes, the source has only %" PRIu64, h->size,
                size);
        return err_hint(err, "VMware cannot shrink a disk: it was replaced by another one");
    }
    return 0;
}

static void
load_arrays(struct qcow2_image *image, const struct qcow2_scan *scan)
{
    for (uint64_t i = 0; i < MIN(image->g.l1_entries, scan->header.l1_entries); i++)
        if (scan->l1[i])
            qcow2_array_set(&image->l1, i, scan->l1[i]);
    memset(image->l1.dirty, 0, image->l1.bytes / QCOW2_PAGE);
    for (uint64_t i = 0; i < image->g.table_entries; i++)
        if (scan->table[i])
            qcow2_array_set(&image->table, i, scan->table[i]);
    memset(image->table.dirty, 0, image->table.bytes / QCOW2_PAGE);
}

/* Forgets the spans after the last one that is referred to: they were prepared ahead. */
static int
drop_spans(struct qcow2_image *image, uint64_t last, struct err **err)
{
    bool any = false;

    for (uint64_t span = last + 1; span < image->g.table_entries; span++)
        if (qcow2_array_get(&image->table, span)) {
            qcow2_array_set(&image->table, span, 0);
            any = true;
        }
    for (uint64_t p = 0; p < image->table.bytes / QCOW2_PAGE; p++)
        if (take(image->table.dirty[p]) &&
            qcow2_sync_io(image, IO_WRITE, (char *)image->table.entries + p * QCOW2_PAGE,
                          QCOW2_PAGE, image->table.offset + p * QCOW2_PAGE, err) < 0)
            return -1;
    return any ? qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err) : 0;
}

/* Order of writes: format.h, "resume".  A finished image has exact counts: they are raised again in
 * the spans that we go on using; in earlier ones nothing is ever handed out. */
static int
restore_invariants(struct qcow2_image *image, uint64_t frontier, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    uint64_t last = (frontier - 1) / g->span_clusters;
    uint64_t refblock = qcow2_array_get(&image->table, last);

    if (drop_spans(image, last, err) < 0 ||
        qcow2_sync_io(image, IO_TRUNCATE, NULL, 0, frontier * g->cluster_size, err) < 0 ||
        qcow2_sync_io(image, IO_TRUNCATE, NULL, 0, (last + 1) * g->span_clusters * g->cluster_size,
                      err) < 0 ||
        qcow2_sync_io(image, IO_WRITE, image->ones, g->cluster_size, refblock, err) < 0 ||
        qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err) < 0)
        return -1;
    image->span = last;
    image->next = frontier;
    image->span_end = (last + 1) * g->span_clusters;
    return 0;
}

static int
open_image(struct qcow2_image *image, const struct qcow2_scan *scan,
           const struct qcow2_options *options, struct err **err)
{
    if (qcow2_image_start(image, options, false, err) < 0)
        return -1;
    load_arrays(image, scan);
    /* Whoever made the file may have been killed before its name was durable. */
    if (io_path_sync_dir(image->path, err) < 0 ||
        restore_invariants(image, MAX(scan->end, image->g.first_free), err) < 0)
        return -1;
    return image->g.size > scan->header.size ? qcow2_grow(image, &scan->header, err) : 0;
}

static void
scan_donep(struct qcow2_scan *scan)
{
    qcow2_scan_done(scan);
}

static int
validate(int fd, uint64_t size, const struct qcow2_options *options, struct qcow2_scan *scan,
         struct qcow2_geometry *geometry, struct err **err)
{
    if (qcow2_scan_init(scan, fd, err) < 0 || check_owner(scan, size, options, err) < 0 ||
        qcow2_geometry_adopt(geometry, &scan->header, size, err) < 0)
        return -1;
    return check_refblocks(scan, geometry, err);
}

static void
file_closep(struct io_file *file)
{
    io_file_close(file);
}

int
qcow2_resume(const char *path, uint64_t size, const struct qcow2_options *options,
             struct qcow2_image **ret_image, struct err **err)
{
    CLEANUP(qcow2_image_freep) struct qcow2_image *image = NULL;
    CLEANUP(scan_donep) struct qcow2_scan scan = {0};
    CLEANUP(file_closep) struct io_file file = IO_FILE_NONE;
    struct qcow2_geometry geometry;
    int errnum;

    if (qcow2_check_options(options, err) < 0)
        return -1;
    if (io_file_open(path, O_RDWR, 0, options->is_buffered, &file, &errnum) < 0)
        return err_set_errno(err, qcow2_open_code(errnum), errnum, "%s", path);
    if (qcow2_lock(file.fd, err) < 0 || validate(file.fd, size, options, &scan, &geometry, err) < 0)
        return err_wrap(err, "%s", path);
    image = qcow2_image_new(path, &geometry, err);
    if (!image)
        return -1;
    image->file = file;
    file = IO_FILE_NONE;
    if (open_image(image, &scan, options, err) < 0)
        return -1;
    *ret_image = take(image);
    return 0;
}
