/* What migrations have left, side by side.  Nothing is changed here. */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/cleanup.h"
#include "cli/connect.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

#define MAX_DIRECTORIES 100000

/* ---- items ------------------------------------------------------------------------------------- */

void
cleanup_leave(struct item *item, enum item_fate fate, const char *fmt, ...)
{
    va_list args;

    item->fate = fate;
    free(item->why);
    item->why = NULL;
    va_start(args, fmt);
    if (vasprintf(&item->why, fmt, args) < 0)
        abort();
    va_end(args);
}

/* What the state of the migration that has the id says to its leftovers. */
static void
judge_by_id(const struct cleanup *c, struct item *item, const struct known *known)
{
    if (known->state == KNOWN_RESUMABLE)
        cleanup_leave(item, FATE_IN_USE, "its migration is in stage %s, and `run` goes on with it",
                      known->stage);
    else if (known->state == KNOWN_CANCELLED)
        cleanup_leave(item, FATE_IN_USE, "goes with its migration, whose cancel is not finished");
    else if (cleanup_is_in_use(c, known->vcenter, known->moref))
        cleanup_leave(item, FATE_IN_USE, "another migration of this VM is running or can go on");
    else if (known->state == KNOWN_OVER)
        cleanup_leave(item, FATE_REMOVE, "of a migration of this engine that is %s", known->stage);
    else
        cleanup_leave(item, FATE_REMOVE, "of a migration of this engine that was given up in %s",
                      known->stage);
}

struct item *
cleanup_add(struct cleanup *c, enum item_side side, enum item_kind kind, const char *what,
            const char *tag)
{
    const struct known *known = cleanup_find_known(c, tag);
    struct item item = {.side = side, .kind = kind, .what = xstrdup(what), .bytes = -1};

    (void)snprintf(item.tag, sizeof(item.tag), "%s", tag);
    if (known) {
        item.vcenter = xstrdup(known->vcenter);
        item.moref = xstrdup(known->moref);
        item.vm_name = xstrdup(known->vm_name);
        judge_by_id(c, &item, known);
    } else {
        item.vcenter = xstrdup(c->selection->config->vcenter.host);
        item.moref = cleanup_moref_of(tag);
        if (item.moref && cleanup_is_in_use(c, NULL, item.moref))
            cleanup_leave(&item, FATE_IN_USE,
                          "another migration of this VM is running or can go on");
        else
            cleanup_leave(&item, c->takes_orphans ? FATE_REMOVE : FATE_LEFT,
                          "no migration in %s has the id %s: it may be of another engine, and in "
                          "use there%s",
                          c->selection->control_dir, tag,
                          c->takes_orphans ? "" : "; --orphans removes it");
    }
    vec_push(&c->items, item);
    return &c->items.items[c->items.count - 1];
}

void
cleanup_note(struct cleanup *c, enum item_side side, struct err **failure)
{
    if (!c->unreached[side])
        c->unreached[side] = take(*failure);
    else
        err_freep(failure);
}

/* ---- vSphere ----------------------------------------------------------------------------------- */

static void
find_snapshots(struct cleanup *c)
{
    CLEANUP(vsphere_vm_snapshots_done) struct vsphere_vm_snapshots all = {0};
    struct err *failure = NULL;

    if (connect_vcenter(c->selection->config, &c->vsphere, &failure) < 0 ||
        vsphere_list_snapshots(c->vsphere, &all, &failure) < 0) {
        vsphere_freep(&c->vsphere);
        cleanup_note(c, SIDE_VSPHERE, &failure);
        return;
    }
    for (size_t i = 0; i < all.count; i++) {
        const struct vsphere_vm_snapshot *s = &all.items[i];
        const struct known *known;
        struct item *item;
        char tag[64];

        if (!cleanup_tag_of_snapshot(s->name, s->vm_moref, tag))
            continue;
        known = cleanup_find_known(c, tag);
        if (known && strcmp(known->vcenter, c->selection->config->vcenter.host) != 0)
            continue; /* by chance */
        item = cleanup_add(c, SIDE_VSPHERE, ITEM_SNAPSHOT, s->moref, tag);
        item->label = xstrdup(s->name);
        free(item->moref);
        item->moref = xstrdup(s->vm_moref);
        free(item->vm_name);
        item->vm_name = xstrdup(s->vm_name);
    }
}

/* ---- CloudStack -------------------------------------------------------------------------------- */

