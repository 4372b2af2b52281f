/* Finalize requests, intents and events. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

/* ---- finalize --------------------------------------------------------------------------------- */

int
store_finalize_get(struct store *store, int64_t migration, enum store_finalize *ret,
                   struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "SELECT what FROM finalize WHERE migration = ?", err);
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret = rc ? (enum store_finalize)sqlite3_column_int(stmt, 0) : STORE_FINALIZE_NONE;
    return 0;
}

static int
write_finalize(struct store *store, int64_t migration, enum store_finalize what, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "INSERT OR REPLACE INTO finalize (migration, what, requested_at) VALUES (?, ?, ?)",
        err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    sqlite3_bind_int(stmt, 2, (int)what);
    sqlite3_bind_int64(stmt, 3, clock_wall_s());
    return store_run(store, stmt, err);
}

int
store_finalize_request(struct store *store, int64_t migration, enum store_finalize what,
                       bool *ret_was_requested, struct err **err)
{
    enum store_finalize before = STORE_FINALIZE_NONE;

    if (store_begin(store, err) < 0)
        return -1;
    if (store_finalize_get(store, migration, &before, err) < 0 ||
        (what > before && write_finalize(store, migration, what, err) < 0)) {
        store_rollback(store);
        return -1;
    }
    if (store_commit(store, err) < 0)
        return -1;
    *ret_was_requested = before >= what;
    return 0;
}

int
store_finalize_clear(struct store *store, int64_t migration, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "DELETE FROM finalize WHERE migration = ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    return store_run(store, stmt, err);
}

/* ---- intents ---------------------------------------------------------------------------------- */

void
store_intent_done(struct store_intent *intent)
{
    free(intent->step);
    free(intent->job_id);
    free(intent->result);
    *intent = (struct store_intent){0};
}

int
store_intent_get(struct store *store, int64_t migration, const char *step, bool *ret_is_there,
                 struct store_intent *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "SELECT step, job_id, result, begun_at, ended_at FROM intent WHERE migration = ? AND "
        "step = ?",
        err);
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    store_bind_text(stmt, 2, step);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret_is_there = rc > 0;
    if (rc > 0)
        *ret = (struct store_intent){
            .step = store_column_text(stmt, 0),
            .job_id = store_column_text(stmt, 1),
            .result = store_column_text(stmt, 2),
            .begun_at = sqlite3_column_int64(stmt, 3),
            .ended_at = sqlite3_column_int64(stmt, 4),
        };
    return 0;
}

int
store_intent_begin(struct store *store, int64_t migration, const char *step, struct err **err)
{
    /* One that is there must be looked into and dropped first: else a call would be made twice. */
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "INSERT INTO intent (migration, step, begun_at, ended_at) SELECT ?1, ?2, ?3, 0"
        " WHERE NOT EXISTS (SELECT 1 FROM intent WHERE migration = ?1 AND step = ?2)",
        err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    store_bind_text(stmt, 2, step);
    sqlite3_bind_int64(stmt, 3, clock_wall_s());
    if (store_run(store, stmt, err) < 0)
        return -1;
    if (sqlite3_changes(store->db) == 0)
        return err_set(err, E_BUG, "the step %s was begun before and its end is not known", step);
    return 0;
}

/* Runs an UPDATE of one open intent, whose third parameter is @text and fourth the time. */
static int
update_intent(struct store *store, const char *sql, int64_t migration, const char *step,
              const char *text, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = store_prepare(store, sql, err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    store_bind_text(stmt, 2, step);
    store_bind_text(stmt, 3, text);
    if (sqlite3_bind_parameter_count(stmt) > 3)
        sqlite3_bind_int64(stmt, 4, clock_wall_s());
    if (store_run(store, stmt, err) < 0)
        return -1;
    if (sqlite3_changes(store->db) == 0)
        return err_set(err, E_BUG, "the step %s was never begun, or has ended", step);
    return 0;
}

int
store_intent_job(struct store *store, int64_t migration, const char *step, const char *job_id,
                 struct err **err)
{
    return update_intent(
        store, "UPDATE intent SET job_id = ?3 WHERE migration = ?1 AND step = ?2 AND ended_at = 0",
        migration, step, job_id, err);
}

int
store_intent_end(struct store *store, int64_t migration, const char *step, const char *result,
                 struct err **err)
{
    return update_intent(store,
                         "UPDATE intent SET result = ?3, ended_at = ?4"
                         " WHERE migration = ?1 AND step = ?2 AND ended_at = 0",
                         migration, step, result, err);
}

int
store_intent_drop(struct store *store, int64_t migration, const char *step, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store, "DELETE FROM intent WHERE migration = ? AND step = ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    store_bind_text(stmt, 2, step);
    return store_run(store, stmt, err);
}

/* ---- events ----------------------------------------------------------------------------------- */

int
store_event_add(struct store *store, int64_t migration, const char *kind, const char *text,
                struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "INSERT INTO event (migration, at, kind, text) VALUES (?, ?, ?, ?)", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    sqlite3_bind_int64(stmt, 2, clock_wall_s());
    store_bind_text(stmt, 3, kind);
    store_bind_text(stmt, 4, text);
    return store_run(store, stmt, err);
}
