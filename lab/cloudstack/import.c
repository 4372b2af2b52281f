/* importVm from a file of a pool, importVolume, listVolumesForImport, and the way back.  The checks
 * stand in the order of UnmanagedVMsManagerImpl and VolumeImportUnmanageManagerImpl, with their
 * texts; what this lab refuses beyond them is logged with its reason. */
#include "cloudstack/cs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"

#define SHARED_MOUNT_POINT_SINCE "4.22.1"
#define UNMANAGE_STOPPED_SINCE   "4.22"
#define TEMPLATE_HONOURED_SINCE  "4.22"

static bool
can_use_pool(const struct lab_cloudstack *cs)
{
    return cs->has_shared_mount_point ||
           cs_compare_versions(cs->version, SHARED_MOUNT_POINT_SINCE) >= 0;
}

static double
threshold(const struct lab_cloudstack *cs, const char *name)
{
    const json_t *setting;
    size_t i;

    json_array_foreach (cs_all(cs, "configuration"), i, setting) {
        if (!strcmp(cs_text(setting, "name"), name))
            return strtod(cs_text(setting, "value"), NULL);
    }
    return 1;
}

/* The allocators' rule: beyond its thresholds nothing is placed on a pool. */
static bool
has_room(const struct lab_cloudstack *cs, const json_t *pool)
{
    double total = json_number_value(json_object_get(pool, "disksizetotal"));
    double used = json_number_value(json_object_get(pool, "disksizeused"));
    double allocated = json_number_value(json_object_get(pool, "disksizeallocated"));
    double factor = strtod(cs_text(pool, "overprovisionfactor"), NULL);

    return used <= total * threshold(cs, "pool.storage.capacity.disablethreshold") &&
           allocated <=
               total * factor * threshold(cs, "pool.storage.allocated.capacity.disablethreshold");
}

static bool
has_tags(const char *wanted, const char *offered)
{
    CLEANUP(free_charp) char *copy = xstrdup(wanted), *padded = xasprintf(",%s,", offered);

    for (char *rest = copy, *word; (word = strsep(&rest, ",")) != NULL;) {
        CLEANUP(free_charp) char *framed = xasprintf(",%s,", word);

        if (*word && !strstr(padded, framed))
            return false;
    }
    return true;
}

bool
cs_has_host(const struct lab_cloudstack *cs, bool needs_uefi)
{
    const json_t *host;
    size_t i;

    json_array_foreach (cs_all(cs, "host"), i, host) {
        if (!strcmp(cs_text(host, "state"), "Up") &&
            !strcmp(cs_text(host, "resourcestate"), "Enabled") &&
            (!needs_uefi || json_is_true(json_object_get(host, "ueficapability"))))
            return true;
    }
    return false;
}

/* ---- importVm --------------------------------------------------------------------------------- */

struct plan {
    json_t *zone, *offering, *pool, *network;
    const char *host_name;
    char *file, *path; /* owned */
    struct cs_image image;
    json_t *details; /* owned */
};

static void
plan_done(struct plan *plan)
{
    free(plan->file);
    free(plan->path);
    json_decref(plan->details);
}

static int
check_names(const struct cs_request *rq, struct plan *plan, struct cs_error *error)
{
    const char *host_name = cs_get(rq, "hostname");

    if (!cs_get(rq, "name"))
        return cs_fail(error, CS_PARAM, "Instance name cannot be empty");
    plan->host_name = host_name ? host_name : cs_get(rq, "name");
    if (cs_is_host_name(plan->host_name))
        return 0;
    if (!host_name)
        return cs_fail(error, CS_PARAM,
                       "Please provide hostname for the VM. VM name contains unsupported "
                       "characters for it to be used as hostname");
    return cs_fail(error, CS_PARAM,
                   "Invalid VM hostname. VM hostname can contain ASCII letters 'a' through 'z', "
                   "the digits '0' through '9', and the hyphen ('-'), must be between 1 and 63 "
                   "characters long, and can't start or end with \"-\" and can't start with digit");
}

