/* Reads what CloudStack says of everything that the specs name: once for all VMs. */
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cloudstack/cloudstack.h"
#include "preflight/internal.h"
#include "storage/storage.h"

struct reader {
    struct cloudstack *cs;
    json_t *facts;
    const struct config *config;
};

static void
json_freep(json_t **json)
{
    json_decref(*json);
}

/* facts[kind], an object that is made when it is first needed; borrowed. */
static json_t *
kind_of(json_t *facts, const char *kind)
{
    json_t *object = json_object_get(facts, kind);

    if (!object) {
        object = json_object();
        json_object_set_new(facts, kind, object);
    }
    return object;
}

/* Kinds without which the others still say much: a server that cannot tell them holds up nobody. */
static bool
is_optional(const char *kind)
{
    static const char *const kinds[] = {"apis",   "details",    "guest",
                                        "hosts",  "hypervisor", "importable",
                                        "ranges", "thresholds", "vms"};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (!strcmp(kinds[i], kind))
            return true;
    return false;
}

/* A passing fault fails, unless @kind is optional; any other is noted as the reason why @kind is not
 * known. */
static int
note_failure(struct reader *r, const char *kind, struct err **failure, struct err **err)
{
    if (err_code(*failure) == E_CANCELLED ||
        (err_class(*failure) == ERR_CLASS_RETRY && !is_optional(kind)))
        return err_move(err, failure);
    json_object_set_new(kind_of(r->facts, "unread"), kind, json_text(err_message(*failure)));
    err_freep(failure);
    return 0;
}

/* ---- objects that ids name -------------------------------------------------------------------- */

static const json_t *
pick_id(const json_t *items, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        if (fact_same_id(fact_text(item, "id"), id))
            return item;
    }
    return NULL;
}

/* *ret_object (owned) is NULL where there is none.  What belongs to projects is in no other list. */
static int
find_object(struct reader *r, const char *command, const char *id, bool in_projects,
            json_t **ret_object, struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *items = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    int result;

    vec_push(&params, ((struct cloudstack_param){"id", id}));
    if (in_projects)
        vec_push(&params, ((struct cloudstack_param){"projectid", "-1"}));
    result = cloudstack_list(r->cs, command, &params, &items, &failure);
    vec_done(&params);
    if (result < 0 && err_code(failure) != E_CS_NOT_FOUND)
        return err_move(err, &failure);
    *ret_object = json_incref((json_t *)pick_id(items, id));
    return 0;
}

/* facts[kind][id], unless it is known already. */
static int
read_object(struct reader *r, const char *kind, const char *command, const char *id,
            struct err **err)
{
    struct err *failure = NULL;
    json_t *object = NULL;

    if (!id || json_object_get(kind_of(r->facts, kind), id))
        return 0;
    if (find_object(r, command, id, false, &object, &failure) < 0 ||
        (!object && !strcmp(command, "listNetworks") &&
         find_object(r, command, id, true, &object, &failure) < 0))
        return note_failure(r, kind, &failure, err);
    json_object_set_new(kind_of(r->facts, kind), id, object ? object : json_null());
    return 0;
}

/* The OS type that will be chosen where the spec names none. */
static int
read_guest(struct reader *r, const struct subject *s, struct err **err)
{
    const char *guest_id = s->vm ? s->vm->guest_id : NULL;
    struct preflight_os_type type = {0};
    struct err *failure = NULL;
    json_t *found;

    if (s->spec->target.os_type_id || !guest_id || !*guest_id ||
        json_object_get(kind_of(r->facts, "guest"), guest_id))
        return 0;
    if (preflight_find_os_type(r->cs, s->vm, &type, &failure) < 0)
        return note_failure(r, "guest", &failure, err);
    found = type.id ? json_pack("{s:s,s:s,s:b}", "id", type.id, "description", type.description,
                                "is_guess", type.is_guess)
                    : NULL;
    json_object_set_new(kind_of(r->facts, "guest"), guest_id, found ? found : json_null());
    preflight_os_type_done(&type);
    return 0;
}

static int
read_templates(struct reader *r, const struct subject *s, struct err **err)
{
    const char *zone = s->spec->target.zone_id;
    struct err *failure = NULL;
    json_t *templates = NULL;

    if (s->spec->import_method != CONFIG_IMPORT_SHELL || !zone ||
        json_object_get(kind_of(r->facts, "template"), zone))
        return 0;
    if (template_list(r->cs, zone, &templates, &failure) < 0)
        return note_failure(r, "template", &failure, err);
    json_object_set_new(kind_of(r->facts, "template"), zone, templates);
    return 0;
}

