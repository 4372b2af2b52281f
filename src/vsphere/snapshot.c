/* Snapshots.  None is ever made or removed twice: before a call and after a lost answer the tree and
 * the running tasks of the VM are looked at. */
#include "vsphere/internal.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define SETTLE_POLL_MS    250
#define CONSOLIDATE_TRIES 6
/* vSphere allows 32 levels below each other, but many beside each other. */
#define MAX_SNAPSHOTS     10000

/* ---- the tree ---- */

static void
read_level(const struct xml_node *node, struct vsphere_snapshots *to)
{
    for (; node && to->count < MAX_SNAPSHOTS; node = xml_next(node)) {
        const char *moref = xml_child_text(node, "snapshot");
        const char *name = xml_child_text(node, "name");
        const char *description = xml_child_text(node, "description");

        if (moref)
            vec_push(to, ((struct vsphere_snapshot){
                             .moref = xstrdup(moref),
                             .name = inventory_unescape_name(name ? name : ""),
                             .description = xstrdup(description ? description : "")}));
        read_level(xml_child(node, "childSnapshotList"), to); /* as deep as xml.c allows */
    }
}

void
snapshots_read(const struct xml_node *value, struct vsphere_snapshots *ret_snapshots)
{
    struct vsphere_snapshots snapshots = {0};

    read_level(xml_child(value, "rootSnapshotList"), &snapshots);
    *ret_snapshots = snapshots;
}

void
snapshots_done(struct vsphere_snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->count; i++) {
        free(snapshots->items[i].moref);
        free(snapshots->items[i].name);
        free(snapshots->items[i].description);
    }
    vec_done(snapshots);
}

static int
on_tree(void *opaque, const struct object *object, struct err **err)
{
    if (object_check_readable(object, "snapshot", err) < 0)
        return -1;
    snapshots_done(opaque);
    snapshots_read(object_get(object, "snapshot"), opaque);
    return 0;
}

static int
read_tree(struct vsphere *vsphere, const char *vm_moref, struct vsphere_snapshots *snapshots,
          struct err **err)
{
    static const char *const paths[] = {"snapshot", NULL};

    return props_read(vsphere, "VirtualMachine", vm_moref, paths, on_tree, snapshots, err);
}

/* *ret_moref stays NULL when there is none of that name. */
static int
find_by_name(struct vsphere *vsphere, const char *vm_moref, const char *name, char **ret_moref,
             struct err **err)
{
    CLEANUP(snapshots_done) struct vsphere_snapshots tree = {0};

    if (read_tree(vsphere, vm_moref, &tree, err) < 0)
        return -1;
    for (size_t i = 0; i < tree.count; i++)
        if (!strcmp(tree.items[i].name, name)) {
            *ret_moref = xstrdup(tree.items[i].moref);
            break;
        }
    return 0;
}

static int
is_in_tree(struct vsphere *vsphere, const char *vm_moref, const char *snapshot, bool *ret_is,
           struct err **err)
{
    CLEANUP(snapshots_done) struct vsphere_snapshots tree = {0};
    bool is = false;

    if (read_tree(vsphere, vm_moref, &tree, err) < 0)
        return -1;
    for (size_t i = 0; i < tree.count; i++)
        is = is || !strcmp(tree.items[i].moref, snapshot);
    *ret_is = is;
    return 0;
}

/* ---- create ---- */

/* The answer to our call is lost: the server may have it, be about to begin, be at it or be done.
 * Looks until there is a snapshot of that name, or none and no task for settle_ms. */
static int
settle_create(struct vsphere *vsphere, const char *vm_moref, const char *name, char **ret_moref,
              struct err **err)
{
    int64_t end = clock_monotonic_ms() + vsphere->settle_ms;

    for (;;) {
        CLEANUP(err_freep) struct err *error = NULL;
        int64_t left;

        if (task_wait_snapshot_tasks(vsphere, vm_moref, &error) == 0 &&
            find_by_name(vsphere, vm_moref, name, ret_moref, &error) == 0 && *ret_moref)
            return 0;
        if (error && err_class(error) != ERR_CLASS_RETRY)
            return err_move(err, &error);
        left = end - clock_monotonic_ms();
        if (left <= 0)
            return error ? err_move(err, &error) : 0;
        if (task_pause(vsphere, MIN(left, SETTLE_POLL_MS), err) < 0)
            return -1;
    }
}

static bool
mentions_quiescing(const struct fault *fault)
{
    return (fault->text && strcasestr(fault->text, "quiesc")) ||
           (fault->reason && strcasestr(fault->reason, "quiesc"));
}

