/* Whole migrations in which one call fails: every operation on the file in turn, on both backends, and
 * every other system call that is made about it.  The error must say what and where, with the code that
 * decides what is done about it; nothing half-made may be published; and going on must end with a clean
 * file that equals the source.  What a failed sync was to cover is taken to be lost, as it is after a
 * power cut: nothing may have been published that relied on it.
 *
 * V2C_CRASH_EFFORT=4 or more tries every fault at every operation on both backends. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

#include "base/err.h"
#include "base/util.h"
#include "unit/qcow2/support.h"

#define WHY_BYTES   256U
#define FULL_EFFORT 4U

static const struct mover_scenario scenario = {
    .name = "faults",
    .size = 9 * MIB + 512,
    .snapshots = 2,
    .data_percent = 95,
    .checkpoint_bytes = 4 * MIB,
    .request_bytes = 1 * MIB,
};
static struct rig rig;

static int
prepare(void **state)
{
    rig_init(&rig, &scenario, rig_seed());
    return 0;
}

static int
clean_up(void **state)
{
    rig_done(&rig);
    rig_cleanup();
    return 0;
}

struct fault_case {
    const char *what;
    enum io_fault_kind kind;
    int errnum;
    enum err_code code;      /* E_NONE: nobody notices */
    enum err_code sync_code; /* of a sync, which is never repeated */
    const char *hint;        /* what it must say; NULL: nothing in particular */
    unsigned only_kinds;
    bool is_lasting;
};

static const struct fault_case cases[] = {
    {"EIO", IO_FAULT_ERROR, EIO, E_TARGET_WRITE, E_TARGET_WRITE},
    {"ENOSPC", IO_FAULT_ERROR, ENOSPC, E_NO_SPACE, E_NO_SPACE, "free space"},
    {"EDQUOT", IO_FAULT_ERROR, EDQUOT, E_NO_SPACE, E_NO_SPACE, "free space"},
    /* The handle is dead, the file may be well: the next attempt opens it anew. */
    {"ESTALE", IO_FAULT_ERROR, ESTALE, E_TARGET_WRITE, E_TARGET_WRITE, "mount"},
    {"EROFS", IO_FAULT_ERROR, EROFS, E_PERMISSION, E_PERMISSION, "read-only"},
    {"EINTR", IO_FAULT_ERROR, EINTR, E_NONE, E_NONE},
    {"EAGAIN", IO_FAULT_ERROR, EAGAIN, E_NONE, E_TARGET_WRITE},
    {"short", IO_FAULT_SHORT, 0, E_NONE, E_NONE},
    {"nothing written", IO_FAULT_EMPTY, 0, E_NO_SPACE, E_NO_SPACE, "free space", 1U << IO_WRITE},
    {"EIO from now on", IO_FAULT_ERROR, EIO, E_TARGET_WRITE, E_TARGET_WRITE, .is_lasting = true},
};

/* One migration with what @journal's fault and calls are set to; records it. */
static struct err *
migrate(struct journal *journal)
{
    struct err *err = NULL;
    struct mover mover;

    unlink(rig.path);
    rig_mover(&rig, &mover, rig.seed);
    journal_begin(journal, &mover);
    (void)mover_run(&mover, &err); /* what failed is in err */
    journal_end(journal, &mover);
    mover_done(&mover);
    return err;
}

static bool
is_anything_left(void)
{
    CLEANUP(free_charp) char *unborn = state_unborn_name(rig.path);

    return access(rig.path, F_OK) == 0 || access(unborn, F_OK) == 0;
}

/* After the failure: what was published is there, and going on works.  @is_power_cut: of what no sync
 * covered nothing has survived. */
static bool
recovers(const struct journal *journal, bool is_power_cut, char *why)
{
    const size_t count = journal->fault.records.count;
    const struct mover_store *store = journal_store(journal, count);
    struct replay replay;
    uint64_t random = 1;

    if (!store->has_file && is_anything_left()) {
        snprintf(why, WHY_BYTES, "a file is left that nobody knows of");
        return false;
    }
    if (is_power_cut && count) {
        replay_init(&replay, journal, BARRIER_NONE);
        replay_build(&replay, count, SURVIVES_NONE, &random, &rig.state);
        replay_done(&replay);
    } else {
        state_read(&rig.state, rig.path);
    }
    return rig_examine(&rig, journal, count, why) && rig_go_on(&rig, store, count, NULL, why);
}

