/* The properties of VMs and snapshots, as values. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

#define CPUS       2 /* unless the scenario says otherwise */
#define MEMORY_MIB 2048

static unsigned
cpus_of(const struct lab_vm *vm)
{
    return vm->traits.cpus ? vm->traits.cpus : CPUS;
}

static unsigned
memory_of(const struct lab_vm *vm)
{
    return vm->traits.memory_mib ? vm->traits.memory_mib : MEMORY_MIB;
}

struct lab_vm *
vs_snapshot_vm(struct lab *lab, const char *moref)
{
    for (size_t i = 0; i < lab->vms.count; i++)
        if (lab_find_snapshot(lab->vms.items[i], moref))
            return lab->vms.items[i];
    return NULL;
}

static const char *
power_state(bool is_on)
{
    return is_on ? "poweredOn" : "poweredOff";
}

static const char *
seen_power_state(const struct lab_vm *vm, bool is_on)
{
    return vm->traits.is_suspended && !is_on ? "suspended" : power_state(is_on);
}

static struct value *
green(void)
{
    return value_word("ManagedEntityStatus", "green");
}

static struct value *
role(struct lab_vsphere *vs, const struct lab_vm *vm, const char *type)
{
    return value_ref(type, vs_entity_role(vs, vm->datacenter, type, NULL)->moref);
}

static struct value *
datastore_ref(struct lab_vsphere *vs, const struct lab_vm *vm, const char *name)
{
    for (size_t i = 0; i < vs->entities.count; i++) {
        const struct vs_entity *entity = &vs->entities.items[i];

        if (!strcmp(entity->type, "Datastore") && !strcmp(entity->name, name) &&
            !strcmp(entity->datacenter, vm->datacenter))
            return value_ref("Datastore", entity->moref);
    }
    return role(vs, vm, "Datastore");
}

static const char *
guest_full_name(const struct lab_vm *vm)
{
    if (!strncmp(vm->guest_id, "debian", 6))
        return "Debian GNU/Linux (64-bit)";
    if (!strncmp(vm->guest_id, "windows", 7))
        return "Microsoft Windows Server 2019 (64-bit)";
    if (!strncmp(vm->guest_id, "rhel", 4))
        return "Red Hat Enterprise Linux (64-bit)";
    if (!strncmp(vm->guest_id, "ubuntu", 6))
        return "Ubuntu Linux (64-bit)";
    return "Other (64-bit)";
}

/* ---- devices ---------------------------------------------------------------------------------- */

static struct value *
description(const char *label, const char *summary)
{
    struct value *value = value_object("Description");

    value_set(value, "label", value_string(label));
    value_set(value, "summary", value_string(summary));
    return value;
}

static const struct bus {
    const char *name, *type, *label, *summary;
    int32_t first_key;
} BUSES[] = {
    {"scsi", "ParaVirtualSCSIController", "SCSI controller", "VMware paravirtual SCSI", 1000},
    {"sata", "VirtualAHCIController", "SATA controller", "AHCI", 15000},
    {"ide", "VirtualIDEController", "IDE", "IDE", 200},
    {"nvme", "VirtualNVMEController", "NVME controller", "NVME", 31000},
};

static const struct bus *
bus_of(const struct lab_vm_disk *disk)
{
    for (size_t i = 0; i < ARRAY_SIZE(BUSES); i++)
        if (!strcmp(BUSES[i].name, disk->bus))
            return &BUSES[i];
    return &BUSES[0];
}

