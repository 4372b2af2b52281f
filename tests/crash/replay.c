#include "replay.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "unit/qcow2/support.h"

#define MAX_FILE     (64 * MIB)
#define CLUSTER      4096U
#define TABLE_OFFSET CLUSTER                           /* of the refcount table */
#define SPAN         ((uint64_t)CLUSTER * CLUSTER / 2) /* bytes that one refcount block counts */

const char *const barrier_names[BARRIER_COUNT] = {
    [BARRIER_NONE] = "every barrier kept",
    [BARRIER_CREATE_TABLES] = "create, before the header",
    [BARRIER_CREATE_HEADER] = "create, after the header",
    [BARRIER_CREATE_NAME] = "create, directory",
    [BARRIER_SPAN_BLOCK] = "new span, after its refcount block",
    [BARRIER_SPAN_ENTRY] = "new span, after its table entry",
    [BARRIER_CHECKPOINT] = "checkpoint",
    [BARRIER_FINISH_CHECKPOINT] = "finish, checkpoint",
    [BARRIER_FINISH_MAP] = "finish, after the map",
    [BARRIER_FINISH_COUNTS] = "finish, after the counts",
    [BARRIER_FINISH_LENGTH] = "finish, after the length",
    [BARRIER_FINISH_NAME] = "finish, directory",
    [BARRIER_RESUME_NAME] = "resume, directory",
    [BARRIER_RESUME_SPANS] = "resume, after dropped spans",
    [BARRIER_RESUME_REST] = "resume, after length and counts",
    [BARRIER_GROW_TAIL] = "growth, before the header",
    [BARRIER_GROW_HEADER] = "growth, after the header",
};

/* ---- states ----------------------------------------------------------------------------------- */

static void
make_room(struct state *state)
{
    if (state->bytes)
        return;
    state->bytes = xcalloc(1, MAX_FILE);
    state->room = MAX_FILE;
}

static void
set_length(struct state *state, uint64_t length)
{
    if (length > state->room)
        abort();
    if (length < state->used) {
        memset(state->bytes + length, 0, state->used - length);
        state->used = length;
    }
    state->length = length;
}

void
state_done(struct state *state)
{
    free(state->bytes);
    *state = (struct state){0};
}

bool
state_is_same(const struct state *a, const struct state *b)
{
    return a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);
}

void
state_copy(const struct state *state, struct state *ret_copy)
{
    *ret_copy = *state;
    ret_copy->bytes = xcalloc(1, state->length + 1);
    ret_copy->room = state->length;
    memcpy(ret_copy->bytes, state->bytes, state->length);
}

char *
state_unborn_name(const char *path)
{
    const char *name = strrchr(path, '/') + 1;

    return xasprintf("%.*s.%s.v2c-new", (int)(name - path), path, name);
}

void
state_write(const struct state *state, const char *path)
{
    CLEANUP(free_charp) char *unborn = state_unborn_name(path);
    CLEANUP(close_fdp) int fd = -1;

    (void)unlink(path);
    (void)unlink(unborn);
    fd = open(state->has_name ? path : unborn, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)state->length) < 0)
        abort();
    /* Zeroes stay holes: most of a file that is pre-extended is. */
    for (uint64_t at = 0; at < state->used; at += 64 * KIB) {
        size_t length = (size_t)MIN(64 * KIB, state->used - at);
        const uint8_t *bytes = state->bytes + at;

        if (bytes[0] == 0 && !memcmp(bytes, bytes + 1, length - 1))
            continue;
        if (pwrite(fd, bytes, length, (off_t)at) != (ssize_t)length)
            abort();
    }
}

void
state_read(struct state *state, const char *path)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    make_room(state);
    set_length(state, 0);
    state->has_name = state->is_name_durable = fd >= 0;
    if (fd < 0)
        return;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size > state->room ||
        pread(fd, state->bytes, (size_t)st.st_size, 0) != st.st_size)
        abort();
    state->length = state->used = (uint64_t)st.st_size;
}

/* ---- journals --------------------------------------------------------------------------------- */

void
journal_begin(struct journal *journal, struct mover *mover)
{
    journal->fault.is_recording = true;
    journal->calls.log = &journal->fault;
    vec_push(&mover->publications, ((struct mover_publication){0, mover->store}));
    mover->fault = &journal->fault;
    mover->calls = &journal->calls;
}

void
journal_end(struct journal *journal, struct mover *mover)
{
    journal->publications = mover->publications;
    journal->marks = mover->marks;
    mover->publications = (struct mover_publications){0};
    mover->marks = (struct mover_marks){0};
    mover->fault = NULL;
    mover->calls = NULL;
}

void
journal_done(struct journal *journal)
{
    state_done(&journal->before);
    state_done(&journal->after);
    io_fault_clear_records(&journal->fault);
    vec_done(&journal->publications);
    vec_done(&journal->marks);
}

const struct mover_store *
journal_store(const struct journal *journal, size_t limit)
{
    const struct mover_store *store = &journal->publications.items[0].store;

    for (size_t i = 0; i < journal->publications.count; i++)
        if (journal->publications.items[i].record <= limit)
            store = &journal->publications.items[i].store;
    return store;
}

