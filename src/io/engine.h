/* Inside the io room: what a backend is.
 *
 * io.c owns queueing, continuing, retrying and errors; an engine only carries one attempt of one
 * operation to the kernel and its result back, as a count of bytes or a negative errno.  The fault
 * engine stands before another engine and has the same shape. */
#ifndef V2C_IO_ENGINE_H
#define V2C_IO_ENGINE_H

#include "io/io.h"

struct io_engine;

struct io_engine_ops {
    const char *name;
    /* Takes the attempt that io_op_part describes; completion from reap only. */
    int (*start)(struct io_engine *engine, struct io_op *op, struct err **err);
    int (*submit)(struct io_engine *engine, struct err **err);
    /* Calls engine->complete for everything that is finished; never blocks. */
    int (*reap)(struct io_engine *engine, struct err **err);
    /* Submits, and blocks until reap has something.  Only called with something in flight. */
    int (*wait)(struct io_engine *engine, struct err **err);
    void (*free)(struct io_engine *engine); /* nothing is in flight */
};

struct io_engine {
    const struct io_engine_ops *ops;
    void (*complete)(void *opaque, struct io_op *op, int result);
    void *opaque; /* of complete */
    int poll_fd;
    bool has_fixed_buffers;
};

/* The attempt of @op that comes next: from the last whole DISK_ALIGNMENT that was moved, because a
 * direct read or write must begin aligned. */
struct io_part {
    void *data;
    uint32_t length;
    uint64_t offset;
};
struct io_part io_op_part(const struct io_op *op);
/* Carries one attempt out on the calling thread. */
int io_op_perform(const struct io_op *op);

/* Operations in the order they came, linked by their `next`. */
struct io_op_list {
    struct io_op *first, **end;
};

static inline void
io_op_list_init(struct io_op_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static inline void
io_op_list_append(struct io_op_list *list, struct io_op *op)
{
    op->next = NULL;
    *list->end = op;
    list->end = &op->next;
}

static inline struct io_op *
io_op_list_pop(struct io_op_list *list)
{
    struct io_op *op = list->first;

    if (op) {
        list->first = op->next;
        if (!list->first)
            list->end = &list->first;
    }
    return op;
}

struct io_engine *io_uring_engine_new(unsigned depth, void *buffers, size_t buffers_length,
                                      struct err **err);
/* At most @most threads; 0: what @depth asks for, within reason.  While operations wait for a thread,
 * the poll fd becomes readable for @batch that are finished, not for each. */
struct io_engine *io_threads_engine_new(unsigned depth, unsigned most, unsigned batch,
                                        struct err **err);
struct io_engine *io_inline_engine_new(struct err **err);
/* For files of an NFS export (io/nfs.h). */
struct io_engine *io_nfs_engine_new(struct err **err);
/* A file of an export, under an fd that is its own; errno. */
int io_remote_open(const char *path, int flags, mode_t mode, int *ret_fd);
/* Owns @inner; returns it unchanged when no fault plan is attached to this thread (io/fault.h). */
struct io_engine *io_fault_engine_wrap(struct io_engine *inner);

#endif
