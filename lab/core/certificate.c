/* The lab's certificate: an EC key and a certificate signed by itself, which also serves as its own
 * authority, so that a client can be given it as a CA file or pin its fingerprint. */
#include "core/https.h"

#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/util.h"

#define VALID_FOR_S (30L * 24 * 3600)

static void
x509_freep(X509 **x)
{
    X509_free(*x);
}

static void
pkey_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static int
set_openssl_error(struct err **err, const char *what)
{
    char text[160];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return err_set(err, E_IO, "cannot make the lab's certificate: %s: %s", what, text);
}

static bool
add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;
    bool is_added;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!extension)
        return false;
    is_added = X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return is_added;
}

static bool
fill(X509 *cert, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(cert);
    unsigned char serial[8];
    uint64_t number;

    if (RAND_bytes(serial, sizeof(serial)) != 1)
        return false;
    memcpy(&number, serial, sizeof(number));
    /* A minute of slack before now, for clients whose clock is a little behind. */
    return X509_set_version(cert, 2) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), (number >> 1) | 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -60) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), VALID_FOR_S) &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"v2c lab", -1,
                                      -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") &&
           add_extension(cert, NID_subject_key_identifier, "hash") &&
           add_extension(cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1") &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

static bool
fingerprint(const X509 *cert, const EVP_MD *digest, char *ret_text, size_t room)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (X509_digest(cert, digest, bytes, &length) != 1 || room < length * 3)
        return false;
    for (unsigned i = 0; i < length; i++)
        (void)snprintf(ret_text + i * 3, room - i * 3, "%02X%s", bytes[i],
                       i + 1 < length ? ":" : "");
    return true;
}

static char *
bio_text(BIO *bio)
{
    char *data = NULL, *text;
    long length = BIO_get_mem_data(bio, &data);

    text = xcalloc((size_t)length + 1, 1);
    memcpy(text, data, (size_t)length);
    return text;
}

int
lab_certificate_new(struct lab_certificate *ret, struct err **err)
{
    CLEANUP(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(x509_freep) X509 *cert = X509_new();
    struct lab_certificate made = {0};
    BIO *cert_bio, *key_bio;

    if (!key || !cert)
        return set_openssl_error(err, "key");
    if (!fill(cert, key))
        return set_openssl_error(err, "certificate");
    if (!fingerprint(cert, EVP_sha1(), made.sha1, sizeof(made.sha1)) ||
        !fingerprint(cert, EVP_sha256(), made.sha256, sizeof(made.sha256)))
        return set_openssl_error(err, "fingerprint");
    cert_bio = BIO_new(BIO_s_mem());
    key_bio = BIO_new(BIO_s_mem());
    if (!cert_bio || !key_bio || PEM_write_bio_X509(cert_bio, cert) != 1 ||
        PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(cert_bio);
        BIO_free(key_bio);
        return set_openssl_error(err, "PEM");
    }
    made.cert_pem = bio_text(cert_bio);
    made.key_pem = bio_text(key_bio);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    *ret = made;
    return 0;
}

void
lab_certificate_done(struct lab_certificate *certificate)
{
    free(certificate->cert_pem);
    free(certificate->key_pem);
    memset(certificate, 0, sizeof(*certificate));
}
