/* Changed-block tracking: turning it on, and asking what has changed. */
#include "vsphere/internal.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/util.h"

/* A page is one element of some 130 bytes an area. */
#define MAX_PAGE_BYTES (512 * MIB)
#define MAX_PAGES      1000000
/* Areas kept; beyond it neighbours are merged over growing gaps, which copies more and loses none. */
#define MAX_AREAS      (1U << 20)
#define FIRST_GAP      (64 * KIB)
#define QUERY_TIMEOUT  10 /* times that of other calls: the host reads its whole map */

/* ---- turning it on ---- */

struct tracking {
    bool is_supported, is_enabled;
    struct str disabled; /* disks whose own key says no */
};

static void
tracking_done(struct tracking *tracking)
{
    str_done(&tracking->disabled);
}

/* config.extraConfig has a key for each disk, "scsi0:0.ctkEnabled", which may say something else than
 * the VM's. */
bool
cbt_is_disabled(const struct xml_node *extra_config, const struct vsphere_disk *disk)
{
    char address[32];
    CLEANUP(free_charp) char *key = NULL;

    vsphere_disk_address(disk, address);
    key = xasprintf("%s.ctkEnabled", address);
    for (const struct xml_node *o = extra_config ? extra_config->first_child : NULL; o;
         o = o->next) {
        const char *name = xml_child_text(o, "key"), *value = xml_child_text(o, "value");

        if (name && value && !strcasecmp(name, key))
            return !strcasecmp(value, "false") || !strcmp(value, "0");
    }
    return false;
}

static int
on_tracking(void *opaque, const struct object *object, struct err **err)
{
    const struct xml_node *devices = object_get(object, "config.hardware.device");
    const struct xml_node *extra_config = object_get(object, "config.extraConfig");
    CLEANUP(vsphere_disks_done) struct vsphere_disks disks = {0};
    struct tracking *tracking = opaque;

    if (object_check_readable(object, "config.changeTrackingEnabled", err) < 0 ||
        object_check_readable(object, "capability.changeTrackingSupported", err) < 0 ||
        devices_read_disks(devices, &disks, err) < 0)
        return -1;
    tracking->is_supported = object_is_true(object, "capability.changeTrackingSupported");
    tracking->is_enabled = object_is_true(object, "config.changeTrackingEnabled");
    for (size_t i = 0; i < disks.count; i++) {
        char address[32];

        if (disks.items[i].unsupported || !cbt_is_disabled(extra_config, &disks.items[i]))
            continue;
        vsphere_disk_address(&disks.items[i], address);
        str_appendf(&tracking->disabled, "%s%s", tracking->disabled.length ? ", " : "", address);
    }
    return 0;
}

static int
read_tracking(struct vsphere *vsphere, const char *moref, struct tracking *tracking,
              struct err **err)
{
    static const char *const paths[] = {"capability.changeTrackingSupported",
                                        "config.changeTrackingEnabled", "config.hardware.device",
                                        "config.extraConfig", NULL};

    str_done(&tracking->disabled);
    *tracking = (struct tracking){.disabled = STR_INIT(4096)};
    return props_read(vsphere, "VirtualMachine", moref, paths, on_tracking, tracking, err);
}

