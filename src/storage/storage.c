#include "storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "io/io.h"
#include "storage/internal.h"

const struct storage_host storage_this_host = {
    .fstab = "/etc/fstab",
    .mounts = "/proc/self/mounts",
    .os_release = "/etc/os-release",
    .agent_properties = "/etc/cloudstack/agent/agent.properties",
    .mount_root = "/mnt",
    .mount_argv = {"mount", NULL},
    .mount_nfs = {"/sbin/mount.nfs", "/usr/sbin/mount.nfs"},
    .filesystems = "/proc/filesystems",
    .modules = "/lib/modules",
    .patience_ms = 60000,
};

/* The spellings that servers and the existing tool use. */
static bool
is_shared_mount_point(const char *type)
{
    static const char *const words[] = {"SharedMountPoint", "shared mountpoint",
                                        "shared_mountpoint"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcasecmp(type, words[i]))
            return true;
    return false;
}

static bool
is_nfs(const char *type)
{
    return !strcasecmp(type, "NetworkFilesystem") || !strcasecmp(type, "nfs");
}

static int
refuse_type(const char *type, struct err **err)
{
    err_set(err, E_POOL, "its type %s is not supported", type);
    return err_hint(err, "choose a pool of type NetworkFilesystem (NFS) or SharedMountPoint");
}

/* Storage of one KVM host can be written on that host only. */
static int
check_local(const struct storage_pool *pool, struct err **err)
{
    const char *where = pool->host && *pool->host ? pool->host : "one KVM host";

    if (pool->host && *pool->host && storage_is_this_machine(pool->host))
        return 0;
    err_set(err, E_POOL, "its type Filesystem is storage local to %s, which is not this machine",
            where);
    return err_hint(err,
                    "run v2c-engine on %s, or choose a pool of type NetworkFilesystem (NFS) or "
                    "SharedMountPoint",
                    where);
}

/* The path comes from a server: it must be one that names one directory only. */
static int
check_path(const char *path, struct err **err)
{
    if (path[0] != '/' || strlen(path) >= PATH_MAX - NAME_MAX)
        return err_set(err, E_POOL, "its path \"%s\" is not absolute", path);
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return err_set(err, E_POOL, "its path has control characters");
    for (const char *part = path; part; part = strchr(part + 1, '/'))
        if (!strcmp(part, "/..") || !strncmp(part, "/../", 4))
            return err_set(err, E_POOL, "its path \"%s\" has .. in it", path);
    if (path[strspn(path, "/")] == '\0')
        return err_set(err, E_POOL, "its path is the root directory");
    return 0;
}

