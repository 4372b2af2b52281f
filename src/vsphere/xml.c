#include "vsphere/xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <libxml/xmlstring.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define XSI_NAMESPACE  "http://www.w3.org/2001/XMLSchema-instance"

/* A snapshot tree nests 32 levels below a handful of others; nothing else comes near. */
#define MAX_DEPTH      100
/* Of one tree: a VM with a thousand devices is far below. */
#define MAX_TREE_BYTES (64 * MIB)
#define CHUNK_BYTES    (64 * KIB)

struct chunk {
    struct chunk *previous;
    size_t used, size;
    _Alignas(max_align_t) char data[];
};

/* Where the arena stood: everything taken later can be given back at once. */
struct mark {
    struct chunk *chunk;
    size_t used, total;
};

struct xml_parser {
    xmlSAXHandler sax;
    xmlParserCtxtPtr context;
    struct chunk *chunks; /* the newest first */
    size_t total;         /* bytes in all chunks that are in use */
    struct xml_node *root, *current;
    unsigned depth;
    struct str text[MAX_DEPTH]; /* of the open elements, outermost first */

    const char *stream;
    xml_stream_fn on_stream;
    void *opaque;
    const struct xml_node *streamed; /* the open element that will be handed over */
    struct mark before_streamed;

    struct err *error;
};

static void
fail(struct xml_parser *parser, enum err_code code, const char *text)
{
    if (!parser->error)
        err_set(&parser->error, code, "%s", text);
    xmlStopParser(parser->context);
}

/* ---- the tree's memory ---- */

static void *
arena_take(struct xml_parser *parser, size_t size)
{
    struct chunk *chunk = parser->chunks;

    size = round_up(size, _Alignof(max_align_t));
    if (!chunk || size > chunk->size - chunk->used) {
        size_t room = MAX(size, CHUNK_BYTES);

        chunk = xrealloc(NULL, 1, sizeof(*chunk) + room);
        chunk->used = 0;
        chunk->size = room;
        chunk->previous = parser->chunks;
        parser->chunks = chunk;
    }
    chunk->used += size;
    parser->total += size;
    return memset(chunk->data + chunk->used - size, 0, size);
}

static struct mark
arena_mark(const struct xml_parser *parser)
{
    return (struct mark){parser->chunks, parser->chunks ? parser->chunks->used : 0, parser->total};
}

static void
arena_return(struct xml_parser *parser, struct mark mark)
{
    while (parser->chunks != mark.chunk) {
        struct chunk *chunk = parser->chunks;

        parser->chunks = chunk->previous;
        free(chunk);
    }
    if (mark.chunk)
        mark.chunk->used = mark.used;
    parser->total = mark.total;
}

static const char *
arena_text(struct xml_parser *parser, const char *text, size_t length)
{
    char *copy;

    if (!length)
        return "";
    copy = arena_take(parser, length + 1);
    memcpy(copy, text, length);
    return copy;
}

/* ---- libxml2's callbacks ---- */

static void
on_doctype(void *opaque, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    fail(opaque, E_VSPHERE_PROTOCOL, "the answer has a DOCTYPE");
}

/* @attributes is five pointers each: local name, prefix, namespace, value, end of value. */
static void
keep_attributes(struct xml_parser *parser, struct xml_node *node, int count,
                const xmlChar **attributes)
{
    for (int i = 0; i < count; i++, attributes += 5) {
        const char *uri = (const char *)attributes[2], *value = (const char *)attributes[3];
        const char *end = (const char *)attributes[4];
        const char *colon;

        if (strcmp((const char *)attributes[0], "type") != 0)
            continue;
        if (!uri) {
            node->type = arena_text(parser, value, (size_t)(end - value));
        } else if (!strcmp(uri, XSI_NAMESPACE)) {
            colon = memchr(value, ':', (size_t)(end - value));
            value = colon ? colon + 1 : value;
            node->xsi_type = arena_text(parser, value, (size_t)(end - value));
        }
    }
}

