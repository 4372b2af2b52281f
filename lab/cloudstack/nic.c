/* NICs: their addresses, and the rules of addNicToVirtualMachine. */
#include "cloudstack/cs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/rand.h>

bool
cs_is_mac(const char *mac)
{
    if (strlen(mac) != 17)
        return false;
    for (int i = 0; i < 17; i++)
        if (i % 3 == 2 ? mac[i] != ':' : !isxdigit((unsigned char)mac[i]))
            return false;
    /* A group address cannot be a NIC's. */
    return !(strtoul((char[]){mac[0], mac[1], '\0'}, NULL, 16) & 1);
}

bool
cs_mac_is_taken(const struct lab_cloudstack *cs, const char *network_id, const char *mac)
{
    json_t *vm, *nic;
    size_t i, j;

    json_array_foreach (cs_all(cs, "vm"), i, vm) {
        json_array_foreach (json_object_get(vm, "nic"), j, nic) {
            if (!strcmp(cs_text(nic, "networkid"), network_id) &&
                !strcasecmp(cs_text(nic, "macaddress"), mac))
                return true;
        }
    }
    return false;
}

static void
make_mac(char ret_mac[18])
{
    unsigned char b[4];

    if (RAND_bytes(b, sizeof(b)) != 1)
        abort();
    (void)snprintf(ret_mac, 18, "02:01:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3]);
}

static void
set_address(struct lab_cloudstack *cs, json_t *nic, const json_t *network, const char *address)
{
    const char *cidr = cs_text(network, "cidr");
    CLEANUP(free_charp) char *made = NULL;
    int length = 0;

    if (!*cidr)
        return;
    for (const char *c = cidr; *c && *c != '/'; c++)
        if (*c == '.')
            length = (int)(c - cidr);
    made = xasprintf("%.*s.%u", length, cidr, 10 + cs->next_addr++ % 240);
    cs_set_text(nic, "ipaddress", address ? address : made);
    cs_set_text(nic, "gateway", cs_text(network, "gateway"));
    cs_set_text(nic, "netmask", cs_text(network, "netmask"));
}

void
cs_nic_add(struct lab_cloudstack *cs, json_t *vm, const json_t *network, const char *mac,
           const char *address)
{
    json_t *nics = json_object_get(vm, "nic"), *nic;
    size_t device = json_array_size(nics);
    char id[40], made[18];

    cs_new_uuid(id);
    if (!mac || !cs_is_mac(mac)) {
        make_mac(made);
        mac = made;
    }
    nic = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "id", id, "networkid",
                    cs_text(network, "id"), "networkname", cs_text(network, "name"), "macaddress",
                    mac, "type", cs_text(network, "type"), "traffictype", "Guest", "broadcasturi",
                    cs_text(network, "broadcasturi"), "isdefault", device == 0);
    cs_set_text(nic, "virtualmachineid", cs_text(vm, "id"));
    /* A string in the real answers too. */
    cs_set_text(nic, "deviceid", (char[]){(char)('0' + device % 10), '\0'});
    set_address(cs, nic, network, address);
    json_array_append_new(nics, nic);
}

int
cs_add_nic(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
           struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "virtualmachineid"));
    json_t *network = cs_find(cs, "network", cs_get(rq, "networkid")), *nic;
    const char *mac = cs_get(rq, "macaddress");
    size_t i;

    if (!vm || !network)
        return cs_fail(error, CS_PARAM, "unable to find a virtual machine or network by id");
    json_array_foreach (json_object_get(vm, "nic"), i, nic) {
        if (!strcmp(cs_text(nic, "networkid"), cs_text(network, "id")))
            return cs_fail(error, CS_INTERNAL, "A NIC already exists for VM:%s in network: %s",
                           cs_text(vm, "instancename"), cs_text(network, "id"));
    }
    if (mac && cs_is_mac(mac) && cs_mac_is_taken(cs, cs_text(network, "id"), mac))
        return cs_fail(error, CS_INTERNAL, "A NIC with this MAC address exists for network: %s",
                       cs_text(network, "id"));
    if (json_array_size(json_object_get(vm, "nic")) >= 10)
        return cs_fail(error, CS_INTERNAL, "The lab gives a VM at most 10 NICs");
    cs_nic_add(cs, vm, network, mac, cs_get(rq, "ipaddress"));
    *ret = cs_vm_result(vm);
    return 0;
}

int
cs_remove_nic(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
              struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "virtualmachineid"));
    json_t *nic = cs_find(cs, "nic", cs_get(rq, "nicid"));

    if (!vm || !nic || strcmp(cs_text(nic, "virtualmachineid"), cs_text(vm, "id")))
        return cs_fail(error, CS_PARAM, "The NIC does not belong to the virtual machine");
    if (json_is_true(json_object_get(nic, "isdefault")))
        return cs_fail(error, CS_INTERNAL, "Unable to remove nic from %s, nic is default.",
                       cs_text(vm, "instancename"));
    cs_remove(json_object_get(vm, "nic"), nic);
    *ret = cs_vm_result(vm);
    return 0;
}

int
cs_list_nics(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
             struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "virtualmachineid")), *nics = json_array(), *nic;
    const char *id = cs_get(rq, "nicid");
    size_t i;
    int result;

    json_array_foreach (json_object_get(vm, "nic"), i, nic) {
        if (!id || !strcasecmp(id, cs_text(nic, "id")))
            json_array_append(nics, nic);
    }
    result = cs_list(cs, rq, "nic", nics, ret, error);
    json_decref(nics);
    return result;
}
