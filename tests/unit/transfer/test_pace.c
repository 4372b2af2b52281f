/* Paces, in a pretend time: readers ask, and read or wait, as a transfer would. */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "transfer/transfer.h"

#define T0 (1000LL * 3600 * 24 * 100) /* the machine has been up for a while */

static char dir[64], path[96];

static int
setup(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/v2c-test-pace.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/engine", dir);
    return 0;
}

static int
teardown(void **state)
{
    (void)unlink(path);
    return rmdir(dir);
}

static struct transfer_pace *
open_pace(void)
{
    struct transfer_pace *pace = NULL;
    struct err *err = NULL;

    assert_ok(transfer_pace_open(path, &pace, &err), &err);
    return pace;
}

struct reader {
    struct transfer_pace *paces[3];
    uint32_t request;
    int64_t service_ms; /* of its source, for one request */
    int64_t next_ms;
    uint64_t read;
};

/* Lets them read from @now_ms to @end_ms, whoever's time has come first. */
static void
simulate(struct reader *readers, size_t count, int64_t now_ms, int64_t end_ms)
{
    for (size_t i = 0; i < count; i++)
        readers[i].next_ms = now_ms;
    for (;;) {
        struct reader *next = &readers[0];
        int64_t wait_ms;

        for (size_t i = 1; i < count; i++)
            if (readers[i].next_ms < next->next_ms)
                next = &readers[i];
        if (next->next_ms >= end_ms)
            return;
        wait_ms = transfer_pace_ask(next->paces, next->next_ms);
        if (!wait_ms) {
            transfer_pace_charge(next->paces, next->request, next->next_ms);
            next->read += next->request;
        }
        next->next_ms += wait_ms ? MIN(wait_ms, 250) : next->service_ms;
    }
}

static void
it_lets_through_its_rate_and_no_more(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct reader reader = {.paces = {pace}, .request = 1 * MIB};

    transfer_pace_set(pace, 10 * MIB, T0);
    simulate(&reader, 1, T0, T0 + 10000);
    assert_in_range(reader.read, 99 * MIB, 101 * MIB);
}

static void
it_makes_up_for_little_of_a_pause(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct transfer_pace *const paces[] = {pace, NULL};

    transfer_pace_set(pace, 8 * MIB, T0);
    assert_int_equal(transfer_pace_ask(paces, T0 + 1000000), 0);
    transfer_pace_charge(paces, 2 * MIB, T0 + 1000000); /* 250 ms of burst */
    assert_int_equal(transfer_pace_ask(paces, T0 + 1000000), 0);
    transfer_pace_charge(paces, 1 * MIB, T0 + 1000000);
    assert_int_equal(transfer_pace_ask(paces, T0 + 1000000), 125);
}

static void
without_a_limit_nothing_is_charged_and_a_new_one_begins_at_once(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct transfer_pace *const paces[] = {pace, NULL};

    transfer_pace_charge(paces, 1 * MIB, T0);
    assert_int_equal(transfer_pace_ask(paces, T0), 0);
    transfer_pace_set(pace, 1 * MIB, T0);
    transfer_pace_charge(paces, 512 * KIB, T0);
    assert_int_equal(transfer_pace_ask(paces, T0), 500);
    transfer_pace_set(pace, 0, T0);
    assert_int_equal(transfer_pace_ask(paces, T0), 0);
}

static void
a_faster_rate_forgives_what_was_owed_at_a_slow_one(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = transfer_pace_new();
    struct transfer_pace *const paces[] = {pace, NULL};

    transfer_pace_set(pace, 64 * KIB, T0);
    transfer_pace_charge(paces, 1 * MIB, T0);
    assert_int_equal(transfer_pace_ask(paces, T0), 16000);
    transfer_pace_set(pace, 100 * MIB, T0);
    assert_int_equal(transfer_pace_ask(paces, T0), 1000);
    assert_int_equal(transfer_pace_ask(paces, T0 + 1000), 0);
}

static void
all_of_a_list_must_allow(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *vm = transfer_pace_new();
    CLEANUP(transfer_pace_freep) struct transfer_pace *engine = open_pace();
    struct reader reader = {.paces = {vm, engine}, .request = 1 * MIB};

    transfer_pace_set(vm, 8 * MIB, T0);
    transfer_pace_set(engine, 2 * MIB, T0);
    simulate(&reader, 1, T0, T0 + 10000);
    assert_in_range(reader.read, 19 * MIB, 21 * MIB);
    transfer_pace_set(engine, 100 * MIB, T0 + 10000);
    reader.read = 0;
    simulate(&reader, 1, T0 + 11000, T0 + 21000);
    assert_in_range(reader.read, 79 * MIB, 82 * MIB + 1);
    assert_int_equal(transfer_pace_ask(NULL, T0), 0);
}

