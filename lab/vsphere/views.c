/* SearchIndex and container views. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "vsphere/inner.h"

#define MAX_VIEWS 1000

/* ---- search ----------------------------------------------------------------------------------- */

struct lookup {
    struct lab_vsphere *vs;
    const char *parent, *name; /* of the child sought */
    char moref[32];
};

/* Everything below a folder, datacenter or cluster that has a name, VMs included. */
static void
find_child(struct lookup *lookup)
{
    struct lab *lab = lookup->vs->lab;
    char name[512];

    lookup->moref[0] = '\0';
    for (size_t i = 0; i < lookup->vs->entities.count; i++) {
        const struct vs_entity *entity = &lookup->vs->entities.items[i];

        if (!strcmp(entity->parent, lookup->parent) && !strcmp(entity->name, lookup->name))
            memcpy(lookup->moref, entity->moref, sizeof(lookup->moref));
    }
    for (size_t i = 0; i < lab->vms.count && !lookup->moref[0]; i++) {
        const char *moref = lab->vms.items[i]->moref;

        vs_escape_name(lab->vms.items[i]->name, name, sizeof(name));
        if (!strcmp(vs_parent_of(lookup->vs, moref), lookup->parent) && !strcmp(name, lookup->name))
            (void)snprintf(lookup->moref, sizeof(lookup->moref), "%s", moref);
    }
}

static void
return_found(struct vs_call *call, const char *moref)
{
    const char *type = *moref ? vs_object_type(call->vs, moref, call->cookie) : NULL;

    if (type)
        vs_return(call, "ManagedObjectReference", value_ref(type, moref));
}

int
vs_find_by_path(struct vs_call *call)
{
    struct lookup lookup = {.vs = call->vs};
    char path[2048], at[32] = "group-d1", *save = NULL;

    vs_param(call, "inventoryPath", path, sizeof(path));
    for (char *name = strtok_r(path, "/", &save); name && *at; name = strtok_r(NULL, "/", &save)) {
        lookup.parent = at;
        lookup.name = name;
        find_child(&lookup);
        memcpy(at, lookup.moref, sizeof(at));
    }
    return_found(call, at);
    return 0;
}

int
vs_find_child(struct vs_call *call)
{
    struct lookup lookup = {.vs = call->vs};
    char entity[64], name[512];

    vs_param(call, "entity", entity, sizeof(entity));
    vs_param(call, "name", name, sizeof(name));
    lookup.parent = entity;
    lookup.name = name;
    find_child(&lookup);
    return_found(call, lookup.moref);
    return 0;
}

static void
find_uuid(struct vs_call *call, bool is_all)
{
    char uuid[64], datacenter[64];
    const struct vs_entity *within;
    bool is_instance = vs_param_bool(call, "instanceUuid", false);

    vs_param(call, "uuid", uuid, sizeof(uuid));
    vs_param(call, "datacenter", datacenter, sizeof(datacenter));
    within = *datacenter ? vs_entity_find(call->vs, datacenter) : NULL;
    if (!vs_param_bool(call, "vmSearch", true))
        return;
    for (size_t i = 0; i < call->lab->vms.count; i++) {
        const struct lab_vm *vm = call->lab->vms.items[i];

        if (strcasecmp(is_instance ? vm->instance_uuid : vm->bios_uuid, uuid) != 0 ||
            (within && strcmp(within->name, vm->datacenter) != 0))
            continue;
        return_found(call, vm->moref);
        if (!is_all)
            return;
    }
}

int
vs_find_by_uuid(struct vs_call *call)
{
    find_uuid(call, false);
    return 0;
}

int
vs_find_all_by_uuid(struct vs_call *call)
{
    find_uuid(call, true);
    return 0;
}

/* ---- views ------------------------------------------------------------------------------------ */

struct vs_view *
vs_view_find(struct lab_vsphere *vs, const char *moref)
{
    for (size_t i = 0; i < vs->views.count; i++)
        if (!strcmp(vs->views.items[i]->moref, moref))
            return vs->views.items[i];
    return NULL;
}

static void
view_free(struct vs_view *view)
{
    for (size_t i = 0; i < view->types.count; i++)
        free(view->types.items[i]);
    vec_done(&view->types);
    free(view);
}

void
vs_views_end(struct lab_vsphere *vs, const char *cookie)
{
    for (size_t i = vs->views.count; i-- > 0;) {
        if (strcmp(vs->views.items[i]->cookie, cookie) != 0)
            continue;
        view_free(vs->views.items[i]);
        vs->views.items[i] = vs->views.items[--vs->views.count];
    }
}

static bool
is_wanted(const struct vs_view *view, const char *type)
{
    for (size_t i = 0; i < view->types.count; i++)
        if (vs_type_is(type, view->types.items[i]))
            return true;
    return view->types.count == 0;
}

static bool
is_inside(struct lab_vsphere *vs, const struct vs_view *view, const char *moref)
{
    const char *parent = vs_parent_of(vs, moref);

    while (*parent && strcmp(parent, view->container) != 0 && view->is_recursive)
        parent = vs_parent_of(vs, parent);
    return !strcmp(parent, view->container);
}

struct value *
vs_view_members(struct lab_vsphere *vs, const struct vs_view *view)
{
    struct value *list = value_list("ManagedObjectReference");

    for (size_t i = 0; i < vs->entities.count; i++) {
        const struct vs_entity *entity = &vs->entities.items[i];

        if (is_wanted(view, entity->type) && is_inside(vs, view, entity->moref))
            value_add(list, value_ref(entity->type, entity->moref));
    }
    for (size_t i = 0; i < vs->lab->vms.count && is_wanted(view, "VirtualMachine"); i++)
        if (is_inside(vs, view, vs->lab->vms.items[i]->moref))
            value_add(list, value_ref("VirtualMachine", vs->lab->vms.items[i]->moref));
    return list;
}

int
vs_create_container_view(struct vs_call *call)
{
    struct vs_view *view;
    char container[64];

    vs_param(call, "container", container, sizeof(container));
    if (!vs_entity_find(call->vs, container))
        return vs_fail_argument(call, "container", "no such container");
    if (call->vs->views.count >= MAX_VIEWS)
        return vs_fail(call, vs_fault_new("RuntimeFault", "Too many views"));
    view = xcalloc(1, sizeof(*view));
    (void)snprintf(view->container, sizeof(view->container), "%.31s", container);
    memcpy(view->cookie, call->cookie, sizeof(view->cookie));
    (void)snprintf(view->moref, sizeof(view->moref), "session[%s]52%010" PRIx64, call->session->key,
                   call->vs->next_number++);
    view->is_recursive = vs_param_bool(call, "recursive", false);
    for (xmlNode *type = vs_child(call->method, "type"); type; type = vs_next(type->next, "type")) {
        char text[64];

        vs_text(type, text, sizeof(text));
        vec_push(&view->types, xstrdup(text));
    }
    vec_push(&call->vs->views, view);
    vs_return(call, "ManagedObjectReference", value_ref("ContainerView", view->moref));
    return 0;
}

int
vs_destroy_view(struct vs_call *call)
{
    for (size_t i = call->vs->views.count; i-- > 0;) {
        if (strcmp(call->vs->views.items[i]->moref, call->moref) != 0)
            continue;
        view_free(call->vs->views.items[i]);
        call->vs->views.items[i] = call->vs->views.items[--call->vs->views.count];
    }
    return 0;
}
