/* What a webhook is sent: the body, its signature, and one exchange. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/webhooks.h"
#include "base/clock.h"
#include "net/net.h"

#define MAX_ANSWER (1 * MIB) /* of which nothing is kept */
#define MAX_HEADER 128

void
delivery_done(struct delivery *delivery)
{
    free(delivery->id);
    free(delivery->body);
}

char *
webhook_origin(const char *url)
{
    const char *host = strstr(url, "://");

    host = host ? host + 3 : url;
    return strndup(url, (size_t)(host - url) + strcspn(host, "/?#"));
}

/* ---- which of all -------------------------------------------------------------------------------- */

static char *
join_lines(const struct config_words *words)
{
    struct str text = STR_INIT(MIB);

    if (!words->count)
        return NULL;
    str_append(&text, "\n");
    for (size_t i = 0; i < words->count; i++)
        str_appendf(&text, "%s\n", words->items[i]);
    return str_take(&text);
}

void
webhook_filter_init(const struct config_webhook *webhook, struct webhook_filter *ret)
{
    *ret = (struct webhook_filter){.waves = join_lines(&webhook->waves),
                                   .environments = join_lines(&webhook->environments)};
    ret->wanted.waves = ret->waves;
    ret->wanted.environments = ret->environments;
    for (size_t i = 0; i < webhook->events.count; i++) {
        int event;

        if (store_transition_from_name(webhook->events.items[i], &event))
            ret->wanted.events |= 1ULL << event;
    }
    if (!webhook->events.count)
        ret->wanted.events = (1ULL << TRANSITION_MAX_) - 1;
}

void
webhook_filter_done(struct webhook_filter *filter)
{
    free(filter->waves);
    free(filter->environments);
}

/* ---- the body ------------------------------------------------------------------------------------ */

static json_t *
time_json(int64_t wall_ms)
{
    char seconds[32];
    CLEANUP(free_charp) char *text = NULL;

    clock_format_utc(wall_ms / 1000, seconds);
    text = xasprintf("%.19s.%03dZ", seconds, (int)(wall_ms % 1000));
    return json_string(text);
}

static const char *const event_types[TRANSITION_MAX_] = {
    [JOB_QUEUED] = "job.queued",
    [JOB_RUNNING] = "job.running",
    [JOB_WAITING] = "job.waiting",
    [JOB_COMPLETED] = "job.completed",
    [JOB_FAILED] = "job.failed",
    [JOB_STOPPED] = "job.stopped",
    [JOB_CANCELLED] = "job.cancelled",
    [TRANSITION_STAGE] = "job.stage",
    [TRANSITION_NEEDS_PERSON] = "job.needs_person",
};

static char *
dump(json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);

    if (!text)
        abort(); /* out of memory: every string in it is UTF-8 */
    json_decref(o);
    return text;
}

void
delivery_of(const struct config_webhook *webhook, const struct store_transition *t,
            struct delivery *ret)
{
    int event = MIN(MAX(t->event, 0), TRANSITION_MAX_ - 1);
    CLEANUP(free_charp) char *link = xasprintf("/#/jobs/%s", t->job_id);
    json_t *o = json_object();

    ret->event = event_types[event];
    ret->id = xstrdup(t->event_id);
    json_object_set_new(o, "id", json_text(t->event_id));
    json_object_set_new(o, "type", json_string(ret->event));
    json_object_set_new(o, "at", time_json(t->at_ms));
    json_object_set_new(o, "webhook", json_text(webhook->name));
    json_object_set_new(o, "job_id", json_text(t->job_id));
    json_object_set_new(o, "kind",
                        json_string(store_job_kind_name(
                            (enum store_job_kind)MIN(MAX(t->kind, 0), JOB_KIND_MAX_ - 1))));
    json_object_set_new(o, "vm_name", json_text(t->vm_name));
    json_object_set_new(o, "vm_moref", json_text(t->vm_moref));
    json_object_set_new(o, "vcenter", json_text(t->vcenter));
    json_object_set_new(o, "cloudstack", json_text(t->cloudstack));
    json_object_set_new(o, "wave", json_text(t->wave));
    json_object_set_new(o, "state",
                        json_string(store_job_state_name(
                            (enum store_job_state)MIN(MAX(t->state, 0), JOB_STATE_MAX_ - 1))));
    json_object_set_new(o, "stage", json_text(t->stage));
    json_object_set_new(o, "error", api_error_json(t->error, t->error_code, t->error_hint));
    json_object_set_new(o, "required_action", json_text(t->required_action));
    json_object_set_new(o, "link", json_text(link));
    ret->body = dump(o);
}

