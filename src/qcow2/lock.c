#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

/* QEMU's protocol (block/file-posix.c, since 2.10): a shared lock on byte 100+p says "I use permission
 * p", one on 200+p "nobody else may".  Who wants p looks that nobody holds 200+p, and who forbids it
 * that nobody holds 100+p.  All are shared OFD locks: it is the looking that excludes.  A reader that
 * forces sharing (`qemu-img info -U`) looks for nothing and gets in. */
#define USED_BASE      100
#define FORBIDDEN_BASE 200
#define PERMISSIONS    4 /* consistent read, write, write unchanged, resize */

static int
take_byte(int fd, off_t at)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock);
}

/* 1 when another holds a lock on the byte, 0 when not, -1 with errno. */
static int
look_at_byte(int fd, off_t at)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -1;
    return lock.l_type != F_UNLCK;
}

/* A file system without locks (NFS mounted nolock) has none of QEMU's either; the migration's own
 * lock still keeps other engines away. */
static bool
means_no_locks(int errnum)
{
    return errnum == ENOLCK || errnum == EOPNOTSUPP || errnum == ENOSYS || errnum == EINVAL;
}

static int
refuse_locked(struct err **err)
{
    err_set(err, E_LOCKED, "another process has the image open");
    return err_hint(err, "find it with `lslocks` or `fuser`; QEMU, qemu-nbd and qemu-img hold such "
                         "locks while they run");
}

int
qcow2_lock(int fd, struct err **err)
{
    for (off_t p = 0; p < PERMISSIONS; p++)
        if (take_byte(fd, USED_BASE + p) < 0 || take_byte(fd, FORBIDDEN_BASE + p) < 0) {
            if (means_no_locks(errno))
                return 0;
            if (errno == EAGAIN || errno == EACCES)
                return refuse_locked(err);
            return err_set_errno(err, E_IO, errno, "image lock");
        }
    return qcow2_check_unlocked(fd, err);
}

int
qcow2_check_unlocked(int fd, struct err **err)
{
    for (off_t p = 0; p < PERMISSIONS; p++) {
        int used = look_at_byte(fd, USED_BASE + p), forbidden;

        forbidden = used < 0 ? -1 : look_at_byte(fd, FORBIDDEN_BASE + p);
        if (forbidden < 0)
            return means_no_locks(errno) ? 0 : err_set_errno(err, E_IO, errno, "image lock");
        if (used || forbidden)
            return refuse_locked(err);
    }
    return 0;
}
