#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "migration/internal.h"

/* The source NIC a mapping speaks of: by device key (its own or the map's key), else by label. */
static const struct vsphere_nic *
source_nic(const struct migration *m, const struct spec_nic *mapping)
{
    for (size_t i = 0; i < m->vm.nics.count; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%" PRId32, m->vm.nics.items[i].key);
        if (mapping->source_device_key == m->vm.nics.items[i].key ||
            (mapping->key && !strcmp(mapping->key, key)))
            return &m->vm.nics.items[i];
    }
    for (size_t i = 0; mapping->source_label && i < m->vm.nics.count; i++)
        if (m->vm.nics.items[i].label &&
            !strcasecmp(m->vm.nics.items[i].label, mapping->source_label))
            return &m->vm.nics.items[i];
    return NULL;
}

static struct migration_nic
mapped_nic(const struct migration *m, size_t index)
{
    const struct spec_nic *mapping = &m->spec->nics.items[index];
    const struct vsphere_nic *source = source_nic(m, mapping);

    return (struct migration_nic){
        .key = mapping->key,
        .network_id = mapping->network_id,
        .mac = source ? source->mac : NULL,
    };
}

static int
check_networks(const struct migration_nics *nics, struct err **err)
{
    for (size_t i = 0; i < nics->count; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcasecmp(nics->items[i].network_id, nics->items[j].network_id)) {
                err_set(err, E_CONFIG, "two NICs (%s and %s) on network %s", nics->items[j].key,
                        nics->items[i].key, nics->items[i].network_id);
                return err_hint(err,
                                "CloudStack allows one NIC of a VM on a network; map one of them "
                                "to another, or leave it out of nic_mappings");
            }
    return 0;
}

int
migration_plan_nics(const struct migration *m, struct migration_nics *ret_nics, struct err **err)
{
    struct migration_nics nics = {0};
    int primary = m->spec->primary_nic;

    if (primary >= 0) {
        vec_push(&nics, mapped_nic(m, (size_t)primary));
    } else {
        struct migration_nic first = {.key = "primary", .network_id = m->spec->target.network_id};

        if (m->spec->nics.count == 0 && m->vm.nics.count)
            first.mac = m->vm.nics.items[0].mac;
        vec_push(&nics, first);
    }
    for (size_t i = 0; i < m->spec->nics.count; i++) {
        if ((int)i == primary)
            continue;
        vec_push(&nics, mapped_nic(m, i));
        if (!nics.items[nics.count - 1].mac)
            log_warning(
                "NIC %s of nic_mappings matches no NIC of the VM; it gets a new MAC address",
                nics.items[nics.count - 1].key);
    }
    if (check_networks(&nics, err) < 0) {
        vec_done(&nics);
        return -1;
    }
    if (nics.count < m->vm.nics.count)
        log_warning("the VM has %zu NICs, %zu of them are mapped to networks", m->vm.nics.count,
                    nics.count);
    *ret_nics = nics;
    return 0;
}
