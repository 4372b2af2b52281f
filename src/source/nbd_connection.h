/* Inside source: one connection to an NBD server.
 *
 * libnbd is a state machine without threads: it wants to be told when its socket can be read or
 * written, and what it waits for changes with every call.  So a connection stands in an epoll set of
 * the source's, and its events there are set anew after each call. */
#ifndef V2C_SOURCE_NBD_CONNECTION_H
#define V2C_SOURCE_NBD_CONNECTION_H

#include <libnbd.h>

#include "disk/disk.h"

struct nbd_connection {
    struct nbd_handle *nbd; /* NULL: there is none */
    const char *uri;        /* borrowed */
    int epoll_fd;           /* borrowed */
    int fd;                 /* that stands in the set; -1: none */
    uint32_t events;        /* that it waits for there */
    bool is_settled;        /* these two are up to date */
    unsigned in_flight;     /* reads */
    int64_t deadline_ms;    /* to be connected by */
    void *opaque;           /* the source */
};

/* Begins to connect; the connection is ready some calls of nbd_connection_step later. */
int nbd_connection_start(struct nbd_connection *connection, struct err **err);
/* Waits until it is ready.  E_SOURCE_OPEN, E_TIMEOUT. */
int nbd_connection_wait(struct nbd_connection *connection, int64_t timeout_ms, struct err **err);
bool nbd_connection_is_ready(const struct nbd_connection *connection);
bool nbd_connection_is_lost(const struct nbd_connection *connection);
/* Does what can be done without waiting; false when that was nothing. */
bool nbd_connection_step(struct nbd_connection *connection);
/* After every other call of libnbd: the epoll set must know what is waited for now. */
void nbd_connection_update(struct nbd_connection *connection);
/* Takes leave of the server where that does not block, and frees.  Reads in flight are the caller's to
 * end: libnbd touches no slot any more. */
void nbd_connection_close(struct nbd_connection *connection);

#endif
