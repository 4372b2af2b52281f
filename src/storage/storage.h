/* Target pools: where the files of a CloudStack storage pool are seen from here, whether they can be
 * written, and how much room is left.
 *
 * Threading: no state; any thread. */
#ifndef V2C_STORAGE_STORAGE_H
#define V2C_STORAGE_STORAGE_H

#include <stdint.h>

struct err;

struct storage_pool {
    const char *id; /* CloudStack's pool uuid */
    const char *name;
    const char *type;  /* listStoragePools: "SharedMountPoint", "NetworkFilesystem", ... */
    const char *path;  /* of the pool, as CloudStack says */
    const char *state; /* must be "Up" */
};

/* The directory on this host that holds the pool's files; the caller frees.  E_POOL, with the cure,
 * for a type that this version does not handle, a path that is not there or cannot be written. */
int storage_resolve(const struct storage_pool *pool, char **ret_dir, struct err **err);
/* Free bytes for this user in the file system of @dir. */
int storage_free_bytes(const char *dir, uint64_t *ret_bytes, struct err **err);

#endif
