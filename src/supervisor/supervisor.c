#include "supervisor/supervisor.h"

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

#define SECRETS_FD            4
#define REPORT_FD             3
#define TICK_MS               250
#define DEFAULT_RESTARTS      3
#define DEFAULT_DELAY_MS      1000
#define MAX_DELAY_MS          60000
#define MAX_FINAL_DRAIN_BYTES (4U * 1024 * 1024)
/* A worker that lived this long was well: the crash that ends it counts as the first of a row. */
#define HEALTHY_AFTER_MS      (10 * 60 * 1000)

enum state { WAITING, RUNNING, RESTARTING, ENDED };

struct worker {
    enum state state;
    struct child child;
    int report_fd; /* our end; -1 when none */
    struct report_reader reader;
    struct err *said;  /* the failure that its last error report told of */
    struct err *error; /* how the job ended; NULL: well, or not yet */
    unsigned restarts;
    int signal_sent; /* SIGTERM or SIGKILL of ours; 0: none */
    int64_t started_ms, restart_at_ms;
};

struct supervisor {
    const struct supervisor_options *options;
    char program[PATH_MAX];
    struct worker *workers;
    size_t running; /* in state RUNNING or RESTARTING */
    VEC_DECLARE(, struct pollfd)
    polled;
};

/* For the callbacks of one worker. */
struct which {
    struct supervisor *supervisor;
    size_t job;
};

static int
wanted_stop(const struct supervisor *s)
{
    return s->options->stop ? *s->options->stop : 0;
}

static void
tell(const struct supervisor *s, enum supervisor_event_kind kind, size_t job, const json_t *report,
     const struct err *error, int delay_ms)
{
    const struct supervisor_event event = {
        .kind = kind, .job = job, .report = report, .error = error, .delay_ms = delay_ms};

    if (s->options->on_event)
        s->options->on_event(s->options->opaque, &event);
}

/* ---- one worker ------------------------------------------------------------------------------- */

/* Ends the job; takes @error, NULL for success. */
static void
end_job(struct supervisor *s, size_t job, struct err *error)
{
    struct worker *w = &s->workers[job];

    if (w->state == RUNNING || w->state == RESTARTING)
        s->running--;
    w->state = ENDED;
    w->error = error;
    tell(s, SUPERVISOR_ENDED, job, NULL, error, 0);
}

static void
end_job_cancelled(struct supervisor *s, size_t job, const char *what)
{
    struct err *error = NULL;

    err_set(&error, E_CANCELLED, "%s", what);
    end_job(s, job, error);
}

