/* v2c-vddk spoken to packet by packet: the conversation of vddk/wire.h, and everything that is none. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "centre.h"
#include "vddk/wire.h"

#define SLOTS       4U
#define CAPACITY    (6 * MIB + 4096)
#define PATIENCE_MS 20000

struct fixture {
    struct centre centre;
    struct disk_pool *pool;
    struct child child;
    int socket_fd;
};

static void
start_process(struct fixture *f, bool has_library_path)
{
    CLEANUP(free_charp) char *variable = xasprintf("LD_LIBRARY_PATH=%s/lib64", centre_libdir());
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(
        child_start(
            &(struct child_spec){
                .argv = (const char *const[]){centre_program(), NULL},
                .set_env = (const char *const[]){has_library_path ? variable : "NOTHING=1", NULL},
                .drop_env = (const char *const[]){"LD_LIBRARY_PATH", NULL},
                .pass_fds = (const struct child_fd[]){{ends[1], VDDK_WIRE_SOCKET_FD},
                                                      {f->pool->memfd, VDDK_WIRE_MEMORY_FD}},
                .pass_fd_count = 2,
                .dies_with_parent = true,
            },
            &f->child, NULL),
        0);
    close(ends[1]);
    f->socket_fd = ends[0];
}

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    unsetenv("V2C_FAKEVDDK");
    centre_start(&f->centre, CAPACITY);
    f->pool = disk_pool_new(SLOTS, NULL);
    f->child = CHILD_NONE;
    start_process(f, true);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    close_fdp(&f->socket_fd);
    child_stop(&f->child, 0);
    centre_stop(&f->centre);
    disk_pool_free(f->pool);
    free(f);
    return 0;
}

static void
send_bytes(struct fixture *f, const void *packet, size_t size)
{
    assert_int_equal(send(f->socket_fd, packet, size, MSG_NOSIGNAL), size);
}

static void
receive_bytes(struct fixture *f, void *packet, size_t size)
{
    struct pollfd p = {.fd = f->socket_fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(recv(f->socket_fd, packet, size, MSG_TRUNC), size);
}

static void
expect_exit(struct fixture *f, int wanted)
{
    int status;

    assert_int_equal(child_wait(&f->child, PATIENCE_MS, &status, NULL), 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted)
        fail_msg("%s", child_describe_status(status));
}

static struct vddk_wire_open
make_open(struct fixture *f)
{
    struct vddk_wire_open open = {
        .header = {VDDK_WIRE_VERSION, VDDK_WIRE_OPEN, 77},
        .server = "127.0.0.1",
        .user = CENTRE_USER,
        .password = CENTRE_PASSWORD,
        .vm_moref = CENTRE_VM,
        .snapshot_moref = CENTRE_SNAPSHOT,
        .disk_path = CENTRE_PATH,
        .transports = "nbdssl:nbd",
        .port = lab_https_port(f->centre.https),
        .slot_count = SLOTS,
        .nfc_buffer = 16,
        .nfc_buffer_count = 4,
    };

    snprintf(open.libdir, sizeof(open.libdir), "%s", centre_libdir());
    snprintf(open.thumbprint, sizeof(open.thumbprint), "%s", f->centre.lab.certificate.sha1);
    return open;
}

static struct vddk_wire_open_answer
open_disk(struct fixture *f)
{
    struct vddk_wire_open open = make_open(f);
    struct vddk_wire_open_answer answer;

    send_bytes(f, &open, sizeof(open));
    receive_bytes(f, &answer, sizeof(answer));
    assert_int_equal(answer.header.type, VDDK_WIRE_OPEN);
    assert_int_equal(answer.header.id, 77);
    return answer;
}

static struct vddk_wire_range
make_range(uint32_t type, uint64_t offset, uint64_t length, uint32_t slot)
{
    return (struct vddk_wire_range){.header = {VDDK_WIRE_VERSION, type, 1000 + slot},
                                    .offset = offset,
                                    .length = length,
                                    .slot = slot};
}

static void
send_range(struct fixture *f, uint32_t type, uint64_t offset, uint64_t length, uint32_t slot)
{
    struct vddk_wire_range range = make_range(type, offset, length, slot);

    send_bytes(f, &range, sizeof(range));
}

static void
send_close(struct fixture *f)
{
    struct vddk_wire_header header = {VDDK_WIRE_VERSION, VDDK_WIRE_CLOSE, 5};

    send_bytes(f, &header, sizeof(header));
}

/* ---- the conversation -------------------------------------------------------------------------- */

