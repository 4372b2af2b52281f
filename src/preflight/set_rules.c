/* Rules of all VMs together: room in the pools, limits of the owners, and what two VMs share. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "cloudstack/cloudstack.h"
#include "preflight/internal.h"

#define FULL_BYTES (1.0 * (double)MIB) /* a pool with less is full */

/* ---- room in the pools ------------------------------------------------------------------------ */

struct demand {
    double bytes; /* the capacities of all disks that go there */
    size_t disks;
    size_t conversions; /* VMs that are to be converted whose boot disk goes there */
};

static struct demand
demand_on_pool(const struct subject *subjects, size_t count, const char *pool_id)
{
    struct demand demand = {0};

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < subjects[i].disks->count; k++) {
            const struct preflight_disk *disk = &subjects[i].disks->items[k];

            if (!fact_same_id(disk->storage_id, pool_id))
                continue;
            demand.bytes += (double)disk->disk->capacity;
            demand.disks++;
            demand.conversions += disk->is_boot && subjects[i].spec->run_virt_v2v;
        }
    return demand;
}

/* What this host sees: a thin disk may grow to its capacity, so less than that is no failure. */
static void
check_free(const json_t *facts, const char *id, const char *name, const struct demand *demand,
           struct preflight_findings *f)
{
    const json_t *dir = json_object_get(json_object_get(facts, "dir"), id);
    double free_bytes = fact_number(dir, "free", -1);
    CLEANUP(str_done) struct str has = STR_INIT(64);
    CLEANUP(str_done) struct str wants = STR_INIT(64);

    if (free_bytes < 0)
        return;
    fact_append_bytes(&has, free_bytes);
    fact_append_bytes(&wants, demand->bytes);
    if (free_bytes < FULL_BYTES)
        finding_add(f, "target.space", PREFLIGHT_FAILURE, "make room in the pool",
                    "pool %s is full (%s free)", name, str_text(&has));
    else if (free_bytes < demand->bytes)
        finding_add(f, "target.space", PREFLIGHT_WARNING,
                    "make room, or see that the disks hold less than their size",
                    "pool %s has %s free; the %zu disks hold up to %s", name, str_text(&has),
                    demand->disks, str_text(&wants));
    else
        finding_add(f, "target.space", PREFLIGHT_PASS, NULL,
                    "pool %s has %s free for up to %s in %zu disks", name, str_text(&has),
                    str_text(&wants), demand->disks);
}

/* A conversion is not begun without; by then the source is off.  The copies only take more of what is there
 * now. */
static void
check_conversion(const json_t *facts, const char *id, const char *name, const struct demand *demand,
                 struct preflight_findings *f)
{
    const json_t *dir = json_object_get(json_object_get(facts, "dir"), id);
    double free_bytes = fact_number(dir, "free", -1), floor = fact_number(dir, "floor", 0);
    double needed = floor + (double)PREFLIGHT_CONVERSION_BYTES;
    CLEANUP(str_done) struct str has = STR_INIT(64);
    CLEANUP(str_done) struct str wants = STR_INIT(64);

    if (!demand->conversions || free_bytes < 0)
        return;
    fact_append_bytes(&has, free_bytes);
    fact_append_bytes(&wants, needed);
    if (free_bytes < needed)
        finding_add(f, "target.conversion_space", PREFLIGHT_FAILURE,
                    "make room in the pool, or set run_virt_v2v: false for guests that have virtio "
                    "drivers",
                    "pool %s has %s free, and a conversion in it is not begun with less than %s",
                    name, str_text(&has), str_text(&wants));
    else if (free_bytes < needed + demand->bytes)
        finding_add(f, "target.conversion_space", PREFLIGHT_WARNING,
                    "make room, or see that the disks hold less than their size",
                    "pool %s has %s free; when its disks are full, the %s that a conversion wants "
                    "are not left",
                    name, str_text(&has), str_text(&wants));
    else
        finding_add(f, "target.conversion_space", PREFLIGHT_PASS, NULL,
                    "pool %s has room for a conversion (%s)", name, str_text(&wants));
}

