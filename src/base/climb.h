/* How many of something help: connections, requests in flight.  A few are used, what comes through is
 * measured, one step more is tried, and kept only where clearly more comes through.  After a step that
 * did not help the next one waits, longer each time, because a server's load changes; not so where much
 * less comes through than did then.
 *
 * Where more only wait for each other, the caller may ask whether fewer would do.
 *
 * Pure logic: the caller gives the clock, and uses `count` of them.  Threading: none of its own. */
#ifndef V2C_BASE_CLIMB_H
#define V2C_BASE_CLIMB_H

#include <stdbool.h>
#include <stdint.h>

/* A measurement takes at least this long, and this many completions unless they are rare. */
#define CLIMB_LEAST_MS    100
#define CLIMB_LEAST_NOTES 8U
#define CLIMB_MOST_MS     2000

enum climb_phase {
    CLIMB_SETTLING,  /* what comes through still belongs to an earlier count */
    CLIMB_MEASURING, /* what `count` gives */
};

struct climb {
    unsigned count; /* to be used now */
    unsigned least, most;

    enum climb_phase phase;
    unsigned before;       /* the count before the step on trial; 0: none is on trial */
    uint64_t rate_before;  /* bytes/s then */
    uint64_t rate;         /* bytes/s at the last measurement; 0: none yet */
    uint64_t rate_refused; /* when a step did not help */
    unsigned notes;        /* in this phase */
    uint64_t bytes;        /* in this measurement */
    int64_t began_ms;
    int64_t next_trial_ms; /* no step before */
    int64_t pause_ms;      /* after the next step that does not help */
};

/* Begins with @first of @least to @most.  @least is at least 1. */
void climb_init(struct climb *climb, unsigned first, unsigned least, unsigned most, int64_t now_ms);
/* @bytes have come through.  True when `count` is another now. */
bool climb_note(struct climb *climb, uint32_t bytes, int64_t now_ms);
/* Tries half as many, not less than @least, and keeps them if nothing is lost by it.  False, and
 * nothing happens, while another step is on trial, or it is not time for one. */
bool climb_try_fewer(struct climb *climb, unsigned least, int64_t now_ms);
/* A step up is not to be had (a connection was refused): back, and a pause. */
void climb_refuse(struct climb *climb, int64_t now_ms);

#endif
