#include "qcow2/image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/util.h"

#define DEFAULT_QUEUE_DEPTH 16U
#define L2_CACHE_BYTES      (8U << 20)
#define MIN_TABLES          4U

void *
qcow2_memory(size_t bytes)
{
    void *memory = NULL;

    if (posix_memalign(&memory, DISK_ALIGNMENT, bytes))
        abort();
    memset(memory, 0, bytes);
    return memory;
}

/* Mapped, not allocated: only pages that are used cost anything. */
static void
array_init(struct qcow2_array *array, uint64_t bytes, uint64_t offset)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        abort();
    array->entries = memory;
    array->bytes = bytes;
    array->offset = offset;
    array->dirty = xcalloc(bytes / QCOW2_PAGE, 1);
}

static void
array_done(struct qcow2_array *array)
{
    if (array->entries)
        (void)munmap(array->entries, array->bytes);
    free(array->dirty);
}

int
qcow2_check_options(const struct qcow2_options *options, struct err **err)
{
    if (!options->owner_id || strlen(options->owner_id) >= QCOW2_ID_SIZE)
        return err_set(err, E_BUG, "an owner id must have at most %d bytes", QCOW2_ID_SIZE - 1);
    return 0;
}

struct qcow2_image *
qcow2_image_new(const char *path, const struct qcow2_geometry *geometry, struct err **err)
{
    CLEANUP(qcow2_image_freep) struct qcow2_image *image = xcalloc(1, sizeof(*image));
    struct qcow2_checkpoint *checkpoint = &image->checkpoint;

    image->path = xstrdup(path);
    image->g = *geometry;
    image->file = IO_FILE_NONE;
    array_init(&image->l1, round_up(geometry->l1_entries * 8, QCOW2_PAGE), geometry->l1_offset);
    array_init(&image->table, geometry->table_bytes, geometry->table_offset);
    image->l2 = xcalloc(geometry->l1_entries, sizeof(image->l2[0]));
    image->ones = qcow2_memory(geometry->cluster_size);
    memset(image->ones, 0, geometry->cluster_size);
    for (uint64_t i = 0; i < geometry->span_clusters; i++)
        ((uint8_t *)image->ones)[2 * i + 1] = 1;
    image->zeroes = qcow2_memory(ZERO_BYTES);
    checkpoint->memory = qcow2_memory((size_t)CHECKPOINT_DEPTH * STAGE_BYTES);
    for (unsigned i = 0; i < CHECKPOINT_DEPTH; i++) {
        checkpoint->stages[i].image = image;
        checkpoint->stages[i].data = checkpoint->memory + (size_t)i * STAGE_BYTES;
    }
    for (unsigned i = 0; i < FLUSH_DEPTH; i++)
        image->flushes[i].image = image;
    for (unsigned i = 0; i < MAX_ZERO_WRITES; i++)
        image->zero_writes[i].image = image;
    return take(image);
}

int
qcow2_image_start(struct qcow2_image *image, const struct qcow2_options *options, bool is_new,
                  struct err **err)
{
    unsigned depth = options->queue_depth ? options->queue_depth : DEFAULT_QUEUE_DEPTH;
    const struct disk_pool *pool = options->pool;
    enum io_backend backend = options->backend, meta_backend = options->backend;
    size_t cache = options->l2_cache_bytes ? options->l2_cache_bytes : L2_CACHE_BYTES;

    image->max_tables = MAX(cache / image->g.cluster_size, MIN_TABLES);
    /* A request may fall into several parts: room for some of them at once. */
    image->max_parts = depth * 2;
    if (backend == IO_BACKEND_AUTO) {
        backend = io_file_backend(&image->file, IO_WRITE);
        meta_backend = io_file_backend(&image->file, IO_READ);
    }
    if (io_new(backend, image->max_parts + CHECKPOINT_DEPTH + 1, pool ? pool->base : NULL,
               pool ? pool->slot_count * DISK_MAX_REQUEST : 0, &image->io, err) < 0 ||
        io_new(meta_backend, META_DEPTH, NULL, 0, &image->meta, err) < 0)
        return -1;
    image->target = (struct disk_target){
        .ops = &qcow2_target_ops,
        .size = image->g.size,
        .is_new = is_new,
        .max_in_flight = io_file_depth(&image->file, IO_WRITE, depth),
        .poll_fd = io_poll_fd(image->io),
    };
    return 0;
}

