/* lab/disks/synthetic: views do not move, changed() never misses, and a migration in miniature gives
 * exactly what the disk holds at power-off. */
#include "../check.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/extents.h"
#include "base/file.h"
#include "disks/machine.h"
#include "scratch.h"

#define DEADLINE_MS 20000
#define BIG         (6 * MIB)
#define ODD         (1 * MIB + 5 * 512) /* not a whole number of 64 KiB blocks */

struct bench {
    char *dir;
    struct lab_machine *machine;
};

static const struct lab_disk_plan DISKS[] = {
    {.capacity = BIG, .fill_percent = 50, .seed = 7},
    {.capacity = ODD, .fill_percent = 100, .seed = 8},
    {.capacity = 2 * MIB, .fill_percent = 0, .seed = 9},
};

static struct bench
bench_make(unsigned kib_per_s, bool is_off)
{
    struct bench bench = {.dir = scratch_make()};
    struct lab_machine_plan plan = {.name = "m",
                                    .dir = bench.dir,
                                    .disks = DISKS,
                                    .disk_count = ARRAY_SIZE(DISKS),
                                    .writer_kib_per_s = kib_per_s,
                                    .is_off = is_off,
                                    .shutdown_ms = 30};
    struct err *err = NULL;

    assert_ok(lab_synthetic_new(&plan, &bench.machine, &err), &err);
    return bench;
}

static void
bench_done(struct bench *bench)
{
    bench->machine->ops->close(bench->machine);
    scratch_remove(bench->dir);
}

static uint8_t *
read_all(struct lab_machine *machine, unsigned disk, uint64_t view)
{
    uint64_t capacity = DISKS[disk].capacity;
    uint8_t *data = xcalloc(1, capacity);
    struct err *err = NULL;

    /* in odd pieces, as nobody else reads */
    for (uint64_t at = 0; at < capacity; at += 100000)
        assert_ok(machine->ops->read(machine, disk, view, data + at,
                                     (uint32_t)MIN(100000, capacity - at), at, &err),
                  &err);
    return data;
}

static uint8_t *
read_raw(struct lab_machine *machine, unsigned disk)
{
    CLEANUP(close_fdp)
    int fd = open(machine->ops->raw_path(machine, disk), O_RDONLY | O_CLOEXEC);
    uint8_t *data = xcalloc(1, DISKS[disk].capacity);

    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), DISKS[disk].capacity);
    assert_int_equal(file_pread(fd, data, DISKS[disk].capacity, 0, NULL), 0);
    return data;
}

/* Until the present of disk 0 differs from @before. */
static void
wait_for_a_write(struct lab_machine *machine, const uint8_t *before)
{
    int64_t deadline = clock_monotonic_ms() + DEADLINE_MS;

    for (;;) {
        uint8_t *now = read_all(machine, 0, 0);
        bool is_same = !memcmp(now, before, BIG);

        free(now);
        if (!is_same)
            return;
        assert_true(clock_monotonic_ms() < deadline);
        clock_sleep_ms(5);
    }
}

static bool
covers(const struct extents *extents, uint64_t offset)
{
    for (size_t i = 0; i < extents->count; i++)
        if (offset >= extents->items[i].offset &&
            offset < extents->items[i].offset + extents->items[i].length)
            return true;
    return false;
}

static void
assert_told(const struct extents *extents, const uint8_t *a, const uint8_t *b, uint64_t length)
{
    for (uint64_t at = 0; at < length; at += 512)
        if (memcmp(a + at, b + at, 512) != 0 && !covers(extents, at))
            fail_msg("a difference at %llu is not told", (unsigned long long)at);
}

static void
view_stays_as_it_was_while_the_guest_writes(void **state)
{
    struct bench bench = bench_make(20000, false);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    for (unsigned disk = 0; disk < ARRAY_SIZE(DISKS); disk++) {
        uint8_t *first = read_all(m, disk, 1), *again;

        if (disk == 0)
            wait_for_a_write(m, first);
        again = read_all(m, disk, 1);
        assert_memory_equal(first, again, DISKS[disk].capacity);
        free(first);
        free(again);
    }
    bench_done(&bench);
}

static void
changed_never_misses_a_difference_between_views(void **state)
{
    struct bench bench = bench_make(20000, false);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;
    uint8_t *before, *after;

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    before = read_all(m, 0, 1);
    for (uint64_t view = 2; view < 8; view++) {
        struct extents told = {0};

        wait_for_a_write(m, before);
        assert_ok(m->ops->freeze(m, view, &err), &err);
        /* the base may be gone by the time it is asked for */
        assert_ok(m->ops->thaw(m, view - 1, &err), &err);
        after = read_all(m, 0, view);
        assert_ok(m->ops->changed(m, 0, view - 1, view, &told, &err), &err);
        assert_true(told.count > 0);
        assert_told(&told, before, after, BIG);
        vec_done(&told);
        free(before);
        before = after;
    }
    free(before);
    bench_done(&bench);
}