static void
a_conversation_ends_with_status_0_and_everything_given_back(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open_answer opened = open_disk(f);
    struct vddk_wire_extents_answer extents;
    struct vddk_wire_read_answer read;
    struct vddk_wire_header closed;

    assert_int_equal(opened.result.failure, VDDK_WIRE_OK);
    assert_int_equal(opened.capacity, CAPACITY);
    assert_int_equal(opened.is_async, 1);
    assert_int_equal(opened.has_extents, 1);
    assert_string_equal(opened.transport, "nbdssl");
    assert_non_null(strstr(opened.library, "libvixDiskLib.so.8"));
    send_range(f, VDDK_WIRE_EXTENTS, 0, CAPACITY, 0);
    receive_bytes(f, &extents, sizeof(extents));
    assert_int_equal(extents.result.failure, VDDK_WIRE_OK);
    assert_true(extents.covered > 0 && extents.count > 0);
    send_range(f, VDDK_WIRE_READ, 3 * MIB, MIB, 2);
    receive_bytes(f, &read, sizeof(read));
    assert_int_equal(read.header.id, 1002);
    assert_int_equal(read.result.failure, VDDK_WIRE_OK);
    centre_check(f->pool->slots[2].data, 3 * MIB, MIB);
    send_close(f);
    receive_bytes(f, &closed, sizeof(closed));
    assert_int_equal(closed.type, VDDK_WIRE_CLOSE);
    assert_int_equal(closed.id, 5);
    expect_exit(f, 0);
}

static void
a_read_goes_to_its_place_in_the_slot(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_range range = make_range(VDDK_WIRE_READ, 2 * MIB, 8192, 1);
    struct vddk_wire_read_answer read;

    assert_int_equal(open_disk(f).is_unbuffered, 1);
    memset(f->pool->slots[1].data, 0x5a, VDDK_WIRE_SLOT_BYTES);
    range.slot_offset = 4096;
    send_bytes(f, &range, sizeof(range));
    receive_bytes(f, &read, sizeof(read));
    assert_int_equal(read.result.failure, VDDK_WIRE_OK);
    centre_check(f->pool->slots[1].data + 4096, 2 * MIB, 8192);
    assert_int_equal(f->pool->slots[1].data[4095], 0x5a);
    assert_int_equal(f->pool->slots[1].data[4096 + 8192], 0x5a);
}

static void
close_is_answered_after_every_read(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_read_answer read;
    struct vddk_wire_header closed;

    setenv("V2C_FAKEVDDK", "latency-ms=30", 1);
    child_stop(&f->child, 0);
    close(f->socket_fd);
    start_process(f, true);
    (void)open_disk(f);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        send_range(f, VDDK_WIRE_READ, slot * MIB, MIB, slot);
    send_close(f);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        receive_bytes(f, &read, sizeof(read));
        assert_int_equal(read.header.type, VDDK_WIRE_READ);
        assert_int_equal(read.result.failure, VDDK_WIRE_OK);
    }
    receive_bytes(f, &closed, sizeof(closed));
    expect_exit(f, 0);
}

static void
an_engine_that_goes_away_ends_it_with_status_0(void **state)
{
    struct fixture *f = *state;

    (void)open_disk(f);
    close(f->socket_fd);
    f->socket_fd = -1;
    expect_exit(f, 0);
}

static void
an_engine_that_goes_away_with_reads_in_flight_ends_it_with_status_0(void **state)
{
    struct fixture *f = *state;

    (void)open_disk(f);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        send_range(f, VDDK_WIRE_READ, slot * MIB, MIB, slot);
    close(f->socket_fd);
    f->socket_fd = -1;
    expect_exit(f, 0);
}

static void
an_engine_that_goes_away_before_the_open_is_answered_ends_it_with_status_0(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    send_bytes(f, &open, sizeof(open));
    close(f->socket_fd);
    f->socket_fd = -1;
    expect_exit(f, 0);
}

static void
an_engine_that_says_nothing_and_goes_ends_it_with_status_0(void **state)
{
    struct fixture *f = *state;

    close(f->socket_fd);
    f->socket_fd = -1;
    expect_exit(f, 0);
}

static void
signals_of_the_terminal_and_of_the_service_do_not_end_it(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_read_answer read;

    (void)open_disk(f);
    assert_int_equal(kill(f->child.pid, SIGINT), 0);
    assert_int_equal(kill(f->child.pid, SIGTERM), 0);
    assert_int_equal(kill(f->child.pid, SIGHUP), 0);
    send_range(f, VDDK_WIRE_READ, 0, MIB, 0);
    receive_bytes(f, &read, sizeof(read));
    assert_int_equal(read.result.failure, VDDK_WIRE_OK);
}