static int
check_places(const struct lab_cloudstack *cs, const struct cs_request *rq, struct plan *plan,
             struct cs_error *error)
{
    const char *path = cs_get(rq, "diskpath");
    const char *tags;

    if (!path)
        return cs_fail(error, CS_PARAM, "Disk Path is required for Import from shared storage");
    if (!cs_get(rq, "networkid"))
        return cs_fail(error, CS_PARAM, "Network is required for Import from shared storage");
    if (!cs_get(rq, "storageid"))
        return cs_fail(error, CS_PARAM, "Storage Pool is required for Import from shared storage");
    plan->pool = cs_find(cs, "storagepool", cs_get(rq, "storageid"));
    plan->network = cs_find(cs, "network", cs_get(rq, "networkid"));
    plan->offering = cs_find(cs, "serviceoffering", cs_get(rq, "serviceofferingid"));
    plan->zone = cs_find(cs, "zone", cs_get(rq, "zoneid"));
    if (!plan->pool)
        return cs_fail(error, CS_PARAM, "Storage Pool not found");
    if (!cs_pool_file(plan->pool, path, &plan->file, &plan->path)) {
        log_info("cloudstack: importVm: %s is not at the top level of the pool", path);
        return cs_fail(error, CS_INTERNAL, "Disk not found or is invalid");
    }
    if (cs_volume_of_path(cs, plan->pool, plan->file))
        return cs_fail(error, CS_PARAM, "Disk image is already in use");
    tags = cs_text(plan->offering, "storagetags");
    if (!has_tags(tags, cs_text(plan->pool, "tags")))
        return cs_fail(error, CS_PARAM,
                       "Service offering: %s storage tags are not compatible with selected "
                       "storage pool: %s",
                       cs_text(plan->offering, "id"), cs_text(plan->pool, "id"));
    return 0;
}

/* Whether the planner finds a place, though the VM is imported stopped. */
static int
check_placement(const struct lab_cloudstack *cs, const struct plan *plan, struct cs_error *error)
{
    if (strcmp(cs_text(plan->network, "zoneid"), cs_text(plan->zone, "id")) != 0)
        return cs_fail(error, CS_PARAM, "Network id=%s doesn't belong to zone %s",
                       cs_text(plan->network, "id"), cs_text(plan->zone, "id"));
    if (!cs_has_host(cs, false) || strcmp(cs_text(plan->pool, "state"), "Up") != 0 ||
        !has_room(cs, plan->pool))
        return cs_fail(error, CS_INTERNAL,
                       "Import failed for Vm: i-2-%u-VM. Suitable deployment destination not found",
                       cs->next_vm);
    return 0;
}

static int
check_offering(struct plan *plan, struct cs_error *error)
{
    if (!json_is_true(json_object_get(plan->offering, "iscustomized")))
        return 0;
    if (cs_check_size_detail(plan->details, "cpuNumber", error) < 0 ||
        cs_check_size_detail(plan->details, "memory", error) < 0)
        return -1;
    if (!json_object_get(plan->offering, "cpuspeed"))
        return cs_check_size_detail(plan->details, "cpuSpeed", error);
    return 0;
}

/* What the host says of the file.  The real server hides the reason, so the lab's log tells it. */
static int
check_image(const struct lab_cloudstack *cs, struct plan *plan, struct cs_error *error)
{
    cs_image_look(plan->path, &plan->image);
    if (plan->image.is_locked)
        return cs_fail(error, CS_INTERNAL, "Locked volume cannot be imported or unmanaged.");
    if (plan->image.is_encrypted)
        return cs_fail(error, CS_INTERNAL, "Encrypted volume cannot be imported or unmanaged.");
    if (plan->image.has_backing)
        return cs_fail(error, CS_INTERNAL,
                       "Volume with backing file cannot be imported or unmanaged.");
    if (can_use_pool(cs) && plan->image.exists && plan->image.is_readable &&
        !strcmp(plan->image.format, "qcow2") && !*plan->image.refusal)
        return 0;
    log_info("cloudstack: importVm: %s refused: %s", plan->path,
             !plan->image.exists    ? "no such file"
             : *plan->image.refusal ? plan->image.refusal
             : !can_use_pool(cs)    ? "Unsupported Storage Pool"
                                    : "it is no QCOW2 image");
    return cs_fail(error, CS_INTERNAL, "Disk not found or is invalid");
}

