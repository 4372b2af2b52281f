/* Part of config.h: groups of keys that config.yaml and specs share. */
#ifndef V2C_CONFIG_PARTS_H
#define V2C_CONFIG_PARTS_H

#include <stdint.h>

/* How VDDK is used: `migration.vddk`. */
struct config_vddk {
    char transports[32];                     /* "nbdssl:nbd" */
    int compression;                         /* enum config_compression */
    int is_unbuffered;                       /* a boolean */
    int64_t nfc_buffer_kb, nfc_buffer_count; /* of a session on the ESXi host */
    int64_t log_level;                       /* of VDDK's transports, 0 to 6; -1: its own */
    char tmp_dir[256];                       /* for VDDK's own files; "": its own choice */
};

/* `migration.mark_source`: how a source VM that was migrated is told from one that was not. */
struct config_mark {
    int note, rename, disconnect_nics; /* booleans; -1: not set */
    char suffix[41];                   /* of the name; "": not set */
};

#endif
