/* A disk read over NBD with libnbd.
 *
 * Several reads are in flight on one connection.  libnbd is a state machine without threads: it wants
 * to be told when its socket can be read or written, and what it waits for changes with every call.
 * So poll_fd is an epoll fd over that socket, whose events are set anew after each call, and over an
 * eventfd for reads that finish while something else is waited for. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <libnbd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "source/source.h"

#define DEFAULT_QUEUE_DEPTH 16
#define CONNECT_TIMEOUT_MS  30000
#define EXTENTS_TIMEOUT_MS  60000
#define CLOSE_TIMEOUT_MS    10000
#define EXTENTS_WINDOW      (1U << 30)

struct nbd_source {
    struct disk_source source;
    struct nbd_handle *nbd; /* NULL: given up */
    char *uri;
    int event_fd, nbd_fd;
    uint32_t epoll_events; /* that nbd_fd is registered with */
    bool has_extents;
    struct disk_request *in_flight;                 /* their impl: the source */
    struct disk_request *finished, **finished_tail; /* their impl: struct err *, or NULL */
};

/* One block status under way. */
struct query {
    struct extents *extents; /* of the caller */
    uint64_t offset, end;    /* what is left: offset moves on with every entry */
    bool is_done;
    int error;
};

static struct nbd_source *
of_source(const struct disk_source *source)
{
    return (struct nbd_source *)((const char *)source - offsetof(struct nbd_source, source));
}

/* libnbd's own words for the last failure on this thread. */
static int
fail_nbd(const struct nbd_source *nbd, enum err_code code, const char *what, struct err **err)
{
    const char *why = nbd_get_error();

    return err_set(err, code, "%s: %s: %s", nbd->uri, what, why ? why : "no reason given");
}

/* ---- finished reads ---------------------------------------------------------------------------- */

/* Takes @error over. */
static void
finish(struct nbd_source *nbd, struct disk_request *request, struct err *error)
{
    struct disk_request **at = &nbd->in_flight;

    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    request->next = NULL;
    request->impl = error;
    *nbd->finished_tail = request;
    nbd->finished_tail = &request->next;
}

static unsigned
deliver(struct nbd_source *nbd)
{
    unsigned count = 0;

    while (nbd->finished) {
        struct disk_request *request = nbd->finished;

        nbd->finished = request->next;
        if (!nbd->finished)
            nbd->finished_tail = &nbd->finished;
        request->next = NULL;
        count++;
        request->done(request, take(request->impl));
    }
    return count;
}

/* Called by libnbd from inside one of our calls; no call of libnbd may be made here. */
static int
on_read_done(void *opaque, int *error)
{
    struct disk_request *request = opaque;
    struct nbd_source *nbd = request->impl;
    struct err *err = NULL;
    char text[128];

    if (*error)
        err_set(&err, E_SOURCE_READ, "%s: read at %" PRIu64 ": %s", nbd->uri, request->offset,
                strerror_r(*error, text, sizeof(text)));
    finish(nbd, request, err);
    return 1; /* the command is forgotten by libnbd */
}

static void
fail_in_flight(struct nbd_source *nbd, enum err_code code, const char *why)
{
    while (nbd->in_flight) {
        struct err *err = NULL;

        err_set(&err, code, "%s: read at %" PRIu64 ": %s", nbd->uri, nbd->in_flight->offset, why);
        finish(nbd, nbd->in_flight, err);
    }
}

static bool
is_lost(const struct nbd_source *nbd)
{
    return !nbd->nbd || nbd_aio_is_dead(nbd->nbd) || nbd_aio_is_closed(nbd->nbd);
}

