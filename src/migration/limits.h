/* Inside migration: what bounds how fast a copy reads: the limits of the VM, of its ESXi host and of all
 * VMs.  Each is what spec or configuration says for the time of day, or what was set since with
 * `v2c-engine bandwidth`, which is looked at about once a second. */
#ifndef V2C_MIGRATION_LIMITS_H
#define V2C_MIGRATION_LIMITS_H

#include "migration/internal.h"
#include "transfer/transfer.h"

enum limit_kind { LIMIT_VM, LIMIT_HOST, LIMIT_ENGINE, LIMIT_COUNT };

struct limit {
    struct store_subject of;
    struct rate_schedule usual; /* of spec or configuration */
    struct rate_schedule now;
    struct transfer_pace *pace;
};

struct limits {
    struct migration *m;
    struct limit items[LIMIT_COUNT];              /* those without a pace do not apply */
    struct transfer_pace *paces[LIMIT_COUNT + 1]; /* for the transfer */
    int64_t read_ms;
    bool is_warned; /* of settings that cannot be read */
};

/* For one copy of the VM as it was read last.  A pass that waits for nothing has no limit of its own. */
int limits_open(struct limits *limits, struct migration *m, bool is_urgent, struct err **err);
/* On the migration's thread, a few times a second. */
void limits_follow(struct limits *limits);
void limits_close(struct limits *limits);

#endif
