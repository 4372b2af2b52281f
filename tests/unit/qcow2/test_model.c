/* Random operations against a byte array, for as many seeds as argv[1] says, from argv[2]. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guest.h"

static uint64_t first_seed = 1, seed_count = 6;

#define CHECKED(call)                                                                              \
    do {                                                                                           \
        struct err *error_ = NULL;                                                                 \
        struct err **err = &error_;                                                                \
        if ((call) < 0)                                                                            \
            fail_msg("seed %" PRIu64 ": %s: %s", seed, #call, err_message(error_));                \
    } while (0)

/* Clusters that hold data: written since they were last zeroed whole. */
static uint64_t
expected_clusters(const struct guest *guest)
{
    uint64_t cs = 1ULL << guest->options.cluster_bits, count = 0;
    uint64_t clusters = (guest->size + cs - 1) / cs;
    CLEANUP(free_charp) char *mapped = xcalloc(clusters, 1);

    for (size_t i = 0; i < guest->ops.count; i++) {
        const struct guest_op *op = &guest->ops.items[i];
        uint64_t end = op->offset + op->length;

        for (uint64_t c = op->offset / cs; c * cs < end; c++) {
            bool whole = c * cs >= op->offset && MIN((c + 1) * cs, op->size) <= end;

            if (op->seed)
                mapped[c] = 1;
            else if (whole)
                mapped[c] = 0;
        }
    }
    for (uint64_t c = 0; c < clusters; c++)
        count += (uint64_t)mapped[c];
    return count;
}

static void
finish_and_check(struct guest *guest, uint64_t seed)
{
    struct qcow2_info info;

    CHECKED(qcow2_finish(&guest->image, err));
    assert_int_equal(support_qemu_check(guest->path), 0);
    if (!guest_holds(guest, guest->path, guest->ops.count, 0))
        fail_msg("seed %" PRIu64 ": wrong bytes after %zu operations", seed, guest->ops.count);
    CHECKED(qcow2_inspect(guest->path, &info, err));
    assert_true(info.is_finished);
    assert_int_equal(info.allocated_clusters, expected_clusters(guest));
    guest->checkpoints.count = 0;
    vec_push(&guest->checkpoints, ((struct guest_checkpoint){guest->ops.count, 0}));
}

static void
read_and_compare(struct guest *guest, uint64_t seed)
{
    bool is_equal;

    CHECKED(guest_read(guest, &is_equal, err));
    if (!is_equal)
        fail_msg("seed %" PRIu64 ": wrong bytes read after %zu operations", seed, guest->ops.count);
}

static void
run_seed(uint64_t seed)
{
    static const unsigned bits[] = {12, 12, 16, 18};
    uint64_t random = seed * 7919, size;
    struct guest guest;

    size = (1 + support_random(&random) % (40 * MIB / 512)) * 512;
    guest_init(&guest, size, bits[support_random(&random) % 4], seed);
    guest.options.is_buffered = support_random(&random) % 4 == 0;
    /* Four tables, which map 8 MiB of 4 KiB clusters. */
    guest.options.l2_cache_bytes = support_random(&random) % 3 ? 1 : 0;
    CHECKED(guest_create(&guest, err));
    for (unsigned step = 0; step < 60; step++) {
        uint64_t what = support_random(&random) % 20;

        if (what < 15)
            CHECKED(guest_batch(&guest, what < 5 ? 4096 : 600 * KIB, err));
        else if (what < 17)
            CHECKED(guest_checkpoint(&guest, err));
        else if (what < 18)
            finish_and_check(&guest, seed);
        else
            qcow2_closep(&guest.image);
        if (!guest.image && support_random(&random) % 2)
            guest_grow(&guest, guest.size + (support_random(&random) % (4 * MIB / 512)) * 512);
        if (!guest.image) {
            CHECKED(guest_resume(&guest, err));
            CHECKED(guest_replay(&guest, guest_covered(&guest), err));
        }
        read_and_compare(&guest, seed);
    }
    finish_and_check(&guest, seed);
    guest_done(&guest);
}

static void
random_operations_leave_what_the_model_says(void **state)
{
    for (uint64_t seed = first_seed; seed < first_seed + seed_count; seed++)
        run_seed(seed);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_leave_what_the_model_says),
    };
    int result;

    if (argc > 1)
        seed_count = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    result = cmocka_run_group_tests(tests, NULL, NULL);
    support_cleanup();
    return result;
}
