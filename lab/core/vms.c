#include "core/vms.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/sha.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

/* ---- names and ids ---------------------------------------------------------------------------- */

char *
lab_put_hex(char *at, uint8_t byte)
{
    static const char DIGITS[] = "0123456789abcdef";

    *at++ = DIGITS[byte >> 4];
    *at++ = DIGITS[byte & 15];
    return at;
}

void
lab_uuid(const char *text, char ret_uuid[40])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char *at = ret_uuid;

    SHA256((const uint8_t *)text, strlen(text), digest);
    for (int i = 0; i < 16; i++) {
        at = lab_put_hex(at, digest[i]);
        if (i == 3 || i == 5 || i == 7 || i == 9)
            *at++ = '-';
    }
    *at = '\0';
}

/* The vendor's two spellings of the same 16 bytes: "6000C29a-..." for disks, "52 6f f7 ...-44 ..." for
 * change ids. */
static void
change_uuid(struct lab_vm *vm, struct lab_vm_disk *disk, uint64_t generation)
{
    CLEANUP(free_charp)
    char *text = xasprintf("change %s %d %" PRIu64, vm->instance_uuid, disk->key, generation);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char *at = disk->change_uuid;

    SHA256((const uint8_t *)text, strlen(text), digest);
    digest[0] = 0x52;
    for (int i = 0; i < 16; i++) {
        at = lab_put_hex(at, digest[i]);
        *at++ = i == 7 ? '-' : ' ';
    }
    at[-1] = '\0';
}

void
lab_vm_file(const struct lab_vm *vm, size_t disk, unsigned number, char ret_path[512])
{
    char which[24] = "", delta[24] = "";
    const char *datastore = disk < vm->disks.count ? vm->disks.items[disk].datastore : "";

    if (disk)
        (void)snprintf(which, sizeof(which), "_%zu", disk);
    if (number)
        (void)snprintf(delta, sizeof(delta), "-%06u", number);
    (void)snprintf(ret_path, 512, "[%s] %.200s/%.200s%s%s.vmdk", *datastore ? datastore : "ds1",
                   vm->home, vm->home, which, delta);
}

int
lab_disk_index(const struct lab_vm *vm, int32_t key)
{
    for (size_t i = 0; i < vm->disks.count; i++)
        if (vm->disks.items[i].key == key)
            return (int)i;
    return -1;
}

/* mutex held.  Gives every disk, of the present and of each snapshot, the file of its link. */
static void
rename_files(struct lab_vm *vm)
{
    for (size_t i = 0; i < vm->chain.count; i++) {
        const struct lab_link *link = &vm->chain.items[i];
        struct lab_snapshot *snapshot =
            link->snapshot[0] ? lab_find_snapshot(vm, link->snapshot) : NULL;
        struct lab_vm_disks *disks = snapshot ? &snapshot->disks : &vm->disks;

        if (!snapshot && i + 1 < vm->chain.count)
            continue; /* not merged yet: nobody's */
        for (size_t d = 0; d < disks->count; d++)
            lab_vm_file(vm, d, link->number, disks->items[d].path);
    }
}

static unsigned
free_number(const struct lab_vm *vm)
{
    for (unsigned number = 1;; number++) {
        bool is_used = false;

        for (size_t i = 0; i < vm->chain.count; i++)
            is_used = is_used || vm->chain.items[i].number == number;
        if (!is_used)
            return number;
    }
}

/* mutex held.  What a client compares to see that somebody touched the VM. */
static void
touch(struct lab *lab, struct lab_vm *vm)
{
    vm->change_version++;
    lab_note_change(lab);
}

/* ---- change tracking -------------------------------------------------------------------------- */

/* mutex held.  Tracking that was asked for begins: view @view is the first that is known. */
static void
begin_tracking(struct lab_vm *vm, uint64_t view)
{
    if (!vm->is_cbt_on || vm->is_cbt_effective)
        return;
    vm->is_cbt_effective = true;
    for (size_t i = 0; i < vm->disks.count; i++)
        change_uuid(vm, &vm->disks.items[i], view);
}

/* Whether the host tracks what is written to it: snapshots leave the others out. */
static bool
can_track(const struct lab_vm_disk *disk)
{
    return !disk->is_untracked && strcmp(disk->rdm, "physical") != 0 && !disk->is_bus_shared &&
           strncmp(disk->mode, "independent", strlen("independent")) != 0;
}

/* mutex held */
static void
advance_change_ids(struct lab_vm *vm, uint64_t view)
{
    for (size_t i = 0; i < vm->disks.count; i++) {
        struct lab_vm_disk *disk = &vm->disks.items[i];

        disk->change_id[0] = '\0';
        if (vm->is_cbt_effective && can_track(disk))
            (void)snprintf(disk->change_id, sizeof(disk->change_id), "%s/%" PRIu64,
                           disk->change_uuid, view);
    }
}

