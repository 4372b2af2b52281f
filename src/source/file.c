#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "io/io.h"
#include "source/source.h"

#define DEFAULT_QUEUE_DEPTH 16U

/* One read in flight. */
struct file_read {
    struct io_op op;
    struct file_source *source;
    struct disk_request *request;
    struct file_read *next_free;
};

struct file_source {
    struct disk_source source;
    char *path;
    struct io_file file;
    struct io *io;
    struct file_read *reads; /* source.max_in_flight of them */
    struct file_read *free_reads;
};

/* ENXIO says that there is no data from here to the end. */
static int
file_extents(struct disk_source *source, uint64_t offset, uint64_t length, struct extents *extents,
             struct err **err)
{
    struct file_source *file = (struct file_source *)source;
    uint64_t end = offset + length, at = offset;

    if (end < offset || end > source->size)
        return err_set(err, E_BUG, "%s: extents beyond the end", file->path);
    while (at < end) {
        off_t data = lseek(file->file.fd, (off_t)at, SEEK_DATA), hole;
        uint64_t from, to;

        if (data < 0 && errno == ENXIO)
            return 0;
        hole = data < 0 ? -1 : lseek(file->file.fd, data, SEEK_HOLE);
        if (hole <= data) { /* the file system or device cannot tell */
            vec_push(extents, ((struct extent){at, end - at}));
            return 0;
        }
        from = MAX(round_down((uint64_t)data, DISK_SECTOR), at);
        to = MIN(round_up((uint64_t)hole, DISK_SECTOR), end);
        if (from < to)
            vec_push(extents, ((struct extent){from, to - from}));
        at = MAX(to, at + DISK_SECTOR);
    }
    return 0;
}

static void
file_read_done(struct io_op *op, struct err *error)
{
    struct file_read *read = op->opaque;
    struct file_source *file = read->source;
    struct disk_request *request = read->request;
    struct err *mine = NULL;

    read->next_free = file->free_reads;
    file->free_reads = read;
    if (error) {
        err_set(&mine, E_SOURCE_READ, "%s: %s", file->path, err_message(error));
        err_free(error);
    }
    request->done(request, mine);
}

static int
file_read(struct disk_source *source, struct disk_request *request, struct err **err)
{
    struct file_source *file = (struct file_source *)source;
    struct file_read *read = file->free_reads;
    uint8_t *data = request->slot->data + request->slot_offset;

    if (!read)
        return err_set(err, E_BUG, "%s: more reads than max_in_flight", file->path);
    if (request->offset > source->size || request->length > source->size - request->offset)
        return err_set(err, E_BUG, "%s: read at %" PRIu64 " is beyond the end", file->path,
                       request->offset);
    read->request = request;
    read->op = (struct io_op){
        .kind = IO_READ,
        .fd = io_file_choose(&file->file, data, request->length, request->offset),
        .data = data,
        .length = request->length,
        .offset = request->offset,
        .done = file_read_done,
        .opaque = read,
    };
    if (io_queue(file->io, &read->op, err) < 0)
        return -1;
    file->free_reads = read->next_free;
    return 0;
}

static int
file_submit(struct disk_source *source, struct err **err)
{
    return io_submit(((struct file_source *)source)->io, err);
}

static int
file_reap(struct disk_source *source, unsigned *ret_count, struct err **err)
{
    return io_reap(((struct file_source *)source)->io, ret_count, err);
}

static void
file_close(struct disk_source *source)
{
    struct file_source *file = (struct file_source *)source;

    io_free(file->io);
    io_file_close(&file->file);
    free(file->reads);
    free(file->path);
    free(file);
}

static const struct disk_source_ops file_ops = {
    .name = "file",
    .extents = file_extents,
    .read = file_read,
    .submit = file_submit,
    .reap = file_reap,
    .close = file_close,
};

static int
find_size(struct file_source *file, struct err **err)
{
    struct stat st;
    off_t size;

    if (fstat(file->file.fd, &st) < 0)
        return err_set_errno(err, E_SOURCE_OPEN, errno, "%s", file->path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(err, E_SOURCE_OPEN, "%s is neither a file nor a block device", file->path);
    size = lseek(file->file.fd, 0, SEEK_END);
    if (size < 0)
        return err_set_errno(err, E_SOURCE_OPEN, errno, "%s", file->path);
    if (size == 0 || size % DISK_SECTOR)
        return err_set(err, E_SOURCE_SIZE, "%s: %jd bytes is not whole sectors", file->path,
                       (intmax_t)size);
    file->source.size = (uint64_t)size;
    return 0;
}

static void
file_freep(struct file_source **file)
{
    if (*file)
        file_close(&(*file)->source);
}

int
source_file_open(const char *path, struct disk_pool *pool, unsigned queue_depth,
                 struct disk_source **ret_source, struct err **err)
{
    CLEANUP(file_freep) struct file_source *file = xcalloc(1, sizeof(*file));
    struct disk_source *source = &file->source;
    int errnum;

    file->file = IO_FILE_NONE;
    file->path = xstrdup(path);
    source->ops = &file_ops;
    if (io_file_open(path, O_RDONLY, 0, false, &file->file, &errnum) < 0)
        return err_set_errno(err, E_SOURCE_OPEN, errnum, "%s", path);
    if (find_size(file, err) < 0)
        return -1;
    source->max_in_flight =
        io_file_depth(&file->file, IO_READ, queue_depth ? queue_depth : DEFAULT_QUEUE_DEPTH);
    if (io_new(io_file_backend(&file->file, IO_READ), source->max_in_flight,
               pool ? pool->base : NULL, pool ? pool->slot_count * DISK_MAX_REQUEST : 0, &file->io,
               err) < 0)
        return err_wrap(err, "%s", path);
    file->reads = xcalloc(source->max_in_flight, sizeof(file->reads[0]));
    for (unsigned i = 0; i < source->max_in_flight; i++) {
        file->reads[i].source = file;
        file->reads[i].next_free = file->free_reads;
        file->free_reads = &file->reads[i];
    }
    source->alignment = MAX(file->file.offset_alignment, DISK_SECTOR);
    source->poll_fd = io_poll_fd(file->io);
    take(file);
    *ret_source = source;
    return 0;
}
