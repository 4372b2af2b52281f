#include "vddk/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vddk/say.h"

#define IDENTITY         "v2c-engine"
#define COMPLAINT_AGE_MS 5000

/* QueryAllocatedBlocks is slow and blocks reads: few answers (1 MiB is also VMFS's own unit), each
 * over a window that keeps it bounded and far from the limit of chunks. */
#define EXTENT_CHUNK     2048U                   /* sectors */
#define EXTENT_WINDOW    (16384U * EXTENT_CHUNK) /* sectors: 16 GiB */

static const char *const call_names[CALL_COUNT] = {
    [CALL_INIT] = "InitEx",
    [CALL_PREPARE] = "PrepareForAccess",
    [CALL_CONNECT] = "ConnectEx",
    [CALL_OPEN] = "Open",
    [CALL_INFO] = "GetInfo",
    [CALL_READ] = "Read",
    [CALL_READ_ASYNC] = "ReadAsync",
    [CALL_READ_DONE] = "ReadAsync until done",
    [CALL_EXTENTS] = "QueryAllocatedBlocks",
    [CALL_WAIT] = "Wait",
    [CALL_CLOSE] = "Close",
    [CALL_DISCONNECT] = "Disconnect",
    [CALL_END] = "EndAccess",
    [CALL_EXIT] = "Exit",
};

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void
count_call(struct session *session, enum session_call call, uint64_t started_ns, uint64_t bytes)
{
    struct session_stat *stat = &session->stats[call];

    stat->count++;
    stat->bytes += bytes;
    stat->ns += now_ns() - started_ns;
}

/* Calls VDDK, counts it, and is the call's value. */
#define CALL(session, call, bytes, expression)                                                     \
    ({                                                                                             \
        uint64_t started_ = now_ns();                                                              \
        uint64_t value_ = (expression);                                                            \
        count_call(session, call, started_, bytes);                                                \
        value_;                                                                                    \
    })

static void
report_calls(const struct session *session)
{
    for (int call = 0; call < CALL_COUNT; call++) {
        const struct session_stat *stat = &session->stats[call];

        if (stat->count)
            say(SAY_DEBUG, "%-22s %8llu calls %14llu bytes %10.3f s", call_names[call],
                (unsigned long long)stat->count, (unsigned long long)stat->bytes,
                (double)stat->ns / 1e9);
    }
}

void
session_init(struct session *session)
{
    memset(session, 0, sizeof(*session));
    session->config = CONFIG_FILE_NONE;
    pthread_mutex_init(&session->lock, NULL);
    pthread_cond_init(&session->idle, NULL);
}

void
session_explain(struct session *session, enum vddk_wire_failure failure, uint64_t vix_error,
                struct vddk_wire_result *ret_result)
{
    const struct vix_library *library = &session->library;
    char *text = library->GetErrorText(vix_error, NULL);
    char complaint[256];
    int length;

    ret_result->failure = failure;
    ret_result->vix_error = VIX_ERROR_CODE(vix_error);
    length = snprintf(ret_result->text, sizeof(ret_result->text), "%.200s",
                      text && *text ? text : "no error text");
    if (say_last_complaint(COMPLAINT_AGE_MS, complaint, sizeof(complaint)))
        (void)snprintf(ret_result->text + length, sizeof(ret_result->text) - (size_t)length,
                       " (VDDK logged: %s)", complaint);
    if (text)
        library->FreeErrorText(text);
}

/* ---- opening ---------------------------------------------------------------------------------- */

static bool
load_and_init(struct session *session, const struct vddk_wire_open *open,
              struct vddk_wire_result *result)
{
    const char *config;
    uint64_t error;

    if (!vix_load(open->libdir, &session->library, result))
        return false;
    config = config_file_make(open, &session->config);
    say_forget_complaint();
    error = CALL(session, CALL_INIT, 0,
                 session->library.InitEx(VIX_API_MAJOR, VIX_API_MINOR, say_vix_log, say_vix_warn,
                                         say_vix_panic, open->libdir, config));
    config_file_done(&session->config);
    if (VIX_ERROR_CODE(error) != VIX_OK) {
        session_explain(session, VDDK_WIRE_FAIL_INIT, error, result);
        return false;
    }
    session->is_initialized = true;
    return true;
}

static char *
keep(struct session *session, int index, char *string)
{
    session->strings[index] = string;
    return string;
}

