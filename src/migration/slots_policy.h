/* Who gets the next handle on VDDK: the rules alone, over a list of claims, without clock, file or
 * process.  slots.c keeps the list. */
#ifndef V2C_MIGRATION_SLOTS_POLICY_H
#define V2C_MIGRATION_SLOTS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slots_limits {
    unsigned handles;          /* at once, of all workers of a control directory */
    unsigned handles_per_host; /* of one ESXi host; 0: no limit */
    unsigned inflight_mib;     /* of all pools together; 0: no limit */
};

/* On one host so many handles of final syncs are granted beyond its limit.  An ESXi 6 or 7 has 48 MiB
 * for such sessions, and one of ours takes 4 MiB of it (16 buffers of 64 KiB, 4 of them): that is 12, of
 * which copies get 8 by default. */
#define SLOTS_FINAL_RESERVE 4
/* Slots of a pool: what everybody gets, however full memory is. */
#define SLOTS_LEAST_POOL    8
/* After so much waiting a claim counts as one of a VM that holds one handle less. */
#define SLOTS_AGE_MS        (60 * 1000)
/* A waiting claim whose owner has not looked for so long (it is stopped, or the machine thrashes) is
 * passed over, until it looks again. */
#define SLOTS_STALE_MS      (5 * 1000)

enum slots_state { SLOTS_FREE, SLOTS_WAITING, SLOTS_HELD };

struct slots_claim {
    uint32_t state; /* enum slots_state */
    bool is_final;  /* of a VM in its final sync: it is off and waits */
    bool is_second; /* of a disk that has one already */
    uint32_t pool_slots;
    int32_t pid;
    int64_t vm;
    uint64_t ticket; /* order of arrival */
    int64_t since_ms, seen_ms;
    char host[64]; /* "" unknown */
};

struct slots_view {
    const struct slots_claim *claims;
    size_t count;
    const struct slots_limits *limits;
    int64_t now_ms;
    const struct slots_claim *without; /* counted as given back; NULL: none */
};

enum slots_verdict { SLOTS_OK, SLOTS_ENGINE_FULL, SLOTS_HOST_FULL };

/* Whether there is room for @claim, whoever else waits. */
enum slots_verdict slots_room(const struct slots_view *view, const struct slots_claim *claim);
/* Who of those that wait, and for whom there is room, goes first; NULL: nobody. */
const struct slots_claim *slots_next(const struct slots_view *view);
/* How many slots the pool of a disk gets that wants @wanted. */
unsigned slots_pool(const struct slots_view *view, unsigned wanted, bool is_final);
/* Whether somebody waits who would have room if @held were given back. */
bool slots_is_wanted(const struct slots_view *view, const struct slots_claim *held);

#endif
