/* Rules of NICs, networks and names. */
#include <string.h>
#include <strings.h>

#include "cloudstack/cloudstack.h"
#include "preflight/internal.h"

static void
check_plan(const struct subject *s, struct preflight_findings *f)
{
    const struct preflight_nics *nics = s->nics;
    CLEANUP(err_freep) struct err *error = NULL;

    if (preflight_check_nics(nics, &error) < 0)
        finding_add_error(f, "spec.nics", PREFLIGHT_FAILURE, NULL, error);
    if (!s->vm)
        return;
    for (size_t i = 0; i < nics->count; i++)
        if (!nics->items[i].mac && (i || s->spec->primary_nic >= 0))
            finding_add(
                f, "spec.nics", PREFLIGHT_WARNING,
                "use the device key (4000...) or the label (\"Network adapter 1\") of a NIC",
                "NIC %s of nic_mappings matches no NIC of the VM; it gets a new MAC "
                "address",
                nics->items[i].key);
    if (nics->count < s->vm->nics.count)
        finding_add(f, "spec.nics", PREFLIGHT_WARNING,
                    "map the others in nic_mappings, if the guest needs them",
                    "the VM has %zu NICs, %zu of them are mapped to networks", s->vm->nics.count,
                    nics->count);
}

/* ---- one network ------------------------------------------------------------------------------ */

static bool
is_usable_state(const char *state)
{
    return !*state || !strcasecmp(state, "Allocated") || !strcasecmp(state, "Setup") ||
           !strcasecmp(state, "Implementing") || !strcasecmp(state, "Implemented");
}

/* Whether the VM's owner may use a network that belongs to one account or project. */
static bool
is_of_other_owner(const struct config_target *target, const json_t *network)
{
    const char *account = fact_text(network, "account");
    const char *project = fact_text(network, "projectid");

    if (!strcasecmp(fact_text(network, "acltype"), "Domain"))
        return false;
    if (target->project_id)
        return *project && !fact_same_id(project, target->project_id);
    return target->account && (*project || (*account && strcmp(account, target->account) != 0));
}

static void
judge_network(const struct subject *s, const json_t *network, struct preflight_findings *f)
{
    const char *name = fact_text(network, "name");

    if (*fact_text(network, "zoneid") &&
        !fact_same_id(fact_text(network, "zoneid"), s->spec->target.zone_id))
        finding_add(f, "target.network", PREFLIGHT_FAILURE, "name a network of the spec's zone",
                    "network %s is in zone %s", name, fact_text(network, "zonename"));
    else if (fact_is_true(network, "issystem"))
        finding_add(f, "target.network", PREFLIGHT_FAILURE, "name a guest network",
                    "network %s is for system VMs", name);
    else if (!is_usable_state(fact_text(network, "state")))
        finding_add(f, "target.network", PREFLIGHT_FAILURE, "name another network",
                    "network %s is %s", name, fact_text(network, "state"));
    else if (fact_is_false(network, "canusefordeploy"))
        finding_add(f, "target.network", PREFLIGHT_WARNING, "name another network",
                    "CloudStack says that network %s cannot be used for new VMs", name);
    else if (is_of_other_owner(&s->spec->target, network))
        finding_add(f, "target.network", PREFLIGHT_WARNING,
                    "name a network of the VM's owner, or a shared one",
                    "network %s belongs to %s %s", name,
                    *fact_text(network, "projectid") ? "project" : "account",
                    *fact_text(network, "projectid") ? fact_text(network, "project")
                                                     : fact_text(network, "account"));
    else
        finding_add(f, "target.network", PREFLIGHT_PASS, NULL, "%s (%s)", name,
                    fact_text(network, "type"));
}

static void
check_network(const struct subject *s, const json_t *facts, const struct preflight_nic *nic,
              struct preflight_findings *f)
{
    const char *unread = fact_unread(facts, "network");
    const json_t *network;

    switch (fact_find(facts, "network", nic->network_id, &network)) {
    case FACT_THERE:
        judge_network(s, network, f);
        break;
    case FACT_ABSENT:
        finding_add(f, "target.network", PREFLIGHT_FAILURE, "correct networkid in the spec",
                    "NIC %s: CloudStack knows no networkid %s", nic->key, nic->network_id);
        break;
    case FACT_UNKNOWN:
        if (unread)
            finding_add(f, "target.network", PREFLIGHT_WARNING, NULL,
                        "networkid %s could not be looked up: %s", nic->network_id, unread);
        break;
    }
}

