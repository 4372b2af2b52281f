#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "check.h"
#include "steps.h"
#include "vcenter.h"

/* ---- creating snapshots ---- */

static int
create(struct vsphere *vsphere, bool quiesce, char **ret_moref, struct err **err)
{
    return vsphere_create_snapshot(vsphere, "vm-62", "v2c-m1-1", "warm <migration>", quiesce,
                                   ret_moref, err);
}

static void
creates(const struct step *steps, const char *expected)
{
    CLEANUP(free_charp) char *moref = NULL;

    FIXTURE(steps);
    assert_ok(create(vsphere, true, &moref, &err), &err);
    assert_string_equal(moref, expected);
    vcenter_check(vcenter);
}

static void
create_fails(const struct step *steps, bool quiesce, enum err_code code, const char *says)
{
    char *moref = NULL;

    FIXTURE(steps);
    assert_int_equal(create(vsphere, quiesce, &moref, &err), -1);
    assert_null(moref);
    assert_err_says(&err, code, says);
    vcenter_check(vcenter);
}

static void
a_snapshot_is_created_and_its_task_waited_for(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(ROOT("snapshot-1", "somebody else's")),
        {.method = "CreateSnapshot_Task",
         .wants = "<_this type=\"VirtualMachine\">vm-62</_this><name>v2c-m1-1</name><description>"
                  "warm &lt;migration&gt;</description><memory>false</memory><quiesce>true"
                  "</quiesce></CreateSnapshot_Task>",
         .answer = "<returnval type=\"Task\">task-67</returnval>"},
        INFO("<state>queued</state>"),
        INFO("<state>running</state><progress>40</progress>"),
        INFO("<state>success</state><result type=\"VirtualMachineSnapshot\" "
             "xsi:type=\"ManagedObjectReference\">snapshot-69</result>"),
        {NULL}};

    creates(steps, "snapshot-69");
}

static void
a_snapshot_of_that_name_is_taken_instead_of_a_second_one(void **state)
{
    static const struct step steps[] = {
        NO_TASKS, TREE(ROOT("snapshot-1", "other") ROOT("snapshot-2", "v2c-m1-1")), {NULL}};

    creates(steps, "snapshot-2");
}

static void
a_creation_that_a_crash_left_running_is_waited_for(void **state)
{
    static const struct step steps[] = {
        {.method = "RetrievePropertiesEx",
         .wants = "<path>recentTask</path>",
         .answer =
             RESULT(OBJECT("Task", "task-60",
                           "<propSet><name>info</name><val><name>PowerOnVM_Task</name>"
                           "<state>running</state></val></propSet>")
                        OBJECT("Task", "task-67",
                               "<propSet><name>info</name><val><name>CreateSnapshot_Task</name>"
                               "<descriptionId>VirtualMachine.createSnapshot</descriptionId>"
                               "<state>running</state></val></propSet>"))},
        INFO("<state>running</state>"),
        DONE,
        NO_TASKS,
        TREE(ROOT("snapshot-3", "v2c-m1-1")),
        {NULL}};

    creates(steps, "snapshot-3");
}

static void
a_lost_answer_is_looked_up_not_asked_again(void **state)
{
    static const struct step steps[] = {NO_TASKS,
                                        TREE(""),
                                        {.method = "CreateSnapshot_Task", .is_dropped = true},
                                        NO_TASKS,
                                        TREE(""),
                                        NO_TASKS,
                                        TREE(ROOT("snapshot-70", "v2c-m1-1")),
                                        {NULL}};

    creates(steps, "snapshot-70");
}

/* Only the calls that look are answered, for as long as they come. */
static void
a_lost_request_is_an_error_that_may_be_retried(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(""),
        {.method = "CreateSnapshot_Task", .is_dropped = true},
        {.method = "RetrievePropertiesEx", .answer = "", .is_repeated = true},
        {NULL}};

    create_fails(steps, true, E_NET, "snapshot v2c-m1-1");
}

static void
a_task_that_vanished_is_looked_up(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(""),
        TASK("CreateSnapshot_Task"),
        {.method = "RetrievePropertiesEx", .wants = "task-67", .fault = "ManagedObjectNotFound"},
        NO_TASKS,
        TREE(ROOT("snapshot-71", "v2c-m1-1")),
        {NULL}};

    creates(steps, "snapshot-71");
}

static void
a_session_that_ends_while_a_task_runs_does_not_repeat_the_task(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(""),
        TASK("CreateSnapshot_Task"),
        {.method = "RetrievePropertiesEx", .wants = "task-67", .fault = "NotAuthenticated"},
        INFO("<state>success</state><result>snapshot-69</result>"),
        {NULL}};

    creates(steps, "snapshot-69");
}

