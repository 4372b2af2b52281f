/* What `run` shows of its workers: on a terminal a block of bars that is redrawn in place, with log
 * lines running by above it; elsewhere plain lines, and a line of progress now and then.
 *
 * With a log for programs (base/log.h) it draws nothing, and every line is one of the log.
 *
 * Everything that workers say may hold text chosen by a guest or server, so control characters never
 * reach the terminal. */
#ifndef V2C_CLI_DISPLAY_H
#define V2C_CLI_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#include "base/str.h"

struct display;
struct err;

enum display_state {
    DISPLAY_WAITING,
    DISPLAY_RUNNING,
    DISPLAY_RESTARTING,
    DISPLAY_DONE,
    DISPLAY_FAILED,
};

/* @labels are borrowed; one row for each.  @stream is borrowed; bars are drawn when it @is_terminal. */
struct display *display_new(FILE *stream, bool is_terminal, const char *const *labels,
                            size_t count);
void display_free(struct display *display); /* leaves the last picture standing */

void display_set_state(struct display *display, size_t vm, enum display_state state);
/* Takes note of one report of a worker, and prints it, with the time, if it is a log line. */
void display_report(struct display *display, size_t vm, const json_t *report);
/* A line for people: above the bars, or just printed. */
void display_line(struct display *display, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same of one VM; @error (may be NULL) is what a log for programs says of it beside the text. */
void display_vm_line(struct display *display, size_t vm, const struct err *error, const char *fmt,
                     ...) __attribute__((format(printf, 4, 5)));
/* Draws, when it is time; call it a few times a second. */
void display_tick(struct display *display);

/* The bars, as they stand, for a terminal of that size; how many lines they are. */
unsigned display_render(const struct display *display, unsigned columns, unsigned rows,
                        struct str *out);
/* "base_copy 45.2%, 12.2 of 27.0 GiB, 310 MiB/s, ETA 0:42" of all disks of a VM; false when nothing is
 * being copied. */
bool display_describe(const struct display *display, size_t vm, struct str *out);
/* "base 0.9 GiB at 310 MiB/s, deltas 3" from the worker's last report; false when it sent none. */
bool display_summary(const struct display *display, size_t vm, struct str *out);

#endif
