#include "guest/qmp.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#define MAX_LINE   (8 * MIB)
#define RECHECK_MS 200

struct qmp {
    int fd;
    qmp_event_fn on_event;
    void *opaque;
    pthread_t reader;
    pthread_mutex_t calling; /* held for one command and its answer */
    pthread_mutex_t mutex;   /* guards all below */
    pthread_cond_t changed;
    json_t *answer; /* of the command `id`, until it is taken */
    uint64_t id, events;
    bool is_greeted, is_closed;
};

/* ---- reading ----------------------------------------------------------------------------------- */

static void
take_answer(struct qmp *qmp, json_t *message)
{
    SCOPE_LOCK(&qmp->mutex);
    const json_t *id = json_object_get(message, "id");

    /* An answer that comes after its caller gave up has an older number. */
    if (!qmp->answer && (uint64_t)json_integer_value(id) == qmp->id)
        qmp->answer = json_incref(message);
    pthread_cond_broadcast(&qmp->changed);
}

static void
take_message(struct qmp *qmp, const char *line, size_t length)
{
    json_t *message = json_loadb(line, length, 0, NULL);
    const char *event = json_string_value(json_object_get(message, "event"));

    if (event) {
        qmp->on_event(qmp->opaque, event);
        SCOPE_LOCK(&qmp->mutex);
        qmp->events++;
        pthread_cond_broadcast(&qmp->changed);
    } else if (json_object_get(message, "QMP")) {
        SCOPE_LOCK(&qmp->mutex);
        qmp->is_greeted = true;
        pthread_cond_broadcast(&qmp->changed);
    } else if (message) {
        take_answer(qmp, message);
    }
    json_decref(message);
}

