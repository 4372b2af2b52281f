#include "core/scenario.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "core/vms.h"

#define MAX_VMS        5000
#define MAX_DISKS      60
#define MAX_NICS       10
#define MAX_DATASTORES 10
#define MAX_CAPACITY   (64 * TIB)
#define MAX_DELAY_MS   60000

/* What one VM is made from, while it is read. */
struct draft {
    char *name, *datacenter, *guest_id, *firmware, *version;
    int kind; /* index into KINDS */
    bool is_off, has_tools, is_cbt_on;
    int64_t writer_kib_per_s, shutdown_ms;
    struct lab_vm *vm;
    VEC_DECLARE(, struct lab_disk_plan)
    disks;
};

static const char *const KINDS[] = {"synthetic", "live", NULL};
static const char *const POWER[] = {"off", "on", "suspended", NULL};
static const char *const FIRMWARE[] = {"bios", "efi", NULL};
const char *const LAB_DATASTORE_TYPES[] = {"VMFS", "NFS", "NFS41", "vsan", "VVOL", NULL};
static const char *const NIC_TYPES[] = {"vmxnet3", "e1000", "e1000e", NULL};
static const char *const NIC_CLASSES[] = {"VirtualVmxnet3", "VirtualE1000", "VirtualE1000e"};

/* ---- words ------------------------------------------------------------------------------------ */

/* "64MiB", "1536KiB", "67174400" */
static bool
parse_size(const char *text, uint64_t *ret_size)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } UNITS[] = {{"", 1}, {"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {"TiB", TIB}};
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    if (!isdigit((unsigned char)*text))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(UNITS); i++) {
        if (strcmp(UNITS[i].unit, end) != 0)
            continue;
        if (number > MAX_CAPACITY / UNITS[i].bytes)
            return false;
        *ret_size = number * UNITS[i].bytes;
        return true;
    }
    return false;
}

static bool
decode_size(const struct node *map, const char *key, uint64_t *size, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;

    if (!node_decode_string(map, key, &text, problems))
        return false;
    if (parse_size(text, size))
        return true;
    problems_add(problems, node_get(map, key), "expected a size such as 64MiB or bytes, at most %s",
                 "64TiB");
    return false;
}

static void
decode_unsigned(const struct node *map, const char *key, int64_t min, unsigned *value,
                struct problems *problems)
{
    int64_t number = *value;

    if (node_decode_int(map, key, min, 1000000000, &number, problems))
        *value = (unsigned)number;
}

static void
decode_text(const struct node *map, const char *key, char *to, size_t room,
            struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;

    if (!node_decode_string(map, key, &text, problems))
        return;
    if (strlen(text) >= room)
        problems_add(problems, node_get(map, key), "longer than %zu bytes", room - 1);
    else
        (void)snprintf(to, room, "%s", text);
}

/* ---- devices ---------------------------------------------------------------------------------- */

/* Device keys as ESXi numbers them. */
static bool
place_disk(struct lab_vm_disk *disk)
{
    static const struct {
        const char *bus;
        int32_t first_key, controllers, units;
    } BUSES[] = {
        {"scsi", 2000, 4, 16}, {"sata", 16000, 4, 30}, {"ide", 3000, 2, 2}, {"nvme", 32000, 4, 15}};

    for (size_t i = 0; i < ARRAY_SIZE(BUSES); i++) {
        if (strcmp(BUSES[i].bus, disk->bus) != 0)
            continue;
        disk->key = BUSES[i].first_key + disk->controller * BUSES[i].units + disk->unit;
        return disk->controller >= 0 && disk->controller < BUSES[i].controllers &&
               disk->unit >= 0 && disk->unit < BUSES[i].units &&
               (strcmp(disk->bus, "scsi") != 0 || disk->unit != 7);
    }
    return false;
}

static void
read_address(const struct node *map, struct lab_vm_disk *disk, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;
    char tail;

    if (!node_decode_string(map, "address", &text, problems)) {
        problems_add(problems, map, "needs an address such as scsi0:0");
        return;
    }
    if (sscanf(text, "%4[a-z]%d:%d%c", disk->bus, &disk->controller, &disk->unit, &tail) != 3 ||
        !place_disk(disk))
        problems_add(problems, node_get(map, "address"),
                     "expected scsi0:0 to scsi3:15 (not unit 7), sata0:0, ide0:0 or nvme0:0");
}

