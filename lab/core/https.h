/* A small HTTP(S) server on libmicrohttpd, for the pretend vCenter, CloudStack and the control port.
 * Listens on 127.0.0.1 only.  Bodies are collected up to a bound before the handler runs.
 *
 * Threading: the handler is called from the server's threads, several at once. */
#ifndef V2C_LAB_CORE_HTTPS_H
#define V2C_LAB_CORE_HTTPS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct err;
struct lab_https;

/* A self-signed certificate for localhost and 127.0.0.1, made anew for every lab. */
struct lab_certificate {
    char *cert_pem, *key_pem; /* owned */
    char sha1[60];            /* upper-case hex with colons */
    char sha256[96];
};
int lab_certificate_new(struct lab_certificate *ret, struct err **err);
void lab_certificate_done(struct lab_certificate *certificate);

struct lab_exchange; /* one request and its answer */
const char *lab_exchange_method(const struct lab_exchange *x);
const char *lab_exchange_path(const struct lab_exchange *x);      /* decoded, without the query */
const char *lab_exchange_query_raw(const struct lab_exchange *x); /* "" when none */
const char *lab_exchange_header(const struct lab_exchange *x,
                                const char *name); /* NULL when absent */
const char *lab_exchange_body(const struct lab_exchange *x,
                              size_t *ret_length); /* NUL terminated */
/* Parameters of query and form body, decoded, first value; NULL when absent. */
const char *lab_exchange_param(const struct lab_exchange *x, const char *name);
void lab_exchange_each_param(const struct lab_exchange *x,
                             void (*fn)(void *opaque, const char *name, const char *value),
                             void *opaque);
void lab_exchange_answer_header(struct lab_exchange *x, const char *name, const char *value);
/* Sets the answer; copies @body. */
void lab_exchange_answer(struct lab_exchange *x, unsigned status, const char *content_type,
                         const void *body, size_t length);
/* Closes the connection without an answer. */
void lab_exchange_drop(struct lab_exchange *x);

typedef void (*lab_https_handler)(void *opaque, struct lab_exchange *x);
/* @certificate NULL: plain HTTP.  @port 0: any free one. */
int lab_https_start(const struct lab_certificate *certificate, unsigned port,
                    lab_https_handler handler, void *opaque, struct lab_https **ret,
                    struct err **err);
unsigned lab_https_port(const struct lab_https *server);
void lab_https_stop(struct lab_https *server);

#endif
