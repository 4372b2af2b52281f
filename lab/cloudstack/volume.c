/* Volumes: records of files in the pools, and what they hang on. */
#include "cloudstack/cs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define ROOT_DEVICE  0
#define CDROM_DEVICE 3 /* never given to a disk */

json_t *
cs_volume_new(struct lab_cloudstack *cs, const json_t *pool, const char *file,
              const struct cs_image *image, const char *type)
{
    char id[40], created[32];
    json_t *volume;

    cs_new_uuid(id);
    cs_format_time(clock_wall_s(), created);
    volume = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:s}", "id",
                       id, "name", file, "path", file, "type", type, "state", "Ready", "storage",
                       cs_text(pool, "name"), "storageid", cs_text(pool, "id"), "storagetype",
                       "shared", "hypervisor", "KVM", "size", (json_int_t)image->virtual_size,
                       "virtualsize", (json_int_t)image->virtual_size, "physicalsize",
                       (json_int_t)image->file_size, "zoneid", cs_text(pool, "zoneid"), "zonename",
                       cs_text(pool, "zonename"), "provisioningtype", "thin", "created", created);
    json_array_append_new(cs_all(cs, "volume"), volume);
    return volume;
}

json_t *
cs_volume_of_path(const struct lab_cloudstack *cs, const json_t *pool, const char *file)
{
    json_t *volume;
    size_t i;

    json_array_foreach (cs_all(cs, "volume"), i, volume) {
        if (!strcmp(cs_text(volume, "storageid"), cs_text(pool, "id")) &&
            !strcmp(cs_text(volume, "path"), file))
            return volume;
    }
    return NULL;
}

char *
cs_volume_file(const struct lab_cloudstack *cs, const json_t *volume)
{
    const json_t *pool = cs_find(cs, "storagepool", cs_text(volume, "storageid"));

    if (!pool || !*cs_text(volume, "path"))
        return xstrdup("");
    return xasprintf("%s/%s", cs_text(pool, "path"), cs_text(volume, "path"));
}

void
cs_volume_remove(struct lab_cloudstack *cs, json_t *volume)
{
    cs_tags_drop(cs, volume);
    cs_remove(cs_all(cs, "volume"), volume);
}

void
cs_volume_attach(json_t *volume, const json_t *vm, int device_id)
{
    char now[32];

    cs_format_time(clock_wall_s(), now);
    cs_set_text(volume, "virtualmachineid", cs_text(vm, "id"));
    cs_set_text(volume, "vmname", cs_text(vm, "name"));
    cs_set_text(volume, "vmdisplayname", cs_text(vm, "displayname"));
    cs_set_text(volume, "vmstate", cs_text(vm, "state"));
    cs_set_text(volume, "attached", now);
    json_object_set_new(volume, "deviceid", json_integer(device_id));
}

void
cs_volume_detach(json_t *volume)
{
    static const char *const KEYS[] = {"virtualmachineid", "vmname",   "vmdisplayname",
                                       "vmstate",          "attached", "deviceid"};

    for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++)
        json_object_del(volume, KEYS[i]);
}

static json_int_t
device_of(const json_t *volume)
{
    return json_integer_value(json_object_get(volume, "deviceid"));
}

json_t *
cs_volumes_of(const struct lab_cloudstack *cs, const json_t *vm)
{
    json_t *found = json_array(), *volume;
    size_t i;

    json_array_foreach (cs_all(cs, "volume"), i, volume) {
        size_t at = 0;

        if (strcmp(cs_text(volume, "virtualmachineid"), cs_text(vm, "id")))
            continue;
        while (at < json_array_size(found) &&
               device_of(json_array_get(found, at)) <= device_of(volume))
            at++;
        json_array_insert(found, at, volume);
    }
    return found;
}

static bool
is_device_used(const json_t *volumes, json_int_t device_id)
{
    const json_t *volume;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        if (device_of(volume) == device_id)
            return true;
    }
    return false;
}

/* The device id for a data disk: the one asked for, or the first free one. */
static json_int_t
max_data_volumes(const struct lab_cloudstack *cs)
{
    const json_t *row = json_array_get(cs_all(cs, "hypervisorcapability"), 0);

    return json_integer_value(json_object_get(row, "maxdatavolumeslimit"));
}

static int
choose_device(const struct lab_cloudstack *cs, const json_t *volumes, const char *wanted,
              json_int_t *ret_device, struct cs_error *error)
{
    json_int_t device = wanted ? strtoll(wanted, NULL, 10) : 1;
    json_int_t most = max_data_volumes(cs), last = most + 1;
    const json_t *volume;
    json_int_t count = 0;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        count += strcmp(cs_text(volume, "type"), "DATADISK") == 0;
    }
    if (count >= most)
        return cs_fail(error, CS_PARAM,
                       "The specified VM already has the maximum number of data disks (%d) "
                       "attached. Please specify another VM.",
                       (int)most);
    if (wanted && (device < 1 || device > last || device == CDROM_DEVICE))
        return cs_fail(error, CS_INTERNAL, "deviceId should be 0,1,2,4-%d", (int)last);
    if (wanted && is_device_used(volumes, device))
        return cs_fail(error, CS_INTERNAL, "deviceId %s is used by vm", wanted);
    while (!wanted && (device == CDROM_DEVICE || is_device_used(volumes, device)))
        device++;
    if (device > last)
        return cs_fail(error, CS_INTERNAL, "All device Ids are used by vm");
    *ret_device = device;
    return 0;
}

