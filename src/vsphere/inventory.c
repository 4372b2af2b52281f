/* Virtual machines: one read whole, or all of them listed. */
#include "vsphere/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define MAX_VMS 1000000

/* What is read of one VM; `config` and the others are left unset by a VM that is inaccessible. */
static const char *const vm_paths[] = {
    "name",
    "config.instanceUuid",
    "config.uuid",
    "config.version",
    "config.template",
    "config.firmware",
    "config.bootOptions",
    "config.guestId",
    "config.guestFullName",
    "config.changeTrackingEnabled",
    "config.changeVersion",
    "config.hardware.device",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "capability.changeTrackingSupported",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "runtime.consolidationNeeded",
    "runtime.host",
    "runtime.bootTime",
    "guest.toolsRunningStatus",
    "guest.net",
    NULL,
};
static const char *const key_paths[] = {"config.keyId", NULL}; /* since 6.5 */
static const char *const snapshot_paths[] = {"snapshot", NULL};
static const char *const name_paths[] = {"name", NULL};
static const char *const datastore_paths[] = {"name", "summary.type", NULL};

struct network {
    char *moref, *name;
};
VEC_DECLARE(networks, struct network);

/* Objects come in any order: what is around the VM is put into it at the end. */
struct reading {
    struct vsphere_vm vm;
    bool is_seen;
    char *datacenter, *host_name;
    struct networks networks;
    struct vsphere_datastores datastores;
};

static void
networks_done(struct networks *networks)
{
    for (size_t i = 0; i < networks->count; i++) {
        free(networks->items[i].moref);
        free(networks->items[i].name);
    }
    vec_done(networks);
}

static void
datastores_done(struct vsphere_datastores *datastores)
{
    for (size_t i = 0; i < datastores->count; i++) {
        free(datastores->items[i].moref);
        free(datastores->items[i].name);
        free(datastores->items[i].type);
    }
    vec_done(datastores);
}

static void
reading_done(struct reading *reading)
{
    vsphere_vm_done(&reading->vm);
    free(reading->datacenter);
    free(reading->host_name);
    networks_done(&reading->networks);
    datastores_done(&reading->datastores);
}

void
vsphere_vm_done(struct vsphere_vm *vm)
{
    free(vm->moref);
    free(vm->name);
    free(vm->instance_uuid);
    free(vm->bios_uuid);
    free(vm->datacenter);
    free(vm->guest_id);
    free(vm->guest_full_name);
    free(vm->version);
    free(vm->firmware);
    free(vm->tools_status);
    free(vm->connection_state);
    free(vm->question);
    free(vm->change_version);
    free(vm->boot_time);
    free(vm->host);
    free(vm->host_name);
    free(vm->cluster);
    free(vm->folder);
    vsphere_disks_done(&vm->disks);
    devices_free_nics(&vm->nics);
    snapshots_done(&vm->snapshots);
    datastores_done(&vm->datastores);
    memset(vm, 0, sizeof(*vm));
}

static int
hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *p = c ? strchr(digits, c | 0x20) : NULL;

    return p ? (int)(p - digits) : -1;
}

