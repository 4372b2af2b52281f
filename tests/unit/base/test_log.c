#include "base/log.h"

#include "tests/unit/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"

static char path[] = "/tmp/v2c-test-log.XXXXXX";

static int
open_log(void **state)
{
    int fd = mkstemp(path);

    if (fd < 0)
        return -1;
    close(fd);
    log_set_stderr(false);
    log_set_level(LOG_INFO);
    return log_open_file(path, NULL);
}

static int
close_log(void **state)
{
    log_open_file(NULL, NULL);
    log_set_stderr(true);
    log_set_tag(NULL);
    unlink(path);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    return 0;
}

static char *
logged(void)
{
    struct err *err = NULL;
    char *text;
    size_t length;

    assert_ok(file_read(path, 1 << 20, &text, &length, &err), &err);
    return text;
}

static void
a_line_has_its_time_in_utc(void **state)
{
    CLEANUP(free_charp) char *text = NULL;
    int year, month, day, hour, minute, second, end = 0;

    log_info("Stage: %s", "delta");
    text = logged();
    assert_int_equal(sscanf(text, "[%4d-%2d-%2d %2d:%2d:%2d] Stage: delta\n%n", &year, &month, &day,
                            &hour, &minute, &second, &end),
                     6);
    assert_int_equal(end, strlen(text));
}

static void
lines_below_the_level_are_left_out(void **state)
{
    CLEANUP(free_charp) char *text = NULL;

    log_debug("quiet");
    log_warning("careful");
    log_set_level(LOG_ERROR);
    log_warning("no longer");
    log_error("bad");
    text = logged();
    assert_null(strstr(text, "quiet"));
    assert_contains(text, "warning: careful\n");
    assert_null(strstr(text, "no longer"));
    assert_contains(text, "error: bad\n");
}

static void
text_from_outside_cannot_forge_lines_or_reach_the_terminal(void **state)
{
    CLEANUP(free_charp) char *text = NULL;

    log_info("vm %s", "a\n[2026-01-01 00:00:00] all is well\x1b[31m\r\x7f\n");
    text = logged();
    assert_contains(text, "vm a\n    [2026-01-01 00:00:00] all is well?[31m??\n");
    assert_null(strchr(text, '\x1b'));
}

static void
an_error_comes_with_its_hint_on_a_second_line(void **state)
{
    CLEANUP(free_charp) char *text = NULL;
    struct err *err = NULL;

    err_set(&err, E_POOL, "not mounted");
    err_hint(&err, "mount it");
    log_err(LOG_ERROR, err, "pool nfs1");
    text = logged();
    assert_contains(text, "error: pool nfs1: not mounted\n    hint: mount it\n");
    err_free(err);
}

static void
the_tag_is_for_stderr_only(void **state)
{
    CLEANUP(free_charp) char *text = NULL, *file = NULL;
    int saved = dup(STDERR_FILENO), ends[2];
    char buffer[256] = "";

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_set_stderr(true);
    log_set_tag("web\n01");
    log_info("hello");
    dup2(saved, STDERR_FILENO);
    assert_true(read(ends[0], buffer, sizeof(buffer) - 1) > 0);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    assert_contains(buffer, "] [web?01] hello\n");
    text = logged();
    assert_null(strstr(text, "web"));
    assert_contains(text, "] hello\n");
}

static void
a_line_without_end_is_cut(void **state)
{
    CLEANUP(free_charp) char *text = NULL, *huge = xcalloc(1, 400 * KIB + 1);

    memset(huge, 'x', 400 * KIB);
    log_info("%s", huge);
    text = logged();
    assert_true(strlen(text) <= 256 * KIB);
    assert_contains(text, "xx [cut]\n");
}

static void *
log_many(void *who)
{
    for (int i = 0; i < 200; i++)
        log_info("%s%s", (const char *)who, "0123456789012345678901234567890123456789");
    return NULL;
}

static void
lines_of_several_threads_never_mix(void **state)
{
    CLEANUP(free_charp) char *text = NULL;
    char names[4][2] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    size_t lines = 0;

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    text = logged();
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        assert_int_equal(end - line, 22 + 1 + 40);
        assert_int_equal(line[0], '[');
    }
    assert_int_equal(lines, 800);
}

static void
a_log_that_cannot_be_opened_is_an_error(void **state)
{
    struct err *err = NULL;

    assert_int_equal(log_open_file("/no/such/directory/x.log", &err), -1);
    assert_err_says(&err, E_IO, "/no/such/directory/x.log");
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_log, close_log)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_line_has_its_time_in_utc),
        LOG_TEST(lines_below_the_level_are_left_out),
        LOG_TEST(text_from_outside_cannot_forge_lines_or_reach_the_terminal),
        LOG_TEST(an_error_comes_with_its_hint_on_a_second_line),
        LOG_TEST(the_tag_is_for_stderr_only),
        LOG_TEST(a_line_without_end_is_cut),
        LOG_TEST(lines_of_several_threads_never_mix),
        LOG_TEST(a_log_that_cannot_be_opened_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
