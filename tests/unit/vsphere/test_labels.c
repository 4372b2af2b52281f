#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "steps.h"
#include "vcenter.h"

#define CARD(key, starts)                                                                          \
    "<VirtualDevice xsi:type=\"VirtualVmxnet3\"><key>" key "</key>"                                \
    "<deviceInfo xsi:type=\"Description\"><label>A &amp; "                                         \
    "B</label><summary></summary></deviceInfo>"                                                    \
    "<backing xsi:type=\"VirtualEthernetCardNetworkBackingInfo\"><deviceName>VM Network"           \
    "</deviceName><network type=\"Network\">network-7</network></backing>"                         \
    "<connectable><startConnected>" starts "</startConnected><allowGuestControl>true"              \
    "</allowGuestControl><connected>false</connected></connectable>"                               \
    "<macAddress>00:50:56:aa:00:01</macAddress></VirtualDevice>"
#define DEVICES(starts)                                                                            \
    PROP("config.hardware.device",                                                                 \
         "<VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>"                   \
         "<busNumber>0</busNumber></VirtualDevice>" CARD("4000", starts) CARD("4001", "true"))
#define LABELS(name, note, starts)                                                                 \
    {                                                                                              \
        .method = "RetrievePropertiesEx", .wants = "<pathSet>config.annotation</pathSet>",         \
        .answer =                                                                                  \
            RESULT(OBJECT("VirtualMachine", "vm-62",                                               \
                          PROP("name", name) PROP("config.annotation", note) DEVICES(starts)))     \
    }

static void
labels_are_read_as_people_see_them(void **state)
{
    static const struct step steps[] = {LABELS("a%2fb%25", "x &lt;y&gt;\nz", "false"), {NULL}};
    CLEANUP(vsphere_labels_done) struct vsphere_labels labels = {0};

    FIXTURE(steps);
    assert_ok(vsphere_read_labels(vsphere, "vm-62", &labels, &err), &err);
    assert_string_equal(labels.name, "a/b%");
    assert_string_equal(labels.annotation, "x <y>\nz");
    assert_int_equal(labels.nics.count, 2);
    assert_int_equal(labels.nics.items[0].key, 4000);
    assert_false(labels.nics.items[0].is_connected);
    assert_true(labels.nics.items[1].is_connected);
    vcenter_check(vcenter);
}

static void
a_name_is_escaped_and_a_note_is_not(void **state)
{
    static const struct step steps[] = {
        {.method = "ReconfigVM_Task",
         .wants = "<spec><name>a%2fb%25 &amp; c-old</name></spec>",
         .answer = "<returnval type=\"Task\">task-67</returnval>"},
        DONE,
        {.method = "ReconfigVM_Task",
         .wants = "<spec><annotation>100% &lt;b&gt;\nline</annotation></spec>",
         .answer = "<returnval type=\"Task\">task-67</returnval>"},
        DONE,
        {NULL}};

    FIXTURE(steps);
    assert_ok(vsphere_set_name(vsphere, "vm-62", "a/b% & c-old", &err), &err);
    assert_ok(vsphere_set_annotation(vsphere, "vm-62", "100% <b>\nline", &err), &err);
    assert_int_equal(vsphere_set_annotation(vsphere, "vm-62", "bell \a", &err), -1);
    assert_err_says(&err, E_CONFIG, "characters that XML cannot hold");
    vcenter_check(vcenter);
}

static void
a_card_goes_back_as_it_was_read_but_for_its_start(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .wants = "<pathSet>config.hardware.device</pathSet>",
         .answer = RESULT(OBJECT("VirtualMachine", "vm-62", DEVICES("true")))},
        {.method = "ReconfigVM_Task",
         .wants = "<spec><deviceChange><operation>edit</operation>"
                  "<device xsi:type=\"VirtualVmxnet3\"><key>4000</key>"
                  "<deviceInfo xsi:type=\"Description\"><label>A &amp; B</label><summary></summary>"
                  "</deviceInfo><backing xsi:type=\"VirtualEthernetCardNetworkBackingInfo\">"
                  "<deviceName>VM Network</deviceName><network type=\"Network\">network-7</network>"
                  "</backing><connectable><startConnected>false</startConnected>"
                  "<allowGuestControl>true</allowGuestControl><connected>false</connected>"
                  "</connectable><macAddress>00:50:56:aa:00:01</macAddress></device></deviceChange>"
                  "</spec>",
         .answer = "<returnval type=\"Task\">task-67</returnval>"},
        DONE,
        {NULL}};
    struct vsphere_nic_starts starts = {0};

    FIXTURE(steps);
    vec_push(&starts, ((struct vsphere_nic_start){4000, false}));
    vec_push(&starts, ((struct vsphere_nic_start){4999, false})); /* not there */
    assert_ok(vsphere_set_nic_starts(vsphere, "vm-62", &starts, &err), &err);
    vec_done(&starts);
    vcenter_check(vcenter);
}

static void
a_lost_answer_is_looked_up(void **state)
{
    static const struct step done[] = {
        {.method = "ReconfigVM_Task", .is_dropped = true}, LABELS("new", "", "true"), {NULL}};
    static const struct step not_done[] = {
        {.method = "ReconfigVM_Task", .is_dropped = true},
        {.method = "RetrievePropertiesEx",
         .answer =
             RESULT(OBJECT("VirtualMachine", "vm-62",
                           PROP("name", "old") PROP("config.annotation", "") DEVICES("true"))),
         .is_repeated = true},
        {NULL}};

    {
        FIXTURE(done);
        assert_ok(vsphere_set_name(vsphere, "vm-62", "new", &err), &err);
        vcenter_check(vcenter);
    }
    {
        FIXTURE(not_done);
        assert_int_equal(vsphere_set_name(vsphere, "vm-62", "new", &err), -1);
        assert_int_equal(err_class(err), ERR_CLASS_RETRY);
        vcenter_check(vcenter);
    }
}

static void
a_refusal_names_the_privilege(void **state)
{
    static const struct step steps[] = {
        {.method = "ReconfigVM_Task",
         .fault = "NoPermission",
         .answer = "<object type=\"VirtualMachine\">vm-62</object>"
                   "<privilegeId>VirtualMachine.Config.Rename</privilegeId>",
         .text = "denied"},
        {NULL}};

    FIXTURE(steps);
    assert_int_equal(vsphere_set_name(vsphere, "vm-62", "new", &err), -1);
    assert_err_says(&err, E_VSPHERE_PRIVILEGE, "VirtualMachine.Config.Rename");
    vcenter_check(vcenter);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_read_as_people_see_them),
        cmocka_unit_test(a_name_is_escaped_and_a_note_is_not),
        cmocka_unit_test(a_card_goes_back_as_it_was_read_but_for_its_start),
        cmocka_unit_test(a_lost_answer_is_looked_up),
        cmocka_unit_test(a_refusal_names_the_privilege),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
