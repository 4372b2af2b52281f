/* Inside transfer: what is seen of the bytes themselves, while they are warm in the cache. */
#ifndef V2C_TRANSFER_BYTES_H
#define V2C_TRANSFER_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroes are told from data in pieces of this size of the disk: that of a cluster, so that what is
 * left out never costs a partial one. */
#define ZERO_RUN 65536U

/* @length is at least 16. */
bool bytes_are_zero(const void *bytes, size_t length);

struct byte_run {
    uint32_t start, length; /* in the request */
    bool is_zero;
};
#define MAX_RUNS 16U /* of a request that crosses no 1 MiB boundary */

/* Cuts a request at @offset of the disk into runs of zeroes and of data, in order. */
unsigned bytes_find_runs(const uint8_t *bytes, uint64_t offset, uint32_t length,
                         struct byte_run runs[MAX_RUNS]);

#endif