static bool
make_params(struct session *session, const struct vddk_wire_open *open)
{
    struct vix_connect_params *params;
    char moref[VDDK_WIRE_TEXT + 8];

    /* The library's own struct may be larger than ours, so it allocates it where it can. */
    params = session->library.AllocateConnectParams ? session->library.AllocateConnectParams()
                                                    : calloc(1, sizeof(*params));
    if (!params)
        return false;
    session->params = params;
    snprintf(moref, sizeof(moref), "moref=%s", open->vm_moref);
    params->vmx_spec = keep(session, 0, strdup(moref));
    params->server_name = keep(session, 1, strdup(open->server));
    params->thumbprint = keep(session, 2, open->thumbprint[0] ? strdup(open->thumbprint) : NULL);
    params->cred_type = VIX_CRED_UID;
    params->creds.uid.user = keep(session, 3, strdup(open->user));
    params->creds.uid.password = keep(session, 4, strdup(open->password));
    params->port = open->port;
    params->spec_type = VIX_SPEC_VMX;
    /* VDDK crashes on a missing one of these, so memory must not run out here. */
    return params->vmx_spec && params->server_name && params->creds.uid.user &&
           params->creds.uid.password;
}

/* Whether a transport is among those that may be chosen, for which the VM must not be relocated while
 * its disk is open, and for which a crash may have left a disk attached to this machine. */
static bool
may_attach_disks(const char *transports)
{
    return strstr(transports, "hotadd") || strstr(transports, "san");
}

static bool
prepare_access(struct session *session, const char *transports, struct vddk_wire_result *result)
{
    const struct vix_library *library = &session->library;
    uint32_t cleaned = 0, remaining = 0;
    uint64_t error;

    if (!may_attach_disks(transports))
        return true;
    if (library->Cleanup) {
        error = library->Cleanup(session->params, &cleaned, &remaining);
        say(SAY_DEBUG, "Cleanup: error %llu, %u removed, %u left", (unsigned long long)error,
            cleaned, remaining);
    }
    if (!library->PrepareForAccess || !library->EndAccess)
        return true;
    error = CALL(session, CALL_PREPARE, 0, library->PrepareForAccess(session->params, IDENTITY));
    if (VIX_ERROR_CODE(error) != VIX_OK) {
        session_explain(session, VDDK_WIRE_FAIL_CONNECT, error, result);
        return false;
    }
    session->is_prepared = true;
    return true;
}

static bool
do_connect(struct session *session, const struct vddk_wire_open *open,
           struct vddk_wire_result *result)
{
    char snapshot[VDDK_WIRE_TEXT + 8] = "";
    uint64_t error;

    if (!make_params(session, open)) {
        result->failure = VDDK_WIRE_FAIL_CONNECT;
        snprintf(result->text, sizeof(result->text), "out of memory");
        return false;
    }
    say_forget_complaint();
    if (!prepare_access(session, open->transports, result))
        return false;
    if (open->snapshot_moref[0])
        snprintf(snapshot, sizeof(snapshot), "moref=%s", open->snapshot_moref);
    error = CALL(session, CALL_CONNECT, 0,
                 session->library.ConnectEx(session->params, 1, snapshot[0] ? snapshot : NULL,
                                            open->transports, &session->connection));
    if (VIX_ERROR_CODE(error) != VIX_OK) {
        session->connection = NULL;
        session_explain(session, VDDK_WIRE_FAIL_CONNECT, error, result);
        return false;
    }
    return true;
}

static uint64_t
open_handle(struct session *session, const char *path, uint32_t flags)
{
    uint64_t error =
        CALL(session, CALL_OPEN, 0,
             session->library.Open(session->connection, path, flags, &session->handle));

    if (VIX_ERROR_CODE(error) != VIX_OK)
        session->handle = NULL;
    return error;
}

static void
close_handle(struct session *session)
{
    uint64_t error = CALL(session, CALL_CLOSE, 0, session->library.Close(session->handle));

    if (VIX_ERROR_CODE(error) != VIX_OK)
        say(SAY_DEBUG, "Close: error %llu", (unsigned long long)error);
    session->handle = NULL;
}

