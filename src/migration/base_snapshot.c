/* The snapshot that the base copy reads.  A copy that was interrupted goes on from another one: blocks
 * copied before stay good unless they have changed since. */
#include <string.h>

#include "migration/internal.h"
#include "transfer/transfer.h"

static bool
has_all_change_ids(const struct migration *m)
{
    for (size_t i = 0; i < m->disks.count; i++)
        if (!m->disks.items[i].pending_change_id)
            return false;
    return true;
}

/* Tracking turned on while the VM runs begins with the next snapshot: then the first one may have no
 * change ids, and a second has them. */
static int
take_tracked_snapshot(struct migration *m, struct err **err)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (migration_take_snapshot(m, "base", true, err) < 0)
            return -1;
        if (has_all_change_ids(m))
            return 0;
        if (migration_release_snapshot(m, err) < 0)
            return -1;
    }
    err_set(err, E_CBT_UNSUPPORTED, "not every disk has a changeId after a snapshot");
    return err_hint(err, "set ctkEnabled and scsiX:Y.ctkEnabled to TRUE for every disk in the VM's "
                         "advanced configuration, then start again");
}

/* Takes the blocks that have changed since @disk->change_id out of the done ones. */
static int
clear_changed(struct migration *m, const struct store_disk *disk, struct transfer_bitmap *done,
              struct err **err)
{
    struct extents changed = {0};
    struct err *failure = NULL;
    int result = 0;

    if (!migration_same_history(disk->change_id, disk->pending_change_id)) {
        migration_log(m, LOG_WARNING,
                      "[%s] changed-block tracking was reset: nothing copied before can be kept",
                      disk->name);
        memset(done->bits, 0, transfer_bitmap_bytes(done));
        return 0;
    }
    if (vsphere_query_changes(m->vsphere, m->record.vm_moref, m->record.active_snapshot,
                              disk->device_key, disk->capacity, disk->change_id, &changed,
                              &failure) == 0) {
        transfer_bitmap_clear_extents(done, &changed);
    } else if (err_code(failure) == E_CBT_RESET) {
        migration_log(m, LOG_WARNING, "[%s] %s: nothing copied before can be kept", disk->name,
                      err_message(failure));
        memset(done->bits, 0, transfer_bitmap_bytes(done));
        err_free(failure);
    } else {
        result = err_move(err, &failure);
    }
    vec_done(&changed);
    return result;
}

static int
carry_over(struct migration *m, struct store_disk *disk, struct err **err)
{
    CLEANUP(free_charp) char *bits = NULL;
    struct transfer_bitmap done = {0};
    size_t length = 0;
    int result = 0;

    if (store_bitmap_load(m->store, disk->id, (void **)&bits, &length, err) < 0)
        return -1;
    transfer_bitmap_init(&done, disk->capacity);
    if (bits && disk->change_id && length == transfer_bitmap_bytes(&done)) {
        memcpy(done.bits, bits, length);
        result = clear_changed(m, disk, &done, err);
    }
    if (bits && result == 0) /* one without blocks still says that the file was made */
        result =
            store_bitmap_save(m->store, disk->id, done.bits, transfer_bitmap_bytes(&done), err);
    transfer_bitmap_done(&done);
    return result;
}

int
migration_stage_base_snapshot(struct migration *m, struct err **err)
{
    if (migration_sweep_snapshots(m, err) < 0 || migration_check_disks(m, err) < 0 ||
        take_tracked_snapshot(m, err) < 0)
        return -1;
    /* The bitmap first: one with too few blocks is only slower, one with too many loses data. */
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];

        if (disk->is_base_copied)
            continue;
        if (carry_over(m, disk, err) < 0)
            return err_wrap(err, "disk %s", disk->address);
        free(disk->change_id);
        disk->change_id = xstrdup(disk->pending_change_id);
        free(disk->base_snapshot);
        disk->base_snapshot = xstrdup(m->record.active_snapshot);
    }
    migration_log(m, LOG_INFO, "Created base snapshot: %s", m->record.active_snapshot);
    return migration_enter(m, STAGE_BASE_COPY, err);
}
