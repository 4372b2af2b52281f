/* The exported functions, and the rules that the real library has or that its manual sets. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakevddk/fake.h"

#define EXPORT          __attribute__((visibility("default")))
#define FN(name)        VixDiskLib_##name
#define MAX_READ        (23U * 1024 * 1024)
#define MIN_CHUNK       128U
#define MAX_CHUNKS      (512U * 1024)
#define ALIGNMENT       4096U

#define OPEN_UNBUFFERED 1U
#define OPEN_READ_ONLY  4U
#define OPEN_COMPRESSED (16U | 32U | 64U) /* zlib, fastlz, skipz: one of them */
#define CRED_UID        1

#define CANARY          0x5ca1ab1e0ddba11ULL
#define POISON          0xa5

/* ---- the library's types, by offset ------------------------------------------------------------ */

struct params {
    const char *vmx_spec, *server, *thumbprint; /* 0, 8, 16 */
    long unused24;
    int cred_type; /* 32 */
    int unused36;
    const char *user, *password; /* 40, 48 */
    void *unused56;
    uint32_t port; /* 64 */
    uint8_t unused68[52];
    int spec_type; /* 120 */
    int unused124;
};
_Static_assert(offsetof(struct params, user) == 40 && offsetof(struct params, port) == 64 &&
                   offsetof(struct params, spec_type) == 120 && sizeof(struct params) == 128,
               "the layout of ConnectParams");

/* A newer library's struct is larger than the caller's idea of it. */
struct allocated_params {
    uint64_t before[8];
    struct params params;
    uint8_t more[192];
    uint64_t after[8];
};

struct info {
    uint32_t geometry[6];
    uint64_t capacity; /* 24: sectors */
    int adapter, links;
    char *parent, *uuid;
    uint32_t logical, physical;
};
_Static_assert(offsetof(struct info, capacity) == 24 && sizeof(struct info) == 64,
               "the layout of Info");

struct block_list {
    uint32_t count;
    uint32_t unused4;
    struct {
        uint64_t offset, length;
    } blocks[];
};

struct connection {
    struct fake_ticket ticket;
    bool is_read_only;
    const char
        *mode; /* of the transports that were asked for, the first that there is; NULL: none */
};

struct pending {
    struct pending *next;
    struct handle *handle;
    uint8_t *data;
    uint32_t length;
    uint64_t error; /* it completes with; 0: with what comes of it */
    void (*done)(void *opaque, uint64_t error);
    void *opaque;
};

struct handle {
    struct connection *connection;
    struct fake_remote *remote;
    uint64_t capacity; /* bytes */
    bool is_unbuffered;
    atomic_bool is_busy;
    pthread_mutex_t lock;
    struct pending *pending; /* lock */
};

/* Exported functions have no header to stand in. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

/* ---- state ------------------------------------------------------------------------------------- */

typedef void log_fn(const char *fmt, va_list args);

static log_fn *caller_log, *caller_warn, *caller_panic;
static atomic_bool is_initialized, is_opening, was_initialized;
static atomic_ulong reads;
static pthread_t background;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t leaving_changed = PTHREAD_COND_INITIALIZER;
static bool is_leaving;                       /* lock */
static struct allocated_params *allocated[8]; /* lock */

/* What is given out and must come back before Exit. */
static atomic_int connections, handles, infos, lists, texts, accesses;

void
fake_log(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (caller_log)
        caller_log(fmt, args);
    va_end(args);
}

void
fake_warn(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (caller_warn)
        caller_warn(fmt, args);
    va_end(args);
}

static void
check_call(const char *name)
{
    if (fake_is_in_callback)
        fake_die("%s is called from a callback", name);
    if (!atomic_load(&is_initialized))
        fake_die("%s is called before InitEx or after Exit", name);
}

/* Connect, Disconnect, Open and Close must not run beside each other. */
static void
begin_opening(const char *name)
{
    check_call(name);
    if (atomic_exchange(&is_opening, true))
        fake_die("%s runs beside another Connect, Disconnect, Open or Close", name);
}

