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

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

/* A message longer than this is cut. */
#define LINE_MAX_BYTES ((size_t)256 * KIB)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file_fd = -1;         /* guarded by lock */
static char tag[128];            /* guarded by lock */
static bool is_stderr_on = true; /* guarded by lock */
static _Atomic(int) least = -1;  /* -1: V2C_LOG not yet read */

static const char *const level_words[] = {"debug", "info", "warning", "error"};

static enum log_level
level_from_environment(void)
{
    const char *word = getenv("V2C_LOG");

    for (size_t i = 0; word && i < ARRAY_SIZE(level_words); i++)
        if (!strcasecmp(word, level_words[i]))
            return (enum log_level)i;
    return LOG_INFO;
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

void
log_write(enum log_level level, const char *fmt, ...)
{
    static const char *const prefixes[] = {"debug: ", "", "warning: ", "error: "};
    CLEANUP(free_charp) char *text = NULL;
    int saved_errno = errno;
    char stamp[64];
    struct tm tm;
    time_t now;
    va_list args;

    if (level < least_level())
        return;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    now = time(NULL);
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "[%Y-%m-%d %H:%M:%S] ", &tm);
    {
        SCOPE_LOCK(&lock);
        if (is_stderr_on)
            write_line(STDERR_FILENO, stamp, tag, prefixes[level], text);
        if (file_fd >= 0)
            write_line(file_fd, stamp, "", prefixes[level], text);
    }
    errno = saved_errno;
}

void
log_err(enum log_level level, const struct err *err, const char *what)
{
    const char *hint = err_hint_text(err);

    log_write(level, "%s: %s%s%s", what, err_message(err), hint ? "\nhint: " : "",
              hint ? hint : "");
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
