/* What webhooks are told: written with what it tells of, and passed over one by one. */
#include "tests/unit/store/fixture.h"

#include "store/webhooks.h"

#define ALL ((1ULL << TRANSITION_MAX_) - 1)

static const struct store_transition_filter everything = {.events = ALL};

static void
keep(struct store *store, const char *name, const char *other)
{
    const char *const names[] = {name, other};
    struct err *err = NULL;

    assert_ok(store_webhooks_keep(store, names, other ? 2 : 1, &err), &err);
}

static struct store_job
add_job(struct store *store, const char *id, const char *wave)
{
    struct store_jobs jobs = {0};
    struct store_job job = {.job_id = xstrdup(id),
                            .vm_name = xasprintf("vm of %s", id),
                            .vcenter = xstrdup("vc-1"),
                            .cloudstack = xstrdup("cs-1"),
                            .wave = xstrdup(wave)};
    struct err *err = NULL;

    vec_push(&jobs, job);
    assert_ok(store_jobs_add(store, &jobs, &err), &err);
    job = jobs.items[0];
    vec_done(&jobs);
    return job;
}

static void
save(struct store *store, struct store_job *job, enum store_job_state state, const char *stage)
{
    struct err *err = NULL;

    job->state = (int32_t)state;
    free(job->stage);
    job->stage = xstrdup(stage);
    assert_ok(store_job_save(store, job, &err), &err);
}

/* The next must be @event of @job_id; "": there must be none.  It is taken. */
static void
told(struct store *store, const char *name, const struct store_transition_filter *filter,
     const char *job_id, const char *event)
{
    struct store_transition t = {0};
    bool is_there = false;
    struct err *err = NULL;

    assert_ok(store_transition_next(store, name, filter, &is_there, &t, &err), &err);
    assert_int_equal(is_there, *event != '\0');
    if (!is_there)
        return;
    assert_string_equal(t.job_id, job_id);
    assert_string_equal(store_transition_name(t.event), event);
    assert_int_equal(strlen(t.event_id), 32);
    assert_ok(store_webhook_delivered(store, name, t.id, &err), &err);
    store_transition_done(&t);
}

static int64_t
count_rows(void)
{
    CLEANUP(free_charp) char *path = xasprintf("%s/v2c.db", dir);
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t count;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM transition", -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    count = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return count;
}

static void
nothing_is_written_while_nobody_is_told(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_job job = add_job(store, "1", NULL);

    save(store, &job, JOB_RUNNING, "init");
    assert_int_equal(count_rows(), 0);
    keep(store, "ops", NULL);
    told(store, "ops", &everything, "", "");
    store_job_done(&job);
}

static void
a_change_is_told_in_order_and_once(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_job job;

    keep(store, "ops", NULL);
    job = add_job(store, "1", NULL);
    save(store, &job, JOB_RUNNING, NULL);
    save(store, &job, JOB_RUNNING, "base_copy");
    job.progress = 50;
    save(store, &job, JOB_RUNNING, "base_copy");
    save(store, &job, JOB_WAITING, "delta");
    job.error = xstrdup("no space");
    save(store, &job, JOB_FAILED, "delta");
    told(store, "ops", &everything, "1", "queued");
    told(store, "ops", &everything, "1", "running");
    told(store, "ops", &everything, "1", "stage");
    told(store, "ops", &everything, "1", "stage");
    told(store, "ops", &everything, "1", "waiting");
    told(store, "ops", &everything, "1", "failed");
    told(store, "ops", &everything, "1", "needs_person");
    told(store, "ops", &everything, "", "");
    assert_int_equal(count_rows(), 0);
    store_job_done(&job);
}

static void
each_webhook_has_a_place_of_its_own_that_outlasts_the_process(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_job job;

    keep(store, "ops", "chat");
    job = add_job(store, "1", NULL);
    save(store, &job, JOB_RUNNING, NULL);
    told(store, "ops", &everything, "1", "queued");
    store_closep(&store);
    store = open_store();
    keep(store, "ops", "chat");
    told(store, "ops", &everything, "1", "running");
    assert_int_equal(count_rows(), 2);
    told(store, "chat", &everything, "1", "queued");
    assert_int_equal(count_rows(), 1);
    keep(store, "ops", NULL); /* chat is gone, and holds up nothing */
    assert_int_equal(count_rows(), 0);
    save(store, &job, JOB_WAITING, NULL);
    keep(store, "ops", "chat");
    told(store, "chat", &everything, "", "");
    told(store, "ops", &everything, "1", "waiting");
    store_job_done(&job);
}

