/* A machine made of files and a script.
 *
 * Every disk is one sparse raw file with its present content; nothing else ever holds the truth, so
 * the file is the reference that a migration is compared with.  A frozen view is copy-before-write:
 * before a 64 KiB block is written, each view that lacks it saves the old block in a file of its own.
 *
 * Changed-block tracking is a number per block: the epoch of its last write, 0 for a block that was
 * never written.  Each freeze ends an epoch.  A view saves the number together with the block, so
 * "changed between two views" is exact before it is over-reported on purpose, as VMware does.
 *
 * While the machine is on a thread writes what a guest would: mostly its hot spots again, now and then
 * somewhere new, now and then zeroes; the sequence follows from the first disk's seed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "base/vec.h"
#include "disks/machine.h"

#define BLOCK          (64 * KIB)
#define SECTOR         512
#define FILL_RUN       (256 * KIB) /* filled or empty as one */
#define TICK_MS        10
#define HOT_SPOTS      8
#define MAX_WRITE      (192 * KIB)
#define PARTING_WRITES 16 /* what a guest still flushes when it is told to shut down */

/* One disk of one frozen view. */
struct frozen {
    uint64_t view;
    int fd;          /* saved blocks at their own offsets; already unlinked */
    uint8_t *saved;  /* one bit a block */
    uint32_t *epoch; /* of the saved blocks */
};

struct disk {
    pthread_rwlock_t lock; /* guards everything below and the content */
    uint64_t capacity, block_count, seed;
    char *path;
    int fd;
    uint32_t *epoch; /* of each block's last write; 0: never written */
    VEC_DECLARE(, struct frozen)
    frozen;
};

struct known_view {
    uint64_t view;
    uint32_t epoch; /* the last one that it contains */
};

struct synthetic {
    struct lab_machine machine;
    char *name, *dir;
    struct disk *disks;
    /* `epoch` and `views` change only with every disk's lock held for writing. */
    uint32_t epoch;
    VEC_DECLARE(, struct known_view)
    views;

    pthread_mutex_t switching; /* held over power_on and power_off; taken first */
    pthread_mutex_t mutex;     /* guards what follows; innermost */
    pthread_cond_t wake;
    bool is_on, is_stopping, has_thread;
    int64_t off_at_ms; /* monotonic; 0: no shutdown asked for */
    pthread_t writer;
    unsigned kib_per_s, shutdown_ms;
    uint64_t random; /* the writer's own */
};

/* ---- pseudo-random content -------------------------------------------------------------------- */

static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
    uint64_t state = a ^ (b * 0xff51afd7ed558ccdULL);

    return next_random(&state);
}

static void
fill_pattern(uint8_t *data, size_t length, uint64_t seed)
{
    uint64_t state = seed;

    for (size_t at = 0; at < length; at += 8) {
        uint64_t word = next_random(&state);

        memcpy(data + at, &word, MIN(8, length - at));
    }
}

/* ---- content and views ------------------------------------------------------------------------ */

static struct synthetic *
self(struct lab_machine *machine)
{
    return (struct synthetic *)machine;
}

static uint64_t
block_length(const struct disk *disk, uint64_t block)
{
    return MIN(BLOCK, disk->capacity - block * BLOCK);
}

static bool
is_saved(const struct frozen *frozen, uint64_t block)
{
    return frozen->saved[block / 8] >> (block % 8) & 1;
}

/* lock held for writing.  A block that was never written reads as zeroes from a hole too. */
static int
save_block(struct disk *disk, struct frozen *frozen, uint64_t block, struct err **err)
{
    CLEANUP(free_charp) char *data = NULL;
    uint64_t length = block_length(disk, block);

    if (is_saved(frozen, block))
        return 0;
    if (disk->epoch[block]) {
        data = xcalloc(1, length);
        if (file_pread(disk->fd, data, length, block * BLOCK, err) < 0 ||
            file_pwrite(frozen->fd, data, length, block * BLOCK, err) < 0)
            return err_wrap(err, "saving a block of a view");
    }
    frozen->epoch[block] = disk->epoch[block];
    frozen->saved[block / 8] |= (uint8_t)(1U << (block % 8));
    return 0;
}

