#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

/* A checkpoint copies dirty pages, one stage at a time, and writes the copies, so that the tables may
 * change meanwhile.  A page that changes after the beginning may go out in its newer state: that is
 * harmless (I1, I4); but no page is written twice, or the older write could land last.  Once every page is written, one sync covers them and all data written before. */

static void pump(struct qcow2_image *image);

static void
finish_checkpoint(struct qcow2_image *image)
{
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;
    struct disk_request *request = take(checkpoint->request);
    struct err *error = take(checkpoint->error);

    checkpoint->is_running = checkpoint->is_syncing = false;
    image->delivered++;
    request->done(request, error);
}

static void
note_error(struct qcow2_image *image, struct err *error)
{
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;

    if (!error)
        return;
    error = qcow2_describe(image, IO_WRITE, error);
    if (checkpoint->error) {
        err_free(error);
        return;
    }
    checkpoint->error = error;
    qcow2_fail(image, err_copy(error));
}

static void
sync_done(struct io_op *op, struct err *error)
{
    struct qcow2_image *image = op->opaque;

    note_error(image, error);
    finish_checkpoint(image);
}

static void
start_sync(struct qcow2_image *image)
{
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;
    struct err *error = NULL;

    checkpoint->is_syncing = true;
    checkpoint->sync = (struct io_op){
        .kind = IO_DATASYNC, .fd = image->file.fd, .done = sync_done, .opaque = image};
    if (io_queue(image->io, &checkpoint->sync, &error) < 0)
        sync_done(&checkpoint->sync, error);
}

static void
stage_done(struct io_op *op, struct err *error)
{
    struct qcow2_stage *stage = op->opaque;
    struct qcow2_image *image = stage->image;

    stage->is_busy = false;
    if (stage->table)
        stage->table->pins--;
    stage->table = NULL;
    image->checkpoint.in_flight--;
    note_error(image, error);
    pump(image);
}

static void
write_stage(struct qcow2_image *image, struct qcow2_stage *stage, struct qcow2_table *table,
            const void *pages, uint64_t length, uint64_t offset)
{
    struct err *error = NULL;

    memcpy(stage->data, pages, length);
    stage->table = table;
    if (table)
        table->pins++;
    stage->is_busy = true;
    stage->op =
        (struct io_op){.kind = IO_WRITE,
                       .fd = io_file_choose(&image->file, stage->data, (uint32_t)length, offset),
                       .data = stage->data,
                       .length = (uint32_t)length,
                       .offset = offset,
                       .done = stage_done,
                       .opaque = stage};
    image->checkpoint.in_flight++;
    if (io_queue(image->io, &stage->op, &error) < 0)
        stage_done(&stage->op, error);
}

/* The next run of dirty pages of L2 tables into @stage; false when there is none left. */
static bool
stage_l2(struct qcow2_image *image, struct qcow2_stage *stage)
{
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;
    uint64_t pages = image->g.cluster_size / QCOW2_PAGE;

    for (; checkpoint->next_table < checkpoint->tables.count; checkpoint->next_table++) {
        struct qcow2_table *table = image->l2[checkpoint->tables.items[checkpoint->next_table]];
        uint64_t first, end;

        if (!table) { /* evicted, and with that written */
            checkpoint->pages = UINT64_MAX;
            continue;
        }
        checkpoint->pages &= table->dirty;
        if (!checkpoint->pages) {
            checkpoint->pages = UINT64_MAX;
            continue;
        }
        first = (uint64_t)__builtin_ctzll(checkpoint->pages);
        for (end = first; end < pages && end - first < STAGE_BYTES / QCOW2_PAGE &&
                          checkpoint->pages & 1ULL << end;
             end++) {
            checkpoint->pages &= ~(1ULL << end);
            table->dirty &= ~(1ULL << end);
        }
        write_stage(image, stage, table, (char *)table->entries + first * QCOW2_PAGE,
                    (end - first) * QCOW2_PAGE, table->host + first * QCOW2_PAGE);
        return true;
    }
    return false;
}

static bool
stage_l1(struct qcow2_image *image, struct qcow2_stage *stage)
{
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;

    for (; checkpoint->next_l1_page < image->l1.bytes / QCOW2_PAGE; checkpoint->next_l1_page++) {
        uint64_t at = checkpoint->next_l1_page * QCOW2_PAGE;

        if (!take(image->l1.dirty[checkpoint->next_l1_page]))
            continue;
        write_stage(image, stage, NULL, (char *)image->l1.entries + at, QCOW2_PAGE,
                    image->l1.offset + at);
        return true;
    }
    return false;
}

/* Fills the stages that are free; the sync follows the last page. */
static void
pump(struct qcow2_image *image)
{
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;

    if (!checkpoint->is_running || checkpoint->is_syncing)
        return;
    for (unsigned i = 0; i < CHECKPOINT_DEPTH && checkpoint->is_running && !checkpoint->error;
         i++) {
        struct qcow2_stage *stage = &checkpoint->stages[i];

        if (!stage->is_busy && !stage_l2(image, stage) && !stage_l1(image, stage))
            break;
    }
    if (checkpoint->in_flight || checkpoint->is_syncing || !checkpoint->is_running)
        return;
    if (checkpoint->error)
        finish_checkpoint(image);
    else
        start_sync(image);
}

int
qcow2_checkpoint_start(struct disk_target *target, struct disk_request *request, struct err **err)
{
    struct qcow2_image *image = (struct qcow2_image *)target;
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;

    if (checkpoint->is_running)
        return err_set(err, E_BUG, "%s: two checkpoints at once", image->path);
    /* Zeroes have no completion of their own: they are waited for here. */
    if (qcow2_wait_zeroes(image, UINT64_MAX, err) < 0)
        return -1;
    checkpoint->tables.count = 0;
    for (struct qcow2_table *table = image->oldest; table; table = table->newer)
        if (table->dirty)
            vec_push(&checkpoint->tables, table->l1_index);
    checkpoint->next_table = 0;
    checkpoint->pages = UINT64_MAX;
    checkpoint->next_l1_page = 0;
    checkpoint->request = request;
    checkpoint->is_running = true;
    pump(image);
    return target->ops->submit(target, err);
}
