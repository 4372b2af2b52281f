/* Rules of where the VM goes: the server, zone, cluster, hosts and pools. */
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

#define SHARED_MOUNT_POINT_SINCE "4.22.1" /* importVm and importVolume of that pool type */

/* ---- the server ------------------------------------------------------------------------------- */

/* Appends @command to @missing unless the server has it; what it has is known. */
static void
need_command(const json_t *facts, const char *command, struct str *missing)
{
    if (!json_object_get(json_object_get(facts, "apis"), command))
        str_appendf(missing, "%s%s", missing->length ? ", " : "", command);
}

static void
add_missing_commands(const json_t *facts, const struct str *missing,
                     struct preflight_findings *findings)
{
    const char *version = fact_text(facts, "version");

    if (missing->length)
        finding_add(findings, "target.api", PREFLIGHT_FAILURE,
                    "use the keys of a root administrator whose role allows these commands, on "
                    "CloudStack 4.19.1 or later",
                    "CloudStack %s does not offer this account: %s", version, str_text(missing));
}

void
target_server_rules(const json_t *facts, struct preflight_findings *findings)
{
    static const char *const always[] = {
        "importVm",    "queryAsyncJobResult",  "listVirtualMachines",
        "listVolumes", "listServiceOfferings", "listStoragePools"};
    CLEANUP(str_done) struct str missing = STR_INIT(4096);
    const char *unread = fact_unread(facts, "apis");

    if (unread) {
        finding_add(findings, "target.api", PREFLIGHT_WARNING, "allow the account listApis",
                    "which commands the account may use cannot be told: %s", unread);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(always); i++)
        need_command(facts, always[i], &missing);
    add_missing_commands(facts, &missing, findings);
    if (!missing.length)
        finding_add(findings, "target.api", PREFLIGHT_PASS, NULL,
                    "CloudStack %s, and the account may import", fact_text(facts, "version"));
}

/* What only this VM needs. */
static void
check_commands(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    CLEANUP(str_done) struct str missing = STR_INIT(4096);

    if (!json_object_get(facts, "apis"))
        return;
    import_needed_commands(s, facts, &missing);
    add_missing_commands(facts, &missing, f);
}

/* ---- zone and cluster ------------------------------------------------------------------------- */

/* The usual answer where an object is not there, or could not be asked for; false then. */
static bool
is_there(const json_t *facts, const char *kind, const char *id, const char *check, const char *key,
         const json_t **ret_object, struct preflight_findings *f)
{
    CLEANUP(free_charp) char *cure = NULL;
    const char *unread = fact_unread(facts, kind);
    enum fact fact = fact_find(facts, kind, id, ret_object);

    if (fact == FACT_THERE)
        return true;
    cure = xasprintf("correct %s in the spec, and see that the API key's account may see it", key);
    if (fact == FACT_ABSENT)
        finding_add(f, check, PREFLIGHT_FAILURE, cure, "CloudStack knows no %s %s", key, id);
    else if (id)
        finding_add(f, check, PREFLIGHT_WARNING, NULL, "%s %s could not be looked up: %s", key, id,
                    unread ? unread : "not asked for");
    return false;
}

static void
check_zone(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const json_t *zone;

    if (!is_there(facts, "zone", s->spec->target.zone_id, "target.zone", "zoneid", &zone, f))
        return;
    if (!strcasecmp(fact_text(zone, "networktype"), "Basic") && s->nics->count > 1)
        finding_add(f, "target.zone", PREFLIGHT_FAILURE, "map one NIC only",
                    "zone %s is a Basic zone, where a VM has one NIC; the spec maps %zu",
                    fact_text(zone, "name"), s->nics->count);
    else if (!strcasecmp(fact_text(zone, "allocationstate"), "Disabled"))
        finding_add(f, "target.zone", PREFLIGHT_WARNING, "enable it in CloudStack",
                    "zone %s is disabled: only root administrators can place VMs there",
                    fact_text(zone, "name"));
    else
        finding_add(f, "target.zone", PREFLIGHT_PASS, NULL, "%s", fact_text(zone, "name"));
}

static void
check_cluster(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const json_t *cluster;
    const char *name;

    if (!is_there(facts, "cluster", s->spec->target.cluster_id, "target.cluster", "clusterid",
                  &cluster, f))
        return;
    name = fact_text(cluster, "name");
    /* Most releases want the id and then place the VM by zone and pool alone. */
    if (!fact_same_id(fact_text(cluster, "zoneid"), s->spec->target.zone_id))
        finding_add(f, "target.cluster", PREFLIGHT_WARNING, "correct zoneid or clusterid",
                    "cluster %s is in zone %s, not in the spec's", name,
                    fact_text(cluster, "zonename"));
    else if (*fact_text(cluster, "hypervisortype") &&
             strcasecmp(fact_text(cluster, "hypervisortype"), "KVM") != 0)
        finding_add(f, "target.cluster", PREFLIGHT_WARNING, "name a cluster of KVM hosts",
                    "cluster %s runs %s", name, fact_text(cluster, "hypervisortype"));
    else if (!strcasecmp(fact_text(cluster, "allocationstate"), "Disabled") ||
             !strcasecmp(fact_text(cluster, "managedstate"), "Unmanaged"))
        finding_add(f, "target.cluster", PREFLIGHT_WARNING, "enable it in CloudStack",
                    "cluster %s is disabled or not managed", name);
    else
        finding_add(f, "target.cluster", PREFLIGHT_PASS, NULL, "%s", name);
}

