#include "vsphere/internal.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define POLL_FIRST_MS     100
#define POLL_MAX_MS       3000
#define SLICE_MS          50
/* How long a server may be out of reach while we wait for its task. */
#define UNREACHABLE_MS    (5 * 60 * 1000)
/* How long another task on the VM is waited for before the caller is told that it is busy. */
#define BUSY_MS           (5 * 60 * 1000)
/* A question (disk full, moved or copied) stops a task until somebody answers. */
#define QUESTION_AFTER_MS 3000

struct task_state {
    bool is_seen, is_ended, is_success;
    char *result;       /* moref or NULL */
    char *question;     /* of the VM, or NULL */
    struct fault fault; /* why it failed */
};

static void
task_state_done(struct task_state *state)
{
    free(state->result);
    free(state->question);
    fault_done(&state->fault);
    memset(state, 0, sizeof(*state));
}

bool
task_is_cancelled(const struct vsphere *vsphere)
{
    return vsphere->cancel && *vsphere->cancel;
}

int
task_pause(const struct vsphere *vsphere, int64_t ms, struct err **err)
{
    int64_t end = clock_monotonic_ms() + ms;

    for (;;) {
        int64_t left = end - clock_monotonic_ms();

        if (task_is_cancelled(vsphere))
            return err_set(err, E_CANCELLED, "stopped on request");
        if (left <= 0)
            return 0;
        clock_sleep_ms(MIN(left, SLICE_MS));
    }
}

static int
on_task(void *opaque, const struct object *object, struct err **err)
{
    struct task_state *state = opaque;
    const struct xml_node *info, *text;
    const char *word;

    if (strcmp(object->type, "Task") != 0) {
        text = xml_child(object_get(object, "runtime.question"), "text");
        if (text && !state->question)
            state->question = xstrdup(text->text);
        return 0;
    }
    if (object_check_readable(object, "info", err) < 0)
        return -1;
    info = object_get(object, "info");
    word = xml_child_text(info, "state");
    if (!word)
        return err_set(err, E_VSPHERE_PROTOCOL, "task %s has no state", object->moref);
    state->is_seen = true;
    state->is_success = !strcmp(word, "success");
    state->is_ended = state->is_success || !strcmp(word, "error");
    if (xml_child(info, "error") && !state->fault.name)
        fault_read_localized(xml_child(info, "error"), &state->fault);
    if (xml_child_text(info, "result") && !state->result)
        state->result = xstrdup(xml_child_text(info, "result"));
    return 0;
}

/* Reads the task and, with it, whether the VM (may be NULL) asks a question. */
static int
read_task(struct vsphere *vsphere, const char *task, const char *vm_moref,
          struct task_state *ret_state, struct err **err)
{
    static const char *const task_paths[] = {"info", NULL};
    static const char *const vm_paths[] = {"runtime.question", NULL};
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);
    CLEANUP(task_state_done) struct task_state state = {0};

    props_append_set(&spec, "Task", task_paths);
    if (vm_moref)
        props_append_set(&spec, "VirtualMachine", vm_paths);
    str_append(&spec, "<objectSet>");
    xml_append_ref(&spec, "obj", "Task", task);
    str_append(&spec, "</objectSet>");
    if (vm_moref) {
        str_append(&spec, "<objectSet>");
        xml_append_ref(&spec, "obj", "VirtualMachine", vm_moref);
        str_append(&spec, "</objectSet>");
    }
    if (props_retrieve(vsphere, &spec, on_task, &state, err) < 0)
        return -1;
    if (!state.is_seen)
        return err_set(err, E_VSPHERE_NOT_FOUND, "task %s is gone", task);
    *ret_state = state;
    memset(&state, 0, sizeof(state));
    return 0;
}

/* Waits for the end of @task, through a server that is out of reach for a while.  @limit_ms 0: as
 * long as it takes. */
static int
wait_for_end(struct vsphere *vsphere, const char *task, const char *vm_moref, int64_t limit_ms,
             struct task_state *ret_state, struct err **err)
{
    int64_t started = clock_monotonic_ms(), last_answer = started, pause = POLL_FIRST_MS;

    for (;;) {
        CLEANUP(task_state_done) struct task_state state = {0};
        CLEANUP(err_freep) struct err *error = NULL;
        int rc = read_task(vsphere, task, vm_moref, &state, &error);
        int64_t now = clock_monotonic_ms();

        if (rc == 0) {
            last_answer = now;
            if (state.is_ended) {
                *ret_state = state;
                memset(&state, 0, sizeof(state));
                return 0;
            }
            if (state.question && now - started >= QUESTION_AFTER_MS) {
                err_set(err, E_VSPHERE_STATE, "the VM waits for an answer: %.300s", state.question);
                return err_hint(err, "answer the VM's question in vCenter, then try again");
            }
        } else if (err_class(error) != ERR_CLASS_RETRY || now - last_answer > UNREACHABLE_MS) {
            return err_move(err, &error);
        }
        if (limit_ms && now - started > limit_ms)
            return err_set(err, E_VSPHERE_BUSY, "task %s is still running", task);
        if (task_pause(vsphere, pause, err) < 0)
            return -1;
        pause = MIN(pause + pause / 2, POLL_MAX_MS);
    }
}

/* Starts the task, waits, and says how it ended. */
static int
run_once(struct vsphere *vsphere, const struct call *call, const char *vm_moref, char **ret_result,
         struct fault *ret_fault, struct err **err)
{
    struct call copy = *call;
    CLEANUP(answer_done) struct answer answer = {0};
    CLEANUP(task_state_done) struct task_state state = {0};
    CLEANUP(free_charp) char *what = xasprintf("%s of %s", call->method, call->moref);
    CLEANUP(err_freep) struct err *error = NULL;

