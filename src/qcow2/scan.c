#include "qcow2/scan.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "io/io.h"

/* 64 TiB at 4 KiB clusters, 1 PiB at 64 KiB: 2 GiB of bitmap that is only touched where used. */
#define MAX_CLUSTERS (1ULL << 34)

/* Reads @length bytes; what lies beyond the end of the file is zeroes, as for QEMU. */
static int
read_at(int fd, void *data, size_t length, uint64_t offset, struct err **err)
{
    size_t have = 0;

    while (have < length) {
        ssize_t n = io_fd_pread(fd, (char *)data + have, length - have, offset + have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, E_IO, errno, "read at %" PRIu64, offset);
        if (n == 0)
            break;
        have += (size_t)n;
    }
    memset((char *)data + have, 0, length - have);
    return 0;
}

/* Takes @count clusters from @offset into the used ones. */
static int
mark(struct qcow2_scan *scan, uint64_t offset, uint64_t count, bool is_refblock, const char *what,
     struct err **err)
{
    unsigned bits = scan->header.cluster_bits;
    uint64_t first = offset >> bits;

    if (offset & ((1ULL << bits) - 1))
        return err_set(err, E_TARGET_DAMAGED, "%s at %" PRIu64 " is not aligned", what, offset);
    if (count > scan->cluster_count || first > scan->cluster_count - count)
        return err_set(err, E_TARGET_DAMAGED, "%s at %" PRIu64 " lies beyond the end of the file",
                       what, offset);
    for (uint64_t c = first; c < first + count; c++) {
        if (qcow2_scan_is_used(scan, c))
            return err_set(err, E_TARGET_DAMAGED, "%s at %" PRIu64 " is in use twice", what,
                           c << bits);
        scan->used[c / 8] |= (uint8_t)(1U << c % 8);
    }
    if (!is_refblock)
        scan->end = MAX(scan->end, first + count);
    return 0;
}

#define READ_AHEAD 64U /* tables */

/* Asks for tables before they are read one by one: entry @i of @count host offsets comes next. */
static void
read_ahead(int fd, const uint64_t *entries, uint64_t count, uint64_t i, uint64_t cluster_size)
{
    if (i % READ_AHEAD)
        return;
    for (uint64_t j = i; j < MIN(i + READ_AHEAD, count); j++)
        if (entries[j])
            (void)posix_fadvise(fd, (off_t)(entries[j] & QCOW2_OFFSET_MASK), (off_t)cluster_size,
                                POSIX_FADV_WILLNEED);
}

static int
read_table(int fd, uint64_t **table, uint64_t entries, uint64_t offset, struct err **err)
{
    *table = calloc(entries, sizeof(**table));
    if (!*table)
        return err_set(err, E_MEMORY, "a table of %" PRIu64 " entries", entries);
    if (read_at(fd, *table, entries * sizeof(**table), offset, err) < 0)
        return -1;
    for (uint64_t i = 0; i < entries; i++)
        (*table)[i] = be64toh((*table)[i]);
    return 0;
}

static int
scan_l2_entry(struct qcow2_scan *scan, uint64_t entry, uint64_t guest, struct err **err)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK, cs = 1ULL << scan->header.cluster_bits;

    if (entry & QCOW2_COMPRESSED)
        return err_set(err, E_TARGET_FORMAT, "it has compressed clusters");
    if (entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO) ||
        (entry & QCOW2_ZERO && scan->header.version == 2))
        return err_set(err, E_TARGET_DAMAGED, "L2 entry of guest cluster %" PRIu64 " is 0x%" PRIx64,
                       guest, entry);
    if (guest >= (scan->header.size + cs - 1) / cs)
        return err_set(err, E_TARGET_DAMAGED, "guest cluster %" PRIu64 " is beyond the disk",
                       guest);
    if ((host != 0) != ((entry & QCOW2_COPIED) != 0))
        return err_set(err, E_TARGET_DAMAGED,
                       "L2 entry of guest cluster %" PRIu64 " has a wrong COPIED flag", guest);
    if (entry & QCOW2_ZERO)
        scan->zeroed++;
    else
        scan->allocated++;
    return host ? mark(scan, host, 1, false, "data cluster", err) : 0;
}

