/* The property collector's waiting side: filters, and updates told when something they select differs
 * from what was told last. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "vsphere/inner.h"

#define MAX_FILTERS    1000
#define MAX_COLLECTORS 1000
#define WAKE_MS        200 /* sessions expire without telling anybody */

struct told_property {
    char *path, *xml;
};
struct told_object {
    char type[32], moref[256];
    VEC_DECLARE(, struct told_property)
    properties;
};
VEC_DECLARE(told, struct told_object);

struct vs_filter {
    char moref[96], collector[96], cookie[40];
    xmlDoc *spec;
    struct told told;
};

struct vs_collector {
    char moref[96], cookie[40];
    uint64_t version;   /* of the last answer; 0: none yet */
    uint64_t cancelled; /* how often */
};

/* ---- what was told ---------------------------------------------------------------------------- */

static void
told_object_done(struct told_object *object)
{
    for (size_t i = 0; i < object->properties.count; i++) {
        free(object->properties.items[i].path);
        free(object->properties.items[i].xml);
    }
    vec_done(&object->properties);
}

static void
told_done(struct told *told)
{
    for (size_t i = 0; i < told->count; i++)
        told_object_done(&told->items[i]);
    vec_done(told);
}

static struct told_object *
told_find(struct told *told, const char *moref)
{
    for (size_t i = 0; i < told->count; i++)
        if (!strcmp(told->items[i].moref, moref))
            return &told->items[i];
    return NULL;
}

static const char *
told_xml(const struct told_object *object, const char *path)
{
    for (size_t i = 0; object && i < object->properties.count; i++)
        if (!strcmp(object->properties.items[i].path, path))
            return object->properties.items[i].xml;
    return NULL;
}

static void
remember_property(void *opaque, const char *path, const struct value *value)
{
    struct told_object *object = opaque;
    struct str xml = STR_INIT(MAX_ANSWER);

    value_write(&xml, "val", "anyType", value);
    vec_push(&object->properties, (struct told_property){xstrdup(path), str_take(&xml)});
}

/* What a filter's objects are like now. */
static int
look(struct vs_call *call, struct vs_filter *filter, struct told *ret)
{
    xmlNode *spec = xmlDocGetRootElement(filter->spec);
    struct vs_founds founds = {0};
    int result = vs_select(call, spec, &founds);

    for (size_t i = 0; i < founds.count && result >= 0; i++) {
        struct told_object object = {0};

        memcpy(object.type, founds.items[i].type, sizeof(object.type));
        memcpy(object.moref, founds.items[i].moref, sizeof(object.moref));
        result = vs_each_property(call, spec, &founds.items[i], remember_property, &object);
        if (result > 0)
            vec_push(ret, object);
        else
            told_object_done(&object);
    }
    vec_done(&founds);
    return result < 0 ? -1 : 0;
}

/* ---- collectors and filters ------------------------------------------------------------------- */

static struct vs_collector *
find_collector(struct lab_vsphere *vs, const char *moref, const char *cookie)
{
    struct vs_collector *collector;

    for (size_t i = 0; i < vs->collectors.count; i++)
        if (!strcmp(vs->collectors.items[i]->moref, moref) &&
            !strcmp(vs->collectors.items[i]->cookie, cookie))
            return vs->collectors.items[i];
    if (strcmp(moref, "propertyCollector") != 0)
        return NULL;
    collector = xcalloc(1, sizeof(*collector)); /* every session has the standing one */
    (void)snprintf(collector->moref, sizeof(collector->moref), "%s", moref);
    (void)snprintf(collector->cookie, sizeof(collector->cookie), "%s", cookie);
    vec_push(&vs->collectors, collector);
    return collector;
}

static void
filter_end(struct lab_vsphere *vs, size_t index)
{
    struct vs_filter *filter = vs->filters.items[index];

    told_done(&filter->told);
    xmlFreeDoc(filter->spec);
    free(filter);
    vs->filters.items[index] = vs->filters.items[--vs->filters.count];
}

/* @moref NULL: all of the session's. */
static void
collectors_end(struct lab_vsphere *vs, const char *cookie, const char *moref)
{
    for (size_t i = vs->filters.count; i-- > 0;)
        if (!strcmp(vs->filters.items[i]->cookie, cookie) &&
            (!moref || !strcmp(vs->filters.items[i]->collector, moref)))
            filter_end(vs, i);
    for (size_t i = vs->collectors.count; i-- > 0;) {
        if (strcmp(vs->collectors.items[i]->cookie, cookie) != 0 ||
            (moref && strcmp(vs->collectors.items[i]->moref, moref) != 0))
            continue;
        free(vs->collectors.items[i]);
        vs->collectors.items[i] = vs->collectors.items[--vs->collectors.count];
    }
}