static void
end_opening(void)
{
    atomic_store(&is_opening, false);
}

static void
enter(struct handle *handle, const char *name)
{
    check_call(name);
    if (!handle)
        fake_die("%s without a handle", name);
    if (atomic_exchange(&handle->is_busy, true))
        fake_die("%s on a handle that another thread uses", name);
}

static void
leave(struct handle *handle)
{
    atomic_store(&handle->is_busy, false);
}

/* ---- beginning and end ------------------------------------------------------------------------- */

static void
before_fork(void)
{
    if (atomic_load(&is_initialized))
        fake_die("the process forks after InitEx");
}

/* The real library has threads of its own from the start, and they log. */
static void *
background_main(void *unused)
{
    fake_warn("VDDK_PhoneHome: Get CEIP status failed");
    pthread_mutex_lock(&lock);
    while (!is_leaving)
        pthread_cond_wait(&leaving_changed, &lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

EXPORT uint64_t
FN(InitEx)(uint32_t major, uint32_t minor, log_fn *log, log_fn *warn, log_fn *panic,
           const char *libdir, const char *config)
{
    uint64_t error;

    if (atomic_exchange(&was_initialized, true))
        fake_die("InitEx is called twice in one process");
    if (!log || !warn || !panic)
        fake_die("InitEx without a log function");
    if (major < 5 || major > 8 || !libdir)
        return FAKE_E_INVALID_ARG;
    caller_log = log;
    caller_warn = warn;
    caller_panic = panic;
    if (fake_fault("fail-init", FAKE_E_FAIL, &error))
        return error;
    if (config && !fake_config_read(config))
        return FAKE_E_INVALID_ARG;
    fake_log("VixDiskLib: fake library, API %u.%u\n", major, minor);
    pthread_atfork(before_fork, NULL, NULL);
    if (pthread_create(&background, NULL, background_main, NULL) != 0)
        return FAKE_E_OUT_OF_MEMORY;
    atomic_store(&is_initialized, true);
    return FAKE_OK;
}

static void
check_balance(const char *what, int count)
{
    if (count != 0)
        fake_die("at Exit %d of %s are not given back", count, what);
}

EXPORT void
FN(Exit)(void)
{
    int params = 0;

    check_call("Exit");
    check_balance("the connections", atomic_load(&connections));
    check_balance("the handles", atomic_load(&handles));
    check_balance("the results of GetInfo", atomic_load(&infos));
    check_balance("the block lists", atomic_load(&lists));
    check_balance("the error texts", atomic_load(&texts));
    check_balance("the calls of PrepareForAccess", atomic_load(&accesses));
    for (size_t i = 0; i < sizeof(allocated) / sizeof(allocated[0]); i++)
        params += allocated[i] != NULL;
    check_balance("the ConnectParams", params);
    pthread_mutex_lock(&lock);
    is_leaving = true;
    pthread_cond_broadcast(&leaving_changed);
    pthread_mutex_unlock(&lock);
    pthread_join(background, NULL);
    atomic_store(&is_initialized, false);
}

EXPORT char *
FN(GetErrorText)(uint64_t error, const char *locale)
{
    static const struct {
        uint64_t error;
        const char *text;
    } known[] = {
        {FAKE_OK, "The operation was successful"},
        {FAKE_E_FAIL, "Unknown error"},
        {FAKE_E_OUT_OF_MEMORY, "Memory allocation failed"},
        {FAKE_E_INVALID_ARG, "One of the parameters was invalid"},
        {FAKE_E_NOT_SUPPORTED, "The operation is not supported"},
        {FAKE_E_FILE_ACCESS_ERROR, "You do not have access rights to this file"},
        {FAKE_E_HOST_USER_PERMISSIONS, "Insufficient permissions in the host operating system"},
        {FAKE_E_HOST_SERVER_NOT_FOUND, "The specified server could not be contacted"},
        {FAKE_E_HOST_NETWORK_CONN_REFUSED, "The server refused connection"},
        {FAKE_E_HOST_TCP_CONN_LOST, "The connection to the remote host was lost"},
        {FAKE_E_SUBSYSTEM_INIT_FAIL, "A subsystem failed to initialize"},
        {FAKE_E_CANNOT_CONNECT_TO_HOST, "Cannot connect to host"},
    };
    const char *text = "Error without a text";

    /* After an InitEx that failed it is the only call that makes sense. */
    if (fake_is_in_callback)
        fake_die("GetErrorText is called from a callback");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].error == (error & 0xffff))
            text = known[i].text;
    atomic_fetch_add(&texts, 1);
    return strdup(text);
}

