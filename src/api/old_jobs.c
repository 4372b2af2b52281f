/* /migration/jobs, /status, /finalize, /shutdown, /retry and /logs of the existing tool. */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/old.h"
#include "base/clock.h"
#include "base/file.h"
#include "migration/view.h"

/* It knows four states. */
static const char *
old_state(const struct store_job *job)
{
    switch ((enum store_job_state)job->state) {
    case JOB_QUEUED:
        return "queued";
    case JOB_RUNNING:
    case JOB_WAITING:
        return "running";
    case JOB_COMPLETED:
        return "completed";
    default:
        return "failed";
    }
}

static json_t *
return_code_json(const struct store_job *job)
{
    return store_job_is_over((enum store_job_state)job->state) ? json_integer(job->return_code)
                                                               : json_null();
}

/* ---- the list ---------------------------------------------------------------------------------------- */

static int
old_job_json(struct job_context *c, const struct store_job *job, json_t **ret, struct err **err)
{
    json_t *now = job_json(c, job, false, err), *o;
    CLEANUP(free_charp) char *runtime = NULL;
    struct store_migration record = {0};
    bool is_there = false;

    if (!now)
        return -1;
    if (job->migration && store_migration_of_job(c->store, job, &is_there, &record, err) < 0) {
        json_decref(now);
        return -1;
    }
    runtime = xstrdup(is_there ? record.directory : c->api->options.control_dir);
    store_migration_done(&record);
    o = json_object();
    json_object_set_new(o, "job_id", json_text(job->job_id));
    json_object_set_new(o, "vm_name", json_text(job->vm_name));
    json_object_set_new(o, "vm_moref", json_text(job->vm_moref));
    json_object_set_new(o, "status", json_text(old_state(job)));
    json_object_set_new(o, "spec_file", json_text(job->spec_file));
    json_object_set_new(o, "runtime_dir", json_text(runtime));
    json_object_set_new(o, "started_at",
                        json_time(job->started_at ? job->started_at : job->created_at));
    json_object_set_new(o, "finished_at", json_time(job->finished_at));
    json_object_set_new(o, "return_code", return_code_json(job));
    json_object_set_new(o, "error", json_text(job->error));
    json_object_set(o, "stage", json_object_get(now, "stage"));
    json_object_set_new(o, "next_stage",
                        json_text(json_string_value(json_object_get(now, "next_stage"))));
    json_object_set(o, "progress", json_object_get(now, "progress"));
    json_decref(now);
    *ret = o;
    return 0;
}

int
old_jobs(struct request *r, struct err **err)
{
    struct store_job_filter filter = {
        .kind = JOB_MIGRATE, .limit = 100, .is_descending = true, .vm_name = query_text(r, "vm")};
    struct job_context context;
    struct store_jobs jobs = {0};
    json_t *array = json_array();
    int rc;

    rc = query_int(r, "limit", 1, 1000, &filter.limit, err);
    if (rc == 0)
        rc = query_bool(r, "latest_per_vm", &filter.is_latest_per_vm, err);
    if (rc == 0)
        rc = job_context_load(r->api, r->store, &context, err);
    if (rc < 0) {
        json_decref(array);
        return -1;
    }
    rc = store_job_list(r->store, &filter, &jobs, NULL, err);
    for (size_t i = 0; rc == 0 && i < jobs.count; i++) {
        json_t *job = NULL;

        rc = old_job_json(&context, &jobs.items[i], &job, err);
        if (job)
            json_array_append_new(array, job);
    }
    store_jobs_done(&jobs);
    job_context_done(&context);
    if (rc == 0)
        return answer_json(r, MHD_HTTP_OK, array);
    json_decref(array);
    return -1;
}

/* Finished ones only: what runs goes on, and stays known. */
int
old_clear_jobs(struct request *r, struct err **err)
{
    struct store_job_filter filter = {.kind = JOB_MIGRATE, .vm_name = query_text(r, "vm")};
    struct store_jobs jobs = {0};
    int64_t removed = 0, skipped = 0;

    if (store_job_list(r->store, &filter, &jobs, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < jobs.count; i++) {
        if (job_forget(r, &jobs.items[i], NULL) == 0)
            removed++;
        else
            skipped++;
    }
    store_jobs_done(&jobs);
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:I, s:I, s:s}", "removed", (json_int_t)removed,
                                 "skipped_active", (json_int_t)skipped, "message",
                                 skipped ? "unfinished jobs were kept" : "done"));
}

