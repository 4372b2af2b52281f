/* vCenters and CloudStacks: that of the configuration file, and those that people saved. */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "base/clock.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

/* ---- a configuration with other servers ------------------------------------------------------------ */

/* What is sealed of an environment. */
struct secrets {
    char *password, *api_key, *secret_key;
};

static void
secrets_done(struct secrets *secrets)
{
    char **const all[] = {&secrets->password, &secrets->api_key, &secrets->secret_key};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (*all[i])
            explicit_bzero(*all[i], strlen(*all[i]));
        free(take(*all[i]));
    }
}

static char *
own_text(const json_t *object, const char *key)
{
    return xstrdup(json_string_value(json_object_get(object, key)));
}

static int
unseal(struct api *api, const struct store_environment *e, struct secrets *ret, struct err **err)
{
    CLEANUP(free_charp) char *text = NULL;
    json_t *object;

    if (crypto_open(api->key, e->secret, e->env_id, &text, err) < 0)
        return err_wrap(err, "environment %s", e->name);
    object = json_loads(text, 0, NULL);
    *ret = (struct secrets){
        .password = own_text(object, "password"),
        .api_key = own_text(object, "api_key"),
        .secret_key = own_text(object, "secret_key"),
    };
    json_decref(object);
    explicit_bzero(text, strlen(text));
    return 0;
}

static int
seal(struct api *api, const char *env_id, const struct secrets *secrets, char **ret,
     struct err **err)
{
    json_t *object = json_pack("{s:s*, s:s*, s:s*}", "password", secrets->password, "api_key",
                               secrets->api_key, "secret_key", secrets->secret_key);
    CLEANUP(free_charp) char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    int rc;

    json_decref(object);
    if (!text)
        return err_set(err, E_REQUEST, "a secret is no UTF-8 text");
    rc = crypto_seal(api->key, text, env_id, ret, err);
    explicit_bzero(text, strlen(text));
    return rc;
}

static void
replace(char **text, const char *with)
{
    free(*text);
    *text = xstrdup(with);
}

/* Nothing of the file's own server goes to another: neither its password nor what it trusts. */
static void
use_vcenter(struct config *config, const struct store_environment *e, const struct secrets *s)
{
    replace(&config->vcenter.host, e->address);
    replace(&config->vcenter.user, e->user);
    replace(&config->vcenter.password, s->password);
    replace(&config->vcenter.thumbprint, e->thumbprint);
    replace(&config->vcenter.ca_file, NULL);
    config->vcenter.is_insecure = e->is_insecure;
}

static void
use_cloudstack(struct config *config, const struct store_environment *e, const struct secrets *s)
{
    replace(&config->cloudstack.endpoint, e->address);
    replace(&config->cloudstack.api_key, s->api_key);
    replace(&config->cloudstack.secret_key, s->secret_key);
    replace(&config->cloudstack.thumbprint, e->thumbprint);
    replace(&config->cloudstack.ca_file, NULL);
    config->cloudstack.is_insecure = e->is_insecure;
}

static bool
is_of_config(const char *id)
{
    return !id || !*id || !strcmp(id, ENVIRONMENT_CONFIG_VCENTER) ||
           !strcmp(id, ENVIRONMENT_CONFIG_CLOUDSTACK);
}

static int
use(struct api *api, struct store *store, struct config *config, const char *id, bool is_vcenter,
    struct err **err)
{
    struct store_environment e = {0};
    struct secrets secrets = {0};
    int rc;

    if (id && !strcmp(id, is_vcenter ? ENVIRONMENT_CONFIG_CLOUDSTACK : ENVIRONMENT_CONFIG_VCENTER))
        return err_set(err, E_REQUEST, "%s is no %s", id, is_vcenter ? "vCenter" : "CloudStack");
    if (is_of_config(id))
        return 0;
    if (store_environment_get(store, id, &e, err) < 0)
        return -1;
    if (e.is_vcenter != is_vcenter)
        rc = err_set(err, E_REQUEST, "the environment %s is no %s", e.name,
                     is_vcenter ? "vCenter" : "CloudStack");
    else
        rc = unseal(api, &e, &secrets, err);
    if (rc == 0 && is_vcenter)
        use_vcenter(config, &e, &secrets);
    else if (rc == 0)
        use_cloudstack(config, &e, &secrets);
    secrets_done(&secrets);
    store_environment_done(&e);
    return rc;
}

