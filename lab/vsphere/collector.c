/* The property collector's one-time side: which objects a specification selects, their properties, and
 * answers in pages. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "vsphere/inner.h"

#define MAX_DEPTH 40
#define MAX_FOUND 100000
#define MAX_PAGES 200

/* ---- selecting -------------------------------------------------------------------------------- */

struct visit {
    const xmlNode *set; /* the objectSet or selectSet that was followed */
    char moref[256];    /* from there */
};

struct walk {
    struct vs_call *call;
    xmlNode *object_set; /* names of selections are looked up in it */
    struct vs_founds *founds;
    VEC_DECLARE(, struct visit)
    visits;
    xmlNode *parent; /* whose selectSet elements are being followed */
    bool skips;
    int depth;
};

static void walk_object(struct walk *walk, const char *type, const char *moref);

/* A selection that has a name only means another one of that name, anywhere in the tree. */
static xmlNode *
find_named(xmlNode *node, const char *name)
{
    char text[128];

    for (xmlNode *set = vs_child(node, "selectSet"); set; set = vs_next(set->next, "selectSet")) {
        xmlNode *inner;

        vs_text(vs_child(set, "name"), text, sizeof(text));
        if (vs_child(set, "path") && !strcmp(text, name))
            return set;
        inner = find_named(set, name);
        if (inner)
            return inner;
    }
    return NULL;
}

static bool
was_visited(struct walk *walk, const xmlNode *set, const char *moref)
{
    struct visit visit = {.set = set};

    for (size_t i = 0; i < walk->visits.count; i++)
        if (walk->visits.items[i].set == set && !strcmp(walk->visits.items[i].moref, moref))
            return true;
    (void)snprintf(visit.moref, sizeof(visit.moref), "%s", moref);
    vec_push(&walk->visits, visit);
    return false;
}

static void
walk_ref(void *opaque, const char *type, const char *moref)
{
    walk_object(opaque, type, moref);
}

static void
follow(struct walk *walk, xmlNode *set, const char *type, const char *moref)
{
    CLEANUP(value_freep) struct value *top = NULL;
    char path[128], wanted[64], skip[16], first[64];
    const struct value *value;
    struct walk inner = *walk;
    bool is_wrong;

    vs_text(vs_child(set, "type"), wanted, sizeof(wanted));
    vs_text(vs_child(set, "path"), path, sizeof(path));
    vs_text(vs_child(set, "skip"), skip, sizeof(skip));
    if (!vs_type_is(type, wanted) || was_visited(walk, set, moref))
        return;
    (void)snprintf(first, sizeof(first), "%.*s", (int)strcspn(path, "."), path);
    top = vs_property(walk->call->vs, type, moref, first, walk->call->cookie);
    value = value_at(top, path[strlen(first)] ? path + strlen(first) + 1 : "", &is_wrong);
    inner.visits = walk->visits;
    inner.parent = set;
    inner.skips = !strcmp(skip, "true") || !strcmp(skip, "1");
    inner.depth = walk->depth + 1;
    value_each_ref(value, walk_ref, &inner);
    walk->visits = inner.visits;
}

static void
walk_object(struct walk *walk, const char *type, const char *moref)
{
    struct vs_found found = {0};
    bool is_known = walk->skips;

    if (walk->depth > MAX_DEPTH || walk->founds->count >= MAX_FOUND)
        return;
    for (size_t i = 0; i < walk->founds->count && !is_known; i++)
        is_known = !strcmp(walk->founds->items[i].moref, moref);
    if (!is_known) {
        (void)snprintf(found.type, sizeof(found.type), "%s", type);
        (void)snprintf(found.moref, sizeof(found.moref), "%s", moref);
        vec_push(walk->founds, found);
    }
    for (xmlNode *set = vs_child(walk->parent, "selectSet"); set;
         set = vs_next(set->next, "selectSet")) {
        xmlNode *target = set;
        char name[128];

        vs_text(vs_child(set, "name"), name, sizeof(name));
        if (!vs_child(set, "path"))
            target = find_named(walk->object_set, name);
        if (target)
            follow(walk, target, type, moref);
    }
}

