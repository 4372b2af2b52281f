#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/command.h"
#include "cli/told.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

const struct command *const commands[] = {
    &command_check,   &command_run,      &command_status,    &command_finalize,
    &command_pause,   &command_resume,   &command_bandwidth, &command_rehearse,
    &command_cancel,  &command_rollback, &command_report,    &command_forget,
    &command_cleanup, &command_serve,    &command_user,      &command_ui,
    &command_doctor,  &command_qcow2,    &command_base_copy, &command_delta_sync,
    &command_help,    &command_version,  &command_worker,    NULL,
};

const struct command *
command_find(const char *name)
{
    for (const struct command *const *c = commands; *c; c++)
        if (!strcmp((*c)->name, name))
            return *c;
    return NULL;
}

static void
print(FILE *stream, struct str *text)
{
    fputs(str_text(text), stream);
    str_done(text);
}

/* "web01: no space left on device", and "hint: ..." for each line of the hint. */
static void
print_error(const struct command *command, const struct err *err)
{
    const char *hint = err_hint_text(err);

    if (log_format() != LOG_TEXT) {
        const struct log_fields fields = {.code = err_code_name(err_code(err))};

        log_with(&fields, LOG_ERROR, "%s failed: %s%s%s", command->name, err_message(err),
                 hint ? "\nhint: " : "", hint ? hint : "");
        return;
    }
    fprintf(stderr, "%s failed: %s\n", command->name, err_message(err));
    while (hint && *hint) {
        int length = (int)strcspn(hint, "\n");

        fprintf(stderr, "hint: %.*s\n", length, hint);
        hint += length + (hint[length] == '\n');
    }
    if (err_code(err) == E_USAGE)
        fprintf(stderr, "hint: see `v2c-engine help %s`\n", command->name);
}

/* Whether the flag @word is followed by its value as a word of its own. */
static bool
takes_next_word(const struct option_def *defs, const char *word)
{
    const char *name = word + 1 + (word[1] == '-');

    for (const struct option_def *d = defs; d->name; d++)
        if (!strcmp(d->name, name))
            return d->kind != OPTION_BOOL;
    return false;
}

/* Keeps the order within flags and within words; what stands behind "--" stays there. */
static void
bring_flags_forward(const struct option_def *defs, int argc, char **argv)
{
    int flags = 0;

    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char *word = argv[i];

        if (word[0] != '-' || word[1] == '\0')
            continue;
        for (int moved = 0; moved <= (takes_next_word(defs, word) ? 1 : 0) && i < argc; moved++) {
            char *next = argv[i];

            memmove(argv + flags + 1, argv + flags, (size_t)(i - flags) * sizeof(argv[0]));
            argv[flags++] = next;
            i++;
        }
        i--;
    }
}

static int
run_command(const struct command *command, int argc, char **argv, struct err **err)
{
    CLEANUP(free_charp) char *values = xcalloc(1, command->values_size);
    struct words words = {0};
    bool wants_help = false;
    int rc;

    if (command->has_late_flags)
        bring_flags_forward(command->options, argc, argv);
    rc = options_parse(command->options, argc, argv, values, &words, &wants_help, err);
    if (rc == 0 && wants_help) {
        struct str text = STR_INIT(64 * KIB);

        help_command(command, &text);
        print(stdout, &text);
    } else if (rc == 0 && words.count && !*command->words) {
        rc = err_set(err, E_USAGE, "unexpected word %s", words.items[0]);
    } else if (rc == 0) {
        rc = command->run(values, &words, err);
    }
    options_done(command->options, values);
    vec_done(&words);
    return rc;
}

static int
usage(FILE *stream, int status)
{
    struct str text = STR_INIT(64 * KIB);

    help_usage(&text);
    print(stream, &text);
    return status;
}

static bool
are_expert_commands_enabled(void)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    const char *value = getenv("V2C_ENABLE_EXPERT_COMMANDS");

    for (size_t i = 0; value && i < ARRAY_SIZE(yes); i++)
        if (!strcasecmp(value, yes[i]))
            return true;
    return false;
}

int
cli_main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const struct command *command;
    int rc, report_fd = -1;

    if (argc < 2)
        return usage(stderr, EXIT_USAGE);
    if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "-help") || !strcmp(argv[1], "--help"))
        return usage(stdout, 0);
    if (!strcmp(argv[1], "-version") || !strcmp(argv[1], "--version"))
        command = &command_version;
    else
        command = command_find(argv[1]);
    if (!command) {
        fprintf(stderr, "unknown command: %s\n\n", argv[1]);
        return usage(stderr, EXIT_USAGE);
    }
    if (command->is_expert && !are_expert_commands_enabled()) {
        fprintf(stderr,
                "%s is an expert command: it works beside all safeguards of a migration\n"
                "hint: set V2C_ENABLE_EXPERT_COMMANDS=1 in the environment to use it; see "
                "`v2c-engine help %s`\n",
                command->name, command->name);
        return EXIT_USAGE;
    }
    rc = told_by_supervisor(&report_fd, &err);
    if (rc == 0)
        rc = run_command(command, argc - 2, argv + 2, &err);
    if (err) {
        print_error(command, err);
        tell_failure(report_fd, err);
    }
    if (rc < 0)
        return EXIT_FAILED;
    /* What did not reach stdout (a full disk, a closed pipe) was not told. */
    if (fflush(stdout) != 0) {
        fprintf(stderr, "%s failed: cannot write to standard output\n", command->name);
        return EXIT_FAILED;
    }
    return rc;
}
