#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

#include "base/util.h"
#include "config/spec_parts.h"
#include "config/values.h"

static void
nic_done(struct spec_nic *nic)
{
    free(nic->key);
    free(nic->source_label);
    free(nic->source_network);
    free(nic->source_mac);
    free(nic->network_id);
    free(nic->ip);
}

void
spec_nics_done(struct spec_nics *nics)
{
    for (size_t i = 0; i < nics->count; i++)
        nic_done(&nics->items[i]);
    vec_done(nics);
}

void
spec_nics_copy(struct spec_nics *nics, const struct spec_nics *from)
{
    for (size_t i = 0; i < from->count; i++) {
        struct spec_nic nic = from->items[i];

        nic.key = xstrdup(nic.key);
        nic.source_label = xstrdup(nic.source_label);
        nic.source_network = xstrdup(nic.source_network);
        nic.source_mac = xstrdup(nic.source_mac);
        nic.network_id = xstrdup(nic.network_id);
        nic.ip = xstrdup(nic.ip);
        vec_push(nics, nic);
    }
}

/* The label a NIC is sorted by; "NIC <key>" when it has none. */
static char *
sort_label(const struct spec_nic *nic)
{
    return nic->source_label ? xstrdup(nic->source_label) : xasprintf("NIC %s", nic->key);
}

static int
compare_nics(const void *a, const void *b)
{
    const struct spec_nic *x = a, *y = b;
    CLEANUP(free_charp) char *x_label = sort_label(x), *y_label = sort_label(y);
    int order = (x->source_index > y->source_index) - (x->source_index < y->source_index);

    if (!order)
        order = strcmp(x_label, y_label);
    return order ? order : strcmp(x->key, y->key);
}

/* "auto" is as good as absent. */
static void
decode_ip(const struct node *node, struct spec_nic *nic, struct problems *problems)
{
    struct in_addr address;

    decode_text(node, "ip", &nic->ip, problems);
    if (!nic->ip)
        return;
    if (!strcasecmp(nic->ip, "auto")) {
        free(take(nic->ip));
    } else if (!strcasecmp(nic->ip, SPEC_IP_KEEP)) {
        free(nic->ip);
        nic->ip = xstrdup(SPEC_IP_KEEP);
    } else if (inet_pton(AF_INET, nic->ip, &address) != 1) {
        problems_add(problems, node_get(node, "ip"),
                     "expected keep, auto or an IPv4 address such as 10.1.1.7");
    }
}

static void
decode_nic(const struct node *node, const char *key, struct spec_nic *nic,
           struct problems *problems)
{
    static const char *const keys[] = {
        "source_label",      "source_network", "source_mac", "source_index",
        "source_device_key", "networkid",      "ip",         NULL};

    nic->key = xstrdup(key);
    node_check_keys(node, keys, problems);
    decode_text(node, "source_label", &nic->source_label, problems);
    decode_text(node, "source_network", &nic->source_network, problems);
    decode_text(node, "source_mac", &nic->source_mac, problems);
    node_decode_int(node, "source_device_key", 0, INT32_MAX, &nic->source_device_key, problems);
    node_decode_int(node, "source_index", 0, INT32_MAX, &nic->source_index, problems);
    decode_text(node, "networkid", &nic->network_id, problems);
    decode_ip(node, nic, problems);
}

/* CloudStack has at most one NIC of a VM on a network, and says so only at the very end. */
static void
check_network(const struct spec_nics *nics, const struct spec_nic *nic, const struct node *node,
              struct problems *problems)
{
    for (size_t i = 0; i < nics->count; i++)
        if (!strcasecmp(nics->items[i].network_id, nic->network_id)) {
            problems_add(problems, node,
                         "NIC %s is on that network already, and CloudStack allows one NIC of a "
                         "VM on a network",
                         nics->items[i].key);
            return;
        }
}

void
spec_nics_decode(const struct node *map, struct spec_nics *nics, struct problems *problems)
{
    for (size_t i = 0; map && i < node_count(map); i++) {
        const struct node *node = node_decode_map(map, node_key(map, i), problems);
        struct spec_nic nic = {0};

        if (!node)
            continue;
        decode_nic(node, node_key(map, i), &nic, problems);
        if (!nic.network_id) {
            problems_warn(problems, node, "no networkid: this NIC will not be migrated");
            nic_done(&nic);
            continue;
        }
        check_network(nics, &nic, node_get(node, "networkid"), problems);
        vec_push(nics, nic);
    }
    if (nics->count)
        qsort(nics->items, nics->count, sizeof(nics->items[0]), compare_nics);
}

int
spec_nics_primary(const struct spec_nics *nics)
{
    for (size_t i = 0; i < nics->count; i++)
        if (nics->items[i].source_label &&
            !strcasecmp(nics->items[i].source_label, "Network adapter 1"))
            return (int)i;
    for (size_t i = 0; i < nics->count; i++)
        if (nics->items[i].source_index == 0)
            return (int)i;
    for (size_t i = 0; i < nics->count; i++)
        if (!strcmp(nics->items[i].key, "4000"))
            return (int)i;
    return -1;
}
