/* Inside qcow2: an open image and what its files share.
 *
 *   create.c, resume.c   how an image comes to be
 *   grow.c               a disk that has become larger
 *   map.c                L1, and a bounded cache of L2 tables
 *   alloc.c              clusters, and the preparation of spans
 *   target.c             disk_target: writes, zeroes, completions
 *   read.c               what the guest would see
 *   parts.c              requests in parts that are contiguous in the file
 *   checkpoint.c         dirty pages to disk while writes go on
 *   finish.c             exact refcounts at the end
 *   scan.c               reads and validates any file
 *   lock.c               QEMU's image locks
 *   access.c             owner and mode
 *
 * Two io queues: `io` carries data and checkpoints and is the target's poll_fd; its completions are
 * delivered from reap only.  `meta` carries what the code waits for (reads of L2 tables, evictions,
 * new spans) and zeroes that were asked for; waiting on it never delivers a request. */
#ifndef V2C_QCOW2_IMAGE_H
#define V2C_QCOW2_IMAGE_H

#include "base/vec.h"
#include "qcow2/format.h"

#define META_DEPTH       64U
#define FLUSH_DEPTH      16U
#define MAX_ZERO_WRITES  16U
#define ZERO_BYTES       (64U << 10)
#define CHECKPOINT_DEPTH 8U
#define STAGE_BYTES      (64U << 10) /* of pages in one write of a checkpoint */

/* An L2 table in memory. */
struct qcow2_table {
    uint64_t l1_index;
    uint64_t host;                     /* offset */
    uint64_t *entries;                 /* big endian, aligned for direct I/O */
    uint64_t dirty;                    /* one bit a page */
    unsigned pins;                     /* writes of a checkpoint in flight */
    struct qcow2_table *newer, *older; /* by last use */
};

/* A table that is held whole: L1 as far as the disk needs it, and the refcount table.  What is not
 * used of it takes no memory. */
struct qcow2_array {
    uint64_t *entries; /* big endian, aligned for direct I/O */
    uint64_t bytes;    /* whole pages */
    uint64_t offset;   /* in the file */
    uint8_t *dirty;    /* one byte a page */
};

/* One request in flight. */
struct qcow2_pending {
    struct disk_request *request;
    unsigned left;
    struct err *error; /* the first of its parts */
    struct qcow2_pending *next;
};

/* One read or write of data; a request needs several where its clusters do not lie together. */
struct qcow2_part {
    struct io_op op;
    struct qcow2_image *image;
    struct qcow2_pending *pending;
    struct qcow2_part *next;
};

/* The parts of one request, in order; all zero is an empty list. */
struct qcow2_parts {
    struct qcow2_part *first, *last;
};

/* Zeroes being written over a part of a cluster. */
struct qcow2_zero_write {
    struct io_op op;
    struct qcow2_image *image;
    uint64_t guest_cluster;
    bool is_busy;
};

/* Dirty pages of a table being written back, before its turn in a checkpoint. */
struct qcow2_flush {
    struct io_op op;
    struct qcow2_image *image;
    bool is_busy;
};

struct qcow2_stage {
    struct io_op op;
    struct qcow2_image *image;
    uint8_t *data;             /* STAGE_BYTES */
    struct qcow2_table *table; /* pinned; NULL for pages of L1 */
    bool is_busy;
};

VEC_DECLARE(qcow2_indices, uint64_t);

struct qcow2_checkpoint {
    bool is_running, is_syncing;
    struct disk_request *request;
    struct qcow2_indices tables; /* l1 indices of those that were dirty when it began */
    size_t next_table;
    uint64_t pages; /* of that table, still to be looked at; all ones before the first look */
    uint64_t next_l1_page;
    unsigned in_flight;
    struct err *error;
    struct io_op sync;
    struct qcow2_stage stages[CHECKPOINT_DEPTH];
    uint8_t *memory; /* of the stages */
};

/* The span after the current one, being prepared step by step (format.h: "new span"). */
enum qcow2_span_step {
    SPAN_NONE,
    SPAN_LENGTH,
    SPAN_REFBLOCK,
    SPAN_REFBLOCK_SYNC,
    SPAN_ENTRY,
    SPAN_ENTRY_SYNC,
    SPAN_READY,
};

struct qcow2_image {
    struct disk_target target;
    char *path;
    struct qcow2_geometry g;
    struct io_file file;
    struct io *io, *meta;
    struct err *failure; /* the first error of a write or sync: nothing goes on after it */

    /* map.c */
    struct qcow2_array l1, table;
    struct qcow2_table **l2; /* by L1 index; NULL: not in memory */
    struct qcow2_table *newest, *oldest;
    size_t table_count, max_tables;
    struct qcow2_flush flushes[FLUSH_DEPTH];
    unsigned flushes_in_flight; /* 0 but within a write-back */

    /* alloc.c; cluster numbers */
    uint64_t next, span_end;
    uint64_t slab_next, slab_end;
    uint64_t span; /* that `next` lies in */
    enum qcow2_span_step span_step;
    struct io_op span_op;
    uint16_t *ones; /* a refcount block of ones */

    /* parts.c */
    unsigned max_parts, parts_in_flight;
    struct qcow2_part *free_parts;
    struct qcow2_parts backlog;
    struct qcow2_pending *free_pendings;
    unsigned delivered; /* since the last reap began */

    /* target.c */
    struct qcow2_zero_write zero_writes[MAX_ZERO_WRITES];
    unsigned zero_writes_in_flight;
    uint8_t *zeroes; /* ZERO_BYTES */

