/* What the disk of a pretend source held at each of its snapshots, and what changed in between. */
#ifndef V2C_TESTS_CRASH_HISTORY_H
#define V2C_TESTS_CRASH_HISTORY_H

#include "base/extents.h"

#define HISTORY_MAX 8U

struct history {
    uint64_t size; /* of the last snapshot */
    uint64_t sizes[HISTORY_MAX];
    unsigned count; /* snapshots; the last is what the target must hold at the end */
    uint8_t *bytes[HISTORY_MAX];
    struct extents
        changes[HISTORY_MAX]; /* since the one before; may say too much, as trackers do */
};

#define HISTORY_GROWN 2U /* the first snapshot of a disk that has grown */

/* @data_percent of the 64 KiB pieces of snapshot 0 hold data.  Later ones have overwrites, zeroes and
 * odd lengths, on what holds data and on what does not; and from HISTORY_GROWN on the disk is larger by
 * @growth, of its @size at the end.  Every snapshot has @size bytes here: behind its end they are 0. */
void history_init(struct history *history, uint64_t size, uint64_t growth, unsigned count,
                  unsigned data_percent, uint64_t seed);
void history_done(struct history *history);
/* Normal, emptied first. */
void history_changes(const struct history *history, unsigned from, unsigned to,
                     struct extents *changes);
/* Appends the 64 KiB pieces that hold data. */
void history_allocated(const struct history *history, unsigned snapshot, struct extents *extents);

#endif
