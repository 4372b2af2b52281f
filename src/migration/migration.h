/* The state machine that migrates one VM, one file a stage; the only room that knows both sides.
 *
 * It runs in a worker process of its own.  Everything it must remember is in the store before it acts
 * on it, so that starting it again after any end goes on where it was.
 *
 * Threading: migration_run owns the calling thread and starts one more a disk being copied. */
#ifndef V2C_MIGRATION_MIGRATION_H
#define V2C_MIGRATION_MIGRATION_H

#include <stdbool.h>

#include "store/store.h"

struct cloudstack;
struct config;
struct spec;
struct err;

/* Values of *migration_options.stop. */
#define MIGRATION_STOP          1 /* somebody asked for it */
#define MIGRATION_STOP_ORPHANED 2 /* the supervisor is gone: finalize requests are kept */

struct migration_options {
    const struct config *config; /* borrowed */
    const struct spec *spec;     /* borrowed */
    bool allow_past_finalize;
    const char *untouched; /* moref of the VM whose source, somebody says, was not written; NULL */
    const volatile int *stop; /* non-zero: stop at the next checkpoint with E_CANCELLED */
    int report_fd;            /* progress as JSON lines for the supervisor; -1: none */
};

/* Runs until the VM is done, fails or is stopped.  On failure the stage stays, the error is in store
 * and log, and nothing but the recorded snapshot is left on the source. */
int migration_run(const struct migration_options *options, struct err **err);

/* Takes the lock that every role holds while it works on a VM's migration; it is given back when
 * *ret_fd is closed.  E_LOCKED. */
int migration_lock(const char *control_dir, const char *vcenter, const char *moref, int *ret_fd,
                   struct err **err);
/* The file that is locked; the caller frees. */
char *migration_lock_path(const char *control_dir, const char *vcenter, const char *moref);
/* The directory of a VM's migration below @control_dir: "<name>_<moref>" made safe, or the existing
 * tool's raw one if it is there with the same moref; the caller frees. */
char *migration_directory(const char *control_dir, const char *vm_name, const char *moref);
/* "v2c-vm-16-65a1b2c3": the owner id of every target file, and what every snapshot's name begins with. */
void migration_record_tag(const struct store_migration *record, char ret_tag[64]);
bool migration_owns_snapshot(const char *tag, const char *snapshot_name);
/* What comes after @stage, in the existing tool's words. */
const char *migration_next_stage(enum store_stage stage, bool is_finalize_requested,
                                 bool runs_virt_v2v);

/* How long the VM would be down if its cutover were asked for now: from the shutdown of the source's guest to
 * the end of the import.  Times in milliseconds. */
struct migration_downtime {
    bool is_known;        /* a delta round was completed; else nothing below is set */
    int64_t total_ms;     /* with `finalize`, which copies once more while the VM runs */
    int64_t total_now_ms; /* with `finalize --now` */
    int64_t least_ms;     /* were there nothing left to copy */
    int64_t shutdown_ms, settle_ms, sync_ms, sync_now_ms, import_ms; /* the parts */
    int64_t convert_ms; /* 0: no conversion; -1: not known, and not in the sums */
    int64_t max_ms;     /* cutover_max_downtime; 0: not set */
    bool is_hopeless;   /* max_ms is set and further rounds will not get there */
};
/* As of this moment, from what the store has. */
int migration_predict_downtime(struct store *store, int64_t migration,
                               struct migration_downtime *ret, struct err **err);

/* A rehearsal: the conversion on throw-away overlays, and a boot of the result, while the source runs.  The
 * worker does it right after a delta round. */
struct migration_rehearsal {
    int64_t id; /* of the request: when it was made, in ms since 1970; 0: there was none */
    bool is_running, is_done;
    char converts[16]; /* "yes", "no", "unknown", "not wanted" (run_virt_v2v is off) */
    char boots[16];    /* "yes", "no", "unknown" */
    int64_t convert_ms, boot_ms;
    char text[512]; /* why, in one line */
};
int migration_rehearsal_load(struct store *store, int64_t migration,
                             struct migration_rehearsal *ret, struct err **err);
/* Asks for one.  E_REHEARSAL when it is too late for that; one that was asked for before stays. */
int migration_rehearsal_request(struct store *store, const struct store_migration *record,
                                int64_t *ret_id, struct err **err);

/* Removes what a conversion that did not come to its end has left beside the target files. */
void migration_drop_overlays(const struct store_migration *record, const struct store_disks *disks);
/* The directory of a disk's overlay; the caller frees. */
char *migration_overlay_dir(const struct store_migration *record, const struct store_disk *disk);

/* ---- import_shell.c: the VM that `import_method: shell` deploys before the cutover --------------- */

#define MIGRATION_SHELL_VM "import_shell" /* setting of the VM: its id in CloudStack */
/* Removes it, if there is one and all that hangs on it is the root volume that was planned with it and
 * has no file.  Else it stays, and *ret_left (owned) is its id. */
int migration_remove_shell(struct store *store, int64_t migration, struct cloudstack *cs,
                           char **ret_left, struct err **err);

/* The VM with that id, unless a volume with a file hangs on it: then it is left.  One that is not there is
 * none to remove. */
int migration_expunge_empty(struct cloudstack *cs, const char *id, bool *ret_is_left,
                            struct err **err);

/* ---- undo.c ------------------------------------------------------------------------------------ */

/* Done, or rolled back: there is nothing to go on with. */
bool migration_is_over(enum store_stage stage);
/* Whether the migration has shut the source down, and not found it running since. */
int migration_has_shut_down(struct store *store, int64_t migration, bool *ret, struct err **err);
/* Asks a run to leave at its next checkpoint and no other to begin, or takes that back. */
int migration_request_cancel(struct store *store, int64_t migration, bool is_wanted,
                             struct err **err);
int migration_is_cancel_wanted(struct store *store, int64_t migration, bool *ret, struct err **err);

/* mark.c: whether `mark_source` has changed the source, and that was not taken back. */
int migration_is_marked(struct store *store, int64_t migration, bool *ret_is, struct err **err);

/* rollback.c: takes an import back, as far as the server can, and powers the source on.  CloudStack's VM is
 * stopped and given up with its volumes; where the server cannot give up a stopped VM, the data disks are,
 * and the VM stays, stopped and tagged.  The source's marks are taken back.  No file is removed.  May be called again after any interruption;
 * the caller holds the migration's lock. */
struct migration_rollback {
    const struct config *config;
    struct store *store;
    const struct store_migration *record;
    bool is_forced; /* a VM that does not stop is switched off */
    bool keeps_source_off;
};
int migration_rollback(const struct migration_rollback *rollback, struct err **err);

/* The file of a disk's digests in the migration's directory; the caller frees. */
char *migration_digests_path(const char *directory, const char *disk_name);

#endif
