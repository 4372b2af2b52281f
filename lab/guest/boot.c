/* Boots what was imported, as CloudStack would: from overlays, so that the imported files stay as they
 * are, under QEMU's own locks, so that a file somebody still writes is refused. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/lab_guest.h"
#include "guest/qemu.h"

#define MAX_DISKS 16
#define MAX_NICS  8
#define MAX_LINE  256
#define MARK      "V2C-GUEST "

struct lab_boot {
    struct qemu qemu;
    char *dir;
    unsigned disk_count;
    int serial_fd;
    pthread_mutex_t mutex; /* guards all below, and reading from serial_fd */
    struct lab_boot_state state;
    char line[MAX_LINE]; /* of the console, not yet at its end */
    size_t line_length;
};

/* ---- the console ------------------------------------------------------------------------------- */

static void
take_line(struct lab_boot *boot)
{
    const char *mark = strstr(boot->line, MARK);
    struct lab_boot_state *state = &boot->state;

    if (!mark)
        return;
    (void)snprintf(state->line, sizeof(state->line), "%s", mark);
    if (!strncmp(mark, MARK "up ", strlen(MARK "up ")))
        state->is_up = true;
    if (sscanf(mark, MARK "verified files=%u bad=%u", &state->files, &state->bad_files) == 2)
        state->is_verified = true;
}

static void
read_console(struct lab_boot *boot)
{
    char data[4096];
    ssize_t n;

    while ((n = read(boot->serial_fd, data, sizeof(data))) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (data[i] == '\n') {
                boot->line[boot->line_length] = '\0';
                take_line(boot);
                boot->line_length = 0;
            } else if (isprint((unsigned char)data[i]) && boot->line_length < MAX_LINE - 1) {
                boot->line[boot->line_length++] = data[i];
            }
        }
}

void
lab_boot_state(struct lab_boot *boot, struct lab_boot_state *ret)
{
    SCOPE_LOCK(&boot->mutex);

    read_console(boot);
    *ret = boot->state;
}

/* NULL: QEMU has ended; SHUTDOWN: the guest has, and there is nothing left to run. */
static void
on_event(void *opaque, const char *event)
{
    struct lab_boot *boot = opaque;
    SCOPE_LOCK(&boot->mutex);

    if (!event || !strcmp(event, "SHUTDOWN"))
        boot->state.is_running = false;
}

/* ---- devices ----------------------------------------------------------------------------------- */

enum bus { BUS_VIRTIO, BUS_SCSI, BUS_SATA, BUS_IDE };

