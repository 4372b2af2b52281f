/* Sums over everything that is recorded, for metrics and overviews. */
#include "base/err.h"
#include "base/util.h"
#include "store/jobs.h"
#include "store/sqlite.h"

/* Rows of SQLite are used again: a job never speaks of another VM's migration. */
int
store_migration_of_job(struct store *store, const struct store_job *job, bool *ret_is_there,
                       struct store_migration *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        table_select(store, &migration_table, "WHERE id = ? AND vm_moref = ?", err);
    struct store_migration found = {0};
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, job->migration);
    store_bind_text(stmt, 2, job->vm_moref);
    rc = store_step(store, stmt, err);
    *ret_is_there = rc > 0;
    if (rc > 0 && table_read(store, &migration_table, stmt, &found, err) < 0) {
        store_migration_done(&found);
        return -1;
    }
    if (rc > 0)
        *ret = found;
    return rc < 0 ? -1 : 0;
}

int
store_totals_load(struct store *store, struct store_totals *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store,
                      "SELECT coalesce(sum(base_bytes), 0), coalesce(sum(verified_bytes), 0),"
                      " coalesce(sum(mismatched_blocks), 0),"
                      " (SELECT coalesce(sum(changed_bytes), 0) FROM round) FROM disk",
                      err);

    if (!stmt || store_step(store, stmt, err) < 0)
        return -1;
    *ret = (struct store_totals){
        .copied_bytes = sqlite3_column_int64(stmt, 0),
        .verified_bytes = sqlite3_column_int64(stmt, 1),
        .mismatched_blocks = sqlite3_column_int64(stmt, 2),
        .delta_bytes = sqlite3_column_int64(stmt, 3),
    };
    return 0;
}

int
store_errors_load(struct store *store, struct store_errors *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "SELECT error_code, count(*) FROM job WHERE state = 4 AND"
                                       " error_code IS NOT NULL GROUP BY error_code",
                                       err);
    struct store_errors found = {0};
    int rc;

    if (!stmt)
        return -1;
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_error_count){store_column_text(stmt, 0),
                                                     sqlite3_column_int64(stmt, 1)}));
    if (rc < 0) {
        store_errors_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

void
store_errors_done(struct store_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        free(errors->items[i].code);
    vec_done(errors);
}

int
store_stage_times_load(struct store *store, struct store_stage_times *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "SELECT stage, CAST(avg(ms) AS INTEGER) FROM timing GROUP BY stage", err);
    struct store_stage_times found = {0};
    int rc;

    if (!stmt)
        return -1;
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_stage_time){store_column_text(stmt, 0),
                                                    sqlite3_column_int64(stmt, 1)}));
    if (rc < 0) {
        store_stage_times_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

void
store_stage_times_done(struct store_stage_times *times)
{
    for (size_t i = 0; i < times->count; i++)
        free(times->items[i].stage);
    vec_done(times);
}
