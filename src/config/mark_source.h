/* Inside config: `migration.mark_source`. */
#ifndef V2C_CONFIG_MARK_SOURCE_H
#define V2C_CONFIG_MARK_SOURCE_H

#include "base/doc.h"
#include "base/str.h"
#include "config/config.h"

#define CONFIG_MARK_UNSET ((struct config_mark){.note = -1, .rename = -1, .disconnect_nics = -1})

void mark_source_defaults(struct config_mark *mark);
/* Decodes `mark_source` of @migration; what is not there is left alone. */
void mark_source_decode(const struct node *migration, struct config_mark *mark,
                        struct problems *problems);
/* Fills what @mark does not have. */
void mark_source_fill(struct config_mark *mark, const struct config_mark *from);
/* As lines of the map `migration` of a spec. */
void mark_source_append_yaml(struct str *s, const struct config_mark *mark);

#endif
