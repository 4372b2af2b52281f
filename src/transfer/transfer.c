#include "transfer/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "transfer/bytes.h"
#include "transfer/plan.h"

#define DEFAULT_IN_FLIGHT        16U
#define DEFAULT_CHECKPOINT_MS    5000
#define DEFAULT_CHECKPOINT_BYTES (512U * MIB)
#define TICK_MS                  250 /* between reports; also how late a cancel may be seen */
#define RATE_SAMPLES             16  /* of one tick each */

VEC_DECLARE(block_list, uint64_t);

/* A block that requests have been issued for. */
struct open_block {
    uint64_t index;
    unsigned left;      /* requests not finished */
    bool is_all_issued; /* no more of it will come */
    bool has_failed;    /* something of it was not written */
    struct open_block *next_free;
};

struct flight;

struct run_write {
    struct disk_request request;
    struct flight *flight;
    struct run_write *next; /* while it waits for the target */
};

/* One slot's way from source to target. */
struct flight {
    struct transfer *transfer;
    struct disk_request read;
    uint32_t issued_length;
    struct open_block *block;
    struct run_write writes[MAX_RUNS / 2 + 1]; /* data and zeroes alternate */
    unsigned writes_left;
    bool has_failed;
    struct flight *next_free;
};

struct transfer {
    const struct transfer_job *job;
    struct disk_source *source;
    struct disk_target *target;
    struct plan plan;
    bool is_plan_over;
    struct err *error; /* the first one; nothing new is issued after it */
    bool is_cancelled;
    bool is_target_broken; /* no checkpoint can be had any more */
    bool is_source_lost;   /* its queue is broken: what it has in flight may never come back */
    bool is_target_lost;   /* ditto */
    bool is_abandoned;     /* transfer_run is gone: the last completion frees */

    struct flight *flights, *free_flights;
    unsigned reads_in_flight, max_reads, writes_in_flight, max_writes;
    struct run_write *waiting, **waiting_end;
    bool has_queued_reads, has_queued_writes;
    int64_t pace_ms;                         /* until more may be read; 0: now */
    struct open_block *blocks, *free_blocks; /* one more than flights */
    struct open_block *issuing;              /* the block that the plan is in */

    struct disk_request checkpoint;
    bool is_checkpointing, has_checkpointed;
    struct block_list complete; /* blocks written since the last checkpoint began */
    struct block_list covered;  /* by the checkpoint under way */
    uint64_t bytes_at_checkpoint;
    int64_t checkpoint_began_ms;

    struct transfer_progress progress;
    uint64_t read_bytes;
    int64_t began_ms, now_ms, reported_ms;
    struct {
        int64_t at_ms;
        uint64_t bytes;
    } samples[RATE_SAMPLES];
    unsigned sample_count;
};

static void
transfer_free(struct transfer *t)
{
    free(t->flights);
    free(t->blocks);
    vec_done(&t->complete);
    vec_done(&t->covered);
    err_free(t->error);
    free(t);
}

/* The first error is the one to report; owns @error. */
static void
note_error(struct transfer *t, struct err *error)
{
    if (t->error)
        err_free(error);
    else
        t->error = error;
}

static void
note_target_error(struct transfer *t, struct err *error)
{
    t->is_target_broken = true;
    note_error(t, error);
}

/* ---- blocks and flights ----------------------------------------------------------------------- */

static void
settle_block(struct transfer *t, struct open_block *block)
{
    if (block->left || !block->is_all_issued)
        return;
    if (!block->has_failed)
        vec_push(&t->complete, block->index);
    block->next_free = t->free_blocks;
    t->free_blocks = block;
}

static void
finish_flight(struct transfer *t, struct flight *flight)
{
    struct open_block *block = flight->block;

    disk_pool_put(t->job->pool, take(flight->read.slot));
    flight->next_free = t->free_flights;
    t->free_flights = flight;
    block->left--;
    block->has_failed |= flight->has_failed;
    settle_block(t, block);
}

/* After transfer_run has given up on a party whose queue is broken, what it still had may come back
 * when it is closed. */
static bool
is_late(struct transfer *t, struct err *error)
{
    if (!t->is_abandoned)
        return false;
    err_free(error);
    if (!t->reads_in_flight && !t->writes_in_flight && !t->is_checkpointing)
        transfer_free(t);
    return true;
}

static void
write_done(struct disk_request *request, struct err *error)
{
    struct run_write *write = request->opaque;
    struct flight *flight = write->flight;
    struct transfer *t = flight->transfer;

    t->writes_in_flight--;
    if (is_late(t, error))
        return;
    if (error) {
        flight->has_failed = true;
        note_target_error(t, error);
    } else {
        t->progress.copied_bytes += request->length;
    }
    if (--flight->writes_left == 0)
        finish_flight(t, flight);
}

