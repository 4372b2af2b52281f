/* Jobs as JSON: what the store has of them and of their migrations, and what running ones said last. */
#include <string.h>

#include "api/internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "migration/view.h"

#define MAX_ROUNDS 500

int
job_context_load(struct api *api, struct store *store, struct job_context *ret, struct err **err)
{
    if (store_snapshot_begin(store, err) < 0)
        return -1;
    *ret = (struct job_context){.api = api, .store = store};
    if (queue_limits_load(store, api->options.default_workers, &ret->limits, err) < 0 ||
        store_wave_list(store, &ret->waves, err) < 0 ||
        store_job_list(store,
                       &(struct store_job_filter){.states = 1U << JOB_QUEUED | 1U << JOB_RUNNING |
                                                            1U << JOB_WAITING,
                                                  .kind = -1},
                       &ret->unfinished, NULL, err) < 0) {
        job_context_done(ret);
        return -1;
    }
    return 0;
}

void
job_context_done(struct job_context *context)
{
    store_snapshot_end(context->store);
    store_jobs_done(&context->unfinished);
    store_waves_done(&context->waves);
}

/* ---- its migration --------------------------------------------------------------------------------- */

json_t *
job_disk_json(const struct store_disk *disk, const struct store_progress *p)
{
    json_t *o = json_object();

    json_object_set_new(o, "key", json_text(disk->key));
    json_object_set_new(o, "name", json_text(disk->name));
    json_object_set_new(o, "address", json_text(disk->address));
    json_object_set_new(o, "bytes", json_integer((json_int_t)disk->capacity));
    json_object_set_new(o, "boot", json_boolean(disk->is_boot));
    json_object_set_new(o, "path", json_text(disk->target_path));
    json_object_set_new(o, "stage", json_text(p->stage));
    json_object_set_new(o, "planned_bytes", json_integer((json_int_t)p->planned_bytes));
    json_object_set_new(o, "read_bytes", json_integer((json_int_t)p->read_bytes));
    json_object_set_new(o, "written_bytes", json_integer((json_int_t)p->written_bytes));
    json_object_set_new(o, "zero_bytes", json_integer((json_int_t)p->zero_bytes));
    json_object_set_new(o, "rate_bytes_per_s", json_integer((json_int_t)p->rate_bytes_per_s));
    json_object_set_new(o, "eta_s", p->eta_s > 0 ? json_integer(p->eta_s) : json_null());
    json_object_set_new(o, "progress", json_real(MIN(MAX(p->percent, 0), 100)));
    json_object_set_new(o, "base_copied", json_boolean(disk->is_base_copied));
    json_object_set_new(o, "delta_rounds", json_integer(disk->delta_rounds));
    json_object_set_new(o, "base_bytes", json_integer((json_int_t)disk->base_bytes));
    json_object_set_new(o, "base_ms", json_integer((json_int_t)disk->base_ms));
    json_object_set_new(o, "source_path", json_text(disk->source_path));
    json_object_set_new(o, "storage_id", json_text(disk->storage_id));
    json_object_set_new(o, "volume_id", json_text(disk->volume_id));
    json_object_set_new(o, "verified_at", json_time(disk->verified_at));
    json_object_set_new(o, "verified_bytes", json_integer((json_int_t)disk->verified_bytes));
    json_object_set_new(o, "mismatched_blocks", json_integer((json_int_t)disk->mismatched_blocks));
    return o;
}

static json_t *
downtime_json(const struct migration_downtime *d)
{
    if (!d->is_known)
        return json_null();
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:b}", "total_ms", (json_int_t)d->total_ms,
        "total_now_ms", (json_int_t)d->total_now_ms, "shutdown_ms", (json_int_t)d->shutdown_ms,
        "settle_ms", (json_int_t)d->settle_ms, "sync_ms", (json_int_t)d->sync_ms, "import_ms",
        (json_int_t)d->import_ms, "convert_ms",
        d->convert_ms >= 0 ? json_integer(d->convert_ms) : json_null(), "max_ms",
        d->max_ms > 0 ? json_integer(d->max_ms) : json_null(), "hopeless", d->is_hopeless);
}

json_t *
job_round_json(const struct store_round *round)
{
    return json_pack("{s:I, s:o, s:I, s:I, s:I}", "number", (json_int_t)round->number, "began_at",
                     json_time(MAX(round->began_at_ms / 1000, 1)), "changed_bytes",
                     (json_int_t)round->changed_bytes, "copy_ms", (json_int_t)round->copy_ms,
                     "total_ms", (json_int_t)round->total_ms);
}

/* ---- what can be asked for now, by whoever may ----------------------------------------------------- */

