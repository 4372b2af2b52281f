/* Starts, watches and restarts workers: one process a VM, so that a crash takes no other VM with it.
 *
 * A worker is this program's own executable with the hidden command `worker`, or another.  Its fd 4 (in
 * V2C_SECRETS_FD) holds the credentials of our environment, which its own does not have
 * (child_take_secrets_over).  Its fd 3 (in V2C_REPORT_FD) is a pipe for reports, one JSON object a line; what is no JSON object, or longer than 256 KiB, is dropped.  A worker
 * that fails says why in a last report {"error":{"code":"E_...","message":"...","hint":"..."}} and
 * exits with another status than 0; one that dies by a signal is started again after a while.  It stops
 * at the next checkpoint on SIGTERM or when its supervisor is gone.
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
    int output_fd, error_fd; /* its stdout and stderr; 0: ours */
    /* "NAME=value" of what is put into its environment, NULL terminated; goes through the fd of the
     * credentials.  NULL: nothing but those of ours. */
    const char *const *environment;
};

enum supervisor_event_kind {
    SUPERVISOR_STARTED,
    SUPERVISOR_REPORT,  /* one JSON object of the worker */
    SUPERVISOR_RESTART, /* it crashed (`error`) and is started again after `delay_ms` */
    SUPERVISOR_ENDED,   /* for good; error is NULL on success */
};

struct supervisor_event {
    enum supervisor_event_kind kind;
    size_t job;              /* index */
    const json_t *report;    /* borrowed */
    const struct err *error; /* borrowed */
    int delay_ms;
    int exit_status; /* of SUPERVISOR_ENDED; -1: there is none */
};

struct supervisor_options {
    const struct supervisor_job *jobs;
    size_t job_count;
    size_t max_workers;         /* at once; 0: 1 */
    const char *program;        /* of the workers; NULL: this program's own file */
    unsigned max_restarts;      /* after crashes in a row, for each job; 0: 3 */
    int first_restart_delay_ms; /* doubled each time, 60 s at most; 0: 1000 */
    void (*on_event)(void *opaque, const struct supervisor_event *event);
    void (*on_tick)(void *opaque); /* about four times a second; may be NULL */
    void *opaque;
    const volatile int *stop; /* 1: ask workers to stop; 2: kill them; may be NULL */
};

/* Runs all jobs to their end.  0 when every job succeeded; else the errors of all, joined one a line
 * "label: message", with the code of the first that was not merely stopped.  A job that was asked to
 * stop before it was done is E_CANCELLED. */
int supervisor_run(const struct supervisor_options *options, struct err **err);

#endif
