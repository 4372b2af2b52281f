/* The report of a job, and of a migration without one: what was moved, how, and how that went.  report_page.c
 * makes a page of it. */
#include <inttypes.h>
#include <string.h>

#include "api/handlers.h"
#include "api/internal.h"
#include "api/report.h"
#include "base/clock.h"
#include "base/doc.h"
#include "base/file.h"
#include "migration/view.h"

#define MAX_EVENTS 5000
#define MAX_ROUNDS 500
#define MAX_PEOPLE 500

/* ---- what was found before ----------------------------------------------------------------------- */

/* `check --json` wrote a list of VMs with their findings. */
static json_t *
check_findings(const struct request *r, const struct store_job *job)
{
    CLEANUP(free_charp)
    char *path = queue_file(r->api->options.control_dir, job->job_id, QUEUE_STDOUT);
    CLEANUP(free_charp) char *text = log_tail(path, 0);
    json_t *vms = json_loads(text, 0, NULL), *array = json_array();

    for (size_t v = 0; v < json_array_size(vms); v++) {
        const json_t *vm = json_array_get(vms, v), *findings = json_object_get(vm, "findings");

        for (size_t i = 0; i < json_array_size(findings); i++) {
            const json_t *f = json_array_get(findings, i);
            json_t *o = json_object();

            json_object_set(o, "level", json_object_get(f, "status"));
            json_object_set(o, "code", json_object_get(f, "check"));
            json_object_set(o, "text", json_object_get(f, "message"));
            if (json_is_string(json_object_get(f, "cure")))
                json_object_set(o, "hint", json_object_get(f, "cure"));
            json_object_set(o, "vm", json_object_get(vm, "vm"));
            json_array_append_new(array, o);
        }
    }
    json_decref(vms);
    return array;
}

/* ---- what was moved ------------------------------------------------------------------------------ */

static json_t *
summary_json(const struct migration_view *view)
{
    const struct store_migration *m = &view->record;
    uint64_t copied = 0, verified = 0, mismatched = 0;

    for (size_t i = 0; i < view->disks.count; i++) {
        copied += view->disks.items[i].base_bytes;
        verified += view->disks.items[i].verified_bytes;
        mismatched += view->disks.items[i].mismatched_blocks;
    }
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "downtime_ms",
                     m->powered_off_at && m->imported_at >= m->powered_off_at
                         ? json_integer((m->imported_at - m->powered_off_at) * 1000)
                         : json_null(),
                     "copied_bytes", (json_int_t)copied, "verified_bytes", (json_int_t)verified,
                     "mismatched_blocks", (json_int_t)mismatched, "delta_rounds",
                     (json_int_t)m->delta_rounds, "powered_off_at", json_time(m->powered_off_at),
                     "imported_at", json_time(m->imported_at));
}

static json_t *
vm_json(const struct store_migration *m)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", json_text(m->vm_name), "moref",
                     json_text(m->vm_moref), "instance_uuid", json_text(m->instance_uuid),
                     "bios_uuid", json_text(m->bios_uuid), "directory", json_text(m->directory));
}

static int
add_source(struct store *store, const struct store_migration *m, json_t *o, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = m->id};
    CLEANUP(free_charp) char *host = NULL;

    if (store_setting_get(store, &vm, STORE_HOST_NAME, &host, err) < 0)
        return -1;
    json_object_set_new(o, "source",
                        json_pack("{s:o, s:o, s:o}", "vcenter", json_text(m->vcenter), "datacenter",
                                  json_text(m->datacenter), "host", json_text(host)));
    return 0;
}

/* As the spec said that it was last run with; what cannot be read is not known. */
static json_t *
target_json(const struct store_migration *m)
{
    static const char *const members[][2] = {
        {"zone_id", "zoneid"},       {"cluster_id", "clusterid"},
        {"storage_id", "storageid"}, {"network_id", "networkid"},
        {"account", "account"},      {"domain_id", "domainid"},
        {"project_id", "projectid"}, {"service_offering_id", "serviceofferingid"},
    };
    CLEANUP(free_charp) char *path = file_join(m->directory, "spec.latest.yaml");
    CLEANUP(doc_freep) struct doc *doc = NULL;
    const struct node *cloudstack = NULL;
    json_t *o = json_pack("{s:o}", "vm_id", json_text(m->cloudstack_vm_id));

    if (doc_read(path, &doc, NULL) == 0)
        cloudstack = node_get(node_get(doc_root(doc), "target"), "cloudstack");
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const struct node *node = node_get(cloudstack, members[i][1]);
        const char *text = node && node_kind(node) == NODE_SCALAR ? node_text(node) : NULL;

        json_object_set_new(o, members[i][0], json_text(text && *text ? text : NULL));
    }
    return o;
}

