/* lab/disks/nfc_queue: what is due comes in order, what is not due holds nobody up. */
#include "../check.h"

#include <string.h>

#include "base/util.h"
#include "disks/nfc_queue.h"

#define S_NS   1000000000LL
#define FAR_NS (3600 * S_NS)

struct bench {
    struct nfc_queue queue;
    struct nfc_item items[4];
};

static int
setup(void **state)
{
    struct bench *bench = xcalloc(1, sizeof(*bench));

    nfc_queue_init(&bench->queue);
    *state = bench;
    return 0;
}

static int
teardown(void **state)
{
    struct bench *bench = *state;

    nfc_queue_done(&bench->queue);
    free(bench);
    return 0;
}

static void
put(struct bench *bench, unsigned number, int64_t from_now_ns)
{
    bench->items[number].due_ns = nfc_now_ns() + from_now_ns;
    nfc_queue_put(&bench->queue, &bench->items[number]);
}

static void
what_is_due_comes_in_the_order_of_its_time(void **state)
{
    struct bench *bench = *state;

    put(bench, 0, -1 * S_NS);
    put(bench, 1, -3 * S_NS);
    put(bench, 2, FAR_NS);
    put(bench, 3, -2 * S_NS);
    assert_ptr_equal(nfc_queue_take(&bench->queue), &bench->items[1]);
    assert_ptr_equal(nfc_queue_take(&bench->queue), &bench->items[3]);
    assert_ptr_equal(nfc_queue_take(&bench->queue), &bench->items[0]);
}

static void *
take_one(void *opaque)
{
    return nfc_queue_take(opaque);
}

static void
a_thread_that_waits_for_a_later_one_takes_an_earlier_one(void **state)
{
    struct bench *bench = *state;
    pthread_t threads[3];
    void *taken[3];
    unsigned seen = 0;

    put(bench, 0, FAR_NS);
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_one, &bench->queue), 0);
    put(bench, 1, 0);
    put(bench, 2, 1000000);
    put(bench, 3, 2000000);
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &taken[i]), 0);
        seen |= 1U << ((struct nfc_item *)taken[i] - bench->items);
    }
    assert_int_equal(seen, 14);
}

static bool
is_odd(const struct nfc_item *item, const void *opaque)
{
    return (item - (const struct nfc_item *)opaque) % 2;
}

static void
what_nobody_wants_any_more_is_removed(void **state)
{
    struct bench *bench = *state;
    unsigned count = 0;

    for (unsigned i = 0; i < 4; i++)
        put(bench, i, i == 2 ? 0 : FAR_NS);
    for (struct nfc_item *item = nfc_queue_remove(&bench->queue, is_odd, bench->items); item;
         item = item->next) {
        assert_true(is_odd(item, bench->items));
        count++;
    }
    assert_int_equal(count, 2);
    assert_ptr_equal(nfc_queue_take(&bench->queue), &bench->items[2]);
}

static void
a_stopped_queue_gives_nothing(void **state)
{
    struct bench *bench = *state;
    pthread_t thread;
    void *taken;

    assert_int_equal(pthread_create(&thread, NULL, take_one, &bench->queue), 0);
    put(bench, 0, FAR_NS);
    nfc_queue_stop(&bench->queue);
    assert_int_equal(pthread_join(thread, &taken), 0);
    assert_null(taken);
}

static void
bytes_pass_a_line_one_after_the_other(void **state)
{
    struct nfc_line line = {0};

    assert_int_equal(nfc_line_pass(&line, 5, MIB, 0), 5);
    assert_int_equal(nfc_line_pass(&line, 1000, 100, 1000000000), 1100);
    assert_int_equal(nfc_line_pass(&line, 1050, 100, 1000000000), 1200);
    assert_int_equal(nfc_line_pass(&line, 5000, 100, 1000000000), 5100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_due_comes_in_the_order_of_its_time),
        TEST(a_thread_that_waits_for_a_later_one_takes_an_earlier_one),
        TEST(what_nobody_wants_any_more_is_removed),
        TEST(a_stopped_queue_gives_nothing),
        cmocka_unit_test(bytes_pass_a_line_one_after_the_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
