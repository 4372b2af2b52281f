/* Inside api: a request on its way through the room. */
#ifndef V2C_API_INTERNAL_H
#define V2C_API_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>

#include "api/api.h"
#include "base/doc.h"
#include "base/err.h"
#include "base/str.h"
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
struct guard;  /* sign_in.c: failed logins */
struct assets; /* assets.c */
struct hooks;  /* webhooks.c */

struct api {
    struct api_options options; /* borrowed by whoever started it */
    struct MHD_Daemon *daemon;
    struct lanes *lanes;
    struct hub *hub;
    struct guard *guard;
    struct assets *assets;
    struct hooks *hooks;
    char *address;
    unsigned port;
    bool is_tls;
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
};

struct route;
#define MAX_PATH_PARTS 3

struct request {
    struct api *api;
    struct MHD_Connection *connection;
    char *method, *path;
    struct pairs headers, query;
    struct str body;
    char address[64]; /* of the client */
    const struct route *route;
    char *parts[MAX_PATH_PARTS]; /* what stands for {..} in the route's path, decoded */
    struct caller caller;
    struct store *store; /* of the thread that answers; borrowed */

    bool is_suspended, is_answered;
    unsigned status;
    const char *type; /* static; NULL: no body */
    char *answer;     /* owned */
    size_t answer_length;
    const void *borrowed; /* instead of answer: lives as long as the api */
    const char *encoding; /* static; NULL: none */
    struct pairs answer_headers;
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

/* ---- route.c ------------------------------------------------------------------------------------ */

/* Sets r->route and r->parts.  E_NOT_ROUTED... is answered here: false when the request has its answer. */
bool route_find(struct request *r);
/* Signs in, checks, calls the handler, turns errors into answers; the request has its answer after it. */
void route_answer(struct request *r);
void answer_error(struct request *r, unsigned status, const struct err *error);
/* Takes @body. */
int answer_json(struct request *r, unsigned status, json_t *body);
int answer_text(struct request *r, unsigned status, const char *type, char *text);
int answer_nothing(struct request *r);
void answer_header(struct request *r, const char *name, const char *value);

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

json_t *json_text(const char *text); /* null for NULL; what is no UTF-8 is replaced */
json_t *json_time(int64_t wall_s);   /* null for 0 */

/* ---- sign_in.c, crypto.c ------------------------------------------------------------------------- */

struct guard *guard_new(void);
void guard_free(struct guard *guard);
/* Fills r->caller; E_AUTH. */
int sign_in(struct request *r, struct err **err);
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
 * when there is none. */
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
    char *yaml; /* a whole spec file */
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
/* The response of a client that listens from now on, or from @last_id. */
struct MHD_Response *hub_subscribe(struct hub *hub, struct MHD_Connection *connection,
                                   const char *last_id);
void hub_touch(struct hub *hub, const struct store_job *job);
void hub_progress(struct hub *hub, const struct store_job *job, const struct queue_live *live);
void hub_gone(struct hub *hub, const char *job_id);
/* What a running job said last. */
bool hub_live(struct hub *hub, int64_t job, struct queue_live *ret);
/* Oldest first: seconds since 1970 and bytes per second, of all jobs. */
json_t *hub_throughput(struct hub *hub);
/* The same of one job, while it runs; at most 1,000. */
json_t *hub_job_throughput(struct hub *hub, int64_t job);
uint64_t hub_rate(struct hub *hub); /* of all jobs, now */

/* ---- observe.c ----------------------------------------------------------------------------------------- */

/* The lines before the values of a metric, whose name follows "v2c_". */
void metric_describe(struct str *out, const char *name, const char *type, const char *help);

/* ---- lanes.c ----------------------------------------------------------------------------------------- */

int lanes_start(struct api *api, struct lanes **ret, struct err **err);
/* Ends the threads; what is pushed from then on is refused.  The daemon may still push until it has stopped:
 * free them after it. */
void lanes_stop(struct lanes *lanes);
void lanes_free(struct lanes *lanes);
/* Another thread answers it, and resumes its connection. */
void lanes_push(struct lanes *lanes, struct request *r);

/* ---- assets.c ---------------------------------------------------------------------------------------- */

/* All files below @dir, read into memory: no path of a request ever reaches the file system. */
/* @api_base: what the UI is told of where the API is; NULL: where it comes from. */
struct assets *assets_load(const char *dir, const char *api_base);
void assets_free(struct assets *assets);
/* The file of r->path, or the page for paths of the UI itself; false when there is none. */
bool assets_answer(struct assets *assets, struct request *r);

#endif
