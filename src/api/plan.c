/* From what a client sends to specs that a worker can be given, checked as `run` checks them. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "base/file.h"
#include "config/config.h"

#define MAX_YAML (4U * 1024 * 1024)

void
specs_plan_done(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->items[i].vm_name);
        free(plan->items[i].vm_moref);
        free(plan->items[i].pool);
        free(plan->items[i].uuid);
        free(plan->items[i].datacenter);
        free(plan->items[i].yaml);
    }
    vec_done(plan);
}

/* ---- JSON to YAML ---------------------------------------------------------------------------------- */

/* Words that YAML would take for something else than text, and whatever is not plainly a word, is quoted as
 * JSON does. */
static bool
is_plain(const char *text)
{
    static const char *const special[] = {"true", "false", "null", "yes", "no", "on", "off"};

    if (!isalpha((unsigned char)*text))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(special); i++)
        if (!strcasecmp(special[i], text))
            return false;
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-/", *c))
            return false;
    return true;
}

static void
append_scalar(struct str *out, const json_t *value)
{
    const char *text = json_string_value(value);
    CLEANUP(free_charp) char *quoted = NULL;

    if (text && is_plain(text)) {
        str_append(out, text);
        return;
    }
    quoted = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
    str_append(out, quoted ? quoted : "null");
}

static bool
is_nested(const json_t *value)
{
    return json_object_size(value) > 0 || json_array_size(value) > 0;
}

static void append_yaml(struct str *out, const json_t *value, int indent, bool is_in_list);

static void
append_member(struct str *out, const char *key, const json_t *value, int indent)
{
    json_t *name = json_string(key);

    append_scalar(out, name);
    json_decref(name);
    str_append(out, ":");
    if (is_nested(value)) {
        str_append(out, "\n");
        append_yaml(out, value, indent + 2, false);
        return;
    }
    str_append(out, " ");
    append_scalar(out, value);
    str_append(out, "\n");
}

/* @is_in_list: the first line stands behind "- " already. */
static void
append_yaml(struct str *out, const json_t *value, int indent, bool is_in_list)
{
    const char *key;
    const json_t *member;
    size_t index;

    json_object_foreach ((json_t *)(uintptr_t)value, key, member) {
        str_appendf(out, "%*s", is_in_list ? 0 : indent, "");
        is_in_list = false;
        append_member(out, key, member, indent);
    }
    json_array_foreach (value, index, member) {
        str_appendf(out, "%*s- ", indent, "");
        if (is_nested(member)) {
            append_yaml(out, member, indent + 2, true);
        } else {
            append_scalar(out, member);
            str_append(out, "\n");
        }
    }
}

/* ---- YAML to JSON ---------------------------------------------------------------------------------- */

static json_t *
scalar_json(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (!strcmp(text, "true") || !strcmp(text, "false"))
        return json_boolean(*text == 't');
    if (digits && digits < 16 && !text[digits] && (text[0] != '0' || digits == 1))
        return json_integer(strtoll(text, NULL, 10));
    return json_text(text);
}

static json_t *
node_json(const struct node *node)
{
    json_t *value;

    switch (node_kind(node)) {
    case NODE_NULL:
        return json_null();
    case NODE_SCALAR:
        return scalar_json(node_text(node));
    case NODE_LIST:
        value = json_array();
        for (size_t i = 0; i < node_count(node); i++)
            json_array_append_new(value, node_json(node_item(node, i)));
        return value;
    default:
        value = json_object();
        for (size_t i = 0; i < node_count(node); i++)
            json_object_set_new(value, node_key(node, i), node_json(node_item(node, i)));
        return value;
    }
}

/* ---- specs ----------------------------------------------------------------------------------------- */

static int
yaml_of_body(const json_t *body, char **ret, struct err **err)
{
    const json_t *vms = json_object_get(body, "vms"), *yaml = json_object_get(body, "yaml");
    struct str out = STR_INIT(MAX_YAML);
    int rc;

    if (!vms == !yaml)
        return err_set(err, E_REQUEST, "expected either vms or yaml");
    if (yaml && !json_is_string(yaml))
        return err_set(err, E_REQUEST, "yaml: expected text");
    if (vms && json_array_size(vms) == 0)
        return err_set(err, E_REQUEST, "vms: expected a list of at least one VM");
    if (yaml) {
        str_append(&out, json_string_value(yaml));
    } else {
        str_append(&out, "vms:\n");
        append_yaml(&out, vms, 2, false);
    }
    rc = str_check(&out, "the plan", err);
    if (rc == 0)
        *ret = str_take(&out);
    str_done(&out);
    return rc;
}

