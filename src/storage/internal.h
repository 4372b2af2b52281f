/* Internal to this room. */
#ifndef V2C_STORAGE_INTERNAL_H
#define V2C_STORAGE_INTERNAL_H

#include <stdbool.h>

#include "storage/storage.h"

/* What of this host the room looks at, so that tests can show it another. */
struct storage_host {
    const char *fstab, *mounts;   /* in the format of fstab(5) */
    const char *os_release;       /* os-release(5) */
    const char *agent_properties; /* is there where a CloudStack agent runs */
    const char *mount_root;       /* NFS pools are mounted at <mount_root>/<pool id> */
    const char *mount_argv[2];    /* the program, and an argument before all others or NULL */
    const char *mount_nfs[2];     /* where mount looks for its helper; NULL: nowhere */
    const char *filesystems;      /* proc(5) */
    const char *modules;          /* <modules>/<release>/modules.dep, modules.builtin */
    int patience_ms;              /* with mount, and with a file system that does not answer */
};
extern const struct storage_host storage_this_host;

/* storage_resolve for @host. */
int storage_resolve_on(const struct storage_host *host, const struct storage_pool *pool,
                       char **ret_dir, struct err **err);

/* client.c: storage_look_at_nfs for @host. */
void storage_look_at_nfs_on(const struct storage_host *host, struct storage_nfs_client *ret_client);

/* ---- mounts.c --------------------------------------------------------------------------------- */

/* Whether @fstab lists @dir, or a directory above it, as a mount point that @mounts does not have: then
 * what is written there would land on the disk below.  Both are in the format of fstab(5). */
bool storage_lacks_mount(const char *dir, const char *fstab, const char *mounts,
                         char **ret_mount_point);

struct storage_mount {
    char *point, *source, *type, *options;
};
void storage_mount_done(struct storage_mount *mount);
/* What is mounted at @dir, the last when there are several; false when nothing is. */
bool storage_find_mount(const char *dir, const char *mounts, struct storage_mount *ret_mount);
/* What @dir, without symbolic links, lies on: the nearest mount at or above it; false when that cannot be
 * told. */
bool storage_find_mount_above(const char *dir, const char *mounts, struct storage_mount *ret_mount);
/* Whether other hosts can have a file system of that type too, by its nature. */
bool storage_is_shared_type(const char *type);

/* ---- nfs.c ------------------------------------------------------------------------------------ */

/* Whether "host:path" @source is the export @path of @server; the same address under another name
 * is. */
bool storage_is_same_export(const char *source, const char *server, const char *path);
/* Mount options by V2C_NFS_MOUNT_OPTS or the distribution; NULL: mount's own.  The caller frees. */
char *storage_nfs_options(const struct storage_host *host);
/* Both come from a server: what is no server, export or id is refused. */
int storage_nfs_check(const struct storage_pool *pool, struct err **err);
/* The pool's mount point, mounted. */
int storage_nfs_mount(const struct storage_host *host, const struct storage_pool *pool,
                      char **ret_dir, struct err **err);
/* export.c: the export's "nfs://...", written to as a trial. */
int storage_nfs_export(const struct storage_pool *pool, char **ret_dir, struct err **err);
/* E_POOL when the file system at @dir does not answer in time.  Asks in a child, which can be killed. */
int storage_check_answers(const struct storage_host *host, const char *dir, struct err **err);
/* Whether @server, a name or an address, is an address of this machine. */
bool storage_is_this_machine(const char *server);

#endif
