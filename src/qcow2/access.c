#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/err.h"
#include "qcow2/image.h"

/* As CloudStack's agent, which runs as root, leaves the volumes it makes.  libvirt hands a volume to
 * the user of QEMU when a VM starts, which root can do with any owner, unless the export squashes it. */
#define VOLUME_MODE 0644U

int
qcow2_settle_access(const struct qcow2_image *image, struct err **err)
{
    int fd = image->file.fd;
    struct stat st;

    if (io_fd_stat(fd, &st) < 0)
        return err_set_errno(err, E_TARGET_WRITE, errno, "%s: fstat", image->path);
    /* Refused where the export squashes root; qcow2_check_access then warns. */
    if ((geteuid() == 0 || image->file.is_remote) && (st.st_uid || st.st_gid) &&
        io_fd_chown(fd, 0, 0) < 0 && errno != EPERM && errno != EINVAL)
        return err_set_errno(err, E_TARGET_WRITE, errno, "%s: cannot be given to root",
                             image->path);
    if ((st.st_mode & 07777) == VOLUME_MODE || io_fd_chmod(fd, VOLUME_MODE) == 0)
        return 0;
    /* Somebody else's file, or no modes here: enough if it has what the hosts need. */
    return qcow2_check_access(image->path, NULL, err);
}

static void
warn(const struct stat *st, const char *path, struct err **ret_warning)
{
    if (st->st_uid != 0 && (geteuid() == 0 || io_path_is_remote(path))) {
        err_set(ret_warning, E_PERMISSION,
                "%s belongs to user %u, although root wrote it: the export squashes root", path,
                (unsigned)st->st_uid);
        err_hint(ret_warning, "CloudStack's hosts need no_root_squash on primary storage");
    } else if (st->st_uid != 0) {
        err_set(ret_warning, E_PERMISSION,
                "%s belongs to user %u; volumes that CloudStack makes belong to root", path,
                (unsigned)st->st_uid);
        err_hint(ret_warning,
                 "CloudStack's hosts can use it as long as their export does not "
                 "squash root; else run v2c-engine as root, or `chown 0:0 %s`",
                 path);
    } else if (st->st_mode & (S_IWGRP | S_IWOTH)) {
        err_set(ret_warning, E_PERMISSION, "%s has mode %04o: others than its owner may write it",
                path, (unsigned)st->st_mode & 07777);
        err_hint(ret_warning, "`chmod 0644 %s`", path);
    }
}

int
qcow2_check_access(const char *path, struct err **ret_warning, struct err **err)
{
    struct stat st;

    if (io_path_stat(path, &st) < 0)
        return err_set_errno(err, E_TARGET_CHECK, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, E_TARGET_CHECK, "%s is no regular file", path);
    if ((st.st_mode & VOLUME_MODE) != VOLUME_MODE) {
        err_set(err, E_PERMISSION,
                "%s has mode %04o: CloudStack's hosts need 0644 to read and write it", path,
                (unsigned)st.st_mode & 07777);
        return err_hint(err, "`chmod 0644 %s`", path);
    }
    if (ret_warning)
        warn(&st, path, ret_warning);
    return 0;
}
