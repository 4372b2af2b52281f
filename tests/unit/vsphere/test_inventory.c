#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/util.h"
#include "check.h"
#include "mutate.h"
#include "steps.h"
#include "vcenter.h"

#define NAMED(moref, name, uuid)                                                                   \
    OBJECT("VirtualMachine", moref, PROP("name", name) PROP("config.instanceUuid", uuid))

#define VIEW(container, name)                                                                      \
    {                                                                                              \
        .method = "CreateContainerView", .wants = container,                                       \
        .answer = "<returnval type=\"ContainerView\">" name "</returnval>"                         \
    }
#define DROP_VIEW(name)                                                                            \
    {                                                                                              \
        .method = "DestroyView", .wants = name                                                     \
    }

#define DATACENTERS                                                                                \
    VIEW("<container type=\"Folder\">group-d1</container><type>Datacenter</type>", "view-dc"),     \
        {.method = "RetrievePropertiesEx",                                                         \
         .wants = "view-dc",                                                                       \
         .answer = RESULT(OBJECT("Datacenter", "datacenter-2", PROP("name", "Berlin"))             \
                              OBJECT("Datacenter", "datacenter-3", PROP("name", "Ham%2fburg")))},  \
        DROP_VIEW("view-dc")

static void
check_disk(const struct vsphere_disk *disk, const char *address, int32_t key,
           const char *unsupported)
{
    char text[32];

    vsphere_disk_address(disk, text);
    assert_string_equal(text, address);
    assert_int_equal(disk->key, key);
    if (unsupported) {
        assert_non_null(disk->unsupported);
        assert_contains(disk->unsupported, unsupported);
    } else {
        assert_null(disk->unsupported);
    }
}

static void
check_disks(const struct vsphere_disks *disks)
{
    static const struct {
        const char *address;
        int32_t key;
        const char *unsupported;
    } expected[] = {
        {"scsi0:0", 2000, NULL},
        {"scsi0:0", 2011, "controller is of an unknown kind (VirtualQuantumController)"},
        {"scsi0:1", 2001, NULL},
        {"scsi0:2", 2002, "physical mode"},
        {"scsi0:3", 2003, NULL},
        {"scsi0:4", 2004, "independent"},
        {"scsi0:5", 2005, "multi-writer"},
        {"scsi0:6", 2006, "encrypted"},
        {"scsi0:8", 2008, "persistent memory"},
        {"scsi0:9", 2009, "raw disk"},
        {"scsi0:10", 2010, "unknown kind (VirtualDiskHolographicBackingInfo)"},
        {"scsi1:0", 2016, "shared"},
        {"sata0:0", 16000, NULL},
        {"ide0:1", 3001, NULL},
        {"nvme0:0", 32000, NULL},
    };

    assert_int_equal(disks->count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < disks->count; i++)
        check_disk(&disks->items[i], expected[i].address, expected[i].key, expected[i].unsupported);
    assert_string_equal(disks->items[0].label, "Hard disk 1");
    assert_string_equal(disks->items[0].file_name, "[ds] web/web-000001.vmdk");
    assert_string_equal(disks->items[0].datastore, "datastore-59");
    assert_string_equal(disks->items[0].backing_uuid, "6000C29a-1");
    assert_string_equal(disks->items[0].change_id,
                        "52 6f f7 d2 fd 27 ac b1-76 44 e2 ef 5f b6 1a 84/12");
    assert_int_equal(disks->items[0].capacity, 10737418240);
    assert_string_equal(disks->items[0].mode, "persistent");
    assert_null(disks->items[2].change_id);                     /* empty is none */
    assert_int_equal(disks->items[2].capacity, 1048577 * 1024); /* only capacityInKB */
}

static void
check_nic(const struct vsphere_nic *nic, int32_t key, const char *type, const char *mac,
          const char *network)
{
    assert_int_equal(nic->key, key);
    assert_string_equal(nic->type, type);
    assert_string_equal(nic->mac, mac);
    if (network)
        assert_string_equal(nic->network, network);
    else
        assert_null(nic->network);
}

