/* What a crash may leave.  A scenario is recorded, begin and end of every write, truncation and sync;
 * then files are built that hold every operation that was durable at some moment, and of those under
 * way or not yet synced all, none, or a random part torn at 4 KiB.  Of each of them qemu-img must say
 * "clean" or "leaks", every sector a finished checkpoint covered must be there, and resuming works.
 *
 * The negative controls replay the same log as if a barrier had not been there, and must see trouble:
 * else this test could not fail. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest.h"

#define CLUSTER_BITS 12
#define SPAN         (8 * MIB) /* of 4 KiB clusters */

static uint64_t state_count = 60, first_seed = 1;

/* Of what is not durable.  The last one is the worst that can happen to a new span. */
enum survivors { ALL, NONE, SOME, ALL_BUT_REFBLOCKS, SURVIVORS_COUNT };

/* Which syncs a replay believes in. */
enum barriers {
    EVERY_BARRIER,
    NO_SPAN_BARRIERS,       /* as if a new span were used before its refcount block is durable */
    NO_CHECKPOINT_BARRIERS, /* as if a checkpoint were published without its sync */
};

struct crash {
    struct guest guest;
    struct io_fault fault;
    char *path; /* of the state */
    unsigned checked, unborn, clean, leaks, corrupt, lost;
};

