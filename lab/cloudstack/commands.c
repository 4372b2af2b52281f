/* Which function answers which command; and the small ones. */
#include "cloudstack/cs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- what the server is ----------------------------------------------------------------------- */

static int
list_capabilities(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                  struct cs_error *error)
{
    *ret = json_pack("{s:{s:o,s:b,s:i,s:i,s:b,s:i}}", "capability", "cloudstackversion",
                     json_sprintf("%s.0", cs->version), "dynamicrolesenabled", true,
                     "customdiskofferingminsize", 0, "customdiskofferingmaxsize", CS_MAX_CUSTOM_GIB,
                     "securitygroupsenabled", false, "defaultuipagesize", 20);
    return 0;
}

/* Without what our own file says beside the server's words. */
static json_t *
without_notes(const json_t *api)
{
    json_t *copy = json_deep_copy(api), *param, *value;
    const char *key;
    void *next;
    size_t i;

    json_object_foreach_safe(copy, next, key, value)
    {
        if (!strncmp(key, "x-", 2))
            json_object_del(copy, key);
    }
    json_array_foreach (json_object_get(copy, "params"), i, param) {
        json_object_foreach_safe(param, next, key, value)
        {
            if (!strncmp(key, "x-", 2))
                json_object_del(param, key);
        }
    }
    return copy;
}

static int
list_apis(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
          struct cs_error *error)
{
    const char *name = cs_get(rq, "name");
    json_t *apis = json_array();
    const json_t *api;
    size_t i;

    json_array_foreach (cs->schema, i, api) {
        if (!name || !strcasecmp(name, cs_text(api, "name")))
            json_array_append_new(apis, without_notes(api));
    }
    if (!json_array_size(apis)) {
        json_decref(apis);
        return cs_fail(error, CS_INTERNAL,
                       "Api Discovery plugin was unable to find an api by that name or process any "
                       "apis");
    }
    *ret = json_pack("{s:i,s:o}", "count", (int)json_array_size(apis), "api", apis);
    return 0;
}

static int
list_detail_options(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                    struct cs_error *error)
{
    if (strcasecmp(cs_get(rq, "resourcetype"), "UserVm")) {
        *ret = json_pack("{s:{s:{}}}", "detailoptions", "details");
        return 0;
    }
    *ret = json_pack("{s:{s:{s:[ssss],s:[sss],s:[ss]}}}", "detailoptions", "details",
                     "rootDiskController", "virtio", "scsi", "sata", "ide", "nicAdapter", "virtio",
                     "e1000", "rtl8139", "UEFI", "LEGACY", "SECURE");
    return 0;
}

