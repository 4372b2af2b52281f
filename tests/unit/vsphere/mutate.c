#include "mutate.h"

#include <string.h>

#include "base/util.h"

uint32_t
mutate_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* Writes over @length bytes at most. */
static void
put_markup(char *at, size_t length, uint32_t *seed)
{
    static const char *const bits[] = {
        "<",           ">",    "&",         "\"",         "]]>",  "<!--", "</",
        "<?x",         "&#0;", "<objects>", "</objects>", "\xff", "-1</", "9999999999999999999",
        "<!DOCTYPE a>"};
    const char *bit = bits[mutate_random(seed) % ARRAY_SIZE(bits)];
    size_t bit_length = strlen(bit);

    memcpy(at, bit, MIN(bit_length, length));
}

/* Returns how many bytes are gone. */
static size_t
change(char *text, size_t length, uint32_t *seed)
{
    size_t at = mutate_random(seed) % length, from = mutate_random(seed) % length;
    size_t count = mutate_random(seed) % 200;

    switch (mutate_random(seed) % 4) {
    case 0:
        text[at] = (char)mutate_random(seed);
        return 0;
    case 1:
        put_markup(text + at, length - at, seed);
        return 0;
    case 2:
        count = MIN(count, length - at);
        memmove(text + at, text + at + count, length - at - count);
        return count;
    default:
        count = MIN(count, length - MAX(at, from));
        memmove(text + at, text + from, count);
        return 0;
    }
}

size_t
mutate(char *text, size_t length, uint32_t *seed)
{
    unsigned changes = mutate_random(seed) % 8;

    for (unsigned i = 0; i < changes && length; i++)
        length -= change(text, length, seed);
    return mutate_random(seed) % 4 ? length : length - mutate_random(seed) % (length + 1);
}
