/* Server-sent events: one thread makes them, at most one a job and quarter of a second, and every client gets
 * the same bytes.
 *
 * A client that does not read fast enough is told to read everything anew. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/internal.h"
#include "api/webhooks.h"
#include "base/clock.h"
#include "base/log.h"

#define STEP_MS         250
#define PROGRESS_MS     2000
#define KEEP_ALIVE_MS   15000
#define STALE_MS        4000
#define SAMPLE_MS       5000
#define ACCESS_MS       2000 /* how long one whose access has ended may go on listening, about */
#define SAMPLES         720  /* an hour */
#define HISTORY         1024
#define MAX_JOB_SAMPLES 1000
#define MAX_QUEUED      256 /* of one client */
#define BLOCK_SIZE      16384

struct event {
    unsigned references;
    uint64_t sequence;
    size_t length;
    char data[];
};

struct sample {
    int64_t at;
    uint64_t rate;
};

struct client {
    struct hub *hub;
    struct MHD_Connection *connection;
    VEC_DECLARE(, struct event *)
    queued;
    size_t offset; /* in the first */
    bool is_suspended, is_ended;
    uint64_t id;
    char *hash; /* of what it signed in with */
    enum store_role role;
};

struct live {
    int64_t job;
    char *job_id;
    char *stage;
    int64_t progress;
    struct queue_live said;
    int64_t said_ms;
    bool is_changed;
    VEC_DECLARE(, struct sample)
    samples;         /* thinned out when they become many */
    unsigned every;  /* each how many samples are kept */
    unsigned passed; /* since the last */
};

VEC_DECLARE(job_ids, char *);

struct hub {
    struct api *api;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    bool is_started, is_stopping;
    uint64_t boot, sequence;
    VEC_DECLARE(, struct client *)
    clients;
    VEC_DECLARE(, struct event *)
    history; /* oldest first */
    struct job_ids touched;
    VEC_DECLARE(, struct live)
    lives;
    struct sample samples[SAMPLES];
    size_t sample_count;
    int64_t next_progress_ms, next_keep_alive_ms, next_sample_ms, next_access_ms;
    uint64_t last_client;
    _Atomic int64_t beat_ms;
};

static void
drop(struct event *event)
{
    if (--event->references == 0)
        free(event);
}

/* ---- clients: under the mutex --------------------------------------------------------------------- */

static struct event *
make_event(struct hub *hub, const char *kind, const char *data)
{
    CLEANUP(free_charp) char *text = NULL;
    struct event *event;

    if (kind)
        text = xasprintf("id: %" PRIx64 "-%" PRIu64 "\nevent: %s\ndata: %s\n\n", hub->boot,
                         ++hub->sequence, kind, data);
    else
        text = xasprintf(": %s\n\n", data);
    event = xcalloc(1, sizeof(*event) + strlen(text));
    event->references = 1;
    event->sequence = hub->sequence;
    event->length = strlen(text);
    memcpy(event->data, text, event->length);
    return event;
}

static void
wake_up(struct client *client)
{
    if (!client->is_suspended)
        return;
    client->is_suspended = false;
    api_resume(client->hub->api, client->connection);
}

static void
push(struct client *client, struct event *event)
{
    if (client->queued.count >= MAX_QUEUED) {
        /* Keep the first, which may be half sent. */
        struct event *reset = make_event(client->hub, "reset", "{}");

        for (size_t i = 1; i < client->queued.count; i++)
            drop(client->queued.items[i]);
        client->queued.count = 1;
        vec_push(&client->queued, reset);
    }
    event->references++;
    vec_push(&client->queued, event);
    wake_up(client);
}

/* Takes @event. */
static void
broadcast(struct hub *hub, struct event *event, bool is_kept)
{
    for (size_t i = 0; i < hub->clients.count; i++)
        push(hub->clients.items[i], event);
    if (!is_kept) {
        drop(event);
        return;
    }
    if (hub->history.count == HISTORY) {
        drop(hub->history.items[0]);
        memmove(hub->history.items, hub->history.items + 1,
                (HISTORY - 1) * sizeof(hub->history.items[0]));
        hub->history.count--;
    }
    vec_push(&hub->history, event);
}

