/* A disk behind the fake library, opened and read with many reads in flight: what the tests of the VDDK
 * sources share. */
#ifndef V2C_TESTS_UNIT_SOURCE_READING_H
#define V2C_TESTS_UNIT_SOURCE_READING_H

#include "centre.h"
#include "disk/disk.h"

struct err;

#define DEPTH 16

struct fixture {
    struct centre centre;
    struct disk_pool *pool;
    struct disk_source *source;
    struct err *err;
};

int setup(void **state);
int teardown(void **state);
/* The data centre, with a fake library that misbehaves so (NULL: it does not). */
void start(struct fixture *f, uint64_t capacity, const char *misbehave);
int open_source(struct fixture *f);
void open_well(struct fixture *f);

struct copy {
    struct fixture *f;
    uint64_t next, end;
    uint32_t step;
    unsigned in_flight, good, bad, disorder;
    uint64_t last_offset;
    struct disk_request requests[DEPTH];
    struct err *error; /* of the first bad one */
};

/* Keeps as many reads in flight as there are requests; false when one was refused. */
bool copy_fill(struct copy *copy);
void copy_wait(struct copy *copy, int timeout_ms);
struct copy copy_range(struct fixture *f, uint64_t offset, uint64_t end, uint32_t step);
/* All of the disk, in so many requests, and every byte of it right. */
void copy_all(struct fixture *f, unsigned requests);

#endif
