/* A machine that is a real guest.  See live.h for what stays when it is off. */
#include "guest/live.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "guest/image.h"

#define MAX_CONTROLLERS 4
#define MAX_NICS        8
#define PRESS_AGAIN_S   3

static struct live *
self(struct lab_machine *machine)
{
    return (struct live *)(void *)machine;
}

/* ---- power ------------------------------------------------------------------------------------- */

static void
on_event(void *opaque, const char *event)
{
    struct live *live = opaque;
    SCOPE_LOCK(&live->mutex);

    if (event && strcmp(event, "SHUTDOWN"))
        return;
    if (live->is_on)
        live->off_at_ms = (uint64_t)clock_wall_ms();
    live->is_on = live->is_asked = false;
    live->is_gone = live->is_gone || !event;
    pthread_cond_broadcast(&live->changed);
}

static bool
live_is_on(struct lab_machine *machine)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->mutex);

    return live->is_on;
}

static uint64_t
live_off_at_ms(struct lab_machine *machine)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->mutex);

    return live->off_at_ms;
}

static void
set_on(struct live *live, bool is_on)
{
    SCOPE_LOCK(&live->mutex);

    live->is_on = is_on && !live->is_gone;
    live->off_at_ms = live->is_on ? 0 : (uint64_t)clock_wall_ms();
    live->is_asked = false;
    pthread_cond_broadcast(&live->changed);
}

static int
check_power(struct live *live, bool is_on, struct err **err)
{
    SCOPE_LOCK(&live->mutex);

    if (live->is_gone)
        return err_set(err, E_IO, "%s: its QEMU has ended", live->name);
    if (live->is_on != is_on)
        return err_set(err, E_VSPHERE_STATE, "%s is %s", live->name, is_on ? "off" : "on already");
    return 0;
}

/* A machine that was on before must be reset: after a power-off QEMU insists on it, and after a pulled
 * plug the guest would go on where it was. */
static int
live_power_on(struct lab_machine *machine, struct err **err)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->control);

    if (check_power(live, false, err) < 0)
        return -1;
    if (qmp_call(live->qemu.qmp, "system_reset", NULL, NULL, err) < 0 ||
        qmp_await_status(live->qemu.qmp, "prelaunch", err) < 0)
        return err_wrap(err, "%s", live->name);
    /* Before `cont`: the guest's SHUTDOWN must find it set. */
    set_on(live, true);
    if (qmp_call(live->qemu.qmp, "cont", NULL, NULL, err) < 0) {
        set_on(live, false);
        return err_wrap(err, "%s", live->name);
    }
    return 0;
}

/* `stop` returns when the processor stands still and every request of the devices is done. */
static int
live_power_off(struct lab_machine *machine, struct err **err)
{
    struct live *live = self(machine);
    SCOPE_LOCK(&live->control);

    if (check_power(live, true, err) < 0)
        return -1;
    if (qmp_call(live->qemu.qmp, "stop", NULL, NULL, err) < 0)
        return err_wrap(err, "%s", live->name);
    set_on(live, false);
    return 0;
}

