/* Every operation of a scenario fails in turn; and every byte of a file may be anything. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest.h"

#define SIZE       (12 * MIB + 512)
#define GROWN_SIZE (14 * MIB + 1024)

/* How many operations are stepped over: argv[1]; 1 tries every one. */
static uint64_t stride = 9;

static int
write_batches(struct guest *guest, struct err **err)
{
    for (unsigned i = 0; i < 8; i++) {
        if (guest_batch(guest, 700 * KIB, err) < 0)
            return -1;
        if (i % 4 == 3 && guest_checkpoint(guest, err) < 0)
            return -1;
    }
    return 0;
}

/* The preparation of a span that is not yet needed may fail, and an image that is closed then tells
 * nobody.  Whoever swallowed the error of a write would be found by what is missing in the end. */
static bool was_hit_by_close;

/* Writes over more than one span, with checkpoints, and a growth between, to the finish. */
static int
run_scenario(struct guest *guest, struct err **err)
{
    was_hit_by_close = false;
    if (guest_create(guest, err) < 0 || write_batches(guest, err) < 0)
        return -1;
    qcow2_closep(&guest->image);
    was_hit_by_close = guest->fault && guest->fault->has_fired;
    guest_grow(guest, GROWN_SIZE);
    if (guest_resume(guest, err) < 0 || write_batches(guest, err) < 0)
        return -1;
    return qcow2_finish(&guest->image, err);
}

static void
must(int result, struct err *err, uint64_t at, const char *what)
{
    if (result < 0)
        fail_msg("fault at %" PRIu64 ": %s: %s", at, what, err_message(err));
}

