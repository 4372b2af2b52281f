/* Moves extents of one disk from a source to a target.
 *
 * The planned extents are widened to the alignment that the source wants, cut into requests of at
 * most DISK_MAX_REQUEST bytes that never cross a 1 MiB boundary of the disk, kept in flight up to the
 * bounds of both sides, and completed in any order.  A request whose bytes are all zero is not written (a new target) or becomes a zero range.
 *
 * A transfer succeeds only if copied + zeroed bytes equal the planned ones; a cancelled one has failed
 * with E_CANCELLED.  Progress that survives is published block by block (TRANSFER_BLOCK): a block is
 * done when everything planned in it is written and covered by a completed checkpoint of the target.
 *
 * With digests, every block of which all bytes were seen leaves one (TRANSFER_DIGEST_SIZE), durable with
 * the checkpoint that covers it; and a block that is planned as a whole is written only where its bytes
 * differ from the digest of what the target has.  So a comparison is a transfer whose plan is the disk.
 *
 * This room knows neither VMware nor QCOW2; what it must know of them is a parameter.
 *
 * Threading: transfer_run uses only the calling thread; the cancel flag may be set by any, and by a
 * signal handler. */
#ifndef V2C_TRANSFER_TRANSFER_H
#define V2C_TRANSFER_TRANSFER_H

#include "disk/disk.h"

struct err;

#define TRANSFER_BLOCK (1024U * 1024)

/* One bit a block of the disk, LSB first. */
struct transfer_bitmap {
    uint8_t *bits;
    uint64_t block_count; /* ceil(disk size / TRANSFER_BLOCK) */
};
void transfer_bitmap_init(struct transfer_bitmap *bitmap, uint64_t disk_size);
void transfer_bitmap_done(struct transfer_bitmap *bitmap);
size_t transfer_bitmap_bytes(const struct transfer_bitmap *bitmap);
bool transfer_bitmap_get(const struct transfer_bitmap *bitmap, uint64_t block);
void transfer_bitmap_set(struct transfer_bitmap *bitmap, uint64_t block, bool is_done);
/* Clears every block that @extents touch. */
void transfer_bitmap_clear_extents(struct transfer_bitmap *bitmap, const struct extents *extents);

struct transfer_progress {
    uint64_t planned_bytes;     /* that this run must move: without blocks done before */
    uint64_t copied_bytes;      /* read from the source and written */
    uint64_t zeroed_bytes;      /* read from the source, all zero, not written as data */
    uint64_t same_bytes;        /* read, and the target has them already: not written */
    uint64_t skipped_bytes;     /* planned, but done by an earlier run */
    uint64_t mismatched_blocks; /* of a verification: they differed, and were written again */
    int64_t elapsed_ms;
    uint64_t rate_bytes_per_s; /* of reading, over the last few seconds */
    int64_t eta_s;             /* for what is left to read; -1 unknown */
};

/* The digests of one target, in a file of their own.  A digest is XXH3-128 (canonical form) over those
 * of the block's pieces of 64 KiB, in order; the last piece of a disk may be short. */
struct transfer_digests;
#define TRANSFER_DIGEST_SIZE 16U
#define TRANSFER_OWNER_SIZE  64U
struct transfer_digest {
    uint8_t bytes[TRANSFER_DIGEST_SIZE];
};
/* Opens or makes the file.  A file of another @owner (text, cut to TRANSFER_OWNER_SIZE - 1) is begun
 * anew, and so is any when the target is new: it must know nothing of an earlier one.  E_IO. */
int transfer_digests_open(const char *path, const char *owner, bool is_new_target,
                          struct transfer_digests **ret_digests, struct err **err);
void transfer_digests_closep(struct transfer_digests **digests);

enum transfer_verify {
    TRANSFER_COPY,
    TRANSFER_VERIFY_TARGET, /* reads the target; the source only where the digest does not agree */
    TRANSFER_VERIFY_BOTH,   /* reads both */
};

