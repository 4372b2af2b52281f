/* Steps that scripts of vcenter.h are made of: about vm-62 and task-67. */
#ifndef V2C_TESTS_UNIT_VSPHERE_STEPS_H
#define V2C_TESTS_UNIT_VSPHERE_STEPS_H

#define OBJECT(type, moref, content)                                                               \
    "<objects><obj type=\"" type "\">" moref "</obj>" content "</objects>"
#define PROP(name, value) "<propSet><name>" name "</name><val>" value "</val></propSet>"
#define RESULT(content)   "<returnval>" content "</returnval>"

#define FIXTURE(steps)                                                                             \
    CLEANUP(vcenter_stopp) struct vcenter *vcenter = vcenter_start(steps);                         \
    CLEANUP(vsphere_freep) struct vsphere *vsphere = vcenter_connect(vcenter, NULL);               \
    CLEANUP(err_freep) struct err *err = NULL

#define NO_TASKS                                                                                   \
    {                                                                                              \
        .method = "RetrievePropertiesEx", .wants = "<path>recentTask</path>", .answer = ""         \
    }
#define TREE(content)                                                                              \
    {                                                                                              \
        .method = "RetrievePropertiesEx", .wants = "<pathSet>snapshot</pathSet>",                  \
        .answer = RESULT(OBJECT("VirtualMachine", "vm-62", PROP("snapshot", content)))             \
    }
#define ROOT(moref, name)                                                                          \
    "<rootSnapshotList><snapshot type=\"VirtualMachineSnapshot\">" moref "</snapshot><name>" name  \
    "</name></rootSnapshotList>"
#define TASK(name)                                                                                 \
    {                                                                                              \
        .method = name, .answer = "<returnval type=\"Task\">task-67</returnval>"                   \
    }
#define INFO(content)                                                                              \
    {                                                                                              \
        .method = "RetrievePropertiesEx", .wants = "<obj type=\"Task\">task-67</obj>",             \
        .answer = RESULT(OBJECT("Task", "task-67",                                                 \
                                "<propSet><name>info</name><val xsi:type=\"TaskInfo\">"            \
                                "<key>task-67</key>" content "</val></propSet>"))                  \
    }
#define DONE INFO("<state>success</state>")
#define FAILED(fault)                                                                              \
    INFO("<state>error</state><error>" fault "<localizedMessage>words</localizedMessage></error>")
#define POWER(state)                                                                               \
    {                                                                                              \
        .method = "RetrievePropertiesEx", .wants = "<pathSet>runtime.powerState</pathSet>",        \
        .answer = RESULT(OBJECT("VirtualMachine", "vm-62", PROP("runtime.powerState", state)))     \
    }
#define CONSOLIDATION(needed)                                                                      \
    {                                                                                              \
        .method = "RetrievePropertiesEx",                                                          \
        .wants = "<pathSet>runtime.consolidationNeeded</pathSet>",                                 \
        .answer =                                                                                  \
            RESULT(OBJECT("VirtualMachine", "vm-62", PROP("runtime.consolidationNeeded", needed))) \
    }

#endif
