/* What is settled before the source goes off, so that nothing has to be asked or decided while it is. */
#include "migration/import.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

int
import_get(const struct migration *m, const char *key, char **ret_value, struct err **err)
{
    const struct store_subject of = {.scope = STORE_VM, .migration = m->record.id};

    return store_setting_get(m->store, &of, key, ret_value, err);
}

int
import_put(const struct migration *m, const char *key, const char *value, struct err **err)
{
    const struct store_subject of = {.scope = STORE_VM, .migration = m->record.id};

    return store_setting_put(m->store, &of, key, value, err);
}

const struct store_disk *
import_boot_disk(const struct migration *m)
{
    for (size_t i = 0; i < m->disks.count; i++)
        if (m->disks.items[i].is_boot)
            return &m->disks.items[i];
    return &m->disks.items[0];
}

/* ---- details ---------------------------------------------------------------------------------- */

static void
add_detail(struct import_details *details, const char *name, const char *value)
{
    if (value && *value)
        vec_push(&details->params, ((struct cloudstack_param){name, value}));
}

void
import_details_devices(const struct migration *m, struct import_details *details)
{
    const char *controller = m->spec->target.root_disk_controller;

    /* The existing tool's word for what CloudStack's agent knows as a libvirt bus name. */
    if (controller && !strcasecmp(controller, "virtio-scsi"))
        controller = "scsi";
    add_detail(details, "rootDiskController", controller);
    add_detail(details, "nicAdapter", m->spec->target.nic_adapter);
    add_detail(details, "UEFI", preflight_uefi_mode(m->spec, &m->vm));
}

static void
add_size(struct import_details *details, const char *name, int32_t size)
{
    vec_push(&details->owned, xasprintf("%" PRId32, size));
    add_detail(details, name, details->owned.items[details->owned.count - 1]);
}

int
import_details_sizes(const struct migration *m, struct import_details *details, struct err **err)
{
    struct preflight_sizes sizes;
    json_t *offering = NULL;

    if (cloudstack_get(m->cloudstack, "listServiceOfferings", m->spec->target.service_offering_id,
                       &offering, err) < 0)
        return -1;
    preflight_plan_sizes(&m->vm, offering, &sizes);
    json_decref(offering);
    if (sizes.cpus)
        add_size(details, "cpuNumber", sizes.cpus);
    if (sizes.memory_mib)
        add_size(details, "memory", sizes.memory_mib);
    if (sizes.cpu_mhz)
        add_size(details, "cpuSpeed", sizes.cpu_mhz);
    return 0;
}

void
import_details_done(struct import_details *details)
{
    for (size_t i = 0; i < details->owned.count; i++)
        free(details->owned.items[i]);
    vec_done(&details->owned);
    vec_done(&details->params);
}

/* ---- NICs ------------------------------------------------------------------------------------- */

/* The address was settled while the guest could tell it; later its Tools tell nothing. */
static int
settled_ip(const struct migration *m, struct import_nics *nics, struct preflight_nic *nic,
           struct err **err)
{
    CLEANUP(free_charp) char *key = xasprintf(IMPORT_IP "%s", nic->key);
    char *ip = NULL;

    if (import_get(m, key, &ip, err) < 0)
        return -1;
    nic->ip = ip;
    if (ip)
        vec_push(&nics->owned, ip);
    return 0;
}

int
import_nics_plan(const struct migration *m, struct import_nics *ret, struct err **err)
{
    struct import_nics nics = {0};
    int result;

    preflight_plan_nics(m->spec, &m->vm, &nics.plan);
    result = preflight_check_nics(&nics.plan, err);
    for (size_t i = 0; i < nics.plan.count && result == 0; i++)
        result = settled_ip(m, &nics, &nics.plan.items[i], err);
    if (result < 0)
        import_nics_done(&nics);
    else
        *ret = nics;
    return result;
}

void
import_nics_done(struct import_nics *nics)
{
    for (size_t i = 0; i < nics->owned.count; i++)
        free(nics->owned.items[i]);
    vec_done(&nics->owned);
    vec_done(&nics->plan);
}

int
migration_imported_vm(const struct migration *m, char **ret_vm_id, struct err **err)
{
    if (!m->record.cloudstack_vm_id)
        return import_get(m, IMPORT_SHELL, ret_vm_id, err);
    *ret_vm_id = xstrdup(m->record.cloudstack_vm_id);
    return 0;
}

/* ---- before the cutover ----------------------------------------------------------------------- */

static int
settle_os_type(struct migration *m, struct err **err)
{
    struct preflight_os_type type = {0};
    int result;

    if (m->spec->target.os_type_id)
        return 0; /* the spec's wins, whatever was found */
    if (preflight_find_os_type(m->cloudstack, &m->vm, &type, err) < 0)
        return -1;
    if (type.id)
        migration_log(m, type.is_guess ? LOG_WARNING : LOG_INFO,
                      "The guest id %s becomes the OS type %s%s", m->vm.guest_id, type.description,
                      type.is_guess ? ", which is a guess: set ostypeid to choose it" : "");
    result = import_put(m, IMPORT_OS_TYPE, type.id, err);
    preflight_os_type_done(&type);
    return result;
}

/* An address that is to be kept on a network that gives out addresses. */
static int
settle_ip(struct migration *m, const struct preflight_nic *nic, struct err **err)
{
    CLEANUP(free_charp) char *key = xasprintf(IMPORT_IP "%s", nic->key);
    bool has_addresses = false;

    if (!nic->ip && nic->keeps_ip)
        return 0; /* a VM that is off: what was settled before stands */
    if (nic->ip && preflight_has_addresses(m->cloudstack, nic->network_id, &has_addresses, err) < 0)
        return -1;
    return import_put(m, key, has_addresses ? nic->ip : NULL, err);
}

int
migration_settle_import(struct migration *m, struct err **err)
{
    struct preflight_nics nics = {0};
    int result = settle_os_type(m, err);

    preflight_plan_nics(m->spec, &m->vm, &nics);
    for (size_t i = 0; i < nics.count && result == 0; i++)
        result = settle_ip(m, &nics.items[i], err);
    vec_done(&nics);
    if (result == 0)
        result = m->spec->import_method == CONFIG_IMPORT_SHELL ? import_make_shell(m, err)
                                                               : import_drop_shell(m, err);
    return result < 0 ? err_wrap(err, "preparing the import") : 0;
}
