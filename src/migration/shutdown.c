/* Brings the source down: by asking its guest, by force where that was consented to, or by waiting
 * for somebody.  A VMware guest is never switched off hard without consent. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "migration/internal.h"

#define GUEST_SHUTDOWN_MS (5 * 60 * 1000)
#define ASK_AGAIN_MS      2000

static bool
is_off(struct migration *m)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    enum vsphere_power power = VSPHERE_POWERED_ON;

    if (vsphere_power_state(m->vsphere, m->record.vm_moref, &power, &failure) < 0)
        log_debug("power state: %s", err_message(failure)); /* asked again at once */
    return power == VSPHERE_POWERED_OFF;
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
ask_somebody(struct migration *m, const char *reason, struct err **err)
{
    m->record.is_shutdown_action_required = true;
    free(m->record.shutdown_reason);
    m->record.shutdown_reason = xstrdup(reason);
    free(m->record.shutdown_tools_status);
    m->record.shutdown_tools_status = xstrdup(m->vm.tools_status);
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
    if (vsphere_power_off(m->vsphere, m->record.vm_moref, err) < 0)
        return err_wrap(err, "powering the source off");
    return enter_final_sync(m, err);
}

static int
shut_down_guest(struct migration *m, struct err **err)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (!m->vm.tools_status || !strcmp(m->vm.tools_status, "guestToolsNotRunning"))
        return ask_somebody(m, "VMware Tools do not run in the guest", err);
    migration_log(m, LOG_INFO, "Asking the guest to shut down");
    if (vsphere_shutdown_guest(m->vsphere, m->record.vm_moref, &failure) < 0) {
        if (err_class(failure) == ERR_CLASS_RETRY)
            return err_move(err, &failure);
        return ask_somebody(m, err_message(failure), err);
    }
    if (migration_wait(m, GUEST_SHUTDOWN_MS, is_off, err) < 0)
        return -1;
    if (!is_off(m))
        return ask_somebody(m, "the guest did not shut down within 5 minutes", err);
    return enter_final_sync(m, err);
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
        return ask_somebody(m, "shutdown_mode is manual", err);
    default:
        return shut_down_guest(m, err);
    }
}

int
migration_stage_shutdown(struct migration *m, struct err **err)
{
    for (;;) {
        if (is_off(m))
            return enter_final_sync(m, err);
        if (migration_take_marker(m, "SHUTDOWN_FORCE"))
            return force_off(m, err);
        if (migration_take_marker(m, "SHUTDOWN_MANUAL"))
            migration_log(m, LOG_INFO, "told that the VM was shut down, but it is still on");
        if (migration_wait(m, ASK_AGAIN_MS, is_off, err) < 0)
            return -1;
    }
}
