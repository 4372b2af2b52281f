/* Internal to this room. */
#ifndef V2C_STORAGE_INTERNAL_H
#define V2C_STORAGE_INTERNAL_H

#include <stdbool.h>

/* Whether @fstab lists @dir, or a directory above it, as a mount point that @mounts does not have: then
 * what is written there would land on the disk below.  Both are in the format of fstab(5). */
bool storage_lacks_mount(const char *dir, const char *fstab, const char *mounts,
                         char **ret_mount_point);

#endif