/* The fault's error, in the words of somebody who wanted a snapshot. */
static int
fail_create(const struct fault *fault, bool quiesce, struct err **error, struct err **err)
{
    bool is_quiesce =
        fault->name && quiesce &&
        (fault_is(fault, "ApplicationQuiesceFault") || fault_is(fault, "FilesystemQuiesceFault") ||
         fault_is(fault, "ToolsUnavailable") || mentions_quiescing(fault));
    enum err_code code = err_code(*error);

    if (is_quiesce) {
        err_set(err, E_VSPHERE_QUIESCE, "%s", err_message(*error));
        return err_hint(err, "the guest's VMware Tools could not quiesce it; without quiescing the "
                             "snapshot is crash-consistent");
    }
    if (fault->name && code == E_VSPHERE_FAULT && fault_is_known(fault)) {
        err_set(err, E_VSPHERE_SNAPSHOT, "%s", err_message(*error));
        return err_hint_text(*error) ? err_hint(err, "%s", err_hint_text(*error)) : -1;
    }
    return err_move(err, error);
}

static int
create(struct vsphere *vsphere, const char *vm_moref, const char *name, const char *description,
       bool quiesce, char **ret_moref, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "CreateSnapshot_Task",
                              .type = "VirtualMachine",
                              .moref = vm_moref,
                              .args = &args,
                              .is_change = true};
    CLEANUP(fault_done) struct fault fault = {0};
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(err_freep) struct err *look_error = NULL;

    xml_append_element(&args, "name", name);
    xml_append_element(&args, "description", description);
    str_append(&args, "<memory>false</memory>");
    xml_append_element(&args, "quiesce", quiesce ? "true" : "false");
    if (task_run(vsphere, &call, vm_moref, ret_moref, &fault, &error) == 0)
        return 0;
    if (!soap_is_lost(error) || fault.name)
        return fail_create(&fault, quiesce, &error, err);
    if (settle_create(vsphere, vm_moref, name, ret_moref, &look_error) < 0)
        return err_code(look_error) == E_CANCELLED ? err_move(err, &look_error)
                                                   : err_move(err, &error);
    return *ret_moref ? 0 : err_move(err, &error);
}

int
vsphere_create_snapshot(struct vsphere *vsphere, const char *vm_moref, const char *name,
                        const char *description, bool quiesce, char **ret_moref, struct err **err)
{
    CLEANUP(free_charp) char *moref = NULL;

    if (!xml_is_text(name) || (description && !xml_is_text(description)))
        return err_set(err, E_BUG, "the snapshot's name or description is no text");
    if (task_wait_snapshot_tasks(vsphere, vm_moref, err) < 0 ||
        find_by_name(vsphere, vm_moref, name, &moref, err) < 0)
        return -1;
    if (!moref && create(vsphere, vm_moref, name, description, quiesce, &moref, err) < 0)
        return err_wrap(err, "snapshot %s", name);
    /* A task that succeeded without a result. */
    if (!moref && find_by_name(vsphere, vm_moref, name, &moref, err) < 0)
        return -1;
    if (!moref)
        return err_set(err, E_VSPHERE_SNAPSHOT, "snapshot %s was made, but the VM has none", name);
    *ret_moref = take(moref);
    return 0;
}

int
vsphere_wait_snapshot_tasks(struct vsphere *vsphere, const char *vm_moref, struct err **err)
{
    return task_wait_snapshot_tasks(vsphere, vm_moref, err);
}

/* ---- remove and consolidate ---- */

static int
needs_consolidation(struct vsphere *vsphere, const char *vm_moref, bool *ret_needs,
                    struct err **err)
{
    CLEANUP(free_charp) char *text = NULL;

    if (inventory_read_text(vsphere, vm_moref, "runtime.consolidationNeeded", &text, err) < 0)
        return -1;
    *ret_needs = text && !strcmp(text, "true");
    return 0;
}

/* Until the VM's disks need none.  A disk held by a backup tool's proxy fails it for a while. */
static int
consolidate(struct vsphere *vsphere, const char *vm_moref, struct err **err)
{
    const struct call call = {.method = "ConsolidateVMDisks_Task",
                              .type = "VirtualMachine",
                              .moref = vm_moref,
                              .is_change = true};
    CLEANUP(err_freep) struct err *last = NULL;
    int64_t pause = vsphere->consolidate_ms;

    for (int i = 0;; i++) {
        bool needs = true;

        if (needs_consolidation(vsphere, vm_moref, &needs, err) < 0)
            return -1;
        if (!needs)
            return 0;
        if (i == CONSOLIDATE_TRIES)
            break;
        if (i > 0 && task_pause(vsphere, pause << (i - 1), err) < 0)
            return -1;
        err_freep(&last);
        if (task_run(vsphere, &call, vm_moref, NULL, NULL, &last) < 0 &&
            (err_code(last) == E_CANCELLED || err_class(last) == ERR_CLASS_OPERATOR))
            return err_move(err, &last);
        if (last && soap_is_lost(last) && task_wait_snapshot_tasks(vsphere, vm_moref, err) < 0)
            return -1;
    }
    err_set(err, E_VSPHERE_SNAPSHOT, "the disks of %s still need consolidation%s%s", vm_moref,
            last ? ": " : "", last ? err_message(last) : "");
    return err_hint(err, "see which backup proxy or host holds the VM's disks, then consolidate "
                         "them in vCenter (Snapshots, Consolidate)");
}