static struct value *
controller(const struct lab_vm_disks *disks, const struct lab_vm_disk *first)
{
    const struct bus *bus = bus_of(first);
    struct value *value = value_object(bus->type);
    struct value *members = value_list("int");
    CLEANUP(free_charp) char *label = xasprintf("%s %d", bus->label, first->controller);

    value_set(value, "key", value_int(bus->first_key + first->controller));
    value_set(value, "deviceInfo", description(label, bus->summary));
    if (strcmp(bus->name, "ide") != 0) {
        value_set(value, "controllerKey", value_int(100));
        value_set(value, "unitNumber", value_int(3 + first->controller));
    }
    value_set(value, "busNumber", value_int(first->controller));
    for (size_t i = 0; i < disks->count; i++)
        if (!strcmp(disks->items[i].bus, first->bus) &&
            disks->items[i].controller == first->controller)
            value_add(members, value_int(disks->items[i].key));
    value_set(value, "device", members);
    if (!strcmp(bus->name, "scsi")) {
        value_set(value, "hotAddRemove", value_bool(true));
        value_set(value, "sharedBus",
                  value_word("VirtualSCSISharing",
                             first->is_bus_shared ? "physicalSharing" : "noSharing"));
        value_set(value, "scsiCtlrUnitNumber", value_int(7));
    }
    return value;
}

static struct value *
crypto_key(void)
{
    struct value *key = value_object("CryptoKeyId"), *provider = value_object("KeyProviderId");

    value_set(provider, "id", value_string("lab-kms"));
    value_set(key, "keyId", value_string("key-1"));
    value_set(key, "providerId", provider);
    return key;
}

/* A raw device mapping: the LUN itself, through a small file. */
static struct value *
raw_backing(struct lab_vsphere *vs, const struct lab_vm *vm, const struct lab_vm_disk *disk)
{
    struct value *value = value_object("VirtualDiskRawDiskMappingVer1BackingInfo");

    value_set(value, "fileName", value_string(disk->path));
    value_set(value, "datastore", datastore_ref(vs, vm, disk->datastore));
    value_set(value, "lunUuid", value_string("02000000006001405"));
    value_set(value, "deviceName", value_string("vml.02000000006001405"));
    value_set(value, "compatibilityMode",
              value_string(strcmp(disk->rdm, "physical") ? "virtualMode" : "physicalMode"));
    value_set(value, "diskMode", value_string(*disk->mode ? disk->mode : "persistent"));
    value_set(value, "uuid", value_string(disk->uuid));
    value_set(value, "sharing", value_string("sharingNone"));
    return value;
}

/* @chain: how many links of the VM's chain the file has, itself included. */
static struct value *
backing(struct lab_vsphere *vs, const struct lab_vm *vm, const struct lab_vm_disk *disk,
        size_t chain, const char *path)
{
    struct value *value = value_object("VirtualDiskFlatVer2BackingInfo");

    value_set(value, "fileName", value_string(path));
    value_set(value, "datastore", datastore_ref(vs, vm, disk->datastore));
    value_set(value, "diskMode", value_string(*disk->mode ? disk->mode : "persistent"));
    value_set(value, "split", value_bool(false));
    value_set(value, "writeThrough", value_bool(false));
    value_set(value, "thinProvisioned", value_bool(true));
    value_set(value, "eagerlyScrub", value_bool(false));
    value_set(value, "uuid", value_string(disk->uuid));
    value_set(value, "contentId",
              value_stringf("%.8s%08zx%016" PRIx64, disk->uuid + 24, chain, disk->capacity));
    if (chain > 1) {
        char parent[512];

        lab_vm_file(vm, (size_t)(lab_disk_index(vm, disk->key)), vm->chain.items[chain - 2].number,
                    parent);
        value_set(value, "parent", backing(vs, vm, disk, chain - 1, parent));
        value_set(value, "deltaDiskFormat", value_string("seSparseFormat"));
    }
    value_set(value, "digestEnabled", value_bool(false));
    value_set(value, "sharing",
              value_string(disk->is_multi_writer ? "sharingMultiWriter" : "sharingNone"));
    if (disk->is_encrypted)
        value_set(value, "keyId", crypto_key());
    return value;
}

static size_t
chain_length(const struct lab_vm *vm, const struct lab_snapshot *snapshot)
{
    for (size_t i = 0; snapshot && i < vm->chain.count; i++)
        if (!strcmp(vm->chain.items[i].snapshot, snapshot->moref))
            return i + 1;
    return vm->chain.count;
}

