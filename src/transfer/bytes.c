#include "transfer/bytes.h"

#include <pthread.h>
#include <string.h>

#include "base/util.h"
#include "transfer/digests.h"
#include "transfer/hash.h"

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

static void
digest_bytes(const void *bytes, size_t length, struct transfer_digest *ret)
{
    hash128(bytes, length, ret->bytes);
}

static struct transfer_digest zero_leaf;
static pthread_once_t zero_leaf_once = PTHREAD_ONCE_INIT;

static void
make_zero_leaf(void)
{
    static const uint8_t zeroes[ZERO_RUN];

    digest_bytes(zeroes, sizeof(zeroes), &zero_leaf);
}

static void
digest_zeroes(uint32_t length, struct transfer_digest *ret)
{
    static const uint8_t zeroes[ZERO_RUN];

    if (length < ZERO_RUN) {
        digest_bytes(zeroes, length, ret);
        return;
    }
    pthread_once(&zero_leaf_once, make_zero_leaf);
    *ret = zero_leaf;
}

void
leaves_init(struct block_leaves *leaves, uint64_t block, uint64_t disk_size)
{
    leaves->start = block * TRANSFER_BLOCK;
    leaves->length = (uint32_t)MIN(TRANSFER_BLOCK, disk_size - leaves->start);
    leaves->seen = leaves->touched = 0;
}

static uint32_t
leaf_length(const struct block_leaves *leaves, unsigned leaf)
{
    return MIN(ZERO_RUN, leaves->length - leaf * ZERO_RUN);
}

void
leaves_add(struct block_leaves *leaves, const uint8_t *bytes, uint64_t offset, uint32_t length)
{
    uint32_t begin = (uint32_t)(offset - leaves->start), end = begin + length;

    for (unsigned leaf = begin / ZERO_RUN; leaf * ZERO_RUN < end; leaf++) {
        uint32_t at = leaf * ZERO_RUN, piece = leaf_length(leaves, leaf);
        const uint8_t *from;

        leaves->touched |= (uint16_t)(1U << leaf);
        if (at < begin || at + piece > end)
            continue;
        leaves->seen |= (uint16_t)(1U << leaf);
        from = bytes + (at - begin);
        if (bytes_are_zero(from, piece))
            digest_zeroes(piece, &leaves->digests[leaf]);
        else
            digest_bytes(from, piece, &leaves->digests[leaf]);
    }
}

void
leaves_digest(const struct block_leaves *leaves, bool unplanned_is_zero,
              struct transfer_digest *ret)
{
    struct transfer_digest digests[BLOCK_LEAVES];
    unsigned count = (leaves->length + ZERO_RUN - 1) / ZERO_RUN;

    *ret = DIGEST_NONE;
    for (unsigned leaf = 0; leaf < count; leaf++) {
        if (leaves->seen & 1U << leaf)
            digests[leaf] = leaves->digests[leaf];
        else if (unplanned_is_zero && !(leaves->touched & 1U << leaf))
            digest_zeroes(leaf_length(leaves, leaf), &digests[leaf]);
        else
            return;
    }
    digest_bytes(digests, count * sizeof(digests[0]), ret);
}
