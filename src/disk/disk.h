/* The contract of the data path.
 *
 * A disk is copied by one thread that drives three parties: a *source* that reads, a *target* that
 * writes, and the scheduler in transfer/ between them.  Both are asynchronous and never call back on
 * another thread: a request is submitted, and its completion is delivered from inside `reap`, which
 * the scheduler calls after `poll_fd` became readable.  So a source or target needs no lock for its
 * own state, and no lock is ever held across I/O.  Work that other threads or processes do inside an
 * implementation (VDDK, a thread pool) ends in a queue behind that fd.
 *
 * Bytes live in the slots of one pool, allocated and touched once, in memory that child processes can
 * map (memfd).  A request borrows a slot from submission to completion: read into by the source, then
 * written from by the target, then back in the pool.  Nothing in between copies it.
 *
 * Offsets and lengths are in bytes and multiples of DISK_SECTOR throughout.
 *
 * Threading: everything here belongs to one thread, but for disk_pool's construction. */
#ifndef V2C_DISK_DISK_H
#define V2C_DISK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/extents.h"
#include "base/vec.h"

struct err;

#define DISK_SECTOR      512U
#define DISK_ALIGNMENT   4096U /* of slots in memory, and of requests where a side wants it */
#define DISK_MAX_REQUEST (1024U * 1024) /* bytes in one request, and the size of a slot */

/* ---- buffers ---------------------------------------------------------------------------------- */

struct disk_slot {
    uint8_t *data;  /* DISK_MAX_REQUEST bytes, DISK_ALIGNMENT aligned */
    uint32_t index; /* data == pool->base + index * DISK_MAX_REQUEST */
};

struct disk_pool {
    uint8_t *base;
    size_t slot_count;
    int memfd; /* the pool's memory, to be mapped by a helper process */
    struct disk_slot *slots;
    uint32_t *free_list;
    size_t free_count;
};

/* How many slots a disk gets while @disks_at_once are copied: for reads in flight and the writes behind
 * them.  One or two get what suits the storage below, many what keeps all of them small together. */
size_t disk_pool_share(size_t disks_at_once);
/* @slot_count slots, all faulted in.  E_MEMORY. */
struct disk_pool *disk_pool_new(size_t slot_count, struct err **err);
void disk_pool_free(struct disk_pool *pool);
void disk_pool_freep(struct disk_pool **pool);
struct disk_slot *disk_pool_get(struct disk_pool *pool); /* NULL when all are in use */
void disk_pool_put(struct disk_pool *pool, struct disk_slot *slot);

/* ---- requests --------------------------------------------------------------------------------- */

struct disk_request;
/* Called exactly once for every submission that returned 0.  @error is NULL on success; else the
 * callee owns it.  May submit further requests. */
typedef void (*disk_done_fn)(struct disk_request *request, struct err *error);

struct disk_request {
    uint64_t offset;
    uint32_t length; /* 1 sector to DISK_MAX_REQUEST bytes */
    struct disk_slot *slot;
    uint32_t slot_offset; /* bytes start at slot->data + slot_offset; always 0 for a source */
    disk_done_fn done;
    void *opaque;              /* the submitter's */
    void *impl;                /* the implementation's, between submission and completion */
    struct disk_request *next; /* the implementation's, ditto */
};

/* ---- source ----------------------------------------------------------------------------------- */

struct disk_source;
struct disk_source_ops {
    const char *name; /* "vddk", "nbd", "file" */
    /* Appends what may hold data in [offset, offset+length): a hint that may say too much, never too
     * little.  A source that cannot tell appends the whole range.  Blocks. */
    int (*extents)(struct disk_source *source, uint64_t offset, uint64_t length,
                   struct extents *extents, struct err **err);
    /* Queues a read of the whole request.  Completion only from reap. */
    int (*read)(struct disk_source *source, struct disk_request *request, struct err **err);
    /* Hands what was queued to the other side; called once after a batch of reads. */
    int (*submit)(struct disk_source *source, struct err **err);
    /* Delivers finished requests without blocking; *ret_count says how many. */
    int (*reap)(struct disk_source *source, unsigned *ret_count, struct err **err);
    /* Waits for or abandons what is in flight (every done is called), releases everything. */
    void (*close)(struct disk_source *source);
};

struct disk_source {
    const struct disk_source_ops *ops;
    uint64_t size;          /* bytes */
    uint32_t alignment;     /* of offset and length where possible: DISK_SECTOR or DISK_ALIGNMENT */
    unsigned max_in_flight; /* reads the source profits from */
    int poll_fd;            /* readable when reap has something to deliver */
};

/* ---- target ----------------------------------------------------------------------------------- */

struct disk_target;
struct disk_target_ops {
    const char *name; /* "qcow2" */
    /* Queues a write.  The slot belongs to the target until done.  Overlapping requests must not be
     * in flight together. */
    int (*write)(struct disk_target *target, struct disk_request *request, struct err **err);
    /* Queues a read of what the guest would see: zeroes where nothing is mapped or a zero cluster
     * stands.  From the storage itself where direct I/O allows, not from memory.  The range must have
     * no write or zero in flight; slot_offset is honoured as for write.  A read that fails changes
     * nothing: it may be tried again. */
    int (*read)(struct disk_target *target, struct disk_request *request, struct err **err);
    /* Makes [offset, offset+length) read as zeroes; any length; no slot.  Overlap as for write. */
    int (*zero)(struct disk_target *target, uint64_t offset, uint64_t length, struct err **err);
    int (*submit)(struct disk_target *target, struct err **err);
    int (*reap)(struct disk_target *target, unsigned *ret_count, struct err **err);
    /* Begins a checkpoint: request->done is called when everything whose write or zero had completed
     * before this call would survive a power cut.  offset, length and slot are ignored.  One at a
     * time; writes go on meanwhile. */
    int (*checkpoint)(struct disk_target *target, struct disk_request *request, struct err **err);
    /* Abandons nothing: waits for what is in flight, then releases everything.  What no checkpoint
     * covered may be lost. */
    void (*close)(struct disk_target *target);
};

struct disk_target {
    const struct disk_target_ops *ops;
    uint64_t size; /* bytes the guest sees */
    bool is_new;   /* reads as zeroes wherever nothing was written: zeroes may be skipped */
    unsigned max_in_flight;
    int poll_fd;
};

#endif