int
vsphere_enable_cbt(struct vsphere *vsphere, const char *moref, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "ReconfigVM_Task",
                              .type = "VirtualMachine",
                              .moref = moref,
                              .args = &args,
                              .is_change = true};
    CLEANUP(tracking_done) struct tracking tracking = {0};
    CLEANUP(err_freep) struct err *error = NULL;

    if (read_tracking(vsphere, moref, &tracking, err) < 0)
        return -1;
    if (!tracking.is_supported) {
        err_set(err, E_CBT_UNSUPPORTED, "VM %s does not support changed-block tracking", moref);
        return err_hint(err,
                        "it needs hardware version 7 or later: upgrade the VM's compatibility");
    }
    if (tracking.is_enabled && !tracking.disabled.length)
        return 0;
    str_append(&args, "<spec><changeTrackingEnabled>true</changeTrackingEnabled></spec>");
    /* An answer that is lost is not asked for again: what counts is what the VM says after it. */
    if (task_run(vsphere, &call, moref, NULL, NULL, &error) < 0 && !soap_is_lost(error))
        return err_move(err, &error);
    if (read_tracking(vsphere, moref, &tracking, err) < 0)
        return -1;
    if (!tracking.is_enabled && error)
        return err_move(err, &error);
    if (!tracking.is_enabled)
        return err_set(err, E_CBT_UNSUPPORTED,
                       "VM %s: changed-block tracking is off although it was turned on", moref);
    if (tracking.disabled.length) {
        err_set(err, E_CBT_UNSUPPORTED, "VM %s: changed-block tracking is off for %s", moref,
                str_text(&tracking.disabled));
        return err_hint(err, "remove the disk's ctkEnabled key from the VM's advanced settings");
    }
    return 0;
}

int
vsphere_disable_cbt(struct vsphere *vsphere, const char *moref, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    const struct call call = {.method = "ReconfigVM_Task",
                              .type = "VirtualMachine",
                              .moref = moref,
                              .args = &args,
                              .is_change = true};
    CLEANUP(tracking_done) struct tracking tracking = {0};
    CLEANUP(err_freep) struct err *error = NULL;

    str_append(&args, "<spec><changeTrackingEnabled>false</changeTrackingEnabled></spec>");
    if (task_run(vsphere, &call, moref, NULL, NULL, &error) < 0 && !soap_is_lost(error))
        return err_move(err, &error);
    if (read_tracking(vsphere, moref, &tracking, err) < 0)
        return -1;
    if (!tracking.is_enabled)
        return 0;
    return error ? err_move(err, &error)
                 : err_set(err, E_CBT_UNSUPPORTED,
                           "VM %s: changed-block tracking is on although it was turned off", moref);
}

/* ---- what has changed ---- */

struct query {
    const char *vm_moref, *snapshot_moref, *change_id;
    int32_t disk_key;
    uint64_t capacity;
    uint64_t gap; /* areas closer than this are one; grows when there are too many */
    struct extents areas;
};

static void
free_areas(struct extents *areas)
{
    vec_done(areas);
}

static int
on_area(void *opaque, const struct xml_node *node, struct err **err)
{
    struct query *query = opaque;
    int64_t start, length;

    if (xml_child_int(node, "start", 0, INT64_MAX, &start, err) < 0 ||
        xml_child_int(node, "length", 1, INT64_MAX, &length, err) < 0)
        return -1;
    if ((uint64_t)start >= query->capacity)
        return err_set(err, E_VSPHERE_PROTOCOL,
                       "a changed area at %" PRId64 " is outside the disk of %" PRIu64 " bytes",
                       start, query->capacity);
    /* The last one may reach over the end, being counted in blocks. */
    vec_push(&query->areas,
             ((struct extent){(uint64_t)start,
                              MIN((uint64_t)length, query->capacity - (uint64_t)start)}));
    while (query->areas.count > MAX_AREAS) {
        if (extents_normalize(&query->areas, query->capacity, query->gap, true, err) < 0)
            return -1;
        if (query->areas.count > MAX_AREAS / 2)
            query->gap = query->gap ? query->gap * 2 : FIRST_GAP;
        else
            break;
    }
    return 0;
}

static bool
is_about(const struct fault *fault, const char *word)
{
    return (fault->property && strcasestr(fault->property, word)) ||
           (fault->text && strcasestr(fault->text, word));
}

/* Which refusals mean that the history is gone: anything that is not plainly about something else,
 * because the one wrong answer is "nothing has changed". */
