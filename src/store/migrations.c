#include <inttypes.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

void
store_migration_done(struct store_migration *migration)
{
    table_free_texts(&migration_table, migration);
}

void
store_migrations_done(struct store_migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++)
        store_migration_done(&migrations->items[i]);
    vec_done(migrations);
}

void
store_disks_done(struct store_disks *disks)
{
    for (size_t i = 0; i < disks->count; i++)
        table_free_texts(&disk_table, &disks->items[i]);
    vec_done(disks);
}

/* Two migrations in one directory would share their files, lock and log. */
static int
check_directory_is_free(struct store *store, const struct store_migration *migration,
                        struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "SELECT vm_name, vm_moref, vcenter FROM migration WHERE directory = ?", err);
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, migration->directory);
    rc = store_step(store, stmt, err);
    if (rc <= 0)
        return rc;
    err_set(err, E_STORE_FOREIGN, "%s belongs to the migration of %s (%s) from vCenter %s",
            migration->directory, (const char *)sqlite3_column_text(stmt, 0),
            (const char *)sqlite3_column_text(stmt, 1), (const char *)sqlite3_column_text(stmt, 2));
    return err_hint(err, "write vcenter.host as it was then, or choose another control_dir");
}

int
store_migration_create(struct store *store, struct store_migration *migration, struct err **err)
{
    struct store_migration row = *migration;

    if (store_begin(store, err) < 0)
        return -1;
    row.updated_at = clock_wall_s();
    row.created_at = row.created_at ? row.created_at : row.updated_at;
    if (check_directory_is_free(store, migration, err) < 0 ||
        table_insert(store, &migration_table, &row, err) < 0) {
        store_rollback(store);
        return -1;
    }
    if (store_commit(store, err) < 0)
        return -1;
    migration->id = row.id;
    migration->created_at = row.created_at;
    migration->updated_at = row.updated_at;
    return 0;
}

static int
read_migration(struct store *store, sqlite3_stmt *stmt, struct store_migration *ret,
               struct err **err)
{
    struct store_migration row = {0};

    if (table_read(store, &migration_table, stmt, &row, err) < 0) {
        store_migration_done(&row);
        return -1;
    }
    *ret = row;
    return 0;
}

int
store_migration_find(struct store *store, const char *vcenter, const char *moref,
                     struct store_migration *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        table_select(store, &migration_table, "WHERE vcenter = ? AND vm_moref = ?", err);
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, vcenter);
    store_bind_text(stmt, 2, moref);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(err, E_STORE_NOT_FOUND, "no migration of %s from vCenter %s is recorded",
                       moref, vcenter);
    return read_migration(store, stmt, ret, err);
}

int
store_migration_list(struct store *store, struct store_migrations *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &migration_table, "ORDER BY id", err);
    struct store_migrations rows = {0};
    int rc;

    if (!stmt)
        return -1;
    while ((rc = store_step(store, stmt, err)) > 0) {
        struct store_migration row;

        if (read_migration(store, stmt, &row, err) < 0) {
            rc = -1;
            break;
        }
        vec_push(&rows, row);
    }
    if (rc < 0) {
        store_migrations_done(&rows);
        return -1;
    }
    *ret = rows;
    return 0;
}

static int
save_rows(struct store *store, const struct store_migration *migration,
          const struct store_disks *disks, struct err **err)
{
    struct store_migration row = *migration; /* borrows its strings */

    row.updated_at = clock_wall_s();
    if (table_update(store, &migration_table, &row, err) < 0)
        return -1;
    for (size_t i = 0; disks && i < disks->count; i++) {
        if (disks->items[i].migration != migration->id)
            return err_set(err, E_BUG, "disk %s is of migration %" PRId64 ", not %" PRId64,
                           disks->items[i].key, disks->items[i].migration, migration->id);
        if (table_update(store, &disk_table, &disks->items[i], err) < 0)
            return err_wrap(err, "disk %s", disks->items[i].key);
    }
    return 0;
}

int
store_migration_save(struct store *store, const struct store_migration *migration,
                     const struct store_disks *disks, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    if (save_rows(store, migration, disks, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

int
store_migration_delete(struct store *store, int64_t migration, struct err **err)
{
    /* One statement, and so one transaction: the other tables follow by ON DELETE CASCADE. */
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "DELETE FROM migration WHERE id = ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    if (store_run(store, stmt, err) < 0)
        return -1;
    if (sqlite3_changes(store->db) == 0)
        return err_set(err, E_STORE_NOT_FOUND, "%s: the migration is no longer recorded",
                       store->path);
    return 0;
}

int
store_disk_create(struct store *store, struct store_disk *disk, struct err **err)
{
    return table_insert(store, &disk_table, disk, err);
}

int
store_disks_create(struct store *store, struct store_disks *disks, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    for (size_t i = 0; i < disks->count; i++)
        if (store_disk_create(store, &disks->items[i], err) < 0) {
            store_rollback(store);
            return -1;
        }
    return store_commit(store, err);
}

int
store_disks_load(struct store *store, int64_t migration, struct store_disks *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &disk_table, "WHERE migration = ? ORDER BY id", err);
    struct store_disks rows = {0};
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    while ((rc = store_step(store, stmt, err)) > 0) {
        struct store_disk row = {0};

        if (table_read(store, &disk_table, stmt, &row, err) < 0)
            abort(); /* it has no column that can be wrong */
        vec_push(&rows, row);
    }
    if (rc < 0) {
        store_disks_done(&rows);
        return -1;
    }
    *ret = rows;
    return 0;
}
