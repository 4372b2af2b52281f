/* One VM from beginning to end: what is set up, the table of stages, and what happens to errors. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "migration/internal.h"

#define STAGE_ATTEMPTS   12
#define MAX_PAUSE_MS     (5 * 60 * 1000)
#define CONNECT_ATTEMPTS 3 /* a wrong host name is to be told soon */

static int (*const stages[STAGE_MAX_])(struct migration *m, struct err **err) = {
    [STAGE_INIT] = migration_stage_discover,
    [STAGE_DISCOVERING_DISKS] = migration_stage_discover,
    [STAGE_PREPARING_STORAGE] = migration_stage_storage,
    [STAGE_ENABLING_CBT] = migration_stage_cbt,
    [STAGE_CREATING_BASE_SNAPSHOT] = migration_stage_base_snapshot,
    [STAGE_BASE_COPY] = migration_stage_base_copy,
    [STAGE_DELTA] = migration_stage_delta,
    [STAGE_AWAITING_SHUTDOWN] = migration_stage_shutdown,
    [STAGE_FINAL_SYNC] = migration_stage_final_sync,
    [STAGE_CONVERTING] = migration_stage_converting,
    [STAGE_IMPORT_ROOT_DISK] = migration_stage_import_root,
    [STAGE_IMPORT_DATA_DISK] = migration_stage_import_data,
};

static int
check_settings(const struct migration *m, struct err **err)
{
    if (!m->config->vcenter.password) {
        err_set(err, E_CONFIG, "no vCenter password");
        return err_hint(err, "set vcenter.password or the environment variable VC_PASSWORD");
    }
    if (!m->config->migration.vddk_path) {
        err_set(err, E_CONFIG, "migration.vddk_path is not set");
        return err_hint(err, "unpack VMware's VDDK and name the directory that holds lib64/");
    }
    return 0;
}

int
migration_connect_vcenter(struct migration *m, struct err **err)
{
    const struct config *c = m->config;
    struct vsphere_options options = {
        .host = c->vcenter.host,
        .user = c->vcenter.user,
        .password = c->vcenter.password,
        .trust = {.ca_file = c->vcenter.ca_file,
                  .thumbprint = c->vcenter.thumbprint,
                  .is_insecure = c->vcenter.is_insecure,
                  .config_key = "vcenter"},
        /* No cancel: what was begun on the source is brought to its end, so that nothing is left. */
    };

    if (vsphere_connect(&options, &m->vsphere, err) < 0 ||
        vsphere_thumbprint(m->vsphere, m->thumbprint, err) < 0)
        return err_wrap(err, "vCenter %s", c->vcenter.host);
    m->kept_alive_ms = clock_monotonic_ms();
    return 0;
}

static int
connect_source_once(struct migration *m, struct err **err)
{
    return migration_connect_vcenter(m, err) < 0 ? -1 : migration_find_source(m, err);
}

/* A connection that breaks is no reason to give up a migration that may have run for days. */
static int
connect_source(struct migration *m, struct err **err)
{
    for (int attempt = 1;; attempt++) {
        struct err *failure = NULL;

        if (connect_source_once(m, &failure) == 0)
            return 0;
        vsphere_freep(&m->vsphere);
        if (err_class(failure) != ERR_CLASS_RETRY || attempt == CONNECT_ATTEMPTS)
            return err_move(err, &failure);
        migration_log(m, LOG_WARNING, "%s; trying again", err_message(failure));
        err_free(failure);
        if (migration_wait(m, clock_patience_ms(1000LL << attempt), NULL, err) < 0)
            return -1;
    }
}

int
migration_connect_cloudstack(struct migration *m, struct err **err)
{
    const struct config *c = m->config;
    struct cloudstack_options options = {
        .endpoint = c->cloudstack.endpoint,
        .api_key = c->cloudstack.api_key,
        .secret_key = c->cloudstack.secret_key,
        .trust = {.ca_file = c->cloudstack.ca_file,
                  .thumbprint = c->cloudstack.thumbprint,
                  .is_insecure = c->cloudstack.is_insecure,
                  .config_key = "cloudstack"},
        .timeout_ms = (int)c->cloudstack.timeout_seconds * 1000,
        .cancel = m->options->stop,
    };

    if (cloudstack_connect(&options, &m->cloudstack, err) < 0)
        return err_wrap(err, "CloudStack");
    return 0;
}

