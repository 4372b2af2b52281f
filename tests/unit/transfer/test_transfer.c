#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "pretend.h"
#include "transfer/transfer.h"

#define DISK_SIZE (32 * MIB + 512)

struct fixture {
    struct pretend_source source;
    struct pretend_target target;
    struct disk_pool *pool;
    struct extents plan;
    struct transfer_bitmap done;
    struct transfer_job job;
    struct transfer_progress progress;
    struct err *err;
    volatile int cancel;

    unsigned checkpoints_seen, fail_checkpoint, cancel_at_checkpoint;
    unsigned reports;
    uint64_t planned_reported;
};

static void
fill(uint8_t *bytes, uint64_t length, uint64_t seed)
{
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
        uint64_t value = ((seed + i) * 0x9e3779b97f4a7c15ULL) | 1;

        memcpy(bytes + i, &value, 8);
    }
}

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    pretend_source_init(&f->source, DISK_SIZE);
    pretend_target_init(&f->target, DISK_SIZE, true);
    fill(f->source.bytes, DISK_SIZE, 1);
    f->pool = disk_pool_new(6, NULL);
    transfer_bitmap_init(&f->done, DISK_SIZE);
    vec_push(&f->plan, ((struct extent){0, DISK_SIZE}));
    f->job = (struct transfer_job){.source = &f->source.source,
                                   .target = &f->target.target,
                                   .pool = f->pool,
                                   .plan = &f->plan,
                                   .done = &f->done,
                                   .cancel = &f->cancel,
                                   .opaque = f};
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    pretend_source_done(&f->source);
    pretend_target_done(&f->target);
    disk_pool_free(f->pool);
    transfer_bitmap_done(&f->done);
    vec_done(&f->plan);
    err_free(f->err);
    free(f);
    return 0;
}

static int
run(struct fixture *f)
{
    return transfer_run(&f->job, &f->progress, &f->err);
}

static unsigned
blocks_done(const struct fixture *f)
{
    unsigned count = 0;

    for (uint64_t i = 0; i < f->done.block_count; i++)
        count += transfer_bitmap_get(&f->done, i);
    return count;
}

static void
every_planned_byte_arrives(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
    assert_int_equal(f->progress.planned_bytes, DISK_SIZE);
    assert_int_equal(f->progress.copied_bytes, DISK_SIZE);
    assert_int_equal(f->progress.zeroed_bytes, 0);
    assert_int_equal(f->progress.eta_s, 0);
    assert_int_equal(blocks_done(f), 33);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
only_planned_bytes_are_touched(void **state)
{
    struct fixture *f = *state;
    static const struct extent extents[] = {{512, 512},
                                            {4096, 8192},
                                            {MIB - 512, 1024},
                                            {5 * MIB + 512, 3 * MIB},
                                            {DISK_SIZE - 512, 512}};
    uint8_t *expected = xcalloc(1, DISK_SIZE);

    f->plan.count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(extents); i++) {
        vec_push(&f->plan, extents[i]);
        memcpy(expected + extents[i].offset, f->source.bytes + extents[i].offset,
               extents[i].length);
    }
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->target.bytes, expected, DISK_SIZE);
    assert_int_equal(f->source.read_bytes, extents_total(&f->plan));
    /* Blocks 0, 1, 5 to 8, and the last. */
    assert_int_equal(blocks_done(f), 7);
    free(expected);
}

/* What comes before and after a planned range inside its 4 KiB is read too, once, and no further than the
 * disk goes. */
static void
requests_have_the_alignment_that_the_source_wants(void **state)
{
    struct fixture *f = *state;
    static const struct extent extents[] = {
        {512, 512},                   /* widened to the first 4 KiB */
        {1024, 512},                  /* lies in it already */
        {4096 + 512, 512},            /* touches it */
        {MIB - 512, 1024},            /* two blocks */
        {2 * MIB, 4096},              /* as it should be */
        {3 * MIB + 4096 - 512, 8192}, /* over three of them */
        {DISK_SIZE - 1024, 512},      /* before the tail, */
        {DISK_SIZE - 512, 512},       /* which is no whole 4 KiB */
    };
    static const struct extent wide[] = {{0, 8192},
                                         {MIB - 4096, 8192},
                                         {2 * MIB, 4096},
                                         {3 * MIB, 12288},
                                         {DISK_SIZE - 512 - 4096, 4096 + 512}};
    uint8_t *expected = xcalloc(1, DISK_SIZE);
    uint64_t total = 0;

    f->source.source.alignment = DISK_ALIGNMENT;
    f->job.request_bytes = 5000;
    f->plan.count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(extents); i++)
        vec_push(&f->plan, extents[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(wide); i++) {
        memcpy(expected + wide[i].offset, f->source.bytes + wide[i].offset, wide[i].length);
        total += wide[i].length;
    }
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->target.bytes, expected, DISK_SIZE);
    assert_int_equal(f->source.read_bytes, total);
    assert_int_equal(f->progress.planned_bytes, total);
    assert_int_equal(f->source.misaligned, 0);
    assert_int_equal(blocks_done(f), 6);
    free(expected);
}

