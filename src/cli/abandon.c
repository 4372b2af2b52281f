/* Takes a migration that is not to go on out of the world, and nothing else with it.
 *
 * The order is that of what would be missed: snapshots and files can be found again only through the
 * record, so the record goes last.  The directory goes before it, because a state.json without a record
 * looks like another tool's migration.  Whatever fails or crashes on the way, the same command goes
 * on. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "base/text.h"
#include "base/util.h"
#include "cli/abandon.h"
#include "cli/connect.h"
#include "cli/text.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "io/io.h"
#include "migration/migration.h"
#include "qcow2/qcow2.h"
#include "vsphere/vsphere.h"

enum file_fate {
    FILE_REMOVED,
    FILE_MISSING,
    FILE_NOT_OURS,
};

/* One migration, under its lock. */
struct abandoning {
    const struct abandon_options *options;
    const struct config *config;
    const char *control_dir;
    struct store *store;
    struct store_migration record; /* as it is under the lock */
    struct store_disks disks;
    char tag[64];
    struct vsphere *vsphere; /* NULL: not asked, or not reached */
    struct vsphere_vm vm;
    struct err *unreached; /* why */
    bool has_shut_down;    /* the source, for the cutover */
    char *left_vm;         /* deployed for the import, and still in CloudStack */
    char *renamed;         /* what the directory will be called; NULL when there is none */
    int lock_fd;
};

static void
abandoning_done(struct abandoning *f)
{
    store_migration_done(&f->record);
    store_disks_done(&f->disks);
    vsphere_freep(&f->vsphere);
    vsphere_vm_done(&f->vm);
    err_free(f->unreached);
    free(f->left_vm);
    free(f->renamed);
    close_fdp(&f->lock_fd);
}

static void say(const struct abandoning *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(const struct abandoning *f, const char *fmt, ...)
{
    va_list args;

    if (f->options->is_quiet)
        return;
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
}

/* ---- whether ---------------------------------------------------------------------------------- */

/* CloudStack may hold the disks: removing files would take a running VM's disk away. */
static int
check_import(struct abandoning *f, struct err **err)
{
    struct store_intent intent = {0};
    bool is_there = false;

    if (f->record.cloudstack_vm_id) {
        err_set(err, E_USAGE, "it is past its import: CloudStack has the VM as %s",
                f->record.cloudstack_vm_id);
        return err_hint(err, "run it again to bring it to its end, or take it back with v2c-engine "
                             "rollback");
    }
    for (size_t i = 0; i < f->disks.count; i++)
        if (f->disks.items[i].volume_id)
            return err_set(err, E_USAGE, "CloudStack has disk %s as volume %s",
                           f->disks.items[i].address, f->disks.items[i].volume_id);
    if (store_intent_get(f->store, f->record.id, "import_vm", &is_there, &intent, err) < 0)
        return -1;
    store_intent_done(&intent);
    for (size_t i = 0; i < f->disks.count && !is_there; i++) {
        CLEANUP(free_charp) char *step = xasprintf("import_volume:%s", f->disks.items[i].address);

        intent = (struct store_intent){0};
        if (store_intent_get(f->store, f->record.id, step, &is_there, &intent, err) < 0)
            return -1;
        store_intent_done(&intent);
    }
    if (!is_there)
        return 0;
    err_set(err, E_USAGE, "its import was begun, and how it ended is not known");
    return err_hint(err, "run it again: it looks up whether CloudStack has the VM");
}

/* What is removed is what stands in the record now, not when the migration was selected. */
static int
load_record(struct abandoning *f, const struct vm_view *view, struct err **err)
{
    if (store_migration_find(f->store, view->record.vcenter, view->moref, &f->record, err) < 0 ||
        store_disks_load(f->store, f->record.id, &f->disks, err) < 0)
        return -1;
    if (f->record.id != view->record.id)
        return err_set(err, E_USAGE, "another run began it anew just now");
    migration_record_tag(&f->record, f->tag);
    return migration_has_shut_down(f->store, f->record.id, &f->has_shut_down, err);
}

/* ---- what ------------------------------------------------------------------------------------- */

/* A VM that is gone has no snapshots either. */
static int
read_source(struct abandoning *f, struct err **err)
{
    struct vsphere_vm vm = {0};
    struct err *failure = NULL;

    if (vsphere_read_vm(f->vsphere, f->record.vm_moref, &vm, &failure) < 0) {
        if (err_code(failure) != E_VSPHERE_NOT_FOUND)
            return err_move(err, &failure);
        err_free(failure);
    }
    vsphere_vm_done(&f->vm);
    f->vm = vm;
    return 0;
}

/* An unreachable vCenter is no reason to keep the record, unless it is what a snapshot of ours would be
 * found by. */
static int
look_at_source(struct abandoning *f, struct err **err)
{
    const struct store_migration *r = &f->record;

    if (connect_vcenter(f->config, &f->vsphere, &f->unreached) == 0 &&
        read_source(f, &f->unreached) == 0)
        return 0;
    if (f->options->leave_snapshots || (!r->active_snapshot && !r->snapshot_intent))
        return 0;
    err_set(err, err_code(f->unreached), "a snapshot of it may be on the source, but %s",
            err_message(f->unreached));
    return err_hint(err,
                    "%s%sif that vCenter is gone for good, give --leave-snapshots; else give its "
                    "configuration with --config",
                    err_hint_text(f->unreached) ? err_hint_text(f->unreached) : "",
                    err_hint_text(f->unreached) ? "\n" : "");
}

/* A missing file in a directory that is there is gone; without the directory nothing is known. */
static int
judge_missing(const char *path, enum file_fate *ret_fate, struct err **err)
{
    CLEANUP(free_charp) char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));

    if (access(*dir ? dir : "/", X_OK) < 0) {
        err_set_errno(err, E_POOL, errno, "%s", dir);
        return err_hint(err, "mount the pool, or give --keep-files");
    }
    *ret_fate = FILE_MISSING;
    return 0;
}

