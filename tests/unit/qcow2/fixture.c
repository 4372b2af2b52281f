#include "fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int
fixture_setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->pool = disk_pool_new(8, NULL);
    f->options = (struct qcow2_options){.owner_id = TEST_OWNER, .pool = f->pool};
    f->path = support_path("disk.qcow2");
    f->raw = support_path("disk.raw");
    f->bytes = xcalloc(1, DISK_MAX_REQUEST);
    support_fill(f->bytes, DISK_MAX_REQUEST, 1);
    *state = f;
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *f = *state;

    disk_pool_free(f->pool);
    free(f->path);
    free(f->raw);
    free(f->bytes);
    free(f);
    support_cleanup();
    return 0;
}

struct qcow2_image *
fixture_create(struct fixture *f, uint64_t size)
{
    struct qcow2_image *image = NULL;
    struct err *err = NULL;

    if (qcow2_create(f->path, size, &f->options, &image, &err) < 0)
        fail_msg("%s", err_message(err));
    return image;
}

struct qcow2_image *
fixture_resume(struct fixture *f, uint64_t size)
{
    struct qcow2_image *image = NULL;
    struct err *err = NULL;

    if (qcow2_resume(f->path, size, &f->options, &image, &err) < 0)
        fail_msg("%s", err_message(err));
    return image;
}

void
fixture_finish(struct qcow2_image **image)
{
    struct err *err = NULL;

    if (qcow2_finish(image, &err) < 0)
        fail_msg("%s", err_message(err));
    assert_null(*image);
}

/* Writes the same bytes to the image and to the raw file that it is compared with. */
void
fixture_write_both(struct fixture *f, struct qcow2_image *image, uint64_t offset, uint32_t length)
{
    struct err *err = NULL;
    int fd = open(f->raw, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, f->bytes, length, (off_t)offset), length);
    close(fd);
    if (support_write(qcow2_target(image), f->pool, f->bytes, offset, length, &err) < 0)
        fail_msg("%s", err_message(err));
}

void
fixture_size_raw(struct fixture *f, uint64_t size)
{
    int fd = open(f->raw, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

void
fixture_expect_read(struct fixture *f, struct qcow2_image *image, uint64_t offset, uint32_t length,
                    const uint8_t *expected)
{
    CLEANUP(free_charp) char *bytes = xcalloc(1, length);
    struct err *err = NULL;

    if (support_read(qcow2_target(image), f->pool, (uint8_t *)bytes, offset, length, &err) < 0)
        fail_msg("%s", err_message(err));
    assert_memory_equal(bytes, expected, length);
}