int
cleanup_read_volumes(struct cleanup *c, struct err **err)
{
    json_t *paths = json_object();

    /* What belongs to projects is in no other list. */
    for (int is_project = 0; is_project <= 1; is_project++) {
        struct cloudstack_params params = {0};
        json_t *volumes = NULL, *volume;
        size_t i;
        int result;

        if (is_project)
            vec_push(&params, ((struct cloudstack_param){"projectid", "-1"}));
        result = cloudstack_list(c->cloudstack, "listVolumes", &params, &volumes, err);
        vec_done(&params);
        if (result < 0) {
            json_decref(paths);
            return -1;
        }
        json_array_foreach (volumes, i, volume) {
            const char *path = json_string_value(json_object_get(volume, "path"));
            const char *slash = path ? strrchr(path, '/') : NULL;

            if (path)
                json_object_set_new(paths, slash ? slash + 1 : path, json_true());
        }
        json_decref(volumes);
    }
    json_decref(c->volume_paths);
    c->volume_paths = paths;
    return 0;
}

/* In whatever pool: one that is mentioned twice is better than one that is missed. */
bool
cleanup_is_referred(const struct cleanup *c, const char *path)
{
    CLEANUP(free_charp) char *name = xstrdup(strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    char *dot = strrchr(name, '.');

    if (json_object_get(c->volume_paths, name))
        return true;
    if (dot)
        *dot = '\0';
    return json_object_get(c->volume_paths, name) != NULL;
}

static void
find_vm(struct cleanup *c, const struct known *known, struct err **err)
{
    json_t *vm = NULL;
    struct item *item;

    if (cloudstack_get_vm(c->cloudstack, known->shell_vm, &vm, err) < 0 || !vm)
        return;
    item = cleanup_add(c, SIDE_CLOUDSTACK, ITEM_VM, known->shell_vm, known->tag);
    item->label = xstrdup(json_string_value(json_object_get(vm, "displayname")));
    json_decref(vm);
}

static void
find_in_cloudstack(struct cleanup *c)
{
    struct err *failure = NULL;

    if (connect_cloudstack(c->selection->config, &c->cloudstack, &failure) < 0 ||
        cleanup_read_volumes(c, &failure) < 0) {
        cloudstack_freep(&c->cloudstack);
        cleanup_note(c, SIDE_CLOUDSTACK, &failure);
        return;
    }
    for (size_t i = 0; i < c->knowns.count && !failure; i++)
        if (c->knowns.items[i].shell_vm)
            find_vm(c, &c->knowns.items[i], &failure);
    if (failure)
        cleanup_note(c, SIDE_CLOUDSTACK, &failure);
}

/* ---- here -------------------------------------------------------------------------------------- */

static void
find_migrations(struct cleanup *c)
{
    for (size_t i = 0; i < c->knowns.count; i++) {
        const struct known *known = &c->knowns.items[i];
        struct item *item;

        if (known->state != KNOWN_RESUMABLE && known->state != KNOWN_CANCELLED)
            continue;
        item = cleanup_add(c, SIDE_LOCAL, ITEM_MIGRATION, known->tag, known->tag);
        item->migration = known->migration;
        if (known->state == KNOWN_CANCELLED)
            cleanup_leave(item, FATE_REMOVE, "its cancel was interrupted in stage %s",
                          known->stage);
    }
}

/* Whether a run that was killed before it had a record has left nothing but its log there. */
static bool
holds_only_a_log(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool has_log = false, has_others = !dir;

    while (dir && (entry = readdir(dir)))
        if (!strcmp(entry->d_name, "migration.log"))
            has_log = true;
        else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            has_others = true;
    if (dir)
        closedir(dir);
    return has_log && !has_others;
}

static bool
has_record(const struct cleanup *c, const char *path, bool *ret_is_known)
{
    CLEANUP(store_migrations_done) struct store_migrations all = {0};

    *ret_is_known = store_migration_list(c->selection->store, &all, NULL) == 0;
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i].directory && !strcmp(all.items[i].directory, path))
            return true;
    return false;
}

static void
find_directories(struct cleanup *c)
{
    DIR *dir = opendir(c->selection->control_dir);
    struct dirent *entry;

    for (int i = 0; dir && i < MAX_DIRECTORIES && (entry = readdir(dir)); i++) {
        const char *moref = strstr(entry->d_name, "_vm-");
        CLEANUP(free_charp) char *path = file_join(c->selection->control_dir, entry->d_name);
        struct item *item;
        bool is_known;

        if (entry->d_name[0] == '.' || strstr(entry->d_name, FORGOTTEN) || !moref ||
            !holds_only_a_log(path) || has_record(c, path, &is_known) || !is_known)
            continue;
        item = cleanup_add(c, SIDE_LOCAL, ITEM_DIRECTORY, path, "");
        free(item->moref);
        item->moref = xstrdup(moref + 1);
        cleanup_leave(item, FATE_REMOVE,
                      "a run that ended before it had a record: it is renamed, its log stays");
    }
    if (dir)
        closedir(dir);
}

void
cleanup_find(struct cleanup *c)
{
    find_migrations(c);
    find_snapshots(c);
    find_in_cloudstack(c);
    cleanup_find_files(c);
    find_directories(c);
}