/* Only a file that says itself that it belongs to this migration is ours to remove. */
static int
judge_file(const struct abandoning *f, const char *path, enum file_fate *ret_fate, struct err **err)
{
    struct err *failure = NULL;
    struct qcow2_info info;
    struct stat st;

    if ((io_path_is_remote(path) ? io_path_stat(path, &st) : lstat(path, &st)) < 0) {
        if (errno == ENOENT)
            return judge_missing(path, ret_fate, err);
        err_set_errno(err, E_IO, errno, "%s", path);
        return err_hint(err, "see to it, or give --keep-files");
    }
    *ret_fate = FILE_NOT_OURS;
    if (!S_ISREG(st.st_mode))
        return 0;
    if (!io_path_is_remote(path) && access(path, R_OK) < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (qcow2_inspect(path, &info, &failure) == 0) {
        if (info.is_ours && !strcmp(info.owner_id, f->tag))
            *ret_fate = FILE_REMOVED;
        return 0;
    }
    if (err_code(failure) != E_TARGET_FORMAT && err_code(failure) != E_TARGET_DAMAGED)
        return err_move(err, &failure);
    err_free(failure);
    return 0;
}

static bool
removes_files(const struct abandoning *f)
{
    return !migration_is_over(f->record.stage) && !f->options->keep_files;
}

char *
abandon_new_name(const char *directory)
{
    time_t now = (time_t)clock_wall_s();
    char stamp[32], *name;
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
    name = xasprintf("%s%s%s", directory, FORGOTTEN, stamp);
    for (unsigned i = 2; access(name, F_OK) == 0; i++) { /* twice in a second */
        free(name);
        name = xasprintf("%s%s%s-%u", directory, FORGOTTEN, stamp, i);
    }
    return name;
}

static void
name_directory(struct abandoning *f)
{
    if (access(f->record.directory, F_OK) == 0)
        f->renamed = abandon_new_name(f->record.directory);
}

/* ---- saying it -------------------------------------------------------------------------------- */

/* Other people's snapshots may rely on it. */
static bool
restores_tracking(const struct abandoning *f)
{
    if (!f->options->restore_tracking || !f->record.is_cbt_enabled_by_us || !f->vm.moref)
        return false;
    for (size_t i = 0; i < f->vm.snapshots.count; i++)
        if (!migration_owns_snapshot(f->tag, f->vm.snapshots.items[i].name))
            return false;
    return true;
}

static bool
powers_on(const struct abandoning *f)
{
    return f->options->power_on && f->has_shut_down && f->vm.moref &&
           f->vm.power == VSPHERE_POWERED_OFF;
}

static void
describe_source(const struct abandoning *f, struct str *out)
{
    for (size_t i = 0; i < f->vm.snapshots.count; i++) {
        const struct vsphere_snapshot *snapshot = &f->vm.snapshots.items[i];

        if (!migration_owns_snapshot(f->tag, snapshot->name))
            continue;
        str_appendf(out, "  removes snapshot %s (", snapshot->moref);
        text_append_clean(out, snapshot->name, 0);
        str_append(out, ")\n");
    }
    if (restores_tracking(f))
        str_append(out, "  turns changed-block tracking off, which it turned on\n");
    if (powers_on(f))
        str_append(out, "  powers the source VM on\n");
    else if (f->has_shut_down && f->vm.moref && f->vm.power == VSPHERE_POWERED_OFF)
        str_append(out, "  leaves the source VM off, which it shut down\n");
    if (f->unreached)
        str_appendf(out,
                    "  cannot see the source (%s): snapshots named %s-... stay there, if there "
                    "are any\n",
                    err_message(f->unreached), f->tag);
}

static int
describe_files(const struct abandoning *f, struct str *out, struct err **err)
{
    static const struct {
        const char *before, *after;
    } words[] = {
        [FILE_REMOVED] = {"removes file ", ""},
        [FILE_MISSING] = {"file ", " is not there (is its pool mounted?)"},
        [FILE_NOT_OURS] = {"leaves file ", ": it does not say that it is this migration's"},
    };

    for (size_t i = 0; i < f->disks.count; i++) {
        const char *path = f->disks.items[i].target_path;
        enum file_fate fate;

        if (!path)
            continue;
        if (!removes_files(f)) {
            str_appendf(out, "  leaves file %s\n", path);
            continue;
        }
        if (judge_file(f, path, &fate, err) < 0)
            return -1;
        str_appendf(out, "  %s%s%s\n", words[fate].before, path, words[fate].after);
    }
    return 0;
}

static int
describe(const struct abandoning *f, struct err **err)
{
    struct str out = STR_INIT(MIB);
    int rc;

    str_appendf(&out, "[%s] vm=", f->options->command);
    text_append_clean(&out, f->record.vm_name, 0);
    str_appendf(&out, " moref=%s vcenter=%s stage=%s\n", f->record.vm_moref, f->record.vcenter,
                store_stage_name(f->record.stage));
    describe_source(f, &out);
    rc = describe_files(f, &out, err);
    if (f->renamed)
        str_appendf(&out, "  renames %s to %s\n", f->record.directory, f->renamed);
    str_appendf(&out, "  removes its record from %s/v2c.db\n", f->control_dir);
    if (rc == 0)
        say(f, "%s", str_text(&out));
    str_done(&out);
    return rc;
}

static int
ask(struct err **err)
{
    char answer[16] = "";

    if (!isatty(STDIN_FILENO)) {
        err_set(err, E_USAGE, "nothing was removed: there is no terminal to ask on");
        return err_hint(err, "give --yes to do what is said above");
    }
    printf("Do that? [y/N] ");
    (void)fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return err_set(err, E_CANCELLED, "nothing was removed");
}

/* ---- doing it --------------------------------------------------------------------------------- */

static int
wait_for_tasks(struct abandoning *f, struct err **err)
{
    if (!f->vm.moref) /* gone */
        return 0;
    return vsphere_wait_snapshot_tasks(f->vsphere, f->record.vm_moref, err);
}

static int
remove_snapshots(struct abandoning *f, struct err **err)
{
    if (f->unreached || !f->vsphere)
        return 0;
    /* A call whose run was killed goes on in the vCenter, and its snapshot comes later. */
    if (wait_for_tasks(f, err) < 0 || read_source(f, err) < 0)
        return -1;
    for (size_t i = 0; i < f->vm.snapshots.count; i++) {
        const struct vsphere_snapshot *snapshot = &f->vm.snapshots.items[i];

        if (migration_owns_snapshot(f->tag, snapshot->name) &&
            vsphere_remove_snapshot(f->vsphere, f->record.vm_moref, snapshot->moref, err) < 0)
            return err_wrap(err, "removing snapshot %s", snapshot->moref);
    }
    return 0;
}

static int
remove_files(struct abandoning *f, struct err **err)
{
    if (removes_files(f))
        migration_drop_overlays(&f->record, &f->disks);
    for (size_t i = 0; removes_files(f) && i < f->disks.count; i++) {
        const char *path = f->disks.items[i].target_path;
        enum file_fate fate = FILE_NOT_OURS;

        if (!path)
            continue;
        if (judge_file(f, path, &fate, err) < 0)
            return -1;
        if (fate != FILE_REMOVED)
            continue;
        if (io_path_unlink(path) < 0)
            return err_set_errno(err, E_IO, errno, "removing %s", path);
        if (io_path_sync_dir(path, err) < 0)
            return -1;
    }
    return 0;
}

/* What speaks of the target files' content is of no use to anybody any more. */
static void
remove_digests(const struct abandoning *f)
{
    for (size_t i = 0; i < f->disks.count; i++) {
        CLEANUP(free_charp)
        char *path = migration_digests_path(f->record.directory, f->disks.items[i].name);

        if (unlink(path) < 0 && errno != ENOENT)
            log_warning("%s: %s", path, strerror(errno));
    }
}

/* By this `cleanup` knows later that what carries the id was this engine's. */
static int
leave_word(const struct abandoning *f, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(f->record.directory, FORGOTTEN_FILE), *text = NULL;
    json_t *word =
        json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:s*}", "id", f->tag, "vcenter",
                  json_text(f->record.vcenter), "moref", json_text(f->record.vm_moref), "vm_name",
                  json_text(f->record.vm_name), "stage", store_stage_name(f->record.stage),
                  "files_kept", !removes_files(f), "shell_vm_id", f->left_vm);

    text = json_dumps(word, JSON_INDENT(2));
    json_decref(word);
    return text ? file_replace(path, text, strlen(text), 0640, err) : 0;
}

