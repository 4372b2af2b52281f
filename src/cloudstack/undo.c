/* The calls that give back what was imported. */
#include "cloudstack/internal.h"

static int
submit_id(struct cloudstack *cs, const char *command, const char *id, bool is_forced,
          char **ret_job_id, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "id", id);
    if (is_forced)
        params_add(&params, "forced", "true");
    result = cloudstack_submit(cs, command, &params, ret_job_id, err);
    params_done(&params);
    return result;
}

int
cloudstack_stop_vm(struct cloudstack *cs, const char *vm_id, bool is_forced, char **ret_job_id,
                   struct err **err)
{
    return submit_id(cs, "stopVirtualMachine", vm_id, is_forced, ret_job_id, err);
}

int
cloudstack_unmanage_vm(struct cloudstack *cs, const char *vm_id, char **ret_job_id,
                       struct err **err)
{
    return submit_id(cs, "unmanageVirtualMachine", vm_id, false, ret_job_id, err);
}

int
cloudstack_unmanage_volume(struct cloudstack *cs, const char *volume_id, char **ret_job_id,
                           struct err **err)
{
    return submit_id(cs, "unmanageVolume", volume_id, false, ret_job_id, err);
}