static bool
get_capacity(struct session *session, struct vddk_wire_result *result)
{
    struct vix_info *info = NULL;
    uint64_t sectors, error;

    error = CALL(session, CALL_INFO, 0, session->library.GetInfo(session->handle, &info));
    if (VIX_ERROR_CODE(error) != VIX_OK || !info) {
        session_explain(session, VDDK_WIRE_FAIL_OPEN, error, result);
        return false;
    }
    sectors = info->capacity;
    session->library.FreeInfo(info);
    if (sectors == 0 || sectors > INT64_MAX / VIX_SECTOR) {
        result->failure = VDDK_WIRE_FAIL_OPEN;
        snprintf(result->text, sizeof(result->text), "VDDK gives the disk %llu sectors",
                 (unsigned long long)sectors);
        return false;
    }
    session->capacity = sectors * VIX_SECTOR;
    return true;
}

static uint32_t
compression_flag(uint32_t compression)
{
    static const uint32_t flags[] = {[VDDK_WIRE_PLAIN] = 0,
                                     [VDDK_WIRE_ZLIB] = VIX_OPEN_ZLIB,
                                     [VDDK_WIRE_FASTLZ] = VIX_OPEN_FASTLZ,
                                     [VDDK_WIRE_SKIPZ] = VIX_OPEN_SKIPZ};

    return flags[compression];
}

static bool
is_refused_wish(uint64_t error)
{
    return VIX_ERROR_CODE(error) == VIX_E_NOT_SUPPORTED ||
           VIX_ERROR_CODE(error) == VIX_E_INVALID_ARG;
}

/* With everything that was wished for, or as much of it as VDDK takes: *flags is what it took. */
static uint64_t
open_as_wished(struct session *session, const char *path, uint32_t *flags)
{
    uint32_t unbuffered = *flags & VIX_OPEN_UNBUFFERED;
    uint32_t compression = *flags & (VIX_OPEN_ZLIB | VIX_OPEN_FASTLZ | VIX_OPEN_SKIPZ);
    const uint32_t less[] = {compression, unbuffered, 0};
    uint64_t error = open_handle(session, path, *flags);

    for (size_t i = 0; is_refused_wish(error) && i < sizeof(less) / sizeof(less[0]); i++) {
        uint32_t fewer = VIX_OPEN_READ_ONLY | less[i];
        bool is_tried = fewer == *flags;

        for (size_t earlier = 0; earlier < i; earlier++)
            is_tried = is_tried || less[earlier] == less[i];
        if (is_tried)
            continue;
        error = open_handle(session, path, fewer);
        if (VIX_ERROR_CODE(error) != VIX_OK)
            continue;
        if (compression & ~fewer)
            say(SAY_WARNING, "VDDK does not compress what it reads here: opened without");
        *flags = fewer;
    }
    return error;
}

/* The handle is unbuffered, and the disk no whole 4 KiB.  Opens it again buffered, reads what comes after
 * the last whole 4 KiB, and opens it unbuffered again; or leaves it buffered when that fails. */
static uint64_t
keep_tail(struct session *session, const char *path, uint32_t *flags)
{
    uint64_t whole = session->capacity - session->capacity % VIX_UNBUFFERED, error;
    uint32_t length = (uint32_t)(session->capacity - whole);

    close_handle(session);
    error = open_handle(session, path, *flags & ~VIX_OPEN_UNBUFFERED);
    if (VIX_ERROR_CODE(error) != VIX_OK)
        return error;
    if (whole == 0 ||
        VIX_ERROR_CODE(CALL(session, CALL_READ, length,
                            session->library.Read(session->handle, whole / VIX_SECTOR,
                                                  length / VIX_SECTOR, session->tail))) != VIX_OK) {
        *flags &= ~VIX_OPEN_UNBUFFERED;
        return VIX_OK;
    }
    close_handle(session);
    session->tail_offset = whole;
    return open_handle(session, path, *flags);
}

/* Unbuffered where it can be: up to four times as fast on newer hosts. */
static bool
do_open(struct session *session, const struct vddk_wire_open *open, struct vddk_wire_result *result)
{
    uint32_t flags = VIX_OPEN_READ_ONLY | compression_flag(open->compression) |
                     (open->is_buffered ? 0 : VIX_OPEN_UNBUFFERED);
    uint64_t error;

    say_forget_complaint();
    error = open_as_wished(session, open->disk_path, &flags);
    if (VIX_ERROR_CODE(error) == VIX_OK) {
        if (!get_capacity(session, result))
            return false;
        session->tail_offset = session->capacity;
        if ((flags & VIX_OPEN_UNBUFFERED) && session->capacity % VIX_UNBUFFERED)
            error = keep_tail(session, open->disk_path, &flags);
    }
    session->is_unbuffered = flags & VIX_OPEN_UNBUFFERED;
    if (VIX_ERROR_CODE(error) == VIX_OK)
        return true;
    session_explain(session, VDDK_WIRE_FAIL_OPEN, error, result);
    return false;
}

