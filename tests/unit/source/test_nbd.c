/* source/nbd.c with servers written by others: nbdkit and qemu-nbd. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "source/source.h"

#define DEPTH 8

struct fixture {
    char dir[32];
    char *socket, *uri, *raw;
    struct child server;
    struct disk_pool *pool;
    struct disk_source *source;
    struct err *err;
    unsigned good, bad, in_flight;
    struct err *read_error; /* the first */
};

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    /* Absolute for qemu-nbd, and short: a socket has room for 107 characters. */
    snprintf(f->dir, sizeof(f->dir), "/tmp/v2c-nbd.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->socket = xasprintf("%s/s", f->dir);
    f->raw = xasprintf("%s/raw", f->dir);
    f->uri = xasprintf("nbd+unix:///?socket=%s", f->socket);
    f->server = CHILD_NONE;
    f->pool = disk_pool_new(DEPTH, NULL);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    disk_source_closep(&f->source);
    child_stop(&f->server, 2000);
    unlink(f->socket);
    unlink(f->raw);
    rmdir(f->dir);
    disk_pool_free(f->pool);
    err_free(f->err);
    err_free(f->read_error);
    free(f->socket);
    free(f->uri);
    free(f->raw);
    free(f);
    return 0;
}

/* Until somebody answers at the socket. */
static void
wait_for_server(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t deadline_ms = clock_monotonic_ms() + 20000;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->socket);
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0), n;

        n = connect(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (n == 0)
            return;
        assert_true(clock_monotonic_ms() < deadline_ms);
        clock_sleep_ms(20);
    }
}

static bool
is_installed(const char *program)
{
    CLEANUP(free_charp) char *output = NULL;
    int status;

    return child_run(
               &(struct child_spec){.argv = (const char *const[]){program, "--version", NULL}},
               20000, 4096, &output, &status, NULL) == 0;
}

static void
start_server(struct fixture *f, const char *const *argv)
{
    assert_int_equal(
        child_start(&(struct child_spec){.argv = argv, .dies_with_parent = true}, &f->server, NULL),
        0);
    wait_for_server(f);
}

static void
start_nbdkit(struct fixture *f, const char *const *plugin)
{
    const char *argv[16] = {"nbdkit", "-f", "-U", f->socket};

    for (unsigned i = 0; plugin[i]; i++)
        argv[4 + i] = plugin[i];
    start_server(f, argv);
}

/* A raw file of 9 MiB and a sector with data in the MiBs 0, 4 and 8 and in the last sector, served by
 * qemu-nbd. */
static void
start_qemu_nbd(struct fixture *f)
{
    int fd = open(f->raw, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    static uint8_t block[MIB];

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 9 * MIB + 512), 0);
    memset(block, 0x5a, sizeof(block));
    for (unsigned mib = 0; mib <= 8; mib += 4)
        assert_int_equal(pwrite(fd, block, MIB, (off_t)(mib * MIB)), MIB);
    assert_int_equal(pwrite(fd, block, 512, 9 * MIB), 512);
    close(fd);
    start_server(f, (const char *const[]){"qemu-nbd", "-t", "-r", "-f", "raw", "-k", f->socket,
                                          f->raw, NULL});
}

static void
open_well(struct fixture *f)
{
    if (source_nbd_open(f->uri, DEPTH, &f->source, &f->err) < 0)
        fail_msg("%s", err_message(f->err));
}

static void
on_done(struct disk_request *request, struct err *error)
{
    struct fixture *f = request->opaque;

    f->in_flight--;
    f->good += !error;
    f->bad += error != NULL;
    if (!f->read_error)
        f->read_error = take(error);
    err_free(error);
}

static void
wait_once(struct fixture *f)
{
    struct pollfd p = {.fd = f->source->poll_fd, .events = POLLIN};
    unsigned count;

    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_int_equal(f->source->ops->reap(f->source, &count, NULL), 0);
}

