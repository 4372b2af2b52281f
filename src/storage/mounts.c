#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "storage/internal.h"

static void
end_mntentp(FILE **file)
{
    if (*file)
        endmntent(*file);
}

/* But for the root, above which nothing can be missing. */
static bool
is_at_or_above(const char *mount_point, const char *dir)
{
    size_t length = strlen(mount_point);

    return length > 1 && !strncmp(dir, mount_point, length) &&
           (dir[length] == '\0' || dir[length] == '/');
}

static bool
is_mounted(const char *mount_point, const char *mounts)
{
    CLEANUP(end_mntentp) FILE *file = setmntent(mounts, "re");
    char buffer[8192];
    struct mntent entry;

    while (file && getmntent_r(file, &entry, buffer, sizeof(buffer)))
        if (!strcmp(entry.mnt_dir, mount_point))
            return true;
    return !file; /* cannot be told: nothing is claimed */
}

bool
storage_lacks_mount(const char *dir, const char *fstab, const char *mounts, char **ret_mount_point)
{
    CLEANUP(end_mntentp) FILE *file = setmntent(fstab, "re");
    char buffer[8192];
    struct mntent entry;

    while (file && getmntent_r(file, &entry, buffer, sizeof(buffer)))
        if (is_at_or_above(entry.mnt_dir, dir) && !is_mounted(entry.mnt_dir, mounts)) {
            *ret_mount_point = xstrdup(entry.mnt_dir);
            return true;
        }
    return false;
}

void
storage_mount_done(struct storage_mount *mount)
{
    free(mount->point);
    free(mount->source);
    free(mount->type);
    free(mount->options);
    *mount = (struct storage_mount){0};
}

static void
set_mount(struct storage_mount *mount, const struct mntent *entry)
{
    storage_mount_done(mount);
    *mount = (struct storage_mount){.point = xstrdup(entry->mnt_dir),
                                    .source = xstrdup(entry->mnt_fsname),
                                    .type = xstrdup(entry->mnt_type),
                                    .options = xstrdup(entry->mnt_opts)};
}

bool
storage_find_mount(const char *dir, const char *mounts, struct storage_mount *ret_mount)
{
    CLEANUP(end_mntentp) FILE *file = setmntent(mounts, "re");
    struct storage_mount found = {0};
    char buffer[8192];
    struct mntent entry;

    while (file && getmntent_r(file, &entry, buffer, sizeof(buffer)))
        if (!strcmp(entry.mnt_dir, dir))
            set_mount(&found, &entry);
    *ret_mount = found;
    return found.source != NULL;
}

bool
storage_find_mount_above(const char *dir, const char *mounts, struct storage_mount *ret_mount)
{
    CLEANUP(end_mntentp) FILE *file = setmntent(mounts, "re");
    struct storage_mount found = {0};
    char buffer[8192];
    struct mntent entry;

    while (file && getmntent_r(file, &entry, buffer, sizeof(buffer)))
        if ((!strcmp(entry.mnt_dir, "/") || is_at_or_above(entry.mnt_dir, dir)) &&
            (!found.point || strlen(entry.mnt_dir) >= strlen(found.point)))
            set_mount(&found, &entry);
    *ret_mount = found;
    return found.source != NULL;
}

bool
storage_is_shared_type(const char *type)
{
    static const char *const types[] = {"nfs",  "nfs4", "ceph",   "gfs2", "ocfs2",    "lustre",
                                        "gpfs", "mmfs", "beegfs", "cifs", "smb3",     "wekafs",
                                        "9p",   "vxfs", "panfs",  "afs",  "virtiofs", "orangefs"};

    if (!strncmp(type, "fuse.", 5))
        return true; /* glusterfs, moosefs, ... */
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (!strcmp(type, types[i]))
            return true;
    return false;
}
