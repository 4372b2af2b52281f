/* A peer: copies a raw file onto an NFS export with libnfs as its users write such a copy, with many writes in
 * flight, and nothing else: no image format, no looking at write verifiers, no sending again.  Pieces of zeroes
 * and holes are not written, as in v2c-copy.  It shares no code with the engine.
 * For benchmarks; see docs/internals/bench.md. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <nfsc/libnfs.h> /* wants the two before it */

#define MOST_IN_FLIGHT 64U
#define PIECE          (1U << 20)

struct copy {
    struct nfs_context *nfs;
    struct nfsfh *file;
    int source;
    off_t size, next; /* what is read next */
    off_t data_end;   /* of the run of data that next is in */
    unsigned in_flight;
    off_t written;
    bool has_failed;
};

struct piece {
    struct copy *copy;
    uint32_t length;
    char *data;
};

static void send_next(struct piece *piece);

static void
complain(struct copy *copy, const char *what, const char *why)
{
    fprintf(stderr, "v2c-raw-nfs: %s: %s\n", what, why);
    copy->has_failed = true;
}

static void
written(int result, struct nfs_context *nfs, void *data, void *opaque)
{
    struct piece *piece = opaque;
    struct copy *copy = piece->copy;

    copy->in_flight--;
    if (result < 0) {
        complain(copy, "write", data ? data : strerror(-result));
        return;
    }
    if ((uint32_t)result != piece->length) {
        complain(copy, "write", "short");
        return;
    }
    copy->written += result;
    send_next(piece);
}

static bool
is_zero(const char *data, size_t length)
{
    return data[0] == 0 && !memcmp(data, data + 1, length - 1);
}

/* The next piece that is not zeroes; false at the end. */
static bool
read_next(struct copy *copy, struct piece *piece, off_t *ret_offset)
{
    while (copy->next < copy->size) {
        ssize_t n;

        if (copy->next >= copy->data_end) {
            off_t data = lseek(copy->source, copy->next, SEEK_DATA);

            if (data < 0)
                return false;
            copy->next = data - data % PIECE;
            copy->data_end = lseek(copy->source, data, SEEK_HOLE);
        }
        n = pread(copy->source, piece->data, PIECE, copy->next);
        if (n <= 0) {
            complain(copy, "read", n < 0 ? strerror(errno) : "the file ends early");
            return false;
        }
        *ret_offset = copy->next;
        copy->next += n;
        piece->length = (uint32_t)n;
        if (!is_zero(piece->data, (size_t)n))
            return true;
    }
    return false;
}

static void
send_next(struct piece *piece)
{
    struct copy *copy = piece->copy;
    off_t offset;

    if (copy->has_failed || !read_next(copy, piece, &offset))
        return;
    if (nfs_pwrite_async(copy->nfs, copy->file, (uint64_t)offset, piece->length, piece->data,
                         written, piece) < 0) {
        complain(copy, "write", nfs_get_error(copy->nfs));
        return;
    }
    copy->in_flight++;
}

static void
run(struct copy *copy, unsigned count)
{
    static struct piece pieces[MOST_IN_FLIGHT];
    char *memory = aligned_alloc(4096, (size_t)count * PIECE);

    if (!memory) {
        complain(copy, "memory", "none");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (struct piece){.copy = copy, .data = memory + i * PIECE};
        send_next(&pieces[i]);
    }
    while (copy->in_flight && !copy->has_failed) {
        struct pollfd fd = {.fd = nfs_get_fd(copy->nfs),
                            .events = (short)nfs_which_events(copy->nfs)};

        if (poll(&fd, 1, -1) < 0 || nfs_service(copy->nfs, fd.revents) < 0)
            complain(copy, "connection", nfs_get_error(copy->nfs));
    }
    if (!copy->has_failed && nfs_ftruncate(copy->nfs, copy->file, (uint64_t)copy->size) < 0)
        complain(copy, "truncate", nfs_get_error(copy->nfs));
    if (!copy->has_failed && nfs_fsync(copy->nfs, copy->file) < 0)
        complain(copy, "sync", nfs_get_error(copy->nfs));
    if (!copy->has_failed) /* else something may still be in flight */
        free(memory);
}

int
main(int argc, char **argv)
{
    struct copy copy = {.source = -1};
    unsigned count = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
    struct nfs_url *url;
    struct stat st;

    if (count < 1 || count > MOST_IN_FLIGHT) {
        fprintf(stderr, "usage: v2c-raw-nfs RAW nfs://SERVER/EXPORT/FILE[?nfsport=N&mountport=N] "
                        "IN-FLIGHT\n");
        return 2;
    }
    copy.source = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (copy.source < 0 || fstat(copy.source, &st) < 0) {
        perror(argv[1]);
        return 1;
    }
    copy.size = st.st_size;
    copy.nfs = nfs_init_context();
    url = nfs_parse_url_full(copy.nfs, argv[2]);
    if (!url || nfs_mount(copy.nfs, url->server, url->path) < 0 ||
        nfs_creat(copy.nfs, url->file, 0600, &copy.file) < 0) {
        complain(&copy, argv[2], nfs_get_error(copy.nfs));
    } else {
        run(&copy, count);
        if (!copy.has_failed && nfs_close(copy.nfs, copy.file) < 0)
            complain(&copy, "close", nfs_get_error(copy.nfs));
    }
    if (url)
        nfs_destroy_url(url);
    if (!copy.has_failed) {
        printf("%s: %lld MiB copied\n", argv[2], (long long)copy.written >> 20);
        nfs_destroy_context(copy.nfs);
    }
    (void)close(copy.source);
    return copy.has_failed;
}