/* CloudStack's own books: beyond its thresholds it plans nothing onto a pool, imports included. */
static void
check_books(const json_t *facts, const json_t *pool, const struct demand *demand,
            struct preflight_findings *f)
{
    static const char cure[] = "add capacity, or raise pool.storage.capacity.disablethreshold and "
                               "pool.storage.allocated.capacity.disablethreshold";
    const json_t *thresholds =
        json_object_get(json_object_get(facts, "thresholds"), fact_text(pool, "zoneid"));
    double total = fact_number(pool, "disksizetotal", 0),
           used = fact_number(pool, "disksizeused", 0);
    double allocated = fact_number(pool, "disksizeallocated", 0);
    double factor = fact_number(pool, "overprovisionfactor", 1);
    double used_limit = fact_number(thresholds, "used", 0.85);
    double allocated_limit = fact_number(thresholds, "allocated", 0.85);
    enum preflight_status status = thresholds ? PREFLIGHT_FAILURE : PREFLIGHT_WARNING;
    const char *name = fact_text(pool, "name");

    if (total <= 0)
        return;
    if (used / total > used_limit)
        finding_add(f, "target.space", status, cure,
                    "CloudStack counts pool %s as %.0f%% full, and plans nothing onto it beyond "
                    "%.0f%%",
                    name, 100 * used / total, 100 * used_limit);
    if (allocated + demand->bytes > total * factor * allocated_limit)
        finding_add(f, "target.space", PREFLIGHT_WARNING, cure,
                    "with these disks CloudStack has given away %.0f%% of pool %s, and plans "
                    "nothing onto it beyond %.0f%%",
                    100 * (allocated + demand->bytes) / (total * factor), name,
                    100 * allocated_limit);
}

static void
check_pool_room(const struct subject *subjects, size_t count, const json_t *facts,
                struct preflight_findings *f)
{
    json_t *pools = json_object_get(facts, "pool"), *pool;
    const char *id;

    json_object_foreach (pools, id, pool) {
        struct demand demand = demand_on_pool(subjects, count, id);

        if (!json_is_object(pool) || demand.disks == 0)
            continue;
        check_free(facts, id, fact_text(pool, "name"), &demand, f);
        check_conversion(facts, id, fact_text(pool, "name"), &demand, f);
        check_books(facts, pool, &demand, f);
    }
}

/* ---- limits of the owners --------------------------------------------------------------------- */

struct need {
    const char *key, *what;
    double amount;
};
enum { NEED_VMS, NEED_CPUS, NEED_MEMORY, NEED_VOLUMES, NEED_STORAGE, NEEDS };

/* CPUs and memory are those of the offering, or of the VM where the offering leaves them open. */
static void
add_needs(const struct subject *s, const json_t *facts, struct need needs[NEEDS])
{
    const json_t *offering;

    (void)fact_find(facts, "service_offering", s->spec->target.service_offering_id, &offering);
    needs[NEED_VMS].amount += 1;
    needs[NEED_VOLUMES].amount += (double)s->disks->count;
    needs[NEED_CPUS].amount += fact_number(offering, "cpunumber", s->vm ? s->vm->cpu_count : 0);
    needs[NEED_MEMORY].amount += fact_number(offering, "memory", s->vm ? s->vm->memory_mib : 0);
    for (size_t i = 0; i < s->disks->count; i++)
        needs[NEED_STORAGE].amount += ceil((double)s->disks->items[i].disk->capacity / (double)GIB);
}

/* @available: "Unlimited", "-1", or how many are left. */
static void
check_need(const struct need *need, const json_t *owner, const char *who,
           struct preflight_findings *f)
{
    double left = fact_number(owner, need->key, -1);

    if (left >= 0 && left < need->amount)
        finding_add(f, "target.limits", PREFLIGHT_FAILURE,
                    "raise the limit in CloudStack, or migrate into another account",
                    "%s has %.0f %s left, %.0f are needed", who, left, need->what, need->amount);
}

static void
check_owner_limits(const struct subject *subjects, size_t count, const json_t *facts,
                   const char *key, const json_t *owner, struct preflight_findings *f)
{
    static const char *const kinds[] = {"account", "domain", "project"};
    struct need needs[NEEDS] = {
        [NEED_VMS] = {"vmavailable", "instances", 0},
        [NEED_CPUS] = {"cpuavailable", "CPUs", 0},
        [NEED_MEMORY] = {"memoryavailable", "MiB of memory", 0},
        [NEED_VOLUMES] = {"volumeavailable", "volumes", 0},
        [NEED_STORAGE] = {"primarystorageavailable", "GiB of primary storage", 0},
    };
    size_t before = f->count;

    for (size_t i = 0; i < count; i++) {
        CLEANUP(free_charp) char *other = owner_key(subjects[i].spec);

        if (!strcmp(other, key))
            add_needs(&subjects[i], facts, needs);
    }
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        const json_t *object = json_object_get(owner, kinds[k]);
        CLEANUP(free_charp) char *who = xasprintf("%s %s", kinds[k], fact_text(object, "name"));

        for (size_t n = 0; json_is_object(object) && n < NEEDS; n++)
            check_need(&needs[n], object, who, f);
    }
    if (f->count == before)
        finding_add(f, "target.limits", PREFLIGHT_PASS, NULL,
                    "nothing the owner has too little of");
}

