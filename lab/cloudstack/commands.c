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

/* Lists of what never changes: the kind and the key of the answer are one word, but for one. */
static int
list_fixed(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
           struct cs_error *error)
{
    static const char *const KINDS[][3] = {
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
        {"listTemplates", "template"},
        {"listGuestOsMapping", "guestosmapping"},
        {"listVlanIpRanges", "vlaniprange"},
        {"listHypervisorCapabilities", "hypervisorcapability", "hypervisorCapabilities"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
        if (!strcmp(rq->command, KINDS[i][0]))
            return cs_list(cs, rq, KINDS[i][2] ? KINDS[i][2] : KINDS[i][1], cs_all(cs, KINDS[i][1]),
                           ret, error);
    return cs_fail(error, CS_INTERNAL, "The lab has no list for %s", rq->command);
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
    {"listTemplates", list_fixed},
    {"listGuestOsMapping", list_fixed},
    {"listVlanIpRanges", list_fixed},
    {"listHypervisorCapabilities", list_fixed},
    {"createTags", cs_create_tags},
    {"deleteTags", cs_delete_tags},
    {"deployVirtualMachine", cs_deploy_vm, true},
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
    {"expungeVirtualMachine", cs_expunge_vm},
    {"addNicToVirtualMachine", cs_add_nic},
    {"removeNicFromVirtualMachine", cs_remove_nic},
    {"updateDefaultNicForVirtualMachine", cs_update_default_nic},
    {"updateVmNicIp", cs_update_nic_ip},
    {"listNics", cs_list_nics},
    {"listVolumes", cs_list_volumes},
    {"attachVolume", cs_attach_volume},
    {"detachVolume", cs_detach_volume},
    {"deleteVolume", cs_delete_volume},
    {"destroyVolume", cs_destroy_volume},
};

const struct cs_command *
cs_find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++)
        if (!strcmp(COMMANDS[i].name, name))
            return &COMMANDS[i];
    return NULL;
}
