/* The system calls on files that the rooms make without `io`: opening, naming, locking, reading tables,
 * punching holes.  The linker leads them here (--wrap, see meson.build): while a `struct calls` is
 * attached to a thread, those of that thread are counted, one of them can be made to fail, and those
 * that change something are written into the log of an io_fault, in order with what `io` does. */
#ifndef V2C_TESTS_CRASH_CALLS_H
#define V2C_TESTS_CRASH_CALLS_H

#include "io/fault.h"

/* Kinds of records beside those of io_kind. */
enum {
    CALL_LINK = 16, /* the file has its name */
    CALL_SYNC_DIR,
    CALL_PUNCH,
};

struct calls {
    struct io_fault *log; /* NULL: nothing is recorded */
    int errnum;           /* 0: none fails */
    uint64_t at;          /* attempts are counted from 0 */
    uint64_t count;
    const char *fired; /* the name of the call that failed */
};

void calls_attach(struct calls *calls);

#endif
