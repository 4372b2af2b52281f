/* One real guest, from its first boot to its second life on virtio.  The tests are steps of one story
 * and run in order: booting a guest for each would take minutes. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "guest/image.h"
#include "guest/lab_guest.h"
#include "guest/live.h"
#include "tests/unit/check.h"
#include "tests/unit/lab/guest/wait.h"

#define DISKS 3
#define BLOCK 65536U

/* The last disk is none of the guest's: nothing is ever written to it. */
static const struct lab_disk_plan disks[DISKS] = {
    {.capacity = 97 * MIB, .controller = 0, .unit = 0},
    {.capacity = 160 * MIB + 512, .controller = 0, .unit = 1},
    {.capacity = 8 * MIB, .controller = 1, .unit = 0},
};
static const struct lab_nic_plan nics[] = {{"00:50:56:01:02:03"}, {"00:50:56:01:02:04"}};

static char dir[64];
static char *live_dir, *boot_dir;
static struct lab_machine *machine;
static struct err *err;
static int64_t started_ms;

/* ---- what the steps share ---------------------------------------------------------------------- */

static const struct lab_machine_plan *
plan(void)
{
    static struct lab_machine_plan result = {
        .name = "web01",
        .disks = disks,
        .disk_count = DISKS,
        .nics = nics,
        .nic_count = ARRAY_SIZE(nics),
        .writer_kib_per_s = 1024,
    };

    result.dir = live_dir;
    return &result;
}

static char *
copy_path(unsigned disk, const char *format)
{
    return xasprintf("%s/copy%u.%s", dir, disk, format);
}

static void
note(const char *what)
{
    printf("# %5.1f s: %s\n", (double)(clock_monotonic_ms() - started_ms) / 1000, what);
    fflush(stdout);
}

/* Copies @extents of a view (0: the present) to the copy of one disk: a round of a migration. */
static void
copy_extents(unsigned disk, uint64_t view, const struct extents *extents)
{
    CLEANUP(free_charp) char *path = copy_path(disk, "raw"), *data = xcalloc(1, MIB);
    CLEANUP(close_fdp) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)disks[disk].capacity), 0);
    for (size_t i = 0; i < extents->count; i++) {
        uint64_t offset = extents->items[i].offset, end = offset + extents->items[i].length;

        while (offset < end) {
            uint32_t length = (uint32_t)MIN(MIB, end - offset);

            assert_ok(machine->ops->read(machine, disk, view, data, length, offset, &err), &err);
            assert_ok(file_pwrite(fd, data, length, offset, &err), &err);
            offset += length;
        }
    }
}

static uint64_t
copy_changes(uint64_t since, uint64_t view)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < DISKS; i++) {
        struct extents extents = {0};

        assert_ok(machine->ops->changed(machine, i, since, view, &extents, &err), &err);
        total += extents_total(&extents);
        copy_extents(i, view, &extents);
        vec_done(&extents);
    }
    return total;
}

static bool
covers(const struct extents *extents, uint64_t offset, uint64_t length)
{
    for (size_t i = 0; i < extents->count && length > 0; i++) {
        const struct extent *e = &extents->items[i];

        if (e->offset <= offset && offset < e->offset + e->length) {
            uint64_t part = MIN(length, e->offset + e->length - offset);
            offset += part;
            length -= part;
        }
    }
    return length == 0;
}

static void
run_tool(const char *const *argv)
{
    const struct child_spec spec = {.argv = argv};
    CLEANUP(free_charp) char *output = NULL;
    int status;

    assert_ok(child_run(&spec, 60000, 4096, &output, &status, &err), &err);
    if (status != 0)
        fail_msg("%s %s: %s: %s", argv[0], argv[1], child_describe_status(status), output);
}

/* ---- the story --------------------------------------------------------------------------------- */

static void
disks_that_are_too_small_are_refused(void **state)
{
    const struct lab_disk_plan small[] = {{.capacity = 8 * MIB}};
    struct lab_machine_plan wrong = *plan();
    struct lab_machine *none = NULL;

    wrong.disks = small;
    wrong.disk_count = 1;
    assert_int_equal(lab_live_new(&wrong, &none, &err), -1);
    assert_err_says(&err, E_CONFIG, "too small");
    assert_null(none);
}

