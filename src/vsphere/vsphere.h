/* Client of the vSphere API (vim25 SOAP): session, inventory, snapshots, changed blocks, power.
 *
 * The session is kept alive and renewed inside: a call that finds it ended logs in again and, where
 * repeating is harmless, is repeated once.  Calls that change something are repeated only when the
 * server said that it did not begin.  Every *_Task is waited for; an answer that was lost is looked
 * up (our snapshot by its name, the task in recentTask) rather than asked for again.  Faults become
 * error codes; a fault we do not know keeps its name and text (E_VSPHERE_FAULT).
 *
 * Threading: one connection may be used by several threads; calls are serialised. */
#ifndef V2C_VSPHERE_VSPHERE_H
#define V2C_VSPHERE_VSPHERE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/extents.h"
#include "base/vec.h"
#include "net/net.h"
#include "vsphere/facts.h"
#include "vsphere/labels.h"

struct err;
struct vsphere;

struct vsphere_options {
    const char
        *host; /* name or address, optionally ":port"; a pasted https://.../sdk is understood */
    const char *user, *password;
    struct net_trust trust;
    int timeout_ms; /* of one call; 0: 60 s */
    /* Once non-zero every call and wait ends soon with E_CANCELLED; what the server has begun goes on
     * there, so clean up over a connection without it.  May be NULL. */
    const volatile int *cancel;
};
/* Host and port of "vcenter", "vcenter:8443", "::1", "[::1]:443", or of what a person pastes with scheme
 * and path; the caller frees *ret_host.  An IPv6 address stands in brackets only when it @is_for_url.
 * E_CONFIG. */
int vsphere_split_host(const char *text, bool is_for_url, char **ret_host, unsigned *ret_port,
                       struct err **err);
/* Copies @options.  E_CONFIG, E_TLS_UNTRUSTED, E_VSPHERE_LOGIN (a refused password is not tried a
 * second time in the life of a connection), E_NET... */
int vsphere_connect(const struct vsphere_options *options, struct vsphere **ret_vsphere,
                    struct err **err);
void vsphere_free(struct vsphere *vsphere); /* logs out */
void vsphere_freep(struct vsphere **vsphere);
/* Renews the idle timeout; call every few minutes while nothing else is asked. */
int vsphere_keep_alive(struct vsphere *vsphere, struct err **err);
/* "VMware vCenter Server 8.0.2 ..." */
const char *vsphere_server_name(const struct vsphere *vsphere);
/* What tells this vCenter from every other, by whatever name it is reached (AboutInfo.instanceUuid of the vSphere API);
 * NULL of an ESXi host, which has none. */
const char *vsphere_server_uuid(const struct vsphere *vsphere);
/* SHA-1 of the server's certificate, for VDDK (see net_server_thumbprint). */
int vsphere_thumbprint(struct vsphere *vsphere, char ret_sha1[60], struct err **err);

/* ---- inventory -------------------------------------------------------------------------------- */

enum vsphere_power {
    VSPHERE_POWERED_OFF,
    VSPHERE_POWERED_ON,
    VSPHERE_SUSPENDED,
};

enum vsphere_bus {
    VSPHERE_BUS_SCSI,
    VSPHERE_BUS_SATA,
    VSPHERE_BUS_IDE,
    VSPHERE_BUS_NVME,
};

struct vsphere_disk {
    int32_t key; /* device key, 2000... */
    enum vsphere_bus bus;
    int32_t controller_number; /* busNumber */
    int32_t unit;
    char *label;           /* "Hard disk 1" */
    char *file_name;       /* "[datastore] dir/disk.vmdk" */
    char *datastore;       /* moref */
    char *backing_uuid;    /* NULL when the backing has none */
    char *change_id;       /* NULL when CBT is not active */
    uint64_t capacity;     /* bytes */
    char *mode;            /* "persistent", "independent_persistent", ... */
    unsigned parent_count; /* files below it: one for each snapshot, and those of a linked clone */
    bool is_raw_mapping;   /* of a LUN, in virtual mode */
    char *unsupported;     /* why it cannot be snapshotted or read (physical RDM, shared bus,
                                  multi-writer, encrypted, ...), or NULL */
};
VEC_DECLARE(vsphere_disks, struct vsphere_disk);

struct vsphere_nic {
    int32_t key;   /* 4000... */
    char *label;   /* "Network adapter 1" */
    char *type;    /* "VirtualVmxnet3" */
    char *mac;     /* lower-case with colons */
    char *network; /* port group or network name; NULL unknown */
    char *ip;      /* the first IPv4 address that Tools tell; NULL: none, or the VM is off */
};
VEC_DECLARE(vsphere_nics, struct vsphere_nic);

struct vsphere_datastore {
    char *moref, *name;
    char *type; /* "VMFS", "NFS", "NFS41", "vsan", "VVOL", ...; NULL: the account may not see it */
};
VEC_DECLARE(vsphere_datastores, struct vsphere_datastore);

struct vsphere_snapshot {
    char *moref, *name, *description;
};
VEC_DECLARE(vsphere_snapshots, struct vsphere_snapshot);

/* Everything a migration asks of a VM, read in one go.  Texts are "" where the server says nothing,
 * as of a VM that is inaccessible, unless NULL is mentioned.  Names are as people see them: vCenter's
 * %2f, %5c and %25 are decoded. */
