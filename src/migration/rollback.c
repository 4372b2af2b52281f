/* Takes an import back.  Nothing here is recorded before it is done: each step makes sure of a state, and
 * looks at what is there first. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/file.h"
#include "migration/import.h"

#define TAG "v2c-rolled-back"

/* ---- what CloudStack has ----------------------------------------------------------------------- */

/* The VM that was imported, and none other: its root volume is the boot disk's file.  *ret_vm_id NULL: it
 * is not there any more. */
static int
find_imported(const struct migration *m, char **ret_vm_id, struct err **err)
{
    const struct store_disk *boot = import_boot_disk(m);
    CLEANUP(free_charp) char *by_path = NULL;
    json_t *vm = NULL;

    *ret_vm_id = NULL;
    if (boot->target_path &&
        cloudstack_find_vm_by_path(m->cloudstack, boot->storage_id,
                                   step_base_name(boot->target_path), &by_path, err) < 0)
        return -1;
    if (by_path && m->record.cloudstack_vm_id && strcasecmp(by_path, m->record.cloudstack_vm_id)) {
        err_set(err, E_CS_API, "the boot disk hangs on VM %s, the migration imported it as %s",
                by_path, m->record.cloudstack_vm_id);
        return err_hint(err, "somebody has moved it: see to it in CloudStack");
    }
    if (!by_path && m->record.cloudstack_vm_id) {
        if (cloudstack_get_vm(m->cloudstack, m->record.cloudstack_vm_id, &vm, err) < 0)
            return -1;
        if (vm) {
            json_decref(vm);
            err_set(err, E_CS_API, "VM %s is there, and its root volume is not the file %s",
                    m->record.cloudstack_vm_id, boot->target_path);
            return err_hint(err, "its volumes were changed: see to it in CloudStack");
        }
    }
    *ret_vm_id = take(by_path);
    return 0;
}

static int
finish_job(const struct migration *m, const char *what, const char *job_id, struct err **err)
{
    json_t *result = NULL;

    if (cloudstack_job_wait(m->cloudstack, job_id, 0, &result, err) < 0)
        return err_wrap(err, "%s", what);
    json_decref(result);
    return 0;
}

static int
read_state(const struct migration *m, const char *vm_id, char **ret_state, struct err **err)
{
    json_t *vm = NULL;

    if (cloudstack_get_vm(m->cloudstack, vm_id, &vm, err) < 0)
        return -1;
    *ret_state = xstrdup(vm ? step_text(vm, "state") : NULL);
    json_decref(vm);
    return 0;
}

static int
stop_vm(struct migration *m, const char *vm_id, bool is_forced, struct err **err)
{
    CLEANUP(free_charp) char *state = NULL, *job_id = NULL, *now = NULL;

    if (read_state(m, vm_id, &state, err) < 0)
        return -1;
    if (!state || !strcmp(state, "Stopped"))
        return 0;
    migration_log(m, LOG_INFO, "Stopping VM %s in CloudStack (%s)", vm_id, state);
    if (cloudstack_stop_vm(m->cloudstack, vm_id, is_forced, &job_id, err) < 0 ||
        finish_job(m, "stopVirtualMachine", job_id, err) < 0)
        return err_hint(
            err, "the same command goes on where it stopped; with --force the VM is switched off");
    if (read_state(m, vm_id, &now, err) < 0)
        return -1;
    if (!now || !strcmp(now, "Stopped"))
        return 0;
    err_set(err, E_CS_BUSY, "VM %s is %s after it was stopped", vm_id, now);
    return err_hint(
        err, "the same command goes on where it stopped; with --force the VM is switched off");
}

/* A volume of ours that CloudStack still has is detached and given up. */
static int
give_up_volume(struct migration *m, const struct store_disk *disk, struct err **err)
{
    CLEANUP(free_charp) char *id = NULL, *detach = NULL, *unmanage = NULL;
    json_t *volume = NULL;
    bool is_attached;

    if (!disk->target_path)
        return 0;
    if (cloudstack_find_volume_by_path(m->cloudstack, disk->storage_id,
                                       step_base_name(disk->target_path), &volume, err) < 0)
        return -1;
    id = xstrdup(step_text(volume, "id"));
    is_attached = step_text(volume, "virtualmachineid") != NULL;
    json_decref(volume);
    if (!id)
        return 0;
    if (is_attached && (cloudstack_detach_volume(m->cloudstack, id, &detach, err) < 0 ||
                        finish_job(m, "detachVolume", detach, err) < 0))
        return -1;
    migration_log(m, LOG_INFO, "[%s] CloudStack gives up volume %s; its file stays", disk->name,
                  id);
    if (cloudstack_unmanage_volume(m->cloudstack, id, &unmanage, err) < 0)
        return -1;
    return finish_job(m, "unmanageVolume", unmanage, err);
}

/* The whole VM, where the server can do that with one that is stopped. */
static int
give_up_vm(struct migration *m, const char *vm_id, bool *ret_is_gone, struct err **err)
{
    CLEANUP(free_charp) char *job_id = NULL;
    bool can = false;

    *ret_is_gone = false;
    if (cloudstack_has_param(m->cloudstack, "unmanageVirtualMachine", "forced", &can, err) < 0)
        return -1;
    if (!can)
        return 0;
    migration_log(m, LOG_INFO, "CloudStack gives up VM %s; its files stay", vm_id);
    if (cloudstack_unmanage_vm(m->cloudstack, vm_id, &job_id, err) < 0 ||
        finish_job(m, "unmanageVirtualMachine", job_id, err) < 0)
        return -1;
    *ret_is_gone = true;
    return 0;
}

