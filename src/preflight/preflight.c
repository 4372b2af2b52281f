/* The order of things: connect, read the facts once, plan, judge. */
#include "preflight/preflight.h"

#include <string.h>

#include "base/clock.h"
#include "cloudstack/cloudstack.h"
#include "preflight/internal.h"

struct checking {
    const struct preflight_options *options;
    size_t count;
    struct preflight_report report;

    struct vsphere *vsphere; /* NULL: could not be reached */
    struct cloudstack *cloudstack;
    struct vsphere_vm *vms; /* owned; unused where the options have the VM */
    struct err **vm_errors;
    struct vsphere_vm_facts *vm_facts;
    char **missing_privileges;
    struct vsphere_datastore_states datastores;
    struct vsphere_hosts hosts;
    struct preflight_disks *disks;
    struct preflight_nics *nics;
    struct subject *subjects;
    json_t *target;
};

static bool
is_migrating(const struct checking *c)
{
    return c->options->vm != NULL;
}

/* In a migration a passing fault ends the preflight, which is then made again. */
static int
give_up(const struct checking *c, struct err **failure, struct err **err)
{
    if (err_code(*failure) == E_CANCELLED ||
        (is_migrating(c) && err_class(*failure) == ERR_CLASS_RETRY))
        return err_move(err, failure);
    return 0;
}