/* What makes a disk odd. */
static void
read_disk_traits(const struct node *map, struct lab_vm_disk *disk, struct problems *problems)
{
    static const char *const RDM[] = {"", "physical", "virtual", NULL};
    bool is_tracked = true;
    int rdm = 0;

    (void)snprintf(disk->mode, sizeof(disk->mode), "persistent");
    decode_text(map, "mode", disk->mode, sizeof(disk->mode), problems);
    decode_text(map, "datastore", disk->datastore, sizeof(disk->datastore), problems);
    (void)node_decode_word(map, "rdm", RDM, &rdm, problems);
    (void)snprintf(disk->rdm, sizeof(disk->rdm), "%s", RDM[rdm]);
    (void)node_decode_bool(map, "multi_writer", &disk->is_multi_writer, problems);
    (void)node_decode_bool(map, "shared_bus", &disk->is_bus_shared, problems);
    (void)node_decode_bool(map, "encrypted", &disk->is_encrypted, problems);
    (void)node_decode_bool(map, "ctk", &is_tracked, problems);
    disk->is_untracked = !is_tracked;
}

static void
read_disk(const struct node *map, struct draft *draft, struct problems *problems)
{
    static const char *const KNOWN[] = {
        "address",   "size", "fill",         "seed",       "content",   "delay_ms", "mode",
        "datastore", "rdm",  "multi_writer", "shared_bus", "encrypted", "ctk",      NULL};
    struct lab_vm_disk disk = {0};
    struct lab_disk_plan plan = {0};
    int64_t fill = 50, seed = (int64_t)draft->disks.count + 1, delay_ms = -1;

    node_check_keys(map, KNOWN, problems);
    read_address(map, &disk, problems);
    read_disk_traits(map, &disk, problems);
    if (!decode_size(map, "size", &disk.capacity, problems) || disk.capacity == 0 ||
        disk.capacity % 512)
        problems_add(problems, map, "needs a size in whole sectors of 512 bytes");
    (void)node_decode_int(map, "fill", 0, 100, &fill, problems);
    (void)node_decode_int(map, "seed", 1, INT64_MAX, &seed, problems);
    decode_text(map, "content", plan.content, sizeof(plan.content), problems);
    (void)node_decode_int(map, "delay_ms", 0, MAX_DELAY_MS, &delay_ms, problems);
    disk.delay_ms = (int)delay_ms;
    for (size_t i = 0; i < draft->vm->disks.count; i++)
        if (draft->vm->disks.items[i].key == disk.key)
            problems_add(problems, map, "two disks at one address");
    plan.capacity = disk.capacity;
    plan.controller = (unsigned)disk.controller;
    plan.unit = (unsigned)disk.unit;
    plan.fill_percent = (unsigned)fill;
    plan.seed = (uint64_t)seed;
    vec_push(&draft->disks, plan);
    vec_push(&draft->vm->disks, disk);
}

static void
read_nic(const struct node *map, const struct lab *lab, struct draft *draft,
         struct problems *problems)
{
    static const char *const KNOWN[] = {"mac", "network", "type", "ip", NULL};
    struct lab_vm_nic nic = {.network = "VM Network"};
    size_t number = draft->vm->nics.count;
    unsigned parts[6];
    int type = 0;
    char tail;

    node_check_keys(map, KNOWN, problems);
    nic.key = 4000 + (int32_t)number;
    (void)snprintf(nic.label, sizeof(nic.label), "Network adapter %zu", number + 1);
    (void)snprintf(nic.mac, sizeof(nic.mac), "00:50:56:%02x:%02x:%02x",
                   (unsigned)(lab->vms.count >> 8) & 0x3f, (unsigned)lab->vms.count & 0xff,
                   (unsigned)number & 0xff);
    decode_text(map, "mac", nic.mac, sizeof(nic.mac), problems);
    if (sscanf(nic.mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &parts[0], &parts[1], &parts[2], &parts[3],
               &parts[4], &parts[5], &tail) != 6)
        problems_add(problems, map, "mac: expected six bytes in hex with colons");
    decode_text(map, "network", nic.network, sizeof(nic.network), problems);
    decode_text(map, "ip", nic.ip, sizeof(nic.ip), problems);
    (void)node_decode_word(map, "type", NIC_TYPES, &type, problems);
    (void)snprintf(nic.type, sizeof(nic.type), "%s", NIC_CLASSES[type]);
    vec_push(&draft->vm->nics, nic);
}

