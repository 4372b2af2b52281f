#include "transfer/bytes.h"

#include <string.h>

#include "base/util.h"

/* Sixteen zeroes at the front, and everything equal to what stands sixteen bytes before it: memcmp is
 * the one loop that the C library has in the widest form of the processor at hand. */
bool
bytes_are_zero(const void *bytes, size_t length)
{
    static const uint8_t zeroes[16];

    return !memcmp(bytes, zeroes, sizeof(zeroes)) &&
           !memcmp(bytes, (const uint8_t *)bytes + sizeof(zeroes), length - sizeof(zeroes));
}

unsigned
bytes_find_runs(const uint8_t *bytes, uint64_t offset, uint32_t length,
                struct byte_run runs[MAX_RUNS])
{
    unsigned count = 0;
    uint32_t at = 0;

    while (at < length) {
        uint32_t piece = (uint32_t)MIN(ZERO_RUN - (offset + at) % ZERO_RUN, length - at);
        bool is_zero = bytes_are_zero(bytes + at, piece);

        if (count && runs[count - 1].is_zero == is_zero)
            runs[count - 1].length += piece;
        else
            runs[count++] = (struct byte_run){at, piece, is_zero};
        at += piece;
    }
    return count;
}