/* ---- which sync is which ---------------------------------------------------------------------- */

static bool
is_sync(const struct io_record *r)
{
    return r->kind == IO_DATASYNC || r->kind == (enum io_kind)CALL_SYNC_DIR;
}

static enum mover_phase
phase_of(const struct journal *journal, size_t at, size_t *ret_first)
{
    enum mover_phase phase = PHASE_CREATE;

    *ret_first = 0;
    for (size_t i = 0; i < journal->marks.count && journal->marks.items[i].record <= at; i++) {
        phase = journal->marks.items[i].phase;
        *ret_first = journal->marks.items[i].record;
    }
    return phase;
}

/* A sync of a span is queued from the completion of the write it is for: that end stands right before
 * it.  Any other sync of a copy is a checkpoint's. */
static enum barrier
barrier_of_copy(const struct io_records *records, size_t at)
{
    for (size_t i = 0; at && records->items[at - 1].is_end && i < at; i++) {
        const struct io_record *r = &records->items[i];

        if (r->is_end || r->kind != IO_WRITE || r->id != records->items[at - 1].id)
            continue;
        if (r->offset % SPAN == 0)
            return BARRIER_SPAN_BLOCK;
        if (r->offset >= TABLE_OFFSET && r->offset < TABLE_OFFSET + CLUSTER)
            return BARRIER_SPAN_ENTRY;
    }
    return BARRIER_CHECKPOINT;
}

/* The last four of a finish are its own; before them may come those of a span that was being prepared. */
static enum barrier
barrier_of_finish(const struct io_records *records, size_t at, unsigned left)
{
    return left <= 4 ? (enum barrier)(BARRIER_FINISH_CHECKPOINT + 4 - left)
                     : barrier_of_copy(records, at);
}

static enum barrier
barrier_of(const struct journal *journal, size_t at)
{
    const struct io_records *records = &journal->fault.records;
    const enum io_kind kind = records->items[at].kind;
    unsigned before = 0, left = 0; /* syncs of its kind and phase; it is among those left */
    unsigned since = 0;            /* the length was set last */
    bool has_truncated = false;
    size_t first, other;
    enum mover_phase phase = phase_of(journal, at, &first);

    for (size_t i = first; i < records->count; i++) {
        const struct io_record *r = &records->items[i];

        (void)phase_of(journal, i, &other);
        if (other != first)
            break;
        *(i < at ? &before : &left) += !r->is_end && r->kind == kind;
        if (i < at && r->kind == IO_TRUNCATE) {
            has_truncated = true;
            since = 0;
        } else if (i < at) {
            since += !r->is_end && r->kind == kind;
        }
    }
    if (kind == (enum io_kind)CALL_SYNC_DIR)
        return phase == PHASE_CREATE   ? BARRIER_CREATE_NAME
               : phase == PHASE_RESUME ? BARRIER_RESUME_NAME
                                       : BARRIER_FINISH_NAME;
    if (phase == PHASE_CREATE)
        return before == 0 ? BARRIER_CREATE_TABLES : BARRIER_CREATE_HEADER;
    if (phase == PHASE_RESUME)
        return has_truncated ? (enum barrier)(BARRIER_RESUME_REST + MIN(since, 2U))
                             : BARRIER_RESUME_SPANS;
    return phase == PHASE_FINISH ? barrier_of_finish(records, at, left)
                                 : barrier_of_copy(records, at);
}

/* ---- replays ---------------------------------------------------------------------------------- */

/* What had ended before sync @at began is durable when that has ended. */
static void
cover(struct replay *replay, size_t at, bool is_left_out)
{
    const struct io_record *records = replay->journal->fault.records.items;
    bool is_of_names = records[at].kind == (enum io_kind)CALL_SYNC_DIR;
    size_t end = replay->end_at[at];

    if (end == SIZE_MAX || records[end].result != 0)
        return;
    if (is_of_names && !is_left_out)
        replay->old_name_durable_at = MIN(replay->old_name_durable_at, end);
    for (size_t i = 0; i < at; i++) {
        if (records[i].is_end || replay->end_at[i] > at ||
            is_of_names != (records[i].kind == (enum io_kind)CALL_LINK))
            continue;
        replay->meant_at[i] = MIN(replay->meant_at[i], end);
        if (!is_left_out)
            replay->durable_at[i] = MIN(replay->durable_at[i], end);
    }
}

static size_t *
new_indices(size_t count)
{
    size_t *indices = xcalloc(count + 1, sizeof(*indices));

    memset(indices, 0xff, (count + 1) * sizeof(*indices));
    return indices;
}

