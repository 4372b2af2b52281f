#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "check.h"
#include "mutate.h"
#include "vsphere/xml.h"

#define MUTATIONS 4000

static int
parse(const char *text, size_t length, struct xml_parser **ret_parser,
      const struct xml_node **ret_root, struct err **err)
{
    struct xml_parser *parser = xml_parser_new(NULL, NULL, NULL);

    if (xml_parser_feed(parser, text, length, err) < 0 ||
        xml_parser_finish(parser, ret_root, err) < 0) {
        xml_parser_free(parser);
        return -1;
    }
    *ret_parser = parser;
    return 0;
}

#define PARSE(text)                                                                                \
    CLEANUP(xml_parser_freep) struct xml_parser *parser = NULL;                                    \
    CLEANUP(err_freep) struct err *err = NULL;                                                     \
    const struct xml_node *root = NULL;                                                            \
    assert_ok(parse(text, strlen(text), &parser, &root, &err), &err)

static void
refuse(const char *text, enum err_code code, const char *says)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xml_parser *parser = NULL;
    const struct xml_node *root;

    assert_int_equal(parse(text, strlen(text), &parser, &root, &err), -1);
    assert_err_says(&err, code, says);
}

static void
type_is_found_by_namespace_whatever_the_prefix(void **state)
{
    PARSE("<a xmlns:_XMLSchema-instance='http://www.w3.org/2001/XMLSchema-instance'>"
          "<val _XMLSchema-instance:type='VirtualDisk'/>"
          "<val _XMLSchema-instance:type='xsd:string' type='x'>text</val>"
          "<val xmlns:xsi='urn:other' xsi:type='wrong'/></a>");
    const struct xml_node *val = xml_child(root, "val");

    assert_string_equal(val->xsi_type, "VirtualDisk");
    assert_null(val->type);
    val = xml_next(val);
    assert_string_equal(val->xsi_type, "string");
    assert_string_equal(val->type, "x");
    assert_string_equal(val->text, "text");
    val = xml_next(val);
    assert_null(val->xsi_type);
    assert_null(val->type);
}

static void
entities_cdata_and_blanks_are_text(void **state)
{
    PARSE("<a>\n  <b>x &amp; &lt;y&gt; &#228;</b>\n <c><![CDATA[<raw>]]></c><d>  </d></a>");

    assert_string_equal(root->text, "");
    assert_string_equal(xml_child_text(root, "b"), "x & <y> \xc3\xa4");
    assert_string_equal(xml_child_text(root, "c"), "<raw>");
    assert_string_equal(xml_child_text(root, "d"), "  ");
    assert_null(xml_child_text(root, "e"));
    assert_null(xml_path(root, "b", "c", NULL));
}

static void
a_doctype_is_refused(void **state)
{
    refuse("<!DOCTYPE a [<!ENTITY b 'cc'>]><a>&b;</a>", E_VSPHERE_PROTOCOL, "DOCTYPE");
    refuse("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", E_VSPHERE_PROTOCOL, "DOCTYPE");
}

static void
what_is_no_xml_is_refused(void **state)
{
    refuse("", E_VSPHERE_PROTOCOL, "");
    refuse("<html><p>Service Unavailable</html>", E_VSPHERE_PROTOCOL, "no XML: line 1");
    refuse("<a><b>", E_VSPHERE_PROTOCOL, "");
    refuse("<a>&nbsp;</a>", E_VSPHERE_PROTOCOL, "nbsp");
    refuse("<a>\xff\xfe</a>", E_VSPHERE_PROTOCOL, "");
    refuse("<a/><b/>", E_VSPHERE_PROTOCOL, "");
}

static void
depth_is_bounded(void **state)
{
    CLEANUP(str_done) struct str deep = STR_INIT(1 << 20);

    for (int i = 0; i < 200; i++)
        str_append(&deep, "<a>");
    refuse(str_text(&deep), E_LIMIT, "too deeply");
}

static void
the_size_of_a_tree_is_bounded(void **state)
{
    CLEANUP(xml_parser_freep) struct xml_parser *parser = xml_parser_new(NULL, NULL, NULL);
    CLEANUP(err_freep) struct err *err = NULL;
    int rc = xml_parser_feed(parser, "<a>", 3, &err);

    for (int i = 0; rc == 0 && i < 10000000; i++)
        rc = xml_parser_feed(parser, "<b/>", 4, &err);
    assert_int_equal(rc, -1);
    assert_err_says(&err, E_LIMIT, "more than we accept");
}

static int
count_items(void *opaque, const struct xml_node *node, struct err **err)
{
    unsigned *count = opaque;
    char expected[16];

    snprintf(expected, sizeof(expected), "%u", *count);
    assert_string_equal(xml_child_text(node, "n"), expected);
    (*count)++;
    return *count == 300000 ? err_set(err, E_CANCELLED, "that many") : 0;
}

static void
streamed_elements_are_handed_over_and_forgotten(void **state)
{
    unsigned count = 0;
    CLEANUP(xml_parser_freep)
    struct xml_parser *parser = xml_parser_new("item", count_items, &count);
    CLEANUP(err_freep) struct err *err = NULL;
    const struct xml_node *root;
    char text[64];

    assert_ok(xml_parser_feed(parser, "<a><first>1</first>", 19, &err), &err);
    /* All together they are beyond the bound of one tree. */
    for (unsigned i = 0; i < 200000; i++) {
        int length = snprintf(text, sizeof(text), "<item><n>%u</n><x>y</x></item>", i);

        assert_ok(xml_parser_feed(parser, text, (size_t)length, &err), &err);
    }
    assert_ok(xml_parser_feed(parser, "<last>2</last></a>", 18, &err), &err);
    assert_ok(xml_parser_finish(parser, &root, &err), &err);
    assert_int_equal(count, 200000);
    assert_string_equal(xml_child_text(root, "first"), "1");
    assert_string_equal(xml_child_text(root, "last"), "2");
    assert_null(xml_child(root, "item"));
}

