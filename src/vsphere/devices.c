/* Disks and network cards of config.hardware.device (vSphere Web Services SDK, VirtualDevice). */
#include "vsphere/internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/err.h"
#include "base/util.h"

/* vSphere's own limit is 62 TiB. */
#define MAX_CAPACITY (1024 * TIB)

struct controller {
    int32_t key, number;
    int bus; /* enum vsphere_bus, or -1: a type we do not know */
    const char *type;
    bool is_shared;
};
VEC_DECLARE(controllers, struct controller);

static void
free_controllers(struct controllers *controllers)
{
    vec_done(controllers);
}

/* The repeated elements: "VirtualDevice" in an ArrayOfVirtualDevice, "device" in a whole hardware. */
const struct xml_node *
devices_first(const struct xml_node *devices)
{
    const struct xml_node *first = xml_child(devices, "VirtualDevice");

    return first ? first : xml_child(devices, "device");
}

static const struct {
    const char *type;
    enum vsphere_bus bus;
} controller_types[] = {
    {"ParaVirtualSCSIController", VSPHERE_BUS_SCSI},
    {"VirtualLsiLogicController", VSPHERE_BUS_SCSI},
    {"VirtualLsiLogicSASController", VSPHERE_BUS_SCSI},
    {"VirtualBusLogicController", VSPHERE_BUS_SCSI},
    {"VirtualSCSIController", VSPHERE_BUS_SCSI},
    {"VirtualAHCIController", VSPHERE_BUS_SATA},
    {"VirtualSATAController", VSPHERE_BUS_SATA},
    {"VirtualIDEController", VSPHERE_BUS_IDE},
    {"VirtualNVMEController", VSPHERE_BUS_NVME},
};

static int
bus_of_type(const char *type)
{
    for (size_t i = 0; type && i < ARRAY_SIZE(controller_types); i++)
        if (!strcmp(controller_types[i].type, type))
            return (int)controller_types[i].bus;
    return -1;
}

static int
read_key(const struct xml_node *device, const char *name, int32_t *ret_key, struct err **err)
{
    int64_t value;

    if (xml_child_int(device, name, INT32_MIN, INT32_MAX, &value, err) < 0)
        return -1;
    *ret_key = (int32_t)value;
    return 0;
}

static int
read_controllers(const struct xml_node *devices, struct controllers *to, struct err **err)
{
    for (const struct xml_node *d = devices_first(devices); d; d = xml_next(d)) {
        struct controller c = {.bus = bus_of_type(d->xsi_type), .type = d->xsi_type};
        const char *shared = xml_child_text(d, "sharedBus");

        if (!xml_child(d, "busNumber")) /* no controller */
            continue;
        if (read_key(d, "key", &c.key, err) < 0 || read_key(d, "busNumber", &c.number, err) < 0)
            return -1;
        c.is_shared = shared && strcmp(shared, "noSharing") != 0;
        vec_push(to, c);
    }
    return 0;
}

static const struct controller *
find_controller(const struct controllers *controllers, int32_t key)
{
    for (size_t i = 0; i < controllers->count; i++)
        if (controllers->items[i].key == key)
            return &controllers->items[i];
    return NULL;
}

static bool
is_plain_backing(const char *type)
{
    static const char *const plain[] = {
        "VirtualDiskFlatVer2BackingInfo", "VirtualDiskSeSparseBackingInfo",
        "VirtualDiskSparseVer2BackingInfo", "VirtualDiskFlatVer1BackingInfo",
        "VirtualDiskSparseVer1BackingInfo"};

    for (size_t i = 0; type && i < ARRAY_SIZE(plain); i++)
        if (!strcmp(plain[i], type))
            return true;
    return false;
}

