#include "disks/nfc_queue.h"

#include <time.h>

#include "base/util.h"

#define NS_PER_S 1000000000LL

int64_t
nfc_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

void
nfc_queue_init(struct nfc_queue *queue)
{
    pthread_condattr_t monotonic;

    *queue = (struct nfc_queue){0};
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void
nfc_queue_done(struct nfc_queue *queue)
{
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
}

void
nfc_queue_put(struct nfc_queue *queue, struct nfc_item *item)
{
    struct nfc_item **at = &queue->first;

    SCOPE_LOCK(&queue->lock);
    while (*at && (*at)->due_ns <= item->due_ns)
        at = &(*at)->next;
    item->next = *at;
    *at = item;
    if (queue->first != item)
        return; /* whoever takes the first wakes another */
    /* Somebody may be watching the time of what was first. */
    if (queue->has_watcher)
        pthread_cond_broadcast(&queue->changed);
    else
        pthread_cond_signal(&queue->changed);
}

/* Lock held. */
static void
watch(struct nfc_queue *queue)
{
    struct timespec until = {.tv_sec = queue->first->due_ns / NS_PER_S,
                             .tv_nsec = queue->first->due_ns % NS_PER_S};

    queue->has_watcher = true;
    (void)pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
    queue->has_watcher = false;
}

struct nfc_item *
nfc_queue_take(struct nfc_queue *queue)
{
    SCOPE_LOCK(&queue->lock);
    while (!queue->is_stopped) {
        struct nfc_item *first = queue->first;

        if (first && first->due_ns <= nfc_now_ns()) {
            queue->first = first->next;
            if (queue->first)
                pthread_cond_signal(&queue->changed); /* the next watcher */
            return first;
        }
        if (first && !queue->has_watcher)
            watch(queue);
        else
            pthread_cond_wait(&queue->changed, &queue->lock);
    }
    return NULL;
}

struct nfc_item *
nfc_queue_remove(struct nfc_queue *queue,
                 bool (*is_wanted)(const struct nfc_item *item, const void *opaque),
                 const void *opaque)
{
    struct nfc_item **at = &queue->first, *removed = NULL, *item;

    SCOPE_LOCK(&queue->lock);
    while ((item = *at)) {
        if (!is_wanted(item, opaque)) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        item->next = removed;
        removed = item;
    }
    return removed;
}

void
nfc_queue_stop(struct nfc_queue *queue)
{
    SCOPE_LOCK(&queue->lock);
    queue->is_stopped = true;
    pthread_cond_broadcast(&queue->changed);
}

int64_t
nfc_line_pass(struct nfc_line *line, int64_t ready_ns, uint64_t bytes, uint64_t bytes_per_s)
{
    if (bytes_per_s == 0)
        return ready_ns;
    line->free_ns = MAX(line->free_ns, ready_ns) +
                    (int64_t)((double)bytes * (double)NS_PER_S / (double)bytes_per_s);
    return line->free_ns;
}