static struct value *
disk_device(struct lab_vsphere *vs, const struct lab_vm *vm, const struct lab_snapshot *snapshot,
            const struct lab_vm_disk *disk, unsigned number)
{
    struct value *value = value_object("VirtualDisk"), *shares = value_object("SharesInfo");
    struct value *file = *disk->rdm ? raw_backing(vs, vm, disk)
                                    : backing(vs, vm, disk, chain_length(vm, snapshot), disk->path);
    CLEANUP(free_charp) char *label = xasprintf("Hard disk %u", number);
    CLEANUP(free_charp) char *summary = xasprintf("%" PRIu64 " KB", disk->capacity / 1024);

    if (disk->change_id[0])
        value_set(file, "changeId", value_string(disk->change_id));
    value_set(shares, "shares", value_int(1000));
    value_set(shares, "level", value_word("SharesLevel", "normal"));
    value_set(value, "key", value_int(disk->key));
    value_set(value, "deviceInfo", description(label, summary));
    value_set(value, "backing", file);
    value_set(value, "controllerKey", value_int(bus_of(disk)->first_key + disk->controller));
    value_set(value, "unitNumber", value_int(disk->unit));
    value_set(value, "capacityInKB", value_long((int64_t)(disk->capacity / KIB)));
    value_set(value, "capacityInBytes", value_long((int64_t)disk->capacity));
    value_set(value, "shares", shares);
    value_set(value, "nativeUnmanagedLinkedClone", value_bool(false));
    return value;
}

static struct value *
nic_device(struct lab_vsphere *vs, const struct lab_vm *vm, const struct lab_vm_nic *nic,
           unsigned number)
{
    struct value *value = value_object(nic->type);
    struct value *file = value_object("VirtualEthernetCardNetworkBackingInfo");
    struct value *connectable = value_object("VirtualDeviceConnectInfo");
    bool is_connected = vm->was_on && !nic->is_start_disconnected;

    value_set(file, "deviceName", value_string(nic->network));
    value_set(file, "useAutoDetect", value_bool(false));
    for (size_t i = 0; i < vs->entities.count; i++) {
        const struct vs_entity *entity = &vs->entities.items[i];

        if (!strcmp(entity->type, "Network") && !strcmp(entity->name, nic->network) &&
            !strcmp(entity->datacenter, vm->datacenter))
            value_set(file, "network", value_ref("Network", entity->moref));
    }
    value_set(connectable, "startConnected", value_bool(!nic->is_start_disconnected));
    value_set(connectable, "allowGuestControl", value_bool(true));
    value_set(connectable, "connected", value_bool(is_connected));
    value_set(connectable, "status", value_string(is_connected ? "ok" : "untried"));
    value_set(value, "key", value_int(nic->key));
    value_set(value, "deviceInfo", description(nic->label, nic->network));
    value_set(value, "backing", file);
    value_set(value, "connectable", connectable);
    value_set(value, "controllerKey", value_int(100));
    value_set(value, "unitNumber", value_int(7 + (int64_t)number));
    value_set(value, "addressType", value_string("manual"));
    value_set(value, "macAddress", value_string(nic->mac));
    value_set(value, "wakeOnLanEnabled", value_bool(true));
    return value;
}

static struct value *
devices(struct lab_vsphere *vs, const struct lab_vm *vm, const struct lab_snapshot *snapshot)
{
    const struct lab_vm_disks *disks = snapshot ? &snapshot->disks : &vm->disks;
    struct value *list = value_list("VirtualDevice"), *pci = value_object("VirtualPCIController");

    value_set(pci, "key", value_int(100));
    value_set(pci, "deviceInfo", description("PCI controller 0", "PCI controller 0"));
    value_add(list, pci);
    for (size_t i = 0; i < disks->count; i++) {
        bool is_first = true;

        for (size_t j = 0; j < i; j++)
            if (!strcmp(disks->items[i].bus, disks->items[j].bus) &&
                disks->items[i].controller == disks->items[j].controller)
                is_first = false;
        if (is_first)
            value_add(list, controller(disks, &disks->items[i]));
    }
    for (size_t i = 0; i < disks->count; i++)
        value_add(list, disk_device(vs, vm, snapshot, &disks->items[i], (unsigned)i + 1));
    for (size_t i = 0; i < vm->nics.count; i++)
        value_add(list, nic_device(vs, vm, &vm->nics.items[i], (unsigned)i));
    if (vm->traits.has_vtpm) {
        struct value *tpm = value_object("VirtualTPM");

        value_set(tpm, "key", value_int(11000));
        value_set(tpm, "deviceInfo", description("Virtual TPM", "Trusted Platform Module"));
        value_add(list, tpm);
    }
    return list;
}

