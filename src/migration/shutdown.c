/* Brings the source down: by asking its guest, by force where that was consented to, or by waiting
 * for somebody.  A VMware guest is never switched off hard without consent.
 *
 * In stage awaiting_shutdown_action the VM is going down (its guest was asked) or somebody is to act
 * (is_shutdown_action_required). */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "migration/internal.h"

#define GUEST_SHUTDOWN_MS (5 * 60 * 1000)
#define QUICK_MS          250 /* between looks while the guest goes down: it is downtime */
#define SLOW_MS           3000
#define TELL_MS           60000

/* A passing fault counts as "not yet" and is told once a minute; any other fails. */
static int
look_whether_off(struct migration *m, bool *ret_is_off, struct err **err)
{
    struct err *failure = NULL;
    enum vsphere_power power = VSPHERE_POWERED_ON;
    int64_t now = clock_monotonic_ms();

    *ret_is_off = false;
    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, &failure) == 0) {
        *ret_is_off = power == VSPHERE_POWERED_OFF;
        return 0;
    }
    if (err_class(failure) != ERR_CLASS_RETRY)
        return err_move(err, &failure);
    if (!m->told_of_power_ms || now - m->told_of_power_ms > TELL_MS) {
        m->told_of_power_ms = now;
        migration_log(m, LOG_WARNING, "cannot see whether the VM is off: %s", err_message(failure));
    }
    err_free(failure);
    return 0;
}

static int
enter_final_sync(struct migration *m, struct err **err)
{
    m->record.powered_off_at = clock_wall_s();
    m->record.is_shutdown_action_required = false;
    free(take(m->record.shutdown_reason));
    migration_log(m, LOG_INFO, "Source VM is powered off");
    return migration_enter(m, STAGE_FINAL_SYNC, err);
}

static int
enter_awaiting(struct migration *m, bool is_action_required, const char *reason, struct err **err)
{
    m->record.is_shutdown_action_required = is_action_required;
    m->has_waited_for_person |= is_action_required;
    free(m->record.shutdown_reason);
    m->record.shutdown_reason = xstrdup(reason);
    free(m->record.shutdown_tools_status);
    m->record.shutdown_tools_status = xstrdup(m->vm.tools_status);
    if (is_action_required)
        migration_log(m, LOG_WARNING,
                      "%s: shut the VM down yourself, or consent to a hard power-off by creating "
                      "SHUTDOWN_FORCE in %s",
                      reason, m->record.directory);
    return migration_enter(m, STAGE_AWAITING_SHUTDOWN, err);
}

static int
force_off(struct migration *m, struct err **err)
{
    migration_log(m, LOG_INFO, "Powering the source VM off");
    if (migration_note_shutdown(m, true, err) < 0)
        return -1;
    if (vsphere_power_off(m->vsphere, m->record.vm_moref, err) < 0)
        return err_wrap(err, "powering the source off");
    return enter_final_sync(m, err);
}

static int
ask_guest(struct migration *m, struct err **err)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (!m->vm.tools_status || !strcmp(m->vm.tools_status, "guestToolsNotRunning"))
        return enter_awaiting(m, true, "VMware Tools do not run in the guest", err);
    migration_log(m, LOG_INFO, "Asking the guest to shut down");
    /* Recorded before it is asked: once asked it goes down, whatever becomes of us. */
    if (migration_note_shutdown(m, true, err) < 0 ||
        enter_awaiting(m, false, "the guest was asked to shut down", err) < 0)
        return -1;
    if (vsphere_shutdown_guest(m->vsphere, m->record.vm_moref, &failure) == 0)
        return 0;
    if (err_class(failure) == ERR_CLASS_RETRY)
        return err_move(err, &failure);
    return enter_awaiting(m, true, err_message(failure), err);
}

int
migration_power_down(struct migration *m, struct err **err)
{
    if (migration_read_source(m, err) < 0)
        return -1;
    if (m->vm.power == VSPHERE_POWERED_OFF)
        return enter_final_sync(m, err);
    switch (m->spec->shutdown) {
    case CONFIG_SHUTDOWN_FORCE:
        return force_off(m, err);
    case CONFIG_SHUTDOWN_MANUAL:
        return enter_awaiting(m, true, "shutdown_mode is manual", err);
    default:
        return ask_guest(m, err);
    }
}

/* The consent is only used up once the VM is off. */
static int
force_by_marker(struct migration *m, bool *ret_is_done, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(m->record.directory, "SHUTDOWN_FORCE");

    *ret_is_done = access(path, F_OK) == 0;
    if (!*ret_is_done)
        return 0;
    if (force_off(m, err) < 0)
        return -1;
    migration_take_marker(m, "SHUTDOWN_FORCE");
    return 0;
}

int
migration_stage_shutdown(struct migration *m, struct err **err)
{
    int64_t began_ms = clock_monotonic_ms();

    for (;;) {
        int64_t waited_ms = clock_monotonic_ms() - began_ms;
        bool is_off, is_done;

        if (look_whether_off(m, &is_off, err) < 0)
            return -1;
        if (is_off)
            return enter_final_sync(m, err);
        if (force_by_marker(m, &is_done, err) < 0)
            return -1;
        if (is_done)
            return 0;
        if (migration_take_marker(m, "SHUTDOWN_MANUAL"))
            migration_log(m, LOG_INFO, "told that the VM was shut down, but it is still on");
        if (!m->record.is_shutdown_action_required && waited_ms > GUEST_SHUTDOWN_MS &&
            enter_awaiting(m, true, "the guest did not shut down within 5 minutes", err) < 0)
            return -1;
        if (migration_wait(m, waited_ms < GUEST_SHUTDOWN_MS ? QUICK_MS : SLOW_MS, NULL, err) < 0)
            return -1;
    }
}
