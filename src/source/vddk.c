/* A disk read by v2c-vddk, a process of its own (vddk/wire.h).
 *
 * Everything happens on the caller's thread: requests go out as packets at once, answers are taken
 * from the socket in reap.  While extents waits for its answer, answers of reads come too; these are
 * kept for the next reap, and an eventfd keeps poll_fd readable until then.  A timer behind the same
 * poll_fd finds a process that hangs.
 *
 * A process that dies or speaks nonsense is buried: ended and waited for first, so that it writes into
 * no slot any more, and only then every read in flight fails. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "source/source.h"
#include "source/vddk.h"
#include "source/vddk_answer.h"
#include "source/vddk_explain.h"
#include "source/vddk_lines.h"
#include "source/vddk_program.h"
#include "source/vddk_tuning.h"
#include "source/vddk_window.h"
#include "vddk/wire.h"

#define DEFAULT_PORT             443
#define DEFAULT_QUEUE_DEPTH      16
#define DEFAULT_START_TIMEOUT_MS 120000
#define DEFAULT_READ_TIMEOUT_MS  300000
#define SEND_TIMEOUT_MS          10000
#define CLOSE_TIMEOUT_MS         20000 /* for what is in flight, and for VDDK's own clean-up */
#define DEATH_TIMEOUT_MS         2000  /* from the end of its socket to its end */

_Static_assert(VDDK_WIRE_SLOT_BYTES == DISK_MAX_REQUEST,
               "a slot of the pool is a slot of the wire");

struct in_flight {
    struct disk_request *request; /* NULL: the slot is free */
    uint64_t id;                  /* of the piece that is on its way; 0: none, it is held back */
    uint32_t done, asked;         /* bytes of it that have come, and of that piece */
    unsigned epoch;               /* of the window, when the piece was sent */
};

struct vddk_source {
    struct disk_source source;
    struct child child;
    pid_t pid;
    int socket_fd, event_fd, timer_fd;
    int read_timeout_ms;
    struct in_flight *in_flight; /* by slot */
    size_t slot_count;
    unsigned in_flight_count;                       /* requests */
    struct vddk_window window;                      /* what of them may be on its way at a time */
    unsigned sent_count;                            /* what is */
    struct disk_request *held, **held_tail;         /* what waits for room in the window */
    struct disk_request *finished, **finished_tail; /* their impl: struct err *, or NULL */
    struct err *death; /* why nothing can be read any more; NULL while it lives */
    bool is_closing, has_extents, is_timer_armed;
    uint64_t last_id;
    int64_t last_answer_ms;
    char transport[64];
    struct vddk_lines lines;  /* its stderr */
    union vddk_answer packet; /* the last one that came */
};

static struct vddk_source *
of_source(const struct disk_source *source)
{
    return (struct vddk_source *)((const char *)source - offsetof(struct vddk_source, source));
}

/* ---- finished reads ---------------------------------------------------------------------------- */

/* Takes @error over. */
static void
finish(struct vddk_source *vddk, struct in_flight *entry, struct err *error)
{
    struct disk_request *request = take(entry->request);

    if (take(entry->id))
        vddk->sent_count--;
    vddk->in_flight_count--;
    vddk->last_answer_ms = clock_monotonic_ms();
    request->impl = error;
    request->next = NULL;
    *vddk->finished_tail = request;
    vddk->finished_tail = &request->next;
}

