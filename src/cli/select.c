#include "cli/select.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/select_internal.h"
#include "cli/text.h"
#include "config/config.h"
#include "migration/view.h"

/* ---- one VM ----------------------------------------------------------------------------------- */

void
view_done(struct vm_view *view)
{
    free(view->name);
    free(view->moref);
    free(view->directory);
    free(view->state_file);
    free(view->stage);
    free(view->progress);
    free(view->no_space);
    store_migration_done(&view->record);
    store_disks_done(&view->disks);
}

/* Fills @view from the record it has taken over. */
static int
describe_record(const struct selection *selection, struct vm_view *view, struct err **err)
{
    struct migration_view known;
    int rc =
        migration_view_load(selection->store, selection->control_dir, &view->record, &known, err);

    view->record = known.record;
    view->disks = known.disks;
    view->progress = known.progress;
    view->percent = known.percent;
    view->is_running = known.is_running;
    view->is_finalize_requested = known.is_finalize_requested;
    view->is_finalize_now = known.is_finalize_now;
    view->is_paused = known.is_paused;
    view->has_missed_finalize_at = known.has_missed_finalize_at;
    view->no_space = known.no_space;
    view->downtime = known.downtime;
    view->name = xstrdup(view->record.vm_name);
    view->moref = xstrdup(view->record.vm_moref);
    view->directory = xstrdup(view->record.directory);
    view->state_file = file_join(view->record.directory, "state.json");
    view->stage = xstrdup(store_stage_name(view->record.stage));
    return rc;
}

static void
set_next(struct vm_view *view)
{
    enum store_stage stage;

    if (!view->moref)
        view->next = "connecting_vcenter";
    else if (store_stage_from_name(view->stage, &stage))
        view->next = migration_next_stage(stage, view->is_finalize_requested, view->runs_virt_v2v);
    else
        view->next = "unknown";
}

/* ---- which ------------------------------------------------------------------------------------ */

static bool
contains(const struct words *words, const char *text)
{
    for (size_t i = 0; text && i < words->count; i++)
        if (!strcmp(words->items[i], text))
            return true;
    return false;
}

static bool
is_uuid(const char *recorded, const char *uuid)
{
    return recorded && !strcasecmp(recorded, uuid);
}

/* A moref, else a uuid, decides where it is given: names are labels, and another VM may have it. */
static bool
is_record_of(const struct store_migration *record, const struct vm_entry *entry)
{
    if (entry->moref)
        return !strcmp(record->vm_moref, entry->moref);
    if (entry->uuid)
        return is_uuid(record->instance_uuid, entry->uuid) ||
               is_uuid(record->bios_uuid, entry->uuid);
    if (entry->datacenter && record->datacenter && strcmp(record->datacenter, entry->datacenter))
        return false;
    return entry->name && !strcmp(record->vm_name, entry->name);
}

/* @views all answer to @label; what the caller acts on must be one. */
static int
refuse_ambiguous(const char *label, const struct vm_view *const *views, size_t count,
                 struct err **err)
{
    struct str text = STR_INIT(64 * KIB);
    bool is_one_moref = true;

    for (size_t i = 0; i < count; i++) {
        const struct vm_view *view = views[i];
        const char *vcenter = view->record.vcenter;

        str_appendf(&text, "%s%.200s (moref %s, vCenter %s, %s)", i ? "; " : "", view->name,
                    view->moref, vcenter ? vcenter : "unknown", view->directory);
        is_one_moref &= !strcmp(view->moref, views[0]->moref);
    }
    err_set(err, E_USAGE, "%s: %zu migrations match: %s", label, count, str_text(&text));
    err_hint(err, is_one_moref ? "give the configuration of the vCenter you mean with --config"
                               : "say which with --vm-id");
    str_done(&text);
    return -1;
}

struct finder {
    const struct select_values *values;
    const struct config *config;
    struct selection *selection;
    struct store_migrations records;
};

/* Moves the record into a view at the end of the selection. */
static int
add_record(struct finder *finder, struct store_migration *record, bool runs_virt_v2v,
           struct err **err)
{
    struct vm_view view = {.record = *record, .runs_virt_v2v = runs_virt_v2v};

    *record = (struct store_migration){0};
    vec_push(&finder->selection->views, view);
    return describe_record(finder->selection,
                           &finder->selection->views.items[finder->selection->views.count - 1],
                           err);
}

