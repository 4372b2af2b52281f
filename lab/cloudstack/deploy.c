/* deployVirtualMachine with startvm=false: a VM with NICs, and a root volume that is only planned. */
#include "cloudstack/cs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

#define MAX_NICS 8

struct plan {
    json_t *zone, *offering, *template;
    json_t *details; /* owned */
    struct {
        const json_t *network;
        const char *mac, *address;
    } nics[MAX_NICS];
    size_t nic_count;
};

/* ---- sizes ------------------------------------------------------------------------------------ */

int
cs_check_size_detail(const json_t *details, const char *key, struct cs_error *error)
{
    const char *text = cs_text(details, key);
    char *end;

    if (!*text)
        return cs_fail(error, CS_PARAM, "Detail '%s' must be provided.", key);
    errno = 0;
    if (strtol(text, &end, 10) <= 0 || *end || errno)
        return cs_fail(error, CS_PARAM, "Please provide a valid integer value for detail '%s'.",
                       key);
    return 0;
}

void
cs_set_size(json_t *vm, const json_t *offering, const json_t *details)
{
    static const char *const KEYS[][2] = {
        {"cpunumber", "cpuNumber"}, {"memory", "memory"}, {"cpuspeed", "cpuSpeed"}};

    for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
        const json_t *fixed = json_object_get(offering, KEYS[i][0]);
        const char *given = cs_text(details, KEYS[i][1]);

        if (fixed)
            json_object_set_new(vm, KEYS[i][0], json_integer(json_integer_value(fixed)));
        else if (*given)
            json_object_set_new(vm, KEYS[i][0], json_integer(strtol(given, NULL, 10)));
    }
}

/* A constrained offering has bounds; importVm does not look at them. */
static int
check_bounds(const struct plan *plan, const char *key, const char *min_key, const char *max_key,
             const char *what, struct cs_error *error)
{
    const json_t *bounds = json_object_get(plan->offering, "serviceofferingdetails");
    long value = strtol(cs_text(plan->details, key), NULL, 10);
    const char *min = cs_text(bounds, min_key), *max = cs_text(bounds, max_key);

    if ((*min && value < strtol(min, NULL, 10)) || (*max && value > strtol(max, NULL, 10)))
        return cs_fail(error, CS_PARAM, "Invalid %s value, specify a value between %s and %s", what,
                       min, max);
    return 0;
}

static int
check_sizes(const struct plan *plan, struct cs_error *error)
{
    if (!json_is_true(json_object_get(plan->offering, "iscustomized")))
        return 0;
    if (cs_check_size_detail(plan->details, "cpuNumber", error) < 0 ||
        cs_check_size_detail(plan->details, "memory", error) < 0 ||
        check_bounds(plan, "cpuNumber", "mincpunumber", "maxcpunumber", "CPU cores", error) < 0 ||
        check_bounds(plan, "memory", "minmemory", "maxmemory", "memory", error) < 0)
        return -1;
    if (json_object_get(plan->offering, "cpuspeed"))
        return 0;
    return cs_check_size_detail(plan->details, "cpuSpeed", error);
}

/* ---- NICs ------------------------------------------------------------------------------------- */

/* iptonetworklist[n].KEY; NULL when absent. */
static const char *
of_nic(const struct cs_request *rq, long n, const char *key)
{
    for (size_t i = 0; i < rq->params.count; i++) {
        const struct cs_param *param = &rq->params.items[i];

        if (param->index == n && param->key && !strcmp(param->base, "iptonetworklist") &&
            !strcasecmp(param->key, key))
            return *param->value ? param->value : NULL;
    }
    return NULL;
}

static int
plan_nic(const struct lab_cloudstack *cs, const struct cs_request *rq, struct plan *plan, long n,
         struct cs_error *error)
{
    const char *id = of_nic(rq, n, "networkid"), *mac = of_nic(rq, n, "mac");
    const char *address = of_nic(rq, n, "ip");
    const json_t *network = id ? cs_find(cs, "network", id) : NULL;

    if (!network || plan->nic_count == MAX_NICS)
        return cs_fail(error, CS_PARAM, "Unable to find network id=%s", id ? id : "");
    if (strcmp(cs_text(network, "zoneid"), cs_text(plan->zone, "id")) != 0)
        return cs_fail(error, CS_PARAM, "Network id=%s doesn't belong to zone %s", id,
                       cs_text(plan->zone, "id"));
    for (size_t i = 0; i < plan->nic_count; i++)
        if (plan->nics[i].network == network)
            return cs_fail(error, CS_PARAM, "Network id=%s is given twice", id);
    if (mac && !cs_is_mac(mac))
        return cs_fail(error, CS_PARAM, "Mac address is not a valid unicast address: %s", mac);
    if (mac && cs_mac_is_taken(cs, id, mac))
        return cs_fail(error, CS_INTERNAL, "A NIC with this MAC address exists for network: %s",
                       id);
    if (cs_check_address(cs, network, address, error) < 0)
        return -1;
    plan->nics[plan->nic_count].network = network;
    plan->nics[plan->nic_count].mac = mac;
    plan->nics[plan->nic_count++].address = address;
    return 0;
}

