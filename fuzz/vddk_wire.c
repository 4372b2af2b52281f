/* Both ends of the wire between the engine and v2c-vddk.  Byte 0 says which: bit 0 an answer, bit 1 a
 * packet that is filled up to the size its type should have. */
#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "source/vddk_answer.h"
#include "vddk/packet.h"

static void
check_open(const struct vddk_wire_open *open)
{
    MUST(strlen(open->libdir) < sizeof(open->libdir));
    MUST(strlen(open->password) < sizeof(open->password));
    MUST(strlen(open->disk_path) < sizeof(open->disk_path));
    MUST(strlen(open->transports) < sizeof(open->transports));
    MUST(strlen(open->tmp_dir) < sizeof(open->tmp_dir) && !strpbrk(open->tmp_dir, "\n\r\""));
    MUST(open->compression <= VDDK_WIRE_SKIPZ && open->is_buffered <= 1);
    MUST(open->nfc_buffer >= 1 && open->nfc_buffer <= VDDK_WIRE_MAX_NFC_BUFFER);
    MUST(open->nfc_buffer_count >= 1 &&
         (uint64_t)open->nfc_buffer * open->nfc_buffer_count <= VDDK_WIRE_MAX_NFC_TOTAL);
    MUST(open->log_level <= VDDK_WIRE_MAX_LOG_LEVEL + 1);
    MUST(open->port <= 65535 && open->slot_count >= 1 && open->slot_count <= PACKET_MAX_SLOTS);
}

static void
try_request(const uint8_t *data, size_t size, bool is_filled)
{
    static struct packet_state state;
    struct {
        uint8_t phase, slots, queries, busy;
        uint64_t capacity;
    } __attribute__((packed)) head;
    struct vddk_wire_header header = {0};
    size_t length, given;
    uint8_t *packet;

    fuzz_take(&data, &size, &head, sizeof(head));
    state.phase = head.phase % (PHASE_CLOSING + 1);
    state.slot_count = head.slots;
    state.queries = head.queries % (PACKET_MAX_QUERIES + 1);
    state.capacity = head.capacity;
    state.slot_busy[head.busy] = true;
    memcpy(&header, data, MIN(size, sizeof(header)));
    length = !is_filled                       ? size
             : header.type == VDDK_WIRE_OPEN  ? sizeof(struct vddk_wire_open)
             : header.type == VDDK_WIRE_CLOSE ? sizeof(struct vddk_wire_header)
                                              : sizeof(struct vddk_wire_range);
    packet = calloc(1, MAX(length, 1U));
    given = MIN(size, length);
    if (given)
        memcpy(packet, data, given);
    if (!packet_check(&state, packet, length)) {
        const struct vddk_wire_range *range = (const void *)packet;

        MUST(length >= sizeof(header));
        if (header.type == VDDK_WIRE_OPEN)
            check_open((const void *)packet);
        if (header.type == VDDK_WIRE_READ || header.type == VDDK_WIRE_EXTENTS) {
            MUST(state.phase == PHASE_OPEN && range->length > 0);
            MUST(range->offset < state.capacity && range->length <= state.capacity - range->offset);
        }
        if (header.type == VDDK_WIRE_READ)
            MUST(range->slot < state.slot_count && !state.slot_busy[range->slot] &&
                 range->slot_offset + range->length <= VDDK_WIRE_SLOT_BYTES);
    }
    state.slot_busy[head.busy] = false;
    free(packet);
}

static void
try_answer(const uint8_t *data, size_t size, bool is_filled)
{
    union vddk_answer *answer = calloc(1, sizeof(*answer));
    struct extents extents = {0};
    uint64_t offset, length;
    size_t given;

    fuzz_take(&data, &size, &offset, sizeof(offset));
    fuzz_take(&data, &size, &length, sizeof(length));
    offset &= INT64_MAX;
    length &= INT64_MAX;
    length = MIN(length, INT64_MAX - offset); /* what is asked for lies inside a disk */
    given = MIN(size, sizeof(*answer));
    if (given)
        memcpy(answer, data, given);
    if (is_filled)
        given = vddk_answer_size(answer->header.type);
    if (vddk_answer_check(answer, given)) {
        if (given >= sizeof(answer->read))
            MUST(strlen(answer->read.result.text) < sizeof(answer->read.result.text));
        if (answer->header.type == VDDK_WIRE_EXTENTS &&
            vddk_answer_extents(&answer->extents, offset, length, &extents)) {
            MUST(answer->extents.covered > 0 && answer->extents.covered <= length);
            for (size_t i = 0; i < extents.count; i++) {
                const struct extent *e = &extents.items[i];

                MUST(e->offset >= offset && e->length > 0);
                MUST(e->offset + e->length <= offset + answer->extents.covered);
            }
        }
    }
    vec_done(&extents);
    free(answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1)
        try_answer(data + 1, size - 1, data[0] & 2);
    else
        try_request(data + 1, size - 1, data[0] & 2);
    return 0;
}
