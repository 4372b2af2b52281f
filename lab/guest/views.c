/* Frozen views of a live guest's disks, and what changed between them.
 *
 * Freezing is one transaction of QEMU over all disks: a backup job with sync=none begins for each, which
 * saves every block into the view's fleecing image before the guest overwrites it, and the dirty bitmap
 * that recorded since the last freeze is closed and a new one opened.  So the bitmaps v<A>, v<B>, ... of
 * successive freezes lie end to end, and what differs between two views is in the union of those
 * between them; each is exact to 64 KiB.  They stay when their view is thawed. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "guest/live.h"

#define GRANULARITY 65536
#define MAX_EPOCHS  32 /* bitmaps that are kept */
#define MAX_IDLE    4  /* connections kept for a disk of a view */
#define READERS_S   90 /* longer than a read can take */
#define ALLOCATION  "base:allocation"
#define STATE_HOLE  1U /* NBD_STATE_HOLE and NBD_STATE_ZERO of the NBD protocol's base:allocation */
#define STATE_ZERO  2U
#define STATE_DIRTY 1U /* of QEMU's qemu:dirty-bitmap:NAME */
#define NAME_BYTES  64

static struct live *
self(struct lab_machine *machine)
{
    return (struct live *)(void *)machine;
}

static int
call(struct live *live, const char *command, json_t *arguments, struct err **err)
{
    return qmp_call(live->qemu.qmp, command, arguments, NULL, err);
}

int
live_start_exports(struct live *live, struct err **err)
{
    return call(live, "nbd-server-start",
                json_pack("{s:{s:s, s:{s:s}}}", "addr", "type", "unix", "data", "path",
                          QEMU_DIR "/" QEMU_NBD_SOCKET),
                err);
}

/* Names of a view's things in QEMU: a letter for the kind, the view, the disk. */
static void
name_thing(char ret_name[NAME_BYTES], const char *kind, uint64_t view, unsigned disk)
{
    (void)snprintf(ret_name, NAME_BYTES, "%s%" PRIu64 "-%u", kind, view, disk);
}

static void
name_bitmap(char ret_name[NAME_BYTES], uint64_t view)
{
    (void)snprintf(ret_name, NAME_BYTES, "v%" PRIu64, view);
}

static void
name_disk(char ret_name[NAME_BYTES], unsigned disk)
{
    (void)snprintf(ret_name, NAME_BYTES, "disk%u", disk);
}

static char *
fleece_path(const struct live *live, uint64_t view, unsigned disk)
{
    return xasprintf("%s/fleece%" PRIu64 "-%u.qcow2", live->dir, view, disk);
}

static int
add_export(struct live *live, const char *name, const char *node, const char *bitmap,
           struct err **err)
{
    json_t *arguments = json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", "nbd", "id", name,
                                  "node-name", node, "name", name, "writable", 0);

    if (bitmap)
        (void)json_object_set_new(arguments, "bitmaps",
                                  json_pack("[{s:s, s:s}]", "node", node, "name", bitmap));
    return call(live, "block-export-add", arguments, err);
}

static int
remove_export(struct live *live, const char *name, struct err **err)
{
    if (call(live, "block-export-del", json_pack("{s:s, s:s}", "id", name, "mode", "hard"), err) <
        0)
        return -1;
    return qmp_await_absent(live->qemu.qmp, "query-block-exports", "id", name, err);
}

/* ---- who reads what ---------------------------------------------------------------------------- */

static struct live_view *
find_view(struct live *live, uint64_t view)
{
    for (size_t i = 0; i < live->views.count; i++)
        if (live->views.items[i]->view == view)
            return live->views.items[i];
    return NULL;
}

static int
fail_no_view(struct live *live, uint64_t view, struct err **err)
{
    return err_set(err, E_VSPHERE_NOT_FOUND, "%s has no view %" PRIu64, live->name, view);
}

/* Lets a reader in, with a connection if one is idle; *ret_nbd is NULL when it must make its own. */
static struct live_view *
enter_view(struct live *live, uint64_t number, unsigned disk, struct lab_nbd **ret_nbd,
           struct err **err)
{
    SCOPE_LOCK(&live->mutex);
    struct live_view *view = find_view(live, number);
    struct live_connections *idle;

