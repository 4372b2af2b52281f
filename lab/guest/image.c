#include "guest/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/child.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"

#define BUILD_MS         (15 * 60 * 1000)
#define MAX_BUILD_OUTPUT (64 * KIB)

/* What build-guest.sh makes for each --size. */
static const struct {
    const char *name;
    uint64_t bytes[GUEST_DISKS];
} sizes[] = {
    {"full", {512 * MIB, 1024 * MIB}},
    {"small", {96 * MIB, 160 * MIB}},
};
static const char *const names[GUEST_DISKS] = {"root.raw", "data.raw"};

static const char *
choose_size(const uint64_t *capacities, unsigned count)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        bool fits = true;

        for (unsigned j = 0; j < MIN(count, GUEST_DISKS); j++)
            fits = fits && capacities[j] >= sizes[i].bytes[j];
        if (fits)
            return sizes[i].name;
    }
    return NULL;
}

char *
guest_image_find(const uint64_t *capacities, unsigned count, struct err **err)
{
    CLEANUP(free_charp) char *output = NULL;
    const char *size = choose_size(capacities, count);
    const char *argv[] = {V2C_LAB_GUEST_SCRIPT, "--size", size, NULL};
    const struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    int status;
    char *line;

    if (!size) {
        (void)err_set(err, E_CONFIG, "the disks are too small for a live guest");
        (void)err_hint(err, "the root disk needs 96 MiB and the data disk 160 MiB");
        return NULL;
    }
    if (child_run(&spec, BUILD_MS, MAX_BUILD_OUTPUT, &output, &status, err) < 0)
        return NULL;
    while (*output && output[strlen(output) - 1] == '\n')
        output[strlen(output) - 1] = '\0';
    line = strrchr(output, '\n') ? strrchr(output, '\n') + 1 : output;
    if (status != 0 || *line != '/') {
        (void)err_set(err, E_SPAWN, "the guest's disks cannot be built: %s", line);
        (void)err_hint(err, "run lab/guest/build-guest.sh --size %s to see why", size);
        return NULL;
    }
    return xstrdup(line);
}

/* ---- copying ----------------------------------------------------------------------------------- */

static int
copy_run(int from, int to, off_t offset, off_t end)
{
    off_t out = offset;

    while (offset < end) {
        ssize_t n = copy_file_range(from, &offset, to, &out, (size_t)(end - offset), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return -1;
        }
    }
    return 0;
}

static int
copy_data(int from, int to, off_t size)
{
    off_t offset = 0;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    while (offset < size) {
        off_t data = lseek(from, offset, SEEK_DATA), hole;

        if (data < 0)
            return errno == ENXIO ? 0 : -1; /* nothing but a hole to the end */
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || copy_run(from, to, data, hole) < 0)
            return -1;
        offset = hole;
    }
    return 0;
}

int
guest_image_copy(const char *image, unsigned number, uint64_t capacity, const char *path,
                 struct err **err)
{
    CLEANUP(close_fdp) int to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CLEANUP(close_fdp) int from = -1;
    CLEANUP(free_charp) char *source = NULL;
    struct stat st;

    if (to < 0)
        return err_set_errno(err, E_IO, errno, "%s", path);
    if (number < GUEST_DISKS) {
        source = file_join(image, names[number]);
        from = open(source, O_RDONLY | O_CLOEXEC);
        if (from < 0 || fstat(from, &st) < 0)
            return err_set_errno(err, E_IO, errno, "%s", source);
        if (copy_data(from, to, st.st_size) < 0)
            return err_set_errno(err, E_IO, errno, "copy %s to %s", source, path);
    }
    if (ftruncate(to, (off_t)capacity) < 0)
        return err_set_errno(err, E_IO, errno, "%s: %" PRIu64 " bytes", path, capacity);
    return 0;
}
