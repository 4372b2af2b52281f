/* The NICs of a VM that importVm made, which gives it one.
 *
 * A server that importVm cannot tell a MAC address gets the VM on the placeholder network, if the spec
 * names one: then every NIC is one that was added, with its address, and the first of them takes the
 * placeholder's place. */
#include <string.h>
#include <strings.h>

#include "migration/import.h"

const json_t *
import_nic_on(const json_t *vm, const char *network_id)
{
    const json_t *nic;
    size_t i;

    json_array_foreach (json_object_get(vm, "nic"), i, nic) {
        const char *id = step_text(nic, "networkid");

        if (id && !strcasecmp(id, network_id))
            return nic;
    }
    return NULL;
}

int
import_first_network(const struct migration *m, const struct import_nics *nics,
                     const char **ret_network, struct err **err)
{
    const char *placeholder = m->spec->target.placeholder_network_id;
    bool takes_mac = true;

    *ret_network = nics->plan.items[0].network_id;
    if (!placeholder || !nics->plan.items[0].mac)
        return 0;
    if (cloudstack_has_param(m->cloudstack, "importVm", "macaddress", &takes_mac, err) < 0)
        return -1;
    if (!takes_mac)
        *ret_network = placeholder;
    return 0;
}

static int
read_vm(const struct step *step, json_t **ret_vm, struct err **err)
{
    const char *id = step->m->record.cloudstack_vm_id;

    if (cloudstack_get_vm(step->m->cloudstack, id, ret_vm, err) < 0)
        return -1;
    return *ret_vm ? 0 : err_set(err, E_CS_NOT_FOUND, "CloudStack has no VM %s any more", id);
}

/* The id of its NIC on the step's network, owned. */
static int
find_nic(const struct step *step, char **ret_nic_id, struct err **err)
{
    json_t *vm = NULL;
    const json_t *nic;

    if (read_vm(step, &vm, err) < 0)
        return -1;
    nic = import_nic_on(vm, step->nic->network_id);
    *ret_nic_id = nic ? xstrdup(step_text(nic, "id")) : NULL;
    json_decref(vm);
    if (*ret_nic_id)
        return 0;
    return err_set(err, E_CS_NOT_FOUND, "the imported VM has no NIC on network %s",
                   step->nic->network_id);
}

/* ---- the steps -------------------------------------------------------------------------------- */

static int
submit_add(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_add_nic(step->m->cloudstack, step->m->record.cloudstack_vm_id,
                              step->nic->network_id, step->nic->mac, step->nic->ip, ret_job_id,
                              err);
}

static int
lookup_added(const struct step *step, char **ret_result, struct err **err)
{
    json_t *vm = NULL;

    if (read_vm(step, &vm, err) < 0)
        return -1;
    *ret_result = import_nic_on(vm, step->nic->network_id) ? xstrdup("done") : NULL;
    json_decref(vm);
    return 0;
}

static int
submit_default(const struct step *step, char **ret_job_id, struct err **err)
{
    CLEANUP(free_charp) char *id = NULL;

    if (find_nic(step, &id, err) < 0)
        return -1;
    return cloudstack_make_nic_default(step->m->cloudstack, step->m->record.cloudstack_vm_id, id,
                                       ret_job_id, err);
}

static int
lookup_default(const struct step *step, char **ret_result, struct err **err)
{
    json_t *vm = NULL;
    const json_t *nic;

    if (read_vm(step, &vm, err) < 0)
        return -1;
    nic = import_nic_on(vm, step->nic->network_id);
    *ret_result = nic && json_is_true(json_object_get(nic, "isdefault")) ? xstrdup("done") : NULL;
    json_decref(vm);
    return 0;
}

static int
submit_remove(const struct step *step, char **ret_job_id, struct err **err)
{
    CLEANUP(free_charp) char *id = NULL;

    if (find_nic(step, &id, err) < 0)
        return -1;
    return cloudstack_remove_nic(step->m->cloudstack, step->m->record.cloudstack_vm_id, id,
                                 ret_job_id, err);
}

static int
lookup_removed(const struct step *step, char **ret_result, struct err **err)
{
    int result = lookup_added(step, ret_result, err);
    bool is_there = result == 0 && *ret_result;

    if (result == 0) {
        free(*ret_result);
        *ret_result = is_there ? NULL : xstrdup("done");
    }
    return result;
}

static int
submit_ip(const struct step *step, char **ret_job_id, struct err **err)
{
    CLEANUP(free_charp) char *id = NULL;

    if (find_nic(step, &id, err) < 0)
        return -1;
    return cloudstack_set_nic_ip(step->m->cloudstack, id, step->nic->ip, ret_job_id, err);
}

