/* The table of claims.  Byte 0 of the file is locked while the table is looked at or changed, byte 1 + N
 * for as long as the owner of claim N lives.  These are locks of open file descriptions: every slot has
 * one of its own, so that threads exclude each other too, and no child keeps any.
 *
 * Whoever waits decides for itself whether it is its turn, so that nobody depends on another's being
 * alive; it sleeps on the table's generation, which every change moves on. */
#include "migration/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"

#define TABLE_NAME      "claims-1" /* another layout gets another name */
#define MAX_CLAIMS      4096
#define DEFAULT_HANDLES 8
#define MAX_HANDLES     256
#define POLL_MS         250  /* how soon a cancel is seen */
#define LOOK_MS         1000 /* how soon an owner that was killed is missed */

struct table {
    uint32_t generation; /* a futex */
    uint32_t used;       /* claims[0 .. used) may be other than free */
    uint64_t last_ticket;
    struct slots_claim claims[MAX_CLAIMS];
};

struct migration_slot {
    int fd;
    struct table *table;
    struct slots_claim *claim; /* NULL while there is none */
    struct slots_limits limits;
};

unsigned
migration_slots_handles(void)
{
    const char *text = getenv("V2C_VDDK_MAX_OPEN");
    char *end;
    long count;

    if (!text || !*text)
        return DEFAULT_HANDLES;
    count = strtol(text, &end, 10);
    return *end || count < 1 ? DEFAULT_HANDLES : (unsigned)MIN(count, MAX_HANDLES);
}

/* ---- locks and sleep -------------------------------------------------------------------------- */

static int
set_lock(int fd, int command, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int result;

    do
        result = fcntl(fd, command, &lock);
    while (result < 0 && errno == EINTR);
    return result;
}

static int
lock_table(const struct migration_slot *slot, struct err **err)
{
    if (set_lock(slot->fd, F_OFD_SETLKW, F_WRLCK, 0) < 0)
        return err_set_errno(err, E_IO, errno, "locking the table of VDDK handles");
    /* After a power cut there may be anything in it. */
    if (slot->table && slot->table->used > MAX_CLAIMS)
        slot->table->used = MAX_CLAIMS;
    return 0;
}

static void
unlock_table(const struct migration_slot *slot)
{
    (void)set_lock(slot->fd, F_OFD_SETLK, F_UNLCK, 0);
}

/* Table locked. */
static bool
is_alive(const struct migration_slot *slot, const struct slots_claim *claim)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = 1 + (claim - slot->table->claims),
                         .l_len = 1};

    return claim == slot->claim || fcntl(slot->fd, F_OFD_GETLK, &lock) < 0 ||
           lock.l_type != F_UNLCK;
}

