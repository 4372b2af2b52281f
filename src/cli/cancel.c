/* cancel: ends the run of a migration, and takes the migration away.
 *
 * The run is asked through the store, as a pause is, so that it does not matter who started it.  It leaves
 * at its next checkpoint; then its lock is free. */
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "cli/abandon.h"
#include "cli/command.h"

#define WAIT_MS (10 * 60 * 1000) /* for the run to end: a snapshot may have to be consolidated */
#define POLL_MS 200

struct cancel_values {
    struct select_values select;
    bool keep_files, leave_snapshots, yes, restore_cbt, power_on_source;
};

static const struct option_def cancel_options[] = {
    SELECT_OPTIONS(struct cancel_values, select),
    {"keep-files", OPTION_BOOL, offsetof(struct cancel_values, keep_files), NULL,
     "Leave the target files where they are; a new run wants them moved away."},
    {"restore-cbt", OPTION_BOOL, offsetof(struct cancel_values, restore_cbt), NULL,
     "Turn changed-block tracking off again where this migration turned it on."},
    {"power-on-source", OPTION_BOOL, offsetof(struct cancel_values, power_on_source), NULL,
     "Power the source VM on if this migration has shut it down."},
    {"leave-snapshots", OPTION_BOOL, offsetof(struct cancel_values, leave_snapshots), NULL,
     "Go on although the vCenter cannot be reached and a snapshot may be left there."},
    {"yes", OPTION_BOOL, offsetof(struct cancel_values, yes), NULL, "Do not ask."},
    OPTION_END,
};

/* ---- the run --------------------------------------------------------------------------------- */

static int
check(const struct vm_view *view, struct err **err)
{
    if (view->is_foreign || migration_is_over(view->record.stage))
        return 0; /* abandon_all says it */
    if (view->record.stage < STAGE_IMPORT_ROOT_DISK)
        return 0;
    err_set(err, E_USAGE, "its import has begun");
    return err_hint(err, "let it come to its end, then take it back with v2c-engine rollback");
}

static int
wait_for_end(struct selection *selection, const struct vm_view *view, struct err **err)
{
    int64_t end = clock_monotonic_ms() + WAIT_MS;
    bool was_told = false;

    for (;;) {
        CLEANUP(close_fdp) int fd = -1;
        struct err *failure = NULL;

        if (migration_lock(selection->control_dir, view->record.vcenter, view->moref, &fd,
                           &failure) == 0)
            return 0;
        if (err_code(failure) != E_LOCKED || clock_monotonic_ms() >= end)
            return err_move(err, &failure);
        err_free(failure);
        if (!was_told)
            select_say(stdout, "cancel", view, "asked its run to stop; waiting for its end");
        (void)fflush(stdout);
        was_told = true;
        clock_sleep_ms(POLL_MS);
    }
}

static int
stop_runs(struct selection *selection, struct err **err)
{
    for (size_t i = 0; i < selection->views.count; i++) {
        const struct vm_view *view = &selection->views.items[i];

        if (!view->moref || view->is_foreign || migration_is_over(view->record.stage))
            continue;
        if (migration_request_cancel(selection->store, view->record.id, true, err) < 0 ||
            wait_for_end(selection, view, err) < 0)
            return err_wrap(err, "vm %s (%s)", view->name, view->moref);
    }
    return 0;
}

/* A person who says no, or a failure, must not leave a migration that cannot be run any more. */
static void
take_requests_back(struct selection *selection)
{
    for (size_t i = 0; i < selection->views.count; i++)
        if (selection->views.items[i].record.id)
            (void)migration_request_cancel(selection->store, selection->views.items[i].record.id,
                                           false, NULL);
}

static int
cancel(const struct cancel_values *v, struct selection *selection, struct err **err)
{
    const struct abandon_options options = {.command = "cancel",
                                            .keep_files = v->keep_files,
                                            .leave_snapshots = v->leave_snapshots,
                                            .yes = v->yes,
                                            .restore_tracking = v->restore_cbt,
                                            .power_on = v->power_on_source};
    int rc;

    for (size_t i = 0; i < selection->views.count; i++)
        if (check(&selection->views.items[i], err) < 0)
            return err_wrap(err, "vm %s", selection->views.items[i].name);
    rc = stop_runs(selection, err);
    if (rc == 0)
        rc = abandon_all(&options, selection, err);
    if (rc < 0)
        take_requests_back(selection);
    return rc;
}

static int
run_cancel(void *opaque, const struct words *words, struct err **err)
{
    const struct cancel_values *v = opaque;
    struct selection selection;
    int rc;

    if (!v->select.specs.count && !words->count && !v->select.vms.count && !v->select.vm_ids.count)
        return err_set(err, E_USAGE, "say which VMs with --spec, --vm or --vm-id");
    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    rc = cancel(v, &selection, err);
    selection_done(&selection);
    return rc;
}

const struct command command_cancel = {
    .name = "cancel",
    .words = "[SPEC...]",
    .summary = "stop a migration before its import, and remove what it left",
    .description =
        "Stops the run of a migration at its next checkpoint, whoever started it, and then removes "
        "what it has left: its snapshots on the source, its target files and its record; its "
        "directory with the logs is renamed. What will be removed is said first, and asked for on "
        "a terminal unless --yes is given; a no leaves the migration stopped, and `run` goes on "
        "with it.\n\n"
        "The source VM is left as it is: with --restore-cbt changed-block tracking is turned off "
        "again if the migration turned it on, with --power-on-source it is powered on if the "
        "migration shut it down. Refused from the import on: see rollback.",
    .options = cancel_options,
    .values_size = sizeof(struct cancel_values),
    .run = run_cancel,
};
