#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "disk/disk.h"

static void
slots_are_aligned_and_do_not_overlap(void **state)
{
    struct disk_pool *pool = disk_pool_new(5, NULL);

    assert_non_null(pool);
    for (size_t i = 0; i < pool->slot_count; i++) {
        assert_int_equal((uintptr_t)pool->slots[i].data % DISK_ALIGNMENT, 0);
        assert_ptr_equal(pool->slots[i].data, pool->base + i * DISK_MAX_REQUEST);
        assert_int_equal(pool->slots[i].index, i);
        memset(pool->slots[i].data, (int)i + 1, DISK_MAX_REQUEST);
    }
    for (size_t i = 0; i < pool->slot_count; i++) {
        assert_int_equal(pool->slots[i].data[0], i + 1);
        assert_int_equal(pool->slots[i].data[DISK_MAX_REQUEST - 1], i + 1);
    }
    disk_pool_free(pool);
}

static void
an_empty_pool_gives_nothing_until_a_slot_comes_back(void **state)
{
    struct disk_pool *pool = disk_pool_new(2, NULL);
    struct disk_slot *a = disk_pool_get(pool), *b = disk_pool_get(pool);

    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    assert_null(disk_pool_get(pool));
    disk_pool_put(pool, a);
    assert_ptr_equal(disk_pool_get(pool), a);
    assert_null(disk_pool_get(pool));
    disk_pool_free(pool);
}

static void
another_mapping_of_the_memfd_sees_the_same_bytes(void **state)
{
    struct disk_pool *pool = disk_pool_new(2, NULL);
    uint8_t *other =
        mmap(NULL, 2 * DISK_MAX_REQUEST, PROT_READ | PROT_WRITE, MAP_SHARED, pool->memfd, 0);

    assert_ptr_not_equal(other, MAP_FAILED);
    other[DISK_MAX_REQUEST + 7] = 42;
    assert_int_equal(pool->slots[1].data[7], 42);
    munmap(other, 2 * DISK_MAX_REQUEST);
    disk_pool_free(pool);
}

static void
a_process_that_maps_it_cannot_change_its_size(void **state)
{
    struct disk_pool *pool = disk_pool_new(1, NULL);

    assert_int_equal(ftruncate(pool->memfd, 0), -1);
    assert_int_equal(errno, EPERM);
    disk_pool_free(pool);
}

static void
a_pool_of_no_slots_is_refused(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;

    assert_null(disk_pool_new(0, &err));
    assert_int_equal(err_code(err), E_BUG);
}

static void
many_disks_share_what_few_have_alone(void **state)
{
    assert_int_equal(disk_pool_share(1), 32);
    assert_int_equal(disk_pool_share(2), 32);
    assert_int_equal(disk_pool_share(3), 21);
    assert_int_equal(disk_pool_share(4), 16);
    assert_int_equal(disk_pool_share(100), 8);
    assert_int_equal(disk_pool_share(0), 32);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_aligned_and_do_not_overlap),
        cmocka_unit_test(an_empty_pool_gives_nothing_until_a_slot_comes_back),
        cmocka_unit_test(another_mapping_of_the_memfd_sees_the_same_bytes),
        cmocka_unit_test(a_process_that_maps_it_cannot_change_its_size),
        cmocka_unit_test(a_pool_of_no_slots_is_refused),
        cmocka_unit_test(many_disks_share_what_few_have_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
