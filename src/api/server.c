/* Sockets, TLS and the life of a request, on libmicrohttpd: one thread has all connections, and suspends a
 * request's while another thread (lanes.c) answers it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>

#include "api/internal.h"
#include "api/webhooks.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define MAX_CONNECTIONS    4096
#define CONNECTION_MEMORY  (64U * 1024) /* bounds request line and headers, and so their number */
#define CONNECTION_SECONDS 60
#define STEP_MS            500

/* ---- a request --------------------------------------------------------------------------------- */

static void
request_free(struct request *r)
{
    free(r->method);
    free(r->path);
    pairs_done(&r->headers);
    pairs_done(&r->query);
    pairs_done(&r->answer_headers);
    body_done(r);
    for (size_t i = 0; i < MAX_PATH_PARTS; i++)
        free(r->parts[i]);
    caller_done(&r->caller);
    free(r->answer);
    free(r);
}

/* The raw target: what comes with it decoded cannot tell a slash in a name from one between names. */
static void *
on_uri(void *opaque, const char *uri, struct MHD_Connection *connection)
{
    struct request *r = xcalloc(1, sizeof(*r));

    r->api = opaque;
    r->connection = connection;
    r->path = strndup(uri, strcspn(uri, "?"));
    return r;
}

/* All of them: a proxy's X-Forwarded-For stands last, behind whatever the client has sent. */
static enum MHD_Result
take_pair(void *opaque, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct pairs *pairs = opaque;

    vec_push(pairs, ((struct pair){xstrdup(name), xstrdup(value ? value : "")}));
    return MHD_YES;
}

static void
take_address(struct request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    socklen_t length = address && address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                 : sizeof(struct sockaddr_in);
    struct ip ip;

    if (!address ||
        getnameinfo(address, length, r->address, sizeof(r->address), NULL, 0, NI_NUMERICHOST) != 0)
        snprintf(r->address, sizeof(r->address), "unknown");
    if (ip_parse(r->address, &ip))
        ip_format(&ip, r->address); /* IPv4 may have come in as IPv6 */
    client_address(&r->headers, r->api->options.trusted_proxies, r->address);
}

/* ---- the answer -------------------------------------------------------------------------------- */

static bool
is_in_list(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (list && *list) {
        size_t n;

        list += strspn(list, ", ");
        n = strcspn(list, ", ");
        if (n == length && !strncasecmp(list, word, n))
            return true;
        list += n;
    }
    return false;
}

static void
add_cors(const struct request *r, struct MHD_Response *response)
{
    const char *origin = pairs_get(&r->headers, "Origin");
    const char *allowed = r->api->options.allow_origins;

    (void)MHD_add_response_header(response, "Vary", "Origin");
    if (!origin || !allowed)
        return;
    if (is_in_list(allowed, origin)) {
        (void)MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
        (void)MHD_add_response_header(response, "Access-Control-Allow-Credentials", "true");
    } else if (is_in_list(allowed, "*")) {
        /* No cookies: only who has a token can do anything. */
        (void)MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    } else {
        return;
    }
    (void)MHD_add_response_header(response, "Access-Control-Allow-Methods",
                                  "GET,POST,PUT,PATCH,DELETE,OPTIONS");
    (void)MHD_add_response_header(
        response, "Access-Control-Allow-Headers",
        "Content-Type, Authorization, X-CSRF-Token, Last-Event-ID, X-VCenter-Host, X-VCenter-User, "
        "X-VCenter-Password, X-VCenter-Port, X-VCenter-Verify-SSL, X-CloudStack-Endpoint, "
        "X-CloudStack-API-Key, X-CloudStack-Secret-Key, X-CloudStack-Timeout-Seconds");
}

