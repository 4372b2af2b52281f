/* Inside source: whether an answer of v2c-vddk makes sense.  The process holds a library that is known
 * to crash; what it says is not believed. */
#ifndef V2C_SOURCE_VDDK_ANSWER_H
#define V2C_SOURCE_VDDK_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/extents.h"
#include "vddk/wire.h"

union vddk_answer {
    struct vddk_wire_header header;
    struct vddk_wire_open_answer open;
    struct vddk_wire_read_answer read;
    struct vddk_wire_extents_answer extents;
};

/* Bytes of an answer of that type; 0 when there is none. */
size_t vddk_answer_size(uint32_t type);
/* Whether the @size bytes are an answer of the right version and size; its text is made to end. */
bool vddk_answer_check(union vddk_answer *answer, size_t size);
/* Appends what is allocated; false when that does not lie in what was asked for. */
bool vddk_answer_extents(const struct vddk_wire_extents_answer *answer, uint64_t offset,
                         uint64_t length, struct extents *extents);

#endif
