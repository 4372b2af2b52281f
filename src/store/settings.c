/* What people change while migrations run: limits, and the pause. */
#include <ctype.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

#define PAUSED "paused" /* of a VM */

static void
bind_subject(sqlite3_stmt *stmt, const struct store_subject *of, const char *key)
{
    static const char *const scopes[] = {
        [STORE_ENGINE] = "engine", [STORE_HOST] = "host", [STORE_VM] = "vm"};
    CLEANUP(free_charp) char *host = xstrdup(of->scope == STORE_HOST ? of->host : "");

    for (char *c = host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    store_bind_text(stmt, 1, scopes[of->scope]);
    store_bind_text(stmt, 2, host);
    store_bind_text(stmt, 3, key);
    if (of->scope == STORE_VM)
        sqlite3_bind_int64(stmt, 4, of->migration);
}

int
store_setting_put(struct store *store, const struct store_subject *of, const char *key,
                  const char *value, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        value ? "INSERT OR REPLACE INTO setting (scope, subject, key, migration, value, changed_at)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
              : "DELETE FROM setting WHERE scope = ?1 AND subject = ?2 AND key = ?3"
                " AND migration IS ?4",
        err);

    if (!stmt)
        return -1;
    bind_subject(stmt, of, key);
    if (value) {
        store_bind_text(stmt, 5, value);
        sqlite3_bind_int64(stmt, 6, clock_wall_s());
    }
    return store_run(store, stmt, err);
}

int
store_setting_get(struct store *store, const struct store_subject *of, const char *key,
                  char **ret_value, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store,
                      "SELECT value FROM setting WHERE scope = ?1 AND subject = ?2 AND key = ?3"
                      " AND migration IS ?4",
                      err);
    int rc;

    if (!stmt)
        return -1;
    bind_subject(stmt, of, key);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret_value = rc ? store_column_text(stmt, 0) : NULL;
    return 0;
}

int
store_setting_hosts(struct store *store, const char *key, struct store_host_settings *ret,
                    struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "SELECT subject, value FROM setting WHERE scope = 'host' AND key = ? ORDER BY subject",
        err);
    struct store_host_settings found = {0};
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, key);
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_host_setting){store_column_text(stmt, 0),
                                                      store_column_text(stmt, 1)}));
    if (rc < 0) {
        store_host_settings_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

void
store_host_settings_done(struct store_host_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        free(settings->items[i].host);
        free(settings->items[i].value);
    }
    vec_done(settings);
}

/* ---- pause ------------------------------------------------------------------------------------ */

int
store_is_paused(struct store *store, int64_t migration, bool *ret, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = migration};
    CLEANUP(free_charp) char *value = NULL;

    if (store_setting_get(store, &vm, PAUSED, &value, err) < 0)
        return -1;
    *ret = value != NULL;
    return 0;
}

static int
read_stage(struct store *store, int64_t migration, enum store_stage *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "SELECT stage FROM migration WHERE id = ?", err);
    CLEANUP(free_charp) char *name = NULL;
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    if (!rc)
        return err_set(err, E_STORE_NOT_FOUND, "no migration has the number %lld",
                       (long long)migration);
    name = store_column_text(stmt, 0);
    if (!store_stage_from_name(name, ret))
        return err_set(err, E_STORE_FOREIGN, "the stage %s is not known to this version",
                       name ? name : "(none)");
    return 0;
}

/* Within a transaction: the stage that was looked at is still that when the pause is written. */
static int
pause_now(struct store *store, int64_t migration, bool *ret_was_paused, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = migration};
    enum store_stage stage;

    if (read_stage(store, migration, &stage, err) < 0 ||
        store_is_paused(store, migration, ret_was_paused, err) < 0)
        return -1;
    if (stage == STAGE_DONE)
        return err_set(err, E_PAUSE, "it is done");
    if (stage > STAGE_DELTA) {
        err_set(err, E_PAUSE, "it is in stage %s: the cutover has begun", store_stage_name(stage));
        return err_hint(err,
                        "a pause would only make the downtime longer; to stop it all the same, "
                        "end its run (Ctrl-C): the same command goes on from there");
    }
    return *ret_was_paused ? 0 : store_setting_put(store, &vm, PAUSED, "yes", err);
}

static int
end_pause(struct store *store, int64_t migration, bool *ret_was_paused, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = migration};

    if (store_is_paused(store, migration, ret_was_paused, err) < 0)
        return -1;
    return *ret_was_paused ? store_setting_put(store, &vm, PAUSED, NULL, err) : 0;
}

static int
in_transaction(struct store *store, int64_t migration,
               int (*change)(struct store *store, int64_t migration, bool *ret_was_paused,
                             struct err **err),
               bool *ret_was_paused, struct err **err)
{
    bool was_paused = false;

    if (store_begin(store, err) < 0)
        return -1;
    if (change(store, migration, &was_paused, err) < 0) {
        store_rollback(store);
        return -1;
    }
    if (store_commit(store, err) < 0)
        return -1;
    *ret_was_paused = was_paused;
    return 0;
}

int
store_pause(struct store *store, int64_t migration, bool *ret_was_paused, struct err **err)
{
    return in_transaction(store, migration, pause_now, ret_was_paused, err);
}

int
store_pause_end(struct store *store, int64_t migration, bool *ret_was_paused, struct err **err)
{
    return in_transaction(store, migration, end_pause, ret_was_paused, err);
}
