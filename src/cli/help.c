#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/command.h"

#define COLUMNS 100

static const char about[] =
    "moves virtual machines from VMware vSphere to Apache CloudStack while they run";

/* What holds for all commands, for help and manual page: {title, paragraphs}. */
static const char *const topics[][2] = {
    {"EXIT STATUS", "0 on success, 1 when the command failed (the reason is on standard error), 2 "
                    "when there is no "
                    "such command or it is an expert command and these are not enabled."},
    {"ENVIRONMENT",
     "VC_PASSWORD: password of the vCenter when config.yaml has none.\n\n"
     "V2C_VCENTER_HOST, V2C_VCENTER_USER, V2C_VCENTER_PASSWORD, V2C_CLOUDSTACK_ENDPOINT, "
     "V2C_CLOUDSTACK_API_KEY, V2C_CLOUDSTACK_SECRET_KEY: replace what config.yaml says.\n\n"
     "V2C_VDDK_MAX_OPEN: disks of VMware open at once, for the whole program (8); final "
     "syncs do not wait for it.\n\n"
     "V2C_ENABLE_EXPERT_COMMANDS: 1, true, yes or on: allows base-copy and delta-sync.\n\n"
     "V2C_LOG: debug, info, warning or error: the least that is logged. How it looks: --log-format "
     "of run and serve."},
    {"FILES",
     "config.yaml in the current directory, else ../config.yaml: the configuration.\n\n"
     "/var/lib/vm-migrator: where state is kept (migration.control_dir): v2c.db, and for each VM a "
     "directory with state.json, spec.latest.yaml and migration.log."},
};

/* ---- text ------------------------------------------------------------------------------------- */

static void
append_wrapped(struct str *out, const char *text, int indent)
{
    int column = 0;

    while (*text) {
        int length = (int)strcspn(text, " \n");

        if (column == 0)
            str_appendf(out, "%*s", indent, "");
        if (column > 0 && indent + column + 1 + length > COLUMNS) {
            str_appendf(out, "\n%*s", indent, "");
            column = 0;
        } else if (column > 0) {
            str_append(out, " ");
            column++;
        }
        str_append_bytes(out, text, (size_t)length);
        column += length;
        text += length;
        if (!strncmp(text, "\n\n", 2)) {
            str_append(out, "\n\n");
            column = 0;
        }
        text += strspn(text, " \n");
    }
    str_append(out, "\n");
}

static bool
is_shown(const struct option_def *option)
{
    return option->help != NULL;
}

static void
append_option(struct str *out, const struct option_def *option)
{
    str_appendf(out, "  --%s%s%s\n", option->name, option->kind == OPTION_BOOL ? "" : " ",
                option->kind == OPTION_BOOL ? "" : option->value);
    append_wrapped(out, option->help, 8);
}

static bool
has_shown_options(const struct command *command)
{
    for (const struct option_def *option = command->options; option->name; option++)
        if (is_shown(option))
            return true;
    return false;
}

static void
append_synopsis(struct str *out, const struct command *command)
{
    str_appendf(out, "v2c-engine %s%s%s%s", command->name,
                has_shown_options(command) ? " [flags]" : "", *command->words ? " " : "",
                command->words);
}

void
help_usage(struct str *out)
{
    str_appendf(out, "v2c-engine %s: %s\n\nUsage: v2c-engine COMMAND [flags] [words]\n\n",
                V2C_VERSION, about);
    for (const struct command *const *c = commands; *c; c++)
        if (!(*c)->is_hidden)
            str_appendf(out, "  %-11s %s\n", (*c)->name, (*c)->summary);
    str_append(out, "\n`v2c-engine help COMMAND` tells more.\n");
}

void
help_command(const struct command *command, struct str *out)
{
    str_append(out, "Usage: ");
    append_synopsis(out, command);
    str_append(out, "\n\n");
    append_wrapped(out, command->description, 0);
    if (has_shown_options(command))
        str_append(out, "\nFlags:\n");
    for (const struct option_def *option = command->options; option->name; option++)
        if (is_shown(option))
            append_option(out, option);
}

/* ---- manual page ------------------------------------------------------------------------------ */

/* Text for troff: a backslash, a hyphen, and a line that begins with a dot or quote would be read as
 * commands. */
static void
append_roff(struct str *out, const char *text)
{
    bool at_start = true;

    for (; *text; text++) {
        if (!strncmp(text, "\n\n", 2)) {
            str_append(out, "\n.PP\n");
            text++;
            at_start = true;
            continue;
        }
        if (at_start && (*text == '.' || *text == '\''))
            str_append(out, "\\&");
        if (*text == '\\' || *text == '-')
            str_append(out, "\\");
        str_append_bytes(out, text, 1);
        at_start = *text == '\n';
    }
    str_append(out, "\n");
}

