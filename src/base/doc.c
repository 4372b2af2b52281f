#include "base/doc.h"

#include <string.h>
#include <yaml.h>

#include "base/doc_tree.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"

/* Keys and anchors are found by walking, so their number is bounded too. */
#define MAX_KEYS    1000
#define MAX_ANCHORS 1000

/* A list or map whose end has not been seen yet. */
struct frame {
    struct node *node;
    const char *anchor; /* NULL when it has none */
    const char *key;    /* of a map: the key whose value comes next; NULL when a key comes next */
    bool is_key_plain;
    yaml_mark_t key_mark;
};

struct reader {
    yaml_parser_t yaml;
    struct doc *doc;
    struct frame frames[DOC_MAX_DEPTH];
    size_t depth;
    VEC_DECLARE(, struct anchor)
    anchors;
};

/* ---- the tree -------------------------------------------------------------------------------- */

void
doc_free(struct doc *doc)
{
    if (!doc)
        return;
    for (size_t i = 0; i < doc->nodes.count; i++) {
        vec_done(&doc->nodes.items[i]->items);
        free(doc->nodes.items[i]);
    }
    for (size_t i = 0; i < doc->texts.count; i++)
        free(doc->texts.items[i]);
    vec_done(&doc->nodes);
    vec_done(&doc->texts);
    free(doc->name);
    free(doc);
}

void
doc_freep(struct doc **doc)
{
    doc_free(*doc);
    *doc = NULL;
}

const struct node *
doc_root(const struct doc *doc)
{
    return doc->root;
}

enum node_kind
node_kind(const struct node *node)
{
    return node->kind;
}

const char *
node_text(const struct node *node)
{
    return node->text ? node->text : "";
}

size_t
node_count(const struct node *node)
{
    return node->items.count;
}

const struct node *
node_item(const struct node *node, size_t index)
{
    return index < node->items.count ? node->items.items[index] : NULL;
}

const char *
node_key(const struct node *node, size_t index)
{
    return index < node->items.count ? node->items.items[index]->key : NULL;
}

