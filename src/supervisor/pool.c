#include "supervisor/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "base/vec.h"
#include "supervisor/report.h"

#define REPORT_FD             3 /* also in the environment below */
#define SECRETS_FD            4
#define DEFAULT_RESTARTS      3
#define DEFAULT_DELAY_MS      1000
#define MAX_DELAY_MS          60000
#define MAX_FINAL_DRAIN_BYTES (4U * 1024 * 1024)
/* A worker that lived this long was well: the crash that ends it counts as the first of a row. */
#define HEALTHY_AFTER_MS      (10 * 60 * 1000)

enum state { RUNNING, RESTARTING, ENDED };

struct worker {
    struct pool *pool;
    size_t id;
    const struct supervisor_job *job;
    enum state state;
    struct child child;
    int report_fd; /* our end; -1 when none */
    struct report_reader reader;
    struct err *said; /* the failure that its last error report told of */
    unsigned restarts;
    int exit_status;   /* -1: none */
    int wanted_signal; /* as pool_stop and pool_park want; 0: none */
    int signal_sent;   /* of these */
    int64_t started_ms, restart_at_ms;
};

struct pool {
    struct pool_options options;
    char program[PATH_MAX];
    VEC_DECLARE(, struct worker *)
    workers;
    VEC_DECLARE(, struct pollfd)
    polled;
};

static void
tell(const struct worker *w, enum supervisor_event_kind kind, const json_t *report,
     const struct err *error, int delay_ms)
{
    const struct supervisor_event event = {
        .kind = kind, .job = w->id, .report = report, .error = error, .delay_ms = delay_ms};

    if (w->pool->options.on_event)
        w->pool->options.on_event(w->pool->options.opaque, &event);
}

/* ---- one worker ------------------------------------------------------------------------------- */

/* Ends the job; takes @error, NULL for success. */
static void
end_job(struct worker *w, struct err *error)
{
    const struct supervisor_event event = {
        .kind = SUPERVISOR_ENDED, .job = w->id, .error = error, .exit_status = w->exit_status};

    w->state = ENDED;
    if (w->pool->options.on_event)
        w->pool->options.on_event(w->pool->options.opaque, &event);
    err_free(error);
}

static void
end_job_cancelled(struct worker *w, const char *what)
{
    struct err *error = NULL;

    err_set(&error, E_CANCELLED, "%s", what);
    end_job(w, error);
}

static int
launch(struct worker *w, struct err **err)
{
    VEC_DECLARE(, const char *)
    argv = {0};
    CLEANUP(close_fdp) int secrets = -1;
    struct child_fd passed[4];
    size_t count = 0;
    int ends[2], rc;

    if (child_hand_secrets_over(w->job->environment, &secrets, err) < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, E_SPAWN, errno, "pipe");
    vec_push(&argv, w->pool->program);
    for (const char *const *word = w->job->argv; *word; word++)
        vec_push(&argv, *word);
    vec_push(&argv, NULL);
    if (w->job->output_fd)
        passed[count++] = (struct child_fd){w->job->output_fd, STDOUT_FILENO};
    if (w->job->error_fd)
        passed[count++] = (struct child_fd){w->job->error_fd, STDERR_FILENO};
    passed[count++] = (struct child_fd){ends[1], REPORT_FD};
    passed[count++] = (struct child_fd){secrets, SECRETS_FD};
    rc = child_start(
        &(struct child_spec){
            .argv = argv.items,
            .set_env = (const char *const[]){"V2C_REPORT_FD=3", "V2C_SECRETS_FD=4", NULL},
            .pass_fds = passed,
            .pass_fd_count = count,
        },
        &w->child, err);
    vec_done(&argv);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return -1;
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    w->report_fd = ends[0];
    return 0;
}

static void
start_worker(struct worker *w)
{
    struct err *error = NULL;

    w->state = RUNNING;
    w->signal_sent = 0;
    w->started_ms = clock_monotonic_ms();
    w->reader = REPORT_READER_INIT;
    if (launch(w, &error) < 0) {
        err_wrap(&error, "the worker cannot be started");
        end_job(w, error);
        return;
    }
    tell(w, SUPERVISOR_STARTED, NULL, NULL, 0);
}

