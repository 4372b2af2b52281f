/* /api/v1/jobs. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "config/config.h"

void
api_wake(struct api *api)
{
    uint64_t one = 1;

    if (api->options.wake_fd >= 0 && write(api->options.wake_fd, &one, sizeof(one)) < 0)
        return; /* it is full: the queue looks anyway */
}

/* The existing tool's form: unix nanoseconds and six digits that tell apart what is made at once. */
char *
job_new_id(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static unsigned sequence;
    struct timespec now;

    SCOPE_LOCK(&mutex);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    sequence = (sequence + 1) % 1000000;
    return xasprintf("%lld%09ld-%06u", (long long)now.tv_sec, now.tv_nsec, sequence);
}

/* ---- listing --------------------------------------------------------------------------------------- */

static int
parse_states(const char *text, unsigned *ret, struct err **err)
{
    while (text && *text) {
        size_t length = strcspn(text, ",");
        CLEANUP(free_charp) char *word = strndup(text, length);
        enum store_job_state state;

        if (!strcmp(word, "active"))
            *ret |= 1U << JOB_QUEUED | 1U << JOB_RUNNING | 1U << JOB_WAITING;
        else if (store_job_state_from_name(word, &state))
            *ret |= 1U << state;
        else
            return err_set(err, E_REQUEST, "state: there is no state \"%.40s\"", word);
        text += length + (text[length] == ',');
    }
    return 0;
}

static int
parse_word(const struct request *r, const char *name, const char *const *words, int *ret,
           struct err **err)
{
    const char *text = query_text(r, name);

    for (int i = 0; text && words[i]; i++)
        if (!strcmp(words[i], text)) {
            *ret = i;
            return 0;
        }
    return text ? err_set(err, E_REQUEST, "%s: there is no \"%.40s\"", name, text) : 0;
}

static int
parse_filter(const struct request *r, struct store_job_filter *ret, struct err **err)
{
    static const char *const kinds[] = {"migrate", "check", "rehearse", "cancel", "rollback", NULL};
    static const char *const sorts[] = {"created", "vm", "state", "priority", NULL};
    static const char *const orders[] = {"asc", "desc", NULL};
    int sort = JOB_BY_CREATED, order = 1;

    *ret = (struct store_job_filter){
        .kind = -1, .wave = query_text(r, "wave"), .part = query_text(r, "q"), .limit = 50};
    if (parse_states(query_text(r, "state"), &ret->states, err) < 0 ||
        parse_word(r, "kind", kinds, &ret->kind, err) < 0 ||
        parse_word(r, "sort", sorts, &sort, err) < 0 ||
        parse_word(r, "order", orders, &order, err) < 0 ||
        query_bool(r, "latest_per_vm", &ret->is_latest_per_vm, err) < 0 ||
        query_int(r, "limit", 1, 1000, &ret->limit, err) < 0 ||
        query_int(r, "offset", 0, INT64_MAX, &ret->offset, err) < 0)
        return -1;
    if (ret->part && strlen(ret->part) > 200)
        return err_set(err, E_REQUEST, "q: at most 200 bytes");
    ret->sort = (enum store_job_sort)sort;
    ret->is_descending = order == 1;
    return 0;
}

static int
jobs_json(struct job_context *c, const struct store_jobs *jobs, json_t **ret, struct err **err)
{
    json_t *array = json_array();

    for (size_t i = 0; i < jobs->count; i++) {
        json_t *job = job_json(c, &jobs->items[i], false, err);

        if (!job) {
            json_decref(array);
            return -1;
        }
        json_array_append_new(array, job);
    }
    *ret = array;
    return 0;
}

int
get_jobs(struct request *r, struct err **err)
{
    struct store_job_filter filter;
    struct job_context context;
    struct store_jobs jobs = {0};
    json_t *items = NULL;
    int64_t total = 0;
    int rc;

    if (parse_filter(r, &filter, err) < 0 || job_context_load(r->api, r->store, &context, err) < 0)
        return -1;
    rc = store_job_list(r->store, &filter, &jobs, &total, err);
    if (rc == 0)
        rc = jobs_json(&context, &jobs, &items, err);
    store_jobs_done(&jobs);
    job_context_done(&context);
    if (rc < 0)
        return -1;
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:I}", "items", items, "total", (json_int_t)total));
}

/* One job, as the answer. */
static int
answer_job(struct request *r, unsigned status, const struct store_job *job, bool has_detail,
           struct err **err)
{
    struct job_context context;
    json_t *body;

