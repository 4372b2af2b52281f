/* /migration/spec, /settings and /start of the existing tool: specs that its UI composes. */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/handlers.h"
#include "api/old.h"
#include "base/clock.h"
#include "base/file.h"
#include "config/config.h"
#include "migration/migration.h"
#include "vsphere/vsphere.h"

#define SETTINGS_FILE "ui_settings.json"

/* ---- the request ----------------------------------------------------------------------------------- */

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text && *text ? text : NULL;
}

static int
check_keys(const json_t *object, const char *where, const char *const *known, struct err **err)
{
    const char *key;
    const json_t *value;

    if (object && !json_is_object(object) && !json_is_null(object))
        return err_set(err, E_REQUEST, "invalid JSON body: %s: expected an object", where);
    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        bool is_known = false;

        for (size_t i = 0; known[i]; i++)
            is_known |= !strcmp(known[i], key);
        if (!is_known)
            return err_set(err, E_REQUEST, "invalid JSON body: unknown field \"%.64s\"", key);
    }
    return 0;
}

static int
check_request(const json_t *body, struct err **err)
{
    static const char *const keys[] = {"vm_name",
                                       "vm_moref",
                                       "zoneid",
                                       "clusterid",
                                       "networkid",
                                       "serviceofferingid",
                                       "boot_storageid",
                                       "ostypeid",
                                       "boottype",
                                       "bootmode",
                                       "rootdiskcontroller",
                                       "nicadapter",
                                       "disks",
                                       "nic_mappings",
                                       "migration",
                                       NULL};
    static const char *const migration_keys[] = {"delta_interval",
                                                 "finalize_at",
                                                 "finalize_delta_interval",
                                                 "finalize_window",
                                                 "finalize_settle_seconds",
                                                 "shutdown_mode",
                                                 "snapshot_quiesce",
                                                 "start_vm_after_import",
                                                 NULL};

    if (check_keys(body, "body", keys, err) < 0 ||
        check_keys(json_object_get(body, "migration"), "migration", migration_keys, err) < 0)
        return -1;
    if (!text_of(body, "vm_name"))
        return err_set(err, E_REQUEST, "vm_name is required");
    return 0;
}

static bool
is_moref(const char *text)
{
    size_t length = strlen(text);

    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_", *c))
            return false;
    return length > 0 && length <= 64;
}

/* Each network by one NIC only. */
static int
check_networks(const json_t *nics, struct err **err)
{
    const char *key, *other;
    const json_t *a, *b;

    json_object_foreach ((json_t *)(uintptr_t)nics, key, a) {
        json_object_foreach ((json_t *)(uintptr_t)nics, other, b) {
            const char *network = text_of(a, "networkid"), *its = text_of(b, "networkid");

            if (key != other && network && its && !strcmp(network, its))
                return err_set(err, E_REQUEST, "the network %s is used by two NICs", network);
        }
    }
    return 0;
}

static void
copy_text(json_t *to, const char *name, const json_t *from, const char *key)
{
    if (text_of(from, key))
        json_object_set_new(to, name, json_string(text_of(from, key)));
}

static void
copy_set(json_t *to, const char *name, const json_t *from)
{
    json_t *value = json_object_get(from, name);

    if (value && !json_is_null(value) && !(json_is_string(value) && !*json_string_value(value)))
        json_object_set(to, name, value);
}

static json_t *
migration_part(const json_t *from)
{
    static const char *const keys[] = {"finalize_at",          "finalize_delta_interval",
                                       "finalize_window",      "finalize_settle_seconds",
                                       "shutdown_mode",        "snapshot_quiesce",
                                       "start_vm_after_import"};
    json_t *to = json_object();

    json_object_set_new(to, "delta_interval", json_integer(300));
    copy_set(to, "delta_interval", from);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        copy_set(to, keys[i], from);
    return to;
}