void
vs_collector_end(struct lab_vsphere *vs, const char *cookie)
{
    vs_pages_end(vs, cookie);
    collectors_end(vs, cookie, NULL);
}

const char *
vs_collector_object(struct lab_vsphere *vs, const char *moref, const char *cookie)
{
    if (find_collector(vs, moref, cookie))
        return "PropertyCollector";
    for (size_t i = 0; i < vs->filters.count; i++)
        if (!strcmp(vs->filters.items[i]->moref, moref) &&
            !strcmp(vs->filters.items[i]->cookie, cookie))
            return "PropertyFilter";
    return NULL;
}

static void
name_it(struct vs_call *call, char moref[96])
{
    (void)snprintf(moref, 96, "session[%s]52%010" PRIx64, call->session->key,
                   call->vs->next_number++);
}

int
vs_create_collector(struct vs_call *call)
{
    struct vs_collector *collector;

    if (call->vs->collectors.count >= MAX_COLLECTORS)
        return vs_fail(call, vs_fault_new("RuntimeFault", "Too many property collectors"));
    collector = xcalloc(1, sizeof(*collector));
    name_it(call, collector->moref);
    memcpy(collector->cookie, call->cookie, sizeof(collector->cookie));
    vec_push(&call->vs->collectors, collector);
    vs_return(call, "ManagedObjectReference", value_ref("PropertyCollector", collector->moref));
    return 0;
}

int
vs_destroy_collector(struct vs_call *call)
{
    collectors_end(call->vs, call->cookie, call->moref);
    lab_note_change(call->lab);
    return 0;
}

int
vs_create_filter(struct vs_call *call)
{
    xmlNode *spec = vs_child(call->method, "spec");
    struct vs_filter *filter;

    if (!spec)
        return vs_fail_argument(call, "spec", "missing");
    if (call->vs->filters.count >= MAX_FILTERS)
        return vs_fail(call, vs_fault_new("RuntimeFault", "Too many filters"));
    filter = xcalloc(1, sizeof(*filter));
    name_it(call, filter->moref);
    (void)snprintf(filter->collector, sizeof(filter->collector), "%.95s", call->moref);
    memcpy(filter->cookie, call->cookie, sizeof(filter->cookie));
    filter->spec = xmlNewDoc((const xmlChar *)"1.0");
    xmlDocSetRootElement(filter->spec, xmlDocCopyNode(spec, filter->spec, 1));
    vec_push(&call->vs->filters, filter);
    lab_note_change(call->lab);
    vs_return(call, "ManagedObjectReference", value_ref("PropertyFilter", filter->moref));
    return 0;
}

int
vs_destroy_filter(struct vs_call *call)
{
    for (size_t i = call->vs->filters.count; i-- > 0;)
        if (!strcmp(call->vs->filters.items[i]->moref, call->moref))
            filter_end(call->vs, i);
    return 0;
}

/* ---- updates ---------------------------------------------------------------------------------- */

static void
write_change(struct str *out, const char *path, const char *xml)
{
    str_append(out, "<changeSet><name>");
    value_write_text(out, path);
    str_appendf(out, "</name><op>assign</op>%s</changeSet>", xml);
}

static void
write_object_update(struct str *out, const struct told_object *before,
                    const struct told_object *now)
{
    const char *kind = !before ? "enter" : !now ? "leave" : "modify";
    const struct told_object *which = now ? now : before;
    struct str changes = STR_INIT(MAX_ANSWER);

    for (size_t i = 0; now && i < now->properties.count; i++) {
        const struct told_property *property = &now->properties.items[i];
        const char *old = told_xml(before, property->path);

        if (!old || strcmp(old, property->xml) != 0)
            write_change(&changes, property->path, property->xml);
    }
    for (size_t i = 0; now && before && i < before->properties.count; i++)
        if (!told_xml(now, before->properties.items[i].path))
            write_change(&changes, before->properties.items[i].path, "");
    if (changes.length || !before || !now)
        str_appendf(out, "<objectSet><kind>%s</kind><obj type=\"%s\">%s</obj>%s</objectSet>", kind,
                    which->type, which->moref, str_text(&changes));
    str_done(&changes);
}