    if (job_context_load(r->api, r->store, &context, err) < 0)
        return -1;
    body = job_json(&context, job, has_detail, err);
    job_context_done(&context);
    return body ? answer_json(r, status, body) : -1;
}

int
get_job(struct request *r, struct err **err)
{
    struct store_job job = {0};
    int rc;

    if (store_job_get(r->store, r->parts[0], &job, err) < 0)
        return -1;
    rc = answer_job(r, MHD_HTTP_OK, &job, true, err);
    store_job_done(&job);
    return rc;
}

/* ---- beginning ------------------------------------------------------------------------------------- */

static void
remove_specs(const struct store_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->items[i].spec_file)
            (void)unlink(jobs->items[i].spec_file);
}

int
jobs_begin(struct request *r, struct store_jobs *jobs, const struct plan *plan, struct err **err)
{
    for (size_t i = 0; plan && i < jobs->count; i++) {
        struct store_job *job = &jobs->items[i];

        job->spec_file = queue_file(r->api->options.control_dir, job->job_id, QUEUE_SPEC);
        if (file_replace(job->spec_file, plan->items[i].yaml, strlen(plan->items[i].yaml), 0600,
                         err) < 0) {
            remove_specs(jobs);
            return -1;
        }
    }
    if (store_jobs_add(r->store, jobs, err) < 0) {
        if (plan)
            remove_specs(jobs);
        return -1;
    }
    for (size_t i = 0; i < jobs->count; i++)
        hub_touch(r->api->hub, &jobs->items[i]);
    api_wake(r->api);
    return 0;
}

struct new_jobs {
    int kind;
    char *vcenter, *cloudstack, *wave, *not_before;
    int64_t priority, begin_at;
};

static void
new_jobs_done(struct new_jobs *n)
{
    free(n->vcenter);
    free(n->cloudstack);
    free(n->wave);
    free(n->not_before);
}

