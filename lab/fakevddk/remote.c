/* The way to the lab: the login over HTTPS, then a disk's connection with two threads of its own: one
 * moves frames, the other completes reads, late and out of order as the real library does. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/err.h>

#include "disks/nfc_link.h"
#include "fakevddk/fake.h"

#define MAX_PIECES 512 /* frames in flight */
#define KEPT       32
#define KEPT_SIZE  (1024U * 1024)
#define PATIENCE_S 20
#define MAX_ANSWER 65536
#define LONE_NS    500000 /* how long a finished read waits for another to be mixed with */

_Thread_local bool fake_is_in_callback;

struct read_op {
    struct read_op *next;
    uint8_t *data;    /* the caller's: nothing of the answer shows there before the callback */
    uint8_t *staging; /* where the answer arrives */
    uint32_t length;
    uint64_t error;
    unsigned pieces_left;
    int64_t due_ns;
    fake_done_fn *done;
    void *opaque;
};

/* One frame that waits for its answer. */
struct piece {
    bool is_used;
    uint32_t generation;
    struct read_op *op; /* NULL: somebody waits in `answer` */
    uint8_t *data;
    uint32_t length;
};

struct fake_remote {
    SSL_CTX *tls;
    struct nfc_link link;
    pthread_t mover, completer;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece pieces[MAX_PIECES];
    struct read_op *ready; /* finished, not yet told */
    unsigned ready_count, in_flight;
    uint8_t *kept[KEPT]; /* staging memory: fresh pages would cost more than the read */
    unsigned kept_count;
    bool is_over; /* the link has ended */
    bool is_closing;
    unsigned seed;
    uint8_t *failure; /* the mover's: what the server says of a failed read */
    /* one answer that is no read */
    struct lab_nfc_header answer;
    uint8_t *answer_data;
    bool has_answer;
};

static int64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- TLS and HTTP ------------------------------------------------------------------------------ */

static uint64_t
connect_to(const char *server, unsigned port, int *ret_fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    char service[16];
    int fd = -1;

    (void)snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(server, service, &hints, &list) != 0) {
        fake_warn("NBD: cannot resolve the name %s", server);
        return FAKE_E_HOST_SERVER_NOT_FOUND;
    }
    for (a = list; a; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            break;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0) {
        fake_warn("NBD: couldn't connect to %s:%u: %s", server, port, strerror(errno));
        return FAKE_E_HOST_NETWORK_CONN_REFUSED;
    }
    *ret_fd = fd;
    return FAKE_OK;
}

/* Trust is the thumbprint's business. */
static SSL *
start_tls(SSL_CTX *tls, int fd)
{
    SSL *ssl = SSL_new(tls);

    if (ssl && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1)
        return ssl;
    ERR_clear_error();
    SSL_free(ssl);
    return NULL;
}

static void
get_thumbprint(SSL *ssl, char ret_text[64])
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    ret_text[0] = '\0';
    if (certificate && X509_digest(certificate, EVP_sha1(), digest, &length) == 1)
        for (unsigned i = 0; i < length; i++)
            (void)snprintf(ret_text + 3 * i, 64 - 3 * i, i + 1 < length ? "%02X:" : "%02X",
                           digest[i]);
    X509_free(certificate);
}

static bool
write_all(SSL *ssl, const char *text)
{
    size_t length = strlen(text);

    return length == 0 || SSL_write(ssl, text, (int)length) == (int)length;
}

