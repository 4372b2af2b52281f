/* Whether a converted guest boots: it is started without a network, and watched by what it says on its
 * serial console and by what it writes to its disks.  Both are in the guest's hands, so they are bounded. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "guest/internal.h"

#define MAX_VARS        (16 * MIB)
#define MAX_CONSOLE     (8 * MIB)
#define TAIL_BYTES      (64 * KIB)
#define WRITES_OF_LIFE  (256 * KIB) /* a boot loader writes a sector, if anything */
#define SILENT_CONSOLE  (4 * KIB)   /* what firmware and boot loader say */
#define SILENT_GUEST_MS 60000       /* after its first writes, when no console speaks */
#define MAX_WORDS       (80 + 4 * GUEST_MAX_DISKS)

/* ---- the machine ------------------------------------------------------------------------------- */

struct words {
    char *items[MAX_WORDS]; /* owned */
    size_t count;
};

static void
say(struct words *words, char *word /* taken */)
{
    words->items[words->count++] = word;
}

static void
words_done(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
}

/* A comma is written twice in an option of QEMU's; the caller frees. */
static char *
escaped(const char *text)
{
    char *result = xcalloc(2 * strlen(text) + 1, 1), *to = result;

    for (; *text; text++) {
        if (*text == ',')
            *to++ = ',';
        *to++ = *text;
    }
    return result;
}

static void
say_disks(struct words *words, const struct guest_machine *machine)
{
    if (machine->is_scsi) {
        say(words, xstrdup("-device"));
        say(words, xstrdup("virtio-scsi-pci,id=scsi"));
    }
    for (size_t i = 0; i < machine->count; i++) {
        CLEANUP(free_charp) char *file = escaped(machine->images[i]);

        say(words, xstrdup("-drive"));
        say(words, xasprintf("file=%s,format=qcow2,if=none,id=disk%zu,cache=unsafe", file, i));
        say(words, xstrdup("-device"));
        say(words, xasprintf("%s,drive=disk%zu%s", machine->is_scsi ? "scsi-hd" : "virtio-blk-pci",
                             i, i ? "" : ",bootindex=1"));
    }
}

