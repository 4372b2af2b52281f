#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/command.h"

static void
usage_names_every_command_but_hidden_ones(void **state)
{
    struct str out = STR_INIT(65536);

    help_usage(&out);
    for (const struct command *const *c = commands; *c; c++) {
        CLEANUP(free_charp) char *line = xasprintf("\n  %s ", (*c)->name);

        assert_int_equal(strstr(str_text(&out), line) != NULL, !(*c)->is_hidden);
    }
    str_done(&out);
}

/* As the manual page writes it: every hyphen behind a backslash. */
static char *
in_roff(const char *text)
{
    struct str out = STR_INIT(65536);

    for (; *text; text++)
        str_appendf(&out, "%s%c", *text == '-' ? "\\" : "", *text);
    return str_take(&out);
}

static void
every_flag_is_told_in_help_manual_and_completion(void **state)
{
    struct str man = STR_INIT(256 * 1024), completion = STR_INIT(65536);

    help_man_page(&man);
    help_bash_completion(&completion);
    for (const struct command *const *c = commands; *c; c++) {
        struct str help = STR_INIT(65536);

        help_command(*c, &help);
        for (const struct option_def *o = (*c)->options; o->name && !(*c)->is_hidden; o++) {
            CLEANUP(free_charp) char *flag = xasprintf("--%s", o->name);
            CLEANUP(free_charp) char *roff_flag = in_roff(flag);
            CLEANUP(free_charp) char *roff_help = in_roff(o->help);

            assert_non_null(o->help);
            assert_true(o->kind == OPTION_BOOL || o->value);
            assert_non_null(strstr(str_text(&help), flag));
            assert_non_null(strstr(str_text(&man), roff_flag));
            assert_non_null(strstr(str_text(&man), roff_help));
            assert_non_null(strstr(str_text(&completion), flag));
        }
        str_done(&help);
    }
    str_done(&man);
    str_done(&completion);
}

static void
help_fits_into_a_hundred_columns(void **state)
{
    for (const struct command *const *c = commands; *c; c++) {
        struct str help = STR_INIT(65536);

        help_command(*c, &help);
        for (const char *line = str_text(&help); *line; line += strcspn(line, "\n") + 1)
            assert_true(strcspn(line, "\n") <= 100);
        str_done(&help);
    }
}

static void
the_flags_of_the_existing_tool_are_all_there(void **state)
{
    static const struct {
        const char *command, *flags[12];
    } seed[] = {
        {"run",
         {"spec", "config", "readers", "run-virt-v2v", "override-run-virt-v2v", "parallel-vms",
          "parallel-disks"}},
        {"status", {"spec", "config", "control-dir", "vm", "vm-id", "json"}},
        {"finalize", {"spec", "config", "control-dir", "vm", "vm-id", "now"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(seed); i++) {
        const struct command *command = command_find(seed[i].command);

        assert_non_null(command);
        for (const char *const *flag = seed[i].flags; *flag; flag++) {
            const struct option_def *o = command->options;

            while (o->name && strcmp(o->name, *flag) != 0)
                o++;
            assert_non_null(o->name);
        }
    }
}

/* What cli_main makes of one command line; its output goes where the test's goes. */
static int
exit_status(const char *a, const char *b)
{
    char *argv[] = {(char *)"v2c-engine", (char *)a, (char *)b, NULL};

    return cli_main(1 + (a != NULL) + (b != NULL), argv);
}

static void
exit_statuses_are_those_of_the_existing_tool(void **state)
{
    assert_int_equal(exit_status(NULL, NULL), 2);
    assert_int_equal(exit_status("nonsense", NULL), 2);
    assert_int_equal(exit_status("run", NULL), 1);
    assert_int_equal(exit_status("run", "--nonsense"), 1);
    assert_int_equal(exit_status("finalize", NULL), 1);
    assert_int_equal(exit_status("version", "word"), 1);
}

static void
help_and_version_succeed(void **state)
{
    static const char *const words[] = {"-h",       "--help", "-help",  "--version",
                                        "-version", "help",   "version"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        assert_int_equal(exit_status(words[i], NULL), 0);
    assert_int_equal(exit_status("run", "-h"), 0);
    assert_int_equal(exit_status("status", "--help"), 0);
    assert_int_equal(exit_status("help", "finalize"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_names_every_command_but_hidden_ones),
        cmocka_unit_test(every_flag_is_told_in_help_manual_and_completion),
        cmocka_unit_test(help_fits_into_a_hundred_columns),
        cmocka_unit_test(the_flags_of_the_existing_tool_are_all_there),
        cmocka_unit_test(exit_statuses_are_those_of_the_existing_tool),
        cmocka_unit_test(help_and_version_succeed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