struct disk_target *
qcow2_target(struct qcow2_image *image)
{
    return &image->target;
}

void
qcow2_image_freep(struct qcow2_image **image_p)
{
    struct qcow2_image *image = *image_p;

    if (!image)
        return;
    io_free(image->io);
    io_free(image->meta);
    io_file_close(&image->file);
    qcow2_map_done(image);
    array_done(&image->l1);
    array_done(&image->table);
    qcow2_parts_done(image);
    vec_done(&image->checkpoint.tables);
    free(image->checkpoint.memory);
    free(image->ones);
    free(image->zeroes);
    err_free(image->failure);
    free(image->path);
    free(image);
    *image_p = NULL;
}

void
qcow2_closep(struct qcow2_image **image)
{
    if (!*image)
        return;
    qcow2_drain(*image);
    qcow2_image_freep(image);
}

struct err *
qcow2_describe(const struct qcow2_image *image, enum io_kind kind, struct err *error)
{
    enum err_code code = err_code(error);
    struct err *mine = NULL;

    if (code == E_IO)
        code = kind == IO_READ ? E_TARGET_READ : E_TARGET_WRITE;
    err_set(&mine, code, "%s: %s", image->path, err_message(error));
    if (err_hint_text(error))
        err_hint(&mine, "%s", err_hint_text(error));
    else if (code == E_NO_SPACE)
        err_hint(&mine, "free space for %s and start again: it goes on from the last checkpoint",
                 image->path);
    err_free(error);
    return mine;
}

void
qcow2_fail(struct qcow2_image *image, struct err *error)
{
    if (image->failure)
        err_free(error);
    else
        image->failure = error;
}

int
qcow2_check_failure(const struct qcow2_image *image, struct err **err)
{
    struct err *copy;

    if (!image->failure)
        return 0;
    copy = err_copy(image->failure);
    return err_move(err, &copy);
}

static int
sync_io_piece(struct qcow2_image *image, enum io_kind kind, void *data, uint32_t length,
              uint64_t offset, struct err **err)
{
    struct err *error = NULL;
    struct io_op op = {.kind = kind, .data = data, .length = length, .offset = offset};

    if (kind == IO_READ || kind == IO_WRITE)
        op.fd = io_file_choose(&image->file, data, length, offset);
    else
        op.fd = image->file.fd;
    if (io_wait(image->meta, &op, &error) == 0)
        return 0;
    error = qcow2_describe(image, kind, error);
    if (kind != IO_READ)
        qcow2_fail(image, err_copy(error));
    return err_move(err, &error);
}

int
qcow2_sync_io(struct qcow2_image *image, enum io_kind kind, void *data, uint64_t length,
              uint64_t offset, struct err **err)
{
    uint64_t done = 0;

    do {
        uint32_t piece = (uint32_t)MIN(length - done, DISK_MAX_REQUEST);

        if (sync_io_piece(image, kind, data ? (char *)data + done : NULL, piece, offset + done,
                          err) < 0)
            return -1;
        done += piece;
    } while (done < length);
    return 0;
}

void
qcow2_drain(struct qcow2_image *image)
{
    unsigned count;

    do {
        /* Both can only fail when the kernel's queue itself is broken; io_free then ends us. */
        if (image->target.ops->reap(&image->target, &count, NULL) < 0 ||
            io_drain(image->io, 0, NULL) < 0 || io_drain(image->meta, 0, NULL) < 0)
            return;
    } while (image->backlog.first || io_in_flight(image->io) || io_in_flight(image->meta));
}

struct waited {
    bool is_over;
    struct err *error;
};

static void
waited_done(struct disk_request *request, struct err *error)
{
    struct waited *waited = request->opaque;

    waited->is_over = true;
    waited->error = error;
}

int
qcow2_checkpoint_now(struct qcow2_image *image, struct err **err)
{
    struct waited waited = {0};
    struct disk_request request = {.done = waited_done, .opaque = &waited};

    qcow2_drain(image);
    if (image->target.ops->checkpoint(&image->target, &request, err) < 0)
        return -1;
    qcow2_drain(image);
    if (!waited.is_over)
        abort(); /* the request still points into this stack frame */
    return waited.error ? err_move(err, &waited.error) : 0;
}
