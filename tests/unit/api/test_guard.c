/* Guessing is slowed down, and nobody is locked out by others. */
#include "tests/unit/check.h"

#include "api/internal.h"

#define MINUTE (60 * 1000LL)

static int64_t now = 1000000;

static unsigned
tries_until_refused(struct guard *guard, const char *user, const char *address)
{
    unsigned count = 0;

    while (count < 100 && guard_take(guard, user, address, now) == 0)
        count++;
    return count;
}

static void
five_wrong_ones_close_a_name_for_an_address(void **state)
{
    struct guard *guard = guard_new();

    assert_int_equal(tries_until_refused(guard, "ann", "192.0.2.1"), 5);
    assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now + MINUTE), 240);
    assert_int_equal(guard_take(guard, "bob", "192.0.2.1", now), 0);
    assert_int_equal(guard_take(guard, "ann", "192.0.2.2", now), 0); /* from elsewhere */
    now += 5 * MINUTE; /* being refused has not made it longer */
    assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now), 0);
    guard_free(guard);
}

static void
a_right_one_clears_the_name(void **state)
{
    struct guard *guard = guard_new();

    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 5; i++)
            assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now), 0);
        guard_forgive(guard, "ann", "192.0.2.1", now);
        now += 2 * MINUTE;
    }
    guard_free(guard);
}

static void
an_address_with_many_names_is_closed_but_for_whom_it_knows(void **state)
{
    struct guard *guard = guard_new();
    unsigned count = 0;
    char name[16];

    assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now), 0);
    guard_forgive(guard, "ann", "192.0.2.1", now);
    do
        snprintf(name, sizeof(name), "user%u", count);
    while (guard_take(guard, name, "192.0.2.1", now) == 0 && count++ < 100);
    assert_int_equal(count, 20);
    assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now), 0);
    assert_true(guard_take(guard, "bob", "192.0.2.1", now) > 0);
    guard_free(guard);
}

static void
many_addresses_at_once_have_one_try_each(void **state)
{
    struct guard *guard = guard_new();
    char address[16];

    assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now), 0);
    guard_forgive(guard, "ann", "192.0.2.1", now);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(address, sizeof(address), "198.51.100.%u", i);
        assert_int_equal(tries_until_refused(guard, "ann", address), 5);
    }
    assert_int_equal(tries_until_refused(guard, "ann", "203.0.113.1"),
                     1);                                                 /* the right one gets in */
    assert_int_equal(tries_until_refused(guard, "ann", "192.0.2.1"), 5); /* where she signed in */
    guard_free(guard);
}

static void
a_network_of_ipv6_counts_as_one_address(void **state)
{
    struct guard *guard = guard_new();

    assert_int_equal(tries_until_refused(guard, "ann", "2001:db8::1"), 5);
    assert_true(guard_take(guard, "ann", "2001:db8::ffff:2", now) > 0);
    assert_int_equal(guard_take(guard, "ann", "2001:db8:0:1::1", now), 0);
    guard_free(guard);
}

/* Names that nobody has fill the memory, and those who signed in are still known. */
static void
what_is_remembered_has_a_bound(void **state)
{
    struct guard *guard = guard_new();
    char name[16], address[24];

    assert_int_equal(guard_take(guard, "ann", "192.0.2.1", now), 0);
    guard_forgive(guard, "ann", "192.0.2.1", now);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "user%u", i);
        snprintf(address, sizeof(address), "10.0.%u.%u", i >> 8, i & 255);
        assert_int_equal(guard_take(guard, name, address, now), 0);
    }
    for (unsigned i = 0; i < 30; i++) {
        snprintf(address, sizeof(address), "10.1.0.%u", i);
        (void)guard_take(guard, "ann", address, now);
    }
    assert_int_equal(tries_until_refused(guard, "ann", "192.0.2.1"), 5);
    guard_free(guard);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_wrong_ones_close_a_name_for_an_address),
        cmocka_unit_test(a_right_one_clears_the_name),
        cmocka_unit_test(an_address_with_many_names_is_closed_but_for_whom_it_knows),
        cmocka_unit_test(many_addresses_at_once_have_one_try_each),
        cmocka_unit_test(a_network_of_ipv6_counts_as_one_address),
        cmocka_unit_test(what_is_remembered_has_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