/* Four disks of one VM, and one of another: the VMs count, not the disks. */
static void
those_who_share_a_file_share_the_rate_fairly(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *big = open_pace();
    CLEANUP(transfer_pace_freep) struct transfer_pace *small = open_pace();
    struct reader readers[5] = {{.paces = {small}, .request = 1 * MIB, .service_ms = 3}};
    uint64_t of_big = 0, all;

    for (size_t i = 1; i < 5; i++)
        readers[i] = (struct reader){.paces = {big}, .request = 1 * MIB, .service_ms = 2};
    transfer_pace_set(big, 50 * MIB, T0);
    transfer_pace_set(small, 50 * MIB, T0);
    simulate(readers, 5, T0, T0 + 20000);
    for (size_t i = 1; i < 5; i++)
        of_big += readers[i].read;
    all = of_big + readers[0].read;
    assert_in_range(all, 900 * MIB, 1005 * MIB); /* turns cost a little */
    assert_in_range(readers[0].read, all * 4 / 10, all * 6 / 10);
}

/* One that another limit holds back takes what that lets it, and the other has the rest. */
static void
who_is_held_back_elsewhere_holds_up_nobody(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *slow_vm = transfer_pace_new();
    CLEANUP(transfer_pace_freep) struct transfer_pace *slow = open_pace();
    CLEANUP(transfer_pace_freep) struct transfer_pace *fast = open_pace();
    struct reader readers[] = {
        {.paces = {slow_vm, slow}, .request = 1 * MIB, .service_ms = 1},
        {.paces = {fast}, .request = 1 * MIB, .service_ms = 1},
    };

    transfer_pace_set(slow_vm, 1 * MIB, T0);
    transfer_pace_set(slow, 20 * MIB, T0);
    transfer_pace_set(fast, 20 * MIB, T0);
    simulate(readers, 2, T0, T0 + 10000);
    assert_in_range(readers[0].read, 9 * MIB, 11 * MIB);
    assert_in_range(readers[1].read, 180 * MIB, 191 * MIB);
}

/* Of three on one link two come through a narrower one: while these wait for each other there, the third
 * has the link. */
static void
who_waits_at_another_limit_is_not_waited_for(void **state)
{
    CLEANUP(free_charp) char *host_path = xasprintf("%s-host", path);
    struct transfer_pace *host[2], *engine[3];
    struct reader readers[3] = {{{0}}};
    struct err *err = NULL;

    for (size_t i = 0; i < 2; i++) {
        assert_ok(transfer_pace_open(host_path, &host[i], &err), &err);
        transfer_pace_set(host[i], 2 * MIB, T0);
    }
    for (size_t i = 0; i < 3; i++) {
        engine[i] = open_pace();
        transfer_pace_set(engine[i], 20 * MIB, T0);
        readers[i] =
            (struct reader){.paces = {i < 2 ? host[i] : engine[i], i < 2 ? engine[i] : NULL},
                            .request = 1 * MIB,
                            .service_ms = 1};
    }
    simulate(readers, 3, T0, T0 + 20000);
    assert_in_range(readers[0].read + readers[1].read, 36 * MIB, 42 * MIB);
    assert_in_range(readers[2].read, 340 * MIB, 365 * MIB);
    for (size_t i = 0; i < 3; i++)
        transfer_pace_freep(&engine[i]);
    for (size_t i = 0; i < 2; i++)
        transfer_pace_freep(&host[i]);
    (void)unlink(host_path);
}

/* And what it did not use before is not made up for at the cost of others. */
static void
a_newcomer_takes_its_share_and_no_more(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *old = open_pace();
    CLEANUP(transfer_pace_freep) struct transfer_pace *new = open_pace();
    struct reader readers[] = {
        {.paces = {old}, .request = 1 * MIB, .service_ms = 1},
        {.paces = {new}, .request = 1 * MIB, .service_ms = 1},
    };

    transfer_pace_set(old, 20 * MIB, T0);
    transfer_pace_set(new, 20 * MIB, T0);
    simulate(readers, 1, T0, T0 + 60000);
    readers[0].read = 0;
    simulate(readers, 2, T0 + 60000, T0 + 70000);
    assert_in_range(readers[0].read, 80 * MIB, 120 * MIB);
    assert_in_range(readers[1].read, 80 * MIB, 120 * MIB);
}

/* As if killed: it waited, had its turn coming, and is never heard of again. */
static void
who_vanishes_while_waiting_holds_up_nobody_for_long(void **state)
{
    struct transfer_pace *gone =
        open_pace(); /* freed at the end: its place stays taken until then */
    CLEANUP(transfer_pace_freep) struct transfer_pace *left = open_pace();
    struct transfer_pace *const of_gone[] = {gone, NULL};
    struct reader reader = {.paces = {left}, .request = 1 * MIB, .service_ms = 1};

    transfer_pace_set(gone, 10 * MIB, T0);
    transfer_pace_set(left, 10 * MIB, T0);
    simulate(&reader, 1, T0, T0 + 2000);
    transfer_pace_charge(of_gone, 1 * MIB, T0 + 2000);
    assert_true(transfer_pace_ask(of_gone, T0 + 2000) > 0);
    reader.read = 0;
    simulate(&reader, 1, T0 + 2000, T0 + 12000);
    assert_in_range(reader.read, 90 * MIB, 100 * MIB);
    transfer_pace_freep(&gone);
}

