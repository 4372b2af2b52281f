#include "io/fault.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "disk/disk.h"
#include "io/engine.h"

/* What an operation in flight was before we changed it, and what it is to return. */
struct guest_op {
    struct io_op *op;
    uint64_t id;
    uint32_t full_length;
    bool is_made_up; /* never went to the real engine */
    int result;
};
VEC_DECLARE(guest_ops, struct guest_op);

struct fault_engine {
    struct io_engine engine;
    struct io_engine *inner;
    struct io_fault *fault;
    struct guest_ops ops;
    unsigned made_up_count;
    int made_up_fd; /* readable while made_up_count is not 0 */
};

static _Thread_local struct io_fault *attached;

void
io_fault_attach(struct io_fault *fault)
{
    attached = fault;
}

void
io_fault_clear_records(struct io_fault *fault)
{
    for (size_t i = 0; i < fault->records.count; i++)
        free(fault->records.items[i].data);
    vec_done(&fault->records);
}

static void
record_begin(struct io_fault *fault, const struct io_op *op, uint64_t id)
{
    struct io_part part = io_op_part(op);
    struct io_record record = {
        .id = id, .kind = op->kind, .offset = part.offset, .length = part.length};

    if (!fault->is_recording || op->kind == IO_READ)
        return;
    if (op->kind == IO_WRITE) {
        record.data = xcalloc(1, part.length);
        memcpy(record.data, part.data, part.length);
    }
    vec_push(&fault->records, record);
}

static void
record_end(struct io_fault *fault, const struct io_op *op, uint64_t id, int result)
{
    if (!fault->is_recording || op->kind == IO_READ)
        return;
    vec_push(&fault->records,
             ((struct io_record){.is_end = true, .id = id, .kind = op->kind, .result = result}));
}

static bool
is_hit(struct io_fault *fault, const struct io_op *op)
{
    uint64_t number;

    if (fault->only_kinds && !(fault->only_kinds & 1U << op->kind))
        return false;
    number = fault->count++;
    if (fault->kind == IO_FAULT_NONE)
        return false;
    if (number != fault->at && !(fault->is_lasting && number > fault->at))
        return false;
    if (fault->kind != IO_FAULT_ERROR && op->kind != IO_READ && op->kind != IO_WRITE)
        return false;
    if (!fault->has_fired)
        fault->fired_kind = op->kind;
    fault->has_fired = true;
    return true;
}

static void
make_up(struct fault_engine *faulty, struct guest_op *guest, int result)
{
    static const uint64_t one = 1;

    guest->is_made_up = true;
    guest->result = result;
    faulty->made_up_count++;
    if (write(faulty->made_up_fd, &one, sizeof(one)) < 0)
        abort();
}

static int
fault_start(struct io_engine *engine, struct io_op *op, struct err **err)
{
    struct fault_engine *faulty = (struct fault_engine *)engine;
    struct io_fault *fault = faulty->fault;
    struct guest_op guest = {.op = op, .id = fault->next_id++, .full_length = op->length};
    bool hit = is_hit(fault, op);

    if (hit && fault->kind == IO_FAULT_SHORT) {
        uint32_t left = io_op_part(op).length;

        /* What is continued begins at a whole DISK_ALIGNMENT: less would be no progress at all. */
        if (left > DISK_ALIGNMENT)
            op->length -= left - MAX(left / 2 / DISK_SECTOR * DISK_SECTOR, DISK_ALIGNMENT);
    }
    if (hit && fault->kind != IO_FAULT_SHORT) {
        make_up(faulty, &guest, fault->kind == IO_FAULT_EMPTY ? 0 : -fault->errnum);
    } else {
        record_begin(fault, op, guest.id);
        if (faulty->inner->ops->start(faulty->inner, op, err) < 0)
            return -1;
    }
    vec_push(&faulty->ops, guest);
    return 0;
}

static struct guest_op
take_guest(struct fault_engine *faulty, size_t i)
{
    struct guest_op guest = faulty->ops.items[i];

    faulty->ops.items[i] = faulty->ops.items[--faulty->ops.count];
    return guest;
}

/* Called by the real engine. */
static void
inner_complete(void *opaque, struct io_op *op, int result)
{
    struct fault_engine *faulty = opaque;
    size_t i = 0;
    struct guest_op guest;

    while (faulty->ops.items[i].op != op)
        i++;
    guest = take_guest(faulty, i);
    record_end(faulty->fault, op, guest.id, result);
    op->length = guest.full_length;
    faulty->engine.complete(faulty->engine.opaque, op, result);
}

static int
fault_submit(struct io_engine *engine, struct err **err)
{
    struct fault_engine *faulty = (struct fault_engine *)engine;

    return faulty->inner->ops->submit(faulty->inner, err);
}

static int
fault_reap(struct io_engine *engine, struct err **err)
{
    struct fault_engine *faulty = (struct fault_engine *)engine;
    unsigned made_up =
        faulty->made_up_count; /* what is started meanwhile waits for the next reap */
    uint64_t counter;

    if (made_up && read(faulty->made_up_fd, &counter, sizeof(counter)) < 0)
        abort();
    faulty->made_up_count = 0;
    for (size_t i = 0; made_up && i < faulty->ops.count;) {
        if (faulty->ops.items[i].is_made_up) {
            struct guest_op guest = take_guest(faulty, i);

            made_up--;
            engine->complete(engine->opaque, guest.op, guest.result);
            i = 0;
        } else {
            i++;
        }
    }
    return faulty->inner->ops->reap(faulty->inner, err);
}

static int
fault_wait(struct io_engine *engine, struct err **err)
{
    struct fault_engine *faulty = (struct fault_engine *)engine;

    return faulty->made_up_count ? 0 : faulty->inner->ops->wait(faulty->inner, err);
}

static void
fault_free(struct io_engine *engine)
{
    struct fault_engine *faulty = (struct fault_engine *)engine;

    faulty->inner->ops->free(faulty->inner);
    close_fdp(&faulty->made_up_fd);
    close_fdp(&engine->poll_fd);
    vec_done(&faulty->ops);
    free(faulty);
}

static const struct io_engine_ops fault_ops = {
    .name = "fault",
    .start = fault_start,
    .submit = fault_submit,
    .reap = fault_reap,
    .wait = fault_wait,
    .free = fault_free,
};

struct io_engine *
io_fault_engine_wrap(struct io_engine *inner)
{
    struct fault_engine *faulty;
    struct epoll_event event = {.events = EPOLLIN};

    if (!attached)
        return inner;
    faulty = xcalloc(1, sizeof(*faulty));
    faulty->engine.ops = &fault_ops;
    faulty->inner = inner;
    faulty->fault = attached;
    inner->complete = inner_complete;
    inner->opaque = faulty;
    faulty->made_up_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    faulty->engine.poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (faulty->made_up_fd < 0 || faulty->engine.poll_fd < 0 ||
        epoll_ctl(faulty->engine.poll_fd, EPOLL_CTL_ADD, faulty->made_up_fd, &event) < 0 ||
        epoll_ctl(faulty->engine.poll_fd, EPOLL_CTL_ADD, inner->poll_fd, &event) < 0)
        abort();
    return &faulty->engine;
}