static void
add_security(const struct request *r, struct MHD_Response *response)
{
    const char *ancestors = r->api->options.frame_ancestors, *other = r->api->options.ui_for;
    CLEANUP(free_charp)
    char *policy =
        xasprintf("default-src 'self'; connect-src 'self' %s; style-src 'self' 'unsafe-inline'; "
                  "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
                  "frame-ancestors %s",
                  other ? other : "", ancestors && *ancestors ? ancestors : "'none'");

    if (!pairs_get(&r->answer_headers, "Content-Security-Policy"))
        (void)MHD_add_response_header(response, "Content-Security-Policy", policy);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    if (!ancestors || !*ancestors)
        (void)MHD_add_response_header(response, "X-Frame-Options", "DENY");
}

static struct MHD_Response *
make_response(struct request *r)
{
    struct MHD_Response *response;

    if (r->is_stream)
        return hub_subscribe(r->api->hub, r);
    if (r->borrowed)
        response = MHD_create_response_from_buffer(r->answer_length, (void *)(uintptr_t)r->borrowed,
                                                   MHD_RESPMEM_PERSISTENT);
    else
        response = MHD_create_response_from_buffer(r->answer_length, take(r->answer),
                                                   MHD_RESPMEM_MUST_FREE);
    if (response && r->type)
        (void)MHD_add_response_header(response, "Content-Type", r->type);
    if (response && r->encoding)
        (void)MHD_add_response_header(response, "Content-Encoding", r->encoding);
    return response;
}

static enum MHD_Result
send_answer(struct request *r)
{
    struct MHD_Response *response = make_response(r);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    add_cors(r, response);
    add_security(r, response);
    if (!pairs_get(&r->answer_headers, "Cache-Control"))
        (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    for (size_t i = 0; i < r->answer_headers.count; i++)
        (void)MHD_add_response_header(response, r->answer_headers.items[i].name,
                                      r->answer_headers.items[i].value);
    result = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- libmicrohttpd's calls ----------------------------------------------------------------------- */

static void
begin(struct request *r, const char *method)
{
    r->method = xstrdup(!strcmp(method, "HEAD") ? "GET" : method);
    (void)MHD_get_connection_values(r->connection, MHD_HEADER_KIND, take_pair, &r->headers);
    (void)MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, take_pair, &r->query);
    take_address(r);
}

static void
answer_or_push(struct request *r)
{
    if (!strcmp(r->method, "OPTIONS")) {
        (void)answer_nothing(r);
    } else if (r->route || route_find(r)) {
        r->is_suspended = true;
        MHD_suspend_connection(r->connection);
        lanes_push(r->api->lanes, r);
    }
}

static enum MHD_Result
on_request(void *opaque, struct MHD_Connection *connection, const char *url, const char *method,
           const char *version, const char *upload_data, size_t *upload_data_size, void **con_cls)
{
    struct request *r = *con_cls;

    if (!r)
        return MHD_NO;
    if (!r->method) {
        begin(r, method);
        return MHD_YES;
    }
    if (*upload_data_size)
        return body_take(r, upload_data, upload_data_size) ? MHD_YES : MHD_NO;
    if (!r->is_answered && !r->is_suspended) {
        answer_or_push(r);
        if (!r->is_answered)
            return MHD_YES;
        if (r->is_suspended)
            return MHD_YES; /* refused by a full lane, and resumed: it comes again */
    }
    return r->is_answered ? send_answer(r) : MHD_YES;
}

static void
on_completed(void *opaque, struct MHD_Connection *connection, void **con_cls,
             enum MHD_RequestTerminationCode code)
{
    if (*con_cls)
        request_free(*con_cls);
    *con_cls = NULL;
}

static void
on_log(void *opaque, const char *format, va_list args)
{
    char text[512];

    (void)vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("libmicrohttpd: %s", text);
}

/* ---- listening --------------------------------------------------------------------------------- */

struct listen_address {
    struct sockaddr_storage address;
    bool is_local; /* only this host reaches it */
    bool is_any;
    char host[256];
};

static int
parse_listen(const char *text, struct listen_address *ret, struct err **err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(text, ':');
    CLEANUP(free_charp) char *host = colon ? strndup(text, (size_t)(colon - text)) : NULL;
    size_t length = host ? strlen(host) : 0;
    int rc;

    if (!colon)
        return err_set(err, E_LISTEN, "%s: expected ADDRESS:PORT or :PORT", text);
    if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = '\0';
    }
    ret->is_any = !*host || !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
    rc = getaddrinfo(*host ? host : "::", colon + 1, &hints, &found);
    if (rc != 0 || found->ai_addrlen > sizeof(ret->address)) {
        err_set(err, E_LISTEN, "%s: %s", text, gai_strerror(rc));
        return err_hint(err, "expected ADDRESS:PORT, with an IPv6 address in brackets, or :PORT");
    }
    memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (ret->address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&ret->address;

        ret->is_local = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&ret->address;

        ret->is_local = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    snprintf(ret->host, sizeof(ret->host), "%s", ret->is_any ? "localhost" : host);
    return 0;
}

static int
read_pem(const char *path, char **ret, struct err **err)
{
    size_t length;

    return file_read(path, 256 * KIB, ret, &length, err);
}

static int
load_tls(struct api *api, struct err **err)
{
    const struct api_options *o = &api->options;

    if (!o->tls_cert != !o->tls_key)
        return err_set(err, E_LISTEN, "--tls-cert and --tls-key are given together, or neither");
    if (!o->tls_cert)
        return crypto_self_signed(o->control_dir, &api->tls_cert, &api->tls_key, err);
    if (read_pem(o->tls_cert, &api->tls_cert, err) < 0 ||
        read_pem(o->tls_key, &api->tls_key, err) < 0)
        return err_wrap(err, "the TLS certificate");
    return 0;
}

static struct MHD_Daemon *
start_daemon(struct api *api, const struct listen_address *at)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, api->tls_cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, api->tls_key},
        {MHD_OPTION_END, 0, NULL},
    };

    if (api->is_tls)
        flags |= MHD_USE_TLS;
    else
        tls[0].option = MHD_OPTION_END;
    if (at->address.ss_family == AF_INET6)
        flags |= at->is_any ? MHD_USE_DUAL_STACK : MHD_USE_IPv6;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_SOCK_ADDR, &at->address, MHD_OPTION_URI_LOG_CALLBACK, on_uri, api,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_SECONDS,
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