/* Some data stores and hosts refuse QueryAllocatedBlocks; that is no failure of anything. */
static bool
probe_extents(struct session *session)
{
    const struct vix_library *library = &session->library;
    struct vix_block_list *list = NULL;
    uint64_t error;

    if (!library->QueryAllocatedBlocks || !library->FreeBlockList ||
        session->capacity / VIX_SECTOR < EXTENT_CHUNK)
        return false;
    say_expect_failure(true);
    error =
        CALL(session, CALL_EXTENTS, 0,
             library->QueryAllocatedBlocks(session->handle, 0, EXTENT_CHUNK, EXTENT_CHUNK, &list));
    say_expect_failure(false);
    if (VIX_ERROR_CODE(error) != VIX_OK || !list) {
        say(SAY_DEBUG, "QueryAllocatedBlocks does not work here: error %llu",
            (unsigned long long)error);
        return false;
    }
    library->FreeBlockList(list);
    return true;
}

void
session_open(struct session *session, const struct vddk_wire_open *open,
             struct vddk_wire_open_answer *ret_answer)
{
    const char *transport;

    if (!load_and_init(session, open, &ret_answer->result) ||
        !do_connect(session, open, &ret_answer->result) ||
        !do_open(session, open, &ret_answer->result))
        return;
    transport = session->library.GetTransportMode(session->handle);
    session->is_async = session->library.ReadAsync != NULL;
    session->has_extents = probe_extents(session);
    ret_answer->capacity = session->capacity;
    ret_answer->is_async = session->is_async;
    ret_answer->has_extents = session->has_extents;
    ret_answer->is_unbuffered = session->is_unbuffered;
    snprintf(ret_answer->transport, sizeof(ret_answer->transport), "%.60s",
             transport ? transport : "unknown");
    snprintf(ret_answer->library, sizeof(ret_answer->library), "%.120s", session->library.path);
    say(SAY_DEBUG, "open: %llu bytes, transport %s, %s, %s, %s",
        (unsigned long long)session->capacity, ret_answer->transport,
        session->is_async ? "asynchronous" : "one read at a time",
        session->is_unbuffered ? "unbuffered" : "buffered",
        session->has_extents ? "knows allocated blocks" : "does not know allocated blocks");
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Puts what VDDK did not read straight into its place there. */
static void
fill_in(const struct session *session, struct session_read *read)
{
    uint64_t end = read->offset + read->length;
    uint64_t stop = end < session->tail_offset ? end : session->tail_offset;

    if (read->bounce)
        memcpy(read->data, read->bounce + read->bounce_skip, stop - read->offset);
    if (end > session->tail_offset) {
        uint64_t from = read->offset > session->tail_offset ? read->offset : session->tail_offset;

        memcpy(read->data + (from - read->offset), session->tail + (from - session->tail_offset),
               end - from);
    }
}

static void
complete_read(struct session_read *read, uint64_t error)
{
    struct session *session = read->session;

    error = VIX_ERROR_CODE(error);
    if (error == VIX_OK)
        fill_in(session, read);
    free(read->bounce);
    read->bounce = NULL;
    /* done may free @read, and session_drain may free everything once in_flight is 0: so in_flight
     * falls last, and nothing is touched after it. */
    pthread_mutex_lock(&session->lock);
    if (session->is_async)
        count_call(session, CALL_READ_DONE, read->started_ns, read->length);
    pthread_mutex_unlock(&session->lock);
    read->done(read, error);
    pthread_mutex_lock(&session->lock);
    if (--session->in_flight == 0)
        pthread_cond_signal(&session->idle);
    pthread_mutex_unlock(&session->lock);
}

/* On a thread of VDDK's. */
static void
on_read_done(void *opaque, uint64_t error)
{
    complete_read(opaque, error);
}

/* What is asked of VDDK for this read: the same range, or on an unbuffered handle the aligned one
 * around it, into memory of its own, without the tail that is here already: perhaps nothing. */
static bool
place_read(struct session *session, struct session_read *read, uint64_t *ret_offset,
           uint32_t *ret_length, uint8_t **ret_data)
{
    uint64_t start = read->offset, end = read->offset + read->length;

    *ret_data = read->data;
    end = end > session->tail_offset ? session->tail_offset : end;
    start = start > end ? end : start;
    if (session->is_unbuffered && start < end && (start % VIX_UNBUFFERED || end % VIX_UNBUFFERED)) {
        start -= start % VIX_UNBUFFERED;
        end += (VIX_UNBUFFERED - end % VIX_UNBUFFERED) % VIX_UNBUFFERED;
        read->bounce = aligned_alloc(VIX_UNBUFFERED, end - start);
        if (!read->bounce)
            return false;
        read->bounce_skip = (uint32_t)(read->offset - start);
        *ret_data = read->bounce;
    }
    *ret_offset = start;
    *ret_length = (uint32_t)(end - start);
    return true;
}

void
session_read(struct session *session, struct session_read *read)
{
    const struct vix_library *library = &session->library;
    uint64_t offset, error;
    uint32_t length;
    uint8_t *data;

    read->session = session;
    read->bounce = NULL;
    read->started_ns = now_ns();
    pthread_mutex_lock(&session->lock);
    session->in_flight++;
    pthread_mutex_unlock(&session->lock);
    if (!place_read(session, read, &offset, &length, &data)) {
        complete_read(read, VIX_E_OUT_OF_MEMORY);
        return;
    }
    if (length == 0) {
        complete_read(read, VIX_OK);
        return;
    }
    if (!session->is_async) {
        error =
            CALL(session, CALL_READ, length,
                 library->Read(session->handle, offset / VIX_SECTOR, length / VIX_SECTOR, data));
        complete_read(read, error);
        return;
    }
    error = CALL(session, CALL_READ_ASYNC, length,
                 library->ReadAsync(session->handle, offset / VIX_SECTOR, length / VIX_SECTOR, data,
                                    on_read_done, read));
    /* Anything but VIX_ASYNC, 0 included, means that the callback will not come. */
    if (VIX_ERROR_CODE(error) != VIX_ASYNC)
        complete_read(read, VIX_ERROR_CODE(error) == VIX_OK ? 1 /* VIX_E_FAIL */ : error);
}

void
session_drain(struct session *session)
{
    if (session->handle && session->is_async && session->library.Wait)
        (void)CALL(session, CALL_WAIT, 0, session->library.Wait(session->handle));
    pthread_mutex_lock(&session->lock);
    while (session->in_flight)
        pthread_cond_wait(&session->idle, &session->lock);
    pthread_mutex_unlock(&session->lock);
}

void
session_keep_alive(struct session *session)
{
    static _Alignas(VIX_UNBUFFERED) uint8_t data[VIX_UNBUFFERED];
    uint64_t size = session->capacity < sizeof(data) ? session->capacity : sizeof(data), error;
    unsigned in_flight;

    pthread_mutex_lock(&session->lock);
    in_flight = session->in_flight;
    pthread_mutex_unlock(&session->lock);
    if (!session->handle || in_flight)
        return;
    error = CALL(session, CALL_READ, size,
                 session->library.Read(session->handle, 0, size / VIX_SECTOR, data));
    if (VIX_ERROR_CODE(error) != VIX_OK)
        say(SAY_DEBUG, "the read that keeps the session alive: error %llu",
            (unsigned long long)error);
}

/* ---- extents ---------------------------------------------------------------------------------- */

static void
answer_whole(struct vddk_wire_extents_answer *answer, uint64_t offset, uint64_t length)
{
    answer->covered = length;
    answer->count = 1;
    answer->extents[0].offset = offset;
    answer->extents[0].length = length;
}

static void
forget_blocks(struct session *session)
{
    if (session->blocks)
        session->library.FreeBlockList(session->blocks);
    session->blocks = NULL;
}

/* Whether VDDK's list for a window of so many sectors makes sense: sorted, without overlap. */
static bool
is_sane(const struct vix_block_list *list, uint64_t sectors)
{
    uint64_t last = 0;

    if (list->count > sectors / EXTENT_CHUNK)
        return false;
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t start = list->blocks[i].offset, length = list->blocks[i].length;

        if (start > INT64_MAX / VIX_SECTOR || length > INT64_MAX / VIX_SECTOR - start ||
            start < last)
            return false;
        last = start + length;
    }
    return true;
}

