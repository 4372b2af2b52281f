/* Whole migrations, from the source to the finished file, as a kill -9 or a power cut may leave them at
 * any moment.  Each state must be accepted (leaks at worst; none once it is finished), hold all that was
 * published by then and nothing that was never written, and be gone on from to a clean file that equals
 * the source byte for byte.
 *
 * The controls leave out one barrier at a time in the replay and must see damage, or this test could
 * not fail.  Four barriers are not needed for that, and the last control says so: see
 * docs/internals/crash.md.
 *
 * V2C_CRASH_EFFORT=N looks at about N times as much; V2C_CRASH_SEED=N at other histories. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

#include "base/util.h"
#include "unit/qcow2/support.h"

#define WHY_BYTES 256U

/* A span of 4 KiB clusters has 8 MiB; the next one is prepared when half of it is used. */
static const struct mover_scenario scenarios[] = {
    {
        .name = "small, frequent checkpoints, cancelled once, finished midway",
        .size = 3 * MIB + 512,
        .snapshots = 4,
        .data_percent = 60,
        .checkpoint_bytes = 512 * KIB,
        .request_bytes = 128 * KIB,
        .cancel_at = 2,
        .finishes_midway = true,
    },
    {
        .name = "a span prepared and not used, dropped without a last checkpoint",
        .size = 7 * MIB + 3 * KIB,
        .snapshots = 4,
        .data_percent = 65,
        .checkpoint_bytes = 1 * MIB,
        .request_bytes = 1 * MIB,
        .abandon_at = 3,
    },
    {
        .name = "into the second span without a checkpoint, and grown",
        .size = 12 * MIB - 512,
        .growth = 700 * KIB + 1024,
        .snapshots = 3,
        .data_percent = 85,
        .checkpoint_bytes = 64 * MIB,
        .request_bytes = 512 * KIB,
    },
};
static struct rig rigs[ARRAY_SIZE(scenarios)];

static int
record_all(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        rig_init(&rigs[i], &scenarios[i], rig_seed());
        rig_record(&rigs[i]);
    }
    return 0;
}

static int
forget_all(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
        rig_done(&rigs[i]);
    rig_cleanup();
    return 0;
}

static void
complain(struct rig *rig, size_t limit, enum survivors survivors, const char *why)
{
    if (rig->counts.bad++ < 5)
        fprintf(stderr, "%s, seed %" PRIu64 ": before record %zu, survivors %d: %s\n",
                rig->scenario->name, rig->seed, limit, (int)survivors, why);
}

/* ---- what a crash leaves ----------------------------------------------------------------------- */

static void
look_at(struct rig *rig, const struct replay *replay, size_t limit, enum survivors survivors,
        bool goes_on, uint64_t *random)
{
    const struct journal *journal = replay->journal;
    char why[WHY_BYTES];

    replay_build(replay, limit, survivors, random, &rig->state);
    if (!rig_examine(rig, journal, limit, why) ||
        (rig->counts.states % 64 == 1 && !rig_ask_qemu(rig, why)) ||
        (goes_on &&
         !rig_go_on(rig, journal_store(journal, limit), support_random(random), NULL, why)))
        complain(rig, limit, survivors, why);
}

/* Every prefix of the log: all survives, nothing does, and in turn one of the cases between.  Every
 * @stride-th state is gone on from. */
static void
look_at_every_prefix(struct rig *rig, const struct journal *journal, unsigned stride,
                     unsigned rounds, uint64_t *random)
{
    struct replay replay;
    unsigned number = 0;

    replay_init(&replay, journal, BARRIER_NONE);
    for (unsigned round = 0; round < rounds; round++)
        for (size_t limit = 1; limit <= replay.count; limit++)
            for (int s = round ? SURVIVES_ENDED : 0; s <= SURVIVES_ENDED; s++) {
                enum survivors survivors = (enum survivors)s;

                if (survivors == SURVIVES_ENDED)
                    survivors = (enum survivors)(SURVIVES_ENDED + (limit + round) % 4);
                if (replay_is_new(&replay, limit, survivors))
                    look_at(rig, &replay, limit, survivors, number++ % stride == 0, random);
            }
    replay_done(&replay);
}