/* Makes poll_fd readable until the next reap. */
static void
ring(struct vddk_source *vddk)
{
    (void)!write(vddk->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static unsigned
deliver(struct vddk_source *vddk)
{
    unsigned count = 0;

    while (vddk->finished) {
        struct disk_request *request = vddk->finished;

        vddk->finished = request->next;
        if (!vddk->finished)
            vddk->finished_tail = &vddk->finished;
        request->next = NULL;
        count++;
        request->done(request, take(request->impl));
    }
    return count;
}

/* ---- the end of the process -------------------------------------------------------------------- */

/* Takes @death over; every read in flight fails with it. */
static void
bury(struct vddk_source *vddk, struct err *death)
{
    child_stop(&vddk->child, 0);
    vddk_lines_pump(&vddk->lines);
    vddk_lines_done(&vddk->lines);
    close_fdp(&vddk->socket_fd);
    vddk->socket_fd = -1;
    vddk->death = death;
    vddk->held = NULL;
    vddk->held_tail = &vddk->held;
    for (size_t slot = 0; slot < vddk->slot_count; slot++)
        if (vddk->in_flight[slot].request)
            finish(vddk, &vddk->in_flight[slot], err_copy(death));
    if (vddk->finished)
        ring(vddk);
}

/* Its end of the socket is closed: it dies, or is dead. */
static void
bury_dead(struct vddk_source *vddk)
{
    struct err *death = NULL;
    int status = 0;
    bool has_ended = child_wait(&vddk->child, DEATH_TIMEOUT_MS, &status, NULL) == 0;

    vddk_lines_pump(&vddk->lines);
    err_set(&death, E_VDDK_CRASH, "v2c-vddk (process %ld) died: %s%s%s", (long)vddk->pid,
            has_ended ? child_describe_status(status) : "it closed its socket",
            vddk->lines.last[0] ? "; its last words: " : "", vddk->lines.last);
    err_hint(&death, "VDDK is known to crash; the copy goes on from its last checkpoint.  If this "
                     "repeats, try another version of VDDK, and V2C_LOG=debug");
    bury(vddk, death);
}

static void
bury_hanging(struct vddk_source *vddk, const char *what, int timeout_ms)
{
    struct err *death = NULL;

    err_set(&death, E_TIMEOUT, "v2c-vddk (process %ld) does not answer %s for %d s: killed",
            (long)vddk->pid, what, timeout_ms / 1000);
    err_hint(&death, "see whether the ESXi host and its storage are well, and V2C_LOG=debug");
    bury(vddk, death);
}

static void
bury_liar(struct vddk_source *vddk, const char *what)
{
    struct err *death = NULL;

    err_set(&death, E_VDDK_PROTOCOL, "v2c-vddk (process %ld) spoke nonsense: %s", (long)vddk->pid,
            what);
    bury(vddk, death);
}

static int
fail_dead(const struct vddk_source *vddk, struct err **err)
{
    struct err *copy = err_copy(vddk->death);

    return err_move(err, &copy);
}

/* ---- packets ----------------------------------------------------------------------------------- */

static bool
wait_for_socket(struct vddk_source *vddk, short events, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = vddk->socket_fd, .events = events},
                              {.fd = vddk->lines.fd, .events = POLLIN}};
        int64_t left = deadline_ms - clock_monotonic_ms();
        int n = poll(p, 2, (int)MAX(left, 0));

        vddk_lines_pump(&vddk->lines);
        if (n > 0 && p[0].revents)
            return true;
        if (left <= 0)
            return false;
    }
}

/* -1: the process is dead and buried. */
static int
send_packet(struct vddk_source *vddk, const void *packet, size_t size)
{
    int64_t deadline_ms = clock_monotonic_ms() + SEND_TIMEOUT_MS;

    while (send(vddk->socket_fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != ENOBUFS) {
            bury_dead(vddk);
            return -1;
        }
        /* Its socket thread waits for nothing, so this is short or for ever. */
        if (!wait_for_socket(vddk, POLLOUT, deadline_ms)) {
            bury_hanging(vddk, "its socket", SEND_TIMEOUT_MS);
            return -1;
        }
    }
    return 0;
}

/* The next packet without waiting: 1 one came, 0 none is there, -1 the process is buried. */
static int
receive_packet(struct vddk_source *vddk)
{
    ssize_t n;

    do
        n = recv(vddk->socket_fd, &vddk->packet, sizeof(vddk->packet), MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0) {
        bury_dead(vddk);
        return -1;
    }
    if ((size_t)n > sizeof(vddk->packet) || !vddk_answer_check(&vddk->packet, (size_t)n)) {
        bury_liar(vddk, "a packet of the wrong size");
        return -1;
    }
    return 1;
}

