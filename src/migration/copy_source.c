/* Opens the source of one disk's copy, as configuration and spec say. */
#include "migration/copy.h"
#include "source/source.h"

static struct source_vddk_tuning
tuning_of(const struct copy_task *task)
{
    const struct config_vddk *vddk = &task->run->m->spec->vddk;

    _Static_assert((int)CONFIG_COMPRESSION_SKIPZ == (int)SOURCE_COMPRESSION_SKIPZ &&
                       (int)CONFIG_COMPRESSION_FASTLZ == (int)SOURCE_COMPRESSION_FASTLZ &&
                       (int)CONFIG_COMPRESSION_ZLIB == (int)SOURCE_COMPRESSION_ZLIB,
                   "both name compressions in one order");
    return (struct source_vddk_tuning){
        .transports = vddk->transports,
        .compression = (enum source_compression)vddk->compression,
        .is_buffered = !vddk->is_unbuffered,
        .buffer_kb = (unsigned)vddk->nfc_buffer_kb,
        .buffers = (unsigned)vddk->nfc_buffer_count,
        .log_level = (unsigned)(vddk->log_level + 1),
        .tmp_dir = vddk->tmp_dir,
        .memory_step = task->memory_step,
    };
}

/* ---- a second handle --------------------------------------------------------------------------- */

/* A place among the handles of all workers, if one is free and nobody waits for it. */
static bool
may_open(void *opaque)
{
    struct copy_task *task = opaque;
    struct err *none = NULL;

    if (migration_slot_try(task->slot, &task->second_slot, &none) < 0)
        log_debug("[%s] second connection: %s", task->disk->name, err_message(none));
    err_free(none);
    return task->second_slot != NULL;
}

static bool
is_wanted_by_others(void *opaque)
{
    const struct copy_task *task = opaque;

    return task->second_slot && migration_slot_should_yield(task->second_slot);
}

static void
closed(void *opaque)
{
    struct copy_task *task = opaque;

    migration_slot_freep(&task->second_slot);
}

static void
decided(void *opaque, bool is_kept, uint64_t rate_one, uint64_t rate_both)
{
    const struct copy_task *task = opaque;

    log_info("[%s] second connection %s: %.1f MiB/s with one, %.1f MiB/s with both",
             task->disk->name, is_kept ? "kept" : "closed", (double)rate_one / (double)MIB,
             (double)rate_both / (double)MIB);
}

/* For tests: how much shorter the trial is. */
static unsigned
hurry(void)
{
    const char *text = getenv("V2C_SECOND_HURRY");

    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

/* ---- opening ----------------------------------------------------------------------------------- */

int
copy_open_source(struct copy_task *task, struct disk_source **ret_source, struct err **err)
{
    const struct migration *m = task->run->m;
    CLEANUP(free_charp) char *server = NULL;
    struct source_vddk_options options = {
        .libdir = m->config->migration.vddk_path,
        .user = m->config->vcenter.user,
        .password = m->config->vcenter.password,
        .thumbprint = m->thumbprint,
        .vm_moref = m->record.vm_moref,
        .snapshot_moref = task->run->copy->snapshot,
        .disk_path = task->disk->source_path,
        .tuning = tuning_of(task),
        .expected_size = task->disk->capacity,
        .queue_depth = COPY_QUEUE_DEPTH,
        .pool = task->pool,
    };
    const struct source_vddk_second second = {.may_open = may_open,
                                              .closed = closed,
                                              .is_wanted = is_wanted_by_others,
                                              .decided = decided,
                                              .opaque = task,
                                              .hurry = hurry()};

    if (vsphere_split_host(m->config->vcenter.host, false, &server, &options.port, err) < 0)
        return -1;
    options.server = server;
    if (m->spec->readers < 2)
        return source_vddk_open(&options, ret_source, err);
    return source_vddk_open_pair(&options, &second, ret_source, err);
}
