#include "io/nfs.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

#define NFS_PORT    2049
#define SILENCE_MS  60000
#define PATIENCE_MS 180000
#define TICK_MS     100

int64_t
nfs_silence_ms(void)
{
    return MAX(clock_patience_ms(SILENCE_MS), 1000);
}

int64_t
nfs_patience_ms(void)
{
    return MAX(clock_patience_ms(PATIENCE_MS), 10000);
}

int
nfs_errno(nfsstat3 status)
{
    switch (status) {
    case NFS3_OK:
        return 0;
    case NFS3ERR_JUKEBOX:
        return EAGAIN;
    case NFS3ERR_STALE:
    case NFS3ERR_BADHANDLE:
        return ESTALE;
    case NFS3ERR_DQUOT:
        return EDQUOT;
    case NFS3ERR_NOTSUPP:
        return EOPNOTSUPP;
    case NFS3ERR_NAMETOOLONG:
        return ENAMETOOLONG;
    case NFS3ERR_NOTEMPTY:
        return ENOTEMPTY;
    default: /* the small ones are Unix's own */
        return (int)status < 70 ? (int)status : EIO;
    }
}

void
nfs_handle_set(struct nfs_handle *handle, const char *data, unsigned length)
{
    handle->length = MIN(length, NFS_MAX_HANDLE);
    memcpy(handle->data, data, handle->length);
}

nfs_fh3
nfs_handle_get(const struct nfs_handle *handle)
{
    return (nfs_fh3){.data = {.data_len = handle->length, .data_val = (char *)handle->data}};
}

void
nfs_call_end(struct nfs_call *call, int rpc_status, int errnum)
{
    call->errnum = rpc_status == RPC_STATUS_SUCCESS ? errnum : ECONNRESET;
    call->is_over = true;
}

int
nfs_wait(struct rpc_context *rpc, struct nfs_call *call, int64_t until_ms)
{
    while (!call->is_over) {
        struct pollfd fd = {.fd = rpc_get_fd(rpc), .events = (short)rpc_which_events(rpc)};

        if (clock_monotonic_ms() >= until_ms)
            return ETIMEDOUT;
        if (poll(&fd, 1, TICK_MS) < 0 && errno != EINTR)
            return errno;
        if (rpc_service(rpc, fd.revents) < 0 && !call->is_over)
            return ECONNRESET;
    }
    return call->errnum;
}

static void
connected(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    nfs_call_end(opaque, status, 0);
}

static int
connect_once(struct rpc_context *rpc, const struct nfs_place *place, int program, int port,
             struct nfs_call *call, int64_t until_ms)
{
    int result;

    /* Who owns the files on the KVM hosts; the server maps it to another where it squashes root. */
    rpc_set_uid(rpc, 0);
    rpc_set_gid(rpc, 0);
    if (port)
        result = rpc_connect_port_async(rpc, place->server, port, program, 3, connected, call);
    else
        result = rpc_connect_program_async(rpc, place->server, program, 3, connected, call);
    if (result != 0)
        return ECONNREFUSED;
    result = nfs_wait(rpc, call, until_ms);
    return result == ECONNRESET ? ECONNREFUSED : result;
}

static struct rpc_context *
connect_to(const struct nfs_place *place, int program, int port, int64_t until_ms)
{
    for (;;) {
        struct rpc_context *rpc = rpc_init_context();
        struct nfs_call call = {0}; /* until the context is gone it may be told of */
        int errnum;

        if (!rpc) {
            errno = ENOMEM;
            return NULL;
        }
        errnum = connect_once(rpc, place, program, port, &call, until_ms);
        if (errnum == 0)
            return rpc;
        rpc_destroy_context(rpc);
        if (clock_monotonic_ms() + TICK_MS >= until_ms) {
            errno = errnum;
            return NULL;
        }
        clock_sleep_ms(TICK_MS); /* a server that restarts */
    }
}

struct rpc_context *
nfs_connect(const struct nfs_place *place, int64_t until_ms)
{
    return connect_to(place, NFS_PROGRAM, place->nfs_port ? place->nfs_port : NFS_PORT, until_ms);
}

static void
mounted(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct nfs_call *call = opaque;
    const mountres3 *answer = data;
    int errnum = 0;

    if (status == RPC_STATUS_SUCCESS && answer->fhs_status == MNT3_OK)
        nfs_handle_set(call->result, answer->mountres3_u.mountinfo.fhandle.fhandle3_val,
                       answer->mountres3_u.mountinfo.fhandle.fhandle3_len);
    else if (status == RPC_STATUS_SUCCESS)
        errnum = (int)answer->fhs_status < 70 ? (int)answer->fhs_status : EIO;
    nfs_call_end(call, status, errnum);
}

int
nfs_mount_export(const struct nfs_place *place, int64_t until_ms, struct nfs_handle *ret_root)
{
    struct rpc_context *rpc = connect_to(place, MOUNT_PROGRAM, place->mount_port, until_ms);
    struct nfs_call call = {.result = ret_root};
    int errnum;

    if (!rpc)
        return errno;
    errnum = rpc_mount3_mnt_async(rpc, mounted, place->export, &call) == 0
                 ? nfs_wait(rpc, &call, until_ms)
                 : EIO;
    call.is_over = true;
    rpc_destroy_context(rpc);
    return errnum;
}