static int
disk_write(struct synthetic *s, unsigned number, const void *data, uint64_t length, uint64_t offset,
           struct err **err)
{
    struct disk *disk = &s->disks[number];
    int result = 0;

    if (length == 0 || offset > disk->capacity || length > disk->capacity - offset)
        return err_set(err, E_LIMIT, "disk %u: a write of %" PRIu64 " bytes at %" PRIu64 " of %s",
                       number, length, offset, s->name);
    pthread_rwlock_wrlock(&disk->lock);
    for (uint64_t b = offset / BLOCK; b <= (offset + length - 1) / BLOCK && result == 0; b++)
        for (size_t i = 0; i < disk->frozen.count && result == 0; i++)
            result = save_block(disk, &disk->frozen.items[i], b, err);
    if (result == 0)
        result = file_pwrite(disk->fd, data, length, offset, err);
    for (uint64_t b = offset / BLOCK; b <= (offset + length - 1) / BLOCK && result == 0; b++)
        disk->epoch[b] = s->epoch;
    pthread_rwlock_unlock(&disk->lock);
    return result;
}

static struct frozen *
find_frozen(struct disk *disk, uint64_t view)
{
    for (size_t i = 0; i < disk->frozen.count; i++)
        if (disk->frozen.items[i].view == view)
            return &disk->frozen.items[i];
    return NULL;
}

/* lock held.  NULL in *ret_frozen for the present. */
static int
find_view(struct synthetic *s, unsigned number, uint64_t view, struct frozen **ret_frozen,
          struct err **err)
{
    struct frozen *frozen = view ? find_frozen(&s->disks[number], view) : NULL;

    if (view && !frozen)
        return err_set(err, E_VSPHERE_NOT_FOUND, "disk %u of %s has no view %" PRIu64, number,
                       s->name, view);
    *ret_frozen = frozen;
    return 0;
}

static int
check_disk(struct synthetic *s, unsigned number, struct err **err)
{
    if (number >= s->machine.disk_count)
        return err_set(err, E_VSPHERE_NOT_FOUND, "%s has no disk %u", s->name, number);
    return 0;
}

static int
synthetic_read(struct lab_machine *machine, unsigned number, uint64_t view, void *data,
               uint32_t length, uint64_t offset, struct err **err)
{
    struct synthetic *s = self(machine);
    struct frozen *frozen;
    struct disk *disk;
    int result;

    if (check_disk(s, number, err) < 0)
        return -1;
    disk = &s->disks[number];
    if (offset > disk->capacity || length > disk->capacity - offset)
        return err_set(err, E_LIMIT, "disk %u of %s: a read beyond its end", number, s->name);
    pthread_rwlock_rdlock(&disk->lock);
    result = find_view(s, number, view, &frozen, err);
    for (uint64_t at = offset, end = offset + length; at < end && result == 0;) {
        bool from_saved = frozen && is_saved(frozen, at / BLOCK);
        uint64_t stop = MIN(end, round_down(at, BLOCK) + BLOCK);

        while (stop < end && (frozen && is_saved(frozen, stop / BLOCK)) == from_saved)
            stop = MIN(end, stop + BLOCK);
        result = file_pread(from_saved ? frozen->fd : disk->fd, (char *)data + (at - offset),
                            stop - at, at, err);
        at = stop;
    }
    pthread_rwlock_unlock(&disk->lock);
    return result;
}

/* ---- what is allocated, what has changed ------------------------------------------------------ */

static uint32_t
epoch_in(const struct disk *disk, const struct frozen *frozen, uint64_t block)
{
    return frozen && is_saved(frozen, block) ? frozen->epoch[block] : disk->epoch[block];
}

/* Appends every run of blocks in [first, last) written after epoch @since.  A run is now and then
 * told one block longer than it is. */
