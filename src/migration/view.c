#include "migration/view.h"

#include <fcntl.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"

bool
migration_has_marker(const char *directory, const char *name)
{
    CLEANUP(free_charp) char *path = file_join(directory, name);

    return access(path, F_OK) == 0;
}

/* Whether a process holds the migration's lock; asks the kernel, without taking it. */
static bool
is_locked(const char *control_dir, const struct store_migration *record)
{
    CLEANUP(free_charp)
    char *path = migration_lock_path(control_dir, record->vcenter, record->vm_moref);
    CLEANUP(close_fdp) int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

static int
load_settings(struct store *store, struct migration_view *view, struct err **err)
{
    const struct store_migration *r = &view->record;
    const struct store_subject vm = {.scope = STORE_VM, .migration = r->id};
    CLEANUP(free_charp) char *missed = NULL;

    if (store_is_paused(store, r->id, &view->is_paused, err) < 0 ||
        store_setting_get(store, &vm, STORE_FINALIZE_MISSED, &missed, err) < 0 ||
        (view->is_running &&
         store_setting_get(store, &vm, STORE_NO_SPACE, &view->no_space, err) < 0))
        return -1;
    view->has_missed_finalize_at = missed && r->stage <= STAGE_DELTA;
    if (r->stage != STAGE_DELTA)
        return 0;
    return migration_predict_downtime(store, r->id, &view->downtime, err);
}

int
migration_view_load(struct store *store, const char *control_dir, struct store_migration *record,
                    struct migration_view *ret, struct err **err)
{
    const struct store_migration *r = &ret->record;
    enum store_finalize request = STORE_FINALIZE_NONE;
    double sum = 0;

    *ret = (struct migration_view){.record = *record};
    *record = (struct store_migration){0};
    ret->is_running = is_locked(control_dir, r);
    if (store_finalize_get(store, r->id, &request, err) < 0 ||
        store_disks_load(store, r->id, &ret->disks, err) < 0 || load_settings(store, ret, err) < 0)
        return -1;
    ret->is_finalize_now =
        request == STORE_FINALIZE_NOW || migration_has_marker(r->directory, "FINALIZE_NOW");
    ret->is_finalize_requested = ret->is_finalize_now || request == STORE_FINALIZE_PLAIN ||
                                 migration_has_marker(r->directory, "FINALIZE");
    ret->progress = xcalloc(ret->disks.count, sizeof(ret->progress[0]));
    for (size_t i = 0; i < ret->disks.count; i++) {
        if (store_progress_load(store, ret->disks.items[i].id, &ret->progress[i], err) < 0)
            return -1;
        sum += ret->progress[i].percent;
    }
    if (migration_is_over(r->stage))
        ret->percent = 100;
    else if (ret->disks.count)
        ret->percent = sum / (double)ret->disks.count;
    return 0;
}

void
migration_view_done(struct migration_view *view)
{
    free(view->progress);
    free(view->no_space);
    store_migration_done(&view->record);
    store_disks_done(&view->disks);
    *view = (struct migration_view){0};
}
