/* Copies the disks of a VM in parallel: a thread a disk, which opens source and target, moves the
 * extents, and is tried again from its last checkpoint when a passing fault ends it.  Threads report;
 * only the migration's own thread records. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "migration/internal.h"
#include "qcow2/qcow2.h"
#include "source/source.h"
#include "transfer/transfer.h"

#define MAX_ATTEMPTS 6
#define QUEUE_DEPTH  16
#define TICK_MS      250

enum task_state {
    TASK_WAITING,
    TASK_RUNNING,
    TASK_ENDED,   /* the thread has said so */
    TASK_SETTLED, /* and the migration has taken note */
};

struct copy_run;
struct copy_task {
    struct copy_run *run;
    size_t index;
    const struct store_disk *disk; /* only read while the task runs */
    pthread_t thread;
    struct extents plan; /* of this attempt */
    struct store *store; /* the thread's own */
    struct disk_pool *pool;
    size_t recorded_blocks; /* of the base copy, at its best */
    bool has_advanced;      /* since an attempt failed last: more blocks are recorded than ever */
    enum task_state state;  /* run->mutex */
    struct transfer_progress progress; /* run->mutex */
    struct err *error;                 /* run->mutex */
};

struct copy_run {
    struct migration *m;
    const struct migration_copy *copy;
    struct copy_task *tasks;
    size_t task_count;
    struct transfer_pace *pace; /* of all disks together; NULL: none */
    uint64_t pace_bytes_per_s;  /* as set last */
    volatile int cancel;        /* a sibling failed, or the migration is to stop */
    pthread_mutex_t mutex;
    pthread_cond_t ended;
};

static int
open_source(struct copy_task *task, struct disk_source **ret_source, struct err **err)
{
    const struct migration *m = task->run->m;
    CLEANUP(free_charp) char *server = NULL;
    struct source_vddk_options options = {
        .libdir = m->config->migration.vddk_path,
        .user = m->config->vcenter.user,
        .password = m->config->vcenter.password,
        .thumbprint = m->thumbprint,
        .vm_moref = m->record.vm_moref,
        .snapshot_moref = task->run->copy->snapshot,
        .disk_path = task->disk->source_path,
        .expected_size = task->disk->capacity,
        .queue_depth = QUEUE_DEPTH,
        .pool = task->pool,
    };

    if (vsphere_split_host(m->config->vcenter.host, false, &server, &options.port, err) < 0)
        return -1;
    options.server = server;
    return source_vddk_open(&options, ret_source, err);
}

static size_t
count_blocks(const struct transfer_bitmap *bitmap)
{
    size_t count = 0;

    for (size_t i = 0; i < transfer_bitmap_bytes(bitmap); i++)
        count += (size_t)__builtin_popcount(bitmap->bits[i]);
    return count;
}

/* The blocks that earlier attempts have done. */
static int
load_bitmap(struct copy_task *task, struct transfer_bitmap *bitmap, bool *ret_is_there,
            struct err **err)
{
    CLEANUP(free_charp) char *bits = NULL;
    size_t length = 0;

    transfer_bitmap_init(bitmap, task->disk->capacity);
    if (store_bitmap_load(task->store, task->disk->id, (void **)&bits, &length, err) < 0)
        return -1;
    *ret_is_there = bits != NULL;
    if (bits && length == transfer_bitmap_bytes(bitmap))
        memcpy(bitmap->bits, bits, length);
    task->recorded_blocks = MAX(task->recorded_blocks, count_blocks(bitmap));
    return 0;
}

static int
save_bitmap(struct copy_task *task, const struct transfer_bitmap *bitmap, struct err **err)
{
    return store_bitmap_save(task->store, task->disk->id, bitmap->bits,
                             transfer_bitmap_bytes(bitmap), err);
}

/* A file is made once.  From then on the disk has a bitmap until its base is complete: a file that is
 * missing then is an unmounted pool or a loss, and making another under the mount point would hide
 * it. */
static int
open_target(struct copy_task *task, struct transfer_bitmap *bitmap, struct qcow2_image **ret_image,
            struct err **err)
{
    const struct store_disk *disk = task->disk;
    char tag[64];
    struct qcow2_options options = {
        .owner_id = tag, .pool = task->pool, .queue_depth = QUEUE_DEPTH};
    bool had_bitmap;

