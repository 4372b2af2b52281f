/* status and finalize over a real store in a directory of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/select.h"
#include "cli/status.h"

struct world {
    char dir[64];
    char *spec;
    struct store *store;
};

static void
write_file(const char *path, const char *text)
{
    struct err *err = NULL;

    assert_int_equal(file_replace(path, text, strlen(text), 0644, &err), 0);
}

static int
setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    snprintf(w->dir, sizeof(w->dir), "/tmp/v2c-select-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(store_open(w->dir, false, &w->store, NULL), 0);
    w->spec = file_join(w->dir, "spec.yaml");
    write_file(w->spec, "vms:\n- vm: {name: web 01}\n- vm: {name: db01}\n");
    *state = w;
    return 0;
}

/* Everything in it was made by this test. */
static void
remove_tree(const char *dir)
{
    CLEANUP(free_charp) char *command = xasprintf("%s", dir);
    char *argv[] = {(char *)"rm", (char *)"-rf", command, NULL};
    pid_t pid = fork();

    if (pid == 0) {
        execvp("rm", argv);
        _exit(127);
    }
}

static int
teardown(void **state)
{
    struct world *w = *state;

    store_close(w->store);
    remove_tree(w->dir);
    free(w->spec);
    free(w);
    return 0;
}

static int64_t
add_migration(struct world *w, const char *name, const char *moref, enum store_stage stage)
{
    CLEANUP(free_charp) char *id = xasprintf("%s_%s", name, moref);
    CLEANUP(free_charp) char *safe = file_safe_name(id);
    struct store_migration m = {
        .migration_id = xstrdup(safe),
        .vm_name = xstrdup(name),
        .vm_moref = xstrdup(moref),
        .instance_uuid = xasprintf("uuid-%s", moref),
        .vcenter = xstrdup("vc"),
        .directory = file_join(w->dir, safe),
        .stage = stage,
    };
    struct err *err = NULL;
    int64_t row;

    assert_int_equal(file_make_dirs(m.directory, 0755, &err), 0);
    if (store_migration_create(w->store, &m, &err) < 0 ||
        store_migration_save(w->store, &m, NULL, &err) < 0)
        fail_msg("%s", err_message(err));
    row = m.id;
    store_migration_done(&m);
    return row;
}

static void
add_disk(struct world *w, int64_t migration, const char *key, double percent)
{
    struct store_disk disk = {
        .migration = migration,
        .key = xstrdup(key),
        .name = xasprintf("disk%s", key),
        .address = xasprintf("scsi0:%s", key),
        .capacity = 4 * GIB,
        .target_path = xstrdup("/t"),
        .source_path = xstrdup("[ds] x.vmdk"),
    };
    struct store_progress progress = {.stage = "base_copy",
                                      .planned_bytes = 2 * GIB,
                                      .read_bytes = GIB,
                                      .rate_bytes_per_s = 100 * MIB,
                                      .eta_s = 10,
                                      .percent = percent};
    struct store_disks disks = {0};

    assert_int_equal(store_disk_create(w->store, &disk, NULL), 0);
    assert_int_equal(store_progress_save(w->store, disk.id, &progress, NULL), 0);
    vec_push(&disks, disk);
    store_disks_done(&disks);
}

/* Selects with --control-dir and the world's spec. */
static int
choose(struct world *w, const char *vm, const char *vm_id, struct selection *ret, struct err **err)
{
    struct select_values v = {.control_dir = w->dir, .config = "/nowhere/config.yaml"};
    struct words words = {0};
    int rc;

    vec_push(&v.specs, w->spec);
    if (vm)
        vec_push(&v.vms, vm);
    if (vm_id)
        vec_push(&v.vm_ids, vm_id);
    rc = select_vms(&v, &words, ret, err);
    vec_done(&v.specs);
    vec_done(&v.vms);
    vec_done(&v.vm_ids);
    return rc;
}

static void
a_vm_without_record_is_not_started(void **state)
{
    struct world *w = *state;
    struct selection s;

    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    assert_int_equal(s.views.count, 2);
    assert_string_equal(s.views.items[0].name, "db01");
    assert_string_equal(s.views.items[0].stage, "not_started");
    assert_string_equal(s.views.items[0].next, "connecting_vcenter");
    assert_null(s.views.items[0].moref);
    selection_done(&s);
}

