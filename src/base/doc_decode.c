#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/doc.h"
#include "base/doc_tree.h"
#include "base/err.h"
#include "base/util.h"

#define MAX_PROBLEM_BYTES ((size_t)64 * KIB)
#define MAX_QUOTED        60
#define MAX_KEY           64

/* ---- problems -------------------------------------------------------------------------------- */

void
problems_init(struct problems *problems, bool is_lenient)
{
    *problems = (struct problems){
        .text = STR_INIT(MAX_PROBLEM_BYTES),
        .is_lenient = is_lenient,
        .warnings = STR_INIT(MAX_PROBLEM_BYTES),
    };
}

void
problems_done(struct problems *problems)
{
    str_done(&problems->text);
    str_done(&problems->warnings);
}

/* Text of the document within a message: shortened, and without control characters. */
static void
append_quoted(struct str *s, const char *text)
{
    str_append(s, "\"");
    for (size_t i = 0; text[i] && i < MAX_QUOTED; i++) {
        char c = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];

        str_append_bytes(s, &c, 1);
    }
    str_append(s, strlen(text) > MAX_QUOTED ? "...\"" : "\"");
}

static bool
is_bare_key(const char *key)
{
    if (!*key || strlen(key) > MAX_KEY)
        return false;
    for (; *key; key++)
        if (!isalnum((unsigned char)*key) && !strchr("_-:<", *key))
            return false;
    return true;
}

static void
append_path(struct str *s, const struct node *node)
{
    if (!node->parent)
        return;
    append_path(s, node->parent);
    if (!node->key) {
        str_appendf(s, "[%zu]", node->index);
        return;
    }
    if (node->parent->parent)
        str_append(s, ".");
    if (is_bare_key(node->key))
        str_append(s, node->key);
    else
        append_quoted(s, node->key);
}

char *
node_place(const struct node *node)
{
    struct str place = STR_INIT(MAX_PROBLEM_BYTES);

    str_appendf(&place, "%s:%u", node->doc->name, node->line);
    if (node->parent)
        str_append(&place, ": ");
    append_path(&place, node);
    return str_take(&place);
}

static void
add_line(struct str *lines, const struct node *node, const char *fmt, va_list args)
{
    CLEANUP(free_charp) char *place = node ? node_place(node) : NULL;

    if (lines->length)
        str_append(lines, "\n");
    if (place)
        str_appendf(lines, "%s: ", place);
    str_vappendf(lines, fmt, args);
}

void
problems_add(struct problems *problems, const struct node *node, const char *fmt, ...)
{
    va_list args;

    problems->count++;
    va_start(args, fmt);
    add_line(&problems->text, node, fmt, args);
    va_end(args);
}

void
problems_warn(struct problems *problems, const struct node *node, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_line(&problems->warnings, node, fmt, args);
    va_end(args);
}

int
problems_check(const struct problems *problems, struct err **err)
{
    const char *more = problems->text.is_over ? "\n... and more" : "";

    if (problems->count == 0)
        return 0;
    if (problems->count == 1)
        return err_set(err, E_CONFIG, "%s%s", str_text(&problems->text), more);
    return err_set(err, E_CONFIG, "%u problems:\n%s%s", problems->count, str_text(&problems->text),
                   more);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The value of @key unless it is absent or null. */
static const struct node *
get_value(const struct node *map, const char *key)
{
    const struct node *node = node_get(map, key);

    return node && node->kind != NODE_NULL ? node : NULL;
}

/* "expected @what, not ...": what stands there instead. */
static void
add_mismatch(struct problems *problems, const struct node *node, const char *what)
{
    struct str found = STR_INIT(1024);

    switch (node->kind) {
    case NODE_NULL:
        str_append(&found, "nothing");
        break;
    case NODE_LIST:
        str_append(&found, "a list");
        break;
    case NODE_MAP:
        str_append(&found, "a map");
        break;
    case NODE_SCALAR:
        if (!node->is_plain)
            str_append(&found, "the quoted text ");
        append_quoted(&found, node->text);
        break;
    }
    problems_add(problems, node, "expected %s, not %s", what, str_text(&found));
    str_done(&found);
}

/* ASCII and C1 controls, U+2028 and U+2029 (line ends to YAML and terminals), U+FEFF and non-characters:
 * none has a meaning in a name, an id or a password, and each is trouble somewhere. */
static bool
has_control_character(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0) ||
            (c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9)) ||
            (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf) ||
            (c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe))
            return true;
    return false;
}

bool
node_decode_string(const struct node *map, const char *key, char **value, struct problems *problems)
{
    const struct node *node = get_value(map, key);

    if (!node)
        return false;
    if (node->kind != NODE_SCALAR) {
        add_mismatch(problems, node, "text");
        return false;
    }
    if (has_control_character(node->text)) {
        problems_add(problems, node, "expected one line of text without control characters");
        return false;
    }
    free(*value);
    *value = xstrdup(node->text);
    return true;
}

/* YAML's core schema: decimal, 0x and 0o.  A leading zero is octal to some programs and decimal to
 * others, so it is no number here. */
