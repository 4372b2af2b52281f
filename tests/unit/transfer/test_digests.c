/* Digests: what they are, when they are trusted, and what a comparison and a verification do with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/util.h"
#include "pretend.h"
#include "transfer/digests.h"
#include "transfer/transfer.h"

#define BLOCKS    12U
#define TAIL      (5 * 65536 + 512)
#define DISK_SIZE (BLOCKS * MIB + TAIL)

struct fixture {
    char path[64];
    struct pretend_source source;
    struct pretend_target target;
    struct disk_pool *pool;
    struct extents plan;
    struct transfer_bitmap done;
    struct transfer_digests *digests;
    struct transfer_job job;
    struct transfer_progress progress;
    struct err *err;
    volatile int cancel;
    unsigned cancel_at_checkpoint;
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
on_checkpoint(void *opaque, const struct transfer_progress *progress, struct err **err)
{
    struct fixture *f = opaque;

    if (f->cancel_at_checkpoint && --f->cancel_at_checkpoint == 0)
        f->cancel = 1;
    return 0;
}

static void
open_digests(struct fixture *f, const char *owner, bool is_new)
{
    transfer_digests_closep(&f->digests);
    assert_int_equal(transfer_digests_open(f->path, owner, is_new, &f->digests, &f->err), 0);
    f->job.digests = f->digests;
}

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    snprintf(f->path, sizeof(f->path), "digests-%d", (int)getpid());
    pretend_source_init(&f->source, DISK_SIZE);
    pretend_target_init(&f->target, DISK_SIZE, true);
    fill(f->source.bytes, DISK_SIZE, 1);
    memset(f->source.bytes + 2 * MIB, 0, MIB); /* a block of zeroes, and one with some */
    memset(f->source.bytes + 4 * MIB + 65536, 0, 3 * 65536);
    f->pool = disk_pool_new(8, NULL);
    transfer_bitmap_init(&f->done, DISK_SIZE);
    vec_push(&f->plan, ((struct extent){0, DISK_SIZE}));
    f->job = (struct transfer_job){.source = &f->source.source,
                                   .target = &f->target.target,
                                   .pool = f->pool,
                                   .plan = &f->plan,
                                   .on_checkpoint = on_checkpoint,
                                   .cancel = &f->cancel,
                                   .opaque = f};
    open_digests(f, "me", true);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    transfer_digests_closep(&f->digests);
    (void)unlink(f->path);
    pretend_source_done(&f->source);
    pretend_target_done(&f->target);
    disk_pool_free(f->pool);
    transfer_bitmap_done(&f->done);
    vec_done(&f->plan);
    err_free(f->err);
    free(f);
    return 0;
}

static void
run(struct fixture *f)
{
    if (transfer_run(&f->job, &f->progress, &f->err) < 0)
        fail_msg("%s", err_message(f->err));
    assert_memory_equal(f->source.bytes, f->target.bytes, DISK_SIZE);
}

/* Copies once; from then on the target is as one that is opened again. */
static void
copy(struct fixture *f)
{
    run(f);
    f->target.target.is_new = false;
    f->target.writes = f->target.zeroes = f->source.reads = 0;
}

static void
one_extent(struct fixture *f, uint64_t offset, uint64_t length)
{
    f->plan.count = 0;
    vec_push(&f->plan, ((struct extent){offset, length}));
}

static bool
is_known(struct fixture *f, uint64_t block)
{
    struct transfer_digest digest;

    assert_int_equal(digests_get(f->digests, block, &digest, NULL), 0);
    return digest_is_known(&digest);
}

/* By the definition in transfer.h, made with the library alone. */
static void
expected_digest(const uint8_t *bytes, size_t length, uint8_t ret[16])
{
    XXH128_canonical_t leaves[16];
    unsigned count = 0;

    for (size_t at = 0; at < length; at += 65536)
        XXH128_canonicalFromHash(&leaves[count++],
                                 XXH3_128bits(bytes + at, MIN(65536, length - at)));
    XXH128_canonicalFromHash((XXH128_canonical_t *)ret,
                             XXH3_128bits(leaves, count * sizeof(leaves[0])));
}

static void
every_block_copied_leaves_its_digest(void **state)
{
    struct fixture *f = *state;

    f->job.request_bytes = 192 * KIB; /* pieces that share no boundary with a block's sixteenths */
    copy(f);
    for (unsigned i = 0; i <= BLOCKS; i++) {
        struct transfer_digest digest;
        uint8_t expected[16];

        expected_digest(f->source.bytes + i * MIB, i == BLOCKS ? TAIL : MIB, expected);
        assert_int_equal(digests_get(f->digests, i, &digest, NULL), 0);
        assert_memory_equal(digest.bytes, expected, 16);
    }
}

