/* Which job may begin: pure rules over what is unfinished. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "supervisor/queue.h"

#define MAX_OTHERS 4 /* checks, cancels and rollbacks at once: they are short, or wait for others */

static const struct {
    const char *key;
    size_t offset;
} limit_settings[] = {
    {"queue_max_workers", offsetof(struct queue_limits, max_workers)},
    {"queue_max_per_vcenter", offsetof(struct queue_limits, max_per_vcenter)},
    {"queue_max_per_host", offsetof(struct queue_limits, max_per_host)},
    {"queue_max_per_pool", offsetof(struct queue_limits, max_per_pool)},
};

static int64_t *
limit_of(const struct queue_limits *limits, size_t i)
{
    return (int64_t *)((char *)limits + limit_settings[i].offset);
}

int
queue_limits_load(struct store *store, int64_t default_workers, struct queue_limits *ret,
                  struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};

    *ret = (struct queue_limits){.max_workers = default_workers};
    for (size_t i = 0; i < ARRAY_SIZE(limit_settings); i++) {
        CLEANUP(free_charp) char *value = NULL;

        if (store_setting_get(store, &engine, limit_settings[i].key, &value, err) < 0)
            return -1;
        if (value)
            *limit_of(ret, i) = strtoll(value, NULL, 10);
    }
    ret->max_workers = MAX(ret->max_workers, 1);
    return 0;
}

int
queue_limits_save(struct store *store, const struct queue_limits *limits, struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};

    for (size_t i = 0; i < ARRAY_SIZE(limit_settings); i++) {
        CLEANUP(free_charp) char *value = xasprintf("%" PRId64, *limit_of(limits, i));

        if (store_setting_put(store, &engine, limit_settings[i].key, value, err) < 0)
            return -1;
    }
    return 0;
}

bool
queue_stage_waits(const char *stage)
{
    return stage && (!strcmp(stage, store_stage_name(STAGE_DELTA)) ||
                     !strcmp(stage, store_stage_name(STAGE_AWAITING_SHUTDOWN)));
}

/* Past the base copy nothing may wait for a slot: the cutover is downtime. */
static bool
is_past_base(const struct store_job *job)
{
    enum store_stage stage;

    return job->stage && store_stage_from_name(job->stage, &stage) && stage >= STAGE_DELTA;
}

bool
queue_holds_slot(const struct store_job *job)
{
    return job->kind == JOB_MIGRATE && job->state == JOB_RUNNING;
}

static bool
is_same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* How many running jobs are like @job in that respect. */
struct counts {
    int64_t all, vcenter, host, pool, wave, others;
};

static void
count_running(const struct queue_view *view, const struct store_job *job, struct counts *ret)
{
    for (size_t i = 0; i < view->unfinished->count; i++) {
        const struct store_job *other = &view->unfinished->items[i];

        ret->others += other->kind != JOB_MIGRATE && other->state == JOB_RUNNING;
        if (!queue_holds_slot(other))
            continue;
        ret->all++;
        ret->vcenter += is_same(other->vcenter, job->vcenter);
        ret->host += is_same(other->host, job->host);
        ret->pool += is_same(other->pool, job->pool);
        ret->wave += is_same(other->wave, job->wave);
    }
}

static const struct store_wave *
find_wave(const struct store_waves *waves, const char *name)
{
    for (size_t i = 0; name && i < waves->count; i++)
        if (!strcmp(waves->items[i].name, name))
            return &waves->items[i];
    return NULL;
}

/* The name of an earlier wave that has not come to its deltas yet. */
static const char *
earlier_wave(const struct queue_view *view, const struct store_wave *wave)
{
    for (size_t i = 0; i < view->unfinished->count; i++) {
        const struct store_job *other = &view->unfinished->items[i];
        const struct store_wave *its = find_wave(view->waves, other->wave);

        bool is_too_late = its && other->state == JOB_QUEUED && !other->started_at &&
                           its->not_after && its->not_after < view->now;

        if (its && its->position < wave->position && other->kind == JOB_MIGRATE &&
            other->state != JOB_WAITING && !is_too_late)
            return its->name;
    }
    return NULL;
}

static const char *
waits_for_wave(const struct queue_view *view, const struct store_job *job,
               const struct counts *counts, char ret_text[200])
{
    const struct store_wave *wave = find_wave(view->waves, job->wave);
    const char *earlier;
    char when[32];

    if (!wave)
        return NULL;
    if (wave->not_before > view->now) {
        clock_format_utc(wave->not_before, when);
        snprintf(ret_text, 200, "its wave begins at %s", when);
        return ret_text;
    }
    if (wave->not_after && wave->not_after < view->now) {
        clock_format_utc(wave->not_after, when);
        snprintf(ret_text, 200, "the window of its wave was over at %s", when);
        return ret_text;
    }
    if (wave->concurrency && counts->wave >= wave->concurrency) {
        snprintf(ret_text, 200, "its wave runs %" PRId64 " at once", wave->concurrency);
        return ret_text;
    }
    earlier = earlier_wave(view, wave);
    if (!earlier)
        return NULL;
    snprintf(ret_text, 200, "the wave %.64s goes first", earlier);
    return ret_text;
}

const char *
queue_waits_for(const struct queue_view *view, const struct store_job *job, char ret_text[200])
{
    const struct queue_limits *limits = view->limits;
    struct counts counts = {0};
    char when[32];

    count_running(view, job, &counts);
    if (job->not_before > view->now) {
        clock_format_utc(job->not_before, when);
        snprintf(ret_text, 200, "it is to begin at %s", when);
        return ret_text;
    }
    if (job->kind == JOB_CANCEL || job->kind == JOB_ROLLBACK)
        return NULL; /* somebody waits for it, maybe with the source down */
    if (job->kind != JOB_MIGRATE)
        return counts.others >= MAX_OTHERS ? "other checks and clean-ups run" : NULL;
    if (is_past_base(job)) /* it was interrupted: nothing may hold it up */
        return NULL;
    if (counts.all >= limits->max_workers)
        return "all slots are taken";
    if (limits->max_per_vcenter && counts.vcenter >= limits->max_per_vcenter)
        return "the limit of its vCenter is reached";
    if (limits->max_per_host && counts.host >= limits->max_per_host)
        return "the limit of its ESXi host is reached";
    if (limits->max_per_pool && counts.pool >= limits->max_per_pool)
        return "the limit of its storage pool is reached";
    if (job->started_at) /* it was interrupted, maybe with a snapshot on the source */
        return NULL;
    return waits_for_wave(view, job, &counts, ret_text);
}