static json_t *
target_part(const json_t *from)
{
    static const char *const same[] = {
        "zoneid",   "clusterid", "networkid",          "serviceofferingid",
        "ostypeid", "boottype",  "rootdiskcontroller", "nicadapter"};
    json_t *to = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        copy_text(to, same[i], from, same[i]);
    copy_text(to, "storageid", from, "boot_storageid");
    if (text_of(from, "boottype") && !strcasecmp(text_of(from, "boottype"), "UEFI"))
        copy_text(to, "bootmode", from, "bootmode");
    if (json_object_size(json_object_get(from, "nic_mappings")))
        json_object_set(to, "nic_mappings", json_object_get(from, "nic_mappings"));
    return to;
}

/* The existing tool's request as one VM of a spec file. */
static json_t *
spec_of(const json_t *body, const char *moref)
{
    json_t *spec =
        json_pack("{s:{s:s, s:s}, s:o, s:{s:o}}", "vm", "name", text_of(body, "vm_name"), "moref",
                  moref, "migration", migration_part(json_object_get(body, "migration")), "target",
                  "cloudstack", target_part(body));

    if (json_object_size(json_object_get(body, "disks")))
        json_object_set(spec, "disks", json_object_get(body, "disks"));
    return spec;
}

/* ---- which VM -------------------------------------------------------------------------------------- */

static int
look_up(struct request *r, const char *name, char **ret_moref, struct err **err)
{
    CLEANUP(config_freep) struct config *c = NULL;
    CLEANUP(vsphere_freep) struct vsphere *vsphere = NULL;
    struct err *failure = NULL;

    if (environment_of_headers(r, &c, err) < 0 || server_connect_vcenter(c, 0, &vsphere, err) < 0)
        return -1;
    if (vsphere_find_vm(vsphere, &(struct vsphere_selector){.name = name}, ret_moref, &failure) ==
        0)
        return 0;
    if (err_code(failure) != E_VSPHERE_AMBIGUOUS)
        return err_move(err, &failure);
    err_set(err, E_REQUEST, "%s", err_message(failure));
    err_free(failure);
    return err_hint(err, "say which with vm_moref");
}

static int
moref_of(struct request *r, const char *name, const char *given, char **ret, struct err **err)
{
    if (given && !is_moref(given))
        return err_set(err, E_REQUEST, "vm_moref: \"%.64s\" is no managed object id", given);
    if (given)
        *ret = xstrdup(given);
    return given ? 0 : look_up(r, name, ret, err);
}

/* Names are made safe: whatever was sent, it is a directory right below control_dir. */
static char *
vm_file(struct request *r, const char *name, const char *moref, const char *file)
{
    CLEANUP(free_charp)
    char *dir = migration_directory(r->api->options.control_dir, name, moref);

    return file_join(dir, file);
}

static int
write_vm_file(struct request *r, const char *name, const char *moref, const char *file,
              const char *text, char **ret_path, struct err **err)
{
    CLEANUP(free_charp)
    char *dir = migration_directory(r->api->options.control_dir, name, moref);

    *ret_path = vm_file(r, name, moref, file);
    if (file_make_dirs(dir, 0755, err) < 0)
        return -1;
    return file_replace(*ret_path, text, strlen(text), 0640, err);
}

/* ---- handlers --------------------------------------------------------------------------------------- */

static int
check_spec(const json_t *body, struct err **err)
{
    static const char *const needed[] = {"zoneid", "clusterid", "serviceofferingid",
                                         "boot_storageid"};
    const json_t *nics = json_object_get(body, "nic_mappings");
    bool has_network = text_of(body, "networkid");
    const char *key;
    const json_t *nic;

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!text_of(body, needed[i]))
            return err_set(err, E_REQUEST, "%s is required", needed[i]);
    json_object_foreach ((json_t *)(uintptr_t)nics, key, nic)
        has_network |= text_of(nic, "networkid") != NULL;
    if (!has_network)
        return err_set(err, E_REQUEST, "networkid or nic_mappings is required");
    return 0;
}

