/* Delta rounds while the VM runs, and the wait between them. */
#include <inttypes.h>

#include "base/clock.h"
#include "migration/internal.h"

#define LONG_VERIFICATION_MS 30000

/* A disk's round is complete and durable: its change history moves on. */
static int
round_complete(struct migration *m, size_t index, struct err **err)
{
    struct store_disk *disk = &m->disks.items[index];

    if (disk->pending_change_id) {
        free(disk->change_id);
        disk->change_id = xstrdup(disk->pending_change_id);
    }
    disk->delta_rounds++;
    if (migration_save(m, err) < 0)
        return -1;
    return store_bitmap_drop(m->store, disk->id, STORE_BITMAP_DONE, err);
}

/* A cutover that finalize_at brought about and that did not go through: somebody started the VM again,
 * and it is not shut down a second time for it.  Or it passed while the migration was paused. */
static bool
is_finalize_at_spent(const struct migration *m)
{
    return m->finalize_at_missed == m->spec->finalize_at ||
           (m->record.powered_off_at && m->record.powered_off_at >= m->spec->finalize_at);
}

/* A downtime that is to be kept would not be, as of the last round. */
static bool
is_held(const struct migration *m)
{
    return m->spec->cutover_max_downtime && !m->hold.is_kept;
}

/* How long to wait before the next round, by the existing tool's rules: the usual interval, a shorter one in
 * the window before finalize_at, and never past it.  None there while the downtime is too long. */
static int64_t
interval_ms(const struct migration *m)
{
    const struct spec *spec = m->spec;
    int64_t left = spec->finalize_at - clock_wall_s();

    if (m->hold.is_hopeless) /* no use in haste */
        return spec->finalize_delta_interval * 1000;
    if (spec->finalize_at == 0 || is_finalize_at_spent(m))
        return spec->delta_interval * 1000;
    if (left <= 0 || (left <= spec->finalize_window && is_held(m)))
        return 0;
    return MIN(left <= spec->finalize_window ? spec->finalize_delta_interval : spec->delta_interval,
               left) *
           1000;
}

static bool
is_time_to_finalize(const struct migration *m)
{
    return m->spec->finalize_at && clock_wall_s() >= m->spec->finalize_at &&
           !is_finalize_at_spent(m);
}

/* Ends a wait early: any finalize request does, so that nobody waits out an interval for nothing.  One that
 * is held back without hope waits for its next round as others do. */
static bool
is_wait_over(struct migration *m)
{
    enum store_finalize request = STORE_FINALIZE_NONE;

    if (migration_is_paused(m) || migration_is_rehearsal_wanted(m) ||
        (is_time_to_finalize(m) && !m->hold.is_hopeless))
        return true;
    return migration_finalize_requested(m, &request, NULL) == 0 &&
           request >= (m->hold.is_hopeless ? STORE_FINALIZE_NOW : STORE_FINALIZE_PLAIN);
}

static bool
is_in_finalize_window(const struct migration *m)
{
    return m->spec->finalize_at && !is_finalize_at_spent(m) &&
           m->spec->finalize_at - clock_wall_s() <= m->spec->finalize_window;
}

/* In the first round, and shortly before the cutover for what was written since. */
static bool
is_verification_due(const struct migration *m, bool is_before_cutover)
{
    return m->spec->verify != CONFIG_VERIFY_NONE &&
           (is_before_cutover || is_in_finalize_window(m) || !migration_was_verified(m));
}

static uint64_t
changed_bytes(const struct migration *m, const struct migration_plan *plans)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < m->disks.count; i++)
        bytes +=
            plans[i].is_everything ? m->disks.items[i].capacity : extents_total(&plans[i].extents);
    return bytes;
}

/* When the round before began, since 1970; 0: not known. */
static int64_t
last_round_ms(const struct migration *m)
{
    struct store_rounds last = {0};
    int64_t ms = 0;

    if (store_rounds_load(m->store, m->record.id, 1, &last, NULL) == 0 && last.count)
        ms = last.items[0].began_at_ms;
    vec_done(&last);
    return ms;
}

bool
migration_is_cutover_near(struct migration *m)
{
    enum store_finalize request = STORE_FINALIZE_NONE;

    return is_in_finalize_window(m) ||
           (migration_finalize_requested(m, &request, NULL) == 0 && request != STORE_FINALIZE_NONE);
}

