/* What belongs to a disk or a migration beside its row. */
#include "tests/unit/store/fixture.h"

static void
a_bitmap_is_replaced_and_dropped(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(free_charp) char *big = xcalloc(1, 3 * MIB);
    const enum store_bitmap_kind kind = STORE_BITMAP_DONE;
    struct err *err = NULL;
    int64_t migration, disk = one_disk(store, &migration);
    struct store_bitmap found = {.bits = big, .length = 7};

    assert_ok(store_bitmap_load(store, disk, kind, &found, &err), &err);
    assert_null(found.bits);
    assert_int_equal(found.length, 0);
    assert_ok(store_bitmap_save(store, disk, kind, NULL, "a\0b", 3, &err), &err);
    memset(big, 0x5a, 3 * MIB);
    assert_ok(store_bitmap_save(store, disk, kind, "52 ab/7", big, 3 * MIB, &err), &err);
    assert_ok(store_bitmap_load(store, disk, kind, &found, &err), &err);
    assert_int_equal(found.length, 3 * MIB);
    assert_memory_equal(found.bits, big, found.length);
    assert_string_equal(found.as_of, "52 ab/7");
    store_bitmap_done(&found);
    assert_ok(store_bitmap_drop(store, disk, kind, &err), &err);
    assert_ok(store_bitmap_load(store, disk, kind, &found, &err), &err);
    assert_null(found.bits);
    assert_ok(store_bitmap_save(store, disk, kind, NULL, "", 0, &err), &err);
    assert_ok(store_bitmap_load(store, disk, kind, &found, &err), &err);
    assert_non_null(found.bits);
    assert_null(found.as_of);
    assert_int_equal(found.length, 0);
    store_bitmap_done(&found);
    assert_int_equal(store_bitmap_save(store, disk, kind, NULL, big, 1 << 30, &err), -1);
    assert_err(&err, E_LIMIT);
    assert_int_equal(store_bitmap_save(store, 999, kind, NULL, big, 1, &err),
                     -1); /* no such disk */
    assert_err(&err, E_BUG);
}

static void
bitmaps_of_two_kinds_do_not_touch_each_other(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct err *err = NULL;
    int64_t migration, disk = one_disk(store, &migration);
    struct store_bitmap found;

    assert_ok(store_bitmap_save(store, disk, STORE_BITMAP_DONE, "a/1", "x", 1, &err), &err);
    assert_ok(store_bitmap_save(store, disk, STORE_BITMAP_VERIFIED, NULL, "yz", 2, &err), &err);
    assert_ok(store_bitmap_drop(store, disk, STORE_BITMAP_DONE, &err), &err);
    assert_ok(store_bitmap_load(store, disk, STORE_BITMAP_VERIFIED, &found, &err), &err);
    assert_int_equal(found.length, 2);
    assert_memory_equal(found.bits, "yz", 2);
    store_bitmap_done(&found);
}

static void
rounds_come_back_oldest_first_and_the_last_ones_only(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct err *err = NULL;
    struct store_rounds found = {0};
    int64_t migration;

    (void)one_disk(store, &migration);
    for (int64_t i = 0; i < 5; i++) {
        const struct store_round round = {.number = i,
                                          .began_at_ms = 1000 + i,
                                          .covered_ms = 2 * i,
                                          .changed_bytes = (uint64_t)i << 40,
                                          .copy_ms = 3 * i,
                                          .total_ms = 4 * i};

        assert_ok(store_round_put(store, migration, &round, &err), &err);
        assert_ok(store_round_put(store, migration, &round, &err), &err); /* again is no error */
    }
    assert_ok(store_rounds_load(store, migration, 3, &found, &err), &err);
    assert_int_equal(found.count, 3);
    assert_int_equal(found.items[0].number, 2);
    assert_int_equal(found.items[2].began_at_ms, 1004);
    assert_int_equal(found.items[2].covered_ms, 8);
    assert_int_equal(found.items[2].changed_bytes, 4ULL << 40);
    assert_int_equal(found.items[2].copy_ms, 12);
    assert_int_equal(found.items[2].total_ms, 16);
    vec_done(&found);
    assert_ok(store_rounds_load(store, migration + 1, 3, &found, &err), &err);
    assert_int_equal(found.count, 0);
}

