/* The source: found by identity, read, checked, and turned into the disks of the record. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "migration/internal.h"

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

    if (vsphere_find_vm(m->vsphere, &selector, &moref, err) < 0 ||
        vsphere_read_vm(m->vsphere, moref, &m->vm, err) < 0)
        return -1;
    if (m->spec->vm.name && strcmp(m->spec->vm.name, m->vm.name) &&
        (m->spec->vm.moref || m->spec->vm.uuid))
        log_warning("the VM is called \"%s\", the spec says \"%s\": going by its %s", m->vm.name,
                    m->spec->vm.name, m->spec->vm.moref ? "moref" : "uuid");
    if (m->spec->vm.moref && m->spec->vm.uuid && m->vm.instance_uuid &&
        strcasecmp(m->spec->vm.uuid, m->vm.instance_uuid) &&
        (!m->vm.bios_uuid || strcasecmp(m->spec->vm.uuid, m->vm.bios_uuid))) {
        err_set(err, E_SOURCE_CHANGED, "VM %s has instance uuid %s, the spec says %s", moref,
                m->vm.instance_uuid, m->spec->vm.uuid);
        return err_hint(err, "one of vm.moref and vm.uuid speaks of another VM; correct the spec");
    }
    return 0;
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

/* One line each of what makes this VM impossible to migrate. */
static void
list_obstacles(const struct migration *m, struct str *text)
{
    const struct vsphere_vm *vm = &m->vm;

    if (vm->is_template)
        str_append(text, "; it is a template");
    if (vm->power == VSPHERE_SUSPENDED)
        str_append(text, "; it is suspended: resume it or power it off");
    if (vm->connection_state && strcmp(vm->connection_state, "connected"))
        str_appendf(text, "; its host is %s", vm->connection_state);
    if (vm->question)
        str_appendf(text, "; it waits for an answer: %s", vm->question);
    if (vm->is_encrypted)
        str_append(text, "; it is encrypted");
    if (vm->needs_consolidation)
        str_append(text, "; its disks need consolidation: run Snapshots > Consolidate in vSphere");
    if (!vm->is_cbt_supported)
        str_appendf(text, "; it cannot track changed blocks (hardware version %s)",
                    vm->version ? vm->version : "unknown");
    if (!vm->is_cbt_enabled && vm->snapshots.count)
        str_append(text, "; changed-block tracking is off and cannot be turned on while it has "
                         "snapshots: delete them, or turn it on yourself");
    if (vm->disks.count == 0)
        str_append(text, "; it has no disks");
    for (size_t i = 0; i < vm->disks.count; i++) {
        char address[32];

        vsphere_disk_address(&vm->disks.items[i], address);
        if (vm->disks.items[i].unsupported)
            str_appendf(text, "; disk %s: %s", address, vm->disks.items[i].unsupported);
    }
}

int
migration_check_source(const struct migration *m, struct err **err)
{
    struct str text = STR_INIT(16384);
    int result = 0;

    list_obstacles(m, &text);
    if (text.length)
        result = err_set(err, E_UNSUPPORTED, "this VM cannot be migrated: %s", str_text(&text) + 2);
    str_done(&text);
    return result;
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

/* The disks of the VM that an entry of the spec's `disks:` means: exactly one, or an error. */
static int
match_spec_disk(const struct migration *m, const struct spec_disk *wanted, size_t *ret_index,
                struct err **err)
{
    size_t found = 0;

    for (size_t i = 0; i < m->vm.disks.count; i++) {
        const struct vsphere_disk *disk = &m->vm.disks.items[i];
        char address[32];
        bool is_it;

        vsphere_disk_address(disk, address);
        is_it = wanted->by == SPEC_DISK_BY_UNIT  ? disk->unit == wanted->number
                : wanted->by == SPEC_DISK_BY_KEY ? disk->key == wanted->number
                                                 : !strcasecmp(address, wanted->address);
        if (!is_it)
            continue;
        *ret_index = i;
        found++;
    }
    if (found == 1)
        return 0;
    err_set(err, E_CONFIG, "%s: %s", wanted->place,
            found ? "several disks have that unit number" : "the VM has no such disk");
    return err_hint(err, "name disks as scsi0:1, or by device key");
}

static size_t
boot_disk_index(const struct vsphere_vm *vm)
{
    for (size_t i = 0; i < vm->disks.count; i++)
        if (vm->boot_disk_key && vm->disks.items[i].key == vm->boot_disk_key)
            return i;
    return 0; /* they come in order of bus, controller, unit */
}

static void
describe_disk(const struct migration *m, size_t index, struct store_disk *ret)
{
    const struct vsphere_disk *disk = &m->vm.disks.items[index];
    char address[32];

    *ret = (struct store_disk){
        .migration = m->record.id,
        .device_key = disk->key,
        .unit = disk->unit,
        .capacity = disk->capacity,
        .is_boot = index == boot_disk_index(&m->vm),
        .backing_uuid = xstrdup(disk->backing_uuid),
        .source_path = xstrdup(disk->file_name),
        .storage_id = xstrdup(m->spec->target.storage_id),
    };
    vsphere_disk_address(disk, address);
    ret->address = xstrdup(address);
    migration_disk_names(&m->vm, disk, &ret->key, &ret->name);
    if (!ret->is_boot)
        ret->disk_offering_id = xstrdup(m->spec->target.disk_offering_id);
}

/* What the spec says of single disks; the boot disk's pool is always the target's. */
static int
apply_spec_disks(const struct migration *m, struct store_disks *disks, struct err **err)
{
    for (size_t i = 0; i < m->spec->disks.count; i++) {
        const struct spec_disk *wanted = &m->spec->disks.items[i];
        struct store_disk *disk;
        size_t index = 0;
        int found = match_spec_disk(m, wanted, &index, wanted->is_default ? NULL : err);

        if (found < 0 && wanted->is_default)
            continue; /* what `defaults:` says of disks is for the VMs that have them */
        if (found < 0)
            return -1;
        disk = &disks->items[index];
        if (disk->is_boot)
            continue;
        if (wanted->storage_id) {
            free(disk->storage_id);
            disk->storage_id = xstrdup(wanted->storage_id);
        }
        if (wanted->disk_offering_id) {
            free(disk->disk_offering_id);
            disk->disk_offering_id = xstrdup(wanted->disk_offering_id);
        }
    }
    for (size_t i = 0; i < disks->count; i++)
        if (!disks->items[i].is_boot && !disks->items[i].disk_offering_id) {
            err_set(err, E_CONFIG, "data disk %s has no disk offering", disks->items[i].address);
            return err_hint(err,
                            "set target.cloudstack.diskofferingid, or disks: { \"%s\": "
                            "{ diskofferingid: ... } } in the spec",
                            disks->items[i].key);
        }
    return 0;
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
    struct store_disks disks = {0};
    struct migration_nics nics = {0};
    int result = -1;

    if (migration_check_source(m, err) < 0 || migration_plan_nics(m, &nics, err) < 0)
        goto out;
    for (size_t i = 0; i < m->vm.disks.count; i++) {
        struct store_disk disk;

        describe_disk(m, i, &disk);
        vec_push(&disks, disk);
    }
    if (apply_spec_disks(m, &disks, err) < 0)
        goto out;
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
    vec_done(&nics);
    return result;
}
