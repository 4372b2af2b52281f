#include "cli/text.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/str.h"
#include "base/util.h"

void
text_append_bytes(struct str *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    str_appendf(out, "%.*f %s", unit ? 1 : 0, value, units[unit]);
}

void
text_append_rate(struct str *out, uint64_t bytes_per_second)
{
    double mib = (double)bytes_per_second / (double)MIB;

    str_appendf(out, "%.*f MiB/s", mib < 10 ? 1 : 0, mib);
}

void
text_append_duration(struct str *out, int64_t seconds)
{
    int64_t days = seconds / 86400, hours = seconds / 3600 % 24, minutes = seconds / 60 % 60;

    if (days > 0)
        str_appendf(out, "%" PRId64 "d %02" PRId64 ":%02" PRId64, days, hours, minutes);
    else if (hours > 0)
        str_appendf(out, "%" PRId64 ":%02" PRId64 ":%02" PRId64, hours, minutes, seconds % 60);
    else
        str_appendf(out, "%" PRId64 ":%02" PRId64, minutes, seconds % 60);
}

void
text_append_clean(struct str *out, const char *text, size_t max)
{
    size_t shown = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool continues = (c & 0xc0) == 0x80; /* within a UTF-8 character */

        if (!continues && max && shown == max)
            return;
        shown += !continues;
        /* C1 controls arrive as 0xc2 0x80..0x9f; a terminal may obey them. */
        if (c == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0) {
            str_append(out, "?");
            text++;
        } else if (c < 0x20 || c == 0x7f) {
            str_append(out, "?");
        } else {
            str_append_bytes(out, text, 1);
        }
    }
}
