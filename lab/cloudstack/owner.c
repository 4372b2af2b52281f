/* Whose an object becomes, and what that owner may have. */
#include "cloudstack/cs.h"

#include <stdlib.h>
#include <string.h>

/* Account and domain, project, or the caller. */
int
cs_set_owner(const struct lab_cloudstack *cs, const struct cs_request *rq, json_t *object,
             struct cs_error *error)
{
    const char *account = cs_get(rq, "account"), *project = cs_get(rq, "projectid");
    const json_t *known, *domain = json_array_get(cs_all(cs, "domain"), 0);
    bool is_known = false;
    size_t i;

    if (cs_get(rq, "domainid") && !account)
        return cs_fail(error, CS_PARAM,
                       "domainid parameter must be specified with account parameter");
    json_array_foreach (cs_all(cs, "account"), i, known) {
        is_known = is_known || !strcmp(cs_text(known, "name"), account ? account : "admin");
    }
    if (!is_known)
        return cs_fail(error, CS_PARAM, "Unable to find account %s", account);
    cs_set_text(object, "domainid", cs_text(domain, "id"));
    cs_set_text(object, "domain", "ROOT");
    if (project) {
        cs_set_text(object, "projectid", project);
        cs_set_text(object, "project", cs_text(cs_find(cs, "project", project), "name"));
    } else {
        cs_set_text(object, "account", account ? account : "admin");
    }
    return 0;
}

/* ---- limits and room -------------------------------------------------------------------------- */

/* "Unlimited", absent, or how much is left. */
static bool
has_left(const json_t *owner, const char *key, double wanted)
{
    const json_t *value = json_object_get(owner, key);
    const char *text = json_string_value(value);
    char *end;
    double left = json_is_number(value) ? json_number_value(value) : -1;

    if (text) {
        left = strtod(text, &end);
        if (end == text || *end)
            return true;
    }
    return left < 0 || left >= wanted;
}

/* The account or project that @object was given to. */
static const json_t *
owner_of(const struct lab_cloudstack *cs, const json_t *object)
{
    const json_t *account;
    size_t i;

    if (*cs_text(object, "projectid"))
        return cs_find(cs, "project", cs_text(object, "projectid"));
    json_array_foreach (cs_all(cs, "account"), i, account) {
        if (!strcmp(cs_text(account, "name"), cs_text(object, "account")))
            return account;
    }
    return NULL;
}

static int
check_limits(const json_t *owner, const char *const *keys, const double *amounts, size_t count,
             struct cs_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (!has_left(owner, keys[i], amounts[i]))
            return cs_fail(error, CS_INTERNAL,
                           "VM resource allocation error for account: %s. Maximum amount of "
                           "resources of Type = '%s' for Account in Domain has been exceeded.",
                           cs_text(owner, "id"), keys[i]);
    return 0;
}

int
cs_check_vm_limits(const struct lab_cloudstack *cs, const json_t *vm, struct cs_error *error)
{
    static const char *const KEYS[] = {"vmavailable", "volumeavailable", "cpuavailable",
                                       "memoryavailable"};
    const double amounts[] = {1, 1, json_number_value(json_object_get(vm, "cpunumber")),
                              json_number_value(json_object_get(vm, "memory"))};

    return check_limits(owner_of(cs, vm), KEYS, amounts, ARRAY_SIZE(KEYS), error);
}