static json_t *
disks_json(const struct migration_view *view)
{
    json_t *array = json_array();

    for (size_t i = 0; i < view->disks.count; i++)
        json_array_append_new(array, job_disk_json(&view->disks.items[i], &view->progress[i]));
    return array;
}

static int
add_rounds(struct store *store, int64_t migration, json_t *o, struct err **err)
{
    struct store_rounds rounds = {0};
    json_t *array = json_array();

    json_object_set_new(o, "rounds", array);
    if (store_rounds_load(store, migration, MAX_ROUNDS, &rounds, err) < 0)
        return -1;
    for (size_t i = 0; i < rounds.count; i++)
        if (rounds.items[i].number > 0)
            json_array_append_new(array, job_round_json(&rounds.items[i]));
    vec_done(&rounds);
    return 0;
}

/* ---- what happened ------------------------------------------------------------------------------- */

/* Its end is the beginning of the next. */
static void
add_stage(json_t *stages, const struct store_event *event)
{
    size_t count = json_array_size(stages);
    json_t *last = count ? json_array_get(stages, count - 1) : NULL;
    int64_t began = json_integer_value(json_object_get(last, "began"));

    if (last) {
        json_object_set_new(last, "ms", json_integer((event->at - began) * 1000));
        json_object_del(last, "began");
    }
    json_array_append_new(stages,
                          json_pack("{s:o, s:o, s:n, s:I}", "stage", json_text(event->text), "at",
                                    json_time(event->at), "ms", "began", (json_int_t)event->at));
}

static bool
is_bad(const struct store_event *event)
{
    return !strcmp(event->kind, "warning") || !strcmp(event->kind, "error");
}

static int
add_events(struct store *store, int64_t migration, json_t *o, struct err **err)
{
    struct store_events events = {0};
    json_t *stages = json_array(), *warnings = json_array(), *notes = json_array();

    json_object_set_new(o, "stages", stages);
    json_object_set_new(o, "warnings", warnings);
    json_object_set_new(o, "notes", notes);
    if (store_event_list(store, migration, 0, MAX_EVENTS, &events, err) < 0)
        return -1;
    for (size_t i = 0; i < events.count; i++) {
        const struct store_event *event = &events.items[i];

        if (!strcmp(event->kind, "stage"))
            add_stage(stages, event);
        else if (strcmp(event->kind, "round") != 0)
            json_array_append_new(notes, json_pack("{s:o, s:o, s:o}", "at", json_time(event->at),
                                                   "kind", json_text(event->kind), "text",
                                                   json_text(event->text)));
        if (is_bad(event))
            json_array_append_new(warnings, json_text(event->text));
    }
    if (json_array_size(stages))
        json_object_del(json_array_get(stages, json_array_size(stages) - 1), "began");
    store_events_done(&events);
    return 0;
}

/* ---- who did it ---------------------------------------------------------------------------------- */

static void
add_person(json_t *people, int64_t at, const char *user, const char *action, const char *job_id)
{
    json_array_append_new(people, json_pack("{s:o, s:o, s:o, s:o}", "at", json_time(at), "user",
                                            json_text(user ? user : ""), "action",
                                            json_text(action), "job_id", json_text(job_id)));
}

/* By the existing tool's paths a VM is named by its name or moref; an ambiguous one was refused there. */
static bool
is_of_job(const struct store_audit *audit, const struct store_job *job)
{
    if (audit->outcome[0] != '2') /* the status of what was done */
        return false;
    if (!strcmp(audit->subject, job->job_id))
        return true;
    return !strncmp(audit->action, "job.", 4) && audit->at >= job->created_at &&
           (!job->finished_at || audit->at <= job->finished_at);
}

static int
add_people_about(struct store *store, const struct store_job *job, const char *subject,
                 json_t *people, struct err **err)
{
    struct store_audits audits = {0};

    if (!subject)
        return 0;
    if (store_audit_about(store, subject, MAX_PEOPLE, &audits, err) < 0)
        return -1;
    for (size_t i = 0; i < audits.count; i++)
        if (is_of_job(&audits.items[i], job))
            add_person(people, audits.items[i].at, audits.items[i].user, audits.items[i].action,
                       job->job_id);
    store_audits_done(&audits);
    return 0;
}

static int
add_people_of_job(struct store *store, const struct store_job *job, json_t *people,
                  struct err **err)
{
    CLEANUP(free_charp)
    char *begun = xasprintf("job.create: %s", store_job_kind_name((enum store_job_kind)job->kind));

    add_person(people, job->created_at, job->created_by, begun, job->job_id);
    if (add_people_about(store, job, job->job_id, people, err) < 0 ||
        add_people_about(store, job, job->vm_moref, people, err) < 0 ||
        add_people_about(store, job, job->vm_name, people, err) < 0)
        return -1;
    return 0;
}