static int
remove_record(struct abandoning *f, struct err **err)
{
    remove_digests(f);
    if (f->renamed) {
        if (leave_word(f, err) < 0)
            return -1;
        if (rename(f->record.directory, f->renamed) < 0)
            return err_set_errno(err, E_IO, errno, "renaming %s", f->record.directory);
        if (file_sync_dir(f->renamed, err) < 0)
            return -1;
    }
    return store_migration_delete(f->store, f->record.id, err);
}

static int
remove_empty_vm(const struct abandoning *f, char **ret_left, struct err **err)
{
    CLEANUP(cloudstack_freep) struct cloudstack *cs = NULL;

    if (connect_cloudstack(f->config, &cs, err) < 0)
        return -1;
    return migration_remove_shell(f->store, f->record.id, cs, ret_left, err);
}

/* A VM without disks that was deployed for the import goes too.  One that cannot be removed is told: it
 * holds nothing of ours. */
static int
remove_shell(struct abandoning *f, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = f->record.id};
    CLEANUP(free_charp) char *id = NULL, *left = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;

    if (f->record.cloudstack_vm_id)
        return 0;
    if (store_setting_get(f->store, &vm, MIGRATION_SHELL_VM, &id, err) < 0)
        return -1;
    if (!id)
        return 0;
    if (remove_empty_vm(f, &left, &failure) == 0 && !left)
        say(f, "[%s] removed the VM %s, which was deployed for the import\n", f->options->command,
            id);
    else
        f->left_vm = take(id);
    if (f->left_vm)
        say(f,
            "[%s] the VM %s, which was deployed for the import, stays in CloudStack (%s): remove "
            "it there\n",
            f->options->command, f->left_vm, failure ? err_message(failure) : "it has volumes");
    return 0;
}