/* Lists of what never changes: the kind and the key of the answer are one word. */
static int
list_fixed(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
           struct cs_error *error)
{
    static const char *const KINDS[][2] = {
        {"listZones", "zone"},
        {"listPods", "pod"},
        {"listClusters", "cluster"},
        {"listHosts", "host"},
        {"listStoragePools", "storagepool"},
        {"listNetworks", "network"},
        {"listServiceOfferings", "serviceoffering"},
        {"listDiskOfferings", "diskoffering"},
        {"listOsTypes", "ostype"},
        {"listDomains", "domain"},
        {"listAccounts", "account"},
        {"listProjects", "project"},
        {"listTags", "tag"},
        {"listConfigurations", "configuration"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
        if (!strcmp(rq->command, KINDS[i][0]))
            return cs_list(cs, rq, KINDS[i][1], cs_all(cs, KINDS[i][1]), ret, error);
    return cs_fail(error, CS_INTERNAL, "The lab has no list for %s", rq->command);
}

/* ---- tags ------------------------------------------------------------------------------------- */

static json_t *
tagged_object(const struct lab_cloudstack *cs, const char *type, const char *id)
{
    if (!strcasecmp(type, "UserVm"))
        return cs_find(cs, "vm", id);
    return strcasecmp(type, "Volume") ? NULL : cs_find(cs, "volume", id);
}

static void
add_tag(struct lab_cloudstack *cs, json_t *object, const char *type, const char *key,
        const char *value)
{
    json_t *tags = json_object_get(object, "tags");
    json_t *tag = json_pack("{s:s,s:s,s:s,s:s,s:s}", "key", key, "value", value, "resourceid",
                            cs_text(object, "id"), "resourcetype", type, "account", "admin");

    if (!tags) {
        tags = json_array();
        json_object_set_new(object, "tags", tags);
    }
    json_array_append(tags, tag);
    json_array_append_new(cs_all(cs, "tag"), tag);
}

static int
tag_one(struct lab_cloudstack *cs, const struct cs_request *rq, const char *id,
        struct cs_error *error)
{
    const char *type = cs_get(rq, "resourcetype");
    json_t *object = tagged_object(cs, type, id);

    if (!object)
        return cs_fail(error, CS_PARAM, "Unable to find resource by id %s and type %s", id, type);
    for (size_t i = 0; i < rq->params.count; i++) {
        const struct cs_param *key = &rq->params.items[i];
        const char *value = "";

        if (strcmp(key->base, "tags") || !key->key || strcmp(key->key, "key"))
            continue;
        for (size_t j = 0; j < rq->params.count; j++) {
            const struct cs_param *other = &rq->params.items[j];

            if (!strcmp(other->base, "tags") && other->index == key->index && other->key &&
                !strcmp(other->key, "value"))
                value = other->value;
        }
        add_tag(cs, object, type, key->value, value);
    }
    return 0;
}

static int
create_tags(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
            struct cs_error *error)
{
    CLEANUP(free_charp) char *ids = xstrdup(cs_get(rq, "resourceids"));
    char *rest = ids, *id;

    while ((id = strsep(&rest, ",")))
        if (tag_one(cs, rq, id, error) < 0)
            return -1;
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}

/* ---- the table -------------------------------------------------------------------------------- */

static const struct cs_command COMMANDS[] = {
    {"listCapabilities", list_capabilities},
    {"listApis", list_apis},
    {"listDetailOptions", list_detail_options},
    {"listZones", list_fixed},
    {"listPods", list_fixed},
    {"listClusters", list_fixed},
    {"listHosts", list_fixed},
    {"listStoragePools", list_fixed},
    {"listNetworks", list_fixed},
    {"listServiceOfferings", list_fixed},
    {"listDiskOfferings", list_fixed},
    {"listOsTypes", list_fixed},
    {"listDomains", list_fixed},
    {"listAccounts", list_fixed},
    {"listProjects", list_fixed},
    {"listTags", list_fixed},
    {"listConfigurations", list_fixed},
    {"createTags", create_tags},
    {"queryAsyncJobResult", cs_query_job},
    {"listAsyncJobs", cs_list_jobs},
    {"importVm", cs_import_vm},
    {"importVolume", cs_import_volume},
    {"listVolumesForImport", cs_list_importable},
    {"unmanageVolume", cs_unmanage_volume},
    {"unmanageVirtualMachine", cs_unmanage_vm},
    {"listVirtualMachines", cs_list_vms},
    {"updateVirtualMachine", cs_update_vm},
    {"startVirtualMachine", cs_start_vm},
    {"stopVirtualMachine", cs_stop_vm},
    {"destroyVirtualMachine", cs_destroy_vm},
    {"addNicToVirtualMachine", cs_add_nic},
    {"removeNicFromVirtualMachine", cs_remove_nic},
    {"listNics", cs_list_nics},
    {"listVolumes", cs_list_volumes},
    {"attachVolume", cs_attach_volume},
    {"detachVolume", cs_detach_volume},
};

const struct cs_command *
cs_find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++)
        if (!strcmp(COMMANDS[i].name, name))
            return &COMMANDS[i];
    return NULL;
}
