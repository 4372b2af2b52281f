#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "steps.h"
#include "vcenter.h"

#define VIEW(what, name)                                                                           \
    {                                                                                              \
        .method = "CreateContainerView", .wants = what,                                            \
        .answer = "<returnval type=\"ContainerView\">" name "</returnval>"                         \
    }
#define DROP_VIEW(name)                                                                            \
    {                                                                                              \
        .method = "DestroyView", .wants = name                                                     \
    }
#define DATACENTERS                                                                                \
    VIEW("<type>Datacenter</type>", "view-dc"),                                                    \
        {.method = "RetrievePropertiesEx",                                                         \
         .answer = RESULT(OBJECT("Datacenter", "datacenter-2", PROP("name", "Berlin")))},          \
        DROP_VIEW("view-dc")
#define NAMED(moref, name, uuid, bios)                                                             \
    OBJECT("VirtualMachine", moref,                                                                \
           PROP("name", name) PROP("config.instanceUuid", uuid) PROP("config.uuid", bios))
#define READ(moref, name)                                                                          \
    OBJECT("VirtualMachine", moref,                                                                \
           PROP("name", name) PROP("runtime.powerState", "poweredOn")                              \
               PROP("config.hardware.device", ""))

static void
free_vms(struct vsphere_vm *vms, struct err **errors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        vsphere_vm_done(&vms[i]);
        err_free(errors[i]);
    }
}

static void
many_vms_are_found_in_one_listing_and_read_in_one_call(void **state)
{
    static const struct step steps[] = {
        DATACENTERS,
        VIEW("<type>VirtualMachine</type>", "view-2"),
        {.method = "RetrievePropertiesEx",
         .answer = RESULT(NAMED("vm-1", "web01", "u1", "b1") NAMED("vm-2", "web02", "u2", "b2")
                              NAMED("vm-3", "twin", "u3", "b3") NAMED("vm-4", "twin", "u4", "b4")
                                  NAMED("vm-5", "Case", "u5", "u9"))},
        DROP_VIEW("view-2"),
        {.method = "RetrievePropertiesEx", /* a moref that no listing shows is asked for itself */
         .wants = "vm-9",
         .fault = "ManagedObjectNotFound"},
        {.method = "RetrievePropertiesEx",
         .wants = "<reportMissingObjectsInResults>true",
         .answer = RESULT(READ("vm-2", "web02") READ("vm-1", "web01"))},
        {NULL}};
    const struct vsphere_selector selectors[] = {
        {.name = "web01"}, {.uuid = "U2"},   {.name = "twin"}, {.name = "case"},
        {.moref = "vm-9"}, {.uuid = "none"}, {.moref = "vm-5"}};
    struct vsphere_vm vms[ARRAY_SIZE(selectors)] = {{0}};
    struct err *errors[ARRAY_SIZE(selectors)] = {NULL};

    FIXTURE(steps);
    assert_ok(vsphere_read_vms(vsphere, selectors, ARRAY_SIZE(selectors), vms, errors, &err), &err);
    assert_string_equal(vms[0].name, "web01");
    assert_string_equal(vms[0].datacenter, "Berlin");
    assert_string_equal(vms[1].moref, "vm-2");
    assert_err_says(&errors[2], E_VSPHERE_AMBIGUOUS, "vm-4");
    assert_contains(err_hint_text(errors[3]), "\"Case\"");
    assert_err_says(&errors[4], E_VSPHERE_NOT_FOUND, "vm-9");
    assert_err_says(&errors[5], E_VSPHERE_NOT_FOUND, "none");
    assert_err_says(&errors[6], E_VSPHERE_NOT_FOUND, "vm-5"); /* gone between listing and reading */
    free_vms(vms, errors, ARRAY_SIZE(selectors));
    vcenter_check(vcenter);
}

static void
one_vm_does_not_cost_a_listing(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx", .answer = RESULT(READ("vm-1", "web01"))},
        {.method = "RetrievePropertiesEx", .answer = RESULT(READ("vm-1", "web01"))},
        {NULL}};
    const struct vsphere_selector selector = {.moref = "vm-1"};
    struct vsphere_vm vm = {0};
    struct err *error = NULL;

    FIXTURE(steps);
    assert_ok(vsphere_read_vms(vsphere, &selector, 1, &vm, &error, &err), &err);
    assert_string_equal(vm.name, "web01");
    vsphere_vm_done(&vm);
    vcenter_check(vcenter);
}

