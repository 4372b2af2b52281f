/* The methods of VMs and snapshots. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

struct arguments {
    char name[256], description[256], snapshot[32], method[64];
    bool quiesce, with_children;
};

struct lab_vm *
vs_this_vm(struct vs_call *call)
{
    struct lab_vm *vm = lab_find_vm(call->lab, call->moref);

    if (!vm)
        vm = vs_snapshot_vm(call->lab, call->moref);
    if (!vm)
        (void)vs_fail(call, vs_fault_new("InvalidRequest", "_this is no virtual machine"));
    return vm;
}

static struct vs_fault *
outcome(struct lab_vsphere *vs, struct lab_vm *vm, int result, struct err **err)
{
    struct vs_fault *fault = result < 0 ? vs_fault_of(vs->lab, vm, *err) : NULL;

    err_freep(err);
    return fault;
}

/* ---- snapshots -------------------------------------------------------------------------------- */

static struct vs_fault *
run_create(struct lab_vsphere *vs, struct lab_vm *vm, void *opaque, struct value **ret_result)
{
    const struct arguments *arguments = opaque;
    struct err *err = NULL;
    char moref[32];
    int result = lab_vm_snapshot(vs->lab, vm, arguments->name, arguments->description,
                                 arguments->quiesce, moref, &err);

    if (result == 0)
        *ret_result = value_ref("VirtualMachineSnapshot", moref);
    return outcome(vs, vm, result, &err);
}

/* A failure to quiesce comes only where there is something to quiesce. */
static void
drop_pointless_fault(struct vs_call *call, struct lab_vm *vm, bool quiesce)
{
    if (!call->task_fault || !strstr(call->task_fault->type, "Quiesce") ||
        (quiesce && vm->has_tools && lab_vm_is_on(call->lab, vm)))
        return;
    vs_fault_free(call->task_fault);
    call->task_fault = NULL;
}

int
vs_create_snapshot(struct vs_call *call)
{
    struct lab_vm *vm = vs_this_vm(call);
    struct arguments *arguments;

    if (!vm)
        return -1;
    arguments = xcalloc(1, sizeof(*arguments));
    vs_param(call, "name", arguments->name, sizeof(arguments->name));
    vs_param(call, "description", arguments->description, sizeof(arguments->description));
    arguments->quiesce =
        vs_param_bool(call, "quiesce", false) || vs_child(call->method, "quiesceSpec");
    drop_pointless_fault(call, vm, arguments->quiesce);
    return vs_task_start(call, vm, run_create, arguments);
}

static struct vs_fault *
run_remove(struct lab_vsphere *vs, struct lab_vm *vm, void *opaque, struct value **ret_result)
{
    const struct arguments *arguments = opaque;
    struct err *err = NULL;

    return outcome(
        vs, vm,
        lab_vm_remove_snapshot(vs->lab, vm, arguments->snapshot, arguments->with_children, &err),
        &err);
}

int
vs_remove_snapshot(struct vs_call *call)
{
    struct lab_vm *vm = vs_this_vm(call);
    struct arguments *arguments;

    if (!vm)
        return -1;
    arguments = xcalloc(1, sizeof(*arguments));
    (void)snprintf(arguments->snapshot, sizeof(arguments->snapshot), "%.31s", call->moref);
    arguments->with_children = vs_param_bool(call, "removeChildren", false);
    return vs_task_start(call, vm, run_remove, arguments);
}

int
vs_remove_all_snapshots(struct vs_call *call)
{
    struct lab_vm *vm = vs_this_vm(call);
    struct arguments *arguments;

    if (!vm)
        return -1;
    if (vm->snapshots.count == 0)
        return vs_fail(call, vs_fault_new("InvalidState", "There is no snapshot"));
    arguments = xcalloc(1, sizeof(*arguments));
    memcpy(arguments->snapshot, vm->snapshots.items[0].moref, sizeof(arguments->snapshot));
    arguments->with_children = true;
    return vs_task_start(call, vm, run_remove, arguments);
}

static struct vs_fault *
run_consolidate(struct lab_vsphere *vs, struct lab_vm *vm, void *opaque, struct value **ret_result)
{
    lab_vm_consolidate(vs->lab, vm);
    return NULL;
}

int
vs_consolidate(struct vs_call *call)
{
    struct lab_vm *vm = vs_this_vm(call);

    return vm ? vs_task_start(call, vm, run_consolidate, NULL) : -1;
}

/* ---- power ------------------------------------------------------------------------------------ */

