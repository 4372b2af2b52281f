/* Shows and changes the limits of the bandwidth, while migrations run. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"
#include "cli/text.h"
#include "config/config.h"

struct bandwidth_values {
    struct select_values select;
    bool engine;
    const char *host;
};

static const struct option_def bandwidth_options[] = {
    SELECT_OPTIONS(struct bandwidth_values, select),
    {"engine", OPTION_BOOL, offsetof(struct bandwidth_values, engine), NULL,
     "The limit of all VMs together."},
    {"host", OPTION_TEXT, offsetof(struct bandwidth_values, host), "NAME",
     "The limit of the VMs of one ESXi host together; its name is as vCenter shows it."},
    OPTION_END,
};

/* ---- showing ---------------------------------------------------------------------------------- */

/* "limit=50MiB/s (set; spec: none)": what was set, else what is usual, which stands in @where. */
static char *
describe(const char *set, const char *usual, const char *where)
{
    usual = usual && *usual ? usual : "none";
    return set ? xasprintf("limit=%s (set; %s: %s)", set, where, usual)
               : xasprintf("limit=%s (%s)", usual, where);
}

static int
show(struct selection *selection, const struct store_subject *of, const char *label,
     const char *usual, struct err **err)
{
    CLEANUP(free_charp) char *set = NULL;
    CLEANUP(free_charp) char *text = NULL;

    if (store_setting_get(selection->store, of, STORE_BANDWIDTH, &set, err) < 0)
        return -1;
    text = describe(set, usual, "configuration");
    printf("[bandwidth] %s %s\n", label, text);
    return 0;
}

static int
show_engine(struct selection *selection, struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};

    return show(selection, &engine, "engine", selection->config->migration.bandwidth.text, err);
}

static int
show_host(struct selection *selection, const char *host, struct err **err)
{
    const struct store_subject of = {.scope = STORE_HOST, .host = host};
    struct str label = STR_INIT(4096);
    int rc;

    str_append(&label, "host=");
    text_append_clean(&label, host, 0);
    rc = show(selection, &of, str_text(&label),
              config_host_bandwidth(selection->config, host)->text, err);
    str_done(&label);
    return rc;
}

/* The spec that the VM's last run was given. */
static char *
read_spec_limit(const struct vm_view *view)
{
    CLEANUP(free_charp) char *path = file_join(view->directory, "spec.latest.yaml");
    CLEANUP(doc_freep) struct doc *doc = NULL;
    const struct node *map, *node = NULL;

    if (doc_read(path, &doc, NULL) < 0 || node_kind(doc_root(doc)) != NODE_MAP)
        return NULL;
    map = node_get(doc_root(doc), "migration");
    if (map && node_kind(map) == NODE_MAP)
        node = node_get(map, "bandwidth_limit");
    return node && node_kind(node) == NODE_SCALAR ? xstrdup(node_text(node)) : NULL;
}

static int
show_vm(struct selection *selection, const struct vm_view *view, struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = view->record.id};
    CLEANUP(free_charp) char *usual = NULL;
    CLEANUP(free_charp) char *set = NULL;
    CLEANUP(free_charp) char *host = NULL;
    CLEANUP(free_charp) char *limit = NULL;
    CLEANUP(free_charp) char *text = NULL;

    if (!view->record.id)
        return 0;
    if (store_setting_get(selection->store, &vm, STORE_BANDWIDTH, &set, err) < 0 ||
        store_setting_get(selection->store, &vm, STORE_HOST_NAME, &host, err) < 0)
        return -1;
    usual = read_spec_limit(view);
    limit = describe(set, usual, "spec");
    text = host ? xasprintf("%s host=%s", limit, host) : xstrdup(limit);
    select_say(stdout, "bandwidth", view, text);
    return 0;
}

/* ---- hosts ------------------------------------------------------------------------------------ */

VEC_DECLARE(host_names, char *);

static bool
has_host(const struct host_names *hosts, const char *host)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (!strcasecmp(hosts->items[i], host))
            return true;
    return false;
}

static void
add_host(struct host_names *hosts, const char *host)
{
    if (!has_host(hosts, host))
        vec_push(hosts, xstrdup(host));
}

