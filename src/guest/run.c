/* Programs of others: their output line by line, a limit on their time, and none of our secrets. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/util.h"
#include "guest/internal.h"

#define DEFAULT_TIMEOUT_MS (60 * 60 * 1000)
#define POLL_MS            200
#define GRACE_MS           10000 /* libguestfs takes its appliance down */
#define MAX_LINE           4096U

/* One pipe of the program, and what has not been a whole line yet. */
struct stream {
    int fd; /* -1: at its end */
    struct str line;
    struct str *whole; /* takes everything instead; NULL: lines */
};

static void
drop_fd(int *fd)
{
    close_fdp(fd);
    *fd = -1;
}

static void
end_line(struct stream *stream, const struct guest_watch *watch)
{
    size_t length = strcspn(str_text(&stream->line), "\r\n");

    if (length && watch->line) {
        stream->line.data[length] = '\0';
        watch->line(watch->opaque, stream->line.data);
    }
    str_clear(&stream->line);
}

/* A line that is too long is told in pieces. */
static void
take_bytes(struct stream *stream, const char *data, size_t length, const struct guest_watch *watch)
{
    if (stream->whole) {
        str_append_bytes(stream->whole, data, length);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        if (data[i] != '\n' && data[i] != '\0')
            str_append_bytes(&stream->line, &data[i], 1);
        if (data[i] == '\n' || stream->line.length + 2 >= stream->line.max)
            end_line(stream, watch);
    }
}

/* What is there, without waiting. */
static void
drain(struct stream *stream, const struct guest_watch *watch)
{
    char chunk[16384];

    while (stream->fd >= 0) {
        ssize_t n = read(stream->fd, chunk, sizeof(chunk));

        if (n > 0) {
            take_bytes(stream, chunk, (size_t)n, watch);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            end_line(stream, watch);
            drop_fd(&stream->fd);
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static int
follow(struct child *child, struct stream *streams, const char *program,
       const struct guest_watch *watch, int *ret_status, struct err **err)
{
    int64_t timeout = watch->timeout_ms ? watch->timeout_ms : DEFAULT_TIMEOUT_MS;
    int64_t end = clock_monotonic_ms() + timeout;

    for (;;) {
        struct pollfd fds[] = {{.fd = child->pidfd, .events = POLLIN},
                               {.fd = streams[0].fd, .events = POLLIN},
                               {.fd = streams[1].fd, .events = POLLIN}};

        (void)poll(fds, ARRAY_SIZE(fds), POLL_MS);
        drain(&streams[0], watch);
        drain(&streams[1], watch);
        if (fds[0].revents)
            return child_wait(child, GRACE_MS, ret_status, err);
        if (watch->is_stopped && watch->is_stopped(watch->opaque))
            return err_set(err, E_CANCELLED, "%s was stopped on request", program);
        if (clock_monotonic_ms() >= end)
            return err_set(err, E_GUEST_TIMEOUT, "%s has not ended after %lld s and was stopped",
                           program, (long long)(timeout / 1000));
    }
}

static int
open_pipe(struct stream *stream, int *ret_theirs, struct err **err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, E_SPAWN, errno, "a pipe");
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    stream->fd = ends[0];
    *ret_theirs = ends[1];
    return 0;
}

int
guest_run(const char *const *argv, const char *const *set_env, const struct guest_watch *watch,
          struct str *output, int *ret_status, struct err **err)
{
    struct stream streams[] = {{.fd = -1, .line = STR_INIT(MAX_LINE), .whole = output},
                               {.fd = -1, .line = STR_INIT(MAX_LINE)}};
    CLEANUP(close_fdp) int out = -1;
    CLEANUP(close_fdp) int errors = -1;
    struct child child = CHILD_NONE;
    int result = -1;

    if (open_pipe(&streams[0], &out, err) == 0 && open_pipe(&streams[1], &errors, err) == 0 &&
        child_start(
            &(struct child_spec){
                .argv = argv,
                .set_env = set_env,
                .pass_fds =
                    (const struct child_fd[]){{out, STDOUT_FILENO}, {errors, STDERR_FILENO}},
                .pass_fd_count = 2,
                /* qemu-nbd and the appliance of libguestfs outlive a virt-v2v that is killed, and hold
                 * the images. */
                .takes_along = true,
            },
            &child, err) == 0) {
        drop_fd(&out);
        drop_fd(&errors);
        result = follow(&child, streams, argv[0], watch, ret_status, err);
    }
    child_stop(&child, GRACE_MS);
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        close_fdp(&streams[i].fd);
        str_done(&streams[i].line);
    }
    return result;
}
