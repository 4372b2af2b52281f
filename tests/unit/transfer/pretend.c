#include "pretend.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"

static void
queue_init(struct pretend_queue *queue)
{
    queue->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    queue->random = 88172645463325252ULL;
    if (queue->event_fd < 0)
        abort();
}

static void
queue_add(struct pretend_queue *queue, struct disk_request *request)
{
    if (queue->count == ARRAY_SIZE(queue->requests))
        abort();
    queue->requests[queue->count++] = request;
}

static void
queue_signal(struct pretend_queue *queue)
{
    static const uint64_t one = 1;

    queue->submitted = queue->count;
    if (write(queue->event_fd, &one, sizeof(one)) < 0)
        abort();
}

/* Takes one that was submitted, in no particular order. */
static struct disk_request *
queue_take(struct pretend_queue *queue)
{
    struct disk_request *request;
    unsigned i;

    if (!queue->submitted)
        return NULL;
    queue->random ^= queue->random << 13;
    queue->random ^= queue->random >> 7;
    queue->random ^= queue->random << 17;
    i = (unsigned)(queue->random % queue->submitted);
    request = queue->requests[i];
    queue->requests[i] = queue->requests[--queue->submitted];
    queue->requests[queue->submitted] = queue->requests[--queue->count];
    return request;
}

static void
queue_clear_signal(struct pretend_queue *queue)
{
    uint64_t counter;
    ssize_t n = read(queue->event_fd, &counter, sizeof(counter));

    (void)n; /* nothing there is fine */
}

/* ---- source ----------------------------------------------------------------------------------- */

static int
source_read(struct disk_source *source, struct disk_request *request, struct err **err)
{
    struct pretend_source *pretend = (struct pretend_source *)source;

    pretend->reads++;
    if (source->alignment && (request->offset % source->alignment ||
                              ((request->offset + request->length) % source->alignment &&
                               request->offset + request->length != source->size)))
        pretend->misaligned++;
    if (pretend->reads == pretend->refuse_at)
        return err_set(err, E_SOURCE_READ, "refused");
    /* Its number, for when it is delivered. */
    request->impl = (void *)(uintptr_t)pretend->reads;
    queue_add(&pretend->queue, request);
    pretend->most_in_flight = MAX(pretend->most_in_flight, pretend->queue.count);
    return 0;
}

static int
source_submit(struct disk_source *source, struct err **err)
{
    struct pretend_source *pretend = (struct pretend_source *)source;

    pretend->submits++;
    queue_signal(&pretend->queue);
    return 0;
}

static void
deliver_read(struct pretend_source *pretend, struct disk_request *request)
{
    unsigned number = (unsigned)(uintptr_t)request->impl;
    struct err *error = NULL;

    if (number == pretend->fail_at) {
        err_set(&error, E_SOURCE_READ, "read at %llu failed", (unsigned long long)request->offset);
        request->done(request, error);
        return;
    }
    if (number == pretend->short_at)
        request->length /= 2;
    memcpy(request->slot->data, pretend->bytes + request->offset, request->length);
    pretend->read_bytes += request->length;
    request->done(request, NULL);
}

/* Delivers at most three at a time, so that much stays in flight. */
static int
source_reap(struct disk_source *source, unsigned *ret_count, struct err **err)
{
    struct pretend_source *pretend = (struct pretend_source *)source;
    struct disk_request *request;

    pretend->reaps++;
    if (pretend->break_at && pretend->reaps >= pretend->break_at)
        return err_set(err, E_VDDK_CRASH, "the queue is broken");
    *ret_count = 0;
    queue_clear_signal(&pretend->queue);
    while (*ret_count < 3 && (request = queue_take(&pretend->queue)) != NULL) {
        deliver_read(pretend, request);
        ++*ret_count;
    }
    if (pretend->queue.submitted)
        queue_signal(&pretend->queue);
    return 0;
}

static void
source_close(struct disk_source *source)
{
    struct pretend_source *pretend = (struct pretend_source *)source;
    struct disk_request *request;

    pretend->queue.submitted = pretend->queue.count;
    while ((request = queue_take(&pretend->queue)) != NULL) {
        struct err *error = NULL;

        err_set(&error, E_SOURCE_READ, "closed");
        request->done(request, error);
    }
}

static const struct disk_source_ops source_ops = {
    .name = "pretend",
    .read = source_read,
    .submit = source_submit,
    .reap = source_reap,
    .close = source_close,
};

void
pretend_source_init(struct pretend_source *source, uint64_t size)
{
    *source = (struct pretend_source){.bytes = xcalloc(1, size)};
    queue_init(&source->queue);
    source->source = (struct disk_source){.ops = &source_ops,
                                          .size = size,
                                          .alignment = DISK_SECTOR,
                                          .max_in_flight = 8,
                                          .poll_fd = source->queue.event_fd};
}

