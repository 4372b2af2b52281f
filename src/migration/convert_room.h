/* Room in the pools while a guest is converted: before, during and at the commit. */
#ifndef V2C_MIGRATION_CONVERT_ROOM_H
#define V2C_MIGRATION_CONVERT_ROOM_H

#include "guest/guest.h"
#include "migration/internal.h"

/* Whether overlays above these disks may be begun: PREFLIGHT_CONVERSION_BYTES beyond what is to stay free.
 * E_NO_SPACE. */
int convert_room_to_begin(const struct store_disk *const *disks, size_t count, struct err **err);
/* Whether the pools have room for what these overlays (an owned path a disk, NULL: none) hold. */
int convert_room_to_commit(const struct store_disks *disks, char *const *overlays,
                           struct err **err);

/* Ends what writes into overlays when one of their pools has less left than is to stay free.  It is others'
 * too; and libguestfs and QEMU do not fail on a pool that is full: they stop the guest and wait. */
struct room_guard {
    struct guest_watch watch; /* what the writer is given; opaque is the guard */
    const struct guest_watch *inner;
    const struct store_disk *const *disks;
    size_t count;
    int64_t looked_ms;
    bool is_full;
};
void room_guard_begin(struct room_guard *guard, const struct guest_watch *inner,
                      const struct store_disk *const *disks, size_t count);
/* @result is the writer's, and is returned; a failure while a pool is full becomes E_NO_SPACE. */
int room_guard_end(struct room_guard *guard, int result, struct err **err);

#endif