char *
inventory_unescape_name(const char *name)
{
    char *copy = xstrdup(name), *to = copy;

    for (const char *p = name; *p; p++) {
        int c = *p == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0
                    ? hex_value(p[1]) * 16 + hex_value(p[2])
                    : 0;

        if (c == '%' || c == '/' || c == '\\') {
            *to++ = (char)c;
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    return copy;
}

static char *
text_or_empty(const struct object *object, const char *path)
{
    const char *text = object_text(object, path);

    return xstrdup(text ? text : "");
}

static int
read_power(const struct object *object, enum vsphere_power *ret_power, struct err **err)
{
    const char *text = object_text(object, "runtime.powerState");

    if (object_check_readable(object, "runtime.powerState", err) < 0)
        return -1;
    if (text && !strcmp(text, "poweredOn"))
        *ret_power = VSPHERE_POWERED_ON;
    else if (text && !strcmp(text, "poweredOff"))
        *ret_power = VSPHERE_POWERED_OFF;
    else if (text && !strcmp(text, "suspended"))
        *ret_power = VSPHERE_SUSPENDED;
    else
        return err_set(err, E_VSPHERE_PROTOCOL, "%s has the power state \"%.40s\"", object->moref,
                       text ? text : "");
    return 0;
}

/* The first disk of bootOrder that the VM has. */
static int32_t
read_boot_disk(const struct object *object, const struct vsphere_disks *disks)
{
    const struct xml_node *options = object_get(object, "config.bootOptions");

    for (const struct xml_node *b = xml_child(options, "bootOrder"); b; b = xml_next(b)) {
        int64_t key;

        if (!xml_is_type(b, "VirtualMachineBootOptionsBootableDiskDevice") ||
            xml_child_int(b, "deviceKey", INT32_MIN, INT32_MAX, &key, NULL) < 0)
            continue;
        for (size_t i = 0; i < disks->count; i++)
            if (disks->items[i].key == key)
                return (int32_t)key;
    }
    return 0;
}

static int32_t
read_count(const struct object *object, const char *path)
{
    const char *text = object_text(object, path);
    long value = text ? strtol(text, NULL, 10) : 0;

    return value > 0 && value <= INT32_MAX ? (int32_t)value : 0;
}

static void
read_identity(const struct object *object, struct vsphere_vm *vm)
{
    const char *name = object_text(object, "name");

    vm->moref = xstrdup(object->moref);
    vm->name = inventory_unescape_name(name ? name : "");
    vm->instance_uuid = text_or_empty(object, "config.instanceUuid");
    vm->bios_uuid = text_or_empty(object, "config.uuid");
    vm->datacenter = xstrdup("");
    vm->guest_id = text_or_empty(object, "config.guestId");
    vm->guest_full_name = text_or_empty(object, "config.guestFullName");
    vm->version = text_or_empty(object, "config.version");
    vm->firmware = text_or_empty(object, "config.firmware");
    if (!*vm->firmware) {
        free(vm->firmware);
        vm->firmware = xstrdup("bios"); /* vSphere's own default */
    }
}

static int
read_vm_object(const struct object *object, struct vsphere_vm *vm, struct err **err)
{
    const struct xml_node *devices = object_get(object, "config.hardware.device");

    read_identity(object, vm);
    vm->is_template = object_is_true(object, "config.template");
    vm->is_secure_boot =
        xml_child_is_true(object_get(object, "config.bootOptions"), "efiSecureBootEnabled");
    vm->is_encrypted = object_get(object, "config.keyId") != NULL;
    vm->has_vtpm = devices_has_type(devices, "VirtualTPM");
    vm->tools_status = text_or_empty(object, "guest.toolsRunningStatus");
    vm->connection_state = text_or_empty(object, "runtime.connectionState");
    vm->question = xstrdup(xml_child_text(object_get(object, "runtime.question"), "text"));
    vm->is_cbt_supported = object_is_true(object, "capability.changeTrackingSupported");
    vm->is_cbt_enabled = object_is_true(object, "config.changeTrackingEnabled");
    vm->needs_consolidation = object_is_true(object, "runtime.consolidationNeeded");
    vm->cpu_count = read_count(object, "config.hardware.numCPU");
    vm->memory_mib = read_count(object, "config.hardware.memoryMB");
    vm->change_version = xstrdup(object_text(object, "config.changeVersion"));
    vm->boot_time = xstrdup(object_text(object, "runtime.bootTime"));
    vm->host = text_or_empty(object, "runtime.host");
    vm->host_name = xstrdup("");
    snapshots_read(object_get(object, "snapshot"), &vm->snapshots);
    if (read_power(object, &vm->power, err) < 0 ||
        devices_read_disks(devices, &vm->disks, err) < 0 ||
        devices_read_nics(devices, &vm->nics, err) < 0)
        return err_wrap(err, "%s", vm->moref);
    devices_read_addresses(object_get(object, "guest.net"), &vm->nics);
    vm->boot_disk_key = read_boot_disk(object, &vm->disks);
    return 0;
}

static void
add_network(struct networks *networks, const struct object *object)
{
    const char *name = object_text(object, "name");

    if (name)
        vec_push(networks,
                 ((struct network){xstrdup(object->moref), inventory_unescape_name(name)}));
}

static void
add_datastore(struct vsphere_datastores *datastores, const struct object *object)
{
    const char *name = object_text(object, "name");

    if (name)
        vec_push(datastores, ((struct vsphere_datastore){
                                 .moref = xstrdup(object->moref),
                                 .name = inventory_unescape_name(name),
                                 .type = xstrdup(object_text(object, "summary.type")),
                             }));
}

/* A card on a distributed port group knows its moref only.  What cannot be found out is NULL. */
static void
name_networks(struct vsphere_nics *nics, const struct networks *networks)
{
    for (size_t i = 0; i < nics->count; i++) {
        struct vsphere_nic *nic = &nics->items[i];

        for (size_t k = 0; nic->network && k < networks->count; k++)
            if (!strcmp(networks->items[k].moref, nic->network)) {
                free(nic->network);
                nic->network = xstrdup(networks->items[k].name);
                break;
            }
        if (nic->network && !strncmp(nic->network, "dvportgroup-", 12))
            free(take(nic->network));
    }
}

/* ---- one VM ---- */

static int
on_read(void *opaque, const struct object *object, struct err **err)
{
    static const char *const needed[] = {"name", "config.hardware.device", "config.instanceUuid",
                                         "snapshot"};
    struct reading *reading = opaque;

    if (!strcmp(object->type, "Datacenter")) {
        const char *name = object_text(object, "name");

        free(reading->datacenter);
        reading->datacenter = inventory_unescape_name(name ? name : "");
    } else if (!strcmp(object->type, "HostSystem")) {
        free(reading->host_name);
        reading->host_name = xstrdup(object_text(object, "name"));
    } else if (!strcmp(object->type, "Datastore")) {
        add_datastore(&reading->datastores, object);
    } else if (strcmp(object->type, "VirtualMachine") != 0) {
        add_network(&reading->networks, object);
    } else {
        for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
            if (object_check_readable(object, needed[i], err) < 0)
                return -1;
        vsphere_vm_done(&reading->vm);
        reading->is_seen = true;
        return read_vm_object(object, &reading->vm, err);
    }
    return 0;
}

static void
append_vm_sets(const struct vsphere *vsphere, struct str *spec, bool with_snapshots)
{
    str_append(spec, "<propSet><type>VirtualMachine</type>");
    for (const char *const *p = vm_paths; *p; p++)
        xml_append_element(spec, "pathSet", *p);
    if (vsphere->has_encryption)
        xml_append_element(spec, "pathSet", key_paths[0]);
    if (with_snapshots)
        xml_append_element(spec, "pathSet", snapshot_paths[0]);
    str_append(spec, "</propSet>");
}

/* Up to the data centre, through a vApp where there is one, and aside to the rest. */
#define TO_NETWORKS                                                                                \
    "<selectSet xsi:type=\"TraversalSpec\"><name>network</name><type>VirtualMachine</type>"        \
    "<path>network</path><skip>false</skip></selectSet>"
#define TO_HOST_AND_DATASTORES                                                                     \
    "<selectSet xsi:type=\"TraversalSpec\"><name>host</name><type>VirtualMachine</type>"           \
    "<path>runtime.host</path><skip>false</skip></selectSet>"                                      \
    "<selectSet xsi:type=\"TraversalSpec\"><name>datastore</name><type>VirtualMachine</type>"      \
    "<path>datastore</path><skip>false</skip></selectSet>"
#define TO_DATACENTER                                                                              \
    "<selectSet xsi:type=\"TraversalSpec\"><name>parent</name><type>ManagedEntity</type>"          \
    "<path>parent</path><skip>false</skip><selectSet><name>parent</name></selectSet></selectSet>"  \
    "<selectSet xsi:type=\"TraversalSpec\"><name>vapp</name><type>VirtualMachine</type>"           \
    "<path>parentVApp</path><skip>false</skip><selectSet><name>parent</name></selectSet>"          \
    "</selectSet>"

int
vsphere_read_vm(struct vsphere *vsphere, const char *moref, struct vsphere_vm *ret_vm,
                struct err **err)
{
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);
    CLEANUP(reading_done) struct reading reading = {0};

    append_vm_sets(vsphere, &spec, true);
    props_append_set(&spec, "Datacenter", name_paths);
    props_append_set(&spec, "Network", name_paths);
    props_append_set(&spec, "HostSystem", name_paths);
    props_append_set(&spec, "Datastore", datastore_paths);
    str_append(&spec, "<objectSet>");
    xml_append_ref(&spec, "obj", "VirtualMachine", moref);
    str_append(&spec, "<skip>false</skip>" TO_DATACENTER TO_NETWORKS TO_HOST_AND_DATASTORES
                      "</objectSet>");
    if (props_retrieve(vsphere, &spec, on_read, &reading, err) < 0)
        return err_wrap(err, "VM %s", moref);
    if (!reading.is_seen)
        return err_set(err, E_VSPHERE_NOT_FOUND, "VM %s does not exist", moref);
    if (reading.datacenter) {
        free(reading.vm.datacenter);
        reading.vm.datacenter = take(reading.datacenter);
    }
    if (reading.host_name) {
        free(reading.vm.host_name);
        reading.vm.host_name = take(reading.host_name);
    }
    reading.vm.datastores = reading.datastores;
    reading.datastores = (struct vsphere_datastores){0};
    name_networks(&reading.vm.nics, &reading.networks);
    *ret_vm = reading.vm;
    memset(&reading.vm, 0, sizeof(reading.vm));
    return 0;
}

/* ---- several VMs ---- */

#define VMS_IN_ONE_CALL 100

struct batch {
    char *const *morefs; /* NULL: not to be read */
    size_t count;
    struct vsphere_vm *vms;
    struct err **errors;
    struct networks networks;
};

static int
on_batch(void *opaque, const struct object *object, struct err **err)
{
    struct batch *batch = opaque;
    struct reading reading = {0};

    if (strcmp(object->type, "VirtualMachine") != 0) {
        add_network(&batch->networks, object);
        return 0;
    }
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->morefs[i] || strcmp(batch->morefs[i], object->moref) != 0 ||
            batch->vms[i].moref || batch->errors[i])
            continue;
        if (on_read(&reading, object, &batch->errors[i]) == 0)
            batch->vms[i] = reading.vm;
        else
            reading_done(&reading);
        reading = (struct reading){0};
    }
    return 0;
}

