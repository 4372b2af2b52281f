/* The queue of the service: takes jobs from the store, starts what may start, writes down what comes of it.
 *
 * People add jobs and ask for things in the store, from any thread or process; the queue sees it when its
 * wake_fd is written to, and within a second otherwise.  After a restart what was begun goes on.
 *
 * Threading: queue_run owns its thread; the callbacks are called from it. */
#ifndef V2C_SUPERVISOR_QUEUE_H
#define V2C_SUPERVISOR_QUEUE_H

#include "store/jobs.h"
#include "store/store.h"

struct err;

/* 0: no limit. */
struct queue_limits {
    int64_t max_workers; /* jobs that hold a slot at once */
    int64_t max_per_vcenter, max_per_host, max_per_pool;
};
/* As people have set them in the store; @config's default for max_workers. */
int queue_limits_load(struct store *store, int64_t default_workers, struct queue_limits *ret,
                      struct err **err);
int queue_limits_save(struct store *store, const struct queue_limits *limits, struct err **err);

/* Whether a migration in @stage (NULL: none yet) copies or cuts over, and so holds a slot. */
bool queue_stage_waits(const char *stage);
bool queue_holds_slot(const struct store_job *job);

/* Why @job must not begin now, given all unfinished jobs (itself among them); NULL when it may. */
struct queue_view {
    const struct store_jobs *unfinished;
    const struct store_waves *waves;
    const struct queue_limits *limits;
    int64_t now;
};
const char *queue_waits_for(const struct queue_view *view, const struct store_job *job,
                            char ret_text[200]);

/* A file of a job: "<control_dir>/jobs/<job_id>@suffix"; the caller frees. */
char *queue_file(const char *control_dir, const char *job_id, const char *suffix);
#define QUEUE_SPEC   ".yaml"
#define QUEUE_STDOUT ".stdout.log"
#define QUEUE_STDERR ".stderr.log"

/* What a running job said last; not in the store. */
struct queue_live {
    uint64_t rate_bytes_per_s, read_bytes;
    int64_t eta_s; /* -1: not known */
};

VEC_DECLARE(queue_words, char *); /* owned */

struct queue_options {
    const char *control_dir, *config_path, *program /* of workers; NULL: this one */;
    int64_t default_workers;
    int wake_fd; /* an eventfd */
    /* 1: workers stop at their next checkpoint, and go on when the queue runs again; 2: at once. */
    const volatile int *stop;
    /* "NAME=value" of what @job's processes find in their environment beside the service's own, such as
     * the credentials of its environments. */
    int (*environment)(void *opaque, const struct store_job *job, struct queue_words *ret,
                       struct err **err);
    /* Once, when nobody else works with control_dir and nothing has begun yet; -1 ends queue_run. */
    int (*on_begin)(void *opaque, struct err **err);
    void (*on_change)(void *opaque, const struct store_job *job); /* state, stage, outcome */
    void (*on_progress)(void *opaque, const struct store_job *job, const struct queue_live *live);
    void (*on_tick)(void *opaque); /* about four times a second */
    void *opaque;
};
/* Makes the caller the one service of @control_dir until *ret_fd is closed; before it makes or changes anything
 * there.  E_LOCKED. */
int queue_lock(const char *control_dir, int *ret_fd, struct err **err);
/* Until it is stopped.  The caller has the lock. */
int queue_run(const struct queue_options *options, struct err **err);

#endif
