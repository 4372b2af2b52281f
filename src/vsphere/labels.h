/* Part of vsphere.h: what people tell a VM by, and whether its network cards are connected when it starts. */
#ifndef V2C_VSPHERE_LABELS_H
#define V2C_VSPHERE_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

struct err;
struct vsphere;

struct vsphere_nic_start {
    int32_t key; /* of the card */
    bool is_connected;
};
VEC_DECLARE(vsphere_nic_starts, struct vsphere_nic_start);

struct vsphere_labels {
    char *name, *annotation; /* as people see them; "" */
    struct vsphere_nic_starts nics;
};
int vsphere_read_labels(struct vsphere *vsphere, const char *moref, struct vsphere_labels *ret,
                        struct err **err);
void vsphere_labels_done(struct vsphere_labels *labels);

/* One reconfiguration; an answer that was lost is looked up.  E_CONFIG for text that XML cannot hold. */
int vsphere_set_name(struct vsphere *vsphere, const char *moref, const char *name,
                     struct err **err);
int vsphere_set_annotation(struct vsphere *vsphere, const char *moref, const char *annotation,
                           struct err **err);
/* Changes startConnected of these cards and nothing else of them; one that is not there is left out. */
int vsphere_set_nic_starts(struct vsphere *vsphere, const char *moref,
                           const struct vsphere_nic_starts *nics, struct err **err);

#endif