static int
read_batch(struct vsphere *vsphere, struct batch *batch, size_t first, size_t count,
           struct err **err)
{
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);

    append_vm_sets(vsphere, &spec, true);
    props_append_set(&spec, "Network", name_paths);
    for (size_t i = first; i < first + count; i++) {
        if (!batch->morefs[i])
            continue;
        str_append(&spec, "<objectSet>");
        xml_append_ref(&spec, "obj", "VirtualMachine", batch->morefs[i]);
        str_append(&spec, "<skip>false</skip>" TO_NETWORKS "</objectSet>");
    }
    str_append(&spec, "<reportMissingObjectsInResults>true</reportMissingObjectsInResults>");
    return props_retrieve(vsphere, &spec, on_batch, batch, err);
}

/* One that no listing showed is read by itself, with the way up to its data centre. */
static void
read_singly(struct vsphere *vsphere, char *const *morefs, char *const *datacenters, size_t count,
            struct vsphere_vm *vms, struct err **errors)
{
    for (size_t i = 0; i < count; i++)
        if (morefs[i] && !datacenters[i] && !errors[i])
            (void)vsphere_read_vm(vsphere, morefs[i], &vms[i], &errors[i]);
}

static int
read_found(struct vsphere *vsphere, char *const *morefs, char *const *datacenters, size_t count,
           struct vsphere_vm *vms, struct err **errors, struct err **err)
{
    CLEANUP(free_charp) char *memory = xcalloc(count + 1, sizeof(char *));
    char **wanted = (char **)memory;
    struct batch batch = {.morefs = wanted, .count = count, .vms = vms, .errors = errors};
    int result = 0;