static void
must(int result, struct err *err, const char *what)
{
    if (result < 0)
        fail_msg("%s: %s", what, err_message(err));
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        struct err *error_ = NULL;                                                                 \
        struct err **err = &error_;                                                                \
        int result_ = (call);                                                                      \
        must(result_, error_, #call);                                                              \
    } while (0)

/* A copy over several spans with checkpoints, a stop without one, a resume, deltas with zeroes, and
 * the finish. */
static void
record_scenario(struct crash *crash, uint64_t seed)
{
    struct guest *guest = &crash->guest;

    memset(crash, 0, sizeof(*crash));
    guest_init(guest, 20 * MIB + 512, CLUSTER_BITS, seed);
    crash->path = support_path("state.qcow2");
    crash->fault.is_recording = true;
    guest->fault = &crash->fault;
    MUST(guest_create(guest, err));
    for (unsigned i = 0; i < 30; i++) {
        MUST(guest_batch(guest, 512 * KIB, err));
        if (i % 8 == 7)
            MUST(guest_checkpoint(guest, err));
    }
    qcow2_closep(&guest->image);
    MUST(guest_resume(guest, err));
    MUST(guest_replay(guest, guest_covered(guest), err));
    MUST(guest_checkpoint(guest, err));
    for (unsigned i = 0; i < 20; i++)
        MUST(guest_batch(guest, 64 * KIB, err));
    MUST(guest_checkpoint(guest, err));
    MUST(qcow2_finish(&guest->image, err));
    assert_int_equal(support_qemu_check(guest->path), 0);
    assert_true(guest_holds(guest, guest->path, guest->ops.count, 0));
}

static void
crash_done(struct crash *crash)
{
    unlink(crash->path);
    free(crash->path);
    io_fault_clear_records(&crash->fault);
    guest_done(&crash->guest);
}

static const struct io_record *
end_of(const struct io_records *records, size_t begin, size_t limit)
{
    for (size_t i = begin + 1; i < limit; i++)
        if (records->items[i].is_end && records->items[i].id == records->items[begin].id)
            return &records->items[i];
    return NULL;
}

/* Whether the sync that begins at record @at is one that this replay leaves out.  A sync of a span is
 * queued from the completion of the write it is for: that end stands right before it. */
static bool
is_left_out(const struct io_records *records, size_t at, enum barriers barriers)
{
    bool is_of_span = false;

    for (size_t i = 0; at && records->items[at - 1].is_end && i < at; i++) {
        const struct io_record *r = &records->items[i];

        /* The refcount table is cluster 1; a refcount block stands at the start of its span. */
        if (!r->is_end && r->kind == IO_WRITE && r->id == records->items[at - 1].id)
            is_of_span = r->offset == 4096 || r->offset % SPAN == 0;
    }
    return barriers == NO_SPAN_BARRIERS         ? is_of_span
           : barriers == NO_CHECKPOINT_BARRIERS ? !is_of_span
                                                : false;
}

/* For each record before @limit that begins an operation: whether a power cut then would keep it. */
static bool *
find_durable(const struct io_records *records, size_t limit, enum barriers barriers)
{
    bool *is_durable = xcalloc(limit + 1, sizeof(*is_durable));
    size_t synced = 0; /* what ended before here is durable */

    for (size_t i = 0; i < limit; i++) {
        const struct io_record *r = &records->items[i], *end;

        if (r->is_end || r->kind != IO_DATASYNC || is_left_out(records, i, barriers))
            continue;
        end = end_of(records, i, limit);
        if (end && end->result == 0)
            synced = i;
    }
    for (size_t i = 0; i < synced; i++) {
        const struct io_record *r = &records->items[i];

        if (!r->is_end && r->kind != IO_DATASYNC)
            is_durable[i] = end_of(records, i, synced) != NULL;
    }
    return is_durable;
}

static void
apply_record(int fd, const struct io_record *r, bool is_torn, uint64_t *random)
{
    if (r->kind == IO_TRUNCATE) {
        if (!is_torn || support_random(random) & 1)
            assert_int_equal(ftruncate(fd, (off_t)r->offset), 0);
        return;
    }
    for (uint32_t at = 0; at < r->length; at += 4096) {
        uint32_t piece = MIN(r->length - at, 4096U);

        if (is_torn && support_random(random) & 1)
            continue;
        assert_int_equal(pwrite(fd, r->data + at, piece, (off_t)(r->offset + at)), piece);
    }
}

static void
build_state(const struct crash *crash, size_t limit, enum survivors survivors,
            enum barriers barriers, uint64_t *random)
{
    const struct io_records *records = &crash->fault.records;
    CLEANUP(close_fdp)
    int fd = open(crash->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool *is_durable = find_durable(records, limit, barriers);

    assert_true(fd >= 0);
    for (size_t i = 0; i < limit; i++) {
        const struct io_record *r = &records->items[i];

        if (r->is_end || r->kind == IO_DATASYNC)
            continue;
        if (is_durable[i] || survivors == ALL)
            apply_record(fd, r, false, random);
        else if (survivors == SOME)
            apply_record(fd, r, true, random);
        else if (survivors == ALL_BUT_REFBLOCKS && (r->kind != IO_WRITE || r->offset % SPAN))
            apply_record(fd, r, false, random);
    }
    free(is_durable);
}

static size_t
covered_at(const struct guest *guest, size_t record)
{
    size_t covered = 0;

    for (size_t i = 0; i < guest->checkpoints.count; i++)
        if (guest->checkpoints.items[i].record <= record)
            covered = guest->checkpoints.items[i].op_count;
    return covered;
}

static void
check_state(struct crash *crash, size_t limit)
{
    size_t covered = covered_at(&crash->guest, limit);
    int status = support_qemu_check(crash->path);

    crash->checked++;
    if (status == 0)
        crash->clean++;
    else if (status == 3)
        crash->leaks++;
    else if (status == 1 && crash->guest.ops.items[0].record >= limit)
        crash->unborn++; /* not yet under its own name: create had not returned */
    else
        crash->corrupt++;
    if ((status == 0 || status == 3) && !guest_holds(&crash->guest, crash->path, covered, limit))
        crash->lost++;
}

/* Goes on from the state as a migration would, to the end. */
static void
resume_state(struct crash *crash, size_t limit)
{
    struct guest *guest = &crash->guest;
    char *own_path = guest->path;
    struct io_fault *fault = guest->fault;

    if (guest->ops.items[0].record >= limit)
        return;
    guest->path = crash->path;
    guest->fault = NULL;
    MUST(guest_resume(guest, err));
    MUST(guest_replay(guest, covered_at(guest, limit), err));
    MUST(qcow2_finish(&guest->image, err));
    assert_int_equal(support_qemu_check(crash->path), 0);
    assert_true(guest_holds(guest, crash->path, guest->ops.count, 0));
    guest->path = own_path;
    guest->fault = fault;
}

static void
replay(struct crash *crash, uint64_t states, uint64_t seed)
{
    const size_t count = crash->fault.records.count;
    uint64_t random = seed;

    for (uint64_t i = 0; i < states; i++) {
        size_t limit = 1 + (size_t)(support_random(&random) % count);
        enum survivors survivors = (enum survivors)(i % SURVIVORS_COUNT);

        build_state(crash, limit, survivors, EVERY_BARRIER, &random);
        check_state(crash, limit);
        if (i % 10 == 2)
            resume_state(crash, limit);
    }
}

static void
a_crash_leaves_leaks_at_worst_and_every_checkpoint(void **state)
{
    struct crash crash;

    record_scenario(&crash, first_seed);
    replay(&crash, state_count, first_seed);
    print_message("%u states: %u clean, %u leaks, %u unborn, %u corrupt, %u with losses\n",
                  crash.checked, crash.clean, crash.leaks, crash.unborn, crash.corrupt, crash.lost);
    assert_int_equal(crash.corrupt, 0);
    assert_int_equal(crash.lost, 0);
    assert_true(crash.leaks > crash.checked / 2);
    crash_done(&crash);
}

/* Right after each entry of the refcount table was written. */
static void
without_the_barriers_of_a_span_corruption_is_seen(void **state)
{
    const struct io_records *records;
    struct crash crash;
    uint64_t random = 1;
    unsigned corrupt = 0;

    record_scenario(&crash, first_seed);
    records = &crash.fault.records;
    for (size_t i = crash.guest.ops.items[0].record; i < records->count; i++) {
        const struct io_record *r = &records->items[i];

        if (r->is_end || r->kind != IO_WRITE || r->offset != 4096)
            continue;
        build_state(&crash, i + 1, ALL_BUT_REFBLOCKS, EVERY_BARRIER, &random);
        check_state(&crash, i + 1);
        assert_int_equal(crash.corrupt, 0);
        build_state(&crash, i + 1, ALL_BUT_REFBLOCKS, NO_SPAN_BARRIERS, &random);
        check_state(&crash, i + 1);
        /* The sync of a checkpoint may have covered a block by chance: not every one shows it. */
        corrupt += take(crash.corrupt);
    }
    assert_true(corrupt > 0);
    crash_done(&crash);
}

/* At the moment each checkpoint was published, of what was durable alone. */
static void
without_the_sync_of_a_checkpoint_losses_are_seen(void **state)
{
    struct crash crash;
    uint64_t random = 1;

    record_scenario(&crash, first_seed);
    for (size_t i = 0; i < crash.guest.checkpoints.count; i++) {
        size_t limit = crash.guest.checkpoints.items[i].record;

        build_state(&crash, limit, NONE, EVERY_BARRIER, &random);
        check_state(&crash, limit);
        assert_int_equal(crash.lost, 0);
    }
    for (size_t i = 0; i < crash.guest.checkpoints.count && !crash.lost; i++) {
        size_t limit = crash.guest.checkpoints.items[i].record;

        build_state(&crash, limit, NONE, NO_CHECKPOINT_BARRIERS, &random);
        check_state(&crash, limit);
    }
    assert_true(crash.lost > 0);
    crash_done(&crash);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_leaves_leaks_at_worst_and_every_checkpoint),
        cmocka_unit_test(without_the_barriers_of_a_span_corruption_is_seen),
        cmocka_unit_test(without_the_sync_of_a_checkpoint_losses_are_seen),
    };
    int result;

    if (argc > 1)
        state_count = strtoull(argv[1], NULL, 10);
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
