/* Preloaded into nfs-ganesha: serves NFSv3 without a portmapper, and, with $V2C_COMMITTED, forgets nothing that a
 * disk with a volatile cache would keep: at each fsync the file is copied into that directory, under its inode's
 * number, so that a test that kills the server can put back what had been committed and nothing else. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool rpcb_set(unsigned program, unsigned version, const void *config, const void *address);
bool rpcb_unset(unsigned program, unsigned version, const void *config);

bool
rpcb_set(unsigned program, unsigned version, const void *config, const void *address)
{
    return true;
}

bool
rpcb_unset(unsigned program, unsigned version, const void *config)
{
    return true;
}

/* It loads what writes files so that it would not see the functions below. */
void *
dlopen(const char *name, int flags)
{
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");

    return next(name, flags & ~RTLD_DEEPBIND);
}

static void
keep(int fd)
{
    const char *dir = getenv("V2C_COMMITTED");
    char buffer[1 << 16];
    char path[4096], whole[4096];
    struct stat st;
    off_t at = 0;
    ssize_t n;
    int to;

    int from;

    if (!dir || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    from = open(path, O_RDONLY); /* @fd may be open to write only */
    if (from < 0)
        return;
    snprintf(path, sizeof(path), "%s/.%lu", dir, (unsigned long)st.st_ino);
    snprintf(whole, sizeof(whole), "%s/%lu", dir, (unsigned long)st.st_ino);
    to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to < 0)
        return;
    while ((at = lseek(from, at, SEEK_DATA)) >= 0) { /* it is as large as a span of the image */
        n = pread(from, buffer, sizeof(buffer), at);
        if (n <= 0)
            break;
        if (pwrite(to, buffer, (size_t)n, at) != n)
            abort();
        at += n;
    }
    (void)close(from);
    if (ftruncate(to, st.st_size) < 0 || close(to) < 0 || rename(path, whole) < 0)
        abort();
}

int
fsync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    keep(fd);
    return next(fd);
}

int
fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    keep(fd);
    return next(fd);
}
