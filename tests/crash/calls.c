#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local struct calls *attached;

void
calls_attach(struct calls *calls)
{
    attached = calls;
}

/* Whether this call is the one that fails, with errno set. */
static bool
is_hit(const char *name)
{
    if (!attached || attached->count++ != attached->at || !attached->errnum)
        return false;
    attached->fired = name;
    errno = attached->errnum;
    return true;
}

static uint64_t
begin(int kind, uint64_t offset, uint64_t length)
{
    struct io_fault *log = attached ? attached->log : NULL;

    if (!log || !log->is_recording)
        return 0;
    vec_push(&log->records, ((struct io_record){.id = log->next_id,
                                                .kind = (enum io_kind)kind,
                                                .offset = offset,
                                                .length = (uint32_t)length}));
    return log->next_id++;
}

static void
end(int kind, uint64_t id, int result)
{
    struct io_fault *log = attached ? attached->log : NULL;

    if (log && log->is_recording)
        vec_push(&log->records,
                 ((struct io_record){
                     .is_end = true, .id = id, .kind = (enum io_kind)kind, .result = result}));
}

/* The names that the C library's headers lead to depend on its version and on what is fortified. */
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real___open64_2(const char *path, int flags);
int __wrap___open64_2(const char *path, int flags);
int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __real_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...);
int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
ssize_t __real_pread64(int fd, void *data, size_t length, off_t offset);
ssize_t __wrap_pread64(int fd, void *data, size_t length, off_t offset);
ssize_t __real_pread(int fd, void *data, size_t length, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t length, off_t offset);
int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

static mode_t
mode_of(int flags, va_list args)
{
    return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int
__wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return is_hit("open") ? -1 : __real_open64(path, flags, mode);
}

int
__wrap_open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return is_hit("open") ? -1 : __real_open(path, flags, mode);
}

int
__wrap___open64_2(const char *path, int flags)
{
    return is_hit("open") ? -1 : __real___open64_2(path, flags);
}

int
__wrap_link(const char *from, const char *to)
{
    uint64_t id;
    int result;

    if (is_hit("link"))
        return -1;
    id = begin(CALL_LINK, 0, 0);
    result = __real_link(from, to);
    end(CALL_LINK, id, result);
    return result;
}

int
__wrap_fsync(int fd)
{
    uint64_t id;
    int result;

    if (is_hit("fsync"))
        return -1;
    id = begin(CALL_SYNC_DIR, 0, 0);
    result = __real_fsync(fd);
    end(CALL_SYNC_DIR, id, result);
    return result;
}

int
__wrap_fstat64(int fd, struct stat *st)
{
    return is_hit("fstat") ? -1 : __real_fstat64(fd, st);
}

int
__wrap_fstat(int fd, struct stat *st)
{
    return is_hit("fstat") ? -1 : __real_fstat(fd, st);
}

int
__wrap_fcntl64(int fd, int what, ...)
{
    void *argument;
    va_list args;

    va_start(args, what);
    argument = va_arg(args, void *); /* or an int: the C library takes it out the same way */
    va_end(args);
    return is_hit("fcntl") ? -1 : __real_fcntl64(fd, what, argument);
}

int
__wrap_fcntl(int fd, int what, ...)
{
    void *argument;
    va_list args;

    va_start(args, what);
    argument = va_arg(args, void *); /* or an int: the C library takes it out the same way */
    va_end(args);
    return is_hit("fcntl") ? -1 : __real_fcntl(fd, what, argument);
}

ssize_t
__wrap_pread64(int fd, void *data, size_t length, off_t offset)
{
    return is_hit("pread") ? -1 : __real_pread64(fd, data, length, offset);
}

ssize_t
__wrap_pread(int fd, void *data, size_t length, off_t offset)
{
    return is_hit("pread") ? -1 : __real_pread(fd, data, length, offset);
}

static int
punch(int (*real)(int, int, off_t, off_t), int fd, int mode, off_t offset, off_t length)
{
    uint64_t id;
    int result;

    if (is_hit("fallocate"))
        return -1;
    id = begin(CALL_PUNCH, (uint64_t)offset, (uint64_t)length);
    result = real(fd, mode, offset, length);
    end(CALL_PUNCH, id, result);
    return result;
}

int
__wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
    return punch(__real_fallocate64, fd, mode, offset, length);
}

int
__wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    return punch(__real_fallocate, fd, mode, offset, length);
}
