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
    bool is_instance; /* the uuid that is looked for is its instance uuid */
};
VEC_DECLARE(candidates, struct candidate);

/* One of these decides what is looked for: @moref, @uuid (in small letters), @name. */
struct search {
    const char *moref, *uuid, *name;
    const char *datacenter; /* narrows; NULL: everywhere */
    struct candidates found;
    struct str similar; /* names that differ in case only */
    struct err *error;  /* owned: this search cannot be made */
};

/* Several searches in one reading of the inventory. */
struct searches {
    struct search *items;
    size_t count;
    const char *datacenter; /* that is being read */
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
    err_free(search->error);
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

struct seen {
    const char *moref, *raw_name, *name, *instance_uuid, *bios_uuid;
    bool is_template;
};

static bool
is_match(const struct search *search, const struct seen *vm)
{
    if (search->moref)
        return !strcmp(vm->moref, search->moref);
    if (search->uuid)
        return (vm->instance_uuid && !strcasecmp(vm->instance_uuid, search->uuid)) ||
               (vm->bios_uuid && !strcasecmp(vm->bios_uuid, search->uuid));
    return !strcmp(vm->name, search->name) || !strcmp(vm->raw_name, search->name);
}

static void
look_at_vm(struct search *search, const struct seen *vm, const char *datacenter)
{
    const char *uuid = vm->instance_uuid ? vm->instance_uuid : "";

    if (is_match(search, vm))
        vec_push(
            &search->found,
            ((struct candidate){.moref = xstrdup(vm->moref),
                                .name = xstrdup(vm->name),
                                .uuid = xstrdup(uuid),
                                .datacenter = xstrdup(datacenter),
                                .is_template = vm->is_template,
                                .is_instance = search->uuid && !strcasecmp(uuid, search->uuid)}));
    else if (search->name && !strcasecmp(vm->name, search->name))
        str_appendf(&search->similar, "%s\"%.120s\"", search->similar.length ? ", " : "", vm->name);
}

static int
on_vm(void *opaque, const struct object *object, struct err **err)
{
    const struct searches *searches = opaque;
    struct seen vm = {.moref = object->moref,
                      .raw_name = object_text(object, "name"),
                      .instance_uuid = object_text(object, "config.instanceUuid"),
                      .bios_uuid = object_text(object, "config.uuid"),
                      .is_template = object_is_true(object, "config.template")};
    CLEANUP(free_charp) char *name = vm.raw_name ? inventory_unescape_name(vm.raw_name) : NULL;

    if (!name)
        return 0;
    vm.name = name;
    for (size_t i = 0; i < searches->count; i++) {
        struct search *search = &searches->items[i];

        if (!search->error &&
            (!search->datacenter || !strcmp(search->datacenter, searches->datacenter)))
            look_at_vm(search, &vm, searches->datacenter);
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

/* Whether anybody looks there. */
static bool
is_wanted(const struct searches *searches, const char *datacenter)
{
    for (size_t i = 0; i < searches->count; i++) {
        const struct search *search = &searches->items[i];

        if (!search->error && (!search->datacenter || !strcmp(search->datacenter, datacenter)))
            return true;
    }
    return false;
}

/* Reads the inventory once for all of them. */
static int
search_all(struct vsphere *vsphere, struct search *items, size_t count, struct err **err)
{
    static const char *const paths[] = {"name", "config.instanceUuid", "config.uuid",
                                        "config.template", NULL};
    CLEANUP(datacenters_done) struct datacenters datacenters = {0};
    struct searches searches = {.items = items, .count = count};

    if (datacenters_read(vsphere, &datacenters, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (items[i].datacenter && !items[i].error)
            (void)check_datacenter(&datacenters, items[i].datacenter, &items[i].error);
    for (size_t i = 0; i < datacenters.count; i++) {
        const struct datacenter *dc = &datacenters.items[i];

        if (!is_wanted(&searches, dc->name))
            continue;
        searches.datacenter = dc->name;
        if (props_read_below(vsphere, dc->type, dc->moref, "VirtualMachine", paths, on_vm,
                             &searches, err) < 0)
            return -1;
    }
    return 0;
}

static int
search_one(struct vsphere *vsphere, struct search *search, struct err **err)
{
    if (search_all(vsphere, search, 1, err) < 0)
        return -1;
    return search->error ? err_move(err, &search->error) : 0;
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

static char *
lower_case(const char *text)
{
    char *lower = xstrdup(text);

    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return lower;
}

/* The instance uuid is vCenter's own and unique; a BIOS uuid is copied with a clone, and the index
 * gives any one of those that have it: so all VMs are looked at. */
static int
conclude_uuid(struct search *search, size_t *ret_index, struct err **err)
{
    CLEANUP(free_charp) char *what = xasprintf("BIOS uuid %s", search->uuid);

    *ret_index = 0;
    for (size_t i = 0; i < search->found.count; i++)
        if (search->found.items[i].is_instance) {
            *ret_index = i;
            return 0;
        }
    if (!search->found.count)
        return err_set(err, E_VSPHERE_NOT_FOUND, "no VM has the uuid %s", search->uuid);
    return search->found.count > 1 ? fail_ambiguous(&search->found, what, err) : 0;
}

static int
find_by_uuid(struct vsphere *vsphere, const char *uuid, char **ret_moref, struct err **err)
{
    CLEANUP(free_charp) char *lower = lower_case(uuid);
    CLEANUP(search_done) struct search search = {.uuid = lower};
    char *moref = NULL;
    size_t index;

    if (!xml_is_text(uuid))
        return err_set(err, E_VSPHERE_NOT_FOUND, "the uuid is no text");
    if (find_by_instance_uuid(vsphere, lower, &moref, err) < 0)
        return -1;
    if (moref) {
        *ret_moref = moref;
        return 0;
    }
    if (search_one(vsphere, &search, err) < 0 || conclude_uuid(&search, &index, err) < 0)
        return -1;
    *ret_moref = take(search.found.items[index].moref);
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
fail_not_found(const struct search *search, struct err **err)
{
    err_set(err, E_VSPHERE_NOT_FOUND, "no VM has the name %.200s%s%s", search->name,
            search->datacenter ? " in datacenter " : "",
            search->datacenter ? search->datacenter : "");
    return search->similar.length
               ? err_hint(err, "names are compared with case; there is %s",
                          str_text(&search->similar))
               : err_hint(err,
                          "the account must be allowed to see the VM (System.View, System.Read)");
}

/* *ret_moref is owned; *ret_index is set only when the VM is among those found. */
static int
conclude_name(struct vsphere *vsphere, struct search *search, char **ret_moref, size_t *ret_index,
              struct err **err)
{
    CLEANUP(free_charp) char *what = xasprintf("name %.200s", search->name);
    char *moref = NULL;

    drop_templates(&search->found);
    if (search->found.count > 1)
        return fail_ambiguous(&search->found, what, err);
    if (search->found.count == 1) {
        *ret_moref = xstrdup(search->found.items[0].moref);
        *ret_index = 0;
        return 0;
    }
    if (strchr(search->name, '/') && find_by_path(vsphere, search->name, &moref, err) < 0)
        return -1;
    if (!moref)
        return fail_not_found(search, err);
    *ret_moref = moref;
    return 0;
}

static int
find_by_name(struct vsphere *vsphere, const struct vsphere_selector *selector, char **ret_moref,
             struct err **err)
{
    CLEANUP(search_done)
    struct search search = {
        .name = selector->name, .datacenter = selector->datacenter, .similar = STR_INIT(MAX_TEXT)};
    size_t index;

    if (!xml_is_text(selector->name))
        return err_set(err, E_VSPHERE_NOT_FOUND, "the VM's name is no text");
    if (search_one(vsphere, &search, err) < 0)
        return -1;
    return conclude_name(vsphere, &search, ret_moref, &index, err);
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

/* ---- many --------------------------------------------------------------------------------------- */

#define NOT_LISTED SIZE_MAX

static int
conclude(struct vsphere *vsphere, struct search *search, char **ret_moref, size_t *ret_index,
         struct err **err)
{
    *ret_index = NOT_LISTED;
    if (search->error)
        return err_move(err, &search->error);
    if (search->name)
        return conclude_name(vsphere, search, ret_moref, ret_index, err);
    if (search->moref && !search->found.count) /* perhaps where no listing reaches */
        return find_by_moref(vsphere, search->moref, ret_moref, err);
    if (search->moref)
        *ret_index = 0;
    else if (conclude_uuid(search, ret_index, err) < 0)
        return -1;
    *ret_moref = xstrdup(search->found.items[*ret_index].moref);
    return 0;
}

static void
prepare_search(const struct vsphere_selector *selector, char *lower_uuid, struct search *ret)
{
    *ret = (struct search){.similar = STR_INIT(MAX_TEXT)};
    if (selector->moref) {
        ret->moref = selector->moref;
    } else if (selector->uuid) {
        ret->uuid = lower_uuid;
    } else if (selector->name) {
        ret->name = selector->name;
        ret->datacenter = selector->datacenter;
    } else {
        (void)err_set(&ret->error, E_BUG, "no moref, uuid or name to find a VM by");
        ret->name = "";
    }
    if (!xml_is_text(ret->moref ? ret->moref : ret->uuid ? ret->uuid : ret->name))
        (void)err_set(&ret->error, E_VSPHERE_NOT_FOUND, "what the VM is called by is no text");
}

static int
search_many(struct vsphere *vsphere, struct search *items, size_t count, struct err **err)
{
    struct err *error = NULL;

    if (search_all(vsphere, items, count, &error) == 0)
        return 0;
    if (err_code(error) != E_VSPHERE_SESSION)
        return err_move(err, &error);
    /* Views and pages die with their session: from the start, once. */
    err_free(error);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < items[i].found.count; k++)
            free_candidate(&items[i].found.items[k]);
        items[i].found.count = 0;
        str_clear(&items[i].similar);
    }
    return search_all(vsphere, items, count, err);
}

int
find_vms(struct vsphere *vsphere, const struct vsphere_selector *selectors, size_t count,
         char **ret_morefs, char **ret_datacenters, struct err **ret_errors, struct err **err)
{
    struct search *items = xcalloc(count + 1, sizeof(*items));
    char **uuids = xcalloc(count + 1, sizeof(*uuids));
    int result;

    for (size_t i = 0; i < count; i++) {
        uuids[i] = selectors[i].uuid ? lower_case(selectors[i].uuid) : NULL;
        prepare_search(&selectors[i], uuids[i], &items[i]);
    }
    result = search_many(vsphere, items, count, err);
    for (size_t i = 0; i < count; i++) {
        size_t index;

        if (result == 0 &&
            conclude(vsphere, &items[i], &ret_morefs[i], &index, &ret_errors[i]) == 0 &&
            index != NOT_LISTED)
            ret_datacenters[i] = xstrdup(items[i].found.items[index].datacenter);
        search_done(&items[i]);
        free(uuids[i]);
    }
    free(uuids);
    free(items);
    return result;
}