static int
plan_nics(const struct lab_cloudstack *cs, const struct cs_request *rq, struct plan *plan,
          struct cs_error *error)
{
    for (long n = 0; of_nic(rq, n, "networkid"); n++)
        if (plan_nic(cs, rq, plan, n, error) < 0)
            return -1;
    if (!plan->nic_count)
        return cs_fail(error, CS_PARAM, "The lab wants the networks in iptonetworklist");
    return 0;
}

/* Names are unique among the VMs of a network. */
static int
check_name(const struct lab_cloudstack *cs, const struct plan *plan, const char *name,
           struct cs_error *error)
{
    const json_t *vm, *nic;
    size_t i, k;

    if (!name || !cs_is_host_name(name))
        return cs_fail(error, CS_PARAM,
                       "Invalid name. Vm name can contain ASCII letters 'a' through 'z', the "
                       "digits '0' through '9', and the hyphen ('-')");
    json_array_foreach (cs_all(cs, "vm"), i, vm) {
        json_array_foreach (json_object_get(vm, "nic"), k, nic) {
            for (size_t n = 0; n < plan->nic_count; n++)
                if (!strcasecmp(cs_text(vm, "name"), name) &&
                    !strcmp(cs_text(nic, "networkid"), cs_text(plan->nics[n].network, "id")))
                    return cs_fail(error, CS_PARAM,
                                   "The vm with hostName %s already exists in the network domain; "
                                   "network=%s",
                                   name, cs_text(nic, "networkid"));
        }
    }
    return 0;
}

/* ---- the VM ----------------------------------------------------------------------------------- */

static int
check_id(const struct lab_cloudstack *cs, const char *id, struct cs_error *error)
{
    if (!id)
        return 0;
    if (strlen(id) != 36 || strspn(id, "0123456789abcdefABCDEF-") != 36)
        return cs_fail(error, CS_PARAM, "The given UUID: %s is not valid", id);
    if (cs_find(cs, "vm", id))
        return cs_fail(error, CS_PARAM, "The UUID %s already exists so it can't be used", id);
    return 0;
}

static void
describe(struct lab_cloudstack *cs, const struct cs_request *rq, const struct plan *plan,
         json_t *vm)
{
    const json_t *os = cs_find(cs, "ostype", cs_text(plan->template, "ostypeid"));
    const char *display = cs_get(rq, "displayname");
    char id[40], created[32];

    cs_new_uuid(id);
    cs_format_time(clock_wall_s(), created);
    cs_set_text(vm, "id", cs_get(rq, "customid") ? cs_get(rq, "customid") : id);
    cs_set_text(vm, "name", cs_get(rq, "name"));
    cs_set_text(vm, "displayname", display ? display : cs_get(rq, "name"));
    json_object_set_new(vm, "instancename", json_sprintf("i-2-%u-VM", cs->next_vm++));
    cs_set_text(vm, "state", "Stopped");
    cs_set_text(vm, "hypervisor", "KVM");
    cs_set_text(vm, "created", created);
    cs_set_text(vm, "zoneid", cs_text(plan->zone, "id"));
    cs_set_text(vm, "zonename", cs_text(plan->zone, "name"));
    cs_set_text(vm, "serviceofferingid", cs_text(plan->offering, "id"));
    cs_set_text(vm, "serviceofferingname", cs_text(plan->offering, "name"));
    cs_set_text(vm, "templateid", cs_text(plan->template, "id"));
    cs_set_text(vm, "templatename", cs_text(plan->template, "name"));
    cs_set_text(vm, "ostypeid", cs_text(os, "id"));
    cs_set_text(vm, "guestosid", cs_text(os, "id"));
    cs_set_text(vm, "osdisplayname", cs_text(os, "description"));
    json_object_set_new(vm, "haenable", json_false());
    json_object_set(vm, "details", plan->details);
    json_object_set_new(vm, "nic", json_array());
    json_object_set_new(vm, "tags", json_array());
    cs_set_size(vm, plan->offering, plan->details);
}