static void
a_server_out_of_reach_while_a_task_runs_is_waited_for(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(""),
        TASK("CreateSnapshot_Task"),
        {.method = "RetrievePropertiesEx", .status = 503, .answer = "<?xml busy"},
        {.method = "RetrievePropertiesEx", .answer = "<?xml nonsense"},
        INFO("<state>success</state><result>snapshot-69</result>"),
        {NULL}};

    creates(steps, "snapshot-69");
}

static void
a_task_in_the_way_is_waited_for_and_the_call_made_again(void **state)
{
    static const struct step steps[] = {NO_TASKS,
                                        TREE(""),
                                        {.method = "CreateSnapshot_Task",
                                         .fault = "TaskInProgress",
                                         .answer = "<task type=\"Task\">task-67</task>"},
                                        DONE,
                                        TASK("CreateSnapshot_Task"),
                                        INFO("<state>success</state><result>snapshot-69</result>"),
                                        {NULL}};

    creates(steps, "snapshot-69");
}

static void
only_quiescing_is_blamed_for_what_is_its_fault(void **state)
{
    static const struct step quiesce[] = {NO_TASKS,
                                          TREE(""),
                                          TASK("CreateSnapshot_Task"),
                                          FAILED("<fault xsi:type=\"ApplicationQuiesceFault\"/>"),
                                          {NULL}};
    static const struct step tools[] = {NO_TASKS,
                                        TREE(""),
                                        TASK("CreateSnapshot_Task"),
                                        FAILED("<fault xsi:type=\"ToolsUnavailable\"/>"),
                                        {NULL}};
    static const struct step generic[] = {
        NO_TASKS,
        TREE(""),
        TASK("CreateSnapshot_Task"),
        FAILED("<fault xsi:type=\"GenericVmConfigFault\"><reason>msg.snapshot.error-QUIESCINGERROR"
               "</reason></fault>"),
        {NULL}};
    static const struct step full[] = {
        NO_TASKS,
        TREE(""),
        TASK("CreateSnapshot_Task"),
        FAILED("<fault xsi:type=\"NoDiskSpace\"><file>[ds]</file></fault>"),
        {NULL}};
    static const struct step unknown[] = {NO_TASKS,
                                          TREE(""),
                                          TASK("CreateSnapshot_Task"),
                                          FAILED("<fault xsi:type=\"FluxCapacitorFault\"/>"),
                                          {NULL}};

    create_fails(quiesce, true, E_VSPHERE_QUIESCE, "ApplicationQuiesceFault");
    create_fails(tools, true, E_VSPHERE_QUIESCE, "ToolsUnavailable");
    create_fails(generic, true, E_VSPHERE_QUIESCE, "QUIESCINGERROR");
    create_fails(generic, false, E_VSPHERE_SNAPSHOT, "QUIESCINGERROR");
    create_fails(full, true, E_VSPHERE_SNAPSHOT, "NoDiskSpace");
    create_fails(unknown, true, E_VSPHERE_FAULT, "words (FluxCapacitorFault)");
}

static void
cancel_ends_the_wait_for_a_task(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(""),
        TASK("CreateSnapshot_Task"),
        {.method = "RetrievePropertiesEx", .answer = "", .is_repeated = true},
        {NULL}};
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(steps);
    CLEANUP(err_freep) struct err *err = NULL;
    volatile int cancel = 0;
    CLEANUP(vsphere_freep) struct vsphere *vsphere = vcenter_connect(vcenter, &cancel);
    char *moref = NULL;

    cancel = 1;
    assert_int_equal(create(vsphere, false, &moref, &err), -1);
    assert_err(&err, E_CANCELLED);
}

static void
a_question_of_the_vm_ends_the_wait(void **state)
{
    static const struct step steps[] = {
        POWER("poweredOff"),
        TASK("PowerOnVM_Task"),
        {.method = "RetrievePropertiesEx",
         .wants = "<pathSet>runtime.question</pathSet>",
         .answer =
             RESULT(OBJECT("Task", "task-67",
                           "<propSet><name>info</name><val><state>running</state></val></propSet>")
                        OBJECT("VirtualMachine", "vm-62",
                               "<propSet><name>runtime.question</name><val><id>1</id>"
                               "<text>moved or copied?</text></val></propSet>")),
         .is_repeated = true},
        {NULL}};

    FIXTURE(steps);
    assert_int_equal(vsphere_power_on(vsphere, "vm-62", &err), -1);
    assert_contains(err_hint_text(err), "in vCenter");
    assert_err_says(&err, E_VSPHERE_STATE, "moved or copied?");
}

/* ---- removing them ---- */

static void
removes(const struct step *steps)
{
    FIXTURE(steps);
    assert_ok(vsphere_remove_snapshot(vsphere, "vm-62", "snapshot-2", &err), &err);
    vcenter_check(vcenter);
}

