/* A file opened for direct I/O where the file system has it, with a buffered fd beside it for the
 * pieces that are not aligned.  Mixing both is safe here because two operations in flight never touch
 * the same page: what is not whole pages always goes through the page cache.
 *
 * Threading: none of its own. */
#ifndef V2C_IO_FILE_H
#define V2C_IO_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct io_file {
    int fd;                    /* buffered; also for locks, fstat and syncs */
    int direct_fd;             /* -1: direct I/O is not possible or not wanted */
    uint32_t offset_alignment; /* of direct offsets and lengths; 1 without direct I/O */
    uint32_t memory_alignment;
};

#define IO_FILE_NONE ((struct io_file){.fd = -1, .direct_fd = -1})

/* @flags and @mode as of open(2), without O_DIRECT.  Fails with the errno of open in *ret_errnum,
 * for the caller to name. */
int io_file_open(const char *path, int flags, mode_t mode, bool is_buffered,
                 struct io_file *ret_file, int *ret_errnum);
void io_file_close(struct io_file *file);
/* The fd for an operation with these properties. */
int io_file_choose(const struct io_file *file, const void *data, uint32_t length, uint64_t offset);
/* The bytes from the start of such an operation that can go direct: all, none, or all but a tail. */
uint32_t io_file_direct_length(const struct io_file *file, const void *data, uint32_t length,
                               uint64_t offset);

#endif