/* The status, and the body; 0 when there is no sensible answer. */
static int
post_json(SSL *ssl, const char *server, const char *path, const json_t *request, json_t **ret_body)
{
    char *body = json_dumps(request, JSON_COMPACT), *text = calloc(1, MAX_ANSWER + 1), *at;
    char head[512];
    int status = 0, n;
    size_t length = 0;

    (void)snprintf(head, sizeof(head),
                   "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                   path, server, strlen(body));
    if (write_all(ssl, head) && write_all(ssl, body))
        while (length < MAX_ANSWER &&
               (n = SSL_read(ssl, text + length, (int)(MAX_ANSWER - length))) > 0)
            length += (size_t)n;
    ERR_clear_error();
    at = strstr(text, "\r\n\r\n");
    if (at && !strncmp(text, "HTTP/1.", 7) && length > 12) {
        status = (int)strtol(text + 9, NULL, 10);
        *ret_body = json_loads(at + 4, JSON_DISABLE_EOF_CHECK, NULL);
    }
    free(body);
    free(text);
    return status;
}

static uint64_t
take_ticket(SSL *ssl, const char *server, const json_t *request, struct fake_ticket *ticket)
{
    json_t *body = NULL;
    int status = post_json(ssl, server, "/lab/nfc-ticket", request, &body);
    const char *text = json_string_value(json_object_get(body, "ticket"));
    uint64_t error = FAKE_OK;

    if (status == 200 && text && strlen(text) < sizeof(ticket->text)) {
        (void)snprintf(ticket->text, sizeof(ticket->text), "%s", text);
        ticket->port = (unsigned)json_integer_value(json_object_get(body, "port"));
    } else if (status == 401) {
        error = FAKE_E_HOST_USER_PERMISSIONS;
    } else if (status == 404 || status == 409) {
        ticket->is_refused = true;
    } else {
        fake_warn("NBD: the server answers HTTP status %d", status);
        error = FAKE_E_CANNOT_CONNECT_TO_HOST;
    }
    json_decref(body);
    return error;
}

uint64_t
fake_dial(const char *server, unsigned port, const char *thumbprint, const char *user,
          const char *password, const char *vm, const char *snapshot,
          struct fake_ticket *ret_ticket)
{
    struct fake_ticket ticket = {0};
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    uint64_t error;
    char seen[64];
    json_t *request;
    SSL *ssl;
    int fd = -1;

    error = connect_to(server, port, &fd);
    if (error) {
        SSL_CTX_free(tls);
        return error;
    }
    ssl = start_tls(tls, fd);
    if (!ssl) {
        fake_warn("SSL: handshake with %s:%u failed", server, port);
        close(fd);
        SSL_CTX_free(tls);
        return FAKE_E_CANNOT_CONNECT_TO_HOST;
    }
    get_thumbprint(ssl, seen);
    request = json_pack("{s:s, s:s, s:s, s:s}", "user", user, "password", password, "vm", vm,
                        "snapshot", snapshot);
    error = request ? take_ticket(ssl, server, request, &ticket) : FAKE_E_INVALID_ARG;
    json_decref(request);
    if (strcmp(seen, thumbprint ? thumbprint : "") != 0)
        ticket.is_refused = true;
    SSL_free(ssl);
    close(fd);
    SSL_CTX_free(tls);
    if (error == FAKE_OK) {
        (void)snprintf(ticket.server, sizeof(ticket.server), "%s", server);
        *ret_ticket = ticket;
    }
    return error;
}

/* ---- frames ------------------------------------------------------------------------------------ */

static void
release_frame(struct nfc_frame *frame)
{
    free(frame->payload);
    free(frame);
}

/* Lock held.  A piece for a frame that will be answered; waits while all are in use. */
static struct piece *
get_piece(struct fake_remote *remote, uint64_t *ret_id)
{
    for (;;) {
        for (uint32_t i = 0; i < MAX_PIECES; i++) {
            struct piece *piece = &remote->pieces[i];

            if (piece->is_used)
                continue;
            piece->is_used = true;
            piece->generation++;
            *ret_id = (uint64_t)piece->generation << 32 | i;
            return piece;
        }
        pthread_cond_wait(&remote->changed, &remote->lock);
    }
}

/* Lock held. */
static struct piece *
find_piece(struct fake_remote *remote, uint64_t id)
{
    struct piece *piece = &remote->pieces[(uint32_t)id % MAX_PIECES];

    return piece->is_used && piece->generation == id >> 32 ? piece : NULL;
}

static void
send_request(struct fake_remote *remote, enum lab_nfc_op op, uint64_t id, uint64_t a, uint64_t b,
             uint8_t *payload, uint32_t length)
{
    struct nfc_frame *frame = calloc(1, sizeof(*frame));

    if (!frame)
        abort();
    frame->header = (struct lab_nfc_header){.op = op, .id = id, .a = a, .b = b, .length = length};
    frame->payload = payload;
    frame->release = release_frame;
    nfc_link_send(&remote->link, frame);
}

/* Lock held. */
static void
finish_piece(struct fake_remote *remote, struct piece *piece, uint64_t error)
{
    struct read_op *op = piece->op;

    piece->is_used = false;
    piece->op = NULL;
    pthread_cond_broadcast(&remote->changed);
    if (!op)
        return;
    if (error)
        op->error = error;
    if (--op->pieces_left)
        return;
    op->next = remote->ready;
    remote->ready = op;
    remote->ready_count++;
}

static void *
place_answer(void *opaque, const struct lab_nfc_header *header)
{
    struct fake_remote *remote = opaque;
    struct piece *piece;
    void *data = NULL;

    pthread_mutex_lock(&remote->lock);
    piece = find_piece(remote, header->id);
    if (piece && piece->op && header->status == LAB_NFC_OK) {
        data = header->length == piece->length ? piece->data : NULL;
    } else if (piece && piece->op) {
        free(remote->failure);
        data = remote->failure = malloc(header->length);
    } else if (piece) {
        free(remote->answer_data);
        data = remote->answer_data = malloc(header->length);
    }
    pthread_mutex_unlock(&remote->lock);
    return data;
}

static bool
take_answer(void *opaque, const struct lab_nfc_header *header, void *payload)
{
    struct fake_remote *remote = opaque;
    uint64_t error = FAKE_OK;
    struct piece *piece;

    if (header->status != LAB_NFC_OK && header->op == LAB_NFC_READ) {
        fake_warn("NfcAio: read failed: %.*s", (int)header->length, payload ? (char *)payload : "");
        error = FAKE_E_FAIL;
    }
    pthread_mutex_lock(&remote->lock);
    piece = find_piece(remote, header->id);
    if (piece && piece->op && !error && header->length != piece->length)
        error = FAKE_E_FAIL;
    if (piece && !piece->op) {
        remote->answer = *header;
        remote->has_answer = true;
    }
    if (piece)
        finish_piece(remote, piece, error);
    pthread_mutex_unlock(&remote->lock);
    return piece != NULL;
}

static void *
mover_main(void *opaque)
{
    static const struct nfc_link_ops ops = {.place = place_answer, .frame = take_answer};
    struct fake_remote *remote = opaque;

    nfc_link_run(&remote->link, &ops, remote);
    pthread_mutex_lock(&remote->lock);
    remote->is_over = true;
    for (size_t i = 0; i < MAX_PIECES; i++)
        if (remote->pieces[i].is_used)
            finish_piece(remote, &remote->pieces[i], FAKE_E_HOST_TCP_CONN_LOST);
    pthread_cond_broadcast(&remote->changed);
    pthread_mutex_unlock(&remote->lock);
    return NULL;
}

/* ---- completions ------------------------------------------------------------------------------- */

static void
wait_ns(struct fake_remote *remote, int64_t ns)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += until.tv_nsec;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_cond_timedwait(&remote->changed, &remote->lock, &until);
}

