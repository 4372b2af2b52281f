/* The disk server of the lab (disks/nfc.h): TLS, a thread a connection that only moves frames, and a
 * few workers that read the machines, so that several requests of one connection are under way at
 * once and are answered in any order.
 *
 * A server that is told to be slow lets each request wait in the queue: no thread waits with it, so any
 * number of them wait at the same time. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "base/err.h"
#include "base/util.h"
#include "base/vec.h"
#include "core/lab.h"
#include "disks/nfc_link.h"
#include "disks/nfc_queue.h"

#define WORKERS          6
#define MAX_CONNECTIONS  512
#define MAX_IN_FLIGHT    256 /* requests of one connection */
#define MAX_HELLO        4096
#define HANDSHAKE_MS     10000
#define KEPT_BUFFERS     64
#define KEPT_BUFFER_SIZE (1024U * 1024)
#define NS_PER_MS        1000000LL

struct ticket {
    char text[64], vm_moref[32];
    uint64_t view;
};

struct buffer {
    struct buffer *next;
};

struct connection {
    struct connection *next;
    struct lab_nfc *nfc;
    pthread_t thread;
    int fd;
    struct nfc_link link;
    /* set by the hello, before the first request */
    struct lab_machine *machine;
    unsigned disk;
    uint64_t view, capacity;
    int delay_ms; /* of the disk; -1: the server's */
    uint8_t hello[MAX_HELLO + 1];

    bool has_link;        /* nfc->lock */
    bool is_over;         /* nfc->lock */
    unsigned in_flight;   /* nfc->lock */
    struct nfc_line line; /* nfc->lock */
};

struct work {
    struct nfc_item item;
    struct connection *connection;
    struct lab_nfc_header header;
};

struct lab_nfc {
    struct lab *lab;
    SSL_CTX *tls;
    int listen_fd;
    unsigned port;
    pthread_t acceptor, workers[WORKERS];
    unsigned worker_count;
    bool has_acceptor;

    struct nfc_queue queue; /* of struct work */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t in_flight_changed;
    struct lab_nfc_settings settings;
    struct nfc_line line; /* of all connections */
    struct connection *connections;
    unsigned connection_count;
    struct buffer *buffers;
    unsigned buffer_count;
    bool is_stopping;
    VEC_DECLARE(, struct ticket)
    tickets;
};

/* ---- buffers ---------------------------------------------------------------------------------- */

/* Fresh memory costs a page fault for every 4 KiB, more than the read itself: the usual size is kept. */
static uint8_t *
buffer_get(struct lab_nfc *nfc, uint32_t length)
{
    struct buffer *buffer;

    if (length > KEPT_BUFFER_SIZE)
        return xcalloc(1, length);
    pthread_mutex_lock(&nfc->lock);
    buffer = nfc->buffers;
    if (buffer) {
        nfc->buffers = buffer->next;
        nfc->buffer_count--;
    }
    pthread_mutex_unlock(&nfc->lock);
    return buffer ? (uint8_t *)buffer : xcalloc(1, KEPT_BUFFER_SIZE);
}

static void
buffer_put(struct lab_nfc *nfc, uint8_t *data, uint32_t length)
{
    struct buffer *buffer = (struct buffer *)data;

    if (!data)
        return;
    if (length <= KEPT_BUFFER_SIZE) {
        SCOPE_LOCK(&nfc->lock);
        if (nfc->buffer_count < KEPT_BUFFERS) {
            buffer->next = nfc->buffers;
            nfc->buffers = buffer;
            nfc->buffer_count++;
            return;
        }
    }
    free(data);
}

static void
release_frame(struct nfc_frame *frame)
{
    buffer_put(frame->opaque, frame->payload, frame->header.length);
    free(frame);
}

/* Takes @payload over. */
static void
answer(struct connection *connection, const struct lab_nfc_header *request,
       enum lab_nfc_status status, uint64_t a, uint8_t *payload, uint32_t length)
{
    struct nfc_frame *frame = xcalloc(1, sizeof(*frame));

    frame->header.op = request->op;
    frame->header.id = request->id;
    frame->header.status = status;
    frame->header.a = a;
    frame->header.length = length;
    frame->payload = payload;
    frame->release = release_frame;
    frame->opaque = connection->nfc;
    nfc_link_send(&connection->link, frame);
}

static void
answer_failed(struct connection *connection, const struct lab_nfc_header *request, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    uint8_t *payload = NULL;

    if (length) {
        payload = buffer_get(connection->nfc, length);
        memcpy(payload, text, length);
    }
    answer(connection, request, LAB_NFC_FAILED, 0, payload, length);
}

