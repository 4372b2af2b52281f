/* NFS pools without a mount: any user may write them, if the export lets user 0 of this host in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "io/io.h"
#include "storage/internal.h"

/* "nfs port,mount port" of servers without a portmapper. */
#define PORTS_ENV "V2C_NFS_PORTS"

static char *
export_url(const struct storage_pool *pool)
{
    const char *ports = getenv(PORTS_ENV);
    bool is_v6 = strchr(pool->host, ':') != NULL && pool->host[0] != '[';
    size_t length = strlen(pool->path);

    while (length > 1 && pool->path[length - 1] == '/')
        length--;
    return xasprintf(is_v6 ? "nfs://[%s]%s%s%.*s" : "nfs://%s%s%s%.*s", pool->host,
                     ports && *ports ? ":" : "", ports ? ports : "", (int)length, pool->path);
}

static int
fail(const char *url, const char *what, int errnum, struct err **err)
{
    enum err_code code = E_POOL;

    if (errnum == ENOSPC || errnum == EDQUOT)
        code = E_NO_SPACE;
    else if (errnum == ECONNREFUSED || errnum == ECONNRESET || errnum == ETIMEDOUT)
        code = E_NET; /* a server that restarts */
    err_set(err, code, "%s: %s: %s", url, what, strerrordesc_np(errnum));
    if (errnum == EACCES || errnum == EPERM || errnum == EROFS)
        return err_hint(err, "the export must let this host write (rw), not squash root "
                             "(no_root_squash), and allow ports above 1023 (insecure), unless "
                             "v2c-engine may use lower ones (CAP_NET_BIND_SERVICE)");
    if (errnum == ENOENT || errnum == ENOTDIR)
        return err_hint(err, "see that the server still exports it: `showmount -e`");
    return err_hint(err,
                    "see that the NFS server runs, speaks NFS 3 over TCP, and can be reached at "
                    "its ports (111, 2049 and mountd's)");
}

/* What the server makes of user 0 is seen from a file only. */
static int
try_file(const char *url, const char *path, struct err **err)
{
    struct io_file file = IO_FILE_NONE;
    struct stat st = {0};
    int errnum = 0;

    if (io_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, true, &file, &errnum) < 0)
        return fail(url, "a file cannot be made", errnum, err);
    if (io_fd_stat(file.fd, &st) < 0)
        errnum = errno;
    io_file_close(&file);
    if (io_path_unlink(path) < 0 && !errnum)
        errnum = errno;
    if (errnum)
        return fail(url, "a file that was made cannot be handled", errnum, err);
    if (st.st_uid == 0)
        return 0;
    err_set(err, E_POOL, "%s: files of user 0 belong to user %u: the export squashes root", url,
            (unsigned)st.st_uid);
    return err_hint(err, "export it with no_root_squash, as CloudStack's hosts need it too");
}

int
storage_nfs_export(const struct storage_pool *pool, char **ret_dir, struct err **err)
{
    CLEANUP(free_charp) char *url = NULL, *path = NULL;
    struct timespec now;

    if (!io_nfs_version()) {
        err_set(err, E_POOL,
                "this program was built without libnfs, which storage.nfs: userspace needs");
        return err_hint(err, "set storage.nfs to mount, or build v2c-engine with libnfs");
    }
    if (storage_nfs_check(pool, err) < 0)
        return -1;
    url = export_url(pool);
    clock_gettime(CLOCK_REALTIME, &now);
    path = xasprintf("%s/.v2c-preflight-%ld-%ld%09ld.tmp", url, (long)getpid(), (long)now.tv_sec,
                     now.tv_nsec);
    if (try_file(url, path, err) < 0)
        return -1;
    *ret_dir = take(url);
    return 0;
}