static void
report(struct rig *rig)
{
    const struct rig_counts *c = &rig->counts;

    print_message("%s: %zu records, %u states: %u clean, %u leaks, %u unborn; %u gone on from; "
                  "qemu-img asked %u times; %u bad\n",
                  rig->scenario->name, rig->journal.fault.records.count, c->states, c->clean,
                  c->leaks, c->unborn, c->resumed, c->asked_qemu, c->bad);
    assert_int_equal(c->bad, 0);
    assert_true(c->leaks > c->states / 2);
    assert_true(c->resumed > 20);
}

static void
any_crash_leaves_what_was_published_and_can_be_gone_on_from(void **state)
{
    static const unsigned strides[] = {1, 6, 8};
    uint64_t random = rig_seed();

    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        struct rig *rig = &rigs[i];

        rig->counts = (struct rig_counts){0};
        look_at_every_prefix(rig, &rig->journal, MAX(strides[i] / rig_effort(), 1U), rig_effort(),
                             &random);
        report(rig);
    }
}

/* A state of the first log, gone on from and recorded; false when there is nothing to go on from. */
static void
crash_twice(struct rig *rig, const struct replay *replay, uint64_t *random)
{
    size_t limit = 1 + (size_t)(support_random(random) % replay->count);
    enum survivors survivors = (enum survivors)(support_random(random) % SURVIVES_COUNT);
    struct journal second = {0};
    struct replay again;
    char why[WHY_BYTES];

    replay_build(replay, limit, survivors, random, &rig->state);
    if (!rig_go_on(rig, journal_store(replay->journal, limit), support_random(random), &second,
                   why))
        complain(rig, limit, survivors, why);
    replay_init(&again, &second, BARRIER_NONE);
    for (unsigned i = 0; i < 24; i++)
        look_at(rig, &again, 1 + (size_t)(support_random(random) % again.count),
                (enum survivors)(i % SURVIVES_COUNT), i % 4 == 0, random);
    replay_done(&again);
    journal_done(&second);
}

static void
a_crash_while_going_on_is_no_worse(void **state)
{
    uint64_t random = rig_seed() + 1;

    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        struct rig *rig = &rigs[i];
        struct replay replay;

        rig->counts = (struct rig_counts){0};
        replay_init(&replay, &rig->journal, BARRIER_NONE);
        for (unsigned n = 0; n < 4 * rig_effort(); n++)
            crash_twice(rig, &replay, &random);
        replay_done(&replay);
        assert_int_equal(rig->counts.bad, 0);
    }
}

/* ---- controls ---------------------------------------------------------------------------------- */

/* A moment after one of the syncs that are left out, before a later one covers the same; any moment
 * when none is left out. */
static size_t
choose_limit(const struct replay *replay, enum barrier barrier, uint64_t *random)
{
    const struct io_record *records = replay->journal->fault.records.items;
    size_t chosen = 0, count = 0, end;

    if (barrier == BARRIER_NONE)
        return 1 + (size_t)(support_random(random) % replay->count);
    for (size_t i = 0; i < replay->count; i++)
        if (replay->barriers[i] == barrier && support_random(random) % ++count == 0)
            chosen = i;
    for (end = chosen + 1; end < replay->count; end++)
        if (replay->barriers[end] != BARRIER_NONE && replay->barriers[end] != barrier &&
            records[end].kind == records[chosen].kind)
            break;
    if (support_random(random) % 2)
        return end;
    return chosen + 1 + (size_t)(support_random(random) % (end - chosen));
}

/* Looks at states as if @barrier were not there, until one is bad; false when none is. */
static bool
is_missed(struct rig *rig, const struct journal *journal, enum barrier barrier, unsigned tries,
          char *why)
{
    struct replay replay;
    uint64_t random = rig->seed;
    bool is_bad = false;

    replay_init(&replay, journal, barrier);
    if (barrier != BARRIER_NONE && replay_count(&replay, barrier) == 0)
        tries = 0;
    for (unsigned i = 0; i < tries && !is_bad; i++) {
        size_t limit = choose_limit(&replay, barrier, &random);
        enum survivors survivors =
            i % 2 ? SURVIVES_OTHERS : (enum survivors)(i / 2 % SURVIVES_COUNT);

        replay_build(&replay, limit, survivors, &random, &rig->state);
        is_bad = !rig_examine(rig, journal, limit, why);
    }
    replay_done(&replay);
    return is_bad;
}

