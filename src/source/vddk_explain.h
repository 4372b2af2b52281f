/* What v2c-vddk reports, told to a person.  Internal to source. */
#ifndef V2C_SOURCE_VDDK_EXPLAIN_H
#define V2C_SOURCE_VDDK_EXPLAIN_H

#include "source/source.h"
#include "vddk/wire.h"

/* Whether the host had no memory for what it was asked. */
bool vddk_is_memory(const struct vddk_wire_result *result);

/* Sets the error for a disk that could not be opened.  Asks the server for its certificate where that
 * tells a wrong thumbprint from the rest.  Returns -1. */
int vddk_explain_open(const struct source_vddk_options *options,
                      const struct vddk_wire_result *result, struct err **err);
/* The same for a read.  @result's text is terminated. */
int vddk_explain_read(uint64_t offset, const struct vddk_wire_result *result, struct err **err);

#endif
