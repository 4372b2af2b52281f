#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
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
images_of_every_size_are_clean_and_equal(void **state)
{
    struct fixture *f = *state;
    static const uint64_t sizes[] = {512,
                                     4096,
                                     65024,
                                     65536,
                                     65536 + 512,
                                     MIB - 512,
                                     16 * MIB + 512,
                                     512 * MIB,
                                     512 * MIB + 4096,
                                     3 * GIB + 512};
    static const unsigned bits[] = {12, 16, 18};

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
        for (unsigned j = 0; j < ARRAY_SIZE(bits); j++) {
            uint64_t size = sizes[i], piece = MIN(size, 192 * KIB);
            struct qcow2_image *image;

            f->options.cluster_bits = bits[j];
            image = fixture_create(f, size);
            fixture_size_raw(f, size);
            fixture_write_both(f, image, 0, (uint32_t)piece);
            fixture_write_both(f, image, size - piece, (uint32_t)piece);
            fixture_write_both(f, image, round_down(size / 2, 512), 512);
            fixture_finish(&image);
            assert_int_equal(support_qemu_check(f->path), 0);
            assert_true(support_same(f->raw, f->path));
            assert_int_equal(qcow2_check_importable(f->path, size, NULL, NULL),
                             bits[j] < 16 ? -1 : 0);
            unlink(f->path);
            unlink(f->raw);
        }
}

static void
an_image_without_data_is_clean_and_small(void **state)
{
    struct fixture *f = *state;
    static const uint64_t sizes[] = {512, 8 * GIB, 10 * TIB, 62 * TIB};
    struct qcow2_info info;
    struct stat st;

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct qcow2_image *image = fixture_create(f, sizes[i]);

        assert_int_equal(qcow2_inspect(f->path, &info, NULL), 0);
        assert_true(info.is_in_progress && info.is_in_use && !info.is_finished);
        fixture_finish(&image);
        assert_int_equal(support_qemu_check(f->path), 0);
        assert_int_equal(qcow2_inspect(f->path, &info, NULL), 0);
        assert_false(info.is_in_progress || info.is_in_use);
        assert_int_equal(info.size, sizes[i]);
        assert_int_equal(info.cluster_bits, sizes[i] > 16 * TIB ? 18 : 16);
        assert_int_equal(info.allocated_clusters, 0);
        assert_true(info.is_ours);
        assert_true(info.is_finished);
        assert_string_equal(info.owner_id, TEST_OWNER);
        assert_int_equal(stat(f->path, &st), 0);
        assert_true(st.st_blocks * 512 < 4 * 1024 * 1024);
        unlink(f->path);
    }
}

static void
a_sparse_disk_of_many_tebibytes_stays_small(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 10 * TIB;
    struct qcow2_image *image = fixture_create(f, size);
    struct qcow2_info info;
    struct stat st;

    fixture_size_raw(f, size);
    for (uint64_t at = 0; at < size; at += 700 * GIB)
        fixture_write_both(f, image, at, 128 * KIB);
    fixture_write_both(f, image, size - 64 * KIB, 64 * KIB);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
    assert_int_equal(qcow2_inspect(f->path, &info, NULL), 0);
    assert_int_equal(info.allocated_clusters, 15 * 2 + 1);
    assert_int_equal(stat(f->path, &st), 0);
    assert_true((uint64_t)st.st_size < 16 * MIB);
}

/* Small clusters make spans of 8 MiB, so that a test crosses many. */
static void
an_image_of_many_spans_is_clean_and_equal(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 48 * MIB;
    struct qcow2_image *image;

    f->options.cluster_bits = 12;
    image = fixture_create(f, size);
    fixture_size_raw(f, size);
    for (uint64_t at = size; at; at -= MIB)
        fixture_write_both(f, image, at - MIB, MIB);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
}

struct burst {
    unsigned left;
    unsigned failed;
};

static void
burst_done(struct disk_request *request, struct err *error)
{
    struct burst *burst = request->opaque;

    burst->left--;
    burst->failed += error != NULL;
    err_free(error);
}

