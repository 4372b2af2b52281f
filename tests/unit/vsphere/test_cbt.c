#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "steps.h"
#include "vcenter.h"

/* ---- changed-block tracking ---- */

#define TRACKING(supported, enabled, disk_key)                                                     \
    {                                                                                              \
        .method = "RetrievePropertiesEx",                                                          \
        .wants = "<pathSet>config.changeTrackingEnabled</pathSet>",                                \
        .answer = RESULT(OBJECT(                                                                   \
            "VirtualMachine", "vm-62",                                                             \
            PROP("capability.changeTrackingSupported",                                             \
                 supported) PROP("config.changeTrackingEnabled", enabled)                          \
                PROP("config.hardware.device",                                                     \
                     "<VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>"       \
                     "<busNumber>0</busNumber></VirtualDevice><VirtualDevice "                     \
                     "xsi:type=\"VirtualDisk\"><key>2000</key><backing "                           \
                     "xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><diskMode>persistent</diskMode>" \
                     "</backing><controllerKey>1000</controllerKey><unitNumber>1</unitNumber>"     \
                     "<capacityInKB>4</capacityInKB></VirtualDevice>")                             \
                    PROP("config.extraConfig",                                                     \
                         "<OptionValue><key>scsi0:1.ctkEnabled</key><value>" disk_key              \
                         "</value></OptionValue>")))                                               \
    }

static void
tracks(const struct step *steps, enum err_code code, const char *says)
{
    FIXTURE(steps);
    if (code == E_NONE) {
        assert_ok(vsphere_enable_cbt(vsphere, "vm-62", &err), &err);
    } else {
        assert_int_equal(vsphere_enable_cbt(vsphere, "vm-62", &err), -1);
        assert_err_says(&err, code, says);
    }
    vcenter_check(vcenter);
}

static void
tracking_is_turned_on_once_and_checked(void **state)
{
    static const struct step off[] = {
        TRACKING("true", "false", "TRUE"),
        {.method = "ReconfigVM_Task",
         .wants = "<spec><changeTrackingEnabled>true</changeTrackingEnabled></spec>",
         .answer = "<returnval type=\"Task\">task-67</returnval>"},
        DONE,
        TRACKING("true", "true", "TRUE"),
        {NULL}};
    static const struct step on[] = {TRACKING("true", "true", "true"), {NULL}};
    static const struct step disk_off[] = {TRACKING("true", "true", "FALSE"),
                                           TASK("ReconfigVM_Task"),
                                           DONE,
                                           TRACKING("true", "true", "TRUE"),
                                           {NULL}};

    tracks(off, E_NONE, NULL);
    tracks(on, E_NONE, NULL);
    tracks(disk_off, E_NONE, NULL);
}

static void
tracking_that_does_not_come_on_is_an_error(void **state)
{
    static const struct step unsupported[] = {TRACKING("false", "false", "true"), {NULL}};
    static const struct step stays_off[] = {TRACKING("true", "false", "true"),
                                            TASK("ReconfigVM_Task"),
                                            DONE,
                                            TRACKING("true", "false", "true"),
                                            {NULL}};
    static const struct step disk_stays_off[] = {TRACKING("true", "true", "false"),
                                                 TASK("ReconfigVM_Task"),
                                                 DONE,
                                                 TRACKING("true", "true", "false"),
                                                 {NULL}};

    tracks(unsupported, E_CBT_UNSUPPORTED, "does not support");
    tracks(stays_off, E_CBT_UNSUPPORTED, "is off although");
    tracks(disk_stays_off, E_CBT_UNSUPPORTED, "off for scsi0:1");
}

static void
tracking_whose_answer_is_lost_is_looked_up(void **state)
{
    static const struct step came_on[] = {TRACKING("true", "false", "true"),
                                          {.method = "ReconfigVM_Task", .is_dropped = true},
                                          TRACKING("true", "true", "true"),
                                          {NULL}};

    tracks(came_on, E_NONE, NULL);
}

/* ---- changed areas ---- */

#define CAPACITY 1048576
#define PAGE(offset, wanted, content)                                                              \
    {                                                                                              \
        .method = "QueryChangedDiskAreas",                                                         \
        .wants = "<deviceKey>2000</deviceKey><startOffset>" offset "</startOffset>"                \
                 "<changeId>52 6f/12</changeId>",                                                  \
        .answer = RESULT(content), .wants_no = wanted                                              \
    }
