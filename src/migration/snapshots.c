/* Our snapshots.  At most one exists at any time: its name is recorded before the call that makes it,
 * its moref after, and a crash in between is found by name. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "migration/internal.h"

/* How long a server may sit on a call whose client was killed before it begins with it. */
#define LATE_CALL_MS 10000

static int
create_by_policy(struct migration *m, const char *name, const char *description, bool may_quiesce,
                 char **ret_moref, struct err **err)
{
    enum config_quiesce policy = may_quiesce ? m->spec->quiesce : CONFIG_QUIESCE_FALSE;
    bool has_tools = m->vm.tools_status && !strcmp(m->vm.tools_status, "guestToolsRunning");
    bool quiesce = policy == CONFIG_QUIESCE_TRUE || (policy == CONFIG_QUIESCE_AUTO && has_tools);
    struct err *failure = NULL;

    if (vsphere_create_snapshot(m->vsphere, m->record.vm_moref, name, description, quiesce,
                                ret_moref, &failure) == 0)
        return 0;
    if (policy != CONFIG_QUIESCE_AUTO || !quiesce || err_code(failure) != E_VSPHERE_QUIESCE)
        return err_move(err, &failure);
    migration_log(m, LOG_WARNING, "snapshot without quiescing the guest: %s", err_message(failure));
    err_free(failure);
    return vsphere_create_snapshot(m->vsphere, m->record.vm_moref, name, description, false,
                                   ret_moref, err);
}

/* Gives every disk its place and change id as of the snapshot. */
static int
read_snapshot(struct migration *m, struct err **err)
{
    struct vsphere_disks disks = {0};
    int result = -1;

    if (vsphere_snapshot_disks(m->vsphere, m->record.active_snapshot, &disks, err) < 0)
        return -1;
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];
        const struct vsphere_disk *frozen = migration_source_disk(&disks, disk->device_key);

        if (!frozen) {
            err_set(err, E_SOURCE_CHANGED, "disk %s is not in snapshot %s", disk->address,
                    m->record.active_snapshot);
            goto out;
        }
        if (frozen->capacity != disk->capacity) {
            err_set(err, E_SOURCE_CHANGED,
                    "disk %s has %" PRIu64 " bytes now, %" PRIu64 " at the start", disk->address,
                    frozen->capacity, disk->capacity);
            goto out;
        }
        free(disk->source_path);
        disk->source_path = xstrdup(frozen->file_name);
        free(disk->pending_change_id);
        disk->pending_change_id = xstrdup(frozen->change_id);
    }
    result = 0;
out:
    vsphere_disks_done(&disks);
    return result;
}

int
migration_take_snapshot(struct migration *m, const char *kind, bool may_quiesce, struct err **err)
{
    CLEANUP(free_charp) char *description = NULL;
    CLEANUP(free_charp) char *moref = NULL;
    char tag[64];

    if (m->record.active_snapshot)
        return err_set(err, E_BUG, "a %s snapshot is asked for while %s exists", kind,
                       m->record.active_snapshot);
    if (!m->record.snapshot_intent) {
        migration_tag(m, tag);
        m->record.snapshot_intent = xasprintf("%s-%s-%" PRId64, tag, kind, clock_wall_s());
        if (migration_save(m, err) < 0)
            return -1;
    }
    description =
        xasprintf("v2c-engine, migration of %s (%s). Removed when its disks are copied; do "
                  "not delete it while the migration runs.",
                  m->record.vm_name, m->record.migration_id);
    if (create_by_policy(m, m->record.snapshot_intent, description, may_quiesce, &moref, err) < 0)
        return err_wrap(err, "%s snapshot", kind);
    m->record.active_snapshot = take(moref);
    free(take(m->record.snapshot_intent));
    if (migration_save(m, err) < 0 || read_snapshot(m, err) < 0)
        return -1;
    return migration_save(m, err);
}

int
migration_release_snapshot(struct migration *m, struct err **err)
{
    if (!m->record.active_snapshot)
        return 0;
    if (vsphere_remove_snapshot(m->vsphere, m->record.vm_moref, m->record.active_snapshot, err) < 0)
        return err_wrap(err, "removing our snapshot %s", m->record.active_snapshot);
    migration_log(m, LOG_INFO, "Removed previous snapshot: %s", m->record.active_snapshot);
    free(take(m->record.active_snapshot));
    return migration_save(m, err);
}

int
migration_sweep_snapshots(struct migration *m, struct err **err)
{
    char tag[64];
    size_t length;

    if (migration_release_snapshot(m, err) < 0)
        return -1;
    /* A snapshot that was asked for may be in the making still. */
    if (m->record.snapshot_intent &&
        vsphere_wait_snapshot_tasks(m->vsphere, m->record.vm_moref, err) < 0)
        return -1;
    if (migration_read_source(m, err) < 0)
        return -1;
    migration_tag(m, tag);
    length = strlen(tag);
    for (size_t i = 0; i < m->vm.snapshots.count; i++) {
        const struct vsphere_snapshot *snapshot = &m->vm.snapshots.items[i];

        if (strncmp(snapshot->name, tag, length) || snapshot->name[length] != '-')
            continue;
        migration_log(m, LOG_INFO, "Removing snapshot %s (%s), left by an interrupted run",
                      snapshot->moref, snapshot->name);
        if (vsphere_remove_snapshot(m->vsphere, m->record.vm_moref, snapshot->moref, err) < 0)
            return err_wrap(err, "removing our snapshot %s", snapshot->moref);
    }
    if (m->record.snapshot_intent) {
        m->late_snapshot_ms = clock_monotonic_ms() + LATE_CALL_MS;
        free(take(m->record.snapshot_intent));
        return migration_save(m, err);
    }
    return 0;
}
