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
#include "migration/migration.h"

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
add_migration_of(struct world *w, const char *vcenter, const char *name, const char *moref,
                 enum store_stage stage)
{
    CLEANUP(free_charp) char *id = xasprintf("%s_%s", name, moref);
    CLEANUP(free_charp) char *safe = file_safe_name(id);
    CLEANUP(free_charp) char *place = xasprintf("%s/%s", w->dir, vcenter);
    struct store_migration m = {
        .migration_id = xstrdup(safe),
        .vm_name = xstrdup(name),
        .vm_moref = xstrdup(moref),
        .instance_uuid = xasprintf("uuid-%s", moref),
        .bios_uuid = xasprintf("bios-%s", moref),
        .datacenter = xstrdup("West"),
        .vcenter = xstrdup(vcenter),
        .directory = file_join(strcmp(vcenter, "vc") ? place : w->dir, safe),
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

static int64_t
add_migration(struct world *w, const char *name, const char *moref, enum store_stage stage)
{
    return add_migration_of(w, "vc", name, moref, stage);
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

/* Selects with --control-dir and @spec; NULL: without one. */
static int
choose_with(struct world *w, const char *config, const char *spec, const char *vm,
            const char *vm_id, struct selection *ret, struct err **err)
{
    struct select_values v = {.control_dir = w->dir, .config = config};
    struct words words = {0};
    int rc;

    if (spec)
        vec_push(&v.specs, spec);
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

static int
choose(struct world *w, const char *vm, const char *vm_id, struct selection *ret, struct err **err)
{
    return choose_with(w, "/nowhere/config.yaml", w->spec, vm, vm_id, ret, err);
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
    assert_non_null(strstr(err_message(err), "moref vm-7, vCenter vc, "));
    assert_non_null(strstr(err_message(err), "moref vm-9, vCenter vc, "));
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
expect_one(struct selection *s, const char *moref)
{
    assert_int_equal(s->views.count, 1);
    assert_string_equal(s->views.items[0].moref, moref);
    selection_done(s);
}

static void
either_uuid_in_the_spec_decides_whatever_the_name(void **state)
{
    struct world *w = *state;
    struct selection s;

    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    (void)add_migration(w, "db01", "vm-9", STAGE_DELTA);
    write_file(w->spec, "vm: {name: db01, uuid: UUID-vm-9}\n");
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    expect_one(&s, "vm-9");
    write_file(w->spec, "vm: {name: db01, uuid: bios-VM-7}\n");
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    expect_one(&s, "vm-7");
}

static void
a_uuid_that_matches_nothing_never_falls_back_to_the_name(void **state)
{
    struct world *w = *state;
    CLEANUP(free_charp) char *dir = file_join(w->dir, "web01_vm-5");
    CLEANUP(free_charp) char *file = file_join(dir, "state.json");
    struct selection s;

    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    assert_int_equal(file_make_dirs(dir, 0755, NULL), 0);
    write_file(file, "{\"vm_name\": \"web01\", \"vm_moref\": \"vm-5\", \"stage\": \"delta\"}");
    write_file(w->spec, "vms:\n- vm: {name: db01, uuid: uuid-vm-8}\n"
                        "- vm: {name: web01, uuid: uuid-vm-8}\n");
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    assert_int_equal(s.views.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_null(s.views.items[i].moref);
    selection_done(&s);
}

static void
a_bios_uuid_that_two_clones_share_is_refused(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct world *w = *state;
    struct selection s;

    (void)add_migration_of(w, "vc", "db01", "vm-7", STAGE_DELTA);
    (void)add_migration_of(w, "other", "db02", "vm-7", STAGE_DELTA);
    write_file(w->spec, "vm: {uuid: bios-vm-7}\n");
    assert_int_equal(choose(w, NULL, NULL, &s, &err), -1);
    assert_int_equal(err_code(err), E_USAGE);
}

static void
a_datacenter_in_the_spec_keeps_away_from_other_datacenters(void **state)
{
    struct world *w = *state;
    struct selection s;

    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    write_file(w->spec, "vms:\n- vm: {name: db01, datacenter: East}\n"
                        "- vm: {name: db01, datacenter: West}\n");
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    assert_int_equal(s.views.count, 2);
    assert_int_equal((s.views.items[0].moref != NULL) + (s.views.items[1].moref != NULL), 1);
    selection_done(&s);
}

/* ---- without specs ---- */

static void
a_name_of_two_records_is_refused_with_the_candidates(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct world *w = *state;
    struct selection s;

    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    (void)add_migration(w, "db01", "vm-9", STAGE_DELTA);
    (void)add_migration(w, "db02", "vm-10", STAGE_DELTA);
    assert_int_equal(choose_with(w, "/nowhere", NULL, "db01", NULL, &s, &err), -1);
    assert_int_equal(err_code(err), E_USAGE);
    assert_non_null(strstr(err_message(err), "moref vm-7, vCenter vc, /tmp/"));
    assert_non_null(strstr(err_message(err), "moref vm-9, vCenter vc, /tmp/"));
    assert_null(strstr(err_message(err), "vm-10"));
    assert_non_null(strstr(err_hint_text(err), "--vm-id"));
    assert_int_equal(choose_with(w, "/nowhere", NULL, "db01", "vm-9", &s, NULL), 0);
    expect_one(&s, "vm-9");
}

static void
a_moref_of_two_vcenters_is_refused_with_the_candidates(void **state)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct world *w = *state;
    struct selection s;

    (void)add_migration_of(w, "vc", "db01", "vm-16", STAGE_DELTA);
    (void)add_migration_of(w, "other", "web01", "vm-16", STAGE_DELTA);
    assert_int_equal(choose_with(w, "/nowhere", NULL, NULL, "vm-16", &s, &err), -1);
    assert_int_equal(err_code(err), E_USAGE);
    assert_non_null(strstr(err_message(err), "db01 (moref vm-16, vCenter vc, "));
    assert_non_null(strstr(err_message(err), "web01 (moref vm-16, vCenter other, "));
    assert_non_null(strstr(err_hint_text(err), "--config"));
}

static void
only_the_vcenter_of_the_configuration_is_looked_at(void **state)
{
    struct world *w = *state;
    CLEANUP(free_charp) char *config = file_join(w->dir, "config.yaml");
    struct selection s;

    write_file(config, "vcenter: {host: other, user: u, password: p}\n");
    (void)add_migration_of(w, "vc", "db01", "vm-16", STAGE_DELTA);
    (void)add_migration_of(w, "other", "db01", "vm-16", STAGE_DELTA);
    assert_int_equal(choose_with(w, config, NULL, NULL, "vm-16", &s, NULL), 0);
    assert_string_equal(s.views.items[0].record.vcenter, "other");
    expect_one(&s, "vm-16");
    assert_int_equal(choose_with(w, config, NULL, "db01", NULL, &s, NULL), 0);
    assert_string_equal(s.views.items[0].record.vcenter, "other");
    expect_one(&s, "vm-16");
    /* Asked for nothing in particular, everything is shown. */
    assert_int_equal(choose_with(w, config, NULL, NULL, NULL, &s, NULL), 0);
    assert_int_equal(s.views.count, 2);
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
a_forgotten_directory_is_no_state(void **state)
{
    struct world *w = *state;
    CLEANUP(free_charp) char *dir = file_join(w->dir, "db01_vm-5.forgotten-20260102T030405Z");
    CLEANUP(free_charp) char *file = file_join(dir, "state.json");
    struct selection s;

    assert_int_equal(file_make_dirs(dir, 0755, NULL), 0);
    write_file(file, "{\"vm_name\": \"db01\", \"vm_moref\": \"vm-5\", \"stage\": \"delta\"}");
    assert_int_equal(choose(w, "db01", NULL, &s, NULL), 0);
    assert_string_equal(s.views.items[0].stage, "not_started");
    selection_done(&s);
}

static void
a_held_lock_shows_that_a_run_is_active(void **state)
{
    struct world *w = *state;
    struct selection s;
    int fd;

    (void)add_migration(w, "db01", "vm-7", STAGE_DELTA);
    assert_int_equal(migration_lock(w->dir, "vc", "vm-7", &fd, NULL), 0);
    assert_int_equal(choose(w, "db01", NULL, &s, NULL), 0);
    assert_true(s.views.items[0].is_running);
    selection_done(&s);
    close_fdp(&fd);
    assert_int_equal(choose(w, "db01", NULL, &s, NULL), 0);
    assert_false(s.views.items[0].is_running);
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

/* ---- commands, through the whole program ------------------------------------------------------ */

/* @command with --control-dir and up to three more words, NULL at the end. */
static int
program(struct world *w, const char *command, const char *a, const char *b, const char *c)
{
    CLEANUP(free_charp) char *dir = xasprintf("--control-dir=%s", w->dir);
    char *argv[] = {
        (char *)"v2c-engine", (char *)command, dir, (char *)a, (char *)b, (char *)c, NULL};
    int argc = 0;

    while (argv[argc])
        argc++;
    return cli_main(argc, argv);
}

/* For db01 of the spec. */
static int
command(struct world *w, const char *name, const char *word)
{
    CLEANUP(free_charp) char *spec = xasprintf("--spec=%s", w->spec);

    return program(w, name, spec, "--vm=db01", word);
}

static int
finalize(struct world *w, const char *flag)
{
    return command(w, "finalize", flag);
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

static bool
is_paused(struct world *w, int64_t row)
{
    bool result;

    assert_int_equal(store_is_paused(w->store, row, &result, NULL), 0);
    return result;
}

static void
a_pause_lasts_until_resume_and_is_shown(void **state)
{
    struct world *w = *state;
    int64_t row = add_migration(w, "db01", "vm-7", STAGE_BASE_COPY);
    CLEANUP(free_charp) char *text = NULL;
    struct str out = STR_INIT(65536);
    struct selection s;
    json_t *array;

    assert_int_equal(command(w, "pause", NULL), 0);
    assert_int_equal(command(w, "pause", NULL), 0);
    assert_true(is_paused(w, row));
    assert_int_equal(choose(w, NULL, NULL, &s, NULL), 0);
    text = status_render_json(&s.views);
    array = json_loads(text, 0, NULL);
    assert_true(json_is_true(json_object_get(json_array_get(array, 0), "paused")));
    assert_true(json_is_false(json_object_get(json_array_get(array, 1), "paused")));
    json_decref(array);
    status_render_text(&s.views, &out);
    assert_non_null(strstr(str_text(&out), "\n  paused: "));
    str_done(&out);
    selection_done(&s);
    assert_int_equal(command(w, "resume", NULL), 0);
    assert_int_equal(command(w, "resume", NULL), 0);
    assert_false(is_paused(w, row));
}

static void
finalize_of_a_paused_migration_is_refused(void **state)
{
    struct world *w = *state;
    int64_t row = add_migration(w, "db01", "vm-7", STAGE_DELTA);
    int64_t other = add_migration(w, "web 01", "vm-8", STAGE_DELTA);
    CLEANUP(free_charp) char *spec = xasprintf("--spec=%s", w->spec);

    assert_int_equal(command(w, "pause", NULL), 0);
    assert_int_equal(finalize(w, NULL), 1);
    assert_int_equal(finalize(w, "--now"), 1);
    assert_int_equal(program(w, "finalize", spec, NULL, NULL), 1);
    assert_int_equal(requested(w, row), STORE_FINALIZE_NONE);
    assert_int_equal(requested(w, other), STORE_FINALIZE_NONE);
    assert_int_equal(command(w, "resume", NULL), 0);
    assert_int_equal(finalize(w, NULL), 0);
    assert_int_equal(requested(w, row), STORE_FINALIZE_PLAIN);
}

static void
what_cannot_be_paused_is_refused_and_the_others_are_paused(void **state)
{
    struct world *w = *state;
    int64_t late = add_migration(w, "db01", "vm-7", STAGE_FINAL_SYNC);
    int64_t early = add_migration(w, "web 01", "vm-8", STAGE_DELTA);
    CLEANUP(free_charp) char *spec = xasprintf("--spec=%s", w->spec);

    assert_int_equal(program(w, "pause", NULL, NULL, NULL), 1); /* not all there are by mistake */
    assert_false(is_paused(w, early));
    assert_int_equal(program(w, "pause", spec, NULL, NULL), 1);
    assert_false(is_paused(w, late));
    assert_true(is_paused(w, early));
}

static void
pausing_what_has_not_begun_is_an_error(void **state)
{
    assert_int_equal(command(*state, "pause", NULL), 1);
    assert_int_equal(command(*state, "resume", NULL), 1);
    assert_int_equal(command(*state, "bandwidth", "1MiB/s"), 1);
}

static void
check_limit(struct world *w, const struct store_subject *of, const char *expected)
{
    CLEANUP(free_charp) char *value = NULL;

    assert_int_equal(store_setting_get(w->store, of, STORE_BANDWIDTH, &value, NULL), 0);
    assert_int_equal(value != NULL, expected != NULL);
    if (expected)
        assert_string_equal(value, expected);
}

static void
a_limit_is_kept_as_it_was_written_until_default(void **state)
{
    struct world *w = *state;
    const struct store_subject engine = {.scope = STORE_ENGINE},
                               host = {.scope = STORE_HOST, .host = "esx1"},
                               vm = {.scope = STORE_VM,
                                     .migration = add_migration(w, "db01", "vm-7", STAGE_DELTA)};

    assert_int_equal(command(w, "bandwidth", "08:00-18:00 1MiB/s, none"), 0);
    check_limit(w, &vm, "08:00-18:00 1MiB/s, none");
    assert_int_equal(program(w, "bandwidth", "--engine", "08:00-18:00", "1MiB/s"), 0);
    check_limit(w, &engine, "08:00-18:00 1MiB/s");
    assert_int_equal(program(w, "bandwidth", "--host=ESX1", "none", NULL), 0);
    check_limit(w, &host, "none");
    assert_int_equal(program(w, "bandwidth", NULL, NULL, NULL), 0); /* shows */
    assert_int_equal(program(w, "bandwidth", "--engine", "default", NULL), 0);
    check_limit(w, &engine, NULL);
    check_limit(w, &host, "none");
    assert_int_equal(program(w, "bandwidth", "--host=esx1", "default", NULL), 0);
    assert_int_equal(command(w, "bandwidth", "default"), 0);
    check_limit(w, &host, NULL);
    check_limit(w, &vm, NULL);
}

static void
a_limit_that_is_none_or_nobodys_changes_nothing(void **state)
{
    struct world *w = *state;
    const struct store_subject engine = {.scope = STORE_ENGINE};

    add_migration(w, "db01", "vm-7", STAGE_DELTA);
    assert_int_equal(program(w, "bandwidth", "--engine", "1MiB/s", NULL), 0);
    assert_int_equal(program(w, "bandwidth", "--engine", "1MB/s", NULL), 1);
    assert_int_equal(program(w, "bandwidth", "--engine", "1KiB/s", NULL), 1);
    assert_int_equal(program(w, "bandwidth", "--engine", "--host=a", "none"), 1);
    assert_int_equal(program(w, "bandwidth", "--engine", "--vm=db01", "none"), 1);
    assert_int_equal(program(w, "bandwidth", "--host=", "none", NULL), 1);
    assert_int_equal(program(w, "bandwidth", "none", NULL, NULL), 1);
    check_limit(w, &engine, "1MiB/s");
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
        TEST(either_uuid_in_the_spec_decides_whatever_the_name),
        TEST(a_uuid_that_matches_nothing_never_falls_back_to_the_name),
        TEST(a_bios_uuid_that_two_clones_share_is_refused),
        TEST(a_datacenter_in_the_spec_keeps_away_from_other_datacenters),
        TEST(a_name_of_two_records_is_refused_with_the_candidates),
        TEST(a_moref_of_two_vcenters_is_refused_with_the_candidates),
        TEST(only_the_vcenter_of_the_configuration_is_looked_at),
        TEST(a_vm_that_no_spec_names_is_refused),
        TEST(nothing_left_after_the_filters_is_an_error),
        TEST(state_of_the_existing_tool_is_shown),
        TEST(a_forgotten_directory_is_no_state),
        TEST(a_held_lock_shows_that_a_run_is_active),
        TEST(broken_state_of_the_existing_tool_is_no_state),
        TEST(finalize_records_the_request_and_may_be_repeated),
        TEST(finalize_of_a_finished_migration_changes_nothing),
        TEST(finalize_of_what_has_not_begun_is_an_error),
        TEST(a_pause_lasts_until_resume_and_is_shown),
        TEST(finalize_of_a_paused_migration_is_refused),
        TEST(what_cannot_be_paused_is_refused_and_the_others_are_paused),
        TEST(pausing_what_has_not_begun_is_an_error),
        TEST(a_limit_is_kept_as_it_was_written_until_default),
        TEST(a_limit_that_is_none_or_nobodys_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
