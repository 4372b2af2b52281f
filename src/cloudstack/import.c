/* The calls that hand finished disks to CloudStack. */
#include "cloudstack/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

/* Adds a parameter that newer servers know, if this one does. */
static int
add_if_known(struct cloudstack *cs, const char *command, const char *name, const char *value,
             struct cloudstack_params *params, struct err **err)
{
    bool has = false;

    if (!value || !*value)
        return 0;
    if (cloudstack_has_param(cs, command, name, &has, err) < 0)
        return -1;
    if (has)
        params_add(params, name, value);
    return 0;
}

int
cloudstack_import_vm(struct cloudstack *cs, const struct cloudstack_import_vm *import,
                     char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "name", import->name);
    params_add_optional(&params, "displayname", import->display_name);
    params_add(&params, "zoneid", import->zone_id);
    params_add(&params, "clusterid", import->cluster_id);
    params_add(&params, "hypervisor", "KVM");
    params_add(&params, "importsource", "shared");
    params_add(&params, "storageid", import->storage_id);
    params_add(&params, "diskpath", import->disk_path);
    params_add(&params, "networkid", import->network_id);
    params_add(&params, "serviceofferingid", import->service_offering_id);
    params_add_owner(&params, import->account, import->domain_id, import->project_id);
    params_add_details(&params, import->details);
    result = add_if_known(cs, "importVm", "osid", import->os_type_id, &params, err);
    if (result == 0)
        result = add_if_known(cs, "importVm", "macaddress", import->mac, &params, err);
    if (result == 0)
        result = add_if_known(cs, "importVm", "ipaddress", import->ip, &params, err);
    if (result == 0)
        result = cloudstack_submit(cs, "importVm", &params, ret_job_id, err);
    params_done(&params);
    return result;
}

int
cloudstack_add_nic(struct cloudstack *cs, const char *vm_id, const char *network_id,
                   const char *mac, const char *ip, char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "virtualmachineid", vm_id);
    params_add(&params, "networkid", network_id);
    params_add_optional(&params, "macaddress", mac);
    params_add_optional(&params, "ipaddress", ip);
    result = cloudstack_submit(cs, "addNicToVirtualMachine", &params, ret_job_id, err);
    params_done(&params);
    return result;
}

int
cloudstack_import_volume(struct cloudstack *cs, const char *name, const char *zone_id,
                         const char *storage_id, const char *path, const char *disk_offering_id,
                         const char *account, const char *domain_id, const char *project_id,
                         char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add_optional(&params, "name", name);
    params_add(&params, "storageid", storage_id);
    params_add(&params, "path", path);
    params_add_optional(&params, "diskofferingid", disk_offering_id);
    params_add_owner(&params, account, domain_id, project_id);
    /* No release known so far takes it: a pool belongs to one zone. */
    result = add_if_known(cs, "importVolume", "zoneid", zone_id, &params, err);
    if (result == 0)
        result = cloudstack_submit(cs, "importVolume", &params, ret_job_id, err);
    params_done(&params);
    return result;
}

int
cloudstack_attach_volume(struct cloudstack *cs, const char *volume_id, const char *vm_id,
                         int device_id, char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    char device[16];
    int result;

    params_add(&params, "id", volume_id);
    params_add(&params, "virtualmachineid", vm_id);
    if (device_id >= 0) {
        (void)snprintf(device, sizeof(device), "%d", device_id);
        params_add(&params, "deviceid", device);
    }
    result = cloudstack_submit(cs, "attachVolume", &params, ret_job_id, err);
    params_done(&params);
    return result;
}

/* An asynchronous command with up to two parameters. */
static int
submit_small(struct cloudstack *cs, const char *command, const char *name, const char *value,
             const char *name2, const char *value2, char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, name, value);
    if (name2)
        params_add(&params, name2, value2);
    result = cloudstack_submit(cs, command, &params, ret_job_id, err);
    params_done(&params);
    return result;
}

int
cloudstack_remove_nic(struct cloudstack *cs, const char *vm_id, const char *nic_id,
                      char **ret_job_id, struct err **err)
{
    return submit_small(cs, "removeNicFromVirtualMachine", "virtualmachineid", vm_id, "nicid",
                        nic_id, ret_job_id, err);
}

int
cloudstack_make_nic_default(struct cloudstack *cs, const char *vm_id, const char *nic_id,
                            char **ret_job_id, struct err **err)
{
    return submit_small(cs, "updateDefaultNicForVirtualMachine", "virtualmachineid", vm_id, "nicid",
                        nic_id, ret_job_id, err);
}

int
cloudstack_set_nic_ip(struct cloudstack *cs, const char *nic_id, const char *ip, char **ret_job_id,
                      struct err **err)
{
    return submit_small(cs, "updateVmNicIp", "nicid", nic_id, "ipaddress", ip, ret_job_id, err);
}

