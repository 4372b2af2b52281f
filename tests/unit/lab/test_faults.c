/* lab/core/faults: what the lab is told to do wrong hits where and as often as it was told. */
#include "../check.h"

#include "base/clock.h"
#include "base/util.h"
#include "core/faults.h"

static int
setup(void **state)
{
    *state = lab_faults_new();
    return 0;
}

static int
teardown(void **state)
{
    lab_faults_free(*state);
    return 0;
}

static int
add(struct lab_faults *faults, const char *text, struct err **err)
{
    json_t *fault = json_loads(text, JSON_DECODE_ANY, NULL);
    int result = lab_faults_add(faults, fault, err);

    json_decref(fault);
    return result;
}

static void
fault_hits_once_and_is_gone(void **state)
{
    struct lab_fault hit;
    struct err *err = NULL;

    assert_ok(add(*state, "{\"where\":\"nfc.open\",\"action\":\"fail\",\"detail\":\"x\"}", &err),
              &err);
    assert_false(lab_fault_take(*state, "nfc.read", &hit));
    assert_true(lab_fault_take(*state, "nfc.open", &hit));
    assert_string_equal(hit.action, "fail");
    assert_string_equal(hit.detail, "x");
    assert_false(lab_fault_take(*state, "nfc.open", &hit));
}

static void
skip_lets_the_first_passes_by_and_count_bounds_the_hits(void **state)
{
    static const bool expected[] = {false, false, true, true, true, false};
    struct lab_fault hit;
    struct err *err = NULL;

    assert_ok(add(*state,
                  "{\"where\":\"vsphere.Login\",\"action\":\"drop\",\"skip\":2,\"count\":3}", &err),
              &err);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_int_equal(lab_fault_take(*state, "vsphere.Login", &hit), expected[i]);
}

static void
star_matches_any_rest_and_minus_one_is_for_ever(void **state)
{
    struct lab_fault hit;
    struct err *err = NULL;

    assert_ok(add(*state, "{\"where\":\"vsphere.*\",\"action\":\"drop\",\"count\":-1}", &err),
              &err);
    for (int i = 0; i < 50; i++)
        assert_true(lab_fault_take(*state, i % 2 ? "vsphere.A" : "vsphere.B", &hit));
    assert_false(lab_fault_take(*state, "nfc.open", &hit));
    lab_faults_clear(*state);
    assert_false(lab_fault_take(*state, "vsphere.A", &hit));
}

static void
delay_sleeps_and_is_no_hit(void **state)
{
    struct lab_fault hit;
    struct err *err = NULL;
    int64_t before = clock_monotonic_ms();

    assert_ok(add(*state, "{\"where\":\"a\",\"action\":\"delay\",\"delay_ms\":60}", &err), &err);
    assert_false(lab_fault_take(*state, "a", &hit));
    assert_true(clock_monotonic_ms() - before >= 60);
    before = clock_monotonic_ms();
    assert_false(lab_fault_take(*state, "a", &hit));
    assert_true(clock_monotonic_ms() - before < 60);
}

static void
delay_and_failure_at_one_place_both_happen(void **state)
{
    struct lab_fault hit;
    struct err *err = NULL;
    int64_t before = clock_monotonic_ms();

    assert_ok(add(*state, "{\"where\":\"a\",\"action\":\"delay\",\"delay_ms\":40}", &err), &err);
    assert_ok(add(*state, "{\"where\":\"a\",\"action\":\"fail\"}", &err), &err);
    assert_true(lab_fault_take(*state, "a", &hit));
    assert_true(clock_monotonic_ms() - before >= 40);
}

static void
nonsense_is_refused(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{\"action\":\"fail\"}",
        "{\"where\":\"\",\"action\":\"fail\"}",
        "{\"where\":\"a\"}",
        "{\"where\":\"a\",\"action\":\"explode\"}",
        "{\"where\":\"a\",\"action\":\"fail\",\"count\":0}",
        "{\"where\":\"a\",\"action\":\"fail\",\"count\":-2}",
        "{\"where\":\"a\",\"action\":\"fail\",\"skip\":-1}",
        "{\"where\":\"a\",\"action\":\"delay\",\"delay_ms\":\"5\"}",
        "{\"where\":\"a\",\"action\":\"fail\",\"details\":\"x\"}",
    };
    struct err *err = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(add(*state, bad[i], &err), -1);
        assert_err(&err, E_CONFIG);
    }
}

static void
passes_are_counted_by_place(void **state)
{
    struct lab_fault hit;
    json_t *passes;

    (void)lab_fault_take(*state, "cloudstack.importVm", &hit);
    (void)lab_fault_take(*state, "vsphere.Login", &hit);
    (void)lab_fault_take(*state, "vsphere.Login", &hit);
    passes = lab_faults_passes(*state);
    assert_int_equal(json_integer_value(json_object_get(passes, "cloudstack.importVm")), 1);
    assert_int_equal(json_integer_value(json_object_get(passes, "vsphere.Login")), 2);
    assert_int_equal(json_object_size(passes), 2);
    json_decref(passes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fault_hits_once_and_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(skip_lets_the_first_passes_by_and_count_bounds_the_hits,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(star_matches_any_rest_and_minus_one_is_for_ever, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(delay_sleeps_and_is_no_hit, setup, teardown),
        cmocka_unit_test_setup_teardown(delay_and_failure_at_one_place_both_happen, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(passes_are_counted_by_place, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
