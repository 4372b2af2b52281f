/* `migration.host_bandwidth`: what single ESXi hosts may be read at. */
#include <stdlib.h>
#include <strings.h>

#include "base/util.h"
#include "config/values.h"

#define MAX_HOSTS 1000

static const struct config_host_rate *
find(const struct config_host_rates *rates, const char *host)
{
    for (size_t i = 0; i < rates->count; i++)
        if (!strcasecmp(rates->items[i].host, host))
            return &rates->items[i];
    return NULL;
}

void
host_rates_decode(const struct node *map, struct config_host_rates *rates,
                  struct problems *problems)
{
    if (map && node_count(map) > MAX_HOSTS) {
        problems_add(problems, map, "more than %d hosts", MAX_HOSTS);
        return;
    }
    for (size_t i = 0; map && i < node_count(map); i++) {
        const char *host = node_key(map, i);
        struct config_host_rate rate = {0};

        if (!*host || find(rates, host)) {
            problems_add(problems, node_item(map, i),
                         *host ? "the host stands here twice" : "expected the name of a host");
            continue;
        }
        decode_rates(map, host, &rate.rates, problems);
        if (!rate.rates.text[0]) /* blank, or told as a problem */
            continue;
        rate.host = xstrdup(host);
        vec_push(rates, rate);
    }
}

void
host_rates_done(struct config_host_rates *rates)
{
    for (size_t i = 0; i < rates->count; i++)
        free(rates->items[i].host);
    vec_done(rates);
}

const struct rate_schedule *
config_host_bandwidth(const struct config *config, const char *host)
{
    const struct config_host_rate *own = find(&config->migration.host_rates, host);

    return own ? &own->rates : &config->migration.host_bandwidth;
}