/* ---- workers ---------------------------------------------------------------------------------- */

static bool
is_inside(const struct connection *connection, const struct lab_nfc_header *header)
{
    return header->b > 0 && header->a <= connection->capacity &&
           header->b <= connection->capacity - header->a;
}

static void
do_read(struct connection *connection, const struct lab_nfc_header *header)
{
    CLEANUP(err_freep) struct err *err = NULL;
    uint32_t length = (uint32_t)header->b;
    struct lab_fault fault;
    bool is_lie = false;
    uint8_t *data;

    if (lab_fault_take(connection->nfc->lab->faults, "nfc.read", &fault)) {
        if (!strncmp(fault.action, "drop", 4)) {
            nfc_link_stop(&connection->link);
            return;
        }
        is_lie = !strcmp(fault.action, "lie");
        if (!is_lie) {
            answer_failed(connection, header, fault.detail[0] ? fault.detail : "the lab says no");
            return;
        }
    }
    data = buffer_get(connection->nfc, length);
    if (connection->machine->ops->read(connection->machine, connection->disk, connection->view,
                                       data, length, header->a, &err) < 0) {
        buffer_put(connection->nfc, data, length);
        answer_failed(connection, header, err_message(err));
        return;
    }
    if (is_lie)
        data[0] ^= 0xff;
    answer(connection, header, LAB_NFC_OK, 0, data, length);
}

static void
do_extents(struct connection *connection, const struct lab_nfc_header *header)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct extents extents = {0};
    struct lab_fault unused;
    uint64_t pair[2];
    uint8_t *payload;
    uint32_t length;

    (void)lab_fault_take(connection->nfc->lab->faults, "nfc.extents", &unused); /* counted */
    if (connection->machine->ops->allocated(connection->machine, connection->disk, connection->view,
                                            header->a, header->b, &extents, &err) < 0) {
        answer_failed(connection, header, err_message(err));
        vec_done(&extents);
        return;
    }
    length = (uint32_t)(extents.count * sizeof(pair));
    payload = length ? buffer_get(connection->nfc, length) : NULL;
    for (size_t i = 0; i < extents.count; i++) {
        pair[0] = htole64(extents.items[i].offset);
        pair[1] = htole64(extents.items[i].length);
        memcpy(payload + i * sizeof(pair), pair, sizeof(pair));
    }
    answer(connection, header, LAB_NFC_OK, extents.count, payload, length);
    vec_done(&extents);
}

static struct work *
of_item(const struct nfc_item *item)
{
    return (struct work *)((const char *)item - offsetof(struct work, item));
}

static void *
worker_main(void *opaque)
{
    struct lab_nfc *nfc = opaque;
    struct nfc_item *item;

    while ((item = nfc_queue_take(&nfc->queue))) {
        struct work *work = of_item(item);
        struct connection *connection = work->connection;

        if (work->header.op == LAB_NFC_READ)
            do_read(connection, &work->header);
        else
            do_extents(connection, &work->header);
        free(work);
        SCOPE_LOCK(&nfc->lock);
        connection->in_flight--;
        pthread_cond_broadcast(&nfc->in_flight_changed);
    }
    return NULL;
}

/* ---- frames ----------------------------------------------------------------------------------- */

static bool
find_ticket(struct lab_nfc *nfc, const char *text, struct ticket *ret_ticket)
{
    SCOPE_LOCK(&nfc->lock);
    for (size_t i = 0; i < nfc->tickets.count; i++)
        if (!strcmp(nfc->tickets.items[i].text, text)) {
            *ret_ticket = nfc->tickets.items[i];
            return true;
        }
    return false;
}

static bool
find_path(struct connection *connection, const struct lab_vm_disks *disks, const char *path)
{
    for (size_t i = 0; i < disks->count; i++)
        if (!strcmp(disks->items[i].path, path)) {
            connection->disk = (unsigned)i;
            connection->capacity = disks->items[i].capacity;
            connection->delay_ms = disks->items[i].delay_ms;
            return true;
        }
    return false;
}