static void
requests_obey_every_bound(void **state)
{
    struct fixture *f = *state;

    f->job.max_in_flight = 3;
    f->job.request_bytes = 256 * KIB;
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
    assert_int_equal(f->source.most_in_flight, 3);
    assert_int_equal(f->source.reads, 32 * 4 + 1);
    assert_true(f->target.most_in_flight <= f->target.target.max_in_flight);
}

static void
several_requests_are_in_flight_and_submitted_together(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f), 0);
    assert_int_equal(f->source.most_in_flight, 6); /* the slots of the pool */
    assert_true(f->source.submits < f->source.reads);
}

static void
zero_runs_never_reach_a_new_target(void **state)
{
    struct fixture *f = *state;

    memset(f->source.bytes, 0, 2 * MIB);                     /* whole requests */
    memset(f->source.bytes + 4 * MIB + 65536, 0, 128 * KIB); /* within one */
    memset(f->source.bytes + 6 * MIB + 512, 0, 65536);       /* covers no whole piece */
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
    assert_int_equal(f->progress.zeroed_bytes, 2 * MIB + 128 * KIB);
    assert_int_equal(f->target.written_bytes, DISK_SIZE - f->progress.zeroed_bytes);
    assert_int_equal(f->target.zeroes, 0);
    assert_int_equal(f->target.writes, 33 - 2 + 1);
    assert_int_equal(f->progress.copied_bytes + f->progress.zeroed_bytes, DISK_SIZE);
}

static void
zero_runs_become_zero_ranges_of_an_existing_target(void **state)
{
    struct fixture *f = *state;

    f->target.target.is_new = false;
    memset(f->target.bytes, 0xaa, DISK_SIZE);
    memset(f->source.bytes, 0, 2 * MIB);
    memset(f->source.bytes + 4 * MIB + 65536, 0, 128 * KIB);
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
    assert_int_equal(f->target.zeroed_bytes, 2 * MIB + 128 * KIB);
}

static void
a_failing_read_stops_it_and_the_rest_is_drained(void **state)
{
    struct fixture *f = *state;

    f->source.fail_at = 9;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_SOURCE_READ);
    assert_non_null(strstr(err_message(f->err), "read at 8388608 failed"));
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
    assert_int_equal(f->source.queue.count, 0);
    assert_int_equal(f->target.queue.count, 0);
    assert_true(f->source.reads < 20);
    /* What had arrived is kept by a last checkpoint; the block that failed is not. */
    assert_int_equal(f->target.checkpoints, 1);
    assert_false(transfer_bitmap_get(&f->done, 8));
    assert_int_equal(blocks_done(f), f->source.reads - 1);
}

static void
a_refused_read_stops_it_too(void **state)
{
    struct fixture *f = *state;

    f->source.refuse_at = 3;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_SOURCE_READ);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
a_short_read_is_a_failure(void **state)
{
    struct fixture *f = *state;

    f->source.short_at = 5;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_SHORT_TRANSFER);
    assert_false(transfer_bitmap_get(&f->done, 4));
}

static void
a_failing_write_stops_it_without_a_checkpoint(void **state)
{
    struct fixture *f = *state;

    f->target.fail_at = 4;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_NO_SPACE);
    assert_int_equal(f->target.checkpoints, 0);
    assert_int_equal(blocks_done(f), 0);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
a_failing_zero_range_stops_it(void **state)
{
    struct fixture *f = *state;

    f->target.target.is_new = false;
    f->target.zero_fail_at = 1;
    memset(f->source.bytes + 3 * MIB, 0, MIB);
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_TARGET_WRITE);
    assert_false(transfer_bitmap_get(&f->done, 3));
}

static void
a_broken_queue_ends_it_and_late_completions_do_no_harm(void **state)
{
    struct fixture *f = *state;

    f->source.break_at = 4;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_VDDK_CRASH);
    assert_true(f->source.queue.count > 0); /* given back by close, in teardown */
    assert_int_equal(f->target.queue.count, 0);
}

