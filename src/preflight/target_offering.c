/* Rules of what the VM becomes: offerings, OS type, controllers. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

static const json_t *
pool_of(const json_t *facts, const char *id)
{
    const json_t *pool;

    (void)fact_find(facts, "pool", id, &pool);
    return pool;
}

/* ---- the service offering --------------------------------------------------------------------- */

static void
check_fixed_size(const struct vsphere_vm *vm, const json_t *offering, struct preflight_findings *f)
{
    double cpus = fact_number(offering, "cpunumber", 0),
           memory = fact_number(offering, "memory", 0);
    const char *name = fact_text(offering, "name");

    if (cpus < vm->cpu_count || memory < vm->memory_mib)
        finding_add(f, "target.service_offering", PREFLIGHT_WARNING,
                    "choose an offering that is as large as the VM, or a custom one",
                    "%s has %.0f CPUs and %.0f MiB, the VM has %" PRId32 " and %" PRId32, name,
                    cpus, memory, vm->cpu_count, vm->memory_mib);
    else
        finding_add(f, "target.service_offering", PREFLIGHT_PASS, NULL, "%s: %.0f CPUs, %.0f MiB",
                    name, cpus, memory);
}

/* A custom offering takes the VM's sizes, within bounds: less than they want is raised to it; more is
 * refused by deployVirtualMachine, and not looked at by importVm. */
static void
check_custom_size(const struct subject *s, const json_t *offering, struct preflight_findings *f)
{
    const struct vsphere_vm *vm = s->vm;
    bool is_shell = s->spec->import_method == CONFIG_IMPORT_SHELL;
    const json_t *bounds = json_object_get(offering, "serviceofferingdetails");
    const struct {
        const char *what, *min_key, *max_key;
        int32_t value;
    } sizes[] = {{"CPUs", "mincpunumber", "maxcpunumber", vm->cpu_count},
                 {"MiB of memory", "minmemory", "maxmemory", vm->memory_mib}};
    const char *name = fact_text(offering, "name");
    size_t before = f->count;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        double min = fact_number(bounds, sizes[i].min_key, 1);
        double max = fact_number(bounds, sizes[i].max_key, 1e12);

        bool is_too_large = sizes[i].value > max;

        if (sizes[i].value < min || is_too_large)
            finding_add(f, "target.service_offering",
                        is_too_large && is_shell ? PREFLIGHT_FAILURE : PREFLIGHT_WARNING,
                        "choose an offering whose bounds the VM fits, or resize the VM",
                        "%s allows %.0f to %.0f %s, the VM has %" PRId32 ": %s", name, min, max,
                        sizes[i].what, sizes[i].value,
                        !is_too_large ? "it gets the least that is allowed"
                        : is_shell    ? "CloudStack refuses it"
                                      : "CloudStack may refuse it");
    }
    if (f->count == before)
        finding_add(f, "target.service_offering", PREFLIGHT_PASS, NULL,
                    "%s, with the VM's %" PRId32 " CPUs and %" PRId32 " MiB", name, vm->cpu_count,
                    vm->memory_mib);
}

static void
check_root_storage(const struct subject *s, const json_t *facts, const json_t *offering,
                   struct preflight_findings *f)
{
    const json_t *pool = pool_of(facts, s->spec->target.storage_id);
    const char *name = fact_text(offering, "name"), *tags = fact_text(offering, "storagetags");

    if (fact_is_true(offering, "encryptroot"))
        finding_add(f, "target.service_offering", PREFLIGHT_FAILURE,
                    "choose an offering without volume encryption",
                    "%s encrypts the root disk: CloudStack imports no encrypted disks", name);
    if (!strcasecmp(fact_text(offering, "storagetype"), "local") && pool &&
        strcasecmp(fact_text(pool, "scope"), "HOST") != 0)
        finding_add(f, "target.service_offering", PREFLIGHT_WARNING,
                    "choose an offering for shared storage",
                    "%s is for local storage, pool %s is shared", name, fact_text(pool, "name"));
    if (!pool || !*tags)
        return;
    if (fact_is_true(pool, "istagarule"))
        finding_add(f, "target.tags", PREFLIGHT_WARNING, NULL,
                    "whether the tag rule of pool %s takes %s (tags %s) is not known here",
                    fact_text(pool, "name"), name, tags);
    else if (!fact_has_tags(tags, fact_text(pool, "tags")))
        finding_add(f, "target.tags", PREFLIGHT_FAILURE,
                    "choose an offering or a pool whose storage tags fit",
                    "%s wants the storage tags %s, pool %s has %s", name, tags,
                    fact_text(pool, "name"),
                    *fact_text(pool, "tags") ? fact_text(pool, "tags") : "none");
}

