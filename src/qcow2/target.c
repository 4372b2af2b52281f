#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

/* ---- from guest to host ----------------------------------------------------------------------- */

/* The host cluster a write goes to, allocated where needed.  @is_whole: all of the cluster that the
 * guest can see is written. */
static int
place_cluster(struct qcow2_image *image, uint64_t guest_cluster, bool is_whole, uint64_t *ret_host,
              struct err **err)
{
    uint64_t index = guest_cluster % image->g.l2_entries, entry, host;
    struct qcow2_table *table;

    if (qcow2_map_table(image, guest_cluster, true, &table, err) < 0)
        return -1;
    entry = qcow2_table_get(table, index);
    host = entry & QCOW2_OFFSET_MASK;
    /* I5: what a ZERO cluster held must not shine through beside a partial write. */
    if (!host || (entry & QCOW2_ZERO && !is_whole)) {
        if (qcow2_alloc_cluster(image, &host, err) < 0)
            return -1;
        entry = QCOW2_ZERO; /* so that it is set below */
    }
    if (entry & QCOW2_ZERO)
        qcow2_table_set(table, index, host | QCOW2_COPIED);
    *ret_host = host;
    return 0;
}

/* Cuts a request into writes that are contiguous in the file. */
static int
place_request(struct qcow2_image *image, const struct disk_request *request,
              struct qcow2_parts *parts, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    uint8_t *data = request->slot->data + request->slot_offset;
    uint64_t at = request->offset, end = at + request->length;
    uint64_t run_host = 0, run_length = 0;

    while (at < end) {
        uint64_t cluster = at >> g->cluster_bits, in_cluster = at & (g->cluster_size - 1);
        uint64_t cluster_end = MIN((cluster + 1) << g->cluster_bits, g->size);
        uint64_t length = MIN(cluster_end, end) - at, host;
        bool is_whole = in_cluster == 0 && at + length == cluster_end;

        if (place_cluster(image, cluster, is_whole, &host, err) < 0)
            return -1;
        host += in_cluster;
        if (run_length && run_host + run_length != host) {
            qcow2_parts_append(image, parts, IO_WRITE, data, (uint32_t)run_length, run_host);
            data += run_length;
            run_length = 0;
        }
        if (!run_length)
            run_host = host;
        run_length += length;
        at += length;
    }
    qcow2_parts_append(image, parts, IO_WRITE, data, (uint32_t)run_length, run_host);
    return 0;
}

int
qcow2_check_range(const struct qcow2_image *image, uint64_t offset, uint64_t length,
                  struct err **err)
{
    if (length == 0 || offset % DISK_SECTOR || length % DISK_SECTOR || offset > image->g.size ||
        length > image->g.size - offset)
        return err_set(err, E_BUG, "%s: %" PRIu64 " bytes at %" PRIu64 " do not fit the disk",
                       image->path, length, offset);
    return 0;
}

int
qcow2_check_request(struct qcow2_image *image, const struct disk_request *request, struct err **err)
{
    uint64_t last = (request->offset + request->length - 1) >> image->g.cluster_bits;

    if (qcow2_check_failure(image, err) < 0 ||
        qcow2_check_range(image, request->offset, request->length, err) < 0)
        return -1;
    if (request->slot_offset > DISK_MAX_REQUEST ||
        request->length > DISK_MAX_REQUEST - request->slot_offset)
        return err_set(err, E_BUG, "%s: a request larger than its slot", image->path);
    for (uint64_t c = request->offset >> image->g.cluster_bits;
         image->zero_writes_in_flight && c <= last; c++)
        if (qcow2_wait_zeroes(image, c, err) < 0)
            return -1;
    return 0;
}

static int
qcow2_write(struct disk_target *target, struct disk_request *request, struct err **err)
{
    struct qcow2_image *image = (struct qcow2_image *)target;
    struct qcow2_parts parts = {0};

    if (qcow2_check_request(image, request, err) < 0)
        return -1;
    if (place_request(image, request, &parts, err) < 0) {
        qcow2_parts_drop(image, &parts);
        return -1;
    }
    qcow2_parts_start(image, request, &parts);
    return 0;
}

/* ---- zeroes ----------------------------------------------------------------------------------- */

static void
zero_write_done(struct io_op *op, struct err *error)
{
    struct qcow2_zero_write *zero = op->opaque;

    zero->is_busy = false;
    zero->image->zero_writes_in_flight--;
    if (error)
        qcow2_fail(zero->image, qcow2_describe(zero->image, IO_WRITE, error));
}

int
qcow2_wait_zeroes(struct qcow2_image *image, uint64_t guest_cluster, struct err **err)
{
    struct err *error = NULL;

    for (unsigned i = 0; i < MAX_ZERO_WRITES; i++) {
        const struct qcow2_zero_write *zero = &image->zero_writes[i];

        while (zero->is_busy &&
               (guest_cluster == UINT64_MAX || zero->guest_cluster == guest_cluster))
            if (io_drain(image->meta, io_in_flight(image->meta) - 1, &error) < 0) {
                error = qcow2_describe(image, IO_WRITE, error);
                return err_move(err, &error);
            }
    }
    return qcow2_check_failure(image, err);
}

static int
queue_zeroes(struct qcow2_image *image, uint64_t guest_cluster, uint64_t host, uint32_t length,
             struct err **err)
{
    struct qcow2_zero_write *zero = image->zero_writes;
    struct err *error = NULL;