/* osid, else that of a template where the version honours it, else the dummy template's. */
static const json_t *
os_type_of(const struct lab_cloudstack *cs, const struct cs_request *rq)
{
    const char *os = cs_get(rq, "osid"), *template = cs_get(rq, "templateid");

    if (!os && template && cs_compare_versions(cs->version, TEMPLATE_HONOURED_SINCE) >= 0)
        os = cs_text(cs_find(cs, "template", template), "ostypeid");
    return os ? cs_find(cs, "ostype", os) : json_array_get(cs_all(cs, "ostype"), 0);
}

static json_t *
make_vm(struct lab_cloudstack *cs, const struct cs_request *rq, struct plan *plan,
        struct cs_error *error)
{
    const json_t *ostype = os_type_of(cs, rq);
    const char *display = cs_get(rq, "displayname");
    char id[40], created[32];
    json_t *vm = json_object();

    if (cs_set_owner(cs, rq, vm, error) < 0) {
        json_decref(vm);
        return NULL;
    }
    cs_new_uuid(id);
    cs_format_time(clock_wall_s(), created);
    cs_set_text(vm, "id", id);
    cs_set_text(vm, "name", plan->host_name);
    cs_set_text(vm, "displayname", display ? display : cs_get(rq, "name"));
    json_object_set_new(vm, "instancename", json_sprintf("i-2-%u-VM", cs->next_vm++));
    cs_set_text(vm, "state", "Stopped");
    cs_set_text(vm, "hypervisor", "KVM");
    cs_set_text(vm, "created", created);
    cs_set_text(vm, "zoneid", cs_text(plan->zone, "id"));
    cs_set_text(vm, "zonename", cs_text(plan->zone, "name"));
    cs_set_text(vm, "serviceofferingid", cs_text(plan->offering, "id"));
    cs_set_text(vm, "serviceofferingname", cs_text(plan->offering, "name"));
    cs_set_text(vm, "templatename", "kvm-default-vm-import-dummy-template");
    cs_set_text(vm, "ostypeid", cs_text(ostype, "id"));
    cs_set_text(vm, "guestosid", cs_text(ostype, "id"));
    cs_set_text(vm, "osdisplayname", cs_text(ostype, "description"));
    json_object_set_new(vm, "haenable", json_false());
    json_object_set(vm, "details", plan->details);
    json_object_set_new(vm, "nic", json_array());
    json_object_set_new(vm, "tags", json_array());
    cs_set_size(vm, plan->offering, plan->details);
    return vm;
}

static int
do_import_vm(struct lab_cloudstack *cs, const struct cs_request *rq, struct plan *plan,
             json_t **ret, struct cs_error *error)
{
    const char *mac = cs_get(rq, "macaddress"), *address = cs_get(rq, "ipaddress");
    CLEANUP(free_charp) char *root_name = NULL;
    json_t *vm, *volume;

    if (check_names(rq, plan, error) < 0 || check_places(cs, rq, plan, error) < 0 ||
        check_offering(plan, error) < 0 || check_image(cs, plan, error) < 0)
        return -1;
    if (mac && cs_mac_is_taken(cs, cs_text(plan->network, "id"), mac))
        return cs_fail(error, CS_INTERNAL,
                       "NIC with MAC address %s exists on network %s and forced flag is disabled",
                       mac, cs_text(plan->network, "id"));
    if (check_placement(cs, plan, error) < 0 ||
        cs_check_address(cs, plan->network, address, error) < 0)
        return -1;
    vm = make_vm(cs, rq, plan, error);
    if (!vm)
        return -1;
    if (cs_check_vm_limits(cs, vm, error) < 0) {
        json_decref(vm);
        return -1;
    }
    cs_nic_add(cs, vm, plan->network, mac, address);
    root_name = xasprintf("ROOT-%u", cs->next_vm - 1);
    volume = cs_volume_new(cs, plan->pool, plan->file, &plan->image, "ROOT");
    cs_set_text(volume, "name", root_name);
    (void)cs_set_owner(cs, rq, volume, error);
    /* 1, not 0: as the releases do it (apache/cloudstack issue 13771). */
    cs_volume_attach(volume, vm, 1);
    json_object_set_new(vm, "rootdeviceid", json_integer(1));
    cs_set_text(vm, "rootdevicetype", "ROOT");
    json_array_append_new(cs_all(cs, "vm"), vm);
    *ret = cs_vm_result(vm);
    return 0;
}

