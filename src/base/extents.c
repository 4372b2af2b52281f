#include "base/extents.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"

#define SECTOR 512U

static int
compare_offsets(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Widens and clips *e; a zero length means that nothing of it is left. */
static int
fit_extent(struct extent *e, uint64_t capacity, bool round, struct err **err)
{
    uint64_t end = e->offset + e->length;

    if (end < e->offset)
        return err_set(err, E_PLAN, "extent at %" PRIu64 " of %" PRIu64 " bytes overflows",
                       e->offset, e->length);
    if (!round && (e->offset % SECTOR || e->length % SECTOR || e->length == 0 || end > capacity))
        return err_set(err, E_PLAN,
                       "extent at %" PRIu64 " of %" PRIu64 " bytes does not fit a disk of %" PRIu64
                       " bytes in whole sectors",
                       e->offset, e->length, capacity);
    if (e->length == 0 || e->offset >= capacity) {
        e->length = 0;
        return 0;
    }
    end = end > capacity ? capacity : end;
    e->offset = round_down(e->offset, SECTOR);
    end = MIN(round_up(end, SECTOR), capacity);
    e->length = end - e->offset;
    return 0;
}

int
extents_normalize(struct extents *extents, uint64_t capacity, uint64_t gap, bool round,
                  struct err **err)
{
    size_t kept = 0;

    for (size_t i = 0; i < extents->count; i++)
        if (fit_extent(&extents->items[i], capacity, round, err) < 0)
            return -1;
    if (extents->count)
        qsort(extents->items, extents->count, sizeof(extents->items[0]), compare_offsets);
    for (size_t i = 0; i < extents->count; i++) {
        struct extent e = extents->items[i];
        struct extent *last = kept ? &extents->items[kept - 1] : NULL;

        if (e.length == 0)
            continue;
        /* In order, so these differences cannot overflow, as a sum with @gap could. */
        if (last && (e.offset - last->offset <= last->length ||
                     e.offset - last->offset - last->length <= gap)) {
            uint64_t end = MAX(e.offset + e.length, last->offset + last->length);

            last->length = end - last->offset;
        } else {
            extents->items[kept++] = e;
        }
    }
    extents->count = kept;
    return 0;
}

int
extents_widen(struct extents *extents, uint64_t unit, uint64_t capacity, struct err **err)
{
    if (extents_normalize(extents, capacity, 0, true, err) < 0)
        return -1;
    for (size_t i = 0; i < extents->count; i++) {
        struct extent *e = &extents->items[i];
        uint64_t end = round_up(e->offset + e->length, unit);

        e->offset = round_down(e->offset, unit);
        e->length = end - e->offset;
    }
    return extents_normalize(extents, capacity, 0, true, err);
}

uint64_t
extents_total(const struct extents *extents)
{
    uint64_t total = 0;

    for (size_t i = 0; i < extents->count; i++)
        total += extents->items[i].length;
    return total;
}

void
extents_subtract(const struct extents *a, const struct extents *b, struct extents *ret)
{
    size_t j = 0;

    ret->count = 0;
    for (size_t i = 0; i < a->count; i++) {
        uint64_t at = a->items[i].offset, end = at + a->items[i].length;

        while (j < b->count && b->items[j].offset + b->items[j].length <= at)
            j++;
        for (size_t k = j; at < end && k < b->count && b->items[k].offset < end; k++) {
            uint64_t hole_end = b->items[k].offset + b->items[k].length;

            if (b->items[k].offset > at)
                vec_push(ret, ((struct extent){at, b->items[k].offset - at}));
            at = MAX(at, hole_end);
        }
        if (at < end)
            vec_push(ret, ((struct extent){at, end - at}));
    }
}