/* The answer to the removal is lost: waits until the snapshot is gone or nothing happens. */
static int
settle_remove(struct vsphere *vsphere, const char *vm_moref, const char *snapshot, bool *ret_gone,
              struct err **err)
{
    int64_t end = clock_monotonic_ms() + vsphere->settle_ms;

    for (;;) {
        CLEANUP(err_freep) struct err *error = NULL;
        bool is_there = true;
        int64_t left;

        if (task_wait_snapshot_tasks(vsphere, vm_moref, &error) == 0 &&
            is_in_tree(vsphere, vm_moref, snapshot, &is_there, &error) == 0 && !is_there) {
            *ret_gone = true;
            return 0;
        }
        if (error && err_class(error) != ERR_CLASS_RETRY)
            return err_move(err, &error);
        left = end - clock_monotonic_ms();
        if (left <= 0)
            return error ? err_move(err, &error) : 0;
        if (task_pause(vsphere, MIN(left, SETTLE_POLL_MS), err) < 0)
            return -1;
    }
}

static int
remove_one(struct vsphere *vsphere, const char *vm_moref, const char *snapshot, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "RemoveSnapshot_Task",
                              .type = "VirtualMachineSnapshot",
                              .moref = snapshot,
                              .args = &args,
                              .is_change = true};
    CLEANUP(fault_done) struct fault fault = {0};
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(err_freep) struct err *look_error = NULL;
    bool is_gone = false;

    str_append(&args, "<removeChildren>false</removeChildren><consolidate>true</consolidate>");
    if (task_run(vsphere, &call, vm_moref, NULL, &fault, &error) == 0)
        return 0;
    if (fault_is(&fault, "ManagedObjectNotFound"))
        return 0;
    /* A removal that fails while merging has often taken the snapshot out of the tree: what is left
     * then is for consolidation.  So the tree decides, whatever the answer was. */
    if (fault.name && !fault_is_known(&fault) && !fault_is_file(&fault))
        return err_move(err, &error);
    if (err_code(error) == E_CANCELLED || err_code(error) == E_VSPHERE_PRIVILEGE)
        return err_move(err, &error);
    if (soap_is_lost(error) && !fault.name) {
        if (settle_remove(vsphere, vm_moref, snapshot, &is_gone, &look_error) < 0)
            return err_move(err, err_code(look_error) == E_CANCELLED ? &look_error : &error);
    } else {
        bool is_there = true;

        if (is_in_tree(vsphere, vm_moref, snapshot, &is_there, &look_error) < 0)
            return err_move(err, &error);
        is_gone = !is_there;
    }
    return is_gone ? 0 : fail_create(&fault, false, &error, err);
}

int
vsphere_remove_snapshot(struct vsphere *vsphere, const char *vm_moref, const char *snapshot_moref,
                        struct err **err)
{
    bool is_there = false;

    /* Of this VM, or it is not touched. */
    if (task_wait_snapshot_tasks(vsphere, vm_moref, err) < 0 ||
        is_in_tree(vsphere, vm_moref, snapshot_moref, &is_there, err) < 0)
        return -1;
    if (is_there && remove_one(vsphere, vm_moref, snapshot_moref, err) < 0)
        return err_wrap(err, "removal of snapshot %s", snapshot_moref);
    return consolidate(vsphere, vm_moref, err);
}

/* ---- disks as of a snapshot ---- */

static int
on_snapshot_config(void *opaque, const struct object *object, struct err **err)
{
    const struct xml_node *devices = object_get(object, "config.hardware.device");
    struct vsphere_disks disks = {0};

    if (object_check_readable(object, "config.hardware.device", err) < 0)
        return -1;
    if (!devices)
        return err_set(err, E_VSPHERE_PROTOCOL, "snapshot %s has no devices", object->moref);
    if (devices_read_disks(devices, &disks, err) < 0)
        return -1;
    vsphere_disks_done(opaque);
    *(struct vsphere_disks *)opaque = disks;
    return 0;
}

int
vsphere_snapshot_disks(struct vsphere *vsphere, const char *snapshot_moref,
                       struct vsphere_disks *ret_disks, struct err **err)
{
    static const char *const paths[] = {"config.hardware.device", NULL};
    CLEANUP(vsphere_disks_done) struct vsphere_disks disks = {0};

    if (props_read(vsphere, "VirtualMachineSnapshot", snapshot_moref, paths, on_snapshot_config,
                   &disks, err) < 0)
        return err_wrap(err, "snapshot %s", snapshot_moref);
    *ret_disks = disks;
    memset(&disks, 0, sizeof(disks));
    return 0;
}
