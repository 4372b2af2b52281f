/* The pretend CloudStack's front: HTTPS at /client/api, envelopes, life. */
#include "cloudstack/cs.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"

#define DEFAULT_VERSION "4.22.1"
#define DEFAULT_JOB_MS  300
#define MAX_PAGE_SIZE   500

/* ---- answers ---------------------------------------------------------------------------------- */

static void
answer_json(struct lab_exchange *x, unsigned status, const char *command, json_t *content)
{
    CLEANUP(free_charp) char *key = xasprintf("%sresponse", command), *text = NULL;
    json_t *root = json_object();

    for (char *c = key; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (json_object_set_new(root, key, content) < 0)
        json_object_set_new(root, "errorresponse", json_object());
    text = json_dumps(root, JSON_COMPACT);
    lab_exchange_answer(x, status, "application/json;charset=UTF-8", text, strlen(text));
    json_decref(root);
}

static void
answer_error(struct lab_exchange *x, const char *command, const struct cs_error *error)
{
    json_t *text = json_string(error->text);
    json_t *content = json_pack("{s:[],s:i,s:o}", "uuidList", "errorcode", error->code, "errortext",
                                text ? text : json_string("?"));

    if (error->code == CS_PARAM)
        json_object_set_new(content, "cserrorcode", json_integer(4350));
    else if (error->code == CS_INTERNAL)
        json_object_set_new(content, "cserrorcode", json_integer(4250));
    answer_json(x, (unsigned)error->code, command, content);
}

/* The form that a client gets that forgot response=json. */
static void
answer_xml(struct lab_exchange *x)
{
    static const char TEXT[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><errorresponse>"
                               "<errortext>the lab speaks JSON only</errortext></errorresponse>";

    lab_exchange_answer(x, 200, "text/xml", TEXT, sizeof(TEXT) - 1);
}

/* ---- faults ----------------------------------------------------------------------------------- */

enum pass {
    PASS_ON,
    PASS_ANSWERED, /* the fault was the answer */
    PASS_DROP_AFTER,
};

static enum pass
take_fault(struct lab_cloudstack *cs, struct lab_exchange *x, const char *command,
           const char *suffix)
{
    CLEANUP(free_charp) char *where = xasprintf("cloudstack.%s%s", command, suffix);
    struct cs_error error = {0};
    struct lab_fault fault;

    if (!cs->lab->faults || !lab_fault_take(cs->lab->faults, where, &fault))
        return PASS_ON;
    if (!strcmp(fault.action, "drop_after") && !*suffix)
        return PASS_DROP_AFTER;
    if (!strncmp(fault.action, "drop", 4)) {
        lab_exchange_drop(x);
        return PASS_ANSWERED;
    }
    if (!strcmp(fault.action, "expire"))
        (void)cs_fail(&error, CS_UNAUTHORIZED,
                      "unable to verify user credentials and/or request signature");
    else
        (void)cs_fail(&error, CS_INTERNAL, "%s",
                      *fault.detail ? fault.detail : "the lab was told to fail");
    answer_error(x, command, &error);
    return PASS_ANSWERED;
}

/* ---- requests --------------------------------------------------------------------------------- */

static void
add_param(void *opaque, const char *name, const char *value)
{
    cs_request_add(opaque, name, value);
}

/* Whether the command changes something, by its name, as the real server tells it. */
static bool
is_reading(const char *command)
{
    return !strncmp(command, "list", 4) || !strncmp(command, "query", 5) ||
           !strncmp(command, "get", 3);
}

static int
check_request(struct lab_cloudstack *cs, struct cs_request *rq, const char *command,
              struct cs_error *error)
{
    if (cs_check_signature(cs, rq, error) < 0)
        return -1;
    if (!rq->api)
        return cs_fail(error, CS_UNSUPPORTED,
                       "The given command:%s does not exist or it is not available for user",
                       command);
    if (cs->is_post_enforced && !rq->is_post && !is_reading(rq->command))
        return cs_fail(error, CS_UNSUPPORTED, "State changing command %s must be sent by POST",
                       rq->command);
    if (!cs_find_command(rq->command))
        return cs_fail(error, CS_INTERNAL, "The lab does not do %s", rq->command);
    return cs_schema_check(cs, rq, error);
}

/* Runs with the mutex held. */
static int
handle_command(struct lab_cloudstack *cs, struct cs_request *rq, const char *command, json_t **ret,
               struct cs_error *error)
{
    const struct cs_command *run;
    json_t *made = NULL, *object;
    const char *key;

    if (check_request(cs, rq, command, error) < 0)
        return -1;
    run = cs_find_command(rq->command);
    if (!json_is_true(json_object_get(rq->api, "isasync")))
        return run->run(cs, rq, ret, error);
    if (run->is_made_at_once && run->run(cs, rq, &made, error) < 0)
        return -1;
    *ret = json_object();
    json_object_foreach (made, key, object) {
        cs_set_text(*ret, "id", cs_text(object, "id"));
    }
    cs_set_text(*ret, "jobid", cs_job_submit(cs, rq, made)->id);
    return 0;
}

static void
serve_command(struct lab_cloudstack *cs, struct lab_exchange *x, struct cs_request *rq)
{
    const char *given = cs_get(rq, "command");
    CLEANUP(free_charp) char *command = NULL;
    struct cs_error error = {0};
    json_t *content = NULL;
    enum pass before;
    int result;

    rq->api = given ? cs_schema_find(cs->schema, given) : NULL;
    command = xstrdup(rq->api ? cs_text(rq->api, "name") : given ? given : "error");
    rq->command = xstrdup(command);
    if (!given) {
        (void)cs_fail(&error, CS_PARAM, "Invalid request, no command sent");
        answer_error(x, command, &error);
        return;
    }
    before = take_fault(cs, x, command, "");
    if (before == PASS_ANSWERED)
        return;
    pthread_mutex_lock(&cs->mutex);
    result = handle_command(cs, rq, command, &content, &error);
    pthread_mutex_unlock(&cs->mutex);
    if (before == PASS_DROP_AFTER || take_fault(cs, x, command, ".after") == PASS_ANSWERED) {
        json_decref(content);
        if (before == PASS_DROP_AFTER)
            lab_exchange_drop(x);
        return;
    }
    if (result < 0) {
        log_debug("cloudstack: %s: %d %s", command, error.code, error.text);
        answer_error(x, command, &error);
    } else {
        answer_json(x, 200, command, content);
    }
}

static void
serve(void *opaque, struct lab_exchange *x)
{
    static const char NOT_HERE[] = "<html><body>HTTP ERROR 404 Not Found</body></html>";
    struct lab_cloudstack *cs = opaque;
    const char *path = lab_exchange_path(x), *form = lab_exchange_param(x, "response");
    struct cs_request rq = {0};

    if (strcmp(path, "/client/api") && strcmp(path, "/client/api/")) {
        lab_exchange_answer(x, 404, "text/html", NOT_HERE, sizeof(NOT_HERE) - 1);
        return;
    }
    if (!form || strcasecmp(form, "json")) {
        answer_xml(x);
        return;
    }
    rq.is_post = !strcmp(lab_exchange_method(x), "POST");
    lab_exchange_each_param(x, add_param, &rq);
    serve_command(cs, x, &rq);
    cs_request_done(&rq);
}

/* ---- configuration ---------------------------------------------------------------------------- */

static int
read_text(const json_t *config, const char *key, char *to, size_t room, struct err **err)
{
    const json_t *value = json_object_get(config, key);

    if (!value)
        return 0;
    if (!json_is_string(value) || !json_string_length(value) || json_string_length(value) >= room)
        return err_set(err, E_CONFIG, "cloudstack.%s must be a text shorter than %zu bytes", key,
                       room);
    memcpy(to, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int
read_flag(const json_t *config, const char *key, bool *to, struct err **err)
{
    const json_t *value = json_object_get(config, key);

    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return err_set(err, E_CONFIG, "cloudstack.%s must be true or false", key);
    *to = json_is_true(value);
    return 0;
}

static int
read_number(const json_t *config, const char *key, int min, int max, int *to, struct err **err)
{
    const json_t *value = json_object_get(config, key);

    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return err_set(err, E_CONFIG, "cloudstack.%s must be a number from %d to %d", key, min,
                       max);
    *to = (int)json_integer_value(value);
    return 0;
}

static int
check_keys(const json_t *config, struct err **err)
{
    static const char *const KEYS[] = {
        "version", "importvm_macaddress", "boot",    "job_ms", "page_size",         "enforce_post",
        "api_key", "secret_key",          "changes", "forbid", "shared_mount_point"};
    const char *key;
    json_t *value;

    if (config && !json_is_object(config) && !json_is_null(config))
        return err_set(err, E_CONFIG, "cloudstack must be an object");
    json_object_foreach ((json_t *)config, key, value) {
        bool is_known = false;

        for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++)
            is_known = is_known || !strcmp(key, KEYS[i]);
        if (!is_known)
            return err_set(err, E_CONFIG, "cloudstack.%s is no key of the lab", key);
    }
    return 0;
}

/* Commands that the account's role does not have: a real server neither lists nor runs them. */
static int
forbid(struct lab_cloudstack *cs, const json_t *commands, struct err **err)
{
    const json_t *command;
    size_t i;

    json_array_foreach (commands, i, command) {
        const char *name = json_string_value(command);
        const json_t *api = name ? cs_schema_find(cs->schema, name) : NULL;

        if (!api)
            return err_set(err, E_CONFIG, "cloudstack.forbid: there is no command %s",
                           name ? name : "without a name");
        cs_remove(cs->schema, api);
    }
    return 0;
}

static int
read_config(struct lab_cloudstack *cs, const json_t *config, struct err **err)
{
    bool has_mac = false;
    char boot[16] = "qemu";

    (void)snprintf(cs->version, sizeof(cs->version), "%s", DEFAULT_VERSION);
    cs->job_ms = DEFAULT_JOB_MS;
    cs->max_page_size = MAX_PAGE_SIZE;
    if (check_keys(config, err) < 0 ||
        read_text(config, "version", cs->version, sizeof(cs->version), err) < 0 ||
        read_text(config, "api_key", cs->api_key, sizeof(cs->api_key), err) < 0 ||
        read_text(config, "secret_key", cs->secret_key, sizeof(cs->secret_key), err) < 0 ||
        read_text(config, "boot", boot, sizeof(boot), err) < 0 ||
        read_flag(config, "importvm_macaddress", &has_mac, err) < 0 ||
        read_flag(config, "enforce_post", &cs->is_post_enforced, err) < 0 ||
        read_flag(config, "shared_mount_point", &cs->has_shared_mount_point, err) < 0 ||
        read_number(config, "job_ms", 0, 600000, &cs->job_ms, err) < 0 ||
        read_number(config, "page_size", 1, MAX_PAGE_SIZE, &cs->max_page_size, err) < 0)
        return -1;
    if (strcmp(boot, "qemu") && strcmp(boot, "none"))
        return err_set(err, E_CONFIG, "cloudstack.boot must be qemu or none");
    cs->is_boot_off = !strcmp(boot, "none");
    cs->schema = cs_schema_load(cs->version, has_mac);
    return forbid(cs, json_object_get(config, "forbid"), err);
}

/* ---- life ------------------------------------------------------------------------------------- */

static void
make_key(char *key, size_t room)
{
    static const char LETTERS[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[86];

    if (*key)
        return;
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        abort();
    for (size_t i = 0; i < sizeof(bytes) && i + 1 < room; i++)
        key[i] = LETTERS[bytes[i] & 63];
    key[MIN(sizeof(bytes), room - 1)] = '\0';
}

static int
make_dirs(struct lab_cloudstack *cs, const char *dir, struct err **err)
{
    static const char *const NAMES[] = {"primary", "primary2", "boot"};
    CLEANUP(free_charp) char *real = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        CLEANUP(free_charp) char *path = file_join(dir, NAMES[i]);

        if (file_make_dirs(path, 0755, err) < 0)
            return -1;
    }
    real = realpath(dir, NULL);
    if (!real || strlen(real) >= sizeof(cs->dir))
        return err_set(err, E_IO, "%s: no usable path", dir);
    memcpy(cs->dir, real, strlen(real) + 1);
    return 0;
}

static void
cloudstack_done(struct lab_cloudstack *cs)
{
    lab_https_stop(cs->https);
    if (cs->has_job_thread) {
        pthread_mutex_lock(&cs->mutex);
        cs->is_stopping = true;
        pthread_cond_broadcast(&cs->wake);
        pthread_mutex_unlock(&cs->mutex);
        pthread_join(cs->job_thread, NULL);
    }
    while (cs->boots.count)
        cs_boot_end(cs, cs->boots.items[0].vm_id);
    vec_done(&cs->boots);
    cs_jobs_done(cs);
    json_decref(cs->world);
    json_decref(cs->schema);
    pthread_cond_destroy(&cs->wake);
    pthread_mutex_destroy(&cs->mutex);
    free(cs);
}

static int
bring_up(struct lab_cloudstack *cs, unsigned port, const json_t *config, struct err **err)
{
    if (read_config(cs, config, err) < 0 || make_dirs(cs, cs->lab->dir, err) < 0)
        return -1;
    make_key(cs->api_key, sizeof(cs->api_key));
    make_key(cs->secret_key, sizeof(cs->secret_key));
    cs->world = cs_world_new(cs);
    if (cs_world_change_all(cs, json_object_get(config, "changes"), err) < 0)
        return err_wrap(err, "cloudstack.changes");
    if (pthread_create(&cs->job_thread, NULL, cs_job_thread, cs))
        return err_set(err, E_MEMORY, "cannot start the thread of the jobs");
    cs->has_job_thread = true;
    return lab_https_start(&cs->lab->certificate, port, serve, cs, &cs->https, err);
}

int
lab_cloudstack_start(struct lab *lab, unsigned port, const json_t *config, struct err **err)
{
    struct lab_cloudstack *cs = xcalloc(1, sizeof(*cs));

    cs->lab = lab;
    cs->next_vm = 3;
    pthread_mutex_init(&cs->mutex, NULL);
    pthread_cond_init(&cs->wake, NULL);
    if (bring_up(cs, port, config, err) < 0) {
        cloudstack_done(cs);
        return err_wrap(err, "the pretend CloudStack");
    }
    lab->cloudstack = cs;
    return 0;
}

unsigned
lab_cloudstack_port(const struct lab *lab)
{
    return lab_https_port(lab->cloudstack->https);
}

void
lab_cloudstack_stop(struct lab *lab)
{
    if (lab->cloudstack)
        cloudstack_done(take(lab->cloudstack));
}

int
lab_cloudstack_change(struct lab *lab, const json_t *change, struct err **err)
{
    SCOPE_LOCK(&lab->cloudstack->mutex);
    return cs_world_change(lab->cloudstack, change, err);
}

/* ---- what tests and the demo ask -------------------------------------------------------------- */

/* {"name": "id", ...} */
static json_t *
ids_by_name(const struct lab_cloudstack *cs, const char *kind)
{
    json_t *ids = json_object(), *item;
    size_t i;

    json_array_foreach (cs_all(cs, kind), i, item) {
        cs_set_text(ids, cs_text(item, "name"), cs_text(item, "id"));
    }
    return ids;
}

static void
set_first(json_t *out, const char *key, const struct lab_cloudstack *cs, const char *kind,
          size_t index, const char *field)
{
    cs_set_text(out, key, cs_text(json_array_get(cs_all(cs, kind), index), field));
}

json_t *
lab_cloudstack_describe(const struct lab *lab)
{
    struct lab_cloudstack *cs = lab->cloudstack;
    json_t *out = json_object();

    SCOPE_LOCK(&cs->mutex);
    json_object_set_new(out, "endpoint",
                        json_sprintf("https://127.0.0.1:%u/client/api", lab_https_port(cs->https)));
    cs_set_text(out, "sha256", lab->certificate.sha256);
    cs_set_text(out, "sha1", lab->certificate.sha1);
    cs_set_text(out, "api_key", cs->api_key);
    cs_set_text(out, "secret_key", cs->secret_key);
    cs_set_text(out, "version", cs->version);
    set_first(out, "zoneid", cs, "zone", 0, "id");
    set_first(out, "clusterid", cs, "cluster", 0, "id");
    set_first(out, "hostid", cs, "host", 0, "id");
    set_first(out, "storageid", cs, "storagepool", 0, "id");
    set_first(out, "storagepath", cs, "storagepool", 0, "path");
    set_first(out, "storageid2", cs, "storagepool", 1, "id");
    set_first(out, "storagepath2", cs, "storagepool", 1, "path");
    set_first(out, "networkid", cs, "network", 0, "id");
    set_first(out, "serviceofferingid", cs, "serviceoffering", 0, "id");
    set_first(out, "diskofferingid", cs, "diskoffering", 0, "id");
    set_first(out, "ostypeid", cs, "ostype", 1, "id");
    json_object_set_new(out, "networks", ids_by_name(cs, "network"));
    json_object_set_new(out, "serviceofferings", ids_by_name(cs, "serviceoffering"));
    json_object_set_new(out, "diskofferings", ids_by_name(cs, "diskoffering"));
    json_object_set_new(out, "ostypes", ids_by_name(cs, "ostype"));
    json_object_set_new(out, "templates", ids_by_name(cs, "template"));
    return out;
}

static json_t *
boot_state(const struct cs_boot *boot)
{
    struct lab_boot_state state = {.is_running = true};

    if (boot->boot)
        lab_boot_state(boot->boot, &state);
    return json_pack("{s:b,s:b,s:b,s:b,s:i,s:i,s:s}", "is_real", boot->boot != NULL, "is_running",
                     state.is_running, "is_up", state.is_up, "is_verified", state.is_verified,
                     "files", (int)state.files, "bad_files", (int)state.bad_files, "line",
                     state.line);
}

static json_t *
vm_state(const struct lab_cloudstack *cs, const json_t *vm)
{
    json_t *out = cs_public(vm), *volumes = cs_volumes_of(cs, vm), *shown = json_array(), *volume;
    const struct cs_boot *boot = cs_find_boot(cs, cs_text(vm, "id"));
    size_t i;

    json_array_foreach (volumes, i, volume) {
        CLEANUP(free_charp) char *file = cs_volume_file(cs, volume);
        json_t *copy = cs_public(volume);

        cs_set_text(copy, "file", file);
        json_array_append_new(shown, copy);
    }
    json_decref(volumes);
    json_object_set_new(out, "volumes", shown);
    if (boot) {
        json_object_set_new(out, "boot", boot_state(boot));
        json_object_set_new(out, "started_at_ms", json_integer((json_int_t)boot->started_at_ms));
    }
    return out;
}

json_t *
lab_cloudstack_state(const struct lab *lab)
{
    struct lab_cloudstack *cs = lab->cloudstack;
    json_t *vms = json_array(), *volumes = json_array(), *item;
    size_t i;

    SCOPE_LOCK(&cs->mutex);
    cs_refresh_vms(cs);
    json_array_foreach (cs_all(cs, "vm"), i, item) {
        json_array_append_new(vms, vm_state(cs, item));
    }
    json_array_foreach (cs_all(cs, "volume"), i, item) {
        CLEANUP(free_charp) char *file = cs_volume_file(cs, item);
        json_t *copy = cs_public(item);

        cs_set_text(copy, "file", file);
        json_array_append_new(volumes, copy);
    }
    return json_pack("{s:o,s:o,s:i}", "vms", vms, "volumes", volumes, "jobs", (int)cs->jobs.count);
}