static void *
read_messages(void *opaque)
{
    struct qmp *qmp = opaque;
    struct str line = STR_INIT(MAX_LINE);
    char data[16384];
    ssize_t n;

    while ((n = read(qmp->fd, data, sizeof(data))) > 0 || (n < 0 && errno == EINTR)) {
        const char *p = data, *end = data + MAX(n, 0), *newline;

        while ((newline = memchr(p, '\n', (size_t)(end - p))) != NULL) {
            str_append_bytes(&line, p, (size_t)(newline - p));
            if (!line.is_over && line.length > 0)
                take_message(qmp, line.data, line.length);
            str_clear(&line);
            p = newline + 1;
        }
        str_append_bytes(&line, p, (size_t)(end - p));
    }
    str_done(&line);
    pthread_mutex_lock(&qmp->mutex);
    qmp->is_closed = true;
    pthread_cond_broadcast(&qmp->changed);
    pthread_mutex_unlock(&qmp->mutex);
    qmp->on_event(qmp->opaque, NULL);
    return NULL;
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static struct timespec
deadline_in(int64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Until something comes or @ms have passed; the mutex is held. */
static bool
wait_changed(struct qmp *qmp, const struct timespec *deadline)
{
    return pthread_cond_timedwait(&qmp->changed, &qmp->mutex, deadline) == 0;
}

static int
await_greeting(struct qmp *qmp, struct err **err)
{
    struct timespec deadline = deadline_in(QMP_TIMEOUT_MS);
    SCOPE_LOCK(&qmp->mutex);

    while (!qmp->is_greeted) {
        if (qmp->is_closed)
            return err_set(err, E_NET, "QEMU ended at its start");
        if (!wait_changed(qmp, &deadline))
            return err_set(err, E_TIMEOUT, "QEMU does not greet");
    }
    return 0;
}

/* The answer of command @id, or NULL. */
static json_t *
await_answer(struct qmp *qmp, const char *command, struct err **err)
{
    struct timespec deadline = deadline_in(QMP_TIMEOUT_MS);
    SCOPE_LOCK(&qmp->mutex);

    while (!qmp->answer) {
        if (qmp->is_closed)
            return err_null(err, E_NET, "QEMU ended during %s", command);
        if (!wait_changed(qmp, &deadline)) {
            qmp->id++; /* the late answer is nobody's */
            return err_null(err, E_TIMEOUT, "QEMU does not answer %s", command);
        }
    }
    return take(qmp->answer);
}

static int
send_line(struct qmp *qmp, const char *line, size_t length, struct err **err)
{
    int64_t deadline = clock_monotonic_ms() + QMP_TIMEOUT_MS;

    while (length > 0) {
        ssize_t n = send(qmp->fd, line, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            line += n;
            length -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd poll_fd = {.fd = qmp->fd, .events = POLLOUT};
            if (clock_monotonic_ms() >= deadline)
                return err_set(err, E_TIMEOUT, "QEMU takes no command");
            (void)poll(&poll_fd, 1, RECHECK_MS);
        } else if (errno != EINTR) {
            return err_set_errno(err, E_NET, errno, "QEMU takes no command");
        }
    }
    return 0;
}

int
qmp_call(struct qmp *qmp, const char *command, json_t *arguments, json_t **ret_value,
         struct err **err)
{
    SCOPE_LOCK(&qmp->calling);
    CLEANUP(free_charp) char *text = NULL, *line = NULL;
    json_t *message, *answer, *refusal;
    int result = 0;

    pthread_mutex_lock(&qmp->mutex);
    json_decref(take(qmp->answer));
    message = json_pack("{s:s, s:I, s:o*}", "execute", command, "id", (json_int_t)++qmp->id,
                        "arguments", arguments);
    pthread_mutex_unlock(&qmp->mutex);
    text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    if (!text)
        return err_set(err, E_BUG, "QMP command %s makes no JSON", command);
    line = xasprintf("%s\n", text);
    if (send_line(qmp, line, strlen(line), err) < 0)
        return -1;
    answer = await_answer(qmp, command, err);
    if (!answer)
        return -1;
    refusal = json_object_get(answer, "error");
    if (refusal)
        result = err_set(err, E_IO, "QEMU refuses %s: %s", command,
                         json_string_value(json_object_get(refusal, "desc")) ?: "no reason given");
    else if (ret_value)
        *ret_value = json_incref(json_object_get(answer, "return"));
    json_decref(answer);
    return result;
}

/* Waits for an event after number @seen, a while at most: what is waited for may have no event. */
static void
await_event(struct qmp *qmp, uint64_t seen)
{
    struct timespec deadline = deadline_in(RECHECK_MS);
    SCOPE_LOCK(&qmp->mutex);

    while (qmp->events == seen && !qmp->is_closed && wait_changed(qmp, &deadline))
        ;
}

static uint64_t
count_events(struct qmp *qmp)
{
    SCOPE_LOCK(&qmp->mutex);
    return qmp->events;
}

static bool
is_in_list(const json_t *list, const char *key, const char *value)
{
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *text = json_string_value(json_object_get(item, key));
        if (text && !strcmp(text, value))
            return true;
    }
    return false;
}

int
qmp_await_absent(struct qmp *qmp, const char *query, const char *key, const char *value,
                 struct err **err)
{
    int64_t deadline = clock_monotonic_ms() + QMP_TIMEOUT_MS;

    for (;;) {
        uint64_t seen = count_events(qmp);
        json_t *list = NULL;
        bool is_there;

        if (qmp_call(qmp, query, NULL, &list, err) < 0)
            return -1;
        is_there = is_in_list(list, key, value);
        json_decref(list);
        if (!is_there)
            return 0;
        if (clock_monotonic_ms() >= deadline)
            return err_set(err, E_TIMEOUT, "QEMU still has %s %s", key, value);
        await_event(qmp, seen);
    }
}

int
qmp_await_status(struct qmp *qmp, const char *status, struct err **err)
{
    int64_t deadline = clock_monotonic_ms() + QMP_TIMEOUT_MS;

    for (;;) {
        uint64_t seen = count_events(qmp);
        json_t *value = NULL;
        const char *now;
        bool is_reached;

        if (qmp_call(qmp, "query-status", NULL, &value, err) < 0)
            return -1;
        now = json_string_value(json_object_get(value, "status"));
        is_reached = now && !strcmp(now, status);
        json_decref(value);
        if (is_reached)
            return 0;
        if (clock_monotonic_ms() >= deadline)
            return err_set(err, E_TIMEOUT, "QEMU does not become %s", status);
        await_event(qmp, seen);
    }
}

/* ---- life -------------------------------------------------------------------------------------- */

/* Ends the reader; the fd stays open. */
static void
qmp_free(struct qmp *qmp)
{
    (void)shutdown(qmp->fd, SHUT_RDWR);
    pthread_join(qmp->reader, NULL);
    json_decref(qmp->answer);
    pthread_cond_destroy(&qmp->changed);
    pthread_mutex_destroy(&qmp->mutex);
    pthread_mutex_destroy(&qmp->calling);
    free(qmp);
}

int
qmp_open(int fd, qmp_event_fn on_event, void *opaque, struct qmp **ret, struct err **err)
{
    struct qmp *qmp = xcalloc(1, sizeof(*qmp));
    pthread_condattr_t attr;
    int status;

    *qmp = (struct qmp){.fd = fd, .on_event = on_event, .opaque = opaque};
    pthread_mutex_init(&qmp->calling, NULL);
    pthread_mutex_init(&qmp->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&qmp->changed, &attr);
    pthread_condattr_destroy(&attr);
    status = pthread_create(&qmp->reader, NULL, read_messages, qmp);
    if (status != 0) {
        free(qmp);
        return err_set_errno(err, E_MEMORY, status, "a thread for QEMU's messages");
    }
    if (await_greeting(qmp, err) < 0 || qmp_call(qmp, "qmp_capabilities", NULL, NULL, err) < 0) {
        qmp_free(qmp);
        return -1;
    }
    *ret = qmp;
    return 0;
}

void
qmp_close(struct qmp *qmp)
{
    int fd;

    if (!qmp)
        return;
    fd = qmp->fd;
    qmp_free(qmp);
    (void)close(fd);
}
