/* The way of one slot: read from the source, looked at once, written from in as many pieces as there
 * are runs of data.  Pieces of a block that the target may have already wait for each other: only the
 * whole block has a digest. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "transfer/inner.h"

/* ---- blocks ----------------------------------------------------------------------------------- */

static void
settle_block(struct transfer *t, struct open_block *block)
{
    struct finished_block finished = {.index = block->index, .is_done = !block->is_repaired};

    if (block->left || !block->is_all_issued)
        return;
    if (!block->has_failed) {
        leaves_digest(&block->leaves, t->job->unplanned_is_zero, &finished.digest);
        vec_push(&t->complete, finished);
    }
    block->is_open = false;
    block->next_free = t->free_blocks;
    t->free_blocks = block;
}

/* Everything of a block that is compared has been read: it is written as a whole, or not at all. */
static void
decide(struct transfer *t, struct open_block *block)
{
    struct transfer_digest digest = DIGEST_NONE;
    struct flight *flight = block->held;
    bool is_same;

    if (block->unread || !block->is_all_issued || !flight)
        return;
    block->held = NULL;
    if (!block->has_failed)
        leaves_digest(&block->leaves, false, &digest);
    is_same = digest_equal(&digest, &block->known);
    while (flight) {
        struct flight *next = flight->next; /* the record may be used anew once it is finished */

        if (is_same)
            t->progress.same_bytes += flight->issued_length;
        if (is_same || block->has_failed)
            flight_finish(flight);
        else
            flight_write(flight);
        flight = next;
    }
}

void
flight_give_up_issuing(struct transfer *t)
{
    struct open_block *block = take(t->issuing);

    if (!block)
        return;
    block->has_failed = true;
    block->is_all_issued = true;
    if (block->left == 0)
        settle_block(t, block);
    else
        decide(t, block);
}

void
flight_finish(struct flight *flight)
{
    struct transfer *t = flight->transfer;
    struct open_block *block = flight->block;

    if (flight->other)
        disk_pool_put(t->job->pool, take(flight->other));
    disk_pool_put(t->job->pool, take(flight->read.slot));
    flight->next = t->free_flights;
    t->free_flights = flight;
    t->used_flights--;
    block->left--;
    block->has_failed |= flight->has_failed;
    settle_block(t, block);
}

/* ---- the target's side ------------------------------------------------------------------------ */

static void
target_op_done(struct disk_request *request, struct err *error)
{
    struct target_op *op = request->opaque;
    struct flight *flight = op->flight;
    struct transfer *t = flight->transfer;

    t->target_in_flight--;
    if (transfer_is_late(t, error))
        return;
    flight->ops_left--;
    if (error) {
        flight->has_failed = true;
        transfer_note_target_error(t, error);
    } else if (op->is_read) {
        verify_target_read(flight);
        return;
    } else {
        t->progress.copied_bytes += request->length;
    }
    if (flight->ops_left == 0)
        flight_finish(flight);
}

void
flight_issue_target(struct transfer *t)
{
    while (t->waiting && t->target_in_flight < t->max_target) {
        const struct disk_target_ops *ops = t->target->ops;
        struct target_op *op = t->waiting;
        struct err *error = NULL;

        t->waiting = op->next;
        if (!t->waiting)
            t->waiting_end = &t->waiting;
        t->target_in_flight++;
        t->has_queued_target = true;
        if (t->is_target_broken)
            err_set(&error, E_TARGET_WRITE, "an earlier write failed");
        if (error || (op->is_read ? ops->read : ops->write)(t->target, &op->request, &error) < 0)
            target_op_done(&op->request, error);
    }
}

static void
add_target_op(struct flight *flight, struct target_op op)
{
    struct transfer *t = flight->transfer;
    struct target_op *place = &flight->ops[flight->ops_left++];

    *place = op;
    place->flight = flight;
    place->request.done = target_op_done;
    place->request.opaque = place;
    *t->waiting_end = place;
    t->waiting_end = &place->next;
}

