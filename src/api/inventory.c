/* What vCenters and CloudStacks have. */
#include <string.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

#define TIMEOUT_MS 90000

/* ---- VMs ------------------------------------------------------------------------------------------- */

static bool
is_vcls(const char *name)
{
    return !strncasecmp(name, "vcls", 4) || strstr(name, "vcls-") || strstr(name, "vCLS-");
}

static const char *
bus_name(enum vsphere_bus bus)
{
    static const char *const names[] = {
        [VSPHERE_BUS_SCSI] = "scsi",
        [VSPHERE_BUS_SATA] = "sata",
        [VSPHERE_BUS_IDE] = "ide",
        [VSPHERE_BUS_NVME] = "nvme",
    };

    return names[bus];
}

/* VMware's boot order, else the first. */
static const struct vsphere_disk *
boot_disk(const struct vsphere_vm *vm)
{
    for (size_t i = 0; i < vm->disks.count; i++)
        if (vm->boot_disk_key && vm->disks.items[i].key == vm->boot_disk_key)
            return &vm->disks.items[i];
    return vm->disks.count ? &vm->disks.items[0] : NULL;
}

/* "[datastore1] web/web.vmdk" */
static char *
datastore_of(const struct vsphere_disk *disk)
{
    const char *open = disk->file_name ? strchr(disk->file_name, '[') : NULL;
    const char *close = open ? strchr(open, ']') : NULL;

    return close ? strndup(open + 1, (size_t)(close - open - 1)) : xstrdup("");
}

static json_t *
disks_json(const struct vsphere_vm *vm)
{
    const struct vsphere_disk *boot = boot_disk(vm);
    json_t *array = json_array();

    for (size_t i = 0; i < vm->disks.count; i++) {
        const struct vsphere_disk *d = &vm->disks.items[i];
        CLEANUP(free_charp) char *datastore = datastore_of(d);
        CLEANUP(free_charp)
        char *address =
            xasprintf("%s%d:%d", bus_name(d->bus), (int)d->controller_number, (int)d->unit);

        json_array_append_new(array, json_pack("{s:i, s:s, s:o, s:I, s:o, s:b}", "key", (int)d->key,
                                               "address", address, "label",
                                               json_text(d->label ? d->label : ""), "bytes",
                                               (json_int_t)d->capacity, "datastore",
                                               json_text(datastore), "boot", d == boot));
    }
    return array;
}

static json_t *
nics_json(const struct vsphere_vm *vm)
{
    json_t *array = json_array();

    for (size_t i = 0; i < vm->nics.count; i++) {
        const struct vsphere_nic *n = &vm->nics.items[i];

        json_array_append_new(array, json_pack("{s:i, s:o, s:o, s:o, s:o}", "key", (int)n->key,
                                               "label", json_text(n->label ? n->label : ""), "mac",
                                               json_text(n->mac ? n->mac : ""), "network",
                                               json_text(n->network), "ip", json_text(n->ip)));
    }
    return array;
}

static void
add_finding(json_t *array, const char *level, const char *code, const char *text)
{
    json_array_append_new(
        array, json_pack("{s:s, s:s, s:o}", "level", level, "code", code, "text", json_text(text)));
}

/* What can be told at a glance; `check` looks at everything. */
static json_t *
findings_json(const struct vsphere_vm *vm)
{
    json_t *array = json_array();
    unsigned chained = 0;

    for (size_t i = 0; i < vm->disks.count; i++) {
        const struct vsphere_disk *d = &vm->disks.items[i];
        CLEANUP(free_charp)
        char *text =
            xasprintf("%s: %s", d->label ? d->label : "disk", d->unsupported ? d->unsupported : "");

        if (d->unsupported)
            add_finding(array, "failure", "source.disk", text);
        chained += d->parent_count > 0;
    }
    if (vm->disks.count == 0)
        add_finding(array, "failure", "source.disk", "it has no disk");
    if (vm->is_template)
        add_finding(array, "failure", "source.template", "it is a template");
    if (vm->is_encrypted)
        add_finding(array, "failure", "source.encrypted", "it is encrypted");
    if (!vm->is_cbt_supported)
        add_finding(array, "failure", "source.cbt", "it cannot track changed blocks");
    if (strcmp(vm->connection_state, "connected") != 0)
        add_finding(array, "failure", "source.state", "its host is not connected");
    if (vm->question)
        add_finding(array, "failure", "source.question", "it waits for the answer to a question");
    if (vm->needs_consolidation)
        add_finding(array, "warning", "source.consolidation", "its disks need consolidation");
    if (chained)
        add_finding(array, "warning", "source.snapshots", "it has snapshots");
    if (vm->has_vtpm)
        add_finding(array, "warning", "source.vtpm", "it has a virtual TPM, which does not move");
    if (vm->nics.count == 0)
        add_finding(array, "warning", "source.nics", "it has no network adapter");
    return array;
}