static int
save_spec(struct request *r, const json_t *body, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *moref = NULL;
    CLEANUP(free_charp) char *yaml = NULL;
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(free_charp) char *problems = NULL;
    const char *name = text_of(body, "vm_name");
    json_t *whole = NULL, *vms = NULL;
    struct plan plan = {0};
    int rc;

    if (check_spec(body, err) < 0 ||
        moref_of(r, name, text_of(body, "vm_moref"), &moref, err) < 0 ||
        environment_of_headers(r, &config, err) < 0)
        return -1;
    whole = json_pack("{s:[o]}", "vms", spec_of(body, moref));
    rc = specs_plan(r, whole, config, &plan, &yaml, &vms, &problems, NULL, err);
    json_decref(whole);
    json_decref(vms);
    specs_plan_done(&plan);
    if (rc == 0 && problems)
        rc = err_set(err, E_REQUEST, "%s", problems);
    if (rc == 0)
        rc = write_vm_file(r, name, moref, "spec.yaml", yaml, &path, err);
    if (rc < 0)
        return -1;
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:o, s:o}", "vm_name", json_text(name), "spec_file",
                                 json_text(path), "created_at", json_time(clock_wall_s())));
}

int
old_post_spec(struct request *r, struct err **err)
{
    json_t *body;
    int rc;

    if (body_json(r, false, &body, err) < 0)
        return -1;
    rc = check_request(body, err);
    if (rc == 0)
        rc = check_networks(json_object_get(body, "nic_mappings"), err);
    if (rc == 0)
        rc = save_spec(r, body, err);
    json_decref(body);
    return rc;
}

static int
save_settings(struct request *r, const json_t *body, struct err **err)
{
    CLEANUP(free_charp) char *moref = NULL;
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(free_charp) char *text = json_dumps(body, JSON_INDENT(2));
    const char *name = text_of(body, "vm_name");

    if (!text || moref_of(r, name, text_of(body, "vm_moref"), &moref, err) < 0 ||
        write_vm_file(r, name, moref, SETTINGS_FILE, text, &path, err) < 0)
        return -1;
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:s, s:o, s:o}", "vm_name", json_text(name), "vm_moref",
                                 moref, "settings_file", json_text(path), "saved_at",
                                 json_time(clock_wall_s())));
}

int
old_post_settings(struct request *r, struct err **err)
{
    json_t *body;
    int rc;

    if (body_json(r, false, &body, err) < 0)
        return -1;
    rc = check_request(body, err);
    if (rc == 0)
        rc = check_networks(json_object_get(body, "nic_mappings"), err);
    if (rc == 0)
        rc = save_settings(r, body, err);
    json_decref(body);
    return rc;
}

int
old_get_settings(struct request *r, struct err **err)
{
    const char *name = query_text(r, "vm_name");
    CLEANUP(free_charp) char *moref = NULL;
    CLEANUP(free_charp) char *path = NULL;
    CLEANUP(free_charp) char *text = NULL;
    struct stat st;
    size_t length;
    json_t *settings;

    if (!name)
        return err_set(err, E_REQUEST, "vm_name is required");
    if (moref_of(r, name, query_text(r, "vm_moref"), &moref, err) < 0)
        return -1;
    path = vm_file(r, name, moref, SETTINGS_FILE);
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, E_JOB_NOT_FOUND, "no settings of %s are saved", name);
    if (file_read(path, API_MAX_BODY, &text, &length, err) < 0)
        return -1;
    settings = json_loadb(text, length, 0, NULL);
    return answer_json(r, MHD_HTTP_OK,
                       json_pack("{s:o, s:s, s:o, s:o, s:o}", "vm_name", json_text(name),
                                 "vm_moref", moref, "settings", settings ? settings : json_object(),
                                 "settings_file", json_text(path), "saved_at",
                                 json_time((int64_t)st.st_mtim.tv_sec)));
}

/* ---- starting ---------------------------------------------------------------------------------------- */

/* @path, when after all links it lies below @dir; the caller frees. */
static char *
below(const char *dir, const char *path)
{
    char real_dir[PATH_MAX], real[PATH_MAX];
    size_t length;
    struct stat st;

    if (!dir || !realpath(dir, real_dir) || !realpath(path, real))
        return NULL;
    length = strlen(real_dir);
    if (strncmp(real, real_dir, length) != 0 || real[length] != '/' || stat(real, &st) < 0 ||
        !S_ISREG(st.st_mode))
        return NULL;
    return xstrdup(real);
}

