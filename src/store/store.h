/* What must survive: migrations, disks, checkpoints, intents, requests and events, in one SQLite file
 * `<control_dir>/v2c.db` (WAL, synchronous=FULL).  Every function is one transaction and durable when
 * it returns 0.  The readable mirror state.json is made from it by migration/, not here.
 *
 * Threading: a store belongs to one thread; every process opens its own. */
#ifndef V2C_STORE_STORE_H
#define V2C_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"
#include "store/rounds.h"

struct err;
struct store;

/* Stages carry the names of the existing tool. */
enum store_stage {
#define STORE_STAGE(code, name) code,
#include "store/stages.def"
#undef STORE_STAGE
    STAGE_MAX_,
};
const char *store_stage_name(enum store_stage stage);
bool store_stage_from_name(const char *name, enum store_stage *ret_stage);

/* Makes @control_dir/v2c.db if it is not there (unless @must_exist: E_STORE_NOT_FOUND).
 * E_STORE_FOREIGN when a newer version wrote it. */
int store_open(const char *control_dir, bool must_exist, struct store **ret_store,
               struct err **err);
void store_close(struct store *store);
void store_closep(struct store **store);

/* One VM's migration.  Strings are owned; NULL is "not known yet". */
struct store_migration {
    int64_t id;         /* row */
    char *migration_id; /* "<name>_<moref>", made safe: also the directory's name */
    char *vm_name, *vm_moref, *vcenter;
    char *instance_uuid, *bios_uuid, *datacenter;
    char *directory; /* absolute */
    enum store_stage stage;
    char *active_snapshot; /* moref of the one snapshot of ours that exists; NULL none */
    char *snapshot_intent; /* name of a snapshot that was about to be made; NULL none */
    bool is_cbt_enabled_by_us;
    char *change_version; /* of the VM after power-off, to notice that somebody touched it */
    int64_t powered_off_at, imported_at, started_at; /* seconds since 1970; 0 not yet */
    int64_t delta_rounds;                            /* finished ones */
    bool is_shutdown_action_required;
    char *shutdown_reason, *shutdown_tools_status;
    char *cloudstack_vm_id;
    bool is_cloudstack_configured, is_cloudstack_started, is_virt_v2v_done;
    char *last_error, *last_error_code;
    int64_t created_at, updated_at;
};
VEC_DECLARE(store_migrations, struct store_migration);

struct store_disk {
    int64_t id, migration; /* rows */
    char *key;             /* "0", "scsi1:0", as in spec and state.json */
    char *name;            /* "disk0", "disk_scsi1-0": in file names and the log */
    int32_t device_key, unit;
    char *address; /* "scsi0:0" */
    char *backing_uuid;
    uint64_t capacity; /* bytes */
    bool is_boot;
    char *storage_id, *disk_offering_id;
    char *target_path;   /* absolute */
    char *source_path;   /* "[datastore] ..." as last read */
    char *base_snapshot; /* moref that base_done speaks of */
    char *
        pending_change_id; /* of the active snapshot; becomes change_id when its pass is complete */
    char *change_id;       /* what is done in the target (the base's done blocks, or all of the
                                disk) is as of this id; NULL: no base snapshot yet */
    bool is_base_copied, is_finished /* file closed, exact refcounts */;
    int64_t delta_rounds;
    uint64_t base_bytes, base_ms; /* of the base copy, over all runs: for the summary */
    int64_t verified_at;          /* seconds since 1970, of the last verification; 0: none */
    uint64_t verified_bytes, mismatched_blocks; /* over all verifications; those were repaired */
    char *volume_id, *attached_to_vm_id;
};
VEC_DECLARE(store_disks, struct store_disk);

int store_migration_create(struct store *store, struct store_migration *migration,
                           struct err **err); /* sets id */
int store_migration_find(struct store *store, const char *vcenter, const char *moref,
                         struct store_migration *ret, struct err **err); /* E_STORE_NOT_FOUND */
int store_migration_list(struct store *store, struct store_migrations *ret, struct err **err);
/* Writes every field of the migration and of @disks (may be NULL) in one transaction: this is how a
 * changeId, a stage and a snapshot move together. */
int store_migration_save(struct store *store, const struct store_migration *migration,
                         const struct store_disks *disks, struct err **err);
/* Removes it with everything that belongs to it: disks, bitmaps, progress, requests, intents, events. */
int store_migration_delete(struct store *store, int64_t migration, struct err **err);
int store_disk_create(struct store *store, struct store_disk *disk, struct err **err); /* sets id */
/* All disks of a migration or none; sets their ids. */
int store_disks_create(struct store *store, struct store_disks *disks, struct err **err);
int store_disks_load(struct store *store, int64_t migration, struct store_disks *ret,
                     struct err **err);
void store_migration_done(struct store_migration *migration);
void store_migrations_done(struct store_migrations *migrations);
void store_disks_done(struct store_disks *disks);

/* The bitmaps of a disk, one of each kind at most.  @as_of (may be NULL) says what the set bits are true
 * of: they are saved and loaded together. */