static bool
is_of_this_vcenter(const struct finder *finder, const struct store_migration *record)
{
    const char *host = finder->config->vcenter.host;

    return !host || !*host || !record->vcenter || !strcmp(record->vcenter, host);
}

/* Refuses when more than one view from @first on has the name or moref @label; NULL: any. */
static int
check_single(const struct finder *finder, size_t first, const char *name, const char *moref,
             const char *label, struct err **err)
{
    const struct vm_views *views = &finder->selection->views;
    const struct vm_view **found = xcalloc(views->count + 1, sizeof(*found));
    size_t count = 0;
    int rc = 0;

    for (size_t i = first; i < views->count; i++) {
        const struct vm_view *view = &views->items[i];

        if (view->moref && (!name || !strcmp(view->name, name)) &&
            (!moref || !strcmp(view->moref, moref)))
            found[count++] = view;
    }
    if (count > 1)
        rc = refuse_ambiguous(label, found, count, err);
    free(found);
    return rc;
}

static int
find_entry(struct finder *finder, const struct vm_entry *entry, struct err **err)
{
    struct vm_views *views = &finder->selection->views;
    size_t first = views->count;

    for (size_t i = 0; i < finder->records.count; i++) {
        struct store_migration *record = &finder->records.items[i];

        if (record->id && is_of_this_vcenter(finder, record) && is_record_of(record, entry) &&
            add_record(finder, record, entry->runs_virt_v2v, err) < 0)
            return -1;
    }
    if (views->count == first)
        foreign_find(finder->selection->control_dir, entry, views);
    if (finder->values->vm_ids.count == 0 &&
        check_single(finder, first, NULL, NULL, entry_label(entry), err) < 0)
        return -1;
    if (views->count == first)
        vec_push(views, ((struct vm_view){.name = xstrdup(entry_label(entry)),
                                          .stage = xstrdup("not_started"),
                                          .runs_virt_v2v = entry->runs_virt_v2v}));
    return 0;
}

static int
find_by_specs(struct finder *finder, const struct words *specs, struct err **err)
{
    const struct words *vms = &finder->values->vms;
    struct vm_entries entries = {0};
    int rc = 0;

    for (size_t i = 0; i < specs->count && rc == 0; i++)
        rc = entries_read(specs->items[i], finder->config->virt.run_virt_v2v, &entries, err);
    for (size_t i = 0; i < vms->count && rc == 0; i++) {
        bool is_named = false;

        for (size_t e = 0; e < entries.count; e++)
            is_named |= !strcmp(entry_label(&entries.items[e]), vms->items[i]);
        if (!is_named)
            rc = err_set(err, E_USAGE, "--vm %s: no spec names that VM", vms->items[i]);
    }
    for (size_t e = 0; e < entries.count && rc == 0; e++)
        if (vms->count == 0 || contains(vms, entry_label(&entries.items[e])))
            rc = find_entry(finder, &entries.items[e], err);
    entries_done(&entries);
    return rc;
}

/* Without specs: everything that is recorded; or what --vm and --vm-id name of it, which is of the
 * vCenter that the configuration speaks of, because a moref means nothing without it. */
