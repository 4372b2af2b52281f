/* source/vddk_window: what is asked of a host that is short of memory. */
#include "../check.h"

#include "disk/disk.h"
#include "source/vddk_window.h"

static struct vddk_window window;

static int
setup(void **state)
{
    vddk_window_init(&window, 16);
    return 0;
}

static void
a_refusal_halves_what_is_in_flight_once(void **state)
{
    unsigned epoch = window.epoch;

    for (unsigned i = 0; i < 16; i++)
        assert_true(vddk_window_refused(&window, epoch, 16 - i));
    assert_int_equal(window.reads, 8);
    assert_int_equal(window.piece, DISK_MAX_REQUEST);
    assert_int_equal(window.refusals, 16);
    assert_true(vddk_window_refused(&window, window.epoch, 3)); /* of 8 there could have been */
    assert_int_equal(window.reads, 1);
}

static void
a_read_that_is_too_much_alone_is_made_smaller_until_there_is_no_smaller(void **state)
{
    static const unsigned reads[] = {8, 4, 2, 1, 1, 1, 1, 1};
    static const uint32_t kib[] = {1024, 1024, 1024, 1024, 512, 256, 128, 64};

    for (unsigned i = 0; i < 8; i++) {
        assert_true(vddk_window_refused(&window, window.epoch, window.reads));
        assert_int_equal(window.reads, reads[i]);
        assert_int_equal(window.piece, kib[i] * 1024);
    }
    assert_false(vddk_window_refused(&window, window.epoch, 1));
    assert_int_equal(window.piece, VDDK_WINDOW_LEAST_PIECE);
}

static void
one_read_that_is_refused_alone_does_not_let_sixteen_out(void **state)
{
    assert_true(vddk_window_refused(&window, window.epoch, 1));
    assert_int_equal(window.reads, 1);
    assert_int_equal(window.piece, DISK_MAX_REQUEST / 2);
}

static void
success_widens_it_slowly_and_never_beyond_what_it_was(void **state)
{
    unsigned good = 0;

    assert_true(vddk_window_refused(&window, window.epoch, 1));
    while (window.reads < 16 || window.piece < DISK_MAX_REQUEST) {
        vddk_window_good(&window);
        good++;
    }
    assert_int_equal(good, 256 * (1 + 15));
    for (unsigned i = 0; i < 1000; i++)
        vddk_window_good(&window);
    assert_int_equal(window.reads, 16);
    assert_int_equal(window.piece, DISK_MAX_REQUEST);
}

static void
a_refusal_begins_the_count_of_successes_anew(void **state)
{
    assert_true(vddk_window_refused(&window, window.epoch, 16));
    for (unsigned i = 0; i < 255; i++)
        vddk_window_good(&window);
    assert_true(vddk_window_refused(&window, window.epoch, 8));
    vddk_window_good(&window);
    assert_int_equal(window.reads, 4);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refusal_halves_what_is_in_flight_once),
        TEST(a_read_that_is_too_much_alone_is_made_smaller_until_there_is_no_smaller),
        TEST(one_read_that_is_refused_alone_does_not_let_sixteen_out),
        TEST(success_widens_it_slowly_and_never_beyond_what_it_was),
        TEST(a_refusal_begins_the_count_of_successes_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
