/* The source: found by identity, read, and turned into the disks of the record. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "migration/internal.h"

/* A spec goes by the name that the VM had, and the mark of an earlier run has given it another. */
static int
find_by_old_name(struct migration *m, const struct err *not_found, char **ret_moref,
                 struct err **err)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;

    if (err_code(not_found) != E_VSPHERE_NOT_FOUND || m->spec->vm.moref || m->spec->vm.uuid)
        return 0;
    if (store_open(m->config->migration.control_dir, true, &store, &failure) < 0)
        return err_code(failure) == E_STORE_NOT_FOUND ? 0 : err_move(err, &failure);
    return migration_find_renamed(store, m->config->vcenter.host, m->spec->vm.name,
                                  m->spec->vm.datacenter, ret_moref, err);
}

static int
find_moref(struct migration *m, const struct vsphere_selector *selector, char **ret_moref,
           struct err **err)
{
    struct err *failure = NULL;

    if (vsphere_find_vm(m->vsphere, selector, ret_moref, &failure) == 0)
        return 0;
    if (find_by_old_name(m, failure, ret_moref, err) < 0) {
        err_free(failure);
        return -1;
    }
    if (!*ret_moref)
        return err_move(err, &failure);
    err_free(failure);
    return 0;
}

int
migration_find_source(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *moref = NULL;
    struct vsphere_selector selector = {
        .moref = m->spec->vm.moref,
        .uuid = m->spec->vm.uuid,
        .name = m->spec->vm.name,
        .datacenter = m->spec->vm.datacenter,
    };

    if (find_moref(m, &selector, &moref, err) < 0 ||
        vsphere_read_vm(m->vsphere, moref, &m->vm, err) < 0)
        return -1;
    if (m->spec->vm.name && strcmp(m->spec->vm.name, m->vm.name) &&
        (m->spec->vm.moref || m->spec->vm.uuid))
        log_warning("the VM is called \"%s\", the spec says \"%s\": going by its %s", m->vm.name,
                    m->spec->vm.name, m->spec->vm.moref ? "moref" : "uuid");
    return preflight_check_identity(m->spec, &m->vm, err);
}

int
migration_read_source(struct migration *m, struct err **err)
{
    struct vsphere_vm vm = {0};

    if (vsphere_read_vm(m->vsphere, m->vm.moref, &vm, err) < 0)
        return -1;
    vsphere_vm_done(&m->vm);
    m->vm = vm;
    return 0;
}

const struct vsphere_disk *
migration_source_disk(const struct vsphere_disks *disks, int32_t key)
{
    for (size_t i = 0; i < disks->count; i++)
        if (disks->items[i].key == key)
            return &disks->items[i];
    return NULL;
}

/* VMware lets a disk grow while no snapshot is there.  The tracking of changes says nothing of the new
 * part, or begins anew: so the disk is compared in full once. */
static int
follow_growth(struct migration *m, struct store_disk *disk, uint64_t capacity, struct err **err)
{
    CLEANUP(store_bitmap_done) struct store_bitmap done = {0};

    migration_log(m, LOG_WARNING,
                  "[%s] the disk has grown from %" PRIu64 " to %" PRIu64 " bytes: following",
                  disk->name, disk->capacity, capacity);
    if (store_bitmap_load(m->store, disk->id, STORE_BITMAP_DONE, &done, err) < 0 ||
        /* One without blocks still says that the file was made. */
        (done.bits &&
         store_bitmap_save(m->store, disk->id, STORE_BITMAP_DONE, NULL, "", 0, err) < 0) ||
        store_bitmap_drop(m->store, disk->id, STORE_BITMAP_VERIFIED, err) < 0)
        return -1;
    disk->capacity = capacity;
    free(disk->change_id);
    disk->change_id = xstrdup(""); /* none that anything has a history with */
    return migration_save(m, err);
}

