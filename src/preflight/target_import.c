/* Rules of the two ways to import: the commands they need, what `shell` deploys, the placeholder. */
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

static bool
is_shell(const struct subject *s)
{
    return s->spec->import_method == CONFIG_IMPORT_SHELL;
}

bool
import_uses_placeholder(const struct subject *s, const json_t *facts)
{
    return s->spec->target.placeholder_network_id && !is_shell(s) && s->nics->count &&
           s->nics->items[0].mac && json_object_get(facts, "apis") &&
           !fact_knows_param(facts, "importVm", "macaddress");
}

/* ---- commands --------------------------------------------------------------------------------- */

static void
need(const json_t *facts, const char *command, struct str *missing)
{
    if (!json_object_get(json_object_get(facts, "apis"), command))
        str_appendf(missing, "%s%s", missing->length ? ", " : "", command);
}

static void
need_all(const json_t *facts, const char *const *commands, size_t count, struct str *missing)
{
    for (size_t i = 0; i < count; i++)
        need(facts, commands[i], missing);
}

void
import_needed_commands(const struct subject *s, const json_t *facts, struct str *missing)
{
    static const char *const shell[] = {"deployVirtualMachine", "detachVolume", "deleteVolume",
                                        "importVolume",         "attachVolume", "listTemplates"};
    static const char *const placeholder[] = {"updateDefaultNicForVirtualMachine",
                                              "removeNicFromVirtualMachine"};
    const struct config_target *target = &s->spec->target;

    if (is_shell(s)) {
        need_all(facts, shell, ARRAY_SIZE(shell), missing);
    } else {
        if (s->disks->count > 1) {
            need(facts, "importVolume", missing);
            need(facts, "attachVolume", missing);
        }
        if (s->nics->count > 1 || import_uses_placeholder(s, facts))
            need(facts, "addNicToVirtualMachine", missing);
        if (import_uses_placeholder(s, facts))
            need_all(facts, placeholder, ARRAY_SIZE(placeholder), missing);
    }
    if (s->spec->start_vm_after_import)
        need(facts, "startVirtualMachine", missing);
    if (target->os_type_id || target->root_disk_controller || target->nic_adapter ||
        (s->vm && preflight_uefi_mode(s->spec, s->vm)))
        need(facts, "updateVirtualMachine", missing);
}

/* ---- the rest --------------------------------------------------------------------------------- */

static void
check_tags(const json_t *facts, struct preflight_findings *f)
{
    const json_t *apis = json_object_get(facts, "apis");

    if (apis && !json_object_get(apis, "createTags"))
        finding_add(f, "target.tags", PREFLIGHT_WARNING, "allow the account createTags",
                    "the account may not create tags: the VM will not say where it came from");
}

/* The ids of what is made are ours to choose: else a lost answer could mean two VMs. */
static void
check_deploy(const json_t *facts, struct preflight_findings *f)
{
    static const char *const params[] = {"customid", "startvm", "iptonetworklist"};

    if (!json_object_get(json_object_get(facts, "apis"), "deployVirtualMachine"))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(params); i++)
        if (!fact_knows_param(facts, "deployVirtualMachine", params[i]))
            finding_add(f, "target.shell", PREFLIGHT_FAILURE, "set import_method: importvm",
                        "deployVirtualMachine of this server does not take %s", params[i]);
}

static void
check_template(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const char *unread = fact_unread(facts, "template"), *wanted = s->spec->target.template_id;
    const json_t *templates, *found;

    if (fact_find(facts, "template", s->spec->target.zone_id, &templates) != FACT_THERE) {
        if (unread)
            finding_add(f, "target.template", PREFLIGHT_WARNING, "allow the account listTemplates",
                        "the templates could not be looked up: %s", unread);
        return;
    }
    found = template_choose(s->spec, templates);
    if (!found && wanted)
        finding_add(f, "target.template", PREFLIGHT_FAILURE, "correct templateid in the spec",
                    "CloudStack knows no templateid %s for KVM in the zone", wanted);
    else if (!found)
        finding_add(f, "target.template", PREFLIGHT_FAILURE,
                    "register a template of any size, public if the VM is for another account, or "
                    "set templateid; or import_method: importvm",
                    "no template for KVM is ready in the zone, and a VM cannot be deployed without "
                    "one");
    else if (!fact_is_true(found, "isready"))
        finding_add(f, "target.template", PREFLIGHT_FAILURE, "name one that is ready",
                    "template %s is not ready in the zone", fact_text(found, "name"));
    else
        finding_add(f, "target.template", PREFLIGHT_PASS, NULL, "%s", fact_text(found, "name"));
}

static void
check_placeholder(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const char *id = s->spec->target.placeholder_network_id;
    const json_t *network;

    if (!import_uses_placeholder(s, facts))
        return;
    for (size_t i = 0; i < s->nics->count; i++)
        if (fact_same_id(s->nics->items[i].network_id, id)) {
            finding_add(f, "target.placeholder", PREFLIGHT_FAILURE,
                        "name an L2 network that no NIC is mapped to",
                        "the placeholder network is that of NIC %s", s->nics->items[i].key);
            return;
        }
    if (fact_find(facts, "network", id, &network) == FACT_ABSENT)
        finding_add(f, "target.placeholder", PREFLIGHT_FAILURE,
                    "correct placeholder_networkid in the spec",
                    "CloudStack knows no placeholder_networkid %s", id);
    else if (!network)
        return;
    else if (*fact_text(network, "zoneid") &&
             !fact_same_id(fact_text(network, "zoneid"), s->spec->target.zone_id))
        finding_add(f, "target.placeholder", PREFLIGHT_FAILURE, "name a network of the spec's zone",
                    "placeholder network %s is in zone %s", fact_text(network, "name"),
                    fact_text(network, "zonename"));
    else if (strcasecmp(fact_text(network, "type"), "L2") != 0)
        finding_add(f, "target.placeholder", PREFLIGHT_WARNING, "name an L2 network",
                    "placeholder network %s is %s: the VM takes one of its addresses for a moment",
                    fact_text(network, "name"), fact_text(network, "type"));
    else
        finding_add(f, "target.placeholder", PREFLIGHT_PASS, NULL, "%s",
                    fact_text(network, "name"));
}

void
target_import_rules(const struct subject *s, const json_t *facts,
                    struct preflight_findings *findings)
{
    check_tags(facts, findings);
    check_placeholder(s, facts, findings);
    if (!is_shell(s))
        return;
    check_deploy(facts, findings);
    check_template(s, facts, findings);
}
