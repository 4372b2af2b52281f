/* The pretend data centre: what all its servers share.
 *
 * `v2c-lab --dir DIR [--scenario FILE]` makes DIR, starts a vCenter (HTTPS), a disk server (TLS), a
 * CloudStack (HTTPS) and a control port (HTTP), all on 127.0.0.1 at free ports, and writes DIR/lab.json
 * when everything answers: ports, fingerprints, user names and passwords, keys, ids.  DIR/primary is
 * the primary storage that both sides see.
 *
 * Threading: `lab->mutex` guards the inventory; machines lock for themselves. */
#ifndef V2C_LAB_CORE_LAB_H
#define V2C_LAB_CORE_LAB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"
#include "core/faults.h"
#include "core/https.h"
#include "disks/machine.h"

struct err;
struct lab_vsphere;
struct lab_nfc;
struct lab_cloudstack;

struct lab_vm_disk {
    int32_t key; /* device key, 2000... */
    char bus[8]; /* "scsi", "sata", "ide", "nvme" */
    int32_t controller, unit;
    char path[512]; /* "[ds1] web01/web01.vmdk": a snapshot's copy has the file frozen with it */
    char uuid[64];
    char change_uuid[64]; /* the part of changeId before the slash */
    char change_id[112];  /* "<change_uuid>/<view>"; "" while tracking is not in effect */
    uint64_t capacity;
    int delay_ms;       /* until a read is answered; -1: as of all disks */
    char datastore[32]; /* its name */
    char mode[32];      /* "persistent", "independent_persistent", ... */
    char rdm[16];       /* "physical" or "virtual"; "" for a file */
    bool is_multi_writer;
    bool is_bus_shared; /* its controller's sharedBus */
    bool is_encrypted;
    bool is_untracked; /* its own ctkEnabled key says no */
};
VEC_DECLARE(lab_vm_disks, struct lab_vm_disk);

struct lab_snapshot {
    char moref[32], name[256], description[256];
    uint64_t view;
    uint64_t created_at; /* wall clock, seconds */
    int32_t id;
    bool is_quiesced, was_on;
    struct lab_vm_disks disks; /* as of then, in the machine's order */
};

struct lab_vm_nic {
    int32_t key;
    char label[64], type[32], mac[18], network[128];
    char ip[64]; /* that Tools tell; "" none */
    bool is_start_disconnected;
};

/* What a VM is besides; nothing of it changes while the lab runs. */
struct lab_vm_traits {
    bool is_template, is_secure_boot, has_vtpm, is_encrypted, is_suspended, is_fault_tolerant;
    bool is_snapshot_disabled;
    char connection[24]; /* "connected", "disconnected", ... */
    char question[256];  /* "" none */
    unsigned cpus, memory_mib;
};

/* One file of a VM's chain, the same for all its disks. */
struct lab_link {
    unsigned number;   /* 0: the base; N: "-00000N.vmdk" */
    char snapshot[32]; /* that froze it; "" for the running one and for one not merged yet */
};

struct lab_vm {
    char moref[32], name[256], instance_uuid[40], bios_uuid[40], datacenter[64];
    char guest_id[64], firmware[8], version[16];
    char home[256]; /* the directory of its files: its name when it was made */
    char annotation[4096];
    struct lab_vm_traits traits;
    bool has_tools;
    bool is_cbt_on;        /* as configured */
    bool is_cbt_effective; /* since the next stun: power-on or a snapshot */
    bool needs_consolidation;
    struct lab_machine *machine;
    struct lab_vm_disks disks; /* the present; item N is the machine's disk N */
    VEC_DECLARE(, struct lab_vm_nic)
    nics;
    VEC_DECLARE(, struct lab_snapshot)
    snapshots; /* a line, oldest first */
    VEC_DECLARE(, struct lab_link)
    chain;       /* base first, running file last */
    bool was_on; /* as last seen */
    uint64_t next_view;
    int32_t next_snapshot_id;
    uint64_t powered_off_at_ms; /* wall clock; 0 while on */
    uint64_t powered_on_at_ms;  /* wall clock; 0 when never */
    uint64_t change_version;    /* grows with every change of its configuration or state */
    char busy_task[32];         /* the task that has it; "" none */
    pthread_mutex_t operating;  /* held over one operation of core/vms.h; taken before lab->mutex */
};
VEC_DECLARE(lab_vms, struct lab_vm *);

struct lab_datastore {
    char name[32], type[16], maintenance[24];
    uint64_t capacity, free_bytes;
    bool is_inaccessible;
};

