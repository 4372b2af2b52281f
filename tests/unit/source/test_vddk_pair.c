/* source/vddk_pair: a second connection to a disk, with the real program twice, and hosts that limit a
 * connection or all of them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "reading.h"
#include "source/source.h"

#define CAPACITY (4 * GIB) /* more than any of these reads */
#define STEP     (64U * 1024)
#define RATE     (20 * MIB)
#define HURRY    32
#define WORDS    "./test_vddk_pair.words" /* for the fake library, which looks anew each time */

static struct second {
    unsigned asked, closed, decided;
    bool may_open, is_wanted, is_kept;
    uint64_t rate_one, rate_both;
} second;

static bool
may_open(void *opaque)
{
    second.asked++;
    return second.may_open;
}

static void
closed(void *opaque)
{
    second.closed++;
}

static bool
is_wanted(void *opaque)
{
    return second.is_wanted;
}

static void
decided(void *opaque, bool is_kept, uint64_t rate_one, uint64_t rate_both)
{
    second.decided++;
    second.is_kept = is_kept;
    second.rate_one = rate_one;
    second.rate_both = rate_both;
}

static void
say_to_library(const char *words)
{
    assert_int_equal(file_replace(WORDS, words, strlen(words), 0600, NULL), 0);
}

static void
open_pair(struct fixture *f, const struct lab_nfc_settings *settings)
{
    struct source_vddk_options options;
    const struct source_vddk_second callbacks = {.may_open = may_open,
                                                 .closed = closed,
                                                 .is_wanted = is_wanted,
                                                 .decided = decided,
                                                 .hurry = HURRY};

    second = (struct second){.may_open = true};
    say_to_library("");
    start(f, CAPACITY, "@" WORDS);
    lab_nfc_set(&f->centre.lab, settings);
    options = centre_options(&f->centre, f->pool);
    options.start_timeout_ms = 2000;
    if (source_vddk_open_pair(&options, &callbacks, &f->source, &f->err) < 0)
        fail_msg("%s", err_message(f->err));
}

static int
teardown_pair(void **state)
{
    (void)unlink(WORDS);
    return teardown(state);
}

/* Reads on, every byte checked, until @count is not 0 any more; none may fail. */
static void
read_until(struct copy *copy, const unsigned *count)
{
    while (!*count) {
        assert_true(copy_fill(copy));
        assert_true(copy->in_flight > 0); /* else the disk was too small */
        copy_wait(copy, 20000);
        assert_int_equal(copy->bad, 0);
    }
}

static struct copy
begin(struct fixture *f)
{
    return (struct copy){.f = f, .end = CAPACITY, .step = STEP};
}

/* From now on the library misbehaves, which the first, being behind its first reads, does not notice. */
static void
misbehave(struct copy *copy, const char *words)
{
    while (copy->good < 64) {
        assert_true(copy_fill(copy));
        copy_wait(copy, 20000);
    }
    say_to_library(words);
}

static void
finish(struct copy *copy, uint64_t more)
{
    copy->end = MIN(copy->next + more, CAPACITY);
    while (copy_fill(copy) && copy->in_flight)
        copy_wait(copy, 20000);
    assert_int_equal(copy->bad, 0);
    assert_int_equal(copy->good * (uint64_t)STEP, copy->end);
    assert_int_equal(copy->f->pool->free_count, copy->f->pool->slot_count);
}

static void
where_a_connection_is_limited_a_second_one_stays(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    assert_string_equal(source_vddk_transport(f->source), "nbdssl");
    read_until(&copy, &second.decided);
    if (!second.is_kept)
        fail_msg("%llu bytes/s with one, %llu with both", (unsigned long long)second.rate_one,
                 (unsigned long long)second.rate_both);
    finish(&copy, 8 * MIB);
    assert_int_equal(second.asked, 1);
    assert_int_equal(second.closed, 0);
    disk_source_closep(&f->source);
    assert_int_equal(second.closed, 1);
}

