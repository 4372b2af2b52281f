/* Asynchronous jobs.  A job may stay pending for ever when a management server died with it, so every
 * wait has an end. */
#include "cloudstack/internal.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/util.h"

#define DEFAULT_WAIT_MS (60LL * 60 * 1000)
/* The source is off while jobs run: short ones are to be noticed soon. */
#define FIRST_POLL_MS   50

enum job_status {
    JOB_PENDING = 0,
    JOB_SUCCEEDED = 1,
    JOB_FAILED = 2,
};

void
cloudstack_job_done(struct cloudstack_job *job)
{
    json_decref(job->result);
    free(job->error_text);
    *job = (struct cloudstack_job){0};
}

/* A failed job's result is {"errorcode", "errortext"}, or with jobresulttype "text" a plain string. */
static void
read_failure(const struct cloudstack *cs, const json_t *answer, struct cloudstack_job *job)
{
    const json_t *result = json_object_get(answer, "jobresult");
    const char *text = json_string_value(json_object_get(result, "errortext"));

    job->has_failed = true;
    job->error_code = (int)json_integer_value(json_object_get(result, "errorcode"));
    if (!job->error_code)
        job->error_code = (int)json_integer_value(json_object_get(answer, "jobresultcode"));
    if (!text)
        text = json_string_value(result);
    job->error_text = cloudstack_redact(cs, text ? text : "no reason given");
}

int
cloudstack_job_query(struct cloudstack *cs, const char *job_id, struct cloudstack_job *ret_job,
                     struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    struct cloudstack_job job = {0};
    json_t *status;
    int result;

    params_add(&params, "jobid", job_id);
    result = cloudstack_call(cs, CALL_READ, "queryAsyncJobResult", &params, &answer, err);
    params_done(&params);
    if (result < 0)
        return -1;
    status = json_object_get(answer, "jobstatus");
    if (!json_is_integer(status) || json_integer_value(status) < JOB_PENDING ||
        json_integer_value(status) > JOB_FAILED)
        return err_set(err, E_CS_PROTOCOL, "CloudStack tells no status of job %s", job_id);
    if (json_integer_value(status) == JOB_FAILED)
        read_failure(cs, answer, &job);
    if (json_integer_value(status) != JOB_PENDING) {
        job.is_done = true;
        job.result = json_incref(json_object_get(answer, "jobresult"));
    }
    *ret_job = job;
    return 0;
}

static bool
is_transport(enum err_code code)
{
    return code == E_NET || code == E_TIMEOUT || code == E_CS_BUSY || code == E_CS_PROTOCOL ||
           code == E_NET_RESOLVE;
}

int
cloudstack_job_wait(struct cloudstack *cs, const char *job_id, int64_t timeout_ms,
                    json_t **ret_result, struct err **err)
{
    int64_t end = clock_monotonic_ms() + (timeout_ms ? timeout_ms : DEFAULT_WAIT_MS);
    int64_t pause_ms = MIN(cs->poll_ms, FIRST_POLL_MS);

    for (;;) {
        CLEANUP(err_freep) struct err *failure = NULL;
        struct cloudstack_job job = {0};

        if (cloudstack_job_query(cs, job_id, &job, &failure) < 0) {
            if (!is_transport(err_code(failure)) || clock_monotonic_ms() >= end)
                return err_move(err, &failure);
        } else if (job.has_failed) {
            err_set(err, E_CS_JOB, "CloudStack job %s failed: %s (error %d)", job_id,
                    job.error_text, job.error_code);
            cloudstack_job_done(&job);
            return -1;
        } else if (job.is_done) {
            *ret_result = take(job.result);
            return 0;
        } else if (clock_monotonic_ms() >= end) {
            err_set(err, E_TIMEOUT, "CloudStack job %s has not ended in time", job_id);
            return err_hint(err, "a restart of the management server loses jobs: look at the VM's "
                                 "events in CloudStack");
        }
        if (cloudstack_pause(cs, MIN(pause_ms, MAX(end - clock_monotonic_ms(), 1)), err) < 0)
            return -1;
        pause_ms =
            MIN(pause_ms + pause_ms / 4, cs->poll_ms); /* at most a fifth is waited in vain */
    }
}

/* ---- jobs whose ids were lost ----------------------------------------------------------------- */

/* listAsyncJobs names a job by the Java class of its command, "....AddNicToVMCmd" or, for admins,
 * "....AddNicToVMCmdByAdmin". */
static const char *
class_of(const char *command)
{
    static const char *const CLASSES[][2] = {
        {"importVm", "ImportVmCmd"},
        {"importVolume", "ImportVolumeCmd"},
        {"attachVolume", "AttachVolumeCmd"},
        {"addNicToVirtualMachine", "AddNicToVMCmd"},
        {"startVirtualMachine", "StartVMCmd"},
        {"deployVirtualMachine", "DeployVMCmd"},
        {"detachVolume", "DetachVolumeCmd"},
        {"createTags", "CreateTagsCmd"},
        {"destroyVirtualMachine", "DestroyVMCmd"},
        {"removeNicFromVirtualMachine", "RemoveNicFromVMCmd"},
        {"updateDefaultNicForVirtualMachine", "UpdateDefaultNicForVMCmd"},
        {"updateVmNicIp", "UpdateVmNicIpCmd"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(CLASSES); i++)
        if (!strcmp(command, CLASSES[i][0]))
            return CLASSES[i][1];
    return NULL;
}

static int
is_pending(struct cloudstack *cs, const char *class_name, bool *ret_is_pending, struct err **err)
{
    CLEANUP(json_freep) json_t *jobs = NULL;
    const json_t *job;
    bool found = false;
    size_t i;

    if (cloudstack_list(cs, "listAsyncJobs", NULL, &jobs, err) < 0)
        return -1;
    json_array_foreach (jobs, i, job) {
        const char *cmd = json_string_value(json_object_get(job, "cmd"));
        const char *last = cmd ? strrchr(cmd, '.') : NULL;

        if (json_integer_value(json_object_get(job, "jobstatus")) != JOB_PENDING || !cmd)
            continue;
        last = last ? last + 1 : cmd;
        found = found || !strncasecmp(last, class_name, strlen(class_name));
    }
    *ret_is_pending = found;
    return 0;
}

int
cloudstack_settle(struct cloudstack *cs, const char *command, int64_t timeout_ms, struct err **err)
{
    int64_t end = clock_monotonic_ms() + (timeout_ms ? timeout_ms : DEFAULT_WAIT_MS);
    const char *class_name = class_of(command);
    int quiet = 0; /* the lost request itself may have come in after the first look */

    if (!class_name)
        return err_set(err, E_BUG, "no job class is known for %s", command);
    for (;;) {
        CLEANUP(err_freep) struct err *failure = NULL;
        bool pending = true;

        if (is_pending(cs, class_name, &pending, &failure) < 0 && !is_transport(err_code(failure)))
            return err_move(err, &failure);
        quiet = pending ? 0 : quiet + 1;
        if (quiet == 2)
            return 0;
        if (clock_monotonic_ms() >= end)
            return failure ? err_move(err, &failure)
                           : err_set(err, E_TIMEOUT, "CloudStack still has a pending job of %s",
                                     command);
        if (cloudstack_pause(cs, clock_patience_ms(cs->poll_ms), err) < 0)
            return -1;
    }
}
