/* What belongs to one disk beside its row: its bitmaps, and its progress. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

/* One bit for each MiB of 62 TiB, the largest VMware disk, takes 8 MiB. */
#define MAX_BITMAP_BYTES (64 * MIB)

int
store_bitmap_save(struct store *store, int64_t disk, enum store_bitmap_kind kind, const char *as_of,
                  const void *bits, size_t length, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "INSERT OR REPLACE INTO bitmap (disk, kind, as_of, bits) VALUES (?, ?, ?, ?)", err);

    if (!stmt)
        return -1;
    if (length > MAX_BITMAP_BYTES)
        return err_set(err, E_LIMIT, "a bitmap of %zu bytes", length);
    sqlite3_bind_int64(stmt, 1, disk);
    sqlite3_bind_int64(stmt, 2, kind);
    store_bind_text(stmt, 3, as_of);
    sqlite3_bind_blob64(stmt, 4, length ? bits : "", length, SQLITE_STATIC);
    return store_run(store, stmt, err);
}

int
store_bitmap_drop(struct store *store, int64_t disk, enum store_bitmap_kind kind, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store, "DELETE FROM bitmap WHERE disk = ? AND kind = ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, disk);
    sqlite3_bind_int64(stmt, 2, kind);
    return store_run(store, stmt, err);
}

int
store_bitmap_load(struct store *store, int64_t disk, enum store_bitmap_kind kind,
                  struct store_bitmap *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store, "SELECT bits, as_of FROM bitmap WHERE disk = ? AND kind = ?", err);
    const char *as_of;
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, disk);
    sqlite3_bind_int64(stmt, 2, kind);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret = (struct store_bitmap){0};
    if (rc == 0)
        return 0;
    ret->length = (size_t)sqlite3_column_bytes(stmt, 0);
    ret->bits = xcalloc(ret->length, 1);
    if (ret->length)
        memcpy(ret->bits, sqlite3_column_blob(stmt, 0), ret->length);
    as_of = (const char *)sqlite3_column_text(stmt, 1);
    ret->as_of = as_of ? xstrdup(as_of) : NULL;
    return 0;
}

void
store_bitmap_done(struct store_bitmap *bitmap)
{
    free(bitmap->bits);
    free(bitmap->as_of);
    *bitmap = (struct store_bitmap){0};
}

static int
write_progress(struct store *store, int64_t disk, const struct store_progress *progress,
               struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "INSERT OR REPLACE INTO progress (disk, stage, planned_bytes, read_bytes, written_bytes,"
        " zero_bytes, rate_bytes_per_s, eta_s, percent, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, disk);
    store_bind_text(stmt, 2, progress->stage);
    sqlite3_bind_int64(stmt, 3, (int64_t)progress->planned_bytes);
    sqlite3_bind_int64(stmt, 4, (int64_t)progress->read_bytes);
    sqlite3_bind_int64(stmt, 5, (int64_t)progress->written_bytes);
    sqlite3_bind_int64(stmt, 6, (int64_t)progress->zero_bytes);
    sqlite3_bind_int64(stmt, 7, (int64_t)progress->rate_bytes_per_s);
    sqlite3_bind_int64(stmt, 8, progress->eta_s);
    sqlite3_bind_double(stmt, 9, progress->percent);
    sqlite3_bind_int64(stmt, 10, progress->at);
    return store_run(store, stmt, err);
}

int
store_progress_save(struct store *store, int64_t disk, const struct store_progress *progress,
                    struct err **err)
{
    int rc;

    /* Written once a second and of no weight: an fsync each time would only slow the copy down.  The
     * next durable commit syncs the log with these records in it. */
    if (store_exec(store, "PRAGMA synchronous = NORMAL", err) < 0)
        return -1;
    rc = write_progress(store, disk, progress, err);
    if (store_exec(store, "PRAGMA synchronous = FULL", NULL) < 0)
        abort(); /* out of memory; going on would leave later commits without their fsync */
    return rc;
}

int
store_progress_load(struct store *store, int64_t disk, struct store_progress *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "SELECT stage, planned_bytes, read_bytes, written_bytes, zero_bytes, rate_bytes_per_s,"
        " eta_s, percent, at FROM progress WHERE disk = ?",
        err);
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, disk);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret = (struct store_progress){0};
    if (rc == 0)
        return 0;
    snprintf(ret->stage, sizeof(ret->stage), "%s", (const char *)sqlite3_column_text(stmt, 0));
    ret->planned_bytes = (uint64_t)sqlite3_column_int64(stmt, 1);
    ret->read_bytes = (uint64_t)sqlite3_column_int64(stmt, 2);
    ret->written_bytes = (uint64_t)sqlite3_column_int64(stmt, 3);
    ret->zero_bytes = (uint64_t)sqlite3_column_int64(stmt, 4);
    ret->rate_bytes_per_s = (uint64_t)sqlite3_column_int64(stmt, 5);
    ret->eta_s = sqlite3_column_int64(stmt, 6);
    ret->percent = sqlite3_column_double(stmt, 7);
    ret->at = sqlite3_column_int64(stmt, 8);
    return 0;
}
