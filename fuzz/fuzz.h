/* What the fuzz targets share.  A target is one function over bytes; libFuzzer drives it in a build with
 * -Dfuzz=true, replay.c with the files of its corpus in every build.  It aborts when something that must
 * hold does not. */
#ifndef V2C_FUZZ_FUZZ_H
#define V2C_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Takes the next @length bytes; zeroes where there are none left. */
static inline void
fuzz_take(const uint8_t **data, size_t *size, void *value, size_t length)
{
    size_t n = length < *size ? length : *size;

    memset(value, 0, length);
    if (n)
        memcpy(value, *data, n);
    *data += n;
    *size -= n;
}

#endif