int
environment_config(struct api *api, struct store *store, const char *vcenter,
                   const char *cloudstack, struct config **ret, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;

    if (config_load(api->options.config_path, true, &config, NULL, err) < 0 ||
        use(api, store, config, vcenter, true, err) < 0 ||
        use(api, store, config, cloudstack, false, err) < 0)
        return -1;
    *ret = take(config);
    return 0;
}

/* ---- for the processes of jobs --------------------------------------------------------------------- */

static void
add_variable(struct queue_words *words, const char *name, const char *value)
{
    if (value && *value)
        vec_push(words, xasprintf("%s=%s", name, value));
}

static void
add_trust(struct queue_words *words, const char *name, const struct store_environment *e)
{
    if (e->is_insecure)
        vec_push(words, xasprintf("%s=insecure", name));
    else if (e->thumbprint && *e->thumbprint)
        vec_push(words, xasprintf("%s=thumbprint:%s", name, e->thumbprint));
    else
        vec_push(words, xasprintf("%s=verify", name));
}

static int
add_environment(struct api *api, struct store *store, const char *id, struct queue_words *ret,
                struct err **err)
{
    struct store_environment e = {0};
    struct secrets s = {0};
    int rc;

    if (is_of_config(id))
        return 0;
    if (store_environment_get(store, id, &e, err) < 0)
        return -1;
    rc = unseal(api, &e, &s, err);
    if (rc == 0 && e.is_vcenter) {
        add_variable(ret, "V2C_VCENTER_HOST", e.address);
        add_variable(ret, "V2C_VCENTER_USER", e.user);
        add_variable(ret, "V2C_VCENTER_PASSWORD", s.password);
        add_trust(ret, "V2C_VCENTER_TLS", &e);
    } else if (rc == 0) {
        add_variable(ret, "V2C_CLOUDSTACK_ENDPOINT", e.address);
        add_variable(ret, "V2C_CLOUDSTACK_API_KEY", s.api_key);
        add_variable(ret, "V2C_CLOUDSTACK_SECRET_KEY", s.secret_key);
        add_trust(ret, "V2C_CLOUDSTACK_TLS", &e);
    }
    secrets_done(&s);
    store_environment_done(&e);
    return rc;
}

int
api_job_environment(void *opaque, const struct store_job *job, struct queue_words *ret,
                    struct err **err)
{
    struct api *api = opaque;
    CLEANUP(store_closep) struct store *store = NULL;

    if (is_of_config(job->vcenter) && is_of_config(job->cloudstack))
        return 0;
    if (store_open(api->options.control_dir, true, &store, err) < 0)
        return -1;
    if (add_environment(api, store, job->vcenter, ret, err) < 0 ||
        add_environment(api, store, job->cloudstack, ret, err) < 0)
        return -1;
    return 0;
}

/* ---- /api/v1/environments -------------------------------------------------------------------------- */

static json_t *
environment_json(const struct store_environment *e, const char *source)
{
    json_t *object = json_object();

    json_object_set_new(object, "id", json_text(e->env_id));
    json_object_set_new(object, "kind", json_text(e->is_vcenter ? "vcenter" : "cloudstack"));
    json_object_set_new(object, "name", json_text(e->name));
    json_object_set_new(object, "address", json_text(e->address));
    json_object_set_new(object, "user", json_text(e->user));
    json_object_set_new(object, "thumbprint", json_text(e->thumbprint));
    json_object_set_new(object, "insecure", json_boolean(e->is_insecure));
    json_object_set_new(object, "source", json_text(source));
    return object;
}

