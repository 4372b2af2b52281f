#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "config/config.h"
#include "config/mark_source.h"
#include "config/spec_parts.h"
#include "config/values.h"
#include "config/vddk.h"

#define MAX_VMS   10000
#define MAX_NAME  255
#define MAX_MOREF 64

VEC_DECLARE(doc_list, struct doc *);

/* All files of one load. */
struct loader {
    const struct config *config;
    const struct spec_overrides *overrides;
    struct problems problems;
    struct doc_list docs;   /* kept to the end: problems name places in them */
    struct spec_list specs; /* what was loaded so far, faulty ones included */
};

/* ---- one VM ----------------------------------------------------------------------------------- */

void
spec_free(struct spec *spec)
{
    if (!spec)
        return;
    free(spec->path);
    free(spec->place);
    free(spec->vm.name);
    free(spec->vm.moref);
    free(spec->vm.uuid);
    free(spec->vm.datacenter);
    target_done(&spec->target);
    spec_nics_done(&spec->nics);
    spec_disks_done(&spec->disks);
    free(spec);
}

void
spec_list_done(struct spec_list *specs)
{
    for (size_t i = 0; i < specs->count; i++)
        spec_free(specs->items[i]);
    vec_done(specs);
}

const char *
spec_label(const struct spec *spec)
{
    return spec->vm.name ? spec->vm.name : spec->vm.moref ? spec->vm.moref : spec->vm.uuid;
}

static bool
is_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strlen(text) != strlen(form))
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'x' ? !isxdigit((unsigned char)text[i]) : text[i] != form[i])
            return false;
    return true;
}

static bool
is_moref(const char *text)
{
    if (strlen(text) > MAX_MOREF)
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && *text != '-')
            return false;
    return true;
}