/* ---- reads ------------------------------------------------------------------------------------- */

static uint64_t
next_id(struct vddk_source *vddk, uint32_t slot)
{
    /* The slot is what is left of the id modulo the number of slots. */
    vddk->last_id += vddk->slot_count;
    return vddk->last_id + slot;
}

/* Sends for what is next of a request, as much as the window allows. */
static void
send_piece(struct vddk_source *vddk, struct in_flight *entry)
{
    const struct disk_request *request = entry->request;
    struct vddk_wire_range range = {
        .header = {VDDK_WIRE_VERSION, VDDK_WIRE_READ, next_id(vddk, request->slot->index)},
        .offset = request->offset + entry->done,
        .length = MIN(request->length - entry->done, vddk->window.piece),
        .slot = request->slot->index,
        .slot_offset = entry->done,
    };

    entry->id = range.header.id;
    entry->asked = (uint32_t)range.length;
    entry->epoch = vddk->window.epoch;
    vddk->sent_count++;
    (void)send_packet(vddk, &range, sizeof(range)); /* fails by burying, which ends the request */
}

static void
send_held(struct vddk_source *vddk)
{
    while (vddk->held && vddk->sent_count < vddk->window.reads) {
        struct disk_request *request = vddk->held;

        vddk->held = request->next;
        if (!vddk->held)
            vddk->held_tail = &vddk->held;
        request->next = NULL;
        send_piece(vddk, &vddk->in_flight[request->slot->index]);
    }
}

/* A piece has come: on to the next. */
static void
take_piece(struct vddk_source *vddk, struct in_flight *entry)
{
    struct err *error = NULL;

    vddk_window_good(&vddk->window);
    entry->done += entry->asked;
    if (entry->done == entry->request->length) {
        finish(vddk, entry, NULL);
    } else if (vddk->is_closing) {
        err_set(&error, E_CANCELLED, "the source is being closed");
        finish(vddk, entry, error);
    } else {
        entry->id = 0;
        vddk->sent_count--;
        send_piece(vddk, entry);
    }
}

/* The host had no memory for a piece: it is asked for once more, when there is room in the window, which
 * is narrower now.  False when that would be no use. */
static bool
hold_refused(struct vddk_source *vddk, struct in_flight *entry)
{
    if (vddk->is_closing || !vddk_window_refused(&vddk->window, entry->epoch, vddk->sent_count))
        return false;
    if (vddk->window.refusals == 1)
        log_debug("the ESXi host is short of memory for disk sessions: fewer reads at a time");
    entry->id = 0;
    vddk->sent_count--;
    entry->request->next = vddk->held;
    if (!vddk->held)
        vddk->held_tail = &entry->request->next;
    vddk->held = entry->request;
    return true;
}

static void
take_read_answer(struct vddk_source *vddk)
{
    const struct vddk_wire_read_answer *answer = &vddk->packet.read;
    struct in_flight *entry = &vddk->in_flight[answer->header.id % vddk->slot_count];
    struct err *error = NULL;

    if (!entry->request || entry->id == 0 || entry->id != answer->header.id) {
        bury_liar(vddk, "an answer to no read");
        return;
    }
    vddk->last_answer_ms = clock_monotonic_ms();
    if (answer->result.failure == VDDK_WIRE_OK) {
        take_piece(vddk, entry);
    } else if (!vddk_is_memory(&answer->result) || !hold_refused(vddk, entry)) {
        vddk_explain_read(entry->request->offset, &answer->result, &error);
        finish(vddk, entry, error);
    }
    send_held(vddk);
}

/* Takes answers of reads until one of @type comes (true, in vddk->packet) or the deadline passes or
 * the process dies (false; buried). */
