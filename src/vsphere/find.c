/* Finding one VM by moref, uuid or name. */
#include "vsphere/internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/util.h"

#define MAX_CANDIDATES 20 /* as many as a message names */
#define MAX_TEXT       8192

/* ---- data centres ---- */

void
datacenters_done(struct datacenters *datacenters)
{
    for (size_t i = 0; i < datacenters->count; i++) {
        free(datacenters->items[i].moref);
        free(datacenters->items[i].name);
    }
    vec_done(datacenters);
}

static int
on_datacenter(void *opaque, const struct object *object, struct err **err)
{
    struct datacenters *to = opaque;
    const char *name = object_text(object, "name");

    vec_push(to, ((struct datacenter){.type = "Datacenter",
                                      .moref = xstrdup(object->moref),
                                      .name = inventory_unescape_name(name ? name : "")}));
    return 0;
}

int
datacenters_read(struct vsphere *vsphere, struct datacenters *datacenters, struct err **err)
{
    static const char *const paths[] = {"name", NULL};

    if (props_read_below(vsphere, "Folder", vsphere->root_folder, "Datacenter", paths,
                         on_datacenter, datacenters, err) < 0)
        return -1;
    /* An account with rights on a folder of VMs alone sees no data centre. */
    if (!datacenters->count)
        vec_push(datacenters, ((struct datacenter){.type = "Folder",
                                                   .moref = xstrdup(vsphere->root_folder),
                                                   .name = xstrdup("")}));
    return 0;
}

/* ---- candidates ---- */

struct candidate {
    char *moref, *name, *uuid, *datacenter;
    bool is_template;
};
VEC_DECLARE(candidates, struct candidate);

struct search {
    const char *name;       /* that is looked for, or */
    const char *bios_uuid;  /* this */
    const char *datacenter; /* that is being read */
    struct candidates found;
    struct str similar; /* names that differ in case only */
};

static void
free_candidate(struct candidate *c)
{
    free(c->moref);
    free(c->name);
    free(c->uuid);
    free(c->datacenter);
}

static void
search_done(struct search *search)
{
    for (size_t i = 0; i < search->found.count; i++)
        free_candidate(&search->found.items[i]);
    vec_done(&search->found);
    str_done(&search->similar);
}

/* A template of that name is meant only if no machine has it. */
static void
drop_templates(struct candidates *found)
{
    size_t machines = 0, kept = 0;

    for (size_t i = 0; i < found->count; i++)
        machines += !found->items[i].is_template;
    if (!machines)
        return;
    for (size_t i = 0; i < found->count; i++) {
        if (found->items[i].is_template)
            free_candidate(&found->items[i]);
        else
            found->items[kept++] = found->items[i];
    }
    found->count = kept;
}

static int
fail_ambiguous(const struct candidates *found, const char *what, struct err **err)
{
    CLEANUP(str_done) struct str text = STR_INIT(MAX_TEXT);

    for (size_t i = 0; i < found->count && i < MAX_CANDIDATES; i++) {
        const struct candidate *c = &found->items[i];

        str_appendf(&text, "%s%.120s (moref %s, datacenter %.120s, uuid %s)", i ? "; " : "",
                    c->name, c->moref, c->datacenter, c->uuid);
    }
    if (found->count > MAX_CANDIDATES)
        str_appendf(&text, "; and %zu more", found->count - MAX_CANDIDATES);
    err_set(err, E_VSPHERE_AMBIGUOUS, "%zu VMs have the %s: %s", found->count, what,
            str_text(&text));
    return err_hint(err, "name the one you mean by vm.moref, by vm.uuid, or with vm.datacenter");
}

/* ---- by moref ---- */

static int
find_by_moref(struct vsphere *vsphere, const char *moref, char **ret_moref, struct err **err)
{
    CLEANUP(free_charp) char *name = NULL;
    CLEANUP(err_freep) struct err *error = NULL;

    if (!xml_is_text(moref))
        return err_set(err, E_VSPHERE_NOT_FOUND, "the moref is no text");
    if (inventory_read_text(vsphere, moref, "name", &name, &error) < 0) {
        if (err_code(error) != E_VSPHERE_NOT_FOUND)
            return err_move(err, &error);
        err_set(err, E_VSPHERE_NOT_FOUND, "no VM has the moref %s", moref);
        return err_hint(err,
                        "morefs belong to one vCenter and change when a VM is registered anew");
    }
    *ret_moref = xstrdup(moref);
    return 0;
}

