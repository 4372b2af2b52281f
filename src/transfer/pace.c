/* A limit of the rate of reading.  What is kept is the time from which on the next read may begin: each
 * read moves it on by as long as it takes at the rate.  The rate itself is not shared: everybody reckons
 * with what they were told.
 *
 * Those who share a limit take turns: each has an account of the link's time that it used, and one that
 * has used more lets those go first who have used less and wait. */
#include "transfer/pace.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/util.h"

#define BURST_MS     250   /* that may be made up for after a pause */
#define MAX_OWED_MS  1000  /* ahead of time, but for one request of the largest size */
#define YIELD_MS     3     /* until the one whose turn it is has had time to take it */
#define WANTING_MS   500   /* who has not asked again since does not wait any more */
#define ABANDONED_MS 60000 /* whose place may be taken */
#define NS_PER_MS    1000000LL

struct transfer_pace {
    struct pace_cell *cell;
    bool is_mapped;
    _Atomic uint64_t bytes_per_s; /* 0: no limit */
    uint64_t id;                  /* as owner of a party; never 0 */
    pthread_mutex_t mutex;        /* of looking for a party */
    _Atomic int party;            /* index; -1: none */
};

struct transfer_pace *
pace_wrap(struct pace_cell *cell, bool is_mapped)
{
    struct transfer_pace *pace = xcalloc(1, sizeof(*pace));

    pace->cell = cell;
    pace->is_mapped = is_mapped;
    pace->party = -1;
    if (getrandom(&pace->id, sizeof(pace->id), GRND_NONBLOCK) != sizeof(pace->id) || !pace->id)
        pace->id = ((uint64_t)getpid() << 32) ^ (uintptr_t)pace ^ 1; /* early in the boot */
    pthread_mutex_init(&pace->mutex, NULL);
    return pace;
}

struct transfer_pace *
transfer_pace_new(void)
{
    return pace_wrap(xcalloc(1, sizeof(struct pace_cell)), false);
}

