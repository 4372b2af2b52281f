/* Inside base: a line of the log for programs, as JSON or for systemd's journal. */
#ifndef V2C_BASE_LOG_RENDER_H
#define V2C_BASE_LOG_RENDER_H

#include <stdint.h>

#include "base/log.h"
#include "base/str.h"

#define LOG_RENDER_MAX (4U * 1024 * 1024)

struct log_record {
    int64_t at_ms; /* since 1970 */
    enum log_level level;
    const char *level_name, *file, *text;
    int line;
    const struct log_fields *fields;
};

/* One object and a line feed. */
void log_render_json(struct str *out, const struct log_record *record);
/* A datagram as https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ wants it. */
void log_render_journal(struct str *out, const struct log_record *record);

/* /run/systemd/journal/socket, or for tests $V2C_JOURNAL_SOCKET.  E_CONFIG. */
int log_open_journal(struct err **err);
/* False when the journal does not take it. */
bool log_send_journal(const struct log_record *record);

#endif
