#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "store/sqlite.h"

#define MAX_SQL 8192

#define MIGRATION(kind, member)                                                                    \
    {                                                                                              \
#member, COLUMN_##kind, offsetof(struct store_migration, member)                           \
    }
static const struct column migration_columns[] = {
    MIGRATION(TEXT, migration_id),
    MIGRATION(TEXT, vm_name),
    MIGRATION(TEXT, vm_moref),
    MIGRATION(TEXT, instance_uuid),
    MIGRATION(TEXT, bios_uuid),
    MIGRATION(TEXT, datacenter),
    MIGRATION(TEXT, vcenter),
    MIGRATION(TEXT, directory),
    MIGRATION(STAGE, stage),
    MIGRATION(TEXT, active_snapshot),
    MIGRATION(TEXT, snapshot_intent),
    MIGRATION(BOOL, is_cbt_enabled_by_us),
    MIGRATION(TEXT, change_version),
    MIGRATION(INT64, powered_off_at),
    MIGRATION(INT64, imported_at),
    MIGRATION(INT64, started_at),
    MIGRATION(INT64, delta_rounds),
    MIGRATION(BOOL, is_shutdown_action_required),
    MIGRATION(TEXT, shutdown_reason),
    MIGRATION(TEXT, shutdown_tools_status),
    MIGRATION(TEXT, cloudstack_vm_id),
    MIGRATION(BOOL, is_cloudstack_configured),
    MIGRATION(BOOL, is_cloudstack_started),
    MIGRATION(BOOL, is_virt_v2v_done),
    MIGRATION(TEXT, last_error),
    MIGRATION(TEXT, last_error_code),
    MIGRATION(INT64, created_at),
    MIGRATION(INT64, updated_at),
};
const struct table migration_table = {
    .name = "migration",
    .columns = migration_columns,
    .column_count = ARRAY_SIZE(migration_columns),
    .id_offset = offsetof(struct store_migration, id),
};

#define DISK(kind, member)                                                                         \
    {                                                                                              \
#member, COLUMN_##kind, offsetof(struct store_disk, member)                                \
    }
static const struct column disk_columns[] = {
    DISK(INT64, migration),
    DISK(TEXT, key),
    DISK(TEXT, name),
    DISK(INT32, device_key),
    DISK(INT32, unit),
    DISK(TEXT, address),
    DISK(TEXT, backing_uuid),
    DISK(INT64, capacity),
    DISK(BOOL, is_boot),
    DISK(TEXT, storage_id),
    DISK(TEXT, disk_offering_id),
    DISK(TEXT, target_path),
    DISK(TEXT, source_path),
    DISK(TEXT, base_snapshot),
    DISK(TEXT, pending_change_id),
    DISK(TEXT, change_id),
    DISK(BOOL, is_base_copied),
    DISK(BOOL, is_finished),
    DISK(INT64, delta_rounds),
    DISK(INT64, base_bytes),
    DISK(INT64, base_ms),
    DISK(INT64, verified_at),
    DISK(INT64, verified_bytes),
    DISK(INT64, mismatched_blocks),
    DISK(TEXT, volume_id),
    DISK(TEXT, attached_to_vm_id),
};
const struct table disk_table = {
    .name = "disk",
    .columns = disk_columns,
    .column_count = ARRAY_SIZE(disk_columns),
    .id_offset = offsetof(struct store_disk, id),
};

static int64_t *
row_id(const struct table *table, const void *row)
{
    return (int64_t *)((char *)row + table->id_offset);
}

static void
bind_row(const struct table *table, sqlite3_stmt *stmt, const void *row)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const void *field = (const char *)row + table->columns[i].offset;
        int index = (int)i + 1;

        switch (table->columns[i].kind) {
        case COLUMN_TEXT:
            store_bind_text(stmt, index, *(char *const *)field);
            break;
        case COLUMN_INT64: /* sizes too: no disk reaches 2^63 bytes */
            sqlite3_bind_int64(stmt, index, *(const int64_t *)field);
            break;
        case COLUMN_INT32:
            sqlite3_bind_int64(stmt, index, *(const int32_t *)field);
            break;
        case COLUMN_BOOL:
            sqlite3_bind_int64(stmt, index, *(const bool *)field);
            break;
        case COLUMN_STAGE:
            store_bind_text(stmt, index, store_stage_name(*(const enum store_stage *)field));
            break;
        }
    }
}