static void
check_snapshots(const struct vsphere_snapshots *snapshots)
{
    static const char *const expected[][3] = {{"snapshot-1", "before update", "by hand"},
                                              {"snapshot-2", "after 50%", ""},
                                              {"snapshot-3", "v2c-m1-1", ""},
                                              {"snapshot-9", "second root", ""}};

    assert_int_equal(snapshots->count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < snapshots->count; i++) {
        assert_string_equal(snapshots->items[i].moref, expected[i][0]);
        assert_string_equal(snapshots->items[i].name, expected[i][1]);
        assert_string_equal(snapshots->items[i].description, expected[i][2]);
    }
}

static void
check_surroundings(const struct vsphere_vm *vm)
{
    assert_string_equal(vm->host, "host-21");
    assert_string_equal(vm->host_name, "esx1.example.com");
    assert_int_equal(vm->datastores.count, 2);
    assert_string_equal(vm->datastores.items[0].moref, "datastore-59");
    assert_string_equal(vm->datastores.items[0].name, "ds");
    assert_string_equal(vm->datastores.items[0].type, "VMFS");
    assert_string_equal(vm->datastores.items[1].name, "iso/nfs");
    assert_null(vm->datastores.items[1].type); /* not to be seen */
    assert_int_equal(vm->disks.items[0].parent_count, 1);
    assert_int_equal(vm->disks.items[2].parent_count, 0);
    assert_false(vm->disks.items[0].is_raw_mapping);
    assert_true(vm->disks.items[4].is_raw_mapping);
}

static void
a_vm_is_read_with_everything_in_it(void **state)
{
    static const struct step steps[] = {{.method = "RetrievePropertiesEx",
                                         .wants = "<pathSet>config.keyId</pathSet>",
                                         .file = "read_vm.xml"},
                                        {NULL}};
    struct vsphere_vm vm;

    FIXTURE(steps);
    assert_ok(vsphere_read_vm(vsphere, "vm-62", &vm, &err), &err);
    assert_string_equal(vm.moref, "vm-62");
    assert_string_equal(vm.name, "web/01 & co");
    assert_string_equal(vm.datacenter, "Berlin");
    assert_string_equal(vm.instance_uuid, "502b71cd-6a8d-47d7-a4a4-76ba3bf0e1d9");
    assert_string_equal(vm.bios_uuid, "422b71cd-6a8d-47d7-a4a4-76ba3bf0e1d9");
    assert_string_equal(vm.version, "vmx-19");
    assert_string_equal(vm.firmware, "efi");
    assert_string_equal(vm.guest_id, "debian12_64Guest");
    assert_string_equal(vm.guest_full_name, "Debian GNU/Linux 12 (64-bit)");
    assert_string_equal(vm.tools_status, "guestToolsRunning");
    assert_string_equal(vm.connection_state, "connected");
    assert_string_equal(vm.question, "The disk is full. Retry?");
    assert_string_equal(vm.change_version, "2026-01-01T10:00:00.123456Z");
    assert_string_equal(vm.boot_time, "2026-01-01T09:00:00Z");
    assert_true(vm.is_secure_boot && vm.has_vtpm && vm.is_cbt_supported && vm.is_cbt_enabled &&
                vm.needs_consolidation);
    assert_false(vm.is_template || vm.is_encrypted);
    assert_int_equal(vm.power, VSPHERE_POWERED_ON);
    assert_int_equal(vm.cpu_count, 4);
    assert_int_equal(vm.memory_mib, 8192);
    assert_int_equal(vm.boot_disk_key, 2016); /* the first in the order that the VM has */
    check_disks(&vm.disks);
    assert_int_equal(vm.nics.count, 3);
    check_nic(&vm.nics.items[0], 4000, "VirtualVmxnet3", "00:50:56:ab:cd:ef", "VM Network");
    assert_string_equal(vm.nics.items[0].ip, "10.1.1.8"); /* not the link-local one before it */
    assert_null(vm.nics.items[1].ip);
    check_nic(&vm.nics.items[1], 4001, "VirtualVmxnet3", "00:50:56:00:00:02", "prod/dmz");
    check_nic(&vm.nics.items[2], 4002, "VirtualE1000e", "00:50:56:00:00:03", NULL);
    check_snapshots(&vm.snapshots);
    check_surroundings(&vm);
    vsphere_vm_done(&vm);
    vcenter_check(vcenter);
}

