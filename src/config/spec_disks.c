#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "config/spec_parts.h"
#include "config/values.h"

#define UNIT_MAX       255
#define DEVICE_KEY_MIN 1000

static void
disk_done(struct spec_disk *disk)
{
    free(disk->address);
    free(disk->place);
    free(disk->storage_id);
    free(disk->disk_offering_id);
}

void
spec_disks_done(struct spec_disks *disks)
{
    for (size_t i = 0; i < disks->count; i++)
        disk_done(&disks->items[i]);
    vec_done(disks);
}

/* Up to @max digits without a leading zero; returns what follows, NULL when it is none. */
static const char *
parse_number(const char *text, int max_digits, long *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text) || (text[0] == '0' && isdigit((unsigned char)text[1])))
        return NULL;
    *ret = strtol(text, &end, 10);
    return end - text <= max_digits ? end : NULL;
}

/* "scsi0:1" in any case, to that form. */
static char *
parse_address(const char *key)
{
    static const char *const buses[] = {"scsi", "sata", "ide", "nvme"};
    long controller, unit;

    for (size_t i = 0; i < ARRAY_SIZE(buses); i++) {
        const char *rest = key + strlen(buses[i]);

        if (strncasecmp(key, buses[i], strlen(buses[i])) != 0)
            continue;
        rest = parse_number(rest, 2, &controller);
        if (!rest || *rest != ':')
            return NULL;
        rest = parse_number(rest + 1, 3, &unit);
        if (!rest || *rest || unit > UNIT_MAX)
            return NULL;
        return xasprintf("%s%ld:%ld", buses[i], controller, unit);
    }
    return NULL;
}

static bool
parse_key(const char *key, struct spec_disk *disk)
{
    long number;
    const char *rest = parse_number(key, 9, &number);

    if (rest && !*rest && (number <= UNIT_MAX || number >= DEVICE_KEY_MIN)) {
        disk->by = number <= UNIT_MAX ? SPEC_DISK_BY_UNIT : SPEC_DISK_BY_KEY;
        disk->number = (int32_t)number;
        return true;
    }
    disk->by = SPEC_DISK_BY_ADDRESS;
    disk->address = parse_address(key);
    return disk->address != NULL;
}

static bool
is_same_disk(const struct spec_disk *a, const struct spec_disk *b)
{
    return a->by == b->by && (a->by == SPEC_DISK_BY_ADDRESS ? !strcmp(a->address, b->address)
                                                            : a->number == b->number);
}

static struct spec_disk *
find_disk(const struct spec_disks *disks, const struct spec_disk *wanted)
{
    for (size_t i = 0; i < disks->count; i++)
        if (is_same_disk(&disks->items[i], wanted))
            return &disks->items[i];
    return NULL;
}

static void
decode_disk(const struct node *node, struct spec_disk *disk, struct problems *problems)
{
    static const char *const keys[] = {"storageid", "diskofferingid", NULL};

    node_check_keys(node, keys, problems);
    decode_text(node, "storageid", &disk->storage_id, problems);
    decode_text(node, "diskofferingid", &disk->disk_offering_id, problems);
}

void
spec_disks_decode(const struct node *map, struct spec_disks *disks, struct problems *problems)
{
    for (size_t i = 0; map && i < node_count(map); i++) {
        const struct node *node = node_item(map, i);
        struct spec_disk disk = {0}, *twin;

        if (!parse_key(node_key(map, i), &disk)) {
            problems_add(problems, node,
                         "expected a disk as its unit (0 to %d), device key (from %d) or address "
                         "such as scsi0:1",
                         UNIT_MAX, DEVICE_KEY_MIN);
            continue;
        }
        disk.place = node_place(node);
        twin = find_disk(disks, &disk);
        if (twin) {
            problems_add(problems, node, "the same disk as at %s", twin->place);
            disk_done(&disk);
            continue;
        }
        decode_disk(node_decode_map(map, node_key(map, i), problems), &disk, problems);
        vec_push(disks, disk);
    }
}

void
spec_disks_fill(struct spec_disks *disks, const struct spec_disks *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct spec_disk *theirs = &from->items[i];
        struct spec_disk *ours = find_disk(disks, theirs);

        if (!ours) {
            vec_push(disks, ((struct spec_disk){.by = theirs->by,
                                                .number = theirs->number,
                                                .address = xstrdup(theirs->address),
                                                .place = xstrdup(theirs->place),
                                                .is_default = true}));
            ours = &disks->items[disks->count - 1];
        }
        if (!ours->storage_id)
            ours->storage_id = xstrdup(theirs->storage_id);
        if (!ours->disk_offering_id)
            ours->disk_offering_id = xstrdup(theirs->disk_offering_id);
    }
}
