/* A guest whose every write is remembered, so that what the disk must hold can be told at any moment:
 * now, at the last checkpoint, or at a crash in between. */
#ifndef V2C_TESTS_QCOW2_GUEST_H
#define V2C_TESTS_QCOW2_GUEST_H

#include "io/fault.h"
#include "support.h"

struct guest_op {
    uint64_t offset, length;
    uint64_t seed; /* of its bytes; 0: zeroes through target->zero */
    uint64_t size; /* of the disk then */
    size_t record; /* how many records there were when it was issued */
};
VEC_DECLARE(guest_ops, struct guest_op);

struct guest_checkpoint {
    size_t op_count; /* that had completed when it began */
    size_t record;   /* how many records there were when it was done */
};
VEC_DECLARE(guest_checkpoints, struct guest_checkpoint);

struct guest {
    char *path;
    uint64_t size; /* may grow while the image is closed: guest_grow */
    struct disk_pool *pool;
    struct qcow2_options options;
    struct qcow2_image *image;
    struct io_fault *fault; /* whose records are counted; may be NULL */
    uint64_t random;
    uint8_t *now; /* what the disk holds after all operations */
    struct guest_ops ops;
    struct guest_checkpoints checkpoints;
};

void guest_init(struct guest *guest, uint64_t size, unsigned cluster_bits, uint64_t seed);
void guest_done(struct guest *guest);

int guest_create(struct guest *guest, struct err **err);
int guest_resume(struct guest *guest, struct err **err);
/* The disk has become @size bytes large; the next resume says so to the image. */
void guest_grow(struct guest *guest, uint64_t size);
/* Up to four operations at once on ranges that do not overlap; now and then a checkpoint begins while
 * they are in flight. */
int guest_batch(struct guest *guest, uint64_t max_length, struct err **err);
/* The same operations [first, ops.count) again, one by one: what a migration does after a crash. */
int guest_replay(struct guest *guest, size_t first, struct err **err);
/* Reads a few random ranges through the target, together, and compares them with what they must be.
 * Every operation must have completed. */
int guest_read(struct guest *guest, bool *ret_is_equal, struct err **err);
int guest_checkpoint(struct guest *guest, struct err **err);
/* Operations that the last finished checkpoint covers. */
size_t guest_covered(const struct guest *guest);

/* What the disk holds after the first @op_count operations; the caller frees. */
uint8_t *guest_expected(const struct guest *guest, size_t op_count);
/* Whether the file holds what it must: everything as after @covered operations, but for sectors that
 * later ones touched which had been issued by @record.  Complains on stderr. */
bool guest_holds(const struct guest *guest, const char *path, size_t covered, size_t record);

#endif