EXPORT void
FN(FreeErrorText)(char *text)
{
    if (text)
        atomic_fetch_sub(&texts, 1);
    free(text);
}

/* ---- parameters -------------------------------------------------------------------------------- */

static bool
is_untouched(const struct allocated_params *p)
{
    for (size_t i = 0; i < 8; i++)
        if (p->before[i] != CANARY || p->after[i] != CANARY)
            return false;
    for (size_t i = 0; i < sizeof(p->more); i++)
        if (p->more[i])
            return false;
    return true;
}

static struct params *
allocate_params(void)
{
    struct allocated_params *p = calloc(1, sizeof(*p));

    check_call("AllocateConnectParams");
    if (!p)
        return NULL;
    for (size_t i = 0; i < 8; i++)
        p->before[i] = p->after[i] = CANARY;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sizeof(allocated) / sizeof(allocated[0]); i++)
        if (!allocated[i]) {
            allocated[i] = p;
            pthread_mutex_unlock(&lock);
            return &p->params;
        }
    fake_die("ConnectParams are allocated and never freed");
}

EXPORT void
FN(FreeConnectParams)(struct params *params)
{
    check_call("FreeConnectParams");
    if (!params)
        return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sizeof(allocated) / sizeof(allocated[0]); i++)
        if (allocated[i] && &allocated[i]->params == params) {
            if (!is_untouched(allocated[i]))
                fake_die("somebody wrote around the ConnectParams");
            memset(allocated[i], POISON, sizeof(*allocated[i]));
            free(allocated[i]);
            allocated[i] = NULL;
            pthread_mutex_unlock(&lock);
            return;
        }
    fake_die("FreeConnectParams with memory that is not the library's");
}

static void
check_params(const struct params *params)
{
    if (!params || !params->vmx_spec || !params->server || params->cred_type != CRED_UID ||
        !params->user || !params->password || params->spec_type != 0)
        fake_die("ConnectParams lack something that the real library crashes without");
    for (size_t i = 0; i < sizeof(allocated) / sizeof(allocated[0]); i++)
        if (allocated[i] && &allocated[i]->params == params && !is_untouched(allocated[i]))
            fake_die("somebody wrote around the ConnectParams");
}

EXPORT uint64_t
FN(PrepareForAccess)(const struct params *params, const char *identity)
{
    begin_opening("PrepareForAccess");
    check_params(params);
    atomic_fetch_add(&accesses, 1);
    end_opening();
    return identity ? FAKE_OK : FAKE_E_INVALID_ARG;
}

EXPORT uint64_t
FN(EndAccess)(const struct params *params, const char *identity)
{
    begin_opening("EndAccess");
    check_params(params);
    if (atomic_load(&connections))
        fake_die("EndAccess before Disconnect");
    atomic_fetch_sub(&accesses, 1);
    end_opening();
    return identity ? FAKE_OK : FAKE_E_INVALID_ARG;
}

EXPORT uint64_t
FN(Cleanup)(const struct params *params, uint32_t *cleaned, uint32_t *remaining)
{
    begin_opening("Cleanup");
    check_params(params);
    *cleaned = *remaining = 0;
    end_opening();
    return FAKE_OK;
}

