/* Calls to CloudStack that create something.  Each is recorded before it is made and again when its
 * job id is known; after an interruption the truth is looked up before a call is made again, so that
 * nothing is imported twice and nothing is left out. */
#include "migration/step.h"

#include <string.h>

const char *
step_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

const char *
step_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

char *
step_done(const json_t *job_result)
{
    (void)job_result;
    return xstrdup("done");
}

static int
finish_step(const struct step *step, char *result, char **ret_result, struct err **err)
{
    if (store_intent_end(step->m->store, step->m->record.id, step->name, result, err) < 0) {
        free(result);
        return -1;
    }
    *ret_result = result;
    return 0;
}

/* Waits for a job that is known by id.  A job that failed keeps its intent: what it left behind is
 * looked up before the call is made again. */
static int
follow_job(const struct step *step, const char *job_id, char **ret_result, struct err **err)
{
    json_t *result = NULL;
    char *text;

    if (cloudstack_job_wait(step->m->cloudstack, job_id, 0, &result, err) < 0)
        return -1;
    text = step->result_of(result);
    json_decref(result);
    if (!text && step->lookup(step, &text, err) < 0)
        return -1;
    if (!text)
        return err_set(err, E_CS_PROTOCOL, "the job %s ended and made nothing", job_id);
    return finish_step(step, text, ret_result, err);
}

/* Makes the call; *ret_job_id (owned) stays NULL when it is over. */
static int
begin_step(const struct step *step, char **ret_job_id, char **ret_result, struct err **err)
{
    CLEANUP(free_charp) char *job_id = NULL;
    struct migration *m = step->m;

    if (store_intent_begin(m->store, m->record.id, step->name, err) < 0 ||
        step->submit(step, &job_id, err) < 0)
        return -1;
    if (step->is_sync)
        return finish_step(step, xstrdup("done"), ret_result, err);
    if (store_intent_job(m->store, m->record.id, step->name, job_id, err) < 0)
        return -1;
    *ret_job_id = take(job_id);
    return 0;
}

/* What became of a call that an earlier run made: its job's outcome, else what is there.  When there is
 * nothing the intent is dropped and *ret_result stays NULL. */
static int
look_up(const struct step *step, const struct store_intent *intent, char **ret_result,
        struct err **err)
{
    struct err *failure = NULL;
    char *found = NULL;

    migration_log(step->m, LOG_INFO, "Looking up what became of %s", step->name);
    if (intent->job_id) {
        if (follow_job(step, intent->job_id, ret_result, &failure) == 0)
            return 0;
        if (err_class(failure) == ERR_CLASS_RETRY)
            return err_move(err, &failure);
        err_free(failure); /* the job is not known any more, or failed: the objects decide */
    }
    /* A job whose id we never saw may be at work: until it has ended there is nothing to see. */
    if ((!step->is_sync && cloudstack_settle(step->m->cloudstack, step->command, 0, err) < 0) ||
        step->lookup(step, &found, err) < 0)
        return -1;
    if (found)
        return finish_step(step, found, ret_result, err);
    return store_intent_drop(step->m->store, step->m->record.id, step->name, err);
}

int
step_recover(const struct step *step, char **ret_result, struct err **err)
{
    struct store_intent intent = {0};
    char *found = NULL;
    bool is_there = false;
    int result = 0;

    if (store_intent_get(step->m->store, step->m->record.id, step->name, &is_there, &intent, err) <
        0)
        return -1;
    if (is_there && intent.result)
        found = take(intent.result);
    else if (is_there)
        result = look_up(step, &intent, &found, err);
    else if (step->may_be_done)
        result = step->lookup(step, &found, err);
    if (is_there)
        store_intent_done(&intent);
    if (result < 0)
        return err_wrap(err, "%s", step->name);
    *ret_result = found;
    return 0;
}

/* A call of a run that was killed may reach the server long after, and then ours is refused because the
 * thing is there: so a refusal is looked at too.  @failure (taken) is the one to report otherwise. */
static int
explain_refusal(const struct step *step, struct err **failure, char **ret_result, struct err **err)
{
    CLEANUP(err_freep) struct err *other = NULL;
    char *found = NULL;

    if (err_code(*failure) != E_CS_API && err_code(*failure) != E_CS_JOB)
        return err_move(err, failure);
    if (step_recover(step, &found, &other) < 0)
        log_debug("%s: %s", step->name, err_message(other));
    if (!found)
        return err_move(err, failure);
    migration_log(step->m, LOG_WARNING, "%s: %s; but what it was to do is done", step->name,
                  err_message(*failure));
    err_freep(failure);
    *ret_result = found;
    return 0;
}

/* What only makes life easier holds up nobody. */
static int
leave_out(const struct step *step, struct err **failure, char **ret_result, struct err **err)
{
    if (!step->is_optional || err_code(*failure) == E_CANCELLED ||
        err_class(*failure) == ERR_CLASS_RETRY)
        return err_move(err, failure);
    migration_log(step->m, LOG_WARNING, "%s is left out: %s", step->name, err_message(*failure));
    err_freep(failure);
    (void)store_intent_begin(step->m->store, step->m->record.id, step->name,
                             NULL); /* if looked up */
    return finish_step(step, xstrdup("left out"), ret_result, err);
}

static int
settle_failure(const struct step *step, struct err **failure, char **ret_result, struct err **err)
{
    struct err *refusal = NULL;

    if (explain_refusal(step, failure, ret_result, &refusal) == 0 ||
        leave_out(step, &refusal, ret_result, err) == 0)
        return 0;
    return err_wrap(err, "%s", step->name);
}

/* Notes the first of several errors. */
static void
keep_first(struct err **first, struct err **failure)
{
    if (!*first)
        *first = take(*failure);
    else
        err_freep(failure);
}

int
step_do_all(const struct step *steps, size_t count, char **ret_results, struct err **err)
{
    char **jobs = xcalloc(count + 1, sizeof(*jobs));
    struct err *first = NULL, *failure = NULL;

    for (size_t i = 0; i < count && !first; i++)
        if (step_recover(&steps[i], &ret_results[i], &failure) < 0)
            keep_first(&first, &failure);
    for (size_t i = 0; i < count && !first; i++)
        if (!ret_results[i] && begin_step(&steps[i], &jobs[i], &ret_results[i], &failure) < 0) {
            struct err *final = NULL;

            if (settle_failure(&steps[i], &failure, &ret_results[i], &final) < 0)
                keep_first(&first, &final);
        }
    for (size_t i = 0; i < count; i++)
        if (jobs[i] && follow_job(&steps[i], jobs[i], &ret_results[i], &failure) < 0) {
            struct err *final = NULL;

            if (settle_failure(&steps[i], &failure, &ret_results[i], &final) < 0)
                keep_first(&first, &final);
        }
    for (size_t i = 0; i < count; i++)
        free(jobs[i]);
    free(jobs);
    return first ? err_move(err, &first) : 0;
}

int
step_do(const struct step *step, char **ret_result, struct err **err)
{
    *ret_result = NULL;
    return step_do_all(step, 1, ret_result, err);
}
