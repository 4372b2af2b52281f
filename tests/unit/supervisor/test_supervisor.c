/* Workers here are tiny shell scripts: what a supervisor sees of a worker is a pipe and an exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "supervisor/supervisor.h"

#define MAX_JOBS 4

/* What happened, and what is to happen. */
struct watch {
    volatile int stop;
    int stop_on_report;    /* value that *stop takes with the first report */
    int stop_on_restart;   /* the same, with the first restart */
    unsigned kill_on_tick; /* the tick after the first stop at which it becomes 2; 0: never */
    unsigned ticks_of_stop;
    unsigned started, restarts, reports, running, most_running;
    int delays[8];
    char last_report[64];
    unsigned ended;
    enum err_code codes[MAX_JOBS];
};

static void
on_event(void *opaque, const struct supervisor_event *event)
{
    struct watch *watch = opaque;

    switch (event->kind) {
    case SUPERVISOR_STARTED:
        watch->started++;
        watch->running++;
        watch->most_running = MAX(watch->most_running, watch->running);
        break;
    case SUPERVISOR_REPORT:
        watch->reports++;
        snprintf(watch->last_report, sizeof(watch->last_report), "%s",
                 json_string_value(json_object_get(event->report, "text")));
        watch->stop = MAX(watch->stop, watch->stop_on_report);
        break;
    case SUPERVISOR_RESTART:
        assert_int_equal(err_code(event->error), E_WORKER_CRASH);
        watch->delays[watch->restarts++ % ARRAY_SIZE(watch->delays)] = event->delay_ms;
        watch->running--;
        watch->stop = MAX(watch->stop, watch->stop_on_restart);
        break;
    case SUPERVISOR_ENDED:
        watch->ended++;
        watch->running--;
        watch->codes[event->job] = err_code(event->error);
        break;
    }
}

static void
on_tick(void *opaque)
{
    struct watch *watch = opaque;

    if (watch->stop && watch->kill_on_tick && ++watch->ticks_of_stop >= watch->kill_on_tick)
        watch->stop = 2;
}

/* Runs @scripts, NULL terminated, @max at once. */
static int
run(struct watch *watch, size_t max, const char *const *scripts, struct err **err)
{
    static const char *const labels[MAX_JOBS] = {"one", "two", "three", "four"};
    const char *argv[MAX_JOBS][3];
    struct supervisor_job jobs[MAX_JOBS];
    size_t count = 0;

    for (; scripts[count]; count++) {
        argv[count][0] = "-c";
        argv[count][1] = scripts[count];
        argv[count][2] = NULL;
        jobs[count] = (struct supervisor_job){.label = labels[count], .argv = argv[count]};
    }
    return supervisor_run(
        &(struct supervisor_options){
            .jobs = jobs,
            .job_count = count,
            .max_workers = max,
            .program = "/bin/sh",
            .max_restarts = 3,
            .first_restart_delay_ms = 10,
            .on_event = on_event,
            .on_tick = on_tick,
            .opaque = watch,
            .stop = &watch->stop,
        },
        err);
}

#define SCRIPTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
runs_every_job_to_its_end(void **state)
{
    struct watch watch = {0};

    assert_int_equal(run(&watch, 2, SCRIPTS(":", ":", ":", ":"), NULL), 0);
    assert_int_equal(watch.started, 4);
    assert_int_equal(watch.ended, 4);
}

static void
runs_no_more_than_max_workers(void **state)
{
    struct watch watch = {0};
    const char *script = "sleep 0.1";

    assert_int_equal(run(&watch, 2, SCRIPTS(script, script, script, script), NULL), 0);
    assert_int_equal(watch.most_running, 2);
}

static void
hands_on_reports(void **state)
{
    struct watch watch = {0};

    assert_int_equal(run(&watch, 1, SCRIPTS("echo '{\"text\":\"hello\"}' >&3"), NULL), 0);
    assert_int_equal(watch.reports, 1);
    assert_string_equal(watch.last_report, "hello");
}

