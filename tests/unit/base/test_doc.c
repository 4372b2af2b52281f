#include "base/doc.h"

#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

static struct doc *
parse(const char *text)
{
    struct err *err = NULL;
    struct doc *doc = NULL;

    assert_ok(doc_parse("spec.yaml", text, strlen(text), &doc, &err), &err);
    return doc;
}

static void
assert_refused(const char *text, enum err_code code, const char *says)
{
    struct err *err = NULL;
    struct doc *doc = NULL;

    if (doc_parse("spec.yaml", text, strlen(text), &doc, &err) == 0)
        fail_msg("\"%s\" was accepted", text);
    assert_null(doc);
    assert_err_says(&err, code, says);
}

static void
assert_place(const struct node *node, const char *expected)
{
    CLEANUP(free_charp) char *place = node_place(node);

    assert_string_equal(place, expected);
}

/* ---- reading ---- */

static void
every_value_knows_its_place(void **state)
{
    CLEANUP(doc_freep)
    struct doc *doc = parse("vms:\n"
                            "  - vm: {name: web}\n"
                            "  - vm:\n"
                            "      name: db\n"
                            "    disks:\n"
                            "      \"scsi0:1\":\n"
                            "        storageid: x\n"
                            "      a b: 1\n");
    const struct node *vms = node_get(doc_root(doc), "vms");
    const struct node *second = node_item(vms, 1), *disks = node_get(second, "disks");

    assert_int_equal(node_count(vms), 2);
    assert_place(doc_root(doc), "spec.yaml:1");
    assert_place(vms, "spec.yaml:1: vms");
    assert_place(node_get(node_get(node_item(vms, 0), "vm"), "name"),
                 "spec.yaml:2: vms[0].vm.name");
    assert_place(disks, "spec.yaml:5: vms[1].disks");
    assert_place(node_get(node_get(disks, "scsi0:1"), "storageid"),
                 "spec.yaml:7: vms[1].disks.scsi0:1.storageid");
    assert_place(node_get(disks, "a b"), "spec.yaml:8: vms[1].disks.\"a b\"");
    assert_string_equal(node_key(disks, 0), "scsi0:1");
    assert_null(node_key(disks, 2));
    assert_null(node_item(vms, 2));
    assert_null(node_get(vms, "vm"));
    assert_null(node_get(NULL, "vm"));
}

static void
json_is_read_too(void **state)
{
    CLEANUP(doc_freep)
    struct doc *doc = parse("{\"a\":\"x\\u00e9\\n\",\n\t\"b\":[1,-2,null,true],\"c\":{}}");
    const struct node *b = node_get(doc_root(doc), "b");

    assert_string_equal(node_text(node_get(doc_root(doc), "a")), "x\xc3\xa9\n");
    assert_int_equal(node_count(b), 4);
    assert_int_equal(node_kind(node_item(b, 2)), NODE_NULL);
    assert_int_equal(node_kind(node_get(doc_root(doc), "c")), NODE_MAP);
    assert_place(node_item(b, 1), "spec.yaml:2: b[1]");
}

static void
an_empty_document_is_null(void **state)
{
    static const char *const texts[] = {"", "# only a comment\n", "---\n", "~"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(doc_freep) struct doc *doc = parse(texts[i]);

        assert_int_equal(node_kind(doc_root(doc)), NODE_NULL);
        assert_string_equal(node_text(doc_root(doc)), "");
    }
}

static void
null_is_nothing_but_quoted_null_is_text(void **state)
{
    CLEANUP(doc_freep) struct doc *doc = parse("a:\nb: null\nc: ~\nd: 'null'\ne: ''\n");

    assert_int_equal(node_kind(node_get(doc_root(doc), "a")), NODE_NULL);
    assert_int_equal(node_kind(node_get(doc_root(doc), "b")), NODE_NULL);
    assert_int_equal(node_kind(node_get(doc_root(doc), "c")), NODE_NULL);
    assert_int_equal(node_kind(node_get(doc_root(doc), "d")), NODE_SCALAR);
    assert_int_equal(node_kind(node_get(doc_root(doc), "e")), NODE_SCALAR);
}

