/* source/vddk.c with the real v2c-vddk, the fake library and the lab's disk server. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "centre.h"
#include "reading.h"
#include "source/source.h"

#define RECORD "./test_vddk.record"

static void
every_byte_arrives_with_sixteen_reads_in_flight_in_random_order(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    start(f, 64 * MIB + 20480, "latency-ms=2");
    open_well(f);
    assert_int_equal(f->source->size, 64 * MIB + 20480);
    assert_int_equal(f->source->max_in_flight, DEPTH);
    assert_string_equal(source_vddk_transport(f->source), "nbdssl");
    copy = copy_range(f, 0, f->source->size, DISK_MAX_REQUEST);
    assert_int_equal(copy.good, 65);
    assert_int_equal(copy.bad, 0);
    assert_true(copy.disorder > 0);
}

static void
a_capacity_that_is_not_whole_pages_is_read_to_its_last_sector(void **state)
{
    struct fixture *f = *state;

    start(f, 5 * MIB + 512, NULL);
    open_well(f);
    copy_all(f, 6);
}

static void
a_disk_of_one_sector_is_read(void **state)
{
    struct fixture *f = *state;

    start(f, 512, NULL);
    open_well(f);
    copy_all(f, 1);
}

static void
reads_that_are_not_aligned_are_exact(void **state)
{
    struct fixture *f = *state;
    static const uint32_t steps[] = {512, 3584, 4096 + 512, DISK_MAX_REQUEST - 512};

    start(f, 6 * MIB, NULL);
    open_well(f);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        struct copy copy =
            copy_range(f, 512, MIN(512 + 40ULL * steps[i], f->source->size), steps[i]);

        assert_int_equal(copy.bad, 0);
        assert_true(copy.good > 0);
    }
}

static void
an_old_library_without_ReadAsync_is_read_too(void **state)
{
    struct fixture *f = *state;

    start(f, 9 * MIB + 512, "no-async");
    open_well(f);
    copy_all(f, 10);
}

static void
an_old_library_that_does_not_allocate_parameters_is_read_too(void **state)
{
    struct fixture *f = *state;

    start(f, 2 * MIB, "no-allocate,no-extents,no-async");
    open_well(f);
    copy_all(f, 2);
}

static void
the_disk_of_a_vm_that_is_off_is_read_without_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, 2 * MIB, NULL);
    f->centre.is_on = false;
    options = centre_options(&f->centre, f->pool);
    options.snapshot_moref = NULL;
    options.disk_path = "[ds1] web01/web01-000001.vmdk";
    assert_int_equal(source_vddk_open(&options, &f->source, NULL), 0);
    copy_all(f, 2);
}

static void
a_transport_that_attaches_disks_prepares_the_vm_and_releases_it(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    /* The fake library aborts at Exit when EndAccess was missed, or came too early. */
    start(f, 2 * MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.tuning.transports = "hotadd:nbdssl";
    assert_int_equal(source_vddk_open(&options, &f->source, NULL), 0);
    copy_all(f, 2);
}

/* ---- extents ----------------------------------------------------------------------------------- */

static void
check_extents(struct fixture *f, uint64_t offset, uint64_t length, uint64_t least, uint64_t most)
{
    struct extents extents = {0};
    uint64_t last = offset;

    assert_int_equal(f->source->ops->extents(f->source, offset, length, &extents, NULL), 0);
    for (size_t i = 0; i < extents.count; i++) {
        assert_true(extents.items[i].offset >= last);
        for (uint64_t at = round_down(last, MIB); at < extents.items[i].offset; at += MIB)
            if (at >= last)
                assert_false(centre_is_data(at));
        last = extents.items[i].offset + extents.items[i].length;
    }
    assert_true(last <= offset + length);
    assert_in_range(extents_total(&extents), least, most);
    vec_done(&extents);
}