static int
lookup_ip(const struct step *step, char **ret_result, struct err **err)
{
    json_t *vm = NULL;
    const char *ip;

    if (read_vm(step, &vm, err) < 0)
        return -1;
    ip = step_text(import_nic_on(vm, step->nic->network_id), "ipaddress");
    *ret_result = ip && !strcmp(ip, step->nic->ip) ? xstrdup("done") : NULL;
    json_decref(vm);
    return 0;
}

static int
do_nic_step(struct step step, struct err **err)
{
    CLEANUP(free_charp) char *result = NULL;

    step.result_of = step_done;
    return step_do(&step, &result, err);
}

/* ---- all of them ------------------------------------------------------------------------------ */

/* One after the other, because the guest sees them in the order in which they were added. */
static int
add_nic(struct migration *m, const struct preflight_nic *nic, struct err **err)
{
    CLEANUP(free_charp) char *name = xasprintf("add_nic:%s", nic->key);

    return do_nic_step((struct step){.m = m,
                                     .name = name,
                                     .nic = nic,
                                     .command = "addNicToVirtualMachine",
                                     .submit = submit_add,
                                     .lookup = lookup_added},
                       err);
}

/* The first NIC takes the placeholder's place. */
static int
drop_placeholder(struct migration *m, const struct preflight_nic *first, struct err **err)
{
    const struct preflight_nic placeholder = {.key = "placeholder",
                                              .network_id = m->spec->target.placeholder_network_id};

    if (do_nic_step((struct step){.m = m,
                                  .name = "default_nic",
                                  .nic = first,
                                  .command = "updateDefaultNicForVirtualMachine",
                                  .submit = submit_default,
                                  .lookup = lookup_default},
                    err) < 0)
        return -1;
    return do_nic_step((struct step){.m = m,
                                     .name = "remove_placeholder",
                                     .nic = &placeholder,
                                     .command = "removeNicFromVirtualMachine",
                                     .submit = submit_remove,
                                     .lookup = lookup_removed},
                       err);
}

/* importVm of the releases cannot be told an address, but the NIC of a stopped VM can be given one. */
static int
give_first_its_ip(struct migration *m, const struct preflight_nic *first, struct err **err)
{
    if (!first->ip)
        return 0;
    return do_nic_step((struct step){.m = m,
                                     .name = "set_ip",
                                     .nic = first,
                                     .command = "updateVmNicIp",
                                     .submit = submit_ip,
                                     .lookup = lookup_ip,
                                     .may_be_done = true,
                                     .is_optional = true},
                       err);
}

/* CloudStack replaces a MAC address that it does not like without a word, and older servers cannot be
 * given one: what was kept is compared after the fact. */
static void
compare(struct migration *m, const json_t *vm, const struct preflight_nic *nic)
{
    const json_t *found = import_nic_on(vm, nic->network_id);
    const char *mac = step_text(found, "macaddress"), *ip = step_text(found, "ipaddress");

    if (nic->mac && mac && strcasecmp(mac, nic->mac) != 0)
        migration_log(m, LOG_WARNING,
                      "NIC %s has MAC address %s on CloudStack, %s on the source: this server "
                      "cannot be told which to use",
                      nic->key, mac, nic->mac);
    if (nic->ip && ip && strcmp(ip, nic->ip) != 0)
        migration_log(m, LOG_WARNING, "NIC %s has address %s on CloudStack, %s was asked for",
                      nic->key, ip, nic->ip);
}

int
import_add_nics(struct migration *m, const struct import_nics *nics, struct err **err)
{
    const struct step probe = {.m = m};
    const char *placeholder = m->spec->target.placeholder_network_id;
    bool has_placeholder = false;
    json_t *vm = NULL;

    if (import_is_shell(m))
        return 0;
    if (read_vm(&probe, &vm, err) < 0)
        return -1;
    has_placeholder = placeholder && import_nic_on(vm, placeholder);
    json_decref(take(vm));
    for (size_t i = has_placeholder ? 0 : 1; i < nics->plan.count; i++)
        if (add_nic(m, &nics->plan.items[i], err) < 0)
            return -1;
    if (has_placeholder && drop_placeholder(m, &nics->plan.items[0], err) < 0)
        return -1;
    if (give_first_its_ip(m, &nics->plan.items[0], err) < 0 || read_vm(&probe, &vm, err) < 0)
        return -1;
    for (size_t i = 0; i < nics->plan.count; i++)
        compare(m, vm, &nics->plan.items[i]);
    json_decref(vm);
    return 0;
}
