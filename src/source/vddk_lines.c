#include "source/vddk_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"

int
vddk_lines_open(struct vddk_lines *lines, int *ret_theirs, struct err **err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set_errno(err, E_SPAWN, errno, "a pipe for v2c-vddk");
    lines->fd = ends[0];
    *ret_theirs = ends[1];
    return 0;
}

/* Its own lines begin with "[vddk NAME] " and say how bad they are; all else comes from somebody who
 * had no other place for it, such as the C library when it aborts.  The word is taken out of the line:
 * the log says it too. */
static enum log_level
take_level(char *line)
{
    static const struct {
        const char *word;
        enum log_level level;
    } words[] = {{"warning: ", LOG_WARNING}, {"error: ", LOG_ERROR}};
    char *text = strncmp(line, "[vddk", 5) ? NULL : strstr(line, "] ");

    if (!text)
        return LOG_WARNING;
    text += 2;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t length = strlen(words[i].word);

        if (strncmp(text, words[i].word, length) != 0)
            continue;
        memmove(text, text + length, strlen(text + length) + 1);
        return words[i].level;
    }
    return LOG_DEBUG;
}

/* VDDK says the same of each of a hundred reads. */
static void
tell_repeats(struct vddk_lines *lines)
{
    if (lines->repeats)
        log_write(lines->last_level, "%s (%u times more)", lines->last, lines->repeats);
    lines->repeats = 0;
}

static void
take_line(struct vddk_lines *lines, size_t length)
{
    char *line = lines->text;
    enum log_level level;

    line[length] = '\0';
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    if (!*line)
        return;
    level = take_level(line);
    if (!strncmp(line, lines->last, sizeof(lines->last) - 1)) {
        lines->repeats++;
        return;
    }
    tell_repeats(lines);
    (void)snprintf(lines->last, sizeof(lines->last), "%.*s", (int)sizeof(lines->last) - 1, line);
    lines->last_level = level;
    log_write(level, "%s", line);
}

void
vddk_lines_pump(struct vddk_lines *lines)
{
    for (;;) {
        ssize_t n;
        char *end;

        if (lines->fd < 0)
            return;
        n = read(lines->fd, lines->text + lines->length, sizeof(lines->text) - 1 - lines->length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            take_line(lines, lines->length);
            vddk_lines_done(lines);
            return;
        }
        lines->length += (size_t)n;
        while ((end = memchr(lines->text, '\n', lines->length))) {
            size_t used = (size_t)(end - lines->text) + 1;

            take_line(lines, used - 1);
            memmove(lines->text, lines->text + used, lines->length - used);
            lines->length -= used;
        }
        /* A line longer than the room is told in pieces. */
        if (lines->length == sizeof(lines->text) - 1) {
            take_line(lines, lines->length);
            lines->length = 0;
        }
    }
}

void
vddk_lines_done(struct vddk_lines *lines)
{
    tell_repeats(lines);
    close_fdp(&lines->fd);
    lines->fd = -1;
    lines->length = 0;
}