static void
a_whole_hardware_is_read_like_a_list_of_devices(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .wants = "<obj type=\"VirtualMachineSnapshot\">snapshot-3</obj>",
         .answer = RESULT(OBJECT(
             "VirtualMachineSnapshot", "snapshot-3",
             "<propSet><name>config.hardware.device</name><val xsi:type=\"VirtualHardware\">"
             "<numCPU>1</numCPU><device xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>"
             "<busNumber>0</busNumber><sharedBus>noSharing</sharedBus></device>"
             "<device xsi:type=\"VirtualDisk\"><key>2000</key><backing "
             "xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] a.vmdk</fileName>"
             "<diskMode>persistent</diskMode><changeId>x/1</changeId></backing>"
             "<controllerKey>1000</controllerKey><unitNumber>0</unitNumber>"
             "<capacityInKB>1</capacityInKB></device></val></propSet>"))},
        {NULL}};
    struct vsphere_disks disks;

    FIXTURE(steps);
    assert_ok(vsphere_snapshot_disks(vsphere, "snapshot-3", &disks, &err), &err);
    assert_int_equal(disks.count, 1);
    check_disk(&disks.items[0], "scsi0:0", 2000, NULL);
    assert_string_equal(disks.items[0].change_id, "x/1");
    vsphere_disks_done(&disks);
}

static void
a_property_that_may_not_be_read_is_not_taken_for_unset(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .answer = RESULT(
             OBJECT("VirtualMachine", "vm-62",
                    PROP("name", "web01") "<missingSet><path>snapshot</path><fault><fault "
                                          "xsi:type=\"NoPermission\"><privilegeId>System.Read"
                                          "</privilegeId></fault></fault></missingSet>"))},
        {NULL}};
    struct vsphere_vm vm;

    FIXTURE(steps);
    assert_int_equal(vsphere_read_vm(vsphere, "vm-62", &vm, &err), -1);
    assert_err_says(&err, E_VSPHERE_PRIVILEGE, "System.Read");
}

static void
devices_that_make_no_sense_are_refused(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .answer = RESULT(
             OBJECT("VirtualMachineSnapshot", "snapshot-3",
                    "<propSet><name>config.hardware.device</name><val "
                    "xsi:type=\"ArrayOfVirtualDevice\"><VirtualDevice xsi:type=\"VirtualDisk\">"
                    "<key>2000</key><capacityInBytes>-1</capacityInBytes></VirtualDevice></val>"
                    "</propSet>"))},
        {NULL}};
    struct vsphere_disks disks;

    FIXTURE(steps);
    assert_int_equal(vsphere_snapshot_disks(vsphere, "snapshot-3", &disks, &err), -1);
    assert_err_says(&err, E_VSPHERE_PROTOCOL, "capacityInBytes");
}

static void
a_vm_that_is_gone_is_not_found(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx", .fault = "ManagedObjectNotFound"},
        {.method = "RetrievePropertiesEx", .answer = ""},
        {NULL}};
    struct vsphere_vm vm;
    enum vsphere_power power;

    FIXTURE(steps);
    assert_int_equal(vsphere_read_vm(vsphere, "vm-1", &vm, &err), -1);
    assert_err_says(&err, E_VSPHERE_NOT_FOUND, "vm-1");
    assert_int_equal(vsphere_power_state(vsphere, "vm-1", &power, &err), -1);
    assert_err_says(&err, E_VSPHERE_NOT_FOUND, "vm-1");
}

#define LISTED(moref, name, more)                                                                  \
    OBJECT("VirtualMachine", moref,                                                                \
           PROP("name", name) PROP("runtime.powerState", "poweredOff") more)