static void
check_service_offering(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const char *id = s->spec->target.service_offering_id;
    const char *unread = fact_unread(facts, "service_offering");
    const json_t *offering;
    enum fact fact = fact_find(facts, "service_offering", id, &offering);

    if (fact == FACT_ABSENT) {
        finding_add(f, "target.service_offering", PREFLIGHT_FAILURE,
                    "correct serviceofferingid in the spec",
                    "CloudStack knows no serviceofferingid %s", id);
    } else if (fact == FACT_UNKNOWN) {
        if (unread)
            finding_add(f, "target.service_offering", PREFLIGHT_WARNING, NULL,
                        "serviceofferingid %s could not be looked up: %s", id, unread);
    } else {
        if (*fact_text(offering, "state") && strcasecmp(fact_text(offering, "state"), "Active"))
            finding_add(f, "target.service_offering", PREFLIGHT_FAILURE, "choose an active one",
                        "%s is %s", fact_text(offering, "name"), fact_text(offering, "state"));
        if (s->vm && fact_is_true(offering, "iscustomized"))
            check_custom_size(s, offering, f);
        else if (s->vm)
            check_fixed_size(s->vm, offering, f);
        check_root_storage(s, facts, offering, f);
    }
}

/* ---- disk offerings --------------------------------------------------------------------------- */

/* The checks of importVolume, with which it would fail after the VM is off.  True when all is well. */
static bool
check_disk_size(const json_t *facts, const struct preflight_disk *disk, const char *address,
                const json_t *offering, struct preflight_findings *f)
{
    const json_t *capability = json_object_get(facts, "capability");
    const char *name = fact_text(offering, "name");
    double size = (double)(disk->disk->capacity / GIB); /* it counts whole ones */
    double min = fact_number(capability, "customdiskofferingminsize", 0);
    double max = fact_number(capability, "customdiskofferingmaxsize", 1e9);
    double fixed = fact_number(offering, "disksize", 0);

    if (fact_is_true(offering, "iscustomized")) {
        if (size >= min && size <= max)
            return true;
        finding_add(f, "target.disk_offering", PREFLIGHT_FAILURE,
                    "use an offering of a fixed size, or change custom.diskoffering.size.min or "
                    ".max in CloudStack",
                    "disk %s has %.0f GiB, CloudStack takes %.0f to %.0f with the custom offering "
                    "%s",
                    address, size, min, max, name);
        return false;
    }
    if (fixed * (double)GIB >= (double)disk->disk->capacity)
        return true;
    finding_add(f, "target.disk_offering", PREFLIGHT_WARNING, "use a custom or a larger offering",
                "disk %s is larger than the %.0f GiB of %s, and is counted as it is", address,
                fixed, name);
    return false;
}

static bool
check_disk_storage(const json_t *facts, const struct preflight_disk *disk, const char *address,
                   const json_t *offering, struct preflight_findings *f)
{
    const json_t *pool = pool_of(facts, disk->storage_id);
    const char *name = fact_text(offering, "name"), *tags = fact_text(offering, "tags");
    size_t before = f->count;

    if (*fact_text(offering, "state") && strcasecmp(fact_text(offering, "state"), "Active") != 0)
        finding_add(f, "target.disk_offering", PREFLIGHT_FAILURE, "choose an active one",
                    "disk %s: %s is %s", address, name, fact_text(offering, "state"));
    if (fact_is_true(offering, "encrypt"))
        finding_add(f, "target.disk_offering", PREFLIGHT_FAILURE,
                    "choose an offering without volume encryption",
                    "disk %s: %s encrypts, and CloudStack imports no encrypted disks", address,
                    name);
    if (!strcasecmp(fact_text(offering, "storagetype"), "local"))
        finding_add(f, "target.disk_offering", PREFLIGHT_FAILURE,
                    "choose an offering for shared storage", "disk %s: %s is for local storage",
                    address, name);
    if (pool && !fact_is_true(pool, "istagarule") && !fact_has_tags(tags, fact_text(pool, "tags")))
        finding_add(f, "target.tags", PREFLIGHT_FAILURE,
                    "choose an offering or a pool whose storage tags fit",
                    "disk %s: %s wants the storage tags %s, pool %s has %s", address, name, tags,
                    fact_text(pool, "name"),
                    *fact_text(pool, "tags") ? fact_text(pool, "tags") : "none");
    return f->count == before;
}