/* Lock held.  Any of those that are due; NULL, with the time until the next, when none is. */
static struct read_op *
pick_ready(struct fake_remote *remote, int64_t *ret_wait_ns)
{
    struct read_op **at, **chosen = NULL, *op;
    int64_t now = now_ns();
    unsigned due = 0;

    *ret_wait_ns = INT64_MAX;
    for (at = &remote->ready; (op = *at); at = &op->next) {
        if (op->due_ns > now) {
            *ret_wait_ns = op->due_ns - now < *ret_wait_ns ? op->due_ns - now : *ret_wait_ns;
            continue;
        }
        if ((unsigned)rand_r(&remote->seed) % ++due == 0)
            chosen = at;
    }
    if (!chosen)
        return NULL;
    op = *chosen;
    *chosen = op->next;
    remote->ready_count--;
    return op;
}

static void
complete(struct fake_remote *remote, struct read_op *op)
{
    uint8_t *staging = op->staging;

    if (!op->error && op->length)
        memcpy(op->data, op->staging, op->length);
    fake_is_in_callback = true;
    op->done(op->opaque, op->error);
    fake_is_in_callback = false;
    pthread_mutex_lock(&remote->lock);
    if (op->length <= KEPT_SIZE && remote->kept_count < KEPT)
        remote->kept[remote->kept_count++] = staging;
    else
        free(staging);
    free(op);
    remote->in_flight--;
    pthread_cond_broadcast(&remote->changed);
    pthread_mutex_unlock(&remote->lock);
}

