/* The limit that the storage sets: copies a disk into a raw file with the source, the buffers and the
 * file I/O of a migration, and nothing else.  No plan, no map, no checkpoints: what v2c-copy takes
 * beyond this is the price of QCOW2 and of safety.  Requests of zeroes are not written, as there.
 * For benchmarks; see docs/internals/bench.md. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "io/io.h"
#include "source/source.h"

#define IN_FLIGHT 16U

struct raw;

/* One slot's way. */
struct piece {
    struct raw *raw;
    struct disk_request read;
    struct io_op write;
    struct piece *next; /* free, or waiting to be written */
};

struct raw {
    struct disk_pool *pool;
    struct disk_source *source;
    struct io_file target;
    struct io *io;
    struct extents plan;
    size_t extent;   /* that is being read */
    uint64_t offset; /* ditto */
    struct piece *pieces, *free_pieces, *waiting, **waiting_end;
    unsigned reads, writes, most_reads, most_writes, most_pieces, used_pieces;
    uint64_t written, zeroes;
    struct err *error; /* the first one */
};

static void
note(struct raw *raw, struct err *error)
{
    if (raw->error)
        err_free(error);
    else
        raw->error = error;
}

static void
release(struct piece *piece)
{
    disk_pool_put(piece->raw->pool, piece->read.slot);
    piece->next = piece->raw->free_pieces;
    piece->raw->free_pieces = piece;
    piece->raw->used_pieces--;
}

static void
write_done(struct io_op *op, struct err *error)
{
    struct piece *piece = op->opaque;

    piece->raw->writes--;
    if (error)
        note(piece->raw, error);
    else
        piece->raw->written += op->length;
    release(piece);
}

static void
read_done(struct disk_request *request, struct err *error)
{
    static const uint8_t zeroes[16];
    struct piece *piece = request->opaque;
    struct raw *raw = piece->raw;
    const uint8_t *data = request->slot->data;

    raw->reads--;
    if (error) {
        note(raw, error);
        release(piece);
    } else if (!memcmp(data, zeroes, sizeof(zeroes)) &&
               !memcmp(data, data + sizeof(zeroes), request->length - sizeof(zeroes))) {
        raw->zeroes += request->length;
        release(piece);
    } else {
        piece->next = NULL;
        *raw->waiting_end = piece;
        raw->waiting_end = &piece->next;
    }
}

static void
queue_writes(struct raw *raw)
{
    while (raw->waiting && raw->writes < raw->most_writes) {
        struct piece *piece = raw->waiting;
        struct disk_request *read = &piece->read;
        struct err *error = NULL;

        raw->waiting = piece->next;
        if (!raw->waiting)
            raw->waiting_end = &raw->waiting;
        piece->write = (struct io_op){
            .kind = IO_WRITE,
            .fd = io_file_choose(&raw->target, read->slot->data, read->length, read->offset),
            .data = read->slot->data,
            .length = read->length,
            .offset = read->offset,
            .done = write_done,
            .opaque = piece};
        raw->writes++;
        if (io_queue(raw->io, &piece->write, &error) < 0)
            write_done(&piece->write, error);
    }
}

/* The next range to read; false at the end. */
static bool
next_range(struct raw *raw, uint64_t *ret_offset, uint32_t *ret_length)
{
    const struct extent *e;

    if (raw->extent == raw->plan.count || raw->error)
        return false;
    e = &raw->plan.items[raw->extent];
    *ret_offset = raw->offset = MAX(raw->offset, e->offset);
    *ret_length = (uint32_t)MIN(DISK_MAX_REQUEST - raw->offset % DISK_MAX_REQUEST,
                                e->offset + e->length - raw->offset);
    raw->offset += *ret_length;
    if (raw->offset == e->offset + e->length)
        raw->extent++;
    return true;
}

static void
queue_reads(struct raw *raw)
{
    while (raw->used_pieces < raw->most_pieces && raw->reads < raw->most_reads) {
        struct piece *piece = raw->free_pieces;
        struct err *error = NULL;
        uint64_t offset;
        uint32_t length;

        if (!next_range(raw, &offset, &length))
            return;
        raw->free_pieces = piece->next;
        piece->read = (struct disk_request){.offset = offset,
                                            .length = length,
                                            .slot = disk_pool_get(raw->pool),
                                            .done = read_done,
                                            .opaque = piece};
        raw->used_pieces++;
        raw->reads++;
        if (raw->source->ops->read(raw->source, &piece->read, &error) < 0)
            read_done(&piece->read, error);
    }
}