int
cs_import_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
             struct cs_error *error)
{
    const char *source = cs_get(rq, "importsource"), *hypervisor = cs_get(rq, "hypervisor");
    struct plan plan = {0};
    int result;

    if (strcasecmp(hypervisor, "KVM"))
        return cs_fail(error, CS_PARAM, "VM import is currently not supported for hypervisor: %s",
                       hypervisor);
    if (strcasecmp(source, "shared"))
        return cs_fail(error, CS_INTERNAL, "The lab imports from shared storage only, not from %s",
                       source);
    plan.details = cs_get_details(rq);
    result = do_import_vm(cs, rq, &plan, ret, error);
    plan_done(&plan);
    return result;
}

/* ---- volumes ---------------------------------------------------------------------------------- */

static int
check_volume_image(const char *path, struct cs_image *image, struct cs_error *error)
{
    cs_image_look(path, image);
    if (!image->exists)
        return cs_fail(error, CS_INTERNAL, "Cannot find volume on storage pool: %s", path);
    if (!image->is_readable)
        return cs_fail(error, CS_INTERNAL,
                       "Volume cannot be imported due to failed to get information of disk file. "
                       "The disk might be locked or unsupported");
    if (strcmp(image->format, "qcow2") && strcmp(image->format, "raw"))
        return cs_fail(error, CS_INTERNAL,
                       "Volume cannot be imported due to disk format %s is unsupported",
                       image->format);
    return 0;
}

static int
check_volume_flags(const char *path, const struct cs_image *image, struct cs_error *error)
{
    if (image->is_locked)
        return cs_fail(error, CS_INTERNAL, "Locked volume cannot be imported or unmanaged.");
    if (image->is_encrypted)
        return cs_fail(error, CS_INTERNAL, "Encrypted volume cannot be imported or unmanaged.");
    if (image->has_backing)
        return cs_fail(error, CS_INTERNAL,
                       "Volume with backing file cannot be imported or unmanaged.");
    if (!*image->refusal)
        return 0;
    log_info("cloudstack: importVolume: %s refused: %s", path, image->refusal);
    return cs_fail(error, CS_INTERNAL, "Volume cannot be imported due to %s", image->refusal);
}

static int
check_disk_offering(const json_t *offering, const json_t *pool, uint64_t size,
                    struct cs_error *error)
{
    if (!offering)
        return 0;
    if (*cs_text(offering, "state") && strcmp(cs_text(offering, "state"), "Active"))
        return cs_fail(error, CS_INTERNAL, "Disk offering %s is not active",
                       cs_text(offering, "id"));
    if (strcmp(cs_text(offering, "storagetype"), "shared"))
        return cs_fail(error, CS_INTERNAL, "Disk offering %s should use shared storage",
                       cs_text(offering, "id"));
    if (json_is_true(json_object_get(offering, "encrypt")))
        return cs_fail(error, CS_INTERNAL, "Disk offering %s should not support volume encryption",
                       cs_text(offering, "id"));
    if (json_is_true(json_object_get(offering, "iscustomized")) && size / GIB > CS_MAX_CUSTOM_GIB)
        return cs_fail(error, CS_INTERNAL,
                       "Volume size: %llu GB is out of allowed range. Min: 0. Max: %d",
                       (unsigned long long)(size / GIB), CS_MAX_CUSTOM_GIB);
    if (!has_tags(cs_text(offering, "tags"), cs_text(pool, "tags")))
        return cs_fail(error, CS_INTERNAL,
                       "Disk offering: %s storage tags are not compatible with selected storage "
                       "pool: %s",
                       cs_text(offering, "id"), cs_text(pool, "id"));
    return 0;
}

