/* Data disks become volumes of the VM; then it gets its settings and is started. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "migration/step.h"

static char *
id_of_volume(const json_t *result)
{
    return xstrdup(step_text(json_object_get(result, "volume"), "id"));
}

static int
submit_import_volume(const struct step *step, char **ret_job_id, struct err **err)
{
    const struct config_target *target = &step->m->spec->target;
    const char *path = step_base_name(step->disk->target_path);

    return cloudstack_import_volume(step->m->cloudstack, path, target->zone_id,
                                    step->disk->storage_id, path, step->disk->disk_offering_id,
                                    target->account, target->domain_id, target->project_id,
                                    ret_job_id, err);
}

static int
lookup_volume(const struct step *step, char **ret_result, struct err **err)
{
    json_t *volume = NULL;

    if (cloudstack_find_volume_by_path(step->m->cloudstack, step->disk->storage_id,
                                       step_base_name(step->disk->target_path), &volume, err) < 0)
        return -1;
    *ret_result = xstrdup(step_text(volume, "id"));
    json_decref(volume);
    return 0;
}

static int
submit_attach(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_attach_volume(step->m->cloudstack, step->disk->volume_id,
                                    step->m->record.cloudstack_vm_id, -1, ret_job_id, err);
}

static int
lookup_attached(const struct step *step, char **ret_result, struct err **err)
{
    json_t *volume = NULL;
    const char *vm_id;

    if (cloudstack_find_volume_by_path(step->m->cloudstack, step->disk->storage_id,
                                       step_base_name(step->disk->target_path), &volume, err) < 0)
        return -1;
    vm_id = step_text(volume, "virtualmachineid");
    *ret_result =
        vm_id && !strcmp(vm_id, step->m->record.cloudstack_vm_id) ? xstrdup("done") : NULL;
    json_decref(volume);
    return 0;
}

static int
import_volume(struct migration *m, struct store_disk *disk, struct err **err)
{
    CLEANUP(free_charp) char *name = xasprintf("import_volume:%s", disk->address);
    CLEANUP(free_charp) char *volume_id = NULL;
    struct step step = {.m = m,
                        .name = name,
                        .disk = disk,
                        .command = "importVolume",
                        .submit = submit_import_volume,
                        .lookup = lookup_volume,
                        .result_of = id_of_volume};

    if (disk->volume_id)
        return 0;
    if (step_do(&step, &volume_id, err) < 0)
        return -1;
    disk->volume_id = take(volume_id);
    migration_log(m, LOG_INFO, "[%s] imported data volume volume_id=%s", disk->name,
                  disk->volume_id);
    return migration_save(m, err);
}

static int
attach_volume(struct migration *m, struct store_disk *disk, struct err **err)
{
    CLEANUP(free_charp) char *name = xasprintf("attach_volume:%s", disk->address);
    CLEANUP(free_charp) char *result = NULL;
    struct step step = {.m = m,
                        .name = name,
                        .disk = disk,
                        .command = "attachVolume",
                        .submit = submit_attach,
                        .lookup = lookup_attached,
                        .result_of = step_done};

    if (disk->attached_to_vm_id)
        return 0;
    if (step_do(&step, &result, err) < 0)
        return -1;
    disk->attached_to_vm_id = xstrdup(m->record.cloudstack_vm_id);
    return migration_save(m, err);
}

static int
configure_vm(struct migration *m, struct err **err)
{
    struct cloudstack_params details = {0};
    int result = 0;

    if (m->record.is_cloudstack_configured)
        return 0;
    migration_vm_details(m, &details);
    if (details.count || m->spec->target.os_type_id)
        result = cloudstack_update_vm(m->cloudstack, m->record.cloudstack_vm_id,
                                      m->spec->target.os_type_id, &details, err);
    vec_done(&details);
    if (result < 0)
        return err_wrap(err, "settings of the imported VM");
    m->record.is_cloudstack_configured = true;
    return migration_save(m, err);
}

static int
submit_start(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_start_vm(step->m->cloudstack, step->m->record.cloudstack_vm_id, ret_job_id,
                               err);
}

static int
lookup_started(const struct step *step, char **ret_result, struct err **err)
{
    json_t *vm = NULL;
    const char *state;

    if (cloudstack_get_vm(step->m->cloudstack, step->m->record.cloudstack_vm_id, &vm, err) < 0)
        return -1;
    state = step_text(vm, "state");
    *ret_result =
        state && (!strcmp(state, "Running") || !strcmp(state, "Starting")) ? xstrdup("done") : NULL;
    json_decref(vm);
    return 0;
}

/* Two machines of one identity on the network do more harm than one that is not started. */
static int
check_source_is_off(struct migration *m, struct err **err)
{
    enum vsphere_power power;

    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, err) < 0)
        return -1;
    if (power == VSPHERE_POWERED_OFF)
        return 0;
    err_set(err, E_SOURCE_CHANGED, "the source VM runs again: the imported VM %s is not started",
            m->record.cloudstack_vm_id);
    return err_hint(err,
                    "decide for one: shut the source down and run this again, or keep it and "
                    "remove the imported VM in CloudStack, which has its state of the cutover");
}

static int
start_vm(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *result = NULL;
    struct step step = {.m = m,
                        .name = "start_vm",
                        .command = "startVirtualMachine",
                        .submit = submit_start,
                        .lookup = lookup_started,
                        .result_of = step_done};

    if (!m->spec->start_vm_after_import || m->record.is_cloudstack_started)
        return 0;
    if (check_source_is_off(m, err) < 0)
        return -1;
    if (step_do(&step, &result, err) < 0)
        return -1;
    m->record.is_cloudstack_started = true;
    m->record.started_at = clock_wall_s();
    migration_log(m, LOG_INFO, "Started the imported VM");
    return migration_save(m, err);
}

/* The imported VM writes to its disks from now on: they speak of nothing any more. */
static void
remove_digests(const struct migration *m)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        CLEANUP(free_charp)
        char *path = migration_digests_path(m->record.directory, m->disks.items[i].name);

        if (unlink(path) < 0 && errno != ENOENT)
            log_warning("%s: %s", path, strerror(errno));
    }
}

int
migration_stage_import_data(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];

        if (disk->is_boot)
            continue;
        if (import_volume(m, disk, err) < 0 || attach_volume(m, disk, err) < 0)
            return -1;
    }
    if (configure_vm(m, err) < 0 || start_vm(m, err) < 0 || migration_drop_requests(m, err) < 0)
        return -1;
    /* A call of a run that was killed may be carried out long after: nothing is left.  The cutover
     * is over, so that waiting for it costs nobody anything. */
    if (migration_wait(m, m->late_snapshot_ms - clock_monotonic_ms(), NULL, err) < 0 ||
        migration_sweep_snapshots(m, err) < 0)
        return err_wrap(err, "the VM is migrated; looking for snapshots left on the source");
    remove_digests(m);
    return migration_enter(m, STAGE_DONE, err);
}
