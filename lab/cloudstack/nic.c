/* NICs: their addresses, and the rules of addNicToVirtualMachine. */
#include "cloudstack/cs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>
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

/* "10.1.1.0/24" to its base and its mask; false when there is none. */
static bool
parse_cidr(const char *cidr, uint32_t *ret_base, uint32_t *ret_mask)
{
    CLEANUP(free_charp) char *text = xstrdup(cidr);
    char *slash = strchr(text, '/');
    struct in_addr base;
    long bits = slash ? strtol(slash + 1, NULL, 10) : -1;

    if (bits < 1 || bits > 32)
        return false;
    *slash = '\0';
    if (inet_pton(AF_INET, text, &base) != 1)
        return false;
    *ret_mask = (uint32_t)(0xffffffffULL << (32 - bits));
    *ret_base = ntohl(base.s_addr) & *ret_mask;
    return true;
}

static bool
is_address_taken(const struct lab_cloudstack *cs, const json_t *network, const char *address)
{
    const json_t *vm, *nic;
    size_t i, j;

    if (!strcmp(cs_text(network, "gateway"), address))
        return true;
    json_array_foreach (cs_all(cs, "vm"), i, vm) {
        json_array_foreach (json_object_get(vm, "nic"), j, nic) {
            if (!strcmp(cs_text(nic, "networkid"), cs_text(network, "id")) &&
                !strcmp(cs_text(nic, "ipaddress"), address))
                return true;
        }
    }
    return false;
}

/* A shared network gives out what its ranges have. */
static bool
is_in_ranges(const struct lab_cloudstack *cs, const json_t *network, uint32_t ip)
{
    const json_t *range;
    size_t i;

    if (strcmp(cs_text(network, "type"), "Shared") != 0)
        return true;
    json_array_foreach (cs_all(cs, "vlaniprange"), i, range) {
        struct in_addr first, last;

        if (!strcmp(cs_text(range, "networkid"), cs_text(network, "id")) &&
            inet_pton(AF_INET, cs_text(range, "startip"), &first) == 1 &&
            inet_pton(AF_INET, cs_text(range, "endip"), &last) == 1 && ip >= ntohl(first.s_addr) &&
            ip <= ntohl(last.s_addr))
            return true;
    }
    return false;
}

int
cs_check_address(const struct lab_cloudstack *cs, const json_t *network, const char *address,
                 struct cs_error *error)
{
    uint32_t base, mask;
    struct in_addr ip;

    /* A network without addresses gives none, whatever is asked for. */
    if (!address || !parse_cidr(cs_text(network, "cidr"), &base, &mask))
        return 0;
    if (inet_pton(AF_INET, address, &ip) != 1)
        return cs_fail(error, CS_PARAM, "Invalid format for IP address parameter: %s", address);
    if ((ntohl(ip.s_addr) & mask) != base || !is_in_ranges(cs, network, ntohl(ip.s_addr)) ||
        is_address_taken(cs, network, address))
        return cs_fail(error, 533, "Unable to acquire Guest IP  address for network %s",
                       cs_text(network, "name"));
    return 0;
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
    do {
        free(made);
        made = xasprintf("%.*s.%u", length, cidr, 10 + cs->next_addr++ % 240);
    } while (!address && is_address_taken(cs, network, made));
    cs_set_text(nic, "ipaddress", address ? address : made);
    cs_set_text(nic, "gateway", cs_text(network, "gateway"));
    cs_set_text(nic, "netmask", cs_text(network, "netmask"));
}

static void
set_device(json_t *nic, size_t device)
{
    /* A string in the real answers too. */
    cs_set_text(nic, "deviceid", (char[]){(char)('0' + device % 10), '\0'});
}

static size_t
device_of(const json_t *nic)
{
    return (size_t)(cs_text(nic, "deviceid")[0] - '0');
}

