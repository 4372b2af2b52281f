/* What `forget` and `cancel` share: a migration that is not to go on is taken out of the world. */
#ifndef V2C_CLI_ABANDON_H
#define V2C_CLI_ABANDON_H

#include <stdbool.h>

#include "cli/select.h"

struct abandon_options {
    const char *command; /* "forget", for what is printed */
    bool keep_files, leave_snapshots, yes;
    bool restore_tracking; /* changed-block tracking is turned off if we turned it on */
    bool power_on;         /* the source, if we shut it down */
    bool is_quiet;         /* prints nothing but errors */
    bool takes_done;       /* also of a migration that is done: record and directory only */
};

/* All migrations of the selection, each under its lock; what will be done is printed first.  The first
 * failure ends it, and the same command goes on. */
int abandon_all(const struct abandon_options *options, struct selection *selection,
                struct err **err);
/* One of them, which need not be in the selection's list. */
int abandon_one(const struct abandon_options *options, struct selection *selection,
                const struct vm_view *view, struct err **err);

/* What the directory of a migration that is given up will be called; nothing has that name.  The caller frees. */
char *abandon_new_name(const char *directory);
/* In the directory of a migration that was given up: its id and what was left of it, as JSON. */
#define FORGOTTEN_FILE "forgotten.json"

#endif
