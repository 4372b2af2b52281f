/* Breaks one rule of libvixDiskLib, named by its argument; test_fake.c looks at what becomes of it.
 * Exit status 0 when the library let it pass (or did what the rule says it must). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vddk/say.h"
#include "vddk/vix.h"
#include "vddk/wire.h"

#define MIB (1024U * 1024)

static struct vix_library library;
static struct vix_connect_params *params;
static void *connection, *handle;
static uint8_t *buffer; /* 32 MiB, aligned */

static void
must(int is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "break_rule: %s\n", what);
    exit(9);
}

static void
init(void)
{
    struct vddk_wire_result result = {0};

    say_init();
    must(vix_load(getenv("TEST_FAKEVDDK"), &library, &result), result.text);
    must(library.InitEx(6, 5, say_vix_log, say_vix_warn, say_vix_panic, getenv("TEST_FAKEVDDK"),
                        NULL) == VIX_OK,
         "InitEx");
}

static void
make_params(void)
{
    init();
    params = library.AllocateConnectParams();
    params->vmx_spec = getenv("TEST_VMX");
    params->server_name = getenv("TEST_SERVER");
    params->thumbprint = getenv("TEST_THUMBPRINT");
    params->cred_type = VIX_CRED_UID;
    params->creds.uid.user = getenv("TEST_USER");
    params->creds.uid.password = getenv("TEST_PASSWORD");
    params->port = (uint32_t)strtoul(getenv("TEST_PORT"), NULL, 10);
}

static void
connect_to(void)
{
    make_params();
    must(library.ConnectEx(params, 1, getenv("TEST_SNAPSHOT"), "nbdssl", &connection) == VIX_OK,
         "ConnectEx");
}

static void
open_disk(uint32_t flags)
{
    connect_to();
    must(library.Open(connection, getenv("TEST_PATH"), flags, &handle) == VIX_OK, "Open");
    must(posix_memalign((void **)&buffer, 4096, 32 * MIB) == 0, "memory");
}

static void
ignore(void *opaque, uint64_t error)
{
}

static void
begin_read(uint64_t sector, uint64_t count, uint8_t *data)
{
    must(library.ReadAsync(handle, sector, count, data, ignore, NULL) == VIX_ASYNC, "ReadAsync");
}

/* ---- the rules --------------------------------------------------------------------------------- */

static void
init_twice(void)
{
    init();
    (void)library.InitEx(6, 5, say_vix_log, say_vix_warn, say_vix_panic, "/", NULL);
}

static void
fork_after_init(void)
{
    init();
    if (fork() == 0)
        _exit(0);
}

static void
no_log_function(void)
{
    struct vddk_wire_result result = {0};

    must(vix_load(getenv("TEST_FAKEVDDK"), &library, &result), result.text);
    (void)library.InitEx(6, 5, NULL, say_vix_warn, say_vix_panic, "/", NULL);
}

static void
no_password(void)
{
    make_params();
    params->creds.uid.password = NULL;
    (void)library.ConnectEx(params, 1, NULL, "nbdssl", &connection);
}

static void
free_foreign_params(void)
{
    init();
    library.FreeConnectParams(calloc(1, sizeof(*params)));
}

static void
write_beyond_params(void)
{
    make_params();
    ((volatile uint8_t *)params)[sizeof(*params)] = 1;
    library.FreeConnectParams(params);
}

static void
call_in_callback(void *opaque, uint64_t error)
{
    (void)library.GetTransportMode(handle);
}

static void
call_from_callback(void)
{
    open_disk(VIX_OPEN_READ_ONLY);
    (void)library.ReadAsync(handle, 0, 8, buffer, call_in_callback, NULL);
    (void)library.Wait(handle);
}

static void *
wait_in_thread(void *unused)
{
    (void)library.Wait(handle);
    return NULL;
}

static void
two_threads_in_a_handle(void)
{
    pthread_t thread;

    open_disk(VIX_OPEN_READ_ONLY);
    begin_read(0, 8, buffer); /* with a latency of a minute */
    must(pthread_create(&thread, NULL, wait_in_thread, NULL) == 0, "a thread");
    /* The other one gets into Wait sooner or later. */
    for (;;)
        (void)library.GetTransportMode(handle);
}

static void *
open_in_thread(void *unused)
{
    void *other;

    (void)library.Open(connection, getenv("TEST_PATH"), VIX_OPEN_READ_ONLY, &other);
    return NULL;
}

