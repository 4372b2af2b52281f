/* Copies one disk: opens source and target, moves the extents, and tries again from the last checkpoint
 * when a passing fault ends an attempt.  Runs on a thread of its own; reports, but records nothing of
 * the migration except which blocks are done. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "migration/copy.h"
#include "qcow2/qcow2.h"
#include "source/source.h"

#define MAX_ATTEMPTS 6
#define QUEUE_DEPTH  16

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

int
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
