/* What a request says: its query and its body, strictly. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/internal.h"
#include "base/clock.h"

const char *
pairs_get(const struct pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (!strcasecmp(pairs->items[i].name, name))
            return pairs->items[i].value;
    return NULL;
}

void
pairs_done(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    vec_done(pairs);
}

const char *
query_text(const struct request *r, const char *name)
{
    const char *value = pairs_get(&r->query, name);

    return value && *value ? value : NULL;
}

int
query_int(const struct request *r, const char *name, int64_t min, int64_t max, int64_t *value,
          struct err **err)
{
    const char *text = query_text(r, name);
    char *end = NULL;
    long long number;

    if (!text)
        return 0;
    number = strtoll(text, &end, 10);
    if (*end || number < min || number > max)
        return err_set(err, E_REQUEST, "%s: expected a number from %lld to %lld", name,
                       (long long)min, (long long)max);
    *value = number;
    return 0;
}

int
query_bool(const struct request *r, const char *name, bool *value, struct err **err)
{
    static const char *const words[] = {"1", "true", "yes", "on", "0", "false", "no", "off"};
    const char *text = query_text(r, name);

    for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
        if (!strcasecmp(text, words[i])) {
            *value = i < 4;
            return 0;
        }
    return text ? err_set(err, E_REQUEST, "%s: expected true or false", name) : 0;
}

int
body_json(const struct request *r, bool may_be_empty, json_t **ret, struct err **err)
{
    json_error_t error;
    json_t *root;

    if (r->body.length == 0 && may_be_empty) {
        *ret = json_object();
        return 0;
    }
    root = json_loadb(str_text(&r->body), r->body.length, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return err_set(err, E_REQUEST, "invalid JSON body: line %d: %s", error.line, error.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, E_REQUEST, "invalid JSON body: expected an object");
    }
    *ret = root;
    return 0;
}

/* Written anew by a library that knows what JSON is: what comes after it is a subset of YAML. */
int
body_read(const struct request *r, bool may_be_empty, struct doc **ret_doc, struct err **err)
{
    CLEANUP(free_charp) char *text = NULL;
    struct err *failure = NULL;
    json_t *root;

    if (body_json(r, may_be_empty, &root, err) < 0)
        return -1;
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!text)
        return err_set(err, E_REQUEST, "invalid JSON body");
    if (doc_parse("body", text, strlen(text), ret_doc, &failure) == 0)
        return 0;
    err_set(err, E_REQUEST, "invalid JSON body: %s", err_message(failure));
    err_free(failure);
    return -1;
}

int
body_check(struct problems *problems, struct err **err)
{
    int rc = 0;

    if (problems->count)
        rc = err_set(err, E_REQUEST, "invalid JSON body: %s", str_text(&problems->text));
    problems_done(problems);
    return rc;
}

json_t *
json_time(int64_t wall_s)
{
    char text[32];

    if (wall_s <= 0)
        return json_null();
    clock_format_utc(wall_s, text);
    return json_string(text);
}
