/* Files: whole-file reads with a bound, atomic replacement, locks that the kernel releases, exact
 * positioned I/O. */
#ifndef V2C_BASE_FILE_H
#define V2C_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

/* Reads a whole file of at most @max bytes.  The caller frees *ret_data, which is NUL terminated
 * beyond its @ret_length bytes.  E_LIMIT when larger. */
int file_read(const char *path, size_t max, char **ret_data, size_t *ret_length, struct err **err);
/* Replaces @path by @data: temporary file beside it, fsync, rename, fsync of the directory. */
int file_replace(const char *path, const void *data, size_t length, mode_t mode, struct err **err);
/* Makes a directory and its parents; existing ones are fine. */
int file_make_dirs(const char *path, mode_t mode, struct err **err);
/* Full transfers at an offset: a short read before EOF is continued; EOF is E_IO. */
int file_pread(int fd, void *data, size_t length, uint64_t offset, struct err **err);
int file_pwrite(int fd, const void *data, size_t length, uint64_t offset, struct err **err);
int file_sync_dir(const char *path_of_file, struct err **err);
/* Gives the file @from the name @to on the same file system, durably, and never over another file.
 * *ret_exists, set on success: there was one, and nothing was done.  E_IO. */
int file_publish(const char *from, const char *to, bool *ret_exists, struct err **err);

/* Takes an exclusive OFD lock on the file at @path (made if missing, mode 0600) without waiting.
 * The lock lives until the returned close-on-exec fd is closed, so it never survives a crash and no
 * child keeps it.  E_LOCKED when another process has it; the file holds the owner's pid for people. */
int file_lock(const char *path, int *ret_fd, struct err **err);

/* @name with every byte outside [A-Za-z0-9._-] replaced by '_'; the caller frees. */
char *file_safe_name(const char *name);
/* "dir/name"; the caller frees. */
char *file_join(const char *dir, const char *name);

#endif
