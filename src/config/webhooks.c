#include "config/webhooks.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/util.h"
#include "config/credentials.h"
#include "config/values.h"

#define MAX_WEBHOOKS  16
#define MAX_NAME      64
#define MAX_URL       2048
#define MAX_WORDS     1000
#define MIN_SECRET    16
#define TIMEOUT_S     10
#define MAX_TIMEOUT_S 60
#define GIVE_UP_S     (24 * 3600)

/* The states of a job, and what else there is to tell. */
static const char *const events[] = {"queued",  "running",   "waiting", "completed",    "failed",
                                     "stopped", "cancelled", "stage",   "needs_person", NULL};

static void
words_done(struct config_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    vec_done(words);
}

static void
webhook_done(struct config_webhook *webhook)
{
    free(webhook->name);
    free(webhook->url);
    free(webhook->secret);
    free(webhook->ca_file);
    free(webhook->thumbprint);
    words_done(&webhook->events);
    words_done(&webhook->waves);
    words_done(&webhook->environments);
}

void
webhooks_done(struct config_webhooks *webhooks)
{
    for (size_t i = 0; i < webhooks->count; i++)
        webhook_done(&webhooks->items[i]);
    vec_done(webhooks);
}

bool
webhooks_hold_secret(const struct node *list)
{
    for (size_t i = 0; list && node_kind(list) == NODE_LIST && i < node_count(list); i++)
        if (node_get(node_item(list, i), "secret"))
            return true;
    return false;
}

/* ---- values ------------------------------------------------------------------------------------ */

/* It stands in paths of the API, in labels of metrics, and in names of credentials. */
static bool
is_name(const char *text)
{
    if (!isalnum((unsigned char)*text) || strlen(text) > MAX_NAME)
        return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return false;
    return true;
}

static bool
is_loopback(const char *host)
{
    return !strncasecmp(host, "localhost", 9) || !strncmp(host, "127.", 4) ||
           !strncmp(host, "[::1]", 5);
}

/* libcurl would send a user in the URL along, where everybody who sees the URL sees it. */
static void
check_url(const struct node *map, const char *url, struct problems *problems)
{
    const struct node *node = node_get(map, "url");
    bool is_plain = !strncasecmp(url, "http://", 7);
    const char *host = url + (is_plain ? 7 : 8);
    size_t length;

    if (!is_plain && strncasecmp(url, "https://", 8) != 0) {
        problems_add(problems, node, "expected an address such as https://hooks.example.com/v2c");
        return;
    }
    length = strcspn(host, "/?#");
    if (!length || strlen(url) > MAX_URL || strpbrk(url, " \t\"<>\\^`{|}"))
        problems_add(problems, node,
                     "expected a host, and no blanks or quotes, in at most %d bytes", MAX_URL);
    else if (memchr(host, '@', length))
        problems_add(problems, node,
                     "expected no user and password in the address; deliveries are signed with "
                     "`secret` instead");
    else if (is_plain && !is_loopback(host))
        problems_warn(problems, node,
                      "http is not encrypted: names of VMs and errors can be read "
                      "on the way; write https://");
}

static void
decode_words(const struct node *map, const char *key, struct config_words *words,
             struct problems *problems)
{
    const struct node *list = node_decode_list(map, key, problems);

    if (list && node_count(list) > MAX_WORDS) {
        problems_add(problems, list, "more than %d", MAX_WORDS);
        return;
    }
    for (size_t i = 0; list && i < node_count(list); i++) {
        const struct node *item = node_item(list, i);

        if (node_kind(item) != NODE_SCALAR || !*node_text(item) || strchr(node_text(item), '\n'))
            problems_add(problems, item, "expected a word");
        else
            vec_push(words, xstrdup(node_text(item)));
    }
}

static void
check_events(const struct node *map, const struct config_words *words, struct problems *problems)
{
    for (size_t i = 0; i < words->count; i++) {
        size_t known = 0;

        while (events[known] && strcmp(events[known], words->items[i]) != 0)
            known++;
        if (!events[known])
            problems_add(problems, node_get(map, "events"),
                         "%s is none of queued, running, waiting, completed, failed, stopped, "
                         "cancelled, stage and needs_person",
                         words->items[i]);
    }
}

