/* lab/core/vms: file names, change ids and power as a real host would have them. */
#include "../check.h"

#include "core/vms.h"
#include "scratch.h"

struct bench {
    char *dir;
    struct lab *lab;
    struct lab_vm *vm;
};

static int
setup(void **state)
{
    static const struct lab_disk_plan DISKS[] = {
        {.capacity = MIB, .fill_percent = 50, .seed = 1},
        {.capacity = MIB, .fill_percent = 50, .seed = 2},
    };
    struct bench *bench = xcalloc(1, sizeof(*bench));
    struct lab_machine_plan plan = {
        .name = "web", .disks = DISKS, .disk_count = ARRAY_SIZE(DISKS), .shutdown_ms = 1};
    struct err *err = NULL;

    bench->dir = scratch_make();
    plan.dir = bench->dir;
    bench->vm = xcalloc(1, sizeof(*bench->vm));
    strcpy(bench->vm->moref, "vm-1");
    strcpy(bench->vm->name, "web");
    strcpy(bench->vm->instance_uuid, "1234");
    bench->vm->has_tools = true;
    for (int i = 0; i < 2; i++)
        vec_push(&bench->vm->disks,
                 (struct lab_vm_disk){.key = 2000 + i, .bus = "scsi", .capacity = MIB});
    assert_ok(lab_synthetic_new(&plan, &bench->vm->machine, &err), &err);
    assert_ok(lab_new(bench->dir, &bench->lab, &err), &err);
    assert_ok(lab_vm_prepare(bench->lab, bench->vm, &err), &err);
    vec_push(&bench->lab->vms, bench->vm);
    *state = bench;
    return 0;
}

static int
teardown(void **state)
{
    struct bench *bench = *state;

    lab_free(bench->lab);
    scratch_remove(bench->dir);
    free(bench);
    return 0;
}

static void
snapshot(struct bench *bench, char moref[32])
{
    struct err *err = NULL;

    assert_ok(lab_vm_snapshot(bench->lab, bench->vm, "s", "", false, moref, &err), &err);
}

static void
remove_one(struct bench *bench, const char *moref)
{
    struct err *err = NULL;

    assert_ok(lab_vm_remove_snapshot(bench->lab, bench->vm, moref, false, &err), &err);
}

static const char *
frozen_file(struct bench *bench, const char *moref)
{
    return lab_find_snapshot(bench->vm, moref)->disks.items[1].path;
}

static void
snapshot_freezes_the_running_file_and_starts_a_delta(void **state)
{
    struct bench *bench = *state;
    char first[32], second[32];

    assert_string_equal(bench->vm->disks.items[0].path, "[ds1] web/web.vmdk");
    assert_string_equal(bench->vm->disks.items[1].path, "[ds1] web/web_1.vmdk");
    snapshot(bench, first);
    assert_string_equal(frozen_file(bench, first), "[ds1] web/web_1.vmdk");
    assert_string_equal(bench->vm->disks.items[1].path, "[ds1] web/web_1-000001.vmdk");
    snapshot(bench, second);
    assert_string_equal(frozen_file(bench, first), "[ds1] web/web_1.vmdk");
    assert_string_equal(frozen_file(bench, second), "[ds1] web/web_1-000001.vmdk");
    assert_string_equal(bench->vm->disks.items[1].path, "[ds1] web/web_1-000002.vmdk");
}

static void
removing_the_older_snapshot_moves_the_younger_to_its_file(void **state)
{
    struct bench *bench = *state;
    char first[32], second[32];

    snapshot(bench, first);
    snapshot(bench, second);
    remove_one(bench, first);
    assert_null(lab_find_snapshot(bench->vm, first));
    assert_string_equal(frozen_file(bench, second), "[ds1] web/web_1.vmdk");
    assert_string_equal(bench->vm->disks.items[1].path, "[ds1] web/web_1-000002.vmdk");
    remove_one(bench, second);
    assert_string_equal(bench->vm->disks.items[1].path, "[ds1] web/web_1.vmdk");
    assert_int_equal(bench->vm->chain.count, 1);
}