/* ---- config ----------------------------------------------------------------------------------- */

static void
add_option(struct value *list, const char *key, const char *text)
{
    struct value *option = value_object("OptionValue");

    value_set(option, "key", value_string(key));
    value_set(option, "value", value_string(text));
    value_add(list, option);
}

static struct value *
extra_config(const struct lab_vm *vm)
{
    struct value *list = value_list("OptionValue");

    add_option(list, "nvram", "vm.nvram");
    add_option(list, "svga.present", "TRUE");
    if (!vm->is_cbt_on)
        return list;
    add_option(list, "ctkEnabled", "TRUE");
    for (size_t i = 0; i < vm->disks.count && vm->is_cbt_effective; i++) {
        const struct lab_vm_disk *disk = &vm->disks.items[i];
        char key[64];

        (void)snprintf(key, sizeof(key), "%s%d:%d.ctkEnabled", disk->bus, disk->controller,
                       disk->unit);
        add_option(list, key, disk->is_untracked ? "FALSE" : "TRUE");
    }
    return list;
}

static struct value *
boot_options(const struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineBootOptions");

    value_set(value, "bootDelay", value_long(0));
    value_set(value, "enterBIOSSetup", value_bool(false));
    value_set(value, "efiSecureBootEnabled", value_bool(vm->traits.is_secure_boot));
    value_set(value, "bootRetryEnabled", value_bool(false));
    value_set(value, "bootRetryDelay", value_long(10000));
    value_set(value, "networkBootProtocol", value_string("ipv4"));
    return value;
}

static struct value *
files(const struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineFileInfo");

    value_set(value, "vmPathName", value_stringf("[ds1] %s/%s.vmx", vm->home, vm->home));
    value_set(value, "snapshotDirectory", value_stringf("[ds1] %s/", vm->home));
    value_set(value, "suspendDirectory", value_stringf("[ds1] %s/", vm->home));
    value_set(value, "logDirectory", value_stringf("[ds1] %s/", vm->home));
    return value;
}

static struct value *
config(struct lab_vsphere *vs, const struct lab_vm *vm, const struct lab_snapshot *snapshot)
{
    struct value *value = value_object("VirtualMachineConfigInfo");
    struct value *hardware = value_object("VirtualHardware");
    char name[512];

    vs_escape_name(vm->name, name, sizeof(name));
    value_set(hardware, "numCPU", value_int(cpus_of(vm)));
    value_set(hardware, "numCoresPerSocket", value_int(1));
    value_set(hardware, "memoryMB", value_int(memory_of(vm)));
    value_set(hardware, "device", devices(vs, vm, snapshot));
    value_set(value, "changeVersion", value_stringf("v%" PRIu64, vm->change_version));
    value_set(value, "modified", value_time_ms(0));
    value_set(value, "name", value_string(name));
    value_set(value, "guestFullName", value_string(guest_full_name(vm)));
    value_set(value, "version", value_string(vm->version));
    value_set(value, "uuid", value_string(vm->bios_uuid));
    value_set(value, "instanceUuid", value_string(vm->instance_uuid));
    value_set(value, "template", value_bool(vm->traits.is_template));
    value_set(value, "guestId", value_string(vm->guest_id));
    value_set(value, "alternateGuestName", value_string(""));
    value_set(value, "annotation", value_string(vm->annotation));
    value_set(value, "files", files(vm));
    value_set(value, "flags", value_object("VirtualMachineFlagInfo"));
    value_set(value, "defaultPowerOps", value_object("VirtualMachineDefaultPowerOpInfo"));
    value_set(value, "hardware", hardware);
    value_set(value, "extraConfig", extra_config(vm));
    value_set(value, "bootOptions", boot_options(vm));
    value_set(value, "changeTrackingEnabled", value_bool(vm->is_cbt_on));
    value_set(value, "firmware", value_string(vm->firmware));
    if (vm->traits.is_encrypted)
        value_set(value, "keyId", crypto_key());
    return value;
}

