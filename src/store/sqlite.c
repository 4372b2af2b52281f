#include "store/sqlite.h"
#include "store/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"

#define BUSY_TIMEOUT_MS 20000

static const char *const stage_names[] = {
#define STORE_STAGE(code, name) [code] = name,
#include "store/stages.def"
#undef STORE_STAGE
};

const char *
store_stage_name(enum store_stage stage)
{
    return stage < STAGE_MAX_ ? stage_names[stage] : "unknown";
}

bool
store_stage_from_name(const char *name, enum store_stage *ret_stage)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(stage_names); i++)
        if (!strcmp(stage_names[i], name)) {
            *ret_stage = (enum store_stage)i;
            return true;
        }
    return false;
}

/* ---- errors ----------------------------------------------------------------------------------- */

static int
fail_damaged(struct store *store, const char *what, struct err **err)
{
    err_set(err, E_STORE_DAMAGED, "%s: %s: %s", store->path, what, sqlite3_errmsg(store->db));
    return err_hint(err,
                    "stop every v2c-engine, keep copies of %s and its -wal and -shm files, then "
                    "rebuild it with `sqlite3 COPY .recover | sqlite3 v2c.db`; the disks and "
                    "state.json files are not touched by this",
                    store->path);
}

int
store_fail(struct store *store, int code, const char *what, struct err **err)
{
    int errnum = sqlite3_system_errno(store->db);

    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return fail_damaged(store, what, err);
    case SQLITE_FULL:
        return err_set(err, E_NO_SPACE, "%s: %s: no space left", store->path, what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        err_set(err, E_STORE, "%s: %s: another process has held it for %d s", store->path, what,
                BUSY_TIMEOUT_MS / 1000);
        return err_hint(err, "see who has it open (fuser %s)", store->path);
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        /* SQLite maps a refused open to read-only; the file's mode tells why. */
        if (errnum == 0 && access(store->path, W_OK) < 0)
            errnum = errno;
        if (errnum)
            return err_set_errno(err, E_STORE, errnum, "%s: %s: %s", store->path, what,
                                 sqlite3_errmsg(store->db));
        break;
    case SQLITE_CONSTRAINT:
        return err_set(err, E_BUG, "%s: %s: %s", store->path, what, sqlite3_errmsg(store->db));
    case SQLITE_NOMEM:
        return err_set(err, E_MEMORY, "%s: %s: out of memory", store->path, what);
    default:
        break;
    }
    return err_set(err, E_STORE, "%s: %s: %s", store->path, what, sqlite3_errmsg(store->db));
}

int
store_exec(struct store *store, const char *sql, struct err **err)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : store_fail(store, code, "exec", err);
}

/* ---- statements -------------------------------------------------------------------------------- */

#define MAX_KEPT 128

/* The store of this thread whose statements are kept. */
static _Thread_local struct store *keeper;

void
store_keep_statements(struct store *store)
{
    store->keeps_statements = true;
    keeper = store;
}

/* One that is not in use; NULL: there is none. */
static sqlite3_stmt *
borrow(struct store *store, const char *sql)
{
    for (size_t i = 0; i < store->kept.count; i++) {
        struct kept_statement *kept = &store->kept.items[i];

        if (!kept->is_lent && !strcmp(kept->sql, sql)) {
            kept->is_lent = true;
            return kept->stmt;
        }
    }
    return NULL;
}

static bool
give_back(struct store *store, sqlite3_stmt *stmt)
{
    for (size_t i = 0; i < store->kept.count; i++)
        if (store->kept.items[i].stmt == stmt) {
            (void)sqlite3_reset(stmt);
            (void)sqlite3_clear_bindings(stmt);
            store->kept.items[i].is_lent = false;
            return true;
        }
    return false;
}

static void
drop_kept(struct store *store)
{
    for (size_t i = 0; i < store->kept.count; i++) {
        sqlite3_finalize(store->kept.items[i].stmt);
        free(store->kept.items[i].sql);
    }
    vec_done(&store->kept);
    if (keeper == store)
        keeper = NULL;
}

sqlite3_stmt *
store_prepare(struct store *store, const char *sql, struct err **err)
{
    sqlite3_stmt *stmt = store->keeps_statements ? borrow(store, sql) : NULL;
    int code;

    if (stmt)
        return stmt;
    code = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
    if (code != SQLITE_OK) {
        store_fail(store, code, "prepare", err);
        return NULL;
    }
    if (store->keeps_statements && store->kept.count < MAX_KEPT)
        vec_push(&store->kept, ((struct kept_statement){xstrdup(sql), stmt, true}));
    return stmt;
}

void
store_finalizep(sqlite3_stmt **stmt)
{
    if (!*stmt || !keeper || sqlite3_db_handle(*stmt) != keeper->db || !give_back(keeper, *stmt))
        sqlite3_finalize(*stmt);
}

int
store_step(struct store *store, sqlite3_stmt *stmt, struct err **err)
{
    int code = sqlite3_step(stmt);

    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : store_fail(store, code, "query", err);
}

