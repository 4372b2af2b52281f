#include "base/ip.h"

#include "tests/unit/check.h"

static bool
is_in(const char *address, const char *range)
{
    struct ip_ranges ranges = {0};
    struct ip_range parsed;
    struct ip ip;
    bool result;

    assert_true(ip_parse(address, &ip));
    assert_true(ip_parse_range(range, &parsed));
    vec_push(&ranges, parsed);
    result = ip_is_in(&ip, &ranges);
    vec_done(&ranges);
    return result;
}

static void
ranges_end_where_they_say(void **state)
{
    assert_true(is_in("192.0.2.1", "192.0.2.1"));
    assert_false(is_in("192.0.2.2", "192.0.2.1"));
    assert_true(is_in("10.255.255.255", "10.0.0.0/8"));
    assert_false(is_in("11.0.0.0", "10.0.0.0/8"));
    assert_true(is_in("192.0.2.127", "192.0.2.0/25"));
    assert_false(is_in("192.0.2.128", "192.0.2.0/25"));
    assert_true(is_in("2001:db8:1::1", "2001:db8::/33"));
    assert_false(is_in("2001:db8:8000::1", "2001:db8::/33"));
    assert_true(is_in("203.0.113.9", "0.0.0.0/0"));
    assert_false(is_in("2001:db8::1", "0.0.0.0/0"));
    assert_true(is_in("2001:db8::1", "::/0"));
}

static void
ipv4_in_ipv6_is_ipv4(void **state)
{
    struct ip ip;
    char text[IP_TEXT];

    assert_true(is_in("::ffff:10.1.2.3", "10.0.0.0/8"));
    assert_true(is_in("10.1.2.3", "::ffff:10.0.0.0/104"));
    assert_true(ip_parse("::ffff:10.1.2.3", &ip));
    assert_true(ip_is_v4(&ip));
    ip_format(&ip, text);
    assert_string_equal(text, "10.1.2.3");
    assert_true(ip_parse("2001:DB8:0::1", &ip));
    assert_false(ip_is_v4(&ip));
    ip_format(&ip, text);
    assert_string_equal(text, "2001:db8::1");
}

static void
what_is_no_address_or_range_is_refused(void **state)
{
    static const char *const wrong[] = {"",           "/8",          "10.0.0.0/",    "10.0.0.0/33",
                                        "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/8x",  "10.0.0/8",
                                        "::/129",     "proxy.local", "10.0.0.0/8/8", "10.0.0.0 /8"};
    struct ip_range range;

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        if (ip_parse_range(wrong[i], &range))
            fail_msg("\"%s\" was taken", wrong[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_end_where_they_say),
        cmocka_unit_test(ipv4_in_ipv6_is_ipv4),
        cmocka_unit_test(what_is_no_address_or_range_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
