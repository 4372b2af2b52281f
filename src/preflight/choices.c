/* What is chosen for a VM where its spec leaves it open: asked of CloudStack, the same for the checks and
 * for the migration. */
#include <string.h>
#include <strings.h>

#include "cloudstack/cloudstack.h"
#include "preflight/internal.h"

static void
json_freep(json_t **json)
{
    json_decref(*json);
}

/* ---- the OS type ------------------------------------------------------------------------------ */

/* A server that has no such list, or does not let us see it, has no mapping. */
static int
read_mappings(struct cloudstack *cs, const char *guest_id, json_t **ret_mappings, struct err **err)
{
    struct cloudstack_params params = {0};
    struct err *failure = NULL;
    int result;

    vec_push(&params, ((struct cloudstack_param){"hypervisor", "VMware"}));
    vec_push(&params, ((struct cloudstack_param){"osnameforhypervisor", guest_id}));
    result = cloudstack_list(cs, "listGuestOsMapping", &params, ret_mappings, &failure);
    vec_done(&params);
    if (result == 0)
        return 0;
    if (err_code(failure) == E_CANCELLED || err_class(failure) == ERR_CLASS_RETRY)
        return err_move(err, &failure);
    err_free(failure);
    *ret_mappings = json_array();
    return 0;
}

/* The filter by name is of later servers; earlier ones answer with every mapping. */
static void
drop_others(json_t *mappings, const char *guest_id)
{
    for (size_t i = json_array_size(mappings); i-- > 0;)
        if (strcasecmp(fact_text(json_array_get(mappings, i), "osnameforhypervisor"), guest_id) !=
            0)
            json_array_remove(mappings, i);
}

int
preflight_find_os_type(struct cloudstack *cs, const struct vsphere_vm *vm,
                       struct preflight_os_type *ret_type, struct err **err)
{
    const char *guest_id = vm->guest_id ? vm->guest_id : "";
    CLEANUP(json_freep) json_t *mappings = NULL, *types = NULL;

    *ret_type = (struct preflight_os_type){0};
    if (!*guest_id)
        return 0;
    if (read_mappings(cs, guest_id, &mappings, err) < 0)
        return -1;
    drop_others(mappings, guest_id);
    if (cloudstack_list(cs, "listOsTypes", NULL, &types, err) < 0)
        return -1;
    os_type_choose(guest_id, preflight_is_windows(vm), mappings, types, ret_type);
    return 0;
}

/* ---- the template ----------------------------------------------------------------------------- */

int
template_list(struct cloudstack *cs, const char *zone_id, json_t **ret_templates, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    vec_push(&params, ((struct cloudstack_param){"templatefilter", "executable"}));
    vec_push(&params, ((struct cloudstack_param){"hypervisor", "KVM"}));
    vec_push(&params, ((struct cloudstack_param){"zoneid", zone_id}));
    result = cloudstack_list(cs, "listTemplates", &params, ret_templates, err);
    vec_done(&params);
    return result;
}

/* Nothing of it is ever copied or started, so that any will do: one that whoever the VM is for may use,
 * and of those the smallest. */
const json_t *
template_choose(const struct spec *spec, const json_t *templates)
{
    const struct config_target *target = &spec->target;
    bool is_for_others = target->account || target->project_id;
    const json_t *template, *best = NULL;
    size_t i;

    json_array_foreach (templates, i, template) {
        const char *type = fact_text(template, "templatetype");

        if (target->template_id) {
            if (fact_same_id(fact_text(template, "id"), target->template_id))
                return template;
            continue;
        }
        if (!fact_is_true(template, "isready") || !strcasecmp(type, "SYSTEM") ||
            !strcasecmp(type, "ROUTING") || (is_for_others && !fact_is_true(template, "ispublic")))
            continue;
        if (!best || fact_number(template, "size", 0) < fact_number(best, "size", 0))
            best = template;
    }
    return best;
}

int
preflight_find_template(struct cloudstack *cs, const struct spec *spec, char **ret_id,
                        struct err **err)
{
    CLEANUP(json_freep) json_t *templates = NULL;
    const json_t *found;

    if (spec->target.template_id) {
        *ret_id = xstrdup(spec->target.template_id);
        return 0;
    }
    if (template_list(cs, spec->target.zone_id, &templates, err) < 0)
        return -1;
    found = template_choose(spec, templates);
    if (!found) {
        err_set(err, E_CS_NOT_FOUND, "no template for KVM is ready in the zone");
        return err_hint(err, "register a template of any size, or set templateid");
    }
    *ret_id = xstrdup(fact_text(found, "id"));
    return 0;
}

/* ---- addresses -------------------------------------------------------------------------------- */

int
preflight_has_addresses(struct cloudstack *cs, const char *network_id, bool *ret_has,
                        struct err **err)
{
    *ret_has = false;
    for (int is_project = 0; is_project <= 1; is_project++) {
        struct cloudstack_params params = {0};
        CLEANUP(json_freep) json_t *items = NULL;
        const json_t *network;
        size_t i;
        int result;

        vec_push(&params, ((struct cloudstack_param){"id", network_id}));
        if (is_project)
            vec_push(&params, ((struct cloudstack_param){"projectid", "-1"}));
        result = cloudstack_list(cs, "listNetworks", &params, &items, err);
        vec_done(&params);
        if (result < 0)
            return -1;
        json_array_foreach (items, i, network) {
            *ret_has = *ret_has || *fact_text(network, "cidr");
        }
        if (json_array_size(items))
            return 0;
    }
    return 0;
}
