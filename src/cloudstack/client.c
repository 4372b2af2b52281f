/* The client: one signed exchange, lists over all pages, what the server can do.
 *
 * Everything is POST, reading calls too: so keys and signatures stand in no URL and thereby in no log
 * of a proxy or of Tomcat. */
#include "cloudstack/internal.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/util.h"

#define EXPIRES_AFTER_S 600 /* servers that enforce it allow at most 15 minutes */
#define DEFAULT_TIMEOUT 45000
#define READ_TRIES      3
#define PAGE_SIZE       500 /* default.page.size: more is refused by a server left as installed */
#define MAX_PAGES       2000
#define MAX_ANSWER      (64U * 1024 * 1024)
#define PAUSE_STEP_MS   100

/* Commands that show only the caller's own resources unless told otherwise. */
static const char *const OWNED_LISTS[] = {
    "listVirtualMachines",  "listVolumes",       "listNetworks",
    "listServiceOfferings", "listDiskOfferings", "listAccounts",
    "listDomains",          "listProjects",      "listTags",
    "listTemplates",
};

int
cloudstack_pause(const struct cloudstack *cs, int64_t ms, struct err **err)
{
    int64_t end = clock_monotonic_ms() + ms, left;

    for (;;) {
        if (cs->cancel && *cs->cancel)
            return err_set(err, E_CANCELLED, "stopped while waiting for CloudStack");
        left = end - clock_monotonic_ms();
        if (left <= 0)
            return 0;
        clock_sleep_ms(MIN(left, PAUSE_STEP_MS));
    }
}

static long long
note_date(struct cloudstack *cs, long long server_date)
{
    SCOPE_LOCK(&cs->mutex);
    if (server_date) {
        cs->skew_s = server_date - clock_wall_s();
        cs->is_skew_known = true;
    }
    return cs->skew_s;
}

static int
exchange(struct cloudstack *cs, enum call_kind kind, const char *command,
         const struct cloudstack_params *params, json_t **ret_answer, struct err **err)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8",
        "Accept: application/json",
        NULL,
    };
    struct net_request request = {
        .method = "POST",
        .url = cs->endpoint,
        .headers = headers,
        .timeout_ms = cs->timeout_ms,
        .max_response = MAX_ANSWER,
        .is_once = kind == CALL_WRITE,
        .cancel = cs->cancel,
    };
    struct net_response response = {0};
    struct str form = STR_INIT(4 * 1024 * 1024);
    int result;

    form_sign(&form, command, params, cs->api_key, cs->secret_key,
              clock_wall_s() + EXPIRES_AFTER_S);
    if (str_check(&form, "the request", err) < 0) {
        str_done(&form);
        return err_wrap(err, "%s", command);
    }
    request.body = form.data;
    request.body_length = form.length;
    result = net_perform(cs->net, &request, &response, err);
    str_done(&form);
    if (result < 0)
        err_wrap(err, "CloudStack %s", command);
    else
        result = envelope_open(cs, command, response.status, str_text(&response.body),
                               response.body.length, note_date(cs, response.server_date),
                               ret_answer, err);
    net_response_done(&response);
    return result;
}

/* Faults after which asking again makes sense; a wrong name or certificate stays wrong. */
static bool
is_passing(enum err_code code)
{
    return code == E_NET || code == E_TIMEOUT || code == E_CS_BUSY || code == E_CS_PROTOCOL;
}

int
cloudstack_call(struct cloudstack *cs, enum call_kind kind, const char *command,
                const struct cloudstack_params *params, json_t **ret_answer, struct err **err)
{
    int64_t pause_ms = cs->pause_ms;

    for (int tries = 1;; tries++) {
        CLEANUP(err_freep) struct err *failure = NULL;

        if (exchange(cs, kind, command, params, ret_answer, &failure) == 0)
            return 0;
        if (kind == CALL_WRITE || tries == READ_TRIES || !is_passing(err_code(failure)))
            return err_move(err, &failure);
        if (cloudstack_pause(cs, pause_ms, err) < 0)
            return -1;
        pause_ms *= 2;
    }
}

int
cloudstack_submit(struct cloudstack *cs, const char *command,
                  const struct cloudstack_params *params, char **ret_job_id, struct err **err)
{
    CLEANUP(json_freep) json_t *answer = NULL;
    const char *job_id;

    if (cloudstack_call(cs, CALL_WRITE, command, params, &answer, err) < 0)
        return -1;
    job_id = json_string_value(json_object_get(answer, "jobid"));
    if (!job_id || !*job_id)
        return err_set(err, E_CS_PROTOCOL, "CloudStack answered %s without a job id", command);
    *ret_job_id = xstrdup(job_id);
    return 0;
}

