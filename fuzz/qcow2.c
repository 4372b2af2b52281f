/* The QCOW2 reader: whatever it accepts has a map that covers the disk once, inside the file. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "fuzz/fuzz.h"
#include "qcow2/scan.h"

struct walk {
    const struct qcow2_scan *scan;
    uint64_t next, data_bytes;
};

static int
on_run(void *opaque, const struct qcow2_run *run, struct err **err)
{
    struct walk *walk = opaque;
    uint64_t cs = 1ULL << walk->scan->header.cluster_bits;

    MUST(run->offset == walk->next && run->length > 0);
    walk->next += run->length;
    if (run->kind != QCOW2_RUN_DATA)
        return 0;
    MUST(run->host % cs == 0);
    MUST(run->host / cs + (run->length + cs - 1) / cs <= walk->scan->cluster_count);
    walk->data_bytes += run->length;
    return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct qcow2_scan scan;

    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, 0) == 0);
    MUST(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
    if (qcow2_scan_init(&scan, fd, NULL) == 0) {
        struct walk walk = {.scan = &scan};
        struct err *err = NULL;

        MUST(qcow2_scan_map(&scan, fd, on_run, &walk, &err) == 0);
        MUST(walk.next == scan.header.size);
        MUST(walk.data_bytes <= scan.allocated << scan.header.cluster_bits);
        MUST(memchr(scan.header.owner_id, '\0', sizeof(scan.header.owner_id)));
        MUST(scan.is_exact == (scan.leaked == 0));
        qcow2_scan_done(&scan);
    }
    return 0;
}
