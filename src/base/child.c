#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "base/vec.h"

extern char **environ;

#define GUARD_GRACE_S 2

VEC_DECLARE(words, char *);
VEC_DECLARE(child_fds, struct child_fd);

/* ---- what is made ready before fork ---------------------------------------------------------- */

/* Between fork and exec only async-signal-safe calls are allowed, because another thread may hold any
 * lock at the moment of the fork: so all memory is made here. */
struct launch {
    char *program;
    char *const *argv;
    struct words env; /* items owned, NULL terminated */
    const struct child_fd *fds;
    int *high; /* scratch of the child: fds moved out of the way */
    size_t fd_count;
    int first_free; /* first fd number that the new program does not get */
    int null_fd;
    int report_fd; /* write end of the pipe that carries the errno of a failed exec */
    pid_t parent;
    bool dies_with_parent, takes_along;
};

const char *const child_secrets[] = {
    "VC_PASSWORD",
    "V2C_VCENTER_PASSWORD",
    "V2C_CLOUDSTACK_API_KEY",
    "V2C_CLOUDSTACK_SECRET_KEY",
    "CLOUDSTACK_KEY",
    "CLOUDSTACK_SECRET",
    "CLOUDSTACK_API_KEY",
    "CLOUDSTACK_SECRET_KEY",
    NULL,
};

static bool
names_variable(const char *pair, const char *name, size_t name_length)
{
    return !strncmp(pair, name, name_length) && pair[name_length] == '=';
}

static bool
is_replaced(const char *pair, const struct child_spec *spec)
{
    for (const char *const *d = spec->drop_env; d && *d; d++)
        if (names_variable(pair, *d, strlen(*d)))
            return true;
    for (const char *const *d = child_secrets; *d; d++)
        if (names_variable(pair, *d, strlen(*d)))
            return true;
    for (const char *const *s = spec->set_env; s && *s; s++)
        if (names_variable(pair, *s, strcspn(*s, "=")))
            return true;
    return false;
}

static void
build_environment(const struct child_spec *spec, struct words *env)
{
    for (char **pair = environ; pair && *pair; pair++)
        if (!is_replaced(*pair, spec))
            vec_push(env, xstrdup(*pair));
    for (const char *const *s = spec->set_env; s && *s; s++)
        vec_push(env, xstrdup(*s));
    vec_push(env, NULL);
}

static int
fail_spawn(const char *program, int errnum, struct err **err)
{
    char text[128];

    err_set(err, E_SPAWN, "%s: %s", program, strerror_r(errnum, text, sizeof(text)));
    if (errnum == ENOENT)
        err_hint(err, "install it, or give its full path");
    return -1;
}

static int
find_program(const char *name, char **ret_path, struct err **err)
{
    const char *path = getenv("PATH");
    int worst = ENOENT;

    if (strchr(name, '/')) {
        *ret_path = xstrdup(name);
        return 0;
    }
    path = path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (const char *p = path; *name; p += strcspn(p, ":") + 1) {
        int length = (int)strcspn(p, ":");
        CLEANUP(free_charp)
        char *candidate = length ? xasprintf("%.*s/%s", length, p, name) : xasprintf("./%s", name);

        if (access(candidate, X_OK) == 0) {
            *ret_path = take(candidate);
            return 0;
        }
        if (errno == EACCES)
            worst = EACCES;
        if (!p[length])
            break;
    }
    return fail_spawn(name, worst, err);
}

/* The contract's "3 and up without gaps", so that everything above can be closed in one go. */
static int
check_fds(const struct child_spec *spec, int *ret_first_free, struct err **err)
{
    int highest = 2, above = 0;

    for (size_t i = 0; i < spec->pass_fd_count; i++) {
        int theirs = spec->pass_fds[i].theirs;

        for (size_t j = 0; j < i; j++)
            if (spec->pass_fds[j].theirs == theirs)
                return err_set(err, E_BUG, "%s: fd %d is passed twice", spec->argv[0], theirs);
        highest = MAX(highest, theirs);
        above += theirs > 2;
        if (theirs < 0 || spec->pass_fds[i].ours < 0)
            return err_set(err, E_BUG, "%s: a negative fd is passed", spec->argv[0]);
    }
    if (highest - 2 != above)
        return err_set(err, E_BUG, "%s: the numbers of passed fds have a gap", spec->argv[0]);
    *ret_first_free = highest + 1;
    return 0;
}

