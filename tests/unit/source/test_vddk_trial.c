/* source/vddk_trial: when a second connection is opened, and when it stays. */
#include "../check.h"

#include "base/util.h"
#include "source/vddk_trial.h"

#define TICK_MS 50

/* A disk that is read at a rate that depends on what is in use. */
struct reader {
    struct vddk_trial trial;
    int64_t now_ms;
    uint64_t bytes, rate_one, rate_both; /* per ms */
    bool is_both, is_full;
    int64_t changed_ms, drain_ms; /* what was in flight is back so long after a change */
    enum vddk_trial_step last;    /* but STAY */
    unsigned windows;
};

static struct reader reader;

static int
setup(void **state)
{
    reader = (struct reader){
        .now_ms = 1000, .rate_one = 100 * KIB, .rate_both = 200 * KIB, .is_full = true};
    vddk_trial_init(&reader.trial, &vddk_trial_times, reader.now_ms);
    return 0;
}

static void
take_step(enum vddk_trial_step step)
{
    if (step == VDDK_TRIAL_STAY)
        return;
    reader.last = step;
    reader.windows += step == VDDK_TRIAL_ONE || step == VDDK_TRIAL_BOTH;
    reader.changed_ms = reader.now_ms;
    reader.is_both = step == VDDK_TRIAL_BOTH || step == VDDK_TRIAL_KEEP;
}

static void
read_for(int64_t ms)
{
    for (int64_t end = reader.now_ms + ms; reader.now_ms < end;) {
        reader.now_ms += TICK_MS;
        bool is_draining = reader.now_ms - reader.changed_ms < reader.drain_ms;

        reader.bytes +=
            TICK_MS * (reader.is_both || is_draining ? reader.rate_both : reader.rate_one);
        take_step(vddk_trial_tick(&reader.trial, reader.now_ms, reader.bytes, reader.is_full,
                                  reader.now_ms - reader.changed_ms >= reader.drain_ms));
    }
}

