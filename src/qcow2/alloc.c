#include <inttypes.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

#define SLAB_BYTES (1U << 20)

/* ---- spans ------------------------------------------------------------------------------------ */

static void span_step_done(struct io_op *op, struct err *error);

static void
queue_span_step(struct qcow2_image *image)
{
    const struct qcow2_geometry *g = &image->g;
    uint64_t span = image->span + 1, start = span * g->span_clusters * g->cluster_size;
    uint64_t page = span * 8 / QCOW2_PAGE * QCOW2_PAGE;
    struct io_op *op = &image->span_op;
    struct err *error = NULL;

    *op = (struct io_op){.done = span_step_done, .opaque = image, .fd = image->file.fd};
    switch (image->span_step) {
    case SPAN_LENGTH:
        op->kind = IO_TRUNCATE;
        op->offset = start + g->span_clusters * g->cluster_size;
        break;
    case SPAN_REFBLOCK:
        op->kind = IO_WRITE;
        op->data = image->ones;
        op->length = (uint32_t)g->cluster_size;
        op->offset = start;
        break;
    case SPAN_ENTRY:
        qcow2_array_set(&image->table, span, start);
        op->kind = IO_WRITE;
        op->data = (char *)image->table.entries + page;
        op->length = QCOW2_PAGE;
        op->offset = image->table.offset + page;
        break;
    default:
        op->kind = IO_DATASYNC;
        break;
    }
    if (op->kind == IO_WRITE)
        op->fd = io_file_choose(&image->file, op->data, op->length, op->offset);
    if (io_queue(image->meta, op, &error) < 0)
        qcow2_fail(image, qcow2_describe(image, IO_WRITE, error));
    else if (io_submit(image->meta, &error) < 0)
        qcow2_fail(image, qcow2_describe(image, IO_WRITE, error));
}

static void
span_step_done(struct io_op *op, struct err *error)
{
    struct qcow2_image *image = op->opaque;

    if (error) {
        qcow2_fail(image, qcow2_describe(image, IO_WRITE, error));
        return;
    }
    if (++image->span_step != SPAN_READY)
        queue_span_step(image);
}

static void
prepare_next_span(struct qcow2_image *image)
{
    if (image->span_step != SPAN_NONE || image->span + 1 >= image->g.table_entries)
        return;
    image->span_step = SPAN_LENGTH;
    queue_span_step(image);
}

static int
enter_next_span(struct qcow2_image *image, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;

    prepare_next_span(image);
    if (image->span_step == SPAN_NONE)
        return err_set(err, E_LIMIT, "%s: more clusters are used than its refcount table can count",
                       image->path);
    while (image->span_step != SPAN_READY) {
        struct err *error = NULL;

        if (qcow2_check_failure(image, err) < 0)
            return -1;
        if (io_in_flight(image->meta) == 0)
            return err_set(err, E_BUG, "%s: nobody prepares the next span", image->path);
        if (io_drain(image->meta, io_in_flight(image->meta) - 1, &error) < 0) {
            error = qcow2_describe(image, IO_WRITE, error);
            return err_move(err, &error);
        }
    }
    image->span++;
    image->span_step = SPAN_NONE;
    image->next = image->span * g->span_clusters + 1; /* after its refcount block */
    image->span_end = (image->span + 1) * g->span_clusters;
    return 0;
}

/* ---- clusters --------------------------------------------------------------------------------- */

static int
alloc_run(struct qcow2_image *image, uint64_t count, uint64_t *ret_cluster, struct err **err)
{
    if (image->next + count > image->span_end && enter_next_span(image, err) < 0)
        return -1;
    *ret_cluster = image->next;
    image->next += count;
    /* In time, so that nobody has to wait for it. */
    if (image->span_end - image->next < image->g.span_clusters / 2)
        prepare_next_span(image);
    return qcow2_check_failure(image, err);
}

int
qcow2_alloc_cluster(struct qcow2_image *image, uint64_t *ret_host, struct err **err)
{
    uint64_t cluster;

    if (alloc_run(image, 1, &cluster, err) < 0)
        return -1;
    *ret_host = cluster << image->g.cluster_bits;
    return 0;
}

int
qcow2_alloc_table(struct qcow2_image *image, uint64_t *ret_host, struct err **err)
{
    uint64_t count = MAX(SLAB_BYTES / image->g.cluster_size, 1U), first;

    if (image->slab_next == image->slab_end) {
        count = MIN(count, image->g.l1_entries);
        if (alloc_run(image, count, &first, err) < 0)
            return -1;
        image->slab_next = first;
        image->slab_end = first + count;
    }
    *ret_host = image->slab_next++ << image->g.cluster_bits;
    return 0;
}
