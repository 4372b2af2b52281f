/* Who asks, where others pass requests on: nobody may choose their own address. */
#include "tests/unit/check.h"

#include "api/internal.h"

static void
check(const char *peer, const char *first, const char *second, const char *expected)
{
    struct ip_ranges trusted = {0};
    struct pairs headers = {0};
    struct ip_range range;
    char address[IP_TEXT];

    assert_true(ip_parse_range("192.0.2.10", &range));
    vec_push(&trusted, range);
    assert_true(ip_parse_range("10.0.0.0/8", &range));
    vec_push(&trusted, range);
    if (first)
        vec_push(&headers, ((struct pair){xstrdup("x-forwarded-for"), xstrdup(first)}));
    vec_push(&headers, ((struct pair){xstrdup("Accept"), xstrdup("203.0.113.99")}));
    if (second)
        vec_push(&headers, ((struct pair){xstrdup("X-Forwarded-For"), xstrdup(second)}));
    snprintf(address, sizeof(address), "%s", peer);
    client_address(&headers, &trusted, address);
    assert_string_equal(address, expected);
    pairs_done(&headers);
    vec_done(&trusted);
}

static void
a_trusted_proxy_says_who_asks(void **state)
{
    check("192.0.2.10", "203.0.113.7", NULL, "203.0.113.7");
    check("192.0.2.10", " 203.0.113.7\t", NULL, "203.0.113.7");
    check("192.0.2.10", "2001:DB8::1", NULL, "2001:db8::1");
    check("192.0.2.10", "203.0.113.7:4711", NULL, "203.0.113.7");
    check("192.0.2.10", "[2001:db8::1]:443", NULL, "2001:db8::1");
    check("192.0.2.10", NULL, NULL, "192.0.2.10");
}

static void
nobody_else_does(void **state)
{
    check("192.0.2.11", "203.0.113.7", NULL, "192.0.2.11");
    check("203.0.113.5", "127.0.0.1", "10.0.0.1", "203.0.113.5");
    check("unknown", "203.0.113.7", NULL, "unknown");
}

static void
it_is_the_last_one_that_no_trusted_proxy_has(void **state)
{
    check("192.0.2.10", "198.51.100.1, 203.0.113.7, 10.1.2.3", NULL, "203.0.113.7");
    check("192.0.2.10", "198.51.100.1, 203.0.113.7", "10.1.2.3,10.1.2.4", "203.0.113.7");
    check("192.0.2.10", "10.9.9.9, 10.1.2.3", NULL, "10.9.9.9");
}

static void
what_makes_no_sense_ends_the_way_back(void **state)
{
    check("192.0.2.10", "203.0.113.7, unknown, 10.1.2.3", NULL, "10.1.2.3");
    check("192.0.2.10", "203.0.113.7,", NULL, "192.0.2.10");
    check("192.0.2.10", "", NULL, "192.0.2.10");
    check("192.0.2.10", "203.0.113.7 203.0.113.8", NULL, "192.0.2.10");
    check("192.0.2.10", "1111111111111111111111111111111111111111111111111111111111111111", NULL,
          "192.0.2.10");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trusted_proxy_says_who_asks),
        cmocka_unit_test(nobody_else_does),
        cmocka_unit_test(it_is_the_last_one_that_no_trusted_proxy_has),
        cmocka_unit_test(what_makes_no_sense_ends_the_way_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
