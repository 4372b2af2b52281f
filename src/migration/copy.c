/* Copies the disks of a VM in parallel, a thread a disk.  Threads report; only the migration's own thread
 * records. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "migration/copy.h"

#define TICK_MS 250

static void *
run_task(void *opaque)
{
    struct copy_task *task = opaque;
    struct err *failure = NULL;

    if (copy_disk(task, &failure) < 0)
        err_wrap(&failure, "disk %s", task->disk->address);
    store_closep(&task->store);
    vec_done(&task->plan);
    SCOPE_LOCK(&task->run->mutex);
    task->error = failure;
    task->state = TASK_ENDED;
    pthread_cond_signal(&task->run->ended);
    return NULL;
}

/* Takes over what the threads reported, so that it can be shown. */
static void
collect_progress(struct copy_run *run)
{
    const char *stage =
        run->copy->pass == PASS_VERIFY ? "verify" : store_stage_name(run->m->record.stage);

    SCOPE_LOCK(&run->mutex);
    for (size_t i = 0; i < run->task_count; i++) {
        const struct transfer_progress *p = &run->tasks[i].progress;
        struct store_progress *shown = &run->m->progress[run->tasks[i].index];
        uint64_t all = p->planned_bytes + p->skipped_bytes;
        uint64_t done = p->copied_bytes + p->zeroed_bytes + p->same_bytes + p->skipped_bytes;

        *shown = (struct store_progress){
            .planned_bytes = all,
            .read_bytes = done,
            .written_bytes = p->copied_bytes,
            .zero_bytes = p->zeroed_bytes,
            .rate_bytes_per_s = p->rate_bytes_per_s,
            .eta_s = p->eta_s,
            .percent = run->tasks[i].state == TASK_SETTLED && !run->tasks[i].error ? 100.0
                       : all ? (double)done * 100.0 / (double)all
                             : 0.0,
            .at = clock_wall_s(),
        };
        if (run->tasks[i].waits_for[0])
            snprintf(shown->stage, sizeof(shown->stage), "waits for %.20s",
                     run->tasks[i].waits_for);
        else
            snprintf(shown->stage, sizeof(shown->stage), "%s", stage);
    }
}

/* Adds what this run did to the disk's account. */
static void
account(struct copy_run *run, const struct copy_task *task)
{
    struct store_disk *disk = &run->m->disks.items[task->index];

    disk->verified_bytes += task->verified_bytes;
    disk->mismatched_blocks += task->mismatched_blocks;
    if (run->copy->pass != PASS_BASE)
        return;
    disk->base_bytes +=
        task->progress.copied_bytes + task->progress.zeroed_bytes + task->progress.same_bytes;
    disk->base_ms += (uint64_t)MAX(task->progress.elapsed_ms, 0);
}

/* Joins a thread that has ended and records what it did. */
static int
settle(struct copy_run *run, struct copy_task *task, struct err **err)
{
    pthread_join(task->thread, NULL);
    task->state = TASK_SETTLED;
    account(run, task);
    if (!task->error)
        return run->copy->on_complete(run->m, task->index, err);
    run->cancel = 1; /* the siblings stop at their next checkpoint and go on from it another time */
    return 0;
}

static int
start_tasks(struct copy_run *run, size_t *running, struct err **err)
{
    size_t limit = (size_t)MAX(run->m->spec->parallel_disks, 1);

    for (size_t i = 0; i < run->task_count && *running < limit && !run->cancel; i++) {
        int failure;

        if (run->tasks[i].state != TASK_WAITING)
            continue;
        run->tasks[i].state = TASK_RUNNING;
        failure = pthread_create(&run->tasks[i].thread, NULL, run_task, &run->tasks[i]);
        if (failure) {
            run->tasks[i].state = TASK_WAITING;
            return err_set_errno(err, E_MEMORY, failure, "a thread for disk %s",
                                 run->tasks[i].disk->address);
        }
        (*running)++;
    }
    return 0;
}