static void
a_snapshot_is_removed_with_its_disks_consolidated(void **state)
{
    static const struct step steps[] = {
        NO_TASKS,
        TREE(ROOT("snapshot-2", "v2c-m1-1")),
        {.method = "RemoveSnapshot_Task",
         .wants = "<_this type=\"VirtualMachineSnapshot\">snapshot-2</_this><removeChildren>false"
                  "</removeChildren><consolidate>true</consolidate>",
         .answer = "<returnval type=\"Task\">task-67</returnval>"},
        DONE,
        CONSOLIDATION("true"),
        TASK("ConsolidateVMDisks_Task"),
        FAILED("<fault xsi:type=\"FileLocked\"/>"),
        CONSOLIDATION("true"),
        TASK("ConsolidateVMDisks_Task"),
        DONE,
        CONSOLIDATION("false"),
        {NULL}};

    removes(steps);
}

static void
a_snapshot_that_is_gone_is_fine_but_consolidation_is_still_seen_to(void **state)
{
    static const struct step gone[] = {
        NO_TASKS, TREE(ROOT("snapshot-1", "somebody else's")), CONSOLIDATION("false"), {NULL}};
    static const struct step going[] = {
        NO_TASKS,
        TREE(ROOT("snapshot-2", "v2c-m1-1")),
        {.method = "RemoveSnapshot_Task", .fault = "ManagedObjectNotFound"},
        CONSOLIDATION("false"),
        {NULL}};

    removes(gone);
    removes(going);
}

static void
a_removal_whose_answer_is_lost_is_looked_up(void **state)
{
    static const struct step steps[] = {NO_TASKS,
                                        TREE(ROOT("snapshot-2", "v2c-m1-1")),
                                        {.method = "RemoveSnapshot_Task", .is_dropped = true},
                                        NO_TASKS,
                                        TREE(ROOT("snapshot-2", "v2c-m1-1")),
                                        NO_TASKS,
                                        TREE(""),
                                        CONSOLIDATION("false"),
                                        {NULL}};

    removes(steps);
}

static void
a_failed_removal_that_left_the_tree_is_finished_by_consolidation(void **state)
{
    static const struct step steps[] = {NO_TASKS,
                                        TREE(ROOT("snapshot-2", "v2c-m1-1")),
                                        TASK("RemoveSnapshot_Task"),
                                        FAILED("<fault xsi:type=\"FileLocked\"/>"),
                                        TREE(""),
                                        CONSOLIDATION("true"),
                                        TASK("ConsolidateVMDisks_Task"),
                                        DONE,
                                        CONSOLIDATION("false"),
                                        {NULL}};

    removes(steps);
}

static void
a_failed_removal_of_a_snapshot_that_stays_is_an_error(void **state)
{
    static const struct step steps[] = {NO_TASKS,
                                        TREE(ROOT("snapshot-2", "v2c-m1-1")),
                                        TASK("RemoveSnapshot_Task"),
                                        FAILED("<fault xsi:type=\"FileLocked\"/>"),
                                        TREE(ROOT("snapshot-2", "v2c-m1-1")),
                                        {NULL}};

    FIXTURE(steps);
    assert_int_equal(vsphere_remove_snapshot(vsphere, "vm-62", "snapshot-2", &err), -1);
    assert_err_says(&err, E_VSPHERE_SNAPSHOT, "FileLocked");
    vcenter_check(vcenter);
}

static void
disks_that_cannot_be_consolidated_are_an_error(void **state)
{
#define TRY                                                                                        \
    CONSOLIDATION("true"), TASK("ConsolidateVMDisks_Task"),                                        \
        FAILED("<fault xsi:type=\"FileLocked\"/>")
    static const struct step steps[] = {
        NO_TASKS, TREE(""), TRY, TRY, TRY, TRY, TRY, TRY, CONSOLIDATION("true"), {NULL}};

    FIXTURE(steps);
    assert_int_equal(vsphere_remove_snapshot(vsphere, "vm-62", "snapshot-2", &err), -1);
    assert_contains(err_hint_text(err), "holds the VM's disks");
    assert_err_says(&err, E_VSPHERE_SNAPSHOT, "still need consolidation: ");
    vcenter_check(vcenter);
}

/* ---- power ---- */

enum power_call {
    OFF,
    ON,
    SHUTDOWN,
};

static void
powers(const struct step *steps, enum power_call what, enum err_code code, const char *says)
{
    int rc;

    FIXTURE(steps);
    rc = what == OFF  ? vsphere_power_off(vsphere, "vm-62", &err)
         : what == ON ? vsphere_power_on(vsphere, "vm-62", &err)
                      : vsphere_shutdown_guest(vsphere, "vm-62", &err);
    if (code == E_NONE) {
        assert_ok(rc, &err);
    } else {
        assert_int_equal(rc, -1);
        assert_err_says(&err, code, says);
    }
    vcenter_check(vcenter);
}