static int
launch_init(struct launch *launch, const struct child_spec *spec, struct err **err)
{
    if (!spec->argv || !spec->argv[0])
        return err_set(err, E_BUG, "a child without a program");
    if (check_fds(spec, &launch->first_free, err) < 0 ||
        find_program(spec->argv[0], &launch->program, err) < 0)
        return -1;
    build_environment(spec, &launch->env);
    launch->argv = (char *const *)spec->argv;
    launch->fds = spec->pass_fds;
    launch->fd_count = spec->pass_fd_count;
    launch->high = xcalloc(spec->pass_fd_count, sizeof(launch->high[0]));
    launch->dies_with_parent = spec->dies_with_parent || spec->takes_along;
    launch->takes_along = spec->takes_along;
    launch->parent = getpid();
    launch->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (launch->null_fd < 0)
        return err_set_errno(err, E_SPAWN, errno, "/dev/null");
    return 0;
}

static void
launch_done(struct launch *launch)
{
    for (size_t i = 0; i < launch->env.count; i++)
        free(launch->env.items[i]);
    vec_done(&launch->env);
    free(launch->program);
    free(launch->high);
    close_fdp(&launch->null_fd);
}

/* ---- in the child: async-signal-safe calls only ---------------------------------------------- */

/* Moves everything above the numbers it goes to first, so that no dup2 hits one still needed. */
static int
arrange_fds(struct launch *launch)
{
    bool has_stdin = false;

    launch->report_fd = fcntl(launch->report_fd, F_DUPFD_CLOEXEC, launch->first_free);
    if (launch->report_fd < 0)
        return -1;
    for (size_t i = 0; i < launch->fd_count; i++) {
        launch->high[i] = fcntl(launch->fds[i].ours, F_DUPFD_CLOEXEC, launch->first_free);
        if (launch->high[i] < 0)
            return -1;
    }
    for (size_t i = 0; i < launch->fd_count; i++) {
        if (dup2(launch->high[i], launch->fds[i].theirs) < 0)
            return -1;
        has_stdin |= launch->fds[i].theirs == 0;
    }
    if (!has_stdin && dup2(launch->null_fd, 0) < 0)
        return -1;
    /* Ours are close-on-exec already; this is for those of libraries that forgot to say so. */
    (void)close_range((unsigned)launch->first_free, ~0U, CLOSE_RANGE_CLOEXEC);
    return 0;
}

