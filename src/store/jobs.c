#include "store/jobs.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "store/sqlite.h"

#define UNFINISHED "state < 3" /* JOB_COMPLETED */

static const char *const kind_names[JOB_KIND_MAX_] = {
    [JOB_MIGRATE] = "migrate", [JOB_CHECK] = "check",       [JOB_REHEARSE] = "rehearse",
    [JOB_CANCEL] = "cancel",   [JOB_ROLLBACK] = "rollback",
};
static const char *const state_names[JOB_STATE_MAX_] = {
    [JOB_QUEUED] = "queued",       [JOB_RUNNING] = "running", [JOB_WAITING] = "waiting",
    [JOB_COMPLETED] = "completed", [JOB_FAILED] = "failed",   [JOB_STOPPED] = "stopped",
    [JOB_CANCELLED] = "cancelled",
};

static bool
find_name(const char *const *names, size_t count, const char *name, int *ret)
{
    for (size_t i = 0; name && i < count; i++)
        if (!strcmp(names[i], name)) {
            *ret = (int)i;
            return true;
        }
    return false;
}

const char *
store_job_kind_name(enum store_job_kind kind)
{
    return kind_names[kind];
}

bool
store_job_kind_from_name(const char *name, enum store_job_kind *ret)
{
    int index = 0;
    bool is_found = find_name(kind_names, ARRAY_SIZE(kind_names), name, &index);

    if (is_found)
        *ret = (enum store_job_kind)index;
    return is_found;
}

const char *
store_job_state_name(enum store_job_state state)
{
    return state_names[state];
}

bool
store_job_state_from_name(const char *name, enum store_job_state *ret)
{
    int index = 0;
    bool is_found = find_name(state_names, ARRAY_SIZE(state_names), name, &index);

    if (is_found)
        *ret = (enum store_job_state)index;
    return is_found;
}

/* ---- rows ------------------------------------------------------------------------------------- */

#define JOB(kind, member)                                                                          \
    {                                                                                              \
#member, COLUMN_##kind, offsetof(struct store_job, member)                                 \
    }
static const struct column job_columns[] = {
    JOB(TEXT, job_id),       JOB(INT32, kind),        JOB(INT32, state),
    JOB(TEXT, vm_name),      JOB(TEXT, vm_moref),     JOB(TEXT, vcenter),
    JOB(TEXT, cloudstack),   JOB(INT64, migration),   JOB(TEXT, wave),
    JOB(INT64, priority),    JOB(INT64, created_at),  JOB(INT64, not_before),
    JOB(INT64, started_at),  JOB(INT64, finished_at), JOB(TEXT, created_by),
    JOB(TEXT, retry_of),     JOB(TEXT, spec_file),    JOB(TEXT, options),
    JOB(TEXT, pool),         JOB(TEXT, host),         JOB(INT32, wanted),
    JOB(TEXT, stage),        JOB(INT64, progress),    JOB(INT32, return_code),
    JOB(TEXT, error),        JOB(TEXT, error_code),   JOB(TEXT, error_hint),
    JOB(TEXT, vcenter_uuid),
};
static const struct table job_table = {
    .name = "job",
    .columns = job_columns,
    .column_count = ARRAY_SIZE(job_columns),
    .id_offset = offsetof(struct store_job, id),
};

void
store_job_done(struct store_job *job)
{
    table_free_texts(&job_table, job);
}

void
store_jobs_done(struct store_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++)
        store_job_done(&jobs->items[i]);
    vec_done(jobs);
}

