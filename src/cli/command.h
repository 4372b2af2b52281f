/* The commands: one table from which parsing, help, the manual page and shell completion come. */
#ifndef V2C_CLI_COMMAND_H
#define V2C_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "cli/options.h"

struct err;

#define COMMAND_FAILED_AND_SAID_SO 1

struct command {
    const char *name;
    const char *words;       /* what follows the flags in the usage line; "" when nothing may */
    const char *summary;     /* half a line */
    const char *description; /* paragraphs divided by empty lines */
    const struct option_def *options;
    size_t values_size; /* of the struct that they describe */
    bool is_hidden;
    bool has_late_flags; /* flags may stand behind words */
    bool is_expert;      /* refused unless V2C_ENABLE_EXPERT_COMMANDS is set */
    /* @values was parsed into; zeroed before.  Prints its own output.  0; -1 with *err; or an exit status
     * of its own, such as COMMAND_FAILED_AND_SAID_SO, with or without *err.  *err is printed for it. */
    int (*run)(void *values, const struct words *words, struct err **err);
};

extern const struct command command_run, command_worker, command_status, command_finalize,
    command_check, command_pause, command_resume, command_bandwidth, command_forget, command_cancel,
    command_rollback, command_cleanup, command_rehearse, command_base_copy, command_delta_sync,
    command_qcow2, command_doctor, command_version, command_help, command_serve, command_user,
    command_ui, command_report;

/* NULL terminated, in the order of help. */
extern const struct command *const commands[];
const struct command *command_find(const char *name); /* NULL when there is none */

void help_usage(struct str *out); /* of the program */
void help_command(const struct command *command, struct str *out);
void help_man_page(struct str *out);
void help_bash_completion(struct str *out);

/* The whole program but for the process around it; returns its exit status. */
int cli_main(int argc, char **argv);

#endif
