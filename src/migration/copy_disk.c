/* Copies one disk: opens source and target, moves the extents, and tries again from the last checkpoint
 * when a passing fault ends an attempt.  Runs on a thread of its own; reports, but records nothing of
 * the migration except which blocks are done. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/clock.h"
#include "io/io.h"
#include "migration/copy.h"
#include "qcow2/qcow2.h"
#include "source/source.h"

#define MAX_ATTEMPTS 6

static size_t
count_blocks(const struct transfer_bitmap *bitmap)
{
    size_t count = 0;

    for (size_t i = 0; i < transfer_bitmap_bytes(bitmap); i++)
        count += (size_t)__builtin_popcount(bitmap->bits[i]);
    return count;
}

static enum store_bitmap_kind
bitmap_kind(const struct copy_task *task)
{
    return task->run->copy->pass == PASS_VERIFY ? STORE_BITMAP_VERIFIED : STORE_BITMAP_DONE;
}

/* What the done blocks of this pass are true of.  What was verified stays so until it is written. */
static const char *
bitmap_as_of(const struct copy_task *task)
{
    if (task->run->copy->pass == PASS_VERIFY)
        return NULL;
    return task->run->copy->as_of ? task->run->copy->as_of : task->disk->pending_change_id;
}

static bool
is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* The blocks that earlier attempts have done. */
static int
load_bitmap(struct copy_task *task, struct transfer_bitmap *bitmap, bool *ret_is_there,
            struct err **err)
{
    CLEANUP(store_bitmap_done) struct store_bitmap found = {0};

    transfer_bitmap_init(bitmap, task->disk->capacity);
    if (store_bitmap_load(task->store, task->disk->id, bitmap_kind(task), &found, err) < 0)
        return -1;
    *ret_is_there = found.bits != NULL;
    if (found.bits && found.length == transfer_bitmap_bytes(bitmap) &&
        is_same_text(found.as_of, bitmap_as_of(task)))
        memcpy(bitmap->bits, found.bits, found.length);
    task->recorded_blocks = MAX(task->recorded_blocks, count_blocks(bitmap));
    return 0;
}

static int
save_bitmap(struct copy_task *task, const struct transfer_bitmap *bitmap, struct err **err)
{
    return store_bitmap_save(task->store, task->disk->id, bitmap_kind(task), bitmap_as_of(task),
                             bitmap->bits, transfer_bitmap_bytes(bitmap), err);
}

/* What one attempt has open. */
struct attempt {
    struct copy_task *task;
    struct transfer_bitmap bitmap;
    struct qcow2_image *image;
    struct transfer_digests *digests;
    struct disk_source *source;
    bool is_new_file;
};

/* In this order: what the slot stands for is given back before it. */
static void
attempt_done(struct attempt *attempt)
{
    disk_source_closep(&attempt->source);
    transfer_digests_closep(&attempt->digests);
    qcow2_closep(&attempt->image);
    transfer_bitmap_done(&attempt->bitmap);
    disk_pool_freep(&attempt->task->pool);
    migration_slot_freep(&attempt->task->slot);
}

/* A file is made once.  From then on the disk has a bitmap until its base is complete: a file that is
 * missing then is an unmounted pool or a loss, and making another under the mount point would hide
 * it. */