static int
tag_vm(struct migration *m, const char *vm_id, struct err **err)
{
    CLEANUP(free_charp) char *job_id = NULL;
    struct cloudstack_params tags = {0};
    char stamp[32];
    bool has = false;
    int result = 0;

    if (cloudstack_has_tag(m->cloudstack, vm_id, TAG, &has, err) < 0)
        return -1;
    if (has)
        return 0;
    clock_format_utc(clock_wall_s(), stamp);
    vec_push(&tags, ((struct cloudstack_param){TAG, stamp}));
    result = cloudstack_create_tags(m->cloudstack, "UserVm", vm_id, &tags, &job_id, err);
    vec_done(&tags);
    return result < 0 ? -1 : finish_job(m, "createTags", job_id, err);
}

static int
give_up_data_disks(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++)
        if (!m->disks.items[i].is_boot && give_up_volume(m, &m->disks.items[i], err) < 0)
            return err_wrap(err, "disk %s", m->disks.items[i].address);
    return 0;
}

/* The empty VM that `import_method: shell` has deployed, when its root never came. */
static int
drop_shell(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *left = NULL;

    if (m->record.cloudstack_vm_id)
        return 0;
    if (migration_remove_shell(m->store, m->record.id, m->cloudstack, &left, err) < 0)
        return -1;
    if (left)
        migration_log(
            m, LOG_WARNING,
            "VM %s, which was deployed for the import, has volumes and stays in CloudStack", left);
    return 0;
}

static int
undo_import(struct migration *m, bool is_forced, struct err **err)
{
    CLEANUP(free_charp) char *vm_id = NULL;
    bool is_gone = true;

    if (find_imported(m, &vm_id, err) < 0)
        return -1;
    if (vm_id && (stop_vm(m, vm_id, is_forced, err) < 0 || give_up_vm(m, vm_id, &is_gone, err) < 0))
        return -1;
    if (give_up_data_disks(m, err) < 0)
        return -1;
    if (!vm_id)
        return give_up_volume(m, import_boot_disk(m), err) < 0 ? -1 : drop_shell(m, err);
    if (is_gone)
        return 0;
    migration_log(
        m, LOG_WARNING,
        "this server cannot give up a stopped VM: %s stays in CloudStack with its root disk, "
        "stopped and tagged " TAG ". Never expunge it while its file is wanted",
        vm_id);
    return tag_vm(m, vm_id, err);
}

/* ---- the source -------------------------------------------------------------------------------- */

/* Two machines of one identity must never run: looked at again right before. */
static int
check_not_running(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *vm_id = NULL, *state = NULL;

    if (find_imported(m, &vm_id, err) < 0 || (vm_id && read_state(m, vm_id, &state, err) < 0))
        return -1;
    if (!state || !strcmp(state, "Stopped"))
        return 0;
    return err_set(err, E_CS_BUSY, "VM %s is %s in CloudStack: the source stays off", vm_id, state);
}

static int
power_source_on(struct migration *m, struct err **err)
{
    enum vsphere_power power;

    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, err) < 0)
        return -1;
    if (power != VSPHERE_POWERED_OFF)
        return 0;
    if (check_not_running(m, err) < 0)
        return -1;
    migration_log(m, LOG_INFO, "Powering the source VM on");
    return vsphere_power_on(m->vsphere, m->record.vm_moref, err);
}

/* ---- all of it --------------------------------------------------------------------------------- */

static int
run(struct migration *m, const struct migration_rollback *rollback, struct err **err)
{
    if (migration_connect_vcenter(m, err) < 0 || migration_connect_cloudstack(m, err) < 0 ||
        vsphere_read_vm(m->vsphere, m->record.vm_moref, &m->vm, err) < 0)
        return -1;
    if (m->record.instance_uuid && m->vm.instance_uuid &&
        strcasecmp(m->record.instance_uuid, m->vm.instance_uuid))
        return err_set(err, E_SOURCE_CHANGED, "%s is another VM now (instance uuid %s)",
                       m->record.vm_moref, m->vm.instance_uuid);
    if (undo_import(m, rollback->is_forced, err) < 0)
        return -1;
    if (migration_unmark_source(m, err) < 0)
        return -1;
    if (!rollback->keeps_source_off && power_source_on(m, err) < 0)
        return -1;
    return migration_enter(m, STAGE_ROLLED_BACK, err);
}

int
migration_rollback(const struct migration_rollback *rollback, struct err **err)
{
    const struct migration_options options = {.config = rollback->config, .report_fd = -1};
    struct migration m = {
        .options = &options, .config = rollback->config, .store = rollback->store, .lock_fd = -1};
    CLEANUP(free_charp) char *log = file_join(rollback->record->directory, "migration.log");
    int result = -1;

    if (store_migration_find(m.store, rollback->record->vcenter, rollback->record->vm_moref,
                             &m.record, err) == 0 &&
        store_disks_load(m.store, m.record.id, &m.disks, err) == 0 && m.disks.count &&
        log_open_file(log, err) == 0) {
        m.progress = xcalloc(m.disks.count, sizeof(*m.progress));
        result = run(&m, rollback, err);
    }
    cloudstack_freep(&m.cloudstack);
    vsphere_freep(&m.vsphere);
    store_disks_done(&m.disks);
    store_migration_done(&m.record);
    vsphere_vm_done(&m.vm);
    free(m.progress);
    (void)log_open_file(NULL, NULL);
    return result;
}
