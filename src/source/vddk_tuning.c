#include "source/vddk_tuning.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#define UNIT_KB            64U
#define DEFAULT_TRANSPORTS "nbdssl:nbd"
/* One request of 1 MiB fits one of the session's buffers on the host; four of them are 4 MiB of the 48
 * (96 since version 8) that a host has for all sessions. */
#define DEFAULT_BUFFER_KB  1024U
#define DEFAULT_BUFFERS    4U

struct buffers {
    unsigned size; /* in 64 KiB */
    unsigned count;
};

static struct buffers
buffers_of(const struct source_vddk_tuning *tuning, unsigned memory_step)
{
    struct buffers b = {
        .size = (tuning->buffer_kb ? tuning->buffer_kb : DEFAULT_BUFFER_KB) / UNIT_KB,
        .count = tuning->buffers ? tuning->buffers : DEFAULT_BUFFERS,
    };

    for (; memory_step && b.size * b.count > 1; memory_step--)
        if (b.size > 1)
            b.size /= 2;
        else
            b.count /= 2;
    return b;
}

bool
vddk_tuning_has_smaller(const struct source_vddk_tuning *tuning)
{
    struct buffers b = buffers_of(tuning, tuning->memory_step);

    return b.size * b.count > 1;
}

static int
fill_texts(const struct source_vddk_tuning *tuning, struct vddk_wire_open *open, struct err **err)
{
    const char *given = tuning->transports;
    const char *transports = given && *given ? given : DEFAULT_TRANSPORTS;
    const char *tmp_dir = tuning->tmp_dir ? tuning->tmp_dir : "";

    if (snprintf(open->transports, sizeof(open->transports), "%s", transports) >=
            (int)sizeof(open->transports) ||
        snprintf(open->tmp_dir, sizeof(open->tmp_dir), "%s", tmp_dir) >= (int)sizeof(open->tmp_dir))
        return err_set(err, E_LIMIT, "the list of transports, or VDDK's folder, is too long");
    for (const char *c = tmp_dir; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '"')
            return err_set(err, E_LIMIT, "VDDK's folder has a quote or a control character in it");
    return 0;
}

int
vddk_tuning_fill(const struct source_vddk_tuning *tuning, struct vddk_wire_open *open,
                 struct err **err)
{
    struct buffers b = buffers_of(tuning, 0);

    if (fill_texts(tuning, open, err) < 0)
        return -1;
    if (tuning->buffer_kb % UNIT_KB || b.size > VDDK_WIRE_MAX_NFC_BUFFER || b.size == 0 ||
        b.count > VDDK_WIRE_MAX_NFC_TOTAL / b.size)
        return err_set(err, E_LIMIT,
                       "VDDK cannot have %u buffers of %u KiB: each has whole 64 KiB and at most 2 "
                       "MiB, all together at most 16 MiB",
                       b.count, tuning->buffer_kb);
    if (tuning->compression > SOURCE_COMPRESSION_SKIPZ ||
        tuning->log_level > VDDK_WIRE_MAX_LOG_LEVEL + 1)
        return err_set(err, E_LIMIT, "VDDK has no such compression or level of its log");
    b = buffers_of(tuning, tuning->memory_step);
    open->compression = (uint32_t)tuning->compression; /* in the wire's order */
    open->is_buffered = tuning->is_buffered;
    open->nfc_buffer = b.size;
    open->nfc_buffer_count = b.count;
    open->log_level = tuning->log_level;
    return 0;
}