    migration_tag(task->run->m, tag);
    if (load_bitmap(task, bitmap, &had_bitmap, err) < 0)
        return -1;
    if (access(disk->target_path, F_OK) == 0)
        return qcow2_resume(disk->target_path, disk->capacity, &options, ret_image, err);
    if (task->run->copy->pass != PASS_BASE || had_bitmap) {
        err_set(err, E_TARGET_FORMAT, "%s is gone", disk->target_path);
        return err_hint(err,
                        "is the pool mounted? If the file is really lost, run `v2c-engine forget "
                        "--vm-id %s` and begin anew",
                        task->run->m->record.vm_moref);
    }
    if (qcow2_create(disk->target_path, disk->capacity, &options, ret_image, err) < 0)
        return -1;
    return save_bitmap(task, bitmap, err);
}

struct checkpoint_context {
    struct copy_task *task;
    struct transfer_bitmap *bitmap;
};

static int
on_checkpoint(void *opaque, const struct transfer_progress *progress, struct err **err)
{
    struct checkpoint_context *context = opaque;
    struct copy_task *task = context->task;
    size_t blocks;

    (void)progress;
    if (task->run->copy->pass != PASS_BASE)
        return 0;
    if (save_bitmap(task, context->bitmap, err) < 0)
        return -1;
    blocks = count_blocks(context->bitmap);
    task->has_advanced = task->has_advanced || blocks > task->recorded_blocks;
    task->recorded_blocks = MAX(task->recorded_blocks, blocks);
    return 0;
}

static void
on_progress(void *opaque, const struct transfer_progress *progress)
{
    struct checkpoint_context *context = opaque;
    struct copy_task *task = context->task;

    SCOPE_LOCK(&task->run->mutex);
    task->progress = *progress;
}

/* A base copy reads what the source has allocated, and what the target has mapped: an interrupted
 * copy of an older snapshot may have written blocks that are unallocated by now. */
static int
make_plan(struct copy_task *task, struct disk_source *source, struct qcow2_image *image,
          struct err **err)
{
    const struct migration_copy *copy = task->run->copy;

    task->plan.count = 0;
    if (copy->plans) {
        for (size_t i = 0; i < copy->plans[task->index].count; i++)
            vec_push(&task->plan, copy->plans[task->index].items[i]);
        return 0;
    }
    if (source->ops->extents(source, 0, source->size, &task->plan, err) < 0 ||
        qcow2_mapped(image, &task->plan, err) < 0)
        return -1;
    return extents_normalize(&task->plan, task->disk->capacity, 0, true, err);
}

static int
transfer_disk(struct copy_task *task, struct disk_source *source, struct qcow2_image *image,
              struct transfer_bitmap *bitmap, struct err **err)
{
    struct checkpoint_context context = {task, bitmap};
    struct transfer_job job = {
        .source = source,
        .target = qcow2_target(image),
        .pool = task->pool,
        .plan = &task->plan,
        .done = task->run->copy->pass == PASS_BASE ? bitmap : NULL,
        .on_checkpoint = on_checkpoint,
        .on_progress = on_progress,
        .opaque = &context,
        .cancel = &task->run->cancel,
        .pace = task->run->pace,
    };

    return transfer_run(&job, NULL, err);
}

/* A place among the handles of all workers; the final sync does not wait in line, because a VM that is
 * off waits with it. */
static int
take_slot(struct copy_task *task, int *ret_slot, struct err **err)
{
    if (task->run->copy->pass == PASS_FINAL)
        return 0;
    return migration_slot_take(task->run->m->config->migration.control_dir, &task->run->cancel,
                               ret_slot, err);
}

/* One attempt, from opening to closing.  The image is finished after the final pass. */
static int
copy_once(struct copy_task *task, struct err **err)
{
    CLEANUP(close_fdp) int slot = -1; /* given back after the source is closed */
    CLEANUP(disk_source_closep) struct disk_source *source = NULL;
    CLEANUP(qcow2_closep) struct qcow2_image *image = NULL;
    struct transfer_bitmap bitmap = {0};
    enum migration_pass pass = task->run->copy->pass;
    bool is_empty = task->run->copy->plans && task->run->copy->plans[task->index].count == 0;
    int result = -1;

    if (is_empty && pass != PASS_FINAL)
        return 0;
    if (open_target(task, &bitmap, &image, err) < 0)
        goto out;
    if (!is_empty && (take_slot(task, &slot, err) < 0 || open_source(task, &source, err) < 0 ||
                      make_plan(task, source, image, err) < 0 ||
                      transfer_disk(task, source, image, &bitmap, err) < 0))
        goto out;
    result = pass == PASS_FINAL ? qcow2_finish(&image, err) : 0;
out:
    transfer_bitmap_done(&bitmap);
    return result;
}