/* A guest that is still booting does not notice the button, so it is pressed until it does. */
static void *
press_button(void *opaque)
{
    struct live *live = opaque;

    pthread_mutex_lock(&live->mutex);
    while (!live->is_closing) {
        struct timespec until;

        if (!live->is_asked || !live->is_on) {
            pthread_cond_wait(&live->changed, &live->mutex);
            continue;
        }
        pthread_mutex_unlock(&live->mutex);
        (void)qmp_call(live->qemu.qmp, "system_powerdown", NULL, NULL, NULL);
        pthread_mutex_lock(&live->mutex);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += PRESS_AGAIN_S;
        while (live->is_asked && live->is_on && !live->is_closing &&
               pthread_cond_timedwait(&live->changed, &live->mutex, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&live->mutex);
    return NULL;
}

static int
live_shutdown_guest(struct lab_machine *machine, struct err **err)
{
    struct live *live = self(machine);

    if (check_power(live, true, err) < 0)
        return -1;
    SCOPE_LOCK(&live->mutex);
    live->is_asked = true;
    pthread_cond_broadcast(&live->changed);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------- */

static const char *
live_raw_path(struct lab_machine *machine, unsigned disk)
{
    return disk < machine->disk_count ? self(machine)->disks[disk].raw_path : NULL;
}

static void
live_close(struct lab_machine *machine)
{
    struct live *live = self(machine);
    CLEANUP(free_charp) char *socket_path = file_join(live->dir, QEMU_NBD_SOCKET);

    pthread_mutex_lock(&live->mutex);
    live->is_closing = true;
    pthread_cond_broadcast(&live->changed);
    pthread_mutex_unlock(&live->mutex);
    if (live->has_button_thread)
        pthread_join(live->button_thread, NULL);
    qemu_stop(&live->qemu);
    (void)unlink(socket_path); /* a QEMU that had to be killed has left it */
    live_drop_views(live);
    for (unsigned i = 0; i < machine->disk_count; i++) {
        close_fdp(&live->disks[i].raw_fd);
        free(live->disks[i].raw_path);
    }
    vec_done(&live->views);
    vec_done(&live->epochs);
    free(live->name);
    free(live->dir);
    pthread_cond_destroy(&live->changed);
    pthread_mutex_destroy(&live->mutex);
    pthread_mutex_destroy(&live->control);
    free(live);
}

static void
live_closep(struct live **live)
{
    if (*live)
        live_close(&(*live)->machine);
}

static const struct lab_machine_ops OPS = {
    .kind = "live",
    .power_on = live_power_on,
    .power_off = live_power_off,
    .shutdown_guest = live_shutdown_guest,
    .is_on = live_is_on,
    .off_at_ms = live_off_at_ms,
    .freeze = live_freeze,
    .thaw = live_thaw,
    .read = live_read,
    .allocated = live_allocated,
    .changed = live_changed,
    .raw_path = live_raw_path,
    .close = live_close,
};

static struct live *
live_alloc(const struct lab_machine_plan *plan)
{
    struct live *live = xcalloc(1, sizeof(*live));
    pthread_condattr_t attr;

    live->machine.ops = &OPS;
    live->machine.disk_count = plan->disk_count;
    live->name = xstrdup(plan->name);
    live->dir = xstrdup(plan->dir);
    live->qemu = (struct qemu){.child = CHILD_NONE, .dir_fd = -1};
    for (unsigned i = 0; i < plan->disk_count; i++)
        live->disks[i] = (struct live_disk){.capacity = plan->disks[i].capacity, .raw_fd = -1};
    pthread_mutex_init(&live->control, NULL);
    pthread_mutex_init(&live->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&live->changed, &attr);
    pthread_condattr_destroy(&attr);
    return live;
}

static int
check_plan(const struct lab_machine_plan *plan, struct err **err)
{
    if (plan->disk_count == 0 || plan->disk_count > LIVE_MAX_DISKS || plan->nic_count > MAX_NICS)
        return err_set(err, E_CONFIG, "a live guest has 1 to %d disks and up to %d NICs",
                       LIVE_MAX_DISKS, MAX_NICS);
    for (unsigned i = 0; i < plan->disk_count; i++)
        if (plan->disks[i].controller >= MAX_CONTROLLERS || plan->disks[i].capacity % 512)
            return err_set(err, E_CONFIG,
                           "disk %u: a live guest has SCSI controllers 0 to %d and whole sectors",
                           i, MAX_CONTROLLERS - 1);
    return 0;
}

static int
make_disks(struct live *live, struct err **err)
{
    CLEANUP(free_charp) char *image = NULL;
    uint64_t capacities[LIVE_MAX_DISKS];

    for (unsigned i = 0; i < live->machine.disk_count; i++)
        capacities[i] = live->disks[i].capacity;
    image = guest_image_find(capacities, live->machine.disk_count, err);
    if (!image)
        return -1;
    for (unsigned i = 0; i < live->machine.disk_count; i++) {
        struct live_disk *disk = &live->disks[i];

        disk->raw_path = xasprintf("%s/disk%u.raw", live->dir, i);
        if (guest_image_copy(image, i, disk->capacity, disk->raw_path, err) < 0)
            return -1;
        disk->raw_fd = open(disk->raw_path, O_RDONLY | O_CLOEXEC);
        if (disk->raw_fd < 0)
            return err_set_errno(err, E_IO, errno, "%s", disk->raw_path);
    }
    return 0;
}

/* The disks take no locks, so that an oracle may look at the files, and leave out flushes: what matters
 * is what this host's page cache holds.  Discard is off, so that a hole in the file is always one that
 * was never written. */
static void
add_disk(struct qemu_args *args, unsigned number, const struct lab_disk_plan *plan)
{
    qemu_arg(args, "-blockdev");
    qemu_arg(args,
             "{\"driver\":\"raw\",\"node-name\":\"disk%u\",\"discard\":\"ignore\","
             "\"cache\":{\"no-flush\":true},\"file\":{\"driver\":\"file\",\"locking\":\"off\","
             "\"cache\":{\"no-flush\":true},\"filename\":\"" QEMU_DIR "/disk%u.raw\"}}",
             number, number);
    qemu_arg(args, "-device");
    qemu_arg(args, "scsi-hd,drive=disk%u,bus=scsi%u.0,scsi-id=%u,werror=report,rerror=report%s",
             number, plan->controller, plan->unit, number == 0 ? ",bootindex=1" : "");
}

static void
build_arguments(const struct lab_machine_plan *plan, struct qemu_args *args)
{
    bool has_controller[MAX_CONTROLLERS] = {false};

    qemu_arg(args, "-S");
    qemu_arg(args, "-name");
    qemu_arg(args, "v2c-lab-live");
    qemu_arg(args, "-smbios");
    qemu_arg(args,
             "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform,"
             "serial=v2c-writer=%u",
             plan->writer_kib_per_s);
    for (unsigned i = 0; i < plan->disk_count; i++) {
        unsigned controller = plan->disks[i].controller;

        if (!has_controller[controller]) {
            qemu_arg(args, "-device");
            qemu_arg(args, "pvscsi,id=scsi%u", controller);
            has_controller[controller] = true;
        }
        add_disk(args, i, &plan->disks[i]);
    }
    for (unsigned i = 0; i < plan->nic_count; i++) {
        qemu_arg(args, "-netdev");
        qemu_arg(args, "user,id=net%u,restrict=on", i);
        qemu_arg(args, "-device");
        qemu_arg(args, "vmxnet3,netdev=net%u,mac=%s,romfile=", i, plan->nics[i].mac);
    }
}

int
lab_live_new(const struct lab_machine_plan *plan, struct lab_machine **ret, struct err **err)
{
    CLEANUP(live_closep) struct live *live = NULL;
    CLEANUP(qemu_args_done) struct qemu_args args = {0};
    int status;

    if (check_plan(plan, err) < 0)
        return err_wrap(err, "%s", plan->name);
    live = live_alloc(plan);
    if (make_disks(live, err) < 0)
        return err_wrap(err, "%s", plan->name);
    build_arguments(plan, &args);
    if (qemu_start(plan->dir, &args, on_event, live, &live->qemu, err) < 0 ||
        live_start_exports(live, err) < 0)
        return err_wrap(err, "%s", plan->name);
    status = pthread_create(&live->button_thread, NULL, press_button, live);
    if (status != 0)
        return err_set_errno(err, E_MEMORY, status, "%s: a thread", plan->name);
    live->has_button_thread = true;
    if (!plan->is_off && live_power_on(&live->machine, err) < 0)
        return -1;
    *ret = &take(live)->machine;
    return 0;
}