/* What the file says, as long as it can be read. */
static void
append_config(struct request *r, json_t *array)
{
    CLEANUP(config_freep) struct config *c = NULL;

    if (config_load(r->api->options.config_path, true, &c, NULL, NULL) < 0)
        return;
    if (c->vcenter.host && *c->vcenter.host)
        json_array_append_new(
            array, environment_json(
                       &(struct store_environment){.env_id = (char[]){ENVIRONMENT_CONFIG_VCENTER},
                                                   .is_vcenter = true,
                                                   .name = c->vcenter.host,
                                                   .address = c->vcenter.host,
                                                   .user = c->vcenter.user,
                                                   .thumbprint = c->vcenter.thumbprint,
                                                   .is_insecure = c->vcenter.is_insecure},
                       "config"));
    if (c->cloudstack.endpoint && *c->cloudstack.endpoint)
        json_array_append_new(array, environment_json(
                                         &(struct store_environment){
                                             .env_id = (char[]){ENVIRONMENT_CONFIG_CLOUDSTACK},
                                             .name = c->cloudstack.endpoint,
                                             .address = c->cloudstack.endpoint,
                                             .thumbprint = c->cloudstack.thumbprint,
                                             .is_insecure = c->cloudstack.is_insecure},
                                         "config"));
}

int
get_environments(struct request *r, struct err **err)
{
    struct store_environments environments;
    json_t *array;

    if (store_environment_list(r->store, &environments, err) < 0)
        return -1;
    array = json_array();
    append_config(r, array);
    for (size_t i = 0; i < environments.count; i++)
        json_array_append_new(array, environment_json(&environments.items[i], "saved"));
    store_environments_done(&environments);
    return answer_json(r, MHD_HTTP_OK, array);
}

struct input {
    struct store_environment row;
    struct secrets secrets;
};

static void
input_done(struct input *input)
{
    store_environment_done(&input->row);
    secrets_done(&input->secrets);
}

static bool
is_same_trust(const struct store_environment *a, const struct store_environment *b)
{
    return a->is_insecure == b->is_insecure &&
           !strcmp(a->thumbprint ? a->thumbprint : "", b->thumbprint ? b->thumbprint : "");
}

/* Secrets that are left out stay what they were, but only for the same server, trusted the same way: nobody
 * can have a saved password sent somewhere else. */
static int
keep_secrets(struct request *r, struct input *in, struct err **err)
{
    struct store_environment before = {0};
    struct secrets s = {0};
    int rc = 0;

    if (!in->row.env_id || is_of_config(in->row.env_id) || !in->row.address)
        return 0; /* what is missing is told by check_complete */
    if (store_environment_get(r->store, in->row.env_id, &before, err) < 0)
        return -1;
    if (before.is_vcenter != in->row.is_vcenter)
        rc = err_set(err, E_REQUEST, "the kind of an environment cannot be changed");
    else if (strcmp(before.address, in->row.address) == 0 && is_same_trust(&before, &in->row))
        rc = unseal(r->api, &before, &s, err);
    if (rc == 0) {
        if (!in->secrets.password)
            in->secrets.password = take(s.password);
        if (!in->secrets.api_key)
            in->secrets.api_key = take(s.api_key);
        if (!in->secrets.secret_key)
            in->secrets.secret_key = take(s.secret_key);
    }
    secrets_done(&s);
    store_environment_done(&before);
    return rc;
}

static int
check_complete(const struct input *in, struct err **err)
{
    const struct store_environment *e = &in->row;

    if (!e->name || !*e->name || !e->address || !*e->address)
        return err_set(err, E_REQUEST, "expected name and address");
    if (e->is_vcenter && (!e->user || !*e->user || !in->secrets.password || !*in->secrets.password))
        return err_set(err, E_REQUEST, "a vCenter needs user and password");
    if (!e->is_vcenter && (!in->secrets.api_key || !*in->secrets.api_key ||
                           !in->secrets.secret_key || !*in->secrets.secret_key))
        return err_set(err, E_REQUEST, "a CloudStack needs api_key and secret_key");
    return 0;
}