/* @count reads of a MiB side by side; false when one was refused. */
static bool
begin_reads(struct fixture *f, struct disk_request *requests, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        requests[i] = (struct disk_request){
            .offset = MIN(i * MIB, f->source->size),
            .length = (uint32_t)MIN(MIB, f->source->size - i * MIB),
            .slot = &f->pool->slots[i],
            .done = on_done,
            .opaque = f,
        };
        if (f->source->ops->read(f->source, &requests[i], &f->err) < 0)
            return false;
        f->in_flight++;
    }
    assert_int_equal(f->source->ops->submit(f->source, NULL), 0);
    return true;
}

static void
need(const char *program)
{
    if (!is_installed(program)) {
        print_message("%s is not installed\n", program);
        skip();
    }
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void
several_reads_in_flight_bring_the_bytes_of_nbdkit(void **state)
{
    struct fixture *f = *state;
    struct disk_request requests[DEPTH];

    need("nbdkit");
    /* The pattern plugin: each 8 bytes are their own offset, big-endian. */
    start_nbdkit(f, (const char *const[]){"pattern", "8M", NULL});
    open_well(f);
    assert_int_equal(f->source->size, 8 * MIB);
    assert_true(begin_reads(f, requests, DEPTH));
    while (f->in_flight)
        wait_once(f);
    assert_int_equal(f->good, DEPTH);
    for (unsigned i = 0; i < DEPTH; i++)
        for (uint32_t at = 0; at < MIB; at += 8) {
            uint64_t word;

            memcpy(&word, f->pool->slots[i].data + at, 8);
            assert_int_equal(__builtin_bswap64(word), i * MIB + at);
        }
}

static void
extents_and_bytes_of_qemu_nbd_leave_holes_out_and_never_data(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};
    struct disk_request request = {.offset = 9 * MIB, .length = 512, .done = on_done, .opaque = f};

    need("qemu-nbd");
    start_qemu_nbd(f);
    open_well(f);
    assert_int_equal(f->source->size, 9 * MIB + 512);
    assert_int_equal(f->source->ops->extents(f->source, 0, 9 * MIB + 512, &extents, NULL), 0);
    assert_in_range(extents_total(&extents), 3 * MIB + 512, 4 * MIB);
    for (unsigned mib = 0; mib <= 8; mib += 4) {
        bool is_in = false;

        for (size_t i = 0; i < extents.count; i++)
            is_in |= extents.items[i].offset <= mib * MIB &&
                     extents.items[i].offset + extents.items[i].length >= (mib + 1) * MIB;
        assert_true(is_in);
    }
    extents.count = 0;
    assert_int_equal(f->source->ops->extents(f->source, 2 * MIB, MIB, &extents, NULL), 0);
    assert_int_equal(extents.count, 0);
    vec_done(&extents);
    request.slot = &f->pool->slots[0];
    f->in_flight = 1;
    assert_int_equal(f->source->ops->read(f->source, &request, NULL), 0);
    while (f->in_flight)
        wait_once(f);
    assert_int_equal(f->good, 1);
    assert_int_equal(f->pool->slots[0].data[511], 0x5a);
}

static void
reads_in_flight_survive_a_query_of_extents(void **state)
{
    struct fixture *f = *state;
    struct disk_request requests[DEPTH];
    struct extents extents = {0};

    need("qemu-nbd");
    start_qemu_nbd(f);
    open_well(f);
    assert_true(begin_reads(f, requests, DEPTH));
    assert_int_equal(f->source->ops->extents(f->source, 0, f->source->size, &extents, NULL), 0);
    vec_done(&extents);
    while (f->in_flight)
        wait_once(f);
    assert_int_equal(f->good, DEPTH);
}

static void
a_server_without_block_status_has_everything_allocated(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};

    need("nbdkit");
    start_nbdkit(f, (const char *const[]){"--no-sr", "memory", "4M", NULL});
    open_well(f);
    assert_int_equal(f->source->ops->extents(f->source, MIB, 2 * MIB, &extents, NULL), 0);
    assert_int_equal(extents.count, 1);
    assert_int_equal(extents.items[0].offset, MIB);
    assert_int_equal(extents.items[0].length, 2 * MIB);
    vec_done(&extents);
}

