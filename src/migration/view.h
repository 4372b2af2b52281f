/* What is known of a migration without taking part in it: for status, the service and reports. */
#ifndef V2C_MIGRATION_VIEW_H
#define V2C_MIGRATION_VIEW_H

#include "migration/migration.h"

struct migration_view {
    struct store_migration record;   /* owned */
    struct store_disks disks;        /* owned */
    struct store_progress *progress; /* one a disk */
    double percent;                  /* mean of its disks; 100 when it is over */
    bool is_running;                 /* a process holds its lock */
    bool is_finalize_requested, is_finalize_now;
    bool is_paused;
    bool has_missed_finalize_at;        /* it passed in a pause */
    char *no_space;                     /* what has no room, while that is waited for; NULL else */
    struct migration_downtime downtime; /* while it makes delta rounds */
};

/* Takes the texts of @record over, which is empty then; what is loaded is freed with migration_view_done in
 * any case. */
int migration_view_load(struct store *store, const char *control_dir,
                        struct store_migration *record, struct migration_view *ret,
                        struct err **err);
void migration_view_done(struct migration_view *view);
/* Whether a marker of the existing tool lies in its directory. */
bool migration_has_marker(const char *directory, const char *name);

#endif
