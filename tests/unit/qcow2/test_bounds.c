/* What a thin disk of many TiB costs: in metadata written, and in memory. */
#include <endian.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/fault.h"
#include "qcow2/image.h"
#include "support.h"

#define PIECES 128U /* of 1 MiB, spread over the disk */

/* Memory that a larger disk may need more.  The address sanitizer keeps what was freed. */
#if defined(__SANITIZE_ADDRESS__)
#define SLACK (300 * MIB)
#else
#define SLACK (16 * MIB)
#endif

static void
must(int result, const struct err *err)
{
    if (result == 0)
        return;
    fprintf(stderr, "%s\n", err_message(err));
    abort();
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        struct err *error_ = NULL;                                                                 \
        struct err **err = &error_;                                                                \
        int result_ = (call);                                                                      \
        must(result_, error_);                                                                     \
    } while (0)

/* Bytes of all writes recorded since the last call. */
static uint64_t
take_written(struct io_fault *fault)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < fault->records.count; i++)
        if (!fault->records.items[i].is_end && fault->records.items[i].kind == IO_WRITE)
            bytes += fault->records.items[i].length;
    io_fault_clear_records(fault);
    return bytes;
}

/* Makes the file at @path; returns the bytes written when @fault records. */
static uint64_t
fill(const char *path, uint64_t size, struct io_fault *fault)
{
    struct disk_pool *pool = disk_pool_new(2, NULL);
    struct qcow2_options options = {.owner_id = TEST_OWNER, .pool = pool};
    uint8_t *bytes = xcalloc(1, MIB);
    struct qcow2_image *image;
    uint64_t written = 0;

    support_fill(bytes, MIB, 3);
    io_fault_attach(fault);
    MUST(qcow2_create(path, size, &options, &image, err));
    io_fault_attach(NULL);
    for (uint64_t i = 0; i < PIECES; i++) {
        MUST(support_write(qcow2_target(image), pool, bytes, size / PIECES * i, MIB, err));
        if (i % 16 == 15)
            MUST(support_checkpoint(qcow2_target(image), err));
        if (fault)
            written += take_written(fault);
    }
    MUST(qcow2_finish(&image, err));
    if (fault)
        written += take_written(fault);
    free(bytes);
    disk_pool_free(pool);
    return written;
}

static void
a_thin_disk_costs_little_metadata(void **state)
{
    static const struct {
        uint64_t size, limit;
    } cases[] = {{10 * GIB, MIB}, {2 * TIB, MIB}, {62 * TIB, 16 * MIB}};
    char *path = support_path("thin.qcow2");

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct io_fault fault = {.is_recording = true};
        uint64_t metadata = fill(path, cases[i].size, &fault) - PIECES * MIB;

        print_message("%llu GiB: %llu KiB of metadata\n", cases[i].size / GIB, metadata / KIB);
        assert_true(metadata < cases[i].limit);
        assert_int_equal(support_qemu_check(path), 0);
        unlink(path);
    }
    free(path);
}

/* The most that a process needed which makes such a file and resumes it; in bytes. */
static uint64_t
measure_memory(const char *path, uint64_t size)
{
    pid_t pid = fork();
    struct rusage usage;
    int status;

    if (pid == 0) {
        struct qcow2_options options = {.owner_id = TEST_OWNER};
        struct qcow2_image *image;

        (void)fill(path, size, NULL);
        MUST(qcow2_resume(path, size, &options, &image, err));
        MUST(qcow2_finish(&image, err));
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    assert_int_equal(status, 0);
    unlink(path);
    return (uint64_t)usage.ru_maxrss * KIB;
}

static void
a_large_disk_needs_no_more_memory_than_a_small_one(void **state)
{
    char *path = support_path("thin.qcow2");
    uint64_t small = measure_memory(path, 10 * GIB);
    static const uint64_t sizes[] = {2 * TIB, 62 * TIB};

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t large = measure_memory(path, sizes[i]);

        print_message("10 GiB: %llu KiB; %llu GiB: %llu KiB\n", small / KIB, sizes[i] / GIB,
                      large / KIB);
        assert_true(large <= small + SLACK);
    }
    free(path);
}

