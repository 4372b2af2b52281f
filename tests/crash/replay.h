/* What a crash may leave of a recorded migration.
 *
 * A journal holds the begin and the end of everything that a mover did to its file, and what it
 * published when.  A replay builds the file as it may be at any record of it: all that was durable by
 * then (it had ended before a sync began that ended well), and of the rest all, none or some, torn at
 * 4 KiB or at sectors.  A replay may leave out one kind of barrier, as if the program had none: that
 * must be seen as damage, or the tests would prove nothing. */
#ifndef V2C_TESTS_CRASH_REPLAY_H
#define V2C_TESTS_CRASH_REPLAY_H

#include "mover.h"

enum barrier {
    BARRIER_NONE, /* nothing is left out */
    /* create: before the header; after it; of the directory */
    BARRIER_CREATE_TABLES,
    BARRIER_CREATE_HEADER,
    BARRIER_CREATE_NAME,
    /* a new span: after its refcount block; after the entry of the refcount table */
    BARRIER_SPAN_BLOCK,
    BARRIER_SPAN_ENTRY,
    BARRIER_CHECKPOINT,
    /* finish: its checkpoint; after the last map; after the counts; after the length; of the directory */
    BARRIER_FINISH_CHECKPOINT,
    BARRIER_FINISH_MAP,
    BARRIER_FINISH_COUNTS,
    BARRIER_FINISH_LENGTH,
    BARRIER_FINISH_NAME,
    /* resume: of the directory; after spans were dropped; after length and refcount block */
    BARRIER_RESUME_NAME,
    BARRIER_RESUME_SPANS,
    BARRIER_RESUME_REST,
    /* growth, within resume: before the header; after it */
    BARRIER_GROW_TAIL,
    BARRIER_GROW_HEADER,
    BARRIER_COUNT,
};
extern const char *const barrier_names[BARRIER_COUNT];

/* The bytes of a file at some moment. */
struct state {
    uint8_t *bytes;
    uint64_t length, room;
    uint64_t used;        /* from here on it is zeroes */
    bool has_name;        /* else it still has the name that creation gives it */
    bool is_name_durable; /* the name would survive a power cut */
};
void state_done(struct state *state);
bool state_is_same(const struct state *a, const struct state *b);
void state_copy(const struct state *state, struct state *ret_copy);
/* What creation calls a file that is not born yet; the caller frees. */
char *state_unborn_name(const char *path);
void state_write(const struct state *state, const char *path);
void state_read(struct state *state, const char *path); /* what is there now, all of it durable */

struct journal {
    struct state before; /* what the file was when the recording began; NULL bytes: no file */
    struct state after;  /* and at its end, when all went well */
    struct io_fault fault;
    struct calls calls;
    struct mover_publications publications;
    struct mover_marks marks;
};
/* @mover's fault and calls from now on record into the journal. */
void journal_begin(struct journal *journal, struct mover *mover);
/* Takes over what @mover published. */
void journal_end(struct journal *journal, struct mover *mover);
void journal_done(struct journal *journal);
/* What was published last before record @limit. */
const struct mover_store *journal_store(const struct journal *journal, size_t limit);

struct replay {
    const struct journal *journal;
    size_t count;           /* of records */
    size_t *end_at;         /* for each begin: the record of its end; SIZE_MAX: none */
    size_t *durable_at;     /* for each begin: the record of the end of the sync that covers it */
    size_t *meant_at;       /* and of the one that would, if none were left out */
    enum barrier *barriers; /* for each begin of a sync: which one it is */
    size_t old_name_durable_at; /* of the name from before the recording; SIZE_MAX: never */
};
void replay_init(struct replay *replay, const struct journal *journal, enum barrier left_out);
void replay_done(struct replay *replay);
/* How many syncs of that kind there are. */
size_t replay_count(const struct replay *replay, enum barrier barrier);

/* Of what is not durable. */
enum survivors {
    SURVIVES_ALL,         /* all, also what had only begun: kill -9 */
    SURVIVES_NONE,        /* none: a power cut */
    SURVIVES_ENDED,       /* what had ended, and some of what had begun: kill -9 */
    SURVIVES_SOME,        /* some: a power cut in the middle of writing back */
    SURVIVES_ALL_BUT_ONE, /* one operation alone is lost */
    SURVIVES_ONE,         /* one operation alone is there */
    SURVIVES_COUNT,
    /* Where a barrier is left out: all, but only some of what it would have covered. */
    SURVIVES_OTHERS = SURVIVES_COUNT,
};
/* The state before record @limit.  *state is used again. */
void replay_build(const struct replay *replay, size_t limit, enum survivors survivors,
                  uint64_t *random, struct state *state);
/* Whether a state of these survivors differs from the one a record earlier at all. */
bool replay_is_new(const struct replay *replay, size_t limit, enum survivors survivors);

#endif
