#include "base/extents.h"

#include "tests/unit/check.h"

#define CAPACITY (1024 * 512ULL)

static struct extents
make(size_t count, const struct extent *items)
{
    struct extents e = {0};

    for (size_t i = 0; i < count; i++)
        vec_push(&e, items[i]);
    return e;
}
#define MAKE(...)                                                                                  \
    make(sizeof((struct extent[]){__VA_ARGS__}) / sizeof(struct extent),                           \
         (const struct extent[]){__VA_ARGS__})

static void
assert_extents(struct extents *e, size_t count, const struct extent *items)
{
    assert_int_equal(e->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(e->items[i].offset, items[i].offset);
        assert_int_equal(e->items[i].length, items[i].length);
    }
    vec_done(e);
}
#define ASSERT_EXTENTS(e, ...)                                                                     \
    assert_extents(e, sizeof((struct extent[]){__VA_ARGS__}) / sizeof(struct extent),              \
                   (const struct extent[]){__VA_ARGS__})

static void
extents_are_sorted_and_merged(void **state)
{
    struct extents e = MAKE({4096, 512}, {0, 1024}, {1024, 512}, {512, 512}, {2048, 512});

    assert_int_equal(extents_normalize(&e, CAPACITY, 0, false, NULL), 0);
    ASSERT_EXTENTS(&e, {0, 1536}, {2048, 512}, {4096, 512});
}

static void
small_gaps_are_bridged_on_request(void **state)
{
    struct extents e = MAKE({0, 512}, {1024, 512}, {8192, 512});

    assert_int_equal(extents_normalize(&e, CAPACITY, 512, false, NULL), 0);
    ASSERT_EXTENTS(&e, {0, 1536}, {8192, 512});
}

static void
an_extent_inside_another_does_not_shorten_it(void **state)
{
    struct extents e = MAKE({0, 8192}, {1024, 512});

    assert_int_equal(extents_normalize(&e, CAPACITY, 0, false, NULL), 0);
    ASSERT_EXTENTS(&e, {0, 8192});
}

static void
odd_extents_are_refused_when_not_rounding(void **state)
{
    static const struct extent bad[] = {
        {1, 512},
        {0, 511},
        {0, 0},
        {CAPACITY, 512},
        {CAPACITY - 512, 1024},
        {UINT64_MAX - 511, 1024},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct extents e = make(1, &bad[i]);
        struct err *err = NULL;

        assert_int_equal(extents_normalize(&e, CAPACITY, 0, false, &err), -1);
        assert_err(&err, E_PLAN);
        vec_done(&e);
    }
}

static void
odd_extents_are_widened_and_clipped_when_rounding(void **state)
{
    struct extents e =
        MAKE({1, 1}, {1023, 2}, {CAPACITY - 1, 100}, {CAPACITY + 512, 512}, {4096, 0});
    struct extents over = MAKE({UINT64_MAX - 511, 1024});
    struct err *err = NULL;

    assert_int_equal(extents_normalize(&e, CAPACITY, 0, true, NULL), 0);
    ASSERT_EXTENTS(&e, {0, 1536}, {CAPACITY - 512, 512});
    assert_int_equal(extents_normalize(&over, CAPACITY, 0, true, &err), -1);
    assert_err_says(&err, E_PLAN, "overflows");
    vec_done(&over);
}

static void
nothing_stays_nothing(void **state)
{
    struct extents none = {0};

    assert_int_equal(extents_normalize(&none, CAPACITY, 0, false, NULL), 0);
    assert_int_equal(none.count, 0);
    assert_int_equal(extents_total(&none), 0);
}

static void
subtracting_leaves_what_only_the_first_has(void **state)
{
    struct extents a = MAKE({0, 4096}, {8192, 4096}, {16384, 512});
    struct extents b = MAKE({0, 512}, {1024, 512}, {3584, 5120}, {16384, 1024});
    struct extents left = MAKE({7, 7});

    extents_subtract(&a, &b, &left);
    assert_int_equal(extents_total(&left), 512 + 2048 + 3584);
    ASSERT_EXTENTS(&left, {512, 512}, {1536, 2048}, {8704, 3584});
    vec_done(&a);
    vec_done(&b);
}

static void
one_hole_may_span_several_extents(void **state)
{
    struct extents a = MAKE({0, 512}, {1024, 512}, {2048, 512});
    struct extents b = MAKE({512, 2000});
    struct extents left = {0};

    extents_subtract(&a, &b, &left);
    ASSERT_EXTENTS(&left, {0, 512}, {2512, 48});
    vec_done(&a);
    vec_done(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_are_sorted_and_merged),
        cmocka_unit_test(small_gaps_are_bridged_on_request),
        cmocka_unit_test(an_extent_inside_another_does_not_shorten_it),
        cmocka_unit_test(odd_extents_are_refused_when_not_rounding),
        cmocka_unit_test(odd_extents_are_widened_and_clipped_when_rounding),
        cmocka_unit_test(nothing_stays_nothing),
        cmocka_unit_test(subtracting_leaves_what_only_the_first_has),
        cmocka_unit_test(one_hole_may_span_several_extents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