static unsigned
snapshot_count(const struct vsphere_vm *vm)
{
    unsigned most = 0;

    for (size_t i = 0; i < vm->disks.count; i++)
        most = MAX(most, vm->disks.items[i].parent_count);
    return MAX(most, (unsigned)vm->snapshots.count);
}

static const char *
power_name(enum vsphere_power power)
{
    return power == VSPHERE_POWERED_ON ? "on" : power == VSPHERE_POWERED_OFF ? "off" : "suspended";
}

static json_t *
vm_json(const struct vsphere_vm *vm)
{
    json_t *o = json_object();

    json_object_set_new(o, "moref", json_text(vm->moref));
    json_object_set_new(o, "name", json_text(vm->name));
    json_object_set_new(o, "instance_uuid", json_text(vm->instance_uuid));
    json_object_set_new(o, "datacenter", json_text(vm->datacenter));
    json_object_set_new(o, "host",
                        json_text(vm->host_name && *vm->host_name ? vm->host_name : vm->host));
    json_object_set_new(o, "cluster", json_text(vm->cluster && *vm->cluster ? vm->cluster : NULL));
    json_object_set_new(o, "folder", json_text(vm->folder && *vm->folder ? vm->folder : NULL));
    json_object_set_new(o, "power", json_text(power_name(vm->power)));
    json_object_set_new(o, "guest", json_text(vm->guest_full_name));
    json_object_set_new(o, "guest_id", json_text(vm->guest_id));
    json_object_set_new(o, "firmware", json_text(vm->firmware));
    json_object_set_new(o, "secure_boot", json_boolean(vm->is_secure_boot));
    json_object_set_new(o, "vtpm", json_boolean(vm->has_vtpm));
    json_object_set_new(o, "template", json_boolean(vm->is_template));
    json_object_set_new(o, "tools", json_text(vm->tools_status));
    json_object_set_new(o, "cbt", json_boolean(vm->is_cbt_enabled));
    json_object_set_new(o, "cpu", json_integer(vm->cpu_count));
    json_object_set_new(o, "memory_mib", json_integer(vm->memory_mib));
    json_object_set_new(o, "snapshots", json_integer(snapshot_count(vm)));
    json_object_set_new(o, "disks", disks_json(vm));
    json_object_set_new(o, "nics", nics_json(vm));
    json_object_set_new(o, "findings", findings_json(vm));
    return o;
}

static const char *
member(const json_t *vm, const char *key)
{
    const char *text = json_string_value(json_object_get(vm, key));

    return text ? text : "";
}

/* The latest migration of each VM of that vCenter, by moref. */
static int
add_jobs(struct request *r, json_t *vms, struct err **err)
{
    struct store_jobs jobs;
    json_t *latest = json_object(), *vm;
    size_t index;

    if (store_job_list(r->store,
                       &(struct store_job_filter){.kind = JOB_MIGRATE, .vcenter = r->parts[0]},
                       &jobs, NULL, err) < 0) {
        json_decref(latest);
        return -1;
    }
    for (size_t i = 0; i < jobs.count; i++) { /* the newest is the last */
        const struct store_job *job = &jobs.items[i];

        if (job->vm_moref)
            json_object_set_new(latest, job->vm_moref,
                                json_pack("{s:o, s:s, s:o}", "id", json_text(job->job_id), "state",
                                          store_job_state_name((enum store_job_state)job->state),
                                          "stage", json_text(job->stage)));
    }
    json_array_foreach (vms, index, vm) {
        json_t *job = json_object_get(latest, member(vm, "moref"));

        json_object_set(vm, "job", job ? job : json_null());
    }
    json_decref(latest);
    store_jobs_done(&jobs);
    return 0;
}

static void
vms_done(struct vsphere_vms *vms)
{
    for (size_t i = 0; i < vms->count; i++)
        vsphere_vm_done(&vms->items[i]);
    vec_done(vms);
}

