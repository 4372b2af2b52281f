/* ReconfigVM_Task, as far as clients of migrations use it: change tracking, name, annotation, and
 * whether a network card is connected when the VM starts.  Anything else is refused. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

struct reconfiguration {
    bool has_tracking, tracking;
    struct lab_vm_changes changes;
};

static struct vs_fault *
run_reconfigure(struct lab_vsphere *vs, struct lab_vm *vm, void *opaque, struct value **ret_result)
{
    const struct reconfiguration *wanted = opaque;
    struct vs_fault *fault;

    if (lab_vm_configure(vs->lab, vm, &wanted->changes) < 0) {
        fault =
            vs_fault_new("DuplicateName", "The name '%s' already exists.", wanted->changes.name);
        value_set(fault->detail, "name", value_string(wanted->changes.name));
        value_set(fault->detail, "object", value_ref("VirtualMachine", vm->moref));
        return fault;
    }
    if (wanted->has_tracking)
        lab_vm_configure_cbt(vs->lab, vm, wanted->tracking);
    return NULL;
}

static bool
is_true(xmlNode *node)
{
    char text[16];

    vs_text(node, text, sizeof(text));
    return !strcmp(text, "true") || !strcmp(text, "1");
}

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A '%' must be escaped, a slash and a backslash too. */
static int
read_name(struct vs_call *call, xmlNode *node, struct reconfiguration *wanted)
{
    char text[256], *to = wanted->changes.name;

    if (vs_need_privilege(call, "VirtualMachine.Config.Rename") < 0)
        return -1;
    vs_text(node, text, sizeof(text));
    if (!*text || strchr(text, '/') || strchr(text, '\\'))
        return vs_fail_argument(call, "name", "not a name");
    for (const char *p = text; *p; p++) {
        int high = *p == '%' ? hex_digit(p[1]) : 0, low = *p == '%' && p[1] ? hex_digit(p[2]) : 0;

        if (high < 0 || low < 0)
            return vs_fail_argument(call, "name", "a % that is not escaped");
        *to++ = *p == '%' ? (char)(high * 16 + low) : *p;
        p += *p == '%' ? 2 : 0;
    }
    wanted->changes.has_name = true;
    return 0;
}

static int
read_annotation(struct vs_call *call, xmlNode *node, struct reconfiguration *wanted)
{
    if (vs_need_privilege(call, "VirtualMachine.Config.Annotation") < 0)
        return -1;
    wanted->changes.has_annotation = true;
    vs_text(node, wanted->changes.annotation, sizeof(wanted->changes.annotation));
    return 0;
}

static int
read_tracking(struct vs_call *call, xmlNode *node, struct reconfiguration *wanted)
{
    if (vs_need_privilege(call, "VirtualMachine.Config.ChangeTracking") < 0)
        return -1;
    wanted->has_tracking = true;
    wanted->tracking = is_true(node);
    return 0;
}

static const struct lab_vm_nic *
find_nic(const struct lab_vm *vm, xmlNode *device)
{
    xmlAttr *attribute = device ? device->properties : NULL;
    const char *type = "";
    char key[16], own[16];

    for (; attribute; attribute = attribute->next)
        if (attribute->ns && !strcmp((const char *)attribute->name, "type") &&
            attribute->children && attribute->children->content)
            type = (const char *)attribute->children->content;
    type = strchr(type, ':') ? strchr(type, ':') + 1 : type;
    vs_text(vs_child(device, "key"), key, sizeof(key));
    for (size_t i = 0; i < vm->nics.count; i++) {
        (void)snprintf(own, sizeof(own), "%" PRId32, vm->nics.items[i].key);
        if (!strcmp(own, key) && !strcmp(type, vm->nics.items[i].type))
            return &vm->nics.items[i];
    }
    return NULL;
}

/* Of the card's own facts only `connectable` may differ from what they are. */
static const char *
judge_device(const struct lab_vm_nic *nic, xmlNode *device)
{
    xmlNode *backing = vs_child(device, "backing");
    char text[256];

    for (xmlNode *field = device->children; field; field = field->next)
        if (field->type == XML_ELEMENT_NODE &&
            !value_schema_has(nic->type, (const char *)field->name))
            return "a card has no such field";
    if (!vs_child(vs_child(device, "connectable"), "startConnected") ||
        !vs_child(vs_child(device, "connectable"), "allowGuestControl") ||
        !vs_child(vs_child(device, "connectable"), "connected"))
        return "connectable needs startConnected, allowGuestControl and connected";
    vs_text(vs_child(device, "macAddress"), text, sizeof(text));
    if (*text && strcmp(text, nic->mac) != 0)
        return "the lab changes no MAC address";
    vs_text(vs_child(backing, "deviceName"), text, sizeof(text));
    if (backing && strcmp(text, nic->network) != 0)
        return "the lab changes no network";
    return NULL;
}

static int
read_device_change(struct vs_call *call, const struct lab_vm *vm, xmlNode *change,
                   struct reconfiguration *wanted)
{
    xmlNode *device = vs_child(change, "device");
    const struct lab_vm_nic *nic = find_nic(vm, device);
    struct lab_vm_changes *changes = &wanted->changes;
    const char *wrong;
    char operation[16];

    if (vs_need_privilege(call, "VirtualMachine.Config.EditDevice") < 0)
        return -1;
    vs_text(vs_child(change, "operation"), operation, sizeof(operation));
    if (strcmp(operation, "edit") != 0)
        return vs_fail_argument(call, "spec.deviceChange.operation", "the lab only edits devices");
    if (!nic || changes->nic_count == LAB_MAX_NIC_CHANGES)
        return vs_fail_argument(call, "spec.deviceChange.device.key", "not a network card of it");
    wrong = judge_device(nic, device);
    if (wrong)
        return vs_fail_argument(call, "spec.deviceChange.device", wrong);
    changes->nics[changes->nic_count].key = nic->key;
    changes->nics[changes->nic_count++].starts_connected =
        is_true(vs_child(vs_child(device, "connectable"), "startConnected"));
    return 0;
}

static int
read_field(struct vs_call *call, const struct lab_vm *vm, xmlNode *field,
           struct reconfiguration *wanted)
{
    const char *name = (const char *)field->name;

    if (!strcmp(name, "name"))
        return read_name(call, field, wanted);
    if (!strcmp(name, "annotation"))
        return read_annotation(call, field, wanted);
    if (!strcmp(name, "deviceChange"))
        return read_device_change(call, vm, field, wanted);
    if (!strcmp(name, "changeTrackingEnabled"))
        return read_tracking(call, field, wanted);
    return vs_fail_argument(call, "spec", "the lab does not change that");
}

int
vs_reconfigure(struct vs_call *call)
{
    struct lab_vm *vm = vs_this_vm(call);
    xmlNode *spec = vs_child(call->method, "spec");
    struct reconfiguration *wanted;

    if (!vm)
        return -1;
    wanted = xcalloc(1, sizeof(*wanted));
    for (xmlNode *field = spec ? spec->children : NULL; field; field = field->next)
        if (field->type == XML_ELEMENT_NODE && read_field(call, vm, field, wanted) < 0) {
            free(wanted);
            return -1;
        }
    return vs_task_start(call, vm, run_reconfigure, wanted);
}
