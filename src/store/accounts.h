/* The service's people, their sessions and tokens, the environments they saved, and what they did.
 * Secrets come here hashed or encrypted already. */
#ifndef V2C_STORE_ACCOUNTS_H
#define V2C_STORE_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

struct err;
struct store;

enum store_role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };
const char *store_role_name(enum store_role role);
bool store_role_from_name(const char *name, enum store_role *ret);

struct store_account {
    int64_t id;
    char *name;
    int32_t role;
    char *password; /* "scrypt$..." */
    int64_t created_at;
};
VEC_DECLARE(store_accounts, struct store_account);
void store_account_done(struct store_account *account);
void store_accounts_done(struct store_accounts *accounts);
int store_account_add(struct store *store, struct store_account *account,
                      struct err **err); /* E_ACCOUNT_EXISTS */
int store_account_get(struct store *store, const char *name, struct store_account *ret,
                      struct err **err); /* E_ACCOUNT_NOT_FOUND */
int store_account_list(struct store *store, struct store_accounts *ret, struct err **err);
/* Role and password; ends the sessions, and cuts tokens of a higher role.  E_ACCOUNT_LAST_ADMIN when no
 * admin would be left. */
int store_account_change(struct store *store, const struct store_account *account,
                         struct err **err);
int store_account_delete(struct store *store, const char *name, struct err **err);

/* Sessions and tokens: found by the hash of what the client has. */
struct store_grant {
    int64_t id;
    char *hash, *account, *name /* of a token; NULL: a session */, *csrf;
    int32_t role;
    int64_t created_at, used_at, expires_at /* 0: never */;
};
VEC_DECLARE(store_grants, struct store_grant);
void store_grant_done(struct store_grant *grant);
void store_grants_done(struct store_grants *grants);
int store_grant_add(struct store *store, struct store_grant *grant, struct err **err);
/* *ret_is_there false: no such one, or it has expired. */
int store_grant_find(struct store *store, const char *hash, bool *ret_is_there,
                     struct store_grant *ret, struct err **err);
int store_grant_use(struct store *store, int64_t id, int64_t expires_at, struct err **err);
int store_grant_delete(struct store *store, int64_t id, struct err **err);
int store_grants_expire(struct store *store, struct err **err);
/* Tokens, of @account or (NULL) of all. */
int store_token_list(struct store *store, const char *account, struct store_grants *ret,
                     struct err **err);

struct store_environment {
    int64_t id;
    char *env_id; /* "vc-3f2a..." */
    bool is_vcenter;
    char *name, *address, *user, *thumbprint; /* user: of vCenter; NULL none */
    bool is_insecure;
    char *secret; /* encrypted, in hexadecimal */
};
VEC_DECLARE(store_environments, struct store_environment);
void store_environment_done(struct store_environment *environment);
void store_environments_done(struct store_environments *environments);
/* Adds it, or replaces the one of the same env_id. */
int store_environment_put(struct store *store, const struct store_environment *environment,
                          struct err **err);
int store_environment_get(struct store *store, const char *env_id, struct store_environment *ret,
                          struct err **err); /* E_ENVIRONMENT_NOT_FOUND */
int store_environment_list(struct store *store, struct store_environments *ret, struct err **err);
int store_environment_delete(struct store *store, const char *env_id, struct err **err);

struct store_audit {
    int64_t id, at;
    char *user, *address, *action, *subject, *outcome;
};
VEC_DECLARE(store_audits, struct store_audit);
int store_audit_add(struct store *store, const struct store_audit *entry, struct err **err);
int store_audit_list(struct store *store, int64_t limit, int64_t offset, struct store_audits *ret,
                     int64_t *ret_total, struct err **err); /* newest first */
/* The first @limit of those whose subject is @subject. */
int store_audit_about(struct store *store, const char *subject, int64_t limit,
                      struct store_audits *ret, struct err **err);
void store_audits_done(struct store_audits *audits);

#endif
