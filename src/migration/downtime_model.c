/* The model: a pass costs something fixed and something for each byte, both learned from the last rounds;
 * the guest changes as much in a second as in the busiest of the last three rounds.  Where it errs it is to
 * err on the long side: somebody plans an outage by it. */
#include "migration/downtime_model.h"

#include "base/util.h"

#define FALLBACK_BYTES_PER_S (50.0 * MIB) /* nothing was measured */
#define GAIN                 0.9          /* less than this of the best is a gain */
#define PATIENCE             3            /* rounds without one */

static double
ms_per_byte_of(uint64_t bytes_per_s)
{
    return 1000.0 / (bytes_per_s ? (double)bytes_per_s : FALLBACK_BYTES_PER_S);
}

/* Least squares over the rounds.  What does not look like a cost (one size of round only, or more bytes in
 * less time) is taken from the base copy's rate. */
struct downtime_cost
downtime_fit(const struct store_round *rounds, size_t count, uint64_t base_bytes_per_s)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0, slope = 0, spread;

    for (size_t i = 0; i < count; i++) {
        double bytes = (double)rounds[i].changed_bytes, ms = (double)rounds[i].copy_ms;

        if (rounds[i].number == 0)
            continue;
        n++, x += bytes, y += ms, xx += bytes * bytes, xy += bytes * ms;
    }
    if (n == 0)
        return (struct downtime_cost){0, ms_per_byte_of(base_bytes_per_s)};
    spread = n * xx - x * x;
    if (spread > (double)MIB * MIB)
        slope = (n * xy - x * y) / spread;
    if (slope <= 0)
        slope = ms_per_byte_of(base_bytes_per_s);
    return (struct downtime_cost){MAX((y - slope * x) / n, 0), slope};
}

double
downtime_change_rate(const struct store_round *rounds, size_t count)
{
    double most = 0;

    for (size_t i = count > 3 ? count - 3 : 0; i < count; i++)
        if (rounds[i].covered_ms > 0)
            most = MAX(most, (double)rounds[i].changed_bytes / (double)rounds[i].covered_ms);
    return most;
}

static double
changed_in(const struct downtime_facts *facts, double rate, double ms)
{
    return MIN(rate * MAX(ms, 0), (double)facts->capacity);
}

/* The mean of what rounds take beside copying: their snapshot, and its removal. */
static double
round_extra_ms(const struct downtime_facts *facts)
{
    double sum = 0, n = 0;

    for (size_t i = 0; i < facts->round_count; i++)
        if (facts->rounds[i].number > 0)
            n++, sum += (double)(facts->rounds[i].total_ms - facts->rounds[i].copy_ms);
    return n > 0 ? sum / n : 0;
}

void
downtime_predict(const struct downtime_facts *facts, struct migration_downtime *ret)
{
    const struct store_round *rounds = facts->rounds;
    size_t count = facts->round_count;
    struct downtime_cost cost = downtime_fit(rounds, count, facts->base_bytes_per_s);
    double rate = downtime_change_rate(rounds, count), since, extra_round_ms;
    int64_t rest;

    *ret = (struct migration_downtime){
        .shutdown_ms = facts->shutdown_ms,
        .settle_ms = facts->settle_ms,
        .convert_ms = facts->convert_ms,
        .import_ms = facts->import_ms,
        .max_ms = facts->max_ms,
    };
    if (count == 0 || rounds[count - 1].number == 0)
        return;
    ret->is_known = true;
    since = (double)(facts->now_ms - rounds[count - 1].began_at_ms);
    ret->sync_now_ms =
        (int64_t)(cost.fixed_ms +
                  cost.ms_per_byte * changed_in(facts, rate, since + (double)facts->shutdown_ms));
    /* Plain finalize runs one more round first, whose bytes are not downtime, but what changes during it is. */
    extra_round_ms =
        round_extra_ms(facts) + cost.fixed_ms + cost.ms_per_byte * changed_in(facts, rate, since);
    ret->sync_ms =
        (int64_t)(cost.fixed_ms +
                  cost.ms_per_byte *
                      changed_in(facts, rate, extra_round_ms + (double)facts->shutdown_ms));
    rest = facts->shutdown_ms + facts->settle_ms + facts->import_ms + MAX(facts->convert_ms, 0);
    ret->total_ms = rest + ret->sync_ms;
    ret->total_now_ms = rest + ret->sync_now_ms;
    ret->least_ms = rest + (int64_t)cost.fixed_ms;
}

bool
downtime_is_hopeless(struct downtime_trend *trend, const struct migration_downtime *downtime)
{
    if (downtime->convert_ms < 0 || downtime->least_ms > downtime->max_ms)
        return true;
    if (!trend->best_ms || (double)downtime->total_now_ms < GAIN * (double)trend->best_ms) {
        trend->best_ms = downtime->total_now_ms;
        trend->stalled = 0;
    } else {
        trend->stalled++;
    }
    return trend->stalled >= PATIENCE;
}
