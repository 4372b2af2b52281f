/* extents_normalize and extents_subtract, against a set of sectors. */
#include "base/extents.h"
#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"

#define SECTOR  512U
#define SECTORS 256U /* of the small disk */

static void
check_normal(const struct extents *extents, uint64_t capacity, uint64_t gap)
{
    uint64_t total = 0;

    for (size_t i = 0; i < extents->count; i++) {
        const struct extent *e = &extents->items[i];

        MUST(e->length > 0 && e->offset < capacity && e->length <= capacity - e->offset);
        if (i > 0)
            MUST(e->offset - e[-1].offset - e[-1].length > gap && e->offset > e[-1].offset);
        total += e->length;
    }
    MUST(extents_total(extents) == total && total <= capacity);
}

static void
set_sectors(const struct extents *extents, bool *set)
{
    memset(set, 0, SECTORS * sizeof(set[0]));
    for (size_t i = 0; i < extents->count; i++)
        for (uint64_t s = extents->items[i].offset / SECTOR;
             s < SECTORS && s * SECTOR < extents->items[i].offset + extents->items[i].length; s++)
            set[s] = true;
}

/* Any numbers: either refused, or normal. */
static void
try_wild(const uint8_t *data, size_t size)
{
    struct extents extents = {0};
    uint64_t capacity, gap;
    uint8_t round;

    fuzz_take(&data, &size, &capacity, sizeof(capacity));
    fuzz_take(&data, &size, &gap, sizeof(gap));
    fuzz_take(&data, &size, &round, sizeof(round));
    capacity &= INT64_MAX; /* as every source promises */
    while (size) {
        struct extent e;

        fuzz_take(&data, &size, &e.offset, sizeof(e.offset));
        fuzz_take(&data, &size, &e.length, sizeof(e.length));
        vec_push(&extents, e);
    }
    if (extents_normalize(&extents, capacity, gap, round & 1, NULL) == 0)
        check_normal(&extents, capacity, gap);
    else
        MUST(!(round & 1) || extents.count > 0);
    vec_done(&extents);
}

/* Two sets on a small disk, in sectors: exactly what sets of sectors say. */
static void
try_sets(const uint8_t *data, size_t size)
{
    struct extents lists[2] = {{0}}, rest = {0};
    bool given[2][SECTORS], got[SECTORS];
    size_t half = size / 4 * 2;

    for (size_t i = 0; i + 1 < size; i += 2)
        vec_push(&lists[i >= half],
                 (struct extent){data[i] * SECTOR, (data[i + 1] % 32 + 1U) * SECTOR});
    for (int l = 0; l < 2; l++) {
        set_sectors(&lists[l], given[l]);
        MUST(extents_normalize(&lists[l], SECTORS * SECTOR, 0, true, NULL) == 0);
        check_normal(&lists[l], SECTORS * SECTOR, 0);
        set_sectors(&lists[l], got);
        MUST(!memcmp(got, given[l], sizeof(got)));
    }
    extents_subtract(&lists[0], &lists[1], &rest);
    check_normal(&rest, SECTORS * SECTOR, 0);
    set_sectors(&rest, got);
    for (size_t s = 0; s < SECTORS; s++)
        MUST(got[s] == (given[0][s] && !given[1][s]));
    for (int l = 0; l < 2; l++)
        vec_done(&lists[l]);
    vec_done(&rest);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        try_wild(data + 1, size - 1);
    else
        try_sets(data + 1, size - 1);
    return 0;
}
