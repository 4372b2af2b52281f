#include "cli/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

static struct sockaddr_un manager;
static socklen_t manager_length;
static int64_t watchdog_ms;

void
notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC"),
               *pid = getenv("WATCHDOG_PID");

    if (path && (*path == '/' || *path == '@') && strlen(path) < sizeof(manager.sun_path)) {
        manager.sun_family = AF_UNIX;
        memcpy(manager.sun_path, path, strlen(path));
        manager_length =
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + (*path == '/'));
        if (*path == '@') /* an abstract name */
            manager.sun_path[0] = '\0';
    }
    if (usec && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
        watchdog_ms = strtoll(usec, NULL, 10) / 1000;
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void
notify_send(const char *text)
{
    CLEANUP(close_fdp) int fd = -1;

    if (!manager_length)
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&manager,
                     manager_length);
}

int64_t
notify_watchdog_ms(void)
{
    return watchdog_ms;
}
