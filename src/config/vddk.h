/* Inside config: `migration.vddk`, of config.yaml and of specs: how VDDK is used. */
#ifndef V2C_CONFIG_VDDK_H
#define V2C_CONFIG_VDDK_H

#include "base/doc.h"
#include "base/str.h"
#include "config/config.h"

#define CONFIG_VDDK_UNSET                                                                          \
    ((struct config_vddk){.compression = -1, .is_unbuffered = -1, .log_level = -1})

void vddk_defaults(struct config_vddk *vddk);
/* Decodes `vddk` of @migration; what is not there is left alone. */
void vddk_decode(const struct node *migration, struct config_vddk *vddk, struct problems *problems);
/* Fills what @vddk does not have. */
void vddk_fill(struct config_vddk *vddk, const struct config_vddk *from);
/* Whether the values suit each other; @place is for the message. */
void vddk_check(const struct config_vddk *vddk, const struct node *place,
                struct problems *problems);
/* As lines of the map `migration` of a spec. */
void vddk_append_yaml(struct str *s, const struct config_vddk *vddk);

#endif