static void
a_failed_open_leaves_only_close(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);
    struct vddk_wire_open_answer answer;
    struct vddk_wire_header closed;

    snprintf(open.disk_path, sizeof(open.disk_path), "[ds1] nothing.vmdk");
    send_bytes(f, &open, sizeof(open));
    receive_bytes(f, &answer, sizeof(answer));
    assert_int_equal(answer.result.failure, VDDK_WIRE_FAIL_OPEN);
    assert_int_equal(answer.result.vix_error, 1);
    assert_string_equal(answer.result.text, "Unknown error");
    send_close(f);
    receive_bytes(f, &closed, sizeof(closed));
    expect_exit(f, 0);
}

static void
without_LD_LIBRARY_PATH_the_plugins_are_not_found(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open_answer answer;

    child_stop(&f->child, 0);
    close(f->socket_fd);
    start_process(f, false);
    answer = open_disk(f);
    assert_int_equal(answer.result.failure, VDDK_WIRE_FAIL_OPEN);
    assert_int_equal(answer.result.vix_error, 16053);
    /* What the library logged just before says more than its error. */
    assert_non_null(strstr(answer.result.text, "libdiskLibPlugin.so"));
}

static void
started_by_hand_it_says_who_starts_it(void **state)
{
    CLEANUP(free_charp) char *output = NULL;
    int status;

    assert_int_equal(
        child_run(&(struct child_spec){.argv = (const char *const[]){centre_program(), NULL}},
                  PATIENCE_MS, 1000, &output, &status, NULL),
        0);
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_non_null(strstr(output, "v2c-engine"));
}

