/* Inside source: how much is asked of an ESXi host at a time.  A host has a few dozen MiB for all disk
 * sessions together, and refuses a read that it has no memory for: then fewer are kept in flight, and
 * when a single one is too much, smaller ones.  After a while of success it is more again.
 *
 * Pure: no I/O, no clock. */
#ifndef V2C_SOURCE_VDDK_WINDOW_H
#define V2C_SOURCE_VDDK_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define VDDK_WINDOW_LEAST_PIECE (64U * 1024)

struct vddk_window {
    unsigned most; /* reads in flight, when all is well */
    unsigned reads;
    uint32_t piece;    /* bytes of one read, at most */
    unsigned epoch;    /* how often it was narrowed; whoever sends a read remembers it */
    unsigned good;     /* reads in a row, since it was narrowed or widened */
    unsigned refusals; /* in all */
};

void vddk_window_init(struct vddk_window *window, unsigned most);
/* A read that was sent in @epoch came back. */
void vddk_window_good(struct vddk_window *window);
/* A read that was sent in @epoch as one of @in_flight was refused for lack of memory.  True: it is worth
 * another try, within the window as it is now.  False: it was alone and as small as they get. */
bool vddk_window_refused(struct vddk_window *window, unsigned epoch, unsigned in_flight);

#endif
