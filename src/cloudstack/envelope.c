/* Answers: one top-level key, "<command>response" or "errorresponse" (and a few commands that answer
 * under another's name), which holds either the result or errorcode and errortext. */
#include "cloudstack/internal.h"

#include <string.h>

#include "base/util.h"

#define SKEW_WORTH_SAYING_S 60

/* Error numbers of ApiErrorCode (which are also HTTP status codes). */
enum {
    API_UNAUTHORIZED = 401,
    API_UNAUTHORIZED_2FA = 411,
    API_LIMIT_EXCEEDED = 429,
    API_PARAM = 431,
    API_UNSUPPORTED = 432,
    API_INSUFFICIENT_CAPACITY = 533,
    API_UNAVAILABLE = 534,
    API_IN_USE = 536,
};

static char *
without(const char *text, const char *secret)
{
    struct str out = STR_INIT(1024 * 1024);
    const char *hit;

    if (!secret || !*secret)
        return xstrdup(text);
    while ((hit = strstr(text, secret))) {
        str_append_bytes(&out, text, (size_t)(hit - text));
        str_append(&out, "***");
        text = hit + strlen(secret);
    }
    str_append(&out, text);
    return str_take(&out);
}

char *
cloudstack_redact(const struct cloudstack *cs, const char *text)
{
    CLEANUP(free_charp) char *half = without(text, cs->secret_key);

    return without(half, cs->api_key);
}

static void
hint_auth(long long skew_s, struct err **err)
{
    if (skew_s > SKEW_WORTH_SAYING_S || skew_s < -SKEW_WORTH_SAYING_S)
        err_hint(err,
                 "this machine's clock is %lld seconds %s the CloudStack server's: set both by NTP "
                 "(signed requests expire)",
                 skew_s > 0 ? skew_s : -skew_s, skew_s > 0 ? "behind" : "ahead of");
    else
        err_hint(err,
                 "check cloudstack.api_key and secret_key, and that the account is enabled, may "
                 "use API keys, and has a role that allows this command (imports need a root "
                 "admin)");
}

static int
set_api_error(const struct cloudstack *cs, const char *command, int code, int cs_code,
              const char *text, long long skew_s, struct err **err)
{
    CLEANUP(free_charp) char *clean = cloudstack_redact(cs, text);
    enum err_code kind = E_CS_API;

    if (code == API_UNAUTHORIZED || code == API_UNAUTHORIZED_2FA)
        kind = E_CS_AUTH;
    else if (code == API_LIMIT_EXCEEDED || code == API_INSUFFICIENT_CAPACITY ||
             code == API_UNAVAILABLE || code == API_IN_USE)
        kind = E_CS_BUSY;
    else if (code == API_PARAM && strstr(text, "entity does not exist"))
        kind = E_CS_NOT_FOUND;
    if (cs_code)
        err_set(err, kind, "CloudStack refused %s: %s (error %d/%d)", command, clean, code,
                cs_code);
    else
        err_set(err, kind, "CloudStack refused %s: %s (error %d)", command, clean, code);
    if (kind == E_CS_AUTH)
        hint_auth(skew_s, err);
    else if (code == API_UNSUPPORTED)
        err_hint(err,
                 "this CloudStack does not have the command, or the account's role forbids it");
    else if (code == API_LIMIT_EXCEEDED)
        err_hint(err, "the account's API calls are throttled (api.throttling settings)");
    return -1;
}

/* No JSON: a proxy's or Tomcat's page, or another program altogether. */
static int
set_foreign_answer(const char *command, long status, struct err **err)
{
    if (status >= 300 && status < 400) {
        err_set(err, E_CONFIG, "%s was answered with a redirection (HTTP %ld)", command, status);
        return err_hint(err, "write cloudstack.endpoint as the server wants it, perhaps https://");
    }
    if (status == 404 || status == 405) {
        err_set(err, E_CONFIG, "%s: there is no CloudStack API at the endpoint (HTTP %ld)", command,
                status);
        return err_hint(err, "check host, port and path of cloudstack.endpoint");
    }
    if (status == API_UNAUTHORIZED || status == 403) {
        err_set(err, E_CS_AUTH, "%s was refused without a reason (HTTP %ld)", command, status);
        return err_hint(err, "perhaps a proxy in front of CloudStack wants a login");
    }
    if (status == API_LIMIT_EXCEEDED || status == 502 || status == 503 || status == 504)
        return err_set(err, E_CS_BUSY, "%s: CloudStack is not available now (HTTP %ld)", command,
                       status);
    err_set(err, E_CS_PROTOCOL, "%s was answered with HTTP %ld and no JSON of CloudStack", command,
            status);
    return err_hint(err, "check that cloudstack.endpoint is a CloudStack management server");
}

int
envelope_open(const struct cloudstack *cs, const char *command, long status, const char *body,
              size_t length, long long skew_s, json_t **ret_answer, struct err **err)
{
    CLEANUP(json_freep) json_t *root = json_loadb(body, length, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer, *code, *text;

    if (!json_is_object(root) || json_object_size(root) != 1)
        return set_foreign_answer(command, status, err);
    answer = json_object_iter_value(json_object_iter(root));
    if (!json_is_object(answer))
        return set_foreign_answer(command, status, err);
    code = json_object_get(answer, "errorcode");
    text = json_object_get(answer, "errortext");
    if (status >= 400 && !json_is_integer(code) && !text)
        return set_foreign_answer(command, status, err); /* a proxy's, in JSON */
    if (json_is_integer(code) || text) {
        json_int_t number = json_is_integer(code) ? json_integer_value(code) : status;
        json_t *detail = json_object_get(answer, "cserrorcode");

        return set_api_error(cs, command, (int)number, (int)json_integer_value(detail),
                             json_is_string(text) ? json_string_value(text) : "no reason given",
                             skew_s, err);
    }
    if (status != 200)
        return set_foreign_answer(command, status, err);
    *ret_answer = json_incref(answer);
    return 0;
}

json_t *
envelope_array(json_t *answer)
{
    const char *key;
    json_t *value;

    json_object_foreach (answer, key, value) {
        if (json_is_array(value))
            return value;
    }
    return NULL;
}
