/* A disk read over NBD with libnbd.
 *
 * Many servers give a connection no more than so much (a limit of theirs, one thread, one TCP stream),
 * and others are only slowed by a second one.  So a copy begins with one connection, and where the
 * server has no objection another is tried, and kept if clearly more comes through (base/climb.h).
 * poll_fd is an epoll fd over all of them, and over an eventfd for reads that finish while something
 * else is waited for. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/climb.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "source/nbd_connection.h"
#include "source/source.h"

#define DEFAULT_QUEUE_DEPTH 16
#define DEFAULT_CONNECTIONS 4U
#define MAX_CONNECTIONS     16U
#define CONNECT_TIMEOUT_MS  30000
#define ANOTHER_TIMEOUT_MS  5000 /* to connect once more, beside a copy */
#define EXTENTS_TIMEOUT_MS  60000
#define CLOSE_TIMEOUT_MS    10000
#define EXTENTS_WINDOW      (1U << 30)

struct nbd_source {
    struct disk_source source;
    struct nbd_connection connections[MAX_CONNECTIONS]; /* the first one is always there */
    struct climb climb;                                 /* how many of them are used */
    unsigned turn;                                      /* whose it is to be looked at first */
    char *uri;
    int event_fd;
    bool has_extents;
    struct disk_request *in_flight;                 /* their impl: the connection */
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
    ((struct nbd_connection *)request->impl)->in_flight--;
    request->impl = error;
    *nbd->finished_tail = request;
    nbd->finished_tail = &request->next;
}

/* What comes through while a connection is still being made says nothing of it. */
static bool
is_measured(const struct nbd_source *nbd)
{
    for (unsigned i = 0; i < nbd->climb.count; i++)
        if (!nbd_connection_is_ready(&nbd->connections[i]))
            return false;
    return true;
}

static unsigned
deliver(struct nbd_source *nbd)
{
    bool is_counted = is_measured(nbd);
    unsigned count = 0;

    while (nbd->finished) {
        struct disk_request *request = nbd->finished;

        nbd->finished = request->next;
        if (!nbd->finished)
            nbd->finished_tail = &nbd->finished;
        request->next = NULL;
        count++;
        if (is_counted && !request->impl)
            (void)climb_note(&nbd->climb, request->length, clock_monotonic_ms());
        request->done(request, take(request->impl));
    }
    return count;
}

/* Called by libnbd from inside one of our calls; no call of libnbd may be made here. */
static int
on_read_done(void *opaque, int *error)
{
    struct disk_request *request = opaque;
    struct nbd_connection *connection = request->impl;
    struct nbd_source *nbd = connection->opaque;
    struct err *err = NULL;
    char text[128];

    if (*error)
        err_set(&err, E_SOURCE_READ, "%s: read at %" PRIu64 ": %s", nbd->uri, request->offset,
                strerror_r(*error, text, sizeof(text)));
    finish(nbd, request, err);
    return 1; /* the command is forgotten by libnbd */
}

/* ---- connections ------------------------------------------------------------------------------- */

/* The ones that reads go to are the first `count`, as far as they are ready. */
static struct nbd_connection *
least_busy(struct nbd_source *nbd)
{
    struct nbd_connection *best = NULL;

    for (unsigned i = 0; i < nbd->climb.count; i++) {
        struct nbd_connection *c = &nbd->connections[i];

        if (nbd_connection_is_ready(c) && (!best || c->in_flight < best->in_flight))
            best = c;
    }
    return best;
}

/* One more of them, while reads go on.  It counts when it is ready. */
static void
connect_another(struct nbd_source *nbd, struct nbd_connection *c, int64_t now_ms)
{
    c->deadline_ms = now_ms + ANOTHER_TIMEOUT_MS;
    if (nbd_connection_start(c, NULL) < 0)
        climb_refuse(&nbd->climb, now_ms);
    else
        log_debug("%s: trying %u connections", nbd->uri, nbd->climb.count);
}

/* What was promised before, it must keep to. */
static bool
is_same_export(const struct nbd_source *nbd, const struct nbd_connection *c)
{
    return nbd_get_size(c->nbd) == (int64_t)nbd->source.size;
}

