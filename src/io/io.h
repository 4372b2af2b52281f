/* Asynchronous file I/O: an io_uring backend, a thread-pool fallback, two for files in memory, and a
 * backend that injects faults and records every operation for crash tests.  The backend is chosen at
 * run time.
 *
 * One `struct io` serves one thread; several files may share it.  Completions are delivered from
 * io_reap, io_wait, io_drain and io_free only.  A short read or write is continued inside; EINTR and
 * EAGAIN are retried, a failed sync never is; a read beyond the end of file returns zeroes; a write
 * that moves nothing is a full file system.  An operation that failed for want of space carries
 * E_NO_SPACE, any other E_IO, and names kind, offset and length, not the file.
 *
 * Threading: an io belongs to the thread that uses it; the thread pool is internal. */
#ifndef V2C_IO_IO_H
#define V2C_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct err;
struct io;

enum io_backend {
    IO_BACKEND_AUTO,  /* io_uring where the kernel lets us, else threads; V2C_IO in the environment,
                        one of the names below, decides for tests */
    IO_BACKEND_URING, /* "io_uring" */
    IO_BACKEND_THREADS, /* "threads": several, one operation each */
    IO_BACKEND_WORKER,  /* "worker": one thread beside the caller's */
    IO_BACKEND_INLINE,  /* "inline": io_submit carries everything out itself */
    IO_BACKEND_NFS,     /* "nfs": files of an NFS export without a mount, and only those */
};

struct io_op;
typedef void (*io_done_fn)(struct io_op *op, struct err *error); /* owns error */

enum io_kind {
    IO_READ,
    IO_WRITE,
    IO_DATASYNC,
    IO_TRUNCATE, /* to op->offset bytes, shorter or longer */
};

/* Owned by the submitter, untouched until done. */
struct io_op {
    enum io_kind kind;
    int fd;
    void *data;
    uint32_t length;
    uint64_t offset;
    io_done_fn done;
    void *opaque;
    /* The room's, between io_queue and done. */
    uint32_t moved;
    int32_t result;
    unsigned attempts;
    struct io_op *next;
};

/* @queue_depth operations in flight at most.  @buffers/@buffers_length (may be NULL/0): memory that
 * most transfers come from, registered with the kernel where that helps. */
int io_new(enum io_backend backend, unsigned queue_depth, void *buffers, size_t buffers_length,
           struct io **ret_io, struct err **err);
/* Waits for what is in flight, calling its done. */
void io_free(struct io *io);
void io_freep(struct io **io);

int io_queue(struct io *io, struct io_op *op,
             struct err **err);                 /* E_LIMIT when the queue is full */
int io_submit(struct io *io, struct err **err); /* once after a batch of io_queue */
int io_reap(struct io *io, unsigned *ret_count, struct err **err); /* never blocks */
int io_poll_fd(const struct io *io); /* readable when io_reap has something */
unsigned io_in_flight(const struct io *io);
/* Queues and submits @op, whose `done` and `opaque` are not used, and waits for it alone; others
 * complete meanwhile through their done.  Its error is returned. */
int io_wait(struct io *io, struct io_op *op, struct err **err);
/* Submits, and waits until at most @left operations are in flight. */
int io_drain(struct io *io, unsigned left, struct err **err);
const char *io_backend_name(const struct io *io); /* as in V2C_IO */
/* Whether the buffers given to io_new are registered, so that no transfer pins their pages. */
bool io_has_fixed_buffers(const struct io *io);
/* Whether io_uring works here, and why not, for preflight and logs. */
bool io_uring_usable(struct err **err);

/* ---- files ------------------------------------------------------------------------------------ */

/* A file opened for direct I/O where the file system has it, with a buffered fd beside it for the
 * pieces that are not aligned.  Mixing both is safe here because two operations in flight never touch
 * the same page: what is not whole pages always goes through the page cache. */
struct io_file {
    int fd;            /* buffered; also for locks, fstat and syncs */
    int direct_fd;     /* -1: direct I/O is not possible or not wanted */
    bool is_in_memory; /* tmpfs: an operation is a memcpy, and its own file's lock is held */
    bool is_remote;    /* on an NFS export, without a mount; `fd` is only its name here */
    uint32_t offset_alignment; /* of direct offsets and lengths; 1 without direct I/O */
    uint32_t memory_alignment;
};

#define IO_FILE_NONE ((struct io_file){.fd = -1, .direct_fd = -1})

/* @flags and @mode as of open(2), without O_DIRECT.  Fails with the errno of open in *ret_errnum,
 * for the caller to name. */
int io_file_open(const char *path, int flags, mode_t mode, bool is_buffered,
                 struct io_file *ret_file, int *ret_errnum);
void io_file_close(struct io_file *file);
/* What suits many operations of one @kind on @file: AUTO, or one for memory (docs/internals/io.md). */
enum io_backend io_file_backend(const struct io_file *file, enum io_kind kind);
/* Operations in flight that such a backend profits from, of the @wished ones. */
unsigned io_file_depth(const struct io_file *file, enum io_kind kind, unsigned wished);
/* The fd for an operation with these properties. */
int io_file_choose(const struct io_file *file, const void *data, uint32_t length, uint64_t offset);
/* The bytes from the start of such an operation that can go direct: all, none, or all but a tail. */
uint32_t io_file_direct_length(const struct io_file *file, const void *data, uint32_t length,
                               uint64_t offset);

/* ---- by path, here or on an NFS export that is not mounted ------------------------------------- */

/* nfs://server[:port[,mountport]]/export/file: written by NFSv3, as user 0.  io_file_open takes such
 * paths, and so do these; what follows `fd` takes fds of such files as well.  They set errno. */
bool io_path_is_remote(const char *path);
const char *
io_nfs_version(void); /* of the libnfs that this program was built with; NULL: without */
int io_path_stat(const char *path, struct stat *ret); /* size, mode, owner, device and inode */
int io_path_unlink(const char *path);
/* As file_publish and file_sync_dir. */
int io_path_publish(const char *from, const char *to, bool *ret_exists, struct err **err);
int io_path_sync_dir(const char *path_of_file, struct err **err);
int io_path_space(const char *dir, uint64_t *ret_total, uint64_t *ret_free);
int io_fd_stat(int fd, struct stat *ret);
ssize_t io_fd_pread(int fd, void *data, size_t length, uint64_t offset);
int io_fd_chmod(int fd, mode_t mode);
int io_fd_chown(int fd, uid_t uid, gid_t gid);
/* Opens to read, for io_fd_pread; io_fd_close closes. */
int io_fd_open(const char *path);
void io_fd_closep(int *fd);

#endif
