#include "store/webhooks.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

/* Numbered parameters: the name is ?1, and what is wanted stands in ?2 to ?4. */
#define WANTED                                                                                     \
    "id > (SELECT position FROM webhook WHERE name = ?1) AND ((1 << event) & ?2)"                  \
    " AND (?3 IS NULL OR instr(?3, char(10) || wave || char(10)))"                                 \
    " AND (?4 IS NULL OR instr(?4, char(10) || vcenter || char(10))"                               \
    " OR instr(?4, char(10) || cloudstack || char(10)))"

const char *
store_transition_name(int event)
{
    return event == TRANSITION_STAGE          ? "stage"
           : event == TRANSITION_NEEDS_PERSON ? "needs_person"
                                              : store_job_state_name((enum store_job_state)event);
}

bool
store_transition_from_name(const char *name, int *ret)
{
    for (int event = 0; event < TRANSITION_MAX_; event++)
        if (!strcmp(store_transition_name(event), name)) {
            *ret = event;
            return true;
        }
    return false;
}

#define TRANSITION(kind, member)                                                                   \
    {                                                                                              \
#member, COLUMN_##kind, offsetof(struct store_transition, member)                          \
    }
static const struct column transition_columns[] = {
    TRANSITION(TEXT, event_id),   TRANSITION(INT64, at_ms),
    TRANSITION(INT32, event),     TRANSITION(TEXT, job_id),
    TRANSITION(INT32, kind),      TRANSITION(TEXT, vm_name),
    TRANSITION(TEXT, vm_moref),   TRANSITION(TEXT, vcenter),
    TRANSITION(TEXT, cloudstack), TRANSITION(TEXT, wave),
    TRANSITION(INT32, state),     TRANSITION(TEXT, stage),
    TRANSITION(TEXT, error),      TRANSITION(TEXT, error_code),
    TRANSITION(TEXT, error_hint), TRANSITION(TEXT, required_action),
};
static const struct table transition_table = {
    .name = "transition",
    .columns = transition_columns,
    .column_count = ARRAY_SIZE(transition_columns),
    .id_offset = offsetof(struct store_transition, id),
};

void
store_transition_done(struct store_transition *transition)
{
    table_free_texts(&transition_table, transition);
}

void
store_webhooks_done(struct store_webhooks *webhooks)
{
    for (size_t i = 0; i < webhooks->count; i++) {
        free(webhooks->items[i].name);
        free(webhooks->items[i].error);
    }
    vec_done(webhooks);
}

/* ---- which there are ------------------------------------------------------------------------------ */

static int
run_with_name(struct store *store, const char *sql, const char *name, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = store_prepare(store, sql, err);

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, name);
    return store_run(store, stmt, err);
}

static bool
is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static int
forget_others(struct store *store, const char *const *names, size_t count, struct err **err)
{
    struct store_webhooks known = {0};
    int rc = store_webhook_list(store, &known, err);

    for (size_t i = 0; rc == 0 && i < known.count; i++)
        if (!is_among(known.items[i].name, names, count))
            rc = run_with_name(store, "DELETE FROM webhook WHERE name = ?", known.items[i].name,
                               err);
    store_webhooks_done(&known);
    return rc;
}

/* The least position of all, or no limit where there is no webhook. */
static int
remove_passed(struct store *store, struct err **err)
{
    return store_exec(store,
                      "DELETE FROM transition WHERE id <="
                      " coalesce((SELECT min(position) FROM webhook), 9223372036854775807)",
                      err);
}

static int
keep(struct store *store, const char *const *names, size_t count, struct err **err)
{
    if (forget_others(store, names, count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (run_with_name(
                store,
                "INSERT OR IGNORE INTO webhook (name, position, delivered, failed, given_up,"
                " delivered_at, failed_at) VALUES (?1,"
                " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'transition'), 0),"
                " 0, 0, 0, 0, 0)",
                names[i], err) < 0)
            return -1;
    return remove_passed(store, err);
}

int
store_webhooks_keep(struct store *store, const char *const *names, size_t count, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    if (keep(store, names, count, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

int
store_webhook_list(struct store *store, struct store_webhooks *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store,
                      "SELECT name, delivered, failed, given_up, delivered_at, failed_at, error"
                      " FROM webhook ORDER BY name",
                      err);
    struct store_webhooks found = {0};
    int rc;

    if (!stmt)
        return -1;
    while ((rc = store_step(store, stmt, err)) > 0)
        vec_push(&found, ((struct store_webhook){
                             .name = store_column_text(stmt, 0),
                             .delivered = sqlite3_column_int64(stmt, 1),
                             .failed = sqlite3_column_int64(stmt, 2),
                             .given_up = sqlite3_column_int64(stmt, 3),
                             .delivered_at = sqlite3_column_int64(stmt, 4),
                             .failed_at = sqlite3_column_int64(stmt, 5),
                             .error = store_column_text(stmt, 6),
                         }));
    if (rc < 0) {
        store_webhooks_done(&found);
        return -1;
    }
    *ret = found;
    return 0;
}

/* ---- what they are told --------------------------------------------------------------------------- */

static void
bind_wanted(sqlite3_stmt *stmt, const char *name, const struct store_transition_filter *filter)
{
    store_bind_text(stmt, 1, name);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)filter->events);
    store_bind_text(stmt, 3, filter->waves);
    store_bind_text(stmt, 4, filter->environments);
}

static int
read_next(struct store *store, const char *name, const struct store_transition_filter *filter,
          bool *ret_is_there, struct store_transition *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        table_select(store, &transition_table, "WHERE " WANTED " ORDER BY id LIMIT 1", err);
    int rc;

    if (!stmt)
        return -1;
    bind_wanted(stmt, name, filter);
    rc = store_step(store, stmt, err);
    if (rc < 0)
        return -1;
    *ret_is_there = rc > 0;
    return rc > 0 ? table_read(store, &transition_table, stmt, ret, err) : 0;
}

static int
one_count(struct store *store, sqlite3_stmt *stmt, int64_t *ret, struct err **err)
{
    int rc = store_step(store, stmt, err);

    if (rc < 0)
        return -1;
    *ret = rc ? sqlite3_column_int64(stmt, 0) : 0;
    return 0;
}

static int
is_behind(struct store *store, const char *name, bool *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "SELECT EXISTS (SELECT 1 FROM transition WHERE id >"
                                       " (SELECT position FROM webhook WHERE name = ?))",
                                       err);
    int64_t count = 0;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, name);
    if (one_count(store, stmt, &count, err) < 0)
        return -1;
    *ret = count > 0;
    return 0;
}

