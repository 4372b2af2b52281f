/* The truth: what CloudStack has, looked up before a call is made again. */
#include "cloudstack/internal.h"

#include <string.h>
#include <strings.h>

#include "base/util.h"

/* Lists, first among all accounts, then among all projects, until @pick finds something: listall does
 * not show what belongs to projects. */
static int
find_anywhere(struct cloudstack *cs, const char *command, const struct cloudstack_params *params,
              const json_t *(*pick)(const json_t *items, const char *text), const char *text,
              json_t **ret_found, struct err **err)
{
    for (int is_project = 0; is_project <= 1; is_project++) {
        struct cloudstack_params all = {0};
        CLEANUP(json_freep) json_t *items = NULL;
        CLEANUP(err_freep) struct err *failure = NULL;
        const json_t *found;
        int result;

        for (size_t i = 0; i < params->count; i++)
            params_add(&all, params->items[i].name, params->items[i].value);
        if (is_project)
            params_add(&all, "projectid", "-1");
        result = cloudstack_list(cs, command, &all, &items, &failure);
        params_done(&all);
        if (result < 0 && err_code(failure) != E_CS_NOT_FOUND)
            return err_move(err, &failure);
        found = result == 0 ? pick(items, text) : NULL;
        if (found) {
            *ret_found = json_incref((json_t *)found);
            return 0;
        }
    }
    *ret_found = NULL;
    return 0;
}

static const json_t *
pick_id(const json_t *items, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        const char *text = json_string_value(json_object_get(item, "id"));

        if (text && !strcasecmp(text, id))
            return item;
    }
    return NULL;
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Volumes stand at the top level of their pool; some answers give the full path, some the name. */
static const json_t *
pick_path(const json_t *items, const char *path)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        const char *text = json_string_value(json_object_get(item, "path"));

        if (text && !strcmp(base_name(text), base_name(path)))
            return item;
    }
    return NULL;
}

int
cloudstack_get_vm(struct cloudstack *cs, const char *vm_id, json_t **ret_vm, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "id", vm_id);
    result = find_anywhere(cs, "listVirtualMachines", &params, pick_id, vm_id, ret_vm, err);
    params_done(&params);
    return result;
}

int
cloudstack_find_volume(struct cloudstack *cs, const char *volume_id, json_t **ret_volume,
                       struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "id", volume_id);
    result = find_anywhere(cs, "listVolumes", &params, pick_id, volume_id, ret_volume, err);
    params_done(&params);
    return result;
}

int
cloudstack_find_volume_by_path(struct cloudstack *cs, const char *storage_id, const char *path,
                               json_t **ret_volume, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "storageid", storage_id);
    result = find_anywhere(cs, "listVolumes", &params, pick_path, path, ret_volume, err);
    params_done(&params);
    return result;
}

int
cloudstack_find_vm_by_path(struct cloudstack *cs, const char *storage_id, const char *path,
                           char **ret_vm_id, struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *volume = NULL;
    int result;

    params_add(&params, "storageid", storage_id);
    params_add(&params, "type", "ROOT");
    result = find_anywhere(cs, "listVolumes", &params, pick_path, path, &volume, err);
    params_done(&params);
    if (result < 0)
        return -1;
    *ret_vm_id = xstrdup(json_string_value(json_object_get(volume, "virtualmachineid")));
    return 0;
}

int
cloudstack_list_volumes_of(struct cloudstack *cs, const char *vm_id, json_t **ret_volumes,
                           struct err **err)
{
    CLEANUP(json_freep) json_t *all = json_array();

    /* What belongs to projects is in no other list. */
    for (int is_project = 0; is_project <= 1; is_project++) {
        struct cloudstack_params params = {0};
        CLEANUP(json_freep) json_t *items = NULL;
        int result;

        params_add(&params, "virtualmachineid", vm_id);
        if (is_project)
            params_add(&params, "projectid", "-1");
        result = cloudstack_list(cs, "listVolumes", &params, &items, err);
        params_done(&params);
        if (result < 0)
            return -1;
        json_array_extend(all, items);
    }
    *ret_volumes = take(all);
    return 0;
}

static const json_t *
pick_tagged(const json_t *items, const char *key)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        const char *text = json_string_value(json_object_get(item, "key"));

        if (text && !strcmp(text, key))
            return item;
    }
    return NULL;
}

int
cloudstack_has_tag(struct cloudstack *cs, const char *id, const char *key, bool *ret_has,
                   struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *tag = NULL;
    int result;

    params_add(&params, "resourceid", id);
    params_add(&params, "key", key);
    result = find_anywhere(cs, "listTags", &params, pick_tagged, key, &tag, err);
    params_done(&params);
    if (result == 0)
        *ret_has = tag != NULL;
    return result;
}

static int
list_importable(struct cloudstack *cs, const char *storage_id, const char *key, const char *value,
                json_t **ret_items, struct err **err)
{
    struct cloudstack_params params = {0};
    int result;

    params_add(&params, "storageid", storage_id);
    params_add(&params, key, value);
    result = cloudstack_list(cs, "listVolumesForImport", &params, ret_items, err);
    params_done(&params);
    return result;
}

int
cloudstack_find_importable(struct cloudstack *cs, const char *storage_id, const char *path,
                           json_t **ret_volume, struct err **err)
{
    CLEANUP(json_freep) json_t *items = NULL, *others = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;

    /* Asked for one path, the server looks into the file and tells locks and backing files; a file
     * that it does not see is an error then, which only the list of names tells from others. */
    if (list_importable(cs, storage_id, "path", base_name(path), &items, &failure) == 0) {
        *ret_volume = json_incref((json_t *)pick_path(items, path));
        return 0;
    }
    if (err_code(failure) != E_CS_API)
        return err_move(err, &failure);
    if (list_importable(cs, storage_id, "keyword", base_name(path), &others, NULL) < 0 ||
        pick_path(others, path))
        return err_move(err, &failure);
    *ret_volume = NULL;
    return 0;
}

int
cloudstack_get(struct cloudstack *cs, const char *list_command, const char *id, json_t **ret_object,
               struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *items = NULL;
    const json_t *found;
    int result;

    params_add(&params, "id", id);
    result = cloudstack_list(cs, list_command, &params, &items, err);
    params_done(&params);
    if (result < 0)
        return -1;
    found = pick_id(items, id);
    if (!found) {
        err_set(err, E_CS_NOT_FOUND, "CloudStack's %s knows no id %s", list_command, id);
        return err_hint(err, "check the id, and that the API key's account may see it");
    }
    *ret_object = json_incref((json_t *)found);
    return 0;
}

int
cloudstack_get_pool(struct cloudstack *cs, const char *storage_id, json_t **ret_pool,
                    struct err **err)
{
    return cloudstack_get(cs, "listStoragePools", storage_id, ret_pool, err);
}

int
cloudstack_detail_options(struct cloudstack *cs, const char *resource_type, json_t **ret_details,
                          struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    json_t *details;
    int result;

    params_add(&params, "resourcetype", resource_type);
    result = cloudstack_call(cs, CALL_READ, "listDetailOptions", &params, &answer, err);
    params_done(&params);
    if (result < 0)
        return -1;
    details = json_object_get(json_object_get(answer, "detailoptions"), "details");
    *ret_details = json_is_object(details) ? json_incref(details) : json_object();
    return 0;
}
