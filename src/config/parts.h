/* Part of config.h: groups of keys that config.yaml and specs share. */
#ifndef V2C_CONFIG_PARTS_H
#define V2C_CONFIG_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/vec.h"

/* How VDDK is used: `migration.vddk`. */
struct config_vddk {
    char transports[32];                     /* "nbdssl:nbd" */
    int compression;                         /* enum config_compression */
    int is_unbuffered;                       /* a boolean */
    int64_t nfc_buffer_kb, nfc_buffer_count; /* of a session on the ESXi host */
    int64_t log_level;                       /* of VDDK's transports, 0 to 6; -1: its own */
    char tmp_dir[256];                       /* for VDDK's own files; "": its own choice */
};

/* `migration.mark_source`: how a source VM that was migrated is told from one that was not. */
struct config_mark {
    int note, rename, disconnect_nics; /* booleans; -1: not set */
    char suffix[41];                   /* of the name; "": not set */
};

VEC_DECLARE(config_words, char *);

/* One of `serve.webhooks`: who is told of jobs, and of which. */
struct config_webhook {
    char *name;   /* letters, digits, ".", "-" and "_"; unique */
    char *url;    /* http or https, without a user; may hold secrets */
    char *secret; /* NULL: none was found */
    char *ca_file, *thumbprint;
    bool is_insecure;
    int64_t timeout_seconds;                         /* of one delivery: 10 */
    int64_t give_up_seconds;                         /* a day */
    struct config_words events, waves, environments; /* those told of; empty: all */
};
VEC_DECLARE(config_webhooks, struct config_webhook);

/* `serve` */
struct config_serve {
    struct ip_ranges trusted_proxies; /* whose X-Forwarded-For the web service believes */
    struct config_webhooks webhooks;
};

#endif