int
vs_select(struct vs_call *call, xmlNode *spec, struct vs_founds *ret)
{
    char missing_ok[16];

    vs_text(vs_child(spec, "reportMissingObjectsInResults"), missing_ok, sizeof(missing_ok));
    for (xmlNode *set = vs_child(spec, "objectSet"); set; set = vs_next(set->next, "objectSet")) {
        struct walk walk = {.call = call, .object_set = set, .founds = ret, .parent = set};
        char moref[256], skip[16];
        const char *type;

        vs_text(vs_child(set, "obj"), moref, sizeof(moref));
        vs_text(vs_child(set, "skip"), skip, sizeof(skip));
        walk.skips = !strcmp(skip, "true") || !strcmp(skip, "1");
        type = vs_object_type(call->vs, moref, call->cookie);
        if (type) {
            walk_object(&walk, type, moref);
        } else if (strcmp(missing_ok, "true") != 0) {
            struct vs_fault *fault = vs_fault_new(
                "ManagedObjectNotFound",
                "The object '%s' has already been deleted or has not been completely created",
                moref);

            value_set(fault->detail, "obj", value_ref("ManagedObject", moref));
            vec_done(&walk.visits);
            return vs_fail(call, fault);
        }
        vec_done(&walk.visits);
    }
    return 0;
}

/* ---- properties ------------------------------------------------------------------------------- */

static int
one_property(struct vs_call *call, const struct vs_found *found, const char *path,
             vs_property_fn fn, void *opaque)
{
    CLEANUP(value_freep) struct value *top = NULL;
    const struct value *value;
    char first[64];
    size_t length;
    bool is_wrong = !value_schema_has(found->type, path);

    (void)snprintf(first, sizeof(first), "%.*s", (int)strcspn(path, "."), path);
    length = strlen(first);
    if (!is_wrong) {
        top = vs_property(call->vs, found->type, found->moref, first, call->cookie);
        value = value_at(top, path[length] ? path + length + 1 : "", &is_wrong);
        if (value)
            fn(opaque, path, value);
    }
    if (is_wrong) {
        struct vs_fault *fault =
            vs_fault_new("InvalidProperty", "%s has no property %s", found->type, path);

        value_set(fault->detail, "name", value_word("PropertyPath", path));
        return vs_fail(call, fault);
    }
    return 0;
}

int
vs_each_property(struct vs_call *call, xmlNode *spec, const struct vs_found *found,
                 vs_property_fn fn, void *opaque)
{
    int matched = 0;

    for (xmlNode *set = vs_child(spec, "propSet"); set; set = vs_next(set->next, "propSet")) {
        char type[64], all[16], path[256];
        const char *field;

        vs_text(vs_child(set, "type"), type, sizeof(type));
        vs_text(vs_child(set, "all"), all, sizeof(all));
        if (!vs_type_is(found->type, type))
            continue;
        matched = 1;
        if (!strcmp(all, "true") || !strcmp(all, "1")) {
            for (unsigned i = 0; (field = value_schema_field(found->type, i)); i++)
                if (one_property(call, found, field, fn, opaque) < 0)
                    return -1;
            continue;
        }
        for (xmlNode *node = vs_child(set, "pathSet"); node;
             node = vs_next(node->next, "pathSet")) {
            vs_text(node, path, sizeof(path));
            if (one_property(call, found, path, fn, opaque) < 0)
                return -1;
        }
    }
    return matched;
}

/* ---- answers ---------------------------------------------------------------------------------- */

struct vs_page {
    char token[64], cookie[40];
    VEC_DECLARE(, char *)
    objects; /* written already, as <objects> elements */
    size_t next, size;
};

static void
page_free(struct vs_page *page)
{
    for (size_t i = 0; i < page->objects.count; i++)
        free(page->objects.items[i]);
    vec_done(&page->objects);
    free(page);
}

static void
write_property(void *opaque, const char *path, const struct value *value)
{
    struct str *out = opaque;

    str_append(out, "<propSet><name>");
    value_write_text(out, path);
    str_append(out, "</name>");
    value_write(out, "val", "anyType", value);
    str_append(out, "</propSet>");
}

