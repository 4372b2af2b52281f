/* The guest is made to boot on KVM, after its last sync and before CloudStack gets its disks.
 *
 * virt-v2v works on overlays in a directory of their own beside the target files.  Until they are committed
 * nothing has happened to the targets: a conversion that fails or is killed is begun anew, and when the source
 * runs again deltas go on.  That a commit was begun is recorded first; from then on it is repeated until it is
 * complete, and nothing is copied into the targets any more: they are no copies of the source now. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "guest/guest.h"
#include "migration/convert_room.h"
#include "migration/internal.h"
#include "qcow2/qcow2.h"

#define COMMIT "convert_commit" /* the intent */

VEC_DECLARE(image_list, const char *);

/* ---- overlays ---------------------------------------------------------------------------------- */

char *
migration_overlay_dir(const struct store_migration *record, const struct store_disk *disk)
{
    const char *slash = strrchr(disk->target_path, '/');
    char tag[64];

    migration_record_tag(record, tag);
    return xasprintf("%.*s/.%s", (int)(slash - disk->target_path), disk->target_path, tag);
}

char *
migration_overlay_path(const struct migration *m, const struct store_disk *disk, const char *prefix)
{
    CLEANUP(free_charp) char *dir = migration_overlay_dir(&m->record, disk);

    return xasprintf("%s/%s%s.qcow2", dir, prefix, disk->name);
}

static char *
overlay_path(const struct migration *m, const struct store_disk *disk)
{
    return migration_overlay_path(m, disk, "");
}

static void
drop_file(const char *dir, const char *name)
{
    CLEANUP(free_charp) char *path = file_join(dir, name);

    if (unlink(path) < 0 && errno != ENOENT)
        log_warning("%s: %s", path, strerror(errno));
}

void
migration_drop_overlays(const struct store_migration *record, const struct store_disks *disks)
{
    for (size_t i = 0; i < disks->count; i++) {
        const struct store_disk *disk = &disks->items[i];
        CLEANUP(free_charp) char *dir = NULL;
        CLEANUP(free_charp) char *name = xasprintf("%s.qcow2", disk->name);
        CLEANUP(free_charp) char *rehearsal = xasprintf(MIGRATION_REHEARSAL "%s.qcow2", disk->name);

        if (!disk->target_path)
            continue;
        dir = migration_overlay_dir(record, disk);
        drop_file(dir, name);
        drop_file(dir, rehearsal);
        drop_file(dir, "disks.xml");
        drop_file(dir, GUEST_CONSOLE);
        drop_file(dir, GUEST_UEFI_VARS);
        (void)rmdir(dir); /* the last disk's goes */
    }
}

int
migration_make_overlay(struct migration *m, const struct store_disk *disk, const char *prefix,
                       struct err **err)
{
    CLEANUP(free_charp) char *dir = migration_overlay_dir(&m->record, disk);
    CLEANUP(free_charp) char *path = migration_overlay_path(m, disk, prefix);

    if (file_make_dirs(dir, 0700, err) < 0 ||
        guest_overlay_create(disk->target_path, path, err) < 0)
        return err_wrap(err, "disk %s", disk->address);
    return 0;
}

/* ---- following virt-v2v ------------------------------------------------------------------------ */

/* Steps are for everybody, the rest is for the log. */
void
migration_tell_converter(void *opaque, const char *text)
{
    struct migration *m = opaque;

    if (*text == '[')
        migration_log(m, LOG_INFO, "virt-v2v: %s", text);
    else
        log_info("virt-v2v: %s", text);
}

/* Also where the session to the vCenter is kept alive: a conversion may take long. */
static bool
is_conversion_stopped(void *opaque)
{
    struct migration *m = opaque;

    return migration_wait(m, 0, NULL, NULL) < 0;
}

static struct guest_watch
watch_of(struct migration *m)
{
    return (struct guest_watch){.line = migration_tell_converter,
                                .is_stopped = is_conversion_stopped,
                                .opaque = m,
                                .timeout_ms = m->config->virt.timeout_seconds * 1000};
}

/* ---- what is converted ------------------------------------------------------------------------- */

/* The disks with the boot disk first. */
void
migration_boot_first(const struct migration *m, const struct store_disk **ret_disks)
{
    size_t n = 0;

    for (int wanted = 1; wanted >= 0; wanted--)
        for (size_t i = 0; i < m->disks.count; i++)
            if (m->disks.items[i].is_boot == (bool)wanted)
                ret_disks[n++] = &m->disks.items[i];
}