static void
all_vms_are_listed_over_pages_and_datacenters(void **state)
{
    static const struct step steps[] = {
        DATACENTERS,
        VIEW("<type>Network</type>", "view-net"),
        {.method = "RetrievePropertiesEx",
         .answer = RESULT(OBJECT("Network", "network-7", PROP("name", "VM Network")))},
        DROP_VIEW("view-net"),
        VIEW("<container type=\"Datacenter\">datacenter-2</container>", "view-2"),
        {.method = "RetrievePropertiesEx",
         .wants = "<options><maxObjects>100</maxObjects></options>",
         .answer = RESULT("<token>t&amp;1</token>" LISTED("vm-1", "a", "")
                              LISTED("vm-2", "b", PROP("config.template", "true")))},
        {.method = "ContinueRetrievePropertiesEx",
         .wants = "<token>t&amp;1</token>",
         .answer = RESULT("<token>t2</token>")},
        {.method = "ContinueRetrievePropertiesEx",
         .wants = "<token>t2</token>",
         .answer = RESULT(OBJECT("VirtualMachine", "vm-gone", "") LISTED("vm-3", "c", ""))},
        DROP_VIEW("view-2"),
        VIEW("datacenter-3", "view-3"),
        {.method = "RetrievePropertiesEx", .answer = RESULT(LISTED("vm-4", "d", ""))},
        DROP_VIEW("view-3"),
        {NULL}};
    static const char *const expected[][2] = {
        {"vm-1", "Berlin"}, {"vm-3", "Berlin"}, {"vm-4", "Ham/burg"}};
    struct vsphere_vms vms;

    FIXTURE(steps);
    assert_ok(vsphere_list_vms(vsphere, &vms, &err), &err);
    assert_int_equal(vms.count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < vms.count; i++) {
        assert_string_equal(vms.items[i].moref, expected[i][0]);
        assert_string_equal(vms.items[i].datacenter, expected[i][1]);
        vsphere_vm_done(&vms.items[i]);
    }
    vec_done(&vms);
    vcenter_check(vcenter);
}

#define PLACES(type, view, content)                                                                \
    VIEW("<type>" type "</type>", view),                                                           \
        {.method = "RetrievePropertiesEx", .answer = RESULT(content)}, DROP_VIEW(view)
#define PLACE(type, moref, name, parent)                                                           \
    OBJECT(type, moref, PROP("name", name) PROP("parent", parent))

/* Folders with names that need decoding, a host without a cluster, a VM whose folder may not be seen. */
static void
listed_vms_are_placed(void **state)
{
    static const struct step steps[] = {
        PLACES("Folder", "view-f",
               PLACE("Folder", "group-v3", "a%2fb", "group-v2")
                   PLACE("Folder", "group-v1", "vm", "datacenter-2")
                       PLACE("Folder", "group-v2", "web", "group-v1")),
        PLACES("HostSystem", "view-h",
               PLACE("HostSystem", "host-1", "esx1", "domain-c1")
                   PLACE("HostSystem", "host-2", "esx2", "domain-s2")),
        PLACES("ComputeResource", "view-c",
               PLACE("ComputeResource", "domain-s2", "esx2", "group-h1")
                   PLACE("ClusterComputeResource", "domain-c1", "north", "group-h1")),
        PLACES("VirtualMachine", "view-v",
               OBJECT("VirtualMachine", "vm-2", PROP("parent", "group-v1"))
                   OBJECT("VirtualMachine", "vm-1", PROP("parent", "group-v3"))
                       OBJECT("VirtualMachine", "vm-new", PROP("parent", "group-v3"))
                           OBJECT("VirtualMachine", "vm-3", PROP("parent", "group-v9"))),
        {NULL}};
    struct vsphere_vm items[] = {
        {.moref = xstrdup("vm-1"), .host = xstrdup("host-1"), .host_name = xstrdup("")},
        {.moref = xstrdup("vm-2"), .host = xstrdup("host-2")},
        {.moref = xstrdup("vm-3"), .host = xstrdup("host-9")}};
    struct vsphere_vms vms = {.items = items, .count = ARRAY_SIZE(items)};

    FIXTURE(steps);
    assert_ok(vsphere_place_vms(vsphere, &vms, &err), &err);
    assert_string_equal(items[0].host_name, "esx1");
    assert_string_equal(items[0].cluster, "north");
    assert_string_equal(items[0].folder, "web/a/b");
    assert_string_equal(items[1].host_name, "esx2");
    assert_null(items[1].cluster);
    assert_string_equal(items[1].folder, "");
    assert_null(items[2].host_name);
    assert_string_equal(items[2].folder, "");
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
        vsphere_vm_done(&items[i]);
    vcenter_check(vcenter);
}