static bool
has_root(const json_t *volumes)
{
    const json_t *volume;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        if (!strcmp(cs_text(volume, "type"), "ROOT"))
            return true;
    }
    return false;
}

static json_t *
volume_result(const json_t *volume)
{
    return json_pack("{s:o}", "volume", cs_public(volume));
}

int
cs_attach_volume(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                 struct cs_error *error)
{
    json_t *volume = cs_find(cs, "volume", cs_get(rq, "id"));
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "virtualmachineid"));
    const char *wanted = cs_get(rq, "deviceid");
    bool is_root = wanted && !strcmp(wanted, "0");
    json_t *volumes;
    json_int_t device = ROOT_DEVICE;
    int result = 0;

    cs_refresh_vms(cs);
    if (!volume || !vm)
        return cs_fail(error, CS_PARAM, "unable to find the volume or the virtual machine by id");
    if (*cs_text(volume, "virtualmachineid"))
        return cs_fail(error, CS_PARAM, "Please specify a volume that is not attached to any VM.");
    if (strcmp(cs_text(vm, "state"), "Stopped"))
        return cs_fail(error, CS_PARAM, "The lab attaches volumes to stopped VMs only; %s is %s",
                       cs_text(vm, "name"), cs_text(vm, "state"));
    volumes = cs_volumes_of(cs, vm);
    if (is_root && has_root(volumes))
        result = cs_fail(error, CS_PARAM, "Vm already has root volume attached to it");
    else if (!is_root)
        result = choose_device(cs, volumes, wanted, &device, error);
    json_decref(volumes);
    if (result < 0)
        return -1;
    cs_set_text(volume, "type", is_root ? "ROOT" : "DATADISK");
    if (is_root)
        json_object_set_new(vm, "rootdeviceid", json_integer(ROOT_DEVICE));
    cs_volume_attach(volume, vm, (int)device);
    *ret = volume_result(volume);
    return 0;
}

int
cs_detach_volume(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                 struct cs_error *error)
{
    const char *id = cs_get(rq, "id");
    json_t *volume = id ? cs_find(cs, "volume", id) : NULL, *vm;

    cs_refresh_vms(cs);
    if (!volume)
        return cs_fail(error, CS_PARAM, "The lab detaches volumes by id only");
    vm = cs_find(cs, "vm", cs_text(volume, "virtualmachineid"));
    if (!vm)
        return cs_fail(error, CS_PARAM,
                       "The specified volume is not attached to a virtual machine.");
    if (strcmp(cs_text(vm, "state"), "Stopped"))
        return cs_fail(error, CS_PARAM,
                       "Root volume detach can happen only when vm is in states: Stopped or "
                       "Destroyed");
    cs_volume_detach(volume);
    *ret = volume_result(volume);
    return 0;
}

/* ---- the end of a volume: its file goes with it ------------------------------------------------ */

static int
delete_volume(struct lab_cloudstack *cs, const struct cs_request *rq, struct cs_error *error)
{
    json_t *volume = cs_find(cs, "volume", cs_get(rq, "id"));
    CLEANUP(free_charp) char *path = NULL;

    if (!volume)
        return cs_fail(error, CS_PARAM, "Unable to find volume with ID: %s", cs_get(rq, "id"));
    if (*cs_text(volume, "virtualmachineid"))
        return cs_fail(error, CS_PARAM, "Please specify a volume that is not attached to any VM.");
    path = cs_volume_file(cs, volume);
    if (*path) {
        log_info("cloudstack: %s deletes %s", rq->command, path);
        (void)unlink(path);
    }
    cs_volume_remove(cs, volume);
    return 0;
}

int
cs_delete_volume(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                 struct cs_error *error)
{
    if (delete_volume(cs, rq, error) < 0)
        return -1;
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}

int
cs_destroy_volume(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                  struct cs_error *error)
{
    json_t *volume = cs_find(cs, "volume", cs_get(rq, "id"));
    json_t *result = volume ? volume_result(volume) : NULL;

    if (!cs_get_bool(rq, "expunge")) {
        json_decref(result);
        return cs_fail(error, CS_INTERNAL, "The lab destroys volumes with expunge=true only");
    }
    if (delete_volume(cs, rq, error) < 0) {
        json_decref(result);
        return -1;
    }
    *ret = result;
    return 0;
}

int
cs_list_volumes(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                struct cs_error *error)
{
    cs_refresh_vms(cs);
    return cs_list(cs, rq, "volume", cs_all(cs, "volume"), ret, error);
}
