/* A pretend CloudStack alone, in a directory of its own, spoken to by the engine's client.  QEMU is not
 * started: this file's lab_boot_* write down what they were asked, and lab_fault_take plays one fault. */
#ifndef TEST_LAB_CLOUDSTACK_FIXTURE_H
#define TEST_LAB_CLOUDSTACK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cloudstack/cs.h"
#include "cloudstack/internal.h"
#include "core/lab.h"

#define POOL       "706f6f6c-0000-4000-8000-000000000001"
#define ZONE       "5a6f6e65-0000-4000-8000-000000000001"
#define CLUSTER    "5a6f6e65-0000-4000-8000-000000000003"
#define ISOLATED   "6e657477-0000-4000-8000-000000000001"
#define L2         "6e657477-0000-4000-8000-000000000002"
#define SMALL      "636f6d70-0000-4000-8000-000000000001"
#define CUSTOM     "636f6d70-0000-4000-8000-000000000003"
#define SSD_ONLY   "636f6d70-0000-4000-8000-000000000005"
#define DISK_LOCAL "6469736b-0000-4000-8000-000000000003"
#define DEBIAN     "6f737479-0000-4000-8000-000000000002"
#define DOMAIN     "5a6f6e65-0000-4000-8000-000000000005"
#define PROJECT    "5a6f6e65-0000-4000-8000-000000000008"

struct fixture {
    struct lab lab;
    struct cloudstack *cs;
    struct err *err;
    char dir[64];
};

/* What the pretend boot was asked for last. */
struct seen_boot {
    unsigned disk_count, nic_count, starts, stops;
    char disks[8][512], macs[8][32], controller[16], adapter[16];
    bool is_uefi, has_ended, must_fail;
};
extern struct seen_boot seen_boot;
/* One fault for the next pass at `where`. */
extern struct lab_fault next_fault;
extern char next_fault_where[128];

/* @config: JSON of the scenario's section, or NULL. */
struct fixture *fixture_new(const char *config);
void fixture_free(struct fixture *f);

/* Whether qemu-img can be run; says so when not. */
bool has_qemu_img(void);

/* One command with names and values up to NULL; NULL and f->err on failure. */
json_t *call(struct fixture *f, const char *command, ...);
/* The same for an asynchronous command: its job's result. */
json_t *job(struct fixture *f, const char *command, ...);
void expect_error(struct fixture *f, enum err_code code, const char *words);

/* Runs a program with the pool as its directory; fails the test unless it ends with 0. */
void run(const struct fixture *f, const char *program, ...);
/* DIR/primary/NAME; static. */
const char *pool_path(const struct fixture *f, const char *name);
void make_disk(const struct fixture *f, const char *name);
/* importVm of that file under that name with the small offering; the VM's id, owned, or NULL. */
char *import_vm(struct fixture *f, const char *name, const char *file);

#endif
