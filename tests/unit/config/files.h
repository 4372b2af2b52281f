/* A directory of its own for the files of one test program. */
#ifndef V2C_TESTS_CONFIG_FILES_H
#define V2C_TESTS_CONFIG_FILES_H

#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"

static char dir[] = "/tmp/v2c-test-config.XXXXXX";

static void
clear_environment(void)
{
    static const char *const names[] = {
        "V2C_VCENTER_HOST",
        "V2C_VCENTER_USER",
        "V2C_VCENTER_PASSWORD",
        "V2C_CLOUDSTACK_ENDPOINT",
        "V2C_CLOUDSTACK_API_KEY",
        "V2C_CLOUDSTACK_SECRET_KEY",
        "VC_PASSWORD",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unsetenv(names[i]);
}

/* Messages name files as they were given: tests go there, so that they can give short names. */
static int
enter_dir(void **state)
{
    clear_environment();
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int
leave_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return chdir("/") == 0 ? system(command) : -1;
}

static void
write_file(const char *name, const char *text)
{
    struct err *err = NULL;

    assert_ok(file_replace(name, text, strlen(text), 0600, &err), &err);
}

#endif
