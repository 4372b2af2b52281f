/* Readers: each function opens one kind of disk_source (see disk/disk.h).  A source is closed with
 * source->ops->close, or by disk_source_closep at scope end.
 *
 * Threading: as disk/disk.h says; helper processes and threads of a source end in its poll_fd. */
#ifndef V2C_SOURCE_SOURCE_H
#define V2C_SOURCE_SOURCE_H

#include "disk/disk.h"

struct err;

enum source_compression { /* of what travels from the ESXi host */
                          SOURCE_COMPRESSION_NONE,
                          SOURCE_COMPRESSION_ZLIB,
                          SOURCE_COMPRESSION_FASTLZ,
                          SOURCE_COMPRESSION_SKIPZ, /* zeroes only */
};

/* How VDDK is used for a disk; zeroes are what suits most. */
struct source_vddk_tuning {
    const char *transports; /* NULL: "nbdssl:nbd" */
    enum source_compression compression;
    bool is_buffered;     /* not opened unbuffered, which newer hosts read faster */
    unsigned buffer_kb;   /* of one buffer of the session on the host, a multiple of 64; 0: 1024 */
    unsigned buffers;     /* how many; 0: 4; buffer_kb x buffers at most 16 MiB */
    unsigned log_level;   /* of VDDK's transports: 1 + 0 to 6; 0: VDDK's own */
    const char *tmp_dir;  /* for VDDK's own files; NULL: its own choice */
    unsigned memory_step; /* a host was short of memory so often: halve the buffers so often */
};

/* One disk through VMware's VDDK, read by a v2c-vddk process that this starts and owns.  Every string
 * is copied.  Fails with E_SPAWN (no v2c-vddk), E_VDDK_LIBRARY, E_VDDK_CONNECT (host, port),
 * E_VDDK_LOGIN, E_VDDK_OPEN (thumbprint, snapshot, path), E_SOURCE_SIZE, E_TIMEOUT (the process is
 * killed), E_VDDK_CRASH.  A read of a process that died completes with E_VDDK_CRASH, one that hangs
 * with E_TIMEOUT, one that VDDK refuses with E_SOURCE_READ. */
struct source_vddk_options {
    const char *program; /* path of v2c-vddk; NULL: beside this executable, else in libexec */
    const char *libdir;  /* migration.vddk_path */
    const char *server;  /* host name or address of vCenter or ESXi */
    unsigned port;       /* 0: 443 */
    const char *user;
    const char
        *password; /* handed over the socket, never on a command line or in the environment */
    const char *thumbprint;     /* SHA-1, upper-case hex with colons */
    const char *vm_moref;       /* "vm-16" */
    const char *snapshot_moref; /* NULL: a powered-off VM's own disks */
    const char *disk_path;      /* "[datastore] dir/disk.vmdk", as of that snapshot */
    struct source_vddk_tuning tuning;
    uint64_t expected_size; /* bytes; 0: any */
    unsigned queue_depth;   /* reads in flight; 0: 16 */
    struct disk_pool *pool; /* borrowed; its memfd is mapped by the process */
    int start_timeout_ms;   /* for connect and open; 0: 120 s */
    int read_timeout_ms;    /* without any answer while reads are in flight; 0: 300 s */
};
int source_vddk_open(const struct source_vddk_options *options, struct disk_source **ret_source,
                     struct err **err);
/* A second connection to the same disk, by a second v2c-vddk on the same pool, which is tried once the
 * disk has been read for a while as fast as it comes, and stays only if both together are clearly faster
 * than one.  The callbacks run on the thread that drives the source; each may be NULL. */
struct source_vddk_second {
    bool (*may_open)(void *opaque); /* another handle now; does not wait */
    void (*closed)(
        void *opaque); /* it is, or never was open: once for each may_open that was true */
    /* Whether somebody else needs it: asked about once a second; it is closed then and not tried again. */
    bool (*is_wanted)(void *opaque);
    /* The trial is over: bytes/s with one and with both. */
    void (*decided)(void *opaque, bool is_kept, uint64_t rate_one, uint64_t rate_both);
    void *opaque;
    unsigned hurry; /* for tests: all times divided by it; 0: 1 */
};
/* As source_vddk_open.  What goes wrong with the second is no error of the source: it is done without, and
 * what it was reading is read by the first. */
int source_vddk_open_pair(const struct source_vddk_options *options,
                          const struct source_vddk_second *second, struct disk_source **ret_source,
                          struct err **err);
/* The transport VDDK chose ("nbdssl"), for the log. */
const char *source_vddk_transport(const struct disk_source *source);
/* The pid of the helper process, for the log and for tests. */
int source_vddk_pid(const struct disk_source *source);

/* Whether libvixDiskLib is in @libdir and can be loaded, tried in a process of its own: *ret_library
 * is the file (the caller frees).  Connects to nothing.  E_VDDK_LIBRARY, E_VDDK_CRASH, E_SPAWN,
 * E_TIMEOUT. */
int source_vddk_probe(const char *libdir, char **ret_library, struct err **err);

/* A raw file or block device; extents from SEEK_DATA. */
int source_file_open(const char *path, struct disk_pool *pool, unsigned queue_depth,
                     struct disk_source **ret_source, struct err **err);

/* An NBD export, `nbd://`, `nbds://` or `nbd+unix://`; extents from base:allocation.  Reads go over as
 * many connections as help, where the server says that it takes several. */
struct source_nbd_options {
    const char *uri;      /* copied */
    unsigned queue_depth; /* reads in flight over all connections; 0: 16 */
    unsigned connections; /* at most; 0: 4 */
};
int source_nbd_open_with(const struct source_nbd_options *options, struct disk_source **ret_source,
                         struct err **err);
int source_nbd_open(const char *uri, unsigned queue_depth, struct disk_source **ret_source,
                    struct err **err);
/* That are used now. */
unsigned source_nbd_connections(const struct disk_source *source);

void disk_source_closep(struct disk_source **source);

#endif