static int
copy(struct raw *raw, struct err **err)
{
    struct disk_source *source = raw->source;
    unsigned read, written;

    do {
        struct pollfd fds[] = {{.fd = source->poll_fd, .events = POLLIN},
                               {.fd = io_poll_fd(raw->io), .events = POLLIN}};

        queue_reads(raw);
        if (source->ops->submit(source, err) < 0 || source->ops->reap(source, &read, err) < 0)
            return -1;
        queue_writes(raw);
        if (io_submit(raw->io, err) < 0 || io_reap(raw->io, &written, err) < 0)
            return -1;
        if (!read && !written && (raw->reads || raw->writes))
            (void)poll(fds, ARRAY_SIZE(fds), -1);
    } while (raw->reads || raw->writes || raw->waiting || raw->extent < raw->plan.count);
    return raw->error ? err_move(err, &raw->error) : 0;
}

static int
open_both(struct raw *raw, const char *from, const char *to, bool is_buffered, struct err **err)
{
    int errnum;

    raw->pool = disk_pool_new(disk_pool_share(1), err);
    if (!raw->pool)
        return -1;
    if (!strncmp(from, "nbd", 3)
            ? source_nbd_open(from, IN_FLIGHT, &raw->source, err) < 0
            : source_file_open(from, raw->pool, IN_FLIGHT, &raw->source, err) < 0)
        return -1;
    if (raw->source->ops->extents(raw->source, 0, raw->source->size, &raw->plan, err) < 0 ||
        extents_normalize(&raw->plan, raw->source->size, 0, true, err) < 0)
        return -1;
    if (io_file_open(to, O_RDWR | O_CREAT | O_EXCL, 0600, is_buffered, &raw->target, &errnum) < 0)
        return err_set_errno(err, E_TARGET_CREATE, errnum, "%s", to);
    if (ftruncate(raw->target.fd, (off_t)raw->source->size) < 0)
        return err_set_errno(err, E_TARGET_WRITE, errno, "%s", to);
    return io_new(io_file_backend(&raw->target, IO_WRITE), IN_FLIGHT, raw->pool->base,
                  raw->pool->slot_count * DISK_MAX_REQUEST, &raw->io, err);
}

static int
run(struct raw *raw, const char *from, const char *to, bool is_buffered, struct err **err)
{
    if (open_both(raw, from, to, is_buffered, err) < 0)
        return -1;
    raw->most_reads = MIN(IN_FLIGHT, raw->source->max_in_flight);
    raw->most_writes = io_file_depth(&raw->target, IO_WRITE, IN_FLIGHT);
    raw->most_pieces = MIN(raw->most_reads + 2 * raw->most_writes, (unsigned)raw->pool->slot_count);
    raw->pieces = xcalloc(raw->pool->slot_count, sizeof(raw->pieces[0]));
    raw->waiting_end = &raw->waiting;
    for (size_t i = 0; i < raw->pool->slot_count; i++) {
        raw->pieces[i].raw = raw;
        raw->pieces[i].next = raw->free_pieces;
        raw->free_pieces = &raw->pieces[i];
    }
    if (copy(raw, err) < 0)
        return -1;
    if (fdatasync(raw->target.fd) < 0)
        return err_set_errno(err, E_TARGET_WRITE, errno, "%s", to);
    return 0;
}

int
main(int argc, char **argv)
{
    bool is_buffered = argc == 4 && !strcmp(argv[3], "--buffered");
    struct raw raw = {.target = IO_FILE_NONE};
    CLEANUP(err_freep) struct err *error = NULL;
    int status = 0;

    if (argc != 3 && !is_buffered) {
        fprintf(stderr, "usage: v2c-raw RAW|NBD-URI RAW [--buffered]\n");
        return 2;
    }
    if (run(&raw, argv[1], argv[2], is_buffered, &error) < 0) {
        fprintf(stderr, "v2c-raw: %s\n", err_message(error));
        status = 1;
    } else {
        printf("%s: %" PRIu64 " MiB copied, %" PRIu64 " MiB zeroes\n", argv[2],
               (uint64_t)(raw.written / MIB), (uint64_t)(raw.zeroes / MIB));
    }
    disk_source_closep(&raw.source); /* what is in flight comes back before its buffers go */
    io_free(raw.io);
    io_file_close(&raw.target);
    disk_pool_free(raw.pool);
    vec_done(&raw.plan);
    free(raw.pieces);
    err_free(raw.error);
    return status;
}
