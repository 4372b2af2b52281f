/* Preflight: whether a migration can work, found out before anything is touched.
 *
 * Facts are read once for all VMs (source, target, this host) and judged by pure rules: each finding is
 * a pass, a warning or a failure, with a stable word, what it means, and what to do.  A failure is what
 * is certain to stop the migration later; what is only likely, or cannot be told, is a warning.  Nothing
 * is changed anywhere, but for a small file that is written to a pool and removed.
 *
 * The room also has what spec and VM together mean, so that what is checked is what is done: which disk
 * goes into which pool, which NIC onto which network.
 *
 * Threading: no state; a report belongs to whoever asked for it. */
#ifndef V2C_PREFLIGHT_PREFLIGHT_H
#define V2C_PREFLIGHT_PREFLIGHT_H

#include <stdbool.h>

#include <jansson.h>

#include "base/vec.h"
#include "vsphere/vsphere.h"

struct err;
struct config;
struct spec;
struct cloudstack;

/* ---- findings --------------------------------------------------------------------------------- */

enum preflight_status { PREFLIGHT_PASS, PREFLIGHT_WARNING, PREFLIGHT_FAILURE };
const char *preflight_status_name(enum preflight_status status); /* "pass", "warning", "failure" */

struct preflight_finding {
    const char *check; /* "source.cbt", "target.pool", "local.vddk"; static */
    enum preflight_status status;
    char *message; /* one line, no control characters */
    char *cure;    /* what to do; NULL where there is nothing to do */
};
VEC_DECLARE(preflight_findings, struct preflight_finding);

enum preflight_status preflight_worst(const struct preflight_findings *findings);
void preflight_findings_done(struct preflight_findings *findings);

/* ---- the whole -------------------------------------------------------------------------------- */

struct preflight_vm {
    const struct spec *spec; /* borrowed */
    struct preflight_findings findings;
};
struct preflight_report {
    struct preflight_findings common; /* of this host, the servers, and all VMs together */
    struct preflight_vm *vms;         /* in the order of the specs */
    size_t count;
};
enum preflight_status preflight_report_worst(const struct preflight_report *report);
void preflight_report_done(struct preflight_report *report);

struct preflight_options {
    const struct config *config;     /* borrowed, as everything here */
    const struct spec *const *specs; /* @count of them */
    size_t count;
    /* For a migration that has its connections and its VM: all three, and @count is 1.  A passing fault
     * is then an error, so that the caller can try again, else a finding. */
    struct vsphere *vsphere;
    struct cloudstack *cloudstack;
    const struct vsphere_vm *vm;
    /* Only what may have changed since the start: the target.  @imported_vm_id (may be NULL) is the VM
     * in CloudStack that is this migration's own. */
    bool is_cutover;
    const char *imported_vm_id;
    const volatile int *cancel; /* may be NULL */
};
/* Findings, whatever they say, are success.  E_CANCELLED, or a passing fault as said above. */
int preflight_run(const struct preflight_options *options, struct preflight_report *ret_report,
                  struct err **err);

/* A single check, for `doctor`: one finding. */
void preflight_look_at_vddk(const struct config *config, struct preflight_findings *findings);

/* ---- what spec and VM mean -------------------------------------------------------------------- */

/* Everything in a plan is borrowed from spec and VM. */
struct preflight_disk {
    const struct vsphere_disk *disk;
    bool is_boot;
    const char *storage_id;       /* the boot disk's is always the target's */
    const char *disk_offering_id; /* NULL for the boot disk */
};
VEC_DECLARE(preflight_disks, struct preflight_disk);
/* In the order of the VM's disks.  E_CONFIG for an entry of `disks:` that means no disk or several, and
 * for data disks without an offering. */
int preflight_plan_disks(const struct spec *spec, const struct vsphere_vm *vm,
                         struct preflight_disks *ret_disks, struct err **err);

/* What a conversion may write beside the copy, for a while: a new initramfs or drivers, and their packages.
 * That is a few hundred MiB, and it is put into the copy before it goes. */
#define PREFLIGHT_CONVERSION_BYTES (1 * GIB)

#define PREFLIGHT_MAX_NICS         32
struct preflight_nic {
    const char *key; /* for records: the spec's key */
    const char *network_id;
    const char *mac; /* of the source NIC; NULL: none matches */
    const char *ip;  /* that the spec gives, or that is to be kept; NULL: CloudStack's choice */
    bool keeps_ip;   /* the guest's, which is not known when `ip` is NULL */
};
VEC_DECLARE(preflight_nics, struct preflight_nic);
/* First the primary. */
void preflight_plan_nics(const struct spec *spec, const struct vsphere_vm *vm,
                         struct preflight_nics *ret_nics);
/* E_CONFIG for two NICs on one network. */
int preflight_check_nics(const struct preflight_nics *nics, struct err **err);

/* What a custom service offering is given; 0: not sent, because the offering says it. */
struct preflight_sizes {
    int32_t cpus, memory_mib, cpu_mhz;
};
void preflight_plan_sizes(const struct vsphere_vm *vm, const json_t *offering,
                          struct preflight_sizes *ret_sizes);

/* ---- what is chosen where the spec leaves it open; each asks CloudStack -------------------------- */

struct preflight_os_type {
    char *id, *description; /* owned; NULL: none fits */
    bool is_guess;
};
/* For the guest id of the source. */
int preflight_find_os_type(struct cloudstack *cs, const struct vsphere_vm *vm,
                           struct preflight_os_type *ret_type, struct err **err);
void preflight_os_type_done(struct preflight_os_type *type);
/* The template that a VM is deployed with when it is not to be started; *ret_id is owned. */
int preflight_find_template(struct cloudstack *cs, const struct spec *spec, char **ret_id,
                            struct err **err);
/* Whether the network gives out addresses at all. */
int preflight_has_addresses(struct cloudstack *cs, const char *network_id, bool *ret_has,
                            struct err **err);

/* ---- identity, firmware, family ---------------------------------------------------------------- */

/* E_SOURCE_CHANGED when moref and uuid of the spec speak of two VMs. */
int preflight_check_identity(const struct spec *spec, const struct vsphere_vm *vm,
                             struct err **err);
/* "SECURE" or "LEGACY" for a VM that is to boot by UEFI, NULL for BIOS: the spec's word, else the
 * source's. */
const char *preflight_uefi_mode(const struct spec *spec, const struct vsphere_vm *vm);
bool preflight_is_windows(const struct vsphere_vm *vm);

#endif
