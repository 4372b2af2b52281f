/* Handles shared between processes.  Each player is a process that tells through a pipe what becomes of
 * it: 'w' it waits, 'h' it holds a handle, 'c' it was stopped, 'r' it has given it back. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "migration/slots.h"

#define DEADLINE_MS 30000

static char dir[64];

static int
make_dir(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/v2c-test-slots.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
    CLEANUP(free_charp) char *command = xasprintf("rm -rf %s", dir);

    return system(command);
}

/* ---- players ---- */

struct player {
    pid_t pid;
    int orders, reports;
};

static volatile int cancelled;

static void
on_cancel(int number)
{
    cancelled = 1;
}

static void
say(int fd, char what)
{
    if (write(fd, &what, 1) != 1)
        _exit(9);
}

static void
on_wait(void *opaque, const char *what)
{
    if (what)
        say(*(int *)opaque, 'w');
}

static void
play(struct slots_limits limits, struct slots_wish wish, int orders, int reports)
{
    struct migration_slot *slot;
    struct err *err = NULL;
    char order;

    signal(SIGUSR1, on_cancel);
    wish.on_wait = on_wait;
    wish.opaque = &reports;
    if (migration_slot_take(dir, &limits, &wish, &cancelled, &slot, &err) < 0) {
        say(reports, err_code(err) == E_CANCELLED ? 'c' : 'e');
        _exit(1);
    }
    say(reports, 'h');
    if (read(orders, &order, 1) != 1)
        _exit(2);
    migration_slot_free(slot);
    say(reports, 'r');
    _exit(0);
}

static struct player
start(struct slots_limits limits, struct slots_wish wish)
{
    struct player player;
    int orders[2], reports[2];

    assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
    assert_int_equal(pipe2(reports, O_CLOEXEC), 0);
    player = (struct player){.orders = orders[1], .reports = reports[0]};
    player.pid = fork();
    assert_true(player.pid >= 0);
    if (player.pid == 0) {
        (void)close(orders[1]);
        play(limits, wish, orders[0], reports[1]);
    }
    (void)close(orders[0]);
    (void)close(reports[1]);
    return player;
}

static void
expect(const struct player *player, char wanted)
{
    struct pollfd fd = {.fd = player->reports, .events = POLLIN};
    char got = 0;

    assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
    assert_int_equal(read(player->reports, &got, 1), 1);
    assert_int_equal(got, wanted);
}

static void
expect_silence(const struct player *player)
{
    struct pollfd fd = {.fd = player->reports, .events = POLLIN};

    assert_int_equal(poll(&fd, 1, 0), 0);
}

static void
bury(struct player *player)
{
    int status;

    (void)close(player->orders);
    (void)close(player->reports);
    assert_int_equal(waitpid(player->pid, &status, 0), player->pid);
}

static void
release(struct player *player)
{
    say(player->orders, 'r');
    expect(player, 'r');
    bury(player);
}

static void
kill_hard(struct player *player)
{
    assert_int_equal(kill(player->pid, SIGKILL), 0);
    bury(player);
}

#define VM(number) ((struct slots_wish){.vm = (number), .host = "esx1", .pool_slots = 8})
#define FINAL(number)                                                                              \
    ((struct slots_wish){.vm = (number), .host = "esx1", .pool_slots = 8, .is_final = true})

/* ---- between processes ---- */

static void
a_handle_that_is_given_back_goes_to_who_waits(void **state)
{
    const struct slots_limits one = {.handles = 1};
    struct player a = start(one, VM(1)), b;

    expect(&a, 'h');
    b = start(one, VM(2));
    expect(&b, 'w');
    expect_silence(&b);
    release(&a);
    expect(&b, 'h');
    release(&b);
}

static void
a_holder_that_is_killed_gives_its_handle_back(void **state)
{
    const struct slots_limits one = {.handles = 1};
    struct player a = start(one, VM(1)), b;

    expect(&a, 'h');
    b = start(one, VM(2));
    expect(&b, 'w');
    kill_hard(&a);
    expect(&b, 'h');
    release(&b);
}

static void
one_that_waits_and_is_killed_holds_up_nobody(void **state)
{
    const struct slots_limits one = {.handles = 1};
    struct player a = start(one, VM(1)), b, c;

    expect(&a, 'h');
    b = start(one, VM(2));
    expect(&b, 'w');
    c = start(one, VM(3));
    expect(&c, 'w');
    kill_hard(&b);
    release(&a);
    expect(&c, 'h');
    release(&c);
}

