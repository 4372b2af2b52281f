/* The root disk becomes a VM of CloudStack, with its NICs. */
#include <string.h>

#include "base/clock.h"
#include "migration/import.h"

static char *
id_of_vm(const json_t *result)
{
    return xstrdup(step_text(json_object_get(result, "virtualmachine"), "id"));
}

static int
submit_import_vm(const struct step *step, char **ret_job_id, struct err **err)
{
    const struct migration *m = step->m;
    const struct config_target *target = &m->spec->target;
    CLEANUP(free_charp) char *host_name = cloudstack_host_name(m->record.vm_name);
    CLEANUP(free_charp) char *os_type = NULL;
    struct import_details details = {0};
    struct cloudstack_import_vm import = {
        .name = host_name,
        .display_name = m->record.vm_name,
        .zone_id = target->zone_id,
        .cluster_id = target->cluster_id,
        .storage_id = step->disk->storage_id,
        .disk_path = step_base_name(step->disk->target_path),
        .network_id = step->nic->network_id,
        .service_offering_id = target->service_offering_id,
        .mac = step->nic->mac,
        .ip = step->nic->ip,
        .account = target->account,
        .domain_id = target->domain_id,
        .project_id = target->project_id,
        .details = &details.params,
    };
    int result;

    if (import_get(m, IMPORT_OS_TYPE, &os_type, err) < 0)
        return -1;
    import.os_type_id = target->os_type_id ? target->os_type_id : os_type;
    import_details_devices(m, &details);
    result = import_details_sizes(m, &details, err);
    if (result == 0)
        result = cloudstack_import_vm(m->cloudstack, &import, ret_job_id, err);
    import_details_done(&details);
    return result;
}

static int
lookup_vm(const struct step *step, char **ret_result, struct err **err)
{
    return cloudstack_find_vm_by_path(step->m->cloudstack, step->disk->storage_id,
                                      step_base_name(step->disk->target_path), ret_result, err);
}

/* Takes note of the VM that CloudStack made. */
static int
note_vm(struct migration *m, char *vm_id /* taken, may be NULL */, struct err **err)
{
    if (!vm_id || m->record.cloudstack_vm_id) {
        free(vm_id);
        return 0;
    }
    m->record.cloudstack_vm_id = vm_id;
    m->record.imported_at = clock_wall_s();
    migration_log(m, LOG_INFO, "Imported root disk as VM in CloudStack vm_id=%s", vm_id);
    return migration_save(m, err);
}

static struct step
import_step(struct migration *m, const struct preflight_nic *nic)
{
    return (struct step){.m = m,
                         .name = "import_vm",
                         .command = "importVm",
                         .disk = import_boot_disk(m),
                         .nic = nic,
                         .submit = submit_import_vm,
                         .lookup = lookup_vm,
                         .result_of = id_of_vm};
}

/* What can be told of a source that somebody says was not written: its disks are those that were copied, and
 * have the same history of changes. */
static int
check_same_disks(const struct migration *m, const struct vsphere_vm *vm, struct err **err)
{
    if (vm->disks.count != m->disks.count)
        return err_set(err, E_SOURCE_CHANGED, "the VM has %zu disks now, %zu at the start",
                       vm->disks.count, m->disks.count);
    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];
        const struct vsphere_disk *now = migration_source_disk(&vm->disks, disk->device_key);

        if (!now || now->capacity != disk->capacity ||
            (disk->backing_uuid && now->backing_uuid &&
             strcmp(disk->backing_uuid, now->backing_uuid)))
            return err_set(err, E_SOURCE_CHANGED, "disk %s is not the disk that was copied",
                           disk->address);
        if (!migration_same_history(disk->change_id, now->change_id))
            return err_set(err, E_SOURCE_CHANGED,
                           "disk %s: changed-block tracking began anew since it was copied",
                           disk->address);
    }
    return 0;
}

/* What is refused is remembered: a person's word is of what they were told to look at, and of nothing later. */
static int
refuse_touched(struct migration *m, const struct vsphere_vm *vm, bool is_later, struct err **err)
{
    const struct store_subject of = {.scope = STORE_VM, .migration = m->record.id};

    if (store_setting_put(m->store, &of, STORE_TOUCHED, vm->change_version, err) < 0)
        return -1;
    err_set(err, E_SOURCE_CHANGED, "the source VM was touched since its copy was converted%s",
            is_later ? ", and the last time later than what --source-untouched was said of" : "");
    return err_hint(
        err,
        "look at its events in vCenter since it was shut down: where it was only edited "
        "or moved, neither started nor its disks written, run it again with "
        "--source-untouched %s, or retry its job with that word; else forget this migration and "
        "begin it anew",
        m->record.vm_moref);
}

/* vSphere has no sign that a VM was not started meanwhile: the version changes with every edit, and the
 * boot time is cleared at power-off.  So a person has to look, and says which VM is meant. */