/* operating held, mutex not.  A stun without a snapshot: a view that is known and gone at once. */
static int
stun(struct lab *lab, struct lab_vm *vm, struct err **err)
{
    uint64_t view;

    pthread_mutex_lock(&lab->mutex);
    view = vm->next_view++;
    pthread_mutex_unlock(&lab->mutex);
    if (vm->machine->ops->freeze(vm->machine, view, err) < 0 ||
        vm->machine->ops->thaw(vm->machine, view, err) < 0)
        return -1;
    SCOPE_LOCK(&lab->mutex);
    begin_tracking(vm, view);
    advance_change_ids(vm, view);
    return 0;
}

static bool
waits_for_stun(struct lab *lab, struct lab_vm *vm)
{
    SCOPE_LOCK(&lab->mutex);
    return vm->is_cbt_on && !vm->is_cbt_effective;
}

void
lab_vm_configure_cbt(struct lab *lab, struct lab_vm *vm, bool is_on)
{
    SCOPE_LOCK(&vm->operating);
    SCOPE_LOCK(&lab->mutex);
    vm->is_cbt_on = is_on;
    if (!is_on) {
        vm->is_cbt_effective = false;
        advance_change_ids(vm, 0);
    }
    touch(lab, vm);
}

int
lab_vm_configure(struct lab *lab, struct lab_vm *vm, const struct lab_vm_changes *changes)
{
    SCOPE_LOCK(&vm->operating);
    SCOPE_LOCK(&lab->mutex);
    for (size_t i = 0; changes->has_name && i < lab->vms.count; i++)
        if (lab->vms.items[i] != vm && !strcmp(lab->vms.items[i]->datacenter, vm->datacenter) &&
            !strcmp(lab->vms.items[i]->name, changes->name))
            return -1;
    if (changes->has_name)
        memcpy(vm->name, changes->name, sizeof(vm->name));
    if (changes->has_annotation)
        memcpy(vm->annotation, changes->annotation, sizeof(vm->annotation));
    for (size_t i = 0; i < changes->nic_count; i++)
        for (size_t n = 0; n < vm->nics.count; n++)
            if (vm->nics.items[n].key == changes->nics[i].key)
                vm->nics.items[n].is_start_disconnected = !changes->nics[i].starts_connected;
    touch(lab, vm);
    return 0;
}

int
lab_vm_reset_cbt(struct lab *lab, struct lab_vm *vm, struct err **err)
{
    SCOPE_LOCK(&vm->operating);
    pthread_mutex_lock(&lab->mutex);
    vm->is_cbt_effective = false;
    advance_change_ids(vm, 0);
    touch(lab, vm);
    pthread_mutex_unlock(&lab->mutex);
    return waits_for_stun(lab, vm) ? stun(lab, vm, err) : 0;
}

