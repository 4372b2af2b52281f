/* Rules of IP addresses that are to be kept or given. */
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

#include "preflight/internal.h"

static bool
parse_ip(const char *text, uint32_t *ret_ip)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1)
        return false;
    *ret_ip = ntohl(address.s_addr);
    return true;
}

/* "10.1.1.0/24"; false for what is no such thing. */
static bool
parse_cidr(const char *cidr, uint32_t *ret_base, uint32_t *ret_mask)
{
    CLEANUP(free_charp) char *text = xstrdup(cidr);
    char *slash = strchr(text, '/');
    long bits = slash ? strtol(slash + 1, NULL, 10) : 0;

    if (bits < 1 || bits > 32)
        return false;
    *slash = '\0';
    *ret_mask = (uint32_t)(0xffffffffULL << (32 - bits));
    if (!parse_ip(text, ret_base))
        return false;
    *ret_base &= *ret_mask;
    return true;
}

/* The VM that has the address on that network, NULL: none. */
static const json_t *
holder_of(const json_t *facts, const struct preflight_nic *nic, const char *own_id)
{
    const json_t *vms, *vm, *other;
    size_t i, k;

    (void)fact_find(facts, "vms", nic->network_id, &vms);
    json_array_foreach (vms, i, vm) {
        if (fact_same_id(fact_text(vm, "id"), own_id))
            continue;
        json_array_foreach (json_object_get(vm, "nic"), k, other) {
            if (fact_same_id(fact_text(other, "networkid"), nic->network_id) &&
                !strcmp(fact_text(other, "ipaddress"), nic->ip))
                return vm;
        }
    }
    return NULL;
}

/* Whether one of the ranges has the address; true where there are none, or of IPv6 only. */
static bool
is_in_ranges(const json_t *ranges, uint32_t ip)
{
    size_t i, known = 0;
    const json_t *range;

    json_array_foreach (ranges, i, range) {
        uint32_t first, last;

        if (!parse_ip(fact_text(range, "startip"), &first) ||
            !parse_ip(fact_text(range, "endip"), &last))
            continue;
        known++;
        if (ip >= first && ip <= last)
            return true;
    }
    return known == 0;
}

/* Why the network @name cannot give that address, owned; NULL: it can. */
static char *
fault_of(const struct subject *s, const json_t *facts, const struct preflight_nic *nic,
         const json_t *network)
{
    const char *cidr = fact_text(network, "cidr"), *name = fact_text(network, "name");
    const json_t *holder = holder_of(facts, nic, s->imported_vm_id);
    const json_t *ranges;
    uint32_t base, mask, ip;

    if (!parse_ip(nic->ip, &ip) || !parse_cidr(cidr, &base, &mask))
        return NULL;
    if ((ip & mask) != base)
        return xasprintf("it is not in %s of network %s", cidr, name);
    if (mask != 0xffffffff && (ip == base || ip == (base | ~mask)))
        return xasprintf("it is no host's address in %s of network %s", cidr, name);
    if (!strcmp(fact_text(network, "gateway"), nic->ip))
        return xasprintf("it is the gateway of network %s", name);
    (void)fact_find(facts, "ranges", nic->network_id, &ranges);
    if (!is_in_ranges(ranges, ip))
        return xasprintf("it is in none of the address ranges of the shared network %s", name);
    if (holder)
        return xasprintf("the VM %s has it on network %s",
                         *fact_text(holder, "displayname") ? fact_text(holder, "displayname")
                                                           : fact_text(holder, "name"),
                         name);
    return NULL;
}

/* importVm of the releases cannot be told the address of its NIC; then a command of its own can. */
bool
address_can_be_told(const struct subject *s, const json_t *facts, bool is_first)
{
    const json_t *apis = json_object_get(facts, "apis");

    return !is_first || !apis || s->spec->import_method == CONFIG_IMPORT_SHELL ||
           fact_knows_param(facts, "importVm", "ipaddress") ||
           json_object_get(apis, "updateVmNicIp");
}

static bool
are_ranges_unknown(const json_t *facts, const struct preflight_nic *nic, const json_t *network)
{
    const json_t *ranges;

    return !strcasecmp(fact_text(network, "type"), "Shared") && fact_unread(facts, "ranges") &&
           fact_find(facts, "ranges", nic->network_id, &ranges) != FACT_THERE;
}

static void
check_ip(const struct subject *s, const json_t *facts, const struct preflight_nic *nic,
         bool is_first, struct preflight_findings *f)
{
    CLEANUP(free_charp) char *fault = NULL;
    const json_t *network;

    if (!nic->ip) {
        if (nic->keeps_ip && s->vm)
            finding_add(f, "target.ip", PREFLIGHT_WARNING,
                        "start VMware Tools in the guest, or write the address into the spec",
                        "NIC %s is to keep its address, and VMware Tools tell none: CloudStack "
                        "chooses unless they tell it before the cutover",
                        nic->key);
        return;
    }
    if (fact_find(facts, "network", nic->network_id, &network) != FACT_THERE)
        return;
    if (!*fact_text(network, "cidr")) {
        finding_add(f, "target.ip", PREFLIGHT_PASS, NULL,
                    "NIC %s: network %s gives out no addresses, the guest's own %s stays", nic->key,
                    fact_text(network, "name"), nic->ip);
        return;
    }
    fault = fault_of(s, facts, nic, network);
    if (fault)
        finding_add(f, "target.ip", PREFLIGHT_FAILURE,
                    "map the NIC to the network of that address, free it, or set ip: auto",
                    "NIC %s cannot have %s: %s", nic->key, nic->ip, fault);
    else if (!address_can_be_told(s, facts, is_first))
        finding_add(f, "target.ip", PREFLIGHT_WARNING, "set import_method: shell",
                    "NIC %s gets another address than %s: this server cannot be told", nic->key,
                    nic->ip);
    else if (are_ranges_unknown(facts, nic, network))
        finding_add(f, "target.ip", PREFLIGHT_WARNING,
                    "see that one of the network's ranges has it",
                    "NIC %s: whether shared network %s gives out %s cannot be told: %s", nic->key,
                    fact_text(network, "name"), nic->ip, fact_unread(facts, "ranges"));
    else
        finding_add(f, "target.ip", PREFLIGHT_PASS, NULL, "NIC %s has %s", nic->key, nic->ip);
}

void
target_address_rules(const struct subject *s, const json_t *facts,
                     struct preflight_findings *findings)
{
    for (size_t i = 0; i < s->nics->count; i++) {
        const struct preflight_nic *nic = &s->nics->items[i];

        check_ip(s, facts, nic, i == 0, findings);
        for (size_t k = 0; k < i; k++)
            if (nic->ip && s->nics->items[k].ip && !strcmp(nic->ip, s->nics->items[k].ip))
                finding_add(findings, "target.ip", PREFLIGHT_WARNING,
                            "give one of the two another address, or set ip: auto",
                            "NIC %s and NIC %s of the VM both are to have %s",
                            s->nics->items[k].key, nic->key, nic->ip);
    }
}