/* @id: of the path; NULL: the body's, if it has one. */
static int
read_input(struct request *r, const char *id, struct input *ret, struct err **err)
{
    static const char *const keys[] = {"id",         "kind",     "name",    "address",
                                       "user",       "password", "api_key", "secret_key",
                                       "thumbprint", "insecure", NULL};
    static const char *const kinds[] = {"vcenter", "cloudstack", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct problems problems;
    const struct node *root;
    int kind = -1;

    if (body_read(r, false, &doc, err) < 0)
        return -1;
    root = doc_root(doc);
    problems_init(&problems, false);
    node_check_keys(root, keys, &problems);
    node_decode_word(root, "kind", kinds, &kind, &problems);
    node_decode_string(root, "id", &ret->row.env_id, &problems);
    node_decode_string(root, "name", &ret->row.name, &problems);
    node_decode_string(root, "address", &ret->row.address, &problems);
    node_decode_string(root, "user", &ret->row.user, &problems);
    node_decode_string(root, "thumbprint", &ret->row.thumbprint, &problems);
    node_decode_bool(root, "insecure", &ret->row.is_insecure, &problems);
    node_decode_string(root, "password", &ret->secrets.password, &problems);
    node_decode_string(root, "api_key", &ret->secrets.api_key, &problems);
    node_decode_string(root, "secret_key", &ret->secrets.secret_key, &problems);
    if (body_check(&problems, err) < 0)
        return -1;
    if (kind < 0)
        return err_set(err, E_REQUEST, "expected kind: vcenter or cloudstack");
    ret->row.is_vcenter = kind == 0;
    if (id)
        replace(&ret->row.env_id, id);
    if (keep_secrets(r, ret, err) < 0)
        return -1;
    return check_complete(ret, err);
}

static int
save(struct request *r, struct input *in, unsigned status, struct err **err)
{
    if (!in->row.env_id) {
        CLEANUP(free_charp) char *random = crypto_random_text("", 9, err);

        if (!random)
            return -1;
        in->row.env_id = xasprintf("%s-%s", in->row.is_vcenter ? "vc" : "cs", random);
    }
    if (seal(r->api, in->row.env_id, &in->secrets, &in->row.secret, err) < 0 ||
        store_environment_put(r->store, &in->row, err) < 0)
        return -1;
    return answer_json(r, status, environment_json(&in->row, "saved"));
}

int
post_environment(struct request *r, struct err **err)
{
    struct input in = {0};
    int rc = read_input(r, NULL, &in, err);

    free(take(in.row.env_id)); /* it gets its own */
    if (rc == 0)
        rc = save(r, &in, MHD_HTTP_CREATED, err);
    input_done(&in);
    return rc;
}

/* A job that goes on must find the server it began with: morefs mean nothing on another. */
static int
refuse_move_in_use(struct request *r, const struct input *in, struct err **err)
{
    struct store_environment before = {0};
    struct store_jobs jobs = {0};
    const char *user = NULL;
    bool is_moved;

    if (store_environment_get(r->store, in->row.env_id, &before, err) < 0)
        return -1;
    is_moved = strcmp(before.address, in->row.address) != 0;
    store_environment_done(&before);
    if (!is_moved)
        return 0;
    if (store_job_list(r->store,
                       &(struct store_job_filter){.states = 1U << JOB_QUEUED | 1U << JOB_RUNNING |
                                                            1U << JOB_WAITING,
                                                  .kind = -1},
                       &jobs, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < jobs.count; i++)
        if (!strcmp(jobs.items[i].vcenter, in->row.env_id) ||
            !strcmp(jobs.items[i].cloudstack, in->row.env_id))
            user = jobs.items[i].vm_name;
    if (user)
        err_set(err, E_JOB_STATE,
                "the unfinished job of %s uses it: its address stays; save the other server as an "
                "environment of its own",
                user);
    store_jobs_done(&jobs);
    return user ? -1 : 0;
}

int
put_environment(struct request *r, struct err **err)
{
    struct input in = {0};
    int rc;

    if (is_of_config(r->parts[0]))
        return err_set(err, E_REQUEST, "that of the configuration file is changed there");
    rc = read_input(r, r->parts[0], &in, err);
    if (rc == 0)
        rc = refuse_move_in_use(r, &in, err);
    if (rc == 0)
        rc = save(r, &in, MHD_HTTP_OK, err);
    input_done(&in);
    return rc;
}

int
delete_environment(struct request *r, struct err **err)
{
    if (store_environment_delete(r->store, r->parts[0], err) < 0)
        return -1;
    return answer_nothing(r);
}

/* ---- trying one -------------------------------------------------------------------------------------- */

#define TRIAL_MS 20000

static int
try_vcenter(const struct config *config, char **ret_server, struct err **err)
{
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;

    if (server_connect_vcenter(config, TRIAL_MS, &vsphere, err) < 0)
        return -1;
    *ret_server = xstrdup(vsphere_server_name(vsphere));
    return 0;
}

static int
try_cloudstack(const struct config *config, char **ret_server, struct err **err)
{
    CLEANUP(cloudstack_freep) struct cloudstack *cs = NULL;

    if (server_connect_cloudstack(config, TRIAL_MS, &cs, err) < 0)
        return -1;
    *ret_server = xasprintf("CloudStack %s", cloudstack_version(cs));
    return 0;
}

/* The SHA-256 that a refused server showed stands in the error's hint: "... SHA-256 AA:BB:... ...". */
static char *
seen_thumbprint(const struct err *error)
{
    static const char *const mark = "SHA-256 ";
    const char *hint = err_hint_text(error);
    const char *at = err_code(error) == E_TLS_UNTRUSTED && hint ? strstr(hint, mark) : NULL;
    size_t length = at ? strspn(at + strlen(mark), "0123456789ABCDEFabcdef:") : 0;

    return length == 95 ? strndup(at + strlen(mark), length) : NULL;
}

int
test_environment(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *server = NULL;
    CLEANUP(free_charp) char *thumbprint = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    struct input in = {0};
    json_t *body;
    int rc = read_input(r, NULL, &in, err);

    if (rc < 0) {
        input_done(&in);
        return -1;
    }
    config = config_new();
    if (in.row.is_vcenter)
        use_vcenter(config, &in.row, &in.secrets);
    else
        use_cloudstack(config, &in.row, &in.secrets);
    rc = in.row.is_vcenter ? try_vcenter(config, &server, &failure)
                           : try_cloudstack(config, &server, &failure);
    input_done(&in);
    body = json_pack("{s:b}", "ok", rc == 0);
    if (rc == 0) {
        json_object_set_new(body, "server", json_text(server));
    } else {
        json_object_set_new(body, "error", api_failure_json(failure));
        thumbprint = seen_thumbprint(failure);
        if (thumbprint)
            json_object_set_new(body, "thumbprint", json_text(thumbprint));
    }
    return answer_json(r, MHD_HTTP_OK, body);
}

/* ---- as the existing tool ------------------------------------------------------------------------------ */

/* Its headers x-vcenter-... and x-cloudstack-...: all that is needed, or nothing. */
static int
header_environment(struct request *r, bool is_vcenter, struct input *ret, bool *ret_is_there,
                   struct err **err)
{
    const char *address =
        pairs_get(&r->headers, is_vcenter ? "x-vcenter-host" : "x-cloudstack-endpoint");
    const char *port = pairs_get(&r->headers, "x-vcenter-port");
    const char *verify = pairs_get(&r->headers, "x-vcenter-verify-ssl");

    *ret_is_there = address && *address;
    if (!*ret_is_there)
        return 0;
    ret->row.is_vcenter = is_vcenter;
    ret->row.name = xstrdup(address);
    ret->row.address = is_vcenter && port && *port && !strchr(address, '/')
                           ? xasprintf("%s:%s", address, port)
                           : xstrdup(address);
    if (is_vcenter) {
        ret->row.user = xstrdup(pairs_get(&r->headers, "x-vcenter-user"));
        ret->secrets.password = xstrdup(pairs_get(&r->headers, "x-vcenter-password"));
        ret->row.is_insecure = verify && *verify && strchr("0fFnN", *verify);
    } else {
        ret->secrets.api_key = xstrdup(pairs_get(&r->headers, "x-cloudstack-api-key"));
        ret->secrets.secret_key = xstrdup(pairs_get(&r->headers, "x-cloudstack-secret-key"));
    }
    return check_complete(ret, err);
}

int
environment_of_headers(struct request *r, struct config **ret, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct input vcenter = {0}, cloudstack = {0};
    bool has_vcenter = false, has_cloudstack = false;
    int rc = config_load(r->api->options.config_path, true, &config, NULL, err);

    if (rc == 0)
        rc = header_environment(r, true, &vcenter, &has_vcenter, err);
    if (rc == 0)
        rc = header_environment(r, false, &cloudstack, &has_cloudstack, err);
    if (rc == 0 && has_vcenter)
        use_vcenter(config, &vcenter.row, &vcenter.secrets);
    if (rc == 0 && has_cloudstack)
        use_cloudstack(config, &cloudstack.row, &cloudstack.secrets);
    input_done(&vcenter);
    input_done(&cloudstack);
    if (rc == 0)
        *ret = take(config);
    return rc;
}

/* An environment of the same server and account is used again. */
static int
save_header_environment(struct request *r, bool is_vcenter, const char *of_config, char **ret_id,
                        struct err **err)
{
    struct input in = {0};
    CLEANUP(free_charp) char *known = NULL;
    CLEANUP(free_charp) char *hash = NULL;
    bool is_there = false;
    int rc = header_environment(r, is_vcenter, &in, &is_there, err);

    if (rc == 0 && !is_there)
        *ret_id = xstrdup(of_config);
    if (rc == 0 && is_there) {
        known = xasprintf("%s\n%s", in.row.address, is_vcenter ? in.row.user : in.secrets.api_key);
        hash = crypto_sha256(known);
        in.row.env_id = xasprintf("%s-%.16s", is_vcenter ? "vc" : "cs", hash);
        rc = seal(r->api, in.row.env_id, &in.secrets, &in.row.secret, err);
        if (rc == 0)
            rc = store_environment_put(r->store, &in.row, err);
        if (rc == 0)
            *ret_id = xstrdup(in.row.env_id);
    }
    input_done(&in);
    return rc;
}

int
environment_ids_of_headers(struct request *r, char **ret_vcenter, char **ret_cloudstack,
                           struct err **err)
{
    if (save_header_environment(r, true, ENVIRONMENT_CONFIG_VCENTER, ret_vcenter, err) < 0 ||
        save_header_environment(r, false, ENVIRONMENT_CONFIG_CLOUDSTACK, ret_cloudstack, err) < 0)
        return -1;
    return 0;
}

int
old_environment_defaults(struct request *r, struct err **err)
{
    CLEANUP(config_freep) struct config *c = NULL;

    if (config_load(r->api->options.config_path, true, &c, NULL, err) < 0)
        return -1;
    return answer_json(
        r, MHD_HTTP_OK,
        json_pack(
            "{s:{s:s, s:o, s:o, s:o, s:s, s:b}, s:{s:s, s:o, s:o, s:s, s:b}}", "vcenter", "id",
            ENVIRONMENT_CONFIG_VCENTER, "name", json_text(c->vcenter.host ? c->vcenter.host : ""),
            "host", json_text(c->vcenter.host ? c->vcenter.host : ""), "username",
            json_text(c->vcenter.user ? c->vcenter.user : ""), "source", "config", "available",
            c->vcenter.host && *c->vcenter.host, "cloudstack", "id", ENVIRONMENT_CONFIG_CLOUDSTACK,
            "name", json_text(c->cloudstack.endpoint ? c->cloudstack.endpoint : ""), "apiUrl",
            json_text(c->cloudstack.endpoint ? c->cloudstack.endpoint : ""), "source", "config",
            "available", c->cloudstack.endpoint && *c->cloudstack.endpoint));
}

static json_t *
old_profile(const struct store_environment *e)
{
    json_t *object =
        json_pack("{s:o, s:o}", "id", json_text(e->env_id), "name", json_text(e->name));

    /* Its keys, without what they held: secrets are never returned. */
    json_object_set_new(object, e->is_vcenter ? "host" : "apiUrl", json_text(e->address));
    if (e->is_vcenter)
        json_object_set_new(object, "username", json_text(e->user));
    return object;
}

int
old_environments(struct request *r, struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};
    CLEANUP(free_charp) char *vcenter = NULL;
    CLEANUP(free_charp) char *cloudstack = NULL;
    struct store_environments environments;
    json_t *vcenters = json_array(), *cloudstacks = json_array();

    if (store_setting_get(r->store, &engine, "selected_vcenter", &vcenter, err) < 0 ||
        store_setting_get(r->store, &engine, "selected_cloudstack", &cloudstack, err) < 0 ||
        store_environment_list(r->store, &environments, err) < 0) {
        json_decref(vcenters);
        json_decref(cloudstacks);
        return -1;
    }
    for (size_t i = 0; i < environments.count; i++)
        json_array_append_new(environments.items[i].is_vcenter ? vcenters : cloudstacks,
                              old_profile(&environments.items[i]));
    store_environments_done(&environments);
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "version", 1, "updated_at",
                                 json_time(clock_wall_s()), "selectedVcenterId",
                                 json_text(vcenter ? vcenter : ""), "selectedCloudstackId",
                                 json_text(cloudstack ? cloudstack : ""), "vcenters", vcenters,
                                 "cloudstacks", cloudstacks));
}

