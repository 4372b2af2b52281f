#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/util.h"

int
file_read(const char *path, size_t max, char **ret_data, size_t *ret_length, struct err **err)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    CLEANUP(free_charp) char *data = NULL;
    size_t length = 0, room = 0;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (S_ISDIR(st.st_mode))
        return err_set(err, E_IO, "%s: is a directory", path);
    /* The size is a first guess only: the file may grow, and in /proc it is 0. */
    room = MIN(S_ISREG(st.st_mode) ? (size_t)st.st_size : 0, max) + 1;
    for (;;) {
        ssize_t n;

        if (!data || length + 1 >= room) {
            room = data ? MIN(room * 2 + 4096, max + 2) : room;
            data = xrealloc(data, room + 1, 1);
        }
        n = read(fd, data + length, room - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, E_IO, errno, "%s: read", path);
        if (n == 0)
            break;
        length += (size_t)n;
        if (length > max)
            return err_set(err, E_LIMIT, "%s is larger than %zu bytes", path, max);
    }
    data[length] = '\0';
    *ret_data = take(data);
    *ret_length = length;
    return 0;
}

/* Opens the temporary file beside the target.  Its name is fixed, so that a crash leaves at most one,
 * which the next call uses again; its lock keeps two writers of the same file apart. */
static int
open_temporary(const char *temporary, int *ret_fd, struct err **err)
{
    for (;;) {
        CLEANUP(close_fdp)
        int fd = open(temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat ours, named;

        if (fd < 0)
            return err_set_errno(err, E_IO, errno, "%s", temporary);
        while (flock(fd, LOCK_EX) < 0)
            if (errno != EINTR)
                return err_set_errno(err, E_IO, errno, "%s: lock", temporary);
        if (fstat(fd, &ours) < 0)
            return err_set_errno(err, E_IO, errno, "%s", temporary);
        /* The writer we waited for has renamed the file away: ours must be a new one. */
        if (lstat(temporary, &named) < 0 || named.st_ino != ours.st_ino ||
            named.st_dev != ours.st_dev)
            continue;
        *ret_fd = fd;
        fd = -1;
        return 0;
    }
}

static int
write_temporary(int fd, const char *temporary, const void *data, size_t length, mode_t mode,
                struct err **err)
{
    if (ftruncate(fd, 0) < 0 || fchmod(fd, mode) < 0)
        return err_set_errno(err, E_IO, errno, "%s", temporary);
    if (file_pwrite(fd, data, length, 0, err) < 0)
        return err_wrap(err, "%s", temporary);
    if (fsync(fd) < 0)
        return err_set_errno(err, E_IO, errno, "%s: fsync", temporary);
    return 0;
}

int
file_replace(const char *path, const void *data, size_t length, mode_t mode, struct err **err)
{
    CLEANUP(free_charp) char *temporary = xasprintf("%s.tmp", path);
    CLEANUP(close_fdp) int fd = -1;

    if (open_temporary(temporary, &fd, err) < 0)
        return -1;
    if (write_temporary(fd, temporary, data, length, mode, err) < 0) {
        (void)unlink(temporary); /* the error of writing is the one worth reporting */
        return -1;
    }
    if (rename(temporary, path) < 0) {
        err_set_errno(err, E_IO, errno, "%s: rename from %s", path, temporary);
        (void)unlink(temporary);
        return -1;
    }
    return file_sync_dir(path, err);
}

int
file_publish(const char *from, const char *to, bool *ret_exists, struct err **err)
{
    int errnum;

    /* link(2) refuses an existing name on every file system that has it; the others have renameat2. */
    if (link(from, to) == 0) {
        *ret_exists = false;
        (void)unlink(from);
        return file_sync_dir(to, err);
    }
    errnum = errno;
    if (errnum != EEXIST && renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        *ret_exists = false;
        return file_sync_dir(to, err);
    }
    if (errnum != EEXIST && errno != EEXIST)
        return err_set_errno(err, E_IO, errnum, "%s", to);
    *ret_exists = true;
    return 0;
}

static int
make_dir(const char *path, mode_t mode, struct err **err)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return err_set_errno(err, E_IO, errno, "cannot make directory %s", path);
    if (stat(path, &st) < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, E_IO, "%s exists and is not a directory", path);
    return 0;
}

int
file_make_dirs(const char *path, mode_t mode, struct err **err)
{
    CLEANUP(free_charp) char *partial = xstrdup(path);

    for (char *slash = strchr(partial + (*partial == '/'), '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_dir(partial, mode, err) < 0)
            return -1;
        *slash = '/';
        while (slash[1] == '/')
            slash++;
    }
    return make_dir(partial, mode, err);
}

int
file_pread(int fd, void *data, size_t length, uint64_t offset, struct err **err)
{
    char *at = data;

    while (length > 0) {
        ssize_t n = pread(fd, at, length, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, E_IO, errno, "read of %zu bytes at %" PRIu64, length, offset);
        if (n == 0)
            return err_set(err, E_IO, "the file ends at %" PRIu64 ", %zu bytes early", offset,
                           length);
        at += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

int
file_pwrite(int fd, const void *data, size_t length, uint64_t offset, struct err **err)
{
    const char *at = data;

    while (length > 0) {
        ssize_t n = pwrite(fd, at, length, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, E_IO, n ? errno : EIO, "write of %zu bytes at %" PRIu64,
                                 length, offset);
        at += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

int
file_sync_dir(const char *path_of_file, struct err **err)
{
    const char *slash = strrchr(path_of_file, '/');
    CLEANUP(free_charp)
    char *dir = !slash                  ? xstrdup(".")
                : slash == path_of_file ? xstrdup("/")
                                        : strndup(path_of_file, (size_t)(slash - path_of_file));
    CLEANUP(close_fdp) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", dir);
    /* Some network file systems cannot sync a directory and say EINVAL: their renames are durable on
     * the server, and there is nothing more to be done from here. */
    if (fsync(fd) < 0 && errno != EINVAL)
        return err_set_errno(err, E_IO, errno, "%s: fsync", dir);
    return 0;
}

/* Sets E_LOCKED with the pid that the file holds, unless its owner has not got to writing it yet. */
static int
fail_locked(const char *path, int fd, struct err **err)
{
    char text[32] = "";
    long pid = 0;

    if (pread(fd, text, sizeof(text) - 1, 0) > 0)
        pid = strtol(text, NULL, 10);
    if (pid > 0)
        err_set(err, E_LOCKED, "%s is locked by process %ld", path, pid);
    else
        err_set(err, E_LOCKED, "%s is locked by another process", path);
    return err_hint(err, "wait for that process to end, or stop it, and start again");
}

int
file_lock(const char *path, int *ret_fd, struct err **err)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char owner[32];
    int length;

    if (fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return err_set_errno(err, E_IO, errno, "%s: lock", path);
        return fail_locked(path, fd, err);
    }
    length = snprintf(owner, sizeof(owner), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (file_pwrite(fd, owner, (size_t)length, 0, err) < 0)
        return err_wrap(err, "%s", path);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

char *
file_safe_name(const char *name)
{
    char *safe = xstrdup(name);

    for (char *p = safe; *p; p++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *p))
            *p = '_';
    return safe;
}

char *
file_join(const char *dir, const char *name)
{
    size_t length = strlen(dir);

    return xasprintf("%s%s%s", dir, length && dir[length - 1] == '/' ? "" : "/", name);
}
