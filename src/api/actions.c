/* What can be done with a job: requests into the store, and jobs that do it. */
#include <fcntl.h>
#include <string.h>

#include "api/internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "config/config.h"
#include "migration/view.h"
#include "vsphere/vsphere.h"

/* A job and its migration, as they are now. */
struct subject {
    struct request *r;
    struct store_job *job;
    struct store_migration record; /* id 0: there is none yet */
    const json_t *input;
};

static bool
input_is(const struct subject *s, const char *key)
{
    return json_is_true(json_object_get(s->input, key));
}

static int
need_migration(const struct subject *s, const char *what, struct err **err)
{
    if (s->record.id)
        return 0;
    return err_set(err, E_JOB_STATE, "%s has not begun: it cannot be %s", s->job->vm_name, what);
}

static int
need_unfinished(const struct subject *s, const char *what, struct err **err)
{
    if (!store_job_is_over((enum store_job_state)s->job->state))
        return 0;
    return err_set(err, E_JOB_STATE, "the job of %s is %s: it cannot be %s", s->job->vm_name,
                   store_job_state_name((enum store_job_state)s->job->state), what);
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static int
act_finalize(struct subject *s, struct err **err)
{
    bool was_requested, is_paused = false;

    if (need_unfinished(s, "finalized", err) < 0 || need_migration(s, "finalized", err) < 0 ||
        store_is_paused(s->r->store, s->record.id, &is_paused, err) < 0)
        return -1;
    if (is_paused)
        return err_set(err, E_PAUSE, "%s is paused: resume it first", s->job->vm_name);
    return store_finalize_request(s->r->store, s->record.id,
                                  input_is(s, "now") ? STORE_FINALIZE_NOW : STORE_FINALIZE_PLAIN,
                                  &was_requested, err);
}

static int
act_pause(struct subject *s, struct err **err)
{
    bool was_paused;

    if (need_migration(s, "paused", err) < 0)
        return -1;
    return store_pause(s->r->store, s->record.id, &was_paused, err);
}

static int
act_resume(struct subject *s, struct err **err)
{
    bool was_paused;

    if (need_migration(s, "resumed", err) < 0)
        return -1;
    return store_pause_end(s->r->store, s->record.id, &was_paused, err);
}

static int
act_stop(struct subject *s, struct err **err)
{
    return store_job_want(s->r->store, s->job->job_id, JOB_WANTS_STOP, err);
}

/* The existing tool's markers, which the worker takes. */
static int
drop_marker(const struct subject *s, const char *name, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(s->record.directory, name);

    return file_replace(path, "", 0, 0644, err);
}

static int
check_powered_off(const struct subject *s, struct err **err)
{
    CLEANUP(config_freep) struct config *c = NULL;
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;
    enum vsphere_power power;

    if (environment_config(s->r->api, s->r->store, s->job->vcenter, NULL, &c, err) < 0)
        return -1;
    if (server_connect_vcenter(c, 45000, &vsphere, err) < 0 ||
        vsphere_power_state(vsphere, s->record.vm_moref, &power, err) < 0)
        return -1;
    if (power == VSPHERE_POWERED_OFF)
        return 0;
    return err_set(err, E_JOB_STATE, "%s is still powered on", s->record.vm_name);
}

static int
act_shutdown(struct subject *s, struct err **err)
{
    const char *choice = json_string_value(json_object_get(s->input, "choice"));

    if (need_migration(s, "shut down", err) < 0)
        return -1;
    if (!choice || (strcmp(choice, "force") != 0 && strcmp(choice, "manual") != 0))
        return err_set(err, E_REQUEST, "choice: expected force or manual");
    /* The engine may have seen it a moment before the person said so: it is as they want it. */
    if (!strcmp(choice, "manual") && s->record.powered_off_at &&
        s->record.stage > STAGE_AWAITING_SHUTDOWN)
        return 0;
    if (s->record.stage != STAGE_AWAITING_SHUTDOWN)
        return err_set(err, E_JOB_STATE, "%s does not wait for a decision about its shutdown",
                       s->record.vm_name);
    if (!strcmp(choice, "force"))
        return drop_marker(s, "SHUTDOWN_FORCE", err);
    if (check_powered_off(s, err) < 0)
        return -1;
    return drop_marker(s, "SHUTDOWN_MANUAL", err);
}

static int
act_bandwidth(struct subject *s, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = s->record.id};
    const char *limit = json_string_value(json_object_get(s->input, "limit"));
    struct rate_schedule schedule;

    if (need_migration(s, "limited", err) < 0)
        return -1;
    if (!limit)
        return err_set(err, E_REQUEST,
                       "limit: expected a rate such as 200MiB/s, or empty for none");
    if (*limit && rate_schedule_parse(limit, &schedule, err) < 0)
        return -1;
    return store_setting_put(s->r->store, &vm, STORE_BANDWIDTH, *limit ? limit : NULL, err);
}

