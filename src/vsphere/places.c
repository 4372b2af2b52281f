/* Where listed VMs are: the name of the host, its cluster, the folders around the VM. */
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "vsphere/internal.h"

#define MAX_DEPTH 64 /* of folders; vCenter's own limit is far below */

struct place {
    char *moref, *name, *parent; /* parent: a moref, or NULL */
};
VEC_DECLARE(place_list, struct place);

struct places {
    struct place_list folders, hosts, clusters;
    struct vsphere_vms *vms;
    size_t next; /* the VM that is probably told next: both listings have one order */
};

static void
place_list_done(struct place_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].moref);
        free(list->items[i].name);
        free(list->items[i].parent);
    }
    vec_done(list);
}

static void
places_done(struct places *places)
{
    place_list_done(&places->folders);
    place_list_done(&places->hosts);
    place_list_done(&places->clusters);
}

static const struct place *
place_find(const struct place_list *list, const char *moref)
{
    for (size_t i = 0; moref && i < list->count; i++)
        if (!strcmp(list->items[i].moref, moref))
            return &list->items[i];
    return NULL;
}

static int
on_place(void *opaque, const struct object *object, struct err **err)
{
    struct place_list *list = opaque;
    const char *name = object_text(object, "name");

    if (name) /* else the account may not see it */
        vec_push(list, ((struct place){.moref = xstrdup(object->moref),
                                       .name = inventory_unescape_name(name),
                                       .parent = xstrdup(object_text(object, "parent"))}));
    return 0;
}

/* A host without a cluster has a ComputeResource of its own, which people do not see. */
static int
on_cluster(void *opaque, const struct object *object, struct err **err)
{
    return strcmp(object->type, "ClusterComputeResource") ? 0 : on_place(opaque, object, err);
}

/* "web/test": without the folder `vm` that is around all VMs of a data centre. */
static char *
folder_path(const struct place_list *folders, const char *moref)
{
    const struct place *folder = place_find(folders, moref);
    char *path = xstrdup("");

    for (int depth = 0; folder && depth < MAX_DEPTH; depth++) {
        const struct place *above = place_find(folders, folder->parent);
        char *longer;

        if (!above)
            break;
        longer = *path ? xasprintf("%s/%s", folder->name, path) : xstrdup(folder->name);
        free(path);
        path = longer;
        folder = above;
    }
    return path;
}

static int
on_vm(void *opaque, const struct object *object, struct err **err)
{
    struct places *places = opaque;
    struct vsphere_vms *vms = places->vms;

    for (size_t i = 0; i < vms->count; i++) {
        size_t at = (places->next + i) % vms->count;

        if (strcmp(vms->items[at].moref, object->moref) != 0)
            continue;
        free(vms->items[at].folder);
        vms->items[at].folder = folder_path(&places->folders, object_text(object, "parent"));
        places->next = at + 1;
        break;
    }
    return 0;
}

static void
place_on_host(const struct places *places, struct vsphere_vm *vm)
{
    const struct place *host = place_find(&places->hosts, vm->host);
    const struct place *cluster = host ? place_find(&places->clusters, host->parent) : NULL;

    if (host) {
        free(vm->host_name);
        vm->host_name = xstrdup(host->name);
    }
    if (cluster) {
        free(vm->cluster);
        vm->cluster = xstrdup(cluster->name);
    }
}

int
vsphere_place_vms(struct vsphere *vsphere, struct vsphere_vms *vms, struct err **err)
{
    static const char *const paths[] = {"name", "parent", NULL};
    static const char *const parent_paths[] = {"parent", NULL};
    CLEANUP(places_done) struct places places = {.vms = vms};
    const struct {
        const char *type;
        const char *const *paths;
        object_fn fn;
        void *opaque;
    } readings[] = {
        {"Folder", paths, on_place, &places.folders},
        {"HostSystem", paths, on_place, &places.hosts},
        {"ComputeResource", paths, on_cluster, &places.clusters},
        {"VirtualMachine", parent_paths, on_vm, &places},
    };

    for (size_t i = 0; i < ARRAY_SIZE(readings); i++)
        if (props_read_below(vsphere, "Folder", vsphere->root_folder, readings[i].type,
                             readings[i].paths, readings[i].fn, readings[i].opaque, err) < 0)
            return -1;
    for (size_t i = 0; i < vms->count; i++)
        place_on_host(&places, &vms->items[i]);
    return 0;
}
