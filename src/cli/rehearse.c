/* `rehearse`: asks the run for a rehearsal and waits for what comes of it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"
#include "config/config.h"
#include "migration/migration.h"

#define POLL_MS 500

struct rehearse_values {
    struct select_values select;
    bool no_wait;
};

static const struct option_def rehearse_options[] = {
    SELECT_OPTIONS(struct rehearse_values, select),
    {"no-wait", OPTION_BOOL, offsetof(struct rehearse_values, no_wait), NULL,
     "Only ask for it; the log of the VM tells what comes of it."},
    OPTION_END,
};

static int
request(struct selection *selection, const struct vm_view *view, int64_t *ret_id, struct err **err)
{
    if (view->is_foreign) {
        err_set(err, E_STORE_FOREIGN, "it was begun by another tool, which knows no rehearsal");
        return err_hint(err, "finish it there");
    }
    if (view->is_paused) {
        err_set(err, E_PAUSE, "it is paused");
        return err_hint(err, "`v2c-engine resume --vm-id %s` first", view->moref);
    }
    if (migration_rehearsal_request(selection->store, &view->record, ret_id, err) < 0)
        return -1;
    if (view->is_running)
        select_say(stderr, "rehearse", view, "requested: it begins after the next delta round");
    else
        select_say(stderr, "rehearse", view,
                   "requested; no run is active: `v2c-engine run` does it when it is started");
    return 0;
}

static bool
is_run_active(const struct selection *selection, const struct vm_view *view)
{
    int fd = -1;

    if (migration_lock(selection->control_dir, view->record.vcenter, view->record.vm_moref, &fd,
                       NULL) < 0)
        return true;
    close_fdp(&fd);
    return false;
}

/* One that the run has taken up, or will; E_REHEARSAL when there is no run any more. */
static int
wait_for(struct selection *selection, const struct vm_view *view, int64_t id,
         struct migration_rehearsal *ret, struct err **err)
{
    for (;;) {
        bool is_active = is_run_active(selection, view);

        if (migration_rehearsal_load(selection->store, view->record.id, ret, err) < 0)
            return -1;
        if (ret->id != id)
            return err_set(err, E_REHEARSAL, "another rehearsal was asked for meanwhile");
        if (ret->is_done)
            return 0;
        if (!is_active) {
            err_set(err, E_REHEARSAL, "the run ended before the rehearsal");
            return err_hint(err, "start it again with `v2c-engine run`: the request is kept");
        }
        clock_sleep_ms(POLL_MS);
    }
}

/* 1 when the guest does not convert or boot. */
static int
report(const struct vm_view *view, const struct migration_rehearsal *r)
{
    CLEANUP(free_charp)
    char *text =
        xasprintf("converts=%s seconds=%.1f boots=%s boot_seconds=%.1f: %s", r->converts,
                  (double)r->convert_ms / 1000, r->boots, (double)r->boot_ms / 1000, r->text);

    select_say(stdout, "rehearse", view, text);
    return strcmp(r->converts, "no") == 0 || strcmp(r->boots, "no") == 0 ||
                   strcmp(r->converts, "unknown") == 0
               ? COMMAND_FAILED_AND_SAID_SO
               : 0;
}

static int
rehearse_all(struct selection *selection, bool waits, struct err **err)
{
    int64_t *ids = xcalloc(selection->views.count + 1, sizeof(*ids));
    int result = 0;
    size_t found = 0;

    for (size_t i = 0; i < selection->views.count && result >= 0; i++) {
        const struct vm_view *view = &selection->views.items[i];

        if (!view->moref) {
            select_say(stderr, "rehearse", view, "nothing has begun yet");
            continue;
        }
        found++;
        if (request(selection, view, &ids[i], err) < 0)
            result = err_wrap(err, "vm %s", view->name);
    }
    for (size_t i = 0; i < selection->views.count && result >= 0 && waits; i++) {
        const struct vm_view *view = &selection->views.items[i];
        struct migration_rehearsal r;

        if (!ids[i] || !view->is_running)
            continue;
        if (wait_for(selection, view, ids[i], &r, err) < 0)
            result = err_wrap(err, "vm %s", view->name);
        else
            result = MAX(result, report(view, &r));
    }
    free(ids);
    if (!found && result == 0)
        return err_set(err, E_STORE_NOT_FOUND, "none of these VMs has a migration in %s",
                       selection->control_dir);
    return result;
}

static int
run_rehearse(void *opaque, const struct words *words, struct err **err)
{
    const struct rehearse_values *v = opaque;
    struct selection selection;
    int rc;

    if (!v->select.specs.count && !words->count && !v->select.vms.count && !v->select.vm_ids.count)
        return err_set(err, E_USAGE, "say which VMs with --spec, --vm or --vm-id");
    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    rc = rehearse_all(&selection, !v->no_wait, err);
    selection_done(&selection);
    return rc;
}

const struct command command_rehearse = {
    .name = "rehearse",
    .words = "[SPEC...]",
    .summary = "try conversion and boot while the VM runs",
    .description =
        "Asks the run that migrates a VM to rehearse its conversion: right after a delta round the "
        "guest is converted on throw-away overlays of the copied disks, and started under QEMU "
        "without a network. It tells whether the guest converts, how long that takes (which the "
        "predicted downtime then counts), and whether it boots: by a login prompt on its serial "
        "console or, where there is none, by its writes to its disks. Nothing of it is kept, the "
        "source VM is not touched, and delta rounds go on afterwards.\n\n"
        "It waits for the result; the exit status is 1 when the guest does not convert or does not "
        "boot. A rehearsal gives way to a pause and to the cutover. With run_virt_v2v off the "
        "disks "
        "are booted as they are.",
    .options = rehearse_options,
    .values_size = sizeof(struct rehearse_values),
    .run = run_rehearse,
};
