/* A report as a page to print or to keep: one file, without scripts, that fetches nothing.
 *
 * What comes from guests and servers is escaped and set apart (bdi), so that no name can pass for anything else.
 * Numbers and times stand in `data` and `time` elements with their exact values: programs may read the page. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "api/internal.h"
#include "api/report.h"

#define MAX_PAGE (16 * MIB)

static const char style[] =
    ":root{color-scheme:light}"
    "body{font:14px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;"
    "color:#1f1f1f;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1.5rem}"
    "h1{font-size:1.6rem;margin:0 0 .25rem;overflow-wrap:anywhere}"
    "h2{font-size:1.05rem;margin:1.75rem 0 .5rem;border-bottom:1px solid "
    "#d0d0d0;padding-bottom:.2rem}"
    "p{margin:.25rem 0}table+p{margin-top:1.5rem}"
    ".good,.bad,.open{font-weight:600}.good{color:#1a6b2d}.bad{color:#a8071a}.open{color:#6b4e00}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #ececec;white-space:nowrap}"
    ".text,.facts td{white-space:normal;overflow-wrap:anywhere}"
    "thead th{font-size:.85rem;color:#555;border-bottom-color:#b8b8b8}"
    ".facts th{width:13rem;font-weight:400;color:#555;white-space:normal}"
    ".number{text-align:right}"
    ".muted{color:#555}"
    "article+article{margin-top:4rem}"
    "@page{size:A4;margin:16mm 14mm}"
    "@media print{body{font-size:10pt;max-width:none;margin:0;padding:0}"
    "h2{break-after:avoid}tr,li{break-inside:avoid}thead{display:table-header-group}"
    "article+article{break-before:page;margin-top:0}}";

const char *
api_report_style(void)
{
    static _Thread_local char text[64];
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char base64[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];

    SHA256((const unsigned char *)style, sizeof(style) - 1, digest);
    EVP_EncodeBlock(base64, digest, sizeof(digest));
    snprintf(text, sizeof(text), "sha256-%s", (const char *)base64);
    return text;
}

/* ---- values -------------------------------------------------------------------------------------- */

/* A WORD stays on one line; TEXT is broken anywhere. */
enum kind { TEXT, WORD, STAGE, COUNT, BYTES, DURATION, TIME, FLAG };