int
delivery_of_test(const struct config_webhook *webhook, struct delivery *ret, struct err **err)
{
    char *id = crypto_random_text("test-", 16, err);
    json_t *o;

    if (!id)
        return -1;
    o = json_pack("{s:o, s:s, s:o, s:o}", "id", json_text(id), "type", "test", "at",
                  time_json(clock_wall_ms()), "webhook", json_text(webhook->name));
    *ret = (struct delivery){.event = "test", .id = id, .body = dump(o)};
    return 0;
}

/* ---- one exchange -------------------------------------------------------------------------------- */

static int
ignore_answer(void *opaque, const void *data, size_t length, struct err **err)
{
    return 0;
}

/* The net room names URLs up to their query: a path may be a secret as well. */
static int
hide_path(const struct config_webhook *webhook, struct err **failure, struct err **err)
{
    size_t length = strcspn(webhook->url, "?#");
    CLEANUP(free_charp) char *origin = webhook_origin(webhook->url);
    const char *text = err_message(*failure);
    const char *hint = err_hint_text(*failure);

    if (!strncmp(text, webhook->url, length))
        text += length;
    else
        text = ": cannot be reached";
    err_set(err, err_code(*failure), "%s%s", origin, text);
    if (hint)
        err_hint(err, "%s", hint);
    return -1;
}

static int
judge(const struct config_webhook *webhook, long status, struct err **err)
{
    CLEANUP(free_charp) char *origin = webhook_origin(webhook->url);

    if (status >= 200 && status < 300)
        return 0;
    if (status >= 300 && status < 400)
        return err_set(err, E_NET, "%s: answered %ld: redirects are not followed", origin, status);
    return err_set(err, E_NET, "%s: answered %ld", origin, status);
}

static int
perform(const struct config_webhook *webhook, const struct net_request *request, long *ret_status,
        struct err **err)
{
    CLEANUP(free_charp) char *key = xasprintf("serve.webhooks[%s]", webhook->name);
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(net_client_freep) struct net_client *client = NULL;
    struct net_response response = {0};
    int rc = -1;

    client = net_client_new(&(struct net_trust){.ca_file = webhook->ca_file,
                                                .thumbprint = webhook->thumbprint,
                                                .is_insecure = webhook->is_insecure,
                                                .config_key = key},
                            err);
    if (!client)
        return -1;
    rc = net_perform(client, request, &response, &failure);
    *ret_status = response.status;
    net_response_done(&response);
    return rc < 0 ? hide_path(webhook, &failure, err) : judge(webhook, *ret_status, err);
}

int
delivery_send(const struct config_webhook *webhook, const struct delivery *delivery,
              const volatile int *cancel, long *ret_status, struct err **err)
{
    char event[MAX_HEADER], id[MAX_HEADER], timestamp[MAX_HEADER], signature[MAX_HEADER];
    int64_t now = clock_wall_s();
    CLEANUP(free_charp) char *signed_text = xasprintf("%" PRId64 ".%s", now, delivery->body);
    CLEANUP(free_charp) char *hmac = NULL;
    const char *const headers[] = {"Content-Type: application/json",
                                   "User-Agent: v2c-engine/" V2C_VERSION,
                                   event,
                                   id,
                                   timestamp,
                                   signature,
                                   NULL};

    *ret_status = 0;
    if (crypto_hmac(webhook->secret, signed_text, &hmac, err) < 0)
        return -1;
    snprintf(event, sizeof(event), "X-V2C-Event: %s", delivery->event);
    snprintf(id, sizeof(id), "X-V2C-Delivery: %s", delivery->id);
    snprintf(timestamp, sizeof(timestamp), "X-V2C-Timestamp: %" PRId64, now);
    snprintf(signature, sizeof(signature), "X-V2C-Signature: sha256=%s", hmac);
    return perform(webhook,
                   &(struct net_request){
                       .method = "POST",
                       .url = webhook->url,
                       .headers = headers,
                       .body = delivery->body,
                       .body_length = strlen(delivery->body),
                       .connect_timeout_ms = (int)webhook->timeout_seconds * 1000,
                       .timeout_ms = (int)webhook->timeout_seconds * 1000,
                       .max_response = MAX_ANSWER,
                       .is_once = true,
                       .on_body = ignore_answer,
                       .cancel = cancel,
                   },
                   ret_status, err);
}