int
lab_vm_grow(struct lab *lab, struct lab_vm *vm, unsigned disk, uint64_t capacity, struct err **err)
{
    SCOPE_LOCK(&vm->operating);
    if (lab_synthetic_grow(vm->machine, disk, capacity, err) < 0)
        return -1;
    pthread_mutex_lock(&lab->mutex);
    vm->disks.items[disk].capacity = capacity;
    touch(lab, vm);
    pthread_mutex_unlock(&lab->mutex);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------- */

int
lab_vm_prepare(struct lab *lab, struct lab_vm *vm, struct err **err)
{
    pthread_mutex_init(&vm->operating, NULL);
    vm->next_view = vm->next_snapshot_id = 1;
    vm->change_version = (uint64_t)clock_wall_ms();
    vec_push(&vm->chain, (struct lab_link){0});
    memcpy(vm->home, vm->name, sizeof(vm->home));
    rename_files(vm);
    for (size_t i = 0; i < vm->disks.count; i++) {
        CLEANUP(free_charp) char *text = xasprintf("disk %s %zu", vm->instance_uuid, i);
        char uuid[40];

        lab_uuid(text, uuid);
        (void)snprintf(vm->disks.items[i].uuid, sizeof(vm->disks.items[i].uuid), "6000C29%s",
                       uuid + 7);
        change_uuid(vm, &vm->disks.items[i], 0);
    }
    vm->was_on = vm->machine->ops->is_on(vm->machine);
    if (vm->was_on)
        vm->powered_on_at_ms = (uint64_t)clock_wall_ms();
    else
        vm->powered_off_at_ms = (uint64_t)clock_wall_ms();
    return waits_for_stun(lab, vm) ? stun(lab, vm, err) : 0;
}

void
lab_vm_free(struct lab_vm *vm)
{
    if (!vm)
        return;
    if (vm->machine)
        vm->machine->ops->close(vm->machine);
    for (size_t i = 0; i < vm->snapshots.count; i++)
        vec_done(&vm->snapshots.items[i].disks);
    vec_done(&vm->snapshots);
    vec_done(&vm->chain);
    vec_done(&vm->disks);
    vec_done(&vm->nics);
    pthread_mutex_destroy(&vm->operating);
    free(vm);
}

/* ---- power ------------------------------------------------------------------------------------ */

bool
lab_vm_is_on(struct lab *lab, struct lab_vm *vm)
{
    bool is_on = vm->machine->ops->is_on(vm->machine);

    if (is_on == vm->was_on)
        return is_on;
    vm->was_on = is_on;
    if (is_on) {
        vm->powered_on_at_ms = (uint64_t)clock_wall_ms();
        vm->powered_off_at_ms = 0;
    } else {
        /* A machine that saw it happen knows better than we, who have just asked. */
        uint64_t seen = vm->machine->ops->off_at_ms ? vm->machine->ops->off_at_ms(vm->machine) : 0;

        vm->powered_off_at_ms = seen ? seen : (uint64_t)clock_wall_ms();
    }
    touch(lab, vm);
    return is_on;
}

static bool
see_power(struct lab *lab, struct lab_vm *vm)
{
    SCOPE_LOCK(&lab->mutex);
    return lab_vm_is_on(lab, vm);
}

int
lab_vm_power_on(struct lab *lab, struct lab_vm *vm, struct err **err)
{
    SCOPE_LOCK(&vm->operating);
    if (see_power(lab, vm))
        return err_set(err, E_VSPHERE_STATE, "%s is on", vm->name);
    if (waits_for_stun(lab, vm) && stun(lab, vm, err) < 0)
        return -1;
    if (vm->machine->ops->power_on(vm->machine, err) < 0)
        return -1;
    (void)see_power(lab, vm);
    return 0;
}

int
lab_vm_power_off(struct lab *lab, struct lab_vm *vm, struct err **err)
{
    SCOPE_LOCK(&vm->operating);
    if (!see_power(lab, vm))
        return err_set(err, E_VSPHERE_STATE, "%s is off", vm->name);
    if (vm->machine->ops->power_off(vm->machine, err) < 0)
        return -1;
    (void)see_power(lab, vm);
    return 0;
}

int
lab_vm_shutdown(struct lab *lab, struct lab_vm *vm, struct err **err)
{
    SCOPE_LOCK(&vm->operating);
    if (!see_power(lab, vm))
        return err_set(err, E_VSPHERE_STATE, "%s is off", vm->name);
    if (!vm->has_tools)
        return err_set(err, E_VSPHERE_TOOLS, "%s has no Tools running", vm->name);
    return vm->machine->ops->shutdown_guest(vm->machine, err);
}

/* ---- snapshots -------------------------------------------------------------------------------- */

/* mutex held */
static void
add_snapshot(struct lab *lab, struct lab_vm *vm, struct lab_snapshot *snapshot)
{
    struct lab_link *running = &vm->chain.items[vm->chain.count - 1];
    struct lab_link next = {.number = free_number(vm)};

    (void)snprintf(snapshot->moref, sizeof(snapshot->moref), "snapshot-%" PRIu64,
                   lab->next_snapshot++);
    snapshot->id = vm->next_snapshot_id++;
    snapshot->was_on = lab_vm_is_on(lab, vm);
    snapshot->is_quiesced = snapshot->is_quiesced && snapshot->was_on && vm->has_tools;
    snapshot->created_at = (uint64_t)clock_wall_s();
    begin_tracking(vm, snapshot->view);
    advance_change_ids(vm, snapshot->view);
    for (size_t i = 0; i < vm->disks.count; i++)
        vec_push(&snapshot->disks, vm->disks.items[i]);
    memcpy(running->snapshot, snapshot->moref, sizeof(running->snapshot));
    vec_push(&vm->chain, next);
    vec_push(&vm->snapshots, *snapshot);
    rename_files(vm);
    touch(lab, vm);
}

/* What no host makes a snapshot of. */
static int
check_devices(const struct lab_vm *vm, struct err **err)
{
    if (vm->traits.is_fault_tolerant)
        return err_set(err, E_UNSUPPORTED, "%s is protected by Fault Tolerance", vm->name);
    for (size_t i = 0; i < vm->disks.count; i++)
        if (!strcmp(vm->disks.items[i].rdm, "physical") || vm->disks.items[i].is_bus_shared)
            return err_set(err, E_UNSUPPORTED, "%s has a disk that allows no snapshots", vm->name);
    return 0;
}

int
lab_vm_snapshot(struct lab *lab, struct lab_vm *vm, const char *name, const char *description,
                bool quiesce, char ret_moref[32], struct err **err)
{
    struct lab_snapshot snapshot = {.is_quiesced = quiesce};

    if (check_devices(vm, err) < 0)
        return -1;
    SCOPE_LOCK(&vm->operating);
    (void)snprintf(snapshot.name, sizeof(snapshot.name), "%s", name);
    (void)snprintf(snapshot.description, sizeof(snapshot.description), "%s", description);
    pthread_mutex_lock(&lab->mutex);
    if (vm->snapshots.count >= LAB_MAX_SNAPSHOTS) {
        pthread_mutex_unlock(&lab->mutex);
        return err_set(err, E_LIMIT, "%s has %d snapshots already", vm->name, LAB_MAX_SNAPSHOTS);
    }
    snapshot.view = vm->next_view++;
    pthread_mutex_unlock(&lab->mutex);
    if (vm->machine->ops->freeze(vm->machine, snapshot.view, err) < 0)
        return err_wrap(err, "freezing %s", vm->name);
    SCOPE_LOCK(&lab->mutex);
    add_snapshot(lab, vm, &snapshot);
    memcpy(ret_moref, snapshot.moref, sizeof(snapshot.moref));
    return 0;
}

/* mutex held.  Merges every link that nobody holds with the one after it, which takes its name. */
static void
merge_files(struct lab_vm *vm)
{
    for (size_t i = 0; i + 1 < vm->chain.count;) {
        struct lab_link *link = &vm->chain.items[i];

        if (link->snapshot[0]) {
            i++;
            continue;
        }
        memcpy(link->snapshot, link[1].snapshot, sizeof(link->snapshot));
        memmove(link + 1, link + 2, (vm->chain.count - i - 2) * sizeof(*link));
        vm->chain.count--;
    }
    vm->needs_consolidation = false;
    rename_files(vm);
}

/* mutex held.  Takes snapshot @index out of the tree; *ret_view is to be thawed. */
static void
drop_snapshot(struct lab_vm *vm, size_t index, uint64_t *ret_view)
{
    struct lab_snapshot *snapshot = &vm->snapshots.items[index];

    *ret_view = snapshot->view;
    for (size_t i = 0; i < vm->chain.count; i++)
        if (!strcmp(vm->chain.items[i].snapshot, snapshot->moref))
            vm->chain.items[i].snapshot[0] = '\0';
    vec_done(&snapshot->disks);
    memmove(snapshot, snapshot + 1, (vm->snapshots.count - index - 1) * sizeof(*snapshot));
    vm->snapshots.count--;
}

int
lab_vm_remove_snapshot(struct lab *lab, struct lab_vm *vm, const char *moref, bool with_children,
                       struct err **err)
{
    VEC_DECLARE(, uint64_t)
    views = {0};
    struct lab_fault fault;
    struct lab_snapshot *snapshot;
    bool is_merged = !lab_fault_take(lab->faults, "vm.consolidate", &fault);
    int result = 0;

    SCOPE_LOCK(&vm->operating);
    pthread_mutex_lock(&lab->mutex);
    snapshot = lab_find_snapshot(vm, moref);
    if (!snapshot) {
        pthread_mutex_unlock(&lab->mutex);
        return err_set(err, E_VSPHERE_NOT_FOUND, "%s has no snapshot %s", vm->name, moref);
    }
    for (size_t i = vm->snapshots.count, first = (size_t)(snapshot - vm->snapshots.items);
         i-- > first;) {
        uint64_t view;

        if (i > first && !with_children)
            continue;
        drop_snapshot(vm, i, &view);
        vec_push(&views, view);
    }
    vm->needs_consolidation = true;
    if (is_merged)
        merge_files(vm);
    touch(lab, vm);
    pthread_mutex_unlock(&lab->mutex);
    for (size_t i = 0; i < views.count && result == 0; i++)
        result = vm->machine->ops->thaw(vm->machine, views.items[i], err);
    vec_done(&views);
    if (result == 0 && waits_for_stun(lab, vm))
        result = stun(lab, vm, err);
    return result;
}

void
lab_vm_consolidate(struct lab *lab, struct lab_vm *vm)
{
    SCOPE_LOCK(&vm->operating);
    SCOPE_LOCK(&lab->mutex);
    merge_files(vm);
    touch(lab, vm);
}
