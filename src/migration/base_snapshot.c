/* The snapshot that the base copy reads.  A copy that was interrupted goes on from another one: blocks
 * copied before stay good unless they have changed since. */
#include "base/clock.h"
#include "migration/internal.h"

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

int
migration_stage_base_snapshot(struct migration *m, struct err **err)
{
    int64_t began_at_ms = clock_wall_ms();

    if (migration_sweep_snapshots(m, err) < 0 || migration_check_disks(m, err) < 0 ||
        take_tracked_snapshot(m, err) < 0)
        return -1;
    /* The bitmap first: one with too few blocks is only slower, one with too many loses data. */
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];

        /* Who has begun it anew, and when, is not known: see allocated.c. */
        if (disk->change_id && !migration_same_history(disk->change_id, disk->pending_change_id))
            m->record.is_cbt_enabled_by_us = false;
        if (disk->is_base_copied)
            continue;
        if (migration_carry_over(m, disk, m->record.active_snapshot, disk->pending_change_id, err) <
            0)
            return err_wrap(err, "disk %s", disk->address);
        free(disk->change_id);
        disk->change_id = xstrdup(disk->pending_change_id);
        free(disk->base_snapshot);
        disk->base_snapshot = xstrdup(m->record.active_snapshot);
    }
    migration_note_snapshot(m, began_at_ms);
    migration_log(m, LOG_INFO, "Created base snapshot: %s", m->record.active_snapshot);
    return migration_enter(m, STAGE_BASE_COPY, err);
}
