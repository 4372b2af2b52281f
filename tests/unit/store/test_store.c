#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- opening ---- */

static void
the_database_is_made_for_its_owner_only(void **state)
{
    CLEANUP(free_charp)
    char *control = file_join(dir, "a/control"), *path = file_join(control, "v2c.db");
    CLEANUP(free_charp) char *wal = xasprintf("%s-wal", path);
    CLEANUP(store_closep) struct store *store = NULL;
    struct err *err = NULL;
    struct stat st;

    assert_ok(store_open(control, false, &store, &err), &err);
    assert_int_equal(stat(control, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
a_database_that_must_exist_is_not_made(void **state)
{
    CLEANUP(free_charp) char *path = file_join(dir, "v2c.db");
    struct store *store = NULL;
    struct err *err = NULL;

    assert_int_equal(store_open(dir, true, &store, &err), -1);
    assert_contains(err_hint_text(err), "--control-dir");
    assert_err_says(&err, E_STORE_NOT_FOUND, dir);
    assert_null(store);
    assert_int_equal(access(path, F_OK), -1);
    store = open_store();
    store_closep(&store);
    assert_ok(store_open(dir, true, &store, &err), &err);
    store_close(store);
}

static void
a_newer_schema_is_refused_and_left_alone(void **state)
{
    struct store *store = open_store();
    struct err *err = NULL;

    store_closep(&store);
    exec_raw("PRAGMA user_version = 1000");
    assert_int_equal(store_open(dir, false, &store, &err), -1);
    assert_contains(err_hint_text(err), "newer");
    assert_err_says(&err, E_STORE_FOREIGN, "written by a newer version");
    assert_int_equal(count_raw("PRAGMA user_version"), 1000);
}

/* What later schemas added, taken away again: a file of the first one. */
static void
make_first_schema(void)
{
    exec_raw("DROP TRIGGER shutdown_is_awaited; DROP TRIGGER space_is_awaited;"
             "DROP TABLE transition; DROP TABLE webhook;"
             "DROP TRIGGER migration_is_gone; DROP TABLE job; DROP TABLE wave; DROP TABLE account;"
             "DROP TABLE access; DROP TABLE environment; DROP TABLE audit;"
             "DROP TABLE round; DROP TABLE timing; DROP TABLE setting;"
             "ALTER TABLE migration DROP COLUMN bios_uuid;"
             "ALTER TABLE migration DROP COLUMN datacenter;"
             "ALTER TABLE disk DROP COLUMN verified_at;"
             "ALTER TABLE disk DROP COLUMN verified_bytes;"
             "ALTER TABLE disk DROP COLUMN mismatched_blocks;"
             "DROP TABLE bitmap;"
             "CREATE TABLE bitmap (disk INTEGER PRIMARY KEY REFERENCES disk (id) ON DELETE CASCADE,"
             " bits BLOB NOT NULL);"
             "INSERT INTO bitmap SELECT id, x'0705' FROM disk;"
             "PRAGMA user_version = 1");
}

static void
an_older_schema_is_brought_up_to_date_with_its_rows(void **state)
{
    struct store_migration migration = new_migration("1"), read = {0};
    struct store *store = open_store();
    struct store_disks disks = {0};
    struct store_bitmap bitmap;
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    vec_push(&disks, new_disk(migration.id, "0"));
    disks.items[0].change_id = xstrdup("52/1");
    assert_ok(store_disk_create(store, &disks.items[0], &err), &err);
    store_closep(&store);
    make_first_schema();
    store = open_store();
    assert_ok(store_migration_find(store, migration.vcenter, migration.vm_moref, &read, &err),
              &err);
    assert_int_equal(read.id, migration.id);
    assert_null(read.bios_uuid);
    assert_ok(store_bitmap_load(store, disks.items[0].id, STORE_BITMAP_DONE, &bitmap, &err), &err);
    assert_int_equal(bitmap.length, 2);
    assert_memory_equal(bitmap.bits, "\x07\x05", 2);
    assert_string_equal(bitmap.as_of, "52/1");
    store_bitmap_done(&bitmap);
    store_close(store);
    store_migration_done(&read);
    store_migration_done(&migration);
    store_disks_done(&disks);
}

static void
a_database_of_another_program_is_refused_and_left_alone(void **state)
{
    struct store *store = NULL;
    struct err *err = NULL;

    exec_raw("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
    assert_int_equal(store_open(dir, false, &store, &err), -1);
    assert_err_says(&err, E_STORE_FOREIGN, "another program");
    assert_int_equal(count_raw("SELECT count(*) FROM sqlite_master"), 1);
}

static void
overwrite(const char *bytes, size_t length, uint64_t offset)
{
    CLEANUP(free_charp) char *path = file_join(dir, "v2c.db");
    CLEANUP(close_fdp) int fd = open(path, O_WRONLY);
    struct err *err = NULL;

    assert_ok(file_pwrite(fd, bytes, length, offset, &err), &err);
}

static void
a_damaged_header_says_what_to_do(void **state)
{
    struct store *store = open_store();
    struct err *err = NULL;

    store_closep(&store);
    overwrite("this is no database", 19, 0);
    assert_int_equal(store_open(dir, false, &store, &err), -1);
    assert_int_equal(err_class(err), ERR_CLASS_OPERATOR);
    assert_contains(err_hint_text(err), ".recover");
    assert_err_says(&err, E_STORE_DAMAGED, "v2c.db: ");
}

static void
damage_further_in_is_noticed_when_it_is_read(void **state)
{
    struct store_migration migration = new_migration("1");
    struct store *store = open_store();
    struct store_migrations list = {0};
    struct err *err = NULL;
    char junk[4096];
    int rc;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    store_closep(&store);
    memset(junk, 0xa5, sizeof(junk));
    for (int page = 1; page < 16; page++)
        overwrite(junk, sizeof(junk), (uint64_t)page * 4096);
    rc = store_open(dir, false, &store, &err);
    if (rc == 0)
        rc = store_migration_list(store, &list, &err);
    assert_int_equal(rc, -1);
    assert_int_equal(list.count, 0);
    assert_err(&err, E_STORE_DAMAGED);
    store_close(store);
    store_migration_done(&migration);
}

static void
a_control_dir_that_cannot_be_made_is_an_error(void **state)
{
    CLEANUP(free_charp) char *file = file_join(dir, "file"), *below = file_join(file, "control");
    struct store *store = NULL;
    struct err *err = NULL;

    assert_ok(file_replace(file, "", 0, 0600, &err), &err);
    assert_int_equal(store_open(below, false, &store, &err), -1);
    assert_err_says(&err, E_STORE, "Not a directory");
}

/* ---- rows ---- */

static struct store_migration
full_migration(void)
{
    struct store_migration m = new_migration("77");

    m.instance_uuid = xstrdup("502c");
    m.bios_uuid = xstrdup("422c");
    m.datacenter = xstrdup("East");
    m.stage = STAGE_AWAITING_SHUTDOWN;
    m.active_snapshot = xstrdup("snapshot-9");
    m.snapshot_intent = xstrdup("Migrate_x");
    m.is_cbt_enabled_by_us = true;
    m.change_version = xstrdup("2026-01-01T00:00:00Z");
    m.powered_off_at = 11;
    m.imported_at = 12;
    m.started_at = 13;
    m.delta_rounds = 14;
    m.is_shutdown_action_required = true;
    m.shutdown_reason = xstrdup("no tools");
    m.shutdown_tools_status = xstrdup("toolsNotRunning");
    m.cloudstack_vm_id = xstrdup("cs-1");
    m.is_cloudstack_configured = true;
    m.is_cloudstack_started = true;
    m.is_virt_v2v_done = true;
    m.last_error = xstrdup("it \"broke\"; 'x' \xc3\xa9");
    m.last_error_code = xstrdup("E_IO");
    m.created_at = 5;
    return m;
}

static void
assert_text(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void
assert_same_migration(const struct store_migration *a, const struct store_migration *b)
{
    assert_int_equal(a->id, b->id);
    assert_text(a->migration_id, b->migration_id);
    assert_text(a->vm_name, b->vm_name);
    assert_text(a->vm_moref, b->vm_moref);
    assert_text(a->instance_uuid, b->instance_uuid);
    assert_text(a->bios_uuid, b->bios_uuid);
    assert_text(a->datacenter, b->datacenter);
    assert_text(a->vcenter, b->vcenter);
    assert_text(a->directory, b->directory);
    assert_int_equal(a->stage, b->stage);
    assert_text(a->active_snapshot, b->active_snapshot);
    assert_text(a->snapshot_intent, b->snapshot_intent);
    assert_int_equal(a->is_cbt_enabled_by_us, b->is_cbt_enabled_by_us);
    assert_text(a->change_version, b->change_version);
    assert_int_equal(a->powered_off_at, b->powered_off_at);
    assert_int_equal(a->imported_at, b->imported_at);
    assert_int_equal(a->started_at, b->started_at);
    assert_int_equal(a->delta_rounds, b->delta_rounds);
    assert_int_equal(a->is_shutdown_action_required, b->is_shutdown_action_required);
    assert_text(a->shutdown_reason, b->shutdown_reason);
    assert_text(a->shutdown_tools_status, b->shutdown_tools_status);
    assert_text(a->cloudstack_vm_id, b->cloudstack_vm_id);
    assert_int_equal(a->is_cloudstack_configured, b->is_cloudstack_configured);
    assert_int_equal(a->is_cloudstack_started, b->is_cloudstack_started);
    assert_int_equal(a->is_virt_v2v_done, b->is_virt_v2v_done);
    assert_text(a->last_error, b->last_error);
    assert_text(a->last_error_code, b->last_error_code);
    assert_int_equal(a->created_at, b->created_at);
}

static void
every_field_of_a_migration_comes_back(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_migration written = full_migration(), read = {0};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &written, &err), &err);
    assert_true(written.id > 0);
    assert_true(written.updated_at > 1700000000);
    assert_int_equal(written.created_at, 5);
    store_closep(&store);
    store = open_store();
    assert_ok(store_migration_find(store, "vc.example.com", "vm-77", &read, &err), &err);
    assert_same_migration(&written, &read);
    store_migration_done(&read);
    /* And with every field changed, NULL included. */
    store_migration_done(&written);
    written = (struct store_migration){.id = written.id,
                                       .migration_id = xstrdup("i"),
                                       .vm_name = xstrdup("n"),
                                       .vm_moref = xstrdup("vm-78"),
                                       .vcenter = xstrdup("other"),
                                       .directory = xstrdup("/d"),
                                       .stage = STAGE_DONE,
                                       .created_at = 6};
    assert_ok(store_migration_save(store, &written, NULL, &err), &err);
    assert_ok(store_migration_find(store, "other", "vm-78", &read, &err), &err);
    assert_same_migration(&written, &read);
    store_migration_done(&read);
    store_migration_done(&written);
}

static struct store_disk
full_disk(int64_t migration, const char *key)
{
    struct store_disk d = new_disk(migration, key);

    d.device_key = 2016;
    d.unit = 15;
    d.backing_uuid = xstrdup("6000C29");
    d.capacity = 62 * TIB + 512;
    d.is_boot = true;
    d.storage_id = xstrdup("pool");
    d.disk_offering_id = xstrdup("offering");
    d.target_path = xstrdup("/pool/x.qcow2");
    d.source_path = xstrdup("[ds] web/web.vmdk");
    d.base_snapshot = xstrdup("snapshot-1");
    d.pending_change_id = xstrdup("52 ab/3");
    d.change_id = xstrdup("52 ab/2");
    d.is_base_copied = true;
    d.is_finished = true;
    d.delta_rounds = 3;
    d.base_bytes = 1ULL << 45;
    d.base_ms = 1ULL << 33;
    d.volume_id = xstrdup("vol");
    d.attached_to_vm_id = xstrdup("vm");
    return d;
}

static void
assert_same_disk(const struct store_disk *a, const struct store_disk *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->migration, b->migration);
    assert_text(a->key, b->key);
    assert_text(a->name, b->name);
    assert_int_equal(a->device_key, b->device_key);
    assert_int_equal(a->unit, b->unit);
    assert_text(a->address, b->address);
    assert_text(a->backing_uuid, b->backing_uuid);
    assert_int_equal(a->capacity, b->capacity);
    assert_int_equal(a->is_boot, b->is_boot);
    assert_text(a->storage_id, b->storage_id);
    assert_text(a->disk_offering_id, b->disk_offering_id);
    assert_text(a->target_path, b->target_path);
    assert_text(a->source_path, b->source_path);
    assert_text(a->base_snapshot, b->base_snapshot);
    assert_text(a->pending_change_id, b->pending_change_id);
    assert_text(a->change_id, b->change_id);
    assert_int_equal(a->is_base_copied, b->is_base_copied);
    assert_int_equal(a->is_finished, b->is_finished);
    assert_int_equal(a->delta_rounds, b->delta_rounds);
    assert_int_equal(a->base_bytes, b->base_bytes);
    assert_int_equal(a->base_ms, b->base_ms);
    assert_text(a->volume_id, b->volume_id);
    assert_text(a->attached_to_vm_id, b->attached_to_vm_id);
}

static void
every_field_of_a_disk_comes_back(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1");
    CLEANUP(store_disks_done) struct store_disks written = {0}, read = {0}, changed = {0};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    vec_push(&written, full_disk(migration.id, "0"));
    vec_push(&written, new_disk(migration.id, "scsi1:0"));
    for (size_t i = 0; i < 2; i++)
        assert_ok(store_disk_create(store, &written.items[i], &err), &err);
    assert_ok(store_disks_load(store, migration.id, &read, &err), &err);
    assert_int_equal(read.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_same_disk(&written.items[i], &read.items[i]);
    /* Their fields change places in one save. */
    free(written.items[0].change_id);
    written.items[0].change_id = NULL;
    written.items[0].is_boot = false;
    written.items[1].change_id = xstrdup("new");
    written.items[1].base_bytes = 9;
    assert_ok(store_migration_save(store, &migration, &written, &err), &err);
    assert_ok(store_disks_load(store, migration.id, &changed, &err), &err);
    for (size_t i = 0; i < 2; i++)
        assert_same_disk(&written.items[i], &changed.items[i]);
}

static void
migrations_are_listed_in_order(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migrations_done) struct store_migrations list = {0};
    struct err *err = NULL;

    assert_ok(store_migration_list(store, &list, &err), &err);
    assert_int_equal(list.count, 0);
    for (int i = 0; i < 3; i++) {
        CLEANUP(free_charp) char *tag = xasprintf("%d", 9 - i);
        CLEANUP(store_migration_done) struct store_migration migration = new_migration(tag);

        assert_ok(store_migration_create(store, &migration, &err), &err);
    }
    assert_ok(store_migration_list(store, &list, &err), &err);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.items[0].vm_moref, "vm-9");
    assert_string_equal(list.items[2].vm_moref, "vm-7");
}

static void
an_unknown_vm_is_not_found(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1");
    struct store_migration found = {.id = 77};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    assert_int_equal(store_migration_find(store, "vc.example.com", "vm-2", &found, &err), -1);
    assert_err_says(&err, E_STORE_NOT_FOUND, "vm-2");
    assert_int_equal(store_migration_find(store, "elsewhere", "vm-1", &found, &err), -1);
    assert_err(&err, E_STORE_NOT_FOUND);
    assert_int_equal(found.id, 77);
}

static void
one_directory_belongs_to_one_migration(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration first = new_migration("1");
    CLEANUP(store_migration_done) struct store_migration second = new_migration("1");
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &first, &err), &err);
    free(second.vcenter);
    second.vcenter = xstrdup("10.0.0.1"); /* the same server by another name */
    assert_int_equal(store_migration_create(store, &second, &err), -1);
    assert_int_equal(second.id, 0);
    assert_contains(err_hint_text(err), "vcenter.host");
    assert_err_says(&err, E_STORE_FOREIGN, "from vCenter vc.example.com");
}

