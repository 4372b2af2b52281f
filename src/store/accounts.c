#include "store/accounts.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "store/sqlite.h"

static const char *const role_names[] = {
    [ROLE_NONE] = "none",
    [ROLE_VIEWER] = "viewer",
    [ROLE_OPERATOR] = "operator",
    [ROLE_ADMIN] = "admin",
};

const char *
store_role_name(enum store_role role)
{
    return role_names[role];
}

bool
store_role_from_name(const char *name, enum store_role *ret)
{
    for (size_t i = ROLE_VIEWER; name && i < ARRAY_SIZE(role_names); i++)
        if (!strcmp(role_names[i], name)) {
            *ret = (enum store_role)i;
            return true;
        }
    return false;
}

/* ---- tables ------------------------------------------------------------------------------------ */

#define COLUMN(type, kind, member)                                                                 \
    {                                                                                              \
#member, COLUMN_##kind, offsetof(struct type, member)                                      \
    }
#define TABLE(table_name, table_columns, type)                                                     \
    {                                                                                              \
        .name = (table_name), .columns = (table_columns),                                          \
        .column_count = ARRAY_SIZE(table_columns), .id_offset = offsetof(struct type, id)          \
    }

static const struct column account_columns[] = {
    COLUMN(store_account, TEXT, name),
    COLUMN(store_account, INT32, role),
    COLUMN(store_account, TEXT, password),
    COLUMN(store_account, INT64, created_at),
};
static const struct table account_table = TABLE("account", account_columns, store_account);

static const struct column grant_columns[] = {
    COLUMN(store_grant, TEXT, hash),     COLUMN(store_grant, TEXT, account),
    COLUMN(store_grant, TEXT, name),     COLUMN(store_grant, TEXT, csrf),
    COLUMN(store_grant, INT32, role),    COLUMN(store_grant, INT64, created_at),
    COLUMN(store_grant, INT64, used_at), COLUMN(store_grant, INT64, expires_at),
};
static const struct table grant_table = TABLE("access", grant_columns, store_grant);

static const struct column environment_columns[] = {
    COLUMN(store_environment, TEXT, env_id),      COLUMN(store_environment, BOOL, is_vcenter),
    COLUMN(store_environment, TEXT, name),        COLUMN(store_environment, TEXT, address),
    COLUMN(store_environment, TEXT, user),        COLUMN(store_environment, TEXT, thumbprint),
    COLUMN(store_environment, BOOL, is_insecure), COLUMN(store_environment, TEXT, secret),
};
static const struct table environment_table =
    TABLE("environment", environment_columns, store_environment);

static const struct column audit_columns[] = {
    COLUMN(store_audit, INT64, at),     COLUMN(store_audit, TEXT, user),
    COLUMN(store_audit, TEXT, address), COLUMN(store_audit, TEXT, action),
    COLUMN(store_audit, TEXT, subject), COLUMN(store_audit, TEXT, outcome),
};
static const struct table audit_table = TABLE("audit", audit_columns, store_audit);

void
store_account_done(struct store_account *account)
{
    table_free_texts(&account_table, account);
}

void
store_accounts_done(struct store_accounts *accounts)
{
    for (size_t i = 0; i < accounts->count; i++)
        store_account_done(&accounts->items[i]);
    vec_done(accounts);
}

void
store_grant_done(struct store_grant *grant)
{
    table_free_texts(&grant_table, grant);
}

void
store_grants_done(struct store_grants *grants)
{
    for (size_t i = 0; i < grants->count; i++)
        store_grant_done(&grants->items[i]);
    vec_done(grants);
}

void
store_environment_done(struct store_environment *environment)
{
    table_free_texts(&environment_table, environment);
}

void
store_environments_done(struct store_environments *environments)
{
    for (size_t i = 0; i < environments->count; i++)
        store_environment_done(&environments->items[i]);
    vec_done(environments);
}

void
store_audits_done(struct store_audits *audits)
{
    for (size_t i = 0; i < audits->count; i++)
        table_free_texts(&audit_table, &audits->items[i]);
    vec_done(audits);
}

/* All rows of @stmt into the vector @rows of @type; on failure what was read is left to the caller. */
#define READ_ALL(store, table, stmt, type, rows, err)                                              \
    ({                                                                                             \
        int rc_;                                                                                   \
        while ((rc_ = store_step(store, stmt, err)) > 0) {                                         \
            struct type row_ = {0};                                                                \
            rc_ = table_read(store, table, stmt, &row_, err);                                      \
            vec_push(rows, row_);                                                                  \
            if (rc_ < 0)                                                                           \
                break;                                                                             \
        }                                                                                          \
        rc_;                                                                                       \
    })