/* What need not be known: a fault of any kind is a warning, and holds up no migration. */
static int
note_unknown(struct checking *c, const char *check, const char *what, struct err **failure,
             struct err **err)
{
    if (err_code(*failure) == E_CANCELLED)
        return err_move(err, failure);
    finding_add(&c->report.common, check, PREFLIGHT_WARNING, err_hint_text(*failure), "%s: %s",
                what, err_message(*failure));
    err_freep(failure);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------- */

static void
checking_init(struct checking *c, const struct preflight_options *options)
{
    size_t count = options->count;

    *c = (struct checking){
        .options = options,
        .count = count,
        .vms = xcalloc(count + 1, sizeof(*c->vms)),
        .vm_errors = xcalloc(count + 1, sizeof(*c->vm_errors)),
        .vm_facts = xcalloc(count + 1, sizeof(*c->vm_facts)),
        .missing_privileges = xcalloc(count + 1, sizeof(*c->missing_privileges)),
        .disks = xcalloc(count + 1, sizeof(*c->disks)),
        .nics = xcalloc(count + 1, sizeof(*c->nics)),
        .subjects = xcalloc(count + 1, sizeof(*c->subjects)),
    };
    c->report.vms = xcalloc(count + 1, sizeof(*c->report.vms));
    c->report.count = count;
    for (size_t i = 0; i < count; i++)
        c->report.vms[i].spec = options->specs[i];
}

static void
checking_done(struct checking *c)
{
    for (size_t i = 0; i < c->count; i++) {
        vsphere_vm_done(&c->vms[i]);
        err_free(c->vm_errors[i]);
        vsphere_vm_facts_done(&c->vm_facts[i]);
        free(c->missing_privileges[i]);
        vec_done(&c->disks[i]);
        vec_done(&c->nics[i]);
    }
    free(c->vms);
    free(c->vm_errors);
    free(c->vm_facts);
    free(c->missing_privileges);
    free(c->disks);
    free(c->nics);
    free(c->subjects);
    vsphere_datastore_states_done(&c->datastores);
    vsphere_hosts_done(&c->hosts);
    json_decref(c->target);
    if (c->vsphere != c->options->vsphere)
        vsphere_free(c->vsphere);
    if (c->cloudstack != c->options->cloudstack)
        cloudstack_free(c->cloudstack);
    preflight_report_done(&c->report);
}

/* ---- the source ------------------------------------------------------------------------------- */

static int
connect_source(struct checking *c, struct err **err)
{
    const struct config *config = c->options->config;
    const struct vsphere_options options = {
        .host = config->vcenter.host,
        .user = config->vcenter.user,
        .password = config->vcenter.password,
        .trust = {.ca_file = config->vcenter.ca_file,
                  .thumbprint = config->vcenter.thumbprint,
                  .is_insecure = config->vcenter.is_insecure,
                  .config_key = "vcenter"},
        .cancel = c->options->cancel,
    };
    CLEANUP(err_freep) struct err *failure = NULL;

    c->vsphere = c->options->vsphere;
    if (!c->vsphere && vsphere_connect(&options, &c->vsphere, &failure) < 0) {
        if (give_up(c, &failure, err) < 0)
            return -1;
        finding_add_error(&c->report.common, "source.vcenter", PREFLIGHT_FAILURE, NULL, failure);
        return 0;
    }
    finding_add(&c->report.common, "source.vcenter", PREFLIGHT_PASS, NULL, "%s",
                vsphere_server_name(c->vsphere));
    return 0;
}

static int
read_vms(struct checking *c, struct err **err)
{
    CLEANUP(free_charp) char *memory = xcalloc(c->count + 1, sizeof(struct vsphere_selector));
    struct vsphere_selector *selectors = (struct vsphere_selector *)(void *)memory;
    CLEANUP(err_freep) struct err *failure = NULL;

    for (size_t i = 0; i < c->count; i++)
        selectors[i] = (struct vsphere_selector){
            .moref = c->options->specs[i]->vm.moref,
            .uuid = c->options->specs[i]->vm.uuid,
            .name = c->options->specs[i]->vm.name,
            .datacenter = c->options->specs[i]->vm.datacenter,
        };
    if (vsphere_read_vms(c->vsphere, selectors, c->count, c->vms, c->vm_errors, &failure) < 0) {
        if (give_up(c, &failure, err) < 0)
            return -1;
        finding_add_error(&c->report.common, "source.vcenter", PREFLIGHT_FAILURE, NULL, failure);
        return 0;
    }
    for (size_t i = 0; i < c->count; i++)
        if (c->vm_errors[i])
            finding_add_error(&c->report.vms[i].findings, "source.vm", PREFLIGHT_FAILURE, NULL,
                              c->vm_errors[i]);
    return 0;
}

/* The VMs that were found, for the calls that take many of them. */
struct found {
    const char **morefs;
    size_t *indices, count;
};

static void
found_done(struct found *found)
{
    free(found->morefs);
    free(found->indices);
}

static void
collect_found(const struct checking *c, struct found *ret)
{
    *ret = (struct found){.morefs = xcalloc(c->count + 1, sizeof(char *)),
                          .indices = xcalloc(c->count + 1, sizeof(size_t))};
    for (size_t i = 0; i < c->count; i++) {
        if (!c->subjects[i].vm)
            continue;
        ret->morefs[ret->count] = c->subjects[i].vm->moref;
        ret->indices[ret->count++] = i;
    }
}

static int
read_vm_facts(struct checking *c, const struct found *found, struct err **err)
{
    struct vsphere_vm_facts *facts = xcalloc(found->count + 1, sizeof(*facts));
    struct err *failure = NULL;
    int result = 0;

    if (vsphere_read_vm_facts(c->vsphere, found->morefs, found->count, facts, &failure) < 0)
        result = note_unknown(c, "source.state", "some facts could not be read", &failure, err);
    for (size_t i = 0; i < found->count; i++) {
        size_t index = found->indices[i];

        c->vm_facts[index] = facts[i];
        if (facts[i].untracked)
            c->subjects[index].facts = &c->vm_facts[index];
    }
    free(facts);
    return result;
}

static int
read_privileges(struct checking *c, const struct found *found, struct err **err)
{
    char **missing = xcalloc(found->count + 1, sizeof(*missing));
    struct err *failure = NULL;
    int result = 0;

    if (vsphere_missing_privileges(c->vsphere, found->morefs, found->count, source_privileges,
                                   missing, &failure) < 0)
        result = note_unknown(c, "source.privileges",
                              "which privileges the account has cannot be told", &failure, err);
    for (size_t i = 0; i < found->count; i++) {
        size_t index = found->indices[i];

        c->missing_privileges[index] = missing[i];
        c->subjects[index].missing_privileges = missing[i];
    }
    free(missing);
    return result;
}

static int
read_inventory(struct checking *c, struct err **err)
{
    struct err *failure = NULL;

    if (vsphere_list_datastores(c->vsphere, &c->datastores, &failure) < 0 &&
        note_unknown(c, "source.datastore", "datastores could not be read", &failure, err) < 0)
        return -1;
    if (vsphere_list_hosts(c->vsphere, &c->hosts, &failure) < 0 &&
        note_unknown(c, "source.host", "hosts could not be read", &failure, err) < 0)
        return -1;
    return 0;
}

static int
compare_source_clock(struct checking *c, struct err **err)
{
    struct err *failure = NULL;
    int64_t time_s = 0;

    if (vsphere_server_time(c->vsphere, &time_s, &failure) < 0)
        return note_unknown(c, "local.clock", "vCenter's time could not be read", &failure, err);
    clock_rule("vCenter", true, time_s - clock_wall_s(), &c->report.common);
    return 0;
}

static void
set_subjects(struct checking *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct vsphere_vm *vm = is_migrating(c)   ? c->options->vm
                                      : c->vms[i].moref ? &c->vms[i]
                                                        : NULL;

        c->subjects[i] = (struct subject){.spec = c->options->specs[i],
                                          .vm = vm,
                                          .datastores = &c->datastores,
                                          .hosts = &c->hosts,
                                          .disks = &c->disks[i],
                                          .nics = &c->nics[i],
                                          .imported_vm_id = c->options->imported_vm_id};
    }
}