static void
power_is_switched_and_what_is_already_so_is_a_success(void **state)
{
    static const struct step off[] = {POWER("poweredOn"), TASK("PowerOffVM_Task"), DONE, {NULL}};
    static const struct step on[] = {POWER("poweredOff"), TASK("PowerOnVM_Task"), DONE, {NULL}};
    static const struct step is_off[] = {POWER("poweredOff"), {NULL}};
    static const struct step went_off[] = {
        POWER("poweredOn"),
        TASK("PowerOffVM_Task"),
        FAILED("<fault xsi:type=\"InvalidPowerState\"><existingState>poweredOff</existingState>"
               "</fault>"),
        POWER("poweredOff"),
        {NULL}};

    powers(off, OFF, E_NONE, NULL);
    powers(on, ON, E_NONE, NULL);
    powers(is_off, OFF, E_NONE, NULL);
    powers(went_off, OFF, E_NONE, NULL);
}

static void
a_wrong_power_state_is_an_error(void **state)
{
    static const struct step suspended[] = {
        POWER("suspended"),
        TASK("PowerOffVM_Task"),
        FAILED("<fault xsi:type=\"InvalidPowerState\"><existingState>suspended</existingState>"
               "</fault>"),
        POWER("suspended"),
        {NULL}};

    powers(suspended, OFF, E_VSPHERE_STATE, "InvalidPowerState");
}

static void
power_whose_answer_is_lost_is_looked_up(void **state)
{
    static const struct step went_off[] = {POWER("poweredOn"),
                                           {.method = "PowerOffVM_Task", .is_dropped = true},
                                           POWER("poweredOn"),
                                           POWER("poweredOff"),
                                           {NULL}};

    powers(went_off, OFF, E_NONE, NULL);
}

static void
a_guest_is_asked_to_shut_down(void **state)
{
    static const struct step asked[] = {{.method = "ShutdownGuest"}, {NULL}};
    static const struct step is_off[] = {
        {.method = "ShutdownGuest", .fault = "InvalidPowerState"}, POWER("poweredOff"), {NULL}};
    static const struct step suspended[] = {
        {.method = "ShutdownGuest", .fault = "InvalidPowerState"}, POWER("suspended"), {NULL}};
    static const struct step no_tools[] = {{.method = "ShutdownGuest", .fault = "ToolsUnavailable"},
                                           {NULL}};

    powers(asked, SHUTDOWN, E_NONE, NULL);
    powers(is_off, SHUTDOWN, E_NONE, NULL);
    powers(suspended, SHUTDOWN, E_VSPHERE_STATE, "InvalidPowerState");
    powers(no_tools, SHUTDOWN, E_VSPHERE_TOOLS, "ToolsUnavailable");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_is_created_and_its_task_waited_for),
        cmocka_unit_test(a_snapshot_of_that_name_is_taken_instead_of_a_second_one),
        cmocka_unit_test(a_creation_that_a_crash_left_running_is_waited_for),
        cmocka_unit_test(a_lost_answer_is_looked_up_not_asked_again),
        cmocka_unit_test(a_lost_request_is_an_error_that_may_be_retried),
        cmocka_unit_test(a_task_that_vanished_is_looked_up),
        cmocka_unit_test(a_session_that_ends_while_a_task_runs_does_not_repeat_the_task),
        cmocka_unit_test(a_server_out_of_reach_while_a_task_runs_is_waited_for),
        cmocka_unit_test(a_task_in_the_way_is_waited_for_and_the_call_made_again),
        cmocka_unit_test(only_quiescing_is_blamed_for_what_is_its_fault),
        cmocka_unit_test(cancel_ends_the_wait_for_a_task),
        cmocka_unit_test(a_question_of_the_vm_ends_the_wait),
        cmocka_unit_test(a_snapshot_is_removed_with_its_disks_consolidated),
        cmocka_unit_test(a_snapshot_that_is_gone_is_fine_but_consolidation_is_still_seen_to),
        cmocka_unit_test(a_removal_whose_answer_is_lost_is_looked_up),
        cmocka_unit_test(a_failed_removal_that_left_the_tree_is_finished_by_consolidation),
        cmocka_unit_test(a_failed_removal_of_a_snapshot_that_stays_is_an_error),
        cmocka_unit_test(disks_that_cannot_be_consolidated_are_an_error),
        cmocka_unit_test(power_is_switched_and_what_is_already_so_is_a_success),
        cmocka_unit_test(a_wrong_power_state_is_an_error),
        cmocka_unit_test(power_whose_answer_is_lost_is_looked_up),
        cmocka_unit_test(a_guest_is_asked_to_shut_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