/* Through the service, at any of its jobs: a command on this host leaves no name. */
static int
add_people(struct store *store, int64_t migration, json_t *o, struct err **err)
{
    struct store_jobs jobs = {0};
    json_t *people = json_array();
    int rc;

    json_object_set_new(o, "people", people);
    rc = store_job_list(store, &(struct store_job_filter){.kind = -1, .migration = migration},
                        &jobs, NULL, err);
    for (size_t i = 0; rc == 0 && i < jobs.count && json_array_size(people) < MAX_PEOPLE; i++)
        rc = add_people_of_job(store, &jobs.items[i], people, err);
    store_jobs_done(&jobs);
    return rc;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static json_t *
new_report(void)
{
    return json_pack("{s:o, s:s}", "generated_at", json_time(clock_wall_s()), "version",
                     V2C_VERSION);
}

static int
add_facts(struct store *store, const struct migration_view *view, json_t *o, struct err **err)
{
    const struct store_migration *m = &view->record;

    json_object_set_new(o, "vm", vm_json(m));
    json_object_set_new(o, "target", target_json(m));
    json_object_set_new(o, "stage", json_text(store_stage_name(m->stage)));
    json_object_set_new(o, "created_at", json_time(m->created_at));
    json_object_set_new(o, "started_at", json_time(m->started_at));
    json_object_set_new(o, "error", api_error_json(m->last_error, m->last_error_code, NULL));
    json_object_set_new(o, "summary", summary_json(view));
    json_object_set_new(o, "disks", disks_json(view));
    if (add_source(store, m, o, err) < 0 || add_rounds(store, m->id, o, err) < 0 ||
        add_events(store, m->id, o, err) < 0 || add_people(store, m->id, o, err) < 0)
        return -1;
    return 0;
}

int
api_report(struct store *store, const char *control_dir, const char *vcenter, const char *moref,
           struct json_t **ret, struct err **err)
{
    CLEANUP(migration_view_done) struct migration_view view = {0};
    struct store_migration record = {0};
    json_t *o;

    if (store_migration_find(store, vcenter, moref, &record, err) < 0 ||
        migration_view_load(store, control_dir, &record, &view, err) < 0)
        return -1;
    o = new_report();
    if (add_facts(store, &view, o, err) < 0) {
        json_decref(o);
        return -1;
    }
    *ret = o;
    return 0;
}

static int
add_migration_of_job(struct request *r, const struct store_job *job, json_t *o, struct err **err)
{
    CLEANUP(migration_view_done) struct migration_view view = {0};
    struct store_migration record = {0};
    bool is_there = false;

    if (job->migration && store_migration_of_job(r->store, job, &is_there, &record, err) < 0)
        return -1;
    if (!is_there) {
        json_object_set_new(o, "summary", json_object());
        json_object_set_new(o, "disks", json_array());
        json_object_set_new(o, "warnings", json_array());
        return 0;
    }
    if (migration_view_load(r->store, r->api->options.control_dir, &record, &view, err) < 0)
        return -1;
    return add_facts(r->store, &view, o, err);
}

static int
report_of_job(struct request *r, const struct store_job *job, json_t **ret, struct err **err)
{
    struct job_context context;
    json_t *o = new_report(), *about;
    int rc = job_context_load(r->api, r->store, &context, err);

    if (rc == 0) {
        about = job_json(&context, job, true, err);
        job_context_done(&context);
        rc = about ? 0 : -1;
    }
    if (rc == 0) {
        json_object_set_new(o, "job", about);
        json_object_set_new(o, "findings",
                            job->kind == JOB_CHECK ? check_findings(r, job) : json_array());
        rc = add_migration_of_job(r, job, o, err);
    }
    if (rc < 0)
        json_decref(o);
    else
        *ret = o;
    return rc;
}

static int
find_report(struct request *r, json_t **ret, struct err **err)
{
    struct store_job job = {0};
    int rc;

    if (store_job_get(r->store, r->parts[0], &job, err) < 0)
        return -1;
    rc = report_of_job(r, &job, ret, err);
    store_job_done(&job);
    return rc;
}

int
get_job_report(struct request *r, struct err **err)
{
    json_t *report = NULL;

    return find_report(r, &report, err) < 0 ? -1 : answer_json(r, MHD_HTTP_OK, report);
}

int
get_job_report_page(struct request *r, struct err **err)
{
    CLEANUP(free_charp) char *policy = NULL;
    const char *ancestors = r->api->options.frame_ancestors;
    json_t *report = NULL;
    char *page = NULL;
    int rc;

    if (find_report(r, &report, err) < 0)
        return -1;
    rc = api_report_page(report, &page, err);
    json_decref(report);
    if (rc < 0)
        return -1;
    policy = xasprintf("default-src 'none'; style-src '%s'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors %s",
                       api_report_style(), ancestors && *ancestors ? ancestors : "'none'");
    answer_header(r, "Content-Security-Policy", policy);
    return answer_text(r, MHD_HTTP_OK, "text/html; charset=utf-8", page);
}
