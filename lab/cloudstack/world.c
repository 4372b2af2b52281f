/* The zone: what is there from the start, with ids that never change, and lookups. */
#include "cloudstack/cs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/err.h"

#define ZONE    "5a6f6e65-0000-4000-8000-000000000001"
#define POD     "5a6f6e65-0000-4000-8000-000000000002"
#define CLUSTER "5a6f6e65-0000-4000-8000-000000000003"
#define HOST    "5a6f6e65-0000-4000-8000-000000000004"
#define DOMAIN  "5a6f6e65-0000-4000-8000-000000000005"
#define IN_ZONE "\"zoneid\":\"" ZONE "\",\"zonename\":\"lab\""
#define OWNED   "\"account\":\"admin\",\"domainid\":\"" DOMAIN "\",\"domain\":\"ROOT\""

static const char WORLD[] =
    "{\"zone\":[{\"id\":\"" ZONE "\",\"name\":\"lab\",\"networktype\":\"Advanced\","
    "\"securitygroupsenabled\":false,\"localstorageenabled\":false,"
    "\"allocationstate\":\"Enabled\",\"type\":\"Core\"}],"
    "\"pod\":[{\"id\":\"" POD "\",\"name\":\"pod1\"," IN_ZONE ",\"allocationstate\":\"Enabled\"}],"
    "\"cluster\":[{\"id\":\"" CLUSTER "\",\"name\":\"kvm1\",\"podid\":\"" POD
    "\",\"podname\":\"pod1\"," IN_ZONE ",\"hypervisortype\":\"KVM\",\"clustertype\":"
    "\"CloudManaged\",\"allocationstate\":\"Enabled\",\"managedstate\":\"Managed\","
    "\"arch\":\"x86_64\"}],"
    "\"host\":[{\"id\":\"" HOST "\",\"name\":\"kvm1-host1\",\"type\":\"Routing\",\"state\":\"Up\","
    "\"resourcestate\":\"Enabled\",\"hypervisor\":\"KVM\",\"ipaddress\":\"127.0.0.1\","
    "\"clusterid\":"
    "\"" CLUSTER "\",\"clustername\":\"kvm1\",\"podid\":\"" POD "\",\"podname\":\"pod1\"," IN_ZONE
    ",\"arch\":\"x86_64\",\"ueficapability\":true,\"encryptionsupported\":true,"
    "\"instanceconversionsupported\":false,\"cpunumber\":16,\"cpuspeed\":2400,"
    "\"memorytotal\":68719476736}],"
    "\"domain\":[{\"id\":\"" DOMAIN "\",\"name\":\"ROOT\",\"level\":0,\"path\":\"ROOT\"}],"
    "\"account\":[{\"id\":\"5a6f6e65-0000-4000-8000-000000000006\",\"name\":\"admin\","
    "\"accounttype\":1,\"domainid\":\"" DOMAIN "\",\"domain\":\"ROOT\",\"state\":\"enabled\"},"
    "{\"id\":\"5a6f6e65-0000-4000-8000-000000000007\",\"name\":\"tenant\",\"accounttype\":0,"
    "\"domainid\":\"" DOMAIN "\",\"domain\":\"ROOT\",\"state\":\"enabled\"}],"
    "\"project\":[{\"id\":\"5a6f6e65-0000-4000-8000-000000000008\",\"name\":\"blue\","
    "\"domainid\":\"" DOMAIN "\",\"domain\":\"ROOT\",\"state\":\"Active\"}],"
    "\"network\":["
    "{\"id\":\"6e657477-0000-4000-8000-000000000001\",\"name\":\"lab-isolated\",\"displaytext\":"
    "\"lab-isolated\",\"type\":\"Isolated\",\"traffictype\":\"Guest\",\"cidr\":\"10.1.1.0/24\","
    "\"gateway\":\"10.1.1.1\",\"netmask\":\"255.255.255.0\",\"state\":\"Implemented\","
    "\"broadcasturi\":\"vlan://101\",\"canusefordeploy\":true," OWNED "," IN_ZONE "},"
    "{\"id\":\"6e657477-0000-4000-8000-000000000002\",\"name\":\"lab-l2\",\"displaytext\":"
    "\"lab-l2\",\"type\":\"L2\",\"traffictype\":\"Guest\",\"state\":\"Implemented\","
    "\"broadcasturi\":\"vlan://102\",\"canusefordeploy\":true,\"acltype\":\"Domain\"," IN_ZONE "},"
    "{\"id\":\"6e657477-0000-4000-8000-000000000003\",\"name\":\"lab-shared\",\"displaytext\":"
    "\"lab-shared\",\"type\":\"Shared\",\"traffictype\":\"Guest\",\"cidr\":\"192.168.77.0/24\","
    "\"gateway\":\"192.168.77.1\",\"netmask\":\"255.255.255.0\",\"state\":\"Setup\","
    "\"broadcasturi\":\"vlan://103\",\"canusefordeploy\":true,\"acltype\":\"Domain\"," IN_ZONE "},"
    "{\"id\":\"6e657477-0000-4000-8000-000000000004\",\"name\":\"lab-l2-empty\",\"displaytext\":"
    "\"lab-l2-empty\",\"type\":\"L2\",\"traffictype\":\"Guest\",\"state\":\"Setup\","
    "\"broadcasturi\":\"vlan://104\",\"canusefordeploy\":true,\"acltype\":\"Domain\"," IN_ZONE "}],"
    "\"serviceoffering\":["
    "{\"id\":\"636f6d70-0000-4000-8000-000000000001\",\"name\":\"small\",\"displaytext\":"
    "\"1 vCPU, 512 MiB\",\"cpunumber\":1,\"cpuspeed\":1000,\"memory\":512,\"iscustomized\":false,"
    "\"storagetype\":\"shared\",\"state\":\"Active\",\"provisioningtype\":\"thin\"},"
    "{\"id\":\"636f6d70-0000-4000-8000-000000000002\",\"name\":\"medium\",\"displaytext\":"
    "\"2 vCPU, 2 GiB\",\"cpunumber\":2,\"cpuspeed\":1000,\"memory\":2048,\"iscustomized\":false,"
    "\"storagetype\":\"shared\",\"state\":\"Active\",\"provisioningtype\":\"thin\"},"
    "{\"id\":\"636f6d70-0000-4000-8000-000000000003\",\"name\":\"custom\",\"displaytext\":"
    "\"custom, constrained\",\"cpuspeed\":1000,\"iscustomized\":true,\"storagetype\":\"shared\","
    "\"state\":\"Active\",\"provisioningtype\":\"thin\",\"serviceofferingdetails\":"
    "{\"mincpunumber\":\"1\",\"maxcpunumber\":\"32\",\"minmemory\":\"32\",\"maxmemory\":"
    "\"65536\"}},"
    "{\"id\":\"636f6d70-0000-4000-8000-000000000004\",\"name\":\"custom-unconstrained\","
    "\"displaytext\":\"custom\",\"iscustomized\":true,\"storagetype\":\"shared\",\"state\":"
    "\"Active\",\"provisioningtype\":\"thin\"},"
    "{\"id\":\"636f6d70-0000-4000-8000-000000000005\",\"name\":\"ssd-only\",\"displaytext\":"
    "\"1 vCPU on SSD\",\"cpunumber\":1,\"cpuspeed\":1000,\"memory\":512,\"iscustomized\":false,"
    "\"storagetype\":\"shared\",\"state\":\"Active\",\"storagetags\":\"ssd\"}],"
    "\"diskoffering\":["
    "{\"id\":\"6469736b-0000-4000-8000-000000000001\",\"name\":\"custom\",\"displaytext\":"
    "\"any size\",\"iscustomized\":true,\"disksize\":0,\"storagetype\":\"shared\",\"state\":"
    "\"Active\",\"encrypt\":false,\"provisioningtype\":\"thin\"},"
    "{\"id\":\"6469736b-0000-4000-8000-000000000002\",\"name\":\"20G\",\"displaytext\":\"20 GiB\","
    "\"iscustomized\":false,\"disksize\":20,\"storagetype\":\"shared\",\"state\":\"Active\","
    "\"encrypt\":false,\"provisioningtype\":\"thin\"},"
    "{\"id\":\"6469736b-0000-4000-8000-000000000003\",\"name\":\"local\",\"displaytext\":"
    "\"local disk\",\"iscustomized\":true,\"disksize\":0,\"storagetype\":\"local\",\"state\":"
    "\"Active\",\"encrypt\":false},"
    "{\"id\":\"6469736b-0000-4000-8000-000000000004\",\"name\":\"encrypted\",\"displaytext\":"
    "\"encrypted\",\"iscustomized\":true,\"disksize\":0,\"storagetype\":\"shared\",\"state\":"
    "\"Active\",\"encrypt\":true}],"
    "\"ostype\":["
    "{\"id\":\"6f737479-0000-4000-8000-000000000001\",\"description\":\"CentOS 4.5 (32-bit)\","
    "\"name\":\"CentOS 4.5 (32-bit)\",\"oscategoryname\":\"CentOS\",\"_pv\":false},"
    "{\"id\":\"6f737479-0000-4000-8000-000000000002\",\"description\":\"Debian GNU/Linux 12 "
    "(64-bit)\",\"name\":\"Debian GNU/Linux 12 (64-bit)\",\"oscategoryname\":\"Debian\",\"_pv\":"
    "true},"
    "{\"id\":\"6f737479-0000-4000-8000-000000000003\",\"description\":\"Ubuntu 24.04 LTS\","
    "\"name\":\"Ubuntu 24.04 LTS\",\"oscategoryname\":\"Ubuntu\",\"_pv\":true},"
    "{\"id\":\"6f737479-0000-4000-8000-000000000004\",\"description\":\"Windows Server 2022 "
    "(64-bit)\",\"name\":\"Windows Server 2022 (64-bit)\",\"oscategoryname\":\"Windows\",\"_pv\":"
    "false},"
    "{\"id\":\"6f737479-0000-4000-8000-000000000005\",\"description\":\"Other Linux (64-bit)\","
    "\"name\":\"Other Linux (64-bit)\",\"oscategoryname\":\"Other\",\"_pv\":true}],"
    "\"configuration\":["
    "{\"name\":\"pool.storage.capacity.disablethreshold\",\"value\":\"0.85\",\"category\":"
    "\"Advanced\",\"scope\":\"zone\",\"isdynamic\":true},"
    "{\"name\":\"pool.storage.allocated.capacity.disablethreshold\",\"value\":\"0.85\","
    "\"category\":\"Advanced\",\"scope\":\"zone\",\"isdynamic\":true}],"
    "\"hypervisorcapability\":[{\"id\":\"68797065-0000-4000-8000-000000000001\",\"_name\":\"kvm\","
    "\"hypervisor\":\"KVM\",\"hypervisorversion\":\"default\",\"maxdatavolumeslimit\":64,"
    "\"maxguestslimit\":50,\"securitygroupenabled\":true,\"storagemotionenabled\":true}],"
    "\"vlaniprange\":[{\"id\":\"766c616e-0000-4000-8000-000000000001\",\"_name\":\"shared\","
    "\"networkid\":\"6e657477-0000-4000-8000-000000000003\",\"vlan\":\"vlan://103\",\"gateway\":"
    "\"192.168.77.1\",\"netmask\":\"255.255.255.0\",\"startip\":\"192.168.77.10\",\"endip\":"
    "\"192.168.77.250\",\"forvirtualnetwork\":false,\"zoneid\":\"" ZONE "\"}],"
    "\"template\":["
    "{\"id\":\"74706c74-0000-4000-8000-000000000001\",\"name\":\"SystemVM Template (KVM)\","
    "\"templatetype\":\"SYSTEM\",\"hypervisor\":\"KVM\",\"isready\":true,\"size\":5242880000,"
    "\"ostypeid\":\"6f737479-0000-4000-8000-000000000002\"," OWNED "," IN_ZONE "},"
    "{\"id\":\"74706c74-0000-4000-8000-000000000002\",\"name\":\"tiny\",\"templatetype\":\"USER\","
    "\"hypervisor\":\"KVM\",\"isready\":true,\"size\":10485760,\"ispublic\":true,"
    "\"ostypeid\":\"6f737479-0000-4000-8000-000000000005\"," OWNED "," IN_ZONE "},"
    "{\"id\":\"74706c74-0000-4000-8000-000000000003\",\"name\":\"half-loaded\",\"templatetype\":"
    "\"USER\",\"hypervisor\":\"KVM\",\"isready\":false,\"size\":0,\"ispublic\":true,"
    "\"ostypeid\":\"6f737479-0000-4000-8000-000000000005\"," OWNED "," IN_ZONE "}],"
    "\"guestosmapping\":["
    "{\"id\":\"6d617070-0000-4000-8000-000000000001\",\"hypervisor\":\"VMware\","
    "\"hypervisorversion\":\"7.0\",\"osnameforhypervisor\":\"debian12_64Guest\",\"osdisplayname\":"
    "\"Debian GNU/Linux 12 (64-bit)\",\"ostypeid\":\"6f737479-0000-4000-8000-000000000002\"},"
    "{\"id\":\"6d617070-0000-4000-8000-000000000002\",\"hypervisor\":\"KVM\","
    "\"hypervisorversion\":\"default\",\"osnameforhypervisor\":\"debian12_64Guest\","
    "\"osdisplayname\":\"CentOS 4.5 (32-bit)\",\"ostypeid\":"
    "\"6f737479-0000-4000-8000-000000000001\"},"
    "{\"id\":\"6d617070-0000-4000-8000-000000000003\",\"hypervisor\":\"VMware\","
    "\"hypervisorversion\":\"8.0\",\"osnameforhypervisor\":\"windows2019srvNext_64Guest\","
    "\"osdisplayname\":\"Windows Server 2022 (64-bit)\",\"ostypeid\":"
    "\"6f737479-0000-4000-8000-000000000004\"}],"
    "\"storagepool\":[],\"vm\":[],\"volume\":[],\"tag\":[]}";

