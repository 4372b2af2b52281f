/* One connection to an export of QEMU's NBD server, with every wait bounded.
 *
 * Threading: one thread at a time. */
#ifndef V2C_LAB_GUEST_NBD_H
#define V2C_LAB_GUEST_NBD_H

#include <stdint.h>

#include "base/extents.h"

struct err;
struct lab_nbd;

/* @dir_fd: the folder with the server's socket QEMU_NBD_SOCKET.  @context: what lab_nbd_map will be
 * asked for, or NULL.  E_NET, E_TIMEOUT. */
#define QEMU_NBD_SOCKET "nbd.sock"
int lab_nbd_open(int dir_fd, const char *export_name, const char *context, struct lab_nbd **ret,
                 struct err **err);
/* After a failure the connection is only good for closing, and @data is the caller's again only then. */
int lab_nbd_read(struct lab_nbd *nbd, void *data, uint32_t length, uint64_t offset,
                 struct err **err);
/* Appends those parts of [offset, offset+length) whose flags & @mask are @value. */
int lab_nbd_map(struct lab_nbd *nbd, uint64_t offset, uint64_t length, uint32_t mask,
                uint32_t value, struct extents *extents, struct err **err);
void lab_nbd_close(struct lab_nbd *nbd);
void lab_nbd_closep(struct lab_nbd **nbd);

#endif