/* The lowest that no NIC has. */
static size_t
free_device(const json_t *nics)
{
    for (size_t device = 0;; device++) {
        const json_t *nic;
        bool is_used = false;
        size_t i;

        json_array_foreach (nics, i, nic) {
            is_used = is_used || device_of(nic) == device;
        }
        if (!is_used)
            return device;
    }
}

/* Lists tell NICs in the order of their devices. */
static void
insert_by_device(json_t *nics, json_t *nic)
{
    size_t at = 0;

    while (at < json_array_size(nics) && device_of(json_array_get(nics, at)) < device_of(nic))
        at++;
    json_array_insert_new(nics, at, nic);
}

void
cs_nic_add(struct lab_cloudstack *cs, json_t *vm, const json_t *network, const char *mac,
           const char *address)
{
    json_t *nics = json_object_get(vm, "nic"), *nic;
    size_t device = free_device(nics);
    char id[40], made[18];

    cs_new_uuid(id);
    if (!mac || !cs_is_mac(mac)) {
        make_mac(made);
        mac = made;
    }
    nic = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "id", id, "networkid",
                    cs_text(network, "id"), "networkname", cs_text(network, "name"), "macaddress",
                    mac, "type", cs_text(network, "type"), "traffictype", "Guest", "broadcasturi",
                    cs_text(network, "broadcasturi"), "isdefault", json_array_size(nics) == 0);
    cs_set_text(nic, "virtualmachineid", cs_text(vm, "id"));
    set_device(nic, device);
    set_address(cs, nic, network, address);
    insert_by_device(nics, nic);
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
    if (cs_check_address(cs, network, cs_get(rq, "ipaddress"), error) < 0)
        return -1;
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
cs_update_default_nic(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                      struct cs_error *error)
{
    json_t *vm = cs_find(cs, "vm", cs_get(rq, "virtualmachineid"));
    json_t *nic = cs_find(cs, "nic", cs_get(rq, "nicid")), *nics, *other;
    size_t device, i;

    if (!vm || !nic || strcmp(cs_text(nic, "virtualmachineid"), cs_text(vm, "id")))
        return cs_fail(error, CS_PARAM, "The NIC does not belong to the virtual machine");
    if (json_is_true(json_object_get(nic, "isdefault")))
        return cs_fail(error, CS_PARAM,
                       "cannot update default network because nic %s is already "
                       "the default",
                       cs_text(nic, "id"));
    nics = json_object_get(vm, "nic");
    device = device_of(nic);
    json_array_foreach (nics, i, other) {
        if (json_is_true(json_object_get(other, "isdefault")) && other != nic) {
            set_device(nic, device_of(other));
            set_device(other, device);
            json_object_set_new(other, "isdefault", json_false());
        }
    }
    json_object_set_new(nic, "isdefault", json_true());
    nics = json_array();
    json_array_foreach (json_object_get(vm, "nic"), i, other) {
        insert_by_device(nics, json_incref(other));
    }
    json_object_set_new(vm, "nic", nics);
    *ret = cs_vm_result(vm);
    return 0;
}

int
cs_update_nic_ip(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                 struct cs_error *error)
{
    json_t *nic = cs_find(cs, "nic", cs_get(rq, "nicid"));
    json_t *vm = nic ? cs_find(cs, "vm", cs_text(nic, "virtualmachineid")) : NULL;
    const json_t *network = nic ? cs_find(cs, "network", cs_text(nic, "networkid")) : NULL;
    const char *address = cs_get(rq, "ipaddress");

    if (!vm || !network)
        return cs_fail(error, CS_PARAM, "There is no nic with id %s", cs_get(rq, "nicid"));
    if (strcmp(cs_text(vm, "state"), "Stopped") != 0)
        return cs_fail(error, CS_PARAM, "VM is not Stopped, unable to update the vm nic");
    if (!strcmp(cs_text(network, "type"), "L2") || !address)
        return cs_fail(error, CS_PARAM, "UpdateVmNicIpCmd is not supported in L2 network");
    if (cs_check_address(cs, network, address, error) < 0)
        return -1;
    cs_set_text(nic, "ipaddress", address);
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