static void
json_has_the_existing_tools_fields(void **state)
{
    struct world *w = *state;
    CLEANUP(free_charp) char *text = NULL;
    int64_t row = add_migration(w, "db01", "vm-7", STAGE_BASE_COPY);
    struct selection s;
    json_t *array, *first, *second;

    add_disk(w, row, "0", 50);
    add_disk(w, row, "1", 25.5);
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    text = status_render_json(&s.views);
    array = json_loads(text, 0, NULL);
    first = json_array_get(array, 0);
    assert_string_equal(json_string_value(json_object_get(first, "vm_name")), "db01");
    assert_string_equal(json_string_value(json_object_get(first, "vm_moref")), "vm-7");
    assert_string_equal(json_string_value(json_object_get(first, "current_stage")), "base_copy");
    assert_string_equal(json_string_value(json_object_get(first, "next_stage")), "delta");
    assert_true(json_is_false(json_object_get(first, "finalize_requested")));
    assert_true(json_is_false(json_object_get(first, "finalize_now_requested")));
    assert_true(json_number_value(json_object_get(first, "progress")) == 37.75);
    assert_non_null(strstr(json_string_value(json_object_get(first, "control_dir")), "/db01_vm-7"));
    assert_non_null(
        strstr(json_string_value(json_object_get(first, "state_file")), "/db01_vm-7/state.json"));
    second = json_array_get(array, 1);
    assert_true(json_is_null(json_object_get(second, "vm_moref")));
    assert_true(json_is_null(json_object_get(second, "control_dir")));
    assert_true(json_is_null(json_object_get(second, "state_file")));
    json_decref(array);
    selection_done(&s);
}

static void
text_begins_with_the_existing_tools_line(void **state)
{
    struct world *w = *state;
    struct str out = STR_INIT(65536);
    int64_t row = add_migration(w, "web 01", "vm-8", STAGE_DELTA);
    struct selection s;
    bool was_requested;

    add_disk(w, row, "0", 100);
    assert_int_equal(
        store_finalize_request(w->store, row, STORE_FINALIZE_PLAIN, &was_requested, NULL), 0);
    assert_int_equal(choose(w, "web 01", NULL, &s, NULL), 0);
    status_render_text(&s.views, &out);
    assert_memory_equal(str_text(&out),
                        "[status] vm=web 01 moref=vm-8 current=delta next=Finalize "
                        "finalize_requested=true finalize_now_requested=false progress=100.00%\n",
                        strlen("[status] vm=web 01 moref=vm-8 current=delta next=Finalize "
                               "finalize_requested=true finalize_now_requested=false "
                               "progress=100.00%\n"));
    str_done(&out);
    selection_done(&s);
}

static void
finalize_now_implies_finalize(void **state)
{
    struct world *w = *state;
    int64_t row = add_migration(w, "db01", "vm-7", STAGE_DELTA);
    struct selection s;
    bool was_requested;

    assert_int_equal(
        store_finalize_request(w->store, row, STORE_FINALIZE_NOW, &was_requested, NULL), 0);
    assert_int_equal(choose(w, "db01", NULL, &s, NULL), 0);
    assert_true(s.views.items[0].is_finalize_requested);
    assert_true(s.views.items[0].is_finalize_now);
    selection_done(&s);
}

static void
two_migrations_of_one_name_need_a_vm_id(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct world *w = *state;
    struct selection s;

    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    (void)add_migration(w, "db01", "vm-9", STAGE_DELTA);
    assert_int_equal(choose(w, NULL, NULL, &s, &err), -1);
    assert_non_null(strstr(err_message(err), "vm-7, vm-9"));
    assert_int_equal(choose(w, NULL, "vm-9", &s, NULL), 0);
    assert_int_equal(s.views.count, 1);
    assert_string_equal(s.views.items[0].moref, "vm-9");
    selection_done(&s);
}

static void
a_name_that_begins_like_another_does_not_match_it(void **state)
{
    struct world *w = *state;
    struct selection s;

    write_file(w->spec, "vm: {name: web}\n");
    (void)add_migration(w, "web_db", "vm-42", STAGE_DELTA);
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    assert_string_equal(s.views.items[0].stage, "not_started");
    selection_done(&s);
}

static void
a_moref_in_the_spec_decides_whatever_the_name(void **state)
{
    struct world *w = *state;
    struct selection s;

    write_file(w->spec, "vm: {name: renamed, moref: vm-7}\n");
    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    assert_string_equal(s.views.items[0].name, "db01");
    selection_done(&s);
}

static void
a_vm_that_no_spec_names_is_refused(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct world *w = *state;
    struct selection s;

    assert_int_equal(choose(w, "mail", NULL, &s, &err), -1);
    assert_int_equal(err_code(err), E_USAGE);
}

