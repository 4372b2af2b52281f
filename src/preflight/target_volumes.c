/* Rules of how many disks a VM may have on the target. */
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

#define DEFAULT_LIMIT 6 /* CloudStack's own, where its table says nothing */
#define CDROM_DEVICE  3 /* never a disk's */

/* What the table has for KVM of that version, else for KVM of any. */
static double
limit_of_version(const json_t *rows, const char *version)
{
    double limit = -1;
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row) {
        const char *of = fact_text(row, "hypervisorversion");

        if (strcasecmp(fact_text(row, "hypervisor"), "KVM") != 0)
            continue;
        if (*version && !strcmp(of, version))
            return fact_number(row, "maxdatavolumeslimit", -1);
        if (!strcasecmp(of, "default"))
            limit = fact_number(row, "maxdatavolumeslimit", -1);
    }
    return limit;
}

/* A VM that has never run is judged by the oldest version of the zone's hosts; which one the server takes
 * for that cannot be told from here. */
static void
read_limits(const struct subject *s, const json_t *facts, double *ret_least, double *ret_most)
{
    const json_t *rows = json_object_get(facts, "hypervisor"), *hosts, *host;
    size_t i, known = 0;

    *ret_least = *ret_most = 0;
    (void)fact_find(facts, "hosts", s->spec->target.zone_id, &hosts);
    for (i = 0; i == 0 || i < json_array_size(hosts); i++) {
        double limit;

        host = json_array_get(hosts, i);
        limit = limit_of_version(rows, fact_text(host, "hypervisorversion"));
        if (limit <= 0)
            limit = DEFAULT_LIMIT;
        *ret_least = known ? MIN(*ret_least, limit) : limit;
        *ret_most = known++ ? MAX(*ret_most, limit) : limit;
    }
}

/* Device ids go up to the limit and one more, for the root's; importVm gives the root 1 and not 0, and so
 * one fewer are left. */
static bool
is_one_too_many(const struct subject *s, double count, double limit)
{
    double last = count + 1; /* behind the root's 0 and the CD's */

    if (count < CDROM_DEVICE)
        last = count;
    if (s->spec->import_method != CONFIG_IMPORT_SHELL)
        last = count + (count < 2 ? 1 : 2);
    return count <= limit && last > limit + 1;
}

void
target_volume_rules(const struct subject *s, const json_t *facts, struct preflight_findings *f)
{
    const char *unread = fact_unread(facts, "hypervisor");
    double count = s->disks->count ? (double)s->disks->count - 1 : 0;
    double least, most;

    if (!s->vm || !count)
        return;
    if (!json_object_get(facts, "hypervisor")) {
        finding_add(f, "target.volumes", PREFLIGHT_WARNING, NULL,
                    "how many data volumes a VM may have cannot be told%s%s", unread ? ": " : "",
                    unread ? unread : "");
        return;
    }
    read_limits(s, facts, &least, &most);
    if (count > least)
        finding_add(
            f, "target.volumes", count > most ? PREFLIGHT_FAILURE : PREFLIGHT_WARNING,
            "raise maxdatavolumeslimit of KVM (updateHypervisorCapabilities), or merge disks "
            "in the guest first",
            "the VM has %.0f data disks, CloudStack attaches %.0f to a VM of KVM", count, least);
    else if (is_one_too_many(s, count, least))
        finding_add(
            f, "target.volumes", PREFLIGHT_WARNING,
            "raise maxdatavolumeslimit of KVM by one (updateHypervisorCapabilities), or set "
            "import_method: shell",
            "the VM has %.0f data disks, as many as CloudStack attaches; where importVm gives "
            "the root disk device id 1, as released versions do, the last is refused",
            count);
    else
        finding_add(f, "target.volumes", PREFLIGHT_PASS, NULL,
                    "%.0f data disks, %.0f may be attached", count, least);
}
