/* Documents from people and programs: YAML and JSON read into one tree with the place of every value,
 * and one strict decoder that turns the tree into structs and reports every problem, not the first.
 *
 * Bounds: DOC_MAX_BYTES of input, DOC_MAX_DEPTH levels, DOC_MAX_NODES values after aliases and merge
 * keys (`<<`) are expanded.  Duplicate keys are an error, and so is a second document.  YAML scalars are typed by the core schema (true/false,
 * numbers, null); what the decoder is asked for decides: a number where a string is wanted is taken
 * as it was written.
 *
 * Threading: no shared state. */
#ifndef V2C_BASE_DOC_H
#define V2C_BASE_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct err;
struct doc;  /* one file: owns its nodes */
struct node; /* one value in it: borrowed from the doc */

#define DOC_MAX_BYTES (4U * 1024 * 1024)
#define DOC_MAX_DEPTH 32
#define DOC_MAX_NODES 200000

/* JSON is read as the subset of YAML that it is.  @name is used in messages.  E_SYNTAX with
 * "name:line:column: ...", E_LIMIT. */
int doc_parse(const char *name, const char *text, size_t length, struct doc **ret_doc,
              struct err **err);
int doc_read(const char *path, struct doc **ret_doc, struct err **err);
void doc_free(struct doc *doc);
void doc_freep(struct doc **doc);
const struct node *doc_root(const struct doc *doc);

enum node_kind {
    NODE_NULL, /* "key:" with nothing */
    NODE_SCALAR,
    NODE_LIST,
    NODE_MAP,
};
enum node_kind node_kind(const struct node *node);
const char *node_text(const struct node *node); /* of a scalar, as written; "" for null */
size_t node_count(const struct node *node);     /* of a list or map */
const struct node *node_item(const struct node *node, size_t index);  /* list item or map value */
const char *node_key(const struct node *node, size_t index);          /* map key */
const struct node *node_get(const struct node *map, const char *key); /* NULL when absent */

/* Problems are collected as lines "file:line: key.path: what was expected". */
struct problems {
    struct str text;
    unsigned count;
    bool is_lenient; /* unknown keys are put into `warnings` instead */
    struct str warnings;
};
void problems_init(struct problems *problems, bool is_lenient);
void problems_done(struct problems *problems);
/* At @node, which may be NULL for the document as a whole. */
void problems_add(struct problems *problems, const struct node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for `warnings`: something is accepted, but not as it was written. */
void problems_warn(struct problems *problems, const struct node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* E_CONFIG with every line when there are any, else 0. */
int problems_check(const struct problems *problems, struct err **err);

/* Decoding.  Each takes the map (NULL is an empty one) and a key; an absent or null key leaves *value
 * alone and returns false; a wrong type adds a problem and returns false.  A string replaces the one
 * in *value (freed), is one line without control characters, and may be empty. */
bool node_decode_string(const struct node *map, const char *key, char **value,
                        struct problems *problems);
bool node_decode_int(const struct node *map, const char *key, int64_t min, int64_t max,
                     int64_t *value, struct problems *problems);
bool node_decode_bool(const struct node *map, const char *key, bool *value,
                      struct problems *problems);
/* One of @words (NULL terminated, compared without case); *value is its index. */
bool node_decode_word(const struct node *map, const char *key, const char *const *words, int *value,
                      struct problems *problems);
/* The value if it is a map (or list); anything else but null is a problem. */
const struct node *node_decode_map(const struct node *map, const char *key,
                                   struct problems *problems);
const struct node *node_decode_list(const struct node *map, const char *key,
                                    struct problems *problems);
/* Every key of @map must be one of @known (NULL terminated); the problem names the nearest known one. */
void node_check_keys(const struct node *map, const char *const *known, struct problems *problems);
/* "config.yaml:12: migration.readers", for messages of other rooms; the caller frees. */
char *node_place(const struct node *node);

#endif
