#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "disk/disk.h"
#include "io/engine.h"

/* What the file wants of direct I/O; false when it says that it cannot. */
static bool
query_alignment(int fd, struct io_file *file)
{
    /* Where the kernel does not say (before Linux 6.1, NFS) a page is right for everybody. */
    file->offset_alignment = DISK_ALIGNMENT;
    file->memory_alignment = DISK_ALIGNMENT;
#ifdef STATX_DIOALIGN
    struct statx info;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        info.stx_mask & STATX_DIOALIGN) {
        if (info.stx_dio_offset_align == 0 || info.stx_dio_offset_align > DISK_ALIGNMENT ||
            info.stx_dio_mem_align > DISK_ALIGNMENT)
            return false;
        file->offset_alignment = info.stx_dio_offset_align;
        file->memory_alignment = info.stx_dio_mem_align ? info.stx_dio_mem_align : 1;
    }
#endif
    return true;
}

static bool
is_same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool
is_in_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

int
io_file_open(const char *path, int flags, mode_t mode, bool is_buffered, struct io_file *ret_file,
             int *ret_errnum)
{
    struct io_file file = {.direct_fd = -1, .offset_alignment = 1, .memory_alignment = 1};
    int direct;

    if (io_path_is_remote(path)) {
        file.is_remote = true;
        if (io_remote_open(path, flags, mode, &file.fd) < 0) {
            *ret_errnum = errno;
            return -1;
        }
        *ret_file = file;
        return 0;
    }
    file.fd = open(path, flags | O_CLOEXEC, mode);
    if (file.fd < 0) {
        *ret_errnum = errno;
        return -1;
    }
    if (!is_buffered) {
        direct = open(path, (flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_CLOEXEC | O_DIRECT);
        if (direct >= 0 && is_same_file(file.fd, direct) && query_alignment(direct, &file)) {
            file.direct_fd = direct;
        } else {
            if (direct >= 0)
                (void)close(direct);
            file.offset_alignment = file.memory_alignment = 1;
        }
    }
    file.is_in_memory = is_in_memory(file.fd);
    *ret_file = file;
    return 0;
}

void
io_file_close(struct io_file *file)
{
    if (file->direct_fd >= 0)
        (void)close(file->direct_fd);
    io_fd_closep(&file->fd);
    *file = IO_FILE_NONE;
}

uint32_t
io_file_direct_length(const struct io_file *file, const void *data, uint32_t length,
                      uint64_t offset)
{
    if (file->direct_fd < 0 || offset % file->offset_alignment ||
        (uintptr_t)data % file->memory_alignment)
        return 0;
    return length - length % file->offset_alignment;
}

int
io_file_choose(const struct io_file *file, const void *data, uint32_t length, uint64_t offset)
{
    return io_file_direct_length(file, data, length, offset) == length ? file->direct_fd : file->fd;
}
