#include "base/clock.h"

#include "tests/unit/check.h"

#include "base/util.h"

static void
assert_time(const char *text, int64_t expected, int zone)
{
    struct err *err = NULL;
    int64_t t = 0;
    int had_zone = -1;

    assert_ok(clock_parse_time(text, &t, &had_zone, &err), &err);
    assert_int_equal(t, expected);
    assert_int_equal(had_zone, zone);
}

static void
the_three_forms_of_a_time_are_read(void **state)
{
    assert_time("2026-01-31T22:30:00Z", 1769898600, 1);
    assert_time("2026-01-31T22:30:00", 1769898600, 0);
    assert_time("2026-01-31T22:30", 1769898600, 0);
    assert_time("2026-01-31T22:30:00.999Z", 1769898600, 1);
}

static void
zones_are_taken_off(void **state)
{
    assert_time("2026-01-31T23:30:00+01:00", 1769898600, 1);
    assert_time("2026-01-31T17:00:00-05:30", 1769898600, 1);
    assert_time("2026-02-01T08:30:00+1000", 1769898600, 1);
    assert_time("2024-02-29T00:00:00Z", 1709164800, 1);
}

static void
patience_is_scaled_by_what_tests_ask_for(void **state)
{
    static const struct {
        const char *scale;
        int64_t expected;
    } cases[] = {{NULL, 1000}, {"0.05", 50}, {"0", 0},   {"1", 1000},    {"2", 1000},
                 {"-1", 1000}, {"x", 1000},  {"", 1000}, {"0.5x", 1000}, {"nan", 1000}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (cases[i].scale)
            setenv("V2C_RETRY_SCALE", cases[i].scale, 1);
        else
            unsetenv("V2C_RETRY_SCALE");
        assert_int_equal(clock_patience_ms(1000), cases[i].expected);
    }
    unsetenv("V2C_RETRY_SCALE");
}

static void
what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "tomorrow",
        "2026-01-31",
        "2026-02-30T10:00",
        "2026-02-29T10:00:00Z",
        "2026-13-01T10:00",
        "2026-01-31T24:30",
        "2026-01-31T22:60",
        "2026-01-31T22:30:61Z",
        "2026-01-31T22:30:00CET",
        "2026-01-31T22:30:00+25:00",
        "2026-01-31T22:30:00+01:00 or so",
        "1769898600",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err *err = NULL;
        int64_t t = 7;

        if (clock_parse_time(bad[i], &t, NULL, &err) == 0)
            fail_msg("\"%s\" was taken for a time", bad[i]);
        assert_int_equal(t, 7);
        assert_err_says(&err, E_SYNTAX, "is no time");
    }
}

static void
a_time_is_written_in_utc_and_read_back(void **state)
{
    char text[32];

    clock_format_utc(1769898600, text);
    assert_string_equal(text, "2026-01-31T22:30:00Z");
    assert_time(text, 1769898600, 1);
}

static void
sleeping_takes_at_least_the_time_asked_for(void **state)
{
    int64_t start = clock_monotonic_ms();

    clock_sleep_ms(20);
    assert_true(clock_monotonic_ms() - start >= 20);
    start = clock_wall_s();
    assert_in_range(clock_wall_ms() / 1000 - start, 0, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_forms_of_a_time_are_read),
        cmocka_unit_test(zones_are_taken_off),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(patience_is_scaled_by_what_tests_ask_for),
        cmocka_unit_test(a_time_is_written_in_utc_and_read_back),
        cmocka_unit_test(sleeping_takes_at_least_the_time_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
