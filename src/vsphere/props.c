/* The property collector (vSphere Web Services SDK, PropertyCollector). */
#include "vsphere/internal.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"

/* What real servers choose themselves when asked for no limit. */
#define PAGE_OBJECTS 100
/* A million objects is beyond every inventory; a server that pages for ever is not waited for. */
#define MAX_PAGES    10000

const struct xml_node *
object_get(const struct object *object, const char *path)
{
    for (const struct xml_node *p = xml_child(object->node, "propSet"); p; p = xml_next(p)) {
        const char *name = xml_child_text(p, "name");

        if (name && !strcmp(name, path))
            return xml_child(p, "val");
    }
    return NULL;
}

const char *
object_text(const struct object *object, const char *path)
{
    const struct xml_node *value = object_get(object, path);

    return value ? value->text : NULL;
}

bool
object_is_true(const struct object *object, const char *path)
{
    return xml_is_true(object_get(object, path));
}

int
object_check_readable(const struct object *object, const char *path, struct err **err)
{
    for (const struct xml_node *m = xml_child(object->node, "missingSet"); m; m = xml_next(m)) {
        const char *name = xml_child_text(m, "path");
        CLEANUP(fault_done) struct fault fault = {0};
        CLEANUP(free_charp) char *what = NULL;

        if (!name || strcmp(name, path) != 0)
            continue;
        fault_read_localized(xml_child(m, "fault"), &fault);
        what = xasprintf("%s of %s", path, object->moref);
        return fault_set(&fault, what, err);
    }
    return 0;
}

void
props_append_set(struct str *s, const char *type, const char *const *paths)
{
    str_append(s, "<propSet>");
    xml_append_element(s, "type", type);
    for (; *paths; paths++)
        xml_append_element(s, "pathSet", *paths);
    str_append(s, "</propSet>");
}

struct reading {
    object_fn fn;
    void *opaque;
};

static int
on_object(void *opaque, const struct xml_node *node, struct err **err)
{
    const struct reading *reading = opaque;
    const struct xml_node *obj = xml_child(node, "obj");
    struct object object = {.node = node};

    if (!obj || !obj->type || !*obj->text)
        return err_set(err, E_VSPHERE_PROTOCOL, "an object without type or id");
    object.type = obj->type;
    object.moref = obj->text;
    return reading->fn(reading->opaque, &object, err);
}

static void
cancel_paging(struct vsphere *vsphere, const char *token)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "CancelRetrievePropertiesEx",
                              .type = "PropertyCollector",
                              .moref = vsphere->property_collector,
                              .args = &args};

    xml_append_element(&args, "token", token);
    (void)soap_call_void(vsphere, &call, NULL);
}

/* One page; *token is the one of this page and becomes that of the next, or NULL. */
static int
read_page(struct vsphere *vsphere, const struct str *spec, char **token, struct reading *reading,
          struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    CLEANUP(answer_done) struct answer answer = {0};
    struct call call = {.method = *token ? "ContinueRetrievePropertiesEx" : "RetrievePropertiesEx",
                        .type = "PropertyCollector",
                        .moref = vsphere->property_collector,
                        .args = &args,
                        .stream = "objects",
                        .on_stream = on_object,
                        .opaque = reading};
    const char *next;

    if (*token) {
        xml_append_element(&args, "token", *token);
    } else {
        str_append(&args, "<specSet>");
        str_append(&args, str_text(spec));
        str_appendf(&args, "</specSet><options><maxObjects>%d</maxObjects></options>",
                    PAGE_OBJECTS);
    }
    if (soap_call(vsphere, &call, &answer, err) < 0) {
        if (*token && !soap_is_lost(err ? *err : NULL))
            cancel_paging(vsphere, *token);
        return -1;
    }
    next = xml_child_text(answer.result, "token");
    free(*token);
    *token = next && *next ? xstrdup(next) : NULL;
    return 0;
}

int
props_retrieve(struct vsphere *vsphere, const struct str *spec, object_fn fn, void *opaque,
               struct err **err)
{
    struct reading reading = {fn, opaque};
    CLEANUP(free_charp) char *token = NULL;
    CLEANUP(err_freep) struct err *error = NULL;
    unsigned logins = soap_logins(vsphere);