static int
check_directory(const struct storage_host *host, const char *dir, struct err **err)
{
    CLEANUP(free_charp) char *mount_point = NULL;
    struct stat st;

    if (stat(dir, &st) < 0) {
        err_set(err, E_POOL, "%s: %s", dir, strerrordesc_np(errno));
        return err_hint(err, "mount the pool's file system on this host at that very path");
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(err, E_POOL, "%s is not a directory", dir);
    if (storage_lacks_mount(dir, host->fstab, host->mounts, &mount_point)) {
        err_set(err, E_POOL, "%s is listed in /etc/fstab and not mounted", mount_point);
        return err_hint(err, "mount %s", mount_point);
    }
    return 0;
}

/* A directory that nothing is mounted at looks like the pool and takes the disks onto the root file system,
 * where no KVM host ever sees them. */
static int
check_shared_mount(const struct storage_host *host, const struct storage_pool *pool,
                   const char *dir, struct err **err)
{
    CLEANUP(storage_mount_done) struct storage_mount mount = {0};
    CLEANUP(free_charp) char *real = realpath(dir, NULL);
    CLEANUP(close_fdp) int fd = -1;
    bool is_known;

    if (!is_shared_mount_point(pool->type) || pool->allows_unmounted)
        return 0;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* what mounts on demand does it now */
    is_known = storage_find_mount_above(real ? real : dir, host->mounts, &mount);
    if (is_known &&
        (storage_is_shared_type(mount.type) ||
         (!strcmp(mount.point, real ? real : dir) && strcmp(mount.type, "autofs") != 0)))
        return 0;
    err_set(err, E_POOL, "nothing is mounted at %s: it is a directory of %s (%s), mounted at %s",
            dir, is_known ? mount.source : "an unknown file system", is_known ? mount.type : "?",
            is_known ? mount.point : "a place that is not known");
    return err_hint(
        err,
        "mount the shared file system at %s, as the KVM hosts have it; if they do see this very "
        "directory, set storage.allow_unmounted_paths: true",
        dir);
}

static int
fail_write(const char *dir, int errnum, struct err **err)
{
    err_set(err, errnum == ENOSPC || errnum == EDQUOT ? E_NO_SPACE : E_POOL,
            "cannot write in %s: %s", dir, strerrordesc_np(errnum));
    return err_hint(err, "make it writable for the user that migrates, usually root; an NFS export "
                         "must not squash root");
}

/* Modes do not tell (root, root_squash, read-only mounts, quotas): only a try does. */
static int
try_write(const char *dir, struct err **err)
{
    CLEANUP(free_charp) char *path = NULL;
    struct timespec now;
    int fd, errnum = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    path = xasprintf("%s/.v2c-preflight-%ld-%ld%09ld.tmp", dir, (long)getpid(), (long)now.tv_sec,
                     now.tv_nsec);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_write(dir, errno, err);
    if (write(fd, "v2c", 3) != 3 || fsync(fd) < 0)
        errnum = errno ? errno : EIO;
    if (close(fd) < 0 && !errnum)
        errnum = errno;
    if (unlink(path) < 0 && !errnum)
        errnum = errno;
    return errnum ? fail_write(dir, errnum, err) : 0;
}

static int
find_dir(const struct storage_host *host, const struct storage_pool *pool, char **ret_dir,
         struct err **err)
{
    char *dir;

    if (is_nfs(pool->type))
        return storage_nfs_mount(host, pool, ret_dir, err);
    if (!strcasecmp(pool->type, "Filesystem")) {
        if (check_local(pool, err) < 0)
            return -1;
    } else if (!is_shared_mount_point(pool->type)) {
        return refuse_type(*pool->type ? pool->type : "(none)", err);
    }
    if (check_path(pool->path ? pool->path : "", err) < 0)
        return err_hint(err, "look at the pool in CloudStack");
    dir = xstrdup(pool->path);
    for (char *end = dir + strlen(dir) - 1; end > dir && *end == '/'; end--)
        *end = '\0';
    *ret_dir = dir;
    return 0;
}

static int
resolve(const struct storage_host *host, const struct storage_pool *pool, char **ret_dir,
        struct err **err)
{
    CLEANUP(free_charp) char *dir = NULL;
    struct storage_pool typed = *pool;

    typed.type = pool->type ? pool->type : "";
    if (pool->state && strcasecmp(pool->state, "Up") != 0) {
        err_set(err, E_POOL, "its state is %s", pool->state);
        return err_hint(err, "bring the pool to state Up in CloudStack, or choose another");
    }
    if (is_nfs(typed.type) && pool->is_userspace)
        return storage_nfs_export(&typed, ret_dir, err);
    if (find_dir(host, &typed, &dir, err) < 0 || storage_check_answers(host, dir, err) < 0 ||
        check_directory(host, dir, err) < 0 || check_shared_mount(host, &typed, dir, err) < 0 ||
        try_write(dir, err) < 0)
        return -1;
    *ret_dir = take(dir);
    return 0;
}

int
storage_resolve_on(const struct storage_host *host, const struct storage_pool *pool, char **ret_dir,
                   struct err **err)
{
    if (resolve(host, pool, ret_dir, err) < 0)
        return err_wrap(err, "storage pool %s", pool->name ? pool->name : pool->id);
    return 0;
}

int
storage_resolve(const struct storage_pool *pool, char **ret_dir, struct err **err)
{
    return storage_resolve_on(&storage_this_host, pool, ret_dir, err);
}

bool
storage_is_mounted(const char *dir)
{
    return !io_path_is_remote(dir);
}

int
storage_free_bytes(const char *dir, uint64_t *ret_bytes, struct err **err)
{
    uint64_t total, available;

    if (io_path_space(dir, &total, &available) < 0)
        return err_set_errno(err, E_POOL, errno, "%s", dir);
    *ret_bytes = available;
    return 0;
}

/* A share of small file systems, and of large ones what other VMs grow by while somebody comes. */
#define FLOOR_SHARE 100U
#define FLOOR_MOST  (1ULL << 30)

int
storage_floor_bytes(const char *dir, uint64_t *ret_bytes, struct err **err)
{
    uint64_t total, available;

    if (io_path_space(dir, &total, &available) < 0)
        return err_set_errno(err, E_POOL, errno, "%s", dir);
    *ret_bytes = MIN(total / FLOOR_SHARE, FLOOR_MOST);
    return 0;
}
