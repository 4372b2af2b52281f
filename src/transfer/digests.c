#include "transfer/digests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"

#define HEADER_BYTES  4096U
#define MAGIC         "V2CDIGS1"
#define MAX_FILE_SIZE (1ULL << 40)

/* Host byte order: the file belongs to the machine that migrates.  Fits a sector, so that a power cut
 * leaves the old one or the new one. */
struct header {
    char magic[8];
    char owner[TRANSFER_OWNER_SIZE];
    uint64_t window_begin, window_end; /* blocks */
    uint64_t checksum;                 /* XXH3 of what stands before */
};

struct transfer_digests {
    int fd;
    char *path;
    struct header header; /* as it is on disk */
    uint64_t settled;     /* nothing before this block is doubtful, though the header may say so */
    bool is_dirty;        /* something was put since the last sync */
};

bool
digest_is_known(const struct transfer_digest *digest)
{
    return !digest_equal(digest, &DIGEST_NONE);
}

bool
digest_equal(const struct transfer_digest *a, const struct transfer_digest *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static uint64_t
position(uint64_t block)
{
    return HEADER_BYTES + block * TRANSFER_DIGEST_SIZE;
}

static uint64_t
checksum(const struct header *header)
{
    return XXH3_64bits(header, offsetof(struct header, checksum));
}

static int
sync_file(struct transfer_digests *digests, struct err **err)
{
    if (fdatasync(digests->fd) < 0)
        return err_set_errno(err, E_IO, errno, "%s", digests->path);
    digests->is_dirty = false;
    return 0;
}

static int
write_header(struct transfer_digests *digests, uint64_t begin, uint64_t end, struct err **err)
{
    struct header header = digests->header;

    header.window_begin = begin;
    header.window_end = end;
    header.checksum = checksum(&header);
    if (file_pwrite(digests->fd, &header, sizeof(header), 0, err) < 0 ||
        sync_file(digests, err) < 0)
        return err_wrap(err, "%s", digests->path);
    digests->header = header;
    return 0;
}

/* Forgets what a crash has left in doubt. */
static int
forget_window(struct transfer_digests *digests, struct err **err)
{
    static const uint8_t zeroes[64 * KIB];
    const struct header *h = &digests->header;
    uint64_t at = position(h->window_begin), end = position(h->window_end);
    struct stat st;

    if (fstat(digests->fd, &st) < 0)
        return err_set_errno(err, E_IO, errno, "%s", digests->path);
    end = MIN(end, (uint64_t)st.st_size); /* the rest of the file knows nothing as it is */
    for (; at < end; at += sizeof(zeroes))
        if (file_pwrite(digests->fd, zeroes, MIN(end - at, sizeof(zeroes)), at, err) < 0)
            return -1;
    return sync_file(digests, err);
}

/* Begins anew with a file that knows nothing. */
static int
start_over(struct transfer_digests *digests, const char *owner, struct err **err)
{
    memset(&digests->header, 0, sizeof(digests->header));
    memcpy(digests->header.magic, MAGIC, sizeof(digests->header.magic));
    snprintf(digests->header.owner, sizeof(digests->header.owner), "%s", owner);
    if (ftruncate(digests->fd, 0) < 0 || ftruncate(digests->fd, HEADER_BYTES) < 0)
        return err_set_errno(err, E_IO, errno, "%s", digests->path);
    return write_header(digests, 0, 0, err);
}

static bool
is_sound(const struct header *h, const char *owner)
{
    return !memcmp(h->magic, MAGIC, sizeof(h->magic)) && h->checksum == checksum(h) &&
           !strncmp(h->owner, owner, sizeof(h->owner)) && h->window_begin <= h->window_end &&
           h->window_end <= MAX_FILE_SIZE / TRANSFER_DIGEST_SIZE;
}

static int
load(struct transfer_digests *digests, const char *owner, struct err **err)
{
    ssize_t n = pread(digests->fd, &digests->header, sizeof(digests->header), 0);

    if (n < 0)
        return err_set_errno(err, E_IO, errno, "%s", digests->path);
    if (n < (ssize_t)sizeof(digests->header) || !is_sound(&digests->header, owner))
        return start_over(digests, owner, err);
    if (digests->header.window_begin == digests->header.window_end)
        return 0;
    return forget_window(digests, err) < 0 ? -1 : write_header(digests, 0, 0, err);
}

int
transfer_digests_open(const char *path, const char *owner, bool is_new_target,
                      struct transfer_digests **ret_digests, struct err **err)
{
    CLEANUP(transfer_digests_closep)
    struct transfer_digests *digests = xcalloc(1, sizeof(*digests));

    digests->path = xstrdup(path);
    digests->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (digests->fd < 0)
        return err_set_errno(err, errno == ENOSPC ? E_NO_SPACE : E_IO, errno, "%s", path);
    if ((is_new_target ? start_over(digests, owner, err) : load(digests, owner, err)) < 0)
        return -1;
    digests->settled = digests->header.window_begin;
    *ret_digests = take(digests);
    return 0;
}

void
transfer_digests_closep(struct transfer_digests **digests)
{
    struct transfer_digests *d = take(*digests);
    bool is_settled;

    if (!d)
        return;
    /* A window that nothing is in costs nothing more to close; left open it is only slower. */
    is_settled = d->settled >= d->header.window_end && d->header.window_end && !d->is_dirty;
    if (d->fd >= 0 && is_settled)
        (void)write_header(d, 0, 0, NULL);
    if (d->fd >= 0)
        close(d->fd);
    free(d->path);
    free(d);
}

int
digests_get(const struct transfer_digests *digests, uint64_t block, struct transfer_digest *ret,
            struct err **err)
{
    struct transfer_digest digest;
    ssize_t n = pread(digests->fd, digest.bytes, sizeof(digest.bytes), (off_t)position(block));

    if (n < 0)
        return err_set_errno(err, E_IO, errno, "%s", digests->path);
    *ret = n == sizeof(digest.bytes) ? digest : DIGEST_NONE;
    return 0;
}

int
digests_cover(struct transfer_digests *digests, uint64_t block, uint64_t end, struct err **err)
{
    const struct header *h = &digests->header;
    bool is_empty = digests->settled >= h->window_end;

    if (!is_empty && block >= digests->settled && block < h->window_end)
        return 0;
    if (is_empty)
        digests->settled = block;
    return write_header(digests, MIN(digests->settled, block),
                        MAX(MAX(end, block + 1), is_empty ? 0 : h->window_end), err);
}

int
digests_put(struct transfer_digests *digests, uint64_t block, const struct transfer_digest *digest,
            struct err **err)
{
    digests->is_dirty = true;
    return file_pwrite(digests->fd, digest->bytes, sizeof(digest->bytes), position(block), err);
}

int
digests_flush(struct transfer_digests *digests, uint64_t first_unsettled, struct err **err)
{
    if (digests->is_dirty && sync_file(digests, err) < 0)
        return -1;
    digests->settled = MIN(MAX(digests->settled, first_unsettled), digests->header.window_end);
    return 0;
}