/* ---- status ------------------------------------------------------------------------------------------ */

static void
append_size(struct str *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        str_appendf(out, "%llu B", (unsigned long long)bytes);
    else
        str_appendf(out, "%.1f %s", value, units[unit]);
}

static void
add_size(json_t *o, const char *name, uint64_t bytes)
{
    CLEANUP(free_charp) char *size_key = xasprintf("%s_size", name);
    CLEANUP(free_charp) char *bytes_key = xasprintf("%s_bytes", name);
    struct str text = STR_INIT(64);

    append_size(&text, bytes);
    json_object_set_new(o, size_key, json_string(str_text(&text)));
    json_object_set_new(o, bytes_key, json_integer((json_int_t)bytes));
    str_done(&text);
}

static json_t *
disk_progress_json(const struct store_disk *disk, const struct store_progress *p, size_t number)
{
    CLEANUP(free_charp) char *name = xasprintf("Disk %zu", number);
    uint64_t planned = p->planned_bytes ? p->planned_bytes : disk->capacity;
    json_t *o = json_object();

    json_object_set_new(o, "unit", json_text(disk->key));
    json_object_set_new(o, "disk_name", json_text(name));
    json_object_set_new(o, "disk_type", json_text(disk->is_boot ? "os" : "data"));
    add_size(o, "provisioned", disk->capacity);
    add_size(o, "used", planned);
    add_size(o, "total", planned);
    add_size(o, "copied", p->written_bytes);
    add_size(o, "remaining", planned > p->read_bytes ? planned - p->read_bytes : 0);
    json_object_set_new(o, "speed_mbps", json_real((double)p->rate_bytes_per_s / (double)MIB));
    json_object_set_new(o, "eta_seconds", json_integer(MAX(p->eta_s, 0)));
    json_object_set_new(o, "progress", json_real(p->percent));
    return o;
}

static void
add_disks(const struct migration_view *view, json_t *o)
{
    CLEANUP(free_charp)
    char *path = view->record.id ? file_join(view->record.directory, "state.json") : NULL;
    CLEANUP(free_charp) char *text = NULL;
    json_t *array = json_array(), *state = NULL, *disks;
    uint64_t rate = 0;
    size_t length;

    for (size_t i = 0; i < view->disks.count; i++) {
        rate += view->progress[i].rate_bytes_per_s;
        json_array_append_new(array,
                              disk_progress_json(&view->disks.items[i], &view->progress[i], i + 1));
    }
    if (path && file_read(path, 4 * MIB, &text, &length, NULL) == 0)
        state = json_loadb(text, length, 0, NULL);
    disks = json_object_get(state, "disks");
    json_object_set_new(o, "disks", disks ? json_incref(disks) : json_object());
    json_object_set_new(o, "disk_progress", array);
    json_object_set_new(o, "transfer_speed_mbps", json_real((double)rate / (double)MIB));
    json_decref(state);
}

static void
add_decision(const struct migration_view *view, json_t *o)
{
    const struct store_migration *m = &view->record;
    bool waits = m->id && m->stage == STAGE_AWAITING_SHUTDOWN && m->is_shutdown_action_required;

    json_object_set_new(o, "finalize_requested", json_boolean(view->is_finalize_requested));
    json_object_set_new(o, "finalize_now_requested", json_boolean(view->is_finalize_now));
    json_object_set_new(o, "awaiting_user_action", json_boolean(waits));
    json_object_set_new(o, "required_action", json_text(waits ? "shutdown_choice" : NULL));
    json_object_set_new(o, "shutdown_reason",
                        json_text(m->shutdown_reason ? m->shutdown_reason : ""));
    json_object_set_new(o, "shutdown_tools_status",
                        json_text(m->shutdown_tools_status ? m->shutdown_tools_status : ""));
    json_object_set_new(o, "shutdown_acpi_attempted", json_boolean(waits));
    json_object_set_new(o, "available_actions",
                        waits ? json_pack("[s, s]", "force_poweroff", "manual_shutdown_done")
                              : json_array());
}

