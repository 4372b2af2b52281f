/* What the service tells of itself and of the whole: health, metrics, overview, reports. */
#include <inttypes.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <sqlite3.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "api/webhooks.h"
#include "base/clock.h"
#include "migration/view.h"

int
get_health(struct request *r, struct err **err)
{
    return answer_json(r, MHD_HTTP_OK, json_pack("{s:s}", "status", "ok"));
}

int
get_stream(struct request *r, struct err **err)
{
    r->is_stream = true;
    r->status = MHD_HTTP_OK;
    r->is_answered = true;
    return 0;
}

static void
add_library(json_t *array, const char *name, const char *version, const char *licence)
{
    json_array_append_new(
        array, json_pack("{s:s, s:s, s:s}", "name", name, "version", version, "licence", licence));
}

int
get_about(struct request *r, struct err **err)
{
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    json_t *libraries = json_array();

    add_library(libraries, "libcurl", curl->version, "curl");
    add_library(libraries, "OpenSSL", OpenSSL_version(OPENSSL_VERSION_STRING), "Apache-2.0");
    add_library(libraries, "SQLite", sqlite3_libversion(), "public domain");
    add_library(libraries, "libmicrohttpd", MHD_get_version(), "LGPL-2.1-or-later");
    add_library(libraries, "jansson", jansson_version_str(), "MIT");
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:s, s:o, s:o}", "version", V2C_VERSION, "control_dir",
                                 json_text(r->api->options.control_dir), "libraries", libraries));
}

/* ---- overview ---------------------------------------------------------------------------------------- */

static bool
needs_person(const json_t *job)
{
    const char *state = json_string_value(json_object_get(job, "state"));

    return json_is_string(json_object_get(job, "required_action")) ||
           json_is_string(json_object_get(job, "waits_for_space")) ||
           (state && !strcmp(state, "failed"));
}

/* Jobs that are unfinished, and those of VMs whose last one failed. */
static int
sort_jobs(struct job_context *c, json_t *persons, json_t *scheduled, struct err **err)
{
    struct store_jobs jobs = {0};
    int rc =
        store_job_list(c->store,
                       &(struct store_job_filter){.kind = JOB_MIGRATE,
                                                  .states = 1U << JOB_QUEUED | 1U << JOB_RUNNING |
                                                            1U << JOB_WAITING | 1U << JOB_FAILED,
                                                  .is_latest_per_vm = true,
                                                  .is_descending = true,
                                                  .limit = 500},
                       &jobs, NULL, err);

    for (size_t i = 0; rc == 0 && i < jobs.count; i++) {
        json_t *job = job_json(c, &jobs.items[i], false, err);

        if (!job) {
            rc = -1;
            break;
        }
        if (needs_person(job))
            json_array_append(persons, job);
        if (jobs.items[i].state == JOB_QUEUED && jobs.items[i].not_before > clock_wall_s())
            json_array_append(scheduled, job);
        json_decref(job);
    }
    store_jobs_done(&jobs);
    return rc;
}

static json_t *
counts_json(const int64_t counts[JOB_STATE_MAX_])
{
    json_t *object = json_object();

    for (int state = 0; state < JOB_STATE_MAX_; state++)
        json_object_set_new(object, store_job_state_name((enum store_job_state)state),
                            json_integer(counts[state]));
    return object;
}

int
get_overview(struct request *r, struct err **err)
{
    json_t *persons = json_array(), *scheduled = json_array();
    int64_t counts[JOB_STATE_MAX_] = {0};
    struct job_context context;
    struct store_totals totals;
    int rc;

    if (job_context_load(r->api, r->store, &context, err) < 0) {
        json_decref(persons);
        json_decref(scheduled);
        return -1;
    }
    rc = store_job_count(r->store, NULL, counts, err);
    if (rc == 0)
        rc = store_totals_load(r->store, &totals, err);
    if (rc == 0)
        rc = sort_jobs(&context, persons, scheduled, err);
    job_context_done(&context);
    if (rc < 0) {
        json_decref(persons);
        json_decref(scheduled);
        return -1;
    }
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "jobs", counts_json(counts),
                                 "bytes_copied", (json_int_t)totals.copied_bytes,
                                 "rate_bytes_per_s", (json_int_t)hub_rate(r->api->hub),
                                 "needs_person", persons, "scheduled", scheduled, "throughput",
                                 hub_throughput(r->api->hub)));
}

/* ---- metrics ----------------------------------------------------------------------------------------- */

void
metric_describe(struct str *out, const char *name, const char *type, const char *help)
{
    str_appendf(out, "# HELP v2c_%s %s\n# TYPE v2c_%s %s\n", name, help, name, type);
}

/* A label's value: quotes, backslashes and line ends escaped. */
static void
append_label(struct str *out, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '"' || *text == '\\')
            str_append(out, "\\");
        str_append_bytes(out, *text == '\n' ? " " : text, 1);
    }
}

static void
append_job_metrics(struct str *out, const json_t *jobs, const char *metric, const char *member)
{
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i), *value = json_object_get(job, member);

        if (!json_is_number(value))
            continue;
        str_appendf(out, "v2c_%s{vm=\"", metric);
        append_label(out, json_string_value(json_object_get(job, "vm_name")));
        str_append(out, "\",job=\"");
        append_label(out, json_string_value(json_object_get(job, "id")));
        str_appendf(out, "\"} %.10g\n", json_number_value(value));
    }
}

