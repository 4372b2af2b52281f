#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "disk/disk.h"
#include "io/fault.h"
#include "io/io.h"

static enum io_backend backend;
static const char *expected_name;

struct fixture {
    char path[64];
    struct io_file file;
    struct disk_pool *pool;
    struct io *io;
    struct io_fault fault;
};

static void
open_io(struct fixture *f, bool is_faulty)
{
    io_fault_attach(is_faulty ? &f->fault : NULL);
    assert_int_equal(
        io_new(backend, 8, f->pool->base, f->pool->slot_count * DISK_MAX_REQUEST, &f->io, NULL), 0);
    io_fault_attach(NULL);
}

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    int fd, errnum;

    snprintf(f->path, sizeof(f->path), "./test_io.XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(io_file_open(f->path, O_RDWR, 0, false, &f->file, &errnum), 0);
    f->pool = disk_pool_new(4, NULL);
    assert_non_null(f->pool);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    io_free(f->io);
    io_fault_clear_records(&f->fault);
    disk_pool_free(f->pool);
    io_file_close(&f->file);
    unlink(f->path);
    free(f);
    return 0;
}

static int
run_op(struct fixture *f, enum io_kind kind, void *data, uint32_t length, uint64_t offset,
       struct err **err)
{
    struct io_op op = {.kind = kind,
                       .fd = io_file_choose(&f->file, data, length, offset),
                       .data = data,
                       .length = length,
                       .offset = offset};

    return io_wait(f->io, &op, err);
}