/* Hands waiting writes to the target, as many as it takes at a time. */
static void
issue_writes(struct transfer *t)
{
    while (t->waiting && t->writes_in_flight < t->max_writes) {
        struct run_write *write = t->waiting;
        struct err *error = NULL;

        t->waiting = write->next;
        if (!t->waiting)
            t->waiting_end = &t->waiting;
        t->writes_in_flight++;
        t->has_queued_writes = true;
        if (t->is_target_broken)
            err_set(&error, E_TARGET_WRITE, "an earlier write failed");
        if (error || t->target->ops->write(t->target, &write->request, &error) < 0)
            write_done(&write->request, error);
    }
}

static void
add_write(struct flight *flight, struct byte_run run)
{
    struct transfer *t = flight->transfer;
    struct run_write *write = &flight->writes[flight->writes_left++];

    *write = (struct run_write){
        .flight = flight,
        .request = {.offset = flight->read.offset + run.start,
                    .length = run.length,
                    .slot = flight->read.slot,
                    .slot_offset = run.start,
                    .done = write_done,
                    .opaque = write},
    };
    *t->waiting_end = write;
    t->waiting_end = &write->next;
}

static void
add_zeroes(struct flight *flight, struct byte_run run)
{
    struct transfer *t = flight->transfer;
    struct err *error = NULL;

    if (!t->target->is_new) {
        t->has_queued_writes = true;
        if (t->target->ops->zero(t->target, flight->read.offset + run.start, run.length, &error) <
            0) {
            flight->has_failed = true;
            note_target_error(t, error);
            return;
        }
    }
    t->progress.zeroed_bytes += run.length;
}

/* Everything that looks at the bytes does so here, once, while they are warm. */
static void
pass_on(struct flight *flight)
{
    struct byte_run runs[MAX_RUNS];
    unsigned count =
        bytes_find_runs(flight->read.slot->data, flight->read.offset, flight->read.length, runs);

    for (unsigned i = 0; i < count; i++)
        if (runs[i].is_zero)
            add_zeroes(flight, runs[i]);
        else
            add_write(flight, runs[i]);
}

static void
read_done(struct disk_request *request, struct err *error)
{
    struct flight *flight = request->opaque;
    struct transfer *t = flight->transfer;

    t->reads_in_flight--;
    if (is_late(t, error))
        return;
    flight->writes_left = 0;
    if (!error && request->length != flight->issued_length)
        err_set(&error, E_SHORT_TRANSFER,
                "read at %" PRIu64 " gave %" PRIu32 " of %" PRIu32 " bytes", request->offset,
                request->length, flight->issued_length);
    if (error) {
        flight->has_failed = true;
        note_error(t, error);
    } else {
        t->read_bytes += request->length;
        pass_on(flight);
    }
    if (flight->writes_left == 0)
        finish_flight(t, flight);
}

static void
issue_read(struct transfer *t, struct flight *flight, struct disk_slot *slot,
           const struct plan_piece *piece)
{
    struct err *error = NULL;

    if (!t->issuing) {
        t->issuing = t->free_blocks;
        t->free_blocks = t->issuing->next_free;
        *t->issuing = (struct open_block){.index = piece->block};
    }
    flight->has_failed = false;
    flight->block = t->issuing;
    flight->block->left++;
    if (piece->is_last_of_block) {
        flight->block->is_all_issued = true;
        t->issuing = NULL;
    }
    flight->issued_length = piece->length;
    flight->read = (struct disk_request){.offset = piece->offset,
                                         .length = piece->length,
                                         .slot = slot,
                                         .done = read_done,
                                         .opaque = flight};
    t->reads_in_flight++;
    t->has_queued_reads = true;
    if (t->source->ops->read(t->source, &flight->read, &error) < 0)
        read_done(&flight->read, error);
}

static void
issue_reads(struct transfer *t)
{
    while (!t->is_plan_over && !t->error && !t->is_cancelled && t->free_flights) {
        struct flight *flight = t->free_flights;
        struct disk_slot *slot;
        struct plan_piece piece;

        if (t->reads_in_flight >= t->max_reads)
            return;
        if (t->job->pace) {
            t->pace_ms = transfer_pace_charge(t->job->pace, 0, t->now_ms);
            if (t->pace_ms)
                return;
        }
        slot = disk_pool_get(t->job->pool);
        if (!slot)
            return;
        if (!plan_next(&t->plan, &piece)) {
            t->is_plan_over = true;
            disk_pool_put(t->job->pool, slot);
            return;
        }
        t->free_flights = flight->next_free;
        if (t->job->pace)
            (void)transfer_pace_charge(t->job->pace, piece.length, t->now_ms); /* asked above */
        issue_read(t, flight, slot, &piece);
    }
}

