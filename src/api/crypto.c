/* What the service needs of cryptography, all of it OpenSSL's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "api/internal.h"
#include "base/file.h"

static int
fail(const char *what, struct err **err)
{
    return err_set(err, E_MEMORY, "OpenSSL: %s failed", what);
}

int
crypto_random(void *data, size_t length, struct err **err)
{
    return RAND_bytes(data, (int)length) == 1 ? 0 : fail("a random number", err);
}

static char *
to_hex(const unsigned char *data, size_t length)
{
    char *text = xcalloc(2 * length + 1, 1);

    for (size_t i = 0; i < length; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    return text;
}

static int
hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* The number of bytes; -1 when @text is no hexadecimal, or longer than @max bytes. */
static int
from_hex(const char *text, unsigned char *data, size_t max)
{
    size_t length = strlen(text) / 2;

    if (strlen(text) % 2 || length > max)
        return -1;
    for (size_t i = 0; i < length; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return -1;
        data[i] = (unsigned char)(high << 4 | low);
    }
    return (int)length;
}

char *
crypto_random_text(const char *prefix, size_t bytes, struct err **err)
{
    unsigned char data[64], encoded[96];
    size_t length = MIN(bytes, sizeof(data));

    if (crypto_random(data, length, err) < 0)
        return NULL;
    EVP_EncodeBlock(encoded, data, (int)length);
    for (unsigned char *c = encoded; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
    return xasprintf("%s%s", prefix, (const char *)encoded);
}

char *
crypto_sha256(const char *text)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)text, strlen(text), digest);
    return to_hex(digest, sizeof(digest));
}

int
crypto_hmac(const char *key, const char *text, char **ret, struct err **err)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (!HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)text, strlen(text), mac,
              &length))
        return err_set(err, E_BUG, "OpenSSL makes no HMAC-SHA256");
    *ret = to_hex(mac, length);
    return 0;
}

bool
crypto_same(const char *a, const char *b)
{
    return a && b && strlen(a) == strlen(b) && CRYPTO_memcmp(a, b, strlen(a)) == 0;
}

/* ---- passwords --------------------------------------------------------------------------------- */

#define MIN_PASSWORD 10U
#define MAX_PASSWORD 1024U
#define SALT_BYTES   16U
#define HASH_BYTES   32U
#define SCRYPT_LOG_N 15 /* 32 MiB, about 0.1 s */
#define SCRYPT_R     8U
#define SCRYPT_P     1U

static int
derive(const char *password, const unsigned char *salt, size_t salt_length, int log_n,
       unsigned char ret_hash[HASH_BYTES], struct err **err)
{
    if (EVP_PBE_scrypt(password, strlen(password), salt, salt_length, 1ULL << log_n, SCRYPT_R,
                       SCRYPT_P, 128 * MIB, ret_hash, HASH_BYTES) != 1)
        return fail("scrypt", err);
    return 0;
}

int
api_hash_password(const char *password, char **ret_hash, struct err **err)
{
    unsigned char salt[SALT_BYTES], hash[HASH_BYTES];
    CLEANUP(free_charp) char *salt_text = NULL;
    CLEANUP(free_charp) char *hash_text = NULL;

    if (strlen(password) < MIN_PASSWORD || strlen(password) > MAX_PASSWORD)
        return err_set(err, E_REQUEST, "a password has %u to %u bytes", MIN_PASSWORD, MAX_PASSWORD);
    if (crypto_random(salt, sizeof(salt), err) < 0 ||
        derive(password, salt, sizeof(salt), SCRYPT_LOG_N, hash, err) < 0)
        return -1;
    salt_text = to_hex(salt, sizeof(salt));
    hash_text = to_hex(hash, sizeof(hash));
    *ret_hash = xasprintf("scrypt$%d$%s$%s", SCRYPT_LOG_N, salt_text, hash_text);
    return 0;
}