/* libmicrohttpd's thread asks for what is to be sent. */
static ssize_t
read_client(void *opaque, uint64_t position, char *buffer, size_t max)
{
    struct client *client = opaque;
    struct hub *hub = client->hub;
    size_t sent = 0;

    SCOPE_LOCK(&hub->mutex);
    if (client->is_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    while (client->queued.count && sent < max) {
        struct event *event = client->queued.items[0];
        size_t n = MIN(max - sent, event->length - client->offset);

        memcpy(buffer + sent, event->data + client->offset, n);
        sent += n;
        client->offset += n;
        if (client->offset < event->length)
            break;
        client->offset = 0;
        drop(event);
        client->queued.count--;
        memmove(client->queued.items, client->queued.items + 1,
                client->queued.count * sizeof(client->queued.items[0]));
    }
    if (sent)
        return (ssize_t)sent;
    if (hub->is_stopping)
        return MHD_CONTENT_READER_END_OF_STREAM;
    client->is_suspended = true;
    MHD_suspend_connection(client->connection);
    return 0;
}

static void
free_client(void *opaque)
{
    struct client *client = opaque;
    struct hub *hub = client->hub;
    size_t kept = 0;

    SCOPE_LOCK(&hub->mutex);
    for (size_t i = 0; i < hub->clients.count; i++)
        if (hub->clients.items[i] != client)
            hub->clients.items[kept++] = hub->clients.items[i];
    hub->clients.count = kept;
    for (size_t i = 0; i < client->queued.count; i++)
        drop(client->queued.items[i]);
    vec_done(&client->queued);
    free(client->hash);
    free(client);
}

/* What came after @last_id, when that is known. */
static void
catch_up(struct hub *hub, struct client *client, const char *last_id)
{
    uint64_t boot = 0, sequence = 0;
    size_t first = hub->history.count;

    if (!last_id || !*last_id)
        return;
    if (sscanf(last_id, "%" SCNx64 "-%" SCNu64, &boot, &sequence) != 2 || boot != hub->boot ||
        sequence > hub->sequence ||
        (hub->history.count && hub->history.items[0]->sequence > sequence + 1)) {
        struct event *reset = make_event(hub, "reset", "{}");

        push(client, reset);
        drop(reset);
        return;
    }
    while (first > 0 && hub->history.items[first - 1]->sequence > sequence)
        first--;
    for (size_t i = first; i < hub->history.count; i++)
        push(client, hub->history.items[i]);
}

struct MHD_Response *
hub_subscribe(struct hub *hub, const struct request *r)
{
    struct client *client = xcalloc(1, sizeof(*client));
    struct MHD_Response *response;
    struct event *hello;

    client->hub = hub;
    client->connection = r->connection;
    client->hash = xstrdup(r->caller.hash);
    client->role = r->caller.role;
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_client, client,
                                                 free_client);
    if (!response) {
        free(client->hash);
        free(client);
        return NULL;
    }
    (void)MHD_add_response_header(response, "Content-Type", "text/event-stream");
    (void)MHD_add_response_header(response, "X-Accel-Buffering", "no");
    SCOPE_LOCK(&hub->mutex);
    client->id = ++hub->last_client;
    hello = make_event(hub, NULL, "v2c-engine");
    push(client, hello);
    drop(hello);
    catch_up(hub, client, pairs_get(&r->headers, "Last-Event-ID"));
    vec_push(&hub->clients, client);
    return response;
}

/* ---- what happens ------------------------------------------------------------------------------- */

static struct live *
find_live(struct hub *hub, int64_t job)
{
    for (size_t i = 0; i < hub->lives.count; i++)
        if (hub->lives.items[i].job == job)
            return &hub->lives.items[i];
    return NULL;
}

/* A worker that says nothing of its progress copies nothing now. */
static uint64_t
rate_of(const struct live *live)
{
    return clock_monotonic_ms() - live->said_ms < STALE_MS ? live->said.rate_bytes_per_s : 0;
}

static void
forget_live(struct hub *hub, int64_t job)
{
    struct live *live = find_live(hub, job);

    if (!live)
        return;
    free(live->job_id);
    free(live->stage);
    vec_done(&live->samples);
    *live = hub->lives.items[--hub->lives.count];
}

static bool
is_touched(const struct hub *hub, const char *job_id)
{
    for (size_t i = 0; i < hub->touched.count; i++)
        if (!strcmp(hub->touched.items[i], job_id))
            return true;
    return false;
}

