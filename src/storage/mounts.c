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
    free(mount->source);
    free(mount->type);
    free(mount->options);
    *mount = (struct storage_mount){0};
}

bool
storage_find_mount(const char *dir, const char *mounts, struct storage_mount *ret_mount)
{
    CLEANUP(end_mntentp) FILE *file = setmntent(mounts, "re");
    struct storage_mount found = {0};
    char buffer[8192];
    struct mntent entry;

    while (file && getmntent_r(file, &entry, buffer, sizeof(buffer))) {
        if (strcmp(entry.mnt_dir, dir) != 0)
            continue;
        storage_mount_done(&found);
        found = (struct storage_mount){.source = xstrdup(entry.mnt_fsname),
                                       .type = xstrdup(entry.mnt_type),
                                       .options = xstrdup(entry.mnt_opts)};
    }
    *ret_mount = found;
    return found.source != NULL;
}