static void
a_piece_cut_within_a_leaf_leaves_none(void **state)
{
    struct fixture *f = *state;

    f->job.request_bytes = 96 * KIB;
    copy(f);
    assert_false(is_known(f, 0));
}

static void
what_the_target_has_is_not_written_again(void **state)
{
    struct fixture *f = *state;

    copy(f);
    f->source.bytes[7 * MIB + 99] ^= 1;
    f->source.bytes[DISK_SIZE - 1] ^= 1;
    run(f);
    assert_int_equal(f->progress.same_bytes, (BLOCKS - 1) * MIB);
    assert_int_equal(f->progress.copied_bytes, MIB + TAIL);
    assert_int_equal(f->target.writes, 2);
    run(f);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE);
}

static void
pieces_of_a_block_wait_for_each_other(void **state)
{
    struct fixture *f = *state;

    f->job.request_bytes = 256 * KIB;
    copy(f);
    f->source.bytes[MIB - 1] ^= 1;
    run(f);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE - MIB);
    assert_int_equal(f->progress.copied_bytes, MIB);
}

/* Every read counts as slow, so that requests shrink as far as they may while it runs. */
static void
requests_that_become_smaller_leave_the_same_digests(void **state)
{
    struct fixture *f = *state;
    struct transfer_tuning slow = {
        .slow_latency_ms = 1, .slow_mib_per_s = UINT32_MAX, .fast_mib_per_s = UINT32_MAX};

    copy(f); /* in whole blocks */
    f->job.tuning = &slow;
    f->job.max_in_flight = 1;
    run(f);
    assert_in_range(f->source.reads, 24, 4 * (BLOCKS + 1));
    assert_int_equal(f->target.writes, 0);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE);
    memset(f->source.bytes + 11 * MIB + 512, 0x77, 512);
    run(f);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE - MIB);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
blocks_that_became_zero_are_zeroed(void **state)
{
    struct fixture *f = *state;

    copy(f);
    memset(f->source.bytes + 6 * MIB, 0, MIB);
    run(f);
    assert_int_equal(f->progress.zeroed_bytes, MIB);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE - MIB);
}

/* A change within a block leaves no digest: the next comparison writes it. */
static void
a_block_written_in_part_has_no_digest(void **state)
{
    struct fixture *f = *state;

    copy(f);
    one_extent(f, 3 * MIB + 4096, 8192);
    f->source.bytes[3 * MIB + 5000] ^= 1;
    run(f);
    assert_false(is_known(f, 3));
    assert_true(is_known(f, 4));
    one_extent(f, 0, DISK_SIZE);
    run(f);
    assert_int_equal(f->progress.copied_bytes, MIB);
    assert_true(is_known(f, 3));
}

static void
what_is_not_planned_of_a_new_target_counts_as_zero(void **state)
{
    struct fixture *f = *state;

    memset(f->source.bytes + MIB + 65536, 0, MIB - 65536);
    f->plan.count = 0;
    vec_push(&f->plan, ((struct extent){0, MIB + 65536}));
    vec_push(&f->plan, ((struct extent){2 * MIB, DISK_SIZE - 2 * MIB}));
    f->job.unplanned_is_zero = true;
    copy(f);
    one_extent(f, 0, DISK_SIZE);
    run(f);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE);
}

static void
half_a_leaf_is_no_leaf_even_where_the_rest_is_zero(void **state)
{
    struct fixture *f = *state;

    memset(f->source.bytes + MIB + 4096, 0, MIB - 4096);
    f->plan.count = 0;
    vec_push(&f->plan, ((struct extent){0, MIB + 4096}));
    vec_push(&f->plan, ((struct extent){2 * MIB, DISK_SIZE - 2 * MIB}));
    f->job.unplanned_is_zero = true;
    copy(f);
    assert_false(is_known(f, 1));
}

static void
digests_survive_a_clean_end(void **state)
{
    struct fixture *f = *state;

    copy(f);
    open_digests(f, "me", false);
    for (unsigned i = 0; i <= BLOCKS; i++)
        assert_true(is_known(f, i));
}

