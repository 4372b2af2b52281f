/* Internet addresses and ranges of them.  An IPv4 address is also taken as IPv6 writes it (::ffff:192.0.2.1). */
#ifndef V2C_BASE_IP_H
#define V2C_BASE_IP_H

#include <stdbool.h>

#include "base/vec.h"

struct ip {
    unsigned char bytes[16]; /* of IPv4 as IPv6 maps it (RFC 4291, section 2.5.5.2) */
};
#define IP_TEXT 46

/* "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1". */
bool ip_parse(const char *text, struct ip *ret);
/* As people write it. */
void ip_format(const struct ip *ip, char ret_text[IP_TEXT]);
/* Whether it is of IPv4. */
bool ip_is_v4(const struct ip *ip);

struct ip_range {
    struct ip first;
    unsigned bits; /* of 128 */
};
VEC_DECLARE(ip_ranges, struct ip_range);

/* "192.0.2.1", "10.0.0.0/8", "2001:db8::/32". */
bool ip_parse_range(const char *text, struct ip_range *ret);
bool ip_is_in(const struct ip *ip, const struct ip_ranges *ranges);

#endif