/* Changed blocks are tracked from hardware version 7 on. */
static bool
can_track(const struct lab_vm *vm)
{
    int number = 0;

    return sscanf(vm->version, "vmx-%d", &number) == 1 && number >= 7;
}

static struct value *
capability(const struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineCapability");

    value_set(value, "snapshotOperationsSupported", value_bool(true));
    value_set(value, "multipleSnapshotsSupported", value_bool(true));
    value_set(value, "poweredOffSnapshotsSupported", value_bool(true));
    value_set(value, "quiescedSnapshotsSupported", value_bool(true));
    value_set(value, "changeTrackingSupported", value_bool(can_track(vm)));
    value_set(value, "bootOptionsSupported", value_bool(true));
    value_set(value, "seSparseDiskSupported", value_bool(true));
    return value;
}

/* ---- state ------------------------------------------------------------------------------------ */

static struct value *
question(const struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineQuestionInfo");

    value_set(value, "id", value_string("1"));
    value_set(value, "text", value_string(vm->traits.question));
    value_set(value, "choice", value_object("ChoiceOption"));
    return value;
}

static struct value *
runtime(struct lab_vsphere *vs, struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineRuntimeInfo");
    bool is_on = lab_vm_is_on(vs->lab, vm);

    value_set(value, "host", role(vs, vm, "HostSystem"));
    value_set(value, "connectionState",
              value_word("VirtualMachineConnectionState",
                         *vm->traits.connection ? vm->traits.connection : "connected"));
    value_set(value, "powerState",
              value_word("VirtualMachinePowerState", seen_power_state(vm, is_on)));
    value_set(value, "faultToleranceState",
              value_word("VirtualMachineFaultToleranceState",
                         vm->traits.is_fault_tolerant ? "running" : "notConfigured"));
    if (*vm->traits.question)
        value_set(value, "question", question(vm));
    value_set(value, "toolsInstallerMounted", value_bool(false));
    if (is_on)
        value_set(value, "bootTime", value_time_ms(vm->powered_on_at_ms));
    value_set(value, "maxCpuUsage", value_int(5200));
    value_set(value, "maxMemoryUsage", value_int(memory_of(vm)));
    value_set(value, "recordReplayState",
              value_word("VirtualMachineRecordReplayState", "inactive"));
    if (!is_on)
        value_set(value, "cleanPowerOff", value_bool(true));
    value_set(value, "consolidationNeeded", value_bool(vm->needs_consolidation));
    return value;
}

static const char *
tools_running(struct lab_vsphere *vs, struct lab_vm *vm)
{
    return vm->has_tools && lab_vm_is_on(vs->lab, vm) ? "guestToolsRunning"
                                                      : "guestToolsNotRunning";
}

static const char *
tools_status(struct lab_vsphere *vs, struct lab_vm *vm)
{
    if (!vm->has_tools)
        return "toolsNotInstalled";
    return lab_vm_is_on(vs->lab, vm) ? "toolsOk" : "toolsNotRunning";
}

