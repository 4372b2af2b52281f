/* What of each disk is in use as of the base snapshot: asked of changed-block tracking where its answer
 * can be trusted, because that takes one call where VDDK's own query holds up the reading for minutes.
 *
 * What is left out of the answer is taken for zeroes, so an answer counts only where it can be right:
 * VMware says that changeId "*" needs a disk on VMFS and tracking that was turned on while the VM had no
 * snapshot (KB 320557), and elsewhere answers with the whole disk or an error (VDDK programming guide,
 * "Gathering changed block information").  Everything else is left to the source. */
#include <inttypes.h>
#include <string.h>

#include "migration/internal.h"

/* The datastore is what stands in brackets before the path. */
static const char *
datastore_type(const struct vsphere_vm *vm, const char *path)
{
    size_t length = path && path[0] == '[' ? strcspn(path, "]") : 0;

    for (size_t i = 0; length && i < vm->datastores.count; i++) {
        const struct vsphere_datastore *store = &vm->datastores.items[i];

        if (strlen(store->name) == length - 1 && !strncmp(store->name, path + 1, length - 1))
            return store->type;
    }
    return NULL;
}

static bool
has_other_snapshots(const struct migration *m)
{
    for (size_t i = 0; i < m->vm.snapshots.count; i++)
        if (!m->record.active_snapshot ||
            strcmp(m->vm.snapshots.items[i].moref, m->record.active_snapshot) != 0)
            return true;
    return false;
}

char *
migration_doubt_tracking(const struct migration *m, const struct store_disk *disk)
{
    const struct vsphere_disk *now = migration_source_disk(&m->vm.disks, disk->device_key);
    const char *type = datastore_type(&m->vm, disk->source_path);

    if (!m->record.is_cbt_enabled_by_us)
        return xstrdup("changed-block tracking was not turned on by this migration");
    if (!disk->change_id || !*disk->change_id)
        return xstrdup("the history of its changes has been lost");
    if (has_other_snapshots(m))
        return xstrdup("the VM has other snapshots");
    if (!now || now->is_raw_mapping)
        return xstrdup("it is a raw device mapping");
    if (now->parent_count != 1) /* the frozen file, on which ours is the only snapshot */
        return xstrdup("its files are a chain, as of a linked clone");
    if (!type || strcmp(type, "VMFS") != 0)
        return xasprintf("its datastore is %s, not VMFS", type ? type : "of an unknown kind");
    return NULL;
}

/* Asks tracking; *ret_why says why there is no answer that helps. */
static void
ask_tracking(struct migration *m, const struct store_disk *disk, struct extents *areas,
             char **ret_why)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    struct extents found = {0};

    if (vsphere_query_changes(m->vsphere, m->record.vm_moref, m->record.active_snapshot,
                              disk->device_key, disk->capacity, "*", &found, &failure) < 0)
        *ret_why = xstrdup(err_message(failure)); /* a hint less, nothing worse */
    else if (found.count == 0)
        *ret_why = xstrdup("changed-block tracking says that nothing is in use");
    else if (extents_total(&found) == disk->capacity)
        *ret_why = xstrdup("changed-block tracking says that everything is in use");
    if (*ret_why)
        vec_done(&found);
    else
        *areas = found;
}

static void
find_disk(struct migration *m, const struct store_disk *disk, struct extents *areas)
{
    CLEANUP(free_charp) char *why = NULL;

    if (m->spec->extents == CONFIG_EXTENTS_NONE) {
        vec_push(areas, ((struct extent){0, disk->capacity}));
        migration_log(m, LOG_INFO, "[%s] everything is read (extents: none)", disk->name);
        return;
    }
    if (m->spec->extents == CONFIG_EXTENTS_ALLOCATED)
        why = xstrdup("extents: allocated");
    else if (m->spec->extents == CONFIG_EXTENTS_AUTO)
        why = migration_doubt_tracking(m, disk);
    if (!why)
        ask_tracking(m, disk, areas, &why);
    if (why)
        migration_log(m, LOG_INFO, "[%s] VDDK is asked what is in use: %s", disk->name, why);
    else
        migration_log(m, LOG_INFO,
                      "[%s] in use by changed-block tracking: extents=%zu bytes=%" PRIu64
                      " of %" PRIu64,
                      disk->name, areas->count, extents_total(areas), disk->capacity);
}

struct migration_plan *
migration_find_allocated(struct migration *m, const bool *is_wanted)
{
    struct migration_plan *allocated = xcalloc(m->disks.count, sizeof(*allocated));

    for (size_t i = 0; i < m->disks.count; i++)
        if (is_wanted[i])
            find_disk(m, &m->disks.items[i], &allocated[i].extents);
    return allocated;
}