/* All rows of @stmt; what was read before a failure is freed. */
static int
read_jobs(struct store *store, sqlite3_stmt *stmt, struct store_jobs *ret, struct err **err)
{
    struct store_jobs found = {0};
    int rc;

    while ((rc = store_step(store, stmt, err)) > 0) {
        struct store_job job = {0};

        rc = table_read(store, &job_table, stmt, &job, err);
        job.kind = MIN(MAX(job.kind, 0), JOB_KIND_MAX_ - 1);
        job.state = MIN(MAX(job.state, 0), JOB_STATE_MAX_ - 1);
        vec_push(&found, job);
        if (rc < 0)
            break;
    }
    if (rc < 0) {
        store_jobs_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

static int
one_number(struct store *store, sqlite3_stmt *stmt, int64_t *ret, struct err **err)
{
    int rc = store_step(store, stmt, err);

    if (rc < 0)
        return -1;
    *ret = rc ? sqlite3_column_int64(stmt, 0) : 0;
    return 0;
}

/* ---- adding ------------------------------------------------------------------------------------ */

/* A check disturbs nobody; a cancel or a rehearsal is about a migration that may be running. */
static bool
excludes_others(const struct store_job *job)
{
    return job->kind == JOB_MIGRATE || job->kind == JOB_ROLLBACK || job->kind == JOB_CANCEL;
}

static int
refuse_second(struct store *store, const struct store_job *job, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = NULL;
    struct store_jobs found = {0};

    if (!excludes_others(job))
        return 0;
    /* Without a moref on either side names decide.  What that misses (a VM by two names, a vCenter under two
     * ids, while it could not be asked), the second job's worker refuses. */
    stmt = table_select(
        store, &job_table,
        "WHERE " UNFINISHED " AND kind IN (0, 3, 4) AND (vcenter = ?1 OR vcenter_uuid = ?5)"
        " AND (vm_moref = ?2 OR ((vm_moref IS NULL OR ?2 IS NULL) AND vm_name = ?3))"
        " AND NOT (?4 = 3 AND kind = 0) LIMIT 1",
        err);
    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, job->vcenter);
    store_bind_text(stmt, 2, job->vm_moref);
    store_bind_text(stmt, 3, job->vm_name);
    sqlite3_bind_int(stmt, 4, job->kind);
    store_bind_text(stmt, 5, job->vcenter_uuid);
    if (read_jobs(store, stmt, &found, err) < 0)
        return -1;
    if (found.count) {
        const struct store_job *other = &found.items[0];

        err_set(err, E_JOB_EXISTS, "%s has a %s job already that is %s: %s", job->vm_name,
                kind_names[other->kind], state_names[other->state], other->job_id);
        err_hint(err, "wait for it, or stop or cancel it first");
        store_jobs_done(&found);
        return -1;
    }
    vec_done(&found);
    return 0;
}

int
store_jobs_add(struct store *store, struct store_jobs *jobs, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    for (size_t i = 0; i < jobs->count; i++)
        if (refuse_second(store, &jobs->items[i], err) < 0 ||
            table_insert(store, &job_table, &jobs->items[i], err) < 0) {
            store_rollback(store);
            return -1;
        }
    return store_commit(store, err);
}

/* ---- finding ----------------------------------------------------------------------------------- */

static int
fail_not_found(const char *job_id, struct err **err)
{
    err_set(err, E_JOB_NOT_FOUND, "there is no job %.100s", job_id);
    return err_hint(err, "it may have been forgotten");
}

int
store_job_get(struct store *store, const char *job_id, struct store_job *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &job_table, "WHERE job_id = ?", err);
    struct store_jobs found = {0};

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, job_id);
    if (read_jobs(store, stmt, &found, err) < 0)
        return -1;
    if (found.count == 0)
        return fail_not_found(job_id, err);
    *ret = found.items[0];
    vec_done(&found);
    return 0;
}

/* "%part%" with LIKE's own characters taken as themselves. */
static char *
like_pattern(const char *part)
{
    struct str text = STR_INIT(4096);

    str_append(&text, "%");
    for (const char *c = part; *c; c++) {
        if (strchr("%_\\", *c))
            str_append(&text, "\\");
        str_append_bytes(&text, c, 1);
    }
    str_append(&text, "%");
    return str_take(&text);
}

