#include "disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/util.h"

/* Faults every page in now: on the data path a first touch would cost more than the copy of the page.
 * MADV_POPULATE_WRITE (Linux 5.14) reports a lack of memory instead of killing us. */
static int
populate(uint8_t *base, size_t length, struct err **err)
{
#ifdef MADV_POPULATE_WRITE
    if (madvise(base, length, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return err_set_errno(err, E_MEMORY, errno, "buffer pool of %zu bytes", length);
#endif
    for (size_t at = 0; at < length; at += DISK_ALIGNMENT)
        *(volatile uint8_t *)(base + at) = 0;
    return 0;
}

/* The size is sealed, so that a process that maps the pool cannot cut it short under us. */
static int
map_memory(struct disk_pool *pool, size_t length, struct err **err)
{
    void *base;

    pool->memfd = memfd_create("v2c-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (pool->memfd < 0)
        return err_set_errno(err, E_MEMORY, errno, "buffer pool: memfd_create");
    if (ftruncate(pool->memfd, (off_t)length) < 0 ||
        fcntl(pool->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return err_set_errno(err, E_MEMORY, errno, "buffer pool of %zu bytes", length);
    base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, pool->memfd, 0);
    if (base == MAP_FAILED)
        return err_set_errno(err, E_MEMORY, errno, "buffer pool of %zu bytes", length);
    pool->base = base;
    (void)madvise(base, length, MADV_HUGEPAGE); /* only a wish: shmem may not have huge pages */
    return populate(base, length, err);
}

#define MOST_SLOTS   32U
#define LEAST_SLOTS  8U
#define SHARED_SLOTS 64U

size_t
disk_pool_share(size_t disks_at_once)
{
    return MIN(MAX(SHARED_SLOTS / MAX(disks_at_once, 1U), LEAST_SLOTS), MOST_SLOTS);
}

struct disk_pool *
disk_pool_new(size_t slot_count, struct err **err)
{
    CLEANUP(disk_pool_freep) struct disk_pool *pool = xcalloc(1, sizeof(*pool));

    pool->memfd = -1;
    if (slot_count == 0 || slot_count > UINT32_MAX / 2)
        return err_null(err, E_BUG, "a buffer pool of %zu slots", slot_count);
    pool->slot_count = slot_count;
    if (map_memory(pool, slot_count * DISK_MAX_REQUEST, err) < 0)
        return NULL;
    pool->slots = xcalloc(slot_count, sizeof(pool->slots[0]));
    pool->free_list = xcalloc(slot_count, sizeof(pool->free_list[0]));
    for (size_t i = 0; i < slot_count; i++) {
        pool->slots[i].data = pool->base + i * DISK_MAX_REQUEST;
        pool->slots[i].index = (uint32_t)i;
        /* The last one put back is the next one taken, while it is warm: begin with slot 0. */
        pool->free_list[i] = (uint32_t)(slot_count - 1 - i);
    }
    pool->free_count = slot_count;
    return take(pool);
}

void
disk_pool_free(struct disk_pool *pool)
{
    if (!pool)
        return;
    if (pool->base)
        (void)munmap(pool->base, pool->slot_count * DISK_MAX_REQUEST);
    close_fdp(&pool->memfd);
    free(pool->slots);
    free(pool->free_list);
    free(pool);
}

void
disk_pool_freep(struct disk_pool **pool)
{
    disk_pool_free(*pool);
    *pool = NULL;
}

struct disk_slot *
disk_pool_get(struct disk_pool *pool)
{
    return pool->free_count ? &pool->slots[pool->free_list[--pool->free_count]] : NULL;
}

void
disk_pool_put(struct disk_pool *pool, struct disk_slot *slot)
{
    if (slot)
        pool->free_list[pool->free_count++] = slot->index;
}