static json_t *
status_json(const struct old_vm *vm, const struct migration_view *view)
{
    const struct store_migration *m = &view->record;
    json_t *o = json_object();

    json_object_set_new(o, "vm_name", json_text(m->id ? m->vm_name : vm->job.vm_name));
    json_object_set_new(o, "vm_moref", json_text(m->id ? m->vm_moref : vm->job.vm_moref));
    json_object_set_new(o, "stage",
                        json_text(m->id ? store_stage_name(m->stage) : "connecting_vcenter"));
    json_object_set_new(
        o, "next_stage",
        json_text(m->id ? migration_next_stage(m->stage, view->is_finalize_requested, true)
                        : "finding_vm"));
    json_object_set_new(o, "progress", json_real(view->percent));
    json_object_set_new(o, "overall_progress", json_real(view->percent));
    json_object_set_new(o, "updated_at", json_time(m->id ? m->updated_at : vm->job.created_at));
    json_object_set_new(o, "last_error", json_text(m->last_error));
    add_decision(view, o);
    add_disks(view, o);
    if (vm->job.id) {
        json_object_set_new(o, "job_id", json_text(vm->job.job_id));
        json_object_set_new(o, "job_status", json_text(old_state(&vm->job)));
        json_object_set_new(o, "job_error", json_text(vm->job.error));
        json_object_set_new(o, "return_code", return_code_json(&vm->job));
    }
    return o;
}

int
old_status(struct request *r, struct err **err)
{
    struct migration_view view = {0};
    struct old_vm vm;
    int rc = old_find(r, r->parts[0], query_text(r, "job_id"), &vm, err);

    if (rc)
        return MIN(rc, 0);
    if (vm.record.id)
        rc = migration_view_load(r->store, r->api->options.control_dir, &vm.record, &view, err);
    if (rc == 0)
        rc = answer_json(r, MHD_HTTP_OK, status_json(&vm, &view));
    migration_view_done(&view);
    old_vm_done(&vm);
    return rc;
}

/* ---- what can be asked for --------------------------------------------------------------------------- */

static int
answer_finalize(struct request *r, const struct old_vm *vm, bool now, struct err **err)
{
    CLEANUP(free_charp) char *plain = file_join(vm->record.directory, "FINALIZE");
    CLEANUP(free_charp) char *at_once = file_join(vm->record.directory, "FINALIZE_NOW");
    enum store_finalize before = STORE_FINALIZE_NONE;
    bool was_requested, is_paused = false;

    if (store_is_paused(r->store, vm->record.id, &is_paused, err) < 0 ||
        store_finalize_get(r->store, vm->record.id, &before, err) < 0)
        return -1;
    if (is_paused)
        return err_set(err, E_PAUSE, "%s is paused: resume it first", vm->record.vm_name);
    if (vm->record.stage != STAGE_DONE &&
        store_finalize_request(r->store, vm->record.id,
                               now ? STORE_FINALIZE_NOW : STORE_FINALIZE_PLAIN, &was_requested,
                               err) < 0)
        return -1;
    if (vm->job.id)
        hub_touch(r->api->hub, &vm->job);
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:o, s:o, s:b, s:b, s:b, s:s}", "vm_name",
                                 json_text(vm->record.vm_name), "finalize_file", json_text(plain),
                                 "finalize_now_file", now ? json_text(at_once) : json_null(),
                                 "already_requested", before != STORE_FINALIZE_NONE,
                                 "already_immediate", before == STORE_FINALIZE_NOW, "immediate",
                                 now || before == STORE_FINALIZE_NOW, "message",
                                 vm->record.stage == STAGE_DONE  ? "it is done already"
                                 : before != STORE_FINALIZE_NONE ? "finalize was requested already"
                                                                 : "finalize is requested"));
}

int
old_finalize(struct request *r, struct err **err)
{
    struct old_vm vm;
    bool now = false;
    int rc;

    if (query_bool(r, "now", &now, err) < 0)
        return -1;
    rc = old_find(r, r->parts[0], query_text(r, "job_id"), &vm, err);
    if (rc)
        return MIN(rc, 0);
    if (!vm.record.id)
        rc = err_set(err, E_JOB_NOT_FOUND, "the migration of %s has not begun", r->parts[0]);
    else
        rc = answer_finalize(r, &vm, now, err);
    old_vm_done(&vm);
    return rc;
}

