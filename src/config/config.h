/* config.yaml and VM specs to validated structs: all keys, defaults, merges, environment variables.
 *
 * Every problem of all files is reported in one go, with file, line, key and what was expected.
 * Unknown keys are refused unless lenient.  What a struct holds has been checked; whether ids exist
 * in CloudStack is not known here.
 *
 * Threading: values only; a struct belongs to whoever loaded it. */
#ifndef V2C_CONFIG_CONFIG_H
#define V2C_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/vec.h"
#include "config/parts.h"
#include "config/rates.h"

struct err;

enum config_quiesce { CONFIG_QUIESCE_AUTO, CONFIG_QUIESCE_TRUE, CONFIG_QUIESCE_FALSE };
enum config_verify { CONFIG_VERIFY_NONE, CONFIG_VERIFY_SAMPLE, CONFIG_VERIFY_FULL };
enum config_compression {
    CONFIG_COMPRESSION_NONE,
    CONFIG_COMPRESSION_ZLIB,
    CONFIG_COMPRESSION_FASTLZ,
    CONFIG_COMPRESSION_SKIPZ,
};
enum config_shutdown { CONFIG_SHUTDOWN_AUTO, CONFIG_SHUTDOWN_FORCE, CONFIG_SHUTDOWN_MANUAL };
/* When a run fails while the source is down. */
enum config_on_failure { CONFIG_ON_FAILURE_KEEP, CONFIG_ON_FAILURE_POWER_ON };
/* Who says what a base copy need not read: changed-block tracking where it can be trusted, else VDDK;
 * tracking always; VDDK always; nobody. */
enum config_extents {
    CONFIG_EXTENTS_AUTO,
    CONFIG_EXTENTS_CBT,
    CONFIG_EXTENTS_ALLOCATED,
    CONFIG_EXTENTS_NONE,
};

/* How CloudStack gets the VM: importVm makes it of the boot disk; or a VM is deployed without being
 * started, and its root volume swapped for the boot disk. */
enum config_import { CONFIG_IMPORT_VM, CONFIG_IMPORT_SHELL };

/* What a spec may leave to `cloudstack_defaults`. */
struct config_target {
    char *zone_id, *cluster_id, *storage_id, *network_id, *service_offering_id, *disk_offering_id,
        *os_type_id, *boot_type /* "BIOS" | "UEFI" */, *boot_mode /* "Legacy" | "Secure" */,
        *root_disk_controller, *nic_adapter;
    char *account, *domain_id, *project_id; /* ours, not the existing tool's, as what follows */
    char *template_id;            /* of the VM that `shell` deploys; NULL: any that is ready */
    char *placeholder_network_id; /* for importVm where it cannot be told a MAC address */
};

struct config_host_rate {
    char *host; /* as vCenter calls it; compared without case */
    struct rate_schedule rates;
};
VEC_DECLARE(config_host_rates, struct config_host_rate);

struct config {
    char *path; /* file it was read from */
    struct {
        char *host, *user, *password; /* password: file, else VC_PASSWORD */
        bool is_insecure;
        char *ca_file, *thumbprint;
    } vcenter;
    struct {
        char *endpoint, *api_key, *secret_key;
        int64_t timeout_seconds; /* 0: 45 */
        bool is_insecure;
        char *ca_file, *thumbprint;
    } cloudstack;
    struct {
        char *vddk_path, *control_dir, *specs_dir, *workdir;
        enum config_quiesce quiesce;
        enum config_shutdown shutdown;
        enum config_verify verify;
        enum config_extents extents;
        enum config_on_failure on_failure;
        enum config_import import_method;
        struct config_mark mark_source;
        int64_t finalize_settle_seconds; /* -1: not set; never 0, which means the same in a file */
        int64_t cutover_max_downtime;    /* seconds; 0: any */
        int64_t parallel_disks, parallel_vms;
        int64_t max_handles_per_host; /* on VDDK, of one ESXi host; 0: no limit */
        int64_t max_inflight_mib;     /* of buffers, of all disks together; 0: no limit */
        struct config_vddk vddk;
        struct rate_schedule bandwidth;      /* of all VMs together; of reading */
        struct rate_schedule host_bandwidth; /* of those of one ESXi host, of each */
        struct config_host_rates
            host_rates;              /* the same of single hosts, which it does not hold for */
        unsigned qcow2_cluster_bits; /* 0: as the size of the disk wants */
    } migration;
    struct {
        bool is_userspace_nfs; /* NFS pools are written without a mount */
        bool allows_unmounted; /* a SharedMountPoint may be a directory like any other */
    } storage;
    struct config_serve serve;
    enum log_format log_format; /* log.format */
    struct config_target defaults;
    struct {
        bool run_virt_v2v;
        char *virtio_iso;
        int64_t timeout_seconds; /* of a conversion: 3600 */
    } virt;
};

