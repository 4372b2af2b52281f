/* The rules by which handles are given out, on lists of claims. */
#include "base/util.h"
#include "check.h"
#include "migration/slots_policy.h"

#define NOW 1000000

static struct slots_claim claims[64];
static struct slots_limits limits;
static size_t count;

static void
begin(unsigned handles, unsigned per_host, unsigned mib)
{
    memset(claims, 0, sizeof(claims));
    count = 0;
    limits = (struct slots_limits){handles, per_host, mib};
}

static struct slots_claim *
add(enum slots_state state, int64_t vm, const char *host)
{
    struct slots_claim *claim = &claims[count];

    *claim = (struct slots_claim){
        .state = state, .vm = vm, .ticket = ++count, .since_ms = NOW, .seen_ms = NOW};
    strcpy(claim->host, host);
    return claim;
}

static struct slots_view
view(void)
{
    return (struct slots_view){.claims = claims, .count = count, .limits = &limits, .now_ms = NOW};
}

static void
assert_next(const struct slots_claim *expected)
{
    struct slots_view now = view();

    assert_ptr_equal(slots_next(&now), expected);
}

static enum slots_verdict
room(const struct slots_claim *claim)
{
    struct slots_view now = view();

    return slots_room(&now, claim);
}

static void
who_came_first_goes_first_while_there_is_room(void **state)
{
    struct slots_claim *a, *b;

    begin(2, 0, 0);
    assert_next(NULL);
    a = add(SLOTS_WAITING, 1, "esx1");
    b = add(SLOTS_WAITING, 2, "esx1");
    assert_next(a);
    a->state = SLOTS_HELD;
    assert_next(b);
    b->state = SLOTS_HELD;
    add(SLOTS_WAITING, 3, "esx1");
    assert_next(NULL);
    a->state = SLOTS_FREE;
    assert_next(&claims[2]);
}

static void
a_vm_that_holds_fewer_goes_before_one_that_came_earlier(void **state)
{
    struct slots_claim *greedy, *second, *modest;

    begin(4, 0, 0);
    add(SLOTS_HELD, 1, "esx1");
    add(SLOTS_HELD, 1, "esx1");
    add(SLOTS_HELD, 2, "esx1");
    greedy = add(SLOTS_WAITING, 1, "esx1");
    second = add(SLOTS_WAITING, 2, "esx1");
    modest = add(SLOTS_WAITING, 3, "esx1");
    assert_next(modest);
    modest->state = SLOTS_FREE;
    assert_next(second);
    second->state = SLOTS_FREE;
    assert_next(greedy);
}

static void
long_waiting_makes_up_for_handles_held(void **state)
{
    struct slots_claim *greedy, *modest;

    begin(4, 0, 0);
    add(SLOTS_HELD, 1, "esx1");
    add(SLOTS_HELD, 1, "esx1");
    greedy = add(SLOTS_WAITING, 1, "esx1");
    modest = add(SLOTS_WAITING, 3, "esx1");
    greedy->since_ms = NOW - 2 * SLOTS_AGE_MS + 1;
    assert_next(modest);
    greedy->since_ms = NOW - 2 * SLOTS_AGE_MS;
    assert_next(greedy);
}

static void
a_final_sync_goes_first_and_does_not_wait_for_the_engine(void **state)
{
    struct slots_claim *final;

    begin(1, 0, 0);
    add(SLOTS_WAITING, 1, "esx1");
    final = add(SLOTS_WAITING, 2, "esx1");
    final->is_final = true;
    assert_next(final);
    claims[0].state = SLOTS_HELD;
    assert_next(final);
    final->state = SLOTS_HELD;
    claims[0].state = SLOTS_FREE;
    assert_int_equal(room(add(SLOTS_WAITING, 3, "esx1")), SLOTS_ENGINE_FULL); /* it counts */
}

static void
a_full_host_holds_up_only_those_that_want_it(void **state)
{
    struct slots_claim *here, *there;

    begin(8, 2, 0);
    add(SLOTS_HELD, 1, "esx1");
    add(SLOTS_HELD, 2, "esx1");
    here = add(SLOTS_WAITING, 3, "esx1");
    there = add(SLOTS_WAITING, 1, "esx2");
    assert_int_equal(room(here), SLOTS_HOST_FULL);
    assert_next(there);
    claims[0].state = SLOTS_FREE;
    assert_next(here);
}

