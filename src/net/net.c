#include "net/net.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/util.h"
#include "base/vec.h"
#include "net/trust.h"

#define CONNECT_TIMEOUT_MS 15000
#define TIMEOUT_MS         60000
#define MAX_RESPONSE       (16 * MIB)
#define MAX_HEADERS        (256 * KIB)
/* Connections kept warm; more threads than this still work, each with a fresh one. */
#define MAX_IDLE           8

/* One easy handle and its own connection cache.  libcurl's shared connection cache is not safe
 * between threads (curl_share_setopt(3), CURL_LOCK_DATA_CONNECT), so handles are pooled instead. */
struct handle {
    CURL *curl;
    struct trust_seen seen;
    char message[CURL_ERROR_SIZE];
};
VEC_DECLARE(handles, struct handle *);

struct net_client {
    struct trust trust; /* read-only after net_client_new */
    char *no_proxy;
    pthread_mutex_t lock;
    struct handles idle; /* guarded by lock; the last one was used last */
};

/* One net_perform. */
struct exchange {
    const struct net_request *request;
    struct handle *handle;
    struct net_response response;
    size_t max_response, body_length, header_length;
    bool is_cancelled;
    struct err *error; /* set by a callback */
};

static void
free_handle(struct handle *handle)
{
    if (!handle)
        return;
    curl_easy_cleanup(handle->curl);
    free(handle);
}

static void
start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* What the environment says, and always the loopback: a proxy cannot reach our own machine. */
static char *
make_no_proxy(void)
{
    const char *text = getenv("no_proxy");

    if (!text)
        text = getenv("NO_PROXY");
    if (!text || !*text)
        return xstrdup("localhost,127.0.0.1,::1");
    if (!strcmp(text, "*"))
        return xstrdup("*");
    return xasprintf("%s,localhost,127.0.0.1,::1", text);
}

struct net_client *
net_client_new(const struct net_trust *trust, struct err **err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP(net_client_freep) struct net_client *client = xcalloc(1, sizeof(*client));

    (void)pthread_once(&once, start_curl);
    pthread_mutex_init(&client->lock, NULL);
    client->no_proxy = make_no_proxy();
    if (trust_init(&client->trust, trust, err) < 0)
        return NULL;
    return take(client);
}