static bool
await(struct vddk_source *vddk, uint32_t type, const char *what, int timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;

    while (!vddk->death) {
        int got = receive_packet(vddk);

        if (got > 0 && vddk->packet.header.type == type)
            return true;
        if (got > 0 && vddk->packet.header.type == VDDK_WIRE_READ)
            take_read_answer(vddk);
        else if (got > 0)
            bury_liar(vddk, "an answer to no request");
        else if (got == 0 && !wait_for_socket(vddk, POLLIN, deadline_ms))
            bury_hanging(vddk, what, timeout_ms);
    }
    return false;
}

/* ---- the source -------------------------------------------------------------------------------- */

static int
vddk_read(struct disk_source *source, struct disk_request *request, struct err **err)
{
    struct vddk_source *vddk = of_source(source);
    uint32_t slot = request->slot->index;

    if (vddk->death)
        return fail_dead(vddk, err);
    if (vddk->is_closing)
        return err_set(err, E_CANCELLED, "the source is being closed");
    if (slot >= vddk->slot_count || vddk->in_flight[slot].request)
        return err_set(err, E_BUG, "slot %" PRIu32 " is not there or busy", slot);
    if (request->length == 0 || request->length > DISK_MAX_REQUEST ||
        request->length % DISK_SECTOR || request->offset % DISK_SECTOR ||
        request->offset > source->size || request->length > source->size - request->offset)
        return err_set(err, E_BUG, "a read of %" PRIu32 " bytes at %" PRIu64 " of %" PRIu64,
                       request->length, request->offset, source->size);
    if (vddk->in_flight_count++ == 0)
        vddk->last_answer_ms = clock_monotonic_ms();
    vddk->in_flight[slot] = (struct in_flight){.request = request};
    request->next = NULL;
    *vddk->held_tail = request;
    vddk->held_tail = &request->next;
    send_held(vddk);
    return 0;
}

static void
arm_timer(struct vddk_source *vddk, int64_t ms)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 + 1}};

    (void)timerfd_settime(vddk->timer_fd, 0, &when, NULL);
    vddk->is_timer_armed = true;
}

/* The packets went out already: only a watch is kept on their answers. */
static int
vddk_submit(struct disk_source *source, struct err **err)
{
    struct vddk_source *vddk = of_source(source);

    if (vddk->in_flight_count && !vddk->is_timer_armed)
        arm_timer(vddk, vddk->read_timeout_ms);
    return 0;
}

