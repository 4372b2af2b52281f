/* v2c-vddk: reads one VMware disk through libvixDiskLib for the engine that started it (vddk/wire.h).
 *
 * Two threads: this one serves the socket and never waits for VDDK, the other (vddk_main) makes every
 * call of VDDK.  They hand each other jobs: requests in `todo`, answers in `done`.  VDDK's own threads
 * only put finished reads into one of the two.
 *
 * `v2c-vddk --probe DIR` only loads the library there: 0 and its path, or 1 and the reason.
 *
 * Exit status: 0 after CLOSE or when the engine has gone, 2 when started by hand, 3 when the engine
 * spoke nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vddk/packet.h"
#include "vddk/say.h"
#include "vddk/session.h"
#include "vddk/wire.h"

#define LEAVE_MS        30000 /* VDDK may hang in its own clean-up too */
#define IDLE_MS         30000

#define EXIT_NO_LIBRARY 1
#define EXIT_USAGE      2
#define EXIT_NONSENSE   3

enum job_kind {
    JOB_OPEN,
    JOB_EXTENTS,
    JOB_READ,
    JOB_READ_FAILED, /* the answer wants its text, which only the VDDK thread may ask for */
    JOB_CLOSE,
    JOB_QUIT, /* as CLOSE, without an answer, and nothing more is begun */
};

struct job {
    struct job *next;
    enum job_kind kind;
    union {
        struct vddk_wire_header header;
        struct vddk_wire_open open;
        struct vddk_wire_range range;
    } * request;
    struct session_read read;
    uint64_t vix_error;
    void *answer;
    size_t answer_size;
};

struct job_queue {
    struct job *head, **tail;
};

static struct {
    /* the socket's thread */
    struct packet_state state;
    uint8_t *memory;
    struct job_queue out; /* answers on their way to the socket */

    long idle_ms; /* until the session on the host is kept alive */
    int wake_fd;  /* eventfd: something is in `done`, or the VDDK thread has ended */
    pthread_mutex_t lock;
    pthread_cond_t todo_changed;
    struct job_queue todo, done; /* lock */
    bool is_quitting, has_ended; /* lock */

    struct session session; /* the VDDK thread's */
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .idle_ms = IDLE_MS};

/* ---- jobs ------------------------------------------------------------------------------------- */