static void
its_last_lines_count_the_calls_and_show_that_an_idle_session_is_kept_alive(void **state)
{
    struct fixture *f = *state;
    int pipe_fds[2], saved = dup(STDERR_FILENO);
    struct vddk_wire_header closed;
    struct vddk_wire_read_answer read_answer;
    char text[65536];
    size_t length = 0;
    ssize_t n;

    child_stop(&f->child, 0);
    close(f->socket_fd);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
    setenv("V2C_LOG", "debug", 1);
    setenv("V2C_VDDK_IDLE_MS", "10", 1);
    start_process(f, true);
    unsetenv("V2C_LOG");
    unsetenv("V2C_VDDK_IDLE_MS");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(pipe_fds[1]);
    (void)open_disk(f);
    send_range(f, VDDK_WIRE_READ, 0, MIB, 0);
    receive_bytes(f, &read_answer, sizeof(read_answer));
    clock_sleep_ms(200); /* idle on purpose */
    send_close(f);
    receive_bytes(f, &closed, sizeof(closed));
    while (length < sizeof(text) - 1 &&
           (n = read(pipe_fds[0], text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
    close(pipe_fds[0]);
    expect_exit(f, 0);
    assert_non_null(strstr(text, "[vddk web01.vmdk] ReadAsync until done          1 calls"));
    assert_non_null(strstr(text, "1048576 bytes"));
    assert_non_null(strstr(text, "[vddk web01.vmdk] Read  ")); /* the session was kept alive */
    assert_non_null(strstr(text, "4 buffers of 16 x 64 KiB")); /* the library read our settings */
    assert_null(strstr(text, "warning"));                      /* PhoneHome is only noise */
}

/* ---- nonsense ---------------------------------------------------------------------------------- */

static void
a_packet_shorter_than_a_header(void **state)
{
    struct fixture *f = *state;

    send_bytes(f, "abc", 3);
    expect_exit(f, 3);
}

static void
an_empty_packet(void **state)
{
    struct fixture *f = *state;

    send_bytes(f, "", 0);
    expect_exit(f, 3);
}

static void
a_packet_larger_than_any(void **state)
{
    struct fixture *f = *state;
    static char packet[20000];
    struct vddk_wire_open open = make_open(f);

    memcpy(packet, &open, sizeof(open));
    send_bytes(f, packet, sizeof(packet));
    expect_exit(f, 3);
}

static void
another_version(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_header header = {VDDK_WIRE_VERSION + 1, VDDK_WIRE_CLOSE, 0};

    send_bytes(f, &header, sizeof(header));
    expect_exit(f, 3);
}

static void
an_unknown_type(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_header header = {VDDK_WIRE_VERSION, 99, 0};

    send_bytes(f, &header, sizeof(header));
    expect_exit(f, 3);
}

static void
a_read_before_the_open(void **state)
{
    struct fixture *f = *state;

    send_range(f, VDDK_WIRE_READ, 0, 512, 0);
    expect_exit(f, 3);
}

static void
a_read_after_a_failed_open(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);
    struct vddk_wire_open_answer answer;

    open.libdir[0] = '\0';
    send_bytes(f, &open, sizeof(open));
    receive_bytes(f, &answer, sizeof(answer));
    assert_int_equal(answer.result.failure, VDDK_WIRE_FAIL_MISSING);
    send_range(f, VDDK_WIRE_READ, 0, 512, 0);
    expect_exit(f, 3);
}

static void
a_second_open(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    (void)open_disk(f);
    send_bytes(f, &open, sizeof(open));
    expect_exit(f, 3);
}

static void
a_text_that_does_not_end(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    memset(open.user, 'x', sizeof(open.user));
    send_bytes(f, &open, sizeof(open));
    expect_exit(f, 3);
}

static void
more_slots_than_the_memory_has(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    open.slot_count = SLOTS + 1;
    send_bytes(f, &open, sizeof(open));
    expect_exit(f, 3);
}

static void
no_slots(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    open.slot_count = 0;
    send_bytes(f, &open, sizeof(open));
    expect_exit(f, 3);
}

static void
bad_tuning(void **state, uint32_t compression, uint32_t is_buffered, uint32_t buffer,
           uint32_t count, uint32_t log_level)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    open.compression = compression;
    open.is_buffered = is_buffered;
    open.nfc_buffer = buffer;
    open.nfc_buffer_count = count;
    open.log_level = log_level;
    send_bytes(f, &open, sizeof(open));
    expect_exit(f, 3);
}

static void
no_buffers_on_the_host(void **state)
{
    bad_tuning(state, 0, 0, 0, 4, 0);
}

static void
a_buffer_larger_than_any(void **state)
{
    bad_tuning(state, 0, 0, 33, 1, 0);
}

static void
more_buffers_than_a_session_may_have(void **state)
{
    bad_tuning(state, 0, 0, 16, 17, 0);
}

static void
a_number_of_buffers_that_overflows(void **state)
{
    bad_tuning(state, 0, 0, 16, UINT32_MAX / 16 + 2, 0);
}

static void
a_compression_that_there_is_not(void **state)
{
    bad_tuning(state, 4, 0, 16, 4, 0);
}

static void
neither_buffered_nor_not(void **state)
{
    bad_tuning(state, 0, 2, 16, 4, 0);
}

static void
a_level_of_the_log_that_there_is_not(void **state)
{
    bad_tuning(state, 0, 0, 16, 4, 8);
}

static void
a_folder_that_would_be_two_lines(void **state)
{
    struct fixture *f = *state;
    struct vddk_wire_open open = make_open(f);

    snprintf(open.tmp_dir, sizeof(open.tmp_dir), "/tmp\nvixDiskLib.nfc.LogLevel=6");
    send_bytes(f, &open, sizeof(open));
    expect_exit(f, 3);
}

static void
bad_place(void **state, uint64_t length, uint32_t slot_offset)
{
    struct fixture *f = *state;
    struct vddk_wire_range range = make_range(VDDK_WIRE_READ, 0, length, 0);

    (void)open_disk(f);
    range.slot_offset = slot_offset;
    send_bytes(f, &range, sizeof(range));
    expect_exit(f, 3);
}

static void
a_read_over_the_end_of_its_slot(void **state)
{
    bad_place(state, VDDK_WIRE_SLOT_BYTES - 4096, 8192);
}

static void
a_place_in_the_slot_that_overflows(void **state)
{
    bad_place(state, 4096, UINT32_MAX - 4095);
}

static void
a_place_in_the_slot_that_is_not_aligned(void **state)
{
    bad_place(state, 4096, 512);
}

static void
bad_range(void **state, uint32_t type, uint64_t offset, uint64_t length, uint32_t slot)
{
    struct fixture *f = *state;

    (void)open_disk(f);
    send_range(f, type, offset, length, slot);
    expect_exit(f, 3);
}

static void
a_slot_that_is_not_there(void **state)
{
    bad_range(state, VDDK_WIRE_READ, 0, 512, SLOTS);
}

static void
a_read_of_nothing(void **state)
{
    bad_range(state, VDDK_WIRE_READ, 0, 0, 0);
}

static void
a_read_larger_than_a_slot(void **state)
{
    bad_range(state, VDDK_WIRE_READ, 0, VDDK_WIRE_SLOT_BYTES + 512, 0);
}

static void
a_length_that_is_not_sectors(void **state)
{
    bad_range(state, VDDK_WIRE_READ, 0, 513, 0);
}

static void
an_offset_that_is_not_a_sector(void **state)
{
    bad_range(state, VDDK_WIRE_READ, 1, 512, 0);
}

static void
a_read_beyond_the_end(void **state)
{
    bad_range(state, VDDK_WIRE_READ, CAPACITY - 512, 1024, 0);
}

static void
an_end_that_overflows(void **state)
{
    bad_range(state, VDDK_WIRE_READ, UINT64_MAX - 511, 1024, 0);
}

static void
extents_beyond_the_end(void **state)
{
    bad_range(state, VDDK_WIRE_EXTENTS, 0, CAPACITY + 512, 0);
}

static void
a_slot_that_is_busy(void **state)
{
    struct fixture *f = *state;

    setenv("V2C_FAKEVDDK", "latency-ms=200", 1);
    child_stop(&f->child, 0);
    close(f->socket_fd);
    start_process(f, true);
    (void)open_disk(f);
    send_range(f, VDDK_WIRE_READ, 0, 512, 1);
    send_range(f, VDDK_WIRE_READ, 512, 512, 1);
    expect_exit(f, 3);
}

static void
a_read_after_close(void **state)
{
    struct fixture *f = *state;

    setenv("V2C_FAKEVDDK", "latency-ms=200", 1);
    child_stop(&f->child, 0);
    close(f->socket_fd);
    start_process(f, true);
    (void)open_disk(f);
    send_range(f, VDDK_WIRE_READ, 0, 512, 1);
    send_close(f);
    send_range(f, VDDK_WIRE_READ, 0, 512, 2);
    expect_exit(f, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest talk[] = {
        TEST(a_conversation_ends_with_status_0_and_everything_given_back),
        TEST(a_read_goes_to_its_place_in_the_slot),
        TEST(close_is_answered_after_every_read),
        TEST(an_engine_that_goes_away_ends_it_with_status_0),
        TEST(an_engine_that_goes_away_with_reads_in_flight_ends_it_with_status_0),
        TEST(an_engine_that_goes_away_before_the_open_is_answered_ends_it_with_status_0),
        TEST(an_engine_that_says_nothing_and_goes_ends_it_with_status_0),
        TEST(signals_of_the_terminal_and_of_the_service_do_not_end_it),
        TEST(a_failed_open_leaves_only_close),
        TEST(without_LD_LIBRARY_PATH_the_plugins_are_not_found),
        TEST(its_last_lines_count_the_calls_and_show_that_an_idle_session_is_kept_alive),
        cmocka_unit_test(started_by_hand_it_says_who_starts_it),
    };
    const struct CMUnitTest nonsense_ends_it_with_status_3[] = {
        TEST(a_packet_shorter_than_a_header),
        TEST(an_empty_packet),
        TEST(a_packet_larger_than_any),
        TEST(another_version),
        TEST(an_unknown_type),
        TEST(a_read_before_the_open),
        TEST(a_read_after_a_failed_open),
        TEST(a_second_open),
        TEST(a_text_that_does_not_end),
        TEST(more_slots_than_the_memory_has),
        TEST(no_slots),
        TEST(no_buffers_on_the_host),
        TEST(a_buffer_larger_than_any),
        TEST(more_buffers_than_a_session_may_have),
        TEST(a_number_of_buffers_that_overflows),
        TEST(a_compression_that_there_is_not),
        TEST(neither_buffered_nor_not),
        TEST(a_level_of_the_log_that_there_is_not),
        TEST(a_folder_that_would_be_two_lines),
        TEST(a_read_over_the_end_of_its_slot),
        TEST(a_place_in_the_slot_that_overflows),
        TEST(a_place_in_the_slot_that_is_not_aligned),
        TEST(a_slot_that_is_not_there),
        TEST(a_slot_that_is_busy),
        TEST(a_read_of_nothing),
        TEST(a_read_larger_than_a_slot),
        TEST(a_length_that_is_not_sectors),
        TEST(an_offset_that_is_not_a_sector),
        TEST(a_read_beyond_the_end),
        TEST(an_end_that_overflows),
        TEST(extents_beyond_the_end),
        TEST(a_read_after_close),
    };

    return cmocka_run_group_tests(talk, NULL, NULL) +
           cmocka_run_group_tests(nonsense_ends_it_with_status_3, NULL, NULL);
}
