/* Ways back while there is one: a run that is cancelled, and a source that is powered on again when its
 * cutover has failed. */
#include "base/clock.h"
#include "migration/internal.h"

#define CANCEL    "cancel_requested" /* settings of the VM */
#define SHUT_DOWN "source_shut_down"
#define LOOK_MS   1000

static struct store_subject
subject(int64_t migration)
{
    return (struct store_subject){.scope = STORE_VM, .migration = migration};
}

bool
migration_is_over(enum store_stage stage)
{
    return stage == STAGE_DONE || stage == STAGE_ROLLED_BACK;
}

static int
get_flag(struct store *store, int64_t migration, const char *key, bool *ret, struct err **err)
{
    const struct store_subject vm = subject(migration);
    CLEANUP(free_charp) char *value = NULL;

    if (store_setting_get(store, &vm, key, &value, err) < 0)
        return -1;
    *ret = value != NULL;
    return 0;
}

static int
put_flag(struct store *store, int64_t migration, const char *key, bool value, struct err **err)
{
    const struct store_subject vm = subject(migration);

    return store_setting_put(store, &vm, key, value ? "yes" : NULL, err);
}

int
migration_has_shut_down(struct store *store, int64_t migration, bool *ret, struct err **err)
{
    return get_flag(store, migration, SHUT_DOWN, ret, err);
}

int
migration_note_shutdown(struct migration *m, bool is_down, struct err **err)
{
    return put_flag(m->store, m->record.id, SHUT_DOWN, is_down, err);
}

/* ---- cancel ----------------------------------------------------------------------------------- */

int
migration_request_cancel(struct store *store, int64_t migration, bool is_wanted, struct err **err)
{
    return put_flag(store, migration, CANCEL, is_wanted, err);
}

int
migration_is_cancel_wanted(struct store *store, int64_t migration, bool *ret, struct err **err)
{
    return get_flag(store, migration, CANCEL, ret, err);
}

bool
migration_is_cancelled(struct migration *m)
{
    int64_t now = clock_monotonic_ms();

    if (!m->record.id || (m->cancel_seen_ms && now - m->cancel_seen_ms < LOOK_MS))
        return m->is_cancelled;
    m->cancel_seen_ms = now;
    (void)get_flag(m->store, m->record.id, CANCEL, &m->is_cancelled, NULL);
    return m->is_cancelled;
}

/* ---- on_failure: power_on_source -------------------------------------------------------------- */

/* Whether CloudStack may have anything of the VM: then two of it could come to run. */
static int
has_import_begun(struct migration *m, bool *ret_has, struct err **err)
{
    struct store_intent intent = {0};
    bool has = m->record.cloudstack_vm_id != NULL;

    if (!has && store_intent_get(m->store, m->record.id, "import_vm", &has, &intent, err) < 0)
        return -1;
    store_intent_done(&intent);
    for (size_t i = 0; i < m->disks.count && !has; i++) {
        CLEANUP(free_charp)
        char *step = xasprintf("import_volume:%s", m->disks.items[i].address);

        intent = (struct store_intent){0};
        if (store_intent_get(m->store, m->record.id, step, &has, &intent, err) < 0)
            return -1;
        store_intent_done(&intent);
    }
    *ret_has = has;
    return 0;
}

static int
power_on(struct migration *m, struct err **err)
{
    bool is_converted;

    if (migration_is_converted(m, &is_converted, err) < 0)
        return -1;
    migration_log(m, LOG_WARNING, "Powering the source VM on again (on_failure: power_on_source)");
    if (vsphere_power_on(m->vsphere, m->record.vm_moref, err) < 0)
        return -1;
    if (is_converted) { /* no delta fits onto it any more: the stage stays, and says so when it is run */
        migration_log(m, LOG_WARNING,
                      "its copy is converted already: cancel this migration and begin it anew");
        return migration_note_shutdown(m, false, err);
    }
    return migration_back_to_delta(m, "the source VM was powered on after the failure", err);
}

void
migration_power_back_on(struct migration *m)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    bool is_down = false, has_begun = true;

    if (m->spec->on_failure != CONFIG_ON_FAILURE_POWER_ON || m->record.stage < STAGE_FINAL_SYNC ||
        migration_is_over(m->record.stage))
        return;
    if (migration_has_shut_down(m->store, m->record.id, &is_down, &failure) == 0 && is_down &&
        has_import_begun(m, &has_begun, &failure) == 0 && !has_begun && power_on(m, &failure) == 0)
        return;
    if (failure)
        migration_log(m, LOG_ERROR, "the source VM stays off: %s", err_message(failure));
    else if (is_down)
        migration_log(
            m, LOG_ERROR,
            "the source VM stays off: CloudStack may have the imported one already. Run it "
            "again, or take it back with v2c-engine rollback");
}
