/* The fake libvixDiskLib finds whoever breaks the real one's rules: else the tests of v2c-vddk would
 * prove nothing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/err.h"
#include "base/util.h"
#include "centre.h"

static struct centre centre;

static int
run(const char *rule, const char *misbehave, char **ret_output)
{
    char *libraries = xasprintf("LD_LIBRARY_PATH=%s/lib64", centre_libdir());
    char *port = xasprintf("TEST_PORT=%u", lab_https_port(centre.https));
    char *thumbprint = xasprintf("TEST_THUMBPRINT=%s", centre.lab.certificate.sha1);
    char *control = xasprintf("V2C_FAKEVDDK=%s", misbehave);
    const char *const env[] = {
        libraries,
        port,
        thumbprint,
        control,
        "TEST_SERVER=127.0.0.1",
        "TEST_VMX=moref=" CENTRE_VM,
        "TEST_SNAPSHOT=moref=" CENTRE_SNAPSHOT,
        "TEST_PATH=" CENTRE_PATH,
        "TEST_USER=" CENTRE_USER,
        "TEST_PASSWORD=" CENTRE_PASSWORD,
        NULL,
    };
    int status = 0;

    assert_int_equal(
        child_run(&(struct child_spec){.argv = (const char *const[]){getenv("TEST_BREAK_RULE"),
                                                                     rule, NULL},
                                       .set_env = env,
                                       .dies_with_parent = true},
                  20000, 65536, ret_output, &status, NULL),
        0);
    free(libraries);
    free(port);
    free(thumbprint);
    free(control);
    return status;
}

static void
expect_abort(const char *rule, const char *misbehave, const char *message)
{
    CLEANUP(free_charp) char *output = NULL;
    int status = run(rule, misbehave, &output);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(output, message))
        fail_msg("%s: %s: %s", rule, child_describe_status(status), output);
}

static void
expect_success(const char *rule, const char *misbehave)
{
    CLEANUP(free_charp) char *output = NULL;
    int status = run(rule, misbehave, &output);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: %s: %s", rule, child_describe_status(status), output);
}

static int
setup(void **state)
{
    centre_start(&centre, 32 * MIB);
    return 0;
}

static int
teardown(void **state)
{
    centre_stop(&centre);
    return 0;
}

static void
whoever_breaks_the_rules_of_beginning_and_end_is_aborted(void **state)
{
    expect_abort("init_twice", "", "InitEx is called twice");
    expect_abort("fork_after_init", "", "forks after InitEx");
    expect_abort("no_log_function", "", "without a log function");
    expect_abort("exit_with_a_connection", "", "1 of the connections are not given back");
    expect_abort("exit_with_params", "", "1 of the ConnectParams");
    expect_abort("exit_without_end_access", "", "1 of the calls of PrepareForAccess");
    expect_abort("end_access_before_disconnect", "", "EndAccess before Disconnect");
    expect_abort("disconnect_before_close", "", "Disconnect before Close");
}

static void
whoever_misuses_its_memory_is_aborted(void **state)
{
    expect_abort("no_password", "", "crashes without");
    expect_abort("free_foreign_params", "", "memory that is not the library's");
    expect_abort("write_beyond_params", "", "wrote around the ConnectParams");
    expect_abort("one_buffer_for_two_reads", "latency-ms=60000", "share a buffer");
    expect_abort("misaligned_offset", "", "a misaligned read");
    expect_abort("misaligned_length", "", "a misaligned read");
    expect_abort("misaligned_memory", "", "a misaligned read");
    expect_abort("a_read_of_24_mib", "", "25165824 bytes");
    expect_abort("close_with_a_read_in_flight", "latency-ms=60000", "Close while reads");
}

static void
whoever_breaks_the_rules_of_threads_is_aborted(void **state)
{
    expect_abort("call_from_callback", "", "called from a callback");
    expect_abort("two_threads_in_a_handle", "latency-ms=60000", "another thread uses");
    expect_abort("open_beside_open", "hang-open", "runs beside another");
}

static void
allocated_blocks_have_the_real_limits(void **state)
{
    expect_success("limits_of_allocated_blocks", "");
}

static void
a_buffer_shows_poison_until_its_read_is_back(void **state)
{
    expect_success("poison_before_completion", "latency-ms=60000");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_breaks_the_rules_of_beginning_and_end_is_aborted),
        cmocka_unit_test(whoever_misuses_its_memory_is_aborted),
        cmocka_unit_test(whoever_breaks_the_rules_of_threads_is_aborted),
        cmocka_unit_test(allocated_blocks_have_the_real_limits),
        cmocka_unit_test(a_buffer_shows_poison_until_its_read_is_back),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
