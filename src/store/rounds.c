#include "store/rounds.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

int
store_round_put(struct store *store, int64_t migration, const struct store_round *round,
                struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "INSERT OR REPLACE INTO round (migration, number, began_at_ms, covered_ms, changed_bytes,"
        " copy_ms, total_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    sqlite3_bind_int64(stmt, 2, round->number);
    sqlite3_bind_int64(stmt, 3, round->began_at_ms);
    sqlite3_bind_int64(stmt, 4, round->covered_ms);
    sqlite3_bind_int64(stmt, 5, (int64_t)round->changed_bytes);
    sqlite3_bind_int64(stmt, 6, round->copy_ms);
    sqlite3_bind_int64(stmt, 7, round->total_ms);
    return store_run(store, stmt, err);
}

int
store_rounds_load(struct store *store, int64_t migration, size_t count, struct store_rounds *ret,
                  struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "SELECT * FROM (SELECT number, began_at_ms, covered_ms, changed_bytes, copy_ms, total_ms"
        " FROM round WHERE migration = ? ORDER BY number DESC LIMIT ?) ORDER BY number",
        err);
    struct store_rounds found = {0};
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    sqlite3_bind_int64(stmt, 2, (int64_t)count);
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_round){
                             .number = sqlite3_column_int64(stmt, 0),
                             .began_at_ms = sqlite3_column_int64(stmt, 1),
                             .covered_ms = sqlite3_column_int64(stmt, 2),
                             .changed_bytes = (uint64_t)sqlite3_column_int64(stmt, 3),
                             .copy_ms = sqlite3_column_int64(stmt, 4),
                             .total_ms = sqlite3_column_int64(stmt, 5),
                         }));
    if (rc < 0) {
        vec_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

int
store_timing_put(struct store *store, int64_t migration, const char *stage, int64_t ms,
                 struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "INSERT OR REPLACE INTO timing (migration, stage, ms, at) VALUES (?, ?, ?, ?)", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    store_bind_text(stmt, 2, stage);
    sqlite3_bind_int64(stmt, 3, ms);
    sqlite3_bind_int64(stmt, 4, clock_wall_s());
    return store_run(store, stmt, err);
}

static int
compare_ms(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The median is found here: in SQL it would make two tables for each VM of a list. */
int
store_timing_usual(struct store *store, int64_t migration, const char *stage, int64_t *ret_ms,
                   struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "SELECT ms FROM timing WHERE stage = ? AND migration <> ?"
                                       " ORDER BY at DESC LIMIT 9",
                                       err);
    int64_t last[9];
    size_t count = 0;
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, stage);
    sqlite3_bind_int64(stmt, 2, migration);
    while ((rc = store_step(store, stmt, err)) > 0 && count < ARRAY_SIZE(last))
        last[count++] = sqlite3_column_int64(stmt, 0);
    if (rc < 0)
        return -1;
    qsort(last, count, sizeof(last[0]), compare_ms);
    *ret_ms = count ? last[count / 2] : -1;
    return 0;
}
