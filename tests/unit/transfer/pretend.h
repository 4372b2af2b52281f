/* A source and a target in memory, for tests of the transfer: they complete in a scrambled order, only
 * from reap, and can be told to misbehave. */
#ifndef V2C_TESTS_TRANSFER_PRETEND_H
#define V2C_TESTS_TRANSFER_PRETEND_H

#include "disk/disk.h"

struct err;

struct pretend_queue {
    struct disk_request *requests[64];
    unsigned count, submitted;
    int event_fd; /* readable while something submitted waits for reap */
    uint64_t random;
};

struct pretend_source {
    struct disk_source source;
    uint8_t *bytes;
    struct pretend_queue queue;
    unsigned reads, submits, most_in_flight, misaligned;
    uint64_t read_bytes;
    unsigned fail_at;   /* the n-th read (from 1) fails; 0: none */
    unsigned refuse_at; /* the n-th read is refused at once */
    unsigned short_at;  /* the n-th read gives half and says success */
    unsigned break_at;  /* the n-th reap fails, and every later one */
    unsigned reaps;
};

struct pretend_target {
    struct disk_target target;
    uint8_t *bytes;
    struct pretend_queue queue;
    struct disk_request *checkpoint;
    unsigned checkpoint_delay; /* reaps before a checkpoint completes */
    unsigned writes, reads, zeroes, checkpoints, most_in_flight;
    uint64_t written_bytes, zeroed_bytes;
    uint64_t written_at_checkpoint; /* when the last one that completed began */
    uint64_t pending_written;
    unsigned fail_at, read_fail_at, zero_fail_at, checkpoint_fail_at;
};

void pretend_source_init(struct pretend_source *source, uint64_t size);
void pretend_source_done(struct pretend_source *source);
void pretend_target_init(struct pretend_target *target, uint64_t size, bool is_new);
void pretend_target_done(struct pretend_target *target);

#endif