static int
read_new_jobs(struct request *r, struct new_jobs *ret, struct err **err)
{
    static const char *const keys[] = {"kind", "vcenter",  "cloudstack", "vms", "yaml",
                                       "wave", "priority", "not_before", NULL};
    static const char *const kinds[] = {"migrate", "check", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct problems problems;
    const struct node *root;

    if (body_read(r, false, &doc, err) < 0)
        return -1;
    root = doc_root(doc);
    problems_init(&problems, false);
    node_check_keys(root, keys, &problems);
    node_decode_word(root, "kind", kinds, &ret->kind, &problems);
    node_decode_string(root, "vcenter", &ret->vcenter, &problems);
    node_decode_string(root, "cloudstack", &ret->cloudstack, &problems);
    node_decode_string(root, "wave", &ret->wave, &problems);
    node_decode_string(root, "not_before", &ret->not_before, &problems);
    node_decode_int(root, "priority", -100, 100, &ret->priority, &problems);
    if (ret->not_before && clock_parse_time(ret->not_before, &ret->begin_at, NULL, NULL) < 0)
        problems_add(&problems, node_get(root, "not_before"), "expected a time as RFC 3339 has it");
    if (ret->wave && strlen(ret->wave) > 64)
        problems_add(&problems, node_get(root, "wave"), "expected 64 bytes at most");
    return body_check(&problems, err);
}

static char *
or_default(const char *text, const char *otherwise)
{
    return xstrdup(text && *text ? text : otherwise);
}

static void
add_job(const struct request *r, const struct new_jobs *n, const char *vm_name, const char *moref,
        const char *pool, struct store_jobs *jobs)
{
    vec_push(jobs, ((struct store_job){
                       .job_id = job_new_id(),
                       .kind = n->kind,
                       .vm_name = xstrdup(vm_name),
                       .vm_moref = xstrdup(moref),
                       .vcenter = or_default(n->vcenter, ENVIRONMENT_CONFIG_VCENTER),
                       .cloudstack = or_default(n->cloudstack, ENVIRONMENT_CONFIG_CLOUDSTACK),
                       .wave = n->wave && *n->wave ? xstrdup(n->wave) : NULL,
                       .priority = n->priority,
                       .not_before = n->begin_at,
                       .created_at = clock_wall_s(),
                       .created_by = xstrdup(r->caller.user),
                       .pool = xstrdup(pool),
                   }));
}

/* A check is one job of all VMs: facts are read once for all. */
static void
make_jobs(const struct request *r, const struct new_jobs *n, const struct plan *plan,
          struct store_jobs *jobs)
{
    if (n->kind == JOB_CHECK) {
        CLEANUP(free_charp) char *count = xasprintf("%zu VMs", plan->count);

        add_job(r, n, plan->count == 1 ? plan->items[0].vm_name : count,
                plan->count == 1 ? plan->items[0].vm_moref : NULL, NULL, jobs);
        return;
    }
    for (size_t i = 0; i < plan->count; i++)
        add_job(r, n, plan->items[i].vm_name, plan->items[i].vm_moref, plan->items[i].pool, jobs);
}

/* All specs in one file, for a check. */
static void
join_plan(struct plan *plan, const char *yaml)
{
    if (plan->count == 0)
        return;
    free(plan->items[0].yaml);
    plan->items[0].yaml = xstrdup(yaml);
}

static int
begin(struct request *r, const struct new_jobs *n, const json_t *body, struct store_jobs *jobs,
      struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *yaml = NULL;
    CLEANUP(free_charp) char *problems = NULL;
    CLEANUP(free_charp) char *warnings = NULL;
    struct plan plan = {0};
    json_t *vms = NULL;
    int rc;

    if (environment_config(r->api, r->store, n->vcenter, n->cloudstack, &config, err) < 0 ||
        config_check_run(config, err) < 0)
        return -1;
    rc = specs_plan(r, body, config, &plan, &yaml, &vms, &problems, &warnings, err);
    json_decref(vms);
    if (rc == 0 && problems)
        rc = err_set(err, E_REQUEST, "%s", problems);
    if (rc == 0) {
        make_jobs(r, n, &plan, jobs);
        if (n->kind == JOB_CHECK)
            join_plan(&plan, yaml);
        else
            jobs_identify(config, &plan, jobs);
        /* Before: a failure after jobs have begun would deny them. */
        if (n->kind == JOB_MIGRATE && n->wave && *n->wave)
            rc = store_wave_ensure(r->store, n->wave, err);
        if (rc == 0)
            rc = jobs_begin(r, jobs, &plan, err);
    }
    specs_plan_done(&plan);
    return rc;
}

int
post_jobs(struct request *r, struct err **err)
{
    struct new_jobs n = {.kind = JOB_MIGRATE};
    struct store_jobs jobs = {0};
    struct job_context context;
    json_t *body = NULL, *items = NULL;
    int rc = read_new_jobs(r, &n, err);

    if (rc == 0)
        rc = body_json(r, false, &body, err);
    if (rc == 0)
        rc = begin(r, &n, body, &jobs, err);
    json_decref(body);
    if (rc == 0)
        rc = job_context_load(r->api, r->store, &context, err);
    if (rc == 0) {
        rc = jobs_json(&context, &jobs, &items, err);
        job_context_done(&context);
    }
    store_jobs_done(&jobs);
    new_jobs_done(&n);
    return rc < 0 ? -1 : answer_json(r, MHD_HTTP_CREATED, items);
}

/* ---- changing -------------------------------------------------------------------------------------- */

static bool
is_given(const struct node *root, const char *key)
{
    return node_get(root, key);
}

int
patch_job(struct request *r, struct err **err)
{
    static const char *const keys[] = {"priority", "not_before", "wave", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    CLEANUP(free_charp) char *when = NULL;
    CLEANUP(free_charp) char *wave = NULL;
    struct store_job job = {0};
    struct problems problems;
    const struct node *root;
    int rc;

    if (body_read(r, false, &doc, err) < 0 || store_job_get(r->store, r->parts[0], &job, err) < 0)
        return -1;
    root = doc_root(doc);
    problems_init(&problems, false);
    node_check_keys(root, keys, &problems);
    node_decode_int(root, "priority", -100, 100, &job.priority, &problems);
    node_decode_string(root, "not_before", &when, &problems);
    node_decode_string(root, "wave", &wave, &problems);
    if (is_given(root, "not_before"))
        job.not_before = 0;
    if (when && clock_parse_time(when, &job.not_before, NULL, NULL) < 0)
        problems_add(&problems, node_get(root, "not_before"), "expected a time as RFC 3339 has it");
    if (is_given(root, "wave")) {
        free(job.wave);
        job.wave = wave && *wave ? take(wave) : NULL;
    }
    rc = body_check(&problems, err);
    if (rc == 0)
        rc = store_job_plan(r->store, &job, err);
    if (rc == 0 && job.wave)
        rc = store_wave_ensure(r->store, job.wave, err);
    if (rc == 0) {
        hub_touch(r->api->hub, &job);
        api_wake(r->api);
        rc = answer_job(r, MHD_HTTP_OK, &job, false, err);
    }
    store_job_done(&job);
    return rc;
}

int
job_forget(struct request *r, const struct store_job *job, struct err **err)
{
    static const char *const suffixes[] = {QUEUE_SPEC, QUEUE_STDOUT, QUEUE_STDERR};

    if (store_job_forget(r->store, job->job_id, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        CLEANUP(free_charp)
        char *path = queue_file(r->api->options.control_dir, job->job_id, suffixes[i]);

        (void)unlink(path);
    }
    hub_gone(r->api->hub, job->job_id);
    return 0;
}

int
delete_job(struct request *r, struct err **err)
{
    struct store_job job = {0};
    int rc;

    /* Its id comes from the store and not from the path: only then is it part of a file's name. */
    if (store_job_get(r->store, r->parts[0], &job, err) < 0)
        return -1;
    rc = job_forget(r, &job, err);
    store_job_done(&job);
    return rc < 0 ? -1 : answer_nothing(r);
}

int
post_action(struct request *r, struct err **err)
{
    static const char *const keys[] = {
        "now",    "debug", "keep_files",       "force", "keep_source_off",
        "choice", "limit", "source_untouched", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct store_job job = {0};
    struct problems problems;
    json_t *input = NULL;
    int rc;

    if (body_read(r, true, &doc, err) < 0)
        return -1;
    problems_init(&problems, false);
    node_check_keys(doc_root(doc), keys, &problems);
    if (body_check(&problems, err) < 0 || body_json(r, true, &input, err) < 0)
        return -1;
    rc = job_act(r, r->parts[0], r->parts[1], input, &job, err);
    json_decref(input);
    if (rc == 0) {
        hub_touch(r->api->hub, &job);
        api_wake(r->api);
        rc = answer_job(r, MHD_HTTP_OK, &job, false, err);
    }
    store_job_done(&job);
    return rc;
}

/* ---- what it said ---------------------------------------------------------------------------------- */

#define MAX_TAIL ((off_t)(8 * MIB))
#define MAX_LOG  ((off_t)(64 * MIB))

/* Where the last @lines lines of @data begin. */
static const char *
last_lines(const char *data, size_t length, int64_t lines)
{
    const char *at = data + length;

    if (at > data && at[-1] == '\n')
        at--;
    while (at > data) {
        if (at[-1] == '\n' && --lines <= 0)
            return at;
        at--;
    }
    return data;
}

char *
log_tail(const char *path, int64_t lines)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    off_t max = lines ? MAX_TAIL : MAX_LOG, start;
    CLEANUP(free_charp) char *data = NULL;
    struct stat st;
    size_t length;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return xstrdup("");
    start = st.st_size > max ? st.st_size - max : 0;
    length = (size_t)(st.st_size - start);
    data = xcalloc(length + 1, 1);
    if (file_pread(fd, data, length, (uint64_t)start, NULL) < 0)
        return xstrdup("");
    for (size_t i = 0; i < length; i++)
        if (!data[i])
            data[i] = '?';
    return xstrdup(lines ? last_lines(data, length, lines) : data);
}

/* Of a migration its own log, which outlasts jobs; else what the job's process wrote. */
static char *
log_path(struct request *r, const struct store_job *job)
{
    struct store_migration record = {0};
    bool is_there = false;
    char *path = NULL;

    if (job->kind == JOB_MIGRATE && job->migration &&
        store_migration_of_job(r->store, job, &is_there, &record, NULL) == 0 && is_there)
        path = file_join(record.directory, "migration.log");
    store_migration_done(&record);
    return path ? path : queue_file(r->api->options.control_dir, job->job_id, QUEUE_STDOUT);
}

int
get_job_log(struct request *r, struct err **err)
{
    struct store_job job = {0};
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(free_charp) char *stderr_path = NULL;
    CLEANUP(free_charp) char *main_text = NULL;
    CLEANUP(free_charp) char *stderr_text = NULL;
    int64_t lines = 300;
    bool is_download = false;

    if (query_int(r, "lines", 1, 5000, &lines, err) < 0 ||
        query_bool(r, "download", &is_download, err) < 0 ||
        store_job_get(r->store, r->parts[0], &job, err) < 0)
        return -1;
    path = log_path(r, &job);
    stderr_path = queue_file(r->api->options.control_dir, job.job_id, QUEUE_STDERR);
    main_text = log_tail(path, is_download ? 0 : lines);
    stderr_text = log_tail(stderr_path, is_download ? 0 : lines);
    if (is_download) {
        CLEANUP(free_charp)
        char *name = xasprintf("attachment; filename=\"%s.log\"", job.job_id);

        answer_header(r, "Content-Disposition", name);
    }
    store_job_done(&job);
    return answer_text(r, MHD_HTTP_OK, "text/plain; charset=utf-8",
                       xasprintf("%s%s", main_text, stderr_text));
}

int
get_job_events(struct request *r, struct err **err)
{
    struct store_job job = {0};
    struct store_events events = {0};
    json_t *array;
    int rc = 0;

    if (store_job_get(r->store, r->parts[0], &job, err) < 0)
        return -1;
    if (job.migration)
        rc = store_event_list(r->store, job.migration, 0, 5000, &events, err);
    store_job_done(&job);
    if (rc < 0)
        return -1;
    array = json_array();
    for (size_t i = 0; i < events.count; i++)
        json_array_append_new(array, json_pack("{s:I, s:o, s:o, s:o}", "id",
                                               (json_int_t)events.items[i].id, "at",
                                               json_time(MAX(events.items[i].at, 1)), "kind",
                                               json_text(events.items[i].kind), "text",
                                               json_text(events.items[i].text)));
    store_events_done(&events);
    return answer_json(r, MHD_HTTP_OK, array);
}

/* ---- waves ----------------------------------------------------------------------------------------- */

static json_t *
wave_json(struct store *store, const struct store_wave *wave, struct err **err)
{
    int64_t counts[JOB_STATE_MAX_];
    json_t *states;

    if (store_job_count(store, wave->name, counts, err) < 0)
        return NULL;
    states = json_object();
    for (int state = 0; state < JOB_STATE_MAX_; state++)
        if (counts[state])
            json_object_set_new(states, store_job_state_name((enum store_job_state)state),
                                json_integer(counts[state]));
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:o}", "name", json_text(wave->name), "not_before",
                     json_time(wave->not_before), "not_after", json_time(wave->not_after),
                     "concurrency", (json_int_t)wave->concurrency, "position",
                     (json_int_t)wave->position, "jobs", states);
}

/* @only: the one wave that is the answer; NULL: a list of all. */
static int
answer_waves(struct request *r, const char *only, struct err **err)
{
    struct store_waves waves = {0};
    json_t *array = json_array(), *one = NULL;
    int rc = store_wave_list(r->store, &waves, err);

    for (size_t i = 0; rc == 0 && i < waves.count; i++) {
        json_t *wave = wave_json(r->store, &waves.items[i], err);

        rc = wave ? json_array_append(array, wave) : -1;
        if (wave && only && !strcmp(only, waves.items[i].name))
            one = json_incref(wave);
        json_decref(wave);
    }
    store_waves_done(&waves);
    if (rc == 0 && one) {
        json_decref(array);
        return answer_json(r, MHD_HTTP_OK, one);
    }
    json_decref(one);
    if (rc == 0)
        return answer_json(r, MHD_HTTP_OK, array);
    json_decref(array);
    return -1;
}

int
get_waves(struct request *r, struct err **err)
{
    return answer_waves(r, NULL, err);
}

static void
decode_time(const struct node *root, const char *key, int64_t *ret, struct problems *problems)
{
    CLEANUP(free_charp) char *text = NULL;

    if (node_decode_string(root, key, &text, problems) &&
        clock_parse_time(text, ret, NULL, NULL) < 0)
        problems_add(problems, node_get(root, key), "expected a time as RFC 3339 has it");
}

int
put_wave(struct request *r, struct err **err)
{
    static const char *const keys[] = {"not_before", "not_after", "concurrency", "position", NULL};
    CLEANUP(doc_freep) struct doc *doc = NULL;
    struct store_wave wave = {.name = r->parts[0]};
    struct problems problems;
    const struct node *root;

    if (strlen(wave.name) > 64)
        return err_set(err, E_REQUEST, "the name of a wave has 64 bytes at most");
    if (body_read(r, true, &doc, err) < 0)
        return -1;
    root = doc_root(doc);
    problems_init(&problems, false);
    node_check_keys(root, keys, &problems);
    decode_time(root, "not_before", &wave.not_before, &problems);
    decode_time(root, "not_after", &wave.not_after, &problems);
    node_decode_int(root, "concurrency", 0, 200, &wave.concurrency, &problems);
    node_decode_int(root, "position", 0, 1000, &wave.position, &problems);
    if (body_check(&problems, err) < 0 || store_wave_put(r->store, &wave, err) < 0)
        return -1;
    api_wake(r->api);
    return answer_waves(r, wave.name, err);
}

int
delete_wave(struct request *r, struct err **err)
{
    if (store_wave_delete(r->store, r->parts[0], err) < 0)
        return -1;
    return answer_nothing(r);
}
