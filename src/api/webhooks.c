/* Webhooks: each has a thread, which follows what the store's triggers write down (store/webhooks.h), in its
 * order, one at a time, and goes on where it was when the service starts again. */
#include <inttypes.h>
#include <string.h>

#include "api/webhooks.h"
#include "base/clock.h"
#include "base/log.h"

#define LOOK_MS      1000 /* workers, too, write what is to be told; nobody wakes us for that */
#define FIRST_TRY_MS 1000
#define LAST_TRY_MS  300000

struct hook {
    struct hooks *all;
    const struct config_webhook *config;
    struct webhook_filter filter;
    pthread_t thread;
    bool is_started;
    int64_t failures; /* in a row */
};

struct hooks {
    struct api *api;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    uint64_t wakes;           /* guarded by mutex */
    volatile int is_stopping; /* written under mutex */
    struct hook *hooks;
    size_t count;
};

/* ---- waiting ------------------------------------------------------------------------------------- */

/* Until @ms have passed, or the service stops; with @seen also until there is a newer wake. */
static void
wait_for(struct hooks *all, int64_t ms, const uint64_t *seen)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    SCOPE_LOCK(&all->mutex);
    while (!all->is_stopping && (!seen || *seen == all->wakes))
        if (pthread_cond_timedwait(&all->wake, &all->mutex, &until) != 0)
            return;
}

static uint64_t
wakes_of(struct hooks *all)
{
    SCOPE_LOCK(&all->mutex);
    return all->wakes;
}

void
hooks_wake(struct hooks *all)
{
    if (!all)
        return;
    SCOPE_LOCK(&all->mutex);
    all->wakes++;
    pthread_cond_broadcast(&all->wake);
}

/* ---- one webhook --------------------------------------------------------------------------------- */

/* What is older than the webhook's patience is given up, all of it: a receiver that comes back after days is
 * told of now. */
static void
give_up(struct hook *hook, struct store *store)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(free_charp) char *outcome = NULL;
    int64_t before = clock_wall_ms() - hook->config->give_up_seconds * 1000, count = 0;
    struct store_audit entry = {.at = clock_wall_s(),
                                .action = (char *)(uintptr_t) "webhook.give_up"};

    if (store_webhook_give_up(store, hook->config->name, &hook->filter.wanted, before, &count,
                              &failure) < 0)
        log_warning("[webhook %s] %s", hook->config->name, err_message(failure));
    if (!count)
        return;
    log_error("[webhook %s] given up: %" PRId64 " deliveries that failed for %" PRId64 " s",
              hook->config->name, count, hook->config->give_up_seconds);
    outcome = xasprintf("%" PRId64 " deliveries", count);
    entry.subject = hook->config->name;
    entry.outcome = outcome;
    if (store_audit_add(store, &entry, NULL) < 0)
        log_warning("the audit log cannot be written");
}

static int64_t
patience_ms(int64_t failures)
{
    int64_t ms = FIRST_TRY_MS << MIN(failures - 1, 20);

    return clock_patience_ms(MIN(ms, LAST_TRY_MS));
}

static void
note_failure(struct hook *hook, struct store *store, const struct err *failure)
{
    CLEANUP(err_freep) struct err *error = NULL;

    if (hook->failures++ == 0)
        log_warning("[webhook %s] %s; trying again%s%s", hook->config->name, err_message(failure),
                    err_hint_text(failure) ? "\nhint: " : "",
                    err_hint_text(failure) ? err_hint_text(failure) : "");
    if (store_webhook_failed(store, hook->config->name, err_message(failure), &error) < 0)
        log_warning("[webhook %s] %s", hook->config->name, err_message(error));
    give_up(hook, store);
    wait_for(hook->all, patience_ms(hook->failures), NULL);
}

static void
note_success(struct hook *hook, struct store *store, int64_t transition)
{
    CLEANUP(err_freep) struct err *failure = NULL;

    if (hook->failures)
        log_info("[webhook %s] answers again", hook->config->name);
    hook->failures = 0;
    if (store_webhook_delivered(store, hook->config->name, transition, &failure) == 0)
        return;
    /* It is told a second time: better than not at all. */
    log_warning("[webhook %s] %s", hook->config->name, err_message(failure));
    wait_for(hook->all, FIRST_TRY_MS, NULL);
}

