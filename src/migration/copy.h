/* Inside migration: what copies several disks at once (copy.c) and one of them (copy_disk.c) share. */
#ifndef V2C_MIGRATION_COPY_H
#define V2C_MIGRATION_COPY_H

#include "migration/internal.h"
#include "migration/limits.h"
#include "migration/slots.h"
#include "transfer/transfer.h"

#define COPY_QUEUE_DEPTH 16 /* requests in flight */

enum task_state {
    TASK_WAITING,
    TASK_RUNNING,
    TASK_ENDED,   /* the thread has said so */
    TASK_SETTLED, /* and the migration has taken note */
};

struct copy_run;
struct copy_task {
    struct copy_run *run;
    size_t index;
    const struct store_disk *disk; /* only read while the task runs */
    pthread_t thread;
    struct extents plan;                       /* of this attempt */
    struct store *store;                       /* the thread's own */
    struct disk_pool *pool;                    /* of this attempt */
    struct migration_slot *slot, *second_slot; /* of this attempt; the second may be NULL */
    unsigned memory_step;                      /* the ESXi host was short of memory so often */
    size_t recorded_blocks;                    /* at its best */
    bool has_advanced; /* since an attempt failed last: more blocks are recorded than ever */
    uint64_t verified_bytes, mismatched_blocks; /* by all attempts */
    enum task_state state;                      /* run->mutex */
    char waits_for[32]; /* run->mutex; "one of 8 handles"; "" while it does not wait */
    struct transfer_progress progress; /* run->mutex */
    struct err *error;                 /* run->mutex */
};

struct copy_run {
    struct migration *m;
    const struct migration_copy *copy;
    struct copy_task *tasks;
    size_t task_count;
    struct limits limits;
    volatile int cancel; /* a sibling failed, or the migration is to stop or to pause */
    bool has_given_way, is_pausing;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
};

/* Copies the disk of @task to its end, on the task's own thread: opens source and target, moves the
 * extents, and tries again from the last checkpoint when a passing fault ends an attempt. */
int copy_disk(struct copy_task *task, struct err **err);

/* copy_source.c: the disk of @task as this pass reads it. */
int copy_open_source(struct copy_task *task, struct disk_source **ret_source, struct err **err);

#endif