static bool
can_cancel(const struct store_job *job, const struct store_migration *r)
{
    if (job->wanted == JOB_WANTS_CANCEL || job->state == JOB_CANCELLED)
        return false;
    return job->state == JOB_QUEUED ||
           (r->id && !migration_is_over(r->stage) && !r->cloudstack_vm_id);
}

static bool
can_roll_back(const struct store_job *job, const struct store_migration *r)
{
    return store_job_is_over((enum store_job_state)job->state) && r->cloudstack_vm_id &&
           r->stage != STAGE_ROLLED_BACK;
}

static json_t *
actions_json(const struct store_job *job, const struct migration_view *view)
{
    bool is_active = !store_job_is_over((enum store_job_state)job->state);
    const struct store_migration *r = &view->record;
    bool can_copy = is_active && r->id && r->stage <= STAGE_DELTA;
    const struct {
        const char *name;
        bool is_possible, is_of_any_kind;
    } actions[] = {
        {"finalize", can_copy && !view->is_finalize_now && !view->is_paused},
        {"pause", can_copy && !view->is_paused},
        {"resume", view->is_paused},
        {"stop", is_active && job->wanted == JOB_WANTS_NOTHING, true},
        {"retry", job->state == JOB_FAILED || job->state == JOB_STOPPED},
        {"cancel", can_cancel(job, r)},
        {"rollback", can_roll_back(job, r)},
        {"rehearse", job->state == JOB_WAITING && r->stage == STAGE_DELTA},
        {"shutdown", is_active && r->stage == STAGE_AWAITING_SHUTDOWN},
        {"bandwidth", can_copy},
    };
    json_t *array = json_array();

    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (actions[i].is_possible && (job->kind == JOB_MIGRATE || actions[i].is_of_any_kind))
            json_array_append_new(array, json_string(actions[i].name));
    return array;
}

/* ---- the migration as it is now ------------------------------------------------------------------- */

static int
add_last_round(struct job_context *c, int64_t migration, json_t *o, struct err **err)
{
    struct store_rounds rounds = {0};
    const struct store_round *last = NULL;

    if (store_rounds_load(c->store, migration, 1, &rounds, err) < 0)
        return -1;
    if (rounds.count && rounds.items[0].number > 0)
        last = &rounds.items[0];
    json_object_set_new(o, "last_delta_bytes",
                        last ? json_integer((json_int_t)last->changed_bytes) : json_null());
    vec_done(&rounds);
    return 0;
}

static json_t *
disk_progress_json(const struct migration_view *view)
{
    json_t *array = json_array();

    for (size_t i = 0; i < view->disks.count; i++)
        json_array_append_new(array, json_pack("{s:o, s:o, s:f}", "name",
                                               json_text(view->disks.items[i].name), "stage",
                                               json_text(view->progress[i].stage), "progress",
                                               MIN(MAX(view->progress[i].percent, 0), 100)));
    return array;
}

static int
add_migration(struct job_context *c, const struct migration_view *view, json_t *o, struct err **err)
{
    const struct store_migration *r = &view->record;
    bool waits = r->stage == STAGE_AWAITING_SHUTDOWN && r->is_shutdown_action_required;
    uint64_t total = 0;

    for (size_t i = 0; i < view->disks.count; i++)
        total += view->disks.items[i].capacity;
    json_object_set_new(o, "stage", json_text(store_stage_name(r->stage)));
    json_object_set_new(
        o, "next_stage",
        json_text(migration_next_stage(r->stage, view->is_finalize_requested, true)));
    json_object_set_new(o, "progress", json_real(MIN(MAX(view->percent, 0), 100)));
    json_object_set_new(o, "total_bytes", json_integer((json_int_t)total));
    json_object_set_new(o, "delta_rounds", json_integer(r->delta_rounds));
    json_object_set_new(o, "predicted_downtime_ms",
                        view->downtime.is_known ? json_integer(view->downtime.total_ms)
                                                : json_null());
    json_object_set_new(o, "finalize_requested", json_boolean(view->is_finalize_requested));
    json_object_set_new(o, "finalize_now_requested", json_boolean(view->is_finalize_now));
    json_object_set_new(o, "paused", json_boolean(view->is_paused));
    json_object_set_new(o, "waits_for_space", json_text(view->no_space));
    json_object_set_new(o, "required_action", json_text(waits ? "shutdown_choice" : NULL));
    json_object_set_new(o, "shutdown_reason", json_text(waits ? r->shutdown_reason : NULL));
    json_object_set_new(o, "cloudstack_vm_id", json_text(r->cloudstack_vm_id));
    json_object_set_new(o, "disk_progress", disk_progress_json(view));
    return add_last_round(c, r->id, o, err);
}

