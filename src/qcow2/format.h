/* The QCOW2 format as this program writes it, and the order in which it writes.
 *
 * Source: docs/interop/qcow2.rst of QEMU.  All integers are big endian.  A file is an array of
 * clusters of cs = 1 << cluster_bits bytes; "host" is an offset in the file, "guest" one of the disk.
 *
 * Header (cluster 0), version 3:
 *     0  magic "QFI\xfb"        20  cluster_bits          60  nb_snapshots, 0; 64 their offset, 0
 *     4  version, 3             24  size in bytes         72  incompatible features, 0
 *     8  backing offset, 0      32  encryption, 0         80  compatible features, 0
 *    16  backing length, 0      36  L1 entries            88  autoclear features, 0
 *                               40  L1 host offset        96  refcount order, 4: 16 bits
 *                               48  refcount table        100 header length, 112
 *                               56  its length, clusters  104 compression 0, padding
 * Then extensions {u32 type, u32 length, data padded to 8 bytes}: ours (QCOW2_OWNER_EXTENSION: the
 * owner id, QCOW2_ID_SIZE bytes padded with NUL), and the end {0, 0}.
 *
 * Map: L1 entry = host offset of an L2 table | COPIED.  An L2 table is one cluster of cs/8 entries:
 * 0 unallocated, reads as zeroes; host | COPIED data; host | COPIED | ZERO reads as zeroes, keeps its
 * host cluster.  COPIED says that the refcount is 1, which all of ours are.
 *
 * Refcounts: table of u64 host offsets of refcount blocks; a block is one cluster of cs/2 u16 counts.
 * What one block covers is a *span* of cs*cs/2 bytes (2 GiB with 64 KiB clusters).
 *
 * Layout:
 *     span 0:  header | refcount table | L1 | refcount block 0 | L2 slab | data and further slabs
 *     span k:  refcount block k | data and slabs
 * Clusters are handed out in the order they are asked for; L2 tables come from slabs of up to 1 MiB.
 * Refcount table and L1 have room for a disk of QCOW2_RESERVE bytes (with clusters of 64 KiB and more;
 * with smaller ones, which only tests use, what whole clusters hold): so a disk can grow without
 * anything being moved.  The header declares all of it, and what is not used costs no blocks.
 *
 * Invariants:
 *     I1  refcount on disk >= references on disk, for any subset of writes not yet synced: the block
 *         of a span is durable and all ones before anything in the span is referenced; counts are
 *         lowered only by finish, after the map is durable.  So a crash leaves leaks, never corruption.
 *     I2  length first: the file reaches to the end of a span, durably, before anything refers into it.
 *     I3  a host cluster has one owner for the whole migration: nothing is freed or used again before
 *         finish.
 *     I4  an allocated cluster reads as zeroes until it is written: it lies in fresh file area.  So a
 *         partial write needs no padding, and an L2 entry may be durable before its data is, and an
 *         L1 entry before its L2 table.
 *     I5  every L1 and L2 entry that is not zero carries COPIED.  ZERO stands only on mapped clusters.
 *         A partial write to a ZERO cluster gets a new cluster: the old bytes must not come back.
 *     I6  an extent is done only when its data was written before the start of the sync that also
 *         covers its L2 page.
 *     I7  the header never names a feature, and never changes but for the size, upwards, and with it
 *         the count of L1 entries where an older version declared fewer than there is room for.
 *
 * Order of writes:
 *     create      length, refcount block 0, refcount table; sync; header; sync; link to its name; sync
 *                 of the directory
 *     new span    length, refcount block of ones; sync; refcount table entry; sync
 *     write-back  dirty 4 KiB pages of L2 tables that leave memory, at any time, without a sync
 *     checkpoint  dirty 4 KiB pages of L2 and L1, in any order; one sync; then it is published.  A
 *                 failed write or sync ends the image: what counts is the last published checkpoint
 *     finish      checkpoint; ZERO clusters unmapped, empty L2 tables dropped; sync; refcounts as
 *                 recounted from the map; sync; holes punched where nothing is used, as far as the
 *                 file system can; length; sync
 *     grow        (within resume, after the rest of it) zeroes over what lies behind the old end in the
 *                 last cluster, and behind the old end of L1; sync; header: size and L1 entries, in one
 *                 sector; sync.  Only then is anything written behind the old end
 *     resume      everything validated; sync of the directory; spans beyond the last reference
 *                 dropped, sync; length down to the last reference and up to the end of its span
 *                 (this restores I4); refcount blocks of ones; sync */
