#include "guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BATCH 4U

void
guest_init(struct guest *guest, uint64_t size, unsigned cluster_bits, uint64_t seed)
{
    *guest = (struct guest){.path = support_path("guest.qcow2"), .size = size, .random = seed};
    guest->now = xcalloc(1, size);
    guest->pool = disk_pool_new(BATCH + 1, NULL);
    guest->options = (struct qcow2_options){
        .owner_id = TEST_OWNER, .pool = guest->pool, .cluster_bits = cluster_bits};
}

void
guest_done(struct guest *guest)
{
    qcow2_closep(&guest->image);
    unlink(guest->path);
    free(guest->path);
    free(guest->now);
    disk_pool_free(guest->pool);
    vec_done(&guest->ops);
    vec_done(&guest->checkpoints);
}

static size_t
record_count(const struct guest *guest)
{
    return guest->fault ? guest->fault->records.count : 0;
}

int
guest_create(struct guest *guest, struct err **err)
{
    int result;

    io_fault_attach(guest->fault);
    result = qcow2_create(guest->path, guest->size, &guest->options, &guest->image, err);
    io_fault_attach(NULL);
    return result;
}

int
guest_resume(struct guest *guest, struct err **err)
{
    int result;

    io_fault_attach(guest->fault);
    result = qcow2_resume(guest->path, guest->size, &guest->options, &guest->image, err);
    io_fault_attach(NULL);
    return result;
}

void
guest_grow(struct guest *guest, uint64_t size)
{
    guest->now = xrealloc(guest->now, size, 1);
    memset(guest->now + guest->size, 0, size - guest->size);
    guest->size = size;
}

static void
apply(uint8_t *bytes, const struct guest_op *op)
{
    if (op->seed)
        support_fill(bytes + op->offset, op->length, op->seed);
    else
        memset(bytes + op->offset, 0, op->length);
}

static struct guest_op
random_op(struct guest *guest, uint64_t max_length)
{
    uint64_t r = support_random(&guest->random), grain = r % 3 ? 512 : 4096;
    struct guest_op op;

    op.length = support_random(&guest->random) % max_length / grain * grain + grain;
    op.offset = support_random(&guest->random) % guest->size / grain * grain;
    op.length = MIN(op.length, guest->size - op.offset);
    op.seed = r >> 8 & 3 ? r | 1 : 0;
    op.record = 0;
    op.size = guest->size;
    return op;
}

static bool
overlaps(const struct guest *guest, size_t first, const struct guest_op *op)
{
    for (size_t i = first; i < guest->ops.count; i++) {
        const struct guest_op *other = &guest->ops.items[i];

        if (op->offset < other->offset + other->length && other->offset < op->offset + op->length)
            return true;
    }
    return false;
}

struct batch {
    unsigned left;
    struct err *error;
};

static void
batch_done(struct disk_request *request, struct err *error)
{
    struct batch *batch = request->opaque;

    batch->left--;
    if (error && !batch->error)
        batch->error = error;
    else
        err_free(error);
}

static int
issue(struct guest *guest, struct guest_op *op, struct disk_request *request, struct batch *batch,
      struct err **err)
{
    struct disk_target *target = qcow2_target(guest->image);
    uint64_t seed = op->seed;

    if (!op->seed)
        return target->ops->zero(target, op->offset, op->length, err);
    support_fill(request->slot->data, op->length, seed);
    request->offset = op->offset;
    request->length = (uint32_t)op->length;
    request->done = batch_done;
    request->opaque = batch;
    if (target->ops->write(target, request, err) < 0)
        return -1;
    batch->left++;
    return 0;
}

int
guest_batch(struct guest *guest, uint64_t max_length, struct err **err)
{
    struct disk_target *target = qcow2_target(guest->image);
    unsigned count = 1 + (unsigned)(support_random(&guest->random) % BATCH);
    bool with_checkpoint = support_random(&guest->random) % 4 == 0;
    struct disk_request requests[BATCH] = {0};
    struct disk_request checkpoint = {.done = batch_done};
    struct batch batch = {0};
    size_t first = guest->ops.count;
    int result = 0;

    checkpoint.opaque = &batch;
    for (unsigned i = 0; i < count && result == 0; i++) {
        struct guest_op op = random_op(guest, max_length);

        if (overlaps(guest, first, &op))
            continue;
        op.record = record_count(guest);
        vec_push(&guest->ops, op);
        apply(guest->now, &op);
        requests[i].slot = &guest->pool->slots[i];
        result = issue(guest, &op, &requests[i], &batch, err);
    }
    if (target->ops->submit(target, NULL) < 0) /* also what was queued before a failure */
        abort();
    if (with_checkpoint && result == 0) {
        batch.left++;
        result = target->ops->checkpoint(target, &checkpoint, err);
        if (result < 0)
            batch.left--;
    }
    support_wait(target, &batch.left);
    if (result < 0) {
        err_free(batch.error);
        return -1;
    }
    if (batch.error)
        return err_move(err, &batch.error);
    if (with_checkpoint)
        vec_push(&guest->checkpoints, ((struct guest_checkpoint){first, record_count(guest)}));
    return 0;
}

