/* nfs-resolve ID SERVER PATH [mount|userspace|shared [PATIENCE_MS]]: finds the directory of an NFS pool, or of a
 * shared mount point, as a migration does, which mounts it, and says which, or why not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "storage/internal.h"

int
main(int argc, char **argv)
{
    const char *how = argc > 4 ? argv[4] : "mount";
    struct storage_host host = storage_this_host;
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(free_charp) char *dir = NULL;
    struct storage_pool pool = {.name = "primary", .type = "NetworkFilesystem", .state = "Up"};

    if (argc < 4)
        return 2;
    pool.id = argv[1];
    pool.host = argv[2];
    pool.path = argv[3];
    pool.is_userspace = !strcmp(how, "userspace");
    if (!strcmp(how, "shared"))
        pool.type = "SharedMountPoint";
    if (argc > 5)
        host.patience_ms = atoi(argv[5]);
    if (storage_resolve_on(&host, &pool, &dir, &error) < 0) {
        printf("refused: %s; %s\n", err_message(error),
               err_hint_text(error) ? err_hint_text(error) : "no cure");
        return 1;
    }
    printf("pool is %s\n", dir);
    return 0;
}