static int
open_image(struct attempt *attempt, const char *tag, struct err **err)
{
    struct copy_task *task = attempt->task;
    const struct store_disk *disk = task->disk;
    struct qcow2_options options = {
        .owner_id = tag,
        .cluster_bits = task->run->m->config->migration.qcow2_cluster_bits,
        .pool = task->pool,
        .queue_depth = COPY_QUEUE_DEPTH,
    };
    CLEANUP(err_freep) struct err *warning = NULL;
    bool had_bitmap;
    struct stat st;

    if (load_bitmap(task, &attempt->bitmap, &had_bitmap, err) < 0)
        return -1;
    if (io_path_stat(disk->target_path, &st) == 0)
        return qcow2_resume(disk->target_path, disk->capacity, &options, &attempt->image, err);
    if (errno != ENOENT && errno != ENOTDIR) /* a share in trouble: nothing is gone yet */
        return err_set_errno(err, E_IO, errno, "%s", disk->target_path);
    if (task->run->copy->pass != PASS_BASE || had_bitmap) {
        err_set(err, E_TARGET_FORMAT, "%s is gone", disk->target_path);
        return err_hint(err,
                        "is the pool mounted? If the file is really lost, run `v2c-engine forget "
                        "--vm-id %s` and begin anew",
                        task->run->m->record.vm_moref);
    }
    attempt->is_new_file = true;
    if (qcow2_create(disk->target_path, disk->capacity, &options, &attempt->image, err) < 0)
        return -1;
    /* Now, and not only when the VM is off and waits. */
    if (qcow2_check_access(disk->target_path, &warning, err) < 0)
        return -1;
    if (warning)
        log_warning("[%s] %s: %s", disk->name, err_message(warning), err_hint_text(warning));
    return save_bitmap(task, &attempt->bitmap, err);
}

static int
open_target(struct attempt *attempt, struct err **err)
{
    const struct migration *m = attempt->task->run->m;
    CLEANUP(free_charp)
    char *path = migration_digests_path(m->record.directory, attempt->task->disk->name);
    char tag[64];

    migration_tag(m, tag);
    if (open_image(attempt, tag, err) < 0)
        return -1;
    return transfer_digests_open(path, tag, attempt->is_new_file, &attempt->digests, err);
}

/* ---- the plan --------------------------------------------------------------------------------- */

#define SAMPLE_SHARE 50 /* one block in so many */
#define SAMPLE_LEAST 64 /* blocks */

/* Keeps some blocks of the plan, others in each round. */
static void
take_sample(struct extents *plan, uint64_t seed)
{
    uint64_t blocks = extents_total(plan) / TRANSFER_BLOCK + 1;
    uint64_t share = MAX(MIN(SAMPLE_SHARE, blocks / SAMPLE_LEAST), 1);
    struct extents kept = {0};

    for (size_t i = 0; i < plan->count; i++) {
        struct extent e = plan->items[i];

        for (uint64_t at = 0; at < e.length; at += TRANSFER_BLOCK) {
            uint64_t number[2] = {seed, (e.offset + at) / TRANSFER_BLOCK};

            if (XXH3_64bits(number, sizeof(number)) % share == 0)
                vec_push(&kept,
                         ((struct extent){e.offset + at, MIN(TRANSFER_BLOCK, e.length - at)}));
        }
    }
    vec_done(plan);
    *plan = kept;
}

/* What is in use of the source: as was found out before, or as it says itself. */
static int
add_allocated(struct attempt *attempt, struct err **err)
{
    struct copy_task *task = attempt->task;
    const struct migration_plan *known = task->run->copy->allocated;
    struct disk_source *source = attempt->source;

    if (known && known[task->index].extents.count) {
        for (size_t i = 0; i < known[task->index].extents.count; i++)
            vec_push(&task->plan, known[task->index].extents.items[i]);
        return 0;
    }
    if (source->ops->extents(source, 0, source->size, &task->plan, err) < 0 ||
        extents_normalize(&task->plan, task->disk->capacity, 0, true, err) < 0)
        return -1;
    log_info("[%s] in use by the source: extents=%zu bytes=%" PRIu64 " of %" PRIu64,
             task->disk->name, task->plan.count, extents_total(&task->plan), task->disk->capacity);
    return 0;
}

/* All that source or target have: what the source has in use, and what the target has mapped, since an
 * interrupted copy of an older snapshot may have written blocks that are unallocated by now.  In whole
 * pieces, or whole blocks where there may be digests to compare. */