static void
allocated_blocks_leave_holes_out_and_never_data(void **state)
{
    struct fixture *f = *state;

    /* More than one answer's worth of extents, and a tail that no whole chunk covers. */
    start(f, 5 * GIB + 512 * KIB + 512, NULL);
    open_well(f);
    check_extents(f, 0, f->source->size, 2 * GIB, 4 * GIB);
    check_extents(f, 512, 2 * MIB, MIB, 2 * MIB);
    check_extents(f, MIB + 512, 4096, 0, 0);
    check_extents(f, 5 * GIB, 512 * KIB + 512, 512 * KIB + 512, 512 * KIB + 512);
}

/* The sizes at which others failed: more than 1 TiB, and no whole chunk at the end. */
static void
allocated_blocks_of_a_large_disk_with_an_odd_end_are_all_told(void **state)
{
    struct fixture *f = *state;
    uint64_t size = TIB + 5 * 64 * KIB + 512;

    start(f, size, NULL);
    open_well(f);
    check_extents(f, 0, size, TIB / 2, TIB * 3 / 4);
    check_extents(f, TIB - MIB, size - (TIB - MIB), 5 * 64 * KIB + 512, MIB + 5 * 64 * KIB + 512);
}

/* A query is slow, and what it tells may be more than one answer has room for. */
static void
vddk_is_asked_once_about_each_part_of_the_disk(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_charp) char *record = NULL;
    uint64_t sector, count, chunk, next = 0;
    size_t length;

    (void)unlink(RECORD);
    start(f, 33 * GIB + 512, "record=" RECORD);
    open_well(f);
    (void)unlink(RECORD); /* of the probe */
    check_extents(f, 0, f->source->size, 16 * GIB, 25 * GIB);
    assert_int_equal(file_read(RECORD, MIB, &record, &length, NULL), 0);
    (void)unlink(RECORD);
    for (const char *line = record; line && *line; line = strchr(line, '\n') + 1) {
        assert_int_equal(sscanf(line, "query sector=%" SCNu64 " count=%" SCNu64 " chunk=%" SCNu64,
                                &sector, &count, &chunk),
                         3);
        assert_int_equal(sector, next);
        assert_int_equal(chunk, 2048);
        next = sector + count;
    }
    assert_int_equal(next, 33 * GIB / 512); /* and not what comes after the last whole chunk */
}

static void
a_QueryAllocatedBlocks_that_fails_later_leaves_the_rest_allocated(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(file_replace(RECORD, "", 0, 0600, NULL), 0);
    start(f, 12 * MIB + 512, "@" RECORD);
    open_well(f);
    check_extents(f, 0, 6 * MIB, 3 * MIB, 5 * MIB);
    assert_int_equal(file_replace(RECORD, "fail-extents", 12, 0600, NULL), 0);
    check_extents(f, 6 * MIB, 6 * MIB + 512, 6 * MIB + 512, 6 * MIB + 512);
    check_extents(f, 0, 6 * MIB, 6 * MIB, 6 * MIB); /* it is not asked any more */
    (void)unlink(RECORD);
    copy_all(f, 13);
}

static void
reads_in_flight_survive_a_query_of_allocated_blocks(void **state)
{
    struct fixture *f = *state;
    struct copy copy = {.f = f, .end = 32 * MIB, .step = DISK_MAX_REQUEST};

    start(f, 32 * MIB, NULL);
    open_well(f);
    assert_true(copy_fill(&copy));
    /* Answers of reads that come meanwhile make poll_fd readable, though the socket is empty. */
    check_extents(f, 0, 32 * MIB, 1, 32 * MIB);
    while (copy_fill(&copy) && copy.in_flight)
        copy_wait(&copy, 20000);
    assert_int_equal(copy.good, 32);
}

static void
whole_range_counts_as_allocated(struct fixture *f, const char *misbehave)
{
    start(f, 12 * MIB + 512, misbehave);
    open_well(f);
    check_extents(f, 0, 12 * MIB + 512, 12 * MIB + 512, 12 * MIB + 512);
    copy_all(f, 13);
}

static void
without_QueryAllocatedBlocks_everything_counts_as_allocated(void **state)
{
    whole_range_counts_as_allocated(*state, "no-extents");
}

static void
a_QueryAllocatedBlocks_that_fails_is_a_quiet_fall_back(void **state)
{
    whole_range_counts_as_allocated(*state, "fail-extents");
}

