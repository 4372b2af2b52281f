/* What has changed since the last snapshot; where the history is gone, everything.  And what that means
 * for the blocks that an interrupted pass had done. */
#include <inttypes.h>
#include <string.h>

#include "migration/internal.h"
#include "transfer/transfer.h"

/* Reading so much too much costs about what another request costs.  One request at a time would allow
 * more: 1 ms of waiting is 150 KiB of reading at what one disk gives.  With 16 in flight the waiting is
 * shared, and what is left, some 100 us of work on host and network, is 15 to 50 KiB.  VMware counts
 * changes in blocks of 64 KiB, so a smaller gap would not be there to close; a larger one is also
 * written. */
#define MERGE_GAP (64 * KIB)

void
migration_plans_free(struct migration_plan *plans, size_t count)
{
    for (size_t i = 0; plans && i < count; i++)
        vec_done(&plans[i].extents);
    free(plans);
}

bool
migration_same_history(const char *a, const char *b)
{
    size_t length = a ? strcspn(a, "/") : 0;

    return a && b && length == strcspn(b, "/") && !strncmp(a, b, length);
}

/* The change id that @disk has now: in the snapshot, or of the powered-off VM's own disk, which may
 * not show one. */
static const char *
present_change_id(const struct migration *m, const char *snapshot, const struct store_disk *disk)
{
    const struct vsphere_disk *now = migration_source_disk(&m->vm.disks, disk->device_key);

    if (snapshot)
        return disk->pending_change_id;
    return now && now->change_id ? now->change_id : disk->change_id;
}

/* Changes since @since, *ret_is_lost where nobody knows them any more. */
static int
changes_since(struct migration *m, const char *snapshot, const struct store_disk *disk,
              const char *since, struct extents *changed, bool *ret_is_lost, struct err **err)
{
    const char *present = present_change_id(m, snapshot, disk);
    struct err *failure = NULL;

    *ret_is_lost = true;
    if (!migration_same_history(since, present)) {
        migration_log(m, LOG_WARNING, "[%s] changed-block tracking was reset (changeId %s, was %s)",
                      disk->name, present ? present : "none", since && *since ? since : "none");
        return 0;
    }
    if (vsphere_query_changes(m->vsphere, m->record.vm_moref, snapshot, disk->device_key,
                              disk->capacity, since, changed, &failure) == 0) {
        *ret_is_lost = false;
        return extents_normalize(changed, disk->capacity, MERGE_GAP, true, err);
    }
    if (err_code(failure) != E_CBT_RESET) {
        err_move(err, &failure);
        return err_wrap(err, "disk %s: changed blocks", disk->address);
    }
    migration_log(m, LOG_WARNING, "[%s] %s", disk->name, err_message(failure));
    err_free(failure);
    return 0;
}

static int
plan_disk(struct migration *m, const char *snapshot, const struct store_disk *disk,
          struct migration_plan *plan, struct err **err)
{
    if (changes_since(m, snapshot, disk, disk->change_id, &plan->extents, &plan->is_everything,
                      err) < 0)
        return -1;
    if (plan->is_everything) {
        plan->extents.count = 0;
        migration_log(m, LOG_WARNING,
                      "[%s] the whole disk is read and compared; what differs is written",
                      disk->name);
    } else {
        migration_log(m, LOG_INFO, "[%s] %s cbt ranges=%zu changed_bytes=%" PRIu64, disk->name,
                      store_stage_name(m->record.stage), plan->extents.count,
                      extents_total(&plan->extents));
    }
    return 0;
}

int
migration_query_changes(struct migration *m, const char *snapshot,
                        struct migration_plan **ret_plans, struct err **err)
{
    struct migration_plan *plans = xcalloc(m->disks.count, sizeof(*plans));

    for (size_t i = 0; i < m->disks.count; i++) {
        if (plan_disk(m, snapshot, &m->disks.items[i], &plans[i], err) < 0) {
            migration_plans_free(plans, m->disks.count);
            return -1;
        }
    }
    *ret_plans = plans;
    return 0;
}

/* ---- interrupted passes ----------------------------------------------------------------------- */

static int
take_out_changed(struct migration *m, const struct store_disk *disk, const char *snapshot,
                 const char *since, struct transfer_bitmap *done, struct err **err)
{
    struct extents changed = {0};
    bool is_lost = true;
    int result = changes_since(m, snapshot, disk, since, &changed, &is_lost, err);

    if (result == 0 && is_lost) {
        migration_log(m, LOG_WARNING, "[%s] the blocks done before are read again", disk->name);
        memset(done->bits, 0, transfer_bitmap_bytes(done));
    } else if (result == 0) {
        transfer_bitmap_clear_extents(done, &changed);
    }
    vec_done(&changed);
    return result;
}

int
migration_carry_over(struct migration *m, const struct store_disk *disk, const char *snapshot,
                     const char *as_of, struct err **err)
{
    CLEANUP(store_bitmap_done) struct store_bitmap found = {0};
    struct transfer_bitmap done = {0};
    int result = 0;

    if (store_bitmap_load(m->store, disk->id, STORE_BITMAP_DONE, &found, err) < 0)
        return -1;
    if (!found.bits || (found.as_of && as_of && !strcmp(found.as_of, as_of)))
        return 0;
    transfer_bitmap_init(&done, disk->capacity);
    if (found.as_of && found.length == transfer_bitmap_bytes(&done)) {
        memcpy(done.bits, found.bits, found.length);
        result = take_out_changed(m, disk, snapshot, found.as_of, &done, err);
    }
    if (result == 0) /* one without blocks still says that the file was made */
        result = store_bitmap_save(m->store, disk->id, STORE_BITMAP_DONE, as_of, done.bits,
                                   transfer_bitmap_bytes(&done), err);
    transfer_bitmap_done(&done);
    return result;
}

int
migration_carry_over_all(struct migration *m, const char *snapshot, const char *as_of,
                         struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];

        if (migration_carry_over(m, disk, snapshot, as_of ? as_of : disk->pending_change_id, err) <
            0)
            return err_wrap(err, "disk %s", disk->address);
    }
    return 0;
}