int
crypto_check_password(const char *password, const char *hash, bool *ret_is_right, struct err **err)
{
    unsigned char salt[64], expected[HASH_BYTES], got[HASH_BYTES];
    char salt_text[129], hash_text[129];
    int log_n = 0, salt_length;

    *ret_is_right = false;
    if (strlen(password) > MAX_PASSWORD)
        return 0;
    if (sscanf(hash, "scrypt$%d$%128[0-9a-f]$%128[0-9a-f]", &log_n, salt_text, hash_text) != 3 ||
        log_n < 10 || log_n > 16)
        return err_set(err, E_STORE_DAMAGED, "the record of a password makes no sense");
    salt_length = from_hex(salt_text, salt, sizeof(salt));
    if (salt_length < 0 || from_hex(hash_text, expected, sizeof(expected)) != (int)HASH_BYTES)
        return err_set(err, E_STORE_DAMAGED, "the record of a password makes no sense");
    if (derive(password, salt, (size_t)salt_length, log_n, got, err) < 0)
        return -1;
    *ret_is_right = CRYPTO_memcmp(expected, got, HASH_BYTES) == 0;
    return 0;
}

int
api_random_password(char **ret_password, struct err **err)
{
    *ret_password = crypto_random_text("", 18, err);
    return *ret_password ? 0 : -1;
}

/* ---- sealed secrets ---------------------------------------------------------------------------- */

#define NONCE_BYTES 12U
#define TAG_BYTES   16U
#define MAX_SECRET  8192U

static void
cipher_freep(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

int
crypto_seal(const unsigned char key[32], const char *text, const char *about, char **ret,
            struct err **err)
{
    CLEANUP(cipher_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char data[NONCE_BYTES + MAX_SECRET + TAG_BYTES];
    unsigned char *cipher = data + NONCE_BYTES;
    size_t length = strlen(text);
    int n = 0;

    if (length > MAX_SECRET)
        return err_set(err, E_LIMIT, "a secret is longer than %u bytes", MAX_SECRET);
    if (crypto_random(data, NONCE_BYTES, err) < 0)
        return -1;
    if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, data) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *)about, (int)strlen(about)) != 1 ||
        EVP_EncryptUpdate(ctx, cipher, &n, (const unsigned char *)text, (int)length) != 1 ||
        EVP_EncryptFinal_ex(ctx, cipher + length, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, cipher + length) != 1)
        return fail("AES-256-GCM", err);
    *ret = to_hex(data, NONCE_BYTES + length + TAG_BYTES);
    return 0;
}

int
crypto_open(const unsigned char key[32], const char *sealed, const char *about, char **ret,
            struct err **err)
{
    CLEANUP(cipher_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char data[NONCE_BYTES + MAX_SECRET + TAG_BYTES];
    CLEANUP(free_charp) char *text = xcalloc(MAX_SECRET + 1, 1);
    int length = from_hex(sealed, data, sizeof(data)), n = 0;
    int text_length = length - (int)(NONCE_BYTES + TAG_BYTES);

    if (text_length >= 0 && ctx &&
        EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, data) == 1 &&
        EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *)about, (int)strlen(about)) == 1 &&
        EVP_DecryptUpdate(ctx, (unsigned char *)text, &n, data + NONCE_BYTES, text_length) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES,
                            data + NONCE_BYTES + text_length) == 1 &&
        EVP_DecryptFinal_ex(ctx, (unsigned char *)text + text_length, &n) == 1) {
        text[text_length] = '\0';
        *ret = take(text);
        return 0;
    }
    err_set(err, E_CONFIG,
            "a saved secret cannot be decrypted: the key is another than it was saved with");
    return err_hint(err, "give the service its old key, or save the environment's secrets again");
}

/* Whoever comes second takes the key of the first: what one was used for is lost without it. */
static int
make_key(const char *path, struct err **err)
{
    unsigned char key[32];
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(free_charp) char *fresh = xasprintf("%s.%d", path, (int)getpid());
    bool is_there = false;
    int rc;

    if (crypto_random(key, sizeof(key), err) < 0)
        return -1;
    text = to_hex(key, sizeof(key));
    rc = file_replace(fresh, text, strlen(text), 0600, err);
    if (rc == 0)
        rc = file_publish(fresh, path, &is_there, err);
    if (rc < 0 || is_there)
        (void)unlink(fresh);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(text, strlen(text));
    return rc;
}

