/* What the crash tests share: a scenario with its history, a recorder run of it, and how a state of its
 * file is judged and gone on from. */
#ifndef V2C_TESTS_CRASH_RIG_H
#define V2C_TESTS_CRASH_RIG_H

#include "judge.h"
#include "replay.h"

/* How much more than usual: V2C_CRASH_EFFORT in the environment, else 1. */
unsigned rig_effort(void);
/* V2C_CRASH_SEED, else 1. */
uint64_t rig_seed(void);
void rig_cleanup(void); /* of the directory, when all rigs are done */

struct rig_counts {
    unsigned states, clean, leaks, unborn; /* judged; unborn: not yet under its name */
    unsigned resumed, asked_qemu;
    unsigned bad;
};

struct rig {
    const struct mover_scenario *scenario;
    struct history history;
    struct disk_pool *pool;
    char *path;    /* of the recorded file, and of the states after it */
    uint64_t seed; /* of history and recording */
    uint8_t *guest;
    struct journal journal;
    struct state state; /* the one looked at */
    struct rig_counts counts;
};

void rig_init(struct rig *rig, const struct mover_scenario *scenario, uint64_t seed);
void rig_done(struct rig *rig);
/* A mover of the rig's scenario that knows nothing yet. */
void rig_mover(struct rig *rig, struct mover *mover, uint64_t seed);
/* Moves everything once, interrupted as the scenario says, into rig->journal; the result is checked by
 * all judges, and that the log explains every byte of it. */
void rig_record(struct rig *rig);

/* Judges rig->state as that of @journal before record @limit, against what was published by then.
 * False with the reason in @why of 256 bytes. */
bool rig_examine(struct rig *rig, const struct journal *journal, size_t limit, char *why);
/* Asks qemu-img about rig->state, and whether it says the same as our own judge. */
bool rig_ask_qemu(struct rig *rig, char *why);
/* Puts rig->state where it belongs and goes on from what @store says, to the end, which must be all of
 * the last snapshot in a clean file.  @journal (may be NULL) records it. */
bool rig_go_on(struct rig *rig, const struct mover_store *store, uint64_t seed,
               struct journal *journal, char *why);
/* Whether the file at rig->path is the last snapshot, and clean. */
bool rig_is_right(struct rig *rig, bool with_qemu, char *why);

#endif