static void
removing_with_children_leaves_nothing(void **state)
{
    struct bench *bench = *state;
    struct err *err = NULL;
    char first[32], other[32];

    snapshot(bench, first);
    snapshot(bench, other);
    snapshot(bench, other);
    assert_ok(lab_vm_remove_snapshot(bench->lab, bench->vm, first, true, &err), &err);
    assert_int_equal(bench->vm->snapshots.count, 0);
    assert_string_equal(bench->vm->disks.items[0].path, "[ds1] web/web.vmdk");
    assert_int_equal(lab_vm_remove_snapshot(bench->lab, bench->vm, first, true, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
}

static void
failed_consolidation_leaves_the_delta_until_it_is_asked_for(void **state)
{
    struct bench *bench = *state;
    json_t *fault = json_pack("{s:s, s:s}", "where", "vm.consolidate", "action", "fail");
    struct err *err = NULL;
    char moref[32];

    assert_ok(lab_faults_add(bench->lab->faults, fault, &err), &err);
    json_decref(fault);
    snapshot(bench, moref);
    remove_one(bench, moref);
    assert_true(bench->vm->needs_consolidation);
    assert_int_equal(bench->vm->snapshots.count, 0);
    assert_string_equal(bench->vm->disks.items[0].path, "[ds1] web/web-000001.vmdk");
    lab_vm_consolidate(bench->lab, bench->vm);
    assert_false(bench->vm->needs_consolidation);
    assert_string_equal(bench->vm->disks.items[0].path, "[ds1] web/web.vmdk");
}

static void
tracking_takes_effect_with_the_next_snapshot(void **state)
{
    struct bench *bench = *state;
    char moref[32], expected[112];

    lab_vm_configure_cbt(bench->lab, bench->vm, true);
    assert_true(bench->vm->is_cbt_on);
    assert_false(bench->vm->is_cbt_effective);
    assert_string_equal(bench->vm->disks.items[0].change_id, "");
    snapshot(bench, moref);
    assert_true(bench->vm->is_cbt_effective);
    snprintf(expected, sizeof(expected), "%s/%u", bench->vm->disks.items[0].change_uuid,
             (unsigned)lab_find_snapshot(bench->vm, moref)->view);
    assert_string_equal(lab_find_snapshot(bench->vm, moref)->disks.items[0].change_id, expected);
    assert_string_not_equal(bench->vm->disks.items[0].change_uuid,
                            bench->vm->disks.items[1].change_uuid);
}

static void
snapshot_without_tracking_has_no_change_id(void **state)
{
    struct bench *bench = *state;
    char moref[32];

    snapshot(bench, moref);
    assert_string_equal(lab_find_snapshot(bench->vm, moref)->disks.items[0].change_id, "");
}

static void
lost_history_is_another_change_uuid(void **state)
{
    struct bench *bench = *state;
    struct err *err = NULL;
    char moref[32], before[64];

    lab_vm_configure_cbt(bench->lab, bench->vm, true);
    snapshot(bench, moref);
    memcpy(before, bench->vm->disks.items[0].change_uuid, sizeof(before));
    assert_ok(lab_vm_reset_cbt(bench->lab, bench->vm, &err), &err);
    assert_string_not_equal(bench->vm->disks.items[0].change_uuid, before);
    assert_true(bench->vm->is_cbt_effective);
}

static void
no_more_than_32_levels(void **state)
{
    struct bench *bench = *state;
    struct err *err = NULL;
    char moref[32];

    for (int i = 0; i < LAB_MAX_SNAPSHOTS; i++)
        snapshot(bench, moref);
    assert_int_equal(lab_vm_snapshot(bench->lab, bench->vm, "s", "", false, moref, &err), -1);
    assert_err(&err, E_LIMIT);
}

static void
power_has_a_stamp_and_refuses_what_is_so_already(void **state)
{
    struct bench *bench = *state;
    struct err *err = NULL;

    assert_int_equal(bench->vm->powered_off_at_ms, 0);
    assert_ok(lab_vm_power_off(bench->lab, bench->vm, &err), &err);
    assert_true(bench->vm->powered_off_at_ms > 0);
    assert_int_equal(lab_vm_power_off(bench->lab, bench->vm, &err), -1);
    assert_err(&err, E_VSPHERE_STATE);
    assert_int_equal(lab_vm_shutdown(bench->lab, bench->vm, &err), -1);
    assert_err(&err, E_VSPHERE_STATE);
    assert_ok(lab_vm_power_on(bench->lab, bench->vm, &err), &err);
    assert_int_equal(bench->vm->powered_off_at_ms, 0);
    bench->vm->has_tools = false;
    assert_int_equal(lab_vm_shutdown(bench->lab, bench->vm, &err), -1);
    assert_err(&err, E_VSPHERE_TOOLS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(snapshot_freezes_the_running_file_and_starts_a_delta),
        TEST(removing_the_older_snapshot_moves_the_younger_to_its_file),
        TEST(removing_with_children_leaves_nothing),
        TEST(failed_consolidation_leaves_the_delta_until_it_is_asked_for),
        TEST(tracking_takes_effect_with_the_next_snapshot),
        TEST(snapshot_without_tracking_has_no_change_id),
        TEST(lost_history_is_another_change_uuid),
        TEST(no_more_than_32_levels),
        TEST(power_has_a_stamp_and_refuses_what_is_so_already),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
