/* What others see of a migration: the log, the supervisor's report lines, the store's progress rows
 * and state.json in the existing tool's field names. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "migration/internal.h"

#define MIRROR_MS       2000
#define LOG_PROGRESS_MS 10000

/* A line that cannot be delivered is lost: the supervisor has gone, and the worker stops soon. */
static void
report(const struct migration *m, json_t *object)
{
    if (m->options->report_fd >= 0) {
        CLEANUP(free_charp) char *text = json_dumps(object, JSON_COMPACT);
        CLEANUP(free_charp) char *line = xasprintf("%s\n", text ? text : "{}");

        if (write(m->options->report_fd, line, strlen(line)) < 0)
            log_debug("the supervisor does not read any more");
    }
    json_decref(object);
}

void
migration_log(struct migration *m, enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    CLEANUP(free_charp) char *text = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    log_write(level, "%s", text);
    if (level > LOG_DEBUG)
        report(m, json_pack("{s:s, s:s, s:o}", "type", "log", "level", names[level], "text",
                            json_text(text)));
    if (level >= LOG_WARNING && m->store && m->record.id)
        (void)store_event_add(m->store, m->record.id, names[level], text, NULL);
}

int
migration_save(struct migration *m, struct err **err)
{
    m->record.updated_at = clock_wall_s();
    return store_migration_save(m->store, &m->record, &m->disks, err);
}

int
migration_enter(struct migration *m, enum store_stage stage, struct err **err)
{
    enum store_stage before = m->record.stage;

    m->record.stage = stage;
    if (migration_save(m, err) < 0) {
        m->record.stage = before;
        return -1;
    }
    migration_time_stage(m, before);
    migration_log(m, LOG_INFO, "Stage: %s", store_stage_name(stage));
    (void)store_event_add(m->store, m->record.id, "stage", store_stage_name(stage), NULL);
    report(m, json_pack("{s:s, s:s}", "type", "stage", "stage", store_stage_name(stage)));
    migration_mirror(m);
    return 0;
}

/* ---- state.json ------------------------------------------------------------------------------- */

static void
put_text(json_t *object, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new(object, key, json_text(text));
}