#define MUST(at, call)                                                                             \
    do {                                                                                           \
        struct err *error_ = NULL;                                                                 \
        struct err **err = &error_;                                                                \
        int result_ = (call);                                                                      \
        must(result_, error_, at, #call);                                                          \
    } while (0)

/* After the error: nothing a finished checkpoint covered is lost, and going on works. */
static void
go_on(struct guest *guest, uint64_t at)
{
    qcow2_closep(&guest->image);
    guest->fault = NULL;
    if (access(guest->path, F_OK) < 0) {
        assert_int_equal(guest->ops.count, 0);
        MUST(at, guest_create(guest, err));
    } else {
        if (!guest_holds(guest, guest->path, guest_covered(guest), SIZE_MAX))
            fail_msg("fault at %" PRIu64 ": a finished checkpoint is not there", at);
        MUST(at, guest_resume(guest, err));
        MUST(at, guest_replay(guest, guest_covered(guest), err));
    }
    MUST(at, qcow2_finish(&guest->image, err));
    assert_int_equal(support_qemu_check(guest->path), 0);
    assert_true(guest_holds(guest, guest->path, guest->ops.count, SIZE_MAX));
}

/* Runs with a fault at operation @at; false when the scenario has no such operation. */
static bool
run_with_fault(uint64_t at, enum io_fault_kind kind, int errnum, enum err_code expected)
{
    struct io_fault fault = {.kind = kind, .errnum = errnum, .at = at};
    struct err *err = NULL;
    struct guest guest;
    int result;
    bool is_named;

    guest_init(&guest, SIZE, 12, 5);
    guest.options.l2_cache_bytes = 1; /* four tables of seven: they come and go */
    guest.fault = &fault;
    result = run_scenario(&guest, &err);
    if (result == 0) {
        bool is_over = !fault.has_fired;

        assert_true(is_over || was_hit_by_close);
        assert_int_equal(support_qemu_check(guest.path), 0);
        assert_true(guest_holds(&guest, guest.path, guest.ops.count, SIZE_MAX));
        guest_done(&guest);
        return !is_over;
    }
    assert_true(fault.has_fired);
    is_named =
        err_code(err) == expected || (expected == E_TARGET_WRITE && err_code(err) == E_TARGET_READ);
    if (!is_named || !strstr(err_message(err), "guest.qcow2: "))
        fail_msg("fault at %" PRIu64 ": %s: %s", at, err_code_name(err_code(err)),
                 err_message(err));
    err_free(err);
    go_on(&guest, at);
    guest_done(&guest);
    return true;
}

static void
every_operation_may_fail_and_nothing_is_lost(void **state)
{
    uint64_t at = 0;

    /* Each step of the creation, then as the stride says. */
    while (run_with_fault(at, IO_FAULT_ERROR, EIO, E_TARGET_WRITE))
        at += at < 8 ? 1 : stride;
    assert_true(at > 60);
}

static void
a_full_file_system_is_named_and_nothing_is_lost(void **state)
{
    for (uint64_t at = 1; run_with_fault(at, IO_FAULT_ERROR, ENOSPC, E_NO_SPACE); at += stride * 6)
        ;
}

static void
short_and_interrupted_operations_change_nothing(void **state)
{
    static const struct io_fault faults[] = {
        {.kind = IO_FAULT_SHORT, .is_lasting = true},
        {.kind = IO_FAULT_ERROR, .errnum = EINTR, .at = 3},
        {.kind = IO_FAULT_ERROR, .errnum = EAGAIN, .at = 7},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        struct io_fault fault = faults[i];
        struct guest guest;

        guest_init(&guest, SIZE, 12, 6);
        guest.fault = &fault;
        MUST(i, run_scenario(&guest, err));
        assert_true(fault.has_fired);
        assert_int_equal(support_qemu_check(guest.path), 0);
        assert_true(guest_holds(&guest, guest.path, guest.ops.count, SIZE_MAX));
        guest_done(&guest);
    }
}

static void
after_an_error_nothing_goes_on(void **state)
{
    struct io_fault fault = {
        .kind = IO_FAULT_ERROR, .errnum = EIO, .only_kinds = 1U << IO_DATASYNC, .at = 2};
    uint8_t bytes[4096] = {1};
    struct err *error = NULL;
    struct guest guest;

    guest_init(&guest, SIZE, 16, 7);
    guest.fault = &fault;
    MUST(0, guest_create(&guest, err));
    MUST(0, support_write(qcow2_target(guest.image), guest.pool, bytes, 0, 4096, err));
    assert_int_equal(guest_checkpoint(&guest, &error), -1);
    assert_int_equal(err_code(error), E_TARGET_WRITE);
    err_freep(&error);
    /* The sync is not tried again, and nothing is believed that comes after it. */
    assert_int_equal(guest_checkpoint(&guest, &error), -1);
    err_freep(&error);
    assert_int_equal(support_write(qcow2_target(guest.image), guest.pool, bytes, 0, 4096, &error),
                     -1);
    err_freep(&error);
    assert_int_equal(support_zero(qcow2_target(guest.image), 0, 4096, &error), -1);
    err_freep(&error);
    assert_int_equal(qcow2_finish(&guest.image, &error), -1);
    assert_non_null(guest.image);
    err_freep(&error);
    guest_done(&guest);
}

/* ---- reads ------------------------------------------------------------------------------------ */

/* A disk with holes, zero clusters and data. */
static void
make_disk(struct guest *guest, struct io_fault *fault)
{
    guest_init(guest, SIZE, 12, 11);
    guest->fault = fault;
    MUST(0, guest_create(guest, err));
    for (unsigned i = 0; i < 12; i++)
        MUST(0, guest_batch(guest, 700 * KIB, err));
}

static void
a_read_that_fails_is_told_and_harms_nothing(void **state)
{
    struct io_fault fault = {
        .kind = IO_FAULT_ERROR, .errnum = EIO, .only_kinds = 1U << IO_READ, .at = 2};
    struct err *error = NULL;
    struct guest guest;
    bool is_equal = false;

    make_disk(&guest, &fault);
    while (guest_read(&guest, &is_equal, &error) == 0)
        assert_true(is_equal);
    assert_true(fault.has_fired);
    assert_int_equal(err_code(error), E_TARGET_READ);
    assert_non_null(strstr(err_message(error), "guest.qcow2: read of "));
    err_freep(&error);
    for (unsigned i = 0; i < 20; i++) {
        is_equal = false;
        MUST(i, guest_read(&guest, &is_equal, err));
        assert_true(is_equal);
        MUST(i, guest_batch(&guest, 64 * KIB, err));
    }
    MUST(0, qcow2_finish(&guest.image, err));
    assert_int_equal(support_qemu_check(guest.path), 0);
    assert_true(guest_holds(&guest, guest.path, guest.ops.count, SIZE_MAX));
    guest_done(&guest);
}

/* Of a table that has to be read first: refused at once, by the same name. */
static void
a_table_that_cannot_be_read_is_told(void **state)
{
    struct io_fault fault = {
        .kind = IO_FAULT_ERROR, .errnum = EIO, .only_kinds = 1U << IO_READ, .at = 0};
    struct err *error = NULL;
    struct guest guest;
    bool is_equal = false;

    make_disk(&guest, NULL);
    MUST(0, guest_checkpoint(&guest, err));
    qcow2_closep(&guest.image);
    guest.fault = &fault;
    MUST(0, guest_resume(&guest, err));
    assert_int_equal(guest_read(&guest, &is_equal, &error), -1);
    assert_int_equal(err_code(error), E_TARGET_READ);
    err_freep(&error);
    MUST(0, guest_read(&guest, &is_equal, err));
    assert_true(is_equal);
    guest_done(&guest);
}

static void
short_reads_are_continued(void **state)
{
    struct io_fault fault = {
        .kind = IO_FAULT_SHORT, .only_kinds = 1U << IO_READ, .is_lasting = true};
    struct guest guest;

    make_disk(&guest, NULL);
    MUST(0, guest_checkpoint(&guest, err));
    qcow2_closep(&guest.image);
    guest.fault = &fault;
    MUST(0, guest_resume(&guest, err));
    for (unsigned i = 0; i < 20; i++) {
        bool is_equal = false;

        MUST(i, guest_read(&guest, &is_equal, err));
        assert_true(is_equal);
    }
    assert_true(fault.has_fired);
    guest_done(&guest);
}

/* ---- hostile files ---------------------------------------------------------------------------- */

static void
copy_file(const char *from, const char *to)
{
    const char *argv[] = {"cp", "--sparse=always", from, to, NULL};

    assert_int_equal(support_run(argv), 0);
}

static uint64_t
file_size(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

/* Changes a few bytes of the header and the tables: what resume believes in. */
static void
damage(const char *path, uint64_t *random)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned count = 1 + (unsigned)(support_random(random) % 3);

    assert_true(fd >= 0);
    for (unsigned i = 0; i < count; i++) {
        uint64_t what = support_random(random) % 4, value = support_random(random);
        uint64_t at = what == 0   ? support_random(random) % 256
                      : what == 1 ? 4096 + support_random(random) % 64
                      : what == 2 ? 8192 + support_random(random) % 64
                                  : 8192 + support_random(random) % (2 * MIB);
        uint32_t length = support_random(random) % 2 ? 1 : 8;

        assert_int_equal(pwrite(fd, &value, length, (off_t)at), length);
    }
    if (support_random(random) % 8 == 0)
        assert_int_equal(ftruncate(fd, (off_t)(support_random(random) % file_size(path))), 0);
    close(fd);
}

static void
a_damaged_file_is_refused_or_harmless(void **state)
{
    char *damaged = support_path("damaged.qcow2");
    unsigned refused = 0, taken = 0;
    uint64_t random = 99;
    struct guest guest;

    guest_init(&guest, SIZE, 12, 8);
    MUST(0, run_scenario(&guest, err));
    for (unsigned i = 0; i < 150; i++) {
        struct qcow2_image *image = NULL;
        struct qcow2_info info;
        struct err *error = NULL;

        copy_file(guest.path, damaged);
        damage(damaged, &random);
        if (qcow2_inspect(damaged, &info, &error) < 0)
            assert_int_not_equal(err_code(error), E_BUG);
        err_freep(&error);
        if (qcow2_resume(damaged, GROWN_SIZE, &guest.options, &image, &error) < 0) {
            refused++;
            assert_null(image);
            assert_true(err_code(error) == E_TARGET_FORMAT || err_code(error) == E_TARGET_SIZE ||
                        err_code(error) == E_TARGET_DAMAGED);
            err_freep(&error);
            continue;
        }
        /* What is taken for good really is: it can be written and ends clean. */
        taken++;
        MUST(i, support_write(qcow2_target(image), guest.pool, guest.pool->base, 4096, 65536, err));
        MUST(i, qcow2_finish(&image, err));
        if (taken % 10 == 0)
            assert_int_equal(support_qemu_check(damaged), 0);
    }
    assert_true(refused > 20);
    assert_true(taken > 8);
    unlink(damaged);
    free(damaged);
    guest_done(&guest);
}

struct patch {
    const char *what;
    uint64_t offset;
    uint8_t bytes[8];
    unsigned length;
    bool is_in_tables; /* and not in the header */
};

/* Each one is a lie that a reader might fall for. */
static void
each_known_lie_is_refused(void **state)
{
    static const struct patch patches[] = {
        {"magic", 0, {'Q'}, 4},
        {"version 2", 4, {0, 0, 0, 2}, 4},
        {"backing file", 8, {0, 0, 0, 0, 0, 0, 1, 0}, 8},
        {"huge clusters", 20, {0, 0, 0, 63}, 4},
        {"odd size", 24, {0, 0, 0, 0, 0, 0, 0, 1}, 8},
        {"endless size", 24, {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0}, 8},
        {"encryption", 32, {0, 0, 0, 2}, 4},
        {"endless L1", 36, {0xff, 0xff, 0xff, 0xff}, 4},
        {"L1 in the header", 40, {0}, 8, true},
        {"L1 beyond the end", 40, {0, 0, 0x10}, 8, true},
        {"endless refcount table", 56, {0xff, 0xff, 0xff, 0xff}, 4},
        {"no refcount table", 56, {0}, 4},
        {"snapshots", 60, {0, 0, 0, 1}, 4},
        {"dirty", 72, {0, 0, 0, 0, 0, 0, 0, 1}, 8},
        {"unknown feature", 72, {0x80}, 8},
        {"bitmaps", 88, {0, 0, 0, 0, 0, 0, 0, 1}, 8},
        {"unknown autoclear feature", 88, {0x80}, 8},
        {"bitmap extension", 112, {0x23, 0x85, 0x28, 0x75}, 4},
        {"refcount order", 96, {0, 0, 0, 9}, 4},
        {"header length", 100, {0xff, 0xff, 0xff, 0xf8}, 4},
        {"extension length", 116, {0xff, 0xff, 0xff, 0xff}, 4},
        {"refcount block not aligned", 4096, {0, 0, 0, 0, 0, 0, 0x30, 1}, 8, true},
        {"refcount block is the header", 4096, {0}, 8, true},
        {"L2 table is the L1 table", 8192, {0x80, 0, 0, 0, 0, 0, 0x20, 0}, 8, true},
        {"L2 table beyond the end", 8192, {0x80, 0x7f, 0, 0, 0, 0, 0x20, 0}, 8, true},
        {"L2 table without COPIED", 8192, {0, 0, 0, 0, 0, 0, 0x40, 0}, 8, true},
    };
    char *damaged = support_path("damaged.qcow2");
    struct guest guest;

    guest_init(&guest, SIZE, 12, 9);
    MUST(0, run_scenario(&guest, err));
    for (unsigned i = 0; i < ARRAY_SIZE(patches); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        struct qcow2_image *image = NULL;
        int fd;

        copy_file(guest.path, damaged);
        fd = open(damaged, O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(fd, patches[i].bytes, patches[i].length, (off_t)patches[i].offset),
                         patches[i].length);
        close(fd);
        if (qcow2_resume(damaged, GROWN_SIZE, &guest.options, &image, &err) == 0)
            fail_msg("%s was believed", patches[i].what);
        assert_int_equal(err_code(err),
                         patches[i].is_in_tables ? E_TARGET_DAMAGED : E_TARGET_FORMAT);
    }
    unlink(damaged);
    free(damaged);
    guest_done(&guest);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_may_fail_and_nothing_is_lost),
        cmocka_unit_test(a_full_file_system_is_named_and_nothing_is_lost),
        cmocka_unit_test(short_and_interrupted_operations_change_nothing),
        cmocka_unit_test(after_an_error_nothing_goes_on),
        cmocka_unit_test(a_read_that_fails_is_told_and_harms_nothing),
        cmocka_unit_test(a_table_that_cannot_be_read_is_told),
        cmocka_unit_test(short_reads_are_continued),
        cmocka_unit_test(a_damaged_file_is_refused_or_harmless),
        cmocka_unit_test(each_known_lie_is_refused),
    };
    int result;

    if (argc > 1)
        stride = strtoull(argv[1], NULL, 10);
    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    result = cmocka_run_group_tests(tests, NULL, NULL);
    support_cleanup();
    return result;
}