/* ---- lists ------------------------------------------------------------------------------------ */

static void
add_scope(struct cloudstack_params *all, const char *command)
{
    if (params_get(all, "listall") || params_get(all, "account"))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(OWNED_LISTS); i++)
        if (!strcmp(command, OWNED_LISTS[i]))
            params_add(all, "listall", "true");
}

static int
fetch_page(struct cloudstack *cs, const char *command, const struct cloudstack_params *params,
           int page, int page_size, json_t **ret_answer, struct err **err)
{
    struct cloudstack_params all = {0};
    CLEANUP(free_charp) char *page_text = xasprintf("%d", page);
    CLEANUP(free_charp) char *size_text = xasprintf("%d", page_size);
    int result;

    for (size_t i = 0; params && i < params->count; i++)
        params_add(&all, params->items[i].name, params->items[i].value);
    /* listApis and listDetailOptions have no pages. */
    if (strcmp(command, "listApis") && strcmp(command, "listDetailOptions")) {
        params_add(&all, "page", page_text);
        params_add(&all, "pagesize", size_text);
    }
    add_scope(&all, command);
    result = cloudstack_call(cs, CALL_READ, command, &all, ret_answer, err);
    params_done(&all);
    return result;
}

/* "The parameter pagesize exceeded its max value - 100": the 100; 0 for any other error. */
static int
allowed_page_size(const struct err *err)
{
    const char *words = "exceeded its max value - ";
    const char *at = strstr(err_message(err), words);
    long size = at ? strtol(at + strlen(words), NULL, 10) : 0;

    return size > 0 && size < PAGE_SIZE ? (int)size : 0;
}

static int
get_page_size(struct cloudstack *cs)
{
    SCOPE_LOCK(&cs->mutex);
    return cs->max_page_size;
}

/* The first page, which finds out how large a page may be. */
static int
fetch_first(struct cloudstack *cs, const char *command, const struct cloudstack_params *params,
            int *page_size, json_t **ret_answer, struct err **err)
{
    CLEANUP(err_freep) struct err *failure = NULL;
    int allowed;

    if (fetch_page(cs, command, params, 1, *page_size, ret_answer, &failure) == 0)
        return 0;
    allowed = allowed_page_size(failure);
    if (!allowed || allowed >= *page_size)
        return err_move(err, &failure);
    *page_size = allowed;
    pthread_mutex_lock(&cs->mutex);
    cs->max_page_size = allowed;
    pthread_mutex_unlock(&cs->mutex);
    return fetch_page(cs, command, params, 1, allowed, ret_answer, err);
}

int
cloudstack_list(struct cloudstack *cs, const char *command, const struct cloudstack_params *params,
                json_t **ret_items, struct err **err)
{
    CLEANUP(json_freep) json_t *items = json_array();
    int page_size = get_page_size(cs);

    for (int page = 1; page <= MAX_PAGES; page++) {
        CLEANUP(json_freep) json_t *answer = NULL;
        json_t *array;
        size_t got;

        if ((page == 1 ? fetch_first(cs, command, params, &page_size, &answer, err)
                       : fetch_page(cs, command, params, page, page_size, &answer, err)) < 0)
            return -1;
        array = envelope_array(answer);
        got = json_array_size(array);
        /* A command that knows no pages sends the same list again. */
        if (got == 0 ||
            (page > 1 && json_equal(json_array_get(array, 0), json_array_get(items, 0))))
            break;
        json_array_extend(items, array);
        if (got != (size_t)page_size && (json_int_t)json_array_size(items) >=
                                            json_integer_value(json_object_get(answer, "count")))
            break;
        if (page == MAX_PAGES)
            return err_set(err, E_LIMIT, "%s has more than %d pages", command, MAX_PAGES);
    }
    *ret_items = take(items);
    return 0;
}

/* ---- what the server can do ------------------------------------------------------------------- */

static const struct known_command *
find_command(const struct cloudstack *cs, const char *command)
{
    for (size_t i = 0; i < cs->commands.count; i++)
        if (!strcasecmp(cs->commands.items[i].name, command))
            return &cs->commands.items[i];
    return NULL;
}

static bool
has_name(const json_t *params, const char *name)
{
    const json_t *param;
    size_t i;

    json_array_foreach (params, i, param) {
        const char *text = json_string_value(json_object_get(param, "name"));

        if (text && !strcasecmp(text, name))
            return true;
    }
    return false;
}

/* mutex held.  1 yes, 0 no, -1 not asked yet. */
static int
look_up_param(const struct cloudstack *cs, const char *command, const char *param)
{
    const struct known_command *known = find_command(cs, command);

    return known ? has_name(known->params, param) : -1;
}

