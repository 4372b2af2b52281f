/* Tags of VMs and volumes. */
#include "cloudstack/cs.h"

#include <string.h>
#include <strings.h>

static json_t *
tagged_object(const struct lab_cloudstack *cs, const char *type, const char *id)
{
    if (!strcasecmp(type, "UserVm"))
        return cs_find(cs, "vm", id);
    return strcasecmp(type, "Volume") ? NULL : cs_find(cs, "volume", id);
}

static json_t *
find_tag(const json_t *object, const char *key)
{
    json_t *tag;
    size_t i;

    json_array_foreach (json_object_get(object, "tags"), i, tag) {
        if (!strcmp(cs_text(tag, "key"), key))
            return tag;
    }
    return NULL;
}

static void
add_tag(struct lab_cloudstack *cs, json_t *object, const char *type, const char *key,
        const char *value)
{
    json_t *tags = json_object_get(object, "tags");
    json_t *tag = json_pack("{s:s,s:s,s:s,s:s}", "key", key, "value", value, "resourceid",
                            cs_text(object, "id"), "resourcetype", type);

    if (*cs_text(object, "projectid"))
        cs_set_text(tag, "projectid", cs_text(object, "projectid"));
    else
        cs_set_text(tag, "account",
                    *cs_text(object, "account") ? cs_text(object, "account") : "admin");
    if (!tags) {
        tags = json_array();
        json_object_set_new(object, "tags", tags);
    }
    json_array_append(tags, tag);
    json_array_append_new(cs_all(cs, "tag"), tag);
}

/* The n-th tag of a request: its key, NULL after the last, and *ret_value. */
static const char *
requested_tag(const struct cs_request *rq, size_t n, const char **ret_value)
{
    const struct cs_param *key = NULL;

    for (size_t i = 0; i < rq->params.count && !key; i++) {
        const struct cs_param *param = &rq->params.items[i];

        if (!strcmp(param->base, "tags") && param->key && !strcmp(param->key, "key") && !n--)
            key = param;
    }
    *ret_value = "";
    for (size_t i = 0; key && i < rq->params.count; i++) {
        const struct cs_param *param = &rq->params.items[i];

        if (!strcmp(param->base, "tags") && param->index == key->index && param->key &&
            !strcmp(param->key, "value"))
            *ret_value = param->value;
    }
    return key ? key->value : NULL;
}

typedef int (*for_object)(struct lab_cloudstack *cs, const struct cs_request *rq, json_t *object,
                          struct cs_error *error);

static int
each_object(struct lab_cloudstack *cs, const struct cs_request *rq, for_object act,
            struct cs_error *error)
{
    CLEANUP(free_charp) char *ids = xstrdup(cs_get(rq, "resourceids"));
    const char *type = cs_get(rq, "resourcetype");

    for (char *rest = ids, *id; rest && (id = strsep(&rest, ","));) {
        json_t *object = tagged_object(cs, type, id);

        if (!object)
            return cs_fail(error, CS_PARAM, "Unable to find resource by id %s and type %s", id,
                           type);
        if (act(cs, rq, object, error) < 0)
            return -1;
    }
    return 0;
}

/* A key that is there is refused, and then nothing at all is tagged. */
static int
check_new(struct lab_cloudstack *cs, const struct cs_request *rq, json_t *object,
          struct cs_error *error)
{
    const char *key, *value;

    for (size_t n = 0; (key = requested_tag(rq, n, &value)); n++)
        if (find_tag(object, key))
            return cs_fail(error, CS_INTERNAL, "tag %s already on %s with id %s", key,
                           cs_get(rq, "resourcetype"), cs_text(object, "id"));
    return 0;
}

static int
add_tags(struct lab_cloudstack *cs, const struct cs_request *rq, json_t *object,
         struct cs_error *error)
{
    const char *key, *value;

    for (size_t n = 0; (key = requested_tag(rq, n, &value)); n++)
        add_tag(cs, object, cs_get(rq, "resourcetype"), key, value);
    return 0;
}

int
cs_create_tags(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
               struct cs_error *error)
{
    if (each_object(cs, rq, check_new, error) < 0 || each_object(cs, rq, add_tags, error) < 0)
        return -1;
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}

static void
drop_tag(struct lab_cloudstack *cs, json_t *object, json_t *tag)
{
    json_incref(tag);
    cs_remove(cs_all(cs, "tag"), tag);
    cs_remove(json_object_get(object, "tags"), tag);
    json_decref(tag);
}

/* Without tags: all of them. */
static int
remove_tags(struct lab_cloudstack *cs, const struct cs_request *rq, json_t *object,
            struct cs_error *error)
{
    const char *key, *value;
    json_t *tag;

    if (!requested_tag(rq, 0, &value))
        cs_tags_drop(cs, object);
    for (size_t n = 0; (key = requested_tag(rq, n, &value)); n++) {
        tag = find_tag(object, key);
        if (tag)
            drop_tag(cs, object, tag);
    }
    return 0;
}

int
cs_delete_tags(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
               struct cs_error *error)
{
    if (each_object(cs, rq, remove_tags, error) < 0)
        return -1;
    *ret = json_pack("{s:b}", "success", true);
    return 0;
}

void
cs_tags_drop(struct lab_cloudstack *cs, json_t *object)
{
    json_t *tags = json_object_get(object, "tags");

    while (json_array_size(tags))
        drop_tag(cs, object, json_array_get(tags, 0));
}
