/* Looking into the facts of the target; see internal.h for what they are. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

enum fact
fact_find(const json_t *facts, const char *kind, const char *id, const json_t **ret_object)
{
    const json_t *object = id ? json_object_get(json_object_get(facts, kind), id) : NULL;

    *ret_object = NULL;
    if (!object)
        return FACT_UNKNOWN;
    if (json_is_null(object))
        return FACT_ABSENT;
    *ret_object = object;
    return FACT_THERE;
}

const char *
fact_unread(const json_t *facts, const char *kind)
{
    return json_string_value(json_object_get(json_object_get(facts, "unread"), kind));
}

const char *
fact_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

double
fact_number(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    char *end;
    double number;

    if (json_is_number(value))
        return json_number_value(value);
    if (!text || !*text)
        return otherwise;
    number = strtod(text, &end);
    return *end ? otherwise : number;
}

bool
fact_knows_param(const json_t *facts, const char *command, const char *param)
{
    const json_t *params = json_object_get(json_object_get(facts, "apis"), command), *known;
    size_t i;

    json_array_foreach (params, i, known) {
        if (!strcasecmp(json_string_value(known), param))
            return true;
    }
    return false;
}

bool
fact_is_true(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_true(value) || !strcasecmp(fact_text(object, key), "true");
}

bool
fact_is_false(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_false(value) || !strcasecmp(fact_text(object, key), "false");
}

static bool
has_tag(const char *tags, const char *tag, size_t length)
{
    while (*tags) {
        size_t word = strcspn(tags, ",");

        if (word == length && !memcmp(tags, tag, length))
            return true;
        tags += word + (tags[word] == ',');
        tags += strspn(tags, " ");
    }
    return false;
}

bool
fact_has_tags(const char *wanted, const char *offered)
{
    while (*wanted) {
        size_t word = strcspn(wanted, ",");

        if (word && !has_tag(offered, wanted, word))
            return false;
        wanted += word + (wanted[word] == ',');
        wanted += strspn(wanted, " ");
    }
    return true;
}

int
fact_compare_versions(const char *a, const char *b)
{
    while (*a || *b) {
        char *end_a, *end_b;
        long left = strtol(a, &end_a, 10), right = strtol(b, &end_b, 10);

        if (left != right)
            return left < right ? -1 : 1;
        if (end_a == a && end_b == b)
            return 0;
        a = end_a + (*end_a == '.');
        b = end_b + (*end_b == '.');
    }
    return 0;
}

void
fact_append_bytes(struct str *text, double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        bytes /= 1024;
        unit++;
    }
    str_appendf(text, "%.*f %s", unit ? 1 : 0, bytes, units[unit]);
}

bool
fact_same_id(const char *a, const char *b)
{
    return a && b && !strcasecmp(a, b);
}
