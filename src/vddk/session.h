/* One disk behind libvixDiskLib: connected, opened, read, closed.
 *
 * Threading: every function belongs to one thread, which is the only one that calls VDDK (a handle may
 * be used by one thread at a time, and Open and Close not beside each other).  Only a read's done is
 * called elsewhere, on a thread of VDDK's, where no call of VDDK may be made. */
#ifndef V2C_VDDK_SESSION_H
#define V2C_VDDK_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vddk/config_file.h"
#include "vddk/vix.h"
#include "vddk/wire.h"

enum session_call {
    CALL_INIT,
    CALL_PREPARE,
    CALL_CONNECT,
    CALL_OPEN,
    CALL_INFO,
    CALL_READ,
    CALL_READ_ASYNC,
    CALL_READ_DONE, /* from ReadAsync to its callback */
    CALL_EXTENTS,
    CALL_WAIT,
    CALL_CLOSE,
    CALL_DISCONNECT,
    CALL_END,
    CALL_EXIT,
    CALL_COUNT,
};

struct session_stat {
    uint64_t count, bytes, ns;
};

struct session {
    struct vix_library library;
    bool is_initialized, is_prepared, has_extents, is_async, is_unbuffered;
    struct vix_connect_params *params;
    void *connection, *handle;
    uint64_t capacity; /* bytes */
    /* What unbuffered reads cannot reach, because it is no whole 4 KiB: read once, at the open. */
    uint64_t tail_offset; /* the capacity when there is no such thing */
    uint8_t tail[VIX_UNBUFFERED];
    struct config_file config;
    /* The last answer to QueryAllocatedBlocks, which is slow: an answer of ours holds only a part of it. */
    struct vix_block_list *blocks;     /* NULL: none */
    uint64_t blocks_start, blocks_end; /* bytes */
    /* VDDK may or may not free what the parameters point to, so these are never freed by us. */
    char *strings[6];
    struct session_stat stats[CALL_COUNT]; /* CALL_READ_DONE: lock */

    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned in_flight; /* lock */
};

/* Owned by the caller, untouched until done. */
struct session_read {
    uint64_t offset; /* bytes; whole sectors inside the disk */
    uint32_t length;
    uint8_t *data;
    void (*done)(struct session_read *read, uint64_t vix_error);
    /* the session's */
    struct session *session;
    uint8_t *bounce;
    uint32_t bounce_skip;
    uint64_t started_ns;
};

void session_init(struct session *session);
/* Loads the library, connects, opens; fills all of @ret_answer but its header.  Once. */
void session_open(struct session *session, const struct vddk_wire_open *open,
                  struct vddk_wire_open_answer *ret_answer);
/* What is allocated in a range inside the disk: at least its first part, see `covered`. */
void session_extents(struct session *session, uint64_t offset, uint64_t length,
                     struct vddk_wire_extents_answer *ret_answer);
/* Begins (or does) a read; done is called exactly once, perhaps before this returns. */
void session_read(struct session *session, struct session_read *read);
/* Waits until no read is in flight. */
void session_drain(struct session *session);
/* Reads a little if nothing is in flight: hosts close a session that is idle for a minute. */
void session_keep_alive(struct session *session);
/* What the library has to say of an error, with what it logged just before. */
void session_explain(struct session *session, enum vddk_wire_failure failure, uint64_t vix_error,
                     struct vddk_wire_result *ret_result);
/* Drains and gives back everything, in VDDK's order.  Any state. */
void session_close(struct session *session);

#endif
