#include "transfer/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "transfer/inner.h"

#define DEFAULT_IN_FLIGHT 16U

static void
transfer_free(struct transfer *t)
{
    free(t->flights);
    free(t->blocks);
    plan_done(&t->plan);
    vec_done(&t->complete);
    vec_done(&t->covered);
    err_free(t->error);
    free(t);
}

void
transfer_note_error(struct transfer *t, struct err *error)
{
    if (t->error)
        err_free(error);
    else
        t->error = error;
}

void
transfer_note_target_error(struct transfer *t, struct err *error)
{
    t->is_target_broken = true;
    transfer_note_error(t, error);
}

/* After transfer_run has given up on a party whose queue is broken, what it still had may come back
 * when it is closed. */
bool
transfer_is_late(struct transfer *t, struct err *error)
{
    if (!t->is_abandoned)
        return false;
    err_free(error);
    if (!t->reads_in_flight && !t->target_in_flight && !t->is_checkpointing)
        transfer_free(t);
    return true;
}

uint64_t
transfer_moved(const struct transfer *t)
{
    return t->progress.copied_bytes + t->progress.zeroed_bytes + t->progress.same_bytes;
}

static bool
is_idle(const struct transfer *t)
{
    if (t->reads_in_flight && !t->is_source_lost)
        return false;
    if ((t->target_in_flight || t->waiting) && !t->is_target_lost)
        return false;
    return t->is_plan_over || t->error || t->is_cancelled;
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
        transfer_note_error(t, error);
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
    flight_issue_target(t);
    if ((take(t->has_queued_target) && t->target->ops->submit(t->target, &error) < 0) ||
        ((t->target_in_flight || t->is_checkpointing) &&
         t->target->ops->reap(t->target, &count, &error) < 0)) {
        t->is_target_lost = true;
        transfer_note_target_error(t, error);
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
    if ((t->target_in_flight || t->is_checkpointing) && !t->is_target_lost)
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
            report_progress(t);
        if (t->job->cancel && *t->job->cancel)
            t->is_cancelled = true;
        flight_issue_all(t);
        if (t->error || t->is_cancelled)
            flight_give_up_issuing(t);
        moved = drive_source(t);
        moved += drive_target(t);
        if (checkpoint_is_due(t, is_idle(t)))
            checkpoint_begin(t);
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
    t->target = job->target;
    t->waiting_end = &t->waiting;
    t->max_target = MAX(job->target->max_in_flight, 1U);
    if (plan_init(&t->plan, job, MIN(job->source->size, job->target->size), err) < 0) {
        transfer_free(t);
        return NULL;
    }
    if (job->verify && !job->target->ops->read) {
        err_set(err, E_BUG, "a %s target cannot be read", job->target->ops->name);
        transfer_free(t);
        return NULL;
    }
    window_init(&t->window, job->tuning,
                MIN(job->max_in_flight ? job->max_in_flight : DEFAULT_IN_FLIGHT,
                    job->source->max_in_flight),
                t->plan.request_bytes, clock_monotonic_ms());
    plan_count(&t->plan, &t->progress.planned_bytes, &t->progress.skipped_bytes);
    t->flights = xcalloc(count, sizeof(t->flights[0]));
    for (unsigned i = 0; i < count; i++) {
        t->flights[i].transfer = t;
        t->flights[i].next = t->free_flights;
        t->free_flights = &t->flights[i];
    }
    t->block_count = count + 1U;
    t->blocks = xcalloc(t->block_count, sizeof(t->blocks[0]));
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
    if (transfer_moved(t) != p->planned_bytes)
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
    t->is_abandoned = t->reads_in_flight || t->target_in_flight || t->is_checkpointing;
    t->now_ms = clock_monotonic_ms();
    report_progress(t);
    if (ret_progress)
        *ret_progress = t->progress;
    result = conclude(t, err);
    if (!t->is_abandoned)
        transfer_free(t);
    return result;
}
