/* Data disks become volumes of the VM; then it gets its settings and is started. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "migration/import.h"

/* The spec's OS type, else the one that was settled; owned, NULL: none. */
static int
os_type_of(const struct migration *m, char **ret_id, struct err **err)
{
    if (!m->spec->target.os_type_id)
        return import_get(m, IMPORT_OS_TYPE, ret_id, err);
    *ret_id = xstrdup(m->spec->target.os_type_id);
    return 0;
}

/* The VM's settings: all of them, because what importVm was told it may not have known. */
static int
submit_update(const struct step *step, char **ret_job_id, struct err **err)
{
    const struct migration *m = step->m;
    CLEANUP(free_charp) char *os_type = NULL;
    struct import_details details = {0};
    int result;

    *ret_job_id = NULL;
    if (os_type_of(m, &os_type, err) < 0)
        return -1;
    import_details_devices(m, &details);
    result = cloudstack_update_vm(m->cloudstack, m->record.cloudstack_vm_id, os_type,
                                  &details.params, err);
    import_details_done(&details);
    return result;
}

static bool
has_details(const json_t *vm, const struct cloudstack_params *wanted)
{
    const json_t *details = json_object_get(vm, "details");

    for (size_t i = 0; i < wanted->count; i++) {
        const char *value = step_text(details, wanted->items[i].name);

        if (!value || strcmp(value, wanted->items[i].value) != 0)
            return false;
    }
    return true;
}

static int
lookup_update(const struct step *step, char **ret_result, struct err **err)
{
    CLEANUP(free_charp) char *os_type = NULL;
    struct import_details details = {0};
    const char *wanted, *type;
    json_t *vm = NULL;

    if (os_type_of(step->m, &os_type, err) < 0 ||
        cloudstack_get_vm(step->m->cloudstack, step->m->record.cloudstack_vm_id, &vm, err) < 0)
        return -1;
    import_details_devices(step->m, &details);
    wanted = os_type ? os_type : "";
    type = step_text(vm, "ostypeid") ? step_text(vm, "ostypeid") : step_text(vm, "guestosid");
    if (vm && has_details(vm, &details.params) && (!*wanted || (type && !strcasecmp(type, wanted))))
        *ret_result = xstrdup("done");
    import_details_done(&details);
    json_decref(vm);
    return 0;
}

static int
configure_vm(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *result = NULL;
    const struct step step = {.m = m,
                              .name = "update_vm",
                              .command = "updateVirtualMachine",
                              .submit = submit_update,
                              .lookup = lookup_update,
                              .result_of = step_done,
                              .is_sync = true};

    if (m->record.is_cloudstack_configured)
        return 0;
    if (step_do(&step, &result, err) < 0)
        return err_wrap(err, "settings of the imported VM");
    m->record.is_cloudstack_configured = true;
    return migration_save(m, err);
}

static int
submit_start(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_start_vm(step->m->cloudstack, step->m->record.cloudstack_vm_id, ret_job_id,
                               err);
}

static int
lookup_started(const struct step *step, char **ret_result, struct err **err)
{
    json_t *vm = NULL;
    const char *state;

    if (cloudstack_get_vm(step->m->cloudstack, step->m->record.cloudstack_vm_id, &vm, err) < 0)
        return -1;
    state = step_text(vm, "state");
    *ret_result =
        state && (!strcmp(state, "Running") || !strcmp(state, "Starting")) ? xstrdup("done") : NULL;
    json_decref(vm);
    return 0;
}

/* Two machines of one identity on the network do more harm than one that is not started. */
static int
check_source_is_off(struct migration *m, struct err **err)
{
    enum vsphere_power power;

    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, err) < 0)
        return -1;
    if (power == VSPHERE_POWERED_OFF)
        return 0;
    err_set(err, E_SOURCE_CHANGED, "the source VM runs again: the imported VM %s is not started",
            m->record.cloudstack_vm_id);
    return err_hint(err,
                    "decide for one: shut the source down and run this again, or keep it and "
                    "remove the imported VM in CloudStack, which has its state of the cutover");
}

static int
start_vm(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *result = NULL;
    struct step step = {.m = m,
                        .name = "start_vm",
                        .command = "startVirtualMachine",
                        .submit = submit_start,
                        .lookup = lookup_started,
                        .result_of = step_done};

    if (!m->spec->start_vm_after_import || m->record.is_cloudstack_started)
        return 0;
    if (check_source_is_off(m, err) < 0)
        return -1;
    if (step_do(&step, &result, err) < 0)
        return -1;
    m->record.is_cloudstack_started = true;
    m->record.started_at = clock_wall_s();
    migration_log(m, LOG_INFO, "Started the imported VM");
    return migration_save(m, err);
}

/* The imported VM writes to its disks from now on: they speak of nothing any more. */
static void
remove_digests(const struct migration *m)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        CLEANUP(free_charp)
        char *path = migration_digests_path(m->record.directory, m->disks.items[i].name);

        if (unlink(path) < 0 && errno != ENOENT)
            log_warning("%s: %s", path, strerror(errno));
    }
}

int
migration_stage_import_data(struct migration *m, struct err **err)
{
    if (import_volumes(m, false, err) < 0 || import_attach_and_tag(m, err) < 0)
        return -1;
    if (configure_vm(m, err) < 0)
        return -1;
    migration_log(m, LOG_INFO, "The VM is imported: vm_id=%s", m->record.cloudstack_vm_id);
    if (start_vm(m, err) < 0 || migration_drop_requests(m, err) < 0)
        return -1;
    migration_mark_source(m);
    /* A call of a run that was killed may be carried out long after: nothing is left.  The cutover
     * is over, so that waiting for it costs nobody anything. */
    if (migration_wait(m, m->late_snapshot_ms - clock_monotonic_ms(), NULL, err) < 0 ||
        migration_sweep_snapshots(m, err) < 0)
        return err_wrap(err, "the VM is migrated; looking for snapshots left on the source");
    remove_digests(m);
    return migration_enter(m, STAGE_DONE, err);
}