static void
on_start(void *opaque, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
         int namespace_count, const xmlChar **namespaces, int attribute_count, int default_count,
         const xmlChar **attributes)
{
    struct xml_parser *parser = opaque;
    const char *local = (const char *)name;
    struct xml_node *node;

    if (parser->error)
        return;
    if (parser->depth == MAX_DEPTH) {
        fail(parser, E_LIMIT, "the answer is nested too deeply");
        return;
    }
    if (parser->stream && !parser->streamed && !strcmp(local, parser->stream))
        parser->before_streamed = arena_mark(parser);
    node = arena_take(parser, sizeof(*node));
    if (parser->stream && !parser->streamed && !strcmp(local, parser->stream))
        parser->streamed = node;
    node->name = arena_text(parser, local, strlen(local));
    node->text = "";
    keep_attributes(parser, node, attribute_count, attributes);
    node->parent = parser->current;
    if (!parser->root)
        parser->root = node;
    /* A streamed element is no child of its parent, which outlives it. */
    if (node->parent && node != parser->streamed) {
        if (node->parent->last_child)
            node->parent->last_child->next = node;
        else
            node->parent->first_child = node;
        node->parent->last_child = node;
    }
    parser->current = node;
    str_clear(&parser->text[parser->depth]);
    parser->depth++;
    if (parser->total > MAX_TREE_BYTES)
        fail(parser, E_LIMIT, "the answer holds more than we accept");
}

static void
on_text(void *opaque, const xmlChar *text, int length)
{
    struct xml_parser *parser = opaque;
    struct str *to;

    if (parser->error || !parser->depth)
        return;
    to = &parser->text[parser->depth - 1];
    str_append_bytes(to, text, (size_t)length);
    if (to->is_over)
        fail(parser, E_LIMIT, "a text in the answer is longer than we accept");
}

static void
hand_over(struct xml_parser *parser, const struct xml_node *node)
{
    parser->streamed = NULL;
    if (parser->root == node) /* an answer that is nothing but the element: keep it */
        return;
    if (parser->on_stream(parser->opaque, node, &parser->error) < 0)
        xmlStopParser(parser->context);
    arena_return(parser, parser->before_streamed);
}

static bool
is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

static void
on_end(void *opaque, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct xml_parser *parser = opaque;
    struct xml_node *node = parser->current;
    const struct str *text;

    if (parser->error || !node)
        return;
    text = &parser->text[--parser->depth];
    /* Line breaks between children are nobody's text. */
    if (!node->first_child || !is_blank(str_text(text)))
        node->text = arena_text(parser, str_text(text), text->length);
    parser->current = node->parent;
    if (node == parser->streamed)
        hand_over(parser, node);
}

#if LIBXML_VERSION >= 21200
typedef const xmlError *problem_ptr;
#else
typedef xmlErrorPtr problem_ptr;
#endif

static void
on_error(void *opaque, problem_ptr problem)
{
    struct xml_parser *parser = opaque;
    size_t length;

    if (parser->error || problem->level < XML_ERR_ERROR)
        return;
    length = problem->message ? strcspn(problem->message, "\r\n") : 0;
    err_set(&parser->error, E_VSPHERE_PROTOCOL, "the answer is no XML: line %d: %.*s",
            problem->line, (int)MIN(length, 200), length ? problem->message : "");
}

/* ---- the parser ---- */

struct xml_parser *
xml_parser_new(const char *stream, xml_stream_fn on_stream, void *opaque)
{
    struct xml_parser *parser = xcalloc(1, sizeof(*parser));

    parser->stream = stream;
    parser->on_stream = on_stream;
    parser->opaque = opaque;
    for (size_t i = 0; i < MAX_DEPTH; i++)
        parser->text[i] = STR_INIT(MAX_TREE_BYTES / 8);
    parser->sax.initialized = XML_SAX2_MAGIC;
    parser->sax.internalSubset = on_doctype;
    parser->sax.startElementNs = on_start;
    parser->sax.endElementNs = on_end;
    parser->sax.characters = on_text;
    parser->sax.ignorableWhitespace = on_text;
    parser->sax.cdataBlock = on_text;
    parser->sax.serror = on_error;
    parser->context = xmlCreatePushParserCtxt(&parser->sax, parser, NULL, 0, NULL);
    if (!parser->context)
        abort();
    xmlCtxtUseOptions(parser->context, XML_PARSE_NONET);
    return parser;
}

void
xml_parser_free(struct xml_parser *parser)
{
    if (!parser)
        return;
    if (parser->context->myDoc)
        xmlFreeDoc(parser->context->myDoc);
    xmlFreeParserCtxt(parser->context);
    arena_return(parser, (struct mark){0});
    for (size_t i = 0; i < MAX_DEPTH; i++)
        str_done(&parser->text[i]);
    err_free(parser->error);
    free(parser);
}