/* What of the backing's type is in the way, or NULL. */
static char *
unsupported_backing(const struct xml_node *backing)
{
    const char *type = backing && backing->xsi_type ? backing->xsi_type : "none";
    const char *mode = xml_child_text(backing, "compatibilityMode");

    if (is_plain_backing(type))
        return NULL;
    if (!strcmp(type, "VirtualDiskRawDiskMappingVer1BackingInfo")) {
        if (mode && !strcmp(mode, "virtualMode"))
            return NULL;
        return xstrdup("it is a raw device mapping in physical mode, which has no snapshots");
    }
    if (!strcmp(type, "VirtualDiskRawDiskVer2BackingInfo") ||
        !strcmp(type, "VirtualDiskPartitionedRawDiskVer2BackingInfo"))
        return xstrdup("it is a raw disk of the host");
    if (!strcmp(type, "VirtualDiskLocalPMemBackingInfo"))
        return xstrdup("it lives in persistent memory, which has no changed-block tracking");
    return xasprintf("its backing is of an unknown kind (%.80s)", type);
}

static char *
find_unsupported(const struct xml_node *backing, const char *mode,
                 const struct controller *controller)
{
    const char *sharing = xml_child_text(backing, "sharing");
    char *reason = unsupported_backing(backing);

    if (reason)
        return reason;
    if (!strncmp(mode, "independent", strlen("independent")))
        return xasprintf("it is independent (%s): snapshots leave it out", mode);
    if (strcmp(mode, "persistent") != 0)
        return xasprintf("its mode is \"%.60s\", not \"persistent\"", mode);
    if (sharing && !strcmp(sharing, "sharingMultiWriter"))
        return xstrdup("other VMs may write to it (multi-writer)");
    if (controller && controller->is_shared)
        return xstrdup("its SCSI bus is shared with other VMs");
    if (xml_child(backing, "keyId"))
        return xstrdup("it is encrypted");
    if (!controller || controller->bus < 0)
        return xasprintf("its controller is of an unknown kind (%.80s)",
                         controller && controller->type ? controller->type : "none");
    return NULL;
}

static int
read_capacity(const struct xml_node *device, uint64_t *ret_capacity, struct err **err)
{
    int64_t value;

    if (xml_child(device, "capacityInBytes")) {
        if (xml_child_int(device, "capacityInBytes", 0, MAX_CAPACITY, &value, err) < 0)
            return -1;
        *ret_capacity = (uint64_t)value;
        return 0;
    }
    if (xml_child_int(device, "capacityInKB", 0, MAX_CAPACITY / KIB, &value, err) < 0)
        return -1;
    *ret_capacity = (uint64_t)value * KIB;
    return 0;
}

/* NULL for an empty text too. */
static char *
copy_set(const char *text)
{
    return text && *text ? xstrdup(text) : NULL;
}

static char *
copy_text(const char *text)
{
    return xstrdup(text ? text : "");
}

static void
disk_done(struct vsphere_disk *disk)
{
    free(disk->label);
    free(disk->file_name);
    free(disk->datastore);
    free(disk->backing_uuid);
    free(disk->change_id);
    free(disk->mode);
    free(disk->unsupported);
}

static unsigned
count_parents(const struct xml_node *backing)
{
    unsigned count = 0;

    while ((backing = xml_child(backing, "parent")))
        count++;
    return count;
}

static int
read_disk(const struct xml_node *device, const struct controllers *controllers,
          struct vsphere_disk *ret_disk, struct err **err)
{
    const struct xml_node *backing = xml_child(device, "backing");
    const struct controller *controller;
    struct vsphere_disk disk = {0};
    int32_t controller_key = -1;

