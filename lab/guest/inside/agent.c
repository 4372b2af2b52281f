/* The pretend VM's only program: process 1 of a guest that is a kernel, a few modules and this.
 *
 * It loads the drivers of the devices it finds, mounts the disks by label, checks every manifest, says
 * so on the serial console, and then waits for the power button.  When the machine's serial number
 * (SMBIOS) says `v2c-writer=<KiB/s>` it meanwhile writes at that pace; a machine that says nothing, as
 * the one a migration ends on, is only looked at. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest/inside/content.h"

#define MAX_INPUTS 8
#define MAX_NICS   8
#define KIB        1024U

struct volume {
    const char *label, *mount_point, *base_dir, *live_dir;
    char device[32]; /* "" while not found */
    struct content live;
    uint64_t keep_free; /* bytes of the file system that are left alone */
};

static struct volume volumes[] = {
    {.label = "v2c-root",
     .mount_point = "/system",
     .base_dir = "/system/base",
     .live_dir = "/system/live"},
    {.label = "v2c-data",
     .mount_point = "/data",
     .base_dir = "/data/base",
     .live_dir = "/data/live"},
};
static int console_fd = -1;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
    char line[512] = "V2C-GUEST ";
    size_t length = strlen(line);
    va_list args;

    va_start(args, fmt);
    vsnprintf(line + length, sizeof(line) - length - 2, fmt, args);
    va_end(args);
    length = strlen(line);
    line[length++] = '\n';
    for (size_t done = 0; done < length;) {
        ssize_t n = write(console_fd, line + done, length - done);
        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* The text of a small file without its newline; "" when it cannot be read. */
static void
read_text(const char *path, char *ret_text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

    ret_text[n > 0 ? n : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
    if (fd >= 0)
        close(fd);
}

/* ---- drivers ----------------------------------------------------------------------------------- */

/* /mods/NAME.list names the files of module NAME and all it needs, in the order of loading. */
static void
load_driver(const char *name)
{
    char path[128], file[96];
    FILE *list;

    snprintf(path, sizeof(path), "/mods/%s.list", name);
    list = fopen(path, "r");
    while (list && fgets(file, sizeof(file), list)) {
        int fd;
        file[strcspn(file, "\n")] = '\0';
        snprintf(path, sizeof(path), "/mods/%s", file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
            say("module %s: %s", file, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    if (list)
        fclose(list);
}

static const struct {
    unsigned vendor, device; /* 0: any */
    const char *driver;
    bool is_late; /* every PC has one, hardly any disk hangs on it, and it takes half a second */
} drivers[] = {
    {0x15ad, 0x07c0, "vmw_pvscsi"},     {0x15ad, 0x07b0, "vmxnet3"},
    {0x1af4, 0, "virtio_pci"},          {0x1af4, 0x1000, "virtio_net"},
    {0x1af4, 0x1041, "virtio_net"},     {0x1af4, 0x1001, "virtio_blk"},
    {0x1af4, 0x1042, "virtio_blk"},     {0x1af4, 0x1004, "virtio_scsi"},
    {0x1af4, 0x1048, "virtio_scsi"},    {0x8086, 0x7010, "ata_piix", true},
    {0x8086, 0x7111, "ata_piix", true}, {0x8086, 0x2922, "ahci"},
    {0x8086, 0x100e, "e1000"},          {0x8086, 0x100f, "e1000"},
    {0x8086, 0x10d3, "e1000e"},
};

static unsigned
read_hex(const char *device, const char *what)
{
    char path[320], text[32];

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, what);
    read_text(path, text, sizeof(text));
    return (unsigned)strtoul(text, NULL, 16);
}

static void
load_pci_drivers(bool is_late)
{
    DIR *dir = opendir("/sys/bus/pci/devices");
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        unsigned vendor = read_hex(entry->d_name, "vendor");
        unsigned device = read_hex(entry->d_name, "device");
        for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
            if (drivers[i].is_late == is_late && drivers[i].vendor == vendor &&
                (!drivers[i].device || drivers[i].device == device))
                load_driver(drivers[i].driver);
    }
    if (dir)
        closedir(dir);
}

static void
load_drivers(void)
{
    load_pci_drivers(false);
    load_driver("sd_mod");
    load_driver("ext4");
    load_driver("evdev");
    load_driver("button");
}

/* ---- disks ------------------------------------------------------------------------------------- */

/* Whether the ext4 file system on @name has that label: superblock at 1024, magic at +0x38, label at
 * +0x78 (Documentation/filesystems/ext4/super.rst). */
static bool
has_label(const char *name, const char *label)
{
    unsigned char super[1024];
    char path[280];
    bool result = false;
    int fd;

    snprintf(path, sizeof(path), "/dev/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (pread(fd, super, sizeof(super), 1024) == (ssize_t)sizeof(super))
        result = super[0x38] == 0x53 && super[0x39] == 0xef &&
                 !strncmp((const char *)super + 0x78, label, 16);
    close(fd);
    return result;
}

static bool
find_volume(struct volume *volume)
{
    DIR *dir = opendir("/sys/class/block");
    struct dirent *entry;

    while (!volume->device[0] && dir && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < sizeof(volume->device) &&
            has_label(entry->d_name, volume->label))
            snprintf(volume->device, sizeof(volume->device), "%.31s", entry->d_name);
    if (dir)
        closedir(dir);
    return volume->device[0];
}

/* Controllers look for their disks in the background.  A machine may have no data disk: once the root
 * disk is there the other one gets a little longer. */
static void
find_volumes(void)
{
    int64_t start = now_ms(), deadline = start + 30000;
    bool has_root = false, has_data = false, is_late_loaded = false;

    while (now_ms() < deadline) {
        if (!has_root && (has_root = find_volume(&volumes[0])))
            deadline = now_ms() + 3000;
        has_data = has_data || find_volume(&volumes[1]);
        if (has_root && has_data)
            break;
        if (!is_late_loaded && now_ms() > start + 500) {
            load_pci_drivers(true);
            is_late_loaded = true;
        }
        sleep_ms(20);
    }
}

static bool
mount_volume(struct volume *volume)
{
    char path[64];

    snprintf(path, sizeof(path), "/dev/%s", volume->device);
    mkdir(volume->mount_point, 0755);
    if (mount(path, volume->mount_point, "ext4", MS_NOATIME, "noinit_itable") < 0) {
        say("mount %s: %s", path, strerror(errno));
        volume->device[0] = '\0';
        return false;
    }
    return true;
}

struct nic {
    unsigned index; /* in the order the kernel found them, which is that of the slots */
    char mac[32];
};

static int
compare_nics(const void *a, const void *b)
{
    return (int)((const struct nic *)a)->index - (int)((const struct nic *)b)->index;
}

static size_t
find_nics(struct nic nics[MAX_NICS])
{
    DIR *dir = opendir("/sys/class/net");
    struct dirent *entry;
    char path[300], index[16];
    size_t count = 0;

    while (dir && (entry = readdir(dir)) != NULL && count < MAX_NICS) {
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "lo"))
            continue;
        snprintf(path, sizeof(path), "/sys/class/net/%s/ifindex", entry->d_name);
        read_text(path, index, sizeof(index));
        snprintf(path, sizeof(path), "/sys/class/net/%s/address", entry->d_name);
        read_text(path, nics[count].mac, sizeof(nics[count].mac));
        nics[count++].index = (unsigned)strtoul(index, NULL, 10);
    }
    if (dir)
        closedir(dir);
    qsort(nics, count, sizeof(nics[0]), compare_nics);
    return count;
}

static void
say_up(void)
{
    struct nic nics[MAX_NICS];
    size_t count = find_nics(nics);
    char macs[MAX_NICS * 32] = "";

    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(macs);
        snprintf(macs + length, sizeof(macs) - length, "%s%s", i ? "," : "", nics[i].mac);
    }
    say("up root=%s data=%s nics=%zu mac=%s", volumes[0].device[0] ? volumes[0].device : "none",
        volumes[1].device[0] ? volumes[1].device : "none", count, count ? macs : "none");
}

/* A data disk once seen is missed when it is not there: the root disk remembers. */
static bool
is_data_missing(void)
{
    int fd;

    if (!volumes[1].device[0])
        return access("/system/has-data", F_OK) == 0;
    fd = open("/system/has-data", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    return false;
}

static bool
verify_volumes(void)
{
    unsigned files = 0, bad = is_data_missing();
    int64_t start = now_ms();
    bool is_ok = true;

    for (size_t i = 0; i < sizeof(volumes) / sizeof(volumes[0]); i++) {
        struct volume *v = &volumes[i];
        struct content base;
        if (!v->device[0]) {
            bad += i == 0;
            continue;
        }
        if (content_open(&base, v->base_dir, false, 0) < 0) {
            say("%s: %s", v->base_dir, strerror(errno));
            bad++;
        } else {
            content_verify(&base, &files, &bad);
        }
        content_close(&base);
        if (content_open(&v->live, v->live_dir, true, (uint64_t)time(NULL) * 7919 + i) < 0) {
            say("%s: %s", v->live_dir, strerror(errno));
            bad++;
            is_ok = false;
            continue;
        }
        content_verify(&v->live, &files, &bad);
    }
    say("checking took ms=%lld", (long long)(now_ms() - start));
    say("verified files=%u bad=%u", files, bad);
    return is_ok && bad == 0;
}

/* ---- writing ----------------------------------------------------------------------------------- */

static bool
is_crowded(const struct volume *volume)
{
    struct statvfs fs;

    if (statvfs(volume->mount_point, &fs) < 0)
        return true;
    return (uint64_t)fs.f_bavail * fs.f_bsize < volume->keep_free;
}

static void
prepare_writing(struct volume *volume)
{
    struct statvfs fs;

    if (!volume->device[0])
        return;
    if (content_sweep(&volume->live) < 0)
        say("%s: %s", volume->live_dir, strerror(errno));
    if (statvfs(volume->mount_point, &fs) == 0)
        volume->keep_free = (uint64_t)fs.f_blocks * fs.f_bsize / 8;
}

/* One step: mostly a new file, sometimes an old one gone or written again, a few of them as zeroes, so
 * that blocks are freed, used again and cleared.  Returns the bytes written, or -1. */
static int64_t
write_step(struct volume *volume)
{
    struct content *live = &volume->live;
    unsigned dice = (unsigned)(content_random(live) >> 33) % 100;
    size_t index = live->count ? (size_t)(content_random(live) >> 20) % live->count : 0;
    uint32_t size;

    if (live->count > 8 && (dice < 8 || is_crowded(volume)))
        return content_remove(live, dice < 8 ? index : 0);
    if (live->count > 4 && dice < 24) {
        size = live->files[index].size;
        return content_rewrite(live, index, dice < 14) < 0 ? -1 : (int64_t)size;
    }
    size = 1U + (uint32_t)(content_random(live) >> 40) % (dice < 60 ? 32 * KIB : 256 * KIB);
    return content_add(live, size, dice > 97, true) < 0 ? -1 : (int64_t)size;
}

/* ---- the power button -------------------------------------------------------------------------- */

static nfds_t
open_inputs(struct pollfd inputs[MAX_INPUTS])
{
    DIR *dir = opendir("/dev/input");
    struct dirent *entry;
    nfds_t count = 0;
    char path[300];

    while (dir && (entry = readdir(dir)) != NULL && count < MAX_INPUTS) {
        if (strncmp(entry->d_name, "event", 5) != 0)
            continue;
        snprintf(path, sizeof(path), "/dev/input/%s", entry->d_name);
        inputs[count].fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        inputs[count].events = POLLIN;
        if (inputs[count].fd >= 0)
            count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

static bool
is_button_pressed(const struct pollfd *inputs, nfds_t count)
{
    struct input_event event;

    for (nfds_t i = 0; i < count; i++)
        while (read(inputs[i].fd, &event, sizeof(event)) == (ssize_t)sizeof(event))
            if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
                return true;
    return false;
}

/* Returns when the power button is pressed. */
static void
live(unsigned kib_per_s)
{
    struct pollfd inputs[MAX_INPUTS];
    nfds_t input_count = open_inputs(inputs);
    int64_t due = now_ms();
    unsigned steps = 0;
    uint64_t bytes = 0;

    if (input_count == 0)
        say("no power button");
    while (!is_button_pressed(inputs, input_count)) {
        int64_t wait = kib_per_s ? due - now_ms() : -1, n;
        struct volume *volume = &volumes[steps % 3 && volumes[1].device[0] ? 1 : 0];
        if (!kib_per_s || wait > 0) {
            poll(inputs, input_count, (int)wait);
            continue;
        }
        n = write_step(volume);
        if (n < 0) {
            say("write %s: %s", volume->live_dir, strerror(errno));
            kib_per_s = 0;
            continue;
        }
        bytes += (uint64_t)n;
        due = (due < now_ms() - 1000 ? now_ms() : due) + n * 1000 / ((int64_t)kib_per_s * KIB);
        if (++steps % 8 == 0)
            say("wrote steps=%u kib=%llu", steps, (unsigned long long)(bytes / KIB));
    }
    for (nfds_t i = 0; i < input_count; i++)
        close(inputs[i].fd);
}

static void
shut_down(void)
{
    size_t files = 0;

    for (size_t i = 0; i < sizeof(volumes) / sizeof(volumes[0]); i++) {
        files += volumes[i].live.count;
        content_close(&volumes[i].live);
        if (volumes[i].device[0] && umount(volumes[i].mount_point) < 0)
            say("umount %s: %s", volumes[i].mount_point, strerror(errno));
    }
    sync();
    say("down files=%zu", files);
    reboot(RB_POWER_OFF);
}

int
main(void)
{
    char serial[64];
    unsigned kib_per_s = 0;
    bool is_ok;

    mkdir("/dev", 0755);
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mount("d", "/dev", "devtmpfs", 0, NULL);
    mount("p", "/proc", "proc", 0, NULL);
    mount("s", "/sys", "sysfs", 0, NULL);
    console_fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    load_drivers();
    find_volumes();
    for (size_t i = 0; i < sizeof(volumes) / sizeof(volumes[0]); i++)
        if (volumes[i].device[0])
            (void)mount_volume(&volumes[i]);
    say_up();
    is_ok = verify_volumes();
    read_text("/sys/class/dmi/id/product_serial", serial, sizeof(serial));
    if (!strncmp(serial, "v2c-writer=", 11))
        kib_per_s = (unsigned)strtoul(serial + 11, NULL, 10);
    if (!is_ok || !volumes[0].device[0])
        kib_per_s = 0; /* nothing may cover the tracks of what is wrong */
    for (size_t i = 0; kib_per_s && i < sizeof(volumes) / sizeof(volumes[0]); i++)
        prepare_writing(&volumes[i]);
    live(kib_per_s);
    shut_down();
    for (;;)
        pause();
}
