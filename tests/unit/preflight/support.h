/* A VM and a target that pass every check, for tests that spoil one thing. */
#ifndef V2C_TESTS_UNIT_PREFLIGHT_SUPPORT_H
#define V2C_TESTS_UNIT_PREFLIGHT_SUPPORT_H

#include "preflight/internal.h"

struct good {
    struct config config;
    struct spec spec;
    struct vsphere_vm vm;
    struct vsphere_disk disk_items[2];
    struct vsphere_nic nic_items[2];
    struct vsphere_vm_facts vm_facts;
    struct vsphere_datastore_state datastore_items[1];
    struct vsphere_datastore_states datastores;
    struct vsphere_host host_items[1];
    struct vsphere_hosts hosts;
    struct preflight_disks disks;
    struct preflight_nics nics;
    struct subject subject;
    json_t *facts;
    struct preflight_findings findings;
};

/* Texts in it are literals or of the test: nothing is freed but what good_done frees. */
void good_init(struct good *good);
void good_done(struct good *good);
/* Plans anew from spec and VM; fails the test when that fails. */
void good_plan(struct good *good);
/* Parses @text, single quotes standing for double ones, and puts it at facts[kind][id]; NULL for @id
 * puts it at facts[kind]. */
/* JSON with ' for ". */
json_t *good_parse(const char *text);
void good_set(struct good *good, const char *kind, const char *id, const char *text);

/* A literal where a struct has char *; nothing of it is freed or written. */
char *literal(const char *text);

/* What was said of @check with that status, or NULL. */
const struct preflight_finding *find_finding(const struct preflight_findings *findings,
                                             const char *check, enum preflight_status status);
/* Fails the test unless there is such a finding whose message holds @text. */
void expect(const struct preflight_findings *findings, const char *check,
            enum preflight_status status, const char *text);
/* One row of a table: all is well but for @change, and @rules say so. */
#define SPOILED(rules, change, check, status, text)                                                \
    do {                                                                                           \
        struct good g;                                                                             \
                                                                                                   \
        good_init(&g);                                                                             \
        change;                                                                                    \
        rules(&g);                                                                                 \
        expect(&g.findings, check, PREFLIGHT_##status, text);                                      \
        good_done(&g);                                                                             \
    } while (0)
/* Fails the test when anything is worse than a pass. */
void expect_all_pass(const struct preflight_findings *findings);

#endif
