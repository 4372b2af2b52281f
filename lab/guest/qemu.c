#include "guest/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"

#define QEMU_QMP_FD     3
#define QEMU_DIR_FD     4
#define QUIT_MS         5000
#define IMAGE_TOOL_MS   60000
#define MAX_TOOL_OUTPUT 4096
#define MAX_LOG         (64 * KIB)

void
qemu_arg(struct qemu_args *args, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    vec_push(args, text);
}

void
qemu_args_done(struct qemu_args *args)
{
    for (size_t i = 0; i < args->count; i++)
        free(args->items[i]);
    vec_done(args);
}

/* ---- start and end ----------------------------------------------------------------------------- */

/* The last line of QEMU's own messages says why it ended. */
static int
explain(const char *dir, struct err **err)
{
    CLEANUP(free_charp) char *path = file_join(dir, "qemu.log"), *text = NULL;
    size_t length;
    char *line;

    if (file_read(path, MAX_LOG, &text, &length, NULL) < 0)
        return -1;
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    line = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
    return *line ? err_hint(err, "QEMU said: %s", line) : -1;
}

static int
spawn(struct qemu *qemu, const struct qemu_args *args, int socket_fd, int log_fd, struct err **err)
{
    static const char *const common[] = {
        "qemu-system-x86_64",
        "-nodefaults",
        "-no-user-config",
        "-machine",
        "pc,accel=tcg",
        "-cpu",
        "max",
        "-m",
        "256",
        "-smp",
        "1",
        "-display",
        "none",
        "-no-shutdown",
        "-chardev",
        "socket,id=qmp,fd=3",
        "-mon",
        "chardev=qmp,mode=control",
        "-chardev",
        "file,id=serial,path=" QEMU_DIR "/serial.log,append=on",
        "-serial",
        "chardev:serial",
    };
    const struct child_fd fds[] = {
        {log_fd, 1}, {log_fd, 2}, {socket_fd, QEMU_QMP_FD}, {qemu->dir_fd, QEMU_DIR_FD}};
    VEC_DECLARE(, const char *)
    argv = {0};
    struct child_spec spec = {
        .pass_fds = fds, .pass_fd_count = ARRAY_SIZE(fds), .dies_with_parent = true};
    int result;

    for (size_t i = 0; i < ARRAY_SIZE(common); i++)
        vec_push(&argv, common[i]);
    for (size_t i = 0; i < args->count; i++)
        vec_push(&argv, args->items[i]);
    vec_push(&argv, NULL);
    spec.argv = argv.items;
    result = child_start(&spec, &qemu->child, err);
    vec_done(&argv);
    return result;
}

int
qemu_start(const char *dir, const struct qemu_args *args, qmp_event_fn on_event, void *opaque,
           struct qemu *ret, struct err **err)
{
    struct qemu qemu = {.child = CHILD_NONE, .dir_fd = -1};
    CLEANUP(close_fdp) int ours = -1;
    CLEANUP(close_fdp) int theirs = -1;
    CLEANUP(close_fdp) int log_fd = -1;
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        return err_set_errno(err, E_IO, errno, "a socket for QEMU");
    ours = sockets[0];
    theirs = sockets[1];
    qemu.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (qemu.dir_fd >= 0)
        log_fd = openat(qemu.dir_fd, "qemu.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (log_fd < 0) {
        err_set_errno(err, E_IO, errno, "%s", dir);
        close_fdp(&qemu.dir_fd);
        return -1;
    }
    if (spawn(&qemu, args, theirs, log_fd, err) < 0) {
        close_fdp(&qemu.dir_fd);
        return err_hint(err, "install qemu-system-x86: scripts/install-packages.sh lab");
    }
    close_fdp(&theirs);
    theirs = -1;
    if (qmp_open(ours, on_event, opaque, &qemu.qmp, err) < 0) {
        qemu_stop(&qemu);
        return explain(dir, err);
    }
    ours = -1;
    *ret = qemu;
    return 0;
}

void
qemu_stop(struct qemu *qemu)
{
    if (qemu->qmp && qmp_call(qemu->qmp, "quit", NULL, NULL, NULL) == 0)
        (void)child_wait(&qemu->child, QUIT_MS, &(int){0}, NULL);
    child_stop(&qemu->child, QUIT_MS);
    qmp_close(take(qemu->qmp));
    close_fdp(&qemu->dir_fd);
    qemu->dir_fd = -1;
}

/* ---- images ------------------------------------------------------------------------------------ */

int
qemu_create_qcow2(const char *path, uint64_t capacity, const char *backing,
                  const char *backing_format, struct err **err)
{
    CLEANUP(free_charp) char *size = capacity ? xasprintf("%" PRIu64, capacity) : NULL;
    CLEANUP(free_charp) char *output = NULL;
    const char *argv[12] = {"qemu-img", "create", "-q", "-f", "qcow2"};
    struct child_spec spec = {.argv = argv};
    size_t n = 5;
    int status;

    if (backing) {
        argv[n++] = "-b";
        argv[n++] = backing;
        argv[n++] = "-F";
        argv[n++] = backing_format;
    }
    argv[n++] = path;
    argv[n] = size;
    if (child_run(&spec, IMAGE_TOOL_MS, MAX_TOOL_OUTPUT, &output, &status, err) < 0)
        return err_hint(err, "install qemu-utils: scripts/install-packages.sh lab");
    if (status != 0) {
        output[strcspn(output, "\n")] = '\0';
        return err_set(err, E_IO, "qemu-img create %s: %s: %s", path, child_describe_status(status),
                       output);
    }
    return 0;
}
