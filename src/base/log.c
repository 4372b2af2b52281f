#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log_render.h"
#include "base/str.h"
#include "base/util.h"

/* A message longer than this is cut. */
#define LINE_MAX_BYTES ((size_t)256 * KIB)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file_fd = -1;         /* guarded by lock */
static char tag[128];            /* guarded by lock */
static bool is_stderr_on = true; /* guarded by lock */
static _Atomic(int) least = -1;  /* -1: V2C_LOG not yet read */

static _Atomic(int) format = LOG_TEXT;

static const char *const level_words[] = {"debug", "info", "warning", "error"};
static const char *const format_words[] = {"text", "json", "journald"};

static bool
find_word(const char *const *words, size_t count, const char *word, int *ret)
{
    for (size_t i = 0; word && i < count; i++)
        if (!strcasecmp(word, words[i])) {
            *ret = (int)i;
            return true;
        }
    return false;
}

bool
log_level_from_name(const char *name, enum log_level *ret)
{
    int index;

    if (!find_word(level_words, ARRAY_SIZE(level_words), name, &index))
        return false;
    *ret = (enum log_level)index;
    return true;
}

bool
log_format_from_name(const char *name, enum log_format *ret)
{
    int index;

    if (!find_word(format_words, ARRAY_SIZE(format_words), name, &index))
        return false;
    *ret = (enum log_format)index;
    return true;
}

static enum log_level
level_from_environment(void)
{
    enum log_level level = LOG_INFO;

    (void)log_level_from_name(getenv("V2C_LOG"), &level);
    return level;
}

static enum log_level
least_level(void)
{
    int level = atomic_load(&least);

    if (level < 0) {
        int unset = -1;

        level = (int)level_from_environment();
        if (!atomic_compare_exchange_strong(&least, &unset, level))
            level = unset;
    }
    return (enum log_level)level;
}

void
log_set_level(enum log_level level)
{
    atomic_store(&least, (int)level);
}

/* Text may carry names that a guest or a server chose: control characters must neither forge lines
 * nor reach a terminal.  A line feed of our own making starts an indented line. */
static void
append_printable(struct str *line, const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '\n' && !p[1])
            break;
        if (c == '\n')
            str_append(line, "\n    ");
        else if ((c < 0x20 && c != '\t') || c == 0x7f)
            str_append(line, "?");
        else
            str_append_bytes(line, p, 1);
    }
}

/* A log that cannot be written must not stop a migration: errors end here. */
static void
write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, data, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        length -= (size_t)n;
    }
}

static void
write_line(int fd, const char *stamp, const char *tag_text, const char *prefix, const char *text)
{
    struct str line = STR_INIT(LINE_MAX_BYTES);

    str_append(&line, stamp);
    if (*tag_text)
        str_appendf(&line, "[%s] ", tag_text);
    str_append(&line, prefix);
    append_printable(&line, text);
    if (line.is_over) {
        line.length = MIN(line.length, LINE_MAX_BYTES - 8);
        line.is_over = false;
        str_append(&line, " [cut]");
    }
    str_append(&line, "\n");
    write_all(fd, line.data, line.length);
    str_done(&line);
}

/* Under the lock.  What cannot be told to the journal is told as text: it must not get lost. */
static void
write_stderr(const struct log_record *record, const char *stamp, const char *prefix)
{
    enum log_format how = log_format();
    struct str line = STR_INIT(LOG_RENDER_MAX);

    if (how == LOG_JSON) {
        log_render_json(&line, record);
        write_all(STDERR_FILENO, line.data, line.length);
    } else if (how != LOG_JOURNALD || !log_send_journal(record)) {
        write_line(STDERR_FILENO, stamp, tag, prefix, record->text);
    }
    str_done(&line);
}

static void
write_record(const struct log_record *record)
{
    static const char *const prefixes[] = {"debug: ", "", "warning: ", "error: "};
    time_t now = (time_t)(record->at_ms / 1000);
    char stamp[64];
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "[%Y-%m-%d %H:%M:%S] ", &tm);
    SCOPE_LOCK(&lock);
    if (is_stderr_on)
        write_stderr(record, stamp, prefixes[record->level]);
    if (file_fd >= 0)
        write_line(file_fd, stamp, "", prefixes[record->level], record->text);
}

void
log_write_at(const char *file, int line, const struct log_fields *fields, enum log_level level,
             const char *fmt, ...)
{
    static const struct log_fields none;
    CLEANUP(free_charp) char *text = NULL;
    int saved_errno = errno;
    va_list args;

    if (level < least_level())
        return;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    write_record(&(struct log_record){.at_ms = clock_wall_ms(),
                                      .level = level,
                                      .level_name = level_words[level],
                                      .file = file,
                                      .line = line,
                                      .fields = fields ? fields : &none,
                                      .text = text});
    errno = saved_errno;
}

void
log_err_at(const char *file, int line, enum log_level level, const struct err *err,
           const char *what)
{
    const struct log_fields fields = {.code = err_code_name(err_code(err))};
    const char *hint = err_hint_text(err);

    log_write_at(file, line, &fields, level, "%s: %s%s%s", what, err_message(err),
                 hint ? "\nhint: " : "", hint ? hint : "");
}

enum log_format
log_format(void)
{
    return (enum log_format)atomic_load(&format);
}

int
log_set_format(enum log_format how, struct err **err)
{
    if (how == LOG_JOURNALD && log_open_journal(err) < 0)
        return -1;
    atomic_store(&format, (int)how);
    return 0;
}

void
log_set_tag(const char *new_tag)
{
    SCOPE_LOCK(&lock);
    snprintf(tag, sizeof(tag), "%s", new_tag ? new_tag : "");
    for (char *p = tag; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

int
log_open_file(const char *path, struct err **err)
{
    int fd = -1, old;

    if (path) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
        if (fd < 0)
            return err_set_errno(err, E_IO, errno, "%s", path);
    }
    {
        SCOPE_LOCK(&lock);
        old = file_fd;
        file_fd = fd;
    }
    if (old >= 0)
        close(old);
    return 0;
}

void
log_set_stderr(bool is_on)
{
    SCOPE_LOCK(&lock);
    is_stderr_on = is_on;
}