static void
host_names_done(struct host_names *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        free(hosts->items[i]);
    vec_done(hosts);
}

/* Those that VMs were read from. */
static int
find_seen_hosts(struct selection *selection, struct host_names *hosts, struct err **err)
{
    struct store_migrations all = {0};
    int rc = 0;

    if (store_migration_list(selection->store, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all.count && rc == 0; i++) {
        const struct store_subject vm = {.scope = STORE_VM, .migration = all.items[i].id};
        CLEANUP(free_charp) char *host = NULL;

        rc = store_setting_get(selection->store, &vm, STORE_HOST_NAME, &host, err);
        if (host)
            add_host(hosts, host);
    }
    store_migrations_done(&all);
    return rc;
}

/* Those, and those that a limit speaks of. */
static int
find_hosts(struct selection *selection, struct host_names *hosts, struct err **err)
{
    const struct config_host_rates *rates = &selection->config->migration.host_rates;
    struct store_host_settings set = {0};

    if (store_setting_hosts(selection->store, STORE_BANDWIDTH, &set, err) < 0)
        return -1;
    for (size_t i = 0; i < set.count; i++)
        add_host(hosts, set.items[i].host);
    store_host_settings_done(&set);
    for (size_t i = 0; i < rates->count; i++)
        add_host(hosts, rates->items[i].host);
    return find_seen_hosts(selection, hosts, err);
}

static int
show_shared(struct selection *selection, struct err **err)
{
    CLEANUP(host_names_done) struct host_names hosts = {0};

    if (show_engine(selection, err) < 0 || find_hosts(selection, &hosts, err) < 0)
        return -1;
    for (size_t i = 0; i < hosts.count; i++)
        if (show_host(selection, hosts.items[i], err) < 0)
            return -1;
    return 0;
}

/* A limit of a host that nobody has read from may be meant for later; or be a slip of the pen. */
static int
warn_of_unseen_host(struct selection *selection, const char *host, struct err **err)
{
    CLEANUP(host_names_done) struct host_names hosts = {0};
    struct str text = STR_INIT(64 * KIB);

    if (find_seen_hosts(selection, &hosts, err) < 0)
        return -1;
    if (!has_host(&hosts, host)) {
        for (size_t i = 0; i < hosts.count; i++) {
            str_append(&text, i ? ", " : "; seen so far: ");
            text_append_clean(&text, hosts.items[i], 0);
        }
        fprintf(stderr, "[bandwidth] no VM has been read from a host of that name yet%s\n",
                str_text(&text));
    }
    str_done(&text);
    return 0;
}

/* ---- changing --------------------------------------------------------------------------------- */

/* "none" and rates are kept as they were written; "default" is nothing to keep. */
static int
parse_limit(const char *text, const char **ret_value, struct err **err)
{
    struct rate_schedule schedule;

    if (!strcmp(text, "default")) {
        *ret_value = NULL;
        return 0;
    }
    if (rate_schedule_parse(text, &schedule, err) < 0)
        return err_hint(err, "default takes back what was set: spec and configuration hold again");
    *ret_value = text;
    return 0;
}

static int
change_vm(struct selection *selection, const struct vm_view *view, const char *value,
          struct err **err)
{
    const struct store_subject vm = {.scope = STORE_VM, .migration = view->record.id};

    if (view->is_foreign)
        return err_set(err, E_STORE_FOREIGN,
                       "vm %s: it was begun by another tool, which knows no limit", view->name);
    if (store_setting_put(selection->store, &vm, STORE_BANDWIDTH, value, err) < 0)
        return err_wrap(err, "vm %s", view->name);
    return 0;
}

/* @limit NULL: only shows. */
static int
run_vms(struct selection *selection, const char *limit, const char *value, struct err **err)
{
    size_t found = 0;

    for (size_t i = 0; i < selection->views.count; i++) {
        const struct vm_view *view = &selection->views.items[i];

        if (!view->moref) {
            select_say(stderr, "bandwidth", view, "nothing has begun yet");
            continue;
        }
        found++;
        if (limit && change_vm(selection, view, value, err) < 0)
            return -1;
        if (show_vm(selection, view, err) < 0)
            return -1;
    }
    if (!found)
        return err_set(err, E_STORE_NOT_FOUND, "none of these VMs has a migration in %s",
                       selection->control_dir);
    return 0;
}

static int
run_engine(struct selection *selection, const char *limit, const char *value, struct err **err)
{
    const struct store_subject engine = {.scope = STORE_ENGINE};

    if (limit && store_setting_put(selection->store, &engine, STORE_BANDWIDTH, value, err) < 0)
        return -1;
    return show_engine(selection, err);
}

static int
run_host(struct selection *selection, const char *host, const char *limit, const char *value,
         struct err **err)
{
    const struct store_subject of = {.scope = STORE_HOST, .host = host};

    if (limit && (warn_of_unseen_host(selection, host, err) < 0 ||
                  store_setting_put(selection->store, &of, STORE_BANDWIDTH, value, err) < 0))
        return -1;
    return show_host(selection, host, err);
}

/* ---- command ---------------------------------------------------------------------------------- */

static char *
join(const struct words *words)
{
    struct str text = STR_INIT(4096);

    for (size_t i = 0; i < words->count; i++)
        str_appendf(&text, "%s%s", i ? " " : "", words->items[i]);
    return str_take(&text);
}

static int
check_usage(const struct bandwidth_values *v, const char *limit, struct err **err)
{
    bool has_vms = v->select.specs.count || v->select.vms.count || v->select.vm_ids.count;

    if (v->engine + (v->host != NULL) + has_vms > 1)
        return err_set(err, E_USAGE, "--engine, --host and VMs: one at a time");
    if (v->host && !*v->host)
        return err_set(err, E_USAGE, "--host needs the name of a host");
    if (limit && !v->engine && !v->host && !has_vms)
        return err_set(err, E_USAGE,
                       "say whose limit with --spec, --vm, --vm-id, --host or --engine");
    return 0;
}

static int
run_selected(const struct bandwidth_values *v, const char *limit, const char *value,
             struct err **err)
{
    const struct words none = {0};
    bool is_shared = v->engine || v->host;
    bool is_all =
        !is_shared && !v->select.specs.count && !v->select.vms.count && !v->select.vm_ids.count;
    struct selection selection;
    int rc;

    if ((is_shared ? select_none(&v->select, &selection, err)
                   : select_vms(&v->select, &none, &selection, err)) < 0)
        return -1;
    if (v->engine)
        rc = run_engine(&selection, limit, value, err);
    else if (v->host)
        rc = run_host(&selection, v->host, limit, value, err);
    else if (is_all && show_shared(&selection, err) < 0)
        rc = -1;
    else
        rc = run_vms(&selection, limit, value, err);
    selection_done(&selection);
    return rc;
}

static int
run_bandwidth(void *opaque, const struct words *words, struct err **err)
{
    const struct bandwidth_values *v = opaque;
    CLEANUP(free_charp) char *limit = words->count ? join(words) : NULL;
    const char *value = NULL;

    if (check_usage(v, limit, err) < 0 || (limit && parse_limit(limit, &value, err) < 0))
        return -1;
    return run_selected(v, limit, value, err);
}

const struct command command_bandwidth = {
    .name = "bandwidth",
    .words = "[LIMIT|none|default]",
    .summary = "show or change how fast VMs are read",
    .description =
        "Changes a limit of the reading while migrations run: of VMs, of an ESXi host's VMs "
        "together, or of all VMs together. Runs take it up within a second or two. It lasts, over "
        "the end of runs too, until `default` takes it back; `none` means no limit. Without LIMIT "
        "it shows what holds.\n\n"
        "LIMIT is what bandwidth_limit in spec and configuration may be: 200MiB/s, or with times "
        "of "
        "day \"08:00-18:00 50MiB/s, 200MiB/s\". All limits that apply to a VM hold at once. The "
        "final "
        "sync waits for none: the VM is off and waits.",
    .options = bandwidth_options,
    .values_size = sizeof(struct bandwidth_values),
    .run = run_bandwidth,
};
