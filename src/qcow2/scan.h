/* Inside qcow2: reads every table of a file and says which clusters are used.
 *
 * The file is hostile until this has passed: whatever it refers to lies inside the file, is aligned,
 * and is referred to once. */
#ifndef V2C_QCOW2_SCAN_H
#define V2C_QCOW2_SCAN_H

#include <errno.h>

#include "base/err.h"
#include "qcow2/format.h"

struct qcow2_scan {
    struct qcow2_header header;
    uint64_t file_length;
    uint64_t cluster_count; /* of the file, the last one perhaps short */
    uint8_t *used;          /* one bit a cluster, LSB first */
    uint64_t *l1;           /* host byte order, header.l1_entries of them */
    uint64_t *table;        /* the refcount table, host byte order */
    uint64_t table_entries;
    uint64_t allocated; /* guest clusters with data */
    uint64_t zeroed;    /* guest clusters with the ZERO flag */
    uint64_t end;       /* cluster after the last that is used, refcount blocks not counted */
    uint64_t leaked;    /* clusters counted as used, or more often than once, without a reference */
    bool is_exact;      /* every refcount is what the scan found */
};

/* Reads from @fd without changing its position.  E_TARGET_FORMAT as of qcow2_header_decode, or for
 * compressed clusters; E_TARGET_DAMAGED when the tables contradict themselves. */
int qcow2_scan_init(struct qcow2_scan *scan, int fd, struct err **err);
void qcow2_scan_done(struct qcow2_scan *scan);
/* The map of a file that @scan has found valid; see qcow2_map. */
int qcow2_scan_map(const struct qcow2_scan *scan, int fd, qcow2_map_fn on_run, void *opaque,
                   struct err **err);

/* What a failed open of an image means: only a file that is not there is the wrong one.  A share that
 * is gone for a moment (EIO, ESTALE) is tried again. */
static inline enum err_code
qcow2_open_code(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == EISDIR ? E_TARGET_FORMAT : E_IO;
}

static inline bool
qcow2_scan_is_used(const struct qcow2_scan *scan, uint64_t cluster)
{
    return cluster < scan->cluster_count && scan->used[cluster / 8] & 1U << cluster % 8;
}

#endif
