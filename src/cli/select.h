/* Which migrations `status`, `finalize` and others speak of: VMs that specs name, as the store knows them. */
#ifndef V2C_CLI_SELECT_H
#define V2C_CLI_SELECT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/vec.h"
#include "cli/options.h"
#include "migration/migration.h"
#include "store/store.h"

struct config;
struct err;

/* The flags that these commands have. */
struct select_values {
    struct words specs, vms, vm_ids;
    const char *config, *control_dir;
};
#define SELECT_OPTIONS(type, field)                                                                \
    {"spec", OPTION_LIST, offsetof(type, field.specs), "FILE",                                     \
     "VM spec that names the VMs; may be given several times."},                                   \
        {"config", OPTION_TEXT, offsetof(type, field.config), "FILE",                              \
         "Configuration (default: config.yaml, else ../config.yaml)."},                            \
        {"control-dir", OPTION_TEXT, offsetof(type, field.control_dir), "DIR",                     \
         "Where state is kept, instead of migration.control_dir."},                                \
        {"vm", OPTION_LIST, offsetof(type, field.vms), "NAME",                                     \
         "Only the VM of that name; may be given several times."},                                 \
    {                                                                                              \
        "vm-id", OPTION_LIST, offsetof(type, field.vm_ids), "MOREF",                               \
            "Only the VM with that managed object id (vm-3312); may be given several times."       \
    }

/* In the name of a directory whose migration was forgotten: "<name>_<moref>.forgotten-<UTC stamp>". */
#define FORGOTTEN ".forgotten-"

/* One VM and what is known of its migration. */
struct vm_view {
    char *name, *moref;           /* moref NULL: nothing has been recorded yet */
    char *directory, *state_file; /* NULL as moref */
    char *stage;
    const char *next; /* static */
    double percent;   /* mean of its disks */
    bool runs_virt_v2v;
    bool is_finalize_requested, is_finalize_now;
    bool is_foreign; /* known from a state.json of the existing tool only */
    bool is_running; /* a process holds its lock */
    bool is_paused;
    bool has_missed_finalize_at;   /* it passed in a pause */
    char *no_space;                /* what has no room, while that is waited for; NULL else */
    struct store_migration record; /* id 0: none */
    struct store_disks disks;
    struct store_progress *progress;    /* one a disk */
    struct migration_downtime downtime; /* while it makes delta rounds */
};
VEC_DECLARE(vm_views, struct vm_view);

struct selection {
    struct config *config; /* an empty one where none could be read */
    char *control_dir;
    struct store *store;   /* NULL when there is no database yet */
    struct vm_views views; /* by name, then moref */
};

/* With --vm or --vm-id only migrations of the configuration's vCenter are looked at, where one could be
 * read.  E_STORE_NOT_FOUND when nothing is left after the filters; E_USAGE for a --vm that no spec
 * names, and, with the candidates, when one name or one --vm-id stands for several migrations. */
int select_vms(const struct select_values *values, const struct words *words, struct selection *ret,
               struct err **err);
/* The same without any VM: configuration, directory and store.  E_STORE_NOT_FOUND without a database. */
int select_none(const struct select_values *values, struct selection *ret, struct err **err);
void selection_done(struct selection *selection);
/* A line of @command about one VM, in the existing tool's words: "[finalize] vm=web01 moref=vm-16 @what". */
void select_say(FILE *stream, const char *command, const struct vm_view *view, const char *what);

#endif
