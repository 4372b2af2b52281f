#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "migration/internal.h"

char *
migration_directory(const char *control_dir, const char *vm_name, const char *moref)
{
    CLEANUP(free_charp) char *raw = xasprintf("%s_%s", vm_name, moref);
    CLEANUP(free_charp) char *safe = file_safe_name(raw);
    struct stat st;

    /* The existing tool keeps a raw name with spaces as it is; its directory is used on. */
    if (strcmp(raw, safe) && !strchr(raw, '/') && raw[0] != '.') {
        CLEANUP(free_charp) char *old = file_join(control_dir, raw);

        if (stat(old, &st) == 0 && S_ISDIR(st.st_mode))
            return take(old);
    }
    return file_join(control_dir, safe);
}

char *
migration_lock_path(const char *control_dir, const char *vcenter, const char *moref)
{
    CLEANUP(free_charp) char *name = xasprintf("%s_%s", vcenter, moref);
    CLEANUP(free_charp) char *safe = file_safe_name(name);

    return xasprintf("%s/.locks/%s", control_dir, safe);
}

const char *
migration_next_stage(enum store_stage stage, bool is_finalize_requested, bool runs_virt_v2v)
{
    switch (stage) {
    case STAGE_INIT:
        return "discovering_vmware_disks";
    case STAGE_DISCOVERING_DISKS:
        return "preparing_target_storage";
    case STAGE_PREPARING_STORAGE:
        return "enabling_cbt";
    case STAGE_ENABLING_CBT:
        return "creating_base_snapshot";
    case STAGE_CREATING_BASE_SNAPSHOT:
        return "base_copy";
    case STAGE_BASE_COPY:
        return "delta";
    case STAGE_DELTA:
        return is_finalize_requested ? "Finalize" : "delta";
    case STAGE_AWAITING_SHUTDOWN:
        return "Shutdown action";
    case STAGE_FINAL_SYNC:
        return runs_virt_v2v ? "converting" : "import_root_disk";
    case STAGE_CONVERTING:
        return "import_root_disk";
    case STAGE_IMPORT_ROOT_DISK:
        return "import_data_disk";
    case STAGE_IMPORT_DATA_DISK:
        return "done";
    case STAGE_DONE:
    case STAGE_ROLLED_BACK:
        return "none";
    default:
        return "unknown";
    }
}

void
migration_record_tag(const struct store_migration *record, char ret_tag[64])
{
    snprintf(ret_tag, 64, "v2c-%.30s-%" PRIx64, record->vm_moref, (uint64_t)record->created_at);
}

void
migration_tag(const struct migration *m, char ret_tag[64])
{
    migration_record_tag(&m->record, ret_tag);
}

bool
migration_owns_snapshot(const char *tag, const char *snapshot_name)
{
    size_t length = strlen(tag);

    return !strncmp(snapshot_name, tag, length) && snapshot_name[length] == '-';
}

/* The lowest number of a SCSI controller that has disks; -1 when there is none. */
static int32_t
first_scsi_controller(const struct vsphere_vm *vm)
{
    int32_t first = -1;

    for (size_t i = 0; i < vm->disks.count; i++) {
        const struct vsphere_disk *disk = &vm->disks.items[i];

        if (disk->bus == VSPHERE_BUS_SCSI && (first < 0 || disk->controller_number < first))
            first = disk->controller_number;
    }
    return first;
}

void
migration_disk_names(const struct vsphere_vm *vm, const struct vsphere_disk *disk, char **ret_key,
                     char **ret_name)
{
    char address[32];
    char *colon;

    if (disk->bus == VSPHERE_BUS_SCSI && disk->controller_number == first_scsi_controller(vm)) {
        *ret_key = xasprintf("%" PRId32, disk->unit);
        *ret_name = xasprintf("disk%" PRId32, disk->unit);
        return;
    }
    vsphere_disk_address(disk, address);
    *ret_key = xstrdup(address);
    *ret_name = xasprintf("disk_%s", address);
    colon = strchr(*ret_name, ':');
    if (colon)
        *colon = '-';
}

char *
migration_digests_path(const char *directory, const char *disk_name)
{
    return xasprintf("%s/%s.digests", directory, disk_name);
}
