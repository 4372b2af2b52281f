/* The pretend CloudStack, inside: one zone with everything in memory as the JSON objects that lists
 * answer with.  Keys that begin with '_' are ours and never leave.
 *
 * A request goes: faults -> signature (auth.c) -> schema (schema.c) -> its function (commands.c), at
 * once or as a job (jobs.c).  The signature and the schema are written from the server's rules, and
 * share no code with the client of src/cloudstack, so that each checks the other.
 *
 * Threading: `mutex` guards everything that changes; commands run with it held. */
#ifndef V2C_LAB_CLOUDSTACK_CS_H
#define V2C_LAB_CLOUDSTACK_CS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/util.h"
#include "base/vec.h"
#include "core/lab.h"
#include "guest/lab_guest.h"

/* Numbers of ApiErrorCode, which are HTTP status codes too. */
enum {
    CS_UNAUTHORIZED = 401,
    CS_PARAM = 431,
    CS_UNSUPPORTED = 432,
    CS_INTERNAL = 530,
    CS_RESOURCE_ALLOCATION = 535,
};

struct cs_error {
    int code;
    char text[1024];
};
/* Always returns -1. */
int cs_fail(struct cs_error *error, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct cs_param {
    char *name; /* as sent: "details[0].UEFI" */
    char *value;
    char *base; /* what the schema calls it: "details" */
    char *key;  /* of a map, as sent: "UEFI"; NULL otherwise */
    long index; /* of a map or list element; -1 otherwise */
};
struct cs_request {
    VEC_DECLARE(, struct cs_param)
    params;
    const json_t *api; /* its entry in the schema */
    char *command;     /* as the schema writes it */
    bool is_post;
};
void cs_request_add(struct cs_request *rq, const char *name, const char *value);
void cs_request_done(struct cs_request *rq);
const char *cs_get(const struct cs_request *rq, const char *base); /* NULL when absent or empty */
bool cs_get_bool(const struct cs_request *rq, const char *base);
/* The map of index 0, which is all that the real server looks at; a new object. */
json_t *cs_get_details(const struct cs_request *rq);

struct cs_boot {
    char vm_id[40];
    struct lab_boot *boot; /* NULL: only marked running */
    uint64_t started_at_ms;
};

struct cs_job {
    char id[40], command[64];
    struct cs_request rq;
    int64_t due_ms; /* monotonic */
    int status;     /* 0 pending, 1 succeeded, 2 failed */
    bool is_made;   /* what it makes is there, and `result` tells of it */
    json_t *result;
    int code;
    int64_t created_s, completed_s;
};

struct lab_cloudstack {
    struct lab *lab;
    struct lab_https *https;
    json_t *schema; /* array of commands of this version */
    char api_key[96], secret_key[96], version[32], dir[4096];
    bool is_post_enforced, is_boot_off, has_shared_mount_point;
    int job_ms, max_page_size;

    pthread_mutex_t mutex;
    pthread_cond_t wake; /* of the job thread */
    pthread_t job_thread;
    bool is_stopping, has_job_thread;
    VEC_DECLARE(, struct cs_job *)
    jobs;
    VEC_DECLARE(, struct cs_boot)
    boots;
    json_t *world;               /* "zone": [...], "vm": [...], "volume": [...], "tag": [...] ... */
    unsigned next_vm, next_addr; /* counters for i-2-N-VM and addresses */
    unsigned boot_count;
};

/* ---- auth.c: whether the request's signature is right ------------------------------------------ */

/* The string that is signed: sorted by the names as sent, values as Java encodes them, lower case. */
char *cs_signed_string(const struct cs_request *rq);
int cs_check_signature(const struct lab_cloudstack *cs, const struct cs_request *rq,
                       struct cs_error *error);

/* ---- schema.c ---------------------------------------------------------------------------------- */

/* tests/data/cloudstack-listapis.json, put into the program by embed.py. */
extern const unsigned char cs_listapis[];
extern const size_t cs_listapis_length;

/* The commands that @version has, from the JSON of tests/data. */
json_t *cs_schema_load(const char *version, bool has_importvm_mac);
/* Negative, 0, positive as @a is older, equal, newer. */
int cs_compare_versions(const char *a, const char *b);
const json_t *cs_schema_find(const json_t *schema, const char *command); /* any case; or NULL */
/* Names, types, required ones, and that what ids name exists. */
int cs_schema_check(const struct lab_cloudstack *cs, struct cs_request *rq, struct cs_error *error);

/* ---- world.c: what there is -------------------------------------------------------------------- */

json_t *cs_world_new(const struct lab_cloudstack *cs);
/* {kind, name, set: {key: value}} on top of what is there; null takes a key away.  E_CONFIG. */
int cs_world_change(struct lab_cloudstack *cs, const json_t *change, struct err **err);
int cs_world_change_all(struct lab_cloudstack *cs, const json_t *changes, struct err **err);
json_t *cs_all(const struct lab_cloudstack *cs, const char *kind); /* borrowed array */
json_t *cs_find(const struct lab_cloudstack *cs, const char *kind, const char *id); /* or NULL */
/* The kind that a parameter's id must be of: "zoneid" -> "zone"; NULL: not known. */
const char *cs_kind_of_param(const char *command, const char *param);
const char *cs_text(const json_t *object, const char *key); /* "" when absent */
void cs_set_text(json_t *object, const char *key, const char *value);
void cs_new_uuid(char ret_id[40]);
void cs_format_time(int64_t wall_s, char ret_text[32]);
/* What leaves: a copy without our own keys. */
json_t *cs_public(const json_t *object);
void cs_remove(json_t *array, const json_t *item);

/* ---- list.c ------------------------------------------------------------------------------------ */

/* {"count": N, "@key": [...]} of the items of @array that the parameters let through. */
int cs_list(const struct lab_cloudstack *cs, const struct cs_request *rq, const char *key,
            json_t *array, json_t **ret, struct cs_error *error);

/* ---- image.c: what a KVM host sees when it looks at a file ------------------------------------- */

struct cs_image {
    bool exists, is_readable, is_locked, is_encrypted, has_backing;
    char format[16];   /* "qcow2", "raw" */
    char backing[512]; /* file */
    char refusal[256]; /* why we do not take it; "" when it is right */
    uint64_t virtual_size, file_size, cluster_size;
};
void cs_image_look(const char *path, struct cs_image *ret);
/* DIR/NAME of a file at the top level of the pool; false when @path names none such. */
bool cs_pool_file(const json_t *pool, const char *path, char **ret_name, char **ret_path);

/* ---- commands ---------------------------------------------------------------------------------- */

typedef int (*cs_function)(struct lab_cloudstack *cs, const struct cs_request *rq, json_t **ret,
                           struct cs_error *error);
struct cs_command {
    const char *name;
    cs_function run;
    /* Its object is made when the command is submitted, and the job only ends later. */
    bool is_made_at_once;
};
const struct cs_command *cs_find_command(const char *name); /* commands.c; NULL: not built */

/* import.c */
#define CS_MAX_CUSTOM_GIB 1024 /* custom.diskoffering.size.max; the smallest is 0 here, for tests */
bool cs_has_host(const struct lab_cloudstack *cs, bool needs_uefi); /* one that is up */
int cs_import_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_import_volume(struct lab_cloudstack *, const struct cs_request *, json_t **,
                     struct cs_error *);
int cs_list_importable(struct lab_cloudstack *, const struct cs_request *, json_t **,
                       struct cs_error *);
int cs_unmanage_volume(struct lab_cloudstack *, const struct cs_request *, json_t **,
                       struct cs_error *);
int cs_unmanage_vm(struct lab_cloudstack *, const struct cs_request *, json_t **,
                   struct cs_error *);

/* owner.c: whose an object becomes, and what that owner may have. */
int cs_set_owner(const struct lab_cloudstack *cs, const struct cs_request *rq, json_t *object,
                 struct cs_error *error);
int cs_check_vm_limits(const struct lab_cloudstack *cs, const json_t *vm, struct cs_error *error);

/* deploy.c */
int cs_deploy_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
/* The sizes of a custom offering, as they stand in @details. */
int cs_check_size_detail(const json_t *details, const char *key, struct cs_error *error);
void cs_set_size(json_t *vm, const json_t *offering, const json_t *details);

/* tags.c */
int cs_create_tags(struct lab_cloudstack *, const struct cs_request *, json_t **,
                   struct cs_error *);
int cs_delete_tags(struct lab_cloudstack *, const struct cs_request *, json_t **,
                   struct cs_error *);
void cs_tags_drop(struct lab_cloudstack *cs, json_t *object); /* of what is removed */

/* vm.c */
int cs_update_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_start_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_stop_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_destroy_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_expunge_vm(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
void cs_vm_remove(struct lab_cloudstack *cs, json_t *vm); /* the record, and its tags */
int cs_list_vms(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
bool cs_is_host_name(const char *name);
void cs_refresh_vms(struct lab_cloudstack *cs);
json_t *cs_vm_result(const json_t *vm); /* {"virtualmachine": {...}} */
const struct cs_boot *cs_find_boot(const struct lab_cloudstack *cs, const char *vm_id);

/* nic.c */
int cs_add_nic(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_remove_nic(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_update_default_nic(struct lab_cloudstack *, const struct cs_request *, json_t **,
                          struct cs_error *);
int cs_update_nic_ip(struct lab_cloudstack *, const struct cs_request *, json_t **,
                     struct cs_error *);
int cs_list_nics(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
/* Whether another NIC on that network has it. */
bool cs_mac_is_taken(const struct lab_cloudstack *cs, const char *network_id, const char *mac);
bool cs_is_mac(const char *mac);
/* Whether @address is one of the network's and free; NULL is. */
int cs_check_address(const struct lab_cloudstack *cs, const json_t *network, const char *address,
                     struct cs_error *error);
/* Appends a NIC; @mac NULL or invalid: a new one is made up, as the real server does. */
void cs_nic_add(struct lab_cloudstack *cs, json_t *vm, const json_t *network, const char *mac,
                const char *address);

/* volume.c */
int cs_attach_volume(struct lab_cloudstack *, const struct cs_request *, json_t **,
                     struct cs_error *);
int cs_detach_volume(struct lab_cloudstack *, const struct cs_request *, json_t **,
                     struct cs_error *);
int cs_delete_volume(struct lab_cloudstack *, const struct cs_request *, json_t **,
                     struct cs_error *);
int cs_destroy_volume(struct lab_cloudstack *, const struct cs_request *, json_t **,
                      struct cs_error *);
int cs_list_volumes(struct lab_cloudstack *, const struct cs_request *, json_t **,
                    struct cs_error *);
/* A new record of a file of the pool. */
json_t *cs_volume_new(struct lab_cloudstack *cs, const json_t *pool, const char *file,
                      const struct cs_image *image, const char *type);
json_t *cs_volume_of_path(const struct lab_cloudstack *cs, const json_t *pool, const char *file);
void cs_volume_attach(json_t *volume, const json_t *vm, int device_id);
void cs_volume_detach(json_t *volume);
/* The volumes of a VM by device id, borrowed; the array is the caller's. */
json_t *cs_volumes_of(const struct lab_cloudstack *cs, const json_t *vm);
void cs_volume_remove(struct lab_cloudstack *cs, json_t *volume); /* the record, and its tags */
/* "" of a volume that has no file yet. */
char *cs_volume_file(const struct lab_cloudstack *cs, const json_t *volume);

/* jobs.c */
/* Takes @rq, and @result, which is NULL unless what the job makes is there already. */
const struct cs_job *cs_job_submit(struct lab_cloudstack *cs, struct cs_request *rq,
                                   json_t *result);
int cs_query_job(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
int cs_list_jobs(struct lab_cloudstack *, const struct cs_request *, json_t **, struct cs_error *);
void *cs_job_thread(void *opaque);
void cs_jobs_done(struct lab_cloudstack *cs);

/* boot.c */
int cs_boot_vm(struct lab_cloudstack *cs, json_t *vm, struct cs_error *error);
void cs_boot_end(struct lab_cloudstack *cs, const char *vm_id);

#endif
