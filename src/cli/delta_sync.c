#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/expert.h"

/* Only what base-copy made, from the same VM: a delta over anything else is no disk of anything. */
static int
check_target(const struct expert *settings, struct qcow2_info *ret_info, struct err **err)
{
    const char *path = settings->target;
    char owner[QCOW2_ID_SIZE];

    expert_owner(settings, owner);
    if (qcow2_inspect(path, ret_info, err) < 0)
        return -1;
    if (!ret_info->is_ours) {
        err_set(err, E_TARGET_FORMAT, "%s was not made by this program", path);
        return err_hint(err, "make the file with base-copy first");
    }
    if (strcmp(ret_info->owner_id, owner) != 0) {
        err_set(err, E_TARGET_FORMAT, "%s belongs to \"%s\", this delta to \"%s\"", path,
                ret_info->owner_id, owner);
        return err_hint(err, "a delta goes into the file that base-copy made of the same VM, or of "
                             "a --source");
    }
    return 0;
}

static int
apply(struct expert_copy *copy, struct err **err)
{
    const struct expert *settings = copy->settings;
    CLEANUP(qcow2_closep) struct qcow2_image *image = NULL;
    char owner[QCOW2_ID_SIZE];
    struct qcow2_options options;

    expert_owner(settings, owner);
    options = expert_target_options(copy, owner);
    if (qcow2_resume(settings->target, copy->source->size, &options, &image, err) < 0)
        return -1;
    if (expert_copy_run(copy, qcow2_target(image), err) < 0 || qcow2_finish(&image, err) < 0)
        return err_hint(err,
                        "%s is between two states now: run the same command again before it is "
                        "used",
                        settings->target);
    return 0;
}

static int
sync_delta(const struct expert *settings, struct err **err)
{
    struct expert_copy copy = {0};
    struct qcow2_info info;
    int rc = check_target(settings, &info, err);

    if (rc == 0)
        rc = ranges_read(settings->ranges_file, info.size, &copy.plan, err);
    if (rc == 0)
        rc = extents_normalize(&copy.plan, info.size, 0, false, err);
    if (rc == 0)
        rc = expert_copy_init(&copy, EXPERT_DELTA_SYNC, settings, info.size, err);
    if (rc == 0)
        rc = apply(&copy, err);
    if (rc == 0)
        expert_copy_print(&copy);
    expert_copy_done(&copy);
    return rc;
}

static int
run_delta_sync(void *opaque, const struct words *words, struct err **err)
{
    struct expert settings = {0};
    int rc = expert_settings(EXPERT_DELTA_SYNC, opaque, &settings, err);

    if (rc == 0)
        rc = sync_delta(&settings, err);
    expert_done(&settings);
    return rc;
}

const struct command command_delta_sync = {
    .name = "delta-sync",
    .words = "",
    .summary = "expert: copy changed ranges of a disk into its QCOW2 file",
    .description =
        "Copies the ranges of a file that other tools made (from QueryChangedDiskAreas, say) into "
        "a "
        "QCOW2 file that base-copy made of the same disk, and prints one JSON object as base-copy "
        "does. Every range must be whole sectors inside the disk; ranges that touch or overlap are "
        "copied once.\n\n"
        "A delta that fails or is stopped can be repeated, and must be before the file is used.",
    .options = expert_delta_options,
    .values_size = sizeof(struct expert),
    .is_expert = true,
    .run = run_delta_sync,
};
