/* How long a cutover would take, from how rounds went.  Pure. */
#ifndef V2C_MIGRATION_DOWNTIME_MODEL_H
#define V2C_MIGRATION_DOWNTIME_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "migration/migration.h"

struct downtime_facts {
    const struct store_round
        *rounds; /* oldest first; number 0 says when the base snapshot was taken */
    size_t round_count;
    int64_t now_ms;            /* since 1970 */
    uint64_t base_bytes_per_s; /* of the base copy; 0: not known */
    uint64_t capacity;         /* bytes of all disks: more cannot change */
    int64_t shutdown_ms, settle_ms, import_ms;
    int64_t convert_ms; /* 0: is not converted; -1: not known */
    int64_t max_ms;     /* that is wanted; 0: any */
};

/* What a pass costs: fixed, and for each byte that it reads. */
struct downtime_cost {
    double fixed_ms, ms_per_byte;
};
struct downtime_cost downtime_fit(const struct store_round *rounds, size_t count,
                                  uint64_t base_bytes_per_s);
/* Bytes that change in a millisecond: the most of the last three rounds. */
double downtime_change_rate(const struct store_round *rounds, size_t count);

void downtime_predict(const struct downtime_facts *facts, struct migration_downtime *ret);

/* Whether rounds that follow each other bring the downtime down. */
struct downtime_trend {
    int64_t best_ms;  /* 0: nothing yet */
    unsigned stalled; /* rounds since it last became clearly less */
};
/* Takes the prediction after one more round into account; true when further rounds are of no use. */
bool downtime_is_hopeless(struct downtime_trend *trend, const struct migration_downtime *downtime);

#endif
