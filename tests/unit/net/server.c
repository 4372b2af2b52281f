#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 512
#define MAX_REQUEST     (1 << 20)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: test server: %s\n", __FILE__, __LINE__, #condition);           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct server {
    int listener;
    int stop_pipe[2];
    unsigned port;
    SSL_CTX *ssl_ctx;
    server_handler handler;
    void *opaque;
    pthread_t acceptor;
    pthread_mutex_t lock; /* guards count and the calls of the handler */
    unsigned count;
    pthread_t threads[MAX_CONNECTIONS];
};

struct connection {
    struct server *server;
    int fd;
    SSL *ssl;
};

/* ---- certificates ---- */

static void
add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    CHECK(extension);
    CHECK(X509_add_ext(x509, extension, -1));
    X509_EXTENSION_free(extension);
}

static void
print_digest(const X509 *x509, const EVP_MD *md, char *text)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length;

    CHECK(X509_digest(x509, md, bytes, &length));
    for (unsigned i = 0; i < length; i++)
        sprintf(text + (size_t)3 * i, i + 1 < length ? "%02X:" : "%02X", bytes[i]);
}

struct certificate
certificate_new(const char *common_name, const char *subject_alt_name, bool is_ca,
                const struct certificate *issuer)
{
    struct certificate c = {.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
    X509_NAME *name;
    uint64_t serial;

    CHECK(c.x509 && c.key && RAND_bytes((unsigned char *)&serial, sizeof(serial)));
    X509_set_version(c.x509, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(c.x509), serial >> 1 | 1);
    X509_gmtime_adj(X509_getm_notBefore(c.x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(c.x509), 24L * 3600);
    X509_set_pubkey(c.x509, c.key);
    name = X509_get_subject_name(c.x509);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1,
                               0);
    X509_set_issuer_name(c.x509, issuer ? X509_get_subject_name(issuer->x509) : name);
    add_extension(c.x509, issuer ? issuer->x509 : c.x509, NID_basic_constraints,
                  is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (subject_alt_name)
        add_extension(c.x509, c.x509, NID_subject_alt_name, subject_alt_name);
    CHECK(X509_sign(c.x509, issuer ? issuer->key : c.key, EVP_sha256()));
    print_digest(c.x509, EVP_sha1(), c.sha1);
    print_digest(c.x509, EVP_sha256(), c.sha256);
    return c;
}

void
certificate_write(const struct certificate *certificate, const char *path)
{
    FILE *file = fopen(path, "w");

    CHECK(file && PEM_write_X509(file, certificate->x509) && fclose(file) == 0);
}

void
certificate_done(struct certificate *certificate)
{
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
    memset(certificate, 0, sizeof(*certificate));
}

/* ---- connections ---- */

/* Whether @fd has something before the server is stopped. */
static bool
wait_readable(const struct connection *c)
{
    struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN},
                            {.fd = c->server->stop_pipe[0], .events = POLLIN}};

    if (c->ssl && SSL_pending(c->ssl))
        return true;
    while (poll(fds, 2, -1) < 0)
        CHECK(errno == EINTR);
    return !fds[1].revents;
}

static ssize_t
receive(const struct connection *c, char *data, size_t length)
{
    if (!wait_readable(c))
        return 0;
    return c->ssl ? SSL_read(c->ssl, data, (int)length) : read(c->fd, data, length);
}

static bool
send_all(const struct connection *c, const char *data, size_t length)
{
    while (length) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, data, (int)length) : write(c->fd, data, length);

        if (n <= 0)
            return false;
        data += n;
        length -= (size_t)n;
    }
    return true;
}

