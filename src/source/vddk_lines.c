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
 * had no other place for it, such as the C library when it aborts. */
static enum log_level
level_of(const char *line)
{
    const char *text = strncmp(line, "[vddk", 5) ? NULL : strstr(line, "] ");

    if (!text)
        return LOG_WARNING;
    if (!strncmp(text + 2, "error: ", 7))
        return LOG_ERROR;
    return strncmp(text + 2, "warning: ", 9) ? LOG_DEBUG : LOG_WARNING;
}

static void
take_line(struct vddk_lines *lines, size_t length)
{
    char *line = lines->text;

    line[length] = '\0';
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    if (*line) {
        (void)snprintf(lines->last, sizeof(lines->last), "%.*s", (int)sizeof(lines->last) - 1,
                       line);
        log_write(level_of(line), "%s", line);
    }
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
    close_fdp(&lines->fd);
    lines->fd = -1;
    lines->length = 0;
}
