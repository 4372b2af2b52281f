#include "migration/slots_policy.h"

#include <string.h>

#include "base/util.h"

static bool
is_held(const struct slots_view *view, const struct slots_claim *claim)
{
    return claim->state == SLOTS_HELD && claim != view->without;
}

static bool
is_same_host(const struct slots_claim *a, const struct slots_claim *b)
{
    return !strncmp(a->host, b->host, sizeof(a->host));
}

/* A VM that is off never waits for copies: neither for the engine's handles, nor for a host that copies
 * have filled. */
enum slots_verdict
slots_room(const struct slots_view *view, const struct slots_claim *claim)
{
    const struct slots_limits *limits = view->limits;
    unsigned held = 0, on_host = 0, finals_on_host = 0;

    for (size_t i = 0; i < view->count; i++) {
        const struct slots_claim *other = &view->claims[i];

        if (!is_held(view, other))
            continue;
        held++;
        if (is_same_host(claim, other)) {
            on_host++;
            finals_on_host += other->is_final;
        }
    }
    if (!claim->is_final && held >= limits->handles)
        return SLOTS_ENGINE_FULL;
    if (!limits->handles_per_host || !claim->host[0] || on_host < limits->handles_per_host)
        return SLOTS_OK;
    return claim->is_final && finals_on_host < SLOTS_FINAL_RESERVE ? SLOTS_OK : SLOTS_HOST_FULL;
}

/* Handles that the claim's VM holds, less what it has waited for. */
static int64_t
burden(const struct slots_view *view, const struct slots_claim *claim)
{
    int64_t held = -((view->now_ms - claim->since_ms) / SLOTS_AGE_MS);

    for (size_t i = 0; i < view->count; i++)
        held += is_held(view, &view->claims[i]) && view->claims[i].vm == claim->vm;
    return MAX(held, 0);
}

static bool
goes_before(const struct slots_view *view, const struct slots_claim *a, const struct slots_claim *b)
{
    int64_t burden_a, burden_b;

    if (a->is_final != b->is_final)
        return a->is_final;
    burden_a = burden(view, a);
    burden_b = burden(view, b);
    return burden_a != burden_b ? burden_a < burden_b : a->ticket < b->ticket;
}

static bool
is_waiting(const struct slots_view *view, const struct slots_claim *claim)
{
    return claim->state == SLOTS_WAITING && view->now_ms - claim->seen_ms <= SLOTS_STALE_MS;
}

const struct slots_claim *
slots_next(const struct slots_view *view)
{
    const struct slots_claim *first = NULL;

    for (size_t i = 0; i < view->count; i++) {
        const struct slots_claim *claim = &view->claims[i];

        if (is_waiting(view, claim) && (!first || goes_before(view, claim, first)) &&
            slots_room(view, claim) == SLOTS_OK)
            first = claim;
    }
    return first;
}

/* Half of what is left, so that whoever comes later finds something; a VM that is off gets what it
 * wants. */
unsigned
slots_pool(const struct slots_view *view, unsigned wanted, bool is_final)
{
    unsigned limit = view->limits->inflight_mib, used = 0;

    if (!limit || is_final)
        return MAX(wanted, SLOTS_LEAST_POOL);
    for (size_t i = 0; i < view->count; i++)
        if (is_held(view, &view->claims[i]))
            used += view->claims[i].pool_slots;
    return MAX(MIN(wanted, (limit - MIN(used, limit)) / 2), SLOTS_LEAST_POOL);
}

bool
slots_is_wanted(const struct slots_view *view, const struct slots_claim *held)
{
    struct slots_view after = *view;

    after.without = held;
    for (size_t i = 0; i < view->count; i++) {
        const struct slots_claim *claim = &view->claims[i];

        if (is_waiting(view, claim) && slots_room(view, claim) != SLOTS_OK &&
            slots_room(&after, claim) == SLOTS_OK)
            return true;
    }
    return false;
}