/* Runs @sql with one text, or none. */
static int
run_with_text(struct store *store, const char *sql, const char *text, struct err **err)
{
    CLEANUP(store_finalizep) sqlite3_stmt *stmt = store_prepare(store, sql, err);

    if (!stmt)
        return -1;
    if (text)
        store_bind_text(stmt, 1, text);
    return store_run(store, stmt, err);
}

/* ---- accounts ---------------------------------------------------------------------------------- */

int
store_account_add(struct store *store, struct store_account *account, struct err **err)
{
    struct store_account other = {0};

    if (store_account_get(store, account->name, &other, NULL) == 0) {
        store_account_done(&other);
        return err_set(err, E_ACCOUNT_EXISTS, "there is a user %s already", account->name);
    }
    return table_insert(store, &account_table, account, err);
}

int
store_account_get(struct store *store, const char *name, struct store_account *ret,
                  struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &account_table, "WHERE name = ?", err);
    struct store_account account = {0};
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, name);
    rc = store_step(store, stmt, err);
    if (rc > 0)
        rc = table_read(store, &account_table, stmt, &account, err);
    else if (rc == 0)
        rc = err_set(err, E_ACCOUNT_NOT_FOUND, "there is no user %.64s", name);
    if (rc < 0) {
        store_account_done(&account);
        return -1;
    }
    account.role = MIN(MAX(account.role, ROLE_NONE), ROLE_ADMIN);
    *ret = account;
    return 0;
}

int
store_account_list(struct store *store, struct store_accounts *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &account_table, "ORDER BY name", err);

    *ret = (struct store_accounts){0};
    if (!stmt)
        return -1;
    if (READ_ALL(store, &account_table, stmt, store_account, ret, err) < 0) {
        store_accounts_done(ret);
        return -1;
    }
    return 0;
}

/* Within the transaction that has just changed accounts. */
static int
check_admin_left(struct store *store, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "SELECT count(*) FROM account WHERE role = 3", err);

    if (!stmt || store_step(store, stmt, err) < 0)
        return -1;
    if (sqlite3_column_int64(stmt, 0) > 0)
        return 0;
    return err_set(err, E_ACCOUNT_LAST_ADMIN, "the last administrator has to stay one");
}

static int
change_account(struct store *store, const struct store_account *account, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *cut = store_prepare(
        store, "UPDATE access SET role = min(role, ?) WHERE account = ? AND name IS NOT NULL", err);

    if (!cut)
        return -1;
    sqlite3_bind_int(cut, 1, account->role);
    store_bind_text(cut, 2, account->name);
    if (table_update(store, &account_table, account, err) < 0 || store_run(store, cut, err) < 0 ||
        run_with_text(store, "DELETE FROM access WHERE account = ? AND name IS NULL", account->name,
                      err) < 0)
        return -1;
    return check_admin_left(store, err);
}

