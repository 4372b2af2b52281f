/* The root disk becomes a VM of CloudStack, with its NICs. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "migration/step.h"

VEC_DECLARE(text_vec, char *);

void
migration_add_detail(struct cloudstack_params *details, const char *name, const char *value)
{
    if (value && *value)
        vec_push(details, ((struct cloudstack_param){name, value}));
}

void
migration_vm_details(const struct migration *m, struct cloudstack_params *details)
{
    const char *controller = m->spec->target.root_disk_controller;

    /* The existing tool's word for what CloudStack's agent knows as a libvirt bus name. */
    if (controller && !strcasecmp(controller, "virtio-scsi"))
        controller = "scsi";
    migration_add_detail(details, "rootDiskController", controller);
    migration_add_detail(details, "nicAdapter", m->spec->target.nic_adapter);
    migration_add_detail(details, "UEFI", preflight_uefi_mode(m->spec, &m->vm));
}

static char *
id_of_vm(const json_t *result)
{
    return xstrdup(step_text(json_object_get(result, "virtualmachine"), "id"));
}

/* A custom service offering takes its sizes from the source VM. */
static int
custom_sizes(const struct migration *m, struct cloudstack_params *details, struct text_vec *owned,
             struct err **err)
{
    json_t *offering = NULL;

    if (cloudstack_get(m->cloudstack, "listServiceOfferings", m->spec->target.service_offering_id,
                       &offering, err) < 0)
        return -1;
    if (json_is_true(json_object_get(offering, "iscustomized"))) {
        vec_push(owned, xasprintf("%" PRId32, m->vm.cpu_count));
        migration_add_detail(details, "cpuNumber", owned->items[owned->count - 1]);
        vec_push(owned, xasprintf("%" PRId32, m->vm.memory_mib));
        migration_add_detail(details, "memory", owned->items[owned->count - 1]);
        if (!json_object_get(offering, "cpuspeed"))
            migration_add_detail(details, "cpuSpeed", "1000");
    }
    json_decref(offering);
    return 0;
}

static const struct store_disk *
boot_disk(const struct migration *m)
{
    for (size_t i = 0; i < m->disks.count; i++)
        if (m->disks.items[i].is_boot)
            return &m->disks.items[i];
    return &m->disks.items[0];
}

static int
submit_import_vm(const struct step *step, char **ret_job_id, struct err **err)
{
    const struct migration *m = step->m;
    const struct config_target *target = &m->spec->target;
    CLEANUP(free_charp) char *host_name = cloudstack_host_name(m->record.vm_name);
    struct cloudstack_params details = {0};
    struct text_vec owned = {0};
    struct cloudstack_import_vm import = {
        .name = host_name,
        .display_name = m->record.vm_name,
        .zone_id = target->zone_id,
        .cluster_id = target->cluster_id,
        .storage_id = step->disk->storage_id,
        .disk_path = step_base_name(step->disk->target_path),
        .network_id = step->nic->network_id,
        .service_offering_id = target->service_offering_id,
        .os_type_id = target->os_type_id,
        .mac = step->nic->mac,
        .account = target->account,
        .domain_id = target->domain_id,
        .project_id = target->project_id,
        .details = &details,
    };
    int result;

    migration_vm_details(m, &details);
    result = custom_sizes(m, &details, &owned, err);
    if (result == 0)
        result = cloudstack_import_vm(m->cloudstack, &import, ret_job_id, err);
    for (size_t i = 0; i < owned.count; i++)
        free(owned.items[i]);
    vec_done(&owned);
    vec_done(&details);
    return result;
}

static int
lookup_vm(const struct step *step, char **ret_result, struct err **err)
{
    return cloudstack_find_vm_by_path(step->m->cloudstack, step->disk->storage_id,
                                      step_base_name(step->disk->target_path), ret_result, err);
}

static int
submit_add_nic(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_add_nic(step->m->cloudstack, step->m->record.cloudstack_vm_id,
                              step->nic->network_id, step->nic->mac, NULL, ret_job_id, err);
}