const struct node *
node_get(const struct node *map, const char *key)
{
    if (!map || map->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->items.count; i++)
        if (!strcmp(map->items.items[i]->key, key))
            return map->items.items[i];
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int
fail_at(const struct reader *reader, yaml_mark_t mark, enum err_code code, const char *what,
        struct err **err)
{
    return err_set(err, code, "%s:%zu:%zu: %s", reader->doc->name, mark.line + 1, mark.column + 1,
                   what);
}

static struct node *
new_node(struct reader *reader, enum node_kind kind, yaml_mark_t mark, struct err **err)
{
    struct node *node;

    if (reader->doc->nodes.count >= DOC_MAX_NODES) {
        fail_at(reader, mark, E_LIMIT, "the document has too many values", err);
        return NULL;
    }
    node = xcalloc(1, sizeof(*node));
    node->doc = reader->doc;
    node->kind = kind;
    node->line = (unsigned)mark.line + 1;
    node->column = (unsigned)mark.column + 1;
    vec_push(&reader->doc->nodes, node);
    return node;
}

static const char *
keep_text(struct reader *reader, const void *text, size_t length)
{
    char *copy = xcalloc(length + 1, 1);

    memcpy(copy, text, length);
    vec_push(&reader->doc->texts, copy);
    return copy;
}

static const char *
keep_anchor(struct reader *reader, const yaml_char_t *name)
{
    return name ? keep_text(reader, name, strlen((const char *)name)) : NULL;
}

static int
attach(struct reader *reader, struct node *parent, struct node *child, yaml_mark_t mark,
       struct err **err)
{
    child->parent = parent;
    if (parent->kind == NODE_MAP && parent->items.count >= MAX_KEYS)
        return fail_at(reader, mark, E_LIMIT, "a map has too many keys", err);
    child->index = parent->items.count;
    vec_push(&parent->items, child);
    return 0;
}

/* Puts a value where the stream stands: the root, the next item of a list, the value of a key. */
static int
place_node(struct reader *reader, struct node *node, yaml_mark_t mark, struct err **err)
{
    struct frame *frame = reader->depth ? &reader->frames[reader->depth - 1] : NULL;

    if (!frame) {
        reader->doc->root = node;
        return 0;
    }
    if (frame->node->kind == NODE_MAP) {
        if (!frame->key)
            return fail_at(reader, mark, E_SYNTAX, "a key must be plain text", err);
        node->key = take(frame->key);
        node->is_merge = frame->is_key_plain && !strcmp(node->key, "<<");
        node->line = (unsigned)frame->key_mark.line + 1;
        node->column = (unsigned)frame->key_mark.column + 1;
    }
    return attach(reader, frame->node, node, mark, err);
}

static int
keep_value_of_anchor(struct reader *reader, const char *name, const struct node *node,
                     yaml_mark_t mark, struct err **err)
{
    if (!name)
        return 0;
    if (reader->anchors.count >= MAX_ANCHORS)
        return fail_at(reader, mark, E_LIMIT, "the document has too many anchors", err);
    vec_push(&reader->anchors, ((struct anchor){name, node}));
    return 0;
}

/* Copies @from into @to, which has its kind, at @depth levels below the root. */
static int
copy_items(struct reader *reader, const struct node *from, struct node *to, size_t depth,
           yaml_mark_t mark, struct err **err)
{
    if (from->kind >= NODE_LIST && depth > DOC_MAX_DEPTH)
        return fail_at(reader, mark, E_LIMIT, "the document is nested too deeply", err);
    to->text = from->text;
    to->is_plain = from->is_plain;
    for (size_t i = 0; i < from->items.count; i++) {
        const struct node *item = from->items.items[i];
        struct node *copy = new_node(reader, item->kind, mark, err);

        if (!copy)
            return -1;
        copy->line = item->line;
        copy->column = item->column;
        copy->key = item->key;
        if (attach(reader, to, copy, mark, err) < 0 ||
            copy_items(reader, item, copy, depth + 1, mark, err) < 0)
            return -1;
    }
    return 0;
}

static int
read_alias(struct reader *reader, const yaml_event_t *event, struct err **err)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct node *from = NULL;
    struct node *node;

    for (size_t i = reader->anchors.count; i-- > 0 && !from;) /* the latest of that name */
        if (!strcmp(reader->anchors.items[i].name, name))
            from = reader->anchors.items[i].node;
    if (!from)
        return fail_at(reader, event->start_mark, E_SYNTAX,
                       "the alias names no anchor that is complete before it", err);
    node = new_node(reader, from->kind, event->start_mark, err);
    if (!node || place_node(reader, node, event->start_mark, err) < 0)
        return -1;
    return copy_items(reader, from, node, reader->depth + 1, event->start_mark, err);
}

static bool
is_core_tag(const char *tag, const char *const *words)
{
    static const char prefix[] = "tag:yaml.org,2002:";

    if (!strcmp(tag, "!"))
        return true;
    if (strncmp(tag, prefix, strlen(prefix)) != 0)
        return false;
    for (; *words; words++)
        if (!strcmp(tag + strlen(prefix), *words))
            return true;
    return false;
}

static bool
is_null_text(const char *text)
{
    return !*text || !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") ||
           !strcmp(text, "NULL");
}