int
store_run(struct store *store, sqlite3_stmt *stmt, struct err **err)
{
    int rc;

    do
        rc = store_step(store, stmt, err);
    while (rc > 0);
    return rc;
}

void
store_bind_text(sqlite3_stmt *stmt, int index, const char *text)
{
    if (text)
        sqlite3_bind_text(stmt, index, text, -1, SQLITE_TRANSIENT);
    else
        sqlite3_bind_null(stmt, index);
}

char *
store_column_text(sqlite3_stmt *stmt, int index)
{
    return xstrdup((const char *)sqlite3_column_text(stmt, index));
}

/* ---- transactions ----------------------------------------------------------------------------- */

int
store_begin(struct store *store, struct err **err)
{
    return store_exec(store, "BEGIN IMMEDIATE", err);
}

int
store_commit(struct store *store, struct err **err)
{
    if (store_exec(store, "COMMIT", err) == 0)
        return 0;
    store_rollback(store);
    return -1;
}

void
store_rollback(struct store *store)
{
    /* Some errors have rolled back already; then there is nothing to be done. */
    if (!sqlite3_get_autocommit(store->db))
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

int
store_snapshot_begin(struct store *store, struct err **err)
{
    return store_exec(store, "BEGIN", err);
}

void
store_snapshot_end(struct store *store)
{
    store_rollback(store);
}

/* ---- opening ---------------------------------------------------------------------------------- */

/* SQLite would make the file with the mode that the umask leaves; it holds names and ids. */
static int
make_file(const char *control_dir, const char *path, struct err **err)
{
    int fd;

    if (file_make_dirs(control_dir, 0700, err) < 0)
        return -1;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0)
        return err_set_errno(err, E_STORE, errno, "%s", path);
    close(fd);
    return file_sync_dir(path, err);
}

static int
check_file(const char *path, bool must_exist, const char *control_dir, struct err **err)
{
    struct stat st;

    if (stat(path, &st) < 0 && errno == ENOENT) {
        if (!must_exist)
            return make_file(control_dir, path, err);
        err_set(err, E_STORE_NOT_FOUND, "no migration was ever started with control_dir %s",
                control_dir);
        return err_hint(err, "look at migration.control_dir of the configuration, or name the "
                             "directory with --control-dir");
    }
    if (access(path, R_OK | W_OK) < 0) {
        err_set_errno(err, E_STORE, errno, "%s", path);
        return err_hint(err, "run as the user that migrates, usually root");
    }
    return 0;
}

/* 1 when the database is in WAL mode, 0 when another process keeps it from getting there. */
static int
try_wal(struct store *store, struct err **err)
{
    sqlite3_stmt *stmt = store_prepare(store, "PRAGMA journal_mode = WAL", err);
    int code, is_wal;

    if (!stmt)
        return -1;
    code = sqlite3_step(stmt);
    is_wal = code == SQLITE_ROW && !strcasecmp((const char *)sqlite3_column_text(stmt, 0), "wal");
    sqlite3_finalize(stmt);
    if (code == SQLITE_ROW && !is_wal) {
        err_set(err, E_STORE, "%s: the file system does not support SQLite's WAL", store->path);
        return err_hint(err, "put control_dir on a local file system");
    }
    if (code != SQLITE_ROW && (code & 0xff) != SQLITE_BUSY && (code & 0xff) != SQLITE_LOCKED)
        return store_fail(store, code, "journal_mode", err);
    return is_wal;
}

/* SQLite's own busy handler does not wait for this one change. */
static int
enter_wal(struct store *store, struct err **err)
{
    int64_t deadline = clock_monotonic_ms() + BUSY_TIMEOUT_MS;

    for (;;) {
        int is_wal = try_wal(store, err);

        if (is_wal)
            return is_wal < 0 ? -1 : 0;
        if (clock_monotonic_ms() >= deadline)
            return store_fail(store, SQLITE_BUSY, "journal_mode", err);
        clock_sleep_ms(10);
    }
}

static int
configure(struct store *store, struct err **err)
{
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    if (store_exec(store, "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON", err) < 0 ||
        store_check_origin(store, err) < 0 || enter_wal(store, err) < 0 ||
        store_exec(store, "PRAGMA synchronous = FULL", err) < 0)
        return -1;
    return store_upgrade(store, err);
}

int
store_open(const char *control_dir, bool must_exist, struct store **ret_store, struct err **err)
{
    CLEANUP(store_closep) struct store *store = xcalloc(1, sizeof(*store));
    int code;

    store->path = file_join(control_dir, "v2c.db");
    if (check_file(store->path, must_exist, control_dir, err) < 0)
        return -1;
    code = sqlite3_open_v2(store->path, &store->db,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                           NULL);
    if (code != SQLITE_OK)
        return store_fail(store, code, "open", err);
    if (configure(store, err) < 0)
        return -1;
    *ret_store = take(store);
    return 0;
}

void
store_close(struct store *store)
{
    if (!store)
        return;
    drop_kept(store);
    sqlite3_close(store->db);
    free(store->path);
    free(store);
}

void
store_closep(struct store **store)
{
    store_close(*store);
    *store = NULL;
}
