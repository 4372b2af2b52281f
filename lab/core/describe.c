/* VMs as JSON. */
#include <stdio.h>

#include "core/vms.h"

static json_t *
describe_disk(const struct lab_vm *vm, size_t index)
{
    const struct lab_vm_disk *disk = &vm->disks.items[index];
    const char *raw = vm->machine->ops->raw_path(vm->machine, (unsigned)index);
    char address[48];

    (void)snprintf(address, sizeof(address), "%s%d:%d", disk->bus, disk->controller, disk->unit);
    return json_pack("{s:s, s:i, s:I, s:s, s:s, s:s, s:s*}", "address", address, "key", disk->key,
                     "capacity", (json_int_t)disk->capacity, "path", disk->path, "uuid", disk->uuid,
                     "change_id", disk->change_id, "raw", raw);
}

static json_t *
describe_snapshot(const struct lab_snapshot *snapshot)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:b, s:I}", "moref", snapshot->moref, "name",
                     snapshot->name, "description", snapshot->description, "view",
                     (json_int_t)snapshot->view, "quiesced", snapshot->is_quiesced, "created_at",
                     (json_int_t)snapshot->created_at);
}

json_t *
lab_vm_describe(struct lab *lab, struct lab_vm *vm)
{
    json_t *disks = json_array(), *snapshots = json_array(), *nics = json_array();

    for (size_t i = 0; i < vm->disks.count; i++)
        json_array_append_new(disks, describe_disk(vm, i));
    for (size_t i = 0; i < vm->snapshots.count; i++)
        json_array_append_new(snapshots, describe_snapshot(&vm->snapshots.items[i]));
    for (size_t i = 0; i < vm->nics.count; i++)
        json_array_append_new(nics,
                              json_pack("{s:s, s:s, s:b}", "mac", vm->nics.items[i].mac, "network",
                                        vm->nics.items[i].network, "start_connected",
                                        !vm->nics.items[i].is_start_disconnected));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:s, s:o, s:o, "
        "s:o}",
        "moref", vm->moref, "name", vm->name, "annotation", vm->annotation, "datacenter",
        vm->datacenter, "uuid", vm->instance_uuid, "bios_uuid", vm->bios_uuid, "kind",
        vm->machine->ops->kind, "power", lab_vm_is_on(lab, vm) ? "on" : "off", "cbt", vm->is_cbt_on,
        "cbt_effective", vm->is_cbt_effective, "needs_consolidation", vm->needs_consolidation,
        "powered_off_at_ms", (json_int_t)vm->powered_off_at_ms, "powered_on_at_ms",
        (json_int_t)vm->powered_on_at_ms, "busy_task", vm->busy_task, "disks", disks, "nics", nics,
        "snapshots", snapshots);
}
