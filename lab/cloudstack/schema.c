/* What commands there are and what they take, from the schema that a real server's listApis gave.
 *
 * A real server ignores parameters that it does not know; this one refuses them, so that a client that
 * sends nonsense is found out. */
#include "cloudstack/cs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define IMPORTVM_ADDRESSES_SINCE "4.23"

/* ---- versions --------------------------------------------------------------------------------- */

int
cs_compare_versions(const char *a, const char *b)
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

static bool
is_in_version(const json_t *entry, const char *version)
{
    const char *since = cs_text(entry, "since");

    return !*since || cs_compare_versions(since, version) <= 0;
}

static void
drop_newer_params(const json_t *api, const char *version)
{
    json_t *params = json_object_get(api, "params");

    for (size_t i = json_array_size(params); i-- > 0;)
        if (!is_in_version(json_array_get(params, i), version))
            json_array_remove(params, i);
}

/* What no released schema has: importVm of the next version keeps the addresses of its NIC. */
static void
add_addresses(const json_t *api)
{
    static const char *const NAMES[] = {"macaddress", "ipaddress"};

    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
        json_array_append_new(
            json_object_get(api, "params"),
            json_pack("{s:s,s:s,s:b}", "name", NAMES[i], "type", "string", "required", false));
}

json_t *
cs_schema_load(const char *version, bool has_importvm_mac)
{
    json_t *root = json_loadb((const char *)cs_listapis, cs_listapis_length, 0, NULL);
    json_t *all = json_object_get(root, "api"), *schema = json_array(), *api;
    size_t i;

    has_importvm_mac =
        has_importvm_mac || cs_compare_versions(version, IMPORTVM_ADDRESSES_SINCE) >= 0;
    json_array_foreach (all, i, api) {
        if (!is_in_version(api, version))
            continue;
        drop_newer_params(api, version);
        if (has_importvm_mac && !strcmp(cs_text(api, "name"), "importVm"))
            add_addresses(api);
        json_array_append(schema, api);
    }
    json_decref(root);
    return schema;
}

const json_t *
cs_schema_find(const json_t *schema, const char *command)
{
    const json_t *api;
    size_t i;

    json_array_foreach (schema, i, api) {
        if (!strcasecmp(cs_text(api, "name"), command))
            return api;
    }
    return NULL;
}

/* ---- requests --------------------------------------------------------------------------------- */

/* "details[0].UEFI" -> base "details", index 0, key "UEFI". */
static void
split_name(struct cs_param *param)
{
    const char *bracket = strchr(param->name, '[');
    size_t length = bracket ? (size_t)(bracket - param->name) : strlen(param->name);
    char *end;

    param->base = xcalloc(length + 1, 1);
    for (size_t i = 0; i < length; i++)
        param->base[i] = (char)tolower((unsigned char)param->name[i]);
    param->index = -1;
    if (!bracket)
        return;
    errno = 0;
    param->index = strtol(bracket + 1, &end, 10);
    if (end == bracket + 1 || *end != ']' || errno || param->index < 0 ||
        (end[1] && (end[1] != '.' || !end[2])))
        param->index = -2; /* malformed */
    else if (end[1])
        param->key = xstrdup(end + 2);
}

void
cs_request_add(struct cs_request *rq, const char *name, const char *value)
{
    struct cs_param param = {.name = xstrdup(name), .value = xstrdup(value)};

    split_name(&param);
    vec_push(&rq->params, param);
}

void
cs_request_done(struct cs_request *rq)
{
    for (size_t i = 0; i < rq->params.count; i++) {
        free(rq->params.items[i].name);
        free(rq->params.items[i].value);
        free(rq->params.items[i].base);
        free(rq->params.items[i].key);
    }
    vec_done(&rq->params);
    free(rq->command);
    rq->command = NULL;
}

const char *
cs_get(const struct cs_request *rq, const char *base)
{
    for (size_t i = 0; i < rq->params.count; i++)
        if (rq->params.items[i].index == -1 && !strcmp(rq->params.items[i].base, base))
            return *rq->params.items[i].value ? rq->params.items[i].value : NULL;
    return NULL;
}

bool
cs_get_bool(const struct cs_request *rq, const char *base)
{
    const char *value = cs_get(rq, base);

    return value && !strcasecmp(value, "true");
}

