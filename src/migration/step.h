/* One recorded call to CloudStack: made once, whatever interrupts it. */
#ifndef V2C_MIGRATION_STEP_H
#define V2C_MIGRATION_STEP_H

#include "migration/internal.h"

/* `submit` makes the call and returns the job's id; `lookup` finds what an earlier call made,
 * *ret_result NULL when there is nothing; `result_of` takes the outcome out of a finished job. */
struct step {
    struct migration *m;
    const char *name;
    const char *command;             /* CloudStack's: its jobs are waited for before a lookup */
    const char *object;              /* an id, or ids, that the step is about */
    int device_id;                   /* of a volume that is attached */
    bool is_sync;                    /* it is done when it is answered: `submit` sets no job id */
    bool is_optional;                /* refused, it is told and left out */
    bool may_be_done;                /* looked up although no call of ours is recorded */
    const struct store_disk *disk;   /* for the steps of a disk */
    const struct preflight_nic *nic; /* for those of a NIC */
    int (*submit)(const struct step *step, char **ret_job_id, struct err **err);
    int (*lookup)(const struct step *step, char **ret_result, struct err **err);
    char *(*result_of)(const json_t *job_result);
};

/* What an earlier run made by this step, looked up; *ret_result (owned) is NULL when there is nothing,
 * and the call may then be made. */
int step_recover(const struct step *step, char **ret_result, struct err **err);
/* Does the step unless it is done; *ret_result is owned. */
int step_do(const struct step *step, char **ret_result, struct err **err);
/* Steps that do not depend on each other: all calls are made before the first is waited for.
 * *ret_results has one entry a step, NULL at first, owned.  The first error is returned when all that was
 * begun has ended. */
int step_do_all(const struct step *steps, size_t count, char **ret_results, struct err **err);

const char *step_base_name(const char *path);
/* A member of an answer; NULL when it is absent or no string. */
const char *step_text(const json_t *object, const char *key);
/* The result of a job whose success is all there is to know. */
char *step_done(const json_t *job_result);

#endif