static void
drops_garbage_and_endless_lines(void **state)
{
    struct watch watch = {0};
    const char *script =
        "echo nonsense >&3; echo '[1]' >&3; printf '\\000\\377\\n' >&3;"
        "printf '{\"text\":\"' >&3; head -c 3000000 /dev/zero | tr '\\0' x >&3;"
        "printf '\"}\\n' >&3; echo '{\"text\":\"after\"}' >&3; printf '{\"text\":' >&3";

    assert_int_equal(run(&watch, 1, SCRIPTS(script), NULL), 0);
    assert_int_equal(watch.reports, 1);
    assert_string_equal(watch.last_report, "after");
}

static void
starts_a_crashed_worker_again(void **state)
{
    CLEANUP(free_charp) char *mark = xasprintf("/tmp/v2c-supervisor-test-%d", (int)getpid());
    CLEANUP(free_charp)
    char *script = xasprintf("[ -e %s ] && exit 0; : >%s; kill -SEGV $$", mark, mark);
    struct watch watch = {0};

    (void)unlink(mark);
    assert_int_equal(run(&watch, 1, SCRIPTS(script), NULL), 0);
    (void)unlink(mark);
    assert_int_equal(watch.started, 2);
    assert_int_equal(watch.restarts, 1);
    assert_int_equal(watch.codes[0], E_NONE);
}

static void
gives_up_after_crashes_in_a_row(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};

    assert_int_equal(run(&watch, 1, SCRIPTS("kill -ABRT $$"), &err), -1);
    assert_int_equal(err_code(err), E_WORKER_CRASH);
    assert_string_equal(err_message(err),
                        "one: the worker was killed by SIGABRT, 4 times in a row");
    assert_non_null(err_hint_text(err));
    assert_int_equal(watch.started, 4);
    assert_int_equal(watch.delays[0], 10);
    assert_int_equal(watch.delays[1], 20);
    assert_int_equal(watch.delays[2], 40);
}

static void
tells_the_workers_own_error(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};
    const char *script = "echo '{\"error\":{\"code\":\"E_NO_SPACE\",\"message\":\"pool full\","
                         "\"hint\":\"make room\"}}' >&3; exit 1";

    assert_int_equal(run(&watch, 1, SCRIPTS(script), &err), -1);
    assert_int_equal(err_code(err), E_NO_SPACE);
    assert_string_equal(err_message(err), "one: pool full");
    assert_string_equal(err_hint_text(err), "make room");
    assert_int_equal(watch.restarts, 0);
}

static void
gives_each_vm_its_hint_where_they_differ(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};
    const char *full = "echo '{\"error\":{\"code\":\"E_NO_SPACE\",\"message\":\"m\","
                       "\"hint\":\"make room\"}}' >&3; exit 1";
    const char *down = "echo '{\"error\":{\"code\":\"E_NET\",\"message\":\"m\","
                       "\"hint\":\"plug it in\"}}' >&3; exit 1";
    const char *mute = "echo '{\"error\":{\"code\":\"E_NET\",\"message\":\"m\",\"hint\":\"\"}}' "
                       ">&3; exit 1";

    assert_int_equal(run(&watch, 1, SCRIPTS(full, mute, down), &err), -1);
    assert_string_equal(err_hint_text(err), "one: make room\nthree: plug it in");
}

static void
says_how_a_worker_ended_that_did_not(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};

    assert_int_equal(run(&watch, 1, SCRIPTS("exit 3"), &err), -1);
    assert_int_equal(err_code(err), E_WORKER_CRASH);
    assert_string_equal(err_message(err),
                        "one: the worker ended with exit status 3 and did not say why");
}

static void
takes_an_error_for_one_whatever_the_exit_status(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};

    assert_int_equal(run(&watch, 1,
                         SCRIPTS("echo '{\"error\":{\"code\":\"E_IO\",\"message\":\"m\"}}' >&3"),
                         &err),
                     -1);
    assert_int_equal(err_code(err), E_IO);
}

static void
takes_an_unknown_code_for_a_crash(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};

    assert_int_equal(run(&watch, 1, SCRIPTS("echo '{\"error\":{\"code\":7}}' >&3; exit 1"), &err),
                     -1);
    assert_int_equal(err_code(err), E_WORKER_CRASH);
}