static void
changed_of_a_view_ignores_what_came_after_it(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct extents told = {0};
    struct err *err = NULL;

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    assert_ok(m->ops->freeze(m, 2, &err), &err);
    assert_ok(lab_synthetic_write(m, 0, 0, BIG, 5, &err), &err);
    assert_ok(m->ops->changed(m, 0, 1, 2, &told, &err), &err);
    assert_true(extents_total(&told) < MIB); /* decoys only */
    told.count = 0;
    assert_ok(m->ops->changed(m, 0, 1, 0, &told, &err), &err);
    assert_int_equal(extents_total(&told), BIG);
    vec_done(&told);
    bench_done(&bench);
}

static void
changed_says_too_much_on_purpose(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct extents told = {0};
    struct err *err = NULL;

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    assert_ok(m->ops->changed(m, 0, 1, 0, &told, &err), &err);
    assert_true(told.count > 0);
    assert_ok(extents_normalize(&told, BIG, 0, false, &err), &err); /* but within the disk */
    vec_done(&told);
    bench_done(&bench);
}

static void
unknown_view_is_a_lost_history(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct extents told = {0};
    struct err *err = NULL;

    assert_int_equal(m->ops->changed(m, 0, 77, 0, &told, &err), -1);
    assert_err(&err, E_CBT_RESET);
    vec_done(&told);
    bench_done(&bench);
}