static void
what_is_not_wanted_is_passed_over(void **state)
{
    const struct store_transition_filter night = {.events = ALL, .waves = "\nnight\n"},
                                         queued = {.events = 1U << JOB_QUEUED},
                                         elsewhere = {.events = ALL, .environments = "\nvc-10\n"},
                                         here = {.events = ALL, .environments = "\nx\ncs-1\n"};
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_job first, second;
    struct err *err = NULL;
    int64_t count = -1;

    keep(store, "a", "b");
    first = add_job(store, "1", "night");
    second = add_job(store, "2", NULL);
    save(store, &first, JOB_RUNNING, NULL);
    assert_ok(store_transition_count(store, "a", &night, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_ok(store_transition_count(store, "a", &elsewhere, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_ok(store_transition_count(store, "a", &here, &count, &err), &err);
    assert_int_equal(count, 3);
    told(store, "a", &night, "1", "queued");
    told(store, "a", &night, "1", "running");
    told(store, "b", &queued, "1", "queued");
    told(store, "b", &queued, "2", "queued");
    told(store, "b", &queued, "", "");
    assert_int_equal(count_rows(), 0);
    store_job_done(&first);
    store_job_done(&second);
}

static void
what_is_given_up_is_counted(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_webhooks known = {0};
    struct store_job job;
    struct err *err = NULL;
    int64_t count = -1;

    keep(store, "ops", NULL);
    job = add_job(store, "1", NULL);
    save(store, &job, JOB_RUNNING, "init");
    assert_ok(store_webhook_failed(store, "ops", "answered 500", &err), &err);
    assert_ok(store_webhook_give_up(store, "ops", &everything, 1000, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_int_equal(count_rows(), 3);
    assert_ok(store_webhook_give_up(store, "ops", &(struct store_transition_filter){.events = 3},
                                    INT64_MAX, &count, &err),
              &err);
    assert_int_equal(count, 2);
    told(store, "ops", &everything, "", "");
    assert_ok(store_webhook_list(store, &known, &err), &err);
    assert_int_equal(known.count, 1);
    assert_int_equal(known.items[0].failed, 1);
    assert_int_equal(known.items[0].given_up, 2);
    assert_string_equal(known.items[0].error, "answered 500");
    store_webhooks_done(&known);
    store_job_done(&job);
}

/* By workers, who know nothing of webhooks. */
static void
a_person_who_is_waited_for_is_told(void **state)
{
    CLEANUP(store_closep) struct store *store = open_store();
    struct store_migration migration = new_migration("1");
    struct store_disks disks = {0};
    struct store_subject vm = {.scope = STORE_VM};
    struct store_job job;
    struct err *err = NULL;

    keep(store, "ops", NULL);
    assert_ok(store_migration_create(store, &migration, &err), &err);
    job = add_job(store, "1", NULL);
    job.migration = vm.migration = migration.id;
    save(store, &job, JOB_RUNNING, "base_copy");
    told(store, "ops", &everything, "1", "queued");
    told(store, "ops", &everything, "1", "stage");
    told(store, "ops", &everything, "1", "running");
    assert_ok(store_setting_put(store, &vm, STORE_NO_SPACE, "disk0: full", &err), &err);
    told(store, "ops", &everything, "1", "needs_person");
    assert_ok(store_setting_put(store, &vm, STORE_NO_SPACE, NULL, &err), &err);
    migration.stage = STAGE_AWAITING_SHUTDOWN;
    assert_ok(store_migration_save(store, &migration, &disks, &err), &err);
    told(store, "ops", &everything, "", "");
    migration.is_shutdown_action_required = true;
    migration.shutdown_reason = xstrdup("no Tools");
    assert_ok(store_migration_save(store, &migration, &disks, &err), &err);
    assert_ok(store_migration_save(store, &migration, &disks, &err), &err);
    told(store, "ops", &everything, "1", "needs_person");
    told(store, "ops", &everything, "", "");
    store_job_done(&job);
    store_migration_done(&migration);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(nothing_is_written_while_nobody_is_told),
        STORE_TEST(a_change_is_told_in_order_and_once),
        STORE_TEST(each_webhook_has_a_place_of_its_own_that_outlasts_the_process),
        STORE_TEST(what_is_not_wanted_is_passed_over),
        STORE_TEST(what_is_given_up_is_counted),
        STORE_TEST(a_person_who_is_waited_for_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