static void
handles_go_to_the_vm_that_has_fewest(void **state)
{
    const struct slots_limits two = {.handles = 2};
    struct player a = start(two, VM(1)), b, a2, c;

    expect(&a, 'h');
    b = start(two, VM(2));
    expect(&b, 'h');
    a2 = start(two, VM(1));
    expect(&a2, 'w');
    c = start(two, VM(3));
    expect(&c, 'w');
    release(&b);
    expect(&c, 'h');
    expect_silence(&a2);
    release(&a);
    expect(&a2, 'h');
    release(&a2);
    release(&c);
}

static void
a_final_sync_waits_neither_for_the_engine_nor_for_a_host_that_copies_fill(void **state)
{
    const struct slots_limits one = {.handles = 1, .handles_per_host = 1};
    struct player a = start(one, VM(1)), b, final;

    expect(&a, 'h');
    b = start(one, VM(2));
    expect(&b, 'w');
    final = start(one, FINAL(3));
    expect(&final, 'h');
    release(&a);
    expect_silence(&b); /* the final sync counts */
    release(&final);
    expect(&b, 'h');
    release(&b);
}

static void
a_full_host_does_not_hold_up_another(void **state)
{
    const struct slots_limits limits = {.handles = 8, .handles_per_host = 1};
    struct slots_wish elsewhere = VM(3);
    struct player a = start(limits, VM(1)), b, c;

    elsewhere.host = "esx2";
    expect(&a, 'h');
    b = start(limits, VM(2));
    expect(&b, 'w');
    c = start(limits, elsewhere);
    expect(&c, 'h');
    expect_silence(&b);
    release(&a);
    expect(&b, 'h');
    release(&b);
    release(&c);
}

static void
waiting_ends_when_it_is_stopped(void **state)
{
    const struct slots_limits one = {.handles = 1};
    struct player a = start(one, VM(1)), b;

    expect(&a, 'h');
    b = start(one, VM(2));
    expect(&b, 'w');
    assert_int_equal(kill(b.pid, SIGUSR1), 0);
    expect(&b, 'c');
    bury(&b);
    release(&a);
}

#define CROWD  12
#define TURNS  20
#define PLACES 3

struct shared {
    int inside, most, turns;
};