#ifndef V2C_QCOW2_FORMAT_H
#define V2C_QCOW2_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qcow2/qcow2.h"

#define QCOW2_MAGIC             0x514649fbU
#define QCOW2_HEADER_LENGTH     112U
#define QCOW2_HEADER_LENGTH_2   72U         /* of version 2 */
#define QCOW2_OWNER_EXTENSION   0x56324321U /* "V2C!" */
#define QCOW2_NAMES_EXTENSION   0x6803f857U /* names of feature bits, as QEMU writes them */
#define QCOW2_BITMAPS_EXTENSION 0x23852875U
#define QCOW2_MIN_CLUSTER_BITS  12U /* that we write; a page is the unit of our metadata */
#define QCOW2_MAX_CLUSTER_BITS  18U
#define QCOW2_PAGE              4096U
#define QCOW2_RESERVE           (62ULL << 40) /* the largest disk of VMware */
#define QCOW2_MAX_L1_BYTES      (32U << 20)   /* QEMU's limit */
#define QCOW2_MAX_TABLE_BYTES   (8U << 20)    /* QEMU's limit for the refcount table */

#define QCOW2_COPIED            (1ULL << 63)
#define QCOW2_COMPRESSED        (1ULL << 62)
#define QCOW2_ZERO              1ULL
#define QCOW2_OFFSET_MASK       0x00fffffffffffe00ULL
#define QCOW2_TABLE_OFFSET_MASK 0xfffffffffffffe00ULL /* of a refcount table entry */

/* Where things are in an image of ours: the two tables' lengths are chosen when it is made, all else
 * follows from them, the size and the cluster size. */
struct qcow2_geometry {
    uint64_t size;
    unsigned cluster_bits;
    uint64_t cluster_size;
    uint64_t guest_clusters;
    uint64_t l2_entries;          /* of one table */
    uint64_t l1_entries;          /* that the size needs */
    uint64_t l1_offset, l1_bytes; /* of the whole table, in clusters: see qcow2_l1_capacity */
    uint64_t table_entries, table_offset, table_bytes; /* the refcount table */
    uint64_t refblock0_offset;
    uint64_t first_free;    /* cluster number after the fixed ones */
    uint64_t span_clusters; /* covered by one refcount block */
};

/* Of a new image.  E_TARGET_SIZE when no image of ours can have that size. */
int qcow2_geometry_init(struct qcow2_geometry *geometry, uint64_t size, unsigned cluster_bits,
                        struct err **err);

/* L1 entries there is room for. */
static inline uint64_t
qcow2_l1_capacity(const struct qcow2_geometry *geometry)
{
    return geometry->l1_bytes / 8;
}

/* A header as found in any QCOW2 file of version 2 or 3. */
struct qcow2_header {
    unsigned version, cluster_bits;
    uint64_t size;
    uint64_t l1_offset, l1_entries;
    uint64_t table_offset, table_clusters;
    unsigned refcount_order;
    uint64_t compatible_features;
    bool has_foreign_extension; /* beside ours and the names of features */
    bool is_ours;
    char owner_id[QCOW2_ID_SIZE];
};

/* Of an image that is there, when its disk is to have @size bytes.  E_TARGET_SIZE when its tables are
 * too small for that, E_TARGET_FORMAT when they are not where ours are. */
int qcow2_geometry_adopt(struct qcow2_geometry *geometry, const struct qcow2_header *header,
                         uint64_t size, struct err **err);

/* Fills @page of QCOW2_PAGE bytes. */
void qcow2_header_encode(const struct qcow2_geometry *geometry, const char *owner_id,
                         uint8_t *page);
/* Changes in the first @page of a file what growth changes (I7). */
void qcow2_header_grow(const struct qcow2_geometry *geometry, uint8_t *page);
/* @data: the first @length bytes of the file.  E_TARGET_FORMAT for what is no QCOW2 image, has an
 * impossible header, or uses what we do not: a backing file, encryption, snapshots, bitmaps, any
 * incompatible or autoclear feature. */
int qcow2_header_decode(const uint8_t *data, size_t length, struct qcow2_header *ret_header,
                        struct err **err);

#endif
