/* What the files of this room share: the migration in hand. */
#ifndef V2C_MIGRATION_INTERNAL_H
#define V2C_MIGRATION_INTERNAL_H

#include <pthread.h>

#include <jansson.h>

#include "base/err.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/util.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "migration/downtime_model.h"
#include "migration/migration.h"
#include "preflight/preflight.h"
#include "store/store.h"
#include "vsphere/vsphere.h"

/* What cutover_max_downtime does to a cutover that is near; made anew after each round. */
struct migration_hold {
    bool is_kept;     /* the downtime would be kept */
    bool is_hopeless; /* and further rounds will not change that */
    bool is_told;
    int64_t total_ms; /* what was predicted last; 0: nothing */
    struct downtime_trend trend;
};

struct migration {
    const struct migration_options *options;
    const struct config *config;
    const struct spec *spec;
    struct store *store;
    struct vsphere *vsphere;
    struct cloudstack *cloudstack;
    char thumbprint[60]; /* of the vCenter, for VDDK */
    int lock_fd;
    struct store_migration record;   /* as last saved, or about to be */
    struct store_disks disks;        /* in the order of the VM's devices */
    struct vsphere_vm vm;            /* as last read */
    struct store_progress *progress; /* one a disk */
    int64_t mirrored_ms, kept_alive_ms;
    int64_t late_snapshot_ms;    /* until then a call of a killed run may still make a snapshot */
    int64_t told_of_power_ms;    /* when a failed look at the power state was last logged */
    bool is_checked;             /* the preflight is done, or its time is over */
    bool has_rounds_of_this_run; /* a delta round was completed since the start */
    bool has_synced;             /* the final sync was completed since the start */
    double last_logged_percent;
    int64_t last_logged_ms;
    uint64_t told_bytes_per_s[3]; /* the limits that were last told, as in limits.h */
    bool is_paused;               /* a pause is set, as of `pause_seen_ms` */
    bool is_pause_told;           /* and has taken effect */
    int64_t pause_seen_ms;
    bool is_cancelled; /* asked to, as of `cancel_seen_ms` */
    int64_t cancel_seen_ms;
    struct migration_hold hold;
    int64_t stage_began_ms;     /* 0: an earlier run began it */
    bool has_waited_for_person; /* to shut the source down */
    int64_t rehearsal_seen_ms;  /* when it was last looked whether one is wanted; 0: look now */
    bool is_rehearsal_wanted;
    int64_t finalize_at_missed; /* the finalize_at that passed in a pause; 0: none */
};

/* ---- run.c ------------------------------------------------------------------------------------ */

/* m->vsphere, and the vCenter's thumbprint; m->cloudstack. */
int migration_connect_vcenter(struct migration *m, struct err **err);
int migration_connect_cloudstack(struct migration *m, struct err **err);

/* ---- names.c ---------------------------------------------------------------------------------- */

/* migration_record_tag of the migration in hand. */
void migration_tag(const struct migration *m, char ret_tag[64]);
/* Key and file name of a disk: "0" and "disk0" on the first SCSI controller, else "scsi1:0" and
 * "disk_scsi1-0".  The caller frees both. */
void migration_disk_names(const struct vsphere_vm *vm, const struct vsphere_disk *disk,
                          char **ret_key, char **ret_name);

/* ---- report.c --------------------------------------------------------------------------------- */

