/* Real guests under QEMU without KVM: the little Linux that migrations are shown with, and the boot of
 * what was imported.
 *
 * The guest (built by lab/guest/build-guest.sh from the distribution's kernel and one program of ours;
 * cached) has an ext4 root disk that it boots from and an ext4 data disk.  Its writer adds numbered files
 * of random content to both, syncs, and then adds each file's number and checksum to a synced manifest;
 * now and then it writes a file again or removes one.  "The manifest's files are all there and right" is
 * what a migration must keep.  On boot it checks all manifests first and says on the serial console
 *     V2C-GUEST up root=<device> data=<device> nics=<n> mac=<mac>,<mac>
 *     V2C-GUEST verified files=<n> bad=<n>
 * It shuts down (umount, sync, power off) when asked through ACPI.
 *
 * Threading: any thread. */
#ifndef V2C_LAB_GUEST_LAB_GUEST_H
#define V2C_LAB_GUEST_LAB_GUEST_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct lab_boot;

/* An imported VM as CloudStack starts it: virtio disks on overlays of the files named, virtio NICs. */
struct lab_boot_plan {
    const char *dir;          /* its own, exists: overlays, serial log, QMP socket */
    const char *const *disks; /* QCOW2 paths in device order; never written */
    unsigned disk_count;
    const char *const *macs;
    unsigned nic_count;
    const char *disk_controller; /* "virtio", "scsi" (virtio-scsi), "sata", "ide" */
    const char *nic_adapter;     /* "virtio", "e1000", ... */
    bool is_uefi;
    unsigned memory_mib; /* 0: 256 */
};
/* Returns when QEMU runs; the guest is then starting. */
int lab_boot_start(const struct lab_boot_plan *plan, struct lab_boot **ret, struct err **err);
struct lab_boot_state {
    bool is_running;  /* the QEMU process */
    bool is_up;       /* the guest said so */
    bool is_verified; /* it has checked its files */
    unsigned files, bad_files;
    char line[256]; /* its last V2C-GUEST line */
};
void lab_boot_state(struct lab_boot *boot, struct lab_boot_state *ret);
void lab_boot_stop(struct lab_boot *boot); /* ends QEMU, frees */

#endif