int
migration_delta_round(struct migration *m, bool is_before_cutover, struct err **err)
{
    struct migration_plan *plans = NULL;
    struct migration_copy copy = {.pass = PASS_DELTA, .on_complete = round_complete};
    struct store_round round = {.number = m->record.delta_rounds + 1,
                                .began_at_ms = clock_wall_ms()};
    int64_t began_ms = clock_monotonic_ms(), snapshot_ms, before_ms = last_round_ms(m);
    int result = -1;

    round.covered_ms = before_ms ? MAX(round.began_at_ms - before_ms, 0) : 0;

    migration_log(m, LOG_INFO, "Running delta sync round %" PRId64, m->record.delta_rounds + 1);
    /* The previous snapshot must be gone and consolidated before the next is taken; one that a crash
     * left in mid-round has nothing that the next does not have. */
    if (migration_sweep_snapshots(m, err) < 0 || migration_check_disks(m, err) < 0 ||
        migration_take_snapshot(m, "delta", true, err) < 0)
        return -1;
    migration_log(m, LOG_INFO, "Created delta snapshot (%s): %s", store_stage_name(m->record.stage),
                  m->record.active_snapshot);
    snapshot_ms = clock_monotonic_ms();
    if (migration_query_changes(m, m->record.active_snapshot, &plans, err) < 0)
        return -1;
    round.changed_bytes = changed_bytes(m, plans);
    if (migration_carry_over_all(m, m->record.active_snapshot, NULL, err) < 0)
        goto out;
    copy.snapshot = m->record.active_snapshot;
    copy.plans = plans;
    if (migration_copy_disks(m, &copy, err) < 0) {
        err_wrap(err, "delta round");
        goto out;
    }
    round.copy_ms = clock_monotonic_ms() - snapshot_ms;
    if (is_verification_due(m, is_before_cutover) && migration_verify(m, err) < 0) {
        err_wrap(err, "delta round");
        goto out;
    }
    m->record.delta_rounds++;
    m->has_rounds_of_this_run = true;
    if (migration_save(m, err) < 0 || migration_release_snapshot(m, err) < 0)
        goto out;
    (void)store_event_add(m->store, m->record.id, "round", "delta round complete", NULL);
    round.total_ms = clock_monotonic_ms() - began_ms;
    result = migration_note_round(m, &round, migration_is_cutover_near(m), err);
out:
    migration_plans_free(plans, m->disks.count);
    return result;
}

static int
wait_for_next_round(struct migration *m, struct err **err)
{
    int64_t ms = interval_ms(m);

    if (m->record.delta_rounds == 0)
        migration_log(m, LOG_INFO, "Waiting %" PRId64 "s before first delta sync round", ms / 1000);
    return migration_wait(m, ms, is_wait_over, err);
}

/* A cutover that is due, asked for or scheduled, after the round that is about to run. */
static bool
is_cutover_next(const struct migration *m, enum store_finalize request)
{
    return request == STORE_FINALIZE_PLAIN || is_time_to_finalize(m);
}

/* The last round, and what a long verification in it has let pile up. */
static int
last_rounds(struct migration *m, struct err **err)
{
    int64_t began_ms = clock_monotonic_ms();

    /* Of rounds that follow each other because the downtime is too long, only the first is verified. */
    if (migration_delta_round(m, !m->hold.is_told, err) < 0)
        return -1;
    if (m->hold.is_told || m->spec->verify == CONFIG_VERIFY_NONE ||
        clock_monotonic_ms() - began_ms < LONG_VERIFICATION_MS)
        return 0;
    migration_log(m, LOG_INFO, "One more round, for what changed during the verification");
    return migration_delta_round(m, false, err);
}

static void
warn_unverified(struct migration *m)
{
    if (m->spec->verify == CONFIG_VERIFY_NONE || migration_was_verified(m))
        return;
    migration_log(m, LOG_WARNING, "cutting over without a verification: it was asked for at once");
    (void)store_event_add(m->store, m->record.id, "warning", "not verified before the cutover",
                          NULL);
}

int
migration_stage_delta(struct migration *m, struct err **err)
{
    enum store_finalize request;
    bool may;

    if (migration_sweep_snapshots(m, err) < 0)
        return -1;
    migration_end_rehearsal(m, false);
    for (;;) {
        if (wait_for_next_round(m, err) < 0 || migration_check_pause(m, err) < 0 ||
            migration_finalize_requested(m, &request, err) < 0)
            return -1;
        if (request == STORE_FINALIZE_NOW)
            break;
        /* One that passed while nobody ran gets a round first, so that the last pass is short. */
        if (request == STORE_FINALIZE_NONE && is_time_to_finalize(m) && m->has_rounds_of_this_run) {
            if (migration_may_cut_over(m, &may, err) < 0)
                return -1;
            if (may) {
                migration_log(m, LOG_INFO, "finalize_at is reached, cutting over");
                break;
            }
        }
        if (is_cutover_next(m, request) ? last_rounds(m, err) < 0
                                        : migration_delta_round(m, false, err) < 0)
            return -1;
        migration_rehearse(m);
        if (request != STORE_FINALIZE_PLAIN)
            continue;
        if (migration_may_cut_over(m, &may, err) < 0)
            return -1;
        if (may)
            break;
    }
    if (migration_preflight_cutover(m, err) < 0 || migration_check_pause(m, err) < 0)
        return -1;
    migration_end_rehearsal(m, true);
    warn_unverified(m);
    return migration_power_down(m, err);
}

int
migration_back_to_delta(struct migration *m, const char *why, struct err **err)
{
    migration_log(m, LOG_WARNING,
                  "%s: going back to delta rounds; request finalize again to cut over", why);
    m->record.is_shutdown_action_required = false;
    m->has_waited_for_person = false;
    if (migration_drop_requests(m, err) < 0 || migration_note_shutdown(m, false, err) < 0)
        return -1;
    return migration_enter(m, STAGE_DELTA, err);
}
