/* This host: what is there, and what that means. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "guest/guest.h"
#include "io/io.h"
#include "preflight/internal.h"
#include "source/source.h"

#define SKEW_WORTH_SAYING_S 60
#define VDDK_CURE                                                                                  \
    "unpack VMware's VDDK and set migration.vddk_path to the directory that has lib64; where it "  \
    "is there, see what ldd says of its libraries"

/* ---- VDDK ------------------------------------------------------------------------------------- */

static void
read_vddk(const struct config *config, struct local_facts *facts)
{
    const char *libdir = config->migration.vddk_path;

    if (!libdir || !*libdir)
        (void)err_set(&facts->vddk_error, E_CONFIG, "migration.vddk_path is not set");
    else
        (void)source_vddk_probe(libdir, &facts->vddk_library, &facts->vddk_error);
}

/* "8.0.2" of a library whose file is libvixDiskLib.so.8.0.2, "8" of one that is .so.8; the caller
 * frees. */
static char *
vddk_version(const char *library)
{
    CLEANUP(free_charp) char *real = realpath(library, NULL);
    const char *name = strrchr(real ? real : library, '/');
    const char *version = strstr(name ? name : library, ".so.");

    return xstrdup(version ? version + strlen(".so.") : "");
}

static void
judge_vddk(const struct local_facts *facts, struct preflight_findings *f)
{
    CLEANUP(free_charp) char *version = NULL;
    int major;

    if (facts->vddk_error) {
        finding_add_error(f, "local.vddk", PREFLIGHT_FAILURE, VDDK_CURE, facts->vddk_error);
        return;
    }
    version = vddk_version(facts->vddk_library);
    major = (int)strtol(version, NULL, 10);
    if (major && (major < 7 || major > 8))
        finding_add(f, "local.vddk", PREFLIGHT_WARNING, "use VDDK 7 or 8",
                    "loads: %s (version %s, which nobody has tried)", facts->vddk_library, version);
    else
        finding_add(f, "local.vddk", PREFLIGHT_PASS, NULL, "loads: %s%s%s%s", facts->vddk_library,
                    *version ? " (version " : "", version, *version ? ")" : "");
}

void
preflight_look_at_vddk(const struct config *config, struct preflight_findings *findings)
{
    struct local_facts facts = {0};

    read_vddk(config, &facts);
    judge_vddk(&facts, findings);
    local_facts_done(&facts);
}

/* ---- io_uring --------------------------------------------------------------------------------- */

static void
read_uring(struct local_facts *facts)
{
    CLEANUP(err_freep) struct err *error = NULL;

    facts->is_uring_usable = io_uring_usable(&error);
    if (!facts->is_uring_usable)
        facts->uring_reason = xstrdup(err_message(error));
}

static void
judge_uring(const struct local_facts *facts, struct preflight_findings *f)
{
    if (facts->is_uring_usable)
        finding_add(f, "local.io_uring", PREFLIGHT_PASS, NULL,
                    "usable: targets are written through it");
    else
        finding_add(f, "local.io_uring", PREFLIGHT_WARNING,
                    "targets are written by a pool of threads instead, which costs more CPU; allow "
                    "it with sysctl kernel.io_uring_disabled=0, or in the container's seccomp "
                    "profile",
                    "%s", facts->uring_reason ? facts->uring_reason : "not usable");
}

/* ---- conversion ------------------------------------------------------------------------------- */

static void
judge_windows(const struct local_facts *facts, struct preflight_findings *f)
{
    if (facts->virtio_win)
        finding_add(f, "local.virtio_win", PREFLIGHT_PASS, NULL, "%s", facts->virtio_win);
    else
        finding_add(f, "local.virtio_win", PREFLIGHT_FAILURE,
                    "put virtio-win.iso into /usr/share/virtio-win, or set virt.virtio_iso",
                    "no virtio-win drivers for Windows guests: they would get IDE disks and e1000 "
                    "NICs");
    if (!facts->has_rhsrvany && !facts->has_pvvxsvc)
        finding_add(f, "local.virt_tools", PREFLIGHT_FAILURE,
                    "put rhsrvany.exe into /usr/share/virt-tools (package rhsrvany, or "
                    "libguestfs-winsupport)",
                    "neither rhsrvany.exe nor pvvxsvc.exe is there: virt-v2v converts no Windows "
                    "without one");
}