static void
thawed_view_cannot_be_read(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;
    char data[512];

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    assert_ok(m->ops->read(m, 0, 1, data, 512, 0, &err), &err);
    assert_ok(m->ops->thaw(m, 1, &err), &err);
    assert_int_equal(m->ops->read(m, 0, 1, data, 512, 0, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
    assert_int_equal(m->ops->thaw(m, 1, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
    bench_done(&bench);
}

static void
older_view_survives_the_end_of_a_younger_one(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;
    uint8_t *first, *again;

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    first = read_all(m, 0, 1);
    assert_ok(lab_synthetic_write(m, 0, 1000, 200000, 5, &err), &err);
    assert_ok(m->ops->freeze(m, 2, &err), &err);
    assert_ok(lab_synthetic_write(m, 0, 0, BIG, 6, &err), &err);
    assert_ok(m->ops->thaw(m, 2, &err), &err);
    again = read_all(m, 0, 1);
    assert_memory_equal(first, again, BIG);
    free(first);
    free(again);
    bench_done(&bench);
}

static void
allocated_holds_every_byte_that_is_not_zero(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct extents told = {0};
    struct err *err = NULL;
    uint8_t *data = read_all(m, 0, 0), *zeroes = xcalloc(1, BIG);

    assert_ok(m->ops->allocated(m, 0, 0, 0, BIG, &told, &err), &err);
    assert_told(&told, zeroes, data, BIG);
    assert_true(extents_total(&told) < BIG);
    told.count = 0;
    assert_ok(m->ops->allocated(m, 2, 0, 0, 2 * MIB, &told, &err), &err);
    assert_int_equal(told.count, 0);
    /* the part asked for only, and the end of a disk that ends within a block */
    assert_ok(m->ops->allocated(m, 1, 0, 1000, 3000, &told, &err), &err);
    assert_int_equal(told.items[0].offset, 1000);
    assert_int_equal(extents_total(&told), 3000);
    told.count = 0;
    assert_ok(m->ops->allocated(m, 1, 0, 0, UINT64_MAX, &told, &err), &err);
    assert_int_equal(extents_total(&told), ODD);
    vec_done(&told);
    free(data);
    free(zeroes);
    bench_done(&bench);
}

static void
write_of_zeroes_reads_as_zeroes_and_is_told_as_changed(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct extents told = {0};
    struct err *err = NULL;
    uint8_t *data;

    assert_ok(lab_synthetic_write(m, 1, 0, ODD, 3, &err), &err);
    assert_ok(m->ops->freeze(m, 1, &err), &err);
    assert_ok(lab_synthetic_write(m, 1, 70000, 100, 0, &err), &err);
    data = read_all(m, 1, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(data[70000 + i], 0);
    assert_ok(m->ops->changed(m, 1, 1, 0, &told, &err), &err);
    assert_true(covers(&told, 70000));
    vec_done(&told);
    free(data);
    bench_done(&bench);
}

static void
access_beyond_the_end_is_refused(void **state)
{
    struct bench bench = bench_make(0, true);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;
    char data[512];

    assert_int_equal(lab_synthetic_write(m, 1, ODD - 100, 101, 1, &err), -1);
    assert_err(&err, E_LIMIT);
    assert_int_equal(lab_synthetic_write(m, 1, UINT64_MAX - 10, 100, 1, &err), -1);
    assert_err(&err, E_LIMIT);
    assert_int_equal(m->ops->read(m, 1, 0, data, 512, ODD - 511, &err), -1);
    assert_err(&err, E_LIMIT);
    assert_int_equal(m->ops->read(m, 3, 0, data, 512, 0, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
    bench_done(&bench);
}

static void
guest_goes_off_some_time_after_it_was_asked(void **state)
{
    struct bench bench = bench_make(1000, false);
    struct lab_machine *m = bench.machine;
    int64_t start = clock_monotonic_ms();
    struct err *err = NULL;

    assert_true(m->ops->is_on(m));
    assert_ok(m->ops->shutdown_guest(m, &err), &err);
    while (m->ops->is_on(m)) {
        assert_true(clock_monotonic_ms() - start < DEADLINE_MS);
        clock_sleep_ms(2);
    }
    assert_true(clock_monotonic_ms() - start >= 30);
    assert_int_equal(m->ops->shutdown_guest(m, &err), -1);
    assert_err(&err, E_VSPHERE_STATE);
    assert_ok(m->ops->power_on(m, &err), &err);
    assert_true(m->ops->is_on(m));
    assert_int_equal(m->ops->power_on(m, &err), -1);
    assert_err(&err, E_VSPHERE_STATE);
    bench_done(&bench);
}

static void
nothing_writes_after_power_off(void **state)
{
    struct bench bench = bench_make(50000, false);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;
    uint8_t *first = read_all(m, 0, 0), *again;

    wait_for_a_write(m, first);
    free(first);
    assert_ok(m->ops->power_off(m, &err), &err);
    assert_false(m->ops->is_on(m));
    first = read_raw(m, 0);
    clock_sleep_ms(50); /* a writer that was left would write some 2 MiB */
    again = read_raw(m, 0);
    assert_memory_equal(first, again, BIG);
    free(first);
    free(again);
    bench_done(&bench);
}

/* Base from a view, deltas from younger ones while the guest writes, the last one from the machine
 * that is off: the copy must be the raw file, to the byte. */
static void
base_and_deltas_give_the_disk_at_power_off(void **state)
{
    struct bench bench = bench_make(20000, false);
    struct lab_machine *m = bench.machine;
    struct err *err = NULL;

    assert_ok(m->ops->freeze(m, 1, &err), &err);
    for (unsigned disk = 0; disk < ARRAY_SIZE(DISKS); disk++) {
        uint8_t *copy = read_all(m, disk, disk * 10 + 1), *raw;

        for (uint64_t view = disk * 10 + 2; view <= disk * 10 + 5; view++) {
            bool is_last = view == disk * 10 + 5 && disk == ARRAY_SIZE(DISKS) - 1;
            struct extents told = {0};
            uint8_t *now;

            clock_sleep_ms(10); /* lets the guest write; whether it does is not what is tested */
            if (is_last)
                assert_ok(m->ops->power_off(m, &err), &err);
            assert_ok(m->ops->freeze(m, view, &err), &err);
            assert_ok(m->ops->changed(m, disk, view - 1, is_last ? 0 : view, &told, &err), &err);
            now = read_all(m, disk, is_last ? 0 : view);
            for (size_t i = 0; i < told.count; i++)
                memcpy(copy + told.items[i].offset, now + told.items[i].offset,
                       told.items[i].length);
            assert_memory_equal(copy, now, DISKS[disk].capacity);
            assert_ok(m->ops->thaw(m, view - 1, &err), &err);
            vec_done(&told);
            free(now);
        }
        if (disk == ARRAY_SIZE(DISKS) - 1) {
            raw = read_raw(m, disk);
            assert_memory_equal(copy, raw, DISKS[disk].capacity);
            free(raw);
        } else {
            assert_ok(m->ops->freeze(m, (disk + 1) * 10 + 1, &err), &err);
        }
        free(copy);
    }
    bench_done(&bench);
}

static void
same_seed_gives_the_same_disk(void **state)
{
    struct bench a = bench_make(0, true), b = bench_make(0, true);
    uint8_t *one = read_all(a.machine, 0, 0), *other = read_all(b.machine, 0, 0);
    uint8_t *third = read_all(a.machine, 1, 0);

    assert_memory_equal(one, other, BIG);
    assert_memory_not_equal(one, third, ODD);
    free(one);
    free(other);
    free(third);
    bench_done(&a);
    bench_done(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view_stays_as_it_was_while_the_guest_writes),
        cmocka_unit_test(changed_never_misses_a_difference_between_views),
        cmocka_unit_test(changed_of_a_view_ignores_what_came_after_it),
        cmocka_unit_test(changed_says_too_much_on_purpose),
        cmocka_unit_test(unknown_view_is_a_lost_history),
        cmocka_unit_test(thawed_view_cannot_be_read),
        cmocka_unit_test(older_view_survives_the_end_of_a_younger_one),
        cmocka_unit_test(allocated_holds_every_byte_that_is_not_zero),
        cmocka_unit_test(write_of_zeroes_reads_as_zeroes_and_is_told_as_changed),
        cmocka_unit_test(access_beyond_the_end_is_refused),
        cmocka_unit_test(guest_goes_off_some_time_after_it_was_asked),
        cmocka_unit_test(nothing_writes_after_power_off),
        cmocka_unit_test(base_and_deltas_give_the_disk_at_power_off),
        cmocka_unit_test(same_seed_gives_the_same_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
