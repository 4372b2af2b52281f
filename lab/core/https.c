/* The lab's HTTP(S) server.
 *
 * One thread a connection, not a pool: handlers wait on purpose (delay faults, a disk that is being
 * read, an update that comes later), and in libmicrohttpd's pool a waiting handler holds up every
 * other connection that fell to the same thread. */
#include "core/https.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include <microhttpd.h>

#include "base/err.h"
#include "base/util.h"
#include "base/vec.h"

#define MAX_BODY        (8U * 1024 * 1024)
#define MAX_PARAMS      2000
#define MAX_CONNECTIONS 512
#define IDLE_S          300

struct param {
    char *name, *value;
};

struct header {
    char *name, *value;
};

struct lab_exchange {
    struct MHD_Connection *connection;
    const char *method;
    char *path;  /* decoded */
    char *query; /* as sent */
    struct str body;
    VEC_DECLARE(, struct param)
    params;
    VEC_DECLARE(, struct header)
    answer_headers;
    unsigned status; /* 0: no answer set */
    char *content_type, *answer;
    size_t answer_length;
    bool is_dropped, has_begun;
};

struct lab_https {
    struct MHD_Daemon *daemon;
    lab_https_handler handler;
    void *opaque;
    char *cert_pem, *key_pem;
    unsigned port;
};

/* ---- decoding --------------------------------------------------------------------------------- */

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent decoding; a stray '%' stays as it is.  NUL bytes are dropped: values are C strings. */
static char *
decode(const char *text, size_t length, bool is_plus_space)
{
    char *out = xcalloc(length + 1, 1);
    size_t at = 0;

    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if (c == '+' && is_plus_space) {
            c = ' ';
        } else if (c == '%' && i + 2 < length && hex_digit(text[i + 1]) >= 0 &&
                   hex_digit(text[i + 2]) >= 0) {
            c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        }
        if (c)
            out[at++] = c;
    }
    return out;
}

static void
add_params(struct lab_exchange *x, const char *form, size_t length)
{
    const char *end = form + length;

    while (form < end && x->params.count < MAX_PARAMS) {
        const char *stop = memchr(form, '&', (size_t)(end - form));
        const char *equals;
        struct param param;

        if (!stop)
            stop = end;
        equals = memchr(form, '=', (size_t)(stop - form));
        if (stop > form) {
            param.name = decode(form, (size_t)((equals ? equals : stop) - form), true);
            param.value =
                equals ? decode(equals + 1, (size_t)(stop - equals - 1), true) : xstrdup("");
            vec_push(&x->params, param);
        }
        form = stop + 1;
    }
}

/* ---- what handlers see ------------------------------------------------------------------------ */

const char *
lab_exchange_method(const struct lab_exchange *x)
{
    return x->method;
}

const char *
lab_exchange_path(const struct lab_exchange *x)
{
    return x->path;
}

const char *
lab_exchange_query_raw(const struct lab_exchange *x)
{
    return x->query;
}

const char *
lab_exchange_header(const struct lab_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *
lab_exchange_body(const struct lab_exchange *x, size_t *ret_length)
{
    if (ret_length)
        *ret_length = x->body.length;
    return str_text(&x->body);
}

const char *
lab_exchange_param(const struct lab_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->params.count; i++)
        if (!strcmp(x->params.items[i].name, name))
            return x->params.items[i].value;
    return NULL;
}

void
lab_exchange_each_param(const struct lab_exchange *x,
                        void (*fn)(void *opaque, const char *name, const char *value), void *opaque)
{
    for (size_t i = 0; i < x->params.count; i++)
        fn(opaque, x->params.items[i].name, x->params.items[i].value);
}

void
lab_exchange_answer_header(struct lab_exchange *x, const char *name, const char *value)
{
    struct header header = {xstrdup(name), xstrdup(value)};

    vec_push(&x->answer_headers, header);
}

void
lab_exchange_answer(struct lab_exchange *x, unsigned status, const char *content_type,
                    const void *body, size_t length)
{
    free(x->answer);
    free(x->content_type);
    x->status = status;
    x->content_type = xstrdup(content_type);
    x->answer = xcalloc(length + 1, 1);
    x->answer_length = length;
    if (length)
        memcpy(x->answer, body, length);
}

void
lab_exchange_drop(struct lab_exchange *x)
{
    x->is_dropped = true;
}

/* ---- libmicrohttpd ---------------------------------------------------------------------------- */

