#include "base/climb.h"

#include "base/util.h"

#define FIRST_PAUSE_MS 2000
#define MOST_PAUSE_MS  (5 * 60 * 1000)

static void
settle(struct climb *climb)
{
    climb->phase = CLIMB_SETTLING;
    climb->notes = 0;
}

static void
measure(struct climb *climb, int64_t now_ms)
{
    climb->phase = CLIMB_MEASURING;
    climb->notes = 0;
    climb->bytes = 0;
    climb->began_ms = now_ms;
}

void
climb_init(struct climb *climb, unsigned first, unsigned least, unsigned most, int64_t now_ms)
{
    *climb = (struct climb){
        .least = MAX(least, 1U), .next_trial_ms = now_ms, .pause_ms = FIRST_PAUSE_MS};
    climb->most = MAX(most, climb->least);
    climb->count = MIN(MAX(first, climb->least), climb->most);
    settle(climb);
}

void
climb_refuse(struct climb *climb, int64_t now_ms)
{
    if (climb->before)
        climb->count = take(climb->before);
    climb->rate_refused = climb->rate_before;
    climb->next_trial_ms = now_ms + climb->pause_ms;
    climb->pause_ms = MIN(climb->pause_ms * 2, MOST_PAUSE_MS);
    settle(climb);
}

/* What a step of half as many more is expected to bring is half as much; a fifth of that is more than
 * the measurement's own error.  A step down must not cost more than that error. */
static bool
has_helped(const struct climb *climb, uint64_t rate)
{
    uint64_t share;

    if (climb->count < climb->before)
        return rate >= climb->rate_before - climb->rate_before / 100 * 3;
    share = (climb->count - climb->before) * 100U / climb->before / 5;
    return rate > climb->rate_before + climb->rate_before / 100 * MAX(share, 4U);
}

static void
step(struct climb *climb, unsigned count)
{
    climb->before = climb->count;
    climb->rate_before = climb->rate;
    climb->count = count;
    settle(climb);
}

bool
climb_try_fewer(struct climb *climb, unsigned least, int64_t now_ms)
{
    unsigned count = MAX(MAX(climb->count / 2, climb->least), least);

    if (climb->before || !climb->rate || now_ms < climb->next_trial_ms || count >= climb->count)
        return false;
    step(climb, count);
    return true;
}

/* A measurement is over. */
static void
judge(struct climb *climb, uint64_t rate, int64_t now_ms)
{
    unsigned before = climb->before;

    climb->rate = rate;
    if (before && !has_helped(climb, rate)) {
        climb_refuse(climb, now_ms);
        return;
    }
    climb->before = 0;
    if (before > climb->count) { /* fewer do; more have just been seen to be no better */
        climb->rate_refused = rate;
        climb->next_trial_ms = now_ms + climb->pause_ms;
        return;
    }
    if (before || rate < climb->rate_refused - climb->rate_refused / 4) {
        climb->pause_ms = FIRST_PAUSE_MS;
        climb->next_trial_ms = now_ms;
        climb->rate_refused = 0;
    }
    if (climb->count < climb->most && now_ms >= climb->next_trial_ms)
        step(climb, MIN(climb->count + MAX(climb->count / 2, 1U), climb->most));
}

bool
climb_note(struct climb *climb, uint32_t bytes, int64_t now_ms)
{
    unsigned count = climb->count;
    int64_t took_ms;

    climb->notes++;
    if (climb->phase == CLIMB_SETTLING) {
        if (climb->notes >= climb->count)
            measure(climb, now_ms);
        return false;
    }
    climb->bytes += bytes;
    took_ms = now_ms - climb->began_ms;
    if (took_ms < CLIMB_LEAST_MS || (climb->notes < CLIMB_LEAST_NOTES && took_ms < CLIMB_MOST_MS))
        return false;
    judge(climb, climb->bytes * 1000 / (uint64_t)took_ms, now_ms);
    if (climb->phase == CLIMB_MEASURING)
        measure(climb, now_ms);
    return climb->count != count;
}
