/* XML as vCenter sends it: a push parser over libxml2 that builds small trees, within bounds.
 *
 * libxml2's SAX2 push interface is used rather than xmlTextReader: libcurl pushes pieces of the body,
 * and so none of an answer is ever held as text.  A repeated element (<objects>, <changedArea>) can be
 * handed over when it ends and is then forgotten, so memory does not grow with the answer.
 *
 * Hostile input: no DTD (a DOCTYPE ends it), no external anything, bounds on depth, on the memory of
 * the tree and, in the network room, on bytes.  Internal to the room. */
#ifndef V2C_VSPHERE_XML_H
#define V2C_VSPHERE_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct err;

/* Attributes other than these two, namespaces and comments are not kept. */
struct xml_node {
    const char *name;     /* local name */
    const char *text;     /* of the element itself, its children's left out; never NULL */
    const char *xsi_type; /* xsi:type without its prefix, or NULL */
    const char *type;     /* plain attribute `type`, of an object reference, or NULL */
    struct xml_node *parent, *first_child, *last_child, *next;
};

/* Called with every <element> of that name when it has ended; the tree below it is valid only
 * during the call. */
typedef int (*xml_stream_fn)(void *opaque, const struct xml_node *node, struct err **err);

struct xml_parser;
/* @stream NULL: the whole tree is kept. */
struct xml_parser *xml_parser_new(const char *stream, xml_stream_fn on_stream, void *opaque);
void xml_parser_free(struct xml_parser *parser);
void xml_parser_freep(struct xml_parser **parser);
/* E_VSPHERE_PROTOCOL when it is no XML, E_LIMIT over a bound, or what on_stream failed with.  After
 * a failure nothing more may be fed. */
int xml_parser_feed(struct xml_parser *parser, const void *data, size_t length, struct err **err);
/* Ends the document.  *ret_root is borrowed from the parser. */
int xml_parser_finish(struct xml_parser *parser, const struct xml_node **ret_root,
                      struct err **err);

/* The first child of that name, or NULL; @node may be NULL. */
const struct xml_node *xml_child(const struct xml_node *node, const char *name);
/* The next one of the same name. */
const struct xml_node *xml_next(const struct xml_node *node);
/* Down several levels: xml_path(node, "a", "b", NULL). */
const struct xml_node *xml_path(const struct xml_node *node, ...) __attribute__((sentinel));
/* Text of a child; NULL when there is none. */
const char *xml_child_text(const struct xml_node *node, const char *name);
bool xml_is_type(const struct xml_node *node, const char *xsi_type);
/* "true" or "1". */
bool xml_is_true(const struct xml_node *node);
bool xml_child_is_true(const struct xml_node *node, const char *name);
/* A decimal number within bounds; E_VSPHERE_PROTOCOL when it is absent or none. */
int xml_child_int(const struct xml_node *node, const char *name, int64_t min, int64_t max,
                  int64_t *ret_value, struct err **err);

/* Appends @text as character data. */
void xml_append_text(struct str *s, const char *text);
/* Appends <name>text</name>; nothing for a NULL text. */
void xml_append_element(struct str *s, const char *name, const char *text);
/* Appends <name type="type">moref</name>. */
void xml_append_ref(struct str *s, const char *name, const char *type, const char *moref);
/* Whether @text can be written in XML at all: UTF-8 without control characters. */
bool xml_is_text(const char *text);

#endif
