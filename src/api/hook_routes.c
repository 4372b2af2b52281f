/* What the API and the metrics say of webhooks, and a delivery that shows whether one works. */
#include <inttypes.h>
#include <string.h>

#include "api/handlers.h"
#include "api/webhooks.h"
#include "base/clock.h"

static json_t *
words_json(const struct config_words *words)
{
    json_t *array = json_array();

    for (size_t i = 0; i < words->count; i++)
        json_array_append_new(array, json_text(words->items[i]));
    return array;
}

static struct store_webhook *
find_known(struct store_webhooks *known, const char *name)
{
    for (size_t i = 0; i < known->count; i++)
        if (!strcmp(known->items[i].name, name))
            return &known->items[i];
    return NULL;
}

static int
count_pending(struct store *store, const struct config_webhook *webhook, int64_t *ret,
              struct err **err)
{
    CLEANUP(webhook_filter_done) struct webhook_filter filter;

    webhook_filter_init(webhook, &filter);
    return store_transition_count(store, webhook->name, &filter.wanted, ret, err);
}

static json_t *
webhook_json(const struct config_webhook *webhook, const struct store_webhook *known,
             int64_t pending)
{
    CLEANUP(free_charp) char *origin = webhook_origin(webhook->url);

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "name",
                     json_text(webhook->name), "url", json_text(origin), "events",
                     words_json(&webhook->events), "waves", words_json(&webhook->waves),
                     "environments", words_json(&webhook->environments), "delivered",
                     (json_int_t)known->delivered, "failed", (json_int_t)known->failed, "given_up",
                     (json_int_t)known->given_up, "pending", (json_int_t)pending, "delivered_at",
                     json_time(known->delivered_at), "failed_at", json_time(known->failed_at),
                     "error", json_text(known->error));
}

int
get_webhooks(struct request *r, struct err **err)
{
    const struct config_webhooks *webhooks = r->api->options.webhooks;
    struct store_webhooks known = {0};
    json_t *array = json_array();
    int rc = store_webhook_list(r->store, &known, err);

    for (size_t i = 0; rc == 0 && i < webhooks->count; i++) {
        const struct store_webhook *one = find_known(&known, webhooks->items[i].name);
        const struct store_webhook none = {0};
        int64_t pending = 0;

        rc = count_pending(r->store, &webhooks->items[i], &pending, err);
        json_array_append_new(array, webhook_json(&webhooks->items[i], one ? one : &none, pending));
    }
    store_webhooks_done(&known);
    if (rc == 0)
        return answer_json(r, MHD_HTTP_OK, array);
    json_decref(array);
    return -1;
}

/* ---- a test -------------------------------------------------------------------------------------- */

static const struct config_webhook *
find_configured(const struct request *r)
{
    const struct config_webhooks *webhooks = r->api->options.webhooks;

    for (size_t i = 0; i < webhooks->count; i++)
        if (!strcmp(webhooks->items[i].name, r->parts[0]))
            return &webhooks->items[i];
    return NULL;
}

int
test_webhook(struct request *r, struct err **err)
{
    const struct config_webhook *webhook = find_configured(r);
    CLEANUP(err_freep) struct err *failure = NULL;
    CLEANUP(delivery_done) struct delivery delivery = {0};
    int64_t began = clock_monotonic_ms();
    long status = 0;
    json_t *o;

    if (!webhook) {
        err_set(&failure, E_REQUEST, "there is no webhook %.64s", r->parts[0]);
        answer_error(r, MHD_HTTP_NOT_FOUND, failure);
        return 0;
    }
    if (delivery_of_test(webhook, &delivery, err) < 0)
        return -1;
    (void)delivery_send(webhook, &delivery, NULL, &status, &failure);
    o = json_pack("{s:b, s:o, s:s, s:I}", "ok", failure == NULL, "status",
                  status ? json_integer(status) : json_null(), "delivery", delivery.id,
                  "milliseconds", (json_int_t)(clock_monotonic_ms() - began));
    if (failure)
        json_object_set_new(o, "error", api_failure_json(failure));
    return answer_json(r, MHD_HTTP_OK, o);
}

/* ---- metrics ------------------------------------------------------------------------------------- */

/* Names need no escape: config/webhooks.c has seen to that. */
static void
append_results(struct str *out, const struct store_webhook *w)
{
    str_appendf(out,
                "v2c_webhook_deliveries_total{webhook=\"%s\",result=\"delivered\"} %" PRId64 "\n",
                w->name, w->delivered);
    str_appendf(out, "v2c_webhook_deliveries_total{webhook=\"%s\",result=\"failed\"} %" PRId64 "\n",
                w->name, w->failed);
    str_appendf(out,
                "v2c_webhook_deliveries_total{webhook=\"%s\",result=\"given_up\"} %" PRId64 "\n",
                w->name, w->given_up);
}

static int
append_pending(struct request *r, struct str *out, struct err **err)
{
    const struct config_webhooks *webhooks = r->api->options.webhooks;

    for (size_t i = 0; i < webhooks->count; i++) {
        int64_t pending = 0;

        if (count_pending(r->store, &webhooks->items[i], &pending, err) < 0)
            return -1;
        str_appendf(out, "v2c_webhook_pending{webhook=\"%s\"} %" PRId64 "\n",
                    webhooks->items[i].name, pending);
    }
    return 0;
}

int
webhook_metrics(struct request *r, struct str *out, struct err **err)
{
    struct store_webhooks known = {0};

    if (store_webhook_list(r->store, &known, err) < 0)
        return -1;
    metric_describe(out, "webhook_deliveries_total", "counter",
                    "Deliveries to webhooks; what failed was tried again, until it was given up.");
    for (size_t i = 0; i < known.count; i++)
        append_results(out, &known.items[i]);
    store_webhooks_done(&known);
    metric_describe(out, "webhook_pending", "gauge", "Deliveries that a webhook has yet to take.");
    return append_pending(r, out, err);
}
