/* Drives the vsphere room from the outside, for tests against servers of other people.
 *
 *     vsphere_probe HOST USER THUMBPRINT COMMAND [ARGUMENT...]
 *
 * The password is in VC_PASSWORD.  Prints one JSON document; an error is {"error": CODE, "message",
 * "hint"} and exit status 1. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vsphere/vsphere.h"

static const char *
power_word(enum vsphere_power power)
{
    static const char *const words[] = {"off", "on", "suspended"};

    return words[power];
}

static json_t *
disks_json(const struct vsphere_disks *disks)
{
    json_t *list = json_array();

    for (size_t i = 0; i < disks->count; i++) {
        const struct vsphere_disk *d = &disks->items[i];
        char address[32];

        vsphere_disk_address(d, address);
        json_array_append_new(
            list,
            json_pack("{s:i, s:s, s:s, s:s, s:s, s:s?, s:s?, s:I, s:s, s:s?}", "key", (int)d->key,
                      "address", address, "label", d->label, "file", d->file_name, "datastore",
                      d->datastore, "uuid", d->backing_uuid, "change_id", d->change_id, "capacity",
                      (json_int_t)d->capacity, "mode", d->mode, "unsupported", d->unsupported));
    }
    return list;
}

static json_t *
vm_json(const struct vsphere_vm *vm)
{
    json_t *nics = json_array(), *snapshots = json_array();
    json_t *json;

    for (size_t i = 0; i < vm->nics.count; i++) {
        const struct vsphere_nic *n = &vm->nics.items[i];

        json_array_append_new(nics, json_pack("{s:i, s:s, s:s, s:s, s:s?}", "key", (int)n->key,
                                              "label", n->label, "type", n->type, "mac", n->mac,
                                              "network", n->network));
    }
    for (size_t i = 0; i < vm->snapshots.count; i++) {
        const struct vsphere_snapshot *s = &vm->snapshots.items[i];

        json_array_append_new(snapshots, json_pack("{s:s, s:s, s:s}", "moref", s->moref, "name",
                                                   s->name, "description", s->description));
    }
    json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "moref", vm->moref, "name",
                     vm->name, "instance_uuid", vm->instance_uuid, "bios_uuid", vm->bios_uuid,
                     "datacenter", vm->datacenter, "guest_id", vm->guest_id, "version", vm->version,
                     "firmware", vm->firmware, "power", power_word(vm->power));
    json_object_update_new(
        json, json_pack("{s:s, s:s, s:b, s:b, s:b, s:i, s:i, s:i, s:o, s:o, s:o}", "tools",
                        vm->tools_status, "connection", vm->connection_state, "cbt",
                        vm->is_cbt_enabled, "cbt_supported", vm->is_cbt_supported, "template",
                        vm->is_template, "cpus", (int)vm->cpu_count, "memory_mib",
                        (int)vm->memory_mib, "boot_disk", (int)vm->boot_disk_key, "disks",
                        disks_json(&vm->disks), "nics", nics, "snapshots", snapshots));
    return json;
}

static json_t *
extents_json(const struct extents *extents)
{
    json_t *list = json_array();

    for (size_t i = 0; i < extents->count; i++)
        json_array_append_new(list, json_pack("[I, I]", (json_int_t)extents->items[i].offset,
                                              (json_int_t)extents->items[i].length));
    return list;
}

typedef json_t *(*command_fn)(struct vsphere *vsphere, char **args, struct err **err);

static json_t *
do_about(struct vsphere *vsphere, char **args, struct err **err)
{
    char sha1[60];

    if (vsphere_thumbprint(vsphere, sha1, err) < 0 || vsphere_keep_alive(vsphere, err) < 0)
        return NULL;
    return json_pack("{s:s, s:s}", "name", vsphere_server_name(vsphere), "sha1", sha1);
}

/* moref|uuid|name VALUE [DATACENTER] */
static json_t *
do_find(struct vsphere *vsphere, char **args, struct err **err)
{
    struct vsphere_selector selector = {.datacenter = args[2]};
    CLEANUP(free_charp) char *moref = NULL;

    if (!strcmp(args[0], "moref"))
        selector.moref = args[1];
    else if (!strcmp(args[0], "uuid"))
        selector.uuid = args[1];
    else
        selector.name = args[1];
    return vsphere_find_vm(vsphere, &selector, &moref, err) < 0 ? NULL : json_string(moref);
}

