/* How often a wrong password may be tried: to slow guessing down without letting anybody lock others out.
 *
 * Three counts, each forgotten five minutes after its last try.  Of a name from one address: five.  Of an address
 * with any names: twenty.  Of a name from anywhere: after twenty, as when many addresses guess at once, each
 * address has one try instead of five, so that the one who knows the password still gets in.  Where somebody signed
 * in lately only the first of these counts for them: neither a neighbour nor the whole net can keep them out. */
#include <stdio.h>
#include <string.h>

#include "api/internal.h"

#define MAX_TRIES      5
#define MANY_TRIES     20
#define FORGIVE_MS     (5 * 60 * 1000LL)
#define KNOWN_MS       (24 * 3600 * 1000LL)
#define MAX_REMEMBERED 4096

/* Of an address, of a name, or of both. */
struct tries {
    char subject[160];
    unsigned count;
    int64_t last_ms;
    int64_t known_ms; /* when somebody signed in; 0: nobody did lately */
};
struct guard {
    pthread_mutex_t mutex;
    VEC_DECLARE(, struct tries)
    remembered; /* oldest first */
};

struct guard *
guard_new(void)
{
    struct guard *guard = xcalloc(1, sizeof(*guard));

    pthread_mutex_init(&guard->mutex, NULL);
    return guard;
}

void
guard_free(struct guard *guard)
{
    vec_done(&guard->remembered);
    pthread_mutex_destroy(&guard->mutex);
    free(guard);
}

/* What one customer of a provider has: an address of IPv4, a network of IPv6. */
static void
describe_address(const char *address, char ret[IP_TEXT])
{
    struct ip ip;

    snprintf(ret, IP_TEXT, "%s", address);
    if (!ip_parse(address, &ip))
        return;
    if (!ip_is_v4(&ip))
        memset(ip.bytes + 8, 0, 8);
    ip_format(&ip, ret);
}

struct subjects {
    char pair[160], address[160], name[160];
};

static void
describe(const char *user, const char *address, struct subjects *ret)
{
    char from[IP_TEXT];

    describe_address(address, from);
    snprintf(ret->pair, sizeof(ret->pair), "pair %s %.64s", from, user);
    snprintf(ret->address, sizeof(ret->address), "address %s", from);
    snprintf(ret->name, sizeof(ret->name), "name %.64s", user);
}

/* ---- under the mutex ------------------------------------------------------------------------------- */

static void
forget_old(struct guard *guard, int64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < guard->remembered.count; i++) {
        struct tries *t = &guard->remembered.items[i];

        if (now_ms - t->last_ms >= FORGIVE_MS)
            t->count = 0;
        if (t->known_ms && now_ms - t->known_ms >= KNOWN_MS)
            t->known_ms = 0;
        if (t->count || t->known_ms)
            guard->remembered.items[kept++] = *t;
    }
    guard->remembered.count = kept;
}

static struct tries *
find(struct guard *guard, const char *subject)
{
    for (size_t i = 0; i < guard->remembered.count; i++)
        if (!strcmp(guard->remembered.items[i].subject, subject))
            return &guard->remembered.items[i];
    return NULL;
}

/* Where people sign in is kept the longest. */
static void
make_room(struct guard *guard)
{
    size_t victim = 0;

    if (guard->remembered.count < MAX_REMEMBERED)
        return;
    while (victim < guard->remembered.count && guard->remembered.items[victim].known_ms)
        victim++;
    victim %= guard->remembered.count;
    guard->remembered.count--;
    memmove(guard->remembered.items + victim, guard->remembered.items + victim + 1,
            (guard->remembered.count - victim) * sizeof(guard->remembered.items[0]));
}

static struct tries *
find_or_add(struct guard *guard, const char *subject)
{
    struct tries *found = find(guard, subject), fresh = {0};

    if (found)
        return found;
    make_room(guard);
    snprintf(fresh.subject, sizeof(fresh.subject), "%s", subject);
    vec_push(&guard->remembered, fresh);
    return &guard->remembered.items[guard->remembered.count - 1];
}

static unsigned
count_of(const struct tries *tries)
{
    return tries ? tries->count : 0;
}

/* What keeps the caller out; NULL: nothing. */
static const struct tries *
find_obstacle(struct guard *guard, const struct subjects *s)
{
    const struct tries *pair = find(guard, s->pair), *address = find(guard, s->address);
    bool is_known = pair && pair->known_ms;
    bool is_attacked = count_of(find(guard, s->name)) >= MANY_TRIES;

    if (count_of(pair) >= (is_attacked && !is_known ? 1 : MAX_TRIES))
        return pair;
    return !is_known && count_of(address) >= MANY_TRIES ? address : NULL;
}

/* ---- a try ----------------------------------------------------------------------------------------- */

int64_t
guard_take(struct guard *guard, const char *user, const char *address, int64_t now_ms)
{
    const struct tries *obstacle;
    struct subjects s;

    describe(user, address, &s);
    SCOPE_LOCK(&guard->mutex);
    forget_old(guard, now_ms);
    obstacle = find_obstacle(guard, &s);
    if (obstacle)
        return (obstacle->last_ms + FORGIVE_MS - now_ms + 999) / 1000;
    for (size_t i = 0; i < 3; i++) {
        struct tries *t = find_or_add(guard, (const char *[]){s.pair, s.address, s.name}[i]);

        t->count++;
        t->last_ms = now_ms;
    }
    return 0;
}

void
guard_forgive(struct guard *guard, const char *user, const char *address, int64_t now_ms)
{
    struct subjects s;
    struct tries *t;

    describe(user, address, &s);
    SCOPE_LOCK(&guard->mutex);
    for (size_t i = 0; i < 2; i++) {
        t = find(guard, i ? s.name : s.address);
        if (t && t->count)
            t->count--;
    }
    t = find_or_add(guard, s.pair);
    t->count = 0;
    t->known_ms = MAX(now_ms, 1);
}