/* What a kill leaves behind: a copy of the file from the middle of a transfer. */
static void
a_crash_forgets_what_was_in_doubt(void **state)
{
    struct fixture *f = *state;
    struct transfer_digest digest = {{1}};
    char copied[80], command[200];

    copy(f);
    assert_int_equal(digests_cover(f->digests, 4, 7, &f->err), 0);
    assert_int_equal(digests_put(f->digests, 4, &digest, &f->err), 0);
    snprintf(copied, sizeof(copied), "%s.crashed", f->path);
    snprintf(command, sizeof(command), "cp %s %s", f->path, copied);
    assert_int_equal(system(command), 0);
    transfer_digests_closep(&f->digests);
    assert_int_equal(rename(copied, f->path), 0);
    open_digests(f, "me", false);
    for (unsigned i = 0; i <= BLOCKS; i++)
        assert_int_equal(is_known(f, i), i < 4 || i >= 7);
}

static void
what_was_flushed_is_out_of_doubt(void **state)
{
    struct fixture *f = *state;
    struct transfer_digest digest = {{1}};

    assert_int_equal(digests_cover(f->digests, 0, 4, &f->err), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(digests_put(f->digests, i, &digest, &f->err), 0);
    assert_int_equal(digests_flush(f->digests, 2, &f->err), 0);
    assert_int_equal(digests_cover(f->digests, 9, 10, &f->err), 0); /* writes the header again */
    open_digests(f, "me", false);
    assert_true(is_known(f, 0));
    assert_true(is_known(f, 1));
    assert_false(is_known(f, 2));
}

static void
another_owner_and_a_new_target_begin_anew(void **state)
{
    struct fixture *f = *state;

    copy(f);
    open_digests(f, "somebody else", false);
    assert_false(is_known(f, 0));
    open_digests(f, "me", false);
    assert_false(is_known(f, 0));
    one_extent(f, 0, DISK_SIZE);
    run(f);
    assert_true(is_known(f, 0));
    open_digests(f, "me", true);
    assert_false(is_known(f, 0));
}

static void
a_damaged_header_knows_nothing(void **state)
{
    struct fixture *f = *state;
    FILE *file;

    copy(f);
    transfer_digests_closep(&f->digests);
    file = fopen(f->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 76, SEEK_SET), 0);
    assert_int_equal(fputc('x', file), 'x');
    assert_int_equal(fclose(file), 0);
    open_digests(f, "me", false);
    assert_false(is_known(f, 0));
}

/* ---- interrupted comparisons ------------------------------------------------------------------ */

static void
a_comparison_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;

    copy(f);
    f->job.done = &f->done;
    f->job.checkpoint_bytes = 3 * MIB;
    f->cancel_at_checkpoint = 1;
    assert_int_equal(transfer_run(&f->job, &f->progress, &f->err), -1);
    assert_int_equal(err_code(f->err), E_CANCELLED);
    err_freep(&f->err);
    f->cancel = 0;
    f->source.reads = 0;
    run(f);
    assert_true(f->progress.skipped_bytes >= 3 * MIB);
    assert_true(f->source.reads <= BLOCKS - 2);
}

static void
a_failing_read_leaves_no_slot_behind(void **state)
{
    struct fixture *f = *state;

    f->job.request_bytes = 256 * KIB;
    copy(f);
    for (unsigned n = 1; n < 60; n += 3) {
        f->source.fail_at = f->source.reads + n % 50 + 1;
        assert_int_equal(transfer_run(&f->job, &f->progress, &f->err), -1);
        assert_int_equal(err_code(f->err), E_SOURCE_READ);
        err_freep(&f->err);
        assert_int_equal(f->pool->free_count, f->pool->slot_count);
    }
    f->source.fail_at = 0;
    run(f);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE);
}