static void
the_error_of_a_stream_reader_ends_the_document(void **state)
{
    unsigned count = 299999;
    const char text[] = "<a><item><n>299999</n></item><item><n>300000</n></item></a>";
    CLEANUP(xml_parser_freep)
    struct xml_parser *parser = xml_parser_new("item", count_items, &count);
    CLEANUP(err_freep) struct err *err = NULL;

    assert_int_equal(xml_parser_feed(parser, text, strlen(text), &err), -1);
    assert_err_says(&err, E_CANCELLED, "that many");
    assert_int_equal(count, 300000);
}

static void
numbers_are_checked(void **state)
{
    CLEANUP(err_freep) struct err *number_err = NULL;
    int64_t value = 7;

    PARSE("<a><ok>-12</ok><big>99999999999999999999</big><word>12x</word><none/></a>");
    assert_ok(xml_child_int(root, "ok", -20, 20, &value, &number_err), &number_err);
    assert_int_equal(value, -12);
    assert_int_equal(xml_child_int(root, "ok", 0, 20, &value, &number_err), -1);
    assert_err(&number_err, E_VSPHERE_PROTOCOL);
    assert_int_equal(xml_child_int(root, "big", 0, INT64_MAX, &value, &number_err), -1);
    assert_err(&number_err, E_VSPHERE_PROTOCOL);
    assert_int_equal(xml_child_int(root, "word", 0, 20, &value, &number_err), -1);
    assert_err(&number_err, E_VSPHERE_PROTOCOL);
    assert_int_equal(xml_child_int(root, "none", 0, 20, &value, &number_err), -1);
    assert_err(&number_err, E_VSPHERE_PROTOCOL);
    assert_int_equal(xml_child_int(root, "absent", 0, 20, &value, &number_err), -1);
    assert_err_says(&number_err, E_VSPHERE_PROTOCOL, "has no <absent>");
    assert_int_equal(value, -12);
}

static void
text_is_escaped_so_that_it_comes_back(void **state)
{
    static const char hostile[] = "</name><x a=\"1\">&amp; ]]>\r\n\t' \xe2\x82\xac";
    CLEANUP(str_done) struct str s = STR_INIT(1000);

    str_append(&s, "<a>");
    xml_append_element(&s, "name", hostile);
    xml_append_element(&s, "nothing", NULL);
    xml_append_ref(&s, "ref", "VirtualMachine", "session[5]<&");
    str_append(&s, "</a>");
    {
        PARSE(str_text(&s));
        assert_string_equal(xml_child_text(root, "name"), hostile);
        assert_null(xml_child(root, "nothing"));
        assert_string_equal(xml_child(root, "ref")->type, "VirtualMachine");
        assert_string_equal(xml_child_text(root, "ref"), "session[5]<&");
    }
    assert_true(xml_is_text(hostile));
    assert_false(xml_is_text("bell \a"));
    assert_false(xml_is_text("latin \xe4"));
}

static int
read_all(void *opaque, const struct xml_node *node, struct err **err)
{
    unsigned *nodes = opaque;

    (*nodes)++;
    for (const struct xml_node *c = node->first_child; c; c = c->next)
        read_all(opaque, c, err);
    return strlen(node->text) + strlen(node->name) > 1000000 ? -1 : 0;
}

static void
broken_answers_neither_crash_nor_hang(void **state)
{
    CLEANUP(free_charp) char *whole = NULL;
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(err_freep) struct err *file_err = NULL;
    unsigned nodes = 0, good = 0, bad = 0;
    uint32_t seed = 20260101;
    int64_t started = clock_monotonic_ms();
    size_t whole_length;

    assert_ok(file_read(DATA_DIR "/read_vm.xml", 1 << 20, &whole, &whole_length, &file_err),
              &file_err);
    text = xcalloc(1, whole_length);
    for (int i = 0; i < MUTATIONS; i++) {
        CLEANUP(xml_parser_freep)
        struct xml_parser *parser = xml_parser_new(i % 2 ? "objects" : NULL, read_all, &nodes);
        CLEANUP(err_freep) struct err *err = NULL;
        const struct xml_node *root = NULL;
        size_t length, at = 0;
        int rc = 0;

        memcpy(text, whole, whole_length);
        length = mutate(text, whole_length, &seed);
        while (rc == 0 && at < length) {
            size_t piece = 1 + mutate_random(&seed) % 4000;

            piece = MIN(piece, length - at);
            rc = xml_parser_feed(parser, text + at, piece, &err);
            at += piece;
        }
        if (rc == 0)
            rc = xml_parser_finish(parser, &root, &err);
        if (rc == 0)
            read_all(&nodes, root, NULL);
        assert_true(rc == 0 || err_code(err) != E_NONE);
        good += rc == 0;
        bad += rc < 0;
    }
    assert_true(good > MUTATIONS / 20);
    assert_true(bad > MUTATIONS / 20);
    assert_true(nodes > 1000);
    assert_true(clock_monotonic_ms() - started < 50000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_is_found_by_namespace_whatever_the_prefix),
        cmocka_unit_test(entities_cdata_and_blanks_are_text),
        cmocka_unit_test(a_doctype_is_refused),
        cmocka_unit_test(what_is_no_xml_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(the_size_of_a_tree_is_bounded),
        cmocka_unit_test(streamed_elements_are_handed_over_and_forgotten),
        cmocka_unit_test(the_error_of_a_stream_reader_ends_the_document),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(text_is_escaped_so_that_it_comes_back),
        cmocka_unit_test(broken_answers_neither_crash_nor_hang),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