static int
list_vms(const struct config *config, bool with_templates, bool with_vcls,
         json_t *(*describe)(const struct vsphere_vm *vm), json_t **ret, struct err **err)
{
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;
    struct vsphere_vms vms = {0};
    json_t *array;

    if (server_connect_vcenter(config, TIMEOUT_MS, &vsphere, err) < 0 ||
        vsphere_list_vms(vsphere, &vms, err) < 0)
        return -1;
    if (vsphere_place_vms(vsphere, &vms, err) < 0) {
        vms_done(&vms);
        return -1;
    }
    array = json_array();
    for (size_t i = 0; i < vms.count; i++) {
        const struct vsphere_vm *vm = &vms.items[i];

        if ((with_templates || !vm->is_template) && (with_vcls || !is_vcls(vm->name)))
            json_array_append_new(array, describe(vm));
    }
    vms_done(&vms);
    *ret = array;
    return 0;
}

static int
compare_vms(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int order = strcmp(member(x, "name"), member(y, "name"));

    return order ? order : strcmp(member(x, "moref"), member(y, "moref"));
}

json_t *
inventory_sorted(json_t *vms)
{
    size_t count = json_array_size(vms);
    json_t **items = xcalloc(count + 1, sizeof(json_t *));
    json_t *result = json_array();

    for (size_t i = 0; i < count; i++)
        items[i] = json_array_get(vms, i);
    qsort(items, count, sizeof(json_t *), compare_vms);
    for (size_t i = 0; i < count; i++)
        json_array_append(result, items[i]);
    free(items);
    json_decref(vms);
    return result;
}

int
get_vms(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    bool with_templates = false, with_vcls = false;
    json_t *vms;

    if (query_bool(r, "templates", &with_templates, err) < 0 ||
        query_bool(r, "vcls", &with_vcls, err) < 0 ||
        environment_config(r->api, r->store, r->parts[0], NULL, &config, err) < 0 ||
        list_vms(config, with_templates, with_vcls, vm_json, &vms, err) < 0)
        return -1;
    vms = inventory_sorted(vms);
    if (add_jobs(r, vms, err) < 0) {
        json_decref(vms);
        return -1;
    }
    return answer_json(r, MHD_HTTP_OK, vms);
}

/* ---- CloudStack ------------------------------------------------------------------------------------- */

static const struct resource {
    const char *what, *command;
    bool is_of_a_zone;
} resources[] = {
    {"zones", "listZones"},
    {"clusters", "listClusters", true},
    {"storage", "listStoragePools", true},
    {"networks", "listNetworks", true},
    {"diskofferings", "listDiskOfferings"},
    {"serviceofferings", "listServiceOfferings"},
    {"ostypes", "listOsTypes"},
};

static const char *
text_of(const json_t *object, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++) {
        const char *text = json_string_value(json_object_get(object, keys[i]));

        if (text && *text)
            return text;
    }
    return NULL;
}

/* Pools that a migration can write to: shared file systems that are up.  Their type and path stand under one
 * name each, whatever this server calls them. */
static json_t *
usable_pools(json_t *pools)
{
    static const char *const type_keys[] = {"type", "pooltype", "storagetype", NULL};
    static const char *const path_keys[] = {"path", "sourcepath", "mountpoint", NULL};
    json_t *result = json_array();

    for (size_t i = 0; i < json_array_size(pools); i++) {
        json_t *pool = json_array_get(pools, i);
        const char *type = text_of(pool, type_keys), *path = text_of(pool, path_keys);
        const char *state = json_string_value(json_object_get(pool, "state"));

        if (state && strcasecmp(state, "Up") != 0)
            continue;
        if (!type || (strcasecmp(type, "NetworkFilesystem") != 0 &&
                      strcasecmp(type, "SharedMountPoint") != 0 && strcasecmp(type, "nfs") != 0))
            continue;
        json_object_set_new(pool, "type", json_text(type));
        json_object_set_new(pool, "path", json_text(path ? path : ""));
        json_array_append(result, pool);
    }
    json_decref(pools);
    return result;
}

/* Servers differ in what their list commands take, and refuse what they do not know. */
static int
add_where_known(struct cloudstack *cs, const char *command, const char *name, const char *value,
                struct cloudstack_params *params, struct err **err)
{
    bool is_known = false;

    if (cloudstack_has_param(cs, command, name, &is_known, err) < 0)
        return -1;
    if (is_known)
        vec_push(params, ((struct cloudstack_param){name, value}));
    return 0;
}

static int
list_resources(struct request *r, const struct config *config, const char *what, json_t **ret,
               struct err **err)
{
    CLEANUP(cloudstack_freep) struct cloudstack *cs = NULL;
    const char *zone = query_text(r, "zoneid");
    struct cloudstack_params params = {0};
    const struct resource *found = NULL;
    int rc;

