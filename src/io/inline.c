#include "io/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"

/* Carries operations out on the owner's own thread, when they are submitted. */
struct inline_engine {
    struct io_engine engine;
    struct io_op_list started, finished;
};

static int
inline_start(struct io_engine *engine, struct io_op *op, struct err **err)
{
    struct inline_engine *own = (struct inline_engine *)engine;

    io_op_list_append(&own->started, op);
    return 0;
}

static int
inline_submit(struct io_engine *engine, struct err **err)
{
    static const uint64_t one = 1;
    struct inline_engine *own = (struct inline_engine *)engine;
    struct io_op *op;

    /* The fd is readable exactly while something is finished. */
    if (own->started.first && !own->finished.first && write(engine->poll_fd, &one, sizeof(one)) < 0)
        abort();
    while ((op = io_op_list_pop(&own->started)) != NULL) {
        op->result = io_op_perform(op);
        io_op_list_append(&own->finished, op);
    }
    return 0;
}

static int
inline_reap(struct io_engine *engine, struct err **err)
{
    struct inline_engine *own = (struct inline_engine *)engine;
    struct io_op *op = own->finished.first, *next;
    uint64_t counter;

    if (op && read(engine->poll_fd, &counter, sizeof(counter)) < 0)
        abort();
    io_op_list_init(&own->finished);
    for (; op; op = next) {
        next = op->next;
        engine->complete(engine->opaque, op, op->result);
    }
    return 0;
}

static void
inline_free(struct io_engine *engine)
{
    close_fdp(&engine->poll_fd);
    free(engine);
}

static const struct io_engine_ops inline_ops = {
    .name = "inline",
    .start = inline_start,
    .submit = inline_submit,
    .reap = inline_reap,
    .wait = inline_submit, /* what was started is finished after it */
    .free = inline_free,
};

struct io_engine *
io_inline_engine_new(struct err **err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct inline_engine *own;

    if (fd < 0) {
        err_set_errno(err, E_IO, errno, "eventfd");
        return NULL;
    }
    own = xcalloc(1, sizeof(*own));
    own->engine.ops = &inline_ops;
    own->engine.poll_fd = fd;
    io_op_list_init(&own->started);
    io_op_list_init(&own->finished);
    return &own->engine;
}
