#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"

static void part_done(struct io_op *op, struct err *error);

static struct qcow2_part *
new_part(struct qcow2_image *image)
{
    struct qcow2_part *part = image->free_parts;

    if (part)
        image->free_parts = part->next;
    else
        part = xcalloc(1, sizeof(*part));
    part->image = image;
    part->next = NULL;
    return part;
}

static void
put_part(struct qcow2_image *image, struct qcow2_part *part)
{
    part->next = image->free_parts;
    image->free_parts = part;
}

void
qcow2_parts_append(struct qcow2_image *image, struct qcow2_parts *parts, enum io_kind kind,
                   uint8_t *data, uint32_t length, uint64_t host)
{
    uint32_t direct = io_file_direct_length(&image->file, data, length, host);

    do {
        uint32_t piece = direct ? direct : length;
        struct qcow2_part *part = new_part(image);

        part->op = (struct io_op){.kind = kind,
                                  .fd = direct ? image->file.direct_fd : image->file.fd,
                                  .data = data,
                                  .length = piece,
                                  .offset = host,
                                  .done = part_done,
                                  .opaque = part};
        *(parts->last ? &parts->last->next : &parts->first) = part;
        parts->last = part;
        data += piece;
        host += piece;
        length -= piece;
        direct = 0;
    } while (length);
}

void
qcow2_parts_drop(struct qcow2_image *image, struct qcow2_parts *parts)
{
    struct qcow2_part *part = parts->first, *next;

    for (; part; part = next) {
        next = part->next;
        put_part(image, part);
    }
    *parts = (struct qcow2_parts){0};
}

/* One part less to wait for; the last one finishes the request.  A failed write ends the image, a
 * failed read does not: what is on the disk is what it was. */
static void
finish_part(struct qcow2_image *image, struct qcow2_pending *pending, enum io_kind kind,
            struct err *error)
{
    struct disk_request *request = pending->request;

    if (error && !pending->error) {
        pending->error = qcow2_describe(image, kind, error);
        if (kind != IO_READ)
            qcow2_fail(image, err_copy(pending->error));
    } else {
        err_free(error);
    }
    if (--pending->left)
        return;
    error = take(pending->error);
    pending->next = image->free_pendings;
    image->free_pendings = pending;
    image->delivered++;
    request->impl = NULL;
    request->done(request, error);
}

static void
part_done(struct io_op *op, struct err *error)
{
    struct qcow2_part *part = op->opaque;
    struct qcow2_image *image = part->image;
    struct qcow2_pending *pending = part->pending;
    enum io_kind kind = op->kind;

    image->parts_in_flight--;
    put_part(image, part);
    finish_part(image, pending, kind, error);
}

void
qcow2_parts_pump(struct qcow2_image *image)
{
    while (image->backlog.first && image->parts_in_flight < image->max_parts) {
        struct qcow2_part *part = image->backlog.first;
        struct err *error = NULL;

        image->backlog.first = part->next;
        if (!image->backlog.first)
            image->backlog.last = NULL;
        image->parts_in_flight++;
        if (io_queue(image->io, &part->op, &error) < 0)
            part_done(&part->op, error);
    }
}

void
qcow2_parts_start(struct qcow2_image *image, struct disk_request *request,
                  struct qcow2_parts *parts)
{
    struct qcow2_pending *pending = image->free_pendings;

    if (pending)
        image->free_pendings = pending->next;
    else
        pending = xcalloc(1, sizeof(*pending));
    *pending = (struct qcow2_pending){.request = request};
    request->impl = pending;
    for (struct qcow2_part *part = parts->first; part; part = part->next) {
        part->pending = pending;
        pending->left++;
    }
    *(image->backlog.last ? &image->backlog.last->next : &image->backlog.first) = parts->first;
    image->backlog.last = parts->last;
    qcow2_parts_pump(image);
}

void
qcow2_parts_done(struct qcow2_image *image)
{
    while (image->free_parts) {
        struct qcow2_part *part = image->free_parts;

        image->free_parts = part->next;
        free(part);
    }
    while (image->free_pendings) {
        struct qcow2_pending *pending = image->free_pendings;

        image->free_pendings = pending->next;
        free(pending);
    }
}
