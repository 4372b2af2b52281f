/* A control directory of its own for each test, and rows with every field set. */
#ifndef V2C_TESTS_STORE_FIXTURE_H
#define V2C_TESTS_STORE_FIXTURE_H

#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "store/store.h"

static char dir[64];

static int
make_dir(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/v2c-test-store.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return system(command);
}

static struct store *
open_store(void)
{
    struct store *store = NULL;
    struct err *err = NULL;

    assert_ok(store_open(dir, false, &store, &err), &err);
    return store;
}

/* Texts are those of @tag, so that two rows differ in everything. */
static struct store_migration
new_migration(const char *tag)
{
    return (struct store_migration){
        .migration_id = xasprintf("web_%s", tag),
        .vm_name = xasprintf("web %s", tag),
        .vm_moref = xasprintf("vm-%s", tag),
        .vcenter = xstrdup("vc.example.com"),
        .directory = xasprintf("/control/web_%s", tag),
        .stage = STAGE_INIT,
    };
}

static struct store_disk
new_disk(int64_t migration, const char *key)
{
    return (struct store_disk){
        .migration = migration,
        .key = xstrdup(key),
        .name = xasprintf("disk%s", key),
        .address = xasprintf("scsi0:%s", key),
        .capacity = 8 * GIB,
    };
}

#endif