static void
exchange_free(struct lab_exchange *x)
{
    if (!x)
        return;
    for (size_t i = 0; i < x->params.count; i++) {
        free(x->params.items[i].name);
        free(x->params.items[i].value);
    }
    vec_done(&x->params);
    for (size_t i = 0; i < x->answer_headers.count; i++) {
        free(x->answer_headers.items[i].name);
        free(x->answer_headers.items[i].value);
    }
    vec_done(&x->answer_headers);
    str_done(&x->body);
    free(x->path);
    free(x->query);
    free(x->content_type);
    free(x->answer);
    free(x);
}

/* The only place where libmicrohttpd shows the target as it was sent. */
static void *
on_uri(void *opaque, const char *uri, struct MHD_Connection *connection)
{
    struct lab_exchange *x = xcalloc(1, sizeof(*x));
    const char *mark = strchr(uri, '?');

    x->connection = connection;
    x->body = STR_INIT(MAX_BODY);
    x->path = decode(uri, mark ? (size_t)(mark - uri) : strlen(uri), false);
    x->query = xstrdup(mark ? mark + 1 : "");
    add_params(x, x->query, strlen(x->query));
    return x;
}

static void
on_completed(void *opaque, struct MHD_Connection *connection, void **slot,
             enum MHD_RequestTerminationCode why)
{
    exchange_free(*slot);
    *slot = NULL;
}

static enum MHD_Result
queue_answer(struct lab_exchange *x)
{
    struct MHD_Response *response;
    enum MHD_Result result;

    if (x->status == 0)
        lab_exchange_answer(x, 500, "text/plain", "no answer\n", 10);
    response = MHD_create_response_from_buffer(x->answer_length, x->answer, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    if (x->content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, x->content_type);
    for (size_t i = 0; i < x->answer_headers.count; i++)
        (void)MHD_add_response_header(response, x->answer_headers.items[i].name,
                                      x->answer_headers.items[i].value);
    result = MHD_queue_response(x->connection, x->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
on_access(void *opaque, struct MHD_Connection *connection, const char *url, const char *method,
          const char *version, const char *upload, size_t *upload_length, void **slot)
{
    struct lab_https *server = opaque;
    struct lab_exchange *x = *slot;
    const char *type;

    x->connection = connection;
    x->method = method;
    if (!x->has_begun) {
        x->has_begun = true;
        return MHD_YES;
    }
    if (*upload_length) {
        str_append_bytes(&x->body, upload, *upload_length);
        *upload_length = 0;
        return MHD_YES;
    }
    if (x->body.is_over) {
        lab_exchange_answer(x, 413, "text/plain", "the body is too large\n", 22);
        return queue_answer(x);
    }
    type = lab_exchange_header(x, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (type && !strncasecmp(type, "application/x-www-form-urlencoded", 33))
        add_params(x, str_text(&x->body), x->body.length);
    server->handler(server->opaque, x);
    if (x->is_dropped)
        return MHD_NO;
    return queue_answer(x);
}

int
lab_https_start(const struct lab_certificate *certificate, unsigned port, lab_https_handler handler,
                void *opaque, struct lab_https **ret, struct err **err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
    struct lab_https *server = xcalloc(1, sizeof(*server));
    struct MHD_OptionItem options[4] = {0};
    const union MHD_DaemonInfo *info;

    /* GnuTLS writes to its sockets without MSG_NOSIGNAL. */
    (void)signal(SIGPIPE, SIG_IGN);
    server->handler = handler;
    server->opaque = opaque;
    if (certificate) {
        flags |= MHD_USE_TLS;
        server->cert_pem = xstrdup(certificate->cert_pem);
        server->key_pem = xstrdup(certificate->key_pem);
        options[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, server->cert_pem};
        options[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, server->key_pem};
        options[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    } else {
        options[0] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    server->daemon = MHD_start_daemon(
        flags, (uint16_t)port, NULL, NULL, on_access, server, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        server, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)MAX_CONNECTIONS, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    info = server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info) {
        lab_https_stop(server);
        return err_set(err, E_NET, "cannot listen on 127.0.0.1 port %u", port);
    }
    server->port = info->port;
    *ret = server;
    return 0;
}

unsigned
lab_https_port(const struct lab_https *server)
{
    return server->port;
}

void
lab_https_stop(struct lab_https *server)
{
    if (!server)
        return;
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    free(server->cert_pem);
    free(server->key_pem);
    free(server);
}
