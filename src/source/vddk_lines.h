/* What v2c-vddk writes to its stderr, brought into the engine's log: VDDK's own warnings belong into the
 * VM's log file, not across a terminal.  Internal to source.
 *
 * The process never waits for us: its end of the pipe does not block, and what does not fit is lost. */
#ifndef V2C_SOURCE_VDDK_LINES_H
#define V2C_SOURCE_VDDK_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

struct vddk_lines {
    int fd; /* owned; -1 when there is nothing more to come */
    size_t length;
    char text[2048]; /* a line that has not ended yet */
    char last[200];  /* the last whole one, for the report of a crash */
    enum log_level last_level;
    unsigned repeats; /* of the last one, not told yet */
};

#define VDDK_LINES_NONE ((struct vddk_lines){.fd = -1})

/* *ret_theirs, the caller's, is for the process. */
int vddk_lines_open(struct vddk_lines *lines, int *ret_theirs, struct err **err);
/* Takes what is there, without waiting. */
void vddk_lines_pump(struct vddk_lines *lines);
void vddk_lines_done(struct vddk_lines *lines);

#endif
