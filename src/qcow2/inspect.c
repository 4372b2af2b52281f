#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/err.h"
#include "base/util.h"
#include "qcow2/image.h"
#include "qcow2/scan.h"

#define CHECK_TIMEOUT_MS (30 * 60 * 1000) /* qemu-img reads every table of a disk of many TiB */
#define CHECK_OUTPUT     (16U << 10)

/* As long as its refcount blocks, of 16 bits each, reach. */
static bool
is_whole_spans(const struct qcow2_scan *scan)
{
    uint64_t cluster = 1ULL << scan->header.cluster_bits;

    return scan->file_length && scan->file_length % (cluster * (cluster / 2)) == 0;
}

static int
inspect_fd(int fd, struct qcow2_info *ret_info, struct qcow2_header *ret_header, struct err **err)
{
    struct qcow2_scan scan;

    if (qcow2_scan_init(&scan, fd, err) < 0)
        return -1;
    *ret_header = scan.header;
    *ret_info = (struct qcow2_info){
        .size = scan.header.size,
        .version = scan.header.version,
        .cluster_bits = scan.header.cluster_bits,
        .file_size = scan.file_length,
        .allocated_clusters = scan.allocated,
        .zero_clusters = scan.zeroed,
        .leaked_clusters = scan.leaked,
        .is_in_use = qcow2_check_unlocked(fd, NULL) < 0,
        .is_ours = scan.header.is_ours,
        .is_finished = scan.is_exact,
        .is_in_progress = scan.header.is_ours && !scan.is_exact && is_whole_spans(&scan),
    };
    memcpy(ret_info->owner_id, scan.header.owner_id, sizeof(ret_info->owner_id));
    qcow2_scan_done(&scan);
    return 0;
}

static int
open_to_read(const char *path, struct err **err)
{
    int fd = io_fd_open(path);

    if (fd < 0)
        err_set_errno(err, qcow2_open_code(errno), errno, "%s", path);
    return fd;
}

int
qcow2_inspect(const char *path, struct qcow2_info *ret_info, struct err **err)
{
    CLEANUP(io_fd_closep) int fd = open_to_read(path, err);
    struct qcow2_header header;

    if (fd < 0)
        return -1;
    if (inspect_fd(fd, ret_info, &header, err) < 0)
        return err_wrap(err, "%s", path);
    return 0;
}

int
qcow2_map(const char *path, qcow2_map_fn on_run, void *opaque, struct err **err)
{
    CLEANUP(io_fd_closep) int fd = open_to_read(path, err);
    struct qcow2_scan scan;
    int rc;

    if (fd < 0)
        return -1;
    if (qcow2_scan_init(&scan, fd, err) < 0)
        return err_wrap(err, "%s", path);
    rc = qcow2_scan_map(&scan, fd, on_run, opaque, err);
    qcow2_scan_done(&scan);
    return rc;
}

/* The last line of what qemu-img said: it names the trouble, or counts it. */
static const char *
last_line(char *output)
{
    size_t length = strlen(output);
    char *line;

    while (length && output[length - 1] == '\n')
        output[--length] = 0;
    line = strrchr(output, '\n');
    return line ? line + 1 : output;
}

static int
run_qemu_check(const char *path, struct err **err)
{
    const char *argv[] = {"qemu-img", "check", "-f", "qcow2", "-q", path, NULL};
    const struct child_spec spec = {.argv = argv, .dies_with_parent = true};
    CLEANUP(free_charp) char *output = NULL;
    CLEANUP(err_freep) struct err *error = NULL;
    int status;

    if (io_path_is_remote(path))
        return 0; /* it would need a mount */
    if (child_run(&spec, CHECK_TIMEOUT_MS, CHECK_OUTPUT, &output, &status, &error) < 0) {
        if (err_code(error) == E_SPAWN)
            return 0; /* not installed: our own reading has to do */
        return err_set(err, E_TARGET_CHECK, "%s: qemu-img check: %s", path, err_message(error));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return err_set(err, E_TARGET_CHECK, "%s: qemu-img check ended with %s: %s", path,
                       child_describe_status(status), last_line(output));
    return 0;
}

/* docs/internals/qcow2.md names the source of each of these. */
static int
judge(const struct qcow2_info *info, const struct qcow2_header *header, uint64_t size,
      struct err **err)
{
    if (info->size != size)
        return err_set(err, E_TARGET_CHECK, "%" PRIu64 " bytes large, not %" PRIu64, info->size,
                       size);
    if (info->version != 3)
        return err_set(err, E_TARGET_CHECK, "of version %u, not 3", info->version);
    if (info->cluster_bits < 16 || info->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return err_set(err, E_TARGET_CHECK, "its clusters have %u bytes, not 64 to 256 KiB",
                       1U << info->cluster_bits);
    if (header->refcount_order != 4)
        return err_set(err, E_TARGET_CHECK, "its refcounts have %u bits, not 16",
                       1U << header->refcount_order);
    if (header->compatible_features)
        return err_set(err, E_TARGET_CHECK, "it uses compatible features 0x%" PRIx64,
                       header->compatible_features);
    if (header->has_foreign_extension)
        return err_set(err, E_TARGET_CHECK, "its header has an extension we do not know");
    if (!info->is_finished && info->is_ours)
        return err_set(err, E_TARGET_CHECK, "a migration into it is not finished");
    if (!info->is_finished)
        return err_set(err, E_TARGET_CHECK, "%" PRIu64 " clusters are counted and not used",
                       info->leaked_clusters);
    return 0;
}

int
qcow2_check_importable(const char *path, uint64_t size, struct err **ret_warning, struct err **err)
{
    CLEANUP(io_fd_closep) int fd = open_to_read(path, err);
    CLEANUP(err_freep) struct err *error = NULL, *warning = NULL;
    struct qcow2_header header;
    struct qcow2_info info;

    if (fd < 0)
        return -1;
    if (qcow2_check_unlocked(fd, &error) < 0 || inspect_fd(fd, &info, &header, &error) < 0 ||
        judge(&info, &header, size, &error) < 0)
        return err_set(err, E_TARGET_CHECK, "%s: %s", path, err_message(error));
    if (qcow2_check_access(path, &warning, err) < 0 || run_qemu_check(path, err) < 0)
        return -1;
    if (ret_warning)
        *ret_warning = take(warning);
    return 0;
}