void
api_resume(struct api *api, struct MHD_Connection *connection)
{
    uint64_t one = 1;

    MHD_resume_connection(connection);
    if (write(api->resumed_fd, &one, sizeof(one)) < 0)
        log_debug("the thread of connections has been woken already");
}

/* Until a socket is ready, a connection was resumed, or libmicrohttpd wants to look. */
static void
wait_for_http(struct api *api, int epoll_fd)
{
    struct pollfd fds[] = {{.fd = epoll_fd, .events = POLLIN},
                           {.fd = api->resumed_fd, .events = POLLIN}};
    MHD_UNSIGNED_LONG_LONG wanted = STEP_MS;
    uint64_t count;

    if (MHD_get_timeout(api->daemon, &wanted) != MHD_YES)
        wanted = STEP_MS;
    (void)poll(fds, ARRAY_SIZE(fds), (int)MIN(wanted, (MHD_UNSIGNED_LONG_LONG)STEP_MS));
    if (fds[1].revents && read(api->resumed_fd, &count, sizeof(count)) < 0)
        log_debug("another has read it");
}

/* A thread of our own runs libmicrohttpd, so that it can be seen to get on.  Without one of its own it is not woken
 * by MHD_resume_connection: hence resumed_fd. */
static void *
run_http(void *opaque)
{
    struct api *api = opaque;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int epoll_fd = info ? info->epoll_fd : -1;

    thread_answers_first("v2c-http");
    while (!api->is_stopping) {
        api->beat_ms = clock_monotonic_ms();
        (void)MHD_run(api->daemon);
        wait_for_http(api, epoll_fd);
    }
    return NULL;
}

