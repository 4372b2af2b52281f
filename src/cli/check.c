/* check: the preflight without a migration. */
#include <stdio.h>

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/load.h"
#include "cli/text.h"
#include "preflight/preflight.h"

#define EXIT_WARNINGS 3 /* with --strict */
#define MAX_OUTPUT    (64 * MIB)

struct check_values {
    struct words specs;
    const char *config;
    bool json, all, strict, lenient;
};

static const struct option_def check_options[] = {
    {"spec", OPTION_LIST, offsetof(struct check_values, specs), "FILE",
     "VM spec; may be given several times."},
    {"config", OPTION_TEXT, offsetof(struct check_values, config), "FILE",
     "Configuration (default: config.yaml, else ../config.yaml)."},
    {"json", OPTION_BOOL, offsetof(struct check_values, json), NULL,
     "Print JSON: [{\"vm\", \"status\", \"findings\": [{\"check\", \"status\", \"message\", "
     "\"cure\"}]}], passes too; what is the same for all VMs stands with each."},
    {"all", OPTION_BOOL, offsetof(struct check_values, all), NULL,
     "Print what passed too, also for several VMs; for one VM it is printed anyway."},
    {"strict", OPTION_BOOL, offsetof(struct check_values, strict), NULL,
     "End with exit status 3 when there are warnings and no failures."},
    {"lenient", OPTION_BOOL, offsetof(struct check_values, lenient), NULL,
     "Warn of unknown keys in configuration and specs instead of refusing them."},
    OPTION_END,
};

/* ---- JSON ------------------------------------------------------------------------------------- */

static void
append_findings(json_t *list, const struct preflight_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct preflight_finding *f = &findings->items[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "check", f->check, "status",
                                              preflight_status_name(f->status), "message",
                                              json_text(f->message), "cure", json_text(f->cure)));
    }
}

