/* Worker processes that come and go: started, listened to, started again after a crash, asked to stop.
 * Whom to start when is decided by those who use it (supervisor.c, queue.c).
 *
 * Threading: one thread. */
#ifndef V2C_SUPERVISOR_POOL_H
#define V2C_SUPERVISOR_POOL_H

#include <limits.h>

#include "supervisor/supervisor.h"

struct pool;

struct pool_options {
    const char *program;        /* of the workers; NULL: this program's own file */
    unsigned max_restarts;      /* after crashes in a row, for each job; 0: 3 */
    int first_restart_delay_ms; /* doubled each time, 60 s at most; 0: 1000 */
    /* After SUPERVISOR_ENDED the job is gone. */
    void (*on_event)(void *opaque, const struct supervisor_event *event);
    void *opaque;
};

struct pool *pool_new(const struct pool_options *options);
/* Kills what still runs. */
void pool_free(struct pool *pool);
/* Starts a worker now; one that cannot be started ends at once.  What @job points to is borrowed until
 * its SUPERVISOR_ENDED; @id is that of its events. */
void pool_start(struct pool *pool, size_t id, const struct supervisor_job *job);
/* @how: 1 at its next checkpoint, 2 at once.  Nothing happens for an @id that does not run. */
void pool_stop(struct pool *pool, size_t id, int how);
/* All of them at their next checkpoint, as the supervisor itself goes: what was asked of them stays. */
void pool_park(struct pool *pool);
/* Those that run or wait to be started again. */
size_t pool_count(const struct pool *pool);
/* Waits for something to happen, at most @timeout_ms or until @wake_fd (-1: none) is readable, and tells of
 * it.  Nothing of it fails: what goes wrong ends a job. */
void pool_step(struct pool *pool, int timeout_ms, int wake_fd);

#endif
