#include <pthread.h>

#include "base/util.h"
#include "transfer/transfer.h"

#define BURST_MS 250 /* that may be made up for after a pause */

/* Reads are charged when they are issued, and may leave a debt: so a request larger than the burst
 * passes too, and what follows waits for it. */
struct transfer_pace {
    pthread_mutex_t mutex;
    uint64_t bytes_per_s; /* 0: no limit */
    int64_t balance;      /* bytes */
    int64_t at_ms;        /* of the balance */
};

struct transfer_pace *
transfer_pace_new(void)
{
    struct transfer_pace *pace = xcalloc(1, sizeof(*pace));

    pthread_mutex_init(&pace->mutex, NULL);
    return pace;
}

void
transfer_pace_freep(struct transfer_pace **pace)
{
    if (!*pace)
        return;
    pthread_mutex_destroy(&(*pace)->mutex);
    free(take(*pace));
}

static void
refill(struct transfer_pace *pace, int64_t now_ms)
{
    int64_t rate = (int64_t)pace->bytes_per_s;
    int64_t burst = rate * BURST_MS / 1000;
    int64_t missing = burst - pace->balance;
    int64_t elapsed = now_ms - pace->at_ms;

    /* Divided, not multiplied, to see whether it is full: no pause is too long for that. */
    if (elapsed > missing * 1000 / MAX(rate, 1))
        pace->balance = burst;
    else if (elapsed > 0)
        pace->balance += elapsed * rate / 1000;
    pace->at_ms = now_ms;
}

void
transfer_pace_set(struct transfer_pace *pace, uint64_t bytes_per_s, int64_t now_ms)
{
    pthread_mutex_lock(&pace->mutex);
    if (pace->bytes_per_s)
        refill(pace, now_ms);
    pace->bytes_per_s = MIN(bytes_per_s, TRANSFER_PACE_MAX);
    pace->balance = MIN(pace->balance, 0);
    pace->at_ms = now_ms;
    pthread_mutex_unlock(&pace->mutex);
}

int64_t
transfer_pace_charge(struct transfer_pace *pace, uint32_t bytes, int64_t now_ms)
{
    int64_t wait_ms = 0;

    pthread_mutex_lock(&pace->mutex);
    if (pace->bytes_per_s) {
        int64_t rate = (int64_t)pace->bytes_per_s;

        refill(pace, now_ms);
        pace->balance -= bytes;
        if (pace->balance < 0)
            wait_ms = (-pace->balance * 1000 + rate - 1) / rate;
    } else {
        pace->balance = 0;
    }
    pthread_mutex_unlock(&pace->mutex);
    return wait_ms;
}
