/* A control directory of its own for each test, and rows with every field set. */
#ifndef V2C_TESTS_STORE_FIXTURE_H
#define V2C_TESTS_STORE_FIXTURE_H

#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/file.h"
#include "base/util.h"
#include "store/store.h"

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

static char dir[64];

static int
make_dir(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/v2c-test-store.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return system(command);
}

static struct store *
open_store(void)
{
    struct store *store = NULL;
    struct err *err = NULL;

    assert_ok(store_open(dir, false, &store, &err), &err);
    return store;
}

/* Texts are those of @tag, so that two rows differ in everything. */
static struct store_migration
new_migration(const char *tag)
{
    return (struct store_migration){
        .migration_id = xasprintf("web_%s", tag),
        .vm_name = xasprintf("web %s", tag),
        .vm_moref = xasprintf("vm-%s", tag),
        .vcenter = xstrdup("vc.example.com"),
        .directory = xasprintf("/control/web_%s", tag),
        .stage = STAGE_INIT,
    };
}

static struct store_disk
new_disk(int64_t migration, const char *key)
{
    return (struct store_disk){
        .migration = migration,
        .key = xstrdup(key),
        .name = xasprintf("disk%s", key),
        .address = xasprintf("scsi0:%s", key),
        .capacity = 8 * GIB,
    };
}

static inline void
exec_raw(const char *sql)
{
    CLEANUP(free_charp) char *path = file_join(dir, "v2c.db");
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static inline int64_t
count_raw(const char *sql)
{
    CLEANUP(free_charp) char *path = file_join(dir, "v2c.db");
    sqlite3_stmt *stmt;
    int64_t count;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    count = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

/* A migration of one disk; its row. */
static inline int64_t
one_disk(struct store *store, int64_t *ret_migration)
{
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1");
    struct store_disks disks = {0};
    struct err *err = NULL;
    int64_t id;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    vec_push(&disks, new_disk(migration.id, "0"));
    assert_ok(store_disk_create(store, &disks.items[0], &err), &err);
    id = disks.items[0].id;
    store_disks_done(&disks);
    *ret_migration = migration.id;
    return id;
}

#endif
