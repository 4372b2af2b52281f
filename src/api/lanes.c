/* The threads that answer requests, each with a store of its own.  Those that ask other servers have threads
 * of their own, so that a vCenter that hangs never holds up a status. */
#include <sys/resource.h>

#include "api/internal.h"
#include "base/clock.h"
#include "base/log.h"

#define QUICK_THREADS 4
#define SLOW_THREADS  6
#define MAX_WAITING   512 /* of one lane; more are refused at once */

struct lane_queue {
    VEC_DECLARE(, struct request *)
    waiting; /* first come, first served; `next` is the head */
    size_t next;
    pthread_cond_t ready;
};

struct lane_thread {
    struct lanes *lanes;
    enum lane lane;
    struct store *store;
    pthread_t thread;
};

struct lanes {
    struct api *api;
    pthread_mutex_t mutex;
    struct lane_queue queues[2];
    struct lane_thread threads[QUICK_THREADS + SLOW_THREADS];
    size_t started;
    bool is_stopping;
    int64_t beat_ms; /* since when a quick thread is asked for a sign of life; 0: none is */
};

/* Linux counts niceness by thread: those that begin workers are left as they are, and so are the workers. */
void
thread_answers_first(const char *name)
{
    (void)pthread_setname_np(pthread_self(), name);
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - 5);
}

/* NULL when it is stopping and nothing waits. */
static struct request *
pop(struct lanes *lanes, enum lane lane)
{
    struct lane_queue *q = &lanes->queues[lane];
    struct request *r = NULL;

    SCOPE_LOCK(&lanes->mutex);
    while (q->next == q->waiting.count && !lanes->is_stopping) {
        if (lane == LANE_QUICK)
            lanes->beat_ms = 0;
        pthread_cond_wait(&q->ready, &lanes->mutex);
    }
    if (lane == LANE_QUICK)
        lanes->beat_ms = 0;
    if (q->next < q->waiting.count)
        r = q->waiting.items[q->next++];
    if (q->next == q->waiting.count)
        q->next = q->waiting.count = 0;
    return r;
}

static void *
work(void *opaque)
{
    struct lane_thread *t = opaque;
    struct request *r;

    if (t->lane == LANE_QUICK)
        thread_answers_first("v2c-quick");
    else
        (void)pthread_setname_np(pthread_self(), "v2c-slow");
    store_keep_statements(t->store);
    while ((r = pop(t->lanes, t->lane))) {
        struct MHD_Connection *connection = r->connection;

        r->store = t->store;
        if (r->gate == GATE_ASKING)
            body_admit(r);
        else
            route_answer(r);
        r->store = NULL;
        api_resume(t->lanes->api, connection);
    }
    return NULL;
}

bool
lanes_are_alive(struct lanes *lanes, int64_t within_ms)
{
    int64_t now = clock_monotonic_ms();

    SCOPE_LOCK(&lanes->mutex);
    if (!lanes->beat_ms) {
        lanes->beat_ms = now;
        pthread_cond_signal(&lanes->queues[LANE_QUICK].ready);
    }
    return now - lanes->beat_ms <= within_ms;
}

void
lanes_push(struct lanes *lanes, struct request *r)
{
    struct lane_queue *q = &lanes->queues[r->gate == GATE_ASKING ? LANE_QUICK : r->route->lane];

    SCOPE_LOCK(&lanes->mutex);
    if (lanes->is_stopping || q->waiting.count - q->next >= MAX_WAITING) {
        CLEANUP(err_freep) struct err *busy = NULL;

        err_set(&busy, E_REQUEST, "the service is busy");
        answer_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, busy);
        if (r->gate == GATE_ASKING)
            r->gate = GATE_CLOSED;
        api_resume(lanes->api, r->connection);
        return;
    }
    vec_push(&q->waiting, r);
    pthread_cond_signal(&q->ready);
}

static int
start_thread(struct lanes *lanes, enum lane lane, struct err **err)
{
    struct lane_thread *t = &lanes->threads[lanes->started];
    int errnum;

    *t = (struct lane_thread){.lanes = lanes, .lane = lane};
    if (store_open(lanes->api->options.control_dir, false, &t->store, err) < 0)
        return -1;
    errnum = pthread_create(&t->thread, NULL, work, t);
    if (errnum) {
        store_closep(&t->store);
        return err_set_errno(err, E_MEMORY, errnum, "starting a thread");
    }
    lanes->started++;
    return 0;
}

int
lanes_start(struct api *api, struct lanes **ret, struct err **err)
{
    struct lanes *lanes = xcalloc(1, sizeof(*lanes));
    int rc = 0;

    lanes->api = api;
    pthread_mutex_init(&lanes->mutex, NULL);
    pthread_cond_init(&lanes->queues[LANE_QUICK].ready, NULL);
    pthread_cond_init(&lanes->queues[LANE_SLOW].ready, NULL);
    for (size_t i = 0; i < QUICK_THREADS + SLOW_THREADS && rc == 0; i++)
        rc = start_thread(lanes, i < QUICK_THREADS ? LANE_QUICK : LANE_SLOW, err);
    if (rc < 0) {
        lanes_free(lanes);
        return -1;
    }
    *ret = lanes;
    return 0;
}

void
lanes_stop(struct lanes *lanes)
{
    if (!lanes)
        return;
    pthread_mutex_lock(&lanes->mutex);
    lanes->is_stopping = true;
    pthread_cond_broadcast(&lanes->queues[LANE_QUICK].ready);
    pthread_cond_broadcast(&lanes->queues[LANE_SLOW].ready);
    pthread_mutex_unlock(&lanes->mutex);
    for (size_t i = 0; i < lanes->started; i++) {
        (void)pthread_join(lanes->threads[i].thread, NULL);
        store_closep(&lanes->threads[i].store);
    }
    lanes->started = 0;
}

void
lanes_free(struct lanes *lanes)
{
    if (!lanes)
        return;
    lanes_stop(lanes);
    vec_done(&lanes->queues[LANE_QUICK].waiting);
    vec_done(&lanes->queues[LANE_SLOW].waiting);
    pthread_mutex_destroy(&lanes->mutex);
    free(lanes);
}
