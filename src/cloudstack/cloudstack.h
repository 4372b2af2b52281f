/* Client of the CloudStack API: signed requests, inventory, asynchronous jobs, import.
 *
 * Requests that change something are POST, signed with version 3 and an expiry, and never repeated
 * after a lost answer: the caller looks up the truth (cloudstack_find_*).  Lists are fetched over all
 * pages.  An error envelope becomes E_CS_API (or E_CS_AUTH, E_CS_BUSY) with CloudStack's own text and
 * error number; no message ever holds keys, signatures or URLs.
 *
 * Threading: one client may be used by several threads; each call is its own exchange. */
#ifndef V2C_CLOUDSTACK_CLOUDSTACK_H
#define V2C_CLOUDSTACK_CLOUDSTACK_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/vec.h"
#include "net/net.h"

struct err;
struct cloudstack;

struct cloudstack_options {
    const char *endpoint; /* as in config.yaml; see cloudstack_normalize_endpoint */
    const char *api_key, *secret_key;
    struct net_trust trust;
    int timeout_ms; /* of one request; 0: 45 s */
    const volatile int *cancel;
};
int cloudstack_connect(
    const struct cloudstack_options *options, struct cloudstack **ret_cs,
    struct err **err); /* asks listCapabilities: key, clock and version are checked */
void cloudstack_free(struct cloudstack *cs);
void cloudstack_freep(struct cloudstack **cs);
const char *cloudstack_version(const struct cloudstack *cs);
/* What listCapabilities told when connecting; borrowed. */
const json_t *cloudstack_capabilities(const struct cloudstack *cs);
/* The server's clock minus ours in seconds, by the last answer; false while no answer told. */
bool cloudstack_clock_skew(struct cloudstack *cs, int64_t *ret_skew_s);
/* "host", "host/client", "https://host:8443/custom/client/api" ... to the full URL; the caller frees.
 * Without a scheme it is http, as the existing tool has it. */
char *cloudstack_normalize_endpoint(const char *endpoint, struct err **err);

struct cloudstack_param {
    const char *name,
        *value; /* name: lower case but for details[0].rootDiskController and the like */
};
VEC_DECLARE(cloudstack_params, struct cloudstack_param);

/* The signature (base64 HMAC-SHA1) of parameters that include command, apikey, response; the caller
 * frees.  Rules of ApiServer.verifyRequest. */
char *cloudstack_sign(const struct cloudstack_params *params, const char *secret_key);

/* Whether this server's command takes the parameter, by listApis (cached). */
int cloudstack_has_param(struct cloudstack *cs, const char *command, const char *param,
                         bool *ret_has, struct err **err);
/* One list command over all pages: the elements of its one array.  *ret_items is owned. */
int cloudstack_list(struct cloudstack *cs, const char *command,
                    const struct cloudstack_params *params, json_t **ret_items, struct err **err);

/* listDetailOptions: the words that details such as rootDiskController may have, {detail: [word]}.
 * *ret_details is owned. */
int cloudstack_detail_options(struct cloudstack *cs, const char *resource_type,
                              json_t **ret_details, struct err **err);

/* ---- asynchronous jobs ------------------------------------------------------------------------ */

struct cloudstack_job {
    bool is_done, has_failed;
    json_t *result;   /* owned; NULL while pending */
    char *error_text; /* when it has failed */
    int error_code;
};
int cloudstack_job_query(struct cloudstack *cs, const char *job_id, struct cloudstack_job *ret_job,
                         struct err **err);
void cloudstack_job_done(struct cloudstack_job *job);
/* Waits for success; E_CS_JOB with the job's text.  Transport errors while waiting are repeated until
 * @timeout_ms is over (0: 1 h).  *ret_result is owned, may be NULL. */
int cloudstack_job_wait(struct cloudstack *cs, const char *job_id, int64_t timeout_ms,
                        json_t **ret_result, struct err **err);

/* After a lost answer the server may be working on a job whose id we never saw.  Waits until none of
 * our account's jobs of @command (one of those below) is pending, twice in a row; only then does a lookup tell the truth.
 * E_TIMEOUT after @timeout_ms (0: 1 h). */
int cloudstack_settle(struct cloudstack *cs, const char *command, int64_t timeout_ms,
                      struct err **err);

/* ---- what a migration does; each returns the job's id for the caller to record, then to wait for */

struct cloudstack_import_vm {
    const char *name, *display_name, *zone_id, *cluster_id, *storage_id, *disk_path, *network_id,
        *service_offering_id;
    const char *os_type_id; /* sent as osid where the server knows it; may be NULL */
    const char *mac, *ip;   /* sent where the server knows them; may be NULL */
    const char *account, *domain_id, *project_id; /* may be NULL */
    const struct cloudstack_params
        *details; /* "rootDiskController"="virtio", ...; sent as details[0].* */
};
int cloudstack_import_vm(struct cloudstack *cs, const struct cloudstack_import_vm *import,
                         char **ret_job_id, struct err **err);
int cloudstack_add_nic(struct cloudstack *cs, const char *vm_id, const char *network_id,
                       const char *mac, const char *ip, /* may be NULL */
                       char **ret_job_id, struct err **err);