static void
the_same_vm_or_disk_twice_is_our_bug(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration first = new_migration("1");
    CLEANUP(store_migration_done) struct store_migration second = new_migration("1");
    CLEANUP(store_disks_done) struct store_disks disks = {0};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &first, &err), &err);
    free(second.directory);
    second.directory = xstrdup("/elsewhere");
    assert_int_equal(store_migration_create(store, &second, &err), -1);
    assert_err(&err, E_BUG);
    vec_push(&disks, new_disk(first.id, "0"));
    vec_push(&disks, new_disk(first.id, "0"));
    vec_push(&disks, new_disk(999, "0"));
    assert_ok(store_disk_create(store, &disks.items[0], &err), &err);
    assert_int_equal(store_disk_create(store, &disks.items[1], &err), -1);
    assert_err(&err, E_BUG);
    assert_int_equal(store_disk_create(store, &disks.items[2], &err), -1); /* no such migration */
    assert_err(&err, E_BUG);
}

static void
a_save_that_fails_at_its_end_changes_nothing(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1"), read = {0};
    CLEANUP(store_disks_done) struct store_disks disks = {0}, loaded = {0};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    vec_push(&disks, new_disk(migration.id, "0"));
    vec_push(&disks, new_disk(migration.id, "1"));
    assert_ok(store_disk_create(store, &disks.items[0], &err), &err);
    migration.stage = STAGE_DELTA;
    disks.items[0].change_id = xstrdup("52/1");
    disks.items[1].id = 4711; /* was never created */
    assert_int_equal(store_migration_save(store, &migration, &disks, &err), -1);
    assert_err_says(&err, E_STORE_NOT_FOUND, "disk 1: ");
    disks.items[1].migration = 4711;
    assert_int_equal(store_migration_save(store, &migration, &disks, &err), -1);
    assert_err(&err, E_BUG);
    assert_ok(store_migration_find(store, "vc.example.com", "vm-1", &read, &err), &err);
    assert_int_equal(read.stage, STAGE_INIT);
    assert_ok(store_disks_load(store, migration.id, &loaded, &err), &err);
    assert_null(loaded.items[0].change_id);
    disks.items[1].migration = migration.id;
    disks.count = 1;
    assert_ok(store_migration_save(store, &migration, &disks, &err), &err); /* goes on working */
    disks.count = 2;
}

