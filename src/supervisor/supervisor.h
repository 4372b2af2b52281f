/* Starts, watches and restarts workers: one process a VM, so that a crash takes no other VM with it.
 *
 * A worker is this program's own executable with the hidden command `worker`; it reports progress as
 * JSON lines over a pipe.  It stops at the next checkpoint on SIGTERM or when its supervisor is gone.
 *
 * Threading: one thread. */
#ifndef V2C_SUPERVISOR_SUPERVISOR_H
#define V2C_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct err;

struct supervisor_job {
    const char *label;       /* the VM's name, for messages */
    const char *const *argv; /* of the worker, after the program: "worker", "--spec", ... */
    void *opaque;
};

enum supervisor_event_kind {
    SUPERVISOR_STARTED,
    SUPERVISOR_REPORT,  /* one JSON object of the worker */
    SUPERVISOR_RESTART, /* it crashed and is started again */
    SUPERVISOR_ENDED,   /* for good; error is NULL on success */
};

struct supervisor_event {
    enum supervisor_event_kind kind;
    size_t job;              /* index */
    const json_t *report;    /* borrowed */
    const struct err *error; /* borrowed */
};

struct supervisor_options {
    const struct supervisor_job *jobs;
    size_t job_count;
    size_t max_workers;
    unsigned max_restarts; /* after crashes, for each job; 0: 3 */
    void (*on_event)(void *opaque, const struct supervisor_event *event);
    void (*on_tick)(void *opaque); /* about four times a second; may be NULL */
    void *opaque;
    const volatile int *stop; /* 1: ask workers to stop; 2: kill them */
};

/* Runs all jobs to their end.  0 when every job succeeded; else the errors of all, joined one a line
 * "label: message". */
int supervisor_run(const struct supervisor_options *options, struct err **err);

#endif