void
pretend_source_done(struct pretend_source *source)
{
    source->source.ops->close(&source->source);
    close(source->queue.event_fd);
    free(source->bytes);
}

/* ---- target ----------------------------------------------------------------------------------- */

/* In request->impl: its number among those of its kind, and which kind that is. */
static void *
tag(unsigned number, bool is_read)
{
    return (void *)(uintptr_t)(number << 1 | is_read);
}

static int
target_write(struct disk_target *target, struct disk_request *request, struct err **err)
{
    struct pretend_target *pretend = (struct pretend_target *)target;

    request->impl = tag(++pretend->writes, false);
    queue_add(&pretend->queue, request);
    pretend->most_in_flight = MAX(pretend->most_in_flight, pretend->queue.count);
    return 0;
}

static int
target_read(struct disk_target *target, struct disk_request *request, struct err **err)
{
    struct pretend_target *pretend = (struct pretend_target *)target;

    request->impl = tag(++pretend->reads, true);
    queue_add(&pretend->queue, request);
    return 0;
}

static int
target_zero(struct disk_target *target, uint64_t offset, uint64_t length, struct err **err)
{
    struct pretend_target *pretend = (struct pretend_target *)target;

    if (++pretend->zeroes == pretend->zero_fail_at)
        return err_set(err, E_TARGET_WRITE, "no zeroes");
    memset(pretend->bytes + offset, 0, length);
    pretend->zeroed_bytes += length;
    return 0;
}

static int
target_submit(struct disk_target *target, struct err **err)
{
    queue_signal(&((struct pretend_target *)target)->queue);
    return 0;
}

static void
deliver_checkpoint(struct pretend_target *pretend)
{
    struct disk_request *request = take(pretend->checkpoint);
    struct err *error = NULL;

    if (++pretend->checkpoints == pretend->checkpoint_fail_at)
        err_set(&error, E_TARGET_WRITE, "sync failed");
    else
        pretend->written_at_checkpoint = pretend->pending_written;
    request->done(request, error);
}

static void
deliver_target(struct pretend_target *pretend, struct disk_request *request)
{
    uint8_t *bytes = request->slot->data + request->slot_offset;
    struct err *error = NULL;

    if (request->impl == tag(pretend->fail_at, false)) {
        err_set(&error, E_NO_SPACE, "disk full");
    } else if (request->impl == tag(pretend->read_fail_at, true)) {
        err_set(&error, E_TARGET_READ, "bad sector");
    } else if ((uintptr_t)request->impl & 1) {
        memcpy(bytes, pretend->bytes + request->offset, request->length);
    } else {
        memcpy(pretend->bytes + request->offset, bytes, request->length);
        pretend->written_bytes += request->length;
    }
    request->done(request, error);
}

static int
target_reap(struct disk_target *target, unsigned *ret_count, struct err **err)
{
    struct pretend_target *pretend = (struct pretend_target *)target;
    struct disk_request *request;

    *ret_count = 0;
    queue_clear_signal(&pretend->queue);
    while (*ret_count < 2 && (request = queue_take(&pretend->queue)) != NULL) {
        ++*ret_count;
        deliver_target(pretend, request);
    }
    if (pretend->checkpoint && pretend->checkpoint_delay-- == 0) {
        ++*ret_count;
        deliver_checkpoint(pretend);
    }
    if (pretend->queue.submitted || pretend->checkpoint)
        queue_signal(&pretend->queue);
    return 0;
}

static int
target_checkpoint(struct disk_target *target, struct disk_request *request, struct err **err)
{
    struct pretend_target *pretend = (struct pretend_target *)target;

    if (pretend->checkpoint)
        abort();
    pretend->checkpoint = request;
    pretend->checkpoint_delay = 3;
    pretend->pending_written = pretend->written_bytes;
    queue_signal(&pretend->queue);
    return 0;
}

static void
target_close(struct disk_target *target)
{
}

static const struct disk_target_ops target_ops = {
    .name = "pretend",
    .write = target_write,
    .read = target_read,
    .zero = target_zero,
    .submit = target_submit,
    .reap = target_reap,
    .checkpoint = target_checkpoint,
    .close = target_close,
};

void
pretend_target_init(struct pretend_target *target, uint64_t size, bool is_new)
{
    *target = (struct pretend_target){.bytes = xcalloc(1, size)};
    queue_init(&target->queue);
    target->target = (struct disk_target){.ops = &target_ops,
                                          .size = size,
                                          .is_new = is_new,
                                          .max_in_flight = 4,
                                          .poll_fd = target->queue.event_fd};
}

void
pretend_target_done(struct pretend_target *target)
{
    close(target->queue.event_fd);
    free(target->bytes);
}