int
migration_lock(const char *control_dir, const char *vcenter, const char *moref, int *ret_fd,
               struct err **err)
{
    CLEANUP(free_charp) char *path = migration_lock_path(control_dir, vcenter, moref);
    CLEANUP(free_charp) char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));
    struct err *failure = NULL;

    if (file_make_dirs(dir, 0700, err) < 0)
        return -1;
    if (file_lock(path, ret_fd, &failure) == 0)
        return 0;
    if (err_code(failure) != E_LOCKED)
        return err_move(err, &failure);
    err_set(err, E_LOCKED, "another run or service is migrating this VM: %s", err_message(failure));
    err_free(failure);
    return err_hint(err, "see v2c-engine status; wait for it to end, or stop it");
}

static int
open_directory(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *log = file_join(m->record.directory, "migration.log");

    if (file_make_dirs(m->record.directory, 0750, err) < 0)
        return -1;
    return log_open_file(log, err);
}

/* Under another spelling of vcenter.host, and maybe another name since. */
static bool
is_migrating_it(const struct migration *m, const struct store_migration *other)
{
    return other->stage != STAGE_DONE && other->stage != STAGE_ROLLED_BACK &&
           other->instance_uuid && *other->instance_uuid && m->vm.instance_uuid &&
           !strcasecmp(other->instance_uuid, m->vm.instance_uuid) &&
           !strcmp(other->vm_moref, m->vm.moref);
}

/* The directory may be another migration's: of a VM that another vCenter gave the same name and id, or
 * of this one under another spelling of vcenter.host. */
static int
check_no_other(struct migration *m, struct err **err)
{
    struct store_migrations all = {0};
    int result = 0;

    if (store_migration_list(m->store, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.count && result == 0; i++) {
        const struct store_migration *other = &all.items[i];

        if (is_migrating_it(m, other))
            err_set(err, E_STORE_FOREIGN,
                    "%s (%s) is being migrated already, as %s from vCenter %s", m->vm.name,
                    m->vm.moref, other->vm_name, other->vcenter);
        else if (other->directory && !strcmp(other->directory, m->record.directory))
            err_set(err, E_STORE_FOREIGN, "%s belongs to the migration of %s (%s) from vCenter %s",
                    other->directory, other->vm_name, other->vm_moref, other->vcenter);
        else
            continue;
        result = err_hint(err, "write vcenter.host as it was then, or use another control_dir for "
                               "another vCenter");
    }
    store_migrations_done(&all);
    return result;
}

/* A state.json that the existing tool left, and no record of ours: done is done; anything else is its
 * own to finish. */
static int
check_foreign_state(struct migration *m, bool *ret_is_done, struct err **err)
{
    static const char *const names[] = {"state.json", "state.engine.json"};

    *ret_is_done = false;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(free_charp) char *path = file_join(m->record.directory, names[i]);
        const char *stage;
        json_t *state;

        if (access(path, F_OK) < 0)
            continue;
        state = json_load_file(path, 0, NULL);
        stage = json_string_value(json_object_get(state, "stage"));
        if (stage && !strcmp(stage, "done")) {
            json_decref(state);
            *ret_is_done = true;
            return 0;
        }
        err_set(err, E_STORE_FOREIGN, "%s is in stage %s of another tool's migration", path,
                stage ? stage : "(unreadable)");
        json_decref(state);
        return err_hint(err,
                        "finish it with the tool that began it; or remove its snapshots and target "
                        "files, move %s away, and start again",
                        m->record.directory);
    }
    return 0;
}

static int
check_finalize_at(const struct migration *m, struct err **err)
{
    char stamp[32];

    if (!m->spec->finalize_at || m->spec->finalize_at > clock_wall_s() ||
        m->options->allow_past_finalize)
        return 0;
    clock_format_utc(m->spec->finalize_at, stamp);
    err_set(err, E_CONFIG, "finalize_at %s has passed", stamp);
    return err_hint(err,
                    "set a later time, or give --allow-past-finalize to cut over right after the "
                    "base copy");
}

