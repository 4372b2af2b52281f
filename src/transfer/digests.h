/* Inside transfer: the file of a disk's digests, one a block.
 *
 * The file: a header in its first 4 KiB, then TRANSFER_DIGEST_SIZE bytes a block in the order of the
 * disk.  All zeroes means "not known"; a file that ends early knows nothing of what comes after.  A
 * digest says what the target holds at that block since its last checkpoint.
 *
 * A digest that is older than the target's bytes would be a lie that loses data: a comparison would skip
 * the block.  So no write to a block is issued before the header says, durably, that the block lies in
 * the *window*; whoever opens the file next, after a crash, forgets every digest in the window.  The
 * window moves on with the transfer: new digests are made durable first, and only then does a header
 * leave them behind. */
#ifndef V2C_TRANSFER_DIGESTS_H
#define V2C_TRANSFER_DIGESTS_H

#include "transfer/transfer.h"

#define DIGEST_NONE ((struct transfer_digest){{0}})

bool digest_is_known(const struct transfer_digest *digest);
bool digest_equal(const struct transfer_digest *a, const struct transfer_digest *b);

/* *ret is DIGEST_NONE where none is known.  E_IO. */
int digests_get(const struct transfer_digests *digests, uint64_t block, struct transfer_digest *ret,
                struct err **err);
/* Before a block is written: widens the window, if it must, so that it reaches from what is not settled
 * yet to before block @end. */
int digests_cover(struct transfer_digests *digests, uint64_t block, uint64_t end, struct err **err);
/* The digest of a block of the window, as of a checkpoint that is complete. */
int digests_put(struct transfer_digests *digests, uint64_t block,
                const struct transfer_digest *digest, struct err **err);
/* Makes what was put durable.  Nothing before @first_unsettled is doubtful any more. */
int digests_flush(struct transfer_digests *digests, uint64_t first_unsettled, struct err **err);

#endif