static struct value *
guest(struct lab_vsphere *vs, struct lab_vm *vm)
{
    struct value *value = value_object("GuestInfo");
    bool is_running = vm->has_tools && lab_vm_is_on(vs->lab, vm);

    value_set(value, "toolsStatus", value_word("VirtualMachineToolsStatus", tools_status(vs, vm)));
    value_set(value, "toolsVersionStatus2",
              value_string(vm->has_tools ? "guestToolsUnmanaged" : "guestToolsNotInstalled"));
    value_set(value, "toolsRunningStatus", value_string(tools_running(vs, vm)));
    value_set(value, "toolsVersion", value_string(vm->has_tools ? "12325" : "0"));
    if (is_running) {
        struct value *nics = value_list("GuestNicInfo");

        for (size_t i = 0; i < vm->nics.count; i++) {
            struct value *nic = value_object("GuestNicInfo");

            value_set(nic, "network", value_string(vm->nics.items[i].network));
            if (*vm->nics.items[i].ip) {
                struct value *addresses = value_list("string");

                value_add(addresses, value_string("fe80::250:56ff:fe00:1"));
                value_add(addresses, value_string(vm->nics.items[i].ip));
                value_set(nic, "ipAddress", addresses);
            }
            value_set(nic, "macAddress", value_string(vm->nics.items[i].mac));
            value_set(nic, "connected", value_bool(true));
            value_set(nic, "deviceConfigId", value_int(vm->nics.items[i].key));
            value_add(nics, nic);
        }
        value_set(value, "guestId", value_string(vm->guest_id));
        value_set(value, "guestFamily", value_string("linuxGuest"));
        value_set(value, "guestFullName", value_string(guest_full_name(vm)));
        value_set(value, "hostName", value_string(vm->name));
        value_set(value, "net", nics);
    }
    value_set(value, "guestState",
              value_string(lab_vm_is_on(vs->lab, vm) ? "running" : "notRunning"));
    value_set(value, "guestOperationsReady", value_bool(is_running));
    value_set(value, "guestStateChangeSupported", value_bool(is_running));
    return value;
}

static struct value *
summary_config(const struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineConfigSummary");
    char name[512];

    vs_escape_name(vm->name, name, sizeof(name));
    value_set(value, "name", value_string(name));
    value_set(value, "template", value_bool(vm->traits.is_template));
    value_set(value, "vmPathName", value_stringf("[ds1] %s/%s.vmx", vm->home, vm->home));
    value_set(value, "memorySizeMB", value_int(memory_of(vm)));
    value_set(value, "numCpu", value_int(cpus_of(vm)));
    value_set(value, "numEthernetCards", value_int((int64_t)vm->nics.count));
    value_set(value, "numVirtualDisks", value_int((int64_t)vm->disks.count));
    value_set(value, "uuid", value_string(vm->bios_uuid));
    value_set(value, "instanceUuid", value_string(vm->instance_uuid));
    value_set(value, "guestId", value_string(vm->guest_id));
    value_set(value, "guestFullName", value_string(guest_full_name(vm)));
    value_set(value, "annotation", value_string(vm->annotation));
    return value;
}

static struct value *
summary(struct lab_vsphere *vs, struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineSummary");
    struct value *tools = value_object("VirtualMachineGuestSummary");
    struct value *storage = value_object("VirtualMachineStorageSummary");
    struct value *stats = value_object("VirtualMachineQuickStats");
    uint64_t capacity = 0;

    for (size_t i = 0; i < vm->disks.count; i++)
        capacity += vm->disks.items[i].capacity;
    value_set(tools, "guestId", value_string(vm->guest_id));
    value_set(tools, "guestFullName", value_string(guest_full_name(vm)));
    value_set(tools, "toolsStatus", value_word("VirtualMachineToolsStatus", tools_status(vs, vm)));
    value_set(tools, "toolsRunningStatus", value_string(tools_running(vs, vm)));
    value_set(storage, "committed", value_long((int64_t)capacity));
    value_set(storage, "unshared", value_long((int64_t)capacity));
    value_set(storage, "timestamp", value_time_ms((uint64_t)clock_wall_ms()));
    value_set(stats, "guestHeartbeatStatus", green());
    value_set(value, "vm", value_ref("VirtualMachine", vm->moref));
    value_set(value, "runtime", runtime(vs, vm));
    value_set(value, "guest", tools);
    value_set(value, "config", summary_config(vm));
    value_set(value, "storage", storage);
    value_set(value, "quickStats", stats);
    value_set(value, "overallStatus", green());
    return value;
}

