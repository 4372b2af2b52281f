#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "qcow2/image.h"

#define LARGE_DISK (16ULL * TIB) /* above it clusters are 256 KiB: see docs/internals/qcow2.md */

/* Until its header is durable an image stands under this name beside its own, so that a crash leaves
 * nothing at @path that is not an image of ours. */
static char *
unborn_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    int dir_length = slash ? (int)(slash - path + 1) : 0;

    return xasprintf("%.*s.%s.v2c-new", dir_length, path, path + dir_length);
}

/* Order of writes: format.h, "create".  L1 needs no write: it lies in fresh file area. */
static int
write_metadata(struct qcow2_image *image, const char *owner_id, struct err **err)
{
    const struct qcow2_geometry *g = &image->g;
    CLEANUP(free_charp) char *page = qcow2_memory(QCOW2_PAGE);

    qcow2_array_set(&image->table, 0, g->refblock0_offset);
    if (qcow2_sync_io(image, IO_TRUNCATE, NULL, 0, g->span_clusters * g->cluster_size, err) < 0 ||
        qcow2_sync_io(image, IO_WRITE, image->ones, g->cluster_size, g->refblock0_offset, err) <
            0 ||
        qcow2_sync_io(image, IO_WRITE, image->table.entries, QCOW2_PAGE, g->table_offset, err) <
            0 ||
        qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err) < 0)
        return -1;
    qcow2_header_encode(g, owner_id, (uint8_t *)page);
    if (qcow2_sync_io(image, IO_WRITE, page, QCOW2_PAGE, 0, err) < 0)
        return -1;
    return qcow2_sync_io(image, IO_DATASYNC, NULL, 0, 0, err);
}

/* Takes the name away again that may not be durable, unless it is another file's by now. */
static void
take_name(const struct qcow2_image *image)
{
    struct stat ours, named;

    if (!image->file.is_remote && fstat(image->file.fd, &ours) == 0 &&
        lstat(image->path, &named) == 0 && ours.st_dev == named.st_dev &&
        ours.st_ino == named.st_ino)
        (void)unlink(image->path); /* the error of naming it is the one worth reporting */
}

/* Gives the file its name; never over another one. */
static int
give_name(const struct qcow2_image *image, const char *unborn, struct err **err)
{
    CLEANUP(err_freep) struct err *error = NULL;
    const char *path = image->path;
    bool exists;

    if (io_path_publish(unborn, path, &exists, &error) < 0) {
        take_name(image);
        return err_set(err, err_code(error) == E_IO ? E_TARGET_CREATE : err_code(error), "%s",
                       err_message(error));
    }
    return exists ? err_set(err, E_TARGET_EXISTS, "%s exists", path) : 0;
}

static int
create_file(struct qcow2_image *image, const char *unborn, const struct qcow2_options *options,
            struct err **err)
{
    int errnum;

    /* Left by a creation that crashed; an image in use is never under this name. */
    (void)io_path_unlink(unborn);
    if (io_file_open(unborn, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, options->is_buffered,
                     &image->file, &errnum) < 0)
        return err_set_errno(err, E_TARGET_CREATE, errnum, "%s", image->path);
    if (qcow2_lock(image->file.fd, err) < 0)
        return err_wrap(err, "%s", image->path);
    if (qcow2_settle_access(image, err) < 0 || qcow2_image_start(image, options, true, err) < 0 ||
        write_metadata(image, options->owner_id, err) < 0)
        return -1;
    return give_name(image, unborn, err);
}

int
qcow2_create(const char *path, uint64_t size, const struct qcow2_options *options,
             struct qcow2_image **ret_image, struct err **err)
{
    CLEANUP(qcow2_image_freep) struct qcow2_image *image = NULL;
    CLEANUP(free_charp) char *unborn = unborn_name(path);
    unsigned bits = options->cluster_bits ? options->cluster_bits : size > LARGE_DISK ? 18 : 16;
    struct qcow2_geometry geometry;
    struct stat st;

    if (qcow2_check_options(options, err) < 0)
        return -1;
    if (qcow2_geometry_init(&geometry, size, bits, err) < 0)
        return err_wrap(err, "%s", path);
    if (io_path_stat(path, &st) == 0) {
        err_set(err, E_TARGET_EXISTS, "%s exists", path);
        return err_hint(err, "if nothing needs it, move it away and start again");
    }
    image = qcow2_image_new(path, &geometry, err);
    if (!image)
        return -1;
    if (create_file(image, unborn, options, err) < 0) {
        (void)io_path_unlink(unborn); /* the error above is the one worth reporting */
        return -1;
    }
    image->next = geometry.first_free;
    image->span_end = geometry.span_clusters;
    *ret_image = take(image);
    return 0;
}
