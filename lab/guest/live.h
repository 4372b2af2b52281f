/* Inside of the live machine: shared by live.c (life and power) and views.c (freezing and reading).
 *
 * One QEMU serves a machine from lab_live_new to its end, on or off: the guest is only stopped, or has
 * powered itself off, so that its disks, frozen views and changed blocks can still be asked for. */
#ifndef V2C_LAB_GUEST_LIVE_H
#define V2C_LAB_GUEST_LIVE_H

#include <pthread.h>

#include "base/vec.h"
#include "disks/machine.h"
#include "guest/nbd.h"
#include "guest/qemu.h"

#define LIVE_MAX_DISKS 16

struct live_disk {
    uint64_t capacity;
    char *raw_path;
    int raw_fd; /* read only */
};

VEC_DECLARE(live_connections, struct lab_nbd *);

/* A frozen view: for each disk a fleecing image into which QEMU saves what the guest overwrites. */
struct live_view {
    uint64_t view;
    unsigned users; /* readers inside; guarded by live->mutex, as the next two */
    bool is_ending; /* lets nobody in */
    struct live_connections idle[LIVE_MAX_DISKS];
};

struct live {
    struct lab_machine machine;
    char *name, *dir;
    struct live_disk disks[LIVE_MAX_DISKS];
    struct qemu qemu;
    pthread_mutex_t control; /* one at a time: power, freeze, thaw, changed; taken before `mutex` */
    pthread_mutex_t mutex;   /* guards all below */
    pthread_cond_t changed;
    bool is_on, is_gone; /* gone: QEMU has ended */
    uint64_t off_at_ms;  /* wall clock; 0 while on */
    bool is_asked;       /* to shut down: the button is pressed again and again */
    bool is_closing, has_button_thread;
    pthread_t button_thread;
    VEC_DECLARE(, struct live_view *)
    views;
    /* The views whose dirty bitmap exists, oldest first: bitmap v<N> holds what was written between the
     * freeze of N and the freeze of the next one.  Guarded by `control`. */
    VEC_DECLARE(, uint64_t)
    epochs;
    unsigned query_count; /* guarded by `control` */
};

int live_start_exports(struct live *live, struct err **err);
int live_freeze(struct lab_machine *machine, uint64_t view, struct err **err);
int live_thaw(struct lab_machine *machine, uint64_t view, struct err **err);
int live_read(struct lab_machine *machine, unsigned disk, uint64_t view, void *data,
              uint32_t length, uint64_t offset, struct err **err);
int live_allocated(struct lab_machine *machine, unsigned disk, uint64_t view, uint64_t offset,
                   uint64_t length, struct extents *extents, struct err **err);
int live_changed(struct lab_machine *machine, unsigned disk, uint64_t since, uint64_t view,
                 struct extents *extents, struct err **err);
/* At the end, when QEMU no longer runs: connections and fleecing images. */
void live_drop_views(struct live *live);

#endif