static bool
is_spec_name(const char *text)
{
    size_t length = strlen(text);

    return length > 4 &&
           (!strcmp(text + length - 5, ".yaml") || !strcmp(text + length - 4, ".yml"));
}

/* A spec that is named: in specs_dir, or below control_dir; nothing else on this host can be named. */
static char *
named_spec(struct request *r, const char *file, const char *vm_dir)
{
    const struct api_options *o = &r->api->options;
    const char *const dirs[] = {o->specs_dir, vm_dir};
    char *found = NULL;

    if (!is_spec_name(file))
        return NULL;
    if (*file == '/') {
        found = below(o->control_dir, file);
        return found ? found : below(o->specs_dir, file);
    }
    for (size_t i = 0; i < ARRAY_SIZE(dirs) && !found; i++) {
        CLEANUP(free_charp) char *path = dirs[i] ? file_join(dirs[i], file) : NULL;

        found = path ? below(dirs[i], path) : NULL;
    }
    return found;
}

static char *
usual_spec(const char *vm_dir)
{
    static const char *const names[] = {"spec.yaml", "spec.latest.yaml"};
    char *found = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(names) && vm_dir && !found; i++) {
        CLEANUP(free_charp) char *path = file_join(vm_dir, names[i]);

        found = below(vm_dir, path);
    }
    return found;
}

/* The directory of the VM called @name below control_dir: "<safe name>_<moref>", if there is just one. */
static int
find_vm_dir(struct request *r, const char *name, char **ret, struct err **err)
{
    CLEANUP(free_charp) char *safe = file_safe_name(name);
    CLEANUP(free_charp) char *prefix = xasprintf("%s_", safe);
    DIR *stream = opendir(r->api->options.control_dir);
    const struct dirent *entry;
    unsigned count = 0;

    while (stream && (entry = readdir(stream))) {
        const char *rest = entry->d_name + strlen(prefix);

        /* All that follows the name is a moref: web_db_vm-42 is not a VM called web. */
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || !is_moref(rest) ||
            strchr(rest, '_'))
            continue;
        free(*ret);
        *ret = file_join(r->api->options.control_dir, entry->d_name);
        count++;
    }
    if (stream)
        (void)closedir(stream);
    if (count > 1) {
        err_set(err, E_REQUEST, "several VMs are called %s: say which spec_file", name);
        return -1;
    }
    return 0;
}

int
old_spec_path(struct request *r, const char *name, const char *file, char **ret, struct err **err)
{
    CLEANUP(free_charp) char *dir = NULL;

    *ret = file ? named_spec(r, file, NULL) : NULL;
    if (*ret)
        return 0;
    if (find_vm_dir(r, name, &dir, err) < 0)
        return -1;
    *ret = file ? named_spec(r, file, dir) : usual_spec(dir);
    if (*ret)
        return 0;
    if (file)
        return err_set(err, E_JOB_NOT_FOUND, "no spec %.200s is there", file);
    return err_set(err, E_JOB_NOT_FOUND, "no spec of %s is there", name);
}

static void
add_plan_job(struct request *r, const struct plan_entry *entry, const char *vcenter,
             const char *cloudstack, const struct old_start *start, struct store_jobs *jobs)
{
    vec_push(jobs, ((struct store_job){
                       .job_id = job_new_id(),
                       .kind = JOB_MIGRATE,
                       .vm_name = xstrdup(entry->vm_name),
                       .vm_moref = xstrdup(entry->vm_moref),
                       .vcenter = xstrdup(vcenter),
                       .cloudstack = xstrdup(cloudstack),
                       .created_at = clock_wall_s(),
                       .created_by = xstrdup(r->caller.user),
                       .retry_of = xstrdup(start->retry_of),
                       .options = start->is_debug ? xstrdup("{\"debug\":true}") : NULL,
                       .pool = xstrdup(entry->pool),
                   }));
}

