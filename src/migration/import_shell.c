/* import_method shell: a VM is deployed without being started, so that it has every NIC with its MAC and
 * IP address; its root volume, which is only planned, makes room for the imported boot disk.
 *
 * The VM's id is ours: it is recorded before the VM is made, and no other VM can have it.  What is
 * deleted is a volume of that VM which is none of our disks. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sys/random.h>

#include "base/clock.h"
#include "migration/import.h"

static int
make_uuid(char ret_id[40], struct err **err)
{
    unsigned char b[16];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        return err_set(err, E_MEMORY, "no random numbers for an id");
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(ret_id, 40,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    return 0;
}

/* ---- deployVirtualMachine --------------------------------------------------------------------- */

static int
shell_id(const struct step *step, char **ret_id, struct err **err)
{
    char id[40];

    if (import_get(step->m, IMPORT_SHELL, ret_id, err) < 0)
        return -1;
    if (*ret_id)
        return 0;
    if (make_uuid(id, err) < 0 || import_put(step->m, IMPORT_SHELL, id, err) < 0)
        return -1;
    *ret_id = xstrdup(id);
    return 0;
}

static int
deploy(const struct step *step, const char *id, const char *template_id, char **ret_job_id,
       struct err **err)
{
    const struct migration *m = step->m;
    const struct config_target *target = &m->spec->target;
    CLEANUP(free_charp) char *host_name = cloudstack_host_name(m->record.vm_name);
    struct cloudstack_nic nics[PREFLIGHT_MAX_NICS];
    struct import_details details = {0};
    struct import_nics plan = {0};
    struct cloudstack_deploy_vm vm = {
        .id = id,
        .name = host_name,
        .display_name = m->record.vm_name,
        .zone_id = target->zone_id,
        .service_offering_id = target->service_offering_id,
        .template_id = template_id,
        .uefi_mode = preflight_uefi_mode(m->spec, &m->vm),
        .account = target->account,
        .domain_id = target->domain_id,
        .project_id = target->project_id,
        .nics = nics,
        .details = &details.params,
    };
    int result;

    if (import_nics_plan(m, &plan, err) < 0)
        return -1;
    for (size_t i = 0; i < MIN(plan.plan.count, PREFLIGHT_MAX_NICS); i++)
        nics[vm.nic_count++] = (struct cloudstack_nic){
            plan.plan.items[i].network_id, plan.plan.items[i].mac, plan.plan.items[i].ip};
    import_details_devices(m, &details);
    result = import_details_sizes(m, &details, err);
    if (result == 0)
        result = cloudstack_deploy_vm(m->cloudstack, &vm, ret_job_id, err);
    import_details_done(&details);
    import_nics_done(&plan);
    return result;
}

static int
submit_deploy(const struct step *step, char **ret_job_id, struct err **err)
{
    CLEANUP(free_charp) char *id = NULL, *template_id = NULL;

    if (preflight_find_template(step->m->cloudstack, step->m->spec, &template_id, err) < 0 ||
        shell_id(step, &id, err) < 0)
        return -1;
    return deploy(step, id, template_id, ret_job_id, err);
}

/* A VM that did not come to be is of no use, and its id is spent. */
static int
lookup_deployed(const struct step *step, char **ret_result, struct err **err)
{
    CLEANUP(free_charp) char *id = NULL;
    json_t *vm = NULL;
    const char *state;
    int result = 0;

    if (import_get(step->m, IMPORT_SHELL, &id, err) < 0)
        return -1;
    if (!id)
        return 0;
    if (cloudstack_get_vm(step->m->cloudstack, id, &vm, err) < 0)
        return -1;
    state = step_text(vm, "state");
    if (state && !strcasecmp(state, "Stopped")) {
        *ret_result = xstrdup(id);
    } else if (vm) {
        migration_log(step->m, LOG_WARNING,
                      "the VM %s that was deployed is %s: remove it in CloudStack; another is made",
                      id, state ? state : "in no known state");
        result = import_put(step->m, IMPORT_SHELL, NULL, err);
    }
    json_decref(vm);
    return result;
}

static char *
id_of_vm(const json_t *job_result)
{
    return xstrdup(step_text(json_object_get(job_result, "virtualmachine"), "id"));
}

/* ---- its own root volume ---------------------------------------------------------------------- */

static bool
is_one_of_ours(const struct migration *m, const json_t *volume)
{
    const char *id = step_text(volume, "id"), *path = step_text(volume, "path");

    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];

        if ((id && disk->volume_id && !strcasecmp(id, disk->volume_id)) ||
            (path && disk->target_path &&
             !strcmp(step_base_name(path), step_base_name(disk->target_path))))
            return true;
    }
    return false;
}

