#include "vsphere/fault.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vsphere/xml.h"

/* Server texts go into messages and logs: nobody needs more of one. */
#define MAX_TEXT     1000

#define HINT_STORAGE "look at the VM's datastore: free space, locks held by backup tools, files"
#define HINT_BUSY    "another task works on the VM; it will be tried again"

static const struct known {
    const char *name;
    enum err_code code;
    const char *hint; /* or NULL */
    bool is_file;
} table[] = {
    {"NotAuthenticated", E_VSPHERE_SESSION},
    {"InvalidLogin", E_VSPHERE_LOGIN,
     "check vcenter.user and vcenter.password; it is not tried again, so as not to lock the "
     "account"},
    {"NoPermission", E_VSPHERE_PRIVILEGE},
    {"SecurityError", E_VSPHERE_PRIVILEGE},
    {"RestrictedVersion", E_VSPHERE_PRIVILEGE,
     "this host's licence does not allow changes through the API"},
    {"ManagedObjectNotFound", E_VSPHERE_NOT_FOUND},
    {"NotFound", E_VSPHERE_NOT_FOUND},
    {"TaskInProgress", E_VSPHERE_BUSY, HINT_BUSY},
    {"ConcurrentAccess", E_VSPHERE_BUSY, HINT_BUSY},
    {"VAppTaskInProgress", E_VSPHERE_BUSY, HINT_BUSY},
    {"MethodDisabled", E_VSPHERE_BUSY,
     "another product (a backup, a replication) has disabled this on the VM; wait until it is "
     "done"},
    {"InvalidState", E_VSPHERE_STATE},
    {"InvalidPowerState", E_VSPHERE_STATE},
    {"InvalidHostState", E_VSPHERE_HOST},
    {"QuestionPending", E_VSPHERE_STATE, "answer the VM's question in vCenter"},
    {"ApplicationQuiesceFault", E_VSPHERE_QUIESCE},
    {"FilesystemQuiesceFault", E_VSPHERE_QUIESCE},
    {"ToolsUnavailable", E_VSPHERE_TOOLS,
     "start or install VMware Tools (open-vm-tools) in the guest, or choose another way"},
    {"VmToolsUpgradeFault", E_VSPHERE_TOOLS},
    {"SnapshotFault", E_VSPHERE_SNAPSHOT},
    {"SnapshotLocked", E_VSPHERE_SNAPSHOT},
    {"SnapshotDisabled", E_VSPHERE_SNAPSHOT, "snapshots are disabled for this VM"},
    {"SnapshotNoChange", E_VSPHERE_SNAPSHOT},
    {"TooManySnapshotLevels", E_VSPHERE_SNAPSHOT, "delete old snapshots of the VM"},
    {"TooManySnapshots", E_VSPHERE_SNAPSHOT, "delete old snapshots of the VM"},
    {"MultipleSnapshotsNotSupported", E_VSPHERE_SNAPSHOT, "delete old snapshots of the VM"},
    {"SnapshotIncompatibleDeviceInVm", E_VSPHERE_SNAPSHOT,
     "the VM has a device that cannot be snapshotted (a raw or shared disk, PCI passthrough)"},
    {"MemorySnapshotOnIndependentDisk", E_VSPHERE_SNAPSHOT},
    {"InvalidSnapshotFormat", E_VSPHERE_SNAPSHOT,
     "the VM's snapshot tree is broken: consolidate its disks in vCenter"},
    {"VmConfigFault", E_VSPHERE_FAULT},
    {"GenericVmConfigFault", E_VSPHERE_FAULT},
    {"InvalidVmConfig", E_VSPHERE_FAULT},
    {"InvalidArgument", E_VSPHERE_FAULT},
    {"InvalidProperty", E_VSPHERE_FAULT},
    {"InvalidRequest", E_VSPHERE_FAULT},
    {"InvalidType", E_VSPHERE_FAULT},
    {"NotSupported", E_VSPHERE_FAULT},
    {"NotImplemented", E_VSPHERE_FAULT},
    {"MethodNotFound", E_VSPHERE_FAULT},
    {"RequestCanceled", E_VSPHERE_FAULT, "somebody cancelled the task in vCenter"},
    {"InsufficientResourcesFault", E_VSPHERE_FAULT},
    {"SystemError", E_VSPHERE_HOST, "the tasks and events of the VM in vCenter say more"},
    {"HostNotConnected", E_VSPHERE_HOST},
    {"HostNotReachable", E_VSPHERE_HOST},
    {"HostCommunication", E_VSPHERE_HOST},
    {"HostConnectFault", E_VSPHERE_HOST},
    {"NoActiveHostInCluster", E_VSPHERE_HOST},
    {"Timedout", E_TIMEOUT},
    {"FileFault", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"FileNotFound", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"FileLocked", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"FileNotWritable", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"FileAlreadyExists", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"FileNameTooLong", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"FileTooLarge", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"CannotAccessFile", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"CannotCreateFile", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"CannotDeleteFile", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"DirectoryNotEmpty", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"NetworkCopyFault", E_VSPHERE_FAULT, HINT_STORAGE, true},
    {"NoDiskSpace", E_VSPHERE_FAULT, "the VM's datastore is full: free some space on it", true},
    {"NoDiskFound", E_VSPHERE_FAULT, HINT_STORAGE, true},
};