static bool
parse_int(const char *text, int64_t *ret)
{
    const char *digits = text + (*text == '-' || *text == '+');
    int base = 10;
    char *end;
    long long n;

    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o')) {
        base = digits[1] == 'x' ? 16 : 8;
        digits += 2;
    } else if (digits[0] == '0' && digits[1]) {
        return false;
    }
    if (!isxdigit((unsigned char)*digits))
        return false;
    errno = 0;
    n = strtoll(digits, &end, base);
    if (errno || *end)
        return false;
    *ret = *text == '-' ? -n : n;
    return true;
}

bool
node_decode_int(const struct node *map, const char *key, int64_t min, int64_t max, int64_t *value,
                struct problems *problems)
{
    const struct node *node = get_value(map, key);
    char expected[128];
    int64_t n;

    if (!node)
        return false;
    if (node->kind == NODE_SCALAR && node->is_plain && parse_int(node->text, &n) && n >= min &&
        n <= max) {
        *value = n;
        return true;
    }
    if (max == INT64_MAX && min == INT64_MIN)
        snprintf(expected, sizeof(expected), "a whole number");
    else if (max == INT64_MAX)
        snprintf(expected, sizeof(expected), "a whole number not below %" PRId64, min);
    else
        snprintf(expected, sizeof(expected), "a whole number from %" PRId64 " to %" PRId64, min,
                 max);
    add_mismatch(problems, node, expected);
    return false;
}

/* Also the words of YAML 1.1, which the existing tool takes where it expects a boolean. */
static bool
parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "y"};
    static const char *const no[] = {"false", "no", "off", "n"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (!strcasecmp(text, yes[i]) && (*ret = true, true))
            return true;
        if (!strcasecmp(text, no[i])) {
            *ret = false;
            return true;
        }
    }
    return false;
}

bool
node_decode_bool(const struct node *map, const char *key, bool *value, struct problems *problems)
{
    const struct node *node = get_value(map, key);

    if (!node)
        return false;
    if (node->kind == NODE_SCALAR && node->is_plain && parse_bool(node->text, value))
        return true;
    add_mismatch(problems, node, "true or false");
    return false;
}

bool
node_decode_word(const struct node *map, const char *key, const char *const *words, int *value,
                 struct problems *problems)
{
    const struct node *node = get_value(map, key);
    struct str expected = STR_INIT(1024);

    if (!node)
        return false;
    if (node->kind == NODE_SCALAR) {
        for (int i = 0; words[i]; i++) {
            if (!strcasecmp(node->text, words[i])) {
                *value = i;
                return true;
            }
        }
    }
    for (int i = 0; words[i]; i++)
        str_appendf(&expected, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
    add_mismatch(problems, node, str_text(&expected));
    str_done(&expected);
    return false;
}

static const struct node *
decode_kind(const struct node *map, const char *key, enum node_kind kind, const char *what,
            struct problems *problems)
{
    const struct node *node = get_value(map, key);

    if (!node || node->kind == kind)
        return node;
    add_mismatch(problems, node, what);
    return NULL;
}

const struct node *
node_decode_map(const struct node *map, const char *key, struct problems *problems)
{
    return decode_kind(map, key, NODE_MAP, "a map", problems);
}

const struct node *
node_decode_list(const struct node *map, const char *key, struct problems *problems)
{
    return decode_kind(map, key, NODE_LIST, "a list", problems);
}

/* ---- unknown keys ---------------------------------------------------------------------------- */

/* Edits (insert, delete, replace) between two words, case not counted; large when one is too long. */
static unsigned
edit_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    unsigned row[MAX_KEY + 1];

    if (a_length > MAX_KEY || b_length > MAX_KEY)
        return 2 * MAX_KEY;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            bool is_same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned replaced = diagonal + !is_same;

            diagonal = row[j];
            row[j] = MIN(MIN(row[j], row[j - 1]) + 1, replaced);
        }
    }
    return row[b_length];
}

static const char *
nearest_key(const char *key, const char *const *known)
{
    unsigned best = 2 * MAX_KEY;
    const char *nearest = NULL;

    for (; *known; known++) {
        unsigned distance = edit_distance(key, *known);

        if (distance < best) {
            best = distance;
            nearest = *known;
        }
    }
    /* Beyond that a suggestion would be a guess. */
    return nearest && best <= 1 + strlen(nearest) / 4 ? nearest : NULL;
}

static bool
is_known(const char *key, const char *const *known)
{
    for (; *known; known++)
        if (!strcmp(key, *known))
            return true;
    return false;
}

void
node_check_keys(const struct node *map, const char *const *known, struct problems *problems)
{
    if (!map || map->kind != NODE_MAP)
        return;
    for (size_t i = 0; i < map->items.count; i++) {
        const struct node *item = map->items.items[i];
        const char *nearest;

        if (is_known(item->key, known))
            continue;
        nearest = nearest_key(item->key, known);
        (problems->is_lenient ? problems_warn : problems_add)(
            problems, item, "unknown key%s%s%s", nearest ? "; did you mean \"" : "",
            nearest ? nearest : "", nearest ? "\"?" : "");
    }
}