static enum lab_nfc_status
find_disk(struct connection *connection, const struct ticket *ticket, const char *path)
{
    struct lab *lab = connection->nfc->lab;
    bool is_found = false;
    struct lab_vm *vm;

    SCOPE_LOCK(&lab->mutex);
    vm = lab_find_vm(lab, ticket->vm_moref);
    if (!vm)
        return LAB_NFC_NO_DISK;
    if (ticket->view == 0)
        is_found = find_path(connection, &vm->disks, path);
    for (size_t i = 0; i < vm->snapshots.count; i++)
        if (ticket->view && vm->snapshots.items[i].view == ticket->view)
            is_found = find_path(connection, &vm->snapshots.items[i].disks, path);
    if (!is_found)
        return LAB_NFC_NO_DISK;
    connection->view = ticket->view;
    connection->machine = vm->machine;
    return LAB_NFC_OK;
}

/* False ends the connection. */
static bool
handle_hello(struct connection *connection, const struct lab_nfc_header *header)
{
    const char *text = (const char *)connection->hello, *path;
    enum lab_nfc_status status = LAB_NFC_NO_TICKET;
    struct lab_fault fault;
    struct ticket ticket;
    size_t length = strnlen(text, header->length);

    connection->hello[header->length] = '\0';
    path = length < header->length ? text + length + 1 : "";
    if (lab_fault_take(connection->nfc->lab->faults, "nfc.open", &fault)) {
        if (!strncmp(fault.action, "drop", 4))
            return false;
        answer_failed(connection, header, fault.detail[0] ? fault.detail : "the lab says no");
        return true;
    }
    if (find_ticket(connection->nfc, text, &ticket))
        status = find_disk(connection, &ticket, path);
    answer(connection, header, status, status == LAB_NFC_OK ? connection->capacity : 0, NULL, 0);
    return true;
}

/* Lock held.  When the answer to a read of @bytes may go out. */
static int64_t
pace_read(struct connection *connection, uint64_t bytes)
{
    struct lab_nfc *nfc = connection->nfc;
    int64_t delay_ms =
        connection->delay_ms >= 0 ? connection->delay_ms : (int64_t)nfc->settings.delay_ms;
    int64_t ready_ns = nfc_now_ns() + delay_ms * NS_PER_MS;
    int64_t own_ns =
        nfc_line_pass(&connection->line, ready_ns, bytes, nfc->settings.connection_rate);
    int64_t all_ns = nfc_line_pass(&nfc->line, ready_ns, bytes, nfc->settings.rate);

    return MAX(own_ns, all_ns);
}

static bool
queue_work(struct connection *connection, const struct lab_nfc_header *header)
{
    struct lab_nfc *nfc = connection->nfc;
    struct work *work;

    if (!connection->machine || !is_inside(connection, header) ||
        (header->op == LAB_NFC_READ && header->b > LAB_NFC_MAX_READ))
        return false;
    work = xcalloc(1, sizeof(*work));
    work->connection = connection;
    work->header = *header;
    SCOPE_LOCK(&nfc->lock);
    if (connection->in_flight >= MAX_IN_FLIGHT) {
        free(work);
        return false;
    }
    connection->in_flight++;
    work->item.due_ns =
        header->op == LAB_NFC_READ ? pace_read(connection, header->b) : nfc_now_ns();
    nfc_queue_put(&nfc->queue, &work->item);
    return true;
}

static void *
place_payload(void *opaque, const struct lab_nfc_header *header)
{
    struct connection *connection = opaque;

    /* Only the hello carries anything. */
    return header->op == LAB_NFC_HELLO && !connection->machine && header->length <= MAX_HELLO
               ? connection->hello
               : NULL;
}

static bool
handle_frame(void *opaque, const struct lab_nfc_header *header, void *payload)
{
    switch (header->op) {
    case LAB_NFC_HELLO:
        return payload && handle_hello(opaque, header);
    case LAB_NFC_READ:
    case LAB_NFC_EXTENTS:
        return queue_work(opaque, header);
    default:
        return false;
    }
}

/* ---- connections ------------------------------------------------------------------------------ */

/* A client that does not get on with its handshake must not keep its thread. */
static SSL *
shake_hands(struct connection *connection)
{
    struct timeval patience = {.tv_sec = HANDSHAKE_MS / 1000};
    SSL *ssl = SSL_new(connection->nfc->tls);

    (void)setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (ssl && SSL_set_fd(ssl, connection->fd) == 1 && SSL_accept(ssl) == 1)
        return ssl;
    ERR_clear_error();
    SSL_free(ssl);
    return NULL;
}

static bool
is_of_connection(const struct nfc_item *item, const void *connection)
{
    return of_item(item)->connection == connection;
}

