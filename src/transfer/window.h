/* Inside transfer: how much is asked of the source at a time.
 *
 * Reads in flight: more of them are tried as long as clearly more comes through, so that a long way to
 * the source does not matter; where they only wait for each other there, fewer, as long as nothing is
 * lost (base/climb.h).  Their size: smaller where even few of them are slow, larger again where they are
 * fast.
 *
 * Pure logic: the caller gives the clock.  Threading: none of its own. */
#ifndef V2C_TRANSFER_WINDOW_H
#define V2C_TRANSFER_WINDOW_H

#include "base/climb.h"
#include "transfer/transfer.h"

struct transfer_window {
    struct climb climb; /* of reads in flight */
    uint32_t request_bytes, most_request_bytes;
    struct transfer_tuning tuning; /* with its defaults filled in */

    /* The least latency, of this and the last stretch of reads: what the way alone takes. */
    int64_t least_ms, stretch_least_ms;
    unsigned stretch;
    /* In a row: reads that were slow, that were fast, that waited for each other. */
    unsigned slow, fast, queued;
};

/* At most @most reads, of at most @request_bytes. */
void window_init(struct transfer_window *window, const struct transfer_tuning *tuning,
                 unsigned most, uint32_t request_bytes, int64_t now_ms);
/* A read of @bytes came after @latency_ms, @in_flight of them having been on their way. */
void window_note(struct transfer_window *window, uint32_t bytes, int64_t latency_ms,
                 unsigned in_flight, int64_t now_ms);
unsigned window_reads(const struct transfer_window *window);

#endif
