/* Inside source: whether a second connection to a disk's host is worth its memory there.
 *
 * Some hosts limit a connection, and two read twice as fast; others serve several worse than one.  So,
 * once a disk has been read for a while as fast as it comes, a second one is opened, and for a few
 * windows of time what comes with one and with both in use is compared.  It stays only if both together
 * are clearly faster.
 *
 * Pure: the clock and what was read are told. */
#ifndef V2C_SOURCE_VDDK_TRIAL_H
#define V2C_SOURCE_VDDK_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#define VDDK_TRIAL_PAIRS 3U
#define VDDK_TRIAL_GAIN  20U /* percent that both must be faster than one */
#define VDDK_TRIAL_MAX_WINDOWS                                                                     \
    18U /* more than that are not wasted on a reader that stops and goes */

enum vddk_trial_step {
    VDDK_TRIAL_STAY, /* nothing to do */
    VDDK_TRIAL_OPEN, /* the second: answer with vddk_trial_opened, soon or later */
    VDDK_TRIAL_ONE,  /* use only the first from now on */
    VDDK_TRIAL_BOTH,
    VDDK_TRIAL_KEEP, /* and both from now on; the trial is over */
    VDDK_TRIAL_DROP, /* the second; the trial is over */
};

struct vddk_trial_times { /* ms */
    int64_t warm;         /* of reading without a pause before the second is opened */
    int64_t settle;       /* after a change of what is used, at least, that is not measured */
    int64_t window;
    uint64_t warm_bytes, window_bytes; /* a slow host is given longer */
};
extern const struct vddk_trial_times vddk_trial_times;

struct vddk_trial {
    struct vddk_trial_times times;
    enum { TRIAL_WARMING, TRIAL_OPENING, TRIAL_MEASURING, TRIAL_OVER } phase;
    int64_t since_ms,
        full_ms; /* of this phase or window: its beginning, and how long it was full */
    int64_t now_ms;
    uint64_t since_bytes;
    bool is_full; /* as of now_ms */
    bool is_settling;
    unsigned windows;
    unsigned count[2]; /* of measured windows with one and with both */
    uint64_t rates[2][VDDK_TRIAL_PAIRS];
    uint64_t rate_one, rate_both; /* bytes/s, when it is over; 0: not measured */
};

void vddk_trial_init(struct vddk_trial *trial, const struct vddk_trial_times *times,
                     int64_t now_ms);
/* @bytes: read so far in all; @is_full: from now on as many reads are in flight as there may be;
 * @is_settled: those from before the last change of what is used are back. */
enum vddk_trial_step vddk_trial_tick(struct vddk_trial *trial, int64_t now_ms, uint64_t bytes,
                                     bool is_full, bool is_settled);
/* The second is open, or cannot be. */
enum vddk_trial_step vddk_trial_opened(struct vddk_trial *trial, int64_t now_ms, uint64_t bytes,
                                       bool is_open);
/* It may not be opened now: perhaps after another while. */
void vddk_trial_postpone(struct vddk_trial *trial, uint64_t bytes);
/* There is no second any more, whatever was found. */
void vddk_trial_stop(struct vddk_trial *trial);

#endif