/* The `vcenter` section of the scenario. */
struct lab_vcenter_settings {
    unsigned page_objects;      /* in one answer of the property collector */
    unsigned idle_seconds;      /* until a session expires */
    unsigned task_ms;           /* each task takes at least */
    unsigned task_keep_seconds; /* a finished task is known */
    unsigned areas_per_answer;  /* of QueryChangedDiskAreas, */
    uint64_t bytes_per_answer;  /* and the length that it covers */
    int datastore_type; /* of datastores without one of their own: index into LAB_DATASTORE_TYPES */
    unsigned clock_ahead_s; /* of CurrentTime */
    char esxi_version[16];
    bool is_host_in_maintenance;
    VEC_DECLARE(, struct lab_datastore)
    datastores; /* of every data centre; the first is where disks are that name none */
    VEC_DECLARE(, char *)
    missing_privileges; /* of the account; what needs them is refused */
};

extern const char *const LAB_DATASTORE_TYPES[]; /* as the API calls them; NULL terminated */

/* How slow the disk server is; the `nfc` section.  Reads that are under way together wait together. */
struct lab_nfc_settings {
    unsigned delay_ms;        /* until a read is answered */
    uint64_t connection_rate; /* bytes/s of one connection; 0: no limit */
    uint64_t rate;            /* bytes/s of all connections together; 0: no limit */
};

struct lab {
    char *dir;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* broadcast with `mutex` when anything in the inventory changes */
    struct lab_vcenter_settings settings;
    struct lab_nfc_settings nfc_settings; /* to start with */
    struct lab_certificate certificate;
    struct lab_faults *faults;
    struct lab_vms vms;
    uint64_t next_snapshot; /* number of the next moref */
    uint64_t changes;       /* grows with `changed` */
    bool is_stopping, has_watcher;
    pthread_t watcher;           /* sees machines go off by themselves */
    char user[64], password[64]; /* of the vCenter */
    struct lab_vsphere *vsphere;
    struct lab_nfc *nfc;
    struct lab_cloudstack *cloudstack;
};

/* Makes @dir.  No servers and no VMs yet. */
int lab_new(const char *dir, struct lab **ret_lab, struct err **err);
/* Begins to watch the VMs' power; once, after the VMs are there. */
int lab_watch(struct lab *lab, struct err **err);
void lab_free(struct lab *lab); /* ends all machines; the servers must have stopped */
/* mutex held: something that a client can see is different now. */
void lab_note_change(struct lab *lab);
struct lab_vm *lab_find_vm(struct lab *lab, const char *moref); /* mutex held; NULL when absent */
bool lab_lacks_privilege(const struct lab *lab, const char *privilege);
/* mutex held; NULL when absent; good until the mutex is released. */
struct lab_snapshot *lab_find_snapshot(struct lab_vm *vm, const char *moref);

/* lab/vsphere: the SOAP server at /sdk, and /lab/nfc-ticket. */
int lab_vsphere_start(struct lab *lab, unsigned port, struct err **err);
unsigned lab_vsphere_port(const struct lab *lab);
void lab_vsphere_expire_sessions(struct lab *lab);
void lab_vsphere_stop(struct lab *lab);
/* lab/disks: the server of nfc.h.  A ticket is good for any number of opens of that VM's view for as
 * long as the lab runs. */
int lab_nfc_start(struct lab *lab, struct err **err);
unsigned lab_nfc_port(const struct lab *lab);
/* Holds for reads from now on. */
void lab_nfc_set(struct lab *lab, const struct lab_nfc_settings *settings);
void lab_nfc_get(struct lab *lab, struct lab_nfc_settings *ret_settings);
/* @view 0: the present.  Writes a new ticket. */
void lab_nfc_ticket(struct lab *lab, const char *vm_moref, uint64_t view, char ret_ticket[64]);
void lab_nfc_stop(struct lab *lab);

/* lab/cloudstack: the API at /client/api.  @config is the scenario's `cloudstack` section or NULL. */
int lab_cloudstack_start(struct lab *lab, unsigned port, const json_t *config, struct err **err);
unsigned lab_cloudstack_port(const struct lab *lab);
/* What goes into lab.json under "cloudstack": endpoint, fingerprint, keys, ids of zone, cluster, pool,
 * networks, offerings, OS types.  Owned by the caller. */
json_t *lab_cloudstack_describe(const struct lab *lab);
/* Every VM and volume it manages, with state, files, NICs, and for a started one the boot's state
 * and `started_at_ms`; for tests and the demo.  Owned by the caller. */
json_t *lab_cloudstack_state(const struct lab *lab);
/* {"kind": "host", "name": "kvm1-host1", "set": {"state": "Down"}}.  E_CONFIG. */
int lab_cloudstack_change(struct lab *lab, const json_t *change, struct err **err);
void lab_cloudstack_stop(struct lab *lab);

#endif
