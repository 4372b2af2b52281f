/* One QEMU process: started with a socket for QMP and with its folder, ended and waited for.  It dies
 * with the lab.
 *
 * QEMU gets the folder as fd QEMU_DIR_FD and names what lies there "/proc/self/fd/4/NAME": so the
 * folder's path may be as long as it likes (a socket's may not), and hold commas.
 *
 * Threading: any thread; ending is for one. */
#ifndef V2C_LAB_GUEST_QEMU_H
#define V2C_LAB_GUEST_QEMU_H

#include "base/child.h"
#include "base/vec.h"
#include "guest/qmp.h"

struct err;

#define QEMU_DIR "/proc/self/fd/4"

VEC_DECLARE(qemu_args, char *);
/* Appends one argument. */
void qemu_arg(struct qemu_args *args, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void qemu_args_done(struct qemu_args *args);

struct qemu {
    struct child child;
    struct qmp *qmp;
    int dir_fd;
};

/* Starts QEMU for a PC without any device but those in @args.  The guest's console goes to
 * @dir/serial.log, QEMU's own messages to @dir/qemu.log.  @on_event as in qmp.h.  E_SPAWN with what
 * QEMU said. */
int qemu_start(const char *dir, const struct qemu_args *args, qmp_event_fn on_event, void *opaque,
               struct qemu *ret, struct err **err);
void qemu_stop(struct qemu *qemu); /* nothing happens when none runs */

/* A new QCOW2 file of @capacity bytes, or on top of @backing (NULL: none) of format @backing_format. */
int qemu_create_qcow2(const char *path, uint64_t capacity, const char *backing,
                      const char *backing_format, struct err **err);

#endif