static void
a_cancel_in_mid_block_leaves_no_slot_behind(void **state)
{
    struct fixture *f = *state;

    f->job.request_bytes = 256 * KIB;
    copy(f);
    f->job.checkpoint_bytes = MIB;
    f->cancel_at_checkpoint = 2;
    assert_int_equal(transfer_run(&f->job, &f->progress, &f->err), -1);
    assert_int_equal(err_code(f->err), E_CANCELLED);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

/* ---- verification ----------------------------------------------------------------------------- */

static void
verify(struct fixture *f, enum transfer_verify how)
{
    f->job.verify = how;
    f->job.done = &f->done;
    memset(f->done.bits, 0, transfer_bitmap_bytes(&f->done));
    f->target.writes = f->target.zeroes = f->source.reads = 0;
    run(f);
}

static void
a_good_target_is_verified_without_the_source(void **state)
{
    struct fixture *f = *state;

    copy(f);
    verify(f, TRANSFER_VERIFY_TARGET);
    assert_int_equal(f->source.reads, 0);
    assert_int_equal(f->target.writes, 0);
    assert_int_equal(f->progress.same_bytes, DISK_SIZE);
    assert_int_equal(f->progress.mismatched_blocks, 0);
    assert_true(transfer_bitmap_get(&f->done, 5));
}

static void
a_bad_block_is_found_repaired_and_counted(void **state)
{
    struct fixture *f = *state;

    copy(f);
    f->target.bytes[5 * MIB + 7] ^= 0x80;
    f->target.bytes[2 * MIB] = 1; /* where zeroes should be */
    verify(f, TRANSFER_VERIFY_TARGET);
    assert_int_equal(f->source.reads, 2);
    assert_int_equal(f->progress.mismatched_blocks, 2);
    assert_int_equal(f->progress.copied_bytes, MIB);
    assert_int_equal(f->progress.zeroed_bytes, MIB);
    assert_false(transfer_bitmap_get(&f->done, 5)); /* looked at again next time */
    verify(f, TRANSFER_VERIFY_TARGET);
    assert_int_equal(f->progress.mismatched_blocks, 0);
    assert_int_equal(f->source.reads, 0);
}

/* The digest agrees with the target, and the source is other: only the full verification sees that. */
static void
a_full_verification_holds_the_target_against_the_source(void **state)
{
    struct fixture *f = *state;

    copy(f);
    f->source.bytes[9 * MIB] ^= 1;
    verify(f, TRANSFER_VERIFY_BOTH);
    assert_int_equal(f->source.reads, BLOCKS + 1);
    assert_int_equal(f->progress.mismatched_blocks, 1);
    f->job.verify = TRANSFER_COPY;
    f->job.done = NULL;
    run(f); /* the digest is that of the repaired block */
    assert_int_equal(f->progress.same_bytes, DISK_SIZE);
}

static void
a_block_without_a_digest_is_held_against_the_source(void **state)
{
    struct fixture *f = *state;

    copy(f);
    one_extent(f, 3 * MIB + 4096, 8192);
    run(f);
    assert_false(is_known(f, 3));
    one_extent(f, 0, DISK_SIZE);
    verify(f, TRANSFER_VERIFY_TARGET);
    assert_int_equal(f->source.reads, 1);
    assert_int_equal(f->progress.mismatched_blocks, 0);
    assert_true(is_known(f, 3));
}

static void
verification_works_without_digests(void **state)
{
    struct fixture *f = *state;

    copy(f);
    f->job.digests = NULL;
    f->target.bytes[MIB] ^= 1;
    verify(f, TRANSFER_VERIFY_TARGET);
    assert_int_equal(f->progress.mismatched_blocks, 1);
    assert_int_equal(f->source.reads, BLOCKS + 1);
}

static void
a_target_that_cannot_be_read_fails_the_verification(void **state)
{
    struct fixture *f = *state;

    copy(f);
    f->target.read_fail_at = f->target.reads + 2;
    f->job.verify = TRANSFER_VERIFY_TARGET;
    assert_int_equal(transfer_run(&f->job, &f->progress, &f->err), -1);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_block_copied_leaves_its_digest),
        TEST(a_piece_cut_within_a_leaf_leaves_none),
        TEST(what_the_target_has_is_not_written_again),
        TEST(pieces_of_a_block_wait_for_each_other),
        TEST(requests_that_become_smaller_leave_the_same_digests),
        TEST(blocks_that_became_zero_are_zeroed),
        TEST(a_block_written_in_part_has_no_digest),
        TEST(what_is_not_planned_of_a_new_target_counts_as_zero),
        TEST(half_a_leaf_is_no_leaf_even_where_the_rest_is_zero),
        TEST(digests_survive_a_clean_end),
        TEST(a_crash_forgets_what_was_in_doubt),
        TEST(what_was_flushed_is_out_of_doubt),
        TEST(another_owner_and_a_new_target_begin_anew),
        TEST(a_damaged_header_knows_nothing),
        TEST(a_comparison_goes_on_where_it_was),
        TEST(a_failing_read_leaves_no_slot_behind),
        TEST(a_cancel_in_mid_block_leaves_no_slot_behind),
        TEST(a_good_target_is_verified_without_the_source),
        TEST(a_bad_block_is_found_repaired_and_counted),
        TEST(a_full_verification_holds_the_target_against_the_source),
        TEST(a_block_without_a_digest_is_held_against_the_source),
        TEST(verification_works_without_digests),
        TEST(a_target_that_cannot_be_read_fails_the_verification),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
