/* Operations on files of an NFS export: one connection, everything on the owner's thread.
 *
 * Writes are UNSTABLE: acknowledged is not stable, and a slot is free as soon as a write is acknowledged.  What a
 * server that restarts has lost is noticed by its write verifier, at the next write, at a sync, and before
 * anything is sent on a new connection; then every further operation fails, as after a failed fsync.  The
 * owner begins again at its last checkpoint, which was committed.  docs/internals/io.md says why so. */
#include "io/nfs.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "io/engine.h"

#define TICK_MS      200
#define MAX_SERVICES 64

struct nfs_engine;

enum flight_state { FLIGHT_FREE, FLIGHT_TO_SEND, FLIGHT_SENT, FLIGHT_OVER };

/* An operation between start and reap. */
struct flight {
    struct nfs_engine *engine;
    struct io_op *op;
    struct nfs_file *file;
    struct nfs_call call;
    enum flight_state state;
    int64_t begun_ms, sent_ms, not_before_ms;
    uint64_t writes; /* acknowledged when a COMMIT was sent */
    int result;
    struct flight *next;
};

struct nfs_engine {
    struct io_engine engine;
    struct rpc_context *rpc;
    int watched_fd; /* of the connection, in the epoll set; -1 */
    uint32_t watched;
    int timer_fd;
    bool is_ticking, is_breaking;
    struct flight *first, *free;
};

/* ---- watching --------------------------------------------------------------------------------- */

static void
unwatch(struct nfs_engine *own)
{
    if (own->watched_fd >= 0)
        (void)epoll_ctl(own->engine.poll_fd, EPOLL_CTL_DEL, own->watched_fd, NULL);
    own->watched_fd = -1;
}

static void
watch(struct nfs_engine *own)
{
    int fd = own->rpc ? rpc_get_fd(own->rpc) : -1;
    uint32_t wanted = 0;
    struct epoll_event event;

    if (fd != own->watched_fd)
        unwatch(own);
    if (fd < 0)
        return;
    wanted = rpc_which_events(own->rpc) & POLLOUT ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event = (struct epoll_event){.events = wanted, .data.fd = fd};
    if (own->watched_fd < 0)
        (void)epoll_ctl(own->engine.poll_fd, EPOLL_CTL_ADD, fd, &event);
    else if (wanted != own->watched)
        (void)epoll_ctl(own->engine.poll_fd, EPOLL_CTL_MOD, fd, &event);
    own->watched_fd = fd;
    own->watched = wanted;
}

/* The owner is woken now and then while something is in flight, to see that a server is silent. */
static void
tick(struct nfs_engine *own, bool is_wanted)
{
    const struct timespec every = {.tv_nsec = TICK_MS * 1000000L};
    const struct itimerspec on = {.it_interval = every, .it_value = every}, off = {0};

    if (own->is_ticking != is_wanted)
        (void)timerfd_settime(own->timer_fd, 0, is_wanted ? &on : &off, NULL);
    own->is_ticking = is_wanted;
}

/* ---- answers ---------------------------------------------------------------------------------- */

static void
land(struct flight *flight, int result)
{
    flight->result = result;
    flight->state = FLIGHT_OVER;
}

/* True when there is an answer to look into: the rest is dealt with. */
static bool
has_answer(struct flight *flight, int status, nfsstat3 nfs_status)
{
    if (status != RPC_STATUS_SUCCESS) { /* sent once more on another connection */
        flight->state = FLIGHT_TO_SEND;
        if (!flight->engine->is_breaking)
            flight->not_before_ms = clock_monotonic_ms() + TICK_MS;
        return false;
    }
    if (nfs_status == NFS3ERR_JUKEBOX) { /* "later" */
        flight->state = FLIGHT_TO_SEND;
        flight->not_before_ms = clock_monotonic_ms() + TICK_MS;
        return false;
    }
    if (nfs_status != NFS3_OK)
        land(flight, -nfs_errno(nfs_status));
    return nfs_status == NFS3_OK;
}

static nfsstat3
status_of(int status, const void *data)
{
    return status == RPC_STATUS_SUCCESS ? *(const nfsstat3 *)data : NFS3_OK;
}

static void
on_read(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct flight *flight = opaque;
    const READ3res *answer = data;
    struct io_part part;
    uint32_t length;

    if (!has_answer(flight, status, status_of(status, data)))
        return;
    part = io_op_part(flight->op);
    length = MIN(part.length, answer->READ3res_u.resok.data.data_len);
    memcpy(part.data, answer->READ3res_u.resok.data.data_val, length);
    land(flight, (int)length);
}

static void
on_write(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct flight *flight = opaque;
    const WRITE3res *answer = data;

    if (!has_answer(flight, status, status_of(status, data)))
        return;
    nfs_file_written(flight->file, &answer->WRITE3res_u.resok);
    land(flight, (int)MIN(answer->WRITE3res_u.resok.count, io_op_part(flight->op).length));
}