static int
begin_plan(struct request *r, const struct config *config, const struct plan *plan,
           const struct old_start *start, const char *vcenter, const char *cloudstack,
           struct err **err)
{
    struct store_jobs jobs = {0};
    json_t *ids, *body;
    size_t named = plan->count;

    for (size_t i = 0; i < plan->count; i++)
        if (!strcmp(plan->items[i].vm_name, start->vm_name) ||
            (plan->items[i].vm_moref && !strcmp(plan->items[i].vm_moref, start->vm_name)))
            named = i;
    if (named == plan->count)
        return err_set(err, E_REQUEST, "%s is of other VMs than %s", start->spec_file,
                       start->vm_name);
    ids = json_array();
    for (size_t i = 0; i < plan->count; i++) {
        add_plan_job(r, &plan->items[i], vcenter, cloudstack, start, &jobs);
        json_array_append_new(ids, json_text(jobs.items[i].job_id));
    }
    jobs_identify(config, plan, &jobs);
    if (jobs_begin(r, &jobs, plan, err) < 0) {
        store_jobs_done(&jobs);
        json_decref(ids);
        return -1;
    }
    body = json_pack("{s:o, s:o, s:o, s:s, s:o}", "vm_name", json_text(start->vm_name), "job_id",
                     json_text(jobs.items[named].job_id), "spec_file", json_text(start->spec_file),
                     "status", "queued", "job_ids", ids);
    if (start->retry_of) {
        json_object_set_new(body, "retry_of", json_text(start->retry_of));
        json_object_set_new(body, "debug_virt_v2v", json_boolean(start->is_debug));
    }
    store_jobs_done(&jobs);
    return answer_json(r, MHD_HTTP_OK, body);
}

int
old_begin(struct request *r, const struct old_start *start, struct err **err)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(free_charp) char *vcenter = xstrdup(start->vcenter);
    CLEANUP(free_charp) char *cloudstack = xstrdup(start->cloudstack);
    CLEANUP(free_charp) char *text = NULL;
    CLEANUP(free_charp) char *yaml = NULL;
    CLEANUP(free_charp) char *problems = NULL;
    json_t *body, *vms = NULL;
    struct plan plan = {0};
    size_t length;
    int rc;

    if (file_read(start->spec_file, API_MAX_BODY, &text, &length, err) < 0)
        return -1;
    if ((!vcenter || pairs_get(&r->headers, "x-vcenter-host") ||
         pairs_get(&r->headers, "x-cloudstack-endpoint"))) {
        free(take(vcenter));
        free(take(cloudstack));
        if (environment_ids_of_headers(r, &vcenter, &cloudstack, err) < 0)
            return -1;
    }
    if (environment_config(r->api, r->store, vcenter, cloudstack, &config, err) < 0 ||
        config_check_run(config, err) < 0)
        return -1;
    body = json_pack("{s:o}", "yaml", json_text(text));
    rc = specs_plan(r, body, config, &plan, &yaml, &vms, &problems, NULL, err);
    json_decref(body);
    json_decref(vms);
    if (rc == 0 && problems)
        rc = err_set(err, E_REQUEST, "%s", problems);
    if (rc == 0)
        rc = begin_plan(r, config, &plan, start, vcenter, cloudstack, err);
    specs_plan_done(&plan);
    return rc;
}

int
old_start(struct request *r, struct err **err)
{
    static const char *const keys[] = {"vm_name", "spec_file", NULL};
    CLEANUP(free_charp) char *path = NULL;
    json_t *body;
    int rc;

    if (body_json(r, false, &body, err) < 0)
        return -1;
    rc = check_keys(body, "body", keys, err);
    if (rc == 0 && !text_of(body, "vm_name"))
        rc = err_set(err, E_REQUEST, "vm_name is required");
    if (rc == 0)
        rc = old_spec_path(r, text_of(body, "vm_name"), text_of(body, "spec_file"), &path, err);
    if (rc == 0)
        rc = old_begin(
            r, &(struct old_start){.vm_name = text_of(body, "vm_name"), .spec_file = path}, err);
    json_decref(body);
    return rc;
}
