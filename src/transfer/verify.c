/* Verification: what the target has is read back and held against its digest, and against the source
 * where that is asked for or where the digest does not tell.  What differs is written again from the
 * source and counted; the block is not called done, so that a later verification looks at it again. */
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "transfer/inner.h"

/* The digest of what lies in @slot for this flight's block. */
static void
digest_of(struct flight *flight, const struct disk_slot *slot, struct transfer_digest *ret)
{
    struct block_leaves leaves = flight->block->leaves;

    leaves_add(&leaves, slot->data, flight->read.offset, flight->issued_length);
    leaves_digest(&leaves, false, ret);
}

static void
is_good(struct flight *flight, const struct disk_slot *slot)
{
    struct transfer *t = flight->transfer;

    leaves_add(&flight->block->leaves, slot->data, flight->read.offset, flight->issued_length);
    t->progress.same_bytes += flight->issued_length;
    flight_finish(flight);
}

void
verify_target_read(struct flight *flight)
{
    struct transfer *t = flight->transfer;
    struct transfer_digest digest;

    t->read_bytes += flight->issued_length;
    if (t->job->verify == TRANSFER_VERIFY_TARGET) {
        digest_of(flight, flight->other, &digest);
        if (digest_is_known(&digest) && digest_equal(&digest, &flight->block->known)) {
            is_good(flight, flight->other);
            return;
        }
    }
    flight_read_source(flight);
}

/* The first write of a verification makes the block's digest doubtful until the next checkpoint. */
static int
open_window(struct flight *flight, struct err **err)
{
    struct transfer *t = flight->transfer;
    uint64_t block = flight->block->index;

    return t->job->digests ? digests_cover(t->job->digests, block, block + 1, err) : 0;
}

void
verify_source_read(struct flight *flight)
{
    struct transfer *t = flight->transfer;
    struct err *error = NULL;

    if (!memcmp(flight->read.slot->data, flight->other->data, flight->issued_length)) {
        is_good(flight, flight->other);
        return;
    }
    t->progress.mismatched_blocks += !flight->block->is_repaired;
    flight->block->is_repaired = true;
    leaves_add(&flight->block->leaves, flight->read.slot->data, flight->read.offset,
               flight->issued_length);
    if (open_window(flight, &error) < 0) {
        flight->has_failed = true;
        transfer_note_error(t, error);
        flight_finish(flight);
        return;
    }
    flight_write(flight);
}