/* Takes what the list says of [offset, end) over into the answer, or as much of it as that has room for. */
static void
take_blocks(const struct vix_block_list *list, uint64_t offset, uint64_t end,
            struct vddk_wire_extents_answer *answer)
{
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t start = list->blocks[i].offset * VIX_SECTOR;
        uint64_t stop = start + list->blocks[i].length * VIX_SECTOR;

        start = start < offset ? offset : start;
        stop = stop > end ? end : stop;
        if (start >= stop)
            continue;
        if (answer->count &&
            answer->extents[answer->count - 1].offset + answer->extents[answer->count - 1].length ==
                start) {
            answer->extents[answer->count - 1].length += stop - start;
            continue;
        }
        if (answer->count == VDDK_WIRE_MAX_EXTENTS) {
            answer->covered = start - offset;
            return;
        }
        answer->extents[answer->count].offset = start;
        answer->extents[answer->count++].length = stop - start;
    }
    answer->covered = end - offset;
}

/* Asks about [start, end), whole chunks; false when nothing sensible came, with the reason in @answer. */
static bool
query_window(struct session *session, uint64_t start, uint64_t end,
             struct vddk_wire_extents_answer *answer)
{
    const struct vix_library *library = &session->library;
    uint64_t sectors = (end - start) / VIX_SECTOR, error;
    struct vix_block_list *list = NULL;