static void
default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &action, NULL); /* SIGKILL and the C library's own refuse: fine */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Waits for @leader, whose process group is its own.  All signals are blocked, as they were at the fork. */
static _Noreturn void
guard(const struct launch *launch, pid_t leader)
{
    const struct timespec grace = {.tv_sec = GUARD_GRACE_S};
    siginfo_t ended = {0};
    sigset_t awaited;
    int status = 0;

    /* Who kills our program by its name does not mean the one that cleans up after it. */
    (void)prctl(PR_SET_NAME, "v2c-guard");
    /* Whoever reads our ends of pipes must see their end when the program has ended. */
    (void)close_range(0, ~0U, 0);
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    while (waitid(P_PID, (id_t)leader, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && !ended.si_pid) {
        if (sigwaitinfo(&awaited, NULL) != SIGTERM)
            continue;
        if (getppid() == launch->parent) {
            (void)kill(-leader, SIGTERM);
            sigdelset(&awaited, SIGTERM);
            (void)sigtimedwait(&awaited, NULL, &grace);
        }
        (void)kill(-leader, SIGKILL);
    }
    (void)kill(-leader, SIGKILL); /* not waited for yet, so the number is still its own */
    (void)waitpid(leader, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Returns in the program that is to be; what stays is the guard. */
static void
put_under_guard(struct launch *launch)
{
    pid_t leader;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != launch->parent)
        _exit(127);
    leader = fork();
    if (leader > 0) {
        (void)setpgid(leader, leader); /* here too, so that it is true for both of us */
        guard(launch, leader);
    }
    if (leader < 0) {
        int errnum = errno;

        (void)!write(launch->report_fd, &errnum, sizeof(errnum));
        _exit(127);
    }
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* of the guard */
}

static _Noreturn void
run_child(struct launch *launch)
{
    int errnum;

    if (launch->takes_along) {
        put_under_guard(launch);
    } else if (launch->dies_with_parent) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* The parent may have died before the line above: then no signal would ever come. */
        if (getppid() != launch->parent)
            _exit(127);
    }
    default_signals();
    if (arrange_fds(launch) == 0)
        execve(launch->program, launch->argv, launch->env.items);
    errnum = errno;
    (void)!write(launch->report_fd, &errnum, sizeof(errnum));
    _exit(127);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static pid_t
fork_with_signals_blocked(struct launch *launch, int *ret_errnum)
{
    sigset_t all, before;
    pid_t pid;

    /* A handler of ours must not run in the child before exec: it would act on our fds. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        run_child(launch);
    *ret_errnum = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* The kernel sends PR_SET_PDEATHSIG when the thread that forked ends, not when its process does.  So
 * such children are forked by one thread that lives as long as the process. */
static struct {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    pid_t owner; /* process that the thread belongs to: after a fork of ours it has none */
    struct launch *todo;
    pid_t pid;
    int errnum;
    bool is_answered;
} forker = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *
forker_main(void *unused)
{
    SCOPE_LOCK(&forker.lock);
    for (;;) {
        while (!forker.todo)
            pthread_cond_wait(&forker.changed, &forker.lock);
        forker.pid = fork_with_signals_blocked(forker.todo, &forker.errnum);
        forker.todo = NULL;
        forker.is_answered = true;
        pthread_cond_broadcast(&forker.changed);
    }
    return NULL;
}

static int
start_forker(void)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int errnum;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals of the program belong to its threads */
    errnum = pthread_create(&thread, &attr, forker_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (errnum == 0)
        forker.owner = getpid();
    return errnum;
}

static pid_t
fork_in_forker(struct launch *launch, int *ret_errnum)
{
    SCOPE_LOCK(&forker.lock);
    if (forker.owner != getpid() && (*ret_errnum = start_forker()) != 0)
        return -1;
    while (forker.todo || forker.is_answered) /* another caller's turn */
        pthread_cond_wait(&forker.changed, &forker.lock);
    forker.todo = launch;
    pthread_cond_broadcast(&forker.changed);
    while (!forker.is_answered)
        pthread_cond_wait(&forker.changed, &forker.lock);
    forker.is_answered = false;
    pthread_cond_broadcast(&forker.changed);
    *ret_errnum = forker.errnum;
    return forker.pid;
}

/* What the child wrote before it gave up; 0 when exec closed the pipe. */
static int
read_report(int fd)
{
    int errnum = 0;
    ssize_t n;

    do
        n = read(fd, &errnum, sizeof(errnum));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(errnum) ? errnum : 0;
}

int
child_start(const struct child_spec *spec, struct child *ret_child, struct err **err)
{
    CLEANUP(launch_done) struct launch launch = {.null_fd = -1};
    CLEANUP(close_fdp) int read_end = -1;
    int ends[2], errnum = 0, pidfd;
    pid_t pid;

    if (launch_init(&launch, spec, err) < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, E_SPAWN, errno, "%s: pipe", launch.program);
    read_end = ends[0];
    launch.report_fd = ends[1];
    pid = launch.dies_with_parent ? fork_in_forker(&launch, &errnum)
                                  : fork_with_signals_blocked(&launch, &errnum);
    close(ends[1]);
    if (pid < 0)
        return fail_spawn(launch.program, errnum, err);
    errnum = read_report(read_end);
    if (errnum) {
        (void)waitpid(pid, NULL, 0);
        return fail_spawn(launch.program, errnum, err);
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        errnum = errno;
        (void)kill(pid, SIGKILL); /* not waited for yet, so the pid is still its own */
        (void)waitpid(pid, NULL, 0);
        return err_set_errno(err, E_SPAWN, errnum, "%s: pidfd_open", launch.program);
    }
    *ret_child = (struct child){.pid = pid, .pidfd = pidfd};
    return 0;
}

/* ---- waiting and ending ----------------------------------------------------------------------- */

/* 1 when @fd is readable, 0 at the deadline. */
static int
poll_until(struct pollfd *fds, nfds_t count, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms < 0 ? -1 : MAX(deadline_ms - clock_monotonic_ms(), 0);
        int n = poll(fds, count, (int)MIN(left, INT32_MAX));

        if (n > 0)
            return 1;
        if (n == 0 && (deadline_ms >= 0 && clock_monotonic_ms() >= deadline_ms))
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return 0;
    }
}

static int64_t
deadline_in(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : clock_monotonic_ms() + timeout_ms;
}

static int
reap(struct child *child, int *ret_status, struct err **err)
{
    int status;
    pid_t pid;

    do
        pid = waitpid(child->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    close(child->pidfd);
    if (pid < 0) {
        err_set(err, E_BUG, "process %ld was waited for by somebody else", (long)child->pid);
        *child = CHILD_NONE;
        return -1;
    }
    *child = CHILD_NONE;
    *ret_status = status;
    return 0;
}

int
child_wait(struct child *child, int timeout_ms, int *ret_status, struct err **err)
{
    struct pollfd ended = {.fd = child->pidfd, .events = POLLIN};

    if (child->pid <= 0)
        return err_set(err, E_BUG, "waiting for a child that does not run");
    if (!poll_until(&ended, 1, deadline_in(timeout_ms)))
        return err_set(err, E_TIMEOUT, "process %ld has not ended after %d ms", (long)child->pid,
                       timeout_ms);
    return reap(child, ret_status, err);
}

void
child_stop(struct child *child, int grace_ms)
{
    struct pollfd ended = {.fd = child->pidfd, .events = POLLIN};
    int status;

    if (child->pid <= 0)
        return;
    (void)syscall(SYS_pidfd_send_signal, child->pidfd, SIGTERM, NULL, 0);
    if (!poll_until(&ended, 1, deadline_in(MAX(grace_ms, 0))))
        (void)syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
    (void)reap(child, &status, NULL);
}

const char *
child_describe_status(int status)
{
    static _Thread_local char text[64];

    if (WIFEXITED(status)) {
        snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
    } else if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));

        if (name)
            snprintf(text, sizeof(text), "killed by SIG%s", name);
        else
            snprintf(text, sizeof(text), "killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(text, sizeof(text), "wait status 0x%x", (unsigned)status);
    }
    return text;
}

/* Reads what is there without blocking; false at the end of the pipe. */
static bool
collect(int fd, struct str *output)
{
    char chunk[16384];

    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        /* str drops a piece that does not fit as a whole; the head of it is wanted too. */
        str_append_bytes(output, chunk, MIN((size_t)n, output->max - output->length));
    }
}

