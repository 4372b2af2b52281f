/* Inside transfer: what a pace keeps, in the memory of this process or in a page that several map.
 *
 * Everything is an atomic of its own and no two need to agree, so a process may be killed between any
 * two of them.  All zero is a good beginning, and nonsense is no harm: times are only believed within
 * what a limit can have brought about. */
#ifndef V2C_TRANSFER_PACE_H
#define V2C_TRANSFER_PACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "transfer/transfer.h"

/* One of those that share a limit: a VM, as a rule. */
struct pace_party {
    _Atomic uint64_t owner;     /* 0: free */
    _Atomic int64_t seen_ms;    /* when the owner asked last; long ago: it was killed */
    _Atomic int64_t wanting_ms; /* when it was told to wait; 0: it does not */
    _Atomic uint64_t used_ns;   /* of the link's time, its own and what it stayed away from */
};

#define PACE_PARTIES 120
struct pace_cell {
    _Atomic int64_t free_ns;    /* when the next read may begin, on the monotonic clock */
    _Atomic uint64_t served_ns; /* `used_ns` of the party that was served last, before that */
    uint8_t unused[240];
    struct pace_party parties[PACE_PARTIES];
};
_Static_assert(sizeof(struct pace_cell) == 4096, "a cell is one page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes share these");

/* Owns @cell, which was mapped if it @is_mapped. */
struct transfer_pace *pace_wrap(struct pace_cell *cell, bool is_mapped);

#endif
