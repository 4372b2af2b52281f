#include "vddk/packet.h"

#include <string.h>

#include "vddk/vix.h"

static bool
is_text(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* It becomes a line of a file. */
static bool
is_plain_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f || *text == '"')
            return false;
    return true;
}

static const char *
check_tuning(const struct vddk_wire_open *open)
{
    if (!is_text(open->tmp_dir, sizeof(open->tmp_dir)) || !is_plain_text(open->tmp_dir))
        return "an OPEN with a folder that is no text";
    if (open->compression > VDDK_WIRE_SKIPZ || open->is_buffered > 1 ||
        open->log_level > VDDK_WIRE_MAX_LOG_LEVEL + 1 || open->reserved)
        return "an OPEN with a setting that there is not";
    if (open->nfc_buffer == 0 || open->nfc_buffer > VDDK_WIRE_MAX_NFC_BUFFER ||
        open->nfc_buffer_count == 0 ||
        open->nfc_buffer_count > VDDK_WIRE_MAX_NFC_TOTAL / open->nfc_buffer)
        return "an OPEN with no buffers on the host, or too many";
    return NULL;
}

static const char *
check_open(const struct packet_state *state, const struct vddk_wire_open *open, size_t length)
{
    if (length != sizeof(*open) || state->phase != PHASE_NEW)
        return "an OPEN of the wrong size, or a second one";
    if (!is_text(open->libdir, sizeof(open->libdir)) ||
        !is_text(open->server, sizeof(open->server)) || !is_text(open->user, sizeof(open->user)) ||
        !is_text(open->password, sizeof(open->password)) ||
        !is_text(open->thumbprint, sizeof(open->thumbprint)) ||
        !is_text(open->vm_moref, sizeof(open->vm_moref)) ||
        !is_text(open->snapshot_moref, sizeof(open->snapshot_moref)) ||
        !is_text(open->disk_path, sizeof(open->disk_path)) ||
        !is_text(open->transports, sizeof(open->transports)) || open->port > 65535)
        return "an OPEN with a text that does not end, or no port number";
    if (open->slot_count == 0 || open->slot_count > PACKET_MAX_SLOTS)
        return "an OPEN with no slots, or too many";
    return check_tuning(open);
}

static const char *
check_range(const struct packet_state *state, const struct vddk_wire_range *range, size_t length)
{
    if (length != sizeof(*range) || state->phase != PHASE_OPEN)
        return "a range of the wrong size, or no disk is open";
    if (range->offset % VIX_SECTOR || range->length % VIX_SECTOR || range->length == 0 ||
        range->offset > state->capacity || range->length > state->capacity - range->offset)
        return "a range that is not whole sectors inside the disk";
    if (range->header.type == VDDK_WIRE_EXTENTS)
        return state->queries >= PACKET_MAX_QUERIES ? "too many EXTENTS at once" : NULL;
    if (range->length > VDDK_WIRE_SLOT_BYTES ||
        range->slot_offset > VDDK_WIRE_SLOT_BYTES - range->length ||
        range->slot_offset % VDDK_WIRE_SLOT_ALIGN)
        return "a READ that does not fit its slot";
    if (range->slot >= state->slot_count || state->slot_busy[range->slot])
        return "a READ into a slot that is busy or not there";
    return NULL;
}

static const char *
check_close(const struct packet_state *state, size_t length)
{
    if (length != sizeof(struct vddk_wire_header) || state->phase == PHASE_OPENING ||
        state->phase == PHASE_CLOSING)
        return "a CLOSE of the wrong size or at the wrong time";
    return NULL;
}

const char *
packet_check(const struct packet_state *state, const void *packet, size_t length)
{
    const struct vddk_wire_header *header = packet;

    if (length < sizeof(*header))
        return "a packet without a header";
    if (length > sizeof(struct vddk_wire_open))
        return "a packet larger than any";
    if (header->version != VDDK_WIRE_VERSION)
        return "another version of the format";
    switch (header->type) {
    case VDDK_WIRE_OPEN:
        return check_open(state, packet, length);
    case VDDK_WIRE_EXTENTS:
    case VDDK_WIRE_READ:
        return check_range(state, packet, length);
    case VDDK_WIRE_CLOSE:
        return check_close(state, length);
    default:
        return "a packet of an unknown type";
    }
}
