/* What is done to files by path or fd, here or on an NFS export. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "io/engine.h"
#include "io/remote.h"

bool
io_path_is_remote(const char *path)
{
    return !strncmp(path, "nfs://", 6);
}

const char *
io_nfs_version(void)
{
#ifdef LIBNFS_VERSION_TEXT
    return LIBNFS_VERSION_TEXT;
#else
    return NULL;
#endif
}

/* An errno, of which 0 is none. */
static int
outcome(int errnum)
{
    if (errnum)
        errno = errnum;
    return errnum ? -1 : 0;
}

int
io_remote_open(const char *path, int flags, mode_t mode, int *ret_fd)
{
    return outcome(nfs_file_open(path, flags, mode, ret_fd));
}

int
io_path_stat(const char *path, struct stat *ret)
{
    return io_path_is_remote(path) ? outcome(nfs_path_stat(path, ret)) : stat(path, ret);
}

int
io_path_unlink(const char *path)
{
    return io_path_is_remote(path) ? outcome(nfs_path_unlink(path)) : unlink(path);
}

int
io_path_publish(const char *from, const char *to, bool *ret_exists, struct err **err)
{
    int errnum;

    if (!io_path_is_remote(from))
        return file_publish(from, to, ret_exists, err);
    errnum = nfs_path_publish(from, to);
    if (errnum && errnum != EEXIST)
        return err_set_errno(err, E_IO, errnum, "naming %s", to);
    *ret_exists = errnum == EEXIST;
    return 0;
}

int
io_path_space(const char *dir, uint64_t *ret_total, uint64_t *ret_free)
{
    struct statvfs st;

    if (io_path_is_remote(dir))
        return outcome(nfs_path_space(dir, ret_total, ret_free));
    if (statvfs(dir, &st) < 0)
        return -1;
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, ret_free))
        *ret_free = UINT64_MAX;
    if (__builtin_mul_overflow((uint64_t)st.f_blocks, (uint64_t)st.f_frsize, ret_total))
        *ret_total = UINT64_MAX;
    return 0;
}

int
io_fd_stat(int fd, struct stat *ret)
{
    struct nfs_file *file = nfs_file_find(fd);

    return file ? outcome(nfs_file_stat(file, ret)) : fstat(fd, ret);
}

ssize_t
io_fd_pread(int fd, void *data, size_t length, uint64_t offset)
{
    struct nfs_file *file = nfs_file_find(fd);
    ssize_t n =
        file ? nfs_file_pread(file, data, length, offset) : pread(fd, data, length, (off_t)offset);

    return file && n < 0 ? outcome((int)-n) : n;
}

int
io_fd_chmod(int fd, mode_t mode)
{
    struct nfs_file *file = nfs_file_find(fd);

    return file ? outcome(nfs_file_set(file, (int)mode, -1, -1)) : fchmod(fd, mode);
}

int
io_fd_chown(int fd, uid_t uid, gid_t gid)
{
    struct nfs_file *file = nfs_file_find(fd);

    return file ? outcome(nfs_file_set(file, -1, (int)uid, (int)gid)) : fchown(fd, uid, gid);
}

void
io_fd_closep(int *fd)
{
    if (*fd < 0)
        return;
    if (nfs_file_find(*fd))
        nfs_file_close(*fd);
    else
        (void)close(*fd);
}

int
io_path_sync_dir(const char *path_of_file, struct err **err)
{
    /* NFS: a name is stable when the server has acknowledged it. */
    return io_path_is_remote(path_of_file) ? 0 : file_sync_dir(path_of_file, err);
}

int
io_fd_open(const char *path)
{
    int fd = -1;

    if (!io_path_is_remote(path))
        return open(path, O_RDONLY | O_CLOEXEC);
    return io_remote_open(path, O_RDONLY, 0, &fd) < 0 ? -1 : fd;
}
