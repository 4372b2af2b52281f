#include "io/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "disk/disk.h"
#include "io/engine.h"

/* Attempts of one operation that moved nothing before it is given up: EAGAIN is a passing state, and
 * a kernel that says it for ever must not hold a migration for ever. */
#define MAX_ATTEMPTS 1000U

/* Operations that one worker profits from: some more wait while it tells of half as many. */
#define WORKER_DEPTH 4U

struct io {
    struct io_engine *engine;
    const char *name;
    unsigned queue_depth;
    unsigned in_flight;
    unsigned delivered; /* since the last reap began */
    bool has_restarts;  /* started by a completion, not yet submitted */
};

static const char *const kind_names[] = {
    [IO_READ] = "read",
    [IO_WRITE] = "write",
    [IO_DATASYNC] = "sync",
    [IO_TRUNCATE] = "truncate",
};

struct io_part
io_op_part(const struct io_op *op)
{
    uint32_t from = op->moved - op->moved % DISK_ALIGNMENT;

    return (struct io_part){(char *)op->data + from, op->length - from, op->offset + from};
}

int
io_op_perform(const struct io_op *op)
{
    struct io_part part = io_op_part(op);
    ssize_t n = 0;

    switch (op->kind) {
    case IO_READ:
        n = pread(op->fd, part.data, part.length, (off_t)part.offset);
        break;
    case IO_WRITE:
        n = pwrite(op->fd, part.data, part.length, (off_t)part.offset);
        break;
    case IO_DATASYNC:
        n = fdatasync(op->fd);
        break;
    case IO_TRUNCATE:
        n = ftruncate(op->fd, (off_t)op->offset);
        break;
    }
    return n < 0 ? -errno : (int)n;
}

static struct err *
describe_failure(const struct io_op *op, int errnum)
{
    struct err *error = NULL;

    if (op->kind == IO_DATASYNC)
        err_set_errno(&error, E_IO, errnum, "sync");
    else if (op->kind == IO_TRUNCATE)
        err_set_errno(&error, E_IO, errnum, "truncate to %" PRIu64 " bytes", op->offset);
    else
        err_set_errno(&error, E_IO, errnum, "%s of %" PRIu32 " bytes at %" PRIu64,
                      kind_names[op->kind], op->length, op->offset);
    if (errnum == ESTALE)
        err_hint(&error, "the server does not know the file any more: look whether the share is "
                         "still exported, mount it again, and see that nobody removed the file");
    else if (errnum == EREMOTEIO)
        err_hint(&error,
                 "the NFS server restarted and lost what it had not committed; it is written "
                 "again from the last checkpoint");
    else if (errnum == ETIMEDOUT || errnum == ECONNREFUSED)
        err_hint(&error, "the NFS server does not answer: see that it runs and can be reached");
    else if (errnum == EROFS)
        err_hint(&error, "the file system is mounted read-only, often because of an error: the "
                         "kernel's log says why");
    return error;
}

static void
deliver(struct io *io, struct io_op *op, struct err *error)
{
    io->in_flight--;
    io->delivered++;
    op->done(op, error);
}

/* Takes in @moved_now bytes of a read or write; true when the operation is over, with *ret_errnum. */
static bool
take_moved(struct io_op *op, uint32_t moved_now, int *ret_errnum)
{
    uint32_t end = op->moved - op->moved % DISK_ALIGNMENT + moved_now;

    *ret_errnum = 0;
    if (end >= op->length)
        return true;
    if (end > op->moved) {
        op->moved = end;
        op->attempts = 0;
        return false;
    }
    /* No progress: the end of the file for a read, no more room for a write. */
    if (op->kind == IO_READ)
        memset((char *)op->data + op->moved, 0, op->length - op->moved);
    else
        *ret_errnum = ENOSPC;
    return true;
}

static void
complete(void *opaque, struct io_op *op, int result)
{
    struct io *io = opaque;
    struct err *error = NULL;
    int errnum = 0;

    if (result == -EINTR || (result == -EAGAIN && op->kind != IO_DATASYNC)) {
        if (++op->attempts >= MAX_ATTEMPTS) {
            deliver(io, op, describe_failure(op, -result));
            return;
        }
    } else if (result < 0) {
        deliver(io, op, describe_failure(op, -result));
        return;
    } else if (op->kind == IO_DATASYNC || op->kind == IO_TRUNCATE ||
               take_moved(op, (uint32_t)result, &errnum)) {
        deliver(io, op, errnum ? describe_failure(op, errnum) : NULL);
        return;
    }
    if (io->engine->ops->start(io->engine, op, &error) < 0)
        deliver(io, op, error);
    else
        io->has_restarts = true;
}

static const char *const backend_names[] = {
    [IO_BACKEND_URING] = "io_uring", [IO_BACKEND_THREADS] = "threads",
    [IO_BACKEND_WORKER] = "worker",  [IO_BACKEND_INLINE] = "inline",
    [IO_BACKEND_NFS] = "nfs",
};

/* What V2C_IO asks for. */
static enum io_backend
wished_backend(void)
{
    const char *wish = getenv("V2C_IO");

    for (size_t i = 0; wish && i < ARRAY_SIZE(backend_names); i++)
        if (i != IO_BACKEND_NFS && backend_names[i] && !strcmp(wish, backend_names[i]))
            return (enum io_backend)i;
    return IO_BACKEND_AUTO;
}

