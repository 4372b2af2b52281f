#include "base/err.h"
#include "base/util.h"
#include "cli/abandon.h"
#include "cli/command.h"

struct forget_values {
    struct select_values select;
    bool keep_files, leave_snapshots, yes;
};

static const struct option_def forget_options[] = {
    SELECT_OPTIONS(struct forget_values, select),
    {"keep-files", OPTION_BOOL, offsetof(struct forget_values, keep_files), NULL,
     "Leave the target files where they are; a new run wants them moved away."},
    {"leave-snapshots", OPTION_BOOL, offsetof(struct forget_values, leave_snapshots), NULL,
     "Go on although the vCenter cannot be reached and a snapshot may be left there."},
    {"yes", OPTION_BOOL, offsetof(struct forget_values, yes), NULL, "Do not ask."},
    OPTION_END,
};

static int
run_forget(void *opaque, const struct words *words, struct err **err)
{
    const struct forget_values *v = opaque;
    const struct abandon_options options = {.command = "forget",
                                            .keep_files = v->keep_files,
                                            .leave_snapshots = v->leave_snapshots,
                                            .yes = v->yes,
                                            .takes_done = true};
    struct selection selection;
    int rc;

    if (!v->select.specs.count && !words->count && !v->select.vms.count && !v->select.vm_ids.count)
        return err_set(err, E_USAGE, "say which VMs with --spec, --vm or --vm-id");
    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    rc = abandon_all(&options, &selection, err);
    selection_done(&selection);
    return rc;
}

const struct command command_forget = {
    .name = "forget",
    .words = "[SPEC...]",
    .summary = "give a migration up and remove what it left",
    .description =
        "Removes what a migration that is not to go on has left: its snapshots on the source, its "
        "target files and its record. Its directory with the logs is renamed, so that a new run "
        "begins anew. The source VM itself is not touched.\n\n"
        "Only what carries the migration's own id is removed. It is refused while the migration "
        "runs (see cancel), and from the import on; of one that is done or was rolled back, only "
        "record and directory go. What will be removed is said first, and asked for on a terminal "
        "unless --yes is given. If it fails on the way, the same command goes on.",
    .options = forget_options,
    .values_size = sizeof(struct forget_values),
    .run = run_forget,
};
