/* Who asks: sessions and tokens. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "base/clock.h"
#include "base/log.h"

#define SESSION_SECONDS (12 * 3600) /* since it was last used */
#define USE_EVERY       60          /* seconds between notes that a session is used */
#define COOKIE          "v2c_session"

void
caller_done(struct caller *caller)
{
    free(caller->user);
    free(caller->csrf);
    free(caller->hash);
    *caller = (struct caller){0};
}

/* ---- signing in ---------------------------------------------------------------------------------- */

static char *
find_cookie(const struct request *r)
{
    const char *text = pairs_get(&r->headers, "Cookie");

    while (text && *text) {
        size_t length = strcspn(text, ";");

        text += strspn(text, " ");
        length = strcspn(text, ";");
        if (!strncmp(text, COOKIE "=", sizeof(COOKIE)))
            return strndup(text + sizeof(COOKIE), length - sizeof(COOKIE));
        text += length + (text[length] == ';');
    }
    return NULL;
}

static int
check_csrf(const struct request *r, struct err **err)
{
    if (!strcmp(r->method, "GET") || !r->caller.csrf ||
        crypto_same(pairs_get(&r->headers, "X-CSRF-Token"), r->caller.csrf))
        return 0;
    err_set(err, E_AUTH, "X-CSRF-Token is missing or wrong");
    return err_hint(err, "GET /api/v1/me says it");
}

/* The role of an account may have been lowered since: the lesser of both counts. */
static int
take_grant(struct request *r, struct store_grant *grant, struct err **err)
{
    struct store_account account = {0};

    if (store_account_get(r->store, grant->account, &account, NULL) < 0)
        return err_set(err, E_AUTH, "the user is gone");
    caller_done(&r->caller); /* it was asked before its body came, too */
    r->caller = (struct caller){
        .user = take(grant->account),
        .role = (enum store_role)MIN(grant->role, account.role),
        .csrf = grant->name ? NULL : take(grant->csrf),
        .grant = grant->id,
        .hash = take(grant->hash),
    };
    store_account_done(&account);
    if (clock_wall_s() - grant->used_at > USE_EVERY)
        (void)store_grant_use(r->store, grant->id,
                              grant->name ? 0 : clock_wall_s() + SESSION_SECONDS, NULL);
    return check_csrf(r, err);
}

int
sign_in_role(struct store *store, const char *hash, enum store_role *ret, struct err **err)
{
    struct store_account account = {0};
    struct store_grant grant = {0};
    struct err *failure = NULL;
    bool is_there = false;
    int rc = store_grant_find(store, hash, &is_there, &grant, err);

    *ret = ROLE_NONE;
    if (rc == 0 && is_there && store_account_get(store, grant.account, &account, &failure) == 0)
        *ret = (enum store_role)MIN(grant.role, account.role);
    if (failure && err_code(failure) != E_ACCOUNT_NOT_FOUND)
        rc = err_move(err, &failure);
    err_free(failure);
    store_account_done(&account);
    store_grant_done(&grant);
    return rc;
}

int
sign_in(struct request *r, struct err **err)
{
    const char *authorization = pairs_get(&r->headers, "Authorization");
    CLEANUP(free_charp) char *cookie = NULL;
    CLEANUP(free_charp) char *hash = NULL;
    struct store_grant grant = {0};
    bool is_there = false;
    int rc;

    if (authorization && !strncasecmp(authorization, "Bearer ", 7))
        cookie = xstrdup(authorization + 7);
    else
        cookie = find_cookie(r);
    if (!cookie)
        return err_set(err, E_AUTH, "not signed in");
    hash = crypto_sha256(cookie);
    if (store_grant_find(r->store, hash, &is_there, &grant, err) < 0)
        return -1;
    if (!is_there || !grant.name != !(authorization && !strncasecmp(authorization, "Bearer ", 7))) {
        store_grant_done(&grant);
        return err_set(err, E_AUTH, "the session or token is not known, or has ended");
    }
    rc = take_grant(r, &grant, err);
    store_grant_done(&grant);
    return rc;
}

/* ---- sessions ------------------------------------------------------------------------------------ */

static json_t *
me_json(const struct request *r)
{
    json_t *body = json_object();

    json_object_set_new(body, "user", json_text(r->caller.user));
    json_object_set_new(body, "role", json_text(store_role_name(r->caller.role)));
    json_object_set_new(body, "csrf", json_text(r->caller.csrf));
    return body;
}

