/* v2c-guest-fill DIR MIB SEED: makes DIR with that much content, and its manifest.  Run on the host
 * when a guest's disks are made. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/inside/content.h"

#define FILE_BYTES (2U * 1024 * 1024)

int
main(int argc, char **argv)
{
    struct content content;
    unsigned long mib, seed;

    if (argc != 4) {
        fprintf(stderr, "usage: %s DIR MIB SEED\n", argv[0]);
        return 2;
    }
    mib = strtoul(argv[2], NULL, 10);
    seed = strtoul(argv[3], NULL, 10);
    if (content_open(&content, argv[1], true, seed) < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    for (uint64_t left = (uint64_t)mib * 1024 * 1024; left > 0;) {
        uint32_t size = left < FILE_BYTES ? (uint32_t)left : FILE_BYTES;
        if (content_add(&content, size, false, false) < 0) {
            fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
            return 1;
        }
        left -= size;
    }
    content_close(&content);
    return 0;
}
