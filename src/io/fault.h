/* Faults and recordings for tests: an ordinary backend that stands before the real one.
 *
 * While a `struct io_fault` is attached to a thread, every io the thread makes goes through it.  It
 * counts operations, makes one of them fail, and can record the begin and the end of each with its
 * data, so that a test can rebuild every state a crash might have left in the file.
 *
 * Threading: an io_fault belongs to the thread it is attached to. */
#ifndef V2C_IO_FAULT_H
#define V2C_IO_FAULT_H

#include "base/vec.h"
#include "io/io.h"

enum io_fault_kind {
    IO_FAULT_NONE,
    IO_FAULT_ERROR, /* fails with errnum and is not carried out */
    IO_FAULT_SHORT, /* only the first half of a read or write is carried out, but
                       not less than DISK_ALIGNMENT */
    IO_FAULT_EMPTY, /* a read or write that moves nothing and says so */
};

/* One begin or end of an operation.  A write that has begun may be on the disk in part or whole; one
 * that ended before a sync began is durable once that sync has ended well. */
struct io_record {
    bool is_end;
    uint64_t id; /* of the operation: the same in begin and end */
    enum io_kind kind;
    uint64_t offset;
    uint32_t length;
    uint8_t *data; /* begin of a write: a copy; else NULL */
    int result;    /* end: as of the system call, negative errno */
};
VEC_DECLARE(io_records, struct io_record);

struct io_fault {
    enum io_fault_kind kind;
    int errnum;
    uint64_t at;         /* attempts are counted from 0 over all ios */
    bool is_lasting;     /* every attempt from `at` on */
    unsigned only_kinds; /* 1 << enum io_kind; 0: any.  Others are neither counted nor hit */
    bool is_recording;

    uint64_t count; /* attempts seen */
    bool has_fired;
    enum io_kind fired_kind; /* of the operation hit first */
    uint64_t next_id;
    struct io_records records;
};

/* From now on for ios made by this thread; NULL ends it for new ones. */
void io_fault_attach(struct io_fault *fault);
/* Forgets and frees what was recorded. */
void io_fault_clear_records(struct io_fault *fault);

#endif
