#include "vsphere/value.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "base/vec.h"

struct field {
    char *name, *type; /* of one item, when it is a list */
    bool is_optional, is_list;
};

struct schema {
    const char *type, *text;
    VEC_DECLARE(, struct field)
    fields;
};

static struct schema SCHEMAS[] = {
#define SCHEMA(name, text) {name, text, {0}},
#include "vsphere/schema.def"
#undef SCHEMA
};

enum kind {
    SIMPLE,
    REF,
    OBJECT,
    LIST,
};

struct value {
    enum kind kind;
    char type[64]; /* of one item, for a list */
    char *text;    /* SIMPLE: unescaped; REF: the moref */
    const struct schema *schema;
    VEC_DECLARE(, struct value *)
    items; /* OBJECT: one slot a field; LIST: the items */
};

/* ---- schema ----------------------------------------------------------------------------------- */

static void
parse_schema(struct schema *schema)
{
    CLEANUP(free_charp) char *text = xstrdup(schema->text);
    char *save = NULL;

    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *colon = strchr(word, ':');
        size_t length = strlen(word);
        struct field field = {0};

        *colon = '\0';
        if (word[length - 1] == ']') {
            field.is_list = true;
            word[length - 2] = '\0';
        }
        if (colon[-1] == '?') {
            field.is_optional = true;
            colon[-1] = '\0';
        }
        field.name = xstrdup(word);
        field.type = xstrdup(colon + 1);
        vec_push(&schema->fields, field);
    }
}

static void
parse_schemas(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(SCHEMAS); i++)
        parse_schema(&SCHEMAS[i]);
}

static const struct schema *
find_schema(const char *type)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, parse_schemas);
    for (size_t i = 0; i < ARRAY_SIZE(SCHEMAS); i++)
        if (!strcmp(SCHEMAS[i].type, type))
            return &SCHEMAS[i];
    return NULL;
}

static int
find_field(const struct schema *schema, const char *name, size_t length)
{
    for (size_t i = 0; schema && i < schema->fields.count; i++)
        if (strlen(schema->fields.items[i].name) == length &&
            !memcmp(schema->fields.items[i].name, name, length))
            return (int)i;
    return -1;
}

bool
value_schema_has(const char *type, const char *path)
{
    return find_field(find_schema(type), path, strcspn(path, ".")) >= 0;
}

const char *
value_schema_field(const char *type, unsigned index)
{
    const struct schema *schema = find_schema(type);

    return schema && index < schema->fields.count ? schema->fields.items[index].name : NULL;
}

/* ---- building --------------------------------------------------------------------------------- */

static struct value *
make(enum kind kind, const char *type, char *text)
{
    struct value *value = xcalloc(1, sizeof(*value));

    value->kind = kind;
    (void)snprintf(value->type, sizeof(value->type), "%s", type);
    value->text = text;
    return value;
}

struct value *
value_string(const char *text)
{
    return make(SIMPLE, "string", xstrdup(text));
}

struct value *
value_stringf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    return make(SIMPLE, "string", text);
}

struct value *
value_int(int64_t number)
{
    return make(SIMPLE, "int", xasprintf("%" PRId64, number));
}

struct value *
value_long(int64_t number)
{
    return make(SIMPLE, "long", xasprintf("%" PRId64, number));
}

struct value *
value_bool(bool fact)
{
    return make(SIMPLE, "boolean", xstrdup(fact ? "true" : "false"));
}

struct value *
value_time_ms(uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[32];

    gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return make(SIMPLE, "dateTime", xasprintf("%s.%03uZ", text, (unsigned)(wall_ms % 1000)));
}

struct value *
value_word(const char *type, const char *word)
{
    return make(SIMPLE, type, xstrdup(word));
}

struct value *
value_ref(const char *type, const char *moref)
{
    return make(REF, type, xstrdup(moref));
}

struct value *
value_object(const char *type)
{
    struct value *value = make(OBJECT, type, NULL);

    value->schema = find_schema(type);
    for (size_t i = 0; value->schema && i < value->schema->fields.count; i++)
        vec_push(&value->items, NULL);
    return value;
}

struct value *
value_list(const char *item_type)
{
    return make(LIST, item_type, NULL);
}

struct value *
value_copy(const struct value *value)
{
    struct value *copy = make(value->kind, value->type, xstrdup(value->text));

    copy->schema = value->schema;
    for (size_t i = 0; i < value->items.count; i++)
        vec_push(&copy->items, value->items.items[i] ? value_copy(value->items.items[i]) : NULL);
    return copy;
}

void
value_free(struct value *value)
{
    if (!value)
        return;
    for (size_t i = 0; i < value->items.count; i++)
        value_free(value->items.items[i]);
    vec_done(&value->items);
    free(value->text);
    free(value);
}

void
value_freep(struct value **value)
{
    value_free(*value);
}

