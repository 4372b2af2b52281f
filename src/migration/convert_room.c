/* Room in the pools while a guest is converted. */
#include "migration/convert_room.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "qcow2/qcow2.h"
#include "storage/storage.h"

#define LOOK_MS         1000
#define OVERLAY_CLUSTER (64 * KIB) /* qemu-img's own */
#define CURE            "make room there and run it again; or start the source VM, and deltas go on"

/* The directory of a disk's file, which the caller frees. */
static char *
pool_of(const struct store_disk *disk)
{
    const char *slash = strrchr(disk->target_path, '/');

    return xasprintf("%.*s", (int)(slash - disk->target_path), disk->target_path);
}

static int
look(const char *pool, uint64_t *ret_free, uint64_t *ret_floor, struct err **err)
{
    if (storage_free_bytes(pool, ret_free, err) < 0)
        return -1;
    return storage_floor_bytes(pool, ret_floor, err);
}

int
convert_room_to_begin(const struct store_disk *const *disks, size_t count, struct err **err)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(free_charp) char *pool = pool_of(disks[i]);
        uint64_t free_bytes, floor;

        if (look(pool, &free_bytes, &floor, err) < 0)
            return -1;
        if (free_bytes >= floor + PREFLIGHT_CONVERSION_BYTES)
            continue;
        err_set(err, E_NO_SPACE,
                "the file system of pool %s has %" PRIu64
                " MiB free; a conversion may need %" PRIu64 ", and %" PRIu64 " are to stay free",
                pool, (uint64_t)(free_bytes / MIB), (uint64_t)(PREFLIGHT_CONVERSION_BYTES / MIB),
                (uint64_t)(floor / MIB));
        return err_hint(err, CURE);
    }
    return 0;
}

/* ---- the commit -------------------------------------------------------------------------------- */

/* At most so much more will be in the disk's file: what the overlay occupies, in the file's clusters where
 * those are larger. */
static int
needed_by(const struct store_disk *disk, const char *overlay, uint64_t *ret_bytes, struct err **err)
{
    struct qcow2_info info;
    uint64_t bytes;

    if (guest_overlay_bytes(overlay, &bytes, err) < 0 ||
        qcow2_inspect(disk->target_path, &info, err) < 0)
        return -1;
    *ret_bytes = bytes * MAX((UINT64_C(1) << info.cluster_bits) / OVERLAY_CLUSTER, UINT64_C(1));
    return 0;
}

int
convert_room_to_commit(const struct store_disks *disks, char *const *overlays, struct err **err)
{
    for (size_t i = 0; i < disks->count; i++) {
        CLEANUP(free_charp) char *pool = pool_of(&disks->items[i]);
        uint64_t needed = 0, free_bytes;

        /* All of those in one pool together, the last of them asks. */
        for (size_t k = 0; k < disks->count; k++) {
            CLEANUP(free_charp) char *other = pool_of(&disks->items[k]);
            uint64_t bytes;

            if (!overlays[k] || strcmp(pool, other) != 0)
                continue;
            if (needed_by(&disks->items[k], overlays[k], &bytes, err) < 0)
                return -1;
            needed += bytes;
        }
        if (storage_free_bytes(pool, &free_bytes, err) < 0)
            return -1;
        if (free_bytes >= needed)
            continue;
        err_set(err, E_NO_SPACE,
                "the file system of pool %s has %" PRIu64 " MiB free; putting the conversion into "
                "the copy may need %" PRIu64,
                pool, (uint64_t)(free_bytes / MIB), (uint64_t)(needed / MIB));
        return err_hint(err, CURE);
    }
    return 0;
}

/* ---- in the middle ----------------------------------------------------------------------------- */

/* The first pool that is full, owned; NULL: none, or it cannot be told. */
static char *
full_pool(const struct room_guard *guard, uint64_t *ret_free, uint64_t *ret_floor)
{
    for (size_t i = 0; i < guard->count; i++) {
        CLEANUP(free_charp) char *pool = pool_of(guard->disks[i]);
        CLEANUP(err_freep) struct err *failure = NULL;

        if (look(pool, ret_free, ret_floor, &failure) < 0)
            log_debug("%s", err_message(failure));
        else if (*ret_free < *ret_floor)
            return take(pool);
    }
    return NULL;
}

static void
forward_line(void *opaque, const char *text)
{
    const struct room_guard *guard = opaque;

    guard->inner->line(guard->inner->opaque, text);
}

static bool
is_to_end(void *opaque)
{
    struct room_guard *guard = opaque;
    CLEANUP(free_charp) char *pool = NULL;
    uint64_t free_bytes, floor;

    if (guard->inner->is_stopped && guard->inner->is_stopped(guard->inner->opaque))
        return true;
    if (clock_monotonic_ms() - guard->looked_ms < LOOK_MS)
        return false;
    guard->looked_ms = clock_monotonic_ms();
    pool = full_pool(guard, &free_bytes, &floor);
    guard->is_full = pool != NULL;
    return guard->is_full;
}

void
room_guard_begin(struct room_guard *guard, const struct guest_watch *inner,
                 const struct store_disk *const *disks, size_t count)
{
    *guard = (struct room_guard){.watch = {.line = inner->line ? forward_line : NULL,
                                           .is_stopped = is_to_end,
                                           .opaque = guard,
                                           .timeout_ms = inner->timeout_ms},
                                 .inner = inner,
                                 .disks = disks,
                                 .count = count};
}

int
room_guard_end(struct room_guard *guard, int result, struct err **err)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(free_charp) char *pool = NULL;
    uint64_t free_bytes = 0, floor = 0;

    if (result == 0 || !err || !*err || (err_code(*err) == E_CANCELLED && !guard->is_full))
        return result;
    pool = full_pool(guard, &free_bytes, &floor);
    if (!pool) { /* it was full for a moment: others have gone */
        if (!guard->is_full)
            return result;
        pool = pool_of(guard->disks[0]);
    }
    failure = take(*err);
    err_set(err, E_NO_SPACE,
            "the file system of pool %s was full: %" PRIu64 " MiB are free, less than %" PRIu64
            " are not to be used (%s)",
            pool, (uint64_t)(free_bytes / MIB), (uint64_t)(floor / MIB), err_message(failure));
    return err_hint(err, CURE);
}