static json_t *
pool_new(const struct lab_cloudstack *cs, const char *id, const char *name)
{
    CLEANUP(free_charp) char *path = xasprintf("%s/%s", cs->dir, name);

    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:I,s:I,s:I,s:s}",
                     "id", id, "name", name, "type", "SharedMountPoint", "state", "Up", "scope",
                     "CLUSTER", "clusterid", CLUSTER, "clustername", "kvm1", "podid", POD, "zoneid",
                     ZONE, "zonename", "lab", "hypervisor", "KVM", "ipaddress", "localhost", "path",
                     path, "managed", false, "disksizetotal", (json_int_t)(1LL << 44),
                     "disksizeused", (json_int_t)0, "disksizeallocated", (json_int_t)0,
                     "overprovisionfactor", "2.0");
}

json_t *
cs_world_new(const struct lab_cloudstack *cs)
{
    json_error_t why;
    json_t *world = json_loads(WORLD, 0, &why);
    json_t *pools = json_object_get(world, "storagepool");

    if (!world) {
        (void)fprintf(stderr, "the lab's zone: line %d: %s\n", why.line, why.text);
        abort();
    }
    json_array_append_new(pools, pool_new(cs, "706f6f6c-0000-4000-8000-000000000001", "primary"));
    json_array_append_new(pools, pool_new(cs, "706f6f6c-0000-4000-8000-000000000002", "primary2"));
    return world;
}