void
hub_touch(struct hub *hub, const struct store_job *job)
{
    SCOPE_LOCK(&hub->mutex);
    if (job->state != JOB_RUNNING && job->state != JOB_WAITING)
        forget_live(hub, job->id);
    if (!is_touched(hub, job->job_id))
        vec_push(&hub->touched, xstrdup(job->job_id));
}

void
hub_progress(struct hub *hub, const struct store_job *job, const struct queue_live *said)
{
    struct live *live;

    SCOPE_LOCK(&hub->mutex);
    live = find_live(hub, job->id);
    if (!live) {
        vec_push(&hub->lives, ((struct live){.job = job->id, .job_id = xstrdup(job->job_id)}));
        live = &hub->lives.items[hub->lives.count - 1];
    }
    live->said = *said;
    live->said_ms = clock_monotonic_ms();
    live->progress = job->progress;
    free(live->stage);
    live->stage = xstrdup(job->stage);
    live->is_changed = true;
}

bool
hub_live(struct hub *hub, int64_t job, struct queue_live *ret)
{
    const struct live *live;

    SCOPE_LOCK(&hub->mutex);
    live = find_live(hub, job);
    if (live) {
        *ret = live->said;
        ret->rate_bytes_per_s = rate_of(live);
        if (!ret->rate_bytes_per_s)
            ret->eta_s = -1;
    }
    return live;
}

void
hub_gone(struct hub *hub, const char *job_id)
{
    json_t *data = json_pack("{s:s}", "id", job_id);
    CLEANUP(free_charp) char *text = json_dumps(data, JSON_COMPACT);

    json_decref(data);
    SCOPE_LOCK(&hub->mutex);
    if (text)
        broadcast(hub, make_event(hub, "gone", text), true);
}

void
api_job_changed(void *api, const struct store_job *job)
{
    hub_touch(((struct api *)api)->hub, job);
    hooks_wake(((struct api *)api)->hooks);
}

void
api_job_progress(void *api, const struct store_job *job, const struct queue_live *live)
{
    hub_progress(((struct api *)api)->hub, job, live);
}

static json_t *
sample_json(const struct sample *sample)
{
    return json_pack("{s:o, s:I}", "at", json_time(sample->at), "bytes_per_s",
                     (json_int_t)sample->rate);
}

json_t *
hub_job_throughput(struct hub *hub, int64_t job)
{
    json_t *array = json_array();
    const struct live *live;

    SCOPE_LOCK(&hub->mutex);
    live = find_live(hub, job);
    for (size_t i = 0; live && i < live->samples.count; i++)
        json_array_append_new(array, sample_json(&live->samples.items[i]));
    return array;
}

uint64_t
hub_rate(struct hub *hub)
{
    uint64_t rate = 0;

    SCOPE_LOCK(&hub->mutex);
    for (size_t i = 0; i < hub->lives.count; i++)
        rate += rate_of(&hub->lives.items[i]);
    return rate;
}

json_t *
hub_throughput(struct hub *hub)
{
    json_t *array = json_array();

    SCOPE_LOCK(&hub->mutex);
    for (size_t i = 0; i < MIN(hub->sample_count, SAMPLES); i++) {
        size_t first = hub->sample_count > SAMPLES ? hub->sample_count % SAMPLES : 0;

        json_array_append_new(array, sample_json(&hub->samples[(first + i) % SAMPLES]));
    }
    return array;
}

/* ---- the thread --------------------------------------------------------------------------------- */

/* "data" of a `job` event; *ret_text NULL when the job is gone. */
static int
describe(struct job_context *context, const char *job_id, char **ret_text)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    struct store_job job = {0};
    json_t *object = NULL;

    if (store_job_get(context->store, job_id, &job, &failure) < 0)
        return err_code(failure) == E_JOB_NOT_FOUND ? 0 : -1;
    object = job_json(context, &job, false, NULL);
    store_job_done(&job);
    *ret_text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return object ? 0 : -1;
}

/* A rollback that has ended changes the jobs whose migration it has taken back: they are told of, too. */
static void
add_taken_back(struct store *store, const char *job_id, struct job_ids *ids)
{
    struct store_job_filter filter = {.kind = JOB_MIGRATE};
    struct store_jobs jobs = {0};
    struct store_job job = {0};

    if (store_job_get(store, job_id, &job, NULL) < 0)
        return;
    filter.migration = job.migration;
    if (job.kind == JOB_ROLLBACK && store_job_is_over((enum store_job_state)job.state) &&
        filter.migration && store_job_list(store, &filter, &jobs, NULL, NULL) == 0)
        for (size_t i = 0; i < jobs.count; i++)
            vec_push(ids, xstrdup(jobs.items[i].job_id));
    store_jobs_done(&jobs);
    store_job_done(&job);
}