#define SESSION                                                                                    \
    {                                                                                              \
        .method = "RetrievePropertiesEx", .wants = "<pathSet>currentSession</pathSet>",            \
        .answer = RESULT(OBJECT("SessionManager", "SessionManager",                                \
                                "<propSet><name>currentSession</name><val "                        \
                                "xsi:type=\"UserSession\"><key>key-7</key></val></propSet>"))      \
    }
#define AVAILABLE(id, granted)                                                                     \
    "<privAvailability><privId>" id "</privId><isGranted>" granted "</isGranted>"                  \
    "</privAvailability>"
#define ENTITY(moref, content)                                                                     \
    "<returnval><entity type=\"VirtualMachine\">" moref "</entity>" content "</returnval>"

static const char *const wanted[] = {"A.Snapshot", "B.Read", NULL};

static int
ask(struct vsphere *vsphere, char *missing[2], struct err **err)
{
    static const char *const morefs[] = {"vm-1", "vm-2"};

    return vsphere_missing_privileges(vsphere, morefs, 2, wanted, missing, err);
}

static void
missing_privileges_are_told_vm_by_vm(void **state)
{
    static const struct step steps[] = {
        SESSION,
        {.method = "HasPrivilegeOnEntities",
         .wants = "<sessionId>key-7</sessionId><privId>System.View</privId>"
                  "<privId>A.Snapshot</privId>",
         .answer = ENTITY("vm-2", AVAILABLE("System.View", "true") AVAILABLE("A.Snapshot", "false")
                                      AVAILABLE("B.Read", "false"))
             ENTITY("vm-1", AVAILABLE("System.View", "true") AVAILABLE("A.Snapshot", "true")
                                AVAILABLE("B.Read", "true"))},
        {NULL}};
    char *missing[2] = {NULL, NULL};

    FIXTURE(steps);
    assert_ok(ask(vsphere, missing, &err), &err);
    assert_string_equal(missing[0], "");
    assert_string_equal(missing[1], "A.Snapshot, B.Read");
    free(missing[0]);
    free(missing[1]);
    vcenter_check(vcenter);
}

static void
an_answer_that_cannot_be_about_this_session_is_not_believed(void **state)
{
    static const struct step denied[] = {
        SESSION,
        {.method = "HasPrivilegeOnEntities",
         .answer = ENTITY("vm-1", AVAILABLE("System.View", "false"))
             ENTITY("vm-2", AVAILABLE("System.View", "false"))},
        {NULL}};
    static const struct step silent[] = {
        SESSION,
        {.method = "HasPrivilegeOnEntities",
         .answer = ENTITY("vm-1", AVAILABLE("System.View", "true"))},
        {NULL}};
    static const struct step refused[] = {SESSION,
                                          {.method = "HasPrivilegeOnEntities",
                                           .fault = "NoPermission",
                                           .answer = "<privilegeId>System.View</privilegeId>"},
                                          {NULL}};
    static const struct {
        const struct step *steps;
        enum err_code code;
    } rows[] = {
        {denied, E_VSPHERE_PROTOCOL}, {silent, E_VSPHERE_PROTOCOL}, {refused, E_VSPHERE_PRIVILEGE}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *missing[2] = {NULL, NULL};

        FIXTURE(rows[i].steps);
        assert_int_equal(ask(vsphere, missing, &err), -1);
        assert_err(&err, rows[i].code);
        assert_null(missing[0]);
    }
}