/* Whether one that is wanted has not come about, or is gone without having been missed. */
static bool
has_failed(const struct nbd_source *nbd, const struct nbd_connection *c, int64_t now_ms)
{
    if (nbd_connection_is_lost(c))
        return c->in_flight == 0;
    if (nbd_connection_is_ready(c))
        return !is_same_export(nbd, c);
    return now_ms >= c->deadline_ms;
}

/* Makes those that are there those that are wanted. */
static void
arrange_connections(struct nbd_source *nbd)
{
    int64_t now_ms = clock_monotonic_ms();

    for (unsigned i = 1; i < nbd->climb.count; i++) {
        struct nbd_connection *c = &nbd->connections[i];

        if (!c->nbd) {
            connect_another(nbd, c, now_ms);
        } else if (has_failed(nbd, c, now_ms)) {
            nbd_connection_close(c);
            climb_refuse(&nbd->climb, now_ms);
        }
    }
    for (unsigned i = nbd->climb.count; i < MAX_CONNECTIONS; i++)
        if (nbd->connections[i].nbd && !nbd->connections[i].in_flight)
            nbd_connection_close(&nbd->connections[i]);
}

/* Whether one that reads went to is gone: the server or the way to it is, and a copy is begun anew. */
static bool
is_lost(const struct nbd_source *nbd)
{
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        const struct nbd_connection *c = &nbd->connections[i];

        if ((i == 0 || c->in_flight) && nbd_connection_is_lost(c))
            return true;
    }
    return false;
}

/* Once all connections are closed libnbd touches no slot any more, and what was in flight may be given
 * back. */
static void
abandon(struct nbd_source *nbd, enum err_code code, const char *why)
{
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        nbd_connection_close(&nbd->connections[i]);
    while (nbd->in_flight) {
        struct err *err = NULL;

        err_set(&err, code, "%s: read at %" PRIu64 ": %s", nbd->uri, nbd->in_flight->offset, why);
        finish(nbd, nbd->in_flight, err);
    }
}

