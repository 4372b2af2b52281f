#include "supervisor/supervisor.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "supervisor/pool.h"

#define TICK_MS 250

struct job {
    bool is_begun, is_ended;
    struct err *error; /* how it ended; NULL: well, or not yet */
};

struct run {
    const struct supervisor_options *options;
    struct pool *pool;
    struct job *jobs;
};

static int
wanted_stop(const struct run *run)
{
    return run->options->stop ? *run->options->stop : 0;
}

static void
tell(const struct run *run, const struct supervisor_event *event)
{
    if (run->options->on_event)
        run->options->on_event(run->options->opaque, event);
}

static void
on_pool_event(void *opaque, const struct supervisor_event *event)
{
    struct run *run = opaque;

    if (event->kind == SUPERVISOR_ENDED) {
        run->jobs[event->job].is_ended = true;
        run->jobs[event->job].error = err_copy(event->error);
    }
    tell(run, event);
}

static void
apply_stop(struct run *run)
{
    int stop = wanted_stop(run);

    for (size_t job = 0; stop && job < run->options->job_count; job++) {
        struct job *j = &run->jobs[job];

        if (j->is_begun) {
            pool_stop(run->pool, job, stop);
            continue;
        }
        err_set(&j->error, E_CANCELLED, "not begun");
        j->is_begun = j->is_ended = true;
        tell(run,
             &(struct supervisor_event){.kind = SUPERVISOR_ENDED, .job = job, .error = j->error});
    }
}

static void
start_what_is_due(struct run *run)
{
    for (size_t job = 0; job < run->options->job_count && !wanted_stop(run); job++) {
        if (run->jobs[job].is_begun)
            continue;
        if (pool_count(run->pool) >= MAX(run->options->max_workers, 1))
            return;
        run->jobs[job].is_begun = true;
        pool_start(run->pool, job, &run->options->jobs[job]);
    }
}

static bool
is_all_ended(const struct run *run)
{
    for (size_t job = 0; job < run->options->job_count; job++)
        if (!run->jobs[job].is_ended)
            return false;
    return true;
}

/* The hints of all, each after its VM; just once when all say the same. */
static void
join_hints(const struct run *run, struct str *ret)
{
    const char *first = NULL;
    bool is_same = true;

    for (size_t job = 0; job < run->options->job_count; job++) {
        const char *hint = err_hint_text(run->jobs[job].error);

        if (hint && first)
            is_same = is_same && !strcmp(hint, first);
        else if (hint)
            first = hint;
    }
    for (size_t job = 0; job < run->options->job_count && !is_same; job++) {
        const char *hint = err_hint_text(run->jobs[job].error);

        if (hint)
            str_appendf(ret, "%s%s: %s", ret->length ? "\n" : "", run->options->jobs[job].label,
                        hint);
    }
    if (first && is_same)
        str_append(ret, first);
}

/* One error of all that failed. */
static int
join_errors(const struct run *run, struct err **err)
{
    struct str text = STR_INIT(1024 * 1024), hints = STR_INIT(1024 * 1024);
    enum err_code code = E_NONE;

    for (size_t job = 0; job < run->options->job_count; job++) {
        const struct err *error = run->jobs[job].error;

        if (!error)
            continue;
        if (code == E_NONE || code == E_CANCELLED)
            code = err_code(error);
        str_appendf(&text, "%s%s: %s", text.length ? "\n" : "", run->options->jobs[job].label,
                    err_message(error));
    }
    if (code != E_NONE) {
        join_hints(run, &hints);
        err_set(err, code, "%s", str_text(&text));
        if (hints.length)
            err_hint(err, "%s", str_text(&hints));
    }
    str_done(&text);
    str_done(&hints);
    return code == E_NONE ? 0 : -1;
}

int
supervisor_run(const struct supervisor_options *options, struct err **err)
{
    struct run run = {.options = options};
    int64_t next_tick = 0;
    int rc;

    run.jobs = xcalloc(options->job_count, sizeof(run.jobs[0]));
    run.pool = pool_new(&(struct pool_options){
        .program = options->program,
        .max_restarts = options->max_restarts,
        .first_restart_delay_ms = options->first_restart_delay_ms,
        .on_event = on_pool_event,
        .opaque = &run,
    });
    while (!is_all_ended(&run)) {
        apply_stop(&run);
        start_what_is_due(&run);
        /* A signal that sets *stop interrupts it, or is seen at the next tick. */
        pool_step(run.pool, TICK_MS, -1);
        if (options->on_tick && clock_monotonic_ms() >= next_tick) {
            next_tick = clock_monotonic_ms() + TICK_MS;
            options->on_tick(options->opaque);
        }
    }
    rc = join_errors(&run, err);
    for (size_t job = 0; job < options->job_count; job++)
        err_free(run.jobs[job].error);
    free(run.jobs);
    pool_free(run.pool);
    return rc;
}
