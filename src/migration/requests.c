#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "migration/internal.h"

bool
migration_take_marker(struct migration *m, const char *name)
{
    CLEANUP(free_charp) char *path = file_join(m->record.directory, name);

    if (unlink(path) == 0)
        return true;
    if (errno != ENOENT)
        migration_log(m, LOG_WARNING, "cannot remove %s: %s", path, strerror(errno));
    return false;
}

/* A marker is only unlinked once the store has it, so that no request is lost in between. */
static int
absorb_marker(struct migration *m, const char *name, enum store_finalize what, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(m->record.directory, name);
    bool was_requested;

    if (access(path, F_OK) < 0)
        return 0;
    if (store_finalize_request(m->store, m->record.id, what, &was_requested, err) < 0)
        return -1;
    if (unlink(path) < 0 && errno != ENOENT) {
        err_set_errno(err, E_IO, errno, "removing %s", path);
        return err_hint(err, "remove it by hand: left there it would ask to finalize again");
    }
    migration_log(m, LOG_INFO, "%s detected, %s", name,
                  what == STORE_FINALIZE_NOW ? "going straight to the final sync"
                                             : "one more delta round, then the final sync");
    return 0;
}

int
migration_finalize_requested(struct migration *m, enum store_finalize *ret, struct err **err)
{
    if (absorb_marker(m, "FINALIZE", STORE_FINALIZE_PLAIN, err) < 0 ||
        absorb_marker(m, "FINALIZE_NOW", STORE_FINALIZE_NOW, err) < 0)
        return -1;
    return store_finalize_get(m->store, m->record.id, ret, err);
}

int
migration_drop_requests(struct migration *m, struct err **err)
{
    static const char *const markers[] = {"FINALIZE", "FINALIZE_NOW", "SHUTDOWN_FORCE",
                                          "SHUTDOWN_MANUAL"};

    for (size_t i = 0; i < ARRAY_SIZE(markers); i++)
        migration_take_marker(m, markers[i]);
    return store_finalize_clear(m->store, m->record.id, err);
}
