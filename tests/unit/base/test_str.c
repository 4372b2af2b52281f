#include "base/str.h"

#include "tests/unit/check.h"

#include <stdlib.h>

static void
appends_grow_and_stay_terminated(void **state)
{
    struct str s = STR_INIT(100);

    assert_string_equal(str_text(&s), "");
    str_append(&s, "abc");
    str_append_bytes(&s, "d\0e", 3);
    str_appendf(&s, "%d", 42);
    assert_int_equal(s.length, 8);
    assert_memory_equal(s.data, "abcd\0e42", 9);
    str_done(&s);
}

static void
the_maximum_is_kept_and_reported(void **state)
{
    struct str s = STR_INIT(5);
    struct err *err = NULL;

    str_append(&s, "12345");
    assert_int_equal(str_check(&s, "answer", &err), 0);
    str_append(&s, "6");
    str_append(&s, "");
    assert_string_equal(str_text(&s), "12345");
    assert_int_equal(str_check(&s, "answer", &err), -1);
    assert_err_says(&err, E_LIMIT, "answer is larger than 5 bytes");
    str_done(&s);
}

static void
clearing_makes_it_usable_again(void **state)
{
    struct str s = STR_INIT(3);

    str_append(&s, "12345");
    assert_true(s.is_over);
    str_clear(&s);
    str_append(&s, "abc");
    assert_string_equal(str_text(&s), "abc");
    assert_false(s.is_over);
    str_done(&s);
}

static void
what_is_taken_belongs_to_the_caller(void **state)
{
    struct str s = STR_INIT(10);
    char *empty = str_take(&s), *text;

    assert_string_equal(empty, "");
    str_append(&s, "abc");
    text = str_take(&s);
    assert_string_equal(text, "abc");
    str_append(&s, "d");
    assert_string_equal(str_text(&s), "d");
    free(empty);
    free(text);
    str_done(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_grow_and_stay_terminated),
        cmocka_unit_test(the_maximum_is_kept_and_reported),
        cmocka_unit_test(clearing_makes_it_usable_again),
        cmocka_unit_test(what_is_taken_belongs_to_the_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
