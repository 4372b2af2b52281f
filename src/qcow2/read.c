#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

/* Where the bytes of a guest cluster are; *ret_host is 0 where it reads as zeroes. */
static int
find_cluster(struct qcow2_image *image, uint64_t guest_cluster, uint64_t *ret_host,
             struct err **err)
{
    struct qcow2_table *table;
    uint64_t entry;

    if (qcow2_map_table(image, guest_cluster, false, &table, err) < 0)
        return -1;
    entry = table ? qcow2_table_get(table, guest_cluster % image->g.l2_entries) : 0;
    *ret_host = entry & QCOW2_ZERO ? 0 : entry & QCOW2_OFFSET_MASK;
    return 0;
}

/* What of a request is together in the file, or all zeroes. */
struct run {
    uint8_t *data;
    uint64_t host; /* 0: zeroes */
    uint64_t length;
};

static void
end_run(struct qcow2_image *image, struct run *run, struct qcow2_parts *parts)
{
    if (!run->length)
        return;
    if (run->host)
        qcow2_parts_append(image, parts, IO_READ, run->data, (uint32_t)run->length, run->host);
    else
        memset(run->data, 0, run->length);
    run->data += run->length;
    run->length = 0;
}

static int
find_request(struct qcow2_image *image, const struct disk_request *request,
             struct qcow2_parts *parts, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    struct run run = {.data = request->slot->data + request->slot_offset};
    uint64_t at = request->offset, end = at + request->length;

    while (at < end) {
        uint64_t cluster = at >> g->cluster_bits, host;
        uint64_t length = MIN((cluster + 1) << g->cluster_bits, end) - at;

        if (find_cluster(image, cluster, &host, err) < 0)
            return -1;
        if (host)
            host += at & (g->cluster_size - 1);
        if (run.length && host != (run.host ? run.host + run.length : 0))
            end_run(image, &run, parts);
        if (!run.length)
            run.host = host;
        run.length += length;
        at += length;
    }
    end_run(image, &run, parts);
    return 0;
}

int
qcow2_read(struct disk_target *target, struct disk_request *request, struct err **err)
{
    struct qcow2_image *image = (struct qcow2_image *)target;
    struct qcow2_parts parts = {0};

    if (qcow2_check_request(image, request, err) < 0)
        return -1;
    if (find_request(image, request, &parts, err) < 0) {
        qcow2_parts_drop(image, &parts);
        return -1;
    }
    /* All zeroes: a read of nothing, so that the completion comes from reap as any other. */
    if (!parts.first)
        qcow2_parts_append(image, &parts, IO_READ, request->slot->data, 0, 0);
    qcow2_parts_start(image, request, &parts);
    return 0;
}
