/* Inside transfer: the plan, cut into requests in the order of the disk. */
#ifndef V2C_TRANSFER_PLAN_H
#define V2C_TRANSFER_PLAN_H

#include "transfer/transfer.h"

struct plan {
    const struct extents *extents; /* the job's, or `aligned` */
    struct extents aligned;
    const struct transfer_bitmap *done; /* may be NULL */
    uint32_t request_bytes;
    uint64_t size; /* of the disk */
    size_t index;  /* of the extent that `offset` lies in */
    uint64_t offset;
};

struct plan_piece {
    uint64_t offset;
    uint32_t length;
    uint64_t block;
    bool is_last_of_block; /* nothing planned in the block comes after it */
    bool is_whole_block;   /* all of the block is planned */
};

/* E_PLAN unless the extents are normal and lie within @size.  What the source would read anyway, because
 * it wants more than sectors, is planned too: extents are widened to its alignment, within @size. */
int plan_init(struct plan *plan, const struct transfer_job *job, uint64_t size, struct err **err);
void plan_done(struct plan *plan);
/* False when there is nothing left. */
bool plan_next(struct plan *plan, struct plan_piece *ret_piece);
/* A block behind those that come next: not far on the disk, or not many extents on. */
uint64_t plan_horizon(const struct plan *plan);
/* Counts what plan_next would give from the beginning, in another way; and what it skips. */
void plan_count(const struct plan *plan, uint64_t *ret_planned, uint64_t *ret_skipped);

#endif
