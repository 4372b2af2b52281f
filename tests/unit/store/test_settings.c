/* What people change while migrations run. */
#include "tests/unit/store/fixture.h"

static int64_t
make_migration(struct store *store)
{
    struct store_migration migration = new_migration("1");
    struct store_disks disks = {0};
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    vec_push(&disks, new_disk(migration.id, "0"));
    assert_ok(store_disks_create(store, &disks, &err), &err);
    store_disks_done(&disks);
    store_migration_done(&migration);
    return migration.id;
}

static void
check_setting(struct store *store, const struct store_subject *of, const char *expected)
{
    CLEANUP(free_charp) char *value = NULL;
    struct err *err = NULL;

    assert_ok(store_setting_get(store, of, "limit", &value, &err), &err);
    if (expected)
        assert_string_equal(value, expected);
    else
        assert_null(value);
}

static void
settings_belong_to_all_to_a_host_or_to_a_vm(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_subject engine = {.scope = STORE_ENGINE}, vm = {.scope = STORE_VM},
                         host = {.scope = STORE_HOST, .host = "ESX1.example"},
                         same = {.scope = STORE_HOST, .host = "esx1.EXAMPLE"},
                         other = {.scope = STORE_HOST, .host = "esx0"};
    struct store_host_settings hosts = {0};
    struct err *err = NULL;

    vm.migration = make_migration(store);
    check_setting(store, &engine, NULL);
    assert_ok(store_setting_put(store, &engine, "limit", "1", &err), &err);
    assert_ok(store_setting_put(store, &vm, "limit", "2", &err), &err);
    assert_ok(store_setting_put(store, &host, "limit", "3", &err), &err);
    assert_ok(store_setting_put(store, &other, "limit", "4", &err), &err);
    assert_ok(store_setting_put(store, &other, "else", "5", &err), &err);
    assert_ok(store_setting_put(store, &same, "limit", "6", &err), &err);
    store_closep(&store);
    store = open_store();
    check_setting(store, &engine, "1");
    check_setting(store, &vm, "2");
    check_setting(store, &host, "6");
    check_setting(store, &other, "4");
    assert_ok(store_setting_hosts(store, "limit", &hosts, &err), &err);
    assert_int_equal(hosts.count, 2);
    assert_string_equal(hosts.items[0].host, "esx0");
    assert_string_equal(hosts.items[1].host, "esx1.example");
    assert_string_equal(hosts.items[1].value, "6");
    store_host_settings_done(&hosts);
    assert_ok(store_setting_put(store, &engine, "limit", NULL, &err), &err);
    assert_ok(store_setting_put(store, &vm, "limit", NULL, &err), &err);
    assert_ok(store_setting_put(store, &vm, "limit", NULL, &err), &err);
    check_setting(store, &engine, NULL);
    check_setting(store, &vm, NULL);
    check_setting(store, &host, "6");
    vm.migration = 999;
    assert_int_equal(store_setting_put(store, &vm, "limit", "x", &err), -1);
    assert_err(&err, E_BUG);
}

static void
a_pause_lasts_until_it_is_ended(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    bool was_paused = true, is_paused = true;
    struct err *err = NULL;
    int64_t id = make_migration(store);

    assert_ok(store_is_paused(store, id, &is_paused, &err), &err);
    assert_false(is_paused);
    assert_ok(store_pause(store, id, &was_paused, &err), &err);
    assert_false(was_paused);
    assert_ok(store_pause(store, id, &was_paused, &err), &err);
    assert_true(was_paused);
    store_closep(&store);
    store = open_store();
    assert_ok(store_is_paused(store, id, &is_paused, &err), &err);
    assert_true(is_paused);
    assert_ok(store_pause_end(store, id, &was_paused, &err), &err);
    assert_true(was_paused);
    assert_ok(store_pause_end(store, id, &was_paused, &err), &err);
    assert_false(was_paused);
    assert_ok(store_is_paused(store, id, &is_paused, &err), &err);
    assert_false(is_paused);
    assert_int_equal(store_pause(store, 999, &was_paused, &err), -1);
    assert_err(&err, E_STORE_NOT_FOUND);
}

static void
once_the_cutover_has_begun_a_pause_is_refused(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_migration migration = new_migration("1");
    bool is_paused = true;
    struct err *err = NULL;

    assert_ok(store_migration_create(store, &migration, &err), &err);
    for (int stage = 0; stage < STAGE_MAX_; stage++) {
        bool was_paused = true;

        migration.stage = (enum store_stage)stage;
        assert_ok(store_migration_save(store, &migration, NULL, &err), &err);
        if (stage <= STAGE_DELTA) {
            assert_ok(store_pause(store, migration.id, &was_paused, &err), &err);
            assert_ok(store_pause_end(store, migration.id, &was_paused, &err), &err);
            continue;
        }
        assert_int_equal(store_pause(store, migration.id, &was_paused, &err), -1);
        assert_err_says(&err, E_PAUSE,
                        stage == STAGE_DONE ? "done" : store_stage_name(migration.stage));
        assert_true(was_paused); /* untouched */
    }
    assert_ok(store_is_paused(store, migration.id, &is_paused, &err), &err);
    assert_false(is_paused);
    store_migration_done(&migration);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
        T(settings_belong_to_all_to_a_host_or_to_a_vm),
        T(a_pause_lasts_until_it_is_ended),
        T(once_the_cutover_has_begun_a_pause_is_refused),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