    for (int page = 0; page < MAX_PAGES; page++) {
        if (read_page(vsphere, spec, &token, &reading, &error) < 0) {
            if (page == 0 || soap_logins(vsphere) == logins)
                return err_move(err, &error);
            return err_set(err, E_VSPHERE_SESSION, "the session ended while a list was read: %s",
                           err_message(error));
        }
        if (!token)
            return 0;
    }
    return err_set(err, E_LIMIT, "a list of vCenter has more than %d pages", MAX_PAGES);
}

int
props_read(struct vsphere *vsphere, const char *type, const char *moref, const char *const *paths,
           object_fn fn, void *opaque, struct err **err)
{
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);

    props_append_set(&spec, type, paths);
    str_append(&spec, "<objectSet>");
    xml_append_ref(&spec, "obj", type, moref);
    str_append(&spec, "</objectSet>");
    return props_retrieve(vsphere, &spec, fn, opaque, err);
}

/* Objects in one request: as many as come in one answer. */
static int
read_some(struct vsphere *vsphere, const char *type, const char *const *morefs, size_t count,
          const char *const *paths, object_fn fn, void *opaque, struct err **err)
{
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);

    props_append_set(&spec, type, paths);
    for (size_t i = 0; i < count; i++) {
        str_append(&spec, "<objectSet>");
        xml_append_ref(&spec, "obj", type, morefs[i]);
        str_append(&spec, "</objectSet>");
    }
    str_append(&spec, "<reportMissingObjectsInResults>true</reportMissingObjectsInResults>");
    return props_retrieve(vsphere, &spec, fn, opaque, err);
}

int
props_read_many(struct vsphere *vsphere, const char *type, const char *const *morefs, size_t count,
                const char *const *paths, object_fn fn, void *opaque, struct err **err)
{
    for (size_t i = 0; i < count; i += PAGE_OBJECTS)
        if (read_some(vsphere, type, morefs + i, MIN(count - i, (size_t)PAGE_OBJECTS), paths, fn,
                      opaque, err) < 0)
            return -1;
    return 0;
}

/* ---- container views ---- */

static int
create_view(struct vsphere *vsphere, const char *container_type, const char *container,
            const char *type, char **ret_view, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "CreateContainerView",
                              .type = "ViewManager",
                              .moref = vsphere->view_manager,
                              .args = &args};
    CLEANUP(answer_done) struct answer answer = {0};

    xml_append_ref(&args, "container", container_type, container);
    xml_append_element(&args, "type", type);
    str_append(&args, "<recursive>true</recursive>");
    if (soap_call(vsphere, &call, &answer, err) < 0)
        return -1;
    if (!answer.result || !*answer.result->text)
        return err_set(err, E_VSPHERE_PROTOCOL, "CreateContainerView gave no view");
    *ret_view = xstrdup(answer.result->text);
    return 0;
}

static void
destroy_view(struct vsphere *vsphere, const char *view)
{
    const struct call call = {.method = "DestroyView", .type = "ContainerView", .moref = view};

    (void)soap_call_void(vsphere, &call, NULL);
}

int
props_read_below(struct vsphere *vsphere, const char *container_type, const char *container,
                 const char *type, const char *const *paths, object_fn fn, void *opaque,
                 struct err **err)
{
    CLEANUP(str_done) struct str spec = STR_INIT(MAX_ARGS);
    CLEANUP(free_charp) char *view = NULL;
    CLEANUP(err_freep) struct err *error = NULL;
    unsigned logins = soap_logins(vsphere);

    if (create_view(vsphere, container_type, container, type, &view, err) < 0)
        return -1;
    props_append_set(&spec, type, paths);
    str_append(&spec, "<objectSet>");
    xml_append_ref(&spec, "obj", "ContainerView", view);
    str_append(&spec, "<skip>true</skip><selectSet xsi:type=\"TraversalSpec\"><name>view</name>"
                      "<type>ContainerView</type><path>view</path><skip>false</skip></selectSet>"
                      "</objectSet><reportMissingObjectsInResults>true"
                      "</reportMissingObjectsInResults>");
    if (props_retrieve(vsphere, &spec, fn, opaque, &error) < 0) {
        /* The view went with its session: what the server says of it then is not the cause. */
        if (soap_logins(vsphere) != logins && err_code(error) == E_VSPHERE_NOT_FOUND)
            return err_set(err, E_VSPHERE_SESSION, "the session ended while a list was read");
        if (!task_is_cancelled(vsphere))
            destroy_view(vsphere, view);
        return err_move(err, &error);
    }
    destroy_view(vsphere, view);
    return 0;
}
