#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/options.h"

struct values {
    bool json;
    int64_t readers;
    const char *config;
    struct words specs;
};

static const struct option_def defs[] = {
    {"json", OPTION_BOOL, offsetof(struct values, json), NULL, "h"},
    {"readers", OPTION_INT, offsetof(struct values, readers), "N", "h"},
    {"config", OPTION_TEXT, offsetof(struct values, config), "FILE", "h"},
    {"spec", OPTION_LIST, offsetof(struct values, specs), "FILE", "h"},
    OPTION_END,
};

struct parsed {
    struct values values;
    struct words words;
    bool wants_help;
    struct err *err;
    int rc;
};

static struct parsed
parse(const char *const *argv)
{
    struct parsed p = {0};
    int argc = 0;

    while (argv[argc])
        argc++;
    p.rc = options_parse(defs, argc, (char **)argv, &p.values, &p.words, &p.wants_help, &p.err);
    return p;
}

static void
parsed_done(struct parsed *p)
{
    options_done(defs, &p->values);
    vec_done(&p->words);
    err_free(p->err);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void
one_dash_and_two_are_the_same(void **state)
{
    struct parsed p = PARSE("-readers", "3", "--config=a.yaml", "-json");

    assert_int_equal(p.rc, 0);
    assert_int_equal(p.values.readers, 3);
    assert_string_equal(p.values.config, "a.yaml");
    assert_true(p.values.json);
    parsed_done(&p);
}

static void
booleans_take_a_value_only_with_an_equals_sign(void **state)
{
    struct parsed p = PARSE("--json=false", "false");

    assert_int_equal(p.rc, 0);
    assert_false(p.values.json);
    assert_int_equal(p.words.count, 1);
    parsed_done(&p);
    p = PARSE("--json=T");
    assert_true(p.values.json);
    parsed_done(&p);
    p = PARSE("--json=yes");
    assert_int_equal(err_code(p.err), E_USAGE);
    parsed_done(&p);
}

static void
lists_grow_and_blank_values_are_ignored(void **state)
{
    struct parsed p = PARSE("--spec", "a", "--spec=", "--spec", "  ", "--spec=b");

    assert_int_equal(p.values.specs.count, 2);
    assert_string_equal(p.values.specs.items[1], "b");
    parsed_done(&p);
}

static void
the_last_of_several_wins(void **state)
{
    struct parsed p = PARSE("--config", "a", "--config", "b");

    assert_string_equal(p.values.config, "b");
    parsed_done(&p);
}

static void
words_follow_the_flags(void **state)
{
    struct parsed p = PARSE("--json", "a.yaml", "b.yaml");

    assert_int_equal(p.words.count, 2);
    assert_string_equal(p.words.items[0], "a.yaml");
    parsed_done(&p);
}

static void
a_flag_behind_a_word_is_refused_not_taken_for_a_file(void **state)
{
    struct parsed p = PARSE("a.yaml", "--json");

    assert_int_equal(err_code(p.err), E_USAGE);
    assert_string_equal(err_message(p.err), "--json stands behind a.yaml");
    assert_non_null(err_hint_text(p.err));
    parsed_done(&p);
}

static void
two_dashes_end_the_flags(void **state)
{
    struct parsed p = PARSE("--json", "--", "-odd.yaml", "--json");

    assert_int_equal(p.rc, 0);
    assert_int_equal(p.words.count, 2);
    assert_string_equal(p.words.items[0], "-odd.yaml");
    parsed_done(&p);
}

static void
names_are_never_abbreviated(void **state)
{
    struct parsed p = PARSE("--conf", "a");

    assert_int_equal(p.rc, -1);
    assert_string_equal(err_message(p.err), "unknown flag --conf");
    parsed_done(&p);
}

static void
numbers_must_be_whole(void **state)
{
    static const char *const wrong[] = {"", "x", "3x", "1.5", "99999999999999999999"};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct parsed p = PARSE("--readers", wrong[i]);

        assert_int_equal(err_code(p.err), E_USAGE);
        parsed_done(&p);
    }
}

static void
a_missing_value_is_said(void **state)
{
    struct parsed p = PARSE("--readers");

    assert_string_equal(err_message(p.err), "--readers needs a value: --readers N");
    parsed_done(&p);
}

static void
help_is_seen_anywhere_among_the_flags(void **state)
{
    static const char *const forms[] = {"-h", "--help", "-help"};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        struct parsed p = PARSE("--json", forms[i], "--nonsense");

        assert_int_equal(p.rc, 0);
        assert_true(p.wants_help);
        parsed_done(&p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_dash_and_two_are_the_same),
        cmocka_unit_test(booleans_take_a_value_only_with_an_equals_sign),
        cmocka_unit_test(lists_grow_and_blank_values_are_ignored),
        cmocka_unit_test(the_last_of_several_wins),
        cmocka_unit_test(words_follow_the_flags),
        cmocka_unit_test(a_flag_behind_a_word_is_refused_not_taken_for_a_file),
        cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(names_are_never_abbreviated),
        cmocka_unit_test(numbers_must_be_whole),
        cmocka_unit_test(a_missing_value_is_said),
        cmocka_unit_test(help_is_seen_anywhere_among_the_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