static json_t *
do_read(struct vsphere *vsphere, char **args, struct err **err)
{
    struct vsphere_vm vm;
    json_t *json;

    if (vsphere_read_vm(vsphere, args[0], &vm, err) < 0)
        return NULL;
    json = vm_json(&vm);
    vsphere_vm_done(&vm);
    return json;
}

static json_t *
do_list(struct vsphere *vsphere, char **args, struct err **err)
{
    struct vsphere_vms vms;
    json_t *list;

    if (vsphere_list_vms(vsphere, &vms, err) < 0)
        return NULL;
    list = json_array();
    for (size_t i = 0; i < vms.count; i++) {
        json_array_append_new(list, vm_json(&vms.items[i]));
        vsphere_vm_done(&vms.items[i]);
    }
    vec_done(&vms);
    return list;
}

static json_t *
do_cbt(struct vsphere *vsphere, char **args, struct err **err)
{
    return vsphere_enable_cbt(vsphere, args[0], err) < 0 ? NULL : json_true();
}

/* VM NAME quiesce|plain */
static json_t *
do_snapshot(struct vsphere *vsphere, char **args, struct err **err)
{
    CLEANUP(free_charp) char *moref = NULL;
    bool quiesce = args[2] && !strcmp(args[2], "quiesce");

    if (vsphere_create_snapshot(vsphere, args[0], args[1], "made by vsphere_probe", quiesce, &moref,
                                err) < 0)
        return NULL;
    return json_string(moref);
}

static json_t *
do_remove(struct vsphere *vsphere, char **args, struct err **err)
{
    return vsphere_remove_snapshot(vsphere, args[0], args[1], err) < 0 ? NULL : json_true();
}

static json_t *
do_disks(struct vsphere *vsphere, char **args, struct err **err)
{
    struct vsphere_disks disks;
    json_t *json;

    if (vsphere_snapshot_disks(vsphere, args[0], &disks, err) < 0)
        return NULL;
    json = disks_json(&disks);
    vsphere_disks_done(&disks);
    return json;
}

/* VM SNAPSHOT|- KEY CAPACITY CHANGEID */
static json_t *
do_changes(struct vsphere *vsphere, char **args, struct err **err)
{
    struct extents areas;
    json_t *json;

    if (vsphere_query_changes(vsphere, args[0], strcmp(args[1], "-") != 0 ? args[1] : NULL,
                              (int32_t)atol(args[2]), strtoull(args[3], NULL, 10), args[4], &areas,
                              err) < 0)
        return NULL;
    json = extents_json(&areas);
    vec_done(&areas);
    return json;
}

/* UUID: finds it, says so, waits for a line, and finds it again: the session may have ended since. */
static json_t *
do_twice(struct vsphere *vsphere, char **args, struct err **err)
{
    struct vsphere_selector selector = {.uuid = args[0]};
    CLEANUP(free_charp) char *first = NULL;
    CLEANUP(free_charp) char *second = NULL;

    if (vsphere_find_vm(vsphere, &selector, &first, err) < 0)
        return NULL;
    printf("found\n");
    fflush(stdout);
    while (getchar() >= ' ')
        ;
    if (vsphere_find_vm(vsphere, &selector, &second, err) < 0)
        return NULL;
    return json_pack("[s, s]", first, second);
}

static json_t *
inventory_json(struct vsphere *vsphere, struct err **err)
{
    CLEANUP(vsphere_datastore_states_done) struct vsphere_datastore_states datastores = {0};
    CLEANUP(vsphere_hosts_done) struct vsphere_hosts hosts = {0};
    json_t *stores = json_array(), *machines = json_array();
    int64_t time_s = 0;

    if (vsphere_list_datastores(vsphere, &datastores, err) < 0 ||
        vsphere_list_hosts(vsphere, &hosts, err) < 0 ||
        vsphere_server_time(vsphere, &time_s, err) < 0) {
        json_decref(stores);
        json_decref(machines);
        return NULL;
    }
    for (size_t i = 0; i < datastores.count; i++)
        json_array_append_new(stores,
                              json_pack("{s:s, s:s, s:I, s:b}", "moref", datastores.items[i].moref,
                                        "name", datastores.items[i].name, "free",
                                        (json_int_t)datastores.items[i].free_bytes, "accessible",
                                        datastores.items[i].is_accessible));
    for (size_t i = 0; i < hosts.count; i++)
        json_array_append_new(machines,
                              json_pack("{s:s, s:s, s:s}", "moref", hosts.items[i].moref, "name",
                                        hosts.items[i].name, "version", hosts.items[i].version));
    return json_pack("{s:o, s:o, s:I}", "datastores", stores, "hosts", machines, "time",
                     (json_int_t)time_s);
}

