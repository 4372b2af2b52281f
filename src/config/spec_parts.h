/* The parts of a VM's entry as they are written, before merging: what is not set stays recognisable.
 * One for each VM, one for the `defaults:` of its file. */
#ifndef V2C_CONFIG_SPEC_PARTS_H
#define V2C_CONFIG_SPEC_PARTS_H

#include "base/doc.h"
#include "config/config.h"

struct spec_parts {
    int64_t delta_interval, finalize_delta_interval, finalize_window; /* 0: not set */
    int64_t finalize_settle_seconds;                                  /* -1: not set */
    int64_t cutover_max_downtime, finalize_at;                        /* 0: not set */
    bool finalize_at_was_zoneless;
    int64_t readers, parallel_disks;                    /* 0: not set */
    int run_virt_v2v, start_vm_after_import;            /* -1: not set */
    int quiesce, shutdown, verify, extents, on_failure; /* -1: not set */
    int import_method;                                  /* -1: not set */
    struct rate_schedule bandwidth;                     /* text "": not set */
    struct config_mark mark_source;                     /* see CONFIG_MARK_UNSET */
    struct config_vddk vddk;                            /* see CONFIG_VDDK_UNSET */
    struct config_target target;
    bool has_nics;
    struct spec_nics nics; /* sorted; entries without a network dropped */
    struct spec_disks disks;
};

void spec_parts_init(struct spec_parts *parts);
void spec_parts_done(struct spec_parts *parts);
/* Decodes `migration`, `target` and `disks` of @entry; its own keys are checked by the caller. */
void spec_parts_decode(const struct node *entry, struct spec_parts *parts,
                       struct problems *problems);

/* `nic_mappings` in the order of their plan; the first with the primary rule of the plan is found by
 * spec_nics_primary (-1: none). */
void spec_nics_decode(const struct node *map, struct spec_nics *nics, struct problems *problems);
int spec_nics_primary(const struct spec_nics *nics);
void spec_nics_copy(struct spec_nics *nics, const struct spec_nics *from);
void spec_nics_done(struct spec_nics *nics);

void spec_disks_decode(const struct node *map, struct spec_disks *disks, struct problems *problems);
/* Adds the disks that @disks does not name, and fills blanks of those it does. */
void spec_disks_fill(struct spec_disks *disks, const struct spec_disks *from);
void spec_disks_done(struct spec_disks *disks);

#endif
