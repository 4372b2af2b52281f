/* QCOW2 images as targets of a migration: append-only allocation, refcounts that are an upper bound
 * until the end, one fdatasync a checkpoint, exact refcounts and length at the end.  The format, the
 * invariants and the order of writes are written down at the head of qcow2/format.h.
 *
 * Only images that this room made are written: they carry our header extension with the migration's
 * id, and anything else is E_TARGET_FORMAT.
 *
 * Threading: an image belongs to the thread that uses it (see disk/disk.h). */
#ifndef V2C_QCOW2_QCOW2_H
#define V2C_QCOW2_QCOW2_H

#include "disk/disk.h"
#include "io/io.h"

struct err;
struct qcow2_image;

#define QCOW2_ID_SIZE 64 /* bytes of an owner id, NUL included */

struct qcow2_options {
    const char
        *owner_id; /* whose file this is: the migration's id; at most QCOW2_ID_SIZE-1 bytes */
    unsigned cluster_bits; /* 0: 16, and 18 above 16 TiB */
    enum io_backend backend;
    unsigned queue_depth;   /* writes in flight; 0: 16 */
    struct disk_pool *pool; /* whose memory is registered; may be NULL */
    size_t l2_cache_bytes;  /* of L2 tables in memory, 4 of them at least; 0: 8 MiB */
    bool is_buffered;       /* no O_DIRECT; it is also tried without where O_DIRECT is refused */
};

/* Creates the file of one target disk.  @size is the source's capacity in bytes, a multiple of 512.
 * On failure no file is left behind.  E_TARGET_EXISTS rather than write over a file it did not make. */
int qcow2_create(const char *path, uint64_t size, const struct qcow2_options *options,
                 struct qcow2_image **ret_image, struct err **err);
/* Opens an image of ours to go on writing: everything up to the last checkpoint is there, nothing
 * after it is trusted.  A @size larger than the image's grows it, durably before this returns; what is
 * new reads as zeroes.  E_TARGET_SIZE for a smaller one, or one that its tables have no room for (they
 * have it for 62 TiB; in files of earlier versions for 4 TiB).  E_TARGET_FORMAT when it is not ours or
 * has another owner id. */
int qcow2_resume(const char *path, uint64_t size, const struct qcow2_options *options,
                 struct qcow2_image **ret_image, struct err **err);
/* The image as a disk_target; owned by the image, closed with it. */
struct disk_target *qcow2_target(struct qcow2_image *image);
/* Appends what is mapped, zero clusters included, in whole clusters clipped to the size. */
int qcow2_mapped(struct qcow2_image *image, struct extents *extents, struct err **err);
/* Takes out what is not needed: zeroed clusters given back, refcounts exact, file cut to its end.
 * The image is closed for good, durable, and clean for `qemu-img check`; no lock is held.  On failure
 * the image stays the caller's to close, and can be resumed. */
int qcow2_finish(struct qcow2_image **image, struct err **err);
/* Closes without finishing; what no checkpoint covered may be lost.  Frees. */
void qcow2_closep(struct qcow2_image **image);

struct qcow2_info {
    uint64_t size; /* bytes the guest sees */
    unsigned version, cluster_bits;
    uint64_t file_size;
    uint64_t allocated_clusters; /* mapped, zero clusters not counted */
    uint64_t zero_clusters;      /* that a ZERO flag covers */
    uint64_t leaked_clusters; /* counted as used without a reference: harmless, but for the room */
    bool is_ours;
    bool is_in_use;   /* another process holds QEMU's locks: numbers may be of a moment */
    bool is_finished; /* exact refcounts: nothing of a migration is left in progress */
    /* A migration writes into it: counted and as long as one leaves it, whole spans.  Not so of an image that
     * was finished and lost exact counts since, as in a crash of QEMU. */
    bool is_in_progress;
    char owner_id[QCOW2_ID_SIZE]; /* empty when it is not ours */
};
/* Reads and validates header and tables of any QCOW2 file, trusting nothing.  E_TARGET_FORMAT for what
 * is none or uses what we do not read (a backing file, snapshots, compression and so on);
 * E_TARGET_DAMAGED when the tables contradict themselves. */
int qcow2_inspect(const char *path, struct qcow2_info *ret_info, struct err **err);

enum qcow2_run_kind { QCOW2_RUN_HOLE, QCOW2_RUN_ZERO, QCOW2_RUN_DATA };
struct qcow2_run {
    uint64_t offset, length; /* of the disk */
    enum qcow2_run_kind kind;
    uint64_t host; /* where data is in the file; 0 for the others */
};
typedef int (*qcow2_map_fn)(void *opaque, const struct qcow2_run *run, struct err **err);
/* Validates as qcow2_inspect, and tells the whole disk, in order, in runs as long as possible.  Stops
 * with what @on_run fails with. */
int qcow2_map(const char *path, qcow2_map_fn on_run, void *opaque, struct err **err);

/* What CloudStack wants of a file it is to import: version 3, clusters of 64 to 256 KiB, exact refcounts
 * of 16 bits, no backing file, feature, bitmap or unknown extension, no lock held, mode 0644.  Runs
 * `qemu-img check` when it is installed; its exit must be 0.  E_TARGET_CHECK with the reason, or
 * E_PERMISSION.  *ret_warning (may be NULL; the caller owns it) is what qcow2_check_access warns of. */
int qcow2_check_importable(const char *path, uint64_t size, struct err **ret_warning,
                           struct err **err);
/* Whether CloudStack's hosts can use the file: they make their own volumes as root, mode 0644, which
 * create and finish set as far as they may.  E_PERMISSION when the mode gives them too little.
 * *ret_warning, as above, when the file is not root's (the export squashes root, or we are not root) or
 * everybody may write it; else untouched. */
int qcow2_check_access(const char *path, struct err **ret_warning, struct err **err);

#endif
