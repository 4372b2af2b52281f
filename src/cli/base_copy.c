#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/expert.h"

/* What is not whole yet stands under this name, so that a file at the target's own is always a whole
 * copy: delta-sync relies on it. */
static char *
partial_name(const char *target)
{
    return xasprintf("%s.part", target);
}

/* One that a killed copy left behind is written over from the start. */
static int
open_partial(const struct expert_copy *copy, const char *partial, struct qcow2_image **ret_image,
             struct err **err)
{
    char owner[QCOW2_ID_SIZE];
    struct qcow2_options options;

    expert_owner(copy->settings, owner);
    options = expert_target_options(copy, owner);
    if (access(partial, F_OK) < 0)
        return qcow2_create(partial, copy->source->size, &options, ret_image, err);
    if (qcow2_resume(partial, copy->source->size, &options, ret_image, err) < 0)
        return err_hint(err, "if nothing uses %s, remove it and start again", partial);
    return 0;
}

/* What the source has, and what an earlier copy has put where the source has nothing. */
static int
make_plan(struct expert_copy *copy, struct qcow2_image *image, struct err **err)
{
    struct disk_source *source = copy->source;

    if (source->ops->extents(source, 0, source->size, &copy->plan, err) < 0 ||
        qcow2_mapped(image, &copy->plan, err) < 0)
        return -1;
    return extents_normalize(&copy->plan, source->size, 0, true, err);
}

static int
copy_whole(struct expert_copy *copy, const char *partial, struct err **err)
{
    CLEANUP(qcow2_closep) struct qcow2_image *image = NULL;

    if (open_partial(copy, partial, &image, err) < 0)
        return -1;
    if (make_plan(copy, image, err) < 0 || expert_copy_run(copy, qcow2_target(image), err) < 0 ||
        qcow2_finish(&image, err) < 0) {
        if (image)
            (void)unlink(partial); /* the error above is the one worth reporting */
        return -1;
    }
    return 0;
}

static int
fail_existing(const char *target, struct err **err)
{
    err_set(err, E_TARGET_EXISTS, "%s exists", target);
    return err_hint(err,
                    "if nothing needs it, move it away and start again; delta-sync writes into "
                    "a file that exists");
}

static int
copy_and_publish(struct expert_copy *copy, struct err **err)
{
    const char *target = copy->settings->target;
    CLEANUP(free_charp) char *partial = partial_name(target);
    bool exists = false;

    if (copy_whole(copy, partial, err) < 0 || file_publish(partial, target, &exists, err) < 0)
        return -1;
    return exists ? fail_existing(target, err) : 0;
}

static int
run_base_copy(void *opaque, const struct words *words, struct err **err)
{
    struct expert settings = {0};
    struct expert_copy copy = {0};
    int rc = expert_settings(EXPERT_BASE_COPY, opaque, &settings, err);

    if (rc == 0 && access(settings.target, F_OK) == 0)
        rc = fail_existing(settings.target, err);
    if (rc == 0)
        rc = expert_copy_init(&copy, EXPERT_BASE_COPY, &settings,
                              (uint64_t)settings.disk_size_bytes, err);
    if (rc == 0)
        rc = copy_and_publish(&copy, err);
    if (rc == 0)
        expert_copy_print(&copy);
    expert_copy_done(&copy);
    expert_done(&settings);
    return rc;
}

const struct command command_base_copy = {
    .name = "base-copy",
    .words = "",
    .summary = "expert: copy one disk into a new QCOW2 file",
    .description =
        "Copies what a disk has allocated into a new QCOW2 file, and prints one JSON object: "
        "bytes_read, bytes_written, bytes_zero_skipped, elapsed_sec and mode. It keeps no state, "
        "takes no snapshot and knows no CloudStack: migrations are made with run.\n\n"
        "While it runs the file is called FILE.part. A copy that fails or is stopped (Ctrl-C) "
        "removes "
        "it. The file carries a mark by which delta-sync knows it: that it is of this program, and "
        "of "
        "which VM.",
    .options = expert_base_options,
    .values_size = sizeof(struct expert),
    .is_expert = true,
    .run = run_base_copy,
};
