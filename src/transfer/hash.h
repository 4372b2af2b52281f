/* Inside transfer: XXH3-128 in its canonical form, with the widest registers that the processor has.
 * The distribution's library is made for the oldest processors, and takes more than twice as long. */
#ifndef V2C_TRANSFER_HASH_H
#define V2C_TRANSFER_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 16

void hash128(const void *bytes, size_t length, uint8_t ret[HASH_BYTES]);
/* The same by the code for AVX2; only where the processor has it. */
void hash128_avx2(const void *bytes, size_t length, uint8_t ret[HASH_BYTES]);

#endif