static void
what_a_stage_usually_takes_is_the_median_of_the_others(void **state)
{
    static const int64_t times[] = {900, 100, 300};
    CLEANUP(store_closep) struct store *store = open_store();
    struct err *err = NULL;
    int64_t ids[3], ms;

    for (int i = 0; i < 3; i++) {
        CLEANUP(free_charp) char *tag = xasprintf("%d", i);
        CLEANUP(store_migration_done) struct store_migration migration = new_migration(tag);

        assert_ok(store_migration_create(store, &migration, &err), &err);
        ids[i] = migration.id;
        assert_ok(store_timing_put(store, ids[i], "converting", 1, &err), &err);
        assert_ok(store_timing_put(store, ids[i], "converting", times[i], &err), &err);
    }
    assert_ok(store_timing_usual(store, -1, "converting", &ms, &err), &err);
    assert_int_equal(ms, 300);
    assert_ok(store_timing_usual(store, ids[2], "converting", &ms, &err), &err);
    assert_int_equal(ms, 900);
    assert_ok(store_timing_usual(store, ids[2], "final_sync", &ms, &err), &err);
    assert_int_equal(ms, -1);
}

static void
progress_comes_back_and_starts_at_nothing(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_progress progress = {.stage = "base_copy",
                                      .planned_bytes = 1ULL << 50,
                                      .read_bytes = 2,
                                      .written_bytes = 3,
                                      .zero_bytes = 4,
                                      .rate_bytes_per_s = 5,
                                      .eta_s = 6,
                                      .percent = 12.5,
                                      .at = 7};
    struct store_progress read, nothing = {0};
    struct err *err = NULL;
    int64_t migration, disk = one_disk(store, &migration);

    assert_ok(store_progress_load(store, disk, &read, &err), &err);
    assert_memory_equal(&read, &nothing, sizeof(read));
    assert_ok(store_progress_save(store, disk, &nothing, &err), &err);
    assert_ok(store_progress_save(store, disk, &progress, &err), &err);
    assert_ok(store_progress_load(store, disk, &read, &err), &err);
    assert_string_equal(read.stage, "base_copy");
    assert_int_equal(read.planned_bytes, 1ULL << 50);
    assert_int_equal(read.read_bytes, 2);
    assert_int_equal(read.written_bytes, 3);
    assert_int_equal(read.zero_bytes, 4);
    assert_int_equal(read.rate_bytes_per_s, 5);
    assert_int_equal(read.eta_s, 6);
    assert_true(read.percent > 12.4 && read.percent < 12.6);
    assert_int_equal(read.at, 7);
}

static void
a_finalize_request_is_never_lowered(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    enum store_finalize what = STORE_FINALIZE_NOW;
    struct err *err = NULL;
    bool was_requested = true;
    int64_t id;

    one_disk(store, &id);
    assert_ok(store_finalize_get(store, id, &what, &err), &err);
    assert_int_equal(what, STORE_FINALIZE_NONE);
    assert_ok(store_finalize_request(store, id, STORE_FINALIZE_PLAIN, &was_requested, &err), &err);
    assert_false(was_requested);
    assert_ok(store_finalize_request(store, id, STORE_FINALIZE_PLAIN, &was_requested, &err), &err);
    assert_true(was_requested);
    assert_ok(store_finalize_request(store, id, STORE_FINALIZE_NOW, &was_requested, &err), &err);
    assert_false(was_requested);
    assert_ok(store_finalize_request(store, id, STORE_FINALIZE_PLAIN, &was_requested, &err), &err);
    assert_true(was_requested);
    assert_ok(store_finalize_get(store, id, &what, &err), &err);
    assert_int_equal(what, STORE_FINALIZE_NOW);
    assert_ok(store_finalize_clear(store, id, &err), &err);
    assert_ok(store_finalize_get(store, id, &what, &err), &err);
    assert_int_equal(what, STORE_FINALIZE_NONE);
    assert_int_equal(store_finalize_request(store, 999, STORE_FINALIZE_NOW, &was_requested, &err),
                     -1);
    assert_err(&err, E_BUG);
}

