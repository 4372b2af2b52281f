/* The data path alone: copies raw files, block devices or NBD exports into finished QCOW2 images, one thread a
 * disk, with the same rooms that a migration uses.  For benchmarks; see docs/internals/bench.md. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "io/io.h"
#include "qcow2/qcow2.h"
#include "source/source.h"
#include "transfer/transfer.h"

#define IN_FLIGHT 16U

struct copy {
    const char *from, *to;
    bool is_buffered, has_digests;
    size_t slots;
    pthread_t thread;
    struct transfer_progress progress;
    struct err *error;
};

static void
free_extents(struct extents *extents)
{
    vec_done(extents);
}

/* The file goes beside the copy, and away again; beside the source where the copy is on an export. */
static int
open_digests(const struct copy *copy, struct transfer_digests **ret, struct err **err)
{
    CLEANUP(free_charp)
    char *path = xasprintf("%s.digests", io_path_is_remote(copy->to) ? copy->from : copy->to);

    if (!copy->has_digests)
        return 0;
    if (transfer_digests_open(path, "bench", true, ret, err) < 0)
        return -1;
    (void)unlink(path);
    return 0;
}

static int
open_source(const struct copy *copy, struct disk_pool *pool, struct disk_source **ret_source,
            struct err **err)
{
    if (!strncmp(copy->from, "nbd", 3))
        return source_nbd_open(copy->from, IN_FLIGHT, ret_source, err);
    return source_file_open(copy->from, pool, IN_FLIGHT, ret_source, err);
}

static int
copy_disk(struct copy *copy, struct err **err)
{
    CLEANUP(disk_pool_freep) struct disk_pool *pool = disk_pool_new(copy->slots, err);
    CLEANUP(qcow2_closep) struct qcow2_image *image = NULL;
    CLEANUP(disk_source_closep) struct disk_source *source = NULL;
    CLEANUP(transfer_digests_closep) struct transfer_digests *digests = NULL;
    CLEANUP(free_extents) struct extents plan = {0};
    struct qcow2_options options = {.owner_id = "bench",
                                    .pool = pool,
                                    .queue_depth = IN_FLIGHT,
                                    .is_buffered = copy->is_buffered};
    struct transfer_job job;

    if (!pool || open_source(copy, pool, &source, err) < 0 ||
        source->ops->extents(source, 0, source->size, &plan, err) < 0 ||
        extents_normalize(&plan, source->size, 0, true, err) < 0 ||
        open_digests(copy, &digests, err) < 0 ||
        qcow2_create(copy->to, source->size, &options, &image, err) < 0)
        return -1;
    job = (struct transfer_job){.source = source,
                                .target = qcow2_target(image),
                                .pool = pool,
                                .plan = &plan,
                                .digests = digests,
                                .unplanned_is_zero = true};
    if (transfer_run(&job, &copy->progress, err) < 0)
        return -1;
    return qcow2_finish(&image, err);
}

static void *
run(void *opaque)
{
    struct copy *copy = opaque;

    (void)copy_disk(copy, &copy->error); /* the error itself is looked at */
    return NULL;
}

int
main(int argc, char **argv)
{
    bool is_buffered = false, has_digests = true;
    int first = 1, count, status = 0;
    struct copy *copies;

    for (; first < argc && argv[first][0] == '-'; first++) {
        is_buffered |= !strcmp(argv[first], "--buffered");
        has_digests &= strcmp(argv[first], "--no-digests") != 0;
    }
    count = (argc - first) / 2;
    if (count < 1 || (argc - first) % 2) {
        fprintf(stderr, "usage: v2c-copy [--buffered] [--no-digests] RAW|NBD-URI QCOW2 [...]\n");
        return 2;
    }
    copies = xcalloc((size_t)count, sizeof(*copies));
    for (int i = 0; i < count; i++) {
        copies[i].from = argv[first + 2 * i];
        copies[i].to = argv[first + 2 * i + 1];
        copies[i].is_buffered = is_buffered;
        copies[i].has_digests = has_digests;
        copies[i].slots = disk_pool_share((size_t)count);
        if (pthread_create(&copies[i].thread, NULL, run, &copies[i])) {
            perror("pthread_create");
            return 1;
        }
    }
    for (int i = 0; i < count; i++) {
        pthread_join(copies[i].thread, NULL);
        if (copies[i].error) {
            fprintf(stderr, "v2c-copy: %s\n", err_message(copies[i].error));
            status = 1;
        } else {
            printf("%s: %" PRIu64 " MiB copied, %" PRIu64 " MiB zeroes, %" PRId64 " ms\n",
                   copies[i].to, (uint64_t)(copies[i].progress.copied_bytes / MIB),
                   (uint64_t)(copies[i].progress.zeroed_bytes / MIB),
                   copies[i].progress.elapsed_ms);
        }
        err_free(copies[i].error);
    }
    free(copies);
    return status;
}