/* The root volume that the VM @vm_id was deployed with, NULL when it is not attached any more. */
static int
find_planned_root(const struct migration *m, const char *vm_id, char **ret_id, struct err **err)
{
    json_t *volumes = NULL;
    const json_t *volume;
    size_t i;

    *ret_id = NULL;
    if (cloudstack_list_volumes_of(m->cloudstack, vm_id, &volumes, err) < 0)
        return -1;
    json_array_foreach (volumes, i, volume) {
        const char *type = step_text(volume, "type");

        if (!*ret_id && type && !strcmp(type, "ROOT") && !is_one_of_ours(m, volume))
            *ret_id = xstrdup(step_text(volume, "id"));
    }
    json_decref(volumes);
    return 0;
}

static int
submit_detach(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_detach_volume(step->m->cloudstack, step->disk->volume_id, ret_job_id, err);
}

static int
lookup_detached(const struct step *step, char **ret_result, struct err **err)
{
    json_t *volume = NULL;

    if (cloudstack_find_volume(step->m->cloudstack, step->disk->volume_id, &volume, err) < 0)
        return -1;
    *ret_result = volume && step_text(volume, "virtualmachineid") ? NULL : xstrdup("done");
    json_decref(volume);
    return 0;
}

static int
submit_delete(const struct step *step, char **ret_job_id, struct err **err)
{
    *ret_job_id = NULL;
    return cloudstack_delete_volume(step->m->cloudstack, step->disk->volume_id, err);
}

static int
lookup_deleted(const struct step *step, char **ret_result, struct err **err)
{
    json_t *volume = NULL;

    if (cloudstack_find_volume(step->m->cloudstack, step->disk->volume_id, &volume, err) < 0)
        return -1;
    *ret_result = volume ? NULL : xstrdup("done");
    json_decref(volume);
    return 0;
}

static int
do_volume_step(struct migration *m, const char *name, const char *command,
               const struct store_disk *planned,
               int (*submit)(const struct step *, char **, struct err **),
               int (*lookup)(const struct step *, char **, struct err **), struct err **err)
{
    CLEANUP(free_charp) char *result = NULL;
    const struct step step = {.m = m,
                              .name = name,
                              .disk = planned,
                              .command = command,
                              .submit = submit,
                              .lookup = lookup,
                              .result_of = step_done,
                              .is_sync = !strcmp(name, "delete_root")};

    return step_do(&step, &result, err);
}

/* The volume's id is recorded first: once detached nothing else tells that it was this VM's. */
static int
drop_planned_root(struct migration *m, const char *vm_id, struct err **err)
{
    CLEANUP(free_charp) char *volume_id = NULL;
    struct store_disk planned = {0};

    if (import_get(m, IMPORT_PLANNED_ROOT, &volume_id, err) < 0)
        return -1;
    if (!volume_id && (find_planned_root(m, vm_id, &volume_id, err) < 0 ||
                       (volume_id && import_put(m, IMPORT_PLANNED_ROOT, volume_id, err) < 0)))
        return -1;
    if (!volume_id)
        return 0;
    planned.volume_id = volume_id;
    if (do_volume_step(m, "detach_root", "detachVolume", &planned, submit_detach, lookup_detached,
                       err) < 0)
        return -1;
    return do_volume_step(m, "delete_root", "deleteVolume", &planned, submit_delete, lookup_deleted,
                          err);
}

/* Somebody may have removed the VM since it was made: it held nothing, and another is made. */
static int
forget_if_lost(struct migration *m, struct err **err)
{
    static const char *const steps[] = {"deploy_vm", "detach_root", "delete_root"};
    CLEANUP(free_charp) char *id = NULL;
    struct store_intent intent = {0};
    json_t *vm = NULL;
    bool is_there = false, is_made;

    if (store_intent_get(m->store, m->record.id, "deploy_vm", &is_there, &intent, err) < 0)
        return -1;
    is_made = is_there && intent.result;
    if (is_there)
        store_intent_done(&intent);
    if (!is_made)
        return 0;
    if (import_get(m, IMPORT_SHELL, &id, err) < 0 ||
        (id && cloudstack_get_vm(m->cloudstack, id, &vm, err) < 0))
        return -1;
    is_there = vm && !strcasecmp(step_text(vm, "state") ? step_text(vm, "state") : "", "Stopped");
    json_decref(vm);
    if (is_there)
        return 0;
    migration_log(m, LOG_WARNING, "the VM %s that was deployed is gone: another is made",
                  id ? id : "");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        if (store_intent_drop(m->store, m->record.id, steps[i], err) < 0)
            return -1;
    if (import_put(m, IMPORT_PLANNED_ROOT, NULL, err) < 0)
        return -1;
    return import_put(m, IMPORT_SHELL, NULL, err);
}

int
import_make_shell(struct migration *m, struct err **err)
{
    const struct step step = {.m = m,
                              .name = "deploy_vm",
                              .command = "deployVirtualMachine",
                              .submit = submit_deploy,
                              .lookup = lookup_deployed,
                              .result_of = id_of_vm};
    CLEANUP(free_charp) char *vm_id = NULL;

    if (forget_if_lost(m, err) < 0 || step_do(&step, &vm_id, err) < 0)
        return -1;
    return drop_planned_root(m, vm_id, err);
}