static void
a_list_whose_session_ends_between_pages_begins_anew(void **state)
{
    static const struct step steps[] = {
        DATACENTERS,
        VIEW("<type>VirtualMachine</type>", "view-2"),
        {.method = "RetrievePropertiesEx",
         .answer = RESULT("<token>t1</token>" NAMED("vm-1", "web01", "u1"))},
        {.method = "ContinueRetrievePropertiesEx", .fault = "NotAuthenticated"},
        {.method = "ContinueRetrievePropertiesEx", .fault = "InvalidArgument"},
        {.method = "CancelRetrievePropertiesEx", .fault = "InvalidArgument"},
        {.method = "DestroyView", .fault = "ManagedObjectNotFound"},
        DATACENTERS,
        VIEW("<type>VirtualMachine</type>", "view-2b"),
        {.method = "RetrievePropertiesEx", .answer = RESULT(NAMED("vm-1", "web01", "u1"))},
        DROP_VIEW("view-2b"),
        VIEW("datacenter-3", "view-3"),
        {.method = "RetrievePropertiesEx", .answer = ""},
        DROP_VIEW("view-3"),
        {NULL}};
    const struct vsphere_selector selector = {.name = "web01"};
    CLEANUP(free_charp) char *moref = NULL;

    FIXTURE(steps);
    assert_ok(vsphere_find_vm(vsphere, &selector, &moref, &err), &err);
    assert_string_equal(moref, "vm-1");
    assert_int_equal(vcenter_logins(vcenter), 2);
    vcenter_check(vcenter);
}

#define BOTH_SEARCHED(first, second)                                                               \
    DATACENTERS, VIEW("datacenter-2", "view-2"),                                                   \
        {.method = "RetrievePropertiesEx", .answer = RESULT(first)}, DROP_VIEW("view-2"),          \
        VIEW("datacenter-3", "view-3"),                                                            \
        {.method = "RetrievePropertiesEx", .answer = RESULT(second)}, DROP_VIEW("view-3")

static void
find(const struct step *steps, const struct vsphere_selector *selector, const char *expected)
{
    CLEANUP(free_charp) char *moref = NULL;

    FIXTURE(steps);
    assert_ok(vsphere_find_vm(vsphere, selector, &moref, &err), &err);
    assert_string_equal(moref, expected);
    vcenter_check(vcenter);
}

static void
find_fails(const struct step *steps, const struct vsphere_selector *selector, enum err_code code,
           const char *says, const char *hints)
{
    char *moref = NULL;

    FIXTURE(steps);
    assert_int_equal(vsphere_find_vm(vsphere, selector, &moref, &err), -1);
    assert_null(moref);
    if (hints)
        assert_contains(err_hint_text(err), hints);
    assert_err_says(&err, code, says);
    vcenter_check(vcenter);
}

static void
a_unique_name_is_found_in_any_datacenter(void **state)
{
    static const struct step steps[] = {
        BOTH_SEARCHED(NAMED("vm-1", "web02", "u1"), NAMED("vm-2", "web%2f01", "u2")), {NULL}};

    find(steps, &(struct vsphere_selector){.name = "web/01"}, "vm-2");
}

static void
an_ambiguous_name_lists_its_candidates(void **state)
{
    static const struct step steps[] = {
        BOTH_SEARCHED(NAMED("vm-1", "web01", "uuid-1"), NAMED("vm-2", "web01", "uuid-2")), {NULL}};

    find_fails(steps, &(struct vsphere_selector){.name = "web01"}, E_VSPHERE_AMBIGUOUS,
               "2 VMs have the name web01: web01 (moref vm-1, datacenter Berlin, uuid uuid-1); "
               "web01 (moref vm-2, datacenter Ham/burg, uuid uuid-2)",
               "vm.moref");
}