static int
tell_job(struct hub *hub, struct job_context *context, const char *job_id)
{
    CLEANUP(free_charp) char *text = NULL;

    if (describe(context, job_id, &text) < 0)
        return -1;
    SCOPE_LOCK(&hub->mutex);
    if (text)
        broadcast(hub, make_event(hub, "job", text), true);
    return 0;
}

/* The store is read outside the mutex: it may wait for a writer.  What cannot be read now stays touched. */
static void
tell_touched(struct hub *hub, struct store *store)
{
    struct job_context context;
    struct job_ids ids = {0};
    size_t touched;
    bool is_read;

    pthread_mutex_lock(&hub->mutex);
    for (size_t i = 0; i < hub->touched.count; i++)
        vec_push(&ids, hub->touched.items[i]);
    hub->touched.count = 0;
    pthread_mutex_unlock(&hub->mutex);
    touched = ids.count;
    is_read = touched && job_context_load(hub->api, store, &context, NULL) == 0;
    for (size_t i = 0; is_read && i < touched; i++)
        add_taken_back(store, ids.items[i], &ids);
    for (size_t i = 0; i < ids.count; i++) {
        bool is_told = is_read && tell_job(hub, &context, ids.items[i]) == 0;

        SCOPE_LOCK(&hub->mutex);
        if (is_told || is_touched(hub, ids.items[i]))
            free(ids.items[i]);
        else
            vec_push(&hub->touched, ids.items[i]);
    }
    if (is_read)
        job_context_done(&context);
    vec_done(&ids);
}

/* One event for all jobs: what a thousand clients are sent is small, and made once. */
static void
tell_progress(struct hub *hub)
{
    json_t *array = json_array();
    CLEANUP(free_charp) char *text = NULL;

    for (size_t i = 0; i < hub->lives.count; i++) {
        struct live *live = &hub->lives.items[i];

        if (!live->is_changed)
            continue;
        live->is_changed = false;
        json_array_append_new(
            array, json_pack("{s:s, s:f, s:I, s:o}", "id", live->job_id, "progress",
                             (double)live->progress / 100, "rate_bytes_per_s",
                             (json_int_t)live->said.rate_bytes_per_s, "eta_s",
                             live->said.eta_s >= 0 ? json_integer(live->said.eta_s) : json_null()));
    }
    if (json_array_size(array))
        text = json_dumps(array, JSON_COMPACT | JSON_REAL_PRECISION(5));
    json_decref(array);
    if (text)
        broadcast(hub, make_event(hub, "progress", text), false);
}

static void
sample_job(struct live *live, int64_t now)
{
    live->every = MAX(live->every, 1);
    if (++live->passed < live->every)
        return;
    live->passed = 0;
    if (live->samples.count == MAX_JOB_SAMPLES) {
        for (size_t i = 0; i < MAX_JOB_SAMPLES / 2; i++)
            live->samples.items[i] = live->samples.items[2 * i];
        live->samples.count = MAX_JOB_SAMPLES / 2;
        live->every *= 2;
    }
    vec_push(&live->samples, ((struct sample){now, rate_of(live)}));
}

static void
take_sample(struct hub *hub)
{
    struct sample *sample = &hub->samples[hub->sample_count++ % SAMPLES];

    *sample = (struct sample){.at = clock_wall_s()};
    for (size_t i = 0; i < hub->lives.count; i++) {
        sample->rate += rate_of(&hub->lives.items[i]);
        sample_job(&hub->lives.items[i], sample->at);
    }
}

/* ---- whose access has ended -------------------------------------------------------------------- */

struct listener {
    uint64_t id;
    char *hash;
    enum store_role role;
};
VEC_DECLARE(listeners, struct listener);

static void
list_listeners(struct hub *hub, struct listeners *ret)
{
    SCOPE_LOCK(&hub->mutex);
    for (size_t i = 0; i < hub->clients.count; i++) {
        const struct client *c = hub->clients.items[i];

        if (!c->is_ended)
            vec_push(ret, ((struct listener){c->id, xstrdup(c->hash), c->role}));
    }
}

