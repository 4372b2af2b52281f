#include "cli/doctor.h"

#include <stdio.h>
#include <unistd.h>

#include <jansson.h>

#include "base/str.h"
#include "base/text.h"
#include "base/util.h"
#include "cli/command.h"

struct doctor_values {
    const char *config;
    bool json;
};

static const struct option_def doctor_options[] = {
    {"config", OPTION_TEXT, offsetof(struct doctor_values, config), "FILE",
     "Configuration (default: config.yaml, else ../config.yaml)."},
    {"json", OPTION_BOOL, offsetof(struct doctor_values, json), NULL,
     "Print JSON: {\"ok\", \"findings\": [{\"name\", \"level\", \"found\", \"advice\"}]}."},
    OPTION_END,
};

static const char *const level_names[] = {"ok", "warning", "problem"};

static enum finding_level
worst_of(const struct findings *findings)
{
    enum finding_level worst = FINDING_OK;

    for (size_t i = 0; i < findings->count; i++)
        worst = MAX(worst, findings->items[i].level);
    return worst;
}

static void
print_json(const struct findings *findings)
{
    json_t *list = json_array();
    json_t *all =
        json_pack("{s:b, s:o}", "ok", worst_of(findings) != FINDING_PROBLEM, "findings", list);

    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->items[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "name", f->name, "level",
                                              level_names[f->level], "found", json_text(f->found),
                                              "advice", json_text(f->advice)));
    }
    json_dumpf(all, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(all);
}

static void
print_text(const struct findings *findings)
{
    static const char *const verdicts[] = {
        "nothing stands in the way of a migration",
        "migrations will work; see the warnings",
        "migrations will fail until the problems above are solved",
    };
    struct str out = STR_INIT(256 * KIB);

    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *f = &findings->items[i];

        str_appendf(&out, "%-8s %-18s %s\n", level_names[f->level], f->name, f->found);
        if (f->advice)
            str_appendf(&out, "%28s%s\n", "", f->advice);
    }
    str_appendf(&out, "\n%s\n", verdicts[worst_of(findings)]);
    fputs(str_text(&out), stdout);
    str_done(&out);
}

static int
run_doctor(void *opaque, const struct words *words, struct err **err)
{
    const struct doctor_values *values = opaque;
    struct findings findings = {0};
    enum finding_level worst;

    doctor_look(values->config, &findings);
    worst = worst_of(&findings);
    if (values->json)
        print_json(&findings);
    else
        print_text(&findings);
    findings_done(&findings);
    return worst == FINDING_PROBLEM ? COMMAND_FAILED_AND_SAID_SO : 0;
}

const struct command command_doctor = {
    .name = "doctor",
    .words = "",
    .summary = "check what this host can do",
    .description =
        "Looks whether this host can carry migrations: configuration, control directory, VDDK, "
        "io_uring and direct I/O, qemu-img, limits. Each line says what was found; below it stands "
        "what that means and what to do. It asks neither vCenter nor CloudStack.\n\n"
        "The exit status is 1 when there is a problem, 0 otherwise, with warnings too.",
    .options = doctor_options,
    .values_size = sizeof(struct doctor_values),
    .run = run_doctor,
};