/* ---- hosts ------------------------------------------------------------------------------------ */

static const json_t *
boot_pool(const struct subject *s, const json_t *facts)
{
    const json_t *pool;

    (void)fact_find(facts, "pool", s->spec->target.storage_id, &pool);
    return pool;
}

/* Whether CloudStack could place a VM with that root pool on the host, if it were up. */
static bool
is_host_of_pool(const json_t *host, const json_t *pool)
{
    return !pool || strcasecmp(fact_text(pool, "scope"), "CLUSTER") != 0 ||
           fact_same_id(fact_text(host, "clusterid"), fact_text(pool, "clusterid"));
}

static bool
is_host_ready(const json_t *host)
{
    return !strcasecmp(fact_text(host, "state"), "Up") &&
           !strcasecmp(fact_text(host, "resourcestate"), "Enabled");
}

struct host_count {
    size_t all, ready, uefi, uefi_unknown, roomy, room_unknown;
};

/* Whether the host has memory left for the VM; what it does not tell counts as unknown. */
static void
count_room(const json_t *host, const struct vsphere_vm *vm, struct host_count *count)
{
    double total =
        fact_number(host, "memorywithoverprovisioning", fact_number(host, "memorytotal", -1));
    double used = fact_number(host, "memoryallocatedbytes", -1);

    if (total < 0 || used < 0)
        count->room_unknown++;
    else if (total - used >= (double)vm->memory_mib * (double)MIB)
        count->roomy++;
}

static struct host_count
count_hosts(const struct subject *s, const json_t *hosts, const json_t *pool)
{
    struct host_count count = {0};
    const json_t *host;
    size_t i;

    json_array_foreach (hosts, i, host) {
        if (!is_host_of_pool(host, pool))
            continue;
        count.all++;
        if (!is_host_ready(host))
            continue;
        count.ready++;
        if (fact_is_true(host, "ueficapability"))
            count.uefi++;
        else if (!fact_is_false(host, "ueficapability"))
            count.uefi_unknown++;
        if (s->vm)
            count_room(host, s->vm, &count);
    }
    return count;
}

static void
check_uefi(const struct subject *s, const struct host_count *count, struct preflight_findings *f)
{
    if (!s->vm || !preflight_uefi_mode(s->spec, s->vm))
        return;
    if (count->uefi)
        finding_add(f, "target.uefi", PREFLIGHT_PASS, NULL, "%zu of %zu hosts can boot by UEFI",
                    count->uefi, count->ready);
    else if (count->uefi_unknown)
        finding_add(f, "target.uefi", PREFLIGHT_WARNING,
                    "see that the KVM hosts have OVMF and uefi.properties",
                    "the VM boots by UEFI, and no host says whether it can");
    else
        finding_add(f, "target.uefi", PREFLIGHT_FAILURE,
                    "install OVMF and set up /etc/cloudstack/agent/uefi.properties on the KVM "
                    "hosts, then restart their agents",
                    "the VM boots by UEFI, and none of the %zu hosts can: it would never start",
                    count->ready);
}

static void
check_hosts(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const json_t *hosts, *pool = boot_pool(s, facts);
    const char *unread = fact_unread(facts, "hosts");
    struct host_count count;

    if (fact_find(facts, "hosts", s->spec->target.zone_id, &hosts) != FACT_THERE) {
        if (unread)
            finding_add(f, "target.hosts", PREFLIGHT_WARNING, "allow the account listHosts",
                        "the hosts could not be looked up: %s", unread);
        return;
    }
    count = count_hosts(s, hosts, pool);
    if (count.ready == 0) {
        finding_add(f, "target.hosts", PREFLIGHT_FAILURE,
                    "bring a KVM host to state Up and Enabled: CloudStack looks at the disks "
                    "through one",
                    "none of the %zu KVM hosts that reach the pool is up and enabled", count.all);
        return;
    }
    if (s->vm && count.roomy == 0 && count.room_unknown == 0)
        finding_add(f, "target.hosts", PREFLIGHT_WARNING,
                    "make room on a host: CloudStack plans a place even for a VM that it imports "
                    "stopped",
                    "no host has the VM's %d MiB of memory left", (int)s->vm->memory_mib);
    else
        finding_add(f, "target.hosts", PREFLIGHT_PASS, NULL, "%zu of %zu KVM hosts are up",
                    count.ready, count.all);
    check_uefi(s, &count, f);
}