static void
check_limits(const struct subject *subjects, size_t count, const json_t *facts,
             struct preflight_findings *f)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(free_charp) char *key = owner_key(subjects[i].spec);
        const json_t *owner;
        bool was_seen = false;

        for (size_t k = 0; k < i && !was_seen; k++) {
            CLEANUP(free_charp) char *other = owner_key(subjects[k].spec);

            was_seen = !strcmp(key, other);
        }
        if (!was_seen && fact_find(facts, "owner", key, &owner) == FACT_THERE)
            check_owner_limits(subjects, count, facts, key, owner, f);
    }
}

/* ---- what two VMs share ----------------------------------------------------------------------- */

static const char *
shared_network(const struct subject *a, const struct subject *b)
{
    for (size_t i = 0; i < a->nics->count; i++)
        for (size_t k = 0; k < b->nics->count; k++)
            if (fact_same_id(a->nics->items[i].network_id, b->nics->items[k].network_id))
                return a->nics->items[i].network_id;
    return NULL;
}

static const char *
shared_mac(const struct subject *a, const struct subject *b)
{
    for (size_t i = 0; i < a->nics->count; i++)
        for (size_t k = 0; k < b->nics->count; k++) {
            const struct preflight_nic *x = &a->nics->items[i], *y = &b->nics->items[k];

            if (x->mac && *x->mac && y->mac && !strcasecmp(x->mac, y->mac) &&
                fact_same_id(x->network_id, y->network_id))
                return x->mac;
        }
    return NULL;
}

/* An address that both are to have on one network; *ret_is_certain: the second is refused. */
static const char *
shared_ip(const struct subject *a, const struct subject *b, const json_t *facts,
          bool *ret_is_certain)
{
    for (size_t i = 0; i < a->nics->count; i++)
        for (size_t k = 0; k < b->nics->count; k++) {
            const struct preflight_nic *x = &a->nics->items[i], *y = &b->nics->items[k];
            const json_t *network;

            if (!x->ip || !y->ip || strcmp(x->ip, y->ip) != 0 ||
                !fact_same_id(x->network_id, y->network_id))
                continue;
            (void)fact_find(facts, "network", y->network_id, &network);
            *ret_is_certain = *fact_text(network, "cidr") &&
                              address_can_be_told(a, facts, i == 0) &&
                              address_can_be_told(b, facts, k == 0);
            return x->ip;
        }
    return NULL;
}

/* @a comes before @b, which is the one that will meet the other. */
static void
compare(const struct subject *a, const struct subject *b, const json_t *facts,
        struct preflight_findings *f)
{
    CLEANUP(free_charp) char *first = cloudstack_host_name(a->vm->name);
    CLEANUP(free_charp) char *second = cloudstack_host_name(b->vm->name);
    const char *mac = shared_mac(a, b), *ip;
    bool is_certain = false;

    if (!strcmp(a->vm->moref, b->vm->moref)) {
        finding_add(f, "source.vm", PREFLIGHT_FAILURE, "leave one of the two entries out",
                    "%s is named twice in the specs", b->vm->name);
        return;
    }
    ip = shared_ip(a, b, facts, &is_certain);
    if (ip)
        finding_add(f, "target.ip", is_certain ? PREFLIGHT_FAILURE : PREFLIGHT_WARNING,
                    "give one of the two another address, or set ip: auto",
                    "%s is to have %s on that network too", a->vm->name, ip);
    if (mac)
        finding_add(f, "target.mac", PREFLIGHT_WARNING,
                    "change one of the two before they meet on the network",
                    "%s has the MAC address %s too", a->vm->name, mac);
    if (!strcasecmp(first, second) && shared_network(a, b))
        finding_add(f, "target.name", PREFLIGHT_WARNING, "rename one of the two",
                    "%s gets the host name %s too", a->vm->name, second);
}

void
set_rules(const struct subject *subjects, size_t count, const json_t *facts,
          struct preflight_findings *common, struct preflight_findings *const *findings)
{
    check_pool_room(subjects, count, facts, common);
    check_limits(subjects, count, facts, common);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (subjects[i].vm && subjects[k].vm)
                compare(&subjects[k], &subjects[i], facts, findings[i]);
}