static void
add_write(struct flight *flight, struct byte_run run)
{
    add_target_op(flight, (struct target_op){.request = {.offset = flight->read.offset + run.start,
                                                         .length = run.length,
                                                         .slot = flight->read.slot,
                                                         .slot_offset = run.start}});
}

void
flight_read_target(struct flight *flight)
{
    add_target_op(flight, (struct target_op){.request = {.offset = flight->read.offset,
                                                         .length = flight->issued_length,
                                                         .slot = flight->other},
                                             .is_read = true});
}

static void
add_zeroes(struct flight *flight, struct byte_run run)
{
    struct transfer *t = flight->transfer;
    struct err *error = NULL;

    if (!t->target->is_new || t->job->verify) {
        t->has_queued_target = true;
        if (t->target->ops->zero(t->target, flight->read.offset + run.start, run.length, &error) <
            0) {
            flight->has_failed = true;
            transfer_note_target_error(t, error);
            return;
        }
    }
    t->progress.zeroed_bytes += run.length;
}

void
flight_write(struct flight *flight)
{
    struct byte_run runs[MAX_RUNS];
    unsigned count =
        bytes_find_runs(flight->read.slot->data, flight->read.offset, flight->read.length, runs);

    for (unsigned i = 0; i < count; i++)
        if (runs[i].is_zero)
            add_zeroes(flight, runs[i]);
        else
            add_write(flight, runs[i]);
    if (flight->ops_left == 0)
        flight_finish(flight);
}

/* ---- the source's side ------------------------------------------------------------------------ */

/* The bytes have come, all of them.  Everything that looks at them does so here, once, while they are
 * warm. */
static void
pass_on(struct flight *flight)
{
    struct transfer *t = flight->transfer;
    struct open_block *block = flight->block;

    if (t->job->verify) {
        verify_source_read(flight);
        return;
    }
    t->read_bytes += flight->read.length;
    if (t->job->digests)
        leaves_add(&block->leaves, flight->read.slot->data, flight->read.offset,
                   flight->read.length);
    if (!block->is_compared) {
        flight_write(flight);
        return;
    }
    flight->next = block->held;
    block->held = flight;
    decide(t, block);
}

static void
read_done(struct disk_request *request, struct err *error)
{
    struct flight *flight = request->opaque;
    struct open_block *block = flight->block;
    struct transfer *t = flight->transfer;

    t->reads_in_flight--;
    if (transfer_is_late(t, error))
        return;
    block->unread--;
    if (!error && request->length != flight->issued_length)
        err_set(&error, E_SHORT_TRANSFER,
                "read at %" PRIu64 " gave %" PRIu32 " of %" PRIu32 " bytes", request->offset,
                request->length, flight->issued_length);
    if (!error) {
        window_note(&t->window, request->length, t->now_ms - flight->issued_ms,
                    t->reads_in_flight + 1, t->now_ms);
        pass_on(flight);
        return;
    }
    flight->has_failed = true;
    block->has_failed = true;
    transfer_note_error(t, error);
    block->left++; /* it is not settled while its others are decided on */
    flight_finish(flight);
    decide(t, block);
    block->left--;
    settle_block(t, block);
}

void
flight_read_source(struct flight *flight)
{
    struct transfer *t = flight->transfer;
    struct err *error = NULL;

    transfer_pace_charge(t->job->paces, flight->read.length, t->now_ms);
    flight->issued_ms = t->now_ms;
    t->reads_in_flight++;
    t->has_queued_reads = true;
    flight->block->unread++;
    if (t->source->ops->read(t->source, &flight->read, &error) < 0)
        read_done(&flight->read, error);
}

/* ---- issuing ---------------------------------------------------------------------------------- */

/* Whether all pieces of a block may wait for each other without taking the last slot. */
static bool
can_hold(const struct transfer *t)
{
    return TRANSFER_BLOCK / t->plan.request_bytes + 1 < t->job->pool->slot_count;
}