static size_t
content_length(const char *headers)
{
    const char *p = strcasestr(headers, "\r\ncontent-length:");

    return p ? strtoul(p + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

/* One whole request into @buffer; *ret_head is the length of its headers with the blank line. */
static bool
read_request(const struct connection *c, char *buffer, size_t *ret_head, size_t *ret_total)
{
    size_t have = 0, want = 0, head = 0;

    while (!head || have < want) {
        ssize_t n = receive(c, buffer + have, MAX_REQUEST - have);
        const char *end;

        if (n <= 0)
            return false;
        have += (size_t)n;
        buffer[have] = '\0';
        end = head ? NULL : strstr(buffer, "\r\n\r\n");
        if (end) {
            head = (size_t)(end - buffer) + 4;
            want = head + content_length(buffer);
            CHECK(want < MAX_REQUEST);
        }
    }
    *ret_head = head;
    *ret_total = want;
    return true;
}

static bool
send_reply(const struct connection *c, struct server_reply *reply)
{
    char head[2048];
    size_t length = reply->body_length;
    int n;

    if (reply->is_stalled)
        (void)wait_readable(c);
    if (reply->is_dropped || reply->is_stalled)
        return false;
    n = snprintf(head, sizeof(head), "HTTP/1.1 %d Answer\r\nContent-Length: %zu\r\n%s\r\n",
                 reply->status ? reply->status : 200, length + reply->declared_more,
                 reply->headers ? reply->headers : "");
    if (reply->cut_after && reply->cut_after < length)
        length = reply->cut_after;
    if (!send_all(c, head, (size_t)n) || !send_all(c, reply->body ? reply->body : "", length))
        return false;
    return !reply->cut_after && !reply->declared_more;
}

static void
serve_requests(struct connection *c, char *buffer)
{
    size_t head, total;

    while (read_request(c, buffer, &head, &total)) {
        struct server_request request = {.headers = buffer, .body = buffer + head};
        struct server_reply reply = {0};
        char *body = strndup(buffer + head, total - head);
        bool is_kept;

        buffer[head - 2] = '\0';
        request.body = body;
        request.body_length = total - head;
        CHECK(sscanf(buffer, "%15s %511s", request.method, request.path) == 2);
        pthread_mutex_lock(&c->server->lock);
        c->server->handler(c->server->opaque, &request, &reply);
        pthread_mutex_unlock(&c->server->lock);
        if (reply.body && !reply.body_length)
            reply.body_length = strlen(reply.body);
        is_kept = send_reply(c, &reply);
        free(reply.body);
        free(body);
        if (!is_kept)
            break;
    }
}

static void *
run_connection(void *opaque)
{
    struct connection *c = opaque;
    char *buffer = malloc(MAX_REQUEST + 1);
    bool is_ready = true;

    if (c->server->ssl_ctx) {
        c->ssl = SSL_new(c->server->ssl_ctx);
        SSL_set_fd(c->ssl, c->fd);
        is_ready = wait_readable(c) && SSL_accept(c->ssl) == 1;
    }
    if (is_ready)
        serve_requests(c, buffer);
    SSL_free(c->ssl);
    close(c->fd);
    free(buffer);
    free(c);
    return NULL;
}

static void *
run_acceptor(void *opaque)
{
    struct server *server = opaque;
    struct pollfd fds[2] = {{.fd = server->listener, .events = POLLIN},
                            {.fd = server->stop_pipe[0], .events = POLLIN}};

    for (;;) {
        struct connection *c;
        int on = 1;

        while (poll(fds, 2, -1) < 0)
            CHECK(errno == EINTR);
        if (fds[1].revents)
            return NULL;
        c = calloc(1, sizeof(*c));
        c->server = server;
        c->fd = accept(server->listener, NULL, NULL);
        CHECK(c->fd >= 0);
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        pthread_mutex_lock(&server->lock);
        CHECK(server->count < MAX_CONNECTIONS);
        CHECK(!pthread_create(&server->threads[server->count], NULL, run_connection, c));
        server->count++;
        pthread_mutex_unlock(&server->lock);
    }
}

struct server *
server_start(const struct certificate *certificate, server_handler handler, void *opaque)
{
    struct server *server = calloc(1, sizeof(*server));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    (void)signal(SIGPIPE, SIG_IGN);
    server->handler = handler;
    server->opaque = opaque;
    pthread_mutex_init(&server->lock, NULL);
    CHECK(pipe(server->stop_pipe) == 0);
    if (certificate) {
        server->ssl_ctx = SSL_CTX_new(TLS_server_method());
        CHECK(SSL_CTX_use_certificate(server->ssl_ctx, certificate->x509) == 1);
        CHECK(SSL_CTX_use_PrivateKey(server->ssl_ctx, certificate->key) == 1);
    }
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(server->listener >= 0);
    CHECK(bind(server->listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(server->listener, 64) == 0);
    CHECK(getsockname(server->listener, (struct sockaddr *)&address, &length) == 0);
    server->port = ntohs(address.sin_port);
    CHECK(!pthread_create(&server->acceptor, NULL, run_acceptor, server));
    return server;
}

unsigned
server_port(const struct server *server)
{
    return server->port;
}

unsigned
server_connections(struct server *server)
{
    unsigned count;

    pthread_mutex_lock(&server->lock);
    count = server->count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

void
server_stop(struct server *server)
{
    if (!server)
        return;
    close(server->stop_pipe[1]); /* every poll sees the hang-up */
    pthread_join(server->acceptor, NULL);
    for (unsigned i = 0; i < server->count; i++)
        pthread_join(server->threads[i], NULL);
    close(server->listener);
    close(server->stop_pipe[0]);
    SSL_CTX_free(server->ssl_ctx);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
