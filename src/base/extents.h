/* Ranges of a disk, in bytes: what may hold data, what has changed, what is to be copied. */
#ifndef V2C_BASE_EXTENTS_H
#define V2C_BASE_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

struct err;

struct extent {
    uint64_t offset, length; /* length > 0 */
};
VEC_DECLARE(extents, struct extent);

/* Brings extents from outside into the one form everything else takes: sorted, merged where they
 * touch or lie closer than @gap, not beyond @capacity.  An extent that starts at or beyond
 * @capacity, overflows, or is not whole sectors is E_PLAN unless @round is set, which widens to
 * sectors and clips. */
int extents_normalize(struct extents *extents, uint64_t capacity, uint64_t gap, bool round,
                      struct err **err);
/* Widens each to whole @unit (a power of two), and brings them into that form again. */
int extents_widen(struct extents *extents, uint64_t unit, uint64_t capacity, struct err **err);
uint64_t extents_total(const struct extents *extents);
/* @a without @b; both normal; *ret is emptied first and normal after. */
void extents_subtract(const struct extents *a, const struct extents *b, struct extents *ret);

#endif