int cloudstack_remove_nic(struct cloudstack *cs, const char *vm_id, const char *nic_id,
                          char **ret_job_id, struct err **err);
int cloudstack_make_nic_default(struct cloudstack *cs, const char *vm_id, const char *nic_id,
                                char **ret_job_id, struct err **err);
int cloudstack_set_nic_ip(struct cloudstack *cs, const char *nic_id, const char *ip,
                          char **ret_job_id, struct err **err);
int cloudstack_import_volume(struct cloudstack *cs, const char *name, const char *zone_id,
                             const char *storage_id, const char *path, const char *disk_offering_id,
                             const char *account, const char *domain_id, const char *project_id,
                             char **ret_job_id, struct err **err);
/* @device_id 0 makes it the root volume; negative: the server chooses. */
int cloudstack_attach_volume(struct cloudstack *cs, const char *volume_id, const char *vm_id,
                             int device_id, char **ret_job_id, struct err **err);
/* A VM that is not started, whose root volume is planned and on no pool. */
struct cloudstack_nic {
    const char *network_id, *mac, *ip; /* mac and ip may be NULL */
};
struct cloudstack_deploy_vm {
    const char *id; /* that it is to have */
    const char *name, *display_name, *zone_id, *service_offering_id, *template_id;
    const char *uefi_mode;                        /* "SECURE", "LEGACY"; NULL: BIOS */
    const char *account, *domain_id, *project_id; /* may be NULL */
    const struct cloudstack_nic *nics;
    size_t nic_count;
    const struct cloudstack_params *details;
};
int cloudstack_deploy_vm(struct cloudstack *cs, const struct cloudstack_deploy_vm *deploy,
                         char **ret_job_id, struct err **err);
int cloudstack_detach_volume(struct cloudstack *cs, const char *volume_id, char **ret_job_id,
                             struct err **err);
/* Synchronous.  The volume's file goes with it, if it has one: the caller knows that it has not. */
int cloudstack_delete_volume(struct cloudstack *cs, const char *volume_id, struct err **err);
/* The same warning. */
int cloudstack_expunge_vm(struct cloudstack *cs, const char *vm_id, char **ret_job_id,
                          struct err **err);
/* @type "UserVm" or "Volume"; @ids "a,b". */
int cloudstack_create_tags(struct cloudstack *cs, const char *type, const char *ids,
                           const struct cloudstack_params *tags, char **ret_job_id,
                           struct err **err);
/* Reads the VM's details, merges @details into them (details replace the whole set), sets the OS type
 * (may be NULL).  Synchronous. */
int cloudstack_update_vm(struct cloudstack *cs, const char *vm_id, const char *os_type_id,
                         const struct cloudstack_params *details, struct err **err);
int cloudstack_start_vm(struct cloudstack *cs, const char *vm_id, char **ret_job_id,
                        struct err **err);
int cloudstack_stop_vm(struct cloudstack *cs, const char *vm_id, bool is_forced, char **ret_job_id,
                       struct err **err);
/* CloudStack forgets it, and the files stay: a stopped VM with all its volumes (from 4.22 on), or a
 * detached volume. */
int cloudstack_unmanage_vm(struct cloudstack *cs, const char *vm_id, char **ret_job_id,
                           struct err **err);
int cloudstack_unmanage_volume(struct cloudstack *cs, const char *volume_id, char **ret_job_id,
                               struct err **err);

/* The truth, for resuming after a lost answer.  *ret_* is NULL and 0 is returned when there is none. */
int cloudstack_get_vm(struct cloudstack *cs, const char *vm_id, json_t **ret_vm, struct err **err);
/* The VM whose root volume is the file @path of that pool. */
int cloudstack_find_vm_by_path(struct cloudstack *cs, const char *storage_id, const char *path,
                               char **ret_vm_id, struct err **err);
int cloudstack_find_volume_by_path(struct cloudstack *cs, const char *storage_id, const char *path,
                                   json_t **ret_volume, struct err **err);
int cloudstack_find_volume(struct cloudstack *cs, const char *volume_id, json_t **ret_volume,
                           struct err **err);
/* Those that hang on a VM; *ret_volumes is owned. */
int cloudstack_list_volumes_of(struct cloudstack *cs, const char *vm_id, json_t **ret_volumes,
                               struct err **err);
int cloudstack_has_tag(struct cloudstack *cs, const char *id, const char *key, bool *ret_has,
                       struct err **err);
/* What the server finds when it looks at a file of the pool that it does not manage yet
 * (listVolumesForImport); *ret_volume NULL when it sees none. */
int cloudstack_find_importable(struct cloudstack *cs, const char *storage_id, const char *path,
                               json_t **ret_volume, struct err **err);
/* The storage pool; E_CS_NOT_FOUND. */
int cloudstack_get_pool(struct cloudstack *cs, const char *storage_id, json_t **ret_pool,
                        struct err **err);
/* The one object with that id of a list command (listZones, listServiceOfferings ...). */
int cloudstack_get(struct cloudstack *cs, const char *list_command, const char *id,
                   json_t **ret_object, struct err **err);

/* Letters, digits, hyphens, at most 63, begins with a letter ("vm-" prefix else), never empty; the
 * caller frees. */
char *cloudstack_host_name(const char *vm_name);

#endif
