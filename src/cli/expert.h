/* What base-copy and delta-sync share: their settings from an engine spec and from flags, the source,
 * the copy itself, and the result on stdout. */
#ifndef V2C_CLI_EXPERT_H
#define V2C_CLI_EXPERT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "disk/disk.h"
#include "qcow2/qcow2.h"
#include "transfer/transfer.h"

enum expert_mode { EXPERT_BASE_COPY, EXPERT_DELTA_SYNC };

/* As flags, the texts are borrowed from argv; as settings, they are owned.  Numbers: 0 is not given. */
struct expert {
    const char *spec; /* of flags only */
    char *libdir, *server, *user, *password, *thumbprint, *vm_moref, *snapshot_moref, *disk_path;
    char *source; /* "file:PATH" or an NBD URI, instead of all of the above */
    char *target, *ranges_file, *virtio_iso;
    int64_t disk_size_bytes, readers, queue_depth, min_chunk_mb, max_chunk_mb, chunk_mb;
    int64_t fast_latency_ms, slow_latency_ms, fast_mbps, slow_mbps;
    bool run_virt_v2v, has_run_virt_v2v;
};

extern const struct option_def expert_base_options[], expert_delta_options[];

/* The engine spec that @flags name, overridden by @flags, defaults filled in, everything checked:
 * E_USAGE, E_CONFIG.  The caller calls expert_done in any case. */
int expert_settings(enum expert_mode mode, const struct expert *flags, struct expert *ret_settings,
                    struct err **err);
void expert_done(struct expert *settings);
/* Whose a target is: "expert", and the VM's moref where there is one.  At most QCOW2_ID_SIZE. */
void expert_owner(const struct expert *settings, char ret_owner[QCOW2_ID_SIZE]);

/* A copy from opening to the result. */
struct expert_copy {
    enum expert_mode mode;
    const struct expert *settings; /* borrowed */
    int64_t started_ms;
    struct disk_pool *pool;
    struct disk_source *source;
    struct extents plan; /* the caller's to fill */
    struct transfer_progress progress;
};

/* Opens the source of @expected_size bytes (0: any) and catches the signals that stop it.  @copy began
 * zeroed; its plan is left as it is. */
int expert_copy_init(struct expert_copy *copy, enum expert_mode mode, const struct expert *settings,
                     uint64_t expected_size, struct err **err);
void expert_copy_done(struct expert_copy *copy); /* any state that began zeroed */
struct qcow2_options expert_target_options(const struct expert_copy *copy, const char *owner_id);
/* Moves the plan into @target, with progress on a terminal. */
int expert_copy_run(struct expert_copy *copy, struct disk_target *target, struct err **err);
/* Prints the JSON result. */
void expert_copy_print(const struct expert_copy *copy);

/* A JSON list of {"start": bytes, "length": bytes}, each whole sectors inside @capacity.  Appends;
 * E_CONFIG with the number of the first that is wrong, E_SYNTAX, E_LIMIT. */
int ranges_read(const char *path, uint64_t capacity, struct extents *extents, struct err **err);
/* The same from memory; @name is for messages. */
int ranges_parse(const char *name, const char *text, size_t length, uint64_t capacity,
                 struct extents *extents, struct err **err);

#endif