static void
one_failure_stops_no_other_job(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {0};
    const char *bad = "echo '{\"error\":{\"code\":\"E_IO\",\"message\":\"bad disk\"}}' >&3; exit 1";

    assert_int_equal(run(&watch, 2, SCRIPTS(bad, ":", "exit 2", ":"), &err), -1);
    assert_int_equal(watch.ended, 4);
    assert_int_equal(watch.codes[1], E_NONE);
    assert_int_equal(watch.codes[3], E_NONE);
    assert_string_equal(err_message(err),
                        "one: bad disk\n"
                        "three: the worker ended with exit status 2 and did not say why");
}

static void
stop_asks_workers_and_starts_no_more(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {.stop_on_report = 1};
    const char *polite =
        "trap 'echo \"{\\\"error\\\":{\\\"code\\\":\\\"E_CANCELLED\\\",\\\"message\\\":\\\"at a "
        "checkpoint\\\"}}\" >&3; exit 1' TERM; echo '{\"text\":\"up\"}' >&3;"
        "while :; do sleep 0.02; done";

    assert_int_equal(run(&watch, 1, SCRIPTS(polite, ":"), &err), -1);
    assert_int_equal(err_code(err), E_CANCELLED);
    assert_string_equal(err_message(err), "one: at a checkpoint\ntwo: not begun");
    assert_int_equal(watch.started, 1);
}

static void
second_stop_kills_what_does_not_listen(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {.stop_on_report = 1, .kill_on_tick = 2};
    const char *deaf = "trap '' TERM; echo '{\"text\":\"up\"}' >&3; while :; do sleep 0.02; done";

    assert_int_equal(run(&watch, 1, SCRIPTS(deaf), &err), -1);
    assert_int_equal(err_code(err), E_CANCELLED);
    assert_non_null(strstr(err_message(err), "stopped at once"));
}

static void
stop_does_not_wait_for_a_restart(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct watch watch = {.stop_on_restart = 1};

    assert_int_equal(run(&watch, 1, SCRIPTS("kill -SEGV $$"), &err), -1);
    assert_int_equal(err_code(err), E_CANCELLED);
    assert_int_equal(watch.started, 1);
}

static void
a_job_that_ends_well_despite_a_stop_is_done(void **state)
{
    struct watch watch = {.stop_on_report = 1};
    const char *script = "trap 'exit 0' TERM; echo '{}' >&3; while :; do sleep 0.02; done";

    assert_int_equal(run(&watch, 1, SCRIPTS(script), NULL), 0);
}

static void
a_program_that_is_missing_is_an_error(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const char *argv[] = {NULL};
    struct supervisor_job job = {.label = "one", .argv = argv};

    assert_int_equal(supervisor_run(&(struct supervisor_options){.jobs = &job,
                                                                 .job_count = 1,
                                                                 .program = "/nowhere/v2c-engine"},
                                    &err),
                     -1);
    assert_int_equal(err_code(err), E_SPAWN);
}

static void
what_a_worker_left_behind_does_not_hold_it_up(void **state)
{
    struct watch watch = {0};
    int64_t begin = clock_monotonic_ms();

    assert_int_equal(run(&watch, 1, SCRIPTS("sleep 20 >/dev/null 2>&1 & exit 0"), NULL), 0);
    assert_true(clock_monotonic_ms() - begin < 10000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_every_job_to_its_end),
        cmocka_unit_test(runs_no_more_than_max_workers),
        cmocka_unit_test(hands_on_reports),
        cmocka_unit_test(drops_garbage_and_endless_lines),
        cmocka_unit_test(starts_a_crashed_worker_again),
        cmocka_unit_test(gives_up_after_crashes_in_a_row),
        cmocka_unit_test(tells_the_workers_own_error),
        cmocka_unit_test(gives_each_vm_its_hint_where_they_differ),
        cmocka_unit_test(says_how_a_worker_ended_that_did_not),
        cmocka_unit_test(takes_an_error_for_one_whatever_the_exit_status),
        cmocka_unit_test(takes_an_unknown_code_for_a_crash),
        cmocka_unit_test(one_failure_stops_no_other_job),
        cmocka_unit_test(stop_asks_workers_and_starts_no_more),
        cmocka_unit_test(second_stop_kills_what_does_not_listen),
        cmocka_unit_test(stop_does_not_wait_for_a_restart),
        cmocka_unit_test(a_job_that_ends_well_despite_a_stop_is_done),
        cmocka_unit_test(a_program_that_is_missing_is_an_error),
        cmocka_unit_test(what_a_worker_left_behind_does_not_hold_it_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