EXPORT const char *
FN(ListTransportModes)(void)
{
    return "file:san:hotadd:nbdssl:nbd";
}

/* ---- connections ------------------------------------------------------------------------------- */

static const char *
after_moref(const char *text)
{
    return text && !strncmp(text, "moref=", 6) ? text + 6 : NULL;
}

/* Here is no storage network, and this is no VM of the lab's: the transports that read the disk by
 * themselves are passed over, as the real library does. */
static const char *
choose_mode(const char *transports)
{
    static const char *const modes[] = {"nbdssl", "nbd"};

    for (const char *word = transports; word && *word;) {
        size_t length = strcspn(word, ":");

        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
            if (length == strlen(modes[i]) && !strncmp(word, modes[i], length))
                return modes[i];
        fake_log("VixDiskLib: transport %.*s is not available here", (int)length, word);
        word += length + (word[length] == ':');
    }
    return NULL;
}

EXPORT uint64_t
FN(ConnectEx)(const struct params *params, char is_read_only, const char *snapshot,
              const char *transports, void **ret_connection)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    uint64_t error = FAKE_E_INVALID_ARG;

    begin_opening("ConnectEx");
    check_params(params);
    if (!connection)
        abort();
    connection->is_read_only = is_read_only;
    fake_record("connect transports=%s snapshot=%s", transports ? transports : "",
                snapshot ? snapshot : "");
    connection->mode = choose_mode(transports ? transports : "file:san:hotadd:nbdssl:nbd");
    if (after_moref(params->vmx_spec) && (!snapshot || after_moref(snapshot)))
        error = fake_dial(params->server, params->port ? params->port : 443, params->thumbprint,
                          params->user, params->password, after_moref(params->vmx_spec),
                          snapshot ? after_moref(snapshot) : "", &connection->ticket);
    if (error) {
        free(connection);
    } else {
        atomic_fetch_add(&connections, 1);
        *ret_connection = connection;
    }
    end_opening();
    return error;
}

EXPORT uint64_t
FN(Disconnect)(struct connection *connection)
{
    begin_opening("Disconnect");
    if (atomic_load(&handles))
        fake_die("Disconnect before Close");
    atomic_fetch_sub(&connections, 1);
    free(connection);
    end_opening();
    return FAKE_OK;
}

/* ---- handles ----------------------------------------------------------------------------------- */

/* The real library opens its transports by bare name, which works only if LD_LIBRARY_PATH was set
 * when the program started. */
static bool
load_plugin(void)
{
    void *plugin = dlopen("libdiskLibPlugin.so", RTLD_NOW);

    if (!plugin) {
        fake_warn("DISKLIB-PLUGIN: cannot load: %s", dlerror());
        return false;
    }
    dlclose(plugin);
    return true;
}

static uint64_t
open_disk(struct connection *connection, const char *path, uint32_t flags, struct handle **ret)
{
    uint32_t compression = flags & OPEN_COMPRESSED;
    struct handle *handle;
    uint64_t error;

    fake_record("open flags=%u path=%s", flags, path ? path : "");
    if (!connection || !path || !(flags & OPEN_READ_ONLY) || !connection->is_read_only ||
        (compression & (compression - 1)) ||
        (flags & ~(OPEN_UNBUFFERED | OPEN_READ_ONLY | OPEN_COMPRESSED)))
        return FAKE_E_INVALID_ARG;
    if (!load_plugin())
        return FAKE_E_SUBSYSTEM_INIT_FAIL;
    if (!connection->mode)
        return FAKE_E_FILE_ACCESS_ERROR;
    if (fake_control("refuse-flags", 0, &error) && (flags & error))
        return FAKE_E_NOT_SUPPORTED;
    if (fake_control("session-memory-kb", 0, &error) && fake_config_session_kb() > error) {
        fake_warn("NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate "
                  "the requested %llu bytes",
                  (unsigned long long)fake_config_session_kb() * 1024);
        return FAKE_E_FAIL;
    }
    if (fake_fault("hang-open", 0, &error))
        fake_hang();
    if (fake_fault("fail-open", FAKE_E_FAIL, &error))
        return error;
    if (connection->ticket.is_refused)
        return FAKE_E_FAIL;
    handle = calloc(1, sizeof(*handle));
    if (!handle)
        abort();
    error = fake_remote_open(&connection->ticket, path, &handle->remote, &handle->capacity);
    if (error) {
        free(handle);
        return error;
    }
    handle->connection = connection;
    handle->is_unbuffered = flags & OPEN_UNBUFFERED;
    pthread_mutex_init(&handle->lock, NULL);
    *ret = handle;
    return FAKE_OK;
}