static void
a_QueryAllocatedBlocks_that_lies_is_not_believed(void **state)
{
    whole_range_counts_as_allocated(*state, "lie-extents");
}

/* ---- what goes wrong later --------------------------------------------------------------------- */

static void
expect_no_process(int pid)
{
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

/* Every read in flight fails with @code, and further ones are refused with it. */
static void
expect_death(struct fixture *f, struct copy *copy, enum err_code code, const char *message)
{
    unsigned before = copy->good + copy->bad, in_flight = copy->in_flight;

    while (copy->in_flight)
        copy_wait(copy, 20000);
    assert_int_equal(copy->good + copy->bad, before + in_flight);
    assert_true(copy->bad > 0);
    if (err_code(copy->error) != code || !strstr(err_message(copy->error), message))
        fail_msg("%s", err_message(copy->error));
    err_freep(&copy->error);
    copy->error = NULL;
    assert_false(copy_fill(copy));
    assert_int_equal(err_code(f->err), code);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
    expect_no_process(source_vddk_pid(f->source));
}

static void
die_at_a_read(struct fixture *f, const char *how, const char *message)
{
    struct copy copy = {.f = f, .end = 64 * MIB, .step = DISK_MAX_REQUEST};

    start(f, 64 * MIB, how);
    open_well(f);
    while (!copy.bad && copy_fill(&copy))
        copy_wait(&copy, 20000);
    err_freep(&f->err);
    f->err = NULL;
    expect_death(f, &copy, E_VDDK_CRASH, message);
}

static void
a_segmentation_fault_fails_all_reads_in_flight_and_is_named(void **state)
{
    die_at_a_read(*state, "segv-read=20", "killed by SIGSEGV");
}

static void
an_abort_fails_all_reads_in_flight_and_is_named(void **state)
{
    die_at_a_read(*state, "abort-read=20", "killed by SIGABRT");
}

static void
kill_9_in_the_middle_fails_all_reads_in_flight(void **state)
{
    struct fixture *f = *state;
    struct copy copy = {.f = f, .end = 64 * MIB, .step = DISK_MAX_REQUEST};

    start(f, 64 * MIB, "latency-ms=30000");
    open_well(f);
    assert_true(copy_fill(&copy));
    assert_int_equal(copy.in_flight, DEPTH);
    assert_int_equal(kill(source_vddk_pid(f->source), SIGKILL), 0);
    expect_death(f, &copy, E_VDDK_CRASH, "killed by SIGKILL");
}

static void
a_crash_while_extents_are_asked_for_is_an_error_not_a_guess(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};

    start(f, 64 * MIB, NULL);
    open_well(f);
    assert_int_equal(kill(source_vddk_pid(f->source), SIGKILL), 0);
    assert_int_equal(f->source->ops->extents(f->source, 0, 64 * MIB, &extents, &f->err), -1);
    assert_int_equal(err_code(f->err), E_VDDK_CRASH);
    vec_done(&extents);
}

static void
a_read_that_hangs_is_killed_in_time(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;
    struct copy copy = {.f = f, .end = 64 * MIB, .step = DISK_MAX_REQUEST};

    start(f, 64 * MIB, "hang-read=5");
    options = centre_options(&f->centre, f->pool);
    options.read_timeout_ms = 500;
    assert_int_equal(source_vddk_open(&options, &f->source, NULL), 0);
    while (!copy.bad && copy_fill(&copy))
        copy_wait(&copy, 20000);
    expect_death(f, &copy, E_TIMEOUT, "a read");
}

static void
a_read_that_fails_says_why_and_leaves_the_others_alone(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    start(f, 32 * MIB, "fail-read=7");
    open_well(f);
    copy = copy_range(f, 0, 32 * MIB, DISK_MAX_REQUEST);
    assert_int_equal(copy.bad, 1);
    assert_int_equal(copy.good, 31);
    assert_int_equal(err_code(copy.error), E_SOURCE_READ);
    assert_non_null(strstr(err_message(copy.error), "read at "));
    assert_non_null(strstr(err_message(copy.error), "does not answer"));
    err_free(copy.error);
    copy_all(f, 32);
}