/* ---- checkpoints ------------------------------------------------------------------------------ */

static void
publish(struct transfer *t)
{
    struct err *error = NULL;

    for (size_t i = 0; t->job->done && i < t->covered.count; i++)
        transfer_bitmap_set(t->job->done, t->covered.items[i], true);
    t->covered.count = 0;
    t->has_checkpointed = true;
    if (t->job->on_checkpoint && t->job->on_checkpoint(t->job->opaque, &t->progress, &error) < 0)
        note_target_error(t, error);
}

static void
checkpoint_done(struct disk_request *request, struct err *error)
{
    struct transfer *t = request->opaque;

    t->is_checkpointing = false;
    if (is_late(t, error))
        return;
    if (error)
        note_target_error(t, error);
    else
        publish(t);
}

static uint64_t
moved_bytes(const struct transfer *t)
{
    return t->progress.copied_bytes + t->progress.zeroed_bytes;
}

/* What is in `complete` now had completed before this call: just what the target promises to cover. */
static void
begin_checkpoint(struct transfer *t)
{
    struct block_list empty = t->covered;
    struct err *error = NULL;

    t->covered = t->complete;
    t->complete = empty;
    t->bytes_at_checkpoint = moved_bytes(t);
    t->checkpoint_began_ms = t->now_ms;
    t->checkpoint = (struct disk_request){.done = checkpoint_done, .opaque = t};
    t->is_checkpointing = true;
    if (t->target->ops->checkpoint(t->target, &t->checkpoint, &error) < 0) {
        t->is_checkpointing = false;
        note_target_error(t, error);
    }
}

static bool
is_idle(const struct transfer *t)
{
    if (t->reads_in_flight && !t->is_source_lost)
        return false;
    if ((t->writes_in_flight || t->waiting) && !t->is_target_lost)
        return false;
    return t->is_plan_over || t->error || t->is_cancelled;
}

static bool
is_checkpoint_due(const struct transfer *t)
{
    int64_t every_ms = t->job->checkpoint_ms ? t->job->checkpoint_ms : DEFAULT_CHECKPOINT_MS;
    uint64_t every_bytes =
        t->job->checkpoint_bytes ? t->job->checkpoint_bytes : DEFAULT_CHECKPOINT_BYTES;
    uint64_t moved = moved_bytes(t) - t->bytes_at_checkpoint;

    if (t->is_checkpointing || t->is_target_broken)
        return false;
    if (is_idle(t)) /* the last one */
        return moved || t->complete.count || !t->has_checkpointed;
    return moved && (moved >= every_bytes || t->now_ms - t->checkpoint_began_ms >= every_ms);
}

/* ---- progress --------------------------------------------------------------------------------- */

static void
update_progress(struct transfer *t)
{
    struct transfer_progress *p = &t->progress;
    unsigned oldest = t->sample_count > RATE_SAMPLES ? t->sample_count - RATE_SAMPLES : 0;
    int64_t span_ms = t->now_ms - t->samples[oldest % RATE_SAMPLES].at_ms;
    uint64_t bytes = t->read_bytes - t->samples[oldest % RATE_SAMPLES].bytes;
    uint64_t left = p->planned_bytes - MIN(t->read_bytes, p->planned_bytes);

    p->elapsed_ms = t->now_ms - t->began_ms;
    p->rate_bytes_per_s = span_ms > 0 ? bytes * 1000 / (uint64_t)span_ms : 0;
    p->eta_s = left == 0 ? 0 : p->rate_bytes_per_s ? (int64_t)(left / p->rate_bytes_per_s) : -1;
}

static void
report(struct transfer *t)
{
    update_progress(t);
    t->samples[t->sample_count % RATE_SAMPLES].at_ms = t->now_ms;
    t->samples[t->sample_count % RATE_SAMPLES].bytes = t->read_bytes;
    t->sample_count++;
    t->reported_ms = t->now_ms;
    if (t->job->on_progress)
        t->job->on_progress(t->job->opaque, &t->progress);
}

/* ---- the loop --------------------------------------------------------------------------------- */

static unsigned
drive_source(struct transfer *t)
{
    struct err *error = NULL;
    unsigned count = 0;

    if (t->is_source_lost)
        return 0;
    if ((take(t->has_queued_reads) && t->source->ops->submit(t->source, &error) < 0) ||
        (t->reads_in_flight && t->source->ops->reap(t->source, &count, &error) < 0)) {
        t->is_source_lost = true;
        note_error(t, error);
    }
    return count;
}