/* After every call of libnbd: poll_fd must be readable when there is something to do. */
static void
update_poll(struct nbd_source *nbd)
{
    if (is_lost(nbd)) {
        fail_in_flight(nbd, E_SOURCE_READ, "the connection is lost");
    } else {
        unsigned direction = nbd_aio_get_direction(nbd->nbd);
        uint32_t events = ((direction & LIBNBD_AIO_DIRECTION_READ) ? EPOLLIN : 0U) |
                          ((direction & LIBNBD_AIO_DIRECTION_WRITE) ? EPOLLOUT : 0U);

        if (events != nbd->epoll_events &&
            epoll_ctl(nbd->source.poll_fd, EPOLL_CTL_MOD, nbd->nbd_fd,
                      &(struct epoll_event){.events = events}) == 0)
            nbd->epoll_events = events;
    }
    if (nbd->finished)
        (void)!write(nbd->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* ---- the source -------------------------------------------------------------------------------- */

static int
nbd_source_read(struct disk_source *source, struct disk_request *request, struct err **err)
{
    struct nbd_source *nbd = of_source(source);
    int64_t cookie;

    if (request->length == 0 || request->length > DISK_MAX_REQUEST ||
        request->length % DISK_SECTOR || request->offset % DISK_SECTOR ||
        request->offset > source->size || request->length > source->size - request->offset)
        return err_set(err, E_BUG, "a read of %" PRIu32 " bytes at %" PRIu64 " of %" PRIu64,
                       request->length, request->offset, source->size);
    if (is_lost(nbd))
        return err_set(err, E_SOURCE_READ, "%s: the connection is lost", nbd->uri);
    request->impl = nbd;
    request->next = nbd->in_flight;
    nbd->in_flight = request;
    cookie =
        nbd_aio_pread(nbd->nbd, request->slot->data, request->length, request->offset,
                      (nbd_completion_callback){.callback = on_read_done, .user_data = request}, 0);
    /* It may have completed (with an error) on its way: then it is delivered as any other. */
    if (cookie < 0 && nbd->in_flight == request) {
        nbd->in_flight = request->next;
        request->impl = request->next = NULL;
        fail_nbd(nbd, E_SOURCE_READ, "read", err);
        update_poll(nbd);
        return -1;
    }
    update_poll(nbd);
    return 0;
}

static int
nbd_source_submit(struct disk_source *source, struct err **err)
{
    return 0;
}

static int
nbd_source_reap(struct disk_source *source, unsigned *ret_count, struct err **err)
{
    struct nbd_source *nbd = of_source(source);
    uint64_t count;

    (void)!read(nbd->event_fd, &count, sizeof(count));
    while (nbd->nbd && nbd_poll(nbd->nbd, 0) > 0)
        ;
    update_poll(nbd);
    (void)!read(nbd->event_fd, &count, sizeof(count));
    *ret_count = deliver(nbd);
    return 0;
}

/* Called by libnbd, perhaps several times for one query. */
static int
on_extent(void *opaque, const char *context, uint64_t offset, uint32_t *entries, size_t entry_count,
          int *error)
{
    struct query *query = opaque;

    if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || offset != query->offset)
        return 0;
    for (size_t i = 0; i + 1 < entry_count && query->offset < query->end; i += 2) {
        uint64_t length = MIN(entries[i], query->end - query->offset);

        /* A hole that does not promise zeroes may hold anything. */
        if (length && !(entries[i + 1] & LIBNBD_STATE_ZERO))
            vec_push(query->extents, (struct extent){query->offset, length});
        query->offset += length;
    }
    return 0;
}

static int
on_query_done(void *opaque, int *error)
{
    struct query *query = opaque;

    query->is_done = true;
    query->error = *error;
    return 1;
}

/* False when the server did not answer, or not with anything useful.  Reads in flight go on. */
static bool
run_query(struct nbd_source *nbd, struct query *query)
{
    int64_t deadline_ms = clock_monotonic_ms() + EXTENTS_TIMEOUT_MS;
    uint64_t before = query->offset;

    query->is_done = false;
    if (nbd_aio_block_status(
            nbd->nbd, MIN(EXTENTS_WINDOW, query->end - query->offset), query->offset,
            (nbd_extent_callback){.callback = on_extent, .user_data = query},
            (nbd_completion_callback){.callback = on_query_done, .user_data = query}, 0) < 0)
        return false;
    while (!query->is_done) {
        int64_t left = deadline_ms - clock_monotonic_ms();

        /* libnbd still holds a pointer to the query, so there is no way out but the connection's. */
        if (left <= 0 || nbd_poll(nbd->nbd, (int)left) < 0) {
            nbd_close(take(nbd->nbd));
            return false;
        }
    }
    return query->error == 0 && query->offset > before;
}

static int
nbd_source_extents(struct disk_source *source, uint64_t offset, uint64_t length,
                   struct extents *extents, struct err **err)
{
    struct nbd_source *nbd = of_source(source);
    struct query query = {.extents = extents, .offset = offset, .end = offset + length};

    while (nbd->has_extents && query.offset < query.end) {
        if (run_query(nbd, &query))
            continue;
        if (is_lost(nbd)) {
            update_poll(nbd);
            return err_set(err, E_SOURCE_READ, "%s: the connection is lost", nbd->uri);
        }
        log_debug("%s does not tell what is allocated", nbd->uri);
        nbd->has_extents = false;
    }
    update_poll(nbd);
    if (query.offset < query.end)
        vec_push(extents, (struct extent){query.offset, query.end - query.offset});
    return 0;
}

static void
nbd_source_free(struct nbd_source *nbd)
{
    nbd_close(nbd->nbd);
    close_fdp(&nbd->event_fd);
    close_fdp(&nbd->source.poll_fd);
    free(nbd->uri);
    free(nbd);
}

static void
nbd_source_freep(struct nbd_source **nbd)
{
    if (*nbd)
        nbd_source_free(*nbd);
}

static void
nbd_source_close(struct disk_source *source)
{
    struct nbd_source *nbd = of_source(source);
    int64_t deadline_ms = clock_monotonic_ms() + CLOSE_TIMEOUT_MS;

    while (nbd->nbd && nbd->in_flight) {
        int64_t left = deadline_ms - clock_monotonic_ms();

        if (left <= 0 || nbd_poll(nbd->nbd, (int)left) < 0)
            break;
    }
    if (nbd->nbd && nbd_aio_is_ready(nbd->nbd))
        (void)nbd_aio_disconnect(nbd->nbd, 0);
    /* From here on libnbd touches no slot, so what is left may be given back. */
    nbd_close(take(nbd->nbd));
    fail_in_flight(nbd, E_CANCELLED, "the source is being closed");
    (void)deliver(nbd);
    nbd_source_free(nbd);
}

static const struct disk_source_ops nbd_source_ops = {
    .name = "nbd",
    .extents = nbd_source_extents,
    .read = nbd_source_read,
    .submit = nbd_source_submit,
    .reap = nbd_source_reap,
    .close = nbd_source_close,
};

/* ---- opening ----------------------------------------------------------------------------------- */

static int
fail_connect(const struct nbd_source *nbd, struct err **err)
{
    fail_nbd(nbd, E_SOURCE_OPEN, "connect", err);
    return err_hint(err, "check that the server runs and that the export's name is right");
}

static int
connect_to(struct nbd_source *nbd, struct err **err)
{
    int64_t deadline_ms = clock_monotonic_ms() + CONNECT_TIMEOUT_MS;

    if (nbd_add_meta_context(nbd->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
        nbd_set_pread_initialize(nbd->nbd, false) < 0 ||
        nbd_aio_connect_uri(nbd->nbd, nbd->uri) < 0)
        return fail_connect(nbd, err);
    while (!nbd_aio_is_ready(nbd->nbd)) {
        int64_t left = deadline_ms - clock_monotonic_ms();

        if (left <= 0)
            return err_set(err, E_TIMEOUT, "%s: no connection within %d s", nbd->uri,
                           CONNECT_TIMEOUT_MS / 1000);
        if (nbd_aio_is_dead(nbd->nbd) || nbd_aio_is_closed(nbd->nbd) ||
            nbd_poll(nbd->nbd, (int)left) < 0)
            return fail_connect(nbd, err);
    }
    return 0;
}

static int
learn_export(struct nbd_source *nbd, struct err **err)
{
    int64_t size = nbd_get_size(nbd->nbd);
    int64_t least = nbd_get_block_size(nbd->nbd, LIBNBD_SIZE_MINIMUM);
    int64_t most = nbd_get_block_size(nbd->nbd, LIBNBD_SIZE_MAXIMUM);

    if (size < 0)
        return fail_nbd(nbd, E_SOURCE_OPEN, "size", err);
    if (size == 0 || size % DISK_SECTOR)
        return err_set(err, E_SOURCE_SIZE, "%s: %" PRId64 " bytes are no disk of whole sectors",
                       nbd->uri, size);
    if (least > DISK_ALIGNMENT || (most > 0 && most < DISK_MAX_REQUEST))
        return err_set(err, E_SOURCE_OPEN,
                       "%s: the server wants blocks of %" PRId64 " to %" PRId64 " bytes", nbd->uri,
                       least, most);
    nbd->source.size = (uint64_t)size;
    nbd->source.alignment = (uint32_t)MAX(least, DISK_SECTOR);
    nbd->has_extents = nbd_can_meta_context(nbd->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
    return 0;
}

static int
make_poll_fd(struct nbd_source *nbd, struct err **err)
{
    nbd->nbd_fd = nbd_aio_get_fd(nbd->nbd);
    nbd->epoll_events = EPOLLIN;
    nbd->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    nbd->source.poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(nbd->source.poll_fd, EPOLL_CTL_ADD, nbd->nbd_fd,
                  &(struct epoll_event){.events = EPOLLIN}) < 0 ||
        epoll_ctl(nbd->source.poll_fd, EPOLL_CTL_ADD, nbd->event_fd,
                  &(struct epoll_event){.events = EPOLLIN}) < 0)
        return err_set_errno(err, E_IO, errno, "epoll");
    return 0;
}

int
source_nbd_open(const char *uri, unsigned queue_depth, struct disk_source **ret_source,
                struct err **err)
{
    CLEANUP(nbd_source_freep) struct nbd_source *nbd = xcalloc(1, sizeof(*nbd));

    nbd->source.ops = &nbd_source_ops;
    nbd->source.poll_fd = nbd->event_fd = -1;
    nbd->source.max_in_flight = queue_depth ? queue_depth : DEFAULT_QUEUE_DEPTH;
    nbd->finished_tail = &nbd->finished;
    nbd->uri = xstrdup(uri);
    nbd->nbd = nbd_create();
    if (!nbd->nbd)
        return fail_nbd(nbd, E_MEMORY, "libnbd", err);
    if (connect_to(nbd, err) < 0 || learn_export(nbd, err) < 0 || make_poll_fd(nbd, err) < 0)
        return -1;
    *ret_source = &take(nbd)->source;
    return 0;
}
