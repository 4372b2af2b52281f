/* The pause.  While one is set nothing is read and no snapshot of ours is on the source: a copy ends at
 * its last checkpoint, the stage waits, and is run again when the pause is ended.  A cutover that has
 * begun is never paused. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "migration/internal.h"

#define LOOK_MS    1000
#define WAIT_MS    60000
#define MAX_DIGITS 20

static int
look(struct migration *m, struct err **err)
{
    m->pause_seen_ms = clock_monotonic_ms();
    return store_is_paused(m->store, m->record.id, &m->is_paused, err);
}

bool
migration_is_paused(struct migration *m)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (m->pause_seen_ms && clock_monotonic_ms() - m->pause_seen_ms < LOOK_MS)
        return m->is_paused;
    if (look(m, &failure) < 0)
        log_warning("cannot see whether the migration is paused: %s", err_message(failure));
    return m->is_paused;
}

int
migration_check_pause(struct migration *m, struct err **err)
{
    if (look(m, err) < 0)
        return -1;
    return m->is_paused ? err_set(err, E_PAUSE, "paused on request") : 0;
}

/* One that was recorded between the last look and the first step of the cutover. */
static int
refuse_late_pause(struct migration *m, struct err **err)
{
    bool was_paused;

    if (store_pause_end(m->store, m->record.id, &was_paused, err) < 0)
        return -1;
    m->is_paused = false;
    migration_log(m, LOG_WARNING, "the pause came too late: the cutover has begun");
    return 0;
}

int
migration_is_pause_due(struct migration *m, bool *ret_is_due, struct err **err)
{
    if (look(m, err) < 0)
        return -1;
    if (m->is_paused && m->record.stage > STAGE_DELTA && refuse_late_pause(m, err) < 0)
        return -1;
    *ret_is_due = m->is_paused;
    return 0;
}

/* ---- finalize_at ------------------------------------------------------------------------------ */

int
migration_load_missed_finalize(struct migration *m, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = m->record.id};
    CLEANUP(free_charp) char *text = NULL;

    if (store_setting_get(m->store, &vm, STORE_FINALIZE_MISSED, &text, err) < 0)
        return -1;
    m->finalize_at_missed = text ? strtoll(text, NULL, 10) : 0;
    if (m->finalize_at_missed && m->finalize_at_missed != m->spec->finalize_at) {
        m->finalize_at_missed = 0; /* the spec has another by now */
        return store_setting_put(m->store, &vm, STORE_FINALIZE_MISSED, NULL, err);
    }
    return 0;
}

/* A time that passes in a pause is over: the VM is not to be shut down at whatever hour somebody ends
 * the pause. */
static void
miss_finalize_at(struct migration *m)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = m->record.id};
    CLEANUP(err_freep) struct err *failure = NULL;
    int64_t at = m->spec->finalize_at;
    char text[MAX_DIGITS + 1];

    if (!at || clock_wall_s() < at || m->finalize_at_missed == at)
        return;
    snprintf(text, sizeof(text), "%" PRId64, at);
    if (store_setting_put(m->store, &vm, STORE_FINALIZE_MISSED, text, &failure) < 0) {
        log_debug("%s", err_message(failure)); /* tried again at the next look */
        return;
    }
    m->finalize_at_missed = at;
    migration_log(m, LOG_WARNING,
                  "finalize_at has passed in the pause and is not acted on: request finalize after "
                  "`v2c-engine resume`, or set a later time");
}

/* ---- the wait --------------------------------------------------------------------------------- */

static bool
is_resumed(struct migration *m)
{
    miss_finalize_at(m);
    return !migration_is_paused(m);
}

int
migration_stage_paused(struct migration *m, struct err **err)
{
    /* A pause may be long, and a snapshot grows all the while: what has been copied stays good, and what
     * changes until then is copied again from another. */
    if (migration_sweep_snapshots(m, err) < 0)
        return err_wrap(err, "pausing");
    migration_log(m, LOG_INFO, "Paused in stage %s: `v2c-engine resume` goes on from here",
                  store_stage_name(m->record.stage));
    migration_report_pause(m, true);
    while (!is_resumed(m))
        if (migration_wait(m, WAIT_MS, is_resumed, err) < 0)
            return -1;
    migration_log(m, LOG_INFO, "Resumed in stage %s", store_stage_name(m->record.stage));
    migration_report_pause(m, false);
    return 0;
}
