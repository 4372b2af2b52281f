/* cleanup: lists what crashed and abandoned migrations have left, and removes it when told. */
#include "cli/cleanup.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "base/text.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/text.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

#define SOMETHING_IS_THERE 3 /* the exit status of a listing */

struct cleanup_values {
    const char *config, *control_dir;
    bool json, yes, orphans;
};

static const struct option_def cleanup_options[] = {
    {"config", OPTION_TEXT, offsetof(struct cleanup_values, config), "FILE",
     "Configuration (default: config.yaml, else ../config.yaml)."},
    {"control-dir", OPTION_TEXT, offsetof(struct cleanup_values, control_dir), "DIR",
     "Where state is kept, instead of migration.control_dir."},
    {"json", OPTION_BOOL, offsetof(struct cleanup_values, json), NULL, "Print the list as JSON."},
    {"orphans", OPTION_BOOL, offsetof(struct cleanup_values, orphans), NULL,
     "Also what has the form of ours and an id that this control directory does not know: of one "
     "that was lost. Another engine may be at work with it."},
    {"yes", OPTION_BOOL, offsetof(struct cleanup_values, yes), NULL,
     "Remove it; without a terminal it is only listed else."},
    OPTION_END,
};

static const char *const side_words[] = {"vsphere", "storage", "cloudstack", "local"};
static const char *const kind_words[] = {"snapshot", "file",      "temporary file", "overlays",
                                         "vm",       "migration", "directory"};
static const char *const fate_words[] = {"remove", "in use", "left", "removed", "failed"};

/* ---- telling ----------------------------------------------------------------------------------- */

static void
print_item(const struct item *item)
{
    struct str out = STR_INIT(64 * KIB);

    str_appendf(&out, "[cleanup] %s: %s %s ", fate_words[item->fate], side_words[item->side],
                kind_words[item->kind]);
    text_append_clean(&out, item->what, 0);
    if (item->label) {
        str_append(&out, " \"");
        text_append_clean(&out, item->label, 0);
        str_append(&out, "\"");
    }
    if (item->vm_name) {
        str_append(&out, " of ");
        text_append_clean(&out, item->vm_name, 0);
        str_appendf(&out, " (%s)", item->moref);
    }
    if (item->bytes >= 0) {
        str_append(&out, ", ");
        text_append_bytes(&out, (uint64_t)item->bytes);
    }
    if (item->why) {
        str_append(&out, ": ");
        text_append_clean(&out, item->why, 0);
    }
    printf("%s\n", str_text(&out));
    str_done(&out);
}

/* NULL, for which the key is left out. */
static json_t *
text_or_none(const char *text)
{
    return text ? json_text(text) : NULL;
}

static json_t *
item_json(const struct item *item)
{
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:o, s:o*, s:o*, s:o*, s:o*, s:o*}", "side", side_words[item->side],
        "kind", kind_words[item->kind], "state", fate_words[item->fate], "what",
        json_text(item->what), "name", text_or_none(item->label), "id",
        text_or_none(item->tag[0] ? item->tag : NULL), "vm", text_or_none(item->vm_name), "moref",
        text_or_none(item->moref), "why", text_or_none(item->why));

    if (object && item->bytes >= 0)
        json_object_set_new(object, "bytes", json_integer(item->bytes));
    return object;
}

static void
tell(const struct cleanup *c, bool as_json)
{
    CLEANUP(free_charp) char *text = NULL;
    json_t *list = NULL;

    if (!as_json) {
        for (size_t i = 0; i < c->items.count; i++)
            print_item(&c->items.items[i]);
        return;
    }
    list = json_array();
    for (size_t i = 0; i < c->items.count; i++)
        json_array_append_new(list, item_json(&c->items.items[i]));
    text = json_dumps(list, JSON_INDENT(2));
    json_decref(list);
    printf("%s\n", text ? text : "[]");
}

static size_t
count(const struct cleanup *c, enum item_fate fate)
{
    size_t found = 0;

    for (size_t i = 0; i < c->items.count; i++)
        found += c->items.items[i].fate == fate;
    return found;
}