static void *
completer_main(void *opaque)
{
    struct fake_remote *remote = opaque;
    bool has_waited = false;

    pthread_mutex_lock(&remote->lock);
    while (!remote->is_closing) {
        struct read_op *op;
        int64_t wait = INT64_MAX;

        if (!remote->ready) {
            pthread_cond_wait(&remote->changed, &remote->lock);
            continue;
        }
        /* Alone although others are under way: one more may come to be mixed with. */
        if (remote->ready_count < 2 && remote->in_flight > 1 && !has_waited) {
            has_waited = true;
            wait_ns(remote, LONE_NS);
            continue;
        }
        has_waited = false;
        op = pick_ready(remote, &wait);
        if (!op) {
            wait_ns(remote, wait);
            continue;
        }
        pthread_mutex_unlock(&remote->lock);
        complete(remote, op);
        pthread_mutex_lock(&remote->lock);
    }
    pthread_mutex_unlock(&remote->lock);
    return NULL;
}

/* ---- the disk ---------------------------------------------------------------------------------- */

/* Sends one request that is no read and waits for its answer.  False: the connection is lost. */
static bool
ask(struct fake_remote *remote, enum lab_nfc_op op, uint64_t a, uint64_t b, uint8_t *payload,
    uint32_t length)
{
    bool has_answer;
    uint64_t id;

    pthread_mutex_lock(&remote->lock);
    remote->has_answer = false;
    get_piece(remote, &id)->op = NULL;
    send_request(remote, op, id, a, b, payload, length);
    while (!remote->has_answer && !remote->is_over)
        pthread_cond_wait(&remote->changed, &remote->lock);
    has_answer = remote->has_answer;
    pthread_mutex_unlock(&remote->lock);
    return has_answer;
}

static bool
start_threads(struct fake_remote *remote)
{
    if (pthread_create(&remote->mover, NULL, mover_main, remote) != 0)
        return false;
    if (pthread_create(&remote->completer, NULL, completer_main, remote) == 0)
        return true;
    nfc_link_stop(&remote->link);
    pthread_join(remote->mover, NULL);
    return false;
}

static struct fake_remote *
remote_new(const struct fake_ticket *ticket)
{
    struct fake_remote *remote = calloc(1, sizeof(*remote));
    pthread_condattr_t monotonic;
    SSL *ssl;
    int fd;

    if (!remote || connect_to(ticket->server, ticket->port, &fd) != FAKE_OK) {
        free(remote);
        return NULL;
    }
    pthread_mutex_init(&remote->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&remote->changed, &monotonic);
    if (getrandom(&remote->seed, sizeof(remote->seed), 0) != sizeof(remote->seed))
        remote->seed = (unsigned)getpid();
    remote->tls = SSL_CTX_new(TLS_client_method());
    ssl = start_tls(remote->tls, fd);
    if (ssl && nfc_link_init(&remote->link, ssl, fd) && start_threads(remote))
        return remote;
    if (ssl)
        nfc_link_done(&remote->link);
    else
        close(fd);
    SSL_CTX_free(remote->tls);
    free(remote);
    return NULL;
}

uint64_t
fake_remote_open(const struct fake_ticket *ticket, const char *path,
                 struct fake_remote **ret_remote, uint64_t *ret_capacity)
{
    struct fake_remote *remote;
    size_t ticket_size = strlen(ticket->text) + 1, path_size = strlen(path) + 1;
    uint8_t *hello;