/* Numbered parameters, so that every one of them may be left out of the text. */
static void
append_where(const struct store_job_filter *f, struct str *sql)
{
    str_append(sql, "WHERE 1");
    if (f->states)
        str_append(sql, " AND (1 << state) & ?1");
    if (f->kind >= 0)
        str_append(sql, " AND kind = ?2");
    if (f->wave)
        str_append(sql, " AND wave = ?3");
    if (f->vm_name)
        str_append(sql, " AND vm_name = ?4");
    if (f->vm_moref)
        str_append(sql, " AND vm_moref = ?5");
    if (f->vcenter)
        str_append(sql, " AND vcenter = ?6");
    if (f->part)
        str_append(sql, " AND (vm_name LIKE ?7 ESCAPE '\\' OR vm_moref LIKE ?7 ESCAPE '\\')");
    if (f->migration)
        str_append(sql, " AND migration = ?8");
    if (f->is_latest_per_vm)
        str_append(sql, " AND NOT EXISTS (SELECT 1 FROM job AS later WHERE later.id > job.id"
                        " AND later.vm_name = job.vm_name AND later.vcenter = job.vcenter"
                        " AND later.vm_moref IS job.vm_moref AND later.kind = job.kind)");
}

static void
bind_where(const struct store_job_filter *f, sqlite3_stmt *stmt)
{
    CLEANUP(free_charp) char *pattern = f->part ? like_pattern(f->part) : NULL;
    const char *const texts[] = {f->wave, f->vm_name, f->vm_moref, f->vcenter, pattern};

    if (f->states)
        sqlite3_bind_int64(stmt, 1, f->states);
    if (f->kind >= 0)
        sqlite3_bind_int(stmt, 2, f->kind);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i])
            store_bind_text(stmt, (int)i + 3, texts[i]);
    if (f->migration)
        sqlite3_bind_int64(stmt, 8, f->migration);
}

static void
append_order(const struct store_job_filter *f, struct str *sql)
{
    static const char *const columns[] = {
        [JOB_BY_CREATED] = "id",
        [JOB_BY_VM] = "vm_name",
        [JOB_BY_STATE] = "state",
        [JOB_BY_PRIORITY] = "priority",
    };

    str_appendf(sql, " ORDER BY %s%s", columns[f->sort], f->is_descending ? " DESC" : "");
    if (f->sort != JOB_BY_CREATED)
        str_append(sql, ", id DESC");
    if (f->limit > 0)
        str_append(sql, " LIMIT ?9 OFFSET ?10");
}

static int
count_matching(struct store *store, const struct store_job_filter *filter, const char *where,
               int64_t *ret_total, struct err **err)
{
    CLEANUP(free_charp) char *sql = xasprintf("SELECT count(*) FROM job %s", where);
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = store_prepare(store, sql, err);

    if (!stmt)
        return -1;
    bind_where(filter, stmt);
    return one_number(store, stmt, ret_total, err);
}

int
store_job_list(struct store *store, const struct store_job_filter *filter, struct store_jobs *ret,
               int64_t *ret_total, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = NULL;
    struct str sql = STR_INIT(8192);
    int rc = 0;

    append_where(filter, &sql);
    if (ret_total)
        rc = count_matching(store, filter, str_text(&sql), ret_total, err);
    append_order(filter, &sql);
    if (rc == 0)
        stmt = table_select(store, &job_table, str_text(&sql), err);
    str_done(&sql);
    if (!stmt)
        return -1;
    bind_where(filter, stmt);
    if (filter->limit > 0) {
        sqlite3_bind_int64(stmt, 9, filter->limit);
        sqlite3_bind_int64(stmt, 10, filter->offset);
    }
    return read_jobs(store, stmt, ret, err);
}