/* ---- one VM ----------------------------------------------------------------------------------- */

static void
draft_done(struct draft *draft)
{
    free(draft->name);
    free(draft->datacenter);
    free(draft->guest_id);
    free(draft->firmware);
    free(draft->version);
    vec_done(&draft->disks);
}

static void
read_lists(const struct node *map, const struct lab *lab, struct draft *draft,
           struct problems *problems)
{
    const struct node *disks = node_decode_list(map, "disks", problems);
    const struct node *nics = node_decode_list(map, "nics", problems);

    for (size_t i = 0; disks && i < node_count(disks) && i < MAX_DISKS; i++)
        read_disk(node_item(disks, i), draft, problems);
    for (size_t i = 0; nics && i < node_count(nics) && i < MAX_NICS; i++)
        read_nic(node_item(nics, i), lab, draft, problems);
}

static void
read_traits(const struct node *map, struct lab_vm_traits *traits, struct problems *problems)
{
    traits->cpus = 2;
    traits->memory_mib = 2048;
    (void)node_decode_bool(map, "template", &traits->is_template, problems);
    (void)node_decode_bool(map, "secure_boot", &traits->is_secure_boot, problems);
    (void)node_decode_bool(map, "vtpm", &traits->has_vtpm, problems);
    (void)node_decode_bool(map, "encrypted", &traits->is_encrypted, problems);
    (void)node_decode_bool(map, "fault_tolerant", &traits->is_fault_tolerant, problems);
    (void)node_decode_bool(map, "snapshot_disabled", &traits->is_snapshot_disabled, problems);
    decode_text(map, "connection", traits->connection, sizeof(traits->connection), problems);
    decode_text(map, "question", traits->question, sizeof(traits->question), problems);
    decode_unsigned(map, "cpus", 1, &traits->cpus, problems);
    decode_unsigned(map, "memory_mib", 4, &traits->memory_mib, problems);
}

static void
read_draft(const struct node *map, struct lab *lab, struct draft *draft, struct problems *problems)
{
    static const char *const KNOWN[] = {"name",
                                        "datacenter",
                                        "kind",
                                        "guest_id",
                                        "firmware",
                                        "version",
                                        "power",
                                        "tools",
                                        "cbt",
                                        "disks",
                                        "nics",
                                        "writer_kib_per_s",
                                        "shutdown_ms",
                                        "template",
                                        "secure_boot",
                                        "vtpm",
                                        "encrypted",
                                        "cpus",
                                        "memory_mib",
                                        "connection",
                                        "question",
                                        "fault_tolerant",
                                        "snapshot_disabled",
                                        NULL};
    int power = 1, firmware = 0;

    node_check_keys(map, KNOWN, problems);
    draft->name = xstrdup("");
    draft->datacenter = xstrdup("DC1");
    draft->guest_id = xstrdup("debian12_64Guest");
    draft->version = xstrdup("vmx-19");
    draft->has_tools = true;
    draft->shutdown_ms = 500;
    (void)node_decode_string(map, "name", &draft->name, problems);
    if (!*draft->name)
        problems_add(problems, map, "needs a name");
    (void)node_decode_string(map, "datacenter", &draft->datacenter, problems);
    (void)node_decode_word(map, "kind", KINDS, &draft->kind, problems);
    (void)node_decode_string(map, "guest_id", &draft->guest_id, problems);
    (void)node_decode_string(map, "version", &draft->version, problems);
    (void)node_decode_word(map, "firmware", FIRMWARE, &firmware, problems);
    (void)node_decode_word(map, "power", POWER, &power, problems);
    (void)node_decode_bool(map, "tools", &draft->has_tools, problems);
    (void)node_decode_bool(map, "cbt", &draft->is_cbt_on, problems);
    (void)node_decode_int(map, "writer_kib_per_s", 0, 10000000, &draft->writer_kib_per_s, problems);
    (void)node_decode_int(map, "shutdown_ms", 0, 3600000, &draft->shutdown_ms, problems);
    draft->firmware = xstrdup(FIRMWARE[firmware]);
    draft->is_off = power != 1;
    draft->vm->traits.is_suspended = power == 2;
    read_traits(map, &draft->vm->traits, problems);
    read_lists(map, lab, draft, problems);
}