    for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
        if (!strcmp(resources[i].what, what))
            found = &resources[i];
    if (!found) {
        CLEANUP(err_freep) struct err *unknown = NULL;

        err_set(&unknown, E_REQUEST, "there is nothing at %.200s", r->path);
        answer_error(r, MHD_HTTP_NOT_FOUND, unknown);
        return 1;
    }
    if (zone && (strlen(zone) > 64 ||
                 strspn(zone, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
                     strlen(zone)))
        return err_set(err, E_REQUEST, "zoneid: expected an id");
    if (server_connect_cloudstack(config, 0, &cs, err) < 0)
        return -1;
    rc = add_where_known(cs, found->command, "listall", "true", &params, err);
    if (rc == 0 && zone && found->is_of_a_zone)
        rc = add_where_known(cs, found->command, "zoneid", zone, &params, err);
    if (rc == 0)
        rc = cloudstack_list(cs, found->command, &params, ret, err);
    vec_done(&params);
    if (rc < 0)
        return -1;
    if (!strcmp(what, "storage"))
        *ret = usable_pools(*ret);
    return 0;
}

int
get_resources(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    json_t *items = NULL;
    int rc;

    if (environment_config(r->api, r->store, NULL, r->parts[0], &config, err) < 0)
        return -1;
    rc = list_resources(r, config, r->parts[1], &items, err);
    return rc ? MIN(rc, 0) : answer_json(r, MHD_HTTP_OK, items);
}

int
old_resources(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    json_t *items = NULL;
    int rc;

    if (environment_of_headers(r, &config, err) < 0)
        return -1;
    rc = list_resources(r, config, r->parts[0], &items, err);
    return rc ? MIN(rc, 0) : answer_json(r, MHD_HTTP_OK, items);
}

/* ---- VMs as the existing tool lists them --------------------------------------------------------------- */

static json_t *
old_disks_json(const struct vsphere_vm *vm, json_t *datastores)
{
    const struct vsphere_disk *boot = boot_disk(vm);
    json_t *array = json_array();

    for (size_t i = 0; i < vm->disks.count; i++) {
        const struct vsphere_disk *d = &vm->disks.items[i];
        CLEANUP(free_charp) char *datastore = datastore_of(d);
        bool is_known = false;
        double gb = (double)(d->capacity * 100 / GIB) / 100;

        json_array_append_new(array,
                              json_pack("{s:o, s:f, s:o, s:i, s:s}", "label",
                                        json_text(d->label ? d->label : ""), "size_gb", gb,
                                        "datastore", json_text(datastore), "unit", (int)d->unit,
                                        "disk_type", d == boot ? "os" : "data"));
        for (size_t n = 0; n < json_array_size(datastores); n++)
            is_known |= !strcmp(json_string_value(json_array_get(datastores, n)), datastore);
        if (!is_known && *datastore)
            json_array_append_new(datastores, json_text(datastore));
    }
    return array;
}

static json_t *
old_vm_json(const struct vsphere_vm *vm)
{
    json_t *datastores = json_array(), *nics = json_array();
    json_t *disks = old_disks_json(vm, datastores);
    json_t *object;

    for (size_t i = 0; i < vm->nics.count; i++) {
        const struct vsphere_nic *n = &vm->nics.items[i];

        json_array_append_new(nics, json_pack("{s:o, s:o, s:o, s:i, s:i}", "label",
                                              json_text(n->label ? n->label : ""), "network",
                                              json_text(n->network ? n->network : ""),
                                              "mac_address", json_text(n->mac ? n->mac : ""),
                                              "device_key", (int)n->key, "index", (int)i));
    }
    object = json_pack("{s:o, s:o, s:i, s:i, s:o, s:o, s:o}", "name", json_text(vm->name), "moref",
                       json_text(vm->moref), "cpu", (int)vm->cpu_count, "memory",
                       (int)vm->memory_mib, "disks", disks, "nics", nics, "datastore", datastores);
    if (vm->is_template)
        json_object_set_new(object, "is_template", json_true());
    if (is_vcls(vm->name))
        json_object_set_new(object, "is_vcls", json_true());
    return object;
}

int
old_vms(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    bool with_templates = false, with_vcls = false;
    json_t *vms;

    if (query_bool(r, "include_templates", &with_templates, err) < 0 ||
        query_bool(r, "show_templates", &with_templates, err) < 0 ||
        query_bool(r, "include_vcls", &with_vcls, err) < 0 ||
        query_bool(r, "show_vcls", &with_vcls, err) < 0 ||
        environment_of_headers(r, &config, err) < 0 ||
        list_vms(config, with_templates, with_vcls, old_vm_json, &vms, err) < 0)
        return -1;
    return answer_json(r, MHD_HTTP_OK, inventory_sorted(vms));
}
