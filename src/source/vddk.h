/* Inside source: what vddk.c and vddk_pair.c know of each other. */
#ifndef V2C_SOURCE_VDDK_H
#define V2C_SOURCE_VDDK_H

#include "source/source.h"

/* As source_vddk_open, but without a smaller session where the host has no memory. */
int vddk_open_once(const struct source_vddk_options *options, struct disk_source **ret_source,
                   struct err **err);
/* Of a pair its first source, else @source itself. */
const struct disk_source *vddk_pair_first(const struct disk_source *source);

#endif