/* A live machine's disks may be larger than was asked for. */
static int
read_capacities(struct lab_vm *vm, struct err **err)
{
    for (size_t i = 0; i < vm->disks.count; i++) {
        const char *path = vm->machine->ops->raw_path(vm->machine, (unsigned)i);
        struct stat st;

        if (!path || stat(path, &st) < 0)
            return err_set_errno(err, E_IO, path ? errno : ENOENT, "disk %zu of %s", i, vm->name);
        vm->disks.items[i].capacity = (uint64_t)st.st_size;
    }
    return 0;
}

static int
make_machine(struct lab *lab, struct draft *draft, struct err **err)
{
    struct lab_vm *vm = draft->vm;
    CLEANUP(free_charp) char *name = xasprintf("%s_%s", vm->name, vm->moref);
    CLEANUP(free_charp) char *safe = file_safe_name(name);
    CLEANUP(free_charp) char *dir = xasprintf("%s/vms/%s", lab->dir, safe);
    struct lab_nic_plan nics[MAX_NICS];
    struct lab_machine_plan plan = {
        .name = vm->name,
        .dir = dir,
        .disks = draft->disks.items,
        .disk_count = (unsigned)draft->disks.count,
        .nics = nics,
        .nic_count = (unsigned)vm->nics.count,
        .writer_kib_per_s = (unsigned)draft->writer_kib_per_s,
        .is_off = draft->is_off,
        .shutdown_ms = (unsigned)draft->shutdown_ms,
    };

    for (size_t i = 0; i < vm->nics.count; i++)
        nics[i].mac = vm->nics.items[i].mac;
    if (file_make_dirs(dir, 0755, err) < 0)
        return -1;
    if ((draft->kind == 0 ? lab_synthetic_new(&plan, &vm->machine, err)
                          : lab_live_new(&plan, &vm->machine, err)) < 0)
        return -1;
    return read_capacities(vm, err);
}

/* The bases that disks, NICs and ids of a VM are made on. */
static int
finish_vm(struct lab *lab, struct draft *draft, struct err **err)
{
    struct lab_vm *vm = draft->vm;
    CLEANUP(free_charp) char *instance = xasprintf("%s/%s", draft->datacenter, draft->name);
    CLEANUP(free_charp) char *bios = xasprintf("bios %s", instance);

    (void)snprintf(vm->moref, sizeof(vm->moref), "vm-%zu", 101 + lab->vms.count);
    (void)snprintf(vm->name, sizeof(vm->name), "%s", draft->name);
    (void)snprintf(vm->datacenter, sizeof(vm->datacenter), "%s", draft->datacenter);
    (void)snprintf(vm->guest_id, sizeof(vm->guest_id), "%s", draft->guest_id);
    (void)snprintf(vm->firmware, sizeof(vm->firmware), "%s", draft->firmware);
    (void)snprintf(vm->version, sizeof(vm->version), "%s", draft->version);
    lab_uuid(instance, vm->instance_uuid);
    lab_uuid(bios, vm->bios_uuid);
    vm->has_tools = draft->has_tools;
    vm->is_cbt_on = draft->is_cbt_on;
    if (make_machine(lab, draft, err) < 0 || lab_vm_prepare(lab, vm, err) < 0)
        return err_wrap(err, "VM %s", vm->name);
    return 0;
}