void
replay_init(struct replay *replay, const struct journal *journal, enum barrier left_out)
{
    const struct io_records *records = &journal->fault.records;
    size_t count = records->count;

    *replay = (struct replay){.journal = journal, .count = count, .old_name_durable_at = SIZE_MAX};
    replay->end_at = new_indices(count);
    replay->durable_at = new_indices(count);
    replay->meant_at = new_indices(count);
    replay->barriers = xcalloc(count + 1, sizeof(enum barrier));
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; !records->items[i].is_end && j < count; j++)
            if (records->items[j].is_end && records->items[j].id == records->items[i].id) {
                replay->end_at[i] = j;
                break;
            }
    for (size_t i = 0; i < count; i++)
        if (!records->items[i].is_end && is_sync(&records->items[i])) {
            replay->barriers[i] = barrier_of(journal, i);
            cover(replay, i, replay->barriers[i] == left_out);
        }
}

void
replay_done(struct replay *replay)
{
    free(replay->end_at);
    free(replay->durable_at);
    free(replay->meant_at);
    free(replay->barriers);
}

size_t
replay_count(const struct replay *replay, enum barrier barrier)
{
    size_t count = 0;

    for (size_t i = 0; i < replay->count; i++)
        count += replay->barriers[i] == barrier;
    return count;
}

static void
apply_write(struct state *state, const struct io_record *r, uint32_t grain, uint64_t *random)
{
    uint32_t piece;

    for (uint32_t at = 0; at < r->length; at += piece) {
        uint64_t offset = r->offset + at;

        piece = (uint32_t)MIN(r->length - at, grain - offset % grain);
        if (random && support_random(random) & 1)
            continue;
        if (offset + piece > state->length)
            set_length(state, offset + piece);
        memcpy(state->bytes + offset, r->data + at, piece);
        state->used = MAX(state->used, offset + piece);
    }
}

/* @random: torn, or not at all where it cannot be torn; NULL: whole. */
static void
apply(struct state *state, const struct io_record *r, uint32_t grain, uint64_t *random)
{
    if (r->kind == IO_WRITE) {
        apply_write(state, r, grain, random);
        return;
    }
    if (random && support_random(random) & 1)
        return;
    if (r->kind == IO_TRUNCATE)
        set_length(state, r->offset);
    else if (r->kind == (enum io_kind)CALL_LINK)
        state->has_name = true;
    else if (r->kind == (enum io_kind)CALL_PUNCH && r->offset < state->used)
        memset(state->bytes + r->offset, 0, MIN(r->length, state->used - r->offset));
}

static bool
is_change(const struct replay *replay, size_t i)
{
    const struct io_record *r = &replay->journal->fault.records.items[i];

    return !r->is_end && !is_sync(r);
}

/* One of what is not durable; SIZE_MAX when there is none. */
static size_t
choose_one(const struct replay *replay, size_t limit, uint64_t *random)
{
    size_t chosen = SIZE_MAX, count = 0;

    for (size_t i = 0; i < limit; i++)
        if (is_change(replay, i) && replay->durable_at[i] >= limit &&
            support_random(random) % ++count == 0)
            chosen = i;
    return chosen;
}

static void
begin_state(const struct replay *replay, size_t limit, enum survivors survivors,
            struct state *state)
{
    const struct state *before = &replay->journal->before;
    bool is_durable = before->is_name_durable || replay->old_name_durable_at < limit;

    make_room(state);
    set_length(state, 0);
    set_length(state, before->length);
    if (before->used)
        memcpy(state->bytes, before->bytes, before->used);
    state->used = before->used;
    state->has_name =
        before->has_name && (is_durable || survivors == SURVIVES_ALL ||
                             survivors == SURVIVES_ENDED || survivors == SURVIVES_ALL_BUT_ONE);
    state->is_name_durable = before->has_name && is_durable;
}

void
replay_build(const struct replay *replay, size_t limit, enum survivors survivors, uint64_t *random,
             struct state *state)
{
    uint32_t grain = support_random(random) & 1 ? 4096 : 512;
    size_t one = choose_one(replay, limit, random);

    begin_state(replay, limit, survivors, state);
    for (size_t i = 0; i < limit; i++) {
        const struct io_record *r = &replay->journal->fault.records.items[i];
        bool is_durable = replay->durable_at[i] < limit, has_ended = replay->end_at[i] < limit;

        if (!is_change(replay, i))
            continue;
        if (is_durable && r->kind == (enum io_kind)CALL_LINK)
            state->is_name_durable = true;
        if (is_durable || survivors == SURVIVES_ALL || (survivors == SURVIVES_ENDED && has_ended) ||
            (survivors == SURVIVES_OTHERS && replay->meant_at[i] >= limit) ||
            (survivors == SURVIVES_ALL_BUT_ONE && i != one) ||
            (survivors == SURVIVES_ONE && i == one))
            apply(state, r, grain, NULL);
        else if (survivors == SURVIVES_SOME || survivors == SURVIVES_ENDED)
            apply(state, r, grain, random);
        else if (survivors == SURVIVES_OTHERS && support_random(random) & 1)
            apply(state, r, grain, NULL);
    }
}

bool
replay_is_new(const struct replay *replay, size_t limit, enum survivors survivors)
{
    const struct io_record *r = &replay->journal->fault.records.items[limit - 1];

    if (survivors == SURVIVES_ALL)
        return is_change(replay, limit - 1);
    if (survivors == SURVIVES_NONE)
        return r->is_end && is_sync(r);
    return !is_sync(r) || r->is_end;
}
