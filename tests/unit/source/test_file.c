#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "source/source.h"

struct fixture {
    char path[64];
    int fd;
    struct disk_pool *pool;
    struct disk_source *source;
};

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    snprintf(f->path, sizeof(f->path), "./test_source.XXXXXX");
    f->fd = mkstemp(f->path);
    assert_true(f->fd >= 0);
    f->pool = disk_pool_new(4, NULL);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    disk_source_closep(&f->source);
    disk_pool_free(f->pool);
    close(f->fd);
    unlink(f->path);
    free(f);
    return 0;
}

static unsigned done_count;

static void
read_done(struct disk_request *request, struct err *error)
{
    done_count++;
    *(struct err **)request->opaque = error;
}

static void
wait_for(struct disk_source *source, unsigned wanted)
{
    while (done_count < wanted) {
        struct pollfd fd = {.fd = source->poll_fd, .events = POLLIN};
        unsigned count;

        assert_int_equal(poll(&fd, 1, 10000), 1);
        assert_int_equal(source->ops->reap(source, &count, NULL), 0);
    }
}

static void
reads_bytes_of_any_sector_of_an_odd_size(void **state)
{
    struct fixture *f = *state;
    const uint32_t size = 3 * DISK_MAX_REQUEST + 512;
    static const struct {
        uint64_t offset;
        uint32_t length;
    } cases[] = {{0, DISK_MAX_REQUEST}, {3 * DISK_MAX_REQUEST, 512}, {512, 1024}, {4096, 4608}};
    uint8_t *bytes = xcalloc(1, size);

    for (uint32_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 13 + i / 999);
    assert_int_equal(pwrite(f->fd, bytes, size, 0), size);
    assert_int_equal(source_file_open(f->path, f->pool, 0, &f->source, NULL), 0);
    assert_int_equal(f->source->size, size);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err *error = NULL;
        struct disk_request request = {.offset = cases[i].offset,
                                       .length = cases[i].length,
                                       .slot = disk_pool_get(f->pool),
                                       .done = read_done,
                                       .opaque = &error};

        done_count = 0;
        assert_int_equal(f->source->ops->read(f->source, &request, NULL), 0);
        assert_int_equal(f->source->ops->submit(f->source, NULL), 0);
        wait_for(f->source, 1);
        assert_null(error);
        assert_memory_equal(request.slot->data, bytes + cases[i].offset, cases[i].length);
        disk_pool_put(f->pool, request.slot);
    }
    free(bytes);
}

static void
a_read_beyond_the_end_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;
    struct disk_request request = {.offset = 4096, .length = 512, .slot = &f->pool->slots[0]};

    assert_int_equal(ftruncate(f->fd, 4096), 0);
    assert_int_equal(source_file_open(f->path, f->pool, 0, &f->source, NULL), 0);
    assert_int_equal(f->source->ops->read(f->source, &request, &err), -1);
    assert_int_equal(err_code(err), E_BUG);
}

static void
extents_never_leave_out_data(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};
    const uint64_t at[] = {0, 5 * MIB, 9 * MIB + 512};
    uint8_t byte = 1;

    assert_int_equal(ftruncate(f->fd, 16 * MIB), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
        assert_int_equal(pwrite(f->fd, &byte, 1, (off_t)at[i]), 1);
    assert_int_equal(source_file_open(f->path, f->pool, 0, &f->source, NULL), 0);
    assert_int_equal(f->source->ops->extents(f->source, 0, 16 * MIB, &extents, NULL), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        bool found = false;

        for (size_t j = 0; j < extents.count; j++)
            found |= extents.items[j].offset <= at[i] &&
                     at[i] < extents.items[j].offset + extents.items[j].length;
        assert_true(found);
    }
    assert_true(extents_total(&extents) < MIB);
    extents.count = 0;
    assert_int_equal(f->source->ops->extents(f->source, 10 * MIB, 6 * MIB, &extents, NULL), 0);
    assert_int_equal(extents.count, 0);
    vec_done(&extents);
}

static void
a_missing_file_and_odd_bytes_are_named(void **state)
{
    struct fixture *f = *state;
    struct err *err = NULL;

    assert_int_equal(source_file_open("/nonexistent/disk.raw", f->pool, 0, &f->source, &err), -1);
    assert_int_equal(err_code(err), E_SOURCE_OPEN);
    assert_non_null(strstr(err_message(err), "/nonexistent/disk.raw"));
    err_freep(&err);
    assert_int_equal(ftruncate(f->fd, 1000), 0);
    assert_int_equal(source_file_open(f->path, f->pool, 0, &f->source, &err), -1);
    assert_int_equal(err_code(err), E_SOURCE_SIZE);
    err_freep(&err);
    assert_int_equal(source_file_open("/dev/null", f->pool, 0, &f->source, &err), -1);
    assert_int_equal(err_code(err), E_SOURCE_OPEN);
    err_freep(&err);
}

static void
closing_delivers_reads_in_flight(void **state)
{
    struct fixture *f = *state;
    struct err *error = NULL;
    struct disk_request request = {
        .length = 4096, .slot = &f->pool->slots[0], .done = read_done, .opaque = &error};

    assert_int_equal(ftruncate(f->fd, 4096), 0);
    assert_int_equal(source_file_open(f->path, f->pool, 0, &f->source, NULL), 0);
    done_count = 0;
    assert_int_equal(f->source->ops->read(f->source, &request, NULL), 0);
    disk_source_closep(&f->source);
    assert_int_equal(done_count, 1);
    assert_null(error);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(reads_bytes_of_any_sector_of_an_odd_size),
        T(a_read_beyond_the_end_is_refused),
        T(extents_never_leave_out_data),
        T(a_missing_file_and_odd_bytes_are_named),
        T(closing_delivers_reads_in_flight),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