static void
judge_conversion(const struct local_facts *facts, struct preflight_findings *f)
{
    if (!facts->was_conversion_looked_for)
        return;
    if (facts->virt_v2v)
        finding_add(f, "local.virt_v2v", PREFLIGHT_PASS, NULL, "%s", facts->virt_v2v);
    else
        finding_add(f, "local.virt_v2v", PREFLIGHT_FAILURE,
                    "install virt-v2v, or set run_virt_v2v: false for guests that have virtio "
                    "drivers",
                    "there is no virt-v2v-in-place");
    if (facts->is_userspace_nfs)
        finding_add(
            f, "local.conversion", PREFLIGHT_FAILURE,
            "set storage.nfs: mount, or run_virt_v2v: false for guests that have virtio drivers",
            "virt-v2v cannot work on an NFS pool that is not mounted (storage.nfs: userspace)");
    if (!facts->has_qemu_img)
        finding_add(f, "local.qemu_img", PREFLIGHT_FAILURE, "install qemu-utils (qemu-img)",
                    "there is no qemu-img, which makes the overlays that are converted");
    if (!facts->has_inspector)
        finding_add(f, "local.virt_inspector",
                    facts->wants_inspector ? PREFLIGHT_FAILURE : PREFLIGHT_WARNING,
                    "install libguestfs-tools (guestfs-tools)",
                    "there is no virt-inspector: VMs of several disks cannot be converted");
    if (facts->wants_windows)
        judge_windows(facts, f);
}

/* ---- the clock -------------------------------------------------------------------------------- */

void
clock_rule(const char *server, bool is_known, int64_t skew_s, struct preflight_findings *findings)
{
    long long seconds = skew_s < 0 ? -(long long)skew_s : (long long)skew_s;

    if (!is_known)
        finding_add(findings, "local.clock", PREFLIGHT_WARNING, NULL, "%s does not tell its time",
                    server);
    else if (seconds > SKEW_WORTH_SAYING_S)
        finding_add(findings, "local.clock", PREFLIGHT_WARNING,
                    "set both by NTP: signed requests expire, and finalize_at goes by this clock",
                    "this machine's clock is %lld seconds %s that of %s", seconds,
                    skew_s > 0 ? "behind" : "ahead of", server);
    else
        finding_add(findings, "local.clock", PREFLIGHT_PASS, NULL, "%s and this host agree",
                    server);
}

/* ---- all of it -------------------------------------------------------------------------------- */

void
local_facts_read(const struct config *config, const struct local_wants *wants,
                 struct local_facts *ret_facts)
{
    struct local_facts facts = {.was_conversion_looked_for = wants->conversion,
                                .is_userspace_nfs = config->storage.is_userspace_nfs,
                                .wants_windows = wants->windows,
                                .wants_inspector = wants->many_disks};

    read_vddk(config, &facts);
    read_uring(&facts);
    if (wants->conversion) {
        CLEANUP(free_charp) char *inspector = guest_find_inspector();
        CLEANUP(free_charp) char *qemu_img = guest_find_qemu_img();

        facts.virt_v2v = guest_find_converter();
        facts.has_inspector = inspector != NULL;
        facts.has_qemu_img = qemu_img != NULL;
    }
    if (wants->windows) {
        facts.virtio_win = guest_find_virtio_win(config->virt.virtio_iso);
        facts.has_rhsrvany = guest_has_windows_tool("rhsrvany.exe");
        facts.has_pvvxsvc = guest_has_windows_tool("pvvxsvc.exe");
    }
    *ret_facts = facts;
}

void
local_facts_done(struct local_facts *facts)
{
    err_free(facts->vddk_error);
    free(facts->vddk_library);
    free(facts->uring_reason);
    free(facts->virt_v2v);
    free(facts->virtio_win);
    memset(facts, 0, sizeof(*facts));
}

void
local_rules(const struct local_facts *facts, struct preflight_findings *findings)
{
    judge_vddk(facts, findings);
    judge_uring(facts, findings);
    judge_conversion(facts, findings);
}
