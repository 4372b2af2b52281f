/* Who asks, where others pass requests on. */
#include <string.h>
#include <strings.h>

#include "api/internal.h"

/* One element of X-Forwarded-For: an address, with a port behind it at times ("192.0.2.1:4711", "[::1]:80"). */
static bool
parse_hop(const char *text, size_t length, struct ip *ret)
{
    char copy[IP_TEXT + 8] = "";
    char *end;

    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    if (copy[0] == '[' && (end = strchr(copy, ']'))) {
        *end = '\0';
        return ip_parse(copy + 1, ret);
    }
    end = strchr(copy, ':');
    if (end && !strchr(end + 1, ':'))
        *end = '\0';
    return ip_parse(copy, ret);
}

/* From the last to the first; false at the one that is it. */
static bool
walk_back(const char *list, const struct ip_ranges *trusted, char address[IP_TEXT])
{
    const char *end = list + strlen(list), *comma;

    do {
        const char *start = list;
        struct ip hop;

        comma = memrchr(list, ',', (size_t)(end - list));
        if (comma)
            start = comma + 1;
        while (start < end && (*start == ' ' || *start == '\t'))
            start++;
        while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if (!parse_hop(start, (size_t)(end - start), &hop))
            return false; /* whoever wrote that is the last who is known */
        ip_format(&hop, address);
        if (!ip_is_in(&hop, trusted))
            return false;
        end = comma;
    } while (comma);
    return true;
}

void
client_address(const struct pairs *headers, const struct ip_ranges *trusted, char address[IP_TEXT])
{
    struct ip peer;

    if (!ip_parse(address, &peer) || !ip_is_in(&peer, trusted))
        return;
    for (size_t i = headers->count; i-- > 0;)
        if (!strcasecmp(headers->items[i].name, "X-Forwarded-For") &&
            !walk_back(headers->items[i].value, trusted, address))
            return;
}