/* ---- changes ---------------------------------------------------------------------------------- */

static json_t *
find_named(const json_t *array, const char *name)
{
    json_t *item;
    size_t i;

    json_array_foreach (array, i, item) {
        if (!strcmp(cs_text(item, "name"), name) || !strcmp(cs_text(item, "_name"), name))
            return item;
    }
    return NULL;
}

int
cs_world_change(struct lab_cloudstack *cs, const json_t *change, struct err **err)
{
    const char *kind = cs_text(change, "kind"), *name = cs_text(change, "name"), *key;
    json_t *array = cs_all(cs, kind), *item, *set = json_object_get(change, "set"), *value;

    bool is_removed = json_is_true(json_object_get(change, "remove"));

    if (!json_is_array(array) || (!json_is_object(set) && !is_removed))
        return err_set(err, E_CONFIG,
                       "a change has a kind (host, storagepool, network ...), a name and what to "
                       "set, or remove");
    item = find_named(array, name);
    if (!item)
        return err_set(err, E_CONFIG, "there is no %s called \"%s\"", kind, name);
    if (is_removed)
        cs_remove(array, item);
    json_object_foreach (set, key, value) {
        if (is_removed)
            break;
        if (json_is_null(value))
            json_object_del(item, key);
        else
            json_object_set(item, key, value);
    }
    return 0;
}

