#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static int64_t
now_ms(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
clock_monotonic_ms(void)
{
    return now_ms(CLOCK_MONOTONIC);
}

int64_t
clock_wall_ms(void)
{
    return now_ms(CLOCK_REALTIME);
}

int64_t
clock_wall_s(void)
{
    return clock_wall_ms() / 1000;
}

void
clock_sleep_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

int64_t
clock_patience_ms(int64_t ms)
{
    const char *text = getenv("V2C_RETRY_SCALE");
    char *end = NULL;
    double scale = text ? strtod(text, &end) : 1;

    if (text && (end == text || *end || !(scale >= 0 && scale <= 1)))
        scale = 1;
    return (int64_t)((double)ms * scale);
}

void
clock_format_utc(int64_t wall_s, char ret_text[32])
{
    time_t t = wall_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* "Z", "+02:00" or "-0330" to seconds east; -1 when it is none of these. */
static int
parse_zone(const char *text, int *ret_east)
{
    int hours, minutes, end = 0;
    char sign;

    if ((!strcmp(text, "Z") || !strcmp(text, "z")) && (*ret_east = 0, 1))
        return 0;
    if ((sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || text[end]) &&
        (sscanf(text, "%c%2d%2d%n", &sign, &hours, &minutes, &end) != 3 || text[end]))
        return -1;
    if ((sign != '+' && sign != '-') || hours < 0 || hours > 14 || minutes < 0 || minutes > 59)
        return -1;
    *ret_east = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
    return 0;
}

int
clock_parse_time(const char *text, int64_t *ret_wall_s, int *ret_had_zone, struct err **err)
{
    struct tm tm = {0}, check;
    int year, month, end = 0, east = 0, had_zone = 0;
    const char *rest;
    time_t t;

    if (sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d%n", &year, &month, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &end) != 5 ||
        !end)
        goto bad;
    rest = text + end;
    if (*rest == ':') {
        if (sscanf(rest, ":%2d%n", &tm.tm_sec, &end) != 1)
            goto bad;
        rest += end;
        if (*rest == '.') /* fractions of a second are cut off */
            rest += 1 + strspn(rest + 1, "0123456789");
    }
    if (*rest) {
        if (parse_zone(rest, &east) < 0)
            goto bad;
        had_zone = 1;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    check = tm;
    t = timegm(&check);
    if (check.tm_mday != tm.tm_mday || check.tm_mon != tm.tm_mon || check.tm_hour != tm.tm_hour ||
        check.tm_min != tm.tm_min || check.tm_sec != tm.tm_sec)
        goto bad;
    *ret_wall_s = (int64_t)t - east;
    if (ret_had_zone)
        *ret_had_zone = had_zone;
    return 0;
bad:
    return err_set(
        err, E_SYNTAX,
        "\"%s\" is no time; write 2026-01-31T22:30:00+01:00, or 2026-01-31T22:30 for UTC", text);
}
