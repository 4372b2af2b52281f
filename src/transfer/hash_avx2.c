/* Compiled for AVX2: called only where the processor has it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "transfer/hash.h"

void
hash128_avx2(const void *bytes, size_t length, uint8_t ret[HASH_BYTES])
{
    XXH128_canonicalFromHash((XXH128_canonical_t *)ret, XXH3_128bits(bytes, length));
}
