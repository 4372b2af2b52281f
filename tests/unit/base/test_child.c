#include "base/child.h"

#include "tests/unit/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

#define SHELL(script)                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        "sh", "-c", script, NULL                                                                   \
    }

static char *
run(const struct child_spec *spec, int *ret_status)
{
    struct err *err = NULL;
    char *output = NULL;

    assert_ok(child_run(spec, 20000, 1 << 16, &output, ret_status, &err), &err);
    return output;
}

static void
output_and_status_come_back(void **state)
{
    struct child_spec spec = {.argv = SHELL("echo out; echo err >&2; exit 3")};
    CLEANUP(free_charp) char *output = NULL;
    int status;

    output = run(&spec, &status);
    assert_string_equal(output, "out\nerr\n");
    assert_string_equal(child_describe_status(status), "exit status 3");
}

static void
arguments_pass_no_shell(void **state)
{
    struct child_spec spec = {.argv =
                                  (const char *const[]){"printf", "%s|", "a b", "$HOME;`x`", NULL}};
    CLEANUP(free_charp) char *output = NULL;
    int status;

    output = run(&spec, &status);
    assert_string_equal(output, "a b|$HOME;`x`|");
}

static void
a_missing_program_is_named_with_a_cure(void **state)
{
    static const char *const names[] = {"v2c-no-such-program", "/no/such/program"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct child_spec spec = {.argv = (const char *const[]){names[i], NULL}};
        struct child child = CHILD_NONE;
        struct err *err = NULL;

        assert_int_equal(child_start(&spec, &child, &err), -1);
        assert_int_equal(child.pid, 0);
        assert_non_null(err_hint_text(err));
        assert_err_says(&err, E_SPAWN, "No such file");
    }
}

static void
a_file_that_is_no_program_gives_the_exec_error(void **state)
{
    char path[] = "/tmp/v2c-test-child.XXXXXX";
    struct child_spec spec = {.argv = (const char *const[]){path, NULL}};
    struct child child = CHILD_NONE;
    struct err *err = NULL;
    int fd = mkstemp(path);

    assert_int_equal(write(fd, "echo no\n", 8), 8);
    close(fd);
    assert_int_equal(child_start(&spec, &child, &err), -1);
    assert_err_says(&err, E_SPAWN, "Permission denied");
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(child_start(&spec, &child, &err), -1); /* and is not given to a shell */
    assert_err_says(&err, E_SPAWN, "Exec format error");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left to be waited for */
    unlink(path);
}

static void
the_environment_is_added_to_and_cut(void **state)
{
    struct child_spec spec = {
        .argv = SHELL("echo ${V2C_SECRET-gone} $V2C_KEPT $V2C_NEW ${V2C_SECRET2}"),
        .set_env = (const char *const[]){"V2C_NEW=new", "V2C_KEPT=changed", NULL},
        .drop_env = (const char *const[]){"V2C_SECRET", NULL},
    };
    CLEANUP(free_charp) char *output = NULL;
    int status;

    setenv("V2C_SECRET", "s", 1);
    setenv("V2C_SECRET2", "similar", 1);
    setenv("V2C_KEPT", "kept", 1);
    output = run(&spec, &status);
    assert_string_equal(output, "gone changed new similar\n");
}