static void
on_commit(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct flight *flight = opaque;
    const COMMIT3res *answer = data;

    if (!has_answer(flight, status, status_of(status, data)))
        return;
    nfs_file_committed(flight->file, answer->COMMIT3res_u.resok.verf, flight->writes);
    land(flight, 0);
}

static void
on_truncate(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    if (has_answer(opaque, status, status_of(status, data)))
        land(opaque, 0);
}

/* ---- sending ---------------------------------------------------------------------------------- */

static int
send_call(struct rpc_context *rpc, struct flight *flight)
{
    struct io_part part = io_op_part(flight->op);
    nfs_fh3 handle = nfs_handle_get(&flight->file->handle);

    switch (flight->op->kind) {
    case IO_READ: {
        READ3args args = {
            .file = handle, .offset = part.offset, .count = MIN(part.length, NFS_MAX_TRANSFER)};

        return rpc_nfs3_read_async(rpc, on_read, &args, flight);
    }
    case IO_WRITE: {
        uint32_t length = MIN(part.length, NFS_MAX_TRANSFER);
        WRITE3args args = {.file = handle,
                           .offset = part.offset,
                           .count = length,
                           .stable = UNSTABLE,
                           .data = {.data_len = length, .data_val = part.data}};

        return rpc_nfs3_write_async(rpc, on_write, &args, flight);
    }
    case IO_DATASYNC: {
        COMMIT3args args = {.file = handle};

        flight->writes = flight->file->writes;
        return rpc_nfs3_commit_async(rpc, on_commit, &args, flight);
    }
    case IO_TRUNCATE: {
        SETATTR3args args = {.object = handle};

        args.new_attributes.size.set_it = 1;
        args.new_attributes.size.set_size3_u.size = flight->op->offset;
        return rpc_nfs3_setattr_async(rpc, on_truncate, &args, flight);
    }
    }
    return -1;
}

/* Everything that was sent is to be sent again; nothing points into the connection any more. */
static void
drop_connection(struct nfs_engine *own)
{
    struct rpc_context *rpc = take(own->rpc);

    unwatch(own);
    if (!rpc)
        return;
    own->is_breaking = true;
    rpc_destroy_context(rpc); /* calls back for what is in flight */
    own->is_breaking = false;
    for (struct flight *f = own->first; f; f = f->next)
        if (f->state == FLIGHT_SENT)
            f->state = FLIGHT_TO_SEND;
}

static void
fail_all(struct nfs_engine *own, int errnum)
{
    for (struct flight *f = own->first; f; f = f->next)
        if (f->state == FLIGHT_TO_SEND)
            land(f, -errnum);
}

/* A server that is reached again may have restarted: whether it has lost something is asked before
 * anything else is sent. */
static int
connect_again(struct nfs_engine *own)
{
    struct flight *first = own->first;
    int64_t until_ms = clock_monotonic_ms() + nfs_silence_ms();

    own->rpc = nfs_connect(&first->file->place, until_ms);
    if (!own->rpc)
        return errno;
    for (struct flight *f = first; f && own->rpc; f = f->next)
        if (f->file->committed < f->file->writes) {
            int errnum = nfs_file_commit(f->file, &own->rpc, until_ms);

            if (errnum && errnum != EAGAIN && own->rpc)
                return errnum;
        }
    return own->rpc ? 0 : ECONNRESET;
}

/* Those whose time has come and is not over. */
static bool
is_to_send(struct flight *f, int64_t now)
{
    if (f->state != FLIGHT_TO_SEND || f->not_before_ms > now)
        return false;
    if (!f->file->is_lost && now - f->begun_ms <= nfs_patience_ms())
        return true;
    land(f, f->file->is_lost ? -EREMOTEIO : -ETIMEDOUT);
    return false;
}

/* True when there is a connection. */
static bool
need_connection(struct nfs_engine *own)
{
    int errnum = own->rpc ? 0 : connect_again(own);

    if (errnum == 0)
        return true;
    drop_connection(own);
    if (errnum != ECONNRESET) /* else at the next tick, until patience ends */
        fail_all(own, errnum);
    return false;
}

static void
send_waiting(struct nfs_engine *own)
{
    int64_t now = clock_monotonic_ms();

    for (struct flight *f = own->first; f; f = f->next) {
        /* Making a connection takes time, and may show that the file has lost something. */
        if (!is_to_send(f, now) || !need_connection(own) || !is_to_send(f, now))
            continue;
        f->state = FLIGHT_SENT;
        f->sent_ms = now;
        if (send_call(own->rpc, f) != 0)
            f->state = FLIGHT_TO_SEND;
    }
}

