#include "net/trust.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define SHA1_BYTES   20
#define SHA256_BYTES 32

/* Hex digits, with colons, blanks or dashes between them: people paste what their tool printed. */
static int
parse_pin(const char *text, struct trust *trust, struct err **err)
{
    size_t digits = 0;
    unsigned char pin[SHA256_BYTES] = {0};

    for (const char *p = text; *p; p++) {
        int value;

        if (strchr(": -", *p))
            continue;
        if (!isxdigit((unsigned char)*p) || digits == 2 * SHA256_BYTES) {
            digits = 0;
            break;
        }
        value = isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10;
        pin[digits / 2] |= (unsigned char)(digits % 2 ? value : value << 4);
        digits++;
    }
    if (digits != 2 * SHA1_BYTES && digits != 2 * SHA256_BYTES) {
        err_set(err, E_CONFIG, "%s.thumbprint: \"%.100s\" is no SHA-1 or SHA-256 fingerprint",
                trust->config_key, text);
        return err_hint(err, "40 or 64 hex digits are wanted, as `openssl x509 -fingerprint "
                             "-sha256` prints them");
    }
    memcpy(trust->pin, pin, sizeof(pin));
    trust->pin_length = digits / 2;
    return 0;
}

/* Found out now rather than at the first connection, where curl says no more than "error setting
 * certificate verify locations". */
static int
check_ca_file(const struct trust *trust, struct err **err)
{
    X509_STORE *store;
    int is_loaded;

    if (access(trust->ca_file, R_OK) < 0)
        return err_set_errno(err, E_CONFIG, errno, "%s.ca_file: %s", trust->config_key,
                             trust->ca_file);
    store = X509_STORE_new();
    if (!store)
        return err_set(err, E_MEMORY, "out of memory");
    is_loaded = X509_STORE_load_file(store, trust->ca_file);
    X509_STORE_free(store);
    if (!is_loaded)
        return err_set(err, E_CONFIG, "%s.ca_file: %s holds no certificate in PEM form",
                       trust->config_key, trust->ca_file);
    return 0;
}

int
trust_init(struct trust *trust, const struct net_trust *from, struct err **err)
{
    memset(trust, 0, sizeof(*trust));
    trust->config_key = xstrdup(from->config_key ? from->config_key : "server");
    trust->is_insecure = from->is_insecure;
    if (from->thumbprint && *from->thumbprint)
        return parse_pin(from->thumbprint, trust, err);
    if (from->ca_file && *from->ca_file && !trust->is_insecure) {
        trust->ca_file = xstrdup(from->ca_file);
        return check_ca_file(trust, err);
    }
    return 0;
}

void
trust_done(struct trust *trust)
{
    free(trust->ca_file);
    free(trust->config_key);
    memset(trust, 0, sizeof(*trust));
}

static size_t
take_fingerprint(const X509 *leaf, const EVP_MD *digest, unsigned char *bytes, char *text)
{
    unsigned length = 0;

    if (!X509_digest(leaf, digest, bytes, &length))
        length = 0;
    for (unsigned i = 0; i < length; i++)
        snprintf(text + (size_t)3 * i, 4, "%02X:", bytes[i]);
    if (length)
        text[3 * length - 1] = '\0';
    return length;
}

/* SSL_CTX_set_cert_verify_callback's contract: takes the place of the whole chain verification;
 * 1 accepts.  The host name is not looked at here: curl does that when it was told to. */
static int
verify(X509_STORE_CTX *store, void *opaque)
{
    struct trust_seen *seen = opaque;
    const struct trust *trust = seen->trust;
    const X509 *leaf = X509_STORE_CTX_get0_cert(store);
    unsigned char sha1[EVP_MAX_MD_SIZE], sha256[EVP_MAX_MD_SIZE];
    char sha1_text[3 * EVP_MAX_MD_SIZE + 1], sha256_text[3 * EVP_MAX_MD_SIZE + 1];

    seen->is_seen = seen->is_refused = false;
    seen->reason[0] = '\0';
    if (!leaf || take_fingerprint(leaf, EVP_sha1(), sha1, sha1_text) != SHA1_BYTES ||
        take_fingerprint(leaf, EVP_sha256(), sha256, sha256_text) != SHA256_BYTES) {
        snprintf(seen->reason, sizeof(seen->reason), "its fingerprint cannot be taken");
        seen->is_refused = true;
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    memcpy(seen->sha1, sha1_text, sizeof(seen->sha1));
    memcpy(seen->sha256, sha256_text, sizeof(seen->sha256));
    seen->is_seen = true;
    if (trust->pin_length) {
        if (!memcmp(trust->pin, trust->pin_length == SHA1_BYTES ? sha1 : sha256,
                    trust->pin_length)) {
            X509_STORE_CTX_set_error(store, X509_V_OK);
            return 1;
        }
        snprintf(seen->reason, sizeof(seen->reason), "it is not the one that is pinned");
        seen->is_refused = true;
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    if (trust->is_insecure) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    if (X509_verify_cert(store) == 1)
        return 1;
    seen->is_refused = true;
    snprintf(seen->reason, sizeof(seen->reason), "%s",
             X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    return 0;
}

static CURLcode
on_ssl_ctx(CURL *curl, void *ssl_ctx, void *opaque)
{
    SSL_CTX_set_cert_verify_callback(ssl_ctx, verify, opaque);
    return CURLE_OK;
}

int
trust_apply(const struct trust *trust, CURL *curl, struct trust_seen *seen, struct err **err)
{
    bool is_chain_wanted = !trust->pin_length && !trust->is_insecure;
    CURLcode rc;

    seen->trust = trust;
    /* VERIFYPEER stays on with a pin: OpenSSL then ends the handshake when our callback says no. */
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, trust->pin_length || is_chain_wanted ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, is_chain_wanted ? 2L : 0L);
    if (trust->ca_file) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, trust->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    } else if (!is_chain_wanted) { /* not needed, and may be missing on a bare machine */
        curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    rc = curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
    if (rc != CURLE_OK)
        return err_set(err, E_BUG, "this libcurl was not built with OpenSSL: %s",
                       curl_easy_strerror(rc));
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, seen);
    return 0;
}

int
trust_refuse(const struct trust *trust, const struct trust_seen *seen, const char *where,
             const char *detail, struct err **err)
{
    const char *key = trust->config_key;

    err_set(err, E_TLS_UNTRUSTED, "%s: the server's certificate is not trusted: %s", where,
            seen->reason[0] ? seen->reason : detail);
    if (!seen->is_seen)
        return -1;
    return err_hint(err,
                    "the server shows SHA-256 %s and SHA-1 %s; if you have compared that with the "
                    "server itself, put this into the configuration: %s.thumbprint: \"%s\"; or "
                    "name the authority that signed it in %s.ca_file",
                    seen->sha256, seen->sha1, key, seen->sha256, key);
}