static int
restore_source(struct abandoning *f, struct err **err)
{
    bool powers = powers_on(f);

    if (restores_tracking(f) && vsphere_disable_cbt(f->vsphere, f->record.vm_moref, err) < 0)
        return err_wrap(err, "turning changed-block tracking off");
    if (powers && vsphere_power_on(f->vsphere, f->record.vm_moref, err) < 0)
        return err_wrap(err, "powering the source on");
    return 0;
}

static int
abandon_locked(struct abandoning *f, const struct vm_view *view, struct err **err)
{
    if (load_record(f, view, err) < 0)
        return -1;
    if (migration_is_over(f->record.stage)) {
        if (!f->options->takes_done) {
            err_set(err, E_USAGE, "it is %s", store_stage_name(f->record.stage));
            return err_hint(err,
                            "v2c-engine rollback takes a migration that is done back; v2c-engine "
                            "forget removes its record");
        }
    } else if (check_import(f, err) < 0 || look_at_source(f, err) < 0) {
        return -1;
    }
    name_directory(f);
    if (describe(f, err) < 0 || (!f->options->yes && ask(err) < 0))
        return -1;
    if (remove_snapshots(f, err) < 0 || remove_files(f, err) < 0 || remove_shell(f, err) < 0 ||
        restore_source(f, err) < 0 || remove_record(f, err) < 0)
        return err_hint(err, "the same command goes on where it stopped");
    say(f, "[%s] moref=%s forgotten%s%s\n", f->options->command, f->record.vm_moref,
        f->renamed ? "; its logs are kept in " : "", f->renamed ? f->renamed : "");
    return 0;
}

