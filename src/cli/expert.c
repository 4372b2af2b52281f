#include "cli/expert.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/text.h"
#include "net/net.h"
#include "source/source.h"
#include "vsphere/vsphere.h"

#define DEFAULT_IN_FLIGHT 16
#define NBD_IN_FLIGHT     32

/* ---- stopping --------------------------------------------------------------------------------- */

static volatile int stop_requested;

static void
on_stop_signal(int number)
{
    stop_requested = 1;
}

/* The first signal stops the copy, a second one the program. */
static void
catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction before;

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup */
            (void)sigaction(numbers[i], &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* ---- source ----------------------------------------------------------------------------------- */

/* An NBD server far away is worth more of them: a copy begins with half, and takes what helps. */
static unsigned
reads_in_flight(const struct expert *settings)
{
    bool is_nbd = settings->source && !strncmp(settings->source, "nbd", 3);

    if (settings->queue_depth)
        return (unsigned)settings->queue_depth;
    return is_nbd ? NBD_IN_FLIGHT : DEFAULT_IN_FLIGHT;
}

/* VDDK wants the SHA-1 of a certificate that we have accepted by whatever the settings trust. */
static int
find_thumbprint(const struct expert *settings, char ret_sha1[60], struct err **err)
{
    const struct net_trust trust = {.thumbprint = settings->thumbprint, .config_key = "vddk"};
    CLEANUP(net_client_freep) struct net_client *client = net_client_new(&trust, err);
    CLEANUP(free_charp) char *host = NULL;
    unsigned port;

    if (!client || vsphere_split_host(settings->server, true, &host, &port, err) < 0)
        return -1;
    return net_server_thumbprint(client, host, port, ret_sha1, err);
}

static int
open_vddk(const struct expert_copy *copy, uint64_t expected_size, struct disk_source **ret_source,
          struct err **err)
{
    const struct expert *s = copy->settings;
    CLEANUP(free_charp) char *host = NULL;
    char sha1[60];
    struct source_vddk_options options = {
        .libdir = s->libdir,
        .user = s->user,
        .password = s->password,
        .thumbprint = sha1,
        .vm_moref = s->vm_moref,
        .snapshot_moref = s->snapshot_moref,
        .disk_path = s->disk_path,
        .expected_size = expected_size,
        .queue_depth = reads_in_flight(s),
        .pool = copy->pool,
    };

    if (vsphere_split_host(s->server, false, &host, &options.port, err) < 0 ||
        find_thumbprint(s, sha1, err) < 0)
        return -1;
    options.server = host;
    return source_vddk_open(&options, ret_source, err);
}

static int
open_source(struct expert_copy *copy, uint64_t expected_size, struct err **err)
{
    const struct expert *s = copy->settings;
    unsigned depth = reads_in_flight(s);
    int rc;

    if (!s->source)
        return open_vddk(copy, expected_size, &copy->source, err);
    if (!strncmp(s->source, "file:", 5))
        rc = source_file_open(s->source + 5, copy->pool, depth, &copy->source, err);
    else
        rc = source_nbd_open_with(
            &(const struct source_nbd_options){
                .uri = s->source, .queue_depth = depth, .connections = (unsigned)s->readers},
            &copy->source, err);
    if (rc < 0)
        return -1;
    if (expected_size && copy->source->size != expected_size)
        return err_set(err, E_SOURCE_SIZE, "%s has %" PRIu64 " bytes, not %" PRIu64, s->source,
                       copy->source->size, expected_size);
    return 0;
}

int
expert_copy_init(struct expert_copy *copy, enum expert_mode mode, const struct expert *settings,
                 uint64_t expected_size, struct err **err)
{
    unsigned reads = reads_in_flight(settings);

    copy->mode = mode;
    copy->settings = settings;
    copy->started_ms = clock_monotonic_ms();
    catch_signals();
    copy->pool = disk_pool_new(reads + reads / 2, err); /* reads, and writes behind them */
    if (!copy->pool)
        return -1;
    return open_source(copy, expected_size, err);
}

void
expert_copy_done(struct expert_copy *copy)
{
    disk_source_closep(&copy->source);
    disk_pool_freep(&copy->pool);
    vec_done(&copy->plan);
}

struct qcow2_options
expert_target_options(const struct expert_copy *copy, const char *owner_id)
{
    return (struct qcow2_options){
        .owner_id = owner_id, .pool = copy->pool, .queue_depth = reads_in_flight(copy->settings)};
}

/* ---- the copy --------------------------------------------------------------------------------- */

static const char *
name_of(const struct expert_copy *copy)
{
    return copy->mode == EXPERT_BASE_COPY ? "base-copy" : "delta-sync";
}

/* One line that is written over; only ever on a terminal. */
static void
show_progress(void *opaque, const struct transfer_progress *p)
{
    uint64_t done = p->copied_bytes + p->zeroed_bytes;
    struct str line = STR_INIT(256);

    str_appendf(&line, "\r[%s] %5.1f%%  ", name_of(opaque),
                p->planned_bytes ? (double)done * 100.0 / (double)p->planned_bytes : 100.0);
    text_append_bytes(&line, done);
    str_append(&line, " of ");
    text_append_bytes(&line, p->planned_bytes);
    str_append(&line, "  ");
    text_append_rate(&line, p->rate_bytes_per_s);
    if (p->eta_s >= 0) {
        str_append(&line, "  ETA ");
        text_append_duration(&line, p->eta_s);
    }
    fprintf(stderr, "%s\033[K", str_text(&line));
    str_done(&line);
}

int
expert_copy_run(struct expert_copy *copy, struct disk_target *target, struct err **err)
{
    bool is_terminal = isatty(STDERR_FILENO) == 1;
    const struct transfer_tuning tuning = {
        .least_request_bytes = (uint32_t)(copy->settings->min_chunk_mb * (int64_t)MIB),
        .fast_latency_ms = copy->settings->fast_latency_ms,
        .slow_latency_ms = copy->settings->slow_latency_ms,
        .fast_mib_per_s = (uint32_t)copy->settings->fast_mbps,
        .slow_mib_per_s = (uint32_t)copy->settings->slow_mbps,
    };
    const struct transfer_job job = {
        .source = copy->source,
        .target = target,
        .pool = copy->pool,
        .plan = &copy->plan,
        .max_in_flight = reads_in_flight(copy->settings),
        .tuning = &tuning,
        .on_progress = is_terminal ? show_progress : NULL,
        .opaque = copy,
        .cancel = &stop_requested,
    };
    int rc = transfer_run(&job, &copy->progress, err);

    if (is_terminal)
        fputc('\n', stderr);
    return rc;
}

void
expert_copy_print(const struct expert_copy *copy)
{
    const struct transfer_progress *p = &copy->progress;
    json_t *result =
        json_pack("{s:I, s:I, s:I, s:f, s:s}", "bytes_read",
                  (json_int_t)(p->copied_bytes + p->zeroed_bytes), "bytes_written",
                  (json_int_t)p->copied_bytes, "bytes_zero_skipped", (json_int_t)p->zeroed_bytes,
                  "elapsed_sec", (double)(clock_monotonic_ms() - copy->started_ms) / 1000.0, "mode",
                  copy->mode == EXPERT_BASE_COPY ? "base_copy" : "delta_sync");

    json_dumpf(result, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', stdout);
    json_decref(result);
}