json_t *
cs_get_details(const struct cs_request *rq)
{
    json_t *details = json_object();

    for (size_t i = 0; i < rq->params.count; i++) {
        const struct cs_param *param = &rq->params.items[i];

        if (!strcmp(param->base, "details") && param->index == 0 && param->key)
            cs_set_text(details, param->key, param->value);
    }
    return details;
}

/* ---- checks ----------------------------------------------------------------------------------- */

static const json_t *
find_param(const json_t *api, const char *name)
{
    const json_t *params = json_object_get(api, "params"), *param;
    size_t i;

    json_array_foreach (params, i, param) {
        if (!strcasecmp(cs_text(param, "name"), name))
            return param;
    }
    return NULL;
}

/* What every command takes besides its own. */
static bool
is_protocol_param(const char *name)
{
    static const char *const NAMES[] = {"command", "apikey",           "response",
                                        "expires", "signatureversion", "signature"};

    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
        if (!strcmp(name, NAMES[i]))
            return true;
    return false;
}

static bool
is_whole_number(const char *text)
{
    char *end;

    errno = 0;
    (void)strtoll(text, &end, 10);
    return end != text && !*end && !errno;
}

static int
check_entity(const struct lab_cloudstack *cs, const struct cs_request *rq,
             const struct cs_param *param, struct cs_error *error)
{
    const char *kind = cs_kind_of_param(rq->command, param->base);

    /* -1 as a project means all of them. */
    if (!*param->value || (!strcmp(param->base, "projectid") && !strcmp(param->value, "-1")))
        return 0;
    if (!kind || cs_find(cs, kind, param->value))
        return 0;
    return cs_fail(error, CS_PARAM,
                   "Unable to execute API command %s due to invalid value. Invalid parameter %s "
                   "value=%s due to incorrect long value format, or entity does not exist or due "
                   "to incorrect parameter annotation for the field in api cmd class.",
                   rq->command, param->base, param->value);
}

static int
check_value(const struct lab_cloudstack *cs, const struct cs_request *rq,
            const struct cs_param *param, const char *type, struct cs_error *error)
{
    bool is_map = !strcmp(type, "map"), is_list = !strcmp(type, "list");

    if (param->index == -2 || (param->key && !is_map) ||
        (param->index >= 0 && !is_map && !is_list) || (is_map && !param->key))
        return cs_fail(error, CS_PARAM, "Unable to execute API command %s due to invalid value %s",
                       rq->command, param->name);
    if ((!strcmp(type, "integer") || !strcmp(type, "long")) && !is_whole_number(param->value))
        return cs_fail(error, CS_PARAM,
                       "Unable to execute API command %s due to invalid value %s for parameter %s",
                       rq->command, param->value, param->base);
    if (!strcmp(type, "boolean") && strcasecmp(param->value, "true") &&
        strcasecmp(param->value, "false"))
        return cs_fail(error, CS_PARAM,
                       "Unable to execute API command %s due to invalid value %s for parameter %s",
                       rq->command, param->value, param->base);
    return is_map || is_list ? 0 : check_entity(cs, rq, param, error);
}

static int
check_required(const struct cs_request *rq, struct cs_error *error)
{
    const json_t *params = json_object_get(rq->api, "params"), *param;
    size_t i;

    json_array_foreach (params, i, param) {
        const char *name = cs_text(param, "name");
        bool is_given = cs_get(rq, name) != NULL;

        for (size_t j = 0; j < rq->params.count; j++)
            is_given = is_given ||
                       (rq->params.items[j].index >= 0 && !strcmp(rq->params.items[j].base, name));
        if (json_is_true(json_object_get(param, "required")) && !is_given)
            return cs_fail(error, CS_PARAM,
                           "Unable to execute API command %s due to missing parameter %s",
                           rq->command, name);
    }
    return 0;
}

int
cs_schema_check(const struct lab_cloudstack *cs, struct cs_request *rq, struct cs_error *error)
{
    for (size_t i = 0; i < rq->params.count; i++) {
        const struct cs_param *param = &rq->params.items[i];
        const json_t *known = find_param(rq->api, param->base);

        if (!known && is_protocol_param(param->base))
            continue;
        if (!known)
            return cs_fail(error, CS_PARAM, "The command %s has no parameter %s in CloudStack %s",
                           rq->command, param->name, cs->version);
        if (check_value(cs, rq, param, cs_text(known, "type"), error) < 0)
            return -1;
    }
    return check_required(rq, error);
}
