/* What a KVM host finds when it looks at a file of the pool: by qemu-img, as the real agent does, and
 * by reading the header, as its Qcow2Inspector does.
 *
 * The real server takes a few images that it had better not; this one is strict and wants what
 * CloudStack's own images are: version 3, clean, no backing file, no feature that it does not know. */
#include "cloudstack/cs.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/child.h"
#include "base/err.h"

#define TIMEOUT_MS   120000
#define MAX_OUTPUT   (1024 * 1024)
#define QCOW2_MAGIC  0x514649fbu
#define BIT_DIRTY    (1ULL << 0)
#define BIT_CORRUPT  (1ULL << 1)
#define BIT_EXTERNAL (1ULL << 2)
#define BITS_KNOWN   0xfULL

bool
cs_pool_file(const json_t *pool, const char *path, char **ret_name, char **ret_path)
{
    const char *dir = cs_text(pool, "path");
    size_t length = strlen(dir);

    if (!strncmp(path, dir, length) && path[length] == '/')
        path += length + 1;
    if (!*path || strchr(path, '/') || !strcmp(path, ".") || !strcmp(path, ".."))
        return false;
    *ret_name = xstrdup(path);
    *ret_path = xasprintf("%s/%s", dir, path);
    return true;
}

static void
refuse(struct cs_image *image, const char *why)
{
    if (!*image->refusal)
        (void)snprintf(image->refusal, sizeof(image->refusal), "%s", why);
}

/* The exit status of qemu-img, -1 when it could not be run or was killed. */
static int
qemu_img(const char *const *argv, char **ret_output)
{
    struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    CLEANUP(err_freep) struct err *err = NULL;
    int status = 0;

    if (child_run(&spec, TIMEOUT_MS, MAX_OUTPUT, ret_output, &status, &err) < 0) {
        *ret_output = xstrdup(err_message(err));
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
read_info(struct cs_image *image, const json_t *info)
{
    const json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");

    image->is_readable = true;
    (void)snprintf(image->format, sizeof(image->format), "%s", cs_text(info, "format"));
    (void)snprintf(image->backing, sizeof(image->backing), "%s", cs_text(info, "backing-filename"));
    image->virtual_size = (uint64_t)json_integer_value(json_object_get(info, "virtual-size"));
    image->cluster_size = (uint64_t)json_integer_value(json_object_get(info, "cluster-size"));
    image->is_encrypted = json_is_true(json_object_get(info, "encrypted"));
    image->has_backing = *image->backing != '\0';
    if (image->has_backing)
        refuse(image, "it has a backing file");
    if (image->is_encrypted)
        refuse(image, "it is encrypted");
    if (!strcmp(image->format, "qcow2") && strcmp(cs_text(data, "compat"), "1.1"))
        refuse(image, "it is QCOW2 version 2");
    if (image->virtual_size % 512)
        refuse(image, "its size is not whole sectors");
}

/* The header itself: qemu-img does not tell the feature bits, and could not open an unknown one. */
static void
inspect_header(const char *path, struct cs_image *image)
{
    uint8_t header[104] = {0};
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint32_t magic, version;
    uint64_t backing, features = 0;

    if (fd < 0 || pread(fd, header, sizeof(header), 0) < 72)
        return;
    memcpy(&magic, header, 4);
    memcpy(&version, header + 4, 4);
    memcpy(&backing, header + 8, 8);
    if (be32toh(magic) != QCOW2_MAGIC)
        return;
    if (be32toh(version) >= 3)
        memcpy(&features, header + 72, 8);
    features = be64toh(features);
    if (backing)
        refuse(image, "it has a backing file reference");
    if (features & BIT_EXTERNAL)
        refuse(image, "it has an external data file");
    if (features & ~BITS_KNOWN)
        refuse(image, "Found unknown incompatible feature bit");
    if (features & BIT_DIRTY)
        refuse(image, "its dirty bit is set");
    if (features & BIT_CORRUPT)
        refuse(image, "its corrupt bit is set");
}

static void
run_check(const char *path, struct cs_image *image)
{
    const char *argv[] = {"qemu-img", "check", "-q", "-f", "qcow2", path, NULL};
    CLEANUP(free_charp) char *output = NULL;
    int status = qemu_img(argv, &output);
    CLEANUP(free_charp) char *why = NULL;

    if (status == 0)
        return;
    why = xasprintf("qemu-img check says %d: %.180s", status, output);
    refuse(image, why);
}

void
cs_image_look(const char *path, struct cs_image *ret)
{
    const char *shared[] = {"qemu-img", "info", "-U", "--output=json", path, NULL};
    const char *alone[] = {"qemu-img", "info", "--output=json", path, NULL};
    CLEANUP(free_charp) char *output = NULL, *refused = NULL;
    struct cs_image image = {0};
    json_t *info = NULL;
    struct stat st;

    *ret = image;
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    image.exists = true;
    image.file_size = (uint64_t)st.st_blocks * 512;
    inspect_header(path, &image);
    if (qemu_img(shared, &output) == 0)
        info = json_loads(output, JSON_DISABLE_EOF_CHECK, NULL);
    if (info)
        read_info(&image, info);
    else
        refuse(&image, "qemu-img cannot read it");
    json_decref(info);
    if (image.is_readable && qemu_img(alone, &refused) != 0) {
        image.is_locked = true;
        refuse(&image, "somebody holds its lock");
    }
    /* Asked of an image that is already refused it would only say so once more, or hang on a lock. */
    if (!*image.refusal && !strcmp(image.format, "qcow2"))
        run_check(path, &image);
    *ret = image;
}
