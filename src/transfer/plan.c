#include "transfer/plan.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/util.h"

#define HORIZON_BLOCKS  1024U
#define HORIZON_EXTENTS 512U

/* Never so large that a widened extent would reach into another block. */
static uint32_t
alignment_of(const struct disk_source *source)
{
    return source->alignment > DISK_SECTOR && TRANSFER_BLOCK % source->alignment == 0
               ? source->alignment
               : DISK_SECTOR;
}

static bool
is_aligned(const struct extents *extents, uint32_t alignment, uint64_t size)
{
    for (size_t i = 0; i < extents->count; i++) {
        uint64_t end = extents->items[i].offset + extents->items[i].length;

        if (extents->items[i].offset % alignment || (end % alignment && end != size))
            return false;
    }
    return true;
}

static void
align(const struct extents *extents, uint32_t alignment, uint64_t size, struct extents *ret)
{
    for (size_t i = 0; i < extents->count; i++) {
        struct extent *last = ret->count ? &ret->items[ret->count - 1] : NULL;
        uint64_t start = round_down(extents->items[i].offset, alignment);
        uint64_t end =
            MIN(round_up(extents->items[i].offset + extents->items[i].length, alignment), size);

        if (last && start <= last->offset + last->length)
            last->length = MAX(end, last->offset + last->length) - last->offset;
        else
            vec_push(ret, (struct extent){start, end - start});
    }
}

int
plan_init(struct plan *plan, const struct transfer_job *job, uint64_t size, struct err **err)
{
    uint32_t request_bytes = job->request_bytes ? job->request_bytes : DISK_MAX_REQUEST;
    uint32_t alignment = alignment_of(job->source);
    uint64_t end = 0;

    for (size_t i = 0; i < job->plan->count; i++) {
        struct extent e = job->plan->items[i];

        if (e.length == 0 || e.offset % DISK_SECTOR || e.length % DISK_SECTOR || e.offset < end ||
            e.offset > size || e.length > size - e.offset)
            return err_set(err, E_PLAN,
                           "planned extent at %" PRIu64 " of %" PRIu64
                           " bytes on a disk of %" PRIu64 " bytes",
                           e.offset, e.length, size);
        end = e.offset + e.length;
    }
    *plan = (struct plan){
        .extents = job->plan,
        .done = job->done,
        .size = size,
        .request_bytes = (uint32_t)MIN(round_up(request_bytes, alignment), DISK_MAX_REQUEST),
    };
    if (!is_aligned(plan->extents, alignment, size)) {
        align(plan->extents, alignment, size, &plan->aligned);
        plan->extents = &plan->aligned;
    }
    return 0;
}

void
plan_done(struct plan *plan)
{
    vec_done(&plan->aligned);
}

static bool
is_done(const struct plan *plan, uint64_t block)
{
    return plan->done && transfer_bitmap_get(plan->done, block);
}

/* Moves to the next byte that is to be read; false at the end. */
static bool
settle(struct plan *plan)
{
    while (plan->index < plan->extents->count) {
        struct extent e = plan->extents->items[plan->index];

        plan->offset = MAX(plan->offset, e.offset);
        if (plan->offset >= e.offset + e.length)
            plan->index++;
        else if (is_done(plan, plan->offset / TRANSFER_BLOCK))
            plan->offset = round_down(plan->offset, TRANSFER_BLOCK) + TRANSFER_BLOCK;
        else
            return true;
    }
    return false;
}

bool
plan_next(struct plan *plan, struct plan_piece *ret_piece)
{
    struct plan_piece piece;
    struct extent e;
    uint64_t end;

    if (!settle(plan))
        return false;
    e = plan->extents->items[plan->index];
    piece.offset = plan->offset;
    piece.block = plan->offset / TRANSFER_BLOCK;
    end = MIN(e.offset + e.length, (piece.block + 1) * TRANSFER_BLOCK);
    piece.length = (uint32_t)MIN(end - piece.offset, plan->request_bytes);
    piece.is_whole_block =
        e.offset <= piece.block * TRANSFER_BLOCK &&
        e.offset + e.length >= MIN((piece.block + 1) * TRANSFER_BLOCK, plan->size);
    plan->offset += piece.length;
    piece.is_last_of_block = !settle(plan) || plan->offset / TRANSFER_BLOCK != piece.block;
    *ret_piece = piece;
    return true;
}

uint64_t
plan_horizon(const struct plan *plan)
{
    uint64_t near = plan->offset / TRANSFER_BLOCK + HORIZON_BLOCKS;
    size_t last = plan->extents->count - 1; /* a plan without extents has no blocks to come */

    return MAX(near, plan->extents->items[MIN(plan->index + HORIZON_EXTENTS, last)].offset /
                         TRANSFER_BLOCK);
}

void
plan_count(const struct plan *plan, uint64_t *ret_planned, uint64_t *ret_skipped)
{
    uint64_t skipped = 0;

    for (size_t i = 0; plan->done && i < plan->extents->count; i++) {
        uint64_t at = plan->extents->items[i].offset;
        uint64_t end = at + plan->extents->items[i].length;

        while (at < end) {
            uint64_t block = at / TRANSFER_BLOCK;
            uint64_t next = MIN((block + 1) * TRANSFER_BLOCK, end);

            if (is_done(plan, block))
                skipped += next - at;
            at = next;
        }
    }
    *ret_planned = extents_total(plan->extents) - skipped;
    *ret_skipped = skipped;
}
