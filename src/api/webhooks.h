/* Inside api: who is told of jobs.  webhooks.c has the threads, deliver.c one delivery, hook_routes.c what
 * the API says of them. */
#ifndef V2C_API_WEBHOOKS_H
#define V2C_API_WEBHOOKS_H

#include "api/internal.h"
#include "config/config.h"
#include "store/webhooks.h"

/* ---- deliver.c ----------------------------------------------------------------------------------- */

/* One POST, as yet without the signature, which holds for its moment. */
struct delivery {
    const char *event; /* "job.failed", "test" */
    char *id;          /* the same when it is tried again */
    char *body;        /* owned */
};
void delivery_done(struct delivery *delivery);
void delivery_of(const struct config_webhook *webhook, const struct store_transition *transition,
                 struct delivery *ret);
int delivery_of_test(const struct config_webhook *webhook, struct delivery *ret, struct err **err);
/* Anything but an answer of 2xx is an error, whose text names no more of the URL than its host.
 * *ret_status is 0 where no answer came.  @cancel as that of net_request. */
int delivery_send(const struct config_webhook *webhook, const struct delivery *delivery,
                  const volatile int *cancel, long *ret_status, struct err **err);
/* "https://hooks.example.com": what follows may be a secret; the caller frees. */
char *webhook_origin(const char *url);
/* Owned by the caller: webhook_filter_done. */
struct webhook_filter {
    struct store_transition_filter wanted;
    char *waves, *environments;
};
void webhook_filter_init(const struct config_webhook *webhook, struct webhook_filter *ret);
void webhook_filter_done(struct webhook_filter *filter);

/* ---- webhooks.c ------------------------------------------------------------------------------------ */

/* A thread each, with a store of its own: who does not answer holds up nobody else. */
int hooks_start(struct api *api, struct hooks **ret, struct err **err);
void hooks_stop(struct hooks *hooks); /* and frees; NULL is fine */
void hooks_wake(struct hooks *hooks); /* there may be something to tell */

/* ---- hook_routes.c ----------------------------------------------------------------------------------- */

int webhook_metrics(struct request *r, struct str *out, struct err **err);

#endif