/* V2C_VCENTER_*, V2C_CLOUDSTACK_* and VC_PASSWORD are applied.  *ret_warnings (may be NULL, the caller
 * frees) is one line each, empty when there are none. */
int config_load(const char *path, bool is_lenient, struct config **ret_config, char **ret_warnings,
                struct err **err);
/* Whether all is there that a migration needs: E_CONFIG with every missing key. */
int config_check_run(const struct config *config, struct err **err);
/* The same of what the service needs. */
int config_check_serve(const struct config *config, struct err **err);
/* What holds for the VMs of an ESXi host together. */
const struct rate_schedule *config_host_bandwidth(const struct config *config, const char *host);
/* An empty configuration with the defaults, for `status --control-dir` without a file. */
struct config *config_new(void);
void config_free(struct config *config);
void config_freep(struct config **config);
/* config.yaml in the current directory, else ../config.yaml, else "config.yaml"; the caller frees. */
char *config_default_path(void);

/* ---- specs ------------------------------------------------------------------------------------ */

enum spec_disk_by { SPEC_DISK_BY_UNIT, SPEC_DISK_BY_KEY, SPEC_DISK_BY_ADDRESS };
struct spec_disk {
    enum spec_disk_by by;
    int32_t number;                      /* unit or device key */
    char *address;                       /* "scsi0:1" */
    char *place;                         /* "spec.yaml:14: disks.1", for messages */
    char *storage_id, *disk_offering_id; /* NULL: as the target says */
    bool is_default; /* from the file's `defaults:`; a VM without such a disk is fine */
};
VEC_DECLARE(spec_disks, struct spec_disk);

struct spec_nic {
    char *key; /* by convention the device key */
    char *source_label, *source_network, *source_mac;
    int64_t source_device_key, source_index;
    char *network_id;
    char *ip; /* an IPv4 address, or SPEC_IP_KEEP; NULL: CloudStack chooses */
};
#define SPEC_IP_KEEP "keep" /* the address that the source's Tools tell */
VEC_DECLARE(spec_nics, struct spec_nic);

struct spec {
    char *path;     /* file, for messages */
    char *place;    /* "spec.yaml:14: vms[1]", for messages */
    unsigned entry; /* number of the VM in that file, from 0 */
    struct {
        char *name, *moref, *uuid, *datacenter;
    } vm;
    int64_t delta_interval, finalize_delta_interval, finalize_window; /* seconds: 300, 30, 600 */
    int64_t finalize_at;             /* seconds since 1970; 0: none */
    bool finalize_at_was_zoneless;   /* taken as UTC; to be said in the log */
    int64_t finalize_settle_seconds; /* -1: by the guest's family */
    int64_t cutover_max_downtime;    /* seconds; 0: any */
    int64_t readers;                 /* 4; an upper bound of connections a disk */
    bool run_virt_v2v;               /* merged with virt.run_virt_v2v */
    enum config_quiesce quiesce;
    enum config_shutdown shutdown;
    enum config_verify verify; /* sample */
    enum config_extents extents;
    enum config_on_failure on_failure;
    enum config_import import_method;
    struct config_mark mark_source; /* merged */
    int64_t parallel_disks;
    bool start_vm_after_import;
    struct rate_schedule bandwidth; /* of reading, but for the final sync */
    struct config_vddk vddk;        /* merged */
    struct config_target target;    /* merged */
    struct spec_nics nics; /* in order of index, label, key; entries without a network dropped */
    int primary_nic;       /* index into nics, -1: none; its network is target.network_id then */
    struct spec_disks disks;
};
VEC_DECLARE(spec_list, struct spec *);

struct spec_overrides { /* from the command line; negative: not given */
    int64_t readers, parallel_disks;
    int run_virt_v2v;
    const char *verify; /* a word of `verify`; NULL: not given */
};

/* All VMs of all @paths, merged with @config, in order.  Duplicate VMs are refused.  E_CONFIG. */
int spec_load_all(const char *const *paths, size_t path_count, const struct config *config,
                  const struct spec_overrides *overrides, bool is_lenient,
                  struct spec_list *ret_specs, char **ret_warnings, struct err **err);
void spec_free(struct spec *spec);
void spec_list_done(struct spec_list *specs);
/* The merged spec as YAML, as kept in spec.latest.yaml: loading it gives the same; the caller frees. */
char *spec_to_yaml(const struct spec *spec);
/* What people call this VM: its name, else moref, else uuid. */
const char *spec_label(const struct spec *spec);

#endif