/* Table locked: others are to look again. */
static void
announce(struct table *table)
{
    table->generation++;
    (void)syscall(SYS_futex, &table->generation, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Until the table has moved on from @generation, or it is time to look anyway. */
static void
sleep_on(struct table *table, uint32_t generation, const volatile int *cancel)
{
    const struct timespec poll = {.tv_nsec = POLL_MS * 1000000L};

    for (int i = 0; i < LOOK_MS / POLL_MS && !(cancel && *cancel); i++) {
        if (__atomic_load_n(&table->generation, __ATOMIC_ACQUIRE) != generation)
            return;
        (void)syscall(SYS_futex, &table->generation, FUTEX_WAIT, generation, &poll, NULL, 0);
    }
}

/* ---- claims ----------------------------------------------------------------------------------- */

static struct slots_view
view_of(const struct migration_slot *slot)
{
    return (struct slots_view){.claims = slot->table->claims,
                               .count = slot->table->used,
                               .limits = &slot->limits,
                               .now_ms = clock_monotonic_ms()};
}

/* Table locked.  Frees the claims in @state (SLOTS_FREE: in any other) whose owners have ended; says
 * whether there were any. */
static bool
bury_dead(struct migration_slot *slot, enum slots_state state)
{
    bool has_any = false;

    for (size_t i = 0; i < slot->table->used; i++) {
        struct slots_claim *claim = &slot->table->claims[i];

        if (claim->state == SLOTS_FREE || (state != SLOTS_FREE && claim->state != state) ||
            is_alive(slot, claim))
            continue;
        claim->state = SLOTS_FREE;
        has_any = true;
    }
    return has_any;
}

/* Table locked.  A free claim whose byte is this slot's now; NULL when there is none. */
static struct slots_claim *
find_free(struct migration_slot *slot)
{
    struct table *table = slot->table;

    for (uint32_t i = 0; i < MAX_CLAIMS; i++) {
        if (i < table->used && table->claims[i].state != SLOTS_FREE)
            continue;
        if (set_lock(slot->fd, F_OFD_SETLK, F_WRLCK, 1 + (off_t)i) < 0)
            continue; /* given back just now, and not closed yet */
        table->used = MAX(table->used, i + 1);
        return &table->claims[i];
    }
    return NULL;
}

static int
enter_claim(struct migration_slot *slot, const struct slots_claim *content, struct err **err)
{
    struct slots_claim *claim;

    (void)bury_dead(slot, SLOTS_WAITING);
    claim = find_free(slot);
    if (!claim && bury_dead(slot, SLOTS_FREE))
        claim = find_free(slot);
    if (!claim)
        return err_set(err, E_LIMIT, "more than %d disks wait for a VDDK handle", MAX_CLAIMS);
    *claim = *content;
    claim->ticket = ++slot->table->last_ticket;
    claim->pid = (int32_t)getpid();
    claim->since_ms = claim->seen_ms = clock_monotonic_ms();
    slot->claim = claim;
    return 0;
}

/* ---- opening and giving back ------------------------------------------------------------------ */

static int
map_table(struct migration_slot *slot, const char *path, struct err **err)
{
    struct stat st;
    void *base;
    int failure = 0;

    slot->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (slot->fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (lock_table(slot, err) < 0)
        return -1;
    /* All of it is there before it is touched: a full file system is an error and not a signal. */
    if (fstat(slot->fd, &st) < 0)
        failure = errno;
    else if (st.st_size < (off_t)sizeof(struct table))
        failure = posix_fallocate(slot->fd, 0, (off_t)sizeof(struct table));
    unlock_table(slot);
    if (failure)
        return err_set_errno(err, failure == ENOSPC ? E_NO_SPACE : E_IO, failure, "%s", path);
    base = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, slot->fd, 0);
    if (base == MAP_FAILED)
        return err_set_errno(err, E_IO, errno, "%s: mapping it", path);
    slot->table = base;
    return 0;
}

static int
open_slot(const char *path, const struct slots_limits *limits, struct migration_slot **ret_slot,
          struct err **err)
{
    struct migration_slot *slot = xcalloc(1, sizeof(*slot));

    slot->fd = -1;
    slot->limits = *limits;
    if (map_table(slot, path, err) < 0) {
        migration_slot_free(slot);
        return -1;
    }
    *ret_slot = slot;
    return 0;
}

void
migration_slot_free(struct migration_slot *slot)
{
    if (!slot)
        return;
    /* Should the lock fail, the claim is a dead one as soon as the file is closed. */
    if (slot->claim && lock_table(slot, NULL) == 0) {
        slot->claim->state = SLOTS_FREE;
        while (slot->table->used > 0 &&
               slot->table->claims[slot->table->used - 1].state == SLOTS_FREE)
            slot->table->used--;
        announce(slot->table);
        unlock_table(slot);
    }
    if (slot->table)
        (void)munmap(slot->table, sizeof(struct table));
    close_fdp(&slot->fd);
    free(slot);
}

void
migration_slot_freep(struct migration_slot **slot)
{
    migration_slot_free(*slot);
    *slot = NULL;
}

/* ---- waiting ---------------------------------------------------------------------------------- */

/* Table locked.  Whether the slot's claim is granted; *ret_verdict says what is in the way, and is
 * SLOTS_OK when it is only that others go first. */
static bool
decide(struct migration_slot *slot, enum slots_verdict *ret_verdict)
{
    for (;;) {
        struct slots_view view = view_of(slot);
        const struct slots_claim *next;

        slot->claim->seen_ms = view.now_ms;
        *ret_verdict = slots_room(&view, slot->claim);
        if (*ret_verdict != SLOTS_OK) {
            if (bury_dead(slot, SLOTS_HELD))
                continue;
            return false;
        }
        next = slots_next(&view);
        if (next == slot->claim)
            break;
        if (!next || is_alive(slot, next))
            return false;
        slot->table->claims[next - slot->table->claims].state = SLOTS_FREE;
    }
    return true;
}

/* Table locked. */
static void
grant(struct migration_slot *slot)
{
    struct slots_view view;

    (void)bury_dead(slot, SLOTS_HELD); /* whose memory is free */
    view = view_of(slot);
    slot->claim->pool_slots = slots_pool(&view, slot->claim->pool_slots, slot->claim->is_final);
    slot->claim->state = SLOTS_HELD;
    announce(slot->table); /* the next in line may have room too */
}

static void
tell(const struct migration_slot *slot, const struct slots_wish *wish, enum slots_verdict verdict)
{
    char what[32];

    if (verdict == SLOTS_HOST_FULL) {
        (void)snprintf(what, sizeof(what), "a handle of its host");
        log_info("waiting for one of %u VDDK handles of host %s (max_handles_per_host)",
                 slot->limits.handles_per_host, slot->claim->host);
    } else {
        (void)snprintf(what, sizeof(what), "one of %u handles", slot->limits.handles);
        log_info("waiting for one of %u VDDK handles (V2C_VDDK_MAX_OPEN)", slot->limits.handles);
    }
    if (wish->on_wait)
        wish->on_wait(wish->opaque, what);
}

/* *told: what the caller was told last. */
static int
wait_for_grant(struct migration_slot *slot, const struct slots_wish *wish,
               const volatile int *cancel, enum slots_verdict *told, struct err **err)
{
    for (;;) {
        enum slots_verdict verdict;
        uint32_t generation;
        bool is_granted;

        if (cancel && *cancel)
            return err_set(err, E_CANCELLED, "stopped while waiting for a free VDDK handle");
        if (lock_table(slot, err) < 0)
            return -1;
        is_granted = decide(slot, &verdict);
        if (is_granted)
            grant(slot);
        generation = slot->table->generation;
        unlock_table(slot);
        if (is_granted)
            return 0;
        if (verdict != SLOTS_OK && verdict != *told) {
            tell(slot, wish, verdict);
            *told = verdict;
        }
        sleep_on(slot->table, generation, cancel);
    }
}

/* ---- the room's interface --------------------------------------------------------------------- */

int
migration_slot_take(const char *control_dir, const struct slots_limits *limits,
                    const struct slots_wish *wish, const volatile int *cancel,
                    struct migration_slot **ret_slot, struct err **err)
{
    CLEANUP(free_charp) char *dir = file_join(control_dir, ".vddk-slots");
    CLEANUP(free_charp) char *path = file_join(dir, TABLE_NAME);
    CLEANUP(migration_slot_freep) struct migration_slot *slot = NULL;
    struct slots_claim claim = {.state = SLOTS_WAITING,
                                .is_final = wish->is_final,
                                .pool_slots = wish->pool_slots,
                                .vm = wish->vm};
    enum slots_verdict told = SLOTS_OK;
    int result;

    (void)snprintf(claim.host, sizeof(claim.host), "%s", wish->host ? wish->host : "");
    if (file_make_dirs(dir, 0700, err) < 0 || open_slot(path, limits, &slot, err) < 0 ||
        lock_table(slot, err) < 0)
        return -1;
    result = enter_claim(slot, &claim, err);
    unlock_table(slot);
    if (result == 0)
        result = wait_for_grant(slot, wish, cancel, &told, err);
    if (told != SLOTS_OK && wish->on_wait)
        wish->on_wait(wish->opaque, NULL);
    if (result < 0)
        return -1;
    *ret_slot = take(slot);
    return 0;
}

/* Table locked.  Enters a second handle like that of @first, if nobody else wants it. */
static int
enter_second(struct migration_slot *slot, const struct migration_slot *first, bool *ret_has_room,
             struct err **err)
{
    struct slots_claim claim = {.state = SLOTS_HELD, .is_second = true, .vm = first->claim->vm};
    struct slots_view view;

    (void)snprintf(claim.host, sizeof(claim.host), "%s", first->claim->host);
    (void)bury_dead(slot, SLOTS_HELD);
    (void)bury_dead(slot, SLOTS_WAITING);
    view = view_of(slot);
    *ret_has_room = slots_room(&view, &claim) == SLOTS_OK && !slots_next(&view);
    return *ret_has_room ? enter_claim(slot, &claim, err) : 0;
}

int
migration_slot_try(const struct migration_slot *first, struct migration_slot **ret_slot,
                   struct err **err)
{
    CLEANUP(free_charp) char *path = xasprintf("/proc/self/fd/%d", first->fd);
    CLEANUP(migration_slot_freep) struct migration_slot *slot = NULL;
    bool has_room = false;
    int result;

    if (open_slot(path, &first->limits, &slot, err) < 0 || lock_table(slot, err) < 0)
        return -1;
    result = enter_second(slot, first, &has_room, err);
    unlock_table(slot);
    if (result < 0)
        return -1;
    *ret_slot = has_room ? take(slot) : NULL;
    return 0;
}

bool
migration_slot_should_yield(const struct migration_slot *slot)
{
    struct slots_view view;
    bool result;

    if (lock_table(slot, NULL) < 0)
        return false;
    view = view_of(slot);
    result = slots_is_wanted(&view, slot->claim);
    unlock_table(slot);
    return result;
}

unsigned
migration_slot_pool(const struct migration_slot *slot)
{
    return slot->claim->pool_slots;
}
