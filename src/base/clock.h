/* Time.  Intervals use the monotonic clock in milliseconds; stamps that people or servers read use
 * the wall clock in seconds since 1970 UTC. */
#ifndef V2C_BASE_CLOCK_H
#define V2C_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

struct err;

int64_t clock_monotonic_ms(void);
int64_t clock_wall_s(void);
int64_t clock_wall_ms(void);
void clock_sleep_ms(int64_t ms);
/* How long to be patient with something that failed: @ms times V2C_RETRY_SCALE, a number from 0 to 1
 * that tests set so that nobody waits out the pauses of a long night.  Unset or no such number: @ms. */
int64_t clock_patience_ms(int64_t ms);
/* "2026-01-02T03:04:05Z" */
void clock_format_utc(int64_t wall_s, char ret_text[32]);
/* RFC 3339, or YYYY-MM-DDTHH:MM[:SS] without a zone, which means UTC; *ret_had_zone (may be NULL)
 * says which.  E_SYNTAX for anything else, a 30th of February included. */
int clock_parse_time(const char *text, int64_t *ret_wall_s, int *ret_had_zone, struct err **err);

#endif