static void
where_the_host_is_limited_it_is_closed_again(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.rate = RATE});
    read_until(&copy, &second.closed);
    assert_int_equal(second.decided, 1);
    if (second.is_kept)
        fail_msg("%llu bytes/s with one, %llu with both", (unsigned long long)second.rate_one,
                 (unsigned long long)second.rate_both);
    finish(&copy, 8 * MIB);
    assert_int_equal(second.asked, 1);
    disk_source_closep(&f->source);
    assert_int_equal(second.closed, 1);
}

static void
without_leave_there_is_no_second(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    second.may_open = false;
    while (second.asked < 2) { /* after another while */
        assert_true(copy_fill(&copy));
        copy_wait(&copy, 20000);
    }
    finish(&copy, MIB);
    disk_source_closep(&f->source);
    assert_int_equal(second.closed, 0);
    assert_int_equal(second.decided, 0);
}

static void
a_second_that_cannot_be_opened_is_no_error(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    misbehave(&copy, "fail-open");
    read_until(&copy, &second.closed);
    finish(&copy, 4 * MIB);
    assert_int_equal(second.decided, 0);
    assert_int_equal(second.asked, 1);
}

static void
a_second_that_dies_leaves_its_reads_to_the_first(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    misbehave(&copy, "segv-read=10");
    read_until(&copy, &second.closed);
    finish(&copy, 4 * MIB);
    assert_int_equal(second.asked, 1);
}

static void
a_second_that_fails_a_read_leaves_it_to_the_first(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    misbehave(&copy, "fail-read=10");
    read_until(&copy, &second.closed);
    finish(&copy, 4 * MIB);
    assert_int_equal(second.asked, 1);
}

static void
a_first_that_dies_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    read_until(&copy, &second.decided);
    assert_int_equal(kill(source_vddk_pid(f->source), SIGKILL), 0);
    while (!copy.bad && copy_fill(&copy))
        copy_wait(&copy, 20000);
    while (copy.in_flight)
        copy_wait(&copy, 20000);
    assert_true(copy.bad > 0);
    assert_int_equal(err_code(copy.error), E_VDDK_CRASH);
    err_free(copy.error);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
a_second_that_is_wanted_elsewhere_is_closed(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    second.is_wanted = true;
    read_until(&copy, &second.closed);
    assert_int_equal(second.decided, 0);
    finish(&copy, 4 * MIB);
    assert_int_equal(second.asked, 1);
}

static void
a_close_waits_for_a_second_that_is_being_opened(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    misbehave(&copy, "hang-open");
    read_until(&copy, &second.asked);
    finish(&copy, MIB);
    disk_source_closep(&f->source);
    assert_int_equal(second.closed, 1);
}

static void
a_close_in_the_middle_of_both_brings_every_read_back(void **state)
{
    struct fixture *f = *state;
    struct copy copy = begin(f);

    open_pair(f, &(struct lab_nfc_settings){.connection_rate = RATE});
    read_until(&copy, &second.decided);
    assert_true(second.is_kept);
    assert_true(copy_fill(&copy));
    disk_source_closep(&f->source);
    assert_int_equal(copy.in_flight, 0);
    assert_int_equal(copy.bad, 0);
    assert_int_equal(f->pool->free_count, f->pool->slot_count);
}

static void
allocated_blocks_come_from_the_first(void **state)
{
    struct fixture *f = *state;
    struct extents extents = {0};

    open_pair(f, &(struct lab_nfc_settings){0});
    assert_int_equal(f->source->ops->extents(f->source, 0, 6 * MIB, &extents, NULL), 0);
    assert_true(extents.count > 1);
    vec_done(&extents);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_pair)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(where_a_connection_is_limited_a_second_one_stays),
        TEST(where_the_host_is_limited_it_is_closed_again),
        TEST(without_leave_there_is_no_second),
        TEST(a_second_that_cannot_be_opened_is_no_error),
        TEST(a_second_that_dies_leaves_its_reads_to_the_first),
        TEST(a_second_that_fails_a_read_leaves_it_to_the_first),
        TEST(a_first_that_dies_is_an_error),
        TEST(a_second_that_is_wanted_elsewhere_is_closed),
        TEST(a_close_waits_for_a_second_that_is_being_opened),
        TEST(a_close_in_the_middle_of_both_brings_every_read_back),
        TEST(allocated_blocks_come_from_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
