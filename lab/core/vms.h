/* What the pretend hosts do with a VM: power, snapshots, change tracking.  The vCenter's methods and
 * the control port both end here.
 *
 * A VM's disks all have the same chain of files: the base, then one delta a snapshot.  A snapshot
 * freezes the file that was the running one; removing it merges the next file of the chain into its
 * own, as consolidation does, so a file name is good only while its snapshot is.
 *
 * Threading: any thread; operations on one VM wait for each other (`vm->operating`).  None is called
 * with `lab->mutex` held unless it says so. */
#ifndef V2C_LAB_CORE_VMS_H
#define V2C_LAB_CORE_VMS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "core/lab.h"

#define LAB_MAX_SNAPSHOTS 32 /* levels, as stock ESXi */

/* Prepares a VM whose machine and disks (key, bus, controller, unit, capacity) are set: file names,
 * ids, tracking when it starts with it.  mutex held or nobody else there yet. */
int lab_vm_prepare(struct lab *lab, struct lab_vm *vm, struct err **err);
void lab_vm_free(struct lab_vm *vm); /* ends its machine */

/* Reads the machine's power state and keeps the stamps that go with it.  mutex held. */
bool lab_vm_is_on(struct lab *lab, struct lab_vm *vm);
/* E_VSPHERE_STATE when it is on, or off, already. */
int lab_vm_power_on(struct lab *lab, struct lab_vm *vm, struct err **err);
int lab_vm_power_off(struct lab *lab, struct lab_vm *vm, struct err **err);
/* Asks the guest.  E_VSPHERE_STATE when it is off, E_VSPHERE_TOOLS without Tools. */
int lab_vm_shutdown(struct lab *lab, struct lab_vm *vm, struct err **err);

/* E_LIMIT beyond LAB_MAX_SNAPSHOTS, E_VSPHERE_SNAPSHOT when the machine cannot. */
int lab_vm_snapshot(struct lab *lab, struct lab_vm *vm, const char *name, const char *description,
                    bool quiesce, char ret_moref[32], struct err **err);
/* E_VSPHERE_NOT_FOUND.  The fault place "vm.consolidate" leaves the files unmerged
 * (needs_consolidation). */
int lab_vm_remove_snapshot(struct lab *lab, struct lab_vm *vm, const char *moref,
                           bool with_children, struct err **err);
void lab_vm_consolidate(struct lab *lab, struct lab_vm *vm);

/* Takes effect at the next stun; turning it off forgets the history. */
void lab_vm_configure_cbt(struct lab *lab, struct lab_vm *vm, bool is_on);
/* What else a client may change.  -1 when another VM of the data centre has that name. */
#define LAB_MAX_NIC_CHANGES 16
struct lab_vm_changes {
    bool has_name, has_annotation;
    char name[256], annotation[4096];
    size_t nic_count;
    struct {
        int32_t key;
        bool starts_connected;
    } nics[LAB_MAX_NIC_CHANGES];
};
int lab_vm_configure(struct lab *lab, struct lab_vm *vm, const struct lab_vm_changes *changes);
/* Loses the history: every disk gets a new change uuid. */
int lab_vm_reset_cbt(struct lab *lab, struct lab_vm *vm, struct err **err);

/* Gives disk number @disk a larger capacity.  E_VSPHERE_STATE while there are snapshots. */
int lab_vm_grow(struct lab *lab, struct lab_vm *vm, unsigned disk, uint64_t capacity,
                struct err **err);

/* For lab.json and the control port's state: moref, uuid, power, disks, NICs, snapshots.  mutex held;
 * owned by the caller. */
json_t *lab_vm_describe(struct lab *lab, struct lab_vm *vm);
/* The name of disk number @disk's file of link @number. */
void lab_vm_file(const struct lab_vm *vm, size_t disk, unsigned number, char ret_path[512]);
/* By device key; -1 when absent. */
int lab_disk_index(const struct lab_vm *vm, int32_t key);

/* Writes two small hex digits; returns where the next ones go. */
char *lab_put_hex(char *at, uint8_t byte);
/* 16 bytes that follow from @text, as a uuid in small hex with dashes. */
void lab_uuid(const char *text, char ret_uuid[40]);

#endif
