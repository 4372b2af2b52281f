#include "supervisor/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "supervisor/pool.h"

#define STEP_MS    250
#define LOOK_MS    1000
#define PERSIST_MS 10000

/* A job whose process runs, or waits to be started again. */
struct entry {
    struct store_job row;
    struct supervisor_job process;
    struct queue_words argv, environment;
    char *label; /* of the process: the row's name may be replaced by what the worker reports */
    int output_fd, error_fd;
    char *migration_id; /* for the log; NULL: not known */
    int64_t persisted_ms;
    struct queue_live live;
    bool is_over; /* it has ended, and that could not be written yet */
};

struct queue {
    const struct queue_options *options;
    struct store *store;
    struct pool *pool;
    VEC_DECLARE(, struct entry *)
    entries;
    bool is_stopping;
    int64_t next_look_ms;
};

char *
queue_file(const char *control_dir, const char *job_id, const char *suffix)
{
    return xasprintf("%s/jobs/%s%s", control_dir, job_id, suffix);
}

static void
words_done(struct queue_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    vec_done(words);
}

static void
entry_free(struct entry *e)
{
    store_job_done(&e->row);
    free(e->label);
    free(e->migration_id);
    words_done(&e->argv);
    words_done(&e->environment);
    close_fdp(&e->output_fd);
    close_fdp(&e->error_fd);
    free(e);
}

static struct entry *
find_entry(const struct queue *q, int64_t row)
{
    for (size_t i = 0; i < q->entries.count; i++)
        if (q->entries.items[i]->row.id == row)
            return q->entries.items[i];
    return NULL;
}

/* What the log says of a job beside its text. */
static struct log_fields
fields_of(const struct store_job *job)
{
    return (struct log_fields){
        .vm = job->vm_name, .moref = job->vm_moref, .job_id = job->job_id, .stage = job->stage};
}

/* Nothing of a running migration depends on it: what cannot be written now is written next time.  How a job
 * has ended is written until it stands there (retry_saves). */
static int
save(struct queue *q, const struct store_job *job)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    const struct log_fields fields = fields_of(job);
    int rc = store_job_save(q->store, job, &failure);

    if (rc < 0)
        log_with(&fields, LOG_WARNING, "job %s: %s", job->job_id, err_message(failure));
    if (q->options->on_change)
        q->options->on_change(q->options->opaque, job);
    return rc;
}

static void
replace(char **text, const char *with)
{
    if (!with || !*with)
        return;
    free(*text);
    *text = xstrdup(with);
}

/* ---- starting ---------------------------------------------------------------------------------- */

static bool
option_is_set(const struct store_job *job, const char *name)
{
    json_t *options = job->options ? json_loads(job->options, 0, NULL) : NULL;
    bool is_set = json_is_true(json_object_get(options, name));

    json_decref(options);
    return is_set;
}

static void
add(struct queue_words *words, const char *word)
{
    vec_push(words, xstrdup(word));
}

static void
build_argv(const struct queue *q, const struct store_job *job, struct queue_words *argv)
{
    static const char *const commands[] = {
        [JOB_MIGRATE] = "worker", [JOB_CHECK] = "check",       [JOB_REHEARSE] = "rehearse",
        [JOB_CANCEL] = "cancel",  [JOB_ROLLBACK] = "rollback",
    };

    add(argv, commands[job->kind]);
    vec_push(argv, xasprintf("--config=%s", q->options->config_path));
    if (job->kind == JOB_MIGRATE || job->kind == JOB_CHECK)
        vec_push(argv, xasprintf("--spec=%s", job->spec_file));
    else
        vec_push(argv, xasprintf("--vm-id=%s", job->vm_moref ? job->vm_moref : ""));
    if (job->kind == JOB_MIGRATE)
        add(argv, "--report-fd=3");
    if (job->kind == JOB_MIGRATE && job->vm_moref && option_is_set(job, "source_untouched"))
        vec_push(argv, xasprintf("--source-untouched=%s", job->vm_moref));
    if (job->kind == JOB_CHECK)
        add(argv, "--json");
    if (job->kind == JOB_CANCEL || job->kind == JOB_ROLLBACK)
        add(argv, "--yes");
    if (job->kind == JOB_CANCEL && option_is_set(job, "keep_files"))
        add(argv, "--keep-files");
    if (job->kind == JOB_ROLLBACK && option_is_set(job, "force"))
        add(argv, "--force");
    if (job->kind == JOB_ROLLBACK && option_is_set(job, "keep_source_off"))
        add(argv, "--keep-source-off");
    vec_push(argv, NULL);
}