/* One profile of the existing tool's; those of its file, and those without a name or address, are skipped as
 * there.  Secrets left out stay. */
static int
put_profile(struct request *r, const json_t *profile, bool is_vcenter, struct err **err)
{
    struct input in = {0};
    const char *source = json_string_value(json_object_get(profile, "source"));
    int rc = 0;

    in.row.is_vcenter = is_vcenter;
    in.row.env_id = own_text(profile, "id");
    in.row.name = own_text(profile, "name");
    in.row.address = own_text(profile, is_vcenter ? "host" : "apiUrl");
    in.row.user = is_vcenter ? own_text(profile, "username") : NULL;
    in.secrets.password = own_text(profile, "password");
    in.secrets.api_key = own_text(profile, "apiKey");
    in.secrets.secret_key = own_text(profile, "secretKey");
    if ((!source || strcmp(source, "config") != 0) && in.row.env_id && *in.row.env_id &&
        strlen(in.row.env_id) <= 64 && !is_of_config(in.row.env_id)) {
        struct store_environment before = {0};

        if (in.row.address && store_environment_get(r->store, in.row.env_id, &before, NULL) == 0) {
            replace(&in.row.thumbprint, before.thumbprint);
            in.row.is_insecure = before.is_insecure;
            rc = keep_secrets(r, &in, err);
            store_environment_done(&before);
        }
        if (rc == 0 && check_complete(&in, NULL) == 0) {
            rc = seal(r->api, in.row.env_id, &in.secrets, &in.row.secret, err);
            if (rc == 0)
                rc = store_environment_put(r->store, &in.row, err);
        }
    }
    input_done(&in);
    return rc;
}