static int
find_recorded(struct finder *finder, struct err **err)
{
    const struct words *vms = &finder->values->vms, *ids = &finder->values->vm_ids;

    for (size_t i = 0; i < finder->records.count; i++) {
        struct store_migration *record = &finder->records.items[i];

        if ((vms->count || ids->count) && !is_of_this_vcenter(finder, record))
            continue;
        if (vms->count && !contains(vms, record->vm_name))
            continue;
        if (add_record(finder, record, finder->config->virt.run_virt_v2v, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < vms->count && ids->count == 0; i++)
        if (check_single(finder, 0, vms->items[i], NULL, vms->items[i], err) < 0)
            return -1;
    return 0;
}

static void
keep_ids(struct vm_views *views, const struct words *ids)
{
    size_t kept = 0;

    for (size_t i = 0; i < views->count; i++) {
        if (ids->count == 0 || contains(ids, views->items[i].moref))
            views->items[kept++] = views->items[i];
        else
            view_done(&views->items[i]);
    }
    views->count = kept;
}

static int
compare_views(const void *a, const void *b)
{
    const struct vm_view *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : strcmp(x->moref ? x->moref : "", y->moref ? y->moref : "");
}

/* ---- where ------------------------------------------------------------------------------------ */

/* A configuration that cannot be read does not matter where --control-dir says all that is needed. */
static int
load_config(const struct select_values *values, struct config **ret, struct err **err)
{
    CLEANUP(free_charp)
    char *path = values->config ? xstrdup(values->config) : config_default_path();
    struct err *failure = NULL;

    if (config_load(path, true, ret, NULL, &failure) == 0)
        return 0;
    if (!values->control_dir)
        return err_move(err, &failure);
    err_free(failure);
    *ret = config_new();
    return 0;
}

static int
open_store(struct finder *finder, struct err **err)
{
    struct selection *selection = finder->selection;
    struct err *failure = NULL;

    if (store_open(selection->control_dir, true, &selection->store, &failure) == 0)
        return store_migration_list(selection->store, &finder->records, err);
    if (err_code(failure) != E_STORE_NOT_FOUND)
        return err_move(err, &failure);
    err_free(failure);
    return 0;
}

static int
refuse_nothing(const struct finder *finder, const struct words *specs, struct err **err)
{
    const struct select_values *v = finder->values;

    if (!specs->count && !v->vms.count && !v->vm_ids.count)
        return err_set(err, E_STORE_NOT_FOUND, "no migration is recorded in %s",
                       finder->selection->control_dir);
    err_set(err, E_STORE_NOT_FOUND, "no migration matches in %s", finder->selection->control_dir);
    return err_hint(err, "`v2c-engine status` without specs shows all that are recorded");
}

static int
fill(struct finder *finder, const struct words *specs, struct err **err)
{
    struct vm_views *views = &finder->selection->views;
    const struct words *ids = &finder->values->vm_ids;

    if (open_store(finder, err) < 0)
        return -1;
    if ((specs->count ? find_by_specs(finder, specs, err) : find_recorded(finder, err)) < 0)
        return -1;
    keep_ids(views, ids);
    for (size_t i = 0; i < ids->count; i++)
        if (check_single(finder, 0, NULL, ids->items[i], ids->items[i], err) < 0)
            return -1;
    if (views->count == 0)
        return refuse_nothing(finder, specs, err);
    for (size_t i = 0; i < views->count; i++)
        set_next(&views->items[i]);
    qsort(views->items, views->count, sizeof(views->items[0]), compare_views);
    return 0;
}

int
select_vms(const struct select_values *values, const struct words *words, struct selection *ret,
           struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct selection selection = {0};
    struct finder finder = {.values = values, .selection = &selection};
    struct words specs = {0};
    int rc;

    if (load_config(values, &config, err) < 0)
        return -1;
    finder.config = config;
    selection.control_dir =
        xstrdup(values->control_dir ? values->control_dir : config->migration.control_dir);
    for (size_t i = 0; i < values->specs.count; i++)
        vec_push(&specs, values->specs.items[i]);
    for (size_t i = 0; i < words->count; i++)
        vec_push(&specs, words->items[i]);
    rc = fill(&finder, &specs, err);
    vec_done(&specs);
    store_migrations_done(&finder.records);
    selection.config = take(config);
    if (rc < 0)
        selection_done(&selection);
    else
        *ret = selection;
    return rc;
}

int
select_none(const struct select_values *values, struct selection *ret, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct selection selection = {0};

    if (load_config(values, &config, err) < 0)
        return -1;
    selection.control_dir =
        xstrdup(values->control_dir ? values->control_dir : config->migration.control_dir);
    if (store_open(selection.control_dir, true, &selection.store, err) < 0) {
        selection_done(&selection);
        return -1;
    }
    selection.config = take(config);
    *ret = selection;
    return 0;
}

void
select_say(FILE *stream, const char *command, const struct vm_view *view, const char *what)
{
    struct str line = STR_INIT(16 * KIB);

    str_appendf(&line, "[%s] vm=", command);
    text_append_clean(&line, view->name, 0);
    str_appendf(&line, " moref=%s %s", view->moref ? view->moref : "<nil>", what);
    fprintf(stream, "%s\n", str_text(&line));
    str_done(&line);
}

void
selection_done(struct selection *selection)
{
    for (size_t i = 0; i < selection->views.count; i++)
        view_done(&selection->views.items[i]);
    vec_done(&selection->views);
    store_closep(&selection->store);
    config_freep(&selection->config);
    free(selection->control_dir);
}