static void
put_number(json_t *object, const char *key, uint64_t number)
{
    if (number)
        json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void
put_true(json_t *object, const char *key, bool value)
{
    if (value)
        json_object_set_new(object, key, json_true());
}

static json_t *
disk_json(const struct migration *m, size_t index)
{
    const struct store_disk *disk = &m->disks.items[index];
    const struct store_progress *p = &m->progress[index];
    json_t *object = json_object();

    json_object_set_new(object, "key", json_integer(disk->device_key));
    json_object_set_new(object, "unit", json_integer(disk->unit));
    json_object_set_new(object, "capacity", json_integer((json_int_t)disk->capacity));
    json_object_set_new(object, "target_qcow2",
                        json_text(disk->target_path ? disk->target_path : ""));
    json_object_set_new(object, "source_disk_path",
                        json_text(disk->source_path ? disk->source_path : ""));
    json_object_set_new(object, "change_id", json_text(disk->change_id ? disk->change_id : ""));
    put_text(object, "address", disk->address);
    put_text(object, "storage_id", disk->storage_id);
    put_text(object, "disk_offering_id", disk->disk_offering_id);
    put_text(object, "volume_id", disk->volume_id);
    put_text(object, "attached_to_vm_id", disk->attached_to_vm_id);
    put_text(object, "stage", p->stage);
    if (p->percent > 0) {
        json_object_set_new(object, "progress", json_real(p->percent));
        json_object_set_new(object, "qemu_progress", json_real(p->percent));
    }
    put_number(object, "bytes_read", p->read_bytes);
    put_number(object, "bytes_written", p->written_bytes);
    put_number(object, "copied_bytes", p->written_bytes);
    put_number(object, "bytes_zero_skipped", p->zero_bytes);
    if (p->rate_bytes_per_s)
        json_object_set_new(object, "speed_mbps",
                            json_real((double)p->rate_bytes_per_s / (double)MIB));
    if (p->eta_s > 0)
        json_object_set_new(object, "eta_seconds", json_integer(p->eta_s));
    put_true(object, "base_copied", disk->is_base_copied);
    put_number(object, "delta_rounds", (uint64_t)disk->delta_rounds);
    put_number(object, "base_bytes", disk->base_bytes);
    put_number(object, "base_ms", disk->base_ms);
    put_number(object, "verified_bytes", disk->verified_bytes);
    put_number(object, "mismatched_blocks", disk->mismatched_blocks);
    return object;
}

static double
mean_percent(const struct migration *m)
{
    double sum = 0;

    for (size_t i = 0; i < m->disks.count; i++)
        sum += m->progress[i].percent;
    return m->disks.count ? sum / (double)m->disks.count : 0;
}

static void
put_totals(const struct migration *m, json_t *object)
{
    double percent = m->record.stage == STAGE_DONE ? 100.0 : mean_percent(m);
    uint64_t rate = 0;

    for (size_t i = 0; i < m->disks.count; i++)
        rate += m->progress[i].rate_bytes_per_s;
    if (percent > 0)
        json_object_set_new(object, "progress", json_real((double)(int64_t)(percent * 100) / 100));
    if (rate)
        json_object_set_new(object, "transfer_speed_mbps", json_real((double)rate / (double)MIB));
}

json_t *
migration_state_json(const struct migration *m)
{
    const struct store_migration *r = &m->record;
    json_t *object = json_object();
    json_t *disks = json_object();
    char stamp[32];

    json_object_set_new(object, "vm_name", json_text(r->vm_name));
    json_object_set_new(object, "vm_moref", json_text(r->vm_moref));
    json_object_set_new(object, "migration_id", json_text(r->migration_id));
    json_object_set_new(object, "stage", json_string(store_stage_name(r->stage)));
    json_object_set_new(object, "active_snapshot",
                        json_text(r->active_snapshot ? r->active_snapshot : ""));
    for (size_t i = 0; i < m->disks.count; i++)
        json_object_set_new(disks, m->disks.items[i].key, disk_json(m, i));
    json_object_set_new(object, "disks", disks);
    put_text(object, "cloudstack_vm_id", r->cloudstack_vm_id);
    put_true(object, "cloudstack_configured", r->is_cloudstack_configured);
    put_true(object, "cloudstack_started", r->is_cloudstack_started);
    put_true(object, "virt_v2v_done", r->is_virt_v2v_done);
    put_true(object, "shutdown_action_required", r->is_shutdown_action_required);
    put_text(object, "shutdown_reason", r->shutdown_reason);
    put_text(object, "shutdown_tools_status", r->shutdown_tools_status);
    put_totals(m, object);
    put_true(object, "paused", m->is_pause_told);
    put_number(object, "delta_rounds", (uint64_t)r->delta_rounds);
    if (r->stage == STAGE_DELTA)
        put_number(object, "predicted_downtime_seconds", (uint64_t)(m->hold.total_ms + 999) / 1000);
    put_text(object, "last_error", r->last_error);
    clock_format_utc(r->updated_at, stamp);
    json_object_set_new(object, "updated_at", json_string(stamp));
    return object;
}

void
migration_mirror(struct migration *m)
{
    CLEANUP(free_charp) char *path = file_join(m->record.directory, "state.json");
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    json_t *object = migration_state_json(m);

    text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(object);
    if (!text || file_replace(path, text, strlen(text), 0644, &failure) < 0)
        log_warning("%s is not up to date: %s", path, err_message(failure));
    m->mirrored_ms = clock_monotonic_ms();
}

/* ---- progress --------------------------------------------------------------------------------- */

static void
log_progress(struct migration *m, bool is_last)
{
    double percent = mean_percent(m);
    int64_t now = clock_monotonic_ms();
    bool is_due = now - m->last_logged_ms >= LOG_PROGRESS_MS ||
                  percent >= m->last_logged_percent + 5 || percent < m->last_logged_percent;

    if (!is_last && !is_due)
        return;
    m->last_logged_ms = now;
    m->last_logged_percent = percent;
    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_progress *p = &m->progress[i];

        if (p->planned_bytes)
            log_info("[%s] %s progress=%.2f%% read=%" PRIu64 " written=%" PRIu64
                     " zero_skipped=%" PRIu64 " speed=%.2fMB/s eta=%" PRId64 "s",
                     m->disks.items[i].name, p->stage, p->percent, p->read_bytes, p->written_bytes,
                     p->zero_bytes, (double)p->rate_bytes_per_s / 1e6, p->eta_s);
    }
}

