/* Lists: who may see what, filters, keyword, pages. */
#include "cloudstack/cs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Only for these does the account of the caller matter. */
static bool
is_visible(const struct cs_request *rq, const json_t *item)
{
    const char *account = cs_text(item, "account"), *project = cs_text(item, "projectid");
    const char *wanted = cs_get(rq, "projectid");

    if (wanted)
        return !strcmp(wanted, "-1") ? *project : !strcasecmp(wanted, project);
    if (*project)
        return false;
    return !*account || cs_get_bool(rq, "listall") || cs_get(rq, "account") ||
           !strcmp(account, "admin");
}

/* Whether answers of this command hold such a field: a filter on it that an item lacks fails. */
static bool
is_answer_field(const json_t *api, const char *name)
{
    const json_t *fields = json_object_get(api, "response"), *field;
    size_t i;

    json_array_foreach (fields, i, field) {
        if (!strcmp(cs_text(field, "name"), name))
            return true;
    }
    return false;
}

static bool
has_text(const json_t *value, const char *wanted)
{
    char number[32];

    if (json_is_string(value))
        return !strcasecmp(json_string_value(value), wanted);
    if (json_is_boolean(value))
        return !strcasecmp(json_is_true(value) ? "true" : "false", wanted);
    if (json_is_integer(value)) {
        (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
        return !strcmp(number, wanted);
    }
    return false;
}

static bool
is_in_list(const char *words, const char *wanted)
{
    size_t length = strlen(wanted);

    for (;;) {
        size_t word = strcspn(words, ",");

        if (word == length && !strncasecmp(words, wanted, length))
            return true;
        if (!words[word])
            return false;
        words += word + 1;
    }
}

/* tags[0].key=k&tags[0].value=v */
static bool
has_tag(const struct cs_request *rq, const struct cs_param *param, const json_t *item)
{
    const json_t *tag;
    const char *value = "";
    size_t i;

    if (strcmp(param->key, "key"))
        return true;
    for (i = 0; i < rq->params.count; i++) {
        const struct cs_param *other = &rq->params.items[i];

        if (!strcmp(other->base, "tags") && other->index == param->index && other->key &&
            !strcmp(other->key, "value"))
            value = other->value;
    }
    json_array_foreach (json_object_get(item, "tags"), i, tag) {
        if (!strcmp(cs_text(tag, "key"), param->value) && !strcmp(cs_text(tag, "value"), value))
            return true;
    }
    return false;
}

static bool
has_keyword(const json_t *item, const char *word)
{
    static const char *const FIELDS[] = {"name", "displayname", "description", "displaytext",
                                         "instancename"};

    for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++)
        if (strcasestr(cs_text(item, FIELDS[i]), word))
            return true;
    return false;
}

static bool
passes(const struct cs_request *rq, const struct cs_param *param, const json_t *item)
{
    static const char *const NO_FILTERS[] = {"page",        "pagesize",  "listall",
                                             "isrecursive", "command",   "details",
                                             "response",    "projectid", "templatefilter"};
    const char *field = param->base;

    if (!*param->value)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(NO_FILTERS); i++)
        if (!strcmp(field, NO_FILTERS[i]))
            return true;
    if (!strcmp(field, "keyword"))
        return has_keyword(item, param->value);
    if (!strcmp(field, "ids"))
        return is_in_list(param->value, cs_text(item, "id"));
    if (!strcmp(field, "tags"))
        return has_tag(rq, param, item);
    if (!strcmp(rq->command, "listStoragePools") && !strcmp(field, "status"))
        field = "state";
    if (!strcmp(rq->command, "listClusters") && !strcmp(field, "hypervisor"))
        field = "hypervisortype";
    /* The name of a VM is looked for as a part. */
    if (!strcmp(rq->command, "listVirtualMachines") && !strcmp(field, "name"))
        return strcasestr(cs_text(item, "name"), param->value) != NULL;
    if (!json_object_get(item, field))
        return !is_answer_field(rq->api, field);
    return has_text(json_object_get(item, field), param->value);
}

static bool
is_wanted(const struct cs_request *rq, const json_t *item)
{
    if (!is_visible(rq, item))
        return false;
    for (size_t i = 0; i < rq->params.count; i++)
        if (!passes(rq, &rq->params.items[i], item))
            return false;
    return true;
}

static int
check_pages(const struct lab_cloudstack *cs, const struct cs_request *rq, long *ret_page,
            long *ret_size, struct cs_error *error)
{
    const char *page = cs_get(rq, "page"), *size = cs_get(rq, "pagesize");

    *ret_page = page ? strtol(page, NULL, 10) : 1;
    *ret_size = size ? strtol(size, NULL, 10) : cs->max_page_size;
    if (page && !size)
        return cs_fail(error, CS_PARAM, "The parameter page needs the parameter pagesize");
    if (*ret_size > cs->max_page_size)
        return cs_fail(error, CS_PARAM, "The parameter pagesize exceeded its max value - %d",
                       cs->max_page_size);
    if (*ret_page < 1 || *ret_size < 1)
        return cs_fail(error, CS_PARAM, "The parameters page and pagesize must be positive");
    return 0;
}

int
cs_list(const struct lab_cloudstack *cs, const struct cs_request *rq, const char *key,
        json_t *array, json_t **ret, struct cs_error *error)
{
    json_t *answer, *shown, *item;
    long page, size, seen = 0;
    size_t i;

    if (check_pages(cs, rq, &page, &size, error) < 0)
        return -1;
    answer = json_object();
    shown = json_array();
    json_array_foreach (array, i, item) {
        if (!is_wanted(rq, item))
            continue;
        if (seen >= (page - 1) * size && seen < page * size)
            json_array_append_new(shown, cs_public(item));
        seen++;
    }
    /* An empty list has neither count nor array. */
    if (json_array_size(shown)) {
        json_object_set_new(answer, "count", json_integer(seen));
        json_object_set_new(answer, key, shown);
    } else {
        json_decref(shown);
    }
    *ret = answer;
    return 0;
}