/* The block that the plan enters.  -1 with the transfer's error set. */
static int
enter_block(struct transfer *t, const struct plan_piece *piece)
{
    struct transfer_digests *digests = t->job->digests;
    struct open_block *block = t->free_blocks;
    struct err *error = NULL;

    if (digests && !t->job->verify &&
        digests_cover(digests, piece->block, plan_horizon(&t->plan), &error) < 0) {
        transfer_note_error(t, error);
        return -1;
    }
    t->free_blocks = block->next_free;
    *block = (struct open_block){.index = piece->block, .is_open = true};
    t->issuing = block;
    leaves_init(&block->leaves, piece->block, MIN(t->source->size, t->target->size));
    if (!digests || !(piece->is_whole_block || t->job->verify))
        return 0;
    if (digests_get(digests, piece->block, &block->known, &error) < 0) {
        transfer_note_error(t, error);
        return -1;
    }
    block->is_compared = !t->job->verify && digest_is_known(&block->known) && can_hold(t);
    return 0;
}

static void
issue(struct transfer *t, struct flight *flight, const struct plan_piece *piece)
{
    struct open_block *block = t->issuing;

    flight->has_failed = false;
    flight->ops_left = 0;
    flight->block = block;
    block->left++;
    if (piece->is_last_of_block) {
        block->is_all_issued = true;
        t->issuing = NULL;
    }
    flight->issued_length = piece->length;
    flight->read = (struct disk_request){.offset = piece->offset,
                                         .length = piece->length,
                                         .slot = flight->read.slot,
                                         .done = read_done,
                                         .opaque = flight};
    if (t->job->verify)
        flight_read_target(flight);
    else
        flight_read_source(flight);
}

/* Whether the paces let another read go.  The target's are not limited. */
static bool
has_leave(struct transfer *t)
{
    if (t->job->is_urgent || t->job->verify == TRANSFER_VERIFY_TARGET)
        return true;
    t->pace_ms = transfer_pace_ask(t->job->paces, t->now_ms);
    return t->pace_ms == 0;
}

static bool
get_slots(struct transfer *t, struct flight *flight)
{
    if (t->job->verify && t->job->pool->free_count < 2)
        return false;
    flight->read.slot = disk_pool_get(t->job->pool);
    flight->other = t->job->verify ? disk_pool_get(t->job->pool) : NULL;
    return flight->read.slot != NULL;
}

static void
put_slots(struct transfer *t, struct flight *flight)
{
    if (flight->other)
        disk_pool_put(t->job->pool, take(flight->other));
    disk_pool_put(t->job->pool, take(flight->read.slot));
}

/* Reads that the source has, or that a verification is about to ask it for. */
static unsigned
under_way(const struct transfer *t)
{
    return t->job->verify ? t->reads_in_flight + t->target_in_flight : t->reads_in_flight;
}

/* Whether enough waits for the target: more would only leave the cache before it is written.  The
 * pieces of a block that wait for each other have room in any case. */
static bool
is_full(const struct transfer *t)
{
    return t->used_flights >= MAX(window_reads(&t->window) + 2 * t->max_target,
                                  TRANSFER_BLOCK / t->plan.request_bytes + 2);
}

void
flight_issue_all(struct transfer *t)
{
    while (!t->is_plan_over && !t->error && !t->is_cancelled && t->free_flights) {
        struct flight *flight = t->free_flights;
        struct plan_piece piece;

        if (under_way(t) >= window_reads(&t->window) || is_full(t) || !has_leave(t) ||
            !get_slots(t, flight))
            return;
        if (!t->issuing) /* all pieces of a block are of one size: can_hold counts them */
            t->plan.request_bytes = t->window.request_bytes;
        if (!plan_next(&t->plan, &piece)) {
            t->is_plan_over = true;
            put_slots(t, flight);
            return;
        }
        if (!t->issuing && enter_block(t, &piece) < 0) {
            put_slots(t, flight);
            return;
        }
        t->free_flights = flight->next;
        t->used_flights++;
        issue(t, flight, &piece);
    }
}
