#include "base/text.h"

#include <string.h>

#include "base/util.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* The length of the character at @at, 0 when it is none: too long an encoding, half a pair, beyond Unicode
 * (RFC 3629, section 4).  Reads no further than a byte that does not belong. */
static size_t
character_length(const unsigned char *at)
{
    size_t length = at[0] < 0x80   ? 1
                    : at[0] < 0xc2 ? 0
                    : at[0] < 0xe0 ? 2
                    : at[0] < 0xf0 ? 3
                    : at[0] < 0xf5 ? 4
                                   : 0;

    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

char *
text_as_utf8(const char *text)
{
    char *out = xcalloc(strlen(text) + 1, strlen(REPLACEMENT)), *to = out;

    while (*text) {
        size_t length = character_length((const unsigned char *)text);

        if (length) {
            memcpy(to, text, length);
            to += length;
        } else {
            memcpy(to, REPLACEMENT, strlen(REPLACEMENT));
            to += strlen(REPLACEMENT);
        }
        text += length ? length : 1;
    }
    return out;
}

json_t *
json_text(const char *text)
{
    json_t *value = text ? json_string(text) : json_null();
    CLEANUP(free_charp) char *clean = NULL;

    if (value)
        return value;
    clean = text_as_utf8(text);
    return json_string(clean);
}
