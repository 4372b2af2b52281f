/* HTTP(S) client on libcurl: one connection pool a `struct net_client`, timeouts, TLS verification and
 * thumbprint pinning.  No retries here: what may be repeated is known by the caller.  Redirects are
 * not followed.
 *
 * Trust: with a pinned fingerprint the server must show exactly that certificate and nothing else is
 * asked; else, unless is_insecure was asked for, the certificate must verify against the system's (or
 * the given) authorities for that host name.  Else E_TLS_UNTRUSTED, whose message says what was wrong
 * and whose hint gives the fingerprints seen and the line to paste into the configuration.
 *
 * Proxies are taken from the environment as curl does (https_proxy, http_proxy, no_proxy), but never
 * for localhost, 127.0.0.1 and ::1.
 *
 * Threading: a client may be used by several threads; requests share the pool of connections. */
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
    bool is_insecure;       /* verifies nothing; a thumbprint is stronger and wins */
    const char *config_key; /* "vcenter": names the section in the hint */
};

/* Copies @trust.  E_CONFIG for a thumbprint that is none or a CA file that cannot be read. */
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
    /* Must not reach the server twice.  libcurl silently sends a request again when a reused
     * connection turns out to be dead; this one gets a connection of its own. */
    bool is_once;
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

/* Performs one exchange.  An HTTP status of any kind is success here.  *ret_response is empty on
 * failure; the caller calls net_response_done in any case.  Messages name the URL without its query,
 * which may hold secrets.  E_NET, E_NET_RESOLVE, E_TLS_UNTRUSTED, E_TIMEOUT, E_LIMIT, E_CANCELLED,
 * E_CONFIG (no URL), or what on_body failed with. */
int net_perform(struct net_client *client, const struct net_request *request,
                struct net_response *ret_response, struct err **err);
void net_response_done(struct net_response *response);

/* The SHA-1 fingerprint of the certificate that @host:@port shows now, upper-case hex with colons,
 * as VDDK wants it; only after that certificate was accepted by the client's trust. */
int net_server_thumbprint(struct net_client *client, const char *host, unsigned port,
                          char ret_sha1[60], struct err **err);

#endif
