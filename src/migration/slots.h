/* Places for disks that are read through VDDK, shared by all workers of one control directory: how many
 * handles are open at once in the engine and on one ESXi host, and how much memory their pools take.
 *
 * The next one goes to a VM in its final sync, else to the VM that holds fewest, else to whoever came
 * first; nobody waits for a host that is full while another has room.  A VM that is off never waits for
 * copies: the engine's limit is not for it, and on each host SLOTS_FINAL_RESERVE handles more are.
 *
 * Claims stand in one file, `<control_dir>/.vddk-slots/`, that every worker maps.  A claim lives as long
 * as its owner has a lock on it, which the kernel takes away when the owner ends, however it ends.
 *
 * Threading: a slot belongs to one thread; different slots may be used by different threads. */
#ifndef V2C_MIGRATION_SLOTS_H
#define V2C_MIGRATION_SLOTS_H

#include "migration/slots_policy.h"

struct err;
struct migration_slot;

struct slots_wish {
    int64_t vm;       /* what is fair is reckoned by it */
    const char *host; /* the ESXi host that will be read from; NULL or "": not known */
    bool is_final;
    unsigned pool_slots; /* wanted; see migration_slot_pool */
    /* Called on the caller's thread with what is waited for, in a few words, and with NULL when that is
     * over; may be NULL. */
    void (*on_wait)(void *opaque, const char *what);
    void *opaque;
};

/* Waits for a place.  E_CANCELLED once *@cancel is not 0. */
int migration_slot_take(const char *control_dir, const struct slots_limits *limits,
                        const struct slots_wish *wish, const volatile int *cancel,
                        struct migration_slot **ret_slot, struct err **err);
/* A second handle for the disk that has @first; it does not wait, and takes nothing that others wait
 * for: *ret_slot is NULL then. */
int migration_slot_try(const struct migration_slot *first, struct migration_slot **ret_slot,
                       struct err **err);
/* Whether somebody waits for what @slot takes: a second handle is given back then. */
bool migration_slot_should_yield(const struct migration_slot *slot);
/* Slots that the disk's pool may have: as wanted, or fewer where memory is short. */
unsigned migration_slot_pool(const struct migration_slot *slot);
/* Gives it back. */
void migration_slot_free(struct migration_slot *slot);
void migration_slot_freep(struct migration_slot **slot);

/* V2C_VDDK_MAX_OPEN of the environment, else 8. */
unsigned migration_slots_handles(void);

#endif