static void
what_is_written_is_read_back(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = f->pool->slots[0].data, *b = f->pool->slots[1].data;

    open_io(f, false);
    assert_string_equal(io_backend_name(f->io), expected_name);
    for (unsigned i = 0; i < DISK_MAX_REQUEST; i++)
        a[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(run_op(f, IO_WRITE, a, DISK_MAX_REQUEST, 8192, NULL), 0);
    assert_int_equal(run_op(f, IO_DATASYNC, NULL, 0, 0, NULL), 0);
    assert_int_equal(run_op(f, IO_READ, b, DISK_MAX_REQUEST, 8192, NULL), 0);
    assert_memory_equal(a, b, DISK_MAX_REQUEST);
}

static void
memory_outside_the_registered_buffers_works_too(void **state)
{
    struct fixture *f = *state;
    uint8_t *own = aligned_alloc(4096, 8192);

    open_io(f, false);
    memset(own, 0x5a, 8192);
    assert_int_equal(run_op(f, IO_WRITE, own, 8192, 0, NULL), 0);
    memset(own, 0, 8192);
    assert_int_equal(run_op(f, IO_READ, own, 8192, 0, NULL), 0);
    assert_int_equal(own[8191], 0x5a);
    free(own);
}

static void
odd_pieces_go_through_the_buffered_fd(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = f->pool->slots[0].data;

    open_io(f, false);
    memset(data, 7, 4096);
    assert_int_equal(io_file_choose(&f->file, data + 3, 100, 1), f->file.fd);
    assert_int_equal(run_op(f, IO_WRITE, data + 3, 100, 1, NULL), 0);
    memset(data, 0, 4096);
    assert_int_equal(run_op(f, IO_READ, data, 4096, 0, NULL), 0);
    assert_int_equal(data[0], 0);
    assert_int_equal(data[1], 7);
    assert_int_equal(data[100], 7);
    assert_int_equal(data[101], 0);
}

static void
a_read_beyond_the_end_of_file_returns_zeroes(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = f->pool->slots[0].data;

    open_io(f, false);
    assert_int_equal(ftruncate(f->file.fd, 5000), 0);
    memset(data, 9, 5000);
    assert_int_equal(run_op(f, IO_WRITE, data, 5000, 0, NULL), 0);
    memset(data, 1, DISK_MAX_REQUEST);
    assert_int_equal(run_op(f, IO_READ, data, DISK_MAX_REQUEST, 0, NULL), 0);
    assert_int_equal(data[4999], 9);
    for (unsigned i = 5000; i < DISK_MAX_REQUEST; i++)
        assert_int_equal(data[i], 0);
    memset(data, 1, 4096);
    assert_int_equal(run_op(f, IO_READ, data, 4096, 1 << 20, NULL), 0);
    assert_int_equal(data[0], 0);
}

static void
truncate_sets_the_length(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    open_io(f, false);
    assert_int_equal(run_op(f, IO_TRUNCATE, NULL, 0, 12345678, NULL), 0);
    assert_int_equal(fstat(f->file.fd, &st), 0);
    assert_int_equal(st.st_size, 12345678);
}

struct counter {
    unsigned done, failed;
};

static void
count_done(struct io_op *op, struct err *error)
{
    struct counter *counter = op->opaque;

    counter->done++;
    if (error)
        counter->failed++;
    err_free(error);
}

static void
nothing_is_delivered_before_reap_and_the_fd_says_when(void **state)
{
    struct fixture *f = *state;
    struct counter counter = {0};
    struct io_op ops[4];
    unsigned total = 0;

    open_io(f, false);
    for (unsigned i = 0; i < 4; i++) {
        ops[i] = (struct io_op){.kind = IO_WRITE,
                                .fd = f->file.fd,
                                .data = f->pool->slots[i].data,
                                .length = DISK_MAX_REQUEST,
                                .offset = (uint64_t)i * DISK_MAX_REQUEST,
                                .done = count_done,
                                .opaque = &counter};
        assert_int_equal(io_queue(f->io, &ops[i], NULL), 0);
    }
    assert_int_equal(io_in_flight(f->io), 4);
    assert_int_equal(io_submit(f->io, NULL), 0);
    assert_int_equal(counter.done, 0);
    while (total < 4) {
        struct pollfd fd = {.fd = io_poll_fd(f->io), .events = POLLIN};
        unsigned count;

        assert_int_equal(poll(&fd, 1, 10000), 1);
        assert_int_equal(io_reap(f->io, &count, NULL), 0);
        total += count;
        assert_int_equal(counter.done, total);
    }
    assert_int_equal(io_in_flight(f->io), 0);
    struct pollfd fd = {.fd = io_poll_fd(f->io), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
}

static void
a_full_queue_refuses_more(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;
    struct counter counter = {0};
    struct io_op ops[9];

    open_io(f, false);
    for (unsigned i = 0; i < 9; i++)
        ops[i] = (struct io_op){.kind = IO_WRITE,
                                .fd = f->file.fd,
                                .data = f->pool->base,
                                .length = 4096,
                                .offset = i * 4096,
                                .done = count_done,
                                .opaque = &counter};
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(io_queue(f->io, &ops[i], NULL), 0);
    assert_int_equal(io_queue(f->io, &ops[8], &err), -1);
    assert_int_equal(err_code(err), E_LIMIT);
    assert_int_equal(io_drain(f->io, 0, NULL), 0);
    assert_int_equal(counter.done, 8);
    assert_int_equal(io_queue(f->io, &ops[8], NULL), 0);
    assert_int_equal(io_drain(f->io, 0, NULL), 0);
    assert_int_equal(counter.done, 9);
}

static void
freeing_delivers_what_is_in_flight(void **state)
{
    struct fixture *f = *state;
    struct counter counter = {0};
    struct io_op op = {.kind = IO_WRITE,
                       .fd = f->file.fd,
                       .data = f->pool->base,
                       .length = 4096,
                       .done = count_done,
                       .opaque = &counter};

    open_io(f, false);
    assert_int_equal(io_queue(f->io, &op, NULL), 0);
    io_freep(&f->io);
    assert_int_equal(counter.done, 1);
}

static void
a_failing_operation_names_itself(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;
    struct io_op op = {
        .kind = IO_READ, .fd = -1, .data = f->pool->base, .length = 512, .offset = 1024};

    open_io(f, false);
    assert_int_equal(io_wait(f->io, &op, &err), -1);
    assert_int_equal(err_code(err), E_IO);
    assert_string_equal(err_message(err), "read of 512 bytes at 1024: Bad file descriptor");
}

static void
short_operations_are_continued(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = f->pool->slots[0].data, *b = f->pool->slots[1].data;

    f->fault = (struct io_fault){.kind = IO_FAULT_SHORT, .is_lasting = true};
    open_io(f, true);
    for (unsigned i = 0; i < DISK_MAX_REQUEST; i++)
        a[i] = (uint8_t)(i * 11 + i / 512);
    assert_int_equal(run_op(f, IO_WRITE, a, DISK_MAX_REQUEST, 0, NULL), 0);
    assert_int_equal(run_op(f, IO_READ, b, DISK_MAX_REQUEST, 0, NULL), 0);
    assert_memory_equal(a, b, DISK_MAX_REQUEST);
    assert_true(f->fault.count > 6);
}

static void
a_write_that_moves_nothing_is_a_full_file_system(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;

    f->fault = (struct io_fault){.kind = IO_FAULT_EMPTY};
    open_io(f, true);
    assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 0, &err), -1);
    assert_int_equal(err_code(err), E_NO_SPACE);
}