/* ---- and its end, when it is not wanted any more ----------------------------------------------- */

static bool
holds_files(const json_t *volumes)
{
    const json_t *volume;
    size_t i;

    json_array_foreach (volumes, i, volume) {
        const char *state = step_text(volume, "state"), *path = step_text(volume, "path");

        if (!state || strcasecmp(state, "Allocated") != 0 || (path && *path))
            return true;
    }
    return false;
}

int
migration_expunge_empty(struct cloudstack *cs, const char *id, bool *ret_is_left, struct err **err)
{
    CLEANUP(free_charp) char *job_id = NULL;
    json_t *vm = NULL, *volumes = NULL, *result = NULL;
    bool is_there;

    *ret_is_left = false;
    if (cloudstack_get_vm(cs, id, &vm, err) < 0)
        return -1;
    is_there = vm != NULL;
    json_decref(vm);
    if (!is_there)
        return 0;
    if (cloudstack_list_volumes_of(cs, id, &volumes, err) < 0)
        return -1;
    *ret_is_left = holds_files(volumes);
    json_decref(volumes);
    if (*ret_is_left)
        return 0;
    if (cloudstack_expunge_vm(cs, id, &job_id, err) < 0 ||
        cloudstack_job_wait(cs, job_id, 0, &result, err) < 0)
        return -1;
    json_decref(result);
    return 0;
}

int
migration_remove_shell(struct store *store, int64_t migration, struct cloudstack *cs,
                       char **ret_left, struct err **err)
{
    static const char *const steps[] = {"deploy_vm", "detach_root", "delete_root"};
    const struct store_subject of = {.scope = STORE_VM, .migration = migration};
    CLEANUP(free_charp) char *id = NULL;
    bool is_left = false;

    *ret_left = NULL;
    if (store_setting_get(store, &of, IMPORT_SHELL, &id, err) < 0)
        return -1;
    if (!id)
        return 0;
    if (migration_expunge_empty(cs, id, &is_left, err) < 0)
        return err_wrap(err, "removing the VM %s", id);
    if (is_left) {
        *ret_left = take(id);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        if (store_intent_drop(store, migration, steps[i], err) < 0)
            return -1;
    if (store_setting_put(store, &of, IMPORT_PLANNED_ROOT, NULL, err) < 0)
        return -1;
    return store_setting_put(store, &of, IMPORT_SHELL, NULL, err);
}

bool
import_is_shell(const struct migration *m)
{
    CLEANUP(free_charp) char *id = NULL;

    return import_get(m, IMPORT_SHELL, &id, NULL) == 0 && id && m->record.cloudstack_vm_id &&
           !strcmp(id, m->record.cloudstack_vm_id);
}

int
import_drop_shell(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *left = NULL;

    if (migration_remove_shell(m->store, m->record.id, m->cloudstack, &left, err) < 0)
        return -1;
    if (!left)
        return 0;
    err_set(err, E_CS_API, "CloudStack has the VM %s, made for import_method shell, with volumes",
            left);
    return err_hint(err, "set import_method: shell again, or remove that VM in CloudStack");
}

/* ---- the boot disk becomes the root ----------------------------------------------------------- */

static int
submit_attach_root(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_attach_volume(step->m->cloudstack, step->disk->volume_id, step->object, 0,
                                    ret_job_id, err);
}

static struct step
attach_step(struct migration *m, const char *vm_id)
{
    return (struct step){.m = m,
                         .name = "attach_root",
                         .command = "attachVolume",
                         .disk = import_boot_disk(m),
                         .object = vm_id,
                         .submit = submit_attach_root,
                         .lookup = import_lookup_attached,
                         .result_of = step_done};
}

int
import_recover_shell(struct migration *m, char **ret_vm_id, struct err **err)
{
    CLEANUP(free_charp) char *vm_id = NULL, *result = NULL;
    struct step step;

    *ret_vm_id = NULL;
    if (import_get(m, IMPORT_SHELL, &vm_id, err) < 0)
        return -1;
    if (!vm_id)
        return 0;
    step = attach_step(m, vm_id);
    if (step_recover(&step, &result, err) < 0)
        return -1;
    if (result)
        *ret_vm_id = take(vm_id);
    return 0;
}

int
import_fill_shell(struct migration *m, char **ret_vm_id, struct err **err)
{
    CLEANUP(free_charp) char *vm_id = NULL, *result = NULL;
    struct step step;

    /* It was made before the source went off, unless that was by another version of the spec. */
    if (import_make_shell(m, err) < 0 || import_volumes(m, true, err) < 0 ||
        import_get(m, IMPORT_SHELL, &vm_id, err) < 0)
        return -1;
    step = attach_step(m, vm_id);
    if (step_do(&step, &result, err) < 0)
        return -1;
    *ret_vm_id = take(vm_id);
    return 0;
}