static void
without_a_barrier_damage_is_seen(void **state)
{
    static const enum barrier needed[] = {
        BARRIER_CREATE_HEADER, BARRIER_CREATE_NAME, BARRIER_SPAN_BLOCK,    BARRIER_SPAN_ENTRY,
        BARRIER_CHECKPOINT,    BARRIER_FINISH_MAP,  BARRIER_FINISH_COUNTS, BARRIER_FINISH_LENGTH,
        BARRIER_RESUME_SPANS,  BARRIER_RESUME_REST, BARRIER_GROW_HEADER,
    };

    for (size_t b = 0; b < ARRAY_SIZE(needed); b++) {
        char why[WHY_BYTES];
        bool is_seen = false;

        for (size_t i = 0; i < ARRAY_SIZE(scenarios) && !is_seen; i++)
            is_seen = is_missed(&rigs[i], &rigs[i].journal, needed[b], 1000, why);
        if (!is_seen)
            fail_msg("without \"%s\" nothing is wrong", barrier_names[needed[b]]);
        print_message("without \"%s\": %s\n", barrier_names[needed[b]], why);
    }
}

/* What the header's sync and the last map's cover too; the name is durable since the creation; and what
 * a grown disk has behind its old end is copied again, whatever it holds. */
static void
four_barriers_are_covered_by_others(void **state)
{
    static const enum barrier covered[] = {BARRIER_CREATE_TABLES, BARRIER_FINISH_CHECKPOINT,
                                           BARRIER_FINISH_NAME, BARRIER_GROW_TAIL};

    for (size_t b = 0; b < ARRAY_SIZE(covered); b++)
        for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
            char why[WHY_BYTES];

            if (is_missed(&rigs[i], &rigs[i].journal, covered[b], 100 * rig_effort(), why))
                fail_msg("\"%s\" is needed: %s", barrier_names[covered[b]], why);
        }
}

/* Killed between giving the file its name and syncing the directory: whoever goes on finds a file whose
 * name a power cut may still take away. */
static void
a_name_is_durable_before_it_is_relied_on(void **state)
{
    struct rig *rig = &rigs[0];
    const struct io_records *records = &rig->journal.fault.records;
    struct journal second = {0};
    struct replay replay;
    uint64_t random = 1;
    size_t limit = 0;
    char why[WHY_BYTES];

    while (records->items[limit].is_end || records->items[limit].kind != (enum io_kind)CALL_LINK)
        limit++;
    replay_init(&replay, &rig->journal, BARRIER_NONE);
    limit = replay.end_at[limit] + 1;
    replay_build(&replay, limit, SURVIVES_ENDED, &random, &rig->state);
    replay_done(&replay);
    assert_true(rig->state.has_name && !rig->state.is_name_durable);
    if (!rig_go_on(rig, journal_store(&rig->journal, limit), 1, &second, why))
        fail_msg("%s", why);
    if (is_missed(rig, &second, BARRIER_NONE, 300, why))
        fail_msg("%s", why);
    if (!is_missed(rig, &second, BARRIER_RESUME_NAME, 300, why))
        fail_msg("without \"%s\" nothing is wrong", barrier_names[BARRIER_RESUME_NAME]);
    print_message("without \"%s\": %s\n", barrier_names[BARRIER_RESUME_NAME], why);
    journal_done(&second);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_barrier_damage_is_seen),
        cmocka_unit_test(four_barriers_are_covered_by_others),
        cmocka_unit_test(a_name_is_durable_before_it_is_relied_on),
        cmocka_unit_test(a_crash_while_going_on_is_no_worse),
        cmocka_unit_test(any_crash_leaves_what_was_published_and_can_be_gone_on_from),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, record_all, forget_all);
}