static void
aliases_are_expanded(void **state)
{
    CLEANUP(doc_freep) struct doc *doc = parse("a: &x {k: [1, 2]}\nb: *x\nc: &y text\nd: *y\n");
    const struct node *k = node_get(node_get(doc_root(doc), "b"), "k");

    assert_int_equal(node_count(k), 2);
    assert_string_equal(node_text(node_item(k, 1)), "2");
    assert_place(node_item(k, 1), "spec.yaml:1: b.k[1]"); /* its text is on line 1 */
    assert_string_equal(node_text(node_get(doc_root(doc), "d")), "text");
}

static void
merge_keys_fill_what_is_not_there(void **state)
{
    CLEANUP(doc_freep)
    struct doc *doc = parse("base: &base {a: 1, b: 2}\n"
                            "more: &more {b: 3, c: 4}\n"
                            "one: {<<: *base, b: own}\n"
                            "two: {b: own, <<: [*more, *base]}\n"
                            "text: {'<<': kept}\n");
    const struct node *one = node_get(doc_root(doc), "one"), *two = node_get(doc_root(doc), "two");

    assert_int_equal(node_count(one), 2);
    assert_string_equal(node_text(node_get(one, "a")), "1");
    assert_string_equal(node_text(node_get(one, "b")), "own");
    assert_int_equal(node_count(two), 3);
    assert_string_equal(node_text(node_get(two, "c")), "4");
    assert_string_equal(node_text(node_get(two, "a")), "1");
    assert_place(node_get(two, "c"), "spec.yaml:2: two.c");
    assert_string_equal(node_text(node_get(node_get(doc_root(doc), "text"), "<<")), "kept");
    assert_refused("a: {<<: text}\n", E_SYNTAX, "wants a map");
}

static void
broken_yaml_is_refused_with_its_place(void **state)
{
    struct err *err = NULL;
    struct doc *doc = NULL;

    assert_refused("a: b: c\n", E_SYNTAX, "spec.yaml:1:5: ");
    assert_refused("a: [1\nb: 2\n", E_SYNTAX, "spec.yaml:2:");
    assert_refused("a: \"open\n", E_SYNTAX, "spec.yaml:");
    assert_refused("a: \xff\xfe\n", E_SYNTAX, "spec.yaml: ");
    assert_refused("a: \"x\\0y\"\n", E_SYNTAX, "zero byte");
    assert_refused("a: !ruby/object x\n", E_SYNTAX, "unknown tag");
    assert_refused("{a: b}: c\n", E_SYNTAX, "a key must be plain text");
    assert_refused("a: 1\n---\nb: 2\n", E_SYNTAX, "spec.yaml:2:1: a second document");
    assert_int_equal(doc_parse("t.yaml", "a:\n\tb: 1\n", 9, &doc, &err), -1);
    assert_string_equal(err_hint_text(err), "indent with spaces, not with tabs");
    err_freep(&err);
}

static void
duplicate_keys_are_refused(void **state)
{
    assert_refused("a: 1\nb: 2\na: 3\n", E_SYNTAX, "spec.yaml:3:1: this key is there already");
    assert_refused("{\"a\": 1, 'a': 2}", E_SYNTAX, "spec.yaml:1:10: ");
    assert_refused("x:\n  1: a\n  '1': b\n", E_SYNTAX, "spec.yaml:3:3");
}

