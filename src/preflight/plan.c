/* What spec and VM together mean: the same for the checks and for the migration. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

/* ---- disks ------------------------------------------------------------------------------------ */

/* The disks of the VM that an entry of the spec's `disks:` means: exactly one, or an error. */
static int
match_spec_disk(const struct spec_disk *wanted, const struct vsphere_vm *vm, size_t *ret_index,
                struct err **err)
{
    size_t found = 0;

    for (size_t i = 0; i < vm->disks.count; i++) {
        const struct vsphere_disk *disk = &vm->disks.items[i];
        char address[32];
        bool is_it;

        vsphere_disk_address(disk, address);
        is_it = wanted->by == SPEC_DISK_BY_UNIT  ? disk->unit == wanted->number
                : wanted->by == SPEC_DISK_BY_KEY ? disk->key == wanted->number
                                                 : !strcasecmp(address, wanted->address);
        if (!is_it)
            continue;
        *ret_index = i;
        found++;
    }
    if (found == 1)
        return 0;
    err_set(err, E_CONFIG, "%s: %s", wanted->place,
            found ? "several disks have that unit number" : "the VM has no such disk");
    return err_hint(err, "name disks as scsi0:1, or by device key");
}

static size_t
boot_disk_index(const struct vsphere_vm *vm)
{
    for (size_t i = 0; i < vm->disks.count; i++)
        if (vm->boot_disk_key && vm->disks.items[i].key == vm->boot_disk_key)
            return i;
    return 0; /* they come in order of bus, controller, unit */
}

/* What the spec says of single disks. */
static int
apply_spec_disks(const struct spec *spec, const struct vsphere_vm *vm,
                 struct preflight_disks *disks, struct err **err)
{
    for (size_t i = 0; i < spec->disks.count; i++) {
        const struct spec_disk *wanted = &spec->disks.items[i];
        size_t index = 0;

        if (match_spec_disk(wanted, vm, &index, wanted->is_default ? NULL : err) < 0) {
            if (wanted->is_default)
                continue; /* what `defaults:` says of disks is for the VMs that have them */
            return -1;
        }
        if (disks->items[index].is_boot)
            continue;
        if (wanted->storage_id)
            disks->items[index].storage_id = wanted->storage_id;
        if (wanted->disk_offering_id)
            disks->items[index].disk_offering_id = wanted->disk_offering_id;
    }
    return 0;
}

static int
check_disk_offerings(const struct preflight_disks *disks, struct err **err)
{
    struct str without = STR_INIT(4096);
    char first[32] = "";
    int result = 0;

    for (size_t i = 0; i < disks->count; i++) {
        char address[32];

        if (disks->items[i].is_boot || disks->items[i].disk_offering_id)
            continue;
        vsphere_disk_address(disks->items[i].disk, address);
        if (!without.length)
            memcpy(first, address, sizeof(first));
        str_appendf(&without, "%s%s", without.length ? ", " : "", address);
    }
    if (without.length) {
        err_set(err, E_CONFIG, "no disk offering for the data disks %s", str_text(&without));
        result = err_hint(err,
                          "set target.cloudstack.diskofferingid, or disks: { \"%s\": "
                          "{ diskofferingid: ... } } in the spec",
                          first);
    }
    str_done(&without);
    return result;
}

int
preflight_plan_disks(const struct spec *spec, const struct vsphere_vm *vm,
                     struct preflight_disks *ret_disks, struct err **err)
{
    struct preflight_disks disks = {0};

    for (size_t i = 0; i < vm->disks.count; i++) {
        struct preflight_disk disk = {.disk = &vm->disks.items[i],
                                      .is_boot = i == boot_disk_index(vm),
                                      .storage_id = spec->target.storage_id};

        if (!disk.is_boot)
            disk.disk_offering_id = spec->target.disk_offering_id;
        vec_push(&disks, disk);
    }
    if (apply_spec_disks(spec, vm, &disks, err) < 0 || check_disk_offerings(&disks, err) < 0) {
        vec_done(&disks);
        return -1;
    }
    *ret_disks = disks;
    return 0;
}

/* ---- NICs ------------------------------------------------------------------------------------- */

/* The source NIC a mapping speaks of: by device key (its own or the map's key), else by label. */
static const struct vsphere_nic *
source_nic(const struct vsphere_vm *vm, const struct spec_nic *mapping)
{
    for (size_t i = 0; i < vm->nics.count; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%" PRId32, vm->nics.items[i].key);
        if (mapping->source_device_key == vm->nics.items[i].key ||
            (mapping->key && !strcmp(mapping->key, key)))
            return &vm->nics.items[i];
    }
    for (size_t i = 0; mapping->source_label && i < vm->nics.count; i++)
        if (vm->nics.items[i].label && !strcasecmp(vm->nics.items[i].label, mapping->source_label))
            return &vm->nics.items[i];
    return NULL;
}