static int
read_scalar(struct reader *reader, const yaml_event_t *event, struct err **err)
{
    static const char *const words[] = {"str", "int", "float", "bool", "null", NULL};
    struct frame *frame = reader->depth ? &reader->frames[reader->depth - 1] : NULL;
    const char *tag = (const char *)event->data.scalar.tag;
    size_t length = event->data.scalar.length;
    const char *text;
    struct node *node;

    if (memchr(event->data.scalar.value, '\0', length))
        return fail_at(reader, event->start_mark, E_SYNTAX, "text with a zero byte", err);
    if (tag && !is_core_tag(tag, words))
        return fail_at(reader, event->start_mark, E_SYNTAX, "an unknown tag", err);
    text = keep_text(reader, event->data.scalar.value, length);
    if (frame && frame->node->kind == NODE_MAP && !frame->key) {
        if (node_get(frame->node, text))
            return fail_at(reader, event->start_mark, E_SYNTAX, "this key is there already", err);
        frame->key = text;
        frame->key_mark = event->start_mark;
        frame->is_key_plain = event->data.scalar.plain_implicit;
        return 0;
    }
    node = new_node(reader, NODE_SCALAR, event->start_mark, err);
    if (!node)
        return -1;
    node->text = text;
    node->is_plain =
        event->data.scalar.plain_implicit || (tag && *tag != '!' && !strstr(tag, ":str"));
    if (event->data.scalar.plain_implicit && is_null_text(text))
        node->kind = NODE_NULL, node->text = NULL;
    if (place_node(reader, node, event->start_mark, err) < 0)
        return -1;
    return keep_value_of_anchor(reader, keep_anchor(reader, event->data.scalar.anchor), node,
                                event->start_mark, err);
}

static int
begin_collection(struct reader *reader, const yaml_event_t *event, struct err **err)
{
    static const char *const words[] = {"map", "seq", NULL};
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    const char *tag =
        (const char *)(is_map ? event->data.mapping_start.tag : event->data.sequence_start.tag);
    struct node *node;

    if (tag && !is_core_tag(tag, words))
        return fail_at(reader, event->start_mark, E_SYNTAX, "an unknown tag", err);
    if (reader->depth >= DOC_MAX_DEPTH)
        return fail_at(reader, event->start_mark, E_LIMIT, "the document is nested too deeply",
                       err);
    node = new_node(reader, is_map ? NODE_MAP : NODE_LIST, event->start_mark, err);
    if (!node || place_node(reader, node, event->start_mark, err) < 0)
        return -1;
    reader->frames[reader->depth++] = (struct frame){
        .node = node,
        .anchor = keep_anchor(reader, is_map ? event->data.mapping_start.anchor
                                             : event->data.sequence_start.anchor),
    };
    return 0;
}

/* Takes over the keys of @from that @map does not have itself. */
static int
merge_map(struct reader *reader, struct node *map, const struct node *from, yaml_mark_t mark,
          struct err **err)
{
    if (from->kind != NODE_MAP)
        return fail_at(reader, mark, E_SYNTAX, "the merge key << wants a map", err);
    for (size_t i = 0; i < from->items.count; i++) {
        const struct node *item = from->items.items[i];
        struct node *copy;

        if (node_get(map, item->key))
            continue;
        copy = new_node(reader, item->kind, mark, err);
        if (!copy)
            return -1;
        copy->line = item->line;
        copy->column = item->column;
        copy->key = item->key;
        if (attach(reader, map, copy, mark, err) < 0 ||
            copy_items(reader, item, copy, reader->depth + 2, mark, err) < 0)
            return -1;
    }
    return 0;
}

/* YAML's `<<: *alias` or `<<: [*a, *b]`, which many files use to share settings between VMs. */
static int
resolve_merge(struct reader *reader, struct node *map, yaml_mark_t mark, struct err **err)
{
    const struct node *value = NULL;
    size_t kept = 0;

    for (size_t i = 0; i < map->items.count; i++) {
        if (map->items.items[i]->is_merge)
            value = map->items.items[i];
        else
            map->items.items[kept++] = map->items.items[i];
    }
    map->items.count = kept;
    if (!value)
        return 0;
    if (value->kind != NODE_LIST)
        return merge_map(reader, map, value, mark, err);
    for (size_t i = 0; i < value->items.count; i++)
        if (merge_map(reader, map, value->items.items[i], mark, err) < 0)
            return -1;
    return 0;
}

