/* Disks become volumes, all together; then they are attached, all together, each at its own device id. */
#include <inttypes.h>
#include <string.h>

#include "migration/import.h"

#define CDROM_DEVICE 3 /* CloudStack keeps it */

char *
import_id_of_volume(const json_t *job_result)
{
    return xstrdup(step_text(json_object_get(job_result, "volume"), "id"));
}

/* ---- importVolume ----------------------------------------------------------------------------- */

static int
submit_import(const struct step *step, char **ret_job_id, struct err **err)
{
    const struct config_target *target = &step->m->spec->target;
    const char *path = step_base_name(step->disk->target_path);

    return cloudstack_import_volume(step->m->cloudstack, path, target->zone_id,
                                    step->disk->storage_id, path, step->disk->disk_offering_id,
                                    target->account, target->domain_id, target->project_id,
                                    ret_job_id, err);
}

static int
find_volume(const struct step *step, json_t **ret_volume, struct err **err)
{
    return cloudstack_find_volume_by_path(step->m->cloudstack, step->disk->storage_id,
                                          step_base_name(step->disk->target_path), ret_volume, err);
}

static int
lookup_imported(const struct step *step, char **ret_result, struct err **err)
{
    json_t *volume = NULL;

    if (find_volume(step, &volume, err) < 0)
        return -1;
    *ret_result = xstrdup(step_text(volume, "id"));
    json_decref(volume);
    return 0;
}

/* Steps of several disks; their names are owned. */
struct batch {
    struct step *steps;
    struct store_disk **disks; /* NULL: a step of the VM */
    char **names, **results;
    size_t count;
};

static void
batch_init(struct batch *batch, const struct migration *m)
{
    size_t room = m->disks.count + 2;

    *batch = (struct batch){.steps = xcalloc(room, sizeof(*batch->steps)),
                            .disks = xcalloc(room, sizeof(*batch->disks)),
                            .names = xcalloc(room, sizeof(*batch->names)),
                            .results = xcalloc(room, sizeof(*batch->results))};
}

static void
batch_add(struct batch *batch, struct step step, struct store_disk *disk, char *name /* taken */)
{
    step.name = name;
    step.disk = disk;
    batch->names[batch->count] = name;
    batch->disks[batch->count] = disk;
    batch->steps[batch->count++] = step;
}

static void
batch_done(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->names[i]);
        free(batch->results[i]);
    }
    free(batch->steps);
    free(batch->disks);
    free(batch->names);
    free(batch->results);
}

int
import_volumes(struct migration *m, bool is_boot_too, struct err **err)
{
    const struct step kind = {.m = m,
                              .command = "importVolume",
                              .submit = submit_import,
                              .lookup = lookup_imported,
                              .result_of = import_id_of_volume};
    struct batch batch;
    int result;

    batch_init(&batch, m);
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];

        if (!disk->volume_id && (is_boot_too || !disk->is_boot))
            batch_add(&batch, kind, disk, xasprintf("import_volume:%s", disk->address));
    }
    result = step_do_all(batch.steps, batch.count, batch.results, err);
    for (size_t i = 0; i < batch.count && result == 0; i++) {
        batch.disks[i]->volume_id = take(batch.results[i]);
        migration_log(m, LOG_INFO, "[%s] imported volume volume_id=%s", batch.disks[i]->name,
                      batch.disks[i]->volume_id);
    }
    if (result == 0 && batch.count)
        result = migration_save(m, err);
    batch_done(&batch);
    return result;
}

/* ---- attachVolume ----------------------------------------------------------------------------- */

static int
submit_attach(const struct step *step, char **ret_job_id, struct err **err)
{
    return cloudstack_attach_volume(step->m->cloudstack, step->disk->volume_id,
                                    step->m->record.cloudstack_vm_id, step->device_id, ret_job_id,
                                    err);
}

int
import_lookup_attached(const struct step *step, char **ret_result, struct err **err)
{
    const char *wanted = step->object ? step->object : step->m->record.cloudstack_vm_id, *vm_id;
    json_t *volume = NULL;

    if (find_volume(step, &volume, err) < 0)
        return -1;
    vm_id = step_text(volume, "virtualmachineid");
    *ret_result = vm_id && !strcmp(vm_id, wanted) ? xstrdup("done") : NULL;
    json_decref(volume);
    return 0;
}

/* Where the n-th data disk goes: device ids in order, but for the CD's and the root's.  importVm of
 * the releases gives the root volume id 1, and leaves 0 empty. */
