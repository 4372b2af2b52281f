/* Name, annotation and start of the network cards: ReconfigVM_Task with one of them at a time, so that one
 * that is refused does not keep the others from being set. */
#include "vsphere/labels.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "vsphere/internal.h"

#define SETTLE_POLL_MS 250

/* ---- reading ---------------------------------------------------------------------------------- */

void
vsphere_labels_done(struct vsphere_labels *labels)
{
    free(labels->name);
    free(labels->annotation);
    vec_done(&labels->nics);
    *labels = (struct vsphere_labels){0};
}

static int
on_labels(void *opaque, const struct object *object, struct err **err)
{
    const struct xml_node *devices = object_get(object, "config.hardware.device");
    const char *name = object_text(object, "name"),
               *annotation = object_text(object, "config.annotation");
    struct vsphere_labels *labels = opaque;

    if (object_check_readable(object, "name", err) < 0 ||
        object_check_readable(object, "config.annotation", err) < 0 ||
        object_check_readable(object, "config.hardware.device", err) < 0)
        return -1;
    vsphere_labels_done(labels);
    labels->name = inventory_unescape_name(name ? name : "");
    labels->annotation = xstrdup(annotation ? annotation : "");
    return devices_read_starts(devices, &labels->nics, err);
}

int
vsphere_read_labels(struct vsphere *vsphere, const char *moref, struct vsphere_labels *ret,
                    struct err **err)
{
    static const char *const paths[] = {"name", "config.annotation", "config.hardware.device",
                                        NULL};
    struct vsphere_labels labels = {0};

    if (props_read(vsphere, "VirtualMachine", moref, paths, on_labels, &labels, err) < 0) {
        vsphere_labels_done(&labels);
        return -1;
    }
    *ret = labels;
    return 0;
}

/* ---- one reconfiguration ----------------------------------------------------------------------- */

typedef bool (*is_set_fn)(const struct vsphere_labels *labels, const void *wanted);

/* Looks at the VM for as long as a call whose answer was lost may take effect. */
static int
settle(struct vsphere *vsphere, const char *moref, is_set_fn is_set, const void *wanted,
       bool *ret_is, struct err **err)
{
    int64_t end = clock_monotonic_ms() + vsphere->settle_ms;

    for (;;) {
        CLEANUP(vsphere_labels_done) struct vsphere_labels labels = {0};
        CLEANUP(err_freep) struct err *error = NULL;
        int64_t left;

        if (vsphere_read_labels(vsphere, moref, &labels, &error) == 0 && is_set(&labels, wanted)) {
            *ret_is = true;
            return 0;
        }
        left = end - clock_monotonic_ms();
        if (left <= 0 || (error && err_class(error) != ERR_CLASS_RETRY))
            return error ? err_move(err, &error) : 0;
        if (task_pause(vsphere, MIN(left, SETTLE_POLL_MS), err) < 0)
            return -1;
    }
}

/* @args has the whole <spec>. */
static int
reconfigure(struct vsphere *vsphere, const char *moref, const struct str *args, is_set_fn is_set,
            const void *wanted, struct err **err)
{
    const struct call call = {.method = "ReconfigVM_Task",
                              .type = "VirtualMachine",
                              .moref = moref,
                              .args = args,
                              .is_change = true};
    CLEANUP(fault_done) struct fault fault = {0};
    CLEANUP(err_freep) struct err *error = NULL;
    bool is = false;

    if (task_run(vsphere, &call, moref, NULL, &fault, &error) == 0)
        return 0;
    if (soap_is_lost(error) && !fault.name)
        (void)settle(vsphere, moref, is_set, wanted, &is, NULL);
    return is ? 0 : err_move(err, &error);
}

/* ---- what can be set --------------------------------------------------------------------------- */

static int
check_text(const char *text, struct err **err)
{
    return xml_is_text(text) ? 0 : err_set(err, E_CONFIG, "characters that XML cannot hold");
}

static bool
has_name(const struct vsphere_labels *labels, const void *wanted)
{
    return !strcmp(labels->name, wanted);
}

/* '%' must be escaped, '/' and '\' are escaped by vCenter itself ("VirtualMachineConfigSpec.name"). */
static void
append_name(struct str *args, const char *name)
{
    CLEANUP(str_done) struct str escaped = STR_INIT(MAX_ARGS);

    for (const char *p = name; *p; p++)
        if (*p == '%' || *p == '/' || *p == '\\')
            str_appendf(&escaped, "%%%02x", (unsigned)(unsigned char)*p);
        else
            str_append_bytes(&escaped, p, 1);
    xml_append_element(args, "name", str_text(&escaped));
}