/* Appends <filterSet> when the filter has something to tell, and takes it as told. */
static int
write_filter_update(struct vs_call *call, struct vs_filter *filter, struct str *out)
{
    struct str updates = STR_INIT(MAX_ANSWER);
    struct told now = {0};

    if (look(call, filter, &now) < 0) {
        told_done(&now);
        return -1;
    }
    for (size_t i = 0; i < now.count; i++)
        write_object_update(&updates, told_find(&filter->told, now.items[i].moref), &now.items[i]);
    for (size_t i = 0; i < filter->told.count; i++)
        if (!told_find(&now, filter->told.items[i].moref))
            write_object_update(&updates, &filter->told.items[i], NULL);
    if (updates.length)
        str_appendf(out, "<filterSet><filter type=\"PropertyFilter\">%s</filter>%s</filterSet>",
                    filter->moref, str_text(&updates));
    str_done(&updates);
    told_done(&filter->told);
    filter->told = now;
    return 0;
}

static int
write_updates(struct vs_call *call, const char *collector, struct str *out)
{
    for (size_t i = 0; i < call->vs->filters.count; i++) {
        struct vs_filter *filter = call->vs->filters.items[i];

        if (strcmp(filter->collector, collector) != 0 || strcmp(filter->cookie, call->cookie) != 0)
            continue;
        if (write_filter_update(call, filter, out) < 0)
            return -1;
    }
    return 0;
}

/* A version that is not the last one told: the client begins anew, or has lost an answer. */
static void
forget_told(struct vs_call *call, const char *collector)
{
    for (size_t i = 0; i < call->vs->filters.count; i++)
        if (!strcmp(call->vs->filters.items[i]->collector, collector) &&
            !strcmp(call->vs->filters.items[i]->cookie, call->cookie))
            told_done(&call->vs->filters.items[i]->told);
}

static int64_t
deadline_of(struct vs_call *call)
{
    char text[32];
    int64_t now = clock_monotonic_ms();

    if (!strcmp(call->name, "CheckForUpdates"))
        return now;
    vs_text(vs_child(vs_child(call->method, "options"), "maxWaitSeconds"), text, sizeof(text));
    return *text ? now + strtoll(text, NULL, 10) * 1000 : INT64_MAX;
}

/* mutex held, and released while waiting. */
static void
wait_for_change(struct lab *lab, int64_t deadline)
{
    int64_t now = clock_monotonic_ms(), until_ms = MIN(deadline, now + WAKE_MS);
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    (void)pthread_cond_timedwait(&lab->changed, &lab->mutex, &until);
}

static void
answer_updates(struct vs_call *call, struct vs_collector *collector, const struct str *updates)
{
    collector->version = call->vs->next_number++;
    str_appendf(&call->out, "<returnval><version>%" PRIu64 "</version>%s", collector->version,
                str_text(updates));
    if (!strcmp(call->name, "WaitForUpdatesEx"))
        str_append(&call->out, "<truncated>false</truncated>");
    str_append(&call->out, "</returnval>");
}

static int
wait_loop(struct vs_call *call, uint64_t cancelled, bool is_first, struct str *updates)
{
    int64_t deadline = deadline_of(call);

    for (;;) {
        struct vs_collector *collector;

        call->session = vs_session_find(call->vs, call->cookie);
        if (vs_need_session(call) < 0)
            return -1;
        call->session->active_ms = clock_monotonic_ms();
        collector = find_collector(call->vs, call->moref, call->cookie);
        if (!collector || collector->cancelled != cancelled || call->vs->is_stopping)
            return vs_fail(call, vs_fault_new("RequestCanceled", "The request was cancelled"));
        if (write_updates(call, call->moref, updates) < 0)
            return -1;
        if (updates->length || is_first) {
            answer_updates(call, collector, updates);
            return 0;
        }
        if (clock_monotonic_ms() >= deadline)
            return 0; /* an answer without returnval */
        wait_for_change(call->lab, deadline);
    }
}

int
vs_wait_for_updates(struct vs_call *call)
{
    struct vs_collector *collector = find_collector(call->vs, call->moref, call->cookie);
    struct str updates = STR_INIT(MAX_ANSWER);
    char version[32];
    int result;

    if (!collector)
        return vs_fail(call, vs_fault_new("InvalidRequest", "_this is no property collector"));
    if (!strcmp(call->name, "CancelWaitForUpdates")) {
        collector->cancelled++;
        lab_note_change(call->lab);
        return 0;
    }
    vs_param(call, "version", version, sizeof(version));
    if (!*version || strtoull(version, NULL, 10) != collector->version)
        forget_told(call, call->moref);
    result = wait_loop(call, collector->cancelled, !*version, &updates);
    str_done(&updates);
    return result;
}