/* Nobody waits any more for what was asked of us and has not begun. */
static void
drop_work(struct connection *connection)
{
    struct nfc_item *items =
        nfc_queue_remove(&connection->nfc->queue, is_of_connection, connection);

    while (items) {
        struct work *work = of_item(items);

        items = items->next;
        free(work);
        SCOPE_LOCK(&connection->nfc->lock);
        connection->in_flight--;
    }
}

static void
serve_connection(struct connection *connection)
{
    static const struct nfc_link_ops ops = {.place = place_payload, .frame = handle_frame};
    struct lab_nfc *nfc = connection->nfc;
    SSL *ssl = shake_hands(connection);
    bool is_ready;

    if (!ssl)
        return;
    is_ready = nfc_link_init(&connection->link, ssl, connection->fd);
    pthread_mutex_lock(&nfc->lock);
    connection->has_link = is_ready;
    is_ready &= !nfc->is_stopping;
    pthread_mutex_unlock(&nfc->lock);
    if (is_ready)
        nfc_link_run(&connection->link, &ops, connection);
    drop_work(connection);
    /* Workers still send into the link. */
    pthread_mutex_lock(&nfc->lock);
    while (connection->in_flight)
        pthread_cond_wait(&nfc->in_flight_changed, &nfc->lock);
    connection->has_link = false;
    connection->fd = -1; /* the link's, and nobody may shut down a number that is used again */
    pthread_mutex_unlock(&nfc->lock);
    nfc_link_done(&connection->link);
}

static void *
connection_main(void *opaque)
{
    struct connection *connection = opaque;

    serve_connection(connection);
    SCOPE_LOCK(&connection->nfc->lock);
    close_fdp(&connection->fd);
    connection->fd = -1;
    connection->is_over = true;
    return NULL;
}

/* Joins connections whose thread has ended, or all. */
static void
join_connections(struct lab_nfc *nfc, bool is_all)
{
    struct connection **at, *connection, *ended = NULL;

    pthread_mutex_lock(&nfc->lock);
    for (at = &nfc->connections; (connection = *at);) {
        if (!is_all && !connection->is_over) {
            at = &connection->next;
            continue;
        }
        if (connection->has_link)
            nfc_link_stop(&connection->link);
        else if (connection->fd >= 0)
            (void)shutdown(connection->fd, SHUT_RDWR);
        *at = connection->next;
        connection->next = ended;
        ended = connection;
        nfc->connection_count--;
    }
    pthread_mutex_unlock(&nfc->lock);
    while ((connection = ended)) {
        ended = connection->next;
        pthread_join(connection->thread, NULL);
        free(connection);
    }
}

static void
add_connection(struct lab_nfc *nfc, int fd)
{
    struct connection *connection = xcalloc(1, sizeof(*connection));

    connection->nfc = nfc;
    connection->fd = fd;
    SCOPE_LOCK(&nfc->lock);
    if (nfc->is_stopping || nfc->connection_count >= MAX_CONNECTIONS ||
        pthread_create(&connection->thread, NULL, connection_main, connection) != 0) {
        close(fd);
        free(connection);
        return;
    }
    connection->next = nfc->connections;
    nfc->connections = connection;
    nfc->connection_count++;
}