/* The VM's NIC on that network, borrowed from @vm; NULL when it has none. */
static const json_t *
nic_on_network(const json_t *vm, const char *network_id)
{
    const json_t *nics = json_object_get(vm, "nic");
    const json_t *nic;
    size_t i;

    json_array_foreach (nics, i, nic) {
        const char *id = step_text(nic, "networkid");

        if (id && !strcasecmp(id, network_id))
            return nic;
    }
    return NULL;
}

static int
lookup_nic(const struct step *step, char **ret_result, struct err **err)
{
    json_t *vm = NULL;

    if (cloudstack_get_vm(step->m->cloudstack, step->m->record.cloudstack_vm_id, &vm, err) < 0)
        return -1;
    *ret_result = vm && nic_on_network(vm, step->nic->network_id) ? xstrdup("done") : NULL;
    json_decref(vm);
    return 0;
}

/* CloudStack replaces a MAC address that it does not like without a word, and older servers cannot be
 * given one: what was kept is compared after the fact. */
static int
compare_macs(struct migration *m, const struct preflight_nics *nics, struct err **err)
{
    json_t *vm = NULL;

    if (cloudstack_get_vm(m->cloudstack, m->record.cloudstack_vm_id, &vm, err) < 0)
        return -1;
    for (size_t i = 0; i < nics->count; i++) {
        const json_t *nic = nic_on_network(vm, nics->items[i].network_id);
        const char *mac = nic ? step_text(nic, "macaddress") : NULL;

        if (nics->items[i].mac && mac && strcasecmp(mac, nics->items[i].mac))
            migration_log(m, LOG_WARNING,
                          "NIC %s has MAC address %s on CloudStack, %s on the source: this server "
                          "cannot be told which to use",
                          nics->items[i].key, mac, nics->items[i].mac);
    }
    json_decref(vm);
    return 0;
}

static int
add_nics(struct migration *m, const struct preflight_nics *nics, struct err **err)
{
    for (size_t i = 1; i < nics->count; i++) {
        CLEANUP(free_charp) char *name = xasprintf("add_nic:%s", nics->items[i].key);
        CLEANUP(free_charp) char *result = NULL;
        struct step step = {.m = m,
                            .name = name,
                            .nic = &nics->items[i],
                            .command = "addNicToVirtualMachine",
                            .submit = submit_add_nic,
                            .lookup = lookup_nic,
                            .result_of = step_done};

        if (step_do(&step, &result, err) < 0)
            return -1;
    }
    return compare_macs(m, nics, err);
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
import_step(struct migration *m, const struct preflight_nics *nics)
{
    return (struct step){.m = m,
                         .name = "import_vm",
                         .command = "importVm",
                         .disk = boot_disk(m),
                         .nic = &nics->items[0],
                         .submit = submit_import_vm,
                         .lookup = lookup_vm,
                         .result_of = id_of_vm};
}

/* Whether the files may be imported now: the source must be off, and must have been since the sync.
 * When not, the stage has been changed to what is to be done first. */
static int
check_source(struct migration *m, bool *ret_may, struct err **err)
{
    enum vsphere_power power;

    *ret_may = false;
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

static int
import_root(struct migration *m, const struct preflight_nics *nics, struct err **err)
{
    struct step step = import_step(m, nics);
    char *vm_id = NULL;
    bool may;

    /* First of all what an earlier run may have done: from then on the files are CloudStack's. */
    if (step_recover(&step, &vm_id, err) < 0 || note_vm(m, take(vm_id), err) < 0)
        return -1;
    if (m->record.cloudstack_vm_id)
        return 0;
    if (check_source(m, &may, err) < 0)
        return -1;
    if (!may)
        return 0;
    if (step_do(&step, &vm_id, err) < 0)
        return -1;
    return note_vm(m, vm_id, err);
}

int
migration_stage_import_root(struct migration *m, struct err **err)
{
    struct preflight_nics nics = {0};
    int result = -1;

    preflight_plan_nics(m->spec, &m->vm, &nics);
    if (preflight_check_nics(&nics, err) == 0 && import_root(m, &nics, err) == 0) {
        result = 0;
        if (m->record.cloudstack_vm_id) {
            result = add_nics(m, &nics, err);
            if (result == 0)
                result = migration_enter(m, STAGE_IMPORT_DATA_DISK, err);
        }
    }
    vec_done(&nics);
    return result;
}
