/* Inside api: a request on its way through the room. */
#ifndef V2C_API_INTERNAL_H
#define V2C_API_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"
#include "base/text.h"
#include "base/util.h"
#include "base/vec.h"
#include "store/accounts.h"
#include "store/jobs.h"
#include "store/store.h"

#define API_MAX_BODY  (2U * 1024 * 1024)
#define API_TOO_LARGE 413 /* its name differs between versions of libmicrohttpd */

struct config;
struct hub;    /* stream.c */
struct lanes;  /* lanes.c */
struct guard;  /* guard.c: failed logins */
struct assets; /* assets.c */
struct hooks;  /* webhooks.c */

struct api {
    struct api_options options; /* borrowed by whoever started it */
    struct MHD_Daemon *daemon;
    pthread_t thread; /* libmicrohttpd's calls come from it */
    bool is_started;
    atomic_bool is_stopping;
    _Atomic int64_t beat_ms; /* of that thread */
    int resumed_fd;          /* an eventfd: a connection was resumed */
    struct lanes *lanes;
    struct hub *hub;
    struct guard *guard;
    struct assets *assets;
    struct hooks *hooks;
    char *address;
    unsigned port;
    bool is_tls;
    size_t body_bytes;        /* of all requests; libmicrohttpd's thread has it */
    unsigned char key[32];    /* of saved secrets */
    char *tls_cert, *tls_key; /* PEM */
};

struct pair {
    char *name, *value; /* owned; value "" where there is none */
};
VEC_DECLARE(pairs, struct pair);
/* The value of @name, compared without case; NULL: not there. */
const char *pairs_get(const struct pairs *pairs, const char *name);
void pairs_done(struct pairs *pairs);

/* Who asks. */
struct caller {
    char *user;
    enum store_role role;
    char *csrf;    /* of a session; NULL: a token */
    int64_t grant; /* row */
    char *hash;    /* of the session's or token's secret; NULL: nobody */
};

struct route;
#define MAX_PATH_PARTS 3

struct request {
    struct api *api;
    struct MHD_Connection *connection;
    char *method, *path;
    struct pairs headers, query;
    struct str body;
    char address[IP_TEXT]; /* of the client */
    const struct route *route;
    char *parts[MAX_PATH_PARTS]; /* what stands for {..} in the route's path, decoded */
    struct caller caller;
    struct store *store; /* of the thread that answers; borrowed */

    /* body.c: whether its body is wanted. */
    enum { GATE_NEW, GATE_ASKING, GATE_OPEN, GATE_CLOSED } gate;
    uint64_t dropped; /* bytes of the body */

    bool is_suspended, is_answered;
    unsigned status;
    const char *type; /* static; NULL: no body */
    char *answer;     /* owned */
    size_t answer_length;
    const void *borrowed; /* instead of answer: lives as long as the api */
    const char *encoding; /* static; NULL: none */
    struct pairs answer_headers;
    const char
        *audit_note; /* static; what was said beside the action that the audit log must tell */
    bool is_stream;
};

enum lane { LANE_QUICK, LANE_SLOW };
struct route {
    const char *method, *path;
    enum store_role role; /* ROLE_NONE: anybody */
    enum lane lane;       /* slow ones ask other servers, or compute for long */
    const char *audit;    /* what the audit log calls it; NULL: it changes nothing */
    int (*answer)(struct request *r, struct err **err);
};

/* ---- server.c ----------------------------------------------------------------------------------- */

/* A suspended connection goes on; from any thread.  It may be freed from then on. */
void api_resume(struct api *api, struct MHD_Connection *connection);

/* ---- route.c ------------------------------------------------------------------------------------ */

/* Sets r->route and r->parts.  E_NOT_ROUTED... is answered here: false when the request has its answer. */
bool route_find(struct request *r);
/* Signs in and checks; false when the request has been refused, and has its answer. */
bool route_admit(struct request *r);
/* Signs in, checks, calls the handler, turns errors into answers; the request has its answer after it. */
void route_answer(struct request *r);
/* {"detail", "code", "hint"} without those that are NULL; null when @detail is. */
json_t *api_error_json(const char *detail, const char *code, const char *hint);
json_t *api_failure_json(const struct err *error);
void answer_error(struct request *r, unsigned status, const struct err *error);
/* Takes @body. */
int answer_json(struct request *r, unsigned status, json_t *body);
int answer_text(struct request *r, unsigned status, const char *type, char *text);
int answer_nothing(struct request *r);
void answer_header(struct request *r, const char *name, const char *value);

/* ---- body.c ------------------------------------------------------------------------------------------ */

/* Takes the next part of @r's body, or none (*size stays) and the connection is suspended.  False: enough of it. */
bool body_take(struct request *r, const char *data, size_t *size);
/* By a lane, for a request whose gate is asking. */
void body_admit(struct request *r);
void body_done(struct request *r);

/* ---- input.c: what a request says ------------------------------------------------------------------ */