    if (!view || view->is_ending) {
        (void)fail_no_view(live, number, err);
        return NULL;
    }
    view->users++;
    idle = &view->idle[disk];
    *ret_nbd = idle->count ? idle->items[--idle->count] : NULL;
    return view;
}

/* @nbd goes back to the idle ones, or is NULL when it failed and has been closed. */
static void
leave_view(struct live *live, struct live_view *view, unsigned disk, struct lab_nbd *nbd)
{
    pthread_mutex_lock(&live->mutex);
    if (nbd && !view->is_ending && view->idle[disk].count < MAX_IDLE)
        vec_push(&view->idle[disk], take(nbd));
    view->users--;
    pthread_cond_broadcast(&live->changed);
    pthread_mutex_unlock(&live->mutex);
    lab_nbd_close(nbd);
}

static void
free_view(struct live_view *view)
{
    for (unsigned i = 0; i < LIVE_MAX_DISKS; i++) {
        for (size_t j = 0; j < view->idle[i].count; j++)
            lab_nbd_close(view->idle[i].items[j]);
        vec_done(&view->idle[i]);
    }
    free(view);
}

static int
check_range(struct live *live, unsigned disk, uint64_t length, uint64_t offset, struct err **err)
{
    if (disk >= live->machine.disk_count)
        return err_set(err, E_VSPHERE_NOT_FOUND, "%s has no disk %u", live->name, disk);
    if (offset > live->disks[disk].capacity || length > live->disks[disk].capacity - offset)
        return err_set(err, E_LIMIT, "disk %u of %s ends before %" PRIu64, disk, live->name,
                       offset + length);
    return 0;
}

int
live_read(struct lab_machine *machine, unsigned disk, uint64_t number, void *data, uint32_t length,
          uint64_t offset, struct err **err)
{
    struct live *live = self(machine);
    struct live_view *view;
    struct lab_nbd *nbd;
    char name[NAME_BYTES];
    int result = 0;

    if (check_range(live, disk, length, offset, err) < 0)
        return -1;
    if (number == 0)
        return file_pread(live->disks[disk].raw_fd, data, length, offset, err);
    view = enter_view(live, number, disk, &nbd, err);
    if (!view)
        return -1;
    name_thing(name, "e", number, disk);
    if (!nbd)
        result = lab_nbd_open(live->qemu.dir_fd, name, ALLOCATION, &nbd, err);
    if (result == 0)
        result = lab_nbd_read(nbd, data, length, offset, err);
    if (result < 0)
        lab_nbd_close(take(nbd));
    leave_view(live, view, disk, nbd);
    return result < 0 ? err_wrap(err, "%s: disk %u: view %" PRIu64, live->name, disk, number) : 0;
}

/* ---- allocation -------------------------------------------------------------------------------- */

static int
map_file(struct live *live, unsigned disk, uint64_t offset, uint64_t end, struct extents *extents,
         struct err **err)
{
    int fd = live->disks[disk].raw_fd;

    while (offset < end) {
        off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;

        if (data < 0 && errno == ENXIO)
            return 0;
        hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (hole < 0)
            return err_set_errno(err, E_IO, errno, "%s", live->disks[disk].raw_path);
        if ((uint64_t)data >= end)
            return 0;
        vec_push(extents,
                 (struct extent){(uint64_t)data, MIN((uint64_t)hole, end) - (uint64_t)data});
        offset = (uint64_t)hole;
    }
    return 0;
}

/* Twice: QEMU looks at the fleecing image first and at the disk then, and a block that the guest clears
 * between the two would be seen in neither.  But it is saved before it is cleared: the second time
 * finds it, and a block that is missed in the second was there in the first. */
static int
map_export(struct lab_nbd *nbd, uint64_t offset, uint64_t length, struct extents *extents,
           struct err **err)
{
    for (unsigned i = 0; i < 2; i++)
        if (lab_nbd_map(nbd, offset, length, STATE_ZERO, 0, extents, err) < 0)
            return -1;
    return 0;
}