static void
a_failed_read_without_ReadAsync_leaves_the_others_alone(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    start(f, 8 * MIB, "no-async,fail-read=3");
    open_well(f);
    copy = copy_range(f, 0, 8 * MIB, DISK_MAX_REQUEST);
    assert_int_equal(copy.bad, 1);
    assert_int_equal(copy.good, 7);
    err_free(copy.error);
}

static void
a_lost_connection_to_the_host_fails_reads_and_is_closed_well(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    start(f, 32 * MIB, NULL);
    open_well(f);
    copy_all(f, 32);
    centre_misbehave(&f->centre, "nfc.read", "drop", 1);
    copy = copy_range(f, 0, 32 * MIB, DISK_MAX_REQUEST);
    assert_true(copy.bad > 0);
    assert_int_equal(err_code(copy.error), E_SOURCE_READ);
    assert_int_equal(err_class(copy.error), ERR_CLASS_RETRY);
    err_free(copy.error);
}

static void
a_host_that_refuses_one_read_fails_that_one_with_its_words(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    start(f, 8 * MIB, NULL);
    open_well(f);
    centre_misbehave(&f->centre, "nfc.read", "fail", 1);
    copy = copy_range(f, 0, 8 * MIB, DISK_MAX_REQUEST);
    assert_int_equal(copy.bad, 1);
    assert_non_null(strstr(err_message(copy.error), "the lab says no"));
    err_free(copy.error);
}

static void
a_host_that_refuses_every_read_is_told_and_closed_at_once(void **state)
{
    struct fixture *f = *state;
    int64_t before = clock_monotonic_ms();
    struct copy copy;

    start(f, 40 * MIB, NULL);
    open_well(f);
    centre_misbehave(&f->centre, "nfc.read", "fail", -1);
    copy = copy_range(f, 0, 40 * MIB, DISK_MAX_REQUEST);
    assert_int_equal(copy.bad, 40);
    err_free(copy.error);
    disk_source_closep(&f->source);
    assert_in_range(clock_monotonic_ms() - before, 0, 10000);
}

static void
what_vddk_logs_gets_into_our_log_and_the_report_of_a_crash(void **state)
{
    struct fixture *f = *state;
    char path[] = "./test_vddk_log.XXXXXX";
    CLEANUP(free_charp) char *text = NULL;
    size_t length;
    int fd = mkstemp(path);
    struct copy copy;

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(log_open_file(path, NULL), 0);
    start(f, 8 * MIB, "fail-read=2,abort-read=16");
    open_well(f);
    centre_misbehave(&f->centre, "nfc.read", "fail", 5);
    copy = copy_range(f, 0, 8 * MIB, MIB);
    err_free(copy.error);
    copy = copy_range(f, 0, 8 * MIB, MIB);
    assert_int_equal(log_open_file(NULL, NULL), 0);
    assert_int_equal(file_read(path, MIB, &text, &length, NULL), 0);
    unlink(path);
    assert_non_null(strstr(text, "warning: [vddk web01.vmdk] NfcAio: the host's file system"));
    assert_non_null(strstr(text, "NfcAio: read failed: the lab says no"));
    assert_non_null(strstr(text, " times more)"));
    assert_null(strstr(text, "PhoneHome"));
    assert_true(copy.bad > 0);
    err_free(copy.error);
    assert_int_equal(f->source->ops->extents(f->source, 0, MIB, &(struct extents){0}, &f->err), -1);
    assert_non_null(strstr(err_message(f->err), "killed by SIGABRT; its last words: "));
}

static void
close_waits_for_reads_in_flight_and_ends_the_process(void **state)
{
    struct fixture *f = *state;
    struct copy copy = {.f = f, .end = 64 * MIB, .step = DISK_MAX_REQUEST};
    int pid;

    start(f, 64 * MIB, "latency-ms=20");
    open_well(f);
    pid = source_vddk_pid(f->source);
    assert_true(copy_fill(&copy));
    disk_source_closep(&f->source);
    assert_int_equal(copy.good, DEPTH);
    assert_int_equal(copy.in_flight, 0);
    expect_no_process(pid);
}

