#include "migration/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"

_Static_assert(ARRAY_SIZE(((struct migration *)0)->told_bytes_per_s) == LIMIT_COUNT, "one each");

#define READ_MS       1000
#define MAX_FILE_NAME 200

/* The limit that is shared by the workers of the control directory under @name. */
static int
open_shared(struct limit *limit, const char *control_dir, const char *name, struct err **err)
{
    CLEANUP(free_charp) char *dir = file_join(control_dir, ".pace");
    CLEANUP(free_charp) char *safe = file_safe_name(name);
    CLEANUP(free_charp) char *path = xasprintf("%s/%.*s", dir, MAX_FILE_NAME, safe);

    if (file_make_dirs(dir, 0700, err) < 0 || transfer_pace_open(path, &limit->pace, err) < 0)
        return err_wrap(err, "sharing the bandwidth limit");
    return 0;
}

/* Where the VM runs, for `v2c-engine bandwidth`. */
static int
record_host(struct migration *m, const char *host, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = m->record.id};
    CLEANUP(free_charp) char *before = NULL;

    if (store_setting_get(m->store, &vm, STORE_HOST_NAME, &before, err) < 0)
        return -1;
    if (before && !strcmp(before, host))
        return 0;
    return store_setting_put(m->store, &vm, STORE_HOST_NAME, host, err);
}

static int
open_host(struct limits *limits, struct err **err)
{
    struct migration *m = limits->m;
    struct limit *limit = &limits->items[LIMIT_HOST];
    const char *host = m->vm.host_name && *m->vm.host_name ? m->vm.host_name : m->vm.host;
    CLEANUP(free_charp) char *name = NULL;

    if (!host || !*host)
        return 0;
    name = xasprintf("host-%s-%s", m->record.vcenter, host);
    limit->of = (struct store_subject){.scope = STORE_HOST, .host = host};
    limit->usual = *config_host_bandwidth(m->config, host);
    if (record_host(m, host, err) < 0)
        return -1;
    return open_shared(limit, m->config->migration.control_dir, name, err);
}

int
limits_open(struct limits *limits, struct migration *m, bool is_urgent, struct err **err)
{
    struct limit *vm = &limits->items[LIMIT_VM], *engine = &limits->items[LIMIT_ENGINE];
    size_t count = 0;

    *limits = (struct limits){.m = m};
    vm->of = (struct store_subject){.scope = STORE_VM, .migration = m->record.id};
    vm->usual = m->spec->bandwidth;
    if (!is_urgent)
        vm->pace = transfer_pace_new();
    engine->of = (struct store_subject){.scope = STORE_ENGINE};
    engine->usual = m->config->migration.bandwidth;
    if (open_shared(engine, m->config->migration.control_dir, "engine", err) < 0 ||
        open_host(limits, err) < 0) {
        limits_close(limits);
        return -1;
    }
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        limits->items[i].now = limits->items[i].usual;
        if (limits->items[i].pace)
            limits->paces[count++] = limits->items[i].pace;
    }
    return 0;
}

void
limits_close(struct limits *limits)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++)
        transfer_pace_freep(&limits->items[i].pace);
}

/* What was set while it runs, else what is usual. */
static int
read_limit(struct limits *limits, struct limit *limit, struct err **err)
{
    struct rate_schedule schedule = limit->usual;
    CLEANUP(free_charp) char *text = NULL;

    if (store_setting_get(limits->m->store, &limit->of, STORE_BANDWIDTH, &text, err) < 0 ||
        (text && rate_schedule_parse(text, &schedule, err) < 0))
        return -1;
    limit->now = schedule;
    return 0;
}

static void
read_limits(struct limits *limits)
{
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        struct limit *limit = &limits->items[i];
        struct err *failure = NULL;

        if (!limit->pace || read_limit(limits, limit, &failure) == 0)
            continue;
        if (!limits->is_warned)
            migration_log(limits->m, LOG_WARNING, "bandwidth limits stay as they are: %s",
                          err_message(failure));
        limits->is_warned = true;
        err_free(failure);
    }
}

static void
tell(const struct limits *limits, size_t index, uint64_t rate)
{
    struct migration *m = limits->m;
    const struct limit *limit = &limits->items[index];
    bool is_host = limit->of.scope == STORE_HOST;
    CLEANUP(free_charp)
    char *text = xasprintf("bandwidth limit%s%s: %" PRIu64 " KiB/s",
                           limit->of.scope == STORE_ENGINE ? " of all VMs"
                           : is_host                       ? " of host "
                                                           : "",
                           is_host ? limit->of.host : "", rate >> 10);

    if (!rate)
        memcpy(strrchr(text, ':') + 2, "none", sizeof("none"));
    migration_log(m, LOG_INFO, "[copy] %s", text);
    (void)store_event_add(m->store, m->record.id, "limit", text, NULL);
}

void
limits_follow(struct limits *limits)
{
    int64_t now_ms = clock_monotonic_ms();
    time_t now = clock_wall_s();
    struct tm local;

    if (!limits->read_ms || now_ms - limits->read_ms >= READ_MS) {
        limits->read_ms = now_ms;
        read_limits(limits);
    }
    if (!localtime_r(&now, &local))
        return;
    for (size_t i = 0; i < LIMIT_COUNT; i++) {
        struct limit *limit = &limits->items[i];
        uint64_t rate = rate_schedule_at(&limit->now, local.tm_hour * 60 + local.tm_min);

        if (!limit->pace)
            continue;
        transfer_pace_set(limit->pace, rate, now_ms);
        if (rate != limits->m->told_bytes_per_s[i])
            tell(limits, i, rate);
        limits->m->told_bytes_per_s[i] = rate;
    }
}