static int
read_vm(const struct node *map, struct lab *lab, struct problems *problems, struct err **err)
{
    struct draft draft = {.vm = xcalloc(1, sizeof(struct lab_vm))};
    unsigned before = problems->count;
    int result = 0;

    pthread_mutex_init(&draft.vm->operating, NULL);
    read_draft(map, lab, &draft, problems);
    for (size_t i = 0; i < lab->vms.count; i++)
        if (!strcmp(lab->vms.items[i]->name, draft.name) &&
            !strcmp(lab->vms.items[i]->datacenter, draft.datacenter))
            problems_add(problems, map, "two VMs of one name in one datacenter");
    if (problems->count == before)
        result = finish_vm(lab, &draft, err);
    draft_done(&draft);
    vec_push(&lab->vms, draft.vm); /* lab_free ends what there is of it */
    return result;
}

/* ---- the rest --------------------------------------------------------------------------------- */

static void
read_datastore(const struct node *map, struct lab_vcenter_settings *settings,
               struct problems *problems)
{
    static const char *const KNOWN[] = {"name",       "type",        "capacity", "free",
                                        "accessible", "maintenance", NULL};
    struct lab_datastore datastore = {
        .maintenance = "normal", .capacity = 4 * TIB, .free_bytes = 2 * TIB};
    bool is_accessible = true;

    node_check_keys(map, KNOWN, problems);
    decode_text(map, "name", datastore.name, sizeof(datastore.name), problems);
    if (!*datastore.name)
        problems_add(problems, map, "needs a name");
    decode_text(map, "type", datastore.type, sizeof(datastore.type), problems);
    decode_text(map, "maintenance", datastore.maintenance, sizeof(datastore.maintenance), problems);
    (void)decode_size(map, "capacity", &datastore.capacity, problems);
    (void)decode_size(map, "free", &datastore.free_bytes, problems);
    (void)node_decode_bool(map, "accessible", &is_accessible, problems);
    datastore.is_inaccessible = !is_accessible;
    vec_push(&settings->datastores, datastore);
}

/* What the account may not do, and the hosts and datastores that every data centre has. */
static void
read_vcenter_traits(const struct node *map, struct lab_vcenter_settings *settings,
                    struct problems *problems)
{
    const struct node *datastores = node_decode_list(map, "datastores", problems);
    const struct node *missing = node_decode_list(map, "missing_privileges", problems);

    for (size_t i = 0; datastores && i < node_count(datastores) && i < MAX_DATASTORES; i++)
        read_datastore(node_item(datastores, i), settings, problems);
    for (size_t i = 0; missing && i < node_count(missing); i++) {
        const char *text = node_text(node_item(missing, i));

        if (text)
            vec_push(&settings->missing_privileges, xstrdup(text));
        else
            problems_add(problems, node_item(missing, i), "expected a privilege's id");
    }
    decode_text(map, "esxi_version", settings->esxi_version, sizeof(settings->esxi_version),
                problems);
    decode_unsigned(map, "clock_ahead_s", 0, &settings->clock_ahead_s, problems);
    (void)node_decode_bool(map, "host_in_maintenance", &settings->is_host_in_maintenance, problems);
}

static void
read_vcenter(const struct node *map, struct lab *lab, struct problems *problems)
{
    static const char *const KNOWN[] = {"user",
                                        "password",
                                        "page_objects",
                                        "idle_seconds",
                                        "datastore_type",
                                        "task_ms",
                                        "task_keep_seconds",
                                        "areas_per_answer",
                                        "bytes_per_answer",
                                        "datastores",
                                        "missing_privileges",
                                        "esxi_version",
                                        "clock_ahead_s",
                                        "host_in_maintenance",
                                        NULL};
    struct lab_vcenter_settings *settings = &lab->settings;

    (void)snprintf(lab->user, sizeof(lab->user), "administrator@vsphere.local");
    (void)snprintf(lab->password, sizeof(lab->password), "lab <Secret> & 1");
    if (!map)
        return;
    node_check_keys(map, KNOWN, problems);
    decode_text(map, "user", lab->user, sizeof(lab->user), problems);
    decode_text(map, "password", lab->password, sizeof(lab->password), problems);
    decode_unsigned(map, "page_objects", 1, &settings->page_objects, problems);
    decode_unsigned(map, "idle_seconds", 1, &settings->idle_seconds, problems);
    decode_unsigned(map, "task_ms", 0, &settings->task_ms, problems);
    decode_unsigned(map, "task_keep_seconds", 1, &settings->task_keep_seconds, problems);
    decode_unsigned(map, "areas_per_answer", 1, &settings->areas_per_answer, problems);
    (void)decode_size(map, "bytes_per_answer", &settings->bytes_per_answer, problems);
    (void)node_decode_word(map, "datastore_type", LAB_DATASTORE_TYPES, &settings->datastore_type,
                           problems);
    read_vcenter_traits(map, settings, problems);
    if (settings->bytes_per_answer < 512)
        problems_add(problems, map, "bytes_per_answer must be at least 512");
}

