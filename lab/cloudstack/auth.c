/* Who is asking: ApiServer.verifyRequest. */
#include "cloudstack/cs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/clock.h"
#include "base/str.h"

#define MAX_AHEAD_S (15 * 60)

static const char REFUSED[] = "unable to verify user credentials and/or request signature";

/* java.net.URLEncoder with UTF-8, whose '+' becomes "%20", already in lower case. */
static void
append_java_encoded(struct str *out, const char *value)
{
    static const char KEPT[] = "abcdefghijklmnopqrstuvwxyz0123456789.-*_";
    static const char HEX[] = "0123456789abcdef";

    for (; *value; value++) {
        unsigned char byte = (unsigned char)*value;
        char lower = byte >= 'A' && byte <= 'Z' ? (char)(byte + 32) : (char)byte;
        char escape[3] = {'%', HEX[byte >> 4], HEX[byte & 15]};

        if (byte < 0x80 && strchr(KEPT, lower))
            str_append_bytes(out, &lower, 1);
        else
            str_append_bytes(out, escape, 3);
    }
}

static bool
comes_first(const struct cs_request *rq, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (!strcmp(rq->params.items[i].name, rq->params.items[index].name))
            return false;
    return true;
}

/* Of a name that was sent twice only the first value counts. */
static size_t *
order_of_names(const struct cs_request *rq, size_t *ret_count)
{
    size_t *order = xcalloc(rq->params.count + 1, sizeof(*order)), count = 0;

    for (size_t i = 0; i < rq->params.count; i++) {
        size_t at = count;

        if (!strcasecmp(rq->params.items[i].name, "signature") || !comes_first(rq, i))
            continue;
        for (; at > 0 && strcmp(rq->params.items[order[at - 1]].name, rq->params.items[i].name) > 0;
             at--)
            order[at] = order[at - 1];
        order[at] = i;
        count++;
    }
    *ret_count = count;
    return order;
}

char *
cs_signed_string(const struct cs_request *rq)
{
    struct str out = STR_INIT(16 * 1024 * 1024);
    size_t count = 0, *order = order_of_names(rq, &count);

    for (size_t i = 0; i < count; i++) {
        const struct cs_param *param = &rq->params.items[order[i]];

        if (i)
            str_append(&out, "&");
        for (const char *c = param->name; *c; c++) {
            char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;

            str_append_bytes(&out, &lower, 1);
        }
        str_append(&out, "=");
        append_java_encoded(&out, param->value);
    }
    free(order);
    return str_take(&out);
}

static bool
signature_matches(const char *text, const char *secret, const char *given)
{
    unsigned char digest[64], wanted[128];
    size_t length = 0;
    char sha1[] = "SHA1";
    OSSL_PARAM options[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha1, 0),
                            OSSL_PARAM_construct_end()};

    if (!EVP_Q_mac(NULL, "HMAC", NULL, NULL, options, secret, strlen(secret),
                   (const unsigned char *)text, strlen(text), digest, sizeof(digest), &length))
        return false;
    length = (size_t)EVP_EncodeBlock(wanted, digest, (int)length);
    return strlen(given) == length && CRYPTO_memcmp(wanted, given, length) == 0;
}

/* YYYY-MM-DDThh:mm:ss and a zone: Z, +hhmm or +hh:mm. */
static bool
parse_expires(const char *text, int64_t *ret_wall_s)
{
    struct tm tm = {0};
    const char *zone = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    unsigned hours = 0, minutes = 0;
    char sign;
    int length = 0;

    if (!zone)
        return false;
    *ret_wall_s = timegm(&tm);
    if (!strcmp(zone, "Z"))
        return true;
    if (sscanf(zone, "%c%2u%n", &sign, &hours, &length) < 2 || length != 3 || !strchr("+-", sign))
        return false;
    zone += length + (zone[length] == ':');
    length = 0;
    if (sscanf(zone, "%2u%n", &minutes, &length) != 1 || length != 2 || zone[2])
        return false;
    *ret_wall_s -= (sign == '+' ? 1 : -1) * (int64_t)(hours * 3600 + minutes * 60);
    return true;
}

static int
check_expiry(const struct lab_cloudstack *cs, const struct cs_request *rq, struct cs_error *error)
{
    const char *version = cs_get(rq, "signatureversion"), *expires = cs_get(rq, "expires");
    int64_t at = 0, now = clock_wall_s();

    if (!version || strcmp(version, "3"))
        return cs->is_post_enforced ? cs_fail(error, CS_UNAUTHORIZED, REFUSED) : 0;
    if (!expires || !parse_expires(expires, &at) || at < now)
        return cs_fail(error, CS_UNAUTHORIZED, REFUSED);
    if (cs->is_post_enforced && at > now + MAX_AHEAD_S)
        return cs_fail(error, CS_UNAUTHORIZED, REFUSED);
    return 0;
}

int
cs_check_signature(const struct lab_cloudstack *cs, const struct cs_request *rq,
                   struct cs_error *error)
{
    const char *key = cs_get(rq, "apikey"), *signature = cs_get(rq, "signature");
    CLEANUP(free_charp) char *text = NULL;

    if (!key || !signature || strcmp(key, cs->api_key))
        return cs_fail(error, CS_UNAUTHORIZED, REFUSED);
    text = cs_signed_string(rq);
    if (!signature_matches(text, cs->secret_key, signature))
        return cs_fail(error, CS_UNAUTHORIZED, REFUSED);
    return check_expiry(cs, rq, error);
}
