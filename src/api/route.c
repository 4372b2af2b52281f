/* Which handler a request is for, who may call it, and how errors become answers. */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "base/clock.h"
#include "base/log.h"

static const struct route routes[] = {
#define ROUTE(method, path, role, lane, audit, handler)                                            \
    {method, path, ROLE_##role, LANE_##lane, audit, handler},
#include "api/routes.def"
#undef ROUTE
};

/* ---- finding ------------------------------------------------------------------------------------- */

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* @length bytes of a path, with %xx decoded; NULL for a NUL or a broken escape. */
static char *
decode(const char *text, size_t length)
{
    char *out = xcalloc(length + 1, 1);
    size_t n = 0;

    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        if (i + 2 < length + 0 && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
            out[n] = (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
            i += 2;
            if (out[n++])
                continue;
        }
        free(out);
        return NULL;
    }
    return out;
}

static void
clear_parts(struct request *r)
{
    for (size_t i = 0; i < MAX_PATH_PARTS; i++)
        free(take(r->parts[i]));
}

/* Fills r->parts. */
static bool
matches(struct request *r, const char *pattern)
{
    const char *path = r->path;
    size_t parts = 0;

    clear_parts(r);
    while (*pattern) {
        if (*pattern == '{') {
            size_t length = strcspn(path, "/");

            if (length == 0 || parts == MAX_PATH_PARTS)
                return false;
            r->parts[parts] = decode(path, length);
            if (!r->parts[parts++])
                return false;
            path += length;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*path;
}

static void
refuse_method(struct request *r, const char *allowed)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    err_set(&failure, E_REQUEST, "method not allowed");
    answer_header(r, "Allow", allowed);
    answer_error(r, MHD_HTTP_METHOD_NOT_ALLOWED, failure);
}

/* A literal path goes before one with {..}: they are in that order only by chance. */
static bool
is_better(const struct route *route, const struct route *before)
{
    return !before || (strchr(before->path, '{') && !strchr(route->path, '{'));
}

bool
route_find(struct request *r)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    struct str allowed = STR_INIT(256);
    const struct route *found = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(routes) && !r->api->options.ui_for; i++) {
        if (!matches(r, routes[i].path))
            continue;
        str_appendf(&allowed, "%s%s", allowed.length ? ", " : "", routes[i].method);
        if (!strcmp(routes[i].method, r->method) && is_better(&routes[i], found))
            found = &routes[i];
    }
    if (found) {
        (void)matches(r, found->path);
        r->route = found;
    } else if (allowed.length) {
        refuse_method(r, str_text(&allowed));
    } else if (!assets_answer(r->api->assets, r)) {
        err_set(&failure, E_REQUEST, "there is nothing at %.200s", r->path);
        answer_error(r, MHD_HTTP_NOT_FOUND, failure);
    }
    str_done(&allowed);
    return found;
}

/* ---- answers ------------------------------------------------------------------------------------- */

void
answer_header(struct request *r, const char *name, const char *value)
{
    vec_push(&r->answer_headers, ((struct pair){xstrdup(name), xstrdup(value)}));
}

int
answer_text(struct request *r, unsigned status, const char *type, char *text)
{
    r->status = status;
    r->type = type;
    r->answer = text;
    r->answer_length = strlen(text);
    r->is_answered = true;
    return 0;
}

int
answer_nothing(struct request *r)
{
    r->status = MHD_HTTP_NO_CONTENT;
    r->answer = xstrdup("");
    r->is_answered = true;
    return 0;
}

int
answer_json(struct request *r, unsigned status, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;

    json_decref(body);
    if (!text)
        abort(); /* out of memory: every string in it is UTF-8 */
    return answer_text(r, status, "application/json", text);
}

json_t *
api_error_json(const char *detail, const char *code, const char *hint)
{
    json_t *o;

    if (!detail)
        return json_null();
    o = json_pack("{s:o}", "detail", json_text(detail));
    if (code)
        json_object_set_new(o, "code", json_text(code));
    if (hint)
        json_object_set_new(o, "hint", json_text(hint));
    return o;
}

json_t *
api_failure_json(const struct err *error)
{
    return api_error_json(err_message(error), err_code_name(err_code(error)), err_hint_text(error));
}

void
answer_error(struct request *r, unsigned status, const struct err *error)
{
    (void)answer_json(r, status, api_failure_json(error));
}

/* The status of an error that a handler returned without choosing one. */
static unsigned
status_of(const struct err *error)
{
    switch (err_code(error)) {
    case E_REQUEST:
    case E_CONFIG:
    case E_USAGE:
    case E_SYNTAX:
        return MHD_HTTP_BAD_REQUEST;
    case E_AUTH:
        return MHD_HTTP_UNAUTHORIZED;
    case E_JOB_NOT_FOUND:
    case E_STORE_NOT_FOUND:
    case E_ACCOUNT_NOT_FOUND:
    case E_ENVIRONMENT_NOT_FOUND:
    case E_VSPHERE_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case E_JOB_EXISTS:
    case E_JOB_STATE:
    case E_ACCOUNT_EXISTS:
    case E_ACCOUNT_LAST_ADMIN:
    case E_LOCKED:
    case E_PAUSE:
    case E_REHEARSAL:
    case E_STORE_FOREIGN:
        return MHD_HTTP_CONFLICT;
    case E_LIMIT:
        return API_TOO_LARGE;
    case E_STORE:
    case E_STORE_DAMAGED:
    case E_MEMORY:
    case E_IO:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    default: /* what other servers said or did not say */
        return MHD_HTTP_BAD_GATEWAY;
    }
}

static void
write_audit(struct request *r)
{
    CLEANUP(free_charp) char *outcome = xasprintf("%u", r->status);
    CLEANUP(free_charp)
    char *action = r->parts[1] && !strcmp(r->route->audit, "job.action")
                       ? xasprintf("job.%s%s%s", r->parts[1], r->audit_note ? "." : "",
                                   r->audit_note ? r->audit_note : "")
                       : xstrdup(r->route->audit);
    const struct store_audit entry = {
        .at = clock_wall_s(),
        .user = r->caller.user,
        .address = r->address,
        .action = action,
        .subject = r->parts[0],
        .outcome = outcome,
    };

    if (store_audit_add(r->store, &entry, NULL) < 0)
        log_warning("the audit log cannot be written");
    log_info("[audit] %s from %s: %s %s: %s", r->caller.user ? r->caller.user : "nobody",
             r->address, action, r->parts[0] ? r->parts[0] : "", outcome);
}

static void
answer_failure(struct request *r, const struct err *failure)
{
    unsigned status = status_of(failure);

    if (status == MHD_HTTP_UNAUTHORIZED)
        answer_header(r, "WWW-Authenticate", "Bearer");
    answer_error(r, status, failure);
}

/* False: it has its answer. */
static bool
is_allowed(struct request *r)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (r->route->role != ROLE_NONE && sign_in(r, &failure) < 0) {
        answer_failure(r, failure);
        return false;
    }
    if (r->caller.role < r->route->role) {
        err_set(&failure, E_AUTH, "this needs the role %s", store_role_name(r->route->role));
        answer_error(r, MHD_HTTP_FORBIDDEN, failure);
        return false;
    }
    return true;
}

bool
route_admit(struct request *r)
{
    if (is_allowed(r))
        return true;
    if (r->route->audit)
        write_audit(r);
    return false;
}

void
route_answer(struct request *r)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (is_allowed(r) && r->route->answer(r, &failure) < 0 && !r->is_answered)
        answer_failure(r, failure);
    if (r->route->audit)
        write_audit(r);
}