int
old_shutdown(struct request *r, struct err **err)
{
    const char *action = query_text(r, "action");
    bool is_manual = action && !strcmp(action, "manual");
    struct old_vm vm;
    struct store_job job = {0};
    json_t *input, *body;
    int rc;

    if (!action || (!is_manual && strcmp(action, "force") != 0))
        return err_set(err, E_REQUEST, "action: expected force or manual");
    rc = old_find(r, r->parts[0], query_text(r, "job_id"), &vm, err);
    if (rc)
        return MIN(rc, 0);
    if (!vm.job.id) {
        old_vm_done(&vm);
        return err_set(err, E_JOB_STATE, "no job of %s is running here", r->parts[0]);
    }
    input = json_pack("{s:s}", "choice", action);
    rc = job_act(r, vm.job.job_id, "shutdown", input, &job, err);
    json_decref(input);
    if (rc == 0) {
        body =
            json_pack("{s:o, s:s, s:s}", "vm_name", json_text(job.vm_name), "action", action,
                      "message", is_manual ? "the cutover goes on" : "the VM will be powered off");
        if (is_manual)
            json_object_set_new(body, "powered_off", json_true());
        rc = answer_json(r, MHD_HTTP_OK, body);
    }
    store_job_done(&job);
    old_vm_done(&vm);
    return rc;
}

int
old_retry(struct request *r, struct err **err)
{
    CLEANUP(free_charp) char *path = NULL;
    struct old_vm vm;
    bool is_debug = false;
    int rc;

    if (query_bool(r, "debug", &is_debug, err) < 0)
        return -1;
    rc = old_find(r, r->parts[0], query_text(r, "job_id"), &vm, err);
    if (rc)
        return MIN(rc, 0);
    if (!query_text(r, "spec_file") && vm.job.spec_file && access(vm.job.spec_file, R_OK) == 0)
        path = xstrdup(vm.job.spec_file);
    else
        rc = old_spec_path(r, vm.record.id ? vm.record.vm_name : vm.job.vm_name,
                           query_text(r, "spec_file"), &path, err);
    if (rc == 0)
        rc = old_begin(
            r,
            &(struct old_start){.vm_name = vm.record.id ? vm.record.vm_name : vm.job.vm_name,
                                .spec_file = path,
                                .retry_of = vm.job.id ? vm.job.job_id : "",
                                .vcenter = vm.job.vcenter,
                                .cloudstack = vm.job.cloudstack,
                                .is_debug = is_debug},
            err);
    old_vm_done(&vm);
    return rc;
}

int
old_logs(struct request *r, struct err **err)
{
    struct old_vm vm;
    CLEANUP(free_charp) char *out_path = NULL;
    CLEANUP(free_charp) char *err_path = NULL;
    CLEANUP(free_charp) char *out_text = NULL;
    CLEANUP(free_charp) char *err_text = NULL;
    int64_t lines = 200;
    int rc;

    if (query_int(r, "lines", INT64_MIN, INT64_MAX, &lines, err) < 0)
        return -1;
    lines = MIN(MAX(lines, 10), 2000);
    rc = old_find(r, r->parts[0], query_text(r, "job_id"), &vm, err);
    if (rc)
        return MIN(rc, 0);
    if (vm.job.id) {
        out_path = queue_file(r->api->options.control_dir, vm.job.job_id, QUEUE_STDOUT);
        err_path = queue_file(r->api->options.control_dir, vm.job.job_id, QUEUE_STDERR);
    } else {
        out_path = file_join(vm.record.directory, "migration.log");
        err_path = xstrdup("");
    }
    out_text = log_tail(out_path, lines);
    err_text = log_tail(err_path, lines);
    rc = answer_json(r, MHD_HTTP_OK,
                     json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "vm_name",
                               json_text(vm.record.id ? vm.record.vm_name : vm.job.vm_name),
                               "job_id", json_text(vm.job.job_id), "stdout_path",
                               json_text(out_path), "stderr_path", json_text(err_path), "stdout",
                               json_text(out_text), "stderr", json_text(err_text)));
    old_vm_done(&vm);
    return rc;
}