static int
device_of(size_t nth, json_int_t root)
{
    int device = 1;

    while (device == CDROM_DEVICE || device == root || nth-- > 0)
        device++;
    return device;
}

static int
read_root(struct migration *m, json_int_t *ret_device, char **ret_id, struct err **err)
{
    const struct step step = {.m = m, .disk = import_boot_disk(m)};
    json_t *volume = NULL;

    if (find_volume(&step, &volume, err) < 0)
        return -1;
    *ret_device = json_integer_value(json_object_get(volume, "deviceid"));
    *ret_id = xstrdup(step_text(volume, "id"));
    json_decref(volume);
    return 0;
}

static void
add_attach_steps(struct migration *m, json_int_t root_device, struct batch *batch)
{
    const struct step kind = {.m = m,
                              .command = "attachVolume",
                              .submit = submit_attach,
                              .lookup = import_lookup_attached,
                              .result_of = step_done};
    size_t nth = 0;

    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];
        struct step step = kind;

        if (disk->is_boot)
            continue;
        step.device_id = device_of(nth++, root_device);
        if (!disk->attached_to_vm_id)
            batch_add(batch, step, disk, xasprintf("attach_volume:%s", disk->address));
    }
}

/* ---- tags ------------------------------------------------------------------------------------- */

static void
add_tag(struct cloudstack_params *tags, const char *key, const char *value)
{
    if (value && *value)
        vec_push(tags, ((struct cloudstack_param){key, value}));
}

static int
submit_tags(const struct step *step, char **ret_job_id, struct err **err)
{
    const struct store_migration *record = &step->m->record;
    const char *type = strcmp(step->name, "tag_vm") ? "Volume" : "UserVm";
    struct cloudstack_params tags = {0};
    int result;

    add_tag(&tags, MIGRATION_TAG, record->migration_id);
    add_tag(&tags, "v2c-source-moref", record->vm_moref);
    add_tag(&tags, "v2c-source-uuid", record->instance_uuid);
    add_tag(&tags, "v2c-source-vcenter", record->vcenter);
    result =
        cloudstack_create_tags(step->m->cloudstack, type, step->object, &tags, ret_job_id, err);
    vec_done(&tags);
    return result;
}

/* All objects of one call are tagged, or none. */
static int
lookup_tags(const struct step *step, char **ret_result, struct err **err)
{
    CLEANUP(free_charp) char *first = strndup(step->object, strcspn(step->object, ","));
    bool has = false;

    if (cloudstack_has_tag(step->m->cloudstack, first, MIGRATION_TAG, &has, err) < 0)
        return -1;
    *ret_result = has ? xstrdup("done") : NULL;
    return 0;
}

static char *
volume_ids(const struct migration *m, const char *root_id)
{
    struct str ids = STR_INIT(65536);

    if (root_id)
        str_append(&ids, root_id);
    for (size_t i = 0; i < m->disks.count; i++)
        if (!m->disks.items[i].is_boot && m->disks.items[i].volume_id)
            str_appendf(&ids, "%s%s", ids.length ? "," : "", m->disks.items[i].volume_id);
    return str_take(&ids);
}

static void
add_tag_step(struct migration *m, const char *name, const char *ids, struct batch *batch)
{
    const struct step step = {.m = m,
                              .command = "createTags",
                              .object = ids,
                              .submit = submit_tags,
                              .lookup = lookup_tags,
                              .result_of = step_done,
                              .is_optional = true};

    if (ids && *ids)
        batch_add(batch, step, NULL, xstrdup(name));
}

int
import_attach_and_tag(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *root_id = NULL, *ids = NULL;
    json_int_t root_device = 0;
    struct batch batch;
    int result;

    if (read_root(m, &root_device, &root_id, err) < 0)
        return -1;
    ids = volume_ids(m, root_id);
    batch_init(&batch, m);
    add_attach_steps(m, root_device, &batch);
    add_tag_step(m, "tag_vm", m->record.cloudstack_vm_id, &batch);
    add_tag_step(m, "tag_volumes", ids, &batch);
    result = step_do_all(batch.steps, batch.count, batch.results, err);
    for (size_t i = 0; i < batch.count && result == 0; i++)
        if (batch.disks[i])
            batch.disks[i]->attached_to_vm_id = xstrdup(m->record.cloudstack_vm_id);
    if (result == 0)
        result = migration_save(m, err);
    batch_done(&batch);
    return result;
}
