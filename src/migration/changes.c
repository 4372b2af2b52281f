/* What has changed since the last snapshot; where the history is gone, everything. */
#include <inttypes.h>
#include <string.h>

#include "migration/internal.h"

#define MERGE_GAP (64 * KIB) /* reading so much too much costs less than another request */

void
migration_plans_free(struct extents *plans, size_t count)
{
    for (size_t i = 0; plans && i < count; i++)
        vec_done(&plans[i]);
    free(plans);
}

bool
migration_same_history(const char *a, const char *b)
{
    size_t length = a ? strcspn(a, "/") : 0;

    return a && b && length == strcspn(b, "/") && !strncmp(a, b, length);
}

/* The change id that @disk has now: in the snapshot, or of the powered-off VM's own disk, which may
 * not show one. */
static const char *
present_change_id(const struct migration *m, const char *snapshot, const struct store_disk *disk)
{
    const struct vsphere_disk *now = migration_source_disk(&m->vm.disks, disk->device_key);

    if (snapshot)
        return disk->pending_change_id;
    return now && now->change_id ? now->change_id : disk->change_id;
}

static void
plan_everything(const struct store_disk *disk, struct extents *plan)
{
    plan->count = 0;
    vec_push(plan, ((struct extent){0, disk->capacity}));
}

static int
plan_disk(struct migration *m, const char *snapshot, const struct store_disk *disk,
          struct extents *plan, struct err **err)
{
    struct err *failure = NULL;
    const char *present = present_change_id(m, snapshot, disk);

    if (!migration_same_history(disk->change_id, present)) {
        migration_log(
            m, LOG_WARNING,
            "[%s] changed-block tracking was reset (changeId %s, was %s): reading the whole "
            "disk again",
            disk->name, present ? present : "none", disk->change_id);
        plan_everything(disk, plan);
        return 0;
    }
    if (vsphere_query_changes(m->vsphere, m->record.vm_moref, snapshot, disk->device_key,
                              disk->capacity, disk->change_id, plan, &failure) == 0)
        return extents_normalize(plan, disk->capacity, MERGE_GAP, true, err);
    if (err_code(failure) != E_CBT_RESET) {
        err_move(err, &failure);
        return err_wrap(err, "disk %s: changed blocks", disk->address);
    }
    migration_log(m, LOG_WARNING, "[%s] %s: reading the whole disk again", disk->name,
                  err_message(failure));
    err_free(failure);
    plan_everything(disk, plan);
    return 0;
}

int
migration_query_changes(struct migration *m, const char *snapshot, struct extents **ret_plans,
                        struct err **err)
{
    struct extents *plans = xcalloc(m->disks.count, sizeof(*plans));

    for (size_t i = 0; i < m->disks.count; i++) {
        const struct store_disk *disk = &m->disks.items[i];

        if (plan_disk(m, snapshot, disk, &plans[i], err) < 0) {
            migration_plans_free(plans, m->disks.count);
            return -1;
        }
        migration_log(m, LOG_INFO, "[%s] %s cbt ranges=%zu changed_bytes=%" PRIu64, disk->name,
                      store_stage_name(m->record.stage), plans[i].count, extents_total(&plans[i]));
    }
    *ret_plans = plans;
    return 0;
}