enum store_bitmap_kind {
    STORE_BITMAP_DONE,     /* blocks done in the pass that runs, or that was interrupted */
    STORE_BITMAP_VERIFIED, /* blocks that were verified and not written since */
};
struct store_bitmap {
    void *bits; /* owned; NULL: there is no bitmap */
    size_t length;
    char *as_of; /* owned */
};
int store_bitmap_save(struct store *store, int64_t disk, enum store_bitmap_kind kind,
                      const char *as_of, const void *bits, size_t length, struct err **err);
int store_bitmap_load(struct store *store, int64_t disk, enum store_bitmap_kind kind,
                      struct store_bitmap *ret, struct err **err);
int store_bitmap_drop(struct store *store, int64_t disk, enum store_bitmap_kind kind,
                      struct err **err);
void store_bitmap_done(struct store_bitmap *bitmap);

/* Lossy by design: what the progress display reads, at most about once a second. */
struct store_progress {
    char stage[32];
    uint64_t planned_bytes, read_bytes, written_bytes, zero_bytes;
    uint64_t rate_bytes_per_s;
    int64_t eta_s, at;
    double percent; /* 0..100 */
};
int store_progress_save(struct store *store, int64_t disk, const struct store_progress *progress,
                        struct err **err);
int store_progress_load(struct store *store, int64_t disk, struct store_progress *ret,
                        struct err **err);

/* Finalize requests.  A request survives a crash and is cleared by failure, retry and completion. */
enum store_finalize { STORE_FINALIZE_NONE, STORE_FINALIZE_PLAIN, STORE_FINALIZE_NOW };
/* Never lowers NOW to PLAIN. */
int store_finalize_request(struct store *store, int64_t migration, enum store_finalize what,
                           bool *ret_was_requested, struct err **err);
int store_finalize_get(struct store *store, int64_t migration, enum store_finalize *ret,
                       struct err **err);
int store_finalize_clear(struct store *store, int64_t migration, struct err **err);

/* What people change while migrations run.  It outlasts restarts, until it is cleared. */
enum store_scope { STORE_ENGINE, STORE_HOST, STORE_VM };
struct store_subject {
    enum store_scope scope;
    const char *host;  /* of STORE_HOST: an ESXi host's name; compared without case */
    int64_t migration; /* of STORE_VM; goes with it when it is deleted */
};
#define STORE_BANDWIDTH       "bandwidth_limit" /* of any of them */
#define STORE_HOST_NAME       "host" /* of a VM: the ESXi host that it was read from last */
#define STORE_FINALIZE_MISSED "finalize_at_missed" /* of a VM: the time that passed in a pause */
#define STORE_CUTOVER         "cutover" /* of a VM: what its downtime is made of, as JSON */
#define STORE_REHEARSED       "rehearsed_convert_ms" /* of a VM: the time of its conversion */
#define STORE_NO_SPACE        "no_space" /* of a VM: which file has no room, while that is waited for */
#define STORE_TOUCHED         "touched_version" /* of a VM: its version that was refused */
/* @value NULL clears it. */
int store_setting_put(struct store *store, const struct store_subject *of, const char *key,
                      const char *value, struct err **err);
int store_setting_get(struct store *store, const struct store_subject *of, const char *key,
                      char **ret_value /* owned; NULL: not set */, struct err **err);
struct store_host_setting {
    char *host, *value;
};
VEC_DECLARE(store_host_settings, struct store_host_setting);
int store_setting_hosts(struct store *store, const char *key, struct store_host_settings *ret,
                        struct err **err); /* in order of host */
void store_host_settings_done(struct store_host_settings *settings);

/* A pause holds until it is ended.  E_PAUSE when the cutover has begun: the source is going down. */
int store_pause(struct store *store, int64_t migration, bool *ret_was_paused, struct err **err);
int store_pause_end(struct store *store, int64_t migration, bool *ret_was_paused, struct err **err);
int store_is_paused(struct store *store, int64_t migration, bool *ret, struct err **err);

/* Intents: one row for each call to a server that creates something.  Begun before the call with what
 * identifies it, given the job id once known, ended with the result.  @step is unique within the
 * migration, e.g. "import_vm", "add_nic:4001", "import_volume:scsi0:1". */
struct store_intent {
    char *step, *job_id, *result; /* NULL not yet */
    int64_t begun_at, ended_at;
};
int store_intent_begin(struct store *store, int64_t migration, const char *step, struct err **err);
int store_intent_job(struct store *store, int64_t migration, const char *step, const char *job_id,
                     struct err **err);
int store_intent_end(struct store *store, int64_t migration, const char *step, const char *result,
                     struct err **err);
/* Forgets it: the call is known to have had no effect. */
int store_intent_drop(struct store *store, int64_t migration, const char *step, struct err **err);
/* *ret_is_there false when it was never begun. */
int store_intent_get(struct store *store, int64_t migration, const char *step, bool *ret_is_there,
                     struct store_intent *ret, struct err **err);
void store_intent_done(struct store_intent *intent);

/* The history people read, in order; kinds are words: "stage", "round", "warning", "error". */
int store_event_add(struct store *store, int64_t migration, const char *kind, const char *text,
                    struct err **err);

#endif