/* A limit of the rate of reading, of one transfer or of many, in this process or in several.  A transfer
 * may have a list of them, ended by NULL: it reads when all allow. */
struct transfer_pace;
#define TRANSFER_PACE_MAX (1ULL << 40)         /* bytes/s; a faster one is taken as this */
struct transfer_pace *transfer_pace_new(void); /* of this process; without a limit */
/* One that is shared by all who open the same @path, a file that is made if it is missing.  Locks
 * nothing: who is killed holds up nobody.  Those who share it take turns.  E_IO, E_NO_SPACE. */
int transfer_pace_open(const char *path, struct transfer_pace **ret_pace, struct err **err);
void transfer_pace_freep(struct transfer_pace **pace);
/* @bytes_per_s 0: no limit, for those who read through this very object.  @now_ms: clock_monotonic_ms.
 * These three: from any thread. */
void transfer_pace_set(struct transfer_pace *pace, uint64_t bytes_per_s, int64_t now_ms);
/* The milliseconds until it is worth asking again; 0: something may be read now. */
int64_t transfer_pace_ask(struct transfer_pace *const *paces, int64_t now_ms);
/* Charges @bytes that are being read, whether they were asked for or not. */
void transfer_pace_charge(struct transfer_pace *const *paces, uint32_t bytes, int64_t now_ms);

/* How reads adapt to the source (docs/internals/transfer.md).  0 is the default in parentheses. */
struct transfer_tuning {
    uint32_t least_request_bytes;             /* (256 KiB) */
    int64_t fast_latency_ms, slow_latency_ms; /* (40, 250) */
    uint32_t fast_mib_per_s, slow_mib_per_s;  /* of the source; (180, 40) */
};

struct transfer_job {
    struct disk_source *source;
    struct disk_target *target;
    struct disk_pool *pool;
    const struct extents *plan;           /* normal; borrowed */
    unsigned max_in_flight;               /* reads; 0: 16; bounded by pool and source */
    uint32_t request_bytes;               /* upper bound; 0: DISK_MAX_REQUEST */
    const struct transfer_tuning *tuning; /* NULL: the defaults; copied */
    struct transfer_pace *const *paces;   /* all borrowed; NULL: as fast as it goes */
    bool is_urgent; /* the paces are charged, so that others wait, but not waited for */
    struct transfer_digests *digests; /* borrowed; NULL: none */
    bool unplanned_is_zero;           /* where nothing is planned the target reads as zeroes */
    /* Not a copy but a verification of it: what differs is written again, counted, and not called done.
     * The plan is best made of whole blocks. */
    enum transfer_verify verify;

    /* Resume: blocks done by earlier runs are skipped.  Updated in place when a checkpoint completes.
     * NULL: nothing is skipped or recorded. */
    struct transfer_bitmap *done;
    int64_t checkpoint_ms;     /* between checkpoints; 0: 5 s */
    uint64_t checkpoint_bytes; /* or after so much; 0: 512 MiB */
    /* After each completed checkpoint, with `done` up to date: what it says may be made durable now.
     * Failing stops the transfer. */
    int (*on_checkpoint)(void *opaque, const struct transfer_progress *progress, struct err **err);
    /* About four times a second, and at the end. */
    void (*on_progress)(void *opaque, const struct transfer_progress *progress);
    void *opaque;
    const volatile int *cancel; /* non-zero: stop soon, after a last checkpoint; may be NULL */
};

/* Runs to the end, including a last checkpoint (also after a cancel and after an error of the source;
 * not after one of the target).  *ret_progress (may be NULL) is filled in any case once the plan was
 * accepted.  The first error is the one reported; what was in flight is drained before returning.
 * E_PLAN, E_CANCELLED, E_SHORT_TRANSFER, and whatever source, target and on_checkpoint fail with. */
int transfer_run(const struct transfer_job *job, struct transfer_progress *ret_progress,
                 struct err **err);

#endif