    if (read_key(device, "key", &disk.key, err) < 0 ||
        read_capacity(device, &disk.capacity, err) < 0)
        return -1;
    if ((xml_child(device, "controllerKey") &&
         read_key(device, "controllerKey", &controller_key, err) < 0) ||
        (xml_child(device, "unitNumber") && read_key(device, "unitNumber", &disk.unit, err) < 0))
        return -1;
    controller = find_controller(controllers, controller_key);
    if (controller) {
        disk.bus = controller->bus < 0 ? VSPHERE_BUS_SCSI : (enum vsphere_bus)controller->bus;
        disk.controller_number = controller->number;
    }
    disk.label = copy_text(xml_child_text(xml_child(device, "deviceInfo"), "label"));
    disk.file_name = copy_text(xml_child_text(backing, "fileName"));
    disk.datastore = copy_text(xml_child_text(backing, "datastore"));
    disk.backing_uuid = copy_set(xml_child_text(backing, "uuid"));
    disk.change_id = copy_set(xml_child_text(backing, "changeId"));
    disk.mode = copy_text(xml_child_text(backing, "diskMode"));
    disk.parent_count = count_parents(backing);
    disk.is_raw_mapping = xml_is_type(backing, "VirtualDiskRawDiskMappingVer1BackingInfo");
    disk.unsupported = find_unsupported(backing, disk.mode, controller);
    *ret_disk = disk;
    return 0;
}

