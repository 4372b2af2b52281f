/* The base copy: every disk as of one snapshot, block by block, going on after any interruption. */
#include <inttypes.h>
#include <string.h>

#include "migration/internal.h"

/* Records a disk whose base is complete and durable, as of the snapshot of its change id. */
static int
base_complete(struct migration *m, size_t index, struct err **err)
{
    struct store_disk *disk = &m->disks.items[index];

    disk->is_base_copied = true;
    if (migration_save(m, err) < 0)
        return -1;
    migration_log(m, LOG_INFO, "[%s] base copy completed: %" PRIu64 " MiB read in %" PRIu64 " s",
                  disk->name, (uint64_t)(disk->base_bytes / MIB), disk->base_ms / 1000);
    return store_bitmap_drop(m->store, disk->id, STORE_BITMAP_DONE, err);
}

static bool
snapshot_is_there(const struct migration *m)
{
    for (size_t i = 0; m->record.active_snapshot && i < m->vm.snapshots.count; i++)
        if (!strcmp(m->vm.snapshots.items[i].moref, m->record.active_snapshot))
            return true;
    return false;
}

int
migration_stage_base_copy(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *wanted_memory = xcalloc(m->disks.count, sizeof(bool));
    bool *wanted = (bool *)wanted_memory;
    struct migration_copy copy = {
        .pass = PASS_BASE,
        .snapshot = m->record.active_snapshot,
        .is_wanted = wanted,
        .on_complete = base_complete,
    };
    struct migration_plan *allocated;
    int result;

    /* Files are made now: a share that went away since must not have them made below its mount point. */
    if (migration_read_source(m, err) < 0 || migration_check_disks(m, err) < 0 ||
        migration_check_pools(m, err) < 0)
        return -1;
    if (!snapshot_is_there(m)) {
        migration_log(m, LOG_INFO, "The base snapshot is gone: going on from another one");
        free(take(m->record.active_snapshot));
        return migration_enter(m, STAGE_CREATING_BASE_SNAPSHOT, err);
    }
    for (size_t i = 0; i < m->disks.count; i++) {
        wanted[i] = !m->disks.items[i].is_base_copied;
        if (wanted[i])
            migration_log(m, LOG_INFO, "[%s] base copy started: %s -> %s", m->disks.items[i].name,
                          m->disks.items[i].source_path, m->disks.items[i].target_path);
    }
    copy.allocated = allocated = migration_find_allocated(m, wanted);
    result = migration_copy_disks(m, &copy, err);
    migration_plans_free(allocated, m->disks.count);
    if (result < 0)
        return err_wrap(err, "base copy");
    return migration_enter(m, STAGE_DELTA, err);
}