/* Every selected object that some propSet speaks of, each as one <@element>. */
static int
collect(struct vs_call *call, const char *element, struct vs_page *page)
{
    for (xmlNode *spec = vs_child(call->method, "specSet"); spec;
         spec = vs_next(spec->next, "specSet")) {
        struct vs_founds founds = {0};
        int result = vs_select(call, spec, &founds);

        for (size_t i = 0; i < founds.count && result >= 0; i++) {
            const struct vs_found *found = &founds.items[i];
            struct str out = STR_INIT(MAX_ANSWER);

            if (!call->session && strcmp(found->type, "ServiceInstance") != 0 &&
                strcmp(found->type, "SessionManager") != 0) {
                result = vs_need_session(call);
                break;
            }
            str_appendf(&out, "<%s><obj type=\"%s\">%s</obj>", element, found->type, found->moref);
            result = vs_each_property(call, spec, found, write_property, &out);
            str_appendf(&out, "</%s>", element);
            if (result > 0)
                vec_push(&page->objects, str_take(&out));
            else
                str_done(&out);
        }
        vec_done(&founds);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* Answers with the next part; what is left stays under a token. */
static void
answer_page(struct vs_call *call, struct vs_page *page)
{
    struct lab_vsphere *vs = call->vs;
    size_t end = MIN(page->objects.count, page->next + page->size);

    if (page->objects.count == 0) {
        page_free(page);
        return; /* no returnval at all, as the real one */
    }
    str_append(&call->out, "<returnval>");
    if (end < page->objects.count) {
        (void)snprintf(page->token, sizeof(page->token), "%.20s-%" PRIu64, vs->instance_uuid,
                       vs->next_number++);
        str_appendf(&call->out, "<token>%s</token>", page->token);
    }
    for (; page->next < end; page->next++)
        str_append(&call->out, page->objects.items[page->next]);
    str_append(&call->out, "</returnval>");
    if (end == page->objects.count) {
        page_free(page);
        return;
    }
    if (vs->pages.count >= MAX_PAGES) {
        page_free(vs->pages.items[0]);
        memmove(vs->pages.items, vs->pages.items + 1,
                --vs->pages.count * sizeof(vs->pages.items[0]));
    }
    vec_push(&vs->pages, page);
}

int
vs_retrieve_ex(struct vs_call *call)
{
    struct vs_page *page = xcalloc(1, sizeof(*page));
    char text[32];
    long most;

    vs_text(vs_child(vs_child(call->method, "options"), "maxObjects"), text, sizeof(text));
    most = strtol(text, NULL, 10);
    page->size = call->lab->settings.page_objects;
    if (most > 0 && (size_t)most < page->size)
        page->size = (size_t)most;
    memcpy(page->cookie, call->cookie, sizeof(page->cookie));
    if (collect(call, "objects", page) < 0) {
        page_free(page);
        return -1;
    }
    answer_page(call, page);
    return 0;
}

int
vs_retrieve(struct vs_call *call)
{
    struct vs_page *page = xcalloc(1, sizeof(*page));
    int result = collect(call, "returnval", page);

    for (size_t i = 0; i < page->objects.count && result == 0; i++)
        str_append(&call->out, page->objects.items[i]);
    page_free(page);
    return result;
}

static struct vs_page *
take_page(struct vs_call *call)
{
    char token[64];

    vs_param(call, "token", token, sizeof(token));
    for (size_t i = 0; i < call->vs->pages.count; i++) {
        struct vs_page *page = call->vs->pages.items[i];

        if (strcmp(page->token, token) != 0 || strcmp(page->cookie, call->cookie) != 0)
            continue;
        memmove(&call->vs->pages.items[i], &call->vs->pages.items[i + 1],
                (--call->vs->pages.count - i) * sizeof(page));
        return page;
    }
    (void)vs_fail_argument(call, "token", "unknown");
    return NULL;
}

int
vs_continue_retrieve(struct vs_call *call)
{
    struct vs_page *page = take_page(call);

    if (!page)
        return -1;
    answer_page(call, page);
    return 0;
}

int
vs_cancel_retrieve(struct vs_call *call)
{
    struct vs_page *page = take_page(call);

    if (!page)
        return -1;
    page_free(page);
    return 0;
}

void
vs_pages_end(struct lab_vsphere *vs, const char *cookie)
{
    for (size_t i = vs->pages.count; i-- > 0;) {
        if (strcmp(vs->pages.items[i]->cookie, cookie) != 0)
            continue;
        page_free(vs->pages.items[i]);
        vs->pages.items[i] = vs->pages.items[--vs->pages.count];
    }
}

static void
write_fetched(void *opaque, const char *path, const struct value *value)
{
    value_write(opaque, "returnval", "anyType", value);
}

/* A property read from the object itself, as pyVmomi does. */
int
vs_fetch(struct vs_call *call)
{
    struct vs_found found = {0};
    char path[256];

    vs_param(call, "prop", path, sizeof(path));
    (void)snprintf(found.type, sizeof(found.type), "%s",
                   vs_object_type(call->vs, call->moref, call->cookie));
    (void)snprintf(found.moref, sizeof(found.moref), "%s", call->moref);
    if (!call->session && strcmp(found.type, "ServiceInstance") != 0 &&
        strcmp(found.type, "SessionManager") != 0)
        return vs_need_session(call);
    return one_property(call, &found, path, write_fetched, &call->out);
}