/* ---- snapshots -------------------------------------------------------------------------------- */

/* The rest of the line of snapshots from @index on, as a tree of one branch. */
static struct value *
snapshot_tree(const struct lab_vm *vm, size_t index)
{
    const struct lab_snapshot *snapshot = &vm->snapshots.items[index];
    struct value *value = value_object("VirtualMachineSnapshotTree");

    value_set(value, "snapshot", value_ref("VirtualMachineSnapshot", snapshot->moref));
    value_set(value, "vm", value_ref("VirtualMachine", vm->moref));
    value_set(value, "name", value_string(snapshot->name));
    value_set(value, "description", value_string(snapshot->description));
    value_set(value, "id", value_int(snapshot->id));
    value_set(value, "createTime", value_time_ms(snapshot->created_at * 1000));
    value_set(value, "state",
              value_word("VirtualMachinePowerState", power_state(snapshot->was_on)));
    value_set(value, "quiesced", value_bool(snapshot->is_quiesced));
    if (index + 1 < vm->snapshots.count) {
        struct value *list = value_list("VirtualMachineSnapshotTree");

        value_add(list, snapshot_tree(vm, index + 1));
        value_set(value, "childSnapshotList", list);
    }
    value_set(value, "replaySupported", value_bool(false));
    return value;
}

static struct value *
snapshot_info(const struct lab_vm *vm)
{
    struct value *value, *roots;

    if (vm->snapshots.count == 0)
        return NULL;
    value = value_object("VirtualMachineSnapshotInfo");
    roots = value_list("VirtualMachineSnapshotTree");
    value_add(roots, snapshot_tree(vm, 0));
    value_set(
        value, "currentSnapshot",
        value_ref("VirtualMachineSnapshot", vm->snapshots.items[vm->snapshots.count - 1].moref));
    value_set(value, "rootSnapshotList", roots);
    return value;
}

static struct value *
one_ref_list(struct value *ref)
{
    struct value *list = value_list("ManagedObjectReference");

    if (ref)
        value_add(list, ref);
    return list;
}

struct value *
vs_snapshot_property(struct lab_vsphere *vs, struct lab_vm *vm, struct lab_snapshot *snapshot,
                     const char *name)
{
    size_t index = (size_t)(snapshot - vm->snapshots.items);

    if (!strcmp(name, "config"))
        return config(vs, vm, snapshot);
    if (!strcmp(name, "vm"))
        return value_ref("VirtualMachine", vm->moref);
    if (!strcmp(name, "childSnapshot"))
        return one_ref_list(index + 1 < vm->snapshots.count
                                ? value_ref("VirtualMachineSnapshot", snapshot[1].moref)
                                : NULL);
    return NULL;
}

/* ---- files ------------------------------------------------------------------------------------ */

static struct value *
layout_disk(const struct lab_vm *vm, size_t disk, size_t chain)
{
    struct value *value = value_object("VirtualMachineFileLayoutExDiskLayout");
    struct value *units = value_list("VirtualMachineFileLayoutExDiskUnit");

    for (size_t i = 0; i < chain; i++) {
        struct value *unit = value_object("VirtualMachineFileLayoutExDiskUnit");
        struct value *keys = value_list("int");

        value_add(keys, value_int((int64_t)(disk * vm->chain.count + i)));
        value_set(unit, "fileKey", keys);
        value_add(units, unit);
    }
    value_set(value, "key", value_int(vm->disks.items[disk].key));
    value_set(value, "chain", units);
    return value;
}