/* ---- jobs that do it --------------------------------------------------------------------------------- */

static void
copy_job(const struct subject *s, int kind, struct store_job *ret)
{
    const struct store_job *from = s->job;

    *ret = (struct store_job){
        .job_id = job_new_id(),
        .kind = kind,
        .vm_name = xstrdup(from->vm_name),
        .vm_moref = xstrdup(from->vm_moref),
        .vcenter = xstrdup(from->vcenter),
        .vcenter_uuid = xstrdup(from->vcenter_uuid),
        .cloudstack = xstrdup(from->cloudstack),
        .wave = xstrdup(from->wave),
        .priority = from->priority,
        .pool = xstrdup(from->pool),
        .created_at = clock_wall_s(),
        .created_by = xstrdup(s->r->caller.user),
        .retry_of = xstrdup(from->job_id),
    };
}

/* Adds it with @plan, which may be NULL, and makes it the answer. */
static int
begin_job(struct subject *s, struct store_job *fresh, const struct plan *plan, struct err **err)
{
    struct store_jobs jobs = {0};
    int rc;

    vec_push(&jobs, *fresh);
    rc = jobs_begin(s->r, &jobs, plan, err);
    if (rc == 0) {
        store_job_done(s->job);
        *s->job = jobs.items[0];
        vec_done(&jobs);
    } else {
        store_jobs_done(&jobs);
    }
    return rc;
}

/* Somebody's word counts for what they were told of, and for the VM that it was told of. */
static int
check_untouched(const struct subject *s, struct err **err)
{
    if (!input_is(s, "source_untouched"))
        return 0;
    s->r->audit_note = "source_untouched";
    if (s->record.id && s->job->error_code &&
        !strcmp(s->job->error_code, err_code_name(E_SOURCE_CHANGED)))
        return 0;
    return err_set(err, E_JOB_STATE,
                   "source_untouched: the job of %s did not fail because its source was touched",
                   s->job->vm_name);
}

static char *
retry_options(const struct subject *s)
{
    json_t *options = json_pack("{s:b, s:b}", "debug", input_is(s, "debug"), "source_untouched",
                                input_is(s, "source_untouched"));
    char *text = json_dumps(options, JSON_COMPACT);

    json_decref(options);
    return text;
}

/* A copy of the spec: the old job may be forgotten, and its files with it. */
static int
act_retry(struct subject *s, struct err **err)
{
    struct plan_entry entry = {0};
    const struct plan plan = {.items = &entry, .count = 1};
    struct store_job fresh;
    size_t length;
    int rc;

    if (s->job->kind != JOB_MIGRATE ||
        (s->job->state != JOB_FAILED && s->job->state != JOB_STOPPED &&
         s->job->state != JOB_CANCELLED))
        return err_set(err, E_JOB_STATE, "the job of %s is %s: there is nothing to try again",
                       s->job->vm_name, store_job_state_name((enum store_job_state)s->job->state));
    if (check_untouched(s, err) < 0)
        return -1;
    if (!s->job->spec_file ||
        file_read(s->job->spec_file, API_MAX_BODY * 2, &entry.yaml, &length, NULL) < 0)
        return err_set(err, E_JOB_STATE, "the spec of that job is gone");
    copy_job(s, JOB_MIGRATE, &fresh);
    fresh.migration = s->job->migration;
    fresh.host = xstrdup(s->job->host);
    fresh.stage = xstrdup(s->job->stage); /* what is past its base waits for no slot */
    if (s->record.id) {
        free(fresh.vm_moref);
        fresh.vm_moref = xstrdup(s->record.vm_moref);
    }
    fresh.options = retry_options(s);
    rc = begin_job(s, &fresh, &plan, err);
    free(entry.yaml);
    return rc;
}

