/* What the files share that hand the disks over to CloudStack. */
#ifndef V2C_MIGRATION_IMPORT_H
#define V2C_MIGRATION_IMPORT_H

#include "migration/step.h"

VEC_DECLARE(import_texts, char *);

#define MIGRATION_TAG  "v2c-migration" /* key of a tag of everything that is imported */

/* ---- import_plan.c: what is settled before the source goes off, and kept in the store ----------- */

#define IMPORT_OS_TYPE "import_os_type" /* id */
#define IMPORT_SHELL                                                                               \
    MIGRATION_SHELL_VM /* of the VM that `shell` deploys: before it is, and after */
#define IMPORT_PLANNED_ROOT "import_planned_root" /* id of the root volume it is deployed with */
#define IMPORT_IP           "import_ip:"          /* and the key of the NIC */

/* *ret_value is owned, NULL when it is not set. */
int import_get(const struct migration *m, const char *key, char **ret_value, struct err **err);
int import_put(const struct migration *m, const char *key, const char *value, struct err **err);

/* The NICs as they are to become; the first is the default one. */
struct import_nics {
    struct preflight_nics plan;
    struct import_texts owned; /* addresses that the plan borrows */
};
int import_nics_plan(const struct migration *m, struct import_nics *ret, struct err **err);
void import_nics_done(struct import_nics *nics);

/* rootDiskController and the like. */
struct import_details {
    struct cloudstack_params params; /* borrows its texts, also from `owned` */
    struct import_texts owned;
};
void import_details_devices(const struct migration *m, struct import_details *details);
/* And what a custom service offering takes: the sizes of the source VM. */
int import_details_sizes(const struct migration *m, struct import_details *details,
                         struct err **err);
void import_details_done(struct import_details *details);

const struct store_disk *import_boot_disk(const struct migration *m);

/* ---- import_nics.c ----------------------------------------------------------------------------- */

/* On which network importVm is to put its one NIC: its own, or the placeholder. */
int import_first_network(const struct migration *m, const struct import_nics *nics,
                         const char **ret_network, struct err **err);
/* Gives the imported VM its NICs, in order, and tells what could not be kept. */
int import_add_nics(struct migration *m, const struct import_nics *nics, struct err **err);
/* The VM's NIC on that network, borrowed from @vm; NULL when it has none. */
const json_t *import_nic_on(const json_t *vm, const char *network_id);

/* ---- import_shell.c ---------------------------------------------------------------------------- */

/* Whether the imported VM is one that was deployed, whatever the spec says by now. */
bool import_is_shell(const struct migration *m);
/* Makes the VM without a root volume, unless it is there. */
int import_make_shell(struct migration *m, struct err **err);
/* Removes one that an earlier spec wanted: it has the name and the addresses of what importVm makes. */
int import_drop_shell(struct migration *m, struct err **err);
/* The boot disk becomes the root volume of that VM; *ret_vm_id is owned. */
int import_fill_shell(struct migration *m, char **ret_vm_id, struct err **err);
/* What became of that in an earlier run; *ret_vm_id NULL: nothing. */
int import_recover_shell(struct migration *m, char **ret_vm_id, struct err **err);

/* ---- import_volumes.c -------------------------------------------------------------------------- */

/* importVolume of the disks that have no volume yet, all together; @is_boot_too: of the boot disk as
 * well. */
int import_volumes(struct migration *m, bool is_boot_too, struct err **err);
/* attachVolume of the data disks, and the tags of VM and volumes, all together. */
int import_attach_and_tag(struct migration *m, struct err **err);
char *import_id_of_volume(const json_t *job_result);
int import_lookup_attached(const struct step *step, char **ret_result, struct err **err);

#endif
