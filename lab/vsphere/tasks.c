/* Tasks: each runs on a thread of its own, queued, then running, then success or error, and is
 * forgotten a while after. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

struct start {
    struct lab_vsphere *vs;
    struct lab_vm *vm;
    struct vs_task *task; /* stays while it is not done */
    vs_task_run run;
    void *opaque;
    struct vs_fault *fault; /* what it is to end with; NULL: what comes */
};

void
vs_task_free(struct vs_task *task)
{
    value_free(task->result);
    vs_fault_free(task->fault);
    free(task);
}

struct vs_task *
vs_task_find(struct lab_vsphere *vs, const char *moref)
{
    int64_t oldest = clock_monotonic_ms() - (int64_t)vs->lab->settings.task_keep_seconds * 1000;

    for (size_t i = vs->tasks.count; i-- > 0;) {
        struct vs_task *task = vs->tasks.items[i];

        if (!task->done_at || task->done_at > oldest)
            continue;
        vs_task_free(task);
        memmove(&vs->tasks.items[i], &vs->tasks.items[i + 1],
                (--vs->tasks.count - i) * sizeof(task));
    }
    for (size_t i = 0; i < vs->tasks.count; i++)
        if (!strcmp(vs->tasks.items[i]->moref, moref))
            return vs->tasks.items[i];
    return NULL;
}

struct value *
vs_fault_localized(const struct vs_fault *fault)
{
    struct value *value = value_object("LocalizedMethodFault");

    value_set(value, "fault", value_copy(fault->detail));
    value_set(value, "localizedMessage", value_string(fault->message));
    return value;
}

struct value *
vs_task_info(struct lab_vsphere *vs, const struct vs_task *task)
{
    static const char *const STATES[] = {"queued", "running", "success", "error"};
    struct value *value = value_object("TaskInfo"), *reason = value_object("TaskReasonUser");
    const struct lab_vm *vm = lab_find_vm(vs->lab, task->vm);
    char name[64];

    (void)snprintf(name, sizeof(name), "%.*s", (int)strlen(task->name) - 5, task->name);
    value_set(reason, "userName", value_string(task->user));
    value_set(value, "key", value_string(task->moref));
    value_set(value, "task", value_ref("Task", task->moref));
    value_set(value, "name", value_word("MethodName", task->name));
    value_set(value, "descriptionId",
              value_stringf("VirtualMachine.%c%s", name[0] - 'A' + 'a', name + 1));
    value_set(value, "entity", value_ref("VirtualMachine", task->vm));
    value_set(value, "entityName", value_string(vm->name));
    value_set(value, "state", value_word("TaskInfoState", STATES[task->state]));
    value_set(value, "cancelled", value_bool(false));
    value_set(value, "cancelable", value_bool(false));
    if (task->fault)
        value_set(value, "error", vs_fault_localized(task->fault));
    if (task->result)
        value_set(value, "result", value_copy(task->result));
    if (task->state == TASK_RUNNING)
        value_set(value, "progress", value_int(50));
    value_set(value, "reason", reason);
    value_set(value, "queueTime", value_time_ms(task->queued_ms));
    if (task->started_ms)
        value_set(value, "startTime", value_time_ms(task->started_ms));
    if (task->done_ms)
        value_set(value, "completeTime", value_time_ms(task->done_ms));
    value_set(value, "eventChainId", value_int(strtoll(task->moref + 5, NULL, 10)));
    return value;
}

static void
finish(struct start *start, struct vs_fault *fault, struct value *result)
{
    struct vs_task *task = start->task;
    struct lab *lab = start->vs->lab;

    SCOPE_LOCK(&lab->mutex);
    task->state = fault ? TASK_ERROR : TASK_SUCCESS;
    task->fault = fault;
    task->result = result;
    task->done_ms = (uint64_t)clock_wall_ms();
    task->done_at = clock_monotonic_ms();
    start->vm->busy_task[0] = '\0';
    start->vs->running_tasks--;
    lab_note_change(lab);
}

/* The place "vsphere.<Method>.task" is passed while the task runs. */
static struct vs_fault *
injected_while_running(struct start *start)
{
    CLEANUP(free_charp) char *where = xasprintf("vsphere.%s.task", start->task->name);
    struct lab_fault fault;

    if (!lab_fault_take(start->vs->lab->faults, where, &fault) || strcmp(fault.action, "fail") != 0)
        return NULL;
    return vs_fault_new(*fault.detail ? fault.detail : "SystemError",
                        "The operation failed: injected by the lab");
}

static void *
run_task(void *opaque)
{
    struct start *start = opaque;
    struct lab *lab = start->vs->lab;
    struct vs_fault *fault = start->fault;
    struct value *result = NULL;
    unsigned half_ms = lab->settings.task_ms / 2;

    clock_sleep_ms(half_ms);
    pthread_mutex_lock(&lab->mutex);
    start->task->state = TASK_RUNNING;
    start->task->started_ms = (uint64_t)clock_wall_ms();
    lab_note_change(lab);
    pthread_mutex_unlock(&lab->mutex);
    if (!fault)
        fault = injected_while_running(start);
    clock_sleep_ms(lab->settings.task_ms - half_ms);
    if (!fault)
        fault = start->run(start->vs, start->vm, start->opaque, &result);
    finish(start, fault, result);
    free(start->opaque);
    free(start);
    return NULL;
}

static struct vs_task *
new_task(struct vs_call *call, const struct lab_vm *vm)
{
    struct vs_task *task = xcalloc(1, sizeof(*task));

    (void)snprintf(task->moref, sizeof(task->moref), "task-%" PRIu64, call->vs->next_number++);
    (void)snprintf(task->name, sizeof(task->name), "%s", call->name);
    memcpy(task->vm, vm->moref, sizeof(task->vm));
    memcpy(task->user, call->session->user, sizeof(task->user));
    task->queued_ms = (uint64_t)clock_wall_ms();
    vec_push(&call->vs->tasks, task);
    return task;
}

int
vs_task_start(struct vs_call *call, struct lab_vm *vm, vs_task_run run, void *opaque)
{
    struct start *start;
    pthread_attr_t attr;
    pthread_t thread;
    int status;

    if (vm->busy_task[0]) {
        struct vs_fault *fault = vs_fault_new(
            "TaskInProgress", "The operation is not allowed in the current state: another task is "
                              "already in progress.");

        value_set(fault->detail, "task", value_ref("Task", vm->busy_task));
        free(opaque);
        return vs_fail(call, fault);
    }
    start = xcalloc(1, sizeof(*start));
    start->vs = call->vs;
    start->vm = vm;
    start->run = run;
    start->opaque = opaque;
    start->fault = take(call->task_fault);
    start->task = new_task(call, vm);
    memcpy(vm->busy_task, start->task->moref, sizeof(vm->busy_task));
    call->vs->running_tasks++;
    vs_return(call, "ManagedObjectReference", value_ref("Task", start->task->moref));
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    status = pthread_create(&thread, &attr, run_task, start);
    pthread_attr_destroy(&attr);
    if (status != 0)
        abort(); /* out of threads: nothing that a lab could still show */
    lab_note_change(call->lab);
    return 0;
}