static void
decode_vm(const struct node *entry, struct spec *spec, struct problems *problems)
{
    static const char *const keys[] = {"name", "moref", "uuid", "datacenter", NULL};
    const struct node *vm = node_decode_map(entry, "vm", problems);

    node_check_keys(vm, keys, problems);
    decode_text(vm, "name", &spec->vm.name, problems);
    decode_text(vm, "moref", &spec->vm.moref, problems);
    decode_text(vm, "uuid", &spec->vm.uuid, problems);
    decode_text(vm, "datacenter", &spec->vm.datacenter, problems);
    if (!spec->vm.name && !spec->vm.moref && !spec->vm.uuid)
        problems_add(problems, vm ? vm : entry, "expected a VM: vm: { name: ... }, moref or uuid");
    if (spec->vm.name && strlen(spec->vm.name) > MAX_NAME)
        problems_add(problems, node_get(vm, "name"), "longer than %d bytes", MAX_NAME);
    if (spec->vm.moref && !is_moref(spec->vm.moref))
        problems_add(problems, node_get(vm, "moref"), "expected a MoRef such as vm-1234");
    if (spec->vm.uuid && !is_uuid(spec->vm.uuid))
        problems_add(problems, node_get(vm, "uuid"),
                     "expected a uuid such as 502c1234-1234-1234-1234-123456789abc");
    for (char *p = spec->vm.uuid; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

static int64_t
first_set(int64_t own, int64_t fallback, int64_t last)
{
    return own > 0 ? own : fallback > 0 ? fallback : last;
}

static int
first_known(int own, int fallback, int last)
{
    return own >= 0 ? own : fallback >= 0 ? fallback : last;
}

/* What the VM says, else the `defaults:` of its file, else config.yaml, else what is built in. */
static void
merge_migration(const struct loader *loader, const struct spec_parts *own,
                const struct spec_parts *defaults, struct spec *spec)
{
    const struct config *config = loader->config;
    const struct spec_overrides *overrides = loader->overrides;
    const struct spec_parts *schedule = own->finalize_at ? own : defaults;

    spec->delta_interval = first_set(own->delta_interval, defaults->delta_interval, 300);
    spec->finalize_delta_interval =
        first_set(own->finalize_delta_interval, defaults->finalize_delta_interval, 30);
    spec->finalize_window = first_set(own->finalize_window, defaults->finalize_window, 600);
    spec->finalize_at = schedule->finalize_at;
    spec->finalize_at_was_zoneless = schedule->finalize_at_was_zoneless;
    spec->finalize_settle_seconds =
        first_set(own->finalize_settle_seconds, defaults->finalize_settle_seconds,
                  config->migration.finalize_settle_seconds);
    spec->cutover_max_downtime =
        first_set(own->cutover_max_downtime, defaults->cutover_max_downtime,
                  config->migration.cutover_max_downtime);
    spec->readers = first_set(own->readers, defaults->readers, 4);
    spec->parallel_disks =
        first_set(own->parallel_disks, defaults->parallel_disks, config->migration.parallel_disks);
    spec->run_virt_v2v =
        first_known(own->run_virt_v2v, defaults->run_virt_v2v, config->virt.run_virt_v2v);
    spec->start_vm_after_import =
        first_known(own->start_vm_after_import, defaults->start_vm_after_import, false);
    spec->quiesce = (enum config_quiesce)first_known(own->quiesce, defaults->quiesce,
                                                     (int)config->migration.quiesce);
    spec->shutdown = (enum config_shutdown)first_known(own->shutdown, defaults->shutdown,
                                                       (int)config->migration.shutdown);
    spec->verify = (enum config_verify)first_known(own->verify, defaults->verify,
                                                   (int)config->migration.verify);
    spec->on_failure = (enum config_on_failure)first_known(own->on_failure, defaults->on_failure,
                                                           (int)config->migration.on_failure);
    spec->extents = (enum config_extents)first_known(own->extents, defaults->extents,
                                                     (int)config->migration.extents);
    spec->import_method = (enum config_import)first_known(
        own->import_method, defaults->import_method, (int)config->migration.import_method);
    spec->bandwidth = own->bandwidth.text[0] ? own->bandwidth : defaults->bandwidth;
    spec->vddk = own->vddk;
    vddk_fill(&spec->vddk, &defaults->vddk);
    vddk_fill(&spec->vddk, &config->migration.vddk);
    spec->mark_source = own->mark_source;
    mark_source_fill(&spec->mark_source, &defaults->mark_source);
    mark_source_fill(&spec->mark_source, &config->migration.mark_source);
    if (!overrides)
        return;
    if (overrides->readers > 0)
        spec->readers = MIN(overrides->readers, READERS_MAX);
    if (overrides->parallel_disks > 0)
        spec->parallel_disks = MIN(overrides->parallel_disks, PARALLEL_DISKS_MAX);
    if (overrides->run_virt_v2v >= 0)
        spec->run_virt_v2v = overrides->run_virt_v2v;
    if (overrides->verify)
        (void)verify_from_word(overrides->verify, &spec->verify); /* checked by spec_load_all */
}

static void
merge_target(const struct loader *loader, const struct spec_parts *own,
             const struct spec_parts *defaults, struct spec *spec)
{
    target_fill(&spec->target, &own->target);
    target_fill(&spec->target, &defaults->target);
    target_fill(&spec->target, &loader->config->defaults);
    spec_nics_copy(&spec->nics, own->has_nics ? &own->nics : &defaults->nics);
    spec->primary_nic = spec_nics_primary(&spec->nics);
    if (spec->primary_nic >= 0) {
        free(spec->target.network_id);
        spec->target.network_id = xstrdup(spec->nics.items[spec->primary_nic].network_id);
    }
    spec_disks_fill(&spec->disks, &own->disks);
    for (size_t i = 0; i < spec->disks.count; i++)
        spec->disks.items[i].is_default = false;
    spec_disks_fill(&spec->disks, &defaults->disks);
}

static void
check_target(const struct node *entry, struct spec *spec, struct problems *problems)
{
    struct config_target *target = &spec->target;
    struct str missing = STR_INIT(1024);

    for (size_t i = 0; i < target_field_count; i++)
        if (target_fields[i].is_required && !*target_value(target, &target_fields[i]))
            str_appendf(&missing, "%s%s", missing.length ? ", " : "", target_fields[i].key);
    if (missing.length)
        problems_add(problems, entry,
                     "missing cloudstack target fields: %s (set them in target.cloudstack, or for "
                     "all in cloudstack_defaults of the configuration)",
                     str_text(&missing));
    str_done(&missing);
    if (target->boot_mode && !strcmp(target->boot_mode, "Secure") &&
        (!target->boot_type || !strcmp(target->boot_type, "BIOS")))
        problems_add(problems, entry,
                     "bootmode Secure needs boottype UEFI, not %s; set boottype: UEFI or bootmode: "
                     "Legacy",
                     target->boot_type ? target->boot_type : "none");
    if (target->project_id && target->account)
        problems_add(problems, entry, "account and projectid exclude each other; keep one");
    if (target->account && !target->domain_id)
        problems_add(problems, entry, "account needs domainid; add it");
    for (size_t i = 0; spec->primary_nic < 0 && target->network_id && i < spec->nics.count; i++)
        if (!strcasecmp(spec->nics.items[i].network_id, target->network_id))
            problems_add(problems, entry,
                         "NIC %s is on the network of networkid, which the first NIC gets: no NIC "
                         "of nic_mappings is the first; give it source_index: 0",
                         spec->nics.items[i].key);
}

static void
load_vm(struct loader *loader, const char *path, unsigned number, const struct node *entry,
        const struct spec_parts *defaults)
{
    CLEANUP(spec_parts_done) struct spec_parts own;
    struct spec *spec = xcalloc(1, sizeof(*spec));

    vec_push(&loader->specs, spec);
    spec->path = xstrdup(path);
    spec->place = node_place(entry);
    spec->entry = number;
    decode_vm(entry, spec, &loader->problems);
    spec_parts_init(&own);
    spec_parts_decode(entry, &own, &loader->problems);
    merge_migration(loader, &own, defaults, spec);
    merge_target(loader, &own, defaults, spec);
    vddk_check(&spec->vddk, entry, &loader->problems);
    check_target(entry, spec, &loader->problems);
    if (spec->finalize_delta_interval > spec->finalize_window)
        problems_warn(
            &loader->problems, entry,
            "finalize_delta_interval (%lld s) is longer than finalize_window (%lld s): no "
            "shorter round will fit before finalize_at",
            (long long)spec->finalize_delta_interval, (long long)spec->finalize_window);
}

/* ---- one file --------------------------------------------------------------------------------- */

static void
load_vms(struct loader *loader, const char *path, const struct node *root, const struct node *vms,
         const struct spec_parts *defaults)
{
    static const char *const entry_keys[] = {"vm", "migration", "target", "disks", NULL};

    /* Ignored by the existing tool when there is a list, and refused nowhere. */
    for (size_t i = 0; i < ARRAY_SIZE(entry_keys) - 1; i++)
        if (node_get(root, entry_keys[i]))
            problems_warn(
                &loader->problems, node_get(root, entry_keys[i]),
                "ignored, because the file has a list vms:; what is meant for all of them "
                "goes into defaults:");
    for (size_t i = 0; i < node_count(vms); i++) {
        const struct node *entry = node_item(vms, i);

        if (loader->specs.count >= MAX_VMS) {
            problems_add(&loader->problems, entry, "more than %d VMs", MAX_VMS);
            return;
        }
        if (node_kind(entry) != NODE_MAP) {
            problems_add(&loader->problems, entry,
                         "expected a map with vm:, migration:, target: and disks:");
            continue;
        }
        node_check_keys(entry, entry_keys, &loader->problems);
        load_vm(loader, path, (unsigned)i, entry, defaults);
    }
}

static void
load_root(struct loader *loader, const char *path, const struct node *root)
{
    static const char *const keys[] = {"vm",    "vms",      "migration", "target",
                                       "disks", "defaults", NULL};
    static const char *const defaults_keys[] = {"migration", "target", "disks", NULL};
    CLEANUP(spec_parts_done) struct spec_parts defaults;
    const struct node *vms, *defaults_map;

    spec_parts_init(&defaults);
    if (node_kind(root) != NODE_MAP) {
        problems_add(&loader->problems, root, "expected a map with vm: or a list vms:");
        return;
    }
    node_check_keys(root, keys, &loader->problems);
    defaults_map = node_decode_map(root, "defaults", &loader->problems);
    node_check_keys(defaults_map, defaults_keys, &loader->problems);
    spec_parts_decode(defaults_map, &defaults, &loader->problems);
    vms = node_get(root, "vms");
    if (vms && node_kind(vms) != NODE_NULL && !node_decode_list(root, "vms", &loader->problems))
        return;
    if (vms && node_count(vms) > 0)
        load_vms(loader, path, root, vms, &defaults);
    else
        load_vm(loader, path, 0, root, &defaults);
}

/* A file that cannot be read is one problem among the others. */
static void
load_file(struct loader *loader, const char *path)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct doc *doc;

    if (doc_read(path, &doc, &err) < 0) {
        const char *hint = err_hint_text(err);

        problems_add(&loader->problems, NULL, "%s%s%s", err_message(err), hint ? "; " : "",
                     hint ? hint : "");
        return;
    }
    vec_push(&loader->docs, doc);
    load_root(loader, path, doc_root(doc));
}

/* ---- all files -------------------------------------------------------------------------------- */

static bool
differ(const char *a, const char *b)
{
    return a && b && strcmp(a, b) != 0;
}

static bool
match(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* Whether two entries mean one VM, as far as their words tell. */
static bool
is_same_vm(const struct spec *a, const struct spec *b)
{
    if (match(a->vm.moref, b->vm.moref) || match(a->vm.uuid, b->vm.uuid))
        return true;
    return match(a->vm.name, b->vm.name) && !differ(a->vm.moref, b->vm.moref) &&
           !differ(a->vm.uuid, b->vm.uuid) && !differ(a->vm.datacenter, b->vm.datacenter);
}

static void
check_duplicates(struct loader *loader)
{
    for (size_t i = 0; i < loader->specs.count; i++)
        for (size_t j = 0; j < i; j++)
            if (is_same_vm(loader->specs.items[i], loader->specs.items[j])) {
                problems_add(&loader->problems, NULL, "%s: the same VM (%s) as at %s",
                             loader->specs.items[i]->place, spec_label(loader->specs.items[i]),
                             loader->specs.items[j]->place);
                break;
            }
}

int
spec_load_all(const char *const *paths, size_t path_count, const struct config *config,
              const struct spec_overrides *overrides, bool is_lenient, struct spec_list *ret_specs,
              char **ret_warnings, struct err **err)
{
    struct loader loader = {.config = config, .overrides = overrides};
    enum config_verify verify;
    int rc;

    if (overrides && overrides->verify && !verify_from_word(overrides->verify, &verify))
        return err_set(err, E_USAGE, "--verify takes none, sample or full, not %s",
                       overrides->verify);
    problems_init(&loader.problems, is_lenient);
    for (size_t i = 0; i < path_count; i++)
        load_file(&loader, paths[i]);
    check_duplicates(&loader);
    rc = problems_check(&loader.problems, err);
    if (rc == 0) {
        *ret_specs = loader.specs;
        loader.specs = (struct spec_list){0};
        if (ret_warnings)
            *ret_warnings = str_take(&loader.problems.warnings);
    }
    for (size_t i = 0; i < loader.docs.count; i++)
        doc_free(loader.docs.items[i]);
    vec_done(&loader.docs);
    spec_list_done(&loader.specs);
    problems_done(&loader.problems);
    return rc;
}