static void
serve(struct nfs_engine *own)
{
    uint64_t ticks;

    if (own->is_ticking && read(own->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
        abort();
    for (unsigned n = 0; own->rpc && n < MAX_SERVICES; n++) {
        struct pollfd fd = {.fd = rpc_get_fd(own->rpc),
                            .events = (short)rpc_which_events(own->rpc)};

        if (poll(&fd, 1, 0) <= 0)
            break;
        if (rpc_service(own->rpc, fd.revents) < 0)
            drop_connection(own);
    }
}

/* A connection on which the oldest call has had no answer for long is given up. */
static void
look_for_silence(struct nfs_engine *own)
{
    int64_t now = clock_monotonic_ms();

    for (const struct flight *f = own->first; f; f = f->next)
        if (f->state == FLIGHT_SENT && now - f->sent_ms > nfs_silence_ms()) {
            drop_connection(own);
            return;
        }
}

static bool
is_anything_over(const struct nfs_engine *own)
{
    for (const struct flight *f = own->first; f; f = f->next)
        if (f->state == FLIGHT_OVER)
            return true;
    return false;
}

/* ---- the engine ------------------------------------------------------------------------------- */

static int
nfs_start(struct io_engine *engine, struct io_op *op, struct err **err)
{
    struct nfs_engine *own = (struct nfs_engine *)engine;
    struct nfs_file *file = nfs_file_find(op->fd);
    struct flight *flight = own->free, **end = &own->first;

    if (!file)
        return err_set(err, E_BUG, "fd %d is no file of an NFS export", op->fd);
    if (flight)
        own->free = flight->next;
    else
        flight = xcalloc(1, sizeof(*flight));
    *flight = (struct flight){.engine = own,
                              .op = op,
                              .file = file,
                              .state = FLIGHT_TO_SEND,
                              .begun_ms = clock_monotonic_ms()};
    while (*end)
        end = &(*end)->next;
    *end = flight;
    return 0;
}

static int
nfs_submit(struct io_engine *engine, struct err **err)
{
    struct nfs_engine *own = (struct nfs_engine *)engine;

    send_waiting(own);
    if (own->rpc && rpc_which_events(own->rpc) & POLLOUT && rpc_service(own->rpc, POLLOUT) < 0)
        drop_connection(own);
    watch(own);
    tick(own, own->first != NULL);
    return 0;
}

static int
nfs_reap(struct io_engine *engine, struct err **err)
{
    struct nfs_engine *own = (struct nfs_engine *)engine;
    struct flight **at = &own->first, *over = NULL, **end = &over;

    serve(own);
    look_for_silence(own);
    (void)nfs_submit(engine, err);
    while (*at) {
        struct flight *flight = *at;

        if (flight->state != FLIGHT_OVER) {
            at = &flight->next;
            continue;
        }
        *at = flight->next;
        flight->next = NULL;
        *end = flight;
        end = &flight->next;
    }
    while (over) {
        struct flight *flight = over;
        struct io_op *op = flight->op;
        int result = flight->result;

        over = flight->next;
        /* What was acknowledged since cannot be relied on, and what a sync says even less. */
        if (result >= 0 && flight->file->is_lost && op->kind != IO_READ)
            result = -EREMOTEIO;
        flight->next = own->free;
        own->free = flight;
        engine->complete(engine->opaque, op, result);
    }
    tick(own, own->first != NULL);
    return 0;
}

static int
nfs_wait_any(struct io_engine *engine, struct err **err)
{
    struct nfs_engine *own = (struct nfs_engine *)engine;

    for (;;) {
        struct pollfd fd = {.fd = engine->poll_fd, .events = POLLIN};

        (void)nfs_submit(engine, err);
        if (is_anything_over(own) || !own->first)
            return 0;
        if (poll(&fd, 1, TICK_MS) < 0 && errno != EINTR)
            return err_set_errno(err, E_IO, errno, "poll");
        serve(own);
        look_for_silence(own);
    }
}

static void
nfs_free(struct io_engine *engine)
{
    struct nfs_engine *own = (struct nfs_engine *)engine;

    drop_connection(own);
    while (own->free) {
        struct flight *flight = own->free;

        own->free = flight->next;
        free(flight);
    }
    close_fdp(&own->timer_fd);
    close_fdp(&engine->poll_fd);
    free(own);
}

static const struct io_engine_ops nfs_ops = {
    .name = "nfs",
    .start = nfs_start,
    .submit = nfs_submit,
    .reap = nfs_reap,
    .wait = nfs_wait_any,
    .free = nfs_free,
};

struct io_engine *
io_nfs_engine_new(struct err **err)
{
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = timer_fd};
    struct nfs_engine *own;

    if (poll_fd < 0 || timer_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event) < 0) {
        err_set_errno(err, E_IO, errno, "epoll");
        close_fdp(&poll_fd);
        close_fdp(&timer_fd);
        return NULL;
    }
    own = xcalloc(1, sizeof(*own));
    own->engine.ops = &nfs_ops;
    own->engine.poll_fd = poll_fd;
    own->timer_fd = timer_fd;
    own->watched_fd = -1;
    return &own->engine;
}