static void
facts_of_vms_are_read_together(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .wants = "<obj type=\"VirtualMachine\">vm-2</obj>",
         .answer = RESULT(OBJECT(
             "VirtualMachine", "vm-2",
             PROP("runtime.host", "host-5") PROP(
                 "runtime.faultToleranceState",
                 "running") "<propSet><name>disabledMethod</name><val xsi:type=\"ArrayOfString\">"
                            "<string>PowerOnVM_Task</string><string>CreateSnapshot_Task</string></"
                            "val></propSet>"
                            "<propSet><name>config.extraConfig</name><val "
                            "xsi:type=\"ArrayOfOptionValue\">"
                            "<OptionValue><key>scsi0:1.ctkEnabled</key><value>FALSE</value></"
                            "OptionValue>"
                            "<OptionValue><key>scsi0:0.ctkEnabled</key><value>TRUE</value></"
                            "OptionValue>"
                            "</val></propSet><propSet><name>config.hardware.device</name>"
                            "<val xsi:type=\"ArrayOfVirtualDevice\">"
                            "<VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>"
                            "<busNumber>0</busNumber></VirtualDevice>"
                            "<VirtualDevice xsi:type=\"VirtualDisk\"><key>2001</key><backing "
                            "xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><diskMode>persistent</"
                            "diskMode>"
                            "</backing><controllerKey>1000</controllerKey><unitNumber>1</"
                            "unitNumber>"
                            "<capacityInKB>1</capacityInKB></VirtualDevice></val></propSet>"))},
        {NULL}};
    static const char *const morefs[] = {"vm-1", "vm-2"};
    struct vsphere_vm_facts facts[2] = {{0}};

    FIXTURE(steps);
    assert_ok(vsphere_read_vm_facts(vsphere, morefs, 2, facts, &err), &err);
    assert_string_equal(facts[0].untracked, ""); /* gone */
    assert_string_equal(facts[1].untracked, "scsi0:1");
    assert_true(facts[1].is_fault_tolerant && facts[1].is_snapshot_disabled);
    for (size_t i = 0; i < 2; i++)
        vsphere_vm_facts_done(&facts[i]);
    vcenter_check(vcenter);
}

static void
datastores_hosts_and_the_clock_are_read(void **state)
{
    static const struct step steps[] = {
        VIEW("<type>Datastore</type>", "view-1"),
        {.method = "RetrievePropertiesEx",
         .answer = RESULT(
             OBJECT("Datastore", "datastore-1",
                    PROP("name", "ds%2f1") "<propSet><name>summary</name><val "
                                           "xsi:type=\"DatastoreSummary\"><capacity>100</capacity>"
                                           "<freeSpace>7</freeSpace><accessible>true</accessible>"
                                           "<type>VMFS</type></val></propSet>")
                 OBJECT("Datastore", "datastore-2", PROP("name", "hidden")))},
        DROP_VIEW("view-1"),
        VIEW("<type>HostSystem</type>", "view-2"),
        {.method = "RetrievePropertiesEx",
         .answer =
             RESULT(OBJECT("HostSystem", "host-5",
                           PROP("name", "esx5") PROP("summary.config.product.version", "7.0.3")
                               PROP("runtime.connectionState", "connected")
                                   PROP("runtime.inMaintenanceMode", "true")))},
        DROP_VIEW("view-2"),
        {.method = "CurrentTime",
         .answer = "<returnval>2026-01-02T03:04:05.678901+01:00</returnval>"},
        {.method = "CurrentTime", .answer = "<returnval>yesterday</returnval>"},
        {NULL}};
    struct vsphere_datastore_states datastores = {0};
    struct vsphere_hosts hosts = {0};
    int64_t now = 0;

    FIXTURE(steps);
    assert_ok(vsphere_list_datastores(vsphere, &datastores, &err), &err);
    assert_int_equal(datastores.count, 1);
    assert_string_equal(datastores.items[0].name, "ds/1");
    assert_int_equal(datastores.items[0].free_bytes, 7);
    assert_true(datastores.items[0].is_accessible);
    assert_ok(vsphere_list_hosts(vsphere, &hosts, &err), &err);
    assert_string_equal(hosts.items[0].version, "7.0.3");
    assert_true(hosts.items[0].is_in_maintenance);
    assert_ok(vsphere_server_time(vsphere, &now, &err), &err);
    assert_int_equal(now, 1767319445);
    assert_int_equal(vsphere_server_time(vsphere, &now, &err), -1);
    assert_err_says(&err, E_VSPHERE_PROTOCOL, "yesterday");
    vsphere_datastore_states_done(&datastores);
    vsphere_hosts_done(&hosts);
    vcenter_check(vcenter);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_vms_are_found_in_one_listing_and_read_in_one_call),
        cmocka_unit_test(one_vm_does_not_cost_a_listing),
        cmocka_unit_test(missing_privileges_are_told_vm_by_vm),
        cmocka_unit_test(an_answer_that_cannot_be_about_this_session_is_not_believed),
        cmocka_unit_test(facts_of_vms_are_read_together),
        cmocka_unit_test(datastores_hosts_and_the_clock_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
