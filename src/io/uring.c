#include "io/engine.h"

#include "base/err.h"
#include "base/util.h"

#ifdef HAVE_LIBURING

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <unistd.h>

/* The kernel takes at most this much in one registered buffer. */
#define MAX_REGISTERED (1ULL << 30)

struct uring_engine {
    struct io_engine engine;
    struct io_uring ring;
    char *buffers; /* registered as buffer 0; NULL: none */
    size_t buffers_length;
};

static bool
lies_in_buffers(const struct uring_engine *uring, const struct io_part *part)
{
    const char *data = part->data;

    return uring->buffers && data >= uring->buffers &&
           data + part->length <= uring->buffers + uring->buffers_length;
}

static void
prepare(struct uring_engine *uring, struct io_uring_sqe *sqe, struct io_op *op)
{
    struct io_part part = io_op_part(op);
    bool is_fixed = lies_in_buffers(uring, &part);

    switch (op->kind) {
    case IO_READ:
        if (is_fixed)
            io_uring_prep_read_fixed(sqe, op->fd, part.data, part.length, part.offset, 0);
        else
            io_uring_prep_read(sqe, op->fd, part.data, part.length, part.offset);
        break;
    case IO_WRITE:
        if (is_fixed)
            io_uring_prep_write_fixed(sqe, op->fd, part.data, part.length, part.offset, 0);
        else
            io_uring_prep_write(sqe, op->fd, part.data, part.length, part.offset);
        break;
    case IO_DATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_TRUNCATE:
        /* IORING_OP_FTRUNCATE is of Linux 6.9.  Done at once instead; the result travels with a
         * no-op, so that it is delivered like any other. */
        op->result = io_op_perform(op);
        io_uring_prep_nop(sqe);
        break;
    }
    io_uring_sqe_set_data(sqe, op);
}

static int
uring_submit(struct io_engine *engine, struct err **err)
{
    struct uring_engine *uring = (struct uring_engine *)engine;
    int n;

    while (io_uring_sq_ready(&uring->ring)) {
        n = io_uring_submit(&uring->ring);
        if (n == -EINTR || n == -EAGAIN || n == -EBUSY)
            continue;
        if (n < 0)
            return err_set_errno(err, E_IO, -n, "io_uring_submit");
    }
    return 0;
}

static int
uring_start(struct io_engine *engine, struct io_op *op, struct err **err)
{
    struct uring_engine *uring = (struct uring_engine *)engine;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

    if (!sqe) {
        if (uring_submit(engine, err) < 0)
            return -1;
        sqe = io_uring_get_sqe(&uring->ring);
        if (!sqe)
            return err_set(err, E_BUG, "io_uring has no entry left after a submission");
    }
    prepare(uring, sqe, op);
    return 0;
}

static int
uring_reap(struct io_engine *engine, struct err **err)
{
    struct uring_engine *uring = (struct uring_engine *)engine;
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
        struct io_op *op = io_uring_cqe_get_data(cqe);
        int result = op->kind == IO_TRUNCATE ? op->result : cqe->res;

        io_uring_cqe_seen(&uring->ring, cqe);
        engine->complete(engine->opaque, op, result);
    }
    return 0;
}

static int
uring_wait(struct io_engine *engine, struct err **err)
{
    struct uring_engine *uring = (struct uring_engine *)engine;
    int n;

    do {
        n = io_uring_submit_and_wait(&uring->ring, 1);
    } while (n == -EINTR || n == -EAGAIN || n == -EBUSY);
    return n < 0 ? err_set_errno(err, E_IO, -n, "io_uring_submit_and_wait") : 0;
}

static void
uring_free(struct io_engine *engine)
{
    struct uring_engine *uring = (struct uring_engine *)engine;

    io_uring_queue_exit(&uring->ring);
    free(uring);
}

static const struct io_engine_ops uring_ops = {
    .name = "io_uring",
    .start = uring_start,
    .submit = uring_submit,
    .reap = uring_reap,
    .wait = uring_wait,
    .free = uring_free,
};

/* The newest way of running completions first: they run when this thread enters the kernel for any
 * reason (a poll on the ring's fd included), without an interrupt.  DEFER_TASKRUN is not used: it
 * would cost an extra system call in every reap. */
static int
ring_init(struct io_uring *ring, unsigned depth)
{
    static const unsigned flag_sets[] = {
#if defined(IORING_SETUP_COOP_TASKRUN) && defined(IORING_SETUP_SINGLE_ISSUER)
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
#endif
        0,
    };
    int result = -EINVAL;

    for (size_t i = 0; i < ARRAY_SIZE(flag_sets) && result == -EINVAL; i++)
        result = io_uring_queue_init(depth, ring, flag_sets[i]);
    return result;
}

static bool
has_operations(struct io_uring *ring)
{
    static const int needed[] = {IORING_OP_READ,  IORING_OP_WRITE, IORING_OP_READ_FIXED,
                                 IORING_OP_FSYNC, IORING_OP_NOP,   IORING_OP_WRITE_FIXED};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool all = probe != NULL;

    for (size_t i = 0; all && i < ARRAY_SIZE(needed); i++)
        all = io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return all;
}

struct io_engine *
io_uring_engine_new(unsigned depth, void *buffers, size_t buffers_length, struct err **err)
{
    struct uring_engine *uring = xcalloc(1, sizeof(*uring));
    int result = ring_init(&uring->ring, depth);

    if (result < 0) {
        free(uring);
        err_set_errno(err, E_IO, -result, "io_uring");
        err_hint(err,
                 "the kernel may forbid it (sysctl kernel.io_uring_disabled, seccomp); threads "
                 "do the same work for a little more CPU");
        return NULL;
    }
    uring->engine.ops = &uring_ops;
    uring->engine.poll_fd = uring->ring.ring_fd;
    if (!has_operations(&uring->ring)) {
        uring_free(&uring->engine);
        return err_null(err, E_IO, "io_uring of this kernel lacks operations we need");
    }
    /* Locked memory may be limited (RLIMIT_MEMLOCK): then it goes without. */
    if (buffers && buffers_length && buffers_length <= MAX_REGISTERED) {
        struct iovec vec = {buffers, buffers_length};

        if (io_uring_register_buffers(&uring->ring, &vec, 1) == 0) {
            uring->buffers = buffers;
            uring->buffers_length = buffers_length;
            uring->engine.has_fixed_buffers = true;
        }
    }
    return &uring->engine;
}

bool
io_uring_usable(struct err **err)
{
    struct io_engine *engine = io_uring_engine_new(4, NULL, 0, err);

    if (!engine)
        return false;
    uring_free(engine);
    return true;
}

#else

struct io_engine *
io_uring_engine_new(unsigned depth, void *buffers, size_t buffers_length, struct err **err)
{
    return err_null(err, E_IO, "this build has no io_uring");
}

bool
io_uring_usable(struct err **err)
{
    err_set(err, E_IO, "this build has no io_uring");
    return false;
}

#endif
