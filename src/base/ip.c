#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool
ip_parse(const char *text, struct ip *ret)
{
    struct ip ip = {{0}};

    memcpy(ip.bytes, v4_prefix, sizeof(v4_prefix));
    if (inet_pton(AF_INET, text, ip.bytes + sizeof(v4_prefix)) != 1 &&
        inet_pton(AF_INET6, text, ip.bytes) != 1)
        return false;
    *ret = ip;
    return true;
}

bool
ip_is_v4(const struct ip *ip)
{
    return !memcmp(ip->bytes, v4_prefix, sizeof(v4_prefix));
}

void
ip_format(const struct ip *ip, char ret_text[IP_TEXT])
{
    bool is_v4 = ip_is_v4(ip);

    if (!inet_ntop(is_v4 ? AF_INET : AF_INET6, ip->bytes + (is_v4 ? sizeof(v4_prefix) : 0),
                   ret_text, IP_TEXT))
        snprintf(ret_text, IP_TEXT, "unknown");
}

bool
ip_parse_range(const char *text, struct ip_range *ret)
{
    char address[IP_TEXT] = "";
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    struct ip_range range = {.bits = 128};
    unsigned most;
    long bits;
    char *end;

    if (length >= sizeof(address))
        return false;
    memcpy(address, text, length);
    if (!ip_parse(address, &range.first))
        return false;
    most = strchr(address, ':') ? 128 : 32;
    if (slash) {
        bits = slash[1] >= '0' && slash[1] <= '9' ? strtol(slash + 1, &end, 10) : -1;
        if (bits < 0 || bits > (long)most || *end)
            return false;
        range.bits = 128 - most + (unsigned)bits;
    }
    *ret = range;
    return true;
}

static bool
is_in_range(const struct ip *ip, const struct ip_range *range)
{
    unsigned bytes = range->bits / 8, rest = range->bits % 8;

    if (memcmp(ip->bytes, range->first.bytes, bytes) != 0)
        return false;
    return rest == 0 || (ip->bytes[bytes] ^ range->first.bytes[bytes]) >> (8 - rest) == 0;
}

bool
ip_is_in(const struct ip *ip, const struct ip_ranges *ranges)
{
    for (size_t i = 0; ranges && i < ranges->count; i++)
        if (is_in_range(ip, &ranges->items[i]))
            return true;
    return false;
}