static int
create_record(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *raw = xasprintf("%s_%s", m->vm.name, m->vm.moref);

    if (check_finalize_at(m, err) < 0)
        return -1;
    m->record.migration_id = file_safe_name(raw);
    m->record.vm_name = xstrdup(m->vm.name);
    m->record.vm_moref = xstrdup(m->vm.moref);
    m->record.instance_uuid = xstrdup(m->vm.instance_uuid);
    m->record.bios_uuid = xstrdup(m->vm.bios_uuid);
    m->record.datacenter = xstrdup(m->vm.datacenter);
    m->record.vcenter = xstrdup(m->config->vcenter.host);
    m->record.stage = STAGE_INIT;
    m->record.created_at = m->record.updated_at = clock_wall_s();
    return store_migration_create(m->store, &m->record, err);
}

/* Takes up the record of an earlier run, which must speak of this very VM.  Its directory stays what it
 * was, whatever the VM is called by now. */
static int
adopt_record(struct migration *m, struct store_migration *found, struct err **err)
{
    m->record = *found;
    if (m->record.instance_uuid && m->vm.instance_uuid &&
        strcasecmp(m->record.instance_uuid, m->vm.instance_uuid)) {
        err_set(err, E_SOURCE_CHANGED, "%s has instance uuid %s, the migration began with %s",
                m->vm.moref, m->vm.instance_uuid, m->record.instance_uuid);
        return err_hint(err, "this is another VM: run v2c-engine forget --vm-id %s to migrate it",
                        m->vm.moref);
    }
    if (open_directory(m, err) < 0)
        return -1;
    if (store_disks_load(m->store, m->record.id, &m->disks, err) < 0)
        return -1;
    m->progress = xcalloc(m->disks.count ? m->disks.count : 1, sizeof(*m->progress));
    for (size_t i = 0; i < m->disks.count; i++)
        if (store_progress_load(m->store, m->disks.items[i].id, &m->progress[i], err) < 0)
            return -1;
    migration_log(m, LOG_INFO, "Resuming from stage: %s", store_stage_name(m->record.stage));
    return migration_load_missed_finalize(m, err);
}

static int
load_record(struct migration *m, bool *ret_is_done, struct err **err)
{
    struct store_migration found = {0};
    struct err *failure = NULL;

    *ret_is_done = false;
    if (store_open(m->config->migration.control_dir, false, &m->store, err) < 0)
        return -1;
    if (store_migration_find(m->store, m->config->vcenter.host, m->vm.moref, &found, &failure) ==
        0) {
        if (adopt_record(m, &found, err) < 0)
            return -1;
        if (m->record.stage == STAGE_ROLLED_BACK) {
            err_set(err, E_USAGE, "it was rolled back");
            return err_hint(
                err, "v2c-engine forget, and move its target files away: then it begins anew");
        }
        *ret_is_done = m->record.stage == STAGE_DONE;
        return 0;
    }
    if (err_code(failure) != E_STORE_NOT_FOUND)
        return err_move(err, &failure);
    err_free(failure);
    m->record.directory =
        migration_directory(m->config->migration.control_dir, m->vm.name, m->vm.moref);
    if (check_no_other(m, err) < 0 || check_foreign_state(m, ret_is_done, err) < 0)
        return -1;
    if (*ret_is_done)
        return 0;
    return open_directory(m, err) < 0 ? -1 : create_record(m, err);
}

static int
write_specs(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *text = spec_to_yaml(m->spec);
    CLEANUP(free_charp) char *latest = file_join(m->record.directory, "spec.latest.yaml");
    CLEANUP(free_charp) char *first = file_join(m->record.directory, "spec.yaml");

    if (file_replace(latest, text, strlen(text), 0644, err) < 0)
        return -1;
    if (access(first, F_OK) == 0)
        return 0;
    return file_replace(first, text, strlen(text), 0644, err);
}