static void
collect(const struct disk *disk, const struct frozen *frozen, uint64_t first, uint64_t last,
        uint32_t since, struct extents *extents)
{
    for (uint64_t block = first; block < last;) {
        uint64_t stop = block;

        while (stop < last && epoch_in(disk, frozen, stop) > since)
            stop++;
        if (stop == block) {
            block++;
            continue;
        }
        if (stop < last && mix(disk->seed, stop) % 4 == 0)
            stop++;
        vec_push(extents,
                 (struct extent){block * BLOCK, MIN(stop * BLOCK, disk->capacity) - block * BLOCK});
        block = stop;
    }
}

static int
synthetic_allocated(struct lab_machine *machine, unsigned number, uint64_t view, uint64_t offset,
                    uint64_t length, struct extents *extents, struct err **err)
{
    struct synthetic *s = self(machine);
    struct frozen *frozen;
    struct disk *disk;
    uint64_t end;
    int result;

    if (check_disk(s, number, err) < 0)
        return -1;
    disk = &s->disks[number];
    if (offset > disk->capacity)
        return err_set(err, E_LIMIT, "disk %u of %s ends before %" PRIu64, number, s->name, offset);
    end = offset + MIN(length, disk->capacity - offset);
    pthread_rwlock_rdlock(&disk->lock);
    result = find_view(s, number, view, &frozen, err);
    if (result == 0 && end > offset) {
        size_t first = extents->count;

        collect(disk, frozen, offset / BLOCK, (end + BLOCK - 1) / BLOCK, 0, extents);
        for (size_t i = first; i < extents->count; i++) {
            struct extent *extent = &extents->items[i];
            uint64_t from = MAX(extent->offset, offset);

            extent->length = MIN(extent->offset + extent->length, end) - from;
            extent->offset = from;
        }
    }
    pthread_rwlock_unlock(&disk->lock);
    return result;
}

/* Some blocks more that have not changed at all, in order. */
static void
add_decoys(const struct disk *disk, uint64_t view, struct extents *extents)
{
    uint64_t state = mix(disk->seed, view);

    for (int i = 0; i < 3; i++) {
        uint64_t block = next_random(&state) % disk->block_count;
        size_t at = 0;
        struct extent decoy = {block * BLOCK, block_length(disk, block)};

        while (at < extents->count &&
               extents->items[at].offset + extents->items[at].length <= decoy.offset)
            at++;
        if (at < extents->count && extents->items[at].offset < decoy.offset + decoy.length)
            continue; /* told already */
        vec_push(extents, decoy);
        memmove(&extents->items[at + 1], &extents->items[at],
                (extents->count - 1 - at) * sizeof(decoy));
        extents->items[at] = decoy;
    }
}

static int
synthetic_changed(struct lab_machine *machine, unsigned number, uint64_t since, uint64_t view,
                  struct extents *extents, struct err **err)
{
    struct extents own = {0};
    struct synthetic *s = self(machine);
    const struct known_view *base = NULL;
    struct frozen *frozen;
    struct disk *disk;
    int result;

    if (check_disk(s, number, err) < 0)
        return -1;
    disk = &s->disks[number];
    pthread_rwlock_rdlock(&disk->lock);
    for (size_t i = 0; i < s->views.count; i++)
        if (s->views.items[i].view == since)
            base = &s->views.items[i];
    result = find_view(s, number, view, &frozen, err);
    if (result == 0 && !base)
        result = err_set(err, E_CBT_RESET, "disk %u of %s knows no view %" PRIu64, number, s->name,
                         since);
    if (result == 0) {
        collect(disk, frozen, 0, disk->block_count, base->epoch, &own);
        add_decoys(disk, view, &own);
    }
    pthread_rwlock_unlock(&disk->lock);
    for (size_t i = 0; i < own.count; i++)
        vec_push(extents, own.items[i]);
    vec_done(&own);
    return result;
}

