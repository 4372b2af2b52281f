/* A pool that is full.  What was written since the last checkpoint is written again when there is room; until
 * then no snapshot of ours grows on the source, and nobody has to be there to start it again. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "migration/internal.h"
#include "storage/storage.h"

#define LOOK_MS   5000
#define REMIND_MS (15 * 60 * 1000LL)
/* More than the floor before it goes on, so that it does not stop again at the next checkpoint. */
#define MARGIN    (16 * MIB)

static char *
directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strndup(path, slash ? (size_t)(slash - path) : 0);
}

static bool
has_room(const char *path, uint64_t margin, uint64_t *ret_free)
{
    CLEANUP(free_charp) char *dir = directory_of(path);
    CLEANUP(err_freep) struct err *failure = NULL;
    uint64_t floor;

    if (storage_free_bytes(dir, ret_free, &failure) == 0 &&
        storage_floor_bytes(dir, &floor, &failure) == 0)
        return *ret_free >= floor + margin;
    log_debug("%s", err_message(failure));
    *ret_free = 0;
    return true; /* whoever writes there will say what is wrong */
}

int
migration_check_room(const char *path, struct err **err)
{
    uint64_t free_bytes;

    if (has_room(path, 0, &free_bytes))
        return 0;
    err_set(err, E_NO_SPACE, "%s: only %" PRIu64 " MiB are left in its pool", path,
            (uint64_t)(free_bytes / MIB));
    return err_hint(err,
                    "free space in the pool: the copy goes on by itself from its last checkpoint");
}

bool
migration_has_room(struct migration *m)
{
    uint64_t free_bytes;

    for (size_t i = 0; i < m->disks.count; i++)
        if (!has_room(m->disks.items[i].target_path, MARGIN, &free_bytes))
            return false;
    return true;
}

/* For `status`: @text is what is waited for, NULL when nothing is. */
static void
record(struct migration *m, const char *text)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = m->record.id};
    CLEANUP(err_freep) struct err *failure = NULL;

    if (store_setting_put(m->store, &vm, STORE_NO_SPACE, text, &failure) < 0 ||
        store_event_add(m->store, m->record.id, text ? "no_space" : "space", text, &failure) < 0)
        log_debug("%s", err_message(failure));
}

int
migration_wait_for_room(struct migration *m, const struct err *failure, struct err **err)
{
    int64_t told_ms = clock_monotonic_ms();
    int result = 0;

    /* As in a pause: it may be long, and a snapshot grows all the while. */
    if (migration_sweep_snapshots(m, err) < 0)
        return err_wrap(err, "waiting for space in the pool");
    migration_log(m, LOG_WARNING, "A pool is full: %s. Waiting for space; %s", err_message(failure),
                  m->record.stage == STAGE_CONVERTING
                      ? "then the conversion is put into the copy"
                      : "the copy then goes on by itself from its last checkpoint");
    record(m, err_message(failure));
    while (result == 0 && !migration_has_room(m) && !migration_is_paused(m)) {
        result = migration_wait(m, clock_patience_ms(LOOK_MS), migration_is_paused, err);
        if (clock_monotonic_ms() - told_ms > REMIND_MS) {
            told_ms = clock_monotonic_ms();
            migration_log(m, LOG_WARNING, "Still waiting for space: %s", err_message(failure));
        }
    }
    record(m, NULL);
    if (result == 0 && !migration_is_paused(m))
        migration_log(m, LOG_INFO, "There is space again: going on in stage %s",
                      store_stage_name(m->record.stage));
    return result;
}