static int
take_word(struct migration *m, const struct vsphere_vm *vm, struct err **err)
{
    const struct store_subject of = {.scope = STORE_VM, .migration = m->record.id};
    CLEANUP(free_charp) char *told = NULL;

    if (check_same_disks(m, vm, err) < 0)
        return err_hint(err, "forget this migration and begin it anew");
    if (store_setting_get(m->store, &of, STORE_TOUCHED, &told, err) < 0)
        return -1;
    if (!told || strcmp(told, vm->change_version) != 0)
        return refuse_touched(m, vm, true, err);
    migration_log(m, LOG_WARNING,
                  "The source was touched since its copy was converted; it goes on by the "
                  "operator's word that it was neither started nor written");
    free(m->record.change_version);
    m->record.change_version = xstrdup(vm->change_version);
    return migration_save(m, err);
}

/* After a conversion there is no way back to copying.  m->vm stays as it is: plans borrow from it. */
static int
check_untouched(struct migration *m, struct err **err)
{
    CLEANUP(vsphere_vm_done) struct vsphere_vm vm = {0};
    const char *before = m->record.change_version;

    if (vsphere_read_vm(m->vsphere, m->record.vm_moref, &vm, err) < 0)
        return -1;
    if (vm.power == VSPHERE_POWERED_OFF &&
        (!before || !vm.change_version || !strcmp(before, vm.change_version)))
        return 0;
    if (vm.power != VSPHERE_POWERED_OFF) {
        err_set(err, E_SOURCE_CHANGED, "the source VM was started since its copy was converted");
        return err_hint(err, "what was written there is not in the copy: forget this migration and "
                             "begin it anew");
    }
    if (m->options->untouched && !strcmp(m->options->untouched, m->record.vm_moref))
        return take_word(m, &vm, err);
    return refuse_touched(m, &vm, false, err);
}

int
migration_may_hand_over(struct migration *m, bool *ret_may, struct err **err)
{
    enum vsphere_power power;
    bool is_converted;

    *ret_may = false;
    if (migration_is_converted(m, &is_converted, err) < 0)
        return -1;
    if (is_converted) {
        if (check_untouched(m, err) < 0)
            return -1;
        *ret_may = true;
        return 0;
    }
    if (!m->has_synced) {
        migration_log(m, LOG_INFO,
                      "The source may have run since the final sync: syncing once more");
        return migration_enter(m, STAGE_FINAL_SYNC, err);
    }
    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, err) < 0)
        return -1;
    if (power != VSPHERE_POWERED_OFF)
        return migration_back_to_delta(m, "the source VM runs again", err);
    *ret_may = true;
    return 0;
}

/* What an earlier run may have done, by either way: from then on the files are CloudStack's. */
static int
recover_vm(struct migration *m, const struct step *step, struct err **err)
{
    char *vm_id = NULL;

    if (step_recover(step, &vm_id, err) < 0 || (!vm_id && import_recover_shell(m, &vm_id, err) < 0))
        return -1;
    return note_vm(m, vm_id, err);
}

static int
make_vm(struct migration *m, const struct import_nics *nics, struct step *step, struct err **err)
{
    struct preflight_nic first = nics->plan.items[0];
    char *vm_id = NULL;

    if (m->spec->import_method == CONFIG_IMPORT_SHELL) {
        if (import_fill_shell(m, &vm_id, err) < 0)
            return -1;
        return note_vm(m, vm_id, err);
    }
    if (import_drop_shell(m, err) < 0 || import_first_network(m, nics, &first.network_id, err) < 0)
        return -1;
    if (first.network_id != nics->plan.items[0].network_id)
        first.mac = first.ip = NULL; /* of the placeholder's NIC */
    step->nic = &first;
    if (step_do(step, &vm_id, err) < 0)
        return -1;
    return note_vm(m, vm_id, err);
}

static int
import_root(struct migration *m, const struct import_nics *nics, struct err **err)
{
    struct step step = import_step(m, &nics->plan.items[0]);
    bool may;

    if (m->record.cloudstack_vm_id)
        return 0;
    if (recover_vm(m, &step, err) < 0)
        return -1;
    if (m->record.cloudstack_vm_id)
        return 0;
    if (migration_may_hand_over(m, &may, err) < 0)
        return -1;
    return may ? make_vm(m, nics, &step, err) : 0;
}

int
migration_stage_import_root(struct migration *m, struct err **err)
{
    struct import_nics nics = {0};
    int result;

    if (import_nics_plan(m, &nics, err) < 0)
        return -1;
    result = import_root(m, &nics, err);
    if (result == 0 && m->record.cloudstack_vm_id) {
        result = import_add_nics(m, &nics, err);
        if (result == 0)
            result = migration_enter(m, STAGE_IMPORT_DATA_DISK, err);
    }
    import_nics_done(&nics);
    return result;
}