static int
open_log(const struct queue *q, const struct store_job *job, const char *suffix, int *ret_fd,
         struct err **err)
{
    CLEANUP(free_charp) char *path = queue_file(q->options->control_dir, job->job_id, suffix);

    *ret_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (*ret_fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    return 0;
}

static int
prepare(struct queue *q, struct entry *e, struct err **err)
{
    const struct store_job *job = &e->row;

    if (open_log(q, job, QUEUE_STDOUT, &e->output_fd, err) < 0 ||
        open_log(q, job, QUEUE_STDERR, &e->error_fd, err) < 0)
        return -1;
    if (q->options->environment &&
        q->options->environment(q->options->opaque, job, &e->environment, err) < 0)
        return -1;
    if (option_is_set(job, "debug"))
        add(&e->environment, "V2C_VIRT_V2V_DEBUG=1");
    vec_push(&e->environment, NULL);
    if (job->kind != JOB_MIGRATE && job->kind != JOB_CHECK && (!job->vm_moref || !*job->vm_moref))
        return err_set(err, E_JOB_STATE, "which VM of %s is meant is not known", job->vm_name);
    e->label = xstrdup(job->vm_name);
    build_argv(q, job, &e->argv);
    e->process = (struct supervisor_job){
        .label = e->label,
        .argv = (const char *const *)e->argv.items,
        .output_fd = e->output_fd,
        .error_fd = e->error_fd,
        .environment = (const char *const *)e->environment.items,
    };
    return 0;
}

static int
end_failed(struct queue *q, struct store_job *job, const struct err *error)
{
    struct log_fields fields = fields_of(job);

    fields.code = err_code_name(err_code(error));
    job->state = JOB_FAILED;
    job->finished_at = clock_wall_s();
    job->return_code = job->return_code ? job->return_code : 1;
    replace(&job->error, err_message(error));
    replace(&job->error_code, err_code_name(err_code(error)));
    replace(&job->error_hint, err_hint_text(error));
    log_with(&fields, LOG_WARNING, "[job %s] %s of %s failed: %s", job->job_id,
             store_job_kind_name(job->kind), job->vm_name, job->error);
    return save(q, job);
}

/* Takes @job. */
static void
start(struct queue *q, struct store_job *job)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    struct entry *e = xcalloc(1, sizeof(*e));
    struct log_fields fields;

    e->row = *job;
    *job = (struct store_job){0};
    e->output_fd = e->error_fd = -1;
    e->live.eta_s = -1;
    if (prepare(q, e, &failure) < 0) {
        (void)end_failed(q, &e->row, failure); /* unsaved it stays queued, and is tried again */
        entry_free(e);
        return;
    }
    e->row.state = queue_stage_waits(e->row.stage) ? JOB_WAITING : JOB_RUNNING;
    if (!e->row.started_at)
        e->row.started_at = clock_wall_s();
    fields = fields_of(&e->row);
    log_with(&fields, LOG_INFO, "[job %s] %s of %s begins", e->row.job_id,
             store_job_kind_name(e->row.kind), e->row.vm_name);
    if (save(q, &e->row) < 0) { /* before the process is there: a crash finds it and goes on */
        entry_free(e);
        return;
    }
    vec_push(&q->entries, e);
    pool_start(q->pool, (size_t)e->row.id, &e->process);
}

/* ---- what runs --------------------------------------------------------------------------------- */

static void
enter_stage(struct queue *q, struct entry *e, const char *stage)
{
    replace(&e->row.stage, stage);
    e->row.state = queue_stage_waits(stage) ? JOB_WAITING : JOB_RUNNING;
    (void)save(q, &e->row);
}

static void
take_vm(struct queue *q, struct entry *e, const json_t *report)
{
    e->row.migration = json_integer_value(json_object_get(report, "migration"));
    replace(&e->migration_id, json_string_value(json_object_get(report, "migration_id")));
    replace(&e->row.vm_name, json_string_value(json_object_get(report, "name")));
    replace(&e->row.vm_moref, json_string_value(json_object_get(report, "moref")));
    replace(&e->row.vcenter_uuid, json_string_value(json_object_get(report, "vcenter_uuid")));
    replace(&e->row.host, json_string_value(json_object_get(report, "host")));
    enter_stage(q, e, json_string_value(json_object_get(report, "stage")));
}