static void
log_settings(struct migration *m)
{
    static const char *const shutdowns[] = {"auto", "force", "manual"};
    static const char *const quiesces[] = {"auto", "true", "false"};
    char stamp[32];

    migration_log(m, LOG_INFO, "Starting workflow vm=%s moref=%s server=%s", m->record.vm_name,
                  m->record.vm_moref, vsphere_server_name(m->vsphere));
    migration_log(m, LOG_INFO,
                  "Runtime settings readers=%" PRId64 " parallel_disks=%" PRId64
                  " run_virt_v2v=%s shutdown_mode=%s snapshot_quiesce=%s",
                  m->spec->readers, m->spec->parallel_disks,
                  m->spec->run_virt_v2v ? "true" : "false", shutdowns[m->spec->shutdown],
                  quiesces[m->spec->quiesce]);
    if (m->spec->finalize_at) {
        clock_format_utc(m->spec->finalize_at, stamp);
        migration_log(m, LOG_INFO, "finalize_at=%s%s", stamp,
                      m->spec->finalize_at_was_zoneless ? " (written without a zone: taken as UTC)"
                                                        : "");
    }
}

/* Pauses grow to five minutes: a vCenter that is restarted, or a backup window, is sat out. */
static int64_t
pause_ms(unsigned failures)
{
    return MIN(1000LL << MIN(failures, 10U), MAX_PAUSE_MS);
}

static int
run_checked(struct migration *m, struct err **err)
{
    return migration_preflight(m, err) < 0 ? -1 : stages[m->record.stage](m, err);
}

/* A copy whose pool is full waits for room, and so does a commit of a conversion that has begun: it can only
 * be repeated.  Where the file system has room and says all the same that it has
 * not (a quota, or it is another one that is full) that is a failure that may pass. */
static bool
is_for_want_of_space(const struct migration *m, const struct err *failure)
{
    bool is_converted;

    if (err_code(failure) != E_NO_SPACE)
        return false;
    if (m->record.stage == STAGE_CONVERTING)
        return migration_is_converted(m, &is_converted, NULL) == 0 && is_converted;
    return m->record.stage == STAGE_BASE_COPY || m->record.stage == STAGE_DELTA ||
           m->record.stage == STAGE_FINAL_SYNC;
}

/* A stage that fails for a passing reason is run again after a pause; every stage may be.  Rounds that
 * went well in between count as success. */
static int
run_stage(struct migration *m, unsigned *failures, struct err **err)
{
    enum store_stage stage = m->record.stage;
    int64_t rounds = m->record.delta_rounds;
    struct err *failure = NULL;
    bool is_paused = false, may_pass;

    if (!stages[stage])
        return err_set(err, E_NOT_BUILT, "stage %s is not known to this version",
                       store_stage_name(stage));
    if (migration_is_pause_due(m, &is_paused, &failure) == 0 &&
        (is_paused ? migration_stage_paused : run_checked)(m, &failure) == 0) {
        *failures = 0;
        return 0;
    }
    if (err_code(failure) == E_PAUSE) { /* not a failure */
        err_free(failure);
        return 0;
    }
    if (m->record.delta_rounds > rounds)
        *failures = 0;
    may_pass = err_class(failure) == ERR_CLASS_RETRY || is_for_want_of_space(m, failure);
    if (is_for_want_of_space(m, failure) && !migration_has_room(m)) {
        int result = migration_wait_for_room(m, failure, err);

        err_free(failure);
        return result;
    }
    if (!may_pass || ++*failures >= STAGE_ATTEMPTS)
        return err_move(err, &failure);
    migration_log(m, LOG_WARNING, "stage %s: %s; trying again in %" PRId64 " s",
                  store_stage_name(m->record.stage), err_message(failure),
                  pause_ms(*failures) / 1000);
    err_free(failure);
    return migration_wait(m, clock_patience_ms(pause_ms(*failures)),
                          is_paused ? NULL : migration_is_paused, err);
}

static int
run_stages(struct migration *m, struct err **err)
{
    unsigned failures = 0;

    while (m->record.stage != STAGE_DONE)
        if (migration_check_stop(m, err) < 0 || run_stage(m, &failures, err) < 0)
            return -1;
    migration_report_summary(m);
    return 0;
}