EXPORT uint64_t
FN(Open)(struct connection *connection, const char *path, uint32_t flags, struct handle **ret)
{
    uint64_t error;

    begin_opening("Open");
    error = open_disk(connection, path, flags, ret);
    if (!error)
        atomic_fetch_add(&handles, 1);
    end_opening();
    return error;
}

EXPORT uint64_t
FN(Close)(struct handle *handle)
{
    uint64_t unused;

    begin_opening("Close");
    enter(handle, "Close");
    if (fake_fault("hang-close", 0, &unused))
        fake_hang();
    if (handle->pending)
        fake_die("Close while reads are in flight");
    fake_remote_close(handle->remote);
    pthread_mutex_destroy(&handle->lock);
    free(handle);
    atomic_fetch_sub(&handles, 1);
    end_opening();
    return FAKE_OK;
}

EXPORT const char *
FN(GetTransportMode)(struct handle *handle)
{
    enter(handle, "GetTransportMode");
    leave(handle);
    return handle->connection->mode;
}

static uint64_t
get_info(struct handle *handle, struct info **ret)
{
    struct info *info = calloc(1, sizeof(*info));

    enter(handle, "GetInfo");
    if (!info)
        abort();
    info->capacity = handle->capacity / FAKE_SECTOR;
    info->links = 1;
    info->logical = info->physical = FAKE_SECTOR;
    atomic_fetch_add(&infos, 1);
    *ret = info;
    leave(handle);
    return FAKE_OK;
}

EXPORT void
FN(FreeInfo)(struct info *info)
{
    check_call("FreeInfo");
    if (info)
        atomic_fetch_sub(&infos, 1);
    free(info);
}

/* ---- reads ------------------------------------------------------------------------------------- */

/* Lock held: no two reads in flight may share memory, which also finds a buffer that was given out
 * again before its read came back. */
static void
check_overlap(const struct handle *handle, const uint8_t *data, size_t length)
{
    for (const struct pending *p = handle->pending; p; p = p->next)
        if (data < p->data + p->length && p->data < data + length)
            fake_die("two reads in flight share a buffer");
}

static void
check_alignment(const struct handle *handle, uint64_t offset, uint64_t length, const uint8_t *data)
{
    if (handle->is_unbuffered &&
        (offset % ALIGNMENT || length % ALIGNMENT || (uintptr_t)data % ALIGNMENT))
        fake_die("a misaligned read on an unbuffered handle: offset %llu length %llu",
                 (unsigned long long)offset, (unsigned long long)length);
}

static void
die_at_read(uint64_t number)
{
    uint64_t at;

    if (fake_fault("hang-read", 1, &at) && at == number)
        fake_hang();
    if (fake_fault("kill-read", 1, &at) && at == number)
        (void)raise(SIGKILL);
    if (fake_fault("segv-read", 1, &at) && at == number) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would make it an exit */
        (void)raise(SIGSEGV);
    }
    if (fake_fault("abort-read", 1, &at) && at == number)
        abort();
}

