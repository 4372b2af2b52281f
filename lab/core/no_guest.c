/* Stands in for lab/guest where it is not built: everything that needs a real guest says so. */
#include <string.h>

#include "base/err.h"
#include "disks/machine.h"
#include "guest/guest.h"

int
lab_live_new(const struct lab_machine_plan *plan, struct lab_machine **ret, struct err **err)
{
    return err_set(err, E_NOT_BUILT, "this lab is built without live guests");
}

int
lab_boot_start(const struct lab_boot_plan *plan, struct lab_boot **ret, struct err **err)
{
    return err_set(err, E_NOT_BUILT, "this lab is built without live guests");
}

void
lab_boot_state(struct lab_boot *boot, struct lab_boot_state *ret)
{
    memset(ret, 0, sizeof(*ret));
}

void
lab_boot_stop(struct lab_boot *boot)
{
}