static void
an_alias_bomb_is_refused(void **state)
{
    struct str text = STR_INIT(10000);

    str_append(&text, "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        str_appendf(&text, "l%d: &l%d [", i, i);
        for (int k = 0; k < 10; k++)
            str_appendf(&text, "%s*l%d", k ? ", " : "", i - 1);
        str_append(&text, "]\n");
    }
    assert_refused(str_text(&text), E_LIMIT, "too many values");
    str_done(&text);
}

static void
an_alias_to_itself_or_to_nothing_is_refused(void **state)
{
    assert_refused("a: &x [1, *x]\n", E_SYNTAX, "spec.yaml:1:11: the alias names no anchor");
    assert_refused("a: *none\n", E_SYNTAX, "names no anchor");
    assert_refused("a: &x\n  <<: *x\n", E_SYNTAX, "names no anchor");
}

static void
deep_nesting_is_refused(void **state)
{
    struct str text = STR_INIT(200000);
    struct doc *doc;

    for (int i = 0; i < DOC_MAX_DEPTH; i++)
        str_append(&text, "[");
    for (int i = 0; i < DOC_MAX_DEPTH; i++)
        str_append(&text, "]");
    doc = parse(str_text(&text));
    doc_free(doc);
    str_clear(&text);
    for (int i = 0; i < 100000; i++)
        str_append(&text, "[");
    assert_refused(str_text(&text), E_LIMIT, "nested too deeply");
    str_done(&text);
}

static void
nesting_through_aliases_counts_too(void **state)
{
    struct str text = STR_INIT(10000);

    str_append(&text, "l0: &l0 [x]\n");
    for (int i = 1; i < DOC_MAX_DEPTH + 2; i++)
        str_appendf(&text, "l%d: &l%d [*l%d]\n", i, i, i - 1);
    assert_refused(str_text(&text), E_LIMIT, "nested too deeply");
    str_clear(&text);
    str_append(&text, "l0: &l0 {k: x}\n");
    for (int i = 1; i < DOC_MAX_DEPTH + 2; i++)
        str_appendf(&text, "l%d: &l%d {<<: {k: *l%d}}\n", i, i, i - 1);
    assert_refused(str_text(&text), E_LIMIT, "nested too deeply");
    str_done(&text);
}

static void
sizes_are_bounded(void **state)
{
    CLEANUP(free_charp) char *huge = xcalloc(1, DOC_MAX_BYTES + 2);
    struct str text = STR_INIT(1000000);

    memset(huge, '#', DOC_MAX_BYTES + 1);
    assert_refused(huge, E_LIMIT, "larger than");
    for (int i = 0; i < 1001; i++)
        str_appendf(&text, "k%d: 1\n", i);
    assert_refused(str_text(&text), E_LIMIT, "too many keys");
    str_clear(&text);
    for (int i = 0; i < 1001; i++)
        str_appendf(&text, "- &a%d 1\n", i);
    assert_refused(str_text(&text), E_LIMIT, "too many anchors");
    str_done(&text);
}

static void
a_missing_file_is_an_error_of_the_file(void **state)
{
    struct err *err = NULL;
    struct doc *doc = NULL;

    assert_int_equal(doc_read("/no/such.yaml", &doc, &err), -1);
    assert_err_says(&err, E_IO, "/no/such.yaml: No such file");
}

/* ---- decoding ---- */

static void
assert_problem(const char *yaml, const char *expected,
               void (*decode)(const struct node *, struct problems *))
{
    CLEANUP(doc_freep) struct doc *doc = parse(yaml);
    struct problems problems;
    struct err *err = NULL;

    problems_init(&problems, false);
    decode(doc_root(doc), &problems);
    if (!expected) {
        assert_ok(problems_check(&problems, &err), &err);
    } else {
        assert_int_equal(problems_check(&problems, &err), -1);
        assert_string_equal(err_message(err), expected);
        assert_err(&err, E_CONFIG);
    }
    problems_done(&problems);
}

static void
decode_readers(const struct node *root, struct problems *problems)
{
    int64_t n = 7;

    if (!node_decode_int(node_get(root, "migration"), "readers", 1, 64, &n, problems))
        assert_int_equal(n, 7);
}

static void
a_wrong_number_says_what_was_expected(void **state)
{
    assert_problem("migration:\n  readers: many\n",
                   "spec.yaml:2: migration.readers: expected a whole number from 1 to 64, not "
                   "\"many\"",
                   decode_readers);
    assert_problem("migration: {readers: 0}",
                   "spec.yaml:1: migration.readers: expected a whole "
                   "number from 1 to 64, not \"0\"",
                   decode_readers);
    assert_problem("migration: {readers: '4'}",
                   "spec.yaml:1: migration.readers: expected a whole number from 1 to 64, not the "
                   "quoted text \"4\"",
                   decode_readers);
    assert_problem("migration: {readers: [4]}",
                   "spec.yaml:1: migration.readers: expected a whole "
                   "number from 1 to 64, not a list",
                   decode_readers);
    assert_problem("migration: {readers: }", NULL, decode_readers);
    assert_problem("migration: {}", NULL, decode_readers);
    assert_problem("{}", NULL, decode_readers);
}

static void
numbers_follow_the_core_schema(void **state)
{
    static const struct {
        const char *text;
        bool is_number;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-5", true, -5},
        {"+7", true, 7},
        {"0x1F", true, 31},
        {"0o17", true, 15},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"99999999999999999999", false, 0},
        {"010", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"4 s", false, 0},
        {"--4", false, 0},
        {"0x", false, 0},
        {"0o8", false, 0},
        {"ff", false, 0},
        {"true", false, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(free_charp) char *yaml = xasprintf("{\"k\": %s}", cases[i].text);
        CLEANUP(doc_freep) struct doc *doc = parse(yaml);
        struct problems problems;
        int64_t n = 0;

        problems_init(&problems, false);
        if (node_decode_int(doc_root(doc), "k", INT64_MIN, INT64_MAX, &n, &problems) !=
            cases[i].is_number)
            fail_msg("%s was%s a number", cases[i].text, cases[i].is_number ? " not" : "");
        assert_int_equal(n, cases[i].value);
        assert_int_equal(problems.count, !cases[i].is_number);
        problems_done(&problems);
    }
}

static void
decode_flag(const struct node *root, struct problems *problems)
{
    bool flag = false;

    if (node_decode_bool(root, "on", &flag, problems))
        assert_true(flag);
}

static void
booleans_take_the_words_of_yaml(void **state)
{
    assert_problem("on: true", NULL, decode_flag);
    assert_problem("on: YES", NULL, decode_flag);
    assert_problem("on: y", NULL, decode_flag);
    assert_problem("on: 'true'",
                   "spec.yaml:1: on: expected true or false, not the quoted text \"true\"",
                   decode_flag);
    assert_problem("on: 1", "spec.yaml:1: on: expected true or false, not \"1\"", decode_flag);
    assert_problem("on: maybe", "spec.yaml:1: on: expected true or false, not \"maybe\"",
                   decode_flag);
}

static void
decode_mode(const struct node *root, struct problems *problems)
{
    static const char *const words[] = {"auto", "force", "manual", NULL};
    int mode = -1;

    if (node_decode_word(root, "mode", words, &mode, problems))
        assert_int_equal(mode, 1);
    else
        assert_int_equal(mode, -1);
}

static void
words_are_listed_when_none_fits(void **state)
{
    assert_problem("mode: FORCE", NULL, decode_mode);
    assert_problem("mode: hard", "spec.yaml:1: mode: expected auto, force or manual, not \"hard\"",
                   decode_mode);
    assert_problem("mode: {a: b}", "spec.yaml:1: mode: expected auto, force or manual, not a map",
                   decode_mode);
}

static void
decode_name(const struct node *root, struct problems *problems)
{
    CLEANUP(free_charp) char *name = xstrdup("before");

    if (!node_decode_string(root, "name", &name, problems))
        assert_string_equal(name, "before");
    else
        assert_string_not_equal(name, "before");
}

static void
text_is_taken_as_written(void **state)
{
    CLEANUP(doc_freep) struct doc *doc = parse("a: 007\nb: true\nc: 1.10\n");
    CLEANUP(free_charp) char *a = NULL, *b = NULL, *c = NULL;
    struct problems problems;

    problems_init(&problems, false);
    assert_true(node_decode_string(doc_root(doc), "a", &a, &problems));
    assert_true(node_decode_string(doc_root(doc), "b", &b, &problems));
    assert_true(node_decode_string(doc_root(doc), "c", &c, &problems));
    assert_string_equal(a, "007");
    assert_string_equal(b, "true");
    assert_string_equal(c, "1.10");
    problems_done(&problems);
    assert_problem("name: x", NULL, decode_name);
    assert_problem("name:", NULL, decode_name);
    assert_problem("name: [x]", "spec.yaml:1: name: expected text, not a list", decode_name);
    assert_problem("name: \"a\\nb\"",
                   "spec.yaml:1: name: expected one line of text without "
                   "control characters",
                   decode_name);
}

static void
characters_that_show_as_nothing_are_refused_in_text(void **state)
{
    static const char *const bad[] = {"\\x1b", "\\x7f", "\\N",     "\\x9b",
                                      "\\L",   "\\P",   "\\uFEFF", "\\uFFFE"};
    static const char *const good[] = {"\\xa0", "\\xe9", "\\u2027", "\\uFFFD", "\\U0001F600"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(free_charp) char *yaml = xasprintf("name: \"a%sb\"", bad[i]);

        assert_problem(yaml,
                       "spec.yaml:1: name: expected one line of text without control characters",
                       decode_name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CLEANUP(free_charp) char *yaml = xasprintf("name: \"a%sb\"", good[i]);

        assert_problem(yaml, NULL, decode_name);
    }
}

static void
decode_several(const struct node *root, struct problems *problems)
{
    static const char *const known[] = {"migration", "disks", "list", NULL};
    static const char *const migration[] = {"readers", "delta_interval", NULL};

    node_check_keys(root, known, problems);
    node_check_keys(node_decode_map(root, "migration", problems), migration, problems);
    decode_readers(root, problems);
    node_decode_map(root, "disks", problems);
    node_decode_list(root, "list", problems);
    problems_add(problems, NULL, "as a whole");
}

static void
all_problems_are_reported_at_once(void **state)
{
    assert_problem("migration:\n  reeders: 4\n  readers: x\n  colour: red\n"
                   "disks: 5\nlist: {}\n\"bad\\ekey\": 1\n",
                   "7 problems:\n"
                   "spec.yaml:7: \"bad?key\": unknown key\n"
                   "spec.yaml:2: migration.reeders: unknown key; did you mean \"readers\"?\n"
                   "spec.yaml:4: migration.colour: unknown key\n"
                   "spec.yaml:3: migration.readers: expected a whole number from 1 to 64, not "
                   "\"x\"\n"
                   "spec.yaml:5: disks: expected a map, not \"5\"\n"
                   "spec.yaml:6: list: expected a list, not a map\n"
                   "as a whole",
                   decode_several);
}

static void
unknown_keys_only_warn_when_lenient(void **state)
{
    static const char *const known[] = {"readers", NULL};
    CLEANUP(doc_freep) struct doc *doc = parse("Readers: 4\nother: 1\n");
    struct problems problems;

    problems_init(&problems, true);
    node_check_keys(doc_root(doc), known, &problems);
    assert_int_equal(problems.count, 0);
    assert_string_equal(str_text(&problems.warnings),
                        "spec.yaml:1: Readers: unknown key; did you mean \"readers\"?\n"
                        "spec.yaml:2: other: unknown key");
    problems_warn(&problems, NULL, "more");
    assert_contains(str_text(&problems.warnings), "\nmore");
    assert_int_equal(problems_check(&problems, NULL), 0);
    problems_done(&problems);
}

static void
the_text_of_problems_is_bounded(void **state)
{
    struct problems problems;
    struct err *err = NULL;

    problems_init(&problems, false);
    for (int i = 0; i < 100000; i++)
        problems_add(&problems, NULL, "a problem");
    assert_int_equal(problems_check(&problems, &err), -1);
    assert_true(strlen(err_message(err)) < 100000);
    assert_err_says(&err, E_CONFIG, "... and more");
    problems_done(&problems);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_knows_its_place),
        cmocka_unit_test(json_is_read_too),
        cmocka_unit_test(an_empty_document_is_null),
        cmocka_unit_test(null_is_nothing_but_quoted_null_is_text),
        cmocka_unit_test(aliases_are_expanded),
        cmocka_unit_test(merge_keys_fill_what_is_not_there),
        cmocka_unit_test(broken_yaml_is_refused_with_its_place),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(an_alias_bomb_is_refused),
        cmocka_unit_test(an_alias_to_itself_or_to_nothing_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(nesting_through_aliases_counts_too),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_missing_file_is_an_error_of_the_file),
        cmocka_unit_test(a_wrong_number_says_what_was_expected),
        cmocka_unit_test(numbers_follow_the_core_schema),
        cmocka_unit_test(booleans_take_the_words_of_yaml),
        cmocka_unit_test(words_are_listed_when_none_fits),
        cmocka_unit_test(text_is_taken_as_written),
        cmocka_unit_test(characters_that_show_as_nothing_are_refused_in_text),
        cmocka_unit_test(all_problems_are_reported_at_once),
        cmocka_unit_test(unknown_keys_only_warn_when_lenient),
        cmocka_unit_test(the_text_of_problems_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
