/* The hardware of a pretend VM: the part that holds bytes.  Two kinds implement it: `synthetic`
 * (files and a scripted writer) and `live` (a real guest under QEMU, whose snapshots and changed
 * blocks come from QEMU's block layer).
 *
 * A *view* is all disks of the machine frozen at one point in time, named by a number the caller
 * chooses, growing, never used twice; view 0 is the present.  Snapshots of the pretend vCenter are
 * views; change ids speak of views.
 *
 * Threading: every function may be called from any thread; an implementation locks for itself, and
 * reads of different disks do not wait for each other. */
#ifndef V2C_LAB_DISKS_MACHINE_H
#define V2C_LAB_DISKS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/extents.h"

struct err;
struct lab_machine;

struct lab_machine_ops {
    const char *kind; /* "synthetic", "live" */
    int (*power_on)(struct lab_machine *machine, struct err **err);
    /* At once, as pulling the plug; when it returns nothing writes any more. */
    int (*power_off)(struct lab_machine *machine, struct err **err);
    /* Asks the guest; is_on turns false some time later. */
    int (*shutdown_guest)(struct lab_machine *machine, struct err **err);
    bool (*is_on)(struct lab_machine *machine);
    /* Wall clock of the moment it last went off, 0 while on or when it never was; NULL: the machine
     * does not know better than who asks is_on. */
    uint64_t (*off_at_ms)(struct lab_machine *machine);
    int (*freeze)(struct lab_machine *machine, uint64_t view, struct err **err);
    int (*thaw)(struct lab_machine *machine, uint64_t view, struct err **err);
    /* Bytes of disk number @disk in a view. */
    int (*read)(struct lab_machine *machine, unsigned disk, uint64_t view, void *data,
                uint32_t length, uint64_t offset, struct err **err);
    /* What is allocated in [offset, offset+length), appended; may say too much. */
    int (*allocated)(struct lab_machine *machine, unsigned disk, uint64_t view, uint64_t offset,
                     uint64_t length, struct extents *extents, struct err **err);
    /* What may differ between view @since (which may be thawed by now) and @view, appended; may say too
     * much, never too little.  E_CBT_RESET when @since is not known. */
    int (*changed)(struct lab_machine *machine, unsigned disk, uint64_t since, uint64_t view,
                   struct extents *extents, struct err **err);
    /* A raw file equal to the disk's present content while the machine is off, for the oracle. */
    const char *(*raw_path)(struct lab_machine *machine, unsigned disk);
    void (*close)(struct lab_machine *machine);
};

struct lab_machine {
    const struct lab_machine_ops *ops;
    unsigned disk_count;
};

/* What a machine is made from.  Everything is copied. */
struct lab_disk_plan {
    uint64_t capacity;   /* bytes */
    unsigned controller; /* number of the pvscsi controller it hangs on */
    unsigned unit;
    unsigned fill_percent; /* synthetic: how much holds data at the start */
    uint64_t seed;         /* synthetic: of the pattern */
    char content[512];     /* synthetic: a raw file that is copied instead; "" for none */
};
struct lab_nic_plan {
    const char *mac;
};
struct lab_machine_plan {
    const char *name;
    const char *dir; /* its own, exists, for files */
    const struct lab_disk_plan *disks;
    unsigned disk_count;
    const struct lab_nic_plan *nics;
    unsigned nic_count;
    unsigned
        writer_kib_per_s; /* how fast guest or script goes on writing while on; 0: not at all */
    bool is_off;          /* stays off at the start */
    unsigned shutdown_ms; /* synthetic: from shutdown_guest to off */
};
int lab_synthetic_new(const struct lab_machine_plan *plan, struct lab_machine **ret,
                      struct err **err);
/* Synthetic only: gives a disk a larger capacity; no view may exist. */
int lab_synthetic_grow(struct lab_machine *machine, unsigned disk, uint64_t capacity,
                       struct err **err);
/* Synthetic only: writes a pattern now, on or off, as the guest would. */
int lab_synthetic_write(struct lab_machine *machine, unsigned disk, uint64_t offset,
                        uint64_t length, uint64_t seed /* 0: zeroes */, struct err **err);
/* lab/guest: disk 0 is the root disk, disk 1 the data disk; capacities are minima. */
int lab_live_new(const struct lab_machine_plan *plan, struct lab_machine **ret, struct err **err);

#endif
