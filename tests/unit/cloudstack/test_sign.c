/* Signatures against the developer guide's vector and one made by the rules of the server's source. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/util.h"
#include "cloudstack/internal.h"

#define SECRET                                                                                     \
    "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ"

static void
test_official_vector(void **state)
{
    struct cloudstack_param items[] = {
        {"response", "json"},
        {"command", "listUsers"},
        {"apikey",
         "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg"},
    };
    struct cloudstack_params params = {items, 3, 3};
    CLEANUP(free_charp) char *signature = cloudstack_sign(&params, SECRET);

    assert_string_equal(signature, "TTpdDq/7j/J58XCRHomKoQXEQds=");
}

static void
test_vector_with_every_kind_of_byte(void **state)
{
    struct cloudstack_param items[] = {
        {"apikey", "K"},
        {"command", "importVm"},
        {"response", "json"},
        {"signatureversion", "3"},
        {"expires", "2026-01-02T03:04:05+0000"},
        {"name", "web 01~*(a)_\xc3\xa9/+"},
        {"details[0].rootDiskController", "virtio"},
        {"signature", "does not count"},
    };
    struct cloudstack_params params = {items, 8, 8};
    CLEANUP(free_charp) char *signature = cloudstack_sign(&params, SECRET);

    assert_string_equal(signature, "nN+gCjzU4wLsGMD6L6q6a/xTO44=");
}

static void
test_order_is_bytewise_by_name(void **state)
{
    struct cloudstack_param one[] = {{"b", "1"}, {"a", "2"}, {"A", "3"}, {"a[0].x", "4"}};
    struct cloudstack_param two[] = {{"a[0].x", "4"}, {"A", "3"}, {"a", "2"}, {"b", "1"}};
    struct cloudstack_params first = {one, 4, 4}, second = {two, 4, 4};
    CLEANUP(free_charp) char *a = cloudstack_sign(&first, "s");
    CLEANUP(free_charp) char *b = cloudstack_sign(&second, "s");

    assert_string_equal(a, b);
}

static void
test_form_is_the_golden_one(void **state)
{
    struct cloudstack_params params = {0};
    struct str form = STR_INIT(4096);

    params_add(&params, "name", "web 01~*(a)_\xc3\xa9/+");
    params_add(&params, "details[0].rootDiskController", "virtio");
    form_sign(&form, "importVm", &params, "K", SECRET, 1767323045);
    assert_string_equal(
        str_text(&form),
        "apikey=K&command=importVm&details%5B0%5D.rootDiskController=virtio"
        "&expires=2026-01-02T03%3A04%3A05%2B0000&name=web%2001%7E*%28a%29_%C3%A9%2F%2B"
        "&response=json&signatureversion=3&signature=nN%2BgCjzU4wLsGMD6L6q6a%2FxTO44%3D");
    params_done(&params);
    str_done(&form);
}

static void
test_empty_values_are_left_out(void **state)
{
    struct cloudstack_params params = {0};

    params_add_optional(&params, "a", NULL);
    params_add_optional(&params, "b", "");
    params_add_owner(&params, "acct", "dom", "proj");
    assert_int_equal(params.count, 1);
    assert_string_equal(params_get(&params, "projectid"), "proj");
    params_done(&params);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_official_vector),
        cmocka_unit_test(test_vector_with_every_kind_of_byte),
        cmocka_unit_test(test_order_is_bytewise_by_name),
        cmocka_unit_test(test_form_is_the_golden_one),
        cmocka_unit_test(test_empty_values_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