void
value_set(struct value *object, const char *field, struct value *value)
{
    int index = find_field(object->schema, field, strlen(field));

    if (index < 0) {
        fprintf(stderr, "v2c-lab: %s has no field %s in schema.def\n", object->type, field);
        abort();
    }
    value_free(object->items.items[index]);
    object->items.items[index] = value;
}

void
value_add(struct value *list, struct value *item)
{
    vec_push(&list->items, item);
}

/* ---- reading ---------------------------------------------------------------------------------- */

const struct value *
value_at(const struct value *value, const char *path, bool *ret_is_wrong)
{
    *ret_is_wrong = false;
    while (value && *path) {
        size_t length = strcspn(path, ".");
        int index = -1;

        if (value->kind == OBJECT)
            index = find_field(value->schema, path, length);
        if (index < 0) {
            *ret_is_wrong = true;
            return NULL;
        }
        value = value->items.items[index];
        path += length + (path[length] == '.');
    }
    return value;
}

void
value_each_ref(const struct value *value,
               void (*fn)(void *opaque, const char *type, const char *moref), void *opaque)
{
    if (!value)
        return;
    if (value->kind == REF)
        fn(opaque, value->type, value->text);
    for (size_t i = 0; value->kind == LIST && i < value->items.count; i++)
        value_each_ref(value->items.items[i], fn, opaque);
}

/* ---- writing ---------------------------------------------------------------------------------- */

void
value_write_text(struct str *out, const char *text)
{
    for (; *text; text++) {
        size_t plain = strcspn(text, "<>&\"");

        for (size_t i = 0; i < plain; i++) {
            unsigned char c = (unsigned char)text[i];

            /* XML 1.0 cannot carry them at all */
            str_append_bytes(out, c < 32 && !strchr("\t\n\r", c) ? "?" : text + i, 1);
        }
        text += plain;
        if (!*text)
            return;
        str_append(out, *text == '<'   ? "&lt;"
                        : *text == '>' ? "&gt;"
                        : *text == '&' ? "&amp;"
                                       : "&quot;");
    }
}

static bool
is_xsd(const char *type)
{
    static const char *const XSD[] = {"string", "int",    "long",  "boolean",
                                      "short",  "double", "float", "dateTime"};

    for (size_t i = 0; i < ARRAY_SIZE(XSD); i++)
        if (!strcmp(XSD[i], type))
            return true;
    return false;
}

/* Lists of references and of names are told by these, whatever the items' own types are. */
static void
write_array(struct str *out, const char *element, const struct value *list)
{
    const char *item = list->type;

    str_appendf(out, "<%s xsi:type=\"ArrayOf%c%s\">", element,
                item[0] >= 'a' && item[0] <= 'z' ? item[0] - 'a' + 'A' : item[0], item + 1);
    for (size_t i = 0; i < list->items.count; i++)
        value_write(out, item, item, list->items.items[i]);
    str_appendf(out, "</%s>", element);
}

/* A field that must be there and was not set gets the empty value of its type. */
static void
write_missing(struct str *out, const struct field *field)
{
    const char *text = NULL;

    if (field->is_optional || field->is_list)
        return;
    if (!strcmp(field->type, "boolean"))
        text = "false";
    else if (!strcmp(field->type, "string"))
        text = "";
    else if (!strcmp(field->type, "dateTime"))
        text = "1970-01-01T00:00:00Z";
    else if (is_xsd(field->type))
        text = "0";
    if (text)
        str_appendf(out, "<%s>%s</%s>", field->name, text, field->name);
}

void
value_write(struct str *out, const char *element, const char *declared, const struct value *value)
{
    bool is_told = strcmp(declared, value->type) != 0;

    if (value->kind == LIST) {
        if (!strcmp(declared, "anyType")) {
            write_array(out, element, value);
            return;
        }
        for (size_t i = 0; i < value->items.count; i++)
            value_write(out, element, declared, value->items.items[i]);
        return;
    }
    str_appendf(out, "<%s", element);
    if (value->kind == REF) {
        str_appendf(out, " type=\"%s\"", value->type);
        if (strcmp(declared, "ManagedObjectReference") != 0)
            str_append(out, " xsi:type=\"ManagedObjectReference\"");
    } else if (is_told) {
        str_appendf(out, " xsi:type=\"%s%s\"", is_xsd(value->type) ? "xsd:" : "", value->type);
    }
    str_append(out, ">");
    if (value->text)
        value_write_text(out, value->text);
    if (value->kind == OBJECT)
        value_write_inside(out, value);
    str_appendf(out, "</%s>", element);
}

void
value_write_inside(struct str *out, const struct value *object)
{
    for (size_t i = 0; i < object->items.count; i++) {
        const struct field *field = &object->schema->fields.items[i];

        if (object->items.items[i])
            value_write(out, field->name, field->type, object->items.items[i]);
        else
            write_missing(out, field);
    }
}
