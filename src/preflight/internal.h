/* What the files of this room share: the VM that is looked at, the facts, the rules. */
#ifndef V2C_PREFLIGHT_INTERNAL_H
#define V2C_PREFLIGHT_INTERNAL_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "config/config.h"
#include "preflight/preflight.h"

/* One VM on its way through the rules.  All is borrowed. */
struct subject {
    const struct spec *spec;
    const struct vsphere_vm *vm;                       /* NULL: it was not found */
    const struct vsphere_vm_facts *facts;              /* NULL: not read */
    const char *missing_privileges;                    /* "A, B" or ""; NULL: not known */
    const struct vsphere_datastore_states *datastores; /* NULL: not read */
    const struct vsphere_hosts *hosts;                 /* NULL: not read */
    const struct preflight_disks *disks;               /* empty where there is no plan */
    const struct preflight_nics *nics;
    const char *imported_vm_id; /* may be NULL */
};

/* ---- findings.c ------------------------------------------------------------------------------- */

/* @cure may be NULL, and is NULL in a pass. */
void finding_add(struct preflight_findings *findings, const char *check,
                 enum preflight_status status, const char *cure, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* With the error's own hint as the cure, else @cure. */
void finding_add_error(struct preflight_findings *findings, const char *check,
                       enum preflight_status status, const char *cure, const struct err *error);

/* ---- rules: facts to findings, nothing else ---------------------------------------------------- */

/* source.c, source_disks.c: of one VM whose ->vm is there. */
void source_rules(const struct subject *s, struct preflight_findings *findings);
void source_disk_rules(const struct subject *s, struct preflight_findings *findings);
/* The privileges of vCenter that are asked for; NULL terminated. */
extern const char *const source_privileges[];

/* target_*.c.  @facts: see target_facts.c. */
void target_server_rules(const json_t *facts, struct preflight_findings *findings); /* common */
void target_place_rules(const struct subject *s, const json_t *facts,
                        struct preflight_findings *findings);
void target_offering_rules(const struct subject *s, const json_t *facts,
                           struct preflight_findings *findings);
void target_network_rules(const struct subject *s, const json_t *facts,
                          struct preflight_findings *findings);
void target_address_rules(const struct subject *s, const json_t *facts,
                          struct preflight_findings *findings);
/* Whether CloudStack can be told the address of that NIC; else it chooses. */
bool address_can_be_told(const struct subject *s, const json_t *facts, bool is_first);
void target_volume_rules(const struct subject *s, const json_t *facts,
                         struct preflight_findings *findings);
void target_import_rules(const struct subject *s, const json_t *facts,
                         struct preflight_findings *findings);
/* Appends, with commas, the commands that this VM's import needs and the server does not have. */
void import_needed_commands(const struct subject *s, const json_t *facts, struct str *missing);
bool import_uses_placeholder(const struct subject *s, const json_t *facts);
void target_owner_rules(const struct subject *s, const json_t *facts,
                        struct preflight_findings *findings);
/* What only all VMs together tell: room in the pools, limits of the owners, and, per VM, names and
 * addresses that two of them share.  @findings has one list a subject. */
void set_rules(const struct subject *subjects, size_t count, const json_t *facts,
               struct preflight_findings *common, struct preflight_findings *const *findings);

/* ---- target_facts.c --------------------------------------------------------------------------- */

/* What CloudStack says of everything that the subjects name, and what this host sees of their pools:
 *
 *   version, capability          of listCapabilities
 *   apis                         {command: [parameter, ...]}
 *   zone, cluster, pool, network, service_offering, disk_offering, os_type
 *                                {id: object, or null where there is none}
 *   hosts                        {zone id: [host, ...]}, KVM hosts
 *   template                     {zone id: [template, ...]}, for KVM, where one will be needed
 *   guest                        {guest id: {id, description, is_guess}, or null where no OS type fits}
 *   importable                   {pool id: whether the server looks into it at all}, of old servers
 *   vms                          {network id: [VM, ...]}
 *   owner                        {owner_key(): {account, domain, project: object or null}}
 *   hypervisor                   [what KVM can, of each version], of listHypervisorCapabilities
 *   ranges                       {network id: [range, ...]}, of shared networks, where an address is given
 *   thresholds                   {zone id: {used, allocated}}, where they can be read
 *   details                      {"rootDiskController": [word, ...], ...}
 *   dir                          {pool id: {path, free, floor} or {error, cure}}
 *   unread                       {any of the words above: why it could not be read}
 *
 * *ret_facts is owned.  Fails only with a passing fault or E_CANCELLED. */
int target_facts_read(struct cloudstack *cs, const struct config *config,
                      const struct subject *subjects, size_t count, json_t **ret_facts,
                      struct err **err);
/* Under which `owner` has what @spec names; the caller frees. */
char *owner_key(const struct spec *spec);

/* ---- os_type.c, choices.c ---------------------------------------------------------------------- */

/* @mappings: those of listGuestOsMapping for this guest id; @types: listOsTypes. */
void os_type_choose(const char *guest_id, bool is_windows, const json_t *mappings,
                    const json_t *types, struct preflight_os_type *ret);
int template_list(struct cloudstack *cs, const char *zone_id, json_t **ret_templates,
                  struct err **err);
/* The one the spec names, or one that is ready; borrowed, NULL: none. */
const json_t *template_choose(const struct spec *spec, const json_t *templates);

/* ---- facts.c: looking into the document above -------------------------------------------------- */

enum fact { FACT_UNKNOWN, FACT_ABSENT, FACT_THERE };
/* facts[kind][id]; *ret_object is borrowed, and NULL unless it is there. */
enum fact fact_find(const json_t *facts, const char *kind, const char *id,
                    const json_t **ret_object);
/* Why @kind could not be read, or NULL. */
const char *fact_unread(const json_t *facts, const char *kind);
const char *fact_text(const json_t *object, const char *key); /* "" when absent */
/* A number, also one that is written as text; @otherwise when it is absent or none. */
double fact_number(const json_t *object, const char *key, double otherwise);
/* Whether listApis shows that parameter of that command. */
bool fact_knows_param(const json_t *facts, const char *command, const char *param);
bool fact_is_true(const json_t *object, const char *key);
bool fact_is_false(const json_t *object, const char *key); /* says so, not just absent */
/* Whether every tag of @wanted ("a,b") stands in @offered. */
bool fact_has_tags(const char *wanted, const char *offered);
/* Negative, 0, positive as version @a ("4.22.1.0") is older, equal, newer. */
int fact_compare_versions(const char *a, const char *b);
void fact_append_bytes(struct str *text, double bytes); /* "27.0 GiB" */
bool fact_same_id(const char *a, const char *b);

/* ---- local.c ---------------------------------------------------------------------------------- */

/* What is to be looked for on this host. */
struct local_wants {
    bool conversion; /* some VM is to be converted */
    bool windows;    /* and one of those is Windows */
    bool many_disks; /* or has several disks */
};
/* What was found.  Texts are owned and may be NULL. */
struct local_facts {
    struct err *vddk_error;
    char *vddk_library;
    bool is_uring_usable;
    char *uring_reason;
    bool was_conversion_looked_for, is_userspace_nfs;
    char *virt_v2v;   /* path of virt-v2v-in-place; NULL: none */
    char *virtio_win; /* ISO or directory; NULL: none */
    bool has_rhsrvany, has_pvvxsvc;
    bool has_inspector, has_qemu_img;
    bool wants_windows, wants_inspector;
};
void local_facts_read(const struct config *config, const struct local_wants *wants,
                      struct local_facts *ret_facts);
void local_facts_done(struct local_facts *facts);
void local_rules(const struct local_facts *facts, struct preflight_findings *findings);
/* @skew_s: the server's clock minus ours. */
void clock_rule(const char *server, bool is_known, int64_t skew_s,
                struct preflight_findings *findings);

#endif