int
guest_replay(struct guest *guest, size_t first, struct err **err)
{
    struct disk_target *target = qcow2_target(guest->image);

    for (size_t i = first; i < guest->ops.count; i++) {
        struct batch batch = {0};
        struct disk_request request = {.slot = &guest->pool->slots[0]};

        if (issue(guest, &guest->ops.items[i], &request, &batch, err) < 0)
            return -1;
        if (target->ops->submit(target, err) < 0)
            abort();
        support_wait(target, &batch.left);
        if (batch.error)
            return err_move(err, &batch.error);
    }
    return 0;
}

static void
aim_read(struct guest *guest, struct disk_request *request, struct batch *batch)
{
    uint64_t sectors = guest->size / 512, most = DISK_MAX_REQUEST / 512;

    request->offset = support_random(&guest->random) % sectors * 512;
    if (support_random(&guest->random) % 4 == 0) /* to the end of the disk */
        request->offset = guest->size - MIN(guest->size, DISK_MAX_REQUEST - 512);
    most = MIN(most, (guest->size - request->offset) / 512);
    request->length = (uint32_t)(1 + support_random(&guest->random) % most) * 512;
    request->slot_offset = (uint32_t)(support_random(&guest->random) %
                                      ((DISK_MAX_REQUEST - request->length) / 512 + 1) * 512);
    request->done = batch_done;
    request->opaque = batch;
    memset(request->slot->data, 0xa5, DISK_MAX_REQUEST);
}

/* Whether the slot holds what it must, and nothing beside it was touched. */
static bool
is_as_expected(const struct guest *guest, const struct disk_request *request)
{
    const uint8_t *slot = request->slot->data, *data = slot + request->slot_offset;

    for (uint32_t i = 0; i < DISK_MAX_REQUEST; i++)
        if ((i < request->slot_offset || i >= request->slot_offset + request->length) &&
            slot[i] != 0xa5)
            return false;
    return memcmp(data, guest->now + request->offset, request->length) == 0;
}

int
guest_read(struct guest *guest, bool *ret_is_equal, struct err **err)
{
    struct disk_target *target = qcow2_target(guest->image);
    struct disk_request requests[BATCH] = {0};
    struct batch batch = {0};
    unsigned count = 0;
    int result = 0;

    for (; count < BATCH && result == 0; count++) {
        requests[count].slot = &guest->pool->slots[count];
        aim_read(guest, &requests[count], &batch);
        result = target->ops->read(target, &requests[count], err);
        batch.left += result == 0;
    }
    if (target->ops->submit(target, NULL) < 0)
        abort();
    support_wait(target, &batch.left);
    if (result < 0) {
        err_free(batch.error);
        return -1;
    }
    if (batch.error)
        return err_move(err, &batch.error);
    *ret_is_equal = true;
    for (unsigned i = 0; i < count; i++)
        *ret_is_equal = *ret_is_equal && is_as_expected(guest, &requests[i]);
    return 0;
}

int
guest_checkpoint(struct guest *guest, struct err **err)
{
    size_t op_count = guest->ops.count;

    if (support_checkpoint(qcow2_target(guest->image), err) < 0)
        return -1;
    vec_push(&guest->checkpoints, ((struct guest_checkpoint){op_count, record_count(guest)}));
    return 0;
}

size_t
guest_covered(const struct guest *guest)
{
    return guest->checkpoints.count
               ? guest->checkpoints.items[guest->checkpoints.count - 1].op_count
               : 0;
}

uint8_t *
guest_expected(const struct guest *guest, size_t op_count)
{
    uint8_t *bytes = xcalloc(1, guest->size);

    for (size_t i = 0; i < op_count; i++)
        apply(bytes, &guest->ops.items[i]);
    return bytes;
}

bool
guest_holds(const struct guest *guest, const char *path, size_t covered, size_t record)
{
    CLEANUP(free_charp) char *expected = (char *)guest_expected(guest, covered);
    CLEANUP(free_charp) char *found = (char *)support_read_guest(path, guest->size);
    CLEANUP(free_charp) char *touched = xcalloc(guest->size / 512, 1);

    if (!found)
        return false;
    for (size_t i = covered; i < guest->ops.count; i++)
        if (guest->ops.items[i].record <= record)
            memset(touched + guest->ops.items[i].offset / 512, 1, guest->ops.items[i].length / 512);
    for (uint64_t at = 0; at < guest->size; at += 512)
        if (!touched[at / 512] && memcmp(expected + at, found + at, 512)) {
            if (getenv("SUPPORT_VERBOSE"))
                fprintf(stderr, "sector at %" PRIu64 " is not as after %zu operations\n", at,
                        covered);
            return false;
        }
    return true;
}