static int
look_at_source(struct checking *c, struct err **err)
{
    CLEANUP(found_done) struct found found = {0};

    if (connect_source(c, err) < 0)
        return -1;
    if (c->vsphere && !is_migrating(c) && read_vms(c, err) < 0)
        return -1;
    set_subjects(c);
    if (!c->vsphere)
        return 0;
    collect_found(c, &found);
    if (compare_source_clock(c, err) < 0)
        return -1;
    if (found.count == 0)
        return 0;
    if (read_vm_facts(c, &found, err) < 0 || read_inventory(c, err) < 0 ||
        read_privileges(c, &found, err) < 0)
        return -1;
    return 0;
}

/* ---- the plans -------------------------------------------------------------------------------- */

static void
plan_one(struct checking *c, size_t index)
{
    static const struct vsphere_vm nothing = {0};
    const struct subject *s = &c->subjects[index];
    CLEANUP(err_freep) struct err *error = NULL;

    preflight_plan_nics(s->spec, s->vm ? s->vm : &nothing, &c->nics[index]);
    if (s->vm && preflight_plan_disks(s->spec, s->vm, &c->disks[index], &error) < 0)
        finding_add_error(&c->report.vms[index].findings, "spec.disks", PREFLIGHT_FAILURE, NULL,
                          error);
}

/* ---- the target ------------------------------------------------------------------------------- */

static int
connect_target(struct checking *c, struct err **err)
{
    const struct config *config = c->options->config;
    const struct cloudstack_options options = {
        .endpoint = config->cloudstack.endpoint,
        .api_key = config->cloudstack.api_key,
        .secret_key = config->cloudstack.secret_key,
        .trust = {.ca_file = config->cloudstack.ca_file,
                  .thumbprint = config->cloudstack.thumbprint,
                  .is_insecure = config->cloudstack.is_insecure,
                  .config_key = "cloudstack"},
        .timeout_ms = (int)config->cloudstack.timeout_seconds * 1000,
        .cancel = c->options->cancel,
    };
    CLEANUP(err_freep) struct err *failure = NULL;

    c->cloudstack = c->options->cloudstack;
    if (c->cloudstack || cloudstack_connect(&options, &c->cloudstack, &failure) == 0)
        return 0;
    if (give_up(c, &failure, err) < 0)
        return -1;
    finding_add_error(&c->report.common, "target.cloudstack", PREFLIGHT_FAILURE, NULL, failure);
    return 0;
}