static void
a_sparse_memory_disk_has_no_extents(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};

    need("nbdkit");
    start_nbdkit(f, (const char *const[]){"memory", "5T", NULL});
    open_well(f);
    assert_int_equal(f->source->size, 5 * TIB);
    /* 5 TiB take many windows. */
    assert_int_equal(f->source->ops->extents(f->source, 0, 5 * TIB, &extents, NULL), 0);
    assert_int_equal(extents.count, 0);
    vec_done(&extents);
}

static void
a_read_error_of_the_server_fails_that_read_only(void **state)
{
    struct fixture *f = *state;
    struct disk_request requests[DEPTH];

    need("nbdkit");
    start_nbdkit(f, (const char *const[]){"--filter=error", "memory", "8M", "error-pread=EIO",
                                          "error-pread-rate=100%", NULL});
    open_well(f);
    assert_true(begin_reads(f, requests, DEPTH));
    while (f->in_flight)
        wait_once(f);
    assert_int_equal(f->bad, DEPTH);
    assert_int_equal(err_code(f->read_error), E_SOURCE_READ);
    assert_non_null(strstr(err_message(f->read_error), "Input/output error"));
    /* The connection is as good as before. */
    assert_true(begin_reads(f, requests, 1));
    while (f->in_flight)
        wait_once(f);
}

static void
a_server_killed_in_the_middle_fails_every_read_in_flight(void **state)
{
    struct fixture *f = *state;
    struct disk_request requests[DEPTH];

    need("nbdkit");
    start_nbdkit(f, (const char *const[]){"--filter=delay", "memory", "8M", "delay-read=30", NULL});
    open_well(f);
    assert_true(begin_reads(f, requests, DEPTH));
    assert_int_equal(kill(f->server.pid, SIGKILL), 0);
    while (f->in_flight)
        wait_once(f);
    assert_int_equal(f->bad, DEPTH);
    assert_int_equal(err_code(f->read_error), E_SOURCE_READ);
    assert_false(begin_reads(f, requests, 1));
    assert_int_equal(err_code(f->err), E_SOURCE_READ);
}

static void
extents_of_a_dead_server_are_an_error_not_a_guess(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};

    need("nbdkit");
    start_nbdkit(f, (const char *const[]){"memory", "8M", NULL});
    open_well(f);
    child_stop(&f->server, 0);
    assert_int_equal(f->source->ops->extents(f->source, 0, 8 * MIB, &extents, &f->err), -1);
    assert_int_equal(err_code(f->err), E_SOURCE_READ);
    vec_done(&extents);
}

static void
close_waits_for_reads_in_flight(void **state)
{
    struct fixture *f = *state;
    struct disk_request requests[DEPTH];

    need("nbdkit");
    start_nbdkit(f, (const char *const[]){"--filter=delay", "memory", "8M", "rdelay=100ms", NULL});
    open_well(f);
    assert_true(begin_reads(f, requests, DEPTH));
    disk_source_closep(&f->source);
    assert_int_equal(f->in_flight, 0);
    assert_int_equal(f->good, DEPTH);
}

/* Reads the disk over and over, DEPTH at a time, until @count connections are used or @most MiB are
 * through. */
static void
read_until(struct fixture *f, unsigned count, unsigned most)
{
    struct disk_request requests[DEPTH];

    for (unsigned mib = 0; mib < most && source_nbd_connections(f->source) != count; mib += DEPTH) {
        assert_true(begin_reads(f, requests, DEPTH));
        while (f->in_flight)
            wait_once(f);
    }
}

/* A server that gives each connection 25 MiB/s. */
static void
start_limited(struct fixture *f, const char *filter, const char *setting)
{
    start_nbdkit(f,
                 (const char *const[]){"-t", "4", "--filter=rate", filter, "memory", "8M",
                                       "connection-rate=200M", "burstiness=0.05", setting, NULL});
}