/* ---- freeze and thaw -------------------------------------------------------------------------- */

static void
frozen_done(struct frozen *frozen)
{
    close_fdp(&frozen->fd);
    free(frozen->saved);
    free(frozen->epoch);
}

static int
frozen_make(struct synthetic *s, unsigned number, uint64_t view, struct frozen *ret,
            struct err **err)
{
    CLEANUP(free_charp)
    char *path = xasprintf("%s/disk%u-view%" PRIu64 ".raw", s->dir, number, view);
    struct disk *disk = &s->disks[number];
    struct frozen frozen = {.view = view};

    frozen.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (frozen.fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    (void)unlink(path); /* it lives as long as the view; a crash leaves nothing */
    if (ftruncate(frozen.fd, (off_t)disk->capacity) < 0) {
        int saved_errno = errno;

        (void)close(frozen.fd);
        return err_set_errno(err, E_IO, saved_errno, "%s", path);
    }
    frozen.saved = xcalloc(disk->block_count / 8 + 1, 1);
    frozen.epoch = xcalloc(disk->block_count, sizeof(uint32_t));
    *ret = frozen;
    return 0;
}

static void
lock_all(struct synthetic *s)
{
    for (unsigned i = 0; i < s->machine.disk_count; i++)
        pthread_rwlock_wrlock(&s->disks[i].lock);
}

static void
unlock_all(struct synthetic *s)
{
    for (unsigned i = 0; i < s->machine.disk_count; i++)
        pthread_rwlock_unlock(&s->disks[i].lock);
}

static int
synthetic_freeze(struct lab_machine *machine, uint64_t view, struct err **err)
{
    struct synthetic *s = self(machine);
    unsigned made = 0;
    int result = 0;

    lock_all(s);
    for (size_t i = 0; i < s->views.count && result == 0; i++)
        if (s->views.items[i].view >= view)
            result = err_set(err, E_BUG, "%s: view %" PRIu64 " is not new", s->name, view);
    for (; made < machine->disk_count && result == 0; made++) {
        struct frozen frozen;

        result = frozen_make(s, made, view, &frozen, err);
        if (result == 0)
            vec_push(&s->disks[made].frozen, frozen);
        else
            break;
    }
    if (result == 0) {
        vec_push(&s->views, (struct known_view){view, s->epoch});
        s->epoch++;
    } else {
        for (unsigned i = 0; i < made; i++)
            frozen_done(&s->disks[i].frozen.items[--s->disks[i].frozen.count]);
    }
    unlock_all(s);
    return result;
}

static int
synthetic_thaw(struct lab_machine *machine, uint64_t view, struct err **err)
{
    struct synthetic *s = self(machine);
    bool was_there = machine->disk_count == 0;

    lock_all(s);
    for (unsigned i = 0; i < machine->disk_count; i++) {
        struct disk *disk = &s->disks[i];
        struct frozen *frozen = find_frozen(disk, view);

        if (!frozen)
            continue;
        was_there = true;
        frozen_done(frozen);
        *frozen = disk->frozen.items[--disk->frozen.count];
    }
    unlock_all(s);
    if (!was_there)
        return err_set(err, E_VSPHERE_NOT_FOUND, "%s has no view %" PRIu64, s->name, view);
    return 0;
}

/* ---- power and the writer --------------------------------------------------------------------- */

/* One write of the script.  Returns how many bytes it was.  A failure ends the lab's usefulness but
 * not the lab: the disk then merely has one write less, in the truth as well as in the views. */
static uint64_t
scripted_write(struct synthetic *s, uint8_t *data)
{
    unsigned number = (unsigned)(next_random(&s->random) % s->machine.disk_count);
    struct disk *disk = &s->disks[number];
    uint64_t kind = next_random(&s->random) % 100;
    uint64_t sectors = disk->capacity / SECTOR;
    uint64_t length = (1 + next_random(&s->random) % (MAX_WRITE / SECTOR)) * SECTOR;
    uint64_t offset;

    if (kind < 60)
        offset = mix(disk->seed, next_random(&s->random) % HOT_SPOTS) % sectors * SECTOR;
    else
        offset = next_random(&s->random) % sectors * SECTOR;
    length = MIN(length, disk->capacity - offset);
    if (kind >= 90)
        memset(data, 0, length);
    else
        fill_pattern(data, length, next_random(&s->random));
    (void)disk_write(s, number, data, length, offset, NULL);
    return length;
}

static void *
write_script(void *opaque)
{
    struct synthetic *s = opaque;
    CLEANUP(free_charp) char *data = xcalloc(1, MAX_WRITE);
    int64_t start_ms = clock_monotonic_ms();
    uint64_t done = 0;
    bool is_over = false;

    while (!is_over) {
        int64_t now_ms = clock_monotonic_ms();
        uint64_t due = (uint64_t)(now_ms - start_ms) * s->kib_per_s * KIB / 1000;
        struct timespec until;

        if (s->kib_per_s && s->machine.disk_count && done < due)
            done += scripted_write(s, (uint8_t *)data);
        pthread_mutex_lock(&s->mutex);
        if (s->off_at_ms && now_ms >= s->off_at_ms)
            is_over = true;
        if (!is_over && !s->is_stopping && done >= due) {
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += TICK_MS * 1000000L;
            until.tv_sec += until.tv_nsec / 1000000000L;
            until.tv_nsec %= 1000000000L;
            pthread_cond_timedwait(&s->wake, &s->mutex, &until);
        }
        if (s->is_stopping) {
            pthread_mutex_unlock(&s->mutex);
            return NULL;
        }
        pthread_mutex_unlock(&s->mutex);
    }
    for (int i = 0; i < PARTING_WRITES && s->kib_per_s && s->machine.disk_count; i++)
        (void)scripted_write(s, (uint8_t *)data);
    pthread_mutex_lock(&s->mutex);
    s->is_on = false;
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static bool
synthetic_is_on(struct lab_machine *machine)
{
    struct synthetic *s = self(machine);

    SCOPE_LOCK(&s->mutex);
    return s->is_on;
}

/* switching held */
static void
join_writer(struct synthetic *s)
{
    if (s->has_thread)
        pthread_join(s->writer, NULL);
    s->has_thread = false;
}

static int
synthetic_power_on(struct lab_machine *machine, struct err **err)
{
    struct synthetic *s = self(machine);
    int status;

    SCOPE_LOCK(&s->switching);
    if (synthetic_is_on(machine))
        return err_set(err, E_VSPHERE_STATE, "%s is on already", s->name);
    join_writer(s);
    SCOPE_LOCK(&s->mutex);
    s->is_stopping = false;
    s->off_at_ms = 0;
    status = pthread_create(&s->writer, NULL, write_script, s);
    if (status != 0)
        return err_set_errno(err, E_MEMORY, status, "%s: the writer's thread", s->name);
    s->is_on = s->has_thread = true;
    return 0;
}

static int
synthetic_power_off(struct lab_machine *machine, struct err **err)
{
    struct synthetic *s = self(machine);

    SCOPE_LOCK(&s->switching);
    pthread_mutex_lock(&s->mutex);
    s->is_stopping = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    join_writer(s);
    pthread_mutex_lock(&s->mutex);
    s->is_on = false;
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

static int
synthetic_shutdown_guest(struct lab_machine *machine, struct err **err)
{
    struct synthetic *s = self(machine);

    SCOPE_LOCK(&s->mutex);
    if (!s->is_on)
        return err_set(err, E_VSPHERE_STATE, "%s is off", s->name);
    if (!s->off_at_ms)
        s->off_at_ms = clock_monotonic_ms() + s->shutdown_ms;
    pthread_cond_broadcast(&s->wake);
    return 0;
}

static const char *
synthetic_raw_path(struct lab_machine *machine, unsigned number)
{
    struct synthetic *s = self(machine);

    return number < machine->disk_count ? s->disks[number].path : NULL;
}

/* ---- making and ending ------------------------------------------------------------------------ */

static void
synthetic_close(struct lab_machine *machine)
{
    struct synthetic *s = self(machine);

    (void)synthetic_power_off(machine, NULL);
    for (unsigned i = 0; i < machine->disk_count; i++) {
        struct disk *disk = &s->disks[i];

        for (size_t j = 0; j < disk->frozen.count; j++)
            frozen_done(&disk->frozen.items[j]);
        vec_done(&disk->frozen);
        close_fdp(&disk->fd);
        free(disk->path);
        free(disk->epoch);
        pthread_rwlock_destroy(&disk->lock);
    }
    vec_done(&s->views);
    free(s->disks);
    free(s->name);
    free(s->dir);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->switching);
    free(s);
}

static const struct lab_machine_ops OPS = {
    .kind = "synthetic",
    .power_on = synthetic_power_on,
    .power_off = synthetic_power_off,
    .shutdown_guest = synthetic_shutdown_guest,
    .is_on = synthetic_is_on,
    .freeze = synthetic_freeze,
    .thaw = synthetic_thaw,
    .read = synthetic_read,
    .allocated = synthetic_allocated,
    .changed = synthetic_changed,
    .raw_path = synthetic_raw_path,
    .close = synthetic_close,
};

/* Writes what the disk holds at the start: @percent of its runs, chosen by the seed. */
static int
fill_disk(struct synthetic *s, unsigned number, unsigned percent, struct err **err)
{
    CLEANUP(free_charp) char *data = xcalloc(1, FILL_RUN);
    struct disk *disk = &s->disks[number];

    for (uint64_t offset = 0; offset < disk->capacity && percent; offset += FILL_RUN) {
        uint64_t length = MIN(FILL_RUN, disk->capacity - offset);

        if (mix(disk->seed, offset) % 100 >= percent)
            continue;
        fill_pattern((uint8_t *)data, length, mix(disk->seed, ~offset));
        if (disk_write(s, number, data, length, offset, err) < 0)
            return -1;
    }
    return 0;
}

/* What @path has, but for its holes. */
static int
copy_content(struct synthetic *s, unsigned number, const char *path, struct err **err)
{
    CLEANUP(free_charp) char *data = xcalloc(1, FILL_RUN);
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t capacity = s->disks[number].capacity;
    off_t offset = 0;

    if (fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    while ((offset = lseek(fd, offset, SEEK_DATA)) >= 0 && (uint64_t)offset < capacity) {
        uint64_t at = round_down((uint64_t)offset, BLOCK);
        uint64_t length = MIN(BLOCK, capacity - at);
        ssize_t n = pread(fd, data, length, (off_t)at);

        if (n < 0)
            return err_set_errno(err, E_IO, errno, "%s", path);
        memset(data + n, 0, length - (uint64_t)n); /* beyond its end */
        if (disk_write(s, number, data, length, at, err) < 0)
            return -1;
        offset = (off_t)(at + length);
    }
    return 0;
}

static int
open_disk(struct synthetic *s, unsigned number, const struct lab_disk_plan *plan, struct err **err)
{
    struct disk *disk = &s->disks[number];
    pthread_rwlockattr_t attr;

    /* Readers come without a pause; the guest must still get to write. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&disk->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    disk->fd = -1;
    disk->capacity = plan->capacity;
    disk->block_count = (plan->capacity + BLOCK - 1) / BLOCK;
    disk->seed = mix(plan->seed, number);
    disk->path = xasprintf("%s/disk%u.raw", s->dir, number);
    disk->epoch = calloc(disk->block_count + 1, sizeof(uint32_t));
    if (!disk->epoch)
        return err_set(err, E_MEMORY, "%s: disk %u is too large", s->name, number);
    if (plan->capacity == 0 || plan->capacity % SECTOR)
        return err_set(err, E_CONFIG, "%s: disk %u: %" PRIu64 " bytes is not whole sectors",
                       s->name, number, plan->capacity);
    disk->fd = open(disk->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (disk->fd < 0 || ftruncate(disk->fd, (off_t)plan->capacity) < 0)
        return err_set_errno(err, E_IO, errno, "%s", disk->path);
    return plan->content[0] ? copy_content(s, number, plan->content, err)
                            : fill_disk(s, number, plan->fill_percent, err);
}

int
lab_synthetic_new(const struct lab_machine_plan *plan, struct lab_machine **ret, struct err **err)
{
    struct synthetic *s = xcalloc(1, sizeof(*s));
    pthread_condattr_t attr;

    s->machine.ops = &OPS;
    s->name = xstrdup(plan->name);
    s->dir = xstrdup(plan->dir);
    s->disks = xcalloc(plan->disk_count + 1, sizeof(*s->disks));
    s->epoch = 1;
    s->kib_per_s = plan->writer_kib_per_s;
    s->shutdown_ms = plan->shutdown_ms;
    pthread_mutex_init(&s->switching, NULL);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    for (unsigned i = 0; i < plan->disk_count; i++) {
        s->machine.disk_count = i + 1;
        if (open_disk(s, i, &plan->disks[i], err) < 0) {
            synthetic_close(&s->machine);
            return -1;
        }
    }
    s->random = plan->disk_count ? mix(plan->disks[0].seed, 0x77726974) : 0;
    if (!plan->is_off && synthetic_power_on(&s->machine, err) < 0) {
        synthetic_close(&s->machine);
        return -1;
    }
    *ret = &s->machine;
    return 0;
}

/* lock held for writing. */
static int
grow_disk(struct disk *disk, uint64_t capacity, struct err **err)
{
    uint64_t count = (capacity + BLOCK - 1) / BLOCK;

    if (disk->frozen.count)
        return err_set(err, E_VSPHERE_STATE, "a disk with snapshots cannot grow");
    if (capacity <= disk->capacity || capacity % SECTOR)
        return err_set(err, E_LIMIT, "%" PRIu64 " bytes are no larger number of sectors", capacity);
    if (ftruncate(disk->fd, (off_t)capacity) < 0)
        return err_set_errno(err, E_IO, errno, "%s", disk->path);
    disk->epoch = xrealloc(disk->epoch, count, sizeof(disk->epoch[0]));
    memset(disk->epoch + disk->block_count, 0,
           (count - disk->block_count) * sizeof(disk->epoch[0]));
    disk->block_count = count;
    disk->capacity = capacity;
    return 0;
}

int
lab_synthetic_grow(struct lab_machine *machine, unsigned number, uint64_t capacity,
                   struct err **err)
{
    struct synthetic *s = self(machine);
    int result;

    if (machine->ops != &OPS)
        return err_set(err, E_UNSUPPORTED, "only the disks of a synthetic machine can grow");
    if (check_disk(s, number, err) < 0)
        return -1;
    pthread_rwlock_wrlock(&s->disks[number].lock);
    result = grow_disk(&s->disks[number], capacity, err);
    pthread_rwlock_unlock(&s->disks[number].lock);
    return result;
}

int
lab_synthetic_write(struct lab_machine *machine, unsigned number, uint64_t offset, uint64_t length,
                    uint64_t seed, struct err **err)
{
    CLEANUP(free_charp) char *data = xcalloc(1, MIB);
    struct synthetic *s = self(machine);

    if (machine->ops != &OPS)
        return err_set(err, E_UNSUPPORTED, "only a synthetic machine can be written to");
    if (check_disk(s, number, err) < 0)
        return -1;
    for (uint64_t at = 0; at < length; at += MIB) {
        uint64_t part = MIN(MIB, length - at);

        if (seed)
            fill_pattern((uint8_t *)data, part, mix(seed, at));
        if (disk_write(s, number, data, part, offset + at, err) < 0)
            return -1;
    }
    return 0;
}
