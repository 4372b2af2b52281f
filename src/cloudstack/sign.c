/* Signing, by the rules of ApiServer.verifyRequest:
 *
 * 1. every parameter but `signature`, sorted by name as sent, bytewise;
 * 2. NAME=java.net.URLEncoder.encode(VALUE) with '+' replaced by "%20", joined by '&'; names are not
 *    encoded in this string (they are on the wire);
 * 3. all of it in lower case, HMAC-SHA1 with the secret key, base64.
 *
 * URLEncoder leaves A-Z a-z 0-9 . - * _ alone: '*' stays and '~' becomes %7E, unlike RFC 3986. */
#include "cloudstack/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/util.h"

#define MAX_FORM (1024 * 1024)

void
params_add(struct cloudstack_params *params, const char *name, const char *value)
{
    struct cloudstack_param param = {xstrdup(name), xstrdup(value)};

    vec_push(params, param);
}

void
params_add_optional(struct cloudstack_params *params, const char *name, const char *value)
{
    if (value && *value)
        params_add(params, name, value);
}

void
params_add_details(struct cloudstack_params *params, const struct cloudstack_params *details)
{
    for (size_t i = 0; details && i < details->count; i++) {
        CLEANUP(free_charp) char *name = xasprintf("details[0].%s", details->items[i].name);

        params_add(params, name, details->items[i].value);
    }
}

void
params_add_owner(struct cloudstack_params *params, const char *account, const char *domain_id,
                 const char *project_id)
{
    if (project_id && *project_id) {
        params_add(params, "projectid", project_id);
        return;
    }
    params_add_optional(params, "account", account);
    params_add_optional(params, "domainid", domain_id);
}

const char *
params_get(const struct cloudstack_params *params, const char *name)
{
    for (size_t i = 0; params && i < params->count; i++)
        if (!strcmp(params->items[i].name, name))
            return params->items[i].value;
    return NULL;
}

void
params_done(struct cloudstack_params *params)
{
    for (size_t i = 0; i < params->count; i++) {
        free((char *)params->items[i].name);
        free((char *)params->items[i].value);
    }
    vec_done(params);
}

static void
append_encoded(struct str *s, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if ((*c < 0x80 && isalnum(*c)) || strchr(".-*_", *c))
            str_append_bytes(s, c, 1);
        else
            str_appendf(s, "%%%02X", *c);
    }
}

static int
compare_names(const void *a, const void *b)
{
    const struct cloudstack_param *left = a, *right = b;

    return strcmp(left->name, right->name);
}

/* A sorted copy of the array; the texts stay the other's. */
static struct cloudstack_params
sorted(const struct cloudstack_params *params)
{
    struct cloudstack_params copy = {0};

    vec_reserve(&copy, params->count + 1);
    for (size_t i = 0; i < params->count; i++)
        vec_push(&copy, params->items[i]);
    if (copy.count)
        qsort(copy.items, copy.count, sizeof(copy.items[0]), compare_names);
    return copy;
}

char *
cloudstack_sign(const struct cloudstack_params *params, const char *secret_key)
{
    struct cloudstack_params order = sorted(params);
    struct str text = STR_INIT(MAX_FORM);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char *signature;

    for (size_t i = 0; i < order.count; i++) {
        if (!strcmp(order.items[i].name, "signature"))
            continue;
        str_appendf(&text, "%s%s=", text.length ? "&" : "", order.items[i].name);
        append_encoded(&text, order.items[i].value);
    }
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] >= 'A' && text.data[i] <= 'Z')
            text.data[i] = (char)(text.data[i] - 'A' + 'a');
    if (!HMAC(EVP_sha1(), secret_key, (int)strlen(secret_key),
              (const unsigned char *)str_text(&text), text.length, digest, &length))
        abort(); /* only for want of memory */
    signature = xcalloc(4 * ((size_t)length / 3 + 1) + 1, 1);
    EVP_EncodeBlock((unsigned char *)signature, digest, (int)length);
    str_done(&text);
    vec_done(&order);
    return signature;
}

void
form_sign(struct str *form, const char *command, const struct cloudstack_params *params,
          const char *api_key, const char *secret_key, int64_t expires_s)
{
    struct cloudstack_params all = {0}, order;
    CLEANUP(free_charp) char *signature = NULL;
    CLEANUP(free_charp) char *expires = NULL;
    char utc[32];

    /* "+0000", not "Z": older releases take only a numeric zone. */
    clock_format_utc(expires_s, utc);
    expires = xasprintf("%.*s+0000", (int)strcspn(utc, "Z"), utc);
    vec_push(&all, (struct cloudstack_param){"apikey", api_key});
    vec_push(&all, (struct cloudstack_param){"command", command});
    vec_push(&all, (struct cloudstack_param){"response", "json"});
    vec_push(&all, (struct cloudstack_param){"signatureversion", "3"});
    vec_push(&all, (struct cloudstack_param){"expires", expires});
    for (size_t i = 0; params && i < params->count; i++)
        vec_push(&all, params->items[i]);
    signature = cloudstack_sign(&all, secret_key);
    order = sorted(&all);
    vec_push(&order, (struct cloudstack_param){"signature", signature});
    for (size_t i = 0; i < order.count; i++) {
        if (i)
            str_append(form, "&");
        append_encoded(form, order.items[i].name);
        str_append(form, "=");
        append_encoded(form, order.items[i].value);
    }
    vec_done(&order);
    vec_done(&all);
}