static void
put_escaped(struct str *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        const char *entity = *c == '&'    ? "&amp;"
                             : *c == '<'  ? "&lt;"
                             : *c == '>'  ? "&gt;"
                             : *c == '"'  ? "&quot;"
                             : *c == '\'' ? "&#39;"
                             : ((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f
                                 ? "&#xfffd;"
                                 : NULL;

        if (entity)
            str_append(out, entity);
        else
            str_append_bytes(out, c, 1);
    }
}

static void
put_foreign(struct str *out, const char *text)
{
    str_append(out, "<bdi>");
    put_escaped(out, text);
    str_append(out, "</bdi>");
}

static void
put_bytes(struct str *out, json_int_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    str_appendf(out, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void
put_duration(struct str *out, json_int_t ms)
{
    long long seconds = ms / 1000;

    if (ms < 1000)
        str_appendf(out, "%lld ms", (long long)ms);
    else if (seconds < 60)
        str_appendf(out, "%.1f s", (double)ms / 1000);
    else if (seconds < 3600)
        str_appendf(out, "%lld min %02lld s", seconds / 60, seconds % 60);
    else
        str_appendf(out, "%lld h %02lld min %02lld s", seconds / 3600, seconds / 60 % 60,
                    seconds % 60);
}

static void
put_number(struct str *out, json_int_t number, enum kind kind)
{
    str_appendf(out, "<data value=\"%" JSON_INTEGER_FORMAT "\">", number);
    if (kind == BYTES)
        put_bytes(out, number);
    else if (kind == DURATION)
        put_duration(out, number);
    else
        str_appendf(out, "%" JSON_INTEGER_FORMAT, number);
    str_append(out, "</data>");
}

/* "2026-01-02T03:04:05Z" */
static void
put_time(struct str *out, const char *text)
{
    str_append(out, "<time datetime=\"");
    put_escaped(out, text);
    str_append(out, "\">");
    if (strlen(text) == 20)
        str_appendf(out, "%.10s %.8s UTC", text, text + 11);
    else
        put_escaped(out, text);
    str_append(out, "</time>");
}

/* "import_root_disk" as people say it. */
static void
put_stage(struct str *out, const char *text)
{
    CLEANUP(free_charp) char *words = xstrdup(text);

    for (char *c = words; *c; c++)
        if (*c == '_')
            *c = ' ';
    str_append(out, "<data value=\"");
    put_escaped(out, text);
    str_append(out, "\">");
    put_escaped(out, words);
    str_append(out, "</data>");
}

static void
put_value(struct str *out, const json_t *value, enum kind kind)
{
    const char *text = json_string_value(value);

    if (text && kind == TIME)
        put_time(out, text);
    else if (text && kind == STAGE)
        put_stage(out, text);
    else if (text && *text)
        put_foreign(out, text);
    else if (json_is_integer(value))
        put_number(out, json_integer_value(value), kind);
    else if (json_is_boolean(value))
        str_append(out, json_is_true(value) ? "yes" : "no");
    else
        str_append(out, "–");
}

/* ---- tables -------------------------------------------------------------------------------------- */

struct column {
    const char *title, *member;
    enum kind kind;
};

static const char *
class_of(enum kind kind)
{
    return kind == COUNT || kind == BYTES || kind == DURATION ? " class=\"number\""
           : kind == TEXT                                     ? " class=\"text\""
                                                              : "";
}

static void
put_row(struct str *out, const json_t *row, const struct column *columns, size_t count)
{
    str_append(out, "<tr>");
    for (size_t c = 0; c < count; c++) {
        str_appendf(out, "<td%s>", class_of(columns[c].kind));
        put_value(out, json_object_get(row, columns[c].member), columns[c].kind);
        str_append(out, "</td>");
    }
    str_append(out, "</tr>\n");
}

/* Nothing where there are no rows. */
static void
put_table(struct str *out, const char *title, const char *class, const json_t *rows,
          const struct column *columns, size_t count)
{
    if (!json_array_size(rows))
        return;
    str_appendf(out, "<h2>%s</h2>\n<table class=\"%s\">\n<thead><tr>", title, class);
    for (size_t c = 0; c < count; c++)
        str_appendf(out, "<th scope=\"col\"%s>%s</th>", class_of(columns[c].kind),
                    columns[c].title);
    str_append(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < json_array_size(rows); i++)
        put_row(out, json_array_get(rows, i), columns, count);
    str_append(out, "</tbody>\n</table>\n");
}

struct fact {
    const char *title, *section, *member;
    enum kind kind;
};

static const json_t *
find_fact(const json_t *report, const struct fact *fact)
{
    return json_object_get(fact->section ? json_object_get(report, fact->section) : report,
                           fact->member);
}

static void
put_facts(struct str *out, const char *title, const json_t *report, const struct fact *facts,
          size_t count)
{
    bool has_any = false;

    for (size_t i = 0; i < count; i++)
        has_any |= !json_is_null(find_fact(report, &facts[i])) && find_fact(report, &facts[i]);
    if (!has_any)
        return;
    str_appendf(out, "<h2>%s</h2>\n<table class=\"facts\">\n<tbody>\n", title);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = find_fact(report, &facts[i]);

        if (!value || json_is_null(value))
            continue;
        str_appendf(out, "<tr><th scope=\"row\">%s</th><td class=\"%s-%s\">", facts[i].title,
                    facts[i].section ? facts[i].section : "report", facts[i].member);
        put_value(out, value, facts[i].kind);
        str_append(out, "</td></tr>\n");
    }
    str_append(out, "</tbody>\n</table>\n");
}

/* ---- sections ------------------------------------------------------------------------------------ */

static const struct fact what[] = {
    {"VM", "vm", "name", TEXT},
    {"Managed object", "vm", "moref", TEXT},
    {"Instance UUID", "vm", "instance_uuid", TEXT},
    {"BIOS UUID", "vm", "bios_uuid", TEXT},
    {"From vCenter", "source", "vcenter", TEXT},
    {"Datacenter", "source", "datacenter", TEXT},
    {"ESXi host", "source", "host", TEXT},
    {"To CloudStack VM", "target", "vm_id", TEXT},
    {"Zone", "target", "zone_id", TEXT},
    {"Cluster", "target", "cluster_id", TEXT},
    {"Primary storage", "target", "storage_id", TEXT},
    {"Network", "target", "network_id", TEXT},
    {"Service offering", "target", "service_offering_id", TEXT},
    {"Account", "target", "account", TEXT},
    {"Domain", "target", "domain_id", TEXT},
    {"Project", "target", "project_id", TEXT},
    {"State and log in", "vm", "directory", TEXT},
};
static const struct fact result[] = {
    {"Begun", NULL, "created_at", TIME},
    {"Source powered off", "summary", "powered_off_at", TIME},
    {"Imported", "summary", "imported_at", TIME},
    {"Started in CloudStack", NULL, "started_at", TIME},
    {"The VM was down", "summary", "downtime_ms", DURATION},
    {"Copied by base copies", "summary", "copied_bytes", BYTES},
    {"Delta rounds, with the last", "summary", "delta_rounds", COUNT},
    {"Read back and compared", "summary", "verified_bytes", BYTES},
    {"Blocks that differed, and were repaired", "summary", "mismatched_blocks", COUNT},
};
static const struct fact job[] = {
    {"Job", "job", "id", TEXT},
    {"Kind", "job", "kind", TEXT},
    {"State", "job", "state", TEXT},
    {"Wave", "job", "wave", TEXT},
    {"Asked for by", "job", "created_by", TEXT},
    {"Asked for", "job", "created_at", TIME},
    {"Begun", "job", "started_at", TIME},
    {"Ended", "job", "finished_at", TIME},
};
static const struct column disks[] = {
    {"Disk", "name", WORD},
    {"Place", "address", WORD},
    {"Boot", "boot", FLAG},
    {"Size", "bytes", BYTES},
    {"Base copy", "base_bytes", BYTES},
    {"Took", "base_ms", DURATION},
    {"Verified", "verified_bytes", BYTES},
    {"Differed", "mismatched_blocks", COUNT},
};
static const struct column files[] = {
    {"Disk", "name", WORD},        {"Source", "source_path", TEXT},
    {"File", "path", TEXT},        {"Primary storage", "storage_id", TEXT},
    {"Volume", "volume_id", TEXT},
};
static const struct column stages[] = {
    {"Stage", "stage", STAGE}, {"Began", "at", TIME}, {"Took", "ms", DURATION}};
static const struct column rounds[] = {
    {"Round", "number", COUNT},          {"Began", "began_at", TIME},
    {"Changed", "changed_bytes", BYTES}, {"Copied in", "copy_ms", DURATION},
    {"Took", "total_ms", DURATION},
};
static const struct column people[] = {
    {"When", "at", TIME}, {"Who", "user", WORD}, {"What", "action", WORD}, {"Job", "job_id", TEXT}};
static const struct column notes[] = {
    {"When", "at", TIME}, {"Kind", "kind", WORD}, {"What", "text", TEXT}};
static const struct column findings[] = {{"VM", "vm", TEXT},
                                         {"Result", "level", WORD},
                                         {"Check", "code", WORD},
                                         {"What", "text", TEXT},
                                         {"Cure", "hint", TEXT}};

static const char *
name_of(const json_t *report)
{
    const char *name = json_string_value(json_object_get(json_object_get(report, "vm"), "name"));

    if (!name)
        name = json_string_value(json_object_get(json_object_get(report, "job"), "vm_name"));
    return name ? name : "";
}

static void
put_error(struct str *out, const json_t *error)
{
    const char *members[] = {"detail", "code", "hint"};

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const char *text = json_string_value(json_object_get(error, members[i]));

        if (!text)
            continue;
        str_appendf(out, "<p class=\"error-%s%s\">", members[i], i ? " muted" : "");
        put_foreign(out, text);
        str_append(out, "</p>\n");
    }
}

/* What the job says, else what its migration says. */
static void
put_outcome(struct str *out, const json_t *report)
{
    const json_t *about = json_object_get(report, "job");
    const json_t *error = json_object_get(about ? about : report, "error");
    const char *stage = json_string_value(json_object_get(report, "stage"));
    const char *state = json_string_value(json_object_get(about, "state"));
    const char *class = "open", *text = state;

    if (!state)
        text = !stage                          ? "nothing is known of it"
               : !strcmp(stage, "done")        ? "completed"
               : !strcmp(stage, "rolled_back") ? "rolled back"
               : json_is_object(error)         ? "failed"
                                               : "not at its end";
    if (!strcmp(text, "completed"))
        class = "good";
    else if (!strcmp(text, "failed"))
        class = "bad";
    str_appendf(out, "<p><span class=\"%s outcome\">%s</span>", class, text);
    if (stage) {
        str_append(out, "<span class=\"muted\">, stage ");
        put_stage(out, stage);
        str_append(out, "</span>");
    }
    str_append(out, "</p>\n");
    put_error(out, error);
}

#define TABLE(title, class, array, member)                                                         \
    put_table(out, title, class, json_object_get(report, member), array, ARRAY_SIZE(array))

static void
put_report(struct str *out, const json_t *report)
{
    const char *kind = json_string_value(json_object_get(json_object_get(report, "job"), "kind"));

    str_appendf(out, "<article>\n<h1>%s of ",
                !kind || !strcmp(kind, "migrate") ? "Migration"
                : !strcmp(kind, "check")          ? "Check"
                : !strcmp(kind, "rehearse")       ? "Rehearsal"
                : !strcmp(kind, "cancel")         ? "Cancel"
                                                  : "Rollback");
    put_foreign(out, name_of(report));
    str_append(out, "</h1>\n");
    put_outcome(out, report);
    put_facts(out, "What was moved", report, what, ARRAY_SIZE(what));
    put_facts(out, "How it went", report, result, ARRAY_SIZE(result));
    TABLE("Disks", "disks", disks, "disks");
    TABLE("Files", "files", files, "disks");
    TABLE("Findings", "findings", findings, "findings");
    TABLE("Stages", "stages", stages, "stages");
    TABLE("Delta rounds", "rounds", rounds, "rounds");
    TABLE("Warnings, errors and other notes", "notes", notes, "notes");
    TABLE("Who did what", "people", people, "people");
    put_facts(out, "Job", report, job, ARRAY_SIZE(job));
    str_append(out, "<p class=\"muted\">Written by v2c-engine ");
    put_escaped(out, json_string_value(json_object_get(report, "version")));
    str_append(out, " at ");
    put_value(out, json_object_get(report, "generated_at"), TIME);
    str_append(out, ". Times are UTC.</p>\n</article>\n");
}

int
api_report_page(const struct json_t *report, char **ret_page, struct err **err)
{
    struct str out = STR_INIT(MAX_PAGE);
    size_t count = json_is_array(report) ? json_array_size(report) : 1;
    int rc;

    str_append(&out,
               "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Migration of ");
    put_escaped(&out, name_of(json_is_array(report) ? json_array_get(report, 0) : report));
    if (count > 1)
        str_appendf(&out, " and %zu more", count - 1);
    str_append(&out, "</title>\n<style>");
    str_append(&out, style);
    str_append(&out, "</style>\n</head>\n<body>\n");
    for (size_t i = 0; i < count; i++)
        put_report(&out, json_is_array(report) ? json_array_get(report, i) : report);
    str_append(&out, "</body>\n</html>\n");
    rc = str_check(&out, "the report", err);
    if (rc == 0)
        *ret_page = str_take(&out);
    str_done(&out);
    return rc;
}