/* Waits before the next attempt; false when it is time to give up. */
static bool
worth_another(struct copy_task *task, unsigned attempt, const struct err *failure)
{
    if (err_class(failure) != ERR_CLASS_RETRY || attempt + 1 >= MAX_ATTEMPTS)
        return false;
    log_warning("[%s] %s; trying again from the last checkpoint", task->disk->name,
                err_message(failure));
    for (int64_t left = clock_patience_ms(1000LL << attempt); left > 0 && !task->run->cancel;
         left -= 100)
        clock_sleep_ms(MIN(left, 100));
    return !task->run->cancel;
}

static int
copy_disk(struct copy_task *task, struct err **err)
{
    size_t at_once =
        MIN(task->run->m->disks.count, (size_t)MAX(task->run->m->spec->parallel_disks, 1));

    task->pool = disk_pool_new(disk_pool_share(at_once), err);
    if (!task->pool ||
        store_open(task->run->m->config->migration.control_dir, true, &task->store, err) < 0)
        return -1;
    for (unsigned attempt = 0;; attempt++) {
        struct err *failure = NULL;

        if (copy_once(task, &failure) == 0)
            return 0;
        if (take(task->has_advanced)) /* a copy of many hours meets many faults */
            attempt = 0;
        if (!worth_another(task, attempt, failure))
            return err_move(err, &failure);
        err_free(failure);
    }
}

static void *
run_task(void *opaque)
{
    struct copy_task *task = opaque;
    struct err *failure = NULL;

    if (copy_disk(task, &failure) < 0)
        err_wrap(&failure, "disk %s", task->disk->address);
    store_closep(&task->store);
    disk_pool_freep(&task->pool);
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
    const char *stage = store_stage_name(run->m->record.stage);

    SCOPE_LOCK(&run->mutex);
    for (size_t i = 0; i < run->task_count; i++) {
        const struct transfer_progress *p = &run->tasks[i].progress;
        struct store_progress *shown = &run->m->progress[run->tasks[i].index];
        uint64_t all = p->planned_bytes + p->skipped_bytes;
        uint64_t done = p->copied_bytes + p->zeroed_bytes + p->skipped_bytes;

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
        snprintf(shown->stage, sizeof(shown->stage), "%s", stage);
    }
}

/* Adds what this run of a base copy moved to the disk's account. */
static void
account(struct copy_run *run, const struct copy_task *task)
{
    struct store_disk *disk = &run->m->disks.items[task->index];

    if (run->copy->pass != PASS_BASE)
        return;
    disk->base_bytes += task->progress.copied_bytes + task->progress.zeroed_bytes;
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

/* What the spec says for this time of day. */
static void
set_pace(struct copy_run *run)
{
    time_t now = clock_wall_s();
    struct tm local;
    uint64_t rate;
    char text[32];

    if (!run->pace || !localtime_r(&now, &local))
        return;
    rate = rate_schedule_at(&run->m->spec->bandwidth, local.tm_hour * 60 + local.tm_min);
    if (rate == run->pace_bytes_per_s)
        return;
    run->pace_bytes_per_s = rate;
    transfer_pace_set(run->pace, rate, clock_monotonic_ms());
    snprintf(text, sizeof(text), "%" PRIu64 " KiB/s", rate >> 10);
    log_info("[copy] bandwidth limit: %s", rate ? text : "none");
}

/* Drives all tasks to their end.  A failure of our own (recording, starting) cancels the others. */
static int
drive(struct copy_run *run, struct err **err)
{
    struct err *own = NULL;
    size_t running = 0;

    for (;;) {
        struct copy_task *ended;

        set_pace(run);
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
        if (migration_is_stopped(run->m))
            run->cancel = 1;
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
    if (is_complete)
        return 0;
    if (migration_check_stop(run->m, err) < 0)
        return -1;
    return err_set(err, E_BUG, "disks are missing from the copy and nothing says why");
}

int
migration_copy_disks(struct migration *m, const struct migration_copy *copy, struct err **err)
{
    struct copy_run run = {.m = m, .copy = copy};
    int result;

    /* A VM that is off waits for the final pass: nothing slows that down. */
    if (m->spec->bandwidth.text[0] && copy->pass != PASS_FINAL)
        run.pace = transfer_pace_new();
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
    transfer_pace_freep(&run.pace);
    return result;
}