static unsigned
drive_target(struct transfer *t)
{
    struct err *error = NULL;
    unsigned count = 0;

    if (t->is_target_lost)
        return 0;
    issue_writes(t);
    if ((take(t->has_queued_writes) && t->target->ops->submit(t->target, &error) < 0) ||
        ((t->writes_in_flight || t->is_checkpointing) &&
         t->target->ops->reap(t->target, &count, &error) < 0)) {
        t->is_target_lost = true;
        note_target_error(t, error);
    }
    return count;
}

static void
wait_for_parties(struct transfer *t)
{
    struct pollfd fds[2];
    nfds_t count = 0;
    int64_t tick = t->reported_ms + TICK_MS - t->now_ms;

    if (t->pace_ms)
        tick = MIN(tick, t->pace_ms);
    t->pace_ms = 0;
    if (t->reads_in_flight && !t->is_source_lost)
        fds[count++] = (struct pollfd){.fd = t->source->poll_fd, .events = POLLIN};
    if ((t->writes_in_flight || t->is_checkpointing) && !t->is_target_lost)
        fds[count++] = (struct pollfd){.fd = t->target->poll_fd, .events = POLLIN};
    (void)poll(fds, count, (int)MIN(MAX(tick, 0), TICK_MS)); /* a signal is as good as a tick */
}

static bool
is_over(const struct transfer *t)
{
    return is_idle(t) && (!t->is_checkpointing || t->is_target_lost);
}

static void
loop(struct transfer *t)
{
    unsigned moved = 0;

    while (true) {
        t->now_ms = clock_monotonic_ms();
        if (t->now_ms - t->reported_ms >= TICK_MS)
            report(t);
        if (t->job->cancel && *t->job->cancel)
            t->is_cancelled = true;
        issue_reads(t);
        moved = drive_source(t);
        moved += drive_target(t);
        if (is_checkpoint_due(t))
            begin_checkpoint(t);
        if (is_over(t))
            return;
        /* What came back made room: that is used before sleeping. */
        if (!moved)
            wait_for_parties(t);
    }
}

static struct transfer *
transfer_new(const struct transfer_job *job, struct err **err)
{
    struct transfer *t = xcalloc(1, sizeof(*t));
    unsigned count = (unsigned)job->pool->slot_count;

    t->job = job;
    t->source = job->source;
    t->max_reads = MIN(job->max_in_flight ? job->max_in_flight : DEFAULT_IN_FLIGHT,
                       job->source->max_in_flight);
    t->target = job->target;
    t->waiting_end = &t->waiting;
    t->max_writes = MAX(job->target->max_in_flight, 1U);
    if (plan_init(&t->plan, job, MIN(job->source->size, job->target->size), err) < 0) {
        transfer_free(t);
        return NULL;
    }
    plan_count(&t->plan, &t->progress.planned_bytes, &t->progress.skipped_bytes);
    t->flights = xcalloc(count, sizeof(t->flights[0]));
    for (unsigned i = 0; i < count; i++) {
        t->flights[i].transfer = t;
        t->flights[i].next_free = t->free_flights;
        t->free_flights = &t->flights[i];
    }
    t->blocks = xcalloc(count + 1, sizeof(t->blocks[0]));
    for (unsigned i = 0; i <= count; i++) {
        t->blocks[i].next_free = t->free_blocks;
        t->free_blocks = &t->blocks[i];
    }
    t->began_ms = t->now_ms = t->reported_ms = t->checkpoint_began_ms = clock_monotonic_ms();
    t->samples[0].at_ms = t->now_ms;
    t->sample_count = 1;
    return t;
}

static int
conclude(struct transfer *t, struct err **err)
{
    const struct transfer_progress *p = &t->progress;

    if (t->error)
        return err_move(err, &t->error);
    if (t->is_cancelled)
        return err_set(err, E_CANCELLED, "the copy was stopped");
    if (moved_bytes(t) != p->planned_bytes)
        return err_set(err, E_SHORT_TRANSFER,
                       "%" PRIu64 " bytes copied and %" PRIu64 " zeroed of %" PRIu64 " planned",
                       p->copied_bytes, p->zeroed_bytes, p->planned_bytes);
    return 0;
}

int
transfer_run(const struct transfer_job *job, struct transfer_progress *ret_progress,
             struct err **err)
{
    struct transfer *t = transfer_new(job, err);
    int result;

    if (!t)
        return -1;
    loop(t);
    t->is_abandoned = t->reads_in_flight || t->writes_in_flight || t->is_checkpointing;
    t->now_ms = clock_monotonic_ms();
    report(t);
    if (ret_progress)
        *ret_progress = t->progress;
    result = conclude(t, err);
    if (!t->is_abandoned)
        transfer_free(t);
    return result;
}