static void
interrupted_operations_are_repeated(void **state)
{
    struct fixture *f = *state;
    static const int errnums[] = {EINTR, EAGAIN};

    for (unsigned i = 0; i < ARRAY_SIZE(errnums); i++) {
        f->fault = (struct io_fault){.kind = IO_FAULT_ERROR, .errnum = errnums[i]};
        open_io(f, true);
        assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 0, NULL), 0);
        assert_true(f->fault.has_fired);
        assert_int_equal(f->fault.count, 2);
        io_freep(&f->io);
    }
}

static void
an_endless_interruption_becomes_an_error(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;

    f->fault = (struct io_fault){.kind = IO_FAULT_ERROR, .errnum = EAGAIN, .is_lasting = true};
    open_io(f, true);
    assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 0, &err), -1);
    assert_int_equal(err_code(err), E_IO);
}

static void
a_failed_sync_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;

    f->fault = (struct io_fault){.kind = IO_FAULT_ERROR, .errnum = EIO};
    open_io(f, true);
    assert_int_equal(run_op(f, IO_DATASYNC, NULL, 0, 0, &err), -1);
    assert_int_equal(err_code(err), E_IO);
    assert_int_equal(f->fault.count, 1);
}

static void
only_the_chosen_kind_and_number_fails(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;

    f->fault = (struct io_fault){
        .kind = IO_FAULT_ERROR, .errnum = ENOSPC, .at = 1, .only_kinds = 1U << IO_WRITE};
    open_io(f, true);
    assert_int_equal(run_op(f, IO_DATASYNC, NULL, 0, 0, NULL), 0);
    assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 0, NULL), 0);
    assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 0, &err), -1);
    assert_int_equal(err_code(err), E_NO_SPACE);
    assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 0, NULL), 0);
}

static void
the_recorder_keeps_begin_and_end_with_data(void **state)
{
    struct fixture *f = *state;
    const struct io_records *records = &f->fault.records;

    f->fault = (struct io_fault){.is_recording = true};
    open_io(f, true);
    memset(f->pool->base, 0x77, 4096);
    assert_int_equal(run_op(f, IO_WRITE, f->pool->base, 4096, 8192, NULL), 0);
    memset(f->pool->base, 0, 4096);
    assert_int_equal(run_op(f, IO_DATASYNC, NULL, 0, 0, NULL), 0);
    assert_int_equal(records->count, 4);
    assert_false(records->items[0].is_end);
    assert_int_equal(records->items[0].offset, 8192);
    assert_int_equal(records->items[0].data[4095], 0x77);
    assert_true(records->items[1].is_end);
    assert_int_equal(records->items[1].id, records->items[0].id);
    assert_int_equal(records->items[1].result, 4096);
    assert_int_equal(records->items[2].kind, IO_DATASYNC);
}

