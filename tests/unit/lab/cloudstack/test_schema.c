/* What the pretend server takes and refuses before a command runs. */
#include "fixture.h"

#include <stdio.h>

struct server {
    struct lab_cloudstack cs;
    struct cs_request rq;
    struct cs_error error;
};

static int
setup(void **state)
{
    struct server *s = xcalloc(1, sizeof(*s));

    (void)snprintf(s->cs.dir, sizeof(s->cs.dir), "/nowhere");
    (void)snprintf(s->cs.version, sizeof(s->cs.version), "4.22.1");
    s->cs.schema = cs_schema_load("4.22.1", false);
    s->cs.world = cs_world_new(&s->cs);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    struct server *s = *state;

    cs_request_done(&s->rq);
    json_decref(s->cs.schema);
    json_decref(s->cs.world);
    free(s);
    return 0;
}

static void
begin(struct server *s, const char *command)
{
    cs_request_done(&s->rq);
    s->rq.command = xstrdup(command);
    s->rq.api = cs_schema_find(s->cs.schema, command);
    assert_non_null(s->rq.api);
    cs_request_add(&s->rq, "command", command);
}

static void
expect_refused(struct server *s, const char *words)
{
    assert_int_equal(cs_schema_check(&s->cs, &s->rq, &s->error), -1);
    assert_int_equal(s->error.code, 431);
    if (!strstr(s->error.text, words))
        fail_msg("got: %s", s->error.text);
}

static void
expect_taken(struct server *s)
{
    if (cs_schema_check(&s->cs, &s->rq, &s->error) < 0)
        fail_msg("refused: %s", s->error.text);
}

static void
test_unknown_parameter_is_refused(void **state)
{
    struct server *s = *state;

    begin(s, "startVirtualMachine");
    cs_request_add(&s->rq, "vmid", "1");
    expect_refused(s, "no parameter vmid");
}

static void
test_missing_parameter_is_refused(void **state)
{
    struct server *s = *state;

    begin(s, "importVolume");
    cs_request_add(&s->rq, "storageid", POOL);
    expect_refused(s, "missing parameter path");
    cs_request_add(&s->rq, "path", "");
    expect_refused(s, "missing parameter path");
}

static void
test_id_of_nothing_is_refused(void **state)
{
    struct server *s = *state;

    begin(s, "listVolumesForImport");
    cs_request_add(&s->rq, "storageid", ZONE);
    expect_refused(s, "entity does not exist");
    begin(s, "startVirtualMachine");
    cs_request_add(&s->rq, "id", "no-such-vm");
    expect_refused(s, "Invalid parameter id value=no-such-vm");
}

static void
test_all_projects_are_no_entity(void **state)
{
    struct server *s = *state;

    begin(s, "listVolumes");
    cs_request_add(&s->rq, "projectid", "-1");
    expect_taken(s);
}

static void
test_types_are_checked(void **state)
{
    struct server *s = *state;

    begin(s, "listZones");
    cs_request_add(&s->rq, "page", "one");
    expect_refused(s, "invalid value one for parameter page");
    begin(s, "listZones");
    cs_request_add(&s->rq, "available", "yes");
    expect_refused(s, "invalid value yes for parameter available");
}

static void
test_maps_need_an_index_and_a_key(void **state)
{
    static const char *const WRONG[] = {"details",     "details[0]",  "details[x].a",
                                        "details[0]a", "details[0].", "details[-1].a"};
    struct server *s = *state;

    for (size_t i = 0; i < ARRAY_SIZE(WRONG); i++) {
        begin(s, "updateVirtualMachine");
        cs_request_add(&s->rq, WRONG[i], "v");
        expect_refused(s, "invalid value");
    }
    begin(s, "listZones");
    cs_request_add(&s->rq, "name[0].x", "v");
    expect_refused(s, "invalid value");
}

static void
test_only_index_0_of_details_counts(void **state)
{
    struct server *s = *state;
    json_t *details;

    begin(s, "updateVirtualMachine");
    cs_request_add(&s->rq, "details[0].rootDiskController", "virtio");
    cs_request_add(&s->rq, "details[1].nicAdapter", "virtio");
    details = cs_get_details(&s->rq);
    assert_int_equal(json_object_size(details), 1);
    assert_string_equal(cs_text(details, "rootDiskController"), "virtio");
    json_decref(details);
}

static void
test_names_are_taken_in_any_case(void **state)
{
    struct server *s = *state;

    begin(s, "listZones");
    cs_request_add(&s->rq, "PageSize", "10");
    expect_taken(s);
    assert_string_equal(cs_get(&s->rq, "pagesize"), "10");
    assert_non_null(cs_schema_find(s->cs.schema, "LISTZONES"));
}

static bool
has_param(const json_t *schema, const char *command, const char *name)
{
    const json_t *param;
    size_t i;

    json_array_foreach (json_object_get(cs_schema_find(schema, command), "params"), i, param) {
        if (!strcmp(cs_text(param, "name"), name))
            return true;
    }
    return false;
}

static void
test_parameters_come_with_their_version(void **state)
{
    json_t *old = cs_schema_load("4.21", false), *now = cs_schema_load("4.22.1", false);
    json_t *next = cs_schema_load("4.22.1", true), *older = cs_schema_load("4.19.0", false);
    json_t *later = cs_schema_load("4.23", false), *before = cs_schema_load("4.20.2", false);

    assert_false(has_param(old, "importVm", "osid"));
    assert_true(has_param(now, "importVm", "osid"));
    assert_false(has_param(now, "importVm", "macaddress"));
    assert_true(has_param(next, "importVm", "macaddress"));
    assert_true(has_param(later, "importVm", "macaddress"));
    assert_true(has_param(later, "importVm", "ipaddress"));
    assert_true(has_param(now, "unmanageVirtualMachine", "forced"));
    assert_false(has_param(before, "unmanageVirtualMachine", "forced"));
    assert_true(has_param(older, "deployVirtualMachine", "customid"));
    assert_null(cs_schema_find(older, "importVolume"));
    assert_non_null(cs_schema_find(old, "importVolume"));
    json_decref(old);
    json_decref(now);
    json_decref(next);
    json_decref(older);
    json_decref(later);
    json_decref(before);
}

static void
test_versions_are_compared_by_number(void **state)
{
    assert_true(cs_compare_versions("4.9", "4.22") < 0);
    assert_true(cs_compare_versions("4.22.1", "4.22") > 0);
    assert_int_equal(cs_compare_versions("4.22.0", "4.22"), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_unknown_parameter_is_refused),
        T(test_missing_parameter_is_refused),
        T(test_id_of_nothing_is_refused),
        T(test_all_projects_are_no_entity),
        T(test_types_are_checked),
        T(test_maps_need_an_index_and_a_key),
        T(test_only_index_0_of_details_counts),
        T(test_names_are_taken_in_any_case),
        T(test_parameters_come_with_their_version),
        T(test_versions_are_compared_by_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
