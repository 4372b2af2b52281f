/* A disk read over one connection, and over a second where that helps (vddk_trial.h).
 *
 * Everything happens on the caller's thread, but for opening and closing the second, which takes
 * seconds: a helper thread does either, and rings an eventfd when it is through.  It has the second for
 * itself meanwhile.
 *
 * A read that the second fails is given to the first.  This is safe: a process that died was waited for
 * before its reads came back, so nobody writes into the slot any more. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "source/vddk.h"
#include "source/vddk_trial.h"

#define START_TIMEOUT_MS 20000 /* a host that takes longer is no help */
#define WANTED_MS        1000
/* Of the reads in flight that the source profits from, in flight is as good as full. */
#define FULL_QUARTERS    3U

/* A read on its way through one of the two: what its submitter wants is kept here meanwhile. */
struct pair_read {
    struct vddk_pair *pair;
    struct disk_source *by;
    disk_done_fn done;
    void *opaque;
};

/* The options of the second, and what they point to. */
struct kept_options {
    struct source_vddk_options options;
    char *strings[11];
    size_t count;
};

enum second_state {
    SECOND_NONE,
    SECOND_OPENING, /* by the helper thread */
    SECOND_OPEN,
    SECOND_LEAVING, /* gets no more reads */
    SECOND_CLOSING, /* by the helper thread */
};

struct vddk_pair {
    struct disk_source source;
    struct disk_source *first, *second;
    struct source_vddk_second callbacks;
    struct kept_options kept;
    struct pair_read *reads; /* by slot */
    unsigned in_flight[2];
    uint64_t read_bytes;
    unsigned delivered; /* in this reap */

    struct vddk_trial trial;
    enum second_state state;
    bool is_second_used; /* for new reads */
    bool has_leave;      /* callbacks.may_open said so */
    bool is_closing;
    int64_t asked_ms; /* when callbacks.is_wanted was asked last */

    pthread_t helper; /* SECOND_OPENING, SECOND_CLOSING */
    int helper_fd;    /* eventfd: it is through */
    struct err *helper_error;
};

static struct vddk_pair *
of_source(const struct disk_source *source)
{
    return (struct vddk_pair *)((const char *)source - offsetof(struct vddk_pair, source));
}

/* ---- options ----------------------------------------------------------------------------------- */

static const char *
keep(struct kept_options *kept, const char *text)
{
    return text ? kept->strings[kept->count++] = xstrdup(text) : NULL;
}

static void
keep_options(struct kept_options *kept, const struct source_vddk_options *options)
{
    struct source_vddk_options *o = &kept->options;

    *o = *options;
    o->program = keep(kept, options->program);
    o->libdir = keep(kept, options->libdir);
    o->server = keep(kept, options->server);
    o->user = keep(kept, options->user);
    o->password = keep(kept, options->password);
    o->thumbprint = keep(kept, options->thumbprint);
    o->vm_moref = keep(kept, options->vm_moref);
    o->snapshot_moref = keep(kept, options->snapshot_moref);
    o->disk_path = keep(kept, options->disk_path);
    o->tuning.transports = keep(kept, options->tuning.transports);
    o->tuning.tmp_dir = keep(kept, options->tuning.tmp_dir);
    if (o->start_timeout_ms == 0 || o->start_timeout_ms > START_TIMEOUT_MS)
        o->start_timeout_ms = START_TIMEOUT_MS;
}

static void
forget_options(struct kept_options *kept)
{
    for (size_t i = 0; i < kept->count; i++) {
        explicit_bzero(kept->strings[i], strlen(kept->strings[i])); /* one is the password */
        free(kept->strings[i]);
    }
    kept->count = 0;
}

/* ---- the helper thread ------------------------------------------------------------------------- */