static struct preflight_nic
mapped_nic(const struct spec *spec, const struct vsphere_vm *vm, size_t index)
{
    const struct spec_nic *mapping = &spec->nics.items[index];
    const struct vsphere_nic *source = source_nic(vm, mapping);

    bool keeps_ip = mapping->ip && !strcmp(mapping->ip, SPEC_IP_KEEP);

    return (struct preflight_nic){
        .key = mapping->key,
        .network_id = mapping->network_id,
        .mac = source ? source->mac : NULL,
        .ip = !keeps_ip ? mapping->ip
              : source  ? source->ip
                        : NULL,
        .keeps_ip = keeps_ip,
    };
}

void
preflight_plan_nics(const struct spec *spec, const struct vsphere_vm *vm,
                    struct preflight_nics *ret_nics)
{
    struct preflight_nics nics = {0};
    int primary = spec->primary_nic;

    if (primary >= 0) {
        vec_push(&nics, mapped_nic(spec, vm, (size_t)primary));
    } else {
        struct preflight_nic first = {.key = "primary", .network_id = spec->target.network_id};

        if (spec->nics.count == 0 && vm->nics.count)
            first.mac = vm->nics.items[0].mac;
        vec_push(&nics, first);
    }
    for (size_t i = 0; i < spec->nics.count; i++)
        if ((int)i != primary)
            vec_push(&nics, mapped_nic(spec, vm, i));
    *ret_nics = nics;
}

int
preflight_check_nics(const struct preflight_nics *nics, struct err **err)
{
    for (size_t i = 0; i < nics->count; i++)
        for (size_t j = 0; j < i; j++)
            if (fact_same_id(nics->items[i].network_id, nics->items[j].network_id)) {
                err_set(err, E_CONFIG, "two NICs (%s and %s) on network %s", nics->items[j].key,
                        nics->items[i].key, nics->items[i].network_id);
                return err_hint(err,
                                "CloudStack allows one NIC of a VM on a network; map one of them "
                                "to another, or leave it out of nic_mappings");
            }
    return 0;
}

/* ---- sizes ------------------------------------------------------------------------------------ */

#define DEFAULT_MHZ 1000

/* Within what a constrained offering allows from below: more than the VM had does no harm. */
static int32_t
at_least(int32_t value, const json_t *bounds, const char *key)
{
    double min = fact_number(bounds, key, 0);

    return min > value && min <= INT32_MAX ? (int32_t)min : value;
}

void
preflight_plan_sizes(const struct vsphere_vm *vm, const json_t *offering,
                     struct preflight_sizes *ret_sizes)
{
    const json_t *bounds = json_object_get(offering, "serviceofferingdetails");

    *ret_sizes = (struct preflight_sizes){0};
    if (!fact_is_true(offering, "iscustomized"))
        return;
    /* An offering may fix some and leave others open. */
    if (fact_number(offering, "cpunumber", 0) <= 0)
        ret_sizes->cpus = at_least(vm->cpu_count, bounds, "mincpunumber");
    if (fact_number(offering, "memory", 0) <= 0)
        ret_sizes->memory_mib = at_least(vm->memory_mib, bounds, "minmemory");
    if (fact_number(offering, "cpuspeed", 0) <= 0)
        ret_sizes->cpu_mhz = DEFAULT_MHZ;
}

/* ---- the VM ----------------------------------------------------------------------------------- */

int
preflight_check_identity(const struct spec *spec, const struct vsphere_vm *vm, struct err **err)
{
    if (!spec->vm.moref || !spec->vm.uuid || !vm->instance_uuid ||
        !strcasecmp(spec->vm.uuid, vm->instance_uuid) ||
        (vm->bios_uuid && !strcasecmp(spec->vm.uuid, vm->bios_uuid)))
        return 0;
    err_set(err, E_SOURCE_CHANGED, "VM %s has instance uuid %s, the spec says %s", vm->moref,
            vm->instance_uuid, spec->vm.uuid);
    return err_hint(err, "one of vm.moref and vm.uuid speaks of another VM; correct the spec");
}

const char *
preflight_uefi_mode(const struct spec *spec, const struct vsphere_vm *vm)
{
    const struct config_target *target = &spec->target;
    bool is_efi = target->boot_type ? !strcasecmp(target->boot_type, "UEFI")
                                    : vm->firmware && !strcasecmp(vm->firmware, "efi");

    if (!is_efi)
        return NULL;
    if (target->boot_mode)
        return strcasecmp(target->boot_mode, "Secure") ? "LEGACY" : "SECURE";
    return !target->boot_type && vm->is_secure_boot ? "SECURE" : "LEGACY";
}

bool
preflight_is_windows(const struct vsphere_vm *vm)
{
    const char *id = vm->guest_id ? vm->guest_id : "";

    return strcasestr(id, "win") && strncasecmp(id, "darwin", 6) != 0;
}