/* On no pool, and without a file, until the VM is started. */
static void
add_root(struct lab_cloudstack *cs, const struct plan *plan, json_t *vm)
{
    static const char *const SHARED[] = {"account", "domainid", "domain", "projectid", "project"};
    char id[40], created[32];
    json_t *volume;

    cs_new_uuid(id);
    cs_format_time(clock_wall_s(), created);
    volume = json_pack("{s:s,s:o,s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:s}", "id", id, "name",
                       json_sprintf("ROOT-%u", cs->next_vm - 1), "type", "ROOT", "state",
                       "Allocated", "hypervisor", "KVM", "size",
                       json_integer_value(json_object_get(plan->template, "size")), "zoneid",
                       cs_text(plan->zone, "id"), "zonename", cs_text(plan->zone, "name"),
                       "provisioningtype", "thin", "created", created);
    for (size_t i = 0; i < ARRAY_SIZE(SHARED); i++)
        if (json_object_get(vm, SHARED[i]))
            json_object_set(volume, SHARED[i], json_object_get(vm, SHARED[i]));
    cs_set_text(volume, "templateid", cs_text(plan->template, "id"));
    json_array_append_new(cs_all(cs, "volume"), volume);
    cs_volume_attach(volume, vm, 0);
    json_object_set_new(vm, "rootdeviceid", json_integer(0));
    cs_set_text(vm, "rootdevicetype", "ROOT");
}

static int
make_vm(struct lab_cloudstack *cs, const struct cs_request *rq, const struct plan *plan,
        json_t **ret, struct cs_error *error)
{
    json_t *vm = json_object();

    if (cs_set_owner(cs, rq, vm, error) < 0) {
        json_decref(vm);
        return -1;
    }
    describe(cs, rq, plan, vm);
    if (cs_check_vm_limits(cs, vm, error) < 0) {
        json_decref(vm);
        return -1;
    }
    for (size_t i = 0; i < plan->nic_count; i++)
        cs_nic_add(cs, vm, plan->nics[i].network, plan->nics[i].mac, plan->nics[i].address);
    add_root(cs, plan, vm);
    json_array_append_new(cs_all(cs, "vm"), vm);
    *ret = cs_vm_result(vm);
    return 0;
}

static int
check_template(const struct cs_request *rq, const struct plan *plan, struct cs_error *error)
{
    const char *hypervisor = cs_get(rq, "hypervisor");

    if (!plan->template)
        return cs_fail(error, CS_PARAM, "Unable to use template %s",
                       cs_get(rq, "templateid") ? cs_get(rq, "templateid") : "");
    if (!json_is_true(json_object_get(plan->template, "isready")))
        return cs_fail(error, CS_PARAM, "Template %s has not been completely downloaded to zone",
                       cs_text(plan->template, "id"));
    if (hypervisor && strcasecmp(hypervisor, cs_text(plan->template, "hypervisor")) != 0)
        return cs_fail(error, CS_PARAM,
                       "Hypervisor passed to the deployVm call, is different from the hypervisor "
                       "type of the Template");
    return 0;
}

/* The key under which such a VM keeps how it boots is the boot type, its value the mode. */
static void
set_firmware(const struct cs_request *rq, json_t *details)
{
    const char *type = cs_get(rq, "boottype"), *mode = cs_get(rq, "bootmode");

    if (type && !strcasecmp(type, "UEFI"))
        cs_set_text(details, "UEFI", mode && !strcasecmp(mode, "Secure") ? "SECURE" : "LEGACY");
}

int
cs_deploy_vm(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
             struct cs_error *error)
{
    const char *start = cs_get(rq, "startvm"), *template = cs_get(rq, "templateid");
    struct plan plan = {
        .zone = cs_find(cs, "zone", cs_get(rq, "zoneid")),
        .offering = cs_find(cs, "serviceoffering", cs_get(rq, "serviceofferingid")),
        .template = template ? cs_find(cs, "template", template) : NULL,
    };
    int result = -1;

    if (!start || strcasecmp(start, "false"))
        return cs_fail(error, CS_INTERNAL, "The lab deploys with startvm=false only");
    plan.details = cs_get_details(rq);
    set_firmware(rq, plan.details);
    if (check_id(cs, cs_get(rq, "customid"), error) == 0 && check_template(rq, &plan, error) == 0 &&
        check_sizes(&plan, error) == 0 && plan_nics(cs, rq, &plan, error) == 0 &&
        check_name(cs, &plan, cs_get(rq, "name"), error) == 0)
        result = make_vm(cs, rq, &plan, ret, error);
    json_decref(plan.details);
    return result;
}
