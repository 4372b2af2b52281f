#include "base/log_render.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define MAX_TEXT       ((size_t)256 * KIB)
#define MAX_MESSAGE    ((size_t)96 * KIB) /* of a datagram, which must fit into the socket's buffer */
#define MAX_FIELD      4096U
#define SEND_SECONDS   1

/* The folder of src/ that the file lies in, as "supervisor". */
static void
room_of(const struct log_record *r, char *ret, size_t size)
{
    const char *start = strstr(r->file, "src/"), *end;

    if (r->fields->room) {
        snprintf(ret, size, "%s", r->fields->room);
        return;
    }
    start = start ? start + 4 : r->file;
    end = strchr(start, '/');
    snprintf(ret, size, "%.*s", end ? (int)(end - start) : (int)strlen(start), start);
}

static const struct {
    const char *json, *journal;
    size_t offset;
} names[] = {
    {"vm", "V2C_VM", offsetof(struct log_fields, vm)},
    {"moref", "V2C_MOREF", offsetof(struct log_fields, moref)},
    {"job_id", "V2C_JOB_ID", offsetof(struct log_fields, job_id)},
    {"migration_id", "V2C_MIGRATION_ID", offsetof(struct log_fields, migration_id)},
    {"stage", "V2C_STAGE", offsetof(struct log_fields, stage)},
    {"code", "V2C_ERROR", offsetof(struct log_fields, code)},
};

static const char *
field_of(const struct log_record *r, size_t index)
{
    const char *value;

    memcpy(&value, (const char *)r->fields + names[index].offset, sizeof(value));
    return value && *value ? value : NULL;
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

/* Cut at a character, and without bytes that are no UTF-8. */
static json_t *
text_json(const char *text, size_t max)
{
    size_t length = strnlen(text, max);
    CLEANUP(free_charp) char *copy = strndup(text, length);
    json_t *value;

    if (!copy)
        abort();
    while (text[length] && length && ((unsigned char)text[length] & 0xc0) == 0x80)
        copy[--length] = '\0';
    value = json_string(copy);
    if (value)
        return value;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(copy);
}

void
log_render_json(struct str *out, const struct log_record *r)
{
    CLEANUP(free_charp) char *text = NULL;
    json_t *o = json_object();
    char seconds[32], time_text[64], room[64];

    clock_format_utc(r->at_ms / 1000, seconds);
    snprintf(time_text, sizeof(time_text), "%.19s.%03dZ", seconds, (int)(r->at_ms % 1000));
    room_of(r, room, sizeof(room));
    json_object_set_new(o, "time", json_string(time_text));
    json_object_set_new(o, "level", json_string(r->level_name));
    json_object_set_new(o, "room", text_json(room, sizeof(room)));
    json_object_set_new(o, "message", text_json(r->text, MAX_TEXT));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (field_of(r, i))
            json_object_set_new(o, names[i].json, text_json(field_of(r, i), MAX_FIELD));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    str_append(out, text ? text : "{}");
    str_append(out, "\n");
}

/* ---- the journal --------------------------------------------------------------------------------- */

/* journalctl shows an entry with other control characters as "[blob data]" only. */
static char *
printable(const char *text, size_t max)
{
    size_t length = strnlen(text, max);
    char *copy;

    while (length && text[length - 1] == '\n')
        length--;
    copy = strndup(text, length);
    if (!copy)
        abort();
    for (char *c = copy; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            *c = '?';
    return copy;
}

/* A value with a line feed in it is sent with its length, 64 bits little-endian. */
static void
put_field(struct str *out, const char *name, const char *value, size_t max)
{
    CLEANUP(free_charp) char *text = printable(value, max);
    uint64_t length = strlen(text);

    if (!strchr(text, '\n')) {
        str_appendf(out, "%s=%s\n", name, text);
        return;
    }
    str_appendf(out, "%s\n", name);
    for (unsigned i = 0; i < 8; i++)
        str_append_bytes(out, &(char){(char)(length >> (8 * i))}, 1);
    str_appendf(out, "%s\n", text);
}

void
log_render_journal(struct str *out, const struct log_record *r)
{
    static const int priorities[] = {7, 6, 4, 3}; /* of syslog(3) */
    char room[64];

    room_of(r, room, sizeof(room));
    put_field(out, "MESSAGE", r->text, MAX_MESSAGE);
    str_appendf(out, "PRIORITY=%d\nSYSLOG_IDENTIFIER=v2c-engine\n", priorities[r->level]);
    put_field(out, "V2C_ROOM", room, sizeof(room));
    if (!r->fields->room) {
        put_field(out, "CODE_FILE", r->file, MAX_FIELD);
        str_appendf(out, "CODE_LINE=%d\n", r->line);
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (field_of(r, i))
            put_field(out, names[i].journal, field_of(r, i), MAX_FIELD);
}

/* Set once, before other threads log. */
static struct sockaddr_un journal = {.sun_family = AF_UNIX};
static int journal_fd = -1;

int
log_open_journal(struct err **err)
{
    const struct timeval patience = {.tv_sec = SEND_SECONDS};
    const char *path = getenv("V2C_JOURNAL_SOCKET");

    path = path && *path ? path : JOURNAL_SOCKET;
    errno = ENAMETOOLONG;
    if (strlen(path) >= sizeof(journal.sun_path) || access(path, W_OK) < 0) {
        err_set_errno(err, E_CONFIG, errno, "there is no journal at %s", path);
        return err_hint(err, "choose the log format text or json");
    }
    memcpy(journal.sun_path, path, strlen(path) + 1);
    if (journal_fd < 0)
        journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (journal_fd < 0)
        return err_set_errno(err, E_CONFIG, errno, "a socket for the journal");
    /* A journal that hangs holds up nobody for long. */
    (void)setsockopt(journal_fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return 0;
}

bool
log_send_journal(const struct log_record *record)
{
    struct str datagram = STR_INIT(LOG_RENDER_MAX);
    ssize_t sent;

    log_render_journal(&datagram, record);
    do
        sent = sendto(journal_fd, datagram.data, datagram.length, MSG_NOSIGNAL,
                      (const struct sockaddr *)&journal, sizeof(journal));
    while (sent < 0 && errno == EINTR);
    str_done(&datagram);
    return sent >= 0;
}