/* "100MiB/s", or without the "/s" */
static void
decode_rate(const struct node *map, const char *key, uint64_t *rate, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;
    char *per;

    if (!node_decode_string(map, key, &text, problems))
        return;
    per = strstr(text, "/s");
    if (per && !per[2])
        *per = '\0';
    if (!parse_size(text, rate))
        problems_add(problems, node_get(map, key), "expected a rate such as 100MiB/s; 0: no limit");
}

static void
read_nfc(const struct node *map, struct lab *lab, struct problems *problems)
{
    static const char *const KNOWN[] = {"delay_ms", "connection_rate", "rate", NULL};
    struct lab_nfc_settings *settings = &lab->nfc_settings;
    int64_t delay_ms = 0;

    if (!map)
        return;
    node_check_keys(map, KNOWN, problems);
    (void)node_decode_int(map, "delay_ms", 0, MAX_DELAY_MS, &delay_ms, problems);
    settings->delay_ms = (unsigned)delay_ms;
    decode_rate(map, "connection_rate", &settings->connection_rate, problems);
    decode_rate(map, "rate", &settings->rate, problems);
}

/* Scalars become what YAML's core schema says they are. */
static json_t *
to_json(const struct node *node)
{
    const char *text;
    json_t *json;
    char *end;

    switch (node_kind(node)) {
    case NODE_LIST:
        json = json_array();
        for (size_t i = 0; i < node_count(node); i++)
            json_array_append_new(json, to_json(node_item(node, i)));
        return json;
    case NODE_MAP:
        json = json_object();
        for (size_t i = 0; i < node_count(node); i++)
            json_object_set_new(json, node_key(node, i), to_json(node_item(node, i)));
        return json;
    case NODE_NULL:
        return json_null();
    case NODE_SCALAR:
        break;
    }
    text = node_text(node);
    if (!strcmp(text, "true") || !strcmp(text, "false"))
        return json_boolean(*text == 't');
    if (isdigit((unsigned char)*text) || (*text == '-' && isdigit((unsigned char)text[1]))) {
        long long number = strtoll(text, &end, 10);

        if (!*end)
            return json_integer(number);
    }
    return json_string(text);
}

static int
read_root(const struct node *root, struct lab *lab, struct problems *problems,
          json_t **ret_cloudstack, struct err **err)
{
    static const char *const KNOWN[] = {"vcenter", "nfc", "vms", "cloudstack", NULL};
    const struct node *vms, *cloudstack;

    if (node_kind(root) != NODE_MAP)
        return err_set(err, E_CONFIG, "a scenario is a map of vms, vcenter, nfc and cloudstack");
    node_check_keys(root, KNOWN, problems);
    read_vcenter(node_decode_map(root, "vcenter", problems), lab, problems);
    read_nfc(node_decode_map(root, "nfc", problems), lab, problems);
    vms = node_decode_list(root, "vms", problems);
    for (size_t i = 0; vms && i < node_count(vms) && i < MAX_VMS; i++)
        if (read_vm(node_item(vms, i), lab, problems, err) < 0)
            return -1;
    cloudstack = node_decode_map(root, "cloudstack", problems);
    if (problems_check(problems, err) < 0)
        return -1;
    *ret_cloudstack = cloudstack ? to_json(cloudstack) : NULL;
    return 0;
}

int
lab_scenario_load(struct lab *lab, const char *path, json_t **ret_cloudstack, struct err **err)
{
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct problems problems;
    int result;

    if (doc_read(path, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    result = read_root(doc_root(doc), lab, &problems, ret_cloudstack, err);
    problems_done(&problems);
    return result;
}
