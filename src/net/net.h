/* HTTPS client on libcurl: one connection pool a `struct net_client`, timeouts, TLS verification and
 * thumbprint pinning.  No retries here: what may be repeated is known by the caller.
 *
 * Trust: a certificate is accepted if it verifies against the system's (or the given) authorities for
 * that host name, or if its fingerprint is the pinned one (then nothing else is asked), or if
 * is_insecure was asked for.  Else E_TLS_UNTRUSTED, whose message says what was wrong and whose hint
 * gives the fingerprint seen and the line to paste into the configuration.
 *
 * Threading: a client may be used by several threads; requests share the connection cache. */
#ifndef V2C_NET_NET_H
#define V2C_NET_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct err;
struct net_client;

struct net_trust {
    const char *ca_file;    /* PEM; NULL: the system's */
    const char *thumbprint; /* SHA-256 or SHA-1 in hex, colons and case as you like; NULL: none */
    bool is_insecure;       /* verifies nothing */
    const char *config_key; /* "vcenter": names the section in the hint */
};

struct net_client *net_client_new(const struct net_trust *trust, struct err **err);
void net_client_free(struct net_client *client);
void net_client_freep(struct net_client **client);

struct net_request {
    const char *method; /* "GET", "POST" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL terminated; or NULL */
    const void *body;           /* NULL: none */
    size_t body_length;
    int connect_timeout_ms; /* 0: 15 s */
    int timeout_ms;         /* for the whole exchange; 0: 60 s */
    size_t max_response;    /* bytes of body accepted; 0: 16 MiB */
    /* Non-NULL: called with every piece of the body instead of collecting it; -1 stops. */
    int (*on_body)(void *opaque, const void *data, size_t length, struct err **err);
    void *opaque;
    const volatile int *cancel; /* non-zero: E_CANCELLED soon; may be NULL */
};

struct net_response {
    long status;
    struct str body;
    char *set_cookie;      /* the first Set-Cookie's "name=value"; NULL: none */
    long long server_date; /* the Date header, seconds since 1970; 0: none */
};

/* Performs one exchange.  An HTTP status of any kind is success here.  The caller calls
 * net_response_done in any case.  E_NET, E_NET_RESOLVE, E_TLS_UNTRUSTED, E_TIMEOUT, E_LIMIT. */
int net_perform(struct net_client *client, const struct net_request *request,
                struct net_response *ret_response, struct err **err);
void net_response_done(struct net_response *response);

/* The SHA-1 fingerprint of the certificate that @host:@port shows now, upper-case hex with colons,
 * as VDDK wants it; only after that certificate was accepted by the client's trust. */
int net_server_thumbprint(struct net_client *client, const char *host, unsigned port,
                          char ret_sha1[60], struct err **err);

#endif