void
net_client_free(struct net_client *client)
{
    if (!client)
        return;
    for (size_t i = 0; i < client->idle.count; i++)
        free_handle(client->idle.items[i]);
    vec_done(&client->idle);
    trust_done(&client->trust);
    free(client->no_proxy);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

void
net_client_freep(struct net_client **client)
{
    net_client_free(*client);
    *client = NULL;
}

static struct handle *
borrow_handle(struct net_client *client, struct err **err)
{
    struct handle *handle = NULL;

    {
        SCOPE_LOCK(&client->lock);
        if (client->idle.count)
            handle = client->idle.items[--client->idle.count];
    }
    if (!handle) {
        handle = xcalloc(1, sizeof(*handle));
        handle->curl = curl_easy_init();
        if (!handle->curl) {
            free(handle);
            return err_null(err, E_MEMORY, "libcurl cannot make a handle");
        }
    }
    curl_easy_reset(handle->curl); /* keeps connections and TLS sessions */
    handle->message[0] = '\0';
    memset(&handle->seen, 0, sizeof(handle->seen));
    return handle;
}

static void
return_handle(struct net_client *client, struct handle *handle)
{
    {
        SCOPE_LOCK(&client->lock);
        if (client->idle.count < MAX_IDLE) {
            vec_push(&client->idle, handle);
            handle = NULL;
        }
    }
    free_handle(handle);
}

static size_t
on_body(char *data, size_t size, size_t count, void *opaque)
{
    struct exchange *x = opaque;
    size_t length = size * count;

    if (length > x->max_response - x->body_length) {
        err_set(&x->error, E_LIMIT, "the answer is larger than %zu bytes", x->max_response);
        return 0;
    }
    x->body_length += length;
    if (x->request->on_body) {
        if (x->request->on_body(x->request->opaque, data, length, &x->error) < 0)
            return 0;
    } else {
        str_append_bytes(&x->response.body, data, length);
    }
    return length;
}

/* The value of header @name in @line, or NULL; *ret_length is without blanks around it. */
static const char *
header_value(const char *line, size_t length, const char *name, size_t *ret_length)
{
    size_t name_length = strlen(name);
    const char *end = line + length, *p = line + name_length;

    if (length <= name_length || strncasecmp(line, name, name_length) || *p != ':')
        return NULL;
    for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
        ;
    while (end > p && strchr(" \t\r\n", end[-1]))
        end--;
    *ret_length = (size_t)(end - p);
    return p;
}

static size_t
on_header(char *line, size_t size, size_t count, void *opaque)
{
    struct exchange *x = opaque;
    size_t length = size * count, value_length;
    const char *value;

    x->header_length += length;
    if (x->header_length > MAX_HEADERS) {
        err_set(&x->error, E_LIMIT, "the answer's headers are larger than %llu bytes", MAX_HEADERS);
        return 0;
    }
    if (length > 5 &&
        !strncmp(line, "HTTP/", 5)) { /* again after a 1xx: only the last one counts */
        free(take(x->response.set_cookie));
        x->response.server_date = 0;
    }
    value = header_value(line, length, "Set-Cookie", &value_length);
    if (value && !x->response.set_cookie) {
        const char *semicolon = memchr(value, ';', value_length);

        x->response.set_cookie = xasprintf(
            "%.*s", (int)(semicolon ? semicolon - value : (ptrdiff_t)value_length), value);
    }
    value = header_value(line, length, "Date", &value_length);
    if (value) {
        CLEANUP(free_charp) char *text = xasprintf("%.*s", (int)value_length, value);
        time_t date = curl_getdate(text, NULL);

        x->response.server_date = date > 0 ? (long long)date : 0;
    }
    return length;
}

/* Called by libcurl at least once a second, also while nothing arrives. */
static int
on_progress(void *opaque, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total,
            curl_off_t ul_now)
{
    struct exchange *x = opaque;

    x->is_cancelled = x->request->cancel && *x->request->cancel;
    return x->is_cancelled;
}

static void
set_common(struct net_client *client, struct handle *handle)
{
    CURL *curl = handle->curl;

    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, handle->message);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, client->no_proxy);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTPS | CURLPROTO_HTTP));
#endif
    /* A resumed session shows no certificate, and a refusal could not say which one it was. */
    curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    /* One request a connection at a time is all we do, and HTTP/2 has re-send rules of its own. */
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static void
set_request(CURL *curl, const struct net_request *request, struct curl_slist *headers)
{
    int connect_timeout = request->connect_timeout_ms, timeout = request->timeout_ms;

    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(connect_timeout ? connect_timeout : CONNECT_TIMEOUT_MS));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout ? timeout : TIMEOUT_MS));
    if (request->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    } else if (!strcmp(request->method, "POST")) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    if (!strcmp(request->method, "HEAD"))
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (strcmp(request->method, request->body ? "POST" : "GET") != 0)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->is_once)
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
}

