/* Endpoints as people write them, host names made of VM names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/util.h"
#include "cloudstack/internal.h"

static void
expect_endpoint(const char *given, const char *wanted)
{
    CLEANUP(free_charp) char *got = cloudstack_normalize_endpoint(given, NULL);

    assert_non_null(got);
    assert_string_equal(got, wanted);
}

static void
test_endpoint_forms(void **state)
{
    expect_endpoint("cs1", "http://cs1/client/api");
    expect_endpoint("cs1:8080", "http://cs1:8080/client/api");
    expect_endpoint("cs1/client", "http://cs1/client/api");
    expect_endpoint("cs1/client/", "http://cs1/client/api");
    expect_endpoint("HTTPS://cs1:8443/client/api/", "https://cs1:8443/client/api");
    expect_endpoint("https://cs1/api", "https://cs1/api");
    expect_endpoint("https://cs1/custom", "https://cs1/custom/client/api");
    expect_endpoint(" https://cs1/client/api?command=x#y ", "https://cs1/client/api");
    expect_endpoint("https://[::1]:8443", "https://[::1]:8443/client/api");
}

static void
test_endpoint_with_custom_prefix_is_kept(void **state)
{
    expect_endpoint("https://h/custom/client/api", "https://h/custom/client/api");
    expect_endpoint("https://h/myclient/api", "https://h/myclient/api/client/api");
}

static void
expect_refused(const char *given, const char *words)
{
    struct err *err = NULL;

    assert_null(cloudstack_normalize_endpoint(given, &err));
    assert_int_equal(err_code(err), E_CONFIG);
    assert_non_null(strstr(err_message(err), words));
    assert_non_null(err_hint_text(err));
    err_free(err);
}

static void
test_endpoint_nonsense_is_refused(void **state)
{
    expect_refused("", "no host");
    expect_refused("https:///client/api", "no host");
    expect_refused("ftp://cs1", "neither http nor https");
    expect_refused("https://admin:secret@cs1/client/api", "user name or password");
    expect_refused("https://cs1/cli\x01", "control character");
}

static void
expect_host(const char *given, const char *wanted)
{
    CLEANUP(free_charp) char *got = cloudstack_host_name(given);

    assert_string_equal(got, wanted);
}

static void
test_host_names(void **state)
{
    expect_host("web01", "web01");
    expect_host("Web Server (prod) #2", "Web-Server-prod-2");
    expect_host("2fast", "vm-2fast");
    expect_host("--x--", "x");
    expect_host("", "vm");
    expect_host("\xc3\xa9\xc3\xa9", "vm");
    expect_host("a_b.c", "a-b-c");
}

static void
test_long_host_name_is_cut_without_a_hyphen_at_the_end(void **state)
{
    char given[80];
    CLEANUP(free_charp) char *got = NULL;

    memset(given, 'a', 79);
    given[79] = '\0';
    given[62] = '.';
    got = cloudstack_host_name(given);
    assert_int_equal(strlen(got), 62);
    free(got);
    memset(given, '7', 79);
    got = cloudstack_host_name(given);
    assert_int_equal(strlen(got), 63);
    assert_memory_equal(got, "vm-7", 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_forms),
        cmocka_unit_test(test_endpoint_with_custom_prefix_is_kept),
        cmocka_unit_test(test_endpoint_nonsense_is_refused),
        cmocka_unit_test(test_host_names),
        cmocka_unit_test(test_long_host_name_is_cut_without_a_hyphen_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
