/* A directory for one test, gone with it, and a synthetic machine in it. */
#ifndef V2C_TESTS_LAB_SCRATCH_H
#define V2C_TESTS_LAB_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "disks/machine.h"

static inline char *
scratch_make(void)
{
    char *path = xstrdup("/tmp/v2c-test-lab-XXXXXX");

    if (!mkdtemp(path))
        abort();
    return path;
}

static int
scratch_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static inline void
scratch_remove(char *path)
{
    (void)nftw(path, scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

#endif