/* Open hangs, and so stays inside. */
static void
open_beside_open(void)
{
    pthread_t threads[2];

    connect_to();
    for (int i = 0; i < 2; i++)
        must(pthread_create(&threads[i], NULL, open_in_thread, NULL) == 0, "a thread");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void
misaligned_offset(void)
{
    open_disk(VIX_OPEN_READ_ONLY | VIX_OPEN_UNBUFFERED);
    begin_read(1, 8, buffer);
}

static void
misaligned_length(void)
{
    open_disk(VIX_OPEN_READ_ONLY | VIX_OPEN_UNBUFFERED);
    begin_read(0, 7, buffer);
}

static void
misaligned_memory(void)
{
    open_disk(VIX_OPEN_READ_ONLY | VIX_OPEN_UNBUFFERED);
    begin_read(0, 8, buffer + 512);
}

static void
one_buffer_for_two_reads(void)
{
    open_disk(VIX_OPEN_READ_ONLY);
    begin_read(0, 16, buffer);
    begin_read(16, 16, buffer + 4096);
}

static void
a_read_of_24_mib(void)
{
    open_disk(VIX_OPEN_READ_ONLY);
    begin_read(0, 24 * MIB / VIX_SECTOR, buffer);
}

static void
close_with_a_read_in_flight(void)
{
    open_disk(VIX_OPEN_READ_ONLY);
    begin_read(0, 8, buffer);
    (void)library.Close(handle);
}

static void
disconnect_before_close(void)
{
    open_disk(VIX_OPEN_READ_ONLY);
    (void)library.Disconnect(connection);
}

static void
exit_with_a_connection(void)
{
    connect_to();
    library.Exit();
}

static void
exit_with_params(void)
{
    make_params();
    library.Exit();
}

static void
exit_without_end_access(void)
{
    make_params();
    must(library.PrepareForAccess(params, "test") == VIX_OK, "PrepareForAccess");
    library.FreeConnectParams(params);
    library.Exit();
}

static void
end_access_before_disconnect(void)
{
    connect_to();
    (void)library.EndAccess(params, "test");
}

/* No rule is broken here: the library must do what it is known for. */
static void
limits_of_allocated_blocks(void)
{
    static const struct {
        uint64_t sector, count, chunk, error;
    } cases[] = {
        {0, 2048, 128, VIX_OK},
        {0, 2048, 64, VIX_E_INVALID_ARG},           /* chunk too small */
        {64, 2048, 128, VIX_E_INVALID_ARG},         /* not aligned */
        {0, 2000, 128, VIX_E_INVALID_ARG},          /* not whole chunks */
        {0, 100ULL * 2048, 128, VIX_E_INVALID_ARG}, /* beyond the end */
        {0, 600000ULL * 128, 128, VIX_E_INVALID_ARG},
    };

    open_disk(VIX_OPEN_READ_ONLY);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vix_block_list *list = NULL;
        uint64_t error = library.QueryAllocatedBlocks(handle, cases[i].sector, cases[i].count,
                                                      cases[i].chunk, &list);

        must(error == cases[i].error, "another error than the real library's");
        if (list)
            library.FreeBlockList(list);
    }
    (void)library.Close(handle);
    (void)library.Disconnect(connection);
    library.FreeConnectParams(params);
    library.Exit();
    _exit(0);
}

static void
poison_before_completion(void)
{
    open_disk(VIX_OPEN_READ_ONLY);
    memset(buffer, 0, MIB);
    begin_read(0, 2048, buffer); /* with a latency of a minute */
    must(buffer[0] == 0xa5, "the buffer shows its old content");
    _exit(0);
}

int
main(int argc, char **argv)
{
#define RULE(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct {
        const char *name;
        void (*break_it)(void);
    } rules[] = {
        RULE(init_twice),
        RULE(fork_after_init),
        RULE(no_log_function),
        RULE(no_password),
        RULE(free_foreign_params),
        RULE(write_beyond_params),
        RULE(call_from_callback),
        RULE(two_threads_in_a_handle),
        RULE(open_beside_open),
        RULE(misaligned_offset),
        RULE(misaligned_length),
        RULE(misaligned_memory),
        RULE(one_buffer_for_two_reads),
        RULE(a_read_of_24_mib),
        RULE(close_with_a_read_in_flight),
        RULE(disconnect_before_close),
        RULE(exit_with_a_connection),
        RULE(exit_with_params),
        RULE(exit_without_end_access),
        RULE(end_access_before_disconnect),
        RULE(limits_of_allocated_blocks),
        RULE(poison_before_completion),
    };

    for (size_t i = 0; argc == 2 && i < sizeof(rules) / sizeof(rules[0]); i++)
        if (!strcmp(rules[i].name, argv[1])) {
            rules[i].break_it();
            return 0;
        }
    fprintf(stderr, "break_rule: no such rule\n");
    return 8;
}
