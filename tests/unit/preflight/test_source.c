/* Rules of the source: facts in, findings out. */
#include "base/clock.h"
#include "check.h"
#include "support.h"

static void
rules(struct good *g)
{
    source_rules(&g->subject, &g->findings);
    source_disk_rules(&g->subject, &g->findings);
}

static void
a_good_vm_passes_everything(void **state)
{
    struct good g;

    good_init(&g);
    rules(&g);
    expect_all_pass(&g.findings);
    assert_non_null(find_finding(&g.findings, "source.vm", PREFLIGHT_PASS));
    assert_non_null(find_finding(&g.findings, "source.cbt", PREFLIGHT_PASS));
    good_done(&g);
}

static void
vms_that_cannot_be_migrated_fail(void **state)
{
    SPOILED(rules, g.vm.is_template = true, "source.template", FAILURE, "template");
    SPOILED(rules, g.vm.power = VSPHERE_SUSPENDED, "source.state", FAILURE, "suspended");
    SPOILED(rules, g.vm.connection_state = literal("orphaned"), "source.state", FAILURE,
            "orphaned");
    SPOILED(rules, g.vm.question = literal("Moved or copied?"), "source.state", FAILURE,
            "Moved or copied?");
    SPOILED(rules, g.vm_facts.is_fault_tolerant = true, "source.state", FAILURE, "Fault Tolerance");
    SPOILED(rules, g.vm.is_encrypted = true, "source.encryption", FAILURE, "encrypted");
    SPOILED(rules, g.vm.needs_consolidation = true, "source.consolidation", FAILURE,
            "consolidation");
    SPOILED(rules, g.vm.disks.count = 0, "source.disks", FAILURE, "no disks");
    SPOILED(rules, g.disk_items[1].unsupported = literal("it is independent"), "source.disks",
            FAILURE, "disk scsi0:1: it is independent");
    SPOILED(rules, g.disk_items[0].capacity = 1000, "source.disks", FAILURE, "whole sectors");
    SPOILED(rules, (g.spec.vm.moref = literal("vm-7"), g.spec.vm.uuid = literal("5099")),
            "source.vm", FAILURE, "the spec says 5099");
}

static void
change_tracking_is_possible_or_not(void **state)
{
    SPOILED(rules, (g.vm.is_cbt_supported = false, g.vm.version = literal("vmx-04")), "source.cbt",
            FAILURE, "vmx-04");
    SPOILED(rules, g.vm.version = literal("vmx-04"), "source.hardware_version", FAILURE, "vmx-04");
    SPOILED(rules, g.vm.version = literal("strange"), "source.hardware_version", WARNING,
            "strange");
    SPOILED(rules, g.vm_facts.untracked = literal("scsi0:1"), "source.cbt", FAILURE, "scsi0:1");
    SPOILED(rules, g.vm.is_cbt_enabled = false, "source.cbt", PASS, "turned on");
    /* Keys of single disks say nothing while tracking is off: turning it on sets them. */
    SPOILED(rules, (g.vm.is_cbt_enabled = false, g.vm_facts.untracked = literal("scsi0:1")),
            "source.cbt", PASS, "turned on");
}

static void
with_snapshots(struct good *g, size_t count)
{
    static struct vsphere_snapshot many[40];

    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = (struct vsphere_snapshot){.name = literal("before the update")};
    g->vm.snapshots.items = many;
    g->vm.snapshots.count = count;
}

static void
snapshots_of_others_are_told(void **state)
{
    SPOILED(rules, with_snapshots(&g, 1), "source.snapshots", WARNING, "before the update");
    SPOILED(rules, with_snapshots(&g, 30), "source.snapshots", WARNING, "32 levels");
    SPOILED(rules, (with_snapshots(&g, 1), g.vm.is_cbt_enabled = false), "source.cbt", FAILURE,
            "cannot be turned on");
    SPOILED(rules, g.vm_facts.is_snapshot_disabled = true, "source.snapshots", WARNING, "no new");
}

static void
tools_matter_as_the_shutdown_mode_says(void **state)
{
    SPOILED(rules, g.vm.tools_status = literal("guestToolsNotRunning"), "source.tools", WARNING,
            "somebody");
    SPOILED(rules,
            (g.vm.tools_status = literal("guestToolsNotRunning"),
             g.spec.shutdown = CONFIG_SHUTDOWN_FORCE),
            "source.tools", PASS, "does not need");
    SPOILED(
        rules,
        (g.vm.tools_status = literal("guestToolsNotRunning"), g.spec.quiesce = CONFIG_QUIESCE_TRUE),
        "source.tools", WARNING, "snapshot_quiesce");
    SPOILED(rules, (g.vm.tools_status = literal(""), g.vm.power = VSPHERE_POWERED_OFF),
            "source.tools", PASS, "off");
}

static void
firmware_is_compared_with_the_spec(void **state)
{
    SPOILED(rules, g.vm.firmware = literal("efi"), "source.firmware", PASS, "UEFI");
    SPOILED(rules, (g.vm.firmware = literal("efi"), g.vm.is_secure_boot = true), "source.firmware",
            PASS, "secure boot");
    SPOILED(rules, g.spec.target.boot_type = literal("UEFI"), "source.firmware", WARNING,
            "boots by BIOS");
    SPOILED(rules, (g.vm.firmware = literal("efi"), g.spec.target.boot_type = literal("BIOS")),
            "source.firmware", WARNING, "boots by UEFI");
    SPOILED(rules,
            (g.vm.firmware = literal("efi"), g.vm.is_secure_boot = true,
             g.spec.target.boot_type = literal("UEFI"),
             g.spec.target.boot_mode = literal("Legacy")),
            "source.firmware", WARNING, "secure boot");
    SPOILED(rules, g.vm.has_vtpm = true, "source.vtpm", WARNING, "virtual TPM");
}

