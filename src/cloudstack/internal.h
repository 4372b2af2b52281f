/* What the files of this room share; nobody else includes it. */
#ifndef V2C_CLOUDSTACK_INTERNAL_H
#define V2C_CLOUDSTACK_INTERNAL_H

#include <pthread.h>

#include "base/err.h"
#include "base/str.h"
#include "cloudstack/cloudstack.h"

/* What listApis says of one command, kept for the life of the client. */
struct known_command {
    char *name;
    json_t *params; /* array of {"name": ...}; NULL when the server does not have the command */
};

struct cloudstack {
    struct net_client *net;
    char *endpoint, *api_key, *secret_key, *version;
    json_t *capabilities; /* constant once connected */
    int timeout_ms;
    const volatile int *cancel;
    pthread_mutex_t mutex;
    VEC_DECLARE(, struct known_command)
    commands;           /* mutex */
    long long skew_s;   /* mutex: the server's clock minus ours, by the last answer's Date */
    bool is_skew_known; /* mutex */
    long long pause_ms; /* between two tries of a reading call; tests shorten it */
    long long poll_ms;  /* between two looks at a job */
    int max_page_size;  /* mutex: lowered when the server wants smaller pages */
};

/* A parameter list that owns its texts. */
void params_add(struct cloudstack_params *params, const char *name, const char *value);
/* Leaves out a NULL or empty value. */
void params_add_optional(struct cloudstack_params *params, const char *name, const char *value);
/* details[0].KEY=VALUE for each. */
void params_add_details(struct cloudstack_params *params, const struct cloudstack_params *details);
/* owner: a project, or account and domain. */
void params_add_owner(struct cloudstack_params *params, const char *account, const char *domain_id,
                      const char *project_id);
const char *params_get(const struct cloudstack_params *params, const char *name);
void params_done(struct cloudstack_params *params);

/* Appends the form body of a signed request: @params (without command's company: apikey, response,
 * signatureversion, expires are added here), sorted, and the signature.  @expires_s is wall clock. */
void form_sign(struct str *form, const char *command, const struct cloudstack_params *params,
               const char *api_key, const char *secret_key, int64_t expires_s);

/* Whether a call may be made again when its answer was lost. */
enum call_kind {
    CALL_READ,
    CALL_WRITE,
};
/* One command.  *ret_answer is what stands under the single top-level key: an object, owned. */
int cloudstack_call(struct cloudstack *cs, enum call_kind kind, const char *command,
                    const struct cloudstack_params *params, json_t **ret_answer, struct err **err);
/* A CALL_WRITE that is asynchronous: *ret_job_id is owned. */
int cloudstack_submit(struct cloudstack *cs, const char *command,
                      const struct cloudstack_params *params, char **ret_job_id, struct err **err);
/* The envelope of one answer; see cloudstack_call. */
int envelope_open(const struct cloudstack *cs, const char *command, long status, const char *body,
                  size_t length, long long skew_s, json_t **ret_answer, struct err **err);
/* The array of a list answer, borrowed; NULL when it is empty. */
json_t *envelope_array(json_t *answer);
/* @text without the client's keys; the caller frees. */
char *cloudstack_redact(const struct cloudstack *cs, const char *text);
/* Sleeps unless cancelled: E_CANCELLED. */
int cloudstack_pause(const struct cloudstack *cs, int64_t ms, struct err **err);

static inline void
json_freep(json_t **json)
{
    json_decref(*json);
}

#endif
