/* Power.  A VM that is already as it is wanted is a success. */
#include "vsphere/internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define SETTLE_POLL_MS 250

/* Looks at the VM until it is @wanted; with a lost answer for as long as one may take effect. */
static int
settle_power(struct vsphere *vsphere, const char *moref, enum vsphere_power wanted,
             int64_t settle_ms, bool *ret_is, struct err **err)
{
    int64_t end = clock_monotonic_ms() + settle_ms;

    for (;;) {
        CLEANUP(err_freep) struct err *error = NULL;
        enum vsphere_power power;
        int64_t left;

        if (vsphere_power_state(vsphere, moref, &power, &error) == 0 && power == wanted) {
            *ret_is = true;
            return 0;
        }
        if (error && err_class(error) != ERR_CLASS_RETRY)
            return err_move(err, &error);
        left = end - clock_monotonic_ms();
        if (left <= 0)
            return error ? err_move(err, &error) : 0;
        if (task_pause(vsphere, MIN(left, SETTLE_POLL_MS), err) < 0)
            return -1;
    }
}

static int
set_power(struct vsphere *vsphere, const char *moref, const char *method, enum vsphere_power wanted,
          struct err **err)
{
    const struct call call = {
        .method = method, .type = "VirtualMachine", .moref = moref, .is_change = true};
    CLEANUP(fault_done) struct fault fault = {0};
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(err_freep) struct err *look_error = NULL;
    enum vsphere_power power;
    bool is_wanted = false;

    if (vsphere_power_state(vsphere, moref, &power, err) < 0)
        return -1;
    if (power == wanted || task_run(vsphere, &call, moref, NULL, &fault, &error) == 0)
        return 0;
    if (fault_is(&fault, "InvalidPowerState")) /* somebody was faster, perhaps the guest itself */
        (void)settle_power(vsphere, moref, wanted, 0, &is_wanted, NULL);
    else if (soap_is_lost(error) && !fault.name &&
             settle_power(vsphere, moref, wanted, vsphere->settle_ms, &is_wanted, &look_error) <
                 0 &&
             err_code(look_error) == E_CANCELLED)
        return err_move(err, &look_error);
    return is_wanted ? 0 : err_move(err, &error);
}

int
vsphere_power_off(struct vsphere *vsphere, const char *moref, struct err **err)
{
    return set_power(vsphere, moref, "PowerOffVM_Task", VSPHERE_POWERED_OFF, err);
}

int
vsphere_power_on(struct vsphere *vsphere, const char *moref, struct err **err)
{
    return set_power(vsphere, moref, "PowerOnVM_Task", VSPHERE_POWERED_ON, err);
}

int
vsphere_shutdown_guest(struct vsphere *vsphere, const char *moref, struct err **err)
{
    CLEANUP(fault_done) struct fault fault = {0};
    CLEANUP(err_freep) struct err *error = NULL;
    const struct call call = {.method = "ShutdownGuest",
                              .type = "VirtualMachine",
                              .moref = moref,
                              .is_change = true,
                              .ret_fault = &fault};
    bool is_off = false;

    if (soap_call_void(vsphere, &call, &error) == 0)
        return 0;
    if (fault_is(&fault, "InvalidPowerState"))
        (void)settle_power(vsphere, moref, VSPHERE_POWERED_OFF, 0, &is_off, NULL);
    return is_off ? 0 : err_move(err, &error);
}
