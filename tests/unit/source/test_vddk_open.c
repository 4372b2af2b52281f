/* Everything that can be wrong when a disk is opened through VDDK, each with its own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/util.h"
#include "centre.h"
#include "source/source.h"

#define LONG_NAME 600 /* bytes, more than the wire has room for */

struct fixture {
    struct centre centre;
    struct disk_pool *pool;
    struct disk_source *source;
    struct err *err;
};

static void
start(struct fixture *f, uint64_t capacity, const char *misbehave)
{
    if (misbehave)
        setenv("V2C_FAKEVDDK", misbehave, 1);
    centre_start(&f->centre, capacity);
}

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    unsetenv("V2C_FAKEVDDK");
    f->pool = disk_pool_new(2, NULL);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    centre_stop(&f->centre);
    disk_pool_free(f->pool);
    err_free(f->err);
    free(f);
    return 0;
}

static void
expect_failure(struct fixture *f, const struct source_vddk_options *options, enum err_code code,
               const char *message, const char *hint)
{
    struct disk_source *untouched = (struct disk_source *)f;

    f->source = untouched;
    assert_int_equal(source_vddk_open(options, &f->source, &f->err), -1);
    assert_ptr_equal(f->source, untouched);
    f->source = NULL;
    if (err_code(f->err) != code || !strstr(err_message(f->err), message) ||
        (hint && (!err_hint_text(f->err) || !strstr(err_hint_text(f->err), hint))))
        fail_msg("%s: %s\n%s", err_code_name(err_code(f->err)), err_message(f->err),
                 err_hint_text(f->err) ? err_hint_text(f->err) : "no hint");
    /* A password never gets into a message. */
    assert_null(strstr(err_message(f->err), CENTRE_PASSWORD));
}

static void
a_missing_library_says_where_it_was_looked_for(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.libdir = "/nonexistent/vddk";
    expect_failure(f, &options, E_VDDK_LIBRARY,
                   "no libvixDiskLib.so.9, .8, .7 or .6 in /nonexistent/vddk/lib64",
                   "migration.vddk_path");
}

static void
a_file_that_is_no_library_says_what_the_linker_says(void **state)
{
    struct fixture *f = *state;
    char dir[] = "./test_vddk.XXXXXX";
    CLEANUP(free_charp) char *lib64 = NULL;
    CLEANUP(free_charp) char *library = NULL;
    struct source_vddk_options options;

    assert_non_null(mkdtemp(dir));
    lib64 = xasprintf("%s/lib64", dir);
    library = xasprintf("%s/libvixDiskLib.so.8", lib64);
    assert_int_equal(mkdir(lib64, 0700), 0);
    assert_int_equal(file_replace(library, "#!/bin/sh\n", 10, 0700, NULL), 0);
    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.libdir = dir;
    expect_failure(f, &options, E_VDDK_LIBRARY, "file too short", "unpack");
    unlink(library);
    rmdir(lib64);
    rmdir(dir);
}

static void
a_library_that_lacks_a_function_names_it(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, "no-info");
    options = centre_options(&f->centre, f->pool);
    expect_failure(f, &options, E_VDDK_LIBRARY, "VixDiskLib_GetInfo", "6.5 or later");
}

static void
a_library_that_does_not_start_gives_its_error(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, "fail-init=3");
    options = centre_options(&f->centre, f->pool);
    expect_failure(f, &options, E_VDDK_LIBRARY, "(error 3)", NULL);
}

static void
a_port_where_nobody_listens_names_it(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.port = 1;
    expect_failure(f, &options, E_VDDK_CONNECT, "127.0.0.1:1", "902");
    assert_int_equal(err_class(f->err), ERR_CLASS_RETRY);
}

static void
a_server_that_cannot_be_resolved_names_it(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.server = "vcenter.invalid";
    expect_failure(f, &options, E_VDDK_CONNECT, "vcenter.invalid", "resolve");
}

static void
a_wrong_password_is_a_refused_login(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.password = "guess";
    expect_failure(f, &options, E_VDDK_LOGIN, CENTRE_USER, "vcenter.password");
}

static void
a_wrong_thumbprint_shows_the_right_one(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.thumbprint = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";
    expect_failure(f, &options, E_VDDK_OPEN, f->centre.lab.certificate.sha1, "vcenter.thumbprint");
}

static void
a_missing_snapshot_says_what_to_check(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.snapshot_moref = "snapshot-99";
    expect_failure(f, &options, E_VDDK_OPEN, "snapshot snapshot-99", "snapshot still exists");
}

static void
a_wrong_path_says_what_to_check(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.disk_path = "[ds1] web01/web01-000001.vmdk"; /* the running VM's */
    expect_failure(f, &options, E_VDDK_OPEN, "web01-000001.vmdk", "the running VM's");
}

static void
a_running_vm_without_a_snapshot_says_what_to_check(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.snapshot_moref = NULL;
    expect_failure(f, &options, E_VDDK_OPEN, "snapshot none", "running VM is read through");
}

static void
another_size_than_expected_is_refused(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.expected_size = 2 * MIB;
    expect_failure(f, &options, E_SOURCE_SIZE, "1048576 bytes, 2097152 were expected", "resized");
}

static void
a_missing_program_says_how_to_get_it(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.program = "/nonexistent/v2c-vddk";
    expect_failure(f, &options, E_SPAWN, "/nonexistent/v2c-vddk", NULL);
}

static void
a_text_that_does_not_fit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;
    char name[LONG_NAME + 1];

    memset(name, 'x', LONG_NAME);
    name[LONG_NAME] = '\0';
    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.user = name;
    expect_failure(f, &options, E_LIMIT, "the user name", NULL);
}

static void
a_library_folder_that_the_linker_cannot_name_is_refused(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;

    start(f, MIB, NULL);
    options = centre_options(&f->centre, f->pool);
    options.libdir = "/opt/a:b";
    expect_failure(f, &options, E_VDDK_LIBRARY, "/opt/a:b", "move it");
}

static void
a_process_that_hangs_at_the_start_is_killed_in_time(void **state)
{
    struct fixture *f = *state;
    struct source_vddk_options options;
    int64_t before = clock_monotonic_ms();

    start(f, MIB, "hang-open");
    options = centre_options(&f->centre, f->pool);
    options.start_timeout_ms = 500;
    expect_failure(f, &options, E_TIMEOUT, "connect and open", NULL);
    assert_in_range(clock_monotonic_ms() - before, 500, 10000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_library_says_where_it_was_looked_for),
        TEST(a_file_that_is_no_library_says_what_the_linker_says),
        TEST(a_library_that_lacks_a_function_names_it),
        TEST(a_library_that_does_not_start_gives_its_error),
        TEST(a_port_where_nobody_listens_names_it),
        TEST(a_server_that_cannot_be_resolved_names_it),
        TEST(a_wrong_password_is_a_refused_login),
        TEST(a_wrong_thumbprint_shows_the_right_one),
        TEST(a_missing_snapshot_says_what_to_check),
        TEST(a_wrong_path_says_what_to_check),
        TEST(a_running_vm_without_a_snapshot_says_what_to_check),
        TEST(another_size_than_expected_is_refused),
        TEST(a_missing_program_says_how_to_get_it),
        TEST(a_text_that_does_not_fit_is_refused),
        TEST(a_library_folder_that_the_linker_cannot_name_is_refused),
        TEST(a_process_that_hangs_at_the_start_is_killed_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
