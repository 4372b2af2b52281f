/* A data centre of one VM for the tests of v2c-vddk and of source/vddk.c: a disk made of a formula,
 * the lab's disk server, and just enough of a vCenter to hand out tickets. */
#ifndef V2C_TESTS_UNIT_VDDK_CENTRE_H
#define V2C_TESTS_UNIT_VDDK_CENTRE_H

#include <stdatomic.h>

#include "core/lab.h"
#include "source/source.h"

#define CENTRE_USER     "administrator@vsphere.local"
#define CENTRE_PASSWORD "secret, with a \" in it"
#define CENTRE_VM       "vm-16"
#define CENTRE_SNAPSHOT "snapshot-17"
#define CENTRE_PATH     "[ds1] web01/web01.vmdk"

struct centre {
    struct lab lab;
    struct lab_vm vm;
    struct lab_machine machine;
    struct lab_https *https;
    uint64_t capacity;
    atomic_bool is_on; /* the vCenter's threads read it */
};

/* One at a time. */
void centre_start(struct centre *centre, uint64_t capacity);
void centre_stop(struct centre *centre);
/* Everything right: the snapshot, the thumbprint, the fake library. */
struct source_vddk_options centre_options(const struct centre *centre, struct disk_pool *pool);
/* The next @count passes (-1: all) of the disk server at @where ("nfc.open", "nfc.read") are hit by
 * @action. */
void centre_misbehave(struct centre *centre, const char *where, const char *action, int count);
/* Whether the MiB that @offset lies in holds data. */
bool centre_is_data(uint64_t offset);
/* Fails the test unless @data is what the disk has there. */
void centre_check(const uint8_t *data, uint64_t offset, uint32_t length);
/* The folder of the fake library, and the program, as Meson says. */
const char *centre_libdir(void);
const char *centre_program(void);

#endif