int
table_insert(struct store *store, const struct table *table, void *row, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = NULL;
    struct str sql = STR_INIT(MAX_SQL);

    str_appendf(&sql, "INSERT INTO %s (", table->name);
    for (size_t i = 0; i < table->column_count; i++)
        str_appendf(&sql, "%s%s", i ? ", " : "", table->columns[i].name);
    str_append(&sql, ") VALUES (");
    for (size_t i = 0; i < table->column_count; i++)
        str_append(&sql, i ? ", ?" : "?");
    str_append(&sql, ")");
    stmt = store_prepare(store, str_text(&sql), err);
    str_done(&sql);
    if (!stmt)
        return -1;
    bind_row(table, stmt, row);
    if (store_run(store, stmt, err) < 0)
        return -1;
    *row_id(table, row) = sqlite3_last_insert_rowid(store->db);
    return 0;
}

int
table_update(struct store *store, const struct table *table, const void *row, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = NULL;
    struct str sql = STR_INIT(MAX_SQL);

    str_appendf(&sql, "UPDATE %s SET ", table->name);
    for (size_t i = 0; i < table->column_count; i++)
        str_appendf(&sql, "%s%s = ?", i ? ", " : "", table->columns[i].name);
    str_append(&sql, " WHERE id = ?");
    stmt = store_prepare(store, str_text(&sql), err);
    str_done(&sql);
    if (!stmt)
        return -1;
    bind_row(table, stmt, row);
    sqlite3_bind_int64(stmt, (int)table->column_count + 1, *row_id(table, row));
    if (store_run(store, stmt, err) < 0)
        return -1;
    if (sqlite3_changes(store->db) == 0)
        return err_set(err, E_STORE_NOT_FOUND, "%s: the %s is no longer recorded", store->path,
                       table->name);
    return 0;
}

sqlite3_stmt *
table_select(struct store *store, const struct table *table, const char *where, struct err **err)
{
    struct str sql = STR_INIT(MAX_SQL);
    sqlite3_stmt *stmt;

    str_append(&sql, "SELECT id");
    for (size_t i = 0; i < table->column_count; i++)
        str_appendf(&sql, ", %s", table->columns[i].name);
    str_appendf(&sql, " FROM %s %s", table->name, where);
    stmt = store_prepare(store, str_text(&sql), err);
    str_done(&sql);
    return stmt;
}

static int
read_stage(struct store *store, sqlite3_stmt *stmt, int index, enum store_stage *ret_stage,
           struct err **err)
{
    const char *name = (const char *)sqlite3_column_text(stmt, index);

    if (store_stage_from_name(name, ret_stage))
        return 0;
    return err_set(err, E_STORE_FOREIGN, "%s: unknown stage \"%s\"", store->path, name ? name : "");
}

int
table_read(struct store *store, const struct table *table, sqlite3_stmt *stmt, void *ret_row,
           struct err **err)
{
    *row_id(table, ret_row) = sqlite3_column_int64(stmt, 0);
    for (size_t i = 0; i < table->column_count; i++) {
        void *field = (char *)ret_row + table->columns[i].offset;
        int index = (int)i + 1;

        switch (table->columns[i].kind) {
        case COLUMN_TEXT:
            *(char **)field = store_column_text(stmt, index);
            break;
        case COLUMN_INT64:
            *(int64_t *)field = sqlite3_column_int64(stmt, index);
            break;
        case COLUMN_INT32:
            *(int32_t *)field = sqlite3_column_int(stmt, index);
            break;
        case COLUMN_BOOL:
            *(bool *)field = sqlite3_column_int(stmt, index) != 0;
            break;
        case COLUMN_STAGE:
            if (read_stage(store, stmt, index, field, err) < 0)
                return -1;
            break;
        }
    }
    return 0;
}

void
table_free_texts(const struct table *table, void *row)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].kind == COLUMN_TEXT) {
            char **text = (char **)((char *)row + table->columns[i].offset);

            free(*text);
            *text = NULL;
        }
}
