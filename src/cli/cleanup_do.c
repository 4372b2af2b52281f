/* Removes what was listed.  Each thing is looked at again under its VM's lock right before; what has come to
 * be in use meanwhile stays.  Stopped anywhere, the same command finds what is left. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/abandon.h"
#include "cli/cleanup.h"
#include "guest/guest.h"
#include "io/io.h"
#include "qcow2/qcow2.h"
#include "vsphere/vsphere.h"

/* ---- one thing, under the lock ------------------------------------------------------------------ */

static int
remove_snapshot(struct cleanup *c, struct item *item, struct err **err)
{
    CLEANUP(vsphere_vm_done) struct vsphere_vm vm = {0};

    if (vsphere_wait_snapshot_tasks(c->vsphere, item->moref, err) < 0 ||
        vsphere_read_vm(c->vsphere, item->moref, &vm, err) < 0)
        return -1;
    for (size_t i = 0; i < vm.snapshots.count; i++)
        if (!strcmp(vm.snapshots.items[i].moref, item->what) &&
            !strcmp(vm.snapshots.items[i].name, item->label))
            return vsphere_remove_snapshot(c->vsphere, item->moref, item->what, err);
    return 0; /* gone */
}

static int
remove_file(struct cleanup *c, struct item *item, struct err **err)
{
    struct qcow2_info info;
    struct stat st;

    if (lstat(item->what, &st) < 0 && errno == ENOENT)
        return 0;
    if (qcow2_inspect(item->what, &info, err) < 0)
        return -1;
    if (!info.is_ours || strcmp(info.owner_id, item->tag) != 0 || info.is_in_use ||
        !info.is_in_progress)
        return err_set(err, E_LOCKED, "%s is not what it was a moment ago", item->what);
    if (cleanup_is_referred(c, item->what))
        return err_set(err, E_LOCKED, "a volume of CloudStack has the name of %s", item->what);
    if (io_path_unlink(item->what) < 0)
        return err_set_errno(err, E_IO, errno, "removing %s", item->what);
    return io_path_sync_dir(item->what, err);
}

static int
remove_temporary(struct item *item, struct err **err)
{
    if (!cleanup_is_stale(item->what))
        return 0; /* gone, or another one by now */
    return unlink(item->what) < 0 && errno != ENOENT
               ? err_set_errno(err, E_IO, errno, "removing %s", item->what)
               : 0;
}

static bool
is_overlay_file(const char *name)
{
    static const char *const names[] = {"disks.xml", GUEST_CONSOLE, GUEST_UEFI_VARS};
    size_t length = strlen(name);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!strcmp(name, names[i]))
            return true;
    return length > 6 && !strcmp(name + length - 6, ".qcow2") && strstr(name, "disk") != NULL;
}

/* What is not of a conversion stays, and the directory with it. */
static int
remove_overlays(struct item *item, struct err **err)
{
    DIR *dir = opendir(item->what);
    struct dirent *entry;

    if (!dir)
        return errno == ENOENT ? 0 : err_set_errno(err, E_IO, errno, "%s", item->what);
    while ((entry = readdir(dir)))
        if (is_overlay_file(entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) < 0 &&
            errno != ENOENT) {
            err_set_errno(err, E_IO, errno, "removing %s/%s", item->what, entry->d_name);
            closedir(dir);
            return -1;
        }
    closedir(dir);
    return rmdir(item->what) < 0 && errno != ENOENT
               ? err_set_errno(err, E_IO, errno, "removing %s", item->what)
               : 0;
}

static int
remove_vm(struct cleanup *c, struct item *item, struct err **err)
{
    bool is_left = false;

    if (migration_expunge_empty(c->cloudstack, item->what, &is_left, err) < 0)
        return -1;
    return is_left ? err_set(err, E_CS_API, "VM %s has volumes", item->what) : 0;
}

static int
rename_directory(struct item *item, struct err **err)
{
    CLEANUP(free_charp) char *to = abandon_new_name(item->what);

    if (rename(item->what, to) < 0)
        return err_set_errno(err, E_IO, errno, "renaming %s", item->what);
    return file_sync_dir(to, err);
}

/* As `cancel` would have: it takes the lock itself. */
static int
finish_cancel(struct cleanup *c, struct item *item, struct err **err)
{
    const struct abandon_options options = {.command = "cancel", .yes = true, .is_quiet = true};
    const struct vm_view view = {
        .name = item->vm_name,
        .moref = item->moref,
        .record = {.id = item->migration, .vcenter = item->vcenter},
    };

    return abandon_one(&options, c->selection, &view, err);
}

/* ---- all of it --------------------------------------------------------------------------------- */

/* A migration that has begun since the listing has a record by the time that its lock is free. */
static int
check_still_unused(struct cleanup *c, const struct item *item, struct err **err)
{
    CLEANUP(store_migrations_done) struct store_migrations all = {0};

    if (store_migration_list(c->selection->store, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.count; i++)
        if (!migration_is_over(all.items[i].stage) && !strcmp(all.items[i].vm_moref, item->moref) &&
            (!item->vcenter || !strcmp(all.items[i].vcenter, item->vcenter)))
            return err_set(err, E_LOCKED, "a migration of %s has begun meanwhile", item->moref);
    return 0;
}

static int
remove_item(struct cleanup *c, struct item *item, struct err **err)
{
    CLEANUP(close_fdp) int fd = -1;

    if (item->kind == ITEM_MIGRATION)
        return finish_cancel(c, item, err);
    if (item->moref && item->vcenter &&
        (migration_lock(c->selection->control_dir, item->vcenter, item->moref, &fd, err) < 0 ||
         check_still_unused(c, item, err) < 0))
        return -1;
    switch (item->kind) {
    case ITEM_SNAPSHOT:
        return remove_snapshot(c, item, err);
    case ITEM_FILE:
        return remove_file(c, item, err);
    case ITEM_TEMPORARY:
        return remove_temporary(item, err);
    case ITEM_OVERLAYS:
        return remove_overlays(item, err);
    case ITEM_VM:
        return remove_vm(c, item, err);
    default:
        return rename_directory(item, err);
    }
}

void
cleanup_do(struct cleanup *c)
{
    struct err *failure = NULL;

    /* It may have got volumes while somebody thought the answer over. */
    if (c->cloudstack && cleanup_read_volumes(c, &failure) < 0) {
        cleanup_note(c, SIDE_CLOUDSTACK, &failure);
        for (size_t i = 0; i < c->items.count; i++)
            if (c->items.items[i].kind == ITEM_FILE && c->items.items[i].fate == FATE_REMOVE)
                cleanup_leave(&c->items.items[i], FATE_LEFT,
                              "CloudStack cannot be asked whether a volume uses it");
    }
    for (size_t i = 0; i < c->items.count; i++) {
        struct item *item = &c->items.items[i];

        if (item->fate != FATE_REMOVE)
            continue;
        if (remove_item(c, item, &failure) == 0)
            item->fate = FATE_REMOVED;
        else
            cleanup_leave(item, err_code(failure) == E_LOCKED ? FATE_IN_USE : FATE_FAILED, "%s",
                          err_message(failure));
        err_freep(&failure);
    }
}
