/* Target pools: where the files of a CloudStack storage pool are seen from here, whether they can be
 * written, and how much room is left.
 *
 * An NFS pool that is not mounted is mounted by storage_resolve, and stays mounted.
 *
 * Threading: no state; any thread. */
#ifndef V2C_STORAGE_STORAGE_H
#define V2C_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

struct err;

struct storage_pool {
    const char *id; /* CloudStack's pool uuid */
    const char *name;
    const char *type;      /* listStoragePools: "SharedMountPoint", "NetworkFilesystem", ... */
    const char *path;      /* of the pool, as CloudStack says */
    const char *host;      /* its `ipaddress`: the NFS server, or the KVM host of a local pool */
    const char *state;     /* must be "Up" */
    bool is_userspace;     /* an NFS pool is written without a mount */
    bool allows_unmounted; /* a SharedMountPoint may be a directory like any other */
};

/* The directory on this host that holds the pool's files, or the export's "nfs://..." (io/io.h) for one
 * that is not mounted; the caller frees.  E_POOL, with the cure,
 * for a type that this version does not handle, a path that is not there or cannot be written, another
 * file system than the pool's where it should be. */
int storage_resolve(const struct storage_pool *pool, char **ret_dir, struct err **err);
/* Whether programs that know paths only can use what lies in @dir. */
bool storage_is_mounted(const char *dir);
/* Free bytes for this user in the file system of @dir. */
int storage_free_bytes(const char *dir, uint64_t *ret_bytes, struct err **err);
/* Bytes below which @dir's file system is taken for full: it is others' too. */
int storage_floor_bytes(const char *dir, uint64_t *ret_bytes, struct err **err);

enum storage_known { STORAGE_UNKNOWN, STORAGE_NO, STORAGE_YES };
/* What this host has to mount NFS with. */
struct storage_nfs_client {
    const char *program;       /* mount.nfs; NULL: not installed */
    enum storage_known kernel; /* has a client, or a module with one */
    bool may_mount;            /* this process */
    bool
        has_low_ports; /* may use those below 1024, which servers ask of a client without a mount */
    bool has_agent;    /* a CloudStack agent runs here: it mounts, we do not */
};
void storage_look_at_nfs(struct storage_nfs_client *ret_client);

#endif