static void
print_json(const struct preflight_report *report)
{
    json_t *all = json_array();

    for (size_t i = 0; i < report->count; i++) {
        const struct preflight_vm *vm = &report->vms[i];
        enum preflight_status worst =
            MAX(preflight_worst(&report->common), preflight_worst(&vm->findings));
        json_t *findings = json_array();

        append_findings(findings, &vm->findings);
        append_findings(findings, &report->common);
        json_array_append_new(all, json_pack("{s:o, s:s, s:o}", "vm",
                                             json_text(spec_label(vm->spec)), "status",
                                             preflight_status_name(worst), "findings", findings));
    }
    json_dumpf(all, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(all);
}

/* ---- text ------------------------------------------------------------------------------------- */

struct tally {
    size_t of[3]; /* by status */
};

static struct tally
count_findings(const struct preflight_findings *findings)
{
    struct tally tally = {{0}};

    for (size_t i = 0; i < findings->count; i++)
        tally.of[findings->items[i].status]++;
    return tally;
}

static void
append_section(const char *title, const struct preflight_findings *findings, bool with_passes,
               struct str *out)
{
    struct tally tally = count_findings(findings);

    text_append_clean(out, title, 0);
    str_appendf(out, ": %zu failed, %zu warning%s, %zu passed\n", tally.of[PREFLIGHT_FAILURE],
                tally.of[PREFLIGHT_WARNING], tally.of[PREFLIGHT_WARNING] == 1 ? "" : "s",
                tally.of[PREFLIGHT_PASS]);
    for (int status = PREFLIGHT_FAILURE;
         status >= (with_passes ? PREFLIGHT_PASS : PREFLIGHT_WARNING); status--)
        for (size_t i = 0; i < findings->count; i++) {
            const struct preflight_finding *f = &findings->items[i];

            if ((int)f->status != status)
                continue;
            str_appendf(out, "  %-8s %-24s ", preflight_status_name(f->status), f->check);
            text_append_clean(out, f->message, 0);
            str_append(out, "\n");
            if (f->cure) {
                str_appendf(out, "%36s", "");
                text_append_clean(out, f->cure, 0);
                str_append(out, "\n");
            }
        }
    str_append(out, "\n");
}

static void
append_verdict(const struct preflight_report *report, struct str *out)
{
    size_t failing = 0;

    for (size_t i = 0; i < report->count; i++)
        failing += preflight_worst(&report->vms[i].findings) == PREFLIGHT_FAILURE;
    if (preflight_worst(&report->common) == PREFLIGHT_FAILURE)
        str_append(out, "no VM can be migrated until the failures above are solved\n");
    else if (failing)
        str_appendf(out, "%zu of %zu VM%s cannot be migrated until the failures above are solved\n",
                    failing, report->count, report->count == 1 ? "" : "s");
    else if (preflight_report_worst(report) == PREFLIGHT_WARNING)
        str_append(out, "nothing stands in the way; see the warnings\n");
    else
        str_append(out, "nothing stands in the way\n");
}

static void
print_text(const struct preflight_report *report, bool with_passes)
{
    struct str out = STR_INIT(MAX_OUTPUT);

    append_section("this host and the servers", &report->common, with_passes, &out);
    for (size_t i = 0; i < report->count; i++)
        append_section(spec_label(report->vms[i].spec), &report->vms[i].findings, with_passes,
                       &out);
    append_verdict(report, &out);
    fputs(str_text(&out), stdout);
    str_done(&out);
}

/* ---- command ---------------------------------------------------------------------------------- */

static int
exit_status(const struct preflight_report *report, bool is_strict)
{
    switch (preflight_report_worst(report)) {
    case PREFLIGHT_FAILURE:
        return COMMAND_FAILED_AND_SAID_SO;
    case PREFLIGHT_WARNING:
        return is_strict ? EXIT_WARNINGS : 0;
    default:
        return 0;
    }
}

static int
look(const struct config *config, const struct spec_list *specs, const struct check_values *v,
     struct err **err)
{
    const struct preflight_options options = {
        .config = config,
        .specs = (const struct spec *const *)specs->items,
        .count = specs->count,
    };
    struct preflight_report report = {0};
    int status;

    if (preflight_run(&options, &report, err) < 0)
        return -1;
    if (v->json)
        print_json(&report);
    else
        print_text(&report, v->all || specs->count == 1);
    status = exit_status(&report, v->strict);
    preflight_report_done(&report);
    return status;
}

static int
run_check(void *opaque, const struct words *words, struct err **err)
{
    struct check_values *v = opaque;
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *config_path = v->config ? xstrdup(v->config) : config_default_path();
    struct spec_list specs = {0};
    int status = load_all(
        &(struct load_request){
            .specs = &v->specs,
            .words = words,
            .config_path = config_path,
            .overrides = {.readers = -1, .parallel_disks = -1, .run_virt_v2v = -1},
            .is_lenient = v->lenient,
        },
        &config, &specs, err);

    if (status == 0)
        status = look(config, &specs, v, err);
    spec_list_done(&specs);
    return status;
}

const struct command command_check = {
    .name = "check",
    .words = "[SPEC...]",
    .summary = "tell whether the VMs of one or more specs can be migrated",
    .description =
        "Looks at everything that a migration of these VMs depends on: the source (change "
        "tracking, disks, snapshots, privileges), the target (zone, hosts, pools, offerings, "
        "networks, limits, free space) and this host (VDDK, clocks). Each finding is a pass, a "
        "warning (it may fail, or turn out otherwise than expected) or a failure (it will not "
        "work), and says what to do. `run` looks at the same before its first snapshot, and at the "
        "target again before it shuts the source down.\n\n"
        "Nothing is changed, but for a small file that is written to each pool and removed. "
        "Facts are read once for all VMs, so checking a hundred is nearly as quick as checking "
        "one.\n\n"
        "The exit status is 1 when there is a failure; with warnings it is 0, or 3 with --strict.",
    .options = check_options,
    .values_size = sizeof(struct check_values),
    .run = run_check,
};