/* The file's name stands in every message, and means nothing to whoever sent it. */
static char *
without_path(const char *text, const char *path)
{
    struct str out = STR_INIT(MIB);
    size_t length = strlen(path);

    while (*text) {
        const char *at = strstr(text, path);
        size_t n = at ? (size_t)(at - text) : strlen(text);

        str_append_bytes(&out, text, n);
        if (at)
            str_append(&out, "spec");
        text += n + (at ? length : 0);
    }
    return str_take(&out);
}

static void
add_entry(const struct spec *spec, struct plan *plan, json_t *vms)
{
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct plan_entry entry = {
        .vm_name = xstrdup(spec_label(spec)),
        .vm_moref = xstrdup(spec->vm.moref),
        .pool = xstrdup(spec->target.storage_id),
        .uuid = xstrdup(spec->vm.uuid),
        .datacenter = xstrdup(spec->vm.datacenter),
        .yaml = spec_to_yaml(spec),
    };

    if (doc_parse("spec", entry.yaml, strlen(entry.yaml), &doc, NULL) == 0)
        json_array_append_new(vms, node_json(doc_root(doc)));
    vec_push(plan, entry);
}

int
specs_plan(struct request *r, const json_t *body, const struct config *config, struct plan *ret,
           char **ret_yaml, json_t **ret_vms, char **ret_problems, char **ret_warnings,
           struct err **err)
{
    const struct spec_overrides overrides = {
        .readers = -1, .parallel_disks = -1, .run_virt_v2v = -1};
    CLEANUP(free_charp) char *name = crypto_random_text("plan-", 12, err);
    CLEANUP(free_charp)
    char *path = name ? queue_file(r->api->options.control_dir, name, QUEUE_SPEC) : NULL;
    CLEANUP(err_freep) struct err *wrong = NULL;
    struct spec_list specs = {0};
    const char *const paths[] = {path};

    *ret_problems = NULL;
    *ret_vms = json_array();
    if (!path || yaml_of_body(body, ret_yaml, err) < 0 ||
        file_replace(path, *ret_yaml, strlen(*ret_yaml), 0600, err) < 0)
        return -1;
    if (spec_load_all(paths, 1, config, &overrides, false, &specs, ret_warnings, &wrong) < 0)
        *ret_problems = without_path(err_message(wrong), path);
    else if (specs.count == 0)
        *ret_problems = xstrdup("it names no VM");
    for (size_t i = 0; i < specs.count && !*ret_problems; i++)
        add_entry(specs.items[i], ret, *ret_vms);
    spec_list_done(&specs);
    (void)unlink(path);
    return 0;
}

/* ---- POST /api/v1/specs/render ------------------------------------------------------------------------ */

static json_t *
lines_json(const char *text)
{
    json_t *array = json_array();

    while (text && *text) {
        size_t length = strcspn(text, "\n");
        CLEANUP(free_charp) char *line = strndup(text, length);

        if (length)
            json_array_append_new(array, json_text(line));
        text += length + (text[length] == '\n');
    }
    return array;
}

int
post_render(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *yaml = NULL;
    CLEANUP(free_charp) char *problems = NULL;
    CLEANUP(free_charp) char *warnings = NULL;
    struct plan plan = {0};
    json_t *body = NULL, *vms = NULL;
    int rc;

    if (body_json(r, false, &body, err) < 0 ||
        environment_config(r->api, r->store, NULL, NULL, &config, err) < 0) {
        json_decref(body);
        return -1;
    }
    rc = specs_plan(r, body, config, &plan, &yaml, &vms, &problems, &warnings, err);
    json_decref(body);
    specs_plan_done(&plan);
    if (rc < 0) {
        json_decref(vms);
        return -1;
    }
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:o, s:o, s:o}", "yaml", json_text(yaml), "problems",
                                 lines_json(problems), "warnings", lines_json(warnings), "vms",
                                 vms));
}