    for (size_t i = 0; i < count; i++)
        wanted[i] = datacenters[i] ? morefs[i] : NULL;
    for (size_t i = 0; result == 0 && i < count; i += VMS_IN_ONE_CALL)
        result = read_batch(vsphere, &batch, i, MIN(count - i, (size_t)VMS_IN_ONE_CALL), err);
    for (size_t i = 0; result == 0 && i < count; i++) {
        if (!wanted[i] || errors[i])
            continue;
        if (!vms[i].moref) {
            (void)err_set(&errors[i], E_VSPHERE_NOT_FOUND, "VM %s does not exist", wanted[i]);
            continue;
        }
        free(vms[i].datacenter);
        vms[i].datacenter = xstrdup(datacenters[i]);
        name_networks(&vms[i].nics, &batch.networks);
    }
    networks_done(&batch.networks);
    if (result == 0)
        read_singly(vsphere, morefs, datacenters, count, vms, errors);
    return result;
}

static void
free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

static int
read_many(struct vsphere *vsphere, const struct vsphere_selector *selectors, size_t count,
          struct vsphere_vm *ret_vms, struct err **ret_errors, struct err **err)
{
    struct vsphere_vm *vms = xcalloc(count + 1, sizeof(*vms));
    struct err **errors = xcalloc(count + 1, sizeof(*errors));
    char **morefs = xcalloc(count + 1, sizeof(*morefs));
    char **datacenters = xcalloc(count + 1, sizeof(*datacenters));
    int result = find_vms(vsphere, selectors, count, morefs, datacenters, errors, err);