static void
set_callbacks(struct exchange *x)
{
    CURL *curl = x->handle->curl;

    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static void
free_slistp(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

static struct curl_slist *
make_headers(const struct net_request *request)
{
    /* Without this curl waits a second for "100 Continue" before it sends a larger body. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    for (const char *const *h = request->headers; h && *h; h++) {
        struct curl_slist *longer = curl_slist_append(list, *h);

        if (!longer)
            abort();
        list = longer;
    }
    return list;
}

/* The URL up to its query, where API keys and signatures may stand. */
static char *
url_for_people(const char *url)
{
    return xasprintf("%.*s", (int)strcspn(url, "?#"), url);
}

static int
set_error(const struct net_client *client, CURLcode rc, const struct handle *handle,
          const char *where, struct err **err)
{
    const char *detail = handle->message[0] ? handle->message : curl_easy_strerror(rc);

    if (handle->seen.is_refused)
        return trust_refuse(&client->trust, &handle->seen, where, detail, err);
    switch (rc) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return trust_refuse(&client->trust, &handle->seen, where, detail, err);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return err_set(err, E_NET_RESOLVE, "%s: %s", where, detail);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, E_TIMEOUT, "%s: %s", where, detail);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(err, E_CONFIG, "%s: %s", where, detail);
    case CURLE_OUT_OF_MEMORY:
        return err_set(err, E_MEMORY, "%s: %s", where, detail);
    default:
        return err_set(err, E_NET, "%s: %s", where, detail);
    }
}

static int
finish(const struct net_client *client, struct exchange *x, CURLcode rc, struct err **err)
{
    CLEANUP(free_charp) char *where = url_for_people(x->request->url);

    if (x->error) {
        err_move(err, &x->error);
        return err_wrap(err, "%s", where);
    }
    if (x->is_cancelled)
        return err_set(err, E_CANCELLED, "%s: stopped on request", where);
    if (rc != CURLE_OK)
        return set_error(client, rc, x->handle, where, err);
    curl_easy_getinfo(x->handle->curl, CURLINFO_RESPONSE_CODE, &x->response.status);
    return 0;
}

int
net_perform(struct net_client *client, const struct net_request *request,
            struct net_response *ret_response, struct err **err)
{
    CLEANUP(free_slistp) struct curl_slist *headers = NULL;
    struct exchange x = {.request = request};
    int result = -1;

    memset(ret_response, 0, sizeof(*ret_response));
    x.max_response = request->max_response ? request->max_response : MAX_RESPONSE;
    x.response.body = STR_INIT(x.max_response);
    x.handle = borrow_handle(client, err);
    if (!x.handle)
        return -1;
    headers = make_headers(request);
    set_common(client, x.handle);
    set_request(x.handle->curl, request, headers);
    set_callbacks(&x);
    if (trust_apply(&client->trust, x.handle->curl, &x.handle->seen, err) == 0)
        result = finish(client, &x, curl_easy_perform(x.handle->curl), err);
    return_handle(client, x.handle);
    if (result < 0)
        net_response_done(&x.response);
    else
        *ret_response = x.response;
    return result;
}

void
net_response_done(struct net_response *response)
{
    str_done(&response->body);
    free(take(response->set_cookie));
}

int
net_server_thumbprint(struct net_client *client, const char *host, unsigned port, char ret_sha1[60],
                      struct err **err)
{
    bool is_bare_ipv6 = strchr(host, ':') && host[0] != '[';
    CLEANUP(free_charp)
    char *url = xasprintf(is_bare_ipv6 ? "https://[%s]:%u/" : "https://%s:%u/", host, port);
    struct handle handle = {.curl = curl_easy_init()};
    int result = -1;

    if (!handle.curl)
        return err_set(err, E_MEMORY, "libcurl cannot make a handle");
    set_common(client, &handle);
    curl_easy_setopt(handle.curl, CURLOPT_URL, url);
    curl_easy_setopt(handle.curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(handle.curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(handle.curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    if (trust_apply(&client->trust, handle.curl, &handle.seen, err) == 0) {
        CURLcode rc = curl_easy_perform(handle.curl);

        if (rc != CURLE_OK)
            set_error(client, rc, &handle, url, err);
        else if (!handle.seen.is_seen)
            err_set(err, E_NET, "%s: the server showed no certificate", url);
        else
            result = 0;
    }
    curl_easy_cleanup(handle.curl);
    if (result == 0)
        memcpy(ret_sha1, handle.seen.sha1, sizeof(handle.seen.sha1));
    return result;
}
