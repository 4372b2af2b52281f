#include "transfer/window.h"

#include "tests/unit/check.h"

#include "base/util.h"

#define MOST 64U

/* A source at the end of a link: requests follow one another over it, and each takes the way as well. */
struct link {
    uint64_t bytes_per_s;
    int64_t way_ms;
    double free_at_ms;
};

struct sent {
    int64_t issued_ms;
    double due_ms;
    uint32_t bytes;
};

struct world {
    struct link link;
    struct transfer_window window;
    struct sent sent[MOST];
    unsigned in_flight;
    int64_t now_ms;
    uint64_t bytes; /* that have come */
};

static void
issue(struct world *w)
{
    while (w->in_flight < window_reads(&w->window)) {
        struct sent *sent = &w->sent[w->in_flight++];

        *sent = (struct sent){.issued_ms = w->now_ms, .bytes = w->window.request_bytes};
        w->link.free_at_ms = MAX(w->link.free_at_ms, (double)w->now_ms) +
                             (double)sent->bytes * 1000 / (double)w->link.bytes_per_s;
        sent->due_ms = w->link.free_at_ms + (double)w->link.way_ms;
    }
}

static void
run(struct world *w, int64_t ms)
{
    for (int64_t end_ms = w->now_ms + ms; w->now_ms < end_ms; w->now_ms++) {
        issue(w);
        for (unsigned i = 0; i < w->in_flight;) {
            struct sent sent = w->sent[i];

            if (sent.due_ms > (double)w->now_ms) {
                i++;
                continue;
            }
            w->sent[i] = w->sent[--w->in_flight];
            w->bytes += sent.bytes;
            window_note(&w->window, sent.bytes, w->now_ms - sent.issued_ms, w->in_flight + 1,
                        w->now_ms);
        }
    }
}

static uint64_t
rate(struct world *w, int64_t ms)
{
    uint64_t before = w->bytes;

    run(w, ms);
    return (w->bytes - before) * 1000 / (uint64_t)ms;
}

static void
begin(struct world *w, uint64_t mib_per_s, int64_t way_ms, unsigned most,
      const struct transfer_tuning *tuning)
{
    *w = (struct world){.link = {.bytes_per_s = mib_per_s * MIB, .way_ms = way_ms}};
    window_init(&w->window, tuning, most, DISK_MAX_REQUEST, 0);
}

static void
a_near_source_gets_what_is_usual(void **state)
{
    struct world w;

    begin(&w, 2000, 2, 16, NULL);
    assert_int_equal(window_reads(&w.window), 16);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
    run(&w, 5000);
    assert_in_range(window_reads(&w.window), 8, 16);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
    assert_true(rate(&w, 2000) > 1900 * MIB);
}

static void
a_long_way_is_filled_as_far_as_the_bounds_go(void **state)
{
    struct world w;

    begin(&w, 4000, 50, MOST, NULL);
    run(&w, 5000);
    assert_int_equal(window_reads(&w.window), MOST);
    assert_true(rate(&w, 2000) > 1100 * MIB); /* 64 MiB each 50 ms, and the link */
}

static void
a_very_long_way_is_not_taken_for_a_slow_source(void **state)
{
    struct world w;

    begin(&w, 4000, 400, 32, NULL);
    run(&w, 20000);
    assert_int_equal(window_reads(&w.window), 32);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
}

static void
a_full_link_is_not_filled_further(void **state)
{
    struct world w;

    begin(&w, 119, 2, MOST, NULL); /* 1 Gbit/s */
    run(&w, 20000);
    assert_in_range(window_reads(&w.window), 8, 12);
    assert_true(rate(&w, 5000) > 116 * MIB);
}

static void
a_slow_link_gets_few_and_then_small_reads_and_loses_nothing(void **state)
{
    struct world w;

    begin(&w, 3, 20, 16, NULL);
    run(&w, 120 * 1000);
    assert_in_range(window_reads(&w.window), 2, 3);
    assert_int_equal(w.window.request_bytes, 256 * KIB);
    assert_true(rate(&w, 60 * 1000) > 28 * MIB / 10);
}

static void
what_becomes_fast_again_gets_large_reads_again(void **state)
{
    struct world w;

    begin(&w, 3, 5, 16, NULL);
    run(&w, 120 * 1000);
    assert_int_equal(w.window.request_bytes, 256 * KIB);
    w.link.bytes_per_s = 1000 * MIB;
    run(&w, 60 * 1000);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
    assert_true(rate(&w, 2000) > 900 * MIB);
}

static void
the_bounds_of_the_size_hold(void **state)
{
    const struct transfer_tuning whole = {.least_request_bytes = DISK_MAX_REQUEST};
    const struct transfer_tuning larger = {.least_request_bytes = 4 * MIB};
    struct world w;

    begin(&w, 3, 20, 16, &whole);
    run(&w, 60 * 1000);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
    begin(&w, 3, 20, 16, &larger);
    run(&w, 60 * 1000);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
    window_init(&w.window, NULL, 16, 513 * DISK_SECTOR, 0);
    for (int64_t i = 0; i < 1000; i++) {
        window_note(&w.window, w.window.request_bytes, 5000, 2, i * 5000);
        assert_int_equal(w.window.request_bytes % DISK_SECTOR, 0);
        assert_in_range(w.window.request_bytes, 256 * KIB, 513 * DISK_SECTOR);
    }
}

static void
the_caller_says_what_is_slow(void **state)
{
    const struct transfer_tuning patient = {.slow_latency_ms = 60000, .slow_mib_per_s = 1};
    struct world w;

    begin(&w, 3, 20, 16, &patient);
    run(&w, 120 * 1000);
    assert_in_range(window_reads(&w.window), 8, 12);
    assert_int_equal(w.window.request_bytes, DISK_MAX_REQUEST);
}

static void
one_read_at_a_time_stays_one(void **state)
{
    struct world w;

    begin(&w, 100, 0, 1, NULL);
    run(&w, 5000);
    assert_int_equal(window_reads(&w.window), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_near_source_gets_what_is_usual),
        cmocka_unit_test(a_long_way_is_filled_as_far_as_the_bounds_go),
        cmocka_unit_test(a_very_long_way_is_not_taken_for_a_slow_source),
        cmocka_unit_test(a_full_link_is_not_filled_further),
        cmocka_unit_test(a_slow_link_gets_few_and_then_small_reads_and_loses_nothing),
        cmocka_unit_test(what_becomes_fast_again_gets_large_reads_again),
        cmocka_unit_test(the_bounds_of_the_size_hold),
        cmocka_unit_test(the_caller_says_what_is_slow),
        cmocka_unit_test(one_read_at_a_time_stays_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