    if (result == 0)
        result = read_found(vsphere, morefs, datacenters, count, vms, errors, err);
    for (size_t i = 0; i < count; i++) {
        if (result == 0) {
            ret_vms[i] = vms[i];
            ret_errors[i] = errors[i];
        } else {
            vsphere_vm_done(&vms[i]);
            err_free(errors[i]);
        }
    }
    free_texts(morefs, count);
    free_texts(datacenters, count);
    free(vms);
    free(errors);
    return result;
}

int
vsphere_find_vms(struct vsphere *vsphere, const struct vsphere_selector *selectors, size_t count,
                 char **ret_morefs, struct err **ret_errors, struct err **err)
{
    char **datacenters = xcalloc(count + 1, sizeof(*datacenters));
    int result = find_vms(vsphere, selectors, count, ret_morefs, datacenters, ret_errors, err);

    free_texts(datacenters, count);
    return result;
}

/* For one VM the whole inventory need not be read. */
static int
read_one(struct vsphere *vsphere, const struct vsphere_selector *selector,
         struct vsphere_vm *ret_vm, struct err **ret_error, struct err **err)
{
    CLEANUP(free_charp) char *moref = NULL;
    struct err *error = NULL;

    if (vsphere_find_vm(vsphere, selector, &moref, &error) == 0 &&
        vsphere_read_vm(vsphere, moref, ret_vm, &error) == 0)
        return 0;
    if (err_class(error) == ERR_CLASS_RETRY || err_code(error) == E_CANCELLED)
        return err_move(err, &error);
    *ret_error = error;
    return 0;
}

int
vsphere_read_vms(struct vsphere *vsphere, const struct vsphere_selector *selectors, size_t count,
                 struct vsphere_vm *ret_vms, struct err **ret_errors, struct err **err)
{
    if (count == 1)
        return read_one(vsphere, selectors, ret_vms, ret_errors, err);
    return read_many(vsphere, selectors, count, ret_vms, ret_errors, err);
}

/* ---- all VMs ---- */

struct listing {
    struct vsphere_vms vms;
    struct datacenters datacenters;
    struct networks networks;
    const char *datacenter; /* the one that is being read */
};

static void
listing_done(struct listing *listing)
{
    for (size_t i = 0; i < listing->vms.count; i++)
        vsphere_vm_done(&listing->vms.items[i]);
    vec_done(&listing->vms);
    datacenters_done(&listing->datacenters);
    networks_done(&listing->networks);
}

static int
on_network(void *opaque, const struct object *object, struct err **err)
{
    add_network(opaque, object);
    return 0;
}