/* With one disk there is nothing to find out.  A system of which no part is on other disks is converted by
 * itself: what virt-v2v does not see it cannot touch. */
static int
plan(struct migration *m, const struct store_disk *const *disks, const struct guest_watch *watch,
     size_t *ret_count, char **ret_root, struct err **err)
{
    struct guest_inspection found;
    struct image_list images = {0};
    int result;

    *ret_root = NULL;
    *ret_count = m->disks.count;
    if (m->disks.count == 1)
        return 0;
    migration_log(m, LOG_INFO, "Looking for the system on %zu disks", m->disks.count);
    for (size_t i = 0; i < m->disks.count; i++)
        vec_push(&images, disks[i]->target_path);
    result = guest_inspect(images.items, images.count, watch, &found, err);
    vec_done(&images);
    if (result < 0)
        return -1;
    if (found.is_on_first_disk)
        *ret_count = 1;
    migration_log(m, found.systems > 1 ? LOG_WARNING : LOG_INFO,
                  "Found %s on %s%s; converting with %s",
                  found.product ? found.product : found.type, found.root,
                  found.systems > 1 ? " (and others, which are left as they are)" : "",
                  *ret_count == 1 ? "the boot disk" : "all disks");
    *ret_root = take(found.root);
    guest_inspection_done(&found);
    return 0;
}

static int
run_conversion(struct migration *m, const struct store_disk *const *disks, size_t count,
               const char *root, const char *prefix, const struct guest_watch *watch,
               struct err **err)
{
    CLEANUP(free_charp) char *dir = migration_overlay_dir(&m->record, disks[0]);
    CLEANUP(free_charp)
    char *virtio_win = guest_find_virtio_win(m->config->virt.virtio_iso);
    const char *controller = m->spec->target.root_disk_controller;
    const char *debug = getenv("V2C_VIRT_V2V_DEBUG");
    struct guest_conversion conversion = {
        .count = count,
        .root = root,
        .virtio_win = virtio_win,
        .block_driver = controller && strstr(controller, "scsi") ? "virtio-scsi" : NULL,
        .is_uefi = preflight_uefi_mode(m->spec, &m->vm) != NULL,
        .work_dir = dir,
        .is_debug = debug && *debug && strcmp(debug, "0") != 0,
    };
    char **images = xcalloc(count, sizeof(*images));
    struct room_guard guard;
    int result = 0;

    room_guard_begin(&guard, watch, disks, count);
    for (size_t i = 0; i < count; i++)
        images[i] = migration_overlay_path(m, disks[i], prefix);
    conversion.images = (const char *const *)images;
    for (size_t i = 0; i < count && result == 0; i++)
        result = migration_make_overlay(m, disks[i], prefix, err);
    if (result == 0)
        result = guest_convert(&conversion, &guard.watch, err);
    result = room_guard_end(&guard, result, err);
    for (size_t i = 0; i < count; i++)
        free(images[i]);
    free(images);
    return result;
}

int
migration_convert_overlays(struct migration *m, const char *prefix, const struct guest_watch *watch,
                           struct err **err)
{
    const struct store_disk **disks = xcalloc(m->disks.count, sizeof(*disks));
    CLEANUP(free_charp) char *root = NULL;
    size_t count;
    int result;

    migration_boot_first(m, disks);
    result = convert_room_to_begin(disks, 1, err);
    if (result == 0)
        result = plan(m, disks, watch, &count, &root, err);
    if (result == 0)
        result = convert_room_to_begin(disks, count, err);
    if (result == 0)
        result = run_conversion(m, disks, count, root, prefix, watch, err);
    free(disks);
    return result;
}

/* ---- the commit -------------------------------------------------------------------------------- */

static bool
has_overlay(const struct migration *m, const struct store_disk *disk)
{
    CLEANUP(free_charp) char *path = overlay_path(m, disk);

    return access(path, F_OK) == 0;
}

/* A commit that has begun can only be repeated: the overlays must survive whatever comes, and what it needs
 * must be there. */
