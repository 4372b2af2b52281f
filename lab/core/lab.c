#include "core/lab.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "core/vms.h"

/* How exact the time of a guest's own power-off is; downtime is measured from it. */
#define WATCH_MS 10

int
lab_new(const char *dir, struct lab **ret_lab, struct err **err)
{
    struct lab *lab;
    pthread_condattr_t attr;

    if (file_make_dirs(dir, 0755, err) < 0)
        return -1;
    lab = xcalloc(1, sizeof(*lab));
    lab->dir = realpath(dir, NULL);
    if (!lab->dir || lab_certificate_new(&lab->certificate, err) < 0) {
        free(lab->dir);
        free(lab);
        return -1;
    }
    pthread_mutex_init(&lab->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&lab->changed, &attr);
    pthread_condattr_destroy(&attr);
    lab->faults = lab_faults_new();
    lab->next_snapshot = 1001;
    lab->settings = (struct lab_vcenter_settings){
        .page_objects = 100,
        .idle_seconds = 1800,
        .task_ms = 50,
        .task_keep_seconds = 600,
        .areas_per_answer = 2000,
        .bytes_per_answer = 4 * GIB,
        .esxi_version = "8.0.2",
    };
    *ret_lab = lab;
    return 0;
}

static void *
watch(void *opaque)
{
    struct lab *lab = opaque;

    pthread_mutex_lock(&lab->mutex);
    while (!lab->is_stopping) {
        for (size_t i = 0; i < lab->vms.count; i++)
            (void)lab_vm_is_on(lab, lab->vms.items[i]);
        pthread_mutex_unlock(&lab->mutex);
        clock_sleep_ms(WATCH_MS);
        pthread_mutex_lock(&lab->mutex);
    }
    pthread_mutex_unlock(&lab->mutex);
    return NULL;
}

int
lab_watch(struct lab *lab, struct err **err)
{
    int status = pthread_create(&lab->watcher, NULL, watch, lab);

    if (status != 0)
        return err_set_errno(err, E_MEMORY, status, "the watcher's thread");
    lab->has_watcher = true;
    return 0;
}

void
lab_free(struct lab *lab)
{
    if (!lab)
        return;
    pthread_mutex_lock(&lab->mutex);
    lab->is_stopping = true;
    lab_note_change(lab);
    pthread_mutex_unlock(&lab->mutex);
    if (lab->has_watcher)
        pthread_join(lab->watcher, NULL);
    for (size_t i = 0; i < lab->vms.count; i++)
        lab_vm_free(lab->vms.items[i]);
    vec_done(&lab->vms);
    vec_done(&lab->settings.datastores);
    for (size_t i = 0; i < lab->settings.missing_privileges.count; i++)
        free(lab->settings.missing_privileges.items[i]);
    vec_done(&lab->settings.missing_privileges);
    lab_faults_free(lab->faults);
    lab_certificate_done(&lab->certificate);
    pthread_cond_destroy(&lab->changed);
    pthread_mutex_destroy(&lab->mutex);
    free(lab->dir);
    free(lab);
}

bool
lab_lacks_privilege(const struct lab *lab, const char *privilege)
{
    for (size_t i = 0; i < lab->settings.missing_privileges.count; i++)
        if (!strcmp(lab->settings.missing_privileges.items[i], privilege))
            return true;
    return false;
}

void
lab_note_change(struct lab *lab)
{
    lab->changes++;
    pthread_cond_broadcast(&lab->changed);
}

struct lab_vm *
lab_find_vm(struct lab *lab, const char *moref)
{
    for (size_t i = 0; i < lab->vms.count; i++)
        if (!strcmp(lab->vms.items[i]->moref, moref))
            return lab->vms.items[i];
    return NULL;
}

struct lab_snapshot *
lab_find_snapshot(struct lab_vm *vm, const char *moref)
{
    for (size_t i = 0; i < vm->snapshots.count; i++)
        if (!strcmp(vm->snapshots.items[i].moref, moref))
            return &vm->snapshots.items[i];
    return NULL;
}
