/* report: what was moved, how, and how that went; for people's files, and for programs. */
#include <stdio.h>

#include <jansson.h>

#include "api/report.h"
#include "base/err.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"

struct report_values {
    struct select_values select;
    bool html, json;
};

static const struct option_def report_options[] = {
    SELECT_OPTIONS(struct report_values, select),
    {"html", OPTION_BOOL, offsetof(struct report_values, html), NULL,
     "One page to print or to keep, each VM on sheets of its own."},
    {"json", OPTION_BOOL, offsetof(struct report_values, json), NULL,
     "A list of objects, one a VM; so it is without --html, too."},
    OPTION_END,
};

static int
add_report(const struct selection *selection, const struct vm_view *view, json_t *reports,
           struct err **err)
{
    json_t *report = NULL;

    if (view->is_foreign)
        return err_set(err, E_STORE_FOREIGN, "it is of another tool's migration");
    if (!view->record.id)
        return err_set(err, E_STORE_NOT_FOUND, "no migration is recorded");
    if (api_report(selection->store, selection->control_dir, view->record.vcenter,
                   view->record.vm_moref, &report, err) < 0)
        return -1;
    json_array_append_new(reports, report);
    return 0;
}

static int
print(const json_t *reports, bool is_page, struct err **err)
{
    CLEANUP(free_charp) char *text = NULL;

    if (is_page && api_report_page(reports, &text, err) < 0)
        return -1;
    if (!is_page)
        text = json_dumps(reports, JSON_INDENT(2));
    if (!text)
        return err_set(err, E_MEMORY, "the report");
    if (fputs(text, stdout) == EOF || (!is_page && fputc('\n', stdout) == EOF) ||
        fflush(stdout) == EOF)
        return err_set(err, E_IO, "the report cannot be written to standard output");
    return 0;
}

static int
run_report(void *opaque, const struct words *words, struct err **err)
{
    const struct report_values *v = opaque;
    struct selection selection;
    json_t *reports;
    int rc = 0;

    if (v->html && v->json)
        return err_set(err, E_USAGE, "--html and --json exclude each other");
    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    reports = json_array();
    for (size_t i = 0; i < selection.views.count && rc == 0; i++) {
        rc = add_report(&selection, &selection.views.items[i], reports, err);
        if (rc < 0)
            err_wrap(err, "vm %s", selection.views.items[i].name);
    }
    if (rc == 0)
        rc = print(reports, v->html, err);
    json_decref(reports);
    selection_done(&selection);
    return rc;
}

const struct command command_report = {
    .name = "report",
    .words = "[SPEC...]",
    .summary = "what was moved, when, and how long each VM was down",
    .description =
        "Tells of each VM where it came from and went to, its disks with what was copied and "
        "verified, when it was in which stage, every delta round, how long it was down, warnings "
        "and errors, and who did what through the service. At any time: of a migration that is "
        "not at its end it tells what is known so far.\n\n"
        "`v2c-engine report --vm web01 --html > web01.html` is a page that needs nothing else.",
    .options = report_options,
    .values_size = sizeof(struct report_values),
    .run = run_report,
};
