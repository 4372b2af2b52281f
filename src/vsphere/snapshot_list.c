/* The snapshots of all VMs. */
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vsphere/internal.h"

void
vsphere_vm_snapshots_done(struct vsphere_vm_snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->count; i++) {
        free(snapshots->items[i].vm_moref);
        free(snapshots->items[i].vm_name);
        free(snapshots->items[i].moref);
        free(snapshots->items[i].name);
    }
    vec_done(snapshots);
}

/* What cannot be read of a VM fails the listing: "no snapshots" would be a guess. */
static int
on_vm(void *opaque, const struct object *object, struct err **err)
{
    struct vsphere_vm_snapshots *all = opaque;
    CLEANUP(snapshots_done) struct vsphere_snapshots tree = {0};
    const char *name = object_text(object, "name");

    if (object_check_readable(object, "snapshot", err) < 0)
        return -1;
    snapshots_read(object_get(object, "snapshot"), &tree);
    for (size_t i = 0; i < tree.count; i++)
        vec_push(all, ((struct vsphere_vm_snapshot){
                          .vm_moref = xstrdup(object->moref),
                          .vm_name = inventory_unescape_name(name ? name : ""),
                          .moref = take(tree.items[i].moref),
                          .name = take(tree.items[i].name),
                      }));
    return 0;
}

static int
list(struct vsphere *vsphere, struct vsphere_vm_snapshots *all, struct err **err)
{
    static const char *const paths[] = {"name", "snapshot", NULL};
    CLEANUP(datacenters_done) struct datacenters datacenters = {0};
    int result = datacenters_read(vsphere, &datacenters, err);

    for (size_t i = 0; i < datacenters.count && result == 0; i++)
        result = props_read_below(vsphere, datacenters.items[i].type, datacenters.items[i].moref,
                                  "VirtualMachine", paths, on_vm, all, err);
    return result;
}

int
vsphere_list_snapshots(struct vsphere *vsphere, struct vsphere_vm_snapshots *ret, struct err **err)
{
    for (bool is_second = false;; is_second = true) {
        struct vsphere_vm_snapshots all = {0};
        struct err *error = NULL;

        if (list(vsphere, &all, &error) == 0) {
            *ret = all;
            return 0;
        }
        vsphere_vm_snapshots_done(&all);
        /* Views and pages die with their session: from the start, once. */
        if (err_code(error) != E_VSPHERE_SESSION || is_second)
            return err_move(err, &error);
        err_free(error);
    }
}