static int
end_collection(struct reader *reader, const yaml_event_t *event, struct err **err)
{
    struct frame *frame = &reader->frames[--reader->depth];

    if (frame->node->kind == NODE_MAP &&
        resolve_merge(reader, frame->node, event->start_mark, err) < 0)
        return -1;
    return keep_value_of_anchor(reader, frame->anchor, frame->node, event->start_mark, err);
}

static int
read_event(struct reader *reader, const yaml_event_t *event, struct err **err)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return read_alias(reader, event, err);
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event, err);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return begin_collection(reader, event, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return end_collection(reader, event, err);
    case YAML_DOCUMENT_START_EVENT:
        if (!reader->doc->root)
            return 0;
        fail_at(reader, event->start_mark, E_SYNTAX, "a second document begins here", err);
        return err_hint(err, "put several VMs into the list `vms:` of one document");
    default:
        return 0;
    }
}

static bool
is_indented_with_tab(const char *text, size_t length, size_t line)
{
    const char *end = text + length;

    while (line > 0 && text < end)
        line -= *text++ == '\n';
    while (text < end && *text == ' ')
        text++;
    return text < end && *text == '\t';
}

static int
fail_syntax(const struct reader *reader, const char *text, size_t length, struct err **err)
{
    const yaml_parser_t *yaml = &reader->yaml;
    const char *problem = yaml->problem ? yaml->problem : "not readable";

    if (yaml->error == YAML_MEMORY_ERROR)
        return err_set(err, E_MEMORY, "%s: out of memory", reader->doc->name);
    if (yaml->error == YAML_READER_ERROR)
        return err_set(err, E_SYNTAX, "%s: %s (byte %zu)", reader->doc->name, problem,
                       yaml->problem_offset);
    fail_at(reader, yaml->problem_mark, E_SYNTAX, problem, err);
    if (is_indented_with_tab(text, length, yaml->problem_mark.line))
        err_hint(err, "indent with spaces, not with tabs");
    return -1;
}

static int
read_stream(struct reader *reader, const char *text, size_t length, struct err **err)
{
    bool is_end = false;
    int rc = 0;

    yaml_parser_set_encoding(&reader->yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->yaml, (const unsigned char *)text, length);
    while (!is_end && rc == 0) {
        yaml_event_t event;

        if (!yaml_parser_parse(&reader->yaml, &event))
            return fail_syntax(reader, text, length, err);
        is_end = event.type == YAML_STREAM_END_EVENT;
        rc = read_event(reader, &event, err);
        yaml_event_delete(&event);
    }
    return rc;
}

int
doc_parse(const char *name, const char *text, size_t length, struct doc **ret_doc, struct err **err)
{
    CLEANUP(doc_freep) struct doc *doc = xcalloc(1, sizeof(*doc));
    struct reader reader = {.doc = doc};
    int rc;

    doc->name = xstrdup(name);
    if (length > DOC_MAX_BYTES)
        return err_set(err, E_LIMIT, "%s is larger than %u bytes", name, DOC_MAX_BYTES);
    if (!yaml_parser_initialize(&reader.yaml))
        return err_set(err, E_MEMORY, "%s: out of memory", name);
    rc = read_stream(&reader, text, length, err);
    yaml_parser_delete(&reader.yaml);
    vec_done(&reader.anchors);
    if (rc < 0)
        return -1;
    if (!doc->root) /* an empty file is an empty document */
        doc->root = new_node(&reader, NODE_NULL, (yaml_mark_t){0}, NULL);
    *ret_doc = take(doc);
    return 0;
}

int
doc_read(const char *path, struct doc **ret_doc, struct err **err)
{
    CLEANUP(free_charp) char *text = NULL;
    size_t length;

    if (file_read(path, DOC_MAX_BYTES, &text, &length, err) < 0)
        return -1;
    return doc_parse(path, text, length, ret_doc, err);
}