int
live_allocated(struct lab_machine *machine, unsigned disk, uint64_t number, uint64_t offset,
               uint64_t length, struct extents *extents, struct err **err)
{
    struct live *live = self(machine);
    struct extents found = {0};
    struct live_view *view;
    struct lab_nbd *nbd;
    char name[NAME_BYTES];
    int result = 0;

    if (check_range(live, disk, length, offset, err) < 0)
        return -1;
    if (number == 0)
        return map_file(live, disk, offset, offset + length, extents, err);
    view = enter_view(live, number, disk, &nbd, err);
    if (!view)
        return -1;
    name_thing(name, "e", number, disk);
    if (!nbd)
        result = lab_nbd_open(live->qemu.dir_fd, name, ALLOCATION, &nbd, err);
    if (result == 0)
        result = map_export(nbd, offset, length, &found, err);
    if (result < 0)
        lab_nbd_close(take(nbd));
    leave_view(live, view, disk, nbd);
    if (result == 0)
        result = extents_normalize(&found, live->disks[disk].capacity, 0, true, err);
    for (size_t i = 0; result == 0 && i < found.count; i++)
        vec_push(extents, found.items[i]);
    vec_done(&found);
    return result < 0 ? err_wrap(err, "%s: disk %u: view %" PRIu64, live->name, disk, number) : 0;
}

/* ---- freezing ---------------------------------------------------------------------------------- */

static int
add_fleece(struct live *live, uint64_t view, unsigned disk, struct err **err)
{
    CLEANUP(free_charp) char *path = fleece_path(live, view, disk);
    CLEANUP(free_charp)
    char *seen_by_qemu = xasprintf(QEMU_DIR "/fleece%" PRIu64 "-%u.qcow2", view, disk);
    char node[NAME_BYTES], below[NAME_BYTES];

    name_thing(node, "f", view, disk);
    name_disk(below, disk);
    if (qemu_create_qcow2(path, live->disks[disk].capacity, NULL, NULL, err) < 0)
        return -1;
    return call(live, "blockdev-add",
                json_pack("{s:s, s:s, s:s, s:{s:b}, s:{s:s, s:s, s:s}}", "driver", "qcow2",
                          "node-name", node, "backing", below, "cache", "no-flush", 1, "file",
                          "driver", "file", "filename", seen_by_qemu, "locking", "off"),
                err);
}

/* What the transaction does with one disk. */
static void
add_actions(struct live *live, uint64_t view, unsigned disk, json_t *actions)
{
    uint64_t last = live->epochs.count ? live->epochs.items[live->epochs.count - 1] : 0;
    char node[NAME_BYTES], bitmap[NAME_BYTES], old[NAME_BYTES], job[NAME_BYTES], target[NAME_BYTES];

    name_disk(node, disk);
    name_bitmap(bitmap, view);
    name_bitmap(old, last);
    name_thing(job, "j", view, disk);
    name_thing(target, "f", view, disk);
    (void)json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:i}}", "type",
                                                   "block-dirty-bitmap-add", "data", "node", node,
                                                   "name", bitmap, "granularity", GRANULARITY));
    if (last)
        (void)json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s}}", "type",
                                                       "block-dirty-bitmap-disable", "data", "node",
                                                       node, "name", old));
    (void)json_array_append_new(
        actions, json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "type", "blockdev-backup", "data",
                           "job-id", job, "device", node, "target", target, "sync", "none"));
}

/* Takes away whatever of a view is there, in the order QEMU wants; goes on after an error and returns
 * the first. */
static int
remove_view_things(struct live *live, uint64_t view, bool is_frozen, struct err **err)
{
    struct err *first = NULL;

    for (unsigned i = 0; is_frozen && i < live->machine.disk_count; i++) {
        char job[NAME_BYTES];

        name_thing(job, "j", view, i);
        if (call(live, "block-job-cancel", json_pack("{s:s}", "device", job),
                 first ? NULL : &first) == 0)
            (void)qmp_await_absent(live->qemu.qmp, "query-jobs", "id", job, first ? NULL : &first);
    }
    for (unsigned i = 0; i < live->machine.disk_count; i++) {
        CLEANUP(free_charp) char *path = fleece_path(live, view, i);
        char node[NAME_BYTES];

        name_thing(node, "f", view, i);
        (void)call(live, "blockdev-del", json_pack("{s:s}", "node-name", node),
                   first || !is_frozen ? NULL : &first);
        (void)unlink(path);
    }
    return first ? err_move(err, &first) : 0;
}