static struct copy_task *
wait_for_end(struct copy_run *run)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    SCOPE_LOCK(&run->mutex);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < run->task_count; i++)
            if (run->tasks[i].state == TASK_ENDED)
                return &run->tasks[i];
        if (pass == 0)
            pthread_cond_timedwait(&run->ended, &run->mutex, &until);
    }
    return NULL;
}

/* A VM that is off waits for the final pass: that is not paused. */
static bool
is_to_pause(struct copy_run *run)
{
    if (run->copy->pass != PASS_FINAL && migration_is_paused(run->m))
        run->is_pausing = true;
    return run->is_pausing;
}

/* Drives all tasks to their end.  A failure of our own (recording, starting) cancels the others. */
static int
drive(struct copy_run *run, struct err **err)
{
    struct err *own = NULL;
    size_t running = 0;

    for (;;) {
        struct copy_task *ended;

        limits_follow(&run->limits);
        if (!own && start_tasks(run, &running, &own) < 0)
            run->cancel = 1;
        if (running == 0)
            break;
        ended = wait_for_end(run);
        if (ended) {
            running--;
            if (settle(run, ended, own ? NULL : &own) < 0)
                run->cancel = 1;
        }
        if (migration_is_stopped(run->m) || is_to_pause(run))
            run->cancel = 1;
        if (!run->cancel && run->copy->gives_way && run->copy->gives_way(run->m)) {
            run->has_given_way = true;
            run->cancel = 1;
        }
        collect_progress(run);
        migration_report_progress(run->m, false);
        /* Nothing is waited for; this only keeps the session alive. */
        (void)migration_wait(run->m, 0, NULL, NULL);
    }
    collect_progress(run);
    migration_report_progress(run->m, true);
    return own ? err_move(err, &own) : 0;
}

/* The first error that is not the mere consequence of another. */
static int
first_error(struct copy_run *run, struct err **err)
{
    struct copy_task *blamed = NULL;
    bool is_complete = true;

    for (size_t i = 0; i < run->task_count; i++) {
        struct copy_task *task = &run->tasks[i];

        is_complete = is_complete && task->state == TASK_SETTLED && !task->error;
        if (task->error && (!blamed || (err_code(blamed->error) == E_CANCELLED &&
                                        err_code(task->error) != E_CANCELLED)))
            blamed = task;
    }
    if (blamed && err_code(blamed->error) != E_CANCELLED)
        return err_move(err, &blamed->error);
    if (is_complete || run->has_given_way)
        return 0;
    if (migration_check_stop(run->m, err) < 0)
        return -1;
    if (run->is_pausing)
        return err_set(err, E_PAUSE, "paused on request");
    return err_set(err, E_BUG, "disks are missing from the copy and nothing says why");
}

int
migration_copy_disks(struct migration *m, const struct migration_copy *copy, struct err **err)
{
    struct copy_run run = {.m = m, .copy = copy};
    int result;

    /* A VM that is off waits for the final pass: nothing slows that down. */
    if (limits_open(&run.limits, m, copy->pass == PASS_FINAL, err) < 0)
        return -1;
    run.tasks = xcalloc(m->disks.count, sizeof(*run.tasks));
    for (size_t i = 0; i < m->disks.count; i++)
        if (!copy->is_wanted || copy->is_wanted[i])
            run.tasks[run.task_count++] =
                (struct copy_task){.run = &run, .index = i, .disk = &m->disks.items[i]};
    pthread_mutex_init(&run.mutex, NULL);
    pthread_cond_init(&run.ended, NULL);
    result = drive(&run, err);
    if (result == 0)
        result = first_error(&run, err);
    for (size_t i = 0; i < run.task_count; i++)
        err_free(run.tasks[i].error);
    pthread_cond_destroy(&run.ended);
    pthread_mutex_destroy(&run.mutex);
    free(run.tasks);
    limits_close(&run.limits);
    return result;
}
