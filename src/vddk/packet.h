/* Inside vddk: whether a packet of the engine's makes sense at this moment.  No more than that: nothing
 * is changed, so that it can be tried with any bytes. */
#ifndef V2C_VDDK_PACKET_H
#define V2C_VDDK_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vddk/wire.h"

#define PACKET_MAX_SLOTS   4096U
#define PACKET_MAX_QUERIES 16U /* EXTENTS that wait for their answer */

enum phase {
    PHASE_NEW,
    PHASE_OPENING,
    PHASE_OPEN,
    PHASE_FAILED, /* to open; only CLOSE is left */
    PHASE_CLOSING,
};

struct packet_state {
    enum phase phase;
    uint32_t slot_count;
    uint64_t capacity; /* bytes of the disk */
    unsigned queries;
    bool slot_busy[PACKET_MAX_SLOTS];
};

/* NULL, or what is wrong with the @length bytes at @packet, which is aligned for 64 bits. */
const char *packet_check(const struct packet_state *state, const void *packet, size_t length);

#endif
