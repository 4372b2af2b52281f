#include <string.h>

#include "preflight/internal.h"

#define MAX_MESSAGE 8192

const char *
preflight_status_name(enum preflight_status status)
{
    static const char *const names[] = {"pass", "warning", "failure"};

    return names[status];
}

void
finding_add(struct preflight_findings *findings, const char *check, enum preflight_status status,
            const char *cure, const char *fmt, ...)
{
    struct preflight_finding finding = {.check = check, .status = status, .cure = xstrdup(cure)};
    struct str message = STR_INIT(MAX_MESSAGE);
    va_list args;

    va_start(args, fmt);
    str_vappendf(&message, fmt, args);
    va_end(args);
    for (char *c = message.data; c && *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c == 0x7f)
            *c = ' ';
    finding.message = str_take(&message);
    vec_push(findings, finding);
}

void
finding_add_error(struct preflight_findings *findings, const char *check,
                  enum preflight_status status, const char *cure, const struct err *error)
{
    const char *hint = err_hint_text(error);

    finding_add(findings, check, status, hint ? hint : cure, "%s", err_message(error));
}

enum preflight_status
preflight_worst(const struct preflight_findings *findings)
{
    enum preflight_status worst = PREFLIGHT_PASS;

    for (size_t i = 0; i < findings->count; i++)
        worst = MAX(worst, findings->items[i].status);
    return worst;
}

void
preflight_findings_done(struct preflight_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->items[i].message);
        free(findings->items[i].cure);
    }
    vec_done(findings);
}

enum preflight_status
preflight_report_worst(const struct preflight_report *report)
{
    enum preflight_status worst = preflight_worst(&report->common);

    for (size_t i = 0; i < report->count; i++)
        worst = MAX(worst, preflight_worst(&report->vms[i].findings));
    return worst;
}

void
preflight_report_done(struct preflight_report *report)
{
    preflight_findings_done(&report->common);
    for (size_t i = 0; i < report->count; i++)
        preflight_findings_done(&report->vms[i].findings);
    free(report->vms);
    memset(report, 0, sizeof(*report));
}