/* However many tables there are, and whatever of them is dirty. */
static void
no_more_tables_are_held_than_the_bound_says(void **state)
{
    char *path = support_path("tables.qcow2");
    const uint64_t size = 2 * GIB; /* 1024 tables of 4 KiB clusters */
    struct disk_pool *pool = disk_pool_new(2, NULL);
    struct qcow2_options options = {
        .owner_id = TEST_OWNER, .pool = pool, .cluster_bits = 12, .l2_cache_bytes = 64 * KIB};
    const size_t bound = 16;
    uint8_t bytes[4096], found[4096];
    struct qcow2_image *image;
    uint64_t random = 4;
    size_t most = 0;

    MUST(qcow2_create(path, size, &options, &image, err));
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t at = support_random(&random) % (size / 4096) * 4096;

        support_fill(bytes, sizeof(bytes), at + 1);
        MUST(support_write(qcow2_target(image), pool, bytes, at, sizeof(bytes), err));
        MUST(support_read(qcow2_target(image), pool, found, at, sizeof(found), err));
        assert_memory_equal(found, bytes, sizeof(bytes));
        if (i % 500 == 0)
            MUST(support_checkpoint(qcow2_target(image), err));
        most = MAX(most, image->table_count);
    }
    assert_int_equal(most, bound);
    random = 4;
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t at = support_random(&random) % (size / 4096) * 4096;

        support_fill(bytes, sizeof(bytes), at + 1);
        MUST(support_read(qcow2_target(image), pool, found, at, sizeof(found), err));
        assert_memory_equal(found, bytes, sizeof(bytes));
        assert_true(image->table_count <= bound);
    }
    MUST(qcow2_finish(&image, err));
    assert_int_equal(support_qemu_check(path), 0);
    unlink(path);
    free(path);
    disk_pool_free(pool);
}

/* Bytes of a table that are changed behind our back are not believed when it is read again. */
static void
a_table_damaged_meanwhile_is_not_believed(void **state)
{
    static const uint64_t lies[] = {
        0x8000000000000000 | 1ULL << 40, /* behind everything */
        0x8000000000000000 | 4096,       /* the refcount table */
        0x8000000000000200,              /* not aligned */
        0x0000000000020000,              /* without COPIED */
        0xc000000000020000,              /* compressed */
    };
    char *path = support_path("damaged.qcow2");
    struct disk_pool *pool = disk_pool_new(2, NULL);
    struct qcow2_options options = {
        .owner_id = TEST_OWNER, .pool = pool, .cluster_bits = 12, .l2_cache_bytes = 1};

    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        struct qcow2_table *table = NULL;
        struct qcow2_image *image;
        struct err *error = NULL;
        uint8_t bytes[4096];
        uint64_t lie = htobe64(lies[i]);

        support_fill(bytes, sizeof(bytes), 1);
        MUST(qcow2_create(path, 64 * MIB, &options, &image, err));
        MUST(support_write(qcow2_target(image), pool, bytes, 0, sizeof(bytes), err));
        MUST(support_checkpoint(qcow2_target(image), err));
        MUST(qcow2_map_table(image, 0, false, &table, err));
        assert_int_equal(pwrite(image->file.fd, &lie, 8, (off_t)table->host + 8), 8);
        for (uint64_t at = 2 * MIB; at < 20 * MIB; at += 2 * MIB)
            MUST(support_write(qcow2_target(image), pool, bytes, at, sizeof(bytes), err));
        assert_int_equal(
            support_write(qcow2_target(image), pool, bytes, 4096, sizeof(bytes), &error), -1);
        assert_int_equal(err_code(error), E_TARGET_DAMAGED);
        assert_non_null(strstr(err_message(error), "damaged"));
        err_freep(&error);
        qcow2_closep(&image);
        unlink(path);
    }
    free(path);
    disk_pool_free(pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thin_disk_costs_little_metadata),
        cmocka_unit_test(a_large_disk_needs_no_more_memory_than_a_small_one),
        cmocka_unit_test(no_more_tables_are_held_than_the_bound_says),
        cmocka_unit_test(a_table_damaged_meanwhile_is_not_believed),
    };
    int result;

    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    result = cmocka_run_group_tests(tests, NULL, NULL);
    support_cleanup();
    return result;
}