void
transfer_pace_freep(struct transfer_pace **pace)
{
    struct transfer_pace *p = take(*pace);
    uint64_t mine;

    if (!p)
        return;
    mine = p->id;
    if (p->party >= 0)
        atomic_compare_exchange_strong(&p->cell->parties[p->party].owner, &mine, 0);
    if (p->is_mapped)
        (void)munmap(p->cell, sizeof(*p->cell));
    else
        free(p->cell);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

/* ---- turns ------------------------------------------------------------------------------------ */

/* Times may be of before the machine was started again: then they lie in the future. */
static bool
is_within(int64_t at_ms, int64_t ms, int64_t now_ms)
{
    return at_ms && at_ms <= now_ms && at_ms > now_ms - ms;
}

static struct pace_party *
party_if_mine(struct transfer_pace *pace)
{
    int index = pace->party;
    struct pace_party *party = index < 0 ? NULL : &pace->cell->parties[index];

    return party && party->owner == pace->id ? party : NULL;
}

/* The account of this pace's user; takes a place for it where it has none, or was silent for so long
 * that another took it.  NULL when all are in use: then it waits for nobody, and nobody for it. */
static struct pace_party *
find_party(struct transfer_pace *pace, int64_t now_ms)
{
    struct pace_party *party = party_if_mine(pace);

    if (party)
        return party;
    SCOPE_LOCK(&pace->mutex);
    party = party_if_mine(pace); /* another thread has found one meanwhile */
    for (int i = 0; i < PACE_PARTIES && !party; i++) {
        struct pace_party *other = &pace->cell->parties[i];
        uint64_t owner = other->owner;

        if (owner && is_within(other->seen_ms, ABANDONED_MS, now_ms))
            continue;
        if (!atomic_compare_exchange_strong(&other->owner, &owner, pace->id))
            continue;
        other->wanting_ms = 0;
        other->used_ns = 0;
        other->seen_ms = now_ms;
        pace->party = i;
        party = other;
    }
    return party;
}

/* Whether somebody waits who has used less.  What a party did not use while it stayed away is gone:
 * nobody has used less than the one that was served last. */
static bool
is_others_turn(const struct pace_cell *cell, const struct pace_party *mine, int64_t now_ms)
{
    uint64_t used = mine->used_ns;

    if (used <= cell->served_ns)
        return false;
    for (size_t i = 0; i < PACE_PARTIES; i++) {
        const struct pace_party *other = &cell->parties[i];

        if (other != mine && is_within(other->wanting_ms, WANTING_MS, now_ms) &&
            other->used_ns < used)
            return true;
    }
    return false;
}

/* ---- the link --------------------------------------------------------------------------------- */

static int64_t
cost_ns(uint64_t bytes, uint64_t bytes_per_s)
{
    return (int64_t)(bytes * 1000000000ULL / bytes_per_s);
}

/* The latest that the next read may have to wait for: more was owed at another rate, or before the
 * machine was started again. */
static int64_t
latest_ns(uint64_t bytes_per_s, int64_t now_ms)
{
    return now_ms * NS_PER_MS +
           MAX(cost_ns(DISK_MAX_REQUEST, bytes_per_s), MAX_OWED_MS * NS_PER_MS);
}

static int64_t
ask(struct transfer_pace *pace, int64_t now_ms)
{
    struct pace_cell *cell = pace->cell;
    uint64_t bytes_per_s = pace->bytes_per_s;
    int64_t now_ns = now_ms * NS_PER_MS, free_ns, latest, wait_ms = 0;
    struct pace_party *party;

    if (!bytes_per_s)
        return 0;
    party = find_party(pace, now_ms);
    latest = latest_ns(bytes_per_s, now_ms);
    free_ns = cell->free_ns;
    while (free_ns > latest)
        if (atomic_compare_exchange_weak(&cell->free_ns, &free_ns, latest))
            free_ns = latest;
    if (free_ns > now_ns)
        wait_ms = (free_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    else if (party && is_others_turn(cell, party, now_ms))
        wait_ms = YIELD_MS;
    if (party) {
        party->seen_ms = now_ms;
        party->wanting_ms = wait_ms ? now_ms : 0;
    }
    return wait_ms;
}

int64_t
transfer_pace_ask(struct transfer_pace *const *paces, int64_t now_ms)
{
    int64_t wait_ms = 0;

    for (; paces && *paces && !wait_ms; paces++)
        wait_ms = ask(*paces, now_ms);
    return wait_ms;
}

static void
charge(struct transfer_pace *pace, uint32_t bytes, int64_t now_ms)
{
    struct pace_cell *cell = pace->cell;
    uint64_t bytes_per_s = pace->bytes_per_s;
    int64_t cost, latest, begin_ns, free_ns = cell->free_ns;
    struct pace_party *party;

    if (!bytes_per_s)
        return;
    cost = cost_ns(bytes, bytes_per_s);
    latest = latest_ns(bytes_per_s, now_ms);
    do
        begin_ns = MAX(free_ns, (now_ms - BURST_MS) * NS_PER_MS);
    while (!atomic_compare_exchange_weak(&cell->free_ns, &free_ns, MIN(begin_ns + cost, latest)));
    party = find_party(pace, now_ms);
    if (party) {
        uint64_t used = MAX(party->used_ns, cell->served_ns);

        party->used_ns = used + (uint64_t)cost;
        cell->served_ns = used;
    }
}

void
transfer_pace_charge(struct transfer_pace *const *paces, uint32_t bytes, int64_t now_ms)
{
    for (; paces && *paces; paces++)
        charge(*paces, bytes, now_ms);
}

void
transfer_pace_set(struct transfer_pace *pace, uint64_t bytes_per_s, int64_t now_ms)
{
    uint64_t rate = MIN(bytes_per_s, TRANSFER_PACE_MAX);
    int64_t free_ns = pace->cell->free_ns;

    if (atomic_exchange(&pace->bytes_per_s, rate) == rate || !rate)
        return;
    /* Nothing is made up for from before there was this limit. */
    while (free_ns < now_ms * NS_PER_MS)
        if (atomic_compare_exchange_weak(&pace->cell->free_ns, &free_ns, now_ms * NS_PER_MS))
            break;
}
