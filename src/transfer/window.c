#include "transfer/window.h"

#include "base/util.h"

#define FIRST_READS   16U /* more only after they were seen to help */
#define USUAL_LEAST   8U  /* fewer only where the source is slow */
#define LEAST_READS   2U
#define LEAST_REQUEST (256U * KIB)
#define STRETCH       256U /* reads */
/* Points in a row, as the existing tool counts them. */
#define SLOW_POINTS   3U
#define FAST_POINTS   8U

void
window_init(struct transfer_window *w, const struct transfer_tuning *tuning, unsigned most,
            uint32_t request_bytes, int64_t now_ms)
{
    *w = (struct transfer_window){.request_bytes = request_bytes,
                                  .most_request_bytes = request_bytes};
    if (tuning)
        w->tuning = *tuning;
    if (!w->tuning.least_request_bytes)
        w->tuning.least_request_bytes = LEAST_REQUEST;
    w->tuning.least_request_bytes = MIN(w->tuning.least_request_bytes, request_bytes);
    if (!w->tuning.fast_latency_ms)
        w->tuning.fast_latency_ms = 40;
    if (!w->tuning.slow_latency_ms)
        w->tuning.slow_latency_ms = 250;
    if (!w->tuning.fast_mib_per_s)
        w->tuning.fast_mib_per_s = 180;
    if (!w->tuning.slow_mib_per_s)
        w->tuning.slow_mib_per_s = 40;
    climb_init(&w->climb, FIRST_READS, MIN(most, LEAST_READS), most, now_ms);
}

unsigned
window_reads(const struct transfer_window *w)
{
    return w->climb.count;
}

static void
note_least(struct transfer_window *w, int64_t latency_ms)
{
    if (w->stretch == 0)
        w->stretch_least_ms = latency_ms;
    w->stretch_least_ms = MIN(w->stretch_least_ms, latency_ms);
    if (!w->least_ms || w->stretch_least_ms < w->least_ms)
        w->least_ms = w->stretch_least_ms;
    if (++w->stretch < STRETCH)
        return;
    w->least_ms = w->stretch_least_ms;
    w->stretch = 0;
}

/* Longer than the way takes by more than that again: it waited behind others. */
static bool
has_waited(const struct transfer_window *w, int64_t latency_ms)
{
    return latency_ms > w->tuning.fast_latency_ms && latency_ms >= 2 * w->least_ms;
}

static void
consider_fewer(struct transfer_window *w, bool is_slow, int64_t now_ms)
{
    unsigned least = is_slow ? LEAST_READS : USUAL_LEAST;

    if (++w->queued < w->climb.count)
        return;
    w->queued = 0;
    (void)climb_try_fewer(&w->climb, least, now_ms);
}

static void
consider_size(struct transfer_window *w, bool is_slow, bool is_fast)
{
    w->slow = is_slow ? w->slow + 1 : 0;
    w->fast = is_fast ? w->fast + 1 : 0;
    if (w->slow >= SLOW_POINTS && w->climb.count <= w->climb.least) {
        w->slow = 0;
        w->request_bytes = MAX((uint32_t)round_up(w->request_bytes / 2, DISK_SECTOR),
                               w->tuning.least_request_bytes);
    } else if (w->fast >= FAST_POINTS) {
        w->fast = 0;
        w->request_bytes = MIN(w->request_bytes * 2, w->most_request_bytes);
    }
}

void
window_note(struct transfer_window *w, uint32_t bytes, int64_t latency_ms, unsigned in_flight,
            int64_t now_ms)
{
    const struct transfer_tuning *t = &w->tuning;
    uint64_t mib_per_s;
    bool is_late, is_poor, is_fast;

    latency_ms = MAX(latency_ms, 1);
    mib_per_s = (uint64_t)bytes * in_flight * 1000 / (uint64_t)latency_ms / MIB;
    note_least(w, latency_ms);
    is_late = latency_ms >= t->slow_latency_ms;
    is_poor = mib_per_s <= t->slow_mib_per_s;
    is_fast = latency_ms <= t->fast_latency_ms && mib_per_s >= t->fast_mib_per_s;
    if (has_waited(w, latency_ms))
        consider_fewer(w, is_late || is_poor, now_ms);
    else
        w->queued = 0;
    consider_size(w, is_late && is_poor, is_fast);
    (void)climb_note(&w->climb, bytes, now_ms);
}