int
crypto_load_key(const char *control_dir, unsigned char ret_key[32], struct err **err)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    CLEANUP(free_charp)
    char *given = credentials ? file_join(credentials, "v2c-secret-key") : NULL;
    CLEANUP(free_charp) char *own = file_join(control_dir, "service.key");
    const char *path = given && access(given, R_OK) == 0 ? given : own;
    CLEANUP(free_charp) char *text = NULL;
    size_t length = 0;

    if (access(path, F_OK) < 0 && errno == ENOENT && make_key(path, err) < 0)
        return -1;
    if (file_read(path, 4096, &text, &length, err) < 0)
        return -1;
    text[strcspn(text, "\r\n")] = '\0';
    if (from_hex(text, ret_key, 32) == 32)
        return 0;
    err_set(err, E_CONFIG, "%s: expected 64 hexadecimal digits (0-9, a-f)", path);
    return err_hint(err, "`openssl rand -hex 32` makes such a key");
}

/* ---- a certificate of our own ------------------------------------------------------------------- */

#define CERT_DAYS 825

static int
add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    int rc = extension ? X509_add_ext(cert, extension, -1) : 0;

    X509_EXTENSION_free(extension);
    return rc;
}

static int
fill_certificate(X509 *cert, EVP_PKEY *key, const char *host)
{
    CLEANUP(free_charp)
    char *names = xasprintf("DNS:%s,DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1", host);
    X509_NAME *name = X509_get_subject_name(cert);
    unsigned char serial[8] = {0};

    if (RAND_bytes(serial + 1, sizeof(serial) - 1) != 1)
        return 0;
    return X509_set_version(cert, 2) &&
           BN_to_ASN1_INTEGER(BN_bin2bn(serial, sizeof(serial), NULL),
                              X509_get_serialNumber(cert)) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * CERT_DAYS) &&
           X509_set_pubkey(cert, key) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)host, -1,
                                      -1, 0) &&
           X509_set_issuer_name(cert, name) && add_extension(cert, NID_subject_alt_name, names) &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") &&
           X509_sign(cert, key, EVP_sha256());
}

static char *
bio_text(BIO *bio)
{
    char *data;
    long length = BIO_get_mem_data(bio, &data);

    return strndup(data, (size_t)length);
}

static int
make_certificate(char **ret_cert, char **ret_key, struct err **err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    char host[65] = "localhost";
    int rc = -1;

    (void)gethostname(host, sizeof(host) - 1);
    if (key && cert && cert_bio && key_bio && fill_certificate(cert, key, host) &&
        PEM_write_bio_X509(cert_bio, cert) &&
        PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL)) {
        *ret_cert = bio_text(cert_bio);
        *ret_key = bio_text(key_bio);
        rc = 0;
    }
    BIO_free(cert_bio);
    BIO_free(key_bio);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc < 0 ? fail("making a certificate", err) : 0;
}

int
crypto_self_signed(const char *control_dir, char **ret_cert, char **ret_key, struct err **err)
{
    CLEANUP(free_charp) char *dir = file_join(control_dir ? control_dir : "/", "tls");
    CLEANUP(free_charp) char *cert_path = file_join(dir, "cert.pem");
    CLEANUP(free_charp) char *key_path = file_join(dir, "key.pem");
    size_t length;

    if (!control_dir)
        return make_certificate(ret_cert, ret_key, err);
    if (access(cert_path, R_OK) == 0 && access(key_path, R_OK) == 0)
        return file_read(cert_path, 65536, ret_cert, &length, err) < 0 ||
                       file_read(key_path, 65536, ret_key, &length, err) < 0
                   ? -1
                   : 0;
    if (make_certificate(ret_cert, ret_key, err) < 0 || file_make_dirs(dir, 0700, err) < 0 ||
        file_replace(key_path, *ret_key, strlen(*ret_key), 0600, err) < 0 ||
        file_replace(cert_path, *ret_cert, strlen(*ret_cert), 0644, err) < 0)
        return -1;
    return 0;
}
