/* Inside transfer: one run of it, and what its files share.
 *
 * transfer.c owns the loop, flight.c the way of a slot from source to target, verify.c the way of two
 * that are compared, checkpoint.c what is published, report.c what is shown. */
#ifndef V2C_TRANSFER_INNER_H
#define V2C_TRANSFER_INNER_H

#include "base/vec.h"
#include "transfer/bytes.h"
#include "transfer/digests.h"
#include "transfer/plan.h"
#include "transfer/transfer.h"
#include "transfer/window.h"

#define TICK_MS      250 /* between reports; also how late a cancel may be seen */
#define RATE_SAMPLES 16  /* of one tick each */

/* A block of which everything planned is in the target, but for a checkpoint. */
struct finished_block {
    uint64_t index;
    struct transfer_digest digest; /* DIGEST_NONE where not all of the block was seen */
    bool is_done;                  /* false for what a verification had to repair */
};
VEC_DECLARE(finished_blocks, struct finished_block);

struct flight;

/* A block that requests have been issued for. */
struct open_block {
    uint64_t index;
    unsigned left;       /* requests not finished */
    unsigned unread;     /* requests whose bytes have not come */
    bool is_open;        /* this record is in use */
    bool is_all_issued;  /* no more of it will come */
    bool has_failed;     /* something of it is not in the target */
    bool is_repaired;    /* it differed in a verification */
    bool is_compared;    /* nothing is written before all of it was read and its digest differs */
    struct flight *held; /* read and waiting for that */
    struct transfer_digest known; /* of what the target has, where is_compared */
    struct block_leaves leaves;
    struct open_block *next_free;
};

/* A write of a run, or the read of what the target has. */
struct target_op {
    struct disk_request request;
    struct flight *flight;
    bool is_read;
    struct target_op *next; /* while it waits for the target */
};

/* One slot's way from source to target. */
struct flight {
    struct transfer *transfer;
    struct disk_request read;
    struct disk_slot *other; /* what the target has: only to verify */
    uint32_t issued_length;
    int64_t issued_ms;
    struct open_block *block;
    struct target_op ops[MAX_RUNS / 2 + 1]; /* data and zeroes alternate */
    unsigned ops_left;
    bool has_failed;
    struct flight *next; /* free, or held */
};

struct transfer {
    const struct transfer_job *job;
    struct disk_source *source;
    struct disk_target *target;
    struct plan plan;
    bool is_plan_over;
    struct err *error; /* the first one; nothing new is issued after it */
    bool is_cancelled;
    bool is_target_broken; /* no checkpoint can be had any more */
    bool is_source_lost;   /* its queue is broken: what it has in flight may never come back */
    bool is_target_lost;   /* ditto */
    bool is_abandoned;     /* transfer_run is gone: the last completion frees */

    struct flight *flights, *free_flights;
    unsigned used_flights;
    struct transfer_window window; /* of reads */
    unsigned reads_in_flight, target_in_flight, max_target;
    struct target_op *waiting, **waiting_end;
    bool has_queued_reads, has_queued_target;
    int64_t pace_ms; /* until more may be read; 0: now */
    size_t block_count;
    struct open_block *blocks, *free_blocks; /* one more than flights */
    struct open_block *issuing;              /* the block that the plan is in */

    struct disk_request checkpoint;
    bool is_checkpointing, has_checkpointed;
    struct finished_blocks complete; /* since the last checkpoint began */
    struct finished_blocks covered;  /* by the checkpoint under way */
    uint64_t bytes_at_checkpoint;
    int64_t checkpoint_began_ms;

    struct transfer_progress progress;
    uint64_t read_bytes; /* of the plan, whichever side they came from */
    int64_t began_ms, now_ms, reported_ms;
    struct {
        int64_t at_ms;
        uint64_t bytes;
    } samples[RATE_SAMPLES];
    unsigned sample_count;
};

/* transfer.c.  The first error is the one to report; these own @error. */
void transfer_note_error(struct transfer *t, struct err *error);
void transfer_note_target_error(struct transfer *t, struct err *error);
/* Whether @t is only waiting for the last of what a broken party still had; owns @error then. */
bool transfer_is_late(struct transfer *t, struct err *error);
/* Bytes of the plan that need no more work. */
uint64_t transfer_moved(const struct transfer *t);

/* flight.c */
void flight_issue_all(struct transfer *t);
/* Hands waiting operations to the target, as many as it takes at a time. */
void flight_issue_target(struct transfer *t);
/* Nothing more of the block that the plan is in will be issued. */
void flight_give_up_issuing(struct transfer *t);
/* What verify.c needs of it: to queue a read of the target, to write the flight's bytes, to end it. */
void flight_read_target(struct flight *flight);
void flight_read_source(struct flight *flight);
void flight_write(struct flight *flight);
void flight_finish(struct flight *flight);

/* verify.c: what follows when the target's bytes, or the source's, have come. */
void verify_target_read(struct flight *flight);
void verify_source_read(struct flight *flight);

/* checkpoint.c */
bool checkpoint_is_due(const struct transfer *t, bool is_last);
void checkpoint_begin(struct transfer *t);

/* report.c */
void report_progress(struct transfer *t);

#endif
