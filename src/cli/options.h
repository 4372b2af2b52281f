/* Flags of a command from a table, in the syntax of the existing tool: `-x` and `--x` are the same, a
 * value follows as `--x VALUE` or `--x=VALUE`, a boolean takes no word (`--x`, `--x=false`), names are
 * never abbreviated, the last of several wins, and flags end at the first word that is none, or at `--`. */
#ifndef V2C_CLI_OPTIONS_H
#define V2C_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

struct err;

VEC_DECLARE(words, const char *); /* borrowed from argv */

enum option_kind {
    OPTION_BOOL, /* bool */
    OPTION_INT,  /* int64_t */
    OPTION_TEXT, /* const char * */
    OPTION_LIST, /* struct words: may be given several times; blank values are ignored */
};

struct option_def {
    const char *name;
    enum option_kind kind;
    size_t offset;     /* of its value in the command's struct */
    const char *value; /* what help calls the value: "FILE" */
    const char *help;  /* one sentence; NULL: not shown */
    size_t given;      /* of a bool that becomes true when the flag is there; 0: none */
};
#define OPTION_END                                                                                 \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Fills *@values, a struct that @defs describes and that holds the defaults, and *ret_words with what
 * follows the flags.  *ret_help is set, and parsing ends, at `-h` or `--help`.  E_USAGE. */
int options_parse(const struct option_def *defs, int argc, char **argv, void *values,
                  struct words *ret_words, bool *ret_help, struct err **err);
/* Frees the lists in *@values. */
void options_done(const struct option_def *defs, void *values);

#endif
