#include "io/engine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"

/* Enough to keep an NFS mount busy; more only adds switches. */
#define MAX_THREADS 16U

struct threads_engine {
    struct io_engine engine;
    struct io_op_list started; /* not yet handed over; the owner's alone */
    unsigned max_threads;
    unsigned batch; /* finished ones that the owner is woken for, while more are waiting */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    struct io_op_list waiting, finished;
    unsigned idle, thread_count, finished_count;
    bool is_readable; /* the poll fd */
    bool is_ending;
    pthread_t threads[MAX_THREADS];
};

static struct io_op *
next_op(struct threads_engine *threads)
{
    SCOPE_LOCK(&threads->lock);

    while (!threads->waiting.first && !threads->is_ending) {
        threads->idle++;
        pthread_cond_wait(&threads->wake, &threads->lock);
        threads->idle--;
    }
    return io_op_list_pop(&threads->waiting);
}

static void
finish_op(struct threads_engine *threads, struct io_op *op)
{
    static const uint64_t one = 1;

    SCOPE_LOCK(&threads->lock);

    /* Written under the lock, so that the fd is readable exactly while the list is full enough. */
    io_op_list_append(&threads->finished, op);
    threads->finished_count++;
    if (threads->is_readable ||
        (threads->finished_count < threads->batch && threads->waiting.first))
        return;
    threads->is_readable = true;
    if (write(threads->engine.poll_fd, &one, sizeof(one)) < 0)
        abort();
}

static void *
work(void *opaque)
{
    struct threads_engine *threads = opaque;
    struct io_op *op;

    while ((op = next_op(threads)) != NULL) {
        op->result = io_op_perform(op);
        finish_op(threads, op);
    }
    return NULL;
}

static int
threads_start(struct io_engine *engine, struct io_op *op, struct err **err)
{
    struct threads_engine *threads = (struct threads_engine *)engine;

    io_op_list_append(&threads->started, op);
    return 0;
}

/* Signals are for the threads of the program. */
static int
add_thread(struct threads_engine *threads)
{
    sigset_t all, before;
    int result;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&threads->threads[threads->thread_count], NULL, work, threads);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0)
        threads->thread_count++;
    return result;
}

static int
threads_submit(struct io_engine *engine, struct err **err)
{
    struct threads_engine *threads = (struct threads_engine *)engine;
    unsigned count = 0;
    struct io_op *op;

    if (!threads->started.first)
        return 0;
    SCOPE_LOCK(&threads->lock);
    for (; (op = io_op_list_pop(&threads->started)) != NULL; count++)
        io_op_list_append(&threads->waiting, op);
    for (unsigned missing = count > threads->idle ? count - threads->idle : 0;
         missing && threads->thread_count < threads->max_threads; missing--) {
        int result = add_thread(threads);

        if (result && threads->thread_count == 0) {
            while (io_op_list_pop(&threads->waiting))
                ;
            return err_set_errno(err, E_MEMORY, result, "no thread for file I/O");
        }
        if (result)
            break; /* the ones there are will do */
    }
    for (; count; count--)
        pthread_cond_signal(&threads->wake);
    return 0;
}

static int
threads_reap(struct io_engine *engine, struct err **err)
{
    struct threads_engine *threads = (struct threads_engine *)engine;
    struct io_op *op, *next;
    uint64_t counter;

    pthread_mutex_lock(&threads->lock);
    op = threads->finished.first;
    io_op_list_init(&threads->finished);
    threads->finished_count = 0;
    if (take(threads->is_readable) && read(engine->poll_fd, &counter, sizeof(counter)) < 0)
        abort();
    pthread_mutex_unlock(&threads->lock);
    for (; op; op = next) {
        next = op->next;
        engine->complete(engine->opaque, op, op->result);
    }
    return 0;
}

static int
threads_wait(struct io_engine *engine, struct err **err)
{
    struct pollfd fd = {.fd = engine->poll_fd, .events = POLLIN};

    if (threads_submit(engine, err) < 0)
        return -1;
    while (poll(&fd, 1, -1) < 0)
        if (errno != EINTR)
            return err_set_errno(err, E_IO, errno, "poll");
    return 0;
}

static void
threads_free(struct io_engine *engine)
{
    struct threads_engine *threads = (struct threads_engine *)engine;

    pthread_mutex_lock(&threads->lock);
    threads->is_ending = true;
    pthread_cond_broadcast(&threads->wake);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->thread_count; i++)
        pthread_join(threads->threads[i], NULL);
    pthread_cond_destroy(&threads->wake);
    pthread_mutex_destroy(&threads->lock);
    close_fdp(&engine->poll_fd);
    free(threads);
}

static const struct io_engine_ops threads_ops = {
    .name = "threads",
    .start = threads_start,
    .submit = threads_submit,
    .reap = threads_reap,
    .wait = threads_wait,
    .free = threads_free,
};

struct io_engine *
io_threads_engine_new(unsigned depth, unsigned most, unsigned batch, struct err **err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct threads_engine *threads;

    if (fd < 0) {
        err_set_errno(err, E_IO, errno, "eventfd");
        return NULL;
    }
    threads = xcalloc(1, sizeof(*threads));
    threads->engine.ops = &threads_ops;
    threads->engine.poll_fd = fd;
    threads->batch = batch;
    threads->max_threads = MIN(depth, most ? most : MAX_THREADS);
    io_op_list_init(&threads->started);
    io_op_list_init(&threads->waiting);
    io_op_list_init(&threads->finished);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->wake, NULL);
    return &threads->engine;
}
