/* Part of vsphere.h: what is asked of many VMs in few calls. */
#ifndef V2C_VSPHERE_FACTS_H
#define V2C_VSPHERE_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

struct err;
struct vsphere;
struct vsphere_selector;
struct vsphere_vm;

/* vsphere_find_vm for @count VMs, in one reading of the inventory.  For each either ret_morefs[i] or ret_errors[i] is
 * set; the caller frees both.  On failure, of what concerns all, neither is touched. */
int vsphere_find_vms(struct vsphere *vsphere, const struct vsphere_selector *selectors,
                     size_t count, char **ret_morefs, struct err **ret_errors, struct err **err);
/* vsphere_find_vm and vsphere_read_vm for @count VMs.  For each either ret_vms[i] is filled or
 * ret_errors[i] set; the caller frees both.  On failure, of what concerns all, neither is touched. */
int vsphere_read_vms(struct vsphere *vsphere, const struct vsphere_selector *selectors,
                     size_t count, struct vsphere_vm *ret_vms, struct err **ret_errors,
                     struct err **err);

struct vsphere_vm_facts {
    bool is_fault_tolerant;
    bool is_snapshot_disabled; /* CreateSnapshot_Task stands in disabledMethod */
    char *untracked; /* disks whose own ctkEnabled key says no: "scsi0:1, scsi0:2"; or "" */
};
/* A VM that is gone has all empty. */
int vsphere_read_vm_facts(struct vsphere *vsphere, const char *const *morefs, size_t count,
                          struct vsphere_vm_facts *ret_facts, struct err **err);
void vsphere_vm_facts_done(struct vsphere_vm_facts *facts);

/* Which of @privileges (NULL terminated) this session lacks on each VM: ret_missing[i] is "A, B" or
 * "", owned by the caller.  E_VSPHERE_PRIVILEGE when it may not even ask. */
int vsphere_missing_privileges(struct vsphere *vsphere, const char *const *morefs, size_t count,
                               const char *const *privileges, char **ret_missing, struct err **err);

struct vsphere_vm_snapshot {
    char *vm_moref, *vm_name;
    char *moref, *name;
};
VEC_DECLARE(vsphere_vm_snapshots, struct vsphere_vm_snapshot);
/* The snapshots of all VMs, parents first. */
int vsphere_list_snapshots(struct vsphere *vsphere, struct vsphere_vm_snapshots *ret,
                           struct err **err);
void vsphere_vm_snapshots_done(struct vsphere_vm_snapshots *snapshots);

struct vsphere_datastore_state {
    char *moref, *name, *type; /* "VMFS", "NFS", "vsan", ... */
    uint64_t capacity, free_bytes;
    bool is_accessible;
    char *maintenance; /* "normal", "inMaintenance", ... */
};
VEC_DECLARE(vsphere_datastore_states, struct vsphere_datastore_state);

struct vsphere_host {
    char *moref, *name, *version; /* "8.0.2" */
    char *connection_state;       /* "connected" */
    bool is_in_maintenance;
};
VEC_DECLARE(vsphere_hosts, struct vsphere_host);

/* All that the account may see. */
int vsphere_list_datastores(struct vsphere *vsphere,
                            struct vsphere_datastore_states *ret_datastores, struct err **err);
int vsphere_list_hosts(struct vsphere *vsphere, struct vsphere_hosts *ret_hosts, struct err **err);
void vsphere_datastore_states_done(struct vsphere_datastore_states *datastores);
void vsphere_hosts_done(struct vsphere_hosts *hosts);

/* The server's clock, seconds since 1970. */
int vsphere_server_time(struct vsphere *vsphere, int64_t *ret_wall_s, struct err **err);

#endif
