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

/* Waits for a job that is known by id.  A job that failed leaves no intent behind: it had no effect. */
static int
follow_job(const struct step *step, const char *job_id, char **ret_result, struct err **err)
{
    json_t *result = NULL;
    struct err *failure = NULL;
    char *text;

    if (cloudstack_job_wait(step->m->cloudstack, job_id, 0, &result, &failure) < 0) {
        if (err_code(failure) == E_CS_JOB)
            (void)store_intent_drop(step->m->store, step->m->record.id, step->name, NULL);
        return err_move(err, &failure);
    }
    text = step->result_of(result);
    json_decref(result);
    if (!text)
        return err_set(err, E_CS_PROTOCOL, "the job %s ended without a result", job_id);
    return finish_step(step, text, ret_result, err);
}

static int
submit_step(const struct step *step, char **ret_result, struct err **err)
{
    CLEANUP(free_charp) char *job_id = NULL;
    struct migration *m = step->m;
    struct err *failure = NULL;

    if (store_intent_begin(m->store, m->record.id, step->name, err) < 0)
        return -1;
    if (step->submit(step, &job_id, &failure) < 0) {
        /* A refusal made nothing; a lost answer may have, and the intent stays to say so. */
        if (err_code(failure) == E_CS_API || err_code(failure) == E_CS_AUTH)
            (void)store_intent_drop(m->store, m->record.id, step->name, NULL);
        return err_move(err, &failure);
    }
    if (store_intent_job(m->store, m->record.id, step->name, job_id, err) < 0)
        return -1;
    return follow_job(step, job_id, ret_result, err);
}

/* An earlier run began this step and did not see its end. */
static int
recover_step(const struct step *step, const struct store_intent *intent, char **ret_result,
             struct err **err)
{
    char *found = NULL;

    migration_log(step->m, LOG_INFO, "Looking up what became of %s", step->name);
    if (intent->job_id) {
        struct err *failure = NULL;

        if (follow_job(step, intent->job_id, ret_result, &failure) == 0)
            return 0;
        if (err_class(failure) == ERR_CLASS_RETRY)
            return err_move(err, &failure);
        err_free(failure); /* the job is not known any more, or failed: the objects decide */
    }
    /* A job whose id we never saw may be at work: until it has ended there is nothing to see. */
    if (cloudstack_settle(step->m->cloudstack, step->command, 0, err) < 0 ||
        step->lookup(step, &found, err) < 0)
        return -1;
    if (found)
        return finish_step(step, found, ret_result, err);
    if (store_intent_drop(step->m->store, step->m->record.id, step->name, err) < 0)
        return -1;
    return submit_step(step, ret_result, err);
}

int
step_do(const struct step *step, char **ret_result, struct err **err)
{
    struct store_intent intent = {0};
    bool is_there = false;
    int result;

    if (store_intent_get(step->m->store, step->m->record.id, step->name, &is_there, &intent, err) <
        0)
        return -1;
    if (is_there && intent.result) {
        *ret_result = take(intent.result);
        result = 0;
    } else if (is_there) {
        result = recover_step(step, &intent, ret_result, err);
    } else {
        result = submit_step(step, ret_result, err);
    }
    if (is_there)
        store_intent_done(&intent);
    return result < 0 ? err_wrap(err, "%s", step->name) : 0;
}