static void
on_done(void *opaque, uint64_t error)
{
    struct pending *pending = opaque, **at;
    struct handle *handle = pending->handle;

    pthread_mutex_lock(&handle->lock);
    for (at = &handle->pending; *at != pending; at = &(*at)->next)
        ;
    *at = pending->next;
    pthread_mutex_unlock(&handle->lock);
    pending->done(pending->opaque, pending->error ? pending->error : error);
    free(pending);
}

/* Lock held, the read is among those pending. */
static void
refuse_for_memory(const struct handle *handle, struct pending *pending)
{
    uint64_t limit_kb, bytes = 0;

    if (!fake_control("read-memory-kb", 0, &limit_kb))
        return;
    for (const struct pending *p = handle->pending; p; p = p->next)
        bytes += p->error ? 0 : p->length;
    if (bytes <= limit_kb * 1024)
        return;
    fake_warn("NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the "
              "requested %u bytes",
              pending->length);
    pending->error = FAKE_E_OUT_OF_MEMORY;
}

static uint64_t
begin_read(struct handle *handle, uint64_t sector, uint64_t count, uint8_t *data,
           void (*done)(void *opaque, uint64_t error), void *opaque)
{
    uint64_t number = atomic_fetch_add(&reads, 1) + 1, at;
    struct pending *pending;

    if (count == 0 || sector > handle->capacity / FAKE_SECTOR ||
        count > handle->capacity / FAKE_SECTOR - sector)
        return FAKE_E_INVALID_ARG;
    if (count > MAX_READ / FAKE_SECTOR)
        fake_die("a read of %llu bytes: the host cannot allocate that",
                 (unsigned long long)count * FAKE_SECTOR);
    check_alignment(handle, sector * FAKE_SECTOR, count * FAKE_SECTOR, data);
    die_at_read(number);
    pending = calloc(1, sizeof(*pending));
    if (!pending)
        abort();
    *pending = (struct pending){.handle = handle,
                                .data = data,
                                .length = (uint32_t)(count * FAKE_SECTOR),
                                .done = done,
                                .opaque = opaque};
    pthread_mutex_lock(&handle->lock);
    check_overlap(handle, data, pending->length);
    pending->next = handle->pending;
    handle->pending = pending;
    refuse_for_memory(handle, pending);
    pthread_mutex_unlock(&handle->lock);
    /* Whoever looks into the buffer before the read is back sees that. */
    memset(data, POISON, pending->length);
    if (fake_fault("fail-read", 1, &at) && at == number) {
        fake_warn("NfcAio: the host's file system does not answer");
        pending->error = FAKE_E_FAIL;
    }
    fake_remote_read(handle->remote, data, sector * FAKE_SECTOR, pending->length, on_done, pending);
    return FAKE_ASYNC;
}

static uint64_t
read_async(struct handle *handle, uint64_t sector, uint64_t count, uint8_t *data,
           void (*done)(void *opaque, uint64_t error), void *opaque)
{
    uint64_t error;

    enter(handle, "ReadAsync");
    error = begin_read(handle, sector, count, data, done, opaque);
    leave(handle);
    return error;
}

static uint64_t
wait_for_reads(struct handle *handle)
{
    enter(handle, "Wait");
    fake_remote_wait(handle->remote);
    leave(handle);
    return FAKE_OK;
}

static void
remember_error(void *opaque, uint64_t error)
{
    *(uint64_t *)opaque = error;
}

EXPORT uint64_t
FN(Read)(struct handle *handle, uint64_t sector, uint64_t count, uint8_t *data)
{
    uint64_t error = FAKE_E_FAIL, begun;

    enter(handle, "Read");
    begun = begin_read(handle, sector, count, data, remember_error, &error);
    if (begun == FAKE_ASYNC)
        fake_remote_wait(handle->remote);
    else
        error = begun;
    leave(handle);
    return error;
}

/* ---- allocated blocks -------------------------------------------------------------------------- */

