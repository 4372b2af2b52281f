/* Makes a guest boot on KVM: has virt-v2v-in-place put virtio drivers and settings into it.
 *
 * virt-v2v changes a guest in place, and what it leaves behind when it fails is of no use; so it is given
 * overlays, which are committed when it has succeeded and thrown away when not.  Which files, and when, is
 * the caller's to decide and to remember.  Everything here runs programs that others wrote (virt-v2v,
 * virt-inspector, qemu-img), with a time limit, without secrets in their environment, their output handed
 * over line by line.
 *
 * Threading: no state; calls block. */
#ifndef V2C_GUEST_GUEST_H
#define V2C_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* ---- what this host has ------------------------------------------------------------------------ */

/* virt-v2v-in-place, as the existing tool looks for it: VIRT_V2V_IN_PLACE and V2C_VIRT_V2V_BIN (which
 * decide, also when nothing is there), PATH, /usr/libexec, /usr/bin.  The caller frees; NULL. */
char *guest_find_converter(void);
/* virt-inspector: V2C_VIRT_INSPECTOR, else PATH.  The caller frees; NULL. */
char *guest_find_inspector(void);
/* qemu-img, which makes and commits the overlays: in PATH.  The caller frees; NULL. */
char *guest_find_qemu_img(void);
/* The drivers for Windows, an ISO or a directory: @configured, else the usual places.  The caller frees;
 * NULL. */
char *guest_find_virtio_win(const char *configured);
/* "rhsrvany.exe" or "pvvxsvc.exe": what virt-v2v needs to run scripts at a Windows guest's first boot. */
bool guest_has_windows_tool(const char *name);

/* ---- running others' programs ------------------------------------------------------------------ */

struct guest_watch {
    void (*line)(void *opaque, const char *text); /* of output, without its end; may be NULL */
    bool (*is_stopped)(void *opaque);             /* asked a few times a second; may be NULL */
    void *opaque;
    int64_t timeout_ms; /* 0: an hour */
};

/* ---- which disk holds the system --------------------------------------------------------------- */

struct guest_inspection {
    char *root;           /* device, as libguestfs names it: "/dev/sda1", "/dev/vg/root" */
    char *type, *product; /* "linux" or "windows"; "Debian GNU/Linux 12 (bookworm)" */
    unsigned systems;     /* that were found; only the first is spoken of */
    /* Whether the first disk alone is all of the system.  Logical volumes and the like do not tell. */
    bool is_on_first_disk;
};
/* What virt-inspector says of @images (QCOW2 files, the boot disk first).  E_GUEST_TOOLS,
 * E_GUEST_INSPECT (no system, or its answer makes no sense), E_GUEST_TIMEOUT, E_CANCELLED. */
int guest_inspect(const char *const *images, size_t count, const struct guest_watch *watch,
                  struct guest_inspection *ret, struct err **err);
void guest_inspection_done(struct guest_inspection *inspection);

/* ---- conversion -------------------------------------------------------------------------------- */

struct guest_conversion {
    const char *const *images; /* QCOW2 files, the boot disk first: all that are to be seen */
    size_t count;
    const char *root;       /* device of the system; NULL: the first that is found */
    const char *virtio_win; /* NULL: not there */
    const char
        *block_driver; /* "virtio-scsi", "virtio-blk", where the version takes it; NULL: its own */
    bool is_uefi;
    const char *work_dir; /* for a description of the disks; must exist */
    bool is_debug;        /* -v -x */
};
/* E_GUEST_TOOLS; E_GUEST_CONVERT with the step that failed and virt-v2v's own words; E_GUEST_TIMEOUT;
 * E_CANCELLED.  But for success the images are to be thrown away. */
int guest_convert(const struct guest_conversion *conversion, const struct guest_watch *watch,
                  struct err **err);

/* ---- looking whether it boots ------------------------------------------------------------------ */

enum guest_life {
    GUEST_LIFE_UNKNOWN, /* it could not be tried, or nothing can be told */
    GUEST_LIFE_NONE,
    GUEST_LIFE_DISK,  /* it writes to its disks, which no boot loader does */
    GUEST_LIFE_LOGIN, /* its serial console asks for a login */
};
struct guest_machine {
    const char *const *images; /* QCOW2 files, the boot disk first: the guest writes to them */
    size_t count;
    bool is_uefi; /* without secure boot */
    bool is_scsi; /* virtio-scsi, else virtio-blk */
    int32_t memory_mib;
    const char *work_dir; /* for GUEST_CONSOLE and GUEST_UEFI_VARS, which stay; must exist */
};
struct guest_boot {
    enum guest_life life;
    int64_t ms;
    char text[256]; /* one line: what was seen */
};
#define GUEST_CONSOLE   "console.log"
#define GUEST_UEFI_VARS "uefi-vars.fd"
/* Boots @machine under QEMU without any network until it shows life or the watch's time is over, and ends
 * it.  E_CANCELLED, E_IO and the like; a guest that does not boot is no error. */
int guest_boot(const struct guest_machine *machine, const struct guest_watch *watch,
               struct guest_boot *ret, struct err **err);
/* qemu-system-x86_64 in PATH, else /usr/libexec/qemu-kvm.  The caller frees; NULL. */
char *guest_find_qemu(void);

/* ---- overlays ---------------------------------------------------------------------------------- */

/* An empty QCOW2 file @overlay above @base, which nobody may write from now on.  An old one of that name
 * is replaced.  E_GUEST_OVERLAY, E_NO_SPACE. */
int guest_overlay_create(const char *base, const char *overlay, struct err **err);
/* Makes an image durable that others' programs have written.  E_GUEST_OVERLAY, E_NO_SPACE. */
int guest_image_sync(const char *path, struct err **err);
/* Bytes that the overlay occupies: at most so much more will be in the base after a commit. */
int guest_overlay_bytes(const char *overlay, uint64_t *ret_bytes, struct err **err);
/* Writes what the overlay holds into its base, durably.  The overlay stays as it is, so that a commit that
 * was interrupted, or found no room, can be done again; then @is_repeated, and what the first one lost track
 * of in the base is given back.  E_GUEST_OVERLAY, E_NO_SPACE. */
int guest_overlay_commit(const char *overlay, const char *base, bool is_repeated,
                         const struct guest_watch *watch, struct err **err);

#endif
