#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "config/config.h"
#include "config/mark_source.h"
#include "config/values.h"
#include "config/vddk.h"

#define MAX_YAML_BYTES ((size_t)4 * MIB)

/* Double-quoted always: what looks like a number or a flag stays text. */
static void
append_quoted(struct str *s, const char *text)
{
    str_append(s, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            str_append(s, "\\");
        str_append_bytes(s, text, 1);
    }
    str_append(s, "\"");
}

static void
append_text(struct str *s, int indent, const char *key, const char *text)
{
    if (!text)
        return;
    str_appendf(s, "%*s%s: ", indent, "", key);
    append_quoted(s, text);
    str_append(s, "\n");
}

static void
append_int(struct str *s, const char *key, int64_t value)
{
    str_appendf(s, "  %s: %" PRId64 "\n", key, value);
}

static void
append_flag(struct str *s, const char *key, bool value)
{
    str_appendf(s, "  %s: %s\n", key, value ? "true" : "false");
}

static void
append_migration(struct str *s, const struct spec *spec)
{
    str_append(s, "migration:\n");
    append_int(s, "delta_interval", spec->delta_interval);
    append_int(s, "finalize_delta_interval", spec->finalize_delta_interval);
    append_int(s, "finalize_window", spec->finalize_window);
    if (spec->finalize_at) {
        char at[32];

        clock_format_utc(spec->finalize_at, at);
        if (spec->finalize_at_was_zoneless)
            at[strcspn(at, "Z")] = '\0';
        append_text(s, 2, "finalize_at", at);
    }
    if (spec->finalize_settle_seconds > 0)
        append_int(s, "finalize_settle_seconds", spec->finalize_settle_seconds);
    if (spec->cutover_max_downtime)
        append_int(s, "cutover_max_downtime", spec->cutover_max_downtime);
    append_int(s, "readers", spec->readers);
    append_int(s, "parallel_disks", spec->parallel_disks);
    append_flag(s, "run_virt_v2v", spec->run_virt_v2v);
    append_text(s, 2, "snapshot_quiesce", quiesce_word(spec->quiesce));
    append_text(s, 2, "shutdown_mode", shutdown_word(spec->shutdown));
    append_text(s, 2, "verify", verify_word(spec->verify));
    append_text(s, 2, "extents", extents_word(spec->extents));
    append_text(s, 2, "on_failure", on_failure_word(spec->on_failure));
    append_text(s, 2, "import_method", import_word(spec->import_method));
    append_flag(s, "start_vm_after_import", spec->start_vm_after_import);
    if (spec->bandwidth.text[0])
        append_text(s, 2, "bandwidth_limit", spec->bandwidth.text);
    mark_source_append_yaml(s, &spec->mark_source);
    vddk_append_yaml(s, &spec->vddk);
}

static void
append_nic(struct str *s, const struct spec_nic *nic)
{
    str_append(s, "      ");
    append_quoted(s, nic->key);
    str_append(s, ":\n");
    append_text(s, 8, "source_label", nic->source_label);
    append_text(s, 8, "source_network", nic->source_network);
    append_text(s, 8, "source_mac", nic->source_mac);
    str_appendf(s, "        source_device_key: %" PRId64 "\n", nic->source_device_key);
    str_appendf(s, "        source_index: %" PRId64 "\n", nic->source_index);
    append_text(s, 8, "networkid", nic->network_id);
    append_text(s, 8, "ip", nic->ip);
}

static void
append_target(struct str *s, const struct spec *spec)
{
    struct config_target target = spec->target; /* borrows its strings */

    str_append(s, "target:\n  cloudstack:\n");
    for (size_t i = 0; i < target_field_count; i++)
        append_text(s, 4, target_fields[i].key, *target_value(&target, &target_fields[i]));
    if (spec->nics.count)
        str_append(s, "    nic_mappings:\n");
    for (size_t i = 0; i < spec->nics.count; i++)
        append_nic(s, &spec->nics.items[i]);
}

static void
append_disk(struct str *s, int indent, const struct spec_disk *disk)
{
    if (disk->by == SPEC_DISK_BY_ADDRESS)
        str_appendf(s, "%*s\"%s\":", indent, "", disk->address);
    else
        str_appendf(s, "%*s\"%" PRId32 "\":", indent, "", disk->number);
    str_append(s, disk->storage_id || disk->disk_offering_id ? "\n" : " {}\n");
    append_text(s, indent + 2, "storageid", disk->storage_id);
    append_text(s, indent + 2, "diskofferingid", disk->disk_offering_id);
}

/* Disks that the VM need not have stay among the defaults. */
static void
append_disks(struct str *s, const struct spec *spec, bool is_default)
{
    bool is_begun = false;

    for (size_t i = 0; i < spec->disks.count; i++) {
        if (spec->disks.items[i].is_default != is_default)
            continue;
        if (!is_begun)
            str_append(s, is_default ? "defaults:\n  disks:\n" : "disks:\n");
        is_begun = true;
        append_disk(s, is_default ? 4 : 2, &spec->disks.items[i]);
    }
}

char *
spec_to_yaml(const struct spec *spec)
{
    struct str s = STR_INIT(MAX_YAML_BYTES);

    str_append(&s, "vm:\n");
    append_text(&s, 2, "name", spec->vm.name);
    append_text(&s, 2, "moref", spec->vm.moref);
    append_text(&s, 2, "uuid", spec->vm.uuid);
    append_text(&s, 2, "datacenter", spec->vm.datacenter);
    append_migration(&s, spec);
    append_target(&s, spec);
    append_disks(&s, spec, false);
    append_disks(&s, spec, true);
    return str_take(&s);
}
