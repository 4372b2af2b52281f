/* The body of a request: nothing of it is kept before whoever sends it may do what they ask for.
 *
 * libmicrohttpd's thread has all of this, but for the question who sends it, which a lane answers: meanwhile the
 * connection is suspended, with what has come of the body in its own bounded buffer.  What nobody wants is read and
 * dropped, so that the answer reaches a client that sends before it listens. */
#include <inttypes.h>
#include <string.h>

#include "api/internal.h"

#define MAX_OPEN_BODY 4096U                 /* from anybody: a name and a password */
#define MAX_BODIES    (64U * 1024 * 1024)   /* of all requests at once */
#define MAX_DROPPED   (16ULL * 1024 * 1024) /* of one request */

void
body_done(struct request *r)
{
    if (r->api)
        r->api->body_bytes -= r->body.room;
    str_done(&r->body);
}

static void
refuse(struct request *r, unsigned status, const char *why)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    body_done(r);
    err_set(&failure, E_REQUEST, "%s", why);
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        answer_header(r, "Retry-After", "5");
    answer_error(r, status, failure);
    r->gate = GATE_CLOSED;
}

static void
refuse_large(struct request *r)
{
    CLEANUP(free_charp) char *why = xasprintf("the body is larger than %zu bytes", r->body.max);

    refuse(r, API_TOO_LARGE, why);
}

/* True: a lane has it now, and it comes again; nothing of it is ours meanwhile. */
static bool
come_to_gate(struct request *r)
{
    const char *length = pairs_get(&r->headers, "Content-Length");

    r->gate = GATE_CLOSED;
    if (!strcmp(r->method, "OPTIONS") || !route_find(r))
        return false;
    r->body.max = r->route->role == ROLE_NONE ? MAX_OPEN_BODY : API_MAX_BODY;
    if (length && strtoull(length, NULL, 10) > r->body.max) {
        refuse_large(r);
        return false;
    }
    if (r->route->role == ROLE_NONE) {
        r->gate = GATE_OPEN;
        return false;
    }
    r->gate = GATE_ASKING;
    MHD_suspend_connection(r->connection);
    lanes_push(r->api->lanes, r);
    return true;
}

static void
keep(struct request *r, const char *data, size_t size)
{
    size_t before = r->body.room;

    str_append_bytes(&r->body, data, size);
    r->api->body_bytes += r->body.room - before;
    if (r->body.is_over)
        refuse_large(r);
    else if (r->api->body_bytes > MAX_BODIES)
        refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE,
               "the service is busy: other requests are too large");
}

bool
body_take(struct request *r, const char *data, size_t *size)
{
    if (r->gate == GATE_NEW && come_to_gate(r))
        return true;
    if (r->gate == GATE_OPEN)
        keep(r, data, *size);
    else
        r->dropped += *size;
    *size = 0;
    return r->dropped <= MAX_DROPPED;
}

void
body_admit(struct request *r)
{
    r->gate = route_admit(r) ? GATE_OPEN : GATE_CLOSED;
}