static int
read_target(struct checking *c, struct err **err)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    int64_t skew_s = 0;
    bool is_known;

    if (target_facts_read(c->cloudstack, c->options->config, c->subjects, c->count, &c->target,
                          &failure) < 0) {
        if (give_up(c, &failure, err) < 0)
            return -1;
        finding_add_error(&c->report.common, "target.cloudstack", PREFLIGHT_FAILURE, NULL, failure);
        return 0;
    }
    is_known = cloudstack_clock_skew(c->cloudstack, &skew_s);
    clock_rule("CloudStack", is_known, skew_s, &c->report.common);
    return 0;
}

static void
judge_target(struct checking *c)
{
    struct preflight_findings **lists = xcalloc(c->count + 1, sizeof(struct preflight_findings *));

    target_server_rules(c->target, &c->report.common);
    for (size_t i = 0; i < c->count; i++) {
        lists[i] = &c->report.vms[i].findings;
        target_place_rules(&c->subjects[i], c->target, lists[i]);
        target_offering_rules(&c->subjects[i], c->target, lists[i]);
        target_network_rules(&c->subjects[i], c->target, lists[i]);
        target_address_rules(&c->subjects[i], c->target, lists[i]);
        target_volume_rules(&c->subjects[i], c->target, lists[i]);
        target_import_rules(&c->subjects[i], c->target, lists[i]);
        target_owner_rules(&c->subjects[i], c->target, lists[i]);
    }
    set_rules(c->subjects, c->count, c->target, &c->report.common, lists);
    free(lists);
}

static int
look_at_target(struct checking *c, struct err **err)
{
    if (connect_target(c, err) < 0)
        return -1;
    if (c->cloudstack && read_target(c, err) < 0)
        return -1;
    if (c->target)
        judge_target(c);
    return 0;
}

/* ---- this host -------------------------------------------------------------------------------- */

static void
look_at_host(struct checking *c)
{
    struct local_wants wants = {0};
    struct local_facts facts;

    for (size_t i = 0; i < c->count; i++) {
        const struct subject *s = &c->subjects[i];

        wants.conversion = wants.conversion || s->spec->run_virt_v2v;
        wants.windows =
            wants.windows || (s->spec->run_virt_v2v && s->vm && preflight_is_windows(s->vm));
        wants.many_disks =
            wants.many_disks || (s->spec->run_virt_v2v && s->vm && s->vm->disks.count > 1);
    }
    local_facts_read(c->options->config, &wants, &facts);
    local_rules(&facts, &c->report.common);
    local_facts_done(&facts);
}

/* ---- all of it -------------------------------------------------------------------------------- */

static int
check_all(struct checking *c, struct err **err)
{
    if (c->options->is_cutover)
        set_subjects(c);
    else if (look_at_source(c, err) < 0)
        return -1;
    for (size_t i = 0; i < c->count; i++)
        plan_one(c, i);
    for (size_t i = 0; i < c->count && !c->options->is_cutover; i++) {
        if (!c->subjects[i].vm)
            continue;
        source_rules(&c->subjects[i], &c->report.vms[i].findings);
        source_disk_rules(&c->subjects[i], &c->report.vms[i].findings);
    }
    if (!c->options->is_cutover)
        look_at_host(c);
    return look_at_target(c, err);
}

int
preflight_run(const struct preflight_options *options, struct preflight_report *ret_report,
              struct err **err)
{
    CLEANUP(checking_done) struct checking c = {0};

    checking_init(&c, options);
    if (check_all(&c, err) < 0)
        return -1;
    *ret_report = c.report;
    memset(&c.report, 0, sizeof(c.report));
    return 0;
}