const char *query_text(const struct request *r, const char *name); /* NULL: not there, or blank */
/* E_REQUEST. */
int query_int(const struct request *r, const char *name, int64_t min, int64_t max, int64_t *value,
              struct err **err);
int query_bool(const struct request *r, const char *name, bool *value, struct err **err);
/* The body as a map; E_REQUEST.  An empty one is {} when @may_be_empty. */
int body_read(const struct request *r, bool may_be_empty, struct doc **ret_doc, struct err **err);
/* The body as JSON: {} when it is empty and @may_be_empty. */
int body_json(const struct request *r, bool may_be_empty, json_t **ret, struct err **err);
/* E_REQUEST with all problems. */
int body_check(struct problems *problems, struct err **err);

json_t *json_time(int64_t wall_s); /* null for 0 */

/* Who asks behind trusted proxies: @address is of the connection's other end, and becomes the last one in the
 * X-Forwarded-For headers that no trusted proxy has. */
void client_address(const struct pairs *headers, const struct ip_ranges *trusted,
                    char address[IP_TEXT]);

/* ---- guard.c: failed logins ------------------------------------------------------------------------ */

struct guard *guard_new(void);
void guard_free(struct guard *guard);
/* Before a password is looked at: 0 when @user may try one from @address, which then counts as a wrong one until
 * guard_forgive says that it was right; else in how many seconds.  @now_ms: of clock_monotonic_ms. */
int64_t guard_take(struct guard *guard, const char *user, const char *address, int64_t now_ms);
void guard_forgive(struct guard *guard, const char *user, const char *address, int64_t now_ms);

/* ---- sign_in.c, crypto.c ------------------------------------------------------------------------- */

/* Fills r->caller; E_AUTH. */
int sign_in(struct request *r, struct err **err);
/* What the owner of that session or token may do now; ROLE_NONE when it or they are gone. */
int sign_in_role(struct store *store, const char *hash, enum store_role *ret, struct err **err);
/* Whether @password is @account's (NULL: nobody's, which takes as long).  One that may not be tried now is answered
 * here, with 1; one that is wrong is not an error. */
int password_try(struct request *r, const char *user, const struct store_account *account,
                 const char *password, bool *ret_is_right, struct err **err);
void caller_done(struct caller *caller);

int crypto_random(void *data, size_t length, struct err **err);
char *crypto_random_text(const char *prefix, size_t bytes, struct err **err); /* base64url */
char *crypto_sha256(const char *text);                                        /* hex */
/* HMAC-SHA256, in hexadecimal; the caller frees. */
int crypto_hmac(const char *key, const char *text, char **ret, struct err **err);
bool crypto_same(const char *a, const char *b); /* in constant time */
int crypto_check_password(const char *password, const char *hash, bool *ret_is_right,
                          struct err **err);
/* AES-256-GCM; @about is authenticated with it.  Hexadecimal; the caller frees. */
int crypto_seal(const unsigned char key[32], const char *text, const char *about, char **ret,
                struct err **err);
int crypto_open(const unsigned char key[32], const char *sealed, const char *about, char **ret,
                struct err **err);
/* The key of saved secrets: systemd's credential v2c-secret-key, else @control_dir/service.key (0600), made
 * when there is none; one that is there is never replaced. */
int crypto_load_key(const char *control_dir, unsigned char ret_key[32], struct err **err);
/* A certificate for this host, kept in @control_dir/tls. */
/* @control_dir NULL: one that is kept nowhere. */
int crypto_self_signed(const char *control_dir, char **ret_cert, char **ret_key, struct err **err);

/* ---- servers.c ----------------------------------------------------------------------------------- */

struct vsphere;
struct cloudstack;
/* @timeout_ms is of one call; 0: as usual.  E_CONFIG where none is configured. */
int server_connect_vcenter(const struct config *config, int timeout_ms, struct vsphere **ret,
                           struct err **err);
int server_connect_cloudstack(const struct config *config, int timeout_ms, struct cloudstack **ret,
                              struct err **err);

/* ---- inventory.c -------------------------------------------------------------------------------- */

/* Takes the array @vms, and returns it in order of name, then moref. */
json_t *inventory_sorted(json_t *vms);

/* ---- environments.c -------------------------------------------------------------------------------- */

#define ENVIRONMENT_CONFIG_VCENTER    "config-default-vcenter"
#define ENVIRONMENT_CONFIG_CLOUDSTACK "config-default-cloudstack"
/* The configuration with vCenter and CloudStack of these environments (NULL: the file's). */
int environment_config(struct api *api, struct store *store, const char *vcenter,
                       const char *cloudstack, struct config **ret, struct err **err);
/* That of the file, else what the existing tool's x-... headers say. */
int environment_of_headers(struct request *r, struct config **ret, struct err **err);
/* The ids for a new job, from the existing tool's headers: saved environments are made of them. */
int environment_ids_of_headers(struct request *r, char **ret_vcenter, char **ret_cloudstack,
                               struct err **err);

/* ---- job_json.c, jobs.c, plan.c ------------------------------------------------------------------- */

