/* What a cutover would take, from how rounds went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "migration/downtime_model.h"

#define S 1000

/* A round of @mib that took @ms to copy, begun @at seconds after 1970 and @covered after the one before. */
static struct store_round
make_round(int64_t number, int64_t at_s, int64_t covered_s, uint64_t mib, int64_t ms)
{
    return (struct store_round){.number = number,
                                .began_at_ms = at_s * S,
                                .covered_ms = covered_s * S,
                                .changed_bytes = mib * MIB,
                                .copy_ms = ms,
                                .total_ms = ms + 500};
}

static struct migration_downtime
predict(const struct store_round *rounds, size_t count, int64_t now_s)
{
    const struct downtime_facts facts = {.rounds = rounds,
                                         .round_count = count,
                                         .now_ms = now_s * S,
                                         .base_bytes_per_s = 100 * MIB,
                                         .capacity = 1024 * GIB,
                                         .shutdown_ms = 20 * S,
                                         .settle_ms = 15 * S,
                                         .import_ms = 5 * S};
    struct migration_downtime d;

    downtime_predict(&facts, &d);
    return d;
}

static void
nothing_is_known_before_the_first_round(void **state)
{
    const struct store_round base = make_round(0, 1000, 0, 0, 0);

    (void)state;
    assert_false(predict(NULL, 0, 1000).is_known);
    assert_false(predict(&base, 1, 1100).is_known);
}

static void
one_round_is_priced_by_the_rate_of_the_base_copy(void **state)
{
    const struct store_round rounds[] = {make_round(0, 1000, 0, 0, 0),
                                         make_round(1, 1300, 300, 600, 7000)};
    struct downtime_cost cost = downtime_fit(rounds, 2, 100 * MIB);

    (void)state;
    /* 600 MiB at 100 MiB/s are 6 s, what is left is fixed. */
    assert_float_equal(cost.fixed_ms, 1000, 1);
    assert_float_equal(cost.ms_per_byte * MIB, 10, 0.01);
}

static void
rounds_of_two_sizes_tell_what_is_fixed_and_what_a_byte_costs(void **state)
{
    const struct store_round rounds[] = {make_round(1, 1000, 300, 100, 3000),
                                         make_round(2, 1300, 300, 500, 7000)};
    struct downtime_cost cost = downtime_fit(rounds, 2, 0);

    (void)state;
    assert_float_equal(cost.fixed_ms, 2000, 1);
    assert_float_equal(cost.ms_per_byte * MIB, 10, 0.01);
}

static void
more_bytes_in_less_time_are_not_believed(void **state)
{
    const struct store_round rounds[] = {make_round(1, 1000, 300, 100, 9000),
                                         make_round(2, 1300, 300, 500, 3000)};
    struct downtime_cost cost = downtime_fit(rounds, 2, 100 * MIB);

    (void)state;
    assert_float_equal(cost.ms_per_byte * MIB, 10, 0.01);
    assert_true(cost.fixed_ms >= 0);
}

static void
the_parts_are_what_the_whole_is_made_of(void **state)
{
    const struct store_round rounds[] = {make_round(1, 1000, 300, 300, 4000),
                                         make_round(2, 1300, 300, 300, 4000)};
    struct migration_downtime d = predict(rounds, 2, 1310);

    (void)state;
    assert_true(d.is_known);
    assert_int_equal(d.total_ms, d.shutdown_ms + d.settle_ms + d.sync_ms + d.import_ms);
    assert_int_equal(d.total_now_ms, d.shutdown_ms + d.settle_ms + d.sync_now_ms + d.import_ms);
    /* 1 MiB/s changes; 10 s since the round and 20 of shutdown are 30 MiB at 10 ms, and 1 s fixed. */
    assert_int_equal(d.sync_now_ms, 1300);
    assert_true(d.least_ms < d.total_now_ms);
}

static void
waiting_makes_now_dearer_and_leaves_plain_finalize_cheap(void **state)
{
    const struct store_round rounds[] = {make_round(1, 1000, 300, 3000, 31000),
                                         make_round(2, 1300, 300, 3000, 31000)};
    struct migration_downtime soon = predict(rounds, 2, 1310), late = predict(rounds, 2, 1600);

    (void)state;
    assert_true(late.total_now_ms > soon.total_now_ms + 20 * S);
    assert_true(late.total_ms < late.total_now_ms);
}

static void
the_busiest_of_the_last_three_rounds_counts(void **state)
{
    const struct store_round rounds[] = {
        make_round(1, 1000, 300, 90000, 4000), make_round(2, 1300, 300, 10, 400),
        make_round(3, 1600, 300, 300, 4000), make_round(4, 1900, 300, 20, 400)};

    (void)state;
    assert_float_equal(downtime_change_rate(rounds, 4) * S / MIB, 1.0, 0.001);
}

static void
no_more_changes_than_the_disks_hold(void **state)
{
    const struct store_round rounds[] = {make_round(1, 1000, 1, 1000, 10000)};
    const struct downtime_facts facts = {.rounds = rounds,
                                         .round_count = 1,
                                         .now_ms = 1000000000LL * S,
                                         .base_bytes_per_s = 100 * MIB,
                                         .capacity = 1000 * MIB};
    struct migration_downtime d;

    (void)state;
    downtime_predict(&facts, &d);
    assert_in_range(d.sync_now_ms, 9000, 11000);
}

static void
a_conversion_that_nobody_has_timed_is_hopeless(void **state)
{
    struct migration_downtime d = {
        .is_known = true, .total_now_ms = 1, .least_ms = 1, .max_ms = 100, .convert_ms = -1};
    struct downtime_trend trend = {0};

    (void)state;
    assert_true(downtime_is_hopeless(&trend, &d));
}

static void
what_is_fixed_alone_may_be_too_long(void **state)
{
    struct migration_downtime d = {
        .is_known = true, .total_now_ms = 300, .least_ms = 200, .max_ms = 100};
    struct downtime_trend trend = {0};

    (void)state;
    assert_true(downtime_is_hopeless(&trend, &d));
}

static void
rounds_that_help_are_gone_on_with_and_others_are_not(void **state)
{
    struct migration_downtime d = {.is_known = true, .least_ms = 50, .max_ms = 100};
    struct downtime_trend trend = {0};

    (void)state;
    for (d.total_now_ms = 4000; d.total_now_ms > 200; d.total_now_ms /= 2)
        assert_false(downtime_is_hopeless(&trend, &d));
    d.total_now_ms = 200;
    assert_false(downtime_is_hopeless(&trend, &d)); /* a last gain */
    assert_false(downtime_is_hopeless(&trend, &d));
    assert_false(downtime_is_hopeless(&trend, &d));
    assert_true(downtime_is_hopeless(&trend, &d));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_before_the_first_round),
        cmocka_unit_test(one_round_is_priced_by_the_rate_of_the_base_copy),
        cmocka_unit_test(rounds_of_two_sizes_tell_what_is_fixed_and_what_a_byte_costs),
        cmocka_unit_test(more_bytes_in_less_time_are_not_believed),
        cmocka_unit_test(the_parts_are_what_the_whole_is_made_of),
        cmocka_unit_test(waiting_makes_now_dearer_and_leaves_plain_finalize_cheap),
        cmocka_unit_test(the_busiest_of_the_last_three_rounds_counts),
        cmocka_unit_test(no_more_changes_than_the_disks_hold),
        cmocka_unit_test(a_conversion_that_nobody_has_timed_is_hopeless),
        cmocka_unit_test(what_is_fixed_alone_may_be_too_long),
        cmocka_unit_test(rounds_that_help_are_gone_on_with_and_others_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
