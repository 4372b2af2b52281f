#include "source/vddk_answer.h"

size_t
vddk_answer_size(uint32_t type)
{
    switch (type) {
    case VDDK_WIRE_OPEN:
        return sizeof(struct vddk_wire_open_answer);
    case VDDK_WIRE_READ:
        return sizeof(struct vddk_wire_read_answer);
    case VDDK_WIRE_EXTENTS:
        return sizeof(struct vddk_wire_extents_answer);
    case VDDK_WIRE_CLOSE:
        return sizeof(struct vddk_wire_header);
    default:
        return 0;
    }
}

bool
vddk_answer_check(union vddk_answer *answer, size_t size)
{
    struct vddk_wire_result *result = &answer->read.result; /* at the same place in every answer */

    if (size < sizeof(answer->header) || answer->header.version != VDDK_WIRE_VERSION ||
        size != vddk_answer_size(answer->header.type))
        return false;
    if (size >= sizeof(answer->read))
        result->text[sizeof(result->text) - 1] = '\0';
    return true;
}

bool
vddk_answer_extents(const struct vddk_wire_extents_answer *answer, uint64_t offset, uint64_t length,
                    struct extents *extents)
{
    if (answer->covered == 0 || answer->covered > length || answer->count > VDDK_WIRE_MAX_EXTENTS)
        return false;
    for (uint32_t i = 0; i < answer->count; i++) {
        uint64_t from = answer->extents[i].offset, size = answer->extents[i].length;

        if (from < offset || size == 0 || size > answer->covered ||
            from - offset > answer->covered - size)
            return false;
    }
    for (uint32_t i = 0; i < answer->count; i++)
        vec_push(extents, (struct extent){answer->extents[i].offset, answer->extents[i].length});
    return true;
}