static void
more_than_there_are_places_for_are_limited_all_the_same(void **state)
{
    struct reader readers[130] = {{{0}}};
    uint64_t all = 0;

    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        readers[i] = (struct reader){.paces = {open_pace()}, .request = 1 * MIB, .service_ms = 1};
        transfer_pace_set(readers[i].paces[0], 100 * MIB, T0);
    }
    simulate(readers, ARRAY_SIZE(readers), T0, T0 + 5000);
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        all += readers[i].read;
        transfer_pace_freep(&readers[i].paces[0]);
    }
    assert_in_range(all, 400 * MIB, 502 * MIB);
}

/* After the machine was started again its clock begins anew, and the file is of before. */
static void
a_file_of_before_a_restart_or_full_of_nonsense_holds_up_nobody(void **state)
{
    static const uint64_t values[] = {UINT64_MAX, INT64_MAX, (uint64_t)1 << 63, 0x5a5a5a5a5a5a5a5a};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        uint64_t page[512];
        struct err *err = NULL;
        CLEANUP(close_fdp) int fd = open(path, O_RDWR | O_CREAT, 0600);
        struct transfer_pace *pace;
        struct reader reader = {.request = 1 * MIB, .service_ms = 1};

        for (size_t k = 0; k < ARRAY_SIZE(page); k++)
            page[k] = values[i];
        assert_ok(file_pwrite(fd, page, sizeof(page), 0, &err), &err);
        pace = reader.paces[0] = open_pace();
        transfer_pace_set(pace, 10 * MIB, 1000);
        simulate(&reader, 1, 1000, 12000);
        assert_in_range(reader.read, 98 * MIB, 113 * MIB);
        transfer_pace_freep(&pace);
    }
}

/* What one process charges all the others see, and nothing gets lost in between. */
static void
processes_charge_one_account(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *pace = open_pace();
    struct transfer_pace *const paces[] = {pace, NULL};
    pid_t children[4];

    transfer_pace_set(pace, 8 * MIB, T0);
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct transfer_pace *mine = NULL;
            struct transfer_pace *list[2] = {0};

            if (transfer_pace_open(path, &mine, NULL) < 0)
                _exit(1);
            list[0] = mine;
            transfer_pace_set(mine, 8 * MIB, T0);
            for (int n = 0; n < 1024; n++)
                transfer_pace_charge(list, 1024, T0);
            _exit(0); /* without giving anything back, like one that is killed */
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(transfer_pace_ask(paces, T0), 500); /* 4 MiB */
}

static void
what_was_not_asked_for_makes_others_wait_a_second_at_most(void **state)
{
    CLEANUP(transfer_pace_freep) struct transfer_pace *urgent = open_pace();
    CLEANUP(transfer_pace_freep) struct transfer_pace *other = open_pace();
    struct transfer_pace *const of_urgent[] = {urgent, NULL};
    struct transfer_pace *const of_other[] = {other, NULL};

    transfer_pace_set(urgent, 4 * MIB, T0);
    transfer_pace_set(other, 4 * MIB, T0);
    for (int i = 0; i < 1000; i++)
        transfer_pace_charge(of_urgent, 1 * MIB, T0);
    assert_int_equal(transfer_pace_ask(of_other, T0), 1000);
    assert_int_equal(transfer_pace_ask(of_other, T0 + 1000), 0);
}

static void
a_file_that_cannot_be_made_is_an_error(void **state)
{
    struct transfer_pace *pace = NULL;
    struct err *err = NULL;

    assert_int_equal(transfer_pace_open(dir, &pace, &err), -1);
    assert_err_says(&err, E_IO, dir);
    assert_int_equal(transfer_pace_open("/nowhere/at/all", &pace, &err), -1);
    assert_err(&err, E_IO);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(transfer_pace_open(path, &pace, &err), -1);
    assert_err(&err, E_IO);
    assert_null(pace);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(it_lets_through_its_rate_and_no_more),
        T(it_makes_up_for_little_of_a_pause),
        T(without_a_limit_nothing_is_charged_and_a_new_one_begins_at_once),
        T(a_faster_rate_forgives_what_was_owed_at_a_slow_one),
        T(all_of_a_list_must_allow),
        T(those_who_share_a_file_share_the_rate_fairly),
        T(who_is_held_back_elsewhere_holds_up_nobody),
        T(who_waits_at_another_limit_is_not_waited_for),
        T(a_newcomer_takes_its_share_and_no_more),
        T(who_vanishes_while_waiting_holds_up_nobody_for_long),
        T(more_than_there_are_places_for_are_limited_all_the_same),
        T(a_file_of_before_a_restart_or_full_of_nonsense_holds_up_nobody),
        T(processes_charge_one_account),
        T(what_was_not_asked_for_makes_others_wait_a_second_at_most),
        T(a_file_that_cannot_be_made_is_an_error),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
