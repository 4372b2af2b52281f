/* The service's jobs and waves: what was asked for, by whom, and how it ended.  Kept until somebody forgets
 * them.  A job's state is written by the queue that runs it (supervisor/queue.h), its plan by people. */
#ifndef V2C_STORE_JOBS_H
#define V2C_STORE_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

struct err;
struct store;

enum store_job_kind {
    JOB_MIGRATE,
    JOB_CHECK,
    JOB_REHEARSE,
    JOB_CANCEL,
    JOB_ROLLBACK,
    JOB_KIND_MAX_
};
enum store_job_state {
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_WAITING, /* makes deltas, or waits for a person: holds no slot */
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_STOPPED,   /* asked to; a retry goes on */
    JOB_CANCELLED, /* given up */
    JOB_STATE_MAX_,
};
const char *store_job_kind_name(enum store_job_kind kind); /* "migrate" */
bool store_job_kind_from_name(const char *name, enum store_job_kind *ret);
const char *store_job_state_name(enum store_job_state state); /* "queued" */
bool store_job_state_from_name(const char *name, enum store_job_state *ret);
static inline bool
store_job_is_over(enum store_job_state state)
{
    return state >= JOB_COMPLETED;
}

enum store_job_wanted { JOB_WANTS_NOTHING, JOB_WANTS_STOP, JOB_WANTS_CANCEL };

/* Strings are owned; NULL is "none", or "not known yet".  Times are seconds since 1970, 0 none. */
struct store_job {
    int64_t id;          /* row */
    char *job_id;        /* "<unix nanoseconds>-<6 digits>" */
    int32_t kind, state; /* enums above */
    char *vm_name, *vm_moref;
    char *vcenter, *cloudstack; /* ids of environments */
    char *vcenter_uuid;         /* of the server itself: two environments may be one */
    int64_t migration;          /* row; 0 not known */
    char *wave;
    int64_t priority; /* the greater, the sooner */
    int64_t created_at, not_before, started_at, finished_at;
    char *created_by, *retry_of;
    char *spec_file; /* absolute */
    char *options;   /* JSON object of what its kind takes */
    char *pool, *host;
    int32_t wanted;   /* enum store_job_wanted */
    char *stage;      /* as last reported */
    int64_t progress; /* in 1/100 % */
    int32_t return_code;
    char *error, *error_code, *error_hint;
};
VEC_DECLARE(store_jobs, struct store_job);
void store_job_done(struct store_job *job);
void store_jobs_done(struct store_jobs *jobs);

/* Adds all of @jobs or none, and sets their rows.  E_JOB_EXISTS when a VM of theirs (vCenter, by id or
 * uuid, and moref, or name where there is none) has an unfinished job of such a kind that both cannot be. */
int store_jobs_add(struct store *store, struct store_jobs *jobs, struct err **err);
/* E_JOB_NOT_FOUND. */
int store_job_get(struct store *store, const char *job_id, struct store_job *ret, struct err **err);

enum store_job_sort { JOB_BY_CREATED, JOB_BY_VM, JOB_BY_STATE, JOB_BY_PRIORITY };
struct store_job_filter {
    unsigned states;                                 /* bits 1 << state; 0: any */
    int kind;                                        /* -1: any */
    const char *wave, *vm_name, *vm_moref, *vcenter; /* equal; NULL: any */
    const char *part;  /* of name, or moref; without case; NULL: any */
    int64_t migration; /* 0: any */
    bool is_latest_per_vm;
    enum store_job_sort sort;
    bool is_descending;
    int64_t limit, offset; /* limit 0: all */
};
/* *ret_total (may be NULL) counts without limit and offset. */
int store_job_list(struct store *store, const struct store_job_filter *filter,
                   struct store_jobs *ret, int64_t *ret_total, struct err **err);
/* Number of jobs of each state; with @wave, of its migrations only. */
int store_job_count(struct store *store, const char *wave, int64_t ret_counts[JOB_STATE_MAX_],
                    struct err **err);

/* By people.  Each is E_JOB_STATE when the job is too far for it. */
int store_job_plan(struct store *store, const struct store_job *job, struct err **err);
int store_job_want(struct store *store, const char *job_id, enum store_job_wanted wanted,
                   struct err **err); /* of an unfinished one; never lowers it */
int store_job_forget(struct store *store, const char *job_id, struct err **err);

/* By the queue: all that it knows of @job; what people change (plan, wanted) is not touched. */
int store_job_save(struct store *store, const struct store_job *job, struct err **err);

struct store_wave {
    char *name;
    int64_t not_before, not_after; /* seconds since 1970; 0 none */
    int64_t concurrency;           /* 0: no limit of its own */
    int64_t position;
};
VEC_DECLARE(store_waves, struct store_wave);
void store_waves_done(struct store_waves *waves);
int store_wave_put(struct store *store, const struct store_wave *wave, struct err **err);
/* Makes one without limits where none has that name. */
int store_wave_ensure(struct store *store, const char *name, struct err **err);
int store_wave_list(struct store *store, struct store_waves *ret,
                    struct err **err); /* by position */
/* E_JOB_NOT_FOUND; E_JOB_STATE while a job of it is unfinished. */
int store_wave_delete(struct store *store, const char *name, struct err **err);

/* What store_event_add wrote, oldest first, after row @after. */
struct store_event {
    int64_t id, at;
    char *kind, *text;
};
VEC_DECLARE(store_events, struct store_event);
int store_event_list(struct store *store, int64_t migration, int64_t after, size_t limit,
                     struct store_events *ret, struct err **err);
void store_events_done(struct store_events *events);

/* From now on statements of @store are kept and used again, until it is closed: for a thread that reads much.
 * One store of a thread. */
void store_keep_statements(struct store *store);

/* What is read from @store until the end is as it was at one moment, and is read more quickly: between two
 * statements of their own any writer makes SQLite drop the pages it had.  Nothing is written meanwhile. */
int store_snapshot_begin(struct store *store, struct err **err);
void store_snapshot_end(struct store *store);

/* The migration of @job's VM that it works on; *ret_is_there false when there is none, or it is gone. */
struct store_migration;
int store_migration_of_job(struct store *store, const struct store_job *job, bool *ret_is_there,
                           struct store_migration *ret, struct err **err);

/* Of everything that is recorded. */
struct store_totals {
    int64_t copied_bytes, verified_bytes, mismatched_blocks, delta_bytes;
};
int store_totals_load(struct store *store, struct store_totals *ret, struct err **err);
struct store_error_count {
    char *code;
    int64_t count;
};
VEC_DECLARE(store_errors, struct store_error_count);
int store_errors_load(struct store *store, struct store_errors *ret, struct err **err);
void store_errors_done(struct store_errors *errors);
struct store_stage_time {
    char *stage;
    int64_t mean_ms;
};
VEC_DECLARE(store_stage_times, struct store_stage_time);
int store_stage_times_load(struct store *store, struct store_stage_times *ret, struct err **err);
void store_stage_times_done(struct store_stage_times *times);

#endif
