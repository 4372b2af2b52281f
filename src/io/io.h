/* Asynchronous file I/O: an io_uring backend, a thread-pool fallback, and a backend that injects
 * faults and records every operation for crash tests.  The backend is chosen at run time.
 *
 * One `struct io` serves one thread; several files may share it.  Completions are delivered from
 * io_reap only.  A short read or write is continued inside; EINTR and EAGAIN are retried; a read
 * beyond the end of file returns zeroes.
 *
 * Threading: an io belongs to the thread that uses it; the thread pool is internal. */
#ifndef V2C_IO_IO_H
#define V2C_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct io;

enum io_backend {
    IO_BACKEND_AUTO, /* io_uring where the kernel lets us, else threads */
    IO_BACKEND_URING,
    IO_BACKEND_THREADS,
};

struct io_op;
typedef void (*io_done_fn)(struct io_op *op, struct err *error); /* owns error */

enum io_kind {
    IO_READ,
    IO_WRITE,
    IO_DATASYNC,
};

/* Owned by the submitter, untouched until done. */
struct io_op {
    enum io_kind kind;
    int fd;
    void *data;
    uint32_t length;
    uint64_t offset;
    io_done_fn done;
    void *opaque;
    uint32_t moved;     /* the backend's */
    struct io_op *next; /* the backend's */
};

/* @queue_depth operations in flight at most.  @buffers/@buffers_length (may be NULL/0): memory that
 * most transfers come from, registered with the kernel where that helps. */
int io_new(enum io_backend backend, unsigned queue_depth, void *buffers, size_t buffers_length,
           struct io **ret_io, struct err **err);
/* Waits for what is in flight, calling its done. */
void io_free(struct io *io);
void io_freep(struct io **io);

int io_queue(struct io *io, struct io_op *op,
             struct err **err);                 /* E_LIMIT when the queue is full */
int io_submit(struct io *io, struct err **err); /* once after a batch of io_queue */
int io_reap(struct io *io, unsigned *ret_count, struct err **err); /* never blocks */
int io_poll_fd(const struct io *io); /* readable when io_reap has something */
unsigned io_in_flight(const struct io *io);
/* Submits @op and waits for it alone; others complete meanwhile through their done. */
int io_wait(struct io *io, struct io_op *op, struct err **err);
const char *io_backend_name(const struct io *io); /* "io_uring" or "threads" */
/* Whether io_uring works here, and why not, for preflight and logs. */
bool io_uring_usable(struct err **err);

#endif