/* What all jobs of one answer need. */
struct job_context {
    struct api *api;
    struct store *store;
    struct store_jobs unfinished;
    struct store_waves waves;
    struct queue_limits limits;
    enum store_role role;
};
int job_context_load(struct api *api, struct store *store, struct job_context *ret,
                     struct err **err);
void job_context_done(struct job_context *context);
json_t *job_json(struct job_context *context, const struct store_job *job, bool has_detail,
                 struct err **err);
json_t *job_disk_json(const struct store_disk *disk, const struct store_progress *p);
json_t *job_round_json(const struct store_round *round);

/* One migration to begin. */
struct plan_entry {
    char *vm_name, *vm_moref, *pool;
    char *uuid, *datacenter; /* of the spec; NULL: not given */
    char *yaml;              /* a whole spec file */
};
VEC_DECLARE(plan, struct plan_entry);
void specs_plan_done(struct plan *plan);
/* From the members `vms` or `yaml` of @body: each VM as a spec of its own, checked as run checks it.
 * *ret_problems (owned, may come with 0) lists what is wrong; then the plan is empty. */
int specs_plan(struct request *r, const json_t *body, const struct config *config, struct plan *ret,
               char **ret_yaml, json_t **ret_vms, char **ret_problems, char **ret_warnings,
               struct err **err);
/* A job id; the caller frees. */
char *job_new_id(void);
/* Asks the vCenter of @config, once for all, which VMs @jobs are of: their morefs and its identity.  @plan has an entry
 * for each.  Where it cannot be asked what is known stays, and the workers find out. */
void jobs_identify(const struct config *config, const struct plan *plan, struct store_jobs *jobs);
/* Writes the spec files, adds the jobs, wakes the queue. */
int jobs_begin(struct request *r, struct store_jobs *jobs, const struct plan *plan,
               struct err **err);
/* Does @action of openapi.yaml; *ret_job (owned by the caller) is the job to show. */
int job_act(struct request *r, const char *job_id, const char *action, const json_t *input,
            struct store_job *ret_job, struct err **err);
/* A finished one, with its files. */
int job_forget(struct request *r, const struct store_job *job, struct err **err);
void api_wake(struct api *api);
/* The last @lines lines of a file, or all for 0 (64 MiB at most); "" where there is none.  The caller frees. */
char *log_tail(const char *path, int64_t lines);

/* ---- stream.c -------------------------------------------------------------------------------------- */

struct hub *hub_new(struct api *api);
void hub_start(struct hub *hub);
/* Ends the streams; before the daemon is stopped. */
void hub_stop(struct hub *hub);
void hub_free(struct hub *hub);
/* The response of a client that listens from now on, or from its Last-Event-ID, and as long as whoever asks may do
 * what they may do now. */
struct MHD_Response *hub_subscribe(struct hub *hub, const struct request *r);
void hub_touch(struct hub *hub, const struct store_job *job);
void hub_progress(struct hub *hub, const struct store_job *job, const struct queue_live *live);
void hub_gone(struct hub *hub, const char *job_id);
/* What a running job said last. */
bool hub_live(struct hub *hub, int64_t job, struct queue_live *ret);
/* Oldest first: seconds since 1970 and bytes per second, of all jobs. */
json_t *hub_throughput(struct hub *hub);
/* The same of one job, while it runs; at most 1,000. */
json_t *hub_job_throughput(struct hub *hub, int64_t job);
uint64_t hub_rate(struct hub *hub);   /* of all jobs, now */
int64_t hub_beat_ms(struct hub *hub); /* when its thread has last gone round */

/* ---- observe.c ----------------------------------------------------------------------------------------- */

/* The lines before the values of a metric, whose name follows "v2c_". */
void metric_describe(struct str *out, const char *name, const char *type, const char *help);

/* ---- lanes.c ----------------------------------------------------------------------------------------- */

/* Names the calling thread, and lets it answer before the workers of a busy host go on copying: an answer is a few
 * milliseconds.  Where that is not permitted (root is, and the unit) it waits its turn like all others. */
void thread_answers_first(const char *name);
int lanes_start(struct api *api, struct lanes **ret, struct err **err);
/* Ends the threads; what is pushed from then on is refused.  The daemon may still push until it has stopped:
 * free them after it. */
void lanes_stop(struct lanes *lanes);
void lanes_free(struct lanes *lanes);
/* Asks the threads that never wait for others for a sign of life; false when none has given one within @within_ms. */
bool lanes_are_alive(struct lanes *lanes, int64_t within_ms);
/* Another thread answers it, or opens its gate, and resumes its connection. */
void lanes_push(struct lanes *lanes, struct request *r);

/* ---- assets.c ---------------------------------------------------------------------------------------- */

/* All files below @dir, read into memory: no path of a request ever reaches the file system. */
/* @api_base: what the UI is told of where the API is; NULL: where it comes from. */
struct assets *assets_load(const char *dir, const char *api_base);
void assets_free(struct assets *assets);
/* The file of r->path, or the page for paths of the UI itself; false when there is none. */
bool assets_answer(struct assets *assets, struct request *r);

#endif
