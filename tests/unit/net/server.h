/* A real HTTP(S) server on 127.0.0.1 for tests of clients, with certificates made on the spot.  The
 * test's handler sees every request and says what is sent back, a broken answer included.
 *
 * Threading: a thread for every connection; the handler is called by one at a time. */
#ifndef V2C_TESTS_UNIT_NET_SERVER_H
#define V2C_TESTS_UNIT_NET_SERVER_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

struct certificate {
    X509 *x509;
    EVP_PKEY *key;
    char sha1[60], sha256[96]; /* upper-case hex with colons */
};
/* @subject_alt_name as in openssl.cnf: "IP:127.0.0.1".  @issuer NULL: self-signed; @is_ca makes one
 * that may sign others. */
struct certificate certificate_new(const char *common_name, const char *subject_alt_name,
                                   bool is_ca, const struct certificate *issuer);
void certificate_write(const struct certificate *certificate, const char *path);
void certificate_done(struct certificate *certificate);

struct server_request {
    char method[16], path[512];
    const char *headers; /* as received, request line included */
    const char *body;    /* NUL terminated */
    size_t body_length;
};

struct server_reply {
    int status;          /* 0: 200 */
    const char *headers; /* more of them, each ended by \r\n; or NULL */
    char *body;          /* malloced, freed by the server; NULL: none */
    size_t body_length;
    bool is_dropped;      /* the connection is closed without an answer */
    size_t cut_after;     /* only so many bytes of the body are sent, then it is closed; 0: all */
    bool is_stalled;      /* nothing is sent until the server is stopped or the client leaves */
    size_t declared_more; /* added to Content-Length */
};

typedef void (*server_handler)(void *opaque, const struct server_request *request,
                               struct server_reply *reply);

struct server;
/* @certificate NULL: plain HTTP.  Borrows everything. */
struct server *server_start(const struct certificate *certificate, server_handler handler,
                            void *opaque);
unsigned server_port(const struct server *server);
unsigned server_connections(struct server *server); /* accepted so far */
/* Closes all connections and waits for their threads. */
void server_stop(struct server *server);

#endif