static void
report_disks(const struct migration *m)
{
    json_t *disks = json_array();

    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_progress *p = &m->progress[i];

        json_array_append_new(
            disks,
            json_pack("{s:o, s:s, s:f, s:I, s:I, s:I, s:I}", "name",
                      json_text(m->disks.items[i].name), "stage", p->stage, "percent", p->percent,
                      "read", (json_int_t)p->read_bytes, "planned", (json_int_t)p->planned_bytes,
                      "rate", (json_int_t)p->rate_bytes_per_s, "eta", (json_int_t)p->eta_s));
    }
    report(m, json_pack("{s:s, s:o}", "type", "progress", "disks", disks));
}

void
migration_report_progress(struct migration *m, bool is_last)
{
    log_progress(m, is_last);
    report_disks(m);
    if (!is_last && clock_monotonic_ms() - m->mirrored_ms < MIRROR_MS)
        return;
    for (size_t i = 0; i < m->disks.count; i++)
        (void)store_progress_save(m->store, m->disks.items[i].id, &m->progress[i], NULL);
    migration_mirror(m);
}

void
migration_report_vm(struct migration *m)
{
    const char *host = m->vm.host_name, *uuid = vsphere_server_uuid(m->vsphere);

    report(m,
           json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:s}", "type", "vm", "migration_id",
                     json_text(m->record.migration_id), "migration", (json_int_t)m->record.id,
                     "name", json_text(m->record.vm_name), "moref", json_text(m->record.vm_moref),
                     "vcenter_uuid", json_text(uuid ? uuid : ""), "host",
                     json_text(host ? host : ""), "stage", store_stage_name(m->record.stage)));
}

void
migration_report_pause(struct migration *m, bool is_paused)
{
    m->is_pause_told = is_paused;
    (void)store_event_add(m->store, m->record.id, is_paused ? "paused" : "resumed",
                          store_stage_name(m->record.stage), NULL);
    report(m, json_pack("{s:s, s:b}", "type", "pause", "paused", is_paused));
    migration_mirror(m);
}

void
migration_report_error(struct migration *m, const struct err *error)
{
    const char *hint = err_hint_text(error);

    report(m, json_pack("{s:{s:s, s:o, s:o}}", "error", "code", err_code_name(err_code(error)),
                        "message", json_text(err_message(error)), "hint",
                        json_text(hint ? hint : "")));
}

void
migration_report_summary(struct migration *m)
{
    uint64_t bytes = 0, ms = 0;

    for (size_t i = 0; i < m->disks.count; i++) {
        bytes += m->disks.items[i].base_bytes;
        ms = MAX(ms, m->disks.items[i].base_ms);
    }
    report(m, json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "type", "summary", "base_bytes",
                        (json_int_t)bytes, "base_ms", (json_int_t)ms, "delta_rounds",
                        (json_int_t)m->record.delta_rounds, "powered_off_at",
                        (json_int_t)m->record.powered_off_at, "cloudstack_vm_id",
                        json_text(m->record.cloudstack_vm_id ? m->record.cloudstack_vm_id : "")));
    migration_log(m, LOG_INFO, "Workflow completed successfully");
}