/* ---- addresses and names ---------------------------------------------------------------------- */

/* The VM's name if one of its NICs on that network has the address, else NULL. */
static const char *
holder_of_mac(const json_t *vm, const struct preflight_nic *nic)
{
    const json_t *other;
    size_t i;

    json_array_foreach (json_object_get(vm, "nic"), i, other) {
        if (fact_same_id(fact_text(other, "networkid"), nic->network_id) &&
            !strcasecmp(fact_text(other, "macaddress"), nic->mac))
            return *fact_text(vm, "displayname") ? fact_text(vm, "displayname")
                                                 : fact_text(vm, "name");
    }
    return NULL;
}

static void
check_mac(const struct subject *s, const json_t *facts, const struct preflight_nic *nic,
          bool is_first, struct preflight_findings *f)
{
    const json_t *vms, *vm;
    bool is_sent = !is_first || s->spec->import_method == CONFIG_IMPORT_SHELL ||
                   fact_knows_param(facts, "importVm", "macaddress") ||
                   import_uses_placeholder(s, facts);
    size_t i;

    if (!nic->mac || !*nic->mac)
        return;
    if (!is_sent && json_object_get(facts, "apis")) {
        finding_add(f, "target.mac", PREFLIGHT_WARNING,
                    "set import_method: shell or placeholder_networkid to keep it; or see to what "
                    "depends on it: DHCP reservations, licences, udev rules",
                    "NIC %s gets a new MAC address: importVm of this server cannot be told %s",
                    nic->key, nic->mac);
        return;
    }
    (void)fact_find(facts, "vms", nic->network_id, &vms);
    json_array_foreach (vms, i, vm) {
        const char *holder = holder_of_mac(vm, nic);

        if (!holder || fact_same_id(fact_text(vm, "id"), s->imported_vm_id))
            continue;
        finding_add(f, "target.mac", PREFLIGHT_FAILURE,
                    "remove that VM's NIC, or map this NIC to another network",
                    "MAC address %s is in use on that network by VM %s", nic->mac, holder);
        return;
    }
    finding_add(f, "target.mac", PREFLIGHT_PASS, NULL, "NIC %s keeps %s", nic->key, nic->mac);
}

static void
check_name(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    CLEANUP(free_charp) char *host_name = cloudstack_host_name(s->vm->name);

    for (size_t n = 0; n < s->nics->count; n++) {
        const json_t *vms, *vm;
        size_t i;

        (void)fact_find(facts, "vms", s->nics->items[n].network_id, &vms);
        json_array_foreach (vms, i, vm) {
            if (strcasecmp(fact_text(vm, "name"), host_name) != 0 ||
                fact_same_id(fact_text(vm, "id"), s->imported_vm_id))
                continue;
            finding_add(f, "target.name",
                        s->spec->import_method == CONFIG_IMPORT_SHELL ? PREFLIGHT_FAILURE
                                                                      : PREFLIGHT_WARNING,
                        "rename one of the two, or see that it is not this VM, migrated before",
                        "a VM with the host name %s is on the network already (%s)", host_name,
                        fact_text(vm, "id"));
            return;
        }
    }
    finding_add(f, "target.name", PREFLIGHT_PASS, NULL, "%s", host_name);
}

static void
check_vm_lists(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const char *unread = fact_unread(facts, "vms");

    if (unread)
        finding_add(f, "target.name", PREFLIGHT_WARNING, NULL,
                    "whether name and MAC addresses are free cannot be told: %s", unread);
    for (size_t i = 0; i < s->nics->count; i++)
        check_mac(s, facts, &s->nics->items[i], i == 0, f);
    if (!unread && s->vm)
        check_name(s, facts, f);
}

void
target_network_rules(const struct subject *s, const json_t *facts,
                     struct preflight_findings *findings)
{
    check_plan(s, findings);
    for (size_t i = 0; i < s->nics->count; i++)
        check_network(s, facts, &s->nics->items[i], findings);
    check_vm_lists(s, facts, findings);
}
