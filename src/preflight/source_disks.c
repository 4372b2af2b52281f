/* Rules of the source's disks and of the datastores that they are on. */
#include <inttypes.h>
#include <string.h>

#include "preflight/internal.h"

#define SECTOR          512
#define SNAPSHOT_SHARE  20         /* a snapshot of a busy VM may well grow to 1/20 of its disks */
#define SNAPSHOT_AT_ALL (16 * MIB) /* below this none can be made */

static void
check_disks(const struct subject *s, struct preflight_findings *f)
{
    const struct vsphere_disks *disks = &s->vm->disks;
    size_t before = f->count;

    if (disks->count == 0)
        finding_add(f, "source.disks", PREFLIGHT_FAILURE, "name another VM", "it has no disks");
    for (size_t i = 0; i < disks->count; i++) {
        const struct vsphere_disk *disk = &disks->items[i];
        char address[32];

        vsphere_disk_address(disk, address);
        if (disk->unsupported)
            finding_add(f, "source.disks", PREFLIGHT_FAILURE,
                        "make it a plain persistent disk of this VM alone, or detach it and move "
                        "its content by other means",
                        "disk %s: %s", address, disk->unsupported);
        else if (disk->capacity == 0 || disk->capacity % SECTOR)
            finding_add(f, "source.disks", PREFLIGHT_FAILURE, "look at the disk in vSphere",
                        "disk %s: %" PRIu64 " bytes are not whole sectors", address,
                        disk->capacity);
    }
    if (f->count == before) {
        CLEANUP(str_done) struct str text = STR_INIT(64);
        uint64_t sum = 0;

        for (size_t i = 0; i < disks->count; i++)
            sum += disks->items[i].capacity;
        fact_append_bytes(&text, (double)sum);
        finding_add(f, "source.disks", PREFLIGHT_PASS, NULL, "%zu, %s together", disks->count,
                    str_text(&text));
    }
}

static const struct vsphere_datastore_state *
find_datastore(const struct subject *s, const char *moref)
{
    for (size_t i = 0; s->datastores && i < s->datastores->count; i++)
        if (!strcmp(s->datastores->items[i].moref, moref))
            return &s->datastores->items[i];
    return NULL;
}

static void
check_room(const struct vsphere_datastore_state *datastore, uint64_t on_it,
           struct preflight_findings *f)
{
    CLEANUP(str_done) struct str room = STR_INIT(64);
    CLEANUP(str_done) struct str size = STR_INIT(64);

    fact_append_bytes(&room, (double)datastore->free_bytes);
    fact_append_bytes(&size, (double)on_it);
    if (datastore->capacity == 0) /* it does not tell, as some virtual volumes */
        finding_add(f, "source.datastore", PREFLIGHT_PASS, NULL, "%s (%s)", datastore->name,
                    datastore->type);
    else if (datastore->free_bytes < SNAPSHOT_AT_ALL)
        finding_add(f, "source.datastore", PREFLIGHT_FAILURE, "make room on the datastore",
                    "datastore %s has %s free: no snapshot can be made", datastore->name,
                    str_text(&room));
    else if (datastore->free_bytes < on_it / SNAPSHOT_SHARE)
        finding_add(f, "source.datastore", PREFLIGHT_WARNING,
                    "make room on the datastore: a snapshot grows by what the guest writes, and a "
                    "full datastore stops the VM",
                    "datastore %s has %s free for snapshots of %s", datastore->name,
                    str_text(&room), str_text(&size));
    else
        finding_add(f, "source.datastore", PREFLIGHT_PASS, NULL, "%s (%s), %s free",
                    datastore->name, datastore->type, str_text(&room));
}

static void
check_datastore(const struct subject *s, const char *moref, struct preflight_findings *f)
{
    const struct vsphere_datastore_state *datastore = find_datastore(s, moref);
    uint64_t on_it = 0;

    if (!datastore)
        return; /* the account need not see datastores */
    for (size_t i = 0; i < s->vm->disks.count; i++)
        if (!strcmp(s->vm->disks.items[i].datastore, moref))
            on_it += s->vm->disks.items[i].capacity;
    if (!datastore->is_accessible)
        finding_add(f, "source.datastore", PREFLIGHT_FAILURE, "look at its storage in vSphere",
                    "datastore %s is not accessible", datastore->name);
    else if (*datastore->maintenance && strcmp(datastore->maintenance, "normal") != 0)
        finding_add(f, "source.datastore", PREFLIGHT_WARNING,
                    "wait until the maintenance is over, or move the VM",
                    "datastore %s is in maintenance (%s)", datastore->name, datastore->maintenance);
    else
        check_room(datastore, on_it, f);
}

static void
check_datastores(const struct subject *s, struct preflight_findings *f)
{
    for (size_t i = 0; i < s->vm->disks.count; i++) {
        const char *moref = s->vm->disks.items[i].datastore;
        bool was_seen = !*moref;

        for (size_t k = 0; k < i; k++)
            was_seen = was_seen || !strcmp(s->vm->disks.items[k].datastore, moref);
        if (!was_seen)
            check_datastore(s, moref, f);
    }
}

void
source_disk_rules(const struct subject *s, struct preflight_findings *findings)
{
    check_disks(s, findings);
    check_datastores(s, findings);
}
