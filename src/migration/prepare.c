/* Pools that can be written, and a source that tracks its changes. */
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "migration/internal.h"
#include "storage/storage.h"

static const char *
member_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int
resolve_pool(struct migration *m, const char *storage_id, char **ret_dir, struct err **err)
{
    json_t *pool = NULL;
    struct storage_pool description;
    int result;

    if (cloudstack_get_pool(m->cloudstack, storage_id, &pool, err) < 0)
        return -1;
    description = (struct storage_pool){
        .id = storage_id,
        .name = member_text(pool, "name"),
        .type = member_text(pool, "type"),
        .path = member_text(pool, "path"),
        .host = member_text(pool, "ipaddress"),
        .state = member_text(pool, "state"),
        .is_userspace = m->config->storage.is_userspace_nfs,
        .allows_unmounted = m->config->storage.allows_unmounted,
    };
    result = storage_resolve(&description, ret_dir, err);
    json_decref(pool);
    return result;
}

static bool
is_below(const char *path, const char *dir)
{
    size_t length = strlen(dir);

    return !strncmp(path, dir, length) && path[length] == '/';
}

/* A thin disk may grow to its capacity: less room than that is worth a word, not a refusal. */
static int
warn_of_space(struct migration *m, const char *dir, struct err **err)
{
    uint64_t needed = 0, available;

    for (size_t i = 0; i < m->disks.count; i++)
        if (is_below(m->disks.items[i].target_path, dir))
            needed += m->disks.items[i].capacity;
    if (storage_free_bytes(dir, &available, err) < 0)
        return -1;
    if (available < needed)
        migration_log(m, LOG_WARNING,
                      "%s has %" PRIu64 " MiB free; the disks hold up to %" PRIu64 " MiB", dir,
                      (uint64_t)(available / MIB), (uint64_t)(needed / MIB));
    return 0;
}

static int
check_space(struct migration *m, struct err **err)
{
    CLEANUP(free_charp) char *last = NULL;

    for (size_t i = 0; i < m->disks.count; i++) {
        const char *path = m->disks.items[i].target_path;
        CLEANUP(free_charp) char *dir = strndup(path, (size_t)(strrchr(path, '/') - path));

        if (last && !strcmp(last, dir))
            continue;
        if (warn_of_space(m, dir, err) < 0)
            return -1;
        free(last);
        last = take(dir);
    }
    return 0;
}

int
migration_stage_storage(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        struct store_disk *disk = &m->disks.items[i];
        CLEANUP(free_charp) char *dir = NULL;
        CLEANUP(free_charp) char *file = NULL;

        if (resolve_pool(m, disk->storage_id, &dir, err) < 0)
            return err_wrap(err, "disk %s", disk->address);
        file = xasprintf("%s_%s.qcow2", m->record.migration_id, disk->name);
        free(disk->target_path);
        disk->target_path = file_join(dir, file);
    }
    if (check_space(m, err) < 0)
        return -1;
    return migration_enter(m, STAGE_ENABLING_CBT, err);
}

int
migration_check_pools(struct migration *m, struct err **err)
{
    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];
        CLEANUP(free_charp) char *dir = NULL;
        struct err *failure = NULL;

        if (resolve_pool(m, disk->storage_id, &dir, &failure) < 0) {
            if (err_code(failure) == E_NO_SPACE) { /* whoever writes there waits for room */
                err_free(failure);
                continue;
            }
            err_move(err, &failure);
            return err_wrap(err, "disk %s", disk->address);
        }
        if (!is_below(disk->target_path, dir)) {
            err_set(err, E_POOL, "disk %s: its pool is at %s now, its file is %s", disk->address,
                    dir, disk->target_path);
            return err_hint(
                err,
                "mount the pool where it was, or run `v2c-engine forget --vm-id %s` and "
                "begin anew",
                m->record.vm_moref);
        }
    }
    return 0;
}

int
migration_stage_cbt(struct migration *m, struct err **err)
{
    if (migration_read_source(m, err) < 0) /* others may have turned it on since */
        return -1;
    if (!m->vm.is_cbt_enabled) {
        migration_log(m, LOG_INFO, "Turning changed-block tracking on");
        if (vsphere_enable_cbt(m->vsphere, m->record.vm_moref, err) < 0)
            return err_wrap(err, "enabling changed-block tracking");
        /* With a snapshot it does not know what was in use before: then it is as if others had turned
         * it on. */
        if (migration_read_source(m, err) < 0)
            return -1;
        m->record.is_cbt_enabled_by_us = m->vm.snapshots.count == 0;
    }
    return migration_enter(m, STAGE_CREATING_BASE_SNAPSHOT, err);
}
