/* rollback: an import is taken back, and the source runs again. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"
#include "cli/text.h"

struct rollback_values {
    struct select_values select;
    bool keep_source_off, force, yes;
};

static const struct option_def rollback_options[] = {
    SELECT_OPTIONS(struct rollback_values, select),
    {"keep-source-off", OPTION_BOOL, offsetof(struct rollback_values, keep_source_off), NULL,
     "Do not power the source VM on."},
    {"force", OPTION_BOOL, offsetof(struct rollback_values, force), NULL,
     "Switch the imported VM off if it does not stop by itself."},
    {"yes", OPTION_BOOL, offsetof(struct rollback_values, yes), NULL, "Do not ask."},
    OPTION_END,
};

static int
check(const struct vm_view *view, struct err **err)
{
    if (view->is_foreign)
        return err_set(err, E_STORE_FOREIGN, "it is of another tool's migration");
    if (view->record.stage == STAGE_ROLLED_BACK)
        return err_set(err, E_USAGE, "it was rolled back already");
    if (view->record.stage >= STAGE_IMPORT_ROOT_DISK)
        return 0;
    err_set(err, E_USAGE, "it is in stage %s: nothing of it is imported", view->stage);
    return err_hint(err, "v2c-engine cancel takes it away");
}

static void
describe(const struct rollback_values *v, const struct vm_view *view, bool is_marked)
{
    const struct store_migration *r = &view->record;
    struct str out = STR_INIT(16 * KIB);
    char stamp[32];

    str_append(&out, "[rollback] vm=");
    text_append_clean(&out, view->name, 0);
    str_appendf(&out, " moref=%s stage=%s cloudstack_vm_id=%s\n", view->moref, view->stage,
                r->cloudstack_vm_id ? r->cloudstack_vm_id : "<nil>");
    str_append(&out, "  stops the imported VM and has CloudStack give it up; its files stay\n");
    if (r->imported_at) {
        clock_format_utc(r->imported_at, stamp);
        str_appendf(&out, "  what it has written since %s stays in these files, and only there:\n",
                    stamp);
    }
    for (size_t i = 0; i < view->disks.count; i++)
        if (view->disks.items[i].target_path)
            str_appendf(&out, "    %s\n", view->disks.items[i].target_path);
    if (is_marked)
        str_append(
            &out,
            "  gives the source VM its name, note and connected network cards back, where they are "
            "still as the migration set them\n");
    str_append(&out, v->keep_source_off ? "  leaves the source VM off\n"
                                        : "  powers the source VM on, as it was at its cutover\n");
    (void)fputs(str_text(&out), stdout);
    str_done(&out);
}

static int
ask(struct err **err)
{
    char answer[16] = "";

    if (!isatty(STDIN_FILENO)) {
        err_set(err, E_USAGE, "nothing was done: there is no terminal to ask on");
        return err_hint(err, "give --yes to do what is said above");
    }
    printf("Do that? [y/N] ");
    (void)fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return err_set(err, E_CANCELLED, "nothing was done");
}

static int
rollback_one(const struct rollback_values *v, struct selection *selection,
             const struct vm_view *view, struct err **err)
{
    const struct migration_rollback rollback = {.config = selection->config,
                                                .store = selection->store,
                                                .record = &view->record,
                                                .is_forced = v->force,
                                                .keeps_source_off = v->keep_source_off};
    CLEANUP(close_fdp) int fd = -1;
    bool is_marked = false;

    if (check(view, err) < 0 ||
        migration_lock(selection->control_dir, view->record.vcenter, view->moref, &fd, err) < 0 ||
        migration_is_marked(selection->store, view->record.id, &is_marked, err) < 0)
        return -1;
    describe(v, view, is_marked);
    if (!v->yes && ask(err) < 0)
        return -1;
    if (migration_rollback(&rollback, err) < 0)
        return err_hint(err, "the same command goes on where it stopped");
    select_say(stdout, "rollback", view, "rolled back");
    return 0;
}

static int
run_rollback(void *opaque, const struct words *words, struct err **err)
{
    const struct rollback_values *v = opaque;
    struct selection selection;
    int rc = 0;

    if (!v->select.specs.count && !words->count && !v->select.vms.count && !v->select.vm_ids.count)
        return err_set(err, E_USAGE, "say which VMs with --spec, --vm or --vm-id");
    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    for (size_t i = 0; i < selection.views.count && rc == 0; i++) {
        const struct vm_view *view = &selection.views.items[i];

        rc = view->moref ? rollback_one(v, &selection, view, err)
                         : err_set(err, E_STORE_NOT_FOUND, "no migration is recorded");
        if (rc < 0)
            err_wrap(err, "vm %s", view->name);
    }
    selection_done(&selection);
    return rc;
}

const struct command command_rollback = {
    .name = "rollback",
    .words = "[SPEC...]",
    .summary = "take an imported VM back and run the source again",
    .description =
        "After the cutover: stops the imported VM, has CloudStack give it up with its volumes, and "
        "powers the source VM on, which is as it was when it was shut down. No file is removed, "
        "and nothing is expunged. What the imported VM has written stays in its files, and does "
        "not come back to the source.\n\n"
        "CloudStack can give up a stopped VM from 4.22 on; an older one gives up the data disks, "
        "and the VM stays there, stopped and tagged v2c-rolled-back. What will be done is said "
        "first, and asked for on a terminal unless --yes is given. After any failure the same "
        "command goes on. A VM that was rolled back can be migrated anew once `forget` has removed "
        "its record and its old files are moved away.",
    .options = rollback_options,
    .values_size = sizeof(struct rollback_values),
    .run = run_rollback,
};