    if (image->zero_writes_in_flight == MAX_ZERO_WRITES &&
        qcow2_wait_zeroes(image, image->zero_writes[0].guest_cluster, err) < 0)
        return -1;
    while (zero->is_busy)
        zero++;
    zero->guest_cluster = guest_cluster;
    zero->op = (struct io_op){.kind = IO_WRITE,
                              .fd = io_file_choose(&image->file, image->zeroes, length, host),
                              .data = image->zeroes,
                              .length = length,
                              .offset = host,
                              .done = zero_write_done,
                              .opaque = zero};
    if (io_queue(image->meta, &zero->op, &error) < 0) {
        error = qcow2_describe(image, IO_WRITE, error);
        return err_move(err, &error);
    }
    zero->is_busy = true;
    image->zero_writes_in_flight++;
    return 0;
}

/* Part of a cluster: zeroes are written, where anything is. */
static int
zero_part(struct qcow2_image *image, uint64_t offset, uint64_t length, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    uint64_t cluster = offset >> g->cluster_bits, entry, host;
    struct qcow2_table *table;

    if (qcow2_wait_zeroes(image, cluster, err) < 0 ||
        qcow2_map_table(image, cluster, false, &table, err) < 0)
        return -1;
    entry = table ? qcow2_table_get(table, cluster % g->l2_entries) : 0;
    if (!(entry & QCOW2_OFFSET_MASK) || entry & QCOW2_ZERO)
        return 0;
    host = (entry & QCOW2_OFFSET_MASK) + (offset & (g->cluster_size - 1));
    while (length) {
        uint32_t piece = (uint32_t)MIN(length, ZERO_BYTES);

        if (queue_zeroes(image, cluster, host, piece, err) < 0)
            return -1;
        host += piece;
        length -= piece;
    }
    return 0;
}

/* [first, end) of whole clusters that one L2 table maps. */
static int
zero_clusters(struct qcow2_image *image, uint64_t first, uint64_t end, struct err **err)
{
    struct qcow2_table *table;

    for (uint64_t c = first; image->zero_writes_in_flight && c < end; c++)
        if (qcow2_wait_zeroes(image, c, err) < 0)
            return -1;
    if (qcow2_map_table(image, first, false, &table, err) < 0)
        return -1;
    for (uint64_t c = first; table && c < end; c++) {
        uint64_t entry = qcow2_table_get(table, c % image->g.l2_entries);

        if (entry & QCOW2_OFFSET_MASK && !(entry & QCOW2_ZERO))
            qcow2_table_set(table, c % image->g.l2_entries, entry | QCOW2_ZERO);
    }
    return 0;
}

static int
qcow2_zero(struct disk_target *target, uint64_t offset, uint64_t length, struct err **err)
{
    struct qcow2_image *image = (struct qcow2_image *)target;
    const struct qcow2_geometry *g = &image->g;
    uint64_t end = offset + length;

    if (qcow2_check_failure(image, err) < 0 || qcow2_check_range(image, offset, length, err) < 0)
        return -1;
    while (offset < end) {
        uint64_t cluster = offset >> g->cluster_bits;
        uint64_t cluster_end = MIN((cluster + 1) << g->cluster_bits, g->size);
        uint64_t last_cluster = end >> g->cluster_bits; /* not included */

        if (end == g->size)
            last_cluster = g->guest_clusters;
        if (offset & (g->cluster_size - 1) || end < cluster_end) {
            cluster_end = MIN(cluster_end, end);
            if (zero_part(image, offset, cluster_end - offset, err) < 0)
                return -1;
            offset = cluster_end;
            continue;
        }
        last_cluster = MIN(last_cluster, round_up(cluster + 1, g->l2_entries));
        if (zero_clusters(image, cluster, last_cluster, err) < 0)
            return -1;
        offset = MIN(last_cluster << g->cluster_bits, end);
    }
    return 0;
}

/* ---- the rest of the contract ----------------------------------------------------------------- */

static int
qcow2_submit(struct disk_target *target, struct err **err)
{
    struct qcow2_image *image = (struct qcow2_image *)target;
    struct err *error = NULL;

    if (io_submit(image->io, &error) < 0 || io_submit(image->meta, &error) < 0) {
        error = qcow2_describe(image, IO_WRITE, error);
        return err_move(err, &error);
    }
    return 0;
}

static int
qcow2_reap(struct disk_target *target, unsigned *ret_count, struct err **err)
{
    struct qcow2_image *image = (struct qcow2_image *)target;
    struct err *error = NULL;
    unsigned count, meta_count;

    image->delivered = 0;
    if (io_reap(image->io, &count, &error) < 0 || io_reap(image->meta, &meta_count, &error) < 0) {
        error = qcow2_describe(image, IO_WRITE, error);
        return err_move(err, &error);
    }
    qcow2_parts_pump(image);
    if (count || image->delivered)
        if (qcow2_submit(target, err) < 0)
            return -1;
    *ret_count = image->delivered;
    return 0;
}

static void
qcow2_close(struct disk_target *target)
{
    struct qcow2_image *image = (struct qcow2_image *)target;

    qcow2_closep(&image);
}

const struct disk_target_ops qcow2_target_ops = {
    .name = "qcow2",
    .write = qcow2_write,
    .read = qcow2_read,
    .zero = qcow2_zero,
    .submit = qcow2_submit,
    .reap = qcow2_reap,
    .checkpoint = qcow2_checkpoint_start,
    .close = qcow2_close,
};
