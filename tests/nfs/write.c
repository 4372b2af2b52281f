/* nfs-write URL [ignore]: makes a file on an export, writes blocks, says "written", waits for a line, writes as many
 * behind them, and syncs.  Says "synced" or the first error.  With "ignore" it does not look at write verifiers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "io/nfs.h"

#define BLOCKS 32U
#define BLOCK  (64U << 10)

static int
write_blocks(struct io *io, int fd, unsigned first, struct err **err)
{
    static char data[BLOCK];

    memcpy(data, "v2c!", 4);
    for (unsigned i = first; i < first + BLOCKS; i++) {
        struct io_op op = {.kind = IO_WRITE,
                           .fd = fd,
                           .data = data,
                           .length = BLOCK,
                           .offset = (uint64_t)i * BLOCK};

        if (io_wait(io, &op, err) < 0)
            return -1;
    }
    return 0;
}

static int
write_file(const char *url, struct err **err)
{
    struct io_file file = IO_FILE_NONE;
    CLEANUP(io_freep) struct io *io = NULL;
    struct io_op sync = {.kind = IO_DATASYNC};
    char line[16];
    int errnum;

    if (io_file_open(url, O_RDWR | O_CREAT | O_EXCL, 0644, true, &file, &errnum) < 0)
        return err_set_errno(err, E_IO, errnum, "%s", url);
    if (io_new(io_file_backend(&file, IO_WRITE), 4, NULL, 0, &io, err) < 0 ||
        write_blocks(io, file.fd, 0, err) < 0)
        return -1;
    puts("written");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return err_set(err, E_IO, "nobody says go on");
    sync.fd = file.fd;
    return write_blocks(io, file.fd, BLOCKS, err) < 0 ? -1 : io_wait(io, &sync, err);
}

int
main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *error = NULL;

    if (argc < 2)
        return 2;
    nfs_ignores_verifiers = argc > 2 && !strcmp(argv[2], "ignore");
    if (write_file(argv[1], &error) == 0)
        puts("synced");
    else
        puts(err_message(error));
    return 0;
}