static void
a_mac_that_qemu_refuses_is_told_in_its_words(void **state)
{
    const struct lab_nic_plan bad[] = {{"no mac"}};
    struct lab_machine_plan wrong = *plan();
    struct lab_machine *none = NULL;

    wrong.nics = bad;
    wrong.nic_count = 1;
    assert_int_equal(lab_live_new(&wrong, &none, &err), -1);
    assert_non_null(err_hint_text(err));
    assert_contains(err_hint_text(err), "mac");
    err_freep(&err);
}

static void
a_machine_that_is_off_runs_when_powered_on(void **state)
{
    struct lab_machine_plan off = *plan();

    off.is_off = true;
    assert_ok(lab_live_new(&off, &machine, &err), &err);
    assert_false(machine->ops->is_on(machine));
    assert_int_equal(machine->ops->shutdown_guest(machine, &err), -1);
    assert_err(&err, E_VSPHERE_STATE);
    assert_ok(machine->ops->power_on(machine, &err), &err);
    assert_true(machine->ops->is_on(machine));
    assert_int_equal(machine->ops->power_on(machine, &err), -1);
    assert_err(&err, E_VSPHERE_STATE);
}

static void
the_guest_comes_up_on_vmware_devices_and_writes(void **state)
{
    await_console(live_dir, "V2C-GUEST up root=sd", 1, BOOT_MS);
    note("up");
    await_console(live_dir, " nics=2 mac=00:50:56:01:02:03,00:50:56:01:02:04", 1, 1000);
    await_console(live_dir, "V2C-GUEST verified files=20 bad=0", 1, BOOT_MS);
    await_console(live_dir, "V2C-GUEST wrote", 2, BOOT_MS);
    note("verified, and writes");
}

static void
a_frozen_view_stays_while_the_guest_writes(void **state)
{
    uint64_t before[DISKS], steps;

    assert_ok(machine->ops->freeze(machine, 3, &err), &err);
    steps = count_console(live_dir, "V2C-GUEST wrote");
    for (unsigned i = 0; i < DISKS; i++)
        before[i] = sum_view(machine, i, disks[i].capacity, 3);
    await_console(live_dir, "V2C-GUEST wrote", (unsigned)steps + 3, BOOT_MS);
    for (unsigned i = 0; i < DISKS; i++)
        assert_int_equal(before[i], sum_view(machine, i, disks[i].capacity, 3));
    assert_int_not_equal(before[1], sum_view(machine, 1, disks[1].capacity, 0));
    note("a view is stable");
}

