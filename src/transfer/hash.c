#include "transfer/hash.h"

#include <xxhash.h>

static void
hash128_anywhere(const void *bytes, size_t length, uint8_t ret[HASH_BYTES])
{
    XXH128_canonicalFromHash((XXH128_canonical_t *)ret, XXH3_128bits(bytes, length));
}

void
hash128(const void *bytes, size_t length, uint8_t ret[HASH_BYTES])
{
#ifdef HAVE_HASH_AVX2
    if (__builtin_cpu_supports("avx2")) {
        hash128_avx2(bytes, length, ret);
        return;
    }
#endif
    hash128_anywhere(bytes, length, ret);
}