static void
decode_secret(const struct node *map, struct config_webhook *webhook, struct problems *problems)
{
    CLEANUP(free_charp)
    char *credential = xasprintf("webhook-%s", webhook->name ? webhook->name : "");

    decode_text(map, "secret", &webhook->secret, problems);
    credential_decode(map, "secret_file", credential, &webhook->secret, problems);
    if (webhook->secret && strlen(webhook->secret) < MIN_SECRET)
        problems_add(problems, map,
                     "the secret has less than %d characters; `openssl rand -hex 32` makes one",
                     MIN_SECRET);
}

/* ---- one, and all ------------------------------------------------------------------------------ */

static void
decode_name(const struct node *map, const struct config_webhooks *others, char **name,
            struct problems *problems)
{
    decode_text(map, "name", name, problems);
    if (!*name || !is_name(*name)) {
        problems_add(problems, map, "expected a `name` of at most %d letters, digits, . - and _",
                     MAX_NAME);
        return;
    }
    for (size_t i = 0; i < others->count; i++)
        if (others->items[i].name && !strcmp(others->items[i].name, *name))
            problems_add(problems, map, "there is a webhook %s already", *name);
}

static void
decode_one(const struct node *map, const struct config_webhooks *others,
           struct config_webhook *webhook, struct problems *problems)
{
    static const char *const keys[] = {"name",
                                       "url",
                                       "secret",
                                       "secret_file",
                                       "events",
                                       "waves",
                                       "environments",
                                       "timeout_seconds",
                                       "give_up_seconds",
                                       "insecure",
                                       "ca_file",
                                       "thumbprint",
                                       NULL};
    int is_insecure = false;

    node_check_keys(map, keys, problems);
    decode_name(map, others, &webhook->name, problems);
    decode_text(map, "url", &webhook->url, problems);
    if (webhook->url)
        check_url(map, webhook->url, problems);
    else
        problems_add(problems, map, "`url` is missing");
    decode_secret(map, webhook, problems);
    decode_words(map, "events", &webhook->events, problems);
    check_events(map, &webhook->events, problems);
    decode_words(map, "waves", &webhook->waves, problems);
    decode_words(map, "environments", &webhook->environments, problems);
    decode_count(map, "timeout_seconds", MAX_TIMEOUT_S, &webhook->timeout_seconds, problems);
    decode_interval(map, "give_up_seconds", &webhook->give_up_seconds, problems);
    decode_flag(map, "insecure", &is_insecure, problems);
    webhook->is_insecure = is_insecure;
    decode_text(map, "ca_file", &webhook->ca_file, problems);
    config_check_file(map, "ca_file", webhook->ca_file, problems);
    decode_text(map, "thumbprint", &webhook->thumbprint, problems);
    config_check_thumbprint(map, webhook->thumbprint, problems);
}

void
webhooks_decode(const struct node *list, struct config_webhooks *webhooks,
                struct problems *problems)
{
    if (list && node_count(list) > MAX_WEBHOOKS) {
        problems_add(problems, list, "more than %d webhooks", MAX_WEBHOOKS);
        return;
    }
    for (size_t i = 0; list && i < node_count(list); i++) {
        struct config_webhook webhook = {.timeout_seconds = TIMEOUT_S,
                                         .give_up_seconds = GIVE_UP_S};

        if (node_kind(node_item(list, i)) != NODE_MAP) {
            problems_add(problems, node_item(list, i), "expected a map with name, url and secret");
            continue;
        }
        decode_one(node_item(list, i), webhooks, &webhook, problems);
        vec_push(webhooks, webhook);
    }
}

/* Other commands read the file as well, where the service's credentials are not theirs. */
int
config_check_serve(const struct config *config, struct err **err)
{
    for (size_t i = 0; i < config->serve.webhooks.count; i++) {
        const struct config_webhook *webhook = &config->serve.webhooks.items[i];

        if (webhook->secret)
            continue;
        err_set(err, E_CONFIG, "%s: the webhook %s has no secret: nothing would be signed",
                config->path, webhook->name);
        return err_hint(err,
                        "set `secret` or `secret_file`, or give the service the systemd credential "
                        "webhook-%s; `openssl rand -hex 32` makes one",
                        webhook->name);
    }
    return 0;
}
