/* Inside the io room: files on an NFS export, through libnfs and without a mount.  NFSv3 over TCP.
 *
 *   nfs_link.c    one connection, and calls that are waited for
 *   nfs_file.c    paths, and what is done to them
 *   nfs_engine.c  reads, writes and syncs in flight
 *
 * A path is nfs://server[:port[,mountport]]/export/file: all but the last part is what is mounted. */
#ifndef V2C_IO_NFS_H
#define V2C_IO_NFS_H

#include <sys/stat.h>
#include <sys/time.h>

#include <nfsc/libnfs.h> /* the others need it before them */

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw.h>

#include "io/io.h"
#include "io/remote.h"

#define NFS_MAX_HANDLE   64U
#define NFS_MAX_TRANSFER (1U << 20)

struct nfs_place {
    char *server, *export, *file;
    int nfs_port, mount_port; /* 0: 2049, and what the portmapper says */
};
int nfs_place_parse(const char *path, struct nfs_place *ret_place); /* -1 with errno */
void nfs_place_done(struct nfs_place *place);

struct nfs_handle {
    char data[NFS_MAX_HANDLE];
    unsigned length;
};
void nfs_handle_set(struct nfs_handle *handle, const char *data, unsigned length);
nfs_fh3 nfs_handle_get(const struct nfs_handle *handle);

/* How long a server may be silent before the connection is made anew, and how long all in all. */
int64_t nfs_silence_ms(void);
int64_t nfs_patience_ms(void);
int nfs_errno(nfsstat3 status);

/* ---- nfs_link.c ------------------------------------------------------------------------------- */

/* One call that is waited for: its callback calls nfs_call_end, having taken what it needs. */
struct nfs_call {
    bool is_over;
    int errnum; /* 0, or what went wrong */
    void *result;
};
void nfs_call_end(struct nfs_call *call, int rpc_status, int errnum);

/* A connection to the NFS service.  NULL with errno. */
struct rpc_context *nfs_connect(const struct nfs_place *place, int64_t until_ms);
/* Serves the connection until @call is over.  0, or an errno: ETIMEDOUT and ECONNRESET speak of the
 * connection. */
int nfs_wait(struct rpc_context *rpc, struct nfs_call *call, int64_t until_ms);
/* The handle of the export; errno. */
int nfs_mount_export(const struct nfs_place *place, int64_t until_ms, struct nfs_handle *ret_root);

/* ---- nfs_file.c ------------------------------------------------------------------------------- */

/* An open file.  What the server has acknowledged and not committed is lost when it restarts: then its
 * write verifier is another one. */
struct nfs_file {
    int fd; /* stands for it; an empty file in memory */
    struct nfs_place place;
    struct nfs_handle handle;
    struct rpc_context *rpc; /* for what is waited for; NULL: none is open */
    uint64_t writes;         /* acknowledged UNSTABLE since it was opened */
    uint64_t committed;      /* as many of them are stable for sure */
    bool is_lost;            /* some that were not are gone */
    writeverf3 verifier;     /* of those that are not committed */
};
/* Takes an answer to a write, and to a COMMIT that was sent when @writes were acknowledged, into account. */
void nfs_file_written(struct nfs_file *file, const WRITE3resok *answer);
void nfs_file_committed(struct nfs_file *file, const char *verifier, uint64_t writes);
/* COMMIT, waited for, on any connection, which is gone (NULL) when it did not come to an end. */
int nfs_file_commit(struct nfs_file *file, struct rpc_context **rpc, int64_t until_ms);
/* False but in the test that shows what is lost without them. */
extern bool nfs_ignores_verifiers;

#endif