/* A line for log, log file and supervisor. */
void migration_log(struct migration *m, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Moves to @stage: saved with everything in m->record and m->disks, then mirrored and reported. */
int migration_enter(struct migration *m, enum store_stage stage, struct err **err);
/* Saves record and disks without changing the stage. */
int migration_save(struct migration *m, struct err **err);
/* Rewrites state.json; failures are logged, the store is what counts. */
void migration_mirror(struct migration *m);
/* The json_t of state.json; owned by the caller. */
json_t *migration_state_json(const struct migration *m);
/* Reports the progress of all disks to supervisor, store, mirror and log, each at its own pace. */
void migration_report_progress(struct migration *m, bool is_last);
/* Tells that a pause has taken effect, or has ended. */
void migration_report_vm(struct migration *m);
void migration_report_pause(struct migration *m, bool is_paused);
void migration_report_error(struct migration *m, const struct err *error);
void migration_report_summary(struct migration *m);

/* ---- source side ------------------------------------------------------------------------------ */

/* discover.c: finds the VM and reads it into m->vm. */
int migration_find_source(struct migration *m, struct err **err);
int migration_read_source(struct migration *m, struct err **err);
/* The VM's disks are still those of the record: keys, places, backing uuids and sizes.  One that has
 * grown is recorded with its new size, and without a history: it is compared in full. */
int migration_check_disks(struct migration *m, struct err **err);
const struct vsphere_disk *migration_source_disk(const struct vsphere_disks *disks, int32_t key);

/* snapshots.c.  At most one snapshot of ours exists at any time. */
/* Takes one by the quiesce policy and records it; @kind is "base", "delta" or "final".  On success
 * m->record.active_snapshot is set and every disk has its pending_change_id and source_path. */
int migration_take_snapshot(struct migration *m, const char *kind, bool may_quiesce,
                            struct err **err);
/* Removes the recorded snapshot, if any, and waits for consolidation. */
int migration_release_snapshot(struct migration *m, struct err **err);
/* Removes every snapshot that carries our tag, also one left by a crash. */
int migration_sweep_snapshots(struct migration *m, struct err **err);

/* ---- copying ---------------------------------------------------------------------------------- */

/* All go on, after an interruption, from the blocks that their last checkpoint covered. */
enum migration_pass {
    PASS_BASE,   /* what is allocated */
    PASS_DELTA,  /* what has changed */
    PASS_FINAL,  /* the same, of the powered-off VM; the image is finished after it */
    PASS_VERIFY, /* what is in the target, held against digests or source */
};

/* What a pass looks at of one disk. */
struct migration_plan {
    bool is_everything;     /* whatever source or target have: what is the same is not written */
    struct extents extents; /* else these; normal */
};

struct migration_copy {
    enum migration_pass pass;
    const char *snapshot;               /* moref; NULL: the powered-off VM's own disks */
    const struct migration_plan *plans; /* one a disk; NULL: asked of source and target */
    /* PASS_BASE: what is in use, one a disk; an entry without extents is asked of the source.  NULL: all
     * are. */
    const struct migration_plan *allocated;
    const bool *is_wanted; /* which disks; NULL: all */
    /* What blocks that are done are true of; NULL: the pending changeId of each disk. */
    const char *as_of;
    /* Asked now and then: the pass stops at a checkpoint when this says so, and has not failed; may be
     * NULL. */
    bool (*gives_way)(struct migration *m);
    /* Called on the migration's thread as each disk is complete and durable, in any order: the moment
     * to record it. */
    int (*on_complete)(struct migration *m, size_t disk, struct err **err);
};
/* copy.c: copies disks in parallel, each on its own thread; passing faults are retried from the last
 * checkpoint.  The first error that is not a consequence of another is the one returned. */
int migration_copy_disks(struct migration *m, const struct migration_copy *copy, struct err **err);

/* allocated.c: what is in use of the disks that are wanted, as of the active snapshot, one a disk; an
 * entry without extents is for the source to answer.  Logs who said so.  For migration_plans_free. */
struct migration_plan *migration_find_allocated(struct migration *m, const bool *is_wanted);
/* Why changed-block tracking cannot be asked what is in use of @disk, or NULL; the caller frees. */
char *migration_doubt_tracking(const struct migration *m, const struct store_disk *disk);

/* changes.c: what has changed on each disk since its change_id, whole disks where the history is gone.
 * @snapshot NULL for the powered-off VM.  *ret_plans has one entry a disk. */
int migration_query_changes(struct migration *m, const char *snapshot,
                            struct migration_plan **ret_plans, struct err **err);
void migration_plans_free(struct migration_plan *plans, size_t count);
/* Brings the done blocks of an interrupted pass from what they were true of to @as_of: those that have
 * changed in between, or all of them where nobody knows, are not done any more. */
int migration_carry_over(struct migration *m, const struct store_disk *disk, const char *snapshot,
                         const char *as_of, struct err **err);
/* The same for all disks; @as_of NULL: to the pending changeId of each. */
int migration_carry_over_all(struct migration *m, const char *snapshot, const char *as_of,
                             struct err **err);
/* A changeId is "<uuid>/<sequence>"; another uuid, or none, means that tracking began anew. */
bool migration_same_history(const char *a, const char *b);

/* ---- stages ----------------------------------------------------------------------------------- */

/* preflight.c.  E_PREFLIGHT with every problem in one message. */
/* Before the first snapshot, once a run; logs the warnings. */
int migration_preflight(struct migration *m, struct err **err);
/* Before the source is shut down: nothing may fail then that could have been known. */
int migration_preflight_cutover(struct migration *m, struct err **err);

/* prepare.c: on every start, before files are touched: the pools are still where they were. */
int migration_check_pools(struct migration *m, struct err **err);

/* Each does the work of the stage it is named after and moves to the next; all may be run again after
 * any interruption. */
int migration_stage_discover(struct migration *m, struct err **err);
int migration_stage_storage(struct migration *m, struct err **err);
int migration_stage_cbt(struct migration *m, struct err **err);
int migration_stage_base_snapshot(struct migration *m, struct err **err);
int migration_stage_base_copy(struct migration *m, struct err **err);
int migration_stage_delta(struct migration *m, struct err **err);
int migration_stage_shutdown(struct migration *m, struct err **err);
int migration_stage_final_sync(struct migration *m, struct err **err);
int migration_stage_converting(struct migration *m, struct err **err);
int migration_stage_import_root(struct migration *m, struct err **err);
int migration_stage_import_data(struct migration *m, struct err **err);

/* verify.c: verifies what was copied, as the spec asks, against the snapshot of the round at hand whose
 * disks are complete.  What differs is repaired and reported. */
int migration_verify(struct migration *m, struct err **err);
/* Whether anything of the migration was verified yet. */
bool migration_was_verified(const struct migration *m);
/* delta.c: one round while the VM may be running; with a verification where one is due. */
int migration_delta_round(struct migration *m, bool is_before_cutover, struct err **err);
/* downtime.c: records a round and says what a cutover would take; @is_cutover_near: whether rounds that do
 * not bring it below cutover_max_downtime are to be called hopeless. */
int migration_note_round(struct migration *m, const struct store_round *round, bool is_cutover_near,
                         struct err **err);
/* Takes note of when the base snapshot was taken. */
void migration_note_snapshot(struct migration *m, int64_t began_at_ms);
/* Whether a cutover now would keep to cutover_max_downtime; tells once when not. */
int migration_may_cut_over(struct migration *m, bool *ret_may, struct err **err);
/* The stage @before has ended. */
void migration_time_stage(struct migration *m, enum store_stage before);
/* final_sync.c: the pause between power-off and last sync. */
int64_t migration_settle_seconds(const struct migration *m);
/* shutdown.c: brings the VM down by the shutdown mode; on success it is off, the stage is
 * final_sync, or awaiting_shutdown_action when somebody is to be asked first. */
int migration_power_down(struct migration *m, struct err **err);
/* Back to delta rounds because the source runs again; drops the finalize request. */
int migration_back_to_delta(struct migration *m, const char *why, struct err **err);

/* requests.c: marker files are taken into the store, then unlinked. */
int migration_finalize_requested(struct migration *m, enum store_finalize *ret, struct err **err);
int migration_drop_requests(struct migration *m, struct err **err);
/* Whether the marker @name lay in the directory; it is gone afterwards. */
bool migration_take_marker(struct migration *m, const char *name);

/* wait.c: waits @ms, or less when stopped (E_CANCELLED) or when @until says true; keeps the vCenter
 * session alive meanwhile. */
int migration_wait(struct migration *m, int64_t ms, bool (*until)(struct migration *m),
                   struct err **err);
bool migration_is_stopped(struct migration *m);
int migration_check_stop(struct migration *m, struct err **err);

/* undo.c.  Takes note that the source goes down by our doing, or runs again. */
int migration_note_shutdown(struct migration *m, bool is_down, struct err **err);
/* Whether somebody has asked to cancel, as of a second ago at most. */
bool migration_is_cancelled(struct migration *m);
/* After a failure: what `on_failure` asks for. */
void migration_power_back_on(struct migration *m);

/* mark.c: what `mark_source` asks for, once the VM is imported.  What cannot be done is told. */
void migration_mark_source(struct migration *m);
/* What is still as it was set becomes what it was; the rest is left and told.  Fails only when the cards
 * would stay disconnected. */
int migration_unmark_source(struct migration *m, struct err **err);
/* The VM that was called @name until it was marked; *ret_moref (owned) NULL: none, or several. */
int migration_find_renamed(struct store *store, const char *vcenter, const char *name,
                           const char *datacenter, char **ret_moref, struct err **err);

/* pause.c.  Whether a pause is set, as of a second ago at most. */
bool migration_is_paused(struct migration *m);
/* E_PAUSE when one is set now: what is not part of a cutover ends with that, and its stage is run again
 * when the pause is over. */
int migration_check_pause(struct migration *m, struct err **err);
/* Before a stage begins: whether migration_stage_paused is to be run instead. */
int migration_is_pause_due(struct migration *m, bool *ret_is_due, struct err **err);
/* Leaves nothing on the source and waits for the end of the pause. */
int migration_stage_paused(struct migration *m, struct err **err);

/* space.c.  E_NO_SPACE when the file system of @path, a disk's file, has less left than is to stay free
 * there; what cannot be asked counts as room. */
int migration_check_room(const char *path, struct err **err);
/* Whether the pools of all disks have as much, and some more. */
bool migration_has_room(struct migration *m);
/* After a copy, or a conversion's commit, that ended with @failure, E_NO_SPACE: leaves nothing on the source, tells, and waits until
 * there is room.  Nothing is lost by it: the copy goes on from its last checkpoint. */
int migration_wait_for_room(struct migration *m, const struct err *failure, struct err **err);
int migration_load_missed_finalize(struct migration *m, struct err **err);

/* convert.c: whether the targets hold, or are about to hold, a converted guest: then they are no copies of
 * the source any more. */
int migration_is_converted(const struct migration *m, bool *ret_is, struct err **err);
/* Converts the guest in overlays above the targets, whose names begin with @prefix; nothing happens to the
 * targets.  What is left behind is migration_drop_overlays's. */
struct guest_watch;
int migration_convert_overlays(struct migration *m, const char *prefix,
                               const struct guest_watch *watch, struct err **err);
int migration_make_overlay(struct migration *m, const struct store_disk *disk, const char *prefix,
                           struct err **err);
char *migration_overlay_path(const struct migration *m, const struct store_disk *disk,
                             const char *prefix); /* the caller frees */
/* The disks with the boot disk first; @ret_disks has room for them. */
void migration_boot_first(const struct migration *m, const struct store_disk **ret_disks);
/* A guest_watch's line: @opaque is the migration. */
void migration_tell_converter(void *opaque, const char *text);
#define MIGRATION_REHEARSAL "rehearsal-" /* the prefix of a rehearsal's overlays */

/* rehearse.c.  Whether somebody has asked for a rehearsal. */
bool migration_is_rehearsal_wanted(struct migration *m);
/* Called when the targets hold a whole round and nobody writes to them: rehearses if that was asked for.
 * What comes of it is recorded and told; it never fails the migration. */
void migration_rehearse(struct migration *m);
/* Ends one that a killed run left, or that the cutover has overtaken. */
void migration_end_rehearsal(struct migration *m, bool is_overtaken);
/* delta.c: in the window before finalize_at, or it is asked for. */
bool migration_is_cutover_near(struct migration *m);
/* import_root.c: whether the files may be converted or imported now: the source must be off, and must have
 * been since the sync.  When not, the stage has been changed to what is to be done first, or, after a
 * conversion, there is an error. */
int migration_may_hand_over(struct migration *m, bool *ret_may, struct err **err);
/* import_plan.c: settles and records what the import will need to know; with `import_method: shell` the
 * VM is made.  The source is still on. */
int migration_settle_import(struct migration *m, struct err **err);
/* The VM in CloudStack that is this migration's own, owned; *ret_vm_id NULL: none yet. */
int migration_imported_vm(const struct migration *m, char **ret_vm_id, struct err **err);

#endif