static void
nothing_left_after_the_filters_is_an_error(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct world *w = *state;
    struct selection s;

    assert_int_equal(choose(w, NULL, "vm-1", &s, &err), -1);
    assert_int_equal(err_code(err), E_STORE_NOT_FOUND);
}

static void
state_of_the_existing_tool_is_shown(void **state)
{
    struct world *w = *state;
    CLEANUP(free_charp) char *dir = file_join(w->dir, "db01_vm-5");
    CLEANUP(free_charp) char *file = file_join(dir, "state.json");
    CLEANUP(free_charp) char *marker = file_join(dir, "FINALIZE");
    struct selection s;

    assert_int_equal(file_make_dirs(dir, 0755, NULL), 0);
    write_file(file, "{\"vm_name\": \"db01\", \"vm_moref\": \"vm-5\", \"stage\": \"delta\","
                     " \"progress\": 99.5, \"disks\": {}}");
    write_file(marker, "");
    assert_int_equal(choose(w, "db01", NULL, &s, NULL), 0);
    assert_true(s.views.items[0].is_foreign);
    assert_string_equal(s.views.items[0].moref, "vm-5");
    assert_string_equal(s.views.items[0].next, "Finalize");
    assert_true(s.views.items[0].percent == 99.5);
    selection_done(&s);
}

static void
broken_state_of_the_existing_tool_is_no_state(void **state)
{
    struct world *w = *state;
    CLEANUP(free_charp) char *dir = file_join(w->dir, "db01_vm-5");
    CLEANUP(free_charp) char *file = file_join(dir, "state.json");
    static const char *const broken[] = {"", "{\"vm_na", "[]", "{\"vm_name\": \"db02\"}"};
    struct selection s;

    assert_int_equal(file_make_dirs(dir, 0755, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        write_file(file, broken[i]);
        assert_int_equal(choose(w, "db01", NULL, &s, NULL), 0);
        assert_string_equal(s.views.items[0].stage, "not_started");
        selection_done(&s);
    }
}

/* ---- finalize, through the whole program ------------------------------------------------------ */

static int
finalize(struct world *w, const char *flag)
{
    CLEANUP(free_charp) char *spec = xasprintf("--spec=%s", w->spec);
    CLEANUP(free_charp) char *dir = xasprintf("--control-dir=%s", w->dir);
    char *argv[] = {(char *)"v2c-engine", (char *)"finalize", spec, dir,
                    (char *)"--vm=db01",  (char *)flag,       NULL};

    return cli_main(flag ? 6 : 5, argv);
}

static enum store_finalize
requested(struct world *w, int64_t row)
{
    enum store_finalize what;

    assert_int_equal(store_finalize_get(w->store, row, &what, NULL), 0);
    return what;
}

static void
finalize_records_the_request_and_may_be_repeated(void **state)
{
    struct world *w = *state;
    int64_t row = add_migration(w, "db01", "vm-7", STAGE_BASE_COPY);

    assert_int_equal(finalize(w, NULL), 0);
    assert_int_equal(requested(w, row), STORE_FINALIZE_PLAIN);
    assert_int_equal(finalize(w, NULL), 0);
    assert_int_equal(finalize(w, "--now"), 0);
    assert_int_equal(requested(w, row), STORE_FINALIZE_NOW);
    assert_int_equal(finalize(w, NULL), 0);
    assert_int_equal(requested(w, row), STORE_FINALIZE_NOW);
}

static void
finalize_of_a_finished_migration_changes_nothing(void **state)
{
    struct world *w = *state;
    int64_t row = add_migration(w, "db01", "vm-7", STAGE_DONE);

    assert_int_equal(finalize(w, NULL), 0);
    assert_int_equal(requested(w, row), STORE_FINALIZE_NONE);
}

static void
finalize_of_what_has_not_begun_is_an_error(void **state)
{
    assert_int_equal(finalize(*state, NULL), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_vm_without_record_is_not_started),
        TEST(json_has_the_existing_tools_fields),
        TEST(text_begins_with_the_existing_tools_line),
        TEST(finalize_now_implies_finalize),
        TEST(two_migrations_of_one_name_need_a_vm_id),
        TEST(a_name_that_begins_like_another_does_not_match_it),
        TEST(a_moref_in_the_spec_decides_whatever_the_name),
        TEST(a_vm_that_no_spec_names_is_refused),
        TEST(nothing_left_after_the_filters_is_an_error),
        TEST(state_of_the_existing_tool_is_shown),
        TEST(broken_state_of_the_existing_tool_is_no_state),
        TEST(finalize_records_the_request_and_may_be_repeated),
        TEST(finalize_of_a_finished_migration_changes_nothing),
        TEST(finalize_of_what_has_not_begun_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