/* Under the lock of a writer: what comes meanwhile must not be passed over unseen. */
static int
next_or_pass(struct store *store, const char *name, const struct store_transition_filter *filter,
             bool *ret_is_there, struct store_transition *ret, struct err **err)
{
    if (read_next(store, name, filter, ret_is_there, ret, err) < 0)
        return -1;
    if (*ret_is_there)
        return 0;
    if (run_with_name(store,
                      "UPDATE webhook SET position ="
                      " max(position, coalesce((SELECT max(id) FROM transition), 0))"
                      " WHERE name = ?",
                      name, err) < 0)
        return -1;
    return remove_passed(store, err);
}

int
store_transition_next(struct store *store, const char *name,
                      const struct store_transition_filter *filter, bool *ret_is_there,
                      struct store_transition *ret, struct err **err)
{
    bool is_late = false;

    *ret_is_there = false;
    if (is_behind(store, name, &is_late, err) < 0)
        return -1;
    if (!is_late)
        return 0;
    if (store_begin(store, err) < 0)
        return -1;
    if (next_or_pass(store, name, filter, ret_is_there, ret, err) < 0) {
        store_rollback(store);
        return -1;
    }
    if (store_commit(store, err) == 0)
        return 0;
    if (*ret_is_there)
        store_transition_done(ret);
    *ret_is_there = false;
    return -1;
}

int
store_transition_count(struct store *store, const char *name,
                       const struct store_transition_filter *filter, int64_t *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "SELECT count(*) FROM transition WHERE " WANTED, err);

    if (!stmt)
        return -1;
    bind_wanted(stmt, name, filter);
    return one_count(store, stmt, ret, err);
}

/* ---- what came of it ------------------------------------------------------------------------------ */

static int
note_delivered(struct store *store, const char *name, int64_t transition, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store,
                      "UPDATE webhook SET position = max(position, ?2), delivered = delivered + 1,"
                      " delivered_at = ?3, error = NULL WHERE name = ?1",
                      err);

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, name);
    sqlite3_bind_int64(stmt, 2, transition);
    sqlite3_bind_int64(stmt, 3, clock_wall_s());
    if (store_run(store, stmt, err) < 0)
        return -1;
    return remove_passed(store, err);
}

int
store_webhook_delivered(struct store *store, const char *name, int64_t transition, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    if (note_delivered(store, name, transition, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

int
store_webhook_failed(struct store *store, const char *name, const char *error, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(
        store, "UPDATE webhook SET failed = failed + 1, failed_at = ?2, error = ?3 WHERE name = ?1",
        err);

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, name);
    sqlite3_bind_int64(stmt, 2, clock_wall_s());
    store_bind_text(stmt, 3, error);
    return store_run(store, stmt, err);
}

static int
give_up(struct store *store, const char *name, const struct store_transition_filter *filter,
        int64_t before_ms, int64_t *ret_count, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *count = store_prepare(
        store, "SELECT count(*) FROM transition WHERE " WANTED " AND at_ms < ?5", err);
    CLEANUP(store_finalizep)
    sqlite3_stmt *pass =
        count ? store_prepare(store,
                              "UPDATE webhook SET given_up = given_up + ?2, position ="
                              " max(position, coalesce((SELECT min(id) - 1 FROM transition WHERE"
                              " id > position AND at_ms >= ?3), (SELECT max(id) FROM transition)))"
                              " WHERE name = ?1",
                              err)
              : NULL;

    if (!pass)
        return -1;
    bind_wanted(count, name, filter);
    sqlite3_bind_int64(count, 5, before_ms);
    if (one_count(store, count, ret_count, err) < 0)
        return -1;
    store_bind_text(pass, 1, name);
    sqlite3_bind_int64(pass, 2, *ret_count);
    sqlite3_bind_int64(pass, 3, before_ms);
    if (store_run(store, pass, err) < 0)
        return -1;
    return remove_passed(store, err);
}

int
store_webhook_give_up(struct store *store, const char *name,
                      const struct store_transition_filter *filter, int64_t before_ms,
                      int64_t *ret_count, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    if (give_up(store, name, filter, before_ms, ret_count, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}