static void
take_progress(struct queue *q, struct entry *e, const json_t *report)
{
    const json_t *disks = json_object_get(report, "disks");
    struct queue_live live = {.eta_s = -1};
    double sum = 0;
    size_t count = json_array_size(disks);

    for (size_t i = 0; i < count; i++) {
        const json_t *disk = json_array_get(disks, i);
        json_int_t eta = json_integer_value(json_object_get(disk, "eta"));

        sum += json_number_value(json_object_get(disk, "percent"));
        live.rate_bytes_per_s += (uint64_t)json_integer_value(json_object_get(disk, "rate"));
        live.read_bytes += (uint64_t)json_integer_value(json_object_get(disk, "read"));
        if (eta > 0)
            live.eta_s = MAX(live.eta_s, (int64_t)eta);
    }
    e->live = live;
    e->row.progress = count ? (int64_t)(sum * 100 / (double)count) : 0;
    if (q->options->on_progress)
        q->options->on_progress(q->options->opaque, &e->row, &live);
    if (clock_monotonic_ms() - e->persisted_ms >= PERSIST_MS) {
        e->persisted_ms = clock_monotonic_ms();
        (void)store_job_save(q->store, &e->row, NULL);
    }
}

/* A log for programs has all of it in one place; one for people has a file a job. */
static void
relay_line(const struct entry *e, const json_t *report, const char *text)
{
    struct log_fields fields = fields_of(&e->row);
    enum log_level level = LOG_INFO;

    (void)log_level_from_name(json_string_value(json_object_get(report, "level")), &level);
    fields.migration_id = e->migration_id;
    fields.room = "migration";
    log_with(&fields, level, "%s", text);
}

/* The lines a person would have seen on the terminal of a run. */
static void
write_line(struct entry *e, const json_t *report)
{
    const char *text = json_string_value(json_object_get(report, "text"));
    char when[32];

    if (!text)
        return;
    if (log_format() != LOG_TEXT)
        relay_line(e, report, text);
    clock_format_utc(clock_wall_s(), when);
    (void)dprintf(e->output_fd, "[%.10s %.8s] %s\n", when, when + 11, text);
}

static void
on_report(struct queue *q, struct entry *e, const json_t *report)
{
    const char *type = json_string_value(json_object_get(report, "type"));

    if (!type)
        return;
    if (!strcmp(type, "log"))
        write_line(e, report);
    else if (!strcmp(type, "stage"))
        enter_stage(q, e, json_string_value(json_object_get(report, "stage")));
    else if (!strcmp(type, "progress"))
        take_progress(q, e, report);
    else if (!strcmp(type, "vm"))
        take_vm(q, e, report);
    else
        (void)save(q, &e->row); /* a pause, a summary: others look at it anew */
}

/* A check that found something has run well: what it found is its output. */
static bool
is_finding(const struct entry *e, const struct supervisor_event *event)
{
    return e->row.kind == JOB_CHECK && event->exit_status == 1 &&
           err_code(event->error) == E_WORKER_CRASH;
}

static bool
has_migration(struct queue *q, const struct store_job *job)
{
    struct store_migration record = {0};
    bool is_there = false;

    if (!job->migration || store_migration_of_job(q->store, job, &is_there, &record, NULL) < 0)
        return false;
    is_there &= !record.cloudstack_vm_id; /* past its import it is not cancelled */
    store_migration_done(&record);
    return is_there;
}

/* A cancel that came before it was known which migration to clean up has made no job for that. */
static void
add_clean_up(struct queue *q, const struct store_job *job)
{
    struct store_jobs jobs = {0};
    struct store_job fresh = {
        .job_id = xasprintf("%s-cancel", job->job_id),
        .kind = JOB_CANCEL,
        .vm_name = xstrdup(job->vm_name),
        .vm_moref = xstrdup(job->vm_moref),
        .vcenter = xstrdup(job->vcenter),
        .vcenter_uuid = xstrdup(job->vcenter_uuid),
        .cloudstack = xstrdup(job->cloudstack),
        .migration = job->migration,
        .created_at = clock_wall_s(),
        .created_by = xstrdup(job->created_by),
        .retry_of = xstrdup(job->job_id),
    };

    vec_push(&jobs, fresh);
    if (store_jobs_add(q->store, &jobs, NULL) == 0 && q->options->on_change)
        q->options->on_change(q->options->opaque, &jobs.items[0]); /* else there is one already */
    store_jobs_done(&jobs);
}