static int
on_listed(void *opaque, const struct object *object, struct err **err)
{
    struct listing *listing = opaque;
    struct vsphere_vm vm = {0};

    /* One that vanished, or that the account may not see, is not in the list. */
    if (!object_text(object, "runtime.powerState") || object_is_true(object, "config.template"))
        return 0;
    if (listing->vms.count == MAX_VMS)
        return err_set(err, E_LIMIT, "vCenter lists more than %d VMs", MAX_VMS);
    if (read_vm_object(object, &vm, err) < 0) {
        vsphere_vm_done(&vm);
        return -1;
    }
    free(vm.datacenter);
    vm.datacenter = xstrdup(listing->datacenter);
    vec_push(&listing->vms, vm);
    return 0;
}

static const char *const *
make_list_paths(const struct vsphere *vsphere, const char *paths[ARRAY_SIZE(vm_paths) + 1])
{
    memcpy(paths, vm_paths, sizeof(vm_paths));
    if (vsphere->has_encryption) {
        paths[ARRAY_SIZE(vm_paths) - 1] = key_paths[0];
        paths[ARRAY_SIZE(vm_paths)] = NULL;
    }
    return paths;
}

static int
list(struct vsphere *vsphere, struct listing *listing, struct err **err)
{
    const char *paths[ARRAY_SIZE(vm_paths) + 1];

    (void)make_list_paths(vsphere, paths);
    if (datacenters_read(vsphere, &listing->datacenters, err) < 0 ||
        props_read_below(vsphere, "Folder", vsphere->root_folder, "Network", name_paths, on_network,
                         &listing->networks, err) < 0)
        return -1;
    for (size_t i = 0; i < listing->datacenters.count; i++) {
        const struct datacenter *dc = &listing->datacenters.items[i];

        listing->datacenter = dc->name;
        if (props_read_below(vsphere, dc->type, dc->moref, "VirtualMachine", paths, on_listed,
                             listing, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < listing->vms.count; i++)
        name_networks(&listing->vms.items[i].nics, &listing->networks);
    return 0;
}

int
vsphere_list_vms(struct vsphere *vsphere, struct vsphere_vms *ret_vms, struct err **err)
{
    for (bool is_second = false;; is_second = true) {
        CLEANUP(listing_done) struct listing listing = {0};
        CLEANUP(err_freep) struct err *error = NULL;

        if (list(vsphere, &listing, &error) == 0) {
            *ret_vms = listing.vms;
            memset(&listing.vms, 0, sizeof(listing.vms));
            return 0;
        }
        /* Views and pages die with their session: from the start, once. */
        if (err_code(error) != E_VSPHERE_SESSION || is_second)
            return err_move(err, &error);
    }
}

/* ---- single properties ---- */

struct single {
    const char *path;
    char *text;
    bool is_seen;
};

static int
on_single(void *opaque, const struct object *object, struct err **err)
{
    struct single *single = opaque;

    if (object_check_readable(object, single->path, err) < 0)
        return -1;
    single->is_seen = true;
    free(single->text);
    single->text = xstrdup(object_text(object, single->path));
    return 0;
}

int
inventory_read_text(struct vsphere *vsphere, const char *moref, const char *path, char **ret_text,
                    struct err **err)
{
    const char *const paths[] = {path, NULL};
    struct single single = {.path = path};

    if (props_read(vsphere, "VirtualMachine", moref, paths, on_single, &single, err) < 0) {
        free(single.text);
        return err_wrap(err, "VM %s", moref);
    }
    if (!single.is_seen)
        return err_set(err, E_VSPHERE_NOT_FOUND, "VM %s does not exist", moref);
    *ret_text = single.text;
    return 0;
}

static int
on_power(void *opaque, const struct object *object, struct err **err)
{
    return read_power(object, opaque, err);
}

int
vsphere_power_state(struct vsphere *vsphere, const char *moref, enum vsphere_power *ret_power,
                    struct err **err)
{
    static const char *const paths[] = {"runtime.powerState", NULL};
    int power = -1;

    if (props_read(vsphere, "VirtualMachine", moref, paths, on_power, &power, err) < 0)
        return err_wrap(err, "VM %s", moref);
    if (power < 0)
        return err_set(err, E_VSPHERE_NOT_FOUND, "VM %s does not exist", moref);
    *ret_power = (enum vsphere_power)power;
    return 0;
}
