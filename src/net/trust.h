/* What a client believes of a server's certificate; internal to the room. */
#ifndef V2C_NET_TRUST_H
#define V2C_NET_TRUST_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "net/net.h"

struct err;

#define TRUST_SHA1_TEXT   60 /* 20 bytes as "AA:", the last colon is the NUL */
#define TRUST_SHA256_TEXT 96

struct trust {
    char *ca_file;
    char *config_key;
    unsigned char pin[32];
    size_t pin_length; /* 0: no pin, else 20 or 32 */
    bool is_insecure;
};

/* What was seen of one server.  Lives as long as its connections: OpenSSL keeps a pointer to it. */
struct trust_seen {
    const struct trust *trust;
    bool is_seen;
    bool is_refused;
    char sha1[TRUST_SHA1_TEXT], sha256[TRUST_SHA256_TEXT];
    char reason[160]; /* why it was refused */
};

int trust_init(struct trust *trust, const struct net_trust *from, struct err **err);
void trust_done(struct trust *trust);
/* Sets the TLS options of a transfer; @seen outlives every connection of @curl. */
int trust_apply(const struct trust *trust, CURL *curl, struct trust_seen *seen, struct err **err);
/* Sets E_TLS_UNTRUSTED with a hint of what to paste; @detail is used when @seen has no reason. */
int trust_refuse(const struct trust *trust, const struct trust_seen *seen, const char *where,
                 const char *detail, struct err **err);

#endif
