/* Credentials that stand in files of their own, and in the profiles of CloudStack's other clients. */
#ifndef V2C_CONFIG_CREDENTIALS_H
#define V2C_CONFIG_CREDENTIALS_H

#include "base/doc.h"
#include "config/config.h"

/* Fills *value, where it is not set, from the file that @map names by @key ("password_file"), else from the
 * systemd credential @name ($CREDENTIALS_DIRECTORY/@name).  A file that others can read is a problem, and
 * so is one beside a value. */
void credential_decode(const struct node *map, const char *key, const char *name, char **value,
                       struct problems *problems);
/* `cloudstack.profile`: "cmk:NAME" of CloudMonkey's ~/.cmk/config, "cs:REGION" of cs's cloudstack.ini; fills
 * what is not set of endpoint and keys. */
void credential_profile(const struct node *map, struct config *config, struct problems *problems);

#endif