static struct value *
layout(const struct lab_vm *vm)
{
    struct value *value = value_object("VirtualMachineFileLayoutEx");
    struct value *list = value_list("VirtualMachineFileLayoutExFileInfo");
    struct value *disks = value_list("VirtualMachineFileLayoutExDiskLayout");

    for (size_t d = 0; d < vm->disks.count; d++) {
        for (size_t i = 0; i < vm->chain.count; i++) {
            struct value *file = value_object("VirtualMachineFileLayoutExFileInfo");
            char path[512];

            lab_vm_file(vm, d, vm->chain.items[i].number, path);
            value_set(file, "key", value_int((int64_t)(d * vm->chain.count + i)));
            value_set(file, "name", value_string(path));
            value_set(file, "type", value_string("diskDescriptor"));
            value_set(file, "size", value_long((int64_t)vm->disks.items[d].capacity));
            value_set(file, "accessible", value_bool(true));
            value_add(list, file);
        }
        value_add(disks, layout_disk(vm, d, vm->chain.count));
    }
    value_set(value, "file", list);
    value_set(value, "disk", disks);
    value_set(value, "timestamp", value_time_ms((uint64_t)clock_wall_ms()));
    return value;
}

/* ---- all of it -------------------------------------------------------------------------------- */

static struct value *
recent_tasks(struct lab_vsphere *vs, const struct lab_vm *vm)
{
    struct value *list = value_list("ManagedObjectReference");

    for (size_t i = 0; i < vs->tasks.count; i++)
        if (!strcmp(vs->tasks.items[i]->vm, vm->moref))
            value_add(list, value_ref("Task", vs->tasks.items[i]->moref));
    return list;
}

static struct value *
networks(struct lab_vsphere *vs, const struct lab_vm *vm)
{
    struct value *list = value_list("ManagedObjectReference");

    for (size_t e = 0; e < vs->entities.count; e++) {
        const struct vs_entity *entity = &vs->entities.items[e];
        bool is_used = false;

        for (size_t i = 0; i < vm->nics.count; i++)
            is_used = is_used || !strcmp(vm->nics.items[i].network, entity->name);
        if (is_used && !strcmp(entity->type, "Network") &&
            !strcmp(entity->datacenter, vm->datacenter))
            value_add(list, value_ref("Network", entity->moref));
    }
    return list;
}

static struct value *
disabled_methods(const struct lab_vm *vm)
{
    struct value *list = value_list("MethodName");

    if (vm->traits.is_snapshot_disabled)
        value_add(list, value_word("MethodName", "CreateSnapshot_Task"));
    return list;
}

static struct value *
identity(struct lab_vsphere *vs, struct lab_vm *vm, const char *name)
{
    char escaped[512];

    if (!strcmp(name, "name")) {
        vs_escape_name(vm->name, escaped, sizeof(escaped));
        return value_string(escaped);
    }
    if (!strcmp(name, "parent"))
        return value_ref("Folder", vs_parent_of(vs, vm->moref));
    if (!strcmp(name, "datastore"))
        return one_ref_list(role(vs, vm, "Datastore"));
    if (!strcmp(name, "network"))
        return networks(vs, vm);
    if (!strcmp(name, "resourcePool"))
        return role(vs, vm, "ResourcePool");
    if (!strcmp(name, "disabledMethod"))
        return disabled_methods(vm);
    if (!strcmp(name, "recentTask"))
        return recent_tasks(vs, vm);
    if (!strcmp(name, "rootSnapshot"))
        return one_ref_list(vm->snapshots.count
                                ? value_ref("VirtualMachineSnapshot", vm->snapshots.items[0].moref)
                                : NULL);
    return NULL;
}

struct value *
vs_vm_property(struct lab_vsphere *vs, struct lab_vm *vm, const char *name)
{
    if (!strcmp(name, "config"))
        return config(vs, vm, NULL);
    if (!strcmp(name, "runtime"))
        return runtime(vs, vm);
    if (!strcmp(name, "guest"))
        return guest(vs, vm);
    if (!strcmp(name, "summary"))
        return summary(vs, vm);
    if (!strcmp(name, "snapshot"))
        return snapshot_info(vm);
    if (!strcmp(name, "capability"))
        return capability(vm);
    if (!strcmp(name, "layoutEx"))
        return layout(vm);
    if (!strcmp(name, "overallStatus") || !strcmp(name, "configStatus"))
        return green();
    if (!strcmp(name, "guestHeartbeatStatus"))
        return value_word("ManagedEntityStatus", vm->has_tools && vm->was_on ? "green" : "gray");
    return identity(vs, vm, name);
}
