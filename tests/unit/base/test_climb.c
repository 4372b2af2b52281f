#include "base/climb.h"

#include "tests/unit/check.h"

#include "base/util.h"

/* A server that gives each of them @each bytes/s, up to @all together. */
struct server {
    uint64_t each, all;
    int64_t now_ms;
    unsigned changes;
};

#define REQUEST (1U << 20)

/* Requests come through for @ms. */
static void
run(struct climb *climb, struct server *server, int64_t ms)
{
    int64_t end_ms = server->now_ms + ms;
    uint64_t owed = 0;

    while (server->now_ms < end_ms) {
        uint64_t rate = MIN(server->each * climb->count, server->all);

        server->now_ms++;
        for (owed += rate / 1000; owed >= REQUEST; owed -= REQUEST)
            server->changes += climb_note(climb, REQUEST, server->now_ms);
    }
}

static void
more_are_kept_as_long_as_they_help(void **state)
{
    struct server server = {.each = 120 * MIB, .all = 10 * GIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 4, 0);
    assert_int_equal(climb.count, 1);
    run(&climb, &server, 2000);
    assert_int_equal(climb.count, 4);
    run(&climb, &server, 60000); /* and no more than that */
    assert_int_equal(climb.count, 4);
    assert_int_equal(server.changes, 3);
}

static void
what_does_not_help_is_taken_back_and_seldom_tried_again(void **state)
{
    struct server server = {.each = 500 * MIB, .all = 500 * MIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 4, 0);
    run(&climb, &server, 1000);
    assert_int_equal(climb.count, 1);
    assert_int_equal(server.changes, 2);
    run(&climb, &server, 60 * 1000);
    assert_int_equal(climb.count, 1);
    assert_in_range(server.changes, 6, 14); /* the pauses double */
}

static void
it_stops_where_the_gain_ends(void **state)
{
    struct server server = {.each = 100 * MIB, .all = 220 * MIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 8, 0);
    run(&climb, &server, 1500);
    assert_in_range(climb.count, 2, 3);
}

static void
a_server_that_grows_faster_is_noticed(void **state)
{
    struct server server = {.each = 400 * MIB, .all = 400 * MIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 4, 0);
    run(&climb, &server, 1000);
    assert_int_equal(climb.count, 1);
    server.all = 4 * GIB;
    run(&climb, &server, 10000);
    assert_int_equal(climb.count, 4);
}

/* Many limits let a burst pass first. */
static void
a_limit_that_sets_in_later_is_noticed_at_once(void **state)
{
    struct server server = {.each = 1000 * MIB, .all = 1000 * MIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 4, 0);
    run(&climb, &server, 400);
    assert_int_equal(climb.count, 1);
    server.each = 120 * MIB;
    run(&climb, &server, 1500);
    assert_int_equal(climb.count, 4);
}

static void
a_step_that_cannot_be_had_is_like_one_that_does_not_help(void **state)
{
    struct server server = {.each = 120 * MIB, .all = 10 * GIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 4, 0);
    while (climb.count == 1)
        run(&climb, &server, 10);
    climb_refuse(&climb, server.now_ms);
    assert_int_equal(climb.count, 1);
    run(&climb, &server, 1000);
    assert_int_equal(climb.count, 1); /* it waits */
    run(&climb, &server, 5000);
    assert_int_equal(climb.count, 4);
}

static void
fewer_are_kept_where_nothing_is_lost(void **state)
{
    struct server server = {.each = 40 * MIB, .all = 120 * MIB};
    struct climb climb;

    climb_init(&climb, 16, 2, 16, 0);
    assert_false(climb_try_fewer(&climb, 8, 0)); /* nothing was measured yet */
    run(&climb, &server, 1000);
    assert_true(climb_try_fewer(&climb, 6, server.now_ms));
    assert_int_equal(climb.count, 8);
    assert_false(climb_try_fewer(&climb, 6, server.now_ms)); /* one is on trial */
    run(&climb, &server, 1000);
    assert_int_equal(climb.count, 8);
    while (server.now_ms < 10000 && !climb_try_fewer(&climb, 6, server.now_ms))
        run(&climb, &server, 10); /* after a pause */
    assert_int_equal(climb.count, 6);
    run(&climb, &server, 1000);
    assert_int_equal(climb.count, 6);
    assert_false(climb_try_fewer(&climb, 6, server.now_ms + 60000));
}

static void
fewer_are_taken_back_where_they_cost(void **state)
{
    struct server server = {.each = 40 * MIB, .all = 10 * GIB};
    struct climb climb;

    climb_init(&climb, 16, 2, 16, 0);
    run(&climb, &server, 1000);
    assert_true(climb_try_fewer(&climb, 2, server.now_ms));
    assert_int_equal(climb.count, 8);
    run(&climb, &server, 1000);
    assert_int_equal(climb.count, 16);
    assert_false(climb_try_fewer(&climb, 2, server.now_ms)); /* not again at once */
}

static void
bounds_hold(void **state)
{
    struct climb climb;

    climb_init(&climb, 20, 2, 16, 0);
    assert_int_equal(climb.count, 16);
    climb_init(&climb, 0, 2, 16, 0);
    assert_int_equal(climb.count, 2);
    climb_init(&climb, 1, 3, 2, 0); /* that contradict each other: the lower one */
    assert_int_equal(climb.count, 3);
    climb_init(&climb, 0, 0, 0, 0);
    assert_int_equal(climb.count, 1);
}

static void
slow_links_are_measured_too(void **state)
{
    struct server server = {.each = 2 * MIB, .all = 16 * MIB};
    struct climb climb;

    climb_init(&climb, 1, 1, 4, 0);
    run(&climb, &server, 20000);
    assert_int_equal(climb.count, 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_are_kept_as_long_as_they_help),
        cmocka_unit_test(what_does_not_help_is_taken_back_and_seldom_tried_again),
        cmocka_unit_test(it_stops_where_the_gain_ends),
        cmocka_unit_test(a_server_that_grows_faster_is_noticed),
        cmocka_unit_test(a_limit_that_sets_in_later_is_noticed_at_once),
        cmocka_unit_test(a_step_that_cannot_be_had_is_like_one_that_does_not_help),
        cmocka_unit_test(fewer_are_kept_where_nothing_is_lost),
        cmocka_unit_test(fewer_are_taken_back_where_they_cost),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(slow_links_are_measured_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