    copy.is_change = true;
    copy.ret_fault = ret_fault;
    if (soap_call(vsphere, &copy, &answer, err) < 0)
        return -1;
    if (!answer.result || !*answer.result->text)
        return err_set(err, E_VSPHERE_PROTOCOL, "%s gave no task", what);
    if (wait_for_end(vsphere, answer.result->text, vm_moref, 0, &state, &error) < 0) {
        /* Ended tasks are forgotten by vCenter after a while: how it ended is then to be looked up. */
        if (err_code(error) == E_VSPHERE_NOT_FOUND)
            return err_set(err, E_VSPHERE_PROTOCOL, "%s: the task vanished before its end was seen",
                           what);
        err_move(err, &error);
        return err_wrap(err, "%s", what);
    }
    if (!state.is_success) {
        if (!state.fault.name)
            return err_set(err, E_VSPHERE_FAULT, "%s failed without saying why", what);
        *ret_fault = state.fault;
        memset(&state.fault, 0, sizeof(state.fault));
        return fault_set(ret_fault, what, err);
    }
    *ret_result = take(state.result);
    return 0;
}

/* Nothing was begun: waits for the task in the way. */
static int
wait_for_other(struct vsphere *vsphere, const struct fault *fault, int64_t limit_ms,
               struct err **err)
{
    CLEANUP(task_state_done) struct task_state state = {0};
    CLEANUP(err_freep) struct err *error = NULL;

    if (fault->task && *fault->task) {
        if (wait_for_end(vsphere, fault->task, NULL, limit_ms, &state, &error) == 0)
            return 0;
        /* We may not be allowed to see it, or it is gone already. */
        if (err_code(error) == E_CANCELLED || err_code(error) == E_VSPHERE_BUSY)
            return err_move(err, &error);
    }
    return task_pause(vsphere, MIN(1000, limit_ms), err);
}

int
task_run(struct vsphere *vsphere, const struct call *call, const char *vm_moref, char **ret_result,
         struct fault *ret_fault, struct err **err)
{
    int64_t deadline = clock_monotonic_ms() + BUSY_MS;

    for (;;) {
        CLEANUP(free_charp) char *result = NULL;
        CLEANUP(fault_done) struct fault fault = {0};
        CLEANUP(err_freep) struct err *error = NULL;
        int64_t left;

        if (run_once(vsphere, call, vm_moref, &result, &fault, &error) == 0) {
            if (ret_result)
                *ret_result = take(result);
            return 0;
        }
        left = deadline - clock_monotonic_ms();
        if (fault_is(&fault, "TaskInProgress") && left > 0) {
            if (wait_for_other(vsphere, &fault, left, err) < 0)
                return err_wrap(err, "%s waits for another task of %s", call->method, call->moref);
            continue;
        }
        if (ret_fault) {
            *ret_fault = fault;
            memset(&fault, 0, sizeof(fault));
        }
        return err_move(err, &error);
    }
}

/* ---- tasks that nobody waits for any more ---- */

struct running {
    char *task; /* the first one found */
};

static int
on_recent_task(void *opaque, const struct object *object, struct err **err)
{
    struct running *running = opaque;
    const struct xml_node *info = object_get(object, "info");
    const char *state = xml_child_text(info, "state");
    const char *name = xml_child_text(info, "name"), *id = xml_child_text(info, "descriptionId");

    if (strcmp(object->type, "Task") != 0 || !state || running->task)
        return 0;
    if (strcmp(state, "queued") != 0 && strcmp(state, "running") != 0)
        return 0;
    /* "CreateSnapshot_Task" and "VirtualMachine.createSnapshot", "vm.Snapshot.remove",
     * "ConsolidateVMDisks_Task". */
    if ((name && (strcasestr(name, "snapshot") || strcasestr(name, "consolidate"))) ||
        (id && (strcasestr(id, "snapshot") || strcasestr(id, "consolidate"))))
        running->task = xstrdup(object->moref);
    return 0;
}

static int
find_running(struct vsphere *vsphere, const char *vm_moref, char **ret_task, struct err **err)
{
    static const char *const paths[] = {"info", NULL};
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);
    struct running running = {0};

    props_append_set(&spec, "Task", paths);
    str_append(&spec, "<objectSet>");
    xml_append_ref(&spec, "obj", "VirtualMachine", vm_moref);
    str_append(&spec, "<skip>true</skip><selectSet xsi:type=\"TraversalSpec\"><name>tasks</name>"
                      "<type>VirtualMachine</type><path>recentTask</path><skip>false</skip>"
                      "</selectSet></objectSet><reportMissingObjectsInResults>true"
                      "</reportMissingObjectsInResults>");
    if (props_retrieve(vsphere, &spec, on_recent_task, &running, err) < 0) {
        free(running.task);
        return -1;
    }
    *ret_task = running.task;
    return 0;
}

int
task_wait_snapshot_tasks(struct vsphere *vsphere, const char *vm_moref, struct err **err)
{
    for (;;) {
        CLEANUP(free_charp) char *task = NULL;
        CLEANUP(task_state_done) struct task_state state = {0};
        CLEANUP(err_freep) struct err *error = NULL;

        if (find_running(vsphere, vm_moref, &task, err) < 0)
            return -1;
        if (!task)
            return 0;
        if (wait_for_end(vsphere, task, vm_moref, 0, &state, &error) == 0)
            continue;
        if (err_code(error) != E_VSPHERE_NOT_FOUND)
            return err_move(err, &error);
        if (task_pause(vsphere, POLL_FIRST_MS, err) < 0) /* listed still, but gone already */
            return -1;
    }
}