static const struct known *
find_known(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

void
fault_done(struct fault *fault)
{
    free(fault->name);
    free(fault->text);
    free(fault->privilege);
    free(fault->object);
    free(fault->property);
    free(fault->task);
    free(fault->state);
    free(fault->reason);
    memset(fault, 0, sizeof(*fault));
}

static char *
copy_text(const char *text)
{
    return text ? xasprintf("%.*s", MAX_TEXT, text) : NULL;
}

static void
read_fields(const struct xml_node *node, struct fault *fault)
{
    fault->privilege = copy_text(xml_child_text(node, "privilegeId"));
    fault->object = copy_text(xml_child_text(node, "object"));
    fault->property = copy_text(xml_child_text(node, "invalidProperty"));
    fault->task = copy_text(xml_child_text(node, "task"));
    fault->state = copy_text(xml_child_text(node, "existingState"));
    fault->reason = copy_text(xml_child_text(node, "reason"));
}

void
fault_read_soap(const struct xml_node *node, struct fault *ret_fault)
{
    const struct xml_node *detail = xml_child(node, "detail");
    const struct xml_node *inner = detail ? detail->first_child : NULL;
    struct fault fault = {.text = copy_text(xml_child_text(node, "faultstring"))};

    if (!fault.text)
        fault.text = xstrdup("");
    if (inner && inner->xsi_type) {
        fault.name = copy_text(inner->xsi_type);
    } else if (inner) { /* <InvalidLoginFault>: the element is named after the type */
        size_t length = strlen(inner->name), suffix = strlen("Fault");

        if (length > suffix && !strcmp(inner->name + length - suffix, "Fault") &&
            !find_known(inner->name))
            length -= suffix;
        fault.name = xasprintf("%.*s", (int)MIN(length, MAX_TEXT), inner->name);
    } else {
        fault.name = copy_text(xml_child_text(node, "faultcode"));
    }
    if (!fault.name || !*fault.name) {
        free(fault.name);
        fault.name = xstrdup("unnamed fault");
    }
    read_fields(inner, &fault);
    *ret_fault = fault;
}

void
fault_read_localized(const struct xml_node *node, struct fault *ret_fault)
{
    const struct xml_node *inner = xml_child(node, "fault");
    struct fault fault = {
        .name = copy_text(inner && inner->xsi_type ? inner->xsi_type : "unnamed fault"),
        .text = copy_text(xml_child_text(node, "localizedMessage")),
    };

    if (!fault.text)
        fault.text = xstrdup("");
    read_fields(inner, &fault);
    *ret_fault = fault;
}

bool
fault_is(const struct fault *fault, const char *name)
{
    return fault->name && !strcmp(fault->name, name);
}

bool
fault_is_file(const struct fault *fault)
{
    const struct known *known = fault->name ? find_known(fault->name) : NULL;

    return known && known->is_file;
}

bool
fault_is_known(const struct fault *fault)
{
    return fault->name && find_known(fault->name);
}

int
fault_set(const struct fault *fault, const char *what, struct err **err)
{
    const struct known *known = find_known(fault->name);
    const char *text = fault->text ? fault->text : "";
    bool has_reason = fault->reason && *fault->reason && !strstr(text, fault->reason);

    err_set(err, known ? known->code : E_VSPHERE_FAULT, "%s: %s%s%s%s(%s)", what, text,
            has_reason && *text ? ": " : "", has_reason ? fault->reason : "",
            *text || has_reason ? " " : "", fault->name);
    if (fault_is(fault, "NoPermission") && fault->privilege && *fault->privilege) {
        err_wrap(err, "the account lacks the privilege %s on %s", fault->privilege,
                 fault->object && *fault->object ? fault->object : "the object");
        return err_hint(err, "give the account's role the privilege %s, on the VM or above it",
                        fault->privilege);
    }
    return known && known->hint ? err_hint(err, "%s", known->hint) : -1;
}