/* Until the child ends: a grandchild that keeps the pipe open does not hold us up. */
static int
collect_until_end(struct child *child, int fd, int64_t deadline_ms, struct str *output)
{
    bool is_open = true;

    for (;;) {
        struct pollfd fds[] = {{.fd = child->pidfd, .events = POLLIN},
                               {.fd = is_open ? fd : -1, .events = POLLIN}};

        if (!poll_until(fds, 2, deadline_ms))
            return -1;
        if (is_open)
            is_open = collect(fd, output);
        if (fds[0].revents)
            break;
    }
    if (is_open)
        (void)collect(fd, output);
    return 0;
}

int
child_run(const struct child_spec *spec, int timeout_ms, size_t max_output, char **ret_output,
          int *ret_status, struct err **err)
{
    VEC_DECLARE(, struct child_fd)
    fds = {0};
    struct child_spec piped = *spec;
    struct child child = CHILD_NONE;
    struct str output = STR_INIT(max_output);
    int64_t deadline = deadline_in(timeout_ms);
    int ends[2], rc;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, E_SPAWN, errno, "%s: pipe", spec->argv[0]);
    for (size_t i = 0; i < spec->pass_fd_count; i++)
        vec_push(&fds, spec->pass_fds[i]);
    vec_push(&fds, ((struct child_fd){.ours = ends[1], .theirs = 1}));
    vec_push(&fds, ((struct child_fd){.ours = ends[1], .theirs = 2}));
    piped.pass_fds = fds.items;
    piped.pass_fd_count = fds.count;
    rc = child_start(&piped, &child, err);
    close(ends[1]);
    vec_done(&fds);
    if (rc == 0) {
        (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
        if (collect_until_end(&child, ends[0], deadline, &output) < 0) {
            child_stop(&child, 500);
            rc = err_set(err, E_TIMEOUT, "%s has not ended after %d ms and was killed",
                         spec->argv[0], timeout_ms);
        } else {
            rc = reap(&child, ret_status, err);
        }
    }
    close(ends[0]);
    if (rc == 0)
        *ret_output = str_take(&output);
    str_done(&output);
    return rc;
}