static bool
ask(size_t how_many)
{
    char answer[16] = "";

    printf("Remove %zu of these? [y/N] ", how_many);
    (void)fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* ---- the command ------------------------------------------------------------------------------- */

/* A side that nobody could look at is no clean side. */
static int
judge_sides(const struct cleanup *c, struct err **err)
{
    static const char *const names[] = {"vSphere", "the pools", "CloudStack",
                                        "the control directory"};
    struct str sides = STR_INIT(16 * KIB);
    int result = 0;

    for (size_t i = 0; i < SIDE_MAX_; i++)
        if (c->unreached[i])
            str_appendf(&sides, "%s%s: %s", sides.length ? "; " : "", names[i],
                        err_message(c->unreached[i]));
    if (sides.length)
        result = err_set(err, E_NET, "not all sides could be looked at: %s", str_text(&sides));
    str_done(&sides);
    return result;
}

static int
clean(struct cleanup *c, const struct cleanup_values *v, struct err **err)
{
    bool may_ask = !v->json && isatty(STDIN_FILENO) == 1;
    size_t found;

    if (cleanup_load_known(c, err) < 0)
        return -1;
    cleanup_find(c);
    found = count(c, FATE_REMOVE);
    if (!v->json || !v->yes)
        tell(c, v->json);
    if (!v->json && !found)
        printf("[cleanup] nothing is to be removed\n");
    if (found && (v->yes || (may_ask && ask(found)))) {
        cleanup_do(c);
        if (!v->json)
            printf("[cleanup] done:\n");
        tell(c, v->json);
        if (count(c, FATE_REMOVED) < found)
            return err_set(err, E_IO, "%zu of %zu things stay", found - count(c, FATE_REMOVED),
                           found);
        return judge_sides(c, err);
    }
    if (v->json && v->yes)
        tell(c, true);
    if (judge_sides(c, err) < 0)
        return -1;
    return found ? SOMETHING_IS_THERE : 0;
}

static void
cleanup_done(struct cleanup *c)
{
    cleanup_free_known(c);
    for (size_t i = 0; i < c->items.count; i++) {
        struct item *item = &c->items.items[i];

        free(item->what);
        free(item->label);
        free(item->vcenter);
        free(item->moref);
        free(item->vm_name);
        free(item->why);
    }
    vec_done(&c->items);
    vsphere_freep(&c->vsphere);
    cloudstack_freep(&c->cloudstack);
    json_decref(c->volume_paths);
    json_decref(c->finished_paths);
    for (size_t i = 0; i < SIDE_MAX_; i++)
        err_free(c->unreached[i]);
}

/* Who looks for orphans may have lost the database that knew them. */
static int
open_selection(const struct cleanup_values *v, struct selection *selection, struct err **err)
{
    const struct select_values select = {.config = v->config, .control_dir = v->control_dir};
    CLEANUP(free_charp)
    char *path = v->config ? xstrdup(v->config) : config_default_path(), *warnings = NULL;
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(store_closep) struct store *store = NULL;
    struct err *failure = NULL;

    if (select_none(&select, selection, &failure) == 0)
        return 0;
    if (!v->orphans || err_code(failure) != E_STORE_NOT_FOUND)
        return err_move(err, &failure);
    err_free(failure);
    if (config_load(path, true, &config, &warnings, err) < 0 ||
        store_open(v->control_dir ? v->control_dir : config->migration.control_dir, false, &store,
                   err) < 0)
        return -1;
    return select_none(&select, selection, err);
}

static int
run_cleanup(void *opaque, const struct words *words, struct err **err)
{
    const struct cleanup_values *v = opaque;
    struct selection selection;
    struct cleanup c = {.selection = &selection, .takes_orphans = v->orphans};
    int rc;

    if (open_selection(v, &selection, err) < 0)
        return -1;
    rc = clean(&c, v, err);
    cleanup_done(&c);
    selection_done(&selection);
    return rc;
}

const struct command command_cleanup = {
    .name = "cleanup",
    .words = "",
    .summary = "find and remove what crashed or abandoned migrations left",
    .description =
        "Looks for what migrations of this control directory have left: snapshots in vSphere; "
        "partial images and overlays in the pools; VMs without disks that were deployed in "
        "CloudStack for an import; and here cancels that were interrupted and directories without "
        "a record. Everything is listed first, with the reason why it is believed to be ours and "
        "with what would be done; then it asks. Without a terminal it only lists, unless --yes is "
        "given.\n\n"
        "A VM whose migration is running, or that `run` would go on with, is listed as in use and "
        "not touched: `cancel` gives it up. Never removed are files of migrations that are done or "
        "were rolled back, whole disks, files that are open or that a volume of CloudStack has the "
        "name of, and anything in CloudStack that holds a disk.\n\n"
        "A side that cannot be reached is told, and the others are looked at. The exit status of a "
        "listing is 0 when there is nothing to remove and 3 when there is; 1 when a side could not "
        "be reached or something could not be removed. Interrupted, the same command goes on.",
    .options = cleanup_options,
    .values_size = sizeof(struct cleanup_values),
    .run = run_cleanup,
};