static void
on_report(void *opaque, const json_t *report)
{
    struct worker *w = opaque;
    struct err *said = report_error(report);

    if (said) {
        err_free(w->said);
        w->said = said;
    }
    tell(w, SUPERVISOR_REPORT, report, NULL, 0);
}

/* One piece of reports; false when there is none now, or the pipe has ended. */
static bool
read_reports(struct worker *w)
{
    char data[16384];
    ssize_t n;

    do
        n = read(w->report_fd, data, sizeof(data));
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        report_feed(&w->reader, data, (size_t)n, on_report, w);
        return true;
    }
    if (n == 0 || errno != EAGAIN) {
        close(w->report_fd);
        w->report_fd = -1;
    }
    return false;
}

static void
close_reports(struct worker *w)
{
    size_t left = MAX_FINAL_DRAIN_BYTES;

    /* Bounded, for a process that the worker left behind may hold the other end and go on writing. */
    while (w->report_fd >= 0 && left > 0 && read_reports(w))
        left -= MIN(left, 16384U);
    if (w->report_fd >= 0)
        close(w->report_fd);
    w->report_fd = -1;
    if (w->reader.dropped)
        log_warning("%s: %u reports of the worker made no sense and were dropped", w->job->label,
                    w->reader.dropped);
    report_reader_done(&w->reader);
}

/* Doubles with each restart. */
static int
restart_delay(const struct pool_options *options, unsigned restarts)
{
    int64_t delay = options->first_restart_delay_ms;

    if (delay <= 0)
        delay = DEFAULT_DELAY_MS;
    for (unsigned i = 0; i < restarts && delay < MAX_DELAY_MS; i++)
        delay *= 2;
    return (int)clock_patience_ms(MIN(delay, MAX_DELAY_MS));
}

static void
after_crash(struct worker *w, int status)
{
    unsigned max = w->pool->options.max_restarts ? w->pool->options.max_restarts : DEFAULT_RESTARTS;
    struct err *error = NULL;
    int delay;

    if (clock_monotonic_ms() - w->started_ms >= HEALTHY_AFTER_MS)
        w->restarts = 0;
    if (w->restarts >= max) {
        err_set(&error, E_WORKER_CRASH, "the worker was %s, %u times in a row",
                child_describe_status(status), w->restarts + 1);
        err_hint(&error,
                 "what is copied is safe: the same command goes on from the last checkpoint; "
                 "migration.log and the system's log may say what killed it");
        end_job(w, error);
        return;
    }
    err_set(&error, E_WORKER_CRASH, "the worker was %s", child_describe_status(status));
    delay = restart_delay(&w->pool->options, w->restarts);
    w->restarts++;
    w->state = RESTARTING;
    w->restart_at_ms = clock_monotonic_ms() + delay;
    tell(w, SUPERVISOR_RESTART, NULL, error, delay);
    err_free(error);
}

/* The worker has ended: by itself, by a signal of ours, or by a crash. */
static void
reap(struct worker *w)
{
    CLEANUP(err_freep) struct err *said = NULL;
    struct err *error = NULL;
    int status;

    close_reports(w);
    said = take(w->said);
    if (child_wait(&w->child, -1, &status, &error) < 0) {
        end_job(w, error);
        return;
    }
    if (WIFEXITED(status))
        w->exit_status = WEXITSTATUS(status);
    if (WIFSIGNALED(status) && WTERMSIG(status) == w->signal_sent) {
        end_job_cancelled(w, "stopped at once; the same command goes on from the last checkpoint");
    } else if (WIFSIGNALED(status)) {
        after_crash(w, status);
    } else if (said) {
        end_job(w, take(said));
    } else if (WEXITSTATUS(status) != 0) {
        err_set(&error, E_WORKER_CRASH, "the worker ended with %s and did not say why",
                child_describe_status(status));
        end_job(w, error);
    } else {
        end_job(w, NULL);
    }
}

/* ---- all of them ------------------------------------------------------------------------------ */

static void
apply_stop(struct worker *w)
{
    if (!w->wanted_signal)
        return;
    if (w->state == RESTARTING) {
        end_job_cancelled(w, "stopped on request after a crash");
    } else if (w->state == RUNNING && w->signal_sent != w->wanted_signal) {
        /* Not waited for yet, so the pid is still its own. */
        (void)kill(w->child.pid, w->wanted_signal);
        w->signal_sent = w->wanted_signal;
    }
}