int
migration_check_disks(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *known = &m->disks.items[i];
        const struct vsphere_disk *now = migration_source_disk(&m->vm.disks, known->device_key);
        char address[32];

        if (!now) {
            err_set(err, E_SOURCE_CHANGED, "disk %s (key %" PRId32 ") is no longer there",
                    known->address, known->device_key);
            goto changed;
        }
        vsphere_disk_address(now, address);
        if (strcmp(address, known->address)) {
            err_set(err, E_SOURCE_CHANGED, "disk %s is at %s now", known->address, address);
            goto changed;
        }
        if (now->capacity < known->capacity) {
            err_set(err, E_SOURCE_CHANGED,
                    "disk %s has shrunk: %" PRIu64 " bytes now, %" PRIu64 " before", known->address,
                    now->capacity, known->capacity);
            goto changed;
        }
        if (known->backing_uuid && now->backing_uuid &&
            strcmp(known->backing_uuid, now->backing_uuid)) {
            err_set(err, E_SOURCE_CHANGED, "disk %s is another disk now (uuid %s, was %s)",
                    known->address, now->backing_uuid, known->backing_uuid);
            goto changed;
        }
        if (now->capacity > known->capacity && follow_growth(m, known, now->capacity, err) < 0)
            return -1;
    }
    if (m->vm.disks.count == m->disks.count)
        return 0;
    err_set(err, E_SOURCE_CHANGED, "the VM has %zu disks now, %zu at the start", m->vm.disks.count,
            m->disks.count);
changed:
    return err_hint(err,
                    "undo the change on the source, or give this migration up with "
                    "`v2c-engine forget --vm-id %s` and begin anew",
                    m->record.vm_moref);
}

static void
describe_disk(const struct migration *m, const struct preflight_disk *plan, struct store_disk *ret)
{
    const struct vsphere_disk *disk = plan->disk;
    char address[32];

    *ret = (struct store_disk){
        .migration = m->record.id,
        .device_key = disk->key,
        .unit = disk->unit,
        .capacity = disk->capacity,
        .is_boot = plan->is_boot,
        .backing_uuid = xstrdup(disk->backing_uuid),
        .source_path = xstrdup(disk->file_name),
        .storage_id = xstrdup(plan->storage_id),
        .disk_offering_id = xstrdup(plan->disk_offering_id),
    };
    vsphere_disk_address(disk, address);
    ret->address = xstrdup(address);
    migration_disk_names(&m->vm, disk, &ret->key, &ret->name);
}

static int
log_disks(struct migration *m)
{
    const char *boot = "";

    for (size_t i = 0; i < m->disks.count; i++)
        if (m->disks.items[i].is_boot)
            boot = m->disks.items[i].key;
    migration_log(m, LOG_INFO, "Discovered VMware disks: count=%zu boot_unit=%s", m->disks.count,
                  boot);
    for (size_t i = 0; i < m->disks.count; i++)
        migration_log(m, LOG_INFO,
                      "[pre-snapshot][%s] key=%" PRId32 " vm_backing=%s capacity_bytes=%" PRIu64,
                      m->disks.items[i].name, m->disks.items[i].device_key,
                      m->disks.items[i].source_path, m->disks.items[i].capacity);
    return 0;
}

int
migration_stage_discover(struct migration *m, struct err **err)
{
    struct preflight_disks plan = {0};
    struct store_disks disks = {0};
    int result = -1;

    if (preflight_plan_disks(m->spec, &m->vm, &plan, err) < 0)
        return -1;
    for (size_t i = 0; i < plan.count; i++) {
        struct store_disk disk;

        describe_disk(m, &plan.items[i], &disk);
        vec_push(&disks, disk);
    }
    vec_done(&plan);
    /* A crash between these rows and the stage leaves rows behind, which are then the ones used. */
    if (m->disks.count == 0) {
        if (store_disks_create(m->store, &disks, err) < 0)
            goto out;
        m->disks = disks;
        disks = (struct store_disks){0};
        m->progress = xcalloc(m->disks.count, sizeof(*m->progress));
    }
    log_disks(m);
    migration_log(m, LOG_INFO, "Source VM guest_id=%s firmware=%s tools=%s",
                  m->vm.guest_id ? m->vm.guest_id : "?", m->vm.firmware ? m->vm.firmware : "?",
                  m->vm.tools_status ? m->vm.tools_status : "?");
    result = migration_enter(m, STAGE_PREPARING_STORAGE, err);
out:
    store_disks_done(&disks);
    return result;
}