struct vsphere_vm {
    char *moref, *name, *instance_uuid, *bios_uuid, *datacenter /* name */;
    char *guest_id, *guest_full_name, *version /* "vmx-19" */, *firmware /* "bios" | "efi" */;
    bool is_secure_boot, has_vtpm, is_template, is_encrypted;
    enum vsphere_power power;
    char *tools_status;     /* guest.toolsRunningStatus: "guestToolsRunning", ... */
    char *connection_state; /* "connected" */
    char *question;         /* text of a pending question, or NULL */
    bool is_cbt_supported, is_cbt_enabled, needs_consolidation;
    int32_t cpu_count, memory_mib;
    char *host, *host_name; /* moref, name; of vsphere_list_vms the moref only */
    char *cluster, *folder; /* names, of vsphere_place_vms only; folder: "web/test" */
    char *change_version,
        *boot_time;             /* differ when somebody touched or started the VM; may be NULL */
    int32_t boot_disk_key;      /* from bootOrder; 0 when it says nothing */
    struct vsphere_disks disks; /* in order of bus, controller, unit */
    struct vsphere_nics nics;   /* in order of key */
    struct vsphere_snapshots snapshots;   /* the whole tree, parents first */
    struct vsphere_datastores datastores; /* that the account may see; of vsphere_read_vm only */
};
VEC_DECLARE(vsphere_vms, struct vsphere_vm);

void vsphere_vm_done(struct vsphere_vm *vm);
void vsphere_disks_done(struct vsphere_disks *disks);

struct vsphere_selector {
    /* The first that is not NULL decides.  @uuid: an instance uuid, else a unique BIOS uuid.  @name:
     * compared with case, in all datacenters; also an inventory path ("DC0/vm/folder/name"). */
    const char *moref, *uuid, *name;
    const char *datacenter; /* narrows name; may be NULL */
};
/* E_VSPHERE_NOT_FOUND, or E_VSPHERE_AMBIGUOUS with every candidate (name, moref, datacenter, uuid). */
int vsphere_find_vm(struct vsphere *vsphere, const struct vsphere_selector *selector,
                    char **ret_moref, struct err **err);
int vsphere_read_vm(struct vsphere *vsphere, const char *moref, struct vsphere_vm *ret_vm,
                    struct err **err);
/* All VMs (not templates), without snapshots; pages as the server likes. */
int vsphere_list_vms(struct vsphere *vsphere, struct vsphere_vms *ret_vms, struct err **err);
/* Fills in host_name, cluster and folder of listed VMs; what the account may not see stays empty. */
int vsphere_place_vms(struct vsphere *vsphere, struct vsphere_vms *vms, struct err **err);
int vsphere_power_state(struct vsphere *vsphere, const char *moref, enum vsphere_power *ret_power,
                        struct err **err);

/* ---- changes ---------------------------------------------------------------------------------- */

/* Turns CBT on if it is off, for the VM or for one of its disks, and checks that it is on then.  On a
 * running VM it becomes effective with the next snapshot.  E_CBT_UNSUPPORTED. */
int vsphere_enable_cbt(struct vsphere *vsphere, const char *moref, struct err **err);
/* Turns it off for the VM.  Nobody's history is left then. */
int vsphere_disable_cbt(struct vsphere *vsphere, const char *moref, struct err **err);

/* @quiesce as asked; fails with E_VSPHERE_QUIESCE when only that was the reason.  The caller puts the
 * migration's id into @name.  Looks for a snapshot of that name first and returns it: a crash or lost
 * answer never makes two. */
int vsphere_create_snapshot(struct vsphere *vsphere, const char *vm_moref, const char *name,
                            const char *description, bool quiesce, char **ret_moref,
                            struct err **err);
/* Waits until no snapshot is being made, removed or consolidated on the VM. */
int vsphere_wait_snapshot_tasks(struct vsphere *vsphere, const char *vm_moref, struct err **err);
/* Removes it (one that is gone, or is not this VM's, is left alone) and waits until the VM's disks are
 * consolidated.  E_VSPHERE_SNAPSHOT when it stays, or consolidation fails for a minute. */
int vsphere_remove_snapshot(struct vsphere *vsphere, const char *vm_moref,
                            const char *snapshot_moref, struct err **err);
/* The VM's disks as of a snapshot: frozen file names, change ids, capacities. */
int vsphere_snapshot_disks(struct vsphere *vsphere, const char *snapshot_moref,
                           struct vsphere_disks *ret_disks, struct err **err);
/* Areas of one disk changed since @change_id ("*": in use), over all pages, normalised, @capacity in
 * bytes.  @snapshot_moref NULL only for a powered-off VM.  E_CBT_RESET when the history is gone. */
int vsphere_query_changes(struct vsphere *vsphere, const char *vm_moref, const char *snapshot_moref,
                          int32_t disk_key, uint64_t capacity, const char *change_id,
                          struct extents *ret_areas, struct err **err);

/* ---- power ------------------------------------------------------------------------------------ */

/* A VM that already is as it is wanted is a success. */

/* Asks only.  E_VSPHERE_TOOLS. */
int vsphere_shutdown_guest(struct vsphere *vsphere, const char *moref, struct err **err);
int vsphere_power_off(struct vsphere *vsphere, const char *moref, struct err **err);
int vsphere_power_on(struct vsphere *vsphere, const char *moref, struct err **err);

/* "scsi0:1", of bus, controller and unit. */
void vsphere_disk_address(const struct vsphere_disk *disk, char ret_text[32]);

#endif