/* Up to the moment when the second is to be opened, and opens it. */
static void
open_second(void)
{
    read_for(vddk_trial_times.warm + 2 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
    read_for(3000); /* which takes a while */
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
    take_step(vddk_trial_opened(&reader.trial, reader.now_ms, reader.bytes, true));
    assert_int_equal(reader.last, VDDK_TRIAL_ONE);
}

static void
expect_end(enum vddk_trial_step step)
{
    read_for(60000);
    assert_int_equal(reader.last, step);
    assert_int_equal(reader.trial.phase, TRIAL_OVER);
    reader.last = VDDK_TRIAL_STAY;
    read_for(600000);
    assert_int_equal(reader.last, VDDK_TRIAL_STAY); /* once is enough */
}

static void
a_second_that_helps_stays(void **state)
{
    open_second();
    expect_end(VDDK_TRIAL_KEEP);
    assert_int_equal(reader.windows, 6);
    assert_int_equal(reader.trial.rate_one / KIB, 100 * 1000);
    assert_int_equal(reader.trial.rate_both / KIB, 200 * 1000);
}

static void
a_second_that_does_not_help_goes(void **state)
{
    reader.rate_both = reader.rate_one;
    open_second();
    expect_end(VDDK_TRIAL_DROP);
}

static void
a_second_that_makes_it_slower_goes(void **state)
{
    reader.rate_both = reader.rate_one / 3;
    open_second();
    expect_end(VDDK_TRIAL_DROP);
}

static void
a_little_faster_is_not_worth_it(void **state)
{
    reader.rate_both = reader.rate_one * 118 / 100;
    open_second();
    expect_end(VDDK_TRIAL_DROP);
}

static void
a_quarter_faster_is(void **state)
{
    reader.rate_both = reader.rate_one * 125 / 100;
    open_second();
    expect_end(VDDK_TRIAL_KEEP);
}

static void
one_window_that_something_disturbs_does_not_decide(void **state)
{
    open_second();
    while (!reader.is_both)
        read_for(TICK_MS);
    reader.rate_both = KIB;
    while (reader.is_both)
        read_for(TICK_MS);
    reader.rate_both = 200 * KIB;
    expect_end(VDDK_TRIAL_KEEP);
}

static void
what_is_still_in_flight_after_a_change_is_not_measured(void **state)
{
    reader.rate_both = reader.rate_one * 130 / 100;
    reader.drain_ms = 2500;
    open_second();
    expect_end(VDDK_TRIAL_KEEP);
    assert_int_equal(reader.trial.rate_one / KIB, 100 * 1000);
}

static void
a_window_of_a_slow_host_is_longer(void **state)
{
    reader.rate_one = KIB;
    reader.rate_both = 2 * KIB;
    read_for((int64_t)(vddk_trial_times.warm_bytes / KIB) + 2 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
    take_step(vddk_trial_opened(&reader.trial, reader.now_ms, reader.bytes, true));
    read_for((int64_t)(vddk_trial_times.window_bytes / KIB) - 1000);
    assert_int_equal(reader.windows, 1);
    read_for(2000);
    assert_int_equal(reader.windows, 2);
    read_for(6 * (int64_t)(vddk_trial_times.window_bytes / KIB));
    assert_int_equal(reader.last, VDDK_TRIAL_KEEP);
}

static void
what_is_not_read_as_fast_as_it_comes_is_not_tried(void **state)
{
    reader.is_full = false;
    read_for(600000);
    assert_int_equal(reader.last, VDDK_TRIAL_STAY);
    reader.is_full = true;
    read_for(2 * vddk_trial_times.warm + 2 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
}

static void
a_slow_host_is_given_longer(void **state)
{
    reader.rate_one = KIB; /* 10 MiB in 10 s */
    read_for((int64_t)(vddk_trial_times.warm_bytes / KIB) - 2 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_STAY);
    read_for(4 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
}

static void
windows_that_are_not_full_are_not_measured_and_end_the_trial_sometime(void **state)
{
    open_second();
    reader.is_full = false;
    expect_end(VDDK_TRIAL_DROP);
    assert_int_equal(reader.trial.rate_one, 0);
    assert_int_equal(reader.windows, VDDK_TRIAL_MAX_WINDOWS);
}

static void
a_pause_in_between_only_makes_it_longer(void **state)
{
    open_second();
    read_for(6000);
    reader.is_full = false;
    read_for(6000);
    reader.is_full = true;
    expect_end(VDDK_TRIAL_KEEP);
}

static void
a_second_that_cannot_be_opened_is_not_tried_again(void **state)
{
    read_for(vddk_trial_times.warm + 2 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
    take_step(vddk_trial_opened(&reader.trial, reader.now_ms, reader.bytes, false));
    reader.last = VDDK_TRIAL_STAY;
    read_for(600000);
    assert_int_equal(reader.last, VDDK_TRIAL_STAY);
}

static void
one_that_may_not_be_opened_now_is_asked_for_again_after_a_while(void **state)
{
    read_for(vddk_trial_times.warm + 2 * TICK_MS);
    vddk_trial_postpone(&reader.trial, reader.bytes);
    reader.last = VDDK_TRIAL_STAY;
    read_for(vddk_trial_times.warm - 4 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_STAY);
    read_for(6 * TICK_MS);
    assert_int_equal(reader.last, VDDK_TRIAL_OPEN);
}

static void
a_stopped_trial_says_nothing(void **state)
{
    open_second();
    read_for(3000);
    vddk_trial_stop(&reader.trial);
    reader.last = VDDK_TRIAL_STAY;
    read_for(600000);
    assert_int_equal(reader.last, VDDK_TRIAL_STAY);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_second_that_helps_stays),
        TEST(a_second_that_does_not_help_goes),
        TEST(a_second_that_makes_it_slower_goes),
        TEST(a_little_faster_is_not_worth_it),
        TEST(a_quarter_faster_is),
        TEST(one_window_that_something_disturbs_does_not_decide),
        TEST(what_is_still_in_flight_after_a_change_is_not_measured),
        TEST(a_window_of_a_slow_host_is_longer),
        TEST(what_is_not_read_as_fast_as_it_comes_is_not_tried),
        TEST(a_slow_host_is_given_longer),
        TEST(windows_that_are_not_full_are_not_measured_and_end_the_trial_sometime),
        TEST(a_pause_in_between_only_makes_it_longer),
        TEST(a_second_that_cannot_be_opened_is_not_tried_again),
        TEST(one_that_may_not_be_opened_now_is_asked_for_again_after_a_while),
        TEST(a_stopped_trial_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
