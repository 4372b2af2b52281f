/* QCOW2 overlays by qemu-img: what QEMU writes below virt-v2v, QEMU puts back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "guest/internal.h"

#define CREATE_MS 60000

struct words_of_it {
    char last[512]; /* the last line that it said */
    bool is_full;   /* it found no room */
};

static void
keep_last(void *opaque, const char *text)
{
    struct words_of_it *words = opaque;

    snprintf(words->last, sizeof(words->last), "%s", text);
    if (strstr(text, "No space left on device") || strstr(text, "Disk quota exceeded"))
        words->is_full = true;
}

static int
run_qemu_img(const char *const *argv, const struct guest_watch *limits, struct err **err)
{
    static const char *const env[] = {"LC_ALL=C", NULL};
    struct words_of_it words = {.is_full = false};
    struct guest_watch watch = {.line = keep_last, .opaque = &words};
    int status;

    watch.timeout_ms = limits ? limits->timeout_ms : CREATE_MS;
    if (guest_run(argv, env, &watch, NULL, &status, err) < 0)
        return err_hint(err, "install qemu-utils (qemu-img)");
    if (status == 0)
        return 0;
    return err_set(err, words.is_full ? E_NO_SPACE : E_GUEST_OVERLAY, "qemu-img %s: %s: %s",
                   argv[1], child_describe_status(status), words.last);
}

int
guest_overlay_create(const char *base, const char *overlay, struct err **err)
{
    const char *argv[] = {"qemu-img", "create", "-q", "-f",    "qcow2", "-F",
                          "qcow2",    "-b",     base, overlay, NULL};

    if (unlink(overlay) < 0 && errno != ENOENT)
        return err_set_errno(err, errno == ENOSPC ? E_NO_SPACE : E_GUEST_OVERLAY, errno,
                             "removing %s", overlay);
    return run_qemu_img(argv, NULL, err);
}

int
guest_overlay_bytes(const char *overlay, uint64_t *ret_bytes, struct err **err)
{
    struct stat st;

    if (stat(overlay, &st) < 0)
        return err_set_errno(err, E_GUEST_OVERLAY, errno, "%s", overlay);
    *ret_bytes = (uint64_t)st.st_blocks * 512;
    return 0;
}

/* A commit that was killed leaves clusters that nothing refers to. */
static int
repair_leaks(const char *base, const struct guest_watch *watch, struct err **err)
{
    const char *argv[] = {"qemu-img", "check", "-q", "-f", "qcow2", "-r", "leaks", base, NULL};

    return run_qemu_img(argv, watch, err);
}

int
guest_image_sync(const char *path, struct err **err)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && fsync(fd) == 0)
        return file_sync_dir(path, err);
    return err_set_errno(err, errno == ENOSPC || errno == EDQUOT ? E_NO_SPACE : E_GUEST_OVERLAY,
                         errno, "%s", path);
}

/* -d: the overlay is not emptied.  qemu-img flushes; the sync is for what a file system tells only then. */
int
guest_overlay_commit(const char *overlay, const char *base, bool is_repeated,
                     const struct guest_watch *watch, struct err **err)
{
    const char *argv[] = {"qemu-img", "commit", "-q", "-d", "-f", "qcow2", overlay, NULL};

    if (run_qemu_img(argv, watch, err) < 0 || (is_repeated && repair_leaks(base, watch, err) < 0))
        return -1;
    return guest_image_sync(base, err);
}