int
store_job_count(struct store *store, const char *wave, int64_t ret_counts[JOB_STATE_MAX_],
                struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       wave ? "SELECT state, count(*) FROM job"
                                              " WHERE wave = ? AND kind = 0 GROUP BY state"
                                            : "SELECT state, count(*) FROM job GROUP BY state",
                                       err);
    int rc;

    if (!stmt)
        return -1;
    if (wave)
        store_bind_text(stmt, 1, wave);
    memset(ret_counts, 0, JOB_STATE_MAX_ * sizeof(ret_counts[0]));
    while ((rc = store_step(store, stmt, err)) > 0) {
        int state = sqlite3_column_int(stmt, 0);

        if (state >= 0 && state < JOB_STATE_MAX_)
            ret_counts[state] = sqlite3_column_int64(stmt, 1);
    }
    return rc;
}

/* ---- changing ---------------------------------------------------------------------------------- */

/* After an UPDATE or DELETE that changed no row: whether the job is not there, or too far. */
static int
explain_no_change(struct store *store, const char *job_id, const char *what, struct err **err)
{
    struct store_job job = {0};

    if (sqlite3_changes(store->db) > 0)
        return 0;
    if (store_job_get(store, job_id, &job, err) < 0)
        return -1;
    err_set(err, E_JOB_STATE, "the job of %s is %s: it cannot be %s", job.vm_name,
            state_names[job.state], what);
    store_job_done(&job);
    return -1;
}

int
store_job_plan(struct store *store, const struct store_job *job, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "UPDATE job SET priority = ?, not_before = ?, wave = ?"
                                       " WHERE job_id = ? AND state = 0",
                                       err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, job->priority);
    sqlite3_bind_int64(stmt, 2, job->not_before);
    store_bind_text(stmt, 3, job->wave);
    store_bind_text(stmt, 4, job->job_id);
    if (store_run(store, stmt, err) < 0)
        return -1;
    return explain_no_change(store, job->job_id, "planned anew", err);
}

int
store_job_want(struct store *store, const char *job_id, enum store_job_wanted wanted,
               struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "UPDATE job SET wanted = max(wanted, ?) WHERE job_id = ? AND " UNFINISHED, err);

    if (!stmt)
        return -1;
    sqlite3_bind_int(stmt, 1, (int)wanted);
    store_bind_text(stmt, 2, job_id);
    if (store_run(store, stmt, err) < 0)
        return -1;
    return explain_no_change(store, job_id, "stopped", err);
}

int
store_job_forget(struct store *store, const char *job_id, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store, "DELETE FROM job WHERE job_id = ? AND NOT " UNFINISHED, err);

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, job_id);
    if (store_run(store, stmt, err) < 0)
        return -1;
    return explain_no_change(store, job_id, "forgotten", err);
}

int
store_job_save(struct store *store, const struct store_job *job, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store,
        "UPDATE job SET state = ?, vm_name = ?, vm_moref = ?,"
        " migration = coalesce((SELECT id FROM migration WHERE id = ?), 0), started_at = ?,"
        " finished_at = ?, host = ?, stage = ?, progress = ?, return_code = ?, error = ?,"
        " error_code = ?, error_hint = ?, vcenter_uuid = ? WHERE id = ?",
        err);

    if (!stmt)
        return -1;
    sqlite3_bind_int(stmt, 1, job->state);
    store_bind_text(stmt, 2, job->vm_name);
    store_bind_text(stmt, 3, job->vm_moref);
    sqlite3_bind_int64(stmt, 4, job->migration);
    sqlite3_bind_int64(stmt, 5, job->started_at);
    sqlite3_bind_int64(stmt, 6, job->finished_at);
    store_bind_text(stmt, 7, job->host);
    store_bind_text(stmt, 8, job->stage);
    sqlite3_bind_int64(stmt, 9, job->progress);
    sqlite3_bind_int(stmt, 10, job->return_code);
    store_bind_text(stmt, 11, job->error);
    store_bind_text(stmt, 12, job->error_code);
    store_bind_text(stmt, 13, job->error_hint);
    store_bind_text(stmt, 14, job->vcenter_uuid);
    sqlite3_bind_int64(stmt, 15, job->id);
    return store_run(store, stmt, err);
}

