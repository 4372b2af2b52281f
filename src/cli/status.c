#include "cli/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "base/text.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/text.h"

/* ---- text ------------------------------------------------------------------------------------- */

static void
append_disk(struct str *out, const struct store_disk *disk, const struct store_progress *p,
            bool is_running)
{
    str_appendf(out, "  %-10s %-10s %6.2f%%", disk->name, p->stage, p->percent);
    if (p->planned_bytes) {
        str_append(out, "  ");
        text_append_bytes(out, p->read_bytes);
        str_append(out, " of ");
        text_append_bytes(out, p->planned_bytes);
    }
    if (is_running && p->rate_bytes_per_s && p->percent < 100) {
        str_append(out, "  ");
        text_append_rate(out, p->rate_bytes_per_s);
        str_append(out, "  ETA ");
        text_append_duration(out, p->eta_s);
    }
    str_append(out, "\n");
}

static void
append_duration_ms(struct str *out, int64_t ms)
{
    text_append_duration(out, (ms + 999) / 1000);
}

/* What people plan an outage by. */
static void
append_downtime(struct str *out, const struct migration_downtime *d)
{
    const struct {
        const char *name;
        int64_t ms;
    } parts[] = {{"shutdown", d->shutdown_ms},
                 {"settle", d->settle_ms},
                 {"last sync", d->sync_ms},
                 {"conversion", d->convert_ms},
                 {"import", d->import_ms}};
    const char *before = "";

    if (!d->is_known)
        return;
    str_append(out, "  downtime if finalized now: about ");
    append_duration_ms(out, d->total_ms);
    str_append(out, " (");
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (parts[i].ms <= 0)
            continue;
        str_appendf(out, "%s%s ", before, parts[i].name);
        append_duration_ms(out, parts[i].ms);
        before = ", ";
    }
    str_append(out, "); with --now about ");
    append_duration_ms(out, d->total_now_ms);
    str_append(out, "\n");
    if (d->convert_ms < 0)
        str_append(out, "  and the conversion, of which nothing is known: see v2c-engine "
                        "rehearse\n");
    if (!d->max_ms)
        return;
    str_append(out, "  cutover_max_downtime ");
    append_duration_ms(out, d->max_ms);
    str_append(out, d->is_hopeless ? " will not be kept: raise it, or finalize --now\n"
                    : d->convert_ms >= 0 && d->total_now_ms <= d->max_ms
                        ? " would be kept\n"
                        : " would not be kept yet\n");
}

static void
append_view(struct str *out, const struct vm_view *view)
{
    const struct store_migration *r = &view->record;

    str_append(out, "[status] vm=");
    text_append_clean(out, view->name, 0);
    str_appendf(out,
                " moref=%s current=%s next=%s finalize_requested=%s finalize_now_requested=%s "
                "progress=%.2f%%\n",
                view->moref ? view->moref : "<nil>", view->stage, view->next,
                view->is_finalize_requested ? "true" : "false",
                view->is_finalize_now ? "true" : "false", view->percent);
    for (size_t i = 0; i < view->disks.count; i++)
        append_disk(out, &view->disks.items[i], &view->progress[i], view->is_running);
    if (r->id && !migration_is_over(r->stage))
        str_appendf(out, "  %s, delta rounds done: %" PRId64 "\n",
                    view->is_running ? "running" : "not running", r->delta_rounds);
    append_downtime(out, &view->downtime);
    if (view->is_paused)
        str_append(out, "  paused: `v2c-engine resume` goes on\n");
    if (view->no_space) {
        str_append(out, "  waits for space, and goes on by itself: ");
        text_append_clean(out, view->no_space, 0);
        str_append(out, "\n");
    }
    if (view->has_missed_finalize_at)
        str_append(out,
                   "  finalize_at has passed in a pause and is not acted on: request finalize\n");
    if (r->is_shutdown_action_required) {
        str_append(out, "  waits for you to shut the VM down: ");
        text_append_clean(out, r->shutdown_reason ? r->shutdown_reason : "", 0);
        str_append(out, "\n");
    }
    if (r->last_error) {
        str_appendf(out,
                    "  last error (%s): ", r->last_error_code ? r->last_error_code : "unknown");
        text_append_clean(out, r->last_error, 0);
        str_append(out, "\n");
    }
    if (view->is_foreign)
        str_append(out, "  begun by another tool: finish it there\n");
}

void
status_render_text(const struct vm_views *views, struct str *out)
{
    for (size_t i = 0; i < views->count; i++)
        append_view(out, &views->items[i]);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static double
two_decimals(double value)
{
    return (double)(int64_t)(value * 100 + 0.5) / 100;
}

static json_t *
disk_json(const struct store_disk *disk, const struct store_progress *p)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I}", "name", disk->name,
                     "address", disk->address ? disk->address : "", "stage", p->stage, "capacity",
                     (json_int_t)disk->capacity, "progress", two_decimals(p->percent),
                     "planned_bytes", (json_int_t)p->planned_bytes, "bytes_read",
                     (json_int_t)p->read_bytes, "bytes_per_second", (json_int_t)p->rate_bytes_per_s,
                     "eta_seconds", (json_int_t)p->eta_s, "delta_rounds",
                     (json_int_t)disk->delta_rounds);
}