    forget_blocks(session);
    say_expect_failure(true);
    error = CALL(session, CALL_EXTENTS, end - start,
                 library->QueryAllocatedBlocks(session->handle, start / VIX_SECTOR, sectors,
                                               EXTENT_CHUNK, &list));
    say_expect_failure(false);
    if (VIX_ERROR_CODE(error) != VIX_OK || !list) {
        session_explain(session, VDDK_WIRE_FAIL_EXTENTS, error, &answer->result);
        return false;
    }
    if (!is_sane(list, sectors)) {
        library->FreeBlockList(list);
        say(SAY_DEBUG, "QueryAllocatedBlocks answered nonsense: everything counts as allocated");
        return false;
    }
    session->blocks = list;
    session->blocks_start = start;
    session->blocks_end = end;
    return true;
}

/* Asking beyond the last whole chunk is an error to VDDK, so what comes after it is never asked
 * about: it counts as allocated. */
void
session_extents(struct session *session, uint64_t offset, uint64_t length,
                struct vddk_wire_extents_answer *ret_answer)
{
    uint64_t chunk = (uint64_t)EXTENT_CHUNK * VIX_SECTOR;
    uint64_t window = (uint64_t)EXTENT_WINDOW * VIX_SECTOR;
    uint64_t last = session->capacity - session->capacity % chunk;
    uint64_t end = offset + length, first = offset - offset % chunk, stop;

    if (!session->has_extents) {
        ret_answer->result.failure = VDDK_WIRE_FAIL_EXTENTS;
        snprintf(ret_answer->result.text, sizeof(ret_answer->result.text),
                 "QueryAllocatedBlocks is not available");
        return;
    }
    if (offset >= last) {
        answer_whole(ret_answer, offset, length);
        return;
    }
    if (!session->blocks || offset < session->blocks_start || offset >= session->blocks_end) {
        stop = end + (chunk - end % chunk) % chunk;
        stop = stop > last ? last : stop;
        stop = stop - first > window ? first + window : stop;
        if (!query_window(session, first, stop, ret_answer)) {
            if (ret_answer->result.failure == VDDK_WIRE_OK)
                answer_whole(ret_answer, offset, (end < stop ? end : stop) - offset);
            return;
        }
    }
    stop = session->blocks_end;
    take_blocks(session->blocks, offset, end < stop ? end : stop, ret_answer);
}

/* ---- closing ---------------------------------------------------------------------------------- */

void
session_close(struct session *session)
{
    const struct vix_library *library = &session->library;

    session_drain(session);
    forget_blocks(session);
    if (session->handle)
        close_handle(session);
    if (session->connection)
        (void)CALL(session, CALL_DISCONNECT, 0, library->Disconnect(session->connection));
    session->connection = NULL;
    if (session->is_prepared)
        (void)CALL(session, CALL_END, 0, library->EndAccess(session->params, IDENTITY));
    session->is_prepared = false;
    if (session->params && library->AllocateConnectParams)
        library->FreeConnectParams(session->params);
    else
        free(session->params);
    session->params = NULL;
    if (session->is_initialized)
        (void)CALL(session, CALL_EXIT, 0, (library->Exit(), VIX_OK));
    session->is_initialized = false;
    report_calls(session);
    memset(session->stats, 0, sizeof(session->stats));
}