static void
a_host_that_is_not_known_or_not_limited_holds_up_nobody(void **state)
{
    begin(8, 1, 0);
    add(SLOTS_HELD, 1, "");
    assert_next(add(SLOTS_WAITING, 2, ""));
    begin(8, 0, 0);
    add(SLOTS_HELD, 1, "esx1");
    assert_next(add(SLOTS_WAITING, 2, "esx1"));
}

static void
final_syncs_have_a_reserve_on_a_host_that_copies_have_filled(void **state)
{
    struct slots_claim *final = NULL;

    begin(16, 3, 0);
    for (int i = 0; i < 3; i++)
        add(SLOTS_HELD, i, "esx1");
    for (int i = 0; i < SLOTS_FINAL_RESERVE; i++) {
        final = add(SLOTS_WAITING, 10 + i, "esx1");
        final->is_final = true;
        assert_next(final);
        final->state = SLOTS_HELD;
    }
    final = add(SLOTS_WAITING, 20, "esx1");
    final->is_final = true;
    assert_int_equal(room(final), SLOTS_HOST_FULL);
    claims[count - 2].state = SLOTS_FREE; /* another final sync has ended */
    assert_next(final);
}

static void
one_that_does_not_look_any_more_is_passed_over(void **state)
{
    struct slots_claim *stopped, *other;

    begin(1, 0, 0);
    stopped = add(SLOTS_WAITING, 1, "esx1");
    other = add(SLOTS_WAITING, 2, "esx1");
    stopped->seen_ms = NOW - SLOTS_STALE_MS;
    assert_next(stopped);
    stopped->seen_ms--;
    assert_next(other);
}

static unsigned
pool(unsigned wanted, bool is_final)
{
    struct slots_view now = view();

    return slots_pool(&now, wanted, is_final);
}

static void
memory_is_shared_and_everybody_gets_some(void **state)
{
    unsigned sum = 0;

    begin(16, 0, 192);
    for (int i = 0; i < 8; i++) {
        struct slots_claim *claim = add(SLOTS_FREE, i, "esx1");

        claim->pool_slots = pool(48, false);
        claim->state = SLOTS_HELD;
        assert_true(claim->pool_slots >= SLOTS_LEAST_POOL);
        sum += claim->pool_slots;
    }
    assert_int_equal(claims[0].pool_slots, 48); /* as if alone */
    assert_true(sum <= 192 + 2 * SLOTS_LEAST_POOL);
    assert_int_equal(pool(48, true), 48); /* a VM that is off is not made slow */
    assert_int_equal(pool(1, false), SLOTS_LEAST_POOL);
    begin(16, 0, 0);
    assert_int_equal(pool(48, false), 48);
}

static void
a_second_handle_is_wanted_back_by_whom_it_would_help(void **state)
{
    struct slots_claim *second, *waiting;
    struct slots_view now;

    begin(2, 0, 0);
    add(SLOTS_HELD, 1, "esx1");
    second = add(SLOTS_HELD, 1, "esx1");
    second->is_second = true;
    now = view();
    assert_false(slots_is_wanted(&now, second));
    waiting = add(SLOTS_WAITING, 2, "esx2");
    now = view();
    assert_true(slots_is_wanted(&now, second));
    waiting->seen_ms = NOW - SLOTS_STALE_MS - 1;
    assert_false(slots_is_wanted(&now, second));

    begin(8, 1, 0);
    second = add(SLOTS_HELD, 1, "esx1");
    add(SLOTS_HELD, 3, "esx2");
    add(SLOTS_WAITING, 2, "esx2"); /* which it would not help */
    now = view();
    assert_false(slots_is_wanted(&now, second));
    add(SLOTS_WAITING, 2, "esx1");
    now = view();
    assert_true(slots_is_wanted(&now, second));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_came_first_goes_first_while_there_is_room),
        cmocka_unit_test(a_vm_that_holds_fewer_goes_before_one_that_came_earlier),
        cmocka_unit_test(long_waiting_makes_up_for_handles_held),
        cmocka_unit_test(a_final_sync_goes_first_and_does_not_wait_for_the_engine),
        cmocka_unit_test(a_full_host_holds_up_only_those_that_want_it),
        cmocka_unit_test(a_host_that_is_not_known_or_not_limited_holds_up_nobody),
        cmocka_unit_test(final_syncs_have_a_reserve_on_a_host_that_copies_have_filled),
        cmocka_unit_test(one_that_does_not_look_any_more_is_passed_over),
        cmocka_unit_test(memory_is_shared_and_everybody_gets_some),
        cmocka_unit_test(a_second_handle_is_wanted_back_by_whom_it_would_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
