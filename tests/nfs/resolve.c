/* nfs-resolve ID SERVER EXPORT [userspace]: finds the directory of an NFS pool as a migration does, which mounts it,
 * and says which, or why not. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "storage/storage.h"

int
main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *error = NULL;
    CLEANUP(free_charp) char *dir = NULL;

    if (argc < 4)
        return 2;
    const struct storage_pool pool = {.id = argv[1],
                                      .name = "primary",
                                      .type = "NetworkFilesystem",
                                      .host = argv[2],
                                      .path = argv[3],
                                      .state = "Up",
                                      .is_userspace = argc > 4 && !strcmp(argv[4], "userspace")};
    if (storage_resolve(&pool, &dir, &error) < 0) {
        printf("refused: %s; %s\n", err_message(error),
               err_hint_text(error) ? err_hint_text(error) : "no cure");
        return 1;
    }
    printf("pool is %s\n", dir);
    return 0;
}
