/* What is set for a VDDK session arrives there, and what a host refuses is asked for smaller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "reading.h"
#include "source/source.h"

#define RECORD "./test_vddk_tuning.record"

static char *record; /* of the last open: a line for each setting that reached the library */

static int
setup_record(void **state)
{
    (void)unlink(RECORD);
    return setup(state);
}

static int
teardown_record(void **state)
{
    (void)unlink(RECORD);
    free(take(record));
    return teardown(state);
}

static int
open_tuned(struct fixture *f, const struct source_vddk_tuning *tuning, const char *misbehave,
           uint64_t capacity)
{
    CLEANUP(free_charp) char *words = xasprintf("record=" RECORD ",%s", misbehave);
    struct source_vddk_options options;
    size_t length;
    int result;

    start(f, capacity, words);
    options = centre_options(&f->centre, f->pool);
    options.tuning = *tuning;
    result = source_vddk_open(&options, &f->source, &f->err);
    assert_int_equal(file_read(RECORD, MIB, &record, &length, NULL), 0);
    return result;
}

static void
open_tuned_well(struct fixture *f, const struct source_vddk_tuning *tuning, const char *misbehave,
                uint64_t capacity)
{
    if (open_tuned(f, tuning, misbehave, capacity) < 0)
        fail_msg("%s", err_message(f->err));
}

static void
expect_recorded(const char *line)
{
    CLEANUP(free_charp) char *whole = xasprintf("\n%s\n", line);
    CLEANUP(free_charp) char *text = xasprintf("\n%s", record);

    if (!strstr(text, whole))
        fail_msg("no line %s in:\n%s", line, record);
}

static unsigned
count_recorded(const char *beginning)
{
    unsigned count = 0;

    for (const char *at = record; (at = strstr(at, beginning)); at++)
        count += at == record || at[-1] == '\n';
    return count;
}

/* ---- settings --------------------------------------------------------------------------------- */

static void
without_settings_a_session_is_as_suits_most(void **state)
{
    struct fixture *f = *state;

    open_tuned_well(f, &(struct source_vddk_tuning){0}, "", 4 * MIB);
    expect_recorded("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=16");
    expect_recorded("config vixDiskLib.nfcAio.Session.BufCount=4");
    expect_recorded("connect transports=nbdssl:nbd snapshot=moref=" CENTRE_SNAPSHOT);
    expect_recorded("open flags=5 path=" CENTRE_PATH);
    assert_int_equal(count_recorded("config "), 2);
    assert_int_equal(f->source->alignment, DISK_ALIGNMENT);
    copy_all(f, 4);
}

static void
what_is_set_arrives(void **state)
{
    struct fixture *f = *state;
    const struct source_vddk_tuning tuning = {.transports = "nbd:nbdssl",
                                              .compression = SOURCE_COMPRESSION_FASTLZ,
                                              .buffer_kb = 512,
                                              .buffers = 8,
                                              .log_level = 1 + 4,
                                              .tmp_dir = "/var/tmp/a folder"};

    open_tuned_well(f, &tuning, "", 4 * MIB);
    expect_recorded("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=8");
    expect_recorded("config vixDiskLib.nfcAio.Session.BufCount=8");
    expect_recorded("config vixDiskLib.transport.LogLevel=4");
    expect_recorded("config vixDiskLib.nfc.LogLevel=4");
    expect_recorded("config tmpDirectory=\"/var/tmp/a folder\"");
    expect_recorded("connect transports=nbd:nbdssl snapshot=moref=" CENTRE_SNAPSHOT);
    expect_recorded("open flags=37 path=" CENTRE_PATH);
    assert_string_equal(source_vddk_transport(f->source), "nbd");
    copy_all(f, 4);
}

static void
each_compression_is_a_flag_of_its_own(void **state)
{
    struct fixture *f = *state;

    open_tuned_well(f, &(struct source_vddk_tuning){.compression = SOURCE_COMPRESSION_ZLIB}, "",
                    MIB);
    expect_recorded("open flags=21 path=" CENTRE_PATH);
    disk_source_closep(&f->source);
    centre_stop(&f->centre);
    free(take(record));
    open_tuned_well(f, &(struct source_vddk_tuning){.compression = SOURCE_COMPRESSION_SKIPZ}, "",
                    MIB);
    expect_recorded("open flags=69 path=" CENTRE_PATH);
}