void
xml_parser_freep(struct xml_parser **parser)
{
    xml_parser_free(*parser);
    *parser = NULL;
}

static int
check(struct xml_parser *parser, int code, struct err **err)
{
    if (!parser->error && code != XML_ERR_OK)
        err_set(&parser->error, E_VSPHERE_PROTOCOL, "the answer is no XML (libxml2 error %d)",
                code);
    if (!parser->error)
        return 0;
    return err_move(err, &parser->error);
}

int
xml_parser_feed(struct xml_parser *parser, const void *data, size_t length, struct err **err)
{
    const char *bytes = data;

    while (length) {
        int piece = (int)MIN(length, CHUNK_BYTES);
        int code = xmlParseChunk(parser->context, bytes, piece, 0);

        if (check(parser, code, err) < 0)
            return -1;
        bytes += piece;
        length -= (size_t)piece;
    }
    return 0;
}

int
xml_parser_finish(struct xml_parser *parser, const struct xml_node **ret_root, struct err **err)
{
    if (check(parser, xmlParseChunk(parser->context, NULL, 0, 1), err) < 0)
        return -1;
    if (!parser->context->wellFormed || !parser->root || parser->depth)
        return err_set(err, E_VSPHERE_PROTOCOL, "the answer ends too early");
    *ret_root = parser->root;
    return 0;
}

/* ---- reading a tree ---- */

const struct xml_node *
xml_child(const struct xml_node *node, const char *name)
{
    for (const struct xml_node *c = node ? node->first_child : NULL; c; c = c->next)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

const struct xml_node *
xml_next(const struct xml_node *node)
{
    for (const struct xml_node *n = node->next; n; n = n->next)
        if (!strcmp(n->name, node->name))
            return n;
    return NULL;
}

const struct xml_node *
xml_path(const struct xml_node *node, ...)
{
    va_list args;
    const char *name;

    va_start(args, node);
    while (node && (name = va_arg(args, const char *)))
        node = xml_child(node, name);
    va_end(args);
    return node;
}

const char *
xml_child_text(const struct xml_node *node, const char *name)
{
    const struct xml_node *child = xml_child(node, name);

    return child ? child->text : NULL;
}

bool
xml_is_type(const struct xml_node *node, const char *xsi_type)
{
    return node && node->xsi_type && !strcmp(node->xsi_type, xsi_type);
}

bool
xml_is_true(const struct xml_node *node)
{
    return node && (!strcmp(node->text, "true") || !strcmp(node->text, "1"));
}

bool
xml_child_is_true(const struct xml_node *node, const char *name)
{
    return xml_is_true(xml_child(node, name));
}

int
xml_child_int(const struct xml_node *node, const char *name, int64_t min, int64_t max,
              int64_t *ret_value, struct err **err)
{
    const char *text = xml_child_text(node, name);
    long long value;
    char *end;

    if (!text)
        return err_set(err, E_VSPHERE_PROTOCOL, "<%s> has no <%s>", node ? node->name : "", name);
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max)
        return err_set(err, E_VSPHERE_PROTOCOL, "<%s> \"%.40s\" is no number from %lld to %lld",
                       name, text, (long long)min, (long long)max);
    *ret_value = value;
    return 0;
}

/* ---- writing ---- */

void
xml_append_text(struct str *s, const char *text)
{
    for (const char *p = text; *p; p++) {
        switch (*p) {
        case '&':
            str_append(s, "&amp;");
            break;
        case '<':
            str_append(s, "&lt;");
            break;
        case '>':
            str_append(s, "&gt;");
            break;
        case '"':
            str_append(s, "&quot;");
            break;
        case '\r': /* else it would arrive as a line feed */
            str_append(s, "&#13;");
            break;
        default:
            str_append_bytes(s, p, 1);
        }
    }
}

void
xml_append_element(struct str *s, const char *name, const char *text)
{
    if (!text)
        return;
    str_appendf(s, "<%s>", name);
    xml_append_text(s, text);
    str_appendf(s, "</%s>", name);
}

void
xml_append_ref(struct str *s, const char *name, const char *type, const char *moref)
{
    str_appendf(s, "<%s type=\"%s\">", name, type);
    xml_append_text(s, moref);
    str_appendf(s, "</%s>", name);
}

bool
xml_is_text(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 && !strchr("\t\r\n", *p))
            return false;
    return xmlCheckUTF8((const xmlChar *)text);
}
