/* Inside cli: how `run` and `serve` log. */
#ifndef V2C_CLI_LOG_CHOICE_H
#define V2C_CLI_LOG_CHOICE_H

struct config;
struct err;

#define LOG_CHOICE_HELP                                                                            \
    "How lines on standard error look: text for people, json for programs, journald for fields "   \
    "in "                                                                                          \
    "systemd's journal (default: log.format, else text)."

/* Before anything is logged: @given is the flag, or NULL.  E_USAGE for a word that is none, E_CONFIG. */
int log_choose_early(const char *given, struct err **err);
/* Once the configuration is there, which decides without the flag. */
int log_choose(const char *given, const struct config *config, struct err **err);

#endif
