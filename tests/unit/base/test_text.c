#include "base/text.h"

#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

static void
check_clean(const char *text, const char *expected)
{
    char *clean = text_as_utf8(text);
    json_t *value = json_text(text);

    assert_string_equal(clean, expected);
    assert_non_null(value); /* jansson takes it, so that nothing around it is lost */
    assert_string_equal(json_string_value(value), expected);
    json_decref(value);
    free(clean);
}

static void
utf8_stays_as_it_is(void **state)
{
    check_clean("", "");
    check_clean("M\xc3\xbcnchen \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbf \xf4\x8f\xbf\xbf",
                "M\xc3\xbcnchen \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbf \xf4\x8f\xbf\xbf");
}

#define FFFD "\xef\xbf\xbd"

static void
each_wrong_byte_is_replaced_and_the_rest_kept(void **state)
{
    check_clean("M\xfcnchen", "M" FFFD "nchen");
    check_clean("\xe2\x82", FFFD FFFD);                                 /* cut off at the end */
    check_clean("\xe2\x82x", FFFD FFFD "x");                            /* cut off within */
    check_clean("\xc0\xaf|\xe0\x80\xaf", FFFD FFFD "|" FFFD FFFD FFFD); /* too long an encoding */
    check_clean("\xed\xa0\x80", FFFD FFFD FFFD);                        /* half a pair */
    check_clean("\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD);               /* beyond Unicode */
    check_clean("\x80\xff", FFFD FFFD);
}

static void
no_text_is_null(void **state)
{
    json_t *value = json_text(NULL);

    assert_true(json_is_null(value));
    json_decref(value);
}

static void
all_pairs_and_triples_of_bytes_are_taken_by_jansson(void **state)
{
    for (unsigned i = 0x0100; i < 0x1000000; i += i < 0x10000 ? 1 : 97) {
        char text[] = {(char)(i >> 16), (char)(i >> 8), (char)i, '\0'};
        const char *from = text;
        json_t *value;

        while (!*from && from < text + 3)
            from++;
        value = json_text(from);
        assert_non_null(value);
        json_decref(value);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_stays_as_it_is),
        cmocka_unit_test(each_wrong_byte_is_replaced_and_the_rest_kept),
        cmocka_unit_test(no_text_is_null),
        cmocka_unit_test(all_pairs_and_triples_of_bytes_are_taken_by_jansson),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