static void
only_the_named_fds_are_handed_down(void **state)
{
    int a[2], b[2], leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, on purpose */
    struct child_fd fds[] = {{.theirs = 3}, {.theirs = 4}};
    struct child_spec spec = {
        .argv = SHELL("echo three >&3; echo four >&4; ls /proc/$$/fd; readlink /proc/$$/fd/0"),
        .pass_fds = fds,
        .pass_fd_count = 2,
    };
    CLEANUP(free_charp) char *output = NULL;
    char text[16] = "";
    int status;

    assert_int_equal(pipe2(a, O_CLOEXEC), 0);
    assert_int_equal(pipe2(b, O_CLOEXEC), 0);
    fds[0].ours = a[1];
    fds[1].ours = b[1];
    output = run(&spec, &status);
    assert_string_equal(output, "0\n1\n2\n3\n4\n/dev/null\n");
    assert_int_equal(read(a[0], text, sizeof(text)), 6);
    assert_memory_equal(text, "three\n", 6);
    assert_int_equal(read(b[0], text, sizeof(text)), 5);
    assert_memory_equal(text, "four\n", 5);
    assert_true(fcntl(a[1], F_GETFD) & FD_CLOEXEC);
    close(leak);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

/* Their numbers are ours crossed over, so that a careless dup2 would overwrite one of them. */
static void
fds_may_swap_their_numbers(void **state)
{
    int low[2], high[2];
    struct child_fd fds[2];
    struct child_spec spec = {
        .argv = SHELL("echo 3 >&3; echo 4 >&4"), .pass_fds = fds, .pass_fd_count = 2};
    CLEANUP(free_charp) char *output = NULL;
    int status, saved3 = fcntl(3, F_DUPFD_CLOEXEC, 50), saved4 = fcntl(4, F_DUPFD_CLOEXEC, 50);
    char text[8] = "";

    assert_int_equal(pipe2(low, O_CLOEXEC), 0);
    assert_int_equal(pipe2(high, O_CLOEXEC), 0);
    for (int i = 0; i < 2; i++) {
        low[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 20);
        high[i] = fcntl(high[i], F_DUPFD_CLOEXEC, 20);
    }
    assert_int_equal(dup3(low[1], 3, O_CLOEXEC), 3);
    assert_int_equal(dup3(high[1], 4, O_CLOEXEC), 4);
    fds[0] = (struct child_fd){.ours = 3, .theirs = 4};
    fds[1] = (struct child_fd){.ours = 4, .theirs = 3};
    output = run(&spec, &status);
    assert_string_equal(output, "");
    assert_int_equal(read(low[0], text, sizeof(text)), 2);
    assert_int_equal(text[0], '4');
    assert_int_equal(read(high[0], text, sizeof(text)), 2);
    assert_int_equal(text[0], '3');
    if (saved3 >= 0)
        dup2(saved3, 3);
    if (saved4 >= 0)
        dup2(saved4, 4);
}

static void
fds_with_a_gap_are_our_bug(void **state)
{
    struct child_fd fds[] = {{.ours = 0, .theirs = 5}};
    struct child_spec spec = {.argv = SHELL("true"), .pass_fds = fds, .pass_fd_count = 1};
    struct child child = CHILD_NONE;
    struct err *err = NULL;

    assert_int_equal(child_start(&spec, &child, &err), -1);
    assert_err(&err, E_BUG);
}

static void
output_beyond_the_cap_is_read_and_dropped(void **state)
{
    struct child_spec spec = {.argv = SHELL("head -c 1000000 /dev/zero | tr '\\0' x; exit 5")};
    struct err *err = NULL;
    char *output = NULL;
    int status;

    assert_ok(child_run(&spec, 20000, 1000, &output, &status, &err), &err);
    assert_int_equal(strlen(output), 1000);
    assert_string_equal(child_describe_status(status), "exit status 5");
    free(output);
}

static void
a_timeout_kills_the_child(void **state)
{
    struct child_spec spec = {.argv = (const char *const[]){"sleep", "1000", NULL}};
    int64_t start = clock_monotonic_ms();
    struct err *err = NULL;
    char *output = NULL;
    int status = 77;

    assert_int_equal(child_run(&spec, 100, 100, &output, &status, &err), -1);
    assert_err_says(&err, E_TIMEOUT, "sleep has not ended after 100 ms");
    assert_true(clock_monotonic_ms() - start < 20000);
    assert_null(output);
    assert_int_equal(status, 77);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void
a_grandchild_that_keeps_the_pipe_does_not_hold_us_up(void **state)
{
    struct child_spec spec = {.argv = SHELL("sleep 30 & echo $!")};
    int64_t start = clock_monotonic_ms();
    CLEANUP(free_charp) char *output = NULL;
    int status;

    output = run(&spec, &status);
    assert_true(clock_monotonic_ms() - start < 20000);
    assert_true(atoi(output) > 1);
    assert_int_equal(kill(atoi(output), SIGKILL), 0);
}

static void
stopping_ends_even_a_child_that_ignores_sigterm(void **state)
{
    int ends[2];
    struct child_fd out = {.theirs = 1};
    struct child_spec spec = {.argv = SHELL("trap '' TERM; echo ready; while :; do sleep 1; done"),
                              .pass_fds = &out,
                              .pass_fd_count = 1};
    struct child child = CHILD_NONE;
    struct err *err = NULL;
    char c;
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    out.ours = ends[1];
    assert_ok(child_start(&spec, &child, &err), &err);
    assert_int_equal(read(ends[0], &c, 1), 1);
    pid = child.pid;
    child_stop(&child, 50);
    assert_int_equal(child.pid, 0);
    assert_int_equal(kill(pid, 0), -1);
    child_stop(&child, 50); /* none runs: nothing happens */
    close(ends[0]);
    close(ends[1]);
}

static void
waiting_has_a_deadline_and_the_pidfd_tells_the_end(void **state)
{
    struct child_spec spec = {.argv = (const char *const[]){"sleep", "1000", NULL}};
    struct child child = CHILD_NONE;
    struct err *err = NULL;
    struct pollfd ended;
    int status;

    assert_ok(child_start(&spec, &child, &err), &err);
    assert_int_equal(child_wait(&child, 20, &status, &err), -1);
    assert_err(&err, E_TIMEOUT);
    assert_int_equal(kill(child.pid, SIGSEGV), 0);
    ended = (struct pollfd){.fd = child.pidfd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 20000), 1);
    assert_ok(child_wait(&child, 0, &status, &err), &err);
    assert_string_equal(child_describe_status(status), "killed by SIGSEGV");
    assert_int_equal(child_wait(&child, 0, &status, &err), -1);
    assert_err(&err, E_BUG);
}

static void
blocked_and_ignored_signals_are_not_inherited(void **state)
{
    struct child_spec spec = {.argv = SHELL("grep -E 'Sig(Blk|Ign)' /proc/self/status")};
    CLEANUP(free_charp) char *output = NULL;
    sigset_t set, before;
    int status;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    output = run(&spec, &status);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
    assert_string_equal(output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static bool
ends_within(pid_t pid, int64_t ms)
{
    int64_t deadline = clock_monotonic_ms() + ms;

    while (kill(pid, 0) == 0) {
        char path[64], state = 0;
        FILE *f;

        /* Nobody may be there to reap it: a zombie has ended too. */
        snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
        f = fopen(path, "r");
        if (f) {
            if (fscanf(f, "%*d %*s %c", &state) != 1)
                state = 0;
            fclose(f);
        }
        if (state == 'Z')
            return true;
        if (clock_monotonic_ms() > deadline)
            return false;
        clock_sleep_ms(5);
    }
    return true;
}

static void
a_child_dies_with_its_killed_parent(void **state)
{
    struct child_spec spec = {.argv = (const char *const[]){"sleep", "1000", NULL},
                              .dies_with_parent = true};
    pid_t parent, grandchild = 0;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    parent = fork();
    if (parent == 0) {
        struct child child;

        if (child_start(&spec, &child, NULL) < 0 ||
            write(ends[1], &child.pid, sizeof(child.pid)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    close(ends[0]);
    assert_int_equal(kill(grandchild, 0), 0);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_true(ends_within(grandchild, 20000));
}

static void *
start_in_thread(void *child)
{
    struct child_spec spec = {.argv = (const char *const[]){"sleep", "1000", NULL},
                              .dies_with_parent = true};

    return child_start(&spec, child, NULL) < 0 ? NULL : child;
}

static void
a_child_outlives_the_thread_that_started_it(void **state)
{
    struct child child = CHILD_NONE;
    pthread_t thread;
    void *result;
    int status;

    assert_int_equal(pthread_create(&thread, NULL, start_in_thread, &child), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &child);
    assert_int_equal(child_wait(&child, 200, &status, NULL), -1);
    child_stop(&child, 1000);
}

static size_t
count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void
neither_fds_nor_zombies_are_left(void **state)
{
    struct child_spec good = {.argv = SHELL("true")};
    struct child_spec bad = {.argv = (const char *const[]){"/dev/null", NULL}};
    size_t before = count_fds();

    for (int i = 0; i < 5; i++) {
        CLEANUP(free_charp) char *output = NULL;
        struct child child;
        int status;

        output = run(&good, &status);
        assert_int_equal(status, 0);
        assert_int_equal(child_start(&bad, &child, NULL), -1);
    }
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static bool
has_ended(pid_t pid)
{
    CLEANUP(free_charp) char *path = xasprintf("/proc/%ld/stat", (long)pid);
    char text[256] = "";
    FILE *file = fopen(path, "re");

    if (!file)
        return true;
    (void)!fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    return strstr(text, ") Z ") != NULL;
}

/* Whoever runs this as its init may be slow to bury it. */
static void
expect_end_of(const char *pid_text)
{
    int64_t end = clock_monotonic_ms() + 10000;

    while (!has_ended((pid_t)strtol(pid_text, NULL, 10))) {
        assert_true(clock_monotonic_ms() < end);
        clock_sleep_ms(20);
    }
}

static void
what_a_program_has_started_ends_with_it(void **state)
{
    struct child_spec spec = {.argv = SHELL("sleep 1000 & echo $!; exit 7"), .takes_along = true};
    struct child_spec killed = {.argv = SHELL("sleep 1000 & echo $!; kill -9 $$"),
                                .takes_along = true};
    struct child_spec none = {.argv = (const char *const[]){"/no/such/program", NULL},
                              .takes_along = true};
    CLEANUP(free_charp) char *first = NULL;
    CLEANUP(free_charp) char *second = NULL;
    struct child child = CHILD_NONE;
    struct err *err = NULL;
    int status;

    first = run(&spec, &status);
    assert_string_equal(child_describe_status(status), "exit status 7");
    expect_end_of(first);
    second = run(&killed, &status);
    assert_string_equal(child_describe_status(status), "exit status 137");
    expect_end_of(second);
    assert_int_equal(child_start(&none, &child, &err), -1);
    assert_int_equal(err_code(err), E_SPAWN);
    err_free(err);
}

static void
a_program_that_will_not_end_is_ended_with_all_that_it_started(void **state)
{
    int ends[2];
    char text[32] = "";
    struct child child = CHILD_NONE;
    struct err *err = NULL;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_ok(
        child_start(&(struct child_spec){.argv = SHELL("trap '' TERM; (trap '' TERM; while :; do "
                                                       "sleep 1000; done) & echo $!; wait; wait; "
                                                       "sleep 1000"),
                                         .pass_fds = &(struct child_fd){ends[1], 1},
                                         .pass_fd_count = 1,
                                         .takes_along = true},
                    &child, &err),
        &err);
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    child_stop(&child, 20000);
    expect_end_of(text);
    close(ends[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_status_come_back),
        cmocka_unit_test(arguments_pass_no_shell),
        cmocka_unit_test(a_missing_program_is_named_with_a_cure),
        cmocka_unit_test(a_file_that_is_no_program_gives_the_exec_error),
        cmocka_unit_test(the_environment_is_added_to_and_cut),
        cmocka_unit_test(only_the_named_fds_are_handed_down),
        cmocka_unit_test(fds_may_swap_their_numbers),
        cmocka_unit_test(fds_with_a_gap_are_our_bug),
        cmocka_unit_test(output_beyond_the_cap_is_read_and_dropped),
        cmocka_unit_test(a_timeout_kills_the_child),
        cmocka_unit_test(a_grandchild_that_keeps_the_pipe_does_not_hold_us_up),
        cmocka_unit_test(stopping_ends_even_a_child_that_ignores_sigterm),
        cmocka_unit_test(waiting_has_a_deadline_and_the_pidfd_tells_the_end),
        cmocka_unit_test(blocked_and_ignored_signals_are_not_inherited),
        cmocka_unit_test(a_child_dies_with_its_killed_parent),
        cmocka_unit_test(a_child_outlives_the_thread_that_started_it),
        cmocka_unit_test(what_a_program_has_started_ends_with_it),
        cmocka_unit_test(a_program_that_will_not_end_is_ended_with_all_that_it_started),
        cmocka_unit_test(neither_fds_nor_zombies_are_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