static void
many_writes_and_a_checkpoint_go_on_together(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 256 * MIB;
    struct qcow2_image *image = fixture_create(f, size);
    struct disk_target *target = qcow2_target(image);
    struct burst burst = {0};
    struct disk_request requests[8], checkpoint = {.done = burst_done, .opaque = &burst};
    int fd = open(f->raw, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_true(target->is_new);
    for (unsigned round = 0; round < 16; round++) {
        for (unsigned i = 0; i < 8; i++) {
            uint64_t at = ((uint64_t)round * 8 + i) * 2 * MIB;

            requests[i] = (struct disk_request){.offset = at,
                                                .length = DISK_MAX_REQUEST,
                                                .slot = &f->pool->slots[i],
                                                .done = burst_done,
                                                .opaque = &burst};
            support_fill(requests[i].slot->data, DISK_MAX_REQUEST, at + 1);
            assert_int_equal(pwrite(fd, requests[i].slot->data, DISK_MAX_REQUEST, (off_t)at),
                             DISK_MAX_REQUEST);
            assert_int_equal(target->ops->write(target, &requests[i], NULL), 0);
            burst.left++;
        }
        assert_int_equal(target->ops->submit(target, NULL), 0);
        burst.left++;
        assert_int_equal(target->ops->checkpoint(target, &checkpoint, NULL), 0);
        support_wait(target, &burst.left);
    }
    close(fd);
    assert_int_equal(burst.failed, 0);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
}

static void
zeroed_ranges_read_as_zeroes_and_are_given_back(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 8 * MIB;
    struct qcow2_image *image = fixture_create(f, size);
    struct disk_target *target = qcow2_target(image);
    struct qcow2_info info;
    uint8_t *zeroes = xcalloc(1, 2 * MIB);
    int fd;

    fixture_size_raw(f, size);
    for (uint64_t at = 0; at < 4 * MIB; at += MIB)
        fixture_write_both(f, image, at, MIB);
    /* Clusters 8 and 40 in part, 9 to 39 whole; and what was never written. */
    assert_int_equal(support_zero(target, 8 * 65536 + 512, 32 * 65536, NULL), 0);
    assert_int_equal(support_zero(target, 5 * MIB + 512, MIB, NULL), 0);
    fd = open(f->raw, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, zeroes, 32 * 65536, 8 * 65536 + 512), 32 * 65536);
    close(fd);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
    assert_int_equal(qcow2_inspect(f->path, &info, NULL), 0);
    assert_int_equal(info.allocated_clusters, 64 - 31);
    free(zeroes);
}

static void
the_room_of_zeroed_clusters_goes_back_to_the_file_system(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 16 * MIB;
    struct qcow2_image *image = fixture_create(f, size);
    struct stat before, after;

    fixture_size_raw(f, size);
    for (uint64_t at = 0; at < size; at += MIB)
        assert_int_equal(support_write(qcow2_target(image), f->pool, f->bytes, at, MIB, NULL), 0);
    assert_int_equal(support_zero(qcow2_target(image), 0, 15 * MIB, NULL), 0);
    fixture_write_both(f, image, 15 * MIB, MIB);
    assert_int_equal(stat(f->path, &before), 0);
    fixture_finish(&image);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
    assert_true((before.st_blocks - after.st_blocks) * 512 >= (int64_t)(14 * MIB));
}