enum io_backend
io_file_backend(const struct io_file *file, enum io_kind kind)
{
    if (file->is_remote)
        return IO_BACKEND_NFS;
    if (!file->is_in_memory || wished_backend() != IO_BACKEND_AUTO)
        return IO_BACKEND_AUTO;
    return kind == IO_READ ? IO_BACKEND_INLINE : IO_BACKEND_WORKER;
}

/* Bytes that are written while they are in the cache cost half: so few are on their way at a time. */
unsigned
io_file_depth(const struct io_file *file, enum io_kind kind, unsigned wished)
{
    switch (io_file_backend(file, kind)) {
    case IO_BACKEND_INLINE:
        return 1;
    case IO_BACKEND_WORKER:
        return MIN(wished, WORKER_DEPTH);
    default:
        return wished;
    }
}

/* Of @backend, or of what takes its place, which is then in *backend. */
static struct io_engine *
engine_new(enum io_backend *backend, unsigned depth, void *buffers, size_t length, struct err **err)
{
    struct io_engine *engine;

    if (*backend == IO_BACKEND_AUTO)
        *backend = wished_backend();
    switch (*backend) {
    case IO_BACKEND_URING:
        return io_uring_engine_new(depth, buffers, length, err);
    case IO_BACKEND_THREADS:
        return io_threads_engine_new(depth, 0, 1, err);
    case IO_BACKEND_WORKER:
        return io_threads_engine_new(depth, 1, WORKER_DEPTH / 2, err);
    case IO_BACKEND_INLINE:
        return io_inline_engine_new(err);
    case IO_BACKEND_NFS:
        return io_nfs_engine_new(err);
    case IO_BACKEND_AUTO:
        break;
    }
    *backend = IO_BACKEND_URING;
    engine = io_uring_engine_new(depth, buffers, length, NULL);
    if (engine)
        return engine;
    *backend = IO_BACKEND_THREADS;
    return io_threads_engine_new(depth, 0, 1, err);
}

int
io_new(enum io_backend backend, unsigned queue_depth, void *buffers, size_t buffers_length,
       struct io **ret_io, struct err **err)
{
    struct io_engine *engine;
    struct io *io;

    if (queue_depth == 0 || queue_depth > 4096)
        return err_set(err, E_BUG, "an io queue of %u operations", queue_depth);
    engine = engine_new(&backend, queue_depth, buffers, buffers_length, err);
    if (!engine)
        return -1;
    engine = io_fault_engine_wrap(engine);
    io = xcalloc(1, sizeof(*io));
    io->engine = engine;
    io->name = backend_names[backend];
    io->queue_depth = queue_depth;
    engine->complete = complete;
    engine->opaque = io;
    *ret_io = io;
    return 0;
}

void
io_free(struct io *io)
{
    if (!io)
        return;
    /* A kernel that does not give back what it has would have the memory of live buffers reused. */
    if (io_drain(io, 0, NULL) < 0)
        abort();
    io->engine->ops->free(io->engine);
    free(io);
}

void
io_freep(struct io **io)
{
    io_free(*io);
    *io = NULL;
}

int
io_queue(struct io *io, struct io_op *op, struct err **err)
{
    if (io->in_flight >= io->queue_depth)
        return err_set(err, E_LIMIT, "%u operations are in flight already", io->in_flight);
    op->moved = 0;
    op->attempts = 0;
    op->next = NULL;
    if (io->engine->ops->start(io->engine, op, err) < 0)
        return -1;
    io->in_flight++;
    return 0;
}

int
io_submit(struct io *io, struct err **err)
{
    return io->engine->ops->submit(io->engine, err);
}

int
io_reap(struct io *io, unsigned *ret_count, struct err **err)
{
    io->delivered = 0;
    if (io->in_flight && io->engine->ops->reap(io->engine, err) < 0)
        return -1;
    if (take(io->has_restarts) && io->engine->ops->submit(io->engine, err) < 0)
        return -1;
    *ret_count = io->delivered;
    return 0;
}

int
io_poll_fd(const struct io *io)
{
    return io->engine->poll_fd;
}

unsigned
io_in_flight(const struct io *io)
{
    return io->in_flight;
}

int
io_drain(struct io *io, unsigned left, struct err **err)
{
    while (io->in_flight > left)
        if (io->engine->ops->wait(io->engine, err) < 0 ||
            io->engine->ops->reap(io->engine, err) < 0)
            return -1;
    return 0;
}

struct waited {
    bool is_over;
    struct err *error;
};

static void
waited_done(struct io_op *op, struct err *error)
{
    struct waited *waited = op->opaque;

    waited->is_over = true;
    waited->error = error;
}

int
io_wait(struct io *io, struct io_op *op, struct err **err)
{
    struct waited waited = {0};

    op->done = waited_done;
    op->opaque = &waited;
    if (io_queue(io, op, err) < 0)
        return -1;
    while (!waited.is_over)
        if (io->engine->ops->wait(io->engine, err) < 0 ||
            io->engine->ops->reap(io->engine, err) < 0)
            abort(); /* the operation still points into this stack frame */
    return waited.error ? err_move(err, &waited.error) : 0;
}

const char *
io_backend_name(const struct io *io)
{
    return io->name;
}

bool
io_has_fixed_buffers(const struct io *io)
{
    return io->engine->has_fixed_buffers;
}