int
cloudstack_start_vm(struct cloudstack *cs, const char *vm_id, char **ret_job_id, struct err **err)
{
    return submit_small(cs, "startVirtualMachine", "id", vm_id, NULL, NULL, ret_job_id, err);
}

int
cloudstack_detach_volume(struct cloudstack *cs, const char *volume_id, char **ret_job_id,
                         struct err **err)
{
    return submit_small(cs, "detachVolume", "id", volume_id, NULL, NULL, ret_job_id, err);
}

int
cloudstack_expunge_vm(struct cloudstack *cs, const char *vm_id, char **ret_job_id, struct err **err)
{
    return submit_small(cs, "destroyVirtualMachine", "id", vm_id, "expunge", "true", ret_job_id,
                        err);
}

int
cloudstack_delete_volume(struct cloudstack *cs, const char *volume_id, struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    int result;

    params_add(&params, "id", volume_id);
    result = cloudstack_call(cs, CALL_WRITE, "deleteVolume", &params, &answer, err);
    params_done(&params);
    return result;
}

static void
add_indexed(struct cloudstack_params *params, const char *list, size_t index, const char *key,
            const char *value)
{
    CLEANUP(free_charp) char *name = xasprintf("%s[%zu].%s", list, index, key);

    params_add_optional(params, name, value);
}

int
cloudstack_create_tags(struct cloudstack *cs, const char *type, const char *ids,
                       const struct cloudstack_params *tags, char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "resourcetype", type);
    params_add(&params, "resourceids", ids);
    for (size_t i = 0; i < tags->count; i++) {
        add_indexed(&params, "tags", i, "key", tags->items[i].name);
        add_indexed(&params, "tags", i, "value", tags->items[i].value);
    }
    result = cloudstack_submit(cs, "createTags", &params, ret_job_id, err);
    params_done(&params);
    return result;
}

int
cloudstack_deploy_vm(struct cloudstack *cs, const struct cloudstack_deploy_vm *deploy,
                     char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "customid", deploy->id);
    params_add(&params, "startvm", "false");
    params_add(&params, "name", deploy->name);
    params_add_optional(&params, "displayname", deploy->display_name);
    params_add(&params, "zoneid", deploy->zone_id);
    params_add(&params, "hypervisor", "KVM");
    params_add(&params, "serviceofferingid", deploy->service_offering_id);
    params_add(&params, "templateid", deploy->template_id);
    if (deploy->uefi_mode) {
        params_add(&params, "boottype", "UEFI");
        params_add(&params, "bootmode", strcmp(deploy->uefi_mode, "SECURE") ? "Legacy" : "Secure");
    }
    for (size_t i = 0; i < deploy->nic_count; i++) {
        add_indexed(&params, "iptonetworklist", i, "networkid", deploy->nics[i].network_id);
        add_indexed(&params, "iptonetworklist", i, "mac", deploy->nics[i].mac);
        add_indexed(&params, "iptonetworklist", i, "ip", deploy->nics[i].ip);
    }
    params_add_owner(&params, deploy->account, deploy->domain_id, deploy->project_id);
    params_add_details(&params, deploy->details);
    result = cloudstack_submit(cs, "deployVirtualMachine", &params, ret_job_id, err);
    params_done(&params);
    return result;
}

/* Names are not encoded in the signed string, so one with '&' or '=' in it cannot be signed. */
static bool
is_sendable(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._:-", *c))
            return false;
    return *name != '\0';
}

/* @wanted over what the VM has: @details replaces the whole set on the server. */
static void
merge_details(const json_t *vm, const struct cloudstack_params *wanted,
              struct cloudstack_params *merged)
{
    json_t *details = json_object_get(vm, "details"), *value;
    const char *key;

    json_object_foreach (details, key, value) {
        if (json_is_string(value) && is_sendable(key) && !params_get(wanted, key))
            params_add(merged, key, json_string_value(value));
    }
    for (size_t i = 0; i < wanted->count; i++)
        params_add(merged, wanted->items[i].name, wanted->items[i].value);
}

int
cloudstack_update_vm(struct cloudstack *cs, const char *vm_id, const char *os_type_id,
                     const struct cloudstack_params *details, struct err **err)
{
    struct cloudstack_params params = {0}, merged = {0};
    CLEANUP(json_freep) json_t *vm = NULL, *answer = NULL;
    bool has_details = details && details->count;
    int result;

    if (!has_details && (!os_type_id || !*os_type_id))
        return 0;
    if (has_details) {
        if (cloudstack_get_vm(cs, vm_id, &vm, err) < 0)
            return -1;
        if (!vm)
            return err_set(err, E_CS_NOT_FOUND, "CloudStack has no VM %s", vm_id);
        merge_details(vm, details, &merged);
    }
    params_add(&params, "id", vm_id);
    params_add_optional(&params, "ostypeid", os_type_id);
    params_add_details(&params, &merged);
    result = cloudstack_call(cs, CALL_WRITE, "updateVirtualMachine", &params, &answer, err);
    params_done(&merged);
    params_done(&params);
    return result;
}
