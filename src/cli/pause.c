/* `pause` and `resume`. */
#include <stdio.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"

struct pause_values {
    struct select_values select;
};

static const struct option_def pause_options[] = {
    SELECT_OPTIONS(struct pause_values, select),
    OPTION_END,
};

static int
refuse_foreign(const struct vm_view *view, struct err **err)
{
    if (!view->is_foreign)
        return 0;
    err_set(err, E_STORE_FOREIGN, "it was begun by another tool, which knows no pause");
    return err_hint(err, "finish it there");
}

static int
pause_one(struct selection *selection, const struct vm_view *view, struct err **err)
{
    bool was_paused;

    if (refuse_foreign(view, err) < 0 ||
        store_pause(selection->store, view->record.id, &was_paused, err) < 0)
        return -1;
    select_say(stdout, "pause", view, was_paused ? "already paused" : "paused");
    if (view->is_finalize_requested)
        select_say(stderr, "pause", view,
                   "finalize is requested: the cutover begins soon after `v2c-engine resume`");
    if (!view->is_running)
        select_say(stderr, "pause", view,
                   "no run is active: `v2c-engine run` will wait for `v2c-engine resume`");
    return 0;
}

static int
resume_one(struct selection *selection, const struct vm_view *view, struct err **err)
{
    bool was_paused;

    if (refuse_foreign(view, err) < 0 ||
        store_pause_end(selection->store, view->record.id, &was_paused, err) < 0)
        return -1;
    select_say(stdout, "resume", view, was_paused ? "resumed" : "was not paused");
    if (view->has_missed_finalize_at)
        select_say(stderr, "resume", view,
                   "finalize_at has passed in the pause and is not acted on: request finalize, or "
                   "set a later time");
    if (was_paused && !view->is_running)
        select_say(stderr, "resume", view, "no run is active: start it with `v2c-engine run`");
    return 0;
}

/* One that is refused leaves the others alone; the first refusal is the command's error, others are
 * told as they come. */
static int
change_all(struct selection *selection, const char *command,
           int (*change)(struct selection *selection, const struct vm_view *view, struct err **err),
           struct err **err)
{
    CLEANUP(err_freep) struct err *first = NULL;
    size_t found = 0;

    for (size_t i = 0; i < selection->views.count; i++) {
        const struct vm_view *view = &selection->views.items[i];
        CLEANUP(err_freep) struct err *failure = NULL;

        if (!view->moref) {
            select_say(stderr, command, view, "nothing has begun yet");
            continue;
        }
        found++;
        if (change(selection, view, &failure) == 0)
            continue;
        if (first)
            select_say(stderr, command, view, err_message(failure));
        else
            err_wrap(&failure, "vm %s", view->name);
        if (!first)
            first = take(failure);
    }
    if (first)
        return err_move(err, &first);
    if (!found)
        return err_set(err, E_STORE_NOT_FOUND, "none of these VMs has a migration in %s",
                       selection->control_dir);
    return 0;
}

static int
run(const struct pause_values *values, const struct words *words, const char *command,
    int (*change)(struct selection *selection, const struct vm_view *view, struct err **err),
    struct err **err)
{
    const struct select_values *v = &values->select;
    struct selection selection;
    int rc;

    if (!v->specs.count && !words->count && !v->vms.count && !v->vm_ids.count)
        return err_set(err, E_USAGE, "say which VMs with --spec, --vm or --vm-id");
    if (select_vms(v, words, &selection, err) < 0)
        return -1;
    rc = change_all(&selection, command, change, err);
    selection_done(&selection);
    return rc;
}

static int
run_pause(void *opaque, const struct words *words, struct err **err)
{
    return run(opaque, words, "pause", pause_one, err);
}

static int
run_resume(void *opaque, const struct words *words, struct err **err)
{
    return run(opaque, words, "resume", resume_one, err);
}

const struct command command_pause = {
    .name = "pause",
    .words = "[SPEC...]",
    .summary = "hold a migration until it is resumed",
    .description =
        "Holds the migration of a VM: within a second or two its copy stops at a checkpoint, its "
        "snapshot is removed, and no delta round begins. The run stays, keeps its place among "
        "parallel_vms, and shows the VM as paused. A pause lasts until `resume`, over the end of "
        "the run and its next start too.\n\n"
        "While it lasts finalize is refused, and a finalize_at that passes is not acted on. Once "
        "the cutover has begun a VM cannot be paused any more.",
    .options = pause_options,
    .values_size = sizeof(struct pause_values),
    .run = run_pause,
};

const struct command command_resume = {
    .name = "resume",
    .words = "[SPEC...]",
    .summary = "let a paused migration go on",
    .description =
        "Ends a pause. The run goes on within a second or two, from the last checkpoint: "
        "what has changed on the VM meanwhile is copied again. Without a run, start one "
        "with `run`.",
    .options = pause_options,
    .values_size = sizeof(struct pause_values),
    .run = run_resume,
};
