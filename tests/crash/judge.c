#include "judge.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define WHY_BYTES   128U
#define OFFSET_BITS 0x00fffffffffffe00ULL
#define COPIED      (1ULL << 63)
#define ZERO        1ULL

struct file {
    const uint8_t *bytes;
    uint64_t length;
    unsigned cluster_bits;
    uint64_t size, l1, l1_entries, table, table_entries;
    uint64_t clusters;    /* of the file, the last may be short */
    uint16_t *references; /* one a cluster */
    char *why;
};

/* Reads beyond the end are zeroes. */
static uint64_t
number_at(const struct file *f, uint64_t offset, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | (offset + i < f->length ? f->bytes[offset + i] : 0);
    return value;
}

static uint64_t
entry_at(const struct file *f, uint64_t offset)
{
    uint64_t value;

    if (offset > f->length || f->length - offset < sizeof(value))
        return number_at(f, offset, 8);
    memcpy(&value, f->bytes + offset, sizeof(value));
    return be64toh(value);
}

static bool
open_file(struct file *f, const uint8_t *bytes, uint64_t length, char *why)
{
    *f = (struct file){.bytes = bytes, .length = length, .why = why};
    if (length < 112 || memcmp(bytes, "QFI\xfb", 4) || number_at(f, 4, 4) != 3) {
        snprintf(why, WHY_BYTES, "no header");
        return false;
    }
    f->cluster_bits = (unsigned)number_at(f, 20, 4);
    if (f->cluster_bits < 9 || f->cluster_bits > 21) {
        snprintf(why, WHY_BYTES, "cluster bits %u", f->cluster_bits);
        return false;
    }
    f->size = number_at(f, 24, 8);
    f->l1_entries = number_at(f, 36, 4);
    f->l1 = number_at(f, 40, 8);
    f->table = number_at(f, 48, 8);
    f->table_entries = number_at(f, 56, 4) << f->cluster_bits >> 3;
    f->clusters = (length + (1ULL << f->cluster_bits) - 1) >> f->cluster_bits;
    return true;
}

static bool
refer(struct file *f, uint64_t offset, uint64_t bytes, const char *what)
{
    uint64_t cs = 1ULL << f->cluster_bits;

    for (uint64_t at = offset; at < offset + bytes; at += cs) {
        if (at % cs || at >> f->cluster_bits >= f->clusters) {
            snprintf(f->why, WHY_BYTES, "%s at %" PRIu64 " of a file of %" PRIu64, what, at,
                     f->length);
            return false;
        }
        if (++f->references[at >> f->cluster_bits] > 1) {
            snprintf(f->why, WHY_BYTES, "%s at %" PRIu64 " is in use twice", what, at);
            return false;
        }
    }
    return true;
}

static bool
refer_table(struct file *f, uint64_t l2, uint64_t l1_index)
{
    uint64_t cs = 1ULL << f->cluster_bits;

    for (uint64_t i = 0; i < cs / 8; i++) {
        uint64_t entry = entry_at(f, l2 + i * 8), host = entry & OFFSET_BITS;

        if (entry == 0)
            continue;
        if (entry & ~(OFFSET_BITS | COPIED | ZERO) || !host != !(entry & COPIED) ||
            (l1_index * (cs / 8) + i) * cs >= f->size) {
            snprintf(f->why, WHY_BYTES, "L2 entry 0x%" PRIx64 " of table %" PRIu64, entry,
                     l1_index);
            return false;
        }
        if (host && !refer(f, host, cs, "data"))
            return false;
    }
    return true;
}