static int
plan_everything(struct attempt *attempt, bool asks_source, struct err **err)
{
    struct copy_task *task = attempt->task;

    if (asks_source && add_allocated(attempt, err) < 0)
        return -1;
    if (qcow2_mapped(attempt->image, &task->plan, err) < 0)
        return -1;
    return extents_widen(&task->plan, attempt->is_new_file ? 64 * KIB : TRANSFER_BLOCK,
                         task->disk->capacity, err);
}

static int
make_plan(struct attempt *attempt, struct err **err)
{
    struct copy_task *task = attempt->task;
    const struct migration_copy *copy = task->run->copy;
    const struct migration_plan *given = copy->plans ? &copy->plans[task->index] : NULL;
    bool is_sample =
        copy->pass == PASS_VERIFY && task->run->m->spec->verify == CONFIG_VERIFY_SAMPLE;

    task->plan.count = 0;
    if (!given || given->is_everything) {
        if (plan_everything(attempt, !is_sample, err) < 0)
            return -1;
        if (is_sample)
            take_sample(&task->plan, (uint64_t)task->run->m->record.delta_rounds);
        return 0;
    }
    for (size_t i = 0; i < given->extents.count; i++)
        vec_push(&task->plan, given->extents.items[i]);
    return 0;
}

/* Blocks that are about to be written are not verified any more. */
static int
forget_verified(struct attempt *attempt, struct err **err)
{
    struct copy_task *task = attempt->task;
    CLEANUP(store_bitmap_done) struct store_bitmap found = {0};
    struct transfer_bitmap verified = {0};
    int result = 0;

    if (store_bitmap_load(task->store, task->disk->id, STORE_BITMAP_VERIFIED, &found, err) < 0)
        return -1;
    if (!found.bits)
        return 0;
    transfer_bitmap_init(&verified, task->disk->capacity);
    if (found.length == transfer_bitmap_bytes(&verified)) {
        memcpy(verified.bits, found.bits, found.length);
        transfer_bitmap_clear_extents(&verified, &task->plan);
    }
    result = store_bitmap_save(task->store, task->disk->id, STORE_BITMAP_VERIFIED, NULL,
                               verified.bits, transfer_bitmap_bytes(&verified), err);
    transfer_bitmap_done(&verified);
    return result;
}

/* ---- the transfer ----------------------------------------------------------------------------- */

static int
on_checkpoint(void *opaque, const struct transfer_progress *progress, struct err **err)
{
    struct attempt *attempt = opaque;
    struct copy_task *task = attempt->task;
    size_t blocks;

    (void)progress;
    if (save_bitmap(task, &attempt->bitmap, err) < 0)
        return -1;
    blocks = count_blocks(&attempt->bitmap);
    if (blocks > task->recorded_blocks) {
        task->recorded_blocks = blocks;
        task->has_advanced = true;
    }
    return migration_check_room(task->disk->target_path, err);
}

static void
on_progress(void *opaque, const struct transfer_progress *progress)
{
    struct attempt *attempt = opaque;

    SCOPE_LOCK(&attempt->task->run->mutex);
    attempt->task->progress = *progress;
}

static enum transfer_verify
how_to_verify(const struct copy_task *task)
{
    if (task->run->copy->pass != PASS_VERIFY)
        return TRANSFER_COPY;
    return task->run->m->spec->verify == CONFIG_VERIFY_FULL ? TRANSFER_VERIFY_BOTH
                                                            : TRANSFER_VERIFY_TARGET;
}