/* ---- credentials ------------------------------------------------------------------------------- */

#define MAX_SECRETS 65536U

/* "NAME=value" with its NUL, one after the other. */
static int
write_pair(int fd, const char *pair, struct err **err)
{
    size_t length = strlen(pair) + 1;

    if (write(fd, pair, length) != (ssize_t)length)
        return err_set_errno(err, E_MEMORY, errno, "memory for credentials");
    return 0;
}

int
child_hand_secrets_over(const char *const *more, int *ret_fd, struct err **err)
{
    CLEANUP(close_fdp) int fd = memfd_create("credentials", MFD_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, E_MEMORY, errno, "memory for credentials");
    for (const char *const *name = child_secrets; *name; name++) {
        const char *value = getenv(*name);
        CLEANUP(free_charp) char *pair = value ? xasprintf("%s=%s", *name, value) : NULL;

        if (pair && write_pair(fd, pair, err) < 0)
            return -1;
    }
    /* The last of one name counts. */
    for (const char *const *pair = more; pair && *pair; pair++)
        if (write_pair(fd, *pair, err) < 0)
            return -1;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static bool
may_be_handed_over(const char *pair)
{
    if (!strncmp(pair, "V2C_", 4))
        return true;
    for (const char *const *name = child_secrets; *name; name++)
        if (names_variable(pair, *name, strlen(*name)))
            return true;
    return false;
}

int
child_take_secrets_over(int fd, struct err **err)
{
    CLEANUP(free_charp) char *data = xcalloc(MAX_SECRETS + 1, 1);
    CLEANUP(close_fdp) int file = fd;
    ssize_t length = pread(file, data, MAX_SECRETS, 0);

    if (length < 0)
        return err_set_errno(err, E_IO, errno, "reading the credentials that were handed over");
    for (char *pair = data; pair < data + length; pair += strlen(pair) + 1) {
        CLEANUP(free_charp) char *name = strndup(pair, strcspn(pair, "="));

        if (may_be_handed_over(pair))
            (void)setenv(name, strchr(pair, '=') + 1, 1);
    }
    explicit_bzero(data, MAX_SECRETS);
    return 0;
}