static void
a_view_number_is_used_once_and_reads_end_with_the_disk(void **state)
{
    char byte;

    assert_int_equal(machine->ops->freeze(machine, 3, &err), -1);
    assert_err(&err, E_BUG);
    assert_int_equal(machine->ops->read(machine, 0, 3, &byte, 1, disks[0].capacity, &err), -1);
    assert_err(&err, E_LIMIT);
    assert_int_equal(machine->ops->read(machine, 0, 2, &byte, 1, 0, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
    assert_int_equal(machine->ops->read(machine, DISKS, 3, &byte, 1, 0, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
    assert_int_equal(machine->ops->thaw(machine, 2, &err), -1);
    assert_err(&err, E_VSPHERE_NOT_FOUND);
}

static void
what_holds_data_is_allocated(void **state)
{
    CLEANUP(free_charp) char *data = xcalloc(1, BLOCK);
    static const char zeroes[BLOCK];

    for (unsigned i = 0; i < DISKS; i++) {
        struct extents extents = {0};

        assert_ok(machine->ops->allocated(machine, i, 3, 0, disks[i].capacity, &extents, &err),
                  &err);
        for (uint64_t offset = 0; offset < disks[i].capacity; offset += BLOCK) {
            uint32_t length = (uint32_t)MIN(BLOCK, disks[i].capacity - offset);

            assert_ok(machine->ops->read(machine, i, 3, data, length, offset, &err), &err);
            if (memcmp(data, zeroes, length) && !covers(&extents, offset, 512))
                for (uint32_t j = 0; j < length; j += 512)
                    if (memcmp(data + j, zeroes, 512) && !covers(&extents, offset + j, 512))
                        fail_msg("disk %u at %" PRIu64 " holds data", i, offset + j);
        }
        assert_true(extents_total(&extents) < disks[i].capacity / 2);
        if (i == DISKS - 1)
            assert_int_equal(extents.count, 0);
        vec_done(&extents);
    }
    note("allocation covers the data");
}

static void
what_differs_between_two_views_is_changed(void **state)
{
    CLEANUP(free_charp) char *old = xcalloc(1, BLOCK), *new = xcalloc(1, BLOCK);

    assert_ok(machine->ops->freeze(machine, 5, &err), &err);
    for (unsigned i = 0; i < DISKS; i++) {
        struct extents extents = {0};
        uint64_t differing = 0;

        assert_ok(machine->ops->changed(machine, i, 3, 5, &extents, &err), &err);
        for (uint64_t offset = 0; offset < disks[i].capacity; offset += BLOCK) {
            uint32_t length = (uint32_t)MIN(BLOCK, disks[i].capacity - offset);

            assert_ok(machine->ops->read(machine, i, 3, old, length, offset, &err), &err);
            assert_ok(machine->ops->read(machine, i, 5, new, length, offset, &err), &err);
            if (!memcmp(old, new, length))
                continue;
            differing++;
            if (!covers(&extents, offset, length))
                fail_msg("disk %u differs at %" PRIu64, i, offset);
        }
        if (i < 2)
            assert_true(differing > 0);
        assert_true(extents_total(&extents) < disks[i].capacity / 2);
        assert_int_equal(extents.count == 0, i == 2);
        vec_done(&extents);
    }
    note("changes cover the differences of two views");
}

struct reader {
    pthread_t thread;
    unsigned disk;
    uint64_t view;
    atomic_uint reads;
    char *failure; /* of the read that ended it; owned */
};

/* Reads blocks here and there, until a read fails. */
static void *
read_until_failure(void *opaque)
{
    struct reader *reader = opaque;
    CLEANUP(free_charp) char *data = xcalloc(1, BLOCK);
    uint64_t blocks = disks[reader->disk].capacity / BLOCK;
    struct err *mine = NULL;

    for (uint64_t i = 0;; i += 37) {
        if (machine->ops->read(machine, reader->disk, reader->view, data, BLOCK, i % blocks * BLOCK,
                               &mine) < 0)
            break;
        atomic_fetch_add(&reader->reads, 1);
    }
    reader->failure = xstrdup(err_message(mine));
    err_freep(&mine);
    return NULL;
}

static void
await_reads(struct reader *readers, unsigned count, unsigned more)
{
    int64_t deadline = clock_monotonic_ms() + BOOT_MS;

    for (unsigned i = 0; i < count; i++) {
        unsigned goal = atomic_load(&readers[i].reads) + more;

        while (atomic_load(&readers[i].reads) < goal) {
            if (clock_monotonic_ms() > deadline)
                fail_msg("reader %u does not get on", i);
            clock_sleep_ms(5);
        }
    }
}

static void
readers_go_on_while_other_views_come_and_go_and_end_with_their_own(void **state)
{
    struct reader readers[6] = {0};

    for (unsigned i = 0; i < ARRAY_SIZE(readers); i++) {
        readers[i].disk = i % 2;
        readers[i].view = 5;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_until_failure, &readers[i]),
                         0);
    }
    for (uint64_t view = 6; view < 9; view++) {
        assert_ok(machine->ops->freeze(machine, view, &err), &err);
        await_reads(readers, ARRAY_SIZE(readers), 4);
        assert_ok(machine->ops->thaw(machine, view, &err), &err);
    }
    assert_ok(machine->ops->freeze(machine, 9, &err), &err);
    assert_ok(machine->ops->thaw(machine, 5, &err), &err);
    for (unsigned i = 0; i < ARRAY_SIZE(readers); i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_non_null(readers[i].failure);
        free(readers[i].failure);
    }
    note("readers went on");
}

static void
changes_since_an_unknown_view_are_a_reset(void **state)
{
    struct extents extents = {0};

    assert_int_equal(machine->ops->changed(machine, 0, 4, 5, &extents, &err), -1);
    assert_err(&err, E_CBT_RESET);
    assert_int_equal(machine->ops->changed(machine, 0, 1, 0, &extents, &err), -1);
    assert_err(&err, E_CBT_RESET);
    assert_int_equal(machine->ops->changed(machine, 0, 5, 3, &extents, &err), -1);
    assert_err(&err, E_CBT_RESET);
    assert_int_equal(extents.count, 0);
}

/* The base copy of view 9, and one delta from it, which is thawed by then. */
static void
a_base_copy_and_a_delta_are_taken_from_views(void **state)
{
    for (unsigned i = 0; i < DISKS; i++) {
        struct extents extents = {0};

        assert_ok(machine->ops->allocated(machine, i, 9, 0, disks[i].capacity, &extents, &err),
                  &err);
        copy_extents(i, 9, &extents);
        vec_done(&extents);
    }
    assert_ok(machine->ops->thaw(machine, 3, &err), &err);
    assert_ok(machine->ops->thaw(machine, 9, &err), &err);
    /* Two, for the first may tell of what was written before view 9. */
    await_console(live_dir, "V2C-GUEST wrote", count_console(live_dir, "V2C-GUEST wrote") + 2,
                  BOOT_MS);
    assert_ok(machine->ops->freeze(machine, 10, &err), &err);
    assert_true(copy_changes(9, 10) > 0);
    assert_ok(machine->ops->thaw(machine, 10, &err), &err);
    note("base and delta copied");
}

static void
a_pulled_plug_loses_nothing_that_was_promised(void **state)
{
    assert_ok(machine->ops->power_off(machine, &err), &err);
    assert_false(machine->ops->is_on(machine));
    assert_ok(machine->ops->power_on(machine, &err), &err);
    await_console(live_dir, "V2C-GUEST verified", 2, BOOT_MS);
    assert_int_equal(count_console(live_dir, " bad=0"), 2);
    note("up again after a pulled plug");
}

/* Asked at once, when the guest has hardly begun to write. */
static void
the_guest_shuts_down_when_asked(void **state)
{
    int64_t asked_ms = clock_wall_ms();

    assert_int_equal(machine->ops->off_at_ms(machine), 0);
    assert_ok(machine->ops->shutdown_guest(machine, &err), &err);
    await_off(machine, BOOT_MS);
    assert_in_range(machine->ops->off_at_ms(machine), asked_ms, clock_wall_ms());
    await_console(live_dir, "V2C-GUEST down files=", 1, 1000);
    note("shut down");
}

static void
a_machine_that_is_off_can_be_frozen_too(void **state)
{
    struct extents extents = {0};

    assert_ok(machine->ops->freeze(machine, 11, &err), &err);
    assert_int_equal(sum_view(machine, 0, disks[0].capacity, 11),
                     sum_view(machine, 0, disks[0].capacity, 0));
    assert_ok(machine->ops->changed(machine, 0, 11, 0, &extents, &err), &err);
    assert_int_equal(extents.count, 0);
    assert_ok(machine->ops->thaw(machine, 11, &err), &err);
}

static void
the_last_delta_makes_the_copy_equal_to_the_disk(void **state)
{
    assert_true(copy_changes(10, 0) > 0);
    for (unsigned i = 0; i < DISKS; i++) {
        CLEANUP(free_charp) char *raw = copy_path(i, "raw"), *qcow2 = copy_path(i, "qcow2");
        const char *compare[] = {"cmp", raw, machine->ops->raw_path(machine, i), NULL};
        const char *convert[] = {"qemu-img", "convert", "-f",  "raw", "-O",
                                 "qcow2",    raw,       qcow2, NULL};

        run_tool(compare);
        run_tool(convert);
    }
    note("the copy is the disk");
}

static void
closing_leaves_only_the_disks_and_logs(void **state)
{
    machine->ops->close(machine);
    machine = NULL;
    for (unsigned i = 0; i < DISKS; i++) {
        CLEANUP(free_charp) char *path = xasprintf("%s/disk%u.raw", live_dir, i);

        assert_int_equal(unlink(path), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        CLEANUP(free_charp) char *path = file_join(live_dir, i ? "serial.log" : "qemu.log");

        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(live_dir), 0);
}

/* The oldest bitmaps are dropped; and when QEMU dies everything says so, nothing waits. */
static void
a_long_history_and_a_killed_qemu(void **state)
{
    struct lab_machine_plan off = *plan();
    struct extents extents = {0};
    char byte;

    off.is_off = true;
    machine->ops->close(machine);
    machine = NULL;
    assert_ok(lab_live_new(&off, &machine, &err), &err);
    for (uint64_t view = 1; view <= 36; view++) {
        assert_ok(machine->ops->freeze(machine, view, &err), &err);
        if (view < 36)
            assert_ok(machine->ops->thaw(machine, view, &err), &err);
    }
    assert_ok(machine->ops->changed(machine, 0, 10, 36, &extents, &err), &err);
    assert_int_equal(machine->ops->changed(machine, 0, 2, 36, &extents, &err), -1);
    assert_err(&err, E_CBT_RESET);
    assert_ok(machine->ops->power_on(machine, &err), &err);
    assert_int_equal(kill(((struct live *)(void *)machine)->qemu.child.pid, SIGKILL), 0);
    await_off(machine, 10000);
    assert_int_equal(machine->ops->read(machine, 0, 36, &byte, 1, 0, &err), -1);
    assert_err(&err, E_NET);
    assert_int_equal(machine->ops->freeze(machine, 37, &err), -1);
    assert_err(&err, E_NET);
    assert_int_equal(machine->ops->power_on(machine, &err), -1);
    assert_err(&err, E_IO);
    note("a killed QEMU");
}

/* ---- the second life --------------------------------------------------------------------------- */

static void
boot_copy(const char *controller, struct lab_boot_state *ret)
{
    CLEANUP(free_charp) char *root = copy_path(0, "qcow2"), *data = copy_path(1, "qcow2");
    const char *const files[] = {root, data};
    const char *const macs[] = {nics[0].mac, nics[1].mac};
    const struct lab_boot_plan boot_plan = {
        .dir = boot_dir,
        .disks = files,
        .disk_count = 2,
        .macs = macs,
        .nic_count = 2,
        .disk_controller = controller,
        .nic_adapter = "virtio",
    };
    struct lab_boot *boot = NULL;
    int64_t deadline = clock_monotonic_ms() + BOOT_MS;

    assert_ok(lab_boot_start(&boot_plan, &boot, &err), &err);
    do {
        clock_sleep_ms(50);
        lab_boot_state(boot, ret);
    } while (!ret->is_verified && ret->is_running && clock_monotonic_ms() < deadline);
    lab_boot_stop(boot);
}

static void
the_copy_boots_on_virtio_with_every_file_in_place(void **state)
{
    CLEANUP(free_charp) char *root = copy_path(0, "qcow2"), *before = NULL, *after = NULL;
    struct lab_boot_state boot;
    size_t length, length_after;

    note("boot of the copy");
    assert_ok(file_read(root, 512 * MIB, &before, &length, &err), &err);
    boot_copy("virtio", &boot);
    note(boot.line);
    assert_true(boot.is_up && boot.is_verified);
    assert_true(boot.files > 20);
    assert_int_equal(boot.bad_files, 0);
    assert_int_equal(count_console(boot_dir, "up root=vda1 data=vdb nics=2 mac=00:50:56:01:02:03"),
                     1);
    assert_int_equal(count_console(boot_dir, "wrote"), 0);
    assert_ok(file_read(root, 512 * MIB, &after, &length_after, &err), &err);
    assert_int_equal(length, length_after);
    assert_memory_equal(before, after, length);
}

/* What a boot must notice: the same machine, with a sector of its data lost on the way. */
static void
a_lost_sector_is_noticed(void **state)
{
    CLEANUP(free_charp) char *path = copy_path(1, "qcow2");
    /* In the middle of what holds data: the base content of the data disk. */
    const char *spoil[] = {"qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 20M 512", path, NULL};
    struct lab_boot_state boot;

    run_tool(spoil);
    boot_copy("scsi", &boot);
    note(boot.line);
    assert_true(boot.is_verified);
    assert_int_equal(boot.bad_files, 1);
}

static void
a_boot_that_cannot_be_is_refused(void **state)
{
    CLEANUP(free_charp) char *root = copy_path(0, "qcow2");
    const char *files[] = {"/nowhere/root.qcow2"};
    struct lab_boot_plan wrong = {
        .dir = boot_dir, .disks = files, .disk_count = 1, .disk_controller = "virtio"};
    struct lab_boot *boot = NULL;

    assert_int_equal(lab_boot_start(&wrong, &boot, &err), -1);
    assert_err_says(&err, E_IO, "/nowhere/root.qcow2");
    files[0] = root;
    wrong.disk_controller = "floppy";
    assert_int_equal(lab_boot_start(&wrong, &boot, &err), -1);
    assert_err_says(&err, E_UNSUPPORTED, "floppy");
    assert_null(boot);
}

/* ---- around it --------------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

static int
make_dirs(void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/v2c-live-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    live_dir = xasprintf("%s/a guest, with a comma", dir);
    boot_dir = xasprintf("%s/boot", dir);
    started_ms = clock_monotonic_ms();
    return file_make_dirs(live_dir, 0755, &err) < 0 || file_make_dirs(boot_dir, 0755, &err) < 0;
}

static int
remove_dirs(void **state)
{
    if (machine)
        machine->ops->close(machine);
    free(live_dir);
    free(boot_dir);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool
can_run(void)
{
    const char *version[] = {"qemu-system-x86_64", "--version", NULL};
    const struct child_spec spec = {.argv = version};
    const uint64_t capacities[] = {disks[0].capacity, disks[1].capacity};
    CLEANUP(free_charp) char *output = NULL, *image = NULL;
    int status;

    if (child_run(&spec, 60000, 4096, &output, &status, &err) == 0)
        image = guest_image_find(capacities, 2, &err);
    if (!image)
        fprintf(stderr, "skipped: %s (%s)\n", err_message(err), err_hint_text(err) ?: "no hint");
    return image;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_that_are_too_small_are_refused),
        cmocka_unit_test(a_mac_that_qemu_refuses_is_told_in_its_words),
        cmocka_unit_test(a_machine_that_is_off_runs_when_powered_on),
        cmocka_unit_test(the_guest_comes_up_on_vmware_devices_and_writes),
        cmocka_unit_test(a_frozen_view_stays_while_the_guest_writes),
        cmocka_unit_test(a_view_number_is_used_once_and_reads_end_with_the_disk),
        cmocka_unit_test(what_holds_data_is_allocated),
        cmocka_unit_test(what_differs_between_two_views_is_changed),
        cmocka_unit_test(changes_since_an_unknown_view_are_a_reset),
        cmocka_unit_test(readers_go_on_while_other_views_come_and_go_and_end_with_their_own),
        cmocka_unit_test(a_base_copy_and_a_delta_are_taken_from_views),
        cmocka_unit_test(a_pulled_plug_loses_nothing_that_was_promised),
        cmocka_unit_test(the_guest_shuts_down_when_asked),
        cmocka_unit_test(a_machine_that_is_off_can_be_frozen_too),
        cmocka_unit_test(the_last_delta_makes_the_copy_equal_to_the_disk),
        cmocka_unit_test(a_long_history_and_a_killed_qemu),
        cmocka_unit_test(closing_leaves_only_the_disks_and_logs),
        cmocka_unit_test(the_copy_boots_on_virtio_with_every_file_in_place),
        cmocka_unit_test(a_lost_sector_is_noticed),
        cmocka_unit_test(a_boot_that_cannot_be_is_refused),
    };

    if (!can_run())
        return 77;
    return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