static void
a_limit_of_each_connection_makes_it_use_several(void **state)
{
    struct fixture *f = *state;

    need("nbdkit");
    start_limited(f, "--filter=noextents", NULL);
    open_well(f);
    assert_int_equal(source_nbd_connections(f->source), 1);
    read_until(f, 4, 400);
    assert_int_equal(source_nbd_connections(f->source), 4);
    assert_int_equal(f->bad, 0);
    /* All of them are lost together. */
    child_stop(&f->server, 0);
    (void)begin_reads(f, (struct disk_request[DEPTH]){0}, DEPTH);
    while (f->in_flight)
        wait_once(f);
    assert_true(f->bad > 0 || err_code(f->err) == E_SOURCE_READ);
}

static void
the_caller_bounds_the_connections(void **state)
{
    struct fixture *f = *state;
    struct source_nbd_options options = {.uri = f->uri, .queue_depth = DEPTH, .connections = 1};

    need("nbdkit");
    start_limited(f, "--filter=noextents", NULL);
    assert_int_equal(source_nbd_open_with(&options, &f->source, NULL), 0);
    read_until(f, 2, 24);
    assert_int_equal(source_nbd_connections(f->source), 1);
}

static void
a_server_that_takes_one_connection_gets_one(void **state)
{
    struct fixture *f = *state;

    need("nbdkit");
    start_limited(f, "--filter=multi-conn", "multi-conn-mode=disable");
    open_well(f);
    read_until(f, 2, 24);
    assert_int_equal(source_nbd_connections(f->source), 1);
    assert_int_equal(f->bad, 0);
}

/* It says that it takes several, and then does not: nothing of the copy is lost by trying. */
static void
a_second_connection_that_is_refused_does_no_harm(void **state)
{
    struct fixture *f = *state;

    need("nbdkit");
    start_limited(f, "--filter=limit", "limit=1");
    open_well(f);
    read_until(f, 3, 64);
    assert_int_equal(source_nbd_connections(f->source), 1);
    assert_int_equal(f->bad, 0);
}

static void
no_server_and_a_size_of_half_a_sector_are_refused(void **state)
{
    struct fixture *f = *state;

    need("nbdkit");
    assert_int_equal(source_nbd_open(f->uri, 0, &f->source, &f->err), -1);
    assert_int_equal(err_code(f->err), E_SOURCE_OPEN);
    assert_non_null(strstr(err_message(f->err), f->uri));
    assert_non_null(err_hint_text(f->err));
    err_freep(&f->err);
    f->err = NULL;
    start_nbdkit(f, (const char *const[]){"memory", "1000", NULL});
    assert_int_equal(source_nbd_open(f->uri, 0, &f->source, &f->err), -1);
    assert_int_equal(err_code(f->err), E_SOURCE_SIZE);
    assert_null(f->source);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(several_reads_in_flight_bring_the_bytes_of_nbdkit),
        TEST(extents_and_bytes_of_qemu_nbd_leave_holes_out_and_never_data),
        TEST(reads_in_flight_survive_a_query_of_extents),
        TEST(a_server_without_block_status_has_everything_allocated),
        TEST(a_sparse_memory_disk_has_no_extents),
        TEST(a_read_error_of_the_server_fails_that_read_only),
        TEST(a_server_killed_in_the_middle_fails_every_read_in_flight),
        TEST(extents_of_a_dead_server_are_an_error_not_a_guess),
        TEST(close_waits_for_reads_in_flight),
        TEST(a_limit_of_each_connection_makes_it_use_several),
        TEST(the_caller_bounds_the_connections),
        TEST(a_server_that_takes_one_connection_gets_one),
        TEST(a_second_connection_that_is_refused_does_no_harm),
        TEST(no_server_and_a_size_of_half_a_sector_are_refused),
    };

    if (!is_installed("nbdkit") && !is_installed("qemu-nbd")) {
        fprintf(stderr, "neither nbdkit nor qemu-nbd is installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
