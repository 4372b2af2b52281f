/* In place of nfs_*.c where libnfs is missing: no path of an export can be opened. */
#include <errno.h>
#include <stddef.h>

#include "base/err.h"
#include "io/engine.h"
#include "io/remote.h"

struct nfs_file *
nfs_file_find(int fd)
{
    return NULL;
}

int
nfs_file_open(const char *path, int flags, mode_t mode, int *ret_fd)
{
    return EPROTONOSUPPORT;
}

void
nfs_file_close(int fd)
{
}

int
nfs_file_stat(struct nfs_file *file, struct stat *ret)
{
    return EPROTONOSUPPORT;
}

int
nfs_file_set(struct nfs_file *file, int mode, int uid, int gid)
{
    return EPROTONOSUPPORT;
}

ssize_t
nfs_file_pread(struct nfs_file *file, void *data, size_t length, uint64_t offset)
{
    return -EPROTONOSUPPORT;
}

int
nfs_path_stat(const char *path, struct stat *ret)
{
    return EPROTONOSUPPORT;
}

int
nfs_path_unlink(const char *path)
{
    return EPROTONOSUPPORT;
}

int
nfs_path_publish(const char *from, const char *to)
{
    return EPROTONOSUPPORT;
}

int
nfs_path_space(const char *dir, uint64_t *ret_total, uint64_t *ret_free)
{
    return EPROTONOSUPPORT;
}

struct io_engine *
io_nfs_engine_new(struct err **err)
{
    err_set(err, E_UNSUPPORTED, "this program was built without libnfs");
    return NULL;
}