/* ---- waves ------------------------------------------------------------------------------------- */

void
store_waves_done(struct store_waves *waves)
{
    for (size_t i = 0; i < waves->count; i++)
        free(waves->items[i].name);
    vec_done(waves);
}

int
store_wave_put(struct store *store, const struct store_wave *wave, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "INSERT OR REPLACE INTO wave (name, not_before, not_after,"
                                       " concurrency, position) VALUES (?, ?, ?, ?, ?)",
                                       err);

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, wave->name);
    sqlite3_bind_int64(stmt, 2, wave->not_before);
    sqlite3_bind_int64(stmt, 3, wave->not_after);
    sqlite3_bind_int64(stmt, 4, wave->concurrency);
    sqlite3_bind_int64(stmt, 5, wave->position);
    return store_run(store, stmt, err);
}

int
store_wave_ensure(struct store *store, const char *name, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "INSERT OR IGNORE INTO wave (name, not_before, not_after,"
                                       " concurrency, position) VALUES (?, 0, 0, 0, 0)",
                                       err);

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, name);
    return store_run(store, stmt, err);
}

int
store_wave_list(struct store *store, struct store_waves *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store,
                      "SELECT name, not_before, not_after, concurrency, position FROM wave"
                      " ORDER BY position, name",
                      err);
    struct store_waves found = {0};
    int rc;

    if (!stmt)
        return -1;
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_wave){
                             .name = store_column_text(stmt, 0),
                             .not_before = sqlite3_column_int64(stmt, 1),
                             .not_after = sqlite3_column_int64(stmt, 2),
                             .concurrency = sqlite3_column_int64(stmt, 3),
                             .position = sqlite3_column_int64(stmt, 4),
                         }));
    if (rc < 0) {
        store_waves_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

int
store_wave_delete(struct store *store, const char *name, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "DELETE FROM wave WHERE name = ?1 AND NOT EXISTS (SELECT 1"
                                       " FROM job WHERE wave = ?1 AND " UNFINISHED ")",
                                       err);
    CLEANUP(store_finalizep)
    sqlite3_stmt *look =
        stmt ? store_prepare(store, "SELECT count(*) FROM wave WHERE name = ?", err) : NULL;
    int64_t count = 0;

    if (!look)
        return -1;
    store_bind_text(stmt, 1, name);
    store_bind_text(look, 1, name);
    if (store_run(store, stmt, err) < 0)
        return -1;
    if (sqlite3_changes(store->db) > 0)
        return 0;
    if (one_number(store, look, &count, err) < 0)
        return -1;
    if (count)
        return err_set(err, E_JOB_STATE, "the wave %s has unfinished jobs", name);
    return err_set(err, E_JOB_NOT_FOUND, "there is no wave %s", name);
}

/* ---- events ------------------------------------------------------------------------------------ */

void
store_events_done(struct store_events *events)
{
    for (size_t i = 0; i < events->count; i++) {
        free(events->items[i].kind);
        free(events->items[i].text);
    }
    vec_done(events);
}

int
store_event_list(struct store *store, int64_t migration, int64_t after, size_t limit,
                 struct store_events *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store,
                      "SELECT id, at, kind, text FROM event WHERE migration = ? AND id > ?"
                      " ORDER BY id LIMIT ?",
                      err);
    struct store_events found = {0};
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, migration);
    sqlite3_bind_int64(stmt, 2, after);
    sqlite3_bind_int64(stmt, 3, (int64_t)limit);
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_event){
                             .id = sqlite3_column_int64(stmt, 0),
                             .at = sqlite3_column_int64(stmt, 1),
                             .kind = store_column_text(stmt, 2),
                             .text = store_column_text(stmt, 3),
                         }));
    if (rc < 0) {
        store_events_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}