/* The oldest bitmaps go, as long as nobody looks at their view: who asks since then is told E_CBT_RESET. */
static void
forget_epochs(struct live *live)
{
    while (live->epochs.count > MAX_EPOCHS) {
        uint64_t oldest = live->epochs.items[0];
        char bitmap[NAME_BYTES], node[NAME_BYTES];
        bool is_frozen;

        pthread_mutex_lock(&live->mutex);
        is_frozen = find_view(live, oldest) != NULL;
        pthread_mutex_unlock(&live->mutex);
        if (is_frozen)
            return;
        name_bitmap(bitmap, oldest);
        for (unsigned i = 0; i < live->machine.disk_count; i++) {
            name_disk(node, i);
            (void)call(live, "block-dirty-bitmap-remove",
                       json_pack("{s:s, s:s}", "node", node, "name", bitmap), NULL);
        }
        live->epochs.count--;
        memmove(live->epochs.items, live->epochs.items + 1,
                live->epochs.count * sizeof(live->epochs.items[0]));
    }
}

static int
prepare_freeze(struct live *live, uint64_t view, struct err **err)
{
    for (unsigned i = 0; i < live->machine.disk_count; i++)
        if (add_fleece(live, view, i, err) < 0)
            return -1;
    return 0;
}

static int
export_view(struct live *live, uint64_t view, struct err **err)
{
    for (unsigned i = 0; i < live->machine.disk_count; i++) {
        char name[NAME_BYTES], node[NAME_BYTES];

        name_thing(name, "e", view, i);
        name_thing(node, "f", view, i);
        if (add_export(live, name, node, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static void
unexport_view(struct live *live, uint64_t view, struct err **err)
{
    for (unsigned i = 0; i < live->machine.disk_count; i++) {
        char name[NAME_BYTES];

        name_thing(name, "e", view, i);
        (void)remove_export(live, name, err && *err ? NULL : err);
    }
}

int
live_freeze(struct lab_machine *machine, uint64_t number, struct err **err)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->control);
    struct live_view *view;
    json_t *actions;

    if (number == 0 || (live->epochs.count && number <= live->epochs.items[live->epochs.count - 1]))
        return err_set(err, E_BUG, "%s: view %" PRIu64 " is not new", live->name, number);
    actions = json_array();
    for (unsigned i = 0; i < machine->disk_count; i++)
        add_actions(live, number, i, actions);
    if (prepare_freeze(live, number, err) < 0) {
        json_decref(actions);
        (void)remove_view_things(live, number, false, NULL);
        return err_wrap(err, "%s: freeze", live->name);
    }
    if (call(live, "transaction", json_pack("{s:o}", "actions", actions), err) < 0) {
        (void)remove_view_things(live, number, false, NULL);
        return err_wrap(err, "%s: freeze", live->name);
    }
    vec_push(&live->epochs, number);
    if (export_view(live, number, err) < 0) {
        unexport_view(live, number, NULL);
        (void)remove_view_things(live, number, true, NULL);
        return err_wrap(err, "%s: freeze", live->name);
    }
    view = xcalloc(1, sizeof(*view));
    view->view = number;
    pthread_mutex_lock(&live->mutex);
    vec_push(&live->views, view);
    pthread_mutex_unlock(&live->mutex);
    forget_epochs(live);
    return 0;
}

/* Takes the view from the list when its last reader has left; their connections are cut by then. */
static int
retire_view(struct live *live, struct live_view *view, struct err **err)
{
    struct timespec until;
    SCOPE_LOCK(&live->mutex);

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += READERS_S;
    while (view->users > 0)
        if (pthread_cond_timedwait(&live->changed, &live->mutex, &until) == ETIMEDOUT)
            return err_set(err, E_TIMEOUT, "view %" PRIu64 " is still read", view->view);
    for (size_t i = 0; i < live->views.count; i++)
        if (live->views.items[i] == view) {
            live->views.items[i] = live->views.items[--live->views.count];
            break;
        }
    return 0;
}

int
live_thaw(struct lab_machine *machine, uint64_t number, struct err **err)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->control);
    struct err *first = NULL;
    struct live_view *view;

    pthread_mutex_lock(&live->mutex);
    view = find_view(live, number);
    if (view)
        view->is_ending = true;
    pthread_mutex_unlock(&live->mutex);
    if (!view)
        return fail_no_view(live, number, err);
    unexport_view(live, number, &first);
    if (retire_view(live, view, first ? NULL : &first) < 0) {
        (void)err_move(err, &first);
        return err_wrap(err, "%s: thaw", live->name);
    }
    free_view(view);
    (void)remove_view_things(live, number, true, first ? NULL : &first);
    if (first) {
        (void)err_move(err, &first);
        return err_wrap(err, "%s: thaw", live->name);
    }
    return 0;
}