static bool
refer_all(struct file *f)
{
    uint64_t cs = 1ULL << f->cluster_bits;

    if (!refer(f, 0, cs, "header") || !refer(f, f->table, f->table_entries * 8, "refcount table") ||
        !refer(f, f->l1, f->l1_entries * 8, "L1"))
        return false;
    for (uint64_t i = 0; i < f->l1_entries; i++) {
        uint64_t entry = entry_at(f, f->l1 + i * 8);

        if (entry == 0)
            continue;
        if (entry & ~(OFFSET_BITS | COPIED) || !(entry & COPIED)) {
            snprintf(f->why, WHY_BYTES, "L1 entry 0x%" PRIx64, entry);
            return false;
        }
        if (!refer(f, entry & OFFSET_BITS, cs, "L2") || !refer_table(f, entry & OFFSET_BITS, i))
            return false;
    }
    for (uint64_t i = 0; i < f->table_entries; i++) {
        uint64_t block = entry_at(f, f->table + i * 8);

        if (block && !refer(f, block, cs, "refcount block"))
            return false;
    }
    return true;
}

static enum judge_verdict
compare_counts(const struct file *f)
{
    uint64_t counts = 1ULL << (f->cluster_bits - 1); /* of 16 bits in one block */
    enum judge_verdict verdict = JUDGE_CLEAN;

    for (uint64_t c = 0; c < f->clusters; c++) {
        uint64_t index = c / counts;
        uint64_t block = index < f->table_entries ? entry_at(f, f->table + index * 8) : 0;
        uint64_t count = block ? number_at(f, block + c % counts * 2, 2) : 0;

        if (count < f->references[c] || count > 1) {
            snprintf(f->why, WHY_BYTES, "cluster %" PRIu64 " is counted %" PRIu64 " times, used %u",
                     c, count, f->references[c]);
            return JUDGE_CORRUPT;
        }
        if (count > f->references[c]) {
            if (verdict == JUDGE_CLEAN)
                snprintf(f->why, WHY_BYTES, "cluster %" PRIu64 " has leaked", c);
            verdict = JUDGE_LEAKS;
        }
    }
    return verdict;
}

enum judge_verdict
judge_file(const uint8_t *bytes, uint64_t length, char *why)
{
    CLEANUP(free_charp) char *references = NULL;
    struct file f;

    why[0] = 0;
    if (!open_file(&f, bytes, length, why))
        return JUDGE_NO_IMAGE;
    references = xcalloc(f.clusters, sizeof(f.references[0]));
    f.references = (uint16_t *)references;
    return refer_all(&f) ? compare_counts(&f) : JUDGE_CORRUPT;
}

enum judge_verdict
judge_of_qemu(int status)
{
    return status == 0   ? JUDGE_CLEAN
           : status == 3 ? JUDGE_LEAKS
           : status == 2 ? JUDGE_CORRUPT
                         : JUDGE_NO_IMAGE;
}

uint64_t
judge_disk_size(const uint8_t *bytes, uint64_t length)
{
    const struct file f = {.bytes = bytes, .length = length};

    return entry_at(&f, 24);
}

void
judge_read_guest(const uint8_t *bytes, uint64_t length, uint8_t *guest, uint64_t size)
{
    char why[WHY_BYTES];
    struct file f;
    uint64_t cs;

    if (!open_file(&f, bytes, length, why)) {
        memset(guest, 0, size);
        return;
    }
    cs = 1ULL << f.cluster_bits;
    for (uint64_t at = 0; at < size; at += cs) {
        uint64_t cluster = at / cs, l1_index = cluster / (cs / 8), l2 = 0, entry = 0, there = 0;

        if (l1_index < f.l1_entries)
            l2 = entry_at(&f, f.l1 + l1_index * 8) & OFFSET_BITS;
        if (l2)
            entry = entry_at(&f, l2 + cluster % (cs / 8) * 8);
        if (entry & OFFSET_BITS && !(entry & ZERO) && (entry & OFFSET_BITS) < length)
            there = MIN(MIN(cs, size - at), length - (entry & OFFSET_BITS));
        if (there)
            memcpy(guest + at, bytes + (entry & OFFSET_BITS), there);
        memset(guest + at + there, 0, MIN(cs, size - at) - there);
    }
}