static void
the_environment_chooses_the_backend(void **state)
{
    struct fixture *f = *state;

    setenv("V2C_IO", expected_name, 1);
    assert_int_equal(io_new(IO_BACKEND_AUTO, 4, NULL, 0, &f->io, NULL), 0);
    assert_string_equal(io_backend_name(f->io), expected_name);
    unsetenv("V2C_IO");
}

static void
memory_gets_backends_of_its_own(void **state)
{
    const struct io_file disk = {.fd = -1}, memory = {.fd = -1, .is_in_memory = true};

    assert_int_equal(io_file_backend(&disk, IO_READ), IO_BACKEND_AUTO);
    assert_int_equal(io_file_backend(&disk, IO_WRITE), IO_BACKEND_AUTO);
    assert_int_equal(io_file_backend(&memory, IO_READ), IO_BACKEND_INLINE);
    assert_int_equal(io_file_backend(&memory, IO_WRITE), IO_BACKEND_WORKER);
    assert_int_equal(io_file_depth(&disk, IO_WRITE, 16), 16);
    assert_int_equal(io_file_depth(&memory, IO_READ, 16), 1);
    assert_int_equal(io_file_depth(&memory, IO_WRITE, 16), 4);
    assert_int_equal(io_file_depth(&memory, IO_WRITE, 1), 1);
    setenv("V2C_IO", "threads", 1); /* what is asked for goes before */
    assert_int_equal(io_file_backend(&memory, IO_WRITE), IO_BACKEND_AUTO);
    assert_int_equal(io_file_depth(&memory, IO_WRITE, 16), 16);
    unsetenv("V2C_IO");
}

/* A memfd is a file of a tmpfs that every kernel has. */
static void
a_file_on_tmpfs_is_known_to_be_in_memory(void **state)
{
    struct io_file file;
    char path[64];
    int errnum, fd = memfd_create("test_io", MFD_CLOEXEC);

    assert_true(fd >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(io_file_open(path, O_RDWR, 0, false, &file, &errnum), 0);
    assert_true(file.is_in_memory);
    io_file_close(&file);
    close(fd);
}

static enum io_backend
find_backend(const char *name)
{
    if (!strcmp(name, "io_uring"))
        return IO_BACKEND_URING;
    if (!strcmp(name, "worker"))
        return IO_BACKEND_WORKER;
    return strcmp(name, "inline") ? IO_BACKEND_THREADS : IO_BACKEND_INLINE;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(what_is_written_is_read_back),
        T(memory_outside_the_registered_buffers_works_too),
        T(odd_pieces_go_through_the_buffered_fd),
        T(a_read_beyond_the_end_of_file_returns_zeroes),
        T(truncate_sets_the_length),
        T(nothing_is_delivered_before_reap_and_the_fd_says_when),
        T(a_full_queue_refuses_more),
        T(freeing_delivers_what_is_in_flight),
        T(a_failing_operation_names_itself),
        T(short_operations_are_continued),
        T(a_write_that_moves_nothing_is_a_full_file_system),
        T(interrupted_operations_are_repeated),
        T(an_endless_interruption_becomes_an_error),
        T(a_failed_sync_is_not_repeated),
        T(only_the_chosen_kind_and_number_fails),
        T(the_recorder_keeps_begin_and_end_with_data),
        T(the_environment_chooses_the_backend),
        T(memory_gets_backends_of_its_own),
        T(a_file_on_tmpfs_is_known_to_be_in_memory),
#undef T
    };
    CLEANUP(err_freep) struct err *err = NULL;

    expected_name = argc > 1 ? argv[1] : "threads";
    backend = find_backend(expected_name);
    if (backend == IO_BACKEND_URING && !io_uring_usable(&err)) {
        fprintf(stderr, "skipped: %s\n", err_message(err));
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
