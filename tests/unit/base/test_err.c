#include "tests/unit/check.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

static void
wrapping_puts_the_context_before_the_message(void **state)
{
    struct err *err = NULL;

    assert_int_equal(err_set(&err, E_IO, "read at %d MiB", 4096), -1);
    assert_int_equal(err_wrap(&err, "disk %s", "scsi0:1"), -1);
    assert_int_equal(err_wrap(&err, "vm web01"), -1);
    assert_string_equal(err_message(err), "vm web01: disk scsi0:1: read at 4096 MiB");
    assert_int_equal(err_code(err), E_IO);
    assert_int_equal(err_class(err), ERR_CLASS_RETRY);
    err_free(err);
}

static void
the_innermost_hint_wins(void **state)
{
    struct err *err = NULL;

    err_set(&err, E_CONFIG, "bad");
    err_hint(&err, "first");
    err_hint(&err, "second");
    assert_string_equal(err_hint_text(err), "first");
    err_freep(&err);
    assert_null(err);
}

static void
an_error_nobody_wants_is_dropped(void **state)
{
    assert_int_equal(err_set(NULL, E_IO, "x"), -1);
    assert_int_equal(err_set_errno(NULL, E_IO, EIO, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
    assert_int_equal(err_hint(NULL, "x"), -1);
}

static void
wrapping_no_error_does_nothing(void **state)
{
    struct err *err = NULL;

    err_wrap(&err, "context");
    err_hint(&err, "hint");
    assert_null(err);
    assert_int_equal(err_code(err), E_NONE);
    assert_string_equal(err_message(err), "no error");
}

static void
a_full_disk_and_missing_permission_have_their_own_codes(void **state)
{
    static const struct {
        int errnum;
        enum err_code code;
    } cases[] = {{ENOSPC, E_NO_SPACE},  {EDQUOT, E_NO_SPACE},  {EACCES, E_PERMISSION},
                 {EPERM, E_PERMISSION}, {EROFS, E_PERMISSION}, {EIO, E_TARGET_WRITE}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err *err = NULL;

        err_set_errno(&err, E_TARGET_WRITE, cases[i].errnum, "disk.qcow2");
        assert_err_says(&err, cases[i].code, "disk.qcow2: ");
    }
}

static void
moving_and_copying_keep_message_and_hint(void **state)
{
    struct err *from = NULL, *to = NULL, *copy;

    err_set(&from, E_NET, "gone");
    err_hint(&from, "look");
    copy = err_copy(from);
    assert_int_equal(err_move(&to, &from), -1);
    assert_null(from);
    assert_string_equal(err_message(to), "gone");
    assert_string_equal(err_message(copy), "gone");
    assert_string_equal(err_hint_text(copy), "look");
    err_free(to);
    err_free(copy);
    err_set(&from, E_NET, "unwanted");
    err_move(NULL, &from);
    assert_null(from);
    assert_null(err_copy(NULL));
}

static void
every_code_has_a_name_that_leads_back_to_it(void **state)
{
    for (int code = 1; code < E_MAX; code++) {
        const char *name = err_code_name((enum err_code)code);

        assert_int_equal(strncmp(name, "E_", 2), 0);
        assert_int_equal(err_code_from_name(name), code);
    }
    assert_int_equal(err_code_from_name("E_NO_SUCH_CODE"), E_NONE);
    assert_int_equal(err_code_from_name(NULL), E_NONE);
}

static void
an_error_set_over_another_aborts(void **state)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct err *err = NULL;

        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        err_set(&err, E_IO, "one");
        err_set(&err, E_IO, "two");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrapping_puts_the_context_before_the_message),
        cmocka_unit_test(the_innermost_hint_wins),
        cmocka_unit_test(an_error_nobody_wants_is_dropped),
        cmocka_unit_test(wrapping_no_error_does_nothing),
        cmocka_unit_test(a_full_disk_and_missing_permission_have_their_own_codes),
        cmocka_unit_test(moving_and_copying_keep_message_and_hint),
        cmocka_unit_test(every_code_has_a_name_that_leads_back_to_it),
        cmocka_unit_test(an_error_set_over_another_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