int
cs_import_volume(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                 struct cs_error *error)
{
    const json_t *pool = cs_find(cs, "storagepool", cs_get(rq, "storageid"));
    const char *offering_id = cs_get(rq, "diskofferingid"), *name = cs_get(rq, "name");
    const json_t *offering = offering_id ? cs_find(cs, "diskoffering", offering_id) : NULL;
    CLEANUP(free_charp) char *file = NULL, *path = NULL;
    struct cs_image image;
    json_t *volume, *probe = json_object();
    int result = cs_set_owner(cs, rq, probe, error);

    json_decref(probe);
    if (result < 0)
        return cs_fail(error, CS_INTERNAL, "Cannot import volume due to unknown owner");
    if (!cs_pool_file(pool, cs_get(rq, "path"), &file, &path))
        return cs_fail(error, CS_INTERNAL,
                       "Volume cannot be imported due to Volume path mismatch. Expected volume "
                       "path (%s) is not the same as the actual name and path",
                       cs_get(rq, "path"));
    if (strcmp(cs_text(pool, "state"), "Up") != 0)
        return cs_fail(error, CS_INTERNAL, "Storage pool %s is not Up: %s", cs_text(pool, "name"),
                       cs_text(pool, "state"));
    if (cs_volume_of_path(cs, pool, file))
        return cs_fail(error, CS_INTERNAL, "Volume is already managed by CloudStack: %s", file);
    if (!can_use_pool(cs))
        return cs_fail(error, CS_INTERNAL,
                       "Importing and unmanaging volume are not supported for pool type "
                       "SharedMountPoint on hypervisor KVM");
    if (check_volume_image(path, &image, error) < 0 ||
        check_volume_flags(path, &image, error) < 0 ||
        check_disk_offering(offering, pool, image.virtual_size, error) < 0)
        return -1;
    volume = cs_volume_new(cs, pool, file, &image, "DATADISK");
    (void)cs_set_owner(cs, rq, volume, error);
    if (name)
        cs_set_text(volume, "name", name);
    cs_set_text(volume, "diskofferingid", cs_text(offering, "id"));
    cs_set_text(volume, "diskofferingname",
                offering ? cs_text(offering, "name") : "Default Custom Offering for Volume Import");
    *ret = json_pack("{s:o}", "volume", cs_public(volume));
    return 0;
}

/* One entry of listVolumesForImport; with @image the details that only a look inside gives. */
static json_t *
importable(const json_t *pool, const char *file, const char *path, const struct cs_image *image,
           bool has_details)
{
    json_t *entry = json_pack(
        "{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:s}", "path", file, "name", file, "fullpath", path,
        "format", strcmp(image->format, "qcow2") ? "RAW" : "QCOW2", "size",
        (json_int_t)image->file_size, "virtualsize", (json_int_t)image->virtual_size, "storageid",
        cs_text(pool, "id"), "storage", cs_text(pool, "name"), "storagetype", "SharedMountPoint");
    json_t *details = json_object();

    if (!has_details) {
        json_decref(details);
        return entry;
    }
    cs_set_text(details, "IS_LOCKED", image->is_locked ? "true" : "false");
    if (image->is_encrypted)
        cs_set_text(details, "IS_ENCRYPTED", "true");
    if (image->has_backing)
        cs_set_text(details, "BACKING_FILE", image->backing);
    if (image->cluster_size)
        json_object_set_new(details, "CLUSTER_SIZE",
                            json_sprintf("%llu", (unsigned long long)image->cluster_size));
    cs_set_text(details, "FILE_FORMAT", image->format);
    json_object_set_new(entry, "details", details);
    return entry;
}