static void
check_disk_offering(const json_t *facts, const struct preflight_disk *disk,
                    struct preflight_findings *f)
{
    const char *id = disk->disk_offering_id, *unread = fact_unread(facts, "disk_offering");
    const json_t *offering;
    enum fact fact = fact_find(facts, "disk_offering", id, &offering);
    char address[32];

    vsphere_disk_address(disk->disk, address);
    if (fact == FACT_ABSENT) {
        finding_add(f, "target.disk_offering", PREFLIGHT_FAILURE,
                    "correct diskofferingid in the spec",
                    "disk %s: CloudStack knows no diskofferingid %s", address, id);
    } else if (fact == FACT_UNKNOWN) {
        if (unread)
            finding_add(f, "target.disk_offering", PREFLIGHT_WARNING, NULL,
                        "diskofferingid %s could not be looked up: %s", id, unread);
    } else {
        bool fits = check_disk_size(facts, disk, address, offering, f);

        if (check_disk_storage(facts, disk, address, offering, f) && fits)
            finding_add(f, "target.disk_offering", PREFLIGHT_PASS, NULL, "disk %s: %s", address,
                        fact_text(offering, "name"));
    }
}

/* ---- the guest's devices ---------------------------------------------------------------------- */

static void
check_os_type(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const char *id = s->spec->target.os_type_id;
    const json_t *os_type, *chosen;
    enum fact fact = fact_find(facts, "os_type", id, &os_type);

    (void)fact_find(facts, "guest", s->vm && !id ? s->vm->guest_id : NULL, &chosen);
    if (chosen && fact_is_true(chosen, "is_guess"))
        finding_add(f, "target.os_type", PREFLIGHT_WARNING, "set ostypeid",
                    "no OS type is known for the guest id %s: %s is a guess", s->vm->guest_id,
                    fact_text(chosen, "description"));
    else if (chosen)
        finding_add(f, "target.os_type", PREFLIGHT_PASS, NULL, "%s, by the guest id %s",
                    fact_text(chosen, "description"), s->vm->guest_id);
    else if (!id && !s->spec->target.root_disk_controller)
        finding_add(f, "target.os_type", PREFLIGHT_WARNING,
                    "set ostypeid, or rootdiskcontroller and nicadapter",
                    "without an OS type CloudStack gives the VM IDE disks and e1000 NICs");
    else if (fact == FACT_ABSENT)
        finding_add(f, "target.os_type", PREFLIGHT_FAILURE, "correct ostypeid in the spec",
                    "CloudStack knows no ostypeid %s", id);
    else if (fact == FACT_THERE)
        finding_add(f, "target.os_type", PREFLIGHT_PASS, NULL, "%s",
                    fact_text(os_type, "description"));
}

static void
check_word(const json_t *facts, const char *detail, const char *key, const char *word,
           struct preflight_findings *f)
{
    const json_t *words = json_object_get(json_object_get(facts, "details"), detail), *known;
    CLEANUP(free_charp) char *cure = NULL;
    CLEANUP(str_done) struct str list = STR_INIT(1024);
    size_t i;

    if (!word || json_array_size(words) == 0)
        return;
    json_array_foreach (words, i, known) {
        if (!strcasecmp(json_string_value(known), word))
            return;
        str_appendf(&list, "%s%s", i ? ", " : "", json_string_value(known));
    }
    cure = xasprintf("choose one of %s", str_text(&list));
    finding_add(f, "target.details", PREFLIGHT_WARNING, cure,
                "%s %s is not among what CloudStack offers, and may count as none", key, word);
}

void
target_offering_rules(const struct subject *s, const json_t *facts,
                      struct preflight_findings *findings)
{
    const char *controller = s->spec->target.root_disk_controller;

    check_service_offering(s, facts, findings);
    for (size_t i = 0; i < s->disks->count; i++)
        if (!s->disks->items[i].is_boot)
            check_disk_offering(facts, &s->disks->items[i], findings);
    check_os_type(s, facts, findings);
    if (controller && !strcasecmp(controller, "virtio-scsi"))
        controller = "scsi"; /* as it is sent */
    check_word(facts, "rootDiskController", "rootdiskcontroller", controller, findings);
    check_word(facts, "nicAdapter", "nicadapter", s->spec->target.nic_adapter, findings);
}