static int
fail_query(const struct fault *fault, struct err **error, struct err **err)
{
    bool is_history =
        fault_is_file(fault) || (fault_is(fault, "InvalidArgument") &&
                                 !is_about(fault, "deviceKey") && !is_about(fault, "startOffset"));

    if (!is_history)
        return err_move(err, error);
    err_set(err, E_CBT_RESET, "%s", err_message(*error));
    return err_hint(err, "the disk is compared as a whole instead");
}

/* One page from *offset on, which is moved to where the next begins. */
static int
query_page(struct vsphere *vsphere, struct query *query, uint64_t *offset, struct err **err)
{
    CLEANUP(str_done) struct str args = STR_INIT(MAX_ARGS);
    CLEANUP(fault_done) struct fault fault = {0};
    CLEANUP(answer_done) struct answer answer = {0};
    CLEANUP(err_freep) struct err *error = NULL;
    const struct call call = {.method = "QueryChangedDiskAreas",
                              .type = "VirtualMachine",
                              .moref = query->vm_moref,
                              .args = &args,
                              .timeout_ms = vsphere->timeout_ms * QUERY_TIMEOUT,
                              .max_answer = MAX_PAGE_BYTES,
                              .stream = "changedArea",
                              .on_stream = on_area,
                              .opaque = query,
                              .ret_fault = &fault};
    int64_t start, length;

    if (query->snapshot_moref)
        xml_append_ref(&args, "snapshot", "VirtualMachineSnapshot", query->snapshot_moref);
    str_appendf(&args, "<deviceKey>%" PRId32 "</deviceKey><startOffset>%" PRIu64 "</startOffset>",
                query->disk_key, *offset);
    xml_append_element(&args, "changeId", query->change_id);
    if (soap_call(vsphere, &call, &answer, &error) < 0)
        return fail_query(&fault, &error, err);
    if (!answer.result)
        return err_set(err, E_VSPHERE_PROTOCOL, "an answer without a page");
    if (xml_child_int(answer.result, "startOffset", 0, INT64_MAX, &start, err) < 0 ||
        xml_child_int(answer.result, "length", 1, INT64_MAX, &length, err) < 0)
        return -1;
    if ((uint64_t)start > *offset)
        return err_set(err, E_VSPHERE_PROTOCOL,
                       "asked for changes from %" PRIu64 " on, the answer begins at %" PRId64,
                       *offset, start);
    if ((uint64_t)start + (uint64_t)length <= *offset)
        return err_set(err, E_VSPHERE_PROTOCOL,
                       "the answer for changes from %" PRIu64 " on does not advance", *offset);
    *offset = (uint64_t)start + (uint64_t)length;
    return 0;
}

int
vsphere_query_changes(struct vsphere *vsphere, const char *vm_moref, const char *snapshot_moref,
                      int32_t disk_key, uint64_t capacity, const char *change_id,
                      struct extents *ret_areas, struct err **err)
{
    struct query query = {.vm_moref = vm_moref,
                          .snapshot_moref = snapshot_moref,
                          .change_id = change_id,
                          .disk_key = disk_key,
                          .capacity = capacity};
    uint64_t offset = 0;
    int rc = 0;

    if (!change_id || !*change_id)
        return err_set(err, E_CBT_RESET, "disk %" PRId32 " of %s has no change id", disk_key,
                       vm_moref);
    /* A page without areas says that nothing in it has changed, not that there is no further one. */
    for (int page = 0; rc == 0 && offset < capacity; page++) {
        if (page == MAX_PAGES)
            rc = err_set(err, E_LIMIT, "more than %d pages of changes", MAX_PAGES);
        else
            rc = query_page(vsphere, &query, &offset, err);
    }
    if (rc == 0)
        rc = extents_normalize(&query.areas, capacity, query.gap, true, err);
    if (rc < 0) {
        free_areas(&query.areas);
        return err_wrap(err, "changes of disk %" PRId32, disk_key);
    }
    *ret_areas = query.areas;
    return 0;
}
