/* The tree behind doc.h, shared by the reader (doc.c) and the decoder (doc_decode.c). */
#ifndef V2C_BASE_DOC_TREE_H
#define V2C_BASE_DOC_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/doc.h"
#include "base/vec.h"

VEC_DECLARE(node_list, struct node *);
VEC_DECLARE(text_list, char *);

struct node {
    const struct doc *doc;
    enum node_kind kind;
    unsigned line, column;     /* from 1; of its key when it has one */
    const char *text;          /* scalar; borrowed from doc->texts */
    bool is_plain;             /* scalar written without quotes, so that it may be a number */
    const struct node *parent; /* NULL for the root */
    const char *key;           /* within a map; borrowed from doc->texts */
    bool is_merge;             /* its key is YAML's merge key, an unquoted << */
    size_t index;              /* within a list */
    struct node_list items;    /* of a list or map; borrowed from doc->nodes */
};

/* What an alias may stand for. */
struct anchor {
    const char *name; /* borrowed from doc->texts */
    const struct node *node;
};
VEC_DECLARE(anchor_list, struct anchor);

struct doc {
    char *name;
    struct node *root;
    struct node_list nodes; /* owned */
    struct text_list texts; /* owned; copies made for aliases share them */
};

#endif