int
cs_world_change_all(struct lab_cloudstack *cs, const json_t *changes, struct err **err)
{
    const json_t *change;
    size_t i;

    json_array_foreach (changes, i, change) {
        if (cs_world_change(cs, change, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- lookups ---------------------------------------------------------------------------------- */

json_t *
cs_all(const struct lab_cloudstack *cs, const char *kind)
{
    return json_object_get(cs->world, kind);
}

json_t *
cs_find(const struct lab_cloudstack *cs, const char *kind, const char *id)
{
    json_t *item;
    size_t i;

    if (!strcmp(kind, "job")) {
        for (i = 0; i < cs->jobs.count; i++)
            if (!strcasecmp(cs->jobs.items[i]->id, id))
                return cs->world; /* any object: it exists */
        return NULL;
    }
    if (!strcmp(kind, "nic")) {
        json_t *vm;

        json_array_foreach (cs_all(cs, "vm"), i, vm) {
            size_t j;

            json_array_foreach (json_object_get(vm, "nic"), j, item) {
                if (!strcasecmp(cs_text(item, "id"), id))
                    return item;
            }
        }
        return NULL;
    }
    json_array_foreach (cs_all(cs, kind), i, item) {
        if (!strcasecmp(cs_text(item, "id"), id))
            return item;
    }
    return NULL;
}

const char *
cs_kind_of_param(const char *command, const char *param)
{
    static const char *const KINDS[][2] = {
        {"zoneid", "zone"},
        {"podid", "pod"},
        {"clusterid", "cluster"},
        {"hostid", "host"},
        {"storageid", "storagepool"},
        {"networkid", "network"},
        {"serviceofferingid", "serviceoffering"},
        {"diskofferingid", "diskoffering"},
        {"ostypeid", "ostype"},
        {"osid", "ostype"},
        {"templateid", "template"},
        {"domainid", "domain"},
        {"projectid", "project"},
        {"virtualmachineid", "vm"},
        {"volumeid", "volume"},
        {"nicid", "nic"},
        {"jobid", "job"},
    };
    static const char *const IDS[][2] = {
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
        {"listTemplates", "template"},
        {"listHypervisorCapabilities", "hypervisorcapability"},
        {"listVlanIpRanges", "vlaniprange"},
    };

    if (strcmp(param, "id")) {
        for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
            if (!strcmp(param, KINDS[i][0]))
                return KINDS[i][1];
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(IDS); i++)
        if (!strcmp(command, IDS[i][0]))
            return IDS[i][1];
    if (strstr(command, "VirtualMachine"))
        return "vm";
    return strstr(command, "Volume") ? "volume" : NULL;
}

/* ---- small things ----------------------------------------------------------------------------- */

int
cs_fail(struct cs_error *error, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);
    error->code = code;
    return -1;
}

const char *
cs_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

void
cs_set_text(json_t *object, const char *key, const char *value)
{
    /* What is not UTF-8 cannot be told in JSON. */
    if (json_object_set_new(object, key, json_string(value)) < 0)
        json_object_set_new(object, key, json_string("?"));
}

void
cs_new_uuid(char ret_id[40])
{
    unsigned char b[16];

    if (RAND_bytes(b, sizeof(b)) != 1)
        abort();
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(ret_id, 40,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

void
cs_format_time(int64_t wall_s, char ret_text[32])
{
    clock_format_utc(wall_s, ret_text);
    (void)snprintf(ret_text + strcspn(ret_text, "Z"), 6, "+0000");
}

json_t *
cs_public(const json_t *object)
{
    json_t *copy = json_deep_copy(object), *value;
    const char *key;
    void *next;

    json_object_foreach_safe(copy, next, key, value)
    {
        if (key[0] == '_')
            json_object_del(copy, key);
    }
    return copy;
}

void
cs_remove(json_t *array, const json_t *item)
{
    for (size_t i = json_array_size(array); i-- > 0;)
        if (json_array_get(array, i) == item)
            json_array_remove(array, i);
}
