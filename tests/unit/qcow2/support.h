/* What the tests of qcow2 share: a guest that waits for each request, and QEMU as the judge. */
#ifndef V2C_TESTS_QCOW2_SUPPORT_H
#define V2C_TESTS_QCOW2_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/qcow2.h"

#define TEST_OWNER "0f7c2c1e-test"

/* A directory under the current one for this test; removed with all in it by support_cleanup. */
const char *support_dir(void);
char *support_path(const char *name); /* the caller frees */
void support_cleanup(void);

/* Exit status of a program, its output dropped; -1 when it could not run. */
int support_run(const char *const *argv);
bool support_has_qemu(void);
int support_qemu_check(const char *path);                   /* exit status of qemu-img check */
bool support_qemu_size_is(const char *path, uint64_t size); /* what qemu-img info says */
bool support_same(const char *raw, const char *qcow2);      /* qemu-img compare */

/* One request at a time; the error is the caller's. */
int support_write(struct disk_target *target, struct disk_pool *pool, const uint8_t *bytes,
                  uint64_t offset, uint32_t length, struct err **err);
int support_read(struct disk_target *target, struct disk_pool *pool, uint8_t *bytes,
                 uint64_t offset, uint32_t length, struct err **err);
int support_zero(struct disk_target *target, uint64_t offset, uint64_t length, struct err **err);
int support_checkpoint(struct disk_target *target, struct err **err);
/* Waits until @counter, changed by completions, is 0. */
void support_wait(struct disk_target *target, const unsigned *counter);

uint64_t support_random(uint64_t *state);
/* Bytes that differ everywhere and are never all zero. */
void support_fill(uint8_t *bytes, uint64_t length, uint64_t seed);

/* Reads guest bytes with nothing but the format's specification: for files QEMU would refuse to open,
 * and to see what a crash left.  Unmapped is zeroes; NULL when the file is no image. */
uint8_t *support_read_guest(const char *path, uint64_t size);

#endif
