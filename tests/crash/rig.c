#include "rig.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "unit/qcow2/support.h"

#define WHY_BYTES 256U
#define SLOTS     16U

static unsigned long
number_from(const char *name)
{
    const char *text = getenv(name);
    unsigned long number = text ? strtoul(text, NULL, 10) : 1;

    return MAX(number, 1UL);
}

/* In memory where that can be: nothing of it must survive us, and syncs are many. */
static const char *
directory(void)
{
    static char dir[64];

    if (!dir[0]) {
        snprintf(dir, sizeof(dir), "%s/v2c-crash.XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ".");
        if (!mkdtemp(dir))
            abort();
    }
    return dir;
}

void
rig_cleanup(void)
{
    (void)rmdir(directory());
}

unsigned
rig_effort(void)
{
    return (unsigned)number_from("V2C_CRASH_EFFORT");
}

uint64_t
rig_seed(void)
{
    return number_from("V2C_CRASH_SEED");
}

void
rig_init(struct rig *rig, const struct mover_scenario *scenario, uint64_t seed)
{
    *rig = (struct rig){.scenario = scenario, .seed = seed};
    history_init(&rig->history, scenario->size, scenario->growth, scenario->snapshots,
                 scenario->data_percent, seed);
    rig->pool = disk_pool_new(SLOTS, NULL);
    rig->path = xasprintf("%s/disk.qcow2", directory());
    rig->guest = xcalloc(1, scenario->size);
}

void
rig_done(struct rig *rig)
{
    unlink(rig->path);
    journal_done(&rig->journal);
    state_done(&rig->state);
    free(rig->guest);
    free(rig->path);
    disk_pool_free(rig->pool);
    history_done(&rig->history);
}

void
rig_mover(struct rig *rig, struct mover *mover, uint64_t seed)
{
    *mover = (struct mover){.history = &rig->history,
                            .scenario = rig->scenario,
                            .path = rig->path,
                            .pool = rig->pool,
                            .random = seed};
}

static const uint8_t *
last_bytes(const struct rig *rig)
{
    return rig->history.bytes[rig->history.count - 1];
}

bool
rig_is_right(struct rig *rig, bool with_qemu, char *why)
{
    char reason[128];

    state_read(&rig->state, rig->path);
    if (judge_file(rig->state.bytes, rig->state.length, reason) != JUDGE_CLEAN) {
        snprintf(why, WHY_BYTES, "the finished file: %s", reason);
        return false;
    }
    judge_read_guest(rig->state.bytes, rig->state.length, rig->guest, rig->history.size);
    if (judge_disk_size(rig->state.bytes, rig->state.length) != rig->history.size ||
        memcmp(rig->guest, last_bytes(rig), rig->history.size)) {
        snprintf(why, WHY_BYTES, "the finished file is not the source");
        return false;
    }
    rig->counts.asked_qemu += with_qemu;
    if (with_qemu && support_qemu_check(rig->path)) {
        snprintf(why, WHY_BYTES, "qemu-img check of the finished file");
        return false;
    }
    return true;
}

void
rig_record(struct rig *rig)
{
    char why[WHY_BYTES];
    struct replay replay;
    struct mover mover;
    uint64_t random = 1;
    struct err *err = NULL;

    unlink(rig->path);
    rig_mover(rig, &mover, rig->seed);
    mover.keeps_snapshots = true; /* so that every log has what its scenario promises */
    mover.cancel_at = rig->scenario->cancel_at;
    mover.abandon_at = rig->scenario->abandon_at;
    journal_begin(&rig->journal, &mover);
    while (mover_run(&mover, &err) < 0) {
        if (err_code(err) != E_CANCELLED && err_code(err) != E_STORE)
            fail_msg("%s: %s", rig->scenario->name, err_message(err));
        err_freep(&err);
    }
    journal_end(&rig->journal, &mover);
    mover_done(&mover);
    if (!rig_is_right(rig, true, why))
        fail_msg("%s: %s", rig->scenario->name, why);
    state_read(&rig->journal.after, rig->path);
    replay_init(&replay, &rig->journal, BARRIER_NONE);
    replay_build(&replay, replay.count, SURVIVES_ALL, &random, &rig->state);
    assert_true(rig->state.has_name);
    assert_true(state_is_same(&rig->state, &rig->journal.after));
    replay_done(&replay);
}

/* ---- what a state must hold -------------------------------------------------------------------- */

static bool
is_same_block(const struct rig *rig, unsigned snapshot, uint64_t block)
{
    uint64_t at = block * TRANSFER_BLOCK;

    return !memcmp(rig->guest + at, rig->history.bytes[snapshot] + at,
                   MIN(TRANSFER_BLOCK, rig->history.size - at));
}

static bool
holds_blocks(const struct rig *rig, const struct mover_store *store, unsigned snapshot, char *why)
{
    for (uint64_t block = 0; block < MOVER_MAX_BLOCKS; block++)
        if (store->bits[block / 8] & 1U << block % 8 && !is_same_block(rig, snapshot, block)) {
            snprintf(why, WHY_BYTES, "block %" PRIu64 " is done and not there", block);
            return false;
        }
    return true;
}

/* A round touches nothing but what changed. */
static bool
holds_rest(const struct rig *rig, const struct mover_store *store, char *why)
{
    const uint8_t *before = rig->history.bytes[store->snapshot];
    struct extents changes = {0};
    uint64_t at = 0;
    bool is_same = true;

    if (store->round)
        history_changes(&rig->history, store->snapshot, store->round, &changes);
    vec_push(&changes, ((struct extent){rig->history.size, 1}));
    for (size_t i = 0; i < changes.count && is_same; i++) {
        const struct extent *e = &changes.items[i];

        is_same = !memcmp(rig->guest + at, before + at, e->offset - at);
        at = e->offset + e->length;
    }
    vec_done(&changes);
    if (!is_same)
        snprintf(why, WHY_BYTES, "bytes that round %u has no business with are not as in %u",
                 store->round, store->snapshot);
    return is_same;
}

/* The done blocks of a round hold the new snapshot where it changed, and the old one elsewhere, which
 * is the same there. */
static bool
holds(const struct rig *rig, const struct mover_store *store, char *why)
{
    if (!store->is_base_done)
        return holds_blocks(rig, store, store->snapshot, why);
    return holds_rest(rig, store, why) &&
           (!store->round || holds_blocks(rig, store, store->round, why));
}

bool
rig_examine(struct rig *rig, const struct journal *journal, size_t limit, char *why)
{
    const struct mover_store *store = journal_store(journal, limit);
    enum judge_verdict verdict;
    char reason[128] = "";

    rig->counts.states++;
    if (!rig->state.has_name) {
        rig->counts.unborn++;
        if (store->has_file)
            snprintf(why, WHY_BYTES, "the file is gone");
        return !store->has_file;
    }
    verdict = judge_file(rig->state.bytes, rig->state.length, reason);
    rig->counts.clean += verdict == JUDGE_CLEAN;
    rig->counts.leaks += verdict == JUDGE_LEAKS;
    snprintf(why, WHY_BYTES, "%s", reason);
    if (verdict == JUDGE_CORRUPT || verdict == JUDGE_NO_IMAGE)
        return false;
    if (store->is_finished && !state_is_same(&rig->state, &journal->after)) {
        snprintf(why, WHY_BYTES, "a finished file is not as it was left");
        return false;
    }
    judge_read_guest(rig->state.bytes, rig->state.length, rig->guest, rig->history.size);
    return holds(rig, store, why);
}

bool
rig_ask_qemu(struct rig *rig, char *why)
{
    enum judge_verdict ours, theirs;
    char reason[128];

    if (!rig->state.has_name)
        return true;
    ours = judge_file(rig->state.bytes, rig->state.length, reason);
    state_write(&rig->state, rig->path);
    theirs = judge_of_qemu(support_qemu_check(rig->path));
    rig->counts.asked_qemu++;
    snprintf(why, WHY_BYTES, "our verdict is %d (%s), that of qemu-img %d", ours, reason, theirs);
    return ours == theirs || (ours == JUDGE_CORRUPT && theirs == JUDGE_NO_IMAGE);
}

bool
rig_go_on(struct rig *rig, const struct mover_store *store, uint64_t seed, struct journal *journal,
          char *why)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct mover mover;
    int result;

    rig->counts.resumed++;
    state_write(&rig->state, rig->path);
    rig_mover(rig, &mover, seed);
    mover.store = *store;
    mover.store.is_finished = false; /* a finished file can be gone on with, too */
    if (journal) {
        state_copy(&rig->state, &journal->before);
        journal_begin(journal, &mover);
    }
    result = mover_run(&mover, &err);
    if (journal)
        journal_end(journal, &mover);
    mover_done(&mover);
    if (result < 0) {
        snprintf(why, WHY_BYTES, "cannot go on: %s", err_message(err));
        return false;
    }
    if (journal)
        state_read(&journal->after, rig->path);
    return rig_is_right(rig, rig->counts.resumed % 16 == 1, why);
}