/* ---- pools ------------------------------------------------------------------------------------ */

static bool
is_shared_mount_point(const json_t *pool)
{
    return !strcasecmp(fact_text(pool, "type"), "SharedMountPoint");
}

static void
check_pool_place(const struct subject *s, const json_t *pool, struct preflight_findings *f)
{
    const char *name = fact_text(pool, "name");

    if (*fact_text(pool, "zoneid") &&
        !fact_same_id(fact_text(pool, "zoneid"), s->spec->target.zone_id))
        finding_add(f, "target.pool", PREFLIGHT_FAILURE, "name a pool of the spec's zone",
                    "pool %s is in zone %s", name, fact_text(pool, "zonename"));
    else if (!strcasecmp(fact_text(pool, "scope"), "CLUSTER") &&
             !fact_same_id(fact_text(pool, "clusterid"), s->spec->target.cluster_id))
        finding_add(f, "target.pool", PREFLIGHT_WARNING, "name the cluster of the pool",
                    "pool %s belongs to cluster %s, not to the spec's: the VM goes where the pool "
                    "is",
                    name, fact_text(pool, "clustername"));
    else if (*fact_text(pool, "hypervisor") &&
             strcasecmp(fact_text(pool, "hypervisor"), "KVM") != 0 &&
             strcasecmp(fact_text(pool, "hypervisor"), "Any") != 0)
        finding_add(f, "target.pool", PREFLIGHT_WARNING, "name a pool of KVM hosts",
                    "pool %s is for %s", name, fact_text(pool, "hypervisor"));
}

/* What this host sees of the pool: type, state, path, and that it can be written. */
static void
check_pool_here(const json_t *facts, const char *id, const json_t *pool,
                struct preflight_findings *f)
{
    const json_t *dir = json_object_get(json_object_get(facts, "dir"), id);
    const char *error = fact_text(dir, "error"), *cure = fact_text(dir, "cure");

    if (*error)
        finding_add(f, "target.pool", PREFLIGHT_FAILURE, *cure ? cure : NULL, "%s", error);
    else if (dir)
        finding_add(f, "target.pool", PREFLIGHT_PASS, NULL, "%s (%s, %s): %s can be written",
                    fact_text(pool, "name"), fact_text(pool, "type"), fact_text(pool, "state"),
                    fact_text(dir, "path"));
}

static void
check_pool(const struct subject *s, const json_t *facts, const char *id,
           struct preflight_findings *f)
{
    const char *version = fact_text(facts, "version");
    const json_t *pool;

    if (!is_there(facts, "pool", id, "target.pool", "storageid", &pool, f))
        return;
    check_pool_place(s, pool, f);
    if (is_shared_mount_point(pool) && *version &&
        fact_compare_versions(version, SHARED_MOUNT_POINT_SINCE) < 0 &&
        fact_is_true(json_object_get(facts, "importable"), id))
        finding_add(
            f, "target.pool", PREFLIGHT_WARNING, "try it with a VM that may be down for a while",
            "pool %s is a SharedMountPoint, from which CloudStack before " SHARED_MOUNT_POINT_SINCE
            " cannot import; this server (%s) says that it can: it must have been patched",
            fact_text(pool, "name"), version);
    else if (is_shared_mount_point(pool) && *version &&
             fact_compare_versions(version, SHARED_MOUNT_POINT_SINCE) < 0)
        finding_add(f, "target.pool", PREFLIGHT_FAILURE,
                    "upgrade CloudStack to " SHARED_MOUNT_POINT_SINCE " or later",
                    "pool %s is a SharedMountPoint, from which CloudStack %s cannot import",
                    fact_text(pool, "name"), version);
    check_pool_here(facts, id, pool, f);
}

static void
check_pools(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    check_pool(s, facts, s->spec->target.storage_id, f);
    for (size_t i = 0; i < s->disks->count; i++) {
        const char *id = s->disks->items[i].storage_id;
        bool was_seen = fact_same_id(id, s->spec->target.storage_id);

        for (size_t k = 0; k < i; k++)
            was_seen = was_seen || fact_same_id(s->disks->items[k].storage_id, id);
        if (!was_seen)
            check_pool(s, facts, id, f);
    }
}

void
target_place_rules(const struct subject *s, const json_t *facts,
                   struct preflight_findings *findings)
{
    check_commands(s, facts, findings);
    check_zone(s, facts, findings);
    check_cluster(s, facts, findings);
    check_hosts(s, facts, findings);
    check_pools(s, facts, findings);
}