static void
queue_init(struct job_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static void
queue_push(struct job_queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->tail = job;
    queue->tail = &job->next;
}

static struct job *
queue_pop(struct job_queue *queue)
{
    struct job *job = queue->head;

    if (!job)
        return NULL;
    queue->head = job->next;
    if (!queue->head)
        queue->tail = &queue->head;
    return job;
}

/* Memory for a few small things; without it there is nothing sensible left to do, and a crash of this
 * process is something that the engine knows how to handle. */
static void *
must(void *p)
{
    if (!p) {
        say(SAY_ERROR, "out of memory");
        abort();
    }
    return p;
}

static struct job *
job_new(enum job_kind kind, const void *request, size_t request_size, size_t answer_size)
{
    struct job *job = must(calloc(1, sizeof(*job)));

    job->kind = kind;
    job->answer_size = answer_size;
    job->answer = must(calloc(1, answer_size));
    job->request = must(calloc(1, request_size)); /* no more than what this kind has */
    memcpy(job->request, request, request_size);
    memcpy(job->answer, request, sizeof(struct vddk_wire_header));
    return job;
}

static void
job_free(struct job *job)
{
    /* The password was in it. */
    if (job->kind == JOB_OPEN)
        explicit_bzero(job->request, sizeof(*job->request));
    free(job->request);
    free(job->answer);
    free(job);
}

static void
wake_socket_thread(void)
{
    (void)!write(server.wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static void
push_todo(struct job *job)
{
    pthread_mutex_lock(&server.lock);
    queue_push(&server.todo, job);
    pthread_cond_signal(&server.todo_changed);
    pthread_mutex_unlock(&server.lock);
}

static void
push_done(struct job *job)
{
    pthread_mutex_lock(&server.lock);
    queue_push(&server.done, job);
    pthread_mutex_unlock(&server.lock);
    wake_socket_thread();
}

/* ---- the thread that calls VDDK ---------------------------------------------------------------- */

static struct job *
job_of(struct session_read *read)
{
    return (struct job *)((char *)read - offsetof(struct job, read));
}

/* Often on a thread of VDDK's. */
static void
on_read_done(struct session_read *read, uint64_t vix_error)
{
    struct job *job = job_of(read);

    if (vix_error == VIX_OK) {
        push_done(job);
        return;
    }
    job->kind = JOB_READ_FAILED;
    job->vix_error = vix_error;
    push_todo(job);
}

static void
begin_read(struct job *job)
{
    const struct vddk_wire_range *range = &job->request->range;

    job->read = (struct session_read){
        .offset = range->offset,
        .length = (uint32_t)range->length,
        .data = server.memory + (size_t)range->slot * VDDK_WIRE_SLOT_BYTES + range->slot_offset,
        .done = on_read_done,
    };
    session_read(&server.session, &job->read);
}

static void
explain_read(struct job *job)
{
    struct vddk_wire_read_answer *answer = job->answer;

    session_explain(&server.session, VDDK_WIRE_FAIL_READ, job->vix_error, &answer->result);
    push_done(job);
}

/* Nothing is in flight any more, but failed reads may have queued up behind the CLOSE. */
static void
explain_failed_reads(void)
{
    struct job_queue queue, rest;
    struct job *job;

    queue_init(&rest);
    pthread_mutex_lock(&server.lock);
    queue_init(&queue);
    while ((job = queue_pop(&server.todo)))
        queue_push(job->kind == JOB_READ_FAILED ? &queue : &rest, job);
    queue_init(&server.todo);
    while ((job = queue_pop(&rest)))
        queue_push(&server.todo, job);
    pthread_mutex_unlock(&server.lock);
    while ((job = queue_pop(&queue)))
        explain_read(job);
}

static void
do_extents(struct job *job)
{
    const struct vddk_wire_range *range = &job->request->range;

    session_extents(&server.session, range->offset, range->length, job->answer);
    push_done(job);
}

/* True when this was the last job. */
static bool
do_job(struct job *job, bool is_quitting)
{
    switch (job->kind) {
    case JOB_OPEN:
        session_open(&server.session, &job->request->open, job->answer);
        explicit_bzero(job->request, sizeof(*job->request));
        push_done(job);
        return false;
    case JOB_EXTENTS:
    case JOB_READ:
        if (is_quitting)
            job_free(job);
        else if (job->kind == JOB_READ)
            begin_read(job);
        else
            do_extents(job);
        return false;
    case JOB_READ_FAILED:
        explain_read(job);
        return false;
    case JOB_CLOSE:
        session_drain(&server.session);
        explain_failed_reads();
        session_close(&server.session);
        push_done(job);
        return true;
    case JOB_QUIT:
        session_close(&server.session);
        job_free(job);
        return true;
    }
    abort();
}

/* The next job, or NULL when none came for a while. */
static struct job *
wait_for_job(bool *ret_is_quitting)
{
    struct timespec until;
    struct job *job;
    int error = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += server.idle_ms / 1000;
    until.tv_nsec += server.idle_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&server.lock);
    while (!(job = queue_pop(&server.todo)) && error != ETIMEDOUT)
        error = pthread_cond_timedwait(&server.todo_changed, &server.lock, &until);
    *ret_is_quitting = server.is_quitting;
    pthread_mutex_unlock(&server.lock);
    return job;
}

static void *
vddk_main(void *unused)
{
    bool is_last = false;

    while (!is_last) {
        bool is_quitting;
        struct job *job = wait_for_job(&is_quitting);

        if (job)
            is_last = do_job(job, is_quitting);
        else
            session_keep_alive(&server.session);
    }
    pthread_mutex_lock(&server.lock);
    server.has_ended = true;
    pthread_mutex_unlock(&server.lock);
    wake_socket_thread();
    return NULL;
}

/* ---- requests ---------------------------------------------------------------------------------- */

static bool
nonsense(const char *what)
{
    say(SAY_ERROR, "the engine spoke nonsense: %s", what);
    return false;
}

static bool
map_memory(uint32_t slot_count)
{
    size_t size = (size_t)slot_count * VDDK_WIRE_SLOT_BYTES;
    struct stat st;
    void *memory;

    if (fstat(VDDK_WIRE_MEMORY_FD, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size < size)
        return nonsense("the pool's memory is smaller than its slots");
    /* Faulted in at once: the pages are there already, and a fault per page costs more than a read. */
    memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, VDDK_WIRE_MEMORY_FD, 0);
    if (memory == MAP_FAILED)
        return nonsense("the pool's memory cannot be mapped");
    server.memory = memory;
    server.state.slot_count = slot_count;
    return true;
}

static void
tag_lines(const char *disk_path)
{
    const char *slash = strrchr(disk_path, '/');
    char name[100];

    snprintf(name, sizeof(name), "%.99s", slash ? slash + 1 : disk_path);
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    say_set_tag(name);
}

static bool
accept_open(const struct vddk_wire_open *open)
{
    if (!map_memory(open->slot_count))
        return false;
    tag_lines(open->disk_path);
    server.state.phase = PHASE_OPENING;
    push_todo(job_new(JOB_OPEN, open, sizeof(*open), sizeof(struct vddk_wire_open_answer)));
    return true;
}

static bool
accept_packet(const void *packet, size_t length)
{
    const struct vddk_wire_header *header = packet;
    const struct vddk_wire_range *range = packet;
    const char *wrong = packet_check(&server.state, packet, length);

    if (wrong)
        return nonsense(wrong);
    switch (header->type) {
    case VDDK_WIRE_OPEN:
        return accept_open(packet);
    case VDDK_WIRE_EXTENTS:
        server.state.queries++;
        push_todo(
            job_new(JOB_EXTENTS, range, sizeof(*range), sizeof(struct vddk_wire_extents_answer)));
        break;
    case VDDK_WIRE_READ:
        server.state.slot_busy[range->slot] = true;
        push_todo(job_new(JOB_READ, range, sizeof(*range), sizeof(struct vddk_wire_read_answer)));
        break;
    default:
        server.state.phase = PHASE_CLOSING;
        push_todo(job_new(JOB_CLOSE, header, sizeof(*header), sizeof(*header)));
    }
    return true;
}

/* ---- the socket -------------------------------------------------------------------------------- */

enum socket_state {
    SOCKET_IDLE, /* nothing more to do now */
    SOCKET_GONE, /* the engine has closed its end */
    SOCKET_NONSENSE,
};

static bool
has_hung_up(void)
{
    struct pollfd p = {.fd = VDDK_WIRE_SOCKET_FD, .events = POLLRDHUP};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static enum socket_state
receive_packets(void)
{
    static _Alignas(8) char packet[sizeof(struct vddk_wire_open) + 8];
    enum socket_state state = SOCKET_IDLE;

    for (;;) {
        ssize_t n = recv(VDDK_WIRE_SOCKET_FD, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            state = errno == EAGAIN ? SOCKET_IDLE : SOCKET_GONE;
        else if (n == 0 && has_hung_up())
            state = SOCKET_GONE;
        else if (!accept_packet(packet, (size_t)n))
            state = SOCKET_NONSENSE;
        else
            continue;
        break;
    }
    explicit_bzero(packet, sizeof(packet));
    return state;
}

/* What an answer changes in this thread's books, before the engine can see it. */
static void
note_answer(const struct job *job)
{
    const struct vddk_wire_open_answer *open = job->answer;

    switch (job->kind) {
    case JOB_OPEN:
        server.state.phase = open->result.failure == VDDK_WIRE_OK ? PHASE_OPEN : PHASE_FAILED;
        server.state.capacity = open->capacity;
        break;
    case JOB_EXTENTS:
        server.state.queries--;
        break;
    case JOB_READ:
    case JOB_READ_FAILED:
        server.state.slot_busy[job->request->range.slot] = false;
        break;
    default:
        break;
    }
}

static void
collect_answers(void)
{
    struct job *job;

    (void)!read(server.wake_fd, &(uint64_t){0}, sizeof(uint64_t));
    pthread_mutex_lock(&server.lock);
    while ((job = queue_pop(&server.done))) {
        note_answer(job);
        queue_push(&server.out, job);
    }
    pthread_mutex_unlock(&server.lock);
}

/* Sends what the socket takes.  *ret_is_closed: the answer to CLOSE was the last. */
static enum socket_state
send_answers(bool *ret_is_closed)
{
    while (server.out.head) {
        struct job *job = server.out.head;

        if (send(VDDK_WIRE_SOCKET_FD, job->answer, job->answer_size, MSG_DONTWAIT | MSG_NOSIGNAL) <
            0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == ENOBUFS ? SOCKET_IDLE : SOCKET_GONE;
        }
        if (job->kind == JOB_CLOSE)
            *ret_is_closed = true;
        job_free(queue_pop(&server.out));
    }
    return SOCKET_IDLE;
}

static enum socket_state
serve(void)
{
    struct pollfd p[2] = {{.fd = VDDK_WIRE_SOCKET_FD}, {.fd = server.wake_fd, .events = POLLIN}};
    enum socket_state state = SOCKET_IDLE;
    bool is_closed = false;

    while (state == SOCKET_IDLE && !is_closed) {
        p[0].events = (short)(POLLIN | (server.out.head ? POLLOUT : 0));
        if (poll(p, 2, -1) < 0) {
            if (errno != EINTR)
                abort();
            continue;
        }
        if (p[1].revents)
            collect_answers();
        state = send_answers(&is_closed);
        if (state == SOCKET_IDLE && !is_closed && (p[0].revents & ~POLLOUT))
            state = receive_packets();
    }
    return is_closed ? SOCKET_IDLE : state;
}

/* ---- the program ------------------------------------------------------------------------------- */

/* Lets the VDDK thread close the disk, but not for ever. */
static bool
leave(void)
{
    static const struct vddk_wire_header none;
    struct pollfd p = {.fd = server.wake_fd, .events = POLLIN};
    bool has_ended = false;

    pthread_mutex_lock(&server.lock);
    server.is_quitting = true;
    pthread_mutex_unlock(&server.lock);
    if (server.state.phase != PHASE_CLOSING)
        push_todo(job_new(JOB_QUIT, &none, sizeof(none), sizeof(none)));
    for (int waited_ms = 0; waited_ms < LEAVE_MS; waited_ms += 100) {
        pthread_mutex_lock(&server.lock);
        has_ended = server.has_ended;
        pthread_mutex_unlock(&server.lock);
        if (has_ended)
            break;
        if (poll(&p, 1, 100) > 0)
            (void)!read(server.wake_fd, &(uint64_t){0}, sizeof(uint64_t));
    }
    return has_ended;
}

static void
free_queue(struct job_queue *queue)
{
    struct job *job;

    while ((job = queue_pop(queue)))
        job_free(job);
}

static bool
is_started_by_engine(void)
{
    struct stat socket_stat, memory_stat;

    return fstat(VDDK_WIRE_SOCKET_FD, &socket_stat) == 0 && S_ISSOCK(socket_stat.st_mode) &&
           fstat(VDDK_WIRE_MEMORY_FD, &memory_stat) == 0 && S_ISREG(memory_stat.st_mode);
}

static void
take_inheritance(void)
{
    /* The engine decides when this ends: a Ctrl-C at its terminal, or a stop of its service, reaches
     * this process too, while the engine still wants to read on to its next checkpoint. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    /* Neither VDDK's library path nor its fds are for programs that VDDK may start. */
    (void)fcntl(VDDK_WIRE_SOCKET_FD, F_SETFD, FD_CLOEXEC);
    (void)fcntl(VDDK_WIRE_MEMORY_FD, F_SETFD, FD_CLOEXEC);
}

static void
init_server(void)
{
    const char *idle_ms = getenv("V2C_VDDK_IDLE_MS"); /* for tests */
    pthread_condattr_t monotonic;

    if (idle_ms && *idle_ms)
        server.idle_ms = strtol(idle_ms, NULL, 10);
    if (server.idle_ms <= 0)
        server.idle_ms = IDLE_MS;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server.todo_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    queue_init(&server.todo);
    queue_init(&server.done);
    queue_init(&server.out);
    session_init(&server.session);
    server.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* Loads the library and says which, or why not, in the last line of output. */
static int
probe(const char *libdir)
{
    struct vddk_wire_result result = {0};
    struct vix_library library = {0};

    if (!vix_load(libdir, &library, &result)) {
        printf("%s\n", result.text);
        return EXIT_NO_LIBRARY;
    }
    printf("%s\n", library.path);
    return 0;
}

int
main(int argc, char **argv)
{
    enum socket_state state;
    pthread_t thread;

    say_init();
    if (argc == 3 && !strcmp(argv[1], "--probe"))
        return probe(argv[2]);
    if (!is_started_by_engine()) {
        fprintf(stderr, "v2c-vddk is started by v2c-engine, not by hand\n");
        return EXIT_USAGE;
    }
    take_inheritance();
    init_server();
    if (server.wake_fd < 0 || pthread_create(&thread, NULL, vddk_main, NULL) != 0) {
        say(SAY_ERROR, "cannot start: %s", strerror(errno));
        return 1;
    }
    state = serve();
    if (!leave()) {
        say(SAY_ERROR, "VDDK does not come back: given up");
        _exit(state == SOCKET_NONSENSE ? EXIT_NONSENSE : 0);
    }
    pthread_join(thread, NULL);
    free_queue(&server.todo);
    free_queue(&server.done);
    free_queue(&server.out);
    return state == SOCKET_NONSENSE ? EXIT_NONSENSE : 0;
}
