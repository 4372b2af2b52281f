/* The preflight of the migration in hand: before the first snapshot, and before the source goes off. */
#include <string.h>

#include "migration/internal.h"
#include "preflight/preflight.h"

/* All problems in one message, their cures below each other in its hint. */
static int
refuse(const struct preflight_finding *const *failures, size_t count, struct err **err)
{
    CLEANUP(str_done) struct str message = STR_INIT(16384);
    CLEANUP(str_done) struct str cures = STR_INIT(16384);

    for (size_t i = 0; i < count; i++) {
        const struct preflight_finding *f = failures[i];

        str_appendf(&message, "%s%s: %s", i ? "; " : "", f->check, f->message);
        if (f->cure && !strstr(str_text(&cures), f->cure))
            str_appendf(&cures, "%s%s: %s", cures.length ? "\n" : "", f->check, f->cure);
    }
    if (count > 1)
        err_set(err, E_PREFLIGHT, "%zu checks failed: %s", count, str_text(&message));
    else
        err_set(err, E_PREFLIGHT, "a check failed: %s", str_text(&message));
    return cures.length ? err_hint(err, "%s", str_text(&cures)) : -1;
}

static void
collect(struct migration *m, const struct preflight_findings *findings, bool tells_warnings,
        const struct preflight_finding **failures, size_t *count)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct preflight_finding *f = &findings->items[i];

        if (f->status == PREFLIGHT_FAILURE)
            failures[(*count)++] = f;
        else if (f->status == PREFLIGHT_WARNING && tells_warnings)
            migration_log(m, LOG_WARNING, "%s: %s%s%s", f->check, f->message, f->cure ? "; " : "",
                          f->cure ? f->cure : "");
    }
}

static int
judge(struct migration *m, const struct preflight_report *report, bool tells_warnings,
      struct err **err)
{
    size_t count = 0, room = report->common.count + report->vms[0].findings.count;
    const struct preflight_finding **failures =
        xcalloc(room + 1, sizeof(const struct preflight_finding *));
    int result = 0;

    collect(m, &report->common, tells_warnings, failures, &count);
    collect(m, &report->vms[0].findings, tells_warnings, failures, &count);
    if (count)
        result = refuse(failures, count, err);
    else
        migration_log(m, LOG_INFO, "All %zu checks let the migration go on", room);
    free(failures);
    return result;
}

static int
check(struct migration *m, bool is_cutover, struct err **err)
{
    CLEANUP(free_charp) char *vm_id = NULL;
    struct preflight_options options = {
        .config = m->config,
        .specs = &m->spec,
        .count = 1,
        .vsphere = m->vsphere,
        .cloudstack = m->cloudstack,
        .vm = &m->vm,
        .is_cutover = is_cutover,
        .cancel = m->options->stop,
    };
    struct preflight_report report = {0};
    int result;

    if (migration_imported_vm(m, &vm_id, err) < 0)
        return -1;
    options.imported_vm_id = vm_id;
    if (preflight_run(&options, &report, err) < 0)
        return -1;
    result = judge(m, &report, !is_cutover, err);
    preflight_report_done(&report);
    return result;
}

int
migration_preflight(struct migration *m, struct err **err)
{
    if (m->is_checked)
        return 0;
    if (migration_read_source(m, err) < 0)
        return err_wrap(err, "preflight");
    if (check(m, false, err) < 0)
        return err_wrap(err, "preflight");
    m->is_checked = true;
    return 0;
}

int
migration_preflight_cutover(struct migration *m, struct err **err)
{
    if (check(m, true, err) < 0)
        return err_wrap(err, "the source stays on: preflight of the cutover");
    return migration_settle_import(m, err) < 0 ? err_wrap(err, "the source stays on") : 0;
}
