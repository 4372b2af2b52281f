#include "base/clock.h"
#include "migration/internal.h"

#define POLL_MS       250
#define KEEP_ALIVE_MS (4 * 60 * 1000) /* well under the server's half hour */

bool
migration_is_stopped(struct migration *m)
{
    return (m->options->stop && *m->options->stop) || migration_is_cancelled(m);
}

int
migration_check_stop(struct migration *m, struct err **err)
{
    if (!migration_is_stopped(m))
        return 0;
    if (m->is_cancelled) {
        err_set(err, E_CANCELLED, "cancelled in stage %s", store_stage_name(m->record.stage));
        return err_hint(err, "v2c-engine cancel takes the migration away");
    }
    err_set(err, E_CANCELLED, "stopped on request in stage %s", store_stage_name(m->record.stage));
    return err_hint(err, "run the same command again to go on from here");
}

static void
keep_alive(struct migration *m, int64_t now)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (!m->vsphere || now - m->kept_alive_ms < KEEP_ALIVE_MS)
        return;
    m->kept_alive_ms = now;
    if (vsphere_keep_alive(m->vsphere, &failure) < 0)
        log_debug("keep-alive: %s", err_message(failure)); /* the next real call says it better */
}

int
migration_wait(struct migration *m, int64_t ms, bool (*until)(struct migration *m),
               struct err **err)
{
    int64_t end = clock_monotonic_ms() + ms;

    for (;;) {
        int64_t now = clock_monotonic_ms();

        if (migration_check_stop(m, err) < 0)
            return -1;
        keep_alive(m, now);
        if (now >= end || (until && until(m)))
            return 0;
        clock_sleep_ms(MIN(POLL_MS, end - now));
    }
}