static void
a_datacenter_narrows_the_name(void **state)
{
    static const struct step steps[] = {
        DATACENTERS,
        VIEW("datacenter-3", "view-3"),
        {.method = "RetrievePropertiesEx", .answer = RESULT(NAMED("vm-2", "web01", "uuid-2"))},
        DROP_VIEW("view-3"),
        {NULL}};
    static const struct step only_datacenters[] = {DATACENTERS, {NULL}};

    find(steps, &(struct vsphere_selector){.name = "web01", .datacenter = "Ham/burg"}, "vm-2");
    find_fails(only_datacenters, &(struct vsphere_selector){.name = "web01", .datacenter = "Bonn"},
               E_VSPHERE_NOT_FOUND, "no datacenter \"Bonn\"", "\"Berlin\", \"Ham/burg\"");
}

static void
a_template_yields_to_a_machine_of_that_name(void **state)
{
    static const struct step steps[] = {
        BOTH_SEARCHED(
            OBJECT("VirtualMachine", "vm-1", PROP("name", "web01") PROP("config.template", "true")),
            NAMED("vm-2", "web01", "uuid-2")),
        {NULL}};

    find(steps, &(struct vsphere_selector){.name = "web01"}, "vm-2");
}

static void
an_unknown_name_tells_of_similar_ones(void **state)
{
    static const struct step steps[] = {
        BOTH_SEARCHED(NAMED("vm-1", "WEB01", "u1"), NAMED("vm-2", "other", "u2")), {NULL}};

    find_fails(steps, &(struct vsphere_selector){.name = "web01"}, E_VSPHERE_NOT_FOUND,
               "no VM has the name web01", "there is \"WEB01\"");
}

static void
an_inventory_path_is_found(void **state)
{
    static const struct step steps[] = {
        BOTH_SEARCHED("", ""),
        {.method = "FindByInventoryPath",
         .wants = "<inventoryPath>Berlin/vm/prod/web01</inventoryPath>",
         .answer = "<returnval type=\"VirtualMachine\">vm-5</returnval>"},
        {NULL}};

    find(steps, &(struct vsphere_selector){.name = "/Berlin/vm/prod/web01"}, "vm-5");
}

static void
without_a_visible_datacenter_the_root_is_searched(void **state)
{
    static const struct step steps[] = {
        VIEW("<type>Datacenter</type>", "view-dc"),
        {.method = "RetrievePropertiesEx", .answer = ""},
        DROP_VIEW("view-dc"),
        VIEW("<container type=\"Folder\">group-d1</container><type>VirtualMachine</type>",
             "view-all"),
        {.method = "RetrievePropertiesEx", .answer = RESULT(NAMED("vm-1", "web01", "u1"))},
        DROP_VIEW("view-all"),
        {NULL}};

    find(steps, &(struct vsphere_selector){.name = "web01"}, "vm-1");
}

static void
a_moref_is_looked_up(void **state)
{
    static const struct step found[] = {
        {.method = "RetrievePropertiesEx",
         .wants = "<obj type=\"VirtualMachine\">vm-1&lt;&amp;</obj>",
         .answer = RESULT(NAMED("vm-1&lt;&amp;", "web01", "u1"))},
        {NULL}};
    static const struct step gone[] = {
        {.method = "RetrievePropertiesEx", .fault = "ManagedObjectNotFound"}, {NULL}};

    find(found, &(struct vsphere_selector){.moref = "vm-1<&", .name = "ignored"}, "vm-1<&");
    find_fails(gone, &(struct vsphere_selector){.moref = "vm-1"}, E_VSPHERE_NOT_FOUND,
               "no VM has the moref vm-1", NULL);
}

#define BY_UUID(result)                                                                            \
    {                                                                                              \
        .method = "FindByUuid",                                                                    \
        .wants = "<uuid>50ab</uuid><vmSearch>true</vmSearch><instanceUuid>true</instanceUuid>",    \
        .answer = result                                                                           \
    }
