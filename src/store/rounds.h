/* The history that predictions are made from: delta rounds, and how long stages took.  Part of store.h. */
#ifndef V2C_STORE_ROUNDS_H
#define V2C_STORE_ROUNDS_H

#include <stdint.h>

#include "base/vec.h"

struct err;
struct store;

struct store_round {
    int64_t number;         /* from 1; 0 is the base snapshot, whose fields below are 0 */
    int64_t began_at_ms;    /* since 1970: what is written later belongs to the next round */
    int64_t covered_ms;     /* since the one before it began; 0: not known */
    uint64_t changed_bytes; /* of all disks, as they were read */
    int64_t copy_ms;        /* asking for the changes and copying them */
    int64_t total_ms;       /* with snapshot, verification and consolidation */
};
VEC_DECLARE(store_rounds, struct store_round);

/* Replaces one of the same number. */
int store_round_put(struct store *store, int64_t migration, const struct store_round *round,
                    struct err **err);
/* The last @count, oldest first; for vec_done. */
int store_rounds_load(struct store *store, int64_t migration, size_t count,
                      struct store_rounds *ret, struct err **err);

/* How long the migration was in a stage, when it was run from beginning to end; replaces an earlier. */
int store_timing_put(struct store *store, int64_t migration, const char *stage, int64_t ms,
                     struct err **err);
/* The median of what the last migrations of this store took, without @migration; -1: none did. */
int store_timing_usual(struct store *store, int64_t migration, const char *stage, int64_t *ret_ms,
                       struct err **err);

#endif
