#include "config/spec_parts.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "config/mark_source.h"
#include "config/values.h"
#include "config/vddk.h"

void
spec_parts_init(struct spec_parts *parts)
{
    *parts = (struct spec_parts){
        .finalize_settle_seconds = -1,
        .run_virt_v2v = -1,
        .start_vm_after_import = -1,
        .quiesce = -1,
        .verify = -1,
        .shutdown = -1,
        .extents = -1,
        .on_failure = -1,
        .import_method = -1,
        .mark_source = CONFIG_MARK_UNSET,
        .vddk = CONFIG_VDDK_UNSET,
    };
}

void
spec_parts_done(struct spec_parts *parts)
{
    target_done(&parts->target);
    spec_nics_done(&parts->nics);
    spec_disks_done(&parts->disks);
}

static void
decode_finalize_at(const struct node *map, struct spec_parts *parts, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    int64_t at;
    int had_zone;

    decode_text(map, "finalize_at", &text, problems);
    if (!text)
        return;
    if (clock_parse_time(text, &at, &had_zone, &err) < 0) {
        problems_add(problems, node_get(map, "finalize_at"), "%s", err_message(err));
        return;
    }
    if (at <= 0) {
        problems_add(problems, node_get(map, "finalize_at"), "expected a time after 1970");
        return;
    }
    parts->finalize_at = at;
    parts->finalize_at_was_zoneless = !had_zone;
}

static void
decode_migration(const struct node *map, struct spec_parts *parts, struct problems *problems)
{
    static const char *const keys[] = {"delta_interval",
                                       "finalize_delta_interval",
                                       "finalize_window",
                                       "finalize_at",
                                       "readers",
                                       "finalize_settle_seconds",
                                       "cutover_max_downtime",
                                       "run_virt_v2v",
                                       "snapshot_quiesce",
                                       "shutdown_mode",
                                       "parallel_disks",
                                       "start_vm_after_import",
                                       "import_method",
                                       "bandwidth_limit",
                                       "verify",
                                       "extents",
                                       "on_failure",
                                       "vddk",
                                       "mark_source",
                                       NULL};

    node_check_keys(map, keys, problems);
    decode_interval(map, "delta_interval", &parts->delta_interval, problems);
    decode_interval(map, "finalize_delta_interval", &parts->finalize_delta_interval, problems);
    decode_interval(map, "finalize_window", &parts->finalize_window, problems);
    decode_interval(map, "finalize_settle_seconds", &parts->finalize_settle_seconds, problems);
    decode_interval(map, "cutover_max_downtime", &parts->cutover_max_downtime, problems);
    decode_finalize_at(map, parts, problems);
    decode_count(map, "readers", READERS_MAX, &parts->readers, problems);
    decode_count(map, "parallel_disks", PARALLEL_DISKS_MAX, &parts->parallel_disks, problems);
    decode_flag(map, "run_virt_v2v", &parts->run_virt_v2v, problems);
    decode_flag(map, "start_vm_after_import", &parts->start_vm_after_import, problems);
    decode_quiesce(map, &parts->quiesce, problems);
    decode_shutdown(map, &parts->shutdown, problems);
    decode_extents(map, &parts->extents, problems);
    decode_on_failure(map, &parts->on_failure, problems);
    decode_import(map, &parts->import_method, problems);
    decode_rates(map, "bandwidth_limit", &parts->bandwidth, problems);
    decode_verify(map, &parts->verify, problems);
    vddk_decode(map, &parts->vddk, problems);
    mark_source_decode(map, &parts->mark_source, problems);
}

void
spec_parts_decode(const struct node *entry, struct spec_parts *parts, struct problems *problems)
{
    static const char *const target_kinds[] = {"cloudstack", NULL};
    const struct node *target = node_decode_map(entry, "target", problems);
    const struct node *cloudstack = node_decode_map(target, "cloudstack", problems);
    const struct node *nics = node_decode_map(cloudstack, "nic_mappings", problems);

    decode_migration(node_decode_map(entry, "migration", problems), parts, problems);
    node_check_keys(target, target_kinds, problems);
    node_check_keys(cloudstack, target_keys(true), problems);
    target_decode(cloudstack, &parts->target, problems);
    parts->has_nics = nics && node_count(nics) > 0;
    spec_nics_decode(nics, &parts->nics, problems);
    spec_disks_decode(node_decode_map(entry, "disks", problems), &parts->disks, problems);
}