static void
a_failing_checkpoint_is_a_failure(void **state)
{
    struct fixture *f = *state;

    f->target.checkpoint_fail_at = 1;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_TARGET_WRITE);
    assert_int_equal(blocks_done(f), 0);
}

static int
see_checkpoint(void *opaque, const struct transfer_progress *progress, struct err **err)
{
    struct fixture *f = opaque;

    f->checkpoints_seen++;
    /* A bit is set only for what had been written when the checkpoint began: in this disk without
     * zeroes every block but the last is one MiB. */
    assert_true(blocks_done(f) * MIB <= f->target.written_at_checkpoint + MIB - 512);
    for (uint64_t block = 0; block < 32; block++)
        if (transfer_bitmap_get(&f->done, block))
            assert_memory_equal(f->target.bytes + block * MIB, f->source.bytes + block * MIB, MIB);
    if (f->checkpoints_seen == f->fail_checkpoint)
        return err_set(err, E_STORE, "no room in the store");
    if (f->checkpoints_seen == f->cancel_at_checkpoint)
        f->cancel = 1;
    return 0;
}

static void
blocks_are_done_only_after_a_checkpoint_that_began_later(void **state)
{
    struct fixture *f = *state;

    f->job.on_checkpoint = see_checkpoint;
    f->job.checkpoint_bytes = 4 * MIB;
    f->job.request_bytes = 256 * KIB;
    assert_int_equal(run(f), 0);
    assert_true(f->checkpoints_seen >= 4);
    assert_int_equal(f->checkpoints_seen, f->target.checkpoints);
    assert_int_equal(blocks_done(f), 33);
}

static void
a_checkpoint_that_cannot_be_published_stops_it(void **state)
{
    struct fixture *f = *state;

    f->job.on_checkpoint = see_checkpoint;
    f->job.checkpoint_bytes = 4 * MIB;
    f->fail_checkpoint = 2;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_STORE);
    assert_int_equal(f->checkpoints_seen, 2);
}

static void
cancelled_is_failed_after_a_last_checkpoint(void **state)
{
    struct fixture *f = *state;

    f->job.on_checkpoint = see_checkpoint;
    f->job.checkpoint_bytes = 4 * MIB;
    f->cancel_at_checkpoint = 1;
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_CANCELLED);
    assert_true(f->checkpoints_seen >= 2);
    assert_int_equal(blocks_done(f) * MIB, f->progress.copied_bytes);
    assert_true(f->progress.copied_bytes < DISK_SIZE);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
a_resumed_transfer_reads_only_what_is_left(void **state)
{
    struct fixture *f = *state;
    uint64_t first_read;

    f->job.on_checkpoint = see_checkpoint;
    f->job.checkpoint_bytes = 4 * MIB;
    f->cancel_at_checkpoint = 2;
    assert_int_equal(run(f), -1);
    err_freep(&f->err);
    first_read = f->source.read_bytes;
    f->cancel = 0;
    f->job.on_checkpoint = NULL;
    f->target.target.is_new = false;
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
    assert_int_equal(f->source.read_bytes, DISK_SIZE);
    assert_int_equal(f->progress.skipped_bytes, first_read);
    assert_int_equal(f->progress.planned_bytes, DISK_SIZE - first_read);
    assert_int_equal(blocks_done(f), 33);
}

static void
nothing_planned_is_a_success_with_a_checkpoint(void **state)
{
    struct fixture *f = *state;

    f->plan.count = 0;
    assert_int_equal(run(f), 0);
    assert_int_equal(f->target.checkpoints, 1);
    assert_int_equal(f->progress.planned_bytes, 0);
}

static void
a_plan_that_makes_no_sense_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct extent bad[] = {{0, 0},
                                        {1, 512},
                                        {0, 100},
                                        {DISK_SIZE, 512},
                                        {0, DISK_SIZE + 512},
                                        {UINT64_MAX - 511, 512}};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        f->plan.items[0] = bad[i];
        assert_int_equal(run(f), -1);
        assert_int_equal(err_code(f->err), E_PLAN);
        err_freep(&f->err);
    }
    f->plan.items[0] = (struct extent){4096, 4096};
    vec_push(&f->plan, ((struct extent){0, 4096}));
    assert_int_equal(run(f), -1);
    assert_int_equal(err_code(f->err), E_PLAN);
    assert_int_equal(f->source.reads, 0);
}

