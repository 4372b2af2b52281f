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

    if (vsphere_split_host(m->config->vcenter.host, false, &server, &options.port, err) < 0)
        return -1;
    options.server = server;
    return source_vddk_open(&options, ret_source, err);
}