/* Seconds; null where nothing is known. */
static json_t *
downtime_json(const struct migration_downtime *d)
{
    if (!d->is_known)
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:b}", "finalize",
                     (double)d->total_ms / 1000, "finalize_now", (double)d->total_now_ms / 1000,
                     "shutdown", (double)d->shutdown_ms / 1000, "settle",
                     (double)d->settle_ms / 1000, "sync", (double)d->sync_ms / 1000, "sync_now",
                     (double)d->sync_now_ms / 1000, "import", (double)d->import_ms / 1000,
                     "conversion",
                     d->convert_ms < 0 ? json_null() : json_real((double)d->convert_ms / 1000),
                     "max", d->max_ms ? json_real((double)d->max_ms / 1000) : json_null(),
                     "will_not_be_kept", d->is_hopeless);
}

static json_t *
view_json(const struct vm_view *view)
{
    const struct store_migration *r = &view->record;
    json_t *object = json_object();
    json_t *disks = json_array();

    json_object_set_new(object, "vm_name", json_text(view->name));
    json_object_set_new(object, "vm_moref", json_text(view->moref));
    json_object_set_new(object, "current_stage", json_text(view->stage));
    json_object_set_new(object, "next_stage", json_text(view->next));
    json_object_set_new(object, "finalize_requested", json_boolean(view->is_finalize_requested));
    json_object_set_new(object, "finalize_now_requested", json_boolean(view->is_finalize_now));
    json_object_set_new(object, "progress", json_real(two_decimals(view->percent)));
    json_object_set_new(object, "control_dir", json_text(view->directory));
    json_object_set_new(object, "state_file", json_text(view->state_file));

    json_object_set_new(object, "is_running", json_boolean(view->is_running));
    json_object_set_new(object, "paused", json_boolean(view->is_paused));
    json_object_set_new(object, "waits_for_space", json_text(view->no_space));
    json_object_set_new(object, "finalize_at_missed", json_boolean(view->has_missed_finalize_at));
    json_object_set_new(object, "migration_id", json_text(r->migration_id));
    json_object_set_new(object, "delta_rounds", json_integer((json_int_t)r->delta_rounds));
    json_object_set_new(object, "shutdown_action_required",
                        json_boolean(r->is_shutdown_action_required));
    json_object_set_new(object, "cloudstack_vm_id", json_text(r->cloudstack_vm_id));
    json_object_set_new(object, "last_error", json_text(r->last_error));
    json_object_set_new(object, "last_error_code", json_text(r->last_error_code));
    json_object_set_new(object, "predicted_downtime", downtime_json(&view->downtime));
    for (size_t i = 0; i < view->disks.count; i++)
        json_array_append_new(disks, disk_json(&view->disks.items[i], &view->progress[i]));
    json_object_set_new(object, "disks", disks);
    return object;
}

char *
status_render_json(const struct vm_views *views)
{
    json_t *array = json_array();
    char *text;

    for (size_t i = 0; i < views->count; i++)
        json_array_append_new(array, view_json(&views->items[i]));
    text = json_dumps(array, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(array);
    if (!text)
        abort(); /* out of memory: every string in it is UTF-8 that has been parsed */
    return text;
}

/* ---- command ---------------------------------------------------------------------------------- */

struct status_values {
    struct select_values select;
    bool json;
};

static const struct option_def status_options[] = {
    SELECT_OPTIONS(struct status_values, select),
    {"json", OPTION_BOOL, offsetof(struct status_values, json), NULL,
     "A JSON array instead of text."},
    OPTION_END,
};

static int
run_status(void *opaque, const struct words *words, struct err **err)
{
    const struct status_values *v = opaque;
    struct selection selection;

    if (select_vms(&v->select, words, &selection, err) < 0)
        return -1;
    if (v->json) {
        CLEANUP(free_charp) char *text = status_render_json(&selection.views);

        puts(text);
    } else {
        struct str text = STR_INIT(16 * MIB);

        status_render_text(&selection.views, &text);
        fputs(str_text(&text), stdout);
        str_done(&text);
    }
    selection_done(&selection);
    return 0;
}

const struct command command_status = {
    .name = "status",
    .words = "[SPEC...]",
    .summary = "show how far migrations are",
    .description =
        "Shows stage and progress of the VMs that the specs name; without a spec, of all "
        "that are recorded. While a VM is kept current with deltas it says how long the VM "
        "would be down if its cutover were asked for now, and what that is made of. It reads "
        "recorded state only, so it works whether or not a run is active.",
    .options = status_options,
    .values_size = sizeof(struct status_values),
    .run = run_status,
};