static void
remember(struct cloudstack *cs, const char *command, json_t *params)
{
    SCOPE_LOCK(&cs->mutex);
    if (!find_command(cs, command)) {
        struct known_command known = {xstrdup(command), json_incref(params)};

        vec_push(&cs->commands, known);
    }
}

int
cloudstack_has_param(struct cloudstack *cs, const char *command, const char *param, bool *ret_has,
                     struct err **err)
{
    struct cloudstack_params params = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    CLEANUP(err_freep) struct err *failure = NULL;
    int known, result;

    pthread_mutex_lock(&cs->mutex);
    known = look_up_param(cs, command, param);
    pthread_mutex_unlock(&cs->mutex);
    if (known >= 0) {
        *ret_has = known;
        return 0;
    }
    params_add(&params, "name", command);
    result = cloudstack_call(cs, CALL_READ, "listApis", &params, &answer, &failure);
    params_done(&params);
    /* An API that does not exist or is not allowed is an error, not an empty list. */
    if (result < 0 && err_code(failure) != E_CS_API && err_code(failure) != E_CS_NOT_FOUND)
        return err_move(err, &failure);
    remember(
        cs, command,
        json_object_get(json_array_get(result < 0 ? NULL : envelope_array(answer), 0), "params"));
    pthread_mutex_lock(&cs->mutex);
    *ret_has = look_up_param(cs, command, param) == 1;
    pthread_mutex_unlock(&cs->mutex);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------- */

static int
ask_capabilities(struct cloudstack *cs, struct err **err)
{
    CLEANUP(json_freep) json_t *answer = NULL;
    const char *version;

    if (cloudstack_call(cs, CALL_READ, "listCapabilities", NULL, &answer, err) < 0)
        return -1;
    version = json_string_value(
        json_object_get(json_object_get(answer, "capability"), "cloudstackversion"));
    if (!version)
        return err_set(err, E_CS_PROTOCOL, "listCapabilities tells no CloudStack version");
    cs->version = xstrdup(version);
    cs->capabilities = json_incref(json_object_get(answer, "capability"));
    return 0;
}

int
cloudstack_connect(const struct cloudstack_options *options, struct cloudstack **ret_cs,
                   struct err **err)
{
    CLEANUP(cloudstack_freep) struct cloudstack *cs = xcalloc(1, sizeof(*cs));

    pthread_mutex_init(&cs->mutex, NULL);
    cs->pause_ms = clock_patience_ms(500);
    cs->poll_ms = 2000;
    cs->max_page_size = PAGE_SIZE;
    if (!options->endpoint || !options->api_key || !*options->api_key || !options->secret_key ||
        !*options->secret_key)
        return err_set(err, E_CONFIG, "cloudstack.endpoint, api_key and secret_key are needed");
    cs->endpoint = cloudstack_normalize_endpoint(options->endpoint, err);
    if (!cs->endpoint)
        return -1;
    cs->api_key = xstrdup(options->api_key);
    cs->secret_key = xstrdup(options->secret_key);
    cs->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT;
    cs->cancel = options->cancel;
    cs->net = net_client_new(&options->trust, err);
    if (!cs->net || ask_capabilities(cs, err) < 0)
        return -1;
    *ret_cs = take(cs);
    return 0;
}

const char *
cloudstack_version(const struct cloudstack *cs)
{
    return cs->version;
}

const json_t *
cloudstack_capabilities(const struct cloudstack *cs)
{
    return cs->capabilities;
}

bool
cloudstack_clock_skew(struct cloudstack *cs, int64_t *ret_skew_s)
{
    SCOPE_LOCK(&cs->mutex);
    if (cs->is_skew_known)
        *ret_skew_s = cs->skew_s;
    return cs->is_skew_known;
}

void
cloudstack_free(struct cloudstack *cs)
{
    if (!cs)
        return;
    net_client_free(cs->net);
    for (size_t i = 0; i < cs->commands.count; i++) {
        free(cs->commands.items[i].name);
        json_decref(cs->commands.items[i].params);
    }
    vec_done(&cs->commands);
    free(cs->endpoint);
    free(cs->api_key);
    if (cs->secret_key)
        explicit_bzero(cs->secret_key, strlen(cs->secret_key));
    free(cs->secret_key);
    free(cs->version);
    json_decref(cs->capabilities);
    pthread_mutex_destroy(&cs->mutex);
    free(cs);
}

void
cloudstack_freep(struct cloudstack **cs)
{
    cloudstack_free(*cs);
}
