#include "base/err.h"
#include "base/util.h"
#include "transfer/inner.h"

#define DEFAULT_CHECKPOINT_MS    5000
#define DEFAULT_CHECKPOINT_BYTES (512U * MIB)

/* The first block whose digest may still be wrong after a power cut: everything before it is settled. */
static uint64_t
first_unsettled(const struct transfer *t)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < t->block_count; i++)
        if (t->blocks[i].is_open)
            first = MIN(first, t->blocks[i].index);
    for (size_t i = 0; i < t->complete.count; i++)
        first = MIN(first, t->complete.items[i].index);
    return first;
}

/* Digests before the blocks are called done: a block that is done has no digest of older bytes. */
static int
publish_digests(struct transfer *t, struct err **err)
{
    struct transfer_digests *digests = t->job->digests;

    if (!digests)
        return 0;
    for (size_t i = 0; i < t->covered.count; i++)
        if (digests_put(digests, t->covered.items[i].index, &t->covered.items[i].digest, err) < 0)
            return -1;
    return digests_flush(digests, first_unsettled(t), err);
}

static void
publish(struct transfer *t)
{
    struct err *error = NULL;

    if (publish_digests(t, &error) < 0) {
        transfer_note_target_error(t, error);
        return;
    }
    for (size_t i = 0; t->job->done && i < t->covered.count; i++)
        if (t->covered.items[i].is_done)
            transfer_bitmap_set(t->job->done, t->covered.items[i].index, true);
    t->covered.count = 0;
    t->has_checkpointed = true;
    if (t->job->on_checkpoint && t->job->on_checkpoint(t->job->opaque, &t->progress, &error) < 0)
        transfer_note_target_error(t, error);
}

static void
checkpoint_done(struct disk_request *request, struct err *error)
{
    struct transfer *t = request->opaque;

    t->is_checkpointing = false;
    if (transfer_is_late(t, error))
        return;
    if (error)
        transfer_note_target_error(t, error);
    else
        publish(t);
}

/* What is in `complete` now had completed before this call: just what the target promises to cover. */
void
checkpoint_begin(struct transfer *t)
{
    struct finished_blocks empty = t->covered;
    struct err *error = NULL;

    t->covered = t->complete;
    t->complete = empty;
    t->bytes_at_checkpoint = transfer_moved(t);
    t->checkpoint_began_ms = t->now_ms;
    t->checkpoint = (struct disk_request){.done = checkpoint_done, .opaque = t};
    t->is_checkpointing = true;
    if (t->target->ops->checkpoint(t->target, &t->checkpoint, &error) < 0) {
        t->is_checkpointing = false;
        transfer_note_target_error(t, error);
    }
}

bool
checkpoint_is_due(const struct transfer *t, bool is_last)
{
    int64_t every_ms = t->job->checkpoint_ms ? t->job->checkpoint_ms : DEFAULT_CHECKPOINT_MS;
    uint64_t every_bytes =
        t->job->checkpoint_bytes ? t->job->checkpoint_bytes : DEFAULT_CHECKPOINT_BYTES;
    uint64_t moved = transfer_moved(t) - t->bytes_at_checkpoint;

    if (t->is_checkpointing || t->is_target_broken)
        return false;
    if (is_last)
        return moved || t->complete.count || !t->has_checkpointed;
    return moved && (moved >= every_bytes || t->now_ms - t->checkpoint_began_ms >= every_ms);
}