static void
old_bytes_of_a_zeroed_cluster_do_not_come_back(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = MIB;
    struct qcow2_image *image = fixture_create(f, size);
    struct disk_target *target = qcow2_target(image);
    int fd;

    fixture_write_both(f, image, 0, 256 * KIB);
    assert_int_equal(support_zero(target, 0, 256 * KIB, NULL), 0);
    fd = open(f->raw, O_RDWR | O_TRUNC | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
    fixture_write_both(f, image, 4096, 512);           /* part of a zeroed cluster */
    fixture_write_both(f, image, 128 * KIB, 64 * KIB); /* the whole of another */
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
}

static void
a_disk_zeroed_whole_holds_nothing(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 3 * MIB + 512;
    struct qcow2_image *image = fixture_create(f, size);
    struct qcow2_info info;

    fixture_size_raw(f, size);
    fixture_write_both(f, image, 0, MIB);
    fixture_write_both(f, image, 2 * MIB + 512, MIB);
    assert_int_equal(support_zero(qcow2_target(image), 0, size, NULL), 0);
    unlink(f->raw);
    fixture_size_raw(f, size);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
    assert_int_equal(qcow2_inspect(f->path, &info, NULL), 0);
    assert_int_equal(info.allocated_clusters, 0);
}

static void
reads_see_what_the_guest_would_see(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 600 * MIB + 512; /* two L2 tables; the last cluster is of one sector */
    struct qcow2_image *image = fixture_create(f, size);
    CLEANUP(free_charp) char *expected = xcalloc(1, DISK_MAX_REQUEST);
    uint8_t *e = (uint8_t *)expected;

    /* Nothing is mapped, and not even a table. */
    fixture_expect_read(f, image, 0, DISK_MAX_REQUEST, e);
    fixture_expect_read(f, image, size - 512, 512, e);
    /* Clusters 3, then 2, then 5 in part; 4 stays a hole; 6 and 7 with 7 zeroed afterwards. */
    fixture_write_both(f, image, 3 * 65536, 65536);
    fixture_write_both(f, image, 2 * 65536, 65536);
    fixture_write_both(f, image, 5 * 65536 + 512, 1024);
    fixture_write_both(f, image, 6 * 65536, 2 * 65536);
    assert_int_equal(support_zero(qcow2_target(image), 7 * 65536, 65536, NULL), 0);
    assert_int_equal(support_zero(qcow2_target(image), 2 * 65536 + 512, 1536, NULL), 0);
    memcpy(e + 3 * 65536, f->bytes, 65536);
    memcpy(e + 2 * 65536, f->bytes, 65536);
    memset(e + 2 * 65536 + 512, 0, 1536);
    memcpy(e + 5 * 65536 + 512, f->bytes, 1024);
    memcpy(e + 6 * 65536, f->bytes, 65536);
    for (unsigned round = 0; round < 3; round++) {
        fixture_expect_read(f, image, 0, DISK_MAX_REQUEST, e);
        fixture_expect_read(f, image, 512, DISK_MAX_REQUEST - 1024, e + 512);
        fixture_expect_read(f, image, 7 * 65536 - 512, 1024, e + 7 * 65536 - 512);
        fixture_expect_read(f, image, 5 * 65536 + 1024, 512, e + 5 * 65536 + 1024);
        fixture_expect_read(f, image, 7 * 65536, 65536, e + 7 * 65536);
        if (round == 0)
            assert_int_equal(support_checkpoint(qcow2_target(image), NULL), 0);
        if (round == 0)
            qcow2_closep(&image);
        else if (round == 1)
            fixture_finish(&image);
        if (!image)
            image = fixture_resume(f, size);
    }
    /* Across the two tables, and the end of the disk. */
    fixture_write_both(f, image, 512 * MIB - 4096, 8192);
    fixture_write_both(f, image, size - 512, 512);
    fixture_expect_read(f, image, 512 * MIB - 4096, 8192, f->bytes);
    fixture_expect_read(f, image, size - 512, 512, f->bytes);
    qcow2_closep(&image);
}

static void
what_a_checkpoint_covered_is_there_after_resume(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 64 * MIB;
    struct qcow2_image *image = fixture_create(f, size);
    uint8_t *guest;

    fixture_size_raw(f, size);
    fixture_write_both(f, image, 3 * MIB, MIB);
    fixture_write_both(f, image, 40 * MIB + 512, 4096);
    assert_int_equal(support_checkpoint(qcow2_target(image), NULL), 0);
    assert_int_equal(support_write(qcow2_target(image), f->pool, f->bytes, 20 * MIB, MIB, NULL), 0);
    qcow2_closep(&image);
    image = fixture_resume(f, size);
    assert_false(qcow2_target(image)->is_new);
    fixture_write_both(f, image, 50 * MIB, MIB);
    /* Not covered by a checkpoint: it may be there or not, so it is written again. */
    fixture_write_both(f, image, 20 * MIB, MIB);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
    guest = support_read_guest(f->path, size);
    assert_memory_equal(guest + 3 * MIB, f->bytes, MIB);
    free(guest);
}

static void
a_finished_image_can_be_gone_on_with(void **state)
{
    struct fixture *f = *state;
    const uint64_t size = 64 * MIB;
    struct qcow2_image *image = fixture_create(f, size);

    fixture_size_raw(f, size);
    fixture_write_both(f, image, 0, MIB);
    fixture_finish(&image);
    for (unsigned round = 1; round < 4; round++) {
        image = fixture_resume(f, size);
        fixture_write_both(f, image, round * 7 * MIB + 512, 8192);
        assert_int_equal(support_checkpoint(qcow2_target(image), NULL), 0);
        /* In progress it leaks, and nothing worse. */
        qcow2_closep(&image);
        assert_int_equal(support_qemu_check(f->path), 3);
        assert_int_equal(qcow2_check_importable(f->path, size, NULL, NULL), -1);
        image = fixture_resume(f, size);
        fixture_finish(&image);
        assert_int_equal(support_qemu_check(f->path), 0);
    }
    assert_true(support_same(f->raw, f->path));
}

static void
more_tables_than_the_cache_holds_are_read_again(void **state)
{
    struct fixture *f = *state;
    /* 4 KiB clusters: a table maps 2 MiB, the cache holds 2048 of them. */
    const uint64_t size = 6 * GIB;
    struct qcow2_image *image;

    f->options.cluster_bits = 12;
    image = fixture_create(f, size);
    fixture_size_raw(f, size);
    for (uint64_t at = 0; at < size; at += 2 * MIB)
        fixture_write_both(f, image, at, 4096);
    for (uint64_t at = 4096; at < size; at += 32 * MIB)
        fixture_write_both(f, image, at, 4096);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
}

static void
an_existing_file_is_never_written_over(void **state)
{
    struct fixture *f = *state;
    CLEANUP(err_freep) struct err *err = NULL;
    struct qcow2_image *image = NULL;
    int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char text[16] = {0};

    assert_int_equal(write(fd, "precious", 8), 8);
    assert_int_equal(qcow2_create(f->path, MIB, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_EXISTS);
    assert_null(image);
    assert_int_equal(pread(fd, text, sizeof(text), 0), 8);
    assert_string_equal(text, "precious");
    close(fd);
}

static void
a_failed_creation_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = NULL;
    struct err *err = NULL;
    char *leftover = support_path(".disk.qcow2.v2c-new");

    assert_int_equal(qcow2_create(f->path, 1000, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_SIZE);
    err_freep(&err);
    f->options.cluster_bits = 9;
    assert_int_equal(qcow2_create(f->path, MIB, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_SIZE);
    err_freep(&err);
    f->options.cluster_bits = 0;
    assert_int_equal(qcow2_create("/nonexistent/a.qcow2", MIB, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_CREATE);
    err_freep(&err);
    assert_int_equal(access(f->path, F_OK), -1);
    assert_int_equal(access(leftover, F_OK), -1);
    /* What a crash within an earlier creation left is no hindrance. */
    close(open(leftover, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    image = fixture_create(f, MIB);
    qcow2_closep(&image);
    assert_int_equal(access(leftover, F_OK), -1);
    free(leftover);
}

static void
an_image_of_another_is_refused(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB);
    struct err *err = NULL;
    const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", f->path, "1M", NULL};

    qcow2_closep(&image);
    f->options.owner_id = "somebody-else";
    assert_int_equal(qcow2_resume(f->path, MIB, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_FORMAT);
    err_freep(&err);
    f->options.owner_id = TEST_OWNER;
    assert_int_equal(qcow2_resume(f->path, MIB - 512, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_SIZE);
    err_freep(&err);
    unlink(f->path);
    assert_int_equal(support_run(argv), 0);
    assert_int_equal(qcow2_resume(f->path, MIB, &f->options, &image, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_FORMAT);
    err_freep(&err);
    assert_int_equal(qcow2_resume("/nonexistent/a", MIB, &f->options, &image, &err), -1);
    err_freep(&err);
    assert_null(image);
}

static void
qemu_stays_out_while_it_is_open_and_comes_in_after(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB), *second = NULL;
    struct err *err = NULL;
    const char *info[] = {"qemu-img", "info", f->path, NULL};
    const char *forced[] = {"qemu-img", "info", "-U", f->path, NULL};
    const char *writer[] = {"qemu-io", "-f", "qcow2", "-c", "write 0 512", f->path, NULL};

    assert_int_not_equal(support_run(info), 0);
    assert_int_not_equal(support_run(writer), 0);
    assert_int_equal(support_run(forced), 0);
    assert_int_equal(qcow2_check_importable(f->path, MIB, NULL, &err), -1);
    assert_int_equal(err_code(err), E_TARGET_CHECK);
    err_freep(&err);
    assert_int_equal(qcow2_resume(f->path, MIB, &f->options, &second, &err), -1);
    assert_int_equal(err_code(err), E_LOCKED);
    err_freep(&err);
    fixture_finish(&image);
    assert_int_equal(support_run(info), 0);
    assert_int_equal(support_run(writer), 0);
    assert_int_equal(support_qemu_check(f->path), 0);
}

static void
requests_that_do_not_fit_are_refused(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image = fixture_create(f, MIB + 512);
    struct disk_target *target = qcow2_target(image);
    struct disk_request request = {.slot = &f->pool->slots[0]};
    static const struct {
        uint64_t offset;
        uint32_t length;
    } cases[] = {{MIB, 1024}, {0, 0}, {1, 512}, {0, 100}, {UINT64_MAX - 511, 512}};

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        request.offset = cases[i].offset;
        request.length = cases[i].length;
        assert_int_equal(target->ops->write(target, &request, NULL), -1);
        assert_int_equal(target->ops->read(target, &request, NULL), -1);
        assert_int_equal(target->ops->zero(target, cases[i].offset, cases[i].length, NULL), -1);
    }
    request = (struct disk_request){
        .slot = &f->pool->slots[0], .length = 1024, .slot_offset = DISK_MAX_REQUEST - 512};
    assert_int_equal(target->ops->write(target, &request, NULL), -1);
    assert_int_equal(target->ops->read(target, &request, NULL), -1);
    qcow2_closep(&image);
}

static void
buffered_files_work_as_well(void **state)
{
    struct fixture *f = *state;
    struct qcow2_image *image;

    f->options.is_buffered = true;
    image = fixture_create(f, 4 * MIB + 512);
    fixture_size_raw(f, 4 * MIB + 512);
    fixture_write_both(f, image, 512, 300 * KIB);
    fixture_write_both(f, image, 4 * MIB, 512);
    qcow2_closep(&image);
    image = fixture_resume(f, 4 * MIB + 512);
    fixture_write_both(f, image, 512, 300 * KIB);
    fixture_write_both(f, image, 4 * MIB, 512);
    fixture_finish(&image);
    assert_int_equal(support_qemu_check(f->path), 0);
    assert_true(support_same(f->raw, f->path));
}

static void
mapped_clusters_are_found_after_resume(void **state)
{
    struct fixture *f = *state;
    struct extents mapped = {0};
    struct qcow2_image *image = fixture_create(f, 64 * MIB + 512);

    fixture_size_raw(f, 64 * MIB + 512);
    fixture_write_both(f, image, 3 * MIB + 4096, 100 * KIB); /* in two clusters of 64 KiB */
    fixture_write_both(f, image, 64 * MIB, 512);             /* the short last one */
    assert_int_equal(support_checkpoint(qcow2_target(image), NULL), 0);
    qcow2_closep(&image);
    image = fixture_resume(f, 64 * MIB + 512);
    assert_int_equal(qcow2_mapped(image, &mapped, NULL), 0);
    assert_int_equal(mapped.count, 2);
    assert_int_equal(mapped.items[0].offset, 3 * MIB);
    assert_int_equal(mapped.items[0].length, 128 * KIB);
    assert_int_equal(mapped.items[1].offset, 64 * MIB);
    assert_int_equal(mapped.items[1].length, 512);
    vec_done(&mapped);
    qcow2_closep(&image);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        T(images_of_every_size_are_clean_and_equal),
        T(an_image_without_data_is_clean_and_small),
        T(a_sparse_disk_of_many_tebibytes_stays_small),
        T(an_image_of_many_spans_is_clean_and_equal),
        T(many_writes_and_a_checkpoint_go_on_together),
        T(zeroed_ranges_read_as_zeroes_and_are_given_back),
        T(the_room_of_zeroed_clusters_goes_back_to_the_file_system),
        T(old_bytes_of_a_zeroed_cluster_do_not_come_back),
        T(a_disk_zeroed_whole_holds_nothing),
        T(reads_see_what_the_guest_would_see),
        T(what_a_checkpoint_covered_is_there_after_resume),
        T(a_finished_image_can_be_gone_on_with),
        T(more_tables_than_the_cache_holds_are_read_again),
        T(an_existing_file_is_never_written_over),
        T(a_failed_creation_leaves_no_file),
        T(an_image_of_another_is_refused),
        T(qemu_stays_out_while_it_is_open_and_comes_in_after),
        T(requests_that_do_not_fit_are_refused),
        T(buffered_files_work_as_well),
        T(mapped_clusters_are_found_after_resume),
#undef T
    };

    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