static int
launch(struct supervisor *s, size_t job, struct err **err)
{
    struct worker *w = &s->workers[job];
    VEC_DECLARE(, const char *)
    argv = {0};
    CLEANUP(close_fdp) int secrets = -1;
    int ends[2], rc;

    if (child_hand_secrets_over(&secrets, err) < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, E_SPAWN, errno, "pipe");
    vec_push(&argv, s->program);
    for (const char *const *word = s->options->jobs[job].argv; *word; word++)
        vec_push(&argv, *word);
    vec_push(&argv, NULL);
    rc = child_start(
        &(struct child_spec){
            .argv = argv.items,
            .pass_fds = (const struct child_fd[]){{ends[1], REPORT_FD}, {secrets, SECRETS_FD}},
            .pass_fd_count = 2,
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
start_job(struct supervisor *s, size_t job)
{
    struct worker *w = &s->workers[job];
    struct err *error = NULL;

    if (w->state == WAITING)
        s->running++;
    w->state = RUNNING;
    w->signal_sent = 0;
    w->started_ms = clock_monotonic_ms();
    w->reader = REPORT_READER_INIT;
    if (launch(s, job, &error) < 0) {
        err_wrap(&error, "the worker cannot be started");
        end_job(s, job, error);
        return;
    }
    tell(s, SUPERVISOR_STARTED, job, NULL, NULL, 0);
}

static void
on_report(void *opaque, const json_t *report)
{
    struct which *which = opaque;
    struct worker *w = &which->supervisor->workers[which->job];
    struct err *said = report_error(report);

    if (said) {
        err_free(w->said);
        w->said = said;
    }
    tell(which->supervisor, SUPERVISOR_REPORT, which->job, report, NULL, 0);
}

/* One piece of reports; false when there is none now, or the pipe has ended. */
static bool
read_reports(struct supervisor *s, size_t job)
{
    struct worker *w = &s->workers[job];
    char data[16384];
    ssize_t n;

    do
        n = read(w->report_fd, data, sizeof(data));
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        report_feed(&w->reader, data, (size_t)n, on_report, &(struct which){s, job});
        return true;
    }
    if (n == 0 || errno != EAGAIN) {
        close(w->report_fd);
        w->report_fd = -1;
    }
    return false;
}

static void
close_reports(struct supervisor *s, size_t job)
{
    struct worker *w = &s->workers[job];
    size_t left = MAX_FINAL_DRAIN_BYTES;

    /* Bounded, for a process that the worker left behind may hold the other end and go on writing. */
    while (w->report_fd >= 0 && left > 0 && read_reports(s, job))
        left -= MIN(left, 16384U);
    if (w->report_fd >= 0)
        close(w->report_fd);
    w->report_fd = -1;
    if (w->reader.dropped)
        log_warning("%s: %u reports of the worker made no sense and were dropped",
                    s->options->jobs[job].label, w->reader.dropped);
    report_reader_done(&w->reader);
}

/* Doubles with each restart. */
static int
restart_delay(const struct supervisor *s, unsigned restarts)
{
    int64_t delay = s->options->first_restart_delay_ms;

    if (delay <= 0)
        delay = DEFAULT_DELAY_MS;
    for (unsigned i = 0; i < restarts && delay < MAX_DELAY_MS; i++)
        delay *= 2;
    return (int)clock_patience_ms(MIN(delay, MAX_DELAY_MS));
}

static void
after_crash(struct supervisor *s, size_t job, int status)
{
    struct worker *w = &s->workers[job];
    unsigned max = s->options->max_restarts ? s->options->max_restarts : DEFAULT_RESTARTS;
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
        end_job(s, job, error);
        return;
    }
    err_set(&error, E_WORKER_CRASH, "the worker was %s", child_describe_status(status));
    delay = restart_delay(s, w->restarts);
    w->restarts++;
    w->state = RESTARTING;
    w->restart_at_ms = clock_monotonic_ms() + delay;
    tell(s, SUPERVISOR_RESTART, job, NULL, error, delay);
    err_free(error);
}

/* The worker has ended: by itself, by a signal of ours, or by a crash. */
static void
reap(struct supervisor *s, size_t job)
{
    struct worker *w = &s->workers[job];
    CLEANUP(err_freep) struct err *said = NULL;
    struct err *error = NULL;
    int status;

    close_reports(s, job);
    said = take(w->said);
    if (child_wait(&w->child, -1, &status, &error) < 0) {
        end_job(s, job, error);
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == w->signal_sent) {
        end_job_cancelled(s, job,
                          "stopped at once; the same command goes on from the last checkpoint");
    } else if (WIFSIGNALED(status)) {
        after_crash(s, job, status);
    } else if (said) {
        end_job(s, job, take(said));
    } else if (WEXITSTATUS(status) != 0) {
        err_set(&error, E_WORKER_CRASH, "the worker ended with %s and did not say why",
                child_describe_status(status));
        end_job(s, job, error);
    } else {
        end_job(s, job, NULL);
    }
}

/* ---- all of them ------------------------------------------------------------------------------ */

static void
apply_stop(struct supervisor *s)
{
    int stop = wanted_stop(s);
    int signal_number = stop >= 2 ? SIGKILL : SIGTERM;

    if (!stop)
        return;
    for (size_t job = 0; job < s->options->job_count; job++) {
        struct worker *w = &s->workers[job];

        if (w->state == WAITING) {
            end_job_cancelled(s, job, "not begun");
        } else if (w->state == RESTARTING) {
            end_job_cancelled(s, job, "stopped on request after a crash");
        } else if (w->state == RUNNING && w->signal_sent != signal_number) {
            /* Not waited for yet, so the pid is still its own. */
            (void)kill(w->child.pid, signal_number);
            w->signal_sent = signal_number;
        }
    }
}

static void
start_what_is_due(struct supervisor *s)
{
    size_t max = MAX(s->options->max_workers, 1);
    int64_t now = clock_monotonic_ms();

    for (size_t job = 0; job < s->options->job_count; job++) {
        struct worker *w = &s->workers[job];

        if (w->state == RESTARTING && now >= w->restart_at_ms)
            start_job(s, job);
        else if (w->state == WAITING && s->running < max)
            start_job(s, job);
    }
}

static void
wait_for_something(struct supervisor *s)
{
    size_t count = s->options->job_count;

    s->polled.count = 0;
    for (size_t job = 0; job < count; job++) {
        struct worker *w = &s->workers[job];
        bool is_running = w->state == RUNNING;

        vec_push(&s->polled,
                 ((struct pollfd){.fd = is_running ? w->child.pidfd : -1, .events = POLLIN}));
        vec_push(&s->polled,
                 ((struct pollfd){.fd = is_running ? w->report_fd : -1, .events = POLLIN}));
    }
    /* A signal that sets *stop interrupts it, or is seen at the next tick. */
    if (poll(s->polled.items, s->polled.count, TICK_MS) <= 0)
        return;
    for (size_t job = 0; job < count; job++) {
        if (s->polled.items[2 * job + 1].revents)
            (void)read_reports(s, job);
        if (s->polled.items[2 * job].revents)
            reap(s, job);
    }
}

static bool
is_all_ended(const struct supervisor *s)
{
    for (size_t job = 0; job < s->options->job_count; job++)
        if (s->workers[job].state != ENDED)
            return false;
    return true;
}

/* The hints of all, each after its VM; just once when all say the same. */
static void
join_hints(const struct supervisor *s, struct str *ret)
{
    const char *first = NULL;
    bool is_same = true;

    for (size_t job = 0; job < s->options->job_count; job++) {
        const char *hint = err_hint_text(s->workers[job].error);

        if (hint && first)
            is_same = is_same && !strcmp(hint, first);
        else if (hint)
            first = hint;
    }
    for (size_t job = 0; job < s->options->job_count && !is_same; job++) {
        const char *hint = err_hint_text(s->workers[job].error);

        if (hint)
            str_appendf(ret, "%s%s: %s", ret->length ? "\n" : "", s->options->jobs[job].label,
                        hint);
    }
    if (first && is_same)
        str_append(ret, first);
}

/* One error of all that failed. */
static int
join_errors(const struct supervisor *s, struct err **err)
{
    struct str text = STR_INIT(1024 * 1024), hints = STR_INIT(1024 * 1024);
    enum err_code code = E_NONE;

    for (size_t job = 0; job < s->options->job_count; job++) {
        const struct err *error = s->workers[job].error;

        if (!error)
            continue;
        if (code == E_NONE || code == E_CANCELLED)
            code = err_code(error);
        str_appendf(&text, "%s%s: %s", text.length ? "\n" : "", s->options->jobs[job].label,
                    err_message(error));
    }
    if (code != E_NONE) {
        join_hints(s, &hints);
        err_set(err, code, "%s", str_text(&text));
        if (hints.length)
            err_hint(err, "%s", str_text(&hints));
    }
    str_done(&text);
    str_done(&hints);
    return code == E_NONE ? 0 : -1;
}

/* The file this program was started from, so that `ps` shows workers under its name. */
static void
find_program(struct supervisor *s)
{
    ssize_t length = -1;

    if (s->options->program) {
        snprintf(s->program, sizeof(s->program), "%s", s->options->program);
        return;
    }
    length = readlink("/proc/self/exe", s->program, sizeof(s->program) - 1);
    s->program[MAX(length, 0)] = '\0';
    if (length < 0 || access(s->program, X_OK) < 0) /* replaced by an upgrade: run what we are */
        snprintf(s->program, sizeof(s->program), "/proc/self/exe");
}

int
supervisor_run(const struct supervisor_options *options, struct err **err)
{
    struct supervisor s = {.options = options};
    int64_t next_tick = 0;
    int rc;

    find_program(&s);
    s.workers = xcalloc(options->job_count, sizeof(s.workers[0]));
    for (size_t job = 0; job < options->job_count; job++) {
        s.workers[job].child = CHILD_NONE;
        s.workers[job].report_fd = -1;
    }
    while (!is_all_ended(&s)) {
        apply_stop(&s);
        if (!wanted_stop(&s))
            start_what_is_due(&s);
        wait_for_something(&s);
        if (options->on_tick && clock_monotonic_ms() >= next_tick) {
            next_tick = clock_monotonic_ms() + TICK_MS;
            options->on_tick(options->opaque);
        }
    }
    rc = join_errors(&s, err);
    for (size_t job = 0; job < options->job_count; job++)
        err_free(s.workers[job].error);
    free(s.workers);
    vec_done(&s.polled);
    return rc;
}