/* A failed or stopped run forgets a finalize request that it did not get to: starting it again must
 * never shut a VM down unasked.  Once the guest was asked to shut down, or the VM is off, there is
 * nothing to ask any more; and when the supervisor crashed, nobody has stopped anything. */
static void
disarm(struct migration *m)
{
    bool is_waiting = m->record.stage == STAGE_AWAITING_SHUTDOWN;
    enum store_finalize request = STORE_FINALIZE_NONE;

    if (m->record.stage >= STAGE_FINAL_SYNC ||
        (is_waiting && !m->record.is_shutdown_action_required) ||
        (m->options->stop && *m->options->stop == MIGRATION_STOP_ORPHANED))
        return;
    (void)migration_finalize_requested(m, &request, NULL);
    if (request != STORE_FINALIZE_NONE)
        migration_log(m, LOG_WARNING, "the finalize request is dropped; ask again when it runs");
    (void)migration_drop_requests(m, NULL);
    if (is_waiting) {
        m->record.stage = STAGE_DELTA;
        m->record.is_shutdown_action_required = false;
    }
}

static void
record_failure(struct migration *m, const struct err *failure)
{
    CLEANUP(err_freep) struct err *other = NULL;

    disarm(m);
    free(m->record.last_error);
    m->record.last_error = xstrdup(err_message(failure));
    free(m->record.last_error_code);
    m->record.last_error_code = xstrdup(err_code_name(err_code(failure)));
    if (migration_save(m, &other) < 0)
        log_err(LOG_ERROR, other, "recording the failure");
    (void)store_event_add(m->store, m->record.id, "error", err_message(failure), NULL);
    migration_mirror(m);
}

/* Nothing of ours stays on the source: a base copy that goes on later takes another snapshot and
 * copies what has changed in between. */
static void
tidy_source(struct migration *m)
{
    CLEANUP(err_freep) struct err *other = NULL;

    if (m->record.stage < STAGE_IMPORT_ROOT_DISK && migration_sweep_snapshots(m, &other) < 0)
        migration_log(m, LOG_WARNING, "our snapshot stays on the source until the next run: %s",
                      err_message(other));
}

static int
run_locked(struct migration *m, struct err **err)
{
    struct err *failure = NULL;
    bool is_done;

    if (load_record(m, &is_done, err) < 0)
        return -1;
    migration_report_vm(m);
    if (is_done) {
        migration_log(m, LOG_INFO, "already done");
        return 0;
    }
    if (write_specs(m, err) < 0)
        return -1;
    log_settings(m);
    free(take(m->record.last_error));
    free(take(m->record.last_error_code));
    m->is_checked = m->record.stage >= STAGE_BASE_COPY;
    if (migration_connect_cloudstack(m, &failure) == 0 &&
        (m->record.stage <= STAGE_PREPARING_STORAGE || migration_check_pools(m, &failure) == 0) &&
        run_stages(m, &failure) == 0)
        return 0;
    tidy_source(m);
    record_failure(m, failure);
    if (err_code(failure) != E_CANCELLED)
        migration_power_back_on(m);
    return err_move(err, &failure);
}

int
migration_run(const struct migration_options *options, struct err **err)
{
    struct migration m = {
        .options = options, .config = options->config, .spec = options->spec, .lock_fd = -1};
    struct err *failure = NULL;
    int result = -1;

    if (check_settings(&m, &failure) == 0 && connect_source(&m, &failure) == 0 &&
        migration_lock(m.config->migration.control_dir, m.config->vcenter.host, m.vm.moref,
                       &m.lock_fd, &failure) == 0)
        result = run_locked(&m, &failure);
    if (result < 0) {
        log_err(LOG_ERROR, failure, "failed");
        migration_report_error(&m, failure);
        err_move(err, &failure);
    }
    cloudstack_freep(&m.cloudstack);
    vsphere_freep(&m.vsphere);
    store_closep(&m.store);
    store_disks_done(&m.disks);
    store_migration_done(&m.record);
    vsphere_vm_done(&m.vm);
    free(m.progress);
    (void)log_open_file(NULL, NULL);
    close_fdp(&m.lock_fd);
    return result;
}