static void
see_progress(void *opaque, const struct transfer_progress *progress)
{
    struct fixture *f = opaque;

    f->reports++;
    f->planned_reported = progress->planned_bytes;
    assert_true(progress->copied_bytes + progress->zeroed_bytes <= progress->planned_bytes);
}

static void
progress_is_reported_at_the_end_at_least(void **state)
{
    struct fixture *f = *state;

    f->job.on_progress = see_progress;
    assert_int_equal(run(f), 0);
    assert_true(f->reports >= 1);
    assert_int_equal(f->planned_reported, DISK_SIZE);
}

static void
clearing_extents_clears_every_block_they_touch(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};

    for (uint64_t i = 0; i < f->done.block_count; i++)
        transfer_bitmap_set(&f->done, i, true);
    vec_push(&extents, ((struct extent){2 * MIB - 512, 1024}));
    vec_push(&extents, ((struct extent){10 * MIB, MIB}));
    vec_push(&extents, ((struct extent){32 * MIB, 512}));
    transfer_bitmap_clear_extents(&f->done, &extents);
    for (uint64_t i = 0; i < f->done.block_count; i++)
        assert_int_equal(transfer_bitmap_get(&f->done, i), i != 1 && i != 2 && i != 10 && i != 32);
    assert_int_equal(transfer_bitmap_bytes(&f->done), 5);
    vec_done(&extents);
}

/* ---- pace ---- */

static void
a_paced_transfer_moves_everything(void **state)
{
    struct fixture *f = *state;
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct transfer_pace *paces[] = {pace, NULL};

    transfer_pace_set(pace, 256 * MIB, clock_monotonic_ms());
    f->job.paces = paces;
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
}

static void
cancel_at_the_fourth_report(void *opaque, const struct transfer_progress *progress)
{
    struct fixture *f = opaque;

    f->cancel = ++f->reports == 4;
}

static void
a_slow_pace_holds_reads_back_sleeping_and_can_be_cancelled(void **state)
{
    struct fixture *f = *state;
    clock_t used;
    CLEANUP(transfer_pace_freep) struct transfer_pace *free_one = transfer_pace_new();
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct transfer_pace *paces[] = {free_one, pace, NULL};

    transfer_pace_set(pace, 1, clock_monotonic_ms());
    f->job.paces = paces;
    f->job.on_progress = cancel_at_the_fourth_report;
    used = clock();
    assert_int_equal(run(f), -1);
    /* CPU time, of the second that this takes: it slept. */
    assert_true(clock() - used < CLOCKS_PER_SEC / 4);
    assert_int_equal(f->source.reads, 1); /* its debt is not paid for days */
}

static void
an_urgent_transfer_is_charged_and_does_not_wait(void **state)
{
    struct fixture *f = *state;
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct transfer_pace *paces[] = {pace, NULL};

    transfer_pace_set(pace, 1, clock_monotonic_ms());
    f->job.paces = paces;
    f->job.is_urgent = true;
    assert_int_equal(run(f), 0);
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
    assert_true(transfer_pace_ask(paces, clock_monotonic_ms()) > 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(every_planned_byte_arrives),
        T(only_planned_bytes_are_touched),
        T(requests_have_the_alignment_that_the_source_wants),
        T(requests_obey_every_bound),
        T(several_requests_are_in_flight_and_submitted_together),
        T(zero_runs_never_reach_a_new_target),
        T(zero_runs_become_zero_ranges_of_an_existing_target),
        T(a_failing_read_stops_it_and_the_rest_is_drained),
        T(a_refused_read_stops_it_too),
        T(a_short_read_is_a_failure),
        T(a_failing_write_stops_it_without_a_checkpoint),
        T(a_failing_zero_range_stops_it),
        T(a_broken_queue_ends_it_and_late_completions_do_no_harm),
        T(a_failing_checkpoint_is_a_failure),
        T(blocks_are_done_only_after_a_checkpoint_that_began_later),
        T(a_checkpoint_that_cannot_be_published_stops_it),
        T(cancelled_is_failed_after_a_last_checkpoint),
        T(a_resumed_transfer_reads_only_what_is_left),
        T(nothing_planned_is_a_success_with_a_checkpoint),
        T(a_plan_that_makes_no_sense_is_refused),
        T(progress_is_reported_at_the_end_at_least),
        T(clearing_extents_clears_every_block_they_touch),
        T(a_paced_transfer_moves_everything),
        T(a_slow_pace_holds_reads_back_sleeping_and_can_be_cancelled),
        T(an_urgent_transfer_is_charged_and_does_not_wait),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