static int
scan_map(struct qcow2_scan *scan, int fd, struct err **err)
{
    uint64_t cs = 1ULL << scan->header.cluster_bits, entries = cs / 8;
    CLEANUP(free_charp) char *memory = malloc(cs);
    uint64_t *l2 = (uint64_t *)memory;

    if (!memory)
        return err_set(err, E_MEMORY, "an L2 table");
    for (uint64_t i = 0; i < scan->header.l1_entries; i++) {
        uint64_t entry = scan->l1[i];

        read_ahead(fd, scan->l1, scan->header.l1_entries, i, cs);
        if (entry == 0)
            continue;
        if (entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED) || !(entry & QCOW2_COPIED))
            return err_set(err, E_TARGET_DAMAGED, "L1 entry %" PRIu64 " is 0x%" PRIx64, i, entry);
        entry &= QCOW2_OFFSET_MASK;
        if (mark(scan, entry, 1, false, "L2 table", err) < 0 || read_at(fd, l2, cs, entry, err) < 0)
            return -1;
        for (uint64_t j = 0; j < entries; j++)
            if (l2[j] && scan_l2_entry(scan, be64toh(l2[j]), i * entries + j, err) < 0)
                return -1;
    }
    return 0;
}

static uint64_t
refcount_of(const uint8_t *block, uint64_t i, unsigned order)
{
    uint64_t value = 0;

    if (order < 3) {
        unsigned bits = 1U << order, shift = (unsigned)(i * bits % 8);

        return (unsigned)(block[i * bits / 8] >> shift) & ((1U << bits) - 1);
    }
    for (uint64_t b = 0; b < 1ULL << (order - 3); b++)
        value = value << 8 | block[(i << (order - 3)) + b];
    return value;
}

static int
compare_block(struct qcow2_scan *scan, const uint8_t *block, uint64_t first, uint64_t count,
              struct err **err)
{
    for (uint64_t i = 0; i < count && first + i < scan->cluster_count; i++) {
        uint64_t refcount = block ? refcount_of(block, i, scan->header.refcount_order) : 0;
        bool used = qcow2_scan_is_used(scan, first + i);

        if (refcount < used)
            return err_set(err, E_TARGET_DAMAGED,
                           "the cluster at %" PRIu64 " is in use, but counted as free",
                           (first + i) << scan->header.cluster_bits);
        if (refcount != used) {
            scan->is_exact = false;
            scan->leaked++;
        }
    }
    return 0;
}

/* All refcount blocks are known as used before the first count is compared. */
static int
scan_refcounts(struct qcow2_scan *scan, int fd, struct err **err)
{
    uint64_t cs = 1ULL << scan->header.cluster_bits;
    uint64_t covered = cs * 8 >> scan->header.refcount_order;
    CLEANUP(free_charp) char *block = malloc(cs);

    if (!block)
        return err_set(err, E_MEMORY, "a refcount block");
    for (uint64_t i = 0; i < scan->table_entries; i++) {
        uint64_t entry = scan->table[i];

        if (entry & ~QCOW2_TABLE_OFFSET_MASK)
            return err_set(err, E_TARGET_DAMAGED, "refcount table entry %" PRIu64 " is 0x%" PRIx64,
                           i, entry);
        if (entry && mark(scan, entry, 1, true, "refcount block", err) < 0)
            return -1;
    }
    scan->is_exact = true;
    for (uint64_t i = 0; i * covered < scan->cluster_count; i++) {
        bool is_there = i < scan->table_entries && scan->table[i];

        if (is_there)
            read_ahead(fd, scan->table, scan->table_entries, i, cs);
        if (is_there && read_at(fd, block, cs, scan->table[i], err) < 0)
            return -1;
        if (compare_block(scan, is_there ? (uint8_t *)block : NULL, i * covered, covered, err) < 0)
            return -1;
    }
    return 0;
}