static void
an_intent_lives_from_its_begin_to_its_end(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    CLEANUP(store_intent_done) struct store_intent intent = {0};
    struct err *err = NULL;
    bool is_there = true;
    int64_t id;

    one_disk(store, &id);
    assert_ok(store_intent_get(store, id, "import_vm", &is_there, &intent, &err), &err);
    assert_false(is_there);
    assert_ok(store_intent_begin(store, id, "import_vm", &err), &err);
    assert_ok(store_intent_begin(store, id, "add_nic:4001", &err), &err);
    assert_ok(store_intent_get(store, id, "import_vm", &is_there, &intent, &err), &err);
    assert_true(is_there);
    assert_string_equal(intent.step, "import_vm");
    assert_null(intent.job_id);
    assert_null(intent.result);
    assert_true(intent.begun_at > 1700000000);
    assert_int_equal(intent.ended_at, 0);
    store_intent_done(&intent);
    assert_ok(store_intent_job(store, id, "import_vm", "job-1", &err), &err);
    assert_ok(store_intent_end(store, id, "import_vm", "vm-id", &err), &err);
    store_closep(&store);
    store = open_store();
    assert_ok(store_intent_get(store, id, "import_vm", &is_there, &intent, &err), &err);
    assert_string_equal(intent.job_id, "job-1");
    assert_string_equal(intent.result, "vm-id");
    assert_true(intent.ended_at >= intent.begun_at);
    assert_ok(store_intent_drop(store, id, "add_nic:4001", &err), &err);
    assert_ok(store_intent_drop(store, id, "add_nic:4001", &err), &err);
    assert_ok(store_intent_get(store, id, "add_nic:4001", &is_there, NULL, &err), &err);
    assert_false(is_there);
}

static void
an_intent_cannot_be_begun_twice_nor_ended_unbegun(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct err *err = NULL;
    int64_t id;

    one_disk(store, &id);
    assert_ok(store_intent_begin(store, id, "import_vm", &err), &err);
    assert_int_equal(store_intent_begin(store, id, "import_vm", &err), -1);
    assert_err_says(&err, E_BUG, "import_vm was begun before");
    assert_int_equal(store_intent_job(store, id, "other", "job", &err), -1);
    assert_err(&err, E_BUG);
    assert_int_equal(store_intent_end(store, id, "other", "result", &err), -1);
    assert_err(&err, E_BUG);
    assert_ok(store_intent_end(store, id, "import_vm", NULL, &err), &err);
    assert_int_equal(store_intent_end(store, id, "import_vm", "again", &err), -1);
    assert_err(&err, E_BUG);
    assert_int_equal(store_intent_begin(store, id, "import_vm", &err), -1);
    assert_err(&err, E_BUG);
}

static void
events_are_kept_in_order(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct err *err = NULL;
    int64_t id;

    one_disk(store, &id);
    assert_ok(store_event_add(store, id, "stage", "base_copy", &err), &err);
    assert_ok(store_event_add(store, id, "warning", "slow", &err), &err);
    assert_int_equal(count_raw("SELECT count(*) FROM event"), 2);
    assert_int_equal(count_raw("SELECT id FROM event WHERE kind = 'warning' AND text = 'slow' "
                               "AND at > 1700000000"),
                     2);
    assert_int_equal(store_event_add(store, 999, "stage", "x", &err), -1);
    assert_err(&err, E_BUG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_bitmap_is_replaced_and_dropped),
        STORE_TEST(bitmaps_of_two_kinds_do_not_touch_each_other),
        STORE_TEST(rounds_come_back_oldest_first_and_the_last_ones_only),
        STORE_TEST(what_a_stage_usually_takes_is_the_median_of_the_others),
        STORE_TEST(progress_comes_back_and_starts_at_nothing),
        STORE_TEST(a_finalize_request_is_never_lowered),
        STORE_TEST(an_intent_lives_from_its_begin_to_its_end),
        STORE_TEST(an_intent_cannot_be_begun_twice_nor_ended_unbegun),
        STORE_TEST(events_are_kept_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
