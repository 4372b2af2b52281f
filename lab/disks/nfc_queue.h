/* Inside disks: work that becomes due at a time, for a few threads that take it; and how long bytes take
 * through a line of a certain rate.
 *
 * Threading: any thread may put and take; a line belongs to whoever locks for it. */
#ifndef V2C_LAB_DISKS_NFC_QUEUE_H
#define V2C_LAB_DISKS_NFC_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct nfc_item {
    struct nfc_item *next;
    int64_t due_ns; /* CLOCK_MONOTONIC */
};

struct nfc_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct nfc_item *first; /* the earliest; lock, as what follows */
    bool has_watcher; /* one of the threads waits until the first is due, the others for a call */
    bool is_stopped;
};

void nfc_queue_init(struct nfc_queue *queue);
/* Nothing may be in it any more. */
void nfc_queue_done(struct nfc_queue *queue);
void nfc_queue_put(struct nfc_queue *queue, struct nfc_item *item);
/* Waits until something is due, in the order of that; NULL once the queue is stopped. */
struct nfc_item *nfc_queue_take(struct nfc_queue *queue);
/* Takes out what @is_wanted says, due or not: a list. */
struct nfc_item *nfc_queue_remove(struct nfc_queue *queue,
                                  bool (*is_wanted)(const struct nfc_item *item,
                                                    const void *opaque),
                                  const void *opaque);
void nfc_queue_stop(struct nfc_queue *queue);

int64_t nfc_now_ns(void);

/* Bytes pass a line one after the other. */
struct nfc_line {
    int64_t free_ns; /* when the last of them is through */
};
/* When @bytes that are ready at @ready_ns are through at @bytes_per_s (0: at once). */
int64_t nfc_line_pass(struct nfc_line *line, int64_t ready_ns, uint64_t bytes,
                      uint64_t bytes_per_s);

#endif