static struct block_list *
make_list(const struct fake_extent *extents, size_t count, uint64_t chunk, uint64_t end)
{
    struct block_list *list = calloc(1, sizeof(*list) + (count + 2) * sizeof(list->blocks[0]));
    uint64_t last = 0;

    if (!list)
        abort();
    for (size_t i = 0; i < count; i++) {
        uint64_t from = extents[i].offset / FAKE_SECTOR;
        uint64_t to = (extents[i].offset + extents[i].length + FAKE_SECTOR - 1) / FAKE_SECTOR;

        from -= from % chunk;
        to += (chunk - to % chunk) % chunk;
        from = from < last ? last : from;
        to = to > end ? end : to;
        if (from >= to)
            continue;
        if (list->count && from == last) {
            list->blocks[list->count - 1].length += to - from;
        } else {
            list->blocks[list->count].offset = from;
            list->blocks[list->count++].length = to - from;
        }
        last = to;
    }
    if (fake_has("lie-extents")) {
        list->blocks[list->count].offset = end;
        list->blocks[list->count++].length = chunk;
        list->blocks[list->count].offset = 0;
        list->blocks[list->count++].length = chunk;
    }
    return list;
}

static uint64_t
query_blocks(struct handle *handle, uint64_t sector, uint64_t count, uint64_t chunk,
             struct block_list **ret)
{
    uint64_t capacity = handle->capacity / FAKE_SECTOR, error;
    struct fake_extent *extents = NULL;
    size_t extent_count = 0;

    fake_record("query sector=%llu count=%llu chunk=%llu", (unsigned long long)sector,
                (unsigned long long)count, (unsigned long long)chunk);
    if (fake_fault("fail-extents", FAKE_E_NOT_SUPPORTED, &error)) {
        fake_warn("VixDiskLib: QueryAllocatedBlocks is not supported for this data store");
        return error;
    }
    if (chunk < MIN_CHUNK || chunk % MIN_CHUNK || sector % chunk || count % chunk || count == 0 ||
        count / chunk > MAX_CHUNKS || sector > capacity || count > capacity - sector)
        return FAKE_E_INVALID_ARG;
    error = fake_remote_extents(handle->remote, sector * FAKE_SECTOR, count * FAKE_SECTOR, &extents,
                                &extent_count);
    if (error)
        return error;
    *ret = make_list(extents, extent_count, chunk, sector + count);
    free(extents);
    atomic_fetch_add(&lists, 1);
    return FAKE_OK;
}

static uint64_t
query_allocated_blocks(struct handle *handle, uint64_t sector, uint64_t count, uint64_t chunk,
                       struct block_list **ret)
{
    uint64_t error;

    enter(handle, "QueryAllocatedBlocks");
    error = query_blocks(handle, sector, count, chunk, ret);
    leave(handle);
    return error;
}

static uint64_t
free_block_list(struct block_list *list)
{
    check_call("FreeBlockList");
    if (list)
        atomic_fetch_sub(&lists, 1);
    free(list);
    return FAKE_OK;
}

/* ---- functions that may not exist -------------------------------------------------------------- */

/* dlsym gives what the resolver of an indirect function answers, so NULL looks exactly like a library
 * that has no such function. */
typedef void function(void);

#define OPTIONAL(own, word, name)                                                                  \
    static function *resolve_##own(void)                                                           \
    {                                                                                              \
        return fake_has(word) ? NULL : (function *)own;                                            \
    }                                                                                              \
    EXPORT void FN(name)(void) __attribute__((ifunc("resolve_" #own)));

OPTIONAL(read_async, "no-async", ReadAsync)
OPTIONAL(wait_for_reads, "no-async", Wait)
OPTIONAL(query_allocated_blocks, "no-extents", QueryAllocatedBlocks)
OPTIONAL(free_block_list, "no-extents", FreeBlockList)
OPTIONAL(allocate_params, "no-allocate", AllocateConnectParams)
OPTIONAL(get_info, "no-info", GetInfo)
