#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/display.h"
#include "cli/text.h"

static const char *const labels[] = {"web01", "db01", "mail"};

/* A display that prints into memory. */
struct screen {
    char *text;
    size_t length;
    FILE *stream;
    struct display *display;
};

static struct screen *
screen_new(bool is_terminal, size_t count)
{
    struct screen *screen = xcalloc(1, sizeof(*screen));

    screen->stream = open_memstream(&screen->text, &screen->length);
    screen->display = display_new(screen->stream, is_terminal, labels, count);
    return screen;
}

static void
screen_free(struct screen *screen)
{
    display_free(screen->display);
    fclose(screen->stream);
    free(screen->text);
    free(screen);
}

static void
report(struct screen *screen, size_t vm, const char *text)
{
    json_t *object = json_loads(text, 0, NULL);

    assert_non_null(object);
    display_report(screen->display, vm, object);
    json_decref(object);
}

static const char progress[] =
    "{\"type\":\"progress\",\"disks\":["
    "{\"name\":\"disk0\",\"stage\":\"base_copy\",\"percent\":50.0,\"read\":1073741824,"
    "\"planned\":2147483648,\"rate\":104857600,\"eta\":10},"
    "{\"name\":\"disk1\",\"stage\":\"base_copy\",\"percent\":100.0,\"read\":2147483648,"
    "\"planned\":2147483648,\"rate\":0,\"eta\":0}]}";

static char *
render(struct screen *screen, unsigned columns, unsigned rows, unsigned *ret_lines)
{
    struct str out = STR_INIT(65536);

    *ret_lines = display_render(screen->display, columns, rows, &out);
    return str_take(&out);
}

static void
draws_a_bar_for_each_disk_being_copied(void **state)
{
    struct screen *screen = screen_new(true, 1);
    CLEANUP(free_charp) char *picture = NULL;
    unsigned lines;

    display_set_state(screen->display, 0, DISPLAY_RUNNING);
    report(screen, 0, "{\"type\":\"stage\",\"stage\":\"base_copy\"}");
    report(screen, 0, progress);
    picture = render(screen, 100, 24, &lines);
    assert_string_equal(
        picture, "web01  base_copy\n"
                 "  disk0      [==========>         ]  50.0%  1.0 GiB of 2.0 GiB, 100 MiB/s, "
                 "ETA 0:10\n");
    assert_int_equal(lines, 2);
    screen_free(screen);
}

static void
shows_what_a_vm_said_last_while_nothing_is_copied(void **state)
{
    struct screen *screen = screen_new(false, 1);
    CLEANUP(free_charp) char *picture = NULL;
    unsigned lines;

    display_set_state(screen->display, 0, DISPLAY_RUNNING);
    report(screen, 0, "{\"type\":\"stage\",\"stage\":\"delta\"}");
    report(screen, 0, "{\"type\":\"log\",\"level\":\"info\",\"text\":\"Waiting 300s\"}");
    picture = render(screen, 100, 24, &lines);
    assert_string_equal(picture, "web01  delta  Waiting 300s\n");
    screen_free(screen);
}

static void
shows_that_a_vm_is_paused_until_it_goes_on(void **state)
{
    static const char *const pauses[] = {"{\"type\":\"pause\",\"paused\":false}",
                                         "{\"type\":\"pause\",\"paused\":true}"};
    struct screen *screen = screen_new(true, 1);
    unsigned lines;

    display_set_state(screen->display, 0, DISPLAY_RUNNING);
    report(screen, 0, "{\"type\":\"stage\",\"stage\":\"base_copy\"}");
    for (int i = 0; i < 4; i++) {
        CLEANUP(free_charp) char *picture = NULL;

        report(screen, 0, progress);
        report(screen, 0, pauses[i % 2]);
        if (i == 3) /* started again after a crash: it has not said so yet */
            display_set_state(screen->display, 0, DISPLAY_RUNNING);
        picture = render(screen, 100, 24, &lines);
        assert_string_equal(picture, i == 1 ? "web01  base_copy  paused\n" : "web01  base_copy\n");
    }
    screen_free(screen);
}

static void
never_draws_more_than_the_terminal_has(void **state)
{
    struct screen *screen = screen_new(true, 3);
    unsigned lines, newlines = 0;

    for (size_t vm = 0; vm < 3; vm++) {
        display_set_state(screen->display, vm, DISPLAY_RUNNING);
        report(screen, vm, progress);
    }
    for (unsigned rows = 1; rows < 12; rows++) {
        CLEANUP(free_charp) char *picture = render(screen, 30, rows, &lines);

        newlines = 0;
        for (const char *line = picture; *line; line += strcspn(line, "\n") + 1) {
            assert_true(strcspn(line, "\n") < 30);
            newlines++;
        }
        assert_int_equal(newlines, lines);
        assert_true(lines < MAX(rows, 4U));
    }
    screen_free(screen);
}

static void
counts_the_vms_that_are_not_shown(void **state)
{
    struct screen *screen = screen_new(true, 3);
    CLEANUP(free_charp) char *picture = NULL;
    unsigned lines;

    display_set_state(screen->display, 0, DISPLAY_DONE);
    display_set_state(screen->display, 1, DISPLAY_FAILED);
    picture = render(screen, 100, 24, &lines);
    assert_string_equal(picture, "1 done, 1 failed, 0 running, 1 waiting\n");
    screen_free(screen);
}