static bool
is_listed(const json_t *array, const char *id)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *known = json_string_value(json_object_get(json_array_get(array, i), "id"));

        if (known && !strcmp(known, id))
            return true;
    }
    return false;
}

/* It replaces everything: what is not in @body is removed, unless jobs use it. */
static int
remove_others(struct request *r, const json_t *body, struct err **err)
{
    struct store_environments known;
    int rc = 0;

    if (store_environment_list(r->store, &known, err) < 0)
        return -1;
    for (size_t i = 0; i < known.count && rc == 0; i++)
        if (!is_listed(
                json_object_get(body, known.items[i].is_vcenter ? "vcenters" : "cloudstacks"),
                known.items[i].env_id))
            rc = store_environment_delete(r->store, known.items[i].env_id, err);
    store_environments_done(&known);
    return rc;
}

int
old_put_environments(struct request *r, struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};
    const json_t *vcenters, *cloudstacks;
    json_t *body;
    int rc;

    if (body_json(r, false, &body, err) < 0)
        return -1;
    vcenters = json_object_get(body, "vcenters");
    cloudstacks = json_object_get(body, "cloudstacks");
    if (json_is_array(vcenters) && json_is_array(cloudstacks))
        rc = remove_others(r, body, err);
    else
        rc = err_set(err, E_REQUEST,
                     "expected vcenters and cloudstacks: what is not named is removed");
    for (size_t i = 0; i < json_array_size(vcenters) && rc == 0; i++)
        rc = put_profile(r, json_array_get(vcenters, i), true, err);
    for (size_t i = 0; i < json_array_size(cloudstacks) && rc == 0; i++)
        rc = put_profile(r, json_array_get(cloudstacks, i), false, err);
    if (rc == 0)
        rc = store_setting_put(r->store, &engine, "selected_vcenter",
                               json_string_value(json_object_get(body, "selectedVcenterId")), err);
    if (rc == 0)
        rc = store_setting_put(r->store, &engine, "selected_cloudstack",
                               json_string_value(json_object_get(body, "selectedCloudstackId")),
                               err);
    json_decref(body);
    return rc < 0 ? -1 : old_environments(r, err);
}