/* ---- among all VMs ---- */

static bool
is_match(const struct search *search, const struct object *object, const char *name)
{
    const char *raw = object_text(object, "name"), *uuid = object_text(object, "config.uuid");

    if (search->bios_uuid)
        return uuid && !strcasecmp(uuid, search->bios_uuid);
    return !strcmp(name, search->name) || !strcmp(raw, search->name);
}

static int
on_vm(void *opaque, const struct object *object, struct err **err)
{
    struct search *search = opaque;
    const char *raw = object_text(object, "name");
    const char *uuid = object_text(object, "config.instanceUuid");
    CLEANUP(free_charp) char *name = raw ? inventory_unescape_name(raw) : NULL;

    if (!name)
        return 0;
    if (is_match(search, object, name)) {
        struct candidate c = {.moref = xstrdup(object->moref),
                              .name = take(name),
                              .uuid = xstrdup(uuid ? uuid : ""),
                              .datacenter = xstrdup(search->datacenter),
                              .is_template = object_is_true(object, "config.template")};

        vec_push(&search->found, c);
    } else if (search->name && !strcasecmp(name, search->name)) {
        str_appendf(&search->similar, "%s\"%.120s\"", search->similar.length ? ", " : "", name);
    }
    return 0;
}

static int
check_datacenter(const struct datacenters *datacenters, const char *wanted, struct err **err)
{
    CLEANUP(str_done) struct str names = STR_INIT(MAX_TEXT);

    for (size_t i = 0; i < datacenters->count; i++) {
        if (!strcmp(datacenters->items[i].name, wanted))
            return 0;
        str_appendf(&names, "%s\"%.120s\"", i ? ", " : "", datacenters->items[i].name);
    }
    err_set(err, E_VSPHERE_NOT_FOUND, "there is no datacenter \"%s\"", wanted);
    return err_hint(err, "this account sees: %s", str_text(&names));
}

/* @wanted NULL: in all data centres. */
static int
search_all(struct vsphere *vsphere, const char *wanted, struct search *search, struct err **err)
{
    static const char *const paths[] = {"name", "config.instanceUuid", "config.uuid",
                                        "config.template", NULL};
    CLEANUP(datacenters_done) struct datacenters datacenters = {0};

    if (datacenters_read(vsphere, &datacenters, err) < 0)
        return -1;
    if (wanted && check_datacenter(&datacenters, wanted, err) < 0)
        return -1;
    for (size_t i = 0; i < datacenters.count; i++) {
        const struct datacenter *dc = &datacenters.items[i];

        if (wanted && strcmp(wanted, dc->name) != 0)
            continue;
        search->datacenter = dc->name;
        if (props_read_below(vsphere, dc->type, dc->moref, "VirtualMachine", paths, on_vm, search,
                             err) < 0)
            return -1;
    }
    return 0;
}

/* ---- by uuid ---- */

/* *ret_moref stays NULL when there is none. */
static int
find_by_instance_uuid(struct vsphere *vsphere, const char *uuid, char **ret_moref, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "FindByUuid",
                              .type = "SearchIndex",
                              .moref = vsphere->search_index,
                              .args = &args};
    CLEANUP(answer_done) struct answer answer = {0};

    xml_append_element(&args, "uuid", uuid);
    str_append(&args, "<vmSearch>true</vmSearch><instanceUuid>true</instanceUuid>");
    if (soap_call(vsphere, &call, &answer, err) < 0)
        return -1;
    if (answer.result && *answer.result->text)
        *ret_moref = xstrdup(answer.result->text);
    return 0;
}

/* The instance uuid is vCenter's own and unique; a BIOS uuid is copied with a clone, and the index
 * gives any one of those that have it: so all VMs are looked at. */