#define CLONE(moref, uuid)                                                                         \
    OBJECT("VirtualMachine", moref, PROP("name", "web01") PROP("config.uuid", uuid))

static void
a_uuid_is_an_instance_uuid_first_and_a_unique_bios_uuid_else(void **state)
{
    static const struct step instance[] = {
        BY_UUID("<returnval type=\"VirtualMachine\">vm-1</returnval>"), {NULL}};
    static const struct step bios[] = {
        BY_UUID(""), BOTH_SEARCHED(CLONE("vm-2", "51"), CLONE("vm-3", "50ab")), {NULL}};
    static const struct step twice[] = {
        BY_UUID(""), BOTH_SEARCHED(CLONE("vm-2", "50ab"), CLONE("vm-3", "50AB")), {NULL}};
    static const struct step none[] = {BY_UUID(""), BOTH_SEARCHED(CLONE("vm-2", "51"), ""), {NULL}};
    const struct vsphere_selector selector = {.uuid = "50AB"};

    find(instance, &selector, "vm-1");
    find(bios, &selector, "vm-3");
    find_fails(twice, &selector, E_VSPHERE_AMBIGUOUS, "2 VMs have the BIOS uuid 50ab: web01 (moref",
               "vm.moref");
    find_fails(none, &selector, E_VSPHERE_NOT_FOUND, "no VM has the uuid 50ab", NULL);
}

/* ---- hostile answers ---- */

static void
broken_answers_are_errors_not_crashes(void **state)
{
    struct step steps[] = {{.method = "RetrievePropertiesEx", .is_repeated = true}, {NULL}};
    CLEANUP(free_charp) char *whole = NULL;
    CLEANUP(free_charp) char *text = NULL;
    unsigned good = 0, bad = 0;
    uint32_t seed = 20260102;
    size_t whole_length;

    FIXTURE(steps);
    assert_ok(file_read(DATA_DIR "/read_vm.xml", 1 << 20, &whole, &whole_length, &err), &err);
    text = xcalloc(1, whole_length + 1);
    steps[0].answer = text;
    for (int i = 0; i < 1000; i++) {
        struct vsphere_vm vm;

        memcpy(text, whole, whole_length);
        text[mutate(text, whole_length, &seed)] = '\0';
        vcenter_play(vcenter, steps);
        if (vsphere_read_vm(vsphere, "vm-62", &vm, &err) == 0) {
            vsphere_vm_done(&vm);
            good++;
        } else {
            assert_int_not_equal(err_code(err), E_NONE);
            err_freep(&err);
            bad++;
        }
    }
    assert_true(good > 50);
    assert_true(bad > 50);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_is_read_with_everything_in_it),
        cmocka_unit_test(a_whole_hardware_is_read_like_a_list_of_devices),
        cmocka_unit_test(a_property_that_may_not_be_read_is_not_taken_for_unset),
        cmocka_unit_test(devices_that_make_no_sense_are_refused),
        cmocka_unit_test(a_vm_that_is_gone_is_not_found),
        cmocka_unit_test(all_vms_are_listed_over_pages_and_datacenters),
        cmocka_unit_test(listed_vms_are_placed),
        cmocka_unit_test(a_list_whose_session_ends_between_pages_begins_anew),
        cmocka_unit_test(a_unique_name_is_found_in_any_datacenter),
        cmocka_unit_test(an_ambiguous_name_lists_its_candidates),
        cmocka_unit_test(a_datacenter_narrows_the_name),
        cmocka_unit_test(a_template_yields_to_a_machine_of_that_name),
        cmocka_unit_test(an_unknown_name_tells_of_similar_ones),
        cmocka_unit_test(an_inventory_path_is_found),
        cmocka_unit_test(without_a_visible_datacenter_the_root_is_searched),
        cmocka_unit_test(a_moref_is_looked_up),
        cmocka_unit_test(a_uuid_is_an_instance_uuid_first_and_a_unique_bios_uuid_else),
        cmocka_unit_test(broken_answers_are_errors_not_crashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