#define SPAN(start, length) "<startOffset>" start "</startOffset><length>" length "</length>"
#define AREA(start, length)                                                                        \
    "<changedArea><start>" start "</start><length>" length "</length></changedArea>"

static int
query(struct vsphere *vsphere, const char *snapshot, struct extents *areas, struct err **err)
{
    return vsphere_query_changes(vsphere, "vm-62", snapshot, 2000, CAPACITY, "52 6f/12", areas,
                                 err);
}

static void
queries(const struct step *steps, const struct extent *expected, size_t count)
{
    struct extents areas;

    FIXTURE(steps);
    assert_ok(query(vsphere, "snapshot-2", &areas, &err), &err);
    assert_int_equal(areas.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(areas.items[i].offset, expected[i].offset);
        assert_int_equal(areas.items[i].length, expected[i].length);
    }
    vec_done(&areas);
    vcenter_check(vcenter);
}

static void
query_fails(const struct step *steps, enum err_code code, const char *says)
{
    struct extents areas = {0};

    FIXTURE(steps);
    assert_int_equal(query(vsphere, "snapshot-2", &areas, &err), -1);
    assert_null(areas.items);
    assert_err_says(&err, code, says);
    vcenter_check(vcenter);
}

static void
all_pages_are_read_the_empty_ones_too(void **state)
{
    static const struct step steps[] = {
        PAGE("0", NULL, SPAN("0", "262144") AREA("65536", "65536") AREA("0", "65536")),
        PAGE("262144", NULL, SPAN("262144", "262144")),
        /* Begins before what was asked for and is answered again. */
        PAGE("524288", NULL, SPAN("500000", "286432") AREA("524288", "100")),
        PAGE("786432", NULL, SPAN("786432", "262144") AREA("1000000", "999999")),
        {NULL}};
    static const struct extent expected[] = {
        {0, 131072}, {524288, 512}, {999936, CAPACITY - 999936}};

    queries(steps, expected, ARRAY_SIZE(expected));
}

static void
nothing_changed_is_an_empty_answer(void **state)
{
    static const struct step steps[] = {PAGE("0", NULL, SPAN("0", "1048576")), {NULL}};
    static const struct step beyond[] = {PAGE("0", NULL, SPAN("0", "9223372036854775807")), {NULL}};

    queries(steps, NULL, 0);
    queries(beyond, NULL, 0);
}

static void
a_powered_off_vm_is_asked_without_a_snapshot(void **state)
{
    static const struct step steps[] = {
        PAGE("0", "<snapshot", SPAN("0", "1048576") AREA("0", "512")), {NULL}};
    struct extents areas;

    FIXTURE(steps);
    assert_ok(query(vsphere, NULL, &areas, &err), &err);
    assert_int_equal(areas.count, 1);
    vec_done(&areas);
    vcenter_check(vcenter);
}

static void
answers_that_do_not_advance_or_fit_are_errors(void **state)
{
    static const struct step stuck[] = {
        PAGE("0", NULL, SPAN("0", "524288")), PAGE("524288", NULL, SPAN("0", "524288")), {NULL}};
    static const struct step zero[] = {PAGE("0", NULL, SPAN("0", "0")), {NULL}};
    static const struct step hole[] = {PAGE("0", NULL, SPAN("512", "1048064")), {NULL}};
    static const struct step outside[] = {
        PAGE("0", NULL, SPAN("0", "1048576") AREA("1048576", "512")), {NULL}};
    static const struct step negative[] = {
        PAGE("0", NULL, SPAN("0", "1048576") AREA("-512", "1024")), {NULL}};
    static const struct step empty[] = {PAGE("0", NULL, SPAN("0", "1048576") AREA("512", "0")),
                                        {NULL}};
    static const struct step no_page[] = {{.method = "QueryChangedDiskAreas", .answer = ""},
                                          {NULL}};

    query_fails(stuck, E_VSPHERE_PROTOCOL, "does not advance");
    query_fails(zero, E_VSPHERE_PROTOCOL, "length");
    query_fails(hole, E_VSPHERE_PROTOCOL, "the answer begins at 512");
    query_fails(outside, E_VSPHERE_PROTOCOL, "outside the disk");
    query_fails(negative, E_VSPHERE_PROTOCOL, "start");
    query_fails(empty, E_VSPHERE_PROTOCOL, "length");
    query_fails(no_page, E_VSPHERE_PROTOCOL, "without a page");
}

