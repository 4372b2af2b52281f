/* What webhooks are told of jobs, and how far each of them has come.
 *
 * Triggers in the schema write a transition in the transaction of what it tells of, whoever makes that: the
 * queue, people, or a worker.  Each webhook has a position in them; what all have passed is removed. */
#ifndef V2C_STORE_WEBHOOKS_H
#define V2C_STORE_WEBHOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"
#include "store/jobs.h"

struct err;
struct store;

/* States of jobs are events of the same number. */
enum store_transition_event {
    TRANSITION_STAGE = JOB_STATE_MAX_,
    TRANSITION_NEEDS_PERSON,
    TRANSITION_MAX_,
};
const char *store_transition_name(int event); /* "failed", "stage", "needs_person" */
bool store_transition_from_name(const char *name, int *ret);

/* As the job was then.  NULL is none. */
struct store_transition {
    int64_t id, at_ms; /* row; since 1970 */
    char *event_id;    /* nobody else's */
    int32_t event, kind, state;
    char *job_id, *vm_name, *vm_moref, *vcenter, *cloudstack, *wave, *stage;
    char *error, *error_code,
        *error_hint;       /* of a failed or stopped job; what a person is needed for */
    char *required_action; /* "shutdown_choice", "free_space", "see_error" */
};
void store_transition_done(struct store_transition *transition);

struct store_webhook {
    char *name;
    int64_t delivered, failed /* attempts */, given_up;
    int64_t delivered_at, failed_at; /* seconds since 1970, of the last; 0: none */
    char *error;                     /* of the last attempt; NULL when it went well */
};
VEC_DECLARE(store_webhooks, struct store_webhook);
void store_webhooks_done(struct store_webhooks *webhooks);

/* From now on there are those of @names: a new one is told what happens from here on, and what there is of
 * others is forgotten. */
int store_webhooks_keep(struct store *store, const char *const *names, size_t count,
                        struct err **err);
int store_webhook_list(struct store *store, struct store_webhooks *ret,
                       struct err **err); /* by name */

/* What a webhook wants to be told. */
struct store_transition_filter {
    uint64_t events;                  /* bits 1 << event */
    const char *waves, *environments; /* each between line feeds: "\nnight\nday\n"; NULL: any */
};
/* The next that @name is to be told; what it does not want is passed over. */
int store_transition_next(struct store *store, const char *name,
                          const struct store_transition_filter *filter, bool *ret_is_there,
                          struct store_transition *ret, struct err **err);
int store_transition_count(struct store *store, const char *name,
                           const struct store_transition_filter *filter, int64_t *ret,
                           struct err **err);
/* @name was told of row @transition.  Removes what nobody needs any more. */
int store_webhook_delivered(struct store *store, const char *name, int64_t transition,
                            struct err **err);
int store_webhook_failed(struct store *store, const char *name, const char *error,
                         struct err **err);
/* Passes over what happened before @before_ms; *ret_count is how many of them it wanted to be told. */
int store_webhook_give_up(struct store *store, const char *name,
                          const struct store_transition_filter *filter, int64_t before_ms,
                          int64_t *ret_count, struct err **err);

#endif