static void
ring(struct vddk_pair *pair)
{
    (void)!write(pair->helper_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static void *
open_second(void *opaque)
{
    struct vddk_pair *pair = opaque;

    (void)vddk_open_once(&pair->kept.options, &pair->second, &pair->helper_error);
    ring(pair);
    return NULL;
}

static void *
close_second(void *opaque)
{
    struct vddk_pair *pair = opaque;

    pair->second->ops->close(pair->second);
    ring(pair);
    return NULL;
}

static void
tell_closed(struct vddk_pair *pair)
{
    if (take(pair->has_leave) && pair->callbacks.closed)
        pair->callbacks.closed(pair->callbacks.opaque);
}

static void
begin_open(struct vddk_pair *pair)
{
    if (pair->callbacks.may_open && !pair->callbacks.may_open(pair->callbacks.opaque)) {
        vddk_trial_postpone(&pair->trial, pair->read_bytes);
        return;
    }
    pair->has_leave = true;
    if (pthread_create(&pair->helper, NULL, open_second, pair) == 0) {
        pair->state = SECOND_OPENING;
        return;
    }
    vddk_trial_stop(&pair->trial);
    tell_closed(pair);
}

/* The second gets no more reads; it is closed when those that it has are back. */
static void
begin_leaving(struct vddk_pair *pair)
{
    vddk_trial_stop(&pair->trial);
    pair->is_second_used = false;
    if (pair->state == SECOND_OPEN)
        pair->state = SECOND_LEAVING;
}

static void
begin_close(struct vddk_pair *pair)
{
    (void)epoll_ctl(pair->source.poll_fd, EPOLL_CTL_DEL, pair->second->poll_fd, NULL);
    if (pthread_create(&pair->helper, NULL, close_second, pair) == 0) {
        pair->state = SECOND_CLOSING;
        return;
    }
    disk_source_closep(&pair->second); /* then it takes its time here */
    pair->state = SECOND_NONE;
    tell_closed(pair);
}

static void take_step(struct vddk_pair *pair, enum vddk_trial_step step);

static void
take_opened(struct vddk_pair *pair)
{
    struct disk_source *second = pair->second;
    bool is_open = second != NULL;

    if (is_open && second->size != pair->source.size) {
        disk_source_closep(&pair->second);
        is_open = false;
    }
    if (is_open && epoll_ctl(pair->source.poll_fd, EPOLL_CTL_ADD, second->poll_fd,
                             &(struct epoll_event){.events = EPOLLIN}) < 0) {
        disk_source_closep(&pair->second);
        is_open = false;
    }
    if (!is_open)
        log_debug("no second connection for %s: %s", pair->kept.options.disk_path,
                  pair->helper_error ? err_message(pair->helper_error) : "it cannot be used");
    err_freep(&pair->helper_error);
    pair->helper_error = NULL;
    pair->state = is_open ? SECOND_OPEN : SECOND_NONE;
    if (!is_open)
        tell_closed(pair);
    take_step(pair,
              vddk_trial_opened(&pair->trial, clock_monotonic_ms(), pair->read_bytes, is_open));
}

/* Joins the helper when it is through; @is_waiting: when it will be. */
static void
end_helper(struct vddk_pair *pair, bool is_waiting)
{
    uint64_t count;

    if (pair->state != SECOND_OPENING && pair->state != SECOND_CLOSING)
        return;
    if (read(pair->helper_fd, &count, sizeof(count)) != (ssize_t)sizeof(count) && !is_waiting)
        return;
    pthread_join(pair->helper, NULL);
    if (pair->state == SECOND_OPENING) {
        take_opened(pair);
        return;
    }
    pair->second = NULL;
    pair->state = SECOND_NONE;
    tell_closed(pair);
}

/* ---- the trial --------------------------------------------------------------------------------- */

static void
take_step(struct vddk_pair *pair, enum vddk_trial_step step)
{
    const struct source_vddk_second *callbacks = &pair->callbacks;
    bool is_kept = step == VDDK_TRIAL_KEEP;

    switch (step) {
    case VDDK_TRIAL_STAY:
        return;
    case VDDK_TRIAL_OPEN:
        begin_open(pair);
        return;
    case VDDK_TRIAL_ONE:
    case VDDK_TRIAL_BOTH:
        pair->is_second_used = step == VDDK_TRIAL_BOTH;
        return;
    case VDDK_TRIAL_KEEP:
    case VDDK_TRIAL_DROP:
        log_debug("a second connection for %s: %s, %" PRIu64 " bytes/s with one and %" PRIu64
                  " with both",
                  pair->kept.options.disk_path, is_kept ? "kept" : "closed", pair->trial.rate_one,
                  pair->trial.rate_both);
        pair->is_second_used = is_kept;
        if (callbacks->decided)
            callbacks->decided(callbacks->opaque, is_kept, pair->trial.rate_one,
                               pair->trial.rate_both);
        if (!is_kept)
            begin_leaving(pair);
        return;
    }
}

/* Whether the queues are as they will stay: with both in use of one length, else one of them empty. */
static bool
is_settled(const struct vddk_pair *pair)
{
    return pair->is_second_used ? pair->in_flight[0] <= pair->in_flight[1] + 2
                                : pair->in_flight[1] == 0;
}

static void
tick(struct vddk_pair *pair)
{
    unsigned full = MAX(pair->source.max_in_flight * FULL_QUARTERS / 4, 1U);
    int64_t now_ms = clock_monotonic_ms();

    take_step(pair,
              vddk_trial_tick(&pair->trial, now_ms, pair->read_bytes,
                              pair->in_flight[0] + pair->in_flight[1] >= full, is_settled(pair)));
    if (pair->state == SECOND_OPEN && pair->callbacks.is_wanted &&
        now_ms - pair->asked_ms >= WANTED_MS) {
        pair->asked_ms = now_ms;
        if (pair->callbacks.is_wanted(pair->callbacks.opaque)) {
            log_debug("the second connection for %s is wanted elsewhere",
                      pair->kept.options.disk_path);
            begin_leaving(pair);
        }
    }
    if (pair->state == SECOND_LEAVING && pair->in_flight[1] == 0)
        begin_close(pair);
}

/* ---- the source -------------------------------------------------------------------------------- */

static void pair_done(struct disk_request *request, struct err *error);

static int
read_by(struct vddk_pair *pair, struct disk_source *by, struct disk_request *request,
        struct err **err)
{
    struct pair_read *read = &pair->reads[request->slot->index];
    bool is_second = by != pair->first; /* pair->second may be the helper's */

    *read = (struct pair_read){pair, by, request->done, request->opaque};
    request->done = pair_done;
    request->opaque = read;
    pair->in_flight[is_second]++;
    if (by->ops->read(by, request, err) == 0)
        return 0;
    pair->in_flight[is_second]--;
    request->done = read->done;
    request->opaque = read->opaque;
    return -1;
}

/* The second has failed with @error, which is taken over; true when the first has the read now. */
static bool
read_by_first(struct vddk_pair *pair, struct disk_request *request, struct err *error)
{
    struct err *failure = NULL;

    if (pair->state == SECOND_OPEN)
        log_debug("the second connection for %s: %s", pair->kept.options.disk_path,
                  err_message(error));
    begin_leaving(pair);
    if (pair->is_closing || read_by(pair, pair->first, request, &failure) < 0) {
        err_free(failure);
        return false;
    }
    if (pair->first->ops->submit(pair->first, &failure) < 0)
        err_free(failure); /* it would be said of the next batch too */
    return true;
}

static void
pair_done(struct disk_request *request, struct err *error)
{
    struct pair_read *read = request->opaque;
    struct vddk_pair *pair = read->pair;
    bool is_second = read->by != pair->first;

    pair->in_flight[is_second]--;
    request->done = read->done;
    request->opaque = read->opaque;
    if (error && is_second && read_by_first(pair, request, error)) {
        err_free(error);
        return;
    }
    if (!error)
        pair->read_bytes += request->length;
    pair->delivered++;
    request->done(request, error);
}

static int
pair_read(struct disk_source *source, struct disk_request *request, struct err **err)
{
    struct vddk_pair *pair = of_source(source);
    bool is_second = pair->state == SECOND_OPEN && pair->is_second_used &&
                     pair->in_flight[1] < pair->in_flight[0];
    struct err *failure = NULL;

    if (request->slot->index >= pair->kept.options.pool->slot_count)
        return err_set(err, E_BUG, "slot %" PRIu32 " is not there", request->slot->index);
    if (is_second && read_by(pair, pair->second, request, &failure) == 0)
        return 0;
    if (failure) {
        log_debug("the second connection for %s: %s", pair->kept.options.disk_path,
                  err_message(failure));
        err_free(failure);
        begin_leaving(pair);
    }
    return read_by(pair, pair->first, request, err);
}

static bool
has_second(const struct vddk_pair *pair)
{
    return pair->state == SECOND_OPEN || pair->state == SECOND_LEAVING;
}

static int
pair_submit(struct disk_source *source, struct err **err)
{
    struct vddk_pair *pair = of_source(source);

    if (has_second(pair) && pair->second->ops->submit(pair->second, err) < 0)
        return -1;
    if (pair->first->ops->submit(pair->first, err) < 0)
        return -1;
    tick(pair);
    return 0;
}

static int
pair_reap(struct disk_source *source, unsigned *ret_count, struct err **err)
{
    struct vddk_pair *pair = of_source(source);
    unsigned count;

    pair->delivered = 0;
    end_helper(pair, false);
    if (has_second(pair) && pair->second->ops->reap(pair->second, &count, err) < 0)
        return -1;
    if (pair->first->ops->reap(pair->first, &count, err) < 0)
        return -1;
    tick(pair);
    *ret_count = pair->delivered;
    return 0;
}

static int
pair_extents(struct disk_source *source, uint64_t offset, uint64_t length, struct extents *extents,
             struct err **err)
{
    struct vddk_pair *pair = of_source(source);

    return pair->first->ops->extents(pair->first, offset, length, extents, err);
}

static void
pair_close(struct disk_source *source)
{
    struct vddk_pair *pair = of_source(source);

    pair->is_closing = true;
    vddk_trial_stop(&pair->trial);
    end_helper(pair, true);
    if (pair->second)
        pair->second->ops->close(pair->second);
    pair->state = SECOND_NONE;
    tell_closed(pair);
    pair->first->ops->close(pair->first);
    close_fdp(&pair->helper_fd);
    close_fdp(&pair->source.poll_fd);
    forget_options(&pair->kept);
    free(pair->reads);
    free(pair);
}

static const struct disk_source_ops pair_ops = {
    .name = "vddk",
    .extents = pair_extents,
    .read = pair_read,
    .submit = pair_submit,
    .reap = pair_reap,
    .close = pair_close,
};

const struct disk_source *
vddk_pair_first(const struct disk_source *source)
{
    return source->ops == &pair_ops ? of_source(source)->first : source;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static struct vddk_trial_times
hurried(unsigned hurry)
{
    struct vddk_trial_times times = vddk_trial_times;

    hurry = MAX(hurry, 1U);
    times.warm /= hurry;
    times.settle /= hurry;
    times.window /= hurry;
    times.warm_bytes /= hurry;
    times.window_bytes /= hurry;
    return times;
}

static int
make_poll_fd(struct vddk_pair *pair, struct err **err)
{
    const int fds[] = {pair->first->poll_fd, pair->helper_fd};

    pair->source.poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (epoll_ctl(pair->source.poll_fd, EPOLL_CTL_ADD, fds[i],
                      &(struct epoll_event){.events = EPOLLIN}) < 0)
            return err_set_errno(err, E_IO, errno, "epoll");
    return 0;
}

int
source_vddk_open_pair(const struct source_vddk_options *options,
                      const struct source_vddk_second *second, struct disk_source **ret_source,
                      struct err **err)
{
    struct vddk_trial_times times = hurried(second->hurry);
    struct disk_source *first;
    struct vddk_pair *pair;

    if (source_vddk_open(options, &first, err) < 0)
        return -1;
    pair = xcalloc(1, sizeof(*pair));
    pair->source = *first;
    pair->source.ops = &pair_ops;
    pair->source.poll_fd = -1;
    pair->first = first;
    pair->callbacks = *second;
    keep_options(&pair->kept, options);
    pair->reads = xcalloc(options->pool->slot_count, sizeof(pair->reads[0]));
    pair->helper_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vddk_trial_init(&pair->trial, &times, clock_monotonic_ms());
    if (make_poll_fd(pair, err) < 0) {
        pair_close(&pair->source);
        return -1;
    }
    *ret_source = &pair->source;
    return 0;
}