static void
plain_output_has_no_control_sequences(void **state)
{
    struct screen *screen = screen_new(false, 1);

    display_set_state(screen->display, 0, DISPLAY_RUNNING);
    report(screen, 0, progress);
    display_tick(screen->display);
    display_tick(screen->display); /* nothing new: not said again */
    fflush(screen->stream);
    assert_null(strchr(screen->text, '\033'));
    assert_non_null(
        strstr(screen->text, "[web01] base_copy 75.0%, 3.0 GiB of 4.0 GiB, 100 MiB/s, ETA 0:10\n"));
    assert_ptr_equal(strchr(screen->text, '\n'), screen->text + screen->length - 1);
    screen_free(screen);
}

static void
a_terminal_is_redrawn_in_place(void **state)
{
    struct screen *screen = screen_new(true, 1);

    display_set_state(screen->display, 0, DISPLAY_RUNNING);
    report(screen, 0, progress);
    display_tick(screen->display);
    display_line(screen->display, "[run] a line");
    fflush(screen->stream);
    assert_non_null(strstr(screen->text, "\033[J[run] a line\n")); /* without the time */
    assert_non_null(strstr(screen->text, "\033[2A\033[J")); /* the picture of two lines is erased */
    screen_free(screen);
}

static void
control_characters_of_workers_never_reach_the_terminal(void **state)
{
    struct screen *screen = screen_new(false, 1);

    report(screen, 0,
           "{\"type\":\"log\",\"level\":\"info\",\"text\":\"a\\u001b[2Jb\\u009bc\\nd\\u007f\"}");
    fflush(screen->stream);
    assert_non_null(strstr(screen->text, "[web01] a?[2Jb?c?d?\n"));
    screen_free(screen);
}

static void
marks_warnings(void **state)
{
    struct screen *screen = screen_new(false, 1);

    report(screen, 0, "{\"type\":\"log\",\"level\":\"warning\",\"text\":\"low space\"}");
    fflush(screen->stream);
    assert_non_null(strstr(screen->text, "[web01] warning: low space\n"));
    screen_free(screen);
}

static void
reports_that_make_no_sense_do_no_harm(void **state)
{
    static const char *const odd[] = {
        "{}",
        "{\"type\":5}",
        "{\"type\":\"log\"}",
        "{\"type\":\"stage\",\"stage\":[]}",
        "{\"type\":\"progress\",\"disks\":7}",
        "{\"type\":\"progress\",\"disks\":[1,null,{}]}",
        "{\"type\":\"progress\",\"disks\":[{\"name\":1,\"percent\":-5e300,\"read\":-1,\"planned\":"
        "9,"
        "\"rate\":-3,\"eta\":-1}]}",
        "{\"type\":\"summary\",\"base_bytes\":-1}",
    };
    struct screen *screen = screen_new(true, 1);

    display_set_state(screen->display, 0, DISPLAY_RUNNING);
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        CLEANUP(free_charp) char *picture = NULL;
        unsigned lines;

        report(screen, 0, odd[i]);
        picture = render(screen, 80, 24, &lines);
        assert_true(lines >= 1);
    }
    screen_free(screen);
}

static void
tells_the_summary(void **state)
{
    struct screen *screen = screen_new(false, 1);
    struct str out = STR_INIT(1024);

    assert_false(display_summary(screen->display, 0, &out));
    report(screen, 0,
           "{\"type\":\"summary\",\"base_bytes\":966367641,\"base_ms\":3000,\"delta_rounds\":3}");
    assert_true(display_summary(screen->display, 0, &out));
    assert_string_equal(str_text(&out), "base 921.6 MiB at 307 MiB/s, deltas 3");
    str_done(&out);
    screen_free(screen);
}

static void
durations_are_short(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "0:00"}, {42, "0:42"}, {3599, "59:59"}, {3723, "1:02:03"}, {273600, "3d 04:00"}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str out = STR_INIT(64);

        text_append_duration(&out, cases[i].seconds);
        assert_string_equal(str_text(&out), cases[i].text);
        str_done(&out);
    }
}

static void
text_is_cut_between_characters(void **state)
{
    struct str out = STR_INIT(64);

    text_append_clean(&out,
                      "gr\xc3\xbc\xc3\x9f"
                      "e",
                      3);
    assert_string_equal(str_text(&out), "gr\xc3\xbc");
    str_done(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_a_bar_for_each_disk_being_copied),
        cmocka_unit_test(shows_what_a_vm_said_last_while_nothing_is_copied),
        cmocka_unit_test(shows_that_a_vm_is_paused_until_it_goes_on),
        cmocka_unit_test(never_draws_more_than_the_terminal_has),
        cmocka_unit_test(counts_the_vms_that_are_not_shown),
        cmocka_unit_test(plain_output_has_no_control_sequences),
        cmocka_unit_test(a_terminal_is_redrawn_in_place),
        cmocka_unit_test(control_characters_of_workers_never_reach_the_terminal),
        cmocka_unit_test(marks_warnings),
        cmocka_unit_test(reports_that_make_no_sense_do_no_harm),
        cmocka_unit_test(tells_the_summary),
        cmocka_unit_test(durations_are_short),
        cmocka_unit_test(text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
