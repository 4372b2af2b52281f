#include "disks/nfc_link.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#define MAX_PAYLOAD (16U * 1024 * 1024)

enum progress {
    PROGRESS_NONE,
    PROGRESS_SOME,
    PROGRESS_OVER, /* closed or broken */
};

static void
put32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static void
put64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t
get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t
get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

static void
pack_header(const struct lab_nfc_header *header, uint8_t raw[NFC_LINK_HEADER])
{
    put32(raw, LAB_NFC_MAGIC);
    put32(raw + 4, header->op);
    put32(raw + 8, header->status);
    put32(raw + 12, header->length);
    put64(raw + 16, header->id);
    put64(raw + 24, header->a);
    put64(raw + 32, header->b);
}

static void
unpack_header(const uint8_t raw[NFC_LINK_HEADER], struct lab_nfc_header *header)
{
    header->magic = get32(raw);
    header->op = get32(raw + 4);
    header->status = get32(raw + 8);
    header->length = get32(raw + 12);
    header->id = get64(raw + 16);
    header->a = get64(raw + 24);
    header->b = get64(raw + 32);
}

bool
nfc_link_init(struct nfc_link *link, SSL *ssl, int fd)
{
    memset(link, 0, sizeof(*link));
    link->ssl = ssl;
    link->fd = fd;
    link->out_tail = &link->out;
    pthread_mutex_init(&link->lock, NULL);
    link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return link->wake_fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

void
nfc_link_send(struct nfc_link *link, struct nfc_frame *frame)
{
    frame->next = NULL;
    pthread_mutex_lock(&link->lock);
    *link->out_tail = frame;
    link->out_tail = &frame->next;
    pthread_mutex_unlock(&link->lock);
    (void)!write(link->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

void
nfc_link_stop(struct nfc_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->is_stopped = true;
    pthread_mutex_unlock(&link->lock);
    (void)!write(link->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* What an SSL call of @result means; >0 is handled by the caller. */
static enum progress
judge(struct nfc_link *link, int result)
{
    switch (SSL_get_error(link->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        link->wants |= POLLIN;
        return PROGRESS_NONE;
    case SSL_ERROR_WANT_WRITE:
        link->wants |= POLLOUT;
        return PROGRESS_NONE;
    default:
        ERR_clear_error();
        return PROGRESS_OVER;
    }
}

static bool
next_frame(struct nfc_link *link)
{
    if (link->sending)
        return true;
    pthread_mutex_lock(&link->lock);
    link->sending = link->out;
    if (link->sending) {
        link->out = link->sending->next;
        if (!link->out)
            link->out_tail = &link->out;
    }
    pthread_mutex_unlock(&link->lock);
    if (!link->sending)
        return false;
    pack_header(&link->sending->header, link->send_header);
    link->sent = 0;
    return true;
}

static enum progress
send_some(struct nfc_link *link)
{
    struct nfc_frame *frame;
    const uint8_t *from;
    size_t left;
    int n;

    if (!next_frame(link))
        return PROGRESS_NONE;
    frame = link->sending;
    if (link->sent < NFC_LINK_HEADER) {
        from = link->send_header + link->sent;
        left = NFC_LINK_HEADER - link->sent;
    } else {
        from = frame->payload + (link->sent - NFC_LINK_HEADER);
        left = NFC_LINK_HEADER + frame->header.length - link->sent;
    }
    n = SSL_write(link->ssl, from, (int)left);
    if (n <= 0)
        return judge(link, n);
    link->sent += (size_t)n;
    if (link->sent == NFC_LINK_HEADER + frame->header.length) {
        link->sending = NULL;
        frame->release(frame);
    }
    return PROGRESS_SOME;
}

static enum progress
take_frame(struct nfc_link *link, const struct nfc_link_ops *ops, void *opaque)
{
    uint8_t *payload = link->payload;

    link->received = 0;
    link->payload = NULL;
    return ops->frame(opaque, &link->incoming, payload) ? PROGRESS_SOME : PROGRESS_OVER;
}

static enum progress
take_header(struct nfc_link *link, const struct nfc_link_ops *ops, void *opaque)
{
    unpack_header(link->receive_header, &link->incoming);
    if (link->incoming.magic != LAB_NFC_MAGIC || link->incoming.length > MAX_PAYLOAD)
        return PROGRESS_OVER;
    if (link->incoming.length == 0)
        return take_frame(link, ops, opaque);
    link->payload = ops->place(opaque, &link->incoming);
    return link->payload ? PROGRESS_SOME : PROGRESS_OVER;
}

static enum progress
receive_some(struct nfc_link *link, const struct nfc_link_ops *ops, void *opaque)
{
    uint8_t *to;
    size_t left;
    int n;

    if (link->received < NFC_LINK_HEADER) {
        to = link->receive_header + link->received;
        left = NFC_LINK_HEADER - link->received;
    } else {
        to = link->payload + (link->received - NFC_LINK_HEADER);
        left = NFC_LINK_HEADER + link->incoming.length - link->received;
    }
    n = SSL_read(link->ssl, to, (int)left);
    if (n <= 0)
        return judge(link, n);
    link->received += (size_t)n;
    if (link->received == NFC_LINK_HEADER)
        return take_header(link, ops, opaque);
    if (link->received == NFC_LINK_HEADER + link->incoming.length)
        return take_frame(link, ops, opaque);
    return PROGRESS_SOME;
}

static bool
wait_for_work(struct nfc_link *link)
{
    struct pollfd p[2] = {{.fd = link->fd, .events = link->wants},
                          {.fd = link->wake_fd, .events = POLLIN}};
    bool is_stopped;

    pthread_mutex_lock(&link->lock);
    is_stopped = link->is_stopped;
    pthread_mutex_unlock(&link->lock);
    if (is_stopped)
        return false;
    if (poll(p, 2, -1) < 0 && errno != EINTR)
        return false;
    if (p[1].revents)
        (void)!read(link->wake_fd, &(uint64_t){0}, sizeof(uint64_t));
    return true;
}

void
nfc_link_run(struct nfc_link *link, const struct nfc_link_ops *ops, void *opaque)
{
    for (;;) {
        enum progress sending, receiving;

        link->wants = 0;
        sending = send_some(link);
        receiving = receive_some(link, ops, opaque);
        if (sending == PROGRESS_OVER || receiving == PROGRESS_OVER)
            return;
        if (sending == PROGRESS_NONE && receiving == PROGRESS_NONE && !wait_for_work(link))
            return;
    }
}

void
nfc_link_done(struct nfc_link *link)
{
    struct nfc_frame *frame;

    if (link->sending)
        link->sending->release(link->sending);
    while ((frame = link->out)) {
        link->out = frame->next;
        frame->release(frame);
    }
    SSL_free(link->ssl);
    close(link->fd);
    if (link->wake_fd >= 0)
        close(link->wake_fd);
    pthread_mutex_destroy(&link->lock);
}