static int
judge_end(struct queue *q, struct entry *e, const struct supervisor_event *event)
{
    struct store_job *job = &e->row, now = {0};
    bool is_cancelled = event->error && err_code(event->error) == E_CANCELLED;
    const struct log_fields fields = fields_of(job);

    /* People may have asked for something since the row was read. */
    if (store_job_get(q->store, job->job_id, &now, NULL) == 0) {
        job->wanted = now.wanted;
        store_job_done(&now);
    }
    job->return_code = MAX(event->exit_status, 0);
    if (job->kind == JOB_MIGRATE && job->wanted == JOB_WANTS_CANCEL && has_migration(q, job))
        add_clean_up(q, job);
    if (is_cancelled && (q->is_stopping || (q->options->stop && *q->options->stop)) &&
        job->wanted == JOB_WANTS_NOTHING) {
        job->state = JOB_QUEUED; /* goes on when the queue runs again */
        return save(q, job);
    }
    if (event->error && !is_finding(e, event) && !is_cancelled)
        return end_failed(q, job, event->error);
    job->finished_at = clock_wall_s();
    job->state = !is_cancelled                     ? JOB_COMPLETED
                 : job->wanted == JOB_WANTS_CANCEL ? JOB_CANCELLED
                                                   : JOB_STOPPED;
    if (job->state == JOB_COMPLETED)
        job->progress = 10000;
    else
        replace(&job->error, err_message(event->error));
    log_with(&fields, LOG_INFO, "[job %s] %s of %s: %s", job->job_id,
             store_job_kind_name(job->kind), job->vm_name, store_job_state_name(job->state));
    return save(q, job);
}

static void
forget_entry(struct queue *q, struct entry *e)
{
    size_t kept = 0;

    for (size_t i = 0; i < q->entries.count; i++)
        if (q->entries.items[i] != e)
            q->entries.items[kept++] = q->entries.items[i];
    q->entries.count = kept;
    entry_free(e);
}

/* Until it stands in the store that a job has ended it keeps its entry, so that nothing starts it again. */
static void
retry_saves(struct queue *q)
{
    for (size_t i = q->entries.count; i-- > 0;)
        if (q->entries.items[i]->is_over && save(q, &q->entries.items[i]->row) == 0)
            forget_entry(q, q->entries.items[i]);
}

static void
on_pool_event(void *opaque, const struct supervisor_event *event)
{
    struct queue *q = opaque;
    struct entry *e = find_entry(q, (int64_t)event->job);
    struct log_fields fields;

    if (!e)
        return;
    switch (event->kind) {
    case SUPERVISOR_STARTED:
        break;
    case SUPERVISOR_REPORT:
        on_report(q, e, event->report);
        break;
    case SUPERVISOR_RESTART:
        fields = fields_of(&e->row);
        fields.code = err_code_name(err_code(event->error));
        log_with(&fields, LOG_WARNING, "[job %s] %s: %s; starting it again in %d s", e->row.job_id,
                 e->row.vm_name, err_message(event->error), (event->delay_ms + 999) / 1000);
        break;
    case SUPERVISOR_ENDED:
        e->is_over = judge_end(q, e, event) < 0;
        if (!e->is_over)
            forget_entry(q, e);
        q->next_look_ms = 0; /* a slot is free */
        break;
    }
}

/* ---- looking ----------------------------------------------------------------------------------- */

