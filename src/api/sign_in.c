/* Who asks: sessions, tokens, and how often a wrong password may be tried. */
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
    *caller = (struct caller){0};
}

/* ---- failed logins ------------------------------------------------------------------------------- */

#define MAX_TRIES      5
#define FORGIVE_MS     (5 * 60 * 1000)
#define MAX_REMEMBERED 4096

/* Of an address, or of a user's name. */
struct failures {
    char subject[80];
    unsigned count;
    int64_t last_ms;
};
struct guard {
    pthread_mutex_t mutex;
    VEC_DECLARE(, struct failures)
    known;
};

struct guard *
guard_new(void)
{
    struct guard *guard = xcalloc(1, sizeof(*guard));

    pthread_mutex_init(&guard->mutex, NULL);
    return guard;
}

void
guard_free(struct guard *guard)
{
    vec_done(&guard->known);
    pthread_mutex_destroy(&guard->mutex);
    free(guard);
}

static struct failures *
find_failures(struct guard *guard, const char *subject)
{
    int64_t now = clock_monotonic_ms();
    size_t kept = 0;

    for (size_t i = 0; i < guard->known.count; i++)
        if (now - guard->known.items[i].last_ms < FORGIVE_MS)
            guard->known.items[kept++] = guard->known.items[i];
    guard->known.count = kept;
    for (size_t i = 0; i < kept; i++)
        if (!strcmp(guard->known.items[i].subject, subject))
            return &guard->known.items[i];
    return NULL;
}

static bool
is_blocked(struct guard *guard, const char *subject)
{
    const struct failures *known;

    SCOPE_LOCK(&guard->mutex);
    known = find_failures(guard, subject);
    return known && known->count >= MAX_TRIES;
}

static void
note_failure(struct guard *guard, const char *subject)
{
    struct failures *known;

    SCOPE_LOCK(&guard->mutex);
    known = find_failures(guard, subject);
    if (!known) {
        struct failures fresh = {0};

        if (guard->known.count == MAX_REMEMBERED) /* in order of age */
            memmove(guard->known.items, guard->known.items + 1,
                    --guard->known.count * sizeof(guard->known.items[0]));
        snprintf(fresh.subject, sizeof(fresh.subject), "%s", subject);
        vec_push(&guard->known, fresh);
        known = &guard->known.items[guard->known.count - 1];
    }
    known->count++;
    known->last_ms = clock_monotonic_ms();
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
    r->caller = (struct caller){
        .user = take(grant->account),
        .role = (enum store_role)MIN(grant->role, account.role),
        .csrf = grant->name ? NULL : take(grant->csrf),
        .grant = grant->id,
    };
    store_account_done(&account);
    if (clock_wall_s() - grant->used_at > USE_EVERY)
        (void)store_grant_use(r->store, grant->id,
                              grant->name ? 0 : clock_wall_s() + SESSION_SECONDS, NULL);
    return check_csrf(r, err);
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

static int
refuse_login(struct request *r, const char *user, const char *subject, struct err **err)
{
    note_failure(r->api->guard, r->address);
    note_failure(r->api->guard, subject);
    audit_login(r, user, "refused");
    return err_set(err, E_AUTH, "user or password is wrong");
}

/* A name that nobody has costs as much time as a wrong password. */
#define NOBODY                                                                                     \
    "scrypt$15$00000000000000000000000000000000$"                                                  \
    "0000000000000000000000000000000000000000000000000000000000000000"

int
post_login(struct request *r, struct err **err)
{
    CLEANUP(doc_freep) struct doc *doc = NULL;
    static const char *const keys[] = {"user", "password", NULL};
    CLEANUP(free_charp) char *user = NULL;
    CLEANUP(free_charp) char *password = NULL;
    struct store_account account = {0};
    struct problems problems;
    bool is_right = false;
    char subject[80];
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
    snprintf(subject, sizeof(subject), "user %.64s", user);
    if (is_blocked(r->api->guard, r->address) || is_blocked(r->api->guard, subject)) {
        CLEANUP(err_freep) struct err *wait = NULL;

        err_set(&wait, E_AUTH, "too many wrong passwords: try again in five minutes");
        answer_header(r, "Retry-After", "300");
        answer_error(r, MHD_HTTP_TOO_MANY_REQUESTS, wait);
        return 0;
    }
    if (store_account_get(r->store, user, &account, NULL) < 0) {
        (void)crypto_check_password(password, NOBODY, &is_right, NULL);
        return refuse_login(r, user, subject, err);
    }
    rc = crypto_check_password(password, account.password, &is_right, err);
    if (rc == 0 && !is_right)
        rc = refuse_login(r, user, subject, err);
    else if (rc == 0) {
        audit_login(r, user, "ok");
        rc = begin_session(r, &account, err);
    }
    explicit_bzero(password, strlen(password));
    store_account_done(&account);
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
