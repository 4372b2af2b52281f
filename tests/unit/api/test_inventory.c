/* The order of VMs, however many there are. */
#include "tests/unit/check.h"

#include "api/internal.h"
#include "base/clock.h"

#define MANY 40000

static json_t *
vm(const char *name, const char *moref)
{
    return json_pack("{s:s, s:s}", "name", name, "moref", moref);
}

static const char *
text_at(const json_t *vms, size_t i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(vms, i), key));
}

static void
vms_come_by_name_then_moref(void **state)
{
    json_t *vms = inventory_sorted(json_pack("[o, o, o, o]", vm("b", "vm-1"), vm("a", "vm-4"),
                                             vm("c", "vm-2"), vm("a", "vm-3")));

    assert_int_equal(json_array_size(vms), 4);
    assert_string_equal(text_at(vms, 0, "moref"), "vm-3");
    assert_string_equal(text_at(vms, 1, "moref"), "vm-4");
    assert_string_equal(text_at(vms, 2, "name"), "b");
    assert_string_equal(text_at(vms, 3, "name"), "c");
    json_decref(vms);
}

/* Backwards is what made the old way slow: minutes for as many. */
static void
many_vms_are_sorted_at_once(void **state)
{
    json_t *vms = json_array();
    int64_t began = clock_monotonic_ms();

    for (unsigned i = MANY; i-- > 0;) {
        char name[16];

        snprintf(name, sizeof(name), "vm%06u", i);
        json_array_append_new(vms, vm(name, "vm-1"));
    }
    vms = inventory_sorted(vms);
    for (size_t i = 0; i < MANY; i += 999) {
        char name[16];

        snprintf(name, sizeof(name), "vm%06zu", i);
        assert_string_equal(text_at(vms, i, "name"), name);
    }
    assert_in_range(clock_monotonic_ms() - began, 0, 10000);
    json_decref(vms);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vms_come_by_name_then_moref),
        cmocka_unit_test(many_vms_are_sorted_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