/* After every call of libnbd: poll_fd must be readable when there is something to do. */
static void
update_poll(struct nbd_source *nbd)
{
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        if (nbd->connections[i].nbd)
            nbd_connection_update(&nbd->connections[i]);
    if (is_lost(nbd))
        abandon(nbd, E_SOURCE_READ, "the connection is lost");
    if (nbd->finished)
        (void)!write(nbd->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* ---- the source -------------------------------------------------------------------------------- */

static int
nbd_source_read(struct disk_source *source, struct disk_request *request, struct err **err)
{
    struct nbd_source *nbd = of_source(source);
    struct nbd_connection *c;
    int64_t cookie;

    if (request->length == 0 || request->length > DISK_MAX_REQUEST ||
        request->length % DISK_SECTOR || request->offset % DISK_SECTOR ||
        request->offset > source->size || request->length > source->size - request->offset)
        return err_set(err, E_BUG, "a read of %" PRIu32 " bytes at %" PRIu64 " of %" PRIu64,
                       request->length, request->offset, source->size);
    c = is_lost(nbd) ? NULL : least_busy(nbd);
    if (!c)
        return err_set(err, E_SOURCE_READ, "%s: the connection is lost", nbd->uri);
    request->impl = c;
    request->next = nbd->in_flight;
    nbd->in_flight = request;
    c->in_flight++;
    cookie =
        nbd_aio_pread(c->nbd, request->slot->data, request->length, request->offset,
                      (nbd_completion_callback){.callback = on_read_done, .user_data = request}, 0);
    /* It may have completed (with an error) on its way: then it is delivered as any other. */
    if (cookie < 0 && nbd->in_flight == request) {
        nbd->in_flight = request->next;
        request->impl = request->next = NULL;
        c->in_flight--;
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

/* What has come is passed on while it is warm, before more is taken. */
static void
take_in_turn(struct nbd_source *nbd)
{
    for (unsigned i = 0; i < MAX_CONNECTIONS && !nbd->finished; i++) {
        nbd->turn = (nbd->turn + 1) % MAX_CONNECTIONS;
        while (!nbd->finished && nbd_connection_step(&nbd->connections[nbd->turn]))
            ;
    }
}

static int
nbd_source_reap(struct disk_source *source, unsigned *ret_count, struct err **err)
{
    struct nbd_source *nbd = of_source(source);
    uint64_t count;

    (void)!read(nbd->event_fd, &count, sizeof(count));
    take_in_turn(nbd);
    update_poll(nbd);
    (void)!read(nbd->event_fd, &count, sizeof(count));
    *ret_count = deliver(nbd);
    arrange_connections(nbd);
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
            nbd->connections[0].nbd, MIN(EXTENTS_WINDOW, query->end - query->offset), query->offset,
            (nbd_extent_callback){.callback = on_extent, .user_data = query},
            (nbd_completion_callback){.callback = on_query_done, .user_data = query}, 0) < 0)
        return false;
    while (!query->is_done) {
        int64_t left = deadline_ms - clock_monotonic_ms();

        /* libnbd still holds a pointer to the query, so there is no way out but the connection's. */
        if (left <= 0 || nbd_poll(nbd->connections[0].nbd, (int)left) < 0) {
            nbd_connection_close(&nbd->connections[0]);
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
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        nbd_connection_close(&nbd->connections[i]);
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

    while (nbd->in_flight) {
        struct pollfd fd = {.fd = source->poll_fd, .events = POLLIN};
        int64_t left = deadline_ms - clock_monotonic_ms();

        if (left <= 0)
            break;
        (void)poll(&fd, 1, (int)left);
        (void)!read(nbd->event_fd, &(uint64_t){0}, sizeof(uint64_t));
        for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
            (void)nbd_connection_step(&nbd->connections[i]);
        update_poll(nbd);
    }
    abandon(nbd, E_CANCELLED, "the source is being closed");
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
learn_export(struct nbd_source *nbd, struct err **err)
{
    struct nbd_handle *handle = nbd->connections[0].nbd;
    int64_t size = nbd_get_size(handle);
    int64_t least = nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM);
    int64_t most = nbd_get_block_size(handle, LIBNBD_SIZE_MAXIMUM);

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
    nbd->has_extents = nbd_can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
    return 0;
}

static int
make_poll_fd(struct nbd_source *nbd, struct err **err)
{
    nbd->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    nbd->source.poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(nbd->source.poll_fd, EPOLL_CTL_ADD, nbd->event_fd,
                  &(struct epoll_event){.events = EPOLLIN}) < 0)
        return err_set_errno(err, E_IO, errno, "epoll");
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        nbd->connections[i] = (struct nbd_connection){
            .uri = nbd->uri, .epoll_fd = nbd->source.poll_fd, .fd = -1, .opaque = nbd};
    return 0;
}

/* A server that does not say that several connections see the same disk gets one. */
static void
plan_connections(struct nbd_source *nbd, unsigned wished)
{
    unsigned most = MIN(wished ? wished : DEFAULT_CONNECTIONS, MAX_CONNECTIONS);

    if (nbd_can_multi_conn(nbd->connections[0].nbd) != 1)
        most = 1;
    climb_init(&nbd->climb, 1, 1, MIN(most, nbd->source.max_in_flight), clock_monotonic_ms());
}

int
source_nbd_open_with(const struct source_nbd_options *options, struct disk_source **ret_source,
                     struct err **err)
{
    CLEANUP(nbd_source_freep) struct nbd_source *nbd = xcalloc(1, sizeof(*nbd));

    nbd->source.ops = &nbd_source_ops;
    nbd->source.poll_fd = nbd->event_fd = -1;
    nbd->source.max_in_flight = options->queue_depth ? options->queue_depth : DEFAULT_QUEUE_DEPTH;
    nbd->finished_tail = &nbd->finished;
    nbd->uri = xstrdup(options->uri);
    if (make_poll_fd(nbd, err) < 0 || nbd_connection_start(&nbd->connections[0], err) < 0 ||
        nbd_connection_wait(&nbd->connections[0], CONNECT_TIMEOUT_MS, err) < 0 ||
        learn_export(nbd, err) < 0)
        return -1;
    plan_connections(nbd, options->connections);
    *ret_source = &take(nbd)->source;
    return 0;
}

int
source_nbd_open(const char *uri, unsigned queue_depth, struct disk_source **ret_source,
                struct err **err)
{
    const struct source_nbd_options options = {.uri = uri, .queue_depth = queue_depth};

    return source_nbd_open_with(&options, ret_source, err);
}

unsigned
source_nbd_connections(const struct disk_source *source)
{
    return of_source(source)->climb.count;
}