static int
find_bus(const char *name, enum bus *ret_bus, struct err **err)
{
    static const struct {
        const char *name;
        enum bus bus;
    } known[] = {
        {"virtio", BUS_VIRTIO}, {"scsi", BUS_SCSI}, {"virtio-scsi", BUS_SCSI},
        {"sata", BUS_SATA},     {"ide", BUS_IDE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (!strcasecmp(known[i].name, name)) {
            *ret_bus = known[i].bus;
            return 0;
        }
    return err_set(err, E_UNSUPPORTED, "a disk controller \"%s\"", name);
}

static int
find_nic(const char *name, const char **ret_device, struct err **err)
{
    static const struct {
        const char *name, *device;
    } known[] = {
        {"virtio", "virtio-net-pci"}, {"e1000", "e1000"},     {"e1000e", "e1000e"},
        {"rtl8139", "rtl8139"},       {"vmxnet3", "vmxnet3"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (!strcasecmp(known[i].name, name)) {
            *ret_device = known[i].device;
            return 0;
        }
    return err_set(err, E_UNSUPPORTED, "a network adapter \"%s\"", name);
}

static void
add_controller(struct qemu_args *args, enum bus bus)
{
    if (bus == BUS_SCSI) {
        qemu_arg(args, "-device");
        qemu_arg(args, "virtio-scsi-pci,id=scsi0");
    } else if (bus == BUS_SATA) {
        qemu_arg(args, "-device");
        qemu_arg(args, "ich9-ahci,id=sata0");
    }
}

static void
add_disk(struct qemu_args *args, enum bus bus, unsigned number)
{
    const char *boot = number == 0 ? ",bootindex=1" : "";

    qemu_arg(args, "-blockdev");
    qemu_arg(args,
             "{\"driver\":\"qcow2\",\"node-name\":\"disk%u\",\"cache\":{\"no-flush\":true},"
             "\"file\":{\"driver\":\"file\",\"filename\":\"" QEMU_DIR "/overlay%u.qcow2\"}}",
             number, number);
    qemu_arg(args, "-device");
    switch (bus) {
    case BUS_VIRTIO:
        qemu_arg(args, "virtio-blk-pci,drive=disk%u%s", number, boot);
        break;
    case BUS_SCSI:
        qemu_arg(args, "scsi-hd,drive=disk%u,bus=scsi0.0,scsi-id=%u%s", number, number, boot);
        break;
    case BUS_SATA:
        qemu_arg(args, "ide-hd,drive=disk%u,bus=sata0.%u%s", number, number, boot);
        break;
    case BUS_IDE:
        qemu_arg(args, "ide-hd,drive=disk%u,bus=ide.%u,unit=%u%s", number, number / 2, number % 2,
                 boot);
        break;
    }
}

static int
check_plan(const struct lab_boot_plan *plan, enum bus bus, struct err **err)
{
    unsigned most = bus == BUS_IDE ? 4 : bus == BUS_SATA ? 6 : MAX_DISKS;

    if (plan->disk_count == 0 || plan->disk_count > most)
        return err_set(err, E_UNSUPPORTED, "%u disks on %s", plan->disk_count,
                       plan->disk_controller);
    return plan->nic_count > MAX_NICS ? err_set(err, E_UNSUPPORTED, "%u NICs", plan->nic_count) : 0;
}

/* The firmware itself, and its variables, which every machine has its own of. */
static int
add_uefi(const struct lab_boot_plan *plan, struct qemu_args *args, struct err **err)
{
    static const struct {
        const char *code, *vars;
    } known[] = {
        {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
        {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
        {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
    };
    CLEANUP(free_charp) char *path = file_join(plan->dir, "vars.fd"), *data = NULL;
    size_t i = 0, length;

    while (i < ARRAY_SIZE(known) && access(known[i].code, R_OK) < 0)
        i++;
    if (i == ARRAY_SIZE(known)) {
        (void)err_set(err, E_UNSUPPORTED, "the VM boots from UEFI, and this host has no OVMF");
        return err_hint(err, "install the package ovmf");
    }
    if (file_read(known[i].vars, 16 * MIB, &data, &length, err) < 0 ||
        file_replace(path, data, length, 0600, err) < 0)
        return -1;
    qemu_arg(args, "-drive");
    qemu_arg(args, "if=pflash,unit=0,format=raw,readonly=on,file=%s", known[i].code);
    qemu_arg(args, "-drive");
    qemu_arg(args, "if=pflash,unit=1,format=raw,file=" QEMU_DIR "/vars.fd");
    return 0;
}

static int
build_arguments(const struct lab_boot_plan *plan, struct qemu_args *args, struct err **err)
{
    const char *device = NULL;
    enum bus bus = BUS_VIRTIO;

    if (find_bus(plan->disk_controller, &bus, err) < 0 || check_plan(plan, bus, err) < 0 ||
        (plan->nic_count && find_nic(plan->nic_adapter, &device, err) < 0) ||
        (plan->is_uefi && add_uefi(plan, args, err) < 0))
        return -1;
    qemu_arg(args, "-name");
    qemu_arg(args, "v2c-lab-boot");
    qemu_arg(args, "-smbios");
    qemu_arg(args,
             "type=1,manufacturer=Apache Software Foundation,product=CloudStack KVM Hypervisor");
    if (plan->memory_mib) {
        qemu_arg(args, "-m"); /* the last one counts */
        qemu_arg(args, "%u", plan->memory_mib);
    }
    add_controller(args, bus);
    for (unsigned i = 0; i < plan->disk_count; i++)
        add_disk(args, bus, i);
    for (unsigned i = 0; i < plan->nic_count; i++) {
        qemu_arg(args, "-netdev");
        qemu_arg(args, "user,id=net%u,restrict=on", i);
        qemu_arg(args, "-device");
        qemu_arg(args, "%s,netdev=net%u,mac=%s,romfile=", device, i, plan->macs[i]);
    }
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------- */

static char *
overlay_path(const char *dir, unsigned number)
{
    return xasprintf("%s/overlay%u.qcow2", dir, number);
}

static int
make_overlays(const struct lab_boot_plan *plan, struct err **err)
{
    for (unsigned i = 0; i < plan->disk_count; i++) {
        CLEANUP(free_charp) char *path = overlay_path(plan->dir, i);
        CLEANUP(free_charp) char *below = realpath(plan->disks[i], NULL);

        if (!below)
            return err_set_errno(err, E_IO, errno, "%s", plan->disks[i]);
        if (qemu_create_qcow2(path, 0, below, "qcow2", err) < 0)
            return -1;
    }
    return 0;
}

static void
boot_closep(struct lab_boot **boot)
{
    if (*boot)
        lab_boot_stop(*boot);
}

int
lab_boot_start(const struct lab_boot_plan *plan, struct lab_boot **ret, struct err **err)
{
    CLEANUP(qemu_args_done) struct qemu_args args = {0};
    CLEANUP(boot_closep) struct lab_boot *boot = xcalloc(1, sizeof(*boot));
    CLEANUP(free_charp) char *serial = file_join(plan->dir, "serial.log");

    pthread_mutex_init(&boot->mutex, NULL);
    boot->dir = xstrdup(plan->dir);
    boot->disk_count = plan->disk_count;
    boot->qemu = (struct qemu){.child = CHILD_NONE, .dir_fd = -1};
    boot->serial_fd = open(serial, O_RDONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (boot->serial_fd < 0)
        return err_set_errno(err, E_IO, errno, "%s", serial);
    if (build_arguments(plan, &args, err) < 0 || make_overlays(plan, err) < 0)
        return -1;
    boot->state.is_running = true; /* before QEMU can say that it is over */
    if (qemu_start(plan->dir, &args, on_event, boot, &boot->qemu, err) < 0)
        return -1;
    *ret = take(boot);
    return 0;
}

void
lab_boot_stop(struct lab_boot *boot)
{
    if (!boot)
        return;
    qemu_stop(&boot->qemu);
    for (unsigned i = 0; i < boot->disk_count; i++) {
        CLEANUP(free_charp) char *path = overlay_path(boot->dir, i);

        (void)unlink(path);
    }
    close_fdp(&boot->serial_fd);
    free(boot->dir);
    pthread_mutex_destroy(&boot->mutex);
    free(boot);
}