/* Whichever job works on the migration now, it is that one that has to leave. */
static int
want_cancel_of_others(struct subject *s, struct err **err)
{
    struct store_jobs jobs = {0};
    int rc = 0;

    if (store_job_list(s->r->store,
                       &(struct store_job_filter){.states = 1U << JOB_QUEUED | 1U << JOB_RUNNING |
                                                            1U << JOB_WAITING,
                                                  .kind = JOB_MIGRATE,
                                                  .migration = s->record.id},
                       &jobs, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < jobs.count && rc == 0; i++)
        if (strcmp(jobs.items[i].job_id, s->job->job_id) != 0)
            rc = store_job_want(s->r->store, jobs.items[i].job_id, JOB_WANTS_CANCEL, err);
    store_jobs_done(&jobs);
    return rc;
}

/* One that has not begun has left nothing: it is just not begun. */
static int
act_cancel(struct subject *s, struct err **err)
{
    bool is_active = !store_job_is_over((enum store_job_state)s->job->state);
    struct store_job fresh;

    if (is_active && store_job_want(s->r->store, s->job->job_id, JOB_WANTS_CANCEL, err) < 0)
        return -1;
    if (s->record.id && want_cancel_of_others(s, err) < 0)
        return -1;
    if (!s->record.id)
        return is_active ? 0 : need_migration(s, "cancelled", err);
    copy_job(s, JOB_CANCEL, &fresh);
    fresh.migration = s->record.id;
    free(fresh.vm_moref);
    fresh.vm_moref = xstrdup(s->record.vm_moref);
    if (input_is(s, "keep_files"))
        fresh.options = xstrdup("{\"keep_files\":true}");
    return begin_job(s, &fresh, NULL, err);
}

static int
act_rollback(struct subject *s, struct err **err)
{
    struct store_job fresh;
    json_t *options;

    if (need_migration(s, "rolled back", err) < 0)
        return -1;
    options = json_pack("{s:b, s:b}", "force", input_is(s, "force"), "keep_source_off",
                        input_is(s, "keep_source_off"));
    copy_job(s, JOB_ROLLBACK, &fresh);
    fresh.migration = s->record.id;
    free(fresh.vm_moref);
    fresh.vm_moref = xstrdup(s->record.vm_moref);
    fresh.options = json_dumps(options, JSON_COMPACT);
    json_decref(options);
    return begin_job(s, &fresh, NULL, err);
}

static int
act_rehearse(struct subject *s, struct err **err)
{
    struct store_job fresh;

    if (need_unfinished(s, "rehearsed", err) < 0 || need_migration(s, "rehearsed", err) < 0)
        return -1;
    copy_job(s, JOB_REHEARSE, &fresh);
    fresh.migration = s->record.id;
    return begin_job(s, &fresh, NULL, err);
}

/* ---- all of them ------------------------------------------------------------------------------------- */

int
job_act(struct request *r, const char *job_id, const char *action, const json_t *input,
        struct store_job *ret_job, struct err **err)
{
    static const struct {
        const char *name;
        int (*act)(struct subject *s, struct err **err);
    } actions[] = {
        {"finalize", act_finalize},   {"pause", act_pause},       {"resume", act_resume},
        {"stop", act_stop},           {"retry", act_retry},       {"cancel", act_cancel},
        {"rollback", act_rollback},   {"rehearse", act_rehearse}, {"shutdown", act_shutdown},
        {"bandwidth", act_bandwidth},
    };
    struct subject s = {.r = r, .job = ret_job, .input = input};
    int (*act)(struct subject *, struct err **) = NULL;
    bool is_there = false;
    int rc;

    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (!strcmp(actions[i].name, action))
            act = actions[i].act;
    if (!act)
        return err_set(err, E_REQUEST, "there is no action \"%.40s\"", action);
    if (store_job_get(r->store, job_id, ret_job, err) < 0)
        return -1;
    rc = ret_job->migration ? store_migration_of_job(r->store, ret_job, &is_there, &s.record, err)
                            : 0;
    if (rc == 0)
        rc = act(&s, err);
    store_migration_done(&s.record);
    return rc;
}