static const struct {
    const char *metric, *member, *help;
} job_metrics[] = {
    {"job_progress_percent", "progress", "Progress of what a job does now."},
    {"job_rate_bytes_per_second", "rate_bytes_per_s", "How fast it reads."},
    {"job_last_delta_bytes", "last_delta_bytes", "Changed bytes of its last delta round."},
    {"job_predicted_downtime_milliseconds", "predicted_downtime_ms",
     "How long the VM would be down if its cutover were asked for now."},
};

static void
append_states(struct str *out, const int64_t counts[JOB_STATE_MAX_])
{
    metric_describe(out, "jobs", "gauge", "Jobs by state.");
    for (int state = 0; state < JOB_STATE_MAX_; state++)
        str_appendf(out, "v2c_jobs{state=\"%s\"} %" PRId64 "\n",
                    store_job_state_name((enum store_job_state)state), counts[state]);
}

static int
append_store_metrics(struct request *r, struct str *out, struct err **err)
{
    struct store_totals totals;
    struct store_errors errors = {0};
    struct store_stage_times times = {0};

    if (store_totals_load(r->store, &totals, err) < 0 ||
        store_errors_load(r->store, &errors, err) < 0)
        return -1;
    if (store_stage_times_load(r->store, &times, err) < 0) {
        store_errors_done(&errors);
        return -1;
    }
    metric_describe(out, "copied_bytes", "gauge",
                    "Bytes of the base copies of all recorded migrations.");
    str_appendf(out, "v2c_copied_bytes %" PRId64 "\n", totals.copied_bytes);
    metric_describe(out, "verified_bytes", "gauge", "Bytes that were read back and compared.");
    str_appendf(out, "v2c_verified_bytes %" PRId64 "\n", totals.verified_bytes);
    metric_describe(out, "mismatched_blocks", "gauge",
                    "Blocks that a verification found wrong, and repaired.");
    str_appendf(out, "v2c_mismatched_blocks %" PRId64 "\n", totals.mismatched_blocks);
    metric_describe(out, "delta_bytes", "gauge", "Changed bytes of all recorded delta rounds.");
    str_appendf(out, "v2c_delta_bytes %" PRId64 "\n", totals.delta_bytes);
    metric_describe(out, "errors", "gauge", "Failed jobs by error code.");
    for (size_t i = 0; i < errors.count; i++) {
        str_append(out, "v2c_errors{code=\"");
        append_label(out, errors.items[i].code);
        str_appendf(out, "\"} %" PRId64 "\n", errors.items[i].count);
    }
    metric_describe(out, "stage_milliseconds", "gauge",
                    "Mean time of a stage, over recorded migrations.");
    for (size_t i = 0; i < times.count; i++) {
        str_append(out, "v2c_stage_milliseconds{stage=\"");
        append_label(out, times.items[i].stage);
        str_appendf(out, "\"} %" PRId64 "\n", times.items[i].mean_ms);
    }
    store_errors_done(&errors);
    store_stage_times_done(&times);
    return 0;
}

static int
append_active(struct job_context *c, struct str *out, struct err **err)
{
    json_t *jobs = json_array();
    int64_t slots = 0;
    int rc = 0;

    for (size_t i = 0; i < c->unfinished.count && rc == 0; i++) {
        const struct store_job *job = &c->unfinished.items[i];
        json_t *object;

        slots += queue_holds_slot(job);
        if (job->kind != JOB_MIGRATE || job->state == JOB_QUEUED)
            continue;
        object = job_json(c, job, false, err);
        rc = object ? 0 : -1;
        if (object)
            json_array_append_new(jobs, object);
    }
    for (size_t i = 0; i < ARRAY_SIZE(job_metrics) && rc == 0; i++) {
        metric_describe(out, job_metrics[i].metric, "gauge", job_metrics[i].help);
        append_job_metrics(out, jobs, job_metrics[i].metric, job_metrics[i].member);
    }
    metric_describe(out, "slots_used", "gauge", "Jobs that hold a slot.");
    str_appendf(out, "v2c_slots_used %" PRId64 "\n", slots);
    metric_describe(out, "slots", "gauge", "Jobs that may hold one at once.");
    str_appendf(out, "v2c_slots %" PRId64 "\n", c->limits.max_workers);
    json_decref(jobs);
    return rc;
}

int
get_metrics(struct request *r, struct err **err)
{
    int64_t counts[JOB_STATE_MAX_] = {0};
    struct str out = STR_INIT(16 * MIB);
    struct job_context context;
    int rc;

    if (job_context_load(r->api, r->store, &context, err) < 0)
        return -1;
    rc = store_job_count(r->store, NULL, counts, err);
    if (rc == 0) {
        append_states(&out, counts);
        rc = append_active(&context, &out, err);
    }
    if (rc == 0)
        rc = append_store_metrics(r, &out, err);
    if (rc == 0)
        rc = webhook_metrics(r, &out, err);
    metric_describe(&out, "build_info", "gauge", "The version that runs.");
    str_appendf(&out, "v2c_build_info{version=\"%s\"} 1\n", V2C_VERSION);
    job_context_done(&context);
    if (rc == 0)
        rc =
            answer_text(r, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", str_take(&out));
    str_done(&out);
    return rc;
}