static void
no_configuration_stays_behind(void **state)
{
    struct fixture *f = *state;
    const char *line;
    char path[200];

    open_tuned_well(f, &(struct source_vddk_tuning){0}, "", MIB);
    line = strstr(record, "config-file ");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "config-file %199s", path), 1);
    assert_int_equal(access(path, F_OK), -1);
}

static void
what_a_session_cannot_have_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct source_vddk_tuning wrong[] = {
        {.buffer_kb = 100},
        {.buffer_kb = 2112},
        {.buffer_kb = 2048, .buffers = 9},
        {.buffers = 17},
        {.log_level = 8},
        {.tmp_dir = "/tmp\"\nvixDiskLib.nfc.LogLevel=6"},
        {.compression = SOURCE_COMPRESSION_SKIPZ + 1},
    };
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        options.tuning = wrong[i];
        assert_int_equal(source_vddk_open(&options, &f->source, &f->err), -1);
        assert_int_equal(err_code(f->err), E_LIMIT);
        err_freep(&f->err);
        f->err = NULL;
    }
}

/* ---- buffered and not ------------------------------------------------------------------------- */

static void
a_disk_may_be_opened_buffered(void **state)
{
    struct fixture *f = *state;

    open_tuned_well(f, &(struct source_vddk_tuning){.is_buffered = true}, "", 4 * MIB + 512);
    expect_recorded("open flags=4 path=" CENTRE_PATH);
    assert_int_equal(count_recorded("open "), 1);
    assert_int_equal(f->source->alignment, DISK_SECTOR);
    copy_all(f, 5);
}

/* The fake library aborts whoever reads unbuffered what is no whole 4 KiB. */
static void
the_tail_of_an_unbuffered_disk_is_read_once_buffered(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    open_tuned_well(f, &(struct source_vddk_tuning){0}, "", 4 * MIB + 3 * 4096 + 1536);
    assert_int_equal(count_recorded("open "), 3);
    assert_int_equal(count_recorded("open flags=5 "), 2);
    assert_int_equal(f->source->alignment, DISK_ALIGNMENT);
    copy_all(f, 5);
    /* Over the seam, and in pieces of the tail. */
    copy = copy_range(f, 4 * MIB + 512, f->source->size, 512);
    assert_int_equal(copy.bad, 0);
    assert_int_equal(copy.good, (3 * 4096 + 1536 - 512) / 512);
    copy = copy_range(f, 4 * MIB + 2 * 4096 + 512, f->source->size, 6144);
    assert_int_equal(copy.bad, 0);
}

static void
a_disk_that_is_all_tail_is_read_buffered(void **state)
{
    struct fixture *f = *state;

    open_tuned_well(f, &(struct source_vddk_tuning){0}, "", 3584);
    assert_int_equal(f->source->alignment, DISK_SECTOR);
    copy_all(f, 1);
}

static void
refuse(struct fixture *f, unsigned refused, unsigned opened)
{
    CLEANUP(free_charp) char *words = xasprintf("refuse-flags=%u", refused);
    CLEANUP(free_charp) char *line = xasprintf("open flags=%u path=" CENTRE_PATH, opened);

    open_tuned_well(f, &(struct source_vddk_tuning){.compression = SOURCE_COMPRESSION_FASTLZ},
                    words, 2 * MIB + 512);
    expect_recorded(line);
    assert_int_equal(f->source->alignment, opened & 1 ? DISK_ALIGNMENT : DISK_SECTOR);
    copy_all(f, 3);
}

static void
a_library_that_knows_no_unbuffered_is_read_buffered(void **state)
{
    refuse(*state, 1, 36);
}

static void
a_library_that_knows_no_compression_is_read_without(void **state)
{
    refuse(*state, 32, 5);
}

static void
a_library_that_knows_neither_is_read_plainly(void **state)
{
    refuse(*state, 33, 4);
}

/* ---- transports ------------------------------------------------------------------------------- */