static void
a_windows_guest_needs_drivers(void **state)
{
    SPOILED(rules, g.vm.guest_id = literal("windows2019srv_64Guest"), "source.guest", WARNING,
            "virtio");
    SPOILED(rules, g.vm.guest_id = literal("darwin23_64Guest"), "source.guest", PASS, "");
}

static void
datastores_need_room_for_snapshots(void **state)
{
    SPOILED(rules, g.datastore_items[0].is_accessible = false, "source.datastore", FAILURE,
            "ds1 is not accessible");
    SPOILED(rules, g.datastore_items[0].free_bytes = MIB, "source.datastore", FAILURE,
            "no snapshot");
    SPOILED(rules, (g.datastore_items[0].free_bytes = 0, g.datastore_items[0].capacity = 0),
            "source.datastore", PASS, "ds1");
    SPOILED(rules, g.datastore_items[0].free_bytes = GIB, "source.datastore", WARNING,
            "1.0 GiB free");
    SPOILED(rules, g.datastore_items[0].maintenance = literal("enteringMaintenance"),
            "source.datastore", WARNING, "maintenance");
}

static void
hosts_are_told_when_something_is_odd(void **state)
{
    SPOILED(rules, g.host_items[0].version = literal("6.0.0"), "source.host", WARNING,
            "ESXi 6.0.0");
    SPOILED(rules, g.host_items[0].version = literal("6.5.0"), "source.host", PASS, "6.5.0");
    SPOILED(rules, g.host_items[0].is_in_maintenance = true, "source.host", WARNING, "maintenance");
    SPOILED(rules, g.host_items[0].connection_state = literal("notResponding"), "source.host",
            WARNING, "notResponding");
}

static void
missing_privileges_are_named(void **state)
{
    SPOILED(rules, g.subject.missing_privileges = "VirtualMachine.State.CreateSnapshot",
            "source.privileges", FAILURE, "VirtualMachine.State.CreateSnapshot");
    SPOILED(rules,
            g.subject.missing_privileges =
                "VirtualMachine.Interact.PowerOff, VirtualMachine.Provisioning.DiskRandomRead",
            "source.privileges", FAILURE, "VirtualMachine.Provisioning.DiskRandomRead");
    /* Needed only where tracking is to be turned on, or the power cut. */
    SPOILED(rules, g.subject.missing_privileges = "VirtualMachine.Config.ChangeTracking",
            "source.privileges", WARNING, "ChangeTracking");
    SPOILED(rules,
            (g.subject.missing_privileges = "VirtualMachine.Config.ChangeTracking",
             g.vm.is_cbt_enabled = false),
            "source.privileges", FAILURE, "ChangeTracking");
    SPOILED(rules,
            (g.subject.missing_privileges = "VirtualMachine.Config.Rename",
             g.spec.mark_source.rename = 1),
            "source.privileges", WARNING, "Rename");
    SPOILED(rules, g.subject.missing_privileges = "VirtualMachine.Interact.PowerOff",
            "source.privileges", WARNING, "PowerOff");
    SPOILED(rules,
            (g.subject.missing_privileges = "VirtualMachine.Interact.PowerOff",
             g.spec.shutdown = CONFIG_SHUTDOWN_FORCE),
            "source.privileges", FAILURE, "PowerOff");
}

static void
what_was_not_read_is_not_judged(void **state)
{
    struct good g;

    good_init(&g);
    g.subject.facts = NULL;
    g.subject.missing_privileges = NULL;
    g.datastores.count = g.hosts.count = 0;
    rules(&g);
    expect_all_pass(&g.findings);
    assert_null(find_finding(&g.findings, "source.privileges", PREFLIGHT_PASS));
    assert_null(find_finding(&g.findings, "source.datastore", PREFLIGHT_PASS));
    g.datastores.count = g.hosts.count = 1;
    good_done(&g);
}

static void
a_finalize_time_that_has_passed_is_told(void **state)
{
    SPOILED(rules, g.spec.finalize_at = 1000, "spec.finalize_at", WARNING, "has passed");
    SPOILED(rules, g.spec.finalize_at = clock_wall_s() + 3600, "spec.finalize_at", PASS, "T");
}

static void
names_that_hold_control_characters_stay_one_line(void **state)
{
    SPOILED(rules, g.vm.question = literal("a\nb\x1b[31m"), "source.state", FAILURE, "a b [31m");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_vm_passes_everything),
        cmocka_unit_test(vms_that_cannot_be_migrated_fail),
        cmocka_unit_test(change_tracking_is_possible_or_not),
        cmocka_unit_test(snapshots_of_others_are_told),
        cmocka_unit_test(tools_matter_as_the_shutdown_mode_says),
        cmocka_unit_test(firmware_is_compared_with_the_spec),
        cmocka_unit_test(a_windows_guest_needs_drivers),
        cmocka_unit_test(datastores_need_room_for_snapshots),
        cmocka_unit_test(hosts_are_told_when_something_is_odd),
        cmocka_unit_test(missing_privileges_are_named),
        cmocka_unit_test(what_was_not_read_is_not_judged),
        cmocka_unit_test(a_finalize_time_that_has_passed_is_told),
        cmocka_unit_test(names_that_hold_control_characters_stay_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