static void
the_password_is_in_nobodys_sight(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"cmdline", "environ"};

    start(f, MIB, NULL);
    open_well(f);
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        CLEANUP(free_charp)
        char *path = xasprintf("/proc/%d/%s", source_vddk_pid(f->source), files[i]);
        char text[65536];
        ssize_t n;
        int fd = open(path, O_RDONLY);

        assert_true(fd >= 0);
        n = read(fd, text, sizeof(text));
        assert_true(n > 0);
        assert_null(memmem(text, (size_t)n, CENTRE_PASSWORD, strlen(CENTRE_PASSWORD)));
        close(fd);
    }
}

static void
a_slot_that_is_busy_and_a_range_outside_the_disk_are_refused(void **state)
{
    struct fixture *f = *state;
    struct copy copy = {.f = f, .end = MIB, .step = DISK_MAX_REQUEST};
    struct disk_request bad;

    start(f, 2 * MIB, "latency-ms=50");
    open_well(f);
    assert_true(copy_fill(&copy));
    bad = copy.requests[0];
    assert_int_equal(f->source->ops->read(f->source, &bad, &f->err), -1);
    assert_int_equal(err_code(f->err), E_BUG);
    err_freep(&f->err);
    f->err = NULL;
    bad.slot = disk_pool_get(f->pool);
    bad.offset = 2 * MIB - 512;
    bad.length = 1024;
    assert_int_equal(f->source->ops->read(f->source, &bad, &f->err), -1);
    assert_int_equal(err_code(f->err), E_BUG);
    disk_pool_put(f->pool, bad.slot);
    while (copy.in_flight)
        copy_wait(&copy, 20000);
    assert_int_equal(copy.good, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_byte_arrives_with_sixteen_reads_in_flight_in_random_order),
        TEST(a_capacity_that_is_not_whole_pages_is_read_to_its_last_sector),
        TEST(a_disk_of_one_sector_is_read),
        TEST(reads_that_are_not_aligned_are_exact),
        TEST(an_old_library_without_ReadAsync_is_read_too),
        TEST(an_old_library_that_does_not_allocate_parameters_is_read_too),
        TEST(the_disk_of_a_vm_that_is_off_is_read_without_a_snapshot),
        TEST(a_transport_that_attaches_disks_prepares_the_vm_and_releases_it),
        TEST(allocated_blocks_leave_holes_out_and_never_data),
        TEST(allocated_blocks_of_a_large_disk_with_an_odd_end_are_all_told),
        TEST(vddk_is_asked_once_about_each_part_of_the_disk),
        TEST(a_QueryAllocatedBlocks_that_fails_later_leaves_the_rest_allocated),
        TEST(reads_in_flight_survive_a_query_of_allocated_blocks),
        TEST(without_QueryAllocatedBlocks_everything_counts_as_allocated),
        TEST(a_QueryAllocatedBlocks_that_fails_is_a_quiet_fall_back),
        TEST(a_QueryAllocatedBlocks_that_lies_is_not_believed),
        TEST(a_segmentation_fault_fails_all_reads_in_flight_and_is_named),
        TEST(an_abort_fails_all_reads_in_flight_and_is_named),
        TEST(kill_9_in_the_middle_fails_all_reads_in_flight),
        TEST(a_crash_while_extents_are_asked_for_is_an_error_not_a_guess),
        TEST(a_read_that_hangs_is_killed_in_time),
        TEST(a_read_that_fails_says_why_and_leaves_the_others_alone),
        TEST(a_failed_read_without_ReadAsync_leaves_the_others_alone),
        TEST(a_lost_connection_to_the_host_fails_reads_and_is_closed_well),
        TEST(a_host_that_refuses_one_read_fails_that_one_with_its_words),
        TEST(a_host_that_refuses_every_read_is_told_and_closed_at_once),
        TEST(what_vddk_logs_gets_into_our_log_and_the_report_of_a_crash),
        TEST(close_waits_for_reads_in_flight_and_ends_the_process),
        TEST(the_password_is_in_nobodys_sight),
        TEST(a_slot_that_is_busy_and_a_range_outside_the_disk_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
