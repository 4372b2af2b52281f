/* The web service: REST, server-sent events, sign-in, metrics and the UI's files.  openapi.yaml is the
 * contract.
 *
 * It reads the store and asks for things in it; what is done, others do: the queue (supervisor/queue.h)
 * starts jobs, and they are processes of their own.
 *
 * Threading: api_start starts threads of its own, each with a store of its own; the functions below may be
 * called from any thread. */
#ifndef V2C_API_API_H
#define V2C_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/queue.h"

struct api;
struct config_webhooks;
struct err;
struct ip_ranges;

struct api_options {
    const char *config_path; /* read anew for each request that needs it: credentials may change */
    const char *control_dir, *specs_dir;
    const char *listen;             /* ":8000", "127.0.0.1:8000", "[::1]:8000"; port 0: any */
    const char *tls_cert, *tls_key; /* PEM files; NULL: a certificate is made in control_dir */
    bool is_insecure;               /* HTTP even where others can reach it */
    const char *allow_origins;      /* of browsers, separated by commas; NULL or "": none */
    const char *frame_ancestors;    /* who may embed the UI; NULL: nobody */
    const char *ui_dir;             /* the UI's files; NULL or none there: no UI */
    const struct ip_ranges
        *trusted_proxies;    /* whose X-Forwarded-For says who asks; NULL: nobody's */
    int64_t default_workers; /* what queue_limits_load is told */
    int wake_fd;             /* written to when the queue is to look at once */
    const struct config_webhooks *webhooks; /* whom to tell of jobs; not NULL but with ui_for */
    /* The UI's files alone, for an API that is elsewhere: no store, nothing but these files.  Its address
     * as the browser reaches it; NULL: the whole service. */
    const char *ui_for;
};
/* E_LISTEN, E_TLS..., E_STORE. */
int api_start(const struct api_options *options, struct api **ret_api, struct err **err);
/* Tells webhooks from here on; once nobody else works with the control directory.  E_STORE. */
int api_begin(struct api *api, struct err **err);
void api_stop(struct api *api);
/* Whether the threads that answer, and the one that sends events, have got on within @within_ms.  For the service's
 * watchdog, which calls it several times in that while. */
bool api_is_alive(struct api *api, int64_t within_ms);
/* "https://127.0.0.1:8000"; of ":PORT" the host is "localhost". */
const char *api_address(const struct api *api);
unsigned api_port(const struct api *api);
const char *api_control_dir(const struct api *api);

/* For queue_options, with the api as opaque. */
void api_job_changed(void *api, const struct store_job *job);
void api_job_progress(void *api, const struct store_job *job, const struct queue_live *live);
int api_job_environment(void *api, const struct store_job *job, struct queue_words *ret,
                        struct err **err);

/* ---- accounts.c: for the command line as well ------------------------------------------------------ */

/* A storable form of @password (scrypt with a salt of its own); E_REQUEST when it is too short or too long.
 * The caller frees. */
int api_hash_password(const char *password, char **ret_hash, struct err **err);
/* A new token of @account, to be shown once; the caller frees *ret_token. */
int api_make_token(struct store *store, const char *account, const char *name, int role,
                   char **ret_token, struct err **err);
/* A password nobody has chosen; the caller frees. */
int api_random_password(char **ret_password, struct err **err);

#endif
