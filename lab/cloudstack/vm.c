/* Virtual machines: their state, details, and ends. */
#include "cloudstack/cs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"

bool
cs_is_host_name(const char *name)
{
    size_t length = strlen(name);

    if (length < 1 || length > 63 || name[0] == '-' || name[length - 1] == '-' ||
        isdigit((unsigned char)name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c >= 0x80 || (!isalnum((unsigned char)*c) && *c != '-'))
            return false;
    return true;
}

json_t *
cs_vm_result(const json_t *vm)
{
    return json_pack("{s:o}", "virtualmachine", cs_public(vm));
}

static void
set_state(struct lab_cloudstack *cs, json_t *vm, const char *state)
{
    json_t *volumes = cs_volumes_of(cs, vm), *volume;
    size_t i;

    cs_set_text(vm, "state", state);
    json_array_foreach (volumes, i, volume) {
        cs_set_text(volume, "vmstate", state);
    }
    json_decref(volumes);
    if (strcmp(state, "Running")) {
        json_object_del(vm, "hostid");
        json_object_del(vm, "hostname");
    } else {
        const json_t *host = json_array_get(cs_all(cs, "host"), 0);

        cs_set_text(vm, "hostid", cs_text(host, "id"));
        cs_set_text(vm, "hostname", cs_text(host, "name"));
    }
}

const struct cs_boot *
cs_find_boot(const struct lab_cloudstack *cs, const char *vm_id)
{
    for (size_t i = 0; i < cs->boots.count; i++)
        if (!strcmp(cs->boots.items[i].vm_id, vm_id))
            return &cs->boots.items[i];
    return NULL;
}

/* A guest that has ended by itself is stopped. */
void
cs_refresh_vms(struct lab_cloudstack *cs)
{
    for (size_t i = 0; i < cs->boots.count; i++) {
        const struct cs_boot *boot = &cs->boots.items[i];
        json_t *vm = cs_find(cs, "vm", boot->vm_id);
        struct lab_boot_state state = {.is_running = true};

        if (boot->boot)
            lab_boot_state(boot->boot, &state);
        if (vm && !state.is_running && !strcmp(cs_text(vm, "state"), "Running"))
            set_state(cs, vm, "Stopped");
    }
}

/* ---- update ----------------------------------------------------------------------------------- */

int
cs_update_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
             struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "id")), *details;
    const char *name = cs_get(rq, "name"), *display = cs_get(rq, "displayname");
    const char *os = cs_get(rq, "ostypeid");

    if (!vm)
        return cs_fail(error, CS_PARAM, "unable to find virtual machine with id %s",
                       cs_get(rq, "id"));
    if (name && !cs_is_host_name(name))
        return cs_fail(error, CS_PARAM,
                       "Invalid name. Vm name can contain ASCII letters 'a' "
                       "through 'z', the digits '0' through '9', and the hyphen");
    details = cs_get_details(rq);
    /* Whoever sends details sends all of them. */
    if (json_object_size(details) || cs_get_bool(rq, "cleanupdetails"))
        json_object_set(vm, "details", details);
    json_decref(details);
    if (name)
        cs_set_text(vm, "name", name);
    if (display)
        cs_set_text(vm, "displayname", display);
    if (os) {
        cs_set_text(vm, "ostypeid", os);
        cs_set_text(vm, "guestosid", os);
        cs_set_text(vm, "osdisplayname", cs_text(cs_find(cs, "ostype", os), "description"));
    }
    *ret = cs_vm_result(vm);
    return 0;
}

/* ---- start, stop ------------------------------------------------------------------------------ */

int
cs_start_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
            struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "id"));

    cs_refresh_vms(cs);
    if (!vm)
        return cs_fail(error, CS_PARAM, "unable to find a virtual machine with that id");
    if (!strcmp(cs_text(vm, "state"), "Running"))
        return cs_fail(error, CS_PARAM, "The virtual machine %s (%s) is already running",
                       cs_text(vm, "id"), cs_text(vm, "displayname"));
    if (strcmp(cs_text(vm, "state"), "Stopped"))
        return cs_fail(error, CS_PARAM, "The virtual machine is %s", cs_text(vm, "state"));
    if (!cs_has_host(cs, *cs_text(json_object_get(vm, "details"), "UEFI") != '\0'))
        return cs_fail(error, CS_INTERNAL,
                       "Unable to create a deployment for VM instance {\"id\":\"%s\"}",
                       cs_text(vm, "id"));
    cs_boot_end(cs, cs_text(vm, "id"));
    if (cs_boot_vm(cs, vm, error) < 0)
        return -1;
    set_state(cs, vm, "Running");
    *ret = cs_vm_result(vm);
    return 0;
}

