#include "cli/told.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "base/util.h"

#define REPORT_DEADLINE_MS 10000

/* Waits for room in the pipe, within reason: reports may be lost, but not why the worker failed. */
static void
send_line(int fd, const char *text)
{
    CLEANUP(free_charp) char *line = xasprintf("\n%s\n", text); /* ends one that was cut off */
    size_t left = strlen(line), sent = 0;
    int64_t end = clock_monotonic_ms() + REPORT_DEADLINE_MS;

    while (left > 0 && clock_monotonic_ms() < end) {
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        ssize_t n;

        if (poll(&writable, 1, 250) > 0 && (writable.revents & POLLERR))
            return;
        n = write(fd, line + sent, left);
        if (n > 0) {
            sent += (size_t)n;
            left -= (size_t)n;
        }
    }
}

void
tell_failure(int fd, const struct err *failure)
{
    const char *hint = err_hint_text(failure);
    json_t *object = json_pack(
        "{s:{s:s, s:o, s:o*}}", "error", "code", err_code_name(err_code(failure)), "message",
        json_text(err_message(failure)), "hint", hint ? json_text(hint) : NULL);
    CLEANUP(free_charp) char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    if (fd >= 0 && text)
        send_line(fd, text);
}

/* The number in environment variable @name, which our children must not see; -1: there is none. */
static int
take_fd(const char *name)
{
    const char *text = getenv(name);
    long fd = text ? strtol(text, NULL, 10) : -1;

    (void)unsetenv(name);
    return fd > STDERR_FILENO && fd < 1024 ? (int)fd : -1;
}

int
told_by_supervisor(int *ret_report_fd, struct err **err)
{
    int secrets = take_fd("V2C_SECRETS_FD");

    *ret_report_fd = take_fd("V2C_REPORT_FD");
    if (*ret_report_fd >= 0)
        (void)fcntl(*ret_report_fd, F_SETFD, FD_CLOEXEC);
    return secrets >= 0 ? child_take_secrets_over(secrets, err) : 0;
}