static int
scan_file(struct qcow2_scan *scan, int fd, struct err **err)
{
    uint8_t page[QCOW2_PAGE];
    struct stat st;
    uint64_t cs;

    if (io_fd_stat(fd, &st) < 0)
        return err_set_errno(err, E_IO, errno, "fstat");
    scan->file_length = (uint64_t)st.st_size;
    if (read_at(fd, page, MIN(sizeof(page), scan->file_length), 0, err) < 0 ||
        qcow2_header_decode(page, MIN(sizeof(page), scan->file_length), &scan->header, err) < 0)
        return -1;
    cs = 1ULL << scan->header.cluster_bits;
    scan->cluster_count = scan->file_length / cs + (scan->file_length % cs != 0);
    if (scan->cluster_count > MAX_CLUSTERS)
        return err_set(err, E_LIMIT, "a file of %" PRIu64 " bytes", scan->file_length);
    scan->used = calloc(scan->cluster_count / 8 + 1, 1);
    if (!scan->used)
        return err_set(err, E_MEMORY, "a bitmap of %" PRIu64 " clusters", scan->cluster_count);
    scan->table_entries = scan->header.table_clusters * cs / 8;
    if (mark(scan, 0, 1, false, "header", err) < 0 ||
        mark(scan, scan->header.table_offset, scan->header.table_clusters, false, "refcount table",
             err) < 0 ||
        mark(scan, scan->header.l1_offset, (scan->header.l1_entries * 8 + cs - 1) / cs, false,
             "L1 table", err) < 0)
        return -1;
    if (read_table(fd, &scan->table, scan->table_entries, scan->header.table_offset, err) < 0 ||
        read_table(fd, &scan->l1, scan->header.l1_entries, scan->header.l1_offset, err) < 0)
        return -1;
    if (scan_map(scan, fd, err) < 0)
        return -1;
    return scan_refcounts(scan, fd, err);
}

/* The run that is being made; `length` 0: none. */
struct run_maker {
    const struct qcow2_scan *scan;
    struct qcow2_run run;
    qcow2_map_fn on_run;
    void *opaque;
};

static int
end_run(struct run_maker *maker, struct err **err)
{
    const struct qcow2_run run = maker->run;

    maker->run.length = 0;
    return run.length ? maker->on_run(maker->opaque, &run, err) : 0;
}

static int
add_clusters(struct run_maker *maker, uint64_t first, uint64_t count, uint64_t entry,
             struct err **err)
{
    unsigned bits = maker->scan->header.cluster_bits;
    uint64_t size = maker->scan->header.size, offset = first << bits;
    struct qcow2_run *run = &maker->run;
    enum qcow2_run_kind kind = entry & QCOW2_ZERO ? QCOW2_RUN_ZERO
                               : entry            ? QCOW2_RUN_DATA
                                                  : QCOW2_RUN_HOLE;
    uint64_t host = kind == QCOW2_RUN_DATA ? entry & QCOW2_OFFSET_MASK : 0, length;

    if (offset >= size) /* an L2 table may reach beyond the disk */
        return 0;
    length = MIN(count << bits, size - offset);
    if (run->length && run->kind == kind &&
        (kind != QCOW2_RUN_DATA || run->host + run->length == host)) {
        run->length += length;
        return 0;
    }
    if (end_run(maker, err) < 0)
        return -1;
    *run = (struct qcow2_run){.offset = offset, .length = length, .kind = kind, .host = host};
    return 0;
}

int
qcow2_scan_map(const struct qcow2_scan *scan, int fd, qcow2_map_fn on_run, void *opaque,
               struct err **err)
{
    struct run_maker maker = {.scan = scan, .on_run = on_run, .opaque = opaque};
    uint64_t cs = 1ULL << scan->header.cluster_bits, entries = cs / 8;
    CLEANUP(free_charp) char *memory = malloc(cs);
    uint64_t *l2 = (uint64_t *)memory;

    if (!memory)
        return err_set(err, E_MEMORY, "an L2 table");
    for (uint64_t i = 0; i < scan->header.l1_entries; i++) {
        uint64_t host = scan->l1[i] & QCOW2_OFFSET_MASK;

        if (host == 0) {
            if (add_clusters(&maker, i * entries, entries, 0, err) < 0)
                return -1;
            continue;
        }
        if (read_at(fd, l2, cs, host, err) < 0)
            return -1;
        for (uint64_t j = 0; j < entries; j++)
            if (add_clusters(&maker, i * entries + j, 1, be64toh(l2[j]), err) < 0)
                return -1;
    }
    return end_run(&maker, err);
}

int
qcow2_scan_init(struct qcow2_scan *scan, int fd, struct err **err)
{
    memset(scan, 0, sizeof(*scan));
    if (scan_file(scan, fd, err) < 0) {
        qcow2_scan_done(scan);
        return -1;
    }
    return 0;
}

void
qcow2_scan_done(struct qcow2_scan *scan)
{
    free(scan->used);
    free(scan->l1);
    free(scan->table);
    memset(scan, 0, sizeof(*scan));
}