int
vsphere_set_name(struct vsphere *vsphere, const char *moref, const char *name, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);

    if (check_text(name, err) < 0)
        return err_wrap(err, "the name of VM %s", moref);
    str_append(&args, "<spec>");
    append_name(&args, name);
    str_append(&args, "</spec>");
    return reconfigure(vsphere, moref, &args, has_name, name, err);
}

static bool
has_annotation(const struct vsphere_labels *labels, const void *wanted)
{
    return !strcmp(labels->annotation, wanted);
}

int
vsphere_set_annotation(struct vsphere *vsphere, const char *moref, const char *annotation,
                       struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);

    if (check_text(annotation, err) < 0)
        return err_wrap(err, "the annotation of VM %s", moref);
    str_append(&args, "<spec>");
    xml_append_element(&args, "annotation", annotation);
    str_append(&args, "</spec>");
    return reconfigure(vsphere, moref, &args, has_annotation, annotation, err);
}

static const struct vsphere_nic_start *
find_start(const struct vsphere_nic_starts *nics, int32_t key)
{
    for (size_t i = 0; i < nics->count; i++)
        if (nics->items[i].key == key)
            return &nics->items[i];
    return NULL;
}

static bool
has_starts(const struct vsphere_labels *labels, const void *wanted)
{
    const struct vsphere_nic_starts *nics = wanted;

    for (size_t i = 0; i < labels->nics.count; i++) {
        const struct vsphere_nic_start *nic = find_start(nics, labels->nics.items[i].key);

        if (nic && nic->is_connected != labels->nics.items[i].is_connected)
            return false;
    }
    return true;
}

static void
append_type(struct str *args, const char *attribute, const char *type)
{
    if (type &&
        type[strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")] ==
            '\0')
        str_appendf(args, " %s=\"%s\"", attribute, type);
}

/* An element and all below it, as they were read, but for connectable.startConnected, which becomes
 * @starts where that is not NULL. */
static void
append_node(struct str *args, const struct xml_node *node, const char *name, const char *starts)
{
    str_appendf(args, "<%s", name);
    if (node->first_child || !*node->text) /* simple values need none, and would need a prefix */
        append_type(args, "xsi:type", node->xsi_type);
    append_type(args, "type", node->type);
    str_append(args, ">");
    if (!node->first_child)
        xml_append_text(args, starts ? starts : node->text);
    for (const struct xml_node *child = node->first_child; child; child = child->next) {
        bool is_on_the_way =
            !strcmp(child->name, "connectable") || !strcmp(child->name, "startConnected");

        append_node(args, child, child->name, is_on_the_way ? starts : NULL);
    }
    str_appendf(args, "</%s>", name);
}

struct editing {
    const struct vsphere_nic_starts *nics;
    struct str *args;
};

static int
on_devices(void *opaque, const struct object *object, struct err **err)
{
    const struct editing *editing = opaque;

    if (object_check_readable(object, "config.hardware.device", err) < 0)
        return -1;
    str_append(editing->args, "<spec>");
    for (const struct xml_node *d = devices_first(object_get(object, "config.hardware.device")); d;
         d = xml_next(d)) {
        const struct vsphere_nic_start *nic;
        int64_t key;

        if (!devices_is_card(d))
            continue;
        if (xml_child_int(d, "key", INT32_MIN, INT32_MAX, &key, err) < 0)
            return -1;
        nic = find_start(editing->nics, (int32_t)key);
        if (!nic || !xml_path(d, "connectable", "startConnected", NULL))
            continue;
        str_append(editing->args, "<deviceChange><operation>edit</operation>");
        append_node(editing->args, d, "device", nic->is_connected ? "true" : "false");
        str_append(editing->args, "</deviceChange>");
    }
    str_append(editing->args, "</spec>");
    return 0;
}

/* The card goes back as it was read, because a field that is left out may count as one that is unset. */
int
vsphere_set_nic_starts(struct vsphere *vsphere, const char *moref,
                       const struct vsphere_nic_starts *nics, struct err **err)
{
    static const char *const paths[] = {"config.hardware.device", NULL};
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    struct editing editing = {.nics = nics, .args = &args};

    if (props_read(vsphere, "VirtualMachine", moref, paths, on_devices, &editing, err) < 0)
        return -1;
    if (!strstr(str_text(&args), "<deviceChange>"))
        return 0;
    return reconfigure(vsphere, moref, &args, has_starts, nics, err);
}
