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

/* A changeId is "<uuid>/<sequence>"; another uuid means that tracking began anew. */
static bool
same_history(const char *a, const char *b)
{
    size_t length = strcspn(a, "/");

    return length == strcspn(b, "/") && !strncmp(a, b, length);
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

    if (snapshot && disk->pending_change_id &&
        !same_history(disk->change_id, disk->pending_change_id)) {
        migration_log(
            m, LOG_WARNING,
            "[%s] changed-block tracking was reset (changeId %s, was %s): reading the whole "
            "disk again",
            disk->name, disk->pending_change_id, disk->change_id);
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