bool
api_is_alive(struct api *api, int64_t within_ms)
{
    int64_t since = clock_monotonic_ms() - within_ms;

    return api->beat_ms >= since && hub_beat_ms(api->hub) >= since &&
           lanes_are_alive(api->lanes, within_ms);
}

static int
start_listening(struct api *api, struct err **err)
{
    struct listen_address at = {0};
    const union MHD_DaemonInfo *info;

    if (parse_listen(api->options.listen, &at, err) < 0)
        return -1;
    api->is_tls = (!at.is_local && !api->options.is_insecure) || api->options.tls_cert;
    if (api->is_tls && load_tls(api, err) < 0)
        return -1;
    errno = 0;
    api->daemon = start_daemon(api, &at);
    if (!api->daemon) {
        err_set(err, E_LISTEN, "cannot listen on %s%s%s", api->options.listen, errno ? ": " : "",
                errno ? strerror(errno) : "");
        return err_hint(err, api->is_tls
                                 ? "is the port free, and do certificate and key fit together?"
                                 : "is the port free, and the address this host's?");
    }
    info = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_BIND_PORT);
    api->port = info ? info->port : 0;
    api->address = xasprintf(strchr(at.host, ':') ? "%s://[%s]:%u" : "%s://%s:%u",
                             api->is_tls ? "https" : "http", at.host, api->port);
    if (!at.is_local && !api->is_tls)
        log_warning("passwords and tokens go over the network as they are: %s is not only this "
                    "host's, and --insecure-http was given",
                    api->options.listen);
    return 0;
}

static int
start_thread(struct api *api, struct err **err)
{
    int errnum;

    if (api->resumed_fd < 0)
        return err_set_errno(err, E_MEMORY, errno, "eventfd");
    api->beat_ms = clock_monotonic_ms();
    errnum = pthread_create(&api->thread, NULL, run_http, api);
    if (errnum)
        return err_set_errno(err, E_MEMORY, errnum, "starting a thread");
    api->is_started = true;
    return 0;
}

int
api_start(const struct api_options *options, struct api **ret_api, struct err **err)
{
    struct api *api = xcalloc(1, sizeof(*api));

    api->options = *options;
    api->resumed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    api->guard = guard_new();
    api->hub = hub_new(api);
    api->assets = assets_load(options->ui_dir, options->ui_for);
    if (!options->ui_for && (crypto_load_key(options->control_dir, api->key, err) < 0 ||
                             lanes_start(api, &api->lanes, err) < 0)) {
        api_stop(api);
        return -1;
    }
    if (start_listening(api, err) < 0 || start_thread(api, err) < 0) {
        api_stop(api);
        return -1;
    }
    if (!options->ui_for)
        hub_start(api->hub);
    *ret_api = api;
    return 0;
}

int
api_begin(struct api *api, struct err **err)
{
    return hooks_start(api, &api->hooks, err);
}

void
api_stop(struct api *api)
{
    if (!api)
        return;
    if (api->daemon) {
        MHD_socket listening = MHD_quiesce_daemon(api->daemon);

        if (listening != MHD_INVALID_SOCKET)
            (void)close(listening);
    }
    lanes_stop(api->lanes); /* whatever was suspended is resumed */
    hub_stop(api->hub);
    hooks_stop(api->hooks);
    api->is_stopping = true;
    if (api->is_started)
        (void)pthread_join(api->thread, NULL);
    if (api->daemon)
        MHD_stop_daemon(api->daemon);
    lanes_free(api->lanes);
    hub_free(api->hub);
    assets_free(api->assets);
    guard_free(api->guard);
    close_fdp(&api->resumed_fd);
    explicit_bzero(api->key, sizeof(api->key));
    free(api->tls_cert);
    free(api->tls_key);
    free(api->address);
    free(api);
}

const char *
api_address(const struct api *api)
{
    return api->address;
}

unsigned
api_port(const struct api *api)
{
    return api->port;
}

const char *
api_control_dir(const struct api *api)
{
    return api->options.control_dir;
}