static void
saving_what_is_not_recorded_fails(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1");
    struct err *err = NULL;

    migration.id = 5;
    assert_int_equal(store_migration_save(store, &migration, NULL, &err), -1);
    assert_err(&err, E_STORE_NOT_FOUND);
}

static void
an_unknown_stage_is_refused(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_migration_done) struct store_migration migration = new_migration("1"), read = {0};
    struct store_migrations list = {0};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    exec_raw("UPDATE migration SET stage = 'teleporting'");
    assert_int_equal(store_migration_find(store, "vc.example.com", "vm-1", &read, &err), -1);
    assert_err_says(&err, E_STORE_FOREIGN, "teleporting");
    assert_int_equal(store_migration_list(store, &list, &err), -1);
    assert_err(&err, E_STORE_FOREIGN);
}

static void
stages_have_the_names_of_the_existing_tool(void **state)
{
    enum store_stage stage = STAGE_DONE;

    assert_string_equal(store_stage_name(STAGE_INIT), "init");
    assert_string_equal(store_stage_name(STAGE_DISCOVERING_DISKS), "discovering_vmware_disks");
    assert_string_equal(store_stage_name(STAGE_DONE), "done");
    assert_true(store_stage_from_name("final_sync", &stage));
    assert_int_equal(stage, STAGE_FINAL_SYNC);
    assert_false(store_stage_from_name("nonsense", &stage));
    assert_false(store_stage_from_name(NULL, &stage));
    assert_int_equal(stage, STAGE_FINAL_SYNC);
    assert_string_equal(store_stage_name(STAGE_MAX_), "unknown");
}

