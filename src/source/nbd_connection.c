#include "source/nbd_connection.h"

#include <sys/epoll.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

static int
fail_connect(const struct nbd_connection *c, struct err **err)
{
    const char *why = nbd_get_error();

    err_set(err, E_SOURCE_OPEN, "%s: connect: %s", c->uri, why ? why : "no reason given");
    return err_hint(err, "check that the server runs and that the export's name is right");
}

int
nbd_connection_start(struct nbd_connection *c, struct err **err)
{
    c->fd = -1;
    c->is_settled = false;
    c->in_flight = 0;
    c->nbd = nbd_create();
    if (!c->nbd)
        return err_set(err, E_MEMORY, "%s: libnbd: %s", c->uri, nbd_get_error());
    if (nbd_add_meta_context(c->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
        nbd_set_pread_initialize(c->nbd, false) < 0 || nbd_aio_connect_uri(c->nbd, c->uri) < 0) {
        fail_connect(c, err);
        nbd_close(take(c->nbd));
        return -1;
    }
    nbd_connection_update(c);
    return 0;
}

bool
nbd_connection_is_ready(const struct nbd_connection *c)
{
    return c->nbd && (nbd_aio_is_ready(c->nbd) || nbd_aio_is_processing(c->nbd));
}

bool
nbd_connection_is_lost(const struct nbd_connection *c)
{
    return !c->nbd || nbd_aio_is_dead(c->nbd) || nbd_aio_is_closed(c->nbd);
}

int
nbd_connection_wait(struct nbd_connection *c, int64_t timeout_ms, struct err **err)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;

    while (!nbd_aio_is_ready(c->nbd)) {
        int64_t left = deadline_ms - clock_monotonic_ms();

        if (left <= 0)
            return err_set(err, E_TIMEOUT, "%s: no connection within %lld s", c->uri,
                           (long long)timeout_ms / 1000);
        if (nbd_connection_is_lost(c) || nbd_poll(c->nbd, (int)left) < 0)
            return fail_connect(c, err);
    }
    nbd_connection_update(c);
    return 0;
}

/* While it connects the socket may be another one each time, under the same number too; the kernel
 * takes a closed one out of the set. */
void
nbd_connection_update(struct nbd_connection *c)
{
    int fd = nbd_connection_is_lost(c) ? -1 : nbd_aio_get_fd(c->nbd);
    bool is_ready = nbd_connection_is_ready(c);
    struct epoll_event event = {0};
    unsigned direction;

    if (fd < 0) {
        c->fd = -1;
        return;
    }
    direction = nbd_aio_get_direction(c->nbd);
    event.events = ((direction & LIBNBD_AIO_DIRECTION_READ) ? EPOLLIN : 0U) |
                   ((direction & LIBNBD_AIO_DIRECTION_WRITE) ? EPOLLOUT : 0U);
    if (c->is_settled && fd == c->fd && event.events == c->events)
        return;
    if (epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 &&
        epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return; /* tried again after the next call */
    c->fd = fd;
    c->events = event.events;
    c->is_settled = is_ready;
}

bool
nbd_connection_step(struct nbd_connection *c)
{
    bool has_moved = c->nbd && nbd_poll(c->nbd, 0) > 0;

    nbd_connection_update(c);
    return has_moved;
}

void
nbd_connection_close(struct nbd_connection *c)
{
    if (!c->nbd)
        return;
    if (nbd_aio_is_ready(c->nbd))
        (void)nbd_aio_disconnect(c->nbd, 0);
    c->fd = -1;
    nbd_close(take(c->nbd));
}