static void
a_lost_history_is_told_from_other_faults(void **state)
{
#define REFUSED(type, fields, says)                                                                \
    {                                                                                              \
        {.method = "QueryChangedDiskAreas", .fault = type, .answer = fields, .text = says},        \
        {                                                                                          \
            NULL                                                                                   \
        }                                                                                          \
    }
    static const struct step file[] = REFUSED("FileFault", "<file>[ds] x-ctk.vmdk</file>", "x");
    static const struct step sub[] = REFUSED("CannotAccessFile", "<file>x</file>", "x");
    static const struct step change_id[] =
        REFUSED("InvalidArgument", "<invalidProperty>changeId</invalidProperty>", "x");
    static const struct step unnamed[] =
        REFUSED("InvalidArgument", "", "A specified parameter was not correct: ");
    static const struct step device[] =
        REFUSED("InvalidArgument", "<invalidProperty>deviceKey</invalidProperty>", "x");
    static const struct step privilege[] =
        REFUSED("NoPermission",
                "<privilegeId>VirtualMachine.Provisioning.DiskRandomRead</privilegeId>", "x");
    static const struct step gone[] = REFUSED("ManagedObjectNotFound", "", "x");

    query_fails(file, E_CBT_RESET, "FileFault");
    query_fails(sub, E_CBT_RESET, "CannotAccessFile");
    query_fails(change_id, E_CBT_RESET, "InvalidArgument");
    query_fails(unnamed, E_CBT_RESET, "InvalidArgument");
    query_fails(device, E_VSPHERE_FAULT, "InvalidArgument");
    query_fails(privilege, E_VSPHERE_PRIVILEGE, "DiskRandomRead");
    query_fails(gone, E_VSPHERE_NOT_FOUND, "ManagedObjectNotFound");
}

static void
a_disk_without_change_id_has_no_history(void **state)
{
    struct extents areas;

    FIXTURE(NULL);
    assert_int_equal(
        vsphere_query_changes(vsphere, "vm-62", NULL, 2000, CAPACITY, "", &areas, &err), -1);
    assert_err(&err, E_CBT_RESET);
}

static void
a_very_long_answer_is_read_within_bounds(void **state)
{
    enum { COUNT = 50000 };
    struct str text = STR_INIT(16 << 20);
    struct step steps[] = {{.method = "QueryChangedDiskAreas"}, {NULL}};
    struct extents areas;
    uint64_t capacity = (uint64_t)COUNT * 131072;

    str_appendf(&text, "<returnval><startOffset>0</startOffset><length>%llu</length>",
                (unsigned long long)capacity);
    for (unsigned long long i = 0; i < COUNT; i++)
        str_appendf(&text, "<changedArea><start>%llu</start><length>65536</length></changedArea>\n",
                    i * 131072);
    str_append(&text, "</returnval>");
    assert_false(text.is_over);
    steps[0].answer = str_text(&text);
    {
        FIXTURE(steps);
        assert_ok(
            vsphere_query_changes(vsphere, "vm-62", NULL, 2000, capacity, "x/1", &areas, &err),
            &err);
        assert_int_equal(areas.count, COUNT);
        assert_int_equal(extents_total(&areas), capacity / 2);
        vec_done(&areas);
    }
    str_done(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tracking_is_turned_on_once_and_checked),
        cmocka_unit_test(tracking_that_does_not_come_on_is_an_error),
        cmocka_unit_test(tracking_whose_answer_is_lost_is_looked_up),
        cmocka_unit_test(all_pages_are_read_the_empty_ones_too),
        cmocka_unit_test(nothing_changed_is_an_empty_answer),
        cmocka_unit_test(a_powered_off_vm_is_asked_without_a_snapshot),
        cmocka_unit_test(answers_that_do_not_advance_or_fit_are_errors),
        cmocka_unit_test(a_lost_history_is_told_from_other_faults),
        cmocka_unit_test(a_disk_without_change_id_has_no_history),
        cmocka_unit_test(a_very_long_answer_is_read_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