static void
collect_importable(const struct lab_cloudstack *cs, const json_t *pool, json_t *found)
{
    DIR *dir = opendir(cs_text(pool, "path"));
    struct dirent *item;

    while (dir && (item = readdir(dir))) {
        CLEANUP(free_charp) char *file = NULL, *path = NULL;
        struct cs_image image;

        if (!cs_pool_file(pool, item->d_name, &file, &path) || cs_volume_of_path(cs, pool, file))
            continue;
        cs_image_look(path, &image);
        if (image.is_readable)
            json_array_append_new(found, importable(pool, file, path, &image, false));
    }
    if (dir)
        closedir(dir);
}

int
cs_list_importable(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                   struct cs_error *error)
{
    const json_t *pool = cs_find(cs, "storagepool", cs_get(rq, "storageid"));
    const char *wanted = cs_get(rq, "path");
    CLEANUP(free_charp) char *file = NULL, *path = NULL;
    json_t *found;
    struct cs_image image;
    int result;

    if (!can_use_pool(cs))
        return cs_fail(error, CS_INTERNAL,
                       "Importing and unmanaging volume are not supported for pool type "
                       "SharedMountPoint on hypervisor KVM");
    if (wanted) {
        if (!cs_pool_file(pool, wanted, &file, &path))
            return cs_fail(error, CS_INTERNAL, "Cannot get volumes on storage pool via host %s",
                           cs_text(json_array_get(cs_all(cs, "host"), 0), "name"));
        cs_image_look(path, &image);
        if (!image.exists || !image.is_readable)
            return cs_fail(error, CS_INTERNAL, "Cannot get volumes on storage pool via host %s",
                           cs_text(json_array_get(cs_all(cs, "host"), 0), "name"));
    }
    found = json_array();
    if (!wanted)
        collect_importable(cs, pool, found);
    else if (!cs_volume_of_path(cs, pool, file))
        json_array_append_new(found, importable(pool, file, path, &image, true));
    /* `path` may have been asked for in full; it has done its work. */
    for (size_t i = 0; i < json_array_size(found) && wanted; i++)
        cs_set_text(json_array_get(found, i), "path", wanted);
    result = cs_list(cs, rq, "volumesforimport", found, ret, error);
    json_decref(found);
    return result;
}

int
cs_unmanage_volume(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                   struct cs_error *error)
{
    json_t *volume = cs_find(cs, "volume", cs_get(rq, "id"));

    if (!volume)
        return cs_fail(error, CS_INTERNAL, "Volume does not exist");
    if (*cs_text(volume, "virtualmachineid"))
        return cs_fail(error, CS_INTERNAL, "Volume (ID: %s) is attached to an instance",
                       cs_text(volume, "id"));
    if (strcmp(cs_text(volume, "state"), "Ready") != 0)
        return cs_fail(error, CS_INTERNAL, "Volume (ID: %s) is not ready", cs_text(volume, "id"));
    cs_volume_remove(cs, volume);
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}

int
cs_unmanage_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
               struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "id")), *volumes, *volume;
    size_t i;

    cs_refresh_vms(cs);
    if (!vm)
        return cs_fail(error, CS_PARAM, "Unable to find a VM by that id");
    if (strcmp(cs_text(vm, "state"), "Stopped"))
        return cs_fail(error, CS_INTERNAL, "The lab unmanages stopped VMs only");
    if (cs_compare_versions(cs->version, UNMANAGE_STOPPED_SINCE) < 0)
        return cs_fail(error, CS_INTERNAL, "Stopped VMs cannot be unmanaged before CloudStack %s",
                       UNMANAGE_STOPPED_SINCE);
    volumes = cs_volumes_of(cs, vm);
    json_array_foreach (volumes, i, volume) {
        cs_volume_remove(cs, volume);
    }
    json_decref(volumes);
    cs_vm_remove(cs, vm);
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}
