/* `bandwidth_limit`: how fast a VM, or all of them together, may be read, by the time of day. */
#ifndef V2C_CONFIG_RATES_H
#define V2C_CONFIG_RATES_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define RATE_DAY (24 * 60)

struct rate_window {
    int from, to; /* minutes of the local day, `to` not included; from > to: over midnight */
    uint64_t bytes_per_s;
};

/* All zero: no limit ever. */
struct rate_schedule {
    char text[160]; /* as it was written; "": not set */
    struct rate_window windows[8];
    size_t count;
    uint64_t otherwise; /* bytes/s outside the windows; 0: none */
};

/* "200MiB/s", "none", "08:00-18:00 50MiB/s, 22:00-06:00 none, 200MiB/s": the first window that holds
 * wins, what has no time of day holds for the rest.  Units KiB/s, MiB/s, GiB/s; at least 64KiB/s.
 * E_CONFIG. */
int rate_schedule_parse(const char *text, struct rate_schedule *ret_schedule, struct err **err);
/* Bytes/s at @minute of the day; 0: no limit. */
uint64_t rate_schedule_at(const struct rate_schedule *schedule, int minute);

#endif
