#include "mover.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/qcow2.h"
#include "unit/qcow2/support.h"
#include "unit/transfer/pretend.h"

#define CLUSTER_BITS 12
#define NEVER_MS     (3600 * 1000) /* checkpoints come by bytes: time would make runs differ */

static size_t
record_count(const struct mover *m)
{
    return m->fault ? m->fault->records.count : 0;
}

static void
publish(struct mover *m)
{
    vec_push(&m->publications, ((struct mover_publication){record_count(m), m->store}));
}

static void
enter(struct mover *m, enum mover_phase phase)
{
    vec_push(&m->marks, ((struct mover_mark){record_count(m), phase}));
}

static unsigned
last_snapshot(const struct mover *m)
{
    return m->history->count - 1;
}

/* ---- going on --------------------------------------------------------------------------------- */

/* The snapshot of an interrupted base copy is gone as often as not: then it goes on from a newer one,
 * with the blocks that have not changed since. */
static void
renew_base(struct mover *m)
{
    unsigned newer = m->store.snapshot + (unsigned)(support_random(&m->random) %
                                                    (last_snapshot(m) - m->store.snapshot + 1));
    struct transfer_bitmap done = {m->store.bits, m->done.block_count};
    struct extents changes = {0};

    history_changes(m->history, m->store.snapshot, newer, &changes);
    transfer_bitmap_clear_extents(&done, &changes);
    vec_done(&changes);
    m->store.snapshot = newer;
    publish(m);
}

/* A round begins anew from a newer snapshot; its done blocks are worth nothing then. */
static void
renew_round(struct mover *m)
{
    unsigned left = last_snapshot(m) - m->store.round;

    m->store.round += (unsigned)(support_random(&m->random) % (left + 1));
    memset(m->store.bits, 0, sizeof(m->store.bits));
    publish(m);
}

static void
go_on(struct mover *m)
{
    if (!m->store.has_file || m->keeps_snapshots)
        return;
    if (!m->store.is_base_done && support_random(&m->random) % 3 == 0)
        renew_base(m);
    else if (m->store.is_base_done && m->store.round && support_random(&m->random) % 2)
        renew_round(m);
}

/* ---- passes ----------------------------------------------------------------------------------- */

static int
on_checkpoint(void *opaque, const struct transfer_progress *progress, struct err **err)
{
    struct mover *m = opaque;

    (void)progress;
    memcpy(m->store.bits, m->done.bits, transfer_bitmap_bytes(&m->done));
    publish(m);
    m->checkpoints++;
    if (m->checkpoints == m->cancel_at)
        m->cancel = 1;
    if (m->checkpoints == m->abandon_at)
        return err_set(err, E_STORE, "abandoned");
    return 0;
}

static int
copy(struct mover *m, struct qcow2_image *image, unsigned snapshot, const struct extents *plan,
     struct err **err)
{
    struct pretend_source source;
    struct transfer_job job = {
        .source = &source.source,
        .target = qcow2_target(image),
        .pool = m->pool,
        .plan = plan,
        .request_bytes = m->scenario->request_bytes,
        .done = &m->done,
        .checkpoint_ms = NEVER_MS,
        .checkpoint_bytes = m->scenario->checkpoint_bytes,
        .on_checkpoint = on_checkpoint,
        .opaque = m,
        .cancel = &m->cancel,
    };
    int result;

    pretend_source_init(&source, m->history->sizes[snapshot]);
    free(source.bytes);
    source.bytes = m->history->bytes[snapshot]; /* only read */
    memcpy(m->done.bits, m->store.bits, transfer_bitmap_bytes(&m->done));
    m->cancel = 0;
    enter(m, PHASE_COPY);
    result = transfer_run(&job, NULL, err);
    source.bytes = NULL;
    pretend_source_done(&source);
    return result;
}

static int
copy_base(struct mover *m, struct qcow2_image *image, struct err **err)
{
    struct extents plan = {0};
    int result;

    history_allocated(m->history, m->store.snapshot, &plan);
    result = qcow2_mapped(image, &plan, err);
    if (result == 0)
        result = extents_normalize(&plan, m->history->sizes[m->store.snapshot], 0, true, err);
    if (result == 0)
        result = copy(m, image, m->store.snapshot, &plan, err);
    vec_done(&plan);
    if (result < 0)
        return -1;
    m->store.is_base_done = true;
    memset(m->store.bits, 0, sizeof(m->store.bits));
    publish(m);
    return 0;
}

static int
finish(struct mover *m, struct qcow2_image **image, struct err **err)
{
    enter(m, PHASE_FINISH);
    return qcow2_finish(image, err);
}

static int
copy_round(struct mover *m, struct qcow2_image **image, struct err **err)
{
    struct extents plan = {0};
    bool is_last;
    int result;

    is_last = m->store.round == last_snapshot(m);
    history_changes(m->history, m->store.snapshot, m->store.round, &plan);
    result = copy(m, *image, m->store.round, &plan, err);
    vec_done(&plan);
    if (result == 0 && (is_last || (m->scenario->finishes_midway && m->store.round == 1)))
        result = finish(m, image, err);
    if (result < 0)
        return -1;
    m->store.snapshot = m->store.round;
    m->store.round = 0;
    m->store.is_finished = is_last;
    memset(m->store.bits, 0, sizeof(m->store.bits));
    publish(m);
    return 0;
}

static int
open_image(struct mover *m, struct qcow2_image **ret_image, struct err **err)
{
    const struct qcow2_options options = {
        .owner_id = TEST_OWNER,
        .pool = m->pool,
        .cluster_bits = CLUSTER_BITS,
        .l2_cache_bytes = 4ULL << CLUSTER_BITS, /* pages are written back at any time */
    };

    const uint64_t size =
        m->history->sizes[m->store.is_base_done ? m->store.round : m->store.snapshot];

    if (access(m->path, F_OK) == 0) {
        enter(m, PHASE_RESUME);
        return qcow2_resume(m->path, size, &options, ret_image, err);
    }
    if (m->store.has_file)
        return err_set(err, E_TARGET_FORMAT, "%s is gone", m->path);
    enter(m, PHASE_CREATE);
    if (qcow2_create(m->path, size, &options, ret_image, err) < 0)
        return -1;
    m->store.has_file = true;
    publish(m);
    return 0;
}

static int
run_pass(struct mover *m, struct err **err)
{
    CLEANUP(qcow2_closep) struct qcow2_image *image = NULL;

    if (m->store.is_base_done && !m->store.round) {
        m->store.round = MIN(m->store.snapshot + 1, last_snapshot(m));
        publish(m);
    }
    if (open_image(m, &image, err) < 0)
        return -1;
    m->store.has_file = true;
    return m->store.is_base_done ? copy_round(m, &image, err) : copy_base(m, image, err);
}

int
mover_run(struct mover *m, struct err **err)
{
    int result = 0;

    if (!m->done.bits)
        transfer_bitmap_init(&m->done, m->history->size);
    if (transfer_bitmap_bytes(&m->done) > sizeof(m->store.bits))
        abort();
    go_on(m);
    io_fault_attach(m->fault);
    calls_attach(m->calls);
    while (result == 0 && !m->store.is_finished)
        result = run_pass(m, err);
    calls_attach(NULL);
    io_fault_attach(NULL);
    return result;
}

void
mover_done(struct mover *m)
{
    transfer_bitmap_done(&m->done);
    vec_done(&m->publications);
    vec_done(&m->marks);
}