    remote = remote_new(ticket);
    if (!remote)
        return FAKE_E_HOST_NETWORK_CONN_REFUSED;
    hello = malloc(ticket_size + path_size);
    if (!hello)
        abort();
    memcpy(hello, ticket->text, ticket_size);
    memcpy(hello + ticket_size, path, path_size);
    if (!ask(remote, LAB_NFC_HELLO, 0, 0, hello, (uint32_t)(ticket_size + path_size)) ||
        remote->answer.status != LAB_NFC_OK) {
        fake_remote_close(remote);
        return FAKE_E_FAIL;
    }
    *ret_capacity = remote->answer.a;
    *ret_remote = remote;
    return FAKE_OK;
}

void
fake_remote_close(struct fake_remote *remote)
{
    nfc_link_stop(&remote->link);
    pthread_join(remote->mover, NULL);
    pthread_mutex_lock(&remote->lock);
    remote->is_closing = true;
    pthread_cond_broadcast(&remote->changed);
    pthread_mutex_unlock(&remote->lock);
    pthread_join(remote->completer, NULL);
    nfc_link_done(&remote->link);
    SSL_CTX_free(remote->tls);
    free(remote->answer_data);
    free(remote->failure);
    while (remote->kept_count)
        free(remote->kept[--remote->kept_count]);
    pthread_cond_destroy(&remote->changed);
    pthread_mutex_destroy(&remote->lock);
    free(remote);
}

/* Lock held. */
static uint8_t *
get_staging(struct fake_remote *remote, uint32_t length)
{
    uint8_t *staging;

    if (length <= KEPT_SIZE && remote->kept_count)
        return remote->kept[--remote->kept_count];
    staging = malloc(length <= KEPT_SIZE ? KEPT_SIZE : length);
    if (!staging)
        abort();
    return staging;
}

void
fake_remote_read(struct fake_remote *remote, uint8_t *data, uint64_t offset, uint32_t length,
                 fake_done_fn *done, void *opaque)
{
    struct read_op *op = calloc(1, sizeof(*op));
    uint64_t latency_ms;

    if (!op)
        abort();
    *op = (struct read_op){.data = data, .length = length, .done = done, .opaque = opaque};
    pthread_mutex_lock(&remote->lock);
    op->staging = get_staging(remote, length);
    if (fake_control("latency-ms", 0, &latency_ms))
        op->due_ns = now_ns() + (int64_t)latency_ms * 1000000 +
                     rand_r(&remote->seed) % (int)(latency_ms * 1000 + 1) * 1000LL;
    remote->in_flight++;
    op->pieces_left = 1; /* ours, so that it cannot finish while it is being sent */
    for (uint32_t at = 0; at < length;) {
        uint32_t size = length - at < LAB_NFC_MAX_READ ? length - at : LAB_NFC_MAX_READ;
        struct piece *piece;
        uint64_t id;

        if (remote->is_over) {
            op->error = FAKE_E_HOST_TCP_CONN_LOST;
            break;
        }
        piece = get_piece(remote, &id);
        piece->op = op;
        piece->data = op->staging + at;
        piece->length = size;
        op->pieces_left++;
        send_request(remote, LAB_NFC_READ, id, offset + at, size, NULL, 0);
        at += size;
    }
    if (--op->pieces_left == 0) {
        op->next = remote->ready;
        remote->ready = op;
        remote->ready_count++;
        pthread_cond_broadcast(&remote->changed);
    }
    pthread_mutex_unlock(&remote->lock);
}

void
fake_remote_wait(struct fake_remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    while (remote->in_flight)
        pthread_cond_wait(&remote->changed, &remote->lock);
    pthread_mutex_unlock(&remote->lock);
}

uint64_t
fake_remote_extents(struct fake_remote *remote, uint64_t offset, uint64_t length,
                    struct fake_extent **ret_extents, size_t *ret_count)
{
    struct fake_extent *extents;
    size_t count;

    if (!ask(remote, LAB_NFC_EXTENTS, offset, length, NULL, 0))
        return FAKE_E_HOST_TCP_CONN_LOST;
    if (remote->answer.status != LAB_NFC_OK)
        return FAKE_E_FAIL;
    count = remote->answer.length / sizeof(*extents);
    extents = calloc(count + 1, sizeof(*extents));
    if (!extents)
        abort();
    if (count)
        memcpy(extents, remote->answer_data, count * sizeof(*extents));
    *ret_extents = extents;
    *ret_count = count;
    return FAKE_OK;
}