static int
begin_session(struct request *r, const struct store_account *account, struct err **err)
{
    CLEANUP(free_charp) char *secret = crypto_random_text("", 32, err);
    CLEANUP(free_charp) char *csrf = secret ? crypto_random_text("", 24, err) : NULL;
    CLEANUP(free_charp) char *hash = csrf ? crypto_sha256(secret) : NULL;
    CLEANUP(free_charp) char *cookie = NULL;
    struct store_grant grant = {
        .hash = hash,
        .account = account->name,
        .csrf = csrf,
        .role = account->role,
        .created_at = clock_wall_s(),
        .used_at = clock_wall_s(),
        .expires_at = clock_wall_s() + SESSION_SECONDS,
    };

    if (!csrf || store_grants_expire(r->store, err) < 0 ||
        store_grant_add(r->store, &grant, err) < 0)
        return -1;
    cookie = xasprintf(COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict%s", secret,
                       r->api->is_tls ? "; Secure" : "");
    answer_header(r, "Set-Cookie", cookie);
    r->caller = (struct caller){.user = xstrdup(account->name),
                                .role = (enum store_role)account->role,
                                .csrf = xstrdup(csrf),
                                .grant = grant.id};
    return answer_json(r, MHD_HTTP_OK, me_json(r));
}

static void
audit_login(struct request *r, const char *user, const char *outcome)
{
    const struct store_audit entry = {.at = clock_wall_s(),
                                      .user = (char *)(uintptr_t)user,
                                      .address = r->address,
                                      .action = (char[]){"login"},
                                      .outcome = (char *)(uintptr_t)outcome};

    (void)store_audit_add(r->store, &entry, NULL);
    log_info("[audit] %s from %s: login: %s", user, r->address, outcome);
}

/* A name that nobody has costs as much time as a wrong password. */
#define NOBODY                                                                                     \
    "scrypt$15$00000000000000000000000000000000$"                                                  \
    "0000000000000000000000000000000000000000000000000000000000000000"

static int
refuse_try(struct request *r, int64_t wait_s)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(free_charp) char *seconds = xasprintf("%lld", (long long)wait_s);

    err_set(&failure, E_AUTH, "too many wrong passwords: try again in %lld minutes",
            (long long)(wait_s + 59) / 60);
    answer_header(r, "Retry-After", seconds);
    answer_error(r, MHD_HTTP_TOO_MANY_REQUESTS, failure);
    return 1;
}

int
password_try(struct request *r, const char *user, const struct store_account *account,
             const char *password, bool *ret_is_right, struct err **err)
{
    int64_t wait_s = guard_take(r->api->guard, user, r->address, clock_monotonic_ms());

    if (wait_s)
        return refuse_try(r, wait_s);
    if (crypto_check_password(password, account ? account->password : NOBODY, ret_is_right, err) <
        0)
        return -1;
    *ret_is_right &= account != NULL;
    if (*ret_is_right)
        guard_forgive(r->api->guard, user, r->address, clock_monotonic_ms());
    return 0;
}

static int
log_in(struct request *r, const char *user, const char *password, struct err **err)
{
    struct store_account account = {0};
    bool is_there = store_account_get(r->store, user, &account, NULL) == 0, is_right = false;
    int rc = password_try(r, user, is_there ? &account : NULL, password, &is_right, err);

    if (rc == 0) {
        audit_login(r, user, is_right ? "ok" : "refused");
        rc = is_right ? begin_session(r, &account, err)
                      : err_set(err, E_AUTH, "user or password is wrong");
    }
    store_account_done(&account);
    return MIN(rc, 0);
}

int
post_login(struct request *r, struct err **err)
{
    CLEANUP(doc_freep) struct doc *doc = NULL;
    static const char *const keys[] = {"user", "password", NULL};
    CLEANUP(free_charp) char *user = NULL;
    CLEANUP(free_charp) char *password = NULL;
    struct problems problems;
    int rc;

    if (body_read(r, false, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    node_check_keys(doc_root(doc), keys, &problems);
    node_decode_string(doc_root(doc), "user", &user, &problems);
    node_decode_string(doc_root(doc), "password", &password, &problems);
    if (body_check(&problems, err) < 0)
        return -1;
    if (!user || !password || strlen(user) > 64 || strlen(password) > 1024)
        return err_set(err, E_REQUEST, "expected user (64 bytes at most) and password");
    rc = log_in(r, user, password, err);
    explicit_bzero(password, strlen(password));
    return rc;
}

int
post_logout(struct request *r, struct err **err)
{
    /* A token stays: it is revoked by name. */
    if (r->caller.csrf && store_grant_delete(r->store, r->caller.grant, err) < 0)
        return -1;
    answer_header(r, "Set-Cookie", COOKIE "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    return answer_nothing(r);
}

int
get_me(struct request *r, struct err **err)
{
    return answer_json(r, MHD_HTTP_OK, me_json(r));
}