int
store_account_change(struct store *store, const struct store_account *account, struct err **err)
{
    if (store_begin(store, err) < 0)
        return -1;
    if (change_account(store, account, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

int
store_account_delete(struct store *store, const char *name, struct err **err)
{
    struct store_account account = {0};

    if (store_account_get(store, name, &account, err) < 0)
        return -1;
    store_account_done(&account);
    if (store_begin(store, err) < 0)
        return -1;
    if (run_with_text(store, "DELETE FROM access WHERE account = ?", name, err) < 0 ||
        run_with_text(store, "DELETE FROM account WHERE name = ?", name, err) < 0 ||
        check_admin_left(store, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

/* ---- sessions and tokens ----------------------------------------------------------------------- */

int
store_grant_add(struct store *store, struct store_grant *grant, struct err **err)
{
    return table_insert(store, &grant_table, grant, err);
}

int
store_grant_find(struct store *store, const char *hash, bool *ret_is_there, struct store_grant *ret,
                 struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(
        store, &grant_table, "WHERE hash = ?1 AND (expires_at = 0 OR expires_at > ?2)", err);
    struct store_grant grant = {0};
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, hash);
    sqlite3_bind_int64(stmt, 2, clock_wall_s());
    rc = store_step(store, stmt, err);
    *ret_is_there = rc > 0;
    if (rc > 0 && table_read(store, &grant_table, stmt, &grant, err) < 0) {
        store_grant_done(&grant);
        return -1;
    }
    if (rc > 0) {
        grant.role = MIN(MAX(grant.role, ROLE_NONE), ROLE_ADMIN);
        *ret = grant;
    }
    return rc < 0 ? -1 : 0;
}

int
store_grant_use(struct store *store, int64_t id, int64_t expires_at, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store, "UPDATE access SET used_at = ?, expires_at = ? WHERE id = ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, clock_wall_s());
    sqlite3_bind_int64(stmt, 2, expires_at);
    sqlite3_bind_int64(stmt, 3, id);
    return store_run(store, stmt, err);
}

int
store_grant_delete(struct store *store, int64_t id, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store, "DELETE FROM access WHERE id = ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, id);
    return store_run(store, stmt, err);
}

int
store_grants_expire(struct store *store, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        store_prepare(store, "DELETE FROM access WHERE expires_at <> 0 AND expires_at <= ?", err);

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, clock_wall_s());
    return store_run(store, stmt, err);
}

int
store_token_list(struct store *store, const char *account, struct store_grants *ret,
                 struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(
        store, &grant_table,
        "WHERE name IS NOT NULL AND (?1 IS NULL OR account = ?1) ORDER BY account, id", err);

    *ret = (struct store_grants){0};
    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, account);
    if (READ_ALL(store, &grant_table, stmt, store_grant, ret, err) < 0) {
        store_grants_done(ret);
        return -1;
    }
    return 0;
}

/* ---- environments ------------------------------------------------------------------------------ */

int
store_environment_put(struct store *store, const struct store_environment *environment,
                      struct err **err)
{
    struct store_environment row = *environment; /* borrows its texts */

    if (store_begin(store, err) < 0)
        return -1;
    if (run_with_text(store, "DELETE FROM environment WHERE env_id = ?", row.env_id, err) < 0 ||
        table_insert(store, &environment_table, &row, err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

int
store_environment_get(struct store *store, const char *env_id, struct store_environment *ret,
                      struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &environment_table, "WHERE env_id = ?", err);
    struct store_environment environment = {0};
    int rc;

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, env_id);
    rc = store_step(store, stmt, err);
    if (rc > 0)
        rc = table_read(store, &environment_table, stmt, &environment, err);
    else if (rc == 0)
        rc = err_set(err, E_ENVIRONMENT_NOT_FOUND, "there is no environment %.64s", env_id);
    if (rc < 0) {
        store_environment_done(&environment);
        return -1;
    }
    *ret = environment;
    return 0;
}

int
store_environment_list(struct store *store, struct store_environments *ret, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = table_select(store, &environment_table, "ORDER BY name, id", err);

    *ret = (struct store_environments){0};
    if (!stmt)
        return -1;
    if (READ_ALL(store, &environment_table, stmt, store_environment, ret, err) < 0) {
        store_environments_done(ret);
        return -1;
    }
    return 0;
}

int
store_environment_delete(struct store *store, const char *env_id, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt = store_prepare(store,
                                       "DELETE FROM environment WHERE env_id = ?1 AND NOT EXISTS"
                                       " (SELECT 1 FROM job WHERE state < 3 AND"
                                       " (vcenter = ?1 OR cloudstack = ?1))",
                                       err);
    struct store_environment environment = {0};

    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, env_id);
    if (store_run(store, stmt, err) < 0)
        return -1;
    if (sqlite3_changes(store->db) > 0)
        return 0;
    if (store_environment_get(store, env_id, &environment, err) < 0)
        return -1;
    err_set(err, E_JOB_STATE, "unfinished jobs use the environment %s", environment.name);
    store_environment_done(&environment);
    return -1;
}

/* ---- audit ------------------------------------------------------------------------------------- */

int
store_audit_add(struct store *store, const struct store_audit *entry, struct err **err)
{
    struct store_audit row = *entry; /* borrows its texts */

    return table_insert(store, &audit_table, &row, err);
}

int
store_audit_list(struct store *store, int64_t limit, int64_t offset, struct store_audits *ret,
                 int64_t *ret_total, struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        table_select(store, &audit_table, "ORDER BY id DESC LIMIT ? OFFSET ?", err);
    CLEANUP(store_finalizep)
    sqlite3_stmt *count = stmt ? store_prepare(store, "SELECT count(*) FROM audit", err) : NULL;

    *ret = (struct store_audits){0};
    if (!count || store_step(store, count, err) < 0)
        return -1;
    *ret_total = sqlite3_column_int64(count, 0);
    sqlite3_bind_int64(stmt, 1, limit);
    sqlite3_bind_int64(stmt, 2, offset);
    if (READ_ALL(store, &audit_table, stmt, store_audit, ret, err) < 0) {
        store_audits_done(ret);
        return -1;
    }
    return 0;
}

int
store_audit_about(struct store *store, const char *subject, int64_t limit, struct store_audits *ret,
                  struct err **err)
{
    CLEANUP(store_finalizep)
    sqlite3_stmt *stmt =
        table_select(store, &audit_table, "WHERE subject = ? ORDER BY id LIMIT ?", err);

    *ret = (struct store_audits){0};
    if (!stmt)
        return -1;
    store_bind_text(stmt, 1, subject);
    sqlite3_bind_int64(stmt, 2, limit);
    if (READ_ALL(store, &audit_table, stmt, store_audit, ret, err) < 0) {
        store_audits_done(ret);
        return -1;
    }
    return 0;
}