/* False when there is no operation @at. */
static bool
run_case(const struct fault_case *c, uint64_t at, const char *backend)
{
    struct journal journal = {.fault = {.kind = c->kind,
                                        .errnum = c->errnum,
                                        .at = at,
                                        .only_kinds = c->only_kinds,
                                        .is_lasting = c->is_lasting}};
    CLEANUP(err_freep) struct err *err = NULL;
    enum err_code expected;
    char why[WHY_BYTES];
    bool has_fired;

    setenv("V2C_IO", backend, 1);
    err = migrate(&journal);
    has_fired = journal.fault.has_fired;
    expected = journal.fault.fired_kind == IO_DATASYNC ? c->sync_code : c->code;
    if (expected == E_TARGET_WRITE && journal.fault.fired_kind == IO_READ)
        expected = E_TARGET_READ; /* of a table that was not kept in memory */
    if (!has_fired)
        expected = E_NONE;
    /* Of several that fail at once any may be the first to be heard of. */
    if (c->is_lasting && err_code(err) == E_TARGET_READ)
        expected = E_TARGET_READ;
    if (err_code(err) != expected || (err && !strstr(err_message(err), rig.path)))
        fail_msg("%s at %" PRIu64 ", %s: %s: %s", c->what, at, backend,
                 err_code_name(err_code(err)), err_message(err));
    if (err && c->hint && (!err_hint_text(err) || !strstr(err_hint_text(err), c->hint)))
        fail_msg("%s at %" PRIu64 ": the hint is %s", c->what, at, err_hint_text(err));
    if (!err ? !rig_is_right(&rig, false, why)
             : !recovers(&journal, at % 2 || journal.fault.fired_kind == IO_DATASYNC, why))
        fail_msg("%s at %" PRIu64 ", %s: %s", c->what, at, backend, why);
    journal_done(&journal);
    return at < journal.fault.count;
}

static void
every_operation_may_fail(void **state)
{
    const char *const backends[] = {"threads", io_uring_usable(NULL) ? "io_uring" : "threads"};
    const size_t count = ARRAY_SIZE(cases);
    uint64_t at, runs = 0;
    bool is_more = true;

    for (at = 0; is_more; at++) {
        is_more = false;
        for (size_t i = 0; i < count; i++) {
            /* Usually EIO and two others of each operation. */
            if (rig_effort() < FULL_EFFORT && i && (i + at) % 4)
                continue;
            is_more |= run_case(&cases[i], at, backends[(at + i) % 2]);
            runs++;
            if (rig_effort() >= FULL_EFFORT && backends[0] != backends[1]) {
                (void)run_case(&cases[i], at, backends[(at + i + 1) % 2]);
                runs++;
            }
        }
    }
    unsetenv("V2C_IO");
    print_message("%" PRIu64 " operations, %" PRIu64 " faults\n", at - 1, runs);
    assert_true(at > 60);
}

/* ---- calls beside io --------------------------------------------------------------------------- */

static bool
is_passing(int errnum)
{
    return errnum == EIO || errnum == ESTALE || errnum == EINTR;
}

/* False when there is no call @at. */
static bool
run_call(uint64_t at, int errnum)
{
    struct journal journal = {.calls = {.errnum = errnum, .at = at}};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(free_charp) char *dir = strndup(rig.path, (size_t)(strrchr(rig.path, '/') - rig.path));
    char why[WHY_BYTES];
    const char *fired;
    bool had_file;

    err = migrate(&journal);
    fired = journal.calls.fired ? journal.calls.fired : "nothing";
    had_file = journal_store(&journal, journal.fault.records.count)->has_file;
    if (err && (err_code(err) == E_BUG || !strstr(err_message(err), dir) ||
                !strstr(err_message(err), strerror(errnum)) || !journal.calls.fired))
        fail_msg("call %" PRIu64 " (%s): %s: %s", at, fired, err_code_name(err_code(err)),
                 err_message(err));
    /* A fault of a moment must not end a copy that has begun. */
    if (err && had_file && is_passing(errnum) && err_class(err) != ERR_CLASS_RETRY)
        fail_msg("call %" PRIu64 " (%s) is not tried again: %s: %s", at, fired,
                 err_code_name(err_code(err)), err_message(err));
    if (!err ? !rig_is_right(&rig, false, why) : !recovers(&journal, at % 2, why))
        fail_msg("call %" PRIu64 " (%s), %s: %s", at, fired, strerror(errnum), why);
    journal_done(&journal);
    return journal.calls.fired;
}

static void
every_other_call_may_fail(void **state)
{
    static const int errnums[] = {EIO, ESTALE, ENOSPC, EPERM, EINTR};
    uint64_t at = 0;

    while (run_call(at, errnums[at % ARRAY_SIZE(errnums)])) {
        for (size_t i = 1; i < ARRAY_SIZE(errnums) && rig_effort() >= FULL_EFFORT; i++)
            (void)run_call(at, errnums[(at + i) % ARRAY_SIZE(errnums)]);
        at++;
    }
    print_message("%" PRIu64 " calls\n", at);
    assert_true(at > 40);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_other_call_may_fail),
        cmocka_unit_test(every_operation_may_fail),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (!support_has_qemu()) {
        fprintf(stderr, "skipped: qemu-img is not installed\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
