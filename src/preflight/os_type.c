/* Which OS type of CloudStack a guest id of VMware becomes.
 *
 * The server's own mapping is asked first.  It is made for the other direction, so that many types may
 * map to one guest id; then, and where there is none, the table here says how the type's description
 * begins, and of those that begin so the newest is taken. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cloudstack/cloudstack.h"
#include "preflight/internal.h"

/* Guest ids by their beginning, the longer ones first where one begins another. */
static const struct {
    const char *guest_id, *description;
} TABLE[] = {
    {"almalinux_64", "AlmaLinux 9"},
    {"amazonlinux2_64", "Amazon Linux 2"},
    {"asianux8_64", "Asianux 8"},
    {"centos6_64", "CentOS 6"},
    {"centos7_64", "CentOS 7"},
    {"centos8_64", "CentOS 8"},
    {"centos9_64", "CentOS Stream 9"},
    {"debian8_64", "Debian GNU/Linux 8 (64-bit)"},
    {"debian9_64", "Debian GNU/Linux 9 (64-bit)"},
    {"debian10_64", "Debian GNU/Linux 10 (64-bit)"},
    {"debian11_64", "Debian GNU/Linux 11 (64-bit)"},
    {"debian12_64", "Debian GNU/Linux 12 (64-bit)"},
    {"debian13_64", "Debian GNU/Linux 13 (64-bit)"},
    {"fedora64", "Fedora Linux"},
    {"freebsd11_64", "FreeBSD 11 (64-bit)"},
    {"freebsd12_64", "FreeBSD 12 (64-bit)"},
    {"freebsd13_64", "FreeBSD 13 (64-bit)"},
    {"freebsd14_64", "FreeBSD 14 (64-bit)"},
    {"oracleLinux7_64", "Oracle Linux 7"},
    {"oracleLinux8_64", "Oracle Linux 8"},
    {"oracleLinux9_64", "Oracle Linux 9"},
    {"rhel6_64", "Red Hat Enterprise Linux 6"},
    {"rhel7_64", "Red Hat Enterprise Linux 7"},
    {"rhel8_64", "Red Hat Enterprise Linux 8"},
    {"rhel9_64", "Red Hat Enterprise Linux 9"},
    {"rockylinux_64", "Rocky Linux 9"},
    {"sles12_64", "SUSE Linux Enterprise Server 12"},
    {"sles15_64", "SUSE Linux Enterprise Server 15"},
    {"ubuntu64", "Ubuntu "},
    {"windows7Server64", "Windows Server 2008 R2 (64-bit)"},
    {"windows7_64", "Windows 7 (64-bit)"},
    {"windows8Server64", "Windows Server 2012"},
    {"windows8_64", "Windows 8"},
    {"windows9Server64", "Windows Server 2016 (64-bit)"},
    {"windows9_64", "Windows 10 (64-bit)"},
    {"windows11_64", "Windows 11 (64-bit)"},
    {"windows12_64", "Windows 11 (64-bit)"},
    {"windows2019srvNext_64", "Windows Server 2022 (64-bit)"},
    {"windows2019srv_64", "Windows Server 2019 (64-bit)"},
    {"windows2022srvNext_64", "Windows Server 2025"},
    {"windows2022srv_64", "Windows Server 2022 (64-bit)"},
};

/* What is taken for what nobody knows: it gets virtio devices, unless it is Windows. */
static const char *const GENERIC[] = {"Other Linux (64-bit)", "Other PV (64-bit)",
                                      "Other PV Virtio-SCSI (64-bit)", "Other (64-bit)"};
static const char *const GENERIC_WINDOWS[] = {"Windows Server 2022", "Windows Server 2019",
                                              "Windows PV", "Other (64-bit)"};

static const char *
in_table(const char *guest_id)
{
    for (size_t i = 0; i < ARRAY_SIZE(TABLE); i++)
        if (!strncasecmp(guest_id, TABLE[i].guest_id, strlen(TABLE[i].guest_id)))
            return TABLE[i].description;
    return NULL;
}

/* The newest whose text at @key begins with @start, borrowed. */
static const json_t *
newest(const json_t *items, const char *key, const char *start)
{
    const json_t *item, *best = NULL;
    size_t i;

    json_array_foreach (items, i, item) {
        if (strncasecmp(fact_text(item, key), start, strlen(start)) != 0)
            continue;
        if (!best || strverscmp(fact_text(item, key), fact_text(best, key)) > 0)
            best = item;
    }
    return best;
}

static bool
is_one_type(const json_t *mappings)
{
    const json_t *first = json_array_get(mappings, 0), *item;
    size_t i;

    json_array_foreach (mappings, i, item) {
        if (!fact_same_id(fact_text(item, "ostypeid"), fact_text(first, "ostypeid")))
            return false;
    }
    return first && *fact_text(first, "ostypeid");
}

static void
take_type(struct preflight_os_type *type, const json_t *found, const char *id_key,
          const char *text_key, bool is_guess)
{
    *type = (struct preflight_os_type){.id = xstrdup(fact_text(found, id_key)),
                                       .description = xstrdup(fact_text(found, text_key)),
                                       .is_guess = is_guess};
}

void
os_type_choose(const char *guest_id, bool is_windows, const json_t *mappings, const json_t *types,
               struct preflight_os_type *ret)
{
    const char *description = in_table(guest_id);
    const char *const *generic = is_windows ? GENERIC_WINDOWS : GENERIC;
    const json_t *found = NULL;

    *ret = (struct preflight_os_type){0};
    if (is_one_type(mappings)) {
        take_type(ret, json_array_get(mappings, 0), "ostypeid", "osdisplayname", false);
        return;
    }
    if (description && (found = newest(mappings, "osdisplayname", description))) {
        take_type(ret, found, "ostypeid", "osdisplayname", false);
        return;
    }
    if (description && (found = newest(types, "description", description))) {
        take_type(ret, found, "id", "description", false);
        return;
    }
    if ((found = newest(mappings, "osdisplayname", ""))) {
        take_type(ret, found, "ostypeid", "osdisplayname", true);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(GENERIC); i++)
        if ((found = newest(types, "description", generic[i]))) {
            take_type(ret, found, "id", "description", true);
            return;
        }
}

void
preflight_os_type_done(struct preflight_os_type *type)
{
    free(type->id);
    free(type->description);
    *type = (struct preflight_os_type){0};
}