static void
append_man_command(struct str *out, const struct command *command)
{
    str_append(out, ".SS ");
    append_synopsis(out, command);
    str_append(out, "\n");
    append_roff(out, command->description);
    for (const struct option_def *option = command->options; option->name; option++) {
        if (!is_shown(option))
            continue;
        str_append(out, ".TP\n\\fB\\-\\-");
        for (const char *c = option->name; *c; c++)
            str_appendf(out, "%s%c", *c == '-' ? "\\" : "", *c);
        str_appendf(out, "\\fR%s%s\n", option->kind == OPTION_BOOL ? "" : " ",
                    option->kind == OPTION_BOOL ? "" : option->value);
        append_roff(out, option->help);
    }
}

void
help_man_page(struct str *out)
{
    str_appendf(out, ".TH V2C\\-ENGINE 1 \"\" \"v2c\\-engine %s\"\n", V2C_VERSION);
    str_appendf(out, ".SH NAME\nv2c\\-engine \\- %s\n", about);
    str_append(out, ".SH SYNOPSIS\n\\fBv2c\\-engine\\fR \\fICOMMAND\\fR [flags] [words]\n");
    str_append(out, ".SH COMMANDS\n");
    for (const struct command *const *c = commands; *c; c++)
        if (!(*c)->is_hidden)
            append_man_command(out, *c);
    for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
        str_appendf(out, ".SH %s\n", topics[i][0]);
        append_roff(out, topics[i][1]);
    }
}

/* ---- completion ------------------------------------------------------------------------------- */

void
help_bash_completion(struct str *out)
{
    str_append(out, "# bash completion of v2c-engine\n"
                    "_v2c_engine() {\n"
                    "    local word=${COMP_WORDS[COMP_CWORD]} flags\n"
                    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                    "        COMPREPLY=($(compgen -W \"");
    for (const struct command *const *c = commands; *c; c++)
        if (!(*c)->is_hidden)
            str_appendf(out, "%s ", (*c)->name);
    str_append(out, "--help --version\" -- \"$word\"))\n"
                    "        return\n"
                    "    fi\n"
                    "    case ${COMP_WORDS[1]} in\n");
    for (const struct command *const *c = commands; *c; c++) {
        if ((*c)->is_hidden)
            continue;
        str_appendf(out, "    %s) flags=\"--help", (*c)->name);
        for (const struct option_def *option = (*c)->options; option->name; option++)
            if (is_shown(option))
                str_appendf(out, " --%s", option->name);
        str_append(out, "\" ;;\n");
    }
    str_append(out, "    *) return ;;\n"
                    "    esac\n"
                    "    case $word in\n"
                    "    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")) ;;\n"
                    "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                    "    esac\n"
                    "}\n"
                    "complete -o filenames -F _v2c_engine v2c-engine\n");
}

/* ---- commands --------------------------------------------------------------------------------- */

struct help_values {
    bool man, bash_completion;
};

static const struct option_def help_options[] = {
    {"man", OPTION_BOOL, offsetof(struct help_values, man), NULL,
     "Print the manual page, for `man -l`."},
    {"bash-completion", OPTION_BOOL, offsetof(struct help_values, bash_completion), NULL,
     "Print a completion for bash, to be sourced."},
    OPTION_END,
};

static int
run_help(void *opaque, const struct words *words, struct err **err)
{
    const struct help_values *values = opaque;
    const struct command *command = NULL;
    struct str text = STR_INIT(256 * KIB);

    if (words->count > 1)
        return err_set(err, E_USAGE, "help takes one command");
    if (words->count && !(command = command_find(words->items[0])))
        return err_set(err, E_USAGE, "there is no command %s", words->items[0]);
    if (values->man)
        help_man_page(&text);
    else if (values->bash_completion)
        help_bash_completion(&text);
    else if (command)
        help_command(command, &text);
    else
        help_usage(&text);
    fputs(str_text(&text), stdout);
    str_done(&text);
    return 0;
}

const struct command command_help = {
    .name = "help",
    .words = "[COMMAND]",
    .summary = "tell about a command",
    .description = "Tells what the program, or one command, does and takes.",
    .options = help_options,
    .values_size = sizeof(struct help_values),
    .run = run_help,
};

static const struct option_def no_options[] = {OPTION_END};

static int
run_version(void *values, const struct words *words, struct err **err)
{
    printf("v2c-engine %s\n", V2C_VERSION);
    return 0;
}

const struct command command_version = {
    .name = "version",
    .words = "",
    .summary = "print the version",
    .description = "Prints name and version.",
    .options = no_options,
    .run = run_version,
};