void
live_drop_views(struct live *live)
{
    for (size_t i = 0; i < live->views.count; i++) {
        for (unsigned j = 0; j < live->machine.disk_count; j++) {
            CLEANUP(free_charp) char *path = fleece_path(live, live->views.items[i]->view, j);

            (void)unlink(path);
        }
        free_view(live->views.items[i]);
    }
    live->views.count = 0;
}

/* ---- changed blocks ---------------------------------------------------------------------------- */

/* The bitmaps from the freeze of @since up to that of @view (0: up to now), as QMP names. */
static json_t *
choose_bitmaps(struct live *live, uint64_t since, uint64_t view, struct err **err)
{
    json_t *names = json_array();
    bool has_since = false, has_view = view == 0;

    for (size_t i = 0; i < live->epochs.count; i++) {
        uint64_t epoch = live->epochs.items[i];
        char name[NAME_BYTES];

        has_since = has_since || epoch == since;
        has_view = has_view || epoch == view;
        if (epoch < since || (view && epoch >= view))
            continue;
        name_bitmap(name, epoch);
        (void)json_array_append_new(names, json_string(name));
    }
    if (has_since && has_view && (view == 0 || since <= view))
        return names;
    json_decref(names);
    return err_null(err, E_CBT_RESET, "%s knows no changes from view %" PRIu64 " to %" PRIu64,
                    live->name, since, view);
}

static int
read_bitmap(struct live *live, unsigned disk, const char *bitmap, struct extents *extents,
            struct err **err)
{
    CLEANUP(lab_nbd_closep) struct lab_nbd *nbd = NULL;
    CLEANUP(free_charp) char *context = xasprintf("qemu:dirty-bitmap:%s", bitmap);
    char node[NAME_BYTES];
    struct err *first = NULL;

    name_disk(node, disk);
    if (add_export(live, bitmap, node, bitmap, err) < 0)
        return -1;
    if (lab_nbd_open(live->qemu.dir_fd, bitmap, context, &nbd, &first) == 0)
        (void)lab_nbd_map(nbd, 0, live->disks[disk].capacity, STATE_DIRTY, STATE_DIRTY, extents,
                          &first);
    lab_nbd_close(take(nbd));
    (void)remove_export(live, bitmap, first ? NULL : &first);
    return first ? err_move(err, &first) : 0;
}

/* Steals @names.  The bitmaps in use may be recording, so they are merged into one of our own. */
static int
read_merged(struct live *live, unsigned disk, json_t *names, struct extents *extents,
            struct err **err)
{
    char node[NAME_BYTES], merged[NAME_BYTES];
    int result;

    name_disk(node, disk);
    (void)snprintf(merged, sizeof(merged), "q%u", ++live->query_count);
    if (call(live, "block-dirty-bitmap-add",
             json_pack("{s:s, s:s, s:i, s:b}", "node", node, "name", merged, "granularity",
                       GRANULARITY, "disabled", 1),
             err) < 0) {
        json_decref(names);
        return -1;
    }
    result =
        call(live, "block-dirty-bitmap-merge",
             json_pack("{s:s, s:s, s:o}", "node", node, "target", merged, "bitmaps", names), err);
    if (result == 0)
        result = read_bitmap(live, disk, merged, extents, err);
    (void)call(live, "block-dirty-bitmap-remove",
               json_pack("{s:s, s:s}", "node", node, "name", merged), NULL);
    return result;
}

int
live_changed(struct lab_machine *machine, unsigned disk, uint64_t since, uint64_t view,
             struct extents *extents, struct err **err)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->control);
    struct extents found = {0};
    json_t *names;
    int result;

    if (check_range(live, disk, 0, 0, err) < 0)
        return -1;
    names = choose_bitmaps(live, since, view, err);
    if (!names)
        return -1;
    if (json_array_size(names) == 0) {
        json_decref(names);
        return 0;
    }
    result = read_merged(live, disk, names, &found, err);
    for (size_t i = 0; result == 0 && i < found.count; i++)
        vec_push(extents, found.items[i]);
    vec_done(&found);
    return result < 0 ? err_wrap(err, "%s: disk %u: changes", live->name, disk) : 0;
}