static void *
acceptor_main(void *opaque)
{
    struct lab_nfc *nfc = opaque;

    for (;;) {
        int fd = accept4(nfc->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        bool is_stopping;

        pthread_mutex_lock(&nfc->lock);
        is_stopping = nfc->is_stopping;
        pthread_mutex_unlock(&nfc->lock);
        if (is_stopping) {
            close_fdp(&fd);
            return NULL;
        }
        if (fd >= 0)
            add_connection(nfc, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            (void)poll(NULL, 0, 50); /* out of fds: they come back */
        join_connections(nfc, false);
    }
}

/* ---- start and stop --------------------------------------------------------------------------- */

static SSL_CTX *
make_tls(const struct lab_certificate *certificate, struct err **err)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    BIO *cert_bio = BIO_new_mem_buf(certificate->cert_pem, -1);
    BIO *key_bio = BIO_new_mem_buf(certificate->key_pem, -1);
    X509 *cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    bool is_usable = tls && cert && key && SSL_CTX_use_certificate(tls, cert) == 1 &&
                     SSL_CTX_use_PrivateKey(tls, key) == 1;

    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    if (is_usable)
        return tls;
    SSL_CTX_free(tls);
    return err_null(err, E_IO, "the disk server cannot use the lab's certificate");
}

static int
listen_on_loopback(struct lab_nfc *nfc, struct err **err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    nfc->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (nfc->listen_fd < 0 || bind(nfc->listen_fd, (struct sockaddr *)&address, length) < 0 ||
        listen(nfc->listen_fd, 128) < 0 ||
        getsockname(nfc->listen_fd, (struct sockaddr *)&address, &length) < 0)
        return err_set_errno(err, E_IO, errno, "the disk server cannot listen on 127.0.0.1");
    nfc->port = ntohs(address.sin_port);
    return 0;
}

static int
start_threads(struct lab_nfc *nfc, struct err **err)
{
    for (; nfc->worker_count < WORKERS; nfc->worker_count++)
        if (pthread_create(&nfc->workers[nfc->worker_count], NULL, worker_main, nfc) != 0)
            return err_set(err, E_MEMORY, "the disk server cannot start a thread");
    if (pthread_create(&nfc->acceptor, NULL, acceptor_main, nfc) != 0)
        return err_set(err, E_MEMORY, "the disk server cannot start a thread");
    nfc->has_acceptor = true;
    return 0;
}

int
lab_nfc_start(struct lab *lab, struct err **err)
{
    struct lab_nfc *nfc = xcalloc(1, sizeof(*nfc));

    nfc->lab = lab;
    nfc->listen_fd = -1;
    nfc->settings = lab->nfc_settings;
    nfc_queue_init(&nfc->queue);
    pthread_mutex_init(&nfc->lock, NULL);
    pthread_cond_init(&nfc->in_flight_changed, NULL);
    lab->nfc = nfc;
    nfc->tls = make_tls(&lab->certificate, err);
    if (nfc->tls && listen_on_loopback(nfc, err) == 0 && start_threads(nfc, err) == 0)
        return 0;
    lab_nfc_stop(lab);
    return -1;
}

unsigned
lab_nfc_port(const struct lab *lab)
{
    return lab->nfc->port;
}

void
lab_nfc_set(struct lab *lab, const struct lab_nfc_settings *settings)
{
    SCOPE_LOCK(&lab->nfc->lock);
    lab->nfc->settings = *settings;
}

void
lab_nfc_get(struct lab *lab, struct lab_nfc_settings *ret_settings)
{
    SCOPE_LOCK(&lab->nfc->lock);
    *ret_settings = lab->nfc->settings;
}

void
lab_nfc_ticket(struct lab *lab, const char *vm_moref, uint64_t view, char ret_ticket[64])
{
    static const char digits[] = "0123456789abcdef";
    struct ticket ticket = {.view = view};
    unsigned char random[16];

    if (RAND_bytes(random, sizeof(random)) != 1)
        abort();
    for (size_t i = 0; i < sizeof(random); i++) {
        ticket.text[2 * i] = digits[random[i] >> 4];
        ticket.text[2 * i + 1] = digits[random[i] & 15];
    }
    (void)snprintf(ticket.vm_moref, sizeof(ticket.vm_moref), "%s", vm_moref);
    SCOPE_LOCK(&lab->nfc->lock);
    vec_push(&lab->nfc->tickets, ticket);
    memcpy(ret_ticket, ticket.text, sizeof(ticket.text));
}

void
lab_nfc_stop(struct lab *lab)
{
    struct lab_nfc *nfc = take(lab->nfc);
    struct buffer *buffer;

    if (!nfc)
        return;
    pthread_mutex_lock(&nfc->lock);
    nfc->is_stopping = true;
    pthread_mutex_unlock(&nfc->lock);
    if (nfc->listen_fd >= 0)
        (void)shutdown(nfc->listen_fd, SHUT_RDWR); /* wakes accept */
    if (nfc->has_acceptor)
        pthread_join(nfc->acceptor, NULL);
    /* Connections wait for their requests, so the workers go last. */
    join_connections(nfc, true);
    nfc_queue_stop(&nfc->queue);
    for (unsigned i = 0; i < nfc->worker_count; i++)
        pthread_join(nfc->workers[i], NULL);
    while ((buffer = nfc->buffers)) {
        nfc->buffers = buffer->next;
        free(buffer);
    }
    vec_done(&nfc->tickets);
    SSL_CTX_free(nfc->tls);
    close_fdp(&nfc->listen_fd);
    nfc_queue_done(&nfc->queue);
    pthread_cond_destroy(&nfc->in_flight_changed);
    pthread_mutex_destroy(&nfc->lock);
    free(nfc);
}
