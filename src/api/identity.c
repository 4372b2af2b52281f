/* Which VMs new jobs are of: by moref and vCenter, however they and it are called. */
#include "api/internal.h"
#include "base/log.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

#define TIMEOUT_MS 10000 /* of one call: somebody waits for the answer */

/* One reading of the inventory for all that have no moref yet.  One that is not found, or is not the only one of its
 * name, is for its worker to tell of. */
static void
take_morefs(struct vsphere *vsphere, const struct plan *plan, struct store_jobs *jobs)
{
    struct vsphere_selector *selectors = xcalloc(jobs->count + 1, sizeof(*selectors));
    char **morefs = xcalloc(jobs->count + 1, sizeof(*morefs));
    struct err **errors = xcalloc(jobs->count + 1, sizeof(*errors));
    struct store_job **unknown = xcalloc(jobs->count + 1, sizeof(struct store_job *));
    CLEANUP(err_freep) struct err *failure = NULL;
    size_t count = 0;

    for (size_t i = 0; i < jobs->count; i++)
        if (!jobs->items[i].vm_moref) {
            selectors[count] = (struct vsphere_selector){.uuid = plan->items[i].uuid,
                                                         .name = plan->items[i].vm_name,
                                                         .datacenter = plan->items[i].datacenter};
            unknown[count++] = &jobs->items[i];
        }
    if (count && vsphere_find_vms(vsphere, selectors, count, morefs, errors, &failure) < 0)
        log_info("VMs of new jobs are told apart by name: %s", err_message(failure));
    for (size_t i = 0; i < count; i++) {
        unknown[i]->vm_moref = morefs[i];
        err_free(errors[i]);
    }
    free(selectors);
    free(morefs);
    free(errors);
    free(unknown);
}

void
jobs_identify(const struct config *config, const struct plan *plan, struct store_jobs *jobs)
{
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;

    if (server_connect_vcenter(config, TIMEOUT_MS, &vsphere, &failure) < 0) {
        log_info("VMs of new jobs are told apart by name: %s", err_message(failure));
        return;
    }
    for (size_t i = 0; i < jobs->count; i++)
        jobs->items[i].vcenter_uuid = xstrdup(vsphere_server_uuid(vsphere));
    take_morefs(vsphere, plan, jobs);
}
