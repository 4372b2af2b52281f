/* The last pass: the VM is off, what has changed since the last snapshot is read from its own disks
 * (no snapshot, so nothing to consolidate), and the images are finished. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "migration/internal.h"
#include "qcow2/qcow2.h"

int64_t
migration_settle_seconds(const struct migration *m)
{
    if (m->spec->finalize_settle_seconds >= 0)
        return m->spec->finalize_settle_seconds;
    if (m->config->migration.finalize_settle_seconds >= 0)
        return m->config->migration.finalize_settle_seconds;
    return preflight_is_windows(&m->vm) ? 30 : 15;
}

/* Never advances the change id: a later round after a way back is then a superset. */
static int
final_complete(struct migration *m, size_t index, struct err **err)
{
    m->disks.items[index].is_finished = true;
    if (migration_save(m, err) < 0)
        return -1;
    return store_bitmap_drop(m->store, m->disks.items[index].id, STORE_BITMAP_DONE, err);
}

static int
adopt_current_paths(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];
        const struct vsphere_disk *now = migration_source_disk(&m->vm.disks, disk->device_key);

        free(disk->source_path);
        disk->source_path = xstrdup(now->file_name);
    }
    return migration_save(m, err);
}

static int
copy_final(struct migration *m, const char *snapshot, struct err **err)
{
    /* Of a VM that is off and was not touched since, blocks that were done stay done.  Version not
     * known: an attempt of its own, so that nothing of another is taken for done. */
    CLEANUP(free_charp)
    char *off = m->record.change_version ? xasprintf("off/%s", m->record.change_version)
                                         : xasprintf("off at %" PRId64, clock_monotonic_ms());
    struct migration_copy copy = {.pass = PASS_FINAL,
                                  .snapshot = snapshot,
                                  .as_of = snapshot ? NULL : off,
                                  .on_complete = final_complete};
    struct migration_plan *plans = NULL;
    int result;

    if (migration_query_changes(m, snapshot, &plans, err) < 0)
        return -1;
    copy.plans = plans;
    result = migration_carry_over_all(m, snapshot, copy.as_of, err);
    if (result == 0)
        result = migration_copy_disks(m, &copy, err);
    migration_plans_free(plans, m->disks.count);
    return result;
}

/* Whether a pass without a snapshot was refused in a way that one with a snapshot may cure. */
static bool
wants_snapshot(const struct err *failure)
{
    switch (err_code(failure)) {
    case E_VSPHERE_FAULT:
    case E_VSPHERE_STATE:
    case E_VDDK_OPEN:
        return true;
    default:
        return false;
    }
}

static int
copy_with_snapshot(struct migration *m, struct err **err)
{
    if (migration_take_snapshot(m, "final", false, err) < 0 ||
        copy_final(m, m->record.active_snapshot, err) < 0)
        return -1;
    return migration_release_snapshot(m, err);
}

/* The source as it is now, whose disks must be those of the record; *ret_is_on says whether it runs. */
static int
look_at_source(struct migration *m, bool *ret_is_on, struct err **err)
{
    if (migration_read_source(m, err) < 0 || migration_check_disks(m, err) < 0)
        return -1;
    if (m->vm.connection_state && strcmp(m->vm.connection_state, "connected"))
        return err_set(err, E_VSPHERE_HOST, "the source's host is %s", m->vm.connection_state);
    *ret_is_on = m->vm.power != VSPHERE_POWERED_OFF;
    return 0;
}

/* Somebody may have started the VM and shut it down again while it was read: its configuration's
 * version tells.  A snapshot of ours changes it too, and makes the question pointless. */
static int
check_version(const struct migration *m, bool used_snapshot, struct err **err)
{
    const char *before = m->record.change_version, *now = m->vm.change_version;

    if (used_snapshot || !before || !now || !strcmp(before, now))
        return 0;
    return err_set(err, E_VSPHERE_BUSY, "the source VM was touched during the final sync");
}

static int
check_images(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];
        CLEANUP(err_freep) struct err *warning = NULL;

        if (qcow2_check_importable(disk->target_path, disk->capacity, &warning, err) < 0)
            return err_wrap(err, "disk %s", disk->address);
        if (warning)
            migration_log(m, LOG_WARNING, "[%s] %s", disk->name, err_message(warning));
    }
    return 0;
}

/* The pass itself, without a snapshot if the source lets us. */
static int
copy_changes(struct migration *m, bool *ret_used_snapshot, struct err **err)
{
    struct err *failure = NULL;

    *ret_used_snapshot = false;
    if (copy_final(m, NULL, &failure) == 0)
        return 0;
    if (!wants_snapshot(failure))
        return err_move(err, &failure);
    migration_log(m, LOG_WARNING, "%s; trying with a snapshot", err_message(failure));
    err_free(failure);
    *ret_used_snapshot = true;
    return copy_with_snapshot(m, err);
}

static int
settle(struct migration *m, struct err **err)
{
    int64_t seconds = migration_settle_seconds(m);

    migration_log(m, LOG_INFO, "Waiting %" PRId64 "s finalize settle delay before the final sync",
                  seconds);
    return migration_wait(m, seconds * 1000, NULL, err);
}

int
migration_stage_final_sync(struct migration *m, struct err **err)
{
    bool is_on, used_snapshot;

    if (migration_sweep_snapshots(m, err) < 0)
        return -1;
    if (m->vm.power != VSPHERE_POWERED_OFF)
        return migration_back_to_delta(m, "the source VM runs again", err);
    if (settle(m, err) < 0 || look_at_source(m, &is_on, err) < 0)
        return -1;
    if (is_on)
        return migration_back_to_delta(m, "the source VM was started before the final sync", err);
    free(m->record.change_version);
    m->record.change_version = xstrdup(m->vm.change_version);
    if (adopt_current_paths(m, err) < 0)
        return -1;
    if (copy_changes(m, &used_snapshot, err) < 0)
        return err_wrap(err, "final sync");
    migration_log(m, LOG_INFO, "Final sync: all is copied; checking source and images");
    if (look_at_source(m, &is_on, err) < 0)
        return -1;
    if (is_on)
        return migration_back_to_delta(m, "the source VM was started during the final sync", err);
    if (check_version(m, used_snapshot, err) < 0 || check_images(m, err) < 0)
        return -1;
    /* Ours may have been the last touch. */
    free(m->record.change_version);
    m->record.change_version = xstrdup(m->vm.change_version);
    m->record.delta_rounds++;
    m->has_synced = true;
    return migration_enter(m, m->spec->run_virt_v2v ? STAGE_CONVERTING : STAGE_IMPORT_ROOT_DISK,
                           err);
}
