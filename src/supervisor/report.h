/* The reports of one worker: bytes from its pipe to JSON objects, whatever it writes. */
#ifndef V2C_SUPERVISOR_REPORT_H
#define V2C_SUPERVISOR_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/str.h"

struct err;

#define REPORT_MAX_LINE (256U * 1024)

struct report_reader {
    struct str line;
    bool is_skipping; /* the line became too long: what follows up to its end is dropped */
    unsigned dropped; /* lines that were no JSON object, or too long */
};
#define REPORT_READER_INIT ((struct report_reader){.line = STR_INIT(REPORT_MAX_LINE)})

/* Calls @fn for each object that is complete with @data; the object is borrowed. */
void report_feed(struct report_reader *reader, const char *data, size_t length,
                 void (*fn)(void *opaque, const json_t *report), void *opaque);
void report_reader_done(struct report_reader *reader);

/* The worker's failure that @report tells of, owned by the caller; NULL when it tells of none. */
struct err *report_error(const json_t *report);

#endif