/* NAME NAME: both VMs at once, their facts, the privileges asked for of the first, the inventory. */
static json_t *
do_facts(struct vsphere *vsphere, char **args, struct err **err)
{
    static const char *const privileges[] = {"VirtualMachine.State.CreateSnapshot", NULL};
    const struct vsphere_selector selectors[] = {{.name = args[0]}, {.name = args[1]}};
    struct vsphere_vm vms[2] = {{0}};
    struct err *errors[2] = {NULL, NULL};
    struct vsphere_vm_facts facts[2] = {{0}};
    char *missing[1] = {NULL};
    json_t *list = json_array(), *inventory = NULL;
    const char *morefs[2];

    if (vsphere_read_vms(vsphere, selectors, 2, vms, errors, err) < 0)
        goto out;
    for (size_t i = 0; i < 2; i++)
        if (errors[i]) {
            err_move(err, &errors[i]);
            goto out;
        }
    morefs[0] = vms[0].moref;
    morefs[1] = vms[1].moref;
    if (vsphere_read_vm_facts(vsphere, morefs, 2, facts, err) < 0 ||
        vsphere_missing_privileges(vsphere, morefs, 1, privileges, missing, err) < 0)
        goto out;
    for (size_t i = 0; i < 2; i++)
        json_array_append_new(list, json_pack("{s:o, s:s, s:b}", "vm", vm_json(&vms[i]), "host",
                                              vms[i].host, "tolerant", facts[i].is_fault_tolerant));
    inventory = inventory_json(vsphere, err);
out:
    for (size_t i = 0; i < 2; i++) {
        vsphere_vm_done(&vms[i]);
        vsphere_vm_facts_done(&facts[i]);
        err_free(errors[i]);
    }
    if (inventory) {
        json_object_set(inventory, "vms", list);
        json_object_set_new(inventory, "missing", json_string(missing[0]));
    }
    free(missing[0]);
    json_decref(list);
    return inventory;
}

/* on|off|shutdown|state VM */
static json_t *
do_power(struct vsphere *vsphere, char **args, struct err **err)
{
    enum vsphere_power power;
    int rc = 0;

    if (!strcmp(args[0], "on"))
        rc = vsphere_power_on(vsphere, args[1], err);
    else if (!strcmp(args[0], "off"))
        rc = vsphere_power_off(vsphere, args[1], err);
    else if (!strcmp(args[0], "shutdown"))
        rc = vsphere_shutdown_guest(vsphere, args[1], err);
    if (rc < 0 || vsphere_power_state(vsphere, args[1], &power, err) < 0)
        return NULL;
    return json_string(power_word(power));
}

static const struct {
    const char *name;
    command_fn run;
    int arguments;
} commands[] = {
    {"about", do_about, 0},   {"find", do_find, 2},   {"read", do_read, 1},
    {"list", do_list, 0},     {"cbt", do_cbt, 1},     {"snapshot", do_snapshot, 2},
    {"remove", do_remove, 2}, {"disks", do_disks, 1}, {"changes", do_changes, 5},
    {"power", do_power, 2},   {"twice", do_twice, 1}, {"facts", do_facts, 2},
};

static json_t *
run(char **argv, int argc, struct err **err)
{
    const struct vsphere_options options = {
        .host = argv[1],
        .user = argv[2],
        .password = getenv("VC_PASSWORD"),
        .trust = {.thumbprint = argv[3]},
        .timeout_ms = 20000,
    };
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, argv[4]) != 0 || argc < 5 + commands[i].arguments)
            continue;
        if (vsphere_connect(&options, &vsphere, err) < 0)
            return NULL;
        return commands[i].run(vsphere, argv + 5, err);
    }
    return err_null(err, E_USAGE, "no such command, or too few arguments");
}

int
main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    json_t *json;
    int status = 0;

    if (argc < 5) {
        fprintf(stderr, "usage: %s HOST USER THUMBPRINT COMMAND [ARGUMENT...]\n", argv[0]);
        return 2;
    }
    json = run(argv, argc, &err);
    if (!json) {
        json = json_pack("{s:s, s:s, s:s?}", "error", err_code_name(err_code(err)), "message",
                         err_message(err), "hint", err_hint_text(err));
        status = 1;
    }
    json_dumpf(json, stdout, JSON_INDENT(1) | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(json);
    return status;
}