static void
deliver(struct hook *hook, struct store *store, const struct store_transition *transition)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(delivery_done) struct delivery delivery = {0};
    long status;

    delivery_of(hook->config, transition, &delivery);
    if (delivery_send(hook->config, &delivery, &hook->all->is_stopping, &status, &failure) == 0)
        note_success(hook, store, transition->id);
    else if (!hook->all->is_stopping)
        note_failure(hook, store, failure);
}

static void
step(struct hook *hook, struct store *store)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    struct store_transition transition = {0};
    uint64_t seen = wakes_of(hook->all);
    bool is_there = false;

    if (store_transition_next(store, hook->config->name, &hook->filter.wanted, &is_there,
                              &transition, &failure) < 0)
        log_warning("[webhook %s] %s", hook->config->name, err_message(failure));
    if (is_there)
        deliver(hook, store, &transition);
    else
        wait_for(hook->all, LOOK_MS, failure ? NULL : &seen);
    store_transition_done(&transition);
}

static void *
run_hook(void *opaque)
{
    struct hook *hook = opaque;
    CLEANUP(store_closep) struct store *store = NULL;

    while (!hook->all->is_stopping) {
        CLEANUP(err_freep) struct err *failure = NULL;

        if (!store &&
            store_open(hook->all->api->options.control_dir, false, &store, &failure) < 0) {
            log_warning("[webhook %s] %s", hook->config->name, err_message(failure));
            wait_for(hook->all, LOOK_MS, NULL);
            continue;
        }
        store_keep_statements(store);
        step(hook, store);
    }
    return NULL;
}

/* ---- all ----------------------------------------------------------------------------------------- */

static int
keep_positions(struct api *api, const struct config_webhooks *webhooks, struct err **err)
{
    CLEANUP(store_closep) struct store *store = NULL;
    VEC_DECLARE(, const char *)
    names = {0};
    int rc = store_open(api->options.control_dir, false, &store, err);

    for (size_t i = 0; i < webhooks->count; i++)
        vec_push(&names, webhooks->items[i].name);
    if (rc == 0)
        rc = store_webhooks_keep(store, names.items, names.count, err);
    vec_done(&names);
    return rc;
}

int
hooks_start(struct api *api, struct hooks **ret, struct err **err)
{
    const struct config_webhooks *webhooks = api->options.webhooks;
    pthread_condattr_t attr;
    struct hooks *all;

    if (keep_positions(api, webhooks, err) < 0)
        return err_wrap(err, "webhooks");
    all = xcalloc(1, sizeof(*all));
    all->api = api;
    pthread_mutex_init(&all->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&all->wake, &attr);
    pthread_condattr_destroy(&attr);
    all->hooks = xcalloc(webhooks->count + 1, sizeof(*all->hooks));
    all->count = webhooks->count;
    for (size_t i = 0; i < all->count; i++) {
        struct hook *hook = &all->hooks[i];

        hook->all = all;
        hook->config = &webhooks->items[i];
        webhook_filter_init(hook->config, &hook->filter);
        hook->is_started = pthread_create(&hook->thread, NULL, run_hook, hook) == 0;
        if (!hook->is_started)
            log_error("[webhook %s] is told nothing: no thread can be started", hook->config->name);
    }
    *ret = all;
    return 0;
}

void
hooks_stop(struct hooks *all)
{
    if (!all)
        return;
    {
        SCOPE_LOCK(&all->mutex);
        all->is_stopping = 1;
        pthread_cond_broadcast(&all->wake);
    }
    for (size_t i = 0; i < all->count; i++) {
        if (all->hooks[i].is_started)
            (void)pthread_join(all->hooks[i].thread, NULL);
        webhook_filter_done(&all->hooks[i].filter);
    }
    pthread_cond_destroy(&all->wake);
    pthread_mutex_destroy(&all->mutex);
    free(all->hooks);
    free(all);
}