static int
transfer_disk(struct attempt *attempt, struct err **err)
{
    struct copy_task *task = attempt->task;
    const struct migration_copy *copy = task->run->copy;
    struct transfer_progress progress = {0};
    struct transfer_job job = {
        .source = attempt->source,
        .target = qcow2_target(attempt->image),
        .pool = task->pool,
        .plan = &task->plan,
        .digests = attempt->digests,
        .unplanned_is_zero = !copy->plans || copy->plans[task->index].is_everything,
        .verify = how_to_verify(task),
        .done = &attempt->bitmap,
        .on_checkpoint = on_checkpoint,
        .on_progress = on_progress,
        .opaque = attempt,
        .cancel = &task->run->cancel,
        .paces = task->run->limits.paces,
        .is_urgent = task->run->copy->pass == PASS_FINAL,
    };
    int result = transfer_run(&job, &progress, err);

    task->mismatched_blocks += progress.mismatched_blocks;
    if (job.verify)
        task->verified_bytes += progress.same_bytes + progress.copied_bytes + progress.zeroed_bytes;
    return result;
}

static void
on_wait(void *opaque, const char *what)
{
    struct copy_task *task = opaque;

    SCOPE_LOCK(&task->run->mutex);
    snprintf(task->waits_for, sizeof(task->waits_for), "%s", what ? what : "");
}

/* A place among all disks that are read, and the memory that goes with it. */
static int
take_place(struct attempt *attempt, struct err **err)
{
    struct copy_task *task = attempt->task;
    const struct migration *m = task->run->m;
    const struct slots_limits limits = {
        .handles = migration_slots_handles(),
        .handles_per_host = (unsigned)m->config->migration.max_handles_per_host,
        .inflight_mib = (unsigned)m->config->migration.max_inflight_mib,
    };
    const struct slots_wish wish = {
        .vm = m->record.id,
        .host = m->vm.host_name && *m->vm.host_name ? m->vm.host_name : m->vm.host,
        .is_final = task->run->copy->pass == PASS_FINAL,
        .pool_slots =
            (unsigned)disk_pool_share(MIN(m->disks.count, (size_t)MAX(m->spec->parallel_disks, 1))),
        .on_wait = on_wait,
        .opaque = task,
    };

    if (migration_slot_take(m->config->migration.control_dir, &limits, &wish, &task->run->cancel,
                            &task->slot, err) < 0)
        return -1;
    task->pool = disk_pool_new(migration_slot_pool(task->slot), err);
    return task->pool ? 0 : -1;
}

static int
move_bytes(struct attempt *attempt, struct err **err)
{
    struct copy_task *task = attempt->task;

    if (copy_open_source(task, &attempt->source, err) < 0 || make_plan(attempt, err) < 0)
        return -1;
    if (task->run->copy->pass != PASS_VERIFY && forget_verified(attempt, err) < 0)
        return -1;
    return transfer_disk(attempt, err);
}

/* One attempt, from opening to closing.  The image is finished after the final pass. */
static int
copy_once(struct copy_task *task, struct err **err)
{
    CLEANUP(attempt_done) struct attempt attempt = {.task = task};
    const struct migration_copy *copy = task->run->copy;
    const struct migration_plan *given = copy->plans ? &copy->plans[task->index] : NULL;
    bool is_empty = given && !given->is_everything && given->extents.count == 0;

    if (is_empty && copy->pass != PASS_FINAL)
        return 0;
    if (is_empty)
        task->pool = disk_pool_new(SLOTS_LEAST_POOL, err);
    else if (take_place(&attempt, err) < 0)
        return -1;
    if (!task->pool || open_target(&attempt, err) < 0 ||
        (!is_empty && move_bytes(&attempt, err) < 0))
        return -1;
    return copy->pass == PASS_FINAL ? qcow2_finish(&attempt.image, err) : 0;
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
    if (store_open(task->run->m->config->migration.control_dir, true, &task->store, err) < 0)
        return -1;
    for (unsigned attempt = 0;; attempt++) {
        struct err *failure = NULL;

        if (copy_once(task, &failure) == 0)
            return 0;
        task->memory_step += err_code(failure) == E_VDDK_MEMORY;
        if (take(task->has_advanced)) /* a copy of many hours meets many faults */
            attempt = 0;
        if (!worth_another(task, attempt, failure))
            return err_move(err, &failure);
        err_free(failure);
    }
}