static void
worker_free(struct worker *w)
{
    if (w->state == RUNNING)
        close_reports(w);
    child_stop(&w->child, 0);
    err_free(w->said);
    free(w);
}

/* Callbacks may start jobs meanwhile, which go to the end. */
static void
drop_ended(struct pool *pool)
{
    size_t kept = 0;

    for (size_t i = 0; i < pool->workers.count; i++) {
        struct worker *w = pool->workers.items[i];

        if (w->state == ENDED)
            worker_free(w);
        else
            pool->workers.items[kept++] = w;
    }
    pool->workers.count = kept;
}

static void
wait_for_something(struct pool *pool, int timeout_ms, int wake_fd)
{
    size_t count = pool->workers.count;

    pool->polled.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct worker *w = pool->workers.items[i];
        bool is_running = w->state == RUNNING;

        vec_push(&pool->polled,
                 ((struct pollfd){.fd = is_running ? w->child.pidfd : -1, .events = POLLIN}));
        vec_push(&pool->polled,
                 ((struct pollfd){.fd = is_running ? w->report_fd : -1, .events = POLLIN}));
    }
    vec_push(&pool->polled, ((struct pollfd){.fd = wake_fd, .events = POLLIN}));
    if (poll(pool->polled.items, pool->polled.count, timeout_ms) <= 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (pool->polled.items[2 * i + 1].revents)
            (void)read_reports(pool->workers.items[i]);
        if (pool->polled.items[2 * i].revents)
            reap(pool->workers.items[i]);
    }
}

void
pool_step(struct pool *pool, int timeout_ms, int wake_fd)
{
    int64_t now = clock_monotonic_ms();

    for (size_t i = 0; i < pool->workers.count; i++) {
        struct worker *w = pool->workers.items[i];

        apply_stop(w);
        if (w->state == RESTARTING && now >= w->restart_at_ms)
            start_worker(w);
    }
    drop_ended(pool);
    wait_for_something(pool, timeout_ms, wake_fd);
    drop_ended(pool);
}

void
pool_start(struct pool *pool, size_t id, const struct supervisor_job *job)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    *w = (struct worker){.pool = pool,
                         .id = id,
                         .job = job,
                         .child = CHILD_NONE,
                         .report_fd = -1,
                         .exit_status = -1};
    vec_push(&pool->workers, w);
    start_worker(w);
}

/* SIGKILL is the last word. */
static void
want_signal(struct worker *w, int signal_number)
{
    if (w->wanted_signal != SIGKILL)
        w->wanted_signal = signal_number;
}

void
pool_stop(struct pool *pool, size_t id, int how)
{
    for (size_t i = 0; i < pool->workers.count; i++)
        if (pool->workers.items[i]->id == id)
            want_signal(pool->workers.items[i], how >= 2 ? SIGKILL : SIGTERM);
}

void
pool_park(struct pool *pool)
{
    for (size_t i = 0; i < pool->workers.count; i++)
        want_signal(pool->workers.items[i], SIGUSR1);
}

size_t
pool_count(const struct pool *pool)
{
    size_t count = 0;

    for (size_t i = 0; i < pool->workers.count; i++)
        count += pool->workers.items[i]->state != ENDED;
    return count;
}

/* The file this program was started from, so that `ps` shows workers under its name. */
static void
find_program(struct pool *pool)
{
    ssize_t length = -1;

    if (pool->options.program) {
        snprintf(pool->program, sizeof(pool->program), "%s", pool->options.program);
        return;
    }
    length = readlink("/proc/self/exe", pool->program, sizeof(pool->program) - 1);
    pool->program[MAX(length, 0)] = '\0';
    if (length < 0 || access(pool->program, X_OK) < 0) /* replaced by an upgrade: run what we are */
        snprintf(pool->program, sizeof(pool->program), "/proc/self/exe");
}

struct pool *
pool_new(const struct pool_options *options)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));

    pool->options = *options;
    find_program(pool);
    return pool;
}

void
pool_free(struct pool *pool)
{
    for (size_t i = 0; i < pool->workers.count; i++)
        worker_free(pool->workers.items[i]);
    vec_done(&pool->workers);
    vec_done(&pool->polled);
    free(pool);
}
