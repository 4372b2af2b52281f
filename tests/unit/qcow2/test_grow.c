/* Disks that grow at the source while they are migrated. */
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

#include "fixture.h"

static void
patch(const struct fixture *f, const void *bytes, size_t length, uint64_t offset)
{
    int fd = open(f->path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, (off_t)offset), length);
    close(fd);
}

/* Before and after each growth data stands at both ends; every second time the image was finished. */
static void
a_disk_that_grew_is_followed(void **state)
{
    static const uint64_t sizes[] = {512,      4096 + 512, MIB + 512,    64 * MIB,
                                     64 * GIB, 2 * TIB,    5 * TIB + 512};
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, sizes[0]);

    fixture_size_raw(f, sizes[0]);
    fixture_write_both(f, image, 0, 512);
    for (unsigned i = 1; i < ARRAY_SIZE(sizes); i++) {
        uint32_t piece = (uint32_t)MIN(sizes[i] - sizes[i - 1], 128 * KIB);

        if (i % 2) {
            assert_int_equal(support_checkpoint(qcow2_target(image), NULL), 0);
            qcow2_closep(&image);
        } else {
            fixture_finish(&image);
        }
        image = fixture_resume(f, sizes[i]);
        assert_int_equal(qcow2_target(image)->size, sizes[i]);
        fixture_size_raw(f, sizes[i]);
        fixture_write_both(f, image, sizes[i] - piece, piece);
        fixture_write_both(f, image, sizes[i - 1] - 512, 1024);
    }
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_qemu_size_is(f->path, 5 * TIB + 512));
    assert_true(support_same(f->raw, f->path));
    assert_int_equal(qcow2_check_importable(f->path, 5 * TIB + 512, NULL, NULL), 0);
}

/* From the smallest to the largest in one step; nothing may have been moved. */
static void
the_smallest_disk_grows_to_the_largest(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image;
    struct stat st;

    image = fixture_create(f, 512);
    assert_int_equal(support_write(qcow2_target(image), f->pool, f->bytes, 0, 512, NULL), 0);
    fixture_finish(&image);
    image = fixture_resume(f, 62 * TIB);
    assert_int_equal(
        support_write(qcow2_target(image), f->pool, f->bytes, 62 * TIB - MIB, MIB, NULL), 0);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_qemu_size_is(f->path, 62 * TIB));
    image = fixture_resume(f, 62 * TIB);
    fixture_expect_read(f, image, 0, 512, f->bytes);
    fixture_expect_read(f, image, 62 * TIB - MIB, MIB, f->bytes);
    qcow2_closep(&image);
    assert_int_equal(stat(f->path, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 < 2 * MIB);
}

/* QEMU pads a first write to whole clusters, also behind the end of the disk. */
static void
what_stood_behind_the_old_end_reads_as_zeroes(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = MIB + 512;
    struct qcow2_image *image = fixture_create(f, size);
    CLEANUP(free_charp) char *expected = xcalloc(1, 65536);
    struct extents mapped = {0};
    uint64_t host = 0;
    struct stat st;

    memcpy(expected, f->bytes, 512);
    fixture_write_both(f, image, MIB, 512);
    fixture_finish(&image);
    assert_int_equal(stat(f->path, &st), 0);
    host = (uint64_t)st.st_size - 65536; /* the only data cluster is the last of the file */
    patch(f, f->bytes + 512, 65536 - 512, host + 512);
    image = fixture_resume(f, size);
    assert_int_equal(qcow2_mapped(image, &mapped, NULL), 0);
    assert_int_equal(mapped.count, 1);
    vec_done(&mapped);
    qcow2_closep(&image);
    image = fixture_resume(f, 2 * MIB);
    fixture_expect_read(f, image, MIB, 65536, (uint8_t *)expected);
    fixture_finish(&image);
    fixture_size_raw(f, 2 * MIB);
    assert_true(support_same(f->raw, f->path));
}

/* They declared as many L1 entries as the disk needed, in whole clusters that may hold more. */
static void
files_of_earlier_versions_grow_as_far_as_their_tables_go(void **state)
{
    static const uint8_t one[] = {0, 0, 0, 1};
    struct fixture *f = *state;
    struct qcow2_image *image = NULL;
    struct err *err = NULL;
    struct qcow2_info before, after;

    f->options.cluster_bits = 12; /* a table maps 2 MiB, and a cluster of L1 1 GiB */
    image = fixture_create(f, MIB);
    fixture_size_raw(f, MIB);
    fixture_write_both(f, image, 0, MIB);
    fixture_finish(&image);
    patch(f, one, sizeof(one), 36);
    patch(f, f->bytes, 8, 8192 + 8); /* nobody said that it was zero */
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_int_equal(qcow2_inspect(f->path, &before, NULL), 0);
    assert_int_equal(qcow2_resume(f->path, GIB + 512, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_SIZE);
    assert_non_null(strstr(err_message(err), "no room"));
    err_freep(&err);
    assert_int_equal(qcow2_inspect(f->path, &after, NULL), 0);
    assert_memory_equal(&before, &after, sizeof(after));
    image = fixture_resume(f, GIB);
    fixture_size_raw(f, GIB);
    fixture_write_both(f, image, GIB - MIB, MIB);
    fixture_write_both(f, image, 2 * MIB, 4096);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
}

static void
a_disk_that_shrank_is_refused(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB);
    struct err *err = NULL;
    struct qcow2_info info;

    fixture_finish(&image);
    assert_int_equal(qcow2_resume(f->path, MIB - 512, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_SIZE);
    assert_non_null(strstr(err_message(err), "only 1048064"));
    assert_non_null(err_hint_text(err));
    err_freep(&err);
    assert_int_equal(qcow2_resume(f->path, MIB + 100, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_SIZE);
    err_freep(&err);
    assert_null(image);
    assert_int_equal(qcow2_inspect(f->path, &info, NULL), 0);
    assert_int_equal(info.size, MIB);
    assert_true(info.is_finished);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        T(a_disk_that_grew_is_followed),
        T(the_smallest_disk_grows_to_the_largest),
        T(what_stood_behind_the_old_end_reads_as_zeroes),
        T(files_of_earlier_versions_grow_as_far_as_their_tables_go),
        T(a_disk_that_shrank_is_refused),
#undef T
    };

    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