static void
crowd_in(struct shared *shared, int vm)
{
    const struct slots_limits limits = {.handles = PLACES, .inflight_mib = 64};
    const struct slots_wish wish = VM(vm);

    for (int i = 0; i < TURNS; i++) {
        struct migration_slot *slot;
        int inside, most;

        if (migration_slot_take(dir, &limits, &wish, NULL, &slot, NULL) < 0)
            _exit(1);
        inside = __atomic_add_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
        most = __atomic_load_n(&shared->most, __ATOMIC_SEQ_CST);
        while (inside > most && !__atomic_compare_exchange_n(&shared->most, &most, inside, false,
                                                             __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        __atomic_add_fetch(&shared->turns, 1, __ATOMIC_SEQ_CST);
        (void)poll(NULL, 0, 1); /* so that the places are taken for a while */
        __atomic_sub_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
        migration_slot_free(slot);
    }
    _exit(0);
}

static void
a_crowd_gets_through_and_never_more_at_once_than_there_are_places(void **state)
{
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[CROWD];

    assert_ptr_not_equal(shared, MAP_FAILED);
    for (int i = 0; i < CROWD; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            crowd_in(shared, i / 2);
    }
    for (int i = 0; i < CROWD; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(shared->turns, CROWD * TURNS);
    assert_true(shared->most >= 1 && shared->most <= PLACES);
    (void)munmap(shared, sizeof(*shared));
}

/* ---- within one process ---- */

static void
a_second_handle_is_what_nobody_else_wants(void **state)
{
    const struct slots_limits limits = {.handles = 3, .handles_per_host = 2};
    const struct slots_wish here = VM(1);
    CLEANUP(migration_slot_freep) struct migration_slot *first = NULL, *second = NULL;
    CLEANUP(migration_slot_freep) struct migration_slot *third = NULL;
    struct slots_wish there = VM(2);
    struct err *err = NULL;

    there.host = "esx2";
    assert_ok(migration_slot_take(dir, &limits, &here, NULL, &first, &err), &err);
    assert_int_equal(migration_slot_pool(first), 8);
    assert_ok(migration_slot_try(first, &second, &err), &err);
    assert_non_null(second);
    assert_ok(migration_slot_try(first, &third, &err), &err);
    assert_null(third); /* its host is full */
    assert_false(migration_slot_should_yield(second));
    assert_ok(migration_slot_take(dir, &limits, &there, NULL, &third, &err), &err);
    migration_slot_freep(&second);
    assert_ok(migration_slot_try(first, &second, &err), &err);
    assert_non_null(second);
    migration_slot_freep(&third);
}

static void
a_second_handle_is_asked_back_when_another_waits(void **state)
{
    const struct slots_limits limits = {.handles = 2};
    struct slots_wish wish = VM(1);
    struct migration_slot *first, *second;
    struct err *err = NULL;
    struct player b;
    int ready[2];

    /* The player is there before this process holds anything that it would inherit. */
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    b.pid = fork();
    assert_true(b.pid >= 0);
    if (b.pid == 0) {
        struct migration_slot *slot;
        char go;

        if (read(ready[0], &go, 1) != 1)
            _exit(1);
        wish.vm = 2;
        if (migration_slot_take(dir, &limits, &wish, NULL, &slot, NULL) < 0)
            _exit(2);
        migration_slot_free(slot);
        _exit(0);
    }
    assert_ok(migration_slot_take(dir, &limits, &wish, NULL, &first, &err), &err);
    assert_ok(migration_slot_try(first, &second, &err), &err);
    assert_non_null(second);
    assert_false(migration_slot_should_yield(second));
    say(ready[1], 'g');
    for (int i = 0; i < DEADLINE_MS && !migration_slot_should_yield(second); i++)
        (void)poll(NULL, 0, 1);
    assert_true(migration_slot_should_yield(second));
    migration_slot_free(second);
    {
        int status;

        assert_int_equal(waitpid(b.pid, &status, 0), b.pid);
        assert_int_equal(status, 0);
    }
    (void)close(ready[0]);
    (void)close(ready[1]);
    migration_slot_free(first);
}

static void
a_table_full_of_nonsense_is_used_all_the_same(void **state)
{
    CLEANUP(free_charp)
    char *command = xasprintf("mkdir %s/.vddk-slots && head -c 1000000 /dev/zero | tr '\\0' '\\2' "
                              "> %s/.vddk-slots/claims-1",
                              dir, dir);
    const struct slots_limits one = {.handles = 1};
    const struct slots_wish wish = VM(1);
    struct migration_slot *slot = NULL;
    struct err *err = NULL;

    assert_int_equal(system(command), 0);
    for (int i = 0; i < 3; i++) {
        assert_ok(migration_slot_take(dir, &one, &wish, NULL, &slot, &err), &err);
        migration_slot_free(slot);
    }
}

static void
a_directory_that_cannot_be_made_is_an_error(void **state)
{
    CLEANUP(free_charp) char *path = xasprintf("%s/.vddk-slots", dir);
    const struct slots_limits one = {.handles = 1};
    const struct slots_wish wish = VM(1);
    struct migration_slot *slot = NULL;
    struct err *err = NULL;

    assert_ok(file_replace(path, "", 0, 0600, &err), &err);
    assert_int_equal(migration_slot_take(dir, &one, &wish, NULL, &slot, &err), -1);
    assert_null(slot);
    assert_err(&err, E_IO);
}

static void
the_number_of_handles_comes_from_the_environment(void **state)
{
    unsetenv("V2C_VDDK_MAX_OPEN");
    assert_int_equal(migration_slots_handles(), 8);
    setenv("V2C_VDDK_MAX_OPEN", "3", 1);
    assert_int_equal(migration_slots_handles(), 3);
    setenv("V2C_VDDK_MAX_OPEN", "1000", 1);
    assert_int_equal(migration_slots_handles(), 256);
    setenv("V2C_VDDK_MAX_OPEN", "0", 1);
    assert_int_equal(migration_slots_handles(), 8);
    setenv("V2C_VDDK_MAX_OPEN", "many", 1);
    assert_int_equal(migration_slots_handles(), 8);
    unsetenv("V2C_VDDK_MAX_OPEN");
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(a_handle_that_is_given_back_goes_to_who_waits),
        IN_DIR(a_holder_that_is_killed_gives_its_handle_back),
        IN_DIR(one_that_waits_and_is_killed_holds_up_nobody),
        IN_DIR(handles_go_to_the_vm_that_has_fewest),
        IN_DIR(a_final_sync_waits_neither_for_the_engine_nor_for_a_host_that_copies_fill),
        IN_DIR(a_full_host_does_not_hold_up_another),
        IN_DIR(waiting_ends_when_it_is_stopped),
        IN_DIR(a_crowd_gets_through_and_never_more_at_once_than_there_are_places),
        IN_DIR(a_second_handle_is_what_nobody_else_wants),
        IN_DIR(a_second_handle_is_asked_back_when_another_waits),
        IN_DIR(a_table_full_of_nonsense_is_used_all_the_same),
        IN_DIR(a_directory_that_cannot_be_made_is_an_error),
        cmocka_unit_test(the_number_of_handles_comes_from_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
