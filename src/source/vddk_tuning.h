/* Inside source: the settings of a session, from what is asked for to what v2c-vddk is told. */
#ifndef V2C_SOURCE_VDDK_TUNING_H
#define V2C_SOURCE_VDDK_TUNING_H

#include "source/source.h"
#include "vddk/wire.h"

/* Fills in what @tuning says, or stands for when it says nothing.  E_LIMIT for what a session cannot
 * have. */
int vddk_tuning_fill(const struct source_vddk_tuning *tuning, struct vddk_wire_open *open,
                     struct err **err);
/* Whether one more memory_step would make the session smaller. */
bool vddk_tuning_has_smaller(const struct source_vddk_tuning *tuning);

#endif
