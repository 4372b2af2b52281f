/* Starting a VM: from nothing but what the API calls said, its disks in device order with the root
 * first, its MAC addresses, and the details that choose the devices. */
#include "cloudstack/cs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"

#define MAX_DISKS      32
#define MAX_NICS       16

#define MIN_MEMORY_MIB 256
#define MAX_MEMORY_MIB 1024

/* The disk buses that the agent knows by name; anything else counts as not given. */
static const char *
disk_controller(const struct lab_cloudstack *cs, const json_t *vm)
{
    static const char *const BUSES[] = {"virtio", "scsi", "sata", "ide"};
    const char *wanted = cs_text(json_object_get(vm, "details"), "rootDiskController");
    const json_t *os = cs_find(cs, "ostype", cs_text(vm, "ostypeid"));

    for (size_t i = 0; i < ARRAY_SIZE(BUSES); i++)
        if (!strcasecmp(wanted, BUSES[i]))
            return BUSES[i];
    return json_is_true(json_object_get(os, "_pv")) ? "virtio" : "ide";
}

static const char *
nic_adapter(const struct lab_cloudstack *cs, const json_t *vm)
{
    const char *wanted = cs_text(json_object_get(vm, "details"), "nicAdapter");
    const json_t *os = cs_find(cs, "ostype", cs_text(vm, "ostypeid"));

    if (*wanted)
        return wanted;
    return json_is_true(json_object_get(os, "_pv")) ? "virtio" : "e1000";
}

/* What the offering says, as far as this host goes. */
static unsigned
memory_mib(const struct lab_cloudstack *cs, const json_t *vm)
{
    const json_t *offering = cs_find(cs, "serviceoffering", cs_text(vm, "serviceofferingid"));
    json_int_t wanted = json_integer_value(json_object_get(offering, "memory"));

    return (unsigned)MAX(MIN(wanted, (json_int_t)MAX_MEMORY_MIB), (json_int_t)MIN_MEMORY_MIB);
}

/* Root first: CloudStack boots from it whatever its device id. */
static unsigned
collect_disks(const struct lab_cloudstack *cs, const json_t *vm, char *files[MAX_DISKS])
{
    json_t *volumes = cs_volumes_of(cs, vm), *volume;
    unsigned count = 0;
    size_t i;

    for (int is_data = 0; is_data <= 1; is_data++) {
        json_array_foreach (volumes, i, volume) {
            if (strcmp(cs_text(volume, "type"), "ROOT") == 0 && !is_data && count < MAX_DISKS)
                files[count++] = cs_volume_file(cs, volume);
            else if (strcmp(cs_text(volume, "type"), "ROOT") && is_data && count < MAX_DISKS)
                files[count++] = cs_volume_file(cs, volume);
        }
    }
    json_decref(volumes);
    return count;
}

static int
check_disks(char *const *files, unsigned count, struct cs_error *error)
{
    for (unsigned i = 0; i < count; i++) {
        struct cs_image image;

        cs_image_look(files[i], &image);
        if (!image.exists)
            return cs_fail(error, CS_INTERNAL, "Unable to start a VM: %s does not exist", files[i]);
        if (*image.refusal)
            return cs_fail(error, CS_INTERNAL, "Unable to start a VM: %s: %s", files[i],
                           image.refusal);
    }
    return count ? 0 : cs_fail(error, CS_INTERNAL, "Unable to start a VM without a root volume");
}

static int
start_guest(struct lab_cloudstack *cs, const json_t *vm, char *const *files, unsigned disk_count,
            struct lab_boot **ret, struct cs_error *error)
{
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(free_charp)
    char *dir = xasprintf("%s/boot/%s-%u", cs->dir, cs_text(vm, "instancename"), cs->boot_count++);
    const json_t *nics = json_object_get(vm, "nic");
    const char *macs[MAX_NICS];
    struct lab_boot_plan plan = {
        .dir = dir,
        .disks = (const char *const *)files,
        .disk_count = disk_count,
        .macs = macs,
        .disk_controller = disk_controller(cs, vm),
        .nic_adapter = nic_adapter(cs, vm),
        .is_uefi = *cs_text(json_object_get(vm, "details"), "UEFI") != '\0',
        .memory_mib = memory_mib(cs, vm),
    };

    for (; plan.nic_count < MAX_NICS && plan.nic_count < json_array_size(nics); plan.nic_count++)
        macs[plan.nic_count] = cs_text(json_array_get(nics, plan.nic_count), "macaddress");
    if (file_make_dirs(dir, 0700, &err) < 0 || lab_boot_start(&plan, ret, &err) < 0)
        return cs_fail(error, CS_INTERNAL, "Unable to start a VM: %s", err_message(err));
    return 0;
}

int
cs_boot_vm(struct lab_cloudstack *cs, json_t *vm, struct cs_error *error)
{
    char *files[MAX_DISKS];
    unsigned count = collect_disks(cs, vm, files);
    struct cs_boot boot = {0};
    int result = check_disks(files, count, error);

    if (result == 0 && !cs->is_boot_off)
        result = start_guest(cs, vm, files, count, &boot.boot, error);
    for (unsigned i = 0; i < count; i++)
        free(files[i]);
    if (result < 0)
        return -1;
    (void)snprintf(boot.vm_id, sizeof(boot.vm_id), "%s", cs_text(vm, "id"));
    boot.started_at_ms = (uint64_t)clock_wall_ms();
    vec_push(&cs->boots, boot);
    return 0;
}

void
cs_boot_end(struct lab_cloudstack *cs, const char *vm_id)
{
    for (size_t i = 0; i < cs->boots.count; i++) {
        if (strcmp(cs->boots.items[i].vm_id, vm_id))
            continue;
        if (cs->boots.items[i].boot)
            lab_boot_stop(cs->boots.items[i].boot);
        cs->boots.items[i] = cs->boots.items[--cs->boots.count];
        return;
    }
}