/* The firmware as distributions install it: code that is shared, variables that are copied. */
static int
say_firmware(struct words *words, const struct guest_machine *machine, bool *ret_is_there,
             struct err **err)
{
    static const char *const pairs[][2] = {
        {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
        {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
        {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
    };
    CLEANUP(free_charp) char *vars = file_join(machine->work_dir, GUEST_UEFI_VARS);
    CLEANUP(free_charp) char *file = escaped(vars);
    CLEANUP(free_charp) char *data = NULL;
    size_t length, i = 0;

    *ret_is_there = true;
    if (!machine->is_uefi)
        return 0;
    while (i < ARRAY_SIZE(pairs) &&
           (access(pairs[i][0], R_OK) < 0 || access(pairs[i][1], R_OK) < 0))
        i++;
    *ret_is_there = i < ARRAY_SIZE(pairs);
    if (!*ret_is_there)
        return 0;
    if (file_read(pairs[i][1], MAX_VARS, &data, &length, err) < 0 ||
        file_replace(vars, data, length, 0600, err) < 0)
        return -1;
    say(words, xstrdup("-drive"));
    say(words, xasprintf("if=pflash,format=raw,unit=0,readonly=on,file=%s", pairs[i][0]));
    say(words, xstrdup("-drive"));
    say(words, xasprintf("if=pflash,format=raw,unit=1,file=%s", file));
    return 0;
}

static void
say_machine(struct words *words, const struct guest_machine *machine, const char *console)
{
    static const char *const fixed[] = {
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-vga",
        "std",
        "-cpu",
        "max",
        "-nic",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"};
    CLEANUP(free_charp) char *file = escaped(console);
    const char *settings = getenv("LIBGUESTFS_BACKEND_SETTINGS");

    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        say(words, xstrdup(fixed[i]));
    /* A /dev/kvm that opens and does not work makes QEMU hang: who knows of one says so to libguestfs. */
    if (!settings || !strstr(settings, "force_tcg")) {
        say(words, xstrdup("-accel"));
        say(words, xstrdup("kvm"));
    }
    say(words, xstrdup("-accel"));
    say(words, xstrdup("tcg"));
    say(words, xstrdup("-machine"));
    say(words, xstrdup(machine->is_uefi ? "q35" : "pc"));
    say(words, xstrdup("-m"));
    say(words, xasprintf("%" PRId32, machine->memory_mib));
    say(words, xstrdup("-chardev"));
    say(words, xasprintf("file,id=console,path=%s", file));
    say(words, xstrdup("-serial"));
    say(words, xstrdup("chardev:console"));
}

/* ---- signs of life ----------------------------------------------------------------------------- */

struct follower {
    const struct guest_machine *machine;
    const struct guest_watch *watch;
    const char *console;
    uint64_t first_bytes;
    int64_t began_ms, wrote_ms; /* 0: has not written yet */
    bool is_decided;
    struct guest_boot found;
    char last[200]; /* what QEMU said last */
};

static uint64_t
disk_bytes(const struct guest_machine *machine)
{
    uint64_t sum = 0;
    struct stat st;

    for (size_t i = 0; i < machine->count; i++)
        if (stat(machine->images[i], &st) == 0)
            sum += (uint64_t)st.st_blocks * 512;
    return sum;
}

static void
decide(struct follower *f, enum guest_life life, const char *text)
{
    f->is_decided = true;
    f->found.life = life;
    f->found.ms = clock_monotonic_ms() - f->began_ms;
    snprintf(f->found.text, sizeof(f->found.text), "%s", text);
}

/* The last of what the console has said, without NULs; *ret_size is all that there is. */
static void
read_tail(const char *path, char *ret_text, size_t room, uint64_t *ret_size)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    ssize_t n = 0;

    *ret_size = 0;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        off_t from = st.st_size > (off_t)room - 1 ? st.st_size - (off_t)room + 1 : 0;

        *ret_size = (uint64_t)st.st_size;
        n = pread(fd, ret_text, room - 1, from);
    }
    n = MAX(n, 0);
    for (ssize_t i = 0; i < n; i++)
        if (!ret_text[i])
            ret_text[i] = ' ';
    ret_text[n] = '\0';
}

static void
look_at_console(struct follower *f, uint64_t *ret_size)
{
    static const char *const deaths[] = {"Kernel panic - not syncing",
                                         "(initramfs)",
                                         "Entering emergency mode",
                                         "You are in emergency mode",
                                         "No bootable device",
                                         "No bootable option",
                                         "grub rescue>",
                                         "Cannot open root device"};
    CLEANUP(free_charp) char *text = xcalloc(TAIL_BYTES, 1);

    read_tail(f->console, text, TAIL_BYTES, ret_size);
    if (strstr(text, "login:")) {
        decide(f, GUEST_LIFE_LOGIN, "its serial console asks for a login");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(deaths) && !f->is_decided; i++)
        if (strstr(text, deaths[i])) {
            CLEANUP(free_charp)
            char *found = xasprintf("its serial console says \"%s\"", deaths[i]);

            decide(f, GUEST_LIFE_NONE, found);
        }
    if (*ret_size > MAX_CONSOLE && !f->is_decided)
        decide(f, GUEST_LIFE_UNKNOWN, "it floods its serial console");
}

static void
look(struct follower *f)
{
    int64_t now = clock_monotonic_ms();
    uint64_t said = 0;

    look_at_console(f, &said);
    if (f->is_decided)
        return;
    if (!f->wrote_ms && disk_bytes(f->machine) >= f->first_bytes + WRITES_OF_LIFE)
        f->wrote_ms = now;
    if (f->wrote_ms && said < SILENT_CONSOLE && now - f->wrote_ms > SILENT_GUEST_MS)
        decide(f, GUEST_LIFE_DISK, "it writes to its disks");
}

static bool
is_over(void *opaque)
{
    struct follower *f = opaque;

    if (f->watch->is_stopped && f->watch->is_stopped(f->watch->opaque))
        return true;
    look(f);
    return f->is_decided;
}

static void
keep_line(void *opaque, const char *text)
{
    struct follower *f = opaque;

    snprintf(f->last, sizeof(f->last), "%s", text);
    if (f->watch->line)
        f->watch->line(f->watch->opaque, text);
}

/* QEMU has ended, or the time is over, and the console has not told. */
static void
decide_at_end(struct follower *f, int status, bool is_late)
{
    CLEANUP(free_charp) char *text = NULL;
    bool wrote;

    look(f);
    if (f->is_decided)
        return;
    wrote = disk_bytes(f->machine) >= f->first_bytes + WRITES_OF_LIFE;
    if (!is_late && status) {
        text = xasprintf("QEMU ended (%s): %s", child_describe_status(status), f->last);
        decide(f, GUEST_LIFE_UNKNOWN, text);
    } else if (wrote) {
        decide(f, GUEST_LIFE_DISK,
               is_late ? "it writes to its disks" : "it wrote to its disks and restarted");
    } else {
        decide(f, GUEST_LIFE_NONE,
               is_late ? "neither a login prompt nor a write to its disks was seen in time"
                       : "it ended without having written to its disks");
    }
}

static int
run(struct follower *f, const char *const *argv, struct err **err)
{
    struct guest_watch inner = {
        .line = keep_line, .is_stopped = is_over, .opaque = f, .timeout_ms = f->watch->timeout_ms};
    struct err *failure = NULL;
    int status = 0;
    bool is_late;

    f->began_ms = clock_monotonic_ms();
    f->first_bytes = disk_bytes(f->machine);
    if (guest_run(argv, NULL, &inner, NULL, &status, &failure) == 0) {
        decide_at_end(f, status, false);
        return 0;
    }
    is_late = err_code(failure) == E_GUEST_TIMEOUT;
    if (!f->is_decided && !is_late)
        return err_move(err, &failure);
    err_free(failure);
    if (is_late)
        decide_at_end(f, status, true);
    return 0;
}

int
guest_boot(const struct guest_machine *machine, const struct guest_watch *watch,
           struct guest_boot *ret, struct err **err)
{
    CLEANUP(words_done) struct words words = {.count = 0};
    CLEANUP(free_charp) char *console = file_join(machine->work_dir, GUEST_CONSOLE);
    CLEANUP(free_charp) char *program = guest_find_qemu();
    struct follower f = {.machine = machine, .watch = watch, .console = console};
    const char *argv[MAX_WORDS + 2];
    bool has_firmware;

    if (machine->count > GUEST_MAX_DISKS)
        return err_set(err, E_LIMIT, "a guest of more than %d disks is not booted",
                       GUEST_MAX_DISKS);
    if (unlink(console) < 0 && errno != ENOENT)
        return err_set_errno(err, E_IO, errno, "%s", console);
    if (say_firmware(&words, machine, &has_firmware, err) < 0)
        return -1;
    if (!program || !has_firmware) {
        decide(&f, GUEST_LIFE_UNKNOWN,
               !program ? "there is no qemu-system-x86_64 (package qemu-system-x86)"
                        : "there is no UEFI firmware for QEMU (package ovmf, edk2-ovmf)");
        f.found.ms = 0;
        *ret = f.found;
        return 0;
    }
    say_machine(&words, machine, console);
    say_disks(&words, machine);
    argv[0] = program;
    for (size_t i = 0; i < words.count; i++)
        argv[i + 1] = words.items[i];
    argv[words.count + 1] = NULL;
    if (run(&f, argv, err) < 0)
        return -1;
    *ret = f.found;
    return 0;
}