static struct vs_fault *
run_power(struct lab_vsphere *vs, struct lab_vm *vm, void *opaque, struct value **ret_result)
{
    const struct arguments *arguments = opaque;
    bool is_on_wanted = !strcmp(arguments->method, "PowerOnVM_Task");
    struct err *err = NULL;
    int result =
        is_on_wanted ? lab_vm_power_on(vs->lab, vm, &err) : lab_vm_power_off(vs->lab, vm, &err);
    struct vs_fault *fault = outcome(vs, vm, result, &err);

    if (fault && !strcmp(fault->type, "InvalidPowerState"))
        value_set(
            fault->detail, "requestedState",
            value_word("VirtualMachinePowerState", is_on_wanted ? "poweredOn" : "poweredOff"));
    return fault;
}

int
vs_power(struct vs_call *call)
{
    struct lab_vm *vm = vs_this_vm(call);
    struct arguments *arguments;

    if (!vm)
        return -1;
    arguments = xcalloc(1, sizeof(*arguments));
    (void)snprintf(arguments->method, sizeof(arguments->method), "%s", call->name);
    return vs_task_start(call, vm, run_power, arguments);
}

int
vs_shutdown_guest(struct vs_call *call)
{
    struct err *err = NULL;
    struct vs_fault *fault = NULL;
    struct lab_vm *vm;

    pthread_mutex_lock(&call->lab->mutex);
    vm = vs_this_vm(call);
    if (vm && vm->busy_task[0]) {
        fault = vs_fault_new("TaskInProgress", "Another task is already in progress.");
        value_set(fault->detail, "task", value_ref("Task", vm->busy_task));
    }
    pthread_mutex_unlock(&call->lab->mutex);
    if (!vm)
        return -1;
    if (!fault)
        fault = outcome(call->vs, vm, lab_vm_shutdown(call->lab, vm, &err), &err);
    return fault ? vs_fail(call, fault) : 0;
}

/* ---- changed areas ---------------------------------------------------------------------------- */

struct query {
    struct lab_vm *vm;
    unsigned disk;
    uint64_t view, capacity, offset, since;
    bool is_all; /* "*": what is in use */
};

static int
fail_file(struct vs_call *call, const struct lab_vm_disk *disk, const char *why)
{
    struct vs_fault *fault =
        vs_fault_new("FileFault", "Error caused by file %s: %s", disk->path, why);

    value_set(fault->detail, "file", value_string(disk->path));
    return vs_fail(call, fault);
}

/* mutex held */
static int
check_change_id(struct vs_call *call, const struct lab_vm_disk *disk, struct query *query)
{
    char id[128], *slash, *end;

    vs_param(call, "changeId", id, sizeof(id));
    if (!disk->change_id[0])
        return fail_file(call, disk, "change tracking is not active");
    query->is_all = !strcmp(id, "*");
    if (query->is_all)
        return 0;
    slash = strrchr(id, '/');
    if (!slash)
        return vs_fail_argument(call, "changeId", "not a change id");
    *slash = '\0';
    query->since = strtoull(slash + 1, &end, 10);
    if (*end || end == slash + 1)
        return vs_fail_argument(call, "changeId", "not a change id");
    if (strcmp(id, disk->change_uuid) != 0)
        return fail_file(call, disk, "the change id is from before tracking was reset");
    if (query->view && query->since > query->view)
        return vs_fail_argument(call, "changeId", "later than the snapshot");
    return 0;
}

/* mutex held */
static int
parse_query(struct vs_call *call, struct query *query)
{
    struct lab_vm *vm = lab_find_vm(call->lab, call->moref);
    struct lab_snapshot *snapshot = NULL;
    const struct lab_vm_disk *disk;
    int64_t offset = vs_param_long(call, "startOffset", 0);
    char moref[64];
    int index;

    if (!vm)
        return vs_fail(call, vs_fault_new("InvalidRequest", "_this is no virtual machine"));
    vs_param(call, "snapshot", moref, sizeof(moref));
    if (*moref) {
        snapshot = lab_find_snapshot(vm, moref);
        if (!snapshot) {
            struct vs_fault *fault = vs_fault_new(
                "ManagedObjectNotFound",
                "The object '%s' has already been deleted or has not been completely created",
                moref);

            value_set(fault->detail, "obj", value_ref("VirtualMachineSnapshot", moref));
            return vs_fail(call, fault);
        }
    }
    index = lab_disk_index(vm, (int32_t)vs_param_long(call, "deviceKey", -1));
    if (index < 0)
        return vs_fail_argument(call, "deviceKey", "no such disk");
    disk = snapshot ? &snapshot->disks.items[index] : &vm->disks.items[index];
    if (!snapshot && lab_vm_is_on(call->lab, vm))
        return fail_file(call, disk, "the virtual machine is powered on and no snapshot was named");
    if (offset < 0 || (uint64_t)offset >= disk->capacity)
        return vs_fail_argument(call, "startOffset", "outside of the disk");
    *query = (struct query){.vm = vm,
                            .disk = (unsigned)index,
                            .view = snapshot ? snapshot->view : 0,
                            .capacity = disk->capacity,
                            .offset = (uint64_t)offset};
    return check_change_id(call, disk, query);
}

