#include "support.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

const char *
support_dir(void)
{
    if (!dir[0]) {
        snprintf(dir, sizeof(dir), "./qcow2.XXXXXX");
        if (!mkdtemp(dir))
            abort();
    }
    return dir;
}

char *
support_path(const char *name)
{
    return xasprintf("%s/%s", support_dir(), name);
}

void
support_cleanup(void)
{
    DIR *d = dir[0] ? opendir(dir) : NULL;
    struct dirent *entry;

    while (d && (entry = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(dir);
    dir[0] = 0;
}

int
support_run(const char *const *argv)
{
    pid_t pid = vfork();
    int status;

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        if (!getenv("SUPPORT_VERBOSE"))
            dup2(null, 2);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) == 127)
        return -1;
    return WEXITSTATUS(status);
}

bool
support_has_qemu(void)
{
    const char *argv[] = {"qemu-img", "--version", NULL};

    return support_run(argv) == 0;
}

int
support_qemu_check(const char *path)
{
    const char *argv[] = {"qemu-img", "check", "-q", "-f", "qcow2", path, NULL};

    return support_run(argv);
}

bool
support_qemu_size_is(const char *path, uint64_t size)
{
    CLEANUP(free_charp)
    char *command = xasprintf(
        "qemu-img info --output=json %s | grep -q '\"virtual-size\": %" PRIu64 ",'", path, size);
    const char *argv[] = {"sh", "-c", command, NULL};

    return support_run(argv) == 0;
}

bool
support_same(const char *raw, const char *qcow2)
{
    const char *argv[] = {"qemu-img", "compare", "-q", "-f",  "raw",
                          "-F",       "qcow2",   raw,  qcow2, NULL};

    return support_run(argv) == 0;
}

struct waiting {
    unsigned left;
    struct err *error;
};

static void
waiting_done(struct disk_request *request, struct err *error)
{
    struct waiting *waiting = request->opaque;

    waiting->left = 0;
    waiting->error = error;
}

void
support_wait(struct disk_target *target, const unsigned *counter)
{
    while (*counter) {
        struct pollfd fd = {.fd = target->poll_fd, .events = POLLIN};
        unsigned count;

        if (poll(&fd, 1, 20000) != 1)
            abort();
        if (target->ops->reap(target, &count, NULL) < 0)
            abort();
    }
}

static int
finish_waiting(struct disk_target *target, struct waiting *waiting, struct err **err)
{
    if (target->ops->submit(target, err) < 0)
        abort();
    support_wait(target, &waiting->left);
    return waiting->error ? err_move(err, &waiting->error) : 0;
}

int
support_write(struct disk_target *target, struct disk_pool *pool, const uint8_t *bytes,
              uint64_t offset, uint32_t length, struct err **err)
{
    struct waiting waiting = {.left = 1};
    struct disk_slot *slot = disk_pool_get(pool);
    struct disk_request request = {
        .offset = offset, .length = length, .slot = slot, .done = waiting_done, .opaque = &waiting};
    int result = -1;

    memcpy(slot->data, bytes, length);
    if (target->ops->write(target, &request, err) == 0)
        result = finish_waiting(target, &waiting, err);
    disk_pool_put(pool, slot);
    return result;
}

int
support_read(struct disk_target *target, struct disk_pool *pool, uint8_t *bytes, uint64_t offset,
             uint32_t length, struct err **err)
{
    struct waiting waiting = {.left = 1};
    struct disk_slot *slot = disk_pool_get(pool);
    struct disk_request request = {
        .offset = offset, .length = length, .slot = slot, .done = waiting_done, .opaque = &waiting};
    int result = -1;

    memset(slot->data, 0xa5, length);
    if (target->ops->read(target, &request, err) == 0)
        result = finish_waiting(target, &waiting, err);
    memcpy(bytes, slot->data, length);
    disk_pool_put(pool, slot);
    return result;
}

int
support_zero(struct disk_target *target, uint64_t offset, uint64_t length, struct err **err)
{
    if (target->ops->zero(target, offset, length, err) < 0)
        return -1;
    return target->ops->submit(target, err);
}

int
support_checkpoint(struct disk_target *target, struct err **err)
{
    struct waiting waiting = {.left = 1};
    struct disk_request request = {.done = waiting_done, .opaque = &waiting};

    if (target->ops->checkpoint(target, &request, err) < 0)
        return -1;
    return finish_waiting(target, &waiting, err);
}

uint64_t
support_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

void
support_fill(uint8_t *bytes, uint64_t length, uint64_t seed)
{
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
        uint64_t value = support_random(&seed) | 1;

        memcpy(bytes + i, &value, 8);
    }
}

static uint64_t
entry_at(int fd, uint64_t offset)
{
    uint64_t value = 0;

    if (pread(fd, &value, sizeof(value), (off_t)offset) < 0)
        abort();
    return be64toh(value);
}

uint8_t *
support_read_guest(const char *path, uint64_t size)
{
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t header[104] = {0};
    uint64_t cs, l1;
    uint8_t *bytes;

    if (fd < 0 || pread(fd, header, sizeof(header), 0) != sizeof(header) ||
        memcmp(header, "QFI\xfb", 4))
        return NULL;
    cs = 1ULL << header[23];
    l1 = entry_at(fd, 40);
    bytes = xcalloc(1, size);
    for (uint64_t at = 0; at < size; at += cs) {
        uint64_t cluster = at / cs, l2, entry;

        l2 = entry_at(fd, l1 + cluster / (cs / 8) * 8) & 0x00fffffffffffe00ULL;
        entry = l2 ? entry_at(fd, l2 + cluster % (cs / 8) * 8) : 0;
        if (entry & 1 || !(entry & 0x00fffffffffffe00ULL))
            continue;
        if (pread(fd, bytes + at, MIN(cs, size - at), (off_t)(entry & 0x00fffffffffffe00ULL)) < 0)
            abort();
    }
    return bytes;
}
