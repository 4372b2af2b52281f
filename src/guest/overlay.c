/* QCOW2 overlays by qemu-img: what QEMU writes below virt-v2v, QEMU puts back. */
#include <errno.h>
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
};

static void
keep_last(void *opaque, const char *text)
{
    struct words_of_it *words = opaque;

    snprintf(words->last, sizeof(words->last), "%s", text);
}

static int
run_qemu_img(const char *const *argv, const struct guest_watch *limits, struct err **err)
{
    struct words_of_it words = {""};
    struct guest_watch watch = {.line = keep_last, .opaque = &words};
    int status;

    watch.timeout_ms = limits ? limits->timeout_ms : CREATE_MS;
    if (guest_run(argv, NULL, &watch, NULL, &status, err) < 0)
        return err_hint(err, "install qemu-utils (qemu-img)");
    if (status == 0)
        return 0;
    return err_set(err, E_GUEST_OVERLAY, "qemu-img %s: %s: %s", argv[1],
                   child_describe_status(status), words.last);
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

/* -d: the overlay is not emptied.  qemu-img flushes; the base's own fsync is for what it forgets. */
int
guest_overlay_commit(const char *overlay, const struct guest_watch *watch, struct err **err)
{
    const char *argv[] = {"qemu-img", "commit", "-q", "-d", "-f", "qcow2", overlay, NULL};

    return run_qemu_img(argv, watch, err);
}
