/* A small migration of one disk: what src/migration does with transfer and qcow2, in the same order and
 * with the same promises, but with snapshots in memory instead of a vCenter and a struct instead of a
 * database.  Each moment at which that database would have committed something is kept as a
 * publication, so that a test can tell what a migration would have known after a crash.
 *
 * The order: the file is made; the base copy of one snapshot, its done blocks published at each
 * checkpoint; rounds of what has changed since, likewise; after the last round the file is finished.
 * Every pass opens the file anew. */
#ifndef V2C_TESTS_CRASH_MOVER_H
#define V2C_TESTS_CRASH_MOVER_H

#include "base/vec.h"
#include "calls.h"
#include "disk/disk.h"
#include "history.h"
#include "transfer/transfer.h"

#define MOVER_MAX_BLOCKS 64U

struct err;
struct qcow2_image;

struct mover_scenario {
    const char *name;
    uint64_t size;   /* at most MOVER_MAX_BLOCKS blocks */
    uint64_t growth; /* of it, since HISTORY_GROWN */
    unsigned snapshots, data_percent;
    uint64_t checkpoint_bytes;
    uint32_t request_bytes;
    unsigned cancel_at,
        abandon_at;       /* the checkpoint at which a recording is interrupted; 0: none */
    bool finishes_midway; /* once more after the first round */
};

/* What a database says. */
struct mover_store {
    bool has_file;     /* it was made: it must be there */
    bool is_base_done; /* the disk holds `snapshot`, but for what `round` has changed in it */
    bool is_finished;
    unsigned snapshot;
    unsigned round; /* the snapshot that is being copied; 0: no round is under way */
    uint8_t bits[MOVER_MAX_BLOCKS / 8]; /* blocks done of the base, or of the round */
};

struct mover_publication {
    size_t record; /* how many records there were */
    struct mover_store store;
};
VEC_DECLARE(mover_publications, struct mover_publication);

enum mover_phase { PHASE_CREATE, PHASE_RESUME, PHASE_COPY, PHASE_FINISH };
struct mover_mark {
    size_t record; /* from here on */
    enum mover_phase phase;
};
VEC_DECLARE(mover_marks, struct mover_mark);

struct mover {
    const struct history *history;
    const struct mover_scenario *scenario;
    const char *path;
    struct disk_pool *pool;
    uint64_t random;        /* decides what it goes on with where a migration may do either */
    struct io_fault *fault; /* of its io; may be NULL */
    struct calls *calls;    /* may be NULL */
    struct mover_store store;

    bool keeps_snapshots; /* never goes on from a newer one */
    unsigned cancel_at, abandon_at;
    unsigned checkpoints;
    struct mover_publications publications;
    struct mover_marks marks;
    struct transfer_bitmap done; /* of the pass under way */
    volatile int cancel;
};

/* From what the store says to a finished file.  Fails with E_CANCELLED or E_STORE where `cancel_at` or
 * `abandon_at` stopped it; it can then be called again. */
int mover_run(struct mover *mover, struct err **err);
void mover_done(struct mover *mover);

#endif