static int
find_by_uuid(struct vsphere *vsphere, const char *uuid, char **ret_moref, struct err **err)
{
    CLEANUP(free_charp) char *lower = xstrdup(uuid);
    CLEANUP(free_charp) char *what = NULL;
    CLEANUP(search_done) struct search search = {.bios_uuid = lower};
    char *moref = NULL;

    if (!xml_is_text(uuid))
        return err_set(err, E_VSPHERE_NOT_FOUND, "the uuid is no text");
    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (find_by_instance_uuid(vsphere, lower, &moref, err) < 0)
        return -1;
    if (moref) {
        *ret_moref = moref;
        return 0;
    }
    if (search_all(vsphere, NULL, &search, err) < 0)
        return -1;
    if (!search.found.count)
        return err_set(err, E_VSPHERE_NOT_FOUND, "no VM has the uuid %s", lower);
    what = xasprintf("BIOS uuid %s", lower);
    if (search.found.count > 1)
        return fail_ambiguous(&search.found, what, err);
    *ret_moref = take(search.found.items[0].moref);
    return 0;
}

/* ---- by name ---- */

/* "DC0/vm/folder/name", as the seed accepted it too; *ret_moref stays NULL when there is none. */
static int
find_by_path(struct vsphere *vsphere, const char *path, char **ret_moref, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "FindByInventoryPath",
                              .type = "SearchIndex",
                              .moref = vsphere->search_index,
                              .args = &args};
    CLEANUP(answer_done) struct answer answer = {0};

    xml_append_element(&args, "inventoryPath", path + strspn(path, "/"));
    if (soap_call(vsphere, &call, &answer, err) < 0)
        return -1;
    if (answer.result && answer.result->type && !strcmp(answer.result->type, "VirtualMachine"))
        *ret_moref = xstrdup(answer.result->text);
    return 0;
}

static int
find_by_name(struct vsphere *vsphere, const struct vsphere_selector *selector, char **ret_moref,
             struct err **err)
{
    CLEANUP(free_charp) char *what = xasprintf("name %.200s", selector->name);
    CLEANUP(search_done)
    struct search search = {.name = selector->name, .similar = STR_INIT(MAX_TEXT)};
    char *moref = NULL;

    if (!xml_is_text(selector->name))
        return err_set(err, E_VSPHERE_NOT_FOUND, "the VM's name is no text");
    if (search_all(vsphere, selector->datacenter, &search, err) < 0)
        return -1;
    drop_templates(&search.found);
    if (search.found.count > 1)
        return fail_ambiguous(&search.found, what, err);
    if (search.found.count == 1) {
        *ret_moref = take(search.found.items[0].moref);
        return 0;
    }
    if (strchr(selector->name, '/') && find_by_path(vsphere, selector->name, &moref, err) < 0)
        return -1;
    if (moref) {
        *ret_moref = moref;
        return 0;
    }
    err_set(err, E_VSPHERE_NOT_FOUND, "no VM has the %s%s%s", what,
            selector->datacenter ? " in datacenter " : "",
            selector->datacenter ? selector->datacenter : "");
    return search.similar.length
               ? err_hint(err, "names are compared with case; there is %s",
                          str_text(&search.similar))
               : err_hint(err,
                          "the account must be allowed to see the VM (System.View, System.Read)");
}

int
vsphere_find_vm(struct vsphere *vsphere, const struct vsphere_selector *selector, char **ret_moref,
                struct err **err)
{
    for (bool is_second = false;; is_second = true) {
        CLEANUP(err_freep) struct err *error = NULL;
        int rc;

        if (selector->moref)
            rc = find_by_moref(vsphere, selector->moref, ret_moref, &error);
        else if (selector->uuid)
            rc = find_by_uuid(vsphere, selector->uuid, ret_moref, &error);
        else if (selector->name)
            rc = find_by_name(vsphere, selector, ret_moref, &error);
        else
            rc = err_set(&error, E_BUG, "no moref, uuid or name to find a VM by");
        if (rc == 0)
            return 0;
        /* Views and pages die with their session: from the start, once. */
        if (err_code(error) != E_VSPHERE_SESSION || is_second)
            return err_move(err, &error);
    }
}
