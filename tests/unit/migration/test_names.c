#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "migration/internal.h"

static void
directories_are_safe_names_below_the_control_dir(void **state)
{
    CLEANUP(free_charp) char *plain = migration_directory("/nowhere", "web01", "vm-7");
    CLEANUP(free_charp) char *odd = migration_directory("/nowhere", "../IS 00/Dev", "vm-7");

    assert_string_equal(plain, "/nowhere/web01_vm-7");
    assert_string_equal(odd, "/nowhere/.._IS_00_Dev_vm-7");
}

static void
a_raw_directory_of_the_existing_tool_is_used_on(void **state)
{
    char root[] = "/tmp/v2c-names-XXXXXX";
    CLEANUP(free_charp) char *raw = NULL;
    CLEANUP(free_charp) char *found = NULL;

    assert_non_null(mkdtemp(root));
    raw = xasprintf("%s/IS00 - Dev_vm-9", root);
    assert_int_equal(mkdir(raw, 0700), 0);
    found = migration_directory(root, "IS00 - Dev", "vm-9");
    assert_string_equal(found, raw);
    assert_int_equal(rmdir(raw), 0);
    assert_int_equal(rmdir(root), 0);
}

static void
check_disk(const struct vsphere_vm *vm, size_t index, const char *key, const char *name)
{
    CLEANUP(free_charp) char *got_key = NULL;
    CLEANUP(free_charp) char *got_name = NULL;

    migration_disk_names(vm, &vm->disks.items[index], &got_key, &got_name);
    assert_string_equal(got_key, key);
    assert_string_equal(got_name, name);
}

/* Defect C of the existing tool: disks were keyed by unit number alone. */
static void
equal_units_on_two_controllers_have_names_of_their_own(void **state)
{
    struct vsphere_disk disks[] = {
        {.key = 2000, .bus = VSPHERE_BUS_SCSI, .controller_number = 0, .unit = 0},
        {.key = 2016, .bus = VSPHERE_BUS_SCSI, .controller_number = 1, .unit = 0},
        {.key = 16000, .bus = VSPHERE_BUS_SATA, .controller_number = 0, .unit = 0},
        {.key = 31000, .bus = VSPHERE_BUS_NVME, .controller_number = 0, .unit = 1},
    };
    struct vsphere_vm vm = {.disks = {.items = disks, .count = ARRAY_SIZE(disks)}};

    check_disk(&vm, 0, "0", "disk0");
    check_disk(&vm, 1, "scsi1:0", "disk_scsi1-0");
    check_disk(&vm, 2, "sata0:0", "disk_sata0-0");
    check_disk(&vm, 3, "nvme0:1", "disk_nvme0-1");
}

static void
the_first_scsi_controller_may_have_any_number(void **state)
{
    struct vsphere_disk disks[] = {
        {.bus = VSPHERE_BUS_SCSI, .controller_number = 1, .unit = 3},
        {.bus = VSPHERE_BUS_SCSI, .controller_number = 2, .unit = 3},
    };
    struct vsphere_vm vm = {.disks = {.items = disks, .count = ARRAY_SIZE(disks)}};

    check_disk(&vm, 0, "3", "disk3");
    check_disk(&vm, 1, "scsi2:3", "disk_scsi2-3");
}

static void
only_snapshots_with_the_whole_tag_are_this_migrations(void **state)
{
    char moref[] = "vm-7";
    struct store_migration record = {.vm_moref = moref, .created_at = 0x65a1b2c3};
    char tag[64];

    migration_record_tag(&record, tag);
    assert_string_equal(tag, "v2c-vm-7-65a1b2c3");
    assert_true(migration_owns_snapshot(tag, "v2c-vm-7-65a1b2c3-base-1700000000"));
    assert_false(migration_owns_snapshot(tag, "v2c-vm-7-65a1b2c3"));
    assert_false(migration_owns_snapshot(tag, "v2c-vm-7-65a1b2c30-base-1700000000"));
    assert_false(migration_owns_snapshot(tag, "v2c-vm-71-65a1b2c3-base-1700000000"));
    assert_false(migration_owns_snapshot(tag, "before the update"));
}

static void
next_stages_are_the_existing_tools_words(void **state)
{
    assert_string_equal(migration_next_stage(STAGE_DELTA, false, false), "delta");
    assert_string_equal(migration_next_stage(STAGE_DELTA, true, false), "Finalize");
    assert_string_equal(migration_next_stage(STAGE_FINAL_SYNC, true, true), "converting");
    assert_string_equal(migration_next_stage(STAGE_FINAL_SYNC, true, false), "import_root_disk");
    assert_string_equal(migration_next_stage(STAGE_AWAITING_SHUTDOWN, true, false),
                        "Shutdown action");
    assert_string_equal(migration_next_stage(STAGE_DONE, false, false), "none");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directories_are_safe_names_below_the_control_dir),
        cmocka_unit_test(a_raw_directory_of_the_existing_tool_is_used_on),
        cmocka_unit_test(equal_units_on_two_controllers_have_names_of_their_own),
        cmocka_unit_test(the_first_scsi_controller_may_have_any_number),
        cmocka_unit_test(only_snapshots_with_the_whole_tag_are_this_migrations),
        cmocka_unit_test(next_stages_are_the_existing_tools_words),
    };

    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
