#include "history.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "unit/qcow2/support.h"

#define PIECE   (64 * KIB)
#define CHANGES 12U /* a snapshot */

/* Exactly so many pieces, so that how far a file reaches does not depend on the seed. */
static void
fill_base(struct history *history, unsigned data_percent, uint64_t *random)
{
    uint64_t size = history->sizes[0], left = (size + PIECE - 1) / PIECE,
             wanted = left * data_percent / 100;

    for (uint64_t at = 0; at < size; at += PIECE, left--)
        if (support_random(random) % left < wanted) {
            support_fill(history->bytes[0] + at, MIN(PIECE, size - at), support_random(random));
            wanted--;
        }
}

/* One change of the guest: data or zeroes, in the shapes that guests and file systems make. */
static struct extent
make_change(uint8_t *bytes, uint64_t size, uint64_t near, uint64_t *random)
{
    static const struct {
        uint64_t max, grain;
        bool is_zero;
    } shapes[] = {{64 * KIB, 4096, false},  {20 * KIB, 512, false}, {3 * KIB, 512, false},
                  {300 * KIB, 4096, true},  {100 * KIB, 512, true}, {16 * KIB, 4096, true},
                  {1200 * KIB, 4096, false}};
    uint64_t shape = support_random(random) % ARRAY_SIZE(shapes), grain = shapes[shape].grain;
    struct extent e;

    e.length = support_random(random) % shapes[shape].max / grain * grain + grain;
    e.offset = support_random(random) % size / grain * grain;
    /* Near what changed before, too: zeroed clusters that are written in part are a case of their own. */
    if (support_random(random) % 2)
        e.offset = MIN(near + support_random(random) % (16 * KIB), size - 1) / grain * grain;
    e.length = MIN(e.length, size - e.offset);
    if (shapes[shape].is_zero)
        memset(bytes + e.offset, 0, e.length);
    else
        support_fill(bytes + e.offset, e.length, support_random(random));
    return e;
}

/* Trackers work in grains of 64 KiB: now and then more than the change itself is named. */
static struct extent
widen(struct extent e, uint64_t size, uint64_t *random)
{
    uint64_t end = e.offset + e.length;

    if (support_random(random) % 3)
        return e;
    e.offset = round_down(e.offset, PIECE);
    e.length = MIN(round_up(end, PIECE), size) - e.offset;
    return e;
}

/* What chance might leave out: pieces that are zeroed by one snapshot, and written in a small part by
 * the next, which takes new clusters. */
static void
zero_and_write(struct history *history, unsigned s, uint64_t *random)
{
    uint64_t pieces = history->sizes[s - 1] / PIECE;

    for (unsigned i = 0; i < 3; i++) {
        uint64_t zeroed = (s * 7ULL + i * 17) % pieces,
                 written = ((s - 1) * 7ULL + i * 17) % pieces;
        struct extent zeroes = {zeroed * PIECE, PIECE}, data = {written * PIECE + 9 * 512, 3 * 512};

        memset(history->bytes[s] + zeroes.offset, 0, zeroes.length);
        vec_push(&history->changes[s], zeroes);
        support_fill(history->bytes[s] + data.offset, data.length, support_random(random));
        vec_push(&history->changes[s], data);
    }
}

/* Trackers know nothing of what is new: all of it is named. */
static void
grow(struct history *history, unsigned s, uint64_t *random)
{
    uint64_t from = history->sizes[s - 1], length = history->sizes[s] - from;

    support_fill(history->bytes[s] + from, length / 1024 * 512, support_random(random));
    vec_push(&history->changes[s], ((struct extent){from, length}));
}

static void
add_snapshot(struct history *history, unsigned s, uint64_t *random)
{
    const struct extents *last = &history->changes[s - 1];

    memcpy(history->bytes[s], history->bytes[s - 1], history->size);
    for (unsigned i = 0; i < CHANGES; i++) {
        uint64_t near = last->count ? last->items[support_random(random) % last->count].offset : 0;
        struct extent e = make_change(history->bytes[s], history->sizes[s], near, random);

        vec_push(&history->changes[s], widen(e, history->sizes[s], random));
    }
    zero_and_write(history, s, random);
    if (history->sizes[s] > history->sizes[s - 1])
        grow(history, s, random);
    if (extents_normalize(&history->changes[s], history->size, 0, false, NULL) < 0)
        abort();
}

void
history_init(struct history *history, uint64_t size, uint64_t growth, unsigned count,
             unsigned data_percent, uint64_t seed)
{
    uint64_t random = seed;

    *history = (struct history){.size = size, .count = count};
    for (unsigned s = 0; s < count; s++) {
        history->bytes[s] = xcalloc(1, size);
        history->sizes[s] = s < HISTORY_GROWN ? size - growth : size;
    }
    fill_base(history, data_percent, &random);
    for (unsigned s = 1; s < count; s++)
        add_snapshot(history, s, &random);
}

void
history_done(struct history *history)
{
    for (unsigned s = 0; s < history->count; s++) {
        free(history->bytes[s]);
        vec_done(&history->changes[s]);
    }
}

void
history_changes(const struct history *history, unsigned from, unsigned to, struct extents *changes)
{
    changes->count = 0;
    for (unsigned s = from + 1; s <= to; s++)
        for (size_t i = 0; i < history->changes[s].count; i++)
            vec_push(changes, history->changes[s].items[i]);
    if (extents_normalize(changes, history->size, 0, false, NULL) < 0)
        abort();
}

void
history_allocated(const struct history *history, unsigned snapshot, struct extents *extents)
{
    const uint8_t *bytes = history->bytes[snapshot];

    for (uint64_t at = 0; at < history->sizes[snapshot]; at += PIECE) {
        uint64_t length = MIN(PIECE, history->sizes[snapshot] - at);

        for (uint64_t i = at; i < at + length; i++)
            if (bytes[i]) {
                vec_push(extents, ((struct extent){at, length}));
                break;
            }
    }
}
