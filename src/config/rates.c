#include "config/rates.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define MIN_RATE (64ULL * 1024)
#define MAX_RATE (1024ULL * 1024 * 1024 * 1024)

static int
refuse(const char *item, struct err **err)
{
    return err_set(
        err, E_CONFIG,
        "\"%s\" is no limit; expected a rate such as 200MiB/s or none, with a time of day "
        "before it where it holds only then: \"08:00-18:00 50MiB/s, 200MiB/s\"",
        item);
}

/* "08:30" as minutes; "24:00" is the end of the day.  NULL if it is none. */
static const char *
parse_time(const char *at, int *ret_minutes)
{
    char *end;
    unsigned long hours, minutes;

    if (!isdigit((unsigned char)*at))
        return NULL;
    hours = strtoul(at, &end, 10);
    if (end - at > 2 || *end != ':' || !isdigit((unsigned char)end[1]) ||
        !isdigit((unsigned char)end[2]))
        return NULL;
    minutes = strtoul(end + 1, &end, 10);
    if (hours * 60 + minutes > RATE_DAY || minutes > 59)
        return NULL;
    *ret_minutes = (int)(hours * 60 + minutes);
    return end;
}

/* "200MiB/s" or "none". */
static bool
parse_rate(const char *text, uint64_t *ret_rate)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"KiB/s", 1ULL << 10}, {"MiB/s", 1ULL << 20}, {"GiB/s", 1ULL << 30}};
    char *end;
    uint64_t count;

    if (!strcmp(text, "none")) {
        *ret_rate = 0;
        return true;
    }
    if (!isdigit((unsigned char)*text))
        return false;
    count = strtoull(text, &end, 10);
    end += strspn(end, " ");
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (!strcmp(end, units[i].unit) && count <= MAX_RATE / units[i].factor &&
            count * units[i].factor >= MIN_RATE) {
            *ret_rate = count * units[i].factor;
            return true;
        }
    return false;
}

static int
parse_item(const char *item, struct rate_schedule *schedule, bool *has_rest, struct err **err)
{
    struct rate_window window;
    const char *at = parse_time(item, &window.from);

    if (!at) {
        if (*has_rest)
            return err_set(err, E_CONFIG, "\"%s\" is a second limit without a time of day", item);
        *has_rest = true;
        return parse_rate(item, &schedule->otherwise) ? 0 : refuse(item, err);
    }
    if (*at != '-' || !(at = parse_time(at + 1, &window.to)) || *at != ' ' ||
        window.from == window.to)
        return refuse(item, err);
    at += strspn(at, " ");
    if (!parse_rate(at, &window.bytes_per_s))
        return refuse(item, err);
    if (schedule->count == ARRAY_SIZE(schedule->windows))
        return err_set(err, E_CONFIG, "more than %zu times of day", schedule->count);
    schedule->windows[schedule->count++] = window;
    return 0;
}

int
rate_schedule_parse(const char *text, struct rate_schedule *ret_schedule, struct err **err)
{
    struct rate_schedule schedule = {0};
    char copy[sizeof(schedule.text)];
    bool has_rest = false;
    char *next = copy;

    if (strlen(text) >= sizeof(copy))
        return err_set(err, E_CONFIG, "longer than %zu characters", sizeof(copy) - 1);
    memcpy(copy, text, strlen(text) + 1);
    memcpy(schedule.text, text, strlen(text) + 1);
    while (next) {
        char *item = strsep(&next, ",");
        size_t length;

        item += strspn(item, " ");
        length = strlen(item);
        while (length && item[length - 1] == ' ')
            item[--length] = '\0';
        if (parse_item(item, &schedule, &has_rest, err) < 0)
            return -1;
    }
    *ret_schedule = schedule;
    return 0;
}

uint64_t
rate_schedule_at(const struct rate_schedule *schedule, int minute)
{
    for (size_t i = 0; i < schedule->count; i++) {
        const struct rate_window *w = &schedule->windows[i];
        bool is_in = w->from < w->to ? minute >= w->from && minute < w->to
                                     : minute >= w->from || minute < w->to; /* over midnight */

        if (is_in)
            return w->bytes_per_s;
    }
    return schedule->otherwise;
}