/* What was interrupted goes before what has not begun; else by priority, then by age. */
static int
compare_jobs(const void *a, const void *b)
{
    const struct store_job *x = a, *y = b;

    if (!x->started_at != !y->started_at)
        return x->started_at ? -1 : 1;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void
end_unstarted(struct queue *q, struct store_job *job)
{
    job->state = job->wanted == JOB_WANTS_CANCEL ? JOB_CANCELLED : JOB_STOPPED;
    job->finished_at = clock_wall_s();
    replace(&job->error, "not begun");
    (void)save(q, job);
}

static void
look_at(struct queue *q, const struct queue_view *view, struct store_job *job)
{
    char text[200];

    if (find_entry(q, job->id)) {
        if (job->wanted != JOB_WANTS_NOTHING)
            pool_stop(q->pool, (size_t)job->id, 1);
    } else if (job->wanted != JOB_WANTS_NOTHING) {
        end_unstarted(q, job);
    } else if (job->state == JOB_QUEUED && !queue_waits_for(view, job, text)) {
        struct store_job own = {0};

        job->state = JOB_RUNNING; /* counts for the limits of those that come after it */
        if (store_job_get(q->store, job->job_id, &own, NULL) == 0)
            start(q, &own);
    }
}

static int
look(struct queue *q, struct err **err)
{
    struct store_jobs jobs = {0};
    struct store_waves waves = {0};
    struct queue_limits limits;
    struct queue_view view = {
        .unfinished = &jobs, .waves = &waves, .limits = &limits, .now = clock_wall_s()};
    int rc;

    q->next_look_ms = clock_monotonic_ms() + LOOK_MS;
    retry_saves(q);
    rc = queue_limits_load(q->store, q->options->default_workers, &limits, err);
    if (rc == 0)
        rc = store_wave_list(q->store, &waves, err);
    if (rc == 0)
        rc = store_job_list(
            q->store,
            &(struct store_job_filter){
                .states = 1U << JOB_QUEUED | 1U << JOB_RUNNING | 1U << JOB_WAITING, .kind = -1},
            &jobs, NULL, err);
    if (rc == 0 && jobs.count)
        qsort(jobs.items, jobs.count, sizeof(jobs.items[0]), compare_jobs);
    for (size_t i = 0; rc == 0 && i < jobs.count; i++)
        look_at(q, &view, &jobs.items[i]);
    store_jobs_done(&jobs);
    store_waves_done(&waves);
    return rc;
}

/* Before anything runs: what an earlier life of the service left running is queued again. */
static int
take_up(struct queue *q, struct err **err)
{
    struct store_jobs jobs = {0};

    if (store_job_list(
            q->store,
            &(struct store_job_filter){.states = 1U << JOB_RUNNING | 1U << JOB_WAITING, .kind = -1},
            &jobs, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < jobs.count; i++) {
        const struct log_fields fields = fields_of(&jobs.items[i]);

        jobs.items[i].state = JOB_QUEUED;
        log_with(&fields, LOG_INFO, "[job %s] %s of %s was interrupted and goes on",
                 jobs.items[i].job_id, store_job_kind_name(jobs.items[i].kind),
                 jobs.items[i].vm_name);
        (void)save(q, &jobs.items[i]);
    }
    store_jobs_done(&jobs);
    return 0;
}

/* ---- running ----------------------------------------------------------------------------------- */

static void
read_wake(struct queue *q)
{
    uint64_t count;

    if (q->options->wake_fd >= 0 &&
        read(q->options->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        q->next_look_ms = 0;
}

static void
apply_stop(struct queue *q)
{
    int stop = q->options->stop ? *q->options->stop : 0;

    if (stop && !q->is_stopping) {
        q->is_stopping = true;
        pool_park(q->pool);
    }
    for (size_t i = 0; stop >= 2 && i < q->entries.count; i++)
        pool_stop(q->pool, (size_t)q->entries.items[i]->row.id, 2);
}

static void
loop(struct queue *q)
{
    for (;;) {
        CLEANUP(err_freep) struct err *failure = NULL;

        apply_stop(q);
        if (q->is_stopping && pool_count(q->pool) == 0)
            return;
        if (!q->is_stopping && clock_monotonic_ms() >= q->next_look_ms && look(q, &failure) < 0)
            log_warning("jobs cannot be read, trying again: %s", err_message(failure));
        pool_step(q->pool, STEP_MS, q->options->wake_fd);
        read_wake(q);
        if (q->options->on_tick)
            q->options->on_tick(q->options->opaque);
    }
}

int
queue_lock(const char *control_dir, int *ret_fd, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(control_dir, "service.lock");

    return file_lock(path, ret_fd, err);
}

int
queue_run(const struct queue_options *options, struct err **err)
{
    CLEANUP(free_charp) char *jobs_dir = file_join(options->control_dir, "jobs");
    CLEANUP(store_closep) struct store *store = NULL;
    struct queue q = {.options = options};

    if (file_make_dirs(jobs_dir, 0750, err) < 0)
        return -1;
    if (store_open(options->control_dir, false, &store, err) < 0)
        return -1;
    q.store = store;
    if (options->on_begin && options->on_begin(options->opaque, err) < 0)
        return -1;
    if (take_up(&q, err) < 0)
        return -1;
    q.pool = pool_new(&(struct pool_options){
        .program = options->program, .on_event = on_pool_event, .opaque = &q});
    loop(&q);
    pool_free(q.pool);
    for (size_t i = 0; i < q.entries.count; i++)
        entry_free(q.entries.items[i]);
    vec_done(&q.entries);
    return 0;
}
