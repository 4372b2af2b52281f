/* Inside the io room: files of an NFS export as path.c needs them.  no_nfs.c stands in where there is no
 * libnfs.  All return an errno, 0 for none, but where it is said. */
#ifndef V2C_IO_REMOTE_H
#define V2C_IO_REMOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct nfs_file;

struct nfs_file *nfs_file_find(int fd);                                   /* NULL: a local one */
int nfs_file_open(const char *path, int flags, mode_t mode, int *ret_fd); /* errno */
void nfs_file_close(int fd);
int nfs_file_stat(struct nfs_file *file, struct stat *ret);          /* errno */
int nfs_file_set(struct nfs_file *file, int mode, int uid, int gid); /* -1: leave it; errno */
ssize_t nfs_file_pread(struct nfs_file *file, void *data, size_t length,
                       uint64_t offset);               /* -errno */
int nfs_path_stat(const char *path, struct stat *ret); /* errno */
int nfs_path_unlink(const char *path);
int nfs_path_publish(const char *from, const char *to); /* EEXIST: never over another file */
int nfs_path_space(const char *dir, uint64_t *ret_total, uint64_t *ret_free);

#endif