int
abandon_one(const struct abandon_options *options, struct selection *selection,
            const struct vm_view *view, struct err **err)
{
    struct abandoning f = {.options = options,
                           .config = selection->config,
                           .control_dir = selection->control_dir,
                           .store = selection->store,
                           .lock_fd = -1};
    int rc;

    if (view->is_foreign) {
        err_set(err, E_STORE_FOREIGN, "%s is of another tool's migration", view->state_file);
        return err_hint(err,
                        "finish it with the tool that began it; or remove its snapshots and "
                        "target files, and move %s away",
                        view->directory);
    }
    rc = migration_lock(selection->control_dir, view->record.vcenter, view->moref, &f.lock_fd, err);
    if (rc == 0)
        rc = abandon_locked(&f, view, err);
    abandoning_done(&f);
    return rc;
}

int
abandon_all(const struct abandon_options *options, struct selection *selection, struct err **err)
{
    size_t found = 0;

    for (size_t i = 0; i < selection->views.count; i++) {
        const struct vm_view *view = &selection->views.items[i];

        if (!view->moref)
            continue;
        if (abandon_one(options, selection, view, err) < 0)
            return err_wrap(err, "vm %s (%s)", view->name, view->moref);
        found++;
    }
    if (!found)
        return err_set(err, E_STORE_NOT_FOUND, "none of these VMs has a migration in %s",
                       selection->control_dir);
    return 0;
}
