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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest.h"

#define CLUSTER_BITS 12
#define SPAN         (8 * MIB) /* of 4 KiB clusters */
#define SIZE         (20 * MIB + 512)
#define GROWN_SIZE   (26 * MIB + 1024) /* needs more L1 entries and another span */

static uint64_t state_count = 60, first_seed = 1;

/* Of what is not durable.  The last one is the worst that can happen to a new span. */
enum survivors { ALL, NONE, SOME, ALL_BUT_REFBLOCKS, SURVIVORS_COUNT };

/* Which syncs a replay believes in. */
enum barriers {
    EVERY_BARRIER,
    NO_SPAN_BARRIERS,       /* as if a new span were used before its refcount block is durable */
    NO_CHECKPOINT_BARRIERS, /* as if a checkpoint were published without its sync */
    NO_HEADER_BARRIERS,     /* as if a growth were told before its header is durable */
    NO_BARRIER,
};

struct crash {
    struct guest guest;
    struct io_fault fault;
    char *path;         /* of the state */
    char *base;         /* a file the records begin with; NULL: none */
    size_t grown_begin; /* records before the growth began, and when it was done */
    size_t grown_end;
    unsigned checked, unborn, clean, leaks, corrupt, lost, small;
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

static void
grow(struct crash *crash)
{
    struct guest *guest = &crash->guest;

    guest_grow(guest, GROWN_SIZE);
    crash->grown_begin = crash->fault.records.count;
    MUST(guest_resume(guest, err));
    crash->grown_end = crash->fault.records.count;
}

/* A copy over several spans with checkpoints, a stop without one, a resume that finds a larger disk,
 * deltas with zeroes, and the finish. */
static void
record_scenario(struct crash *crash, uint64_t seed)
{
    struct guest *guest = &crash->guest;

    memset(crash, 0, sizeof(*crash));
    guest_init(guest, SIZE, CLUSTER_BITS, seed);
    guest->options.l2_cache_bytes = 1; /* four tables of eleven: they come and go */
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
    grow(crash);
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
    free(crash->base);
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
    bool is_of_span = false, is_of_header = false;

    for (size_t i = 0; at && records->items[at - 1].is_end && i < at; i++) {
        const struct io_record *r = &records->items[i];

        /* The refcount table is cluster 1; a refcount block stands at the start of its span. */
        if (r->is_end || r->kind != IO_WRITE || r->id != records->items[at - 1].id)
            continue;
        is_of_header = r->offset == 0;
        is_of_span = r->offset == 4096 || (r->offset && r->offset % SPAN == 0);
    }
    switch (barriers) {
    case EVERY_BARRIER:
        return false;
    case NO_SPAN_BARRIERS:
        return is_of_span;
    case NO_CHECKPOINT_BARRIERS:
        return !is_of_span;
    case NO_HEADER_BARRIERS:
        return is_of_header;
    case NO_BARRIER:
        break;
    }
    return true;
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
copy_file(const char *from, const char *to)
{
    const char *argv[] = {"cp", "--sparse=always", from, to, NULL};

    assert_int_equal(support_run(argv), 0);
}

static void
build_state(const struct crash *crash, size_t limit, enum survivors survivors,
            enum barriers barriers, uint64_t *random)
{
    const struct io_records *records = &crash->fault.records;
    CLEANUP(close_fdp) int fd = -1;
    bool *is_durable = find_durable(records, limit, barriers);

    if (crash->base)
        copy_file(crash->base, crash->path);
    fd = open(crash->path, O_RDWR | O_CREAT | (crash->base ? 0 : O_TRUNC) | O_CLOEXEC, 0600);
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

/* Whether the image has the size that was told by then; in between it may be either. */
static bool
has_right_size(const struct crash *crash, size_t limit)
{
    struct qcow2_info info;

    if (qcow2_inspect(crash->path, &info, NULL) < 0)
        return false;
    return (info.size == SIZE && limit < crash->grown_end) ||
           (info.size == GROWN_SIZE && limit > crash->grown_begin);
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
    if ((status == 0 || status == 3) && !has_right_size(crash, limit))
        crash->small++;
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

/* The scenario that most tests replay, recorded once; their counts begin anew. */
static struct crash recorded;

static int
setup_recorded(void **state)
{
    recorded.checked = recorded.unborn = recorded.clean = recorded.leaks = 0;
    recorded.corrupt = recorded.lost = recorded.small = 0;
    return 0;
}

static int
record_once(void **state)
{
    record_scenario(&recorded, first_seed);
    unlink(recorded.guest.path);
    return 0;
}

static int
forget_recorded(void **state)
{
    crash_done(&recorded);
    return 0;
}

static void
a_crash_leaves_leaks_at_worst_and_every_checkpoint(void **state)
{
    replay(&recorded, state_count, first_seed);
    print_message("%u states: %u clean, %u leaks, %u unborn, %u corrupt, %u with losses\n",
                  recorded.checked, recorded.clean, recorded.leaks, recorded.unborn,
                  recorded.corrupt, recorded.lost);
    assert_int_equal(recorded.corrupt, 0);
    assert_int_equal(recorded.lost, 0);
    assert_int_equal(recorded.small, 0);
    assert_true(recorded.leaks > recorded.checked / 2);
}

/* Right after each entry of the refcount table was written. */
static void
without_the_barriers_of_a_span_corruption_is_seen(void **state)
{
    const struct io_records *records = &recorded.fault.records;
    uint64_t random = 1;
    unsigned corrupt = 0;

    for (size_t i = recorded.guest.ops.items[0].record; i < records->count; i++) {
        const struct io_record *r = &records->items[i];

        if (r->is_end || r->kind != IO_WRITE || r->offset != 4096)
            continue;
        build_state(&recorded, i + 1, ALL_BUT_REFBLOCKS, EVERY_BARRIER, &random);
        check_state(&recorded, i + 1);
        assert_int_equal(recorded.corrupt, 0);
        build_state(&recorded, i + 1, ALL_BUT_REFBLOCKS, NO_SPAN_BARRIERS, &random);
        check_state(&recorded, i + 1);
        /* The sync of a checkpoint may have covered a block by chance: not every one shows it. */
        corrupt += take(recorded.corrupt);
    }
    assert_true(corrupt > 0);
}

/* At the moment each checkpoint was published, of what was durable alone. */
static void
without_the_sync_of_a_checkpoint_losses_are_seen(void **state)
{
    const struct guest_checkpoints *checkpoints = &recorded.guest.checkpoints;
    uint64_t random = 1;

    for (size_t i = 0; i < checkpoints->count; i++) {
        size_t limit = checkpoints->items[i].record;

        build_state(&recorded, limit, NONE, EVERY_BARRIER, &random);
        check_state(&recorded, limit);
        assert_int_equal(recorded.lost, 0);
    }
    for (size_t i = 0; i < checkpoints->count && !recorded.lost; i++) {
        size_t limit = checkpoints->items[i].record;

        build_state(&recorded, limit, NONE, NO_CHECKPOINT_BARRIERS, &random);
        check_state(&recorded, limit);
    }
    assert_true(recorded.lost > 0);
}

/* At the moment the growth was told, of what was durable alone. */
static void
without_the_sync_of_a_growth_its_loss_is_seen(void **state)
{
    uint64_t random = 1;

    build_state(&recorded, recorded.grown_end, NONE, EVERY_BARRIER, &random);
    check_state(&recorded, recorded.grown_end);
    assert_int_equal(recorded.small + recorded.corrupt, 0);
    build_state(&recorded, recorded.grown_end, NONE, NO_HEADER_BARRIERS, &random);
    check_state(&recorded, recorded.grown_end);
    assert_int_equal(recorded.corrupt, 0);
    assert_int_equal(recorded.small, 1);
}

/* A file whose last cluster is full behind the end of its disk, and its growth alone. */
static void
record_growth_over_rubbish(struct crash *crash)
{
    struct guest *guest = &crash->guest;
    uint8_t rubbish[4096];
    struct stat st;
    int fd;

    memset(crash, 0, sizeof(*crash));
    guest_init(guest, SIZE, CLUSTER_BITS, 1);
    crash->path = support_path("grown.qcow2");
    crash->base = support_path("base.qcow2");
    support_fill(rubbish, sizeof(rubbish), 5);
    MUST(guest_create(guest, err));
    MUST(support_write(qcow2_target(guest->image), guest->pool, rubbish, SIZE - 512, 512, err));
    memcpy(guest->now + SIZE - 512, rubbish, 512);
    MUST(qcow2_finish(&guest->image, err));
    fd = open(guest->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    /* Its one data cluster is the last of the file. */
    assert_int_equal(pwrite(fd, rubbish, 4096 - 512, st.st_size - 4096 + 512), 4096 - 512);
    close(fd);
    copy_file(guest->path, crash->base);
    crash->fault.is_recording = true;
    guest->fault = &crash->fault;
    grow(crash);
    qcow2_closep(&guest->image);
}

/* States in which the disk has grown and shows what stood behind its old end. */
static unsigned
count_rubbish(struct crash *crash, enum survivors survivors, enum barriers barriers)
{
    static uint64_t random = 3;
    unsigned shown = 0, grown = 0;

    for (size_t limit = 0; limit <= crash->fault.records.count; limit++) {
        struct qcow2_info info;
        char *bytes;

        build_state(crash, limit, survivors, barriers, &random);
        assert_int_equal(qcow2_inspect(crash->path, &info, NULL), 0);
        if (info.size == SIZE)
            continue;
        grown++;
        bytes = (char *)support_read_guest(crash->path, GROWN_SIZE);
        shown += memcmp(bytes, crash->guest.now, GROWN_SIZE) != 0;
        free(bytes);
    }
    assert_true(grown > 0 || survivors == SOME);
    return shown;
}

static void
a_crash_within_a_growth_shows_no_rubbish(void **state)
{
    struct crash crash;
    unsigned seen = 0;

    record_growth_over_rubbish(&crash);
    for (unsigned survivors = 0; survivors < SURVIVORS_COUNT; survivors++)
        assert_int_equal(count_rubbish(&crash, (enum survivors)survivors, EVERY_BARRIER), 0);
    for (unsigned round = 0; round < 20 && !seen; round++)
        seen += count_rubbish(&crash, SOME, NO_BARRIER);
    assert_true(seen > 0);
    crash_done(&crash);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup_recorded)
        T(a_crash_leaves_leaks_at_worst_and_every_checkpoint),
        T(without_the_barriers_of_a_span_corruption_is_seen),
        T(without_the_sync_of_a_checkpoint_losses_are_seen),
        T(without_the_sync_of_a_growth_its_loss_is_seen),
#undef T
        cmocka_unit_test(a_crash_within_a_growth_shows_no_rubbish),
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
    result = cmocka_run_group_tests(tests, record_once, forget_recorded);
    support_cleanup();
    return result;
}
