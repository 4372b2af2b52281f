#include "source/vddk_trial.h"

#include "base/util.h"

/* How much of a time there must be a full queue in it: else something else than the host is slow. */
#define FULL_PERCENT 80

const struct vddk_trial_times vddk_trial_times = {
    .warm = 10000,
    .settle = 500,
    .window = 2000,
    .warm_bytes = 128 * MIB,
    .window_bytes = 32 * MIB,
};

static void
begin(struct vddk_trial *trial, uint64_t bytes)
{
    trial->since_ms = trial->now_ms;
    trial->since_bytes = bytes;
    trial->full_ms = 0;
}

void
vddk_trial_init(struct vddk_trial *trial, const struct vddk_trial_times *times, int64_t now_ms)
{
    *trial = (struct vddk_trial){.times = *times, .now_ms = now_ms};
    begin(trial, 0);
}

static bool
was_full(const struct vddk_trial *trial)
{
    return trial->full_ms * 100 >= (trial->now_ms - trial->since_ms) * FULL_PERCENT;
}

static enum vddk_trial_step
tick_warming(struct vddk_trial *trial, uint64_t bytes)
{
    if (trial->now_ms - trial->since_ms < trial->times.warm)
        return VDDK_TRIAL_STAY;
    if (!was_full(trial)) {
        begin(trial, bytes);
        return VDDK_TRIAL_STAY;
    }
    if (bytes - trial->since_bytes < trial->times.warm_bytes)
        return VDDK_TRIAL_STAY; /* a slow host is given longer */
    trial->phase = TRIAL_OPENING;
    return VDDK_TRIAL_OPEN;
}

/* Whether both are in use in this window: every other one. */
static unsigned
is_both(const struct vddk_trial *trial)
{
    return trial->windows % 2;
}

/* The rate in the middle: a window that something disturbed does not count. */
static uint64_t
middle(const uint64_t rates[VDDK_TRIAL_PAIRS])
{
    uint64_t a = rates[0], b = rates[1], c = rates[2];

    _Static_assert(VDDK_TRIAL_PAIRS == 3, "three have a middle");
    return MAX(MIN(a, b), MIN(MAX(a, b), c));
}

static enum vddk_trial_step
decide(struct vddk_trial *trial)
{
    trial->phase = TRIAL_OVER;
    trial->rate_one = middle(trial->rates[0]);
    trial->rate_both = middle(trial->rates[1]);
    return trial->rate_both / 100 > trial->rate_one / 100 * (100 + VDDK_TRIAL_GAIN) / 100
               ? VDDK_TRIAL_KEEP
               : VDDK_TRIAL_DROP;
}

static enum vddk_trial_step
next_window(struct vddk_trial *trial, uint64_t bytes)
{
    trial->windows++;
    trial->is_settling = true;
    begin(trial, bytes);
    return is_both(trial) ? VDDK_TRIAL_BOTH : VDDK_TRIAL_ONE;
}

static enum vddk_trial_step
tick_measuring(struct vddk_trial *trial, uint64_t bytes, bool is_settled)
{
    int64_t elapsed_ms = trial->now_ms - trial->since_ms;
    unsigned which = is_both(trial);

    if (trial->is_settling) {
        trial->is_settling = elapsed_ms < trial->times.settle || !is_settled;
        if (!trial->is_settling)
            begin(trial, bytes);
        return VDDK_TRIAL_STAY;
    }
    if (elapsed_ms < trial->times.window ||
        (was_full(trial) && bytes - trial->since_bytes < trial->times.window_bytes))
        return VDDK_TRIAL_STAY;
    if (was_full(trial) && trial->count[which] < VDDK_TRIAL_PAIRS)
        trial->rates[which][trial->count[which]++] =
            (bytes - trial->since_bytes) * 1000 / (uint64_t)elapsed_ms;
    if (trial->count[0] == VDDK_TRIAL_PAIRS && trial->count[1] == VDDK_TRIAL_PAIRS)
        return decide(trial);
    if (trial->windows + 1 >= VDDK_TRIAL_MAX_WINDOWS) {
        trial->phase = TRIAL_OVER;
        return VDDK_TRIAL_DROP;
    }
    return next_window(trial, bytes);
}

enum vddk_trial_step
vddk_trial_tick(struct vddk_trial *trial, int64_t now_ms, uint64_t bytes, bool is_full,
                bool is_settled)
{
    if (trial->is_full)
        trial->full_ms += now_ms - trial->now_ms;
    trial->now_ms = now_ms;
    trial->is_full = is_full;
    switch (trial->phase) {
    case TRIAL_WARMING:
        return tick_warming(trial, bytes);
    case TRIAL_MEASURING:
        return tick_measuring(trial, bytes, is_settled);
    default:
        return VDDK_TRIAL_STAY;
    }
}

enum vddk_trial_step
vddk_trial_opened(struct vddk_trial *trial, int64_t now_ms, uint64_t bytes, bool is_open)
{
    trial->now_ms = now_ms;
    if (!is_open) {
        trial->phase = TRIAL_OVER;
        return VDDK_TRIAL_STAY;
    }
    /* It begins with one: opening the second may have disturbed the first. */
    trial->phase = TRIAL_MEASURING;
    trial->is_settling = true;
    begin(trial, bytes);
    return VDDK_TRIAL_ONE;
}

void
vddk_trial_postpone(struct vddk_trial *trial, uint64_t bytes)
{
    trial->phase = TRIAL_WARMING;
    begin(trial, bytes);
}

void
vddk_trial_stop(struct vddk_trial *trial)
{
    trial->phase = TRIAL_OVER;
}
