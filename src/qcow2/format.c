#include "qcow2/format.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define QCOW2_RESERVE_BITS 16U /* smaller clusters would need tables that are too large */

static void
put32(uint8_t *p, uint32_t value)
{
    value = htobe32(value);
    memcpy(p, &value, sizeof(value));
}

static void
put64(uint8_t *p, uint64_t value)
{
    value = htobe64(value);
    memcpy(p, &value, sizeof(value));
}

static uint32_t
get32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return be32toh(value);
}

static uint64_t
get64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return be64toh(value);
}

static uint64_t
divide_up(uint64_t value, uint64_t unit)
{
    return value / unit + (value % unit != 0);
}

/* What follows from size and cluster size alone. */
static int
geometry_of_disk(struct qcow2_geometry *g, uint64_t size, unsigned cluster_bits, struct err **err)
{
    if (size == 0 || size % DISK_SECTOR)
        return err_set(err, E_TARGET_SIZE, "%" PRIu64 " bytes is not whole sectors", size);
    if (cluster_bits < QCOW2_MIN_CLUSTER_BITS || cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return err_set(err, E_TARGET_SIZE, "clusters of 2^%u bytes are not supported",
                       cluster_bits);
    *g = (struct qcow2_geometry){.size = size, .cluster_bits = cluster_bits};
    g->cluster_size = 1ULL << cluster_bits;
    g->guest_clusters = divide_up(size, g->cluster_size);
    g->l2_entries = g->cluster_size / 8;
    g->span_clusters = g->cluster_size / 2;
    g->l1_entries = divide_up(g->guest_clusters, g->l2_entries);
    return 0;
}

/* Spans of a fully mapped disk. */
static uint64_t
count_spans(const struct qcow2_geometry *g)
{
    return divide_up(g->guest_clusters + 2 * g->l1_entries, g->span_clusters) + 1;
}

/* Where the fixed parts are; -1 when they would fill more than half of span 0. */
static int
place_tables(struct qcow2_geometry *g, uint64_t table_bytes, uint64_t l1_bytes)
{
    g->table_bytes = table_bytes;
    g->table_entries = table_bytes / 8;
    g->table_offset = g->cluster_size;
    g->l1_bytes = l1_bytes;
    g->l1_offset = g->table_offset + table_bytes;
    g->refblock0_offset = g->l1_offset + l1_bytes;
    g->first_free = g->refblock0_offset / g->cluster_size + 1;
    return g->first_free > g->span_clusters / 2 ? -1 : 0;
}

int
qcow2_geometry_init(struct qcow2_geometry *geometry, uint64_t size, unsigned cluster_bits,
                    struct err **err)
{
    struct qcow2_geometry g, reserved;
    uint64_t l1_bytes, table_bytes;

    if (geometry_of_disk(&g, size, cluster_bits, err) < 0 ||
        geometry_of_disk(&reserved,
                         cluster_bits >= QCOW2_RESERVE_BITS ? MAX(size, QCOW2_RESERVE) : size,
                         cluster_bits, err) < 0)
        return -1;
    l1_bytes = round_up(reserved.l1_entries * 8, g.cluster_size);
    /* Four times what the disk needs when fully mapped: clusters are not used again before finish. */
    table_bytes = round_up(MAX(count_spans(&g) * 4, count_spans(&reserved)) * 8, g.cluster_size);
    if (l1_bytes > QCOW2_MAX_L1_BYTES || table_bytes > QCOW2_MAX_TABLE_BYTES ||
        place_tables(&g, table_bytes, l1_bytes) < 0)
        return err_set(err, E_TARGET_SIZE,
                       "%" PRIu64 " bytes is too large for clusters of %" PRIu64, size,
                       g.cluster_size);
    *geometry = g;
    return 0;
}

int
qcow2_geometry_adopt(struct qcow2_geometry *geometry, const struct qcow2_header *header,
                     uint64_t size, struct err **err)
{
    struct qcow2_geometry g;
    uint64_t cs;

    if (geometry_of_disk(&g, size, header->cluster_bits, err) < 0)
        return -1;
    cs = g.cluster_size;
    if (place_tables(&g, header->table_clusters * cs, round_up(header->l1_entries * 8, cs)) < 0 ||
        header->l1_offset != g.l1_offset || header->table_offset != g.table_offset ||
        header->refcount_order != 4)
        return err_set(err, E_TARGET_FORMAT, "its layout is not ours: another program changed it");
    if (g.l1_entries > qcow2_l1_capacity(&g) || count_spans(&g) > g.table_entries) {
        err_set(err, E_TARGET_SIZE,
                "its tables were made for %" PRIu64 " bytes and have no room for %" PRIu64,
                header->size, size);
        return err_hint(err, "run `v2c-engine forget` and begin anew: a new file has room to grow");
    }
    *geometry = g;
    return 0;
}

void
qcow2_header_encode(const struct qcow2_geometry *geometry, const char *owner_id, uint8_t *page)
{
    uint8_t *extension = page + QCOW2_HEADER_LENGTH;

    memset(page, 0, QCOW2_PAGE);
    put32(page, QCOW2_MAGIC);
    put32(page + 4, 3);
    put32(page + 20, geometry->cluster_bits);
    put64(page + 24, geometry->size);
    put32(page + 36, (uint32_t)qcow2_l1_capacity(geometry));
    put64(page + 40, geometry->l1_offset);
    put64(page + 48, geometry->table_offset);
    put32(page + 56, (uint32_t)(geometry->table_bytes / geometry->cluster_size));
    put32(page + 96, 4);
    put32(page + 100, QCOW2_HEADER_LENGTH);
    put32(extension, QCOW2_OWNER_EXTENSION);
    put32(extension + 4, QCOW2_ID_SIZE);
    memcpy(extension + 8, owner_id, strnlen(owner_id, QCOW2_ID_SIZE - 1));
    /* The end extension is eight zero bytes, already there. */
}

void
qcow2_header_grow(const struct qcow2_geometry *geometry, uint8_t *page)
{
    put64(page + 24, geometry->size);
    put32(page + 36, (uint32_t)qcow2_l1_capacity(geometry));
}

static int
refuse_bitmaps(struct err **err)
{
    return err_set(err, E_TARGET_FORMAT, "it has bitmaps (see `qemu-img bitmap --remove`)");
}

/* Takes one extension of @size bytes at @data. */
static int
decode_extension(uint32_t type, const uint8_t *data, uint32_t size, struct qcow2_header *header,
                 struct err **err)
{
    switch (type) {
    case QCOW2_OWNER_EXTENSION:
        if (size != QCOW2_ID_SIZE || data[QCOW2_ID_SIZE - 1] != 0)
            return err_set(err, E_TARGET_FORMAT, "the owner in the header is damaged");
        memcpy(header->owner_id, data, QCOW2_ID_SIZE);
        header->is_ours = header->version == 3;
        return 0;
    case QCOW2_NAMES_EXTENSION:
        return 0;
    case QCOW2_BITMAPS_EXTENSION: /* their clusters would look like leaks */
        return refuse_bitmaps(err);
    default:
        header->has_foreign_extension = true;
        return 0;
    }
}

/* They end with type 0, or with the bytes we have of cluster 0. */
static int
decode_extensions(const uint8_t *data, size_t length, size_t at, struct qcow2_header *header,
                  struct err **err)
{
    while (at + 8 <= length) {
        uint32_t type = get32(data + at), size = get32(data + at + 4);

        if (type == 0)
            return 0;
        at += 8;
        if (size > length - at)
            return err_set(err, E_TARGET_FORMAT, "a header extension is larger than the header");
        if (decode_extension(type, data + at, size, header, err) < 0)
            return -1;
        at += MIN(round_up(size, 8), length - at);
    }
    return 0;
}

/* The one that explains most comes first. */
static int
refuse_incompatible(uint64_t features, struct err **err)
{
    static const char *const names[] = {"is marked dirty: its refcounts may be wrong "
                                        "(`qemu-img check -r all`)",
                                        "is marked corrupt", "keeps its data in another file",
                                        "has compression that is not zlib",
                                        "has extended L2 entries"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (features & 1ULL << i)
            return err_set(err, E_TARGET_FORMAT, "it %s", names[i]);
    if (features)
        return err_set(err, E_TARGET_FORMAT, "it uses incompatible features 0x%" PRIx64, features);
    return 0;
}

/* What a QCOW2 file may have and ours never do. */
static int
refuse_features(const uint8_t *data, unsigned version, struct err **err)
{
    if (get64(data + 8) || get32(data + 16))
        return err_set(err, E_TARGET_FORMAT, "it has a backing file");
    if (get32(data + 32))
        return err_set(err, E_TARGET_FORMAT, "it is encrypted");
    if (get32(data + 60))
        return err_set(err, E_TARGET_FORMAT, "it has internal snapshots");
    if (version == 2)
        return 0;
    if (refuse_incompatible(get64(data + 72), err) < 0)
        return -1;
    if (get64(data + 88) & 1)
        return refuse_bitmaps(err);
    if (get64(data + 88))
        return err_set(err, E_TARGET_FORMAT, "it uses autoclear features 0x%" PRIx64,
                       get64(data + 88));
    return 0;
}

/* Bounds that let the rest compute without overflow. */
static int
check_ranges(const struct qcow2_header *h, uint32_t header_length, struct err **err)
{
    uint64_t cs;

    if (h->cluster_bits < 9 || h->cluster_bits > 21)
        return err_set(err, E_TARGET_FORMAT, "clusters of 2^%u bytes", h->cluster_bits);
    cs = 1ULL << h->cluster_bits;
    if (header_length < (h->version == 2 ? QCOW2_HEADER_LENGTH_2 : 104) || header_length % 8 ||
        header_length > cs)
        return err_set(err, E_TARGET_FORMAT, "a header of %" PRIu32 " bytes", header_length);
    if (h->refcount_order > 6)
        return err_set(err, E_TARGET_FORMAT, "refcounts of 2^%u bits", h->refcount_order);
    if (h->size == 0 || h->size % DISK_SECTOR || h->size > 1ULL << 56)
        return err_set(err, E_TARGET_FORMAT, "a disk of %" PRIu64 " bytes", h->size);
    if (h->l1_entries > QCOW2_MAX_L1_BYTES / 8 ||
        h->l1_entries < divide_up(divide_up(h->size, cs), cs / 8))
        return err_set(err, E_TARGET_FORMAT, "an L1 table of %" PRIu64 " entries", h->l1_entries);
    if (h->table_clusters == 0 || h->table_clusters > QCOW2_MAX_TABLE_BYTES / cs)
        return err_set(err, E_TARGET_FORMAT, "a refcount table of %" PRIu64 " clusters",
                       h->table_clusters);
    if (h->l1_offset % cs || h->table_offset % cs || h->l1_offset > 1ULL << 56 ||
        h->table_offset > 1ULL << 56)
        return err_set(err, E_TARGET_FORMAT, "its tables lie at impossible offsets");
    return 0;
}

int
qcow2_header_decode(const uint8_t *data, size_t length, struct qcow2_header *ret_header,
                    struct err **err)
{
    struct qcow2_header h = {.refcount_order = 4};
    uint32_t header_length = QCOW2_HEADER_LENGTH_2;

    if (length < QCOW2_HEADER_LENGTH_2 || get32(data) != QCOW2_MAGIC)
        return err_set(err, E_TARGET_FORMAT, "it is no QCOW2 image");
    h.version = get32(data + 4);
    if ((h.version != 2 && h.version != 3) || (h.version == 3 && length < 104))
        return err_set(err, E_TARGET_FORMAT, "it is QCOW2 of version %u, not 2 or 3", h.version);
    if (refuse_features(data, h.version, err) < 0)
        return -1;
    h.cluster_bits = get32(data + 20);
    h.size = get64(data + 24);
    h.l1_entries = get32(data + 36);
    h.l1_offset = get64(data + 40);
    h.table_offset = get64(data + 48);
    h.table_clusters = get32(data + 56);
    if (h.version == 3) {
        h.compatible_features = get64(data + 80);
        h.refcount_order = get32(data + 96);
        header_length = get32(data + 100);
    }
    if (check_ranges(&h, header_length, err) < 0)
        return -1;
    /* What follows cluster 0 is not the header's. */
    if (decode_extensions(data, MIN(length, 1ULL << h.cluster_bits), header_length, &h, err) < 0)
        return -1;
    *ret_header = h;
    return 0;
}
