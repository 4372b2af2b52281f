/* What a vCenter may answer: the same bytes in pieces of any size give the same verdict. */
#include "vsphere/xml.h"
#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"

static size_t
walk(const struct xml_node *node, const struct xml_node *parent)
{
    size_t count = 1;
    int64_t number;

    MUST(node->name && node->text && node->parent == parent);
    for (const struct xml_node *c = node->first_child; c; c = c->next) {
        MUST(xml_child(node, c->name));
        if (xml_child_int(node, c->name, -100, 100, &number, NULL) == 0)
            MUST(number >= -100 && number <= 100);
        (void)xml_child_is_true(node, c->name);
        (void)xml_is_type(c, "ManagedObjectReference");
        if (!c->next)
            MUST(node->last_child == c);
        count += walk(c, node);
    }
    return count;
}

static int
on_item(void *opaque, const struct xml_node *node, struct err **err)
{
    size_t *items = opaque;

    MUST(!strcmp(node->name, "a"));
    (void)walk(node, node->parent);
    (*items)++;
    return 0;
}

/* 0 accepted, else the error's code; *ret_count is of nodes or of items. */
static enum err_code
parse(const uint8_t *data, size_t size, size_t piece, bool is_stream, size_t *ret_count)
{
    CLEANUP(err_freep) struct err *err = NULL;
    size_t items = 0;
    CLEANUP(xml_parser_freep)
    struct xml_parser *parser =
        is_stream ? xml_parser_new("a", on_item, &items) : xml_parser_new(NULL, NULL, NULL);
    const struct xml_node *root = NULL;

    for (size_t at = 0; at < size; at += piece)
        if (xml_parser_feed(parser, data + at, MIN(piece, size - at), &err) < 0)
            return err_code(err);
    if (xml_parser_finish(parser, &root, &err) < 0)
        return err_code(err);
    *ret_count = is_stream ? items : walk(root, NULL);
    return E_NONE;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t whole_count = 0, piece_count = 0;
    enum err_code whole, pieces;
    bool is_stream;

    if (size < 2)
        return 0;
    is_stream = data[0] & 1;
    whole = parse(data + 1, size - 1, size, is_stream, &whole_count);
    pieces = parse(data + 1, size - 1, (data[0] >> 1) + 1U, is_stream, &piece_count);
    MUST((whole == E_NONE) == (pieces == E_NONE));
    MUST(whole != E_NONE || whole_count == piece_count);
    return 0;
}
