/* The ranges file of delta-sync. */
#include "base/err.h"
#include "cli/expert.h"
#include "fuzz/fuzz.h"

#define CAPACITY (1ULL << 40)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct extents extents = {0};

    if (ranges_parse("fuzz.json", (const char *)data, size, CAPACITY, &extents, NULL) == 0) {
        for (size_t i = 0; i < extents.count; i++) {
            const struct extent *e = &extents.items[i];

            MUST(e->offset % 512 == 0 && e->length % 512 == 0 && e->length > 0);
            MUST(e->offset < CAPACITY && e->length <= CAPACITY - e->offset);
        }
        MUST(extents_normalize(&extents, CAPACITY, 0, false, NULL) == 0);
    }
    vec_done(&extents);
    return 0;
}