static int
read_subject(struct reader *r, const struct subject *s, struct err **err)
{
    const struct config_target *target = &s->spec->target;

    if (read_object(r, "zone", "listZones", target->zone_id, err) < 0 ||
        read_object(r, "cluster", "listClusters", target->cluster_id, err) < 0 ||
        read_object(r, "pool", "listStoragePools", target->storage_id, err) < 0 ||
        read_object(r, "service_offering", "listServiceOfferings", target->service_offering_id,
                    err) < 0 ||
        read_object(r, "os_type", "listOsTypes", target->os_type_id, err) < 0 ||
        read_object(r, "network", "listNetworks", target->placeholder_network_id, err) < 0 ||
        read_guest(r, s, err) < 0 || read_templates(r, s, err) < 0)
        return -1;
    for (size_t i = 0; i < s->nics->count; i++)
        if (read_object(r, "network", "listNetworks", s->nics->items[i].network_id, err) < 0)
            return -1;
    for (size_t i = 0; i < s->disks->count; i++)
        if (read_object(r, "pool", "listStoragePools", s->disks->items[i].storage_id, err) < 0 ||
            read_object(r, "disk_offering", "listDiskOfferings",
                        s->disks->items[i].disk_offering_id, err) < 0)
            return -1;
    return 0;
}

/* ---- lists ------------------------------------------------------------------------------------ */

static int
list_for(struct reader *r, const char *kind, const char *id, const char *command,
         const struct cloudstack_params *params, struct err **err)
{
    struct err *failure = NULL;
    json_t *items = NULL;

    if (json_object_get(kind_of(r->facts, kind), id))
        return 0;
    if (cloudstack_list(r->cs, command, params, &items, &failure) < 0)
        return note_failure(r, kind, &failure, err);
    json_object_set_new(kind_of(r->facts, kind), id, items);
    return 0;
}

