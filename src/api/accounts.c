/* Users, tokens, settings and the audit log. */
#include <ctype.h>
#include <string.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "base/clock.h"
#include "config/config.h"

/* ---- users --------------------------------------------------------------------------------------- */

static json_t *
account_json(const struct store_account *account)
{
    return json_pack("{s:o, s:s, s:o}", "name", json_text(account->name), "role",
                     store_role_name((enum store_role)account->role), "created_at",
                     json_time(account->created_at));
}

int
get_users(struct request *r, struct err **err)
{
    struct store_accounts accounts;
    json_t *array;

    if (store_account_list(r->store, &accounts, err) < 0)
        return -1;
    array = json_array();
    for (size_t i = 0; i < accounts.count; i++)
        json_array_append_new(array, account_json(&accounts.items[i]));
    store_accounts_done(&accounts);
    return answer_json(r, MHD_HTTP_OK, array);
}

static bool
is_user_name(const char *name)
{
    size_t length = name ? strlen(name) : 0;

    if (length == 0 || length > 64 || !isalnum((unsigned char)name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._@-", *c))
            return false;
    return true;
}

/* @role and @password: what the body has of them; NULL else. */
static int
read_user(struct request *r, bool has_name, char **name, int *role, char **password,
          struct err **err)
{
    static const char *const words[] = {"viewer", "operator", "admin", NULL};
    static const char *const keys[] = {"role", "password", "name", NULL};
    static const char *const change_keys[] = {"role", "password", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct problems problems;
    int word = -1;

    if (body_read(r, false, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    node_check_keys(doc_root(doc), has_name ? keys : change_keys, &problems);
    if (has_name)
        node_decode_string(doc_root(doc), "name", name, &problems);
    if (node_decode_word(doc_root(doc), "role", words, &word, &problems))
        *role = ROLE_VIEWER + word;
    node_decode_string(doc_root(doc), "password", password, &problems);
    return body_check(&problems, err);
}

int
post_user(struct request *r, struct err **err)
{
    CLEANUP(free_charp) char *name = NULL;
    CLEANUP(free_charp) char *password = NULL;
    CLEANUP(free_charp) char *hash = NULL;
    struct store_account account = {.created_at = clock_wall_s()};
    int role = ROLE_NONE;

    if (read_user(r, true, &name, &role, &password, err) < 0)
        return -1;
    if (!is_user_name(name) || role == ROLE_NONE || !password)
        return err_set(
            err, E_REQUEST,
            "expected name (letters, digits and . _ @ -, 64 at most), role and password");
    if (api_hash_password(password, &hash, err) < 0)
        return -1;
    account.name = name;
    account.role = role;
    account.password = hash;
    if (store_account_add(r->store, &account, err) < 0)
        return -1;
    return answer_json(r, MHD_HTTP_CREATED, account_json(&account));
}

static int
change(struct request *r, struct store_account *account, int role, const char *password,
       struct err **err)
{
    if (role != ROLE_NONE)
        account->role = role;
    if (password) {
        free(take(account->password));
        if (api_hash_password(password, &account->password, err) < 0)
            return -1;
    }
    return store_account_change(r->store, account, err);
}

int
patch_user(struct request *r, struct err **err)
{
    CLEANUP(free_charp) char *password = NULL;
    struct store_account account = {0};
    int role = ROLE_NONE, rc;

    if (read_user(r, false, NULL, &role, &password, err) < 0 ||
        store_account_get(r->store, r->parts[0], &account, err) < 0)
        return -1;
    rc = change(r, &account, role, password, err);
    if (rc == 0)
        rc = answer_json(r, MHD_HTTP_OK, account_json(&account));
    store_account_done(&account);
    return rc;
}

int
delete_user(struct request *r, struct err **err)
{
    if (store_account_delete(r->store, r->parts[0], err) < 0)
        return -1;
    return answer_nothing(r);
}

int
put_password(struct request *r, struct err **err)
{
    static const char *const keys[] = {"old", "new", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    CLEANUP(free_charp) char *old = NULL;
    CLEANUP(free_charp) char *fresh = NULL;
    struct store_account account = {0};
    struct problems problems;
    bool is_right = false;
    int rc;

    if (body_read(r, false, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    node_check_keys(doc_root(doc), keys, &problems);
    node_decode_string(doc_root(doc), "old", &old, &problems);
    node_decode_string(doc_root(doc), "new", &fresh, &problems);
    if (body_check(&problems, err) < 0)
        return -1;
    if (!old || !fresh)
        return err_set(err, E_REQUEST, "expected old and new");
    if (store_account_get(r->store, r->caller.user, &account, err) < 0)
        return -1;
    rc = password_try(r, account.name, &account, old, &is_right, err);
    if (rc == 0 && !is_right)
        rc = err_set(err, E_REQUEST, "the old password is wrong");
    if (rc == 0)
        rc = change(r, &account, ROLE_NONE, fresh, err);
    if (rc == 0)
        rc = answer_nothing(r);
    store_account_done(&account);
    return MIN(rc, 0);
}

/* ---- tokens -------------------------------------------------------------------------------------- */

#define TOKEN_PREFIX "v2c_"

int
api_make_token(struct store *store, const char *account, const char *name, int role,
               char **ret_token, struct err **err)
{
    CLEANUP(free_charp) char *token = crypto_random_text(TOKEN_PREFIX, 32, err);
    CLEANUP(free_charp) char *hash = token ? crypto_sha256(token) : NULL;
    struct store_grant grant = {
        .hash = hash,
        .account = (char *)(uintptr_t)account,
        .name = (char *)(uintptr_t)name,
        .role = role,
        .created_at = clock_wall_s(),
    };

    if (!token || store_grant_add(store, &grant, err) < 0)
        return -1;
    *ret_token = take(token);
    return 0;
}

static json_t *
token_json(const struct store_grant *grant)
{
    CLEANUP(free_charp) char *id = xasprintf("%lld", (long long)grant->id);

    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o}", "id", id, "name", json_text(grant->name),
                     "user", json_text(grant->account), "role",
                     store_role_name((enum store_role)grant->role), "created_at",
                     json_time(grant->created_at), "last_used_at", json_time(grant->used_at));
}

static const char *
whose_tokens(const struct request *r)
{
    return r->caller.role == ROLE_ADMIN ? NULL : r->caller.user;
}

int
get_tokens(struct request *r, struct err **err)
{
    struct store_grants grants;
    json_t *array;

    if (store_token_list(r->store, whose_tokens(r), &grants, err) < 0)
        return -1;
    array = json_array();
    for (size_t i = 0; i < grants.count; i++)
        json_array_append_new(array, token_json(&grants.items[i]));
    store_grants_done(&grants);
    return answer_json(r, MHD_HTTP_OK, array);
}

int
post_token(struct request *r, struct err **err)
{
    static const char *const words[] = {"viewer", "operator", "admin", NULL};
    static const char *const keys[] = {"name", "role", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    CLEANUP(free_charp) char *name = NULL;
    CLEANUP(free_charp) char *token = NULL;
    CLEANUP(free_charp) char *hash = NULL;
    struct store_grant grant = {0};
    struct problems problems;
    bool is_there = false;
    int role = -1;
    json_t *body;

    if (body_read(r, false, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    node_check_keys(doc_root(doc), keys, &problems);
    node_decode_string(doc_root(doc), "name", &name, &problems);
    node_decode_word(doc_root(doc), "role", words, &role, &problems);
    if (body_check(&problems, err) < 0)
        return -1;
    if (!name || !*name || strlen(name) > 64 || role < 0)
        return err_set(err, E_REQUEST, "expected name (64 bytes at most) and role");
    if ((int)ROLE_VIEWER + role > (int)r->caller.role)
        return err_set(err, E_REQUEST, "a token's role is yours at most: %s",
                       store_role_name(r->caller.role));
    if (api_make_token(r->store, r->caller.user, name, ROLE_VIEWER + role, &token, err) < 0)
        return -1;
    hash = crypto_sha256(token);
    if (store_grant_find(r->store, hash, &is_there, &grant, err) < 0)
        return -1;
    body = token_json(&grant);
    store_grant_done(&grant);
    json_object_set_new(body, "token", json_text(token));
    return answer_json(r, MHD_HTTP_CREATED, body);
}

int
delete_token(struct request *r, struct err **err)
{
    struct store_grants grants;
    int64_t id = 0;
    int rc = 0;

    if (store_token_list(r->store, whose_tokens(r), &grants, err) < 0)
        return -1;
    for (size_t i = 0; i < grants.count; i++) {
        CLEANUP(free_charp) char *text = xasprintf("%lld", (long long)grants.items[i].id);

        if (!strcmp(text, r->parts[0]))
            id = grants.items[i].id;
    }
    store_grants_done(&grants);
    if (!id)
        rc = err_set(err, E_ACCOUNT_NOT_FOUND, "there is no token %.40s", r->parts[0]);
    else
        rc = store_grant_delete(r->store, id, err);
    return rc < 0 ? -1 : answer_nothing(r);
}

/* ---- settings ------------------------------------------------------------------------------------ */

static int
settings_json(struct request *r, json_t **ret, struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};
    CLEANUP(free_charp) char *bandwidth = NULL;
    struct queue_limits limits;

    if (queue_limits_load(r->store, r->api->options.default_workers, &limits, err) < 0 ||
        store_setting_get(r->store, &engine, STORE_BANDWIDTH, &bandwidth, err) < 0)
        return -1;
    *ret =
        json_pack("{s:I, s:I, s:I, s:I, s:o}", "max_workers", (json_int_t)limits.max_workers,
                  "max_per_vcenter", (json_int_t)limits.max_per_vcenter, "max_per_host",
                  (json_int_t)limits.max_per_host, "max_per_pool", (json_int_t)limits.max_per_pool,
                  "bandwidth", json_text(bandwidth ? bandwidth : ""));
    return 0;
}

int
get_settings(struct request *r, struct err **err)
{
    json_t *body;

    return settings_json(r, &body, err) < 0 ? -1 : answer_json(r, MHD_HTTP_OK, body);
}

int
put_settings(struct request *r, struct err **err)
{
    static const char *const keys[] = {"max_workers",  "max_per_vcenter", "max_per_host",
                                       "max_per_pool", "bandwidth",       NULL};
    const struct store_subject engine = {.scope = STORE_ENGINE};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    CLEANUP(free_charp) char *bandwidth = NULL;
    struct queue_limits limits;
    struct problems problems;
    const struct node *root;
    struct rate_schedule schedule;

    if (body_read(r, false, &doc, err) < 0 ||
        queue_limits_load(r->store, r->api->options.default_workers, &limits, err) < 0)
        return -1;
    root = doc_root(doc);
    problems_init(&problems, false);
    node_check_keys(root, keys, &problems);
    node_decode_int(root, "max_workers", 1, 200, &limits.max_workers, &problems);
    node_decode_int(root, "max_per_vcenter", 0, 200, &limits.max_per_vcenter, &problems);
    node_decode_int(root, "max_per_host", 0, 200, &limits.max_per_host, &problems);
    node_decode_int(root, "max_per_pool", 0, 200, &limits.max_per_pool, &problems);
    if (node_decode_string(root, "bandwidth", &bandwidth, &problems) && *bandwidth &&
        rate_schedule_parse(bandwidth, &schedule, NULL) < 0)
        problems_add(&problems, node_get(root, "bandwidth"), "expected a rate such as 200MiB/s");
    if (body_check(&problems, err) < 0)
        return -1;
    if (queue_limits_save(r->store, &limits, err) < 0 ||
        (bandwidth && store_setting_put(r->store, &engine, STORE_BANDWIDTH,
                                        *bandwidth ? bandwidth : NULL, err) < 0))
        return -1;
    api_wake(r->api);
    return get_settings(r, err);
}

/* ---- audit --------------------------------------------------------------------------------------- */

int
get_audit(struct request *r, struct err **err)
{
    int64_t limit = 50, offset = 0, total = 0;
    struct store_audits audits;
    json_t *items;

    if (query_int(r, "limit", 1, 1000, &limit, err) < 0 ||
        query_int(r, "offset", 0, INT64_MAX, &offset, err) < 0 ||
        store_audit_list(r->store, limit, offset, &audits, &total, err) < 0)
        return -1;
    items = json_array();
    for (size_t i = 0; i < audits.count; i++) {
        const struct store_audit *a = &audits.items[i];

        json_array_append_new(items,
                              json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "at", json_time(a->at),
                                        "user", json_text(a->user ? a->user : ""), "address",
                                        json_text(a->address ? a->address : ""), "action",
                                        json_text(a->action), "subject",
                                        json_text(a->subject ? a->subject : ""), "outcome",
                                        json_text(a->outcome)));
    }
    store_audits_done(&audits);
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:I}", "items", items, "total", (json_int_t)total));
}
