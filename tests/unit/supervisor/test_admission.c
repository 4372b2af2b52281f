#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "supervisor/queue.h"

#define NOW 1000000

static struct store_job jobs[8];
static struct store_wave waves[4];
static struct queue_limits limits;
static size_t job_count, wave_count;

static int
reset(void **state)
{
    memset(jobs, 0, sizeof(jobs));
    memset(waves, 0, sizeof(waves));
    limits = (struct queue_limits){.max_workers = 2};
    job_count = wave_count = 0;
    return 0;
}

static struct store_job *
add_job(enum store_job_state state, const char *stage)
{
    struct store_job *job = &jobs[job_count++];

    *job = (struct store_job){.id = (int64_t)job_count,
                              .kind = JOB_MIGRATE,
                              .state = (int32_t)state,
                              .stage = (char *)(uintptr_t)stage,
                              .vcenter = (char *)(uintptr_t) "vc"};
    return job;
}

static struct store_wave *
add_wave(const char *name, int64_t position)
{
    waves[wave_count] = (struct store_wave){.name = (char *)(uintptr_t)name, .position = position};
    return &waves[wave_count++];
}

static const char *
waits(const struct store_job *job)
{
    static char text[200];
    const struct store_jobs unfinished = {.items = jobs, .count = job_count};
    const struct store_waves all = {.items = waves, .count = wave_count};

    return queue_waits_for(
        &(struct queue_view){
            .unfinished = &unfinished, .waves = &all, .limits = &limits, .now = NOW},
        job, text);
}

#define assert_waits_for(job, part)                                                                \
    do {                                                                                           \
        const char *told_ = waits(job);                                                            \
        assert_non_null(told_);                                                                    \
        assert_non_null(strstr(told_, part));                                                      \
    } while (0)

static void
slots_are_held_by_what_copies(void **state)
{
    struct store_job *fresh;

    add_job(JOB_RUNNING, "base_copy");
    fresh = add_job(JOB_QUEUED, NULL);
    assert_null(waits(fresh));
    add_job(JOB_WAITING, "delta");
    assert_null(waits(fresh));
    add_job(JOB_RUNNING, "final_sync");
    assert_waits_for(fresh, "slots");
}

static void
what_is_past_its_base_waits_for_no_slot(void **state)
{
    struct store_job *interrupted;

    limits.max_workers = 1;
    add_job(JOB_RUNNING, "base_copy");
    interrupted = add_job(JOB_QUEUED, "final_sync");
    assert_null(waits(interrupted));
    interrupted->stage = (char *)(uintptr_t) "delta";
    assert_null(waits(interrupted));
    interrupted->stage = (char *)(uintptr_t) "base_copy";
    assert_waits_for(interrupted, "slots");
}

static void
limits_of_vcenter_host_and_pool(void **state)
{
    struct store_job *running = add_job(JOB_RUNNING, "base_copy"),
                     *fresh = add_job(JOB_QUEUED, NULL);

    limits.max_workers = 10;
    limits.max_per_vcenter = 1;
    assert_waits_for(fresh, "vCenter");
    fresh->vcenter = (char *)(uintptr_t) "other";
    assert_null(waits(fresh));
    limits.max_per_pool = 1;
    running->pool = fresh->pool = (char *)(uintptr_t) "pool";
    assert_waits_for(fresh, "pool");
    fresh->pool = NULL; /* not known: counts for none */
    assert_null(waits(fresh));
    limits.max_per_host = 1;
    running->host = fresh->host = (char *)(uintptr_t) "esx1";
    assert_waits_for(fresh, "ESXi");
}

static void
a_job_waits_for_its_time(void **state)
{
    struct store_job *job = add_job(JOB_QUEUED, NULL);

    job->not_before = NOW + 1;
    assert_waits_for(job, "1970-01-12");
    job->not_before = NOW;
    assert_null(waits(job));
}

static void
a_wave_has_a_window_and_a_number(void **state)
{
    struct store_wave *wave = add_wave("night", 0);
    struct store_job *job = add_job(JOB_QUEUED, NULL), *other;

    job->wave = wave->name;
    wave->not_before = NOW + 10;
    assert_waits_for(job, "begins at");
    wave->not_before = 0;
    wave->not_after = NOW - 10;
    assert_waits_for(job, "was over");
    wave->not_after = NOW + 10;
    assert_null(waits(job));
    wave->concurrency = 1;
    limits.max_workers = 10;
    other = add_job(JOB_RUNNING, "base_copy");
    assert_null(waits(job));
    other->wave = wave->name;
    assert_waits_for(job, "1 at once");
    other->state = JOB_WAITING;
    assert_null(waits(job));
}

static void
a_wave_begins_when_earlier_ones_make_deltas(void **state)
{
    struct store_wave *first = add_wave("first", 1), *second = add_wave("second", 2);
    struct store_job *early = add_job(JOB_QUEUED, NULL), *late = add_job(JOB_QUEUED, NULL);

    early->wave = first->name;
    late->wave = second->name;
    assert_null(waits(early));
    assert_waits_for(late, "first");
    early->state = JOB_RUNNING;
    assert_waits_for(late, "first");
    early->state = JOB_WAITING;
    assert_null(waits(late));
    late->wave = (char *)(uintptr_t) "unknown";
    assert_null(waits(late));
}

static void
clean_ups_do_not_wait_for_slots(void **state)
{
    struct store_job *cancel;

    limits.max_workers = 1;
    add_job(JOB_RUNNING, "base_copy");
    cancel = add_job(JOB_QUEUED, NULL);
    cancel->kind = JOB_CANCEL;
    assert_null(waits(cancel));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(slots_are_held_by_what_copies, reset),
        cmocka_unit_test_setup(what_is_past_its_base_waits_for_no_slot, reset),
        cmocka_unit_test_setup(limits_of_vcenter_host_and_pool, reset),
        cmocka_unit_test_setup(a_job_waits_for_its_time, reset),
        cmocka_unit_test_setup(a_wave_has_a_window_and_a_number, reset),
        cmocka_unit_test_setup(a_wave_begins_when_earlier_ones_make_deltas, reset),
        cmocka_unit_test_setup(clean_ups_do_not_wait_for_slots, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