static void
a_transport_that_is_not_there_alone_says_what_it_needs(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        open_tuned(f, &(struct source_vddk_tuning){.transports = "hotadd:san"}, "", MIB), -1);
    assert_int_equal(err_code(f->err), E_VDDK_OPEN);
    assert_non_null(strstr(err_message(f->err), "access rights"));
    assert_non_null(strstr(err_hint_text(f->err), "transport hotadd:san"));
}

/* ---- a host that is short of memory ----------------------------------------------------------- */

static void
a_session_that_the_host_has_no_memory_for_is_made_smaller(void **state)
{
    struct fixture *f = *state;

    open_tuned_well(f, &(struct source_vddk_tuning){0}, "session-memory-kb=1024", 4 * MIB);
    expect_recorded("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=16");
    expect_recorded("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=8");
    expect_recorded("config vixDiskLib.nfcAio.Session.BufSizeIn64KB=4");
    assert_int_equal(count_recorded("connect "), 3);
    copy_all(f, 4);
}

static void
a_host_without_any_memory_is_told_and_may_be_tried_again(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(open_tuned(f, &(struct source_vddk_tuning){.buffer_kb = 128, .buffers = 2},
                                "session-memory-kb=32", MIB),
                     -1);
    assert_int_equal(err_code(f->err), E_VDDK_MEMORY);
    assert_int_equal(err_class(f->err), ERR_CLASS_RETRY);
    assert_non_null(strstr(err_hint_text(f->err), "fewer disks"));
    /* 128 x 2, 64 x 2, 64 x 1 */
    assert_int_equal(count_recorded("connect "), 3);
}

static void
reads_that_the_host_has_no_memory_for_are_fewer_at_a_time(void **state)
{
    struct fixture *f = *state;

    start(f, 64 * MIB, "read-memory-kb=3072");
    open_well(f);
    copy_all(f, 64);
}

static void
a_read_that_is_too_much_alone_comes_in_pieces(void **state)
{
    struct fixture *f = *state;

    start(f, 24 * MIB + 512, "read-memory-kb=200");
    open_well(f);
    copy_all(f, 25);
}

static void
a_read_that_is_too_much_in_every_size_fails(void **state)
{
    struct fixture *f = *state;
    struct copy copy;

    start(f, 8 * MIB, "read-memory-kb=32");
    open_well(f);
    copy = copy_range(f, 0, 8 * MIB, MIB);
    assert_int_equal(copy.good, 0);
    assert_int_equal(copy.bad, 8);
    assert_int_equal(err_code(copy.error), E_VDDK_MEMORY);
    err_free(copy.error);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
what_is_held_back_is_given_up_at_the_close(void **state)
{
    struct fixture *f = *state;
    struct copy copy = {.f = f, .end = 64 * MIB, .step = DISK_MAX_REQUEST};

    start(f, 64 * MIB, "read-memory-kb=1024");
    open_well(f);
    while (copy.good < 8 && copy_fill(&copy))
        copy_wait(&copy, 20000);
    disk_source_closep(&f->source);
    assert_int_equal(copy.in_flight, 0);
    assert_true(copy.bad > 0);
    assert_int_equal(err_code(copy.error), E_CANCELLED);
    err_free(copy.error);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_record, teardown_record)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_settings_a_session_is_as_suits_most),
        TEST(what_is_set_arrives),
        TEST(each_compression_is_a_flag_of_its_own),
        TEST(no_configuration_stays_behind),
        TEST(what_a_session_cannot_have_is_refused),
        TEST(a_disk_may_be_opened_buffered),
        TEST(the_tail_of_an_unbuffered_disk_is_read_once_buffered),
        TEST(a_disk_that_is_all_tail_is_read_buffered),
        TEST(a_library_that_knows_no_unbuffered_is_read_buffered),
        TEST(a_library_that_knows_no_compression_is_read_without),
        TEST(a_library_that_knows_neither_is_read_plainly),
        TEST(a_transport_that_is_not_there_alone_says_what_it_needs),
        TEST(a_session_that_the_host_has_no_memory_for_is_made_smaller),
        TEST(a_host_without_any_memory_is_told_and_may_be_tried_again),
        TEST(reads_that_the_host_has_no_memory_for_are_fewer_at_a_time),
        TEST(a_read_that_is_too_much_alone_comes_in_pieces),
        TEST(a_read_that_is_too_much_in_every_size_fails),
        TEST(what_is_held_back_is_given_up_at_the_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
