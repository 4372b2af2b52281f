#include "io/nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "base/vec.h"

/* ---- paths ------------------------------------------------------------------------------------ */

void
nfs_place_done(struct nfs_place *place)
{
    free(place->server);
    free(place->export);
    free(place->file);
    *place = (struct nfs_place){0};
}

/* "[v6]:port,mountport", "name:port" ... */
static int
parse_server(char *text, struct nfs_place *place)
{
    char *end = text[0] == '[' ? strchr(text, ']') : text + strcspn(text, ":");
    char *ports;

    if (!end)
        return -1;
    ports = text[0] == '[' ? end + 1 : end;
    if (*ports == ':') {
        place->nfs_port = (int)strtol(ports + 1, &ports, 10);
        if (*ports == ',')
            place->mount_port = (int)strtol(ports + 1, &ports, 10);
    }
    if (*ports || place->nfs_port < 0 || place->nfs_port > 65535 || place->mount_port < 0 ||
        place->mount_port > 65535)
        return -1;
    *end = '\0';
    place->server = xstrdup(text[0] == '[' ? text + 1 : text);
    return *place->server ? 0 : -1;
}

int
nfs_place_parse(const char *path, struct nfs_place *ret_place)
{
    const char *start = path + strlen("nfs://"), *slash = strchr(start, '/');
    const char *last = strrchr(start, '/');
    CLEANUP(nfs_place_done) struct nfs_place place = {0};
    CLEANUP(free_charp) char *server = NULL;

    if (!io_path_is_remote(path) || !slash) {
        errno = EINVAL;
        return -1;
    }
    server = strndup(start, (size_t)(slash - start));
    if (!server || parse_server(server, &place) < 0) {
        errno = EINVAL;
        return -1;
    }
    place.export = last == slash ? xstrdup("/") : strndup(slash, (size_t)(last - slash));
    place.file = xstrdup(last + 1);
    *ret_place = place;
    place = (struct nfs_place){0};
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------ */

struct found {
    struct nfs_handle handle;
    struct stat st;
};

static void
take_attributes(const fattr3 *from, struct stat *to)
{
    static const mode_t types[] = {[NF3REG] = S_IFREG, [NF3DIR] = S_IFDIR, [NF3LNK] = S_IFLNK};

    *to = (struct stat){.st_mode = (from->mode & 07777) |
                                   (from->type < ARRAY_SIZE(types) ? types[from->type] : 0),
                        .st_uid = from->uid,
                        .st_gid = from->gid,
                        .st_size = (off_t)from->size,
                        .st_dev = (dev_t)from->fsid,
                        .st_ino = from->fileid};
}

static void
looked_up(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct nfs_call *call = opaque;
    const LOOKUP3res *answer = data;
    struct found *found = call->result;
    int errnum = status == RPC_STATUS_SUCCESS ? nfs_errno(answer->status) : 0;

    if (status == RPC_STATUS_SUCCESS && !errnum)
        nfs_handle_set(&found->handle, answer->LOOKUP3res_u.resok.object.data.data_val,
                       answer->LOOKUP3res_u.resok.object.data.data_len);
    nfs_call_end(call, status, errnum);
}

static void
got_attributes(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct nfs_call *call = opaque;
    const GETATTR3res *answer = data;
    int errnum = status == RPC_STATUS_SUCCESS ? nfs_errno(answer->status) : 0;

    if (status == RPC_STATUS_SUCCESS && !errnum)
        take_attributes(&answer->GETATTR3res_u.resok.obj_attributes, call->result);
    nfs_call_end(call, status, errnum);
}

/* For answers that begin with a status and of which nothing else is wanted. */
static void
answered(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    nfs_call_end(opaque, status,
                 status == RPC_STATUS_SUCCESS ? nfs_errno(*(const nfsstat3 *)data) : 0);
}

/* The connection to a place, and its export's handle. */
struct visit {
    struct nfs_place place;
    struct rpc_context *rpc;
    struct nfs_handle root;
    int64_t until_ms;
};

static void
visit_done(struct visit *visit)
{
    if (visit->rpc)
        rpc_destroy_context(visit->rpc);
    nfs_place_done(&visit->place);
}

static int
visit_begin(const char *path, struct visit *visit)
{
    int errnum;

    *visit = (struct visit){.until_ms = clock_monotonic_ms() + nfs_silence_ms()};
    if (nfs_place_parse(path, &visit->place) < 0)
        return errno;
    errnum = nfs_mount_export(&visit->place, visit->until_ms, &visit->root);
    if (errnum)
        return errnum;
    visit->rpc = nfs_connect(&visit->place, visit->until_ms);
    return visit->rpc ? 0 : errno;
}

/* Waits for a call that was sent with @sent as the result. */
static int
finish(struct rpc_context **rpc, int sent, struct nfs_call *call, int64_t until_ms)
{
    int errnum = sent == 0 ? nfs_wait(*rpc, call, until_ms) : ECONNRESET;

    if (!call->is_over ||
        errnum == ECONNRESET) { /* @call is on a stack: nothing may come any more */
        rpc_destroy_context(*rpc);
        *rpc = NULL;
    }
    return errnum;
}

static int
get_attributes(struct rpc_context **rpc, const struct nfs_handle *handle, int64_t until_ms,
               struct stat *ret)
{
    struct nfs_call call = {.result = ret};
    GETATTR3args args = {.object = nfs_handle_get(handle)};

    return finish(rpc, rpc_nfs3_getattr_async(*rpc, got_attributes, &args, &call), &call, until_ms);
}

static int
look_up(struct visit *visit, struct found *found)
{
    struct nfs_call call = {.result = found};
    LOOKUP3args args = {.what = {.dir = nfs_handle_get(&visit->root), .name = visit->place.file}};
    int errnum = finish(&visit->rpc, rpc_nfs3_lookup_async(visit->rpc, looked_up, &args, &call),
                        &call, visit->until_ms);

    return errnum ? errnum
                  : get_attributes(&visit->rpc, &found->handle, visit->until_ms, &found->st);
}

/* A file that is there is never taken for the one that is made. */
static int
create(struct visit *visit, mode_t mode)
{
    struct nfs_call call = {0};
    CREATE3args args = {.where = {.dir = nfs_handle_get(&visit->root), .name = visit->place.file},
                        .how = {.mode = GUARDED}};

    args.how.createhow3_u.g_obj_attributes.mode.set_it = 1;
    args.how.createhow3_u.g_obj_attributes.mode.set_mode3_u.mode = mode & 07777;
    return finish(&visit->rpc, rpc_nfs3_create_async(visit->rpc, answered, &args, &call), &call,
                  visit->until_ms);
}

static int
remove_name(struct visit *visit, char *name)
{
    struct nfs_call call = {0};
    REMOVE3args args = {.object = {.dir = nfs_handle_get(&visit->root), .name = name}};

    return finish(&visit->rpc, rpc_nfs3_remove_async(visit->rpc, answered, &args, &call), &call,
                  visit->until_ms);
}

/* ---- open files ------------------------------------------------------------------------------- */

VEC_DECLARE(nfs_files, struct nfs_file *);
static struct nfs_files files;
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

struct nfs_file *
nfs_file_find(int fd)
{
    SCOPE_LOCK(&files_lock);
    for (size_t i = 0; i < files.count; i++)
        if (files.items[i]->fd == fd)
            return files.items[i];
    return NULL;
}

int
nfs_file_open(const char *path, int flags, mode_t mode, int *ret_fd)
{
    CLEANUP(visit_done) struct visit visit = {0};
    struct found found = {0};
    struct nfs_file *file;
    int errnum = visit_begin(path, &visit);

    if (!errnum && flags & O_CREAT)
        errnum = create(&visit, mode);
    if (!errnum)
        errnum = look_up(&visit, &found);
    if (!errnum && !S_ISREG(found.st.st_mode))
        errnum = EINVAL;
    if (errnum)
        return errnum;
    file = xcalloc(1, sizeof(*file));
    /* A number that is nobody else's while the file is open. */
    file->fd = memfd_create("v2c-nfs", MFD_CLOEXEC);
    if (file->fd < 0) {
        errnum = errno;
        free(file);
        return errnum;
    }
    file->place = visit.place;
    visit.place = (struct nfs_place){0};
    file->rpc = take(visit.rpc);
    file->handle = found.handle;
    SCOPE_LOCK(&files_lock);
    vec_push(&files, file);
    *ret_fd = file->fd;
    return 0;
}

void
nfs_file_close(int fd)
{
    struct nfs_file *file = NULL;

    SCOPE_LOCK(&files_lock);
    for (size_t i = 0; i < files.count && !file; i++)
        if (files.items[i]->fd == fd) {
            file = files.items[i];
            files.items[i] = files.items[--files.count];
        }
    if (files.count == 0)
        vec_done(&files);
    if (!file)
        return;
    if (file->rpc)
        rpc_destroy_context(file->rpc);
    nfs_place_done(&file->place);
    (void)close(file->fd);
    free(file);
}

/* The connection for what is waited for; made anew where the last one broke. */
static int
need_rpc(struct nfs_file *file, int64_t until_ms)
{
    if (!file->rpc)
        file->rpc = nfs_connect(&file->place, until_ms);
    return file->rpc ? 0 : errno;
}

/* Whether a call that ended with @errnum is to be made again on a new connection, or later. */
static bool
is_passing(int errnum, int64_t until_ms)
{
    if ((errnum != ECONNRESET && errnum != EAGAIN) || clock_monotonic_ms() >= until_ms)
        return false;
    if (errnum == EAGAIN)
        clock_sleep_ms(MIN(100, until_ms - clock_monotonic_ms()));
    return true;
}

int
nfs_file_stat(struct nfs_file *file, struct stat *ret)
{
    int64_t until_ms = clock_monotonic_ms() + nfs_silence_ms();
    int errnum;

    do {
        errnum = need_rpc(file, until_ms);
        if (!errnum)
            errnum = get_attributes(&file->rpc, &file->handle, until_ms, ret);
    } while (is_passing(errnum, until_ms));
    return errnum;
}

int
nfs_file_set(struct nfs_file *file, int mode, int uid, int gid)
{
    int64_t until_ms = clock_monotonic_ms() + nfs_silence_ms();
    SETATTR3args args = {.object = nfs_handle_get(&file->handle)};
    sattr3 *set = &args.new_attributes;
    int errnum;

    set->mode.set_it = mode >= 0;
    set->mode.set_mode3_u.mode = (mode3)mode;
    set->uid.set_it = uid >= 0;
    set->uid.set_uid3_u.uid = (uid3)uid;
    set->gid.set_it = gid >= 0;
    set->gid.set_gid3_u.gid = (gid3)gid;
    do {
        struct nfs_call call = {0};

        errnum = need_rpc(file, until_ms);
        if (!errnum)
            errnum = finish(&file->rpc, rpc_nfs3_setattr_async(file->rpc, answered, &args, &call),
                            &call, until_ms);
    } while (is_passing(errnum, until_ms));
    return errnum;
}

struct reading {
    char *data;
    size_t length, got;
};

static void
was_read(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct nfs_call *call = opaque;
    const READ3res *answer = data;
    struct reading *reading = call->result;
    int errnum = status == RPC_STATUS_SUCCESS ? nfs_errno(answer->status) : 0;

    if (status == RPC_STATUS_SUCCESS && !errnum) {
        reading->got = MIN(answer->READ3res_u.resok.data.data_len, reading->length);
        memcpy(reading->data, answer->READ3res_u.resok.data.data_val, reading->got);
    }
    nfs_call_end(call, status, errnum);
}

ssize_t
nfs_file_pread(struct nfs_file *file, void *data, size_t length, uint64_t offset)
{
    int64_t until_ms = clock_monotonic_ms() + nfs_silence_ms();
    struct reading reading = {.data = data, .length = MIN(length, NFS_MAX_TRANSFER)};
    READ3args args = {
        .file = nfs_handle_get(&file->handle), .offset = offset, .count = (count3)reading.length};
    int errnum;

    do {
        struct nfs_call call = {.result = &reading};

        errnum = need_rpc(file, until_ms);
        if (!errnum)
            errnum = finish(&file->rpc, rpc_nfs3_read_async(file->rpc, was_read, &args, &call),
                            &call, until_ms);
    } while (is_passing(errnum, until_ms));
    return errnum ? -errnum : (ssize_t)reading.got;
}

/* ---- what is stable --------------------------------------------------------------------------- */

bool nfs_ignores_verifiers;

void
nfs_file_written(struct nfs_file *file, const WRITE3resok *answer)
{
    if (answer->committed != UNSTABLE)
        return;
    if (file->committed == file->writes)
        memcpy(file->verifier, answer->verf, sizeof(file->verifier));
    else if (memcmp(file->verifier, answer->verf, sizeof(file->verifier)) != 0)
        file->is_lost = file->is_lost || !nfs_ignores_verifiers;
    file->writes++;
}

void
nfs_file_committed(struct nfs_file *file, const char *verifier, uint64_t writes)
{
    if (file->committed < file->writes &&
        memcmp(file->verifier, verifier, sizeof(file->verifier)) != 0 && !nfs_ignores_verifiers)
        file->is_lost = true;
    else
        file->committed = MAX(file->committed, writes);
}

static void
was_committed(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct nfs_call *call = opaque;
    const COMMIT3res *answer = data;
    int errnum = status == RPC_STATUS_SUCCESS ? nfs_errno(answer->status) : 0;

    if (status == RPC_STATUS_SUCCESS && !errnum)
        memcpy(call->result, answer->COMMIT3res_u.resok.verf, sizeof(writeverf3));
    nfs_call_end(call, status, errnum);
}

int
nfs_file_commit(struct nfs_file *file, struct rpc_context **rpc, int64_t until_ms)
{
    COMMIT3args args = {.file = nfs_handle_get(&file->handle)};
    uint64_t writes = file->writes;
    writeverf3 verifier;
    struct nfs_call call = {.result = verifier};
    int errnum =
        finish(rpc, rpc_nfs3_commit_async(*rpc, was_committed, &args, &call), &call, until_ms);

    if (errnum == 0)
        nfs_file_committed(file, verifier, writes);
    return errnum;
}

/* ---- names ------------------------------------------------------------------------------------ */

int
nfs_path_stat(const char *path, struct stat *ret)
{
    CLEANUP(visit_done) struct visit visit = {0};
    struct found found = {0};
    int errnum = visit_begin(path, &visit);

    if (!errnum)
        errnum = look_up(&visit, &found);
    if (!errnum)
        *ret = found.st;
    return errnum;
}

int
nfs_path_unlink(const char *path)
{
    CLEANUP(visit_done) struct visit visit = {0};
    int errnum = visit_begin(path, &visit);

    return errnum ? errnum : remove_name(&visit, visit.place.file);
}

int
nfs_path_publish(const char *from, const char *to)
{
    CLEANUP(visit_done) struct visit visit = {0};
    struct found found = {0};
    struct nfs_call call = {0};
    CLEANUP(free_charp) char *name = xstrdup(strrchr(to, '/') + 1);
    int errnum = visit_begin(from, &visit);
    LINK3args args;

    if (!errnum)
        errnum = look_up(&visit, &found);
    if (errnum)
        return errnum;
    args = (LINK3args){.file = nfs_handle_get(&found.handle),
                       .link = {.dir = nfs_handle_get(&visit.root), .name = name}};
    errnum = finish(&visit.rpc, rpc_nfs3_link_async(visit.rpc, answered, &args, &call), &call,
                    visit.until_ms);
    return errnum ? errnum : remove_name(&visit, visit.place.file);
}

struct space {
    uint64_t total, free;
};

static void
got_space(struct rpc_context *rpc, int status, void *data, void *opaque)
{
    struct nfs_call *call = opaque;
    const FSSTAT3res *answer = data;
    struct space *space = call->result;
    int errnum = status == RPC_STATUS_SUCCESS ? nfs_errno(answer->status) : 0;

    if (status == RPC_STATUS_SUCCESS && !errnum)
        *space =
            (struct space){answer->FSSTAT3res_u.resok.tbytes, answer->FSSTAT3res_u.resok.abytes};
    nfs_call_end(call, status, errnum);
}

int
nfs_path_space(const char *dir, uint64_t *ret_total, uint64_t *ret_free)
{
    CLEANUP(free_charp) char *inside = xasprintf("%s/x", dir);
    CLEANUP(visit_done) struct visit visit = {0};
    struct space space = {0};
    struct nfs_call call = {.result = &space};
    int errnum = visit_begin(inside, &visit);
    FSSTAT3args args = {.fsroot = nfs_handle_get(&visit.root)};

    if (!errnum)
        errnum = finish(&visit.rpc, rpc_nfs3_fsstat_async(visit.rpc, got_space, &args, &call),
                        &call, visit.until_ms);
    if (errnum)
        return errnum;
    *ret_total = space.total;
    *ret_free = space.free;
    return 0;
}
