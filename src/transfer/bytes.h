/* Inside transfer: what is seen of the bytes themselves, while they are warm in the cache. */
#ifndef V2C_TRANSFER_BYTES_H
#define V2C_TRANSFER_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/transfer.h"

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

/* The digests of a block's pieces of ZERO_RUN bytes, from which its own is made; so requests of any
 * size and order add up to one. */
#define BLOCK_LEAVES (TRANSFER_BLOCK / ZERO_RUN)
struct block_leaves {
    struct transfer_digest digests[BLOCK_LEAVES];
    uint64_t start; /* of the block, bytes */
    uint32_t length;
    uint16_t seen, touched; /* whole pieces; pieces of which anything was planned */
};

void leaves_init(struct block_leaves *leaves, uint64_t block, uint64_t disk_size);
/* What a request of the block has read. */
void leaves_add(struct block_leaves *leaves, const uint8_t *bytes, uint64_t offset,
                uint32_t length);
/* DIGEST_NONE unless every piece was seen, or is zero because nothing of it was planned. */
void leaves_digest(const struct block_leaves *leaves, bool unplanned_is_zero,
                   struct transfer_digest *ret);

#endif