static void
end_client(struct hub *hub, uint64_t id)
{
    SCOPE_LOCK(&hub->mutex);
    for (size_t i = 0; i < hub->clients.count; i++)
        if (hub->clients.items[i]->id == id) {
            hub->clients.items[i]->is_ended = true;
            wake_up(hub->clients.items[i]);
        }
}

/* After a logout, or when a token, a user or a role is another: who may still listen asks again.  A store that cannot
 * be read ends nothing. */
static void
check_access(struct hub *hub, struct store *store)
{
    struct listeners all = {0};

    list_listeners(hub, &all);
    for (size_t i = 0; i < all.count; i++) {
        enum store_role role;

        if (sign_in_role(store, all.items[i].hash, &role, NULL) == 0 && role != all.items[i].role)
            end_client(hub, all.items[i].id);
        free(all.items[i].hash);
    }
    vec_done(&all);
}

static bool
is_due(int64_t *next_ms, int64_t every_ms)
{
    int64_t now = clock_monotonic_ms();

    if (now < *next_ms)
        return false;
    *next_ms = now + every_ms;
    return true;
}

static void *
run_hub(void *opaque)
{
    struct hub *hub = opaque;
    CLEANUP(store_closep) struct store *store = NULL;

    thread_answers_first("v2c-events");
    if (store_open(hub->api->options.control_dir, false, &store, NULL) < 0)
        log_warning("events of jobs cannot be sent: the store cannot be opened");
    else
        store_keep_statements(store);
    for (;;) {
        struct timespec until;

        hub->beat_ms = clock_monotonic_ms();
        if (store)
            tell_touched(hub, store);
        if (store && is_due(&hub->next_access_ms, ACCESS_MS))
            check_access(hub, store);
        SCOPE_LOCK(&hub->mutex);
        if (is_due(&hub->next_progress_ms, PROGRESS_MS))
            tell_progress(hub);
        if (is_due(&hub->next_sample_ms, SAMPLE_MS))
            take_sample(hub);
        if (is_due(&hub->next_keep_alive_ms, KEEP_ALIVE_MS))
            broadcast(hub, make_event(hub, NULL, "still here"), false);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += STEP_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (!hub->is_stopping)
            (void)pthread_cond_timedwait(&hub->wake, &hub->mutex, &until);
        if (hub->is_stopping)
            return NULL;
    }
}

int64_t
hub_beat_ms(struct hub *hub)
{
    return hub->beat_ms;
}

struct hub *
hub_new(struct api *api)
{
    struct hub *hub = xcalloc(1, sizeof(*hub));

    hub->api = api;
    hub->boot = (uint64_t)clock_wall_ms();
    hub->beat_ms = clock_monotonic_ms();
    pthread_mutex_init(&hub->mutex, NULL);
    pthread_cond_init(&hub->wake, NULL);
    return hub;
}

void
hub_start(struct hub *hub)
{
    hub->is_started = pthread_create(&hub->thread, NULL, run_hub, hub) == 0;
    if (!hub->is_started)
        log_warning("events of jobs cannot be sent: no thread can be started");
}

/* Clients are resumed, and see the end of the stream; libmicrohttpd frees them afterwards, before the hub
 * is freed by api_stop's caller. */
static void
end_clients(struct hub *hub)
{
    SCOPE_LOCK(&hub->mutex);
    hub->is_stopping = true;
    pthread_cond_broadcast(&hub->wake);
    for (size_t i = 0; i < hub->clients.count; i++)
        wake_up(hub->clients.items[i]);
}

void
hub_stop(struct hub *hub)
{
    end_clients(hub);
    if (hub->is_started)
        (void)pthread_join(hub->thread, NULL);
    hub->is_started = false;
}

void
hub_free(struct hub *hub)
{
    for (size_t i = 0; i < hub->history.count; i++)
        drop(hub->history.items[i]);
    for (size_t i = 0; i < hub->touched.count; i++)
        free(hub->touched.items[i]);
    while (hub->lives.count)
        forget_live(hub, hub->lives.items[0].job);
    vec_done(&hub->history);
    vec_done(&hub->touched);
    vec_done(&hub->lives);
    vec_done(&hub->clients);
    pthread_mutex_destroy(&hub->mutex);
    pthread_cond_destroy(&hub->wake);
    free(hub);
}
