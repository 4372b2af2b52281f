/* An image and a raw file that hold the same, for tests that compare them. */
#ifndef V2C_TESTS_QCOW2_FIXTURE_H
#define V2C_TESTS_QCOW2_FIXTURE_H

#include "support.h"

struct fixture {
    struct disk_pool *pool;
    struct qcow2_options options;
    char *path, *raw;
    uint8_t *bytes; /* DISK_MAX_REQUEST of noise */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* These fail the test when they fail. */
struct qcow2_image *fixture_create(struct fixture *f, uint64_t size);
struct qcow2_image *fixture_resume(struct fixture *f, uint64_t size);
void fixture_finish(struct qcow2_image **image);
/* Writes f->bytes to the image and to the raw file that it is compared with. */
void fixture_write_both(struct fixture *f, struct qcow2_image *image, uint64_t offset,
                        uint32_t length);
void fixture_size_raw(struct fixture *f, uint64_t size);
void fixture_expect_read(struct fixture *f, struct qcow2_image *image, uint64_t offset,
                         uint32_t length, const uint8_t *expected);

#endif