static void
write_area(struct str *out, uint64_t start, uint64_t length)
{
    str_appendf(out,
                "<changedArea><start>%" PRIu64 "</start><length>%" PRIu64 "</length></changedArea>",
                start, length);
}

/* The places of "*" are not those of other queries, so that a test can hit one of them. */
static void
take_lie(struct vs_call *call)
{
    struct lab_fault fault;

    if (lab_fault_take(call->lab->faults, "vsphere.QueryChangedDiskAreas.in_use", &fault) &&
        !strcmp(fault.action, "lie"))
        (void)snprintf(call->lie, sizeof(call->lie), "%.63s", fault.detail);
}

/* What an answer to "*" may be like, where the disk is or has been where tracking cannot know. */
static void
distort(struct vs_call *call, const struct query *query, struct extents *areas)
{
    bool knows = !strcmp(LAB_DATASTORE_TYPES[call->lab->settings.datastore_type], "VMFS");

    if (!knows || !strcmp(call->lie, "whole")) {
        areas->count = 0;
        vec_push(areas, ((struct extent){0, query->capacity}));
    } else if (!strcmp(call->lie, "short")) {
        for (size_t i = 1; i < areas->count; i += 2)
            areas->items[i / 2] = areas->items[i];
        areas->count /= 2;
    } else if (!strcmp(call->lie, "none")) {
        areas->count = 0;
    }
}

/* All areas of a page once more: in the wrong order, over each other, and the last over the end. */
static void
write_again(struct str *out, const struct extents *page)
{
    for (size_t i = page->count; i-- > 0;)
        write_area(out, page->items[i].offset + page->items[i].length / 2, page->items[i].length);
}

/* One page: what lies in [offset, end), where end is bounded by bytes and by the number of areas. */
static void
write_page(struct vs_call *call, const struct query *query, const struct extents *areas)
{
    const struct lab_vcenter_settings *settings = &call->lab->settings;
    uint64_t end = MIN(query->capacity, query->offset + settings->bytes_per_answer);
    struct str out = STR_INIT(MAX_ANSWER);
    struct extents page = {0};

    for (size_t i = 0; i < areas->count && areas->items[i].offset < end; i++) {
        uint64_t start = MAX(areas->items[i].offset, query->offset);
        uint64_t stop = MIN(areas->items[i].offset + areas->items[i].length, end);

        if (stop <= start)
            continue;
        if (page.count == settings->areas_per_answer) {
            end = start; /* this area and all after it go into the next answer */
            break;
        }
        write_area(&out, start, stop - start);
        vec_push(&page, ((struct extent){start, stop - start}));
    }
    if (!strcmp(call->lie, "tangled"))
        write_again(&out, &page);
    vec_done(&page);
    if (!strcmp(call->lie, "beyond"))
        write_area(&out, query->capacity, (uint64_t)MIB);
    str_appendf(&call->out,
                "<returnval><startOffset>%" PRIu64 "</startOffset><length>%" PRIu64 "</length>%s"
                "</returnval>",
                !strcmp(call->lie, "ahead") ? (uint64_t)(query->offset + MIB) : query->offset,
                !strcmp(call->lie, "stuck") ? 0 : end - query->offset, str_text(&out));
    str_done(&out);
}

int
vs_query_changes(struct vs_call *call)
{
    const struct lab_machine_ops *ops;
    struct extents areas = {0};
    struct err *err = NULL;
    struct query query = {0};
    int result;

    pthread_mutex_lock(&call->lab->mutex);
    result = parse_query(call, &query);
    pthread_mutex_unlock(&call->lab->mutex);
    if (result < 0)
        return -1;
    ops = query.vm->machine->ops;
    if (query.is_all)
        result = ops->allocated(query.vm->machine, query.disk, query.view, 0, query.capacity,
                                &areas, &err);
    else
        result = ops->changed(query.vm->machine, query.disk, query.since, query.view, &areas, &err);
    if (result == 0)
        result = extents_normalize(&areas, query.capacity, 0, true, &err);
    if (result == 0 && query.is_all) {
        take_lie(call);
        distort(call, &query, &areas);
    }
    if (result == 0)
        write_page(call, &query, &areas);
    else
        (void)fail_file(call, &query.vm->disks.items[query.disk], err_message(err));
    err_free(err);
    vec_done(&areas);
    return result;
}