static int
read_hosts(struct reader *r, struct err **err)
{
    json_t *zone;
    const char *id;

    json_object_foreach (kind_of(r->facts, "zone"), id, zone) {
        struct cloudstack_params params = {0};
        int result;

        if (!json_is_object(zone))
            continue;
        vec_push(&params, ((struct cloudstack_param){"zoneid", id}));
        vec_push(&params, ((struct cloudstack_param){"type", "Routing"}));
        vec_push(&params, ((struct cloudstack_param){"hypervisor", "KVM"}));
        result = list_for(r, "hosts", id, "listHosts", &params, err);
        vec_done(&params);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* Names and addresses matter on one network only, so only those of its VMs are read; twice, because
 * what belongs to projects is in no other list. */
static int
list_vms_on(struct reader *r, const char *network_id, json_t **ret_vms, struct err **err)
{
    CLEANUP(json_freep) json_t *vms = json_array();

    for (int is_project = 0; is_project <= 1; is_project++) {
        struct cloudstack_params params = {0};
        CLEANUP(json_freep) json_t *items = NULL;
        int result;

        vec_push(&params, ((struct cloudstack_param){"networkid", network_id}));
        vec_push(&params, ((struct cloudstack_param){"details", "nics"}));
        if (is_project)
            vec_push(&params, ((struct cloudstack_param){"projectid", "-1"}));
        result = cloudstack_list(r->cs, "listVirtualMachines", &params, &items, err);
        vec_done(&params);
        if (result < 0)
            return -1;
        json_array_extend(vms, items);
    }
    *ret_vms = take(vms);
    return 0;
}

static int
read_vms(struct reader *r, struct err **err)
{
    json_t *network;
    const char *id;

    json_object_foreach (kind_of(r->facts, "network"), id, network) {
        struct err *failure = NULL;
        json_t *vms = NULL;

        if (!json_is_object(network))
            continue;
        if (list_vms_on(r, id, &vms, &failure) == 0)
            json_object_set_new(kind_of(r->facts, "vms"), id, vms);
        else if (note_failure(r, "vms", &failure, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the server ------------------------------------------------------------------------------- */

/* {command: [parameter]} of listApis, which shows only what the account may use. */
static int
read_apis(struct reader *r, struct err **err)
{
    CLEANUP(json_freep) json_t *items = NULL;
    struct err *failure = NULL;
    const json_t *api, *param;
    json_t *apis;
    size_t i, k;

    if (cloudstack_list(r->cs, "listApis", NULL, &items, &failure) < 0)
        return note_failure(r, "apis", &failure, err);
    apis = kind_of(r->facts, "apis");
    json_array_foreach (items, i, api) {
        json_t *names = json_array();

        json_array_foreach (json_object_get(api, "params"), k, param) {
            json_array_append(names, json_object_get(param, "name"));
        }
        json_object_set_new(apis, fact_text(api, "name"), names);
    }
    return 0;
}

static int
read_threshold(struct reader *r, const char *zone_id, const char *name, const char *key,
               struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *items = NULL;
    struct err *failure = NULL;
    const json_t *setting;
    double value = -1;
    size_t i;
    int result;

    vec_push(&params, ((struct cloudstack_param){"name", name}));
    vec_push(&params, ((struct cloudstack_param){"zoneid", zone_id}));
    result = cloudstack_list(r->cs, "listConfigurations", &params, &items, &failure);
    vec_done(&params);
    if (result < 0)
        return note_failure(r, "thresholds", &failure, err);
    json_array_foreach (items, i, setting) {
        if (!strcmp(fact_text(setting, "name"), name))
            value = fact_number(setting, "value", -1);
    }
    if (value > 0 && value <= 1)
        json_object_set_new(kind_of(kind_of(r->facts, "thresholds"), zone_id), key,
                            json_real(value));
    return 0;
}

static int
read_thresholds(struct reader *r, struct err **err)
{
    json_t *zone;
    const char *id;

    json_object_foreach (kind_of(r->facts, "zone"), id, zone) {
        if (!json_is_object(zone))
            continue;
        if (read_threshold(r, id, "pool.storage.capacity.disablethreshold", "used", err) < 0 ||
            read_threshold(r, id, "pool.storage.allocated.capacity.disablethreshold", "allocated",
                           err) < 0)
            return -1;
    }
    return 0;
}

static int
read_hypervisor(struct reader *r, struct err **err)
{
    struct cloudstack_params params = {0};
    struct err *failure = NULL;
    json_t *items = NULL;
    int result;

    vec_push(&params, ((struct cloudstack_param){"hypervisor", "KVM"}));
    result = cloudstack_list(r->cs, "listHypervisorCapabilities", &params, &items, &failure);
    vec_done(&params);
    if (result < 0)
        return note_failure(r, "hypervisor", &failure, err);
    json_object_set_new(r->facts, "hypervisor", items);
    return 0;
}

/* The addresses of a shared network are those of its ranges, and its cidr holds more. */
static int
read_ranges(struct reader *r, const struct subject *s, struct err **err)
{
    for (size_t i = 0; i < s->nics->count; i++) {
        const struct preflight_nic *nic = &s->nics->items[i];
        struct cloudstack_params params = {0};
        const json_t *network;
        int result;

        (void)fact_find(r->facts, "network", nic->network_id, &network);
        if (!nic->ip || strcasecmp(fact_text(network, "type"), "Shared") != 0)
            continue;
        vec_push(&params, ((struct cloudstack_param){"networkid", nic->network_id}));
        result = list_for(r, "ranges", nic->network_id, "listVlanIpRanges", &params, err);
        vec_done(&params);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* The words of rootDiskController and others.  Their answer is a map, which is no list to page. */
static int
read_details(struct reader *r, struct err **err)
{
    struct err *failure = NULL;
    json_t *details = NULL;

    if (cloudstack_detail_options(r->cs, "UserVm", &details, &failure) < 0)
        return note_failure(r, "details", &failure, err);
    json_object_set_new(r->facts, "details", details);
    return 0;
}

/* ---- owners ----------------------------------------------------------------------------------- */

static int
find_account(struct reader *r, const struct config_target *target, json_t **ret_account,
             struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *items = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    const json_t *item;
    size_t i;
    int result;

    vec_push(&params, ((struct cloudstack_param){"name", target->account}));
    vec_push(&params, ((struct cloudstack_param){"domainid", target->domain_id}));
    result = cloudstack_list(r->cs, "listAccounts", &params, &items, &failure);
    vec_done(&params);
    if (result < 0 && err_code(failure) != E_CS_NOT_FOUND)
        return err_move(err, &failure);
    json_array_foreach (items, i, item) {
        if (!*ret_account && !strcmp(fact_text(item, "name"), target->account) &&
            fact_same_id(fact_text(item, "domainid"), target->domain_id))
            *ret_account = json_incref((json_t *)item);
    }
    return 0;
}

static int
find_owner(struct reader *r, const struct config_target *target, json_t *owner, struct err **err)
{
    json_t *project = NULL, *domain = NULL, *account = NULL;

    if (target->project_id) {
        if (find_object(r, "listProjects", target->project_id, false, &project, err) < 0)
            return -1;
        json_object_set_new(owner, "project", project ? project : json_null());
        return 0;
    }
    if (find_object(r, "listDomains", target->domain_id, false, &domain, err) < 0)
        return -1;
    json_object_set_new(owner, "domain", domain ? domain : json_null());
    if (!domain)
        return 0;
    if (find_account(r, target, &account, err) < 0)
        return -1;
    json_object_set_new(owner, "account", account ? account : json_null());
    return 0;
}

/* Without account and project the VM becomes the caller's, who has no limits. */
static int
read_owner(struct reader *r, const struct subject *s, struct err **err)
{
    const struct config_target *target = &s->spec->target;
    CLEANUP(free_charp) char *key = owner_key(s->spec);
    struct err *failure = NULL;
    json_t *owner;

    if ((!target->project_id && (!target->account || !target->domain_id)) ||
        json_object_get(kind_of(r->facts, "owner"), key))
        return 0;
    owner = json_object();
    if (find_owner(r, target, owner, &failure) < 0) {
        json_decref(owner);
        return note_failure(r, "owner", &failure, err);
    }
    json_object_set_new(kind_of(r->facts, "owner"), key, owner);
    return 0;
}

/* ---- what this host sees of the pools --------------------------------------------------------- */

static void
look_at_dir(struct reader *r, const char *id, const json_t *pool)
{
    const struct storage_pool description = {
        .id = id,
        .name = fact_text(pool, "name"),
        .type = fact_text(pool, "type"),
        .path = fact_text(pool, "path"),
        .host = fact_text(pool, "ipaddress"),
        .state = fact_text(pool, "state"),
        .is_userspace = r->config->storage.is_userspace_nfs,
        .allows_unmounted = r->config->storage.allows_unmounted,
    };
    json_t *dir = json_object();
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(err_freep) struct err *error = NULL;
    uint64_t free_bytes = 0, floor = 0;

    if (storage_resolve(&description, &path, &error) == 0 &&
        storage_free_bytes(path, &free_bytes, &error) == 0 &&
        storage_floor_bytes(path, &floor, &error) == 0) {
        json_object_set_new(dir, "path", json_text(path));
        json_object_set_new(dir, "free", json_real((double)free_bytes));
        json_object_set_new(dir, "floor", json_real((double)floor));
    } else {
        json_object_set_new(dir, "error", json_text(err_message(error)));
        json_object_set_new(dir, "cure", json_text(err_hint_text(error)));
    }
    json_object_set_new(kind_of(r->facts, "dir"), id, dir);
}

static void
look_at_dirs(struct reader *r)
{
    json_t *pool;
    const char *id;

    json_object_foreach (kind_of(r->facts, "pool"), id, pool) {
        if (json_is_object(pool))
            look_at_dir(r, id, pool);
    }
}

/* Whether an old server looks into pools of a type that its release cannot import from: some were
 * patched.  A list of nothing is asked for, which costs the server a look at the directory. */
static int
read_importable(struct reader *r, struct err **err)
{
    const char *version = cloudstack_version(r->cs), *id;
    json_t *pool;

    if (!version || fact_compare_versions(version, "4.22.1") >= 0)
        return 0;
    json_object_foreach (kind_of(r->facts, "pool"), id, pool) {
        struct cloudstack_params params = {0};
        CLEANUP(json_freep) json_t *items = NULL;
        struct err *failure = NULL;
        int result;

        if (!json_is_object(pool) || strcasecmp(fact_text(pool, "type"), "SharedMountPoint") != 0)
            continue;
        vec_push(&params, ((struct cloudstack_param){"storageid", id}));
        vec_push(&params, ((struct cloudstack_param){"keyword", ".v2c-no-such-file"}));
        result = cloudstack_list(r->cs, "listVolumesForImport", &params, &items, &failure);
        vec_done(&params);
        if (result < 0 && err_code(failure) == E_CANCELLED)
            return err_move(err, &failure);
        err_free(failure);
        json_object_set_new(kind_of(r->facts, "importable"), id, json_boolean(result == 0));
    }
    return 0;
}

/* ---- all of it -------------------------------------------------------------------------------- */

int
target_facts_read(struct cloudstack *cs, const struct config *config,
                  const struct subject *subjects, size_t count, json_t **ret_facts,
                  struct err **err)
{
    CLEANUP(json_freep) json_t *facts = json_object();
    struct reader r = {.cs = cs, .facts = facts, .config = config};

    json_object_set_new(facts, "version", json_text(cloudstack_version(cs)));
    json_object_set(facts, "capability", (json_t *)cloudstack_capabilities(cs));
    if (read_apis(&r, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (read_subject(&r, &subjects[i], err) < 0 || read_owner(&r, &subjects[i], err) < 0)
            return -1;
    for (size_t i = 0; i < count; i++)
        if (read_ranges(&r, &subjects[i], err) < 0)
            return -1;
    if (read_hosts(&r, err) < 0 || read_hypervisor(&r, err) < 0 || read_vms(&r, err) < 0 ||
        read_thresholds(&r, err) < 0 || read_details(&r, err) < 0 || read_importable(&r, err) < 0)
        return -1;
    look_at_dirs(&r);
    *ret_facts = take(facts);
    return 0;
}
