/* Asynchronous jobs: one thread runs them in the order of their submission, each a moment after it. */
#include "cloudstack/cs.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define WAIT_STEP_MS 50

const struct cs_job *
cs_job_submit(struct lab_cloudstack *cs, struct cs_request *rq, json_t *result)
{
    struct cs_job *job = xcalloc(1, sizeof(*job));

    cs_new_uuid(job->id);
    (void)snprintf(job->command, sizeof(job->command), "%s", rq->command);
    job->rq = *rq;
    *rq = (struct cs_request){0};
    job->due_ms = clock_monotonic_ms() + cs->job_ms;
    job->created_s = clock_wall_s();
    job->is_made = result != NULL;
    job->result = result;
    vec_push(&cs->jobs, job);
    pthread_cond_broadcast(&cs->wake);
    return job;
}

static json_t *
error_result(const struct cs_error *error)
{
    json_t *text = json_string(error->text);

    return json_pack("{s:i,s:o}", "errorcode", error->code, "errortext",
                     text ? text : json_string("?"));
}

/* A fault at "cloudstack.COMMAND.job" makes the job fail, as a host that does not answer would. */
static bool
job_is_hit(struct lab_cloudstack *cs, const struct cs_job *job, struct cs_error *error)
{
    CLEANUP(free_charp) char *where = xasprintf("cloudstack.%s.job", job->command);
    struct lab_fault fault;

    if (!cs->lab->faults || !lab_fault_take(cs->lab->faults, where, &fault))
        return false;
    (void)cs_fail(error, CS_INTERNAL, "%s", *fault.detail ? fault.detail : "the lab was told to");
    return true;
}

static void
run_job(struct lab_cloudstack *cs, struct cs_job *job)
{
    const struct cs_command *command = cs_find_command(job->command);
    struct cs_error error = {0};
    json_t *result = NULL;
    bool is_hit;

    /* The fault may sleep: not with the mutex. */
    pthread_mutex_unlock(&cs->mutex);
    is_hit = job_is_hit(cs, job, &error);
    pthread_mutex_lock(&cs->mutex);
    if (!is_hit && job->is_made) {
        job->status = 1;
    } else if (!is_hit && command->run(cs, &job->rq, &result, &error) == 0) {
        job->status = 1;
        job->result = result;
    } else {
        json_decref(job->result);
        job->status = 2;
        job->result = error_result(&error);
        job->code = error.code;
    }
    job->completed_s = clock_wall_s();
}

static struct cs_job *
next_due(struct lab_cloudstack *cs)
{
    for (size_t i = 0; i < cs->jobs.count; i++)
        if (cs->jobs.items[i]->status == 0)
            return cs->jobs.items[i]->due_ms <= clock_monotonic_ms() ? cs->jobs.items[i] : NULL;
    return NULL;
}

void *
cs_job_thread(void *opaque)
{
    struct lab_cloudstack *cs = opaque;

    pthread_mutex_lock(&cs->mutex);
    while (!cs->is_stopping) {
        struct cs_job *job = next_due(cs);
        struct timespec until;

        if (job) {
            run_job(cs, job);
            continue;
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_STEP_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&cs->wake, &cs->mutex, &until);
    }
    pthread_mutex_unlock(&cs->mutex);
    return NULL;
}

void
cs_jobs_done(struct lab_cloudstack *cs)
{
    for (size_t i = 0; i < cs->jobs.count; i++) {
        cs_request_done(&cs->jobs.items[i]->rq);
        json_decref(cs->jobs.items[i]->result);
        free(cs->jobs.items[i]);
    }
    vec_done(&cs->jobs);
}

/* The Java class that the real server names a job's command by. */
static json_t *
class_name(const struct cs_job *job)
{
    static const char *const CLASSES[][2] = {
        {"addNicToVirtualMachine", "user.vm.AddNicToVMCmd"},
        {"startVirtualMachine", "admin.vm.StartVMCmdByAdmin"},
        {"stopVirtualMachine", "admin.vm.StopVMCmdByAdmin"},
        {"attachVolume", "admin.volume.AttachVolumeCmdByAdmin"},
        {"importVm", "admin.vm.ImportVmCmd"},
        {"importVolume", "admin.volume.ImportVolumeCmd"},
        {"deployVirtualMachine", "admin.vm.DeployVMCmdByAdmin"},
        {"detachVolume", "admin.volume.DetachVolumeCmdByAdmin"},
        {"unmanageVolume", "admin.volume.UnmanageVolumeCmd"},
        {"unmanageVirtualMachine", "admin.vm.UnmanageVMInstanceCmd"},
        {"destroyVirtualMachine", "admin.vm.DestroyVMCmdByAdmin"},
        {"expungeVirtualMachine", "admin.vm.ExpungeVMCmd"},
        {"destroyVolume", "admin.volume.DestroyVolumeCmdByAdmin"},
        {"removeNicFromVirtualMachine", "admin.vm.RemoveNicFromVMCmdByAdmin"},
        {"updateDefaultNicForVirtualMachine", "admin.vm.UpdateDefaultNicForVMCmdByAdmin"},
        {"updateVmNicIp", "user.vm.UpdateVmNicIpCmd"},
        {"createTags", "user.tag.CreateTagsCmd"},
        {"deleteTags", "user.tag.DeleteTagsCmd"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(CLASSES); i++)
        if (!strcmp(job->command, CLASSES[i][0]))
            return json_sprintf("org.apache.cloudstack.api.command.%s", CLASSES[i][1]);
    return json_sprintf("org.apache.cloudstack.api.command.%sCmd", job->command);
}

int
cs_list_jobs(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
             struct cs_error *error)
{
    json_t *pending = json_array();
    int result;

    for (size_t i = 0; i < cs->jobs.count; i++) {
        const struct cs_job *job = cs->jobs.items[i];
        char created[32];

        if (job->status)
            continue;
        cs_format_time(job->created_s, created);
        json_array_append_new(pending, json_pack("{s:s,s:i,s:o,s:s,s:s}", "jobid", job->id,
                                                 "jobstatus", job->status, "cmd", class_name(job),
                                                 "created", created, "account", "admin"));
    }
    result = cs_list(cs, rq, "asyncjobs", pending, ret, error);
    json_decref(pending);
    return result;
}

int
cs_query_job(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
             struct cs_error *error)
{
    const char *id = cs_get(rq, "jobid");
    const struct cs_job *job = NULL;
    char created[32], completed[32];
    json_t *answer;

    if (!id)
        return cs_fail(error, CS_PARAM,
                       "Expected parameter job id or parameters resource type and "
                       "resource id");
    for (size_t i = 0; i < cs->jobs.count; i++)
        if (!strcmp(cs->jobs.items[i]->id, id))
            job = cs->jobs.items[i];
    if (!job)
        return cs_fail(error, CS_PARAM, "Unable to find a job by id %s", id);
    cs_format_time(job->created_s, created);
    cs_format_time(job->completed_s, completed);
    answer = json_pack("{s:s,s:i,s:i,s:i,s:o,s:s}", "jobid", job->id, "jobstatus", job->status,
                       "jobprocstatus", 0, "jobresultcode", job->code, "cmd", class_name(job),
                       "created", created);
    if (job->status) {
        cs_set_text(answer, "jobresulttype", "object");
        cs_set_text(answer, "completed", completed);
        json_object_set(answer, "jobresult", job->result);
    }
    *ret = answer;
    return 0;
}