static int
add_detail(struct job_context *c, const struct store_job *job, const struct migration_view *view,
           json_t *o, struct err **err)
{
    struct store_rounds rounds = {0};
    json_t *disks = json_array(), *list = json_array();
    CLEANUP(free_charp) char *spec = NULL;
    size_t length;

    for (size_t i = 0; i < view->disks.count; i++)
        json_array_append_new(disks, job_disk_json(&view->disks.items[i], &view->progress[i]));
    json_object_set_new(o, "disks", disks);
    json_object_set_new(o, "rounds", list);
    json_object_set_new(o, "downtime", downtime_json(&view->downtime));
    json_object_set_new(o, "directory", json_text(view->record.directory));
    json_object_set_new(o, "throughput", hub_job_throughput(c->api->hub, job->id));
    if (job->spec_file)
        (void)file_read(job->spec_file, 4 * MIB, &spec, &length, NULL);
    json_object_set_new(o, "spec", json_text(spec ? spec : ""));
    if (!view->record.id)
        return 0;
    if (store_rounds_load(c->store, view->record.id, MAX_ROUNDS, &rounds, err) < 0)
        return -1;
    for (size_t i = 0; i < rounds.count; i++)
        if (rounds.items[i].number > 0)
            json_array_append_new(list, job_round_json(&rounds.items[i]));
    vec_done(&rounds);
    return 0;
}

/* ---- the job ----------------------------------------------------------------------------------------- */

static json_t *
error_json(const struct store_job *job)
{
    if (job->state != JOB_FAILED && job->state != JOB_STOPPED)
        return json_null();
    return api_error_json(job->error, job->error_code, job->error_hint);
}

static void
add_job(struct job_context *c, const struct store_job *job, json_t *o)
{
    const struct queue_view view = {.unfinished = &c->unfinished,
                                    .waves = &c->waves,
                                    .limits = &c->limits,
                                    .now = clock_wall_s()};
    struct queue_live live = {.eta_s = -1};
    char text[200];

    (void)hub_live(c->api->hub, job->id, &live);
    json_object_set_new(o, "id", json_text(job->job_id));
    json_object_set_new(o, "kind", json_text(store_job_kind_name((enum store_job_kind)job->kind)));
    json_object_set_new(o, "state",
                        json_text(store_job_state_name((enum store_job_state)job->state)));
    json_object_set_new(o, "vm_name", json_text(job->vm_name));
    json_object_set_new(o, "vm_moref", json_text(job->vm_moref));
    json_object_set_new(o, "vcenter", json_text(job->vcenter));
    json_object_set_new(o, "cloudstack", json_text(job->cloudstack));
    json_object_set_new(o, "wave", json_text(job->wave));
    json_object_set_new(o, "priority", json_integer(job->priority));
    json_object_set_new(o, "created_at", json_time(MAX(job->created_at, 1)));
    json_object_set_new(o, "created_by", json_text(job->created_by ? job->created_by : ""));
    json_object_set_new(o, "not_before", json_time(job->not_before));
    json_object_set_new(o, "started_at", json_time(job->started_at));
    json_object_set_new(o, "finished_at", json_time(job->finished_at));
    json_object_set_new(o, "retry_of", json_text(job->retry_of));
    json_object_set_new(
        o, "waits_for",
        json_text(job->state == JOB_QUEUED ? queue_waits_for(&view, job, text) : NULL));
    json_object_set_new(o, "error", error_json(job));
    json_object_set_new(o, "stage", json_text(job->stage));
    json_object_set_new(o, "progress", json_real((double)job->progress / 100));
    json_object_set_new(o, "rate_bytes_per_s", json_integer((json_int_t)live.rate_bytes_per_s));
    json_object_set_new(o, "eta_s", live.eta_s >= 0 ? json_integer(live.eta_s) : json_null());
}

/* What the migration was when the job ended is what the job says of it then; only the latest job of a
 * migration speaks of how it is now. */
static bool
speaks_of_now(const struct store_job *job)
{
    return job->kind == JOB_MIGRATE && job->migration;
}

json_t *
job_json(struct job_context *c, const struct store_job *job, bool has_detail, struct err **err)
{
    struct migration_view view = {0};
    struct store_migration record = {0};
    json_t *o = json_object();
    int rc = 0;

    add_job(c, job, o);
    if (speaks_of_now(job)) {
        bool is_there = false;

        rc = store_migration_of_job(c->store, job, &is_there, &record, err);
        if (rc == 0 && is_there)
            rc = migration_view_load(c->store, c->api->options.control_dir, &record, &view, err);
        if (rc == 0 && is_there)
            rc = add_migration(c, &view, o, err);
    }
    if (rc == 0)
        json_object_set_new(o, "actions", actions_json(job, &view));
    if (rc == 0 && has_detail)
        rc = add_detail(c, job, &view, o, err);
    migration_view_done(&view);
    if (rc == 0)
        return o;
    json_decref(o);
    return NULL;
}