static void
check_timer(struct vddk_source *vddk)
{
    int64_t quiet_ms = clock_monotonic_ms() - vddk->last_answer_ms;
    uint64_t count;

    if (read(vddk->timer_fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return;
    vddk->is_timer_armed = false;
    if (vddk->in_flight_count == 0 || vddk->death)
        return;
    if (quiet_ms >= vddk->read_timeout_ms)
        bury_hanging(vddk, "a read", vddk->read_timeout_ms);
    else
        arm_timer(vddk, vddk->read_timeout_ms - quiet_ms);
}

static int
vddk_reap(struct disk_source *source, unsigned *ret_count, struct err **err)
{
    struct vddk_source *vddk = of_source(source);
    uint64_t count;

    (void)!read(vddk->event_fd, &count, sizeof(count));
    vddk_lines_pump(&vddk->lines);
    while (!vddk->death && receive_packet(vddk) > 0) {
        if (vddk->packet.header.type == VDDK_WIRE_READ)
            take_read_answer(vddk);
        else
            bury_liar(vddk, "an answer to no request");
    }
    check_timer(vddk);
    (void)!read(vddk->event_fd, &count, sizeof(count));
    *ret_count = deliver(vddk);
    return 0;
}

static int
vddk_extents(struct disk_source *source, uint64_t offset, uint64_t length, struct extents *extents,
             struct err **err)
{
    struct vddk_source *vddk = of_source(source);
    uint64_t end = offset + length;

    while (offset < end && vddk->has_extents && !vddk->death) {
        struct vddk_wire_range range = {
            .header = {VDDK_WIRE_VERSION, VDDK_WIRE_EXTENTS, next_id(vddk, 0)},
            .offset = offset,
            .length = end - offset,
        };
        const struct vddk_wire_extents_answer *answer = &vddk->packet.extents;

        if (send_packet(vddk, &range, sizeof(range)) < 0 ||
            !await(vddk, VDDK_WIRE_EXTENTS, "a query of allocated blocks", vddk->read_timeout_ms))
            break;
        if (answer->result.failure != VDDK_WIRE_OK) {
            log_debug("VDDK does not tell what is allocated: %s", answer->result.text);
            vddk->has_extents = false;
        } else if (vddk_answer_extents(answer, offset, end - offset, extents)) {
            offset += answer->covered;
        } else {
            bury_liar(vddk, "allocated blocks outside of what was asked for");
        }
    }
    if (vddk->finished)
        ring(vddk);
    if (vddk->death)
        return fail_dead(vddk, err);
    if (offset < end)
        vec_push(extents, (struct extent){offset, end - offset});
    return 0;
}

/* Lets VDDK close the disk as it should: else the session on the host lives on until it times out. */
static void
close_politely(struct vddk_source *vddk)
{
    struct vddk_wire_header close_packet = {VDDK_WIRE_VERSION, VDDK_WIRE_CLOSE, next_id(vddk, 0)};
    int status;

    if (send_packet(vddk, &close_packet, sizeof(close_packet)) < 0 ||
        !await(vddk, VDDK_WIRE_CLOSE, "the close", CLOSE_TIMEOUT_MS)) {
        log_debug("%s", err_message(vddk->death));
        return;
    }
    close_fdp(&vddk->socket_fd);
    vddk->socket_fd = -1;
    if (child_wait(&vddk->child, DEATH_TIMEOUT_MS, &status, NULL) == 0 && status != 0)
        log_debug("v2c-vddk (process %ld) ended after its work: %s", (long)vddk->pid,
                  child_describe_status(status));
}

static void
vddk_free(struct vddk_source *vddk)
{
    child_stop(&vddk->child, 0);
    vddk_lines_pump(&vddk->lines);
    vddk_lines_done(&vddk->lines);
    close_fdp(&vddk->socket_fd);
    close_fdp(&vddk->event_fd);
    close_fdp(&vddk->timer_fd);
    close_fdp(&vddk->source.poll_fd);
    err_free(vddk->death);
    free(vddk->in_flight);
    free(vddk);
}

static void
vddk_freep(struct vddk_source **vddk)
{
    if (*vddk)
        vddk_free(*vddk);
}

static void
cancel_held(struct vddk_source *vddk)
{
    while (vddk->held) {
        struct disk_request *request = vddk->held;
        struct err *error = NULL;

        vddk->held = request->next;
        err_set(&error, E_CANCELLED, "the source is being closed");
        finish(vddk, &vddk->in_flight[request->slot->index], error);
    }
    vddk->held_tail = &vddk->held;
}

static void
vddk_close(struct disk_source *source)
{
    struct vddk_source *vddk = of_source(source);

    vddk->is_closing = true;
    cancel_held(vddk);
    if (!vddk->death)
        close_politely(vddk);
    (void)deliver(vddk);
    vddk_free(vddk);
}

static const struct disk_source_ops vddk_ops = {
    .name = "vddk",
    .extents = vddk_extents,
    .read = vddk_read,
    .submit = vddk_submit,
    .reap = vddk_reap,
    .close = vddk_close,
};

const char *
source_vddk_transport(const struct disk_source *source)
{
    return of_source(vddk_pair_first(source))->transport;
}

int
source_vddk_pid(const struct disk_source *source)
{
    return of_source(vddk_pair_first(source))->pid;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static int
start_process(struct vddk_source *vddk, const struct source_vddk_options *options, struct err **err)
{
    CLEANUP(free_charp) char *program = vddk_find_program(options->program);
    CLEANUP(free_charp) char *variable = NULL;
    CLEANUP(close_fdp) int theirs = -1;
    CLEANUP(close_fdp) int their_stderr = -1;
    int ends[2];

    if (vddk_library_variable(options->libdir, &variable, err) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return err_set_errno(err, E_SPAWN, errno, "a socket pair for v2c-vddk");
    vddk->socket_fd = ends[0];
    theirs = ends[1];
    if (vddk_lines_open(&vddk->lines, &their_stderr, err) < 0)
        return -1;
    if (child_start(
            &(struct child_spec){
                .argv = (const char *const[]){program, NULL},
                .set_env = (const char *const[]){variable, NULL},
                .pass_fds = (const struct child_fd[]){{their_stderr, STDOUT_FILENO},
                                                      {their_stderr, STDERR_FILENO},
                                                      {theirs, VDDK_WIRE_SOCKET_FD},
                                                      {options->pool->memfd, VDDK_WIRE_MEMORY_FD}},
                .pass_fd_count = 4,
                .dies_with_parent = true,
            },
            &vddk->child, err) < 0) {
        err_hint(err, "v2c-vddk belongs beside v2c-engine or in ../libexec/v2c-engine: install the "
                      "whole package, or set V2C_VDDK_PROGRAM");
        return -1;
    }
    vddk->pid = vddk->child.pid;
    return 0;
}

static int
put_text(char *to, size_t size, const char *text, const char *what, struct err **err)
{
    if (snprintf(to, size, "%s", text ? text : "") >= (int)size)
        return err_set(err, E_LIMIT, "%s is longer than %zu bytes", what, size - 1);
    return 0;
}

static int
fill_open(const struct source_vddk_options *options, struct vddk_wire_open *open, struct err **err)
{
    open->header = (struct vddk_wire_header){VDDK_WIRE_VERSION, VDDK_WIRE_OPEN, 0};
    open->port = options->port ? options->port : DEFAULT_PORT;
    open->slot_count = (uint32_t)options->pool->slot_count;
#define PUT(field, text, what) put_text(open->field, sizeof(open->field), text, what, err)
    if (PUT(libdir, options->libdir, "the path of VDDK") < 0 ||
        PUT(server, options->server, "the server's name") < 0 ||
        PUT(user, options->user, "the user name") < 0 ||
        PUT(password, options->password, "the password") < 0 ||
        PUT(thumbprint, options->thumbprint, "the thumbprint") < 0 ||
        PUT(vm_moref, options->vm_moref, "the VM's moref") < 0 ||
        PUT(snapshot_moref, options->snapshot_moref, "the snapshot's moref") < 0 ||
        PUT(disk_path, options->disk_path, "the disk's path") < 0)
        return -1;
#undef PUT
    return vddk_tuning_fill(&options->tuning, open, err);
}

static int
open_disk(struct vddk_source *vddk, const struct source_vddk_options *options, struct err **err)
{
    int timeout_ms =
        options->start_timeout_ms ? options->start_timeout_ms : DEFAULT_START_TIMEOUT_MS;
    const struct vddk_wire_open_answer *answer = &vddk->packet.open;
    struct vddk_wire_open open = {0};
    int sent;

    if (fill_open(options, &open, err) < 0)
        return -1;
    sent = send_packet(vddk, &open, sizeof(open));
    explicit_bzero(&open, sizeof(open));
    if (sent < 0 || !await(vddk, VDDK_WIRE_OPEN, "connect and open", timeout_ms))
        return fail_dead(vddk, err);
    if (answer->result.failure != VDDK_WIRE_OK)
        return vddk_explain_open(options, &answer->result, err);
    vddk->source.size = answer->capacity;
    vddk->source.alignment = answer->is_unbuffered ? DISK_ALIGNMENT : DISK_SECTOR;
    vddk->has_extents = answer->has_extents;
    snprintf(vddk->transport, sizeof(vddk->transport), "%.*s", (int)sizeof(answer->transport) - 1,
             answer->transport);
    log_debug("%s: %" PRIu64 " bytes by %.*s, transport %s, %s, %s", options->disk_path,
              answer->capacity, (int)sizeof(answer->library), answer->library, vddk->transport,
              answer->is_async ? "asynchronous" : "one read at a time",
              answer->is_unbuffered ? "unbuffered" : "buffered");
    return 0;
}

static int
check_size(const struct vddk_source *vddk, const struct source_vddk_options *options,
           struct err **err)
{
    uint64_t size = vddk->source.size;

    if (size == 0 || size % DISK_SECTOR || size > INT64_MAX)
        return err_set(err, E_VDDK_PROTOCOL, "v2c-vddk gives %s %" PRIu64 " bytes",
                       options->disk_path, size);
    if (options->expected_size == 0 || options->expected_size == size)
        return 0;
    err_set(err, E_SOURCE_SIZE, "%s has %" PRIu64 " bytes, %" PRIu64 " were expected",
            options->disk_path, size, options->expected_size);
    return err_hint(err, "the disk was resized since the migration began, or the path is another "
                         "disk's");
}

static int
make_poll_fd(struct vddk_source *vddk, struct err **err)
{
    const int fds[] = {vddk->socket_fd, vddk->lines.fd, vddk->event_fd, vddk->timer_fd};

    vddk->source.poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (epoll_ctl(vddk->source.poll_fd, EPOLL_CTL_ADD, fds[i],
                      &(struct epoll_event){.events = EPOLLIN}) < 0)
            return err_set_errno(err, E_IO, errno, "epoll");
    return 0;
}

int
vddk_open_once(const struct source_vddk_options *options, struct disk_source **ret_source,
               struct err **err)
{
    CLEANUP(vddk_freep) struct vddk_source *vddk = xcalloc(1, sizeof(*vddk));

    vddk->source.ops = &vddk_ops;
    vddk->source.poll_fd = vddk->socket_fd = -1;
    vddk->source.max_in_flight = options->queue_depth ? options->queue_depth : DEFAULT_QUEUE_DEPTH;
    vddk->child = CHILD_NONE;
    vddk->lines = VDDK_LINES_NONE;
    vddk->read_timeout_ms =
        options->read_timeout_ms ? options->read_timeout_ms : DEFAULT_READ_TIMEOUT_MS;
    vddk->finished_tail = &vddk->finished;
    vddk->held_tail = &vddk->held;
    vddk_window_init(&vddk->window, vddk->source.max_in_flight);
    vddk->slot_count = options->pool->slot_count;
    vddk->in_flight = xcalloc(vddk->slot_count, sizeof(vddk->in_flight[0]));
    vddk->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vddk->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (start_process(vddk, options, err) < 0 || make_poll_fd(vddk, err) < 0)
        return -1;
    if (open_disk(vddk, options, err) < 0 || check_size(vddk, options, err) < 0) {
        vddk_close(&take(vddk)->source); /* it may have logged in */
        return -1;
    }
    *ret_source = &take(vddk)->source;
    return 0;
}

/* A session's buffers are taken from the host's memory at the open.  Where there is too little of it, a
 * smaller session is slower, but reads. */
int
source_vddk_open(const struct source_vddk_options *options, struct disk_source **ret_source,
                 struct err **err)
{
    struct source_vddk_options now = *options;

    for (;; now.tuning.memory_step++) {
        struct err *failure = NULL;

        if (vddk_open_once(&now, ret_source, &failure) == 0)
            return 0;
        if (err_code(failure) != E_VDDK_MEMORY || !vddk_tuning_has_smaller(&now.tuning))
            return err_move(err, &failure);
        log_debug("%s; trying a session with half the memory", err_message(failure));
        err_free(failure);
    }
}