int
cs_stop_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
           struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "id"));

    if (!vm)
        return cs_fail(error, CS_PARAM, "unable to find a virtual machine with that id");
    cs_boot_end(cs, cs_text(vm, "id"));
    set_state(cs, vm, "Stopped");
    *ret = cs_vm_result(vm);
    return 0;
}

/* ---- destroy ---------------------------------------------------------------------------------- */

static bool
is_listed(const char *words, const char *id)
{
    const char *at = words ? strcasestr(words, id) : NULL;

    return at != NULL;
}

static void
delete_file(struct lab_cloudstack *cs, const json_t *volume)
{
    CLEANUP(free_charp) char *path = cs_volume_file(cs, volume);

    if (!*path)
        return;
    log_info("cloudstack: expunge deletes %s", path);
    (void)unlink(path);
}

/* As the real one: the root volume's file is deleted, and those named; other disks are let go. */
static void
expunge(struct lab_cloudstack *cs, json_t *vm, const char *volume_ids)
{
    json_t *volumes = cs_volumes_of(cs, vm), *volume;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        if (!strcmp(cs_text(volume, "type"), "ROOT") ||
            is_listed(volume_ids, cs_text(volume, "id"))) {
            delete_file(cs, volume);
            cs_volume_remove(cs, volume);
        } else {
            cs_volume_detach(volume);
        }
    }
    json_decref(volumes);
    cs_vm_remove(cs, vm);
}

void
cs_vm_remove(struct lab_cloudstack *cs, json_t *vm)
{
    cs_tags_drop(cs, vm);
    cs_remove(cs_all(cs, "vm"), vm);
}

int
cs_destroy_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
              struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "id"));

    if (!vm)
        return cs_fail(error, CS_PARAM, "unable to find a virtual machine with that id");
    cs_boot_end(cs, cs_text(vm, "id"));
    set_state(cs, vm, "Destroyed");
    *ret = cs_vm_result(vm);
    if (cs_get_bool(rq, "expunge"))
        expunge(cs, vm, cs_get(rq, "volumeids"));
    return 0;
}

int
cs_expunge_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
              struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "id"));

    if (!vm || strcmp(cs_text(vm, "state"), "Destroyed") != 0)
        return cs_fail(error, CS_PARAM, "Please destroy vm with specified id before expunging");
    expunge(cs, vm, NULL);
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}

/* ---- list ------------------------------------------------------------------------------------- */

static bool
has_volume_on(const struct lab_cloudstack *cs, const json_t *vm, const char *storage_id)
{
    json_t *volumes = cs_volumes_of(cs, vm), *volume;
    bool has = false;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        has = has || !strcasecmp(cs_text(volume, "storageid"), storage_id);
    }
    json_decref(volumes);
    return has;
}

static bool
has_nic_on(const json_t *vm, const char *network_id)
{
    const json_t *nic;
    size_t i;

    json_array_foreach (json_object_get(vm, "nic"), i, nic) {
        if (!strcasecmp(cs_text(nic, "networkid"), network_id))
            return true;
    }
    return false;
}

int
cs_list_vms(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
            struct cs_error *error)
{
    const char *storage = cs_get(rq, "storageid"), *network = cs_get(rq, "networkid");
    json_t *found = json_array(), *vm;
    size_t i;
    int result;

    cs_refresh_vms(cs);
    json_array_foreach (cs_all(cs, "vm"), i, vm) {
        if ((!storage || has_volume_on(cs, vm, storage)) && (!network || has_nic_on(vm, network)))
            json_array_append(found, vm);
    }
    result = cs_list(cs, rq, "virtualmachine", found, ret, error);
    json_decref(found);
    return result;
}