static int
compare_disks(const void *a, const void *b)
{
    const struct vsphere_disk *x = a, *y = b;

    if (x->bus != y->bus)
        return x->bus < y->bus ? -1 : 1;
    if (x->controller_number != y->controller_number)
        return x->controller_number < y->controller_number ? -1 : 1;
    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

int
devices_read_disks(const struct xml_node *devices, struct vsphere_disks *ret_disks,
                   struct err **err)
{
    CLEANUP(free_controllers) struct controllers controllers = {0};
    CLEANUP(vsphere_disks_done) struct vsphere_disks disks = {0};

    if (read_controllers(devices, &controllers, err) < 0)
        return -1;
    for (const struct xml_node *d = devices_first(devices); d; d = xml_next(d)) {
        struct vsphere_disk disk;

        if (!xml_is_type(d, "VirtualDisk"))
            continue;
        if (read_disk(d, &controllers, &disk, err) < 0)
            return err_wrap(err, "a disk");
        vec_push(&disks, disk);
    }
    if (disks.count)
        qsort(disks.items, disks.count, sizeof(disks.items[0]), compare_disks);
    *ret_disks = disks;
    memset(&disks, 0, sizeof(disks));
    return 0;
}

void
vsphere_disks_done(struct vsphere_disks *disks)
{
    for (size_t i = 0; i < disks->count; i++)
        disk_done(&disks->items[i]);
    vec_done(disks);
}

void
vsphere_disk_address(const struct vsphere_disk *disk, char ret_text[32])
{
    static const char *const names[] = {[VSPHERE_BUS_SCSI] = "scsi",
                                        [VSPHERE_BUS_SATA] = "sata",
                                        [VSPHERE_BUS_IDE] = "ide",
                                        [VSPHERE_BUS_NVME] = "nvme"};

    snprintf(ret_text, 32, "%s%d:%d", names[disk->bus], (int)disk->controller_number,
             (int)disk->unit);
}

/* ---- network cards ---- */

bool
devices_is_card(const struct xml_node *device)
{
    static const char *const types[] = {
        "VirtualE1000",   "VirtualE1000e",       "VirtualVmxnet",  "VirtualVmxnet2",
        "VirtualVmxnet3", "VirtualVmxnet3Vrdma", "VirtualPCNet32", "VirtualSriovEthernetCard"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (xml_is_type(device, types[i]))
            return true;
    return xml_child(device, "macAddress") != NULL; /* one that came later */
}

static char *
copy_lower(const char *text)
{
    char *copy = copy_text(text);

    for (char *p = copy; *p; p++)
        *p = *p == '-' ? ':' : (char)tolower((unsigned char)*p);
    return copy;
}

/* A name, or for a distributed port group its moref, which the caller turns into the name. */
static char *
read_network(const struct xml_node *device)
{
    const struct xml_node *backing = xml_child(device, "backing");
    const char *key = xml_child_text(xml_child(backing, "port"), "portgroupKey");
    const char *name = xml_child_text(backing, "deviceName");

    if (key)
        return copy_set(key);
    if (name)
        return *name ? inventory_unescape_name(name) : NULL;
    if (xml_is_type(backing, "VirtualEthernetCardOpaqueNetworkBackingInfo"))
        return copy_set(xml_child_text(backing, "opaqueNetworkId"));
    return NULL;
}

static int
compare_nics(const void *a, const void *b)
{
    const struct vsphere_nic *x = a, *y = b;

    return (x->key > y->key) - (x->key < y->key);
}

int
devices_read_nics(const struct xml_node *devices, struct vsphere_nics *ret_nics, struct err **err)
{
    struct vsphere_nics nics = {0};

    for (const struct xml_node *d = devices_first(devices); d; d = xml_next(d)) {
        struct vsphere_nic nic = {0};

        if (!devices_is_card(d))
            continue;
        if (read_key(d, "key", &nic.key, err) < 0) {
            devices_free_nics(&nics);
            return err_wrap(err, "a network card");
        }
        nic.label = copy_text(xml_child_text(xml_child(d, "deviceInfo"), "label"));
        nic.type = copy_text(d->xsi_type);
        nic.mac = copy_lower(xml_child_text(d, "macAddress"));
        nic.network = read_network(d);
        vec_push(&nics, nic);
    }
    if (nics.count)
        qsort(nics.items, nics.count, sizeof(nics.items[0]), compare_nics);
    *ret_nics = nics;
    return 0;
}

int
devices_read_starts(const struct xml_node *devices, struct vsphere_nic_starts *ret_starts,
                    struct err **err)
{
    struct vsphere_nic_starts starts = {0};

    for (const struct xml_node *d = devices_first(devices); d; d = xml_next(d)) {
        const struct xml_node *connected = xml_path(d, "connectable", "startConnected", NULL);
        struct vsphere_nic_start start = {.is_connected = xml_is_true(connected)};

        if (!devices_is_card(d) || !connected)
            continue;
        if (read_key(d, "key", &start.key, err) < 0) {
            vec_done(&starts);
            return err_wrap(err, "a network card");
        }
        vec_push(&starts, start);
    }
    *ret_starts = starts;
    return 0;
}

/* Of use to somebody else too, as a link-local address is not. */
static bool
is_usable_ip(const char *text)
{
    struct in_addr address;

    return text && inet_pton(AF_INET, text, &address) == 1 && strncmp(text, "169.254.", 8) != 0 &&
           strncmp(text, "127.", 4) != 0 && strncmp(text, "0.", 2) != 0;
}

static const char *
told_ip(const struct xml_node *guest_nic)
{
    const struct xml_node *ip = xml_path(guest_nic, "ipConfig", "ipAddress", NULL);

    for (; ip; ip = xml_next(ip))
        if (is_usable_ip(xml_child_text(ip, "ipAddress")))
            return xml_child_text(ip, "ipAddress");
    for (ip = xml_child(guest_nic, "ipAddress"); ip; ip = xml_next(ip))
        if (is_usable_ip(ip->text))
            return ip->text;
    return NULL;
}

void
devices_read_addresses(const struct xml_node *guest_nics, struct vsphere_nics *nics)
{
    const struct xml_node *told = xml_child(guest_nics, "GuestNicInfo");

    for (; told; told = xml_next(told)) {
        const char *ip = told_ip(told), *key = xml_child_text(told, "deviceConfigId");

        for (size_t i = 0; ip && key && i < nics->count; i++) {
            CLEANUP(free_charp) char *own = xasprintf("%" PRId32, nics->items[i].key);

            if (!nics->items[i].ip && !strcmp(own, key))
                nics->items[i].ip = xstrdup(ip);
        }
    }
}

void
devices_free_nics(struct vsphere_nics *nics)
{
    for (size_t i = 0; i < nics->count; i++) {
        free(nics->items[i].label);
        free(nics->items[i].type);
        free(nics->items[i].mac);
        free(nics->items[i].network);
        free(nics->items[i].ip);
    }
    vec_done(nics);
}

bool
devices_has_type(const struct xml_node *devices, const char *xsi_type)
{
    for (const struct xml_node *d = devices_first(devices); d; d = xml_next(d))
        if (xml_is_type(d, xsi_type))
            return true;
    return false;
}