    struct qcow2_checkpoint checkpoint;
};

/* ---- image.c: life and shared plumbing -------------------------------------------------------- */

/* An image without a file: geometry, memory, nothing open. */
struct qcow2_image *qcow2_image_new(const char *path, const struct qcow2_geometry *geometry,
                                    struct err **err);
void qcow2_image_freep(struct qcow2_image **image); /* nothing is in flight */
/* Starts the io queues and fills in the target, once the file is open. */
int qcow2_image_start(struct qcow2_image *image, const struct qcow2_options *options, bool is_new,
                      struct err **err);
/* E_BUG for an owner id that is too long. */
int qcow2_check_options(const struct qcow2_options *options, struct err **err);
/* Aligned memory of whole pages, zeroed. */
void *qcow2_memory(size_t bytes);
/* Carries metadata to or from the file and waits for it, through `meta`. */
int qcow2_sync_io(struct qcow2_image *image, enum io_kind kind, void *data, uint64_t length,
                  uint64_t offset, struct err **err);
/* Turns an error of io into one of the target, with the path; owns @error. */
struct err *qcow2_describe(const struct qcow2_image *image, enum io_kind kind, struct err *error);
/* Remembers the first failure; owns @error. */
void qcow2_fail(struct qcow2_image *image, struct err *error);
int qcow2_check_failure(const struct qcow2_image *image, struct err **err);
/* Waits until nothing is in flight, delivering all of it. */
void qcow2_drain(struct qcow2_image *image);
/* A checkpoint that is waited for. */
int qcow2_checkpoint_now(struct qcow2_image *image, struct err **err);

/* ---- map.c ------------------------------------------------------------------------------------ */

/* The L2 table of a guest cluster; *ret_table is NULL when there is none and @create is not set.  It
 * stays valid until the next call. */
int qcow2_map_table(struct qcow2_image *image, uint64_t guest_cluster, bool create,
                    struct qcow2_table **ret_table, struct err **err);
uint64_t qcow2_table_get(const struct qcow2_table *table, uint64_t index);
void qcow2_table_set(struct qcow2_table *table, uint64_t index, uint64_t entry);
void qcow2_array_set(struct qcow2_array *array, uint64_t index, uint64_t value);
uint64_t qcow2_array_get(const struct qcow2_array *array, uint64_t index);
/* Writes every dirty page and waits; no sync.  Nothing may be in flight. */
int qcow2_map_flush(struct qcow2_image *image, struct err **err);
void qcow2_map_done(struct qcow2_image *image);

/* ---- alloc.c ---------------------------------------------------------------------------------- */

int qcow2_alloc_cluster(struct qcow2_image *image, uint64_t *ret_host, struct err **err);
int qcow2_alloc_table(struct qcow2_image *image, uint64_t *ret_host, struct err **err);

/* ---- grow.c ----------------------------------------------------------------------------------- */

/* Makes the file, whose header is @header, that of a disk of image->g.size bytes: format.h, "grow". */
int qcow2_grow(struct qcow2_image *image, const struct qcow2_header *header, struct err **err);

/* ---- checkpoint.c ----------------------------------------------------------------------------- */

int qcow2_checkpoint_start(struct disk_target *target, struct disk_request *request,
                           struct err **err);

/* ---- target.c --------------------------------------------------------------------------------- */

extern const struct disk_target_ops qcow2_target_ops;
/* E_BUG for what is not sectors of the disk. */
int qcow2_check_range(const struct qcow2_image *image, uint64_t offset, uint64_t length,
                      struct err **err);
/* The same for a read or write with its slot; waits for zeroes in flight where it lies.  Fails too
 * when the image has. */
int qcow2_check_request(struct qcow2_image *image, const struct disk_request *request,
                        struct err **err);
/* Waits for zeroes in flight on @guest_cluster, or all of them when it is UINT64_MAX. */
int qcow2_wait_zeroes(struct qcow2_image *image, uint64_t guest_cluster, struct err **err);

/* ---- read.c ----------------------------------------------------------------------------------- */

int qcow2_read(struct disk_target *target, struct disk_request *request, struct err **err);

/* ---- parts.c ---------------------------------------------------------------------------------- */

/* Appends a transfer of [data, data+length) at @host; a tail that is not aligned goes on its own.
 * @length may be 0. */
void qcow2_parts_append(struct qcow2_image *image, struct qcow2_parts *parts, enum io_kind kind,
                        uint8_t *data, uint32_t length, uint64_t host);
void qcow2_parts_drop(struct qcow2_image *image, struct qcow2_parts *parts); /* not started */
/* Queues @parts, which are not empty, as @request: done is called after the last of them. */
void qcow2_parts_start(struct qcow2_image *image, struct disk_request *request,
                       struct qcow2_parts *parts);
/* Hands as much of the backlog to the queue as it takes. */
void qcow2_parts_pump(struct qcow2_image *image);
void qcow2_parts_done(struct qcow2_image *image);

/* ---- access.c --------------------------------------------------------------------------------- */

/* Gives the file the owner and mode that CloudStack's hosts need, as far as we may.  E_PERMISSION when
 * it has too little and cannot be given more. */
int qcow2_settle_access(const struct qcow2_image *image, struct err **err);

/* ---- lock.c ----------------------------------------------------------------------------------- */

/* Takes the locks of a writer that shares nothing, as QEMU would see them; they end with @fd's last
 * close.  E_LOCKED when another process holds the image. */
int qcow2_lock(int fd, struct err **err);
/* E_LOCKED when another process writes the image. */
int qcow2_check_unlocked(int fd, struct err **err);

#endif
