/* `serve.webhooks`. */
#ifndef V2C_CONFIG_WEBHOOKS_H
#define V2C_CONFIG_WEBHOOKS_H

#include "base/doc.h"
#include "config/config.h"

void webhooks_decode(const struct node *list, struct config_webhooks *webhooks,
                     struct problems *problems);
void webhooks_done(struct config_webhooks *webhooks);
/* Whether a secret stands in the file itself. */
bool webhooks_hold_secret(const struct node *list);

#endif
