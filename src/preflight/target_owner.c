/* Rules of who owns the VM. */
#include <string.h>
#include <strings.h>

#include "preflight/internal.h"

char *
owner_key(const struct spec *spec)
{
    const struct config_target *target = &spec->target;

    return xasprintf("%s|%s|%s", target->account ? target->account : "",
                     target->domain_id ? target->domain_id : "",
                     target->project_id ? target->project_id : "");
}

/* What can be told without asking. */
static bool
is_well_formed(const struct config_target *target, struct preflight_findings *f)
{
    const char *what = NULL;

    if (target->project_id && (target->account || target->domain_id))
        what = "both a project and an account are named";
    else if (target->account && !target->domain_id)
        what = "account is set without domainid";
    else if (target->domain_id && !target->account)
        what = "domainid is set without account";
    if (what)
        finding_add(f, "target.owner", PREFLIGHT_FAILURE,
                    "set account and domainid, or projectid, or none of them", "%s", what);
    return !what;
}

static void
check_account(const struct config_target *target, const json_t *owner, struct preflight_findings *f)
{
    const json_t *account = json_object_get(owner, "account");
    const json_t *domain = json_object_get(owner, "domain");

    if (json_is_null(domain))
        finding_add(f, "target.owner", PREFLIGHT_FAILURE, "correct domainid in the spec",
                    "CloudStack knows no domainid %s", target->domain_id);
    else if (json_is_null(account))
        finding_add(f, "target.owner", PREFLIGHT_FAILURE, "correct account in the spec",
                    "there is no account %s in that domain", target->account);
    else if (account && *fact_text(account, "state") &&
             strcasecmp(fact_text(account, "state"), "enabled") != 0)
        finding_add(f, "target.owner", PREFLIGHT_FAILURE, "enable the account, or name another",
                    "account %s is %s", target->account, fact_text(account, "state"));
    else if (account)
        finding_add(f, "target.owner", PREFLIGHT_PASS, NULL, "account %s in domain %s",
                    target->account, fact_text(account, "domain"));
}

static void
check_project(const struct config_target *target, const json_t *owner, struct preflight_findings *f)
{
    const json_t *project = json_object_get(owner, "project");

    if (json_is_null(project))
        finding_add(f, "target.owner", PREFLIGHT_FAILURE, "correct projectid in the spec",
                    "CloudStack knows no projectid %s", target->project_id);
    else if (project && *fact_text(project, "state") &&
             strcasecmp(fact_text(project, "state"), "Active") != 0)
        finding_add(f, "target.owner", PREFLIGHT_FAILURE, "activate the project, or name another",
                    "project %s is %s", fact_text(project, "name"), fact_text(project, "state"));
    else if (project)
        finding_add(f, "target.owner", PREFLIGHT_PASS, NULL, "project %s",
                    fact_text(project, "name"));
}

void
target_owner_rules(const struct subject *s, const json_t *facts,
                   struct preflight_findings *findings)
{
    const struct config_target *target = &s->spec->target;
    CLEANUP(free_charp) char *key = owner_key(s->spec);
    const char *unread = fact_unread(facts, "owner");
    const json_t *owner;

    if (!is_well_formed(target, findings))
        return;
    if (unread && (target->account || target->project_id))
        finding_add(findings, "target.owner", PREFLIGHT_WARNING, NULL,
                    "the owner could not be looked up: %s", unread);
    if (fact_find(facts, "owner", key, &owner) != FACT_THERE)
        return;
    if (target->project_id)
        check_project(target, owner, findings);
    else if (target->account)
        check_account(target, owner, findings);
}
