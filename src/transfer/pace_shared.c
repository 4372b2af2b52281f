/* A pace that processes share: its cell is the one page of a file that all of them map.
 *
 * The file is scratch.  Whatever it holds, only the next second of reading depends on it (pace.h); a
 * cell of another layout needs another name. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/util.h"
#include "transfer/pace.h"

int
transfer_pace_open(const char *path, struct transfer_pace **ret_pace, struct err **err)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *page;
    int errnum;

    if (fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    /* Memory over a hole of a full file system would end the process when it is written to. */
    errnum = posix_fallocate(fd, 0, sizeof(struct pace_cell));
    if (errnum)
        return err_set_errno(err, E_IO, errnum, "%s", path);
    page = mmap(NULL, sizeof(struct pace_cell), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return err_set_errno(err, E_IO, errno, "mapping %s", path);
    *ret_pace = pace_wrap(page, true);
    return 0;
}
