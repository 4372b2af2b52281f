#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"

struct finalize_values {
    struct select_values select;
    bool now;
};

static const struct option_def finalize_options[] = {
    SELECT_OPTIONS(struct finalize_values, select),
    {"now", OPTION_BOOL, offsetof(struct finalize_values, now), NULL,
     "Do not wait for the next delta round: shut the VM down and cut over as soon as the base copy "
     "is complete."},
    OPTION_END,
};

/* The existing tool's own way, for a migration that only it knows. */
static int
touch_marker(const char *path, bool *ret_was_there, struct err **err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0 && errno != EEXIST)
        return err_set_errno(err, E_IO, errno, "%s", path);
    *ret_was_there = fd < 0;
    if (fd >= 0)
        (void)close(fd);
    return 0;
}

static int
request_foreign(const struct vm_view *view, bool now, char **ret_path, bool *ret_was_requested,
                struct err **err)
{
    CLEANUP(free_charp) char *plain = file_join(view->directory, "FINALIZE");
    CLEANUP(free_charp) char *at_once = file_join(view->directory, "FINALIZE_NOW");

    if (touch_marker(plain, ret_was_requested, err) < 0 ||
        (now && touch_marker(at_once, ret_was_requested, err) < 0))
        return -1;
    *ret_path = take(*(now ? &at_once : &plain));
    return 0;
}

static void
say(FILE *stream, const struct vm_view *view, const char *what, const char *path)
{
    CLEANUP(free_charp) char *text = path ? xasprintf("%s (%s)", what, path) : xstrdup(what);

    select_say(stream, "finalize", view, text);
}

static int
request(struct selection *selection, const struct vm_view *view, bool now, struct err **err)
{
    CLEANUP(free_charp) char *path = NULL;
    bool was_requested = false;
    int rc;

    if (!strcmp(view->stage, "done")) {
        say(stdout, view, "stage=done already completed", NULL);
        return 0;
    }
    if (view->is_foreign) {
        rc = request_foreign(view, now, &path, &was_requested, err);
    } else {
        path = file_join(selection->control_dir, "v2c.db");
        rc = store_finalize_request(selection->store, view->record.id,
                                    now ? STORE_FINALIZE_NOW : STORE_FINALIZE_PLAIN, &was_requested,
                                    err);
        /* A marker that lies there has not been taken into the store yet, and is a request too. */
        was_requested |= now ? view->is_finalize_now : view->is_finalize_requested;
    }
    if (rc < 0)
        return err_wrap(err, "vm %s", view->name);
    if (now)
        say(stdout, view,
            was_requested ? "finalize-now already requested" : "finalize-now requested", path);
    else
        say(stdout, view, was_requested ? "finalize already requested" : "finalize requested",
            path);
    if (!view->is_foreign && !view->is_running)
        say(stderr, view, "no run is active: `v2c-engine run` acts on it when it is started", NULL);
    return 0;
}

/* Before anything is asked of any: a pause is there because somebody does not want the VM touched. */
static int
refuse_paused(const struct selection *selection, struct err **err)
{
    for (size_t i = 0; i < selection->views.count; i++) {
        const struct vm_view *view = &selection->views.items[i];

        if (!view->is_paused)
            continue;
        err_set(err, E_PAUSE, "vm %s is paused: nothing was requested", view->name);
        return err_hint(err, "`v2c-engine resume --vm-id %s` first", view->moref);
    }
    return 0;
}

static int
request_all(struct selection *selection, bool now, struct err **err)
{
    size_t found = 0;

    if (refuse_paused(selection, err) < 0)
        return -1;

    for (size_t i = 0; i < selection->views.count; i++) {
        const struct vm_view *view = &selection->views.items[i];

        if (!view->moref) {
            say(stderr, view, "nothing has begun yet", NULL);
            continue;
        }
        if (request(selection, view, now, err) < 0)
            return -1;
        found++;
    }
    if (!found)
        return err_set(err, E_STORE_NOT_FOUND, "none of these VMs has a migration in %s",
                       selection->control_dir);
    return 0;
}

static int
run_finalize(void *opaque, const struct words *words, struct err **err)
{
    const struct finalize_values *v = opaque;
    struct selection selection;
    int rc;

    if (!v->select.specs.count && !words->count && !v->select.vms.count && !v->select.vm_ids.count)
        return err_set(err, E_USAGE, "say which VMs with --spec, --vm or --vm-id");
    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    rc = request_all(&selection, v->now, err);
    selection_done(&selection);
    return rc;
}

const struct command command_finalize = {
    .name = "finalize",
    .words = "[SPEC...]",
    .summary = "ask for the cutover",
    .description =
        "Asks the run that migrates a VM to cut over: after one more delta while the VM is on, it "
        "is "
        "shut down, the last changes are copied, and it is imported. During the base copy the "
        "request waits for its end. Asking again changes nothing; --now after a plain request "
        "makes "
        "it immediate. A run that fails or is stopped forgets the request. Where the spec has a "
        "cutover_max_downtime, a plain request waits until the predicted downtime (see status) "
        "keeps to it; --now does not wait.",
    .options = finalize_options,
    .values_size = sizeof(struct finalize_values),
    .run = run_finalize,
};
