/* One TLS connection that carries frames of nfc.h both ways, for the server and for the pretend
 * library.  Needs OpenSSL and the C library only: the pretend library lives in another program.
 *
 * Threading: one thread runs the link and is the only one that touches its SSL; any thread may send or
 * stop. */
#ifndef V2C_LAB_DISKS_NFC_LINK_H
#define V2C_LAB_DISKS_NFC_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "disks/nfc.h"

#define NFC_LINK_HEADER 40U /* bytes of a header on the wire */

struct nfc_frame {
    struct nfc_frame *next;
    struct lab_nfc_header header;
    uint8_t *payload; /* header.length bytes */
    /* Called when it was sent or dropped; frees the frame. */
    void (*release)(struct nfc_frame *frame);
    void *opaque;
};

struct nfc_link_ops {
    /* Where header->length (> 0) bytes of payload go; NULL ends the link. */
    void *(*place)(void *opaque, const struct lab_nfc_header *header);
    /* A whole frame has come; @payload is what place gave, NULL for none.  False ends the link. */
    bool (*frame)(void *opaque, const struct lab_nfc_header *header, void *payload);
};

struct nfc_link {
    SSL *ssl; /* owned, connected */
    int fd;   /* owned, non-blocking */
    int wake_fd;
    pthread_mutex_t lock;
    struct nfc_frame *out, **out_tail; /* lock */
    bool is_stopped;                   /* lock */
    /* the running thread's */
    struct nfc_frame *sending;
    uint8_t send_header[NFC_LINK_HEADER], receive_header[NFC_LINK_HEADER];
    size_t sent, received;
    struct lab_nfc_header incoming;
    uint8_t *payload;
    short wants; /* POLLIN, POLLOUT */
};

/* Takes @ssl and @fd over, whatever happens.  False: no memory or fds. */
bool nfc_link_init(struct nfc_link *link, SSL *ssl, int fd);
/* Runs until the other side closes, an error, or nfc_link_stop. */
void nfc_link_run(struct nfc_link *link, const struct nfc_link_ops *ops, void *opaque);
/* Takes @frame over. */
void nfc_link_send(struct nfc_link *link, struct nfc_frame *frame);
/* Lets nfc_link_run return soon; what is queued is sent first where the socket takes it at once. */
void nfc_link_stop(struct nfc_link *link);
/* After the run: releases what was not sent. */
void nfc_link_done(struct nfc_link *link);

#endif