static int
prepare_commit(const struct migration *m, struct err **err)
{
    char **overlays = xcalloc(m->disks.count, sizeof(*overlays));
    int result = 0;

    for (size_t i = 0; i < m->disks.count; i++)
        if (has_overlay(m, &m->disks.items[i]))
            overlays[i] = overlay_path(m, &m->disks.items[i]);
    for (size_t i = 0; i < m->disks.count && result == 0; i++)
        if (overlays[i])
            result = guest_image_sync(overlays[i], err);
    if (result == 0)
        result = convert_room_to_commit(&m->disks, overlays, err);
    for (size_t i = 0; i < m->disks.count; i++)
        free(overlays[i]);
    free(overlays);
    return result;
}

static int
commit_disk(struct migration *m, const struct store_disk *disk, bool is_repeated, struct err **err)
{
    CLEANUP(free_charp) char *path = overlay_path(m, disk);
    CLEANUP(free_charp) char *digests = migration_digests_path(m->record.directory, disk->name);
    CLEANUP(err_freep) struct err *warning = NULL;
    /* Never stopped half way: it is quick, and would have to be repeated. */
    struct guest_watch watch = {.timeout_ms = m->config->virt.timeout_seconds * 1000};

    if (unlink(digests) < 0 && errno != ENOENT)
        return err_set_errno(err, E_IO, errno, "removing %s", digests);
    if (guest_overlay_commit(path, disk->target_path, is_repeated, &watch, err) < 0) {
        if (err_code(*err) == E_NO_SPACE)
            err_wrap(err, "the file system of %s is full", disk->target_path);
        return err_hint(err,
                        "the conversion itself is done and kept in %s; see to the cause and run it "
                        "again: only the commit is repeated",
                        path);
    }
    if (qcow2_check_importable(disk->target_path, disk->capacity, &warning, err) < 0)
        return err_wrap(err, "after the conversion");
    return 0;
}

static int
commit(struct migration *m, bool is_repeated, struct err **err)
{
    size_t count = 0;

    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];

        if (!has_overlay(m, disk))
            continue;
        count++;
        if (commit_disk(m, disk, is_repeated, err) < 0)
            return err_wrap(err, "disk %s", disk->address);
    }
    if (!count) {
        err_set(err, E_GUEST_OVERLAY,
                "the conversion's overlays are gone before they were committed");
        return err_hint(err,
                        "the target files may be half converted: forget this migration and begin "
                        "it anew");
    }
    m->record.is_virt_v2v_done = true;
    if (migration_save(m, err) < 0 ||
        store_intent_end(m->store, m->record.id, COMMIT, "done", err) < 0)
        return -1;
    migration_log(m, LOG_INFO, "The guest is converted (%zu of %zu disks)", count, m->disks.count);
    return 0;
}

int
migration_is_converted(const struct migration *m, bool *ret_is, struct err **err)
{
    struct store_intent intent = {0};
    bool is_begun = false;

    if (store_intent_get(m->store, m->record.id, COMMIT, &is_begun, &intent, err) < 0)
        return -1;
    store_intent_done(&intent);
    *ret_is = is_begun || m->record.is_virt_v2v_done;
    return 0;
}

/* ---- the stage --------------------------------------------------------------------------------- */

static int
convert_anew(struct migration *m, struct err **err)
{
    struct guest_watch watch = watch_of(m);
    struct err *failure = NULL;

    migration_drop_overlays(&m->record, &m->disks);
    if (migration_convert_overlays(m, "", &watch, &failure) < 0 ||
        prepare_commit(m, &failure) < 0) {
        migration_drop_overlays(&m->record, &m->disks);
        err_move(err, &failure);
        err_wrap(err, "conversion; the target disks are as they were");
        return err_hint(err, "run it again; or start the source VM, and deltas go on");
    }
    return store_intent_begin(m->store, m->record.id, COMMIT, err);
}

int
migration_stage_converting(struct migration *m, struct err **err)
{
    bool is_begun, is_repeated, may;

    if (migration_is_converted(m, &is_begun, err) < 0)
        return -1;
    is_repeated = is_begun;
    if (!is_begun && m->spec->run_virt_v2v) {
        if (migration_may_hand_over(m, &may, err) < 0)
            return -1;
        if (!may)
            return 0;
        if (convert_anew(m, err) < 0)
            return -1;
        is_begun = true;
    }
    if (is_begun && !m->record.is_virt_v2v_done && commit(m, is_repeated, err) < 0)
        return -1;
    migration_drop_overlays(&m->record, &m->disks);
    return migration_enter(m, STAGE_IMPORT_ROOT_DISK, err);
}