/* ---- what belongs to them ---- */

static void
a_deleted_migration_leaves_no_row_and_no_other_loses_one(void **state)
{
    static const char *const tables[] = {"migration", "disk",   "bitmap", "progress",
                                         "finalize",  "intent", "event",  "setting"};
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_migration migrations[] = {new_migration("1"), new_migration("2")};
    struct store_progress progress = {.stage = "delta"};
    struct store_disks disks = {0};
    struct err *err = NULL;
    bool was_requested;

    for (size_t i = 0; i < ARRAY_SIZE(migrations); i++) {
        struct store_disk disk;

        assert_ok(store_migration_create(store, &migrations[i], &err), &err);
        disk = new_disk(migrations[i].id, "0");
        assert_ok(store_disk_create(store, &disk, &err), &err);
        assert_ok(store_bitmap_save(store, disk.id, STORE_BITMAP_DONE, NULL, "x", 1, &err), &err);
        assert_ok(store_progress_save(store, disk.id, &progress, &err), &err);
        assert_ok(store_finalize_request(store, migrations[i].id, STORE_FINALIZE_NOW,
                                         &was_requested, &err),
                  &err);
        assert_ok(store_pause(store, migrations[i].id, &was_requested, &err), &err);
        assert_ok(store_intent_begin(store, migrations[i].id, "import_vm", &err), &err);
        assert_ok(store_event_add(store, migrations[i].id, "stage", "delta", &err), &err);
        vec_push(&disks, disk);
    }
    assert_ok(store_migration_delete(store, migrations[0].id, &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        CLEANUP(free_charp) char *sql = xasprintf("SELECT count(*) FROM %s", tables[i]);

        assert_int_equal(count_raw(sql), 1);
    }
    assert_int_equal(store_migration_delete(store, migrations[0].id, &err), -1);
    assert_err(&err, E_STORE_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_SIZE(migrations); i++)
        store_migration_done(&migrations[i]);
    store_disks_done(&disks);
}

/* ---- several processes ---- */

static void
wait_for(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Each adds to one counter by read and save of its own row; none may lose anything or fail. */
static void
several_processes_write_at_once(void **state)
{
    enum { PROCESSES = 3, ROUNDS = 25 };
    struct store_migrations list = {0};
    struct store *store = open_store();
    struct err *err = NULL;
    pid_t pids[PROCESSES];

    store_closep(&store); /* a connection must not be carried across fork */
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            char tag[8];
            struct store_migration migration;

            snprintf(tag, sizeof(tag), "%d", i);
            migration = new_migration(tag);
            if (store_open(dir, false, &store, NULL) < 0 ||
                store_migration_create(store, &migration, NULL) < 0)
                _exit(1);
            for (int round = 0; round < ROUNDS; round++) {
                migration.delta_rounds++;
                if (store_migration_save(store, &migration, NULL, NULL) < 0 ||
                    store_event_add(store, migration.id, "round", "x", NULL) < 0)
                    _exit(2);
            }
            store_close(store);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        wait_for(pids[i]);
    store = open_store();
    assert_ok(store_migration_list(store, &list, &err), &err);
    assert_int_equal(list.count, PROCESSES);
    for (size_t i = 0; i < list.count; i++)
        assert_int_equal(list.items[i].delta_rounds, ROUNDS);
    assert_int_equal(count_raw("SELECT count(*) FROM event"), PROCESSES * ROUNDS);
    store_migrations_done(&list);
    store_close(store);
}

/* All find no database, and exactly one of them makes the schema. */
static void
several_processes_open_a_new_database_at_once(void **state)
{
    enum { PROCESSES = 4 };
    pid_t pids[PROCESSES];
    int go[2];

    assert_int_equal(pipe(go), 0);
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct store *store;
            char c;

            close(go[1]);
            if (read(go[0], &c, 1) != 0 || store_open(dir, false, &store, NULL) < 0)
                _exit(1);
            store_close(store);
            _exit(0);
        }
    }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < PROCESSES; i++)
        wait_for(pids[i]);
    assert_int_equal(count_raw("SELECT count(*) FROM sqlite_master WHERE name = 'migration'"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(the_database_is_made_for_its_owner_only),
        STORE_TEST(a_database_that_must_exist_is_not_made),
        STORE_TEST(a_newer_schema_is_refused_and_left_alone),
        STORE_TEST(an_older_schema_is_brought_up_to_date_with_its_rows),
        STORE_TEST(a_database_of_another_program_is_refused_and_left_alone),
        STORE_TEST(a_damaged_header_says_what_to_do),
        STORE_TEST(damage_further_in_is_noticed_when_it_is_read),
        STORE_TEST(a_control_dir_that_cannot_be_made_is_an_error),
        STORE_TEST(every_field_of_a_migration_comes_back),
        STORE_TEST(every_field_of_a_disk_comes_back),
        STORE_TEST(migrations_are_listed_in_order),
        STORE_TEST(an_unknown_vm_is_not_found),
        STORE_TEST(one_directory_belongs_to_one_migration),
        STORE_TEST(the_same_vm_or_disk_twice_is_our_bug),
        STORE_TEST(a_save_that_fails_at_its_end_changes_nothing),
        STORE_TEST(saving_what_is_not_recorded_fails),
        STORE_TEST(an_unknown_stage_is_refused),
        STORE_TEST(stages_have_the_names_of_the_existing_tool),
        STORE_TEST(a_deleted_migration_leaves_no_row_and_no_other_loses_one),
        STORE_TEST(several_processes_write_at_once),
        STORE_TEST(several_processes_open_a_new_database_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
